// SPDX-License-Identifier: GPL-2.0
/*
 * Charges to locked_vm, and the wait for charges about to end.
 *
 * A region, a TCE table or a guest's view of one may still be charged when the
 * call that ended it has returned: grace periods and work items come first.
 * User space cannot know that.  So each mm counts these charges, and whoever
 * meets the limit waits and tries again after each that ends.
 *
 * Count a charge only if it ends even while everybody else waits here.
 *
 * Whoever ends a charge needs the mmap_lock, which a process can keep for as
 * long as it likes.  It may hold up itself, but not a work item that others need,
 * too: for another mm the lock is only tried, again and again.
 */

#include <linux/atomic.h>
#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <asm/mmu_context_iommu.h>
#include "mm_iommu_regions.h"

#ifdef CONFIG_LOCKDEP
/* Held while memory is let go. */
struct lockdep_map mm_iommu_uncharging_map =
	STATIC_LOCKDEP_MAP_INIT("mm_iommu_uncharging",
				&mm_iommu_uncharging_map);
#endif

/**
 * mm_iommu_charge() - charge locked_vm, and wait for charges that are about to end
 * @mm: whose locked_vm
 * @pages: how many pages
 *
 * The wait may take as long as user space likes, so the caller must not hold a lock that letting
 * go of memory needs.
 *
 * Context: Process, sleeps; takes the mmap_lock.
 * Return: 0; -ENOMEM when the limit does not allow it; -EINTR after a fatal signal.
 */
int mm_iommu_charge(struct mm_struct *mm, unsigned long pages)
{
	struct mm_iommu_regions *regions = mm_iommu_regions_get(mm);
	bool more;
	long seen;
	int ret;

	if (!regions)
		return -ENOMEM;
	mm_iommu_wait_map(&mm_iommu_uncharging_map);
	for (;;) {
		/* Before the attempt: what ends after this is worth another one. */
		seen = atomic_long_read(&regions->ended);
		more = atomic_long_read(&regions->ending);
		/* What is no longer counted is no longer charged: charges_ended(). */
		smp_rmb();
		ret = account_locked_vm(mm, pages, true);
		if (ret != -ENOMEM || !more)
			return ret;
		if (wait_event_killable(regions->wait,
					atomic_long_read(&regions->ended) !=
						seen))
			return -EINTR;
	}
}
EXPORT_SYMBOL_GPL(mm_iommu_charge);

/**
 * mm_iommu_uncharge_begin() - a charge is about to end
 * @mm: whose locked_vm; mm_iommu_charge() has succeeded for it
 *
 * Context: Any, virtual mode.  Cannot fail; mm_iommu_uncharge() must follow.
 */
void mm_iommu_uncharge_begin(struct mm_struct *mm)
{
	atomic_long_inc(&regions_of(mm)->ending);
}
EXPORT_SYMBOL_GPL(mm_iommu_uncharge_begin);

/* Charges have ended. */
static void charges_ended(struct mm_iommu_regions *regions, unsigned long n)
{
	/* Each of these is a full barrier, so whoever sees them sees the charges ended. */
	atomic_long_sub_return(n, &regions->ending);
	atomic_long_add_return(n, &regions->ended);
	if (wq_has_sleeper(&regions->wait))
		wake_up_all(&regions->wait);
}

/*
 * Uncharge all that is owed.  Return: false if somebody has the mmap_lock.  The caller must then
 * try again later: others only add to what is owed.
 */
static bool uncharge_owed(struct mm_iommu_regions *regions)
{
	struct mm_struct *mm = regions->mm;
	unsigned long pages, n;

	/* There is no mmap_write_trylock(), which would tell readers of VMAs: none changes. */
	if (!down_write_trylock(&mm->mmap_lock))
		return false;
	spin_lock(&regions->owed_lock);
	pages = regions->owed;
	n = regions->owing;
	regions->owed = 0;
	regions->owing = 0;
	spin_unlock(&regions->owed_lock);
	__account_locked_vm(mm, pages, false, current, true);
	up_write(&mm->mmap_lock);
	charges_ended(regions, n);
	/* The last one frees @regions. */
	while (n--)
		mmdrop(mm);
	return true;
}

static void uncharge_again(struct mm_iommu_regions *regions)
{
	schedule_delayed_work(&regions->uncharge, msecs_to_jiffies(20));
}

static void uncharge_work(struct work_struct *work)
{
	struct mm_iommu_regions *regions =
		container_of(to_delayed_work(work), struct mm_iommu_regions,
			     uncharge);

	if (!uncharge_owed(regions))
		uncharge_again(regions);
}

/* Set up what this file has in @regions. */
void mm_iommu_charge_init(struct mm_iommu_regions *regions)
{
	init_waitqueue_head(&regions->wait);
	spin_lock_init(&regions->owed_lock);
	INIT_DELAYED_WORK(&regions->uncharge, uncharge_work);
}

/**
 * mm_iommu_uncharge() - end a charge to locked_vm
 * @mm: whose locked_vm; the caller keeps it
 * @pages: how many pages; mm_iommu_uncharge_begin() has been called for them
 *
 * A task of @mm waits for the mmap_lock.  Others do not: if it is taken, the charge ends later.
 *
 * Context: Process, may sleep.  Cannot fail.
 */
void mm_iommu_uncharge(struct mm_struct *mm, unsigned long pages)
{
	struct mm_iommu_regions *regions = regions_of(mm);
	bool first;

	if (current->mm == mm) {
		account_locked_vm(mm, pages, false);
		charges_ended(regions, 1);
		return;
	}
	mmgrab(mm);
	spin_lock(&regions->owed_lock);
	first = !regions->owing++;
	regions->owed += pages;
	spin_unlock(&regions->owed_lock);
	if (first && !uncharge_owed(regions))
		uncharge_again(regions);
}
EXPORT_SYMBOL_GPL(mm_iommu_uncharge);
