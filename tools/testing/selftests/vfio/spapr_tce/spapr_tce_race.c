// SPDX-License-Identifier: GPL-2.0
/*
 * Calls that race on the same entries, windows and regions. Whatever the order,
 * in the end nothing is mapped and every count is back.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "fixture.h"

#define ROUNDS	2000

FIXTURE(race)
{
	struct spapr_state st;
	int c;
	char *mem;
	uint64_t base;
};

FIXTURE_SETUP(race)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);

	if (why)
		SKIP(return, "%s", why);
	self->c = self->st.s.container;
	self->mem = self->st.mem;
	ASSERT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE / 2));
	ASSERT_EQ(0, spapr_register(self->c, self->mem + MEM_SIZE / 2, MEM_SIZE / 2));
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_64K, WIN_SIZE, 2, &self->base));
}

FIXTURE_TEARDOWN(race)
{
	EXPECT_TRUE(state_end(&self->st));
}

struct racer {
	int c;
	char *mem;
	uint64_t base;
	int unexpected;
	int hits;
	bool over;
};

static void note(struct racer *r, int ret, int allowed)
{
	if (!ret)
		r->hits++;
	else if (ret != allowed)
		r->unexpected = ret;
}

static void *maps_low(void *arg)
{
	struct racer *r = arg;
	int i;

	for (i = 0; i < ROUNDS; i++)
		note(r, spapr_map(r->c, r->base, r->mem, 8 * PAGE_64K, MAP_RW), 0);
	return NULL;
}

static void *maps_high(void *arg)
{
	struct racer *r = arg;
	int i;

	for (i = 0; i < ROUNDS; i++)
		note(r, spapr_map(r->c, r->base, r->mem + MEM_SIZE / 2, 8 * PAGE_64K, MAP_RW), 0);
	return NULL;
}

static void *unmaps(void *arg)
{
	struct racer *r = arg;
	int i;

	for (i = 0; i < ROUNDS; i++)
		note(r, spapr_unmap(r->c, r->base, 8 * PAGE_64K), 0);
	return NULL;
}

static void *maps_or_no_window(void *arg)
{
	struct racer *r = arg;
	int i;

	/* Rounds may run out while there is no window; the other thread ends with one. */
	for (i = 0; i < ROUNDS || !r->hits; i++)
		note(r, spapr_map(r->c, r->base, r->mem, 8 * PAGE_64K, MAP_RW), -ENXIO);
	return NULL;
}

static void *removes_and_creates(void *arg)
{
	struct racer *r = arg;
	uint64_t start;
	int i;

	for (i = 0; i < ROUNDS / 10; i++) {
		note(r, spapr_remove(r->c, r->base), 0);
		note(r, spapr_create(r->c, SHIFT_64K, WIN_SIZE, 2, &start), 0);
	}
	return NULL;
}

static void *maps_or_unregistered(void *arg)
{
	struct racer *r = arg;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		note(r, spapr_map(r->c, r->base, r->mem, 8 * PAGE_64K, MAP_RW), -EINVAL);
		note(r, spapr_unmap(r->c, r->base, 8 * PAGE_64K), 0);
	}
	return NULL;
}

static void *registers_and_unregisters(void *arg)
{
	struct racer *r = arg;
	int i;

	for (i = 0; i < ROUNDS / 4; i++) {
		while (spapr_unregister(r->c, r->mem, MEM_SIZE / 2) == -EBUSY)
			;
		note(r, spapr_register(r->c, r->mem, MEM_SIZE / 2), 0);
	}
	return NULL;
}

/* All to their end; then nothing may be counted any more. */
static void race3(struct __test_metadata *_metadata, struct racer *r, void *(*one)(void *),
		  void *(*two)(void *), void *(*three)(void *))
{
	void *(*const run[3])(void *) = { one, two, three };
	int i, n = three ? 3 : 2;
	struct racer racers[3];
	pthread_t threads[3];

	for (i = 0; i < n; i++) {
		racers[i] = *r;
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, run[i], &racers[i]));
	}
	for (i = 0; i < n; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(0, racers[i].unexpected);
		EXPECT_LT(0, racers[i].hits);
	}
	EXPECT_EQ(0, spapr_unmap(r->c, r->base, 8 * PAGE_64K));
	EXPECT_EQ(0, spapr_unregister(r->c, r->mem, MEM_SIZE / 2));
	EXPECT_EQ(0, spapr_unregister(r->c, r->mem + MEM_SIZE / 2, MEM_SIZE / 2));
}

static void race(struct __test_metadata *_metadata, struct racer *r, void *(*one)(void *),
		 void *(*two)(void *))
{
	race3(_metadata, r, one, two, NULL);
}

static struct racer *racer(const struct _test_data_race *self)
{
	static struct racer r;

	r.c = self->c;
	r.mem = self->mem;
	r.base = self->base;
	return &r;
}

TEST_F(race, T2_map_against_map)
{
	race(_metadata, racer(self), maps_low, maps_high);
}

TEST_F(race, T2_map_against_unmap)
{
	race(_metadata, racer(self), maps_low, unmaps);
}

TEST_F(race, T2_map_against_map_and_unmap)
{
	race3(_metadata, racer(self), maps_low, maps_high, unmaps);
}

TEST_F(race, C1_map_against_remove)
{
	race(_metadata, racer(self), maps_or_no_window, removes_and_creates);
}

TEST_F(race, R2_map_against_unregister)
{
	race(_metadata, racer(self), maps_or_unregistered, registers_and_unregisters);
}

#define LONG_SIZE	(512 * MB)

static void *registers_long(void *arg)
{
	struct racer *r = arg;

	note(r, spapr_register(r->c, r->mem, LONG_SIZE), 0);
	__atomic_store_n(&r->over, true, __ATOMIC_RELEASE);
	return NULL;
}

/*
 * While one thread pins, other memory comes and goes. The charge shows that the long
 * call is inside, a refused MAP that it still was afterwards; it may be too quick now
 * and then.
 */
TEST_F(race, R5_other_memory_is_registered_during_a_long_register)
{
	char *own = spapr_memory(PAGE_64K, PAGE_64K);
	struct racer r = { .c = self->c };
	int tries, ret = 0;
	pthread_t thread;
	long vmlck;

	for (tries = 0; tries < 20 && !ret; tries++) {
		r.over = false;
		r.mem = spapr_untouched_memory(LONG_SIZE, MEM_ALIGN);
		vmlck = spapr_vmlck_kb();
		ASSERT_EQ(0, pthread_create(&thread, NULL, registers_long, &r));
		while (spapr_vmlck_kb() == vmlck && !__atomic_load_n(&r.over, __ATOMIC_ACQUIRE))
			;
		EXPECT_EQ(0, spapr_register(r.c, own, PAGE_64K));
		EXPECT_EQ(0, spapr_unregister(r.c, own, PAGE_64K));
		/* Published or not, the range is taken. */
		EXPECT_EQ(-EBUSY, spapr_register(r.c, r.mem, LONG_SIZE));
		EXPECT_EQ(-EINVAL, spapr_register(r.c, r.mem + PAGE_64K, PAGE_64K));
		ret = spapr_map(r.c, self->base, r.mem + LONG_SIZE - PAGE_64K, PAGE_64K, MAP_RW);
		if (ret)
			EXPECT_EQ(-EINVAL, ret);

		pthread_join(thread, NULL);
		EXPECT_EQ(0, r.unexpected);
		EXPECT_EQ(0, spapr_unmap(r.c, self->base, PAGE_64K));
		ASSERT_EQ(0, spapr_unregister(r.c, r.mem, LONG_SIZE));
		munmap(r.mem, LONG_SIZE);
	}
	EXPECT_EQ(-EINVAL, ret);
}

/* One thread pins and another waits for it; neither outlives its process. */
TEST_F(race, C12_killed_while_two_containers_register_the_same)
{
	struct spapr_setup s[2];
	struct racer r[2] = { };
	int i, round, tries;
	pthread_t thread;
	pid_t pid;

	if (self->st.ndev < 2)
		SKIP(return, "needs two groups");
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

static bool comings_are_over;

/* The last group leaves while another thread is inside calls. */
static void *maps_until_gone(void *arg)
{
	struct racer *r = arg;
	bool last;

	/* Without a group calls fail at once, so rounds would run out before it is back. */
	do {
		last = __atomic_load_n(&comings_are_over, __ATOMIC_ACQUIRE);
		spapr_register(r->c, r->mem, MEM_SIZE / 2);
		r->hits += !spapr_map(r->c, 0, r->mem, 8 * PAGE_64K, MAP_RW);
	} while (!last);
	return NULL;
}

static void *leaves_and_joins(void *arg)
{
	struct racer *r = arg;
	int group = (int)r->base, i;

	for (i = 0; i < ROUNDS / 20; i++) {
		note(r, spapr_unset_container(group), 0);
		note(r, spapr_set_container(group, r->c), 0);
		note(r, spapr_set_iommu(r->c, VFIO_SPAPR_TCE_v2_IOMMU), 0);
	}
	__atomic_store_n(&comings_are_over, true, __ATOMIC_RELEASE);
	return NULL;
}

TEST_F(race, I6_calls_against_the_end_of_the_container)
{
	struct racer a = *racer(self), b = a;
	pthread_t ta, tb;

	b.base = self->st.s.group;
	ASSERT_EQ(0, pthread_create(&ta, NULL, maps_until_gone, &a));
	ASSERT_EQ(0, pthread_create(&tb, NULL, leaves_and_joins, &b));
	pthread_join(ta, NULL);
	pthread_join(tb, NULL);
	EXPECT_EQ(0, b.unexpected);
	EXPECT_LT(0, a.hits);
}

TEST_HARNESS_MAIN
