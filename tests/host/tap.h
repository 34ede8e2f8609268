/* SPDX-License-Identifier: GPL-2.0 */
/* A test program's verdicts, as TAP. */
#ifndef TAP_H
#define TAP_H

#include <stdio.h>

static int tap_tests, tap_failed;

/* One test: @condition, its name, and for a failure the numbers that show it. */
#define tap(condition, name, ...)					\
	do {								\
		int tap_ok = !!(condition);				\
									\
		printf("%s %d - %s\n", tap_ok ? "ok" : "not ok", ++tap_tests, name); \
		if (!tap_ok) {						\
			tap_failed++;					\
			printf("# " __VA_ARGS__);			\
			printf("\n");					\
		}							\
	} while (0)

static inline int tap_end(void)
{
	printf("1..%d\n", tap_tests);
	return tap_failed != 0;
}

#endif /* TAP_H */
