// SPDX-License-Identifier: GPL-2.0
/* See contract.h. */
#include <errno.h>

#include "contract.h"
#include "spapr_tce.h"

/* ---- what the documentation says of a call ---- */

static const struct window *window_of(const struct world *w, uint64_t iova)
{
	int i;

	for (i = 0; i < w->nwindows; i++)
		if (iova - w->windows[i].base < w->windows[i].size)
			return &w->windows[i];
	return NULL;
}

static uint64_t range_answers(const struct world *w, uint64_t iova, uint64_t size)
{
	const struct window *win = window_of(w, iova);
	uint64_t grain = win ? 1ULL << win->shift : 1ULL << SHIFT_4K;
	uint64_t set = 0;

	if (w->stage == NOTHING)
		set |= E(EPERM);
	if (!win)
		set |= E(ENXIO);
	if (!size || (iova | size) & (grain - 1))
		set |= E(EINVAL);
	if (win && size > win->base + win->size - iova)
		set |= E(EINVAL);
	return set;
}

/* The last 64K of the memory are not to be touched. */
static bool is_mine(const struct world *w, uint64_t va, uint64_t size, uint64_t limit)
{
	uint64_t offset = va - (uintptr_t)w->mem;

	return offset < limit && size <= limit - offset;
}

static uint64_t info_answers(const struct world *w, const union arg *arg)
{
	return 0;
}

static uint64_t map_answers(const struct world *w, const union arg *arg)
{
	uint64_t va = arg->map.vaddr, size = arg->map.size, set;
	const struct window *win = window_of(w, arg->map.iova);

	set = range_answers(w, arg->map.iova, size);
	if (va & ((win ? 1ULL << win->shift : 1ULL << SHIFT_4K) - 1) || va + size - 1 < va)
		set |= E(EINVAL);
	if (!(arg->map.flags & MAP_RW))
		set |= E(EINVAL);
	if (w->v2 && !is_mine(w, va, size, HALF))
		set |= E(EINVAL);
	if (!w->v2 && !is_mine(w, va, size, MEM_SIZE - PAGE_64K))
		set |= E(EFAULT);
	return set;
}

static uint64_t unmap_answers(const struct world *w, const union arg *arg)
{
	return range_answers(w, arg->unmap.iova, arg->unmap.size);
}

static bool overlaps(const struct world *w, uint64_t va, uint64_t size)
{
	uint64_t start = (uintptr_t)w->mem;

	return w->stage >= ENABLED && va < start + HALF && start < va + size;
}

static uint64_t register_answers(const struct world *w, const union arg *arg)
{
	uint64_t va = arg->reg.vaddr, size = arg->reg.size, page = spapr_page_size();
	bool same = va == (uintptr_t)w->mem && size == HALF && w->stage >= ENABLED;
	uint64_t set = 0;

	if (!size || (va | size) & (page - 1) || va + size - 1 < va)
		return E(EINVAL);
	if (same)
		return E(EBUSY);
	if (overlaps(w, va, size))
		set |= E(EINVAL);
	if (!is_mine(w, va, size, MEM_SIZE - PAGE_64K))
		set |= E(EFAULT);
	return set;
}

static uint64_t unregister_answers(const struct world *w, const union arg *arg)
{
	uint64_t va = arg->reg.vaddr, size = arg->reg.size, page = spapr_page_size();
	uint64_t set = 0;

	/* The container may be this process's own before it has registered something. */
	if (w->stage == NOTHING)
		set |= E(EPERM) | E(ENOENT);
	if ((va | size) & (page - 1))
		set |= E(EINVAL);
	if (va != (uintptr_t)w->mem || size != HALF)
		set |= E(ENOENT) | (size ? 0 : E(EINVAL));
	else if (w->stage == MAPPED)
		set |= E(EBUSY);
	return set;
}

/* Shapes that the hardware may or may not have are left to other tests. */
static uint64_t create_answers(const struct world *w, const union arg *arg)
{
	uint64_t size = arg->create.window_size;
	unsigned int shift = arg->create.page_shift, levels = arg->create.levels;
	uint64_t set = 0;

	if (w->nwindows == 2)
		set |= E(ENOSPC);
	if (shift >= 64 || !(w->info.ddw.pgsizes & 1ULL << shift) || !size || size & (size - 1) ||
	    size < 1ULL << shift || !levels || levels > w->info.ddw.levels)
		set |= E(EINVAL);
	else if (size != WIN_SIZE || shift > SHIFT_64K || levels > 3)
		set |= E(0) | E(EINVAL) | E(ENOMEM);
	return set;
}

static uint64_t remove_answers(const struct world *w, const union arg *arg)
{
	const struct window *win = window_of(w, arg->remove.start_addr);

	/* A window that is only due has no addresses but its start. */
	return win && !(w->due && arg->remove.start_addr) ? 0 : E(EINVAL);
}

static uint64_t eeh_answers(const struct world *w, const union arg *arg)
{
	return arg->eeh.op == VFIO_EEH_PE_GET_STATE ? 0 : E(EINVAL);
}

/* ---- good arguments ---- */

static void fill_info(const struct world *w, union arg *arg)
{
}

static void fill_map(const struct world *w, union arg *arg)
{
	arg->map.flags = MAP_RW;
	arg->map.iova = w->windows[w->nwindows - 1].base + HALF;
	arg->map.vaddr = (uintptr_t)w->mem;
	arg->map.size = PAGE_64K;
}

static void fill_unmap(const struct world *w, union arg *arg)
{
	arg->unmap.iova = w->windows[w->nwindows - 1].base;
	arg->unmap.size = PAGE_64K;
}

static void fill_register(const struct world *w, union arg *arg)
{
	arg->reg.vaddr = (uintptr_t)w->mem + HALF;
	arg->reg.size = PAGE_64K;
}

static void fill_unregister(const struct world *w, union arg *arg)
{
	arg->reg.vaddr = (uintptr_t)w->mem;
	arg->reg.size = HALF;
}

static void fill_create(const struct world *w, union arg *arg)
{
	arg->create.page_shift = SHIFT_64K;
	arg->create.window_size = WIN_SIZE;
	arg->create.levels = 1;
}

static void fill_remove(const struct world *w, union arg *arg)
{
	arg->remove.start_addr = w->windows[w->nwindows - 1].base;
}

static void fill_eeh(const struct world *w, union arg *arg)
{
	arg->eeh.op = VFIO_EEH_PE_GET_STATE;
}

/* ---- the calls ---- */

#define CALL(_cmd, _types, _type, _end, _flags, _name)			\
	{ #_cmd, _cmd, _end, sizeof(_type), _flags, _types, fill_##_name, _name##_answers }

const struct call contract[NR_CALLS] = {
	CALL(VFIO_IOMMU_SPAPR_TCE_GET_INFO, V1 | V2, struct vfio_iommu_spapr_tce_info,
	     offsetof(struct vfio_iommu_spapr_tce_info, ddw), UINT32_MAX, info),
	CALL(VFIO_IOMMU_MAP_DMA, V1 | V2, struct vfio_iommu_type1_dma_map,
	     sizeof(struct vfio_iommu_type1_dma_map), MAP_RW, map),
	CALL(VFIO_IOMMU_UNMAP_DMA, V1 | V2, struct vfio_iommu_type1_dma_unmap,
	     sizeof(struct vfio_iommu_type1_dma_unmap), 0, unmap),
	CALL(VFIO_IOMMU_SPAPR_REGISTER_MEMORY, V2, struct vfio_iommu_spapr_register_memory,
	     sizeof(struct vfio_iommu_spapr_register_memory), 0, register),
	CALL(VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY, V2, struct vfio_iommu_spapr_register_memory,
	     sizeof(struct vfio_iommu_spapr_register_memory), 0, unregister),
	CALL(VFIO_IOMMU_SPAPR_TCE_CREATE, V2, struct vfio_iommu_spapr_tce_create,
	     sizeof(struct vfio_iommu_spapr_tce_create), 0, create),
	CALL(VFIO_IOMMU_SPAPR_TCE_REMOVE, V2, struct vfio_iommu_spapr_tce_remove,
	     sizeof(struct vfio_iommu_spapr_tce_remove), 0, remove),
	CALL(VFIO_EEH_PE_OP, V1 | V2, struct vfio_eeh_pe_op,
	     offsetof(struct vfio_eeh_pe_op, op) + sizeof(uint32_t), 0, eeh),
};

union arg contract_good(const struct world *w, const struct call *call)
{
	union arg arg = { .argsz = call->size };

	call->fill(w, &arg);
	return arg;
}

uint64_t contract_answers(const struct world *w, const struct call *call, const union arg *arg)
{
	uint64_t set;

	if (!(call->types & (w->v2 ? V2 : V1)))
		return E(ENOTTY);
	set = call->answers(w, arg);
	if (arg->argsz < call->min || arg->flags & ~call->flags)
		set |= E(EINVAL);
	return set ? set : E(0);
}
