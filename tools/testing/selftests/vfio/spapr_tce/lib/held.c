// SPDX-License-Identifier: GPL-2.0
/* See held.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <linux/userfaultfd.h>

#include "held.h"
#include "spapr_tce.h"
#include "watch.h"

static void *held_run(void *arg)
{
	struct held *held = arg;

	__atomic_store_n(&held->tid, syscall(SYS_gettid), __ATOMIC_RELEASE);
	held->ret = held->call(held);
	return NULL;
}

int held_hole(struct held *held, unsigned long pages)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	held->hole = held->mem + pages * spapr_page_size();
	held->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (held->uffd < 0)
		return -errno;
	range.range.start = (uintptr_t)held->hole;
	range.range.len = spapr_page_size();
	if (ioctl(held->uffd, UFFDIO_API, &api) || ioctl(held->uffd, UFFDIO_REGISTER, &range))
		return -errno;
	return 0;
}

/* Base pages, populated but for the hole. */
static int held_memory(struct held *held)
{
	long page = spapr_page_size();

	held->size = HELD_PAGES * page;
	held->mem = mmap(NULL, held->size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (held->mem == MAP_FAILED)
		return -errno;
	if (spapr_thp_size())
		madvise(held->mem, held->size, MADV_NOHUGEPAGE);
	memset(held->mem, 1, HELD_HOLE * page);
	memset(held->mem + (HELD_HOLE + 1) * page, 1, held->size - (HELD_HOLE + 1) * page);
	return held_hole(held, HELD_HOLE);
}

int held_start(struct held *held, int c, int (*call)(struct held *held))
{
	held->c = c;
	held->call = call;
	held->tid = 0;
	return pthread_create(&held->thread, NULL, held_run, held) ? -ENOMEM : 0;
}

int held_begin_there(struct held *held, int c, int (*call)(struct held *held))
{
	struct pollfd asked = { .events = POLLIN };
	struct uffd_msg msg;

	if (held_start(held, c, call))
		return -ENOMEM;
	asked.fd = held->uffd;
	if (poll(&asked, 1, WATCH_PATIENCE * 1000) != 1)
		return -ETIMEDOUT;
	if (read(held->uffd, &msg, sizeof(msg)) != sizeof(msg) ||
	    msg.event != UFFD_EVENT_PAGEFAULT)
		return -EIO;
	return 0;
}

int held_begin(struct held *held, int c, int (*call)(struct held *held))
{
	return held_memory(held) ?: held_begin_there(held, c, call);
}

int held_end(struct held *held)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)held->hole, .src = (uintptr_t)held->mem,
		.len = spapr_page_size(),
	};

	if (ioctl(held->uffd, UFFDIO_COPY, &copy))
		return -errno;
	pthread_join(held->thread, NULL);
	close(held->uffd);
	return held->ret;
}

int held_fail(struct held *held)
{
	struct uffdio_range range = { .start = (uintptr_t)held->hole };

	range.len = spapr_page_size();
	if (munmap(held->hole, spapr_page_size()))
		return -errno;
	ioctl(held->uffd, UFFDIO_WAKE, &range);
	close(held->uffd);
	pthread_join(held->thread, NULL);
	return held->ret;
}

bool held_sleeps(const struct held *held)
{
	char path[64], text[256], *state;
	ssize_t n;
	int tries, fd;

	for (tries = 0; tries < WATCH_PATIENCE * 50; tries++, usleep(20000)) {
		snprintf(path, sizeof(path), "/proc/self/task/%d/stat",
			 __atomic_load_n(&held->tid, __ATOMIC_ACQUIRE));
		fd = open(path, O_RDONLY);
		n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
		close(fd);
		text[n < 0 ? 0 : n] = '\0';
		state = strrchr(text, ')');
		if (state && state[1] == ' ' && state[2] == 'D')
			return true;
	}
	return false;
}
