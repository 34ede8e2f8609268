// SPDX-License-Identifier: GPL-2.0
/*
 * How levels of TCE tables come and go with their table: levels that cannot be had, that
 * two processors make at once, and what freeing a table frees.
 */
#include "pci-ioda-tce_ledger.h"

/* ---- memory that cannot be had ---- */

static void T4_table_that_cannot_be_had_leaves_nothing(struct kunit *test)
{
	struct iommu_table tbl = { };
	unsigned long n;
	u32 levels;
	int ret;

	for (levels = 1; levels <= 2; levels++)
		for (ret = -ENOMEM, n = 1; ret; n++) {
			ledger.allocs = 0;
			ledger.fail = n;
			ret = try_table(&tbl, 16, 1 << 30, levels);
			KUNIT_EXPECT_EQ(test, ret, n <= (levels == 1 ? 3 : 2) ? -ENOMEM : 0);
			KUNIT_EXPECT_EQ(test, !tbl.it_tree, ret != 0);
			KUNIT_ASSERT_LT(test, n, 10);
			pnv_pci_ioda2_table_free_pages(&tbl);
			KUNIT_EXPECT_EQ(test, ledger.bytes, 0);
			KUNIT_EXPECT_EQ(test, ledger.bad_frees, 0);
		}
}

/* Entries across the border of two first-level slots, with @fail failing. */
static int try_levels(struct iommu_table *tbl, bool user, unsigned long fail)
{
	unsigned long first = part_of(tbl, 1) - 10;
	int ret;

	ledger.allocs = 0;
	ledger.fail = fail;
	if (!user)
		return pnv_tce_build(tbl, tbl->it_offset + first, 20, PAGE_OFFSET,
				     DMA_BIDIRECTIONAL, 0);
	ret = pnv_tce_prealloc(tbl, tbl->it_offset + first, 20, 0);
	if (!ret)
		pnv_tce_release(tbl);
	return ret;
}

static void T4_levels_that_cannot_be_had_leave_nothing(struct kunit *test)
{
	const struct shape *shape;
	struct iommu_table *tbl;
	unsigned long n, want;
	struct census c;
	int user, ret;

	for (user = 0; user <= 1; user++)
		for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
			want = 2 * (shape->levels - 1);
			for (ret = -ENOMEM, n = 1; ret; n++) {
				tbl = ledger_table(test, shape, kind_for(user));
				ret = try_levels(tbl, user, n);
				c = census_of(tbl, user);
				KUNIT_EXPECT_EQ(test, ret, n <= want ? -ENOMEM : 0);
				KUNIT_EXPECT_EQ(test, c.levels, 1 + (ret ? n - 1 : want));
				KUNIT_EXPECT_EQ(test, c.tces, user || ret ? 0 : 20);
				ledger_expect_no_keeper(test, tbl);
				ledger_expect_nothing_else(test, tbl);
				/* What is there is of use to who tries again. */
				if (ret)
					KUNIT_EXPECT_EQ(test, try_levels(tbl, user, 0), 0);
				KUNIT_EXPECT_EQ(test, ledger.allocs, want - (ret ? n - 1 : 0));
				ledger_table_end(test, tbl);
				KUNIT_ASSERT_LE(test, n, want + 1);
			}
		}
}

static void T4_map_without_memory_changes_nothing(struct kunit *test)
{
	const struct shape *shape;
	unsigned long ua = area(test), n, want, first, tce;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct iommu_table *tbl;
	int ret;

	for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
		want = 2 * (shape->levels - 1);
		tbl = ledger_table(test, shape, IOMMU_TABLE_OWNED);
		first = part_of(tbl, 3) - 10;
		KUNIT_EXPECT_EQ(test, map(tbl, 7, 4, ua), 0);
		tce = pnv_tce_get(tbl, tbl->it_offset + 7);
		for (ret = -ENOMEM, n = 1; ret && n <= want + 1; n++) {
			ledger.kills = 0;
			ledger.allocs = 0;
			ledger.fail = 1;
			ret = map(tbl, first, 20, ua);
			KUNIT_EXPECT_EQ(test, ret, n <= want ? -ENOMEM : 0);
			KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 5 + (ret ? 0 : 20));
			KUNIT_EXPECT_EQ(test, census(tbl).tces, 4 + (ret ? 0 : 20));
			KUNIT_EXPECT_EQ(test, ledger.kills, ret ? 0 : 1);
			/* One entry, which is tried without new levels first. */
			ledger.allocs = 0;
			KUNIT_EXPECT_EQ(test, map(tbl, part_of(tbl, 5), 1, ua), -ENOMEM);
			KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, tbl->it_offset + 7), tce);
			ledger_expect_nothing_else(test, tbl);
			/* One level more for the next attempt. */
			ledger.allocs = 0;
			ledger.fail = 2;
			if (ret && !pnv_tce_prealloc(tbl, tbl->it_offset + first, 20, 0))
				pnv_tce_release(tbl);
		}
		ledger.fail = 0;
		KUNIT_EXPECT_EQ(test, ret, 0);
		KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
		ledger_table_end(test, tbl);
	}
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* ---- freeing a table ---- */

static void freeing_a_table_frees_every_level(struct kunit *test)
{
	const struct shape *shape;
	unsigned long i, had;
	struct iommu_table *tbl;

	for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
		tbl = ledger_table(test, shape, IOMMU_TABLE_OWNED);
		for (i = 3; i < tbl->it_size; i = i * 5 / 2 + 7)
			fill(test, tbl, i, 1, 0x100000);
		ledger_expect_nothing_else(test, tbl);
		had = census(tbl).levels;
		KUNIT_EXPECT_GT(test, had, 10);
		ledger.frees = 0;
		ledger_table_end(test, tbl);
		KUNIT_EXPECT_EQ(test, ledger.frees, had + 1);
	}
}

/* What a table of one level has besides its entries: owners, counts of valid TCEs, neither. */
static size_t bytes_of_kind(struct kunit *test, enum iommu_table_kind kind)
{
	const struct shape shape = { 12, 31, 1 };
	struct iommu_table *tbl = ledger_table(test, &shape, kind);
	size_t bytes = ledger.bytes;

	ledger_expect_nothing_else(test, tbl);
	ledger_table_end(test, tbl);
	return bytes;
}

static void a_bare_table_has_no_owners(struct kunit *test)
{
	size_t kernel = bytes_of_kind(test, IOMMU_TABLE_KERNEL);
	size_t bare = bytes_of_kind(test, IOMMU_TABLE_BARE);
	size_t owned = bytes_of_kind(test, IOMMU_TABLE_OWNED);

	KUNIT_EXPECT_GE(test, kernel, SZ_4M);
	KUNIT_EXPECT_LT(test, bare, kernel + SZ_4K);
	KUNIT_EXPECT_GE(test, owned, kernel + SZ_4M);
}

/* ---- levels that two processors make ---- */

#define RACE_ROUNDS	100

/* The same entry, or its neighbour, of a part of the table that has no levels yet. */
struct level_maker {
	struct iommu_table *tbl;
	bool user;
	unsigned int neighbour;
	unsigned int wrong;
};

static void level_maker_round(struct level_maker *m, unsigned long round)
{
	unsigned long entry = m->tbl->it_offset + part_of(m->tbl, 1 + round) + m->neighbour;
	unsigned long ua = PAGE_OFFSET + (round << 16);
	int ret;

	ledger_meet();
	if (m->user) {
		ret = pnv_tce_prealloc(m->tbl, entry, 1, 0);
		if (!ret)
			pnv_tce_release(m->tbl);
	} else {
		ret = pnv_tce_build(m->tbl, entry, 1, ua, DMA_TO_DEVICE, 0);
		m->wrong += pnv_tce_get(m->tbl, entry) != (__pa(ua) | TCE_PCI_READ);
	}
	m->wrong += ret != 0;
}

static int level_maker_thread(void *arg)
{
	struct level_maker *m = arg;
	unsigned long round;

	for (round = 0; round < RACE_ROUNDS; round++)
		level_maker_round(m, round);
	while (!kthread_should_stop())
		cond_resched();
	return 0;
}

static void race_for_levels(struct kunit *test, const struct shape *shape, bool user)
{
	struct level_maker here = { .user = user }, there = { .user = user, .neighbour = 1 };
	unsigned long round, new = (shape->levels - 1) * RACE_ROUNDS;
	struct iommu_table *tbl = ledger_table(test, shape, kind_for(user));
	struct task_struct *task;
	struct census c;

	here.tbl = tbl;
	there.tbl = tbl;
	ledger.allocs = 0;
	ledger.frees = 0;
	ledger_meeting.on = true;
	task = run_elsewhere(test, level_maker_thread, &there);
	for (round = 0; round < RACE_ROUNDS; round++)
		level_maker_round(&here, round);
	kthread_stop(task);
	ledger_meeting.on = false;

	/* Both allocate before one of them publishes. */
	KUNIT_EXPECT_EQ(test, atomic_read(&ledger_meeting.missed), 0);
	KUNIT_EXPECT_EQ(test, ledger.allocs, 2 * new);
	KUNIT_EXPECT_EQ(test, ledger.frees, new);
	KUNIT_EXPECT_EQ(test, here.wrong + there.wrong, 0);
	c = census_of(tbl, user);
	KUNIT_EXPECT_EQ(test, c.levels, new + 1);
	KUNIT_EXPECT_EQ(test, c.tces, user ? 0 : 2 * RACE_ROUNDS);
	ledger_expect_nothing_else(test, tbl);
	ledger_table_end(test, tbl);
}

static void T5_who_loses_a_race_for_a_level_frees_its_own(struct kunit *test)
{
	static const struct shape shapes[] = { { 16, 40, 2 }, { 16, 46, 3 } };

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two processors");
	race_for_levels(test, &shapes[0], true);
	race_for_levels(test, &shapes[1], true);
	race_for_levels(test, &shapes[0], false);
	race_for_levels(test, &shapes[1], false);
}

static struct kunit_case levels_test_cases[] = {
	KUNIT_CASE(T4_table_that_cannot_be_had_leaves_nothing),
	KUNIT_CASE(T4_levels_that_cannot_be_had_leave_nothing),
	KUNIT_CASE(T4_map_without_memory_changes_nothing),
	KUNIT_CASE(freeing_a_table_frees_every_level),
	KUNIT_CASE(a_bare_table_has_no_owners),
	KUNIT_CASE(T5_who_loses_a_race_for_a_level_frees_its_own),
	{}
};

static struct kunit_suite levels_test_suite = {
	.name = "pnv_tce_levels",
	.init = ledger_init,
	.exit = ledger_exit,
	.test_cases = levels_test_cases,
};

kunit_test_suite(levels_test_suite);

MODULE_DESCRIPTION("KUnit tests of the memory of powernv TCE tables");
MODULE_LICENSE("GPL");
