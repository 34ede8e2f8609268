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
 * scripts/lib/closure.py looks at the object code for what breaks them.
 */

#include <linux/atomic.h>
#include <linux/compiler.h>
#include <linux/mm_types.h>

#include <asm/iommu.h>
#include <asm/iommu_tce.h>
#include <asm/iommu_tce_rm.h>
#include <asm/mmu_context_iommu.h>
#include <asm/tce.h>

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

/*
 * Find the region for a new TCE.  The first of its TCEs holds it; the others are
 * only counted here, and held by rm_holds().
 * Return: the TCE, or 0 if that cannot be.
 */
static __always_inline u64 rm_hold(struct rm_counts *counts,
				   struct mm_struct *mm, u64 item,
				   unsigned int page_shift)
{
	const unsigned long ua = item & ~IOMMU_TCE_PERMS;
	unsigned int i = rm_counts_find(counts, ua);
	struct mm_iommu_region *region;

	if (i == RM_REGIONS || ua & ((1UL << page_shift) - 1))
		return 0;
	if (i == counts->nr) {
		region = mm_iommu_hold_rm(mm, ua, page_shift);
		if (!region)
			return 0;
		counts->region[i] = region;
		counts->n[i] = 0;
		counts->nr++;
		if (!mm_iommu_registered_rm(region))
			return 0;
	}
	region = counts->region[i];
	/* The last block may end before the IOMMU page does. */
	if (!((region->last - ua + 1) >> page_shift))
		return 0;
	counts->n[i]++;
	if (item & TCE_PCI_WRITE)
		mm_iommu_mark_written(region);
	return mm_iommu_blocks_hpa(&region->blocks, ua) |
	       (item & IOMMU_TCE_PERMS);
}

/* Find the region of a TCE that will be replaced.  Return: whether its count can be dropped. */
static __always_inline bool rm_old(struct rm_counts *counts,
				   struct mm_struct *mm, unsigned long owner)
{
	unsigned int i = rm_counts_find(counts, owner);
	struct mm_iommu_region *region;

	if (i == RM_REGIONS)
		return false;
	if (i == counts->nr) {
		region = mm_iommu_region_of_rm(mm, owner);
		if (!region || !mm_iommu_registered_rm(region))
			return false;
		counts->region[i] = region;
		counts->n[i] = 0;
		counts->nr++;
	}
	counts->n[i]++;
	return true;
}

static __always_inline bool rm_olds(struct rm_counts *counts,
				    struct mm_struct *mm,
				    const struct iommu_tce_rm *rm)
{
	unsigned int i;

	for (i = 0; i < rm->n; i++)
		if (rm->tces[i] && !rm_old(counts, mm, rm->owners[i]))
			return false;
	return true;
}

/* Count all new TCEs in their regions, or none. */
static __always_inline bool rm_holds(struct rm_counts *counts,
				     struct mm_struct *mm, const u64 *items,
				     unsigned int n, unsigned int page_shift,
				     u64 *tces)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		tces[i] = 0;
		if (!(items[i] & IOMMU_TCE_PERMS))
			continue;
		tces[i] = rm_hold(counts, mm, items[i], page_shift);
		if (!tces[i])
			break;
	}
	if (i == n) {
		for (i = 0; i < counts->nr; i++)
			raw_atomic_long_add((long)counts->n[i] - 1,
					    &counts->region[i]->mapped);
		return true;
	}
	for (i = 0; i < counts->nr; i++)
		mm_iommu_drop_rm(counts->region[i], 1);
	counts->nr = 0;
	return false;
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
	/* To clear them takes 130 instructions, by a function that is not ours. */
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
	if (!rm_olds(&old, mm, &rm)) {
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
