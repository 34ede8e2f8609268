// SPDX-License-Identifier: GPL-2.0
/*
 * A guest's hypercalls for TCEs: what each of them gives, what the guest then reads, and what
 * the hardware has. What is refused changes nothing.
 */
#include "kvm_fixture.h"

#define LIST	VM_LIST_MAX

FIXTURE(calls)
{
	struct guest g;
	uint64_t *map;		/* the guest view, for user space */
	size_t map_size;
};

FIXTURE_VARIANT(calls)
{
	unsigned int shift;		/* of the LIOBN's pages */
	unsigned int table_shift;	/* of the window's, or there is none */
	bool second;			/* the window is the second one */
};

FIXTURE_VARIANT_ADD(calls, emulated) { SHIFT_64K };
FIXTURE_VARIANT_ADD(calls, emulated_4K) { SHIFT_4K };
FIXTURE_VARIANT_ADD(calls, linked) { SHIFT_64K, SHIFT_64K };
FIXTURE_VARIANT_ADD(calls, linked_4K) { SHIFT_4K, SHIFT_4K };
FIXTURE_VARIANT_ADD(calls, K10_linked_64K_to_4K) { SHIFT_64K, SHIFT_4K };
FIXTURE_VARIANT_ADD(calls, second_window) { SHIFT_64K, SHIFT_64K, true };
FIXTURE_VARIANT_ADD(calls, K10_second_window_1M_to_64K) { 20, SHIFT_64K, true };

FIXTURE_SETUP(calls)
{
	struct guest *g = &self->g;
	const char *why = guest_begin(g, 1);

	if (why)
		SKIP(return, "%s", why);
	if (variant->second)
		ASSERT_EQ(0, spapr_create(g->c, SHIFT_64K, WIN_SIZE, 1, &g->base));
	ASSERT_EQ(0, guest_table(g, variant->shift, variant->table_shift));
	if (variant->table_shift)
		ASSERT_EQ(0, guest_add_and_set(g));
	self->map_size = (entries(g) * 8 + PAGE_64K - 1) & ~(PAGE_64K - 1);
	self->map = mmap(NULL, self->map_size, PROT_READ | PROT_WRITE, MAP_SHARED, g->table, 0);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(calls)
{
	munmap(self->map, self->map_size);
	EXPECT_TRUE(guest_end(&self->g));
}

/* The guest reads @n TCEs from @tce on, @step apart; user space, too. */
static void reads(struct __test_metadata *_metadata, struct _test_data_calls *self,
		  uint64_t entry, unsigned int n, uint64_t tce, uint64_t step)
{
	unsigned int i;

	for (i = 0; i < n; i++, tce += step) {
		ASSERT_EQ(tce, view(&self->g, entry + i));
		ASSERT_EQ(tce, self->map[entry + i]);
	}
}

/* Hardware has TCEs if there is hardware, and somebody has mapped something. */
#define expect_mapped(yes)	\
	EXPECT_EQ(variant->table_shift && (yes), hardware_has_any(&self->g))

TEST_F(calls, put)
{
	struct guest *g = &self->g;
	const uint64_t last = entries(g) - 1;

	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), tce_of(g, 0)));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, last), tce_of(g, 1)));
	reads(_metadata, self, 0, 1, tce_of(g, 0), 0);
	reads(_metadata, self, 1, 1, 0, 0);
	reads(_metadata, self, last, 1, tce_of(g, 1), 0);
	expect_mapped(true);

	/* Another value, then none. */
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), tce_of(g, 2)));
	reads(_metadata, self, 0, 1, tce_of(g, 2), 0);
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), 0));
	expect_mapped(true);
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, last), 0));
	reads(_metadata, self, 0, 1, 0, 0);
	expect_mapped(false);
}

TEST_F(calls, put_of_each_permission)
{
	struct guest *g = &self->g;
	uint64_t perm, tce = tce_of(g, 1) & ~TCE_RW;

	for (perm = 0; perm <= TCE_RW; perm++) {
		EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 3), tce | perm));
		reads(_metadata, self, 3, 1, tce | perm, 0);
		expect_mapped(perm);
	}
	/* Without permission any value will do: user space marks entries so. */
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 3), 0xdeadbeefdeadbee0ULL));
	reads(_metadata, self, 3, 1, 0xdeadbeefdeadbee0ULL, 0);
	expect_mapped(false);
}

TEST_F(calls, put_list_and_stuff)
{
	struct guest *g = &self->g;
	const unsigned int step = 1U << g->shift, n = MEM_SIZE >> g->shift;
	const unsigned int count = n < LIST ? n : LIST;
	const uint64_t at = entries(g) - count;

	vm_list_fill(g->cpu, count, tce_of(g, 0), step);
	EXPECT_EQ(H_SUCCESS, vm_put_list(g->cpu, LIOBN, ioba(g, at), count));
	reads(_metadata, self, at - 1, 1, 0, 0);
	reads(_metadata, self, at, count, tce_of(g, 0), step);
	expect_mapped(true);
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, at + 1), 0, count - 2));
	reads(_metadata, self, at, 1, tce_of(g, 0), 0);
	reads(_metadata, self, at + 1, count - 2, 0, 0);
	reads(_metadata, self, at + count - 1, 1, tce_of(g, count - 1), 0);
	expect_mapped(true);
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0x5a0, entries(g)));
	reads(_metadata, self, at, count, 0x5a0, 0);
	expect_mapped(false);
}

/* 512 TCEs are the most that a list has. */
TEST_F(calls, put_list_of_the_longest)
{
	struct guest *g = &self->g;
	unsigned int i;

	for (i = 0; i < LIST; i++)
		vm_list_set(g->cpu, i, tce_of(g, i * 7));
	EXPECT_EQ(H_SUCCESS, vm_put_list(g->cpu, LIOBN, ioba(g, 5), LIST));
	for (i = 0; i < LIST; i++)
		ASSERT_EQ(tce_of(g, i * 7), view(g, 5 + i));
	expect_mapped(true);
	/* The same again, and each clears what it finds. */
	EXPECT_EQ(H_SUCCESS, vm_put_list(g->cpu, LIOBN, ioba(g, 5), LIST));
	vm_list_fill(g->cpu, LIST, 0, 0);
	EXPECT_EQ(H_SUCCESS, vm_put_list(g->cpu, LIOBN, ioba(g, 5), LIST));
	reads(_metadata, self, 5, LIST, 0, 0);
	expect_mapped(false);
}

TEST_F(calls, K1_list_of_tces_with_and_without_permission)
{
	struct guest *g = &self->g;
	unsigned int i, round;
	uint64_t tce;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < 16; i++) {
			tce = (i + round) & 1 ? tce_of(g, i) : tce_of(g, i) & ~TCE_RW;
			vm_list_set(g->cpu, i, tce);
		}
		EXPECT_EQ(H_SUCCESS, vm_put_list(g->cpu, LIOBN, ioba(g, 8), 16));
		for (i = 0; i < 16; i++)
			EXPECT_EQ((i + round) & 1 ? TCE_RW : 0, view(g, 8 + i) & TCE_RW);
		expect_mapped(true);
	}
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 8), 0, 16));
	expect_mapped(false);
}

TEST_F(calls, of_no_entries)
{
	struct guest *g = &self->g;

	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), tce_of(g, 0)));
	EXPECT_EQ(H_SUCCESS, vm_put_list(g->cpu, LIOBN, ioba(g, 0), 0));
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, 0));
	reads(_metadata, self, 0, 1, tce_of(g, 0), 0);
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), 0));
}

/* ---- what is refused ---- */

/* The state that refused calls must leave alone: eight TCEs from entry 0 on. */
static void known_state(struct __test_metadata *_metadata, struct _test_data_calls *self)
{
	struct guest *g = &self->g;

	vm_list_fill(g->cpu, 8, tce_of(g, 0), 1UL << g->shift);
	ASSERT_EQ(H_SUCCESS, vm_put_list(g->cpu, LIOBN, ioba(g, 0), 8));
}

static void still_known(struct __test_metadata *_metadata, struct _test_data_calls *self)
{
	reads(_metadata, self, 0, 8, tce_of(&self->g, 0), 1UL << self->g.shift);
	reads(_metadata, self, 8, 2, 0, 0);
}

/* Nothing but the eight is there: without them, nothing is mapped. */
static void no_more_than_known(struct __test_metadata *_metadata, struct _test_data_calls *self)
{
	struct guest *g = &self->g;

	still_known(_metadata, self);
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, 8));
	EXPECT_FALSE(hardware_has_any(g));
}

TEST_F(calls, out_of_bounds)
{
	struct guest *g = &self->g;
	const uint64_t page = 1UL << g->shift, end = ioba(g, entries(g));
	const uint64_t bad[] = {
		end, ioba(g, 0) + 1, ioba(g, 0) + page / 2, ioba(g, 0) - page, -page, 1UL << 61,
	};
	unsigned int i;
	uint64_t tce;

	known_state(_metadata, self);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(H_PARAMETER, vm_put(g->cpu, LIOBN, bad[i], tce_of(g, 9)));
		EXPECT_EQ(H_PARAMETER, vm_put(g->cpu, LIOBN, bad[i], 0));
		EXPECT_EQ(H_PARAMETER, vm_put_list(g->cpu, LIOBN, bad[i], 1));
		EXPECT_EQ(H_PARAMETER, vm_stuff(g->cpu, LIOBN, bad[i], 0, 1));
		EXPECT_EQ(H_PARAMETER, vm_get(g->cpu, LIOBN, bad[i], &tce));
	}
	EXPECT_EQ(H_PARAMETER, vm_put_list(g->cpu, LIOBN, end - page, 2));
	EXPECT_EQ(H_PARAMETER, vm_stuff(g->cpu, LIOBN, end - page, 0, 2));
	EXPECT_EQ(H_PARAMETER, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, entries(g) + 1));
	EXPECT_EQ(H_PARAMETER, vm_stuff(g->cpu, LIOBN, ioba(g, 2), 0, -1ULL));
	EXPECT_EQ(H_PARAMETER, vm_stuff(g->cpu, LIOBN, ioba(g, 2), 0, 1ULL << 63));
	no_more_than_known(_metadata, self);
}

TEST_F(calls, bad_arguments)
{
	struct guest *g = &self->g;
	uint64_t perm;

	known_state(_metadata, self);
	EXPECT_EQ(H_PARAMETER, vm_put_list(g->cpu, LIOBN, ioba(g, 0), LIST + 1));
	EXPECT_EQ(H_PARAMETER, vm_put_list(g->cpu, LIOBN, ioba(g, 0), -1ULL));
	EXPECT_EQ(H_PARAMETER, vm_hcall(g->cpu, H_PUT_TCE_INDIRECT, LIOBN, ioba(g, 0),
					g->cpu->list_gpa + 8, 1));
	EXPECT_EQ(H_PARAMETER, vm_hcall(g->cpu, H_PUT_TCE_INDIRECT, LIOBN, ioba(g, 0),
					g->cpu->list_gpa + 2048, 1));
	for (perm = 1; perm <= TCE_RW; perm++)
		EXPECT_EQ(H_PARAMETER, vm_stuff(g->cpu, LIOBN, ioba(g, 0), perm, 1));
	EXPECT_EQ(H_PARAMETER, vm_stuff(g->cpu, LIOBN, ioba(g, 0), tce_of(g, 0), 8));
	no_more_than_known(_metadata, self);
}

TEST_F(calls, unknown_liobn)
{
	struct guest *g = &self->g;
	uint64_t tce, liobn[] = { UNKNOWN_LIOBN, 0, -1ULL, LIOBN | 1ULL << 32 };
	unsigned int i;

	known_state(_metadata, self);
	for (i = 0; i < ARRAY_SIZE(liobn); i++) {
		EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, liobn[i], ioba(g, 0), tce_of(g, 9)));
		EXPECT_EQ(H_TOO_HARD, vm_put_list(g->cpu, liobn[i], ioba(g, 0), 1));
		EXPECT_EQ(H_TOO_HARD, vm_stuff(g->cpu, liobn[i], ioba(g, 0), 0, 1));
		EXPECT_EQ(H_TOO_HARD, vm_get(g->cpu, liobn[i], ioba(g, 0), &tce));
		/* Its bounds are not known either, nor how long a list may be. */
		EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, liobn[i], 1, tce_of(g, 9)));
		EXPECT_EQ(H_TOO_HARD, vm_put_list(g->cpu, liobn[i], ioba(g, 0), LIST + 1));
	}
	no_more_than_known(_metadata, self);
}

/* A TCE that only user space may understand, alone and at each place of a list. */
TEST_F(calls, I4_bad_tce_changes_nothing)
{
	struct guest *g = &self->g;
	const uint64_t page = 1UL << g->shift, end = GUEST_MEM + MEM_SIZE;
	const uint64_t bad[] = {
		(GUEST_MEM + page / 2) | TCE_RW, (GUEST_MEM + 4) | TCE_READ,
		end | TCE_RW, (GUEST_MEM - page) | TCE_WRITE,
		1ULL << 63 | GUEST_MEM | TCE_RW, -page | TCE_RW,
	};
	const unsigned int at[] = { 0, 1, 6, 7 };
	unsigned int i, k;

	known_state(_metadata, self);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 0), bad[i]));
		EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 9), bad[i]));
		for (k = 0; k < ARRAY_SIZE(at); k++) {
			vm_list_fill(g->cpu, 8, tce_of(g, 9), 0);
			vm_list_set(g->cpu, 0, 0);
			vm_list_set(g->cpu, at[k], bad[i]);
			EXPECT_EQ(H_TOO_HARD, vm_put_list(g->cpu, LIOBN, ioba(g, 0), 8));
			EXPECT_EQ(H_TOO_HARD, vm_put_list(g->cpu, LIOBN, ioba(g, 8), 8));
			still_known(_metadata, self);
		}
	}
	no_more_than_known(_metadata, self);
}

/* In a slot, but not registered. Without hardware nobody has to register anything. */
TEST_F(calls, I4_unregistered_memory_changes_nothing)
{
	const long want = variant->table_shift ? H_TOO_HARD : H_SUCCESS;
	char *more = spapr_memory(2 * MB, MB);
	struct guest *g = &self->g;
	const uint64_t tce = (2 * GUEST_MEM) | TCE_RW;

	known_state(_metadata, self);
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, 2 * GUEST_MEM, more, 2 * MB));
	vm_list_fill(g->cpu, 8, tce_of(g, 9), 0);
	vm_list_set(g->cpu, 5, tce);
	EXPECT_EQ(want, vm_put_list(g->cpu, LIOBN, ioba(g, 16), 8));
	EXPECT_EQ(want, vm_put(g->cpu, LIOBN, ioba(g, 24), tce));
	if (variant->table_shift) {
		EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 0), tce));
		EXPECT_EQ(H_TOO_HARD, vm_put_list(g->cpu, LIOBN, ioba(g, 0), 8));
		reads(_metadata, self, 16, 9, 0, 0);
	}
	no_more_than_known(_metadata, self);
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, 2 * GUEST_MEM, more, 0));
	munmap(more, 2 * MB);
}

TEST_F(calls, list_that_cannot_be_read)
{
	const uint64_t gpa = 3 * GUEST_MEM;
	char *list = mmap(NULL, PAGE_64K, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct guest *g = &self->g;

	ASSERT_NE(MAP_FAILED, list);
	known_state(_metadata, self);
	EXPECT_EQ(H_TOO_HARD, vm_hcall(g->cpu, H_PUT_TCE_INDIRECT, LIOBN, ioba(g, 0), gpa, 1));
	EXPECT_EQ(H_TOO_HARD, vm_hcall(g->cpu, H_PUT_TCE_INDIRECT, LIOBN, ioba(g, 0), -4096ULL, 1));
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, list, PAGE_64K));
	EXPECT_EQ(H_TOO_HARD, vm_hcall(g->cpu, H_PUT_TCE_INDIRECT, LIOBN, ioba(g, 0), gpa, 1));
	still_known(_metadata, self);
	/* Readable, though nothing has been there yet: zeroes, up to the last byte of the slot. */
	ASSERT_EQ(0, mprotect(list, PAGE_64K, PROT_READ));
	EXPECT_EQ(H_SUCCESS, vm_hcall(g->cpu, H_PUT_TCE_INDIRECT, LIOBN, ioba(g, 0),
				      gpa + PAGE_64K - 4096, LIST));
	reads(_metadata, self, 0, 8, 0, 0);
	expect_mapped(false);
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, list, 0));
	munmap(list, PAGE_64K);
}

/* ---- the guest view in user space ---- */

TEST_F(calls, what_user_space_writes_is_what_the_guest_reads)
{
	struct guest *g = &self->g;
	unsigned int i;

	known_state(_metadata, self);
	for (i = 0; i < 8; i++)
		self->map[i] = ~0ULL << 32 | i;
	reads(_metadata, self, 0, 8, ~0ULL << 32, 1);
	/* Nothing in the kernel believes it. */
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, 8));
	reads(_metadata, self, 0, 8, 0, 0);
	expect_mapped(false);
}

/* ---- a device ---- */

#define AT_SOURCE	MB
#define AT_TARGET	(2 * MB)

TEST_F(calls, device_reaches_what_the_guest_maps)
{
	struct guest *g = &self->g;
	const unsigned int pages = MEM_SIZE >> g->shift;
	const unsigned int first = AT_TARGET >> g->shift, count = MB >> g->shift;
	char *target = g->mem + AT_TARGET;
	unsigned int i, n;
	struct nvme nvme;
	int device;

	if (!variant->table_shift)
		SKIP(return, "no hardware behind this LIOBN");
	device = spapr_open_device(g->st.s.group, &g->st.dev[0]);
	ASSERT_LE(0, device);
	for (i = 0; i < pages; i += n) {
		n = pages - i < LIST ? pages - i : LIST;
		vm_list_fill(g->cpu, n, tce_of(g, i), 1UL << g->shift);
		ASSERT_EQ(H_SUCCESS, vm_put_list(g->cpu, LIOBN, ioba(g, i), n));
	}
	EXPECT_EQ(0, nvme_start(&nvme, device, g->mem, g->base));
	EXPECT_TRUE(nvme_round_trip(&nvme, g->mem, g->base, AT_SOURCE, AT_TARGET));

	/* For reading only: what the device writes there does not come. */
	for (i = first; i < first + count; i++)
		EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, i), tce_of(g, i) & ~TCE_WRITE));
	memset(target, 0x5a, NVME_ROUND_TRIP);
	nvme_read(&nvme, 0, g->base + AT_TARGET, NVME_ROUND_TRIP);
	EXPECT_TRUE(all_bytes(target, NVME_ROUND_TRIP, 0x5a));

	/* And neither does it where nothing is mapped any more. */
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, first), 0, count));
	nvme_read(&nvme, 0, g->base + AT_TARGET, NVME_ROUND_TRIP);
	EXPECT_TRUE(all_bytes(target, NVME_ROUND_TRIP, 0x5a));

	nvme_stop(&nvme);
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, pages));
	expect_mapped(false);
	close(device);
}

TEST_HARNESS_MAIN
