/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the suites of a real PHB share: a device to work on and whose it is, tables for its
 * windows, probes that observe and refuse firmware calls, and the check that a case leaves
 * the device as a host's driver needs it.
 *
 * Needs an IOMMU group of PCI functions that no driver uses.
 */
#ifndef _POWERNV_PCI_IODA_WINDOW_KUNIT_H
#define _POWERNV_PCI_IODA_WINDOW_KUNIT_H

#include <kunit/test.h>
#include <linux/iommu.h>
#include <linux/kprobes.h>
#include <linux/kref.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <asm/iommu.h>
#include <asm/opal.h>
#include <asm/tce.h>
#include "../pci.h"

/* The second window is the one that comes and goes. */
#define WINDOW		1
#define PAGE_SHIFT_64K	16
#define WINDOW_SIZE	SZ_1G

/**
 * struct watch - a firmware call
 * @probe: sits on the function that makes the call
 * @refuse: do not make it, let it seem to fail
 * @times: likewise for so many calls from now on
 * @answer: how it fails
 * @calls: how often the function was called
 * @last: which of all watched calls was the last of this function
 * @args: of the last call
 * @meanwhile: what another one does while the next call is under way; once
 * @arg: for @meanwhile
 */
struct watch {
	struct kprobe probe;
	bool refuse;
	unsigned int times;
	unsigned long answer;
	unsigned int calls;
	unsigned int last;
	unsigned long args[6];
	void (*meanwhile)(void *arg);
	void *arg;
};

static unsigned int watched_calls;

static inline int watch_call(struct kprobe *probe, struct pt_regs *regs)
{
	struct watch *watch = container_of(probe, struct watch, probe);
	void (*meanwhile)(void *arg) = watch->meanwhile;

	watch->meanwhile = NULL;
	if (meanwhile)
		meanwhile(watch->arg);
	watch->calls++;
	watch->last = ++watched_calls;
	memcpy(watch->args, &regs->gpr[3], sizeof(watch->args));
	if (!watch->refuse && !watch->times)
		return 0;
	if (watch->times)
		watch->times--;
	regs->gpr[3] = watch->answer;
	regs_set_return_ip(regs, regs->link);
	return 1;
}

/* A probe with this one is never made a jump, which would not ask for our answer. */
static inline void watch_answered(struct kprobe *probe, struct pt_regs *regs, unsigned long flags)
{
}

static inline void watch_end(void *watch)
{
	unregister_kprobe(&((struct watch *)watch)->probe);
}

static inline struct watch *watch(struct kunit *test, const char *function)
{
	struct watch *watch = kunit_kzalloc(test, sizeof(*watch), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, watch);
	watch->answer = OPAL_HARDWARE;
	watch->probe.symbol_name = function;
	watch->probe.pre_handler = watch_call;
	watch->probe.post_handler = watch_answered;
	KUNIT_ASSERT_EQ(test, register_kprobe(&watch->probe), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, watch_end, watch), 0);
	return watch;
}

/* What firmware was last told about a window: where its table is, or 0. */
static inline unsigned long told_table(const struct watch *map)
{
	return map->args[4];
}

static inline void put_device_end(void *dev)
{
	pci_dev_put(dev);
}

static inline struct iommu_table_group *group_of(struct pci_dev *dev)
{
	return iommu_group_get_iommudata(dev->dev.iommu_group);
}

/* A function that no driver uses, with a group; the caller puts it. */
static inline struct pci_dev *find_free_device(void)
{
	struct pci_dev *dev = NULL;

	for_each_pci_dev(dev)
		if (!dev->dev.driver && !pci_is_bridge(dev) && dev->dev.iommu_group)
			break;
	return dev;
}

static inline struct pci_dev *free_device(struct kunit *test)
{
	struct pci_dev *dev = find_free_device();

	KUNIT_ASSERT_NOT_NULL_MSG(test, dev, "no device without a driver");
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, put_device_end, dev), 0);
	return dev;
}

/* Only what the case owns itself: some give back before they end. */
static inline void give_back(void *group)
{
	if (iommu_group_dma_owner_claimed(group))
		iommu_group_release_dma_owner(group);
}

/* As VFIO does it for user space; 0 or an errno. */
static inline int take(struct kunit *test, struct pci_dev *dev)
{
	return iommu_group_claim_dma_owner(dev->dev.iommu_group, test);
}

/* Windows are ours as long as the case runs. */
static inline void take_for_case(struct kunit *test, struct pci_dev *dev)
{
	KUNIT_ASSERT_EQ(test, take(test, dev), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, give_back, dev->dev.iommu_group), 0);
}

static inline struct iommu_table_group *free_group(struct kunit *test)
{
	struct pci_dev *dev = free_device(test);

	take_for_case(test, dev);
	return group_of(dev);
}

/* A table that is in no window yet: all of those that the PHB makes come from here. */
static inline struct iommu_table *make_table(struct kunit *test, struct iommu_table_group *group,
					     int num, u64 size, u32 levels)
{
	const struct iommu_table_shape shape = { IOMMU_TABLE_OWNED, PAGE_SHIFT_64K, levels, size };
	struct iommu_table *tbl = NULL;

	KUNIT_ASSERT_EQ(test, group->ops->create_table(group, num, &shape, &tbl), 0);
	return tbl;
}

static inline struct iommu_table *new_table(struct kunit *test, struct iommu_table_group *group)
{
	return make_table(test, group, WINDOW, WINDOW_SIZE, 1);
}

/* All is as a host's driver needs it. */
static inline void expect_host(struct kunit *test, struct pci_dev *dev)
{
	struct iommu_table *tbl = group_of(dev)->tables[0];

	KUNIT_ASSERT_NOT_NULL(test, tbl);
	KUNIT_EXPECT_PTR_EQ(test, get_iommu_table_base(&dev->dev), tbl);
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 2);
	KUNIT_EXPECT_TRUE(test, list_is_singular(&tbl->it_group_list));
	KUNIT_EXPECT_NULL(test, group_of(dev)->tables[1]);
}

/* The leak check: a case leaves no window of its own, and the host gets its own again. */
static inline void window_exit(struct kunit *test)
{
	struct pci_dev *dev = find_free_device();

	if (!dev)
		return;
	KUNIT_EXPECT_NULL(test, group_of(dev)->tables[WINDOW]);
	give_back(dev->dev.iommu_group);
	KUNIT_EXPECT_NOT_NULL(test, group_of(dev)->tables[0]);
	if (group_of(dev)->tables[0])
		expect_host(test, dev);
	pci_dev_put(dev);
}

#endif /* _POWERNV_PCI_IODA_WINDOW_KUNIT_H */
