/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Physical addresses of a region by blocks.
 *
 * A block is a naturally aligned, power-of-two piece of the user address space, cut
 * to the region's bounds at both ends, that is physically contiguous and lies at a
 * multiple of its size, too.  All blocks of a region have the same size: the largest
 * that holds throughout.  There is one host physical address for each, that of the
 * block's (virtual) start, so a region of hugepages costs a few words.
 *
 * Addresses come in while pages are pinned, in order.  The block size starts at its
 * maximum; a piece that breaks it makes the store be cut up anew, which by doubling
 * costs no more altogether than the final store.
 *
 * Chunks and their directory are slab memory, and so in the linear mapping.  The
 * header needs nothing but an allocator and cond_resched(), so that it is tested on
 * the build host too.
 */
#ifndef _ASM_POWERPC_MM_IOMMU_BLOCKS_H
#define _ASM_POWERPC_MM_IOMMU_BLOCKS_H

#include <linux/types.h>

/* The largest hugepage is 16G, and so is the largest IOMMU page. */
#define MM_IOMMU_BLOCK_SHIFT_MAX	34

/* Host physical addresses are kept in chunks of this many (4 KiB of memory). */
#define MM_IOMMU_CHUNK_ENTRIES	512UL

/**
 * struct mm_iommu_blocks - host physical addresses of the memory from @first to @last
 * @first: first user address
 * @last: last user address
 * @shift: log2 of the block size
 * @chunks: one address per block, MM_IOMMU_CHUNK_ENTRIES in each chunk but the last
 * @only: what @chunks points to where there is one chunk
 */
struct mm_iommu_blocks {
	unsigned long first;
	unsigned long last;
	unsigned int shift;
	u64 **chunks;
	u64 *only;
};

/* The number of the block that holds user address @ua. */
static inline unsigned long mm_iommu_blocks_index(const struct mm_iommu_blocks *blocks,
						  unsigned long ua)
{
	return (ua >> blocks->shift) - (blocks->first >> blocks->shift);
}

/* Host physical address of user address @ua.  Context: any, also real mode. */
static inline u64 mm_iommu_blocks_hpa(const struct mm_iommu_blocks *blocks, unsigned long ua)
{
	unsigned long i = mm_iommu_blocks_index(blocks, ua);

	return blocks->chunks[i / MM_IOMMU_CHUNK_ENTRIES][i % MM_IOMMU_CHUNK_ENTRIES] |
	       (ua & ((1UL << blocks->shift) - 1));
}

static inline unsigned long mm_iommu_blocks_count(const struct mm_iommu_blocks *blocks)
{
	return mm_iommu_blocks_index(blocks, blocks->last) + 1;
}

static inline unsigned long mm_iommu_blocks_chunks(const struct mm_iommu_blocks *blocks)
{
	return (mm_iommu_blocks_count(blocks) - 1) / MM_IOMMU_CHUNK_ENTRIES + 1;
}

/* Free all memory of the store. */
static inline void mm_iommu_blocks_free(struct mm_iommu_blocks *blocks)
{
	unsigned long i;

	if (!blocks->chunks)
		return;
	for (i = 0; i < mm_iommu_blocks_chunks(blocks); i++)
		kfree(blocks->chunks[i]);
	if (blocks->chunks != &blocks->only)
		kfree(blocks->chunks);
	blocks->chunks = NULL;
}

/* Blocks of another size, none of them known yet.  Return: 0 or -ENOMEM. */
static inline int mm_iommu_blocks_size(struct mm_iommu_blocks *blocks, unsigned int shift)
{
	blocks->shift = shift;
	blocks->only = NULL;
	blocks->chunks = &blocks->only;
	if (mm_iommu_blocks_chunks(blocks) > 1)
		blocks->chunks = kcalloc(mm_iommu_blocks_chunks(blocks), sizeof(*blocks->chunks),
					 GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	return blocks->chunks ? 0 : -ENOMEM;
}

/**
 * mm_iommu_blocks_init() - an empty store for the region from @first to @last
 * @blocks: the store
 * @first: first user address, page aligned
 * @last: last user address
 *
 * Return: 0 or -ENOMEM.  mm_iommu_blocks_free() may be called in any case.
 */
static inline int mm_iommu_blocks_init(struct mm_iommu_blocks *blocks, unsigned long first,
				       unsigned long last)
{
	blocks->first = first;
	blocks->last = last;
	return mm_iommu_blocks_size(blocks, MM_IOMMU_BLOCK_SHIFT_MAX);
}

/* Set the blocks of a contiguous piece that may lie in blocks of this size. */
static inline int mm_iommu_blocks_put(struct mm_iommu_blocks *blocks, unsigned long ua,
				      u64 hpa, unsigned long bytes)
{
	unsigned long i = mm_iommu_blocks_index(blocks, ua);
	unsigned long n = mm_iommu_blocks_index(blocks, ua + bytes - 1) - i + 1;
	unsigned long slot, count;
	u64 **chunk;

	hpa &= ~((1ULL << blocks->shift) - 1);
	for (; n; n--, i++, hpa += 1ULL << blocks->shift) {
		chunk = &blocks->chunks[i / MM_IOMMU_CHUNK_ENTRIES];
		slot = i % MM_IOMMU_CHUNK_ENTRIES;
		if (!*chunk) {
			count = mm_iommu_blocks_count(blocks) - (i - slot);
			if (count > MM_IOMMU_CHUNK_ENTRIES)
				count = MM_IOMMU_CHUNK_ENTRIES;
			*chunk = kmalloc_array(count, sizeof(**chunk), GFP_KERNEL_ACCOUNT);
			if (!*chunk)
				return -ENOMEM;
			cond_resched();
		}
		(*chunk)[slot] = hpa;
	}
	return 0;
}

/*
 * Cut what is known up to user address @end into blocks of 1 << @shift bytes.
 * Return: 0 or -ENOMEM; then nothing has changed.
 */
static inline int mm_iommu_blocks_refine(struct mm_iommu_blocks *blocks, unsigned int shift,
					 unsigned long end)
{
	struct mm_iommu_blocks fine = { .first = blocks->first, .last = blocks->last };
	unsigned long ua, bytes;
	int ret;

	ret = mm_iommu_blocks_size(&fine, shift);
	for (ua = blocks->first; !ret && ua != end; ua += bytes) {
		bytes = (1UL << blocks->shift) - (ua & ((1UL << blocks->shift) - 1));
		if (bytes > end - ua)
			bytes = end - ua;
		ret = mm_iommu_blocks_put(&fine, ua, mm_iommu_blocks_hpa(blocks, ua), bytes);
	}
	if (ret) {
		mm_iommu_blocks_free(&fine);
		return ret;
	}
	mm_iommu_blocks_free(blocks);
	*blocks = fine;
	if (fine.chunks == &fine.only)
		blocks->chunks = &blocks->only;
	return 0;
}

/**
 * mm_iommu_blocks_add() - remember where the next piece of a region is
 * @blocks: the store
 * @ua: user address of the piece; pieces come in order and without a gap
 * @hpa: host physical address of the piece, contiguous
 * @bytes: its size; @ua, @hpa and @bytes are multiples of the page size
 *
 * Return: 0 or -ENOMEM; what was stored before remains.
 */
static inline int mm_iommu_blocks_add(struct mm_iommu_blocks *blocks, unsigned long ua,
				      u64 hpa, unsigned long bytes)
{
	unsigned long wrong = hpa - ua;
	int ret;

	/* A block can neither hold two pieces nor lie at an odd place. */
	if (ua != blocks->first && hpa != mm_iommu_blocks_hpa(blocks, ua - 1) + 1)
		wrong |= ua;
	if (wrong & ((1UL << blocks->shift) - 1)) {
		ret = mm_iommu_blocks_refine(blocks, __builtin_ctzl(wrong), ua);
		if (ret)
			return ret;
	}
	return mm_iommu_blocks_put(blocks, ua, hpa, bytes);
}

/**
 * mm_iommu_blocks_run() - how far memory is contiguous
 * @blocks: the store, complete up to @end
 * @ua: where to start
 * @end: where to stop; may be 0 for the end of the address space
 *
 * Return: bytes from @ua on that are contiguous.
 */
static inline unsigned long mm_iommu_blocks_run(const struct mm_iommu_blocks *blocks,
						unsigned long ua, unsigned long end)
{
	unsigned long size = 1UL << blocks->shift;
	unsigned long at = (ua | (size - 1)) + 1;
	u64 next = mm_iommu_blocks_hpa(blocks, ua) + (at - ua);

	for (; at - ua < end - ua && mm_iommu_blocks_hpa(blocks, at) == next; at += size)
		next += size;
	return at - ua < end - ua ? at - ua : end - ua;
}

#endif /* _ASM_POWERPC_MM_IOMMU_BLOCKS_H */
