// SPDX-License-Identifier: GPL-2.0
/*
 * Paging domains on a real PHB's PE: how a PE comes to a domain and back, from whomever it was,
 * and which kills the PHB gets to see.
 */
#include "pci-ioda-domain_kunit.h"

static void I13_host_to_domain_and_back(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_table *host = s.group->tables[0], *tbl;
	struct iommu_domain *domain = new_domain(test, &s);
	struct pci_dev *second = pci_get_slot(s.dev->bus, PCI_DEVFN(PCI_SLOT(s.dev->devfn), 1));

	KUNIT_ASSERT_NOT_NULL(test, second);
	no_calls(&s);
	KUNIT_ASSERT_EQ(test, attach(&s, domain), 0);
	tbl = s.group->tables[0];
	expect_domain(test, &s, tbl);
	KUNIT_EXPECT_NULL(test, get_iommu_table_base(&second->dev));
	KUNIT_EXPECT_EQ(test, s.bypass->calls, 1);
	KUNIT_EXPECT_EQ(test, s.bypass->args[4], 0);
	KUNIT_EXPECT_EQ(test, s.map->calls, 1);
	KUNIT_EXPECT_LT(test, s.bypass->last, s.map->last);
	KUNIT_EXPECT_GT(test, s.kill->last, s.map->last);
	expect_unused(test, host);

	detach(&s, domain);
	KUNIT_EXPECT_NE(test, s.bypass->args[4], 0);
	KUNIT_EXPECT_GT(test, s.bypass->last, s.map->last);
	KUNIT_EXPECT_PTR_EQ(test, s.group->tables[0], host);
	expect_unused(test, tbl);
	expect_host(test, s.dev);
	expect_host(test, second);
	pci_dev_put(second);
}

static void T16_refused_attach_changes_nothing(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = new_domain(test, &s);
	struct watch *refuse[] = { s.bypass, s.map };
	int i;

	for (i = 0; i < ARRAY_SIZE(refuse); i++) {
		refuse[i]->refuse = true;
		KUNIT_EXPECT_EQ(test, attach(&s, domain), -ENODEV);
		refuse[i]->refuse = false;
		expect_host(test, s.dev);
		KUNIT_EXPECT_EQ(test, s.group->owner, IOMMU_TCE_HOST);
		KUNIT_EXPECT_EQ(test, s.freeze->calls, 0);
	}
	KUNIT_EXPECT_NE(test, s.bypass->args[4], 0);
}

static void T23_domain_in_place_of_a_domain(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *first = attached_domain(test, &s), *other = new_domain(test, &s);
	struct iommu_table *tbl = s.group->tables[0];

	no_calls(&s);
	KUNIT_EXPECT_EQ(test, change_over(&s, other), 0);
	KUNIT_EXPECT_EQ(test, s.map->calls, 1);		/* the slot is never empty */
	KUNIT_EXPECT_GT(test, s.kill->last, s.map->last);
	KUNIT_EXPECT_EQ(test, s.bypass->calls, 0);
	KUNIT_EXPECT_PTR_NE(test, s.group->tables[0], tbl);
	expect_domain(test, &s, s.group->tables[0]);
	expect_unused(test, tbl);

	no_calls(&s);
	s.map->refuse = true;
	KUNIT_EXPECT_EQ(test, change_over(&s, first), -ENODEV);
	s.map->refuse = false;
	KUNIT_EXPECT_EQ(test, s.freeze->calls, 0);
	expect_unused(test, tbl);

	s.kill->refuse = true;
	KUNIT_EXPECT_EQ(test, change_over(&s, first), -ENODEV);
	s.kill->refuse = false;
	KUNIT_EXPECT_EQ(test, s.freeze->calls, 1);
	expect_domain(test, &s, s.group->tables[0]);
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 2);

	KUNIT_EXPECT_EQ(test, change_over(&s, first), 0);
	expect_domain(test, &s, tbl);
}

/* What each further function of the group does, and one that is plugged. */
static void T22_further_functions_change_nothing(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = attached_domain(test, &s);
	struct iommu_table *tbl = s.group->tables[0];
	struct pci_dev *second = pci_get_slot(s.dev->bus, PCI_DEVFN(PCI_SLOT(s.dev->devfn), 1));

	KUNIT_ASSERT_NOT_NULL(test, second);
	no_calls(&s);
	KUNIT_EXPECT_EQ(test, change_over(&s, domain), 0);
	pci_stop_and_remove_bus_device_locked(second);
	pci_dev_put(second);
	pci_lock_rescan_remove();
	pci_rescan_bus(s.dev->bus);
	pci_unlock_rescan_remove();

	second = pci_get_slot(s.dev->bus, PCI_DEVFN(PCI_SLOT(s.dev->devfn), 1));
	KUNIT_ASSERT_NOT_NULL(test, second);
	KUNIT_EXPECT_NULL(test, get_iommu_table_base(&second->dev));
	KUNIT_EXPECT_EQ(test, s.map->calls + s.bypass->calls, 0);
	KUNIT_EXPECT_PTR_EQ(test, iommu_get_domain_for_dev(&second->dev), domain);
	KUNIT_EXPECT_PTR_EQ(test, s.group->tables[0], tbl);
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 2);
	pci_dev_put(second);
}

/* A user of the group comes and goes: blocked, domain, blocked, as iommufd has it. */
static void T16_user_without_a_domain_has_nothing(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = new_domain(test, &s);
	struct iommu_table *tbl;

	take_for_case(test, s.dev);
	KUNIT_ASSERT_EQ(test, attach(&s, domain), 0);
	tbl = s.group->tables[0];
	expect_domain(test, &s, tbl);
	detach(&s, domain);
	KUNIT_EXPECT_EQ(test, s.group->owner, IOMMU_TCE_USER);
	KUNIT_EXPECT_NULL(test, s.group->tables[0]);
	KUNIT_EXPECT_EQ(test, told_table(s.map), 0);
	expect_unused(test, tbl);
	give_back(s.dev->dev.iommu_group);
	expect_host(test, s.dev);
}

/* Windows of a container are not the IOMMU API's to replace. */
static void C6_domain_over_windows(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = new_domain(test, &s);
	struct iommu_table *tbl;

	take_for_case(test, s.dev);
	tbl = new_table(test, s.group);
	KUNIT_ASSERT_EQ(test, s.group->ops->set_window(s.group, WINDOW, tbl), 0);
	KUNIT_EXPECT_EQ(test, change_over(&s, domain), -EBUSY);
	KUNIT_EXPECT_PTR_EQ(test, s.group->tables[WINDOW], tbl);
	KUNIT_EXPECT_EQ(test, s.group->ops->unset_window(s.group, WINDOW), 0);
	KUNIT_EXPECT_EQ(test, iommu_tce_table_put(tbl), 1);
}

static void C13_page_sizes_must_fit(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = new_domain(test, &s), *small;
	const u64 sizes = s.group->pgsizes;

	KUNIT_EXPECT_EQ(test, domain->pgsize_bitmap, PAGE_SIZE);
	s.group->pgsizes = SZ_2M;
	KUNIT_EXPECT_EQ(test, attach(&s, domain), -EINVAL);
	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(iommu_paging_domain_alloc(&s.dev->dev)), -EOPNOTSUPP);
	s.group->pgsizes = SZ_4K | SZ_2M;
	small = new_domain(test, &s);
	KUNIT_EXPECT_EQ(test, small->pgsize_bitmap, SZ_4K);
	s.group->pgsizes = sizes;
	expect_host(test, s.dev);
}

static void aperture_is_that_of_a_process(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = attached_domain(test, &s);
	struct iommu_table *tbl = s.group->tables[0];

	KUNIT_EXPECT_EQ(test, domain->geometry.aperture_start, 0);
	KUNIT_EXPECT_EQ(test, domain->geometry.aperture_end, BIT(47) - 1);
	KUNIT_EXPECT_EQ(test, tbl->it_size << tbl->it_page_shift, BIT(47));
	KUNIT_EXPECT_EQ(test, tbl->it_indirect_levels, 2);
	KUNIT_EXPECT_LE(test, tbl->it_level_size * 8, SZ_64K);
}

static void pages_come_and_go(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = attached_domain(test, &s);

	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(domain, IOVA), 0);
	KUNIT_ASSERT_EQ(test, iommu_map(domain, IOVA, HPA, 4 * PAGE_SIZE, RW, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(domain, IOVA + 3 * PAGE_SIZE + 5),
			HPA + 3 * PAGE_SIZE + 5);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(domain, IOVA + 4 * PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(domain, ~0UL), 0);
	/* A live mapping is never replaced, and what came before it goes again. */
	KUNIT_EXPECT_EQ(test, iommu_map(domain, IOVA - PAGE_SIZE, 0, 2 * PAGE_SIZE, RW, GFP_KERNEL),
			-EADDRINUSE);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(domain, IOVA - PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(domain, IOVA), HPA);
	KUNIT_EXPECT_EQ(test, iommu_unmap(domain, IOVA, 6 * PAGE_SIZE), 4 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(domain, IOVA), 0);
	KUNIT_EXPECT_EQ(test, iommu_unmap(domain, IOVA, PAGE_SIZE), 0);
}

static void what_cannot_be_mapped(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = attached_domain(test, &s);
	const struct iommu_domain_ops *ops = domain->ops;
	struct iommu_table *tbl = s.group->tables[0];
	struct iommu_iotlb_gather gather;
	size_t mapped = 0;

	KUNIT_EXPECT_EQ(test, iommu_map(domain, BIT(47), HPA, PAGE_SIZE, RW, GFP_KERNEL), -ERANGE);
	KUNIT_EXPECT_EQ(test, iommu_map(domain, BIT(47) - PAGE_SIZE, HPA, 2 * PAGE_SIZE, RW,
					GFP_KERNEL), -ERANGE);
	KUNIT_EXPECT_EQ(test, iommu_map(domain, -PAGE_SIZE, HPA, PAGE_SIZE, RW, GFP_KERNEL),
			-ERANGE);
	KUNIT_EXPECT_EQ(test, iommu_map(domain, IOVA, HPA, PAGE_SIZE, RW | IOMMU_MMIO, GFP_KERNEL),
			-EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, iommu_map(domain, IOVA, HPA, PAGE_SIZE, IOMMU_CACHE, GFP_KERNEL),
			-EINVAL);
	KUNIT_EXPECT_EQ(test, ops->map_pages(domain, IOVA, HPA, PAGE_SIZE / 2, 1, RW, GFP_KERNEL,
					     &mapped), -EINVAL);
	KUNIT_EXPECT_EQ(test, mapped, 0);
	iommu_iotlb_gather_init(&gather);
	KUNIT_EXPECT_EQ(test, ops->unmap_pages(domain, BIT(47), PAGE_SIZE, 1, &gather), 0);
	KUNIT_EXPECT_EQ(test, ops->unmap_pages(domain, 0, PAGE_SIZE, SIZE_MAX, &gather), 0);
	no_calls(&s);
	iommu_iotlb_sync(domain, &gather);
	KUNIT_EXPECT_EQ(test, s.kill->calls, 0);
	/* The last page, write-only as far as that goes */
	KUNIT_EXPECT_EQ(test, iommu_map(domain, BIT(47) - PAGE_SIZE, HPA, PAGE_SIZE, IOMMU_WRITE,
					GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, tbl->it_size - 1),
			HPA | TCE_PCI_READ | TCE_PCI_WRITE);
	KUNIT_EXPECT_EQ(test, iommu_map(domain, 0, HPA, PAGE_SIZE, IOMMU_READ, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, 0), HPA | TCE_PCI_READ);
}

static void T3_one_kill_for_a_range(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = attached_domain(test, &s);
	const size_t leaf = s.group->tables[0]->it_level_size * PAGE_SIZE;

	make_leaf(test, domain);
	no_calls(&s);
	KUNIT_ASSERT_EQ(test, iommu_map(domain, IOVA, HPA, 8 * PAGE_SIZE, RW, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, s.kill->calls, 1);
	KUNIT_EXPECT_FALSE(test, kills_all(s.kill));
	KUNIT_EXPECT_EQ(test, s.kill->args[4], IOVA);
	KUNIT_EXPECT_EQ(test, s.kill->args[5], 8);
	KUNIT_EXPECT_EQ(test, iommu_unmap(domain, IOVA, 8 * PAGE_SIZE), 8 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, s.kill->calls, 2);
	KUNIT_EXPECT_FALSE(test, kills_all(s.kill));
	KUNIT_EXPECT_EQ(test, s.kill->args[5], 8);

	/* Nodes that were taken out are forgotten with the PE only. */
	KUNIT_ASSERT_EQ(test, iommu_map(domain, leaf, HPA, 2 * leaf, RW, GFP_KERNEL), 0);
	no_calls(&s);
	KUNIT_EXPECT_EQ(test, iommu_unmap(domain, leaf, 2 * leaf), 2 * leaf);
	KUNIT_EXPECT_EQ(test, s.kill->calls, 1);
	KUNIT_EXPECT_TRUE(test, kills_all(s.kill));
}

/* A sync also frees what others took out before it, and then kills all. */
static void T14_sync_kills_what_others_took_out(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = attached_domain(test, &s);
	const size_t leaf = s.group->tables[0]->it_level_size * PAGE_SIZE;
	struct iommu_iotlb_gather first, other;

	KUNIT_ASSERT_EQ(test, iommu_map(domain, 0, HPA, leaf, RW, GFP_KERNEL), 0);
	KUNIT_ASSERT_EQ(test, iommu_map(domain, IOVA, HPA, PAGE_SIZE, RW, GFP_KERNEL), 0);
	iommu_iotlb_gather_init(&first);
	iommu_iotlb_gather_init(&other);
	no_calls(&s);
	KUNIT_EXPECT_EQ(test, iommu_unmap_fast(domain, 0, leaf, &first), leaf);
	KUNIT_EXPECT_EQ(test, iommu_unmap_fast(domain, IOVA, PAGE_SIZE, &other), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, s.kill->calls, 0);
	iommu_iotlb_sync(domain, &other);
	KUNIT_EXPECT_EQ(test, s.kill->calls, 1);
	KUNIT_EXPECT_TRUE(test, kills_all(s.kill));
	/* The first one does not know, and must not go on before a kill either. */
	iommu_iotlb_sync(domain, &first);
	KUNIT_EXPECT_EQ(test, s.kill->calls, 2);
	KUNIT_EXPECT_TRUE(test, kills_all(s.kill));
}

/* The PHB may have cached that there is no node. */
static void T3_new_nodes_are_shown_by_a_kill_of_all(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = attached_domain(test, &s);

	KUNIT_ASSERT_EQ(test, iommu_map(domain, IOVA, HPA, PAGE_SIZE, RW, GFP_KERNEL), 0);
	KUNIT_EXPECT_TRUE(test, kills_all(s.kill));
	KUNIT_ASSERT_EQ(test, iommu_map(domain, IOVA + PAGE_SIZE, HPA, PAGE_SIZE, RW,
					GFP_KERNEL), 0);
	KUNIT_EXPECT_FALSE(test, kills_all(s.kill));
}

static void T17_kill_reaches_all_that_are_attached(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = attached_domain(test, &s);
	struct iommu_table *tbl = s.group->tables[0];

	/* The same PE once more stands for another one. */
	KUNIT_ASSERT_EQ(test, pnv_pci_table_add_group(NUMA_NO_NODE, tbl, s.group), 0);
	no_calls(&s);
	KUNIT_EXPECT_EQ(test, iommu_map(domain, IOVA, HPA, PAGE_SIZE, RW, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, s.kill->calls, 2);
	domain->ops->flush_iotlb_all(domain);
	KUNIT_EXPECT_EQ(test, s.kill->calls, 4);
	pnv_pci_table_del_group(tbl, s.group);
}

static void C23_addresses_that_a_PHB_claims(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_resv_region *region;
	u64 start = SZ_4G, end = 0, msi = 0;
	LIST_HEAD(list);

	iommu_get_resv_regions(&s.dev->dev, &list);
	list_for_each_entry(region, &list, list) {
		if (region->type == IOMMU_RESV_MSI)
			msi += region->length;
		if (region->start >= SZ_4G)
			continue;
		start = min_t(u64, start, region->start);
		end = max_t(u64, end, region->start + region->length);
	}
	iommu_put_resv_regions(&s.dev->dev, &list);
	KUNIT_EXPECT_EQ(test, start, SZ_2G);
	KUNIT_EXPECT_EQ(test, end, SZ_4G);
	KUNIT_EXPECT_EQ(test, msi, SZ_64K);
	KUNIT_EXPECT_TRUE(test, iommu_group_has_isolated_msi(s.dev->dev.iommu_group));
}

static struct kunit_case domain_cases[] = {
	KUNIT_CASE(I13_host_to_domain_and_back),
	KUNIT_CASE(T16_refused_attach_changes_nothing),
	KUNIT_CASE(T23_domain_in_place_of_a_domain),
	KUNIT_CASE(T22_further_functions_change_nothing),
	KUNIT_CASE(T16_user_without_a_domain_has_nothing),
	KUNIT_CASE(C6_domain_over_windows),
	KUNIT_CASE(C13_page_sizes_must_fit),
	KUNIT_CASE(aperture_is_that_of_a_process),
	KUNIT_CASE(pages_come_and_go),
	KUNIT_CASE(what_cannot_be_mapped),
	KUNIT_CASE(T3_one_kill_for_a_range),
	KUNIT_CASE(T14_sync_kills_what_others_took_out),
	KUNIT_CASE(T3_new_nodes_are_shown_by_a_kill_of_all),
	KUNIT_CASE(T17_kill_reaches_all_that_are_attached),
	KUNIT_CASE(C23_addresses_that_a_PHB_claims),
	{ }
};

static struct kunit_suite domain_suite = {
	.name = "pnv_domain",
	.exit = domain_exit,
	.test_cases = domain_cases,
};

kunit_test_suite(domain_suite);

MODULE_DESCRIPTION("KUnit tests of the paging domains of IODA2 PHBs");
MODULE_LICENSE("GPL");
