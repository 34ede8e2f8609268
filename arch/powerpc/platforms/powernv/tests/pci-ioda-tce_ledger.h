/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A second copy of the code of TCE tables, under other names and with an allocator that
 * keeps a ledger: every byte is seen to come and to go, and any allocation can be made to
 * fail.  See pci-ioda-tce_ledger.c.
 */
#ifndef _POWERNV_PCI_IODA_TCE_LEDGER_H
#define _POWERNV_PCI_IODA_TCE_LEDGER_H

#include <linux/atomic.h>
#include <linux/spinlock.h>

/* The names of the second copy, before anything declares them. */
#define pnv_ioda_parse_tce_sizes	ledger_parse_tce_sizes
#define pnv_pci_ioda2_get_table_size	ledger_get_table_size
#define pnv_pci_ioda2_table_alloc_pages	ledger_table_alloc_pages
#define pnv_pci_ioda2_table_free_pages	ledger_table_free_pages
#define pnv_pci_link_table_and_group	ledger_link_table_and_group
#define pnv_pci_unlink_table_and_group	ledger_unlink_table_and_group
#define pnv_pci_table_del_group		ledger_table_del_group
#define pnv_pci_table_add_group		ledger_table_add_group
#define pnv_pci_table_replace		ledger_table_replace
#define pnv_tce_build			ledger_tce_build
#define pnv_tce_free			ledger_tce_free
#define pnv_tce_free_loose		ledger_tce_free_loose
#define pnv_tce_free_plain		ledger_tce_free_plain
#define pnv_tce_growth_due		ledger_tce_growth_due
#define pnv_tce_growth_shown		ledger_tce_growth_shown
#define pnv_tce_get			ledger_tce_get
#define pnv_tce_strand_loose		ledger_tce_strand_loose
#define pnv_tce_leaves_make		ledger_tce_leaves_make
#define pnv_tce_node_alloc		ledger_tce_node_alloc
#define pnv_tce_node_free		ledger_tce_node_free
#define pnv_tce_nodes_free		ledger_tce_nodes_free
#define pnv_tce_prealloc		ledger_tce_prealloc
#define pnv_tce_write			ledger_tce_write
#define pnv_tce_release			ledger_tce_release
#define pnv_tce_skip_missing		ledger_tce_skip_missing
#define pnv_tce_take_out		ledger_tce_take_out
#define pnv_tce_zap			ledger_tce_zap

#include "pci-ioda-tce_kunit.h"

#define LEDGER_BLOCKS	1024

/**
 * struct ledger - memory that the code under test has
 * @lock: for the other fields, where two processors work
 * @blocks: what it was given and has not freed
 * @bytes: all of that
 * @allocs: how often it asked
 * @frees: how often it freed something
 * @bad_frees: what it freed was not its own
 * @early_frees: it freed a level that the hardware had not been told about
 * @fail: make the allocation fail that has this number, counted from 1
 * @unkilled: levels have been taken out since the last kill of the whole table
 * @refuse: kills fail
 * @kills: kills of any range
 * @whole_kills: kills of the whole table
 * @page_table_pages: what the kernel shows as pages of page tables
 * @leak_ignored: slab memory that kmemleak was told of
 */
struct ledger {
	spinlock_t lock;	/* for all of it, where two processors work */
	struct {
		void *start;
		size_t size;
	} blocks[LEDGER_BLOCKS];
	size_t bytes;
	unsigned long allocs;
	unsigned long frees;
	unsigned long bad_frees;
	unsigned long early_frees;
	unsigned long fail;
	bool unkilled;
	bool refuse;
	unsigned long kills;
	unsigned long whole_kills;
	long page_table_pages;
	unsigned long leak_ignored;
};

extern struct ledger ledger;
extern struct iommu_table_ops ledger_ops;

/**
 * struct ledger_meeting - two processors that wait for each other before they go on
 * @on: whether they do
 * @arrived: how often one of them has come
 * @missed: how often one of them waited in vain
 */
struct ledger_meeting {
	bool on;
	atomic_t arrived;
	atomic_t missed;
};

extern struct ledger_meeting ledger_meeting;

/* Two, three and four levels; room for hundreds of parts in the first one. */
#define LEDGER_SHAPES	3
extern const struct shape ledger_shapes[LEDGER_SHAPES];

/* An entry of which nothing but the root is shared with any other @part. */
static inline unsigned long part_of(const struct iommu_table *tbl, unsigned long part)
{
	unsigned int bits = ilog2(tbl->it_level_size) * tbl->it_indirect_levels;

	return (part << bits) + 5;
}

static inline enum iommu_table_kind kind_for(bool user)
{
	return user ? IOMMU_TABLE_OWNED : IOMMU_TABLE_KERNEL;
}

void ledger_meet(void);
spinlock_t *ledger_leaf_lock(const struct iommu_table *tbl, unsigned long index);
int ledger_init(struct kunit *test);
void ledger_exit(struct kunit *test);
struct iommu_table *ledger_table(struct kunit *test, const struct shape *shape,
				 enum iommu_table_kind kind);
void ledger_table_end(struct kunit *test, struct iommu_table *tbl);
void ledger_expect_nothing_else(struct kunit *test, const struct iommu_table *tbl);
void ledger_expect_no_keeper(struct kunit *test, const struct iommu_table *tbl);

#endif /* _POWERNV_PCI_IODA_TCE_LEDGER_H */
