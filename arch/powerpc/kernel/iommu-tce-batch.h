/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Batches: what a request has changed in a table since its last kill.
 *
 * iommu-tce.c says how a request is carried out, and has requests on ranges.
 * iommu-tce-list.c has those on lists.
 */
#ifndef _POWERPC_KERNEL_IOMMU_TCE_BATCH_H
#define _POWERPC_KERNEL_IOMMU_TCE_BATCH_H

#include <linux/atomic.h>
#include <linux/mm_types.h>

#include <asm/barrier.h>
#include <asm/iommu.h>
#include <asm/iommu_tce.h>
#include <asm/mmu_context_iommu.h>

#define BATCH_REGIONS 8

/*
 * A request gives way to other tasks and looks for a fatal signal after a step
 * of more than REST_ENTRIES entries, or after REST_STEPS steps.  Doing so after
 * each step would add a fifth to the instructions of steps of one entry.
 */
#define REST_ENTRIES 64
#define REST_STEPS 16

/**
 * struct tce_batch - entries changed since the last kill
 * @tbl: the table
 * @mm: whose memory it points to
 * @first: the first entry that was changed
 * @end: the entry behind the last one
 * @stale: a TCE was replaced or written, or a node taken out: a kill is due
 * @stranded: a kill has failed while the last change was collected: its counts are
 *	not dropped
 * @replaced: valid TCEs that were replaced so far
 * @nr: how many of @drops are in use
 * @drops: counts to drop once the kill is done
 * @error: -EIO when a kill failed, or firmware refused to clear an entry
 * @change: argument for the table
 */
struct tce_batch {
	struct iommu_table *tbl;
	struct mm_struct *mm;
	unsigned long first;
	unsigned long end;
	bool stale;
	bool stranded;
	unsigned long replaced;
	unsigned int nr;
	struct {
		struct mm_iommu_region *region;
		unsigned long n;
	} drops[BATCH_REGIONS];
	int error;
	struct iommu_tce_change change;
};

/* The arrays are not initialized, as nothing looks beyond their counts. */
static inline void batch_init(struct tce_batch *batch, struct iommu_table *tbl,
			      struct mm_struct *mm, unsigned long first,
			      unsigned long npages)
{
	batch->tbl = tbl;
	batch->mm = mm;
	batch->first = first;
	batch->end = first;
	batch->stale = false;
	batch->stranded = false;
	batch->replaced = 0;
	batch->nr = 0;
	batch->error = 0;
	batch->change.entry = first;
	batch->change.left = npages;
	batch->change.perm = 0;
	batch->change.owners = NULL;
	batch->change.whole = false;
	batch->change.cover_end = 0;
	batch->change.loose = NULL;
	batch->change.nr_runs = 0;
}

void tce_batch_drop(struct tce_batch *batch);
void tce_batch_strand(struct tce_batch *batch);
void tce_batch_add_run(struct tce_batch *batch,
		       const struct iommu_tce_run *run);
void tce_batch_take_out(struct tce_batch *batch);

/* Make the hardware forget what has changed in a table. */
static inline int tce_kill(struct iommu_table *tbl, unsigned long entry,
			   unsigned long npages)
{
	int ret;

	mb(); /* the PHB must see the new TCEs when it reads them again */
	/*
	 * A node may have been taken out, here or by another request, whose kill
	 * is due.  Hardware may reach these entries through the old node.
	 * @it_loose was raised before it was taken out.
	 */
	if (atomic_read(&tbl->it_loose))
		ret = iommu_tce_kill(tbl, tbl->it_offset, tbl->it_size);
	else
		ret = iommu_tce_kill(tbl, entry, npages);
	if (tbl->it_ops->flush)
		iommu_flush_tce(tbl);
	return ret;
}

/* Kill, and only then drop. */
static __always_inline void batch_flush(struct tce_batch *batch)
{
	int ret = 0;

	if (batch->stale)
		ret = tce_kill(batch->tbl, batch->first,
			       batch->end - batch->first);
	if (ret)
		tce_batch_strand(batch);
	else if (batch->nr || batch->change.loose)
		tce_batch_drop(batch);
	batch->stale = false;
	batch->first = batch->end;
}

/* Take note of what the table has just changed. */
static __always_inline void batch_collect(struct tce_batch *batch)
{
	const struct iommu_tce_change *change = &batch->change;
	unsigned int i;

	if (change->nr_runs || (change->perm && batch->end != change->entry))
		batch->stale = true;
	batch->end = change->entry;
	batch->stranded = false;
	for (i = 0; i < change->nr_runs; i++)
		tce_batch_add_run(batch, &change->runs[i]);
}

/* The entries have been changed: take out empty nodes, if any, and kill. */
static __always_inline void batch_finish(struct tce_batch *batch)
{
	const struct iommu_tce_change *change = &batch->change;

	if (change->cover_end && change->empty < change->empty_end)
		tce_batch_take_out(batch);
	batch_flush(batch);
}

/*
 * Clear as many entries as one leaf and the room for old owners allow.  An
 * entry that firmware refuses to clear keeps its count and is skipped.
 */
static __always_inline int batch_wipe(struct tce_batch *batch)
{
	struct iommu_tce_change *change = &batch->change;
	int ret = batch->tbl->it_ops->exchange(batch->tbl, change);

	batch_collect(batch);
	if (ret != -EIO)
		return ret;
	batch->error = ret;
	change->entry++;
	change->left--;
	return 0;
}

/**
 * struct tce_source - the region that the next TCEs of a request point into
 * @region: the region.  Once all of its counts belong to TCEs it must not be
 *	used: others may clear these TCEs, and then the region may be gone
 * @last: its last user address; tells when the next region is due, without
 *	using @region
 */
struct tce_source {
	struct mm_iommu_region *region;
	unsigned long last;
};

int tce_request_hold(const struct iommu_table *tbl,
		     const struct iommu_tce_request *req,
		     struct tce_source *source);
void tce_request_unhold(const struct iommu_table *tbl,
			const struct iommu_tce_request *req, unsigned long done,
			unsigned long npages);
int tce_request_fill(struct tce_batch *batch,
		     const struct iommu_tce_request *req);

#endif /* _POWERPC_KERNEL_IOMMU_TCE_BATCH_H */
