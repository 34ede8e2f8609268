// SPDX-License-Identifier: GPL-2.0
/*
 * Paging domains of IODA2 PHBs: what iommufd and drivers in the kernel map memory in.
 *
 * A domain is a plain table at bus address 0.  PEs that are attached to the domain have the
 * table as their window 0, and no other way to memory (pci-ioda.c, which says whose the DMA
 * of a PE is).  It fits every PE whose PHB has pages of its size, whatever device it was made
 * for, and may be in many of them at once.
 *
 * The table is as large as the addresses of a process, so that user space can map memory at
 * its own address.  It has a few small levels, which come when something is mapped and go
 * when all of their span is unmapped at once, or with the domain.
 *
 * Mapping and unmapping take no lock: a range is the caller's.  Unmapping only clears; the
 * kill is that of iotlb_sync, one for all that was gathered.  Nodes that were taken out
 * wait on a list of the domain.  Whoever syncs takes the whole list, kills all and frees
 * them, also those of others: its kill began after they were taken out.  A sync for a range
 * that may have lost a node kills all in any case.  If a kill fails, the nodes are stranded
 * until the table is freed, and the PE is stopped until the PHB has forgotten all that it has;
 * other PEs of the domain go on.
 *
 * Memory of a domain is charged to the memory cgroup of who maps; whoever maps accounts for
 * what is pinned.
 *
 * Cannot fail: unmapping, freeing.
 */

#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/limits.h>
#include <linux/llist.h>
#include <linux/log2.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include <asm/iommu.h>
#include <asm/tce.h>
#include "pci-ioda-tce.h"
#include "pci-ioda-tce-plain.h"
#include "pci-ioda-tce-tree.h"
#include "pci.h"

/* User addresses of a process that asks for no more */
#define PNV_DOMAIN_BITS 47

/* A node is at most as large, so that it is found in fragmented memory */
#define PNV_DOMAIN_NODE_MAX SZ_64K

/* Where the PHB takes 32-bit writes for messages of MSIs */
#define PNV_MSI32_START 0xffff0000ULL

/**
 * struct pnv_tce_domain - a domain
 * @domain: what the IOMMU core knows of it
 * @tbl: its table, with a reference; constant
 * @loose: nodes that were taken out of @tbl and wait for a kill of all; no lock
 * @growth: nodes that were put in
 * @root: the first node of @tbl; this and what follows is constant, for look-ups
 * @slots: mask for the byte offset in a node, after the shift for its level
 * @in_page: mask for the offset in a page
 * @levels: how many nodes a look-up reads
 * @level_bits: how much less an address is shifted at each next level
 * @top_shift: how far it is shifted for the root
 */
struct pnv_tce_domain {
	struct iommu_domain domain;
	struct iommu_table *tbl;
	struct llist_head loose;
	struct pnv_tce_growth growth;
	const __be64 *root;
	unsigned long slots;
	unsigned long in_page;
	unsigned long levels;
	unsigned long level_bits;
	unsigned long top_shift;
};

static struct pnv_tce_domain *to_pnv_domain(struct iommu_domain *domain)
{
	return container_of(domain, struct pnv_tce_domain, domain);
}

/* Whether the bytes from @iova on are @n entries of the table. */
static bool domain_has(const struct iommu_table *tbl, unsigned long iova,
		       size_t n)
{
	const unsigned long index = iova >> tbl->it_page_shift;

	return index < tbl->it_size && n <= tbl->it_size - index;
}

/*
 * Kill the TCEs of a range, or all of the table if nodes may have been taken out of the range,
 * and free what was taken out before.
 */
static int domain_kill(struct pnv_tce_domain *dom, unsigned long index,
		       unsigned long n)
{
	struct iommu_table *tbl = dom->tbl;
	struct llist_node *loose = NULL;
	int ret;

	/* Not written where it is empty: threads in disjoint ranges contend for nothing */
	if (!llist_empty(&dom->loose))
		loose = llist_del_all(&dom->loose);
	if (loose || n >= tbl->it_level_size) {
		index = 0;
		n = tbl->it_size;
	}
	ret = pnv_pci_ioda2_tce_kill(tbl, index, n);
	if (ret && loose)
		pnv_tce_strand_loose(tbl, loose);
	else
		pnv_tce_free_plain(tbl, loose);
	return ret;
}

static int domain_map_pages(struct iommu_domain *domain, unsigned long iova,
			    phys_addr_t paddr, size_t pgsize, size_t pgcount,
			    int prot, gfp_t gfp, size_t *mapped)
{
	struct pnv_tce_domain *dom = to_pnv_domain(domain);
	struct iommu_table *tbl = dom->tbl;
	struct pnv_tce_write write = {
		.index = iova >> tbl->it_page_shift,
		.left = pgcount,
		.tce = paddr | TCE_PCI_READ, /* IODA2 has no write-only TCE */
		.gfp = gfp,
		.growth = &dom->growth,
	};
	int ret;

	if (prot & IOMMU_MMIO)
		return -EOPNOTSUPP;
	if (pgsize != IOMMU_PAGE_SIZE(tbl) ||
	    !(prot & (IOMMU_READ | IOMMU_WRITE)))
		return -EINVAL;
	if (!domain_has(tbl, iova, pgcount))
		return -ERANGE;
	if (prot & IOMMU_WRITE)
		write.tce |= TCE_PCI_WRITE;

	ret = pnv_tce_write(tbl, &write);
	*mapped += (pgcount - write.left) << tbl->it_page_shift;
	return ret;
}

static size_t domain_unmap_pages(struct iommu_domain *domain,
				 unsigned long iova, size_t pgsize,
				 size_t pgcount,
				 struct iommu_iotlb_gather *gather)
{
	struct pnv_tce_domain *dom = to_pnv_domain(domain);
	struct iommu_table *tbl = dom->tbl;
	size_t size;

	if (pgsize != IOMMU_PAGE_SIZE(tbl) || !domain_has(tbl, iova, pgcount))
		return 0;
	size = pnv_tce_zap(tbl, iova >> tbl->it_page_shift, pgcount,
			   &dom->loose)
	       << tbl->it_page_shift;
	if (size)
		iommu_iotlb_gather_add_range(gather, iova, size);
	return size;
}

static void domain_flush_iotlb_all(struct iommu_domain *domain)
{
	struct pnv_tce_domain *dom = to_pnv_domain(domain);

	domain_kill(dom, 0, dom->tbl->it_size);
}

/*
 * The PHB may have cached these entries, still empty, beside others that it fetched; and likewise
 * pointers above.
 */
static int domain_iotlb_sync_map(struct iommu_domain *domain,
				 unsigned long iova, size_t size)
{
	struct pnv_tce_domain *dom = to_pnv_domain(domain);
	struct iommu_table *tbl = dom->tbl;
	long made;
	int ret;

	if (!pnv_tce_growth_due(&dom->growth, &made))
		return pnv_pci_ioda2_tce_appear(tbl, iova >> tbl->it_page_shift,
						size >> tbl->it_page_shift);
	ret = pnv_pci_ioda2_tce_appear(tbl, 0, tbl->it_size);
	if (!ret)
		pnv_tce_growth_shown(&dom->growth, made);
	return ret;
}

static void domain_iotlb_sync(struct iommu_domain *domain,
			      struct iommu_iotlb_gather *gather)
{
	struct pnv_tce_domain *dom = to_pnv_domain(domain);
	const unsigned int shift = dom->tbl->it_page_shift;

	if (gather->start > gather->end)
		return;
	domain_kill(dom, gather->start >> shift,
		    (gather->end >> shift) - (gather->start >> shift) + 1);
}

/*
 * iommufd asks this for each page that it unmaps, so the walk is as short as can be: 45
 * instructions, where it takes 80 with pnv_tce_get().
 */
static phys_addr_t domain_iova_to_phys(struct iommu_domain *domain,
				       dma_addr_t iova)
{
	const struct pnv_tce_domain *dom = to_pnv_domain(domain);
	const unsigned long slots = dom->slots, bits = dom->level_bits;
	unsigned long shift = dom->top_shift, level = dom->levels;
	const void *node = dom->root;
	u64 word;

	if (iova > domain->geometry.aperture_end)
		return 0;
	for (;;) {
		word = tce_load(node + (iova >> shift & slots));
		if (!word)
			return 0;
		if (!--level)
			break;
		node = tce_node_of(word);
		shift -= bits;
	}
	return word ^ ((word ^ iova) & dom->in_page);
}

static void domain_free(struct iommu_domain *domain)
{
	struct pnv_tce_domain *dom = to_pnv_domain(domain);
	struct llist_node *loose = llist_del_all(&dom->loose);

	/* If firmware has kept the table in a window, that has a reference. */
	if (loose)
		pnv_tce_strand_loose(dom->tbl, loose);
	iommu_tce_table_put(dom->tbl);
	kfree(dom);
}

static const struct iommu_domain_ops pnv_tce_domain_ops = {
	.attach_dev = spapr_tce_domain_attach_dev,
	.map_pages = domain_map_pages,
	.unmap_pages = domain_unmap_pages,
	.flush_iotlb_all = domain_flush_iotlb_all,
	.iotlb_sync_map = domain_iotlb_sync_map,
	.iotlb_sync = domain_iotlb_sync,
	.iova_to_phys = domain_iova_to_phys,
	.free = domain_free,
};

/* The largest page that the PHB has and that is no larger than one of the kernel. */
static unsigned int domain_page_shift(const struct iommu_table_group *group)
{
	u64 sizes = group->pgsizes & (2 * PAGE_SIZE - 1);

	return sizes ? ilog2(sizes) : 0;
}

/* The fewest levels whose nodes are not too large.  Return: 0 if there can be none. */
static unsigned int domain_levels(const struct iommu_table_group *group,
				  unsigned int page_shift)
{
	struct pnv_tce_geometry geo;
	unsigned int levels;

	for (levels = 1; levels <= group->max_levels; levels++)
		if (pnv_tce_geometry(page_shift, BIT_ULL(PNV_DOMAIN_BITS),
				     levels, &geo) &&
		    pnv_tce_level_bytes(&geo) <= PNV_DOMAIN_NODE_MAX)
			return levels;
	return 0;
}

/* A look-up takes what it needs from one place. */
static void domain_prepare_lookup(struct pnv_tce_domain *dom)
{
	const struct iommu_table *tbl = dom->tbl;
	const struct pnv_tce_geometry *geo = &tbl->it_tree->geo;

	dom->root = (const __be64 *)tbl->it_base;
	dom->slots = ((1UL << geo->level_bits) - 1) * sizeof(*dom->root);
	dom->in_page = IOMMU_PAGE_SIZE(tbl) - 1;
	dom->levels = geo->levels;
	dom->level_bits = geo->level_bits;
	dom->top_shift = tbl->it_tree->top_shift + tbl->it_page_shift -
			 ilog2(sizeof(*dom->root));
}

/**
 * pnv_pci_domain_alloc() - make a paging domain
 * @table_group: the group it is to fit; any with the same page size can use it
 * @dev: a device of the group
 *
 * Context: Process, may sleep.
 * Return: an empty domain, or an ERR_PTR: -EOPNOTSUPP where the PHB has no page of at most
 * the kernel's size, -ENOMEM.
 */
struct iommu_domain *pnv_pci_domain_alloc(struct iommu_table_group *table_group,
					  struct device *dev)
{
	struct iommu_table_shape shape = {
		.kind = IOMMU_TABLE_PLAIN,
		.page_shift = domain_page_shift(table_group),
		.size = BIT_ULL(PNV_DOMAIN_BITS),
	};
	struct pnv_tce_domain *dom;
	long ret;

	shape.levels = domain_levels(table_group, shape.page_shift);
	if (!shape.levels)
		return ERR_PTR(-EOPNOTSUPP);
	dom = kzalloc_obj(*dom, GFP_KERNEL_ACCOUNT);
	if (!dom)
		return ERR_PTR(-ENOMEM);
	ret = table_group->ops->create_table(table_group, 0, &shape, &dom->tbl);
	if (ret) {
		kfree(dom);
		return ERR_PTR(ret);
	}

	init_llist_head(&dom->loose);
	domain_prepare_lookup(dom);
	dom->domain.type = IOMMU_DOMAIN_UNMANAGED;
	dom->domain.ops = &pnv_tce_domain_ops;
	dom->domain.pgsize_bitmap = BIT(shape.page_shift);
	dom->domain.geometry.aperture_end = shape.size - 1;
	dom->domain.geometry.force_aperture = true;
	return &dom->domain;
}

/**
 * pnv_pci_domain_attach() - let a PE do its DMA through a domain
 * @table_group: the PE's
 * @domain: made by pnv_pci_domain_alloc() for any group
 * @dev: a device of the PE
 *
 * Context: Process; mutex of the IOMMU group.
 * Return: 0; -EINVAL where the PHB has no pages of the domain's size; -ENODEV when firmware
 * refuses; -EBUSY, -ENOMEM.  What a failure leaves: see pnv_pci_ioda2_take_domain().
 */
int pnv_pci_domain_attach(struct iommu_table_group *table_group,
			  struct iommu_domain *domain, struct device *dev)
{
	struct pnv_ioda_pe *pe =
		container_of(table_group, struct pnv_ioda_pe, table_group);
	int ret;

	if (!(table_group->pgsizes & domain->pgsize_bitmap))
		return -EINVAL;
	ret = pnv_pci_ioda2_take_domain(pe, to_pnv_domain(domain)->tbl, dev);
	return ret == -EIO ? -ENODEV : ret;
}

/* The caller cannot report -ENOMEM: never fail. */
static void domain_reserve(struct list_head *regions, u64 start, u64 end,
			   enum iommu_resv_type type)
{
	struct iommu_resv_region *region;

	if (start >= end)
		return;
	region = iommu_alloc_resv_region(start, end - start, 0, type,
					 GFP_KERNEL | __GFP_NOFAIL);
	if (region)
		list_add_tail(&region->list, regions);
}

/**
 * pnv_pci_domain_reserved() - the addresses that no domain of a PE can have
 * @table_group: the PE's
 * @regions: they are added to this list of &struct iommu_resv_region
 *
 * The PHB, and on POWER8 bridges, claim what is in their windows for MMIO; and writes to the
 * end of the 32-bit one are MSIs.
 *
 * Context: Process, may sleep.
 */
void pnv_pci_domain_reserved(struct iommu_table_group *table_group,
			     struct list_head *regions)
{
	struct pnv_ioda_pe *pe =
		container_of(table_group, struct pnv_ioda_pe, table_group);
	const struct pnv_phb *phb = pe->phb;
	u64 m64 = phb->ioda.m64_base;

	domain_reserve(regions, phb->ioda.m32_pci_base, PNV_MSI32_START,
		       IOMMU_RESV_RESERVED);
	domain_reserve(regions, PNV_MSI32_START, SZ_4G, IOMMU_RESV_MSI);
	if (phb->ioda.m64_size && m64 < BIT_ULL(PNV_DOMAIN_BITS))
		domain_reserve(regions, m64, m64 + phb->ioda.m64_size,
			       IOMMU_RESV_RESERVED);
}
