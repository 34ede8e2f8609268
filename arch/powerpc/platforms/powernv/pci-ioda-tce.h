/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Geometry of an IODA2 TCE table: arithmetic without side effects.
 *
 * A table is a tree of nodes of the same size.  The PHB takes from the TVE the
 * number of levels, the size of a node (a power of two from 4 KiB up) and the
 * IOMMU page size, and cuts the bus address into one index per level, most
 * significant first (IODA2 specification, TVT and TCE tables).
 *
 * This header depends on nothing but integer types, so that the same lines are
 * tested on the build host.
 */
#ifndef _POWERNV_PCI_IODA_TCE_H
#define _POWERNV_PCI_IODA_TCE_H

#include <linux/types.h>

/* Five levels of smallest nodes: 45 index bits, too many for any page size. */
#define PNV_TCE_MAX_LEVELS 4
#define PNV_TCE_MIN_PAGE_SHIFT 12
#define PNV_TCE_MAX_PAGE_SHIFT 34

/* log2 of the entries in the smallest node that the hardware walks (4 KiB) */
#define PNV_TCE_MIN_LEVEL_BITS 9

/*
 * Bit 59 of a bus address selects the TVE, that is, the window.  Hardware does
 * not decode bits 59:55, although its documents do not say so.  So the index
 * bits of all levels and the offset in a page have less than 55 bits together.
 */
#define PNV_TCE_MAX_ADDR_BITS 54

/**
 * struct pnv_tce_geometry - the shape of a table
 * @page_shift: log2 of the IOMMU page size
 * @levels: how many levels, 1 for a table without pointers
 * @level_bits: log2 of the entries in each node
 * @entries: how many TCEs the window has; the last leaf may have more room
 */
struct pnv_tce_geometry {
	unsigned int page_shift;
	unsigned int levels;
	unsigned int level_bits;
	__u64 entries;
};

static inline unsigned int pnv_tce_log2(__u64 value)
{
	return 63 - __builtin_clzll(value);
}

/**
 * pnv_tce_geometry() - validate a window and lay out its table
 * @page_shift: log2 of the IOMMU page size
 * @window_size: in bytes, a power of two, at least one IOMMU page
 * @levels: 1 to PNV_TCE_MAX_LEVELS
 * @geo: filled in on success
 *
 * Return: whether the hardware can have such a table.
 */
static inline int pnv_tce_geometry(__u32 page_shift, __u64 window_size,
				   __u32 levels, struct pnv_tce_geometry *geo)
{
	unsigned int bits;

	if (levels < 1 || levels > PNV_TCE_MAX_LEVELS)
		return 0;
	if (page_shift < PNV_TCE_MIN_PAGE_SHIFT ||
	    page_shift > PNV_TCE_MAX_PAGE_SHIFT)
		return 0;
	if (!window_size || (window_size & (window_size - 1)) ||
	    !(window_size >> page_shift))
		return 0;

	bits = (pnv_tce_log2(window_size) - page_shift + levels - 1) / levels;
	if (bits < PNV_TCE_MIN_LEVEL_BITS)
		bits = PNV_TCE_MIN_LEVEL_BITS;
	if (bits * levels + page_shift > PNV_TCE_MAX_ADDR_BITS)
		return 0;

	geo->page_shift = page_shift;
	geo->levels = levels;
	geo->level_bits = bits;
	geo->entries = window_size >> page_shift;
	return 1;
}

/* Size in bytes of a node, without its shadow. */
static inline __u64 pnv_tce_level_bytes(const struct pnv_tce_geometry *geo)
{
	return 8ULL << geo->level_bits;
}

/* How many nodes a fully populated table has at level @level (0: leaves). */
static inline __u64 pnv_tce_level_count(const struct pnv_tce_geometry *geo,
					unsigned int level)
{
	unsigned int shift = (level + 1) * geo->level_bits;

	return shift > 63 ? 1 : ((geo->entries - 1) >> shift) + 1;
}

/**
 * pnv_tce_table_bytes() - memory of a fully populated table for user space
 * @geo: its geometry
 *
 * Return: bytes of all nodes and of their shadows.
 */
static inline __u64 pnv_tce_table_bytes(const struct pnv_tce_geometry *geo)
{
	unsigned int level;
	__u64 count = 0;

	for (level = 0; level < geo->levels; level++)
		count += pnv_tce_level_count(geo, level);
	return 2 * count * pnv_tce_level_bytes(geo);
}

/**
 * pnv_tce_charge() - what a table is charged to locked_vm
 * @geo: its geometry
 * @kernel_page_shift: log2 of the kernel's page size
 *
 * Many small nodes need some more pointers than a few large ones.  But no table
 * is charged more than it would be with nodes of at least a kernel page, as
 * former kernels made them.
 *
 * Return: bytes, whole kernel pages.
 */
static inline __u64 pnv_tce_charge(const struct pnv_tce_geometry *geo,
				   unsigned int kernel_page_shift)
{
	const __u64 mask = (1ULL << kernel_page_shift) - 1;
	struct pnv_tce_geometry coarse = *geo;
	__u64 bytes = pnv_tce_table_bytes(geo);

	if (coarse.level_bits < kernel_page_shift - 3)
		coarse.level_bits = kernel_page_shift - 3;
	if (bytes > pnv_tce_table_bytes(&coarse))
		bytes = pnv_tce_table_bytes(&coarse);
	return (bytes + mask) & ~mask;
}

/* The slot for table entry @index in its node at level @level. */
static inline __u64 pnv_tce_slot(const struct pnv_tce_geometry *geo,
				 __u64 index, unsigned int level)
{
	return (index >> (level * geo->level_bits)) &
	       ((1ULL << geo->level_bits) - 1);
}

/* The first index behind those that share @index's slot at level @level. */
static inline __u64 pnv_tce_next(const struct pnv_tce_geometry *geo,
				 __u64 index, unsigned int level)
{
	return ((index >> (level * geo->level_bits)) + 1)
	       << (level * geo->level_bits);
}

#endif /* _POWERNV_PCI_IODA_TCE_H */
