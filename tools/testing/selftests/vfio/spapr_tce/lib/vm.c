// SPDX-License-Identifier: GPL-2.0
/*
 * See vm.h.
 *
 * The guest runs with address translation off, from address 0 on: it makes a hypercall that
 * no kernel knows, which brings it to user space. What user space says to that is in its
 * registers then, and they are those of the next hypercall. So one KVM_RUN is one call. The
 * kernel itself makes a hash guest's page table and maps slot 0 for it.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "spapr_tce.h"
#include "vm.h"

#define DONE		0xf005
#define MSR_64BIT	0x8000000000000000ULL
#define MSR_ME		0x1000ULL
#define MSR_LE		1ULL

static const uint32_t code[] = {
	0x38600000,		/* li	r3,0 */
	0x60630000 | DONE,	/* ori	r3,r3,DONE */
	0x44000022,		/* sc	1 */
	0x60005a01,		/* marker: who counts instructions begins here */
	0x44000022,		/* sc	1: the call that was asked for */
	0x60005a02,		/* marker: and ends here */
	0x7c852378,		/* mr	r5,r4 */
	0x7c641b78,		/* mr	r4,r3 */
	0x4bffffe0,		/* b	to the start */
};

static int kvm_open(void)
{
	return open("/dev/kvm", O_RDWR | O_CLOEXEC);
}

const char *vm_impossible(void)
{
	int kvm = kvm_open(), fd;

	if (kvm < 0)
		return "no /dev/kvm";
	fd = ioctl(kvm, KVM_CREATE_VM, 0);
	close(kvm);
	if (fd < 0)
		return "no virtual machines here";
	close(fd);
	return NULL;
}

void vm_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int enable_hcall(struct vm *vm, uint64_t nr)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_PPC_ENABLE_HCALL, .args = { nr, 1 } };

	return spapr_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
}

/*
 * One KVM_RUN, whatever signals come.  With the hash MMU it was seen to come back with other
 * floating-point registers (f31), where compilers keep integers: they are saved here.
 */
static int cpu_run(struct vm_cpu *cpu)
{
	int ret;

	do {
		ret = spapr_ioctl(cpu->fd, KVM_RUN, NULL);
	} while (ret == -EINTR);
	asm volatile("" : : : "fr14", "fr15", "fr16", "fr17", "fr18", "fr19", "fr20", "fr21",
		     "fr22", "fr23", "fr24", "fr25", "fr26", "fr27", "fr28", "fr29", "fr30",
		     "fr31", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29",
		     "v30", "v31");
	if (!ret && cpu->run->exit_reason != KVM_EXIT_PAPR_HCALL) {
		printf("# the guest stopped: exit reason %u\n", cpu->run->exit_reason);
		return -EIO;
	}
	return ret;
}

static int cpu_begin(struct vm *vm, unsigned int id, size_t run_size)
{
	struct kvm_enable_cap papr = { .cap = KVM_CAP_PPC_PAPR };
	struct kvm_regs regs = { .msr = MSR_64BIT | MSR_ME };
	struct vm_cpu *cpu = &vm->cpu[id];
	int ret;

	if (__BYTE_ORDER == __LITTLE_ENDIAN)
		regs.msr |= MSR_LE;
	cpu->list_gpa = VM_LISTS + id * 4 * KB;
	cpu->list = (uint64_t *)(vm->low + cpu->list_gpa);
	cpu->run_size = run_size;
	cpu->fd = spapr_ioctl(vm->fd, KVM_CREATE_VCPU, (void *)(long)id);
	if (cpu->fd < 0)
		return cpu->fd;
	cpu->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu->fd, 0);
	if (cpu->run == MAP_FAILED) {
		cpu->run = NULL;
		return -errno;
	}
	ret = spapr_ioctl(cpu->fd, KVM_ENABLE_CAP, &papr);
	return ret ?: spapr_ioctl(cpu->fd, KVM_SET_REGS, &regs) ?: cpu_run(cpu);
}

static int vm_fill(struct vm *vm, size_t run_size)
{
	unsigned int i;
	int ret;

	memcpy(vm->low, code, sizeof(code));
	__builtin___clear_cache(vm->low, vm->low + sizeof(code));
	ret = vm_slot(vm, 0, 0, vm->low, VM_LOW_SIZE);
	/* The others are known everywhere. */
	ret = ret ?: enable_hcall(vm, H_STUFF_TCE) ?: enable_hcall(vm, H_PUT_TCE_INDIRECT);
	for (i = 0; i < VM_CPUS && !ret; i++)
		ret = cpu_begin(vm, i, run_size);
	return ret;
}

int vm_begin(struct vm *vm)
{
	int kvm = kvm_open(), ret;
	unsigned int i;

	memset(vm, 0, sizeof(*vm));
	vm->vfio = -1;
	for (i = 0; i < VM_CPUS; i++)
		vm->cpu[i].fd = -1;
	if (kvm < 0)
		return -errno;
	vm->low = mmap(NULL, VM_LOW_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	vm->fd = spapr_ioctl(kvm, KVM_CREATE_VM, NULL);
	if (vm->low == MAP_FAILED)
		ret = -ENOMEM;
	else
		ret = vm->fd < 0 ? vm->fd : vm_fill(vm, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	close(kvm);
	if (ret)
		vm_end(vm);
	return ret;
}

void vm_end_cpus(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < VM_CPUS; i++) {
		if (vm->cpu[i].run)
			munmap(vm->cpu[i].run, vm->cpu[i].run_size);
		vm->cpu[i].run = NULL;
		vm_close(&vm->cpu[i].fd);
	}
}

void vm_end(struct vm *vm)
{
	vm_end_cpus(vm);
	vm_close(&vm->vfio);
	vm_close(&vm->fd);
	if (vm->low && vm->low != MAP_FAILED)
		munmap(vm->low, VM_LOW_SIZE);
	vm->low = NULL;
}

int vm_slot(struct vm *vm, unsigned int slot, uint64_t gpa, void *va, uint64_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .guest_phys_addr = gpa,
		.userspace_addr = (uintptr_t)va, .memory_size = size,
	};

	return spapr_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

int vm_liobn(struct vm *vm, uint64_t liobn, unsigned int shift, uint64_t offset, uint64_t size)
{
	struct kvm_create_spapr_tce_64 create = {
		.liobn = liobn, .page_shift = shift, .offset = offset, .size = size,
	};

	return spapr_ioctl(vm->fd, KVM_CREATE_SPAPR_TCE_64, &create);
}

int vm_liobn_32(struct vm *vm, uint64_t liobn, uint32_t window_size)
{
	struct kvm_create_spapr_tce create = { .liobn = liobn, .window_size = window_size };

	return spapr_ioctl(vm->fd, KVM_CREATE_SPAPR_TCE, &create);
}

int vm_vfio(struct vm *vm)
{
	struct kvm_create_device create = { .type = KVM_DEV_TYPE_VFIO };
	int ret = spapr_ioctl(vm->fd, KVM_CREATE_DEVICE, &create);

	if (!ret)
		vm->vfio = create.fd;
	return ret;
}

int vm_vfio_attr(struct vm *vm, uint32_t group, uint64_t attr, void *arg)
{
	struct kvm_device_attr set = { .group = group, .attr = attr, .addr = (uintptr_t)arg };

	return spapr_ioctl(vm->vfio, KVM_SET_DEVICE_ATTR, &set);
}

int vm_add(struct vm *vm, int group)
{
	int32_t fd = group;

	return vm_vfio_attr(vm, KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_ADD, &fd);
}

int vm_del(struct vm *vm, int group)
{
	int32_t fd = group;

	return vm_vfio_attr(vm, KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_DEL, &fd);
}

int vm_set(struct vm *vm, int group, int table)
{
	struct kvm_vfio_spapr_tce set = { .groupfd = group, .tablefd = table };

	return vm_vfio_attr(vm, KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE, &set);
}

long vm_call(struct vm_cpu *cpu, uint64_t nr, const uint64_t args[4])
{
	struct kvm_run *run = cpu->run;
	bool up = false;
	long ret;

	run->papr_hcall.ret = nr;
	memcpy(run->papr_hcall.args, args, 4 * sizeof(*args));
	if (cpu_run(cpu))
		return H_ODD;
	if (run->papr_hcall.nr == nr) {
		up = true;
		run->papr_hcall.ret = H_TOO_HARD;
		if (cpu_run(cpu))
			return H_ODD;
	}
	if (run->papr_hcall.nr != DONE)
		return H_ODD;
	cpu->r4 = run->papr_hcall.args[1];
	ret = run->papr_hcall.args[0];
	return up == (ret == H_TOO_HARD) ? ret : H_ODD;
}

long vm_put(struct vm_cpu *cpu, uint64_t liobn, uint64_t ioba, uint64_t tce)
{
	return vm_hcall(cpu, H_PUT_TCE, liobn, ioba, tce);
}

long vm_put_list(struct vm_cpu *cpu, uint64_t liobn, uint64_t ioba, uint64_t n)
{
	return vm_hcall(cpu, H_PUT_TCE_INDIRECT, liobn, ioba, cpu->list_gpa, n);
}

long vm_stuff(struct vm_cpu *cpu, uint64_t liobn, uint64_t ioba, uint64_t value, uint64_t n)
{
	return vm_hcall(cpu, H_STUFF_TCE, liobn, ioba, value, n);
}

long vm_get(struct vm_cpu *cpu, uint64_t liobn, uint64_t ioba, uint64_t *tce)
{
	long ret = vm_hcall(cpu, H_GET_TCE, liobn, ioba);

	*tce = cpu->r4;
	return ret;
}

void vm_list_set(struct vm_cpu *cpu, unsigned int i, uint64_t tce)
{
	__atomic_store_n(&cpu->list[i], htobe64(tce), __ATOMIC_RELAXED);
}

long vm_statistic(const struct vm *vm, const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/kernel/debug/kvm/%d-%d/%s", getpid(), vm->fd, name);
	return spapr_read_number(path);
}

void vm_list_fill(struct vm_cpu *cpu, unsigned int n, uint64_t tce, uint64_t step)
{
	unsigned int i;

	for (i = 0; i < n; i++, tce += step)
		vm_list_set(cpu, i, tce);
}
