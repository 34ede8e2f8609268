/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Paging domains on a real PHB's PE: the scene of the tests.
 *
 * Needs two PCI functions in the group.  Firmware calls are observed and refused by kprobes; those
 * that freeze a PE and end that are never made.
 */
#ifndef _POWERNV_PCI_IODA_DOMAIN_KUNIT_H
#define _POWERNV_PCI_IODA_DOMAIN_KUNIT_H

#include <linux/list.h>
#include "pci-ioda-window_kunit.h"

#define IOVA	0x100000000UL
#define HPA	0x20000000UL
#define RW	(IOMMU_READ | IOMMU_WRITE)

/**
 * struct scene - a device, its group and the firmware calls that a case looks at
 * @dev: the device
 * @group: its group, with a second function
 * @bypass: opens and closes the bypass
 * @map: sets a window
 * @kill: makes the PHB forget
 * @freeze: stops the PE; is not made
 * @thaw: lets it go on; is not made
 */
struct scene {
	struct pci_dev *dev;
	struct iommu_table_group *group;
	struct watch *bypass;
	struct watch *map;
	struct watch *kill;
	struct watch *freeze;
	struct watch *thaw;
};

static inline struct scene scene(struct kunit *test)
{
	struct scene s = {
		.dev = free_device(test),
		.bypass = watch(test, "opal_pci_map_pe_dma_window_real"),
		.map = watch(test, "opal_pci_map_pe_dma_window"),
		.kill = watch(test, "opal_pci_tce_kill"),
		.freeze = watch(test, "opal_pci_eeh_freeze_set"),
		.thaw = watch(test, "opal_pci_eeh_freeze_clear"),
	};

	s.group = group_of(s.dev);
	s.freeze->refuse = true;
	s.freeze->answer = OPAL_SUCCESS;
	s.thaw->refuse = true;
	s.thaw->answer = OPAL_SUCCESS;
	expect_host(test, s.dev);
	return s;
}

static inline void no_calls(struct scene *s)
{
	s->bypass->calls = 0;
	s->map->calls = 0;
	s->kill->calls = 0;
	s->freeze->calls = 0;
	s->thaw->calls = 0;
}

static inline struct pnv_ioda_pe *pe_of(struct scene *s)
{
	return container_of(s->group, struct pnv_ioda_pe, table_group);
}

/* As EEH does it when a device of the PE is opened or closed. */
static inline int thaw(struct scene *s)
{
	struct pnv_ioda_pe *pe = pe_of(s);

	return pe->phb->unfreeze_pe(pe->phb, pe->pe_number, OPAL_EEH_ACTION_CLEAR_FREEZE_ALL);
}

static inline void domain_end(void *domain)
{
	iommu_domain_free(domain);
}

static inline struct iommu_domain *new_domain(struct kunit *test, struct scene *s)
{
	struct iommu_domain *domain = iommu_paging_domain_alloc(&s->dev->dev);

	KUNIT_ASSERT_FALSE(test, IS_ERR(domain));
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, domain_end, domain), 0);
	return domain;
}

static inline int attach(struct scene *s, struct iommu_domain *domain)
{
	return iommu_attach_group(domain, s->dev->dev.iommu_group);
}

static inline void detach(struct scene *s, struct iommu_domain *domain)
{
	iommu_detach_group(domain, s->dev->dev.iommu_group);
}

static inline struct iommu_domain *attached_domain(struct kunit *test, struct scene *s)
{
	struct iommu_domain *domain = new_domain(test, s);

	KUNIT_ASSERT_EQ(test, attach(s, domain), 0);
	return domain;
}

/* Let the PE change over from domain to domain, as iommufd lets the core do it. */
static inline int change_over(struct scene *s, struct iommu_domain *domain)
{
	return s->group->ops->domain_attach(s->group, domain, &s->dev->dev);
}

static inline void expect_domain(struct kunit *test, struct scene *s, const struct iommu_table *tbl)
{
	KUNIT_EXPECT_EQ(test, s->group->owner, IOMMU_TCE_DOMAIN);
	KUNIT_EXPECT_PTR_EQ(test, s->group->tables[0], tbl);
	KUNIT_EXPECT_NULL(test, s->group->tables[1]);
	KUNIT_EXPECT_TRUE(test, list_is_singular(&tbl->it_group_list));
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 2);
	KUNIT_EXPECT_EQ(test, told_table(s->map), __pa(tbl->it_base));
	KUNIT_EXPECT_NULL(test, get_iommu_table_base(&s->dev->dev));
}

static inline void expect_unused(struct kunit *test, const struct iommu_table *tbl)
{
	KUNIT_EXPECT_TRUE(test, list_empty(&tbl->it_group_list));
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 1);
}

static inline bool kills_all(const struct watch *kill)
{
	return kill->args[1] == OPAL_PCI_TCE_KILL_PE;
}

/* So that what is mapped next at IOVA needs no new node. */
static inline void make_leaf(struct kunit *test, struct iommu_domain *domain)
{
	KUNIT_ASSERT_EQ(test, iommu_map(domain, IOVA + 64 * PAGE_SIZE, HPA, PAGE_SIZE, RW,
					GFP_KERNEL), 0);
}

/* Before the actions, one of which frees the domain. */
static inline void domain_exit(struct kunit *test)
{
	struct pci_dev *dev = find_free_device();
	struct iommu_domain *domain = dev ? iommu_get_domain_for_dev(&dev->dev) : NULL;

	if (domain && domain->type == IOMMU_DOMAIN_UNMANAGED)
		iommu_detach_group(domain, dev->dev.iommu_group);
	pci_dev_put(dev);
	window_exit(test);
}

#endif /* _POWERNV_PCI_IODA_DOMAIN_KUNIT_H */
