// SPDX-License-Identifier: GPL-2.0
/*
 * Each allocation of each call of a guest, or for one, fails once. A hypercall then goes to
 * user space, another call says so; no table, guest view or counter has changed, and it works
 * when it is tried again.
 *
 * Every n gets a child with a VM of its own.
 */
#include <sys/wait.h>

#include "kvm_fixture.h"
#include "lib/fault.h"

#define MIDDLE		(WIN_SIZE / PAGE_64K / 2)	/* other levels than entry 0 has */
#define LIST		VM_LIST_MAX

static int nothing(struct guest *g)
{
	return 0;
}

static int create(struct guest *g)
{
	g->table = guest_liobn(g, LIOBN);
	return g->table < 0 ? g->table : 0;
}

static int close_table(struct guest *g)
{
	vm_close(&g->table);
	return 0;
}

static int add(struct guest *g)
{
	return vm_add(&g->vm, g->st.s.group);
}

static int del(struct guest *g)
{
	return vm_del(&g->vm, g->st.s.group);
}

static int table_and_group(struct guest *g)
{
	return guest_table(g, SHIFT_64K, SHIFT_64K) ?: add(g);
}

static int set(struct guest *g)
{
	return vm_set(&g->vm, g->st.s.group, g->table);
}

static int hypercall(long h)
{
	return h == H_SUCCESS ? 0 : h == H_TOO_HARD ? -ENOMEM : -EIO;
}

static int put_first(struct guest *g, uint64_t tce)
{
	return hypercall(vm_put(g->cpu, LIOBN, ioba(g, 0), tce));
}

/* What SET would have linked is not linked. */
static int not_linked(struct guest *g)
{
	int ret = put_first(g, tce_of(g, 0));

	return ret ?: hardware_has_any(g) ? -EEXIST : put_first(g, 0);
}

/* A link to a window of three levels, and something at its start that no failure may touch. */
static int linked(struct guest *g)
{
	int ret = spapr_create(g->c, SHIFT_64K, WIN_SIZE, 3, &g->base);

	return ret ?: create(g) ?: guest_add_and_set(g) ?: put_first(g, tce_of(g, 1));
}

/* LIOBN has a second window, of smaller pages. */
static struct spapr_setup other;

static int linked_twice(struct guest *g)
{
	uint64_t start;
	int ret = linked(g);

	ret = ret ?: spapr_setup(&other, &g->st.dev[1], VFIO_SPAPR_TCE_v2_IOMMU);
	ret = ret ?: spapr_register(other.container, g->vm.low, VM_LOW_SIZE);
	ret = ret ?: spapr_remove(other.container, 0);
	ret = ret ?: spapr_create(other.container, SHIFT_4K, WIN_SIZE, 3, &start);
	ret = ret ?: vm_add(&g->vm, other.group) ?: vm_set(&g->vm, other.group, g->table);
	return ret ?: put_first(g, tce_of(g, 1));
}

/* What a hypercall gave, and whether it has done what it says. */
static int done(struct guest *g, long h, uint64_t entry, uint64_t tce)
{
	return hypercall(h) ?: view(g, entry) == tce ? 0 : -EIO;
}

static int put(struct guest *g)
{
	long h = vm_put(g->cpu, LIOBN, ioba(g, MIDDLE), tce_of(g, 2));

	return done(g, h, MIDDLE, tce_of(g, 2));
}

static int put_list(struct guest *g)
{
	const uint64_t first = MIDDLE - LIST / 2;
	unsigned int i;
	long h;

	for (i = 0; i < LIST; i++)
		vm_list_set(g->cpu, i, tce_of(g, i));
	h = vm_put_list(g->cpu, LIOBN, ioba(g, first), LIST);
	return done(g, h, first, tce_of(g, 0)) ?: done(g, h, first + LIST - 1, tce_of(g, LIST - 1));
}

/* The value is one that must be kept. */
static int stuff(struct guest *g)
{
	const uint64_t first = MIDDLE - LIST / 2;
	long h = vm_stuff(g->cpu, LIOBN, ioba(g, first), 0x40, LIST);

	return done(g, h, first, 0x40) ?: done(g, h, first + LIST - 1, 0x40);
}

static int linked_with_list(struct guest *g)
{
	return linked(g) ?: put_list(g);
}

static int clear_list(struct guest *g)
{
	return hypercall(vm_stuff(g->cpu, LIOBN, ioba(g, MIDDLE - LIST / 2), 0, LIST));
}

/* Nothing but the first entry is there, for the guest and for hardware. */
static int only_first(struct guest *g)
{
	unsigned int i;
	int ret;

	for (i = 0; i < LIST; i++)
		if (view(g, MIDDLE - LIST / 2 + i))
			return -EEXIST;
	if (view(g, 0) != tce_of(g, 1) || !hardware_has_any(g))
		return -ENOENT;
	ret = put_first(g, 0);
	return ret ?: hardware_has_any(g) ? -EEXIST : put_first(g, tce_of(g, 1));
}

static int list_is_there(struct guest *g)
{
	unsigned int i;

	for (i = 0; i < LIST; i++)
		if (view(g, MIDDLE - LIST / 2 + i) != tce_of(g, i))
			return -ENOENT;
	return 0;
}

FIXTURE(fault)
{
};

FIXTURE_VARIANT(fault)
{
	int (*prepare)(struct guest *g);
	int (*call)(struct guest *g);
	int (*check)(struct guest *g);		/* after the call has failed */
	int (*undo)(struct guest *g);		/* after it has succeeded */
	int least;				/* allocations that it makes at least */
	int groups;
};

FIXTURE_VARIANT_ADD(fault, CREATE) { nothing, create, nothing, close_table, 2, 1 };
FIXTURE_VARIANT_ADD(fault, ADD) { nothing, add, nothing, del, 1, 1 };
FIXTURE_VARIANT_ADD(fault, SET) { table_and_group, set, not_linked, nothing, 1, 1 };
FIXTURE_VARIANT_ADD(fault, DEL) { linked, del, nothing, add, 0, 1 };
FIXTURE_VARIANT_ADD(fault, PUT) { linked, put, only_first, clear_list, 1, 1 };
FIXTURE_VARIANT_ADD(fault, PUT_INDIRECT) { linked, put_list, only_first, clear_list, 2, 1 };
FIXTURE_VARIANT_ADD(fault, PUT_again) { linked_with_list, put, list_is_there, clear_list, 0, 1 };
FIXTURE_VARIANT_ADD(fault, STUFF) { linked, stuff, only_first, clear_list, 1, 1 };

FIXTURE_VARIANT_ADD(fault, STUFF_of_a_list) {
	linked_with_list, stuff, list_is_there, clear_list, 0, 1,
};

FIXTURE_VARIANT_ADD(fault, K6_PUT_two_windows) {
	linked_twice, put, only_first, clear_list, 3, 2,
};

FIXTURE_VARIANT_ADD(fault, K6_PUT_INDIRECT_two_windows) {
	linked_twice, put_list, only_first, clear_list, 3, 2,
};

FIXTURE_SETUP(fault)
{
	struct spapr_device dev[2];
	const char *why = fault_begin() ?: vm_impossible();

	if (!why && !type_supported(VFIO_SPAPR_TCE_v2_IOMMU))
		why = "no /dev/vfio/vfio, or no container of this type";
	if (!why && spapr_find_devices(dev, variant->groups) < variant->groups)
		why = "too few NVMe controllers that vfio-pci can take";
	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(fault)
{
}

/* Nothing is left of the failed call, and it works now. */
static enum outcome after_failure(const struct _fixture_variant_fault *v, struct guest *g, int n,
				  long vmlck)
{
	int ret;

	if (vmlck_settled(vmlck) != vmlck)
		return fault_broken("VmLck after the failure", n, spapr_vmlck_kb(), vmlck);
	ret = v->check(g);
	if (ret)
		return fault_broken("check after the failure", n, ret, 0);
	ret = v->call(g);
	return ret ? fault_broken("second try", n, ret, 0) : FAILED;
}

/* One child's life: the VM, the call, its failure or success, the end. */
static enum outcome fail_one(const struct _fixture_variant_fault *v, int n)
{
	struct guest g = { };
	enum outcome outcome;
	const char *why;
	bool injected;
	long before;
	int armed, ret;

	other.container = -1;
	other.group = -1;
	why = guest_begin(&g, v->groups);
	if (why)
		return fault_broken(why, n, 0, 1);
	ret = v->prepare(&g);
	if (ret)
		return fault_broken("preparation", n, ret, 0);
	before = spapr_vmlck_kb();
	armed = fault_arm(n);
	ret = v->call(&g);
	injected = fault_disarm(armed);
	if (ret && (!injected || ret != -ENOMEM))
		return fault_broken("result", n, ret, injected ? -ENOMEM : 0);
	if (ret)
		outcome = after_failure(v, &g, n, before);
	else
		outcome = injected ? SURVIVED : NOT_REACHED;
	if (outcome == BROKEN)
		return outcome;
	ret = v->undo(&g);
	if (ret)
		return fault_broken("undoing the call", n, ret, 0);
	vm_close(&g.table);
	vm_end(&g.vm);
	if (other.container >= 0)
		spapr_teardown(&other);
	return state_end_counters(&g.st) ? outcome : BROKEN;
}

TEST_F(fault, I4_every_allocation_fails_once)
{
	FAULT_EACH_ONCE(fail_one(variant, n));
}

GUEST_FIXTURE(mapped_view, 1, {
	why = fault_begin();
	if (why)
		SKIP(return, "%s", why);
})

/* User space looks at a page of the view that cannot be made at once: the access comes again. */
TEST_F(mapped_view, I4_every_allocation_fails_once)
{
	struct guest *g = &self->g;
	int n, armed, failed = 0;
	bool injected = true;
	uint64_t *words, first;

	for (n = 1; injected && n < FAULT_POINTS; n++) {
		ASSERT_EQ(0, create(g));
		words = mmap(NULL, spapr_page_size(), PROT_READ | PROT_WRITE, MAP_SHARED,
			     g->table, 0);
		ASSERT_NE(MAP_FAILED, words);
		armed = fault_arm(n);
		first = __atomic_load_n(&words[0], __ATOMIC_SEQ_CST);
		injected = fault_disarm(armed);
		failed += injected;
		EXPECT_EQ(0, first);
		__atomic_store_n(&words[1], n, __ATOMIC_SEQ_CST);
		EXPECT_EQ(n, view(g, 1));
		munmap(words, spapr_page_size());
		close_table(g);
	}
	TH_LOG("%d allocations failed", failed);
	EXPECT_FALSE(injected);
	EXPECT_LE(2, failed);
}

TEST_HARNESS_MAIN
