// SPDX-License-Identifier: GPL-2.0
/*
 * Registered memory: what is pinned and charged, and for how long; many regions;
 * processes that die with memory registered.
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
	const long page = spapr_page_size();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ASSERT_EQ(0, spapr_register(self->c, self->mem, sizes[i]));
		EXPECT_EQ(self->st.vmlck + (long)(sizes[i] / KB), spapr_vmlck_kb());
		EXPECT_EQ(self->st.pins + (long)sizes[i] / page, spapr_pins_held());
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
	EXPECT_EQ(self->st.pins + (long)MEM_SIZE / spapr_page_size(), spapr_pins_held());
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
	const long pages = size / spapr_page_size();
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
	EXPECT_EQ(self->st.pins + pages, spapr_pins_held());

	ASSERT_EQ(0, spapr_map(self->c, start, mem, size, MAP_RW));
	for (i = 0; i < MANY; i++)
		ASSERT_EQ(-EBUSY, spapr_unregister(self->c, mem + i * PAGE_64K, PAGE_64K));
	EXPECT_EQ(self->st.pins + pages, spapr_pins_held());
	ASSERT_EQ(0, spapr_unmap(self->c, start, size));
	/* From both ends, so that the tree is taken apart unevenly. */
	for (i = 0; i < MANY; i++)
		ASSERT_EQ(0, spapr_unregister(self->c, mem + PAGE_64K *
					      (i % 2 ? MANY - 1 - i / 2 : i / 2), PAGE_64K));
	EXPECT_EQ(locked, spapr_vmlck_kb());
	EXPECT_EQ(self->st.pins, spapr_pins_held());
	munmap(mem, size);
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

static bool all_is_back(const struct spapr_state *st, long free_kb, long slab_kb)
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
	for (tries = 0; tries < 300 && !all_is_back(&self->st, free_kb, slab_kb); tries++)
		usleep(100000);
	TH_LOG("%d of %d children got as far as EBUSY; MemFree %ld -> %ld kB, Slab %ld -> %ld kB",
	       progress->busy, CYCLES + WARM_UP, free_kb, spapr_meminfo_kb("MemFree"), slab_kb,
	       spapr_meminfo_kb("Slab"));
	EXPECT_EQ(0, progress->broken);
	EXPECT_LE(CYCLES / 2, progress->busy);
	EXPECT_TRUE(all_is_back(&self->st, free_kb, slab_kb));
	ASSERT_EQ(0, spapr_setup(&self->st.s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
}

TEST_HARNESS_MAIN
