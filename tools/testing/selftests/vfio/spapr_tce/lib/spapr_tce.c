// SPDX-License-Identifier: GPL-2.0
/* See spapr_tce.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "spapr_tce.h"

#define PCI_DEVICES	"/sys/bus/pci/devices"
#define CLASS_NVME	"0x010802"
#define THP		"/sys/kernel/mm/transparent_hugepage/"
#define PIECE		(64 * KB)
#define MAX_DEVICES	16

int spapr_write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int file_read(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	text[n] = '\0';
	return 0;
}

/* The last part of what a link in the device's directory points to. */
static const char *link_name(const char *bdf, const char *link, char *buf, size_t size)
{
	char path[300];
	ssize_t n;
	char *slash;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", bdf, link);
	n = readlink(path, buf, size - 1);
	if (n < 0)
		return "";
	buf[n] = '\0';
	slash = strrchr(buf, '/');
	return slash ? slash + 1 : buf;
}

/* Give a device to @driver, or, if that is empty, to the one that the host has for it. */
static int bind_to(const char *bdf, const char *driver)
{
	char path[400], buf[300];
	const char *now;

	if (*driver && !strcmp(link_name(bdf, "driver", buf, sizeof(buf)), driver))
		return 0;
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver_override", bdf);
	spapr_write_file(path, *driver ? driver : "\n");
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver/unbind", bdf);
	spapr_write_file(path, bdf);
	spapr_write_file("/sys/bus/pci/drivers_probe", bdf);
	now = link_name(bdf, "driver", buf, sizeof(buf));
	return *now && (!*driver || !strcmp(now, driver)) ? 0 : -ENODEV;
}

static int bind_vfio(const char *bdf)
{
	return bind_to(bdf, "vfio-pci");
}

/* Write @text to a file in the device's directory. */
static int device_write(const struct spapr_device *device, const char *file, const char *text)
{
	char path[400];

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", device->bdf, file);
	return spapr_write_file(path, text);
}

int spapr_unbind(const struct spapr_device *device)
{
	return device_write(device, "driver/unbind", device->bdf);
}

int spapr_bind(const struct spapr_device *device)
{
	return bind_vfio(device->bdf);
}

int spapr_bind_host(const struct spapr_device *device)
{
	return bind_to(device->bdf, "");
}

bool spapr_host_has_driver(void)
{
	return !access("/sys/bus/pci/drivers/nvme", F_OK);
}

int spapr_unplug(const struct spapr_device *device)
{
	return device_write(device, "remove", "1");
}

int spapr_rescan(void)
{
	return spapr_write_file("/sys/bus/pci/rescan", "1");
}

static int by_bdf(const void *a, const void *b)
{
	return strcmp(((const struct spapr_device *)a)->bdf, ((const struct spapr_device *)b)->bdf);
}

int spapr_find_devices(struct spapr_device *devices, int max)
{
	struct spapr_device found[MAX_DEVICES];
	DIR *dir = opendir(PCI_DEVICES);
	char path[400], buf[300];
	struct dirent *entry;
	int i, n = 0, all = 0;

	while (dir && all < MAX_DEVICES && (entry = readdir(dir))) {
		if (strlen(entry->d_name) >= sizeof(found[all].bdf))
			continue;
		snprintf(path, sizeof(path), PCI_DEVICES "/%s/class", entry->d_name);
		if (file_read(path, buf, sizeof(buf)) || strncmp(buf, CLASS_NVME, 8))
			continue;
		snprintf(found[all++].bdf, sizeof(found[0].bdf), "%.15s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	qsort(found, all, sizeof(*found), by_bdf);
	for (i = 0; i < all && n < max; i++) {
		if (bind_vfio(found[i].bdf))
			continue;
		found[i].group_id = atoi(link_name(found[i].bdf, "iommu_group", buf, sizeof(buf)));
		devices[n++] = found[i];
	}
	return n;
}

int spapr_ioctl(int fd, unsigned long cmd, void *arg)
{
	int ret = ioctl(fd, cmd, arg);

	return ret < 0 ? -errno : ret;
}

int spapr_open_container(void)
{
	int fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int spapr_open_group(const struct spapr_device *device)
{
	char path[64];
	int fd, tries;

	/* A process that was killed may take a moment to let go of the group. */
	snprintf(path, sizeof(path), "/dev/vfio/%d", device->group_id);
	for (tries = 0; tries < 500; tries++) {
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 || errno != EBUSY)
			break;
		usleep(20000);
	}
	return fd < 0 ? -errno : fd;
}

int spapr_set_container(int group, int container)
{
	return spapr_ioctl(group, VFIO_GROUP_SET_CONTAINER, &container);
}

int spapr_unset_container(int group)
{
	return spapr_ioctl(group, VFIO_GROUP_UNSET_CONTAINER, NULL);
}

int spapr_set_iommu(int container, int type)
{
	return spapr_ioctl(container, VFIO_SET_IOMMU, (void *)(long)type);
}

int spapr_open_device(int group, const struct spapr_device *device)
{
	return spapr_ioctl(group, VFIO_GROUP_GET_DEVICE_FD, (void *)device->bdf);
}

int spapr_setup(struct spapr_setup *setup, const struct spapr_device *device, int type)
{
	int ret;

	setup->container = spapr_open_container();
	if (setup->container < 0)
		return setup->container;
	setup->group = spapr_open_group(device);
	ret = setup->group < 0 ? setup->group : spapr_set_container(setup->group, setup->container);
	if (!ret)
		ret = spapr_set_iommu(setup->container, type);
	if (ret)
		spapr_teardown(setup);
	return ret;
}

void spapr_teardown(struct spapr_setup *setup)
{
	if (setup->group >= 0)
		close(setup->group);
	close(setup->container);
	setup->group = -1;
	setup->container = -1;
}

int spapr_get_info(int container, struct vfio_iommu_spapr_tce_info *info)
{
	memset(info, 0, sizeof(*info));
	info->argsz = sizeof(*info);
	return spapr_ioctl(container, VFIO_IOMMU_SPAPR_TCE_GET_INFO, info);
}

static int register_call(int container, unsigned long cmd, void *va, uint64_t size)
{
	struct vfio_iommu_spapr_register_memory reg = {
		.argsz = sizeof(reg), .vaddr = (uintptr_t)va, .size = size,
	};

	return spapr_ioctl(container, cmd, &reg);
}

int spapr_register(int container, void *va, uint64_t size)
{
	return register_call(container, VFIO_IOMMU_SPAPR_REGISTER_MEMORY, va, size);
}

int spapr_unregister(int container, void *va, uint64_t size)
{
	return register_call(container, VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY, va, size);
}

int spapr_create(int container, unsigned int page_shift, uint64_t size, unsigned int levels,
		 uint64_t *start)
{
	struct vfio_iommu_spapr_tce_create create = {
		.argsz = sizeof(create), .page_shift = page_shift,
		.window_size = size, .levels = levels,
	};
	int ret = spapr_ioctl(container, VFIO_IOMMU_SPAPR_TCE_CREATE, &create);

	if (start)
		*start = create.start_addr;
	return ret;
}

int spapr_remove(int container, uint64_t start)
{
	struct vfio_iommu_spapr_tce_remove remove = {
		.argsz = sizeof(remove), .start_addr = start,
	};

	return spapr_ioctl(container, VFIO_IOMMU_SPAPR_TCE_REMOVE, &remove);
}

int spapr_map(int container, uint64_t iova, void *va, uint64_t size, unsigned int flags)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .flags = flags,
		.vaddr = (uintptr_t)va, .iova = iova, .size = size,
	};

	return spapr_ioctl(container, VFIO_IOMMU_MAP_DMA, &map);
}

int spapr_unmap(int container, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = iova, .size = size,
	};

	return spapr_ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap);
}

int spapr_unmap_all(int container, uint64_t *size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .flags = VFIO_DMA_UNMAP_FLAG_ALL,
	};
	int ret = spapr_ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap);

	if (size)
		*size = unmap.size;
	return ret;
}

int spapr_eeh_op(int container, unsigned int op)
{
	struct vfio_eeh_pe_op arg = { .argsz = sizeof(arg), .op = op };

	return spapr_ioctl(container, VFIO_EEH_PE_OP, &arg);
}

bool spapr_says_one_of(int ret, uint64_t errnos)
{
	return ret <= 0 && ret > -64 && errnos & E(-ret);
}

long spapr_page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

size_t spapr_thp_size(void)
{
	char text[80];
	long size;

	if (file_read(THP "enabled", text, sizeof(text)) || strstr(text, "[never]"))
		return 0;
	size = spapr_read_number(THP "hpage_pmd_size");
	return size > 0 ? size : 0;
}

void *spapr_untouched_memory(size_t size, size_t align)
{
	size_t huge = spapr_page_size() < PIECE ? spapr_thp_size() : 0;
	char *raw, *va;

	/* Whole hugepages, or the kernel would take small pages at the end. */
	if (huge) {
		align = align > huge ? align : huge;
		size = (size + huge - 1) & ~(huge - 1);
	}
	raw = mmap(NULL, size + align, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (raw == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	va = (char *)(((uintptr_t)raw + align - 1) & ~(align - 1));
	if (va > raw)
		munmap(raw, va - raw);
	if (raw + align > va)
		munmap(va + size, raw + align - va);
	if (huge && madvise(va, size, MADV_HUGEPAGE)) {
		perror("madvise");
		exit(1);
	}
	return va;
}

void *spapr_memory(size_t size, size_t align)
{
	void *va = spapr_untouched_memory(size, align);

	return memset(va, 0, size);
}

long spapr_read_number(const char *path)
{
	char text[24];

	return file_read(path, text, sizeof(text)) ? -1 : atol(text);
}

int spapr_write_number(const char *path, long n)
{
	char text[24];

	snprintf(text, sizeof(text), "%ld", n);
	return spapr_write_file(path, text);
}

int spapr_log_mark(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	lseek(fd, 0, SEEK_END);
	return fd;
}

int spapr_log_lines(int mark)
{
	static const char * const words[] = { "pci", "PE#", "iommu", "vfio", "TCE", "tce" };
	char line[2048];
	unsigned int i;
	ssize_t n;
	int lines = 0;

	for (;;) {
		n = read(mark, line, sizeof(line) - 1);
		if (n < 0 && errno == EPIPE) {	/* some were overwritten before they were read */
			lines++;
			continue;
		}
		if (n <= 0)
			break;
		line[n] = '\0';
		/* The number in front has the facility in its upper bits: 0 is the kernel. */
		for (i = 0; atoi(line) < 8 && i < sizeof(words) / sizeof(*words); i++)
			if (strstr(line, words[i]))
				break;
		if (atoi(line) < 8 && i < sizeof(words) / sizeof(*words) && !lines++)
			printf("# log: %s", line);
	}
	close(mark);
	return lines;
}

/* The number behind "@name" at the start of a line of @path. */
static long counter(const char *path, const char *name)
{
	size_t len = strlen(name);
	char line[256];
	long value = -1;
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len) && strchr(": \t", line[len]))
			value = atol(line + len + 1);
	if (f)
		fclose(f);
	return value;
}

long spapr_vmlck_kb(void)
{
	return counter("/proc/self/status", "VmLck");
}

long spapr_meminfo_kb(const char *name)
{
	return counter("/proc/meminfo", name);
}

/* Have the processors add up what they have counted, and give back free pages that they keep. */
static void add_up_counters(void)
{
	spapr_write_file("/proc/sys/vm/stat_refresh", "1");
}

/* MemFree leaves out what processors have at hand, which may be many megabytes. */
long spapr_memfree_kb(void)
{
	long pages = 0, n;
	char line[256];
	FILE *f;

	add_up_counters();
	f = fopen("/proc/zoneinfo", "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, " nr_free_pages %ld", &n) == 1 ||
		    sscanf(line, " count: %ld", &n) == 1)
			pages += n;
	if (f)
		fclose(f);
	return pages * (spapr_page_size() / KB);
}

long spapr_memory_kb(void)
{
	return spapr_memfree_kb() + spapr_meminfo_kb("Hugetlb") +
	       counter("/proc/self/status", "VmRSS");
}

bool spapr_kernel_has(const char *text)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	bool found = false;
	char line[256];

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, text);
	if (f)
		fclose(f);
	return found;
}

long spapr_pins_held(void)
{
	long acquired;

	add_up_counters();
	acquired = counter("/proc/vmstat", "nr_foll_pin_acquired");
	return acquired < 0 ? -1 : acquired - counter("/proc/vmstat", "nr_foll_pin_released");
}

long spapr_slab_objects(const char *cache)
{
	return counter("/proc/slabinfo", cache);
}

long spapr_env(const char *name, long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtol(text, NULL, 0) : otherwise;
}
