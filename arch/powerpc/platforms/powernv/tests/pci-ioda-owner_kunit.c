// SPDX-License-Identifier: GPL-2.0
/*
 * Whose the DMA of a real PHB's PE is: how users and the host take it from each other, its
 * bypass and windows with it, and who has it when the firmware refuses.
 *
 * Needs two PCI functions in the group for the case that removes one.  Firmware calls are
 * observed and refused by kprobes.
 */
#include "pci-ioda-window_kunit.h"

static bool bypass_opens(const struct watch *bypass)
{
	return bypass->args[4];
}

static void expect_user(struct kunit *test, struct pci_dev *dev)
{
	KUNIT_EXPECT_NULL(test, get_iommu_table_base(&dev->dev));
	KUNIT_EXPECT_NULL(test, group_of(dev)->tables[0]);
	KUNIT_EXPECT_NULL(test, group_of(dev)->tables[1]);
}

static void I13_bypass_closes_first_and_opens_last(struct kunit *test)
{
	struct watch *bypass = watch(test, "opal_pci_map_pe_dma_window_real");
	struct watch *map = watch(test, "opal_pci_map_pe_dma_window");
	struct pci_dev *dev = free_device(test);

	expect_host(test, dev);
	take_for_case(test, dev);
	KUNIT_EXPECT_EQ(test, bypass->calls, 1);
	KUNIT_EXPECT_FALSE(test, bypass_opens(bypass));
	KUNIT_EXPECT_EQ(test, map->calls, 1);
	KUNIT_EXPECT_LT(test, bypass->last, map->last);
	expect_user(test, dev);

	give_back(dev->dev.iommu_group);
	KUNIT_EXPECT_EQ(test, map->calls, 2);
	KUNIT_EXPECT_EQ(test, bypass->calls, 2);
	KUNIT_EXPECT_TRUE(test, bypass_opens(bypass));
	KUNIT_EXPECT_GT(test, bypass->last, map->last);
	expect_host(test, dev);
}

static void T12_open_bypass_fails_taking(struct kunit *test)
{
	struct watch *bypass = watch(test, "opal_pci_map_pe_dma_window_real");
	struct watch *map = watch(test, "opal_pci_map_pe_dma_window");
	struct pci_dev *dev = free_device(test);

	bypass->refuse = true;
	KUNIT_EXPECT_EQ(test, take(test, dev), -EIO);
	bypass->refuse = false;
	give_back(dev->dev.iommu_group);
	KUNIT_EXPECT_FALSE(test, bypass_opens(bypass));
	KUNIT_EXPECT_EQ(test, map->calls, 0);
	expect_host(test, dev);
}

/* Whatever failed before, the bypass is not open under a user. */
static void expect_closing(struct kunit *test, struct pci_dev *dev, struct watch *bypass)
{
	KUNIT_EXPECT_NULL(test, group_of(dev)->tables[0]);
	KUNIT_EXPECT_NULL(test, get_iommu_table_base(&dev->dev));
	KUNIT_EXPECT_TRUE(test, bypass_opens(bypass));

	bypass->calls = 0;
	KUNIT_EXPECT_EQ(test, take(test, dev), 0);
	KUNIT_EXPECT_EQ(test, bypass->calls, 1);
	KUNIT_EXPECT_FALSE(test, bypass_opens(bypass));
	expect_user(test, dev);
	give_back(dev->dev.iommu_group);
	expect_host(test, dev);
}

static void T12_host_without_window(struct kunit *test)
{
	struct watch *bypass = watch(test, "opal_pci_map_pe_dma_window_real");
	struct watch *map = watch(test, "opal_pci_map_pe_dma_window");
	struct pci_dev *dev = free_device(test);

	take_for_case(test, dev);
	map->refuse = true;
	give_back(dev->dev.iommu_group);
	map->refuse = false;
	expect_closing(test, dev, bypass);
}

/* The table was put aside with all that is in it: nothing can be missing. */
static void T12_host_gets_its_table_again(struct kunit *test)
{
	struct watch *alloc = watch(test, "pnv_pci_ioda2_table_alloc_pages");
	struct pci_dev *dev = free_device(test);
	struct iommu_table *tbl = group_of(dev)->tables[0];

	take_for_case(test, dev);
	KUNIT_EXPECT_TRUE(test, list_empty(&tbl->it_group_list));
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 1);
	give_back(dev->dev.iommu_group);
	KUNIT_EXPECT_EQ(test, alloc->calls, 0);
	KUNIT_EXPECT_PTR_EQ(test, group_of(dev)->tables[0], tbl);
	expect_host(test, dev);
}

static void T16_kept_window_fails_taking(struct kunit *test)
{
	struct watch *bypass = watch(test, "opal_pci_map_pe_dma_window_real");
	struct watch *map = watch(test, "opal_pci_map_pe_dma_window");
	struct pci_dev *dev = free_device(test);
	struct iommu_table *tbl = group_of(dev)->tables[0];

	map->refuse = true;
	KUNIT_EXPECT_EQ(test, take(test, dev), -EIO);
	map->refuse = false;
	KUNIT_EXPECT_PTR_EQ(test, group_of(dev)->tables[0], tbl);
	KUNIT_EXPECT_EQ(test, bypass->calls, 2);
	KUNIT_EXPECT_TRUE(test, bypass_opens(bypass));
	give_back(dev->dev.iommu_group);
	expect_host(test, dev);
}

/* Its window is there again, and so is the bypass. */
static void T16_failed_kill_fails_taking(struct kunit *test)
{
	struct watch *bypass = watch(test, "opal_pci_map_pe_dma_window_real");
	struct watch *map = watch(test, "opal_pci_map_pe_dma_window");
	struct watch *kill = watch(test, "opal_pci_tce_kill");
	struct pci_dev *dev = free_device(test);
	struct iommu_table *tbl = group_of(dev)->tables[0];

	kill->refuse = true;
	KUNIT_EXPECT_EQ(test, take(test, dev), -EIO);
	kill->refuse = false;
	give_back(dev->dev.iommu_group);
	KUNIT_EXPECT_PTR_EQ(test, group_of(dev)->tables[0], tbl);
	KUNIT_EXPECT_EQ(test, told_table(map), __pa(tbl->it_base));
	KUNIT_EXPECT_TRUE(test, bypass_opens(bypass));
	expect_host(test, dev);
}

/* What each further function of the group does, and one that is plugged. */
static void T16_T22_further_functions_change_nothing(struct kunit *test)
{
	struct watch *bypass = watch(test, "opal_pci_map_pe_dma_window_real");
	struct watch *map = watch(test, "opal_pci_map_pe_dma_window");
	struct pci_dev *dev = free_device(test);
	struct iommu_table_group *group = group_of(dev);
	struct iommu_table *tbl;
	int num;

	take_for_case(test, dev);
	for (num = 0; num < IOMMU_TABLE_GROUP_MAX_TABLES; num++) {
		tbl = make_table(test, group, num, WINDOW_SIZE, 1);
		KUNIT_ASSERT_EQ(test, group->ops->set_window(group, num, tbl), 0);
		map->calls = 0;
		bypass->calls = 0;
		KUNIT_EXPECT_EQ(test, group->ops->take_ownership(group, &dev->dev), 0);
		KUNIT_EXPECT_EQ(test, map->calls + bypass->calls, 0);
		KUNIT_EXPECT_PTR_EQ(test, group->tables[num], tbl);
		KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 2);
		KUNIT_EXPECT_NULL(test, get_iommu_table_base(&dev->dev));
		KUNIT_EXPECT_EQ(test, group->ops->unset_window(group, num), 0);
		KUNIT_EXPECT_EQ(test, iommu_tce_table_put(tbl), 1);
	}
	give_back(dev->dev.iommu_group);
	expect_host(test, dev);

	map->calls = 0;
	bypass->calls = 0;
	group->ops->release_ownership(group, &dev->dev);
	KUNIT_EXPECT_EQ(test, map->calls + bypass->calls, 0);
	expect_host(test, dev);
}

static struct pci_dev *second_function(struct kunit *test, struct pci_dev *dev)
{
	struct pci_dev *second = pci_get_slot(dev->bus, PCI_DEVFN(PCI_SLOT(dev->devfn), 1));

	KUNIT_ASSERT_NOT_NULL_MSG(test, second, "the device has no second function");
	KUNIT_EXPECT_PTR_EQ(test, second->dev.iommu_group, dev->dev.iommu_group);
	return second;
}

static void T22_function_is_replaced_under_its_user(struct kunit *test)
{
	struct watch *bypass = watch(test, "opal_pci_map_pe_dma_window_real");
	struct watch *map = watch(test, "opal_pci_map_pe_dma_window");
	struct pci_dev *dev = free_device(test), *second;
	struct iommu_table_group *group = group_of(dev);
	struct iommu_table *tbl;

	take_for_case(test, dev);
	tbl = make_table(test, group, 0, WINDOW_SIZE, 1);
	KUNIT_ASSERT_EQ(test, group->ops->set_window(group, 0, tbl), 0);
	second = second_function(test, dev);
	map->calls = 0;
	bypass->calls = 0;

	pci_stop_and_remove_bus_device_locked(second);
	pci_dev_put(second);
	pci_lock_rescan_remove();
	pci_rescan_bus(dev->bus);
	pci_unlock_rescan_remove();

	second = second_function(test, dev);
	KUNIT_EXPECT_EQ(test, map->calls + bypass->calls, 0);
	KUNIT_EXPECT_PTR_EQ(test, group->tables[0], tbl);
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 2);
	KUNIT_EXPECT_NULL(test, get_iommu_table_base(&second->dev));

	if (group->tables[0])
		KUNIT_EXPECT_EQ(test, group->ops->unset_window(group, 0), 0);
	KUNIT_EXPECT_EQ(test, iommu_tce_table_put(tbl), 1);
	give_back(dev->dev.iommu_group);
	expect_host(test, dev);
	expect_host(test, second);
	pci_dev_put(second);
}

/* One device of a group is taken to be reset (ATS), while drivers of the host have the others. */
static void T16_all_functions_follow_the_owner(struct kunit *test)
{
	struct watch *map = watch(test, "opal_pci_map_pe_dma_window");
	struct pci_dev *dev = free_device(test), *second;
	struct iommu_table_group *group = group_of(dev);
	struct iommu_table *tbl;

	second = second_function(test, dev);
	expect_host(test, second);
	KUNIT_EXPECT_EQ(test, group->ops->take_ownership(group, &dev->dev), 0);
	expect_user(test, second);
	group->ops->release_ownership(group, &dev->dev);
	expect_host(test, dev);
	expect_host(test, second);

	/* Firmware keeps a window from the first one that gives back, but not from the next. */
	KUNIT_EXPECT_EQ(test, group->ops->take_ownership(group, &second->dev), 0);
	tbl = new_table(test, group);
	KUNIT_ASSERT_EQ(test, group->ops->set_window(group, WINDOW, tbl), 0);
	map->refuse = true;
	group->ops->release_ownership(group, &dev->dev);
	map->refuse = false;
	KUNIT_EXPECT_NULL(test, get_iommu_table_base(&dev->dev));
	KUNIT_EXPECT_NULL(test, get_iommu_table_base(&second->dev));
	group->ops->release_ownership(group, &second->dev);
	expect_host(test, dev);
	expect_host(test, second);
	KUNIT_EXPECT_EQ(test, iommu_tce_table_put(tbl), 1);
	pci_dev_put(second);
}

/* As VFs are, on the bus of their PF. */
static void T16_functions_of_another_PE_do_not_follow(struct kunit *test)
{
	struct pci_dev *dev = free_device(test), *second;
	struct iommu_table_group *group = group_of(dev);
	struct pnv_ioda_pe *pe = container_of(group, struct pnv_ioda_pe, table_group);
	struct iommu_table *base;
	unsigned int *number;

	second = second_function(test, dev);
	base = get_iommu_table_base(&second->dev);
	KUNIT_EXPECT_NOT_NULL(test, base);
	number = &pe->phb->ioda.pe_rmap[pci_dev_id(second)];
	KUNIT_ASSERT_EQ(test, *number, pe->pe_number);
	*number = IODA_INVALID_PE;
	KUNIT_EXPECT_EQ(test, group->ops->take_ownership(group, &dev->dev), 0);
	KUNIT_EXPECT_NULL(test, get_iommu_table_base(&dev->dev));
	KUNIT_EXPECT_PTR_EQ(test, get_iommu_table_base(&second->dev), base);
	*number = pe->pe_number;
	group->ops->release_ownership(group, &dev->dev);
	expect_host(test, second);
	pci_dev_put(second);
}

/* Firmware keeps a window of a user who leaves: nobody gets the PE before it lets go. */
static void T23_kept_windows_reach_nobody(struct kunit *test)
{
	struct watch *bypass = watch(test, "opal_pci_map_pe_dma_window_real");
	struct watch *map = watch(test, "opal_pci_map_pe_dma_window");
	struct pci_dev *dev = free_device(test);
	struct iommu_table_group *group = group_of(dev);
	struct iommu_table *tbl;
	int num;

	for (num = 0; num < IOMMU_TABLE_GROUP_MAX_TABLES; num++) {
		take_for_case(test, dev);
		tbl = make_table(test, group, num, WINDOW_SIZE, 1);
		KUNIT_ASSERT_EQ(test, group->ops->set_window(group, num, tbl), 0);
		map->refuse = true;
		bypass->calls = 0;
		give_back(dev->dev.iommu_group);
		KUNIT_EXPECT_EQ(test, bypass->calls, 0);
		KUNIT_EXPECT_PTR_EQ(test, group->tables[num], tbl);
		KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 2);
		KUNIT_EXPECT_NULL(test, get_iommu_table_base(&dev->dev));

		KUNIT_EXPECT_EQ(test, take(test, dev), -EIO);
		give_back(dev->dev.iommu_group);
		KUNIT_EXPECT_PTR_EQ(test, group->tables[num], tbl);
		KUNIT_EXPECT_FALSE(test, bypass_opens(bypass));
		map->refuse = false;

		KUNIT_EXPECT_EQ(test, take(test, dev), 0);
		expect_user(test, dev);
		if (group->tables[num])
			group->ops->unset_window(group, num);
		KUNIT_EXPECT_EQ(test, iommu_tce_table_put(tbl), 1);
		give_back(dev->dev.iommu_group);
		expect_host(test, dev);
	}
}

/* Leaving without a word, as after a failed removal: the next owner finds nothing. */
static void T23_forgotten_windows_go(struct kunit *test)
{
	struct pci_dev *dev = free_device(test);
	struct iommu_table_group *group = group_of(dev);
	struct iommu_table *tbl;

	take_for_case(test, dev);
	tbl = new_table(test, group);
	KUNIT_ASSERT_EQ(test, group->ops->set_window(group, WINDOW, tbl), 0);
	give_back(dev->dev.iommu_group);
	expect_host(test, dev);
	KUNIT_EXPECT_EQ(test, iommu_tce_table_put(tbl), 1);
}

static struct kunit_case owner_cases[] = {
	KUNIT_CASE(I13_bypass_closes_first_and_opens_last),
	KUNIT_CASE(T12_open_bypass_fails_taking),
	KUNIT_CASE(T12_host_without_window),
	KUNIT_CASE(T12_host_gets_its_table_again),
	KUNIT_CASE(T16_kept_window_fails_taking),
	KUNIT_CASE(T16_failed_kill_fails_taking),
	KUNIT_CASE(T16_T22_further_functions_change_nothing),
	KUNIT_CASE(T16_all_functions_follow_the_owner),
	KUNIT_CASE(T16_functions_of_another_PE_do_not_follow),
	KUNIT_CASE(T22_function_is_replaced_under_its_user),
	KUNIT_CASE(T23_kept_windows_reach_nobody),
	KUNIT_CASE(T23_forgotten_windows_go),
	{ }
};

static struct kunit_suite owner_suite = {
	.name = "pnv_owner",
	.exit = window_exit,
	.test_cases = owner_cases,
};

kunit_test_suite(owner_suite);

MODULE_DESCRIPTION("KUnit tests of who owns the DMA of an IODA2 PHB");
MODULE_LICENSE("GPL");
