// SPDX-License-Identifier: GPL-2.0
/*
 * Groups that leave, and devices that are unbound or taken off their bus, while calls are at
 * work on them that take long: nobody waits for the other, and nothing stays behind.
 */
#include <pthread.h>

#include "fixture.h"
#include "lib/storm.h"
#include "lib/watch.h"

#define RESETTERS	3	/* so many hit an unbind at its first try when it waits for them */
#define THREADS		(RESETTERS + 2)

struct worker {
	int c;
	char *mem;
	void (*work)(struct worker *worker);
	unsigned long rounds;
	bool stop;
	pthread_t thread;
};

static void *worker_run(void *arg)
{
	struct worker *worker = arg;

	while (!__atomic_load_n(&worker->stop, __ATOMIC_RELAXED)) {
		__atomic_add_fetch(&worker->rounds, 1, __ATOMIC_RELAXED);
		worker->work(worker);
	}
	return NULL;
}

/* What becomes of the calls is not the matter, only that they return. */
static void reset(struct worker *worker)
{
	spapr_eeh_op(worker->c, VFIO_EEH_PE_RESET_HOT);
	spapr_eeh_op(worker->c, VFIO_EEH_PE_RESET_DEACTIVATE);
}

/*
 * All but resets: the PCI core's locking of a bus for a reset does not know of devices that
 * are taken off it meanwhile.
 */
static void ask(struct worker *worker)
{
	spapr_eeh_op(worker->c, VFIO_EEH_PE_GET_STATE);
	spapr_eeh_op(worker->c, VFIO_EEH_PE_UNFREEZE_DMA);
	spapr_eeh_op(worker->c, VFIO_EEH_PE_CONFIGURE);
}

static void map_and_unmap(struct worker *worker)
{
	spapr_map(worker->c, 0, worker->mem, PAGE_64K, MAP_RW);
	spapr_unmap(worker->c, 0, PAGE_64K);
}

static void make_and_remove(struct worker *worker)
{
	uint64_t start;

	if (spapr_create(worker->c, SHIFT_64K, WIN_SIZE, 2, &start))
		return;
	spapr_map(worker->c, start, worker->mem, MEM_SIZE, MAP_RW);
	spapr_remove(worker->c, start);
}

static int workers_begin(struct worker *workers, int c, char *mem,
			 void (*eeh)(struct worker *worker))
{
	void (* const works[THREADS])(struct worker *worker) = {
		eeh, eeh, eeh, map_and_unmap, make_and_remove,
	};
	int i, ret = 0;

	for (i = 0; i < THREADS && !ret; i++) {
		workers[i] = (struct worker){ .c = c, .mem = mem, .work = works[i] };
		ret = pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]);
	}
	return ret;
}

/*
 * Until each from the @first-th on has begun one more round.  A reset takes seconds here, and
 * one waits for the other.
 */
static int workers_meet(struct worker *workers, int first)
{
	unsigned long before;
	int i;

	for (i = first; i < THREADS; i++) {
		before = __atomic_load_n(&workers[i].rounds, __ATOMIC_RELAXED);
		while (__atomic_load_n(&workers[i].rounds, __ATOMIC_RELAXED) == before)
			usleep(1000);
	}
	return 0;
}

static int workers_end(struct worker *workers)
{
	int i;

	for (i = 0; i < THREADS; i++)
		__atomic_store_n(&workers[i].stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	return 0;
}

FIXTURE(hotplug)
{
	struct spapr_state st;
	struct spapr_device *dev;
	struct worker workers[THREADS];
};

FIXTURE_SETUP(hotplug)
{
	const char *why = state_begin(&self->st, 2, VFIO_SPAPR_TCE_v2_IOMMU);

	if (why)
		SKIP(return, "%s", why);
	self->dev = &self->st.dev[0];
	ASSERT_EQ(0, watch_begin());
}

FIXTURE_TEARDOWN(hotplug)
{
	EXPECT_TRUE(state_end(&self->st));
}

static int container_again(struct spapr_state *st, int i)
{
	int ret = spapr_setup(&st->s, &st->dev[i], VFIO_SPAPR_TCE_v2_IOMMU);

	return ret ?: spapr_register(st->s.container, st->mem, MEM_SIZE);
}

/*
 * The device, with whatever number its group has now, does DMA for its next owner, who ends
 * the reset that somebody could not end.
 */
static bool device_works(struct spapr_state *st, int i)
{
	struct nvme nvme;
	bool ok;
	int device;

	if (spapr_find_devices(st->dev, 2) < 2 || container_again(st, i) ||
	    spapr_eeh_op(st->s.container, VFIO_EEH_PE_RESET_HOT) ||
	    spapr_eeh_op(st->s.container, VFIO_EEH_PE_RESET_DEACTIVATE) ||
	    spapr_eeh_op(st->s.container, VFIO_EEH_PE_CONFIGURE))
		return false;
	device = spapr_open_device(st->s.group, &st->dev[i]);
	ok = device >= 0 && !spapr_map(st->s.container, 0, st->mem, MEM_SIZE, MAP_RW) &&
	     !nvme_start(&nvme, device, st->mem, 0) &&
	     nvme_round_trip(&nvme, st->mem, 0, MB, 2 * MB);
	if (device >= 0)
		close(device);
	return ok;
}

TEST_F_TIMEOUT(hotplug, C14_unbind_beside_resets, storm_timeout())
{
	struct storm storm;
	unsigned long round;

	storm_begin(&storm, 2);
	for (round = 0; !storm_is_over(&storm, round); round++) {
		spapr_teardown(&self->st.s);
		ASSERT_EQ(0, container_again(&self->st, 0));
		ASSERT_EQ(0, workers_begin(self->workers, self->st.s.container, self->st.mem,
					   reset));
		ASSERT_EQ(0, prompt(workers_meet(self->workers, RESETTERS)));
		EXPECT_EQ(0, prompt(spapr_unbind(self->dev)));
		ASSERT_EQ(0, prompt(workers_meet(self->workers, RESETTERS)));
		/* There is no group, and no driver of the container, any more. */
		EXPECT_EQ(-EINVAL, spapr_map(self->st.s.container, 0, self->st.mem, PAGE_64K,
					     MAP_RW));
		ASSERT_EQ(0, prompt(workers_end(self->workers)));
		spapr_teardown(&self->st.s);
		ASSERT_EQ(0, prompt(spapr_bind(self->dev)));
		ASSERT_EQ(0, container_again(&self->st, 0));
	}
	spapr_teardown(&self->st.s);
	EXPECT_TRUE(device_works(&self->st, 0));
}

TEST_F_TIMEOUT(hotplug, C14_unplug_beside_eeh, storm_timeout())
{
	struct storm storm;
	unsigned long round;

	storm_begin(&storm, 5);
	for (round = 0; !storm_is_over(&storm, round); round++) {
		spapr_teardown(&self->st.s);
		ASSERT_EQ(0, container_again(&self->st, 0));
		ASSERT_EQ(0, workers_begin(self->workers, self->st.s.container, self->st.mem,
					   ask));
		ASSERT_EQ(0, prompt(workers_meet(self->workers, 0)));
		EXPECT_EQ(0, prompt(spapr_unplug(self->dev)));
		ASSERT_EQ(0, prompt(workers_meet(self->workers, RESETTERS)));
		ASSERT_EQ(0, prompt(workers_end(self->workers)));
		spapr_teardown(&self->st.s);
		ASSERT_EQ(0, prompt(spapr_rescan()));
		ASSERT_EQ(2, spapr_find_devices(self->st.dev, 2));
		ASSERT_EQ(0, container_again(&self->st, 0));
	}
	spapr_teardown(&self->st.s);
	EXPECT_TRUE(device_works(&self->st, 0));
}

/* Another group comes and goes beside all that. */
TEST_F_TIMEOUT(hotplug, C16_join_and_leave_beside_resets, storm_timeout())
{
	struct storm storm;
	unsigned long round;
	int group;

	ASSERT_EQ(0, spapr_register(self->st.s.container, self->st.mem, MEM_SIZE));
	ASSERT_EQ(0, workers_begin(self->workers, self->st.s.container, self->st.mem, reset));
	group = spapr_open_group(&self->st.dev[1]);
	ASSERT_LE(0, group);
	storm_begin(&storm, 20);
	for (round = 0; !storm_is_over(&storm, round); round++) {
		ASSERT_EQ(0, prompt(spapr_set_container(group, self->st.s.container)));
		ASSERT_EQ(0, prompt(workers_meet(self->workers, RESETTERS)));
		ASSERT_EQ(0, prompt(spapr_unset_container(group)));
	}
	ASSERT_EQ(0, prompt(workers_end(self->workers)));
	close(group);
	spapr_teardown(&self->st.s);
	EXPECT_TRUE(device_works(&self->st, 0));
	spapr_teardown(&self->st.s);
	EXPECT_TRUE(device_works(&self->st, 1));
}

TEST_HARNESS_MAIN
