// SPDX-License-Identifier: GPL-2.0
/*
 * Pages for DMA: pin a range of user memory and store where it is, and unpin it again.
 *
 * Pinned pages are found by their host physical addresses, which are in a store
 * (asm/mm_iommu_blocks.h).  The code here does not know who uses a store, or
 * for how long; see mmu_context_iommu.c for that.
 *
 * Cannot fail: unpinning.
 */

#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <asm/mm_iommu_blocks.h>
#include "mm_iommu_pages.h"

/* Pages to pin, or folios to unpin, before other tasks may run. */
#define PIN_BATCH 512UL

static unsigned long blocks_pages(const struct mm_iommu_blocks *blocks)
{
	return ((blocks->last - blocks->first) >> PAGE_SHIFT) + 1;
}

/*
 * How many of @pages are physically consecutive, from the first one on, at most
 * @max.  If all struct pages are one array, pointers are compared, which is
 * cheaper; if not, page frame numbers are.
 */
static unsigned long pages_run(struct page **pages, unsigned long max)
{
	const bool array = IS_ENABLED(CONFIG_FLATMEM) ||
			   IS_ENABLED(CONFIG_SPARSEMEM_VMEMMAP);
	const unsigned long pfn = page_to_pfn(pages[0]);
	unsigned long n;

	for (n = 1; n < max; n++)
		if (array ? pages[n] != pages[0] + n :
			    page_to_pfn(pages[n]) != pfn + n)
			break;
	return n;
}

/* Store the addresses of @n pages from user address @ua on. */
static int pages_store(struct mm_iommu_blocks *blocks, unsigned long ua,
		       struct page **pages, unsigned long n)
{
	unsigned long done, run;
	int ret;

	for (done = 0; done < n; done += run) {
		run = pages_run(pages + done, n - done);
		ret = mm_iommu_blocks_add(blocks, ua + (done << PAGE_SHIFT),
					  page_to_phys(pages[done]),
					  run << PAGE_SHIFT);
		if (ret)
			return ret;
	}
	return 0;
}

/* Whether the store has these @n pages from user address @ua on. */
static bool pages_are_stored(const struct mm_iommu_blocks *blocks,
			     unsigned long ua, struct page **pages,
			     unsigned long n)
{
	unsigned long i;

	for (i = 0; i < n; i++, ua += PAGE_SIZE)
		if (page_to_phys(pages[i]) != mm_iommu_blocks_hpa(blocks, ua))
			return false;
	return true;
}

/*
 * Unpin @left consecutive pages from @pfn on, folio by folio.  The struct pages
 * of a longer run need not be consecutive, see pages_run().
 */
static void folios_unpin(unsigned long pfn, unsigned long left, bool written)
{
	unsigned long folios = 0, n;
	struct folio *folio;

	for (; left; left -= n, pfn += n) {
		folio = page_folio(pfn_to_page(pfn));
		n = min(left, folio_pfn(folio) + folio_nr_pages(folio) - pfn);
		if (written && !folio_test_dirty(folio)) {
			folio_lock(folio);
			folio_mark_dirty(folio);
			folio_unlock(folio);
		}
		unpin_user_folio(folio, n);
		if (++folios % PIN_BATCH == 0)
			cond_resched();
	}
}

/*
 * Unpin a contiguous piece of a region.  Where there are most pieces, each is a
 * single page.  That case comes first: it saves 4 of 122 instructions a page.
 */
static void run_unpin(u64 hpa, unsigned long bytes, void *unused)
{
	if (likely(bytes == PAGE_SIZE))
		unpin_user_page(pfn_to_page(PHYS_PFN(hpa)));
	else
		folios_unpin(PHYS_PFN(hpa), bytes >> PAGE_SHIFT, false);
}

static void run_unpin_written(u64 hpa, unsigned long bytes, void *unused)
{
	folios_unpin(PHYS_PFN(hpa), bytes >> PAGE_SHIFT, true);
}

static void pages_unpin(struct mm_iommu_blocks *blocks, unsigned long end,
			bool written)
{
	if (written)
		mm_iommu_blocks_runs(blocks, end, run_unpin_written, NULL);
	else
		mm_iommu_blocks_runs(blocks, end, run_unpin, NULL);
}

/**
 * mm_iommu_pages_unpin() - unpin the pages of a store
 * @blocks: a complete store; it stays, and is to be freed
 * @written: devices may have written to them, so they are dirty
 *
 * Context: Process, may sleep for as long as unpinning takes.  Cannot fail.
 */
void mm_iommu_pages_unpin(struct mm_iommu_blocks *blocks, bool written)
{
	pages_unpin(blocks, blocks->last + 1, written);
}

/*
 * Pin up to @want pages from user address @ua on; at most a batch.
 * Return: how many, or a negative errno when none was.
 */
static long pages_pin(unsigned long ua, unsigned long want, struct page **pages)
{
	long got;

	if (fatal_signal_pending(current))
		return -EINTR;
	got = pin_user_pages_fast(ua, min(want, PIN_BATCH),
				  FOLL_WRITE | FOLL_LONGTERM, pages);
	if (got > 0)
		return got;
	/* Killed while waiting for mmap_lock: that gives another errno. */
	if (fatal_signal_pending(current))
		return -EINTR;
	return got == -ENOMEM ? -ENOMEM : -EFAULT;
}

/* Allocate an array for the next batch of @left pages. */
static struct page **pages_batch(unsigned long left)
{
	return kmalloc_array(min(PIN_BATCH, left), sizeof(struct page *),
			     GFP_KERNEL_ACCOUNT);
}

/**
 * mm_iommu_pages_pin() - pin user memory for DMA and store where it is
 * @blocks: the store, filled in
 * @ua: first user address of the calling process, a multiple of PAGE_SIZE
 * @last: last user address
 *
 * Context: Process; may sleep for as long as pinning takes, takes mmap_lock.  A fatal signal
 * ends it.
 * Return: 0; -EFAULT when some of the memory cannot be had, -ENOMEM, -EINTR.  On failure
 * nothing is pinned, and @blocks needs no freeing.
 */
int mm_iommu_pages_pin(struct mm_iommu_blocks *blocks, unsigned long ua,
		       unsigned long last)
{
	unsigned long left = ((last - ua) >> PAGE_SHIFT) + 1;
	struct page **pages = pages_batch(left);
	int ret = pages ? 0 : -ENOMEM;
	long got;

	ret = mm_iommu_blocks_init(blocks, ua, last) ?: ret;
	while (left && !ret) {
		got = pages_pin(ua, left, pages);
		if (got < 0) {
			ret = got;
			break;
		}
		ret = pages_store(blocks, ua, pages, got);
		if (ret) {
			unpin_user_pages(pages, got);
			break;
		}
		ua += got << PAGE_SHIFT;
		left -= got;
		cond_resched();
	}
	kfree(pages);
	if (ret) {
		pages_unpin(blocks, ua, false);
		mm_iommu_blocks_free(blocks);
	}
	return ret;
}

/**
 * mm_iommu_pages_compare() - whether what is mapped now are the pages of a store
 * @blocks: a complete store of memory of the calling process
 *
 * Context: as mm_iommu_pages_pin().
 * Return: 0; -EBUSY when they are not, or another negative errno of mm_iommu_pages_pin().
 */
int mm_iommu_pages_compare(const struct mm_iommu_blocks *blocks)
{
	unsigned long ua = blocks->first, left = blocks_pages(blocks);
	struct page **pages = pages_batch(left);
	int ret = pages ? 0 : -ENOMEM;
	long got;

	while (left && !ret) {
		got = pages_pin(ua, left, pages);
		if (got < 0) {
			ret = got;
			break;
		}
		if (!pages_are_stored(blocks, ua, pages, got))
			ret = -EBUSY;
		unpin_user_pages(pages, got);
		ua += got << PAGE_SHIFT;
		left -= got;
		cond_resched();
	}
	kfree(pages);
	return ret;
}
