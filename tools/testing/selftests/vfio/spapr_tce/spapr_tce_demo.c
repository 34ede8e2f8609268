// SPDX-License-Identifier: GPL-2.0
/*
 * A device moves data through TCE tables: one row per step, in plain words.
 *
 * An NVMe controller of its own writes a payload to its disk and reads it back,
 * through the 32-bit window and through the 64-bit one, and loses its access when
 * the memory is unmapped. Then the same through /dev/iommu, where one table takes
 * the place of another. Exit status 0 when every step went as it must.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/iommufd.h"
#include "lib/nvme.h"
#include "lib/spapr_tce.h"

#define MEMORY		(256 * MB)
#define LOW_PART	(16 * MB)	/* mapped in window 0, too */
#define PAYLOAD		NVME_MAX_TRANSFER
#define AT_SOURCE	MB	/* in the memory; queues are at its start */
#define AT_TARGET	(2 * MB)
#define WINDOW_SIZE	GB

static int steps, failed;

static void row(bool ok, const char *step, const char *what)
{
	steps++;
	failed += !ok;
	printf("| %-34s | %-52s | %-6s |\n", step, what, ok ? "ok" : "FAILED");
	fflush(stdout);
}

/* A row for a call that must give @want (0, or -errno). */
static void row_call(const char *step, int ret, int want, const char *what)
{
	char text[80];

	if (ret == want)
		snprintf(text, sizeof(text), "%s", what);
	else
		snprintf(text, sizeof(text), "returned %d (%s)", ret, strerror(abs(ret)));
	row(ret == want, step, text);
}

static void row_locked(const char *step, long start_kb, long want_kb)
{
	long kb = spapr_vmlck_kb() - start_kb;
	char text[80];

	snprintf(text, sizeof(text), "%ld MB are charged to us as locked memory", kb >> 10);
	row(kb >= want_kb && kb < want_kb + (64 << 10), step, text);
}

static void fill(unsigned char *p, size_t size, unsigned int seed)
{
	while (size--) {
		seed = seed * 1103515245 + 12345;
		*p++ = seed >> 16;
	}
}

/* Bring the controller up through a window, write the payload out, read it back. */
static void transfer(struct nvme *nvme, int device, unsigned char *memory, uint64_t iova,
		     const char *window, unsigned int seed)
{
	char step[80], text[80];
	int ret;

	ret = nvme_start(nvme, device, memory, iova);
	snprintf(step, sizeof(step), "NVMe queues, %s", window);
	snprintf(text, sizeof(text), "up: %llu blocks of %u bytes",
		 (unsigned long long)nvme->blocks, nvme->block_size);
	row_call(step, ret, 0, text);
	if (ret)
		return;

	fill(memory + AT_SOURCE, PAYLOAD, seed);
	memset(memory + AT_TARGET, 0, PAYLOAD);
	snprintf(step, sizeof(step), "NVMe writes, %s", window);
	row_call(step, nvme_write(nvme, 0, iova + AT_SOURCE, PAYLOAD), 0,
		 "the controller fetched 512 KB from our memory");
	snprintf(step, sizeof(step), "NVMe reads, %s", window);
	row_call(step, nvme_read(nvme, 0, iova + AT_TARGET, PAYLOAD), 0,
		 "the controller stored 512 KB in our memory");
	snprintf(step, sizeof(step), "compare, %s", window);
	row(!memcmp(memory + AT_SOURCE, memory + AT_TARGET, PAYLOAD), step,
	    "every byte of the payload came back");
}

/* Only the target has gone, so the controller fetches the command and tries to store data. */
static void target_is_gone(struct nvme *nvme, int ret, unsigned char *memory, uint64_t iova)
{
	memset(memory + AT_TARGET, 0x5a, PAYLOAD);
	memcpy(memory + AT_SOURCE, memory + AT_TARGET, PAYLOAD);
	nvme_read(nvme, 0, iova + AT_TARGET, PAYLOAD);
	row(!ret && !memcmp(memory + AT_SOURCE, memory + AT_TARGET, PAYLOAD),
	    "memory after its unmap", "the controller read to it; no byte has changed");
}

/* All has gone, so the controller cannot even fetch the command. */
static void all_is_gone(struct nvme *nvme, uint64_t iova)
{
	int ret = nvme_read(nvme, 0, iova + AT_TARGET, 4096);

	row(ret != 0, "NVMe reads after the unmap", ret == -EIO ?
	    "the controller reports that it cannot reach us" :
	    ret ? "the command failed" : "the command SUCCEEDED");
	nvme_stop(nvme);
}

static void run_container(const struct spapr_device *dev, unsigned char *memory)
{
	struct vfio_iommu_spapr_tce_info info;
	long locked = spapr_vmlck_kb();
	struct spapr_setup setup;
	struct nvme nvme;
	uint64_t start = 0;
	char text[80];
	int ret, device;

	ret = spapr_setup(&setup, dev, VFIO_SPAPR_TCE_v2_IOMMU);
	snprintf(text, sizeof(text), "%s, IOMMU group %d", dev->bdf, dev->group_id);
	row_call("container of type v2", ret, 0, text);
	if (ret)
		return;

	row_call("register 256 MB", spapr_register(setup.container, memory, MEMORY), 0,
		 "pinned once, for all windows");
	row_locked("", locked, MEMORY >> 10);
	ret = spapr_get_info(setup.container, &info);
	snprintf(text, sizeof(text), "%u MB in window 0; page sizes %#llx; %u levels",
		 info.dma32_window_size >> 20, (unsigned long long)info.ddw.pgsizes,
		 info.ddw.levels);
	row_call("ask what the IOMMU can do", ret, 0, text);

	ret = spapr_create(setup.container, SHIFT_64K, WINDOW_SIZE, 2, &start);
	snprintf(text, sizeof(text), "starts at bus address %#llx, 64K pages",
		 (unsigned long long)start);
	row_call("create the 64-bit window", ret ? ret : start != WINDOW1, 0, text);
	row_call("map 16 MB in window 0",
		 spapr_map(setup.container, 0, memory, LOW_PART, MAP_RW), 0, "4096 TCEs of 4K");
	row_call("map 256 MB in the 64-bit window",
		 spapr_map(setup.container, start, memory, MEMORY, MAP_RW), 0, "4096 TCEs of 64K");

	device = spapr_open_device(setup.group, dev);
	if (device < 0) {
		row_call("open the device", device, 0, "");
		return;
	}
	transfer(&nvme, device, memory, 0, "window 0", 1);
	nvme_stop(&nvme);
	transfer(&nvme, device, memory, start, "64-bit window", 2);

	row_call("unregister while mapped", spapr_unregister(setup.container, memory, MEMORY),
		 -EBUSY, "refused with EBUSY, as it must be");
	row_locked("", locked, MEMORY >> 10);
	row_call("unmap window 0", spapr_unmap(setup.container, 0, LOW_PART), 0, "TCEs cleared");
	target_is_gone(&nvme, spapr_unmap(setup.container, start + AT_TARGET, PAYLOAD), memory,
		       start);
	row_call("unmap the 64-bit window", spapr_unmap(setup.container, start, MEMORY), 0,
		 "TCEs cleared");
	all_is_gone(&nvme, start);

	row_call("unregister", spapr_unregister(setup.container, memory, MEMORY), 0, "unpinned");
	row_call("remove the 64-bit window", spapr_remove(setup.container, start), 0, "gone");
	row_call("remove window 0", spapr_remove(setup.container, 0), 0, "gone");
	snprintf(text, sizeof(text), "%ld KB, at the start %ld KB", spapr_vmlck_kb(), locked);
	row(spapr_vmlck_kb() == locked, "locked memory at the end", text);
	close(device);
	spapr_teardown(&setup);
}

/* The controller by a file of its own. Its bus addresses are our user addresses. */
static void run_iommufd(const struct spapr_device *dev, unsigned char *memory)
{
	const uint64_t iova = (uintptr_t)memory;
	struct iommufd_setup setup;
	struct nvme nvme;
	uint32_t other;
	int ret;

	row_call("open /dev/iommu", iommufd_setup(&setup, dev), 0,
		 "the controller has a file of its own, and a table");
	if (setup.iommufd < 0)
		return;
	row_call("map 256 MB", iommufd_map(setup.iommufd, setup.ioas, iova, memory, MEMORY, MAP_RW),
		 0, "at bus addresses that are our user addresses");
	transfer(&nvme, setup.device, memory, iova, "/dev/iommu", 3);

	ret = iommufd_ioas(setup.iommufd, &other);
	if (!ret)
		ret = iommufd_map(setup.iommufd, other, iova, memory, MEMORY, MAP_RW);
	row_call("map them in a second table", ret, 0, "");
	row_call("put it in the place of the first", iommufd_attach(setup.device, other), 0,
		 "the controller goes on without a reset");
	row_call("empty the first", iommufd_unmap_all(setup.iommufd, setup.ioas), 0, "");
	memset(memory + AT_TARGET, 0, PAYLOAD);
	ret = nvme_read(&nvme, 0, iova + AT_TARGET, PAYLOAD);
	row(!ret && !memcmp(memory + AT_SOURCE, memory + AT_TARGET, PAYLOAD),
	    "NVMe reads, second table", "every byte of the payload came back");

	target_is_gone(&nvme, iommufd_unmap(setup.iommufd, other, iova, MEMORY) ?:
		       iommufd_map(setup.iommufd, other, iova, memory, AT_TARGET, MAP_RW),
		       memory, iova);
	row_call("unmap all", iommufd_unmap_all(setup.iommufd, other), 0, "TCEs cleared");
	all_is_gone(&nvme, iova);
	iommufd_teardown(&setup);
}

int main(void)
{
	unsigned char *memory = spapr_memory(MEMORY, 1 << 20);
	struct spapr_device dev;

	printf("| %-34s | %-52s | %-6s |\n", "step", "what happened", "");
	printf("|%.36s|%.54s|%.8s|\n", "------------------------------------",
	       "------------------------------------------------------", "--------");
	if (spapr_find_devices(&dev, 1) < 1) {
		row(false, "find an NVMe controller", "none that vfio-pci could take");
	} else {
		run_container(&dev, memory);
		run_iommufd(&dev, memory);
	}
	printf("RESULT: %d steps ok, %d failed\n", steps - failed, failed);
	return failed != 0;
}
