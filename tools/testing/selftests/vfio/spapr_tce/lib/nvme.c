// SPDX-License-Identifier: GPL-2.0
/*
 * See nvme.h.  Register and command layouts: NVM Express base specification 1.4,
 * chapters 3 (controller registers), 4 (queues) and 5 (admin commands).
 *
 * What can be seen when the PHB refuses an access, on QEMU's powernv8, 9 and 10:
 * a queue that the controller cannot fetch makes it set the fatal status, and a new
 * start after mapping the queue again works; a data page that it cannot reach makes
 * no difference to the command, which completes with status 0 and moves nothing.
 * The PE is not frozen. Real hardware freezes it, and the registers read as ones.
 * So success of a command proves nothing: only the memory says what was reached.
 *
 * Everything that the controller reads or writes is little-endian, and so are registers in
 * the file of the device.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <linux/vfio.h>

#include "nvme.h"

enum { REG_CAP = 0x00, REG_CC = 0x14, REG_CSTS = 0x1c };
enum { REG_AQA = 0x24, REG_ASQ = 0x28, REG_ACQ = 0x30, REG_DOORBELLS = 0x1000 };
enum { CC_ENABLE = 1, CC_ENTRY_SIZES = 6 << 16 | 4 << 20, CSTS_READY = 1, CSTS_FATAL = 2 };
enum { ADMIN_CREATE_SQ = 0x01, ADMIN_CREATE_CQ = 0x05, ADMIN_IDENTIFY = 0x06 };
enum { IO_WRITE = 0x01, IO_READ = 0x02 };
enum { PCI_COMMAND = 4, PCI_COMMAND_MEMORY = 2, PCI_COMMAND_MASTER = 4 };

#define ENTRIES		16
#define SQ_ENTRY	64
#define CQ_ENTRY	16
#define NVME_PAGE	4096
#define PATIENCE	60	/* seconds until a silent controller counts as dead */

/* Where things are in the queue memory. */
enum { AT_ADMIN_SQ = 0x0000, AT_ADMIN_CQ = 0x1000, AT_IO_SQ = 0x2000, AT_IO_CQ = 0x3000 };
enum { AT_IDENTIFY = 0x4000, AT_PRP_LIST = 0x5000 };

struct command {
	uint32_t opcode;
	uint32_t nsid;
	uint64_t reserved;
	uint64_t metadata;
	uint64_t prp1;
	uint64_t prp2;
	uint32_t dw10, dw11, dw12, dw13, dw14, dw15;
};

struct completion {
	uint32_t result;
	uint32_t reserved;
	uint16_t sq_head;
	uint16_t sq_id;
	uint16_t id;
	uint16_t status;	/* bit 0: phase */
};

static uint32_t reg_read(struct nvme *nvme, unsigned int reg)
{
	uint32_t value = ~0u;

	if (pread(nvme->device, &value, 4, nvme->bar + reg) != 4)
		return ~0u;
	return le32toh(value);
}

static void reg_write(struct nvme *nvme, unsigned int reg, uint32_t value)
{
	value = htole32(value);
	if (pwrite(nvme->device, &value, 4, nvme->bar + reg) != 4)
		nvme->stride = 0;	/* the next command will time out */
}

static void reg_write64(struct nvme *nvme, unsigned int reg, uint64_t value)
{
	reg_write(nvme, reg, value);
	reg_write(nvme, reg + 4, value >> 32);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Wait until the ready bit is @ready. */
static int wait_ready(struct nvme *nvme, uint32_t ready)
{
	double end = now() + PATIENCE;
	uint32_t status;

	do {
		status = reg_read(nvme, REG_CSTS);
		if ((status & CSTS_READY) == ready)
			return 0;
		if (ready && status & CSTS_FATAL)
			return -EIO;
		usleep(1000);
	} while (now() < end);
	return -ETIMEDOUT;
}

static struct command to_controller(const struct command *cmd)
{
	return (struct command) {
		.opcode = htole32(cmd->opcode), .nsid = htole32(cmd->nsid),
		.prp1 = htole64(cmd->prp1), .prp2 = htole64(cmd->prp2),
		.dw10 = htole32(cmd->dw10), .dw11 = htole32(cmd->dw11),
		.dw12 = htole32(cmd->dw12),
	};
}

static int submit(struct nvme *nvme, struct nvme_queue *q, const struct command *cmd)
{
	struct command raw = to_controller(cmd);
	struct completion *c = (struct completion *)(q->cq + q->head * CQ_ENTRY);
	double end = now() + PATIENCE;
	int status;

	memcpy(q->sq + q->tail * SQ_ENTRY, &raw, sizeof(raw));
	q->tail = (q->tail + 1) % ENTRIES;
	__sync_synchronize();
	reg_write(nvme, REG_DOORBELLS + 2 * q->id * nvme->stride, q->tail);

	while ((le16toh(__atomic_load_n(&c->status, __ATOMIC_ACQUIRE)) & 1) != q->phase) {
		if (reg_read(nvme, REG_CSTS) & CSTS_FATAL)
			return -EIO;
		if (now() > end)
			return -ETIMEDOUT;
	}
	status = le16toh(c->status) >> 1;
	q->head = (q->head + 1) % ENTRIES;
	q->phase ^= q->head == 0;
	reg_write(nvme, REG_DOORBELLS + (2 * q->id + 1) * nvme->stride, q->head);
	return status;
}

static void queue_init(struct nvme *nvme, struct nvme_queue *q, unsigned int id,
		       unsigned int sq, unsigned int cq)
{
	q->id = id;
	q->sq = nvme->memory + sq;
	q->cq = nvme->memory + cq;
	q->tail = 0;
	q->head = 0;
	q->phase = 1;
}

static int create_queues(struct nvme *nvme)
{
	struct command cq = {
		.opcode = ADMIN_CREATE_CQ, .prp1 = nvme->iova + AT_IO_CQ,
		.dw10 = (ENTRIES - 1) << 16 | 1, .dw11 = 1,
	};
	struct command sq = {
		.opcode = ADMIN_CREATE_SQ, .prp1 = nvme->iova + AT_IO_SQ,
		.dw10 = (ENTRIES - 1) << 16 | 1, .dw11 = 1 << 16 | 1,
	};
	int ret = submit(nvme, &nvme->admin, &cq);

	return ret ? ret : submit(nvme, &nvme->admin, &sq);
}

/* Size of a block and of the first namespace. */
static int identify(struct nvme *nvme)
{
	struct command cmd = {
		.opcode = ADMIN_IDENTIFY, .nsid = 1, .prp1 = nvme->iova + AT_IDENTIFY,
	};
	const unsigned char *data = (unsigned char *)nvme->memory + AT_IDENTIFY;
	int ret = submit(nvme, &nvme->admin, &cmd);

	if (ret)
		return ret;
	memcpy(&nvme->blocks, data, 8);
	nvme->blocks = le64toh(nvme->blocks);
	nvme->block_size = 1u << data[128 + 4 * (data[26] & 15) + 2];
	return 0;
}

static int map_registers(struct nvme *nvme)
{
	struct vfio_region_info region = {
		.argsz = sizeof(region), .index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	uint16_t command;

	if (ioctl(nvme->device, VFIO_DEVICE_GET_REGION_INFO, &region))
		return -errno;
	nvme->bar = region.offset;
	region.index = VFIO_PCI_CONFIG_REGION_INDEX;
	if (ioctl(nvme->device, VFIO_DEVICE_GET_REGION_INFO, &region))
		return -errno;
	nvme->config = region.offset;

	if (pread(nvme->device, &command, 2, nvme->config + PCI_COMMAND) != 2)
		return -EIO;
	command |= htole16(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	if (pwrite(nvme->device, &command, 2, nvme->config + PCI_COMMAND) != 2)
		return -EIO;
	return 0;
}

int nvme_start(struct nvme *nvme, int device, void *memory, uint64_t iova)
{
	int ret;

	memset(nvme, 0, sizeof(*nvme));
	nvme->device = device;
	nvme->memory = memory;
	nvme->iova = iova;
	ret = map_registers(nvme);
	if (ret)
		return ret;
	nvme->stride = 4 << (reg_read(nvme, REG_CAP + 4) & 15);

	reg_write(nvme, REG_CC, 0);
	ret = wait_ready(nvme, 0);
	if (ret)
		return ret;
	memset(memory, 0, NVME_QUEUE_MEMORY);
	queue_init(nvme, &nvme->admin, 0, AT_ADMIN_SQ, AT_ADMIN_CQ);
	queue_init(nvme, &nvme->io, 1, AT_IO_SQ, AT_IO_CQ);
	reg_write(nvme, REG_AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	reg_write64(nvme, REG_ASQ, iova + AT_ADMIN_SQ);
	reg_write64(nvme, REG_ACQ, iova + AT_ADMIN_CQ);
	reg_write(nvme, REG_CC, CC_ENTRY_SIZES | CC_ENABLE);

	ret = wait_ready(nvme, CSTS_READY);
	if (!ret)
		ret = identify(nvme);
	if (!ret)
		ret = create_queues(nvme);
	return ret;
}

void nvme_stop(struct nvme *nvme)
{
	reg_write(nvme, REG_CC, 0);
	wait_ready(nvme, 0);
}

static int transfer(struct nvme *nvme, unsigned int opcode, uint64_t lba, uint64_t iova,
		    size_t bytes)
{
	uint64_t *list = (uint64_t *)(nvme->memory + AT_PRP_LIST);
	size_t pages = bytes / NVME_PAGE, i;
	struct command cmd = {
		.opcode = opcode, .nsid = 1, .prp1 = iova,
		.dw10 = lba, .dw11 = lba >> 32,
		.dw12 = bytes / nvme->block_size - 1,
	};

	if (bytes % NVME_PAGE || iova % NVME_PAGE || !pages || bytes > NVME_MAX_TRANSFER)
		return -EINVAL;
	for (i = 1; i < pages; i++)
		list[i - 1] = htole64(iova + i * NVME_PAGE);
	if (pages == 2)
		cmd.prp2 = iova + NVME_PAGE;
	else if (pages > 2)
		cmd.prp2 = nvme->iova + AT_PRP_LIST;
	return submit(nvme, &nvme->io, &cmd);
}

int nvme_write(struct nvme *nvme, uint64_t lba, uint64_t iova, size_t bytes)
{
	return transfer(nvme, IO_WRITE, lba, iova, bytes);
}

int nvme_read(struct nvme *nvme, uint64_t lba, uint64_t iova, size_t bytes)
{
	return transfer(nvme, IO_READ, lba, iova, bytes);
}

void nvme_fill(void *memory, size_t bytes)
{
	static unsigned int seed = 1;
	unsigned char *p = memory;

	while (bytes--) {
		seed = seed * 1664525 + 1013904223;
		*p++ = seed >> 24;
	}
}

bool nvme_round_trip(struct nvme *nvme, char *memory, uint64_t iova, size_t source,
		     size_t target)
{
	nvme_fill(memory + source, NVME_ROUND_TRIP);
	memset(memory + target, 0, NVME_ROUND_TRIP);
	return !nvme_write(nvme, 0, iova + source, NVME_ROUND_TRIP) &&
	       !nvme_read(nvme, 0, iova + target, NVME_ROUND_TRIP) &&
	       !memcmp(memory + source, memory + target, NVME_ROUND_TRIP);
}
