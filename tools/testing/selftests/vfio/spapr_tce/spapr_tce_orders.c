// SPDX-License-Identifier: GPL-2.0
/*
 * Containers that are inherited, handed to another process, left by their groups or
 * lose a device: whoever is left goes on, and the last one to leave takes everything
 * along.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "fixture.h"

#define EXEC_FD		"SPAPR_TCE_ORDERS_FD"	/* tells the program that it is after an exec */
#define AT_SOURCE	MB
#define AT_TARGET	(2 * MB)

/* What every call says to a process that the container does not belong to. */
static int all_refused(int c, char *mem)
{
	struct vfio_iommu_spapr_tce_info info;
	uint64_t start;

	return spapr_get_info(c, &info) == -EPERM &&
	       spapr_register(c, mem, PAGE_64K) == -EPERM &&
	       spapr_unregister(c, mem, PAGE_64K) == -EPERM &&
	       spapr_map(c, 0, mem, PAGE_64K, MAP_RW) == -EPERM &&
	       spapr_unmap(c, 0, PAGE_64K) == -EPERM &&
	       spapr_unmap_all(c, &start) == -EPERM &&
	       spapr_create(c, SHIFT_64K, WIN_SIZE, 1, &start) == -EPERM &&
	       spapr_remove(c, 0) == -EPERM ? 0 : -EBADE;
}

/* After an exec this runs before main(): the container is only left to be closed. */
static void __attribute__((constructor)) after_exec(void)
{
	const char *fd = getenv(EXEC_FD);

	if (fd)
		_exit(-all_refused(atoi(fd), spapr_memory(PAGE_64K, PAGE_64K)) & 0xff);
}

static bool vmlck_becomes(long kb)
{
	int tries;

	for (tries = 0; tries < 500 && spapr_vmlck_kb() != kb; tries++)
		usleep(20000);
	return spapr_vmlck_kb() == kb;
}

static int exit_status(pid_t pid)
{
	int status = -1;

	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* Everything a process can have, all of it mapped. */
static int fill(struct spapr_setup *s, char *mem)
{
	uint64_t start;

	return spapr_register(s->container, mem, MEM_SIZE) ?:
	       spapr_create(s->container, SHIFT_64K, WIN_SIZE, 2, &start) ?:
	       spapr_map(s->container, start, mem, MEM_SIZE, MAP_RW) ?:
	       spapr_map(s->container, 0, mem, MEM_SIZE, MAP_RW);
}

static int setup_and_fill(struct spapr_setup *s, const struct spapr_device *dev)
{
	return spapr_setup(s, dev, VFIO_SPAPR_TCE_v2_IOMMU) ?:
	       fill(s, spapr_memory(MEM_SIZE, MEM_ALIGN));
}

/* A process that starts without a container; the others make one or get one. */
FIXTURE(process)
{
	struct spapr_state st;
	int to_child[2], to_parent[2];
};

FIXTURE_SETUP(process)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);

	if (why)
		SKIP(return, "%s", why);
	spapr_teardown(&self->st.s);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM, 0, self->to_child));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_DGRAM, 0, self->to_parent));
}

FIXTURE_TEARDOWN(process)
{
	if (self->st.s.container < 0)
		ASSERT_EQ(0, spapr_setup(&self->st.s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
	EXPECT_TRUE(state_end(&self->st));
}

static void say(int sockets[2], int word)
{
	if (send(sockets[0], &word, sizeof(word), 0) != sizeof(word))
		exit(99);
}

static int hear(int sockets[2])
{
	int word;

	return recv(sockets[1], &word, sizeof(word), 0) == sizeof(word) ? word : -EPIPE;
}

/* The container's process ends, a child of it lives on with the inherited files. */
TEST_F(process, C12_R10_child_outlives_the_parent_that_set_up)
{
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (!pid) {
		if (setup_and_fill(&self->st.s, &self->st.dev[0]))
			_exit(1);
		if (!fork()) {
			hear(self->to_child);
			say(self->to_parent, all_refused(self->st.s.container, self->st.mem));
			hear(self->to_child);
			_exit(0);
		}
		_exit(0);
	}
	ASSERT_EQ(0, exit_status(pid));
	say(self->to_child, 0);
	EXPECT_EQ(0, hear(self->to_parent));
	/* The device may still write to what was mapped. */
	EXPECT_LE(self->st.pins + (long)MEM_SIZE / spapr_page_size(), spapr_pins_held());
	say(self->to_child, 0);
	EXPECT_EQ(self->st.pins, pins_settled(self->st.pins));
}

TEST_F(process, C12_R10_parent_goes_on_after_its_child)
{
	struct spapr_setup *s = &self->st.s;
	pid_t pid;

	ASSERT_EQ(0, spapr_setup(s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
	ASSERT_EQ(0, fill(s, self->st.mem));
	pid = fork();
	if (!pid)
		_exit(-all_refused(s->container, self->st.mem));
	EXPECT_EQ(0, exit_status(pid));
	EXPECT_EQ(-EBUSY, spapr_unregister(s->container, self->st.mem, MEM_SIZE));
	EXPECT_EQ(0, spapr_unmap(s->container, 0, MEM_SIZE));
}

/* After the exec the files are the same, the memory is not. */
TEST_F(process, C12_R10_exec_with_the_container_open)
{
	pid_t pid = fork();
	char fd[16];

	ASSERT_LE(0, pid);
	if (!pid) {
		if (setup_and_fill(&self->st.s, &self->st.dev[0]))
			_exit(1);
		fcntl(self->st.s.container, F_SETFD, 0);
		fcntl(self->st.s.group, F_SETFD, 0);
		snprintf(fd, sizeof(fd), "%d", self->st.s.container);
		setenv(EXEC_FD, fd, 1);
		execl("/proc/self/exe", "spapr_tce_orders", NULL);
		_exit(2);
	}
	EXPECT_EQ(0, exit_status(pid));
	EXPECT_EQ(self->st.pins, pins_settled(self->st.pins));
}

static int send_fd(int sockets[2], int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	return sendmsg(sockets[0], &msg, 0) == 1 ? 0 : -errno;
}

static int receive_fd(int sockets[2])
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(sockets[1], &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg))
		_exit(3);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

TEST_F(process, C12_R10_container_sent_over_a_socket)
{
	struct spapr_setup *s = &self->st.s;
	pid_t pid = fork();
	char *mem;
	int c;

	ASSERT_LE(0, pid);
	if (!pid) {
		c = receive_fd(self->to_child);
		say(self->to_parent, all_refused(c, spapr_memory(PAGE_64K, PAGE_64K)));
		hear(self->to_child);
		_exit(0);
	}
	ASSERT_EQ(0, spapr_setup(s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
	/* Not what is shared with the child: copying it page by page would leave small pieces. */
	mem = spapr_memory(MEM_SIZE, MEM_ALIGN);
	ASSERT_EQ(0, fill(s, mem));
	ASSERT_EQ(0, send_fd(self->to_child, s->container));
	EXPECT_EQ(0, hear(self->to_parent));
	EXPECT_EQ(-EBUSY, spapr_unregister(s->container, mem, MEM_SIZE));
	/* What the other one holds is an empty container once the group has left it. */
	spapr_teardown(s);
	EXPECT_EQ(self->st.pins, pins_settled(self->st.pins));
	EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
	say(self->to_child, 0);
	EXPECT_EQ(0, exit_status(pid));
}

/* It belongs to whoever uses it first, not to whoever opened it. */
TEST_F(process, C6_R10_container_belongs_to_its_first_user)
{
	struct spapr_setup *s = &self->st.s;
	pid_t pid;

	ASSERT_EQ(0, spapr_setup(s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
	pid = fork();
	if (!pid) {
		say(self->to_parent, fill(s, spapr_memory(MEM_SIZE, MEM_ALIGN)));
		hear(self->to_child);
		_exit(-spapr_unmap(s->container, 0, MEM_SIZE));
	}
	EXPECT_EQ(0, hear(self->to_parent));
	EXPECT_EQ(0, all_refused(s->container, self->st.mem));
	EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
	say(self->to_child, 0);
	EXPECT_EQ(0, exit_status(pid));
	EXPECT_EQ(0, all_refused(s->container, self->st.mem));
}

/* ---- groups and devices that go ---- */

CONTAINER_FIXTURE(v2, VFIO_SPAPR_TCE_v2_IOMMU, ASSERT_EQ(0, fill(&self->st.s, self->mem)))

TEST_F(v2, C12_group_closed_while_the_container_lives)
{
	struct spapr_setup *s = &self->st.s;

	close(s->group);
	EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
	EXPECT_EQ(self->st.pins, spapr_pins_held());
	EXPECT_EQ(-EINVAL, spapr_unmap(self->c, 0, MEM_SIZE));
	s->group = spapr_open_group(&self->st.dev[0]);
	ASSERT_LE(0, s->group);
	ASSERT_EQ(0, spapr_set_container(s->group, self->c));
	ASSERT_EQ(0, spapr_set_iommu(self->c, VFIO_SPAPR_TCE_v2_IOMMU));
	EXPECT_EQ(0, fill(s, self->mem));
}

/* The device keeps its group in the container until it is closed itself. */
TEST_F(v2, C12_group_closed_while_its_device_is_open)
{
	struct spapr_setup *s = &self->st.s;
	struct nvme nvme;
	int device = spapr_open_device(s->group, &self->st.dev[0]);

	ASSERT_LE(0, device);
	ASSERT_EQ(0, nvme_start(&nvme, device, self->mem, 0));
	close(s->group);
	s->group = -1;
	EXPECT_TRUE(nvme_round_trip(&nvme, self->mem, 0, AT_SOURCE, AT_TARGET));
	EXPECT_EQ(0, spapr_unmap(self->c, WINDOW1, MEM_SIZE));
	EXPECT_EQ(0, spapr_map(self->c, WINDOW1, self->mem, MEM_SIZE, MAP_RW));
	EXPECT_TRUE(nvme_round_trip(&nvme, self->mem, WINDOW1, AT_SOURCE, AT_TARGET));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, self->mem, MEM_SIZE));

	/* The container's file goes, what it maps stays as long as the device. */
	close(s->container);
	EXPECT_TRUE(nvme_round_trip(&nvme, self->mem, WINDOW1, AT_SOURCE, AT_TARGET));
	EXPECT_LT(self->st.pins, spapr_pins_held());
	nvme_stop(&nvme);
	close(device);
	EXPECT_EQ(self->st.pins, pins_settled(self->st.pins));
	EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
	ASSERT_EQ(0, spapr_setup(s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
}

/* Two groups in one container; the one with this number leaves first. */
FIXTURE(shared)
{
	struct spapr_state st;
	int group[2], device[2];
	struct nvme nvme[2];
	int c;
	char *mem;
};

FIXTURE_VARIANT(shared)
{
	int first;
};

FIXTURE_VARIANT_ADD(shared, first_group_leaves) { 0 };
FIXTURE_VARIANT_ADD(shared, second_group_leaves) { 1 };

#define CONTROLLER_MEMORY	(4 * MB)	/* of each of the two */

/* A controller shows whether its group has the windows. */
static bool reaches(struct nvme *nvme, char *mem)
{
	return nvme_round_trip(nvme, mem, 0, AT_SOURCE, AT_TARGET) &&
	       nvme_round_trip(nvme, mem, WINDOW1, AT_SOURCE, AT_TARGET);
}

FIXTURE_SETUP(shared)
{
	const char *why = state_begin(&self->st, 2, VFIO_SPAPR_TCE_v2_IOMMU);
	int i;

	if (why)
		SKIP(return, "%s", why);
	self->c = self->st.s.container;
	self->mem = self->st.mem;
	ASSERT_EQ(0, fill(&self->st.s, self->mem));
	self->group[0] = self->st.s.group;
	self->group[1] = spapr_open_group(&self->st.dev[1]);
	ASSERT_LE(0, self->group[1]);
	ASSERT_EQ(0, spapr_set_container(self->group[1], self->c));
	for (i = 0; i < 2; i++) {
		self->device[i] = spapr_open_device(self->group[i], &self->st.dev[i]);
		ASSERT_LE(0, self->device[i]);
		ASSERT_EQ(0, nvme_start(&self->nvme[i], self->device[i],
					self->mem + i * CONTROLLER_MEMORY, i * CONTROLLER_MEMORY));
	}
}

FIXTURE_TEARDOWN(shared)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (self->device[i] < 0)
			continue;
		nvme_stop(&self->nvme[i]);
		close(self->device[i]);
	}
	close(self->group[1]);
	EXPECT_TRUE(state_end(&self->st));
}

static void leave(struct _test_data_shared *self, int who)
{
	nvme_stop(&self->nvme[who]);
	close(self->device[who]);
	self->device[who] = -1;
}

TEST_F(shared, C7_I12_windows_of_the_group_that_stays)
{
	int stays = !variant->first;
	struct nvme *nvme = &self->nvme[stays];

	EXPECT_TRUE(reaches(&self->nvme[0], self->mem));
	EXPECT_TRUE(reaches(&self->nvme[1], self->mem));
	leave(self, variant->first);
	ASSERT_EQ(0, spapr_unset_container(self->group[variant->first]));
	EXPECT_TRUE(reaches(nvme, self->mem));

	/* Windows come and go for the one that stays ... */
	ASSERT_EQ(0, spapr_remove(self->c, WINDOW1));
	ASSERT_EQ(0, spapr_create(self->c, SHIFT_4K, WIN_SIZE, 3, NULL));
	ASSERT_EQ(0, spapr_map(self->c, WINDOW1, self->mem, MEM_SIZE, MAP_RW));
	EXPECT_TRUE(reaches(nvme, self->mem));

	/* ... and the other one finds them when it is back. */
	ASSERT_EQ(0, spapr_set_container(self->group[variant->first], self->c));
	self->device[variant->first] = spapr_open_device(self->group[variant->first],
							 &self->st.dev[variant->first]);
	ASSERT_LE(0, self->device[variant->first]);
	ASSERT_EQ(0, nvme_start(&self->nvme[variant->first], self->device[variant->first],
				self->mem + variant->first * CONTROLLER_MEMORY, WINDOW1 +
				variant->first * CONTROLLER_MEMORY));
	EXPECT_TRUE(reaches(&self->nvme[variant->first], self->mem));
	EXPECT_TRUE(reaches(nvme, self->mem));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, self->mem, MEM_SIZE));
}

TEST_F(shared, C12_both_leave_one_after_the_other)
{
	leave(self, variant->first);
	ASSERT_EQ(0, spapr_unset_container(self->group[variant->first]));
	EXPECT_LT(self->st.pins, spapr_pins_held());
	leave(self, !variant->first);
	ASSERT_EQ(0, spapr_unset_container(self->group[!variant->first]));
	EXPECT_EQ(self->st.vmlck, spapr_vmlck_kb());
	EXPECT_EQ(self->st.pins, spapr_pins_held());
}

/* A group that has left has none of the windows of its old container. */
TEST_F(shared, I1_I12_group_that_left_reaches_nothing)
{
	struct nvme *nvme = &self->nvme[variant->first];
	struct spapr_setup alone;
	int device;

	leave(self, variant->first);
	ASSERT_EQ(0, spapr_unset_container(self->group[variant->first]));
	alone.container = spapr_open_container();
	alone.group = self->group[variant->first];
	ASSERT_EQ(0, spapr_set_container(alone.group, alone.container));
	ASSERT_EQ(0, spapr_set_iommu(alone.container, VFIO_SPAPR_TCE_v2_IOMMU));
	device = spapr_open_device(alone.group, &self->st.dev[variant->first]);
	ASSERT_LE(0, device);
	EXPECT_NE(0, nvme_start(nvme, device, self->mem, 0));
	EXPECT_NE(0, nvme_start(nvme, device, self->mem, WINDOW1));
	close(device);
	EXPECT_EQ(0, spapr_unset_container(alone.group));
	close(alone.container);
	EXPECT_TRUE(reaches(&self->nvme[!variant->first], self->mem));
}

TEST(v1_container_takes_one_group)
{
	struct spapr_state st;
	const char *why = state_begin(&st, 2, VFIO_SPAPR_TCE_IOMMU);
	int group;

	if (why)
		SKIP(return, "%s", why);
	group = spapr_open_group(&st.dev[1]);
	ASSERT_LE(0, group);
	EXPECT_EQ(-EBUSY, spapr_set_container(group, st.s.container));
	/* The first one is not disturbed, the second one is free. */
	EXPECT_EQ(0, spapr_ioctl(st.s.container, VFIO_IOMMU_ENABLE, NULL));
	EXPECT_EQ(0, spapr_map(st.s.container, 0, st.mem, MEM_SIZE, MAP_RW));
	EXPECT_EQ(-EBUSY, spapr_set_container(group, st.s.container));
	EXPECT_EQ(0, spapr_unmap(st.s.container, 0, MEM_SIZE));
	close(group);
	EXPECT_TRUE(state_end(&st));
}

/* ---- the device itself goes, and comes back for the tests that follow ---- */

static int remove_device(const struct spapr_device *dev)
{
	char path[80];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", dev->bdf);
	return spapr_write_file(path, "1");
}

static bool comes_back(const struct spapr_device *dev)
{
	struct spapr_device found[2];
	int tries, i, n;

	for (tries = 0; tries < 300; tries++) {
		spapr_write_file("/sys/bus/pci/rescan", "1");
		n = spapr_find_devices(found, 2);
		for (i = 0; i < n; i++)
			if (!strcmp(found[i].bdf, dev->bdf))
				return true;
		usleep(100000);
	}
	return false;
}

CONTAINER_FIXTURE(pulled, VFIO_SPAPR_TCE_v2_IOMMU, (void)0)

TEST_F(pulled, C12_device_is_pulled_while_mapped)
{
	struct spapr_setup other;
	int round;

	if (self->st.ndev < 2)
		SKIP(return, "needs two groups");
	for (round = 0; round < 3; round++) {
		ASSERT_EQ(0, spapr_setup(&other, &self->st.dev[1], VFIO_SPAPR_TCE_v2_IOMMU));
		ASSERT_EQ(0, fill(&other, self->mem));
		ASSERT_EQ(0, remove_device(&self->st.dev[1]));
		/* Memory goes soon after, by a work item. */
		EXPECT_EQ(self->st.pins, pins_settled(self->st.pins));
		EXPECT_TRUE(vmlck_becomes(self->st.vmlck));
		EXPECT_EQ(-EINVAL, spapr_map(other.container, 0, self->mem, PAGE_64K, MAP_RW));
		/* Others have not noticed. */
		EXPECT_EQ(0, spapr_register(self->c, self->mem, MEM_SIZE));
		EXPECT_EQ(0, spapr_map(self->c, 0, self->mem, MEM_SIZE, MAP_RW));
		EXPECT_EQ(0, spapr_unmap(self->c, 0, MEM_SIZE));
		EXPECT_EQ(0, spapr_unregister(self->c, self->mem, MEM_SIZE));
		EXPECT_EQ(0, spapr_remove(self->c, 0));
		spapr_teardown(&other);
		ASSERT_TRUE(comes_back(&self->st.dev[1]));
		spapr_teardown(&self->st.s);
		ASSERT_EQ(2, spapr_find_devices(self->st.dev, 2));
		ASSERT_EQ(0, spapr_setup(&self->st.s, &self->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
		self->c = self->st.s.container;
	}
}

/* The device is in use: whoever removes it waits until it is closed. */
TEST_F(pulled, C12_device_is_pulled_while_its_file_is_open)
{
	struct spapr_setup other;
	struct nvme nvme;
	int device;
	pid_t pid;

	if (self->st.ndev < 2)
		SKIP(return, "needs two groups");
	ASSERT_EQ(0, spapr_setup(&other, &self->st.dev[1], VFIO_SPAPR_TCE_v2_IOMMU));
	ASSERT_EQ(0, fill(&other, self->mem));
	device = spapr_open_device(other.group, &self->st.dev[1]);
	ASSERT_LE(0, device);
	ASSERT_EQ(0, nvme_start(&nvme, device, self->mem, 0));
	pid = fork();
	if (!pid) {
		close(device);
		close(other.group);
		close(other.container);
		_exit(-remove_device(&self->st.dev[1]));
	}
	usleep(300000);
	EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
	EXPECT_TRUE(nvme_round_trip(&nvme, self->mem, 0, AT_SOURCE, AT_TARGET));
	EXPECT_EQ(-EBUSY, spapr_unregister(other.container, self->mem, MEM_SIZE));
	nvme_stop(&nvme);
	close(device);
	EXPECT_EQ(0, exit_status(pid));
	EXPECT_EQ(self->st.pins, pins_settled(self->st.pins));
	spapr_teardown(&other);
	EXPECT_TRUE(comes_back(&self->st.dev[1]));
}

TEST_HARNESS_MAIN
