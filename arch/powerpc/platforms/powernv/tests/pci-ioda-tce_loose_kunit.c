// SPDX-License-Identifier: GPL-2.0
/*
 * Levels of TCE tables that are given back while the table is in use: which, when, and
 * that their memory is freed only after the hardware was told to forget all of the table.
 */
#include <linux/delay.h>
#include "pci-ioda-tce_ledger.h"

static void empty_leaf_stays_until_there_is_another(struct kunit *test)
{
	const struct shape *shape;
	unsigned long ua = area(test), a, b, path;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct iommu_table *tbl;

	for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
		tbl = ledger_table(test, shape, true);
		path = shape->levels - 1;
		a = part_of(tbl, 0);
		b = part_of(tbl, 2);
		KUNIT_EXPECT_EQ(test, map(tbl, a, 2, ua), 0);
		KUNIT_EXPECT_EQ(test, map(tbl, b, 2, ua), 0);
		KUNIT_EXPECT_EQ(test, census(tbl).levels, 1 + 2 * path);
		ledger.whole_kills = 0;
		ledger.frees = 0;

		/* Not empty, empty, made full again and emptied: stays. */
		KUNIT_EXPECT_EQ(test, unmap(tbl, a, 1), 0);
		KUNIT_EXPECT_EQ(test, unmap(tbl, a + 1, 1), 0);
		ledger.allocs = 0;
		KUNIT_EXPECT_EQ(test, map(tbl, a, 1, ua), 0);
		KUNIT_EXPECT_EQ(test, unmap(tbl, a, 1), 0);
		KUNIT_EXPECT_EQ(test, ledger.allocs, 0);
		KUNIT_EXPECT_EQ(test, census(tbl).levels, 1 + 2 * path);
		KUNIT_EXPECT_EQ(test, ledger.whole_kills, 0);

		/* Another one becomes empty: the first goes, with what was only there for it. */
		KUNIT_EXPECT_EQ(test, unmap(tbl, b, 2), 0);
		KUNIT_EXPECT_NULL(test, leaf_of(tbl, a));
		KUNIT_EXPECT_NOT_NULL(test, leaf_of(tbl, b));
		KUNIT_EXPECT_EQ(test, census(tbl).levels, 1 + path);
		KUNIT_EXPECT_EQ(test, ledger.whole_kills, 1);
		KUNIT_EXPECT_EQ(test, ledger.frees, path);
		ledger_expect_nothing_else(test, tbl);

		/* It can be made again. */
		KUNIT_EXPECT_EQ(test, map(tbl, a, 2, ua), 0);
		KUNIT_EXPECT_EQ(test, census(tbl).tces, 2);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 3);
		ledger_expect_nothing_else(test, tbl);
		KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
		ledger_table_end(test, tbl);
	}
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* Leaves next to each other: the levels above them go only with the last. */
static void populated_levels_stay(struct kunit *test)
{
	const struct shape *shape;
	unsigned long ua = area(test), leaf, a, far;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct iommu_table *tbl;

	for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
		tbl = ledger_table(test, shape, true);
		leaf = tbl->it_level_size;
		a = part_of(tbl, 0);
		far = part_of(tbl, 2);
		KUNIT_EXPECT_EQ(test, map(tbl, a, 1, ua), 0);
		KUNIT_EXPECT_EQ(test, map(tbl, a + leaf, 1, ua), 0);
		KUNIT_EXPECT_EQ(test, map(tbl, far, 1, ua), 0);
		ledger.frees = 0;

		/* Empty once, but no more when another is. */
		KUNIT_EXPECT_EQ(test, unmap(tbl, a, 1), 0);
		KUNIT_EXPECT_EQ(test, map(tbl, a, 1, ua), 0);
		KUNIT_EXPECT_EQ(test, unmap(tbl, far, 1), 0);
		KUNIT_EXPECT_EQ(test, ledger.frees, 0);
		KUNIT_EXPECT_NE(test, pnv_tce_get(tbl, tbl->it_offset + a), 0);
		KUNIT_EXPECT_EQ(test, map(tbl, far, 1, ua), 0);

		KUNIT_EXPECT_EQ(test, unmap(tbl, a, 1), 0);
		KUNIT_EXPECT_EQ(test, unmap(tbl, far, 1), 0);
		KUNIT_EXPECT_EQ(test, ledger.frees, 1);
		KUNIT_EXPECT_NULL(test, leaf_of(tbl, a));
		KUNIT_EXPECT_NE(test, pnv_tce_get(tbl, tbl->it_offset + a + leaf), 0);

		/* The leaf at @far is the one that stays now, until the last neighbour goes. */
		KUNIT_EXPECT_EQ(test, unmap(tbl, a + leaf, 1), 0);
		KUNIT_EXPECT_NULL(test, leaf_of(tbl, far));
		KUNIT_EXPECT_EQ(test, census(tbl).levels, shape->levels);
		KUNIT_EXPECT_EQ(test, ledger.frees, shape->levels);
		ledger_expect_nothing_else(test, tbl);
		ledger_table_end(test, tbl);
	}
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

static void I6_levels_stay_while_a_map_relies_on_them(struct kunit *test)
{
	const struct shape *shape;
	unsigned long ua = area(test), a, b;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct iommu_table *tbl;

	for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
		tbl = ledger_table(test, shape, true);
		a = part_of(tbl, 0);
		b = part_of(tbl, 2);
		KUNIT_EXPECT_EQ(test, map(tbl, a, 1, ua), 0);
		KUNIT_EXPECT_EQ(test, map(tbl, b, 1, ua), 0);
		KUNIT_EXPECT_EQ(test, pnv_tce_prealloc(tbl, tbl->it_offset + a, 20), 0);
		ledger.frees = 0;
		KUNIT_EXPECT_EQ(test, unmap(tbl, a, 1), 0);
		KUNIT_EXPECT_EQ(test, unmap(tbl, b, 1), 0);
		KUNIT_EXPECT_EQ(test, census(tbl).leaves, 2);
		KUNIT_EXPECT_EQ(test, ledger.frees, 0);
		KUNIT_EXPECT_EQ(test, change(test, tbl, a, 20, 0x100000, TCE_RW), 0);
		KUNIT_EXPECT_EQ(test, change(test, tbl, a, 20, 0, 0), 20);
		pnv_tce_release(tbl);

		/* What could not be given back is found later. */
		KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
		KUNIT_EXPECT_EQ(test, census(tbl).levels, shape->levels);
		ledger_expect_nothing_else(test, tbl);
		ledger_table_end(test, tbl);
	}
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

static void unmapping_the_window_leaves_one_leaf(struct kunit *test)
{
	const struct shape *shape;
	struct mm_iommu_region *r;
	unsigned long ua = area(test), i;
	struct iommu_table *tbl;

	r = region(test, ua, AREA_PAGES);
	for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
		tbl = ledger_table(test, shape, true);
		for (i = 3; i < tbl->it_size - 2; i = i * 5 / 2 + 7)
			KUNIT_EXPECT_EQ(test, map(tbl, i, 2, ua), 0);
		KUNIT_EXPECT_GT(test, census(tbl).leaves, 10);
		ledger.kills = 0;
		KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
		KUNIT_EXPECT_EQ(test, ledger.kills, 1);
		KUNIT_EXPECT_EQ(test, census(tbl).leaves, 1);
		KUNIT_EXPECT_EQ(test, census(tbl).levels, shape->levels);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
		ledger_expect_nothing_else(test, tbl);
		ledger_table_end(test, tbl);
	}
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* A thread that makes the levels of another leaf loose, once it may. */
struct unmapper {
	struct iommu_table *tbl;
	struct mm_struct *mm;
	unsigned long index;
	bool go;
	int ret;
};

static int unmapper_thread(void *arg)
{
	struct unmapper *u = arg;

	while (!READ_ONCE(u->go))
		cond_resched();
	u->ret = unmap_for(u->mm, u->tbl, u->index, 1);
	while (!kthread_should_stop())
		cond_resched();
	return 0;
}

/*
 * Whoever has a leaf lock may be looking at any level.  This processor has one while the
 * other makes levels loose and kills; then it waits a while for something to go wrong.
 */
static void I6_loose_levels_wait_for_leaf_locks(struct kunit *test)
{
	struct iommu_table *tbl = ledger_table(test, &ledger_shapes[1], true);
	unsigned long ua = area(test), frees, tries;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct unmapper u = {
		.tbl = tbl, .mm = current->mm, .index = part_of(tbl, 2), .ret = 1,
	};
	/* Neither that of the leaf that goes nor that of the one that stays. */
	spinlock_t *lock = ledger_leaf_lock(tbl, tbl->it_level_size);
	struct task_struct *task;

	KUNIT_EXPECT_EQ(test, map(tbl, part_of(tbl, 0), 1, ua), 0);
	KUNIT_EXPECT_EQ(test, map(tbl, u.index, 1, ua), 0);
	KUNIT_EXPECT_EQ(test, unmap(tbl, part_of(tbl, 0), 1), 0);
	ledger.frees = 0;
	task = run_elsewhere(test, unmapper_thread, &u);
	spin_lock(lock);
	WRITE_ONCE(u.go, true);
	for (tries = 0; tries < 1000 && !READ_ONCE(ledger.whole_kills); tries++)
		mdelay(1);
	for (tries = 0; tries < 10 && !READ_ONCE(ledger.frees); tries++)
		mdelay(1);
	frees = READ_ONCE(ledger.frees);
	spin_unlock(lock);
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, u.ret, 0);
	KUNIT_EXPECT_EQ(test, ledger.whole_kills, 1);
	KUNIT_EXPECT_EQ(test, frees, 0);
	KUNIT_EXPECT_EQ(test, ledger.frees, 2);
	ledger_expect_nothing_else(test, tbl);
	ledger_table_end(test, tbl);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

static struct kunit_case loose_test_cases[] = {
	KUNIT_CASE(empty_leaf_stays_until_there_is_another),
	KUNIT_CASE(populated_levels_stay),
	KUNIT_CASE(I6_levels_stay_while_a_map_relies_on_them),
	KUNIT_CASE(unmapping_the_window_leaves_one_leaf),
	KUNIT_CASE(I6_loose_levels_wait_for_leaf_locks),
	{}
};

static struct kunit_suite loose_test_suite = {
	.name = "pnv_tce_loose",
	.init = ledger_init,
	.exit = ledger_exit,
	.test_cases = loose_test_cases,
};

kunit_test_suite(loose_test_suite);

MODULE_DESCRIPTION("KUnit tests of levels of powernv TCE tables that are given back");
MODULE_LICENSE("GPL");
