/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the suites of regions share: an area of user memory in an mm of its own, the calls
 * on its pages, and the check that a case leaves nothing pinned and nothing charged.
 *
 * Each case runs in a kthread with an mm of its own. The names of cases carry the
 * defect or invariant they stand for.
 */
#ifndef _POWERPC_MM_MMU_CONTEXT_IOMMU_KUNIT_H
#define _POWERPC_MM_MMU_CONTEXT_IOMMU_KUNIT_H

#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <asm/mmu_context_iommu.h>

#define AREA_PAGES	64UL

struct region_test {
	struct mm_struct *mm;
	unsigned long area;
	unsigned long locked_vm;
	struct page *pages[AREA_PAGES];	/* of the area, each with a reference */
};

/* How many pages of the area are pinned. */
static inline long pins_held(struct region_test *rt)
{
	unsigned int i;
	long n = 0;

	for (i = 0; i < AREA_PAGES; i++)
		n += folio_maybe_dma_pinned(page_folio(rt->pages[i]));
	return n;
}

static inline int region_test_init(struct kunit *test)
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
static inline void wait_for_locked_vm(struct region_test *rt, unsigned long locked_vm)
{
	unsigned int tries;

	for (tries = 0; tries < 250 && (rt->mm->locked_vm != locked_vm || pins_held(rt)); tries++)
		msleep(20);
}

/* The leak check: every case ends with nothing pinned and nothing charged. */
static inline void region_test_exit(struct kunit *test)
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

static inline unsigned long page_ua(struct kunit *test, unsigned long page)
{
	return ((struct region_test *)test->priv)->area + page * PAGE_SIZE;
}

static inline int try_register(struct kunit *test, unsigned long page, unsigned long pages,
			       struct mm_iommu_region **region)
{
	return mm_iommu_register(current->mm, page_ua(test, page), pages * PAGE_SIZE, region);
}

static inline struct mm_iommu_region *do_register(struct kunit *test, unsigned long page,
						  unsigned long pages)
{
	struct mm_iommu_region *region = NULL;

	KUNIT_ASSERT_EQ(test, try_register(test, page, pages, &region), 0);
	KUNIT_ASSERT_NOT_NULL(test, region);
	return region;
}

static inline void do_unregister(struct kunit *test, struct mm_iommu_region *region)
{
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, region), 0);
}

/* What a container does at its end.  Nothing runs in real mode, so there is no need to wait. */
static inline void do_abandon(struct mm_struct *mm, struct mm_iommu_region *region)
{
	if (mm_iommu_abandon_start(mm, region))
		mm_iommu_abandon_finish(mm, region);
}

static inline struct mm_iommu_region *hold(struct kunit *test, unsigned long page, unsigned long n)
{
	return mm_iommu_hold(current->mm, page_ua(test, page), PAGE_SHIFT, &n);
}

/* Other memory, not touched yet, in place of pages of the area. */
static inline void replace_pages(struct kunit *test, unsigned long page, unsigned long n)
{
	KUNIT_ASSERT_EQ(test, vm_mmap(NULL, page_ua(test, page), n * PAGE_SIZE,
				      PROT_READ | PROT_WRITE,
				      MAP_ANONYMOUS | MAP_PRIVATE | MAP_FIXED, 0),
			page_ua(test, page));
}

#endif /* _POWERPC_MM_MMU_CONTEXT_IOMMU_KUNIT_H */
