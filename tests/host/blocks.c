// SPDX-License-Identifier: GPL-2.0
/*
 * Physical addresses of a region by blocks, against an array with one address per
 * page: asm/mm_iommu_blocks.h.
 */
#include <stdlib.h>
#include <string.h>

#define GFP_KERNEL_ACCOUNT	0
#define __GFP_NOWARN		0

static long allocations, fail_at = -1, live, scheduled, signal_after = -1;
static size_t largest_allocation;
static void *every_chunk;	/* where not NULL, chunks are this one, and take no memory */

#define CHUNK_BYTES		4096UL

static void *allocate(size_t n, size_t size)
{
	if (allocations++ == fail_at)
		return NULL;
	if (n * size > largest_allocation)
		largest_allocation = n * size;
	live++;
	return every_chunk && n * size == CHUNK_BYTES ? every_chunk : calloc(n, size);
}

static void release(void *p)
{
	live -= !!p;
	if (p != every_chunk)
		free(p);
}

/* A fatal signal comes when cond_resched() was called so many times. */
static int killed(void)
{
	return signal_after >= 0 && scheduled >= signal_after;
}

#define EINTR			4
#define ENOMEM			12
#define kcalloc(n, size, gfp)	allocate(n, size)
#define kmalloc_array(n, size, gfp) allocate(n, size)
#define kfree(p)		release(p)
#define cond_resched()		(scheduled++)
#define fatal_signal_pending(t)	killed()

#include "asm/mm_iommu_blocks.h"
#include "tap.h"

#define PAGE		0x10000UL
#define MOST		4096

static u64 where[MOST];		/* of each page */
static unsigned long pages;
static unsigned long first;

/* Append @n pages at @hpa to the reference. */
static void piece(u64 hpa, unsigned long n)
{
	while (n-- && pages < MOST) {
		where[pages++] = hpa;
		hpa += PAGE;
	}
}

static void start(unsigned long ua)
{
	first = ua;
	pages = 0;
}

/* Feed the reference to a store, in contiguous pieces of at most @most pages. */
static int store(struct mm_iommu_blocks *blocks, unsigned long most, unsigned long *done)
{
	unsigned long i, n;
	int ret = mm_iommu_blocks_init(blocks, first, first + pages * PAGE - 1);

	for (i = 0; !ret && i < pages; i += n) {
		*done = i;
		for (n = 1; i + n < pages && n < most && where[i + n] == where[i] + n * PAGE; n++)
			;
		ret = mm_iommu_blocks_add(blocks, first + i * PAGE, where[i], n * PAGE);
	}
	if (!ret)
		*done = pages;
	return ret;
}

/* Whether blocks of 1 << @shift would do. */
static int holds(unsigned int shift)
{
	unsigned long mask = (1UL << shift) - 1, i;

	for (i = 0; i < pages; i++) {
		if ((where[i] - first - i * PAGE) & mask)
			return 0;
		if (i && (first + i * PAGE) & mask && where[i] != where[i - 1] + PAGE)
			return 0;
	}
	return 1;
}

static unsigned int largest(void)
{
	unsigned int shift = MM_IOMMU_BLOCK_SHIFT_MAX;

	while (!holds(shift))
		shift--;
	return shift;
}

/* How many of the first @n pages are where they should be. */
static unsigned long right(const struct mm_iommu_blocks *blocks, unsigned long n)
{
	unsigned long i, good = 0;

	for (i = 0; i < n; i++)
		good += mm_iommu_blocks_hpa(blocks, first + i * PAGE + 8) == where[i] + 8;
	return good;
}

/* What mm_iommu_blocks_runs() told: pages that were right, and pieces cut too short. */
struct runs {
	unsigned long pages, wrong;
};

static void run_seen(u64 hpa, unsigned long bytes, void *arg)
{
	struct runs *runs = arg;
	unsigned long i;

	runs->wrong += !bytes || bytes % PAGE || runs->pages + bytes / PAGE > pages;
	if (runs->wrong)
		return;
	runs->wrong += runs->pages && where[runs->pages - 1] + PAGE == hpa;
	for (i = 0; i < bytes / PAGE; i++)
		runs->wrong += where[runs->pages + i] != hpa + i * PAGE;
	runs->pages += i;
}

/* Runs cover everything up to an end, are contiguous, and end where contiguity does. */
static int runs_right(const struct mm_iommu_blocks *blocks)
{
	unsigned long ends[] = { 0, 1, pages / 2, pages }, i;
	struct runs runs;

	for (i = 0; i < 4; i++) {
		runs = (struct runs){ };
		mm_iommu_blocks_runs(blocks, first + ends[i] * PAGE, run_seen, &runs);
		if (runs.wrong || runs.pages != ends[i])
			return 0;
	}
	return 1;
}

static void check(const char *name, unsigned long most)
{
	struct mm_iommu_blocks blocks;
	unsigned long done = 0;
	int ret = store(&blocks, most, &done);

	tap(!ret && blocks.shift == largest() && right(&blocks, pages) == pages && runs_right(&blocks),
	    name, "%d, block shift %u, should be %u, %lu of %lu pages right", ret, blocks.shift,
	    largest(), right(&blocks, pages), pages);
	mm_iommu_blocks_free(&blocks);
}

static void shapes(void)
{
	unsigned long i;

	start(0x7fff00000000);
	piece(0x7fff00000000 & 0x3ffffffff, 2048);
	check("one_contiguous_piece_in_its_place", 512);

	start(0x7fff00000000);
	for (i = 0; i < 64; i++)
		piece((i * 7 % 64) << 21 | 1UL << 32, 32);
	check("hugepages_of_2M", 512);

	start(0x7fff00000000);
	for (i = 0; i < 32; i++)
		piece((i * 5 % 32) << 21, 32);
	for (i = 0; i < 64; i++)
		piece((1UL << 33) + (i * 11 % 64) * 3 * PAGE, 1);
	check("R3_hugepages_followed_by_small_pages", 512);

	start(0x7fff00000000);
	for (i = 0; i < 64; i++)
		piece((1UL << 33) + (i * 11 % 64) * 3 * PAGE, 1);
	for (i = 0; i < 32; i++)
		piece((i * 5 % 32) << 21, 32);
	check("small_pages_followed_by_hugepages", 512);

	start(0x7fff001f0000);
	piece(0x1f0000 | 1UL << 30, 1);
	for (i = 1; i < 40; i++)
		piece((i * 7 % 40) << 21, 32);
	piece(1UL << 34, 5);
	check("unaligned_at_both_ends", 512);

	start(0x7fff00000000);
	piece(0x30000, 1024);
	check("contiguous_but_out_of_place", 512);

	start(0x7fff00000000);
	piece(1UL << 34, 1);
	check("a_single_page", 512);

	start(0x7ffff0000000);
	for (i = 0; i < 12; i++)
		piece((1UL << 40) + (i << (34 - i)), 1UL << (11 - i));
	check("finer_and_finer", 512);

	start(0);
	piece(0, 100);
	check("user_address_0", 7);
}

/* The reference with pieces of every size and place. */
static void random_shapes(void)
{
	unsigned int round, bad = 0, seen = 0, shift;
	struct mm_iommu_blocks blocks;
	unsigned long done, want;

	srandom(1);
	for (round = 0; round < 20000; round++) {
		shift = random() % 8;
		want = 1 + random() % (round % 50 ? 64 : MOST);
		start(0x7fff00000000 + ((random() % 64) << (random() % 2 ? 16 + shift : 16)));
		while (pages < want)
			piece(((u64)(random() % 4096) << (16 + shift)) + (first & ((PAGE << shift) - 1)),
			      1UL << (random() % 9 ? shift : random() % 8));
		done = 0;
		if (store(&blocks, 1 + random() % 512, &done) || blocks.shift != largest() ||
		    right(&blocks, pages) != pages || !runs_right(&blocks))
			bad++;
		seen |= 1U << (blocks.shift - 16);
		mm_iommu_blocks_free(&blocks);
	}
	tap(!bad && !(~seen & 0xff), "random_pieces_against_one_address_per_page",
	    "%u wrong, block sizes seen %#x", bad, seen);
}

/* Every allocation fails once: what was stored before is still right, nothing leaks. */
static void failures(void)
{
	struct mm_iommu_blocks blocks;
	unsigned long done, i, bad = 0;
	long n;
	int ret = 1;

	start(0x7fff00000000);
	for (i = 0; i < 32; i++)
		piece((i * 5 % 32) << 21, 32);
	for (i = 0; i < 2000; i++)
		piece((1UL << 33) + (i * 11 % 2000) * 3 * PAGE, 1);
	for (n = 0; ret && n < 1000; n++) {
		allocations = 0;
		fail_at = n;
		done = 0;
		ret = store(&blocks, 512, &done);
		fail_at = -1;
		bad += ret && ret != -ENOMEM;
		bad += done && right(&blocks, done) != done;
		mm_iommu_blocks_free(&blocks);
		bad += live != 0;
	}
	tap(!ret && !bad && n > 5, "every_failing_allocation", "%ld points, %lu wrong, %ld left", n,
	    bad, live);
}

/* What the store of 1 GiB costs. */
static void cost(void)
{
	struct mm_iommu_blocks blocks;
	unsigned long i, done;

	start(0x7fff00000000);
	for (i = 0; i < 8; i++)
		piece((1UL << 40) + ((i ^ 3) << 25), 512);
	allocations = 0;
	store(&blocks, 512, &done);
	tap(mm_iommu_blocks_count(&blocks) == 8 && blocks.dir == &blocks.chunk && live == 1,
	    "a_region_of_eight_blocks_is_one_object", "%lu blocks, %ld objects",
	    mm_iommu_blocks_count(&blocks), live);
	mm_iommu_blocks_free(&blocks);
	tap(live == 0, "nothing_is_left", "%ld", live);
}

/* Where page @i is, no two of a block's side by side. */
static u64 scattered(unsigned long i)
{
	return (u64)(i * 2654435761UL % (1UL << 24)) << 16;
}

/* More chunks than a directory has room for, and one more block than they hold. */
static void several_directories(void)
{
	unsigned long n = 2 * 2048 * 512 + 1, i, bad = 0;
	struct mm_iommu_blocks blocks;

	largest_allocation = 0;
	first = 0x7fff00000000;
	if (mm_iommu_blocks_init(&blocks, first, first + n * PAGE - 1))
		bad++;
	for (i = 0; !bad && i < n; i++)
		bad += mm_iommu_blocks_add(&blocks, first + i * PAGE, scattered(i), PAGE) != 0;
	for (i = 0; !bad && i < n; i++)
		bad += mm_iommu_blocks_hpa(&blocks, first + i * PAGE + 7) != scattered(i) + 7;
	tap(!bad && blocks.shift == 16, "several_directories", "%lu wrong, block shift %u", bad,
	    blocks.shift);
	mm_iommu_blocks_free(&blocks);
	tap(live == 0, "several_directories_are_freed", "%ld left", live);
}

/*
 * A region whose first page is odd, so that all of it is in pages: only the ends are filled
 * in.  Then one whose last page is odd, which must be cut up as a whole.
 */
static void R13_no_large_allocation(unsigned int page_shift, unsigned int odd_shift)
{
	unsigned long page = 1UL << page_shift, size = 1UL << 44, bad = 0, ua;
	static u64 chunk[CHUNK_BYTES / sizeof(u64)];
	struct mm_iommu_blocks blocks;
	struct runs none = { };

	every_chunk = chunk;
	largest_allocation = 0;
	first = 1UL << 45;
	bad += mm_iommu_blocks_init(&blocks, first, first + size - 1) != 0;
	mm_iommu_blocks_runs(&blocks, first, run_seen, &none);	/* as when no page can be pinned */
	bad += none.pages + none.wrong;
	bad += mm_iommu_blocks_add(&blocks, first, page, page) != 0;
	bad += mm_iommu_blocks_put(&blocks, first + size - page, 42 * page, page) != 0;
	bad += mm_iommu_blocks_hpa(&blocks, first + size - 1) != 43 * page - 1;
	bad += blocks.shift != page_shift;
	mm_iommu_blocks_free(&blocks);

	size = 1UL << odd_shift;
	bad += mm_iommu_blocks_init(&blocks, first, first + size - 1) != 0;
	for (ua = first; ua < first + size - (1UL << 34); ua += 1UL << 34)
		bad += mm_iommu_blocks_add(&blocks, ua, ua ^ 1UL << 36, 1UL << 34) != 0;
	bad += mm_iommu_blocks_add(&blocks, ua, ua ^ 1UL << 36, (1UL << 34) - page) != 0;
	bad += mm_iommu_blocks_add(&blocks, first + size - page, page, page) != 0;
	bad += blocks.shift != page_shift;
	mm_iommu_blocks_free(&blocks);
	tap(!bad && live == 0 && largest_allocation <= 65536,
	    page_shift == 16 ? "R13_16_TiB_of_64K_pages" : "R13_16_TiB_of_4K_pages",
	    "%lu wrong, %ld left, largest allocation %zu", bad, live, largest_allocation);
	every_chunk = NULL;
}

/* Hugepages and an odd page behind them, then cut up and freed. */
static void R12_long_loops(void)
{
	unsigned long chunks = 64, n = chunks * 512, i, before;
	struct mm_iommu_blocks blocks;
	int ret = 0;

	first = 1UL << 45;
	for (i = 0; i < 2; i++) {
		scheduled = 0;
		signal_after = -1;
		ret = mm_iommu_blocks_init(&blocks, first, first + (n + 1) * PAGE - 1);
		if (!ret)
			ret = mm_iommu_blocks_add(&blocks, first, 1UL << 45, n * PAGE);
		signal_after = i ? scheduled + 3 : -1;
		if (!ret)
			ret = mm_iommu_blocks_add(&blocks, first + n * PAGE, PAGE, PAGE);
		if (i)
			break;
		tap(!ret && scheduled >= (long)chunks / 2, "R12_cutting_up_reschedules", "%d, %ld times",
		    ret, scheduled);
		before = scheduled;
		mm_iommu_blocks_free(&blocks);
		tap(scheduled - (long)before >= (long)chunks / 2, "R12_freeing_reschedules", "%ld times",
		    scheduled - (long)before);
	}
	tap(ret == -EINTR && blocks.shift > 16 &&
	    mm_iommu_blocks_hpa(&blocks, first + 5) == (1UL << 45) + 5,
	    "R12_a_fatal_signal_ends_the_cutting_up", "%d, %ld times", ret, scheduled);
	signal_after = -1;
	mm_iommu_blocks_free(&blocks);
	tap(live == 0, "R12_nothing_is_left", "%ld", live);
}

int main(void)
{
	shapes();
	random_shapes();
	failures();
	cost();
	several_directories();
	R13_no_large_allocation(16, 44);
	R13_no_large_allocation(12, 38);
	R12_long_loops();
	return tap_end();
}
