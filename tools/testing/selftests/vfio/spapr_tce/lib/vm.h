/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A guest without a kernel: it makes the hypercalls that a test asks for and says what they
 * gave. Memory above the lists, LIOBNs and links are the test's business.
 *
 * Functions that return int give 0 (or what their comment says) or -errno.
 */
#ifndef SPAPR_TCE_VM_H
#define SPAPR_TCE_VM_H

#include <stddef.h>
#include <stdint.h>
#include <linux/kvm.h>

#define H_GET_TCE		0x1c
#define H_PUT_TCE		0x20
#define H_STUFF_TCE		0x138
#define H_PUT_TCE_INDIRECT	0x13c

#define H_SUCCESS		0L
#define H_PARAMETER		(-4L)
#define H_TOO_HARD		9999L	/* the call went to user space, which did nothing */
#define H_ODD			8888L	/* the guest saw H_TOO_HARD, or did not run */

#define TCE_READ		1ULL
#define TCE_WRITE		2ULL
#define TCE_RW			(TCE_READ | TCE_WRITE)

#define VM_CPUS			2
#define VM_LOW_SIZE		(128UL << 10)	/* slot 0, at 0: code, then lists */
#define VM_LISTS		(64UL << 10)	/* a list for each CPU, 4K each, and some room */
#define VM_LIST_MAX		512

/* One thread at a time may use a CPU. */
struct vm_cpu {
	int fd;
	struct kvm_run *run;
	size_t run_size;
	uint64_t r4;		/* what the last call left there */
	uint64_t *list;		/* for H_PUT_TCE_INDIRECT, big-endian words */
	uint64_t list_gpa;
};

/* Files are -1 where there is none. */
struct vm {
	int fd;
	int vfio;
	char *low;
	struct vm_cpu cpu[VM_CPUS];
};

/* Why there can be no VM here, or NULL. */
const char *vm_impossible(void);

/* A VM with slot 0 and its CPUs, each of which waits for its first call. */
int vm_begin(struct vm *vm);

/* Whatever is still open. */
void vm_end(struct vm *vm);
void vm_end_cpus(struct vm *vm);
void vm_close(int *fd);

/* Memory at guest address @gpa; of size 0: none there any more. */
int vm_slot(struct vm *vm, unsigned int slot, uint64_t gpa, void *va, uint64_t size);

/* The file of a new LIOBN; @offset and @size in pages. The second has 4K pages, from 0 on. */
int vm_liobn(struct vm *vm, uint64_t liobn, unsigned int shift, uint64_t offset, uint64_t size);
int vm_liobn_32(struct vm *vm, uint64_t liobn, uint32_t window_size);

/* The VM's device for VFIO, and what it does with files of groups. */
int vm_vfio(struct vm *vm);
int vm_add(struct vm *vm, int group);
int vm_del(struct vm *vm, int group);
int vm_set(struct vm *vm, int group, int table);
int vm_vfio_attr(struct vm *vm, uint32_t group, uint64_t attr, void *arg);

/* A hypercall with up to four arguments; what it gave, H_TOO_HARD or H_ODD. */
long vm_call(struct vm_cpu *cpu, uint64_t nr, const uint64_t args[4]);
#define vm_hcall(cpu, nr, ...)	vm_call(cpu, nr, (const uint64_t[4]) { __VA_ARGS__ })

long vm_put(struct vm_cpu *cpu, uint64_t liobn, uint64_t ioba, uint64_t tce);
/* The CPU's own list. */
long vm_put_list(struct vm_cpu *cpu, uint64_t liobn, uint64_t ioba, uint64_t n);
long vm_stuff(struct vm_cpu *cpu, uint64_t liobn, uint64_t ioba, uint64_t value, uint64_t n);
/* Into *@tce. */
long vm_get(struct vm_cpu *cpu, uint64_t liobn, uint64_t ioba, uint64_t *tce);

/* A statistic of this VM; -1 if there is none. */
long vm_statistic(const struct vm *vm, const char *name);

/* @n TCEs for the list, from @tce on in steps of @step. */
void vm_list_fill(struct vm_cpu *cpu, unsigned int n, uint64_t tce, uint64_t step);
void vm_list_set(struct vm_cpu *cpu, unsigned int i, uint64_t tce);

#endif /* SPAPR_TCE_VM_H */
