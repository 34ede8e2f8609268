// SPDX-License-Identifier: GPL-2.0
/*
 * Windows of a real PHB: what the firmware is told, and what happens when it refuses.
 *
 * Needs a PCI device in an IOMMU group of its own that no driver uses; the second
 * window of its PE is the one that comes and goes.  Firmware calls are observed and
 * refused by kprobes.
 */

#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/kprobes.h>
#include <linux/kref.h>
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
 * @args: of the last call
 */
struct watch {
	struct kprobe probe;
	bool refuse;
	unsigned int calls;
	unsigned long args[6];
};

static int watch_call(struct kprobe *probe, struct pt_regs *regs)
{
	struct watch *watch = container_of(probe, struct watch, probe);

	watch->calls++;
	memcpy(watch->args, &regs->gpr[3], sizeof(watch->args));
	if (!watch->refuse)
		return 0;
	regs->gpr[3] = OPAL_HARDWARE;
	regs_set_return_ip(regs, regs->link);
	return 1;
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
	KUNIT_ASSERT_EQ(test, register_kprobe(&watch->probe), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, watch_end, watch), 0);
	return watch;
}

static void owner_end(void *group)
{
	struct iommu_table_group *table_group = group;

	table_group->ops->release_ownership(table_group, NULL);
}

/* A group whose windows are ours as long as the case runs. */
static struct iommu_table_group *free_group(struct kunit *test)
{
	struct iommu_table_group *table_group = NULL;
	struct pci_dev *dev = NULL;
	struct iommu_group *group;

	for_each_pci_dev(dev) {
		group = iommu_group_get(&dev->dev);
		if (!group)
			continue;
		if (!dev->dev.driver && !pci_is_bridge(dev))
			table_group = iommu_group_get_iommudata(group);
		iommu_group_put(group);
		if (table_group && table_group->ops)
			break;
		table_group = NULL;
	}
	pci_dev_put(dev);
	KUNIT_ASSERT_NOT_NULL_MSG(test, table_group, "no device without a driver");
	KUNIT_ASSERT_EQ(test, table_group->ops->take_ownership(table_group, NULL), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, owner_end, table_group), 0);
	return table_group;
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

static struct kunit_case window_cases[] = {
	KUNIT_CASE(T9_refused_window_leaves_nothing),
	KUNIT_CASE(T9_refused_removal_keeps_the_table),
	KUNIT_CASE(T7_kills_by_size),
	{ }
};

static struct kunit_suite window_suite = {
	.name = "pnv_window",
	.test_cases = window_cases,
};

kunit_test_suite(window_suite);

MODULE_DESCRIPTION("KUnit tests of the windows of an IODA2 PHB");
MODULE_LICENSE("GPL");
