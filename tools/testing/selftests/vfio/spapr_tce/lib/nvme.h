/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The smallest NVMe driver that proves what a device can reach: an admin and an
 * I/O queue pair in memory that the caller provides and maps, polled commands.
 */
#ifndef SPAPR_TCE_NVME_H
#define SPAPR_TCE_NVME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory for queues and lists, in bytes, and the largest transfer. */
#define NVME_QUEUE_MEMORY	(64 << 10)
#define NVME_MAX_TRANSFER	(512 << 10)
#define NVME_ROUND_TRIP		(256 << 10)

struct nvme_queue {
	char *sq;
	char *cq;
	unsigned int id;
	unsigned int tail;
	unsigned int head;
	unsigned int phase;
};

struct nvme {
	int device;
	uint64_t bar;		/* offset of BAR 0 in the device's file */
	uint64_t config;	/* offset of the configuration space */
	unsigned int stride;	/* bytes between doorbells */
	char *memory;		/* queue memory */
	uint64_t iova;		/* its address for the controller */
	struct nvme_queue admin;
	struct nvme_queue io;
	unsigned int block_size;
	uint64_t blocks;
};

/*
 * Reset the controller of the VFIO device file @device and bring it up with its
 * queues in @memory, which it sees at @iova.  Returns 0, -EIO when the controller
 * reports a fatal status (it could not reach its queues), -ETIMEDOUT when it says
 * nothing, or the status of a failed command (above 0).
 */
int nvme_start(struct nvme *nvme, int device, void *memory, uint64_t iova);
void nvme_stop(struct nvme *nvme);

/*
 * Transfer @bytes between block @lba on and the memory at @iova, both multiples of
 * 4096.  Returns as nvme_start() does.  0 does not mean that the memory was reached.
 */
int nvme_write(struct nvme *nvme, uint64_t lba, uint64_t iova, size_t bytes);
int nvme_read(struct nvme *nvme, uint64_t lba, uint64_t iova, size_t bytes);

/* Bytes that differ from those of any call before. */
void nvme_fill(void *memory, size_t bytes);

/*
 * Fresh bytes at offset @source of @memory, which the controller sees at @iova, to
 * the disk and back to offset @target; true when all NVME_ROUND_TRIP of them came.
 */
bool nvme_round_trip(struct nvme *nvme, char *memory, uint64_t iova, size_t source,
		     size_t target);

#endif /* SPAPR_TCE_NVME_H */
