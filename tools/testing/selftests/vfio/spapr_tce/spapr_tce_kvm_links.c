// SPDX-License-Identifier: GPL-2.0
/*
 * LIOBNs of KVM guests, their links to windows, and the memory behind a guest's addresses:
 * who may be linked, and what a TCE then means. What is refused changes nothing.
 */
#include <fcntl.h>
#include <sys/resource.h>

#include "kvm_fixture.h"

GUEST_FIXTURE(liobn, 1, (void)0)

/* ---- CREATE ---- */

TEST_F(liobn, create_64_bad_arguments)
{
	const struct kvm_create_spapr_tce_64 good = {
		.liobn = LIOBN, .page_shift = 16, .size = 16,
	};
	struct kvm_create_spapr_tce_64 bad[9];
	struct vm *vm = &self->g.vm;
	const long before = spapr_vmlck_kb();
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		bad[i] = good;
	bad[0].flags = 1;
	bad[1].flags = 1U << 31;
	bad[2].size = 0;
	bad[3].page_shift = 11;
	bad[4].page_shift = 35;
	bad[5].page_shift = ~0U;
	bad[6].offset = ~0ULL >> 16;
	bad[7].size = ~0ULL;
	/* Their sum is small. */
	bad[8].offset = ~0ULL - 7;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, spapr_ioctl(vm->fd, KVM_CREATE_SPAPR_TCE_64, &bad[i])) {
			TH_LOG("argument %u", i);
		}
	}
	EXPECT_EQ(-EFAULT, spapr_ioctl(vm->fd, KVM_CREATE_SPAPR_TCE_64, NOWHERE));
	EXPECT_EQ(-ENOMEM, vm_liobn(vm, LIOBN, 12, 0, 1ULL << 50));
	EXPECT_EQ(before, vmlck_settled(before));
	/* The name is free. */
	self->g.table = vm_liobn(vm, LIOBN, 16, 0, 16);
	EXPECT_LE(0, self->g.table);
}

TEST_F(liobn, K16_create_64_limits)
{
	const uint64_t last = (~0ULL >> 12) - 1;
	struct vm *vm = &self->g.vm;
	uint64_t tce;
	int fd;

	fd = vm_liobn(vm, 0, 12, last, 1);
	ASSERT_LE(0, fd);
	EXPECT_EQ(H_SUCCESS, vm_put(self->g.cpu, 0, last << 12, GUEST_MEM | TCE_RW));
	EXPECT_EQ(H_SUCCESS, vm_get(self->g.cpu, 0, last << 12, &tce));
	EXPECT_EQ(GUEST_MEM | TCE_RW, tce);
	EXPECT_EQ(H_PARAMETER, vm_put(self->g.cpu, 0, (last + 1) << 12, 0));
	close(fd);
	/* A page of 16G cannot be in a slot; a TCE without permission need not be. */
	fd = vm_liobn(vm, ~0ULL, 34, 0, 2);
	ASSERT_LE(0, fd);
	EXPECT_EQ(H_TOO_HARD, vm_put(self->g.cpu, ~0ULL, 1ULL << 34, TCE_RW));
	EXPECT_EQ(H_SUCCESS, vm_put(self->g.cpu, ~0ULL, 1ULL << 34, 0x10));
	EXPECT_EQ(H_PARAMETER, vm_put(self->g.cpu, ~0ULL, 1ULL << 35, 0x10));
	close(fd);
}

TEST_F(liobn, create_of_a_name_in_use)
{
	struct vm *vm = &self->g.vm;
	const long before = spapr_vmlck_kb();
	int fd = vm_liobn(vm, LIOBN, 16, 0, 16);
	const long one = spapr_vmlck_kb();

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EBUSY, vm_liobn(vm, LIOBN, 16, 0, 16));
	EXPECT_EQ(-EBUSY, vm_liobn(vm, LIOBN, 12, 7, 1));
	EXPECT_EQ(-EBUSY, vm_liobn_32(vm, LIOBN, MB));
	EXPECT_EQ(one, vmlck_settled(one));
	close(fd);
	EXPECT_EQ(before, vmlck_settled(before));
	fd = vm_liobn_32(vm, LIOBN, MB);
	ASSERT_LE(0, fd);
	close(fd);
}

TEST_F(liobn, create_32)
{
	struct vm *vm = &self->g.vm;
	uint64_t tce;

	EXPECT_EQ(-EINVAL, vm_liobn_32(vm, LIOBN, 0));
	EXPECT_EQ(-EINVAL, vm_liobn_32(vm, LIOBN, 4095));
	EXPECT_EQ(-EFAULT, spapr_ioctl(vm->fd, KVM_CREATE_SPAPR_TCE, NOWHERE));
	self->g.table = vm_liobn_32(vm, LIOBN, MB);
	ASSERT_LE(0, self->g.table);
	EXPECT_EQ(H_SUCCESS, vm_put(self->g.cpu, LIOBN, MB - 4096, (GUEST_MEM + 4096) | TCE_READ));
	EXPECT_EQ(H_SUCCESS, vm_get(self->g.cpu, LIOBN, MB - 4096, &tce));
	EXPECT_EQ((GUEST_MEM + 4096) | TCE_READ, tce);
	EXPECT_EQ(H_PARAMETER, vm_get(self->g.cpu, LIOBN, MB, &tce));
}

TEST_F(liobn, create_without_a_descriptor)
{
	const long before = spapr_vmlck_kb();
	struct rlimit limit, none;
	int next = dup(0), ret;

	ASSERT_LE(0, next);
	close(next);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	none = limit;
	none.rlim_cur = next;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	ret = vm_liobn(&self->g.vm, LIOBN, 16, 0, 16);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ(-EMFILE, ret);
	EXPECT_EQ(before, vmlck_settled(before));
	self->g.table = vm_liobn(&self->g.vm, LIOBN, 16, 0, 16);
	EXPECT_LE(0, self->g.table);
}

/* The pages of the guest view, and those of a pointer for each and something beside it. */
TEST_F(liobn, K18_charge)
{
	const uint64_t page = spapr_page_size(), pages[] = { 1, 4, page / 8, 8192 };
	const long before = spapr_vmlck_kb();
	unsigned int i;
	int fd;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		fd = vm_liobn(&self->g.vm, LIOBN, 12, 0, pages[i] * page / 8);
		ASSERT_LE(0, fd);
		EXPECT_EQ((pages[i] + pages[i] * 8 / page + 1) * page,
			  (spapr_vmlck_kb() - before) * KB);
		close(fd);
		EXPECT_EQ(before, vmlck_settled(before));
	}
}

/* A VM belongs to the process that made it, so a child makes its own. */
static int create_of_64_pages(int c, void *mem)
{
	struct vm vm;
	int ret = vm_begin(&vm);

	ret = ret ?: vm_liobn(&vm, LIOBN, 12, 0, 63 * spapr_page_size() / 8);
	return ret < 0 ? ret : 0;
}

TEST_F(liobn, create_and_RLIMIT_MEMLOCK)
{
	const long size = 64 * spapr_page_size();

	EXPECT_EQ(-ENOMEM, in_child(limited(size - 1, create_of_64_pages, 0, NULL)));
	EXPECT_EQ(0, in_child(limited(size, create_of_64_pages, 0, NULL)));
}

TEST_F(liobn, view_in_user_space_ends_where_the_table_does)
{
	const uint64_t page = spapr_page_size(), size = 3 * page;
	uint64_t *map;
	int status;
	pid_t pid;

	self->g.table = vm_liobn(&self->g.vm, LIOBN, 12, 0, size / 8 - 1);
	ASSERT_LE(0, self->g.table);
	map = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_SHARED, self->g.table, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, __atomic_load_n(&map[size / 8 - 1], __ATOMIC_RELAXED));
	pid = fork();
	if (!pid)
		_exit(__atomic_load_n(&map[size / 8], __ATOMIC_RELAXED));
	waitpid(pid, &status, 0);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	/* What is mapped stays when the file is closed. */
	EXPECT_EQ(H_SUCCESS, vm_put(self->g.cpu, LIOBN, 0, GUEST_MEM | TCE_RW));
	vm_close(&self->g.table);
	EXPECT_EQ(GUEST_MEM | TCE_RW, __atomic_load_n(&map[0], __ATOMIC_RELAXED));
	EXPECT_EQ(-EBUSY, vm_liobn(&self->g.vm, LIOBN, 12, 0, 1));
	munmap(map, size + page);
	self->g.table = vm_liobn(&self->g.vm, LIOBN, 12, 0, 1);
	EXPECT_LE(0, self->g.table);
}

/* ---- ADD, DEL, SET ---- */

TEST_F(liobn, add_and_del_bad_arguments)
{
	struct vm *vm = &self->g.vm;
	int null = open("/dev/null", O_RDWR), group = self->g.st.s.group;
	struct kvm_create_device second = { .type = KVM_DEV_TYPE_VFIO };

	EXPECT_EQ(-EBUSY, spapr_ioctl(vm->fd, KVM_CREATE_DEVICE, &second));
	EXPECT_EQ(-EBADF, vm_add(vm, -1));
	EXPECT_EQ(-EINVAL, vm_add(vm, null));
	EXPECT_EQ(-EINVAL, vm_add(vm, vm->fd));
	EXPECT_EQ(-EBADF, vm_del(vm, -1));
	EXPECT_EQ(-ENOENT, vm_del(vm, null));
	EXPECT_EQ(-ENOENT, vm_del(vm, group));
	EXPECT_EQ(0, vm_add(vm, group));
	EXPECT_EQ(-EEXIST, vm_add(vm, group));
	EXPECT_EQ(0, vm_del(vm, group));
	EXPECT_EQ(-ENOENT, vm_del(vm, group));
	EXPECT_EQ(-EFAULT, vm_vfio_attr(vm, KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_ADD, NOWHERE));
	EXPECT_EQ(-EFAULT, vm_vfio_attr(vm, KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_DEL, NOWHERE));
	EXPECT_EQ(-ENXIO, vm_vfio_attr(vm, KVM_DEV_VFIO_GROUP, 9, &group));
	EXPECT_EQ(-ENXIO, vm_vfio_attr(vm, 9, KVM_DEV_VFIO_GROUP_ADD, &group));
	close(null);
}

TEST_F(liobn, set_bad_arguments)
{
	struct vm *vm = &self->g.vm, other;
	int null = open("/dev/null", O_RDWR), group = self->g.st.s.group, theirs;

	ASSERT_EQ(0, guest_table(&self->g, SHIFT_64K, SHIFT_64K));
	EXPECT_EQ(-EFAULT, vm_vfio_attr(vm, KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE,
					NOWHERE));
	EXPECT_EQ(-EBADF, vm_set(vm, -1, self->g.table));
	EXPECT_EQ(-ENOENT, vm_set(vm, null, self->g.table));
	EXPECT_EQ(-ENOENT, vm_set(vm, group, self->g.table));
	ASSERT_EQ(0, vm_add(vm, group));
	EXPECT_EQ(-EBADF, vm_set(vm, group, -1));
	EXPECT_EQ(-EINVAL, vm_set(vm, group, null));
	EXPECT_EQ(-EINVAL, vm_set(vm, group, group));
	EXPECT_EQ(-EINVAL, vm_set(vm, group, vm->fd));
	/* Another VM's, of the same name. */
	ASSERT_EQ(0, vm_begin(&other));
	theirs = vm_liobn(&other, LIOBN, SHIFT_64K, 0, WIN_SIZE / PAGE_64K);
	ASSERT_LE(0, theirs);
	EXPECT_EQ(-EINVAL, vm_set(vm, group, theirs));
	close(theirs);
	vm_end(&other);

	EXPECT_EQ(H_SUCCESS, vm_put(self->g.cpu, LIOBN, ioba(&self->g, 0), tce_of(&self->g, 0)));
	EXPECT_FALSE(hardware_has_any(&self->g));
	EXPECT_EQ(0, vm_set(vm, group, self->g.table));
	EXPECT_EQ(-ENOENT, vm_set(vm, null, self->g.table));
	close(null);
}

/* What SET says to a LIOBN like this. */
static int set_of(struct guest *g, unsigned int shift, uint64_t start, uint64_t size)
{
	int table = vm_liobn(&g->vm, OTHER_LIOBN, shift, start >> shift, size >> shift), ret;

	if (table < 0)
		return -EXDEV;
	ret = vm_set(&g->vm, g->st.s.group, table);
	close(table);
	return ret;
}

TEST_F(liobn, set_of_a_table_that_does_not_fit)
{
	struct guest *g = &self->g;
	uint64_t second;

	ASSERT_EQ(0, vm_add(&g->vm, g->st.s.group));
	EXPECT_EQ(-EINVAL, set_of(g, SHIFT_64K, 0, WIN_SIZE));
	ASSERT_EQ(0, spapr_create(g->c, SHIFT_64K, WIN_SIZE, 1, &g->base));
	EXPECT_EQ(0, set_of(g, SHIFT_64K, g->base, WIN_SIZE));
	EXPECT_EQ(0, set_of(g, SHIFT_64K, g->base, PAGE_64K));
	EXPECT_EQ(0, set_of(g, 20, g->base, WIN_SIZE));
	EXPECT_EQ(-EINVAL, set_of(g, SHIFT_4K, g->base, WIN_SIZE));
	EXPECT_EQ(-EINVAL, set_of(g, SHIFT_64K, g->base, WIN_SIZE + PAGE_64K));
	EXPECT_EQ(-EINVAL, set_of(g, SHIFT_64K, g->base + PAGE_64K, PAGE_64K));
	EXPECT_EQ(-EINVAL, set_of(g, SHIFT_64K, WINDOW1, WIN_SIZE));
	ASSERT_EQ(0, spapr_create(g->c, SHIFT_4K, WIN_SIZE, 2, &second));
	EXPECT_EQ(0, set_of(g, SHIFT_4K, second, WIN_SIZE));
	EXPECT_EQ(-EINVAL, set_of(g, SHIFT_4K, g->base, WIN_SIZE));
	ASSERT_EQ(0, spapr_remove(g->c, g->base));
	EXPECT_EQ(-EINVAL, set_of(g, SHIFT_64K, g->base, WIN_SIZE));
}

/* The memory of a v1 container is not registered, and all of its TCEs are user space's. */
TEST_F(liobn, set_of_a_window_of_v1)
{
	struct guest *g = &self->g;

	spapr_teardown(&g->st.s);
	ASSERT_EQ(0, spapr_setup(&g->st.s, &g->st.dev[0], VFIO_SPAPR_TCE_IOMMU));
	g->c = g->st.s.container;
	ASSERT_EQ(0, spapr_ioctl(g->c, VFIO_IOMMU_ENABLE, NULL));
	ASSERT_EQ(0, spapr_map(g->c, 0, g->mem, PAGE_64K, MAP_RW));
	ASSERT_EQ(0, vm_add(&g->vm, g->st.s.group));
	EXPECT_EQ(-EINVAL, set_of(g, SHIFT_4K, 0, PAGE_64K));
	EXPECT_EQ(0, spapr_unmap(g->c, 0, PAGE_64K));
}

/* Warnings that the kernel gives once, it gives again. */
static int mark_with_warnings(void)
{
	spapr_write_file("/sys/kernel/debug/clear_warn_once", "1");
	return spapr_log_mark();
}

TEST_F(liobn, K15_add_and_del_without_set)
{
	int mark = mark_with_warnings(), group = self->g.st.s.group, i;

	for (i = 0; i < 3; i++) {
		EXPECT_EQ(0, vm_add(&self->g.vm, group));
		EXPECT_EQ(0, vm_del(&self->g.vm, group));
	}
	EXPECT_EQ(0, vm_add(&self->g.vm, group));
	vm_close(&self->g.vm.vfio);
	EXPECT_EQ(0, spapr_log_lines(mark));
}

TEST_F(liobn, K15_set_of_a_group_that_is_gone)
{
	struct guest *g = &self->g;
	int mark;

	ASSERT_EQ(0, guest_table(g, SHIFT_64K, SHIFT_64K));
	ASSERT_EQ(0, vm_add(&g->vm, g->st.s.group));
	ASSERT_EQ(0, spapr_unbind(&g->st.dev[0]));
	mark = mark_with_warnings();
	EXPECT_EQ(-EIO, vm_set(&g->vm, g->st.s.group, g->table));
	EXPECT_EQ(0, vm_del(&g->vm, g->st.s.group));
	EXPECT_EQ(0, spapr_log_lines(mark));
	ASSERT_EQ(0, spapr_bind(&g->st.dev[0]));
}

/* ---- memory behind the guest's addresses ---- */

FIXTURE(slot)
{
	struct guest g;
};

FIXTURE_VARIANT(slot)
{
	unsigned int shift;
	unsigned int table_shift;
};

FIXTURE_VARIANT_ADD(slot, emulated_1M) { 20 };
FIXTURE_VARIANT_ADD(slot, emulated_16M) { 24 };
FIXTURE_VARIANT_ADD(slot, linked_1M) { 20, SHIFT_64K };
FIXTURE_VARIANT_ADD(slot, linked_16M) { 24, SHIFT_64K };
FIXTURE_VARIANT_ADD(slot, linked_16M_to_4K) { 24, SHIFT_4K };

FIXTURE_SETUP(slot)
{
	const char *why = guest_begin(&self->g, 1);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, guest_table(&self->g, variant->shift, variant->table_shift));
	if (variant->table_shift)
		ASSERT_EQ(0, guest_add_and_set(&self->g));
}

FIXTURE_TEARDOWN(slot)
{
	EXPECT_TRUE(guest_end(&self->g));
}

/* TCEs, alone and in a list behind a good one; nothing of them may come to the hardware. */
static void refused(struct __test_metadata *_metadata, struct guest *g, uint64_t gpa)
{
	EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 1), gpa | TCE_RW));
	vm_list_set(g->cpu, 0, GUEST_MEM | TCE_RW);
	vm_list_set(g->cpu, 1, gpa | TCE_READ);
	EXPECT_EQ(H_TOO_HARD, vm_put_list(g->cpu, LIOBN, ioba(g, 0), 2));
	EXPECT_EQ(0, view(g, 0));
	EXPECT_EQ(0, view(g, 1));
	EXPECT_FALSE(hardware_has_any(g));
}

TEST_F(slot, K16_page_over_the_end_of_a_memslot)
{
	const uint64_t gpa = 2 * GUEST_MEM, page = 1UL << variant->shift;
	struct guest *g = &self->g;

	/* It begins in the slot. */
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, g->mem, PAGE_64K));
	refused(_metadata, g, gpa);
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, g->mem, 0));
	/* It ends there. */
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa + page - PAGE_64K, g->mem, PAGE_64K));
	refused(_metadata, g, gpa);
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, g->mem, 0));
	/* All but the last of it is there. */
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, g->mem, page - PAGE_64K));
	refused(_metadata, g, gpa);
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, g->mem, 0));
}

TEST_F(slot, K16_page_over_two_memslots)
{
	const uint64_t gpa = 2 * GUEST_MEM, half = 1UL << variant->shift >> 1;
	struct guest *g = &self->g;

	/* They are side by side for the guest and for user space, but may move apart. */
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, g->mem, half));
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE + 1, gpa + half, g->mem + half, half));
	refused(_metadata, g, gpa);
}

/* A whole page is fine, wherever user space has its memory. */
TEST_F(slot, K3_page_that_fills_a_memslot)
{
	const uint64_t gpa = 2 * GUEST_MEM, page = 1UL << variant->shift;
	struct guest *g = &self->g;

	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), GUEST_MEM | TCE_RW));
	EXPECT_EQ(!!variant->table_shift, hardware_has_any(g));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), 0));
	EXPECT_FALSE(hardware_has_any(g));
	if (page == MEM_SIZE)
		return;
	/* Not at a multiple of the LIOBN's page, but of the table's. */
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, g->mem + PAGE_64K, page));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), gpa | TCE_RW));
	EXPECT_EQ(!!variant->table_shift, hardware_has_any(g));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), 0));
	EXPECT_FALSE(hardware_has_any(g));
}

/* User space's memory is not at a multiple of the table's page: its start would be cut off. */
TEST_F(slot, K3_memslot_that_is_not_aligned_in_user_space)
{
	const uint64_t gpa = 2 * GUEST_MEM, page = 1UL << variant->shift;
	struct guest *g = &self->g;

	if (variant->table_shift < SHIFT_64K || spapr_page_size() == PAGE_64K ||
	    page == MEM_SIZE)
		SKIP(return, "needs kernel pages below the table's");
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, g->mem + spapr_page_size(), page));
	refused(_metadata, g, gpa);
}

TEST_F(slot, memslot_that_goes_leaves_what_was_mapped)
{
	struct guest *g = &self->g;

	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 3), GUEST_MEM | TCE_RW));
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MEM, GUEST_MEM, g->mem, 0));
	EXPECT_EQ(GUEST_MEM | TCE_RW, view(g, 3));
	EXPECT_EQ(!!variant->table_shift, hardware_has_any(g));
	EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 3), GUEST_MEM | TCE_READ));
	EXPECT_EQ(GUEST_MEM | TCE_RW, view(g, 3));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 3), 0));
	EXPECT_FALSE(hardware_has_any(g));
}

TEST_HARNESS_MAIN
