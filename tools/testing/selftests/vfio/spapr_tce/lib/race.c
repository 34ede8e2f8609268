// SPDX-License-Identifier: GPL-2.0
/* See race.h. */
#include <errno.h>
#include <pthread.h>
#include <stddef.h>

#include "race.h"
#include "spapr_tce.h"

void race_begin(struct race *race, const struct spapr_state *st)
{
	bool v2 = st->type == VFIO_SPAPR_TCE_v2_IOMMU;

	race->rounds = ROUNDS;
	race->c = st->s.container;
	race->type = st->type;
	race->mem = st->mem;
	race->group = v2 && st->ndev > 1 ? spapr_open_group(&st->dev[1]) : -1;
}

int race_ready(struct race *race)
{
	if (race->type == VFIO_SPAPR_TCE_IOMMU)
		return spapr_ioctl(race->c, VFIO_IOMMU_ENABLE, NULL);
	return spapr_register(race->c, race->mem, HALF) ?:
	       spapr_register(race->c, race->mem + HALF, HALF) ?:
	       spapr_create(race->c, SHIFT_64K, WIN_SIZE, 2, &race->base);
}

int race_renew(const struct race *race, int group)
{
	int ret = spapr_unset_container(group);

	if (!ret)
		ret = spapr_set_container(group, race->c);
	return ret ? ret : spapr_set_iommu(race->c, race->type);
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

int racer_step(struct racer *r)
{
	int ret = r->side->step(r->race);

	r->calls++;
	if (!ret)
		r->hits++;
	else if (!spapr_says_one_of(ret, r->side->may))
		r->unexpected = ret;
	return ret;
}

static void *racer_run(void *arg)
{
	struct racer *r = arg;
	struct race *race = r->race;
	bool done = false;

	/* All go on until the last one is done, so that there is a race to the end. */
	while (__atomic_load_n(&race->busy, __ATOMIC_ACQUIRE)) {
		racer_step(r);
		if (!done && racer_is_through(r)) {
			done = true;
			__atomic_sub_fetch(&race->busy, 1, __ATOMIC_ACQ_REL);
		}
	}
	return NULL;
}

int race_run(struct race *race, const struct side *sides, unsigned int n, struct racer *racers)
{
	unsigned int i;
	int ret = 0;

	storm_begin(&race->storm, race->rounds);
	race->busy = n;
	for (i = 0; i < n && !ret; i++) {
		racers[i].race = race;
		racers[i].side = &sides[i];
		ret = -pthread_create(&racers[i].thread, NULL, racer_run, &racers[i]);
	}
	if (ret) {
		i--;
		__atomic_store_n(&race->busy, 0, __ATOMIC_RELEASE);
	}
	while (i--)
		pthread_join(racers[i].thread, NULL);
	return ret;
}

/* ---- steps ---- */

int step_map_low(struct race *r)
{
	return spapr_map(r->c, r->base, r->mem, RANGE, MAP_RW);
}

int step_map_high(struct race *r)
{
	return spapr_map(r->c, r->base, r->mem + HALF, RANGE, MAP_RW);
}

int step_map_both(struct race *r)
{
	return spapr_map(r->c, r->base, r->mem + HALF - RANGE / 2, RANGE, MAP_RW);
}

int step_unmap(struct race *r)
{
	return spapr_unmap(r->c, r->base, RANGE);
}

int step_unmap_all(struct race *r)
{
	uint64_t size;
	int ret = spapr_unmap_all(r->c, &size);

	/* Nobody has more than this mapped at a time. */
	return ret ? ret : size > 2 * MEM_SIZE || size % (4 * KB) ? -ERANGE : 0;
}

int step_create(struct race *r)
{
	uint64_t start;

	return spapr_create(r->c, SHIFT_64K, WIN_SIZE, 2, &start);
}

int step_remove_and_create(struct race *r)
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

int step_register_low(struct race *r)
{
	return register_half(r, r->mem);
}

int step_register_high(struct race *r)
{
	return register_half(r, r->mem + HALF);
}

int step_unregister_and_register(struct race *r)
{
	int ret = spapr_unregister(r->c, r->mem, HALF);

	return ret ? ret : step_register_low(r);
}

int step_look_around(struct race *r)
{
	struct vfio_iommu_spapr_tce_info info;
	int ret = spapr_get_info(r->c, &info);

	return ret ? ret : info.dma32_window_start ? -ERANGE : 0;
}

int step_v1_disable_and_enable(struct race *r)
{
	int ret = spapr_ioctl(r->c, VFIO_IOMMU_DISABLE, NULL);

	return ret ? ret : spapr_ioctl(r->c, VFIO_IOMMU_ENABLE, NULL);
}

int step_first_map(struct race *r)
{
	return spapr_map(r->c, 0, r->mem, RANGE, MAP_RW);
}
