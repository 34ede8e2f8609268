/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Plain tables: TCEs of paging domains.  See pci-ioda-tce-plain.c.
 */
#ifndef _POWERNV_PCI_IODA_TCE_PLAIN_H
#define _POWERNV_PCI_IODA_TCE_PLAIN_H

#include <linux/atomic.h>
#include <linux/gfp_types.h>
#include <linux/llist.h>
#include <asm/iommu.h>

/**
 * struct pnv_tce_growth - nodes that come into a table
 * @making: calls that are putting some in
 * @made: how often some were put in
 * @shown: @made before the last whole-table kill by a mapping that succeeded
 *
 * The PHB may have cached that a node was absent.  Only a whole-table kill ends that.
 */
struct pnv_tce_growth {
	atomic_long_t making;
	atomic_long_t made;
	long shown;
};

/**
 * struct pnv_tce_write - TCEs to write, and how far that has come
 * @index: entry for the next one, relative to the start of the window
 * @left: how many are left
 * @tce: the next one; those that follow point to the pages behind it
 * @gfp: how to allocate nodes
 * @growth: to be told of nodes that are made
 */
struct pnv_tce_write {
	unsigned long index;
	unsigned long left;
	u64 tce;
	gfp_t gfp;
	struct pnv_tce_growth *growth;
};

bool pnv_tce_growth_due(const struct pnv_tce_growth *growth, long *made);
void pnv_tce_growth_shown(struct pnv_tce_growth *growth, long made);
int pnv_tce_write(struct iommu_table *tbl, struct pnv_tce_write *write);
unsigned long pnv_tce_zap(struct iommu_table *tbl, unsigned long index,
			  unsigned long n, struct llist_head *loose);
void pnv_tce_free_plain(struct iommu_table *tbl, struct llist_node *loose);

#endif /* _POWERNV_PCI_IODA_TCE_PLAIN_H */
