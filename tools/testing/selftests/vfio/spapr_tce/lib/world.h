/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A container in one of a few known states, and looks at whether it still is.  What is not
 * as it should be is counted, and the first of it printed.
 */
#ifndef SPAPR_TCE_WORLD_H
#define SPAPR_TCE_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/vfio.h>

#include "state.h"

/* The low half of the memory is the one that is registered and mapped. */
enum stage {
	NOTHING,	/* the container has its group and type */
	ENABLED,	/* v1: by ENABLE; v2: by REGISTER of the low half */
	WINDOWS,	/* both windows are there */
	MAPPED,		/* the low half is mapped at the start of each window */
};

struct window {
	uint64_t base;
	uint64_t size;
	unsigned int shift;
};

/* What the container is known to hold. */
struct world {
	struct spapr_state *st;
	int c;
	char *mem;
	char *edge;		/* the end of mapped memory, for arguments */
	bool v2;
	enum stage stage;
	unsigned int shift, levels;	/* of the second window */
	struct window windows[2];	/* a default window that is due counts as there */
	int nwindows;
	bool due;
	struct vfio_iommu_spapr_tce_info info;
	long vmlck, pins;
	int wrong;		/* surprises so far */
};

void world_complain(struct world *w, const char *call, const char *what, long got, uint64_t want);

/* The state that @w describes, in a new container. */
int world_build(struct world *w);

/* The one call that fails and leaves something: a MAP or UNMAP makes the default window. */
void world_default_window_may_be_there(struct world *w);

/* After @call was refused; the state is looked at by calls that change nothing themselves. */
void world_check_counters(struct world *w, const char *call);
void world_check_state(struct world *w, const char *call);

/* What was mapped goes, and then nothing may be left. */
void world_check_mappings(struct world *w);

#endif /* SPAPR_TCE_WORLD_H */
