// SPDX-License-Identifier: GPL-2.0
/*
 * Kills that a real PHB gets to see, that its firmware refuses or has no time for, and
 * what depends on them.
 *
 * The firmware's call is answered by a kprobe.
 */
#include <linux/rcupdate.h>
#include "pci-ioda-tce_kunit.h"
#include "pci-ioda-window_kunit.h"

/* Bits for what is to be refused, and what it is answered with for how long. */
static unsigned int refuse;
static unsigned int busy;
static s64 busy_answer;

/* Has the window that the case works on. */
static struct iommu_table_group *window_group;

static unsigned int calls[3];
static unsigned int outside_rcu;

static bool in_read_section(void)
{
	return IS_ENABLED(CONFIG_PREEMPT_RCU) ? rcu_preempt_depth() > 0 : rcu_read_lock_held();
}

static int answer(struct kprobe *probe, struct pt_regs *regs)
{
	unsigned long type = regs->gpr[4];

	calls[type]++;
	outside_rcu += !in_read_section();
	if (busy) {
		busy--;
		regs->gpr[3] = busy_answer;
	} else if (refuse & BIT(type)) {
		regs->gpr[3] = OPAL_HARDWARE;
	} else {
		return 0;
	}
	regs_set_return_ip(regs, regs->link);
	return 1;
}

/* There is one so that the probe is not optimized: what the other says must count. */
static void answered(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe kill_probe = {
	.symbol_name = "opal_pci_tce_kill",
	.pre_handler = answer,
	.post_handler = answered,
};

static int answer_fenced(struct kprobe *probe, struct pt_regs *regs)
{
	*(u8 *)regs->gpr[5] = OPAL_EEH_STOPPED_MMIO_DMA_FREEZE;
	*(__be16 *)regs->gpr[6] = cpu_to_be16(OPAL_EEH_PHB_ERROR);
	regs->gpr[3] = OPAL_SUCCESS;
	regs_set_return_ip(regs, regs->link);
	return 1;
}

static struct kprobe fenced_probe = {
	.symbol_name = "opal_pci_eeh_freeze_status",
	.pre_handler = answer_fenced,
	.post_handler = answered,
};

static void probe_end(void *probe)
{
	unregister_kprobe(probe);
}

/* A table of two levels, in the hardware; one reference is the case's. */
static struct iommu_table *window_of(struct kunit *test, u64 size)
{
	struct iommu_table *tbl;

	/* As it was before its last registration. */
	kill_probe.addr = NULL;
	kill_probe.flags = 0;
	KUNIT_ASSERT_EQ(test, register_kprobe(&kill_probe), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, probe_end, &kill_probe), 0);
	window_group = free_group(test);
	tbl = make_table(test, window_group, WINDOW, size, 2);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, table_put, tbl), 0);
	KUNIT_ASSERT_EQ(test, window_group->ops->set_window(window_group, WINDOW, tbl), 0);
	memset(calls, 0, sizeof(calls));
	KUNIT_ASSERT_EQ(test, iommu_tce_kill(tbl, tbl->it_offset, 1), 0);
	if (!calls[OPAL_PCI_TCE_KILL_PAGES])
		kunit_skip(test, "the kernel does the kills of this PHB itself");
	memset(calls, 0, sizeof(calls));
	outside_rcu = 0;
	return tbl;
}

static struct iommu_table *window(struct kunit *test)
{
	return window_of(test, SZ_64G);
}

static void T13_refused_kill_is_no_success(struct kunit *test)
{
	struct iommu_table *tbl = window(test);

	refuse = BIT(OPAL_PCI_TCE_KILL_PAGES) | BIT(OPAL_PCI_TCE_KILL_PE);
	KUNIT_EXPECT_EQ(test, iommu_tce_kill(tbl, tbl->it_offset, 1), -EIO);
	KUNIT_EXPECT_EQ(test, calls[OPAL_PCI_TCE_KILL_PAGES], 1);
	KUNIT_EXPECT_EQ(test, calls[OPAL_PCI_TCE_KILL_PE], 1);
	KUNIT_EXPECT_TRUE(test, tbl->it_broken);
	KUNIT_EXPECT_EQ(test, iommu_tce_kill(tbl, tbl->it_offset, 100), -EIO);
	KUNIT_EXPECT_EQ(test, calls[OPAL_PCI_TCE_KILL_PE], 2);
}

static void T13_all_of_the_PE_goes_where_pages_cannot(struct kunit *test)
{
	struct iommu_table *tbl = window(test);

	refuse = BIT(OPAL_PCI_TCE_KILL_PAGES);
	KUNIT_EXPECT_EQ(test, iommu_tce_kill(tbl, tbl->it_offset, 1), 0);
	KUNIT_EXPECT_EQ(test, calls[OPAL_PCI_TCE_KILL_PAGES], 1);
	KUNIT_EXPECT_EQ(test, calls[OPAL_PCI_TCE_KILL_PE], 1);
	KUNIT_EXPECT_FALSE(test, tbl->it_broken);
}

static void T13_busy_firmware_is_asked_again(struct kunit *test)
{
	struct iommu_table *tbl = window(test);

	busy_answer = OPAL_BUSY;
	busy = 3;
	KUNIT_EXPECT_EQ(test, iommu_tce_kill(tbl, tbl->it_offset, 1), 0);
	KUNIT_EXPECT_EQ(test, calls[OPAL_PCI_TCE_KILL_PAGES], 1);
	KUNIT_EXPECT_EQ(test, calls[OPAL_PCI_TCE_KILL_PE], 3);
	busy_answer = OPAL_BUSY_EVENT;
	busy = 3;
	KUNIT_EXPECT_EQ(test, iommu_tce_kill(tbl, tbl->it_offset, 100), 0);
	KUNIT_EXPECT_EQ(test, calls[OPAL_PCI_TCE_KILL_PAGES], 1);
	KUNIT_EXPECT_EQ(test, calls[OPAL_PCI_TCE_KILL_PE], 7);
	busy = 1;
	KUNIT_EXPECT_EQ(test, iommu_tce_kill(tbl, tbl->it_offset, 1), 0);
	KUNIT_EXPECT_EQ(test, calls[OPAL_PCI_TCE_KILL_PAGES], 2);
	KUNIT_EXPECT_EQ(test, calls[OPAL_PCI_TCE_KILL_PE], 8);
	KUNIT_EXPECT_FALSE(test, tbl->it_broken);
	busy = UINT_MAX;
	KUNIT_EXPECT_EQ(test, iommu_tce_kill(tbl, tbl->it_offset, 1), -EIO);
}

/* Kills of pages do not make the hardware forget where a level was. */
static void T13_all_of_a_small_window_is_the_PE(struct kunit *test)
{
	struct iommu_table *tbl = window_of(test, SZ_2M);

	KUNIT_ASSERT_EQ(test, tbl->it_size, 32);
	KUNIT_EXPECT_EQ(test, iommu_tce_kill(tbl, tbl->it_offset, 31), 0);
	KUNIT_EXPECT_EQ(test, calls[OPAL_PCI_TCE_KILL_PE], 0);
	KUNIT_EXPECT_EQ(test, iommu_tce_kill(tbl, tbl->it_offset, 32), 0);
	KUNIT_EXPECT_EQ(test, calls[OPAL_PCI_TCE_KILL_PE], 1);
}

/* From the request to the firmware and back: pages stay pinned, levels stay. */
static void T13_request_lets_nothing_go_when_firmware_refuses(struct kunit *test)
{
	struct iommu_table *tbl = window(test);
	unsigned long ua = area(test);
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);

	KUNIT_EXPECT_EQ(test, map(tbl, 5, 8, ua), 0);
	KUNIT_EXPECT_EQ(test, census(tbl).levels, 2);
	refuse = BIT(OPAL_PCI_TCE_KILL_PAGES) | BIT(OPAL_PCI_TCE_KILL_PE);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), -EIO);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 9);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), -EBUSY);
	KUNIT_EXPECT_EQ(test, map(tbl, 5, 1, ua), -EIO);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 9);
	refuse = 0;
	mm_iommu_drop(r, 8);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* Its DMA has stopped, and the reset to come makes it forget: nothing is kept for ever. */
static void T13_fenced_PHB_need_not_be_asked(struct kunit *test)
{
	struct iommu_table *tbl = window(test);
	unsigned long ua = area(test);
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);

	KUNIT_EXPECT_EQ(test, map(tbl, 5, 8, ua), 0);
	fenced_probe.addr = NULL;
	fenced_probe.flags = 0;
	KUNIT_ASSERT_EQ(test, register_kprobe(&fenced_probe), 0);
	refuse = BIT(OPAL_PCI_TCE_KILL_PAGES) | BIT(OPAL_PCI_TCE_KILL_PE);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 5, 4), 0);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
	refuse = 0;
	unregister_kprobe(&fenced_probe);
	KUNIT_EXPECT_FALSE(test, tbl->it_broken);
	KUNIT_EXPECT_EQ(test, census(tbl).levels, 1);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* Links of groups are freed by RCU. */
static void T17_groups_are_walked_in_a_read_section(struct kunit *test)
{
	struct iommu_table *tbl = window(test);

	if (!IS_ENABLED(CONFIG_PREEMPT_RCU) && !IS_ENABLED(CONFIG_DEBUG_LOCK_ALLOC))
		kunit_skip(test, "a read section cannot be seen in this kernel");
	KUNIT_EXPECT_EQ(test, iommu_tce_kill(tbl, tbl->it_offset, 1), 0);
	KUNIT_EXPECT_EQ(test, iommu_tce_kill(tbl, tbl->it_offset, 100), 0);
	KUNIT_EXPECT_EQ(test, calls[OPAL_PCI_TCE_KILL_PAGES] + calls[OPAL_PCI_TCE_KILL_PE], 2);
	KUNIT_EXPECT_EQ(test, outside_rcu, 0);
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

static void kill_exit(struct kunit *test)
{
	refuse = 0;
	busy = 0;
	if (window_group && window_group->tables[WINDOW])
		KUNIT_EXPECT_EQ(test, window_group->ops->unset_window(window_group, WINDOW), 0);
	window_group = NULL;
	window_exit(test);
	memory_exit(test);
}

static struct kunit_case kill_cases[] = {
	KUNIT_CASE(T7_kills_by_size),
	KUNIT_CASE(T13_refused_kill_is_no_success),
	KUNIT_CASE(T13_all_of_the_PE_goes_where_pages_cannot),
	KUNIT_CASE(T13_busy_firmware_is_asked_again),
	KUNIT_CASE(T13_all_of_a_small_window_is_the_PE),
	KUNIT_CASE(T13_request_lets_nothing_go_when_firmware_refuses),
	KUNIT_CASE(T13_fenced_PHB_need_not_be_asked),
	KUNIT_CASE(T17_groups_are_walked_in_a_read_section),
	{ }
};

static struct kunit_suite kill_suite = {
	.name = "pnv_kill",
	.init = memory_init,
	.exit = kill_exit,
	.test_cases = kill_cases,
};

kunit_test_suite(kill_suite);

MODULE_DESCRIPTION("KUnit tests of kills of TCEs on an IODA2 PHB");
MODULE_LICENSE("GPL");
