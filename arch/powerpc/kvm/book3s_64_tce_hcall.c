// SPDX-License-Identifier: GPL-2.0
/*
 * DMA windows of guests: H_PUT_TCE, H_PUT_TCE_INDIRECT, H_STUFF_TCE and H_GET_TCE (LoPAPR,
 * "Translation Control Entry hcall()s"), in virtual mode.
 *
 * A call that maps goes through these steps.  When one before the fourth ends it,
 * nothing has changed, unless a table is broken (refuse_call()):
 *
 * 1. Find the LIOBN, check the bounds.  A list is copied, once.
 * 2. Turn the guest's addresses into user addresses.  The whole IOMMU page must
 *    be in one memslot.
 * 3. Make the pages of the view that will be written.
 * 4. Map, in all hardware tables or in none (iommu_tce_change_list()).
 * 5. Write the view.
 *
 * H_TOO_HARD hands the call to user space.  If the fourth step failed, entries
 * may have changed: see map_items().
 *
 * All of it is one SRCU read section of the VM.  REMOVE of a container's window and changes
 * of memslots wait for its end, so it never waits for user space: where a list
 * is not in memory, the section ends before the page is faulted in.
 */

#include <linux/export.h>
#include <linux/nospec.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include <asm/hvcall.h>
#include <asm/kvm_book3s.h>
#include <asm/kvm_ppc.h>
#include <asm/tce.h>
#include "book3s_64_tce.h"
#include "book3s_64_tce_memory.h"

#define TCE_PERMS (TCE_PCI_READ | TCE_PCI_WRITE)

/* A list is within a page of 4K. */
#define LIST_BYTES SZ_4K
#define LIST_TCES (LIST_BYTES / sizeof(u64))

/* Lists of up to so many are on the stack; clearing it would take 115 instructions. */
#define LIST_SMALL 32

/* How often a list is copied anew, because user space took it away meanwhile. */
#define LIST_TRIES 3

/*
 * Tables that a LIOBN can be linked to; with more, user space maps.  They are on the stack, not
 * cleared: that would take 64 instructions.
 */
#define MAX_LINKS 8

/**
 * struct tce_call - a call that maps
 * @kvm: the VM
 * @liobn: the LIOBN
 * @index: the first entry, relative to the LIOBN
 * @n: how many entries
 * @tces: what the guest put, in host byte order
 * @items: the same with user addresses
 */
struct tce_call {
	struct kvm *kvm;
	struct kvm_tce_liobn *liobn;
	unsigned long index;
	unsigned int n;
	u64 *tces;
	u64 *items;
};

/* ---- guest memory ---- */

static bool make_items(const struct tce_call *call)
{
	return guest_memory_items(kvm_memslots(call->kvm),
				  call->liobn->page_shift, call->tces, call->n,
				  call->items);
}

/* ---- views ---- */

/* How many of @n entries from @index on have their words in the same page of the view. */
static unsigned long in_view_page(unsigned long index, unsigned long n)
{
	return min(n, KVM_TCE_PER_PAGE - index % KVM_TCE_PER_PAGE);
}

/* Make the pages that will be written; zeroes need none. */
static bool make_view(const struct tce_call *call)
{
	unsigned long done, n;

	for (done = 0; done < call->n; done += n) {
		n = in_view_page(call->index + done, call->n - done);
		if (!kvm_tce_view(call->liobn, call->index + done) &&
		    memchr_inv(call->tces + done, 0, n * sizeof(u64)) &&
		    kvm_tce_view_make(call->liobn, call->index + done))
			return false;
	}
	return true;
}

static void write_view(const struct tce_call *call)
{
	unsigned long done, n;
	unsigned int i;
	u64 *words;

	for (done = 0; done < call->n; done += n) {
		n = in_view_page(call->index + done, call->n - done);
		words = kvm_tce_view(call->liobn, call->index + done);
		for (i = 0; words && i < n; i++)
			WRITE_ONCE(words[i], call->tces[done + i]);
	}
}

static void clear_view(const struct tce_call *call)
{
	memset(call->tces, 0, call->n * sizeof(*call->tces));
	write_view(call);
}

/* ---- hardware tables ---- */

/*
 * Where entry @index of a LIOBN is in each table that it is linked to.
 * Return: how many tables; -EAGAIN if one is dead, or there are too many.
 */
static int find_targets(const struct kvm_tce_liobn *liobn, unsigned long index,
			struct iommu_tce_target *targets)
{
	struct iommu_table *tbl;
	struct kvm_tce_link *link;
	int nr = 0;

	list_for_each_entry_srcu(link, &liobn->links, next,
				 srcu_read_lock_held(&liobn->kvm->srcu)) {
		tbl = READ_ONCE(link->tbl);
		if (!tbl || nr == MAX_LINKS)
			return -EAGAIN;
		targets[nr].tbl = tbl;
		targets[nr].sub_shift = link->sub_shift;
		targets[nr].entry = (liobn->offset + index) << link->sub_shift;
		nr++;
	}
	return nr;
}

/* Clear entries in all tables of a LIOBN.  Return: 0; -EIO when firmware failed in one; -EINTR. */
static int clear_targets(struct kvm *kvm,
			 const struct iommu_tce_target *targets, int nr,
			 unsigned long n)
{
	struct iommu_tce_request req = { .mm = kvm->mm };
	int i, ret = 0;

	for (i = 0; i < nr; i++) {
		req.entry = targets[i].entry;
		req.npages = n << targets[i].sub_shift;
		ret = iommu_tce_unmap(targets[i].tbl, &req) ?: ret;
		if (iommu_tce_is_broken(targets[i].tbl))
			ret = -EIO;
	}
	return ret;
}

static bool any_is_broken(const struct iommu_tce_target *targets, int nr)
{
	while (nr--)
		if (iommu_tce_is_broken(targets[nr].tbl))
			return true;
	return false;
}

/*
 * Map what the guest put.  After a failure user space has the call: a table that
 * was closed is empty and stays so, and its window is being removed; when the
 * hardware failed (-EIO, or somebody else's kill meanwhile) the entries have been
 * cleared, in the view too; after a fatal signal the process ends.
 */
static bool map_items(const struct tce_call *call)
{
	struct iommu_tce_target targets[MAX_LINKS] __uninitialized;
	const struct iommu_tce_list list = {
		.mm = call->kvm->mm,
		.n = call->n,
		.items = call->items,
	};
	int ret, nr = 0;

	ret = find_targets(call->liobn, call->index, targets);
	if (ret > 0) {
		nr = ret;
		ret = iommu_tce_change_list(targets, nr, &list);
	}
	if (ret != -EIO && any_is_broken(targets, nr)) {
		clear_targets(call->kvm, targets, nr, call->n);
		ret = -EIO;
	}
	if (ret == -EIO)
		clear_view(call);
	return !ret;
}

/*
 * Leave to user space a call that cannot be done.  If a kill has failed in one of its tables,
 * perhaps of this very call in real mode, first clear its entries and their view, unless a
 * link is dead.
 */
static long refuse_call(const struct tce_call *call)
{
	struct iommu_tce_target targets[MAX_LINKS] __uninitialized;
	int nr = find_targets(call->liobn, call->index, targets);

	if (nr > 0 && any_is_broken(targets, nr)) {
		clear_targets(call->kvm, targets, nr, call->n);
		clear_view(call);
	}
	return H_TOO_HARD;
}

static long put_tces(const struct tce_call *call)
{
	if (!make_items(call) || !make_view(call))
		return refuse_call(call);
	if (!map_items(call))
		return H_TOO_HARD;
	write_view(call);
	return H_SUCCESS;
}

/*
 * Handle a failure as map_items() does, for one entry.  Return: H_TOO_HARD; H_BUSY when
 * put_tces() must do it.
 */
static noinline long put_one_failed(struct kvm *kvm, struct iommu_table *tbl,
				    unsigned long entry, u64 *word, int ret)
{
	const struct iommu_tce_request clear = { .mm = kvm->mm,
						 .entry = entry,
						 .npages = 1 };

	if (ret == -EAGAIN)
		return H_BUSY;
	if (iommu_tce_is_broken(tbl) || ret == -EIO) {
		iommu_tce_unmap(tbl, &clear);
		WRITE_ONCE(*word, 0);
	}
	return H_TOO_HARD;
}

/*
 * H_PUT_TCE where that is simple: no page of the view to make, and one table
 * with pages as large as the guest's.  As put_tces(), and faster.  Inline, with what
 * is rare not inline, it saves 100 instructions.
 * Return: H_SUCCESS, H_TOO_HARD; H_BUSY when it is not simple, or cannot be.
 */
static __always_inline long put_one(struct kvm *kvm, unsigned long number,
				    unsigned long ioba, u64 tce)
{
	struct kvm_tce_liobn *liobn = kvm_tce_find(kvm, number);
	struct iommu_table *tbl;
	unsigned long index;
	u64 *word, item;
	int ret;

	if (!liobn || !kvm_tce_inside(liobn, ioba, 1, &index))
		return H_BUSY;
	word = kvm_tce_view(liobn, index);
	tbl = kvm_tce_only_table(liobn);
	if (!word || !tbl ||
	    !guest_memory_item(kvm_memslots(kvm), liobn->page_shift, tce,
			       &item))
		return H_BUSY;
	ret = iommu_tce_change_one(tbl, kvm->mm, liobn->offset + index, item);
	if (ret || READ_ONCE(tbl->it_broken))
		return put_one_failed(kvm, tbl, liobn->offset + index, word,
				      ret);
	WRITE_ONCE(*word, tce);
	return H_SUCCESS;
}

/* ---- the calls ---- */

/* Find the LIOBN of a call and check its bounds.  Return: H_SUCCESS, or what the call returns. */
static long begin_call(struct tce_call *call, unsigned long number,
		       unsigned long ioba)
{
	call->liobn = kvm_tce_find(call->kvm, number);
	if (!call->liobn)
		return H_TOO_HARD;
	return kvm_tce_inside(call->liobn, ioba, call->n, &call->index) ?
		       H_SUCCESS :
		       H_PARAMETER;
}

/* H_PUT_TCE where put_one() is not possible: a list of one. */
static noinline long put_any(struct kvm *kvm, unsigned long number,
			     unsigned long ioba, u64 tce)
{
	u64 item;
	struct tce_call call = {
		.kvm = kvm,
		.n = 1,
		.tces = &tce,
		.items = &item,
	};
	long ret = begin_call(&call, number, ioba);

	return ret == H_SUCCESS ? put_tces(&call) : ret;
}

/**
 * kvmppc_h_put_tce() - H_PUT_TCE: set one entry of a window
 * @vcpu: the caller
 * @number: its LIOBN
 * @ioba: bus address of the entry
 * @tce: guest physical address and permissions; without permissions the entry is cleared
 *
 * Context: Process, may sleep.
 * Return: H_SUCCESS, H_PARAMETER, or H_TOO_HARD when user space must do it.
 */
long kvmppc_h_put_tce(struct kvm_vcpu *vcpu, unsigned long number,
		      unsigned long ioba, unsigned long tce)
{
	struct kvm *kvm = vcpu->kvm;
	int idx = srcu_read_lock(&kvm->srcu);
	long ret = put_one(kvm, number, ioba, tce);

	if (ret == H_BUSY)
		ret = put_any(kvm, number, ioba, tce);
	srcu_read_unlock(&kvm->srcu, idx);
	return ret;
}
EXPORT_SYMBOL_GPL(kvmppc_h_put_tce);

/*
 * Copy the list of a call.  Return: H_SUCCESS, H_TOO_HARD; H_BUSY when the page
 * at @ua, which is set, is not in memory.
 */
static long copy_list(const struct tce_call *call, u64 gpa, unsigned long *ua)
{
	struct guest_memory memory;
	unsigned int i;

	if (!guest_memory_find(kvm_memslots(call->kvm), gpa, LIST_BYTES,
			       &memory))
		return H_TOO_HARD;
	*ua = guest_memory_ua(&memory, gpa);
	if (copy_from_user_nofault(call->tces, (void __user *)*ua,
				   call->n * sizeof(u64)))
		return H_BUSY;
	for (i = 0; i < call->n; i++)
		call->tces[i] = be64_to_cpu((__force __be64)call->tces[i]);
	return H_SUCCESS;
}

/* Return: as put_tces(); H_BUSY if the list is not in memory and a try is @left. */
static long copy_and_put(const struct tce_call *call, u64 gpa,
			 unsigned long *ua, unsigned int left)
{
	long ret = copy_list(call, gpa, ua);

	if (ret == H_SUCCESS)
		return put_tces(call);
	return ret == H_BUSY && left ? H_BUSY : refuse_call(call);
}

static long put_list(struct tce_call *call, unsigned long number,
		     unsigned long ioba, u64 gpa)
{
	unsigned int left = LIST_TRIES;
	unsigned long ua;
	long ret;
	int idx;

	for (;;) {
		idx = srcu_read_lock(&call->kvm->srcu);
		ret = begin_call(call, number, ioba);
		if (ret == H_SUCCESS)
			ret = copy_and_put(call, gpa, &ua, left);
		srcu_read_unlock(&call->kvm->srcu, idx);
		if (ret != H_BUSY)
			return ret;
		left--;
		if (fault_in_readable((char __user *)ua, LIST_BYTES))
			left = 0; /* once more: refuse_call() needs the read section */
	}
}

/* Refuse a bad list: H_PARAMETER if KVM has the LIOBN; otherwise user space decides. */
static long refuse_list(struct kvm *kvm, unsigned long number)
{
	int idx = srcu_read_lock(&kvm->srcu);
	long ret = kvm_tce_find(kvm, number) ? H_PARAMETER : H_TOO_HARD;

	srcu_read_unlock(&kvm->srcu, idx);
	return ret;
}

/**
 * kvmppc_h_put_tce_indirect() - H_PUT_TCE_INDIRECT: set up to 512 entries of a window
 * @vcpu: the caller
 * @number: its LIOBN
 * @ioba: bus address of the first entry
 * @tce_list: guest physical address of the TCEs, a multiple of 4K
 * @npages: how many
 *
 * Context: Process, may sleep.
 * Return: as kvmppc_h_put_tce(); all entries have been set, or none, but for failures
 * described at map_items().
 */
long kvmppc_h_put_tce_indirect(struct kvm_vcpu *vcpu, unsigned long number,
			       unsigned long ioba, unsigned long tce_list,
			       unsigned long npages)
{
	u64 small[2 * LIST_SMALL] __uninitialized;
	u64 *buffer = small;
	struct tce_call call = { .kvm = vcpu->kvm, .n = npages };
	long ret;

	if (npages > LIST_TCES || tce_list & (LIST_BYTES - 1))
		return refuse_list(vcpu->kvm, number);
	if (npages > LIST_SMALL)
		buffer = kmalloc_array(2 * npages, sizeof(u64), GFP_KERNEL);
	if (!buffer)
		return H_TOO_HARD;
	call.tces = buffer;
	call.items = buffer + npages;
	ret = put_list(&call, number, ioba, tce_list);
	if (buffer != small)
		kfree(buffer);
	return ret;
}
EXPORT_SYMBOL_GPL(kvmppc_h_put_tce_indirect);

/* Make all pages of the view for @n entries, unless they are to be zeroes. */
static bool stuff_make_view(struct kvm_tce_liobn *liobn, unsigned long index,
			    unsigned long n, u64 value)
{
	unsigned long now;

	for (; value && n; n -= now, index += now) {
		if (kvm_tce_view_make(liobn, index) ||
		    fatal_signal_pending(current))
			return false;
		now = in_view_page(index, n);
		cond_resched();
	}
	return true;
}

/* How many entries from @index on have no directory, up to the next one; 0 if there is one. */
static unsigned long view_hole(const struct kvm_tce_liobn *liobn,
			       unsigned long index)
{
	const unsigned long entries = KVM_TCE_PER_PAGE * KVM_TCE_PER_PAGE;

	if (READ_ONCE(liobn->view[index / entries]))
		return 0;
	return entries - index % entries;
}

/* Return: false after a fatal signal. */
static bool stuff_view(const struct kvm_tce_liobn *liobn, unsigned long index,
		       unsigned long n, u64 value)
{
	unsigned long now;
	u64 *words;

	for (; n; n -= now, index += now) {
		if (fatal_signal_pending(current))
			return false;
		now = min(n, view_hole(liobn, index));
		if (now) {
			cond_resched();
			continue;
		}
		now = in_view_page(index, n);
		words = kvm_tce_view(liobn, index);
		if (words)
			memset64(words, value, now);
		cond_resched();
	}
	return true;
}

static int stuff_tables(const struct kvm_tce_liobn *liobn, unsigned long index,
			unsigned long n)
{
	struct iommu_tce_target targets[MAX_LINKS] __uninitialized;
	int nr = find_targets(liobn, index, targets);

	return nr < 0 ? nr : clear_targets(liobn->kvm, targets, nr, n);
}

/* As after map_items(), the view is cleared when the hardware failed. */
static long stuff(struct kvm_tce_liobn *liobn, unsigned long index,
		  unsigned long n, u64 value)
{
	int ret;

	if (!stuff_make_view(liobn, index, n, value))
		return H_TOO_HARD;
	ret = stuff_tables(liobn, index, n);
	if (ret && ret != -EIO)
		return H_TOO_HARD;
	if (!stuff_view(liobn, index, n, ret ? 0 : value))
		return H_TOO_HARD;
	return ret ? H_TOO_HARD : H_SUCCESS;
}

/**
 * kvmppc_h_stuff_tce() - H_STUFF_TCE: clear entries of a window
 * @vcpu: the caller
 * @number: its LIOBN
 * @ioba: bus address of the first entry
 * @tce_value: what H_GET_TCE returns for them; has no permissions
 * @npages: how many
 *
 * Context: Process, may sleep.
 * Return: as kvmppc_h_put_tce(); when H_TOO_HARD, the first entries may have been cleared.
 */
long kvmppc_h_stuff_tce(struct kvm_vcpu *vcpu, unsigned long number,
			unsigned long ioba, unsigned long tce_value,
			unsigned long npages)
{
	struct kvm_tce_liobn *liobn;
	unsigned long index;
	long ret = H_TOO_HARD;
	int idx;

	idx = srcu_read_lock(&vcpu->kvm->srcu);
	liobn = kvm_tce_find(vcpu->kvm, number);
	if (liobn && (!kvm_tce_inside(liobn, ioba, npages, &index) ||
		      tce_value & TCE_PERMS))
		ret = H_PARAMETER;
	else if (liobn)
		ret = stuff(liobn, index, npages, tce_value);
	srcu_read_unlock(&vcpu->kvm->srcu, idx);
	return ret;
}
EXPORT_SYMBOL_GPL(kvmppc_h_stuff_tce);

/**
 * kvmppc_h_get_tce() - H_GET_TCE: read an entry of a window
 * @vcpu: the caller; what the guest put comes in r4
 * @number: its LIOBN
 * @ioba: bus address of the entry
 *
 * Context: Any, virtual mode.
 * Return: as kvmppc_h_put_tce().
 */
long kvmppc_h_get_tce(struct kvm_vcpu *vcpu, unsigned long number,
		      unsigned long ioba)
{
	struct kvm_tce_liobn *liobn;
	unsigned long index;
	long ret = H_TOO_HARD;
	const u64 *word;
	int idx;

	idx = srcu_read_lock(&vcpu->kvm->srcu);
	liobn = kvm_tce_find(vcpu->kvm, number);
	if (liobn && !kvm_tce_inside(liobn, ioba, 1, &index)) {
		ret = H_PARAMETER;
	} else if (liobn) {
		word = kvm_tce_view(liobn, index);
		kvmppc_set_gpr(vcpu, 4, word ? READ_ONCE(*word) : 0);
		ret = H_SUCCESS;
	}
	srcu_read_unlock(&vcpu->kvm->srcu, idx);
	return ret;
}
EXPORT_SYMBOL_GPL(kvmppc_h_get_tce);
