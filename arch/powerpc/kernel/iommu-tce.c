// SPDX-License-Identifier: GPL-2.0
/*
 * Requests of user space and guests on a TCE table: map and unmap a range.
 *
 * This is where regions (who owns memory, asm/mmu_context_iommu.h) and tables
 * (which TCEs exist, &struct iommu_table_ops) meet.  A request goes through these
 * steps, in this order:
 *
 * hold	   raise the mapped count of each region that the new TCEs will point
 *	   into.  This fails for memory that is not registered.  A count
 *	   keeps its region until it has gone into a TCE.
 * prealloc  make all nodes of the table that the entries need; they stay until release.
 *	   Left out for a few entries whose nodes exist.
 * exchange  write the TCEs and owners, run by run; collect the old owners.
 *	   From here on nothing fails for lack of memory.  A table that is
 *	   closed or broken, firmware that refuses, or a fatal signal may stop
 *	   the request.
 * take out  take nodes out of the table that are empty now and that the request
 *	   covers: when clearing, or when a MAP ran out of memory.
 * kill	   make the hardware forget what it cached, once for the request, and
 *	   wait until it has.
 * drop	   lower the mapped counts that the replaced TCEs held; free what was
 *	   taken out.
 *
 * If the kill fails, the hardware may go on using the old TCEs.  The counts of
 * the memory that it could reach are never dropped, so this memory stays
 * pinned.  The table is broken then and takes no new TCEs.
 *
 * A request that fails in the first two steps has changed nothing.  When the
 * replaced TCEs pointed into more regions than a batch has room for, or many
 * nodes are taken out, kill and drop are also done in between.  A fatal signal
 * ends a request between two runs: counts and entries agree then, too.
 *
 * The caller has checked that the entries are inside the table, and keeps the
 * table and the mm.
 */

#include <linux/atomic.h>
#include <linux/export.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include <asm/iommu.h>
#include <asm/iommu_tce.h>
#include <asm/mmu_context_iommu.h>
#include <asm/tce.h>
#include "iommu-tce-batch.h"

/*
 * Instructions that these annotations save in a MAP of one TCE:
 * request_aim() inline 35, batch_flush() and batch_finish() 15 each,
 * request_fill() 13, batch_collect() 6; likely() in tce_request_hold() 7.  Of an
 * UNMAP: batch_wipe_all() inline 20, batch_wipe() 11.  A batch that is not
 * initialized: 120 of each request.
 */

/* Have empty nodes noted if the request is large enough to cover a node. */
static void batch_cover(struct tce_batch *batch, unsigned long first,
			unsigned long npages)
{
	struct iommu_table *tbl = batch->tbl;

	if (npages < min(tbl->it_level_size, tbl->it_size))
		return;
	batch->change.cover = first;
	batch->change.cover_end = first + npages;
	batch->change.empty = ULONG_MAX;
	batch->change.empty_end = 0;
}

/* Drop the counts, and free the nodes, that the hardware can no longer reach. */
void tce_batch_drop(struct tce_batch *batch)
{
	unsigned int i;

	for (i = 0; i < batch->nr; i++)
		mm_iommu_drop(batch->drops[i].region, batch->drops[i].n);
	batch->nr = 0;
	if (batch->change.loose) {
		batch->tbl->it_ops->free_loose(batch->tbl, batch->change.loose);
		batch->change.loose = NULL;
	}
}

/*
 * The kill failed.  The hardware may use the old TCEs for ever, so their counts
 * and the nodes that were taken out are stranded.
 */
void tce_batch_strand(struct tce_batch *batch)
{
	batch->error = -EIO;
	batch->stranded = true;
	batch->nr = 0;
	if (batch->change.loose) {
		batch->tbl->it_ops->strand_loose(batch->tbl,
						 batch->change.loose);
		batch->change.loose = NULL;
	}
}

/* Remember to drop @n counts of @region, unless the kill of its TCEs has failed. */
static void batch_add(struct tce_batch *batch, struct mm_iommu_region *region,
		      unsigned long n)
{
	unsigned int i;

	if (batch->stranded) {
		cond_resched();
		return;
	}
	for (i = 0; i < batch->nr; i++) {
		if (batch->drops[i].region == region) {
			batch->drops[i].n += n;
			return;
		}
	}
	if (i == BATCH_REGIONS) {
		batch_flush(batch);
		cond_resched();
		if (batch->stranded)
			return;
		i = 0;
	}
	batch->drops[i].region = region;
	batch->drops[i].n = n;
	batch->nr = i + 1;
}

/* How many IOMMU pages from @ua on, at most @n, start in @region. */
static unsigned long pages_in_region(const struct mm_iommu_region *region,
				     unsigned long ua, unsigned long n,
				     unsigned int page_shift)
{
	return min(n, ((region->last - ua) >> page_shift) + 1);
}

/* Turn a run of old owners into counts to drop. */
void tce_batch_add_run(struct tce_batch *batch, const struct iommu_tce_run *run)
{
	const unsigned int page_shift = batch->tbl->it_page_shift;
	unsigned long ua = run->owner, left = run->n, n;
	struct mm_iommu_region *region;

	batch->replaced += run->n;
	for (; left; left -= n, ua += n << page_shift) {
		/* The counts about to be dropped keep the region in its place. */
		region = mm_iommu_region_of(batch->mm, ua);
		if (WARN_ON_ONCE(!region))
			break;
		n = pages_in_region(region, ua, left, page_shift);
		batch_add(batch, region, n);
	}
}

/* Take out the empty nodes that the request covers.  The caller kills then. */
void tce_batch_take_out(struct tce_batch *batch)
{
	struct iommu_tce_change *change = &batch->change;
	bool more;

	do {
		more = batch->tbl->it_ops->take_out(batch->tbl, change);
		batch->stale |= !!change->loose;
		if (more) {
			batch_flush(batch);
			cond_resched();
		}
	} while (more && !fatal_signal_pending(current));
}

/* Drop the counts of a request from page @done on; signals do not end it. */
void tce_request_unhold(const struct iommu_table *tbl,
			const struct iommu_tce_request *req, unsigned long done,
			unsigned long npages)
{
	struct mm_iommu_region *region;
	unsigned long ua, n;

	for (; done < npages; done += n) {
		ua = req->ua + (done << tbl->it_page_shift);
		region = mm_iommu_region_of(req->mm, ua);
		if (WARN_ON_ONCE(!region))
			return;
		n = pages_in_region(region, ua, npages - done,
				    tbl->it_page_shift);
		mm_iommu_drop(region, n);
		cond_resched();
	}
}

/*
 * Count all TCEs of a request in their regions, or none; @source is the first region.
 * Return: 0; -EINVAL when some memory cannot be mapped, -EINTR after a fatal
 * signal.
 */
int tce_request_hold(const struct iommu_table *tbl,
		     const struct iommu_tce_request *req,
		     struct tce_source *source)
{
	struct mm_iommu_region *region;
	unsigned long done = 0, n;
	unsigned int steps = 0;

	for (;;) {
		n = req->npages - done;
		region = mm_iommu_hold(req->mm,
				       req->ua + (done << tbl->it_page_shift),
				       tbl->it_page_shift, &n);
		if (!region) {
			tce_request_unhold(tbl, req, 0, done);
			return -EINVAL;
		}
		if (req->perm & TCE_PCI_WRITE)
			mm_iommu_mark_written(region);
		if (!done) {
			source->region = region;
			source->last = region->last;
		}
		done += n;
		if (likely(done == req->npages))
			return 0;
		if (++steps % REST_STEPS)
			continue;
		if (fatal_signal_pending(current)) {
			tce_request_unhold(tbl, req, 0, done);
			return -EINTR;
		}
		cond_resched();
	}
}

/*
 * Describe the next TCEs, as many as one chunk of addresses has.  The request still holds
 * their counts, and with them the region that they point into.
 */
static __always_inline void request_aim(struct tce_batch *batch,
					const struct iommu_tce_request *req,
					struct tce_source *source)
{
	struct iommu_tce_change *change = &batch->change;
	unsigned int page_shift = batch->tbl->it_page_shift;
	unsigned long done = change->entry - req->entry, bytes;
	unsigned long ua = req->ua + (done << page_shift);

	if (ua > source->last) {
		source->region = mm_iommu_region_of(req->mm, ua);
		source->last = source->region->last;
	}
	change->hpas = mm_iommu_hpas(source->region, ua, &bytes);
	change->hpa_shift = source->region->blocks.shift;
	change->hpa_offset = ua & ((1UL << change->hpa_shift) - 1);
	change->owner = ua;
	change->perm = req->perm;
	change->left = min(req->npages - done, bytes >> page_shift);
}

/* Write as many TCEs as one leaf and the room for old owners allow. */
static __always_inline int request_fill(struct tce_batch *batch)
{
	int ret = batch->tbl->it_ops->exchange(batch->tbl, &batch->change);

	batch_collect(batch);
	return ret;
}

/* Write all TCEs of a request, whose nodes exist. */
static int request_fill_all(struct tce_batch *batch,
			    const struct iommu_tce_request *req,
			    struct tce_source *source)
{
	const unsigned long end = req->entry + req->npages;
	unsigned long entry;
	unsigned int steps = 0;
	int ret;

	for (;;) {
		entry = batch->change.entry;
		ret = request_fill(batch);
		if (ret || batch->change.entry == end)
			return ret;
		if (batch->change.entry - entry > REST_ENTRIES ||
		    !(++steps % REST_STEPS)) {
			if (fatal_signal_pending(current))
				return -EINTR;
			cond_resched();
		}
		request_aim(batch, req, source);
	}
}

/* The same for a request that is one of several in a batch, whose nodes are preallocated. */
int tce_request_fill(struct tce_batch *batch,
		     const struct iommu_tce_request *req)
{
	struct tce_source source;

	source.region = mm_iommu_region_of(req->mm, req->ua);
	source.last = source.region->last;
	request_aim(batch, req, &source);
	return request_fill_all(batch, req, &source);
}

/* Make the nodes, then write all TCEs.  None has been written before. */
static int request_fill_nodes(struct tce_batch *batch,
			      const struct iommu_tce_request *req,
			      struct tce_source *source)
{
	const struct iommu_table_ops *ops = batch->tbl->it_ops;
	int ret;

	batch->change.whole = false;
	if (!ops->prealloc)
		return request_fill_all(batch, req, source);

	ret = ops->prealloc(batch->tbl, req->entry, req->npages, 0);
	if (ret == -ENOMEM) {
		/* Give back the nodes that were made in vain. */
		batch_cover(batch, req->entry, req->npages);
		batch->change.empty = req->entry;
		batch->change.empty_end = req->entry + req->npages;
	}
	if (ret)
		return ret;
	ret = request_fill_all(batch, req, source);
	ops->release(batch->tbl);
	return ret;
}

/* Drop the count of the TCE that was replaced in one entry. */
static void entry_drop(struct mm_struct *mm, u64 owner)
{
	struct mm_iommu_region *region = mm_iommu_region_of(mm, owner);

	if (!WARN_ON_ONCE(!region))
		mm_iommu_drop(region, 1);
}

/* One entry has been changed, and the kill failed: clear it.  The count of the old TCE stays. */
static int entry_undo(struct iommu_table *tbl, struct mm_struct *mm,
		      unsigned long entry, u64 tce)
{
	const struct iommu_tce_request req = { .mm = mm,
					       .entry = entry,
					       .npages = 1 };

	if (tce)
		iommu_tce_unmap(tbl, &req);
	return -EIO;
}

/**
 * iommu_tce_change_one() - iommu_tce_map() or iommu_tce_unmap() for one entry
 * @tbl: a table that records owners
 * @mm: whose pre-registered memory it points to
 * @entry: the entry, absolute
 * @item: user address, a multiple of the IOMMU page, and permissions; without these the
 *	entry is cleared
 *
 * Context: Process, may sleep; takes a leaf lock.
 * Return: as iommu_tce_map() and iommu_tce_unmap(); -EAGAIN when it must be done by one of
 * these: nothing has changed.
 */
int iommu_tce_change_one(struct iommu_table *tbl, struct mm_struct *mm,
			 unsigned long entry, u64 item)
{
	const u64 ua = item & ~IOMMU_TCE_PERMS;
	struct mm_iommu_region *region = NULL;
	u64 owner = ua, tce = 0;
	int ret;

	if (!tbl->it_ops->exchange_one || ua & (IOMMU_PAGE_SIZE(tbl) - 1))
		return -EAGAIN;
	if (item & IOMMU_TCE_PERMS) {
		region = mm_iommu_hold_one(mm, ua, tbl->it_page_shift);
		if (!region)
			return -EINVAL;
		if (item & TCE_PCI_WRITE)
			mm_iommu_mark_written(region);
		tce = mm_iommu_blocks_hpa(&region->blocks, ua) |
		      (item & IOMMU_TCE_PERMS);
	}
	ret = tbl->it_ops->exchange_one(tbl, entry, tce, &owner);
	if (ret) {
		if (region)
			mm_iommu_drop(region, 1);
		return ret;
	}
	if (!tce && owner == IOMMU_TCE_NO_OWNER)
		return 0;
	if (tce_kill(tbl, entry, 1))
		return entry_undo(tbl, mm, entry, tce);
	if (owner != IOMMU_TCE_NO_OWNER)
		entry_drop(mm, owner);
	return 0;
}
EXPORT_SYMBOL_GPL(iommu_tce_change_one);

/**
 * iommu_tce_map() - point entries to pre-registered memory
 * @tbl: a table that records owners
 * @req: the entries and the memory; valid TCEs are replaced
 *
 * Context: Process, may sleep; takes leaf locks.
 * Return: 0; -EINVAL when some of the memory is not registered or is in smaller
 * physical pieces than an IOMMU page; -ENOMEM for the nodes of the table:
 * nothing has changed.  -EINTR after a fatal signal, -ENODEV when the table was
 * closed: the first entries may have been replaced.  -EIO when firmware refused
 * an entry or a kill failed: the entries that had been changed until then have
 * been cleared, and memory that the hardware may still reach stays counted.
 * -EIO also in a table that an earlier failed kill has broken: nothing has
 * changed.
 */
int iommu_tce_map(struct iommu_table *tbl, const struct iommu_tce_request *req)
{
	struct tce_batch batch __uninitialized;
	struct tce_source source;
	int ret;

	might_sleep();
	if (!req->npages)
		return 0;
	if (req->npages == 1) {
		ret = iommu_tce_change_one(tbl, req->mm, req->entry,
					   req->ua | req->perm);
		if (ret != -EAGAIN)
			return ret;
	}
	ret = tce_request_hold(tbl, req, &source);
	if (ret)
		return ret;

	batch_init(&batch, tbl, req->mm, req->entry, 0);
	request_aim(&batch, req, &source);
	/* The nodes for a few entries mostly exist: try that first. */
	batch.change.whole = req->npages <=
			     min(batch.change.left, IOMMU_TCE_RUNS);
	ret = batch.change.whole ? request_fill(&batch) : -EAGAIN;
	if (ret == -EAGAIN)
		ret = request_fill_nodes(&batch, req, &source);
	batch_finish(&batch);

	ret = ret ?: batch.error;
	if (ret)
		tce_request_unhold(tbl, req, batch.change.entry - req->entry,
				   req->npages);
	if (ret == -EIO) {
		struct iommu_tce_request undo = *req;

		undo.npages = batch.change.entry - req->entry;
		iommu_tce_unmap(tbl, &undo);
	}
	return ret;
}
EXPORT_SYMBOL_GPL(iommu_tce_map);

/* Clear the entries of a batch, and kill. */
static __always_inline int batch_wipe_all(struct tce_batch *batch)
{
	int ret;

	batch_cover(batch, batch->change.entry, batch->change.left);
	for (;;) {
		ret = batch_wipe(batch);
		if (ret || !batch->change.left)
			break;
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		cond_resched();
	}
	batch_finish(batch);
	return ret ?: batch->error;
}

/**
 * iommu_tce_unmap() - clear entries
 * @tbl: a table that records owners
 * @req: the entries
 *
 * Nodes of the table that become empty and that @req covers are given back.
 *
 * Context: Process, may sleep; takes leaf locks.
 * Return: 0, also for entries that were never mapped; -EINTR after a fatal signal: the
 * first entries have been cleared.  -EIO when firmware refused some entries, which are
 * as they were, or when a kill failed; all others have been cleared, and what could
 * not be taken away from the device stays counted.
 */
int iommu_tce_unmap(struct iommu_table *tbl,
		    const struct iommu_tce_request *req)
{
	struct tce_batch batch __uninitialized;
	int ret;

	might_sleep();
	if (!req->npages)
		return 0;
	if (req->npages == 1) {
		ret = iommu_tce_change_one(tbl, req->mm, req->entry, 0);
		if (ret != -EAGAIN)
			return ret;
	}
	batch_init(&batch, tbl, req->mm, req->entry, req->npages);
	return batch_wipe_all(&batch);
}
EXPORT_SYMBOL_GPL(iommu_tce_unmap);

/**
 * iommu_tce_unmap_all() - clear all entries of a table
 * @tbl: a table that records owners
 * @mm: whose memory it points to
 * @cleared: receives how many entries were mapped
 *
 * Context: Process, may sleep; takes leaf locks.
 * Return: as iommu_tce_unmap(); @cleared is right in any case.
 */
int iommu_tce_unmap_all(struct iommu_table *tbl, struct mm_struct *mm,
			unsigned long *cleared)
{
	struct tce_batch batch __uninitialized;
	int ret;

	might_sleep();
	batch_init(&batch, tbl, mm, tbl->it_offset, tbl->it_size);
	ret = batch_wipe_all(&batch);
	*cleared = batch.replaced;
	return ret;
}
EXPORT_SYMBOL_GPL(iommu_tce_unmap_all);

/**
 * iommu_tce_close() - empty a table for good
 * @tbl: a table that records owners, whose window is going away
 * @mm: whose memory it points to
 *
 * After this nobody can add a TCE, not even a guest that still has the table, and its
 * watches have been told.  No region counts a TCE of it.  Of its nodes only the root
 * remains, unless another request is using them, or a fatal signal came.
 *
 * Context: Process, may sleep; takes leaf locks.
 * Return: 0; -EIO when firmware refused to clear entries, or a kill failed:
 * regions still count the TCEs that the device may use.  There is nothing that
 * the caller could do.
 */
int iommu_tce_close(struct iommu_table *tbl, struct mm_struct *mm)
{
	struct tce_batch batch __uninitialized;

	might_sleep();
	batch_init(&batch, tbl, mm, tbl->it_offset, tbl->it_size);
	batch_cover(&batch, tbl->it_offset, tbl->it_size);
	tbl->it_ops->close(tbl);
	while (batch.change.left && !batch_wipe(&batch))
		cond_resched();
	batch_finish(&batch);
	iommu_tce_tell_watches(tbl);
	return batch.error;
}
EXPORT_SYMBOL_GPL(iommu_tce_close);
