// SPDX-License-Identifier: GPL-2.0
/*
 * What is mapped is reachable for a device, what is not mapped is not: an NVMe
 * controller reads and writes through each kind of window.
 */
#include "fixture.h"

#define AT_SOURCE	MB
#define AT_TARGET	(2 * MB)
#define CHUNK		NVME_ROUND_TRIP

static bool round_trip(struct nvme *nvme, char *mem, uint64_t iova)
{
	return nvme_round_trip(nvme, mem, iova, AT_SOURCE, AT_TARGET);
}

FIXTURE(window)
{
	struct spapr_state st;
	struct nvme nvme;
	int c, device;
	uint64_t base;
	char *mem;
};

FIXTURE_VARIANT(window)
{
	bool second;
	unsigned int shift;
	unsigned int levels;
};

FIXTURE_VARIANT_ADD(window, default_4K) { .second = false };
FIXTURE_VARIANT_ADD(window, second_64K_1_level) { true, SHIFT_64K, 1 };
FIXTURE_VARIANT_ADD(window, second_64K_2_levels) { true, SHIFT_64K, 2 };
FIXTURE_VARIANT_ADD(window, second_64K_3_levels) { true, SHIFT_64K, 3 };
FIXTURE_VARIANT_ADD(window, second_4K_3_levels) { true, SHIFT_4K, 3 };
FIXTURE_VARIANT_ADD(window, second_4K_4_levels) { true, SHIFT_4K, 4 };

/* Let no hugepages be behind the memory, whatever the kernel's pages are. */
static bool use_base_pages(char *mem, size_t size)
{
	if (spapr_thp_size() && madvise(mem, size, MADV_NOHUGEPAGE))
		return false;
	if (madvise(mem, size, MADV_DONTNEED))
		return false;
	memset(mem, 0, size);
	return true;
}

FIXTURE_SETUP(window)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);

	if (why)
		SKIP(return, "%s", why);
	self->c = self->st.s.container;
	self->mem = self->st.mem;
	if (variant->shift != SHIFT_64K)
		ASSERT_TRUE(use_base_pages(self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	if (variant->second)
		ASSERT_EQ(0, spapr_create(self->c, variant->shift, 1UL << 34, variant->levels,
					  &self->base));
	ASSERT_EQ(0, spapr_map(self->c, self->base, self->mem, MEM_SIZE, MAP_RW));
	self->device = spapr_open_device(self->st.s.group, &self->st.dev[0]);
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, nvme_start(&self->nvme, self->device, self->mem, self->base));
}

FIXTURE_TEARDOWN(window)
{
	nvme_stop(&self->nvme);
	close(self->device);
	EXPECT_TRUE(state_end(&self->st));
}

TEST_F(window, mapped_memory_is_reachable)
{
	EXPECT_TRUE(round_trip(&self->nvme, self->mem, self->base));
}

/* With its queues gone, too, the controller must report that it is lost. */
TEST_F(window, unmapped_memory_is_not)
{
	ASSERT_EQ(0, spapr_unmap(self->c, self->base, MEM_SIZE));
	memset(self->mem + AT_TARGET, 0x5a, CHUNK);
	EXPECT_NE(0, nvme_read(&self->nvme, 0, self->base + AT_TARGET, CHUNK));
	memset(self->mem + AT_SOURCE, 0x5a, CHUNK);
	EXPECT_EQ(0, memcmp(self->mem + AT_SOURCE, self->mem + AT_TARGET, CHUNK));
}

/*
 * The queues stay mapped, so the controller runs the command; the hole in the middle
 * of its memory must take and give nothing, and its neighbours must still work.
 */
TEST_F(window, I1_hole_between_mapped_pages_is_not_reached)
{
	uint64_t target = self->base + AT_TARGET;
	char *mem = self->mem, *hole = mem + AT_TARGET + PAGE_64K;
	int ret;

	ASSERT_TRUE(round_trip(&self->nvme, mem, self->base));
	ASSERT_EQ(0, spapr_unmap(self->c, target + PAGE_64K, PAGE_64K));
	memset(mem + AT_TARGET, 0x5a, CHUNK);

	ret = nvme_read(&self->nvme, 0, target + PAGE_64K, PAGE_64K);
	EXPECT_TRUE(all_bytes(mem + AT_TARGET, CHUNK, 0x5a));
	if (ret)
		return;		/* the hardware has frozen the PE */
	EXPECT_EQ(0, nvme_read(&self->nvme, 0, target, PAGE_64K));
	EXPECT_EQ(0, memcmp(mem + AT_TARGET, mem + AT_SOURCE, PAGE_64K));
	EXPECT_EQ(0, nvme_read(&self->nvme, 0, target + 2 * PAGE_64K, PAGE_64K));
	EXPECT_EQ(0, memcmp(mem + AT_TARGET + 2 * PAGE_64K, mem + AT_SOURCE, PAGE_64K));
	EXPECT_TRUE(all_bytes(hole, PAGE_64K, 0x5a));

	/* What the controller fetches from the hole is not what is in memory. */
	nvme_write(&self->nvme, 4096, target + PAGE_64K, PAGE_64K);
	ASSERT_EQ(0, nvme_read(&self->nvme, 4096, target, PAGE_64K));
	EXPECT_NE(0, memcmp(mem + AT_TARGET, hole, PAGE_64K));

	ASSERT_EQ(0, spapr_map(self->c, target + PAGE_64K, hole, PAGE_64K, MAP_RW));
	EXPECT_EQ(0, nvme_read(&self->nvme, 0, target + PAGE_64K, PAGE_64K));
	EXPECT_EQ(0, memcmp(hole, mem + AT_SOURCE, PAGE_64K));
}

TEST_F(window, I1_read_only_memory_is_not_written)
{
	uint64_t target = self->base + AT_TARGET;
	char *mem = self->mem;
	int ret;

	ASSERT_TRUE(round_trip(&self->nvme, mem, self->base));
	ASSERT_EQ(0, spapr_map(self->c, target, mem + AT_TARGET, CHUNK, MAP_READ));
	memset(mem + AT_TARGET, 0x5a, CHUNK);
	ret = nvme_read(&self->nvme, 0, target, CHUNK);
	EXPECT_TRUE(all_bytes(mem + AT_TARGET, CHUNK, 0x5a));
	if (ret)
		return;		/* the hardware has frozen the PE */
	/* Reading is allowed. (A TCE that can be written can be read, too, on powernv.) */
	EXPECT_EQ(0, nvme_write(&self->nvme, 4096, target, CHUNK));
	EXPECT_EQ(0, nvme_read(&self->nvme, 4096, self->base + AT_SOURCE, CHUNK));
	EXPECT_TRUE(all_bytes(mem + AT_SOURCE, CHUNK, 0x5a));
}

TEST_F(window, C3_failed_map_keeps_what_was_there)
{
	char *end = self->mem + MEM_SIZE;

	/* The second half of this request is not registered. */
	EXPECT_EQ(-EINVAL, spapr_map(self->c, self->base, end - MEM_SIZE / 2, MEM_SIZE, MAP_RW));
	EXPECT_TRUE(round_trip(&self->nvme, self->mem, self->base));
	EXPECT_EQ(0, spapr_unmap(self->c, self->base, MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
}

TEST_F(window, map_over_a_live_mapping_replaces_it)
{
	char *mem = self->mem;

	/* The target's bus address now leads to the other half of the memory. */
	ASSERT_EQ(0, spapr_map(self->c, self->base + AT_TARGET, mem + MEM_SIZE / 2, CHUNK, MAP_RW));
	nvme_fill(mem + AT_SOURCE, CHUNK);
	memset(mem + AT_TARGET, 0x5a, CHUNK);
	ASSERT_EQ(0, nvme_write(&self->nvme, 0, self->base + AT_SOURCE, CHUNK));
	ASSERT_EQ(0, nvme_read(&self->nvme, 0, self->base + AT_TARGET, CHUNK));
	EXPECT_EQ(0, memcmp(mem + AT_SOURCE, mem + MEM_SIZE / 2, CHUNK));
	EXPECT_EQ(0x5a, mem[AT_TARGET]);
}

/* The TCEs do not care what the process does with its address space. */
TEST_F(window, memory_stays_pinned_when_the_process_unmaps_it)
{
	ASSERT_EQ(0, munmap(self->mem + MEM_SIZE / 2, MEM_SIZE / 2));
	EXPECT_TRUE(round_trip(&self->nvme, self->mem, self->base));
	EXPECT_EQ(0, nvme_read(&self->nvme, 0, self->base + MEM_SIZE / 2, CHUNK));
}

TEST_F(window, unmap_all_ends_it)
{
	uint64_t bytes;

	ASSERT_TRUE(round_trip(&self->nvme, self->mem, self->base));
	ASSERT_EQ(0, spapr_unmap_all(self->c, &bytes));
	EXPECT_EQ(MEM_SIZE, bytes);
	memset(self->mem + AT_TARGET, 0x5a, CHUNK);
	EXPECT_NE(0, nvme_read(&self->nvme, 0, self->base + AT_TARGET, CHUNK));
	EXPECT_TRUE(all_bytes(self->mem + AT_TARGET, CHUNK, 0x5a));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
}

/* A second group joins a container that has windows and mappings. */
TEST(C7_I12_joining_group_gets_all_windows_and_keeps_them)
{
	struct spapr_state st;
	const char *why = state_begin(&st, 2, VFIO_SPAPR_TCE_v2_IOMMU);
	struct nvme nvme;
	int group, device;
	uint64_t start;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, spapr_register(st.s.container, st.mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_create(st.s.container, SHIFT_64K, WIN_SIZE, 2, &start));
	ASSERT_EQ(0, spapr_map(st.s.container, start, st.mem, MEM_SIZE, MAP_RW));
	ASSERT_EQ(0, spapr_map(st.s.container, 0, st.mem, MEM_SIZE, MAP_RW));

	group = spapr_open_group(&st.dev[1]);
	ASSERT_LE(0, group);
	ASSERT_EQ(0, spapr_set_container(group, st.s.container));
	device = spapr_open_device(group, &st.dev[1]);
	ASSERT_LE(0, device);
	EXPECT_EQ(0, nvme_start(&nvme, device, st.mem, 0));
	EXPECT_TRUE(round_trip(&nvme, st.mem, 0));
	EXPECT_TRUE(round_trip(&nvme, st.mem, start));
	nvme_stop(&nvme);

	/* I12: the first group goes, the second one goes on. */
	close(st.s.group);
	EXPECT_EQ(0, nvme_start(&nvme, device, st.mem, start));
	EXPECT_TRUE(round_trip(&nvme, st.mem, start));
	nvme_stop(&nvme);
	close(device);
	st.s.group = group;
	EXPECT_TRUE(state_end(&st));
}

TEST(v1_default_window)
{
	struct spapr_state st;
	const char *why = state_begin(&st, 1, VFIO_SPAPR_TCE_IOMMU);
	struct nvme nvme;
	int device;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, spapr_ioctl(st.s.container, VFIO_IOMMU_ENABLE, NULL));
	ASSERT_EQ(0, spapr_map(st.s.container, 0x40000000, st.mem, MEM_SIZE, MAP_RW));
	device = spapr_open_device(st.s.group, &st.dev[0]);
	ASSERT_LE(0, device);
	EXPECT_EQ(0, nvme_start(&nvme, device, st.mem, 0x40000000));
	EXPECT_TRUE(round_trip(&nvme, st.mem, 0x40000000));
	ASSERT_EQ(0, spapr_unmap(st.s.container, 0x40000000 + AT_TARGET, CHUNK));
	memset(st.mem + AT_TARGET, 0x5a, CHUNK);
	nvme_read(&nvme, 0, 0x40000000 + AT_TARGET, CHUNK);
	EXPECT_TRUE(all_bytes(st.mem + AT_TARGET, CHUNK, 0x5a));
	EXPECT_EQ(0, spapr_unmap(st.s.container, 0x40000000, MEM_SIZE));
	EXPECT_NE(0, nvme_read(&nvme, 0, 0x40000000 + AT_TARGET, CHUNK));
	nvme_stop(&nvme);
	close(device);
	EXPECT_EQ(0, spapr_ioctl(st.s.container, VFIO_IOMMU_DISABLE, NULL));
	EXPECT_TRUE(state_end(&st));
}

TEST(C9_v1_memory_that_is_only_to_be_read)
{
	struct spapr_state st;
	const char *why = state_begin(&st, 1, VFIO_SPAPR_TCE_IOMMU);
	struct nvme nvme;
	int device, ret;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, spapr_ioctl(st.s.container, VFIO_IOMMU_ENABLE, NULL));
	/* Queues, source and target, the last of them not for writing. */
	ASSERT_EQ(0, spapr_map(st.s.container, 0, st.mem, AT_TARGET, MAP_RW));
	ASSERT_EQ(0, spapr_map(st.s.container, AT_TARGET, st.mem + AT_TARGET, CHUNK, MAP_READ));
	device = spapr_open_device(st.s.group, &st.dev[0]);
	ASSERT_LE(0, device);
	ASSERT_EQ(0, nvme_start(&nvme, device, st.mem, 0));
	nvme_fill(st.mem + AT_SOURCE, CHUNK);
	memset(st.mem + AT_TARGET, 0x5a, CHUNK);
	ASSERT_EQ(0, nvme_write(&nvme, 0, AT_SOURCE, CHUNK));
	ret = nvme_read(&nvme, 0, AT_TARGET, CHUNK);
	EXPECT_TRUE(all_bytes(st.mem + AT_TARGET, CHUNK, 0x5a));
	if (!ret) {	/* the hardware has not frozen the PE: reading is allowed */
		EXPECT_EQ(0, nvme_write(&nvme, 4096, AT_TARGET, CHUNK));
		EXPECT_EQ(0, nvme_read(&nvme, 4096, AT_SOURCE, CHUNK));
		EXPECT_TRUE(all_bytes(st.mem + AT_SOURCE, CHUNK, 0x5a));
	}
	nvme_stop(&nvme);
	close(device);
	EXPECT_TRUE(state_end(&st));
}

TEST_HARNESS_MAIN
