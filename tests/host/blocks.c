// SPDX-License-Identifier: GPL-2.0
/*
 * Physical addresses of a region by blocks, against an array with one address per
 * page: asm/mm_iommu_blocks.h.
 */
#include <stdlib.h>
#include <string.h>

#define GFP_KERNEL_ACCOUNT	0
#define __GFP_NOWARN		0

static long allocations, fail_at = -1, live;

static void *allocate(size_t n, size_t size)
{
	if (allocations++ == fail_at)
		return NULL;
	live++;
	return calloc(n, size);
}

static void release(void *p)
{
	live -= !!p;
	free(p);
}

#define ENOMEM			12
#define kcalloc(n, size, gfp)	allocate(n, size)
#define kmalloc_array(n, size, gfp) allocate(n, size)
#define kfree(p)		release(p)
#define cond_resched()		do { } while (0)

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

/* Runs cover everything, are contiguous, and end where contiguity does. */
static int runs_right(const struct mm_iommu_blocks *blocks)
{
	unsigned long i, n, max = pages;

	for (i = 0; i < pages; i += n) {
		n = mm_iommu_blocks_run(blocks, first + i * PAGE, first + max * PAGE) / PAGE;
		if (!n || where[i + n - 1] != where[i] + (n - 1) * PAGE)
			return 0;
		if (i + n < pages && where[i + n] == where[i] + n * PAGE)
			return 0;
	}
	return i == pages;
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
	tap(mm_iommu_blocks_count(&blocks) == 8 && blocks.chunks == &blocks.only && live == 1,
	    "a_region_of_eight_blocks_is_one_object", "%lu blocks, %ld objects",
	    mm_iommu_blocks_count(&blocks), live);
	mm_iommu_blocks_free(&blocks);
	tap(live == 0, "nothing_is_left", "%ld", live);
}

int main(void)
{
	shapes();
	random_shapes();
	failures();
	cost();
	return tap_end();
}
