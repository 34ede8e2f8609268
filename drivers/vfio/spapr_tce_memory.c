// SPDX-License-Identifier: GPL-2.0-only
/*
 * REGISTER and UNREGISTER: which regions user space has registered through a
 * container.
 *
 * Regions are pinned and charged by the code behind asm/mmu_context_iommu.h.
 * Here is only the list of those that one container has registered.  Pinning
 * and unpinning may take minutes and happen without a lock; a slot in @regions
 * is reserved while a region is being pinned.
 */

#include <linux/cleanup.h>
#include <linux/mm.h>
#include <linux/sched.h>

#include <asm/mmu_context_iommu.h>
#include "spapr_tce.h"

/*
 * Reserve the slot of a region, so that nothing fails once the memory is registered.
 * Another thread may be registering the same memory; it has the slot then.
 */
static int region_reserve(struct spapr_tce_container *container, u64 ua,
			  u64 size)
{
	unsigned long index = ua >> PAGE_SHIFT;
	struct mm_iommu_region *region;

	guard(mutex)(&container->reg_lock);
	region = xa_load(&container->regions, index);
	if (region)
		return mm_iommu_region_size(region) == size ? -EBUSY : -EINVAL;
	return xa_insert(&container->regions, index, NULL, GFP_KERNEL_ACCOUNT);
}

/*
 * Undo a registration.  If it was the last one of the region the caller
 * unpins it.
 * Return: as mm_iommu_unregister_start(); -ENOENT when the container has no
 * such region.
 */
static int region_remove(struct spapr_tce_container *container, u64 ua,
			 u64 size, struct mm_iommu_region **region)
{
	unsigned long index = ua >> PAGE_SHIFT;
	int ret;

	guard(mutex)(&container->reg_lock);
	*region = xa_load(&container->regions, index);
	if (!*region || mm_iommu_region_size(*region) != size)
		return -ENOENT;
	ret = mm_iommu_unregister_start(container->mm, *region);
	if (ret >= 0)
		xa_erase(&container->regions, index);
	return ret;
}

/**
 * spapr_tce_register() - pin and charge memory, so that it can be mapped
 * @container: the container, whose mm is the caller's
 * @ua: where the memory starts, a multiple of the page size
 * @size: in bytes, a multiple of the page size, too
 *
 * Context: Process, may sleep for as long as pinning takes; takes locks for moments.
 * Return: 0; -EINVAL for bad bounds and for memory that overlaps another
 * region; -EBUSY when the container has registered it already, or is just doing
 * so, and when TCEs that another container left behind still point to other
 * memory, which was at this address before; -ENOMEM for memory or
 * RLIMIT_MEMLOCK; -EFAULT for pages that cannot be pinned; -EINTR.  On failure
 * nothing has changed.
 */
int spapr_tce_register(struct spapr_tce_container *container, u64 ua, u64 size)
{
	unsigned long index = ua >> PAGE_SHIFT;
	struct mm_iommu_region *region;
	int ret;

	if (!PAGE_ALIGNED(ua | size) || !size)
		return -EINVAL;
	ret = region_reserve(container, ua, size);
	if (ret)
		return ret;
	spapr_tce_may_wait(container);
	ret = mm_iommu_register(container->mm, ua, size, &region);
	if (ret) {
		xa_release(&container->regions, index);
		return ret;
	}
	/* Only the first REGISTER waits for calls that hold the lock. */
	if (!READ_ONCE(container->enabled)) {
		scoped_guard(rwsem_write, &container->lock)
			WRITE_ONCE(container->enabled, true);
	}
	/* The slot is there, so this allocates nothing. */
	xa_store(&container->regions, index, region, GFP_KERNEL_ACCOUNT);
	return 0;
}

/**
 * spapr_tce_unregister() - undo a registration; the last one unpins
 * the memory
 * @container: the container
 * @ua: where the region starts
 * @size: its size
 *
 * Context: Process, may sleep for as long as unpinning takes; takes locks for moments.
 * Return: 0; -EINVAL for bad bounds; -ENOENT when the container has no such region; -EBUSY
 * while a TCE points into it.  On failure nothing has changed.
 */
int spapr_tce_unregister(struct spapr_tce_container *container, u64 ua,
			 u64 size)
{
	struct mm_iommu_region *region;
	int ret;

	if (!PAGE_ALIGNED(ua | size))
		return -EINVAL;
	ret = region_remove(container, ua, size, &region);
	if (ret <= 0)
		return ret;
	spapr_tce_may_wait(container);
	mm_iommu_unregister_finish(region);
	return 0;
}

/* Undo all registrations, because the container ends.  Cannot fail. */
void spapr_tce_unregister_all(struct spapr_tce_container *container)
{
	struct mm_iommu_region *region;
	unsigned long index;

	xa_for_each(&container->regions, index, region) {
		if (!mm_iommu_abandon_start(container->mm, region))
			xa_erase(&container->regions, index);
		cond_resched();
	}
	/* What is left are those to which TCEs of other containers point. */
	if (!xa_empty(&container->regions))
		mm_iommu_abandon_grace();
	xa_for_each(&container->regions, index, region) {
		mm_iommu_abandon_finish(container->mm, region);
		cond_resched();
	}
	xa_destroy(&container->regions);
}
