// SPDX-License-Identifier: GPL-2.0
/*
 * A device goes from the host's driver to user space and back, over and over, and does the
 * right DMA for whoever has it: what one side writes to the disk, the other reads.  User space
 * leaves windows and mappings to the kernel in every other round.
 */
#include <dirent.h>
#include <fcntl.h>

#include "fixture.h"
#include "lib/watch.h"

#define ROUNDS		12
#define AT_SOURCE	MB
#define AT_TARGET	(2 * MB)
#define BYTES		NVME_MAX_TRANSFER
#define LBA_BYTES	512UL

/* The disk of a controller that the host's driver has; it comes some time after that. */
static int open_disk(const struct spapr_device *device)
{
	char path[400], disk[300];
	struct dirent *entry;
	int fd = -1, tries;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/nvme", device->bdf);
	for (tries = 0; fd < 0 && tries < WATCH_PATIENCE * 10; tries++, usleep(100000)) {
		disk[0] = '\0';
		dir = opendir(path);
		while (dir && (entry = readdir(dir)))
			if (!strncmp(entry->d_name, "nvme", 4))
				snprintf(disk, sizeof(disk), "/dev/%.200sn1", entry->d_name);
		if (dir)
			closedir(dir);
		fd = open(disk, O_RDWR | O_DIRECT | O_CLOEXEC);
	}
	return fd;
}

static bool host_writes(const struct spapr_device *device, char *mem, off_t at)
{
	int fd = open_disk(device);
	bool ok;

	nvme_fill(mem + AT_SOURCE, BYTES);
	ok = fd >= 0 && pwrite(fd, mem + AT_SOURCE, BYTES, at) == BYTES;
	close(fd);
	return ok;
}

static bool host_reads(const struct spapr_device *device, char *mem, off_t at)
{
	int fd = open_disk(device);
	bool ok;

	memset(mem + AT_TARGET, 0, BYTES);
	ok = fd >= 0 && pread(fd, mem + AT_TARGET, BYTES, at) == BYTES &&
	     !memcmp(mem + AT_SOURCE, mem + AT_TARGET, BYTES);
	close(fd);
	return ok;
}

/* User space finds what the host has written, and writes something else. */
static bool user_reads_and_writes(struct nvme *nvme, char *mem, uint64_t iova, off_t at)
{
	const uint64_t lba = at / LBA_BYTES;

	memset(mem + AT_TARGET, 0, BYTES);
	if (nvme_read(nvme, lba, iova + AT_TARGET, BYTES) ||
	    memcmp(mem + AT_SOURCE, mem + AT_TARGET, BYTES))
		return false;
	nvme_fill(mem + AT_SOURCE, BYTES);
	return !nvme_write(nvme, lba, iova + AT_SOURCE, BYTES);
}

CONTAINER_FIXTURE(v2, VFIO_SPAPR_TCE_v2_IOMMU, ASSERT_EQ(0, watch_begin()))

TEST_F(v2, T12_T22_each_owner_finds_what_the_other_wrote)
{
	struct spapr_device *dev = &self->st.dev[0];
	struct spapr_setup *s = &self->st.s;
	struct nvme nvme;
	uint64_t iova;
	int device, i;
	off_t at;

	if (!spapr_host_has_driver())
		SKIP(return, "the host has no driver for the device");
	spapr_teardown(s);
	for (i = 0; i < ROUNDS; i++) {
		at = i * BYTES;
		ASSERT_EQ(0, spapr_bind_host(dev));
		EXPECT_TRUE(host_writes(dev, self->mem, at));
		EXPECT_TRUE(host_reads(dev, self->mem, at));

		ASSERT_EQ(0, spapr_bind(dev));
		ASSERT_EQ(0, spapr_setup(s, dev, VFIO_SPAPR_TCE_v2_IOMMU));
		ASSERT_EQ(0, spapr_register(s->container, self->mem, MEM_SIZE));
		iova = 0;
		if (i & 2) {
			ASSERT_EQ(0, spapr_remove(s->container, 0));
			ASSERT_EQ(0, spapr_create(s->container, SHIFT_64K, WIN_SIZE, 1, &iova));
		}
		ASSERT_EQ(0, spapr_map(s->container, iova, self->mem, MEM_SIZE, MAP_RW));
		device = spapr_open_device(s->group, dev);
		ASSERT_LE(0, device);
		ASSERT_EQ(0, nvme_start(&nvme, device, self->mem, iova));
		EXPECT_TRUE(user_reads_and_writes(&nvme, self->mem, iova, at));
		nvme_stop(&nvme);
		close(device);
		if (i & 1)
			ASSERT_EQ(0, spapr_unmap(s->container, iova, MEM_SIZE));
		spapr_teardown(s);

		ASSERT_EQ(0, spapr_bind_host(dev));
		EXPECT_TRUE(host_reads(dev, self->mem, at));
	}
	ASSERT_EQ(0, spapr_bind(dev));
	ASSERT_EQ(0, spapr_setup(s, dev, VFIO_SPAPR_TCE_v2_IOMMU));
}

TEST_HARNESS_MAIN
