// SPDX-License-Identifier: GPL-2.0
/*
 * A guest makes hypercalls with arguments that are right, almost right or nonsense, beside a
 * model of what each must give and of what the guest must read then.
 *
 * SPAPR_TCE_SEED	where the random numbers begin (printed)
 * SPAPR_TCE_SECONDS	how long it lasts (by default, some thousand calls)
 */
#include <time.h>

#include "kvm_fixture.h"
#include "lib/storm.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	storm_timeout()

#define CALLS		4000
#define MODELLED	64		/* entries: the first ones, and no others are changed */
#define MOST		16		/* entries of one call */
#define UNREGISTERED	(2 * GUEST_MEM)	/* memory that is the guest's, and not registered */
#define BOUNDARY	(3 * GUEST_MEM)	/* two slots touch here */
#define MORE_SIZE	(4 * MB)

struct last {
	unsigned int kind;
	uint64_t ioba;
	unsigned int n;
};

FIXTURE(random)
{
	struct guest g;
	uint64_t *map;			/* the guest view, for user space */
	uint64_t model[MODELLED];
	uint64_t random;
	char *more;
	struct last last;		/* call */
};

FIXTURE_VARIANT(random)
{
	unsigned int shift;
	unsigned int table_shift;
};

FIXTURE_VARIANT_ADD(random, emulated) { SHIFT_64K };
FIXTURE_VARIANT_ADD(random, linked) { SHIFT_64K, SHIFT_64K };
FIXTURE_VARIANT_ADD(random, linked_4K) { SHIFT_4K, SHIFT_4K };
FIXTURE_VARIANT_ADD(random, linked_1M_to_64K) { 20, SHIFT_64K };
FIXTURE_VARIANT_ADD(random, linked_1M_to_4K) { 20, SHIFT_4K };

FIXTURE_SETUP(random)
{
	struct guest *g = &self->g;
	const char *why = guest_begin(g, 1);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, guest_table(g, variant->shift, variant->table_shift));
	if (variant->table_shift)
		ASSERT_EQ(0, guest_add_and_set(g));
	self->map = mmap(NULL, PAGE_64K, PROT_READ, MAP_SHARED, g->table, 0);
	ASSERT_NE(MAP_FAILED, self->map);
	self->more = spapr_memory(MORE_SIZE, MB);
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, UNREGISTERED, self->more, MORE_SIZE));
	/* Half a page of 1M lies in either slot, and pages of 64K do not. */
	ASSERT_EQ(0, vm_slot(&g->vm, 3, BOUNDARY, g->mem, MB / 2));
	ASSERT_EQ(0, vm_slot(&g->vm, 4, BOUNDARY + MB / 2, g->mem + MB / 2, MB / 2));
	self->random = spapr_env("SPAPR_TCE_SEED", time(NULL));
	TH_LOG("SPAPR_TCE_SEED=%lu", (unsigned long)self->random);
	self->random = self->random * 0x9e3779b97f4a7c15ULL | 1;
}

FIXTURE_TEARDOWN(random)
{
	munmap(self->map, PAGE_64K);
	EXPECT_TRUE(guest_end(&self->g));
}

/* A number below @n. */
static uint64_t below(struct _test_data_random *self, uint64_t n)
{
	return storm_random(&self->random) % n;
}

/* What the kernel must think of a TCE; without permission there is nothing to think of. */
static bool is_good(const struct guest *g, bool linked, uint64_t tce)
{
	const uint64_t gpa = tce & ~TCE_RW, page = 1UL << g->shift;

	if (!(tce & TCE_RW))
		return true;
	if (gpa & (page - 1))
		return false;
	if (gpa >= GUEST_MEM && gpa < GUEST_MEM + MEM_SIZE)
		return true;
	if (gpa >= UNREGISTERED && gpa < UNREGISTERED + MORE_SIZE)
		return !linked;
	if (gpa >= BOUNDARY && gpa < BOUNDARY + MB)
		return page <= MB / 2;
	/* Slot 0, with the guest's code, is not registered either. */
	return !linked && gpa < VM_LOW_SIZE && page <= VM_LOW_SIZE;
}

static uint64_t any_tce(struct _test_data_random *self)
{
	const struct guest *g = &self->g;
	const uint64_t page = 1UL << g->shift, perm = 1 + below(self, 3);

	switch (below(self, 24)) {
	case 0:
		return storm_random(&self->random);
	case 1:
		return storm_random(&self->random) & ~TCE_RW;
	case 2:
		return 0;
	case 3:
		return (GUEST_MEM + below(self, MEM_SIZE / 4096) * 4096) | perm;
	case 4:
		return (UNREGISTERED + below(self, MORE_SIZE / page) * page) | perm;
	case 5:
		return (BOUNDARY + below(self, 2 * MB / page) * page) | perm;
	default:
		return (tce_of(g, below(self, MEM_SIZE / page)) & ~TCE_RW) | perm;
	}
}

/* Mostly one from which @n entries are in the model. */
static uint64_t any_ioba(struct _test_data_random *self, unsigned int n)
{
	const struct guest *g = &self->g;

	switch (below(self, 16)) {
	case 0:
		return storm_random(&self->random) | 1;
	case 1:
		return ioba(g, entries(g) + below(self, 4));
	default:
		return ioba(g, below(self, MODELLED - n + 1));
	}
}

static bool in_bounds(const struct guest *g, uint64_t at, uint64_t n)
{
	const uint64_t entry = (at - g->base) >> g->shift;

	return !(at & ((1UL << g->shift) - 1)) && entry <= entries(g) && n <= entries(g) - entry;
}

/* One call, with what it must give; the model has changed if that is success. */
static long call_any(struct _test_data_random *self, bool linked, long *want)
{
	struct guest *g = &self->g;
	struct vm_cpu *cpu = &g->vm.cpu[below(self, VM_CPUS)];
	uint64_t tce, tces[MOST], at, list = cpu->list_gpa, *model = self->model;
	unsigned int n = below(self, MOST + 1), i, kind = below(self, 4);
	long h;

	if (kind == 0 || kind == 3)
		n = 1;
	at = any_ioba(self, n);
	*want = in_bounds(g, at, n) ? H_SUCCESS : H_PARAMETER;
	for (i = 0; i < n; i++) {
		tces[i] = any_tce(self);
		vm_list_set(cpu, i, tces[i]);
		if (kind < 2 && !*want && !is_good(g, linked, tces[i]))
			*want = H_TOO_HARD;
	}
	self->last = (struct last) { kind, at, n };
	switch (kind) {
	case 0:
		h = vm_put(cpu, LIOBN, at, tces[0]);
		break;
	case 1:
		if (!below(self, 16)) {
			list += 8 << below(self, 9);
			*want = H_PARAMETER;
		}
		h = vm_hcall(cpu, H_PUT_TCE_INDIRECT, LIOBN, at, list, n);
		break;
	case 2:
		tce = below(self, 8) ? 0 : storm_random(&self->random);
		for (i = 0; i < n; i++)
			tces[i] = tce;
		if (tce & TCE_RW)
			*want = H_PARAMETER;
		h = vm_stuff(cpu, LIOBN, at, tce, n);
		break;
	default:
		h = vm_get(cpu, LIOBN, at, &tce);
		return h || *want || tce == model[(at - g->base) >> g->shift] ? h : H_ODD;
	}
	if (!*want && n)
		memcpy(model + ((at - g->base) >> g->shift), tces, n * sizeof(*tces));
	return h;
}

static bool any_mapped(const struct _test_data_random *self)
{
	unsigned int i;

	for (i = 0; i < MODELLED; i++)
		if (self->model[i] & TCE_RW)
			return true;
	return false;
}

TEST_F(random, calls_beside_a_model)
{
	const bool linked = variant->table_shift;
	struct guest *g = &self->g;
	struct storm storm;
	unsigned long n;
	long h, want;

	storm_begin(&storm, CALLS);
	for (n = 0; !storm_is_over(&storm, n); n++) {
		h = call_any(self, linked, &want);
		ASSERT_EQ(want, h) {
			TH_LOG("call %lu: %u at 0x%lx, %u entries", n, self->last.kind,
			       (unsigned long)self->last.ioba, self->last.n);
		}
		ASSERT_EQ(0, memcmp(self->model, self->map, sizeof(self->model))) {
			TH_LOG("call %lu", n);
		}
		/* Now and then little is mapped. */
		if (n % 64 == 63) {
			ASSERT_EQ(linked && any_mapped(self), hardware_has_any(g));
			ASSERT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, n / 64 % 2), 0,
						      MODELLED - 1));
			memset(self->model + n / 64 % 2, 0, (MODELLED - 1) * sizeof(*self->model));
			ASSERT_EQ(linked && any_mapped(self), hardware_has_any(g));
		}
	}
	TH_LOG("%lu calls", n);
	ASSERT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, MODELLED));
	EXPECT_FALSE(hardware_has_any(g));
}

TEST_HARNESS_MAIN
