/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Calls of several threads that go on for some rounds, or, when somebody has time, for
 * as many seconds as SPAPR_TCE_SECONDS says.
 */
#ifndef SPAPR_TCE_STORM_H
#define SPAPR_TCE_STORM_H

#include <stdbool.h>
#include <stdint.h>

struct storm {
	unsigned long rounds;
	double end;		/* 0: the rounds count */
};

void storm_begin(struct storm *storm, unsigned long rounds);
bool storm_is_over(const struct storm *storm, unsigned long round);

/* Seconds until a test that is one storm, or a few, counts as stuck. */
int storm_timeout(void);

/* The next of a series of numbers that @state, not 0, begins. */
uint64_t storm_random(uint64_t *state);

#endif /* SPAPR_TCE_STORM_H */
