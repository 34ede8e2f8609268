// SPDX-License-Identifier: GPL-2.0
/*
 * Regions against their invariants: pinning, counting, accounting, looking up.
 *
 * Each case runs in a kthread with an mm of its own. The names of cases carry the
 * defect or invariant they stand for.
 */
#include <kunit/test.h>
#include <linux/cache.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pagemap.h>
#include <linux/prandom.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>
#include <asm/mmu_context_iommu.h>

#define AREA_PAGES	64UL

struct region_test {
	struct mm_struct *mm;
	unsigned long area;
	unsigned long locked_vm;
	struct page *pages[AREA_PAGES];	/* of the area, each with a reference */
};

/* How many pages of the area are pinned. */
static long pins_held(struct region_test *rt)
{
	unsigned int i;
	long n = 0;

	for (i = 0; i < AREA_PAGES; i++)
		n += folio_maybe_dma_pinned(page_folio(rt->pages[i]));
	return n;
}

static int region_test_init(struct kunit *test)
{
	struct region_test *rt = kunit_kzalloc(test, sizeof(*rt), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, rt);
	rt->area = kunit_vm_mmap(test, NULL, 0, AREA_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
				 MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, rt->area, 0);
	KUNIT_ASSERT_NOT_NULL(test, current->mm);
	KUNIT_ASSERT_EQ(test, get_user_pages_fast(rt->area, AREA_PAGES, FOLL_WRITE, rt->pages),
			AREA_PAGES);
	/* The case's thread takes its mm along; the leak check runs in another one. */
	mmgrab(current->mm);
	rt->mm = current->mm;
	rt->locked_vm = rt->mm->locked_vm;
	test->priv = rt;
	return 0;
}

/* Work items that let go of memory run soon, not at once. */
static void wait_for_locked_vm(struct region_test *rt, unsigned long locked_vm)
{
	unsigned int tries;

	for (tries = 0; tries < 250 && (rt->mm->locked_vm != locked_vm || pins_held(rt)); tries++)
		msleep(20);
}

/* The leak check: every case ends with nothing pinned and nothing charged. */
static void region_test_exit(struct kunit *test)
{
	struct region_test *rt = test->priv;
	unsigned int i;

	if (!rt)
		return;
	wait_for_locked_vm(rt, rt->locked_vm);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm);
	KUNIT_EXPECT_EQ(test, pins_held(rt), 0);
	for (i = 0; i < AREA_PAGES; i++)
		put_page(rt->pages[i]);
	mmdrop(rt->mm);
}

static unsigned long page_ua(struct kunit *test, unsigned long page)
{
	return ((struct region_test *)test->priv)->area + page * PAGE_SIZE;
}

static int try_register(struct kunit *test, unsigned long page, unsigned long pages,
			struct mm_iommu_region **region)
{
	return mm_iommu_register(current->mm, page_ua(test, page), pages * PAGE_SIZE, region);
}

static struct mm_iommu_region *do_register(struct kunit *test, unsigned long page,
					   unsigned long pages)
{
	struct mm_iommu_region *region = NULL;

	KUNIT_ASSERT_EQ(test, try_register(test, page, pages, &region), 0);
	KUNIT_ASSERT_NOT_NULL(test, region);
	return region;
}

static void do_unregister(struct kunit *test, struct mm_iommu_region *region)
{
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, region), 0);
}

static struct mm_iommu_region *hold(struct kunit *test, unsigned long page, unsigned long n)
{
	return mm_iommu_hold(current->mm, page_ua(test, page), PAGE_SHIFT, &n);
}

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
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_region_of_rm(rt->mm, ua + PAGE_SIZE), region);
	KUNIT_EXPECT_NULL(test, mm_iommu_region_of_rm(rt->mm, ua + 2 * PAGE_SIZE));
	KUNIT_EXPECT_NULL(test, mm_iommu_hold_rm(rt->mm, ua + 2 * PAGE_SIZE, PAGE_SHIFT));
	KUNIT_EXPECT_NULL(test, mm_iommu_hold_rm(rt->mm, ua, PAGE_SHIFT + 2));
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(rt->mm, region), -EBUSY);
	KUNIT_EXPECT_TRUE(test, mm_iommu_drop_rm(region));

	/* The count of the registration, or of an orphan's last TCE, is not for real mode. */
	KUNIT_EXPECT_FALSE(test, mm_iommu_drop_rm(region));
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_hold_rm(rt->mm, ua, PAGE_SHIFT), region);
	mm_iommu_abandon(rt->mm, region);
	KUNIT_EXPECT_NULL(test, mm_iommu_hold_rm(rt->mm, ua, PAGE_SHIFT));
	KUNIT_EXPECT_FALSE(test, mm_iommu_drop_rm(region));
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

/* A container that goes away while another container's TCEs point into its memory. */
static void C12_abandoned_region_lives_until_its_last_TCE(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region = do_register(test, 0, 8), *other;

	KUNIT_ASSERT_PTR_EQ(test, hold(test, 0, 8), region);
	mm_iommu_abandon(rt->mm, region);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + 8);
	KUNIT_EXPECT_NULL(test, hold(test, 0, 1));
	KUNIT_EXPECT_FALSE(test, mm_iommu_mappable(rt->mm, page_ua(test, 0), PAGE_SHIFT));
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_region_of(rt->mm, page_ua(test, 7)), region);
	KUNIT_EXPECT_EQ(test, try_register(test, 7, 2, &other), -EINVAL);

	mm_iommu_drop(region, 8);
	wait_for_locked_vm(rt, rt->locked_vm);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm);
	KUNIT_EXPECT_NULL(test, mm_iommu_region_of(rt->mm, page_ua(test, 7)));
}

static void abandoned_region_can_be_registered_again(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region = do_register(test, 0, 8);

	KUNIT_ASSERT_PTR_EQ(test, hold(test, 0, 2), region);
	mm_iommu_abandon(rt->mm, region);
	KUNIT_EXPECT_PTR_EQ(test, do_register(test, 0, 8), region);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&region->mapped), 3);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + 8);
	mm_iommu_drop(region, 2);
	do_unregister(test, region);
}

/* Other memory, not touched yet, in place of pages of the area. */
static void replace_pages(struct kunit *test, unsigned long page, unsigned long n)
{
	KUNIT_ASSERT_EQ(test, vm_mmap(NULL, page_ua(test, page), n * PAGE_SIZE,
				      PROT_READ | PROT_WRITE,
				      MAP_ANONYMOUS | MAP_PRIVATE | MAP_FIXED, 0),
			page_ua(test, page));
}

static void R17_orphan_under_other_memory_is_not_registered(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region = do_register(test, 0, 8), *other = NULL;

	KUNIT_ASSERT_PTR_EQ(test, hold(test, 0, 8), region);
	mm_iommu_abandon(rt->mm, region);
	replace_pages(test, 3, 1);
	KUNIT_EXPECT_EQ(test, try_register(test, 0, 8, &other), -EBUSY);
	KUNIT_ASSERT_EQ(test, vm_munmap(page_ua(test, 3), PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, try_register(test, 0, 8, &other), -EFAULT);
	replace_pages(test, 3, 1);
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_region_of(rt->mm, page_ua(test, 3)), region);
	KUNIT_EXPECT_EQ(test, region->used, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&region->mapped), 8);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + 8);
	KUNIT_EXPECT_EQ(test, pins_held(rt), 8);
	KUNIT_EXPECT_NULL(test, hold(test, 0, 1));

	/* Once its TCEs are gone, so is what was in the way. */
	mm_iommu_drop(region, 8);
	KUNIT_EXPECT_EQ(test, try_register(test, 0, 8, &other), 0);
	if (other && other->used)
		do_unregister(test, other);
}

/* As if a process had the capabilities and the limit of an ordinary one. */
static const struct cred *become_ordinary(struct kunit *test, unsigned long lockable)
{
	struct cred *cred = prepare_creds();

	KUNIT_ASSERT_NOT_NULL(test, cred);
	cap_lower(cred->cap_effective, CAP_IPC_LOCK);
	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur = lockable * PAGE_SIZE;
	return override_creds(cred);
}

#define CHARGE_ROUNDS	1000U

/* The limit has room for one region, and what was there has just lost its last TCE. */
static void R15_charge_of_memory_that_leaves_is_in_nobodys_way(struct kunit *test)
{
	unsigned long limit = current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur, i;
	struct region_test *rt = test->priv;
	const struct cred *root = become_ordinary(test, rt->locked_vm + 8);
	struct mm_iommu_region *region;
	unsigned int nomem = 0, other = 0;
	const struct cred *own = current_cred();
	int ret;

	for (i = 0; i < CHARGE_ROUNDS; i++) {
		ret = try_register(test, i % 2 * 8, 8, &region);
		nomem += ret == -ENOMEM;
		other += ret && ret != -ENOMEM;
		if (ret) {
			wait_for_locked_vm(rt, rt->locked_vm);
			continue;
		}
		other += hold(test, i % 2 * 8, 1) != region;
		mm_iommu_abandon(rt->mm, region);
		mm_iommu_drop(region, 1);
	}
	wait_for_locked_vm(rt, rt->locked_vm);
	/* What is really too much is refused as ever. */
	KUNIT_EXPECT_EQ(test, try_register(test, 0, 9, &region), -ENOMEM);
	revert_creds(root);
	put_cred(own);
	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur = limit;
	KUNIT_EXPECT_EQ(test, nomem, 0);
	KUNIT_EXPECT_EQ(test, other, 0);
}

/* A thread that abandons the region that it is given. */
struct abandoner {
	struct mm_struct *mm;
	struct mm_iommu_region *region;
};

static int abandoner_thread(void *arg)
{
	struct mm_iommu_region *region;
	struct abandoner *a = arg;

	while (!kthread_should_stop()) {
		/* Pairs with the release in abandon_round(). */
		region = smp_load_acquire(&a->region);
		if (region) {
			mm_iommu_abandon(a->mm, region);
			/* Pairs with the acquire there. */
			smp_store_release(&a->region, NULL);
		}
		cond_resched();
	}
	return 0;
}

/* Return: how often UNREGISTER said -EBUSY; negative: what went wrong else. */
static long abandon_round(struct kunit *test, struct abandoner *a)
{
	struct mm_iommu_region *region, *again;
	long busy = 0;

	if (try_register(test, 0, 1, &region) || hold(test, 0, 1) != region)
		return -EINVAL;
	/* Pairs with the acquire in abandoner_thread(). */
	smp_store_release(&a->region, region);
	while (READ_ONCE(region->used))
		cpu_relax();
	if (try_register(test, 0, 1, &again) || again != region)
		return -EINVAL;
	mm_iommu_drop(region, 1);
	while (mm_iommu_unregister(a->mm, region)) {
		busy++;
		cond_resched();
	}
	/* Pairs with the release there. */
	while (smp_load_acquire(&a->region))
		cond_resched();
	return busy;
}

static void R15_nobody_is_busy_with_an_abandoned_region(struct kunit *test)
{
	unsigned int here = cpumask_first(cpu_online_mask), there, i;
	struct abandoner a = { .mm = current->mm };
	struct task_struct *task;
	long ret = 0, busy = 0;

	there = cpumask_next(here, cpu_online_mask);
	if (there >= nr_cpu_ids)
		kunit_skip(test, "needs two processors");
	KUNIT_ASSERT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of(here)), 0);
	task = kthread_create_on_cpu(abandoner_thread, &a, there, "abandoner/%u");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wake_up_process(task);
	for (i = 0; i < 4000 && ret >= 0; i++) {
		ret = abandon_round(test, &a);
		busy += ret;
		cond_resched();
	}
	kthread_stop(task);
	KUNIT_EXPECT_GE(test, ret, 0);
	KUNIT_EXPECT_EQ(test, busy, 0);
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

/* More orphans than a workqueue runs work items at a time. */
#define CROWD	600UL

struct crowd {
	unsigned long ua;
	struct mm_iommu_region *regions[CROWD];
	struct work_struct work;
	struct completion done;
};

static void crowd_work(struct work_struct *work)
{
	complete(&container_of(work, struct crowd, work)->done);
}

static void R16_letting_go_holds_up_nobody_elses_work(struct kunit *test)
{
	struct crowd *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);
	struct region_test *rt = test->priv;
	unsigned long i, n = 1, ua, bad = 0;

	KUNIT_ASSERT_NOT_NULL(test, c);
	c->ua = kunit_vm_mmap(test, NULL, 0, CROWD * PAGE_SIZE, PROT_READ | PROT_WRITE,
			      MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, c->ua, 0);
	init_completion(&c->done);
	INIT_WORK(&c->work, crowd_work);
	for (i = 0; i < CROWD; i++) {
		ua = c->ua + i * PAGE_SIZE;
		KUNIT_ASSERT_EQ(test, mm_iommu_register(rt->mm, ua, PAGE_SIZE, &c->regions[i]), 0);
		bad += mm_iommu_hold(rt->mm, ua, PAGE_SHIFT, &n) != c->regions[i];
		mm_iommu_abandon(rt->mm, c->regions[i]);
	}
	KUNIT_ASSERT_EQ(test, bad, 0);

	/* Uncharging needs the mmap_lock, which is taken. */
	mmap_write_lock(rt->mm);
	for (i = 0; i < CROWD; i++)
		mm_iommu_drop(c->regions[i], 1);
	msleep(1000);
	queue_work(system_dfl_wq, &c->work);
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&c->done, 10 * HZ), 0);
	mmap_write_unlock(rt->mm);
	flush_work(&c->work);
	wait_for_locked_vm(rt, rt->locked_vm);
}

/* A process that cannot be uncharged keeps one work item, whatever it has, and no page. */
static void R16_all_pages_go_before_any_charge(struct kunit *test)
{
	struct mm_iommu_region *regions[AREA_PAGES];
	struct region_test *rt = test->priv;
	unsigned int i, tries;

	for (i = 0; i < AREA_PAGES; i++) {
		regions[i] = do_register(test, i, 1);
		KUNIT_ASSERT_PTR_EQ(test, hold(test, i, 1), regions[i]);
		mm_iommu_abandon(rt->mm, regions[i]);
	}
	mmap_write_lock(rt->mm);
	for (i = 0; i < AREA_PAGES; i++) {
		mm_iommu_drop(regions[i], 1);
		/* The first ones are waiting to be uncharged when the others come. */
		if (i < 2)
			msleep(200);
	}
	for (tries = 0; tries < 500 && pins_held(rt); tries++)
		msleep(20);
	KUNIT_EXPECT_EQ(test, pins_held(rt), 0);
	mmap_write_unlock(rt->mm);
}

static void abandoning_an_idle_region_lets_it_go_at_once(struct kunit *test)
{
	struct region_test *rt = test->priv;

	mm_iommu_abandon(rt->mm, do_register(test, 0, 8));
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm);
	KUNIT_EXPECT_EQ(test, pins_held(rt), 0);
}

/* What an mm forgot is let go with it; region_test_exit() counts the pins. */
static void forgotten_regions_go_with_the_mm(struct kunit *test)
{
	long forgotten = atomic_long_read(&mm_iommu_forgotten);
	struct region_test *rt = test->priv;

	do_register(test, 0, 8);
	do_register(test, 20, 1);
	mm_iommu_cleanup(rt->mm);
	wait_for_locked_vm(rt, rt->locked_vm + 9);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&mm_iommu_forgotten), forgotten + 2);
	KUNIT_EXPECT_EQ(test, pins_held(rt), 0);
	KUNIT_EXPECT_NULL(test, hold(test, 0, 1));
	rt->locked_vm += 9;	/* the charge dies with the mm, which is still here */
}

/* ---- random operations against a model that knows no trees ---- */

#define MODEL_REGIONS	16
#define MODEL_STEPS	20000
#define MODEL_SEED	20150609

enum model_op {
	MODEL_REGISTER, MODEL_UNREGISTER, MODEL_HOLD, MODEL_DROP, MODEL_OWNER, MODEL_MAPPABLE,
	MODEL_ABANDON, MODEL_OPS,
};

/* @region is NULL in a free slot; @used is 0 in an orphan. */
struct model_region {
	struct mm_iommu_region *region;
	unsigned long page, pages, used, tces;
};

/* @dying: an orphan lost its last TCE, and its work item may still be on its way. */
struct model {
	struct model_region regions[MODEL_REGIONS];
	unsigned int step, done[MODEL_OPS];
	bool dying;
};

#define MODEL_EQ(model, a, b)						\
	KUNIT_ASSERT_EQ_MSG(test, a, b, "seed %u, step %u", MODEL_SEED, (model)->step)

static struct model_region *model_find(struct model *model, unsigned long page,
				       unsigned long pages)
{
	struct model_region *m;

	for (m = model->regions; m < model->regions + MODEL_REGIONS; m++)
		if (m->region && m->page < page + pages && page < m->page + m->pages)
			return m;
	return NULL;
}

static struct model_region *model_free(struct model *model)
{
	struct model_region *m;

	for (m = model->regions; m < model->regions + MODEL_REGIONS; m++)
		if (!m->region)
			return m;
	return NULL;
}

static void model_register(struct kunit *test, struct model *model, unsigned long page,
			   unsigned long pages)
{
	struct model_region *m = model_find(model, page, pages), *slot = model_free(model);
	struct mm_iommu_region *region = NULL;
	int ret;

	if (!m && !slot)
		return;
	ret = try_register(test, page, pages, &region);
	if (!m) {
		MODEL_EQ(model, ret, 0);
		*slot = (struct model_region){ region, page, pages, 1, 0 };
	} else if (m->page == page && m->pages == pages) {
		MODEL_EQ(model, ret, 0);
		MODEL_EQ(model, (ulong)region, (ulong)m->region);
		m->used++;
	} else {
		MODEL_EQ(model, ret, -EINVAL);
	}
}

static void model_unregister(struct kunit *test, struct model *model, struct model_region *m)
{
	int want = m->used == 1 && m->tces ? -EBUSY : 0;

	MODEL_EQ(model, mm_iommu_unregister(current->mm, m->region), want);
	if (!want && !--m->used)
		m->region = NULL;
}

static void model_abandon(struct model_region *m)
{
	mm_iommu_abandon(current->mm, m->region);
	if (!--m->used && !m->tces)
		m->region = NULL;
}

static void model_hold(struct kunit *test, struct model *model, unsigned long page,
		       unsigned long n)
{
	struct model_region *m = model_find(model, page, 1);
	bool found = m && m->used;
	unsigned long want = found ? min(n, m->page + m->pages - page) : n;
	struct mm_iommu_region *region;

	region = mm_iommu_hold(current->mm, page_ua(test, page), PAGE_SHIFT, &n);
	MODEL_EQ(model, (ulong)region, found ? (ulong)m->region : 0);
	MODEL_EQ(model, n, want);
	if (found)
		m->tces += want;
}

static void model_drop(struct model *model, struct model_region *m, unsigned long n)
{
	m->tces -= n;
	mm_iommu_drop(m->region, n);
	if (!m->used && !m->tces) {
		m->region = NULL;
		model->dying = true;
	}
}

static void model_owner(struct kunit *test, struct model *model, unsigned long page)
{
	struct model_region *m = model_find(model, page, 1);
	unsigned long ua = page_ua(test, page), want = m ? (ulong)m->region : 0;
	unsigned int tries;

	/* A dying region may be seen until its work item has run, but not for ever. */
	for (tries = 0; !m && model->dying && tries < 5000 &&
	     mm_iommu_region_of(current->mm, ua); tries++)
		usleep_range(1000, 2000);
	MODEL_EQ(model, (ulong)mm_iommu_region_of(current->mm, ua), want);
	MODEL_EQ(model, (ulong)mm_iommu_region_of(current->mm, ua + PAGE_SIZE - 1), want);
}

static void model_mappable(struct kunit *test, struct model *model, unsigned long page)
{
	struct model_region *m = model_find(model, page, 1);
	unsigned long ua = page_ua(test, page);

	MODEL_EQ(model, mm_iommu_mappable(current->mm, ua, PAGE_SHIFT), m && m->used);
	if (m)
		MODEL_EQ(model, mm_iommu_mappable(current->mm, ua, m->region->blocks.shift + 1),
			 false);
}

static void model_step(struct kunit *test, struct model *model, struct rnd_state *rnd)
{
	unsigned long page = prandom_u32_state(rnd) % AREA_PAGES;
	unsigned long n = 1 + prandom_u32_state(rnd) % min(8UL, AREA_PAGES - page);
	enum model_op op = prandom_u32_state(rnd) % MODEL_OPS;
	struct model_region *m = model_find(model, page, 1);

	model->done[op]++;
	/* Half of the registrations repeat the bounds of a region that is there. */
	if (op == MODEL_REGISTER && m && n & 1)
		model_register(test, model, m->page, m->pages);
	else if (op == MODEL_REGISTER)
		model_register(test, model, page, n);
	else if (op == MODEL_UNREGISTER && m && m->used)
		model_unregister(test, model, m);
	else if (op == MODEL_HOLD)
		model_hold(test, model, page, n);
	else if (op == MODEL_DROP && m && m->tces)
		model_drop(model, m, n & 1 ? m->tces : 1 + n % m->tces);
	else if (op == MODEL_OWNER)
		model_owner(test, model, page);
	else if (op == MODEL_MAPPABLE)
		model_mappable(test, model, page);
	else if (op == MODEL_ABANDON && m && m->used)
		model_abandon(m);
	else
		model->done[op]--;

	if (m && m->region) {
		MODEL_EQ(model, m->region->used, m->used);
		MODEL_EQ(model, atomic_long_read(&m->region->mapped), m->tces + !!m->used);
	}
}

static void random_operations_agree_with_a_model(struct kunit *test)
{
	struct model *model = kunit_kzalloc(test, sizeof(*model), GFP_KERNEL);
	struct region_test *rt = test->priv;
	unsigned long charged = 0, total = 0;
	struct model_region *m;
	struct rnd_state rnd;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, model);
	prandom_seed_state(&rnd, MODEL_SEED);
	for (model->step = 0; model->step < MODEL_STEPS; model->step++) {
		model_step(test, model, &rnd);
		cond_resched();
	}
	for (i = 0; i < MODEL_OPS; i++) {
		KUNIT_EXPECT_GT(test, model->done[i], 200);
		total += model->done[i];
	}
	KUNIT_EXPECT_GE(test, total, 10000);

	for (m = model->regions; m < model->regions + MODEL_REGIONS; m++)
		charged += m->region ? m->pages : 0;
	for (i = 0; i < 250 && rt->mm->locked_vm != rt->locked_vm + charged; i++)
		msleep(20);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + charged);

	for (m = model->regions; m < model->regions + MODEL_REGIONS; m++) {
		if (m->region && m->tces)
			model_drop(model, m, m->tces);
		while (m->region)
			model_unregister(test, model, m);
	}
}

/* ---- lookups on one CPU while another registers and unregisters ---- */

/* Counts of the walker; the other side reads @loops while it runs. */
struct walker {
	struct mm_struct *mm;
	unsigned long stable, churning;
	unsigned long loops, lost, hits, misses;
};

static void walker_loop(struct walker *w)
{
	struct mm_iommu_region *region;
	unsigned long n = 1;

	/* A region that stays is found whatever happens around it. */
	region = mm_iommu_hold(w->mm, w->stable, PAGE_SHIFT, &n);
	if (region && mm_iommu_mappable(w->mm, w->stable, PAGE_SHIFT))
		mm_iommu_drop(region, 1);
	else
		w->lost++;
	/* One that comes and goes, if held, is there until it is dropped. */
	n = 2;
	region = mm_iommu_hold(w->mm, w->churning, PAGE_SHIFT, &n);
	if (!region) {
		w->misses++;
		return;
	}
	w->hits++;
	if (n != 2 || mm_iommu_region_of(w->mm, w->churning + PAGE_SIZE) != region)
		w->lost++;
	mm_iommu_drop(region, n);
}

static int walker_thread(void *arg)
{
	struct walker *w = arg;

	while (!kthread_should_stop()) {
		walker_loop(w);
		WRITE_ONCE(w->loops, w->loops + 1);
		cond_resched();
	}
	return 0;
}

/* Wait until the walker got through a whole loop that began after this did. */
static bool walker_passes(const struct walker *w)
{
	unsigned long loops = READ_ONCE(w->loops), end = jiffies + 60 * HZ;

	while (READ_ONCE(w->loops) - loops < 2 && time_before(jiffies, end))
		cond_resched();
	return READ_ONCE(w->loops) - loops >= 2;
}

#define RACE_ROUNDS	4096U
#define RACE_MEETINGS	(RACE_ROUNDS / 8)	/* rounds that wait, for each of two states */

static void R2_lookups_race_with_registration(struct kunit *test)
{
	unsigned int here = cpumask_first(cpu_online_mask), there, i, met = 0, busy = 0;
	struct walker w = { .mm = current->mm };
	struct mm_iommu_region *stable, *region;
	struct task_struct *task;

	there = cpumask_next(here, cpu_online_mask);
	if (there >= nr_cpu_ids)
		kunit_skip(test, "needs two processors");
	stable = do_register(test, 30, 1);
	w.stable = page_ua(test, 30);
	w.churning = page_ua(test, 31);
	KUNIT_ASSERT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of(here)), 0);
	task = kthread_create_on_cpu(walker_thread, &w, there, "region-walker/%u");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wake_up_process(task);

	/* Some rounds wait for the walker to meet the region, or its absence; most just race. */
	for (i = 0; i < RACE_ROUNDS && !try_register(test, 31, 2, &region); i++) {
		if (i % 8 == 0)
			met += walker_passes(&w);
		while (mm_iommu_unregister(current->mm, region)) {
			busy++;
			cond_resched();
		}
		if (i % 8 == 4)
			met += walker_passes(&w);
	}
	kthread_stop(task);
	kunit_info(test, "%u rounds, %u busy; %lu lookups, %lu hits, %lu misses", i, busy, w.loops,
		   w.hits, w.misses);
	KUNIT_EXPECT_EQ(test, i, RACE_ROUNDS);
	KUNIT_EXPECT_EQ(test, met, 2 * RACE_MEETINGS);
	KUNIT_EXPECT_GE(test, w.hits, RACE_MEETINGS);
	KUNIT_EXPECT_GE(test, w.misses, RACE_MEETINGS);
	KUNIT_EXPECT_EQ(test, w.lost, 0);
	do_unregister(test, stable);
}

/* ---- what others see while memory is being pinned ---- */

#define PENDING_PAGE	30UL
#define PENDING_PAGES	8UL

/* A thread that registers the pending pages; the mmap_lock holds it up. */
struct registrar {
	struct mm_struct *mm;
	unsigned long ua;
	struct mm_iommu_region *region;
	int ret;
	struct task_struct *task;
	struct completion done;
};

static int registrar_thread(void *arg)
{
	struct registrar *r = arg;

	kthread_use_mm(r->mm);
	r->ret = mm_iommu_register(r->mm, r->ua, PENDING_PAGES * PAGE_SIZE, &r->region);
	kthread_unuse_mm(r->mm);
	complete(&r->done);
	return 0;
}

static void registrar_start(struct kunit *test, struct registrar *r)
{
	r->mm = current->mm;
	r->ua = page_ua(test, PENDING_PAGE);
	init_completion(&r->done);
	r->task = kthread_run(registrar_thread, r, "registrar");
	if (IS_ERR(r->task)) {
		r->ret = PTR_ERR(r->task);
		complete(&r->done);
	}
}

/* The questions that must not wait for the thread that pins. */
struct prober {
	struct mm_struct *mm;
	unsigned long ua;
	struct mm_iommu_region *other;	/* registered twice */
	struct mm_iommu_region *held;
	bool mappable;
	int overlap, unregister;
	struct completion done;
};

static int prober_thread(void *arg)
{
	struct mm_iommu_region *region;
	struct prober *p = arg;
	unsigned long n = 1;

	kthread_use_mm(p->mm);
	p->held = mm_iommu_hold(p->mm, p->ua, PAGE_SHIFT, &n);
	p->mappable = mm_iommu_mappable(p->mm, p->ua, PAGE_SHIFT);
	p->overlap = mm_iommu_register(p->mm, p->ua + PAGE_SIZE, PAGE_SIZE, &region);
	p->unregister = mm_iommu_unregister(p->mm, p->other);
	kthread_unuse_mm(p->mm);
	complete(&p->done);
	return 0;
}

static void probe(struct kunit *test, struct mm_iommu_region *other)
{
	struct prober p = {
		.mm = current->mm, .ua = page_ua(test, PENDING_PAGE), .other = other,
	};
	struct task_struct *task;

	init_completion(&p.done);
	task = kthread_run(prober_thread, &p, "prober");
	KUNIT_EXPECT_FALSE(test, IS_ERR(task));
	if (IS_ERR(task))
		return;
	if (!wait_for_completion_timeout(&p.done, 20 * HZ)) {
		KUNIT_FAIL(test, "a thread that pins holds up the others");
		mmap_write_unlock(current->mm);
		wait_for_completion(&p.done);
		mmap_write_lock(current->mm);
	}
	KUNIT_EXPECT_NULL(test, p.held);
	KUNIT_EXPECT_FALSE(test, p.mappable);
	KUNIT_EXPECT_EQ(test, p.overlap, -EINVAL);
	KUNIT_EXPECT_EQ(test, p.unregister, 0);
}

/* Two threads at the same pages: one is stopped while it pins, one waits for it. */
static void register_two_at_once(struct kunit *test, struct registrar *a, struct registrar *b,
				 struct mm_iommu_region *other)
{
	unsigned int tries;

	mmap_write_lock(current->mm);
	registrar_start(test, a);
	for (tries = 0; tries < 500 && !mm_iommu_region_of(current->mm, a->ua); tries++)
		msleep(20);
	KUNIT_EXPECT_NOT_NULL(test, mm_iommu_region_of(current->mm, a->ua));
	if (other)
		probe(test, other);
	registrar_start(test, b);
	for (tries = 0; tries < 500 && !IS_ERR(b->task) && !completion_done(&b->done) &&
	     READ_ONCE(b->task->__state) != TASK_KILLABLE; tries++)
		msleep(20);
	mmap_write_unlock(current->mm);
	wait_for_completion(&a->done);
	wait_for_completion(&b->done);
}

static void pending_region_delays_nobody_but_its_like(struct kunit *test)
{
	struct mm_iommu_region *other = do_register(test, 0, 8);
	struct region_test *rt = test->priv;
	struct registrar a = { }, b = { };

	KUNIT_ASSERT_PTR_EQ(test, do_register(test, 0, 8), other);
	register_two_at_once(test, &a, &b, other);
	KUNIT_ASSERT_EQ(test, a.ret, 0);
	KUNIT_ASSERT_EQ(test, b.ret, 0);
	KUNIT_EXPECT_PTR_EQ(test, a.region, b.region);
	KUNIT_EXPECT_EQ(test, a.region->used, 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&a.region->mapped), 1);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + 8 + PENDING_PAGES);
	KUNIT_EXPECT_PTR_EQ(test, hold(test, PENDING_PAGE, 1), a.region);
	mm_iommu_drop(a.region, 1);
	do_unregister(test, a.region);
	do_unregister(test, b.region);
	do_unregister(test, other);
}

static void who_waited_for_a_failure_tries_alone(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct registrar a = { }, b = { };

	KUNIT_ASSERT_EQ(test, vm_munmap(page_ua(test, PENDING_PAGE + 3), PAGE_SIZE), 0);
	register_two_at_once(test, &a, &b, NULL);
	KUNIT_EXPECT_EQ(test, a.ret, -EFAULT);
	KUNIT_EXPECT_EQ(test, b.ret, -EFAULT);
	KUNIT_EXPECT_NULL(test, mm_iommu_region_of(rt->mm, a.ua));
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm);
	do_unregister(test, do_register(test, PENDING_PAGE, 3));
}

/* ---- a thread that is killed while it waits for the mmap_lock ---- */

static bool mmap_lock_taken;

/* Pages are about to be pinned: the mmap_lock is taken, and SIGKILL comes. */
static int kill_while_pinning(struct kprobe *probe, struct pt_regs *regs)
{
	if (!current->mm || !down_write_trylock(&current->mm->mmap_lock))
		return 0;
	mmap_lock_taken = true;
	sigaddset(&current->pending.signal, SIGKILL);
	set_thread_flag(TIF_SIGPENDING);
	return 0;
}

/* The charge is about to be taken back, for which the lock is needed. */
static int give_lock_back(struct kprobe *probe, struct pt_regs *regs)
{
	if (mmap_lock_taken)
		up_write(&current->mm->mmap_lock);
	mmap_lock_taken = false;
	return 0;
}

static void killed_while_waiting_for_mmap_lock_is_EINTR(struct kunit *test)
{
	struct kprobe pin = {
		.symbol_name = "pin_user_pages_fast", .pre_handler = kill_while_pinning,
	};
	struct kprobe account = {
		.symbol_name = "account_locked_vm", .pre_handler = give_lock_back,
	};
	struct mm_iommu_region *region;

	if (!IS_ENABLED(CONFIG_KPROBES))
		kunit_skip(test, "needs kprobes");
	/* Pages that nobody touched are not found without the lock. */
	replace_pages(test, 40, 2);
	KUNIT_ASSERT_EQ(test, register_kprobe(&account), 0);
	KUNIT_EXPECT_EQ(test, register_kprobe(&pin), 0);
	KUNIT_EXPECT_EQ(test, try_register(test, 40, 2, &region), -EINTR);
	unregister_kprobe(&pin);
	unregister_kprobe(&account);
	flush_signals(current);
	KUNIT_EXPECT_FALSE(test, mmap_lock_taken);
	do_unregister(test, do_register(test, 40, 2));
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
	KUNIT_CASE(R8_written_memory_is_dirty_when_let_go),
	KUNIT_CASE(C12_abandoned_region_lives_until_its_last_TCE),
	KUNIT_CASE(abandoned_region_can_be_registered_again),
	KUNIT_CASE(R17_orphan_under_other_memory_is_not_registered),
	KUNIT_CASE(R15_charge_of_memory_that_leaves_is_in_nobodys_way),
	KUNIT_CASE(R15_nobody_is_busy_with_an_abandoned_region),
	KUNIT_CASE(R16_letting_go_holds_up_nobody_elses_work),
	KUNIT_CASE(R16_all_pages_go_before_any_charge),
	KUNIT_CASE(R18_counters_share_no_cache_line_with_what_lookups_read),
	KUNIT_CASE(killed_while_waiting_for_mmap_lock_is_EINTR),
	KUNIT_CASE(abandoning_an_idle_region_lets_it_go_at_once),
	KUNIT_CASE(forgotten_regions_go_with_the_mm),
	KUNIT_CASE(pending_region_delays_nobody_but_its_like),
	KUNIT_CASE(who_waited_for_a_failure_tries_alone),
	KUNIT_CASE_SLOW(random_operations_agree_with_a_model),
	KUNIT_CASE_SLOW(R2_lookups_race_with_registration),
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
