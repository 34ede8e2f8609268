// SPDX-License-Identifier: GPL-2.0
/*
 * Registered memory: what is pinned and charged, and for how long; many regions;
 * hugepages; processes that die with memory registered.
 */
#include <signal.h>
#include <sys/wait.h>

#include "fixture.h"

CONTAINER_FIXTURE(v2, VFIO_SPAPR_TCE_v2_IOMMU, (void)0)

/* Ways to ask for memory that is not there; under lock checks each must end its read section. */
TEST_F(v2, R4_lookups_that_fail)
{
	char *mem = self->mem, *half = mem + MEM_SIZE / 2;
	uint64_t start;

	ASSERT_EQ(0, spapr_register(self->c, mem, MEM_SIZE / 2));
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 1, &start));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, start, half, PAGE_64K, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, start, half - PAGE_64K, 2 * PAGE_64K, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, start, mem - PAGE_64K, PAGE_64K, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, start, NULL, PAGE_64K, MAP_RW));
	EXPECT_EQ(0, spapr_unregister(self->c, mem, MEM_SIZE / 2));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, start, mem, PAGE_64K, MAP_RW));
}

/* Nothing is put off: when the call returns, the memory is free and not charged. */
TEST_F(v2, R5_R6_unregister_lets_go_before_it_returns)
{
	const unsigned long sizes[] = { PAGE_64K, 3 * PAGE_64K, MB, MEM_SIZE };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ASSERT_EQ(0, spapr_register(self->c, self->mem, sizes[i]));
		EXPECT_EQ(self->st.vmlck + (long)(sizes[i] / KB), spapr_vmlck_kb());
		EXPECT_EQ(self->st.pins + (long)(sizes[i] / PAGE_64K), spapr_pins_held());
		ASSERT_EQ(0, spapr_unregister(self->c, self->mem, sizes[i]));
		EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
		EXPECT_EQ(self->st.pins, spapr_pins_held());
	}
}

/* The process may unmap and map anew; the device keeps what was registered. */
TEST_F(v2, memory_unmapped_by_its_process_stays_pinned)
{
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_map(self->c, 0, self->mem, MEM_SIZE, MAP_RW));
	ASSERT_EQ(0, munmap(self->mem, MEM_SIZE));
	EXPECT_EQ(self->st.pins + (long)(MEM_SIZE / PAGE_64K), spapr_pins_held());
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, self->mem, MEM_SIZE));
	EXPECT_EQ(0, spapr_unmap(self->c, 0, MEM_SIZE));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
	EXPECT_EQ(self->st.pins, spapr_pins_held());
	EXPECT_EQ(-EFAULT, spapr_register(self->c, self->mem, MEM_SIZE));
}

#define MANY	16384UL

TEST_F(v2, many_regions)
{
	const size_t size = MANY * PAGE_64K;
	uint64_t start;
	unsigned int i;
	long locked;
	char *mem;

	if (spapr_meminfo_kb("MemAvailable") < (long)((size + 256 * MB) / KB))
		SKIP(return, "not enough memory for %lu regions", MANY);
	mem = spapr_memory(size, MEM_ALIGN);
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, size, 1, &start));
	locked = spapr_vmlck_kb();
	for (i = 0; i < MANY; i++)
		ASSERT_EQ(0, spapr_register(self->c, mem + i * PAGE_64K, PAGE_64K));
	EXPECT_EQ(locked + (long)(size / KB), spapr_vmlck_kb());
	EXPECT_EQ(self->st.pins + (long)MANY, spapr_pins_held());

	ASSERT_EQ(0, spapr_map(self->c, start, mem, size, MAP_RW));
	for (i = 0; i < MANY; i++)
		ASSERT_EQ(-EBUSY, spapr_unregister(self->c, mem + i * PAGE_64K, PAGE_64K));
	EXPECT_EQ(self->st.pins + (long)MANY, spapr_pins_held());
	ASSERT_EQ(0, spapr_unmap(self->c, start, size));
	/* From both ends, so that the tree is taken apart unevenly. */
	for (i = 0; i < MANY; i++)
		ASSERT_EQ(0, spapr_unregister(self->c, mem + PAGE_64K *
					      (i % 2 ? MANY - 1 - i / 2 : i / 2), PAGE_64K));
	EXPECT_EQ(locked, spapr_vmlck_kb());
	EXPECT_EQ(self->st.pins, spapr_pins_held());
}

/* ---- processes that do not clean up ---- */

#define CYCLES		1000
#define WARM_UP		20
#define LOST_KB		(64L << 10)	/* four of the 1000 cycles */
#define LOST_SLAB_KB	(4L << 10)

/* How far the children came, in memory shared with them. */
struct progress {
	int broken;
	int busy;
};

static void live_and_die(struct progress *progress, const struct spapr_device *dev)
{
	char *mem = spapr_memory(MEM_SIZE, MEM_ALIGN);
	struct spapr_setup s;
	uint64_t start;

	if (spapr_setup(&s, dev, VFIO_SPAPR_TCE_v2_IOMMU) ||
	    spapr_register(s.container, mem, MEM_SIZE) ||
	    spapr_create(s.container, SHIFT_64K, WIN_SIZE, 2, &start) ||
	    spapr_map(s.container, start, mem, MEM_SIZE, MAP_RW) ||
	    spapr_unregister(s.container, mem, MEM_SIZE) != -EBUSY)
		__atomic_add_fetch(&progress->broken, 1, __ATOMIC_RELAXED);
	else
		__atomic_add_fetch(&progress->busy, 1, __ATOMIC_RELAXED);
	_exit(0);
}

static bool memory_is_back(const struct spapr_state *st, long free_kb, long slab_kb)
{
	return spapr_pins_held() == st->pins &&
	       spapr_meminfo_kb("MemFree") >= free_kb - LOST_KB &&
	       spapr_meminfo_kb("Slab") <= slab_kb + LOST_SLAB_KB;
}

TEST_F(v2, R1_C12_a_thousand_deaths)
{
	struct progress *progress = mmap(NULL, PAGE_64K, PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	long free_kb = 0, slab_kb = 0;
	int i, tries;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, progress);
	spapr_teardown(&self->st.s);
	srandom(20150609);
	for (i = 0; i < CYCLES + WARM_UP; i++) {
		if (i == WARM_UP) {
			free_kb = spapr_meminfo_kb("MemFree");
			slab_kb = spapr_meminfo_kb("Slab");
		}
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			live_and_die(progress, &self->st.dev[0]);
		if (i % 2) {
			usleep(random() % 50000);
			kill(pid, SIGKILL);
		}
		ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	}
	for (tries = 0; tries < 300 && !memory_is_back(&self->st, free_kb, slab_kb); tries++)
		usleep(100000);
	TH_LOG("%d of %d children got as far as EBUSY; MemFree %ld -> %ld kB, Slab %ld -> %ld kB",
	       progress->busy, CYCLES + WARM_UP, free_kb, spapr_meminfo_kb("MemFree"), slab_kb,
	       spapr_meminfo_kb("Slab"));
	EXPECT_EQ(0, progress->broken);
	EXPECT_LE(CYCLES / 2, progress->busy);
	EXPECT_TRUE(memory_is_back(&self->st, free_kb, slab_kb));
	ASSERT_EQ(0, spapr_setup(&self->st.s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
}

/* ---- hugepages ---- */

/*
 * Hugepages end and small pages begin here. On a hash MMU the two cannot share a
 * terabyte.
 */
#define BORDER		((char *)(16UL << 40))
#define HUGE_PAGES	4

FIXTURE(huge)
{
	struct spapr_state st;
	int c;
	char pool[96];
	long reserved;			/* in the pool before */
	unsigned int shift;
	uint64_t size;
};

static long read_number(const char *path)
{
	FILE *f = fopen(path, "r");
	long n = -1;

	if (f && fscanf(f, "%ld", &n) != 1)
		n = -1;
	if (f)
		fclose(f);
	return n;
}

static int write_number(const char *path, long n)
{
	char text[24];

	snprintf(text, sizeof(text), "%ld", n);
	return spapr_write_file(path, text);
}

/* The smallest hugepage that is an IOMMU page, too, and its pool; 0 if there is none. */
static unsigned int huge_shift(uint64_t pgsizes, char *pool, size_t len)
{
	unsigned int shift;

	for (shift = SHIFT_64K + 1; shift <= 30; shift++) {
		snprintf(pool, len, "/sys/kernel/mm/hugepages/hugepages-%lukB/nr_hugepages",
			 (1UL << shift) / KB);
		if (pgsizes & (1UL << shift) && !access(pool, W_OK))
			return shift;
	}
	return 0;
}

FIXTURE_SETUP(huge)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);
	struct vfio_iommu_spapr_tce_info info;

	if (why)
		SKIP(return, "%s", why);
	self->c = self->st.s.container;
	ASSERT_EQ(0, spapr_get_info(self->c, &info));
	self->shift = huge_shift(info.ddw.pgsizes, self->pool, sizeof(self->pool));
	if (!self->shift)
		SKIP(return, "no hugepage of the size of an IOMMU page");
	self->size = 1UL << self->shift;
	self->reserved = read_number(self->pool);
	ASSERT_LE(0, self->reserved);
	ASSERT_EQ(0, write_number(self->pool, self->reserved + HUGE_PAGES));
	if (read_number(self->pool) < self->reserved + HUGE_PAGES) {
		write_number(self->pool, self->reserved);
		SKIP(return, "no memory for %d hugepages of %lu kB", HUGE_PAGES, self->size / KB);
	}
}

FIXTURE_TEARDOWN(huge)
{
	EXPECT_TRUE(state_end(&self->st));
	munmap(BORDER - 2 * self->size, 3 * self->size);
	EXPECT_EQ(0, write_number(self->pool, self->reserved));
	EXPECT_EQ(self->reserved, read_number(self->pool));
}

/* Hugepages in front of the border. */
static char *map_huge(unsigned int shift, unsigned int n)
{
	char *va = mmap(BORDER - (n << shift), n << shift, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			MAP_ANONYMOUS | MAP_HUGETLB | MAP_FIXED_NOREPLACE | shift << 26, -1, 0);

	if (va != MAP_FAILED)
		memset(va, 0x5a, n << shift);
	return va;
}

/* One page over and over behind the border: never next to itself in physical memory. */
static bool map_small(uint64_t size)
{
	int fd = memfd_create("small", 0);
	bool ok = fd >= 0 && !ftruncate(fd, PAGE_64K);
	uint64_t at;

	for (at = 0; ok && at < size; at += PAGE_64K)
		ok = mmap(BORDER + at, PAGE_64K, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) == BORDER + at;
	if (fd >= 0)
		close(fd);
	return ok;
}

TEST_F(huge, R3_T10_hugepages_followed_by_small_pages)
{
	const uint64_t size = self->size;
	char *huge = map_huge(self->shift, 1);
	uint64_t start;

	ASSERT_EQ(BORDER - size, huge);
	ASSERT_TRUE(map_small(size));
	ASSERT_EQ(0, spapr_register(self->c, huge, 2 * size));
	ASSERT_EQ(0, spapr_create(self->c, self->shift, WIN_SIZE, 1, &start));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, start, huge, 2 * size, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, start, BORDER, size, MAP_RW));
	/* Small IOMMU pages reach all of it: those of the default window. */
	EXPECT_EQ(0, spapr_map(self->c, 0, huge, 2 * size, MAP_RW));
	EXPECT_EQ(0, spapr_unmap(self->c, 0, 2 * size));
	/* Nothing was mapped by what was refused. */
	EXPECT_EQ(0, spapr_unregister(self->c, huge, 2 * size));
	/* Apart from each other, each is what it is. */
	ASSERT_EQ(0, spapr_register(self->c, huge, size));
	ASSERT_EQ(0, spapr_register(self->c, BORDER, size));
	EXPECT_EQ(0, spapr_map(self->c, start, huge, size, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, start, BORDER, size, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, start, huge, 2 * size, MAP_RW));
	EXPECT_EQ(0, spapr_unregister(self->c, BORDER, size));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, huge, size));
}

TEST_F(huge, hugepages_take_IOMMU_pages_of_their_size)
{
	const uint64_t size = self->size;
	char *huge = map_huge(self->shift, 2);
	uint64_t start;

	ASSERT_EQ(BORDER - 2 * size, huge);
	ASSERT_EQ(0, spapr_register(self->c, huge, 2 * size));
	EXPECT_EQ(self->st.vmlck + (long)(2 * size / KB), spapr_vmlck_kb());
	ASSERT_EQ(0, spapr_create(self->c, self->shift, WIN_SIZE, 1, &start));
	EXPECT_EQ(0, spapr_map(self->c, start, huge, 2 * size, MAP_RW));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, huge, 2 * size));
	/* Half of an IOMMU page is no page. */
	EXPECT_EQ(-EINVAL, spapr_map(self->c, start, huge + size / 2, size, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_unmap(self->c, start, size / 2));
	EXPECT_EQ(0, spapr_unmap(self->c, start, 2 * size));
	EXPECT_EQ(0, spapr_unregister(self->c, huge, 2 * size));
}

TEST_HARNESS_MAIN
