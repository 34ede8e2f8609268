/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What fails on demand. The kernel fails the n-th allocation of a task that writes n to its
 * fail-nth, and calls of firmware for a task that says so.
 */
#ifndef SPAPR_TCE_FAULT_H
#define SPAPR_TCE_FAULT_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAULT_POINTS	500	/* no call allocates as often */

/* What became of the n-th allocation; the exit status of a child. */
enum outcome {
	NOT_REACHED = 10,	/* the call makes fewer, and succeeded */
	FAILED,			/* and the call with it, as it should */
	SURVIVED,		/* the call found another way */
	BROKEN,
};

/* Has allocations of all kinds fail when they are asked to; why there can be none, or NULL. */
const char *fault_begin(void);

/* From now on the @n-th allocation fails; for fault_disarm(). Ends as BROKEN without fail-nth. */
int fault_arm(int n);

/* No longer; whether it came to that. */
bool fault_disarm(int armed);

/* What is not as it should be, in words. */
enum outcome fault_broken(const char *what, int n, long got, long want);

/* Calls of firmware that may be refused. */
#define FIRMWARE_KILL	"opal_pci_tce_kill"
#define FIRMWARE_WINDOW	"opal_pci_map_pe_dma_window"

/* Has one of them refused when that is asked for; why that cannot be, or NULL. */
const char *fault_firmware_begin(const char *call);

/*
 * From now on firmware refuses what the calling thread asks it, after @skip calls and at most
 * @times. One kill of some TCEs is two calls: what does not work for them is tried for all of
 * the PE.
 */
void fault_firmware(int skip, int times);

/* No longer; how many calls have failed. */
int fault_firmware_end(void);

/* Never again: fail-nth would count these calls, too. */
void fault_firmware_off(void);

/*
 * For a test with a variant, whose @least says how many allocations must fail with the call:
 * @_one, an outcome that depends on @n, in a child for each n until there is nothing more to fail.
 */
#define FAULT_EACH_ONCE(_one)							\
do {										\
	int n, status, counts[BROKEN + 1] = { 0 };				\
	pid_t pid;								\
										\
	for (n = 1; n <= FAULT_POINTS && !counts[NOT_REACHED]; n++) {		\
		fflush(stdout);							\
		pid = fork();							\
		ASSERT_LE(0, pid);						\
		if (!pid)							\
			exit(_one);						\
		ASSERT_EQ(pid, waitpid(pid, &status, 0));			\
		ASSERT_TRUE(WIFEXITED(status));					\
		status = WEXITSTATUS(status);					\
		ASSERT_TRUE(status >= NOT_REACHED && status < BROKEN);		\
		counts[status]++;						\
	}									\
	TH_LOG("%d allocations failed with the call, %d without",		\
	       counts[FAILED], counts[SURVIVED]);				\
	EXPECT_EQ(1, counts[NOT_REACHED]);					\
	EXPECT_LE(variant->least, counts[FAILED]);				\
} while (0)

#endif /* SPAPR_TCE_FAULT_H */
