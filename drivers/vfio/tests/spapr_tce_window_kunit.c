// SPDX-License-Identifier: GPL-2.0
/*
 * Calls of a container: what they charge, when the default window comes and goes, and what
 * goes on while a window is emptied.
 *
 * Each case runs in a kthread with an mm of its own.  The names of cases carry the defect or
 * invariant they stand for.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include "../vfio.h"
#include "../spapr_tce.h"
#include "spapr_tce_fake.h"

/* ---- charges ---- */

static void C2_failed_create_charges_nothing(struct kunit *test)
{
	static const enum fake_op ops[] = { FAKE_CREATE, FAKE_SET };
	struct fake *fake = test->priv;
	unsigned int i;
	u64 start;

	fake_attach_all(test, 1);
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		fake_fail(test, ops[i], 1, -ENOMEM);
		KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), -ENOMEM);
		KUNIT_EXPECT_EQ(test, fake_charged(test), 0);
		fake_fail(test, ops[i], 2, -ENOMEM);
		KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), -ENOMEM);
		KUNIT_EXPECT_EQ(test, fake_charged(test), 0);
	}
	fake_expect_no_window(test);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), 0);
	KUNIT_EXPECT_EQ(test, fake_charged(test), DEFAULT_CHARGE + SECOND_CHARGE);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), -ENOSPC);
	KUNIT_EXPECT_EQ(test, fake_charged(test), DEFAULT_CHARGE + SECOND_CHARGE);
	KUNIT_EXPECT_EQ(test, fake->tables, 2);
	KUNIT_EXPECT_EQ(test, fake_remove(test, SECOND_START), 0);
	KUNIT_EXPECT_EQ(test, fake_charged(test), DEFAULT_CHARGE);
	KUNIT_EXPECT_EQ(test, fake_remove(test, 0), 0);
	KUNIT_EXPECT_EQ(test, fake_charged(test), 0);
}

/* As a user without CAP_IPC_LOCK who may lock @pages more. */
static long create_within(struct kunit *test, unsigned long pages, u64 *start)
{
	struct rlimit *limit = &current->signal->rlim[RLIMIT_MEMLOCK];
	const struct cred *old;
	struct cred *cred = prepare_creds();
	long ret;

	KUNIT_ASSERT_NOT_NULL(test, cred);
	cap_lower(cred->cap_effective, CAP_IPC_LOCK);
	limit->rlim_cur = (current->mm->locked_vm + pages) << PAGE_SHIFT;
	old = override_creds(cred);
	ret = fake_create(test, SHIFT_2K, start);
	revert_creds(old);
	put_cred(cred);
	return ret;
}

static void C2_create_beyond_the_limit_charges_nothing(struct kunit *test)
{
	struct fake *fake = test->priv;
	u64 start;

	fake_attach_all(test, 1);
	KUNIT_EXPECT_EQ(test, create_within(test, 0, &start), -ENOMEM);
	KUNIT_EXPECT_EQ(test, create_within(test, DEFAULT_CHARGE - 1, &start), -ENOMEM);
	KUNIT_EXPECT_EQ(test, fake->calls[FAKE_CREATE], 0);
	KUNIT_EXPECT_EQ(test, fake_charged(test), 0);
	/* Enough for the default window, not for both. */
	KUNIT_EXPECT_EQ(test, create_within(test, DEFAULT_CHARGE, &start), -ENOMEM);
	KUNIT_EXPECT_EQ(test, create_within(test, DEFAULT_CHARGE + SECOND_CHARGE - 1, &start),
			-ENOMEM);
	KUNIT_EXPECT_EQ(test, fake_charged(test), 0);
	fake_expect_no_window(test);
	KUNIT_EXPECT_EQ(test, create_within(test, DEFAULT_CHARGE + SECOND_CHARGE, &start), 0);
	KUNIT_EXPECT_EQ(test, start, SECOND_START);
	KUNIT_EXPECT_EQ(test, fake_charged(test), DEFAULT_CHARGE + SECOND_CHARGE);
}

static void shapes_that_the_platform_cannot_have_are_refused(struct kunit *test)
{
	struct vfio_iommu_spapr_tce_create create = {
		.argsz = sizeof(create), .page_shift = SHIFT_2K, .levels = 1,
	};
	static const u64 sizes[] = { 0, SZ_2K, (u64)FAKE_ENTRIES << (SHIFT_2K + 1), U64_MAX };
	struct fake *fake = test->priv;
	unsigned int i;

	fake_attach_all(test, 1);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		create.window_size = sizes[i];
		KUNIT_EXPECT_EQ(test, fake_call_at(fake, fake->args, VFIO_IOMMU_SPAPR_TCE_CREATE,
						   &create, sizeof(create)), -EINVAL);
	}
	fake_expect_no_window(test);
	KUNIT_EXPECT_EQ(test, fake_charged(test), 0);
}

/* ---- the default window ---- */

static void C6_default_window_is_made_when_it_is_needed(struct kunit *test)
{
	struct vfio_iommu_spapr_tce_info info;
	u64 bytes;

	fake_attach_all(test, 1);
	KUNIT_ASSERT_EQ(test, fake_register(test), 0);
	KUNIT_EXPECT_EQ(test, fake_get_info(test, &info), 0);
	KUNIT_EXPECT_EQ(test, fake_unmap_all(test, &bytes), 0);
	KUNIT_EXPECT_EQ(test, bytes, 0);
	KUNIT_EXPECT_EQ(test, fake_map(test, DEFAULT_SIZE, SZ_4K), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_unmap(test, DEFAULT_SIZE, SZ_4K), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_map(test, SECOND_START, SZ_4K), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_map(test, U64_MAX, SZ_4K), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_remove(test, SZ_4K), -EINVAL);
	fake_expect_no_window(test);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES);

	KUNIT_EXPECT_EQ(test, fake_map(test, DEFAULT_SIZE - SZ_4K, SZ_4K), 0);
	KUNIT_ASSERT_NOT_NULL(test, fake_slot(test, 0, 0));
	fake_expect_slots(test, 0, 1, NULL);
	KUNIT_EXPECT_EQ(test, fake_slot(test, 0, 0)->mapped, 1);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE);
}

static void C6_unmap_in_its_range_makes_the_default_window(struct kunit *test)
{
	fake_attach_all(test, 2);
	KUNIT_ASSERT_EQ(test, fake_register(test), 0);
	KUNIT_EXPECT_EQ(test, fake_unmap(test, 0, SZ_4K), 0);
	KUNIT_ASSERT_NOT_NULL(test, fake_slot(test, 0, 0));
	fake_expect_slots(test, 2, 0, fake_slot(test, 0, 0));
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE);
}

/* A group that joins before it is made gets it with the others. */
static void C6_default_window_is_for_all_groups(struct kunit *test)
{
	struct fake *fake = test->priv;

	fake_attach_all(test, 1);
	KUNIT_ASSERT_EQ(test, fake_register(test), 0);
	KUNIT_ASSERT_EQ(test, fake_attach(test, 1), 0);
	KUNIT_EXPECT_EQ(test, fake_map(test, 0, SZ_4K), 0);
	KUNIT_ASSERT_EQ(test, fake_attach(test, 2), 0);
	KUNIT_ASSERT_NOT_NULL(test, fake_slot(test, 0, 0));
	fake_expect_slots(test, 3, 0, fake_slot(test, 0, 0));
	KUNIT_EXPECT_EQ(test, fake->tables, 1);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE);
}

static void C6_removed_default_window_never_comes(struct kunit *test)
{
	u64 start;

	fake_attach_all(test, 1);
	KUNIT_ASSERT_EQ(test, fake_register(test), 0);
	KUNIT_EXPECT_EQ(test, fake_remove(test, 0), 0);
	KUNIT_EXPECT_EQ(test, fake_remove(test, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake_map(test, 0, SZ_4K), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), 0);
	KUNIT_EXPECT_EQ(test, fake_map(test, 0, SZ_4K), -ENXIO);
	fake_expect_no_window(test);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), 0);
	KUNIT_EXPECT_EQ(test, start, 0);
	fake_expect_slots(test, 0, 1, NULL);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + SECOND_CHARGE);
}

static void C6_default_window_does_not_come_back(struct kunit *test)
{
	fake_two_windows(test, 1);
	KUNIT_EXPECT_EQ(test, fake_remove(test, 0), 0);
	KUNIT_EXPECT_EQ(test, fake_map(test, 0, SZ_4K), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_remove(test, SECOND_START), 0);
	KUNIT_EXPECT_EQ(test, fake_map(test, 0, SZ_4K), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_unmap(test, 0, SZ_4K), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_remove(test, 0), -EINVAL);
	fake_expect_no_window(test);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES);
}

static void C6_failed_create_leaves_the_default_window_due(struct kunit *test)
{
	struct fake *fake = test->priv;
	u64 start;

	fake_attach_all(test, 1);
	KUNIT_ASSERT_EQ(test, fake_register(test), 0);
	fake_fail(test, FAKE_CREATE, 2, -EIO);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), -EIO);
	KUNIT_EXPECT_EQ(test, fake->calls[FAKE_UNSET], 1);
	fake_expect_no_window(test);
	KUNIT_EXPECT_EQ(test, fake_create(test, 5, &start), -EINVAL);
	fake_expect_no_window(test);
	KUNIT_EXPECT_EQ(test, fake_map(test, 0, SZ_4K), 0);
	/* Once it is made it is no longer what a failure takes back. */
	KUNIT_EXPECT_EQ(test, fake_create(test, 5, &start), -EINVAL);
	KUNIT_ASSERT_NOT_NULL(test, fake_slot(test, 0, 0));
	KUNIT_EXPECT_EQ(test, fake_slot(test, 0, 0)->mapped, 1);
}

static void unmap_all_adds_up_pages_of_all_sizes(struct kunit *test)
{
	struct fake_table *w0, *w1;
	u64 bytes;

	fake_two_windows(test, 2);
	w0 = fake_slot(test, 0, 0);
	w1 = fake_slot(test, 0, 1);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, 3 * SZ_4K), 0);
	KUNIT_ASSERT_EQ(test, fake_map(test, 2 * SZ_4K, 2 * SZ_4K), 0);
	KUNIT_ASSERT_EQ(test, fake_map(test, SECOND_START + SZ_4K, 5 * SZ_2K), 0);
	KUNIT_ASSERT_EQ(test, fake_map(test, SECOND_START + SECOND_SIZE - SZ_2K, SZ_2K), 0);
	KUNIT_EXPECT_EQ(test, fake_unmap_all(test, &bytes), 0);
	KUNIT_EXPECT_EQ(test, bytes, 4 * SZ_4K + 6 * SZ_2K);
	KUNIT_EXPECT_EQ(test, w0->mapped, 0);
	KUNIT_EXPECT_EQ(test, w1->mapped, 0);
	fake_expect_slots(test, 2, 0, w0);
	fake_expect_slots(test, 2, 1, w1);
	KUNIT_EXPECT_EQ(test, fake_unmap_all(test, &bytes), 0);
	KUNIT_EXPECT_EQ(test, bytes, 0);
}

/* ---- while a window is emptied ---- */

struct remover {
	struct fake *fake;
	u64 start;
	long ret;
	struct completion done;
};

static int remover_thread(void *arg)
{
	struct remover *r = arg;
	struct vfio_iommu_spapr_tce_remove remove = {
		.argsz = sizeof(remove), .start_addr = r->start,
	};

	kthread_use_mm(r->fake->mm);
	r->ret = fake_call_at(r->fake, r->fake->area, VFIO_IOMMU_SPAPR_TCE_REMOVE, &remove,
			      sizeof(remove));
	kthread_unuse_mm(r->fake->mm);
	complete(&r->done);
	return 0;
}

/* Have a thread remove the window of @slot, and wait until it has begun to empty it. */
static void start_remover(struct kunit *test, struct remover *r, unsigned int slot)
{
	struct fake *fake = test->priv;
	struct task_struct *task;

	r->fake = fake;
	r->start = slot ? SECOND_START : 0;
	init_completion(&r->done);
	WRITE_ONCE(fake->block, fake_slot(test, 0, slot));
	task = kthread_run(remover_thread, r, "tce-remover");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	if (!wait_for_completion_timeout(&fake->blocked, 60 * HZ))
		KUNIT_FAIL(test, "nobody empties the window");
}

/* Nothing between these two may end the case. */
static void finish_remover(struct kunit *test, struct remover *r)
{
	struct fake *fake = test->priv;

	complete(&fake->go_on);
	wait_for_completion(&r->done);
	/* Nobody had to wait for it. */
	KUNIT_EXPECT_TRUE(test, fake->met);
	KUNIT_EXPECT_EQ(test, r->ret, 0);
}

static void C1_I6_calls_go_on_while_a_window_is_emptied(struct kunit *test)
{
	struct vfio_iommu_spapr_tce_info info;
	struct fake_table *w0, *w1;
	struct remover r = { };
	u64 bytes, start;

	fake_two_windows(test, 2);
	w0 = fake_slot(test, 0, 0);
	w1 = fake_slot(test, 0, 1);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, 2 * SZ_4K), 0);
	KUNIT_ASSERT_EQ(test, fake_map(test, SECOND_START, 7 * SZ_2K), 0);
	start_remover(test, &r, 1);

	KUNIT_EXPECT_EQ(test, fake_get_info(test, &info), 0);
	KUNIT_EXPECT_EQ(test, fake_map(test, 4 * SZ_4K, SZ_4K), 0);
	KUNIT_EXPECT_EQ(test, fake_unmap(test, 0, SZ_4K), 0);
	KUNIT_EXPECT_EQ(test, fake_unregister(test), -EBUSY);
	/* The window is there for nobody any more. */
	KUNIT_EXPECT_EQ(test, fake_map(test, SECOND_START, SZ_2K), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_unmap(test, SECOND_START, SZ_2K), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_remove(test, SECOND_START), -EINVAL);
	KUNIT_EXPECT_EQ(test, fake_unmap_all(test, &bytes), 0);
	KUNIT_EXPECT_EQ(test, bytes, 2 * SZ_4K);
	KUNIT_EXPECT_EQ(test, w1->mapped, 7);
	KUNIT_EXPECT_TRUE(test, w1->tbl.it_closed);
	/* But its slot is taken, and so is its charge. */
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), -ENOSPC);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE + SECOND_CHARGE);
	fake_expect_slots(test, 2, 0, w0);
	fake_expect_slots(test, 2, 1, w1);

	finish_remover(test, &r);
	fake_expect_slots(test, 0, 1, NULL);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), 0);
	KUNIT_EXPECT_EQ(test, start, SECOND_START);
	KUNIT_EXPECT_EQ(test, fake_unregister(test), 0);
}

static void C1_create_does_not_take_a_slot_that_is_being_left(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct remover r = { };
	struct fake_table *w0;
	u64 start;

	fake_attach_all(test, 1);
	KUNIT_ASSERT_EQ(test, fake_register(test), 0);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, SZ_4K), 0);
	w0 = fake_slot(test, 0, 0);
	KUNIT_ASSERT_NOT_NULL(test, w0);
	start_remover(test, &r, 0);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), 0);
	KUNIT_EXPECT_EQ(test, start, SECOND_START);
	fake_expect_slots(test, 1, 0, w0);
	KUNIT_EXPECT_EQ(test, fake->tables, 2);
	/* No other window comes in its place, not the default window either. */
	KUNIT_EXPECT_EQ(test, fake_map(test, 0, SZ_4K), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), -ENOSPC);
	KUNIT_EXPECT_EQ(test, fake_map(test, SECOND_START, SZ_2K), 0);
	finish_remover(test, &r);
	fake_expect_slots(test, 0, 0, NULL);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + SECOND_CHARGE);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_4K, &start), 0);
	KUNIT_EXPECT_EQ(test, start, 0);
}

static struct kunit_case window_cases[] = {
	KUNIT_CASE(C2_failed_create_charges_nothing),
	KUNIT_CASE(C2_create_beyond_the_limit_charges_nothing),
	KUNIT_CASE(shapes_that_the_platform_cannot_have_are_refused),
	KUNIT_CASE(C6_default_window_is_made_when_it_is_needed),
	KUNIT_CASE(C6_unmap_in_its_range_makes_the_default_window),
	KUNIT_CASE(C6_default_window_is_for_all_groups),
	KUNIT_CASE(C6_removed_default_window_never_comes),
	KUNIT_CASE(C6_default_window_does_not_come_back),
	KUNIT_CASE(C6_failed_create_leaves_the_default_window_due),
	KUNIT_CASE(unmap_all_adds_up_pages_of_all_sizes),
	KUNIT_CASE(C1_I6_calls_go_on_while_a_window_is_emptied),
	KUNIT_CASE(C1_create_does_not_take_a_slot_that_is_being_left),
	{ }
};

static struct kunit_suite window_suite = {
	.name = "spapr_tce_windows",
	.init = fake_init,
	.exit = fake_exit,
	.test_cases = window_cases,
};

kunit_test_suite(window_suite);

MODULE_DESCRIPTION("KUnit tests of the windows of sPAPR TCE containers");
MODULE_LICENSE("GPL");
