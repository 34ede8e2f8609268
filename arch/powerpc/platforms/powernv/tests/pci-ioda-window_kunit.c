// SPDX-License-Identifier: GPL-2.0
/*
 * Windows of a real PHB that come and go: what the firmware is told, and what stays when
 * it refuses.
 *
 * Firmware calls are observed and refused by kprobes.
 */
#include <linux/completion.h>
#include <linux/kthread.h>
#include <asm/iommu_tce.h>
#include "pci-ioda-window_kunit.h"

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

static struct kunit_case window_cases[] = {
	KUNIT_CASE(T9_refused_window_leaves_nothing),
	KUNIT_CASE(T9_refused_removal_keeps_the_table),
	KUNIT_CASE(T13_window_whose_kill_fails_can_come_back),
	KUNIT_CASE(T17_groups_come_and_go_at_once),
	KUNIT_CASE(T22_window_over_a_window),
	{ }
};

static struct kunit_suite window_suite = {
	.name = "pnv_window",
	.exit = window_exit,
	.test_cases = window_cases,
};

kunit_test_suite(window_suite);

MODULE_DESCRIPTION("KUnit tests of the windows of an IODA2 PHB");
MODULE_LICENSE("GPL");
