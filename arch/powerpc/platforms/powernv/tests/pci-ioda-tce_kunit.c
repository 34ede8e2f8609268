// SPDX-License-Identifier: GPL-2.0
/*
 * TCE tables against their invariants: levels on demand, entries and owners,
 * and requests that join them with regions.
 *
 * Tables are in no window here, so no hardware walks them. The names of cases
 * carry the defect or invariant they stand for.
 */
#include <kunit/test.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/prandom.h>
#include <linux/sched/mm.h>
#include <asm/iommu.h>
#include <asm/iommu_tce.h>
#include <asm/mmu_context_iommu.h>
#include <asm/tce.h>
#include "../pci.h"
#include "../pci-ioda-tce.h"

#define BUS_OFFSET	BIT_ULL(59)
#define TCE_RW		(TCE_PCI_READ | TCE_PCI_WRITE)

/* Kills, and what was still counted when they came. */
static unsigned long kills;
static struct mm_iommu_region *kill_watch;
static long kill_mapped;

static void count_kill(struct iommu_table *tbl, unsigned long index, unsigned long npages)
{
	kills++;
	if (kill_watch)
		kill_mapped = atomic_long_read(&kill_watch->mapped);
}

static struct iommu_table_ops test_ops = {
	.tce_kill = count_kill,
	.prealloc = pnv_tce_prealloc,
	.release = pnv_tce_release,
	.exchange = pnv_tce_exchange,
	.free_loose = pnv_tce_free_loose,
	.close = pnv_tce_close,
	.free = pnv_pci_ioda2_table_free_pages,
};

static void table_put(void *tbl)
{
	iommu_tce_table_put(tbl);
}

static int try_table(struct iommu_table *tbl, u32 page_shift, u64 size, u32 levels)
{
	return pnv_pci_ioda2_table_alloc_pages(NUMA_NO_NODE, BUS_OFFSET, page_shift, size, levels,
					       true, tbl);
}

/* A table that goes away with the case. */
static struct iommu_table *table(struct kunit *test, u32 page_shift, u64 size, u32 levels)
{
	struct iommu_table *tbl = pnv_pci_table_alloc(NUMA_NO_NODE);

	KUNIT_ASSERT_NOT_NULL(test, tbl);
	tbl->it_ops = &test_ops;
	KUNIT_ASSERT_EQ(test, try_table(tbl, page_shift, size, levels), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, table_put, tbl), 0);
	kills = 0;
	kill_watch = NULL;
	return tbl;
}

/* One change of @n entries from @index on; the old owners are counted, not kept. */
static unsigned long change(struct kunit *test, struct iommu_table *tbl, unsigned long index,
			    unsigned long n, u64 hpa, unsigned long perm)
{
	u64 hpas[1] = { hpa };
	struct iommu_tce_change c = {
		.entry = tbl->it_offset + index, .left = n, .perm = perm,
		.hpas = hpas, .hpa_shift = 40,
	};
	unsigned long end = c.entry + n, old = 0, done;
	unsigned int i;

	while (c.entry < end) {
		done = c.entry - tbl->it_offset - index;
		c.left = end - c.entry;
		c.perm = perm;
		c.hpa_offset = done << tbl->it_page_shift;
		c.owner = hpa + c.hpa_offset;
		KUNIT_ASSERT_EQ(test, tbl->it_ops->exchange(tbl, &c), 0);
		for (i = 0; i < c.nr_runs; i++)
			old += c.runs[i].n;
	}
	return old;
}

static void only_the_first_level_exists_at_first(struct kunit *test)
{
	struct iommu_table *tbl = table(test, 16, 1ULL << 40, 3);

	KUNIT_EXPECT_EQ(test, tbl->it_size, 1UL << 24);
	KUNIT_EXPECT_EQ(test, tbl->it_indirect_levels, 2);
	KUNIT_EXPECT_EQ(test, tbl->it_offset, BUS_OFFSET >> 16);
	KUNIT_EXPECT_EQ(test, *(u64 *)tbl->it_base, 0);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, tbl->it_offset + 12345), 0);
	KUNIT_EXPECT_EQ(test, change(test, tbl, 0, tbl->it_size, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, *(u64 *)tbl->it_base, 0);
}

static void T8_impossible_tables_are_refused(struct kunit *test)
{
	struct iommu_table tbl = { };

	KUNIT_EXPECT_EQ(test, try_table(&tbl, 16, 0, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, try_table(&tbl, 16, 1 << 20, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, try_table(&tbl, 16, 1 << 20, 6), -EINVAL);
	KUNIT_EXPECT_EQ(test, try_table(&tbl, 12, 1ULL << 48, 1), -ENOMEM);
	KUNIT_EXPECT_NULL(test, tbl.it_tree);
	KUNIT_EXPECT_EQ(test, pnv_pci_ioda2_get_table_size(64, 1ULL << 40, 1), 0);
	KUNIT_EXPECT_EQ(test, pnv_pci_ioda2_get_table_size(16, 1ULL << 40, 0), 0);
}

/* What the hardware reads: big-endian, the address, a write permission implies reading. */
static void entries_have_the_format_of_the_hardware(struct kunit *test)
{
	struct iommu_table *tbl = table(test, 16, 1 << 30, 1);
	__be64 *tces = (__be64 *)tbl->it_base;

	change(test, tbl, 5, 2, 0x120000, TCE_PCI_WRITE);
	KUNIT_EXPECT_EQ(test, be64_to_cpu(tces[5]), 0x120000 | TCE_RW);
	KUNIT_EXPECT_EQ(test, be64_to_cpu(tces[6]), 0x130000 | TCE_RW);
	KUNIT_EXPECT_EQ(test, be64_to_cpu(tces[7]), 0);
	change(test, tbl, 6, 1, 0x470000, TCE_PCI_READ);
	KUNIT_EXPECT_EQ(test, be64_to_cpu(tces[6]), 0x470000 | TCE_PCI_READ);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, tbl->it_offset + 6), 0x470000 | TCE_PCI_READ);
	KUNIT_EXPECT_EQ(test, change(test, tbl, 0, tbl->it_size, 0, 0), 2);
	KUNIT_EXPECT_EQ(test, be64_to_cpu(tces[5]), 0);
}

/* Clearing from an unaligned start over missing levels reaches every entry. */
static void T6_clearing_skips_nothing(struct kunit *test)
{
	struct iommu_table *tbl = table(test, 16, 1ULL << 40, 3);
	static const unsigned long at[] = { 0, 1, 255, 256, 65535, 65536, 1 << 20, (1 << 24) - 1 };
	unsigned int i, n = 0;

	for (i = 0; i < ARRAY_SIZE(at); i++) {
		KUNIT_ASSERT_EQ(test, pnv_tce_prealloc(tbl, tbl->it_offset + at[i], 1), 0);
		change(test, tbl, at[i], 1, (u64)i << 20, TCE_RW);
	}
	KUNIT_EXPECT_EQ(test, change(test, tbl, 3, 250, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, change(test, tbl, 3, 253, 0, 0), 1);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		n += !!pnv_tce_get(tbl, tbl->it_offset + at[i]);
	KUNIT_EXPECT_EQ(test, n, ARRAY_SIZE(at) - 1);
	KUNIT_EXPECT_EQ(test, change(test, tbl, 1, tbl->it_size - 1, 0, 0), n - 1);
	KUNIT_EXPECT_NE(test, pnv_tce_get(tbl, tbl->it_offset), 0);
}

/* The DMA API's operations on a table without a user view. */
static void entries_of_the_DMA_API(struct kunit *test)
{
	struct iommu_table *tbl = pnv_pci_table_alloc(NUMA_NO_NODE);
	unsigned long page = get_zeroed_page(GFP_KERNEL), i;

	KUNIT_ASSERT_NOT_NULL(test, tbl);
	tbl->it_ops = &test_ops;
	KUNIT_ASSERT_EQ(test, pnv_pci_ioda2_table_alloc_pages(NUMA_NO_NODE, 0, 12, 1ULL << 32, 2,
							      false, tbl), 0);
	KUNIT_EXPECT_EQ(test, pnv_tce_build(tbl, 1020, 16, page, DMA_FROM_DEVICE, 0), 0);
	for (i = 0; i < 16; i++)
		KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, 1020 + i),
				(__pa(page) + i * SZ_4K) | TCE_RW);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, 1019), 0);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, 1036), 0);
	pnv_tce_free(tbl, 1000, 25);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, 1024), 0);
	KUNIT_EXPECT_NE(test, pnv_tce_get(tbl, 1025), 0);
	pnv_tce_free(tbl, 0, tbl->it_size);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, 1035), 0);
	free_page(page);
	iommu_tce_table_put(tbl);
}

static void K5_closed_table_takes_nothing_new(struct kunit *test)
{
	struct iommu_table *tbl = table(test, 16, 1 << 30, 2);
	u64 hpas[1] = { 0 };
	struct iommu_tce_change c = {
		.entry = tbl->it_offset, .left = 1, .perm = TCE_RW, .hpas = hpas, .hpa_shift = 40,
	};

	KUNIT_ASSERT_EQ(test, pnv_tce_prealloc(tbl, tbl->it_offset, 8), 0);
	change(test, tbl, 0, 4, 0x10000, TCE_RW);
	pnv_tce_close(tbl);
	KUNIT_EXPECT_EQ(test, tbl->it_ops->exchange(tbl, &c), -ENODEV);
	KUNIT_EXPECT_EQ(test, c.left, 1);
	KUNIT_EXPECT_EQ(test, change(test, tbl, 0, tbl->it_size, 0, 0), 4);
}

/* ---- random changes against a flat array ---- */

#define FLAT	4096
#define STEPS	12000

static void random_changes_agree_with_a_flat_model(struct kunit *test)
{
	/* 2^12 entries in three levels of 2^9 */
	struct iommu_table *tbl = table(test, 16, 1ULL << 28, 3);
	u64 *flat = kunit_kcalloc(test, FLAT, sizeof(*flat), GFP_KERNEL), hpa;
	unsigned long index, n, i, old, wrong = 0, step;
	struct rnd_state rnd;
	bool set;

	KUNIT_ASSERT_NOT_NULL(test, flat);
	KUNIT_ASSERT_EQ(test, tbl->it_size, FLAT);
	prandom_seed_state(&rnd, 2018);
	for (step = 0; step < STEPS; step++) {
		index = prandom_u32_state(&rnd) % FLAT;
		n = 1 + prandom_u32_state(&rnd) % min(1500UL, FLAT - index);
		hpa = (u64)(prandom_u32_state(&rnd) & 0xffff) << 16;
		set = prandom_u32_state(&rnd) & 1;
		if (set)
			KUNIT_ASSERT_EQ(test, pnv_tce_prealloc(tbl, tbl->it_offset + index, n), 0);
		for (i = 0, old = 0; i < n; i++) {
			old += !!flat[index + i];
			flat[index + i] = set ? (hpa + (i << 16)) | TCE_RW : 0;
		}
		KUNIT_ASSERT_EQ(test, change(test, tbl, index, n, hpa, set ? TCE_RW : 0), old);
		i = prandom_u32_state(&rnd) % FLAT;
		wrong += pnv_tce_get(tbl, tbl->it_offset + i) != flat[i];
		cond_resched();
	}
	for (i = 0; i < FLAT; i++)
		wrong += pnv_tce_get(tbl, tbl->it_offset + i) != flat[i];
	KUNIT_EXPECT_EQ(test, wrong, 0);
}

/* ---- requests on registered memory ---- */

#define AREA_PAGES	32UL

static unsigned long area(struct kunit *test)
{
	unsigned long ua = kunit_vm_mmap(test, NULL, 0, AREA_PAGES * PAGE_SIZE,
					 PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, 0);

	KUNIT_ASSERT_NE(test, ua, 0);
	return ua;
}

static struct mm_iommu_region *region(struct kunit *test, unsigned long ua, unsigned long pages)
{
	struct mm_iommu_region *r = NULL;

	KUNIT_ASSERT_EQ(test, mm_iommu_register(current->mm, ua, pages * PAGE_SIZE, &r), 0);
	return r;
}

static int map(struct iommu_table *tbl, unsigned long index, unsigned long n, unsigned long ua)
{
	struct iommu_tce_request req = {
		.mm = current->mm, .entry = tbl->it_offset + index, .npages = n, .ua = ua,
		.perm = TCE_RW,
	};

	return iommu_tce_map(tbl, &req);
}

static int unmap(struct iommu_table *tbl, unsigned long index, unsigned long n)
{
	struct iommu_tce_request req = {
		.mm = current->mm, .entry = tbl->it_offset + index, .npages = n,
	};

	return iommu_tce_unmap(tbl, &req);
}

static void one_kill_per_request_and_counts(struct kunit *test)
{
	struct iommu_table *tbl = table(test, PAGE_SHIFT, 1ULL << 40, 2);
	unsigned long ua = area(test);
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);

	KUNIT_EXPECT_EQ(test, map(tbl, 100, AREA_PAGES, ua), 0);
	KUNIT_EXPECT_EQ(test, kills, 1);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1 + AREA_PAGES);
	KUNIT_EXPECT_TRUE(test, r->written);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
	KUNIT_EXPECT_EQ(test, kills, 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
	/* Nothing there: nothing to kill */
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
	KUNIT_EXPECT_EQ(test, kills, 2);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

static void T3_counts_drop_after_the_kill(struct kunit *test)
{
	struct iommu_table *tbl = table(test, PAGE_SHIFT, 1ULL << 40, 2);
	unsigned long ua = area(test);
	struct mm_iommu_region *old = region(test, ua, 8);
	struct mm_iommu_region *new = region(test, ua + 8 * PAGE_SIZE, 8);

	KUNIT_EXPECT_EQ(test, map(tbl, 0, 8, ua), 0);
	kill_watch = old;
	KUNIT_EXPECT_EQ(test, map(tbl, 0, 8, ua + 8 * PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, kill_mapped, 9);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&old->mapped), 1);
	kill_watch = new;
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, 8), 0);
	KUNIT_EXPECT_EQ(test, kill_mapped, 9);
	kill_watch = NULL;
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, old), 0);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, new), 0);
}

static void I4_failed_map_changes_nothing(struct kunit *test)
{
	struct iommu_table *tbl = table(test, PAGE_SHIFT, 1ULL << 40, 2);
	unsigned long ua = area(test), tce;
	struct mm_iommu_region *r = region(test, ua, 16);

	KUNIT_EXPECT_EQ(test, map(tbl, 0, 4, ua), 0);
	tce = pnv_tce_get(tbl, tbl->it_offset);
	kills = 0;
	/* pages 12 to 15 are registered, 16 is not */
	KUNIT_EXPECT_EQ(test, map(tbl, 0, 5, ua + 12 * PAGE_SIZE), -EINVAL);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, tbl->it_offset), tce);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 5);
	KUNIT_EXPECT_EQ(test, kills, 0);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, 4), 0);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* More regions than a batch has room for, replaced by one request. */
static void I2_counts_of_many_regions(struct kunit *test)
{
	struct iommu_table *tbl = table(test, PAGE_SHIFT, 1ULL << 40, 2);
	struct mm_iommu_region *r[AREA_PAGES];
	unsigned long ua = area(test), i;

	for (i = 0; i < AREA_PAGES; i++)
		r[i] = region(test, ua + i * PAGE_SIZE, 1);
	for (i = 0; i < AREA_PAGES; i++)
		KUNIT_ASSERT_EQ(test, map(tbl, i, 1, ua + i * 13 % AREA_PAGES * PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, map(tbl, 0, AREA_PAGES, ua), 0);
	for (i = 0; i < AREA_PAGES; i++)
		KUNIT_EXPECT_EQ(test, atomic_long_read(&r[i]->mapped), 2);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, AREA_PAGES), 0);
	for (i = 0; i < AREA_PAGES; i++)
		KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r[i]), 0);
}

static void closing_empties_the_table(struct kunit *test)
{
	struct iommu_table *tbl = table(test, PAGE_SHIFT, 1ULL << 40, 3);
	unsigned long ua = area(test);
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);

	KUNIT_EXPECT_EQ(test, map(tbl, 0, AREA_PAGES, ua), 0);
	KUNIT_EXPECT_EQ(test, map(tbl, tbl->it_size - AREA_PAGES, AREA_PAGES, ua), 0);
	iommu_tce_close(tbl, current->mm);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
	KUNIT_EXPECT_EQ(test, map(tbl, 0, 1, ua), -ENODEV);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* ---- two CPUs on one leaf ---- */

struct mapper {
	struct iommu_table *tbl;
	struct mm_struct *mm;
	unsigned long ua;
	int ret;
};

static int mapper_thread(void *arg)
{
	struct mapper *m = arg;
	struct iommu_tce_request req = {
		.mm = m->mm, .entry = m->tbl->it_offset, .npages = 8, .ua = m->ua, .perm = TCE_RW,
	};

	while (!kthread_should_stop()) {
		m->ret = m->ret ?: iommu_tce_map(m->tbl, &req);
		cond_resched();
	}
	return 0;
}

static void T2_two_cpus_on_the_same_entries(struct kunit *test)
{
	struct iommu_table *tbl = table(test, PAGE_SHIFT, 1ULL << 40, 2);
	unsigned long ua = area(test), i;
	struct mm_iommu_region *a = region(test, ua, 8), *b = region(test, ua + 8 * PAGE_SIZE, 8);
	struct mapper m = { .tbl = tbl, .mm = current->mm, .ua = ua };
	struct task_struct *task = kthread_run(mapper_thread, &m, "tce-mapper");

	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	for (i = 0; i < 5000; i++) {
		KUNIT_ASSERT_EQ(test, map(tbl, 0, 8, ua + 8 * PAGE_SIZE), 0);
		if (i % 3 == 0)
			KUNIT_ASSERT_EQ(test, unmap(tbl, 0, 8), 0);
		cond_resched();
	}
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, m.ret, 0);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, 8), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&a->mapped), 1);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&b->mapped), 1);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, a), 0);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, b), 0);
}

static struct kunit_case tce_test_cases[] = {
	KUNIT_CASE(only_the_first_level_exists_at_first),
	KUNIT_CASE(T8_impossible_tables_are_refused),
	KUNIT_CASE(entries_have_the_format_of_the_hardware),
	KUNIT_CASE(T6_clearing_skips_nothing),
	KUNIT_CASE(entries_of_the_DMA_API),
	KUNIT_CASE(K5_closed_table_takes_nothing_new),
	KUNIT_CASE_SLOW(random_changes_agree_with_a_flat_model),
	KUNIT_CASE(one_kill_per_request_and_counts),
	KUNIT_CASE(T3_counts_drop_after_the_kill),
	KUNIT_CASE(I4_failed_map_changes_nothing),
	KUNIT_CASE(I2_counts_of_many_regions),
	KUNIT_CASE(closing_empties_the_table),
	KUNIT_CASE_SLOW(T2_two_cpus_on_the_same_entries),
	{}
};

static struct kunit_suite tce_test_suite = {
	.name = "pnv_tce",
	.test_cases = tce_test_cases,
};

kunit_test_suite(tce_test_suite);

MODULE_DESCRIPTION("KUnit tests of powernv TCE tables and of requests on them");
MODULE_LICENSE("GPL");
