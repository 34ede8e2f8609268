// SPDX-License-Identifier: GPL-2.0
/*
 * Requests that join TCE tables with regions, one at a time: what is counted, killed and
 * let go of, in which order, and what is left when a step fails.
 *
 * Tables are in no window here, so no hardware walks them. The names of cases
 * carry the defect or invariant they stand for.
 */
#include <linux/sched/signal.h>
#include "../../platforms/powernv/tests/pci-ioda-tce_kunit.h"

/* Kills, and what was still counted when they came. */
static unsigned long kills;
static struct mm_iommu_region *kill_watch;
static long kill_mapped;

static int count_kill(struct iommu_table *tbl, unsigned long index, unsigned long npages)
{
	kills++;
	if (kill_watch)
		kill_mapped = atomic_long_read(&kill_watch->mapped);
	return 0;
}

static struct iommu_table_ops test_ops = {
	.tce_kill = count_kill,
	TCE_TABLE_OPS,
};

static struct iommu_table *table(struct kunit *test, u32 page_shift, u64 size, u32 levels)
{
	kills = 0;
	kill_watch = NULL;
	return ops_table(test, &test_ops, page_shift, size, levels);
}

static void one_kill_per_request_and_counts(struct kunit *test)
{
	struct iommu_table *tbl = table(test, PAGE_SHIFT, 1ULL << 40, 2);
	unsigned long ua = area(test);
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);

	KUNIT_EXPECT_EQ(test, map(tbl, 100, AREA_PAGES, ua), 0);
	KUNIT_EXPECT_EQ(test, kills, 1);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1 + AREA_PAGES);
	KUNIT_EXPECT_TRUE(test, r->written);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
	KUNIT_EXPECT_EQ(test, kills, 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
	/* Nothing there: nothing to kill */
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
	KUNIT_EXPECT_EQ(test, kills, 2);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

static void T3_counts_drop_after_the_kill(struct kunit *test)
{
	struct iommu_table *tbl = table(test, PAGE_SHIFT, 1ULL << 40, 2);
	unsigned long ua = area(test);
	struct mm_iommu_region *old = region(test, ua, 8);
	struct mm_iommu_region *new = region(test, ua + 8 * PAGE_SIZE, 8);

	KUNIT_EXPECT_EQ(test, map(tbl, 0, 8, ua), 0);
	kill_watch = old;
	KUNIT_EXPECT_EQ(test, map(tbl, 0, 8, ua + 8 * PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, kill_mapped, 9);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&old->mapped), 1);
	kill_watch = new;
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, 8), 0);
	KUNIT_EXPECT_EQ(test, kill_mapped, 9);
	kill_watch = NULL;
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, old), 0);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, new), 0);
}

static void I4_failed_map_changes_nothing(struct kunit *test)
{
	struct iommu_table *tbl = table(test, PAGE_SHIFT, 1ULL << 40, 2);
	unsigned long ua = area(test), tce;
	struct mm_iommu_region *r = region(test, ua, 16);

	KUNIT_EXPECT_EQ(test, map(tbl, 0, 4, ua), 0);
	tce = pnv_tce_get(tbl, tbl->it_offset);
	kills = 0;
	/* pages 12 to 15 are registered, 16 is not */
	KUNIT_EXPECT_EQ(test, map(tbl, 0, 5, ua + 12 * PAGE_SIZE), -EINVAL);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, tbl->it_offset), tce);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 5);
	KUNIT_EXPECT_EQ(test, kills, 0);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, 4), 0);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* More regions than a batch has room for, replaced by one request. */
static void I2_counts_of_many_regions(struct kunit *test)
{
	struct iommu_table *tbl = table(test, PAGE_SHIFT, 1ULL << 40, 2);
	struct mm_iommu_region *r[AREA_PAGES];
	unsigned long ua = area(test), i;

	for (i = 0; i < AREA_PAGES; i++)
		r[i] = region(test, ua + i * PAGE_SIZE, 1);
	for (i = 0; i < AREA_PAGES; i++)
		KUNIT_ASSERT_EQ(test, map(tbl, i, 1, ua + i * 13 % AREA_PAGES * PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, map(tbl, 0, AREA_PAGES, ua), 0);
	for (i = 0; i < AREA_PAGES; i++)
		KUNIT_EXPECT_EQ(test, atomic_long_read(&r[i]->mapped), 2);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, AREA_PAGES), 0);
	for (i = 0; i < AREA_PAGES; i++)
		KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r[i]), 0);
}

static void closing_empties_the_table(struct kunit *test)
{
	struct iommu_table *tbl = table(test, PAGE_SHIFT, 1ULL << 40, 3);
	unsigned long ua = area(test);
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);

	KUNIT_EXPECT_EQ(test, map(tbl, 0, AREA_PAGES, ua), 0);
	KUNIT_EXPECT_EQ(test, map(tbl, tbl->it_size - AREA_PAGES, AREA_PAGES, ua), 0);
	iommu_tce_close(tbl, current->mm);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
	KUNIT_EXPECT_EQ(test, map(tbl, 0, 1, ua), -ENODEV);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* Firmware that does not clear two of the entries, one of them the last. */
static bool refused(unsigned long index)
{
	return index == 5 || index == AREA_PAGES - 1;
}

static int exchange_or_refuse(struct iommu_table *tbl, struct iommu_tce_change *change)
{
	unsigned long index = change->entry - tbl->it_offset, left = change->left, n;
	int ret;

	change->nr_runs = 0;
	if (change->perm)
		return pnv_tce_exchange(tbl, change);
	if (refused(index))
		return -EIO;
	for (n = 1; n < left && !refused(index + n); n++)
		;
	change->left = n;
	ret = pnv_tce_exchange(tbl, change);
	change->left += left - n;
	return ret;
}

static void C24_entries_behind_a_refused_one_are_cleared(struct kunit *test)
{
	static struct iommu_table_ops ops;
	unsigned long ua = area(test), cleared = 0;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct iommu_table *tbl;

	ops = test_ops;
	ops.exchange = exchange_or_refuse;
	ops.exchange_one = NULL;
	tbl = ops_table(test, &ops, PAGE_SHIFT, 1ULL << 40, 2);
	KUNIT_EXPECT_EQ(test, map(tbl, 0, AREA_PAGES, ua), 0);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, 8), -EIO);
	KUNIT_EXPECT_EQ(test, census(tbl).tces, AREA_PAGES - 7);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1 + AREA_PAGES - 7);
	KUNIT_EXPECT_EQ(test, map(tbl, 0, AREA_PAGES, ua), 0);
	KUNIT_EXPECT_EQ(test, iommu_tce_unmap_all(tbl, current->mm, &cleared), -EIO);
	KUNIT_EXPECT_EQ(test, cleared, AREA_PAGES - 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 3);

	KUNIT_EXPECT_EQ(test, map(tbl, 0, AREA_PAGES, ua), 0);
	KUNIT_EXPECT_EQ(test, iommu_tce_close(tbl, current->mm), -EIO);
	KUNIT_EXPECT_EQ(test, census(tbl).tces, 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 3);
	ops.exchange = pnv_tce_exchange;
	KUNIT_EXPECT_EQ(test, iommu_tce_close(tbl, current->mm), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* Counting takes long where regions are many; a request that is killed there did nothing. */
static void R12_killed_while_counting_many_regions(struct kunit *test)
{
	struct iommu_table *tbl = table(test, PAGE_SHIFT, 1ULL << 40, 2);
	struct mm_iommu_region *r[AREA_PAGES];
	unsigned long ua = area(test), i;

	for (i = 0; i < AREA_PAGES; i++)
		r[i] = region(test, ua + i * PAGE_SIZE, 1);
	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
	KUNIT_EXPECT_EQ(test, map(tbl, 0, AREA_PAGES, ua), -EINTR);
	flush_signals(current);
	disallow_signal(SIGKILL);
	KUNIT_EXPECT_EQ(test, kills, 0);
	KUNIT_EXPECT_EQ(test, census(tbl).tces, 0);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, AREA_PAGES), 0);
	for (i = 0; i < AREA_PAGES; i++) {
		KUNIT_EXPECT_EQ(test, atomic_long_read(&r[i]->mapped), 1);
		KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r[i]), 0);
	}
}

static struct kunit_case request_test_cases[] = {
	KUNIT_CASE(R12_killed_while_counting_many_regions),
	KUNIT_CASE(one_kill_per_request_and_counts),
	KUNIT_CASE(T3_counts_drop_after_the_kill),
	KUNIT_CASE(I4_failed_map_changes_nothing),
	KUNIT_CASE(I2_counts_of_many_regions),
	KUNIT_CASE(closing_empties_the_table),
	KUNIT_CASE(C24_entries_behind_a_refused_one_are_cleared),
	{}
};

static struct kunit_suite request_test_suite = {
	.name = "iommu_tce",
	.init = memory_init,
	.exit = memory_exit,
	.test_cases = request_test_cases,
};

kunit_test_suite(request_test_suite);

MODULE_DESCRIPTION("KUnit tests of requests on TCE tables and regions");
MODULE_LICENSE("GPL");
