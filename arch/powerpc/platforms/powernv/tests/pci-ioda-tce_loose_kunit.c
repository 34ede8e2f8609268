// SPDX-License-Identifier: GPL-2.0
/*
 * Levels of TCE tables that are given back while the table is in use: which, by which
 * requests, and that their memory is freed only after the hardware is known to have
 * forgotten all of the table.
 */
#include <linux/delay.h>
#include <linux/sched/signal.h>
#include "pci-ioda-tce_ledger.h"

/* Levels between the first one and an entry, its leaf included. */
static unsigned long path_of(const struct iommu_table *tbl)
{
	return tbl->it_indirect_levels;
}

/* How many entries the slot of the root covers that a part has. */
static unsigned long part_size(const struct iommu_table *tbl)
{
	return part_of(tbl, 1) - part_of(tbl, 0);
}

static unsigned long leaf_start(const struct iommu_table *tbl, unsigned long index)
{
	return index & ~(tbl->it_level_size - 1);
}

/* Two drivers that use a page at a time, each in a leaf of its own. */
static void T21_single_pages_leave_levels_alone(struct kunit *test)
{
	const struct shape *shape;
	unsigned long ua = area(test), a, b, i;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct iommu_table *tbl;

	for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
		tbl = ledger_table(test, shape, IOMMU_TABLE_OWNED);
		a = part_of(tbl, 0);
		b = part_of(tbl, 2);
		KUNIT_EXPECT_EQ(test, map(tbl, a, 1, ua), 0);
		KUNIT_EXPECT_EQ(test, map(tbl, b, 1, ua), 0);
		KUNIT_EXPECT_EQ(test, census(tbl).levels, 1 + 2 * path_of(tbl));
		ledger.allocs = 0;
		ledger.frees = 0;
		ledger.kills = 0;
		ledger.whole_kills = 0;
		for (i = 0; i < 50; i++) {
			KUNIT_EXPECT_EQ(test, unmap(tbl, a, 1), 0);
			KUNIT_EXPECT_EQ(test, unmap(tbl, b, 1), 0);
			KUNIT_EXPECT_EQ(test, map(tbl, a, 1, ua), 0);
			KUNIT_EXPECT_EQ(test, map(tbl, b, 1, ua), 0);
		}
		KUNIT_EXPECT_EQ(test, ledger.allocs, 0);
		KUNIT_EXPECT_EQ(test, ledger.frees, 0);
		KUNIT_EXPECT_EQ(test, ledger.kills, 200);
		KUNIT_EXPECT_EQ(test, ledger.whole_kills, 0);
		ledger_expect_nothing_else(test, tbl);

		KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
		KUNIT_EXPECT_EQ(test, census(tbl).levels, 1);
		KUNIT_EXPECT_EQ(test, ledger.frees, 2 * path_of(tbl));
		KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
		ledger_table_end(test, tbl);
	}
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

static void I14_levels_go_with_a_request_that_covers_them(struct kunit *test)
{
	const struct shape *shape;
	unsigned long ua = area(test), a, leaf, part;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct iommu_table *tbl;

	for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
		tbl = ledger_table(test, shape, IOMMU_TABLE_OWNED);
		part = part_size(tbl);
		a = part_of(tbl, 2);
		leaf = leaf_start(tbl, a);
		KUNIT_EXPECT_EQ(test, map(tbl, a, 2, ua), 0);
		ledger.frees = 0;

		/* All but an entry at either end, mapped or not; then nothing that is mapped. */
		KUNIT_EXPECT_EQ(test, unmap(tbl, leaf + 1, tbl->it_level_size), 0);
		KUNIT_EXPECT_EQ(test, unmap(tbl, 0, leaf + tbl->it_level_size - 1), 0);
		KUNIT_EXPECT_EQ(test, ledger.frees, 0);
		KUNIT_EXPECT_NOT_NULL(test, leaf_of(tbl, a));

		/* The leaf, not what is above it; then that; and it can be made again. */
		KUNIT_EXPECT_EQ(test, unmap(tbl, leaf, tbl->it_level_size), 0);
		KUNIT_EXPECT_NULL(test, leaf_of(tbl, a));
		KUNIT_EXPECT_EQ(test, ledger.frees, 1);
		ledger_expect_nothing_else(test, tbl);
		KUNIT_EXPECT_EQ(test, unmap(tbl, 2 * part, part - 1), 0);
		KUNIT_EXPECT_EQ(test, census(tbl).levels, min(path_of(tbl), 2));
		KUNIT_EXPECT_EQ(test, unmap(tbl, 2 * part, part), 0);
		KUNIT_EXPECT_EQ(test, census(tbl).levels, 1);
		ledger_expect_nothing_else(test, tbl);
		KUNIT_EXPECT_EQ(test, map(tbl, a, 2, ua), 0);
		KUNIT_EXPECT_EQ(test, census(tbl).tces, 2);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 3);
		KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
		KUNIT_EXPECT_EQ(test, census(tbl).levels, 1);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
		ledger_table_end(test, tbl);
	}
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* Leaves next to each other: what is above them goes only with the last. */
static void populated_levels_stay(struct kunit *test)
{
	const struct shape *shape;
	unsigned long ua = area(test), leaf, a;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct iommu_table *tbl;

	for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
		tbl = ledger_table(test, shape, IOMMU_TABLE_OWNED);
		leaf = tbl->it_level_size;
		a = part_of(tbl, 1);
		KUNIT_EXPECT_EQ(test, map(tbl, a, 1, ua), 0);
		KUNIT_EXPECT_EQ(test, map(tbl, a + leaf, 1, ua), 0);
		ledger.frees = 0;
		KUNIT_EXPECT_EQ(test, unmap(tbl, 0, a + leaf), 0);
		KUNIT_EXPECT_EQ(test, ledger.frees, 1);
		KUNIT_EXPECT_NULL(test, leaf_of(tbl, a));
		KUNIT_EXPECT_NE(test, pnv_tce_get(tbl, tbl->it_offset + a + leaf), 0);
		ledger_expect_nothing_else(test, tbl);
		KUNIT_EXPECT_EQ(test, unmap(tbl, a + 1, tbl->it_size - a - 1), 0);
		KUNIT_EXPECT_EQ(test, census(tbl).tces, 0);
		KUNIT_EXPECT_NULL(test, leaf_of(tbl, a + leaf));
		KUNIT_EXPECT_EQ(test, census(tbl).levels, path_of(tbl));
		ledger_expect_nothing_else(test, tbl);
		ledger_table_end(test, tbl);
	}
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

static void I6_levels_stay_while_a_map_relies_on_them(struct kunit *test)
{
	const struct shape *shape;
	unsigned long ua = area(test), a;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct iommu_table *tbl;

	for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
		tbl = ledger_table(test, shape, IOMMU_TABLE_OWNED);
		a = part_of(tbl, 0);
		KUNIT_EXPECT_EQ(test, map(tbl, a, 1, ua), 0);
		KUNIT_EXPECT_EQ(test, pnv_tce_prealloc(tbl, tbl->it_offset + a, 20, 0), 0);
		ledger.frees = 0;
		KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
		KUNIT_EXPECT_EQ(test, census(tbl).leaves, 1);
		KUNIT_EXPECT_EQ(test, ledger.frees, 0);
		KUNIT_EXPECT_EQ(test, change(test, tbl, a, 20, 0x100000, TCE_RW), 0);
		KUNIT_EXPECT_EQ(test, change(test, tbl, a, 20, 0, 0), 20);
		pnv_tce_release(tbl);

		/* What could not be given back is found later. */
		KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
		KUNIT_EXPECT_EQ(test, census(tbl).levels, 1);
		ledger_expect_nothing_else(test, tbl);
		ledger_table_end(test, tbl);
	}
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* Some entries here and there, and an end of them in one way or the other. */
static void scattered(struct kunit *test, bool end)
{
	const struct shape *shape;
	unsigned long ua = area(test), i;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct iommu_table *tbl;
	int ret;

	for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
		tbl = ledger_table(test, shape, IOMMU_TABLE_OWNED);
		for (i = 3; i < tbl->it_size - 2; i = i * 5 / 2 + 7)
			KUNIT_EXPECT_EQ(test, map(tbl, i, 2, ua), 0);
		KUNIT_EXPECT_GT(test, census(tbl).leaves, 10);
		ledger.kills = 0;
		ret = end ? iommu_tce_close(tbl, current->mm) : unmap(tbl, 0, tbl->it_size);
		KUNIT_EXPECT_EQ(test, ret, 0);
		KUNIT_EXPECT_EQ(test, ledger.kills, 1);
		KUNIT_EXPECT_EQ(test, ledger.whole_kills, 1);
		KUNIT_EXPECT_EQ(test, census(tbl).levels, 1);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
		ledger_expect_nothing_else(test, tbl);
		ledger_table_end(test, tbl);
		ledger.whole_kills = 0;
	}
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

static void unmapping_the_window_gives_everything_back(struct kunit *test)
{
	scattered(test, false);
}

static void closing_the_window_gives_everything_back(struct kunit *test)
{
	scattered(test, true);
}

/* More leaves than are taken out at a time: as many kills as it takes, all before the frees. */
static void many_levels_are_given_back_in_pieces(struct kunit *test)
{
	struct iommu_table *tbl = ledger_table(test, &ledger_shapes[2], IOMMU_TABLE_OWNED);
	struct iommu_tce_change c = {
		.entry = tbl->it_offset, .left = tbl->it_size, .cover = tbl->it_offset,
		.cover_end = tbl->it_offset + tbl->it_size, .empty = ULONG_MAX,
	};
	unsigned long i, pieces = 0;
	bool more;

	/* One leaf in each of many parts: the way from one to the next counts, too. */
	for (i = 0; i < 60; i++)
		fill(test, tbl, part_of(tbl, i), 1, 0x100000);
	KUNIT_EXPECT_EQ(test, census(tbl).levels, 1 + 60 * path_of(tbl));
	ledger.frees = 0;
	while (c.left)
		KUNIT_ASSERT_EQ(test, tbl->it_ops->exchange(tbl, &c), 0);
	KUNIT_EXPECT_NULL(test, c.loose);
	do {
		more = tbl->it_ops->take_out(tbl, &c);
		ledger_expect_no_keeper(test, tbl);
		KUNIT_EXPECT_EQ(test, tbl->it_ops->tce_kill(tbl, tbl->it_offset, tbl->it_size), 0);
		if (c.loose)
			tbl->it_ops->free_loose(tbl, c.loose);
		c.loose = NULL;
		pieces++;
	} while (more && pieces < 100);
	KUNIT_EXPECT_FALSE(test, more);
	KUNIT_EXPECT_GT(test, pieces, 1);
	KUNIT_EXPECT_EQ(test, census(tbl).levels, 1);
	KUNIT_EXPECT_EQ(test, ledger.frees, 60 * path_of(tbl));
	ledger_table_end(test, tbl);
}

/* Two pieces of a request whose levels cannot all be had: a leaf is covered by it. */
static void T4_levels_that_are_of_no_use_are_given_back(struct kunit *test)
{
	struct iommu_table *tbl = ledger_table(test, &ledger_shapes[2], IOMMU_TABLE_OWNED);
	unsigned long first = 3 * tbl->it_level_size, n = 2 * tbl->it_level_size;
	struct mm_iommu_region *r = NULL;
	unsigned long ua = kunit_vm_mmap(test, NULL, 0, n * SZ_4K, PROT_READ | PROT_WRITE,
					 MAP_ANONYMOUS | MAP_PRIVATE, 0);

	KUNIT_ASSERT_NE(test, ua, 0);
	KUNIT_ASSERT_EQ(test, mm_iommu_register(current->mm, ua, n * SZ_4K, &r), 0);
	ledger.allocs = 0;
	ledger.frees = 0;
	ledger.fail = path_of(tbl) + 1;
	KUNIT_EXPECT_EQ(test, map(tbl, first, n, ua), -ENOMEM);
	ledger.fail = 0;
	KUNIT_EXPECT_EQ(test, ledger.frees, 1);
	KUNIT_EXPECT_EQ(test, ledger.whole_kills, 1);
	KUNIT_EXPECT_EQ(test, census(tbl).levels, path_of(tbl));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
	ledger_expect_nothing_else(test, tbl);
	KUNIT_EXPECT_EQ(test, map(tbl, first, n, ua), 0);
	KUNIT_EXPECT_EQ(test, unmap(tbl, first, n), 0);
	KUNIT_EXPECT_EQ(test, census(tbl).levels, path_of(tbl));
	ledger_table_end(test, tbl);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

static void R12_making_levels_ends_on_a_fatal_signal(struct kunit *test)
{
	struct iommu_table *tbl = ledger_table(test, &ledger_shapes[2], IOMMU_TABLE_OWNED);
	unsigned long ua = area(test), first = part_of(tbl, 1) - 10;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	int ret, mapped;

	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
	ret = pnv_tce_prealloc(tbl, tbl->it_offset, 64 * tbl->it_level_size, 0);
	mapped = map(tbl, first, 20, ua);
	flush_signals(current);
	disallow_signal(SIGKILL);
	KUNIT_EXPECT_EQ(test, ret, -EINTR);
	KUNIT_EXPECT_EQ(test, mapped, -EINTR);
	ledger_expect_no_keeper(test, tbl);
	KUNIT_EXPECT_LE(test, census(tbl).leaves, 2);
	KUNIT_EXPECT_EQ(test, census(tbl).tces, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
	KUNIT_EXPECT_EQ(test, map(tbl, first, 20, ua), 0);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
	KUNIT_EXPECT_EQ(test, census(tbl).levels, 1);
	ledger_table_end(test, tbl);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* ---- kills ---- */

/* The hardware goes on using what it has: nothing may be freed, nothing is let go. */
static void T13_failed_kill_keeps_levels_and_memory(struct kunit *test)
{
	const struct shape *shape;
	unsigned long ua = area(test), a;
	struct mm_iommu_region *r;
	struct iommu_table *tbl;
	size_t bytes;

	for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
		r = region(test, ua, AREA_PAGES);
		tbl = ledger_table(test, shape, IOMMU_TABLE_OWNED);
		a = part_of(tbl, 0);
		KUNIT_EXPECT_EQ(test, map(tbl, a, 2, ua), 0);
		bytes = ledger.bytes;
		ledger.frees = 0;
		ledger.refuse = true;
		KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), -EIO);
		ledger.refuse = false;
		KUNIT_EXPECT_TRUE(test, tbl->it_broken);
		KUNIT_EXPECT_EQ(test, ledger.frees, 0);
		KUNIT_EXPECT_EQ(test, ledger.bytes, bytes);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 3);
		KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), -EBUSY);

		/* Nothing new, of which nobody could say when it is gone; no splat at the end. */
		KUNIT_EXPECT_EQ(test, map(tbl, a, 1, ua), -EIO);
		KUNIT_EXPECT_EQ(test, map(tbl, a, 20, ua), -EIO);
		KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
		KUNIT_EXPECT_EQ(test, iommu_tce_close(tbl, current->mm), 0);
		KUNIT_EXPECT_EQ(test, census(tbl).tces, 0);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 3);
		KUNIT_EXPECT_GE(test, ledger.bytes, bytes);

		/* As if the window had been taken out of the hardware. */
		ledger.unkilled = false;
		ledger_table_end(test, tbl);
		mm_iommu_drop(r, 2);
		KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
	}
}

#define MANY	12	/* of which one change can report all */

/*
 * More regions than a request remembers at once, so that it kills in the middle of what one
 * change has replaced: what else that change has replaced is kept, too.
 */
static void T13_failed_kill_keeps_many_regions(struct kunit *test)
{
	struct mm_iommu_region *r[MANY];
	struct iommu_table *tbl = ledger_table(test, &ledger_shapes[1], IOMMU_TABLE_OWNED);
	const unsigned int per_page = PAGE_SIZE >> tbl->it_page_shift;
	unsigned long ua = area(test), i, n, step, round;

	for (i = 0; i < MANY; i++)
		r[i] = region(test, ua + i * PAGE_SIZE, 1);
	/* All of it is one run of owners; with gaps each entry is a run of its own. */
	for (round = 0; round < 3; round++) {
		n = round ? 1 : per_page;
		step = round ? 3 : per_page;
		for (i = 0; i < MANY; i++)
			KUNIT_EXPECT_EQ(test, map(tbl, i * step, n, ua + i * PAGE_SIZE), 0);
		ledger.refuse = true;
		if (round < 2)
			KUNIT_EXPECT_EQ(test, unmap(tbl, 0, MANY * step), -EIO);
		else
			KUNIT_EXPECT_EQ(test, iommu_tce_close(tbl, current->mm), -EIO);
		ledger.refuse = false;
		ledger.unkilled = false;
		tbl->it_broken = false;
		for (i = 0; i < MANY; i++) {
			KUNIT_EXPECT_EQ(test, atomic_long_read(&r[i]->mapped), 1 + n);
			atomic_long_set(&r[i]->mapped, 1);
		}
	}
	ledger_table_end(test, tbl);
	for (i = 0; i < MANY; i++)
		KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r[i]), 0);
}

/* The window ends with a kill that fails: what happens then is the same. */
static void T13_failed_kill_of_the_last_request(struct kunit *test)
{
	struct iommu_table *tbl = ledger_table(test, &ledger_shapes[1], IOMMU_TABLE_OWNED);
	unsigned long ua = area(test);
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);

	KUNIT_EXPECT_EQ(test, map(tbl, 7, 5, ua), 0);
	ledger.frees = 0;
	ledger.refuse = true;
	KUNIT_EXPECT_EQ(test, iommu_tce_close(tbl, current->mm), -EIO);
	KUNIT_EXPECT_EQ(test, ledger.frees, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 6);
	ledger.unkilled = false;
	ledger_table_end(test, tbl);
	mm_iommu_drop(r, 5);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* MAP over a live mapping: the old memory stays, and so does the new. */
static void T13_failed_kill_of_a_map(struct kunit *test)
{
	struct iommu_table *tbl = ledger_table(test, &ledger_shapes[0], IOMMU_TABLE_OWNED);
	unsigned long ua = area(test);
	struct mm_iommu_region *old = region(test, ua, 8);
	struct mm_iommu_region *new = region(test, ua + 8 * PAGE_SIZE, 8);

	KUNIT_EXPECT_EQ(test, map(tbl, 0, 8, ua), 0);
	ledger.refuse = true;
	KUNIT_EXPECT_EQ(test, map(tbl, 0, 8, ua + 8 * PAGE_SIZE), -EIO);
	KUNIT_EXPECT_EQ(test, census(tbl).tces, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&old->mapped), 9);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&new->mapped), 9);
	ledger.refuse = false;
	ledger_table_end(test, tbl);
	mm_iommu_drop(old, 8);
	mm_iommu_drop(new, 8);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, old), 0);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, new), 0);
}

/*
 * Somebody has taken a leaf out and not yet killed.  A request that makes one in its
 * place, or uses that, must not leave the old pointer to the hardware.
 */
static void T14_map_beside_loose_levels_kills_the_table(struct kunit *test)
{
	const struct shape *shape;
	unsigned long ua = area(test), a;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct iommu_table *tbl;

	for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
		struct iommu_tce_change c = { };

		tbl = ledger_table(test, shape, IOMMU_TABLE_OWNED);
		a = part_of(tbl, 1);
		fill(test, tbl, a, 1, 0x100000);
		KUNIT_EXPECT_EQ(test, change(test, tbl, a, 1, 0, 0), 1);
		c.cover = tbl->it_offset;
		c.cover_end = tbl->it_offset + tbl->it_size;
		c.empty = tbl->it_offset + a;
		c.empty_end = c.empty + 1;
		KUNIT_EXPECT_FALSE(test, tbl->it_ops->take_out(tbl, &c));
		KUNIT_ASSERT_NOT_NULL(test, c.loose);
		KUNIT_EXPECT_TRUE(test, ledger.unkilled);
		KUNIT_EXPECT_EQ(test, census(tbl).levels, 1);
		ledger.whole_kills = 0;

		/* Makes the leaf anew. */
		KUNIT_EXPECT_EQ(test, map(tbl, a, 1, ua), 0);
		KUNIT_EXPECT_FALSE(test, ledger.unkilled);
		KUNIT_EXPECT_EQ(test, ledger.whole_kills, 1);
		/* Finds it there. */
		KUNIT_EXPECT_EQ(test, map(tbl, a + 1, 1, ua), 0);
		KUNIT_EXPECT_EQ(test, ledger.whole_kills, 2);

		KUNIT_EXPECT_EQ(test, tbl->it_ops->tce_kill(tbl, tbl->it_offset, tbl->it_size), 0);
		tbl->it_ops->free_loose(tbl, c.loose);
		ledger.whole_kills = 0;
		KUNIT_EXPECT_EQ(test, map(tbl, a + 2, 1, ua), 0);
		KUNIT_EXPECT_EQ(test, ledger.whole_kills, 0);
		KUNIT_EXPECT_EQ(test, unmap(tbl, a, 3), 0);
		KUNIT_EXPECT_EQ(test, ledger.whole_kills, 0);
		ledger_expect_nothing_else(test, tbl);
		ledger_table_end(test, tbl);
	}
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* A thread that makes levels loose, once it may. */
struct unmapper {
	struct iommu_table *tbl;
	struct mm_struct *mm;
	bool go;
	int ret;
};

static int unmapper_thread(void *arg)
{
	struct unmapper *u = arg;

	while (!READ_ONCE(u->go))
		cond_resched();
	u->ret = unmap_for(u->mm, u->tbl, part_size(u->tbl), u->tbl->it_size - part_size(u->tbl));
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
	struct iommu_table *tbl = ledger_table(test, &ledger_shapes[1], IOMMU_TABLE_OWNED);
	unsigned long ua = area(test), frees, tries;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct unmapper u = { .tbl = tbl, .mm = current->mm, .ret = 1 };
	/* Not that of a leaf that goes. */
	spinlock_t *lock = ledger_leaf_lock(tbl, tbl->it_level_size);
	struct task_struct *task;

	KUNIT_ASSERT_PTR_NE(test, lock, ledger_leaf_lock(tbl, part_of(tbl, 2)));
	KUNIT_EXPECT_EQ(test, map(tbl, part_of(tbl, 2), 1, ua), 0);
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

/* ---- what the rest of the kernel knows of levels ---- */

static void T19_levels_are_counted_or_no_leaks(struct kunit *test)
{
	unsigned long levels, size, pages;
	const struct shape *shape;
	struct iommu_table *tbl;
	int user;

	for (user = 0; user <= 1; user++)
		for (shape = ledger_shapes; shape < ledger_shapes + LEDGER_SHAPES; shape++) {
			ledger.leak_ignored = 0;
			tbl = ledger_table(test, shape, kind_for(user));
			if (user)
				fill(test, tbl, part_of(tbl, 1) - 10, 20, 0x100000);
			else
				pnv_tce_build(tbl, tbl->it_offset + part_of(tbl, 1) - 10, 20,
					      PAGE_OFFSET, DMA_BIDIRECTIONAL, 0);
			levels = census_of(tbl, user).levels;
			size = tbl->it_level_size * 8 * (user ? 2 : 1);
			pages = size / PAGE_SIZE;
			KUNIT_EXPECT_EQ(test, levels, 1 + 2 * path_of(tbl));
			KUNIT_EXPECT_EQ(test, ledger.page_table_pages, levels * pages);
			KUNIT_EXPECT_EQ(test, ledger.leak_ignored, pages ? 0 : levels);
			ledger_table_end(test, tbl);
		}
}

static struct kunit_case loose_test_cases[] = {
	KUNIT_CASE(T21_single_pages_leave_levels_alone),
	KUNIT_CASE(I14_levels_go_with_a_request_that_covers_them),
	KUNIT_CASE(populated_levels_stay),
	KUNIT_CASE(I6_levels_stay_while_a_map_relies_on_them),
	KUNIT_CASE(unmapping_the_window_gives_everything_back),
	KUNIT_CASE(closing_the_window_gives_everything_back),
	KUNIT_CASE(many_levels_are_given_back_in_pieces),
	KUNIT_CASE(T4_levels_that_are_of_no_use_are_given_back),
	KUNIT_CASE(R12_making_levels_ends_on_a_fatal_signal),
	KUNIT_CASE(T13_failed_kill_keeps_levels_and_memory),
	KUNIT_CASE(T13_failed_kill_keeps_many_regions),
	KUNIT_CASE(T13_failed_kill_of_the_last_request),
	KUNIT_CASE(T13_failed_kill_of_a_map),
	KUNIT_CASE(T14_map_beside_loose_levels_kills_the_table),
	KUNIT_CASE(I6_loose_levels_wait_for_leaf_locks),
	KUNIT_CASE(T19_levels_are_counted_or_no_leaks),
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
