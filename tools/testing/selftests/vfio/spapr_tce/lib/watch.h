/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Calls that must return although another one does not.  A thread of its own looks after
 * them, because what waits for a lock in the kernel may not wake up for a signal.
 */
#ifndef SPAPR_TCE_WATCH_H
#define SPAPR_TCE_WATCH_H

#define WATCH_PATIENCE	240	/* seconds until a call counts as stuck */

/* Once in a process, before the first prompt(). */
int watch_begin(void);

/* The process fails unless watch_off() comes in time; @doing is what it says then. */
void watch_on(const char *doing);
void watch_off(void);

/* The result of @call. */
#define prompt(call)			\
	({				\
		int _ret;		\
					\
		watch_on(#call);	\
		_ret = (call);		\
		watch_off();		\
		_ret;			\
	})

#endif /* SPAPR_TCE_WATCH_H */
