// SPDX-License-Identifier: GPL-2.0
/*
 * Windows of a real PHB: what the firmware is told, what happens when it refuses, and
 * whose they are.
 *
 * Needs an IOMMU group of PCI functions that no driver uses, two for the case that
 * removes one; the second window of its PE is the one that comes and goes.  Firmware
 * calls are observed and refused by kprobes.
 */

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/iommu.h>
#include <linux/kprobes.h>
#include <linux/kref.h>
#include <linux/kthread.h>
#include <linux/pci.h>
#include <linux/sizes.h>

#include <asm/iommu.h>
#include <asm/iommu_tce.h>
#include <asm/opal.h>
#include <asm/tce.h>
#include "../pci.h"

#define WINDOW		1
#define PAGE_SHIFT_64K	16
#define WINDOW_SIZE	SZ_1G

/**
 * struct watch - a firmware call
 * @probe: sits on the function that makes the call
 * @refuse: do not make it, let it seem to fail
 * @calls: how often the function was called
 * @last: which of all watched calls was the last of this function
 * @args: of the last call
 */
struct watch {
	struct kprobe probe;
	bool refuse;
	unsigned int calls;
	unsigned int last;
	unsigned long args[6];
};

static unsigned int watched_calls;

static int watch_call(struct kprobe *probe, struct pt_regs *regs)
{
	struct watch *watch = container_of(probe, struct watch, probe);

	watch->calls++;
	watch->last = ++watched_calls;
	memcpy(watch->args, &regs->gpr[3], sizeof(watch->args));
	if (!watch->refuse)
		return 0;
	regs->gpr[3] = OPAL_HARDWARE;
	regs_set_return_ip(regs, regs->link);
	return 1;
}

/* A probe with this one is never made a jump, which would not ask for our answer. */
static void watch_answered(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}

static void watch_end(void *watch)
{
	unregister_kprobe(&((struct watch *)watch)->probe);
}

static struct watch *watch(struct kunit *test, const char *function)
{
	struct watch *watch = kunit_kzalloc(test, sizeof(*watch), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, watch);
	watch->probe.symbol_name = function;
	watch->probe.pre_handler = watch_call;
	watch->probe.post_handler = watch_answered;
	KUNIT_ASSERT_EQ(test, register_kprobe(&watch->probe), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, watch_end, watch), 0);
	return watch;
}

static void put_device_end(void *dev)
{
	pci_dev_put(dev);
}

/* A function that no driver uses, with a group. */
static struct pci_dev *free_device(struct kunit *test)
{
	struct pci_dev *dev = NULL;

	for_each_pci_dev(dev)
		if (!dev->dev.driver && !pci_is_bridge(dev) && dev->dev.iommu_group)
			break;
	KUNIT_ASSERT_NOT_NULL_MSG(test, dev, "no device without a driver");
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, put_device_end, dev), 0);
	return dev;
}

static struct iommu_table_group *group_of(struct pci_dev *dev)
{
	return iommu_group_get_iommudata(dev->dev.iommu_group);
}

/* Only what the case owns itself: some give back before they end. */
static void give_back(void *group)
{
	if (iommu_group_dma_owner_claimed(group))
		iommu_group_release_dma_owner(group);
}

/* As VFIO does it for user space; 0 or an errno. */
static int take(struct kunit *test, struct pci_dev *dev)
{
	return iommu_group_claim_dma_owner(dev->dev.iommu_group, test);
}

/* Windows are ours as long as the case runs. */
static void take_for_case(struct kunit *test, struct pci_dev *dev)
{
	KUNIT_ASSERT_EQ(test, take(test, dev), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, give_back, dev->dev.iommu_group), 0);
}

static struct iommu_table_group *free_group(struct kunit *test)
{
	struct pci_dev *dev = free_device(test);

	take_for_case(test, dev);
	return group_of(dev);
}

static struct iommu_table *new_table(struct kunit *test, struct iommu_table_group *group)
{
	struct iommu_table *tbl = NULL;

	KUNIT_ASSERT_EQ(test, group->ops->create_table(group, WINDOW, PAGE_SHIFT_64K, WINDOW_SIZE,
						       1, &tbl), 0);
	return tbl;
}

static void T9_refused_window_leaves_nothing(struct kunit *test)
{
	struct watch *map = watch(test, "opal_pci_map_pe_dma_window");
	struct iommu_table_group *group = free_group(test);
	struct iommu_table *tbl = new_table(test, group);

	map->calls = 0;
	map->refuse = true;
	KUNIT_EXPECT_EQ(test, group->ops->set_window(group, WINDOW, tbl), -EIO);
	map->refuse = false;
	KUNIT_EXPECT_EQ(test, map->calls, 1);
	KUNIT_EXPECT_NULL(test, group->tables[WINDOW]);
	KUNIT_EXPECT_TRUE(test, list_empty(&tbl->it_group_list));
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 1);
	KUNIT_EXPECT_EQ(test, iommu_tce_table_put(tbl), 1);
}

/* What firmware was last told about a window: where its table is, or 0. */
static unsigned long told_table(const struct watch *map)
{
	return map->args[4];
}

/* The way to the table may still be cached: it stays, and can be the window again. */
static void T13_window_whose_kill_fails_can_come_back(struct kunit *test)
{
	struct watch *map = watch(test, "opal_pci_map_pe_dma_window");
	struct watch *kill = watch(test, "opal_pci_tce_kill");
	struct iommu_table_group *group = free_group(test);
	struct iommu_table *tbl = new_table(test, group);

	KUNIT_ASSERT_EQ(test, group->ops->set_window(group, WINDOW, tbl), 0);
	kill->refuse = true;
	KUNIT_EXPECT_EQ(test, group->ops->unset_window(group, WINDOW), -EIO);
	kill->refuse = false;
	KUNIT_EXPECT_PTR_EQ(test, group->tables[WINDOW], tbl);
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 2);
	KUNIT_EXPECT_EQ(test, told_table(map), 0);
	KUNIT_EXPECT_FALSE(test, tbl->it_broken);

	KUNIT_EXPECT_EQ(test, group->ops->set_window(group, WINDOW, tbl), 0);
	KUNIT_EXPECT_EQ(test, told_table(map), __pa(tbl->it_base));
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 2);
	KUNIT_EXPECT_TRUE(test, list_is_singular(&tbl->it_group_list));

	KUNIT_EXPECT_EQ(test, group->ops->unset_window(group, WINDOW), 0);
	KUNIT_EXPECT_EQ(test, told_table(map), 0);
	KUNIT_EXPECT_NULL(test, group->tables[WINDOW]);
	KUNIT_EXPECT_EQ(test, iommu_tce_table_put(tbl), 1);
}

/**
 * struct linker - a thread that puts a group to a table and takes it away, again and again
 * @tbl: the table
 * @group: its group
 * @missing: how many threads have not begun yet
 * @done: it is through
 */
struct linker {
	struct iommu_table *tbl;
	struct iommu_table_group group;
	atomic_t *missing;
	struct completion done;
};

#define LINKS	50000

static int linker_run(void *arg)
{
	struct linker *linker = arg;
	int i;

	atomic_dec(linker->missing);
	while (atomic_read(linker->missing))
		cond_resched();
	for (i = 0; i < LINKS; i++) {
		if (pnv_pci_link_table_and_group(NUMA_NO_NODE, 0, linker->tbl, &linker->group))
			break;
		pnv_pci_unlink_table_and_group(linker->tbl, &linker->group);
	}
	complete(&linker->done);
	return 0;
}

/* A window that firmware kept goes under no lock of those who have the table now. */
static void T17_groups_come_and_go_at_once(struct kunit *test)
{
	struct iommu_table_group *group = free_group(test);
	struct iommu_table *tbl = new_table(test, group);
	atomic_t missing = ATOMIC_INIT(2);
	struct linker *linkers;
	int i;

	linkers = kunit_kcalloc(test, 2, sizeof(*linkers), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, linkers);
	for (i = 0; i < 2; i++) {
		linkers[i].tbl = tbl;
		linkers[i].missing = &missing;
		init_completion(&linkers[i].done);
		if (IS_ERR(kthread_run(linker_run, &linkers[i], "linker-%d", i))) {
			atomic_dec(&missing);
			complete(&linkers[i].done);
		}
	}
	for (i = 0; i < 2; i++)
		wait_for_completion(&linkers[i].done);
	KUNIT_EXPECT_TRUE(test, list_empty(&tbl->it_group_list));
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 1);
	if (list_empty(&tbl->it_group_list))
		KUNIT_EXPECT_EQ(test, iommu_tce_table_put(tbl), 1);
}

/* The hardware goes on walking the table: it must stay, and kills must reach the PE. */
static void T9_refused_removal_keeps_the_table(struct kunit *test)
{
	struct watch *map = watch(test, "opal_pci_map_pe_dma_window");
	struct watch *kill = watch(test, "opal_pci_tce_kill");
	struct iommu_table_group *group = free_group(test);
	struct iommu_table *tbl = new_table(test, group);

	KUNIT_ASSERT_EQ(test, group->ops->set_window(group, WINDOW, tbl), 0);
	KUNIT_EXPECT_PTR_EQ(test, group->tables[WINDOW], tbl);
	map->refuse = true;
	KUNIT_EXPECT_EQ(test, group->ops->unset_window(group, WINDOW), -EIO);
	map->refuse = false;
	KUNIT_EXPECT_PTR_EQ(test, group->tables[WINDOW], tbl);
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 2);
	KUNIT_EXPECT_FALSE(test, tbl->it_broken);

	kill->calls = 0;
	iommu_tce_kill(tbl, tbl->it_offset, 1);
	KUNIT_EXPECT_EQ(test, kill->calls, 1);

	KUNIT_EXPECT_EQ(test, group->ops->unset_window(group, WINDOW), 0);
	KUNIT_EXPECT_NULL(test, group->tables[WINDOW]);
	KUNIT_EXPECT_TRUE(test, list_empty(&tbl->it_group_list));
	kill->calls = 0;
	iommu_tce_kill(tbl, tbl->it_offset, 1);
	KUNIT_EXPECT_EQ(test, kill->calls, 0);
	KUNIT_EXPECT_EQ(test, iommu_tce_table_put(tbl), 1);
}

/* Nothing for no page, a firmware call for some, the whole PE for many. */
static void T7_kills_by_size(struct kunit *test)
{
	struct watch *kill = watch(test, "opal_pci_tce_kill");
	struct iommu_table_group *group = free_group(test);
	struct iommu_table *tbl = new_table(test, group);
	static const struct {
		unsigned long pages;
		unsigned int calls;
		unsigned long type;
	} kills[] = {
		{ 0, 0 },
		{ 1, 1, OPAL_PCI_TCE_KILL_PAGES },
		{ 64, 1, OPAL_PCI_TCE_KILL_PAGES },
		{ 65, 1, OPAL_PCI_TCE_KILL_PE },
		{ WINDOW_SIZE >> PAGE_SHIFT_64K, 1, OPAL_PCI_TCE_KILL_PE },
	};

	KUNIT_ASSERT_EQ(test, group->ops->set_window(group, WINDOW, tbl), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(kills); i++) {
		kill->calls = 0;
		iommu_tce_kill(tbl, tbl->it_offset, kills[i].pages);
		KUNIT_EXPECT_EQ(test, kill->calls, kills[i].calls);
		if (!kill->calls)
			continue;
		KUNIT_EXPECT_EQ(test, kill->args[1], kills[i].type);
		if (kills[i].type == OPAL_PCI_TCE_KILL_PAGES) {
			KUNIT_EXPECT_EQ(test, kill->args[3], SZ_64K);
			KUNIT_EXPECT_EQ(test, kill->args[4], tbl->it_offset << PAGE_SHIFT_64K);
			KUNIT_EXPECT_EQ(test, kill->args[5], kills[i].pages);
		}
	}
	/* Whose end is below its start where that is computed before it is looked at. */
	kill->calls = 0;
	tbl->it_ops->tce_kill(tbl, 0, 0);
	KUNIT_EXPECT_EQ(test, kill->calls, 0);

	KUNIT_EXPECT_EQ(test, group->ops->unset_window(group, WINDOW), 0);
	KUNIT_EXPECT_EQ(test, iommu_tce_table_put(tbl), 1);
}

static bool bypass_opens(const struct watch *bypass)
{
	return bypass->args[4];
}

/* All is as a host's driver needs it. */
static void expect_host(struct kunit *test, struct pci_dev *dev)
{
	struct iommu_table *tbl = group_of(dev)->tables[0];

	KUNIT_ASSERT_NOT_NULL(test, tbl);
	KUNIT_EXPECT_PTR_EQ(test, get_iommu_table_base(&dev->dev), tbl);
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 2);
	KUNIT_EXPECT_TRUE(test, list_is_singular(&tbl->it_group_list));
	KUNIT_EXPECT_NULL(test, group_of(dev)->tables[1]);
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

static void T12_host_without_table(struct kunit *test)
{
	struct watch *bypass = watch(test, "opal_pci_map_pe_dma_window_real");
	struct watch *alloc = watch(test, "pnv_pci_ioda2_table_alloc_pages");
	struct pci_dev *dev = free_device(test);

	take_for_case(test, dev);
	alloc->refuse = true;
	give_back(dev->dev.iommu_group);
	alloc->refuse = false;
	expect_closing(test, dev, bypass);
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
	struct iommu_table *tbl = NULL;
	int num;

	take_for_case(test, dev);
	for (num = 0; num < IOMMU_TABLE_GROUP_MAX_TABLES; num++) {
		KUNIT_ASSERT_EQ(test, group->ops->create_table(group, num, PAGE_SHIFT_64K,
							       WINDOW_SIZE, 1, &tbl), 0);
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
	struct iommu_table *tbl = NULL;

	take_for_case(test, dev);
	KUNIT_ASSERT_EQ(test, group->ops->create_table(group, 0, PAGE_SHIFT_64K, WINDOW_SIZE, 1,
						       &tbl), 0);
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
	struct iommu_table *tbl = NULL;

	second = second_function(test, dev);
	expect_host(test, second);
	KUNIT_EXPECT_EQ(test, group->ops->take_ownership(group, &dev->dev), 0);
	expect_user(test, second);
	group->ops->release_ownership(group, &dev->dev);
	expect_host(test, dev);
	expect_host(test, second);

	/* Firmware keeps a window from the first one that gives back, but not from the next. */
	KUNIT_EXPECT_EQ(test, group->ops->take_ownership(group, &second->dev), 0);
	KUNIT_ASSERT_EQ(test, group->ops->create_table(group, WINDOW, PAGE_SHIFT_64K, WINDOW_SIZE,
						       1, &tbl), 0);
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

static void T22_window_over_a_window(struct kunit *test)
{
	struct iommu_table_group *group = free_group(test);
	struct iommu_table *first = new_table(test, group), *other = new_table(test, group);

	KUNIT_ASSERT_EQ(test, group->ops->set_window(group, WINDOW, first), 0);
	KUNIT_EXPECT_EQ(test, group->ops->set_window(group, WINDOW, other), -EBUSY);
	KUNIT_EXPECT_PTR_EQ(test, group->tables[WINDOW], first);
	KUNIT_EXPECT_EQ(test, group->ops->unset_window(group, WINDOW), 0);
	KUNIT_EXPECT_EQ(test, iommu_tce_table_put(first), 1);
	KUNIT_EXPECT_EQ(test, iommu_tce_table_put(other), 1);
}

/* Firmware keeps a window of a user who leaves: nobody gets the PE before it lets go. */
static void T23_kept_windows_reach_nobody(struct kunit *test)
{
	struct watch *bypass = watch(test, "opal_pci_map_pe_dma_window_real");
	struct watch *map = watch(test, "opal_pci_map_pe_dma_window");
	struct pci_dev *dev = free_device(test);
	struct iommu_table_group *group = group_of(dev);
	struct iommu_table *tbl = NULL;
	int num;

	for (num = 0; num < IOMMU_TABLE_GROUP_MAX_TABLES; num++) {
		take_for_case(test, dev);
		KUNIT_ASSERT_EQ(test, group->ops->create_table(group, num, PAGE_SHIFT_64K,
							       WINDOW_SIZE, 1, &tbl), 0);
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

static struct kunit_case window_cases[] = {
	KUNIT_CASE(T9_refused_window_leaves_nothing),
	KUNIT_CASE(T9_refused_removal_keeps_the_table),
	KUNIT_CASE(T13_window_whose_kill_fails_can_come_back),
	KUNIT_CASE(T17_groups_come_and_go_at_once),
	KUNIT_CASE(T7_kills_by_size),
	KUNIT_CASE(I13_bypass_closes_first_and_opens_last),
	KUNIT_CASE(T12_open_bypass_fails_taking),
	KUNIT_CASE(T12_host_without_window),
	KUNIT_CASE(T12_host_without_table),
	KUNIT_CASE(T16_kept_window_fails_taking),
	KUNIT_CASE(T16_failed_kill_fails_taking),
	KUNIT_CASE(T16_T22_further_functions_change_nothing),
	KUNIT_CASE(T16_all_functions_follow_the_owner),
	KUNIT_CASE(T16_functions_of_another_PE_do_not_follow),
	KUNIT_CASE(T22_window_over_a_window),
	KUNIT_CASE(T22_function_is_replaced_under_its_user),
	KUNIT_CASE(T23_kept_windows_reach_nobody),
	KUNIT_CASE(T23_forgotten_windows_go),
	{ }
};

static struct kunit_suite window_suite = {
	.name = "pnv_window",
	.test_cases = window_cases,
};

kunit_test_suite(window_suite);

MODULE_DESCRIPTION("KUnit tests of the windows of an IODA2 PHB");
MODULE_LICENSE("GPL");
