// SPDX-License-Identifier: GPL-2.0
/*
 * Requests of guests on lists of TCEs: any memory for each entry, in several tables at once.
 *
 * A LIOBN may be linked to tables of several groups, and the guest
 * expects one answer.  So a list is prepared in all tables before anything
 * changes in one:
 *
 * hold	   count all TCEs in their regions, once for each table.  Tables whose
 *	   pages are as large as the guest's get the same TCEs, which are made
 *	   here, too.  For tables with smaller pages an item is a run of entries.
 * prealloc  make all nodes, in each table; they stay until release.
 * commit	   table by table: write, kill once, drop (iommu-tce.c).
 *
 * Up to the last step a failure leaves all tables as they were, unless one is broken.
 */

#include <linux/export.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <asm/iommu.h>
#include <asm/iommu_tce.h>
#include <asm/mmu_context_iommu.h>
#include <asm/tce.h>
#include "iommu-tce-batch.h"
#include "iommu-tce-items.h"

/* TCEs of up to so many items are on the stack; clearing it would take 60 instructions. */
#define LIST_SMALL 32

/* A commit gives way, and looks for a fatal signal, each so many steps. */
#define LIST_STEPS 16

/**
 * struct tce_list_work - a list under way
 * @list: the list
 * @targets: its tables
 * @nr: how many
 * @same: how many of them have pages as large as the items
 * @fills: there is an item with permissions
 * @tces: the TCEs for these
 */
struct tce_list_work {
	const struct iommu_tce_list *list;
	const struct iommu_tce_target *targets;
	unsigned int nr;
	unsigned int same;
	bool fills;
	u64 *tces;
};

/* Item @i as a request on a table. */
static struct iommu_tce_request
item_request(const struct iommu_tce_list *list,
	     const struct iommu_tce_target *target, unsigned int i)
{
	return (struct iommu_tce_request){
		.mm = list->mm,
		.entry =
			target->entry + ((unsigned long)i << target->sub_shift),
		.npages = 1UL << target->sub_shift,
		.ua = list->items[i] & ~ITEM_PERMS,
		.perm = list->items[i] & ITEM_PERMS,
	};
}

/* How many entries of a table a list has. */
static unsigned long target_entries(const struct iommu_tce_list *list,
				    const struct iommu_tce_target *target)
{
	return (unsigned long)list->n << target->sub_shift;
}

/* Drop what is held for the entries @from to @to - 1 of a list in one table. */
static void target_unhold(const struct iommu_tce_list *list,
			  const struct iommu_tce_target *target,
			  unsigned long from, unsigned long to)
{
	const unsigned long size = 1UL << target->sub_shift;
	struct iommu_tce_request req;
	unsigned long end;

	for (; from < to; from = end) {
		end = min(to, (from | (size - 1)) + 1);
		req = item_request(list, target, from >> target->sub_shift);
		if (req.perm)
			tce_request_unhold(target->tbl, &req, from & (size - 1),
					   ((end - 1) & (size - 1)) + 1);
	}
}

static void same_unhold(const struct tce_list_work *work, unsigned int items)
{
	unsigned int i;

	for (i = 0; i < work->nr; i++)
		if (!work->targets[i].sub_shift)
			target_unhold(work->list, &work->targets[i], 0, items);
}

/*
 * In tables whose pages are as large as items, hold the items from @i on and
 * make their TCEs, up to one that tce_items_in() does not take.  Return: the
 * next item; @i on failure.
 */
static unsigned int same_hold_region(struct tce_list_work *work, unsigned int i,
				     unsigned int page_shift)
{
	const struct iommu_tce_list *list = work->list;
	const u64 ua = list->items[i] & ~ITEM_PERMS;
	struct mm_iommu_region *region;
	unsigned int done;

	if (ua & ((1ULL << page_shift) - 1))
		return i;
	region = mm_iommu_hold_one(list->mm, ua, page_shift);
	if (!region)
		return i;
	done = tce_items_in(region, page_shift, list->items + i, list->n - i,
			    work->tces + i);
	mm_iommu_hold_more(region, (unsigned long)done * work->same - 1);
	return i + done;
}

/* Hold all items with permissions in the tables with pages of their size, or none. */
static int same_hold(struct tce_list_work *work, unsigned int page_shift)
{
	const struct iommu_tce_list *list = work->list;
	unsigned int i = 0, from;

	while (i < list->n) {
		from = i;
		if (list->items[i] & ITEM_PERMS)
			i = same_hold_region(work, i, page_shift);
		else
			i++;
		if (i == from) {
			same_unhold(work, i);
			return -EINVAL;
		}
	}
	return 0;
}

/* Hold all items in a table with smaller pages. */
static int target_hold(const struct iommu_tce_list *list,
		       const struct iommu_tce_target *target)
{
	const unsigned long mask = (1UL << target->tbl->it_page_shift) - 1;
	struct iommu_tce_request req;
	struct tce_source source;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < list->n && !ret; i++) {
		req = item_request(list, target, i);
		if (req.perm)
			ret = req.ua & mask ? -EINVAL :
					      tce_request_hold(target->tbl,
							       &req, &source);
	}
	if (ret)
		target_unhold(list, target, 0,
			      (unsigned long)(i - 1) << target->sub_shift);
	return ret;
}

static void tce_list_unhold(const struct tce_list_work *work, unsigned int nr)
{
	const struct iommu_tce_target *target;
	unsigned int i;

	same_unhold(work, work->list->n);
	for (i = 0; i < nr; i++) {
		target = &work->targets[i];
		if (target->sub_shift)
			target_unhold(work->list, target, 0,
				      target_entries(work->list, target));
	}
}

/* Hold all items for all tables, or none. */
static int tce_list_hold(struct tce_list_work *work)
{
	const struct iommu_tce_target *target, *same = NULL;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < work->list->n && !work->fills; i++)
		work->fills = work->list->items[i] & ITEM_PERMS;
	for (i = 0; i < work->nr; i++) {
		target = &work->targets[i];
		if (!target->sub_shift)
			same = target;
		work->same += !target->sub_shift;
	}
	if (same)
		ret = same_hold(work, same->tbl->it_page_shift);
	for (i = 0; i < work->nr && !ret; i++) {
		target = &work->targets[i];
		if (!target->sub_shift)
			continue;
		ret = target_hold(work->list, target);
		if (ret)
			tce_list_unhold(work, i);
	}
	return ret;
}

static void tce_list_release(const struct tce_list_work *work, unsigned int nr)
{
	struct iommu_table *tbl;

	while (nr--) {
		tbl = work->targets[nr].tbl;
		if (work->fills && tbl->it_ops->release)
			tbl->it_ops->release(tbl);
	}
}

/* Preallocate the nodes of a table; for @nest tables that is done already. */
static int target_prealloc(const struct tce_list_work *work,
			   const struct iommu_tce_target *target,
			   unsigned int nest)
{
	struct iommu_table *tbl = target->tbl;

	if (!work->fills)
		return 0;
	if (READ_ONCE(tbl->it_broken))
		return -EIO;
	if (READ_ONCE(tbl->it_closed))
		return -ENODEV;
	if (!tbl->it_ops->prealloc)
		return 0;
	return tbl->it_ops->prealloc(tbl, target->entry,
				     target_entries(work->list, target), nest);
}

/* Preallocate the nodes of all tables.  On failure none is held; what was made stays, empty. */
static int tce_list_prealloc(const struct tce_list_work *work)
{
	unsigned int i;
	int ret;

	for (i = 0; i < work->nr; i++) {
		ret = target_prealloc(work, &work->targets[i], i);
		if (ret) {
			tce_list_release(work, i);
			return ret;
		}
	}
	return 0;
}

/* Write the items @from to @to - 1, all with permissions, where each is an entry. */
static int fill_same(struct tce_batch *batch, const struct tce_list_work *work,
		     unsigned int from, unsigned int to)
{
	struct iommu_tce_change *change = &batch->change;
	unsigned long entry = change->entry;
	unsigned int steps = 0;
	int ret;

	change->perm = TCE_PCI_READ;
	change->hpa_shift = batch->tbl->it_page_shift;
	change->hpa_offset = 0;
	while (from < to) {
		change->hpas = work->tces + from;
		change->owners = work->list->items + from;
		change->owner = *change->owners & ~ITEM_PERMS;
		change->left = to - from;
		ret = batch->tbl->it_ops->exchange(batch->tbl, change);
		batch_collect(batch);
		from += change->entry - entry;
		entry = change->entry;
		if (ret)
			return ret;
		if (++steps % LIST_STEPS)
			continue;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/* Write items, each into a run of entries. */
static int fill_runs(struct tce_batch *batch, const struct iommu_tce_list *list,
		     const struct iommu_tce_target *target, unsigned int from,
		     unsigned int to)
{
	struct iommu_tce_request req;
	int ret = 0;

	batch->change.owners = NULL;
	for (; from < to && !ret; from++) {
		req = item_request(list, target, from);
		ret = tce_request_fill(batch, &req);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	return ret;
}

static int wipe_items(struct tce_batch *batch, unsigned long entries)
{
	int ret = 0;

	batch->change.perm = 0;
	batch->change.owners = NULL;
	batch->change.left = entries;
	while (batch->change.left && !ret) {
		ret = batch_wipe(batch);
		if (!ret && fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	return ret;
}

/* Write a list into one table: in turn stretches of items with permissions and without. */
static int target_change(struct tce_batch *batch,
			 const struct tce_list_work *work,
			 const struct iommu_tce_target *target)
{
	const struct iommu_tce_list *list = work->list;
	unsigned int from, to;
	int ret = 0;
	bool fill;

	for (from = 0; from < list->n && !ret; from = to) {
		fill = list->items[from] & ITEM_PERMS;
		for (to = from + 1; to < list->n; to++)
			if (!(list->items[to] & ITEM_PERMS) == fill)
				break;
		if (!fill)
			ret = wipe_items(batch, (unsigned long)(to - from)
							<< target->sub_shift);
		else if (target->sub_shift)
			ret = fill_runs(batch, list, target, from, to);
		else
			ret = fill_same(batch, work, from, to);
	}
	return ret;
}

/* Write all of a list into a table whose nodes are preallocated, kill, and drop. */
static int target_commit(const struct tce_list_work *work,
			 const struct iommu_tce_target *target)
{
	struct tce_batch batch __uninitialized;
	int ret;

	batch_init(&batch, target->tbl, work->list->mm, target->entry, 0);
	ret = target_change(&batch, work, target);
	batch_finish(&batch);
	target_unhold(work->list, target, batch.change.entry - target->entry,
		      target_entries(work->list, target));
	return ret ?: batch.error;
}

/*
 * Write a list into all tables.  If one was closed meanwhile (-ENODEV), go on with the others.
 * After any other failure, leave those behind it alone.
 */
static int tce_list_commit(const struct tce_list_work *work)
{
	const struct iommu_tce_target *target;
	unsigned int i;
	int ret = 0, err;

	for (i = 0; i < work->nr; i++) {
		target = &work->targets[i];
		if (ret && ret != -ENODEV) {
			target_unhold(work->list, target, 0,
				      target_entries(work->list, target));
			continue;
		}
		err = target_commit(work, target);
		ret = err ?: ret;
	}
	return ret;
}

/* Clear the entries of a list in all tables. */
static void tce_list_clear(const struct tce_list_work *work)
{
	const struct iommu_tce_target *target;
	struct iommu_tce_request req = { .mm = work->list->mm };
	unsigned int i;

	for (i = 0; i < work->nr; i++) {
		target = &work->targets[i];
		req.entry = target->entry;
		req.npages = target_entries(work->list, target);
		iommu_tce_unmap(target->tbl, &req);
	}
}

static int tce_list_map(struct tce_list_work *work)
{
	int ret;

	ret = tce_list_hold(work);
	if (ret)
		return ret;
	ret = tce_list_prealloc(work);
	if (ret) {
		tce_list_unhold(work, work->nr);
	} else {
		ret = tce_list_commit(work);
		tce_list_release(work, work->nr);
	}
	if (ret == -EIO)
		tce_list_clear(work);
	return ret;
}

/* Whether a list is one run of consecutive memory with equal permissions, or clears all. */
static bool list_is_run(const struct iommu_tce_list *list, u64 page)
{
	u64 next = list->items[0];
	unsigned int i;

	if (!(next & ITEM_PERMS))
		page = 0;
	for (i = 1; i < list->n; i++) {
		next += page;
		if (list->items[i] != next)
			return false;
	}
	return true;
}

/* The same request on a range of one table, which costs less. */
static int tce_list_run(const struct iommu_tce_list *list,
			const struct iommu_tce_target *target)
{
	struct iommu_tce_request req = item_request(list, target, 0);
	int ret;

	req.npages = (unsigned long)list->n << target->sub_shift;
	if (!req.perm)
		return iommu_tce_unmap(target->tbl, &req);
	if (req.ua & ((1UL << target->tbl->it_page_shift) - 1))
		return -EINVAL;
	ret = iommu_tce_map(target->tbl, &req);
	if (ret == -EIO)
		iommu_tce_unmap(target->tbl, &req);
	return ret;
}

/**
 * iommu_tce_change_list() - change entries of several tables alike
 * @targets: the tables, all different; kept by the caller
 * @nr: how many, at most 8; items are equally large in all of them
 * @list: what to write; user addresses may be any
 *
 * Context: Process, may sleep; takes leaf locks.
 * Return: 0.  -EINVAL when some memory is not registered, is in smaller pieces than an IOMMU
 * page or not aligned to one; -ENOMEM: nothing has changed in any table.  -ENODEV when a table
 * was closed: it is empty, and each of the others has been changed, or none has.  -EINTR after
 * a fatal signal: the first entries of some tables may have been changed.  -EIO when firmware
 * refused an entry, or a kill failed now or earlier: the entries have been cleared, in all
 * tables, as far as firmware allows, and memory that the hardware may still reach stays counted.
 */
int iommu_tce_change_list(const struct iommu_tce_target *targets,
			  unsigned int nr, const struct iommu_tce_list *list)
{
	const u64 page = 1ULL
			 << (targets->tbl->it_page_shift + targets->sub_shift);
	u64 small[LIST_SMALL] __uninitialized;
	struct tce_list_work work = {
		.list = list,
		.targets = targets,
		.nr = nr,
		.tces = small,
	};
	int ret;

	might_sleep();
	if (!list->n)
		return 0;
	if (nr == 1 && list_is_run(list, page))
		return tce_list_run(list, targets);
	if (list->n > LIST_SMALL)
		work.tces = kmalloc_array(list->n, sizeof(u64), GFP_KERNEL);
	if (!work.tces)
		return -ENOMEM;
	ret = tce_list_map(&work);
	if (work.tces != small)
		kfree(work.tces);
	return ret;
}
EXPORT_SYMBOL_GPL(iommu_tce_change_list);
