/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Threads that race on one container: what they share, the steps that they repeat, and
 * the storms in which they do.
 */
#ifndef SPAPR_TCE_RACE_H
#define SPAPR_TCE_RACE_H

#include <pthread.h>
#include <stdint.h>

#include "nvme.h"
#include "state.h"
#include "storm.h"

#define ROUNDS		2000
#define RANGE		(8 * PAGE_64K)
#define MAX_SIDES	6

/* What racers of a storm share. */
struct race {
	struct storm storm;
	unsigned long rounds;
	int c;
	int type;
	int group;		/* one that comes and goes, or -1 */
	char *mem;		/* two regions, each a half */
	char *dma;		/* a region for @nvme, mapped somewhere else */
	uint64_t base;
	struct nvme nvme;
	int device;		/* its file */
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

/* A race in the container of @st, beside the group of another device if there is one. */
void race_begin(struct race *race, const struct spapr_state *st);

/* Two regions and a window in a container that is as new, or ENABLE for v1. */
int race_ready(struct race *race);

/* A container whose last group went and came back is as new. */
int race_renew(const struct race *race, int group);

/* One step of @r, counted and judged. */
int racer_step(struct racer *r);

/* Until each of the @n sides is through; 0, or why a thread could not be had. */
int race_run(struct race *race, const struct side *sides, unsigned int n, struct racer *racers);

/* ---- steps ---- */

/* MAP of the low region, of the high one, or of the end of one and the start of the next. */
int step_map_low(struct race *r);
int step_map_high(struct race *r);
int step_map_both(struct race *r);
int step_unmap(struct race *r);
int step_unmap_all(struct race *r);

int step_create(struct race *r);
int step_remove_and_create(struct race *r);

int step_register_low(struct race *r);
int step_register_high(struct race *r);
int step_unregister_and_register(struct race *r);

int step_look_around(struct race *r);
int step_v1_disable_and_enable(struct race *r);

/* A MAP into the default window. */
int step_first_map(struct race *r);

#endif /* SPAPR_TCE_RACE_H */
