/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the suites of TCE tables share: tables, their levels as the hardware and the
 * shadow have them, memory to map and the check that none stays registered, and a second
 * processor.
 */
#ifndef _POWERNV_PCI_IODA_TCE_KUNIT_H
#define _POWERNV_PCI_IODA_TCE_KUNIT_H

#include <kunit/test.h>
#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <asm/iommu.h>
#include <asm/iommu_tce.h>
#include <asm/mmu_context_iommu.h>
#include <asm/tce.h>
#include "../pci.h"

#define BUS_OFFSET	BIT_ULL(59)
#define TCE_RW		(TCE_PCI_READ | TCE_PCI_WRITE)

/* The operations under test, for a struct iommu_table_ops. */
#define TCE_TABLE_OPS				\
	.prealloc = pnv_tce_prealloc,		\
	.release = pnv_tce_release,		\
	.exchange = pnv_tce_exchange,		\
	.exchange_one = pnv_tce_exchange_one,	\
	.take_out = pnv_tce_take_out,		\
	.free_loose = pnv_tce_free_loose,	\
	.strand_loose = pnv_tce_strand_loose,	\
	.close = pnv_tce_close,			\
	.open = pnv_tce_open,			\
	.free = pnv_pci_ioda2_table_free_pages

/* What a case asks for when it makes a table. */
struct shape {
	u32 page_shift;
	u32 window_shift;
	u32 levels;
};

static inline void table_put(void *tbl)
{
	iommu_tce_table_put(tbl);
}

/* All tables of the suites are set up here. */
static inline int set_up_table(struct iommu_table *tbl, u64 bus_offset,
			       const struct iommu_table_shape *shape)
{
	return pnv_pci_ioda2_table_alloc_pages(NUMA_NO_NODE, bus_offset, shape, tbl);
}

static inline int try_table(struct iommu_table *tbl, u32 page_shift, u64 size, u32 levels)
{
	const struct iommu_table_shape shape = { IOMMU_TABLE_OWNED, page_shift, levels, size };

	return set_up_table(tbl, BUS_OFFSET, &shape);
}

/* A table that goes away with the case. */
static inline struct iommu_table *shape_table(struct kunit *test, struct iommu_table_ops *ops,
					      const struct iommu_table_shape *shape)
{
	struct iommu_table *tbl = pnv_pci_table_alloc(NUMA_NO_NODE);

	KUNIT_ASSERT_NOT_NULL(test, tbl);
	tbl->it_ops = ops;
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, table_put, tbl), 0);
	KUNIT_ASSERT_EQ(test, set_up_table(tbl, BUS_OFFSET, shape), 0);
	return tbl;
}

/* Such a table for user space. */
static inline struct iommu_table *ops_table(struct kunit *test, struct iommu_table_ops *ops,
					    u32 page_shift, u64 size, u32 levels)
{
	const struct iommu_table_shape shape = { IOMMU_TABLE_OWNED, page_shift, levels, size };

	return shape_table(test, ops, &shape);
}

/* ---- levels, found by following pointers ---- */

static inline u64 level_word(const void *level, unsigned long slot)
{
	return be64_to_cpu(((const __be64 *)level)[slot]);
}

static inline u64 level_shadow(const struct iommu_table *tbl, const void *level,
			       unsigned long slot)
{
	return ((const u64 *)level)[tbl->it_level_size + slot];
}

static inline void *level_below(const void *level, unsigned long slot)
{
	u64 word = level_word(level, slot);

	return word ? __va(word & ~TCE_RW) : NULL;
}

/* The leaf that has entry @index, or NULL. */
static inline void *leaf_of(const struct iommu_table *tbl, unsigned long index)
{
	unsigned int bits = ilog2(tbl->it_level_size), height = tbl->it_indirect_levels;
	void *level = (void *)tbl->it_base;

	for (; level && height; height--)
		level = level_below(level, (index >> (height * bits)) & (tbl->it_level_size - 1));
	return level;
}

static inline u64 owner_of(const struct iommu_table *tbl, unsigned long index)
{
	void *leaf = leaf_of(tbl, index);

	if (tbl->it_userspace)
		return ((const u64 __force *)tbl->it_userspace)[index];
	if (!tbl->it_indirect_levels)
		return 0;
	return leaf ? level_shadow(tbl, leaf, index & (tbl->it_level_size - 1)) : 0;
}

/**
 * struct census - what there is in a table
 * @levels: levels of all heights, the first one included
 * @leaves: those that hold TCEs
 * @tces: valid TCEs
 * @owned: entries with an owner (tables of several levels only)
 * @wrong: pointers that the hardware would not follow, counts of TCEs that are not right
 */
struct census {
	unsigned long levels;
	unsigned long leaves;
	unsigned long tces;
	unsigned long owned;
	unsigned long wrong;
};

static inline unsigned long census_level(const struct iommu_table *tbl, const void *level,
					 unsigned int height, bool shadow, struct census *c)
{
	unsigned long slot, bytes = tbl->it_level_size * 8, tces = 0, below;

	c->levels++;
	c->leaves += !height;
	for (slot = 0; slot < tbl->it_level_size; slot++) {
		if (!height)
			c->owned += shadow && level_shadow(tbl, level, slot);
		if (!level_word(level, slot))
			continue;
		if (!height) {
			tces++;
			continue;
		}
		c->wrong += (level_word(level, slot) & (bytes - 1)) != TCE_RW;
		below = census_level(tbl, level_below(level, slot), height - 1, shadow, c);
		if (height == 1)
			c->wrong += shadow && below != level_shadow(tbl, level, slot);
		tces += below;
	}
	return tces;
}

static inline struct census census_of(const struct iommu_table *tbl, bool user)
{
	struct census c = { };

	c.tces = census_level(tbl, (void *)tbl->it_base, tbl->it_indirect_levels,
			      user && tbl->it_indirect_levels, &c);
	return c;
}

static inline struct census census(const struct iommu_table *tbl)
{
	return census_of(tbl, true);
}

/* ---- changes without a request ---- */

/* How many calls of the exchange operation there were. */
struct change_stats {
	unsigned long calls;
	unsigned long old;
};

/* Entries from @index on to memory that is contiguous and owned by its own address. */
static inline struct change_stats change_all(struct kunit *test, struct iommu_table *tbl,
					     unsigned long index, unsigned long n, u64 hpa,
					     unsigned long perm)
{
	struct iommu_tce_change c = {
		.entry = tbl->it_offset + index, .hpas = &hpa, .hpa_shift = 40,
	};
	const unsigned long first = c.entry, end = first + n;
	unsigned long before;
	struct change_stats stats = { };
	unsigned int i;

	for (before = c.entry; before < end; before = c.entry) {
		c.left = end - before;
		c.perm = perm;
		c.hpa_offset = (before - first) << tbl->it_page_shift;
		c.owner = hpa + c.hpa_offset;
		KUNIT_ASSERT_EQ(test, tbl->it_ops->exchange(tbl, &c), 0);
		KUNIT_ASSERT_GT(test, c.entry, before);
		KUNIT_ASSERT_EQ(test, c.left, end - c.entry);
		for (i = 0; i < c.nr_runs; i++)
			stats.old += c.runs[i].n;
		stats.calls++;
	}
	return stats;
}

/* The same.  Return: how many valid TCEs there were before. */
static inline unsigned long change(struct kunit *test, struct iommu_table *tbl,
				   unsigned long index, unsigned long n, u64 hpa,
				   unsigned long perm)
{
	return change_all(test, tbl, index, n, hpa, perm).old;
}

/* The same where the levels may be missing. */
static inline void fill(struct kunit *test, struct iommu_table *tbl, unsigned long index,
			unsigned long n, u64 hpa)
{
	KUNIT_ASSERT_EQ(test, tbl->it_ops->prealloc(tbl, tbl->it_offset + index, n, 0), 0);
	change(test, tbl, index, n, hpa, TCE_RW);
	tbl->it_ops->release(tbl);
}

/* ---- requests on registered memory ---- */

#define AREA_PAGES	32UL

static inline unsigned long area(struct kunit *test)
{
	unsigned long ua = kunit_vm_mmap(test, NULL, 0, AREA_PAGES * PAGE_SIZE,
					 PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, 0);

	KUNIT_ASSERT_NE(test, ua, 0);
	return ua;
}

/* What a case began with. */
struct memory_test {
	struct mm_struct *mm;
	unsigned long locked_vm;
};

static inline int memory_init(struct kunit *test)
{
	struct memory_test *mt = kunit_kzalloc(test, sizeof(*mt), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, mt);
	/* Gives the case an mm.  Its thread takes it along; the leak check runs in another one. */
	area(test);
	mmgrab(current->mm);
	mt->mm = current->mm;
	mt->locked_vm = mt->mm->locked_vm;
	test->priv = mt;
	return 0;
}

/* The leak check: every case ends with no memory registered, so nothing pinned and charged. */
static inline void memory_exit(struct kunit *test)
{
	struct memory_test *mt = test->priv;

	if (!mt)
		return;
	KUNIT_EXPECT_EQ(test, mt->mm->locked_vm, mt->locked_vm);
	mmdrop(mt->mm);
}

static inline struct mm_iommu_region *region(struct kunit *test, unsigned long ua,
					     unsigned long pages)
{
	struct mm_iommu_region *r = NULL;

	KUNIT_ASSERT_EQ(test, mm_iommu_register(current->mm, ua, pages * PAGE_SIZE, &r), 0);
	return r;
}

static inline int map_for(struct mm_struct *mm, struct iommu_table *tbl, unsigned long index,
			  unsigned long n, unsigned long ua)
{
	struct iommu_tce_request req = {
		.mm = mm, .entry = tbl->it_offset + index, .npages = n, .ua = ua, .perm = TCE_RW,
	};

	return iommu_tce_map(tbl, &req);
}

static inline int unmap_for(struct mm_struct *mm, struct iommu_table *tbl, unsigned long index,
			    unsigned long n)
{
	struct iommu_tce_request req = {
		.mm = mm, .entry = tbl->it_offset + index, .npages = n,
	};

	return iommu_tce_unmap(tbl, &req);
}

static inline int map(struct iommu_table *tbl, unsigned long index, unsigned long n,
		      unsigned long ua)
{
	return map_for(current->mm, tbl, index, n, ua);
}

static inline int unmap(struct iommu_table *tbl, unsigned long index, unsigned long n)
{
	return unmap_for(current->mm, tbl, index, n);
}

/* ---- a second processor ---- */

/*
 * Keep this thread where it is and run @fn on another processor until kthread_stop().
 * No assertion may end the case in between.
 */
static inline struct task_struct *run_elsewhere(struct kunit *test, int (*fn)(void *), void *arg)
{
	unsigned int here = cpumask_first(cpu_online_mask);
	unsigned int there = cpumask_next(here, cpu_online_mask);
	struct task_struct *task;

	if (there >= nr_cpu_ids)
		kunit_skip(test, "needs two processors");
	KUNIT_ASSERT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of(here)), 0);
	task = kthread_create_on_cpu(fn, arg, there, "tce-test/%u");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wake_up_process(task);
	return task;
}

#endif /* _POWERNV_PCI_IODA_TCE_KUNIT_H */
