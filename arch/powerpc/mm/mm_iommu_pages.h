/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _POWERPC_MM_IOMMU_PAGES_H
#define _POWERPC_MM_IOMMU_PAGES_H

#include <linux/types.h>

struct mm_iommu_blocks;

int mm_iommu_pages_pin(struct mm_iommu_blocks *blocks, unsigned long ua,
		       unsigned long last);
int mm_iommu_pages_compare(const struct mm_iommu_blocks *blocks);
void mm_iommu_pages_unpin(struct mm_iommu_blocks *blocks, bool written);

#endif /* _POWERPC_MM_IOMMU_PAGES_H */
