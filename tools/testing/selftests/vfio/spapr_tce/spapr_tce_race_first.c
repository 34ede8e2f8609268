// SPDX-License-Identifier: GPL-2.0
/*
 * Two calls at the same moment, over and over, that both would be the first of their kind
 * in a container: what the first one makes is made once and charged once.
 */
#include "race_fixture.h"

RACE_FIXTURE(race, VFIO_SPAPR_TCE_v2_IOMMU)

struct pair {
	int (*call[2])(struct race *race);
	struct race *race;
	int ret[2];
	pthread_barrier_t barrier;
	bool over;
};

static void *pair_run(void *arg)
{
	struct pair *pair = arg;

	for (;;) {
		pthread_barrier_wait(&pair->barrier);
		if (pair->over)
			return NULL;
		pair->ret[1] = pair->call[1](pair->race);
		pthread_barrier_wait(&pair->barrier);
	}
}

/* Both calls, started as close to each other as a barrier can. */
static void pair_go(struct pair *pair)
{
	pthread_barrier_wait(&pair->barrier);
	pair->ret[0] = pair->call[0](pair->race);
	pthread_barrier_wait(&pair->barrier);
}

static int pair_begin(struct pair *pair, pthread_t *thread)
{
	pair->over = false;
	pthread_barrier_init(&pair->barrier, NULL, 2);
	return pthread_create(thread, NULL, pair_run, pair);
}

static void pair_end(struct pair *pair, pthread_t thread)
{
	pair->over = true;
	pthread_barrier_wait(&pair->barrier);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&pair->barrier);
}

static int first_map_elsewhere(struct race *r)
{
	return spapr_map(r->c, RANGE, r->mem, RANGE, MAP_RW);
}

static int first_unmap(struct race *r)
{
	return spapr_unmap(r->c, 0, RANGE);
}

static int remove_default(struct race *r)
{
	return spapr_remove(r->c, 0);
}

/* kB that are charged for the default window and for that of create(). */
struct charges {
	long first;
	long second;
};

static struct charges measure(struct __test_metadata *_metadata, struct _test_data_race *self)
{
	struct race *race = &self->race;
	struct charges charges = { 0 };
	long before;

	EXPECT_EQ(0, race_renew(race, self->st.s.group));
	before = spapr_vmlck_kb();
	EXPECT_EQ(0, step_create(race));
	charges.second = spapr_vmlck_kb();
	EXPECT_EQ(0, spapr_remove(race->c, WINDOW1));
	charges.first = spapr_vmlck_kb() - before;
	charges.second -= spapr_vmlck_kb();
	EXPECT_LT(0, charges.first);
	EXPECT_LT(0, charges.second);
	return charges;
}

struct first {
	int (*call[2])(struct race *race);
	bool registered;		/* begin with a region */
	unsigned long long allowed[2];
	bool one;			/* one of them succeeds, not both */
	long kb;			/* charged in the end; -1: depends on who was first */
};

static void first_calls(struct __test_metadata *_metadata, struct _test_data_race *self,
			const struct first *first)
{
	struct race *race = &self->race;
	struct pair pair = { .race = race, .call = { first->call[0], first->call[1] } };
	struct storm storm;
	pthread_t thread;
	unsigned long round, hits[2] = { 0 };
	int i;

	ASSERT_EQ(0, pair_begin(&pair, &thread));
	storm_begin(&storm, ROUNDS / 20);
	for (round = 0; !storm_is_over(&storm, round); round++) {
		ASSERT_EQ(0, race_renew(race, self->st.s.group));
		ASSERT_EQ(self->st.vmlck, spapr_vmlck_kb());
		if (first->registered)
			ASSERT_EQ(0, spapr_register(race->c, race->mem, HALF));
		pair_go(&pair);
		for (i = 0; i < 2; i++) {
			hits[i] += !pair.ret[i];
			EXPECT_GE(0, pair.ret[i]);
			if (pair.ret[i])
				EXPECT_TRUE(first->allowed[i] & E(-pair.ret[i]));
		}
		if (first->one)
			EXPECT_EQ(1, !pair.ret[0] + !pair.ret[1]);
		if (first->kb >= 0)
			EXPECT_EQ(self->st.vmlck + first->kb, spapr_vmlck_kb());
	}
	pair_end(&pair, thread);
	TH_LOG("%lu rounds, %lu and %lu calls succeeded", round, hits[0], hits[1]);
	ASSERT_EQ(0, race_renew(race, self->st.s.group));
	EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
	EXPECT_EQ(self->st.pins, spapr_pins_held());
}

TEST_F(race, C6_the_default_window_is_made_once)
{
	const struct charges charges = measure(_metadata, self);
	const long kb = HALF / KB;
	const struct first firsts[] = {
		{ { step_first_map, first_map_elsewhere }, true, .kb = kb + charges.first },
		{ { step_first_map, first_unmap }, true, .kb = kb + charges.first },
		{ { step_first_map, step_create }, true,
		  .kb = kb + charges.first + charges.second },
		{ { step_first_map, remove_default }, true, { E(ENXIO) }, .kb = kb },
		{ { step_create, step_create }, false, { E(ENOSPC), E(ENOSPC) }, .one = true,
		  .kb = charges.first + charges.second },
		{ { step_create, remove_default }, false, .kb = charges.second },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(firsts); i++)
		first_calls(_metadata, self, &firsts[i]);
}

TEST_F(race, C6_two_first_registers)
{
	const long kb = HALF / KB;
	const struct first firsts[] = {
		{ { step_register_low, step_register_low }, false, { E(EBUSY), E(EBUSY) },
		  .one = true, .kb = kb },
		{ { step_register_low, step_register_high }, false, .kb = 2 * kb },
		{ { step_register_low, step_first_map }, false, { 0, E(EPERM) | E(EINVAL) },
		  .kb = -1 },
		{ { step_register_low, step_create }, false, .kb = -1 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(firsts); i++)
		first_calls(_metadata, self, &firsts[i]);
}

/* Both slots are free: two windows, charged exactly, and no room for a third. */
TEST_F(race, C6_create_against_create)
{
	const struct charges charges = measure(_metadata, self);
	struct race *race = &self->race;
	struct pair pair = { .race = race, .call = { step_create, step_create } };
	unsigned long round;
	struct storm storm;
	pthread_t thread;
	long before;

	ASSERT_EQ(0, spapr_remove(race->c, 0));
	ASSERT_EQ(0, pair_begin(&pair, &thread));
	before = spapr_vmlck_kb();
	storm_begin(&storm, ROUNDS / 4);
	for (round = 0; !storm_is_over(&storm, round); round++) {
		pair_go(&pair);
		EXPECT_EQ(0, pair.ret[0]);
		EXPECT_EQ(0, pair.ret[1]);
		EXPECT_EQ(before + 2 * charges.second, spapr_vmlck_kb());
		/* One slot: one succeeds. No slot: neither does. */
		EXPECT_EQ(0, spapr_remove(race->c, round % 2 ? WINDOW1 : 0));
		pair_go(&pair);
		EXPECT_EQ(-ENOSPC, pair.ret[0] + pair.ret[1]);
		pair_go(&pair);
		EXPECT_EQ(2 * -ENOSPC, pair.ret[0] + pair.ret[1]);
		EXPECT_EQ(before + 2 * charges.second, spapr_vmlck_kb());
		EXPECT_EQ(0, spapr_remove(race->c, 0));
		EXPECT_EQ(0, spapr_remove(race->c, WINDOW1));
		EXPECT_EQ(before, spapr_vmlck_kb());
	}
	pair_end(&pair, thread);
	TH_LOG("%lu rounds", round);
}

#define CHILDREN	200

/* Each in a process of its own, whose mm must be free in the end. */
static void register_in_child(const struct spapr_device *dev, char *mem)
{
	struct race race = { .mem = mem };
	struct pair pair = { .race = &race, .call = { step_register_low, step_register_high } };
	struct spapr_setup s;
	pthread_t thread;

	if (spapr_setup(&s, dev, VFIO_SPAPR_TCE_v2_IOMMU))
		_exit(1);
	race.c = s.container;
	if (pair_begin(&pair, &thread))
		_exit(1);
	pair_go(&pair);
	_exit(pair.ret[0] || pair.ret[1]);
}

TEST_F(race, C6_the_mm_is_taken_once)
{
	long mms = 0;
	int i, status;
	pid_t pid;

	if (spapr_slab_objects("mm_struct") < 0)
		SKIP(return, "no /proc/slabinfo, or not with an mm_struct");
	spapr_teardown(&self->st.s);
	for (i = 0; i < CHILDREN; i++) {
		if (i == CHILDREN / 4)
			mms = spapr_slab_objects("mm_struct");
		pid = fork();
		if (!pid)
			register_in_child(&self->st.dev[0], self->race.mem);
		ASSERT_LT(0, pid);
		waitpid(pid, &status, 0);
		EXPECT_EQ(0, status);
	}
	/* Processors and RCU keep some for a while; if all were lost, it would be thrice this. */
	mms += CHILDREN / 4;
	for (i = 0; i < 500 && spapr_slab_objects("mm_struct") > mms; i++)
		usleep(20000);
	EXPECT_GE(mms, spapr_slab_objects("mm_struct"));
	ASSERT_EQ(0, spapr_setup(&self->st.s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
}

TEST_HARNESS_MAIN
