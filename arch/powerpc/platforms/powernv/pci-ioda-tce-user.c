// SPDX-License-Identifier: GPL-2.0
/*
 * Changes of TCE tables for user space: runs of entries, written or cleared under a leaf lock.
 *
 * A change says what to do to some entries (&struct iommu_tce_change), and
 * receives the owners of the TCEs that it replaced, as runs of consecutive
 * owners.  The loops that do it are here, and the closing of a table, which
 * ends all changes.  Nodes are made by pci-ioda-tce-nodes.c, which also says
 * what a leaf lock guards.
 *
 * Cannot fail: clearing.
 */

#include <linux/minmax.h>
#include <linux/spinlock.h>

#include <asm/iommu.h>
#include <asm/iommu_tce.h>
#include <asm/tce.h>
#include "pci.h"
#include "pci-ioda-tce-place.h"
#include "pci-ioda-tce-tree.h"

/*
 * Instructions that these annotations save in a MAP or UNMAP of one
 * TCE: tce_place() and tce_change_one() inline 6 each, tce_skip_units() not
 * inline 4, tce_change() 3.  tce_fill_large_blocks() not inline: 0.1 of 11.9 a TCE of 4K.
 * Of pnv_tce_exchange_one(): not to clear what is set below 9.
 */

/* Find the parts of an entry.  Context: leaf lock of @index held. */
static __always_inline void tce_place(const struct iommu_table *tbl,
				      unsigned long index,
				      const struct tce_walk *walk,
				      unsigned long left,
				      struct tce_place *place)
{
	tce_assert_locked(tbl->it_tree, index);
	tce_place_find(tbl, index, walk, left, place);
}

/*
 * The old owners of a change are collected as runs.  The owner that would
 * continue the present run is in a variable (next), so that an entry costs only
 * one comparison.  IOMMU_TCE_NO_OWNER is no owner, so it begins a run.
 */

/* Return: false if there is no room for a run that begins with @owner; else @next is set. */
static bool tce_run_begin(struct iommu_tce_change *change, u64 *next, u64 owner,
			  unsigned int page_shift)
{
	if (change->nr_runs == IOMMU_TCE_RUNS)
		return false;
	iommu_tce_end_run(change, *next, page_shift);
	change->runs[change->nr_runs++].owner = owner;
	*next = owner;
	return true;
}

/*
 * The innermost loops.  Each is in a function of its own that calls nothing, so
 * that all its variables are in registers, and counts entries to do, so that
 * counting and branching are one instruction.  They end at a TCE whose old owner
 * is not *@pnext, the one that would continue the run.  Return: the entry where
 * they ended.
 */

/*
 * Whether an entry is empty, or its old owner continues the run.  This is all that an entry
 * costs beside two stores.
 */
static bool tce_continues(const __be64 *tcep, const u64 *owner, u64 *next,
			  u64 page)
{
	if (!tce_raw(tcep))
		return true;
	if (*owner != *next)
		return false;
	*next += page;
	return true;
}

/* Write TCEs from entry @i on, for blocks of memory that are larger than a page. */
static noinline unsigned long
tce_fill_large_blocks(const struct tce_place *place, unsigned long i,
		      const struct iommu_tce_change *change, u64 *pnext,
		      unsigned int page_shift)
{
	const u64 page = 1ULL << page_shift, block = 1ULL << change->hpa_shift;
	u64 owner = change->owner + (i << page_shift);
	u64 *owners = place->owners + i;
	__be64 *tcep = place->tces + i;
	u64 next = *pnext, tce, offset;
	unsigned long n = 0;

	while (!n && i < place->n) {
		offset = change->hpa_offset + (i << page_shift);
		n = (block - (offset & (block - 1))) >> page_shift;
		n = min(n, place->n - i);
		tce = iommu_tce_new(change, i, page_shift);
		for (; n; n--, tcep++) {
			if (!tce_continues(tcep, owners, &next, page))
				break;
			tce_store(tcep, tce);
			*owners++ = owner;
			owner += page;
			tce += page;
		}
		i = tcep - place->tces;
	}
	*pnext = next;
	return i;
}

/* Write TCEs from entry @i on, each for a block of its own. */
static unsigned long tce_fill_blocks(const struct tce_place *place,
				     unsigned long i,
				     const struct iommu_tce_change *change,
				     u64 *pnext, unsigned int page_shift)
{
	const u64 page = 1ULL << page_shift, perm = change->perm;
	u64 owner = change->owner + (i << page_shift);
	const u64 *hpas = change->hpas + i;
	u64 *owners = place->owners + i;
	__be64 *tcep = place->tces + i;
	unsigned long n = place->n - i;
	u64 next = *pnext;

	for (; n; n--, tcep++) {
		if (!tce_continues(tcep, owners, &next, page))
			break;
		tce_store(tcep, *hpas++ | perm);
		*owners++ = owner;
		owner += page;
	}
	*pnext = next;
	return tcep - place->tces;
}

/* Write TCEs of a list from entry @i on, each with an owner of its own. */
static unsigned long tce_fill_list(const struct tce_place *place,
				   unsigned long i,
				   const struct iommu_tce_change *change,
				   u64 *pnext, u64 page)
{
	const u64 *tces = change->hpas + i, *from = change->owners + i;
	u64 *owners = place->owners + i;
	__be64 *tcep = place->tces + i;
	unsigned long n = place->n - i;
	u64 next = *pnext;

	for (; n; n--, tcep++) {
		if (!tce_continues(tcep, owners, &next, page))
			break;
		tce_store(tcep, *tces++ | TCE_PCI_READ);
		*owners++ = *from++ & ~PNV_TCE_VALID;
	}
	*pnext = next;
	return tcep - place->tces;
}

/* Clear valid TCEs and their owners from entry @i on; also ends at an empty entry. */
static unsigned long tce_wipe_run(const struct tce_place *place,
				  unsigned long i, u64 *pnext, u64 page)
{
	/* Owners lie at the same distance from all TCEs. */
	const long distance = (long)place->owners - (long)place->tces;
	__be64 *tcep = place->tces + i;
	unsigned long n = place->n - i;
	u64 next = *pnext;
	u64 *owner;

	for (; n; n--, tcep++) {
		owner = (void *)tcep + distance;
		if (!tce_raw(tcep) || *owner != next)
			break;
		tce_clear(tcep);
		*owner = 0;
		next += page;
	}
	*pnext = next;
	return tcep - place->tces;
}

/*
 * Write the entries of @place, as long as there is room for old owners.
 * Return: how many were written.
 * Context: the caller holds the leaf lock.
 */
static unsigned long tce_fill(const struct tce_place *place,
			      struct iommu_tce_change *change,
			      unsigned int page_shift)
{
	u64 next = IOMMU_TCE_NO_OWNER;
	unsigned long i = 0;

	for (;;) {
		if (change->owners)
			i = tce_fill_list(place, i, change, &next,
					  1ULL << page_shift);
		else if (change->hpa_shift == page_shift)
			i = tce_fill_blocks(place, i, change, &next,
					    page_shift);
		else
			i = tce_fill_large_blocks(place, i, change, &next,
						  page_shift);
		if (i == place->n)
			break;
		if (tce_raw(&place->tces[i]) && place->owners[i] != next &&
		    !tce_run_begin(change, &next, place->owners[i], page_shift))
			break;
	}
	iommu_tce_end_run(change, next, page_shift);
	return i;
}

/* Clear them, likewise.  Return: how many were cleared, or were empty. */
static unsigned long tce_wipe(const struct tce_place *place,
			      struct iommu_tce_change *change,
			      unsigned int page_shift)
{
	u64 next = IOMMU_TCE_NO_OWNER;
	unsigned long i = 0;

	for (;;) {
		i = tce_next_valid(place->tces, i, place->n);
		if (i == place->n)
			break;
		if (place->owners[i] != next &&
		    !tce_run_begin(change, &next, place->owners[i], page_shift))
			break;
		i = tce_wipe_run(place, i, &next, 1ULL << page_shift);
	}
	iommu_tce_end_run(change, next, page_shift);
	return i;
}

/* In a bare table, write or clear entry by entry.  The old TCE is recorded as owner. */
static unsigned long tce_swap(const struct tce_place *place,
			      struct iommu_tce_change *change,
			      unsigned int page_shift)
{
	unsigned long i;
	u64 old;

	for (i = 0; i < place->n; i++) {
		old = tce_load(&place->tces[i]);
		if (old && !iommu_tce_record_old(change, old, page_shift))
			break;
		tce_store(&place->tces[i],
			  change->perm ? iommu_tce_new(change, i, page_shift) :
					 0);
	}
	return i;
}

/* Change a single entry, as where regions are small: 150 instructions less than tce_change(). */
static __always_inline unsigned long
tce_change_one(const struct tce_place *place, struct iommu_tce_change *change)
{
	bool valid = tce_raw(place->tces);

	if (valid) {
		change->runs[0].owner = *place->owners;
		change->runs[0].n = 1;
		change->nr_runs = 1;
	}
	if (change->perm) {
		tce_store(place->tces,
			  (*change->hpas + change->hpa_offset) | change->perm);
		*place->owners = change->owner;
		*place->valid += !valid;
	} else if (valid) {
		tce_clear(place->tces);
		*place->owners = 0;
		*place->valid -= 1;
	}
	return 1;
}

static noinline unsigned long tce_change(struct tce_place at,
					 struct iommu_tce_change *change,
					 unsigned int page_shift)
{
	const struct tce_place *place = &at;
	unsigned long n, old = 0;
	unsigned int i;

	if (!place->owners)
		n = tce_swap(place, change, page_shift);
	else if (!change->perm)
		n = tce_wipe(place, change, page_shift);
	else
		n = tce_fill(place, change, page_shift);

	for (i = 0; i < change->nr_runs; i++)
		old += change->runs[i].n;
	*place->valid += (change->perm ? n : 0) - old;
	return n;
}

/* How many entries from @index on can be skipped, as their units are empty. */
static noinline unsigned long tce_skip_units(const struct pnv_tce_tree *tree,
					     unsigned long index,
					     unsigned long left)
{
	const unsigned long size = 1UL << tree->unit_bits;
	unsigned long unit = index >> tree->unit_bits;
	unsigned long last = (index + left - 1) >> tree->unit_bits;

	do {
		unit++;
	} while (tree->geo.levels == 1 && unit <= last &&
		 !READ_ONCE(tree->valid[unit]));
	return min(left, unit * size - index);
}

/*
 * If the request may give nodes back, note that the node of its next entry may
 * be empty.
 */
static void tce_note_empty(struct iommu_tce_change *change)
{
	if (!change->cover_end)
		return;
	change->empty = min(change->empty, change->entry);
	change->empty_end = max(change->empty_end, change->entry + 1);
}

/**
 * pnv_tce_exchange() - change a run of entries of a table for user space
 * @tbl: the table
 * @change: what to do; see &struct iommu_tce_change
 *
 * Goes on until nothing is left, a leaf ends, there is no room to report one
 * more old owner, or a stretch of entries was changed, and leaves the rest in
 * @change.  The caller kills, and may have nodes that are empty then taken out.
 *
 * Context: Process or hypercall, virtual mode; takes a leaf lock.
 * Return: 0.  -EAGAIN when @change is to be made as a whole and that is not
 * possible, or when the leaf for the first new TCE does not exist: then
 * pnv_tce_prealloc() helps.  For new TCEs -ENODEV in a table that was
 * closed, -EIO in one that a failed kill has broken.  On failure nothing has
 * changed.
 */
int pnv_tce_exchange(struct iommu_table *tbl, struct iommu_tce_change *change)
{
	const unsigned long index = change->entry - tbl->it_offset;
	struct pnv_tce_tree *tree = tbl->it_tree;
	spinlock_t *lock = tce_lock(tree, index);
	struct tce_place place;
	struct tce_walk walk;
	unsigned long n = 0;
	bool empty = false;
	int ret = 0;

	change->nr_runs = 0;
	if (change->perm & TCE_PCI_WRITE)
		change->perm |= TCE_PCI_READ; /* IODA2 has no write-only TCE */

	spin_lock(lock);
	if (change->perm &&
	    (READ_ONCE(tbl->it_closed) || READ_ONCE(tbl->it_broken))) {
		ret = READ_ONCE(tbl->it_closed) ? -ENODEV : -EIO;
	} else if (tce_walk(tbl, index, 0, &walk)) {
		tce_place(tbl, index, &walk, change->left, &place);
		if (change->whole && place.n < change->left) {
			ret = -EAGAIN;
		} else if (change->perm || *place.valid) {
			if (place.n == 1 && place.owners)
				n = tce_change_one(&place, change);
			else
				n = tce_change(place, change,
					       tbl->it_page_shift);
			empty = walk.up && !*place.valid;
		} else {
			n = tce_skip_units(tree, index, change->left);
			empty = walk.up;
		}
	} else if (change->perm) {
		ret = -EAGAIN;
	} else {
		n = pnv_tce_skip_missing(tree, index, change->left, walk);
		empty = walk.up;
	}
	spin_unlock(lock);

	if (empty)
		tce_note_empty(change);
	change->entry += n;
	change->left -= n;
	return ret;
}

/**
 * pnv_tce_exchange_one() - change one entry of a table that records owners
 * @tbl: the table
 * @entry: the entry, absolute
 * @tce: the new TCE, 0 to clear it
 * @owner: its owner; becomes that of the old one, IOMMU_TCE_NO_OWNER if it was not
 *	valid
 *
 * As pnv_tce_exchange(), and faster.
 *
 * Context: Process or hypercall, virtual mode; takes a leaf lock.
 * Return: 0; for a new TCE -EAGAIN when its leaf does not exist, -ENODEV in a table that was
 * closed, -EIO in one that a failed kill has broken.  On failure nothing has changed.
 */
int pnv_tce_exchange_one(struct iommu_table *tbl, unsigned long entry, u64 tce,
			 u64 *owner)
{
	const unsigned long index = entry - tbl->it_offset;
	spinlock_t *lock = tce_lock(tbl->it_tree, index);
	struct tce_place place __uninitialized;
	struct tce_walk walk __uninitialized;
	u64 old = IOMMU_TCE_NO_OWNER;
	int ret = 0;

	if (tce & TCE_PCI_WRITE)
		tce |= TCE_PCI_READ; /* IODA2 has no write-only TCE */

	spin_lock(lock);
	if (tce && READ_ONCE(tbl->it_closed)) {
		ret = -ENODEV;
	} else if (tce && READ_ONCE(tbl->it_broken)) {
		ret = -EIO;
	} else if (!tce_walk(tbl, index, 0, &walk)) {
		ret = tce ? -EAGAIN : 0;
	} else {
		tce_place(tbl, index, &walk, 1, &place);
		if (tce_raw(place.tces)) {
			old = *place.owners;
			*place.valid -= 1;
		}
		tce_store(place.tces, tce);
		*place.owners = tce ? *owner : 0;
		*place.valid += !!tce;
	}
	spin_unlock(lock);
	if (!ret)
		*owner = old;
	return ret;
}

/**
 * pnv_tce_close() - refuse new TCEs from now on, until pnv_tce_open()
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
	/* Wait for those that saw the table open: each holds a leaf lock. */
	for (i = 0; i < PNV_TCE_LOCKS; i++) {
		spin_lock(&tbl->it_tree->locks[i].lock);
		spin_unlock(&tbl->it_tree->locks[i].lock);
	}
}

/**
 * pnv_tce_open() - take new TCEs again
 * @tbl: the table, whose window stays after all
 *
 * Context: Any.
 */
void pnv_tce_open(struct iommu_table *tbl)
{
	WRITE_ONCE(tbl->it_closed, false);
}
