// SPDX-License-Identifier: GPL-2.0
/*
 * UNMAP with VFIO_DMA_UNMAP_FLAG_ALL: what is mapped in any window goes, its bytes
 * are counted, and nothing else changes.
 */
#include "fixture.h"

#define BIG	(1024 * GB)

static int flagged_unmap(int c, uint32_t flags, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .flags = flags, .iova = iova, .size = size,
	};

	return spapr_ioctl(c, VFIO_IOMMU_UNMAP_DMA, &unmap);
}

static int all_unmapped(int c, uint64_t want)
{
	uint64_t bytes = ~0UL;
	int ret = spapr_unmap_all(c, &bytes);

	if (!ret && bytes != want)
		printf("# unmapped %#llx bytes, not %#llx\n", (unsigned long long)bytes,
		       (unsigned long long)want);
	return ret ? ret : bytes == want ? 0 : -ERANGE;
}

TEST(the_extension_is_there)
{
	int c = spapr_open_container();

	if (c < 0)
		SKIP(return, "no /dev/vfio/vfio");
	if (!type_supported(VFIO_SPAPR_TCE_v2_IOMMU))
		SKIP(return, "no container of this type");
	EXPECT_EQ(1, spapr_ioctl(c, VFIO_CHECK_EXTENSION, (void *)VFIO_UNMAP_ALL));
	close(c);
}

CONTAINER_FIXTURE(early, VFIO_SPAPR_TCE_v2_IOMMU, (void)0)

TEST_F(early, before_the_first_register)
{
	EXPECT_EQ(-EPERM, all_unmapped(self->c, 0));
}

TEST_F(early, a_default_window_that_is_due_stays_due)
{
	uint64_t start = 1;
	long vmlck;

	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	vmlck = spapr_vmlck_kb();
	EXPECT_EQ(0, all_unmapped(self->c, 0));
	EXPECT_EQ(vmlck, spapr_vmlck_kb());
	EXPECT_EQ(0, spapr_map(self->c, 0, self->mem, PAGE_64K, MAP_RW));
	EXPECT_LT(vmlck, spapr_vmlck_kb());
	EXPECT_EQ(0, all_unmapped(self->c, PAGE_64K));
	EXPECT_EQ(0, spapr_remove(self->c, 0));
	EXPECT_EQ(vmlck, spapr_vmlck_kb());
	/* No window at all is no reason to fail. */
	EXPECT_EQ(0, all_unmapped(self->c, 0));
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
	EXPECT_EQ(0, start);
	EXPECT_EQ(0, all_unmapped(self->c, 0));
}

TEST_F(early, R10_another_mm)
{
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_map(self->c, 0, self->mem, MEM_SIZE, MAP_RW));
	EXPECT_EQ(-EPERM, in_child(all_unmapped(self->c, MEM_SIZE)));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, self->mem, MEM_SIZE));
	EXPECT_EQ(0, all_unmapped(self->c, MEM_SIZE));
}

TEST_F(early, another_container_keeps_its_mappings)
{
	struct spapr_setup other;

	if (self->st.ndev < 2)
		SKIP(return, "needs two groups");
	ASSERT_EQ(0, spapr_setup(&other, &self->st.dev[1], VFIO_SPAPR_TCE_v2_IOMMU));
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_register(other.container, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_map(self->c, 0, self->mem, MEM_SIZE, MAP_RW));
	ASSERT_EQ(0, spapr_map(other.container, 0, self->mem, MEM_SIZE / 2, MAP_RW));
	EXPECT_EQ(0, all_unmapped(self->c, MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
	EXPECT_EQ(-EBUSY, spapr_unregister(other.container, self->mem, MEM_SIZE));
	EXPECT_EQ(0, all_unmapped(other.container, MEM_SIZE / 2));
	EXPECT_EQ(0, spapr_unregister(other.container, self->mem, MEM_SIZE));
	spapr_teardown(&other);
}

/* Registered memory, the default window and one of this shape. */
FIXTURE(both)
{
	struct spapr_state st;
	int c;
	char *mem;
	uint64_t base;
};

FIXTURE_VARIANT(both)
{
	unsigned int shift;
	unsigned int levels;
	uint64_t size;
};

FIXTURE_VARIANT_ADD(both, 64K_1_level) { SHIFT_64K, 1, WIN_SIZE };
FIXTURE_VARIANT_ADD(both, 64K_3_levels) { SHIFT_64K, 3, BIG };
FIXTURE_VARIANT_ADD(both, 4K_2_levels) { SHIFT_4K, 2, WIN_SIZE };
FIXTURE_VARIANT_ADD(both, 4K_4_levels) { SHIFT_4K, 4, BIG };

FIXTURE_SETUP(both)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);

	if (why)
		SKIP(return, "%s", why);
	self->c = self->st.s.container;
	self->mem = self->st.mem;
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_create(self->c, variant->shift, variant->size, variant->levels,
				  &self->base));
}

FIXTURE_TEARDOWN(both)
{
	EXPECT_TRUE(state_end(&self->st));
}

TEST_F(both, nothing_mapped_is_nothing_unmapped)
{
	EXPECT_EQ(0, all_unmapped(self->c, 0));
	EXPECT_EQ(0, all_unmapped(self->c, 0));
}

TEST_F(both, every_byte_goes_and_is_counted)
{
	uint64_t last = self->base + variant->size - PAGE_64K;
	long vmlck = spapr_vmlck_kb(), pins = spapr_pins_held();
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, spapr_map(self->c, 0, self->mem, MEM_SIZE, MAP_RW));
		ASSERT_EQ(0, spapr_map(self->c, self->base, self->mem, MEM_SIZE, MAP_READ));
		ASSERT_EQ(0, spapr_map(self->c, self->base + variant->size / 2, self->mem,
				       3 * PAGE_64K, MAP_RW));
		ASSERT_EQ(0, spapr_map(self->c, last, self->mem, PAGE_64K, MAP_WRITE));
		EXPECT_EQ(0, all_unmapped(self->c, 2 * MEM_SIZE + 4 * PAGE_64K));
		EXPECT_EQ(0, all_unmapped(self->c, 0));
		EXPECT_EQ(vmlck, spapr_vmlck_kb());
		EXPECT_EQ(pins, spapr_pins_held());
		EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
		ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	}
}

TEST_F(both, single_IOMMU_pages_are_counted)
{
	uint64_t page = 1UL << variant->shift, bytes = 0;
	unsigned int i;

	for (i = 0; i < 40; i++, bytes += page)
		ASSERT_EQ(0, spapr_map(self->c, self->base + i * i * page,
				       self->mem + i * PAGE_64K, page, MAP_RW));
	ASSERT_EQ(0, spapr_map(self->c, 4096, self->mem, 4096, MAP_RW));
	EXPECT_EQ(0, all_unmapped(self->c, bytes + 4096));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
}

/* Bytes of bus addresses: replacing adds none, and a bus address counts for itself. */
TEST_F(both, bus_addresses_are_counted_not_memory)
{
	ASSERT_EQ(0, spapr_map(self->c, self->base, self->mem, MB, MAP_RW));
	ASSERT_EQ(0, spapr_map(self->c, self->base, self->mem + MB, MB, MAP_RW));
	ASSERT_EQ(0, spapr_map(self->c, self->base + 2 * MB, self->mem, MB, MAP_RW));
	ASSERT_EQ(0, spapr_map(self->c, 2 * MB, self->mem, MB, MAP_RW));
	ASSERT_EQ(0, spapr_unmap(self->c, self->base, PAGE_64K));
	EXPECT_EQ(0, all_unmapped(self->c, 3 * MB - PAGE_64K));
}

TEST_F(both, with_an_address_a_size_or_another_flag)
{
	const uint32_t all = VFIO_DMA_UNMAP_FLAG_ALL;
	unsigned int bit;

	ASSERT_EQ(0, spapr_map(self->c, 0, self->mem, MEM_SIZE, MAP_RW));
	EXPECT_EQ(-EINVAL, flagged_unmap(self->c, all, 0, MEM_SIZE));
	EXPECT_EQ(-EINVAL, flagged_unmap(self->c, all, 0, 1));
	EXPECT_EQ(-EINVAL, flagged_unmap(self->c, all, 0, -1UL));
	EXPECT_EQ(-EINVAL, flagged_unmap(self->c, all, self->base, 0));
	EXPECT_EQ(-EINVAL, flagged_unmap(self->c, all, 1UL << 63, 0));
	EXPECT_EQ(-EINVAL, flagged_unmap(self->c, all, PAGE_64K, MEM_SIZE));
	EXPECT_EQ(-EINVAL, flagged_unmap(self->c, all, 1, 1));
	for (bit = 0; bit < 32; bit++) {
		if (1U << bit == all)
			continue;
		EXPECT_EQ(-EINVAL, flagged_unmap(self->c, all | 1U << bit, 0, 0));
		EXPECT_EQ(-EINVAL, flagged_unmap(self->c, 1U << bit, 0, 0));
	}
	/* Without the flag, size 0 is no way to say "everything". */
	EXPECT_EQ(-EINVAL, flagged_unmap(self->c, 0, 0, 0));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, self->mem, MEM_SIZE));
	EXPECT_EQ(0, all_unmapped(self->c, MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
}

CONTAINER_FIXTURE(v1, VFIO_SPAPR_TCE_IOMMU, (void)0)

TEST_F(v1, before_enable)
{
	EXPECT_EQ(-EPERM, all_unmapped(self->c, 0));
}

TEST_F(v1, every_byte_goes_and_is_unpinned)
{
	long vmlck;

	ASSERT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL));
	vmlck = spapr_vmlck_kb();
	EXPECT_EQ(0, all_unmapped(self->c, 0));
	EXPECT_EQ(vmlck, spapr_vmlck_kb());
	ASSERT_EQ(0, spapr_map(self->c, PAGE_64K, self->mem, MEM_SIZE, MAP_RW));
	ASSERT_EQ(0, spapr_map(self->c, GB, self->mem, 4096, MAP_READ));
	EXPECT_LT(self->st.pins, spapr_pins_held());
	EXPECT_EQ(-EINVAL, flagged_unmap(self->c, VFIO_DMA_UNMAP_FLAG_ALL, 0, MEM_SIZE));
	EXPECT_EQ(-EINVAL, flagged_unmap(self->c, VFIO_DMA_UNMAP_FLAG_ALL, GB, 0));
	EXPECT_EQ(0, all_unmapped(self->c, MEM_SIZE + 4096));
	EXPECT_EQ(self->st.pins, spapr_pins_held());
	EXPECT_EQ(0, all_unmapped(self->c, 0));
	EXPECT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_DISABLE, NULL));
	EXPECT_EQ(-EPERM, all_unmapped(self->c, 0));
}

TEST_HARNESS_MAIN
