// SPDX-License-Identifier: GPL-2.0
/*
 * Regions are looked up, and TCEs that point into them counted: hold and drop.
 *
 * See mmu_context_iommu.c for what the counts mean and how a region ends, and
 * mm_iommu_rm.c for the same in real mode.
 *
 * Cannot fail: dropping.
 */

#include <linux/atomic.h>
#include <linux/export.h>
#include <linux/minmax.h>
#include <linux/rcupdate.h>
#include <asm/mmu_context_iommu.h>
#include "mm_iommu_regions.h"

/**
 * mm_iommu_hold() - count TCEs that are about to point into a region
 * @mm: whose memory it is
 * @ua: user address the first TCE will point to, a multiple of the IOMMU page
 * @page_shift: log2 of the IOMMU page size
 * @n: how many TCEs the caller wants to write for consecutive memory; set to
 *	how many of them fall into the region that was found
 *
 * Each of the counted TCEs must be dropped again with mm_iommu_drop().
 *
 * Context: Any, virtual mode.
 * Return: the region that holds @ua, its mapped count raised by @n; NULL when @ua is
 * not in registered memory, the region is going away, or IOMMU pages are larger
 * than the physically contiguous pieces of the region or reach out of it.
 */
struct mm_iommu_region *mm_iommu_hold(struct mm_struct *mm, unsigned long ua,
				      unsigned int page_shift, unsigned long *n)
{
	struct mm_iommu_region *region;

	guard(rcu)();
	region = region_for_tce(mm, ua, page_shift);
	if (!region)
		return NULL;
	*n = min(*n, (region->last - ua + 1) >> page_shift);
	return atomic_long_add_unless(&region->mapped, *n, 0) ? region : NULL;
}
EXPORT_SYMBOL_GPL(mm_iommu_hold);

/**
 * mm_iommu_hold_one() - mm_iommu_hold() for one TCE
 * @mm: whose memory it is
 * @ua: user address the TCE will point to, a multiple of the IOMMU page
 * @page_shift: log2 of the IOMMU page size
 *
 * Context: Any, virtual mode.
 * Return: the region, its mapped count raised; NULL as for mm_iommu_hold().
 */
struct mm_iommu_region *mm_iommu_hold_one(struct mm_struct *mm,
					  unsigned long ua,
					  unsigned int page_shift)
{
	struct mm_iommu_region *region;

	guard(rcu)();
	region = region_for_tce(mm, ua, page_shift);
	if (!region || !atomic_long_inc_not_zero(&region->mapped))
		return NULL;
	return region;
}
EXPORT_SYMBOL_GPL(mm_iommu_hold_one);

/**
 * mm_iommu_hold_more() - count more TCEs in a region
 * @region: a region that the caller holds
 * @n: how many; may be 0
 *
 * Context: Any, virtual mode.  Cannot fail.
 */
void mm_iommu_hold_more(struct mm_iommu_region *region, unsigned long n)
{
	atomic_long_add(n, &region->mapped);
}
EXPORT_SYMBOL_GPL(mm_iommu_hold_more);

/**
 * mm_iommu_drop() - TCEs no longer point into a region
 * @region: the region
 * @n: how many TCEs
 *
 * Call it only after the kill that made the hardware forget the TCEs.
 *
 * Context: Any, virtual mode.  Cannot fail.
 */
void mm_iommu_drop(struct mm_iommu_region *region, unsigned long n)
{
	if (!atomic_long_sub_return(n, &region->mapped))
		mm_iommu_region_gone(region);
}
EXPORT_SYMBOL_GPL(mm_iommu_drop);

/**
 * mm_iommu_region_of() - the region that a live TCE points into
 * @mm: whose memory it is
 * @ua: user address that a TCE counted by the caller was made for
 *
 * Context: Any, virtual mode.
 * Return: the region; it stays until the caller drops the count of that TCE.
 */
struct mm_iommu_region *mm_iommu_region_of(struct mm_struct *mm,
					   unsigned long ua)
{
	struct mm_iommu_regions *regions = regions_of(mm);

	guard(rcu)();
	return regions ? region_find(regions, ua, ua) : NULL;
}
EXPORT_SYMBOL_GPL(mm_iommu_region_of);

/**
 * mm_iommu_mappable() - whether a TCE could point to some memory now
 * @mm: whose memory it is
 * @ua: user address, a multiple of the IOMMU page
 * @page_shift: log2 of the IOMMU page size
 *
 * Context: Any, virtual mode.
 * Return: whether it could; that may change before the caller uses the answer.
 */
bool mm_iommu_mappable(struct mm_struct *mm, unsigned long ua,
		       unsigned int page_shift)
{
	guard(rcu)();
	return region_for_tce(mm, ua, page_shift);
}
EXPORT_SYMBOL_GPL(mm_iommu_mappable);
