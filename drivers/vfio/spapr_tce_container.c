// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO container for sPAPR TCE IOMMUs (powernv, pseries), types v1 and v2: its life and its
 * groups.
 *
 * A container owns up to two windows, each a TCE table that is programmed into
 * every group of the container, and remembers what user space registered
 * through it.  It calls the code for regions (asm/mmu_context_iommu.h), for
 * requests on tables (asm/iommu_tce.h) and for groups (&struct
 * iommu_table_group_ops), and uses their words.
 *
 * v2  user space registers memory first, which is pinned and charged once, and
 *     then maps it; windows come and go by CREATE and REMOVE.
 * v1  ENABLE charges the size of the default window; MAP pins each page.
 *
 * A container belongs to the first mm that sets it up; calls of every other are
 * -EPERM.
 *
 * spapr_tce.h        the state, and which lock guards what
 * spapr_tce_ioctl.c  the calls: arguments and order of checks
 * spapr_tce_map.c, spapr_tce_memory.c, spapr_tce_window.c, spapr_tce_v1.c,
 * spapr_tce_eeh.c    what the calls do
 *
 * An ioctl that fails has changed nothing, unless its comment says otherwise.  Detaching a
 * group and releasing the container cannot fail.
 */

#include <kunit/visibility.h>
#include <linux/cleanup.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "spapr_tce.h"

static void *spapr_tce_iommu_open(unsigned long arg)
{
	struct spapr_tce_container *container;

	if (arg != VFIO_SPAPR_TCE_IOMMU && arg != VFIO_SPAPR_TCE_v2_IOMMU)
		return ERR_PTR(-EINVAL);
	container = kzalloc_obj(*container, GFP_KERNEL_ACCOUNT);
	if (!container)
		return ERR_PTR(-ENOMEM);

	container->v2 = arg == VFIO_SPAPR_TCE_v2_IOMMU;
	mutex_init(&container->windows_lock);
	init_rwsem(&container->lock);
	init_waitqueue_head(&container->pin_wait);
	INIT_LIST_HEAD(&container->groups);
	INIT_LIST_HEAD(&container->detached);
	mutex_init(&container->reg_lock);
	xa_init_flags(&container->regions, XA_FLAGS_ACCOUNT);
	return container;
}

/*
 * All groups are detached.  Put the tables, unpin the memory, drop the mm.
 * A task of that mm may wait for the mmap_lock.  VFIO and the driver core hold no lock here,
 * unless no group was ever attached; then there is no mm and nothing to wait
 * for.
 */
static void spapr_tce_iommu_release(void *iommu_data)
{
	struct spapr_tce_container *container = iommu_data;
	struct spapr_tce_group *group, *tmp;

	if (container->mm)
		spapr_tce_may_wait(container);
	list_for_each_entry_safe(group, tmp, &container->detached, next) {
		spapr_tce_windows_put(group);
		kfree(group);
	}
	spapr_tce_unregister_all(container);
	if (container->charged) {
		mm_iommu_uncharge_begin(container->mm);
		mm_iommu_uncharge(container->mm, container->charged);
	}
	if (container->mm)
		mmdrop(container->mm);
	mutex_destroy(&container->reg_lock);
	mutex_destroy(&container->windows_lock);
	kfree(container);
}

/* Whether two groups can share tables. */
static bool groups_share(const struct iommu_table_group_ops *a,
			 const struct iommu_table_group_ops *b)
{
	return a->create_table == b->create_table && !a->own_tables &&
	       !b->own_tables;
}

/* Whether a group can join: with the groups and the windows that are there. */
static int group_check(struct spapr_tce_container *container,
		       struct iommu_group *iommu_group,
		       struct iommu_table_group *table_group)
{
	struct spapr_tce_group *group;
	unsigned int i;

	lockdep_assert_held_write(&container->lock);
	if (!table_group)
		return -ENODEV;
	/* v2 needs windows that come and go; v1 has one table and shares it with nobody. */
	if (container->v2 && !table_group->max_dynamic_windows_supported)
		return -EINVAL;
	if (!container->v2 && spapr_tce_first_group(container))
		return -EBUSY;

	list_for_each_entry(group, &container->groups, next) {
		if (group->iommu_group == iommu_group)
			return -EBUSY;
		if (!groups_share(group->table_group->ops, table_group->ops))
			return -EPERM;
	}
	for (i = 0; i < TCE_WINDOWS; i++) {
		struct iommu_table *tbl = container->windows[i].programmed;

		if (tbl && !(table_group->pgsizes & IOMMU_PAGE_SIZE(tbl)))
			return -EPERM;
	}
	return 0;
}

static int group_attach(struct spapr_tce_container *container,
			struct iommu_group *iommu_group)
{
	struct iommu_table_group *table_group =
		iommu_group_get_iommudata(iommu_group);
	struct spapr_tce_group *group;
	int ret;

	guard(rwsem_write)(&container->lock);
	ret = group_check(container, iommu_group, table_group);
	if (ret)
		return ret;
	group = kzalloc_obj(*group, GFP_KERNEL_ACCOUNT);
	if (!group)
		return -ENOMEM;
	group->iommu_group = iommu_group;
	group->table_group = table_group;

	ret = spapr_tce_windows_set(container, table_group);
	if (ret) {
		kfree(group);
		return ret;
	}
	if (!spapr_tce_first_group(container))
		container->default_pending = true;
	list_add_tail(&group->next, &container->groups);
	return 0;
}

/*
 * On failure neither the group nor the container has changed.  Attaching may
 * happen under device_lock.  It always holds vfio_unbind_map, so that lockdep
 * checks the rules for that also when no device_lock is held.
 */
static int spapr_tce_iommu_attach_group(void *iommu_data,
					struct iommu_group *iommu_group,
					enum vfio_group_type type)
{
	int ret;

	if (type == VFIO_EMULATED_IOMMU)
		return -EINVAL;
	lock_map_acquire_read(&vfio_unbind_map);
	ret = group_attach(iommu_data, iommu_group);
	lock_map_release(&vfio_unbind_map);
	return ret;
}

static struct spapr_tce_group *group_find(struct spapr_tce_container *container,
					  struct iommu_group *iommu_group)
{
	struct spapr_tce_group *group;

	lockdep_assert_held(&container->lock);
	list_for_each_entry(group, &container->groups, next)
		if (group->iommu_group == iommu_group)
			return group;
	return NULL;
}

/*
 * Groups that stay keep the windows; the last one that leaves takes them along.
 * In that case they are emptied without the lock: calls find neither group nor
 * window any more, and VFIO lets no other group in meanwhile.
 * spapr_tce_iommu_release() puts their tables.
 */
static void group_detach(struct spapr_tce_container *container,
			 struct iommu_group *iommu_group)
{
	struct spapr_tce_group *group;
	bool last;

	scoped_guard(rwsem_write, &container->lock) {
		group = group_find(container, iommu_group);
		if (!group)
			return;
		list_del(&group->next);
		last = list_empty(&container->groups);
		if (last) {
			spapr_tce_windows_take(container, group);
			list_add_tail(&group->next, &container->detached);
		} else {
			spapr_tce_windows_unset(container, group->table_group);
		}
	}
	if (last)
		spapr_tce_windows_end(container, group);
	else
		kfree(group);
}

static void spapr_tce_iommu_detach_group(void *iommu_data,
					 struct iommu_group *iommu_group)
{
	lock_map_acquire_read(&vfio_unbind_map);
	group_detach(iommu_data, iommu_group);
	lock_map_release(&vfio_unbind_map);
}

VISIBLE_IF_KUNIT const struct vfio_iommu_driver_ops spapr_tce_iommu_driver = {
	.owner = THIS_MODULE,
	.name = "iommu-vfio-powerpc",
	.attach_group = spapr_tce_iommu_attach_group,
	.detach_group = spapr_tce_iommu_detach_group,
	.open = spapr_tce_iommu_open,
	.release = spapr_tce_iommu_release,
	.ioctl = spapr_tce_ioctl,
};

static int __init spapr_tce_iommu_init(void)
{
	return vfio_register_iommu_driver(&spapr_tce_iommu_driver);
}
module_init(spapr_tce_iommu_init);

static void __exit spapr_tce_iommu_exit(void)
{
	vfio_unregister_iommu_driver(&spapr_tce_iommu_driver);
}
module_exit(spapr_tce_iommu_exit);

/*
 * Makes /sys/module/vfio_iommu_spapr_tce also if built in: user space may look
 * for it.
 */
MODULE_VERSION("0.1");
MODULE_DESCRIPTION("VFIO IOMMU for sPAPR TCE tables");
MODULE_LICENSE("GPL");
