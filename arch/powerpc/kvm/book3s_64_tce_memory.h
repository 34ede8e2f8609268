/* SPDX-License-Identifier: GPL-2.0 */
/* Memory of guests as their TCE hypercalls look at it: whole IOMMU pages in one memslot. */
#ifndef _POWERPC_KVM_BOOK3S_64_TCE_MEMORY_H
#define _POWERPC_KVM_BOOK3S_64_TCE_MEMORY_H

#include <linux/kvm_host.h>
#include <linux/nospec.h>

#include <asm/iommu_tce.h>
#include <asm/page.h>

/**
 * struct guest_memory - a memslot, and where accesses of one size may begin
 * @gpa: guest physical address of its first byte
 * @last: how far behind @gpa an access may begin, in bytes
 * @ua: user address of @gpa
 */
struct guest_memory {
	u64 gpa;
	u64 last;
	unsigned long ua;
};

/* The memslot that has @bytes of the guest's memory from @gpa on; all of them. */
static __always_inline bool guest_memory_find(struct kvm_memslots *slots,
					      u64 gpa, u64 bytes,
					      struct guest_memory *memory)
{
	struct kvm_memory_slot *slot;
	u64 size;

	slot = __gfn_to_memslot(slots, gpa >> PAGE_SHIFT);
	if (!slot || slot->flags & KVM_MEMSLOT_INVALID)
		return false;
	size = slot->npages << PAGE_SHIFT;
	memory->gpa = slot->base_gfn << PAGE_SHIFT;
	memory->last = size - bytes;
	memory->ua = slot->userspace_addr;
	return bytes <= size && gpa - memory->gpa <= memory->last;
}

/* The user address of a guest's address that guest_memory_find() would find in @memory. */
static __always_inline unsigned long
guest_memory_ua(const struct guest_memory *memory, u64 gpa)
{
	return memory->ua +
	       array_index_nospec(gpa - memory->gpa, memory->last + 1);
}

/* Turn one TCE of a guest into an item, 0 if it has no permissions.  Return: if possible. */
static __always_inline bool guest_memory_item(struct kvm_memslots *slots,
					      unsigned int page_shift, u64 tce,
					      u64 *item)
{
	const u64 page = 1ULL << page_shift, gpa = tce & ~IOMMU_TCE_PERMS;
	struct guest_memory found;

	*item = 0;
	if (gpa == tce)
		return true;
	if (gpa & (page - 1) || !guest_memory_find(slots, gpa, page, &found))
		return false;
	*item = guest_memory_ua(&found, gpa) | (tce & IOMMU_TCE_PERMS);
	return true;
}

/*
 * Turn @n TCEs of a guest into items (&struct iommu_tce_list), as long as they are
 * in the memslot of the first one.  Lists mostly have runs, so the innermost loop
 * only compares a TCE with the one that would continue the run.  Return: how many,
 * 0 if nothing could be done.
 */
static __always_inline unsigned int
guest_memory_items_in(struct kvm_memslots *slots, unsigned int page_shift,
		      const u64 *tces, unsigned int n, u64 *items)
{
	const u64 page = 1ULL << page_shift;
	const u64 low = (page - 1) & ~IOMMU_TCE_PERMS;
	struct guest_memory found;
	u64 offset, tce, item;
	unsigned long run;
	unsigned int i = 0;

	if (!guest_memory_find(slots, tces[0] & ~IOMMU_TCE_PERMS, page, &found))
		return 0;
	while (i < n) {
		tce = tces[i];
		/* Permissions are low bits, so they are those of @offset, too. */
		offset = tce - found.gpa;
		if ((offset & ~IOMMU_TCE_PERMS) > found.last || tce & low ||
		    !(tce & IOMMU_TCE_PERMS))
			break;
		item = found.ua + array_index_nospec(offset, found.last + page);
		items[i++] = item;
		run = (found.last - (offset & ~IOMMU_TCE_PERMS)) >> page_shift;
		run = min_t(unsigned long, run, n - i);
		for (; run; run--, i++) {
			tce += page;
			item += page;
			if (tces[i] != tce)
				break;
			items[i] = item;
		}
	}
	return i;
}

/* Turn all of @n TCEs into items; those without permissions become 0.  Return: if possible. */
static __always_inline bool
guest_memory_items(struct kvm_memslots *slots, unsigned int page_shift,
		   const u64 *tces, unsigned int n, u64 *items)
{
	unsigned int i = 0, done;

	while (i < n) {
		if (!(tces[i] & IOMMU_TCE_PERMS)) {
			items[i++] = 0;
			continue;
		}
		done = guest_memory_items_in(slots, page_shift, tces + i, n - i,
					     items + i);
		if (!done)
			return false;
		i += done;
	}
	return true;
}

#endif /* _POWERPC_KVM_BOOK3S_64_TCE_MEMORY_H */
