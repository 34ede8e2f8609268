// SPDX-License-Identifier: GPL-2.0
/*
 * Changes of a few TCEs of a table for user space in real mode.
 *
 * They take the same locks as those in pci-ioda-tce-user.c, but only try, and
 * only the raw part of them.  All entries of a change are in one unit of a leaf
 * that exists.
 *
 * Only a PHB3 can be made to forget TCEs by stores, so other PHBs are not for
 * real mode, nor is a table that is in use at several PHBs: there is a lock for
 * each, which must be taken before anything changes.
 *
 * The rules stand in arch/powerpc/kernel/iommu-tce-rm.c.
 */

#include <linux/smp.h>

/* With CONFIG_DEBUG_PREEMPT it is a call that may print; who tries a raw lock uses it. */
#undef smp_processor_id
#define smp_processor_id() raw_smp_processor_id()

#include <linux/compiler.h>
#include <linux/rculist.h>

#include <asm/io.h>
#include <asm/iommu.h>
#include <asm/iommu_tce_rm.h>
#include <asm/tce.h>
#include <asm/time.h>
#include "pci.h"
#include "pci-ioda-tce-place.h"
#include "pci-ioda-tce-tree.h"

/* As long as in virtual mode (pnv_pci_phb3_tce_sync_wait()), with interrupts off. */
#define RM_SYNC_US 20000

static __always_inline struct pnv_ioda_pe *
rm_pe(const struct iommu_table_group_link *link)
{
	return container_of(link->table_group, struct pnv_ioda_pe, table_group);
}

/* The link behind @at, which is one or the head; links stay as long as interrupts are off. */
static __always_inline struct iommu_table_group_link *
rm_next(const struct iommu_table *tbl, const struct list_head *at)
{
	struct list_head *next = READ_ONCE(at->next);

	return next == &tbl->it_group_list ?
		       NULL :
		       list_entry(next, struct iommu_table_group_link, next);
}

/* The PHB of all groups of a table, if real mode can make it forget TCEs, or NULL. */
static __always_inline struct pnv_phb *rm_phb(struct iommu_table *tbl)
{
	struct iommu_table_group_link *link;
	struct pnv_phb *phb = NULL;

	if (READ_ONCE(tbl->it_no_rm))
		return NULL;
	for (link = rm_next(tbl, &tbl->it_group_list); link;
	     link = rm_next(tbl, &link->next)) {
		if (phb && rm_pe(link)->phb != phb)
			return NULL;
		phb = rm_pe(link)->phb;
	}
	return phb && phb->model == PNV_PHB_MODEL_PHB3 && phb->regs ? phb :
								      NULL;
}

static __always_inline void __iomem *rm_reg(const struct pnv_phb *phb,
					    unsigned long offset)
{
	return (void __iomem *)(phb->regs_phys + offset);
}

/* The raw part of a lock. */
static __always_inline arch_spinlock_t *rm_raw(spinlock_t *lock)
{
	return &lock->rlock.raw_lock;
}

/**
 * pnv_tce_begin_rm() - lock and find the entries of a change
 * @tbl: the table
 * @rm: what entries; the rest is filled in
 *
 * Context: Real mode.
 * Return: whether the change can be made; pnv_tce_commit_rm() or pnv_tce_cancel_rm() follows
 * then.
 */
noinstr bool pnv_tce_begin_rm(struct iommu_table *tbl, struct iommu_tce_rm *rm)
{
	const unsigned long index = rm->entry - tbl->it_offset;
	/* To clear them takes 5 instructions. */
	struct tce_place place __uninitialized;
	struct tce_walk walk __uninitialized;
	struct pnv_phb *phb = rm_phb(tbl);

	if (!phb)
		return false;
	rm->phb = phb;
	rm->leaf = rm_raw(tce_lock(tbl->it_tree, index));
	rm->sync = rm_raw(&phb->tce_sync_lock);
	if (!arch_spin_trylock(rm->leaf))
		return false;
	if (READ_ONCE(tbl->it_closed) || !tce_walk(tbl, index, 0, &walk))
		goto unlock;
	tce_place_find(tbl, index, &walk, rm->n, &place);
	if (place.n != rm->n || !place.owners || !arch_spin_trylock(rm->sync))
		goto unlock;
	/* A kill in real mode fails under this lock, and may end later. */
	if (READ_ONCE(tbl->it_broken) || phb->tce_sync_late)
		goto unlock_sync;
	rm->tces = place.tces;
	rm->owners = place.owners;
	rm->valid = place.valid;
	return true;
unlock_sync:
	arch_spin_unlock(rm->sync);
unlock:
	arch_spin_unlock(rm->leaf);
	return false;
}

/**
 * pnv_tce_cancel_rm() - end a change that has not been made
 * @rm: for which pnv_tce_begin_rm() returned true
 *
 * Context: Real mode.
 */
noinstr void pnv_tce_cancel_rm(struct iommu_tce_rm *rm)
{
	arch_spin_unlock(rm->sync);
	arch_spin_unlock(rm->leaf);
}

/* Write the TCEs and owners.  Return: whether a valid TCE came or went. */
static __always_inline bool rm_fill(const struct iommu_tce_rm *rm,
				    const u64 *tces, const u64 *owners)
{
	const unsigned int n = rm->n;
	u64 tce, old, changed = 0;
	unsigned int i;
	long valid = 0;

	for (i = 0; i < n; i++) {
		tce = tces[i];
		if (tce & TCE_PCI_WRITE)
			tce |= TCE_PCI_READ; /* IODA2 has no write-only TCE */
		old = tce_raw(&rm->tces[i]);
		changed |= tce | old;
		valid += !!tce - !!old;
		tce_store(&rm->tces[i], tce);
		rm->owners[i] = tce ? owners[i] & ~PNV_TCE_VALID : 0;
	}
	*rm->valid += valid;
	return changed;
}

/* Likewise, clear all. */
static __always_inline bool rm_wipe(const struct iommu_tce_rm *rm)
{
	const unsigned int n = rm->n;
	unsigned long valid = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		valid += !!tce_raw(&rm->tces[i]);
		tce_store(&rm->tces[i], 0);
		rm->owners[i] = 0;
	}
	*rm->valid -= valid;
	return valid;
}

/* Make the PHB forget: see pnv_pci_ioda2_tce_invalidate_in(), and what tce_kill() says of nodes. */
static __always_inline void rm_kill_pe(const struct pnv_ioda_pe *pe,
				       const struct iommu_table *tbl,
				       const struct iommu_tce_rm *rm)
{
	void __iomem *reg = rm_reg(rm->phb, PHB3_TCE_KILL);
	const unsigned int shift = tbl->it_page_shift;
	const u64 number = pe->pe_number & 0xff;
	unsigned int i;

	if (shift >= 32 || raw_atomic_read(&tbl->it_loose)) {
		__raw_rm_writeq_be(PHB3_TCE_KILL_INVAL_PE | number, reg);
		return;
	}
	for (i = 0; i < rm->n; i++)
		__raw_rm_writeq_be(PHB3_TCE_KILL_INVAL_ONE | number |
					   ((rm->entry + i) << shift),
				   reg);
}

/* As pnv_pci_phb3_tce_sync(), whose lock is held. */
static __always_inline int rm_sync(struct pnv_phb *phb)
{
	const u64 complete =
		(__force u64)cpu_to_be64(PHB3_DMA_READ_SYNC_COMPLETE);
	void __iomem *reg = rm_reg(phb, PHB3_DMA_READ_SYNC);
	const u64 start = mftb();

	__raw_rm_writeq_be(PHB3_DMA_READ_SYNC_START, reg);
	do {
		if (__raw_rm_readq(reg) & complete)
			return 0;
	} while (mftb() - start < RM_SYNC_US * tb_ticks_per_usec);
	phb->tce_sync_late = true;
	return -EIO;
}

static __always_inline int rm_kill(struct iommu_table *tbl,
				   const struct iommu_tce_rm *rm)
{
	struct iommu_table_group_link *link;
	int ret;

	mb(); /* the PHB must see the new TCEs when it reads them again */
	/* Since begin, no group at another PHB has come: see pnv_tce_join_rm(). */
	for (link = rm_next(tbl, &tbl->it_group_list); link;
	     link = rm_next(tbl, &link->next))
		rm_kill_pe(rm_pe(link), tbl, rm);
	ret = rm_sync(rm->phb);
	if (ret) {
		WRITE_ONCE(tbl->it_untold, true);
		WRITE_ONCE(tbl->it_broken, true);
	}
	return ret;
}

/**
 * pnv_tce_commit_rm() - make a change, and make the hardware forget the old TCEs
 * @tbl: the table
 * @rm: for which pnv_tce_begin_rm() returned true
 * @tces: the new TCEs, 0 where an entry is cleared; NULL clears all
 * @owners: their owners, low bits do not count
 *
 * Context: Real mode.
 * Return: 0; -EIO when the hardware may go on using the old TCEs: the table is broken.
 */
noinstr int pnv_tce_commit_rm(struct iommu_table *tbl, struct iommu_tce_rm *rm,
			      const u64 *tces, const u64 *owners)
{
	bool stale = tces ? rm_fill(rm, tces, owners) : rm_wipe(rm);
	int ret = 0;

	arch_spin_unlock(rm->leaf);
	if (stale)
		ret = rm_kill(tbl, rm);
	arch_spin_unlock(rm->sync);
	return ret;
}

/**
 * pnv_tce_join_rm() - a group is about to be linked to a table
 * @tbl: the table
 * @pe: the PE of the group
 *
 * If the group is at another PHB than those that are there, real mode leaves the table alone when
 * this returns, and for good.
 *
 * Context: Process; groups of a table are linked one at a time.  May sleep for an RCU grace period,
 * once in the life of a table, if guests may know it already.
 */
void pnv_tce_join_rm(struct iommu_table *tbl, const struct pnv_ioda_pe *pe)
{
	struct iommu_table_group_link *link;
	bool alone = true;

	scoped_guard(rcu)
		list_for_each_entry_rcu(link, &tbl->it_group_list, next)
			alone &= rm_pe(link)->phb == pe->phb;
	if (alone || READ_ONCE(tbl->it_no_rm))
		return;
	WRITE_ONCE(tbl->it_no_rm, true);
	/* No guest has the table before user space can map in it: see window_open(). */
	if (READ_ONCE(tbl->it_mm))
		synchronize_rcu();
}
