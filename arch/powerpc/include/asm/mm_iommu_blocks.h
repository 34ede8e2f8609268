/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A store of the host physical addresses of a region, one for each block.
 *
 * A block is a piece of the user address space that is physically contiguous.
 * Its size is a power of two, and both its user and its physical address are
 * multiples of that.  The first and the last block are cut to the bounds of the
 * region.  All blocks of a region have the same size: the largest that is
 * possible for all of them.  The store has the physical address of the start of
 * each block, so a region of hugepages needs a few words only.
 *
 * Addresses are added in order while pages are pinned.  The block size starts
 * at its maximum.  A piece of memory that does not fit into such blocks makes
 * the store be rebuilt with smaller ones.  The size is at least halved each
 * time, so all rebuilds together cost at most twice as much as the last one.
 *
 * Addresses are in chunks, chunks in directories, directories in the top.  All
 * three are slab memory, so they are in the linear mapping, and small.  Only
 * the top grows with the region: to 32 KiB where 16 TiB are in blocks of 4 KiB.
 * If there is one chunk, or one directory, a pointer in the structure stands
 * for the array above it.
 *
 * The header needs nothing but an allocator, cond_resched() and a look at signals, so
 * that it is tested on the build host too.
 */
#ifndef _ASM_POWERPC_MM_IOMMU_BLOCKS_H
#define _ASM_POWERPC_MM_IOMMU_BLOCKS_H

#include <linux/types.h>

/* The largest hugepage is 16G, and so is the largest IOMMU page. */
#define MM_IOMMU_BLOCK_SHIFT_MAX 34

/* Host physical addresses are kept in chunks of this many (4 KiB of memory). */
#define MM_IOMMU_CHUNK_ENTRIES 512UL

/* Chunks are kept in directories of this many (16 KiB of memory). */
#define MM_IOMMU_DIR_CHUNKS 2048UL

#define MM_IOMMU_DIR_ENTRIES (MM_IOMMU_DIR_CHUNKS * MM_IOMMU_CHUNK_ENTRIES)

/**
 * struct mm_iommu_blocks - host physical addresses of the memory from @first to @last
 * @first: first user address
 * @last: last user address
 * @shift: log2 of the block size
 * @top: the directories, MM_IOMMU_DIR_CHUNKS chunks in each but the last; NULL before
 *	mm_iommu_blocks_init() and after mm_iommu_blocks_free()
 * @dir: what @top points to where there is one directory
 * @chunk: what @dir points to where there is one chunk; one address per block,
 *	MM_IOMMU_CHUNK_ENTRIES in each chunk but the last
 */
struct mm_iommu_blocks {
	unsigned long first;
	unsigned long last;
	unsigned int shift;
	u64 ***top;
	u64 **dir;
	u64 *chunk;
};

/* The number of the block that holds user address @ua. */
static inline unsigned long
mm_iommu_blocks_index(const struct mm_iommu_blocks *blocks, unsigned long ua)
{
	return (ua >> blocks->shift) - (blocks->first >> blocks->shift);
}

/* Where the address of block @i is stored; the rest of its chunk follows. */
static inline u64 *mm_iommu_blocks_at(const struct mm_iommu_blocks *blocks,
				      unsigned long i)
{
	u64 **dir = blocks->top[i / MM_IOMMU_DIR_ENTRIES];

	return dir[i / MM_IOMMU_CHUNK_ENTRIES % MM_IOMMU_DIR_CHUNKS] +
	       i % MM_IOMMU_CHUNK_ENTRIES;
}

/* Host physical address of user address @ua.  Context: any, also real mode. */
static inline u64 mm_iommu_blocks_hpa(const struct mm_iommu_blocks *blocks,
				      unsigned long ua)
{
	return *mm_iommu_blocks_at(blocks, mm_iommu_blocks_index(blocks, ua)) |
	       (ua & ((1UL << blocks->shift) - 1));
}

static inline unsigned long
mm_iommu_blocks_count(const struct mm_iommu_blocks *blocks)
{
	return mm_iommu_blocks_index(blocks, blocks->last) + 1;
}

static inline unsigned long
mm_iommu_blocks_dirs(const struct mm_iommu_blocks *blocks)
{
	return (mm_iommu_blocks_count(blocks) - 1) / MM_IOMMU_DIR_ENTRIES + 1;
}

/* How many chunks the directory has that is the @i-th of the top. */
static inline unsigned long
mm_iommu_blocks_chunks(const struct mm_iommu_blocks *blocks, unsigned long i)
{
	unsigned long left =
		mm_iommu_blocks_count(blocks) - i * MM_IOMMU_DIR_ENTRIES;

	return left < MM_IOMMU_DIR_ENTRIES ?
		       (left - 1) / MM_IOMMU_CHUNK_ENTRIES + 1 :
		       MM_IOMMU_DIR_CHUNKS;
}

/* Free all memory of the store.  Context: may sleep. */
static inline void mm_iommu_blocks_free(struct mm_iommu_blocks *blocks)
{
	unsigned long i, j;
	u64 **dir;

	if (!blocks->top)
		return;
	for (i = 0; i < mm_iommu_blocks_dirs(blocks); i++) {
		dir = blocks->top[i];
		for (j = 0; dir && j < mm_iommu_blocks_chunks(blocks, i); j++) {
			kfree(dir[j]);
			cond_resched();
		}
		if (dir != &blocks->chunk)
			kfree(dir);
	}
	if (blocks->top != &blocks->dir)
		kfree(blocks->top);
	blocks->top = NULL;
}

/* Make an empty store, blocks of 1 << @shift bytes.  Return: 0 or -ENOMEM. */
static inline int mm_iommu_blocks_reset(struct mm_iommu_blocks *blocks,
					unsigned int shift)
{
	blocks->shift = shift;
	blocks->chunk = NULL;
	blocks->dir = mm_iommu_blocks_count(blocks) > MM_IOMMU_CHUNK_ENTRIES ?
			      NULL :
			      &blocks->chunk;
	blocks->top = &blocks->dir;
	if (mm_iommu_blocks_dirs(blocks) > 1)
		blocks->top = kcalloc(mm_iommu_blocks_dirs(blocks),
				      sizeof(*blocks->top),
				      GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	return blocks->top ? 0 : -ENOMEM;
}

/* Move @from to @to.  Where @from points to itself, @to points to itself. */
static inline void mm_iommu_blocks_move(struct mm_iommu_blocks *to,
					const struct mm_iommu_blocks *from)
{
	*to = *from;
	if (from->dir == &from->chunk)
		to->dir = &to->chunk;
	if (from->top == &from->dir)
		to->top = &to->dir;
}

/**
 * mm_iommu_blocks_init() - an empty store for the region from @first to @last
 * @blocks: the store
 * @first: first user address, page aligned
 * @last: last user address
 *
 * Return: 0 or -ENOMEM.  mm_iommu_blocks_free() may be called in any case.
 */
static inline int mm_iommu_blocks_init(struct mm_iommu_blocks *blocks,
				       unsigned long first, unsigned long last)
{
	blocks->first = first;
	blocks->last = last;
	return mm_iommu_blocks_reset(blocks, MM_IOMMU_BLOCK_SHIFT_MAX);
}

/*
 * Find the chunk that begins with block number @i, a multiple of
 * MM_IOMMU_CHUNK_ENTRIES, or allocate it.  Return: the chunk, or NULL without
 * memory.
 */
static inline u64 *mm_iommu_blocks_chunk(struct mm_iommu_blocks *blocks,
					 unsigned long i)
{
	u64 ***dir = &blocks->top[i / MM_IOMMU_DIR_ENTRIES], **chunk;
	unsigned long count;

	if (!*dir)
		*dir = kcalloc(mm_iommu_blocks_chunks(blocks,
						      i / MM_IOMMU_DIR_ENTRIES),
			       sizeof(**dir), GFP_KERNEL_ACCOUNT);
	if (!*dir)
		return NULL;
	chunk = &(*dir)[i / MM_IOMMU_CHUNK_ENTRIES % MM_IOMMU_DIR_CHUNKS];
	if (*chunk)
		return *chunk;
	count = mm_iommu_blocks_count(blocks) - i;
	if (count > MM_IOMMU_CHUNK_ENTRIES)
		count = MM_IOMMU_CHUNK_ENTRIES;
	*chunk = kmalloc_array(count, sizeof(**chunk), GFP_KERNEL_ACCOUNT);
	return *chunk;
}

/*
 * Store the blocks of a contiguous piece.  It must fit into blocks of the
 * present size.
 * Return: 0, -ENOMEM, or -EINTR after a fatal signal.
 */
static inline int mm_iommu_blocks_put(struct mm_iommu_blocks *blocks,
				      unsigned long ua, u64 hpa,
				      unsigned long bytes)
{
	unsigned long i = mm_iommu_blocks_index(blocks, ua);
	unsigned long end = mm_iommu_blocks_index(blocks, ua + bytes - 1) + 1;
	unsigned long slot;
	u64 *chunk;

	hpa &= ~((1ULL << blocks->shift) - 1);
	while (i < end) {
		slot = i % MM_IOMMU_CHUNK_ENTRIES;
		chunk = mm_iommu_blocks_chunk(blocks, i - slot);
		if (!chunk)
			return -ENOMEM;
		for (; slot < MM_IOMMU_CHUNK_ENTRIES && i < end; slot++, i++) {
			chunk[slot] = hpa;
			hpa += 1ULL << blocks->shift;
		}
		if (i == end)
			break;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/*
 * Rebuild what is stored up to user address @end with blocks of 1 << @shift
 * bytes.
 * Return: 0; -ENOMEM, or -EINTR after a fatal signal: nothing has changed.
 */
static inline int mm_iommu_blocks_refine(struct mm_iommu_blocks *blocks,
					 unsigned int shift, unsigned long end)
{
	struct mm_iommu_blocks fine = { .first = blocks->first,
					.last = blocks->last };
	unsigned long ua, bytes, n = 0;
	u64 hpa;
	int ret;

	ret = mm_iommu_blocks_reset(&fine, shift);
	for (ua = blocks->first; !ret && ua != end; ua += bytes) {
		if (++n % MM_IOMMU_CHUNK_ENTRIES == 0) {
			cond_resched();
			if (fatal_signal_pending(current)) {
				ret = -EINTR;
				break;
			}
		}
		bytes = (1UL << blocks->shift) -
			(ua & ((1UL << blocks->shift) - 1));
		if (bytes > end - ua)
			bytes = end - ua;
		hpa = mm_iommu_blocks_hpa(blocks, ua);
		ret = mm_iommu_blocks_put(&fine, ua, hpa, bytes);
	}
	if (ret) {
		mm_iommu_blocks_free(&fine);
		return ret;
	}
	mm_iommu_blocks_free(blocks);
	mm_iommu_blocks_move(blocks, &fine);
	return 0;
}

/**
 * mm_iommu_blocks_add() - remember where the next piece of a region is
 * @blocks: the store
 * @ua: user address of the piece; pieces come in order and without a gap
 * @hpa: host physical address of the piece, contiguous
 * @bytes: its size; @ua, @hpa and @bytes are multiples of the page size
 *
 * Return: 0; -ENOMEM, or -EINTR after a fatal signal: what was stored before remains.
 */
static inline int mm_iommu_blocks_add(struct mm_iommu_blocks *blocks,
				      unsigned long ua, u64 hpa,
				      unsigned long bytes)
{
	unsigned long i = mm_iommu_blocks_index(blocks, ua);
	unsigned long mask = (1UL << blocks->shift) - 1;
	unsigned long wrong = hpa - ua;
	int ret;

	/* One whole block, and the block before it is in the same chunk. */
	if (bytes == mask + 1 && !((ua | hpa) & mask) &&
	    i % MM_IOMMU_CHUNK_ENTRIES) {
		*mm_iommu_blocks_at(blocks, i) = hpa;
		return 0;
	}

	/*
	 * Blocks must be smaller where the offset in a block would differ
	 * between user and physical address, or where a block would hold pieces
	 * that are apart.
	 */
	if (ua & mask && ua != blocks->first &&
	    hpa != mm_iommu_blocks_hpa(blocks, ua - 1) + 1)
		wrong |= ua;
	if (wrong & mask) {
		ret = mm_iommu_blocks_refine(blocks, __builtin_ctzl(wrong), ua);
		if (ret)
			return ret;
	}
	return mm_iommu_blocks_put(blocks, ua, hpa, bytes);
}

/**
 * mm_iommu_blocks_runs() - call a function for each physically contiguous piece
 * @blocks: the store, complete up to @end
 * @end: user address to stop at; may be 0 for the end of the address space
 * @fn: called for each piece in order with its host physical address and its size in bytes
 * @arg: passed to @fn
 *
 * Context: may sleep.
 */
static inline void
mm_iommu_blocks_runs(const struct mm_iommu_blocks *blocks, unsigned long end,
		     void (*fn)(u64 hpa, unsigned long bytes, void *arg),
		     void *arg)
{
	const unsigned long size = 1UL << blocks->shift;
	const unsigned long offset = blocks->first & (size - 1);
	const unsigned long start = blocks->first - offset;
	unsigned long nr, i, stop;
	const u64 *at, *last;
	u64 hpa, next;

	if (end == blocks->first)
		return;
	/* Only the first block may be cut at its start, and only the last one at its end. */
	nr = ((end - 1 - start) >> blocks->shift) + 1;
	next = *mm_iommu_blocks_at(blocks, 0);
	hpa = next + offset;
	next += size;
	for (i = 1; i < nr; i = stop) {
		stop = (i | (MM_IOMMU_CHUNK_ENTRIES - 1)) + 1;
		if (stop > nr)
			stop = nr;
		at = mm_iommu_blocks_at(blocks, i);
		for (last = at + (stop - i); at != last; at++) {
			if (*at != next) {
				fn(hpa, next - hpa, arg);
				hpa = *at;
				next = hpa;
			}
			next += size;
		}
		cond_resched();
	}
	next -= start + (nr << blocks->shift) - end;
	fn(hpa, next - hpa, arg);
}

#endif /* _ASM_POWERPC_MM_IOMMU_BLOCKS_H */
