// SPDX-License-Identifier: GPL-2.0
/*
 * Regions one by one: what registration pins, counts and charges, which bounds it refuses,
 * and what a look-up finds behind them.
 */
#include <linux/cache.h>
#include <linux/pagemap.h>
#include "mmu_context_iommu_kunit.h"

static void register_pins_and_charges(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region = do_register(test, 0, 16);

	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + 16);
	KUNIT_EXPECT_EQ(test, pins_held(rt), 16);
	KUNIT_EXPECT_EQ(test, region->used, 1);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&region->mapped), 1);
	do_unregister(test, region);
}

static void I7_register_twice_is_charged_once(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct mm_iommu_region *a = do_register(test, 3, 5), *b = do_register(test, 3, 5);

	KUNIT_EXPECT_PTR_EQ(test, a, b);
	KUNIT_EXPECT_EQ(test, a->used, 2);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + 5);
	do_unregister(test, a);
	KUNIT_EXPECT_EQ(test, a->used, 1);
	do_unregister(test, a);
}

static void R1_unregister_of_a_mapped_region_is_busy_and_changes_nothing(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region = do_register(test, 0, 8);

	KUNIT_EXPECT_PTR_EQ(test, hold(test, 2, 3), region);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&region->mapped), 4);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(rt->mm, region), -EBUSY);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(rt->mm, region), -EBUSY);
	KUNIT_EXPECT_EQ(test, region->used, 1);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&region->mapped), 4);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + 8);
	KUNIT_EXPECT_PTR_EQ(test, hold(test, 0, 1), region);

	mm_iommu_drop(region, 1);
	mm_iommu_drop(region, 3);
	do_unregister(test, region);
	KUNIT_EXPECT_NULL(test, hold(test, 0, 1));
}

static void R7_bad_bounds_are_refused(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region;
	struct mm_struct *mm = rt->mm;

	KUNIT_EXPECT_EQ(test, mm_iommu_register(mm, rt->area, 0, &region), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(mm, rt->area + 1, PAGE_SIZE, &region), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(mm, rt->area, PAGE_SIZE + 1, &region), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(mm, -PAGE_SIZE, 2 * PAGE_SIZE, &region), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(mm, 2 * PAGE_SIZE, -PAGE_SIZE, &region), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(mm, PAGE_SIZE, -PAGE_SIZE, &region), -EFAULT);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(mm, -PAGE_SIZE, PAGE_SIZE, &region), -EFAULT);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(mm, 0, PAGE_SIZE, &region), -EFAULT);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(mm, 0, 1UL << 62, &region), -EFAULT);
}

/* Register, find and let go one page at @ua, the first or the last that users have. */
static void one_page_at(struct kunit *test, unsigned long ua)
{
	unsigned long prot = PROT_READ | PROT_WRITE, n = 4;
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region;
	struct page *page;

	KUNIT_ASSERT_EQ(test, vm_mmap(NULL, ua, PAGE_SIZE, prot,
				      MAP_ANONYMOUS | MAP_PRIVATE | MAP_FIXED, 0), ua);
	KUNIT_ASSERT_EQ(test, get_user_pages_fast(ua, 1, FOLL_WRITE, &page), 1);
	KUNIT_ASSERT_EQ(test, mm_iommu_register(rt->mm, ua, PAGE_SIZE, &region), 0);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + 1);
	KUNIT_EXPECT_TRUE(test, folio_maybe_dma_pinned(page_folio(page)));
	KUNIT_EXPECT_EQ(test, region->ua, ua);
	KUNIT_EXPECT_EQ(test, region->last, ua + PAGE_SIZE - 1);
	KUNIT_EXPECT_FALSE(test, mm_iommu_mappable(rt->mm, ua, PAGE_SHIFT + 1));

	KUNIT_EXPECT_TRUE(test, mm_iommu_mappable(rt->mm, ua, PAGE_SHIFT));
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_region_of(rt->mm, ua + PAGE_SIZE - 1), region);
	KUNIT_EXPECT_NULL(test, mm_iommu_region_of(rt->mm, ua + PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, mm_iommu_region_of(rt->mm, ua - 1));
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_hold(rt->mm, ua, PAGE_SHIFT, &n), region);
	KUNIT_EXPECT_EQ(test, n, 1);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(rt->mm, region), -EBUSY);
	mm_iommu_drop(region, n);
	do_unregister(test, region);
	KUNIT_EXPECT_NULL(test, mm_iommu_region_of(rt->mm, ua));
	KUNIT_EXPECT_FALSE(test, folio_maybe_dma_pinned(page_folio(page)));
	put_page(page);
}

static void regions_at_both_ends_of_the_address_space(struct kunit *test)
{
	unsigned long top = TASK_SIZE - PAGE_SIZE;
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region;

	one_page_at(test, 0);
	one_page_at(test, top);
	/* Not one byte behind it, nor all there is, nor more than there is. */
	KUNIT_EXPECT_EQ(test, mm_iommu_register(rt->mm, top, 2 * PAGE_SIZE, &region), -EFAULT);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(rt->mm, TASK_SIZE, PAGE_SIZE, &region), -EFAULT);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(rt->mm, 0, TASK_SIZE + PAGE_SIZE, &region),
			-EFAULT);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(rt->mm, top, -top, &region), -EFAULT);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(rt->mm, top, PAGE_SIZE - top, &region), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(rt->mm, top + 1, PAGE_SIZE, &region), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(rt->mm, top, PAGE_SIZE - 1, &region), -EINVAL);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(rt->mm, top, 0, &region), -EINVAL);
	KUNIT_EXPECT_NULL(test, mm_iommu_region_of(rt->mm, ULONG_MAX));
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm);
}

static void R7_partly_bad_range_leaves_nothing(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region;

	/* A hole in the middle of the area. */
	KUNIT_ASSERT_EQ(test, vm_munmap(page_ua(test, 20), PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, try_register(test, 10, 20, &region), -EFAULT);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm);
	KUNIT_EXPECT_EQ(test, pins_held(rt), 0);
	KUNIT_EXPECT_NULL(test, hold(test, 10, 1));
	do_unregister(test, do_register(test, 10, 10));
}

static void R10_only_the_owner_registers(struct kunit *test)
{
	struct mm_iommu_region *region;
	struct mm_struct *other = mm_alloc();

	KUNIT_ASSERT_NOT_NULL(test, other);
	KUNIT_EXPECT_EQ(test, mm_iommu_register(other, page_ua(test, 0), PAGE_SIZE, &region),
			-EPERM);
	mmput(other);
}

static void overlaps_are_refused(struct kunit *test)
{
	struct mm_iommu_region *region = do_register(test, 10, 10), *other;

	KUNIT_EXPECT_EQ(test, try_register(test, 9, 2, &other), -EINVAL);
	KUNIT_EXPECT_EQ(test, try_register(test, 19, 2, &other), -EINVAL);
	KUNIT_EXPECT_EQ(test, try_register(test, 12, 2, &other), -EINVAL);
	KUNIT_EXPECT_EQ(test, try_register(test, 5, 30, &other), -EINVAL);
	KUNIT_EXPECT_EQ(test, try_register(test, 10, 9, &other), -EINVAL);
	do_unregister(test, do_register(test, 9, 1));
	do_unregister(test, do_register(test, 20, 1));
	do_unregister(test, region);
}

/* One region in the middle against every range of its surroundings. */
static void every_range_around_a_region(struct kunit *test)
{
	const unsigned long first = 8, behind = 12;
	struct mm_iommu_region *region = do_register(test, first, behind - first), *other;
	unsigned long from, to;
	int want;

	for (from = first - 3; from < behind + 3; from++)
		for (to = from + 1; to <= behind + 3; to++) {
			other = NULL;
			want = to <= first || from >= behind ||
			       (from == first && to == behind) ? 0 : -EINVAL;
			KUNIT_EXPECT_EQ_MSG(test, try_register(test, from, to - from, &other), want,
					    "pages %lu to %lu", from, to);
			KUNIT_EXPECT_EQ(test, other == region, from == first && to == behind);
			if (other)
				do_unregister(test, other);
		}
	KUNIT_EXPECT_EQ(test, region->used, 1);
	do_unregister(test, region);
}

static void hold_stops_at_the_end_of_the_region(struct kunit *test)
{
	struct mm_iommu_region *a = do_register(test, 0, 4), *b = do_register(test, 4, 4);
	unsigned long n = 100;

	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_hold(current->mm, page_ua(test, 1), PAGE_SHIFT, &n), a);
	KUNIT_EXPECT_EQ(test, n, 3);
	n = 2;
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_hold(current->mm, page_ua(test, 4), PAGE_SHIFT, &n), b);
	KUNIT_EXPECT_EQ(test, n, 2);
	KUNIT_EXPECT_NULL(test, hold(test, 8, 1));
	mm_iommu_drop(a, 3);
	mm_iommu_drop(b, 2);
	do_unregister(test, a);
	do_unregister(test, b);
}

static void hpas_are_those_of_the_pages(struct kunit *test)
{
	struct mm_iommu_region *region = do_register(test, 0, AREA_PAGES);
	struct region_test *rt = test->priv;
	unsigned long mask = (1UL << region->blocks.shift) - 1, page, ua, bytes;
	u64 hpa;

	for (page = 0; page < AREA_PAGES; page++) {
		ua = page_ua(test, page);
		hpa = PFN_PHYS(page_to_pfn(rt->pages[page]));
		KUNIT_EXPECT_EQ(test, *mm_iommu_hpas(region, ua + 8, &bytes) + (ua & mask), hpa);
		KUNIT_EXPECT_EQ(test, bytes, (AREA_PAGES - page) * PAGE_SIZE - 8);
		KUNIT_EXPECT_EQ(test, mm_iommu_blocks_hpa(&region->blocks, ua + 8), hpa + 8);
	}
	do_unregister(test, region);
}

/* Whether each block of 1 << @shift bytes, cut to the region, is contiguous and in its place. */
static bool blocks_hold(struct kunit *test, const struct mm_iommu_region *region,
			unsigned int shift)
{
	struct region_test *rt = test->priv;
	unsigned long page, mask = (1UL << shift) - 1, ua;
	u64 hpa, last = 0;

	for (page = 0, ua = region->ua; ua < region->last; page++, ua += PAGE_SIZE) {
		hpa = PFN_PHYS(page_to_pfn(rt->pages[page]));
		if ((hpa - ua) & mask || (page && ua & mask && hpa != last + PAGE_SIZE))
			return false;
		last = hpa;
	}
	return true;
}

/* Every aligned block of the size that the region claims is contiguous, none larger. */
static void R3_block_size_holds_throughout(struct kunit *test)
{
	struct mm_iommu_region *region = do_register(test, 0, AREA_PAGES);

	KUNIT_EXPECT_TRUE(test, blocks_hold(test, region, region->blocks.shift));
	KUNIT_EXPECT_FALSE(test, blocks_hold(test, region, region->blocks.shift + 1));
	KUNIT_EXPECT_FALSE(test, mm_iommu_mappable(current->mm, region->ua,
						   region->blocks.shift + 1));
	do_unregister(test, region);
}

static void T10_larger_iommu_pages_are_refused(struct kunit *test)
{
	struct mm_iommu_region *region = do_register(test, 0, 3);
	unsigned long n = 1;

	/* A block may be larger than the region; an IOMMU page may not. */
	KUNIT_EXPECT_NULL(test, mm_iommu_hold(current->mm, region->ua, PAGE_SHIFT + 2, &n));
	KUNIT_EXPECT_NULL(test, mm_iommu_hold(current->mm, region->ua,
					      region->blocks.shift + 1, &n));
	KUNIT_EXPECT_EQ(test, atomic_long_read(&region->mapped), 1);
	do_unregister(test, region);
}

/* What a real-mode handler uses, called in virtual mode. */
static void I9_real_mode_entry_points_agree_with_those_of_virtual_mode(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region = do_register(test, 0, 2);
	unsigned long ua = region->ua;

	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_hold_rm(rt->mm, ua, PAGE_SHIFT), region);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&region->mapped), 2);
	KUNIT_EXPECT_TRUE(test, mm_iommu_registered_rm(region));
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_region_of_rm(rt->mm, ua + PAGE_SIZE), region);
	KUNIT_EXPECT_NULL(test, mm_iommu_region_of_rm(rt->mm, ua + 2 * PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, mm_iommu_hold_rm(rt->mm, ua + 2 * PAGE_SIZE, PAGE_SHIFT));
	KUNIT_EXPECT_NULL(test, mm_iommu_hold_rm(rt->mm, ua, PAGE_SHIFT + 2));
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(rt->mm, region), -EBUSY);
	KUNIT_EXPECT_FALSE(test, mm_iommu_drop_rm(region, 2));
	KUNIT_EXPECT_TRUE(test, mm_iommu_drop_rm(region, 1));

	/* The count of the registration is not for real mode. */
	KUNIT_EXPECT_FALSE(test, mm_iommu_drop_rm(region, 1));
	do_unregister(test, region);
}

/*
 * Real mode has seen that a region is registered, and then the container ends: until real mode is
 * done, its count is not the last one.
 */
static void I6_registration_outlives_real_mode_that_saw_it(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region = do_register(test, 0, 2);

	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_hold_rm(rt->mm, region->ua, PAGE_SHIFT), region);
	KUNIT_EXPECT_TRUE(test, mm_iommu_registered_rm(region));
	KUNIT_EXPECT_TRUE(test, mm_iommu_abandon_start(rt->mm, region));
	KUNIT_EXPECT_FALSE(test, mm_iommu_registered_rm(region));
	KUNIT_EXPECT_NULL(test, mm_iommu_hold_rm(rt->mm, region->ua, PAGE_SHIFT));
	KUNIT_EXPECT_TRUE(test, mm_iommu_drop_rm(region, 1));

	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_region_of_rm(rt->mm, region->ua), region);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + 2);
	mm_iommu_abandon_grace();
	mm_iommu_abandon_finish(rt->mm, region);
	wait_for_locked_vm(rt, rt->locked_vm);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm);
}

/* The last TCE of an orphan is for virtual mode. */
static void I9_last_count_of_an_orphan_is_not_for_real_mode(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region = do_register(test, 0, 2);

	KUNIT_EXPECT_PTR_EQ(test, hold(test, 0, 1), region);
	do_abandon(rt->mm, region);
	KUNIT_EXPECT_FALSE(test, mm_iommu_registered_rm(region));
	KUNIT_EXPECT_FALSE(test, mm_iommu_drop_rm(region, 1));
	mm_iommu_drop(region, 1);
	wait_for_locked_vm(rt, rt->locked_vm);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm);
}

/* A page is dirty afterwards if, and only if, the device could write to it. */
static void R8_written_memory_is_dirty_when_let_go(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct folio *folio = page_folio(rt->pages[5]);
	struct mm_iommu_region *region;
	int written;

	for (written = 0; written < 2; written++) {
		region = do_register(test, 5, 1);
		folio_lock(folio);
		folio_clear_dirty(folio);
		folio_unlock(folio);
		if (written)
			mm_iommu_mark_written(region);
		do_unregister(test, region);
		KUNIT_EXPECT_EQ(test, folio_test_dirty(folio), written);
	}
}

static void R18_counters_share_no_cache_line_with_what_lookups_read(struct kunit *test)
{
	struct mm_iommu_region *regions[AREA_PAGES];
	unsigned long line = SMP_CACHE_BYTES, mapped;
	unsigned int i;

	for (i = 0; i < AREA_PAGES; i++) {
		regions[i] = do_register(test, i, 1);
		mapped = (unsigned long)&regions[i]->mapped / line;
		KUNIT_EXPECT_EQ(test, (unsigned long)regions[i] % line, 0);
		KUNIT_EXPECT_NE(test, (unsigned long)&regions[i]->node / line, mapped);
		KUNIT_EXPECT_NE(test, (unsigned long)&regions[i]->last / line, mapped);
		KUNIT_EXPECT_NE(test, (unsigned long)&regions[i]->used / line, mapped);
		KUNIT_EXPECT_NE(test, (unsigned long)&regions[i]->written / line, mapped);
		KUNIT_EXPECT_NE(test, (unsigned long)(&regions[i]->blocks + 1) / line, mapped);
		KUNIT_EXPECT_NE(test, (unsigned long)(regions[i] + 1) / line, mapped);
	}
	while (i--)
		do_unregister(test, regions[i]);
}

static struct kunit_case region_test_cases[] = {
	KUNIT_CASE(register_pins_and_charges),
	KUNIT_CASE(I7_register_twice_is_charged_once),
	KUNIT_CASE(R1_unregister_of_a_mapped_region_is_busy_and_changes_nothing),
	KUNIT_CASE(R7_bad_bounds_are_refused),
	KUNIT_CASE(regions_at_both_ends_of_the_address_space),
	KUNIT_CASE(R7_partly_bad_range_leaves_nothing),
	KUNIT_CASE(R10_only_the_owner_registers),
	KUNIT_CASE(overlaps_are_refused),
	KUNIT_CASE(every_range_around_a_region),
	KUNIT_CASE(hold_stops_at_the_end_of_the_region),
	KUNIT_CASE(hpas_are_those_of_the_pages),
	KUNIT_CASE(R3_block_size_holds_throughout),
	KUNIT_CASE(T10_larger_iommu_pages_are_refused),
	KUNIT_CASE(I9_real_mode_entry_points_agree_with_those_of_virtual_mode),
	KUNIT_CASE(I6_registration_outlives_real_mode_that_saw_it),
	KUNIT_CASE(I9_last_count_of_an_orphan_is_not_for_real_mode),
	KUNIT_CASE(R8_written_memory_is_dirty_when_let_go),
	KUNIT_CASE(R18_counters_share_no_cache_line_with_what_lookups_read),
	{}
};

static struct kunit_suite region_test_suite = {
	.name = "mm_iommu",
	.init = region_test_init,
	.exit = region_test_exit,
	.test_cases = region_test_cases,
};

kunit_test_suite(region_test_suite);

MODULE_DESCRIPTION("KUnit tests of pre-registered memory regions");
MODULE_LICENSE("GPL");
