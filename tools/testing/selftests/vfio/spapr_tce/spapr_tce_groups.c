// SPDX-License-Identifier: GPL-2.0
/*
 * Functions that share a group, and what one window that cannot be had means for the
 * next: on any platform, and most of all on pseries, where all functions behind a host
 * bridge are one group and firmware makes the windows.
 */
#include <sys/ioctl.h>

#include "fixture.h"

#define AT_SOURCE	MB
#define AT_TARGET	(2 * MB)
#define FAR_TOO_LARGE	(1048576 * GB)
#define ROUNDS		50
#define MAX_FOUND	8

static int remove_function(const struct spapr_device *dev)
{
	char path[80];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", dev->bdf);
	return spapr_write_file(path, "1");
}

static bool comes_back(const struct spapr_device *dev)
{
	struct spapr_device found[MAX_FOUND];
	int tries, i, n;

	for (tries = 0; tries < 300; tries++) {
		spapr_write_file("/sys/bus/pci/rescan", "1");
		n = spapr_find_devices(found, MAX_FOUND);
		for (i = 0; i < n; i++)
			if (!strcmp(found[i].bdf, dev->bdf))
				return true;
		usleep(100000);
	}
	return false;
}

static bool round_trip(struct nvme *nvme, char *mem, uint64_t iova)
{
	return nvme_round_trip(nvme, mem, iova, AT_SOURCE, AT_TARGET);
}

/* ---- two functions in one group ---- */

/* A container with the group of both and without a window; the functions' files are closed. */
struct pair {
	struct spapr_state st;
	struct spapr_device dev[2];
	struct nvme nvme[2];
	int device[2];
	int c;
	uint64_t start;
	char *mem;
};

static bool find_pair(struct spapr_device *dev)
{
	struct spapr_device found[MAX_FOUND];
	int i, n = spapr_find_devices(found, MAX_FOUND);

	for (i = 1; i < n; i++) {
		if (found[i].group_id != found[i - 1].group_id)
			continue;
		dev[0] = found[i - 1];
		dev[1] = found[i];
		return true;
	}
	return false;
}

static void function_close(struct pair *p, int i)
{
	if (p->device[i] < 0)
		return;
	nvme_stop(&p->nvme[i]);
	close(p->device[i]);
	p->device[i] = -1;
}

FIXTURE(pair)
{
	struct pair p;
};

FIXTURE_SETUP(pair)
{
	struct pair *p = &self->p;
	const char *why = state_begin(&p->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);

	if (why)
		SKIP(return, "%s", why);
	if (!find_pair(p->dev))
		SKIP(return, "needs two functions in one group (scripts/boot -f)");
	spapr_teardown(&p->st.s);
	ASSERT_EQ(0, spapr_setup(&p->st.s, &p->dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
	p->c = p->st.s.container;
	p->mem = p->st.mem;
	p->device[0] = -1;
	p->device[1] = -1;
	ASSERT_EQ(0, spapr_remove(p->c, 0));
}

FIXTURE_TEARDOWN(pair)
{
	struct pair *p = &self->p;

	function_close(p, 0);
	function_close(p, 1);
	EXPECT_EQ(0, spapr_bind(&p->dev[0]));
	EXPECT_EQ(0, spapr_bind(&p->dev[1]));
	EXPECT_TRUE(state_end(&p->st));
}

static int window_for_both(struct pair *p)
{
	return spapr_register(p->c, p->mem, MEM_SIZE) ?:
	       spapr_create(p->c, SHIFT_64K, WIN_SIZE, 1, &p->start) ?:
	       spapr_map(p->c, p->start, p->mem, MEM_SIZE, MAP_RW);
}

/* A function's queues and data are all in its half. */
static int function_start(struct pair *p, int i)
{
	p->device[i] = spapr_open_device(p->st.s.group, &p->dev[i]);
	if (p->device[i] < 0)
		return p->device[i];
	return nvme_start(&p->nvme[i], p->device[i], p->mem + i * HALF,
			  p->start + i * HALF);
}

static bool function_works(struct pair *p, int i)
{
	return round_trip(&p->nvme[i], p->mem + i * HALF, p->start + i * HALF);
}

static uint32_t group_flags(int group)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };

	return spapr_ioctl(group, VFIO_GROUP_GET_STATUS, &status) ? ~0u : status.flags;
}

/* Whoever has one of them is in the way of the other's next owner; nobody is in no one's. */
TEST_F(pair, group_belongs_to_the_host_or_to_user_space)
{
	struct pair *p = &self->p;
	struct spapr_setup s;
	int i;

	if (!spapr_host_has_driver())
		SKIP(return, "the host has no driver for the device");
	spapr_teardown(&p->st.s);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, spapr_bind_host(&p->dev[i]));
		s.container = spapr_open_container();
		s.group = spapr_open_group(&p->dev[0]);
		ASSERT_LE(0, s.group);
		EXPECT_EQ(0, group_flags(s.group) & VFIO_GROUP_FLAGS_VIABLE);
		EXPECT_EQ(-EPERM, spapr_set_container(s.group, s.container));

		ASSERT_EQ(0, spapr_unbind(&p->dev[i]));
		EXPECT_EQ(VFIO_GROUP_FLAGS_VIABLE, group_flags(s.group));
		EXPECT_EQ(0, spapr_set_container(s.group, s.container));
		EXPECT_EQ(0, spapr_set_iommu(s.container, VFIO_SPAPR_TCE_v2_IOMMU));
		EXPECT_EQ(-ENODEV, spapr_bind_host(&p->dev[i]));
		EXPECT_EQ(0, spapr_bind(&p->dev[i]));
		EXPECT_EQ(VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET,
			  group_flags(s.group));
		spapr_teardown(&s);
	}
}

TEST_F(pair, both_do_dma_through_one_window)
{
	struct pair *p = &self->p;
	char *other = p->mem + HALF;
	int i;

	ASSERT_EQ(0, window_for_both(p));
	ASSERT_EQ(0, function_start(p, 0));
	ASSERT_EQ(0, function_start(p, 1));
	for (i = 0; i < 4; i++)
		EXPECT_TRUE(function_works(p, i % 2));

	/* Each has its own disk, but the same window: one fetches what the other has put. */
	EXPECT_EQ(0, nvme_write(&p->nvme[0], 0, p->start + HALF + AT_TARGET,
				NVME_ROUND_TRIP));
	EXPECT_EQ(0, nvme_read(&p->nvme[0], 0, p->start + AT_TARGET, NVME_ROUND_TRIP));
	EXPECT_EQ(0, memcmp(other + AT_SOURCE, p->mem + AT_TARGET, NVME_ROUND_TRIP));

	/* What is unmapped is gone for both. */
	ASSERT_EQ(0, spapr_unmap(p->c, p->start + AT_TARGET, NVME_ROUND_TRIP));
	memset(p->mem + AT_TARGET, 0x5a, NVME_ROUND_TRIP);
	nvme_read(&p->nvme[0], 0, p->start + AT_TARGET, NVME_ROUND_TRIP);
	nvme_read(&p->nvme[1], 0, p->start + AT_TARGET, NVME_ROUND_TRIP);
	EXPECT_TRUE(all_bytes(p->mem + AT_TARGET, NVME_ROUND_TRIP, 0x5a));
}

TEST_F(pair, one_is_reset_while_the_other_works)
{
	struct pair *p = &self->p;
	struct vfio_device_info info = { .argsz = sizeof(info) };
	int i;

	ASSERT_EQ(0, window_for_both(p));
	ASSERT_EQ(0, function_start(p, 0));
	ASSERT_EQ(0, function_start(p, 1));
	ASSERT_EQ(0, spapr_ioctl(p->device[1], VFIO_DEVICE_GET_INFO, &info));
	if (!(info.flags & VFIO_DEVICE_FLAGS_RESET))
		SKIP(return, "a function cannot be reset alone");
	for (i = 0; i < 5; i++) {
		ASSERT_TRUE(function_works(p, 0));
		EXPECT_EQ(0, spapr_ioctl(p->device[1], VFIO_DEVICE_RESET, NULL));
		ASSERT_TRUE(function_works(p, 0));
		ASSERT_EQ(0, nvme_start(&p->nvme[1], p->device[1], p->mem + HALF,
					p->start + HALF));
		ASSERT_TRUE(function_works(p, 1));
	}
}

/* Closed or in use: the unbinding waits for the function's user, and for nobody else. */
TEST_F(pair, one_is_unbound_while_the_other_works)
{
	struct pair *p = &self->p;
	int i, status;
	pid_t pid;

	ASSERT_EQ(0, window_for_both(p));
	ASSERT_EQ(0, function_start(p, 0));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, function_start(p, 1));
		ASSERT_TRUE(function_works(p, 1));
		if (i % 2)
			function_close(p, 1);
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			if (p->device[1] >= 0)
				close(p->device[1]);
			_exit(-spapr_unbind(&p->dev[1]) & 0xff);
		}
		if (!(i % 2)) {
			sleep(1);
			EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
			ASSERT_TRUE(function_works(p, 1));
		}
		ASSERT_TRUE(function_works(p, 0));
		function_close(p, 1);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_GT(0, spapr_open_device(p->st.s.group, &p->dev[1]));
		ASSERT_TRUE(function_works(p, 0));
		EXPECT_EQ(-ENODEV, spapr_bind_host(&p->dev[1]));
		ASSERT_TRUE(function_works(p, 0));
		ASSERT_EQ(0, spapr_bind(&p->dev[1]));
		ASSERT_TRUE(function_works(p, 0));
	}
}

/* One function works while its neighbour is pulled and comes back. */
TEST_F(pair, T22_neighbour_is_plugged)
{
	struct pair *p = &self->p;
	int i;

	ASSERT_EQ(0, window_for_both(p));
	ASSERT_EQ(0, function_start(p, 0));
	for (i = 0; i < 3; i++) {
		ASSERT_TRUE(function_works(p, 0));
		ASSERT_EQ(0, remove_function(&p->dev[1]));
		ASSERT_TRUE(function_works(p, 0));
		ASSERT_TRUE(comes_back(&p->dev[1]));
		ASSERT_TRUE(function_works(p, 0));
		EXPECT_EQ(0, spapr_map(p->c, p->start, p->mem, MEM_SIZE, MAP_RW));
	}
	/* The one that came back is in the group, and in its window. */
	ASSERT_EQ(0, function_start(p, 1));
	ASSERT_TRUE(function_works(p, 1));
	function_close(p, 1);
	function_close(p, 0);
	EXPECT_EQ(0, spapr_unmap(p->c, p->start, MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(p->c, p->mem, MEM_SIZE));
}

/* There is no window at all when the neighbour comes. */
TEST_F(pair, T22_neighbour_is_plugged_before_the_first_window)
{
	struct pair *p = &self->p;
	struct spapr_device found[2];
	int i;

	ASSERT_EQ(0, remove_function(&p->dev[1]));
	ASSERT_TRUE(comes_back(&p->dev[1]));
	ASSERT_TRUE(find_pair(found));
	EXPECT_EQ(p->dev[0].group_id, found[1].group_id);
	ASSERT_EQ(0, window_for_both(p));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, function_start(p, i));
		EXPECT_TRUE(function_works(p, i));
		function_close(p, i);
	}
	EXPECT_EQ(0, spapr_unmap(p->c, p->start, MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(p->c, p->mem, MEM_SIZE));
}

/* ---- windows ---- */

CONTAINER_FIXTURE(v2, VFIO_SPAPR_TCE_v2_IOMMU, ASSERT_EQ(0, spapr_remove(self->c, 0)))

/* Given back and taken again, with windows left for the kernel to clean up. */
TEST_F(v2, T22_T23_all_functions_come_and_go)
{
	uint64_t start;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
		spapr_teardown(&self->st.s);
		ASSERT_EQ(0, spapr_setup(&self->st.s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
		self->c = self->st.s.container;
		ASSERT_EQ(0, spapr_remove(self->c, 0));
	}
}

TEST_F(v2, C19_windows_come_and_go_without_a_word)
{
	int i, mark = spapr_log_mark();
	uint64_t start;

	if (mark < 0)
		SKIP(return, "no /dev/kmsg");
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
		ASSERT_EQ(0, spapr_remove(self->c, start));
		EXPECT_GT(0, spapr_create(self->c, SHIFT_64K, FAR_TOO_LARGE, 1, &start));
	}
	EXPECT_EQ(0, spapr_log_lines(mark));
}

/* Whatever is refused, the next window that fits is made; with no trace of the others. */
TEST_F(v2, C20_refused_windows_leave_the_device_usable)
{
	uint64_t start, other;
	int i, n;

	for (i = 0; i < ROUNDS; i++) {
		EXPECT_GT(0, spapr_create(self->c, SHIFT_64K, FAR_TOO_LARGE, 1, &start));
		ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
		/* More than there can be: one or two, by platform */
		for (n = 0; !spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &other); n++)
			ASSERT_EQ(0, n);
		EXPECT_EQ(-ENOSPC, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &other));
		if (n)
			EXPECT_EQ(0, spapr_remove(self->c, start ? 0 : WINDOW1));
		EXPECT_EQ(0, spapr_remove(self->c, start));
	}
	EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
}

TEST_HARNESS_MAIN
