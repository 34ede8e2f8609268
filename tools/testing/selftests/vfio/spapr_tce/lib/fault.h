/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Allocations that fail: the kernel fails the n-th allocation of a task that writes n to its
 * fail-nth.
 */
#ifndef SPAPR_TCE_FAULT_H
#define SPAPR_TCE_FAULT_H

#include <stdbool.h>

/* What became of the n-th allocation; the exit status of a child. */
enum outcome {
	NOT_REACHED = 10,	/* the call makes fewer, and succeeded */
	FAILED,			/* and the call with it, as it should */
	SURVIVED,		/* the call found another way */
	BROKEN,
};

/* Has allocations of all kinds fail when they are asked to; why there can be none, or NULL. */
const char *fault_begin(void);

/*
 * @call with the @n-th allocation failing; *@injected is whether it came to that. The process
 * ends as BROKEN if there is no fail-nth.
 */
int fault_call(int (*call)(void *arg), void *arg, int n, bool *injected);

/* What is not as it should be, in words. */
enum outcome fault_broken(const char *what, int n, long got, long want);

#endif /* SPAPR_TCE_FAULT_H */
