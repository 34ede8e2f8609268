// SPDX-License-Identifier: GPL-2.0
/*
 * Groups behind PHBs that differ in their IOMMU page sizes share a container: it has
 * the sizes that all of them have. Needs a third controller whose PHB has fewer.
 */
#include "fixture.h"

#define SHIFT_COMMON	SHIFT_4K	/* every PHB has it */

FIXTURE(phbs)
{
	struct spapr_device dev[3];
	struct spapr_state st;
	struct nvme nvme;
	int c, full, lesser, device;
	uint64_t all, few;	/* page sizes of either group */
	unsigned int shift;	/* one that only the full group has */
	char *mem;
};

FIXTURE_VARIANT(phbs)
{
	bool lesser_first;
};

FIXTURE_VARIANT_ADD(phbs, full_group_first) { .lesser_first = false };
FIXTURE_VARIANT_ADD(phbs, lesser_group_first) { .lesser_first = true };

static uint64_t pgsizes(int container)
{
	struct vfio_iommu_spapr_tce_info info;

	return spapr_get_info(container, &info) ? 0 : info.ddw.pgsizes;
}

/* The page sizes of a group that has a container to itself. */
static uint64_t pgsizes_alone(const struct spapr_device *dev)
{
	struct spapr_setup s;
	uint64_t sizes = 0;

	if (!spapr_setup(&s, dev, VFIO_SPAPR_TCE_v2_IOMMU)) {
		sizes = pgsizes(s.container);
		spapr_teardown(&s);
	}
	return sizes;
}

FIXTURE_SETUP(phbs)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);

	if (why)
		SKIP(return, "%s", why);
	if (spapr_find_devices(self->dev, 3) < 3)
		SKIP(return, "needs a third controller");
	self->all = pgsizes(self->st.s.container);
	self->few = pgsizes_alone(&self->dev[2]);
	if (!(self->all & ~self->few))
		SKIP(return, "the third PHB has every page size of the first");
	self->shift = __builtin_ctzll(self->all & ~self->few);
	ASSERT_NE(0, self->all & self->few & (1UL << SHIFT_COMMON));
	self->c = self->st.s.container;
	self->full = self->st.s.group;
	self->mem = self->st.mem;
	self->lesser = spapr_open_group(&self->dev[2]);
	ASSERT_LE(0, self->lesser);
	/* Whose turn it is to be first; the container has been made with the full group. */
	if (variant->lesser_first) {
		ASSERT_EQ(0, spapr_set_container(self->lesser, self->c));
		ASSERT_EQ(0, spapr_unset_container(self->full));
	}
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
}

FIXTURE_TEARDOWN(phbs)
{
	close(self->lesser);
	EXPECT_TRUE(state_end(&self->st));
}

static bool reaches_memory(struct nvme *nvme, char *mem, uint64_t iova)
{
	return nvme_round_trip(nvme, mem, iova, MB, 2 * MB);
}

/* Whoever was there first, both are there in the end. */
static int second_joins(const struct _test_data_phbs *self, bool lesser_first)
{
	return spapr_set_container(lesser_first ? self->full : self->lesser, self->c);
}

TEST_F(phbs, C13_windows_have_page_sizes_of_all_groups)
{
	uint64_t start;

	EXPECT_EQ(variant->lesser_first ? self->few : self->all, pgsizes(self->c));
	ASSERT_EQ(0, second_joins(self, variant->lesser_first));
	EXPECT_EQ(self->all & self->few, pgsizes(self->c));
	EXPECT_EQ(-EINVAL, spapr_create(self->c, self->shift, WIN_SIZE, 1, &start));
	EXPECT_EQ(0, spapr_create(self->c, SHIFT_COMMON, WIN_SIZE, 1, &start));
	EXPECT_EQ(0, spapr_remove(self->c, start));

	/* Alone again, the full group has its sizes back. */
	ASSERT_EQ(0, spapr_unset_container(self->lesser));
	EXPECT_EQ(self->all, pgsizes(self->c));
	EXPECT_EQ(0, spapr_create(self->c, self->shift, WIN_SIZE, 1, &start));
	EXPECT_EQ(0, spapr_remove(self->c, start));
	ASSERT_EQ(0, spapr_set_container(self->lesser, self->c));
	EXPECT_EQ(-EINVAL, spapr_create(self->c, self->shift, WIN_SIZE, 1, &start));
}

TEST_F(phbs, C13_a_window_keeps_groups_out_that_lack_its_page_size)
{
	uint64_t start, again;
	int i;

	if (variant->lesser_first) {
		ASSERT_EQ(0, spapr_set_container(self->full, self->c));
		ASSERT_EQ(0, spapr_unset_container(self->lesser));
	}
	ASSERT_EQ(0, spapr_create(self->c, self->shift, WIN_SIZE, 1, &start));
	ASSERT_EQ(0, spapr_map(self->c, start, self->mem, MEM_SIZE, MAP_RW));
	self->device = spapr_open_device(self->full, &self->dev[0]);
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, nvme_start(&self->nvme, self->device, self->mem, start));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(-EPERM, spapr_set_container(self->lesser, self->c));
		EXPECT_EQ(self->all, pgsizes(self->c));
		EXPECT_TRUE(reaches_memory(&self->nvme, self->mem, start));
	}
	nvme_stop(&self->nvme);
	close(self->device);

	/* The group is not locked out for ever. */
	EXPECT_EQ(0, spapr_remove(self->c, start));
	EXPECT_EQ(0, spapr_set_container(self->lesser, self->c));
	EXPECT_EQ(self->all & self->few, pgsizes(self->c));
	EXPECT_EQ(-EINVAL, spapr_create(self->c, self->shift, WIN_SIZE, 1, &again));
	EXPECT_EQ(0, spapr_unset_container(self->lesser));
	EXPECT_EQ(0, spapr_create(self->c, self->shift, WIN_SIZE, 1, &again));
	EXPECT_EQ(start, again);
	EXPECT_EQ(-EPERM, spapr_set_container(self->lesser, self->c));
}

static bool device_reaches_memory(struct _test_data_phbs *self, int group,
				  const struct spapr_device *dev, uint64_t iova)
{
	bool good;

	self->device = spapr_open_device(group, dev);
	if (self->device < 0)
		return false;
	good = !nvme_start(&self->nvme, self->device, self->mem, iova) &&
	       reaches_memory(&self->nvme, self->mem, iova);
	nvme_stop(&self->nvme);
	close(self->device);
	return good;
}

/* A window that both can have works for both, and stays when one leaves. */
TEST_F(phbs, both_reach_memory_through_a_common_window)
{
	uint64_t start;

	ASSERT_EQ(0, second_joins(self, variant->lesser_first));
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_COMMON, WIN_SIZE, 1, &start));
	ASSERT_EQ(0, spapr_map(self->c, start, self->mem, MEM_SIZE, MAP_RW));
	EXPECT_TRUE(device_reaches_memory(self, self->full, &self->dev[0], start));
	EXPECT_TRUE(device_reaches_memory(self, self->lesser, &self->dev[2], start));
	ASSERT_EQ(0, spapr_unset_container(self->lesser));
	EXPECT_EQ(self->all, pgsizes(self->c));
	EXPECT_TRUE(device_reaches_memory(self, self->full, &self->dev[0], start));
	EXPECT_EQ(0, spapr_unmap(self->c, start, MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
}

TEST_HARNESS_MAIN
