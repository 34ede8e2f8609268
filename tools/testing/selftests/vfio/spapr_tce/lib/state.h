/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The state that each test starts from, a container with one group and some memory, and
 * the check that the test left nothing behind.
 */
#ifndef SPAPR_TCE_STATE_H
#define SPAPR_TCE_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "spapr_tce.h"

#define MEM_SIZE	(16 * MB)
#define HALF		(MEM_SIZE / 2)
#define MEM_ALIGN	MB
#define WIN_SIZE	GB
#define PAGE_64K	(64 * KB)
#define NOWHERE		((void *)0x10000000000UL)	/* nothing is mapped there */

struct spapr_state {
	struct spapr_device dev[2];
	int ndev;
	int type;		/* of the container */
	struct spapr_setup s;
	char *mem;
	long vmlck;
	long pins;
	long memory_kb;
	long slab_kb;
};

/*
 * What may be missing after a test: the page allocator keeps up to 6 MB free for each
 * processor alone, more after gigabytes came and went (16 MB were seen), and some
 * transparent hugepages (two of 16 MB were seen, with the hash MMU); SLUB some slabs of
 * each cache that was used (0.6 MB, with slab_debug 2.5).  This shows big tables and what
 * is lost over and over; a single small one only a test that repeats itself can show.
 */
#define SLAB_SLACK_KB	(4 << 10)

long memory_slack_kb(void);

/* The quarantine of KASAN: what is freed is not free for some time. */
bool freed_memory_is_kept(void);

bool type_supported(int type);

/*
 * Returns why the machine cannot run the test, or NULL. A container that cannot be
 * set up although the kernel offers its type ends the test as failed: skipping it
 * would hide what an earlier test left behind.
 */
const char *state_begin(struct spapr_state *st, int ndev, int type);

/* Closes everything; true when the counters are where they were. */
bool state_end_counters(struct spapr_state *st);

/* Closes everything; true when counters and memory are where they were. */
bool state_end(struct spapr_state *st);

/* Waits until @pins are held, but not for ever; how many there are then. */
long pins_settled(long pins);

/* The same for VmLck: windows of guests are freed shortly after their end. */
long vmlck_settled(long kb);

/*
 * What @call says to a process that may lock @limit bytes; -ERANGE when it locked more. For a
 * child: there is no way back.
 */
int limited(unsigned long limit, int (*call)(int c, void *mem), int c, void *mem);

/* What rounds of calls leave behind: @LOSS_ROUNDS of 4 MB each are more than a test may miss. */
#define LOSS_ROUNDS	40

struct loss {
	long memory_kb;
	long vmlck_kb;
};

struct loss loss_begin(void);
bool loss_is_none(const struct loss *before);

bool all_bytes(const char *p, size_t size, char value);

#endif /* SPAPR_TCE_STATE_H */
