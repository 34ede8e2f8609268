// SPDX-License-Identifier: GPL-2.0
/* See state.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <linux/capability.h>

#include "../../../kselftest.h"
#include "state.h"

long memory_slack_kb(void)
{
	return 32 * MB / KB + 3 * sysconf(_SC_NPROCESSORS_ONLN) * spapr_thp_size() / KB;
}

bool type_supported(int type)
{
	int fd = spapr_open_container();
	bool yes = fd >= 0 && spapr_ioctl(fd, VFIO_CHECK_EXTENSION, (void *)(long)type) == 1;

	if (fd >= 0)
		close(fd);
	return yes;
}

const char *state_begin(struct spapr_state *st, int ndev, int type)
{
	int ret;

	if (!type_supported(type))
		return "no /dev/vfio/vfio, or no container of this type";
	if (spapr_page_size() < PAGE_64K && !spapr_thp_size())
		return "small kernel pages without transparent hugepages";
	st->ndev = spapr_find_devices(st->dev, 2);
	if (st->ndev < ndev)
		return "too few NVMe controllers that vfio-pci can take";
	st->type = type;
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

bool freed_memory_is_kept(void)
{
	return spapr_kernel_has(" kasan_quarantine_");
}

/* RCU and work queues free some memory later. */
static bool memory_is_back(const struct spapr_state *st)
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

bool state_end_counters(struct spapr_state *st)
{
	spapr_teardown(&st->s);
	pins_settled(st->pins);
	if (vmlck_settled(st->vmlck) == st->vmlck && spapr_pins_held() == st->pins)
		return true;
	printf("# VmLck %ld -> %ld kB, pins held %ld -> %ld\n", st->vmlck, spapr_vmlck_kb(),
	       st->pins, spapr_pins_held());
	return false;
}

bool state_end(struct spapr_state *st)
{
	return state_end_counters(st) && memory_is_back(st);
}

/* What hundreds of calls have left may take minutes on a slow kernel: while less is left, wait. */
long vmlck_settled(long kb)
{
	long least = spapr_vmlck_kb(), now = least;
	int tries;

	for (tries = 0; tries < 1000 && now != kb; tries++) {
		usleep(20000);
		now = spapr_vmlck_kb();
		if (now < least) {
			least = now;
			tries = 0;
		}
	}
	return now;
}

long pins_settled(long pins)
{
	int tries;

	for (tries = 0; tries < 1000 && spapr_pins_held() != pins; tries++)
		usleep(20000);
	return spapr_pins_held();
}

bool all_bytes(const char *p, size_t size, char value)
{
	while (size--)
		if (*p++ != value)
			return false;
	return true;
}

int limited(unsigned long limit, int (*call)(int c, void *mem), int c, void *mem)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };
	struct rlimit memlock = { limit, limit };
	int ret;

	if (setrlimit(RLIMIT_MEMLOCK, &memlock) || syscall(SYS_capset, &header, none))
		return -EXDEV;
	ret = call(c, mem);
	return spapr_vmlck_kb() > (long)(limit / KB) ? -ERANGE : ret;
}

struct loss loss_begin(void)
{
	return (struct loss) { spapr_memory_kb(), spapr_vmlck_kb() };
}

bool loss_is_none(const struct loss *before)
{
	long vmlck = spapr_vmlck_kb() - before->vmlck_kb, memory = 0;
	int tries;

	for (tries = 0; tries < 100; tries++, usleep(100000)) {
		memory = before->memory_kb - spapr_memory_kb();
		if (memory <= memory_slack_kb() || freed_memory_is_kept())
			break;
	}
	if (!vmlck && tries < 100)
		return true;
	printf("# lost: %ld kB of memory, %ld kB charged\n", memory, vmlck);
	return false;
}
