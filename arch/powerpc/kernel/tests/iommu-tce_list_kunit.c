// SPDX-License-Identifier: GPL-2.0
/*
 * Requests on lists of TCEs in several tables, as guests make them, and the watches of tables.
 *
 * A list is changed in all tables or in none: each case that makes a request fail
 * compares tables and counts with what they were.
 */
#include <linux/prandom.h>
#include "../../platforms/powernv/tests/pci-ioda-tce_kunit.h"

#define LIST_MOST	64

static unsigned long kills;
static int kill_result;

static int list_kill(struct iommu_table *tbl, unsigned long index, unsigned long npages)
{
	kills++;
	return kill_result;
}

static bool no_nodes;

/* Is closed as soon as the nodes of all tables have been made, by somebody else. */
static struct iommu_table *closing;
static int close_result;

static int list_prealloc(struct iommu_table *tbl, unsigned long entry, unsigned long npages,
			 unsigned int nest)
{
	int ret = no_nodes ? -ENOMEM : pnv_tce_prealloc(tbl, entry, npages, nest);

	if (closing)
		close_result = iommu_tce_close(closing, current->mm);
	return ret;
}

static struct iommu_table_ops list_ops = {
	.tce_kill = list_kill,
	TCE_TABLE_OPS,
};

/* Tables whose nodes cannot be made when a case says so. */
static struct iommu_table_ops poor_ops;

static struct iommu_tce_target target(struct iommu_table *tbl, unsigned long index,
				      unsigned int sub_shift)
{
	return (struct iommu_tce_target){ tbl, tbl->it_offset + index, sub_shift };
}

/* Two tables, one with pages as large as the items and one with smaller ones. */
struct two {
	struct iommu_table *tbl[2];
	struct iommu_tce_target targets[2];
	u64 items[LIST_MOST];
	unsigned long ua;
	struct mm_iommu_region *region;
};

static void two_begin(struct kunit *test, struct two *two)
{
	kills = 0;
	kill_result = 0;
	no_nodes = false;
	closing = NULL;
	poor_ops = list_ops;
	poor_ops.prealloc = list_prealloc;
	two->tbl[0] = ops_table(test, &list_ops, PAGE_SHIFT, 1ULL << 40, 2);
	two->tbl[1] = ops_table(test, &poor_ops, 12, 1ULL << 36, 2);
	two->targets[0] = target(two->tbl[0], 100, 0);
	two->targets[1] = target(two->tbl[1], 100UL << (PAGE_SHIFT - 12), PAGE_SHIFT - 12);
	two->ua = area(test);
	two->region = region(test, two->ua, AREA_PAGES);
}

static void two_end(struct kunit *test, struct two *two)
{
	unmap(two->tbl[0], 0, two->tbl[0]->it_size);
	unmap(two->tbl[1], 0, two->tbl[1]->it_size);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&two->region->mapped), 1);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, two->region), 0);
}

static int map_list(const struct two *two, unsigned int nr, unsigned int n)
{
	const struct iommu_tce_list list = { current->mm, n, two->items };

	return iommu_tce_change_list(two->targets, nr, &list);
}

/* What the entries of an item should be. */
static void expect_item(struct kunit *test, const struct two *two, unsigned int t, unsigned int i,
			u64 item)
{
	const struct iommu_tce_target *at = &two->targets[t];
	unsigned long index = at->entry - at->tbl->it_offset + ((unsigned long)i << at->sub_shift);
	u64 ua = item & ~(u64)TCE_RW, hpa = 0, perms = item & TCE_RW;
	unsigned int k;

	if (perms)
		hpa = mm_iommu_blocks_hpa(&two->region->blocks, ua);
	if (perms & TCE_PCI_WRITE)
		perms |= TCE_PCI_READ;
	for (k = 0; k < 1 << at->sub_shift; k++) {
		u64 offset = (u64)k << at->tbl->it_page_shift;

		KUNIT_EXPECT_EQ(test, pnv_tce_get(at->tbl, at->tbl->it_offset + index + k),
				perms ? (hpa + offset) | perms : 0);
		KUNIT_EXPECT_EQ(test, owner_of(at->tbl, index + k), perms ? ua + offset : 0);
	}
}

static long counted(const struct two *two, unsigned int n)
{
	unsigned int i, pages = 0;

	for (i = 0; i < n; i++)
		pages += !!(two->items[i] & TCE_RW);
	return pages * (1L + (1L << (PAGE_SHIFT - 12)));
}

static void random_items(struct two *two, struct rnd_state *rnd, unsigned int n)
{
	unsigned int i, page;

	for (i = 0; i < n; i++) {
		page = prandom_u32_state(rnd) % AREA_PAGES;
		/* Runs, too. */
		if (i && prandom_u32_state(rnd) % 2 && two->items[i - 1] & TCE_RW &&
		    (two->items[i - 1] & ~(u64)TCE_RW) < two->ua + (AREA_PAGES - 1) * PAGE_SIZE)
			two->items[i] = two->items[i - 1] + PAGE_SIZE;
		else
			two->items[i] = (two->ua + page * PAGE_SIZE) |
					prandom_u32_state(rnd) % (TCE_RW + 1);
		if (!(two->items[i] & TCE_RW))
			two->items[i] = 0;
	}
}

static void lists_go_to_all_tables(struct kunit *test)
{
	struct two *two = kunit_kzalloc(test, sizeof(*two), GFP_KERNEL);
	struct rnd_state rnd;
	unsigned int round, i, n;

	KUNIT_ASSERT_NOT_NULL(test, two);
	two_begin(test, two);
	prandom_seed_state(&rnd, 14);
	for (round = 0; round < 200; round++) {
		n = 1 + prandom_u32_state(&rnd) % LIST_MOST;
		random_items(two, &rnd, n);
		kills = 0;
		KUNIT_ASSERT_EQ(test, map_list(two, 2, n), 0);
		/* One for each table, or none where nothing changed. */
		KUNIT_EXPECT_LE(test, kills, 2);
		for (i = 0; i < n; i++) {
			expect_item(test, two, 0, i, two->items[i]);
			expect_item(test, two, 1, i, two->items[i]);
		}
		unmap(two->tbl[0], 100 + n, LIST_MOST);
		unmap(two->tbl[1], (100UL + n) << (PAGE_SHIFT - 12),
		      LIST_MOST << (PAGE_SHIFT - 12));
		KUNIT_ASSERT_EQ(test, atomic_long_read(&two->region->mapped),
				1 + counted(two, n));
	}
	two_end(test, two);
}

static void one_table_takes_the_same_lists(struct kunit *test)
{
	struct two *two = kunit_kzalloc(test, sizeof(*two), GFP_KERNEL);
	struct rnd_state rnd;
	unsigned int round, i, n, t;

	KUNIT_ASSERT_NOT_NULL(test, two);
	two_begin(test, two);
	prandom_seed_state(&rnd, 15);
	for (round = 0; round < 200; round++) {
		t = round % 2;
		n = 1 + prandom_u32_state(&rnd) % (round % 3 ? 3 : LIST_MOST);
		random_items(two, &rnd, n);
		if (t)
			swap(two->targets[0], two->targets[1]);
		KUNIT_ASSERT_EQ(test, map_list(two, 1, n), 0);
		for (i = 0; i < n; i++)
			expect_item(test, two, 0, i, two->items[i]);
		if (t)
			swap(two->targets[0], two->targets[1]);
	}
	two_end(test, two);
}

/* Every way to fail before the first change. */
static void K6_list_that_fails_changes_no_table(struct kunit *test)
{
	static const char * const why[] = { "memory", "alignment", "nodes", "closed" };
	struct two *two = kunit_kzalloc(test, sizeof(*two), GFP_KERNEL);
	unsigned int i, k;
	u64 good[8];
	long mapped;
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, two);
	two_begin(test, two);
	for (i = 0; i < 8; i++)
		two->items[i] = (two->ua + (i * 5 % 8) * PAGE_SIZE) | TCE_RW;
	KUNIT_ASSERT_EQ(test, map_list(two, 2, 8), 0);
	memcpy(good, two->items, sizeof(good));
	mapped = atomic_long_read(&two->region->mapped);
	for (k = 0; k < ARRAY_SIZE(why); k++) {
		for (i = 0; i < 8; i++)
			two->items[i] = (two->ua + (8 + i) * PAGE_SIZE) | TCE_RW;
		two->items[3] = 0;
		if (k == 0)
			two->items[6] = (two->ua + AREA_PAGES * PAGE_SIZE) | TCE_RW;
		if (k == 1)
			two->items[6] += PAGE_SIZE / 2;
		no_nodes = k == 2;
		if (k == 3)
			pnv_tce_close(two->tbl[1]);
		kills = 0;
		ret = map_list(two, 2, 8);
		KUNIT_EXPECT_EQ_MSG(test, ret, k < 2 ? -EINVAL : k == 2 ? -ENOMEM : -ENODEV, "%s",
				    why[k]);
		KUNIT_EXPECT_EQ(test, kills, 0);
		KUNIT_EXPECT_EQ_MSG(test, atomic_long_read(&two->region->mapped), mapped, "%s",
				    why[k]);
		for (i = 0; i < 8; i++) {
			expect_item(test, two, 0, i, good[i]);
			expect_item(test, two, 1, i, good[i]);
		}
	}
	no_nodes = false;
	two_end(test, two);
}

/* Whichever it is: it stays empty, and the other one is changed. */
static void K6_table_that_is_closed_amid_a_list(struct kunit *test)
{
	struct two *two = kunit_kzalloc(test, sizeof(*two), GFP_KERNEL);
	const unsigned long per_item[] = { 1, 1UL << (PAGE_SHIFT - 12) };
	unsigned int i, k;

	KUNIT_ASSERT_NOT_NULL(test, two);
	for (k = 0; k < 2; k++) {
		two_begin(test, two);
		for (i = 0; i < 8; i++)
			two->items[i] = (two->ua + (i * 5 % 8) * PAGE_SIZE) | TCE_RW;
		closing = two->tbl[k];
		close_result = 1;
		KUNIT_EXPECT_EQ(test, map_list(two, 2, 8), -ENODEV);
		closing = NULL;
		KUNIT_EXPECT_EQ(test, close_result, 0);
		for (i = 0; i < 8; i++) {
			expect_item(test, two, k, i, 0);
			expect_item(test, two, !k, i, two->items[i]);
		}
		KUNIT_EXPECT_EQ(test, atomic_long_read(&two->region->mapped),
				1 + 8 * per_item[!k]);
		two_end(test, two);
	}
}

/* What the hardware may still reach stays counted, and nothing else; no table keeps a new TCE. */
static void K6_kill_that_fails_clears_all_tables(struct kunit *test)
{
	struct two *two = kunit_kzalloc(test, sizeof(*two), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, two);
	two_begin(test, two);
	for (i = 0; i < 8; i++)
		two->items[i] = (two->ua + (i * 5 % 8) * PAGE_SIZE) | TCE_RW;
	kill_result = -EIO;
	KUNIT_EXPECT_EQ(test, map_list(two, 2, 8), -EIO);
	for (i = 0; i < 8; i++) {
		expect_item(test, two, 0, i, 0);
		expect_item(test, two, 1, i, 0);
	}
	KUNIT_EXPECT_EQ(test, map_list(two, 2, 8), -EIO);
	KUNIT_EXPECT_EQ(test, map_list(two, 1, 1), -EIO);
	kill_result = 0;
	/* Counts of what was written into the first table, whose kill failed. */
	KUNIT_EXPECT_EQ(test, atomic_long_read(&two->region->mapped), 1 + 8);
	mm_iommu_drop(two->region, 8);
	two_end(test, two);
}

static void one_entry_is_exchanged(struct kunit *test)
{
	struct two *two = kunit_kzalloc(test, sizeof(*two), GFP_KERNEL);
	struct iommu_table *tbl;
	unsigned long entry;
	struct mm_struct *mm = current->mm;

	KUNIT_ASSERT_NOT_NULL(test, two);
	two_begin(test, two);
	tbl = two->tbl[0];
	entry = two->targets[0].entry;
	KUNIT_EXPECT_EQ(test, iommu_tce_change_one(tbl, mm, entry, 0), 0);
	KUNIT_EXPECT_EQ(test, kills, 0);
	/* The leaf does not exist. */
	KUNIT_EXPECT_EQ(test, iommu_tce_change_one(tbl, mm, entry, two->ua | TCE_RW), -EAGAIN);
	KUNIT_EXPECT_EQ(test, map(tbl, 100, 1, two->ua), 0);
	KUNIT_EXPECT_EQ(test, kills, 1);
	expect_item(test, two, 0, 0, two->ua | TCE_RW);
	KUNIT_EXPECT_EQ(test, iommu_tce_change_one(tbl, mm, entry + 1,
						   (two->ua + PAGE_SIZE / 2) | TCE_RW),
			-EAGAIN);
	KUNIT_EXPECT_EQ(test, iommu_tce_change_one(tbl, mm, entry,
						   (two->ua + AREA_PAGES * PAGE_SIZE) | TCE_RW),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, iommu_tce_change_one(tbl, mm, entry,
						   (two->ua + PAGE_SIZE) | TCE_PCI_WRITE), 0);
	expect_item(test, two, 0, 0, (two->ua + PAGE_SIZE) | TCE_PCI_WRITE);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&two->region->mapped), 2);
	KUNIT_EXPECT_EQ(test, iommu_tce_change_one(tbl, mm, entry, 0), 0);
	expect_item(test, two, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, kills, 3);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&two->region->mapped), 1);

	/* The old TCE pointed to the same page: its count stays, the new one does not. */
	KUNIT_EXPECT_EQ(test, iommu_tce_change_one(tbl, mm, entry, two->ua | TCE_RW), 0);
	kill_result = -EIO;
	KUNIT_EXPECT_EQ(test, iommu_tce_change_one(tbl, mm, entry, two->ua | TCE_RW), -EIO);
	expect_item(test, two, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&two->region->mapped), 3);
	kill_result = 0;
	mm_iommu_drop(two->region, 2);
	two_end(test, two);
}

static unsigned int told;

static void note_closed(struct iommu_tce_watch *watch)
{
	told++;
}

static void K5_watches_are_told_once(struct kunit *test)
{
	struct iommu_tce_watch a = { .closed = note_closed }, b = a, late = a;
	struct iommu_table *tbl = ops_table(test, &list_ops, PAGE_SHIFT, 1ULL << 40, 2);
	unsigned int refs = kref_read(&tbl->it_kref);

	told = 0;
	KUNIT_EXPECT_EQ(test, iommu_tce_watch(tbl, &a), 0);
	KUNIT_EXPECT_EQ(test, iommu_tce_watch(tbl, &b), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), refs + 2);
	KUNIT_EXPECT_TRUE(test, iommu_tce_unwatch(&b));
	iommu_tce_watch_put(tbl);
	KUNIT_EXPECT_EQ(test, iommu_tce_close(tbl, current->mm), 0);
	KUNIT_EXPECT_EQ(test, told, 1);
	KUNIT_EXPECT_EQ(test, iommu_tce_close(tbl, current->mm), 0);
	KUNIT_EXPECT_EQ(test, told, 1);
	KUNIT_EXPECT_FALSE(test, iommu_tce_unwatch(&a));
	KUNIT_EXPECT_EQ(test, iommu_tce_watch(tbl, &late), -ENODEV);
	iommu_tce_watch_put(tbl);
	KUNIT_EXPECT_EQ(test, iommu_tce_wait_watches(tbl), 0);
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), refs);
}

static struct kunit_case list_test_cases[] = {
	KUNIT_CASE(lists_go_to_all_tables),
	KUNIT_CASE(one_table_takes_the_same_lists),
	KUNIT_CASE(K6_list_that_fails_changes_no_table),
	KUNIT_CASE(K6_table_that_is_closed_amid_a_list),
	KUNIT_CASE(K6_kill_that_fails_clears_all_tables),
	KUNIT_CASE(one_entry_is_exchanged),
	KUNIT_CASE(K5_watches_are_told_once),
	{}
};

static struct kunit_suite list_test_suite = {
	.name = "iommu_tce_list",
	.init = memory_init,
	.exit = memory_exit,
	.test_cases = list_test_cases,
};

kunit_test_suite(list_test_suite);

MODULE_DESCRIPTION("KUnit tests of requests on lists of TCEs");
MODULE_LICENSE("GPL");
