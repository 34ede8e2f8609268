/* SPDX-License-Identifier: GPL-2.0 */
/*
 * DMA windows of guests: what KVM knows of them, and how their entries are found.
 *
 * A guest knows a window by its LIOBN, a number; what KVM has under it is called LIOBN, too.  Its
 * view is what the guest has put into it, word by word: what H_GET_TCE returns, and what user space
 * reads to emulate devices.  A link ties a LIOBN to a TCE table of the hardware, that of a
 * container's window, so that what the guest puts in also goes there.
 *
 * book3s_64_tce.c makes and frees all three, book3s_64_tce_hcall.c has the hypercalls.
 *
 * Locks, outermost first: that of the kvm-vfio device, &kvm_tce.lock,
 * &kvm_tce_liobn.view_lock.  Hypercalls take none of the first two: they find
 * everything inside one SRCU read section of the VM (kvm->srcu) and use it there.
 * Whatever they may have found is unlinked first and freed after they are gone.
 */
#ifndef _POWERPC_KVM_BOOK3S_64_TCE_H
#define _POWERPC_KVM_BOOK3S_64_TCE_H

#include <linux/hash.h>
#include <linux/kvm_host.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/nospec.h>
#include <linux/rculist.h>
#include <linux/refcount.h>
#include <linux/srcu.h>

#include <asm/iommu.h>
#include <asm/iommu_tce.h>
#include <asm/page.h>

/* Words in a page of a view; pointers in a page of its directory. */
#define KVM_TCE_PER_PAGE (PAGE_SIZE / sizeof(u64))

/**
 * struct kvm_tce_deferred - work to do once hypercalls that run now are over
 * @rcu: waits for them
 * @node: in &kvm_tce.deferred
 * @kvm: the VM, which lives until @fn is done
 * @fn: does the work; may sleep
 *
 * Whoever unlinks something does not wait for it: they may close a file for somebody else, or
 * hold locks, and a hypercall may be behind a page fault for as long as user space likes.  REMOVE
 * and whoever meets the limit of locked memory may wait for it, and SET if too many links are
 * ending, until a fatal signal; the end of the VM does in any case.
 */
struct kvm_tce_deferred {
	struct rcu_head rcu;
	struct llist_node node;
	struct kvm *kvm;
	void (*fn)(struct kvm_tce_deferred *todo);
};

/**
 * struct kvm_tce_liobn - a window of a guest, with or without a table
 * @node: in &kvm_tce.liobns; written under &kvm_tce.lock
 * @kvm: the VM, with a reference
 * @liobn: its number
 * @page_shift: log2 of the guest's IOMMU page size
 * @offset: bus address of the window, in IOMMU pages
 * @size: in IOMMU pages
 * @charged: pages of locked_vm that are charged for it
 * @links: the hardware tables; written under &kvm_tce.lock
 * @gone: frees the LIOBN
 * @view_lock: taken to add pages to @view
 * @view: directories of pages of the view, by linear address; what is missing
 *	reads as 0; pages are only added
 *
 * Lives as long as its file, and until hypercalls are over.  Constant but for @links and @view.
 */
struct kvm_tce_liobn {
	struct hlist_node node;
	struct kvm *kvm;
	u64 liobn;
	u32 page_shift;
	u64 offset;
	u64 size;
	unsigned long charged;
	struct list_head links;
	struct kvm_tce_deferred gone;
	struct mutex view_lock; /* for new pages in view */
	u64 **view[];
};

/**
 * struct kvm_tce_link - ties a LIOBN to a hardware table
 * @next: in &kvm_tce_liobn.links
 * @kvm: the VM
 * @tbl: the table, with a reference; NULL once the table was closed (the link is dead).
 *	Cleared by link_closed() only: link_unlink() leaves it to hypercalls that run
 * @sub_shift: log2 of how many of its IOMMU pages are one of the guest's
 * @watch: tells when the table is closed
 * @users: the groups (&struct kvm_tce_link_group) for which the link was made; &kvm_tce.lock
 * @ref: one for the list, one for @put
 * @old: what @tbl was, until the reference is put
 * @put: puts it
 * @gone: frees the link, when it is in no list any more
 */
struct kvm_tce_link {
	struct list_head next;
	struct kvm *kvm;
	struct iommu_table *tbl;
	unsigned int sub_shift;
	struct iommu_tce_watch watch;
	struct list_head users;
	refcount_t ref;
	struct iommu_table *old;
	struct kvm_tce_deferred put;
	struct kvm_tce_deferred gone;
};

/* A group that user space has set for a LIOBN. */
struct kvm_tce_link_group {
	struct list_head next;
	const struct iommu_group *group;
};

static __always_inline struct hlist_head *kvm_tce_bucket(struct kvm *kvm,
							 u64 liobn)
{
	return &kvm->arch.tce.liobns[hash_64(liobn, KVM_TCE_HASH_BITS)];
}

/* The LIOBN with a number, or NULL.  Context: SRCU read section, or &kvm_tce.lock. */
static inline struct kvm_tce_liobn *kvm_tce_find(struct kvm *kvm, u64 number)
{
	struct kvm_tce_liobn *liobn;

	hlist_for_each_entry_srcu(liobn, kvm_tce_bucket(kvm, number), node,
				  srcu_read_lock_held(&kvm->srcu) ||
					  lockdep_is_held(&kvm->arch.tce.lock))
		if (liobn->liobn == number)
			return liobn;
	return NULL;
}

/* The table of a LIOBN with one link, where pages are as large as the guest's; or NULL. */
static __always_inline struct iommu_table *
kvm_tce_only_table(const struct kvm_tce_liobn *liobn)
{
	const struct list_head *first = READ_ONCE(liobn->links.next);
	const struct kvm_tce_link *link =
		list_entry(first, struct kvm_tce_link, next);

	if (first == &liobn->links || READ_ONCE(first->next) != &liobn->links)
		return NULL;
	return link->sub_shift ? NULL : READ_ONCE(link->tbl);
}

/*
 * Whether @n entries from a bus address on are in the LIOBN, and the address is
 * that of an IOMMU page; @index is the first one, relative to the LIOBN.  With
 * @n 0 the end is valid, too.
 */
static __always_inline bool kvm_tce_inside(const struct kvm_tce_liobn *liobn,
					   u64 ioba, unsigned long n,
					   unsigned long *index)
{
	u64 i = (ioba >> liobn->page_shift) - liobn->offset;

	*index = array_index_nospec(i, liobn->size);
	return !(ioba & ((1ULL << liobn->page_shift) - 1)) &&
	       i <= liobn->size && n <= liobn->size - i;
}

/* The word of the view for an entry, or NULL where no page is. */
static __always_inline u64 *kvm_tce_view(const struct kvm_tce_liobn *liobn,
					 unsigned long index)
{
	const unsigned long page = index / KVM_TCE_PER_PAGE;
	u64 **directory, *words;

	/* Pairs with kvm_tce_view_make(): what is seen is zeroed. */
	directory = smp_load_acquire(&liobn->view[page / KVM_TCE_PER_PAGE]);
	if (!directory)
		return NULL;
	/* Likewise. */
	words = smp_load_acquire(&directory[page % KVM_TCE_PER_PAGE]);
	return words ? words + index % KVM_TCE_PER_PAGE : NULL;
}

int kvm_tce_view_make(struct kvm_tce_liobn *liobn, unsigned long index);

#endif /* _POWERPC_KVM_BOOK3S_64_TCE_H */
