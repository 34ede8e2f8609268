// SPDX-License-Identifier: GPL-2.0-only
/*
 * Windows of a container: how they are made, programmed into groups, taken out
 * and freed.
 *
 * A window is a TCE table in one of the container's slots; each group of the container has
 * it programmed at the same bus address.  The charge to locked_vm belongs to the table, which
 * lives as long as a slot, a call or a guest has a reference to it.
 *
 * The default window (32-bit, 4K IOMMU pages) is made when it is first needed, so that a
 * user who removes it at once never pays for it.
 *
 * A window is made in two steps, windows_make() and windows_finish().  Between
 * them it is in the groups, but no call finds it, and no guest may map into it.
 * So it can be undone if its address cannot be written to the caller's
 * memory.
 *
 * REMOVE takes a window out of its slot, so that no other call finds it, empties the table
 * without a lock, however full it is, and then takes it out of the groups.  Meanwhile groups
 * may join or leave.
 */

#include <linux/cleanup.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>

#include <asm/iommu_tce.h>
#include "spapr_tce.h"

/**
 * struct new_window - a window in the making
 * @shape: of the table
 * @charged: pages that are charged for it, until the table takes the charge over
 * @num: number of the slot
 * @tbl: the table, with a reference; NULL before there is one
 * @stuck: it was undone, and firmware has kept the table in some group
 */
struct new_window {
	struct iommu_table_shape shape;
	unsigned long charged;
	unsigned int num;
	struct iommu_table *tbl;
	bool stuck;
};

/**
 * struct making - the windows that a call makes, all of them or none
 * @nr: how many
 * @windows: the default window first, if it is due
 */
struct making {
	unsigned int nr;
	struct new_window windows[TCE_WINDOWS];
};

/* Take the window of slot @num out of a group that leaves in any case. */
static void window_unset_anyway(struct spapr_tce_container *container,
				struct iommu_table_group *table_group,
				unsigned int num)
{
	lockdep_assert_held_write(&container->lock);
	if (table_group->ops->unset_window(table_group, num))
		container->windows[num].stuck = true;
}

/*
 * Put a table.  A table that firmware keeps is freed later, under locks that
 * forbid waiting for the mmap_lock, so its charge ends now.
 */
static void window_put(struct iommu_table *tbl, bool stuck)
{
	if (stuck)
		iommu_tce_uncharge(tbl);
	iommu_tce_table_put(tbl);
}

/* Platform code may return a code of the firmware; turn it into an errno. */
static int group_set(struct iommu_table_group *table_group, unsigned int num,
		     struct iommu_table *tbl)
{
	long rc = table_group->ops->set_window(table_group, num, tbl);

	return spapr_tce_platform_errno(rc);
}

static int group_unset(struct iommu_table_group *table_group, unsigned int num)
{
	long rc = table_group->ops->unset_window(table_group, num);

	return spapr_tce_platform_errno(rc);
}

/* Program the table of slot @num into all groups, or into none. */
static int window_set(struct spapr_tce_container *container, unsigned int num,
		      struct iommu_table *tbl)
{
	struct spapr_tce_group *group;
	int ret;

	lockdep_assert_held_write(&container->lock);
	list_for_each_entry(group, &container->groups, next) {
		ret = group_set(group->table_group, num, tbl);
		if (ret)
			goto unset;
	}
	return 0;
unset:
	list_for_each_entry_continue_reverse(group, &container->groups, next)
		window_unset_anyway(container, group->table_group, num);
	return ret;
}

/* Take the table of slot @num out of all groups; when one fails, put it back. */
static int window_unset(struct spapr_tce_container *container, unsigned int num,
			struct iommu_table *tbl)
{
	struct spapr_tce_group *group;
	int ret;

	lockdep_assert_held_write(&container->lock);
	list_for_each_entry(group, &container->groups, next) {
		ret = group_unset(group->table_group, num);
		if (ret)
			goto set;
	}
	return 0;
set:
	/*
	 * Also into the group that failed: if only its kill failed, the window
	 * is out of it, too.
	 */
	list_for_each_entry_from_reverse(group, &container->groups, next)
		group_set(group->table_group, num, tbl);
	return ret;
}

static bool window_has_ops(const struct iommu_table_group_ops *ops)
{
	return ops && ops->set_window && ops->unset_window &&
	       ops->get_table_size && ops->create_table;
}

/* IOMMU page sizes that every group of the container can do. */
u64 spapr_tce_container_pgsizes(struct spapr_tce_container *container)
{
	struct spapr_tce_group *group;
	u64 pgsizes = U64_MAX;

	lockdep_assert_held(&container->lock);
	list_for_each_entry(group, &container->groups, next)
		pgsizes &= group->table_group->pgsizes;
	return pgsizes;
}

/**
 * spapr_tce_get_info() - VFIO_IOMMU_SPAPR_TCE_GET_INFO
 * @container: the container, which has a group
 * @info: filled in, but for argsz
 *
 * Context: Process; the container's lock held.
 */
void spapr_tce_get_info(struct spapr_tce_container *container,
			struct vfio_iommu_spapr_tce_info *info)
{
	struct iommu_table_group *table_group =
		spapr_tce_first_group(container)->table_group;

	lockdep_assert_held(&container->lock);
	info->flags = 0;
	info->dma32_window_start = table_group->tce32_start;
	info->dma32_window_size = table_group->tce32_size;
	memset(&info->ddw, 0, sizeof(info->ddw));
	if (container->v2 && table_group->max_dynamic_windows_supported) {
		info->flags = VFIO_IOMMU_SPAPR_INFO_DDW;
		info->ddw.pgsizes = spapr_tce_container_pgsizes(container);
		info->ddw.max_dynamic_windows_supported =
			table_group->max_dynamic_windows_supported;
		info->ddw.levels = table_group->max_levels;
	}
}

/* The group that makes the table for a window, or why there can be none. */
static struct iommu_table_group *
window_group(struct spapr_tce_container *container,
	     const struct new_window *new)
{
	struct spapr_tce_group *group = spapr_tce_first_group(container);

	if (!group)
		return ERR_PTR(-ENXIO);
	if (!window_has_ops(group->table_group->ops))
		return ERR_PTR(-EPERM);
	if (new->shape.page_shift >= 64 ||
	    !(spapr_tce_container_pgsizes(container) &
	      BIT_ULL(new->shape.page_shift)))
		return ERR_PTR(-EINVAL);
	return group->table_group;
}

/* How many whole pages a window is charged; 0 if its table is smaller. */
static int window_pages(struct spapr_tce_container *container,
			const struct new_window *new, unsigned long *pages)
{
	const struct iommu_table_shape *shape = &new->shape;
	struct iommu_table_group *table_group;
	unsigned long bytes;

	guard(rwsem_read)(&container->lock);
	table_group = window_group(container, new);
	if (IS_ERR(table_group))
		return PTR_ERR(table_group);
	bytes = table_group->ops->get_table_size(shape->page_shift, shape->size,
						 shape->levels);
	if (!bytes)
		return -EINVAL;
	*pages = bytes >> PAGE_SHIFT;
	return 0;
}

static int window_charge(struct spapr_tce_container *container,
			 struct new_window *new)
{
	unsigned long pages;
	int ret;

	ret = window_pages(container, new, &pages);
	if (ret)
		return ret;
	spapr_tce_may_wait(container);
	ret = mm_iommu_charge(container->mm, pages);
	if (!ret)
		new->charged = pages;
	return ret;
}

/*
 * Make the table, which takes over the charge, and program it into the groups.
 * Groups may have joined and left since the charge was computed, so look at
 * them anew.
 */
static int window_program(struct spapr_tce_container *container,
			  struct new_window *new)
{
	struct iommu_table_group *table_group = window_group(container, new);
	struct iommu_table *tbl;
	long rc;
	int ret;

	lockdep_assert_held_write(&container->lock);
	if (IS_ERR(table_group))
		return PTR_ERR(table_group);
	rc = table_group->ops->create_table(table_group, new->num, &new->shape,
					    &tbl);
	ret = spapr_tce_platform_errno(rc);
	if (ret)
		return ret;
	new->tbl = tbl;
	iommu_tce_charge_to(tbl, container->mm, new->charged);
	new->charged = 0;
	container->windows[new->num].stuck = false;
	ret = window_set(container, new->num, tbl);
	if (!ret)
		container->windows[new->num].programmed =
			iommu_tce_table_get(tbl);
	return ret;
}

/* Let calls find the window, and guests map.  Return: false if it is gone. */
static bool window_open(struct spapr_tce_container *container,
			struct new_window *new)
{
	struct spapr_tce_window *window = &container->windows[new->num];

	lockdep_assert_held_write(&container->lock);
	if (window->programmed != new->tbl)
		return false;
	if (container->v2)
		/* Pairs with KVM's table_for(): whoever sees it_mm sees the table's groups. */
		smp_store_release(&new->tbl->it_mm, container->mm);
	window->tbl = new->tbl;
	if (new->num == 0)
		container->default_pending = false;
	return true;
}

/*
 * Undo a window, into which nobody has mapped.  If firmware refuses, the
 * window stays and can be used.
 */
static void window_undo(struct spapr_tce_container *container,
			struct new_window *new)
{
	struct spapr_tce_window *window = &container->windows[new->num];

	lockdep_assert_held_write(&container->lock);
	if (!new->tbl)
		return;
	if (window->programmed == new->tbl) {
		if (window_unset(container, new->num, new->tbl)) {
			window_open(container, new);
			return;
		}
		window->programmed = NULL;
		iommu_tce_table_put(new->tbl);
	}
	new->stuck = window->stuck;
}

/* Plan which windows to make: the default one if due, and that of CREATE. */
static int making_plan(struct spapr_tce_container *container,
		       struct making *making,
		       const struct vfio_iommu_spapr_tce_create *create)
{
	struct new_window *window = making->windows;
	struct spapr_tce_group *group;
	unsigned int num = 0;

	guard(rwsem_read)(&container->lock);
	group = spapr_tce_first_group(container);
	if (!group)
		return -ENXIO;
	if (container->default_pending) {
		*window++ = (struct new_window){
			.shape.kind = container->v2 ? IOMMU_TABLE_OWNED :
						      IOMMU_TABLE_BARE,
			.shape.page_shift = IOMMU_PAGE_SHIFT_4K,
			.shape.levels = 1,
			.shape.size = group->table_group->tce32_size,
			.num = num++,
		};
	}
	if (create) {
		while (num < TCE_WINDOWS && container->windows[num].programmed)
			num++;
		if (num == TCE_WINDOWS)
			return -ENOSPC;
		*window++ = (struct new_window){
			.shape.kind = IOMMU_TABLE_OWNED,
			.shape.page_shift = create->page_shift,
			.shape.levels = create->levels,
			.shape.size = create->window_size,
			.num = num,
		};
	}
	making->nr = window - making->windows;
	return 0;
}

static int making_charge(struct spapr_tce_container *container,
			 struct making *making)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < making->nr && !ret; i++)
		ret = window_charge(container, &making->windows[i]);
	return ret;
}

static int making_program(struct spapr_tce_container *container,
			  struct making *making)
{
	unsigned int i;
	int ret = 0;

	guard(rwsem_write)(&container->lock);
	for (i = 0; i < making->nr && !ret; i++)
		ret = window_program(container, &making->windows[i]);
	return ret;
}

/*
 * windows_make() - make the windows that a call needs, but do not open them yet
 * @container: the container
 * @making: filled in; windows_finish() must be called with it in any case
 * @create: what CREATE asks for; start_addr is filled in; NULL for the default
 *	window alone
 *
 * Context: Process, may sleep; windows_lock held, from before this to after
 * windows_finish().
 * Return: 0, also when there is nothing to make; -ENXIO without a group; -ENOSPC without a
 * free slot; -EINVAL for a shape that the hardware of one group cannot do; -ENOMEM; -EPERM when
 * the platform has no windows to make; -EIO when firmware refuses; -EBUSY where firmware has kept
 * an earlier table in the slot; -ENODEV (pseries) when the group has no device any more; -EINTR
 * after a fatal signal.
 */
static int windows_make(struct spapr_tce_container *container,
			struct making *making,
			struct vfio_iommu_spapr_tce_create *create)
{
	struct iommu_table *tbl;
	int ret;

	lockdep_assert_held(&container->windows_lock);
	making->nr = 0;
	ret = making_plan(container, making, create);
	if (!ret)
		ret = making_charge(container, making);
	if (!ret)
		ret = making_program(container, making);
	if (!ret && create) {
		tbl = making->windows[making->nr - 1].tbl;
		create->start_addr = (u64)tbl->it_offset << tbl->it_page_shift;
	}
	return ret;
}

/*
 * windows_finish() - open new windows, or undo them
 * @container: the container
 * @making: from windows_make()
 * @ret: 0 to open them; an errno, to be returned, to undo them
 *
 * Context: Process, may sleep; windows_lock held.
 * Return: @ret; -ENXIO when the last group left meanwhile and took the windows along.  On
 * failure nothing has changed, unless firmware does not give a window back: it stays then.
 */
static int windows_finish(struct spapr_tce_container *container,
			  struct making *making, int ret)
{
	unsigned int i;

	lockdep_assert_held(&container->windows_lock);
	scoped_guard(rwsem_write, &container->lock) {
		for (i = 0; i < making->nr && !ret; i++)
			if (!window_open(container, &making->windows[i]))
				ret = -ENXIO;
		for (i = making->nr; ret && i--;)
			window_undo(container, &making->windows[i]);
	}
	spapr_tce_may_wait(container);
	for (i = 0; i < making->nr; i++) {
		if (making->windows[i].tbl)
			window_put(making->windows[i].tbl,
				   making->windows[i].stuck);
		account_locked_vm(container->mm, making->windows[i].charged,
				  false);
	}
	return ret;
}

/**
 * spapr_tce_window_make_default() - make the default window if it is due
 * @container: the container
 *
 * Context: Process, may sleep; takes windows_lock and the container's lock.
 * Return: as windows_make(); -EINTR after a fatal signal.  On failure it is still due.
 */
int spapr_tce_window_make_default(struct spapr_tce_container *container)
{
	struct making making;
	int ret;

	if (mutex_lock_killable(&container->windows_lock))
		return -EINTR;
	ret = windows_make(container, &making, NULL);
	ret = windows_finish(container, &making, ret);
	mutex_unlock(&container->windows_lock);
	return ret;
}

/**
 * spapr_tce_window_create() - VFIO_IOMMU_SPAPR_TCE_CREATE
 * @container: the container
 * @create: what to make; start_addr is filled in
 * @uarg: where @create is copied to, before anybody can use the window
 *
 * Context: Process, may sleep; takes windows_lock and the container's lock.
 * Return: 0; -EFAULT when @uarg cannot be written; -EINTR after a fatal signal; and what
 * windows_make() and windows_finish() return.  On failure nothing has changed, unless firmware
 * does not give a window back.
 */
int spapr_tce_window_create(struct spapr_tce_container *container,
			    struct vfio_iommu_spapr_tce_create *create,
			    void __user *uarg)
{
	struct making making;
	int ret;

	if (mutex_lock_killable(&container->windows_lock))
		return -EINTR;
	ret = windows_make(container, &making, create);
	spapr_tce_may_wait(container);
	if (!ret && copy_to_user(uarg, create, sizeof(*create)))
		ret = -EFAULT;
	ret = windows_finish(container, &making, ret);
	mutex_unlock(&container->windows_lock);
	return ret;
}

/* Empty a table and refuse new TCEs, also those of KVM. */
static void window_empty(struct spapr_tce_container *container,
			 struct iommu_table *tbl)
{
	unsigned long cleared;

	if (container->v2) {
		iommu_tce_close(tbl, container->mm);
	} else {
		tbl->it_ops->close(tbl);
		spapr_tce_v1_clear(tbl, tbl->it_offset, tbl->it_size, &cleared);
	}
}

/* Take the first steps of spapr_tce_window_remove(); the table comes with a reference. */
static int window_hide(struct spapr_tce_container *container, u64 start,
		       unsigned int *num, struct iommu_table **tbl)
{
	struct spapr_tce_window *window;

	lockdep_assert_held(&container->windows_lock);
	guard(rwsem_write)(&container->lock);
	*tbl = NULL;
	if (!spapr_tce_first_group(container))
		return -ENXIO;
	if (container->default_pending && !start) {
		container->default_pending = false;
		return 0;
	}
	window = spapr_tce_window_at(container, start);
	if (!window)
		return -EINVAL;
	*num = window - container->windows;
	*tbl = iommu_tce_table_get(window->tbl);
	window->tbl = NULL;
	return 0;
}

/*
 * Take an empty window out of the groups, and put the reference of its slot.  If firmware refuses,
 * let calls find it again.  The caller keeps its own reference to the table.
 * Return: 0 or an errno; 1 when the last group has taken the table along.
 */
static int window_take_out(struct spapr_tce_container *container,
			   unsigned int num, struct iommu_table *tbl,
			   bool *stuck)
{
	struct spapr_tce_window *window = &container->windows[num];
	int ret;

	guard(rwsem_write)(&container->lock);
	if (window->programmed != tbl)
		return 1;
	ret = window_unset(container, num, tbl);
	if (ret) {
		tbl->it_ops->open(tbl);
		window->tbl = tbl;
		return ret;
	}
	*stuck = window->stuck;
	window->programmed = NULL;
	iommu_tce_table_put(tbl);
	return 0;
}

/**
 * spapr_tce_window_remove() - empty a window and free it
 * @container: the container
 * @start: a bus address in the window; 0 while the default window is due means that it
 *	shall never be made
 *
 * Context: Process, may sleep; takes windows_lock and the container's lock, but neither while
 * it empties.
 * Return: 0; -ENXIO without a group; -EINVAL when there is no such window; -EINTR after a fatal
 * signal; -EIO when firmware refuses, -ENODEV (pseries) without a device: the window stays, and is
 * empty but for what a hypercall that was under way may still put there.
 */
int spapr_tce_window_remove(struct spapr_tce_container *container, u64 start)
{
	struct iommu_table *tbl;
	bool stuck = false;
	unsigned int num;
	int ret;

	if (mutex_lock_killable(&container->windows_lock))
		return -EINTR;
	ret = window_hide(container, start, &num, &tbl);
	mutex_unlock(&container->windows_lock);
	if (ret || !tbl)
		return ret;
	spapr_tce_may_wait(container);
	window_empty(container, tbl);
	ret = window_take_out(container, num, tbl, &stuck);
	/* So that the charge is gone when this returns, also if a guest had the table. */
	if (!ret) {
		iommu_tce_uncharge_begin(tbl);
		iommu_tce_wait_watches(tbl);
	}
	window_put(tbl, stuck);
	return min(ret, 0);
}

/* Program all windows into a group that joins, or none. */
int spapr_tce_windows_set(struct spapr_tce_container *container,
			  struct iommu_table_group *table_group)
{
	struct iommu_table *tbl;
	unsigned int i;
	int ret;

	lockdep_assert_held_write(&container->lock);
	for (i = 0; i < TCE_WINDOWS; i++) {
		tbl = container->windows[i].programmed;
		if (!tbl)
			continue;
		ret = group_set(table_group, i, tbl);
		if (ret)
			goto unset;
	}
	return 0;
unset:
	while (i--)
		if (container->windows[i].programmed)
			window_unset_anyway(container, table_group, i);
	return ret;
}

/* Take all windows out of a group that leaves; the others keep them.  Cannot fail. */
void spapr_tce_windows_unset(struct spapr_tce_container *container,
			     struct iommu_table_group *table_group)
{
	unsigned int i;

	lockdep_assert_held_write(&container->lock);
	for (i = 0; i < TCE_WINDOWS; i++)
		if (container->windows[i].programmed)
			window_unset_anyway(container, table_group, i);
}

/* The last group leaves: move the tables to it, for spapr_tce_windows_end(). */
void spapr_tce_windows_take(struct spapr_tce_container *container,
			    struct spapr_tce_group *group)
{
	unsigned int i;

	lockdep_assert_held_write(&container->lock);
	for (i = 0; i < TCE_WINDOWS; i++) {
		group->tables[i] = container->windows[i].programmed;
		group->stuck[i] = container->windows[i].stuck;
		container->windows[i].programmed = NULL;
		container->windows[i].tbl = NULL;
	}
	container->default_pending = false;
}

/*
 * Empty the tables that the last group took along, then take them out of its
 * hardware.  Nobody else works on this group.  Cannot fail.
 * Context: Process, may sleep; no lock of the container held, but locks of the
 * detaching code.
 */
void spapr_tce_windows_end(struct spapr_tce_container *container,
			   struct spapr_tce_group *group)
{
	struct iommu_table_group *table_group = group->table_group;
	unsigned int i;

	for (i = 0; i < TCE_WINDOWS; i++) {
		if (!group->tables[i])
			continue;
		window_empty(container, group->tables[i]);
		if (table_group->ops->unset_window(table_group, i))
			group->stuck[i] = true;
	}
}

/*
 * Put the tables that spapr_tce_windows_take() gave a group.
 * Context: Process, may sleep, also for the mmap_lock of the mm that pays.
 */
void spapr_tce_windows_put(struct spapr_tce_group *group)
{
	unsigned int i;

	for (i = 0; i < TCE_WINDOWS; i++) {
		if (!group->tables[i])
			continue;
		if (!group->stuck[i])
			iommu_tce_uncharge_begin(group->tables[i]);
		window_put(group->tables[i], group->stuck[i]);
	}
}
