/* SPDX-License-Identifier: GPL-2.0 */
/* Where an entry of a TCE table for user space is: its TCE, its owner, the count of its unit. */
#ifndef _POWERNV_PCI_IODA_TCE_PLACE_H
#define _POWERNV_PCI_IODA_TCE_PLACE_H

#include <linux/minmax.h>

#include "pci-ioda-tce-tree.h"

/**
 * struct tce_place - an entry of a table for user space, and what follows it
 * @tces: the TCE
 * @owners: its owner; NULL in a bare table
 * @valid: how many valid TCEs there are in the unit
 * @n: how many entries of the request may be changed from here in one go
 */
struct tce_place {
	__be64 *tces;
	u64 *owners;
	unsigned long *valid;
	unsigned long n;
};

/* Find the parts of an entry.  Context: leaf lock of @index held. */
static __always_inline void tce_place_find(const struct iommu_table *tbl,
					   unsigned long index,
					   const struct tce_walk *walk,
					   unsigned long left,
					   struct tce_place *place)
{
	struct pnv_tce_tree *tree = tbl->it_tree;
	unsigned long unit = 1UL << tree->unit_bits;

	place->tces = &walk->node[walk->slot];
	if (walk->up) {
		place->owners = tce_shadow(&tree->geo, place->tces);
		place->valid =
			(unsigned long *)tce_shadow(&tree->geo, walk->up);
	} else {
		place->owners = (u64 __force *)tbl->it_userspace + index;
		place->valid = &tree->valid[index >> tree->unit_bits];
	}
	if (tbl->it_kind == IOMMU_TABLE_BARE)
		place->owners = NULL;
	place->n = min3(left, unit - (index & (unit - 1)), PNV_TCE_STRETCH);
}

#endif /* _POWERNV_PCI_IODA_TCE_PLACE_H */
