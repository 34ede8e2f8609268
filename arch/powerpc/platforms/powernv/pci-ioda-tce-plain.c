// SPDX-License-Identifier: GPL-2.0
/*
 * Changes of plain tables: those of paging domains.
 *
 * Nothing is kept beside a TCE.  Whoever maps in a domain knows what it has mapped where, and
 * is alone with the range of a call until the call returns; for unmapping, until the kill
 * after it has returned.  So no entry needs a lock.  Two calls meet only in the nodes above
 * disjoint ranges, where pointers appear and disappear one word at a time.
 *
 * Nodes are made when the first TCE below them is written.  A node is taken out by a call
 * that clears all entries below it, and by no other, also if it is empty: then its whole span
 * is the caller's, and no walker can be inside.  It is loose until a kill of the whole table,
 * and is linked by its own first slot (tce_loose_next()).
 *
 * Cannot fail: clearing, freeing.
 */

#include <linux/atomic.h>
#include <linux/gfp.h>
#include <linux/llist.h>
#include <linux/minmax.h>
#include <linux/sched.h>

#include <asm/iommu.h>
#include <asm/tce.h>
#include "pci-ioda-tce-plain.h"
#include "pci-ioda-tce-tree.h"

/* Write @n TCEs, as long as no entry is live.  Return: how many were written. */
static unsigned long tce_write_run(__be64 *tcep, unsigned long n, u64 tce,
				   u64 page)
{
	__be64 *const first = tcep;

	for (; n; n--, tcep++) {
		if (tce_raw(tcep))
			break;
		tce_store(tcep, tce);
		tce += page;
	}
	return tcep - first;
}

/* Clear @n TCEs, as long as they are valid.  Return: how many were cleared. */
static unsigned long tce_zap_run(__be64 *tcep, unsigned long n)
{
	__be64 *const first = tcep;

	for (; n; n--, tcep++) {
		if (!tce_raw(tcep))
			break;
		tce_clear(tcep);
	}
	return tcep - first;
}

/* How many of the entries from @index to @end - 1 are in one leaf. */
static unsigned long tce_leaf_rest(const struct iommu_table *tbl,
				   unsigned long index, unsigned long end)
{
	const struct pnv_tce_geometry *geo = &tbl->it_tree->geo;

	return min_t(unsigned long, end, pnv_tce_next(geo, index, 1)) - index;
}

/* Make the nodes for an entry.  Whoever finds one finds @making or @made raised, too. */
static int tce_grow(struct iommu_table *tbl, const struct pnv_tce_write *write)
{
	struct pnv_tce_growth *growth = write->growth;
	int ret;

	atomic_long_inc(&growth->making);
	smp_mb__after_atomic(); /* before anybody finds a node */
	ret = pnv_tce_leaves_make(tbl, write->index, 1, write->gfp);
	smp_mb__before_atomic(); /* they are there before they count as made */
	atomic_long_inc(&growth->made);
	smp_mb__before_atomic(); /* and count before nobody is making any */
	atomic_long_dec(&growth->making);
	return ret;
}

/**
 * pnv_tce_growth_due() - whether new TCEs need a whole-table kill
 * @growth: of the table
 * @made: for pnv_tce_growth_shown(), once a whole-table kill succeeds
 *
 * Context: Any; after pnv_tce_write().
 * Return: whether nodes may have come since the last such kill, or are coming.
 */
bool pnv_tce_growth_due(const struct pnv_tce_growth *growth, long *made)
{
	bool making;

	/* Whoever has found a node finds that it is being made, or was. */
	smp_rmb();
	making = atomic_long_read(&growth->making);
	smp_rmb(); /* Whoever sees nobody making sees what was made. */
	*made = atomic_long_read(&growth->made);
	return making || *made != READ_ONCE(growth->shown);
}

/**
 * pnv_tce_growth_shown() - the PHB has forgotten which nodes were absent
 * @growth: of the table
 * @made: from pnv_tce_growth_due() before the kill
 *
 * Context: Any.
 */
void pnv_tce_growth_shown(struct pnv_tce_growth *growth, long made)
{
	WRITE_ONCE(growth->shown, made);
}

/**
 * pnv_tce_write() - write TCEs to physically contiguous memory into a plain table
 * @tbl: the table
 * @write: what to write where, inside the table; afterwards what is left of it
 *
 * A live entry is never replaced.  The caller kills: the PHB may have cached that the entries
 * were empty.
 *
 * Context: As &pnv_tce_write.gfp says; nobody else uses the range.
 * Return: 0; -EADDRINUSE at an entry that is live; -ENOMEM; -EINTR after a fatal signal, if it
 * may sleep.  On failure the entries before &pnv_tce_write.index have been written.
 */
int pnv_tce_write(struct iommu_table *tbl, struct pnv_tce_write *write)
{
	const unsigned long end = write->index + write->left;
	const u64 page = 1ULL << tbl->it_page_shift;
	unsigned long n, done;
	struct tce_walk walk;
	int ret;

	while (write->left) {
		if (!tce_walk(tbl, write->index, 0, &walk)) {
			ret = tce_grow(tbl, write);
			if (ret)
				return ret;
			continue;
		}
		n = tce_leaf_rest(tbl, write->index, end);
		done = tce_write_run(walk.node + walk.slot, n, write->tce,
				     page);
		write->index += done;
		write->left -= done;
		write->tce += done * page;
		if (done < n)
			return -EADDRINUSE;
		if (!write->left || !gfpflags_allow_blocking(write->gfp))
			continue;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/* Take out the nodes whose spans end before @next and do not begin before @first. */
static void tce_zap_nodes(struct iommu_table *tbl, unsigned long first,
			  unsigned long next, struct llist_head *loose)
{
	const struct pnv_tce_tree *tree = tbl->it_tree;
	const unsigned int bits = tree->geo.level_bits;
	struct tce_walk walk;
	unsigned int shift;

	for (shift = bits; shift <= tree->top_shift; shift += bits) {
		if (next & ((1UL << shift) - 1) || next - first < 1UL << shift)
			return;
		tce_walk(tbl, next - 1, shift - bits, &walk);
		tce_clear(walk.up);
		llist_add((struct llist_node *)walk.node, loose);
	}
}

/**
 * pnv_tce_zap() - clear TCEs of a plain table
 * @tbl: the table
 * @index: first entry, relative to the start of the window
 * @n: how many entries, all inside the table
 * @loose: nodes of which every TCE was cleared are added
 *
 * The caller kills the range, or the whole table if it is as large as a leaf: then nodes
 * may have been taken out.  This never reschedules, however large @n is: nobody says whether it
 * may, and iommufd has looked up each page before, which takes longer.
 *
 * Context: Any; nobody else uses the range until the kill.
 * Return: how many were cleared; fewer than @n only if the next one was not valid.
 */
unsigned long pnv_tce_zap(struct iommu_table *tbl, unsigned long index,
			  unsigned long n, struct llist_head *loose)
{
	const unsigned long end = index + n;
	unsigned long at = index, rest, done;
	struct tce_walk walk;

	while (at < end && tce_walk(tbl, at, 0, &walk)) {
		rest = tce_leaf_rest(tbl, at, end);
		done = tce_zap_run(walk.node + walk.slot, rest);
		at += done;
		if (done < rest)
			break;
		tce_zap_nodes(tbl, index, at, loose);
	}
	return at - index;
}

/**
 * pnv_tce_free_plain() - free nodes that were taken out of a plain table
 * @tbl: the table
 * @loose: the nodes; a kill of the whole table is complete that began after they were added
 *
 * Context: Any.  Cannot fail.
 */
void pnv_tce_free_plain(struct iommu_table *tbl, struct llist_node *loose)
{
	struct llist_node *node, *next;

	llist_for_each_safe(node, next, loose)
		pnv_tce_node_free(tbl->it_tree, (__be64 __force *)node);
}
