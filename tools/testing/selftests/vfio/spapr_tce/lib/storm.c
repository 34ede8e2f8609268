// SPDX-License-Identifier: GPL-2.0
/* See storm.h. */
#include <time.h>

#include "spapr_tce.h"
#include "storm.h"

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

void storm_begin(struct storm *storm, unsigned long rounds)
{
	long seconds = spapr_env("SPAPR_TCE_SECONDS", 0);

	storm->rounds = rounds;
	storm->end = seconds > 0 ? now() + seconds : 0;
}

bool storm_is_over(const struct storm *storm, unsigned long round)
{
	return storm->end ? now() >= storm->end : round >= storm->rounds;
}

int storm_timeout(void)
{
	return 900 + 10 * spapr_env("SPAPR_TCE_SECONDS", 0);
}

/* Marsaglia's xorshift64: any state but 0 comes back only after all others. */
uint64_t storm_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}
