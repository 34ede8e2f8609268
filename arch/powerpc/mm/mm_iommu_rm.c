// SPDX-License-Identifier: GPL-2.0
/*
 * Regions in real mode: hypercalls look them up and count TCEs with the MMU off.
 *
 * Here an exception is fatal, and only linear addresses work.  So the functions
 * are built in, touch nothing but slab memory and fields of the mm, take no
 * lock, do not trace, warn, sleep, allocate or queue work, and take about as
 * many steps as the tree of regions has levels.  The file is compiled without
 * instrumentation.  When a function fails, the hypercall is done again in
 * virtual mode.
 *
 * There is no RCU read section, because its debugging code cannot run here.
 * Instead the caller keeps interrupts off from before the call until it no
 * longer uses the result.  RCU must be watching the processor: the caller must
 * not be in an extended quiescent state, as a nohz_full processor in its guest
 * is.  Then no grace period ends before the caller is done.
 *
 * The last count of a region cannot be dropped here, because that queues work.
 * If mm_iommu_registered_rm() is true, the count of a TCE is not the last one
 * until interrupts are on again: that of the registration is dropped a grace
 * period after @used became 0 (mm_iommu_abandon_grace()), or when no TCE is
 * left (mm_iommu_unregister_start()).
 */

#include <linux/atomic.h>
#include <linux/compiler.h>
#include <asm/mmu_context_iommu.h>
#include "mm_iommu_regions.h"

/**
 * mm_iommu_hold_rm() - mm_iommu_hold() for one TCE, in real mode
 * @mm: whose memory it is
 * @ua: user address the TCE will point to, a multiple of the IOMMU page
 * @page_shift: log2 of the IOMMU page size
 *
 * Context: Real mode, see above.
 * Return: the region, its mapped count raised; NULL as for mm_iommu_hold().  It was seen registered
 * before, so mm_iommu_drop_rm() of this count and of more cannot fail until interrupts are enabled.
 */
noinstr struct mm_iommu_region *mm_iommu_hold_rm(struct mm_struct *mm,
						 unsigned long ua,
						 unsigned int page_shift)
{
	struct mm_iommu_region *region = region_for_tce(mm, ua, page_shift);

	return region && raw_atomic_long_add_unless(&region->mapped, 1, 0) ?
		       region :
		       NULL;
}

/**
 * mm_iommu_region_of_rm() - mm_iommu_region_of() in real mode
 * @mm: whose memory it is
 * @ua: user address that a TCE counted by the caller was made for
 *
 * Context: Real mode, see above.
 * Return: the region; it stays until the caller drops the count of that TCE.
 */
noinstr struct mm_iommu_region *mm_iommu_region_of_rm(struct mm_struct *mm,
						      unsigned long ua)
{
	struct mm_iommu_regions *regions = regions_of(mm);

	return regions ? region_find(regions, ua, ua) : NULL;
}

/**
 * mm_iommu_registered_rm() - whether a count of a region is not its last
 * @region: a region that the caller has a count of
 *
 * Context: Real mode, see above.
 * Return: whether it is registered, so that mm_iommu_drop_rm() cannot fail until interrupts
 * are enabled.
 */
noinstr bool mm_iommu_registered_rm(const struct mm_iommu_region *region)
{
	return region_usable(region);
}

/**
 * mm_iommu_drop_rm() - mm_iommu_drop() in real mode
 * @region: the region
 * @n: how many TCEs
 *
 * Context: Real mode, see above.
 * Return: whether the counts were dropped; if not, because the last one would have gone,
 * nothing has changed, and virtual mode must do it.
 */
noinstr bool mm_iommu_drop_rm(struct mm_iommu_region *region, unsigned long n)
{
	long mapped = raw_atomic_long_read(&region->mapped);

	while (mapped > (long)n)
		if (raw_atomic_long_try_cmpxchg(&region->mapped, &mapped,
						mapped - (long)n))
			return true;
	return false;
}
