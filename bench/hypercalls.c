// SPDX-License-Identifier: GPL-2.0
/*
 * What TCE hypercalls cost a guest under KVM, from before the call to behind it.
 *
 * The markers stand in the guest's code (lib/vm.c), so that what is counted is what the
 * guest waits for: the way out of it, the call, the way back.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#include "bench.h"
#include "lib/vm.h"

#define REAL_MODE	"/sys/module/kvm_spapr_tce/parameters/realmode"
#define LIOBN		1
#define MOST		512
#define TIMES		(6 * REPEAT)	/* what the host does on its own hits short calls hard */
#define MEMORY		(1ULL << 28)	/* where the guest has what it maps */
#define IOBA(i)		((uint64_t)(i) * PAGE)
#define TCE(i)		((MEMORY + IOBA(i)) | TCE_RW)

static struct vm vm;
static struct vm_cpu *cpu = &vm.cpu[0];

/* The call has been counted; it must have succeeded. */
static void counted(long ret, const char *name)
{
	records++;
	must(ret == H_SUCCESS ? 0 : -EIO, name);
	point(name, "call", 1);
}

/* It is counted, too, but not told. */
static void quietly(long ret)
{
	records++;
	must(ret == H_SUCCESS ? 0 : -EIO, "a hypercall");
}

static void single(const char *kind)
{
	uint64_t tce;

	quietly(vm_put(cpu, LIOBN, IOBA(0), 0));
	counted(vm_put(cpu, LIOBN, IOBA(0), TCE(0)), text("%s/H_PUT_TCE", kind));
	counted(vm_put(cpu, LIOBN, IOBA(0), TCE(1)), text("%s/H_PUT_TCE, overwrite", kind));
	counted(vm_get(cpu, LIOBN, IOBA(0), &tce), text("%s/H_GET_TCE", kind));
	counted(vm_put(cpu, LIOBN, IOBA(0), 0), text("%s/H_PUT_TCE, clear", kind));
}

/* In an order in which no two are neighbours. */
static void fill_scattered(unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		vm_list_set(cpu, i, TCE(i * 197 % MOST));
}

static void list(const char *kind, unsigned int n)
{
	vm_list_fill(cpu, n, TCE(0), PAGE);
	counted(vm_put_list(cpu, LIOBN, 0, n), text("%s/H_PUT_TCE_INDIRECT of %u", kind, n));
	counted(vm_put_list(cpu, LIOBN, 0, n), text("%s/H_PUT_TCE_INDIRECT of %u, overwrite", kind, n));
	counted(vm_stuff(cpu, LIOBN, 0, 0, n), text("%s/H_STUFF_TCE of %u", kind, n));
	fill_scattered(n);
	counted(vm_put_list(cpu, LIOBN, 0, n), text("%s/H_PUT_TCE_INDIRECT of %u, scattered", kind, n));
	quietly(vm_stuff(cpu, LIOBN, 0, 0, n));
}

static void all(const char *kind)
{
	unsigned int i;

	/* Make what is made once, and stays: levels, the guest's view. */
	vm_list_fill(cpu, MOST, TCE(0), PAGE);
	quietly(vm_put_list(cpu, LIOBN, 0, MOST));
	quietly(vm_stuff(cpu, LIOBN, 0, 0, MOST));
	for (i = 0; i < TIMES; i++) {
		single(kind);
		list(kind, 8);
		list(kind, 32);
		list(kind, MOST);
	}
}

void group_hypercalls(void)
{
	const char *why = vm_impossible();
	char *va = small_memory(MOST * PAGE);
	int table;

	if (why) {
		fprintf(stderr, "hypercalls: %s\n", why);
		return;
	}
	must(vm_begin(&vm), "a guest");
	must(vm_slot(&vm, 1, MEMORY, va, MOST * PAGE), "memory of the guest");
	table = vm_liobn(&vm, LIOBN, SHIFT_64K, 0, 1ULL << 20);
	must(table, "LIOBN");
	all("emulated");

	box_open();
	must(spapr_register(box.container, va, MOST * PAGE), "REGISTER");
	must(window(SHIFT_64K, 1ULL << 36, 1), "CREATE");
	must(vm_vfio(&vm), "KVM's device for VFIO");
	must(vm_add(&vm, box.group), "adding the group");
	must(vm_set(&vm, box.group, table), "linking the table");
	all("linked");
	/* Where real mode does the short calls, the same without it; the base has none. */
	if (!strcmp((const char *)getauxval(AT_PLATFORM), "power8")) {
		spapr_write_file(REAL_MODE, "N");
		all("linked, virtual mode");
		spapr_write_file(REAL_MODE, "Y");
	}
	must(vm_del(&vm, box.group), "removing the group");
	box_close();
	vm_close(&table);
	vm_end(&vm);
	settle();
}
