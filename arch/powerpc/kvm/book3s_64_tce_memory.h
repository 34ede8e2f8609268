/* SPDX-License-Identifier: GPL-2.0 */
/* Memory of guests as their TCE hypercalls look at it: whole IOMMU pages in one memslot. */
#ifndef _POWERPC_KVM_BOOK3S_64_TCE_MEMORY_H
#define _POWERPC_KVM_BOOK3S_64_TCE_MEMORY_H

#include <linux/kvm_host.h>
#include <linux/nospec.h>

#include <asm/page.h>

/**
 * struct guest_memory - where IOMMU pages of a size may begin in a memslot
 * @gpa: the first one, in the guest; multiples of a kernel page are meant
 * @last: how far behind it the last one may begin, in bytes
 * @ua: where @gpa is in user space
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

#endif /* _POWERPC_KVM_BOOK3S_64_TCE_MEMORY_H */
