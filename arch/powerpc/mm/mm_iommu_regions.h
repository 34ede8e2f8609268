/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The regions of an mm, between the file that makes and ends them (mmu_context_iommu.c) and those
 * that look them up and count TCEs in them (mm_iommu_hold.c, mm_iommu_rm.c).
 */
#ifndef _POWERPC_MM_IOMMU_REGIONS_H
#define _POWERPC_MM_IOMMU_REGIONS_H

#include <linux/atomic.h>
#include <linux/llist.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/rbtree_latch.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <asm/mmu_context_iommu.h>

/**
 * struct mm_iommu_regions - all regions of an mm
 * @lock: for @tree, @settled; of a region: used, pending, linked
 * @tree: the regions by user address
 * @settled: how many pending regions have been published or given up; @lock
 * @ending: charges to locked_vm that are about to end (mm_iommu_charge.c)
 * @ended: how many of these have ended
 * @wait: for a change of @settled or @ended
 * @gone: orphans whose last TCE is gone
 * @release: work item that unpins the orphans in @gone
 * @mm: whose they are
 * @owed: pages that are to be uncharged when the mmap_lock is free (mm_iommu_charge.c)
 * @owing: how many charges that are, each with a reference to @mm
 * @owed_lock: for @owed and @owing
 * @uncharge: work item that tries it; pending or running only while @owing is not 0
 * @cleanup: work item that unpins leaked regions when the mm dies
 */
struct mm_iommu_regions {
	struct mutex lock; /* for tree, settled; used, pending, linked */
	struct latch_tree_root tree;
	unsigned long settled;
	atomic_long_t ending;
	atomic_long_t ended;
	wait_queue_head_t wait;
	struct llist_head gone;
	struct work_struct release;
	struct mm_struct *mm;
	unsigned long owed;
	unsigned long owing;
	spinlock_t owed_lock; /* for owed, owing */
	struct delayed_work uncharge;
	struct work_struct cleanup;
};

/* A range to look for; compares as equal to each region that it overlaps. */
struct ua_range {
	unsigned long first;
	unsigned long last;
};

static __always_inline struct mm_iommu_region *
to_region(struct latch_tree_node *node)
{
	return container_of(node, struct mm_iommu_region, node);
}

static inline bool region_less(struct latch_tree_node *a,
			       struct latch_tree_node *b)
{
	return to_region(a)->ua < to_region(b)->ua;
}

static __always_inline int region_cmp(void *key, struct latch_tree_node *node)
{
	const struct mm_iommu_region *region = to_region(node);
	const struct ua_range *range = key;

	if (range->last < region->ua)
		return -1;
	return range->first > region->last;
}

/* In the header, so that region_find() has no indirect call. */
static const struct latch_tree_ops mm_iommu_tree_ops = {
	.less = region_less,
	.comp = region_cmp,
};

/* Context: RCU read section, regions lock, or real mode as in mm_iommu_rm.c. */
static __always_inline struct mm_iommu_region *
region_find(struct mm_iommu_regions *regions, unsigned long first,
	    unsigned long last)
{
	struct ua_range range = { .first = first, .last = last };
	struct latch_tree_node *node;

	node = latch_tree_find(&range, &regions->tree, &mm_iommu_tree_ops);
	return node ? to_region(node) : NULL;
}

/* Whether TCEs may be added: neither pending nor an orphan. */
static __always_inline bool region_usable(const struct mm_iommu_region *region)
{
	/* Pairs with region_publish(): who sees @used sees all of it. */
	return smp_load_acquire(&region->used);
}

/* Pairs with the cmpxchg() in mm_iommu_regions_get(). */
static __always_inline struct mm_iommu_regions *regions_of(struct mm_struct *mm)
{
	return READ_ONCE(mm->context.iommu_regions);
}

/*
 * The region that a TCE for @ua may point into, or NULL.  Inline it saves 24
 * instructions of a MAP, and real mode has nothing here to trace or probe.
 * Context: RCU read section, or real mode as described in mm_iommu_rm.c.
 */
static __always_inline struct mm_iommu_region *
region_for_tce(struct mm_struct *mm, unsigned long ua, unsigned int page_shift)
{
	struct mm_iommu_regions *regions = regions_of(mm);
	struct mm_iommu_region *region;

	region = regions ? region_find(regions, ua, ua) : NULL;
	if (!region || !region_usable(region) ||
	    page_shift > region->blocks.shift)
		return NULL;
	/* The last block may end before the IOMMU page does. */
	return (region->last - ua + 1) >> page_shift ? region : NULL;
}

#ifdef CONFIG_LOCKDEP
extern struct lockdep_map mm_iommu_uncharging_map;
#endif

void mm_iommu_charge_init(struct mm_iommu_regions *regions);
struct mm_iommu_regions *mm_iommu_regions_get(struct mm_struct *mm);
void mm_iommu_region_gone(struct mm_iommu_region *region);

#endif /* _POWERPC_MM_IOMMU_REGIONS_H */
