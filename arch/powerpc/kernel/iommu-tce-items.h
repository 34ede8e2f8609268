/* SPDX-License-Identifier: GPL-2.0 */
/* Items: what a guest puts into an entry, as a user address and the permissions of the TCE. */
#ifndef _POWERPC_KERNEL_IOMMU_TCE_ITEMS_H
#define _POWERPC_KERNEL_IOMMU_TCE_ITEMS_H

#include <asm/iommu_tce.h>
#include <asm/mmu_context_iommu.h>
#include <asm/tce.h>

#define ITEM_PERMS IOMMU_TCE_PERMS
static_assert(IOMMU_TCE_PERMS == (TCE_PCI_READ | TCE_PCI_WRITE));

/*
 * Make TCEs for @n items, up to one that is not in @region (which the caller
 * holds), not aligned to an IOMMU page or without permissions.  Inner loop of
 * long lists: all it needs is in registers.  Return: how many.  Context: any,
 * also real mode.
 */
static __always_inline unsigned int
tce_items_in(struct mm_iommu_region *region, unsigned int page_shift,
	     const u64 *items, unsigned int n, u64 *tces)
{
	const struct mm_iommu_blocks blocks = region->blocks;
	const u64 low = (1ULL << page_shift) - 1 - ITEM_PERMS;
	const u64 start = region->ua;
	const u64 end = mm_iommu_region_size(region) - (1UL << page_shift);
	u64 item, perms = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		item = items[i];
		if ((item & ~ITEM_PERMS) - start > end || item & low ||
		    !(item & ITEM_PERMS))
			break;
		tces[i] = mm_iommu_blocks_hpa(&blocks, item & ~ITEM_PERMS) |
			  (item & ITEM_PERMS);
		perms |= item;
	}
	if (perms & TCE_PCI_WRITE)
		mm_iommu_mark_written(region);
	return i;
}

#endif /* _POWERPC_KERNEL_IOMMU_TCE_ITEMS_H */
