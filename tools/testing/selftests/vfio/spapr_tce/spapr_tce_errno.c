// SPDX-License-Identifier: GPL-2.0
/*
 * The errno of every call that cannot be served, and that such a call changes
 * nothing. Names carry the defect a case stands for, where there is one.
 */
#include <fcntl.h>

#include "fixture.h"

/* Without a group there is no IOMMU driver behind the container: VFIO itself answers. */
static void no_driver(struct __test_metadata *_metadata, int c, void *mem)
{
	struct vfio_iommu_spapr_tce_info info;
	uint64_t start;

	EXPECT_EQ(-EINVAL, spapr_get_info(c, &info));
	EXPECT_EQ(-EINVAL, spapr_register(c, mem, PAGE_64K));
	EXPECT_EQ(-EINVAL, spapr_unregister(c, mem, PAGE_64K));
	EXPECT_EQ(-EINVAL, spapr_create(c, SHIFT_64K, WIN_SIZE, 1, &start));
	EXPECT_EQ(-EINVAL, spapr_remove(c, 0));
	EXPECT_EQ(-EINVAL, spapr_map(c, 0, mem, PAGE_64K, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_unmap(c, 0, PAGE_64K));
	EXPECT_EQ(-EINVAL, spapr_ioctl(c, VFIO_IOMMU_ENABLE, NULL));
	EXPECT_EQ(-EINVAL, spapr_eeh_op(c, VFIO_EEH_PE_GET_STATE));
}

TEST(no_group)
{
	void *mem = spapr_memory(PAGE_64K, PAGE_64K);
	int c = spapr_open_container();

	if (c < 0)
		SKIP(return, "no /dev/vfio/vfio");
	EXPECT_EQ(-EINVAL, spapr_set_iommu(c, VFIO_SPAPR_TCE_v2_IOMMU));
	no_driver(_metadata, c, mem);
	close(c);
}

CONTAINER_FIXTURE(v2, VFIO_SPAPR_TCE_v2_IOMMU, (void)0)

TEST_F(v2, no_group_any_more)
{
	ASSERT_EQ(0, spapr_register(self->c, self->mem, PAGE_64K));
	ASSERT_EQ(0, spapr_unset_container(self->st.s.group));
	no_driver(_metadata, self->c, self->mem);
	EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
}

TEST_F(v2, map_and_unmap_before_the_first_register)
{
	EXPECT_EQ(-EPERM, spapr_map(self->c, 0, self->st.mem, PAGE_64K, MAP_RW));
	EXPECT_EQ(-EPERM, spapr_unmap(self->c, 0, PAGE_64K));
	EXPECT_EQ(-EPERM, spapr_unregister(self->c, self->st.mem, PAGE_64K));
}

TEST_F(v2, calls_of_v1)
{
	EXPECT_EQ(-ENOTTY, spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL));
	EXPECT_EQ(-ENOTTY, spapr_ioctl(self->c, VFIO_IOMMU_DISABLE, NULL));
}

TEST_F(v2, unknown_call)
{
	EXPECT_EQ(-ENOTTY, spapr_ioctl(self->c, _IO(VFIO_TYPE, VFIO_BASE + 90), NULL));
}

TEST_F(v2, R7_register_bad_bounds)
{
	char *mem = self->st.mem;

	EXPECT_EQ(-EINVAL, spapr_register(self->c, mem, 0));
	EXPECT_EQ(-EINVAL, spapr_register(self->c, mem + 1, PAGE_64K));
	EXPECT_EQ(-EINVAL, spapr_register(self->c, mem, PAGE_64K + 1));
	EXPECT_EQ(-EINVAL, spapr_register(self->c, (void *)-PAGE_64K, 2 * PAGE_64K));
	EXPECT_EQ(-EINVAL, spapr_register(self->c, mem, -PAGE_64K));
	EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
	/* The container still wants its first registration. */
	EXPECT_EQ(-EPERM, spapr_map(self->c, 0, mem, PAGE_64K, MAP_RW));
}

TEST_F(v2, R7_register_what_cannot_be_pinned)
{
	char *mem = self->st.mem;
	int fd = open("/proc/self/exe", O_RDONLY);
	char *file = mmap(NULL, PAGE_64K, PROT_READ, MAP_SHARED, fd, 0);

	EXPECT_EQ(-EFAULT, spapr_register(self->c, NOWHERE, PAGE_64K));
	EXPECT_EQ(-EFAULT, spapr_register(self->c, NOWHERE, 64 * PAGE_64K));
	ASSERT_NE(MAP_FAILED, file);
	EXPECT_EQ(-EFAULT, spapr_register(self->c, file, PAGE_64K));
	/* Good pages, then one that is not. */
	ASSERT_EQ(0, mprotect(mem + 8 * PAGE_64K, PAGE_64K, PROT_NONE));
	EXPECT_EQ(-EFAULT, spapr_register(self->c, mem, 16 * PAGE_64K));
	ASSERT_EQ(0, mprotect(mem + 8 * PAGE_64K, PAGE_64K, PROT_READ | PROT_WRITE));
	EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
	EXPECT_EQ(self->st.pins, spapr_pins_held());
	EXPECT_EQ(0, spapr_register(self->c, mem, 16 * PAGE_64K));
}

/* What a process with limited memory asks for. */
static int register_8M(int c, void *mem)
{
	return spapr_register(c, mem, 8 * MB);
}

static int create_256M(int c, void *mem)
{
	return spapr_remove(c, 0) ?: spapr_create(c, SHIFT_64K, 1024 * GB, 2, NULL);
}

static int map_default(int c, void *mem)
{
	return spapr_register(c, mem, PAGE_64K) ?: spapr_map(c, 0, mem, PAGE_64K, MAP_RW) ?:
	       spapr_unmap(c, 0, PAGE_64K) ?: spapr_remove(c, 0) ?:
	       spapr_unregister(c, mem, PAGE_64K);
}

static int enable_2G(int c, void *mem)
{
	return spapr_ioctl(c, VFIO_IOMMU_ENABLE, NULL);
}

TEST_F(v2, register_and_RLIMIT_MEMLOCK)
{
	EXPECT_EQ(-ENOMEM, in_child(limited(8 * MB - 1, register_8M, self->c, self->mem)));
}

TEST_F(v2, register_within_RLIMIT_MEMLOCK)
{
	EXPECT_EQ(0, in_child(limited(8 * MB, register_8M, self->c, self->mem)));
}

TEST_F(v2, C2_create_and_RLIMIT_MEMLOCK)
{
	EXPECT_EQ(-ENOMEM, in_child(limited(255 * MB, create_256M, self->c, self->mem)));
}

TEST_F(v2, create_within_RLIMIT_MEMLOCK)
{
	EXPECT_EQ(0, in_child(limited(260 * MB, create_256M, self->c, self->mem)));
}

TEST_F(v2, default_window_and_RLIMIT_MEMLOCK)
{
	EXPECT_EQ(-ENOMEM, in_child(limited(MB, map_default, self->c, self->mem)));
}

TEST_F(v2, default_window_within_RLIMIT_MEMLOCK)
{
	EXPECT_EQ(0, in_child(limited(9 * MB, map_default, self->c, self->mem)));
}

TEST_F(v2, create_bad_shapes_C2_uncharged)
{
	uint64_t start;
	int i;

	for (i = 0; i < 20; i++) {
		EXPECT_EQ(-EINVAL, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 0, &start));
		EXPECT_EQ(-EINVAL, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 6, &start));
		EXPECT_EQ(-EINVAL, spapr_create(self->c, SHIFT_64K, 0, 1, &start));
		EXPECT_EQ(-EINVAL, spapr_create(self->c, SHIFT_64K, WIN_SIZE + 1, 1, &start));
		EXPECT_EQ(-EINVAL, spapr_create(self->c, SHIFT_64K, 3 * WIN_SIZE, 1, &start));
		EXPECT_EQ(-EINVAL, spapr_create(self->c, SHIFT_64K, 4096, 1, &start));
		EXPECT_EQ(-EINVAL, spapr_create(self->c, 13, WIN_SIZE, 1, &start));
		EXPECT_EQ(-EINVAL, spapr_create(self->c, 0, WIN_SIZE, 1, &start));
		EXPECT_EQ(-EINVAL, spapr_create(self->c, 64 + SHIFT_64K, WIN_SIZE, 1, &start));
		/* One level of 64 GiB: no page allocator can give that. */
		EXPECT_EQ(-ENOMEM, spapr_create(self->c, SHIFT_4K, 1UL << 45, 1, &start));
	}
	ASSERT_EQ(0, spapr_remove(self->c, 0));
	EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
}

TEST_F(v2, create_without_a_free_slot)
{
	uint64_t start;

	EXPECT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
	EXPECT_EQ(WINDOW1, start);
	EXPECT_EQ(-ENOSPC, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
}

TEST_F(v2, remove_of_what_is_not_there)
{
	EXPECT_EQ(0, spapr_remove(self->c, 0));		/* the default window, still due */
	EXPECT_EQ(-EINVAL, spapr_remove(self->c, 0));
	EXPECT_EQ(-EINVAL, spapr_remove(self->c, WINDOW1));
}

/* Every call with a structure: too short, and from a bad address. */
TEST_F(v2, argsz_and_addresses)
{
	static const struct { unsigned long cmd; unsigned int min; } calls[] = {
		{ VFIO_IOMMU_SPAPR_TCE_GET_INFO,
		  offsetof(struct vfio_iommu_spapr_tce_info, ddw) },
		{ VFIO_IOMMU_MAP_DMA, sizeof(struct vfio_iommu_type1_dma_map) },
		{ VFIO_IOMMU_UNMAP_DMA, offsetof(struct vfio_iommu_type1_dma_unmap, data) },
		{ VFIO_IOMMU_SPAPR_REGISTER_MEMORY,
		  sizeof(struct vfio_iommu_spapr_register_memory) },
		{ VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY,
		  sizeof(struct vfio_iommu_spapr_register_memory) },
		{ VFIO_IOMMU_SPAPR_TCE_CREATE, sizeof(struct vfio_iommu_spapr_tce_create) },
		{ VFIO_IOMMU_SPAPR_TCE_REMOVE, sizeof(struct vfio_iommu_spapr_tce_remove) },
		{ VFIO_EEH_PE_OP, offsetof(struct vfio_eeh_pe_op, op) + 4 },
	};
	uint32_t arg[32];
	unsigned int i;

	ASSERT_EQ(0, spapr_register(self->c, self->st.mem, PAGE_64K));
	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		TH_LOG("call %#lx", calls[i].cmd);
		memset(arg, 0, sizeof(arg));
		EXPECT_EQ(-EINVAL, spapr_ioctl(self->c, calls[i].cmd, arg));
		arg[0] = calls[i].min - 1;
		EXPECT_EQ(-EINVAL, spapr_ioctl(self->c, calls[i].cmd, arg));
		EXPECT_EQ(-EFAULT, spapr_ioctl(self->c, calls[i].cmd, NOWHERE));
		if (calls[i].cmd == VFIO_IOMMU_SPAPR_TCE_GET_INFO)
			continue;
		arg[0] = sizeof(arg);
		arg[1] = 0x80000000;
		EXPECT_EQ(-EINVAL, spapr_ioctl(self->c, calls[i].cmd, arg));
	}
}

TEST_F(v2, get_info_short_and_long)
{
	struct {
		struct vfio_iommu_spapr_tce_info info;
		uint64_t beyond;
	} arg;

	memset(&arg, 0xa5, sizeof(arg));
	arg.info.argsz = offsetof(struct vfio_iommu_spapr_tce_info, ddw);
	EXPECT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_SPAPR_TCE_GET_INFO, &arg));
	EXPECT_EQ(0xa5a5a5a5a5a5a5a5, arg.info.ddw.pgsizes);
	EXPECT_EQ(0, arg.info.dma32_window_start);

	arg.info.argsz = sizeof(arg);
	EXPECT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_SPAPR_TCE_GET_INFO, &arg));
	EXPECT_EQ(0xa5a5a5a5a5a5a5a5, arg.beyond);
	EXPECT_TRUE(arg.info.flags & VFIO_IOMMU_SPAPR_INFO_DDW);
	EXPECT_TRUE(arg.info.ddw.pgsizes & PAGE_64K);
	EXPECT_EQ(2, arg.info.ddw.max_dynamic_windows_supported);
}

TEST_F(v2, R10_another_mm)
{
	struct vfio_iommu_spapr_tce_info info;
	uint64_t start;

	ASSERT_EQ(0, spapr_register(self->c, self->st.mem, PAGE_64K));
	EXPECT_EQ(-EPERM, in_child(spapr_get_info(self->c, &info)));
	EXPECT_EQ(-EPERM, in_child(spapr_register(self->c, self->st.mem, PAGE_64K)));
	EXPECT_EQ(-EPERM, in_child(spapr_unregister(self->c, self->st.mem, PAGE_64K)));
	EXPECT_EQ(-EPERM, in_child(spapr_map(self->c, 0, self->st.mem, PAGE_64K, MAP_RW)));
	EXPECT_EQ(-EPERM, in_child(spapr_unmap(self->c, 0, PAGE_64K)));
	EXPECT_EQ(-EPERM, in_child(spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start)));
	EXPECT_EQ(-EPERM, in_child(spapr_remove(self->c, 0)));
	EXPECT_EQ(0, spapr_unregister(self->c, self->st.mem, PAGE_64K));
}

/* None of it costs memory, however often it is tried. */
TEST_F(v2, bad_input_costs_nothing)
{
	char *mem = self->mem;
	long slab = 0, memfree = 0;
	uint64_t start;
	int i;

	ASSERT_EQ(0, mprotect(mem + 8 * PAGE_64K, PAGE_64K, PROT_NONE));
	for (i = 0; i < 9000; i++) {
		if (i == 1000) {
			slab = spapr_meminfo_kb("Slab");
			memfree = spapr_memfree_kb();
		}
		EXPECT_EQ(-EFAULT, spapr_register(self->c, mem, 16 * PAGE_64K));
		EXPECT_EQ(-EINVAL, spapr_register(self->c, mem, 0));
		EXPECT_EQ(-ENOENT, spapr_register(self->c, mem, PAGE_64K) ? 1 :
			  spapr_unregister(self->c, mem, 2 * PAGE_64K));
		EXPECT_EQ(-EINVAL, spapr_map(self->c, 0, NOWHERE, PAGE_64K, MAP_RW));
		EXPECT_EQ(-EINVAL, spapr_map(self->c, 0, mem, 2 * PAGE_64K, MAP_RW));
		EXPECT_EQ(-ENXIO, spapr_map(self->c, 1UL << 57, mem, PAGE_64K, MAP_RW));
		EXPECT_EQ(0, spapr_unregister(self->c, mem, PAGE_64K));
		EXPECT_EQ(-EINVAL, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 6, &start));
		EXPECT_EQ(-ENOMEM, spapr_create(self->c, SHIFT_4K, 1UL << 45, 1, &start));
		EXPECT_EQ(-EINVAL, spapr_remove(self->c, WINDOW1));
	}
	/*
	 * What RCU still holds back goes within seconds, what is lost does not: in
	 * 8000 rounds the smallest of our objects makes 2 MB, the smallest page 32 MB.
	 * The free lists of the processors may hold some MB of pages back for ever.
	 */
	for (i = 0; i < 300 && (spapr_meminfo_kb("Slab") > slab + 1536 ||
				spapr_memfree_kb() < memfree - 16384); i++)
		usleep(100000);
	EXPECT_GE(slab + 1536, spapr_meminfo_kb("Slab"));
	EXPECT_LE(memfree - 16384, spapr_memfree_kb());
	EXPECT_EQ(self->st.pins, spapr_pins_held());
}

/* Registered memory and both windows: 4K pages at 0, 64K pages at WINDOW1. */
FIXTURE(mapped)
{
	struct spapr_state st;
	int c;
	uint64_t base;
	uint64_t size;
	uint64_t page;
};

FIXTURE_VARIANT(mapped)
{
	uint64_t base;
	unsigned int shift;
	unsigned int levels;
};

FIXTURE_VARIANT_ADD(mapped, window0) { .base = 0, .shift = SHIFT_4K };

FIXTURE_VARIANT_ADD(mapped, window1) { .base = WINDOW1, .shift = SHIFT_64K, .levels = 1 };

FIXTURE_VARIANT_ADD(mapped, window1_two_levels) {
	.base = WINDOW1, .shift = SHIFT_64K, .levels = 2,
};

FIXTURE_VARIANT_ADD(mapped, window1_4K_three_levels) {
	.base = WINDOW1, .shift = SHIFT_4K, .levels = 3,
};

FIXTURE_SETUP(mapped)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);
	struct vfio_iommu_spapr_tce_info info;
	uint64_t start;

	if (why)
		SKIP(return, "%s", why);
	self->c = self->st.s.container;
	self->base = variant->base;
	self->page = 1UL << variant->shift;
	ASSERT_EQ(0, spapr_register(self->c, self->st.mem, MEM_SIZE / 2));
	ASSERT_EQ(0, spapr_get_info(self->c, &info));
	self->size = info.dma32_window_size;
	if (variant->base) {
		self->size = WIN_SIZE;
		ASSERT_EQ(0, spapr_create(self->c, variant->shift, WIN_SIZE, variant->levels,
					  &start));
		ASSERT_EQ(variant->base, start);
	}
}

FIXTURE_TEARDOWN(mapped)
{
	EXPECT_TRUE(state_end(&self->st));
}

TEST_F(mapped, T1_range_past_the_end_of_the_window)
{
	uint64_t end = self->base + self->size, page = self->page;
	char *mem = self->st.mem;

	EXPECT_EQ(0, spapr_map(self->c, end - page, mem, page, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, end - page, mem, 2 * page, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, end - page, mem, MEM_SIZE / 2, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_unmap(self->c, end - page, 2 * page));
	EXPECT_EQ(-EINVAL, spapr_unmap(self->c, self->base, self->size + page));
	EXPECT_EQ(-EINVAL, spapr_unmap(self->c, self->base, -page));
	/* The last page is still mapped: its region is busy. */
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, mem, MEM_SIZE / 2));
	EXPECT_EQ(0, spapr_unmap(self->c, end - page, page));
	EXPECT_EQ(0, spapr_unregister(self->c, mem, MEM_SIZE / 2));
}

TEST_F(mapped, iova_in_no_window)
{
	EXPECT_EQ(-ENXIO, spapr_map(self->c, self->base + self->size, self->st.mem, self->page,
				    MAP_RW));
	EXPECT_EQ(-ENXIO, spapr_unmap(self->c, self->base + self->size, self->page));
	EXPECT_EQ(-ENXIO, spapr_map(self->c, 1UL << 57, self->st.mem, self->page, MAP_RW));
}

TEST_F(mapped, bad_alignment_and_size)
{
	uint64_t base = self->base, page = self->page, half = page / 2;
	char *mem = self->st.mem;

	EXPECT_EQ(-EINVAL, spapr_map(self->c, base + half, mem, page, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, base, mem + half, page, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, base, mem, half, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, base, mem, 0, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, base, (void *)-page, 2 * page, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, base, mem, page, 0));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, base, mem, page, 4));
	EXPECT_EQ(-EINVAL, spapr_unmap(self->c, base + half, page));
	EXPECT_EQ(-EINVAL, spapr_unmap(self->c, base, half));
	EXPECT_EQ(-EINVAL, spapr_unmap(self->c, base, 0));
	EXPECT_EQ(0, spapr_unregister(self->c, mem, MEM_SIZE / 2));
}

TEST_F(mapped, unregistered_memory)
{
	char *end = self->st.mem + MEM_SIZE / 2;

	EXPECT_EQ(-EINVAL, spapr_map(self->c, self->base, end, self->page, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, self->base, end - PAGE_64K, 2 * PAGE_64K, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, self->base, NOWHERE, self->page, MAP_RW));
	/* None of it was mapped. */
	EXPECT_EQ(0, spapr_unregister(self->c, self->st.mem, MEM_SIZE / 2));
}

TEST_F(mapped, register_twice_overlapping_and_unknown)
{
	char *mem = self->st.mem;

	EXPECT_EQ(-EBUSY, spapr_register(self->c, mem, MEM_SIZE / 2));
	EXPECT_EQ(-EINVAL, spapr_register(self->c, mem, PAGE_64K));
	EXPECT_EQ(-EINVAL, spapr_register(self->c, mem + PAGE_64K, PAGE_64K));
	EXPECT_EQ(-EINVAL, spapr_register(self->c, mem + PAGE_64K, MEM_SIZE / 2));
	EXPECT_EQ(-ENOENT, spapr_unregister(self->c, mem + MEM_SIZE / 2, PAGE_64K));
	EXPECT_EQ(-ENOENT, spapr_unregister(self->c, mem, PAGE_64K));
	EXPECT_EQ(0, spapr_unregister(self->c, mem, MEM_SIZE / 2));
	EXPECT_EQ(-ENOENT, spapr_unregister(self->c, mem, MEM_SIZE / 2));
}

TEST_F(mapped, R1_unregister_while_mapped)
{
	char *mem = self->st.mem;
	long vmlck = spapr_vmlck_kb(), pins = spapr_pins_held();
	int i;

	ASSERT_EQ(0, spapr_map(self->c, self->base, mem, MEM_SIZE / 2, MAP_RW));
	for (i = 0; i < 10; i++)
		EXPECT_EQ(-EBUSY, spapr_unregister(self->c, mem, MEM_SIZE / 2));
	/* One page is enough to keep it. */
	EXPECT_EQ(0, spapr_unmap(self->c, self->base, MEM_SIZE / 2 - self->page));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, mem, MEM_SIZE / 2));
	EXPECT_LE(vmlck, spapr_vmlck_kb());
	EXPECT_EQ(pins, spapr_pins_held());
	EXPECT_EQ(0, spapr_unmap(self->c, self->base + MEM_SIZE / 2 - self->page, self->page));
	EXPECT_EQ(0, spapr_unregister(self->c, mem, MEM_SIZE / 2));
}

CONTAINER_FIXTURE(v1, VFIO_SPAPR_TCE_IOMMU, (void)0)

TEST_F(v1, calls_of_v2)
{
	uint64_t start;

	EXPECT_EQ(-ENOTTY, spapr_register(self->c, self->st.mem, PAGE_64K));
	EXPECT_EQ(-ENOTTY, spapr_unregister(self->c, self->st.mem, PAGE_64K));
	EXPECT_EQ(-ENOTTY, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
	EXPECT_EQ(-ENOTTY, spapr_remove(self->c, 0));
}

TEST_F(v1, map_and_unmap_before_enable)
{
	EXPECT_EQ(-EPERM, spapr_map(self->c, 0, self->st.mem, PAGE_64K, MAP_RW));
	EXPECT_EQ(-EPERM, spapr_unmap(self->c, 0, PAGE_64K));
}

TEST_F(v1, enable_and_RLIMIT_MEMLOCK)
{
	EXPECT_EQ(-ENOMEM, in_child(limited(2 * GB - 1, enable_2G, self->c, self->mem)));
}

TEST_F(v1, enable_within_RLIMIT_MEMLOCK)
{
	EXPECT_EQ(0, in_child(limited(2 * GB, enable_2G, self->c, self->mem)));
}

/* What the process may not write the device must not write for it. */
TEST_F(v1, C9_memory_that_is_only_to_be_read)
{
	ASSERT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL));
	ASSERT_EQ(0, mprotect(self->mem, MEM_SIZE / 2, PROT_READ));
	EXPECT_EQ(-EFAULT, spapr_map(self->c, 0, self->mem, PAGE_64K, MAP_WRITE));
	EXPECT_EQ(-EFAULT, spapr_map(self->c, 0, self->mem, PAGE_64K, MAP_RW));
	EXPECT_EQ(-EFAULT, spapr_map(self->c, 0, self->mem + MEM_SIZE / 2 - PAGE_64K, 2 * PAGE_64K,
				     MAP_RW));
	EXPECT_EQ(self->st.pins, spapr_pins_held());
	EXPECT_EQ(0, spapr_map(self->c, 0, self->mem, MEM_SIZE / 2, MAP_READ));
	EXPECT_LT(self->st.pins, spapr_pins_held());
	EXPECT_EQ(0, spapr_unmap(self->c, 0, MEM_SIZE / 2));
	EXPECT_EQ(self->st.pins, spapr_pins_held());
}

TEST_F(v1, enable_twice)
{
	EXPECT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL));
	EXPECT_EQ(-EBUSY, spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL));
	EXPECT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_DISABLE, NULL));
	EXPECT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL));
}

TEST_F(v1, C9_partly_bad_map_leaves_nothing_pinned)
{
	ASSERT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL));
	ASSERT_EQ(0, munmap(self->st.mem + 8 * PAGE_64K, PAGE_64K));
	EXPECT_EQ(-EFAULT, spapr_map(self->c, 0, self->st.mem, 16 * PAGE_64K, MAP_RW));
	EXPECT_EQ(self->st.pins, spapr_pins_held());
	EXPECT_EQ(-EINVAL, spapr_map(self->c, 0x7fff0000, self->st.mem, 2 * PAGE_64K, MAP_RW));
	EXPECT_EQ(self->st.pins, spapr_pins_held());
}

TEST_HARNESS_MAIN
