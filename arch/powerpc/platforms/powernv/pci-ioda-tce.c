// SPDX-License-Identifier: GPL-2.0
/*
 * TCE tables of IODA2 PHBs: made, linked to groups, freed; and their entries as the DMA API
 * sets them.
 *
 * pci-ioda-tce.h        the shape of a table
 * pci-ioda-tce-tree.h   the tree in memory: what it holds, and which lock guards what
 * pci-ioda-tce-nodes.c  the nodes of the tree; says how a table is built
 * pci-ioda-tce-user.c   changes of tables for user space
 *
 * Cannot fail: looking up, clearing, freeing.
 */

#include <linux/cleanup.h>
#include <linux/iommu.h>
#include <linux/minmax.h>
#include <linux/of.h>
#include <linux/rculist.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include <asm/iommu.h>
#include <asm/tce.h>
#include "pci.h"
#include "pci-ioda-tce-tree.h"

unsigned long pnv_ioda_parse_tce_sizes(struct pnv_phb *phb)
{
	struct device_node *dn = phb->hose->dn;
	unsigned long sizes = 0;
	u32 shift;
	int i;

	for (i = 0; !of_property_read_u32_index(dn, "ibm,supported-tce-sizes",
						i, &shift);
	     i++)
		if (shift < BITS_PER_LONG)
			sizes |= BIT(shift);
	if (sizes)
		return sizes;

	/* Firmware does not say: those of all IODA2 PHBs, and more on POWER8 */
	sizes = SZ_4K | SZ_64K;
	if (cpu_has_feature(CPU_FTR_ARCH_207S) &&
	    !cpu_has_feature(CPU_FTR_ARCH_300))
		sizes |= SZ_16M | SZ_256M;
	return sizes;
}

#ifdef CONFIG_IOMMU_API

/**
 * pnv_pci_ioda2_get_table_size() - what a window is charged for its table
 * @page_shift: log2 of the IOMMU page size
 * @window_size: in bytes
 * @levels: how many levels
 *
 * Return: bytes, whole kernel pages; 0 when there can be no such window.
 */
unsigned long pnv_pci_ioda2_get_table_size(__u32 page_shift, __u64 window_size,
					   __u32 levels)
{
	struct pnv_tce_geometry geo;

	if (!pnv_tce_geometry(page_shift, window_size, levels, &geo))
		return 0;
	return pnv_tce_charge(&geo, PAGE_SHIFT);
}

#endif /* CONFIG_IOMMU_API */

/*
 * The functions for the DMA API, entry by entry.  Its tables have no shadow.  A
 * caller is alone with its entries, and nodes stay until the table is freed.
 */

/* How many of the @npages entries from @index on lie in the leaf of @index. */
static unsigned long tce_in_leaf(const struct pnv_tce_geometry *geo,
				 unsigned long index, unsigned long npages)
{
	return min(npages, (unsigned long)pnv_tce_next(geo, index, 1) - index);
}

int pnv_tce_build(struct iommu_table *tbl, long entry, long npages,
		  unsigned long uaddr, enum dma_data_direction direction,
		  unsigned long attrs)
{
	unsigned long perm = iommu_direction_to_tce_perm(direction);
	u64 hpa = __pa(uaddr) & ~((1UL << tbl->it_page_shift) - 1);
	unsigned long at = entry - tbl->it_offset, n;
	struct tce_walk walk;
	__be64 *tcep;

	/* All nodes first: a failure leaves no entry behind. */
	if (pnv_tce_leaves_make(tbl, at, npages, GFP_ATOMIC))
		return -ENOMEM;

	if (perm & TCE_PCI_WRITE)
		perm |= TCE_PCI_READ;
	for (; npages; npages -= n, at += n) {
		n = tce_in_leaf(&tbl->it_tree->geo, at, npages);
		tce_walk(tbl, at, 0, &walk);
		tcep = walk.node + walk.slot;
		for (unsigned long i = 0; i < n;
		     i++, hpa += 1UL << tbl->it_page_shift)
			tce_store(tcep + i, hpa | perm);
	}
	return 0;
}

void pnv_tce_free(struct iommu_table *tbl, long entry, long npages)
{
	unsigned long at = entry - tbl->it_offset, end = at + npages, n;
	struct tce_walk walk;

	for (; at < end; at += n) {
		if (tce_walk(tbl, at, 0, &walk)) {
			n = tce_in_leaf(&tbl->it_tree->geo, at, end - at);
			memset(walk.node + walk.slot, 0,
			       n * sizeof(*walk.node));
		} else {
			n = tce_walk_rest(&walk, at);
		}
	}
}

unsigned long pnv_tce_get(struct iommu_table *tbl, long entry)
{
	struct tce_walk walk;

	if (!tce_walk(tbl, entry - tbl->it_offset, 0, &walk))
		return 0;
	return tce_load(walk.node + walk.slot);
}

/**
 * pnv_pci_ioda2_table_free_pages() - free all nodes and owners
 * @tbl: a table that is in no window of any hardware, or one that was never set up
 *
 * Context: Process, may sleep.  Cannot fail.
 */
void pnv_pci_ioda2_table_free_pages(struct iommu_table *tbl)
{
	struct pnv_tce_tree *tree = tbl->it_tree;

	if (!tree)
		return;
	pnv_tce_nodes_free(tbl);
	kfree(tbl->it_userspace);
	kfree(tree);
	tbl->it_userspace = NULL;
	tbl->it_tree = NULL;
}

/**
 * pnv_pci_ioda2_table_alloc_pages() - set up an empty table
 * @nid: NUMA node of the PHB
 * @bus_offset: bus address of the window
 * @shape: what table
 * @tbl: zeroed table to set up
 *
 * Only the root is allocated.
 *
 * Context: Process, may sleep.
 * Return: 0, -EINVAL when there can be no such window, -ENOMEM.  On failure @tbl
 * can still be put.
 */
long pnv_pci_ioda2_table_alloc_pages(int nid, __u64 bus_offset,
				     const struct iommu_table_shape *shape,
				     struct iommu_table *tbl)
{
	const bool user = shape->kind == IOMMU_TABLE_BARE ||
			  shape->kind == IOMMU_TABLE_OWNED;
	const unsigned int page_shift = shape->page_shift;
	const unsigned int levels = shape->levels;
	const bool kernel = shape->kind == IOMMU_TABLE_KERNEL;
	gfp_t gfp = kernel ? GFP_KERNEL : GFP_KERNEL_ACCOUNT;
	bool owners = shape->kind == IOMMU_TABLE_OWNED && levels == 1;
	struct pnv_tce_geometry geo;
	unsigned int unit_bits, i;
	struct pnv_tce_tree *tree;
	size_t units = 0;

	if (!pnv_tce_geometry(page_shift, shape->size, levels, &geo))
		return -EINVAL;

	unit_bits = geo.level_bits;
	if (levels == 1) {
		unit_bits = min(unit_bits, PNV_TCE_STRETCH_BITS);
		units = user ? ((geo.entries - 1) >> unit_bits) + 1 : 0;
	}
	tree = kzalloc_node(struct_size(tree, valid, units), gfp | __GFP_NOWARN,
			    nid);
	if (!tree)
		return -ENOMEM;
	tree->geo = geo;
	tree->shadow = user && levels > 1;
	tree->top_shift = (levels - 1) * geo.level_bits;
	tree->unit_bits = unit_bits;
	init_rwsem(&tree->nodes);
	for (i = 0; i < PNV_TCE_LOCKS; i++)
		spin_lock_init(&tree->locks[i].lock);

	tbl->it_kind = shape->kind;
	tbl->it_tree = tree;
	tbl->it_nid = nid;
	tbl->it_base = (unsigned long)pnv_tce_node_alloc(tbl, gfp);
	if (owners)
		tbl->it_userspace = kzalloc_node(pnv_tce_level_bytes(&geo),
						 gfp | __GFP_NOWARN, nid);
	if (!tbl->it_base || (owners && !tbl->it_userspace)) {
		pnv_pci_ioda2_table_free_pages(tbl);
		return -ENOMEM;
	}

	tbl->it_type = TCE_PCI;
	tbl->it_blocksize = 16;
	tbl->it_page_shift = page_shift;
	tbl->it_offset = bus_offset >> page_shift;
	tbl->it_size = geo.entries;
	tbl->it_level_size = 1UL << geo.level_bits;
	tbl->it_indirect_levels = levels - 1;
	if (user)
		tbl->it_allocated_size = pnv_tce_charge(&geo, PAGE_SHIFT);
	return 0;
}

/*
 * Guards the lists of groups of all tables.  Whoever has a group changes its
 * windows one at a time.  But groups of the same table may belong to several:
 * firmware may have kept the table in a group that has left its container.
 */
static DEFINE_SPINLOCK(tce_links_lock);

/**
 * pnv_pci_table_add_group() - let kills of a table reach a group
 * @node: NUMA node
 * @tbl: the table; a reference is taken
 * @table_group: the group
 *
 * Context: Process, may sleep.
 * Return: 0 or -ENOMEM; on failure nothing has changed.
 */
long pnv_pci_table_add_group(int node, struct iommu_table *tbl,
			     struct iommu_table_group *table_group)
{
	struct iommu_table_group_link *link;

	link = kzalloc_node(sizeof(*link), GFP_KERNEL, node);
	if (!link)
		return -ENOMEM;
	link->table_group = table_group;
	iommu_tce_table_get(tbl);
	scoped_guard(spinlock, &tce_links_lock)
		list_add_rcu(&link->next, &tbl->it_group_list);
	return 0;
}

/**
 * pnv_pci_table_del_group() - undo pnv_pci_table_add_group()
 * @tbl: a table that the hardware of the group can no longer use
 * @table_group: the group
 *
 * Context: Process, may sleep (the table may be freed).
 */
void pnv_pci_table_del_group(struct iommu_table *tbl,
			     struct iommu_table_group *table_group)
{
	struct iommu_table_group_link *link;

	scoped_guard(spinlock, &tce_links_lock) {
		list_for_each_entry(link, &tbl->it_group_list, next) {
			if (link->table_group != table_group)
				continue;
			list_del_rcu(&link->next);
			kfree_rcu(link, rcu);
			break;
		}
	}
	iommu_tce_table_put(tbl);
}

/**
 * pnv_pci_link_table_and_group() - let a group use a table as its window
 * @node: NUMA node
 * @num: number of the window
 * @tbl: the table; a reference is taken
 * @table_group: the group
 *
 * From now on kills of @tbl reach the group, so link before the hardware can use
 * the table.
 *
 * Context: Process, may sleep; the caller serialises changes to the windows of a group.
 * Return: 0 or -ENOMEM; on failure nothing has changed.
 */
long pnv_pci_link_table_and_group(int node, int num, struct iommu_table *tbl,
				  struct iommu_table_group *table_group)
{
	long ret = pnv_pci_table_add_group(node, tbl, table_group);

	if (ret)
		return ret;
	/* Pairs with iommu_group_table_get(). */
	smp_store_release(&table_group->tables[num], tbl);
	return 0;
}

/**
 * pnv_pci_unlink_table_and_group() - undo pnv_pci_link_table_and_group()
 * @tbl: a table that the hardware of the group can no longer use
 * @table_group: the group
 *
 * Context: Process, may sleep (the table may be freed); serialised like linking.
 */
void pnv_pci_unlink_table_and_group(struct iommu_table *tbl,
				    struct iommu_table_group *table_group)
{
	unsigned int num;

	for (num = 0; num < IOMMU_TABLE_GROUP_MAX_TABLES; num++)
		if (tbl && table_group->tables[num] == tbl)
			break;
	if (num == IOMMU_TABLE_GROUP_MAX_TABLES)
		return;

	WRITE_ONCE(table_group->tables[num], NULL);
	pnv_pci_table_del_group(tbl, table_group);
}

/**
 * pnv_pci_table_replace() - let a group use a table as its window in place of another one
 * @num: number of the window
 * @tbl: the table, after pnv_pci_table_add_group(), which the hardware uses already
 * @table_group: the group
 *
 * The link of the old table ends here, and its reference.
 *
 * Context: Process, may sleep (the old table may be freed); serialised like linking.
 */
void pnv_pci_table_replace(int num, struct iommu_table *tbl,
			   struct iommu_table_group *table_group)
{
	struct iommu_table *old = table_group->tables[num];

	/* Pairs with iommu_group_table_get(). */
	smp_store_release(&table_group->tables[num], tbl);
	if (old)
		pnv_pci_table_del_group(old, table_group);
}
