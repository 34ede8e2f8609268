// SPDX-License-Identifier: GPL-2.0
/*
 * The nodes of TCE tables: how they come, stay for a request, become loose and are freed.
 *
 * A table is a tree of nodes (pci-ioda-tce.h): the root, which the PHB finds by
 * the TVE, inner nodes, and at level 0 the leaves.  A TCE, in a leaf, is a
 * big-endian word: host physical address, TCE_PCI_READ, TCE_PCI_WRITE; it is
 * valid when one of the two bits is set.  An inner node holds pointers in the
 * same format with both bits set.  The hardware reads all of it at any time.
 *
 * Only the root exists from the start.  Other nodes are allocated when they are
 * needed, zeroed, and then published with cmpxchg().  If two threads make the
 * same node, the second one frees its own and uses that of the first.
 *
 * Each node of a table for user space has a shadow of the same size right
 * behind it, in the same allocation, which the hardware never reads.  It has a
 * word for each slot of the node: for a TCE its owner, the user address that it
 * points to; for the pointer to a leaf the number of valid TCEs in that leaf.
 * A single-level table may be as large as the page allocator can give; its
 * owners are an allocation of their own.  A bare table leaves owners alone, and
 * has none if it has a single level.
 *
 * A TCE of such a table, its owner and the count change together under a leaf
 * lock.  The locks are an array, indexed by position in the table.  A lock
 * covers units: a unit is a leaf, or a piece of a single-level table.  Leaves
 * are looked up under the lock, too.  Nothing is allocated or waited for under
 * it.  Tables of the DMA API have no shadow and need no lock, because their
 * users own disjoint entries.
 *
 * An empty node of a table for user space is given back by a request that
 * covers all of it (UNMAP, the end of the window, or a MAP that failed for lack
 * of memory), and by no other.  So two drivers that map and unmap a page at a
 * time neither allocate nodes nor wait for each other.
 *
 * Nodes are taken out under &pnv_tce_tree.nodes.  They are loose until a kill
 * has made the hardware forget them, and are freed when no walker can be in
 * them either.  If the kill failed they are stranded until the table itself is
 * freed, after its window was taken out of the hardware.  As long as some nodes
 * are loose, every kill is one of the whole table (&iommu_table.it_loose): a
 * new node may be in the place of a loose one, and the hardware must not follow
 * the old pointer any more.
 *
 * Nodes of a kernel page or more are counted as SecPageTables.  Smaller ones
 * are slab memory.  kmemleak is told to ignore them, because it cannot read the
 * pointers to them, which have the format of the hardware.
 *
 * Cannot fail: taking out, keeping, freeing.
 */

#include <linux/gfp.h>
#include <linux/kmemleak.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vmstat.h>

#include <asm/iommu.h>
#include <asm/iommu_tce.h>
#include "pci.h"
#include "pci-ioda-tce-tree.h"

/* The memory of a node, a power of two, with its shadow if that is behind it */
static size_t tce_node_size(const struct pnv_tce_tree *tree)
{
	size_t bytes = pnv_tce_level_bytes(&tree->geo);

	return tree->shadow ? 2 * bytes : bytes;
}

/**
 * pnv_tce_node_alloc() - allocate a node
 * @tbl: the table, whose tree is set up
 * @gfp: how
 *
 * Context: As @gfp says.
 * Return: a zeroed node with its shadow, if the table has one there, or NULL.  Slab and page
 * allocator align it to its size, as the PHB needs it.
 */
__be64 *pnv_tce_node_alloc(const struct iommu_table *tbl, gfp_t gfp)
{
	size_t bytes = tce_node_size(tbl->it_tree);
	struct page *page;
	void *node;

	gfp |= __GFP_NOWARN;
	if (bytes < PAGE_SIZE) {
		node = kzalloc_node(bytes, gfp, tbl->it_nid);
		kmemleak_ignore(node);
		return node;
	}
	page = alloc_pages_node(tbl->it_nid, gfp | __GFP_ZERO | __GFP_COMP,
				get_order(bytes));
	if (!page)
		return NULL;
	mod_lruvec_page_state(page, NR_SECONDARY_PAGETABLE,
			      bytes >> PAGE_SHIFT);
	return page_address(page);
}

/**
 * pnv_tce_node_free() - free a node
 * @tree: the tree that it was made for
 * @node: the node; neither hardware nor walkers can be in it
 *
 * Context: Any.  Cannot fail.
 */
void pnv_tce_node_free(const struct pnv_tce_tree *tree, __be64 *node)
{
	size_t bytes = tce_node_size(tree);

	if (bytes < PAGE_SIZE) {
		kfree(node);
		return;
	}
	mod_lruvec_page_state(virt_to_page(node), NR_SECONDARY_PAGETABLE,
			      -(int)(bytes >> PAGE_SHIFT));
	__free_pages(virt_to_page(node), get_order(bytes));
}

/* Publish a new node in @slot unless somebody else was first. */
static void tce_node_publish(const struct pnv_tce_tree *tree, __be64 *slot,
			     __be64 *node)
{
	u64 pointer = __pa(node) | PNV_TCE_VALID;

	/* The full barrier orders the zeroes before the pointer, for the PHB and walkers. */
	if (cmpxchg((u64 __force *)slot, 0, (u64 __force)cpu_to_be64(pointer)))
		pnv_tce_node_free(tree, node);
}

/* Make the leaf that holds @index exist. */
static int tce_leaf_make(struct iommu_table *tbl, unsigned long index,
			 gfp_t gfp)
{
	struct tce_walk walk;
	__be64 *node;

	while (!tce_walk(tbl, index, 0, &walk)) {
		node = pnv_tce_node_alloc(tbl, gfp);
		if (!node)
			return -ENOMEM;
		tce_node_publish(tbl->it_tree, &walk.node[walk.slot], node);
	}
	return 0;
}

/**
 * pnv_tce_leaves_make() - make all leaves for a run of entries exist
 * @tbl: the table
 * @index: first entry, relative to the start of the window
 * @npages: how many entries; at least 1
 * @gfp: how to allocate
 *
 * Context: As @gfp says.
 * Return: 0; -ENOMEM; -EINTR after a fatal signal, if @gfp lets it sleep.  Nodes that were made
 * before the failure remain, empty.
 */
int pnv_tce_leaves_make(struct iommu_table *tbl, unsigned long index,
			unsigned long npages, gfp_t gfp)
{
	const struct pnv_tce_geometry *geo = &tbl->it_tree->geo;
	unsigned long end = index + npages;
	int ret;

	for (;;) {
		ret = tce_leaf_make(tbl, index, gfp);
		index = pnv_tce_next(geo, index, 1);
		if (ret || index >= end)
			return ret;
		if (!gfpflags_allow_blocking(gfp))
			continue;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
}

/* Free the nodes below a node at level @height, then the node. */
static void tce_nodes_free(const struct pnv_tce_tree *tree, __be64 *node,
			   unsigned int height)
{
	const unsigned long end = height ? tce_node_slots(&tree->geo) : 0;
	unsigned long slot = 0;

	while ((slot = tce_next_valid(node, slot, end)) < end) {
		tce_nodes_free(tree, tce_node_of(tce_load(&node[slot++])),
			       height - 1);
		cond_resched();
	}
	pnv_tce_node_free(tree, node);
}

/**
 * pnv_tce_nodes_free() - free all nodes of a table, also those that were stranded
 * @tbl: a table that is in no window of any hardware
 *
 * Context: Process, may sleep.  Cannot fail.
 */
void pnv_tce_nodes_free(struct iommu_table *tbl)
{
	struct pnv_tce_tree *tree = tbl->it_tree;
	__be64 *node;

	if (tbl->it_base)
		tce_nodes_free(tree, (__be64 *)tbl->it_base,
			       tree->geo.levels - 1);
	tbl->it_base = 0;
	while (tree->stranded) {
		node = tree->stranded;
		tree->stranded = *tce_loose_next(tree, node);
		pnv_tce_node_free(tree, node);
		cond_resched();
	}
}

#ifdef CONFIG_IOMMU_API

/*
 * How many leaves are looked at before the lock of the nodes is released.  A
 * stretch of empty slots counts as PNV_TCE_TAKE_OUT_SKIP leaves.
 */
#define PNV_TCE_TAKE_OUT 1024
#define PNV_TCE_TAKE_OUT_SKIP 16

/**
 * pnv_tce_prealloc() - make all leaves for a run of entries exist, and stay
 * @tbl: the table
 * @entry: first entry, absolute
 * @npages: how many entries
 * @nest: how many other tables the caller keeps the nodes of, for lockdep; that is no
 *	deadlock, because whoever takes nodes out only tries the lock
 *
 * Context: Process, may sleep.
 * Return: 0, to be followed by pnv_tce_release() when the entries were changed;
 * -ENOMEM; -EINTR after a fatal signal.  Nodes that were made before the failure remain,
 * empty.  There are never more of them than the table was charged for.
 */
int pnv_tce_prealloc(struct iommu_table *tbl, unsigned long entry,
		     unsigned long npages, unsigned int nest)
{
	int ret;

	down_read_nested(&tbl->it_tree->nodes, nest);
	ret = pnv_tce_leaves_make(tbl, entry - tbl->it_offset, npages,
				  GFP_KERNEL_ACCOUNT);
	if (ret)
		up_read(&tbl->it_tree->nodes);
	return ret;
}

/**
 * pnv_tce_release() - let nodes be taken out again, after pnv_tce_prealloc()
 * @tbl: the table
 *
 * Context: Process.
 */
void pnv_tce_release(struct iommu_table *tbl)
{
	up_read(&tbl->it_tree->nodes);
}

/**
 * pnv_tce_skip_missing() - how far it is to the next pointer of a node
 * @tree: the tree
 * @index: an entry below a pointer that is missing
 * @left: how many entries the caller is interested in
 * @walk: where the walk to @index ended; by value, so that callers have it in registers
 *
 * Context: Any, with a leaf lock or &pnv_tce_tree.nodes held, so that the node stays.
 * Return: how many entries from @index on have no leaf, at most @left; there may be more.
 */
unsigned long pnv_tce_skip_missing(const struct pnv_tce_tree *tree,
				   unsigned long index, unsigned long left,
				   struct tce_walk walk)
{
	unsigned long slot = walk.slot + 1, end;

	end = min(tce_node_slots(&tree->geo), slot + PNV_TCE_STRETCH);
	slot = tce_next_valid(walk.node, slot, end) - slot;
	return min(left, tce_walk_rest(&walk, index) + (slot << walk.shift));
}

/* Whether a request covers the aligned 1 << @shift entries around @index. */
static bool tce_covers(const struct iommu_table *tbl,
		       const struct iommu_tce_change *change,
		       unsigned long index, unsigned int shift)
{
	unsigned long first = index >> shift << shift;
	unsigned long end = min(first + (1UL << shift), tbl->it_size);

	return tbl->it_offset + first >= change->cover &&
	       tbl->it_offset + end <= change->cover_end;
}

/* Make the node that the walk ended in loose. */
static void tce_take_out(struct iommu_table *tbl, const struct tce_walk *walk,
			 struct iommu_tce_change *change)
{
	lockdep_assert_held_write(&tbl->it_tree->nodes);
	/* Before others can put a node there, for which they need @nodes. */
	if (!change->loose)
		atomic_inc(&tbl->it_loose);
	tce_clear(walk->up);
	/* The shadow of an empty node is not used: it links the loose nodes. */
	*tce_loose_next(tbl->it_tree, walk->node) = change->loose;
	change->loose = walk->node;
}

static void tce_take_out_leaf(struct iommu_table *tbl, unsigned long index,
			      const struct tce_walk *walk,
			      struct iommu_tce_change *change)
{
	spinlock_t *lock = tce_lock(tbl->it_tree, index);

	/* Others may have filled the leaf under its lock: is it still empty? */
	spin_lock(lock);
	if (!*tce_shadow(&tbl->it_tree->geo, walk->up))
		tce_take_out(tbl, walk, change);
	spin_unlock(lock);
}

/*
 * Take out the empty inner nodes above @index.  Stop at one that also has
 * @next: the entries from @next on have not been looked at.
 */
static void tce_take_out_above(struct iommu_table *tbl, unsigned long index,
			       unsigned long next,
			       struct iommu_tce_change *change)
{
	const struct pnv_tce_tree *tree = tbl->it_tree;
	const unsigned int bits = tree->geo.level_bits;
	const unsigned long slots = tce_node_slots(&tree->geo);
	struct tce_walk walk;
	unsigned int shift;

	for (shift = bits; shift < tree->top_shift; shift += bits) {
		if (index >> (shift + bits) == next >> (shift + bits) ||
		    !tce_covers(tbl, change, index, shift + bits))
			return;
		tce_walk(tbl, index, shift, &walk);
		if (walk.shift != shift)
			continue;
		if (tce_next_valid(walk.node, 0, slots) != slots)
			return;
		tce_take_out(tbl, &walk, change);
	}
}

/* Take out empty nodes for a limited time.  Return: where to go on. */
static unsigned long tce_take_out_some(struct iommu_table *tbl,
				       unsigned long index, unsigned long end,
				       struct iommu_tce_change *change)
{
	const struct pnv_tce_tree *tree = tbl->it_tree;
	const unsigned int bits = tree->geo.level_bits;
	unsigned long next;
	struct tce_walk walk;
	int work = PNV_TCE_TAKE_OUT;

	lockdep_assert_held_write(&tree->nodes);
	for (; index < end && work > 0; index = next) {
		if (tce_walk(tbl, index, 0, &walk)) {
			if (tce_covers(tbl, change, index, bits))
				tce_take_out_leaf(tbl, index, &walk, change);
			next = ((index >> bits) + 1) << bits;
			work--;
		} else {
			next = index + pnv_tce_skip_missing(tree, index,
							    end - index, walk);
			work -= PNV_TCE_TAKE_OUT_SKIP;
		}
		tce_take_out_above(tbl, index, next < end ? next : ~0UL,
				   change);
	}
	return index;
}

/**
 * pnv_tce_take_out() - take nodes out of a table that are empty and that a request covers
 * @tbl: the table
 * @change: the request; where exchange found empty nodes is where to look
 *
 * What was taken out is in &iommu_tce_change.loose.  Nothing is taken out while
 * another request relies on nodes of the table; the next request that covers
 * them will find them.
 *
 * Context: Process or hypercall, virtual mode; takes leaf locks.
 * Return: whether there is more to look at, after a kill and a reschedule.
 */
bool pnv_tce_take_out(struct iommu_table *tbl, struct iommu_tce_change *change)
{
	struct pnv_tce_tree *tree = tbl->it_tree;
	unsigned long index = change->empty - tbl->it_offset;
	unsigned long end = change->empty_end - tbl->it_offset;

	if (change->empty >= change->empty_end ||
	    !down_write_trylock(&tree->nodes))
		return false;
	index = tce_take_out_some(tbl, index, end, change);
	up_write(&tree->nodes);
	change->empty = tbl->it_offset + index;
	return index < end;
}

/**
 * pnv_tce_free_loose() - free nodes that were taken out of a table
 * @tbl: the table
 * @loose: from &iommu_tce_change.loose; a kill of the whole table is complete
 *
 * Context: Process or hypercall, virtual mode; may sleep; takes leaf locks.
 */
void pnv_tce_free_loose(struct iommu_table *tbl, void *loose)
{
	struct pnv_tce_tree *tree = tbl->it_tree;
	unsigned int i;
	__be64 *node;

	/* Pairs with tce_kill(): who reads the lower count kills later. */
	smp_mb__before_atomic();
	atomic_dec(&tbl->it_loose);
	/* Wait for walkers that may be in these nodes; they hold a leaf lock */
	for (i = 0; i < PNV_TCE_LOCKS; i++) {
		spin_lock(&tree->locks[i].lock);
		spin_unlock(&tree->locks[i].lock);
	}
	while (loose) {
		node = loose;
		loose = *tce_loose_next(tree, node);
		pnv_tce_node_free(tree, node);
		cond_resched();
	}
}

/**
 * pnv_tce_strand_loose() - have loose nodes freed with the table, not before
 * @tbl: the table; where loose nodes are counted (it_loose) it stays one that has some
 * @loose: the nodes; their kill failed, or was not made
 *
 * Context: Process or hypercall, virtual mode.  Takes no lock and waits for nobody.
 */
void pnv_tce_strand_loose(struct iommu_table *tbl, void *loose)
{
	struct pnv_tce_tree *tree = tbl->it_tree;
	void **last = &loose, *stranded = READ_ONCE(tree->stranded);

	while (*last)
		last = tce_loose_next(tree, *last);
	do {
		*last = stranded;
	} while (!try_cmpxchg(&tree->stranded, &stranded, loose));
}

#endif /* CONFIG_IOMMU_API */
