// SPDX-License-Identifier: GPL-2.0
/*
 * The code of TCE tables with an allocator that keeps a ledger.
 *
 * The code under test is compiled into this file a second time, under the names that
 * the header gives it.  It owns the ledger, the operations of tables that use it, and
 * the comparison of what is in the ledger with what can be reached from a table.
 */
#include <linux/atomic.h>
#include <linux/gfp.h>
#include <linux/iommu.h>
#include <linux/kmemleak.h>
#include <linux/llist.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/of.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmstat.h>
#include "pci-ioda-tce_ledger.h"

struct ledger ledger;
struct ledger_meeting ledger_meeting;

const struct shape ledger_shapes[LEDGER_SHAPES] = { { 12, 40, 2 }, { 12, 46, 3 }, { 12, 48, 4 } };

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

/* Slab memory, or pages where @order says how many. */
static void *ledger_get(size_t size, int order, int nid)
{
	unsigned int i = LEDGER_BLOCKS;
	struct page *page;
	void *start;

	spin_lock(&ledger.lock);
	if (++ledger.allocs == ledger.fail) {
		start = NULL;
	} else if (order < 0) {
		start = kzalloc_node(size, GFP_ATOMIC | __GFP_NOWARN, nid);
	} else {
		page = alloc_pages_node(nid, GFP_ATOMIC | __GFP_NOWARN | __GFP_ZERO | __GFP_COMP,
					order);
		start = page ? page_address(page) : NULL;
	}
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

static void *ledger_alloc(size_t size, gfp_t gfp, int nid)
{
	return ledger_get(size, -1, nid);
}

static struct page *ledger_alloc_pages(int nid, gfp_t gfp, unsigned int order)
{
	void *start = ledger_get(PAGE_SIZE << order, order, nid);

	return start ? virt_to_page(start) : NULL;
}

static void ledger_put(const void *start, int order)
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
		if (order < 0)
			kfree(start);
		else
			free_pages((unsigned long)start, order);
		ledger.bytes -= ledger.blocks[i].size;
		ledger.blocks[i].start = NULL;
	} else {
		ledger.bad_frees++;
	}
	spin_unlock(&ledger.lock);
}

static void ledger_account(struct page *page, long pages)
{
	spin_lock(&ledger.lock);
	ledger.page_table_pages += pages;
	spin_unlock(&ledger.lock);
}

static void ledger_ignore(const void *start)
{
	spin_lock(&ledger.lock);
	ledger.leak_ignored += !!start;
	spin_unlock(&ledger.lock);
}

#undef kzalloc_node
#undef alloc_pages_node
#define kzalloc_node(size, gfp, nid)		ledger_alloc(size, gfp, nid)
#define kfree(start)				ledger_put(start, -1)
#define alloc_pages_node(nid, gfp, order)	ledger_alloc_pages(nid, gfp, order)
#define __free_pages(page, order)		ledger_put(page_address(page), order)
#define kmemleak_ignore(start)			ledger_ignore(start)
#define mod_lruvec_page_state(page, item, n)	\
	ledger_account(page, (item) == NR_SECONDARY_PAGETABLE ? (n) : 0)
#include "../pci-ioda-tce.c"
#include "../pci-ioda-tce-nodes.c"
#include "../pci-ioda-tce-plain.c"

static int ledger_kill(struct iommu_table *tbl, unsigned long entry, unsigned long npages)
{
	int ret = 0;

	spin_lock(&ledger.lock);
	ledger.kills++;
	if (ledger.refuse) {
		ret = -EIO;
	} else if (entry == tbl->it_offset && npages == tbl->it_size) {
		ledger.whole_kills++;
		ledger.unkilled = false;
	}
	spin_unlock(&ledger.lock);
	return ret;
}

static bool ledger_take_out(struct iommu_table *tbl, struct iommu_tce_change *c)
{
	void *loose = c->loose;
	bool more = pnv_tce_take_out(tbl, c);

	if (c->loose != loose)
		ledger.unkilled = true;
	return more;
}

struct iommu_table_ops ledger_ops = {
	.tce_kill = ledger_kill,
	.prealloc = pnv_tce_prealloc,
	.release = pnv_tce_release,
	.exchange = pnv_tce_exchange,
	.take_out = ledger_take_out,
	.free_loose = pnv_tce_free_loose,
	.strand_loose = pnv_tce_strand_loose,
	.close = pnv_tce_close,
	.open = pnv_tce_open,
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
	KUNIT_EXPECT_EQ(test, ledger.page_table_pages, 0);
	KUNIT_EXPECT_EQ(test, ledger.bad_frees, 0);
	KUNIT_EXPECT_EQ(test, ledger.early_frees, 0);
}

/* A table that is not put by an action, so that the case sees what that frees. */
struct iommu_table *ledger_table(struct kunit *test, const struct shape *shape,
				 enum iommu_table_kind kind)
{
	const struct iommu_table_shape table = {
		kind, shape->page_shift, shape->levels, BIT_ULL(shape->window_shift),
	};
	struct iommu_table *tbl = pnv_pci_table_alloc(NUMA_NO_NODE);

	KUNIT_ASSERT_NOT_NULL(test, tbl);
	ledger.fail = 0;
	tbl->it_ops = &ledger_ops;
	KUNIT_ASSERT_EQ(test, set_up_table(tbl, BUS_OFFSET, &table), 0);
	return tbl;
}

void ledger_table_end(struct kunit *test, struct iommu_table *tbl)
{
	iommu_tce_table_put(tbl);
	KUNIT_EXPECT_EQ(test, ledger.bytes, 0);
	KUNIT_EXPECT_EQ(test, ledger.page_table_pages, 0);
	KUNIT_EXPECT_EQ(test, ledger.bad_frees, 0);
	KUNIT_EXPECT_EQ(test, ledger.early_frees, 0);
}

/* The ledger has the levels that can be reached, with their shadow, and the rest of a table. */
void ledger_expect_nothing_else(struct kunit *test, const struct iommu_table *tbl)
{
	const struct pnv_tce_tree *tree = tbl->it_tree;
	const bool owners = tree->shadow || tbl->it_userspace;
	unsigned long level = tbl->it_level_size * 8 * (owners ? 2 : 1);
	struct census c = census_of(tbl, owners);
	unsigned int i = ledger_find(tree);

	KUNIT_ASSERT_LT(test, i, LEDGER_BLOCKS);
	KUNIT_EXPECT_EQ(test, ledger.bytes, ledger.blocks[i].size + c.levels * level);
	KUNIT_EXPECT_EQ(test, c.wrong, 0);
}

/* Nobody has called the prealloc operation without the release operation. */
void ledger_expect_no_keeper(struct kunit *test, const struct iommu_table *tbl)
{
	KUNIT_EXPECT_FALSE(test, rwsem_is_locked(&tbl->it_tree->nodes));
}
