// SPDX-License-Identifier: GPL-2.0
/*
 * What CREATE and REMOVE leave behind, above all when they fail; windows over the bus
 * addresses of 32-bit MMIO, and windows that end far above them.
 */
#include <fcntl.h>

#include "fixture.h"

#define MMIO		(2 * GB)	/* where a bridge below the PHB may answer ... */
#define MMIO_END	(4 * GB)	/* ... and memory may lie, too */
#define BARS_END	(MMIO + 256 * MB) /* the devices' own registers are below that */
#define MSI		0xffff0000UL	/* from here to 4 GiB a PHB takes writes for interrupts */
#define TOO_LARGE	(32768 * GB)	/* 64 GiB of TCEs, for a single level of 4K pages */

CONTAINER_FIXTURE(v2, VFIO_SPAPR_TCE_v2_IOMMU, (void)0)

/* Callers retry by design, so what is lost is lost at every start. */
TEST_F(v2, C2_create_that_fails_takes_the_default_window_back)
{
	uint64_t start = 1;
	int i;

	for (i = 0; i < 10; i++) {
		EXPECT_EQ(-ENOMEM, spapr_create(self->c, SHIFT_4K, TOO_LARGE, 1, &start));
		EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
		EXPECT_EQ(-EINVAL, spapr_create(self->c, SHIFT_4K, WIN_SIZE, 99, &start));
		EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
	}
	/* It is still due: for the next call that succeeds ... */
	EXPECT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
	EXPECT_EQ(WINDOW1, start);
	ASSERT_EQ(0, spapr_register(self->c, self->mem, PAGE_64K));
	EXPECT_EQ(0, spapr_map(self->c, 0, self->mem, PAGE_64K, MAP_RW));
	EXPECT_EQ(0, spapr_map(self->c, start, self->mem, PAGE_64K, MAP_RW));
}

TEST_F(v2, C2_default_window_is_removed_for_good_after_a_failed_create)
{
	uint64_t start = 1;

	/* ... or to be removed before it was there. */
	EXPECT_EQ(-ENOMEM, spapr_create(self->c, SHIFT_4K, TOO_LARGE, 1, &start));
	EXPECT_EQ(0, spapr_remove(self->c, 0));
	EXPECT_EQ(-EINVAL, spapr_remove(self->c, 0));
	EXPECT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
	EXPECT_EQ(0, start);
}

TEST_F(v2, C2_create_that_fails_keeps_a_default_window_in_use)
{
	uint64_t start;
	long vmlck;

	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_map(self->c, 0, self->mem, MEM_SIZE, MAP_RW));
	vmlck = spapr_vmlck_kb();
	EXPECT_EQ(-ENOMEM, spapr_create(self->c, SHIFT_4K, TOO_LARGE, 1, &start));
	EXPECT_EQ(-EINVAL, spapr_create(self->c, SHIFT_4K, WIN_SIZE, 99, &start));
	EXPECT_EQ(vmlck, spapr_vmlck_kb());
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, self->mem, MEM_SIZE));
	EXPECT_EQ(0, spapr_unmap(self->c, 0, MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
}

TEST_F(v2, C6_default_window_and_mm_are_taken_once)
{
	long vmlck, with_default;
	uint64_t start;

	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	vmlck = spapr_vmlck_kb();
	EXPECT_EQ(0, spapr_map(self->c, 0, self->mem, PAGE_64K, MAP_RW));
	with_default = spapr_vmlck_kb();
	EXPECT_LT(vmlck, with_default);
	EXPECT_EQ(0, spapr_map(self->c, PAGE_64K, self->mem, PAGE_64K, MAP_RW));
	EXPECT_EQ(0, spapr_unmap(self->c, PAGE_64K, PAGE_64K));
	EXPECT_EQ(with_default, spapr_vmlck_kb());
	EXPECT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
	EXPECT_EQ(WINDOW1, start);
	EXPECT_EQ(0, spapr_remove(self->c, start));
	EXPECT_EQ(with_default, spapr_vmlck_kb());
	EXPECT_EQ(0, spapr_remove(self->c, 0));
	EXPECT_EQ(vmlck, spapr_vmlck_kb());
	EXPECT_EQ(-ENXIO, spapr_unmap(self->c, 0, PAGE_64K));
	EXPECT_EQ(vmlck, spapr_vmlck_kb());
}

/* Whatever a user does over and over, the log has nothing to say about it. */
TEST_F(v2, C10_windows_come_and_go_without_a_word)
{
	char *mem = self->mem;
	uint64_t start;
	int i, mark;

	ASSERT_EQ(0, spapr_register(self->c, mem, MEM_SIZE / 2));
	mark = spapr_log_mark();
	if (mark < 0)
		SKIP(return, "no /dev/kmsg");
	for (i = 0; i < 2000; i++) {
		ASSERT_EQ(0, spapr_create(self->c, i % 2 ? SHIFT_64K : SHIFT_4K, WIN_SIZE,
					  1 + i % 3, &start));
		EXPECT_EQ(0, spapr_map(self->c, start, mem, PAGE_64K, MAP_RW));
		EXPECT_EQ(-EBUSY, spapr_unregister(self->c, mem, MEM_SIZE / 2));
		EXPECT_EQ(-EINVAL, spapr_map(self->c, start, NOWHERE, PAGE_64K, MAP_RW));
		EXPECT_EQ(-EINVAL, spapr_map(self->c, start + WIN_SIZE - PAGE_64K, mem,
					     2 * PAGE_64K, MAP_RW));
		ASSERT_EQ(0, spapr_remove(self->c, start));
		EXPECT_EQ(-EINVAL, spapr_remove(self->c, WINDOW1));
		EXPECT_EQ(-ENXIO, spapr_unmap(self->c, WINDOW1, PAGE_64K));
		EXPECT_EQ(-ENOMEM, spapr_create(self->c, SHIFT_4K, TOO_LARGE, 1, &start));
		EXPECT_EQ(-EINVAL, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 6, &start));
		EXPECT_EQ(-EINVAL, spapr_create(self->c, 13, WIN_SIZE, 1, &start));
		EXPECT_EQ(-EFAULT, spapr_register(self->c, NOWHERE, PAGE_64K));
		EXPECT_EQ(-EINVAL, spapr_register(self->c, mem + PAGE_64K, MEM_SIZE));
		EXPECT_EQ(-EINVAL, spapr_eeh_op(self->c, 99));
		EXPECT_EQ(-ENOTTY, spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL));
		if (!i)
			EXPECT_EQ(0, spapr_remove(self->c, 0));
	}
	EXPECT_EQ(0, spapr_log_lines(mark));
}

/* A window at 0 that reaches over the addresses where a PHB has 32-bit MMIO. */
FIXTURE(low)
{
	struct spapr_state st;
	int c;
	char *mem, *half;
};

FIXTURE_VARIANT(low)
{
	unsigned int shift;
	unsigned int levels;
};

FIXTURE_VARIANT_ADD(low, 64K_1_level) { SHIFT_64K, 1 };
FIXTURE_VARIANT_ADD(low, 64K_3_levels) { SHIFT_64K, 3 };
FIXTURE_VARIANT_ADD(low, 4K_1_level) { SHIFT_4K, 1 };
FIXTURE_VARIANT_ADD(low, 4K_3_levels) { SHIFT_4K, 3 };

FIXTURE_SETUP(low)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);
	uint64_t start = 1;
	int ret;

	if (why)
		SKIP(return, "%s", why);
	self->c = self->st.s.container;
	self->mem = self->st.mem;
	self->half = self->mem + MEM_SIZE / 2;
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE / 2));
	ASSERT_EQ(0, spapr_register(self->c, self->half, MEM_SIZE / 2));
	ASSERT_EQ(0, spapr_remove(self->c, 0));
	ret = spapr_create(self->c, variant->shift, 8 * GB, variant->levels, &start);
	if (ret == -ENOMEM && variant->levels == 1)
		SKIP(return, "no memory for a level in one piece");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, start);
}

FIXTURE_TEARDOWN(low)
{
	EXPECT_TRUE(state_end(&self->st));
}

/* Both sides of either end, and all across. */
TEST_F(low, C23_map_where_a_bridge_might_decode)
{
	const struct { uint64_t iova, size; } good[] = {
		{ MMIO, PAGE_64K }, { MMIO, MEM_SIZE / 2 }, { MMIO + GB, PAGE_64K },
		{ MMIO_END - PAGE_64K, PAGE_64K }, { MMIO - PAGE_64K, 2 * PAGE_64K },
		{ MMIO_END - PAGE_64K, 2 * PAGE_64K }, { MMIO - MB, MEM_SIZE / 2 },
		{ MMIO_END - MB, MEM_SIZE / 2 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		EXPECT_EQ(0, spapr_map(self->c, good[i].iova, self->half, good[i].size, MAP_RW));
		EXPECT_EQ(-EBUSY, spapr_unregister(self->c, self->half, MEM_SIZE / 2));
		EXPECT_EQ(0, spapr_unmap(self->c, good[i].iova, good[i].size));
	}
	EXPECT_EQ(0, spapr_map(self->c, MMIO - MEM_SIZE / 2, self->mem, MEM_SIZE / 2, MAP_RW));
	EXPECT_EQ(0, spapr_map(self->c, MMIO_END, self->half, MEM_SIZE / 2, MAP_RW));
	EXPECT_EQ(0, spapr_unmap(self->c, MMIO - MEM_SIZE / 2, MMIO_END - MMIO + MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(self->c, self->half, MEM_SIZE / 2));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE / 2));
}

TEST_F(low, C23_dma_where_a_bridge_might_decode)
{
	const uint64_t at[] = { MMIO - MEM_SIZE / 4, MMIO, 3 * GB, MMIO_END - MEM_SIZE / 4,
				8 * GB - MEM_SIZE / 2 };
	struct nvme nvme;
	unsigned int i;
	int device;

	device = spapr_open_device(self->st.s.group, &self->st.dev[0]);
	ASSERT_LE(0, device);
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		ASSERT_EQ(0, spapr_map(self->c, at[i], self->mem, MEM_SIZE / 2, MAP_RW));
		ASSERT_EQ(0, nvme_start(&nvme, device, self->mem, at[i]));
		EXPECT_TRUE(nvme_round_trip(&nvme, self->mem, at[i], MB, 2 * MB));
		nvme_stop(&nvme);
		EXPECT_EQ(0, spapr_unmap(self->c, at[i], MEM_SIZE / 2));
	}
	close(device);
}

/* ---- windows that begin at 0 and end far above 4 GiB ---- */

#define AT_FIRST	MB	/* memory behind the first page of the window ... */
#define AT_LAST		(2 * MB) /* ... and behind the last */
#define AT_COPY		(8 * MB)
#define BLOCK		4096UL
#define LBAS		8	/* of 512 bytes, in a block */

FIXTURE(far)
{
	struct spapr_state st;
	struct nvme nvme;
	int c, device;
	uint64_t size, page, last;
	char *mem;
};

FIXTURE_VARIANT(far)
{
	unsigned int bits;	/* log2 of the size */
	unsigned int shift;
	unsigned int levels;
};

FIXTURE_VARIANT_ADD(far, 40_bits_64K_2_levels) { 40, SHIFT_64K, 2 };
FIXTURE_VARIANT_ADD(far, 40_bits_4K_4_levels) { 40, SHIFT_4K, 4 };
FIXTURE_VARIANT_ADD(far, 47_bits_64K_3_levels) { 47, SHIFT_64K, 3 };
FIXTURE_VARIANT_ADD(far, 47_bits_64K_4_levels) { 47, SHIFT_64K, 4 };
FIXTURE_VARIANT_ADD(far, 47_bits_4K_3_levels) { 47, SHIFT_4K, 3 };

FIXTURE_SETUP(far)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);
	struct vfio_iommu_spapr_tce_info info;
	uint64_t start = 1, queues;

	if (why)
		SKIP(return, "%s", why);
	self->c = self->st.s.container;
	self->mem = self->st.mem;
	self->size = 1UL << variant->bits;
	self->page = 1UL << variant->shift;
	self->last = self->size - self->page;
	ASSERT_EQ(0, spapr_get_info(self->c, &info));
	if (info.ddw.levels < variant->levels || !(info.ddw.pgsizes & self->page))
		SKIP(return, "no such window on this machine");
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_remove(self->c, 0));
	ASSERT_EQ(0, spapr_create(self->c, variant->shift, self->size, variant->levels, &start));
	ASSERT_EQ(0, start);
	/* The queues are at neither end, nor at a power of two. */
	queues = self->size / 2 + PAGE_64K;
	ASSERT_EQ(0, spapr_map(self->c, queues, self->mem, NVME_QUEUE_MEMORY, MAP_RW));
	self->device = spapr_open_device(self->st.s.group, &self->st.dev[0]);
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, nvme_start(&self->nvme, self->device, self->mem, queues));
}

FIXTURE_TEARDOWN(far)
{
	nvme_stop(&self->nvme);
	close(self->device);
	EXPECT_TRUE(state_end(&self->st));
}

/* A page of data that the controller takes from one bus address and puts at another. */
static bool carries(struct nvme *nvme, char *source, uint64_t from, char *target, uint64_t to,
		    size_t page)
{
	nvme_fill(source, page);
	memset(target, 0, 2 * page);
	return !nvme_write(nvme, 0, from, page) && !nvme_read(nvme, 0, to, page) &&
	       !memcmp(source, target, page) && all_bytes(target + page, page, 0);
}

TEST_F(far, dma_at_both_ends)
{
	char *first = self->mem + AT_FIRST, *last = self->mem + AT_LAST;

	ASSERT_EQ(0, spapr_map(self->c, 0, first, self->page, MAP_RW));
	ASSERT_EQ(0, spapr_map(self->c, self->last, last, self->page, MAP_RW));
	EXPECT_TRUE(carries(&self->nvme, first, 0, last, self->last, self->page));
	EXPECT_TRUE(carries(&self->nvme, last, self->last, first, 0, self->page));

	/* One end goes, the other stays. */
	ASSERT_EQ(0, spapr_unmap(self->c, 0, self->page));
	memset(first, 0x5a, self->page);
	nvme_read(&self->nvme, 0, 0, self->page);
	EXPECT_TRUE(all_bytes(first, self->page, 0x5a));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, self->mem, MEM_SIZE));
	EXPECT_EQ(0, spapr_unmap(self->c, 0, self->size));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
}

TEST_F(far, nothing_is_mapped_beyond_the_end)
{
	char *first = self->mem + AT_FIRST, *last = self->mem + AT_LAST;

	ASSERT_EQ(0, spapr_map(self->c, 0, first, self->page, MAP_RW));
	ASSERT_EQ(0, spapr_map(self->c, self->last, last, self->page, MAP_RW));
	EXPECT_EQ(-ENXIO, spapr_map(self->c, self->size, self->mem, self->page, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, self->last, self->mem, 2 * self->page, MAP_RW));
	EXPECT_EQ(-ENXIO, spapr_unmap(self->c, self->size, self->page));
	EXPECT_EQ(-EINVAL, spapr_unmap(self->c, self->last, 2 * self->page));
	EXPECT_TRUE(carries(&self->nvme, first, 0, last, self->last, self->page));

	/*
	 * The device finds nothing behind the last page. Without the first one, because a
	 * PHB takes an address modulo 2^40 where two levels of 64K pages have no more bits.
	 */
	ASSERT_EQ(0, spapr_unmap(self->c, 0, self->page));
	memset(self->mem + AT_FIRST, 0x5a, MEM_SIZE - AT_FIRST);
	nvme_read(&self->nvme, 0, self->size, self->page);
	EXPECT_TRUE(all_bytes(self->mem + AT_FIRST, MEM_SIZE - AT_FIRST, 0x5a));
}

/* An address with that bit; at 2 GiB the device has its own registers. */
static uint64_t address_with(unsigned int bit)
{
	return 1UL << bit == MMIO ? MMIO + GB : 1UL << bit;
}

/* Pages at addresses of one bit each, all mapped at once: none is taken for another. */
TEST_F(far, each_bit_of_an_address_counts)
{
	char *first = self->mem + AT_FIRST, *copy = self->mem + AT_COPY;
	unsigned int bit, n = 0;

	for (bit = SHIFT_64K; bit < variant->bits; bit++, n++) {
		ASSERT_EQ(0, spapr_map(self->c, address_with(bit), first + n * PAGE_64K,
				       self->page, MAP_RW));
		nvme_fill(first + n * PAGE_64K, BLOCK);
		memcpy(copy + n * PAGE_64K, first + n * PAGE_64K, BLOCK);
		EXPECT_EQ(0, nvme_write(&self->nvme, n * LBAS, address_with(bit), BLOCK));
	}
	memset(first, 0, n * PAGE_64K);
	for (bit = SHIFT_64K, n = 0; bit < variant->bits; bit++, n++)
		EXPECT_EQ(0, nvme_read(&self->nvme, n * LBAS, address_with(bit), BLOCK));
	EXPECT_EQ(0, memcmp(first, copy, n * PAGE_64K));
}

/* ---- bus addresses that are physical addresses, as SPDK has them ---- */

static uint64_t highest_memory(void)
{
	FILE *f = fopen("/proc/iomem", "r");
	unsigned long long first, last, highest = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "System RAM") && sscanf(line, "%llx-%llx", &first, &last) == 2 &&
		    last > highest)
			highest = last;
	if (f)
		fclose(f);
	return highest;
}

/* 0: not known. */
static uint64_t physical(int pagemap, const char *va)
{
	uint64_t entry, page = spapr_page_size();

	if (pread(pagemap, &entry, sizeof(entry), (uintptr_t)va / page * sizeof(entry)) !=
	    sizeof(entry))
		return 0;
	return (entry & ((1ULL << 55) - 1)) * page;
}

#define HEAP_PIECE	(64 * MB)
#define HEAP_PIECES	64

/*
 * Memory until some of it lies from 2 to 4 GiB, between the registers of devices and where
 * interrupts go, but not more than there is to spare.
 */
static char *heap_with_low_page(int pagemap, char **pieces)
{
	long spare_kb = spapr_meminfo_kb("MemAvailable") - 512 * MB / KB;
	uint64_t at;
	size_t i;
	int n;

	for (n = 0; n < HEAP_PIECES && (n + 1) * (long)(HEAP_PIECE / KB) < spare_kb; n++) {
		pieces[n] = spapr_memory(HEAP_PIECE, MB);
		for (i = 0; i < HEAP_PIECE; i += PAGE_64K) {
			at = physical(pagemap, pieces[n] + i);
			if (at >= BARS_END && at < MSI)
				return pieces[n] + i;
		}
	}
	return NULL;
}

/* A page at a time, registered and mapped where it is. */
static int spdk_map(int c, int pagemap, char *mem, size_t size)
{
	long page = spapr_page_size();
	size_t i;
	int ret = 0;

	for (i = 0; i < size && !ret; i += page) {
		ret = spapr_register(c, mem + i, page);
		if (!ret)
			ret = spapr_map(c, physical(pagemap, mem + i), mem + i, page, MAP_RW);
	}
	return ret;
}

FIXTURE(spdk)
{
	struct spapr_state st;
	int c;
	char *mem;
};

FIXTURE_SETUP(spdk)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);

	if (why)
		SKIP(return, "%s", why);
	self->c = self->st.s.container;
	self->mem = self->st.mem;
}

/* After gigabytes came and went each processor keeps more free pages than a check allows for. */
FIXTURE_TEARDOWN(spdk)
{
	EXPECT_TRUE(state_end_counters(&self->st));
}

TEST_F(spdk, C23_physical_addresses_are_bus_addresses)
{
	char *pieces[HEAP_PIECES] = { }, *low, *queue = self->mem;
	unsigned int shift = spapr_page_size() == PAGE_64K ? SHIFT_64K : SHIFT_4K;
	uint64_t size = 1, start = 1, low_at, queue_at;
	int i, device, pagemap = open("/proc/self/pagemap", O_RDONLY);
	struct nvme nvme;

	ASSERT_LE(0, pagemap);
	while (size <= highest_memory())
		size *= 2;
	if (highest_memory() <= BARS_END)
		SKIP(return, "no memory from 2 GiB on");
	low = heap_with_low_page(pagemap, pieces);
	if (!low)
		SKIP(return, "no free page from 2 to 4 GiB");
	low_at = physical(pagemap, low);
	queue_at = physical(pagemap, queue);
	TH_LOG("queue at %#llx, memory at %#llx, window of %#llx", (unsigned long long)queue_at,
	       (unsigned long long)low_at, (unsigned long long)size);
	ASSERT_NE(0, queue_at);

	ASSERT_EQ(0, spapr_remove(self->c, 0));
	ASSERT_EQ(0, spapr_create(self->c, shift, size, 2, &start));
	ASSERT_EQ(0, start);
	ASSERT_EQ(0, spdk_map(self->c, pagemap, queue, PAGE_64K));
	ASSERT_EQ(0, spdk_map(self->c, pagemap, low, PAGE_64K));
	device = spapr_open_device(self->st.s.group, &self->st.dev[0]);
	ASSERT_LE(0, device);
	ASSERT_EQ(0, nvme_start(&nvme, device, queue, queue_at));
	nvme_fill(low, 4096);
	memset(low + 4096, 0, 4096);
	EXPECT_EQ(0, nvme_write(&nvme, 0, low_at, 4096));
	EXPECT_EQ(0, nvme_read(&nvme, 0, low_at + 4096, 4096));
	EXPECT_EQ(0, memcmp(low, low + 4096, 4096));
	nvme_stop(&nvme);
	close(device);
	close(pagemap);
	EXPECT_EQ(0, spapr_remove(self->c, 0));
	for (i = 0; i < HEAP_PIECES && pieces[i]; i++)
		munmap(pieces[i], HEAP_PIECE);
}

TEST_HARNESS_MAIN
