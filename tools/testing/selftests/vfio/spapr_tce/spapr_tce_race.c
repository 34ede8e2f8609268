// SPDX-License-Identifier: GPL-2.0
/*
 * Calls that race on the same entries, windows, regions and groups. Whatever the order,
 * each gives a result that fits, in the end nothing is mapped, every count is back, and
 * a device reaches what is mapped then and nothing else.
 *
 * SPAPR_TCE_SECONDS	how long each storm lasts; some tests are several. By default each
 *			thread calls some 2000 times, or less often where a call is slow.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "fixture.h"
#include "lib/storm.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	storm_timeout()

#define ROUNDS		2000
#define HALF		(MEM_SIZE / 2)
#define RANGE		(8 * PAGE_64K)
#define DMA_AT		(256 * MB)	/* from the start of a window: for a device of its own */
#define AT_SOURCE	MB
#define AT_TARGET	(2 * MB)

#define E(error)	(1ULL << (error))	/* those used here are below 64 */

/* What racers of a storm share. */
struct race {
	struct storm storm;
	unsigned long rounds;
	int c;
	int type;
	int group;		/* one that comes and goes, or -1 */
	char *mem;		/* two regions, each a half */
	char *dma;		/* a region for @nvme, mapped at @base + DMA_AT */
	uint64_t base;
	struct nvme *nvme;
	int registering;	/* threads inside REGISTER */
	unsigned long registered;
	int busy;		/* racers that have rounds left */
};

/* What one racer does over and over: its errno must be one of those in @may. */
struct side {
	int (*step)(struct race *race);
	unsigned long long may;
	unsigned int cost;	/* in rounds of a simple call; 0 means 1 */
};

struct racer {
	pthread_t thread;
	struct race *race;
	const struct side *side;
	int unexpected;
	unsigned long calls;
	unsigned long hits;
};

/* ---- steps ---- */

static int map_low(struct race *r)
{
	return spapr_map(r->c, r->base, r->mem, RANGE, MAP_RW);
}

static int map_high(struct race *r)
{
	return spapr_map(r->c, r->base, r->mem + HALF, RANGE, MAP_RW);
}

/* The end of one region and the start of the next. */
static int map_both(struct race *r)
{
	return spapr_map(r->c, r->base, r->mem + HALF - RANGE / 2, RANGE, MAP_RW);
}

static int unmap(struct race *r)
{
	return spapr_unmap(r->c, r->base, RANGE);
}

static int unmap_all(struct race *r)
{
	uint64_t size;
	int ret = spapr_unmap_all(r->c, &size);

	/* Nobody has more than this mapped at a time. */
	return ret ? ret : size > 2 * MEM_SIZE || size % (4 * KB) ? -ERANGE : 0;
}

static int remove_and_create(struct race *r)
{
	uint64_t start;
	int ret = spapr_remove(r->c, r->base), again;

	again = spapr_create(r->c, SHIFT_64K, WIN_SIZE, 2, &start);
	if (!again && start != r->base)
		return -ERANGE;
	return ret ? ret : again;
}

/* The counters let others know that the call is not over yet. */
static int register_half(struct race *r, char *half)
{
	int ret;

	__atomic_add_fetch(&r->registering, 1, __ATOMIC_SEQ_CST);
	ret = spapr_register(r->c, half, HALF);
	__atomic_add_fetch(&r->registered, 1, __ATOMIC_SEQ_CST);
	__atomic_sub_fetch(&r->registering, 1, __ATOMIC_SEQ_CST);
	return ret;
}

static int register_low(struct race *r)
{
	return register_half(r, r->mem);
}

static int register_high(struct race *r)
{
	return register_half(r, r->mem + HALF);
}

static int unregister_and_register(struct race *r)
{
	int ret = spapr_unregister(r->c, r->mem, HALF);

	return ret ? ret : register_low(r);
}

static int unregister_and_register_high(struct race *r)
{
	int ret = spapr_unregister(r->c, r->mem + HALF, HALF);

	return ret ? ret : register_high(r);
}

static int join_and_leave(struct race *r)
{
	int ret = spapr_set_container(r->group, r->c);

	return ret ? ret : spapr_unset_container(r->group);
}

static int look_around(struct race *r)
{
	struct vfio_iommu_spapr_tce_info info;
	int ret = spapr_get_info(r->c, &info);

	return ret ? ret : info.dma32_window_start ? -ERANGE : 0;
}

static int do_dma(struct race *r)
{
	return nvme_round_trip(r->nvme, r->dma, r->base + DMA_AT, AT_SOURCE, AT_TARGET) ? 0 :
	       -EIO;
}

/* Memory may be in use before the REGISTER of another thread returns: see when it has. */
static int unregister_settled(struct race *r, char *half)
{
	unsigned long registered;
	int ret, inside;

	do {
		registered = __atomic_load_n(&r->registered, __ATOMIC_SEQ_CST);
		inside = __atomic_load_n(&r->registering, __ATOMIC_SEQ_CST);
		ret = spapr_unregister(r->c, half, HALF);
		inside += __atomic_load_n(&r->registering, __ATOMIC_SEQ_CST) +
			  (registered != __atomic_load_n(&r->registered, __ATOMIC_SEQ_CST));
	} while (ret == -ENOENT && inside);
	return ret;
}

/* C4: what a MAP that succeeded points to is in use until the UNMAP. */
static int map_and_check(struct race *r)
{
	int ret = map_both(r);

	if (ret)
		return ret;
	if (unregister_settled(r, r->mem) != -EBUSY ||
	    unregister_settled(r, r->mem + HALF) != -EBUSY)
		return -ERANGE;
	return spapr_unmap(r->c, r->base, RANGE);
}

static int v1_disable_and_enable(struct race *r)
{
	int ret = spapr_ioctl(r->c, VFIO_IOMMU_DISABLE, NULL);

	return ret ? ret : spapr_ioctl(r->c, VFIO_IOMMU_ENABLE, NULL);
}

/* ---- storms ---- */

/* Calls of a side whose every one has come at the wrong moment so far. */
#define PATIENT_CALLS	10000

static bool racer_is_through(const struct racer *r)
{
	unsigned int cost = r->side->cost ? r->side->cost : 1;

	return storm_is_over(&r->race->storm, r->calls * cost) &&
	       (r->hits || r->calls >= PATIENT_CALLS);
}

static void *racer_run(void *arg)
{
	struct racer *r = arg;
	struct race *race = r->race;
	bool done = false;
	int ret;

	/* All go on until the last one is done, so that there is a race to the end. */
	while (__atomic_load_n(&race->busy, __ATOMIC_ACQUIRE)) {
		ret = r->side->step(race);
		r->calls++;
		if (!ret)
			r->hits++;
		else if (ret > 0 || ret < -63 || !(r->side->may & E(-ret)))
			r->unexpected = ret;
		if (!done && racer_is_through(r)) {
			done = true;
			__atomic_sub_fetch(&race->busy, 1, __ATOMIC_ACQ_REL);
		}
	}
	return NULL;
}

#define MAX_SIDES	6

static void storm(struct __test_metadata *_metadata, struct race *race, const struct side *sides,
		  unsigned int n)
{
	struct racer racers[MAX_SIDES] = { };
	unsigned int i;

	storm_begin(&race->storm, race->rounds);
	race->busy = n;
	for (i = 0; i < n; i++) {
		racers[i].race = race;
		racers[i].side = &sides[i];
		ASSERT_EQ(0, pthread_create(&racers[i].thread, NULL, racer_run, &racers[i]));
	}
	for (i = 0; i < n; i++) {
		pthread_join(racers[i].thread, NULL);
		TH_LOG("side %u: %lu calls, %lu succeeded", i, racers[i].calls, racers[i].hits);
		EXPECT_EQ(0, racers[i].unexpected);
		/* Who may fail may be unlucky all the time: the others win. */
		if (!sides[i].may)
			EXPECT_LT(0, racers[i].hits);
	}
}

/* A device reaches what is mapped now, and no longer what is unmapped. */
static void dma_agrees(struct __test_metadata *_metadata, struct race *race,
		       const struct spapr_setup *s, const struct spapr_device *dev)
{
	const size_t size = NVME_ROUND_TRIP;
	char *target = race->mem + AT_TARGET;
	int device = spapr_open_device(s->group, dev);
	struct nvme nvme;

	ASSERT_LE(0, device);
	ASSERT_EQ(0, spapr_map(race->c, race->base, race->mem, HALF, MAP_RW));
	EXPECT_EQ(0, nvme_start(&nvme, device, race->mem, race->base));
	EXPECT_TRUE(nvme_round_trip(&nvme, race->mem, race->base, AT_SOURCE, AT_TARGET));
	EXPECT_EQ(0, spapr_unmap(race->c, race->base + AT_TARGET, size));
	memset(target, 0x5a, size);
	nvme_read(&nvme, 0, race->base + AT_TARGET, size);
	EXPECT_TRUE(all_bytes(target, size, 0x5a));
	nvme_stop(&nvme);
	close(device);
	EXPECT_EQ(0, spapr_unmap(race->c, race->base, HALF));
}

/* ---- v2: two regions and a window, at best also a group and a device ---- */

FIXTURE(race)
{
	struct spapr_state st;
	struct race race;
	struct nvme nvme;
	int device;
};

FIXTURE_SETUP(race)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);
	struct race *race = &self->race;

	if (why)
		SKIP(return, "%s", why);
	race->rounds = ROUNDS;
	race->c = self->st.s.container;
	race->type = VFIO_SPAPR_TCE_v2_IOMMU;
	race->mem = self->st.mem;
	race->group = self->st.ndev > 1 ? spapr_open_group(&self->st.dev[1]) : -1;
	ASSERT_EQ(0, spapr_register(race->c, race->mem, HALF));
	ASSERT_EQ(0, spapr_register(race->c, race->mem + HALF, HALF));
	ASSERT_EQ(0, spapr_create(race->c, SHIFT_64K, WIN_SIZE, 2, &race->base));
}

FIXTURE_TEARDOWN(race)
{
	if (self->race.group >= 0)
		close(self->race.group);
	EXPECT_TRUE(state_end(&self->st));
}

/* After a storm: nothing may be counted any more, and everything works. */
static void calm(struct __test_metadata *_metadata, struct _test_data_race *self)
{
	struct race *race = &self->race;

	EXPECT_EQ(0, spapr_unmap(race->c, race->base, RANGE));
	EXPECT_EQ(0, spapr_unregister(race->c, race->mem, HALF));
	EXPECT_EQ(0, spapr_unregister(race->c, race->mem + HALF, HALF));
	EXPECT_EQ(0, spapr_register(race->c, race->mem, HALF));
	dma_agrees(_metadata, race, &self->st.s, &self->st.dev[0]);
}

#define RACE(...)							\
	do {								\
		const struct side sides[] = { __VA_ARGS__ };		\
									\
		storm(_metadata, &self->race, sides, ARRAY_SIZE(sides));\
		calm(_metadata, self);					\
	} while (0)

/* A device of the first group transfers data to and from a region of its own meanwhile. */
static void begin_dma(struct __test_metadata *_metadata, struct _test_data_race *self)
{
	struct race *race = &self->race;

	race->dma = spapr_memory(4 * MB, MEM_ALIGN);
	race->nvme = &self->nvme;
	self->device = spapr_open_device(self->st.s.group, &self->st.dev[0]);
	ASSERT_LE(0, self->device);
	ASSERT_EQ(0, spapr_register(race->c, race->dma, 4 * MB));
	ASSERT_EQ(0, spapr_map(race->c, race->base + DMA_AT, race->dma, 4 * MB, MAP_RW));
	ASSERT_EQ(0, nvme_start(race->nvme, self->device, race->dma, race->base + DMA_AT));
}

static void end_dma(struct _test_data_race *self)
{
	nvme_stop(self->race.nvme);
	close(self->device);
}

#define RACE_BESIDE_DMA(...)						\
	do {								\
		const struct side sides[] = {				\
			__VA_ARGS__, { .step = do_dma, .cost = 100 },		\
		};							\
									\
		begin_dma(_metadata, self);				\
		storm(_metadata, &self->race, sides, ARRAY_SIZE(sides));\
		end_dma(self);						\
		calm(_metadata, self);					\
	} while (0)

TEST_F(race, T2_map_against_map)
{
	RACE({ .step = map_low }, { .step = map_high });
}

TEST_F(race, T2_map_against_unmap)
{
	RACE({ .step = map_low }, { .step = unmap });
}

TEST_F(race, T2_map_against_map_and_unmap_beside_dma)
{
	RACE_BESIDE_DMA({ .step = map_low },
			{ .step = map_high },
			{ .step = map_both },
			{ .step = unmap });
}

TEST_F(race, T2_map_against_unmap_all)
{
	RACE({ .step = map_low }, { .step = map_high }, { .step = unmap_all });
}

TEST_F(race, T2_unmap_against_unmap_all)
{
	RACE({ .step = map_both },
	     { .step = unmap },
	     { .step = unmap_all },
	     { .step = unmap_all });
}

TEST_F(race, C1_map_against_remove)
{
	RACE({ .step = map_low, .may = E(ENXIO) },
	     { .step = unmap, .may = E(ENXIO) },
	     { .step = remove_and_create, .cost = 10 });
}

TEST_F(race, C1_unmap_all_against_remove)
{
	RACE({ .step = map_both, .may = E(ENXIO) },
	     { .step = unmap_all },
	     { .step = remove_and_create, .cost = 10 });
}

TEST_F(race, C1_remove_against_remove)
{
	RACE({ .step = map_low, .may = E(ENXIO) },
	     { .step = look_around },
	     { .step = remove_and_create, .may = E(EINVAL) | E(ENOSPC), .cost = 10 },
	     { .step = remove_and_create, .may = E(EINVAL) | E(ENOSPC), .cost = 10 });
}

TEST_F(race, R2_map_against_unregister)
{
	RACE({ .step = map_low, .may = E(EINVAL) },
	     { .step = unmap },
	     { .step = unregister_and_register, .may = E(EBUSY), .cost = 4 });
}

TEST_F(race, R2_unmap_all_against_unregister)
{
	RACE({ .step = map_both, .may = E(EINVAL) },
	     { .step = unmap_all },
	     { .step = unregister_and_register, .may = E(EBUSY), .cost = 4 });
}

TEST_F(race, C4_map_that_succeeded_has_mapped_everything)
{
	/* The moment in which it could go wrong is short. */
	self->race.rounds *= 5;
	RACE({ .step = map_and_check, .may = E(EINVAL) },
	     { .step = unregister_and_register, .may = E(EBUSY), .cost = 4 },
	     { .step = unregister_and_register_high, .may = E(EBUSY), .cost = 4 });
}

TEST_F(race, I12_calls_while_a_group_comes_and_goes_beside_dma)
{
	if (self->race.group < 0)
		SKIP(return, "needs two groups");
	RACE_BESIDE_DMA({ .step = map_low },
			{ .step = unmap },
			{ .step = look_around },
			{ .step = join_and_leave, .cost = 20 });
}

TEST_F(race, I12_unmap_all_while_a_group_comes_and_goes)
{
	if (self->race.group < 0)
		SKIP(return, "needs two groups");
	RACE({ .step = map_both }, { .step = unmap_all }, { .step = join_and_leave, .cost = 20 });
}

TEST_F(race, C1_windows_and_groups_come_and_go)
{
	if (self->race.group < 0)
		SKIP(return, "needs two groups");
	RACE({ .step = map_low, .may = E(ENXIO) },
	     { .step = unmap_all },
	     { .step = look_around },
	     { .step = join_and_leave, .cost = 20 },
	     { .step = remove_and_create, .cost = 10 });
}

TEST_F(race, everything_at_once)
{
	const struct side join = { .step = join_and_leave, .cost = 20 };

	RACE({ .step = map_both, .may = E(ENXIO) | E(EINVAL) },
	     { .step = map_high, .may = E(ENXIO) },
	     { .step = unmap_all },
	     { .step = unregister_and_register, .may = E(EBUSY), .cost = 4 },
	     { .step = remove_and_create, .cost = 10 },
	     self->race.group < 0 ? (struct side){ .step = look_around } : join);
}

/* ---- two calls at the same moment, over and over ---- */

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

static int create(struct race *r)
{
	uint64_t start;

	return spapr_create(r->c, SHIFT_64K, WIN_SIZE, 2, &start);
}

/* A container whose last group went and came back is as new. */
static int renew(const struct race *race, int group)
{
	int ret = spapr_unset_container(group);

	if (!ret)
		ret = spapr_set_container(group, race->c);
	return ret ? ret : spapr_set_iommu(race->c, race->type);
}

static int first_map(struct race *r)
{
	return spapr_map(r->c, 0, r->mem, RANGE, MAP_RW);
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

	EXPECT_EQ(0, renew(race, self->st.s.group));
	before = spapr_vmlck_kb();
	EXPECT_EQ(0, create(race));
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
		ASSERT_EQ(0, renew(race, self->st.s.group));
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
	ASSERT_EQ(0, renew(race, self->st.s.group));
	EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
	EXPECT_EQ(self->st.pins, spapr_pins_held());
}

TEST_F(race, C6_the_default_window_is_made_once)
{
	const struct charges charges = measure(_metadata, self);
	const long kb = HALF / KB;
	const struct first firsts[] = {
		{ { first_map, first_map_elsewhere }, true, .kb = kb + charges.first },
		{ { first_map, first_unmap }, true, .kb = kb + charges.first },
		{ { first_map, create }, true, .kb = kb + charges.first + charges.second },
		{ { first_map, remove_default }, true, { E(ENXIO) }, .kb = kb },
		{ { create, create }, false, { E(ENOSPC), E(ENOSPC) }, .one = true,
		  .kb = charges.first + charges.second },
		{ { create, remove_default }, false, .kb = charges.second },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(firsts); i++)
		first_calls(_metadata, self, &firsts[i]);
}

TEST_F(race, C6_two_first_registers)
{
	const long kb = HALF / KB;
	const struct first firsts[] = {
		{ { register_low, register_low }, false, { E(EBUSY), E(EBUSY) }, .one = true,
		  .kb = kb },
		{ { register_low, register_high }, false, .kb = 2 * kb },
		{ { register_low, first_map }, false, { 0, E(EPERM) | E(EINVAL) }, .kb = -1 },
		{ { register_low, create }, false, .kb = -1 },
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
	struct pair pair = { .race = race, .call = { create, create } };
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
	struct pair pair = { .race = &race, .call = { register_low, register_high } };
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

/* ---- the end of the container ---- */

/* Until the descriptor is gone; between the end of the group and that nothing works. */
static void *goes_on_until_closed(void *arg)
{
	struct racer *r = arg;
	int ret;

	do {
		ret = r->side->step(r->race);
		r->calls++;
		if (!ret)
			r->hits++;
		else if (ret > 0 || ret < -63 || !(r->side->may & E(-ret)))
			r->unexpected = ret;
	} while (ret != -EBADF);
	return NULL;
}

static void close_against(struct __test_metadata *_metadata, struct spapr_state *st,
			  struct race *race, const struct side *sides, unsigned int n)
{
	struct racer racers[MAX_SIDES];
	unsigned long round, hits = 0;
	struct storm storm;
	unsigned int i;

	storm_begin(&storm, ROUNDS / 20);
	for (round = 0; !storm_is_over(&storm, round); round++) {
		memset(racers, 0, sizeof(racers));
		for (i = 0; i < n; i++) {
			racers[i].race = race;
			racers[i].side = &sides[i];
			ASSERT_EQ(0, pthread_create(&racers[i].thread, NULL, goes_on_until_closed,
						    &racers[i]));
		}
		usleep(round % 16 * 1000);
		close(round & 16 ? st->s.group : race->c);
		close(round & 16 ? race->c : st->s.group);
		for (i = 0; i < n; i++) {
			pthread_join(racers[i].thread, NULL);
			EXPECT_EQ(0, racers[i].unexpected);
			hits += racers[i].hits;
		}
		EXPECT_EQ(st->vmlck, spapr_vmlck_kb());
		EXPECT_EQ(st->pins, spapr_pins_held());
		ASSERT_EQ(0, spapr_setup(&st->s, &st->dev[0], race->type));
		race->c = st->s.container;
		if (race->type == VFIO_SPAPR_TCE_IOMMU) {
			ASSERT_EQ(0, spapr_ioctl(race->c, VFIO_IOMMU_ENABLE, NULL));
			continue;
		}
		ASSERT_EQ(0, spapr_register(race->c, race->mem, HALF));
		ASSERT_EQ(0, spapr_register(race->c, race->mem + HALF, HALF));
		ASSERT_EQ(0, create(race));
	}
	TH_LOG("%lu rounds, %lu calls succeeded", round, hits);
	EXPECT_LT(0, hits);
}

/* No container, no driver behind it, or no group any more. */
#define GONE	(E(EBADF) | E(EINVAL) | E(ENXIO))

TEST_F(race, I6_map_against_close)
{
	const struct side sides[] = {
		{ .step = map_both, .may = GONE },
		{ .step = unmap, .may = GONE },
		{ .step = unmap_all, .may = GONE },
	};

	close_against(_metadata, &self->st, &self->race, sides, ARRAY_SIZE(sides));
	calm(_metadata, self);
}

TEST_F(race, I6_windows_and_memory_against_close)
{
	const struct side sides[] = {
		{ .step = map_high, .may = GONE },
		{ .step = remove_and_create, .may = GONE },
		{ .step = unregister_and_register, .may = GONE | E(EBUSY) },
		{ .step = look_around, .may = GONE },
	};

	close_against(_metadata, &self->st, &self->race, sides, ARRAY_SIZE(sides));
	calm(_metadata, self);
}

/* The last group leaves and comes back while others are inside calls. */
static int leave_and_join_again(struct race *r)
{
	int ret = spapr_unset_container(r->group);

	if (!ret)
		ret = spapr_set_container(r->group, r->c);
	return ret ? ret : spapr_set_iommu(r->c, r->type);
}

TEST_F(race, I6_calls_against_the_last_group_that_leaves)
{
	const struct side sides[] = {
		{ .step = register_low, .may = E(EINVAL) | E(EBUSY) },
		{ .step = first_map, .may = E(EINVAL) | E(EPERM) | E(ENXIO) },
		{ .step = unmap_all, .may = E(EINVAL) | E(EPERM) },
		{ .step = create, .may = E(EINVAL) | E(ENOSPC) | E(ENXIO) },
		{ .step = leave_and_join_again, .cost = 20 },
	};
	struct race *race = &self->race;
	int other = race->group;

	race->group = self->st.s.group;
	storm(_metadata, race, sides, ARRAY_SIZE(sides));
	race->group = other;
	ASSERT_EQ(0, renew(race, self->st.s.group));
	EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
	EXPECT_EQ(self->st.pins, spapr_pins_held());
}

/* ---- killed amid everything ---- */

static void *goes_on(void *arg)
{
	struct racer *r = arg;

	for (;;)
		r->side->step(r->race);
	return NULL;
}

static void all_of_it(const struct spapr_state *st)
{
	static const struct side sides[] = {
		{ .step = map_both }, { .step = unmap_all },
		{ .step = unregister_and_register }, { .step = remove_and_create },
		{ .step = map_high }, { .step = leave_and_join_again },
	};
	static struct race races[2];
	static struct racer racers[2][MAX_SIDES];
	struct spapr_setup s;
	int i, k;

	for (i = 0; i < (st->ndev > 1 ? 2 : 1); i++) {
		if (spapr_setup(&s, &st->dev[i], VFIO_SPAPR_TCE_v2_IOMMU))
			_exit(1);
		races[i].c = s.container;
		races[i].mem = st->mem;
		races[i].base = WINDOW1;
		races[i].group = s.group;
		races[i].type = VFIO_SPAPR_TCE_v2_IOMMU;
		for (k = 0; k < MAX_SIDES; k++) {
			racers[i][k].race = &races[i];
			racers[i][k].side = &sides[k];
			/* The second container's group leaves and comes back, too. */
			if (sides[k].step != leave_and_join_again || i)
				pthread_create(&racers[i][k].thread, NULL, goes_on, &racers[i][k]);
		}
	}
	for (;;)
		pause();
}

TEST_F(race, C12_killed_amid_everything)
{
	const long slack = memory_slack_kb();
	unsigned long round;
	struct storm storm;
	long memfree = 0;
	pid_t pid;
	int tries;

	close(self->race.group);
	self->race.group = -1;
	spapr_teardown(&self->st.s);
	storm_begin(&storm, 30);
	for (round = 0; !storm_is_over(&storm, round) || round < 6; round++) {
		if (round == 5)
			memfree = spapr_memfree_kb();
		pid = fork();
		if (!pid)
			all_of_it(&self->st);
		usleep(20000 + round * 7919 % 90000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	for (tries = 0; tries < 500 && (spapr_pins_held() != self->st.pins ||
					spapr_memfree_kb() < memfree - slack); tries++)
		usleep(20000);
	EXPECT_EQ(self->st.pins, spapr_pins_held());
	EXPECT_TRUE(spapr_memfree_kb() >= memfree - slack ||
		    freed_memory_is_kept());
	TH_LOG("%lu processes", round);
	ASSERT_EQ(0, spapr_setup(&self->st.s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
}

/* One thread pins and another waits for it; neither outlives its process. */
#define LONG_SIZE	(512 * MB)

static void *registers_long(void *arg)
{
	struct race *r = arg;

	spapr_register(r->c, r->mem, LONG_SIZE);
	return NULL;
}

TEST_F(race, C12_killed_while_two_containers_register_the_same)
{
	struct spapr_setup s[2];
	struct race r[2] = { };
	int i, round, tries;
	pthread_t thread;
	pid_t pid;

	if (self->race.group < 0)
		SKIP(return, "needs two groups");
	close(self->race.group);
	self->race.group = -1;
	spapr_teardown(&self->st.s);
	for (round = 0; round < 8; round++) {
		pid = fork();
		for (i = 0; !pid && i < 2; i++) {
			if (spapr_setup(&s[i], &self->st.dev[i], VFIO_SPAPR_TCE_v2_IOMMU))
				_exit(1);
			r[i].c = s[i].container;
			r[i].mem = i ? r[0].mem : spapr_untouched_memory(LONG_SIZE, MEM_ALIGN);
			if (pthread_create(&thread, NULL, registers_long, &r[i]))
				_exit(1);
		}
		if (!pid)
			pause();
		for (tries = 0; tries < 500 && spapr_pins_held() <= self->st.pins; tries++)
			usleep(10000);
		usleep(round * 20000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		EXPECT_GT(500, tries);
	}
	for (tries = 0; tries < 500 && spapr_pins_held() != self->st.pins; tries++)
		usleep(20000);
	EXPECT_EQ(self->st.pins, spapr_pins_held());
	ASSERT_EQ(0, spapr_setup(&self->st.s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
}

/* ---- v1 ---- */

FIXTURE(v1)
{
	struct spapr_state st;
	struct race race;
};

FIXTURE_SETUP(v1)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_IOMMU);

	if (why)
		SKIP(return, "%s", why);
	self->race.rounds = ROUNDS;
	self->race.type = VFIO_SPAPR_TCE_IOMMU;
	self->race.c = self->st.s.container;
	self->race.mem = self->st.mem;
	ASSERT_EQ(0, spapr_ioctl(self->race.c, VFIO_IOMMU_ENABLE, NULL));
}

FIXTURE_TEARDOWN(v1)
{
	EXPECT_TRUE(state_end(&self->st));
}

#define V1_RACE(...)							\
	do {								\
		const struct side sides[] = { __VA_ARGS__ };		\
		struct race *race = &self->race;			\
									\
		storm(_metadata, race, sides, ARRAY_SIZE(sides));	\
		EXPECT_EQ(0, spapr_unmap(race->c, 0, RANGE));		\
		EXPECT_EQ(self->st.pins, spapr_pins_held());		\
		dma_agrees(_metadata, race, &self->st.s, &self->st.dev[0]);\
		EXPECT_EQ(self->st.pins, spapr_pins_held());		\
	} while (0)

TEST_F(v1, C9_map_against_map_and_unmap)
{
	V1_RACE({ .step = map_low, .cost = 4 },
		{ .step = map_high, .cost = 4 },
		{ .step = unmap });
}

TEST_F(v1, C9_map_against_unmap_all)
{
	V1_RACE({ .step = map_low, .cost = 4 },
		{ .step = map_both, .cost = 4 },
		{ .step = unmap_all });
}

TEST_F(v1, C9_map_against_disable)
{
	V1_RACE({ .step = map_low, .may = E(EPERM), .cost = 4 },
		{ .step = unmap, .may = E(EPERM) },
		{ .step = v1_disable_and_enable, .cost = 4 });
}

TEST_F(v1, C9_unmap_all_against_disable)
{
	V1_RACE({ .step = map_low, .may = E(EPERM), .cost = 4 },
		{ .step = unmap_all, .may = E(EPERM) },
		{ .step = v1_disable_and_enable, .cost = 4 });
}

TEST_F(v1, C9_map_against_close)
{
	const struct side sides[] = {
		{ .step = map_low, .may = GONE | E(EPERM) | E(ENODEV) },
		{ .step = map_high, .may = GONE | E(EPERM) | E(ENODEV) },
		{ .step = unmap, .may = GONE | E(EPERM) },
		{ .step = v1_disable_and_enable, .may = GONE },
	};

	close_against(_metadata, &self->st, &self->race, sides, ARRAY_SIZE(sides));
}

TEST_HARNESS_MAIN
