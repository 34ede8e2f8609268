// SPDX-License-Identifier: GPL-2.0
/*
 * Registered memory: what is pinned and charged, and for how long; memory that may not be
 * pinned where it is; many regions; processes that die with memory registered.
 */
#include <fcntl.h>
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

/* ---- pages of CMA, which nobody may hold for long ---- */

#define CMA_SIZE	(32 * MB)
#define CMA_SLACK_KB	(8L << 10)	/* free pages that processors keep, other processes */
#define MAX_PAGES	(CMA_SIZE / (4 * KB))
#define AT_HAND		"/proc/sys/vm/percpu_pagelist_high_fraction"

static long cma_free_kb(void)
{
	spapr_memfree_kb();
	return spapr_meminfo_kb("CmaFree");
}

/* What was given back is free when processors keep it no longer. */
static bool cma_is_free(long kb)
{
	int tries;

	for (tries = 0; tries < 300 && cma_free_kb() < kb - CMA_SLACK_KB; tries++)
		usleep(100000);
	return cma_free_kb() >= kb - CMA_SLACK_KB;
}

/* Where each page of the memory is: frame numbers, out of the entries of pagemap. */
static bool look_up(const char *mem, uint64_t *frames)
{
	const long page = spapr_page_size(), pages = CMA_SIZE / page;
	const ssize_t bytes = pages * sizeof(*frames);
	int fd = open("/proc/self/pagemap", O_RDONLY);
	bool ok = pread(fd, frames, bytes, (uintptr_t)mem / page * sizeof(*frames)) == bytes;
	long i;

	for (i = 0; i < pages; i++)
		frames[i] &= (1UL << 55) - 1;
	close(fd);
	return ok;
}

FIXTURE(cma)
{
	struct spapr_state st;
	int c, device;
	struct nvme nvme;
	char *mem, *copy;
	long free_kb;		/* of CMA, before it had the memory */
	long in_cma;
	long charged, pins;	/* when only the controller's queues are registered */
};

FIXTURE_SETUP(cma)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);
	long at_hand;
	int tries;

	if (why)
		SKIP(return, "%s", why);
	if (cma_free_kb() <= 0)
		SKIP(return, "no free CMA");
	self->c = self->st.s.container;
	self->copy = spapr_memory(CMA_SIZE, MEM_ALIGN);
	ASSERT_EQ(0, spapr_register(self->c, self->st.mem, NVME_QUEUE_MEMORY));
	ASSERT_EQ(0, spapr_map(self->c, 0, self->st.mem, NVME_QUEUE_MEMORY, MAP_RW));
	self->device = spapr_open_device(self->st.s.group, &self->st.dev[0]);
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, nvme_start(&self->nvme, self->device, self->st.mem, 0));
	self->charged = spapr_vmlck_kb();
	self->pins = spapr_pins_held();

	/*
	 * What processors have at hand is served before that, and may be a lot: memory that was
	 * given back comes from there again and again, if they are not told to keep little.
	 */
	at_hand = spapr_read_number(AT_HAND);
	ASSERT_EQ(0, spapr_write_number(AT_HAND, 1000000));
	for (tries = 0; tries < 10; tries++) {
		self->free_kb = cma_free_kb();
		self->mem = spapr_memory(CMA_SIZE, MEM_ALIGN);
		self->in_cma = self->free_kb - cma_free_kb();
		if (self->in_cma >= (long)(CMA_SIZE / KB) - CMA_SLACK_KB)
			break;
		munmap(self->mem, CMA_SIZE);
		usleep(500000);
	}
	ASSERT_EQ(0, spapr_write_number(AT_HAND, at_hand));
	if (tries == 10)
		SKIP(return, "only %ld kB come from CMA: boot with kvm_cma_resv_ratio=60",
		     self->in_cma);
}

FIXTURE_TEARDOWN(cma)
{
	nvme_stop(&self->nvme);
	close(self->device);
	munmap(self->mem, CMA_SIZE);
	munmap(self->copy, CMA_SIZE);
	EXPECT_TRUE(state_end(&self->st));
}

/* CMA serves first where most of the free memory is CMA. */
TEST_F(cma, pages_move_before_they_are_pinned)
{
	const long page = spapr_page_size(), pages = CMA_SIZE / page;
	static uint64_t before[MAX_PAGES], after[MAX_PAGES];
	long i, moved = 0;

	nvme_fill(self->mem, CMA_SIZE);
	memcpy(self->copy, self->mem, CMA_SIZE);
	ASSERT_TRUE(look_up(self->mem, before));
	ASSERT_EQ(0, spapr_register(self->c, self->mem, CMA_SIZE));
	ASSERT_TRUE(look_up(self->mem, after));
	for (i = 0; i < pages; i++)
		moved += before[i] != after[i];
	EXPECT_TRUE(cma_is_free(self->free_kb));
	TH_LOG("%ld kB were in CMA; %ld of %ld pages have moved; CMA has %ld, %ld kB free",
	       self->in_cma, moved, pages, self->free_kb, cma_free_kb());
	EXPECT_LE(CMA_SIZE - CMA_SLACK_KB * KB, moved * page);
	EXPECT_EQ(0, memcmp(self->mem, self->copy, CMA_SIZE));
	EXPECT_EQ(self->charged + (long)(CMA_SIZE / KB), spapr_vmlck_kb());
	EXPECT_EQ(self->pins + pages, spapr_pins_held());

	/* The device reaches them where they are now, the first and the last. */
	ASSERT_EQ(0, spapr_map(self->c, CMA_SIZE, self->mem, CMA_SIZE, MAP_RW));
	EXPECT_TRUE(nvme_round_trip(&self->nvme, self->mem, CMA_SIZE, 0,
				    CMA_SIZE - NVME_ROUND_TRIP));
	EXPECT_EQ(0, memcmp(self->mem + NVME_ROUND_TRIP, self->copy + NVME_ROUND_TRIP,
			    CMA_SIZE - 2 * NVME_ROUND_TRIP));
	EXPECT_EQ(0, spapr_unmap(self->c, CMA_SIZE, CMA_SIZE));
	EXPECT_EQ(0, spapr_unregister(self->c, self->mem, CMA_SIZE));
	EXPECT_EQ(self->charged, spapr_vmlck_kb());
	EXPECT_EQ(self->pins, spapr_pins_held());
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
