/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tree of a TCE table in memory: how to read it, and which lock guards what.
 *
 * pci-ioda-tce-nodes.c makes and frees the nodes, and explains what a table is.
 * pci-ioda-tce-user.c changes the entries of tables for user space.  What both
 * of them need is here.
 */
#ifndef _POWERNV_PCI_IODA_TCE_TREE_H
#define _POWERNV_PCI_IODA_TCE_TREE_H

#include <linux/gfp_types.h>
#include <linux/lockdep.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>

#include <asm/asm-compat.h>
#include <asm/iommu.h>
#include <asm/page.h>
#include <asm/tce.h>
#include "pci-ioda-tce.h"

#define PNV_TCE_VALID (TCE_PCI_READ | TCE_PCI_WRITE)
#define PNV_TCE_LOCKS 16

/* Entries, or slots of a node, that are looked at while a lock is held. */
#define PNV_TCE_STRETCH_BITS 13
#define PNV_TCE_STRETCH BIT(PNV_TCE_STRETCH_BITS)

struct pnv_tce_lock {
	spinlock_t lock; /* for TCEs, owners and counts */
} ____cacheline_aligned_in_smp;

/**
 * struct pnv_tce_tree - what a powernv table has beyond struct iommu_table
 * @geo: shape of the table; constant
 * @shadow: nodes have a shadow behind them; constant
 * @top_shift: log2 of the entries that a slot of the root covers; constant
 * @unit_bits: log2 of the entries in a unit; constant
 * @nodes: held for reading where nodes must stay, for writing to take some out
 * @stranded: nodes whose kill failed, or was not made; added by cmpxchg, freed with the table
 * @locks: the leaf locks; each guards the TCEs, owners and counts of its units
 * @valid: valid TCEs in each unit of a single-level table
 */
struct pnv_tce_tree {
	struct pnv_tce_geometry geo;
	bool shadow;
	unsigned int top_shift;
	unsigned int unit_bits;
	struct rw_semaphore nodes;
	void *stranded;
	struct pnv_tce_lock locks[PNV_TCE_LOCKS];
	unsigned long valid[];
};

/* Load and swap, swap and store: one instruction each; in C it would be ten. */
static inline u64 tce_load(const __be64 *tcep)
{
	u64 tce;

	asm volatile(LDX_BE " %0,%y1" : "=r"(tce) : "Z"(*tcep));
	return tce;
}

static inline void tce_store(__be64 *tcep, u64 tce)
{
	asm volatile(STDX_BE " %1,%y0" : "=Z"(*tcep) : "r"(tce));
}

/* Only compared with zero, so no byte swap is needed. */
static inline u64 tce_raw(const __be64 *tcep)
{
	return (u64 __force)READ_ONCE(*tcep);
}

static inline void tce_clear(__be64 *tcep)
{
	WRITE_ONCE(*tcep, 0);
}

static inline __be64 *tce_node_of(u64 pointer)
{
	return __va(pointer - PNV_TCE_VALID);
}

static inline unsigned long tce_node_slots(const struct pnv_tce_geometry *geo)
{
	return 1UL << geo->level_bits;
}

/* The word of the shadow behind a slot of a node. */
static inline u64 *tce_shadow(const struct pnv_tce_geometry *geo, __be64 *slot)
{
	return (u64 __force *)slot + tce_node_slots(geo);
}

/*
 * The word that links a loose node to the next one: its shadow's first, which an empty node
 * does not use.  A node without shadow has it in its own first slot, where the PHB may look
 * until the kill.  It sees an invalid entry there, because both bits of PNV_TCE_VALID are
 * clear in the first byte of a linear-map address and in its last.
 */
static inline void **tce_loose_next(const struct pnv_tce_tree *tree, void *node)
{
	static_assert(!(PAGE_OFFSET >> 56 & PNV_TCE_VALID));
	return tree->shadow ? (void **)tce_shadow(&tree->geo, node) : node;
}

/* The first slot from @slot to @end - 1 that is not empty; @end if all are. */
static inline unsigned long
tce_next_valid(const __be64 *node, unsigned long slot, unsigned long end)
{
	const __be64 *at = node + slot;

	for (; slot + 8 <= end; slot += 8, at += 8)
		if (tce_raw(at) | tce_raw(at + 1) | tce_raw(at + 2) |
		    tce_raw(at + 3) | tce_raw(at + 4) | tce_raw(at + 5) |
		    tce_raw(at + 6) | tce_raw(at + 7))
			break;
	while (slot < end && !tce_raw(node + slot))
		slot++;
	return slot;
}

/**
 * struct tce_walk - where a walk from the root to a leaf ended
 * @node: the leaf, or the node in which the pointer is missing
 * @slot: the slot for the entry in @node
 * @shift: log2 of how many entries a slot of @node covers; 0 for a leaf
 * @up: the slot that points to @node; NULL for the root
 */
struct tce_walk {
	__be64 *node;
	unsigned long slot;
	unsigned int shift;
	__be64 *up;
};

/*
 * Walk down for entry @index, to the node whose slots cover 1 << @bottom entries (0:
 * the leaf).  Return: whether all nodes on the way exist.
 */
static inline bool tce_walk(const struct iommu_table *tbl, unsigned long index,
			    unsigned int bottom, struct tce_walk *walk)
{
	const struct pnv_tce_tree *tree = tbl->it_tree;
	const unsigned int bits = tree->geo.level_bits;
	const unsigned long mask = tce_node_slots(&tree->geo) - 1;
	__be64 *node = (__be64 *)tbl->it_base, *up = NULL;
	unsigned int shift = tree->top_shift;
	u64 pointer = 1;

	while (shift != bottom) {
		pointer = tce_load(&node[(index >> shift) & mask]);
		if (!pointer)
			break;
		up = &node[(index >> shift) & mask];
		node = tce_node_of(pointer);
		shift -= bits;
	}
	walk->node = node;
	walk->slot = (index >> shift) & mask;
	walk->shift = shift;
	walk->up = up;
	return pointer;
}

/* How many entries the slot of a walk covers from @index on. */
static inline unsigned long tce_walk_rest(const struct tce_walk *walk,
					  unsigned long index)
{
	return (((index >> walk->shift) + 1) << walk->shift) - index;
}

static inline spinlock_t *tce_lock(struct pnv_tce_tree *tree,
				   unsigned long index)
{
	return &tree->locks[(index >> tree->unit_bits) % PNV_TCE_LOCKS].lock;
}

/* The caller may read and change the unit of @index: TCEs, owners and count. */
static inline void tce_assert_locked(struct pnv_tce_tree *tree,
				     unsigned long index)
{
	lockdep_assert_held(tce_lock(tree, index));
}

__be64 *pnv_tce_node_alloc(const struct iommu_table *tbl, gfp_t gfp);
void pnv_tce_node_free(const struct pnv_tce_tree *tree, __be64 *node);
int pnv_tce_leaves_make(struct iommu_table *tbl, unsigned long index,
			unsigned long npages, gfp_t gfp);
void pnv_tce_nodes_free(struct iommu_table *tbl);
unsigned long pnv_tce_skip_missing(const struct pnv_tce_tree *tree,
				   unsigned long index, unsigned long left,
				   struct tce_walk walk);

#endif /* _POWERNV_PCI_IODA_TCE_TREE_H */
