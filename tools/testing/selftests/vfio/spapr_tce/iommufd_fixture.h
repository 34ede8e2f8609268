/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs of /dev/iommu share: devices and memory, and the check that the counters
 * are where they were.
 */
#ifndef SPAPR_TCE_IOMMUFD_FIXTURE_H
#define SPAPR_TCE_IOMMUFD_FIXTURE_H

#include "fixture.h"
#include "lib/iommufd.h"

#define AT_SOURCE	MB
#define AT_TARGET	(2 * MB)
#define CHUNK		NVME_ROUND_TRIP
#define IOVA		(8 * GB)	/* not in the PHB's way */
#define MAX_DEVICES	8

struct iommufd_state {
	struct spapr_device dev[MAX_DEVICES];
	int ndev;
	char *mem;
	long pins;
	struct loss loss;
};

/* Why the machine cannot run the test, or NULL. */
static inline const char *iommufd_begin(struct iommufd_state *st, int ndev)
{
	st->ndev = spapr_find_devices(st->dev, MAX_DEVICES);
	if (st->ndev < ndev)
		return "too few NVMe controllers that vfio-pci can take";
	if (!iommufd_supported(&st->dev[0]))
		return "no /dev/iommu, or no file for a device";
	st->mem = spapr_memory(MEM_SIZE, MEM_ALIGN);
	st->pins = spapr_pins_held();
	st->loss = loss_begin();
	return NULL;
}

/* Everything is closed: whether nothing is pinned, charged or lost. */
static inline bool iommufd_end(const struct iommufd_state *st)
{
	return pins_settled(st->pins) == st->pins && loss_is_none(&st->loss);
}

#endif /* SPAPR_TCE_IOMMUFD_FIXTURE_H */
