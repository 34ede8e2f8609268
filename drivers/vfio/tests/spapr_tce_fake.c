// SPDX-License-Identifier: GPL-2.0
/*
 * A platform without hardware, for tests of the container of sPAPR TCE IOMMUs.
 *
 * It complains about what no platform may be asked for: a window in a slot that has one, a
 * window taken from a slot that has none, a table that still maps when its last group loses
 * it or when it is freed, memory that was let go before the kill.  Whatever a case leaves in
 * the container goes with it at the end, in the order that VFIO has; then nothing may be left.
 */
#include <linux/delay.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/iommu_tce.h>
#include <asm/mmu_context_iommu.h>
#include "../vfio.h"
#include "../spapr_tce.h"
#include "spapr_tce_fake.h"

/* ---- tables ---- */

static struct fake_table *to_fake(struct iommu_table *tbl)
{
	return container_of(tbl, struct fake_table, tbl);
}

static bool is_stale(const struct fake_table *t)
{
	return t->stale_first < t->stale_end;
}

/* The entries before change->entry from @first on were replaced, some of them valid. */
static void note_stale(struct fake_table *t, const struct iommu_tce_change *change,
		       unsigned long first)
{
	if (!is_stale(t))
		t->stale_first = first;
	t->stale_first = min(t->stale_first, first);
	t->stale_end = max(t->stale_end, change->entry);
	if (t->tbl.it_kind == IOMMU_TABLE_BARE)
		return;
	t->stale_region = mm_iommu_region_of(t->fake->mm, change->runs[0].owner);
	if (t->stale_region)
		t->stale_mapped = atomic_long_read(&t->stale_region->mapped);
}

static int fake_kill(struct iommu_table *tbl, unsigned long entry, unsigned long npages)
{
	struct fake_table *t = to_fake(tbl);

	if (t->fake->deaf)
		return -EIO;
	if (!is_stale(t) || entry > t->stale_first || entry + npages < t->stale_end)
		return 0;
	if (t->stale_region && atomic_long_read(&t->stale_region->mapped) < t->stale_mapped)
		KUNIT_FAIL(t->fake->test, "memory was let go before the kill");
	t->stale_end = 0;
	t->stale_region = NULL;
	return 0;
}

static void wait_here(struct fake *fake)
{
	fake->block = NULL;
	complete(&fake->blocked);
	fake->met = wait_for_completion_timeout(&fake->go_on, 60 * HZ);
}

static bool is_refused(const struct fake *fake, unsigned long entry)
{
	const unsigned long *at = fake->refuse;

	while (at && *at != ULONG_MAX && *at != entry)
		at++;
	return at && *at == entry;
}

static int fake_exchange(struct iommu_table *tbl, struct iommu_tce_change *change)
{
	unsigned long first = change->entry, i, n;
	struct fake_table *t = to_fake(tbl);
	int ret = 0;
	u64 owner;

	if (READ_ONCE(t->fake->block) == t)
		wait_here(t->fake);
	change->nr_runs = 0;
	if (change->perm && tbl->it_closed)
		return -ENODEV;
	for (n = 0; change->left; n++, change->left--, change->entry++) {
		if (is_refused(t->fake, change->entry)) {
			ret = -EIO;
			break;
		}
		i = change->entry - tbl->it_offset;
		owner = tbl->it_kind == IOMMU_TABLE_BARE ? t->tces[i] : t->owners[i];
		if (t->tces[i] && !iommu_tce_record_old(change, owner, tbl->it_page_shift))
			break;
		t->mapped -= !!t->tces[i];
		t->tces[i] = change->perm ? iommu_tce_new(change, n, tbl->it_page_shift) : 0;
		if (change->perm)
			t->owners[i] = iommu_tce_owner(change, n, tbl->it_page_shift);
		t->mapped += !!t->tces[i];
	}
	if (change->nr_runs)
		note_stale(t, change, first);
	return ret;
}

static void fake_close(struct iommu_table *tbl)
{
	WRITE_ONCE(tbl->it_closed, true);
}

static void fake_reopen(struct iommu_table *tbl)
{
	WRITE_ONCE(tbl->it_closed, false);
}

static void fake_free(struct iommu_table *tbl)
{
	struct fake_table *t = to_fake(tbl);

	if (t->holders || t->mapped || is_stale(t))
		KUNIT_FAIL(t->fake->test, "freed a table of %u groups with %lu TCEs", t->holders,
			   t->mapped);
	t->fake->tables--;
}

static struct iommu_table_ops fake_table_ops = {
	.tce_kill = fake_kill,
	.exchange = fake_exchange,
	.close = fake_close,
	.open = fake_reopen,
	.free = fake_free,
};

/* ---- groups ---- */

static struct fake_group *to_group(struct iommu_table_group *table_group)
{
	return container_of(table_group, struct fake_group, table_group);
}

void fake_fail(struct kunit *test, enum fake_op op, unsigned int nth, long ret)
{
	struct fake *fake = test->priv;

	fake->fail[op].nth = fake->calls[op] + nth;
	fake->fail[op].ret = ret;
}

/* Count a call.  Return: what it is to fail with, or 0. */
static long failure(struct fake *fake, enum fake_op op)
{
	return ++fake->calls[op] == fake->fail[op].nth ? fake->fail[op].ret : 0;
}

static unsigned long fake_table_size(u32 page_shift, u64 window_size, u32 levels)
{
	if (window_size >> page_shift > FAKE_ENTRIES)
		return 0;
	return (window_size >> page_shift) * (PAGE_SIZE / 16);
}

static long fake_create_table(struct iommu_table_group *table_group, int num,
			      const struct iommu_table_shape *shape, struct iommu_table **ptbl)
{
	struct fake *fake = to_group(table_group)->fake;
	long ret = failure(fake, FAKE_CREATE);
	struct fake_table *t;

	*ptbl = NULL;
	if (ret)
		return ret;
	if (!fake_table_size(shape->page_shift, shape->size, shape->levels))
		return -ENODEV;
	t = kzalloc_obj(*t);
	if (!t)
		return -ENOMEM;
	fake->tables++;
	t->fake = fake;
	kref_init(&t->tbl.it_kref);
	INIT_LIST_HEAD(&t->tbl.it_group_list);
	t->tbl.it_ops = &fake_table_ops;
	t->tbl.it_kind = shape->kind;
	t->tbl.it_page_shift = shape->page_shift;
	t->tbl.it_offset = (num ? SECOND_START : 0) >> shape->page_shift;
	t->tbl.it_size = shape->size >> shape->page_shift;
	*ptbl = &t->tbl;
	return 0;
}

/* What tells a platform from another is this function. */
static long fake_create_other_table(struct iommu_table_group *table_group, int num,
				    const struct iommu_table_shape *shape,
				    struct iommu_table **ptbl)
{
	return -ENODEV;
}

static long fake_set_window(struct iommu_table_group *table_group, int num,
			    struct iommu_table *tbl)
{
	struct fake_group *group = to_group(table_group);
	struct fake *fake = group->fake;
	long ret = failure(fake, FAKE_SET);

	if (ret)
		return ret;
	/* It has been there, and its kill has failed. */
	if (tbl && group->slots[num] == to_fake(tbl)) {
		group->lost[num] = false;
		return 0;
	}
	if (!tbl || group->slots[num]) {
		KUNIT_FAIL(fake->test, "bad window for slot %d", num);
		return -EINVAL;
	}
	fake->seen_early |= tbl->it_mm && !to_fake(tbl)->holders;
	if (fake->args_go && fake->args_go == (u64)tbl->it_offset << tbl->it_page_shift)
		vm_munmap(fake->args, PAGE_SIZE);
	group->slots[num] = to_fake(iommu_tce_table_get(tbl));
	group->slots[num]->holders++;
	return 0;
}

static long fake_unset_window(struct iommu_table_group *table_group, int num)
{
	struct fake_group *group = to_group(table_group);
	struct fake_table *t = group->slots[num];
	struct fake *fake = group->fake;
	long ret = failure(fake, FAKE_UNSET);

	if (ret) {
		group->lost[num] = fake->lose;
		return ret;
	}
	if (!t) {
		KUNIT_FAIL(fake->test, "slot %d has no window to take out", num);
		return -EINVAL;
	}
	if (!--t->holders && (t->mapped || is_stale(t)))
		KUNIT_FAIL(fake->test, "the last group loses a window with %lu TCEs", t->mapped);
	group->slots[num] = NULL;
	iommu_tce_table_put(&t->tbl);
	return 0;
}

struct iommu_table_group_ops fake_ops = {
	.get_table_size = fake_table_size,
	.create_table = fake_create_table,
	.set_window = fake_set_window,
	.unset_window = fake_unset_window,
};

struct iommu_table_group_ops fake_other_ops = {
	.get_table_size = fake_table_size,
	.create_table = fake_create_other_table,
	.set_window = fake_set_window,
	.unset_window = fake_unset_window,
};

struct iommu_table_group_ops fake_own_ops = {
	.get_table_size = fake_table_size,
	.create_table = fake_create_table,
	.set_window = fake_set_window,
	.unset_window = fake_unset_window,
	.own_tables = true,
};

/* ---- start and end of a case ---- */

static void group_init(struct kunit *test, struct fake_group *group)
{
	group->fake = test->priv;
	group->table_group.ops = &fake_ops;
	group->table_group.pgsizes = FAKE_PGSIZES;
	group->table_group.tce32_size = DEFAULT_SIZE;
	group->table_group.max_dynamic_windows_supported = FAKE_SLOTS;
	group->table_group.max_levels = 1;
	group->group = iommu_group_alloc();
	KUNIT_ASSERT_FALSE(test, IS_ERR(group->group));
	iommu_group_set_iommudata(group->group, &group->table_group, NULL);
}

void fake_open(struct kunit *test)
{
	struct fake *fake = test->priv;

	fake->container = spapr_tce_iommu_driver.open(fake->type);
	KUNIT_ASSERT_FALSE(test, IS_ERR(fake->container));
}

static int init_type(struct kunit *test, unsigned long type)
{
	struct fake *fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, fake);
	fake->area = kunit_vm_mmap(test, NULL, 0, AREA_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
				   MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, fake->area, 0);
	fake->args = kunit_vm_mmap(test, NULL, 0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
				   MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, fake->args, 0);
	KUNIT_ASSERT_EQ(test, vm_munmap(fake->args + PAGE_SIZE, PAGE_SIZE), 0);
	fake->test = test;
	init_completion(&fake->blocked);
	init_completion(&fake->go_on);

	/* The case's thread takes its mm along; the leak check runs in another one. */
	mmgrab(current->mm);
	fake->mm = current->mm;
	fake->locked_vm = fake->mm->locked_vm;
	fake->type = type;
	test->priv = fake;
	fake_open(test);
	for (i = 0; i < FAKE_GROUPS; i++)
		group_init(test, &fake->groups[i]);
	return 0;
}

int fake_init(struct kunit *test)
{
	return init_type(test, VFIO_SPAPR_TCE_v2_IOMMU);
}

int fake_init_v1(struct kunit *test)
{
	return init_type(test, VFIO_SPAPR_TCE_IOMMU);
}

void fake_release(struct kunit *test)
{
	struct fake *fake = test->priv;

	if (fake->container)
		spapr_tce_iommu_driver.release(fake->container);
	fake->container = NULL;
}

/* The leak check: every case ends with no table, no window and nothing charged. */
void fake_exit(struct kunit *test)
{
	struct fake *fake = test->priv;
	unsigned int i, tries;

	if (!fake)
		return;
	for (i = 0; i < FAKE_GROUPS; i++)
		if (fake->groups[i].attached)
			fake_detach(test, i);
	for (i = 0; i < FAKE_SLOTS; i++)
		fake_expect_slots(test, 0, i, NULL);
	fake_release(test);
	KUNIT_EXPECT_EQ(test, fake->tables, 0);
	/* This is not a thread of the process, which may have its mmap_lock as it ends. */
	for (tries = 0; tries < 250 && fake_charged(test); tries++)
		msleep(20);
	KUNIT_EXPECT_EQ(test, fake_charged(test), 0);
	for (i = 0; i < FAKE_GROUPS; i++)
		if (!IS_ERR_OR_NULL(fake->groups[i].group))
			iommu_group_put(fake->groups[i].group);
	mmdrop(fake->mm);
}

/* ---- groups of the container ---- */

int fake_attach(struct kunit *test, unsigned int group)
{
	struct fake *fake = test->priv;
	struct fake_group *g = &fake->groups[group];
	int ret = spapr_tce_iommu_driver.attach_group(fake->container, g->group, VFIO_IOMMU);

	g->attached |= !ret;
	return ret;
}

void fake_detach(struct kunit *test, unsigned int group)
{
	struct fake *fake = test->priv;
	struct fake_group *g = &fake->groups[group];

	spapr_tce_iommu_driver.detach_group(fake->container, g->group);
	g->attached = false;
}

void fake_attach_all(struct kunit *test, unsigned int groups)
{
	unsigned int i;

	for (i = 0; i < groups; i++)
		KUNIT_ASSERT_EQ(test, fake_attach(test, i), 0);
}

struct fake_table *fake_slot(struct kunit *test, unsigned int group, unsigned int num)
{
	return ((struct fake *)test->priv)->groups[group].slots[num];
}

unsigned long fake_charged(struct kunit *test)
{
	struct fake *fake = test->priv;

	return fake->mm->locked_vm - fake->locked_vm;
}

void fake_expect_slots(struct kunit *test, unsigned int groups, unsigned int num,
		       const struct fake_table *tbl)
{
	struct fake *fake = test->priv;
	unsigned int i;

	for (i = 0; i < FAKE_GROUPS; i++) {
		KUNIT_EXPECT_PTR_EQ_MSG(test, fake_slot(test, i, num), i < groups ? tbl : NULL,
					"group %u, slot %u", i, num);
		KUNIT_EXPECT_FALSE_MSG(test, fake->groups[i].lost[num], "group %u, slot %u", i,
				       num);
	}
}

void fake_expect_no_window(struct kunit *test)
{
	struct fake *fake = test->priv;

	fake_expect_slots(test, 0, 0, NULL);
	fake_expect_slots(test, 0, 1, NULL);
	KUNIT_EXPECT_EQ(test, fake->tables, 0);
}

/* ---- calls ---- */

long fake_call_at(struct fake *fake, unsigned long at, unsigned int cmd, void *arg, size_t size)
{
	void __user *uarg = (void __user *)at;
	long ret;

	if (copy_to_user(uarg, arg, size))
		return -ENODATA;
	ret = spapr_tce_iommu_driver.ioctl(fake->container, cmd, at);
	if (!ret && copy_from_user(arg, uarg, size))
		return -ENODATA;
	return ret;
}

static long call(struct kunit *test, unsigned int cmd, void *arg, size_t size)
{
	struct fake *fake = test->priv;

	return fake_call_at(fake, fake->args, cmd, arg, size);
}

long fake_get_info(struct kunit *test, struct vfio_iommu_spapr_tce_info *info)
{
	memset(info, 0, sizeof(*info));
	info->argsz = sizeof(*info);
	return call(test, VFIO_IOMMU_SPAPR_TCE_GET_INFO, info, sizeof(*info));
}

long fake_create_size(struct kunit *test, u32 page_shift, u64 size, u64 *start)
{
	struct vfio_iommu_spapr_tce_create create = {
		.argsz = sizeof(create), .page_shift = page_shift, .levels = 1,
		.window_size = size,
	};
	long ret = call(test, VFIO_IOMMU_SPAPR_TCE_CREATE, &create, sizeof(create));

	*start = create.start_addr;
	return ret;
}

long fake_create(struct kunit *test, u32 page_shift, u64 *start)
{
	return fake_create_size(test, page_shift, SECOND_SIZE, start);
}

long fake_remove(struct kunit *test, u64 start)
{
	struct vfio_iommu_spapr_tce_remove remove = {
		.argsz = sizeof(remove), .start_addr = start,
	};

	return call(test, VFIO_IOMMU_SPAPR_TCE_REMOVE, &remove, sizeof(remove));
}

long fake_map(struct kunit *test, u64 iova, u64 size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = ((struct fake *)test->priv)->area, .iova = iova, .size = size,
	};

	return call(test, VFIO_IOMMU_MAP_DMA, &map, sizeof(map));
}

long fake_unmap(struct kunit *test, u64 iova, u64 size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = iova, .size = size,
	};

	return call(test, VFIO_IOMMU_UNMAP_DMA, &unmap, sizeof(unmap));
}

long fake_unmap_all(struct kunit *test, u64 *bytes)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .flags = VFIO_DMA_UNMAP_FLAG_ALL,
	};
	long ret = call(test, VFIO_IOMMU_UNMAP_DMA, &unmap, sizeof(unmap));

	*bytes = unmap.size;
	return ret;
}

static long call_memory(struct kunit *test, unsigned int cmd)
{
	struct vfio_iommu_spapr_register_memory reg = {
		.argsz = sizeof(reg), .vaddr = ((struct fake *)test->priv)->area,
		.size = AREA_PAGES * PAGE_SIZE,
	};

	return call(test, cmd, &reg, sizeof(reg));
}

long fake_register(struct kunit *test)
{
	return call_memory(test, VFIO_IOMMU_SPAPR_REGISTER_MEMORY);
}

long fake_unregister(struct kunit *test)
{
	return call_memory(test, VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY);
}

/* ---- calls of a second thread ---- */

/* Arguments of its own, in memory that nobody looks into. */
static long caller_call(struct fake_caller *caller, unsigned int cmd, void *arg, size_t size)
{
	return fake_call_at(caller->fake, caller->fake->area, cmd, arg, size);
}

long fake_caller_remove(struct fake_caller *caller)
{
	struct vfio_iommu_spapr_tce_remove remove = {
		.argsz = sizeof(remove), .start_addr = caller->start,
	};

	return caller_call(caller, VFIO_IOMMU_SPAPR_TCE_REMOVE, &remove, sizeof(remove));
}

/* The first page of the window. */
long fake_caller_map(struct fake_caller *caller)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = caller->fake->area, .iova = caller->start, .size = SZ_4K,
	};

	return caller_call(caller, VFIO_IOMMU_MAP_DMA, &map, sizeof(map));
}

static int caller_thread(void *arg)
{
	struct fake_caller *caller = arg;

	kthread_use_mm(caller->fake->mm);
	caller->ret = caller->call(caller);
	kthread_unuse_mm(caller->fake->mm);
	complete(&caller->done);
	return 0;
}

void fake_caller_begin(struct kunit *test, struct fake_caller *caller, unsigned int slot,
		       long (*call)(struct fake_caller *caller))
{
	struct fake *fake = test->priv;
	struct task_struct *task;

	caller->fake = fake;
	caller->call = call;
	caller->start = slot ? SECOND_START : 0;
	init_completion(&caller->done);
	WRITE_ONCE(fake->block, fake_slot(test, 0, slot));
	task = kthread_run(caller_thread, caller, "tce-caller");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	if (!wait_for_completion_timeout(&fake->blocked, 60 * HZ))
		KUNIT_FAIL(test, "the call does not get as far as the table");
}

void fake_caller_end(struct kunit *test, struct fake_caller *caller)
{
	struct fake *fake = test->priv;

	complete(&fake->go_on);
	wait_for_completion(&caller->done);
	KUNIT_EXPECT_TRUE(test, fake->met);
}

void fake_two_windows(struct kunit *test, unsigned int groups)
{
	u64 start;

	fake_attach_all(test, groups);
	KUNIT_ASSERT_EQ(test, fake_register(test), 0);
	KUNIT_ASSERT_EQ(test, fake_create(test, SHIFT_2K, &start), 0);
	KUNIT_ASSERT_EQ(test, start, SECOND_START);
	fake_expect_slots(test, groups, 0, fake_slot(test, 0, 0));
	fake_expect_slots(test, groups, 1, fake_slot(test, 0, 1));
	KUNIT_ASSERT_NOT_NULL(test, fake_slot(test, 0, 0));
	KUNIT_ASSERT_NOT_NULL(test, fake_slot(test, 0, 1));
	KUNIT_ASSERT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE + SECOND_CHARGE);
}
