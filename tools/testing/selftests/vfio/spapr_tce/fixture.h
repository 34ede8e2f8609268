/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the test programs share: the state that each test starts from, and the
 * check that it left nothing behind.
 */
#ifndef SPAPR_TCE_FIXTURE_H
#define SPAPR_TCE_FIXTURE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../../kselftest_harness.h"
#include "lib/nvme.h"
#include "lib/spapr_tce.h"

/* An emulated machine on a busy host is slow; the harness would give a test 30 s. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 600

#define MEM_SIZE	(16 * MB)
#define MEM_ALIGN	MB
#define WIN_SIZE	GB
#define PAGE_64K	(64 * KB)
#define NOWHERE		((void *)0x10000000000UL)	/* nothing is mapped there */

struct spapr_state {
	struct spapr_device dev[2];
	int ndev;
	struct spapr_setup s;
	char *mem;
	long vmlck;
	long pins;
	long memory_kb;
	long slab_kb;
};

/*
 * What may be missing after a test: the page allocator keeps up to 6 MB free for each
 * processor alone, more after gigabytes came and went (16 MB were seen), and some
 * transparent hugepages (two of 16 MB were seen, with the hash MMU); SLUB some slabs of
 * each cache that was used (0.6 MB, with slab_debug 2.5).  This shows big tables and what
 * is lost over and over; a single small one only a test that repeats itself can show.
 */
#define SLAB_SLACK_KB	(4 << 10)

static inline long memory_slack_kb(void)
{
	return 32 * MB / KB + 3 * sysconf(_SC_NPROCESSORS_ONLN) * spapr_thp_size() / KB;
}

static inline bool type_supported(int type)
{
	int fd = spapr_open_container();
	bool yes = fd >= 0 && spapr_ioctl(fd, VFIO_CHECK_EXTENSION, (void *)(long)type) == 1;

	if (fd >= 0)
		close(fd);
	return yes;
}

/*
 * Returns why the machine cannot run the test, or NULL. A container that cannot be
 * set up although the kernel offers its type ends the test as failed: skipping it
 * would hide what an earlier test left behind.
 */
static inline const char *state_begin(struct spapr_state *st, int ndev, int type)
{
	int ret;

	if (!type_supported(type))
		return "no /dev/vfio/vfio, or no container of this type";
	if (spapr_page_size() < PAGE_64K && !spapr_thp_size())
		return "small kernel pages without transparent hugepages";
	st->ndev = spapr_find_devices(st->dev, 2);
	if (st->ndev < ndev)
		return "too few NVMe controllers that vfio-pci can take";
	st->mem = spapr_memory(MEM_SIZE, MEM_ALIGN);
	st->vmlck = spapr_vmlck_kb();
	st->pins = spapr_pins_held();
	st->memory_kb = spapr_memory_kb();
	st->slab_kb = spapr_meminfo_kb("SUnreclaim");
	ret = spapr_setup(&st->s, &st->dev[0], type);
	if (ret) {
		printf("# container of type %d: %s\n", type, strerror(-ret));
		exit(KSFT_FAIL);
	}
	return NULL;
}

/* The quarantine of KASAN: what is freed is not free for some time. */
static inline bool freed_memory_is_kept(void)
{
	return spapr_kernel_has(" kasan_quarantine_");
}

/* RCU and work queues free some memory later. */
static inline bool memory_is_back(const struct spapr_state *st)
{
	long memory = 0, slab = 0;
	int tries;

	for (tries = 0; tries < 300; tries++) {
		memory = st->memory_kb - spapr_memory_kb();
		slab = spapr_meminfo_kb("SUnreclaim") - st->slab_kb;
		if (memory <= memory_slack_kb() && slab <= SLAB_SLACK_KB)
			return true;
		usleep(100000);
	}
	printf("# lost: %ld kB of memory, %ld kB in slabs\n", memory, slab);
	return freed_memory_is_kept();
}

/* Closes everything; true when the counters are where they were. */
static inline bool state_end_counters(struct spapr_state *st)
{
	int tries;

	spapr_teardown(&st->s);
	for (tries = 0; tries < 500 && spapr_pins_held() != st->pins; tries++)
		usleep(20000);
	if (spapr_vmlck_kb() == st->vmlck && spapr_pins_held() == st->pins)
		return true;
	printf("# VmLck %ld -> %ld kB, pins held %ld -> %ld\n", st->vmlck, spapr_vmlck_kb(),
	       st->pins, spapr_pins_held());
	return false;
}

/* Closes everything; true when counters and memory are where they were. */
static inline bool state_end(struct spapr_state *st)
{
	return state_end_counters(st) && memory_is_back(st);
}

static inline bool all_bytes(const char *p, size_t size, char value)
{
	while (size--)
		if (*p++ != value)
			return false;
	return true;
}

/* Run @call in a forked child, which has an mm of its own; its result comes back. */
#define in_child(call)							\
	({								\
		int _status;						\
		pid_t _pid = fork();					\
									\
		if (!_pid)						\
			_exit(-(call) & 0xff);				\
		waitpid(_pid, &_status, 0);				\
		-WEXITSTATUS(_status);					\
	})

/* The state "a container of type @_type with one group, then @_setup has been done". */
#define CONTAINER_FIXTURE(_name, _type, _setup)				\
	FIXTURE(_name)							\
	{								\
		struct spapr_state st;					\
		int c;							\
		char *mem;						\
	};								\
									\
	FIXTURE_SETUP(_name)						\
	{								\
		const char *why = state_begin(&self->st, 1, _type);	\
									\
		if (why)						\
			SKIP(return, "%s", why);			\
		self->c = self->st.s.container;				\
		self->mem = self->st.mem;				\
		_setup;							\
	}								\
									\
	FIXTURE_TEARDOWN(_name)						\
	{								\
		EXPECT_TRUE(state_end(&self->st));			\
	}

#endif /* SPAPR_TCE_FIXTURE_H */
