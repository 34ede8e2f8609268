// SPDX-License-Identifier: GPL-2.0
/*
 * A call that is stopped while it pins delays nobody, and nothing stays pinned when it fails
 * or its process is killed there.
 *
 * Nothing here measures time: an emulated processor may be stopped at any moment.
 */
#include <pthread.h>
#include <signal.h>

#include "fixture.h"
#include "lib/held.h"
#include "lib/watch.h"

static int held_register(struct held *held)
{
	return spapr_register(held->c, held->mem, held->size);
}

static int held_v1_map(struct held *held)
{
	return spapr_map(held->c, MEM_SIZE, held->mem, held->size, MAP_RW);
}

static int held_v1_map_0(struct held *held)
{
	return spapr_map(held->c, 0, held->mem, held->size, MAP_RW);
}

static int held_v1_disable(struct held *held)
{
	return spapr_ioctl(held->c, VFIO_IOMMU_DISABLE, NULL);
}

/* ---- v2 ---- */

/* A container with two windows and some registered memory, and a second container. */
FIXTURE(held)
{
	struct spapr_state st;
	struct spapr_setup other;
	struct held held;
	int c;
	char *mem;
	uint64_t base;
	long vmlck;
};

FIXTURE_SETUP(held)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, watch_begin());
	self->c = self->st.s.container;
	self->mem = self->st.mem;
	self->other.container = -1;
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE / 2));
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 2, &self->base));
	self->vmlck = spapr_vmlck_kb();
	if (self->st.ndev > 1)
		ASSERT_EQ(0, spapr_setup(&self->other, &self->st.dev[1], VFIO_SPAPR_TCE_v2_IOMMU));
}

FIXTURE_TEARDOWN(held)
{
	if (self->other.container >= 0)
		spapr_teardown(&self->other);
	EXPECT_TRUE(state_end(&self->st));
}

/* What can be done to a container and must not wait. */
static void other_calls(struct __test_metadata *_metadata, int c, char *mem, uint64_t base)
{
	char *more = mem + MEM_SIZE / 2;
	struct vfio_iommu_spapr_tce_info info;
	uint64_t start;

	EXPECT_EQ(0, prompt(spapr_get_info(c, &info)));
	EXPECT_LE(0, prompt(spapr_eeh_op(c, VFIO_EEH_PE_GET_STATE)));
	EXPECT_EQ(0, prompt(spapr_map(c, base, mem, MB, MAP_RW)));
	EXPECT_EQ(0, prompt(spapr_map(c, 0, mem, MB, MAP_RW)));
	EXPECT_EQ(0, prompt(spapr_unmap(c, base, MB)));
	EXPECT_EQ(-EBUSY, prompt(spapr_unregister(c, mem, MEM_SIZE / 2)));
	EXPECT_EQ(0, prompt(spapr_unmap(c, 0, MB)));
	EXPECT_EQ(0, prompt(spapr_register(c, more, MEM_SIZE / 2)));
	EXPECT_EQ(0, prompt(spapr_map(c, base, mem, MEM_SIZE, MAP_RW)));
	EXPECT_EQ(0, prompt(spapr_remove(c, base)));
	EXPECT_EQ(0, prompt(spapr_unregister(c, more, MEM_SIZE / 2)));
	EXPECT_EQ(-ENXIO, prompt(spapr_map(c, base, mem, MB, MAP_RW)));
	EXPECT_EQ(0, prompt(spapr_create(c, SHIFT_64K, WIN_SIZE, 2, &start)));
	EXPECT_EQ(base, start);
	EXPECT_EQ(-ENOSPC, prompt(spapr_create(c, SHIFT_64K, WIN_SIZE, 2, &start)));
}

TEST_F(held, R5_other_calls_return_while_a_register_is_stopped)
{
	ASSERT_EQ(0, held_begin(&self->held, self->c, held_register));
	/* It is where it should be: a batch and more has been pinned. */
	EXPECT_LE(self->st.pins + (long)(MEM_SIZE / 2) / spapr_page_size() + 512,
		  spapr_pins_held());
	other_calls(_metadata, self->c, self->mem, self->base);

	EXPECT_EQ(0, prompt(held_end(&self->held)));
	EXPECT_EQ(self->vmlck + (long)(self->held.size / KB), spapr_vmlck_kb());
	EXPECT_TRUE(all_bytes(self->held.mem, self->held.size, 1));
	EXPECT_EQ(0, spapr_map(self->c, 0, self->held.mem, self->held.size, MAP_RW));
	EXPECT_EQ(0, spapr_unmap(self->c, 0, self->held.size));
	EXPECT_EQ(0, spapr_unregister(self->c, self->held.mem, self->held.size));
	EXPECT_EQ(self->vmlck, spapr_vmlck_kb());
}

TEST_F(held, memory_is_taken_but_not_usable_while_it_is_being_registered)
{
	struct held *held = &self->held;
	long page = spapr_page_size();

	ASSERT_EQ(0, held_begin(held, self->c, held_register));
	EXPECT_EQ(-ENOENT, prompt(spapr_unregister(self->c, held->mem, held->size)));
	EXPECT_EQ(-EBUSY, prompt(spapr_register(self->c, held->mem, held->size)));
	EXPECT_EQ(-EBUSY, prompt(spapr_register(self->c, held->mem, page)));
	EXPECT_EQ(-EINVAL, prompt(spapr_register(self->c, held->mem + page, page)));
	EXPECT_EQ(-EINVAL, prompt(spapr_map(self->c, 0, held->mem, page, MAP_RW)));
	EXPECT_EQ(-EINVAL, prompt(spapr_map(self->c, 0, held->mem, held->size, MAP_RW)));

	EXPECT_EQ(0, prompt(held_end(held)));
	EXPECT_EQ(0, spapr_map(self->c, 0, held->mem, held->size, MAP_RW));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, held->mem, held->size));
	EXPECT_EQ(0, spapr_unmap(self->c, 0, held->size));
	EXPECT_EQ(0, spapr_unregister(self->c, held->mem, held->size));
}

TEST_F(held, a_stopped_register_that_fails_takes_everything_back)
{
	long pins = spapr_pins_held();

	ASSERT_EQ(0, held_begin(&self->held, self->c, held_register));
	other_calls(_metadata, self->c, self->mem, self->base);
	EXPECT_EQ(-EFAULT, prompt(held_fail(&self->held)));
	EXPECT_EQ(pins, spapr_pins_held());
	EXPECT_EQ(self->vmlck, spapr_vmlck_kb());
	EXPECT_EQ(-ENOENT, spapr_unregister(self->c, self->held.mem, self->held.size));
	EXPECT_EQ(0, spapr_register(self->c, self->held.mem, spapr_page_size()));
	EXPECT_EQ(0, spapr_unregister(self->c, self->held.mem, spapr_page_size()));
}

TEST_F(held, R5_I12_groups_join_and_leave_while_a_register_is_stopped)
{
	int group;

	if (self->other.container < 0)
		SKIP(return, "needs two groups");
	spapr_teardown(&self->other);
	ASSERT_EQ(0, held_begin(&self->held, self->c, held_register));
	group = spapr_open_group(&self->st.dev[1]);
	ASSERT_LE(0, group);
	EXPECT_EQ(0, prompt(spapr_set_container(group, self->c)));
	other_calls(_metadata, self->c, self->mem, self->base);
	EXPECT_EQ(0, prompt(spapr_unset_container(group)));
	other_calls(_metadata, self->c, self->mem, self->base);
	close(group);
	EXPECT_EQ(0, prompt(held_end(&self->held)));
}

/* A second container waits for the same memory; nobody else waits for either. */
static int second_begin(struct held *second, const struct held *held, int c)
{
	*second = *held;
	if (held_start(second, c, held->call))
		return -ENOMEM;
	return held_sleeps(second) ? 0 : -ETIMEDOUT;
}

TEST_F(held, R5_two_containers_register_the_same)
{
	struct held second;

	if (self->other.container < 0)
		SKIP(return, "needs two groups");
	ASSERT_EQ(0, held_begin(&self->held, self->c, held_register));
	ASSERT_EQ(0, second_begin(&second, &self->held, self->other.container));
	other_calls(_metadata, self->c, self->mem, self->base);
	ASSERT_EQ(0, prompt(spapr_register(self->other.container, self->mem, MEM_SIZE / 2)));
	EXPECT_EQ(-ENOENT, prompt(spapr_unregister(second.c, second.mem, second.size)));

	EXPECT_EQ(0, prompt(held_end(&self->held)));
	EXPECT_EQ(0, prompt(pthread_join(second.thread, NULL)));
	EXPECT_EQ(0, second.ret);
	EXPECT_EQ(self->vmlck + (long)(self->held.size / KB), spapr_vmlck_kb());
	EXPECT_EQ(0, spapr_unregister(self->c, self->held.mem, self->held.size));
	EXPECT_EQ(self->vmlck + (long)(self->held.size / KB), spapr_vmlck_kb());
	EXPECT_EQ(0, spapr_unregister(second.c, second.mem, second.size));
	EXPECT_EQ(self->vmlck, spapr_vmlck_kb());
}

TEST_F(held, the_second_container_tries_by_itself_when_the_first_fails)
{
	struct held second;

	if (self->other.container < 0)
		SKIP(return, "needs two groups");
	ASSERT_EQ(0, held_begin(&self->held, self->c, held_register));
	ASSERT_EQ(0, second_begin(&second, &self->held, self->other.container));
	EXPECT_EQ(-EFAULT, prompt(held_fail(&self->held)));
	EXPECT_EQ(0, prompt(pthread_join(second.thread, NULL)));
	EXPECT_EQ(-EFAULT, second.ret);
	EXPECT_EQ(self->vmlck, spapr_vmlck_kb());
}

/* The other container of the process is not concerned at all. */
TEST_F(held, another_container_is_used_and_closed_while_a_register_is_stopped)
{
	int other = self->other.container;
	uint64_t start;

	if (other < 0)
		SKIP(return, "needs two groups");
	ASSERT_EQ(0, held_begin(&self->held, self->c, held_register));
	EXPECT_EQ(0, prompt(spapr_register(other, self->mem + MEM_SIZE / 2, MEM_SIZE / 2)));
	EXPECT_EQ(0, prompt(spapr_create(other, SHIFT_64K, WIN_SIZE, 2, &start)));
	EXPECT_EQ(0, prompt(spapr_map(other, start, self->mem, MEM_SIZE, MAP_RW)));
	prompt((spapr_teardown(&self->other), 0));
	EXPECT_EQ(0, prompt(spapr_setup(&self->other, &self->st.dev[1], VFIO_SPAPR_TCE_v2_IOMMU)));
	EXPECT_EQ(0, prompt(held_end(&self->held)));
}

/* ---- killed while stopped ---- */

/* A process with @call stopped, that has written a byte into @ready by then. */
static pid_t held_process(const struct spapr_state *st, int type, int (*call)(struct held *held),
			  int ready)
{
	struct held held = { }, second;
	struct spapr_setup s[2];
	uint64_t start;
	pid_t pid = fork();
	bool fine;

	if (pid)
		return pid;
	fine = !spapr_setup(&s[0], &st->dev[0], type);
	if (type == VFIO_SPAPR_TCE_IOMMU)
		fine = fine && !spapr_ioctl(s[0].container, VFIO_IOMMU_ENABLE, NULL);
	else
		fine = fine && !spapr_register(s[0].container, st->mem, MEM_SIZE / 2) &&
		       !spapr_create(s[0].container, SHIFT_64K, WIN_SIZE, 2, &start);
	fine = fine && !spapr_map(s[0].container, 0, st->mem, MB, MAP_RW) &&
	       !held_begin(&held, s[0].container, call);
	if (fine && st->ndev > 1 && type == VFIO_SPAPR_TCE_v2_IOMMU)
		fine = !spapr_setup(&s[1], &st->dev[1], type) &&
		       !second_begin(&second, &held, s[1].container);
	if (!fine || write(ready, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void killed_while_stopped(struct __test_metadata *_metadata, struct spapr_state *st,
				 int type, int (*call)(struct held *held))
{
	/* A third of what ten processes pin; allocators and KASAN keep some of what is free. */
	const long slack = 10 * HELD_HOLE * spapr_page_size() / KB / 3;
	long memfree = 0, pins = st->pins;
	int ready[2], round;
	pid_t pid;
	char byte;

	ASSERT_EQ(0, pipe(ready));
	for (round = 0; round < 13; round++) {
		if (round == 3)
			memfree = spapr_memfree_kb();
		pid = held_process(st, type, call, ready[1]);
		ASSERT_LT(0, pid);
		EXPECT_EQ(1, prompt(read(ready[0], &byte, 1)));
		EXPECT_LT(pins, spapr_pins_held());
		kill(pid, SIGKILL);
		EXPECT_EQ(pid, prompt(waitpid(pid, NULL, 0)));
		EXPECT_EQ(pins, pins_settled(pins));
	}
	for (round = 0; round < 500 && spapr_memfree_kb() < memfree - slack; round++)
		usleep(20000);
	EXPECT_LE(memfree - slack, spapr_memfree_kb());
}

TEST_F(held, C12_killed_while_a_register_is_stopped)
{
	if (self->other.container >= 0)
		spapr_teardown(&self->other);
	EXPECT_TRUE(state_end(&self->st));
	killed_while_stopped(_metadata, &self->st, VFIO_SPAPR_TCE_v2_IOMMU, held_register);
	ASSERT_EQ(0, spapr_setup(&self->st.s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
}

/* ---- v1 ---- */

CONTAINER_FIXTURE(v1, VFIO_SPAPR_TCE_IOMMU,
		  ASSERT_EQ(0, watch_begin());
		  ASSERT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL)))

TEST_F(v1, other_calls_return_while_a_map_is_stopped)
{
	struct vfio_iommu_spapr_tce_info info;
	struct held held;

	ASSERT_EQ(0, held_begin(&held, self->c, held_v1_map));
	EXPECT_LE(self->st.pins + (long)HELD_HOLE, spapr_pins_held());
	EXPECT_EQ(0, prompt(spapr_get_info(self->c, &info)));
	EXPECT_LE(0, prompt(spapr_eeh_op(self->c, VFIO_EEH_PE_GET_STATE)));
	EXPECT_EQ(0, prompt(spapr_map(self->c, 0, self->mem, MB, MAP_RW)));
	EXPECT_EQ(0, prompt(spapr_map(self->c, 0, self->mem + MB, MB, MAP_RW)));
	EXPECT_EQ(0, prompt(spapr_unmap(self->c, 0, MB)));
	/* Its own range is not changed yet; what others do there now counts for nothing. */
	EXPECT_EQ(0, prompt(spapr_map(self->c, MEM_SIZE, self->mem, MB, MAP_RW)));
	EXPECT_EQ(0, prompt(held_end(&held)));
	EXPECT_EQ(0, spapr_unmap(self->c, MEM_SIZE, held.size));
	EXPECT_EQ(self->st.pins, spapr_pins_held());
}

TEST_F(v1, a_stopped_map_that_fails_takes_everything_back)
{
	struct held held;

	ASSERT_EQ(0, held_begin(&held, self->c, held_v1_map));
	EXPECT_EQ(-EFAULT, prompt(held_fail(&held)));
	EXPECT_EQ(self->st.pins, spapr_pins_held());
}

TEST_F(v1, C9_disable_waits_for_a_stopped_map)
{
	struct vfio_iommu_spapr_tce_info info;
	struct held held, disable;
	long vmlck;

	ASSERT_EQ(0, spapr_get_info(self->c, &info));
	ASSERT_EQ(0, held_begin(&held, self->c, held_v1_map));
	vmlck = spapr_vmlck_kb();
	ASSERT_EQ(0, held_start(&disable, self->c, held_v1_disable));
	EXPECT_TRUE(held_sleeps(&disable));
	/* What it has pinned is charged yet. */
	EXPECT_EQ(vmlck, spapr_vmlck_kb());
	EXPECT_EQ(-EPERM, prompt(spapr_map(self->c, 0, self->mem, MB, MAP_RW)));
	EXPECT_EQ(-EPERM, prompt(held_end(&held)));
	pthread_join(disable.thread, NULL);
	EXPECT_EQ(0, disable.ret);
	EXPECT_EQ(self->st.pins, spapr_pins_held());
	EXPECT_EQ(vmlck - (long)(info.dma32_window_size / KB), spapr_vmlck_kb());
	EXPECT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL));
	EXPECT_EQ(vmlck, spapr_vmlck_kb());
}

#define PIECE	(16 * MB)

/* As many addresses as @size, the same memory over and over. */
static char *much_of(struct __test_metadata *_metadata, size_t size)
{
	int fd = memfd_create("piece", MFD_CLOEXEC);
	char *mem = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, PIECE));
	ASSERT_NE(MAP_FAILED, mem);
	for (i = 0; i < size; i += PIECE)
		ASSERT_NE(MAP_FAILED, mmap(mem + i, PIECE, PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_FIXED, fd, 0));
	close(fd);
	return mem;
}

/* Two MAPs of more than half a window: the second pins nothing before the first is through. */
TEST_F(v1, C9_stopped_maps_pin_no_more_than_the_window)
{
	const long page = spapr_page_size();
	struct vfio_iommu_spapr_tce_info info;
	struct held first, second;

	ASSERT_EQ(0, spapr_get_info(self->c, &info));
	first.size = info.dma32_window_size / 8 * 5;
	second.size = first.size;
	first.mem = much_of(_metadata, first.size);
	second.mem = first.mem;
	ASSERT_NE(MAP_FAILED, mmap(first.mem + first.size - page, page, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	ASSERT_EQ(0, held_hole(&first, first.size / page - 1));
	ASSERT_EQ(0, held_begin_there(&first, self->c, held_v1_map_0));
	ASSERT_EQ(0, held_start(&second, self->c, held_v1_map_0));
	EXPECT_TRUE(held_sleeps(&second));
	EXPECT_GE(self->st.pins + (long)(info.dma32_window_size / (4 * KB)), spapr_pins_held());
	/* Whoever needs less need not wait. */
	EXPECT_EQ(0, prompt(spapr_map(self->c, 0, self->mem, MB, MAP_RW)));
	EXPECT_EQ(0, held_end(&first));
	pthread_join(second.thread, NULL);
	EXPECT_EQ(0, second.ret);
	EXPECT_EQ(0, spapr_unmap(self->c, 0, first.size));
	EXPECT_EQ(self->st.pins, spapr_pins_held());
	munmap(first.mem, first.size);
}

TEST_F(v1, C12_killed_while_a_map_is_stopped)
{
	EXPECT_TRUE(state_end(&self->st));
	killed_while_stopped(_metadata, &self->st, VFIO_SPAPR_TCE_IOMMU, held_v1_map);
	ASSERT_EQ(0, spapr_setup(&self->st.s, &self->st.dev[0], VFIO_SPAPR_TCE_IOMMU));
}

TEST_HARNESS_MAIN
