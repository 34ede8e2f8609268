/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Changing runs of TCEs in a table that was made for user space.
 *
 * See arch/powerpc/kernel/iommu-tce.c for how a request is carried out.
 */
#ifndef _ASM_POWERPC_IOMMU_TCE_H
#define _ASM_POWERPC_IOMMU_TCE_H

#include <linux/types.h>

struct iommu_table;
struct iommu_table_group;
struct mm_struct;

/* TCE_PCI_READ | TCE_PCI_WRITE, the low bits that are no part of an owner */
#define IOMMU_TCE_PERMS 3ULL

/* Returned in place of the owner of an entry that was not valid; never an owner. */
#define IOMMU_TCE_NO_OWNER (~0ULL)

/* Runs of old owners that one call of the exchange operation can report. */
#define IOMMU_TCE_RUNS 16

/**
 * struct iommu_tce_run - consecutive entries whose owners were consecutive too
 * @owner: owner of the first entry; that of the next is one IOMMU page further on
 * @n: how many entries
 */
struct iommu_tce_run {
	u64 owner;
	unsigned long n;
};

/**
 * struct iommu_tce_change - argument of &iommu_table_ops.exchange
 * @entry: the next entry to change, absolute; advanced by the operation
 * @left: how many entries are to be changed; reduced by the operation
 * @perm: TCE_PCI_READ and TCE_PCI_WRITE for the new TCEs, 0 to clear entries
 * @hpas: host physical address of each block of memory for the new TCEs
 * @hpa_shift: log2 of the block size
 * @hpa_offset: offset in the first block that the first TCE points to
 * @owner: what is recorded as owner of the first entry, its user address; that of
 *	the next is one IOMMU page further on
 * @owners: NULL, or the owner of each entry, low bits ignored.  Then @hpas has a whole
 *	TCE for each entry, with permissions, and @perm is TCE_PCI_READ
 * @whole: change all entries in this call, at most IOMMU_TCE_RUNS, or change
 *	nothing and return -EAGAIN
 * @cover: the first entry of the whole request, if it may give nodes back
 * @cover_end: the entry behind its last one; 0 for a request that gives nothing back
 * @empty: the first entry that the operation found in an empty node; ULONG_MAX
 *	if it has found none
 * @empty_end: behind the last such entry; 0 if it has found none
 * @loose: list of nodes that &iommu_table_ops.take_out took out of the table,
 *	or NULL; after a kill of the whole table they go to
 *	&iommu_table_ops.free_loose, or to strand_loose if the kill failed
 * @nr_runs: how many @runs are in use; set by the operation
 * @runs: the owners of the valid TCEs that were replaced, in the order of entries; in
 *	a bare table the TCEs themselves, address and permissions
 *
 * @hpas, @hpa_offset and @owner describe the first entry of the call and are not
 * advanced: whoever calls again sets them anew.
 */
struct iommu_tce_change {
	unsigned long entry;
	unsigned long left;
	unsigned long perm;
	const u64 *hpas;
	unsigned int hpa_shift;
	unsigned long hpa_offset;
	u64 owner;
	const u64 *owners;
	bool whole;
	unsigned long cover;
	unsigned long cover_end;
	unsigned long empty;
	unsigned long empty_end;
	void *loose;
	unsigned int nr_runs;
	struct iommu_tce_run runs[IOMMU_TCE_RUNS];
};

/**
 * iommu_tce_record_old() - note the owner of a TCE that is being replaced
 * @change: the change; not to be used again after this has returned false
 * @owner: the owner
 * @page_shift: log2 of the IOMMU page size
 *
 * Return: false when there was no room; the entry must not be changed then.
 */
static inline bool iommu_tce_record_old(struct iommu_tce_change *change,
					u64 owner, unsigned int page_shift)
{
	struct iommu_tce_run *run = &change->runs[change->nr_runs];

	if (change->nr_runs &&
	    run[-1].owner + ((u64)run[-1].n << page_shift) == owner) {
		run[-1].n++;
		return true;
	}
	if (change->nr_runs == IOMMU_TCE_RUNS)
		return false;
	run->owner = owner;
	run->n = 1;
	change->nr_runs++;
	return true;
}

/* Undo the last iommu_tce_record_old(): the entry could not be changed. */
static inline void iommu_tce_unrecord_old(struct iommu_tce_change *change)
{
	if (!--change->runs[change->nr_runs - 1].n)
		change->nr_runs--;
}

/* Set the length of the last run: @next is the owner that would continue it. */
static inline void iommu_tce_end_run(struct iommu_tce_change *change, u64 next,
				     unsigned int page_shift)
{
	struct iommu_tce_run *run;

	if (!change->nr_runs)
		return;
	run = &change->runs[change->nr_runs - 1];
	run->n = (next - run->owner) >> page_shift;
}

/* The new value of the @i-th TCE of a change, in a table of @page_shift. */
static inline u64 iommu_tce_new(const struct iommu_tce_change *change,
				unsigned long i, unsigned int page_shift)
{
	unsigned long offset = change->hpa_offset + (i << page_shift);
	unsigned long in_block = offset & ((1UL << change->hpa_shift) - 1);

	if (change->owners)
		return change->hpas[i];
	return (change->hpas[offset >> change->hpa_shift] + in_block) |
	       change->perm;
}

/* The owner of the @i-th entry of a change, in a table of @page_shift. */
static inline u64 iommu_tce_owner(const struct iommu_tce_change *change,
				  unsigned long i, unsigned int page_shift)
{
	if (change->owners)
		return change->owners[i] & ~IOMMU_TCE_PERMS;
	return change->owner + ((u64)i << page_shift);
}

/**
 * struct iommu_tce_request - entries to map or to unmap, checked by the caller
 * @mm: whose pre-registered memory the table points to
 * @entry: first entry, absolute
 * @npages: how many entries; @entry to @entry + @npages - 1 are inside the table
 * @ua: user address for the first entry, a multiple of the IOMMU page (map only)
 * @perm: TCE_PCI_READ, TCE_PCI_WRITE (map only)
 */
struct iommu_tce_request {
	struct mm_struct *mm;
	unsigned long entry;
	unsigned long npages;
	unsigned long ua;
	unsigned long perm;
};

/**
 * struct iommu_tce_list - what to write into consecutive entries
 * @mm: whose pre-registered memory it is
 * @n: how many items
 * @items: for each of them user address | TCE_PCI_READ, TCE_PCI_WRITE; without permissions
 *	the entry is cleared
 */
struct iommu_tce_list {
	struct mm_struct *mm;
	unsigned int n;
	const u64 *items;
};

/**
 * struct iommu_tce_target - a table for a list
 * @tbl: a table that records owners
 * @entry: entry for the first item, absolute; all items are inside the table
 * @sub_shift: log2 of how many entries an item fills with consecutive memory
 */
struct iommu_tce_target {
	struct iommu_table *tbl;
	unsigned long entry;
	unsigned int sub_shift;
};

/**
 * struct iommu_tce_watch - tells when a table is closed
 * @node: in &iommu_table.it_watches, as long as the table has not been closed
 * @closed: called once the table is empty, and takes no new TCEs; must not sleep
 */
struct iommu_tce_watch {
	struct hlist_node node;
	void (*closed)(struct iommu_tce_watch *watch);
};

int iommu_tce_map(struct iommu_table *tbl, const struct iommu_tce_request *req);
int iommu_tce_unmap(struct iommu_table *tbl,
		    const struct iommu_tce_request *req);
int iommu_tce_unmap_all(struct iommu_table *tbl, struct mm_struct *mm,
			unsigned long *cleared);
int iommu_tce_change_one(struct iommu_table *tbl, struct mm_struct *mm,
			 unsigned long entry, u64 item);
int iommu_tce_change_list(const struct iommu_tce_target *targets,
			  unsigned int nr, const struct iommu_tce_list *list);
int iommu_tce_close(struct iommu_table *tbl, struct mm_struct *mm);
struct iommu_table *iommu_group_table_get(struct iommu_table_group *table_group,
					  unsigned int num);
int iommu_tce_watch(struct iommu_table *tbl, struct iommu_tce_watch *watch);
bool iommu_tce_unwatch(struct iommu_tce_watch *watch);
void iommu_tce_watch_put(struct iommu_table *tbl);
void iommu_tce_tell_watches(struct iommu_table *tbl);
int iommu_tce_wait_watches(struct iommu_table *tbl);
void iommu_tce_uncharge_begin(struct iommu_table *tbl);
bool iommu_tce_is_broken(struct iommu_table *tbl);
void iommu_tce_charge_to(struct iommu_table *tbl, struct mm_struct *mm,
			 unsigned long pages);

#ifdef CONFIG_SPAPR_TCE_IOMMU
void iommu_tce_uncharge(struct iommu_table *tbl);
#else
#define iommu_tce_uncharge(tbl) ((void)(tbl))
#endif

#endif /* _ASM_POWERPC_IOMMU_TCE_H */
