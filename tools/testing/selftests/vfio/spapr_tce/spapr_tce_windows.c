// SPDX-License-Identifier: GPL-2.0
/*
 * What CREATE and REMOVE leave behind, above all when they fail, and bus addresses of
 * a window that no device can use.
 */
#include "fixture.h"

#define HOLE		(2 * GB)	/* the 32-bit MMIO of a PHB ... */
#define HOLE_END	(4 * GB)	/* ... where a device reaches registers, not memory */
#define TOO_LARGE	(32768 * GB)	/* 64 GiB of TCEs, for a single level of 4K pages */

CONTAINER_FIXTURE(v2, VFIO_SPAPR_TCE_v2_IOMMU, (void)0)

/* Callers retry by design, so what is lost is lost at every start. */
TEST_F(v2, C2_create_that_fails_takes_the_default_window_back)
{
	uint64_t start = 1;
	int i;

	for (i = 0; i < 10; i++) {
		EXPECT_EQ(-ENOMEM, spapr_create(self->c, SHIFT_4K, TOO_LARGE, 1, &start));
		EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
		EXPECT_EQ(-EINVAL, spapr_create(self->c, SHIFT_4K, WIN_SIZE, 99, &start));
		EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
	}
	/* It is still due: for the next call that succeeds ... */
	EXPECT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
	EXPECT_EQ(WINDOW1, start);
	ASSERT_EQ(0, spapr_register(self->c, self->mem, PAGE_64K));
	EXPECT_EQ(0, spapr_map(self->c, 0, self->mem, PAGE_64K, MAP_RW));
	EXPECT_EQ(0, spapr_map(self->c, start, self->mem, PAGE_64K, MAP_RW));
}

TEST_F(v2, C2_default_window_is_removed_for_good_after_a_failed_create)
{
	uint64_t start = 1;

	/* ... or to be removed before it was there. */
	EXPECT_EQ(-ENOMEM, spapr_create(self->c, SHIFT_4K, TOO_LARGE, 1, &start));
	EXPECT_EQ(0, spapr_remove(self->c, 0));
	EXPECT_EQ(-EINVAL, spapr_remove(self->c, 0));
	EXPECT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
	EXPECT_EQ(0, start);
}

TEST_F(v2, C2_create_that_fails_keeps_a_default_window_in_use)
{
	uint64_t start;
	long vmlck;

	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_map(self->c, 0, self->mem, MEM_SIZE, MAP_RW));
	vmlck = spapr_vmlck_kb();
	EXPECT_EQ(-ENOMEM, spapr_create(self->c, SHIFT_4K, TOO_LARGE, 1, &start));
	EXPECT_EQ(-EINVAL, spapr_create(self->c, SHIFT_4K, WIN_SIZE, 99, &start));
	EXPECT_EQ(vmlck, spapr_vmlck_kb());
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, self->mem, MEM_SIZE));
	EXPECT_EQ(0, spapr_unmap(self->c, 0, MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
}

TEST_F(v2, C6_default_window_and_mm_are_taken_once)
{
	long vmlck, with_default;
	uint64_t start;

	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	vmlck = spapr_vmlck_kb();
	EXPECT_EQ(0, spapr_map(self->c, 0, self->mem, PAGE_64K, MAP_RW));
	with_default = spapr_vmlck_kb();
	EXPECT_LT(vmlck, with_default);
	EXPECT_EQ(0, spapr_map(self->c, PAGE_64K, self->mem, PAGE_64K, MAP_RW));
	EXPECT_EQ(0, spapr_unmap(self->c, PAGE_64K, PAGE_64K));
	EXPECT_EQ(with_default, spapr_vmlck_kb());
	EXPECT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
	EXPECT_EQ(WINDOW1, start);
	EXPECT_EQ(0, spapr_remove(self->c, start));
	EXPECT_EQ(with_default, spapr_vmlck_kb());
	EXPECT_EQ(0, spapr_remove(self->c, 0));
	EXPECT_EQ(vmlck, spapr_vmlck_kb());
	EXPECT_EQ(-ENXIO, spapr_unmap(self->c, 0, PAGE_64K));
	EXPECT_EQ(vmlck, spapr_vmlck_kb());
}

/* Whatever a user does over and over, the log has nothing to say about it. */
TEST_F(v2, C10_windows_come_and_go_without_a_word)
{
	char *mem = self->mem;
	uint64_t start;
	int i, mark;

	ASSERT_EQ(0, spapr_register(self->c, mem, MEM_SIZE / 2));
	mark = spapr_log_mark();
	if (mark < 0)
		SKIP(return, "no /dev/kmsg");
	for (i = 0; i < 2000; i++) {
		ASSERT_EQ(0, spapr_create(self->c, i % 2 ? SHIFT_64K : SHIFT_4K, WIN_SIZE,
					  1 + i % 3, &start));
		EXPECT_EQ(0, spapr_map(self->c, start, mem, PAGE_64K, MAP_RW));
		EXPECT_EQ(-EBUSY, spapr_unregister(self->c, mem, MEM_SIZE / 2));
		EXPECT_EQ(-EINVAL, spapr_map(self->c, start, NOWHERE, PAGE_64K, MAP_RW));
		EXPECT_EQ(-EINVAL, spapr_map(self->c, start + WIN_SIZE - PAGE_64K, mem,
					     2 * PAGE_64K, MAP_RW));
		ASSERT_EQ(0, spapr_remove(self->c, start));
		EXPECT_EQ(-EINVAL, spapr_remove(self->c, WINDOW1));
		EXPECT_EQ(-ENXIO, spapr_unmap(self->c, WINDOW1, PAGE_64K));
		EXPECT_EQ(-ENOMEM, spapr_create(self->c, SHIFT_4K, TOO_LARGE, 1, &start));
		EXPECT_EQ(-EINVAL, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 6, &start));
		EXPECT_EQ(-EINVAL, spapr_create(self->c, 13, WIN_SIZE, 1, &start));
		EXPECT_EQ(-EFAULT, spapr_register(self->c, NOWHERE, PAGE_64K));
		EXPECT_EQ(-EINVAL, spapr_register(self->c, mem + PAGE_64K, MEM_SIZE));
		EXPECT_EQ(-EINVAL, spapr_eeh_op(self->c, 99));
		EXPECT_EQ(-ENOTTY, spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL));
		if (!i)
			EXPECT_EQ(0, spapr_remove(self->c, 0));
	}
	EXPECT_EQ(0, spapr_log_lines(mark));
}

/* A window at 0 that reaches over the hole. */
FIXTURE(hole)
{
	struct spapr_state st;
	int c;
	char *mem, *half;
};

FIXTURE_VARIANT(hole)
{
	unsigned int shift;
	unsigned int levels;
};

FIXTURE_VARIANT_ADD(hole, 64K_1_level) { SHIFT_64K, 1 };
FIXTURE_VARIANT_ADD(hole, 64K_2_levels) { SHIFT_64K, 2 };
FIXTURE_VARIANT_ADD(hole, 64K_3_levels) { SHIFT_64K, 3 };
FIXTURE_VARIANT_ADD(hole, 4K_1_level) { SHIFT_4K, 1 };
FIXTURE_VARIANT_ADD(hole, 4K_2_levels) { SHIFT_4K, 2 };
FIXTURE_VARIANT_ADD(hole, 4K_3_levels) { SHIFT_4K, 3 };

FIXTURE_SETUP(hole)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);
	uint64_t start = 1;
	int ret;

	if (why)
		SKIP(return, "%s", why);
	self->c = self->st.s.container;
	self->mem = self->st.mem;
	self->half = self->mem + MEM_SIZE / 2;
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE / 2));
	ASSERT_EQ(0, spapr_register(self->c, self->half, MEM_SIZE / 2));
	ASSERT_EQ(0, spapr_remove(self->c, 0));
	ret = spapr_create(self->c, variant->shift, 8 * GB, variant->levels, &start);
	if (ret == -ENOMEM && variant->levels == 1)
		SKIP(return, "no memory for a level in one piece");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, start);
}

FIXTURE_TEARDOWN(hole)
{
	EXPECT_TRUE(state_end(&self->st));
}

TEST_F(hole, C11_no_map_into_the_hole)
{
	const struct { uint64_t iova, size; } bad[] = {
		{ HOLE, PAGE_64K }, { HOLE, MEM_SIZE / 2 }, { HOLE + GB, PAGE_64K },
		{ HOLE_END - PAGE_64K, PAGE_64K }, { HOLE - PAGE_64K, 2 * PAGE_64K },
		{ HOLE_END - PAGE_64K, 2 * PAGE_64K }, { HOLE - MB, MEM_SIZE / 2 },
		{ HOLE_END - MB, MEM_SIZE / 2 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(-EINVAL, spapr_map(self->c, bad[i].iova, self->half, bad[i].size,
					     MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, HOLE - 4096, self->half, 2 * 4096, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, HOLE_END - 4096, self->half, 4096, MAP_RW));
	/* None of them mapped a part. */
	EXPECT_EQ(0, spapr_unregister(self->c, self->half, MEM_SIZE / 2));
}

TEST_F(hole, C11_neighbours_of_the_hole_are_kept_by_a_map_that_touches_it)
{
	ASSERT_EQ(0, spapr_map(self->c, HOLE - PAGE_64K, self->mem, PAGE_64K, MAP_RW));
	ASSERT_EQ(0, spapr_map(self->c, HOLE_END, self->mem, PAGE_64K, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, HOLE - PAGE_64K, self->half, 2 * PAGE_64K, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, HOLE_END - PAGE_64K, self->half, 2 * PAGE_64K,
				     MAP_RW));
	EXPECT_EQ(0, spapr_unregister(self->c, self->half, MEM_SIZE / 2));
	EXPECT_EQ(0, spapr_unmap(self->c, HOLE - PAGE_64K, PAGE_64K));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, self->mem, MEM_SIZE / 2));
	EXPECT_EQ(0, spapr_unmap(self->c, HOLE_END, PAGE_64K));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE / 2));
}

TEST_F(hole, C11_map_on_both_sides_and_unmap_across)
{
	ASSERT_EQ(0, spapr_map(self->c, HOLE - MEM_SIZE / 2, self->mem, MEM_SIZE / 2, MAP_RW));
	ASSERT_EQ(0, spapr_map(self->c, HOLE_END, self->half, MEM_SIZE / 2, MAP_RW));
	ASSERT_EQ(0, spapr_map(self->c, 8 * GB - PAGE_64K, self->half, PAGE_64K, MAP_RW));
	EXPECT_EQ(0, spapr_unmap(self->c, HOLE - MEM_SIZE / 2, HOLE_END - HOLE + MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE / 2));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, self->half, MEM_SIZE / 2));
	EXPECT_EQ(0, spapr_unmap(self->c, 0, 8 * GB));
	EXPECT_EQ(0, spapr_unregister(self->c, self->half, MEM_SIZE / 2));
	/* Nothing can be there, so nothing is what UNMAP finds. */
	EXPECT_EQ(0, spapr_unmap(self->c, HOLE, HOLE_END - HOLE));
}

/* The second window has no registers of anybody in it. */
TEST_F(hole, the_second_window_has_no_hole)
{
	uint64_t start;

	ASSERT_EQ(0, spapr_create(self->c, variant->shift, 8 * GB, 3, &start));
	ASSERT_EQ(WINDOW1, start);
	EXPECT_EQ(0, spapr_map(self->c, start + HOLE, self->mem, MEM_SIZE / 2, MAP_RW));
	EXPECT_EQ(0, spapr_map(self->c, start + HOLE_END - PAGE_64K, self->half, MEM_SIZE / 2,
			       MAP_RW));
	EXPECT_EQ(0, spapr_unmap(self->c, start, 8 * GB));
}

TEST_HARNESS_MAIN
