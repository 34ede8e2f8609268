// SPDX-License-Identifier: GPL-2.0
/* See fault.h. */
#include <fcntl.h>
#include <sys/auxv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"
#include "spapr_tce.h"

#define FAILSLAB	"/sys/kernel/debug/failslab/"
#define FAIL_FUNCTION	"/sys/kernel/debug/fail_function/"
#define FAIL_PAGE	"/sys/kernel/debug/fail_page_alloc/"

const char *fault_begin(void)
{
	if (access("/proc/self/fail-nth", W_OK))
		return "the kernel has no fault injection";
	/* Allocations that may wait fail, too, of any size; no stack traces. */
	if (spapr_write_file(FAILSLAB "ignore-gfp-wait", "N") ||
	    spapr_write_file(FAILSLAB "verbose", "0") ||
	    spapr_write_file(FAIL_PAGE "ignore-gfp-wait", "N") ||
	    spapr_write_file(FAIL_PAGE "min-order", "0") ||
	    spapr_write_file(FAIL_PAGE "verbose", "0"))
		return "no failslab and fail_page_alloc in debugfs";
	return NULL;
}

/* How many allocations are still to succeed before one fails; none fails any more. */
static int fault_left(int fd)
{
	char text[16] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) < 1 || pwrite(fd, "0", 1, 0) != 1)
		exit(BROKEN);
	return atoi(text);
}

int fault_arm(int n)
{
	int fd = open("/proc/self/fail-nth", O_RDWR);
	char text[16];

	snprintf(text, sizeof(text), "%d", n);
	if (fd < 0)
		exit(BROKEN);
	/* Once without effect, so that no page fault comes between. */
	fault_left(fd);
	if (pwrite(fd, text, strlen(text), 0) < 1)
		exit(BROKEN);
	return fd;
}

bool fault_disarm(int armed)
{
	int left = fault_left(armed);

	close(armed);
	return !left;
}

enum outcome fault_broken(const char *what, int n, long got, long want)
{
	printf("# allocation %d: %s: %ld, should be %ld\n", n, what, got, want);
	return BROKEN;
}

static const char *refused;	/* what firmware refuses when it is asked to */
static int may_fail;

static int set(const char *what, int value)
{
	char path[128], text[16];

	snprintf(path, sizeof(path), FAIL_FUNCTION "%s", what);
	snprintf(text, sizeof(text), "%d", value);
	return spapr_write_file(path, text);
}

const char *fault_firmware_begin(const char *call)
{
	const char *platform = (const char *)getauxval(AT_PLATFORM);
	char path[128];

	if (!strcmp(call, FIRMWARE_KILL) && platform && !strncmp(platform, "power8", 6))
		return "kills are stores here";
	/* Nothing that an earlier test may have left. */
	spapr_write_file(FAIL_FUNCTION "inject", "\n");
	snprintf(path, sizeof(path), FAIL_FUNCTION "%s", call);
	if (spapr_write_file(FAIL_FUNCTION "inject", call))
		return "the kernel does not let calls of firmware fail";
	refused = call;
	strcat(path, "/retval");
	/* OPAL_HARDWARE, as a number without sign. */
	if (spapr_write_file(path, "0xfffffffffffffffa") ||
	    spapr_write_file(FAIL_FUNCTION "task-filter", "Y") || set("verbose", 0) ||
	    set("probability", 0) || spapr_write_file("/proc/self/make-it-fail", "1"))
		return "calls of firmware cannot be made to fail";
	return NULL;
}

void fault_firmware(int skip, int times)
{
	if (set("space", skip + 1) || set("times", times) || set("probability", 100))
		exit(BROKEN);
	may_fail = times;
}

void fault_firmware_off(void)
{
	char text[64];

	if (!refused)
		return;
	set("probability", 0);
	snprintf(text, sizeof(text), "!%s", refused);
	spapr_write_file(FAIL_FUNCTION "inject", text);
}

int fault_firmware_end(void)
{
	char text[16] = "";
	int fd = open(FAIL_FUNCTION "times", O_RDONLY);

	if (set("probability", 0) || fd < 0 || read(fd, text, sizeof(text) - 1) < 1)
		exit(BROKEN);
	close(fd);
	return may_fail - atoi(text);
}
