/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Regions: user memory that a process registered for DMA ahead of time.
 *
 * See arch/powerpc/mm/mmu_context_iommu.c for the rules.
 */
#ifndef _ASM_POWERPC_MMU_CONTEXT_IOMMU_H
#define _ASM_POWERPC_MMU_CONTEXT_IOMMU_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/cache.h>
#include <linux/compiler.h>
#include <linux/llist.h>
#include <linux/lockdep.h>
#include <linux/mm_types.h>
#include <linux/rbtree_latch.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/types.h>
#include <asm/mm_iommu_blocks.h>

/**
 * struct mm_iommu_region - pre-registered memory [@ua, @last] of one mm
 * @node: place in the mm's tree, linked by the regions lock, walked under RCU
 * @ua: first user address, page aligned, constant
 * @last: last user address (inclusive), constant
 * @blocks: where the memory is; no IOMMU page may be larger than a block; constant
 *	from the first @used until @mapped is 0
 * @used: registrations, one per container; changed under the regions lock
 * @written: a TCE that lets the device write has pointed here; only ever set
 * @mapped: 1 while @used is not 0, plus the TCEs that point into the region, plus 1
 *	while it is being pinned, becomes an orphan or is adopted; at 0 the region takes no
 *	new TCE and its pages are let go
 * @mm: whose memory it is; a reference is held only while the region is an
 *	orphan (@used is 0 and TCEs still point into it)
 * @pending: the memory is being pinned, or the region is becoming an orphan, or the
 *	memory of an orphan is being compared with what is mapped there now;
 *	meanwhile @used is 0 and @mapped is not; regions lock
 * @linked: @node is in the tree; regions lock
 * @gone: place in a list of regions to let go, once the last TCE of an orphan
 *	is gone
 * @rcu: frees the region when no lockless walker of the tree can use it any
 *	more
 *
 * The fields that lookups read come first and hardly change.  @mapped changes
 * with each request, so it begins a cache line of its own.  The fields behind
 * it are used only when a region comes or goes.
 */
struct mm_iommu_region {
	struct latch_tree_node node;
	unsigned long ua;
	unsigned long last;
	struct mm_iommu_blocks blocks;
	unsigned long used;
	bool written;
	atomic_long_t mapped ____cacheline_aligned;
	struct mm_struct *mm;
	bool pending;
	bool linked;
	struct llist_node gone;
	struct rcu_head rcu;
};

static inline unsigned long
mm_iommu_region_size(const struct mm_iommu_region *region)
{
	return region->last - region->ua + 1;
}

/**
 * mm_iommu_hpas() - find the stored host physical addresses of a region
 * @region: a region that the caller holds (see mm_iommu_hold())
 * @ua: user address inside @region
 * @bytes: set to how much memory, from @ua on, the returned array describes
 *
 * Return: one host physical address per block of 1 << region->blocks.shift bytes;
 * the first is that of the block that holds @ua.
 */
static inline const u64 *mm_iommu_hpas(const struct mm_iommu_region *region,
				       unsigned long ua, unsigned long *bytes)
{
	const struct mm_iommu_blocks *blocks = &region->blocks;
	unsigned long i = mm_iommu_blocks_index(blocks, ua);
	unsigned long slot = i % MM_IOMMU_CHUNK_ENTRIES;
	unsigned long chunk_bytes = (MM_IOMMU_CHUNK_ENTRIES - slot)
				    << blocks->shift;

	*bytes = min(chunk_bytes - (ua & ((1UL << blocks->shift) - 1)),
		     region->last - ua + 1);
	return mm_iommu_blocks_at(blocks, i);
}

/*
 * Tell lockdep that the code behind this may wait for whoever holds a lock map.
 * Lockdep cannot see that itself if the wait is for an event, or for a lock
 * that it does not check.  Call it also if there is nothing to wait for this
 * time, so that lockdep learns of the wait.  Without CONFIG_LOCKDEP there are
 * no maps and nothing is done, hence a macro.
 */
#ifdef CONFIG_LOCKDEP
#define mm_iommu_wait_map(map) lock_map_sync(map)
#else
#define mm_iommu_wait_map(map) lock_map_acquire(map) /* nothing */
#endif

/* Remember that the device may write to the region from now on. */
static inline void mm_iommu_mark_written(struct mm_iommu_region *region)
{
	if (!READ_ONCE(region->written))
		WRITE_ONCE(region->written, true);
}

int mm_iommu_charge(struct mm_struct *mm, unsigned long pages);
void mm_iommu_uncharge_begin(struct mm_struct *mm);
void mm_iommu_uncharge(struct mm_struct *mm, unsigned long pages);

int mm_iommu_register(struct mm_struct *mm, unsigned long ua,
		      unsigned long size, struct mm_iommu_region **pregion);
int mm_iommu_unregister(struct mm_struct *mm, struct mm_iommu_region *region);
int mm_iommu_unregister_start(struct mm_struct *mm,
			      struct mm_iommu_region *region);
void mm_iommu_unregister_finish(struct mm_iommu_region *region);
bool mm_iommu_abandon_start(struct mm_struct *mm,
			    struct mm_iommu_region *region);
void mm_iommu_abandon_grace(void);
void mm_iommu_abandon_finish(struct mm_struct *mm,
			     struct mm_iommu_region *region);

struct mm_iommu_region *mm_iommu_hold(struct mm_struct *mm, unsigned long ua,
				      unsigned int page_shift,
				      unsigned long *n);
struct mm_iommu_region *mm_iommu_hold_one(struct mm_struct *mm,
					  unsigned long ua,
					  unsigned int page_shift);
void mm_iommu_hold_more(struct mm_iommu_region *region, unsigned long n);
struct mm_iommu_region *mm_iommu_region_of(struct mm_struct *mm,
					   unsigned long ua);
void mm_iommu_drop(struct mm_iommu_region *region, unsigned long n);
bool mm_iommu_mappable(struct mm_struct *mm, unsigned long ua,
		       unsigned int page_shift);

/* Real mode; the rules stand in arch/powerpc/mm/mm_iommu_rm.c. */
struct mm_iommu_region *mm_iommu_hold_rm(struct mm_struct *mm, unsigned long ua,
					 unsigned int page_shift);
struct mm_iommu_region *mm_iommu_region_of_rm(struct mm_struct *mm,
					      unsigned long ua);
bool mm_iommu_registered_rm(const struct mm_iommu_region *region);
bool mm_iommu_drop_rm(struct mm_iommu_region *region, unsigned long n);

void mm_iommu_cleanup(struct mm_struct *mm);

/* Regions that mm_iommu_cleanup() found; should stay 0. */
extern atomic_long_t mm_iommu_leaked;

#endif /* _ASM_POWERPC_MMU_CONTEXT_IOMMU_H */
