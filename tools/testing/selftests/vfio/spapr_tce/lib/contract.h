/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A model of the documentation: which errnos are right for each call with each argument, in
 * each state of a container.  Where several things are wrong at once, each of them is.
 */
#ifndef SPAPR_TCE_CONTRACT_H
#define SPAPR_TCE_CONTRACT_H

#include <stddef.h>
#include <stdint.h>
#include <linux/vfio.h>

#include "world.h"

union arg {
	struct {
		uint32_t argsz;
		uint32_t flags;
	};
	struct vfio_iommu_spapr_tce_info info;
	struct vfio_iommu_type1_dma_map map;
	struct vfio_iommu_type1_dma_unmap unmap;
	struct vfio_iommu_spapr_register_memory reg;
	struct vfio_iommu_spapr_tce_create create;
	struct vfio_iommu_spapr_tce_remove remove;
	struct vfio_eeh_pe_op eeh;
	char bytes[64];
};

#define V1	1
#define V2	2

struct call {
	const char *name;
	unsigned long cmd;
	size_t min;		/* what argsz must cover */
	size_t size;		/* of the whole structure */
	uint32_t flags;		/* that the call takes */
	int types;
	void (*fill)(const struct world *w, union arg *arg);	/* a good argument */
	uint64_t (*answers)(const struct world *w, const union arg *arg);
};

enum {
	CALL_GET_INFO, CALL_MAP, CALL_UNMAP, CALL_REGISTER, CALL_UNREGISTER, CALL_CREATE,
	CALL_REMOVE, CALL_EEH, NR_CALLS,
};

extern const struct call contract[NR_CALLS];

union arg contract_good(const struct world *w, const struct call *call);

/* A set of errnos, E(0) where nothing is wrong. */
uint64_t contract_answers(const struct world *w, const struct call *call, const union arg *arg);

#endif /* SPAPR_TCE_CONTRACT_H */
