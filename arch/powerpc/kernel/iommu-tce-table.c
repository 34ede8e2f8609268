// SPDX-License-Identifier: GPL-2.0
/*
 * What a TCE table has beside its TCEs: who pays for it, and who watches it.
 *
 * A table for user space is charged to locked_vm, and keeps its charge until its
 * memory is freed.  A guest may have the table for a little longer than its
 * window lives.  KVM watches it to put its reference when the window is closed.
 *
 * Cannot fail: the end of a charge, taking a watch off.
 */

#include <linux/atomic.h>
#include <linux/cleanup.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/spinlock.h>
#include <linux/wait_bit.h>

#include <asm/iommu.h>
#include <asm/iommu_tce.h>
#include <asm/mmu_context_iommu.h>

/* Guards &iommu_table.it_watches of all tables, which hardly ever change. */
static DEFINE_SPINLOCK(watches_lock);

/**
 * iommu_group_table_get() - a table that a group has as its window, to watch it
 * @table_group: the group
 * @num: number of the window
 *
 * Context: Process; windows may come and go meanwhile.
 * Return: the table with a reference for iommu_tce_watch_put(); NULL if there is none, or it is
 * closed.
 */
struct iommu_table *iommu_group_table_get(struct iommu_table_group *table_group,
					  unsigned int num)
{
	struct iommu_table *tbl;

	/* The memory of a table is freed after a grace period. */
	guard(rcu)();
	tbl = READ_ONCE(table_group->tables[num]);
	if (!tbl)
		return NULL;
	spin_lock(&watches_lock);
	/* Either this sees it closed, or iommu_tce_wait_watches() sees this reference. */
	if (READ_ONCE(tbl->it_closed) || !iommu_tce_table_get(tbl))
		tbl = NULL;
	else
		atomic_inc(&tbl->it_watched);
	spin_unlock(&watches_lock);
	return tbl;
}
EXPORT_SYMBOL_GPL(iommu_group_table_get);

/**
 * iommu_tce_watch() - be told when a table is closed
 * @tbl: a table that records owners, with a reference
 * @watch: &iommu_tce_watch.closed is set.  Takes a reference to @tbl of its own,
 *	for iommu_tce_watch_put() after the closing or iommu_tce_unwatch()
 *
 * Context: Process.
 * Return: 0; -ENODEV when the table is closed, or is about to be.
 */
int iommu_tce_watch(struct iommu_table *tbl, struct iommu_tce_watch *watch)
{
	bool closed;

	spin_lock(&watches_lock);
	/* Either this sees that it is closed, or iommu_tce_tell_watches() sees the watch. */
	closed = READ_ONCE(tbl->it_closed);
	if (!closed) {
		iommu_tce_table_get(tbl);
		atomic_inc(&tbl->it_watched);
		hlist_add_head(&watch->node, &tbl->it_watches);
	}
	spin_unlock(&watches_lock);
	return closed ? -ENODEV : 0;
}
EXPORT_SYMBOL_GPL(iommu_tce_watch);

/**
 * iommu_tce_unwatch() - take a watch off its table
 * @watch: the watch
 *
 * Context: Process; not from &iommu_tce_watch.closed.
 * Return: false if the table was closed: &iommu_tce_watch.closed has been called, and has
 * returned.
 */
bool iommu_tce_unwatch(struct iommu_tce_watch *watch)
{
	bool watching;

	spin_lock(&watches_lock);
	watching = !hlist_unhashed(&watch->node);
	if (watching)
		hlist_del_init(&watch->node);
	spin_unlock(&watches_lock);
	return watching;
}
EXPORT_SYMBOL_GPL(iommu_tce_unwatch);

/**
 * iommu_tce_watch_put() - put the reference to a table that a watch had
 * @tbl: the table; the watch is off
 *
 * Context: Process, may sleep.
 */
void iommu_tce_watch_put(struct iommu_table *tbl)
{
	/*
	 * The caller of iommu_tce_wait_watches() shall put the last reference,
	 * which ends the charge: put this one, then wake.  RCU keeps the memory.
	 */
	scoped_guard(rcu) {
		if (refcount_dec_not_one(&tbl->it_kref.refcount)) {
			if (atomic_dec_and_test(&tbl->it_watched))
				wake_up_var(&tbl->it_watched);
			return;
		}
	}
	iommu_tce_table_put(tbl);
}
EXPORT_SYMBOL_GPL(iommu_tce_watch_put);

/**
 * iommu_tce_wait_watches() - wait until watches have put all of their references
 * @tbl: a table that is closed
 *
 * That may take as long as user space likes, so no lock must be held that somebody else waits
 * for.
 *
 * Context: Process, sleeps.
 * Return: 0 or -EINTR after a fatal signal.
 */
int iommu_tce_wait_watches(struct iommu_table *tbl)
{
	return wait_var_event_killable(&tbl->it_watched,
				       !atomic_read(&tbl->it_watched)) ?
		       -EINTR :
		       0;
}
EXPORT_SYMBOL_GPL(iommu_tce_wait_watches);

/**
 * iommu_tce_uncharge_begin() - the container is about to put its last reference to a closed table
 * @tbl: the table
 *
 * Watches may still have references, so from now on whoever meets the limit of locked_vm waits
 * for charges to end, this one too, instead of failing.  Until it has put its reference, the
 * container may wait for watches only.
 *
 * Context: Any, virtual mode; once for a table.
 */
void iommu_tce_uncharge_begin(struct iommu_table *tbl)
{
	if (!tbl->it_payer)
		return;
	tbl->it_uncharging = true;
	mm_iommu_uncharge_begin(tbl->it_payer);
}
EXPORT_SYMBOL_GPL(iommu_tce_uncharge_begin);

/**
 * iommu_tce_tell_watches() - tell the watches of a table that it is closed
 * @tbl: a table that is closed and empty
 *
 * Context: Process, may sleep.
 */
void iommu_tce_tell_watches(struct iommu_table *tbl)
{
	struct iommu_tce_watch *watch;

	/* No new ones come, as the table is closed. */
	do {
		spin_lock(&watches_lock);
		watch = hlist_entry_safe(tbl->it_watches.first,
					 struct iommu_tce_watch, node);
		if (watch) {
			hlist_del_init(&watch->node);
			watch->closed(watch);
		}
		spin_unlock(&watches_lock);
		cond_resched();
	} while (watch);
}

/**
 * iommu_tce_charge_to() - make a table keep its charge to locked_vm
 * @tbl: a table that nobody else knows yet
 * @mm: whose locked_vm has been charged; the table keeps it
 * @pages: how many pages
 *
 * The charge ends when the last reference to the table has gone, which a guest may have for
 * longer than the window lives.
 *
 * Context: Any, virtual mode.
 */
void iommu_tce_charge_to(struct iommu_table *tbl, struct mm_struct *mm,
			 unsigned long pages)
{
	mmgrab(mm);
	tbl->it_payer = mm;
	tbl->it_charged = pages;
}
EXPORT_SYMBOL_GPL(iommu_tce_charge_to);

/**
 * iommu_tce_uncharge() - end the charge of a table, if it has one
 * @tbl: a table whose memory has been freed, or one that nobody is to pay for any longer
 *
 * Context: Process, may sleep; a task of the mm that pays waits for its mmap_lock.
 */
void iommu_tce_uncharge(struct iommu_table *tbl)
{
	if (!tbl->it_payer)
		return;
	if (!tbl->it_uncharging)
		mm_iommu_uncharge_begin(tbl->it_payer);
	mm_iommu_uncharge(tbl->it_payer, tbl->it_charged);
	mmdrop(tbl->it_payer);
	tbl->it_payer = NULL;
}
EXPORT_SYMBOL_GPL(iommu_tce_uncharge);

/**
 * iommu_tce_is_broken() - whether a kill of TCEs of a table has failed
 * @tbl: the table
 *
 * After a failure in real mode, which can neither say so nor clear up, the request is made again.
 * It may find nothing to do then, and must not succeed.
 *
 * Context: Any, virtual mode.
 * Return: whether one has failed.
 */
bool iommu_tce_is_broken(struct iommu_table *tbl)
{
	if (!READ_ONCE(tbl->it_broken))
		return false;
	if (READ_ONCE(tbl->it_untold) && xchg(&tbl->it_untold, false))
		pr_warn("iommu: TCE kill failed in real mode, memory of user space is lost\n");
	return true;
}
EXPORT_SYMBOL_GPL(iommu_tce_is_broken);
