// SPDX-License-Identifier: GPL-2.0
/*
 * Devices by their own files and /dev/iommu: which addresses there are, that a controller
 * reaches what is mapped and nothing else, and that containers and /dev/iommu keep out of each
 * other's way.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

#include "iommufd_fixture.h"

FIXTURE(bound)
{
	struct iommufd_state st;
	struct iommufd_setup s;
	struct nvme nvme;
	char *mem;
};

FIXTURE_SETUP(bound)
{
	const char *why = iommufd_begin(&self->st, 1);

	if (why)
		SKIP(return, "%s", why);
	self->mem = self->st.mem;
	ASSERT_EQ(0, iommufd_setup(&self->s, &self->st.dev[0]));
}

FIXTURE_TEARDOWN(bound)
{
	iommufd_teardown(&self->s);
	EXPECT_TRUE(iommufd_end(&self->st));
}

#define map(iova, va, size, flags)	\
	iommufd_map(self->s.iommufd, self->s.ioas, iova, va, size, flags)
#define unmap(iova, size)	iommufd_unmap(self->s.iommufd, self->s.ioas, iova, size)

static bool round_trip(struct nvme *nvme, char *mem, uint64_t iova)
{
	return nvme_round_trip(nvme, mem, iova, AT_SOURCE, AT_TARGET);
}

/* What the controller stores there does not arrive in memory. */
static bool not_reached(struct nvme *nvme, char *mem, uint64_t iova)
{
	memset(mem + AT_TARGET, 0x5a, CHUNK);
	nvme_read(nvme, 0, iova + AT_TARGET, CHUNK);
	return all_bytes(mem + AT_TARGET, CHUNK, 0x5a);
}

TEST_F(bound, C23_ranges_leave_out_what_the_PHB_claims)
{
	struct iommu_iova_range ranges[8];
	uint64_t alignment;
	int i, n;

	n = iommufd_ranges(self->s.iommufd, self->s.ioas, ranges, 8, &alignment);
	ASSERT_LE(2, n);
	ASSERT_GE(8, n);
	EXPECT_EQ(0, ranges[0].start);
	EXPECT_EQ(2 * GB - 1, ranges[0].last);
	EXPECT_EQ(4 * GB, ranges[1].start);
	EXPECT_EQ((1UL << 47) - 1, ranges[n - 1].last);
	for (i = 1; i < n; i++)
		EXPECT_LT(ranges[i - 1].last, ranges[i].start);
	EXPECT_GE(spapr_page_size(), alignment);
	EXPECT_NE(0, map(2 * GB, self->mem, CHUNK, MAP_RW));
	EXPECT_NE(0, map(4 * GB - PAGE_64K, self->mem, PAGE_64K, MAP_RW));
	EXPECT_NE(0, map(1UL << 47, self->mem, CHUNK, MAP_RW));
}

TEST_F(bound, I1_mapped_memory_is_reachable_until_it_is_unmapped)
{
	ASSERT_EQ(0, map(IOVA, self->mem, MEM_SIZE, MAP_RW));
	EXPECT_EQ(self->st.pins + MEM_SIZE / spapr_page_size(), spapr_pins_held());
	ASSERT_EQ(0, nvme_start(&self->nvme, self->s.device, self->mem, IOVA));
	EXPECT_TRUE(round_trip(&self->nvme, self->mem, IOVA));
	ASSERT_EQ(0, unmap(IOVA, MEM_SIZE));
	EXPECT_EQ(self->st.pins, pins_settled(self->st.pins));
	EXPECT_TRUE(not_reached(&self->nvme, self->mem, IOVA));
	nvme_stop(&self->nvme);
}

/* The queues stay mapped, so the controller runs the command. */
TEST_F(bound, I1_hole_between_mapped_pages_is_not_reached)
{
	char *mem = self->mem;

	ASSERT_EQ(0, map(IOVA, mem, AT_TARGET, MAP_RW));
	ASSERT_EQ(0, map(IOVA + AT_TARGET, mem + AT_TARGET, CHUNK, MAP_RW));
	ASSERT_EQ(0, map(IOVA + AT_TARGET + CHUNK, mem + AT_TARGET + CHUNK, CHUNK, MAP_RW));
	ASSERT_EQ(0, nvme_start(&self->nvme, self->s.device, mem, IOVA));
	EXPECT_TRUE(round_trip(&self->nvme, mem, IOVA));
	ASSERT_EQ(0, unmap(IOVA + AT_TARGET, CHUNK));
	EXPECT_TRUE(not_reached(&self->nvme, mem, IOVA));
	ASSERT_EQ(0, map(IOVA + AT_TARGET, mem + AT_TARGET, CHUNK, MAP_RW));
	EXPECT_TRUE(round_trip(&self->nvme, mem, IOVA));
	nvme_stop(&self->nvme);
}

TEST_F(bound, I1_read_only_memory_is_not_written)
{
	char *mem = self->mem;

	ASSERT_EQ(0, map(IOVA, mem, AT_TARGET, MAP_RW));
	ASSERT_EQ(0, map(IOVA + AT_TARGET, mem + AT_TARGET, CHUNK, MAP_READ));
	ASSERT_EQ(0, nvme_start(&self->nvme, self->s.device, mem, IOVA));
	EXPECT_TRUE(not_reached(&self->nvme, mem, IOVA));
	nvme_stop(&self->nvme);
}

/* As drivers do that use the addresses of the process for all. */
TEST_F(bound, user_addresses_are_bus_addresses)
{
	const uint64_t iova = (uintptr_t)self->mem;

	ASSERT_EQ(0, map(iova, self->mem, MEM_SIZE, MAP_RW));
	ASSERT_EQ(0, nvme_start(&self->nvme, self->s.device, self->mem, iova));
	EXPECT_TRUE(round_trip(&self->nvme, self->mem, iova));
	nvme_stop(&self->nvme);
}

TEST_F(bound, addresses_are_found)
{
	uint64_t iova = 0;

	ASSERT_EQ(0, iommufd_map_anywhere(self->s.iommufd, self->s.ioas, &iova, self->mem,
					  MEM_SIZE));
	ASSERT_EQ(0, nvme_start(&self->nvme, self->s.device, self->mem, iova));
	EXPECT_TRUE(round_trip(&self->nvme, self->mem, iova));
	nvme_stop(&self->nvme);
}

/* The last page below the end, and the first one. */
TEST_F(bound, T1_ends_of_the_table)
{
	const uint64_t end = 1UL << 47;
	char *mem = self->mem;

	ASSERT_EQ(0, map(0, mem, AT_TARGET, MAP_RW));
	ASSERT_EQ(0, map(end - CHUNK, mem + AT_TARGET, CHUNK, MAP_RW));
	EXPECT_NE(0, map(end - CHUNK, mem + AT_TARGET, 2 * CHUNK, MAP_RW));
	ASSERT_EQ(0, nvme_start(&self->nvme, self->s.device, mem, 0));
	nvme_fill(mem + AT_SOURCE, CHUNK);
	ASSERT_EQ(0, nvme_write(&self->nvme, 0, AT_SOURCE, CHUNK));
	EXPECT_EQ(0, nvme_read(&self->nvme, 0, end - CHUNK, CHUNK));
	EXPECT_EQ(0, memcmp(mem + AT_SOURCE, mem + AT_TARGET, CHUNK));
	nvme_stop(&self->nvme);
}

TEST_F(bound, C3_map_over_a_mapping_is_refused)
{
	char *mem = self->mem;

	ASSERT_EQ(0, map(IOVA, mem, HALF, MAP_RW));
	EXPECT_EQ(-EEXIST, map(IOVA + AT_TARGET, mem + HALF, CHUNK, MAP_RW));
	EXPECT_EQ(-EEXIST, map(IOVA - CHUNK, mem + HALF, 2 * CHUNK, MAP_RW));
	ASSERT_EQ(0, nvme_start(&self->nvme, self->s.device, mem, IOVA));
	EXPECT_TRUE(round_trip(&self->nvme, mem, IOVA));
	nvme_stop(&self->nvme);
	EXPECT_EQ(-EFAULT, map(IOVA + HALF, NOWHERE, CHUNK, MAP_RW));
	EXPECT_EQ(-ENOENT, unmap(IOVA + HALF, CHUNK));
	EXPECT_EQ(self->st.pins + HALF / spapr_page_size(), pins_settled(self->st.pins +
									 HALF / spapr_page_size()));
}

TEST_F(bound, T16_device_without_an_IOAS_reaches_nothing)
{
	ASSERT_EQ(0, map(IOVA, self->mem, MEM_SIZE, MAP_RW));
	ASSERT_EQ(0, nvme_start(&self->nvme, self->s.device, self->mem, IOVA));
	ASSERT_EQ(0, iommufd_detach(self->s.device));
	EXPECT_TRUE(not_reached(&self->nvme, self->mem, IOVA));
	nvme_stop(&self->nvme);
	ASSERT_EQ(0, iommufd_attach(self->s.device, self->s.ioas));
	ASSERT_EQ(0, nvme_start(&self->nvme, self->s.device, self->mem, IOVA));
	EXPECT_TRUE(round_trip(&self->nvme, self->mem, IOVA));
	nvme_stop(&self->nvme);
}

TEST_F(bound, page_tables_of_their_own)
{
	uint32_t hwpt;

	EXPECT_EQ(-EOPNOTSUPP, iommufd_hwpt(self->s.iommufd, self->s.id, self->s.ioas,
					    IOMMU_HWPT_ALLOC_DIRTY_TRACKING, &hwpt));
	ASSERT_EQ(0, iommufd_hwpt(self->s.iommufd, self->s.id, self->s.ioas, 0, &hwpt));
	ASSERT_EQ(0, map(IOVA, self->mem, MEM_SIZE, MAP_RW));
	ASSERT_EQ(0, iommufd_attach(self->s.device, hwpt));
	ASSERT_EQ(0, nvme_start(&self->nvme, self->s.device, self->mem, IOVA));
	EXPECT_TRUE(round_trip(&self->nvme, self->mem, IOVA));
	nvme_stop(&self->nvme);
	EXPECT_EQ(-EBUSY, iommufd_destroy(self->s.iommufd, hwpt));
	ASSERT_EQ(0, iommufd_detach(self->s.device));
	EXPECT_EQ(0, iommufd_destroy(self->s.iommufd, hwpt));
}

struct replacing {
	int device;
	uint32_t ioas[2];
	int failed;
	unsigned long rounds;
	bool stop;
};

static void *replace(void *arg)
{
	struct replacing *r = arg;

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		r->failed += !!iommufd_attach(r->device, r->ioas[~r->rounds & 1]);
		__atomic_add_fetch(&r->rounds, 1, __ATOMIC_RELAXED);
		usleep(500);
	}
	return NULL;
}

/* At no moment has the controller neither table. */
TEST_F(bound, T23_IOAS_is_replaced_under_DMA)
{
	struct replacing r = { .device = self->s.device, .ioas = { self->s.ioas } };
	pthread_t thread;
	int i;

	ASSERT_EQ(0, iommufd_ioas(self->s.iommufd, &r.ioas[1]));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, iommufd_map(self->s.iommufd, r.ioas[i], IOVA, self->mem, MEM_SIZE,
					 MAP_RW));
	ASSERT_EQ(0, nvme_start(&self->nvme, self->s.device, self->mem, IOVA));
	ASSERT_EQ(0, pthread_create(&thread, NULL, replace, &r));
	for (i = 0; i < 40 || __atomic_load_n(&r.rounds, __ATOMIC_RELAXED) < 20; i++)
		EXPECT_TRUE(round_trip(&self->nvme, self->mem, IOVA));
	__atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, r.failed);
	/* The one that is left leads nowhere any more. */
	ASSERT_EQ(0, iommufd_attach(self->s.device, r.ioas[1]));
	ASSERT_EQ(0, iommufd_unmap_all(self->s.iommufd, r.ioas[1]));
	EXPECT_TRUE(not_reached(&self->nvme, self->mem, IOVA));
	nvme_stop(&self->nvme);
}

/* Levels come and go with what is mapped far apart, and with the table. */
TEST_F(bound, T19_no_level_is_lost)
{
	uint32_t ioas;
	int i, far;

	for (i = 0; i < LOSS_ROUNDS; i++) {
		ASSERT_EQ(0, iommufd_ioas(self->s.iommufd, &ioas));
		ASSERT_EQ(0, iommufd_attach(self->s.device, ioas));
		for (far = 3; far < 120; far++)
			ASSERT_EQ(0, iommufd_map(self->s.iommufd, ioas, far * 1024 * GB, self->mem,
						 PAGE_64K, MAP_RW));
		if (i & 1)
			ASSERT_EQ(0, iommufd_unmap_all(self->s.iommufd, ioas));
		ASSERT_EQ(0, iommufd_detach(self->s.device));
		ASSERT_EQ(0, iommufd_destroy(self->s.iommufd, ioas));
	}
}

static int open_group_once(const struct spapr_device *device)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/vfio/%d", device->group_id);
	fd = open(path, O_RDWR);
	return fd < 0 ? -errno : fd;
}

TEST_F(bound, C6_container_stays_out_of_a_device_that_is_bound)
{
	ASSERT_EQ(0, map(IOVA, self->mem, MEM_SIZE, MAP_RW));
	ASSERT_EQ(0, nvme_start(&self->nvme, self->s.device, self->mem, IOVA));
	EXPECT_EQ(-EBUSY, open_group_once(&self->st.dev[0]));
	EXPECT_TRUE(round_trip(&self->nvme, self->mem, IOVA));
	nvme_stop(&self->nvme);
}

/* A container of type v2, with DMA. */
static bool container_works(const struct spapr_device *dev, char *mem)
{
	struct spapr_setup s;
	struct nvme nvme;
	bool works;
	int device;

	if (spapr_setup(&s, dev, VFIO_SPAPR_TCE_v2_IOMMU))
		return false;
	device = spapr_open_device(s.group, dev);
	works = device >= 0 && !spapr_register(s.container, mem, MEM_SIZE) &&
		!spapr_map(s.container, 0, mem, MEM_SIZE, MAP_RW) &&
		!nvme_start(&nvme, device, mem, 0) && round_trip(&nvme, mem, 0);
	if (works)
		nvme_stop(&nvme);
	if (device >= 0)
		close(device);
	spapr_teardown(&s);
	return works;
}

static bool iommufd_works(const struct spapr_device *dev, char *mem)
{
	struct iommufd_setup s;
	struct nvme nvme;
	bool works;

	if (iommufd_setup(&s, dev))
		return false;
	works = !iommufd_map(s.iommufd, s.ioas, IOVA, mem, MEM_SIZE, MAP_RW) &&
		!nvme_start(&nvme, s.device, mem, IOVA) && round_trip(&nvme, mem, IOVA);
	if (works)
		nvme_stop(&nvme);
	iommufd_teardown(&s);
	return works;
}

TEST_F(bound, T16_one_after_the_other)
{
	const struct spapr_device *dev = &self->st.dev[0];
	int i;

	iommufd_teardown(&self->s);
	for (i = 0; i < 3; i++) {
		EXPECT_TRUE(container_works(dev, self->mem));
		EXPECT_TRUE(iommufd_works(dev, self->mem));
	}
}

TEST(C6_device_of_a_container_cannot_be_bound)
{
	struct iommufd_state st;
	const char *why = iommufd_begin(&st, 1);
	int iommufd, device, of_group;
	struct spapr_setup s;
	struct nvme nvme;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, spapr_setup(&s, &st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
	ASSERT_EQ(0, spapr_register(s.container, st.mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_map(s.container, 0, st.mem, MEM_SIZE, MAP_RW));
	of_group = spapr_open_device(s.group, &st.dev[0]);
	ASSERT_LE(0, of_group);
	ASSERT_EQ(0, nvme_start(&nvme, of_group, st.mem, 0));

	iommufd = iommufd_open();
	device = iommufd_open_device(&st.dev[0]);
	ASSERT_LE(0, iommufd);
	ASSERT_LE(0, device);
	EXPECT_EQ(-EBUSY, iommufd_bind(device, iommufd, NULL));
	close(device);
	close(iommufd);
	EXPECT_TRUE(round_trip(&nvme, st.mem, 0));
	nvme_stop(&nvme);
	close(of_group);
	spapr_teardown(&s);
	EXPECT_TRUE(iommufd_end(&st));
}

/* Programs that know TYPE1 only, which POWER never had. */
TEST(type1_by_the_file_of_a_group)
{
	struct iommufd_state st;
	const char *why = iommufd_begin(&st, 1);
	int iommufd, group, device;
	struct nvme nvme;

	if (why)
		SKIP(return, "%s", why);
	iommufd = iommufd_open();
	group = spapr_open_group(&st.dev[0]);
	ASSERT_LE(0, iommufd);
	ASSERT_LE(0, group);
	ASSERT_EQ(0, spapr_set_container(group, iommufd));
	ASSERT_EQ(0, spapr_set_iommu(iommufd, VFIO_TYPE1v2_IOMMU));
	ASSERT_EQ(0, spapr_map(iommufd, IOVA, st.mem, MEM_SIZE, MAP_RW));
	device = spapr_open_device(group, &st.dev[0]);
	ASSERT_LE(0, device);
	ASSERT_EQ(0, nvme_start(&nvme, device, st.mem, IOVA));
	EXPECT_TRUE(round_trip(&nvme, st.mem, IOVA));
	ASSERT_EQ(0, spapr_unmap(iommufd, IOVA, MEM_SIZE));
	EXPECT_TRUE(not_reached(&nvme, st.mem, IOVA));
	nvme_stop(&nvme);
	close(device);
	close(group);
	close(iommufd);
	EXPECT_TRUE(iommufd_end(&st));
}

TEST(I12_two_devices_in_one_IOAS)
{
	struct iommufd_state st;
	const char *why = iommufd_begin(&st, 2);
	struct iommufd_setup s;
	struct nvme nvme[2];
	int other, i;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, iommufd_setup(&s, &st.dev[0]));
	ASSERT_EQ(0, iommufd_map(s.iommufd, s.ioas, IOVA, st.mem, HALF, MAP_RW));
	other = iommufd_open_device(&st.dev[1]);
	ASSERT_LE(0, other);
	ASSERT_EQ(0, iommufd_bind(other, s.iommufd, NULL));
	ASSERT_EQ(0, iommufd_attach(other, s.ioas));
	ASSERT_EQ(0, iommufd_map(s.iommufd, s.ioas, IOVA + HALF, st.mem + HALF, HALF, MAP_RW));
	ASSERT_EQ(0, nvme_start(&nvme[0], s.device, st.mem, IOVA));
	ASSERT_EQ(0, nvme_start(&nvme[1], other, st.mem + HALF, IOVA + HALF));
	for (i = 0; i < 3; i++) {
		EXPECT_TRUE(round_trip(&nvme[0], st.mem, IOVA));
		EXPECT_TRUE(round_trip(&nvme[1], st.mem + HALF, IOVA + HALF));
	}
	nvme_stop(&nvme[0]);
	close(s.device);
	EXPECT_TRUE(round_trip(&nvme[1], st.mem + HALF, IOVA + HALF));
	ASSERT_EQ(0, iommufd_unmap_all(s.iommufd, s.ioas));
	EXPECT_TRUE(not_reached(&nvme[1], st.mem + HALF, IOVA + HALF));
	nvme_stop(&nvme[1]);
	close(other);
	close(s.iommufd);
	EXPECT_TRUE(iommufd_end(&st));
}

/* Never returns. */
static void work(const struct spapr_device *dev, char *mem)
{
	struct iommufd_setup s;
	struct nvme nvme;
	uint64_t far;

	if (iommufd_setup(&s, dev) ||
	    iommufd_map(s.iommufd, s.ioas, IOVA, mem, MEM_SIZE, MAP_RW) ||
	    nvme_start(&nvme, s.device, mem, IOVA))
		exit(1);
	for (far = 1;; far = far % 100 + 1) {
		iommufd_map(s.iommufd, s.ioas, far << 40, mem, MEM_SIZE, MAP_RW);
		nvme_round_trip(&nvme, mem, IOVA, AT_SOURCE, AT_TARGET);
		if (far & 1)
			iommufd_unmap(s.iommufd, s.ioas, far << 40, MEM_SIZE);
	}
}

TEST(C12_killed_while_the_device_works)
{
	struct iommufd_state st;
	const char *why = iommufd_begin(&st, 1);
	int i, status;
	pid_t pid;

	if (why)
		SKIP(return, "%s", why);
	for (i = 0; i < 12; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid)
			work(&st.dev[0], st.mem);
		usleep(30000 + i * 7919 % 200000);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		EXPECT_TRUE(WIFSIGNALED(status));
	}
	EXPECT_TRUE(iommufd_end(&st));
	EXPECT_TRUE(iommufd_works(&st.dev[0], st.mem));
	EXPECT_TRUE(iommufd_end(&st));
}

/* Two functions of a device in one group. */
static bool find_pair(const struct iommufd_state *st, int *first, int *second)
{
	int i;

	for (i = 0; i + 1 < st->ndev; i++)
		if (st->dev[i].group_id == st->dev[i + 1].group_id) {
			*first = i;
			*second = i + 1;
			return true;
		}
	return false;
}

TEST(T22_function_is_plugged_beside_one_in_use)
{
	struct iommufd_state st;
	const char *why = iommufd_begin(&st, 2);
	struct iommufd_setup s;
	int first, second;
	struct nvme nvme;

	if (!why && !find_pair(&st, &first, &second))
		why = "no two controllers in one group";
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, iommufd_setup(&s, &st.dev[first]));
	ASSERT_EQ(0, iommufd_map(s.iommufd, s.ioas, IOVA, st.mem, MEM_SIZE, MAP_RW));
	ASSERT_EQ(0, nvme_start(&nvme, s.device, st.mem, IOVA));
	ASSERT_EQ(0, spapr_unplug(&st.dev[second]));
	EXPECT_TRUE(round_trip(&nvme, st.mem, IOVA));
	ASSERT_EQ(0, spapr_rescan());
	EXPECT_TRUE(round_trip(&nvme, st.mem, IOVA));
	nvme_stop(&nvme);
	iommufd_teardown(&s);
	EXPECT_EQ(0, spapr_bind(&st.dev[second]));
	EXPECT_TRUE(iommufd_end(&st));
	EXPECT_TRUE(iommufd_works(&st.dev[second], st.mem));
}

TEST_HARNESS_MAIN
