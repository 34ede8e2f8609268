// SPDX-License-Identifier: GPL-2.0
/*
 * The code of TCE tables with an allocator that keeps a ledger.
 *
 * The code under test is compiled into this file a second time, under the names that
 * the header gives it.  It owns the ledger, the operations of tables that use it, and
 * the comparison of what is in the ledger with what can be reached from a table.
 */
#include <linux/atomic.h>
#include <linux/iommu.h>
#include <linux/log2.h>
#include <linux/of.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include "pci-ioda-tce_ledger.h"

struct ledger ledger;
struct ledger_meeting ledger_meeting;

const struct shape ledger_shapes[LEDGER_SHAPES] = { { 12, 40, 2 }, { 12, 46, 3 }, { 12, 57, 5 } };

/* Wait for the other processor, if there is one that comes here too. */
void ledger_meet(void)
{
	unsigned long end = jiffies + 20 * HZ;
	int all;

	if (!ledger_meeting.on)
		return;
	all = round_up(atomic_inc_return(&ledger_meeting.arrived), 2);
	while (atomic_read(&ledger_meeting.arrived) < all) {
		if (time_after(jiffies, end)) {
			atomic_inc(&ledger_meeting.missed);
			return;
		}
		cond_resched();
	}
}

static unsigned int ledger_find(const void *start)
{
	unsigned int i;

	for (i = 0; i < LEDGER_BLOCKS && ledger.blocks[i].start != start; i++)
		;
	return i;
}

static void *ledger_alloc(size_t size, gfp_t gfp, int nid)
{
	unsigned int i = LEDGER_BLOCKS;
	void *start = NULL;

	spin_lock(&ledger.lock);
	if (++ledger.allocs != ledger.fail)
		start = kzalloc_node(size, GFP_ATOMIC | __GFP_NOWARN, nid);
	if (start)
		i = ledger_find(NULL);
	if (i < LEDGER_BLOCKS) {
		ledger.blocks[i].start = start;
		ledger.blocks[i].size = size;
		ledger.bytes += size;
	}
	spin_unlock(&ledger.lock);
	ledger_meet();
	return start;
}

static void ledger_free(const void *start)
{
	unsigned int i;

	if (!start)
		return;
	spin_lock(&ledger.lock);
	i = ledger_find(start);
	ledger.frees++;
	ledger.early_frees += ledger.unkilled;
	if (i < LEDGER_BLOCKS) {
		/* Who still looks finds nothing. */
		memset(ledger.blocks[i].start, 0, ledger.blocks[i].size);
		kfree(start);
		ledger.bytes -= ledger.blocks[i].size;
		ledger.blocks[i].start = NULL;
	} else {
		ledger.bad_frees++;
	}
	spin_unlock(&ledger.lock);
}

#undef kzalloc_node
#define kzalloc_node(size, gfp, nid)	ledger_alloc(size, gfp, nid)
#define kfree(start)			ledger_free(start)
#include "../pci-ioda-tce.c"

static void ledger_kill(struct iommu_table *tbl, unsigned long entry, unsigned long npages)
{
	spin_lock(&ledger.lock);
	ledger.kills++;
	if (entry == tbl->it_offset && npages == tbl->it_size) {
		ledger.whole_kills++;
		ledger.unkilled = false;
	}
	spin_unlock(&ledger.lock);
}

static int ledger_exchange(struct iommu_table *tbl, struct iommu_tce_change *c)
{
	void *loose = c->loose;
	int ret = pnv_tce_exchange(tbl, c);

	if (c->loose != loose)
		ledger.unkilled = true;
	return ret;
}

struct iommu_table_ops ledger_ops = {
	.tce_kill = ledger_kill,
	.prealloc = pnv_tce_prealloc,
	.release = pnv_tce_release,
	.exchange = ledger_exchange,
	.free_loose = pnv_tce_free_loose,
	.close = pnv_tce_close,
	.free = pnv_pci_ioda2_table_free_pages,
};

spinlock_t *ledger_leaf_lock(const struct iommu_table *tbl, unsigned long index)
{
	return tce_lock(tbl->it_tree, index);
}

int ledger_init(struct kunit *test)
{
	memset(&ledger, 0, sizeof(ledger));
	memset(&ledger_meeting, 0, sizeof(ledger_meeting));
	spin_lock_init(&ledger.lock);
	return 0;
}

/* The leak check at the end of every case. */
void ledger_exit(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, ledger.bytes, 0);
	KUNIT_EXPECT_EQ(test, ledger.bad_frees, 0);
	KUNIT_EXPECT_EQ(test, ledger.early_frees, 0);
}

/* A table that is not put by an action, so that the case sees what that frees. */
struct iommu_table *ledger_table(struct kunit *test, const struct shape *shape, bool user)
{
	struct iommu_table *tbl = pnv_pci_table_alloc(NUMA_NO_NODE);

	KUNIT_ASSERT_NOT_NULL(test, tbl);
	ledger.fail = 0;
	tbl->it_ops = &ledger_ops;
	KUNIT_ASSERT_EQ(test, pnv_pci_ioda2_table_alloc_pages(NUMA_NO_NODE, BUS_OFFSET,
							      shape->page_shift,
							      BIT_ULL(shape->window_shift),
							      shape->levels, user, tbl), 0);
	return tbl;
}

void ledger_table_end(struct kunit *test, struct iommu_table *tbl)
{
	iommu_tce_table_put(tbl);
	KUNIT_EXPECT_EQ(test, ledger.bytes, 0);
	KUNIT_EXPECT_EQ(test, ledger.bad_frees, 0);
	KUNIT_EXPECT_EQ(test, ledger.early_frees, 0);
}

/* The ledger has the levels that can be reached, with their shadow, and the rest of a table. */
void ledger_expect_nothing_else(struct kunit *test, const struct iommu_table *tbl)
{
	const struct pnv_tce_tree *tree = tbl->it_tree;
	unsigned long level = tbl->it_level_size * 8 * (tree->user ? 2 : 1);
	struct census c = census_of(tbl, tree->user);
	unsigned int i = ledger_find(tree);

	KUNIT_ASSERT_LT(test, i, LEDGER_BLOCKS);
	KUNIT_EXPECT_EQ(test, ledger.bytes, ledger.blocks[i].size + c.levels * level);
	KUNIT_EXPECT_EQ(test, c.wrong, 0);
}

/* Nobody has called the prealloc operation without the release operation. */
void ledger_expect_no_keeper(struct kunit *test, const struct iommu_table *tbl)
{
	KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&tbl->it_tree->levels));
}
