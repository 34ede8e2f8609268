// SPDX-License-Identifier: GPL-2.0
/*
 * Groups of a container: who may join, what a group gets and loses, and what becomes of all
 * groups when the platform refuses one of them something.
 *
 * Each case runs in a kthread with an mm of its own.  The names of cases carry the defect or
 * invariant they stand for.
 */
#include <linux/iommu.h>
#include <linux/mm.h>
#include "../vfio.h"
#include "../spapr_tce.h"
#include "spapr_tce_fake.h"

/* ---- what the platform returns, and what users get ---- */

static const struct {
	long ret;
	int errno;
} platform_returns[] = {
	{ -1, -EIO },
	{ 1, -EIO },
	{ 5, -EIO },
	{ INT_MAX, -EIO },
	{ LONG_MAX, -EIO },
	{ -MAX_ERRNO - 1, -EIO },
	{ INT_MIN, -EIO },
	{ LONG_MIN + 1, -EIO },
	/* Nothing is left of these in an int. */
	{ LONG_MIN, -EIO },
	{ BIT(32), -EIO },
	{ -EIO, -EIO },
	{ -ENOMEM, -ENOMEM },
	{ -EINVAL, -EINVAL },
	{ -EBUSY, -EBUSY },
	/* The container uses it for itself. */
	{ -EAGAIN, -EAGAIN },
};

static void C5_create_says_errno(struct kunit *test)
{
	static const enum fake_op ops[] = { FAKE_CREATE, FAKE_SET };
	unsigned int i, j, nth;
	u64 start;

	fake_attach_all(test, 1);
	for (i = 0; i < ARRAY_SIZE(platform_returns); i++) {
		/* The first call is for the default window. */
		for (j = 0; j < 2 * ARRAY_SIZE(ops); j++) {
			nth = 1 + j / ARRAY_SIZE(ops);
			fake_fail(test, ops[j % ARRAY_SIZE(ops)], nth, platform_returns[i].ret);
			KUNIT_EXPECT_EQ_MSG(test, fake_create(test, SHIFT_2K, &start),
					    platform_returns[i].errno, "call %u of %u returns %ld",
					    nth, ops[j % ARRAY_SIZE(ops)], platform_returns[i].ret);
			KUNIT_EXPECT_EQ(test, fake_charged(test), 0);
		}
	}
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), 0);
}

static void C5_map_that_makes_the_default_window_says_errno(struct kunit *test)
{
	unsigned int i;

	fake_attach_all(test, 1);
	KUNIT_ASSERT_EQ(test, fake_register(test), 0);
	for (i = 0; i < ARRAY_SIZE(platform_returns); i++) {
		fake_fail(test, FAKE_CREATE, 1, platform_returns[i].ret);
		KUNIT_EXPECT_EQ_MSG(test, fake_map(test, 0, SZ_4K), platform_returns[i].errno,
				    "create: %ld", platform_returns[i].ret);
		fake_fail(test, FAKE_SET, 1, platform_returns[i].ret);
		KUNIT_EXPECT_EQ_MSG(test, fake_unmap(test, 0, SZ_4K), platform_returns[i].errno,
				    "set: %ld", platform_returns[i].ret);
		KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES);
	}
	KUNIT_EXPECT_EQ(test, fake_map(test, 0, SZ_4K), 0);
}

static void C5_remove_says_errno(struct kunit *test)
{
	unsigned int i;

	fake_two_windows(test, 1);
	for (i = 0; i < ARRAY_SIZE(platform_returns); i++) {
		fake_fail(test, FAKE_UNSET, 1, platform_returns[i].ret);
		KUNIT_EXPECT_EQ_MSG(test, fake_remove(test, SECOND_START),
				    platform_returns[i].errno, "%ld", platform_returns[i].ret);
	}
	KUNIT_EXPECT_EQ(test, fake_remove(test, SECOND_START), 0);
}

static void C5_attach_says_errno(struct kunit *test)
{
	unsigned int i, nth;

	fake_two_windows(test, 1);
	for (i = 0; i < ARRAY_SIZE(platform_returns); i++) {
		for (nth = 1; nth <= FAKE_SLOTS; nth++) {
			fake_fail(test, FAKE_SET, nth, platform_returns[i].ret);
			KUNIT_EXPECT_EQ_MSG(test, fake_attach(test, 1), platform_returns[i].errno,
					    "window %u: %ld", nth, platform_returns[i].ret);
		}
	}
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), 0);
}

/* ---- groups that come and go ---- */

static void C7_group_that_leaves_takes_its_windows_only(struct kunit *test)
{
	struct fake_table *w0, *w1;

	fake_two_windows(test, FAKE_GROUPS);
	w0 = fake_slot(test, 0, 0);
	w1 = fake_slot(test, 0, 1);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, 4 * SZ_4K), 0);
	KUNIT_ASSERT_EQ(test, fake_map(test, SECOND_START, 4 * SZ_2K), 0);
	fake_detach(test, 2);
	fake_expect_slots(test, 2, 0, w0);
	fake_expect_slots(test, 2, 1, w1);
	fake_detach(test, 1);
	fake_expect_slots(test, 1, 0, w0);
	fake_expect_slots(test, 1, 1, w1);
	KUNIT_EXPECT_EQ(test, w0->mapped, 4);
	KUNIT_EXPECT_EQ(test, w1->mapped, 4);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE + SECOND_CHARGE);

	/* Who comes back gets all of them again. */
	KUNIT_ASSERT_EQ(test, fake_attach(test, 1), 0);
	fake_expect_slots(test, 2, 0, w0);
	fake_expect_slots(test, 2, 1, w1);
	KUNIT_EXPECT_EQ(test, fake_unmap(test, 0, 4 * SZ_4K), 0);
	KUNIT_EXPECT_EQ(test, w0->mapped, 0);
}

/* That it empties them before, and how, is what the platform watches. */
static void I12_last_group_that_leaves_empties_the_windows(struct kunit *test)
{
	struct fake_table *w0, *w1;

	fake_two_windows(test, 2);
	w0 = fake_slot(test, 0, 0);
	w1 = fake_slot(test, 0, 1);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, SZ_4K), 0);
	KUNIT_ASSERT_EQ(test, fake_map(test, DEFAULT_SIZE - SZ_4K, SZ_4K), 0);
	KUNIT_ASSERT_EQ(test, fake_map(test, SECOND_START, SECOND_SIZE / 4), 0);
	KUNIT_EXPECT_EQ(test, fake_unregister(test), -EBUSY);
	iommu_tce_table_get(&w0->tbl);
	iommu_tce_table_get(&w1->tbl);
	fake_detach(test, 0);
	KUNIT_EXPECT_EQ(test, w0->mapped, 2);
	KUNIT_EXPECT_EQ(test, fake_unregister(test), -EBUSY);
	fake_detach(test, 1);
	fake_expect_slots(test, 0, 0, NULL);
	fake_expect_slots(test, 0, 1, NULL);
	KUNIT_EXPECT_EQ(test, w0->mapped, 0);
	KUNIT_EXPECT_EQ(test, w1->mapped, 0);
	KUNIT_EXPECT_TRUE(test, w0->tbl.it_closed);
	KUNIT_EXPECT_TRUE(test, w1->tbl.it_closed);
	iommu_tce_table_put(&w0->tbl);
	iommu_tce_table_put(&w1->tbl);
	/* Nothing counts in the memory any longer. */
	KUNIT_EXPECT_EQ(test, fake_unregister(test), 0);
}

static void detach_of_a_stranger_changes_nothing(struct kunit *test)
{
	struct fake_table *w0, *w1;

	fake_two_windows(test, 1);
	w0 = fake_slot(test, 0, 0);
	w1 = fake_slot(test, 0, 1);
	fake_detach(test, 1);
	fake_expect_slots(test, 1, 0, w0);
	fake_expect_slots(test, 1, 1, w1);
	KUNIT_EXPECT_FALSE(test, w0->tbl.it_closed);
}

static void C8_failed_attach_leaves_nothing(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct fake_table *w0, *w1;
	unsigned int nth, unsets;

	fake_two_windows(test, 1);
	w0 = fake_slot(test, 0, 0);
	w1 = fake_slot(test, 0, 1);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, SZ_4K), 0);
	for (nth = 1; nth <= FAKE_SLOTS; nth++) {
		unsets = fake->calls[FAKE_UNSET];
		fake_fail(test, FAKE_SET, nth, -EIO);
		KUNIT_EXPECT_EQ(test, fake_attach(test, 1), -EIO);
		KUNIT_EXPECT_EQ(test, fake->calls[FAKE_UNSET] - unsets, nth - 1);
		fake_expect_slots(test, 1, 0, w0);
		fake_expect_slots(test, 1, 1, w1);
	}
	KUNIT_EXPECT_EQ(test, w0->mapped, 1);

	/* It is not in the container: no window that comes or goes is for it. */
	KUNIT_EXPECT_EQ(test, fake_remove(test, SECOND_START), 0);
	fake_expect_slots(test, 0, 1, NULL);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), 0);
	fake_expect_slots(test, 2, 0, w0);
}

/* A group gets the windows that there are, wherever they are. */
static void group_joins_a_container_with_a_free_slot(struct kunit *test)
{
	struct fake *fake = test->priv;

	fake_two_windows(test, 1);
	KUNIT_ASSERT_EQ(test, fake_remove(test, 0), 0);
	fake_fail(test, FAKE_SET, 1, -EIO);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), -EIO);
	KUNIT_EXPECT_EQ(test, fake->calls[FAKE_UNSET], 1);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), 0);
	fake_expect_slots(test, 0, 0, NULL);
	fake_expect_slots(test, 2, 1, fake_slot(test, 0, 1));
}

static void C8_failed_create_leaves_no_window_in_any_group(struct kunit *test)
{
	struct fake_table *w0;
	unsigned int nth;
	u64 start;

	fake_attach_all(test, FAKE_GROUPS);
	KUNIT_ASSERT_EQ(test, fake_register(test), 0);
	/* The default window, which is due, is set first. */
	for (nth = 1; nth <= 2 * FAKE_GROUPS; nth++) {
		fake_fail(test, FAKE_SET, nth, -EIO);
		KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), -EIO);
		fake_expect_slots(test, 0, 0, NULL);
		fake_expect_slots(test, 0, 1, NULL);
		KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES);
	}
	/* It is due still. */
	KUNIT_EXPECT_EQ(test, fake_map(test, 0, SZ_4K), 0);
	w0 = fake_slot(test, 0, 0);
	KUNIT_ASSERT_NOT_NULL(test, w0);
	for (nth = 1; nth <= FAKE_GROUPS; nth++) {
		fake_fail(test, FAKE_SET, nth, -EIO);
		KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), -EIO);
		fake_expect_slots(test, FAKE_GROUPS, 0, w0);
		fake_expect_slots(test, 0, 1, NULL);
		KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE);
	}
	KUNIT_EXPECT_EQ(test, w0->mapped, 1);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), 0);
	KUNIT_EXPECT_EQ(test, start, SECOND_START);
	fake_expect_slots(test, FAKE_GROUPS, 1, fake_slot(test, 0, 1));
}

/* Nothing can be done about two faults, but the window that stays must be a whole one. */
static void default_window_that_cannot_be_taken_back_stays(struct kunit *test)
{
	struct fake_table *w0;
	u64 start;

	fake_attach_all(test, 2);
	KUNIT_ASSERT_EQ(test, fake_register(test), 0);
	fake_fail(test, FAKE_CREATE, 2, -ENOMEM);
	fake_fail(test, FAKE_UNSET, 2, -EIO);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), -ENOMEM);
	w0 = fake_slot(test, 0, 0);
	KUNIT_ASSERT_NOT_NULL(test, w0);
	fake_expect_slots(test, 2, 0, w0);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE);
	KUNIT_EXPECT_EQ(test, fake_map(test, 0, SZ_4K), 0);
	KUNIT_EXPECT_EQ(test, w0->mapped, 1);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), 0);
	KUNIT_EXPECT_EQ(test, start, SECOND_START);
	KUNIT_EXPECT_EQ(test, fake_remove(test, 0), 0);
}

static void C8_refused_remove_leaves_the_window_in_all_groups(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct fake_table *w0, *w1;
	unsigned int nth;

	fake_two_windows(test, FAKE_GROUPS);
	w0 = fake_slot(test, 0, 0);
	w1 = fake_slot(test, 0, 1);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, SZ_4K), 0);
	for (nth = 1; nth <= 2 * FAKE_GROUPS; nth++) {
		KUNIT_ASSERT_EQ(test, fake_map(test, SECOND_START, 8 * SZ_2K), 0);
		KUNIT_EXPECT_EQ(test, w1->mapped, 8);
		/* Firmware keeps the window, or it is gone and its kill has failed. */
		fake->lose = nth > FAKE_GROUPS;
		fake_fail(test, FAKE_UNSET, (nth - 1) % FAKE_GROUPS + 1, -EIO);
		KUNIT_EXPECT_EQ(test, fake_remove(test, SECOND_START), -EIO);
		fake_expect_slots(test, FAKE_GROUPS, 1, w1);
		KUNIT_EXPECT_EQ(test, w1->mapped, 0);
		KUNIT_EXPECT_EQ(test, fake_charged(test),
				AREA_PAGES + DEFAULT_CHARGE + SECOND_CHARGE);
	}
	KUNIT_EXPECT_EQ(test, fake_map(test, SECOND_START, 8 * SZ_2K), 0);
	KUNIT_EXPECT_EQ(test, fake_remove(test, SECOND_START), 0);
	fake_expect_slots(test, 0, 1, NULL);
	fake_expect_slots(test, FAKE_GROUPS, 0, w0);
	KUNIT_EXPECT_EQ(test, w0->mapped, 1);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE);
}

/* ---- groups that differ ---- */

static void C13_info_has_the_page_sizes_of_all_groups(struct kunit *test)
{
	struct vfio_iommu_spapr_tce_info info;
	struct fake *fake = test->priv;

	fake->groups[0].table_group.pgsizes = SZ_4K | SZ_64K | SZ_16M;
	fake->groups[1].table_group.pgsizes = SZ_4K | SZ_64K | SZ_2M;
	fake->groups[2].table_group.pgsizes = SZ_4K | SZ_2M | SZ_16M;
	fake_attach_all(test, 1);
	KUNIT_ASSERT_EQ(test, fake_get_info(test, &info), 0);
	KUNIT_EXPECT_EQ(test, info.flags, VFIO_IOMMU_SPAPR_INFO_DDW);
	KUNIT_EXPECT_EQ(test, info.dma32_window_start, 0);
	KUNIT_EXPECT_EQ(test, info.dma32_window_size, DEFAULT_SIZE);
	KUNIT_EXPECT_EQ(test, info.ddw.max_dynamic_windows_supported, FAKE_SLOTS);
	KUNIT_EXPECT_EQ(test, info.ddw.levels, 1);
	KUNIT_EXPECT_EQ(test, info.ddw.pgsizes, SZ_4K | SZ_64K | SZ_16M);
	KUNIT_ASSERT_EQ(test, fake_attach(test, 1), 0);
	KUNIT_ASSERT_EQ(test, fake_get_info(test, &info), 0);
	KUNIT_EXPECT_EQ(test, info.ddw.pgsizes, SZ_4K | SZ_64K);
	KUNIT_ASSERT_EQ(test, fake_attach(test, 2), 0);
	KUNIT_ASSERT_EQ(test, fake_get_info(test, &info), 0);
	KUNIT_EXPECT_EQ(test, info.ddw.pgsizes, SZ_4K);
	fake_detach(test, 0);
	KUNIT_ASSERT_EQ(test, fake_get_info(test, &info), 0);
	KUNIT_EXPECT_EQ(test, info.ddw.pgsizes, SZ_4K | SZ_2M);
}

static void C13_window_needs_a_page_size_of_all_groups(struct kunit *test)
{
	struct fake *fake = test->priv;
	u64 start;

	fake->groups[1].table_group.pgsizes = SZ_4K | SZ_64K;
	fake_attach_all(test, 2);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake_create(test, 16, &start), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake_create(test, 64, &start), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_4K + 64, &start), -EINVAL);
	fake_expect_slots(test, 0, 0, NULL);
	fake_expect_slots(test, 0, 1, NULL);
	KUNIT_EXPECT_EQ(test, fake_charged(test), 0);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_4K, &start), 0);
	KUNIT_EXPECT_EQ(test, start, SECOND_START);
}

static void C13_group_without_the_page_size_of_a_window_is_refused(struct kunit *test)
{
	struct fake_table *w0, *w1;
	struct fake *fake = test->priv;

	fake_two_windows(test, 1);
	w0 = fake_slot(test, 0, 0);
	w1 = fake_slot(test, 0, 1);
	fake->groups[1].table_group.pgsizes = SZ_4K | SZ_64K;
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), -EPERM);
	fake->groups[1].table_group.pgsizes = SZ_2K | SZ_64K;
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), -EPERM);
	fake_expect_slots(test, 1, 0, w0);
	fake_expect_slots(test, 1, 1, w1);
	KUNIT_EXPECT_EQ(test, fake->calls[FAKE_SET], 2);
	KUNIT_EXPECT_EQ(test, fake->calls[FAKE_UNSET], 0);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE + SECOND_CHARGE);
	/* Only windows that there are count. */
	KUNIT_EXPECT_EQ(test, fake_remove(test, 0), 0);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), 0);
	fake_expect_slots(test, 2, 1, w1);
}

static void C13_group_of_another_platform_is_refused(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct fake_table *w0;

	fake_two_windows(test, 1);
	w0 = fake_slot(test, 0, 0);
	fake->groups[1].table_group.ops = &fake_other_ops;
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), -EPERM);
	fake_expect_slots(test, 1, 0, w0);
	fake->groups[1].table_group.ops = &fake_ops;
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), 0);
}

/* Each of them has tables that no other can use, so a container can have one of them only. */
static void C20_groups_with_tables_of_their_own_are_alone(struct kunit *test)
{
	struct fake *fake = test->priv;
	unsigned int i, own;
	u64 start;

	for (own = 0; own < 3; own++) {
		for (i = 0; i < 2; i++)
			fake->groups[i].table_group.ops = own == 2 || own == i ? &fake_own_ops :
										 &fake_ops;
		KUNIT_ASSERT_EQ(test, fake_attach(test, 0), 0);
		KUNIT_EXPECT_EQ(test, fake_attach(test, 1), -EPERM);
		KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), 0);
		KUNIT_EXPECT_EQ(test, fake_attach(test, 1), -EPERM);
		fake_detach(test, 0);
	}
}

static void groups_that_no_container_can_use_are_refused(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct fake_group *g = &fake->groups[0];

	KUNIT_EXPECT_EQ(test,
			spapr_tce_iommu_driver.attach_group(fake->container, g->group,
							    VFIO_EMULATED_IOMMU),
			-EINVAL);
	g->table_group.max_dynamic_windows_supported = 0;
	KUNIT_EXPECT_EQ(test, fake_attach(test, 0), -EINVAL);
	g->table_group.max_dynamic_windows_supported = FAKE_SLOTS;
	iommu_group_set_iommudata(g->group, NULL, NULL);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 0), -ENODEV);
	iommu_group_set_iommudata(g->group, &g->table_group, NULL);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 0), 0);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 0), -EBUSY);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), 0);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 0), -EBUSY);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), -EBUSY);
}

static struct kunit_case group_cases[] = {
	KUNIT_CASE(C5_create_says_errno),
	KUNIT_CASE(C5_map_that_makes_the_default_window_says_errno),
	KUNIT_CASE(C5_remove_says_errno),
	KUNIT_CASE(C5_attach_says_errno),
	KUNIT_CASE(C7_group_that_leaves_takes_its_windows_only),
	KUNIT_CASE(I12_last_group_that_leaves_empties_the_windows),
	KUNIT_CASE(detach_of_a_stranger_changes_nothing),
	KUNIT_CASE(C8_failed_attach_leaves_nothing),
	KUNIT_CASE(group_joins_a_container_with_a_free_slot),
	KUNIT_CASE(C8_failed_create_leaves_no_window_in_any_group),
	KUNIT_CASE(default_window_that_cannot_be_taken_back_stays),
	KUNIT_CASE(C8_refused_remove_leaves_the_window_in_all_groups),
	KUNIT_CASE(C13_info_has_the_page_sizes_of_all_groups),
	KUNIT_CASE(C13_window_needs_a_page_size_of_all_groups),
	KUNIT_CASE(C13_group_without_the_page_size_of_a_window_is_refused),
	KUNIT_CASE(C13_group_of_another_platform_is_refused),
	KUNIT_CASE(C20_groups_with_tables_of_their_own_are_alone),
	KUNIT_CASE(groups_that_no_container_can_use_are_refused),
	{ }
};

static struct kunit_suite group_suite = {
	.name = "spapr_tce_groups",
	.init = fake_init,
	.exit = fake_exit,
	.test_cases = group_cases,
};

static void C13_v1_takes_one_group_only(struct kunit *test)
{
	struct fake *fake = test->priv;

	/* Its one window need not come and go. */
	fake->groups[0].table_group.max_dynamic_windows_supported = 0;
	KUNIT_EXPECT_EQ(test, fake_attach(test, 0), 0);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 0), -EBUSY);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), -EBUSY);
	fake_detach(test, 0);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), 0);
}

static bool is_pinned(struct fake *fake, unsigned int page)
{
	struct page *p;
	bool pinned;

	if (get_user_pages_fast(fake->area + page * PAGE_SIZE, 1, 0, &p) != 1)
		return false;
	pinned = folio_maybe_dma_pinned(page_folio(p));
	put_page(p);
	return pinned;
}

/* What firmware refuses to clear keeps its page; all others go, and the call says so. */
static void C24_v1_goes_on_behind_a_refused_entry(struct kunit *test)
{
	static const unsigned long refuse[] = { 0, PAGE_SIZE / SZ_4K * 2, ULONG_MAX };
	struct fake *fake = test->priv;
	struct fake_table *t;
	unsigned int i;
	u64 bytes;

	fake_attach_all(test, 1);
	KUNIT_ASSERT_EQ(test, spapr_tce_iommu_driver.ioctl(fake->container, VFIO_IOMMU_ENABLE, 0),
			0);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, 4 * PAGE_SIZE), 0);
	t = fake_slot(test, 0, 0);
	KUNIT_ASSERT_NOT_NULL(test, t);
	fake->refuse = refuse;
	KUNIT_EXPECT_EQ(test, fake_unmap(test, 0, 4 * PAGE_SIZE), -EIO);
	KUNIT_EXPECT_EQ(test, t->mapped, 2);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ_MSG(test, is_pinned(fake, i), i % 2 == 0, "page %u", i);
	KUNIT_EXPECT_EQ(test, fake_unmap_all(test, &bytes), -EIO);
	fake->refuse = NULL;
	KUNIT_EXPECT_EQ(test, fake_unmap_all(test, &bytes), 0);
	KUNIT_EXPECT_EQ(test, bytes, 2 * SZ_4K);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_FALSE_MSG(test, is_pinned(fake, i), "page %u", i);
}

static void C24_v1_map_that_is_refused_keeps_nothing(struct kunit *test)
{
	static const unsigned long refuse[] = { PAGE_SIZE / SZ_4K + 1, ULONG_MAX };
	struct fake *fake = test->priv;
	unsigned int i;

	fake_attach_all(test, 1);
	KUNIT_ASSERT_EQ(test, spapr_tce_iommu_driver.ioctl(fake->container, VFIO_IOMMU_ENABLE, 0),
			0);
	fake->refuse = refuse;
	KUNIT_EXPECT_EQ(test, fake_map(test, 0, 4 * PAGE_SIZE), -EIO);
	fake->refuse = NULL;
	KUNIT_ASSERT_NOT_NULL(test, fake_slot(test, 0, 0));
	KUNIT_EXPECT_EQ(test, fake_slot(test, 0, 0)->mapped, 0);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_FALSE_MSG(test, is_pinned(fake, i), "page %u", i);
}

/* The page must stay where the device may still reach it; then the test lets go of it. */
static void T13_v1_keeps_pages_whose_kill_failed(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct page *page;

	fake_attach_all(test, 1);
	KUNIT_ASSERT_EQ(test, spapr_tce_iommu_driver.ioctl(fake->container, VFIO_IOMMU_ENABLE, 0),
			0);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, SZ_4K), 0);
	fake->deaf = true;
	KUNIT_EXPECT_EQ(test, fake_unmap(test, 0, SZ_4K), -EIO);
	KUNIT_EXPECT_TRUE(test, is_pinned(fake, 0));
	fake->deaf = false;
	if (is_pinned(fake, 0) && get_user_pages_fast(fake->area, 1, 0, &page) == 1) {
		unpin_user_page(page);
		put_page(page);
	}
	/* A later kill does not make it forget what came before. */
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, SZ_4K), 0);
	KUNIT_EXPECT_EQ(test, fake_unmap(test, 0, SZ_4K), 0);
	KUNIT_EXPECT_FALSE(test, is_pinned(fake, 0));
}

static void C9_v1_disable_lets_go_of_all(struct kunit *test)
{
	struct fake *fake = test->priv;
	unsigned int i;

	fake_attach_all(test, 1);
	KUNIT_ASSERT_EQ(test, spapr_tce_iommu_driver.ioctl(fake->container, VFIO_IOMMU_ENABLE, 0),
			0);
	KUNIT_EXPECT_EQ(test, spapr_tce_iommu_driver.ioctl(fake->container, VFIO_IOMMU_ENABLE, 0),
			-EBUSY);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, 4 * PAGE_SIZE), 0);
	/* Over what is mapped: the same pages, once. */
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, 4 * PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, spapr_tce_iommu_driver.ioctl(fake->container, VFIO_IOMMU_DISABLE, 0),
			0);
	KUNIT_EXPECT_EQ(test, fake_map(test, 0, 4 * PAGE_SIZE), -EPERM);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_FALSE_MSG(test, is_pinned(fake, i), "page %u", i);
	KUNIT_EXPECT_EQ(test, spapr_tce_iommu_driver.ioctl(fake->container, VFIO_IOMMU_ENABLE, 0),
			0);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, 4 * PAGE_SIZE), 0);
	fake_detach(test, 0);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_FALSE_MSG(test, is_pinned(fake, i), "page %u", i);
}

static struct kunit_case v1_cases[] = {
	KUNIT_CASE(C13_v1_takes_one_group_only),
	KUNIT_CASE(C24_v1_goes_on_behind_a_refused_entry),
	KUNIT_CASE(C24_v1_map_that_is_refused_keeps_nothing),
	KUNIT_CASE(T13_v1_keeps_pages_whose_kill_failed),
	KUNIT_CASE(C9_v1_disable_lets_go_of_all),
	{ }
};

static struct kunit_suite v1_suite = {
	.name = "spapr_tce_v1_groups",
	.init = fake_init_v1,
	.exit = fake_exit,
	.test_cases = v1_cases,
};

kunit_test_suites(&group_suite, &v1_suite);

MODULE_DESCRIPTION("KUnit tests of the groups of sPAPR TCE containers");
MODULE_LICENSE("GPL");
