/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A call that is stopped while it pins, by a page that user space provides when it likes
 * (userfaultfd), and goes on when it is let go.
 */
#ifndef SPAPR_TCE_HELD_H
#define SPAPR_TCE_HELD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define HELD_PAGES	1024UL
#define HELD_HOLE	600UL	/* this one is missing: behind the first batch of pages */

struct held {
	int (*call)(struct held *held);
	int c;
	int uffd;
	char *mem;
	size_t size;
	char *hole;
	int ret;
	pid_t tid;
	pthread_t thread;
};

/* User space is asked for the page at this place of @held's memory. */
int held_hole(struct held *held, unsigned long pages);

/* A thread of its own calls; what it calls may have to wait. */
int held_start(struct held *held, int c, int (*call)(struct held *held));

/* As held_begin(), with memory and a hole. */
int held_begin_there(struct held *held, int c, int (*call)(struct held *held));

/* Returns when @call is stopped in the middle of its work. */
int held_begin(struct held *held, int c, int (*call)(struct held *held));

/* The page comes; returns what the call does. */
int held_end(struct held *held);

/* There will never be a page; returns what the call does. */
int held_fail(struct held *held);

/* Until its thread sleeps without a chance for a mere signal to wake it. */
bool held_sleeps(const struct held *held);

#endif /* SPAPR_TCE_HELD_H */
