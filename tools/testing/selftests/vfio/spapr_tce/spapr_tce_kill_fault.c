// SPDX-License-Identifier: GPL-2.0
/*
 * Kills that fail: the hardware may go on using a TCE that was replaced or cleared. Then the
 * memory that it points to stays pinned for good, the window takes no TCE any more, and what
 * the guest sees there is 0. All other memory, and the next window, are not affected.
 *
 * The kernel lets a kill fail without doing it. Each test really loses memory.
 */
#include "kvm_fixture.h"
#include "lib/fault.h"

FIXTURE(kill_fault)
{
	struct guest g;
	struct spapr_setup other;	/* has a second window behind LIOBN, or is -1 */
};

FIXTURE_SETUP(kill_fault)
{
	struct guest *g = &self->g;
	const char *why = guest_begin(g, 1) ?: fault_firmware_begin(FIRMWARE_KILL);

	self->other.container = -1;
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, guest_linked_table(g, SHIFT_64K, SHIFT_64K));
	ASSERT_EQ(0, guest_parts(g));
}

FIXTURE_TEARDOWN(kill_fault)
{
	fault_firmware_off();
	if (self->other.container >= 0)
		spapr_teardown(&self->other);
	EXPECT_TRUE(guest_end(&self->g));
}

/* The first page of a part. */
static uint64_t part(const struct guest *g, unsigned int i)
{
	return tce_of(g, i * (PART / PAGE_64K));
}

static bool view_is_empty(struct guest *g)
{
	unsigned int i;

	for (i = 0; i < 16; i++)
		if (view(g, i))
			return false;
	return true;
}

/* A window that works, though @parts are lost. */
static void works(struct __test_metadata *_metadata, struct guest *g, unsigned int parts)
{
	unsigned int i;

	EXPECT_EQ(parts, parts_reached(g));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 9), part(g, 3)));
	EXPECT_EQ(parts | 8, parts_reached(g));
	EXPECT_EQ(part(g, 3), view(g, 9));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 9), 0));
	EXPECT_EQ(parts, parts_reached(g));
	for (i = 0; i < PARTS; i++) {
		if (!(parts & 1 << i))
			continue;
		g->st.pins += PART / spapr_page_size();
		g->st.vmlck += PART / KB;
	}
}

/* The window is of no use any more, and @parts are lost with it; a new window is. */
static void is_lost(struct __test_metadata *_metadata, struct guest *g, unsigned int parts)
{
	EXPECT_EQ(parts, parts_reached(g));
	EXPECT_TRUE(view_is_empty(g));
	EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 9), part(g, 3)));
	EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 0), 0));
	EXPECT_EQ(H_TOO_HARD, map_eight(g));
	EXPECT_EQ(H_TOO_HARD, unmap_eight(g));
	EXPECT_TRUE(view_is_empty(g));
	EXPECT_EQ(-EIO, spapr_map(g->c, g->base, g->mem + 3 * PART, PART, MAP_RW));
	EXPECT_EQ(parts, parts_reached(g));

	EXPECT_EQ(0, spapr_remove(g->c, g->base));
	EXPECT_EQ(parts, parts_reached(g));
	ASSERT_EQ(0, spapr_create(g->c, SHIFT_64K, WIN_SIZE, 1, &g->base));
	EXPECT_EQ(0, vm_set(&g->vm, g->st.s.group, g->table));
	works(_metadata, g, parts);
}

/* What @_call gives when its first kill fails. */
#define WITHOUT_KILL(_expected, _call)			\
do {							\
	fault_firmware(0, 2);				\
	EXPECT_EQ(_expected, _call);			\
	EXPECT_EQ(2, fault_firmware_end());		\
} while (0)

TEST_F(kill_fault, T13_PUT)
{
	struct guest *g = &self->g;

	ASSERT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), part(g, 0)));
	WITHOUT_KILL(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 0), part(g, 1)));
	is_lost(_metadata, g, 1);
}

/* The new one cannot be taken back either. */
TEST_F(kill_fault, T13_PUT_and_no_kill_works)
{
	struct guest *g = &self->g;

	ASSERT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), part(g, 0)));
	fault_firmware(0, 1000);
	EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 0), part(g, 1)));
	EXPECT_LT(2, fault_firmware_end());
	is_lost(_metadata, g, 1 | 2);
}

TEST_F(kill_fault, T13_PUT_that_clears)
{
	struct guest *g = &self->g;

	ASSERT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), part(g, 2)));
	WITHOUT_KILL(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 0), 0));
	is_lost(_metadata, g, 4);
}

/* Old ones of two regions, new ones of another, in an order that is no run. */
static long put_list(struct guest *g, unsigned int first, unsigned int second)
{
	unsigned int i;

	for (i = 0; i < 8; i++)
		vm_list_set(g->cpu, i, part(g, i & 1 ? first : second));
	return vm_put_list(g->cpu, LIOBN, ioba(g, 0), 8);
}

TEST_F(kill_fault, T13_PUT_INDIRECT)
{
	struct guest *g = &self->g;

	ASSERT_EQ(H_SUCCESS, put_list(g, 0, 1));
	WITHOUT_KILL(H_TOO_HARD, put_list(g, 2, 3));
	is_lost(_metadata, g, 1 | 2);
}

TEST_F(kill_fault, T13_PUT_INDIRECT_of_a_run)
{
	struct guest *g = &self->g;

	ASSERT_EQ(H_SUCCESS, put_list(g, 2, 0));
	WITHOUT_KILL(H_TOO_HARD, map_eight(g));
	is_lost(_metadata, g, 1 | 4);
}

TEST_F(kill_fault, T13_STUFF)
{
	struct guest *g = &self->g;

	ASSERT_EQ(H_SUCCESS, put_list(g, 0, 1));
	WITHOUT_KILL(H_TOO_HARD, unmap_eight(g));
	is_lost(_metadata, g, 1 | 2);
}

TEST_F(kill_fault, T13_MAP)
{
	struct guest *g = &self->g;

	ASSERT_EQ(0, spapr_map(g->c, g->base, g->mem, PAGE_64K, MAP_RW));
	WITHOUT_KILL(-EIO, spapr_map(g->c, g->base, g->mem + PART, PAGE_64K, MAP_RW));
	EXPECT_EQ(0, spapr_unmap(g->c, g->base, PAGE_64K));
	is_lost(_metadata, g, 1);
}

TEST_F(kill_fault, T13_UNMAP)
{
	struct guest *g = &self->g;

	ASSERT_EQ(0, spapr_map(g->c, g->base, g->mem, 2 * PART, MAP_RW));
	WITHOUT_KILL(-EIO, spapr_unmap(g->c, g->base, 2 * PART));
	is_lost(_metadata, g, 1 | 2);
}

/*
 * A kill that has failed in real mode nobody has told the guest. If the same call is no good any
 * more when it comes again, the entry goes all the same.
 */
static void refused(struct __test_metadata *_metadata, struct guest *g, uint64_t tce, int list)
{
	ASSERT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), part(g, 0)));
	ASSERT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 5), part(g, 1)));
	ASSERT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 6), part(g, 2)));
	WITHOUT_KILL(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 0), 0));
	EXPECT_EQ(1 | 2 | 4, parts_reached(g));
	vm_list_fill(g->cpu, 2, tce, PAGE_64K);
	EXPECT_EQ(H_TOO_HARD, list ? vm_put_list(g->cpu, LIOBN, ioba(g, 5), 2) :
				     vm_put(g->cpu, LIOBN, ioba(g, 5), tce));
	EXPECT_EQ(0, view(g, 5));
	EXPECT_EQ(list ? 1 : 1 | 4, parts_reached(g));
	EXPECT_EQ(list ? 0 : part(g, 2), view(g, 6));
	EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 6), 0));
	is_lost(_metadata, g, 1);
}

#define OUTSIDE		(16 * GUEST_MEM | TCE_RW)
#define UNREGISTERED	((GUEST_MEM + PARTS * PART) | TCE_RW)

TEST_F(kill_fault, T13_PUT_of_no_memory)
{
	refused(_metadata, &self->g, OUTSIDE, 0);
}

TEST_F(kill_fault, T13_PUT_of_what_is_not_registered)
{
	refused(_metadata, &self->g, UNREGISTERED, 0);
}

TEST_F(kill_fault, T13_PUT_INDIRECT_of_no_memory)
{
	refused(_metadata, &self->g, OUTSIDE, 1);
}

TEST_F(kill_fault, T13_PUT_INDIRECT_of_what_is_not_registered)
{
	refused(_metadata, &self->g, UNREGISTERED, 1);
}

/* The list itself is nowhere. */
TEST_F(kill_fault, T13_PUT_INDIRECT_without_a_list)
{
	struct guest *g = &self->g;

	ASSERT_EQ(H_SUCCESS, put_list(g, 0, 1));
	ASSERT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 9), part(g, 2)));
	WITHOUT_KILL(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 9), 0));
	EXPECT_EQ(H_TOO_HARD, vm_hcall(g->cpu, H_PUT_TCE_INDIRECT, LIOBN, ioba(g, 0),
				       16 * GUEST_MEM, 8));
	is_lost(_metadata, g, 4);
}

/* Two windows behind one LIOBN: the kill of the second one fails. */
TEST_F(kill_fault, T13_second_of_two_windows)
{
	struct guest *g = &self->g;
	struct spapr_device dev[2];
	uint64_t start;

	if (spapr_find_devices(dev, 2) < 2)
		SKIP(return, "needs two groups");
	ASSERT_EQ(0, spapr_setup(&self->other, &dev[1], VFIO_SPAPR_TCE_v2_IOMMU));
	ASSERT_EQ(0, spapr_register(self->other.container, g->vm.low, VM_LOW_SIZE));
	ASSERT_EQ(0, spapr_remove(self->other.container, 0));
	ASSERT_EQ(0, spapr_create(self->other.container, SHIFT_64K, WIN_SIZE, 1, &start));
	ASSERT_EQ(0, vm_add(&g->vm, self->other.group));
	ASSERT_EQ(0, vm_set(&g->vm, self->other.group, g->table));
	ASSERT_EQ(H_SUCCESS, put_list(g, 0, 1));
	fault_firmware(1, 2);
	EXPECT_EQ(H_TOO_HARD, put_list(g, 2, 3));
	EXPECT_EQ(2, fault_firmware_end());
	EXPECT_EQ(1 | 2, parts_reached(g));
	/* Only the other window is broken, but they go together. */
	EXPECT_EQ(H_TOO_HARD, map_eight(g));
	EXPECT_TRUE(view_is_empty(g));
	EXPECT_EQ(0, vm_del(&g->vm, self->other.group));
	EXPECT_EQ(0, spapr_remove(self->other.container, start));
	works(_metadata, g, 1 | 2);
}

TEST_HARNESS_MAIN
