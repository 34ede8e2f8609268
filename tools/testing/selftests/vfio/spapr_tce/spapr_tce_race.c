// SPDX-License-Identifier: GPL-2.0
/*
 * Calls that race on the same entries, windows, regions and groups. Whatever the order,
 * each gives a result that fits, in the end nothing is mapped, every count is back, and
 * a device reaches what is mapped then and nothing else.
 */
#include "race_fixture.h"

#define DMA_AT		(256 * MB)	/* from the start of a window: for a device of its own */

/* ---- steps that only these storms have ---- */

static int unregister_and_register_high(struct race *r)
{
	int ret = spapr_unregister(r->c, r->mem + HALF, HALF);

	return ret ? ret : step_register_high(r);
}

static int join_and_leave(struct race *r)
{
	int ret = spapr_set_container(r->group, r->c);

	return ret ? ret : spapr_unset_container(r->group);
}

static int do_dma(struct race *r)
{
	return nvme_round_trip(&r->nvme, r->dma, r->base + DMA_AT, AT_SOURCE, AT_TARGET) ? 0 :
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
	int ret = step_map_both(r);

	if (ret)
		return ret;
	if (unregister_settled(r, r->mem) != -EBUSY ||
	    unregister_settled(r, r->mem + HALF) != -EBUSY)
		return -ERANGE;
	return spapr_unmap(r->c, r->base, RANGE);
}

/* ---- v2 ---- */

RACE_FIXTURE(race, VFIO_SPAPR_TCE_v2_IOMMU)

#define RACE(...)							\
	do {								\
		const struct side sides[] = { __VA_ARGS__ };		\
									\
		storm(_metadata, &self->race, sides, ARRAY_SIZE(sides));\
		calm(_metadata, &self->race, &self->st);		\
	} while (0)

/* A device of the first group transfers data to and from a region of its own meanwhile. */
static void begin_dma(struct __test_metadata *_metadata, struct race *race,
		      const struct spapr_state *st)
{
	race->dma = spapr_memory(4 * MB, MEM_ALIGN);
	race->device = spapr_open_device(st->s.group, &st->dev[0]);
	ASSERT_LE(0, race->device);
	ASSERT_EQ(0, spapr_register(race->c, race->dma, 4 * MB));
	ASSERT_EQ(0, spapr_map(race->c, race->base + DMA_AT, race->dma, 4 * MB, MAP_RW));
	ASSERT_EQ(0, nvme_start(&race->nvme, race->device, race->dma, race->base + DMA_AT));
}

static void end_dma(struct race *race)
{
	nvme_stop(&race->nvme);
	close(race->device);
}

#define RACE_BESIDE_DMA(...)						\
	do {								\
		const struct side sides[] = {				\
			__VA_ARGS__, { .step = do_dma, .cost = 100 },	\
		};							\
									\
		begin_dma(_metadata, &self->race, &self->st);		\
		storm(_metadata, &self->race, sides, ARRAY_SIZE(sides));\
		end_dma(&self->race);					\
		calm(_metadata, &self->race, &self->st);		\
	} while (0)

TEST_F(race, T2_map_against_map)
{
	RACE({ .step = step_map_low }, { .step = step_map_high });
}

TEST_F(race, T2_map_against_unmap)
{
	RACE({ .step = step_map_low }, { .step = step_unmap });
}

TEST_F(race, T2_map_against_map_and_unmap_beside_dma)
{
	RACE_BESIDE_DMA({ .step = step_map_low },
			{ .step = step_map_high },
			{ .step = step_map_both },
			{ .step = step_unmap });
}

TEST_F(race, T2_map_against_unmap_all)
{
	RACE({ .step = step_map_low }, { .step = step_map_high }, { .step = step_unmap_all });
}

TEST_F(race, T2_unmap_against_unmap_all)
{
	RACE({ .step = step_map_both },
	     { .step = step_unmap },
	     { .step = step_unmap_all },
	     { .step = step_unmap_all });
}

TEST_F(race, C1_map_against_remove)
{
	RACE({ .step = step_map_low, .may = E(ENXIO) },
	     { .step = step_unmap, .may = E(ENXIO) },
	     { .step = step_remove_and_create, .cost = 10 });
}

TEST_F(race, C1_unmap_all_against_remove)
{
	RACE({ .step = step_map_both, .may = E(ENXIO) },
	     { .step = step_unmap_all },
	     { .step = step_remove_and_create, .cost = 10 });
}

TEST_F(race, C1_remove_against_remove)
{
	RACE({ .step = step_map_low, .may = E(ENXIO) },
	     { .step = step_look_around },
	     { .step = step_remove_and_create, .may = E(EINVAL) | E(ENOSPC), .cost = 10 },
	     { .step = step_remove_and_create, .may = E(EINVAL) | E(ENOSPC), .cost = 10 });
}

TEST_F(race, R2_map_against_unregister)
{
	RACE({ .step = step_map_low, .may = E(EINVAL) },
	     { .step = step_unmap },
	     { .step = step_unregister_and_register, .may = E(EBUSY), .cost = 4 });
}

TEST_F(race, R2_unmap_all_against_unregister)
{
	RACE({ .step = step_map_both, .may = E(EINVAL) },
	     { .step = step_unmap_all },
	     { .step = step_unregister_and_register, .may = E(EBUSY), .cost = 4 });
}

TEST_F(race, C4_map_that_succeeded_has_mapped_everything)
{
	/* The moment in which it could go wrong is short. */
	self->race.rounds *= 5;
	RACE({ .step = map_and_check, .may = E(EINVAL) },
	     { .step = step_unregister_and_register, .may = E(EBUSY), .cost = 4 },
	     { .step = unregister_and_register_high, .may = E(EBUSY), .cost = 4 });
}

TEST_F(race, I12_calls_while_a_group_comes_and_goes_beside_dma)
{
	if (self->race.group < 0)
		SKIP(return, "needs two groups");
	RACE_BESIDE_DMA({ .step = step_map_low },
			{ .step = step_unmap },
			{ .step = step_look_around },
			{ .step = join_and_leave, .cost = 20 });
}

TEST_F(race, I12_unmap_all_while_a_group_comes_and_goes)
{
	if (self->race.group < 0)
		SKIP(return, "needs two groups");
	RACE({ .step = step_map_both },
	     { .step = step_unmap_all },
	     { .step = join_and_leave, .cost = 20 });
}

TEST_F(race, C1_windows_and_groups_come_and_go)
{
	if (self->race.group < 0)
		SKIP(return, "needs two groups");
	RACE({ .step = step_map_low, .may = E(ENXIO) },
	     { .step = step_unmap_all },
	     { .step = step_look_around },
	     { .step = join_and_leave, .cost = 20 },
	     { .step = step_remove_and_create, .cost = 10 });
}

TEST_F(race, everything_at_once)
{
	const struct side join = { .step = join_and_leave, .cost = 20 };

	RACE({ .step = step_map_both, .may = E(ENXIO) | E(EINVAL) },
	     { .step = step_map_high, .may = E(ENXIO) },
	     { .step = step_unmap_all },
	     { .step = step_unregister_and_register, .may = E(EBUSY), .cost = 4 },
	     { .step = step_remove_and_create, .cost = 10 },
	     self->race.group < 0 ? (struct side){ .step = step_look_around } : join);
}

/* ---- v1 ---- */

RACE_FIXTURE(v1, VFIO_SPAPR_TCE_IOMMU)

#define V1_RACE(...)							\
	do {								\
		const struct side sides[] = { __VA_ARGS__ };		\
		struct race *race = &self->race;			\
									\
		storm(_metadata, race, sides, ARRAY_SIZE(sides));	\
		EXPECT_EQ(0, spapr_unmap(race->c, 0, RANGE));		\
		EXPECT_EQ(self->st.pins, spapr_pins_held());		\
		dma_agrees(_metadata, race, &self->st);			\
		EXPECT_EQ(self->st.pins, spapr_pins_held());		\
	} while (0)

TEST_F(v1, C9_map_against_map_and_unmap)
{
	V1_RACE({ .step = step_map_low, .cost = 4 },
		{ .step = step_map_high, .cost = 4 },
		{ .step = step_unmap });
}

TEST_F(v1, C9_map_against_unmap_all)
{
	V1_RACE({ .step = step_map_low, .cost = 4 },
		{ .step = step_map_both, .cost = 4 },
		{ .step = step_unmap_all });
}

TEST_F(v1, C9_map_against_disable)
{
	V1_RACE({ .step = step_map_low, .may = E(EPERM), .cost = 4 },
		{ .step = step_unmap, .may = E(EPERM) },
		{ .step = step_v1_disable_and_enable, .cost = 4 });
}

TEST_F(v1, C9_unmap_all_against_disable)
{
	V1_RACE({ .step = step_map_low, .may = E(EPERM), .cost = 4 },
		{ .step = step_unmap_all, .may = E(EPERM) },
		{ .step = step_v1_disable_and_enable, .cost = 4 });
}

TEST_HARNESS_MAIN
