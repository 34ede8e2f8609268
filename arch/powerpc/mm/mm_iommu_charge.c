// SPDX-License-Identifier: GPL-2.0
/*
 * Charges to locked_vm, and the wait for such as are about to end.
 *
 * A region, a TCE table or a guest's view of one may still be charged when the
 * call that ended it has returned: grace periods and work items come first.
 * User space cannot know that.  So each mm counts these charges, and whoever
 * meets the limit waits and tries again after each that ends.
 *
 * A charge may be counted only if nothing that waits here has to go on before it
 * ends.
 */

#include <linux/atomic.h>
#include <linux/export.h>
#include <linux/mm.h>
#include <linux/wait.h>
#include <asm/mmu_context_iommu.h>
#include "mm_iommu_regions.h"

#ifdef CONFIG_LOCKDEP
/* Held while memory is let go. */
struct lockdep_map mm_iommu_leaving_map =
	STATIC_LOCKDEP_MAP_INIT("mm_iommu_leaving", &mm_iommu_leaving_map);
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
	mm_iommu_wait_map(&mm_iommu_leaving_map);
	for (;;) {
		/* Before the attempt: what ends after this is worth another one. */
		seen = atomic_long_read(&regions->left);
		more = atomic_long_read(&regions->leaving);
		/* What is no longer counted is no longer charged: mm_iommu_left(). */
		smp_rmb();
		ret = account_locked_vm(mm, pages, true);
		if (ret != -ENOMEM || !more)
			return ret;
		if (wait_event_killable(regions->wait,
					atomic_long_read(&regions->left) != seen))
			return -EINTR;
	}
}
EXPORT_SYMBOL_GPL(mm_iommu_charge);

/**
 * mm_iommu_leave() - a charge is about to end
 * @mm: whose locked_vm; mm_iommu_charge() has succeeded for it
 *
 * Context: Any, virtual mode.  Cannot fail; mm_iommu_left() must follow.
 */
void mm_iommu_leave(struct mm_struct *mm)
{
	atomic_long_inc(&regions_of(mm)->leaving);
}
EXPORT_SYMBOL_GPL(mm_iommu_leave);

/**
 * mm_iommu_left() - a charge has ended for which mm_iommu_leave() was called
 * @mm: whose locked_vm; the caller keeps it
 *
 * Context: Any, virtual mode.
 */
void mm_iommu_left(struct mm_struct *mm)
{
	struct mm_iommu_regions *regions = regions_of(mm);

	/* Each of these is a full barrier, so whoever sees them sees the charge ended. */
	atomic_long_dec_return(&regions->leaving);
	atomic_long_inc_return(&regions->left);
	if (wq_has_sleeper(&regions->wait))
		wake_up_all(&regions->wait);
}
EXPORT_SYMBOL_GPL(mm_iommu_left);
