// SPDX-License-Identifier: GPL-2.0
/*
 * Windows that firmware does not make, or does not take away. What could not be made leaves
 * nothing; what could not be taken away stays, in all groups, empty, and can be used.
 */
#include "kvm_fixture.h"
#include "lib/fault.h"

/* What @_call gives when firmware refuses @_times calls of it, after @_skip. */
#define REFUSED(_skip, _times, _expected, _call)	\
do {							\
	fault_firmware(_skip, _times);			\
	EXPECT_EQ(_expected, _call);			\
	EXPECT_EQ(_times, fault_firmware_end());	\
} while (0)

static int window(struct spapr_state *st, uint64_t *start)
{
	return spapr_create(st->s.container, SHIFT_64K, WIN_SIZE, 1, start);
}

/* DMA of a device through a window, which must be empty. */
static bool reaches(struct spapr_state *st, int group, const struct spapr_device *dev,
		    uint64_t start)
{
	int c = st->s.container, device = spapr_open_device(group, dev);
	struct nvme nvme;
	bool works;

	if (device < 0)
		return false;
	works = !spapr_map(c, start, st->mem, MEM_SIZE, MAP_RW) &&
		!nvme_start(&nvme, device, st->mem, start);
	if (works) {
		works = nvme_round_trip(&nvme, st->mem, start, MB, 2 * MB);
		nvme_stop(&nvme);
	}
	close(device);
	return !spapr_unmap(c, start, MEM_SIZE) && works;
}

FIXTURE(one)
{
	struct spapr_state st;
	int c;
	char *mem;
};

FIXTURE_SETUP(one)
{
	struct spapr_state *st = &self->st;
	const char *why = state_begin(st, 1, VFIO_SPAPR_TCE_v2_IOMMU) ?:
			  fault_firmware_begin(FIRMWARE_WINDOW);

	if (why)
		SKIP(return, "%s", why);
	self->c = st->s.container;
	self->mem = st->mem;
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
}

FIXTURE_TEARDOWN(one)
{
	fault_firmware_off();
	EXPECT_TRUE(state_end(&self->st));
}

/* The default window comes with the first one that is made: either is refused. */
TEST_F(one, C2_CREATE)
{
	struct spapr_state *st = &self->st;
	uint64_t start = 0;
	long vmlck = spapr_vmlck_kb();
	int skip;

	for (skip = 0; skip < 2; skip++) {
		REFUSED(skip, 1, -EIO, window(st, &start));
		EXPECT_EQ(vmlck, spapr_vmlck_kb());
		EXPECT_EQ(-ENXIO, spapr_map(self->c, WINDOW1, self->mem, PAGE_64K, MAP_RW));
	}
	ASSERT_EQ(0, window(st, &start));
	EXPECT_EQ(WINDOW1, start);
	EXPECT_TRUE(reaches(st, st->s.group, &st->dev[0], start));
	EXPECT_TRUE(reaches(st, st->s.group, &st->dev[0], 0));
}

TEST_F(one, C8_REMOVE)
{
	struct spapr_state *st = &self->st;
	uint64_t start;
	long vmlck;
	int times;

	ASSERT_EQ(0, spapr_remove(self->c, 0));
	ASSERT_EQ(0, window(st, &start));
	vmlck = spapr_vmlck_kb();
	/* The second call would put it back. */
	for (times = 1; times < 3; times++) {
		EXPECT_EQ(0, spapr_map(self->c, start, self->mem, MEM_SIZE, MAP_RW));
		REFUSED(0, times, -EIO, spapr_remove(self->c, start));
		EXPECT_EQ(vmlck, spapr_vmlck_kb());
		EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
		EXPECT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
		EXPECT_TRUE(reaches(st, st->s.group, &st->dev[0], start));
	}
	EXPECT_EQ(0, spapr_remove(self->c, start));
	EXPECT_GT(vmlck, spapr_vmlck_kb());
	EXPECT_EQ(-EINVAL, spapr_remove(self->c, start));
	ASSERT_EQ(0, window(st, &start));
	EXPECT_TRUE(reaches(st, st->s.group, &st->dev[0], start));
}

/* The table is there longer than the container, but nobody pays for it, and it reaches nothing. */
TEST_F(one, C12_close)
{
	struct spapr_state *st = &self->st;
	uint64_t start;

	ASSERT_EQ(0, spapr_remove(self->c, 0));
	ASSERT_EQ(0, window(st, &start));
	ASSERT_EQ(0, spapr_map(self->c, start, self->mem, MEM_SIZE, MAP_RW));
	/* As long as it keeps the window nobody else has the group, either. */
	fault_firmware(0, 1000);
	spapr_teardown(&st->s);
	EXPECT_LT(0, fault_firmware_end());
	EXPECT_EQ(st->vmlck, vmlck_settled(st->vmlck));
	EXPECT_EQ(st->pins, pins_settled(st->pins));

	ASSERT_EQ(0, spapr_setup(&st->s, &st->dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
	ASSERT_EQ(0, spapr_register(st->s.container, self->mem, MEM_SIZE));
	ASSERT_EQ(0, window(st, &start));
	EXPECT_TRUE(reaches(st, st->s.group, &st->dev[0], start));
	EXPECT_TRUE(reaches(st, st->s.group, &st->dev[0], 0));
}

/* Whoever takes a group closes the windows of the host first. */
TEST_F(one, C8_SET_CONTAINER)
{
	struct spapr_state *st = &self->st;
	int c, group;

	spapr_teardown(&st->s);
	c = spapr_open_container();
	group = spapr_open_group(&st->dev[0]);
	ASSERT_LE(0, c);
	ASSERT_LE(0, group);
	fault_firmware(0, 1);
	EXPECT_GT(0, spapr_set_container(group, c));
	EXPECT_EQ(1, fault_firmware_end());
	EXPECT_EQ(0, spapr_set_container(group, c));
	EXPECT_EQ(0, spapr_set_iommu(c, VFIO_SPAPR_TCE_v2_IOMMU));
	st->s = (struct spapr_setup){ .container = c, .group = group };
	EXPECT_EQ(0, spapr_register(c, self->mem, MEM_SIZE));
	EXPECT_TRUE(reaches(st, group, &st->dev[0], 0));
}

/* A container with one group, and a second one that may join. */
FIXTURE(two)
{
	struct spapr_state st;
	int second;
};

FIXTURE_SETUP(two)
{
	struct spapr_state *st = &self->st;
	const char *why = state_begin(st, 2, VFIO_SPAPR_TCE_v2_IOMMU) ?:
			  fault_firmware_begin(FIRMWARE_WINDOW);

	if (why)
		SKIP(return, "%s", why);
	self->second = spapr_open_group(&st->dev[1]);
	ASSERT_LE(0, self->second);
	ASSERT_EQ(0, spapr_register(st->s.container, st->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_remove(st->s.container, 0));
}

FIXTURE_TEARDOWN(two)
{
	fault_firmware_off();
	close(self->second);
	EXPECT_TRUE(state_end(&self->st));
}

static bool both_reach(struct spapr_state *st, int second, uint64_t start)
{
	return reaches(st, st->s.group, &st->dev[0], start) &&
	       reaches(st, second, &st->dev[1], start);
}

TEST_F(two, C8_CREATE)
{
	struct spapr_state *st = &self->st;
	long vmlck = spapr_vmlck_kb();
	uint64_t start;
	int skip;

	ASSERT_EQ(0, spapr_set_container(self->second, st->s.container));
	for (skip = 0; skip < 2; skip++) {
		REFUSED(skip, 1, -EIO, window(st, &start));
		EXPECT_EQ(vmlck, spapr_vmlck_kb());
	}
	ASSERT_EQ(0, window(st, &start));
	EXPECT_TRUE(both_reach(st, self->second, start));
}

/* The first group has lost it already when the second one keeps it. */
TEST_F(two, C8_REMOVE)
{
	struct spapr_state *st = &self->st;
	uint64_t start;
	int skip;

	ASSERT_EQ(0, spapr_set_container(self->second, st->s.container));
	ASSERT_EQ(0, window(st, &start));
	for (skip = 0; skip < 2; skip++) {
		REFUSED(skip, 1, -EIO, spapr_remove(st->s.container, start));
		EXPECT_TRUE(both_reach(st, self->second, start));
	}
	EXPECT_EQ(0, spapr_remove(st->s.container, start));
}

/* The first calls close what the host had; the next ones are for the container's windows. */
TEST_F(two, C8_group_joins)
{
	struct spapr_state *st = &self->st;
	uint64_t start, other;
	long vmlck;
	int skip;

	ASSERT_EQ(0, window(st, &start));
	ASSERT_EQ(0, window(st, &other));
	vmlck = spapr_vmlck_kb();
	for (skip = 0; skip < 3; skip++) {
		fault_firmware(skip, 1);
		EXPECT_GT(0, spapr_set_container(self->second, st->s.container));
		EXPECT_EQ(1, fault_firmware_end());
		EXPECT_EQ(vmlck, spapr_vmlck_kb());
		EXPECT_TRUE(reaches(st, st->s.group, &st->dev[0], start));
	}
	ASSERT_EQ(0, spapr_set_container(self->second, st->s.container));
	EXPECT_TRUE(both_reach(st, self->second, start));
	EXPECT_TRUE(both_reach(st, self->second, other));
}

FIXTURE(linked)
{
	struct guest g;
};

FIXTURE_SETUP(linked)
{
	struct guest *g = &self->g;
	const char *why = guest_begin(g, 1) ?: fault_firmware_begin(FIRMWARE_WINDOW);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, guest_linked_table(g, SHIFT_64K, SHIFT_64K));
}

FIXTURE_TEARDOWN(linked)
{
	fault_firmware_off();
	EXPECT_TRUE(guest_end(&self->g));
}

/* The window is the container's again, but no longer the guest's until it is linked anew. */
TEST_F(linked, K19_REMOVE)
{
	struct guest *g = &self->g;

	EXPECT_EQ(H_SUCCESS, map_eight(g));
	REFUSED(0, 1, -EIO, spapr_remove(g->c, g->base));
	dead_link(_metadata, g);
	EXPECT_FALSE(hardware_has_any(g));

	EXPECT_EQ(0, spapr_map(g->c, g->base, g->mem, PAGE_64K, MAP_RW));
	dead_link(_metadata, g);
	EXPECT_TRUE(hardware_has_any(g));
	EXPECT_EQ(0, spapr_unmap(g->c, g->base, WIN_SIZE));

	EXPECT_EQ(0, vm_set(&g->vm, g->st.s.group, g->table));
	live_link(_metadata, g);
	EXPECT_EQ(H_SUCCESS, map_eight(g));
	EXPECT_EQ(0, spapr_remove(g->c, g->base));
	dead_link(_metadata, g);
	EXPECT_FALSE(hardware_has_any(g));
}

TEST_HARNESS_MAIN
