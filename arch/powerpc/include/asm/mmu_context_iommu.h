/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Regions: user memory that a process registered for DMA ahead of time.
 *
 * See arch/powerpc/mm/mmu_context_iommu.c for the rules of the room.
 */
#ifndef _ASM_POWERPC_MMU_CONTEXT_IOMMU_H
#define _ASM_POWERPC_MMU_CONTEXT_IOMMU_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/compiler.h>
#include <linux/mm_types.h>
#include <linux/rbtree_latch.h>
#include <linux/types.h>
#include <linux/workqueue.h>

/* Host physical addresses are kept in chunks of this many (4 KiB of memory). */
#define MM_IOMMU_CHUNK_ENTRIES	512UL

/**
 * struct mm_iommu_region - pre-registered memory [@ua, @last] of one mm
 * @node: place in the mm's tree, linked by the regions lock, walked under RCU
 * @mm: whose memory it is; a reference is held only while the region is an
 *	orphan (@used is 0 and TCEs still point into it)
 * @ua: first user address, page aligned, constant
 * @last: last user address (inclusive), constant
 * @block_shift: every naturally aligned piece of this size within the region is
 *	physically contiguous, so no IOMMU page may be larger; constant
 * @chunks: host physical address of each base page, in chunks of linear-mapped
 *	memory; constant while @mapped is not 0
 * @used: registrations, one per container; regions lock
 * @mapped: 1 while @used is not 0, plus the TCEs that point into the region;
 *	at 0 the region takes no new TCE and its pages are let go
 * @written: a TCE that lets the device write has pointed here; only ever set
 * @linked: @node is in the tree; regions lock
 * @release: lets the pages go when the last TCE of an orphan is gone
 * @rcu: defers freeing past lockless walkers of the tree
 */
struct mm_iommu_region {
	struct latch_tree_node node;
	struct mm_struct *mm;
	unsigned long ua;
	unsigned long last;
	unsigned int block_shift;
	u64 **chunks;
	unsigned long used;
	atomic_long_t mapped;
	bool written;
	bool linked;
	struct work_struct release;
	struct rcu_head rcu;
};

static inline unsigned long mm_iommu_region_size(const struct mm_iommu_region *region)
{
	return region->last - region->ua + 1;
}

/**
 * mm_iommu_hpas() - where the host physical addresses of a region start
 * @region: a region that the caller holds (see mm_iommu_hold())
 * @ua: user address inside @region
 * @bytes: set to how much memory, from @ua on, the returned array describes
 *
 * Return: one host physical address per base page; the first is that of the
 * page that holds @ua.
 */
static inline const u64 *mm_iommu_hpas(const struct mm_iommu_region *region,
				       unsigned long ua, unsigned long *bytes)
{
	unsigned long page = (ua - region->ua) >> PAGE_SHIFT;
	unsigned long slot = page % MM_IOMMU_CHUNK_ENTRIES;
	unsigned long chunk_bytes = (MM_IOMMU_CHUNK_ENTRIES - slot) << PAGE_SHIFT;

	*bytes = min(chunk_bytes - (ua & ~PAGE_MASK), region->last - ua + 1);
	return &region->chunks[page / MM_IOMMU_CHUNK_ENTRIES][slot];
}

/* Remember that the device may write to the region from now on. */
static inline void mm_iommu_mark_written(struct mm_iommu_region *region)
{
	if (!READ_ONCE(region->written))
		WRITE_ONCE(region->written, true);
}

int mm_iommu_register(struct mm_struct *mm, unsigned long ua, unsigned long size,
		      struct mm_iommu_region **pregion);
int mm_iommu_unregister(struct mm_struct *mm, struct mm_iommu_region *region);
void mm_iommu_abandon(struct mm_struct *mm, struct mm_iommu_region *region);

struct mm_iommu_region *mm_iommu_hold(struct mm_struct *mm, unsigned long ua,
				      unsigned int page_shift, unsigned long *n);
struct mm_iommu_region *mm_iommu_owner(struct mm_struct *mm, unsigned long ua);
void mm_iommu_drop(struct mm_iommu_region *region, unsigned long n);
bool mm_iommu_mappable(struct mm_struct *mm, unsigned long ua, unsigned int page_shift);

void mm_iommu_cleanup(struct mm_struct *mm);

#endif /* _ASM_POWERPC_MMU_CONTEXT_IOMMU_H */
