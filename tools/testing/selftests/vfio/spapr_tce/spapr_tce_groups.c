// SPDX-License-Identifier: GPL-2.0
/*
 * Functions that share a group, and what one window that cannot be had means for the
 * next: on any platform, and most of all on pseries, where all functions behind a host
 * bridge are one group and firmware makes the windows.
 */
#include "fixture.h"

#define AT_SOURCE	MB
#define AT_TARGET	(2 * MB)
#define FAR_TOO_LARGE	(1048576 * GB)
#define ROUNDS		50

static int remove_function(const struct spapr_device *dev)
{
	char path[80];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", dev->bdf);
	return spapr_write_file(path, "1");
}

static bool comes_back(const struct spapr_device *dev)
{
	struct spapr_device found[2];
	int tries, i, n;

	for (tries = 0; tries < 300; tries++) {
		spapr_write_file("/sys/bus/pci/rescan", "1");
		n = spapr_find_devices(found, 2);
		for (i = 0; i < n; i++)
			if (!strcmp(found[i].bdf, dev->bdf))
				return true;
		usleep(100000);
	}
	return false;
}

CONTAINER_FIXTURE(v2, VFIO_SPAPR_TCE_v2_IOMMU, ASSERT_EQ(0, spapr_remove(self->c, 0)))

static bool round_trip(struct nvme *nvme, char *mem, uint64_t iova)
{
	return nvme_round_trip(nvme, mem, iova, AT_SOURCE, AT_TARGET);
}

/* One function works while its neighbour is pulled and comes back. */
TEST_F(v2, T22_neighbour_is_plugged)
{
	struct spapr_device *neighbour = &self->st.dev[1];
	struct nvme nvme;
	uint64_t start;
	int device, i;

	if (self->st.ndev < 2 || neighbour->group_id != self->st.dev[0].group_id)
		SKIP(return, "needs two functions in one group");
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
	ASSERT_EQ(0, spapr_map(self->c, start, self->mem, MEM_SIZE, MAP_RW));
	device = spapr_open_device(self->st.s.group, &self->st.dev[0]);
	ASSERT_LE(0, device);
	ASSERT_EQ(0, nvme_start(&nvme, device, self->mem, start));
	for (i = 0; i < 3; i++) {
		EXPECT_TRUE(round_trip(&nvme, self->mem, start));
		ASSERT_EQ(0, remove_function(neighbour));
		EXPECT_TRUE(round_trip(&nvme, self->mem, start));
		ASSERT_TRUE(comes_back(neighbour));
		EXPECT_TRUE(round_trip(&nvme, self->mem, start));
		EXPECT_EQ(0, spapr_map(self->c, start, self->mem, MEM_SIZE, MAP_RW));
	}
	nvme_stop(&nvme);
	close(device);
	EXPECT_EQ(0, spapr_unmap(self->c, start, MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
}

/* There is no window at all when the neighbour comes. */
TEST_F(v2, T22_neighbour_is_plugged_before_the_first_window)
{
	struct spapr_device *neighbour = &self->st.dev[1];
	uint64_t start;

	if (self->st.ndev < 2 || neighbour->group_id != self->st.dev[0].group_id)
		SKIP(return, "needs two functions in one group");
	ASSERT_EQ(0, remove_function(neighbour));
	ASSERT_TRUE(comes_back(neighbour));
	ASSERT_EQ(2, spapr_find_devices(self->st.dev, 2));
	EXPECT_EQ(self->st.dev[0].group_id, neighbour->group_id);
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
	EXPECT_EQ(0, spapr_map(self->c, start, self->mem, MEM_SIZE, MAP_RW));
	EXPECT_EQ(0, spapr_unmap(self->c, start, MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
}

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
