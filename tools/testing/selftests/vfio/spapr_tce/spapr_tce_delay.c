// SPDX-License-Identifier: GPL-2.0
/*
 * A call that takes long delays nobody: neither one that is stopped while it pins, by a
 * page that user space provides when it likes (userfaultfd), nor one that pins or lets go
 * of much memory.
 *
 * SPAPR_TCE_LONG_MB	how much memory that is (32768 pages, which are 2 GiB where a page has
 *			64K, or less where memory is short)
 *
 * Nothing here measures time: an emulated processor may be stopped at any moment. What
 * counts is how much work a long call has done between two short ones, how many short
 * ones came through meanwhile, and how often their thread had to sleep.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/userfaultfd.h>

#include "fixture.h"
#include "lib/watch.h"

/* ---- a call that is stopped while it pins ---- */

#define HELD_PAGES	1024UL
#define HOLE		600UL	/* this one is missing: behind the first batch of pages */

struct held {
	int (*call)(struct held *held);
	int c;
	int uffd;
	char *mem;
	size_t size;
	char *hole;
	int ret;
	pid_t tid;
	pthread_t thread;
};

static int held_register(struct held *held)
{
	return spapr_register(held->c, held->mem, held->size);
}

static int held_v1_map(struct held *held)
{
	return spapr_map(held->c, MEM_SIZE, held->mem, held->size, MAP_RW);
}

static void *held_run(void *arg)
{
	struct held *held = arg;

	__atomic_store_n(&held->tid, syscall(SYS_gettid), __ATOMIC_RELEASE);
	held->ret = held->call(held);
	return NULL;
}

static int held_v1_map_0(struct held *held)
{
	return spapr_map(held->c, 0, held->mem, held->size, MAP_RW);
}

static int held_v1_disable(struct held *held)
{
	return spapr_ioctl(held->c, VFIO_IOMMU_DISABLE, NULL);
}

/* User space is asked for the page of the hole. */
static int held_hole(struct held *held, unsigned long pages)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	held->hole = held->mem + pages * spapr_page_size();
	held->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (held->uffd < 0)
		return -errno;
	range.range.start = (uintptr_t)held->hole;
	range.range.len = spapr_page_size();
	if (ioctl(held->uffd, UFFDIO_API, &api) || ioctl(held->uffd, UFFDIO_REGISTER, &range))
		return -errno;
	return 0;
}

/* Base pages, populated but for the hole. */
static int held_memory(struct held *held)
{
	long page = spapr_page_size();

	held->size = HELD_PAGES * page;
	held->mem = mmap(NULL, held->size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (held->mem == MAP_FAILED)
		return -errno;
	if (spapr_thp_size())
		madvise(held->mem, held->size, MADV_NOHUGEPAGE);
	memset(held->mem, 1, HOLE * page);
	memset(held->mem + (HOLE + 1) * page, 1, held->size - (HOLE + 1) * page);
	return held_hole(held, HOLE);
}

static int held_start(struct held *held, int c, int (*call)(struct held *held))
{
	held->c = c;
	held->call = call;
	held->tid = 0;
	return pthread_create(&held->thread, NULL, held_run, held) ? -ENOMEM : 0;
}

/* As held_begin(), with memory and a hole. */
static int held_begin_there(struct held *held, int c, int (*call)(struct held *held))
{
	struct pollfd asked = { .events = POLLIN };
	struct uffd_msg msg;

	if (held_start(held, c, call))
		return -ENOMEM;
	asked.fd = held->uffd;
	if (poll(&asked, 1, WATCH_PATIENCE * 1000) != 1)
		return -ETIMEDOUT;
	if (read(held->uffd, &msg, sizeof(msg)) != sizeof(msg) ||
	    msg.event != UFFD_EVENT_PAGEFAULT)
		return -EIO;
	return 0;
}

/* Returns when @call is stopped in the middle of its work. */
static int held_begin(struct held *held, int c, int (*call)(struct held *held))
{
	return held_memory(held) ?: held_begin_there(held, c, call);
}

/* The page comes; returns what the call does. */
static int held_end(struct held *held)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)held->hole, .src = (uintptr_t)held->mem,
		.len = spapr_page_size(),
	};

	if (ioctl(held->uffd, UFFDIO_COPY, &copy))
		return -errno;
	pthread_join(held->thread, NULL);
	close(held->uffd);
	return held->ret;
}

/* There will never be a page; returns what the call does. */
static int held_fail(struct held *held)
{
	struct uffdio_range range = { .start = (uintptr_t)held->hole };

	range.len = spapr_page_size();
	if (munmap(held->hole, spapr_page_size()))
		return -errno;
	ioctl(held->uffd, UFFDIO_WAKE, &range);
	close(held->uffd);
	pthread_join(held->thread, NULL);
	return held->ret;
}

/* Until thread @tid sleeps without a chance for a mere signal to wake it. */
static bool wait_asleep(const pid_t *tid)
{
	char path[64], text[256], *state;
	ssize_t n;
	int tries, fd;

	for (tries = 0; tries < WATCH_PATIENCE * 50; tries++, usleep(20000)) {
		snprintf(path, sizeof(path), "/proc/self/task/%d/stat",
			 __atomic_load_n(tid, __ATOMIC_ACQUIRE));
		fd = open(path, O_RDONLY);
		n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
		close(fd);
		text[n < 0 ? 0 : n] = '\0';
		state = strrchr(text, ')');
		if (state && state[1] == ' ' && state[2] == 'D')
			return true;
	}
	return false;
}

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
	second->c = c;
	second->tid = 0;
	if (pthread_create(&second->thread, NULL, held_run, second))
		return -ENOMEM;
	return wait_asleep(&second->tid) ? 0 : -ETIMEDOUT;
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
	const long slack = 10 * HOLE * spapr_page_size() / KB / 3;
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

CONTAINER_FIXTURE(v1, VFIO_SPAPR_TCE_IOMMU,
		  ASSERT_EQ(0, watch_begin());
		  ASSERT_EQ(0, spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL)))

TEST_F(v1, other_calls_return_while_a_map_is_stopped)
{
	struct vfio_iommu_spapr_tce_info info;
	struct held held;

	ASSERT_EQ(0, held_begin(&held, self->c, held_v1_map));
	EXPECT_LE(self->st.pins + (long)HOLE, spapr_pins_held());
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

TEST_F(v1, C18_disable_waits_for_a_stopped_map)
{
	struct vfio_iommu_spapr_tce_info info;
	struct held held, disable;
	long vmlck;

	ASSERT_EQ(0, spapr_get_info(self->c, &info));
	ASSERT_EQ(0, held_begin(&held, self->c, held_v1_map));
	vmlck = spapr_vmlck_kb();
	ASSERT_EQ(0, held_start(&disable, self->c, held_v1_disable));
	EXPECT_TRUE(wait_asleep(&disable.tid));
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
TEST_F(v1, C18_stopped_maps_pin_no_more_than_the_window)
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
	EXPECT_TRUE(wait_asleep(&second.tid));
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

/* ---- much memory ---- */

#define CHUNK		512	/* pages that the kernel pins, or lets go, in one go */
#define CHUNKS		4	/* how many may pass between two looks */
#define MAX_LOOKS	100000

/*
 * A thread that maps and unmaps a page over and over, and looks how far the long call
 * is: on a processor of its own after every few pairs, on that of the long call after
 * each. There it goes first whenever it wakes up, but the kernel only switches where the
 * long call offers it.
 */
struct mapper {
	int c;
	char *mem;
	uint64_t base;
	bool same_cpu;
	const char *counter;	/* the work of the long call, in pages */
	bool over;
	int bad;
	unsigned long pairs;
	unsigned long slept;	/* pairs in which the thread had to wait */
	unsigned long looks;
	long seen[MAX_LOOKS];
};

static int run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static long times_slept(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

/* A counter in the open file @vmstat; quick, and without what processors still keep. */
static long look(int vmstat, const char *counter)
{
	char text[4096], *found;
	ssize_t n = pread(vmstat, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return -1;
	text[n] = '\0';
	found = strstr(text, counter);
	return found ? atol(found + strlen(counter)) : -1;
}

static bool is_over(const struct mapper *m)
{
	return __atomic_load_n(&m->over, __ATOMIC_ACQUIRE) || m->looks >= MAX_LOOKS;
}

static void *mapper_run(void *arg)
{
	const struct timespec moment = { .tv_nsec = 20000 };
	const struct sched_param first = { .sched_priority = 1 };
	int vmstat = open("/proc/vmstat", O_RDONLY);
	struct mapper *m = arg;
	long slept;

	m->bad = run_on(!m->same_cpu);
	if (m->same_cpu)
		m->bad |= sched_setscheduler(0, SCHED_FIFO, &first);
	while (!is_over(m)) {
		if (m->same_cpu)
			nanosleep(&moment, NULL);
		slept = times_slept();
		m->bad |= spapr_map(m->c, m->base, m->mem, PAGE_64K, MAP_RW);
		m->bad |= spapr_unmap(m->c, m->base, PAGE_64K);
		m->slept += times_slept() != slept;
		__atomic_store_n(&m->pairs, m->pairs + 1, __ATOMIC_RELEASE);
		if (!m->same_cpu && m->pairs % CHUNKS)
			continue;
		m->seen[m->looks] = look(vmstat, m->counter);
		__atomic_store_n(&m->looks, m->looks + 1, __ATOMIC_RELEASE);
	}
	close(vmstat);
	return NULL;
}

#define LONG_PAGES	32768

FIXTURE(much)
{
	struct spapr_state st;
	struct spapr_setup other;
	struct mapper *m;
	char *mem;
	size_t size;
};

FIXTURE_VARIANT(much)
{
	bool same_cpu;
};

FIXTURE_VARIANT_ADD(much, on_another_processor) { .same_cpu = false };
FIXTURE_VARIANT_ADD(much, on_the_same_processor) { .same_cpu = true };

/* If that leaves enough to live on. */
static size_t much_memory(void)
{
	long most = LONG_PAGES * spapr_page_size() / MB;
	long mb = spapr_meminfo_kb("MemAvailable") / 1024 - 512;

	mb = spapr_env("SPAPR_TCE_LONG_MB", mb > most ? most : mb & -64L);
	return mb < 128 ? 0 : mb * MB;
}

FIXTURE_SETUP(much)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);

	if (why)
		SKIP(return, "%s", why);
	self->size = much_memory();
	self->other.container = -1;
	if (!self->size || sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two processors and 640 MB");
	self->mem = mmap(NULL, self->size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
	if (spapr_thp_size())
		ASSERT_EQ(0, madvise(self->mem, self->size, MADV_NOHUGEPAGE));
	memset(self->mem, 1, self->size);

	self->m = calloc(1, sizeof(*self->m));
	ASSERT_NE(NULL, self->m);
	memset(self->m, 0, sizeof(*self->m));	/* no page faults later on */
	self->m->c = self->st.s.container;
	self->m->mem = self->st.mem;
	self->m->same_cpu = variant->same_cpu;
	ASSERT_EQ(0, spapr_register(self->m->c, self->m->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_create(self->m->c, SHIFT_64K, WIN_SIZE, 2, &self->m->base));
	ASSERT_EQ(0, run_on(0));
}

FIXTURE_TEARDOWN(much)
{
	free(self->m);
	if (self->other.container >= 0)
		spapr_teardown(&self->other);
	EXPECT_TRUE(state_end(&self->st));
}

static int by_number(const void *a, const void *b)
{
	long one = *(const long *)a, two = *(const long *)b;

	return (one > two) - (one < two);
}

/*
 * Whether the long call of @pages pages let enough pairs through: what counts are the
 * looks between @first and @end that saw it in the middle of its work.
 */
static bool judge(struct __test_metadata *_metadata, struct mapper *m, const char *what,
		  unsigned long first, unsigned long end, unsigned long pages)
{
	/* Each processor keeps up to 125 pages to itself before it adds them up. */
	const long slack = 125 * sysconf(_SC_NPROCESSORS_ONLN);
	const long begin = m->seen[first] + slack, done = m->seen[first] + pages - slack;
	unsigned long n = 0, i;
	long *grown;

	while (first + 1 < end && m->seen[first + 1] <= begin)
		first++;
	while (first + n + 1 < end && m->seen[first + n + 1] < done)
		n++;
	grown = &m->seen[first];
	for (i = 0; i < n; i++)
		grown[i] = grown[i + 1] - grown[i];
	qsort(grown, n, sizeof(*grown), by_number);
	TH_LOG("%s of %lu pages: %lu looks, slept %lu; pages between: 50%% %ld, 90%% %ld, all %ld",
	       what, pages, n, m->slept, n ? grown[n / 2] : -1, n ? grown[n * 9 / 10] : -1,
	       n ? grown[n - 1] : -1);
	EXPECT_EQ(0, m->bad);
	EXPECT_GE(4, m->slept);
	return n >= pages / CHUNK / CHUNKS && grown[n * 9 / 10] <= CHUNKS * CHUNK + slack;
}

/*
 * @call works on all the memory while another thread maps and unmaps a page. A busy
 * host may spoil a round, a kernel that lets others wait spoils all.
 */
static bool long_call(struct __test_metadata *_metadata, struct _test_data_much *self,
		      const char *what, const char *counter, int (*call)(struct _test_data_much *))
{
	struct mapper *m = self->m;
	pthread_t mapper;
	unsigned long first, end;
	int ret;

	m->counter = counter;
	m->over = false;
	m->pairs = 0;
	m->slept = 0;
	m->looks = 0;
	ASSERT_EQ(0, pthread_create(&mapper, NULL, mapper_run, m));
	while (!__atomic_load_n(&m->looks, __ATOMIC_ACQUIRE))
		sched_yield();

	first = __atomic_load_n(&m->looks, __ATOMIC_ACQUIRE) - 1;
	ret = call(self);
	end = __atomic_load_n(&m->looks, __ATOMIC_ACQUIRE);
	__atomic_store_n(&m->over, true, __ATOMIC_RELEASE);
	pthread_join(mapper, NULL);
	EXPECT_EQ(0, ret);
	return judge(_metadata, m, what, first, end, self->size / spapr_page_size());
}

static int much_register(struct _test_data_much *self)
{
	return spapr_register(self->m->c, self->mem, self->size);
}

static int much_unregister(struct _test_data_much *self)
{
	return spapr_unregister(self->m->c, self->mem, self->size);
}

static int much_close(struct _test_data_much *self)
{
	spapr_teardown(&self->other);
	return 0;
}

#define TRIES	40

TEST_F(much, R5_register_and_unregister)
{
	bool reg = false, unreg = false;
	int i;

	for (i = 0; i < TRIES && !(reg && unreg); i++) {
		reg |= long_call(_metadata, self, "REGISTER", "nr_foll_pin_acquired",
				 much_register);
		unreg |= long_call(_metadata, self, "UNREGISTER", "nr_foll_pin_released",
				   much_unregister);
	}
	EXPECT_TRUE(reg);
	EXPECT_TRUE(unreg);
}

TEST_F(much, R5_register_of_memory_without_pages)
{
	bool fine = false;
	int i;

	for (i = 0; i < TRIES && !fine; i++) {
		ASSERT_EQ(0, madvise(self->mem, self->size, MADV_DONTNEED));
		fine = long_call(_metadata, self, "REGISTER", "nr_foll_pin_acquired",
				 much_register);
		ASSERT_EQ(0, much_unregister(self));
	}
	EXPECT_TRUE(fine);
}

TEST_F(much, R5_close_of_another_container)
{
	bool fine = false;
	uint64_t start;
	int i;

	if (self->st.ndev < 2)
		SKIP(return, "needs two groups");
	for (i = 0; i < TRIES && !fine; i++) {
		ASSERT_EQ(0, spapr_setup(&self->other, &self->st.dev[1], VFIO_SPAPR_TCE_v2_IOMMU));
		ASSERT_EQ(0, spapr_register(self->other.container, self->mem, self->size));
		ASSERT_EQ(0, spapr_create(self->other.container, SHIFT_4K, 4 * GB, 2, &start));
		ASSERT_EQ(0, spapr_map(self->other.container, start, self->mem, self->size,
				       MAP_RW));
		fine = long_call(_metadata, self, "close", "nr_foll_pin_released", much_close);
	}
	EXPECT_TRUE(fine);
}

TEST_HARNESS_MAIN
