/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs with races share: the state that each begins with, storms, and the
 * check that everything works after one.
 *
 * SPAPR_TCE_SECONDS	how long each storm lasts; some tests are several. By default each
 *			thread calls some 2000 times, or less often where a call is slow.
 */
#ifndef SPAPR_TCE_RACE_FIXTURE_H
#define SPAPR_TCE_RACE_FIXTURE_H

#include "fixture.h"
#include "lib/race.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	storm_timeout()

#define AT_SOURCE	MB
#define AT_TARGET	(2 * MB)

/* For v2 two regions and a window, at best also a group that comes and goes. */
#define RACE_FIXTURE(_name, _type)					\
	FIXTURE(_name)							\
	{								\
		struct spapr_state st;					\
		struct race race;					\
	};								\
									\
	FIXTURE_SETUP(_name)						\
	{								\
		const char *why = state_begin(&self->st, 1, _type);	\
									\
		if (why)						\
			SKIP(return, "%s", why);			\
		race_begin(&self->race, &self->st);			\
		ASSERT_EQ(0, race_ready(&self->race));			\
	}								\
									\
	FIXTURE_TEARDOWN(_name)						\
	{								\
		if (self->race.group >= 0)				\
			close(self->race.group);			\
		EXPECT_TRUE(state_end(&self->st));			\
	}

/* Racers at each side until all are through, each with results that it may have. */
static inline void storm(struct __test_metadata *_metadata, struct race *race,
			 const struct side *sides, unsigned int n)
{
	struct racer racers[MAX_SIDES] = { };
	unsigned int i;

	ASSERT_EQ(0, race_run(race, sides, n, racers));
	for (i = 0; i < n; i++) {
		TH_LOG("side %u: %lu calls, %lu succeeded", i, racers[i].calls, racers[i].hits);
		EXPECT_EQ(0, racers[i].unexpected);
		/* Who may fail may be unlucky all the time: the others win. */
		if (!sides[i].may)
			EXPECT_LT(0, racers[i].hits);
	}
}

/* A device reaches what is mapped now, and no longer what is unmapped. */
static inline void dma_agrees(struct __test_metadata *_metadata, struct race *race,
			      const struct spapr_state *st)
{
	const size_t size = NVME_ROUND_TRIP;
	char *target = race->mem + AT_TARGET;
	int device = spapr_open_device(st->s.group, &st->dev[0]);
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

/* After a storm: nothing may be counted any more, and everything works. */
static inline void calm(struct __test_metadata *_metadata, struct race *race,
			const struct spapr_state *st)
{
	EXPECT_EQ(0, spapr_unmap(race->c, race->base, RANGE));
	EXPECT_EQ(0, spapr_unregister(race->c, race->mem, HALF));
	EXPECT_EQ(0, spapr_unregister(race->c, race->mem + HALF, HALF));
	EXPECT_EQ(0, spapr_register(race->c, race->mem, HALF));
	dma_agrees(_metadata, race, st);
}

#endif /* SPAPR_TCE_RACE_FIXTURE_H */
