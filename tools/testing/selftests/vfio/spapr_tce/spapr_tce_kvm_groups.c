// SPDX-License-Identifier: GPL-2.0
/*
 * KVM guests with two groups: of one container, which share a window, or of two, whose windows
 * are behind one LIOBN; and a group whose window is another process's.
 */
#include "kvm_fixture.h"
#include "lib/held.h"
#include "lib/watch.h"

GUEST_FIXTURE(two, 2, ASSERT_EQ(0, guest_table(&self->g, SHIFT_64K, SHIFT_64K)))

/* They share the container and so the window: one link with two reasons. */
TEST_F(two, K13_groups_of_one_container)
{
	struct guest *g = &self->g;
	int first = g->st.s.group, second = spapr_open_group(&g->st.dev[1]), i;
	struct loss before;
	uint64_t start;

	ASSERT_LE(0, second);
	ASSERT_EQ(0, spapr_set_container(second, g->c));
	ASSERT_EQ(0, vm_add(&g->vm, first));
	ASSERT_EQ(0, vm_add(&g->vm, second));
	EXPECT_EQ(0, vm_set(&g->vm, first, g->table));
	EXPECT_EQ(0, vm_set(&g->vm, second, g->table));
	live_link(_metadata, g);
	EXPECT_EQ(0, vm_del(&g->vm, first));
	live_link(_metadata, g);
	EXPECT_EQ(0, vm_del(&g->vm, second));
	EXPECT_EQ(H_SUCCESS, map_eight(g));
	EXPECT_FALSE(hardware_has_any(g));
	ASSERT_EQ(0, spapr_remove(g->c, g->base));

	before = loss_begin();
	for (i = 0; i < LOSS_ROUNDS; i++) {
		ASSERT_EQ(0, spapr_create(g->c, SHIFT_4K, WIN_SIZE, 1, &start));
		ASSERT_EQ(0, vm_add(&g->vm, first));
		ASSERT_EQ(0, vm_add(&g->vm, second));
		ASSERT_EQ(0, vm_set(&g->vm, second, g->table));
		ASSERT_EQ(0, vm_set(&g->vm, first, g->table));
		ASSERT_EQ(0, vm_del(&g->vm, i & 1 ? first : second));
		ASSERT_EQ(0, vm_del(&g->vm, i & 1 ? second : first));
		ASSERT_EQ(0, spapr_remove(g->c, start));
	}
	EXPECT_TRUE(loss_is_none(&before));
	close(second);
}

/* The window has left the group before the VM lets go of the group. */
TEST_F(two, K13_group_that_leaves_its_container_first)
{
	struct guest *g = &self->g;
	int first = g->st.s.group, second = spapr_open_group(&g->st.dev[1]);

	ASSERT_LE(0, second);
	ASSERT_EQ(0, spapr_set_container(second, g->c));
	ASSERT_EQ(0, vm_add(&g->vm, first));
	ASSERT_EQ(0, vm_add(&g->vm, second));
	EXPECT_EQ(0, vm_set(&g->vm, second, g->table));
	ASSERT_EQ(0, spapr_unset_container(second));
	/* The window lives on with the other group. */
	live_link(_metadata, g);
	EXPECT_EQ(0, vm_del(&g->vm, second));
	EXPECT_EQ(H_SUCCESS, map_eight(g));
	EXPECT_FALSE(hardware_has_any(g));
	EXPECT_EQ(0, vm_set(&g->vm, first, g->table));
	live_link(_metadata, g);
	close(second);
}

/* A container of the second group alone, with a window where the first one has its. */
static int second_container(struct guest *g, struct spapr_setup *s, unsigned int shift)
{
	uint64_t start;
	int ret = spapr_setup(s, &g->st.dev[1], VFIO_SPAPR_TCE_v2_IOMMU);

	/* Without memory of its own it could not UNMAP. */
	ret = ret ?: spapr_register(s->container, g->vm.low, VM_LOW_SIZE);
	ret = ret ?: spapr_remove(s->container, 0);
	ret = ret ?: spapr_create(s->container, shift, WIN_SIZE, 1, &start);
	return ret ?: vm_add(&g->vm, s->group);
}

TEST_F(two, K6_two_windows_behind_one_liobn)
{
	struct guest *g = &self->g;
	struct spapr_setup s;
	long done;

	ASSERT_EQ(0, second_container(g, &s, SHIFT_4K));
	ASSERT_EQ(0, guest_add_and_set(g));
	ASSERT_EQ(0, vm_set(&g->vm, s.group, g->table));
	live_link(_metadata, g);
	/* What must go into two tables is not done in real mode. */
	done = vm_statistic(&g->vm, "tce_rm_done");
	EXPECT_EQ(H_SUCCESS, map_eight(g));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), tce_of(g, 0)));
	EXPECT_EQ(done, vm_statistic(&g->vm, "tce_rm_done"));
	EXPECT_EQ(0, spapr_unmap(g->c, g->base, WIN_SIZE));
	EXPECT_TRUE(hardware_has_any(g));
	EXPECT_EQ(0, spapr_unmap(s.container, g->base, WIN_SIZE));
	EXPECT_FALSE(hardware_has_any(g));
	/* One of them goes: user space must know, and the other one is let alone. */
	EXPECT_EQ(H_SUCCESS, map_eight(g));
	EXPECT_EQ(0, spapr_remove(s.container, g->base));
	dead_link(_metadata, g);
	EXPECT_TRUE(hardware_has_any(g));
	EXPECT_EQ(0, vm_del(&g->vm, s.group));
	EXPECT_EQ(H_SUCCESS, unmap_eight(g));
	live_link(_metadata, g);
	spapr_teardown(&s);
}

/* IOMMU pages of the second group that are larger than any memory here is contiguous. */
static unsigned int large_shift(int group_container)
{
	struct vfio_iommu_spapr_tce_info info;
	unsigned int shift;

	if (spapr_get_info(group_container, &info))
		return 0;
	for (shift = SHIFT_64K + 1; shift <= 24; shift++)
		if (info.ddw.pgsizes & 1ULL << shift)
			return shift;
	return 0;
}

/* @size bytes of the same page over and over, so that no two pages lie side by side. */
static char *scattered(uint64_t size)
{
	const long page = spapr_page_size();
	char *va = spapr_untouched_memory(size, size);
	int fd = memfd_create("page", MFD_CLOEXEC);
	uint64_t at;

	if (fd < 0 || ftruncate(fd, page))
		return NULL;
	for (at = 0; at < size; at += page)
		if (mmap(va + at, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
			 0) != va + at)
			return NULL;
	*va = 0;
	close(fd);
	return va;
}

/* The second window cannot map this memory; then the first one does not either. */
TEST_F(two, K6_what_one_window_refuses_the_other_has_not)
{
	const unsigned int shift = large_shift(self->g.c);
	const uint64_t size = 1UL << shift, gpa = 2 * GUEST_MEM;
	struct guest *g = &self->g;
	struct spapr_setup s;
	uint64_t start;
	char *mem;
	int i;

	if (!shift)
		SKIP(return, "no large IOMMU pages");
	mem = scattered(size);
	ASSERT_NE(NULL, mem);
	vm_close(&g->table);
	g->shift = shift;
	g->table = guest_liobn(g, LIOBN);
	ASSERT_LE(0, g->table);
	ASSERT_EQ(0, spapr_remove(g->c, g->base));
	ASSERT_EQ(0, spapr_create(g->c, SHIFT_4K, WIN_SIZE, 1, &start));
	ASSERT_EQ(0, second_container(g, &s, shift));
	ASSERT_EQ(0, spapr_register(g->c, mem, size));
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, mem, size));
	ASSERT_EQ(0, vm_add(&g->vm, g->st.s.group));

	for (i = 0; i < 2; i++) {
		/* The first window alone has something at entry 1. */
		ASSERT_EQ(0, vm_set(&g->vm, g->st.s.group, g->table));
		ASSERT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 1), gpa | TCE_RW));
		if (i) {
			/* Linked in the other order. */
			ASSERT_EQ(0, vm_del(&g->vm, g->st.s.group));
			ASSERT_EQ(0, vm_add(&g->vm, g->st.s.group));
			ASSERT_EQ(0, vm_set(&g->vm, s.group, g->table));
			ASSERT_EQ(0, vm_set(&g->vm, g->st.s.group, g->table));
		} else {
			ASSERT_EQ(0, vm_set(&g->vm, s.group, g->table));
		}
		EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 0), gpa | TCE_READ));
		EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 1), gpa | TCE_READ));
		vm_list_fill(g->cpu, 3, gpa | TCE_READ, 0);
		vm_list_set(g->cpu, 0, 0);
		EXPECT_EQ(H_TOO_HARD, vm_put_list(g->cpu, LIOBN, ioba(g, 0), 3));
		EXPECT_EQ(0, view(g, 0));
		EXPECT_EQ(gpa | TCE_RW, view(g, 1));
		EXPECT_EQ(0, view(g, 2));
		/* Entry 1 is still there, and no other one. */
		EXPECT_EQ(-EBUSY, spapr_unregister(g->c, mem, size));
		EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 1), 0));
		EXPECT_EQ(0, spapr_unregister(g->c, mem, size));
		EXPECT_EQ(0, spapr_register(g->c, mem, size));
		EXPECT_EQ(0, vm_del(&g->vm, s.group));
		ASSERT_EQ(0, vm_add(&g->vm, s.group));
	}
	EXPECT_EQ(0, spapr_unregister(g->c, mem, size));
	EXPECT_EQ(0, vm_del(&g->vm, s.group));
	spapr_teardown(&s);
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, mem, 0));
	munmap(mem, size);
}

/* Another process's memory would be mapped for a device that this VM does not have. */
TEST_F(two, K8_window_of_another_process)
{
	struct guest *g = &self->g;
	int ready[2], over[2], status;
	struct spapr_setup s;
	uint64_t start;
	char c = 1;
	pid_t pid;

	ASSERT_EQ(0, spapr_setup(&s, &g->st.dev[1], VFIO_SPAPR_TCE_v2_IOMMU));
	ASSERT_EQ(0, pipe(ready) | pipe(over));
	pid = fork();
	if (!pid) {
		close(over[1]);
		c = spapr_register(s.container, g->mem, MEM_SIZE) ||
		    spapr_remove(s.container, 0) ||
		    spapr_create(s.container, SHIFT_64K, WIN_SIZE, 1, &start) ||
		    start != g->base;
		if (write(ready[1], &c, 1) != 1 || read(over[0], &c, 1))
			c = 1;
		/* Nobody has mapped anything there. */
		_exit(c || spapr_unregister(s.container, g->mem, MEM_SIZE));
	}
	ASSERT_EQ(1, read(ready[0], &c, 1));
	ASSERT_EQ(0, c);
	ASSERT_EQ(0, vm_add(&g->vm, s.group));
	EXPECT_EQ(-EINVAL, vm_set(&g->vm, s.group, g->table));
	EXPECT_EQ(H_SUCCESS, map_eight(g));
	EXPECT_FALSE(hardware_has_any(g));
	EXPECT_EQ(0, vm_del(&g->vm, s.group));
	close(over[1]);
	waitpid(pid, &status, 0);
	EXPECT_EQ(0, status);
	spapr_teardown(&s);
}

static int register_held(struct held *held)
{
	return spapr_register(held->c, held->mem, held->size);
}

static int create_window(int c, void *mem)
{
	return spapr_create(c, SHIFT_64K, WIN_SIZE, 1, NULL);
}

static void *create_at_the_limit(void *container)
{
	return (void *)(long)limited(spapr_vmlck_kb() * KB, create_window, *(int *)container, NULL);
}

/*
 * Two windows that a guest has are closed, because their last groups leave. One stays until a
 * REGISTER ends, the other one until this CREATE does: it must not wait for them.
 */
TEST_F(two, K18_create_beside_windows_that_stay)
{
	struct guest *g = &self->g;
	struct spapr_setup s;
	struct timespec soon;
	struct held held;
	uint64_t start;
	void *ret = NULL;
	pthread_t t;

	ASSERT_EQ(0, guest_add_and_set(g));
	ASSERT_EQ(0, spapr_setup(&s, &g->st.dev[1], VFIO_SPAPR_TCE_v2_IOMMU));
	ASSERT_EQ(0, spapr_register(s.container, g->vm.low, VM_LOW_SIZE));
	ASSERT_EQ(0, spapr_remove(s.container, 0));
	ASSERT_EQ(0, spapr_create(s.container, SHIFT_64K, WIN_SIZE, 1, &start));
	ASSERT_EQ(0, vm_add(&g->vm, s.group));
	ASSERT_EQ(0, vm_set(&g->vm, s.group, g->table));
	ASSERT_EQ(0, watch_begin());
	ASSERT_EQ(0, held_begin(&held, s.container, register_held));
	EXPECT_EQ(0, spapr_unset_container(s.group));
	ASSERT_EQ(0, pthread_create(&t, NULL, create_at_the_limit, &g->c));
	usleep(300000);
	EXPECT_EQ(0, spapr_unset_container(g->st.s.group));
	EXPECT_EQ(0, held_end(&held));
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_sec += 20;
	ASSERT_EQ(0, pthread_timedjoin_np(t, &ret, &soon)) {
		TH_LOG("CREATE waits for ever");
		kill(getpid(), SIGKILL);
	}
	EXPECT_EQ(-ENOMEM, (long)ret);
	EXPECT_EQ(0, vm_del(&g->vm, s.group));
	munmap(held.mem, held.size);
	spapr_teardown(&s);
}

GUEST_FIXTURE(one, 1, ASSERT_EQ(0, guest_linked_table(&self->g, SHIFT_64K, SHIFT_64K)))

/* The window, again and again, where there is room for one only. */
static int windows_at_the_limit(int c, void *mem)
{
	struct guest *g = mem;
	int group = g->st.s.group, ret = 0, i;

	for (i = 0; i < 10 && !ret; i++) {
		ret = spapr_unset_container(group) ?: spapr_set_container(group, c) ?:
		      spapr_set_iommu(c, VFIO_SPAPR_TCE_v2_IOMMU) ?:
		      spapr_register(c, g->mem, MEM_SIZE) ?: spapr_remove(c, 0) ?:
		      spapr_create(c, SHIFT_64K, WIN_SIZE, 1, NULL) ?:
		      vm_set(&g->vm, group, g->table);
	}
	return ret;
}

/* A VM may have what it had, also when the guest's link has not let go of it at once. */
TEST_F(one, K18_window_at_the_limit)
{
	struct guest *g = &self->g;

	EXPECT_EQ(0, limited(spapr_vmlck_kb() * KB, windows_at_the_limit, g->c, g));
}

/*
 * What QEMU does when its machine is reset, in its order, where there is room for what there was
 * and no more. The guest's view is charged yet when its file is closed.
 */
static int resets_at_the_limit(int c, void *mem)
{
	struct guest *g = mem;
	int ret = 0, i;

	for (i = 0; i < 10 && !ret; i++) {
		ret = spapr_remove(c, g->base);
		close(g->table);
		g->table = guest_liobn(g, LIOBN);
		if (!ret && g->table < 0)
			ret = g->table;
		ret = ret ?: spapr_create(c, SHIFT_64K, WIN_SIZE, 1, NULL) ?:
		      vm_set(&g->vm, g->st.s.group, g->table);
	}
	return ret;
}

TEST_F(one, K18_machine_is_reset_at_the_limit)
{
	struct guest *g = &self->g;

	EXPECT_EQ(0, limited(spapr_vmlck_kb() * KB, resets_at_the_limit, g->c, g));
}

/* Memory that is registered where a window of the guest was. */
static int register_at_the_limit(int c, void *mem)
{
	struct guest *g = mem;
	int ret = 0, i;

	for (i = 0; i < 10 && !ret; i++) {
		close(g->table);
		ret = spapr_register(c, g->vm.low, VM_LOW_SIZE) ?:
		      spapr_unregister(c, g->vm.low, VM_LOW_SIZE);
		g->table = guest_liobn(g, LIOBN);
		if (!ret && g->table < 0)
			ret = g->table;
	}
	return ret;
}

TEST_F(one, K18_register_where_a_closed_window_was)
{
	struct guest *g = &self->g;

	EXPECT_EQ(0, limited(spapr_vmlck_kb() * KB, register_at_the_limit, g->c, g));
}

/* Being set keeps nothing of a group: its device may go, and another one come in its place. */
TEST_F(one, K15_unplug_of_a_group_that_was_set)
{
	struct guest *g = &self->g;
	struct spapr_device dev;

	ASSERT_EQ(0, spapr_unset_container(g->st.s.group));
	ASSERT_EQ(0, spapr_unplug(&g->st.dev[0]));
	ASSERT_EQ(0, spapr_rescan());
	EXPECT_EQ(0, vm_del(&g->vm, g->st.s.group));
	ASSERT_LE(1, spapr_find_devices(&dev, 1));
}

TEST_HARNESS_MAIN
