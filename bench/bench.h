/* SPDX-License-Identifier: GPL-2.0 */
/* What the groups of workloads share; see spapr_tce_bench.c. */
#ifndef SPAPR_TCE_BENCH_H
#define SPAPR_TCE_BENCH_H

#include <stddef.h>
#include <stdint.h>

#include "lib/spapr_tce.h"

#define REPEAT		3
#define PAGE		(64 * KB)

extern struct spapr_device dev;
extern struct spapr_setup box;		/* the container that the workload uses */
extern unsigned long records;

static inline void begin(void)
{
	asm volatile("ori 0,0,0x5a01" : : : "memory");
}

static inline void end(void)
{
	asm volatile("ori 0,0,0x5a02" : : : "memory");
	records++;
}

/* The last record did @n units of the work @name. */
void point(const char *name, const char *unit, double n);

/* Ends the program if @ret is an errno. */
void must(int ret, const char *what);

/* Count what the call does; it must succeed. */
#define COUNTED(call) ({			\
	int _ret;				\
						\
	begin();				\
	_ret = (call);				\
	end();					\
	must(_ret, #call);			\
})

char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));

void box_open(void);
void box_close(void);

/* A window at 0 in place of the default window, which would be in the way. */
int window(unsigned int shift, uint64_t size, unsigned int levels);

/* Kinds of memory: NULL where the machine does not have it. */
enum backing { SMALL, THP, HUGE_2M, HUGE_16M, HUGE_1G };
char *memory_get(enum backing backing, size_t size);
void memory_put(enum backing backing, char *va, size_t size);

/* Base pages, which have been touched. */
char *small_memory(size_t size);

/* Wait for frees that were put off until nobody looks any more. */
void settle(void);

void group_hypercalls(void);
void group_iommufd(void);

#endif /* SPAPR_TCE_BENCH_H */
