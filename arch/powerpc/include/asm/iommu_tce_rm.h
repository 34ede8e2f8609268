/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Changing a few TCEs of a table in real mode, that is, with the MMU off.
 *
 * See arch/powerpc/kernel/iommu-tce-rm.c for the rules.
 */
#ifndef _ASM_POWERPC_IOMMU_TCE_RM_H
#define _ASM_POWERPC_IOMMU_TCE_RM_H

#include <linux/spinlock_types.h>
#include <linux/types.h>

struct iommu_table;
struct mm_struct;

/* Entries that one call changes; more are for virtual mode. */
#define IOMMU_TCE_RM_MAX 32

/**
 * struct iommu_tce_rm - argument of &iommu_table_ops.begin_rm and what follows it
 * @entry: first entry, absolute; set by the caller
 * @n: how many entries, at most IOMMU_TCE_RM_MAX; set by the caller
 * @tces: the TCEs of these entries
 * @owners: their owners
 * @valid: how many valid TCEs there are in their unit
 * @leaf: the leaf lock, which is held
 * @sync: the lock of the hardware that will forget the old TCEs, which is held
 * @phb: that hardware
 */
struct iommu_tce_rm {
	unsigned long entry;
	unsigned int n;
	__be64 *tces;
	u64 *owners;
	unsigned long *valid;
	arch_spinlock_t *leaf;
	arch_spinlock_t *sync;
	void *phb;
};

int iommu_tce_change_rm(struct iommu_table *tbl, struct mm_struct *mm,
			unsigned long entry, unsigned int n, const u64 *items);
int iommu_tce_change_one_rm(struct iommu_table *tbl, struct mm_struct *mm,
			    unsigned long entry, u64 item);

#endif /* _ASM_POWERPC_IOMMU_TCE_RM_H */
