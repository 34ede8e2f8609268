// SPDX-License-Identifier: GPL-2.0-only
/*
 * Windows of a container: made, programmed into groups, taken out, freed.
 *
 * A window is a TCE table in one of the container's slots; each group of the container has
 * it programmed at the same bus address.  The charge to locked_vm lives as long as the table.
 *
 * The default window (32-bit, 4K IOMMU pages) is made when it is first needed, so that a
 * user who removes it at once never pays for it.
 *
 * REMOVE takes a window out of its slot, so that no other call finds it, empties the table
 * without a lock, however full it is, and then takes it out of the groups.
 */

#include <linux/cleanup.h>
#include <linux/mm.h>

#include <asm/iommu_tce.h>
#include "spapr_tce.h"

/* Program the table of slot @num into all groups, or into none. */
static int window_set(struct tce_container *container, unsigned int num,
		      struct iommu_table *tbl)
{
	struct iommu_table_group *table_group;
	struct tce_group *group;
	int ret;

	lockdep_assert_held_write(&container->lock);
	list_for_each_entry(group, &container->groups, next) {
		table_group = group->table_group;
		ret = tce_platform_errno(table_group->ops->set_window(table_group, num, tbl));
		if (ret)
			goto unset;
	}
	return 0;
unset:
	list_for_each_entry_continue_reverse(group, &container->groups, next)
		group->table_group->ops->unset_window(group->table_group, num);
	return ret;
}

/* Take the table of slot @num out of all groups; when one fails, put it back. */
static int window_unset(struct tce_container *container, unsigned int num,
			struct iommu_table *tbl)
{
	struct iommu_table_group *table_group;
	struct tce_group *group;
	int ret;

	lockdep_assert_held_write(&container->lock);
	list_for_each_entry(group, &container->groups, next) {
		table_group = group->table_group;
		ret = tce_platform_errno(table_group->ops->unset_window(table_group, num));
		if (ret)
			goto set;
	}
	return 0;
set:
	list_for_each_entry_continue_reverse(group, &container->groups, next)
		group->table_group->ops->set_window(group->table_group, num, tbl);
	return ret;
}

static bool window_is_taken(const struct tce_window *window)
{
	return window->tbl || window->leaving;
}

static bool window_has_ops(const struct iommu_table_group_ops *ops)
{
	return ops && ops->set_window && ops->unset_window && ops->get_table_size &&
	       ops->create_table;
}

/* IOMMU page sizes that every group of the container can do. */
u64 tce_container_pgsizes(struct tce_container *container)
{
	struct tce_group *group;
	u64 pgsizes = U64_MAX;

	lockdep_assert_held(&container->lock);
	list_for_each_entry(group, &container->groups, next)
		pgsizes &= group->table_group->pgsizes;
	return pgsizes;
}

/**
 * tce_window_create() - make a window in the first free slot
 * @container: has at least one group
 * @create: page shift, size in bytes and levels; start_addr is set
 *
 * Context: Process, may sleep; the container's lock held for writing.
 * Return: 0; -ENOSPC without a free slot; -EINVAL for a shape that the hardware of one group
 * cannot do; -ENOMEM; -EPERM when the platform has no windows to make; -EIO when firmware
 * refuses.  On failure nothing has changed.
 */
int tce_window_create(struct tce_container *container,
		      struct vfio_iommu_spapr_tce_create *create)
{
	struct iommu_table_group *table_group = tce_first_group(container)->table_group;
	unsigned long charged;
	struct iommu_table *tbl;
	unsigned int num;
	long rc;
	int ret;

	lockdep_assert_held_write(&container->lock);
	for (num = 0; num < TCE_WINDOWS && window_is_taken(&container->windows[num]); num++)
		;
	if (num == TCE_WINDOWS)
		return -ENOSPC;
	if (!window_has_ops(table_group->ops))
		return -EPERM;
	if (create->page_shift >= 64 ||
	    !(tce_container_pgsizes(container) & BIT_ULL(create->page_shift)))
		return -EINVAL;

	charged = table_group->ops->get_table_size(create->page_shift, create->window_size,
						   create->levels) >> PAGE_SHIFT;
	if (!charged)
		return -EINVAL;
	ret = account_locked_vm(container->mm, charged, true);
	if (ret)
		return ret;

	rc = table_group->ops->create_table(table_group, num, create->page_shift,
					    create->window_size, create->levels, &tbl);
	ret = tce_platform_errno(rc);
	if (ret)
		goto uncharge;
	ret = window_set(container, num, tbl);
	if (ret)
		goto put;

	/* What the user view names; KVM maps only tables of its own mm. */
	tbl->it_mm = container->v2 ? container->mm : NULL;
	container->windows[num].tbl = tbl;
	container->windows[num].charged = charged;
	create->start_addr = (u64)tbl->it_offset << tbl->it_page_shift;
	return 0;
put:
	iommu_tce_table_put(tbl);
uncharge:
	account_locked_vm(container->mm, charged, false);
	return ret;
}

/**
 * tce_window_create_default() - make the default window if it is due
 * @container: the container
 *
 * Context: Process, may sleep; the container's lock held for writing.
 * Return: as tce_window_create(); -ENXIO without a group.  On failure it is still due.
 */
int tce_window_create_default(struct tce_container *container)
{
	struct vfio_iommu_spapr_tce_create create = {
		.page_shift = IOMMU_PAGE_SHIFT_4K,
		.levels = 1,
	};
	int ret;

	lockdep_assert_held_write(&container->lock);
	if (!container->default_pending)
		return 0;
	if (!tce_first_group(container))
		return -ENXIO;
	create.window_size = tce_first_group(container)->table_group->tce32_size;
	ret = tce_window_create(container, &create);
	if (!ret)
		container->default_pending = false;
	return ret;
}

/* Empty a table for good; nobody can add to it any more, not even KVM. */
static void window_empty(struct tce_container *container, struct iommu_table *tbl)
{
	if (container->v2) {
		iommu_tce_close(tbl, container->mm);
	} else {
		tbl->it_ops->close(tbl);
		tce_v1_clear(tbl, tbl->it_offset, tbl->it_size);
	}
}

/* Take the first steps of tce_window_remove(). */
static int window_hide(struct tce_container *container, u64 start, unsigned int *num,
		       struct iommu_table **tbl)
{
	struct tce_window *window;

	guard(rwsem_write)(&container->lock);
	*tbl = NULL;
	if (container->default_pending && !start) {
		container->default_pending = false;
		return 0;
	}
	window = tce_window_at(container, start);
	if (!window)
		return -EINVAL;
	*num = window - container->windows;
	*tbl = window->tbl;
	window->tbl = NULL;
	window->leaving = true;
	return 0;
}

/* Take an empty window out of the groups, or give it its slot back. */
static int window_leave(struct tce_container *container, unsigned int num,
			struct iommu_table *tbl)
{
	struct tce_window *window = &container->windows[num];
	int ret;

	lockdep_assert_held_write(&container->lock);
	ret = window_unset(container, num, tbl);
	window->leaving = false;
	if (ret) {
		WRITE_ONCE(tbl->it_closed, false);
		window->tbl = tbl;
		return ret;
	}
	iommu_tce_table_put(tbl);
	account_locked_vm(container->mm, window->charged, false);
	window->charged = 0;
	return 0;
}

/**
 * tce_window_remove() - empty a window and free it
 * @container: the container
 * @start: a bus address in the window; 0 while the default window is due means that it
 *	shall never be
 *
 * Context: Process, may sleep; takes groups_lock, and the container's lock, but not while it
 * empties.
 * Return: 0; -EINVAL when there is no such window; -EINTR after a fatal signal; -EIO when
 * firmware refuses: the window is in its place then, and empty.
 */
int tce_window_remove(struct tce_container *container, u64 start)
{
	struct iommu_table *tbl;
	unsigned int num;
	int ret;

	if (down_read_killable(&container->groups_lock))
		return -EINTR;
	ret = window_hide(container, start, &num, &tbl);
	if (!ret && tbl) {
		window_empty(container, tbl);
		scoped_guard(rwsem_write, &container->lock)
			ret = window_leave(container, num, tbl);
	}
	up_read(&container->groups_lock);
	return ret;
}

/**
 * tce_window_undo() - take back a window that nobody knows of
 * @container: the container
 * @window: nothing was mapped there
 *
 * Context: Process, may sleep; the container's lock held for writing since it was made.
 * Return: 0; -EIO when firmware refuses: the window stays.
 */
int tce_window_undo(struct tce_container *container, struct tce_window *window)
{
	struct iommu_table *tbl = window->tbl;

	lockdep_assert_held_write(&container->lock);
	tbl->it_ops->close(tbl);
	window->tbl = NULL;
	return window_leave(container, window - container->windows, tbl);
}

static void windows_unset_below(struct tce_container *container,
				struct iommu_table_group *table_group, unsigned int n)
{
	lockdep_assert_held_write(&container->lock);
	while (n--)
		if (container->windows[n].tbl)
			table_group->ops->unset_window(table_group, n);
}

/* Program all windows into a group that joins, or none. */
int tce_windows_set(struct tce_container *container, struct iommu_table_group *table_group)
{
	struct iommu_table *tbl;
	unsigned int i;
	int ret;

	lockdep_assert_held_write(&container->lock);
	for (i = 0; i < TCE_WINDOWS; i++) {
		tbl = container->windows[i].tbl;
		if (!tbl)
			continue;
		ret = tce_platform_errno(table_group->ops->set_window(table_group, i, tbl));
		if (ret) {
			windows_unset_below(container, table_group, i);
			return ret;
		}
	}
	return 0;
}

/* Take all windows out of a group that leaves; the others keep them.  Cannot fail. */
void tce_windows_unset(struct tce_container *container, struct iommu_table_group *table_group)
{
	windows_unset_below(container, table_group, TCE_WINDOWS);
}

/* Empty all windows while the last group still has them.  Cannot fail. */
void tce_windows_empty(struct tce_container *container)
{
	unsigned int i;

	lockdep_assert_held_write(&container->lock);
	for (i = 0; i < TCE_WINDOWS; i++)
		if (container->windows[i].tbl)
			window_empty(container, container->windows[i].tbl);
}

/* Free all tables; no group is left that has one.  Cannot fail. */
void tce_windows_free(struct tce_container *container)
{
	unsigned int i;

	for (i = 0; i < TCE_WINDOWS; i++) {
		if (!container->windows[i].tbl)
			continue;
		iommu_tce_table_put(container->windows[i].tbl);
		account_locked_vm(container->mm, container->windows[i].charged, false);
	}
}
