/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers for programs that use the sPAPR TCE IOMMU of VFIO: finding devices,
 * opening containers, one function per ioctl, reading the kernel's counters.
 *
 * Functions that return int give 0 (or what their comment says) or -errno.
 */
#ifndef SPAPR_TCE_H
#define SPAPR_TCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/vfio.h>

#define KB		0x400UL
#define MB		0x100000UL
#define GB		0x40000000UL

#define WINDOW1		0x800000000000000ULL	/* the second window of powernv, 1 << 59 */
#define SHIFT_4K	12
#define SHIFT_64K	16

#define MAP_READ	VFIO_DMA_MAP_FLAG_READ
#define MAP_WRITE	VFIO_DMA_MAP_FLAG_WRITE
#define MAP_RW		(MAP_READ | MAP_WRITE)

/* A PCI function in an IOMMU group of its own. */
struct spapr_device {
	char bdf[16];
	int group_id;
};

/*
 * Find NVMe controllers and hand them to vfio-pci, those with the lowest addresses
 * first.  Returns how many of @max were found.
 */
int spapr_find_devices(struct spapr_device *devices, int max);

/*
 * Take a device from its driver, or give it to vfio-pci (again), or to the host's own; take it
 * off its bus, and find what is on the busses.
 */
int spapr_unbind(const struct spapr_device *device);
int spapr_bind(const struct spapr_device *device);
int spapr_bind_host(const struct spapr_device *device);
bool spapr_host_has_driver(void);
int spapr_unplug(const struct spapr_device *device);
int spapr_rescan(void);

int spapr_open_container(void);
int spapr_open_group(const struct spapr_device *device);
int spapr_set_container(int group, int container);
int spapr_unset_container(int group);
int spapr_set_iommu(int container, int type);
int spapr_open_device(int group, const struct spapr_device *device);

/* A container with one group, of type VFIO_SPAPR_TCE_IOMMU or ..._v2_IOMMU. */
struct spapr_setup {
	int container;
	int group;
};

int spapr_setup(struct spapr_setup *setup, const struct spapr_device *device, int type);
void spapr_teardown(struct spapr_setup *setup);

int spapr_get_info(int container, struct vfio_iommu_spapr_tce_info *info);
int spapr_register(int container, void *va, uint64_t size);
int spapr_unregister(int container, void *va, uint64_t size);
int spapr_create(int container, unsigned int page_shift, uint64_t size, unsigned int levels,
		 uint64_t *start);
int spapr_remove(int container, uint64_t start);
int spapr_map(int container, uint64_t iova, void *va, uint64_t size, unsigned int flags);
int spapr_unmap(int container, uint64_t iova, uint64_t size);
/* Whatever is mapped; *@size, where wanted, gets how many bytes that was. */
int spapr_unmap_all(int container, uint64_t *size);
int spapr_eeh_op(int container, unsigned int op);
int spapr_ioctl(int fd, unsigned long cmd, void *arg);

/* A set of errnos, E(0) is success; those that can be in one are below 64. */
#define E(error)	(1ULL << (error))

/* Whether a call that gave @ret said one of these errnos. */
bool spapr_says_one_of(int ret, uint64_t errnos);

/* Of the kernel's pages, and of transparent hugepages: 0 where there are none. */
long spapr_page_size(void);
size_t spapr_thp_size(void);

/*
 * Anonymous memory, aligned to @align bytes and 64K, for IOMMU pages of up to 64K: a
 * kernel with smaller pages is asked for transparent hugepages. spapr_memory() is
 * zeroed and populated.
 */
void *spapr_untouched_memory(size_t size, size_t align);
void *spapr_memory(size_t size, size_t align);

int spapr_write_file(const char *path, const char *text);
int spapr_write_number(const char *path, long n);
long spapr_read_number(const char *path);	/* -1 when there is none */

/*
 * Lines about PCI, IOMMUs or VFIO that the kernel logged since spapr_log_mark(); the
 * first of them is printed.
 */
int spapr_log_mark(void);
int spapr_log_lines(int mark);

/* Counters; -1 when the kernel does not have one. */
long spapr_vmlck_kb(void);
long spapr_meminfo_kb(const char *name);
long spapr_memfree_kb(void);	/* also what processors have at hand */
long spapr_pins_held(void);
long spapr_slab_objects(const char *cache);

/* A number from the environment, or @otherwise. */
long spapr_env(const char *name, long otherwise);

/* Memory that is free, or this process's, or set aside for hugepages. */
long spapr_memory_kb(void);

/* Whether this text is in the list of the kernel's symbols. */
bool spapr_kernel_has(const char *text);

#endif /* SPAPR_TCE_H */
