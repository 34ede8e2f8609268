// SPDX-License-Identifier: GPL-2.0
/*
 * Calls that race with the end of their container: it is closed, its last group leaves, or
 * its process is killed, and nothing stays pinned or charged.
 */
#include <signal.h>

#include "race_fixture.h"

RACE_FIXTURE(race, VFIO_SPAPR_TCE_v2_IOMMU)

/* ---- closed, or left by its last group ---- */

/* Until the descriptor is gone; between the end of the group and that nothing works. */
static void *goes_on_until_closed(void *arg)
{
	while (racer_step(arg) != -EBADF)
		;
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
		ASSERT_EQ(0, race_ready(race));
	}
	TH_LOG("%lu rounds, %lu calls succeeded", round, hits);
	EXPECT_LT(0, hits);
}

/* No container, no driver behind it, or no group any more. */
#define GONE	(E(EBADF) | E(EINVAL) | E(ENXIO))

TEST_F(race, I6_map_against_close)
{
	const struct side sides[] = {
		{ .step = step_map_both, .may = GONE },
		{ .step = step_unmap, .may = GONE },
		{ .step = step_unmap_all, .may = GONE },
	};

	close_against(_metadata, &self->st, &self->race, sides, ARRAY_SIZE(sides));
	calm(_metadata, &self->race, &self->st);
}

TEST_F(race, I6_windows_and_memory_against_close)
{
	const struct side sides[] = {
		{ .step = step_map_high, .may = GONE },
		{ .step = step_remove_and_create, .may = GONE },
		{ .step = step_unregister_and_register, .may = GONE | E(EBUSY) },
		{ .step = step_look_around, .may = GONE },
	};

	close_against(_metadata, &self->st, &self->race, sides, ARRAY_SIZE(sides));
	calm(_metadata, &self->race, &self->st);
}

/* The last group leaves and comes back while others are inside calls. */
static int leave_and_join_again(struct race *r)
{
	return race_renew(r, r->group);
}

TEST_F(race, I6_calls_against_the_last_group_that_leaves)
{
	const struct side sides[] = {
		{ .step = step_register_low, .may = E(EINVAL) | E(EBUSY) },
		{ .step = step_first_map, .may = E(EINVAL) | E(EPERM) | E(ENXIO) },
		{ .step = step_unmap_all, .may = E(EINVAL) | E(EPERM) },
		{ .step = step_create, .may = E(EINVAL) | E(ENOSPC) | E(ENXIO) },
		{ .step = leave_and_join_again, .cost = 20 },
	};
	struct race *race = &self->race;
	int other = race->group;

	race->group = self->st.s.group;
	storm(_metadata, race, sides, ARRAY_SIZE(sides));
	race->group = other;
	ASSERT_EQ(0, race_renew(race, self->st.s.group));
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
		{ .step = step_map_both }, { .step = step_unmap_all },
		{ .step = step_unregister_and_register }, { .step = step_remove_and_create },
		{ .step = step_map_high }, { .step = leave_and_join_again },
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
	EXPECT_EQ(self->st.pins, pins_settled(self->st.pins));
	ASSERT_EQ(0, spapr_setup(&self->st.s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
}

/* ---- v1 ---- */

RACE_FIXTURE(v1, VFIO_SPAPR_TCE_IOMMU)

TEST_F(v1, C9_map_against_close)
{
	const struct side sides[] = {
		{ .step = step_map_low, .may = GONE | E(EPERM) | E(ENODEV) },
		{ .step = step_map_high, .may = GONE | E(EPERM) | E(ENODEV) },
		{ .step = step_unmap, .may = GONE | E(EPERM) },
		{ .step = step_v1_disable_and_enable, .may = GONE },
	};

	close_against(_metadata, &self->st, &self->race, sides, ARRAY_SIZE(sides));
}

TEST_HARNESS_MAIN
