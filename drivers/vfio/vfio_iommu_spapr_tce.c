// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO container for sPAPR TCE IOMMUs (powernv, pseries), types v1 and v2.
 *
 * A container owns up to two windows, each a TCE table that is programmed into
 * every group of the container, and remembers what user space registered through
 * it.  Words are those of the rooms it calls: regions, asm/mmu_context_iommu.h;
 * requests on tables, asm/iommu_tce.h; groups, &struct iommu_table_group_ops.
 *
 * v2  user space registers memory first (pinned and charged once, by the region
 *     room) and then maps it; windows come and go by CREATE and REMOVE.
 * v1  ENABLE charges the size of the default window; MAP pins each page.
 *
 * The default window (32-bit, 4K IOMMU pages) is made when it is first needed, so
 * that a user who removes it at once never pays for it.
 *
 * A container belongs to the first mm that sets it up; every other gets -EPERM.
 *
 * Locks, outermost first: the group lock of VFIO's container (held for reading
 * over every ioctl, for writing over attach, detach and release), reg_lock,
 * lock, then those of the rooms.  Pinning and unpinning happen outside lock and
 * reg_lock, so that they delay neither a map or an unmap nor the registration of
 * other memory.
 *
 * An ioctl that fails has changed nothing, unless its comment says otherwise.
 * Detaching a group and releasing the container cannot fail.
 */

#include <linux/cleanup.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rwsem.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include <linux/xarray.h>
#include "vfio.h"

#include <asm/eeh.h>
#include <asm/iommu.h>
#include <asm/iommu_tce.h>
#include <asm/mmu_context_iommu.h>
#include <asm/tce.h>

#define NR_WINDOWS	IOMMU_TABLE_GROUP_MAX_TABLES

/**
 * struct tce_group - a group attached to a container
 * @next: in &tce_container.groups
 * @iommu_group: the group, as VFIO knows it
 * @table_group: the same group, as the platform knows it
 */
struct tce_group {
	struct list_head next;
	struct iommu_group *iommu_group;
	struct iommu_table_group *table_group;
};

/**
 * struct tce_window - a slot for a window
 * @tbl: the table, programmed into every group; NULL when the slot is free
 * @charged: pages charged to locked_vm for the table
 */
struct tce_window {
	struct iommu_table *tbl;
	unsigned long charged;
};

/**
 * struct tce_container - the IOMMU side of a VFIO container
 * @v2: which of the two types this is; constant
 * @lock: read to map, unmap and look, written to change what it guards
 * @enabled: MAP is allowed: v1 was enabled, or v2 has registered something; @lock
 * @default_pending: the default window is due before the next window; @lock
 * @mm: whose memory is used, referenced, set once; @lock
 * @charged: pages that v1's ENABLE charged; @lock
 * @windows: slot 0 starts at the bus address 0; @lock
 * @groups: attached groups; @lock
 * @reg_lock: taken to decide about a change of @regions, not to pin or unpin
 * @regions: registered regions by first page number; a slot is reserved while its
 *	region is being pinned; @reg_lock
 */
struct tce_container {
	bool v2;
	struct rw_semaphore lock;
	bool enabled;
	bool default_pending;
	struct mm_struct *mm;
	unsigned long charged;
	struct tce_window windows[NR_WINDOWS];
	struct list_head groups;
	struct mutex reg_lock;	/* for regions */
	struct xarray regions;
};

static struct tce_group *first_group(struct tce_container *container)
{
	lockdep_assert_held(&container->lock);
	return list_first_entry_or_null(&container->groups, struct tce_group, next);
}

/* Platform code returns firmware codes and -1 now and then; users get an errno. */
static int platform_errno(long ret)
{
	return ret <= 0 && ret >= -MAX_ERRNO ? ret : -EIO;
}

/* Take the caller's mm, or check that it is the one the container has. */
static int container_claim_mm(struct tce_container *container)
{
	lockdep_assert_held_write(&container->lock);
	if (!container->mm) {
		mmgrab(current->mm);
		container->mm = current->mm;
	}
	return container->mm == current->mm ? 0 : -EPERM;
}

/* ---- windows ---- */

static struct tce_window *window_at(struct tce_container *container, u64 iova)
{
	unsigned int i;

	lockdep_assert_held(&container->lock);
	for (i = 0; i < NR_WINDOWS; i++) {
		struct iommu_table *tbl = container->windows[i].tbl;

		if (tbl && (iova >> tbl->it_page_shift) - tbl->it_offset < tbl->it_size)
			return &container->windows[i];
	}
	return NULL;
}

/* Program the table of slot @num into all groups, or into none. */
static int window_set(struct tce_container *container, unsigned int num,
		      struct iommu_table *tbl)
{
	struct tce_group *group;
	int ret;

	lockdep_assert_held_write(&container->lock);
	list_for_each_entry(group, &container->groups, next) {
		ret = platform_errno(group->table_group->ops->set_window(group->table_group,
									 num, tbl));
		if (ret)
			goto undo;
	}
	return 0;
undo:
	list_for_each_entry_continue_reverse(group, &container->groups, next)
		group->table_group->ops->unset_window(group->table_group, num);
	return ret;
}

/* Take the table of slot @num out of all groups; when one fails, put it back. */
static int window_unset(struct tce_container *container, unsigned int num)
{
	struct iommu_table *tbl = container->windows[num].tbl;
	struct tce_group *group;
	int ret;

	lockdep_assert_held_write(&container->lock);
	list_for_each_entry(group, &container->groups, next) {
		ret = platform_errno(group->table_group->ops->unset_window(group->table_group,
									   num));
		if (ret)
			goto undo;
	}
	return 0;
undo:
	list_for_each_entry_continue_reverse(group, &container->groups, next)
		group->table_group->ops->set_window(group->table_group, num, tbl);
	return ret;
}

static bool window_has_ops(const struct iommu_table_group_ops *ops)
{
	return ops && ops->set_window && ops->unset_window && ops->get_table_size &&
	       ops->create_table;
}

/* IOMMU page sizes that every group of the container can do. */
static u64 container_pgsizes(struct tce_container *container)
{
	struct tce_group *group;
	u64 pgsizes = U64_MAX;

	lockdep_assert_held(&container->lock);
	list_for_each_entry(group, &container->groups, next)
		pgsizes &= group->table_group->pgsizes;
	return pgsizes;
}

static int window_create(struct tce_container *container,
			 struct vfio_iommu_spapr_tce_create *create)
{
	struct iommu_table_group *table_group = first_group(container)->table_group;
	unsigned long charged;
	struct iommu_table *tbl;
	unsigned int num;
	int ret;

	lockdep_assert_held_write(&container->lock);
	for (num = 0; num < NR_WINDOWS && container->windows[num].tbl; num++)
		;
	if (num == NR_WINDOWS)
		return -ENOSPC;
	if (!window_has_ops(table_group->ops))
		return -EPERM;
	if (create->page_shift >= 64 ||
	    !(container_pgsizes(container) & BIT_ULL(create->page_shift)))
		return -EINVAL;

	charged = table_group->ops->get_table_size(create->page_shift, create->window_size,
						   create->levels) >> PAGE_SHIFT;
	if (!charged)
		return -EINVAL;
	ret = account_locked_vm(container->mm, charged, true);
	if (ret)
		return ret;

	ret = platform_errno(table_group->ops->create_table(table_group, num, create->page_shift,
							    create->window_size, create->levels,
							    &tbl));
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

/* Make the default window if it is due. */
static int window_create_default(struct tce_container *container)
{
	struct vfio_iommu_spapr_tce_create create = {
		.page_shift = IOMMU_PAGE_SHIFT_4K,
		.levels = 1,
	};
	int ret;

	lockdep_assert_held_write(&container->lock);
	if (!container->default_pending)
		return 0;
	if (!first_group(container))
		return -ENXIO;
	create.window_size = first_group(container)->table_group->tce32_size;
	ret = window_create(container, &create);
	if (!ret)
		container->default_pending = false;
	return ret;
}

/* ---- v1: pages pinned one by one, for one TCE each, in a table of one level ---- */

static void v1_unpin(unsigned long tce)
{
	struct page *page = pfn_to_page(PHYS_PFN(tce));

	unpin_user_pages_dirty_lock(&page, 1, tce & TCE_PCI_WRITE);
}

/* Kill what the last exchange changed, then let go of the pages it replaced. */
static void v1_retire(struct iommu_table *tbl, const struct iommu_tce_change *change,
		      unsigned long first)
{
	unsigned long i, n;

	mb(); /* the PHB must see the new TCEs when it reads them again */
	iommu_tce_kill(tbl, first, change->entry - first);
	iommu_flush_tce(tbl);
	for (i = 0; i < change->nr_runs; i++)
		for (n = 0; n < change->runs[i].n; n++)
			v1_unpin(change->runs[i].owner + (n << tbl->it_page_shift));
}

static void v1_clear(struct iommu_table *tbl, unsigned long entry, unsigned long npages)
{
	struct iommu_tce_change change = {
		.entry = entry, .left = npages, .no_view = true,
	};
	unsigned long first;

	while (change.left) {
		first = change.entry;
		if (tbl->it_ops->exchange(tbl, &change))
			return;
		if (change.nr_runs)
			v1_retire(tbl, &change, first);
		cond_resched();
	}
}

/* Pin a page for each TCE; all of them or none. */
static int v1_pin(struct iommu_table *tbl, const struct iommu_tce_request *req, u64 *hpas)
{
	unsigned int gup = FOLL_LONGTERM | (req->perm & TCE_PCI_WRITE ? FOLL_WRITE : 0);
	unsigned long i, ua = req->ua;
	struct page *page;
	int ret = 0;

	for (i = 0; i < req->npages; i++, ua += IOMMU_PAGE_SIZE(tbl)) {
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		if (pin_user_pages_fast(ua & PAGE_MASK, 1, gup, &page) != 1) {
			ret = -EFAULT;
			break;
		}
		hpas[i] = PFN_PHYS(page_to_pfn(page)) + offset_in_page(ua);
		cond_resched();
	}
	while (ret && i--)
		unpin_user_page(pfn_to_page(PHYS_PFN(hpas[i])));
	return ret;
}

static int v1_map(struct iommu_table *tbl, const struct iommu_tce_request *req)
{
	struct iommu_tce_change change = {
		.entry = req->entry, .no_view = true, .hpa_shift = tbl->it_page_shift,
	};
	unsigned long end = req->entry + req->npages, first;
	u64 *hpas;
	int ret;

	hpas = kvmalloc_array(req->npages, sizeof(*hpas), GFP_KERNEL_ACCOUNT);
	if (!hpas)
		return -ENOMEM;
	ret = v1_pin(tbl, req, hpas);
	if (ret)
		goto free;

	while (!ret && change.entry < end) {
		first = change.entry;
		change.left = end - first;
		change.hpas = hpas + (first - req->entry);
		change.perm = req->perm;
		ret = tbl->it_ops->exchange(tbl, &change);
		v1_retire(tbl, &change, first);
		cond_resched();
	}
	for (; change.entry < end; change.entry++)
		unpin_user_page(pfn_to_page(PHYS_PFN(hpas[change.entry - req->entry])));
free:
	kvfree(hpas);
	return ret;
}

/* ---- emptying and freeing ---- */

static void window_empty(struct tce_container *container, struct iommu_table *tbl)
{
	if (container->v2) {
		iommu_tce_close(tbl, container->mm);
	} else {
		tbl->it_ops->close(tbl);
		v1_clear(tbl, tbl->it_offset, tbl->it_size);
	}
}

static void window_free(struct tce_container *container, struct tce_window *window)
{
	iommu_tce_table_put(window->tbl);
	account_locked_vm(container->mm, window->charged, false);
	window->tbl = NULL;
	window->charged = 0;
}

/* When the platform refuses, the window stays in all groups, empty. */
static int window_remove(struct tce_container *container, struct tce_window *window)
{
	int ret;

	lockdep_assert_held_write(&container->lock);
	window_empty(container, window->tbl);
	ret = window_unset(container, window - container->windows);
	if (ret) {
		WRITE_ONCE(window->tbl->it_closed, false);
		return ret;
	}
	window_free(container, window);
	return 0;
}

/* ---- ioctls: arguments are copied in, argsz is checked, locks are held ---- */

union tce_arg {
	struct {
		__u32 argsz;
		__u32 flags;
	};
	struct vfio_iommu_spapr_tce_info info;
	struct vfio_iommu_type1_dma_map map;
	struct vfio_iommu_type1_dma_unmap unmap;
	struct vfio_iommu_spapr_register_memory reg;
	struct vfio_iommu_spapr_tce_create create;
	struct vfio_iommu_spapr_tce_remove remove;
	struct vfio_eeh_pe_op eeh;
};

static long ioctl_get_info(struct tce_container *container, union tce_arg *arg)
{
	struct iommu_table_group *table_group = first_group(container)->table_group;
	struct vfio_iommu_spapr_tce_info *info = &arg->info;

	info->flags = 0;
	info->dma32_window_start = table_group->tce32_start;
	info->dma32_window_size = table_group->tce32_size;
	memset(&info->ddw, 0, sizeof(info->ddw));
	if (container->v2 && table_group->max_dynamic_windows_supported) {
		info->flags = VFIO_IOMMU_SPAPR_INFO_DDW;
		info->ddw.pgsizes = container_pgsizes(container);
		info->ddw.max_dynamic_windows_supported =
			table_group->max_dynamic_windows_supported;
		info->ddw.levels = table_group->max_levels;
	}
	return 0;
}

/*
 * The only place that decides whether a range of bus addresses can be changed.
 * Return: the table, and which of its entries in @req; or an error pointer.
 */
static __always_inline struct iommu_table *request_range(struct tce_container *container,
							 u64 iova, u64 size,
							 struct iommu_tce_request *req)
{
	const struct tce_window *window = window_at(container, iova);
	struct iommu_table *tbl;

	if (!window)
		return ERR_PTR(-ENXIO);
	tbl = window->tbl;
	req->mm = container->mm;
	req->entry = iova >> tbl->it_page_shift;
	req->npages = size >> tbl->it_page_shift;
	if (!size || (iova | size) & (IOMMU_PAGE_SIZE(tbl) - 1))
		return ERR_PTR(-EINVAL);
	/* The window holds the first entry, so the subtractions do not wrap. */
	if (req->npages > tbl->it_size - (req->entry - tbl->it_offset))
		return ERR_PTR(-EINVAL);
	return tbl;
}

static long ioctl_map(struct tce_container *container, union tce_arg *arg)
{
	const struct vfio_iommu_type1_dma_map *map = &arg->map;
	struct iommu_tce_request req;
	struct iommu_table *tbl;

	tbl = request_range(container, map->iova, map->size, &req);
	if (IS_ERR(tbl))
		return PTR_ERR(tbl);
	if (map->vaddr & (IOMMU_PAGE_SIZE(tbl) - 1) || map->vaddr + (map->size - 1) < map->vaddr)
		return -EINVAL;
	req.ua = map->vaddr;
	req.perm = 0;
	if (map->flags & VFIO_DMA_MAP_FLAG_READ)
		req.perm |= TCE_PCI_READ;
	if (map->flags & VFIO_DMA_MAP_FLAG_WRITE)
		req.perm |= TCE_PCI_WRITE;
	if (!req.perm)
		return -EINVAL;

	return container->v2 ? iommu_tce_map(tbl, &req) : v1_map(tbl, &req);
}

/* A fatal signal, or firmware that fails, may leave the rest of the range mapped. */
static long ioctl_unmap(struct tce_container *container, union tce_arg *arg)
{
	struct iommu_tce_request req;
	struct iommu_table *tbl;

	tbl = request_range(container, arg->unmap.iova, arg->unmap.size, &req);
	if (IS_ERR(tbl))
		return PTR_ERR(tbl);
	if (container->v2)
		return iommu_tce_unmap(tbl, &req);
	v1_clear(tbl, req.entry, req.npages);
	return 0;
}

/*
 * Reserve the slot of a region, so that nothing fails once the memory is registered.
 * Another thread may be registering the same memory; it has the slot then.
 */
static int region_reserve(struct tce_container *container, u64 ua, u64 size)
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
 * Take a registration back, with the last one the region.
 * Return: as mm_iommu_unregister_start(); -ENOENT.
 */
static int region_remove(struct tce_container *container, u64 ua, u64 size,
			 struct mm_iommu_region **region)
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

/* Without a lock but for moments: pinning may take minutes. */
static long ioctl_register(struct tce_container *container, union tce_arg *arg)
{
	unsigned long index = arg->reg.vaddr >> PAGE_SHIFT;
	struct mm_iommu_region *region;
	int ret;

	if (!PAGE_ALIGNED(arg->reg.vaddr | arg->reg.size) || !arg->reg.size)
		return -EINVAL;
	ret = region_reserve(container, arg->reg.vaddr, arg->reg.size);
	if (ret)
		return ret;
	ret = mm_iommu_register(container->mm, arg->reg.vaddr, arg->reg.size, &region);
	if (ret) {
		xa_release(&container->regions, index);
		return ret;
	}
	scoped_guard(rwsem_write, &container->lock)
		container->enabled = true;
	/* The slot is there, so this allocates nothing. */
	xa_store(&container->regions, index, region, GFP_KERNEL_ACCOUNT);
	return 0;
}

/* Without a lock but for a moment: unpinning takes its time, too. */
static long ioctl_unregister(struct tce_container *container, union tce_arg *arg)
{
	struct mm_iommu_region *region;
	int ret;

	if (!PAGE_ALIGNED(arg->reg.vaddr | arg->reg.size))
		return -EINVAL;
	ret = region_remove(container, arg->reg.vaddr, arg->reg.size, &region);
	if (ret <= 0)
		return ret;
	mm_iommu_unregister_finish(region);
	return 0;
}

static long ioctl_create(struct tce_container *container, union tce_arg *arg)
{
	int ret;

	ret = window_create_default(container);
	if (ret)
		return ret;
	return window_create(container, &arg->create);
}

static long ioctl_remove(struct tce_container *container, union tce_arg *arg)
{
	struct tce_window *window;

	if (container->default_pending && !arg->remove.start_addr) {
		container->default_pending = false;
		return 0;
	}
	window = window_at(container, arg->remove.start_addr);
	return window ? window_remove(container, window) : -EINVAL;
}

static long ioctl_enable(struct tce_container *container, union tce_arg *arg)
{
	unsigned long pages;
	int ret;

	if (container->enabled)
		return -EBUSY;
	if (!first_group(container))
		return -ENODEV;
	pages = first_group(container)->table_group->tce32_size >> PAGE_SHIFT;
	if (!pages)
		return -EPERM;
	ret = account_locked_vm(container->mm, pages, true);
	if (ret)
		return ret;
	container->charged = pages;
	container->enabled = true;
	return 0;
}

/* Mapped pages are let go before their charge. */
static long ioctl_disable(struct tce_container *container, union tce_arg *arg)
{
	struct iommu_table *tbl;
	unsigned int i;

	lockdep_assert_held_write(&container->lock);
	if (!container->enabled)
		return 0;
	for (i = 0; i < NR_WINDOWS; i++) {
		tbl = container->windows[i].tbl;
		if (tbl)
			v1_clear(tbl, tbl->it_offset, tbl->it_size);
	}
	container->enabled = false;
	account_locked_vm(container->mm, container->charged, false);
	container->charged = 0;
	return 0;
}

/* The calls that are one function of the EEH core and its argument. */
static const struct {
	u32 op;
	int (*set_option)(struct eeh_pe *pe, int option);
	int (*reset)(struct eeh_pe *pe, int option, bool include_passed);
	int option;
} eeh_calls[] = {
	{ .op = VFIO_EEH_PE_ENABLE, .set_option = eeh_pe_set_option, .option = EEH_OPT_ENABLE },
	{ .op = VFIO_EEH_PE_DISABLE, .set_option = eeh_pe_set_option, .option = EEH_OPT_DISABLE },
	{ .op = VFIO_EEH_PE_UNFREEZE_DMA, .set_option = eeh_pe_set_option,
	  .option = EEH_OPT_THAW_DMA },
	{ .op = VFIO_EEH_PE_UNFREEZE_IO, .set_option = eeh_pe_set_option,
	  .option = EEH_OPT_THAW_MMIO },
	{ .op = VFIO_EEH_PE_RESET_HOT, .reset = eeh_pe_reset, .option = EEH_RESET_HOT },
	{ .op = VFIO_EEH_PE_RESET_FUNDAMENTAL, .reset = eeh_pe_reset,
	  .option = EEH_RESET_FUNDAMENTAL },
	{ .op = VFIO_EEH_PE_RESET_DEACTIVATE, .reset = eeh_pe_reset,
	  .option = EEH_RESET_DEACTIVATE },
};

static long eeh_op(struct eeh_pe *pe, const struct vfio_eeh_pe_op *op)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(eeh_calls); i++) {
		if (eeh_calls[i].op != op->op)
			continue;
		return eeh_calls[i].reset ? eeh_calls[i].reset(pe, eeh_calls[i].option, true) :
					  eeh_calls[i].set_option(pe, eeh_calls[i].option);
	}
	if (op->op == VFIO_EEH_PE_CONFIGURE)
		return eeh_pe_configure(pe);
	if (op->op != VFIO_EEH_PE_INJECT_ERR ||
	    op->argsz < offsetofend(struct vfio_eeh_pe_op, err.mask))
		return -EINVAL;
	return eeh_pe_inject_err(pe, op->err.type, op->err.func, op->err.addr, op->err.mask);
}

/* Each group in turn, up to the first error; GET_STATE alone returns more than 0. */
static long ioctl_eeh(struct tce_container *container, union tce_arg *arg)
{
	struct tce_group *group;
	struct eeh_pe *pe;
	long ret = 0;

	list_for_each_entry(group, &container->groups, next) {
		pe = eeh_iommu_group_to_pe(group->iommu_group);
		if (!pe)
			return -ENODEV;
		if (arg->eeh.op == VFIO_EEH_PE_GET_STATE)
			ret = eeh_pe_get_state(pe);
		else
			ret = platform_errno(eeh_op(pe, &arg->eeh));
		if (ret)
			return ret;
	}
	return ret;
}

/* What a call needs; the dispatcher sees to it in this order. */
#define NEED_V1		BIT(0)	/* -ENOTTY for the other type */
#define NEED_V2		BIT(1)
#define CLAIM_MM	BIT(2)	/* makes the caller's mm the container's */
#define NEED_ENABLED	BIT(3)	/* -EPERM before ENABLE or the first REGISTER */
#define NEED_MM		BIT(4)	/* -EPERM before somebody claimed it */
#define NEED_GROUP	BIT(5)	/* -ENXIO */
#define NEED_DEFAULT	BIT(6)	/* makes the default window if it is due */
#define HOLD_WRITE	BIT(7)	/* runs with the lock held for writing, not reading */
#define HOLD_NONE	BIT(8)	/* runs without the lock */
#define COPY_OUT	BIT(9)	/* the argument is copied back */

/**
 * struct tce_ioctl - a call
 * @handler: does the work, with the lock held that @needs says
 * @minsz: what argsz must cover at least; 0: no argument
 * @size: of the whole argument
 * @flags: valid bits of the field flags
 * @needs: what the dispatcher provides and checks
 */
struct tce_ioctl {
	long (*handler)(struct tce_container *container, union tce_arg *arg);
	unsigned int minsz;
	unsigned int size;
	u32 flags;
	u32 needs;
};

/* The calls have consecutive numbers. */
#define IOCTL_INDEX(cmd)	(_IOC_NR(cmd) - _IOC_NR(VFIO_IOMMU_SPAPR_TCE_GET_INFO))

#define TCE_IOCTL(_cmd, _handler, _type, _last, _flags, _needs)			\
	[IOCTL_INDEX(_cmd)] = {							\
		.handler = (_handler), .needs = (_needs),			\
		.minsz = offsetofend(_type, _last), .size = sizeof(_type),	\
		.flags = (_flags),						\
	}

static const struct tce_ioctl tce_ioctls[] = {
	TCE_IOCTL(VFIO_IOMMU_SPAPR_TCE_GET_INFO, ioctl_get_info,
		  struct vfio_iommu_spapr_tce_info, dma32_window_size, U32_MAX,
		  NEED_GROUP | COPY_OUT),
	TCE_IOCTL(VFIO_IOMMU_MAP_DMA, ioctl_map,
		  struct vfio_iommu_type1_dma_map, size,
		  VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		  NEED_ENABLED | NEED_DEFAULT),
	TCE_IOCTL(VFIO_IOMMU_UNMAP_DMA, ioctl_unmap,
		  struct vfio_iommu_type1_dma_unmap, size, 0,
		  NEED_ENABLED | NEED_DEFAULT),
	TCE_IOCTL(VFIO_IOMMU_SPAPR_REGISTER_MEMORY, ioctl_register,
		  struct vfio_iommu_spapr_register_memory, size, 0,
		  NEED_V2 | CLAIM_MM | HOLD_NONE),
	TCE_IOCTL(VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY, ioctl_unregister,
		  struct vfio_iommu_spapr_register_memory, size, 0,
		  NEED_V2 | NEED_MM | HOLD_NONE),
	TCE_IOCTL(VFIO_IOMMU_SPAPR_TCE_CREATE, ioctl_create,
		  struct vfio_iommu_spapr_tce_create, start_addr, 0,
		  NEED_V2 | CLAIM_MM | NEED_GROUP | HOLD_WRITE | COPY_OUT),
	TCE_IOCTL(VFIO_IOMMU_SPAPR_TCE_REMOVE, ioctl_remove,
		  struct vfio_iommu_spapr_tce_remove, start_addr, 0,
		  NEED_V2 | CLAIM_MM | NEED_GROUP | HOLD_WRITE),
	TCE_IOCTL(VFIO_EEH_PE_OP, ioctl_eeh, struct vfio_eeh_pe_op, op, 0, 0),
	[IOCTL_INDEX(VFIO_IOMMU_ENABLE)] = {
		.handler = ioctl_enable, .needs = NEED_V1 | CLAIM_MM | HOLD_WRITE,
	},
	[IOCTL_INDEX(VFIO_IOMMU_DISABLE)] = {
		.handler = ioctl_disable, .needs = NEED_V1 | HOLD_WRITE,
	},
};

#define IOCTL_ROW(cmd)		(&tce_ioctls[IOCTL_INDEX(cmd)])

static const struct tce_ioctl *ioctl_find(const struct tce_container *container,
					  unsigned int cmd)
{
	const struct tce_ioctl *ioctl = IOCTL_ROW(cmd);

	if (cmd != _IO(VFIO_TYPE, _IOC_NR(cmd)) || IOCTL_INDEX(cmd) >= ARRAY_SIZE(tce_ioctls) ||
	    ioctl->needs & (container->v2 ? NEED_V1 : NEED_V2))
		return NULL;
	return ioctl;
}

/* At least minsz bytes, more if argsz says that the caller has them; zeroes behind. */
static __always_inline int ioctl_copy_in(const struct tce_ioctl *ioctl, union tce_arg *arg,
					 void __user *uarg)
{
	unsigned int size = ioctl->minsz;

	if (!size)
		return 0;
	/* A few words: copy_from_user() would cost three times as much. */
	if (!user_read_access_begin(uarg, size))
		return -EFAULT;
	unsafe_copy_from_user(arg, uarg, size, fault);
	user_read_access_end();
	if (arg->argsz < size || arg->flags & ~ioctl->flags)
		return -EINVAL;
	if (ioctl->size == size)
		return 0;

	memset((char *)arg + size, 0, ioctl->size - size);
	size = min(arg->argsz, ioctl->size) - size;
	if (size && copy_from_user((char *)arg + ioctl->minsz, uarg + ioctl->minsz, size))
		return -EFAULT;
	return 0;
fault:
	user_read_access_end();
	return -EFAULT;
}

static __always_inline int ioctl_copy_out(const struct tce_ioctl *ioctl,
					  const union tce_arg *arg, void __user *uarg)
{
	if (!(ioctl->needs & COPY_OUT))
		return 0;
	return copy_to_user(uarg, arg, arg->argsz >= ioctl->size ? ioctl->size : ioctl->minsz) ?
	       -EFAULT : 0;
}

/* State that a call depends on. */
static __always_inline int ioctl_check_state(struct tce_container *container,
					     const struct tce_ioctl *ioctl)
{
	lockdep_assert_held(&container->lock);
	if (container->mm != current->mm && (container->mm || ioctl->needs & NEED_MM))
		return -EPERM;
	if (ioctl->needs & NEED_ENABLED && !container->enabled)
		return -EPERM;
	if (ioctl->needs & NEED_GROUP && !first_group(container))
		return -ENXIO;
	return 0;
}

/*
 * Bring the container into the state that the call needs, and take the lock that
 * it runs with: for writing as long as something has to be changed first.
 */
static int ioctl_enter(struct tce_container *container, const struct tce_ioctl *ioctl)
{
	int ret;

	if (down_write_killable(&container->lock))
		return -EINTR;
	ret = ioctl_check_state(container, ioctl);
	if (!ret && ioctl->needs & CLAIM_MM)
		ret = container_claim_mm(container);
	if (!ret && ioctl->needs & NEED_DEFAULT)
		ret = window_create_default(container);
	if (ret || ioctl->needs & HOLD_NONE)
		up_write(&container->lock);
	else if (!(ioctl->needs & HOLD_WRITE))
		downgrade_write(&container->lock);
	return ret;
}

/* The common case of a map or an unmap: nothing to change first. */
static __always_inline int ioctl_enter_shared(struct tce_container *container,
					      const struct tce_ioctl *ioctl)
{
	int ret;

	if (ioctl->needs & (HOLD_WRITE | HOLD_NONE | CLAIM_MM))
		return ioctl_enter(container, ioctl);
	if (down_read_killable(&container->lock))
		return -EINTR;
	if (ioctl->needs & NEED_DEFAULT && container->default_pending) {
		up_read(&container->lock);
		return ioctl_enter(container, ioctl);
	}
	ret = ioctl_check_state(container, ioctl);
	if (ret)
		up_read(&container->lock);
	return ret;
}

static __always_inline void ioctl_leave(struct tce_container *container,
					const struct tce_ioctl *ioctl)
{
	if (ioctl->needs & HOLD_WRITE)
		up_write(&container->lock);
	else if (!(ioctl->needs & HOLD_NONE))
		up_read(&container->lock);
}

static __always_inline long ioctl_run(struct tce_container *container,
				      const struct tce_ioctl *ioctl, void __user *uarg)
{
	union tce_arg arg __uninitialized;
	long ret;

	ret = ioctl_copy_in(ioctl, &arg, uarg);
	if (ret)
		return ret;
	ret = ioctl_enter_shared(container, ioctl);
	if (ret)
		return ret;

	ret = ioctl->handler(container, &arg);
	if (!ret && ioctl_copy_out(ioctl, &arg, uarg)) {
		ret = -EFAULT;
		/* Nobody knows about the new window: take it back. */
		if (ioctl->handler == ioctl_create)
			window_remove(container, window_at(container, arg.create.start_addr));
	}
	ioctl_leave(container, ioctl);
	return ret;
}

static long tce_iommu_ioctl(void *iommu_data, unsigned int cmd, unsigned long arg)
{
	struct tce_container *container = iommu_data;
	void __user *uarg = (void __user *)arg;
	const struct tce_ioctl *ioctl;

	/* The calls that come by the million: a constant row makes short code. */
	if (cmd == VFIO_IOMMU_MAP_DMA)
		return ioctl_run(container, IOCTL_ROW(VFIO_IOMMU_MAP_DMA), uarg);
	if (cmd == VFIO_IOMMU_UNMAP_DMA)
		return ioctl_run(container, IOCTL_ROW(VFIO_IOMMU_UNMAP_DMA), uarg);
	if (cmd == VFIO_CHECK_EXTENSION)	/* may come before there is a container */
		return arg == VFIO_SPAPR_TCE_IOMMU || arg == VFIO_SPAPR_TCE_v2_IOMMU ||
		       (arg == VFIO_EEH && eeh_enabled());

	ioctl = ioctl_find(container, cmd);
	return ioctl ? ioctl_run(container, ioctl, uarg) : -ENOTTY;
}

/* ---- life of a container; VFIO excludes ioctls meanwhile ---- */

static void *tce_iommu_open(unsigned long arg)
{
	struct tce_container *container;

	if (arg != VFIO_SPAPR_TCE_IOMMU && arg != VFIO_SPAPR_TCE_v2_IOMMU)
		return ERR_PTR(-EINVAL);
	container = kzalloc(sizeof(*container), GFP_KERNEL_ACCOUNT);
	if (!container)
		return ERR_PTR(-ENOMEM);

	container->v2 = arg == VFIO_SPAPR_TCE_v2_IOMMU;
	init_rwsem(&container->lock);
	INIT_LIST_HEAD(&container->groups);
	mutex_init(&container->reg_lock);
	xa_init_flags(&container->regions, XA_FLAGS_ACCOUNT);
	return container;
}

/* All groups are detached.  TCEs first, then the memory, then the mm. */
static void tce_iommu_release(void *iommu_data)
{
	struct tce_container *container = iommu_data;
	struct mm_iommu_region *region;
	unsigned long index;
	unsigned int i;

	for (i = 0; i < NR_WINDOWS; i++)
		if (container->windows[i].tbl)
			window_free(container, &container->windows[i]);

	xa_for_each(&container->regions, index, region) {
		mm_iommu_abandon(container->mm, region);
		cond_resched();
	}
	xa_destroy(&container->regions);

	account_locked_vm(container->mm, container->charged, false);
	if (container->mm)
		mmdrop(container->mm);
	mutex_destroy(&container->reg_lock);
	kfree(container);
}

/* Whether a group can live with the others and with the windows there are. */
static int group_check(struct tce_container *container, struct iommu_group *iommu_group,
		       struct iommu_table_group *table_group)
{
	struct tce_group *group;
	unsigned int i;

	lockdep_assert_held_write(&container->lock);
	if (!table_group)
		return -ENODEV;
	/* v2 needs windows that come and go; v1 has one table and shares it with nobody. */
	if (container->v2 && !table_group->max_dynamic_windows_supported)
		return -EINVAL;
	if (!container->v2 && first_group(container))
		return -EBUSY;

	list_for_each_entry(group, &container->groups, next) {
		if (group->iommu_group == iommu_group)
			return -EBUSY;
		if (group->table_group->ops->create_table != table_group->ops->create_table)
			return -EPERM;
	}
	for (i = 0; i < NR_WINDOWS; i++) {
		struct iommu_table *tbl = container->windows[i].tbl;

		if (tbl && !(table_group->pgsizes & IOMMU_PAGE_SIZE(tbl)))
			return -EPERM;
	}
	return 0;
}

static void group_unset_windows(struct tce_container *container,
				struct iommu_table_group *table_group, unsigned int n)
{
	while (n--)
		if (container->windows[n].tbl)
			table_group->ops->unset_window(table_group, n);
}

static int tce_iommu_attach_group(void *iommu_data, struct iommu_group *iommu_group,
				  enum vfio_group_type type)
{
	struct iommu_table_group *table_group = iommu_group_get_iommudata(iommu_group);
	struct tce_container *container = iommu_data;
	struct tce_group *group;
	unsigned int i;
	int ret;

	if (type == VFIO_EMULATED_IOMMU)
		return -EINVAL;

	guard(rwsem_write)(&container->lock);
	ret = group_check(container, iommu_group, table_group);
	if (ret)
		return ret;
	group = kzalloc(sizeof(*group), GFP_KERNEL_ACCOUNT);
	if (!group)
		return -ENOMEM;
	group->iommu_group = iommu_group;
	group->table_group = table_group;

	for (i = 0; i < NR_WINDOWS; i++) {
		if (!container->windows[i].tbl)
			continue;
		ret = platform_errno(table_group->ops->set_window(table_group, i,
								  container->windows[i].tbl));
		if (ret) {
			group_unset_windows(container, table_group, i);
			kfree(group);
			return ret;
		}
	}
	if (!first_group(container))
		container->default_pending = true;
	list_add_tail(&group->next, &container->groups);
	return 0;
}

/* The others keep their windows; the last to leave empties the tables first. */
static void tce_iommu_detach_group(void *iommu_data, struct iommu_group *iommu_group)
{
	struct tce_container *container = iommu_data;
	struct tce_group *group;
	unsigned int i;

	guard(rwsem_write)(&container->lock);
	list_for_each_entry(group, &container->groups, next)
		if (group->iommu_group == iommu_group)
			break;
	if (list_entry_is_head(group, &container->groups, next))
		return;

	if (list_is_singular(&container->groups))
		for (i = 0; i < NR_WINDOWS; i++)
			if (container->windows[i].tbl)
				window_empty(container, container->windows[i].tbl);
	group_unset_windows(container, group->table_group, NR_WINDOWS);
	list_del(&group->next);
	kfree(group);
}

static const struct vfio_iommu_driver_ops tce_iommu_driver = {
	.owner		= THIS_MODULE,
	.name		= "iommu-vfio-powerpc",
	.attach_group	= tce_iommu_attach_group,
	.detach_group	= tce_iommu_detach_group,
	.open		= tce_iommu_open,
	.release	= tce_iommu_release,
	.ioctl		= tce_iommu_ioctl,
};

static int __init tce_iommu_init(void)
{
	return vfio_register_iommu_driver(&tce_iommu_driver);
}
module_init(tce_iommu_init);

static void __exit tce_iommu_exit(void)
{
	vfio_unregister_iommu_driver(&tce_iommu_driver);
}
module_exit(tce_iommu_exit);

MODULE_DESCRIPTION("VFIO IOMMU for sPAPR TCE tables");
MODULE_LICENSE("GPL");
