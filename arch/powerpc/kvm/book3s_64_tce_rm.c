// SPDX-License-Identifier: GPL-2.0
/*
 * DMA windows of guests: short H_PUT_TCE, H_PUT_TCE_INDIRECT, H_STUFF_TCE and H_GET_TCE in real
 * mode.
 *
 * On POWER8 a hypercall arrives with the MMU off, on the stack of the vCPU's
 * thread or of a secondary one.  Leaving the guest takes thousands of
 * instructions, so what is short and simple is done here.  All else returns
 * H_TOO_HARD and has changed nothing: then the same hypercall arrives in
 * book3s_64_tce_hcall.c.  So nothing is refused here but by H_TOO_HARD.  Only
 * when a kill has failed the entries have changed; the table is broken then,
 * and virtual mode leaves the call to user space.
 *
 * Simple is: a LIOBN with one link at most, pages as large in its table as in
 * the guest, few entries whose words are in a page of the view that exists, and
 * what iommu_tce_change_one_rm() and iommu_tce_change_rm() can do.
 *
 * There is neither SRCU nor RCU read section.  The master thread of the core
 * has entered the guest inside an SRCU read section of the VM and with
 * interrupts off, and leaves only after all its threads.  That does not hold
 * when the core is split between VMs, nor for RCU when context tracking makes
 * the guest an extended quiescent state; then virtual mode does it all.
 *
 * The rules for code with the MMU off stand in arch/powerpc/kernel/iommu-tce-rm.c.
 */

#include <linux/smp.h>

/* With CONFIG_DEBUG_PREEMPT it is a call that may print; who tries a raw lock uses it. */
#undef smp_processor_id
#define smp_processor_id() raw_smp_processor_id()

#include <linux/compiler.h>
#include <linux/context_tracking_state.h>
#include <linux/kvm_host.h>
#include <linux/moduleparam.h>

#include <asm/hvcall.h>
#include <asm/iommu.h>
#include <asm/iommu_tce_rm.h>
#include <asm/kvm_book3s.h>
#include <asm/kvm_ppc.h>
#include <asm/paca.h>
#include <asm/pte-walk.h>
#include <asm/tce.h>
#include "book3s_64_tce.h"
#include "book3s_64_tce_memory.h"

#define TCE_PERMS (TCE_PCI_READ | TCE_PCI_WRITE)

/* A list is within a page of 4K. */
#define LIST_BYTES SZ_4K

/* LIOBNs with the same hash that are looked at. */
#define RM_WINDOWS 16

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "kvm_spapr_tce."
static bool realmode __read_mostly = true;
module_param(realmode, bool, 0644);
MODULE_PARM_DESC(realmode, "Do short TCE hypercalls in real mode on POWER8");

static __always_inline bool rm_possible(void)
{
	return READ_ONCE(realmode) && !local_paca->kvm_hstate.kvm_split_mode &&
	       !context_tracking_enabled();
}

/* As kvm_memslots(), without a word to lockdep. */
static __always_inline struct kvm_memslots *rm_memslots(struct kvm *kvm)
{
	return (__force struct kvm_memslots *)READ_ONCE(kvm->memslots[0]);
}

/* As kvm_tce_find(), likewise. */
static __always_inline struct kvm_tce_liobn *rm_find(struct kvm *kvm,
						     u64 number)
{
	struct kvm_tce_liobn *liobn;
	struct hlist_node *node;
	unsigned int i;

	node = READ_ONCE(kvm_tce_bucket(kvm, number)->first);
	for (i = 0; node && i < RM_WINDOWS; i++, node = READ_ONCE(node->next)) {
		liobn = hlist_entry(node, struct kvm_tce_liobn, node);
		if (liobn->liobn == number)
			return liobn;
	}
	return NULL;
}

/* Find the words of @n entries in the view of a LIOBN.  Return: NULL if that is not simple. */
static __always_inline u64 *rm_words(struct kvm *kvm, u64 number, u64 ioba,
				     unsigned long n,
				     struct kvm_tce_liobn **pliobn,
				     unsigned long *index)
{
	struct kvm_tce_liobn *liobn;

	if (!rm_possible() || n - 1 >= IOMMU_TCE_RM_MAX)
		return NULL;
	liobn = rm_find(kvm, number);
	if (!liobn || !kvm_tce_inside(liobn, ioba, n, index))
		return NULL;
	*pliobn = liobn;
	if (*index % KVM_TCE_PER_PAGE + n > KVM_TCE_PER_PAGE)
		return NULL;
	return kvm_tce_view(liobn, *index);
}

/* Change entries in the table of a LIOBN, if it has one.  @items may be NULL to clear them. */
static __always_inline bool rm_change(const struct kvm_tce_liobn *liobn,
				      unsigned long index, unsigned int n,
				      const u64 *items)
{
	struct iommu_table *tbl = kvm_tce_only_table(liobn);

	if (!tbl)
		return READ_ONCE(liobn->links.next) == &liobn->links;
	if (n == 1)
		return !iommu_tce_change_one_rm(tbl, liobn->kvm->mm,
						liobn->offset + index,
						items ? *items : 0);
	return !iommu_tce_change_rm(tbl, liobn->kvm->mm, liobn->offset + index,
				    n, items);
}

static __always_inline long rm_put(struct kvm *kvm, u64 number, u64 ioba,
				   const u64 *tces, u64 *items, unsigned int n)
{
	struct kvm_tce_liobn *liobn;
	unsigned long index;
	unsigned int i;
	u64 *words;

	words = rm_words(kvm, number, ioba, n, &liobn, &index);
	if (!words ||
	    !guest_memory_items(rm_memslots(kvm), liobn->page_shift, tces, n,
				items) ||
	    !rm_change(liobn, index, n, items))
		return H_TOO_HARD;
	for (i = 0; i < n; i++)
		WRITE_ONCE(words[i], tces[i]);
	return H_SUCCESS;
}

static __always_inline long rm_count(struct kvm_vcpu *vcpu, long ret)
{
	if (ret == H_SUCCESS)
		vcpu->stat.tce_rm_done++;
	else
		vcpu->stat.tce_rm_too_hard++;
	return ret;
}

/**
 * kvmppc_rm_h_put_tce() - kvmppc_h_put_tce() in real mode
 * @vcpu: the caller
 * @number: LIOBN of the window
 * @ioba: bus address of the entry
 * @tce: guest physical address and permissions
 *
 * Context: Real mode.
 * Return: H_SUCCESS; H_TOO_HARD when virtual mode must do it.
 */
noinstr long kvmppc_rm_h_put_tce(struct kvm_vcpu *vcpu, unsigned long number,
				 unsigned long ioba, unsigned long tce)
{
	struct kvm *kvm = vcpu->kvm;
	struct kvm_tce_liobn *liobn;
	unsigned long index;
	u64 *word, item;

	word = rm_words(kvm, number, ioba, 1, &liobn, &index);
	if (!word ||
	    !guest_memory_item(rm_memslots(kvm), liobn->page_shift, tce,
			       &item) ||
	    !rm_change(liobn, index, 1, &item))
		return rm_count(vcpu, H_TOO_HARD);
	WRITE_ONCE(*word, tce);
	return rm_count(vcpu, H_SUCCESS);
}

/*
 * Copy a list by the page table of the process.  Not by the address that a
 * region has for it: a region keeps pages that have a memory error, and a load
 * from one is fatal here.  The page table does not have these any more.
 * As nothing is being unmapped while the lock is held, the page stays until the
 * copy is done.
 */
static __always_inline bool rm_copy_list(struct kvm *kvm, unsigned long ua,
					 unsigned int n, u64 *tces)
{
	arch_spinlock_t *lock = &kvm->mmu_lock.rlock.raw_lock;
	unsigned int shift, i;
	const __be64 *list;
	bool done = false;
	pte_t *ptep, pte;

	if (!arch_spin_trylock(lock))
		return false;
	if (kvm->mmu_invalidate_in_progress)
		goto unlock;
	ptep = __find_linux_pte(kvm->mm->pgd, ua, NULL, &shift);
	if (!ptep)
		goto unlock;
	pte = READ_ONCE(*ptep);
	if (!pte_present(pte) || pte_special(pte) || pte_ci(pte) ||
	    !pte_read(pte))
		goto unlock;
	if (!shift)
		shift = PAGE_SHIFT;
	list = __va((pte_pfn(pte) << PAGE_SHIFT) + (ua & ((1UL << shift) - 1)));
	for (i = 0; i < n; i++)
		tces[i] = be64_to_cpu(READ_ONCE(list[i]));
	done = true;
unlock:
	arch_spin_unlock(lock);
	return done;
}

static noinstr long rm_put_list(struct kvm *kvm, u64 number, u64 ioba, u64 gpa,
				unsigned long n)
{
	/* To clear them takes 130 instructions, by a function that is not ours. */
	u64 tces[IOMMU_TCE_RM_MAX] __uninitialized;
	u64 items[IOMMU_TCE_RM_MAX] __uninitialized;
	struct guest_memory memory;

	if (!rm_possible() || n - 1 >= IOMMU_TCE_RM_MAX ||
	    gpa & (LIST_BYTES - 1) ||
	    !guest_memory_find(rm_memslots(kvm), gpa, LIST_BYTES, &memory) ||
	    !rm_copy_list(kvm, guest_memory_ua(&memory, gpa), n, tces))
		return H_TOO_HARD;
	return rm_put(kvm, number, ioba, tces, items, n);
}

/**
 * kvmppc_rm_h_put_tce_indirect() - kvmppc_h_put_tce_indirect() in real mode
 * @vcpu: the caller
 * @number: LIOBN of the window
 * @ioba: bus address of the first entry
 * @tce_list: guest physical address of the TCEs, a multiple of 4K
 * @npages: how many
 *
 * Context: Real mode.
 * Return: as kvmppc_rm_h_put_tce()
 */
noinstr long kvmppc_rm_h_put_tce_indirect(struct kvm_vcpu *vcpu,
					  unsigned long number,
					  unsigned long ioba,
					  unsigned long tce_list,
					  unsigned long npages)
{
	return rm_count(vcpu,
			rm_put_list(vcpu->kvm, number, ioba, tce_list, npages));
}

/**
 * kvmppc_rm_h_stuff_tce() - kvmppc_h_stuff_tce() in real mode
 * @vcpu: the caller
 * @number: LIOBN of the window
 * @ioba: bus address of the first entry
 * @tce_value: what H_GET_TCE returns for them; has no permissions
 * @npages: how many
 *
 * Context: Real mode.
 * Return: as kvmppc_rm_h_put_tce()
 */
noinstr long kvmppc_rm_h_stuff_tce(struct kvm_vcpu *vcpu, unsigned long number,
				   unsigned long ioba, unsigned long tce_value,
				   unsigned long npages)
{
	struct kvm_tce_liobn *liobn;
	unsigned long index, i;
	u64 *words;

	words = rm_words(vcpu->kvm, number, ioba, npages, &liobn, &index);
	if (!words || tce_value & TCE_PERMS ||
	    !rm_change(liobn, index, npages, NULL))
		return rm_count(vcpu, H_TOO_HARD);
	for (i = 0; i < npages; i++)
		WRITE_ONCE(words[i], tce_value);
	return rm_count(vcpu, H_SUCCESS);
}

/**
 * kvmppc_rm_h_get_tce() - kvmppc_h_get_tce() in real mode
 * @vcpu: the caller; what the guest put comes in r4
 * @number: LIOBN of the window
 * @ioba: bus address of the entry
 *
 * Context: Real mode.
 * Return: as kvmppc_rm_h_put_tce()
 */
noinstr long kvmppc_rm_h_get_tce(struct kvm_vcpu *vcpu, unsigned long number,
				 unsigned long ioba)
{
	struct kvm_tce_liobn *liobn;
	unsigned long index;
	const u64 *word;

	word = rm_words(vcpu->kvm, number, ioba, 1, &liobn, &index);
	if (!word)
		return rm_count(vcpu, H_TOO_HARD);
	vcpu->arch.regs.gpr[4] = READ_ONCE(*word);
	return rm_count(vcpu, H_SUCCESS);
}
