// SPDX-License-Identifier: GPL-2.0
/*
 * Orders of calls that users rely on, accounting, and every way to go away.
 */
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "fixture.h"

CONTAINER_FIXTURE(v2, VFIO_SPAPR_TCE_v2_IOMMU, (void)0)

TEST_F(v2, register_before_get_info)
{
	struct vfio_iommu_spapr_tce_info info;

	EXPECT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	EXPECT_EQ(0, spapr_get_info(self->c, &info));
}

/* A user of huge windows: default window away, one big window at 0. */
TEST_F(v2, first_window_after_the_default_is_removed_starts_at_0)
{
	uint64_t start = 1;

	ASSERT_EQ(0, spapr_remove(self->c, 0));
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, 1UL << 40, 2, &start));
	EXPECT_EQ(0, start);
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
	EXPECT_EQ(WINDOW1, start);
	EXPECT_EQ(0, spapr_remove(self->c, WINDOW1));
	EXPECT_EQ(0, spapr_remove(self->c, 0));
}

/* QEMU retries with more levels. */
TEST_F(v2, create_after_a_failure_with_fewer_levels)
{
	uint64_t start = 0;

	EXPECT_EQ(-ENOMEM, spapr_create(self->c, SHIFT_4K, 1UL << 45, 1, &start));
	EXPECT_EQ(0, spapr_create(self->c, SHIFT_4K, 1UL << 45, 3, &start));
	EXPECT_EQ(WINDOW1, start);
}

TEST_F(v2, the_default_window_is_made_by_the_first_map)
{
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	EXPECT_EQ(0, spapr_map(self->c, 0x10000, self->mem, PAGE_64K, MAP_RW));
	EXPECT_EQ(0, spapr_remove(self->c, 0));
	EXPECT_EQ(-ENXIO, spapr_map(self->c, 0x10000, self->mem, PAGE_64K, MAP_RW));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
}

TEST_F(v2, map_over_a_live_mapping_moves_the_count)
{
	char *half = self->mem + MEM_SIZE / 2;

	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE / 2));
	ASSERT_EQ(0, spapr_register(self->c, half, MEM_SIZE / 2));
	ASSERT_EQ(0, spapr_map(self->c, 0, self->mem, MEM_SIZE / 2, MAP_RW));
	ASSERT_EQ(0, spapr_map(self->c, 0, half, MEM_SIZE / 2, MAP_RW));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE / 2));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, half, MEM_SIZE / 2));
	EXPECT_EQ(0, spapr_unmap(self->c, 0, MEM_SIZE / 2));
	EXPECT_EQ(0, spapr_unregister(self->c, half, MEM_SIZE / 2));
}

TEST_F(v2, unmap_of_what_was_never_mapped)
{
	uint64_t start;

	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	EXPECT_EQ(0, spapr_unmap(self->c, 0x100000, 0x100000));
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, 1UL << 40, 2, &start));
	EXPECT_EQ(0, spapr_unmap(self->c, start, 1UL << 40));
}

TEST_F(v2, unmap_of_the_whole_window)
{
	uint64_t start;

	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, 1UL << 40, 3, &start));
	ASSERT_EQ(0, spapr_map(self->c, start, self->mem, MEM_SIZE, MAP_RW));
	ASSERT_EQ(0, spapr_map(self->c, start + (1UL << 40) - MEM_SIZE, self->mem, MEM_SIZE,
			       MAP_RW));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, self->mem, MEM_SIZE));
	EXPECT_EQ(0, spapr_unmap(self->c, start, 1UL << 40));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
}

/* Whatever the shape of the table: pages far apart, and an unmap that starts amid a leaf. */
TEST_F(v2, T6_unmap_from_an_unaligned_start)
{
	const unsigned int bits = 36;
	const uint64_t size = 1UL << bits;
	unsigned int levels, bit;
	uint64_t start;

	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	for (levels = 1; levels <= 3; levels++) {
		ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, size, levels, &start));
		ASSERT_EQ(0, spapr_map(self->c, start, self->mem, PAGE_64K, MAP_RW));
		for (bit = 2; bit < bits - SHIFT_64K; bit++)
			ASSERT_EQ(0, spapr_map(self->c, start + (PAGE_64K << bit),
					       self->mem + bit * PAGE_64K, PAGE_64K, MAP_RW));
		EXPECT_EQ(0, spapr_unmap(self->c, start + 3 * PAGE_64K, size - 3 * PAGE_64K));
		EXPECT_EQ(-EBUSY, spapr_unregister(self->c, self->mem, MEM_SIZE));
		EXPECT_EQ(0, spapr_unmap(self->c, start, PAGE_64K));
		/* Nothing was left behind, or this would be refused. */
		EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
		ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
		ASSERT_EQ(0, spapr_remove(self->c, start));
	}
}

TEST_F(v2, one_map_across_two_regions)
{
	char *half = self->mem + MEM_SIZE / 2;
	uint64_t start;

	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE / 2));
	ASSERT_EQ(0, spapr_register(self->c, half, MEM_SIZE / 2));
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 2, &start));
	EXPECT_EQ(0, spapr_map(self->c, start, self->mem, MEM_SIZE, MAP_RW));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, self->mem, MEM_SIZE / 2));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, half, MEM_SIZE / 2));
	EXPECT_EQ(0, spapr_unmap(self->c, start, MEM_SIZE / 2));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE / 2));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, half, MEM_SIZE / 2));
}

/* Mappings in scattered order: the old owners come back as many runs. */
TEST_F(v2, I2_counts_agree_after_scattered_maps)
{
	unsigned int i, n = MEM_SIZE / PAGE_64K;
	uint64_t start;

	ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 2, &start));
	for (i = 0; i < 32; i++)
		ASSERT_EQ(0, spapr_register(self->c, self->mem + i * 8 * PAGE_64K, 8 * PAGE_64K));
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, spapr_map(self->c, start + i * PAGE_64K,
				       self->mem + (i * 37 % n) * PAGE_64K, PAGE_64K, MAP_RW));
	ASSERT_EQ(0, spapr_map(self->c, start + MEM_SIZE, self->mem, MEM_SIZE, MAP_RW));
	/* Replace all, in another order, with one request. */
	ASSERT_EQ(0, spapr_map(self->c, start, self->mem, MEM_SIZE, MAP_RW));
	ASSERT_EQ(0, spapr_unmap(self->c, start + MEM_SIZE, MEM_SIZE));
	ASSERT_EQ(0, spapr_unmap(self->c, start, MEM_SIZE));
	for (i = 0; i < 32; i++)
		EXPECT_EQ(0, spapr_unregister(self->c, self->mem + i * 8 * PAGE_64K, 8 * PAGE_64K));
}

TEST_F(v2, C2_windows_and_memory_are_uncharged)
{
	uint64_t start;
	int i;

	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
		EXPECT_LE(self->st.vmlck + (long)(MEM_SIZE >> 10), spapr_vmlck_kb());
		ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, 1UL << 36, 2, &start));
		ASSERT_EQ(0, spapr_map(self->c, start, self->mem, MEM_SIZE, MAP_RW));
		ASSERT_EQ(0, spapr_remove(self->c, start));
		ASSERT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
		if (!i)
			ASSERT_EQ(0, spapr_remove(self->c, 0));
		EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
		/* From now on slot 0 is free, so the next window starts there. */
	}
}

TEST_F(v2, C12_closed_with_everything_mapped)
{
	uint64_t start;

	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 2, &start));
	ASSERT_EQ(0, spapr_map(self->c, start, self->mem, MEM_SIZE, MAP_RW));
	ASSERT_EQ(0, spapr_map(self->c, 0, self->mem, MEM_SIZE, MAP_RW));
	/* The teardown closes and counts. */
}

TEST_F(v2, C12_closed_in_every_order)
{
	int order, device;
	uint64_t start;

	for (order = 0; order < 6; order++) {
		ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
		ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 2, &start));
		ASSERT_EQ(0, spapr_map(self->c, start, self->mem, MEM_SIZE, MAP_RW));
		device = spapr_open_device(self->st.s.group, &self->st.dev[0]);
		ASSERT_LE(0, device);
		int fds[3] = { self->st.s.container, self->st.s.group, device };

		close(fds[order % 3]);
		close(fds[(order + 1 + order / 3) % 3]);
		close(fds[(order + 2 - order / 3) % 3]);
		EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
		EXPECT_EQ(self->st.pins, spapr_pins_held());
		ASSERT_EQ(0, spapr_setup(&self->st.s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
		self->c = self->st.s.container;
	}
}

TEST_F(v2, C12_group_leaves_and_comes_back)
{
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_map(self->c, 0, self->mem, MEM_SIZE, MAP_RW));
	ASSERT_EQ(0, spapr_unset_container(self->st.s.group));
	EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
	EXPECT_EQ(self->st.pins, spapr_pins_held());
	ASSERT_EQ(0, spapr_set_container(self->st.s.group, self->c));
	ASSERT_EQ(0, spapr_set_iommu(self->c, VFIO_SPAPR_TCE_v2_IOMMU));
	EXPECT_EQ(-EPERM, spapr_map(self->c, 0, self->mem, PAGE_64K, MAP_RW));
}

/* Killed at a random moment of what it does over and over. */
static void churn(struct spapr_device *dev)
{
	char *mem = spapr_memory(MEM_SIZE, MEM_ALIGN);
	struct spapr_setup s;
	uint64_t start;

	if (spapr_setup(&s, dev, VFIO_SPAPR_TCE_v2_IOMMU))
		_exit(1);
	for (;;) {
		spapr_register(s.container, mem, MEM_SIZE);
		spapr_map(s.container, 0, mem, MEM_SIZE, MAP_RW);
		spapr_unregister(s.container, mem, MEM_SIZE);
		spapr_create(s.container, SHIFT_64K, 1UL << 36, 2, &start);
		spapr_map(s.container, WINDOW1, mem, MEM_SIZE, MAP_RW);
		spapr_remove(s.container, WINDOW1);
		spapr_unmap(s.container, 0, MEM_SIZE);
		spapr_unregister(s.container, mem, MEM_SIZE);
	}
}

TEST_F(v2, C12_killed_in_the_middle_of_a_call)
{
	long free_kb = 0;
	pid_t pid;
	int i;

	spapr_teardown(&self->st.s);
	for (i = 0; i < 25; i++) {
		if (i == 5)
			free_kb = spapr_memfree_kb();
		pid = fork();
		if (!pid)
			churn(&self->st.dev[0]);
		usleep(10000 + i * 7919 % 60000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	EXPECT_EQ(self->st.pins, pins_settled(self->st.pins));
	/* 20 runs that each lost their 16 MB would be 320 MB. */
	EXPECT_LE(free_kb - (32 << 10), spapr_memfree_kb());
	ASSERT_EQ(0, spapr_setup(&self->st.s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
}

/* Two containers of one process, one group each. */
FIXTURE(two)
{
	struct spapr_state st;
	struct spapr_setup other;
	int a, b;
	char *mem;
};

FIXTURE_SETUP(two)
{
	const char *why = state_begin(&self->st, 2, VFIO_SPAPR_TCE_v2_IOMMU);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, spapr_setup(&self->other, &self->st.dev[1], VFIO_SPAPR_TCE_v2_IOMMU));
	self->a = self->st.s.container;
	self->b = self->other.container;
	self->mem = self->st.mem;
}

FIXTURE_TEARDOWN(two)
{
	if (self->other.container >= 0)
		spapr_teardown(&self->other);
	EXPECT_TRUE(state_end(&self->st));
}

TEST_F(two, I7_same_region_in_both_is_charged_once)
{
	ASSERT_EQ(0, spapr_register(self->a, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_register(self->b, self->mem, MEM_SIZE));
	EXPECT_EQ(self->st.vmlck + (long)(MEM_SIZE >> 10), spapr_vmlck_kb());
	ASSERT_EQ(0, spapr_map(self->a, 0, self->mem, MEM_SIZE, MAP_RW));
	EXPECT_EQ(0, spapr_unregister(self->a, self->mem, MEM_SIZE));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->b, self->mem, MEM_SIZE));
	EXPECT_EQ(0, spapr_unmap(self->a, 0, MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(self->b, self->mem, MEM_SIZE));
}

/* One container's registration serves the other, even after it is gone. */
TEST_F(two, C12_container_leaves_mappings_of_the_other)
{
	char *own = spapr_memory(PAGE_64K, PAGE_64K);	/* only to enable the other one */

	ASSERT_EQ(0, spapr_register(self->a, self->mem, MEM_SIZE));
	EXPECT_EQ(-EINVAL, spapr_register(self->b, self->mem, PAGE_64K));
	ASSERT_EQ(0, spapr_register(self->b, own, PAGE_64K));
	ASSERT_EQ(0, spapr_map(self->b, 0, self->mem, MEM_SIZE, MAP_RW));
	spapr_teardown(&self->st.s);
	/* Still pinned for the device of the other container, open to nobody new. */
	EXPECT_LE(self->st.pins + (long)MEM_SIZE / spapr_page_size(), spapr_pins_held());
	EXPECT_EQ(-EINVAL, spapr_map(self->b, MEM_SIZE, self->mem, PAGE_64K, MAP_RW));
	EXPECT_EQ(0, spapr_unmap(self->b, 0, MEM_SIZE));
	spapr_teardown(&self->other);
	ASSERT_EQ(0, spapr_setup(&self->st.s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
}

TEST_F(two, I12_group_leaves_and_the_other_stays)
{
	int group = self->other.group;

	spapr_unset_container(group);
	ASSERT_EQ(0, spapr_set_container(group, self->a));
	ASSERT_EQ(0, spapr_register(self->a, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_map(self->a, 0, self->mem, MEM_SIZE, MAP_RW));
	ASSERT_EQ(0, spapr_unset_container(group));
	/* What was mapped is still mapped and counted. */
	EXPECT_EQ(-EBUSY, spapr_unregister(self->a, self->mem, MEM_SIZE));
	EXPECT_EQ(0, spapr_unmap(self->a, 0, MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(self->a, self->mem, MEM_SIZE));
}

CONTAINER_FIXTURE(v1, VFIO_SPAPR_TCE_IOMMU,
		  ASSERT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL)))

TEST_F(v1, maps_pin_and_unmaps_unpin)
{
	struct vfio_iommu_spapr_tce_info info;

	ASSERT_EQ(0, spapr_get_info(self->c, &info));
	EXPECT_EQ(0, info.flags & VFIO_IOMMU_SPAPR_INFO_DDW);
	EXPECT_LE(self->st.vmlck + (long)(info.dma32_window_size >> 10), spapr_vmlck_kb());
	ASSERT_EQ(0, spapr_map(self->c, 0, self->st.mem, MEM_SIZE, MAP_RW));
	EXPECT_LT(self->st.pins, spapr_pins_held());
	/* Replacing does not add up. */
	ASSERT_EQ(0, spapr_map(self->c, 0, self->st.mem, MEM_SIZE, MAP_READ));
	ASSERT_EQ(0, spapr_unmap(self->c, 0, MEM_SIZE));
	EXPECT_EQ(self->st.pins, spapr_pins_held());
}

TEST_F(v1, C9_disable_while_mapped_unpins_first)
{
	ASSERT_EQ(0, spapr_map(self->c, 0, self->st.mem, MEM_SIZE, MAP_RW));
	EXPECT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_DISABLE, NULL));
	EXPECT_EQ(self->st.pins, spapr_pins_held());
	EXPECT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL));
	EXPECT_EQ(0, spapr_map(self->c, 0, self->st.mem, PAGE_64K, MAP_RW));
}

TEST_F(v1, C12_closed_with_everything_mapped)
{
	ASSERT_EQ(0, spapr_map(self->c, 0, self->st.mem, MEM_SIZE, MAP_RW));
}

TEST_HARNESS_MAIN
