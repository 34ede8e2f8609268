// SPDX-License-Identifier: GPL-2.0
/*
 * TCE tables of IODA2 PHBs: levels, entries, user view.
 *
 * A table is a tree of equal levels (pci-ioda-tce.h).  A TCE is a big-endian
 * word: host physical address, TCE_PCI_READ, TCE_PCI_WRITE; it is valid when one
 * of the two bits is set.  A higher level holds pointers in the same format with
 * both bits set.  The hardware reads all of it at any time.
 *
 * Only the first level exists from the start.  Others are allocated, zeroed,
 * before they are published with cmpxchg(); they stay until the table is freed,
 * so that a walker needs no lock.  Whoever publishes second frees its own level
 * and uses the first one's.
 *
 * Tables for user space have a user view: beside each TCE a word that says whose
 * memory it points to (its owner).  The view of a leaf lies right behind the
 * leaf, in the same allocation; the view of a single-level table, which may be
 * as large as the page allocator can give, is an allocation of its own.
 *
 * A TCE of such a table and its owner change together under a leaf lock, one of
 * an array hashed by position in the table.  A lock covers a lock span of
 * entries, never more than a leaf.  Nothing is called, allocated or waited for
 * under it.  Tables of the DMA API have no view and need no lock, because their
 * users own disjoint entries.
 *
 * Cannot fail: clearing, looking up, killing, freeing.
 */

#include <linux/kernel.h>
#include <linux/iommu.h>
#include <linux/log2.h>
#include <linux/of.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include <asm/iommu.h>
#include <asm/iommu_tce.h>
#include <asm/tce.h>
#include "pci.h"
#include "pci-ioda-tce.h"

#define PNV_TCE_VALID		(TCE_PCI_READ | TCE_PCI_WRITE)
#define PNV_TCE_LOCKS		16
#define PNV_TCE_LOCK_BITS	13	/* entries under one lock, at most */

struct pnv_tce_lock {
	spinlock_t lock;	/* for TCEs and owners */
} ____cacheline_aligned_in_smp;

/**
 * struct pnv_tce_tree - what a powernv table has beyond struct iommu_table
 * @geo: shape of the table; constant
 * @user: the table has a user view; constant
 * @lock_bits: log2 of the entries under one leaf lock; constant
 * @locks: the leaf locks; each guards the TCEs and owners of its lock spans
 */
struct pnv_tce_tree {
	struct pnv_tce_geometry geo;
	bool user;
	unsigned int lock_bits;
	struct pnv_tce_lock locks[PNV_TCE_LOCKS];
};

unsigned long pnv_ioda_parse_tce_sizes(struct pnv_phb *phb)
{
	struct device_node *dn = phb->hose->dn;
	unsigned long sizes = 0;
	u32 shift;
	int i;

	for (i = 0; !of_property_read_u32_index(dn, "ibm,supported-tce-sizes", i, &shift); i++)
		if (shift < BITS_PER_LONG)
			sizes |= BIT(shift);
	if (sizes)
		return sizes;

	/* Firmware that does not say: what all IODA2 PHBs have, and the sizes of PHB3 */
	sizes = SZ_4K | SZ_64K;
	if (cpu_has_feature(CPU_FTR_ARCH_207S) && !cpu_has_feature(CPU_FTR_ARCH_300))
		sizes |= SZ_16M | SZ_256M;
	return sizes;
}

static unsigned long tce_load(const __be64 *tcep)
{
	return be64_to_cpu(READ_ONCE(*tcep));
}

static void tce_store(__be64 *tcep, u64 tce)
{
	WRITE_ONCE(*tcep, cpu_to_be64(tce));
}

static __be64 *tce_level_of(unsigned long pointer)
{
	return __va(pointer & ~PNV_TCE_VALID);
}

/* A zeroed level; leaves of user tables have their view behind them. */
static __be64 *tce_level_alloc(const struct iommu_table *tbl, unsigned int level, gfp_t gfp)
{
	const struct pnv_tce_tree *tree = tbl->it_tree;
	size_t bytes = pnv_tce_level_bytes(&tree->geo);

	/* The slab aligns a power of two to its size, which is what the PHB needs. */
	if (!level && tree->user && tree->geo.levels > 1)
		bytes *= 2;
	return kzalloc_node(bytes, gfp | __GFP_NOWARN, tbl->it_nid);
}

/* Publish a new level in @slot unless somebody else was first. */
static unsigned long tce_level_publish(__be64 *slot, __be64 *level)
{
	unsigned long pointer = __pa(level) | PNV_TCE_VALID;
	u64 first;

	/* The full barrier orders the zeroes before the pointer, for the PHB and walkers. */
	first = cmpxchg((u64 __force *)slot, 0, (u64 __force)cpu_to_be64(pointer));
	if (!first)
		return pointer;
	kfree(level);
	return be64_to_cpu((__be64 __force)first);
}

/*
 * The leaf that holds @index, NULL when it does not exist.  @missing is set to the
 * height of the first level that does not, for pnv_tce_next().
 */
static __be64 *tce_leaf(const struct iommu_table *tbl, unsigned long index,
			unsigned int *missing)
{
	const struct pnv_tce_geometry *geo = &tbl->it_tree->geo;
	__be64 *table = (__be64 *)tbl->it_base;
	unsigned int level = geo->levels - 1;
	unsigned long pointer;

	for (; level; level--) {
		pointer = tce_load(&table[pnv_tce_slot(geo, index, level)]);
		if (!pointer) {
			*missing = level;
			return NULL;
		}
		table = tce_level_of(pointer);
	}
	return table;
}

/* Make the leaf that holds @index exist. */
static int tce_leaf_make(struct iommu_table *tbl, unsigned long index, gfp_t gfp)
{
	const struct pnv_tce_geometry *geo = &tbl->it_tree->geo;
	__be64 *table = (__be64 *)tbl->it_base, *slot, *new;
	unsigned int level = geo->levels - 1;
	unsigned long pointer;

	for (; level; level--) {
		slot = &table[pnv_tce_slot(geo, index, level)];
		pointer = tce_load(slot);
		if (!pointer) {
			new = tce_level_alloc(tbl, level - 1, gfp);
			if (!new)
				return -ENOMEM;
			pointer = tce_level_publish(slot, new);
		}
		table = tce_level_of(pointer);
	}
	return 0;
}

static int tce_leaves_make(struct iommu_table *tbl, unsigned long index,
			   unsigned long npages, gfp_t gfp)
{
	const struct pnv_tce_geometry *geo = &tbl->it_tree->geo;
	unsigned long end = index + npages;
	int ret;

	for (; index < end; index = pnv_tce_next(geo, index, 1)) {
		ret = tce_leaf_make(tbl, index, gfp);
		if (ret)
			return ret;
		if (gfpflags_allow_blocking(gfp))
			cond_resched();
	}
	return 0;
}

/* How many of the @npages entries from @index on lie in the leaf of @index. */
static unsigned long tce_in_leaf(const struct pnv_tce_geometry *geo, unsigned long index,
				 unsigned long npages)
{
	return min(npages, (unsigned long)pnv_tce_next(geo, index, 1) - index);
}

#ifdef CONFIG_IOMMU_API

/* Context: the caller holds the leaf lock of the entries. */
static unsigned long tce_fill(__be64 *tcep, u64 *view, struct iommu_tce_change *change,
			      unsigned long n, unsigned int page_shift)
{
	unsigned long i, old;
	u64 owner = change->owner;

	for (i = 0; i < n; i++, owner += 1UL << page_shift) {
		old = tce_load(&tcep[i]);
		if (unlikely(old) &&
		    !iommu_tce_record_old(change, view ? view[i] : old, page_shift))
			break;
		tce_store(&tcep[i], iommu_tce_new(change, i, page_shift));
		if (view)
			view[i] = owner;
	}
	return i;
}

/* Context: the caller holds the leaf lock of the entries. */
static unsigned long tce_wipe(__be64 *tcep, u64 *view, struct iommu_tce_change *change,
			      unsigned long n, unsigned int page_shift)
{
	unsigned long i, old;

	for (i = 0; i < n; i++) {
		old = tce_load(&tcep[i]);
		if (!old)
			continue;
		if (!iommu_tce_record_old(change, view ? view[i] : old, page_shift))
			break;
		tce_store(&tcep[i], 0);
		if (view)
			view[i] = 0;
	}
	return i;
}

static u64 *tce_view(const struct iommu_table *tbl, __be64 *leaf)
{
	const struct pnv_tce_geometry *geo = &tbl->it_tree->geo;

	if (geo->levels == 1)
		return (u64 __force *)tbl->it_userspace;
	return (u64 __force *)leaf + (1UL << geo->level_bits);
}

/* One lock span, or what is left of it.  Return: how many entries were changed. */
static unsigned long tce_change_span(struct iommu_table *tbl, __be64 *leaf,
				     unsigned long index, struct iommu_tce_change *change)
{
	struct pnv_tce_tree *tree = tbl->it_tree;
	unsigned long span = 1UL << tree->lock_bits;
	unsigned long slot = pnv_tce_slot(&tree->geo, index, 0);
	unsigned long n = min(change->left, span - (index & (span - 1)));
	u64 *view = change->no_view ? NULL : tce_view(tbl, leaf) + slot;
	spinlock_t *lock = &tree->locks[(index >> tree->lock_bits) % PNV_TCE_LOCKS].lock;

	spin_lock(lock);
	if (!change->perm)
		n = tce_wipe(leaf + slot, view, change, n, tbl->it_page_shift);
	else if (!tbl->it_closed)
		n = tce_fill(leaf + slot, view, change, n, tbl->it_page_shift);
	else
		n = 0;
	spin_unlock(lock);
	return n;
}

/**
 * pnv_tce_exchange() - change a run of entries of a table for user space
 * @tbl: the table
 * @change: what to do; see &struct iommu_tce_change
 *
 * Goes on until nothing is left, there is no room to report one more old owner,
 * or a lock span of entries was changed, and leaves the rest in @change.  For new
 * TCEs the leaves must exist (pnv_tce_prealloc()).  The caller kills.
 *
 * Context: Any, virtual mode; takes leaf locks.
 * Return: 0, or -ENODEV for new TCEs in a table that was closed.
 */
int pnv_tce_exchange(struct iommu_table *tbl, struct iommu_tce_change *change)
{
	const struct pnv_tce_geometry *geo = &tbl->it_tree->geo;
	unsigned int missing = 0;
	unsigned long index, n;
	__be64 *leaf;

	change->nr_runs = 0;
	if (change->perm & TCE_PCI_WRITE)
		change->perm |= TCE_PCI_READ;	/* IODA2 has no write-only TCE */

	while (change->left) {
		index = change->entry - tbl->it_offset;
		leaf = tce_leaf(tbl, index, &missing);
		if (leaf) {
			n = tce_change_span(tbl, leaf, index, change);
			change->entry += n;
			change->left -= n;
			return n || change->nr_runs ? 0 : -ENODEV;
		}
		if (WARN_ON_ONCE(change->perm))
			return -ENODEV;
		n = min(change->left, (unsigned long)pnv_tce_next(geo, index, missing) - index);
		change->entry += n;
		change->left -= n;
	}
	return 0;
}

/**
 * pnv_tce_prealloc() - make all leaves for a run of entries exist
 * @tbl: the table
 * @entry: first entry, absolute
 * @npages: how many entries
 *
 * Context: Process, may sleep.
 * Return: 0 or -ENOMEM; levels that were made before the failure stay, empty.
 */
int pnv_tce_prealloc(struct iommu_table *tbl, unsigned long entry, unsigned long npages)
{
	return tce_leaves_make(tbl, entry - tbl->it_offset, npages, GFP_KERNEL_ACCOUNT);
}

/**
 * pnv_tce_close() - refuse new TCEs from now on
 * @tbl: the table, whose window is going away
 *
 * When this returns no change that adds TCEs is under way.
 *
 * Context: Any, virtual mode; takes leaf locks.
 */
void pnv_tce_close(struct iommu_table *tbl)
{
	unsigned int i;

	WRITE_ONCE(tbl->it_closed, true);
	/* Whoever took a lock before this saw it open and is done when we get the lock. */
	for (i = 0; i < PNV_TCE_LOCKS; i++) {
		spin_lock(&tbl->it_tree->locks[i].lock);
		spin_unlock(&tbl->it_tree->locks[i].lock);
	}
}

/**
 * pnv_pci_ioda2_get_table_size() - memory that a window may need for its table
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
	return PAGE_ALIGN(pnv_tce_table_bytes(&geo));
}

#endif /* CONFIG_IOMMU_API */

/*
 * Entry by entry, for the DMA API: kernel memory, no user view, entries that
 * belong to the caller alone.
 */

int pnv_tce_build(struct iommu_table *tbl, long index, long npages,
		  unsigned long uaddr, enum dma_data_direction direction,
		  unsigned long attrs)
{
	const struct pnv_tce_geometry *geo = &tbl->it_tree->geo;
	unsigned long perm = iommu_direction_to_tce_perm(direction);
	u64 hpa = __pa(uaddr) & ~((1UL << tbl->it_page_shift) - 1);
	unsigned long at = index - tbl->it_offset, n;
	unsigned int missing;
	__be64 *tcep;

	/* All levels first: a failure leaves no entry behind. */
	if (tce_leaves_make(tbl, at, npages, GFP_ATOMIC))
		return -ENOMEM;

	if (perm & TCE_PCI_WRITE)
		perm |= TCE_PCI_READ;
	for (; npages; npages -= n, at += n) {
		n = tce_in_leaf(geo, at, npages);
		tcep = tce_leaf(tbl, at, &missing) + pnv_tce_slot(geo, at, 0);
		for (unsigned long i = 0; i < n; i++, hpa += 1UL << tbl->it_page_shift)
			tce_store(tcep + i, hpa | perm);
	}
	return 0;
}

void pnv_tce_free(struct iommu_table *tbl, long index, long npages)
{
	const struct pnv_tce_geometry *geo = &tbl->it_tree->geo;
	unsigned long at = index - tbl->it_offset, end = at + npages, n;
	unsigned int missing;
	__be64 *leaf;

	while (at < end) {
		leaf = tce_leaf(tbl, at, &missing);
		if (!leaf) {
			at = pnv_tce_next(geo, at, missing);
			continue;
		}
		n = tce_in_leaf(geo, at, end - at);
		memset(leaf + pnv_tce_slot(geo, at, 0), 0, n * sizeof(*leaf));
		at += n;
	}
}

unsigned long pnv_tce_get(struct iommu_table *tbl, long index)
{
	unsigned long at = index - tbl->it_offset;
	unsigned int missing;
	__be64 *leaf = tce_leaf(tbl, at, &missing);

	return leaf ? tce_load(leaf + pnv_tce_slot(&tbl->it_tree->geo, at, 0)) : 0;
}

/* Free what hangs off a level of height @level, then the level. */
static void tce_level_free(const struct pnv_tce_geometry *geo, __be64 *table,
			   unsigned int level)
{
	unsigned long pointer, slot;

	for (slot = 0; level && slot < 1UL << geo->level_bits; slot++) {
		pointer = tce_load(&table[slot]);
		if (pointer)
			tce_level_free(geo, tce_level_of(pointer), level - 1);
		cond_resched();
	}
	kfree(table);
}

/**
 * pnv_pci_ioda2_table_free_pages() - free all levels and the user view
 * @tbl: a table that is in no window, or one that was never set up
 *
 * Context: Process, may sleep.  Cannot fail.
 */
void pnv_pci_ioda2_table_free_pages(struct iommu_table *tbl)
{
	struct pnv_tce_tree *tree = tbl->it_tree;

	if (!tree)
		return;
	if (tbl->it_base)
		tce_level_free(&tree->geo, (__be64 *)tbl->it_base, tree->geo.levels - 1);
	kfree(tbl->it_userspace);
	kfree(tree);
	tbl->it_base = 0;
	tbl->it_userspace = NULL;
	tbl->it_tree = NULL;
}

/**
 * pnv_pci_ioda2_table_alloc_pages() - set up an empty table
 * @nid: NUMA node of the PHB
 * @bus_offset: bus address of the window
 * @page_shift: log2 of the IOMMU page size
 * @window_size: in bytes
 * @levels: how many levels
 * @user: whether the table has a user view
 * @tbl: zeroed table to set up
 *
 * Only the first level is allocated.
 *
 * Context: Process, may sleep.
 * Return: 0, -EINVAL when there can be no such window, -ENOMEM.  On failure @tbl
 * can still be put.
 */
long pnv_pci_ioda2_table_alloc_pages(int nid, __u64 bus_offset, __u32 page_shift,
				     __u64 window_size, __u32 levels, bool user,
				     struct iommu_table *tbl)
{
	gfp_t gfp = user ? GFP_KERNEL_ACCOUNT : GFP_KERNEL;
	struct pnv_tce_geometry geo;
	struct pnv_tce_tree *tree;
	unsigned int i;

	if (!pnv_tce_geometry(page_shift, window_size, levels, &geo))
		return -EINVAL;

	tree = kzalloc_node(sizeof(*tree), gfp, nid);
	if (!tree)
		return -ENOMEM;
	tree->geo = geo;
	tree->user = user;
	tree->lock_bits = min(geo.level_bits, PNV_TCE_LOCK_BITS);
	for (i = 0; i < PNV_TCE_LOCKS; i++)
		spin_lock_init(&tree->locks[i].lock);

	tbl->it_tree = tree;
	tbl->it_nid = nid;
	tbl->it_base = (unsigned long)tce_level_alloc(tbl, levels - 1, gfp);
	if (user && levels == 1)
		tbl->it_userspace = kzalloc_node(pnv_tce_level_bytes(&geo), gfp | __GFP_NOWARN,
						 nid);
	if (!tbl->it_base || (user && levels == 1 && !tbl->it_userspace)) {
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
		tbl->it_allocated_size = PAGE_ALIGN(pnv_tce_table_bytes(&geo));
	return 0;
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
 * Context: Process, may sleep; the caller serialises changes to the windows of a
 * group and to the groups of a table.
 * Return: 0 or -ENOMEM; on failure nothing has changed.
 */
long pnv_pci_link_table_and_group(int node, int num, struct iommu_table *tbl,
				  struct iommu_table_group *table_group)
{
	struct iommu_table_group_link *link;

	link = kzalloc_node(sizeof(*link), GFP_KERNEL, node);
	if (!link)
		return -ENOMEM;
	link->table_group = table_group;
	table_group->tables[num] = iommu_tce_table_get(tbl);
	list_add_rcu(&link->next, &tbl->it_group_list);
	return 0;
}

/**
 * pnv_pci_unlink_table_and_group() - take back pnv_pci_link_table_and_group()
 * @tbl: a table that the hardware of the group can no longer use
 * @table_group: the group
 *
 * Context: Process, may sleep (the table may be freed); serialised like linking.
 */
void pnv_pci_unlink_table_and_group(struct iommu_table *tbl,
				    struct iommu_table_group *table_group)
{
	struct iommu_table_group_link *link, *next;
	unsigned int num;

	for (num = 0; num < IOMMU_TABLE_GROUP_MAX_TABLES; num++)
		if (tbl && table_group->tables[num] == tbl)
			break;
	if (num == IOMMU_TABLE_GROUP_MAX_TABLES)
		return;

	list_for_each_entry_safe(link, next, &tbl->it_group_list, next) {
		if (link->table_group != table_group)
			continue;
		list_del_rcu(&link->next);
		kfree_rcu(link, rcu);
		break;
	}
	table_group->tables[num] = NULL;
	iommu_tce_table_put(tbl);
}
