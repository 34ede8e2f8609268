// SPDX-License-Identifier: GPL-2.0-only
/*
 * MAP and UNMAP of a container: the range check, and what it is about, one range or everything.
 *
 * The requests on the table that was found are asm/iommu_tce.h's for a v2 container, and
 * spapr_tce_v1.c's for v1.  Whoever calls this holds the container's lock for reading, so the
 * windows stay.  For v1 the lock is released but while MAP writes TCEs; then a reference keeps the
 * table.
 */

#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/vfio.h>

#include <asm/iommu_tce.h>
#include <asm/tce.h>
#include "spapr_tce.h"

/**
 * spapr_tce_default_is_due() - whether a bus address needs the default window to be made
 * @container: the container
 * @iova: the bus address
 *
 * Context: Process; the container's lock held.
 * Return: true if the default window would have the address, and no window was made or removed
 * since the first group joined.
 */
bool spapr_tce_default_is_due(struct spapr_tce_container *container, u64 iova)
{
	const struct iommu_table_group *table_group;

	lockdep_assert_held(&container->lock);
	if (!container->default_pending)
		return false;
	table_group = spapr_tce_first_group(container)->table_group;
	return iova - table_group->tce32_start < table_group->tce32_size;
}

/*
 * The only place that decides whether a range of bus addresses can be changed.
 * Inline it saves 12 instructions of a MAP and 8 of an UNMAP.
 * Return: the table, and which of its entries in @req; or an error pointer.
 */
static __always_inline struct iommu_table *
request_range(struct spapr_tce_container *container, u64 iova, u64 size,
	      struct iommu_tce_request *req)
{
	const struct spapr_tce_window *window =
		spapr_tce_window_at(container, iova);
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

/**
 * spapr_tce_map() - VFIO_IOMMU_MAP_DMA
 * @container: the container
 * @map: bus address, user address and size in bytes, flags of which some are set
 *
 * Context: Process, may sleep; the container's lock held for reading.
 * Return: 0; -EINVAL for bad bounds or flags, for a v2 container also when the memory is not
 * registered; -ENXIO when no window has the address; and what iommu_tce_map() or
 * spapr_tce_v1_map() return.
 */
int spapr_tce_map(struct spapr_tce_container *container,
		  const struct vfio_iommu_type1_dma_map *map)
{
	struct iommu_tce_request req;
	struct iommu_table *tbl;

	lockdep_assert_held(&container->lock);
	tbl = request_range(container, map->iova, map->size, &req);
	if (IS_ERR(tbl))
		return PTR_ERR(tbl);
	if (map->vaddr & (IOMMU_PAGE_SIZE(tbl) - 1) ||
	    map->vaddr + (map->size - 1) < map->vaddr)
		return -EINVAL;
	req.ua = map->vaddr;
	req.perm = 0;
	if (map->flags & VFIO_DMA_MAP_FLAG_READ)
		req.perm |= TCE_PCI_READ;
	if (map->flags & VFIO_DMA_MAP_FLAG_WRITE)
		req.perm |= TCE_PCI_WRITE;
	if (!req.perm)
		return -EINVAL;

	return container->v2 ? iommu_tce_map(tbl, &req) :
			       spapr_tce_v1_map(container, tbl, &req);
}

/*
 * Everything in all windows; says how many bytes of bus addresses were mapped.
 * Not inline it saves 5 instructions of any other UNMAP.
 */
static noinline int unmap_all(struct spapr_tce_container *container,
			      struct vfio_iommu_type1_dma_unmap *unmap)
{
	struct iommu_tce_request req;
	struct iommu_table *tbl;
	unsigned long cleared;
	unsigned int i;
	int ret = 0;

	lockdep_assert_held(&container->lock);
	if (unmap->iova || unmap->size)
		return -EINVAL;
	for (i = 0; i < TCE_WINDOWS && !ret; i++) {
		tbl = container->windows[i].tbl;
		if (!tbl)
			continue;
		req.entry = tbl->it_offset;
		req.npages = tbl->it_size;
		ret = container->v2 ? iommu_tce_unmap_all(tbl, container->mm,
							  &cleared) :
				      spapr_tce_v1_unmap(container, tbl, &req,
							 &cleared);
		unmap->size += (u64)cleared << tbl->it_page_shift;
	}
	return ret;
}

/**
 * spapr_tce_unmap() - VFIO_IOMMU_UNMAP_DMA
 * @container: the container
 * @unmap: bus address and size in bytes; with VFIO_DMA_UNMAP_FLAG_ALL both are 0, and the size
 *	becomes how much was mapped
 *
 * Context: Process, may sleep; the container's lock held for reading.
 * Return: 0; -EINVAL for bad bounds; -ENXIO when no window has the address; -EINTR after a fatal
 * signal and -EIO when firmware fails: the rest of the range may still be mapped.
 */
int spapr_tce_unmap(struct spapr_tce_container *container,
		    struct vfio_iommu_type1_dma_unmap *unmap)
{
	struct iommu_tce_request req;
	struct iommu_table *tbl;
	unsigned long cleared;

	lockdep_assert_held(&container->lock);
	if (unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL)
		return unmap_all(container, unmap);
	tbl = request_range(container, unmap->iova, unmap->size, &req);
	if (IS_ERR(tbl))
		return PTR_ERR(tbl);
	if (container->v2)
		return iommu_tce_unmap(tbl, &req);
	return spapr_tce_v1_unmap(container, tbl, &req, &cleared);
}
