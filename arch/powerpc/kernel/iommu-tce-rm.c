// SPDX-License-Identifier: GPL-2.0
/*
 * Requests of guests on a few TCEs, in real mode: the MMU is off.
 *
 * This does a part of what iommu-tce.c does, in the same order, and refuses all
 * that is not simple before it has changed anything.  The hypercall is done in
 * virtual mode then.
 *
 * hold	  as there
 * begin  take the leaf lock and that of the hardware, and find the entries
 * owners  find the regions of the TCEs that will be replaced.  Each must be
 *	  registered, so that dropping cannot fail (mm_iommu_rm.c).
 * commit  write, kill, unlock.  From here on only the kill can fail.
 * drop	  as there
 *
 * Rules of this file, which is compiled without instrumentation, and of all that
 * it calls: memory in the linear mapping only, no lock but by trying, and only
 * its raw part, no RCU read section (the caller has interrupts off), no per-CPU
 * variable, nothing that may trap, print, trace or sleep, loops of a few steps.
 */

#include <linux/atomic.h>
#include <linux/compiler.h>
#include <linux/mm_types.h>

#include <asm/iommu.h>
#include <asm/iommu_tce.h>
#include <asm/iommu_tce_rm.h>
#include <asm/mmu_context_iommu.h>
#include <asm/tce.h>
#include "iommu-tce-items.h"

/* Regions that the TCEs of a call, old and new, may point into. */
#define RM_REGIONS 6

/**
 * struct rm_counts - counts of TCEs in regions
 * @nr: how many regions
 * @region: the regions
 * @n: how many counts in each
 */
struct rm_counts {
	unsigned int nr;
	struct mm_iommu_region *region[RM_REGIONS];
	unsigned int n[RM_REGIONS];
};

/* The place of the region that has @ua, or the number of regions. */
static __always_inline unsigned int
rm_counts_find(const struct rm_counts *counts, unsigned long ua)
{
	unsigned int i;

	/* Mostly that of the TCE before. */
	for (i = counts->nr; i--;)
		if (ua - counts->region[i]->ua <=
		    mm_iommu_region_size(counts->region[i]) - 1)
			return i;
	return counts->nr;
}

static __always_inline void rm_counts_drop(const struct rm_counts *counts)
{
	unsigned int i;

	/* It cannot fail; if it did the memory would stay pinned. */
	for (i = 0; i < counts->nr; i++)
		mm_iommu_drop_rm(counts->region[i], counts->n[i]);
}

/* Remember a region.  Return: its place. */
static __always_inline unsigned int rm_counts_add(struct rm_counts *counts,
						  struct mm_iommu_region *region)
{
	const unsigned int i = counts->nr++;

	counts->region[i] = region;
	counts->n[i] = 0;
	return i;
}

/*
 * Find the region for a new TCE.  Only the first TCE in a region is held here;
 * rm_holds() holds the others.  The region was found registered, so all these
 * counts can be dropped again.
 * Return: its place; RM_REGIONS on failure.
 */
static __always_inline unsigned int rm_hold(struct rm_counts *counts,
					    struct mm_struct *mm,
					    unsigned long ua,
					    unsigned int page_shift)
{
	const unsigned int i = rm_counts_find(counts, ua);
	struct mm_iommu_region *region;

	if (i < counts->nr || i == RM_REGIONS)
		return i;
	if (ua & ((1UL << page_shift) - 1))
		return RM_REGIONS;
	region = mm_iommu_hold_rm(mm, ua, page_shift);
	return region ? rm_counts_add(counts, region) : RM_REGIONS;
}

/* Count all new TCEs in their regions, or none. */
static __always_inline bool rm_holds(struct rm_counts *counts,
				     struct mm_struct *mm, const u64 *items,
				     unsigned int n, unsigned int page_shift,
				     u64 *tces)
{
	unsigned int i, slot, done;

	for (i = 0; i < n; i += done) {
		done = 1;
		tces[i] = 0;
		if (!(items[i] & ITEM_PERMS))
			continue;
		slot = rm_hold(counts, mm, items[i] & ~ITEM_PERMS, page_shift);
		if (slot == RM_REGIONS)
			goto drop;
		done = tce_items_in(counts->region[slot], page_shift, items + i,
				    n - i, tces + i);
		if (!done)
			goto drop;
		counts->n[slot] += done;
	}
	for (i = 0; i < counts->nr; i++)
		if (counts->n[i] > 1)
			raw_atomic_long_add((long)counts->n[i] - 1,
					    &counts->region[i]->mapped);
	return true;
drop:
	for (i = 0; i < counts->nr; i++)
		mm_iommu_drop_rm(counts->region[i], 1);
	counts->nr = 0;
	return false;
}

/* Find the region of a TCE that will be replaced.  Return: as rm_hold(). */
static __always_inline unsigned int
rm_old(struct rm_counts *counts, struct mm_struct *mm, unsigned long owner)
{
	const unsigned int i = rm_counts_find(counts, owner);
	struct mm_iommu_region *region;

	if (i < counts->nr || i == RM_REGIONS)
		return i;
	region = mm_iommu_region_of_rm(mm, owner);
	return region && mm_iommu_registered_rm(region) ?
		       rm_counts_add(counts, region) :
		       RM_REGIONS;
}

/* Find the regions of all TCEs that will be replaced.  Return: whether that was possible. */
static __always_inline bool rm_olds(struct rm_counts *counts,
				    struct mm_struct *mm, const __be64 *tces,
				    const u64 *owners, unsigned int n)
{
	unsigned int i = 0, slot, from;
	u64 start, end;

	while (i < n) {
		if (!tces[i]) {
			i++;
			continue;
		}
		slot = rm_old(counts, mm, owners[i]);
		if (slot == RM_REGIONS)
			return false;
		start = counts->region[slot]->ua;
		end = mm_iommu_region_size(counts->region[slot]) - 1;
		for (from = i++; i < n; i++)
			if (!tces[i] || owners[i] - start > end)
				break;
		counts->n[slot] += i - from;
	}
	return true;
}

/**
 * iommu_tce_change_rm() - map or clear a few entries of a table in real mode
 * @tbl: a table that records owners
 * @mm: whose pre-registered memory it points to
 * @entry: first entry, absolute
 * @n: how many, at most IOMMU_TCE_RM_MAX, all inside the table
 * @items: for each of them user address | TCE_PCI_READ, TCE_PCI_WRITE, or no permissions to clear
 *	it; NULL clears all
 *
 * Context: Real mode; interrupts are off until the caller is done, and RCU is watching.
 * Return: 0.  -EAGAIN when virtual mode must do it: nothing has changed.  -EIO when the entries
 * have changed and the kill failed: the table is broken, and what the old TCEs point to stays
 * counted.
 */
noinstr int iommu_tce_change_rm(struct iommu_table *tbl, struct mm_struct *mm,
				unsigned long entry, unsigned int n,
				const u64 *items)
{
	const struct iommu_table_ops *ops = tbl->it_ops;
	struct iommu_tce_rm rm = { .entry = entry, .n = n };
	/* To clear them takes 200 instructions, by a function that is not ours. */
	struct rm_counts new __uninitialized, old __uninitialized;
	u64 tces[IOMMU_TCE_RM_MAX] __uninitialized;
	int ret;

	new.nr = 0;
	old.nr = 0;
	if (!ops->begin_rm)
		return -EAGAIN;
	if (items && !rm_holds(&new, mm, items, n, tbl->it_page_shift, tces))
		goto refuse;
	if (!ops->begin_rm(tbl, &rm))
		goto refuse;
	if (!rm_olds(&old, mm, rm.tces, rm.owners, n)) {
		ops->cancel_rm(&rm);
		goto refuse;
	}
	ret = ops->commit_rm(tbl, &rm, items ? tces : NULL, items);
	if (!ret)
		rm_counts_drop(&old);
	return ret;
refuse:
	rm_counts_drop(&new);
	return -EAGAIN;
}

/* The region of the TCE to be replaced, if real mode can drop its count; or NULL. */
static __always_inline struct mm_iommu_region *
rm_old_one(struct mm_struct *mm, unsigned long owner,
	   struct mm_iommu_region *new)
{
	struct mm_iommu_region *old;

	if (new && owner - new->ua <= mm_iommu_region_size(new) - 1)
		return new;
	old = mm_iommu_region_of_rm(mm, owner);
	return old && mm_iommu_registered_rm(old) ? old : NULL;
}

/**
 * iommu_tce_change_one_rm() - iommu_tce_change_rm() for one entry
 * @tbl: a table that records owners
 * @mm: whose pre-registered memory it points to
 * @entry: the entry, absolute, inside the table
 * @item: user address | TCE_PCI_READ, TCE_PCI_WRITE; without permissions the entry is cleared
 *
 * Context: Real mode; as iommu_tce_change_rm().
 * Return: as iommu_tce_change_rm()
 */
noinstr int iommu_tce_change_one_rm(struct iommu_table *tbl,
				    struct mm_struct *mm, unsigned long entry,
				    u64 item)
{
	const struct iommu_table_ops *ops = tbl->it_ops;
	struct mm_iommu_region *new = NULL, *old = NULL;
	/* To clear it takes 7 instructions. */
	struct iommu_tce_rm rm __uninitialized;
	const u64 ua = item & ~ITEM_PERMS;
	u64 tce = 0;
	int ret;

	rm.entry = entry;
	rm.n = 1;
	if (!ops->begin_rm || ua & ((1UL << tbl->it_page_shift) - 1))
		return -EAGAIN;
	if (item & ITEM_PERMS) {
		new = mm_iommu_hold_rm(mm, ua, tbl->it_page_shift);
		if (!new)
			return -EAGAIN;
		if (item & TCE_PCI_WRITE)
			mm_iommu_mark_written(new);
		tce = mm_iommu_blocks_hpa(&new->blocks, ua) |
		      (item & ITEM_PERMS);
	}
	if (!ops->begin_rm(tbl, &rm))
		goto refuse;
	if (*rm.tces) {
		old = rm_old_one(mm, *rm.owners, new);
		if (!old) {
			ops->cancel_rm(&rm);
			goto refuse;
		}
	}
	ret = ops->commit_rm(tbl, &rm, &tce, &item);
	if (!ret && old)
		mm_iommu_drop_rm(old, 1);
	return ret;
refuse:
	if (new)
		mm_iommu_drop_rm(new, 1);
	return -EAGAIN;
}
