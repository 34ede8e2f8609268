// SPDX-License-Identifier: GPL-2.0
/*
 * A worked example: all that a user-space driver does with a v2 container, from opening it
 * to the end, with the ioctls of <linux/vfio.h> and nothing between. The documentation,
 * Documentation/arch/powerpc/vfio-spapr-tce.rst, shows this file.
 *
 * usage: spapr_tce_example [GROUP]
 *
 * GROUP is the number of an IOMMU group whose devices all have vfio-pci as their driver;
 * without it, an NVMe controller is looked for. Each step is a line of TAP.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/vfio.h>

#include "lib/spapr_tce.h"	/* to find a device and suitable memory */

#define STEPS		9
#define MEMORY		(16 * MB)
#define WINDOW		GB
#define PAGE_SHIFT	16

/* Report a step; the first that fails ends the program. */
static void step(const char *what, int ret)
{
	static int n;

	if (ret >= 0) {
		printf("ok %d - %s\n", ++n, what);
		return;
	}
	printf("not ok %d - %s: %s\n", ++n, what, strerror(errno));
	exit(1);
}

/* A container is of some type only once it has a group. */
static int open_container(int group)
{
	int container = open("/dev/vfio/vfio", O_RDWR);

	if (container < 0 || ioctl(container, VFIO_GET_API_VERSION) != VFIO_API_VERSION)
		return -1;
	if (!ioctl(container, VFIO_CHECK_EXTENSION, VFIO_SPAPR_TCE_v2_IOMMU))
		return -1;
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_SPAPR_TCE_v2_IOMMU))
		return -1;
	return container;
}

/* Two levels, so that the table needs memory only where something is mapped. */
static int create_window(int container, uint64_t *start)
{
	struct vfio_iommu_spapr_tce_create create = {
		.argsz = sizeof(create), .page_shift = PAGE_SHIFT,
		.window_size = WINDOW, .levels = 2,
	};
	int ret = ioctl(container, VFIO_IOMMU_SPAPR_TCE_CREATE, &create);

	*start = create.start_addr;
	return ret;
}

int main(int argc, char **argv)
{
	struct vfio_iommu_spapr_tce_info info = { .argsz = sizeof(info) };
	struct vfio_iommu_spapr_register_memory reg = { .argsz = sizeof(reg), .size = MEMORY };
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .size = MEMORY,
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
	};
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap), .size = MEMORY };
	struct vfio_iommu_spapr_tce_remove remove = { .argsz = sizeof(remove) };
	struct spapr_device device = { .group_id = argc > 1 ? atoi(argv[1]) : -1 };
	int group, container, busy;
	void *memory;

	if (argc < 2 && !spapr_find_devices(&device, 1)) {
		printf("1..0 # SKIP no NVMe controller that vfio-pci can take\n");
		return 4;
	}
	printf("TAP version 13\n1..%d\n", STEPS);

	group = spapr_open_group(&device);
	container = open_container(group);
	step("open a container of type v2 with one group", container);

	/* An IOMMU page must be one piece of memory: 64K, also where kernel pages are 4K. */
	memory = spapr_memory(MEMORY, 1UL << PAGE_SHIFT);
	reg.vaddr = (uintptr_t)memory;
	step("register memory: it is pinned, and charged to RLIMIT_MEMLOCK",
	     ioctl(container, VFIO_IOMMU_SPAPR_REGISTER_MEMORY, &reg));

	step("ask what windows there can be",
	     ioctl(container, VFIO_IOMMU_SPAPR_TCE_GET_INFO, &info));

	/* Nobody needs the default window here: it shall not be made. */
	step("remove the default window",
	     ioctl(container, VFIO_IOMMU_SPAPR_TCE_REMOVE, &remove));
	step("create a window", create_window(container, &map.iova));

	map.vaddr = (uintptr_t)memory;
	step("map the memory: devices of the group reach it from now on",
	     ioctl(container, VFIO_IOMMU_MAP_DMA, &map));

	/* Here the device works with the bus addresses map.iova and above. */

	busy = ioctl(container, VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY, &reg);
	step("see that memory cannot go while it is mapped", busy && errno == EBUSY ? 0 : -1);

	unmap.iova = map.iova;
	step("unmap it: no device reaches it any more",
	     ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap));
	step("unregister it", ioctl(container, VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY, &reg));

	/* The window and whatever else were left would go with the last file descriptor. */
	close(group);
	close(container);
	return 0;
}
