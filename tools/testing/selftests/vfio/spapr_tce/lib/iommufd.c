// SPDX-License-Identifier: GPL-2.0
/* See iommufd.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/vfio.h>

#include "iommufd.h"

/* The name of the device's file; false when it has none. */
static bool file_of(const struct spapr_device *device, char *name, size_t size)
{
	struct dirent *entry;
	bool found = false;
	char path[100];
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", device->bdf);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		found = !strncmp(entry->d_name, "vfio", 4);
		if (found)
			snprintf(name, size, "/dev/vfio/devices/%.40s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

bool iommufd_supported(const struct spapr_device *device)
{
	char name[80];

	return !access("/dev/iommu", F_OK) && file_of(device, name, sizeof(name)) &&
	       !access(name, F_OK);
}

int iommufd_open(void)
{
	int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int iommufd_open_device(const struct spapr_device *device)
{
	char name[80];
	int fd;

	if (!file_of(device, name, sizeof(name)))
		return -ENOENT;
	fd = open(name, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int iommufd_bind(int device, int iommufd, uint32_t *id)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = iommufd };
	int ret = spapr_ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind);

	if (id)
		*id = bind.out_devid;
	return ret;
}

int iommufd_attach(int device, uint32_t pt)
{
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach), .pt_id = pt };

	return spapr_ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

int iommufd_detach(int device)
{
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };

	return spapr_ioctl(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
}

int iommufd_ioas(int iommufd, uint32_t *ioas)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	int ret = spapr_ioctl(iommufd, IOMMU_IOAS_ALLOC, &alloc);

	*ioas = alloc.out_ioas_id;
	return ret;
}

int iommufd_hwpt(int iommufd, uint32_t device, uint32_t ioas, uint32_t flags, uint32_t *hwpt)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = flags, .dev_id = device, .pt_id = ioas,
	};
	int ret = spapr_ioctl(iommufd, IOMMU_HWPT_ALLOC, &alloc);

	*hwpt = alloc.out_hwpt_id;
	return ret;
}

int iommufd_destroy(int iommufd, uint32_t id)
{
	struct iommu_destroy destroy = { .size = sizeof(destroy), .id = id };

	return spapr_ioctl(iommufd, IOMMU_DESTROY, &destroy);
}

static int map_call(int iommufd, struct iommu_ioas_map *map)
{
	map->size = sizeof(*map);
	return spapr_ioctl(iommufd, IOMMU_IOAS_MAP, map);
}

int iommufd_map(int iommufd, uint32_t ioas, uint64_t iova, void *va, uint64_t size,
		unsigned int flags)
{
	struct iommu_ioas_map map = {
		.flags = IOMMU_IOAS_MAP_FIXED_IOVA |
			 (flags & MAP_READ ? IOMMU_IOAS_MAP_READABLE : 0) |
			 (flags & MAP_WRITE ? IOMMU_IOAS_MAP_WRITEABLE : 0),
		.ioas_id = ioas, .user_va = (uintptr_t)va, .length = size, .iova = iova,
	};

	return map_call(iommufd, &map);
}

int iommufd_map_anywhere(int iommufd, uint32_t ioas, uint64_t *iova, void *va, uint64_t size)
{
	struct iommu_ioas_map map = {
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE,
		.ioas_id = ioas, .user_va = (uintptr_t)va, .length = size,
	};
	int ret = map_call(iommufd, &map);

	*iova = map.iova;
	return ret;
}

int iommufd_unmap(int iommufd, uint32_t ioas, uint64_t iova, uint64_t size)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap), .ioas_id = ioas, .iova = iova, .length = size,
	};

	return spapr_ioctl(iommufd, IOMMU_IOAS_UNMAP, &unmap);
}

int iommufd_unmap_all(int iommufd, uint32_t ioas)
{
	return iommufd_unmap(iommufd, ioas, 0, UINT64_MAX);
}

int iommufd_ranges(int iommufd, uint32_t ioas, struct iommu_iova_range *ranges, uint32_t max,
		   uint64_t *alignment)
{
	struct iommu_ioas_iova_ranges arg = {
		.size = sizeof(arg), .ioas_id = ioas, .num_iovas = max,
		.allowed_iovas = (uintptr_t)ranges,
	};
	int ret = spapr_ioctl(iommufd, IOMMU_IOAS_IOVA_RANGES, &arg);

	*alignment = arg.out_iova_alignment;
	return ret ? ret : (int)arg.num_iovas;
}

int iommufd_setup(struct iommufd_setup *setup, const struct spapr_device *device)
{
	int ret;

	setup->device = -1;
	setup->iommufd = iommufd_open();
	if (setup->iommufd < 0)
		return setup->iommufd;
	setup->device = iommufd_open_device(device);
	ret = setup->device < 0 ? setup->device : 0;
	if (!ret)
		ret = iommufd_bind(setup->device, setup->iommufd, &setup->id);
	if (!ret)
		ret = iommufd_ioas(setup->iommufd, &setup->ioas);
	if (!ret)
		ret = iommufd_attach(setup->device, setup->ioas);
	if (ret)
		iommufd_teardown(setup);
	return ret;
}

void iommufd_teardown(struct iommufd_setup *setup)
{
	if (setup->device >= 0)
		close(setup->device);
	if (setup->iommufd >= 0)
		close(setup->iommufd);
	setup->device = -1;
	setup->iommufd = -1;
}
