/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers for programs that use a device by its own file and /dev/iommu: one function per ioctl.
 *
 * Functions that return int give 0 (or what their comment says) or -errno.
 */
#ifndef SPAPR_TCE_IOMMUFD_H
#define SPAPR_TCE_IOMMUFD_H

#include <stdbool.h>
#include <stdint.h>
#include <linux/iommufd.h>

#include "spapr_tce.h"

/* Whether the kernel has /dev/iommu, and files for devices. */
bool iommufd_supported(const struct spapr_device *device);

/* File descriptors. */
int iommufd_open(void);
int iommufd_open_device(const struct spapr_device *device);

/* Give the device to @iommufd, where it is *@id then, if that is wanted. */
int iommufd_bind(int device, int iommufd, uint32_t *id);

/* Let the device do its DMA through an IOAS or a HWPT, also instead of another one; or none. */
int iommufd_attach(int device, uint32_t pt);
int iommufd_detach(int device);

/* New objects; the caller says which device and IOAS a HWPT is for. */
int iommufd_ioas(int iommufd, uint32_t *ioas);
int iommufd_hwpt(int iommufd, uint32_t device, uint32_t ioas, uint32_t flags, uint32_t *hwpt);
int iommufd_destroy(int iommufd, uint32_t id);

/* Map at an address, or where there is room. */
int iommufd_map(int iommufd, uint32_t ioas, uint64_t iova, void *va, uint64_t size,
		unsigned int flags);
int iommufd_map_anywhere(int iommufd, uint32_t ioas, uint64_t *iova, void *va, uint64_t size);
int iommufd_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t size);
int iommufd_unmap_all(int iommufd, uint32_t ioas);

/* The addresses that can be mapped: how many ranges, at most @max of which are filled in. */
int iommufd_ranges(int iommufd, uint32_t ioas, struct iommu_iova_range *ranges, uint32_t max,
		   uint64_t *alignment);

/* A device with an IOAS. */
struct iommufd_setup {
	int iommufd;
	int device;
	uint32_t id;
	uint32_t ioas;
};

int iommufd_setup(struct iommufd_setup *setup, const struct spapr_device *device);
void iommufd_teardown(struct iommufd_setup *setup);

#endif /* SPAPR_TCE_IOMMUFD_H */
