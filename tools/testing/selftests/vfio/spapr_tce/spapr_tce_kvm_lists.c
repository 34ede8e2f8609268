// SPDX-License-Identifier: GPL-2.0
/*
 * Calls of KVM guests that go over more than one thing: memory slots, regions, permissions, pages
 * of the guest view.
 *
 * Which memory a list has mapped is told by UNREGISTER: each part of the memory is a region of its
 * own here.
 */
#include "kvm_fixture.h"

#define LOW		(2 * GUEST_MEM)		/* where slots are */

GUEST_FIXTURE(lists, 1, {
	ASSERT_EQ(0, guest_linked_table(&self->g, SHIFT_64K, SHIFT_64K));
	ASSERT_EQ(0, guest_parts(&self->g));
})

static long put_run(struct guest *g, unsigned int n, uint64_t gpa)
{
	vm_list_fill(g->cpu, n, gpa | TCE_RW, PAGE_64K);
	return vm_put_list(g->cpu, LIOBN, ioba(g, 0), n);
}

/* What is behind the slot in user space is none of the guest's business. */
TEST_F(lists, K16_list_over_the_end_of_a_memslot)
{
	struct guest *g = &self->g;
	unsigned int n;

	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, LOW, g->mem, PART));
	for (n = 5; n <= 16; n++)
		EXPECT_EQ(H_TOO_HARD, put_run(g, n, LOW));
	EXPECT_EQ(H_TOO_HARD, put_run(g, 2, LOW + PART - PAGE_64K));
	EXPECT_EQ(0, parts_reached(g));
	EXPECT_EQ(0, view(g, 0));
	EXPECT_EQ(H_SUCCESS, put_run(g, 4, LOW));
	EXPECT_EQ(1, parts_reached(g));
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, 4));
}

/* Side by side for the guest, and apart in user space: each page is where its slot says. */
TEST_F(lists, K16_list_over_two_memslots)
{
	struct guest *g = &self->g;

	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, LOW, g->mem, PART));
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE + 1, LOW + PART, g->mem + 2 * PART, PART));
	EXPECT_EQ(H_SUCCESS, put_run(g, 8, LOW));
	EXPECT_EQ(1 | 4, parts_reached(g));
	EXPECT_EQ(H_SUCCESS, put_run(g, 4, LOW + PART));
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 4), 0, 4));
	EXPECT_EQ(4, parts_reached(g));
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, 4));
	EXPECT_EQ(0, parts_reached(g));
}

/* Owners are those of each page: who is cleared is let go, and nobody else. */
TEST_F(lists, I2_list_over_all_regions)
{
	struct guest *g = &self->g;
	unsigned int round, i, page;

	for (round = 0; round < 8; round++) {
		for (i = 0; i < 16; i++)
			vm_list_set(g->cpu, i, tce_of(g, i * (2 * round + 1) % 16));
		ASSERT_EQ(H_SUCCESS, vm_put_list(g->cpu, LIOBN, ioba(g, 0), 16));
		EXPECT_EQ((1U << PARTS) - 1, parts_reached(g));
		/* One region stays, the others go entry by entry. */
		for (i = 0; i < 16; i++) {
			page = i * (2 * round + 1) % 16;
			if (page / 4 != round % PARTS)
				ASSERT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, i), 0));
		}
		EXPECT_EQ(1U << round % PARTS, parts_reached(g));
		ASSERT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, 16));
		EXPECT_EQ(0, parts_reached(g));
	}
}

/* Clears between maps, and the permissions of each TCE. */
TEST_F(lists, I2_list_that_maps_and_clears)
{
	struct guest *g = &self->g;
	unsigned int round, i;

	for (round = 0; round < 16; round++) {
		for (i = 0; i < 16; i++)
			vm_list_set(g->cpu, i, (i + round) % 3 ? tce_of(g, (i * 7 + round) % 16) :
							   tce_of(g, i) & ~TCE_RW);
		ASSERT_EQ(H_SUCCESS, vm_put_list(g->cpu, LIOBN, ioba(g, 0), 16));
	}
	EXPECT_EQ((1U << PARTS) - 1, parts_reached(g));
	ASSERT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, 16));
	EXPECT_EQ(0, parts_reached(g));
}

/* A view of four directories, the second of which never comes to be, nor do most of its pages. */
TEST_F(lists, far_entries_and_holes)
{
	const uint64_t per_page = spapr_page_size() / 8, dir = per_page * per_page;
	const uint64_t end = 3 * dir + per_page;
	const uint64_t at[] = { 0, per_page, dir - 1, 2 * dir, 3 * dir - 1, 3 * dir, end - 1 };
	struct guest *g = &self->g;
	int table = vm_liobn(&g->vm, OTHER_LIOBN, SHIFT_4K, 0, end);
	uint64_t tce, want;
	unsigned int i;

	ASSERT_LE(0, table);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, OTHER_LIOBN, at[i] << SHIFT_4K,
					    GUEST_MEM | i << SHIFT_4K | TCE_RW));
	/* Over the end of a page, and of a directory. */
	vm_list_fill(g->cpu, 2, GUEST_MEM | TCE_READ, 0);
	EXPECT_EQ(H_SUCCESS, vm_put_list(g->cpu, OTHER_LIOBN, (per_page - 1) << SHIFT_4K, 2));
	EXPECT_EQ(H_SUCCESS, vm_put_list(g->cpu, OTHER_LIOBN, (3 * dir - 1) << SHIFT_4K, 2));
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		want = GUEST_MEM | i << SHIFT_4K | TCE_RW;
		if (i == 1 || i == 4 || i == 5)
			want = GUEST_MEM | TCE_READ;
		EXPECT_EQ(H_SUCCESS, vm_get(g->cpu, OTHER_LIOBN, at[i] << SHIFT_4K, &tce));
		EXPECT_EQ(want, tce);
	}
	EXPECT_EQ(H_SUCCESS, vm_get(g->cpu, OTHER_LIOBN, (dir + per_page) << SHIFT_4K, &tce));
	EXPECT_EQ(0, tce);
	EXPECT_EQ(H_PARAMETER, vm_get(g->cpu, OTHER_LIOBN, end << SHIFT_4K, &tce));

	/* From the middle of what is not there to the last but one; then all. */
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, OTHER_LIOBN, (dir + dir / 2) << SHIFT_4K, 0,
				      end - 1 - dir - dir / 2));
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		EXPECT_EQ(H_SUCCESS, vm_get(g->cpu, OTHER_LIOBN, at[i] << SHIFT_4K, &tce));
		EXPECT_EQ(i < 3 || i == 6, !!tce);
	}
	EXPECT_EQ(H_PARAMETER, vm_stuff(g->cpu, OTHER_LIOBN, 1 << SHIFT_4K, 0, end));
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, OTHER_LIOBN, 0, 0, end));
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		EXPECT_EQ(H_SUCCESS, vm_get(g->cpu, OTHER_LIOBN, at[i] << SHIFT_4K, &tce));
		EXPECT_EQ(0, tce);
	}
	close(table);
}

/* Where no page of the view is, all reads as 0 already. */
TEST_F(lists, zeroes_where_no_page_of_the_view_is)
{
	const uint64_t per_page = spapr_page_size() / 8;
	const uint64_t at[] = { 0, per_page - 1, per_page, 2 * per_page, 4 * per_page - 1 };
	struct guest *g = &self->g;
	int table = vm_liobn(&g->vm, OTHER_LIOBN, SHIFT_4K, 0, 4 * per_page);
	uint64_t tce;
	unsigned int i;

	ASSERT_LE(0, table);
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, OTHER_LIOBN, 0, GUEST_MEM | TCE_RW));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, OTHER_LIOBN, 2 * per_page << SHIFT_4K, 0));
	vm_list_fill(g->cpu, 2, 0, 0);
	EXPECT_EQ(H_SUCCESS, vm_put_list(g->cpu, OTHER_LIOBN, (per_page - 1) << SHIFT_4K, 2));
	EXPECT_EQ(H_SUCCESS, vm_put_list(g->cpu, OTHER_LIOBN, 2 * per_page << SHIFT_4K, 2));
	EXPECT_EQ(H_SUCCESS, vm_get(g->cpu, OTHER_LIOBN, 0, &tce));
	EXPECT_EQ(GUEST_MEM | TCE_RW, tce);
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, OTHER_LIOBN, 0, 0, 4 * per_page));
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		EXPECT_EQ(H_SUCCESS, vm_get(g->cpu, OTHER_LIOBN, at[i] << SHIFT_4K, &tce));
		EXPECT_EQ(0, tce);
	}
	close(table);
}

TEST_HARNESS_MAIN
