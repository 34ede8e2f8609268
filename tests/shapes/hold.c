// SPDX-License-Identifier: GPL-2.0
/*
 * Hold a container of type v1 or v2 whose device does DMA, until standard input ends; then the
 * device must still work.
 *
 * usage: hold TYPE	VFIO_SPAPR_TCE_IOMMU or VFIO_SPAPR_TCE_v2_IOMMU, as a number
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/nvme.h"
#include "lib/spapr_tce.h"

#define MEMORY		(16 * MB)

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	printf("hold: %s\n", what);
	exit(1);
}

int main(int argc, char **argv)
{
	int type = argc > 1 ? atoi(argv[1]) : 0, device;
	char *memory = spapr_memory(MEMORY, MB), c;
	struct spapr_device dev;
	struct spapr_setup s;
	struct nvme nvme;

	need(spapr_find_devices(&dev, 1) == 1, "no NVMe controller");
	need(!spapr_setup(&s, &dev, type), "no container of this type");
	if (type == VFIO_SPAPR_TCE_v2_IOMMU)
		need(!spapr_register(s.container, memory, MEMORY), "register");
	else
		need(!spapr_ioctl(s.container, VFIO_IOMMU_ENABLE, NULL), "enable");
	need(!spapr_map(s.container, 0, memory, MEMORY, MAP_RW), "map");
	device = spapr_open_device(s.group, &dev);
	need(device >= 0, "the device cannot be opened");
	need(!nvme_start(&nvme, device, memory, 0), "the controller does not start");
	need(nvme_round_trip(&nvme, memory, 0, MB, 2 * MB), "no DMA");
	printf("held\n");
	fflush(stdout);

	while (read(0, &c, 1) > 0)
		;
	need(nvme_round_trip(&nvme, memory, 0, MB, 2 * MB), "no DMA at the end");
	nvme_stop(&nvme);
	return 0;
}
