// SPDX-License-Identifier: GPL-2.0
/*
 * Links of KVM guests to windows, and what comes to its end before or after them: windows,
 * groups, processes and VMs. Nothing stays charged, pinned or allocated, and no guest reaches
 * what is gone.
 */
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "kvm_fixture.h"

GUEST_FIXTURE(life, 1, ASSERT_EQ(0, guest_linked_table(&self->g, SHIFT_64K, SHIFT_64K)))

TEST_F(life, K5_remove_of_a_linked_window)
{
	struct guest *g = &self->g;
	const long view_kb = spapr_vmlck_kb(), window_kb = WIN_SIZE / PAGE_64K * 8 / KB;

	EXPECT_EQ(H_SUCCESS, map_eight(g));
	EXPECT_TRUE(hardware_has_any(g));
	EXPECT_EQ(0, spapr_remove(g->c, g->base));
	EXPECT_GE(view_kb - window_kb, spapr_vmlck_kb());
	EXPECT_FALSE(hardware_has_any(g));
	dead_link(_metadata, g);
	EXPECT_FALSE(hardware_has_any(g));
}

TEST_F(life, K19_new_window_and_link_after_remove)
{
	struct guest *g = &self->g;
	uint64_t start;

	EXPECT_EQ(H_SUCCESS, map_eight(g));
	ASSERT_EQ(0, spapr_remove(g->c, g->base));
	ASSERT_EQ(0, spapr_create(g->c, SHIFT_64K, WIN_SIZE, 1, &start));
	ASSERT_EQ(g->base, start);
	/* Nobody has linked that one. */
	dead_link(_metadata, g);
	EXPECT_EQ(0, vm_set(&g->vm, g->st.s.group, g->table));
	live_link(_metadata, g);
	/* Of other pages, and more than once. */
	ASSERT_EQ(0, spapr_remove(g->c, g->base));
	EXPECT_EQ(H_TOO_HARD, unmap_eight(g));
	ASSERT_EQ(0, spapr_create(g->c, SHIFT_4K, WIN_SIZE, 2, &start));
	EXPECT_EQ(0, vm_set(&g->vm, g->st.s.group, g->table));
	live_link(_metadata, g);
}

/* DEL of the group takes the dead link, too: what is left is for emulated devices. */
TEST_F(life, K19_dead_link_goes_with_its_group)
{
	struct guest *g = &self->g;

	EXPECT_EQ(H_SUCCESS, map_eight(g));
	ASSERT_EQ(0, spapr_remove(g->c, g->base));
	dead_link(_metadata, g);
	EXPECT_EQ(0, vm_del(&g->vm, g->st.s.group));
	EXPECT_EQ(H_SUCCESS, unmap_eight(g));
	EXPECT_EQ(H_SUCCESS, map_eight(g));
	EXPECT_FALSE(hardware_has_any(g));
}

TEST_F(life, K5_last_group_leaves_the_container)
{
	struct guest *g = &self->g;
	uint64_t start;

	EXPECT_EQ(H_SUCCESS, map_eight(g));
	ASSERT_EQ(0, spapr_unset_container(g->st.s.group));
	EXPECT_EQ(g->st.pins, pins_settled(g->st.pins));
	dead_link(_metadata, g);
	ASSERT_EQ(0, spapr_set_container(g->st.s.group, g->c));
	ASSERT_EQ(0, spapr_set_iommu(g->c, VFIO_SPAPR_TCE_v2_IOMMU));
	ASSERT_EQ(0, spapr_register(g->c, g->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_remove(g->c, 0));
	ASSERT_EQ(0, spapr_create(g->c, SHIFT_64K, WIN_SIZE, 1, &start));
	dead_link(_metadata, g);
	EXPECT_EQ(0, vm_set(&g->vm, g->st.s.group, g->table));
	live_link(_metadata, g);
}

/* What was mapped stays when a link goes; it is the container's then. */
TEST_F(life, del_leaves_what_was_mapped)
{
	struct guest *g = &self->g;

	EXPECT_EQ(H_SUCCESS, map_eight(g));
	EXPECT_EQ(0, vm_del(&g->vm, g->st.s.group));
	EXPECT_TRUE(hardware_has_any(g));
	EXPECT_EQ(H_SUCCESS, unmap_eight(g));
	EXPECT_TRUE(hardware_has_any(g));
	EXPECT_EQ(0, spapr_unmap(g->c, g->base, WIN_SIZE));
	EXPECT_FALSE(hardware_has_any(g));
	ASSERT_EQ(0, vm_add(&g->vm, g->st.s.group));
	EXPECT_EQ(H_SUCCESS, map_eight(g));
	EXPECT_FALSE(hardware_has_any(g));
	EXPECT_EQ(0, vm_set(&g->vm, g->st.s.group, g->table));
	EXPECT_FALSE(hardware_has_any(g));
	live_link(_metadata, g);
}

TEST_F(life, K11_close_of_a_linked_table)
{
	struct guest *g = &self->g;
	const long before = spapr_vmlck_kb();
	int tries;

	EXPECT_EQ(H_SUCCESS, map_eight(g));
	vm_close(&g->table);
	/* What it was charged is let go of shortly after. */
	for (tries = 0; tries < 1000 && spapr_vmlck_kb() == before; tries++)
		usleep(20000);
	EXPECT_GT(before, spapr_vmlck_kb());
	EXPECT_EQ(H_TOO_HARD, unmap_eight(g));
	EXPECT_TRUE(hardware_has_any(g));
	g->table = guest_liobn(g, LIOBN);
	ASSERT_LE(0, g->table);
	EXPECT_EQ(before, vmlck_settled(before));
	EXPECT_EQ(0, view(g, 0));
	EXPECT_EQ(0, vm_set(&g->vm, g->st.s.group, g->table));
	EXPECT_EQ(H_SUCCESS, unmap_eight(g));
	live_link(_metadata, g);
	EXPECT_EQ(0, vm_del(&g->vm, g->st.s.group));
}

/* ---- what rounds of it leave behind ---- */

TEST_F(life, K5_memory_of_windows_that_were_removed)
{
	struct guest *g = &self->g;
	struct loss before;
	uint64_t start;
	int i;

	ASSERT_EQ(0, spapr_remove(g->c, g->base));
	before = loss_begin();
	for (i = 0; i < LOSS_ROUNDS; i++) {
		ASSERT_EQ(0, spapr_create(g->c, SHIFT_4K, WIN_SIZE, 1, &start));
		ASSERT_EQ(0, vm_set(&g->vm, g->st.s.group, g->table));
		map_eight(g);
		ASSERT_EQ(0, spapr_remove(g->c, start));
	}
	EXPECT_TRUE(loss_is_none(&before));
}

TEST_F(life, K13_set_again)
{
	struct guest *g = &self->g;
	struct loss before;
	uint64_t start;
	int i, k;

	for (k = 0; k < 3; k++)
		EXPECT_EQ(0, vm_set(&g->vm, g->st.s.group, g->table));
	EXPECT_EQ(H_SUCCESS, map_eight(g));
	EXPECT_EQ(H_SUCCESS, unmap_eight(g));
	EXPECT_FALSE(hardware_has_any(g));
	/* One DEL undoes all of them. */
	EXPECT_EQ(0, vm_del(&g->vm, g->st.s.group));
	EXPECT_EQ(H_SUCCESS, map_eight(g));
	EXPECT_FALSE(hardware_has_any(g));
	ASSERT_EQ(0, spapr_remove(g->c, g->base));

	before = loss_begin();
	for (i = 0; i < LOSS_ROUNDS; i++) {
		ASSERT_EQ(0, spapr_create(g->c, SHIFT_4K, WIN_SIZE, 1, &start));
		ASSERT_EQ(0, vm_add(&g->vm, g->st.s.group));
		for (k = 0; k < 3; k++)
			ASSERT_EQ(0, vm_set(&g->vm, g->st.s.group, g->table));
		ASSERT_EQ(0, vm_del(&g->vm, g->st.s.group));
		ASSERT_EQ(0, spapr_remove(g->c, start));
	}
	EXPECT_TRUE(loss_is_none(&before));
}

/* ---- the end of everything ---- */

enum { THE_VM, THE_VFIO_DEVICE, THE_TABLE, THE_CONTAINER, THE_GROUP, THINGS };

static void close_one(struct guest *g, int thing)
{
	switch (thing) {
	case THE_VM:
		vm_end_cpus(&g->vm);
		vm_close(&g->vm.fd);
		break;
	case THE_VFIO_DEVICE:
		vm_close(&g->vm.vfio);
		break;
	case THE_TABLE:
		vm_close(&g->table);
		break;
	case THE_CONTAINER:
		vm_close(&g->st.s.container);
		break;
	default:
		vm_close(&g->st.s.group);
	}
}

/* The @n-th order of all things. */
static void order_of(int n, int *order)
{
	int i, k, swap;

	for (i = 0; i < THINGS; i++)
		order[i] = i;
	for (i = THINGS; i > 1; i--) {
		k = n % i;
		n /= i;
		swap = order[k];
		order[k] = order[i - 1];
		order[i - 1] = swap;
	}
}

/* As guest_begin(), but for memory and counters, which stay. */
static int guest_again(struct guest *g)
{
	int ret = spapr_setup(&g->st.s, &g->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU);

	g->c = g->st.s.container;
	ret = ret ?: vm_begin(&g->vm) ?: vm_vfio(&g->vm);
	ret = ret ?: vm_slot(&g->vm, SLOT_MEM, GUEST_MEM, g->mem, MEM_SIZE);
	ret = ret ?: spapr_register(g->c, g->mem, MEM_SIZE) ?: spapr_remove(g->c, 0);
	return ret ?: guest_linked_table(g, SHIFT_64K, SHIFT_4K);
}

GUEST_FIXTURE(end, 1, ASSERT_EQ(0, guest_linked_table(&self->g, SHIFT_64K, SHIFT_4K)))

TEST_F(end, C12_K11_files_closed_in_each_order)
{
	int n, i, order[THINGS], orders = 1;
	struct guest *g = &self->g;

	for (i = 2; i <= THINGS; i++)
		orders *= i;
	for (n = 0; n < orders; n++) {
		ASSERT_EQ(H_SUCCESS, map_eight(g));
		order_of(n, order);
		for (i = 0; i < THINGS; i++)
			close_one(g, order[i]);
		vm_end(&g->vm);
		ASSERT_EQ(g->st.vmlck, vmlck_settled(g->st.vmlck)) {
			TH_LOG("order %d", n);
		}
		ASSERT_EQ(g->st.pins, pins_settled(g->st.pins));
		ASSERT_EQ(0, guest_again(g));
	}
}

/* By its name another VM would get no statistics, and whoever waits for the process its memory. */
TEST_F(end, K11_vm_ends_with_its_last_file)
{
	struct guest *g = &self->g;
	char name[64];
	int i;

	for (i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "/sys/kernel/debug/kvm/%d-%d", getpid(), g->vm.fd);
		ASSERT_EQ(0, access(name, F_OK));
		ASSERT_EQ(H_SUCCESS, map_eight(g));
		vm_close(&g->table);
		vm_end(&g->vm);
		EXPECT_NE(0, access(name, F_OK));
		spapr_teardown(&g->st.s);
		ASSERT_EQ(0, guest_again(g));
	}
}

/* A child has all the files, too, and is the last to close them; the memory is its parent's. */
TEST_F(end, K18_child_closes_last)
{
	struct guest *g = &self->g;
	int over[2], i;
	pid_t pid;
	char c;

	ASSERT_EQ(H_SUCCESS, map_eight(g));
	ASSERT_EQ(0, pipe(over));
	pid = fork();
	if (!pid) {
		close(over[1]);
		_exit(read(over[0], &c, 1));
	}
	for (i = 0; i < THINGS; i++)
		close_one(g, i);
	vm_end(&g->vm);
	EXPECT_LT(g->st.vmlck, spapr_vmlck_kb());
	close(over[1]);
	waitpid(pid, NULL, 0);
	EXPECT_EQ(g->st.vmlck, vmlck_settled(g->st.vmlck));
	EXPECT_EQ(g->st.pins, pins_settled(g->st.pins));
	close(over[0]);
}

TEST_F(end, C12_killed)
{
	struct guest *g = &self->g;
	int round, ready[2];
	pid_t pid;
	char c = 0;

	vm_close(&g->table);
	vm_end(&g->vm);
	spapr_teardown(&g->st.s);
	for (round = 0; round < 10; round++) {
		ASSERT_EQ(0, pipe(ready));
		pid = fork();
		if (!pid) {
			if (guest_again(g) || map_eight(g) || write(ready[1], &c, 1) != 1)
				_exit(1);
			for (;;)
				map_eight(g);
		}
		close(ready[1]);
		EXPECT_EQ(1, read(ready[0], &c, 1));
		usleep(round * 1000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(ready[0]);
		ASSERT_EQ(g->st.pins, pins_settled(g->st.pins));
	}
	ASSERT_EQ(0, guest_again(g));
}

/* ---- memory cgroup ---- */

#define CGROUP	"/tmp/spapr_tce_cgroup"

static long cgroup_kernel_kb(void)
{
	FILE *f = fopen(CGROUP "/vm/memory.stat", "r");
	long bytes, found = -1;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "kernel %ld", &bytes) == 1)
			found = bytes / KB;
	if (f)
		fclose(f);
	return found;
}

static const char *cgroup_begin(void)
{
	mkdir(CGROUP, 0755);
	if (mount("none", CGROUP, "cgroup2", 0, NULL))
		return "no cgroups";
	if (spapr_write_file(CGROUP "/cgroup.subtree_control", "+memory"))
		return "no cgroups for memory";
	mkdir(CGROUP "/vm", 0755);
	if (spapr_write_number(CGROUP "/vm/cgroup.procs", getpid()))
		return "no cgroup for this process";
	return NULL;
}

static void cgroup_end(void)
{
	spapr_write_number(CGROUP "/cgroup.procs", getpid());
	rmdir(CGROUP "/vm");
	umount(CGROUP);
	rmdir(CGROUP);
}

TEST_F(life, K18_guest_view_is_in_a_memory_cgroup)
{
	const uint64_t page = spapr_page_size(), size = 16 * MB;
	const char *why = cgroup_begin();
	struct guest *g = &self->g;
	long before, with;
	uint64_t at;
	int fd = -1;

	if (!why) {
		before = cgroup_kernel_kb();
		fd = vm_liobn(&g->vm, OTHER_LIOBN, 12, 0, size / 8);
		EXPECT_LE(0, fd);
		for (at = 0; at < size; at += page)
			EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, OTHER_LIOBN, at / 8 << 12, 0x10));
		with = cgroup_kernel_kb();
		EXPECT_LE((long)(size / KB), with - before);
		close(fd);
	}
	cgroup_end();
	if (why)
		SKIP(return, "%s", why);
}

TEST_HARNESS_MAIN
