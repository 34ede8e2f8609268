// SPDX-License-Identifier: GPL-2.0
/*
 * /init of a big-endian guest, for which there is no busybox: runs the programs that /run.sh
 * names, one a line with its options, and speaks with scripts/boot as scripts/lib/guest-init does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define CONSOLE_LOG_LEVEL	8	/* of klogctl() */

static FILE *output;	/* what the programs print, to be said again */

static void mount_at(const char *type, const char *dir)
{
	mkdir(dir, 0755);
	if (mount(type, dir, type, 0, NULL))
		perror(dir);
}

/* To the console as it comes, and to the output. */
static void say(const char *text)
{
	fputs(text, stdout);
	fflush(stdout);
	fputs(text, output);
}

static int run(char *line)
{
	char *argv[16] = { NULL }, path[256], text[512];
	int out[2], n = 0, status;
	FILE *from;
	pid_t pid;

	for (char *word = strtok(line, " \n"); word && n < 15; word = strtok(NULL, " \n"))
		argv[n++] = word;
	if (!n || pipe(out))
		return -1;
	snprintf(path, sizeof(path), "/tests/%s", argv[0]);
	pid = fork();
	if (!pid) {
		dup2(out[1], 1);
		dup2(out[1], 2);
		close(out[0]);
		execv(path, argv);
		_exit(127);
	}
	close(out[1]);
	from = fdopen(out[0], "r");
	while (fgets(text, sizeof(text), from))
		say(text);
	fclose(from);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void run_all(void)
{
	FILE *list = fopen("/run.sh", "r");
	char line[256], text[512];
	int status;

	while (list && fgets(line, sizeof(line), list)) {
		snprintf(text, sizeof(text), "# suite %s", line);
		say(text);
		status = run(line);	/* which leaves the first word of the line */
		snprintf(text, sizeof(text), "\n# suite-end %s %d\n", line, status);
		say(text);
	}
}

int main(void)
{
	char token[64] = "", text[512];
	FILE *f;

	mount_at("devtmpfs", "/dev");
	mount_at("proc", "/proc");
	mount_at("sysfs", "/sys");
	mount_at("debugfs", "/sys/kernel/debug");
	mount_at("tmpfs", "/tmp");
	if (!freopen("/dev/null", "r", stdin) || !freopen("/dev/console", "w", stdout) ||
	    dup2(1, 2) < 0)
		return 1;
	klogctl(CONSOLE_LOG_LEVEL, NULL, 7);

	f = fopen("/token", "r");
	output = fopen("/tmp/output", "w+");
	if (!f || !output || !fgets(token, sizeof(token), f))
		return 1;
	token[strcspn(token, "\n")] = '\0';
	run_all();

	sleep(1);
	klogctl(CONSOLE_LOG_LEVEL, NULL, 1);
	printf("\nGUEST-OUTPUT %s\n", token);
	rewind(output);
	while (fgets(text, sizeof(text), output))
		fputs(text, stdout);
	printf("GUEST-EXIT: 0 %s\nGUEST-END %s\n", token, token);
	fflush(stdout);
	klogctl(CONSOLE_LOG_LEVEL, NULL, 7);
	sync();
	reboot(RB_POWER_OFF);
	return 1;
}
