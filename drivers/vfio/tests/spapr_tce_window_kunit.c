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
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>
#include <asm/iommu_tce.h>
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
	static const u64 sizes[] = { 0, SZ_1K, (u64)FAKE_ENTRIES << (SHIFT_2K + 1), U64_MAX };
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

/* Its charge is less than a page, and so nothing, as it was in kernels before. */
static void C18_table_smaller_than_a_page(struct kunit *test)
{
	struct fake *fake = test->priv;
	u64 start;

	fake_attach_all(test, 1);
	KUNIT_ASSERT_EQ(test, fake_remove(test, 0), 0);
	KUNIT_EXPECT_EQ(test, fake_create_size(test, SHIFT_2K, 15 * SZ_2K, &start), 0);
	KUNIT_EXPECT_EQ(test, fake_charged(test), 0);
	KUNIT_EXPECT_EQ(test, fake_create_size(test, SHIFT_2K, 17 * SZ_2K, &start), 0);
	KUNIT_EXPECT_EQ(test, fake_charged(test), 1);
	KUNIT_EXPECT_EQ(test, fake->tables, 2);
	KUNIT_EXPECT_EQ(test, fake_remove(test, 0), 0);
	KUNIT_EXPECT_EQ(test, fake_charged(test), 1);
}

/* As a guest does, which has the table for longer than the window lives. */
static void C17_table_is_charged_as_long_as_anybody_has_it(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct fake_table *w0, *w1;

	fake_two_windows(test, 1);
	w0 = fake_slot(test, 0, 0);
	w1 = fake_slot(test, 0, 1);
	iommu_tce_table_get(&w0->tbl);
	iommu_tce_table_get(&w1->tbl);
	KUNIT_EXPECT_EQ(test, fake_remove(test, SECOND_START), 0);
	KUNIT_EXPECT_EQ(test, fake->tables, 2);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE + SECOND_CHARGE);
	iommu_tce_table_put(&w1->tbl);
	KUNIT_EXPECT_EQ(test, fake->tables, 1);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE);

	fake_detach(test, 0);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE);
	fake_release(test);
	KUNIT_EXPECT_EQ(test, fake->tables, 1);
	KUNIT_EXPECT_EQ(test, fake_charged(test), DEFAULT_CHARGE);
	iommu_tce_table_put(&w0->tbl);
	KUNIT_EXPECT_EQ(test, fake->tables, 0);
	KUNIT_EXPECT_EQ(test, fake_charged(test), 0);
}

/*
 * Firmware keeps tables of groups that leave, first, in the middle, or last; the platform lets go
 * of them later, under locks that must not wait for the mm that pays.
 */
static void C17_kept_tables_are_not_charged_for_ever(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct fake_table *w0;
	unsigned int round, i;

	for (round = 0; round < 3; round++) {
		fake_attach_all(test, 3);
		KUNIT_ASSERT_EQ(test, fake_register(test), 0);
		KUNIT_ASSERT_EQ(test, fake_map(test, 0, SZ_4K), 0);
		w0 = fake_slot(test, 0, 0);
		for (i = 0; i < 3; i++) {
			if (i == round)
				fake_fail(test, FAKE_UNSET, 1, -EIO);
			fake_detach(test, i);
		}
		KUNIT_EXPECT_PTR_EQ(test, fake_slot(test, round, 0), w0);
		fake_release(test);
		KUNIT_EXPECT_EQ(test, fake->tables, 1);
		KUNIT_EXPECT_EQ(test, fake_charged(test), 0);
		KUNIT_EXPECT_EQ(test, fake_ops.unset_window(&fake->groups[round].table_group, 0),
				0);
		KUNIT_EXPECT_EQ(test, fake->tables, 0);
		fake_open(test);
	}
}

/* Whoever programs a window must not find a table that a guest may use. */
static void C15_guests_may_map_into_finished_windows_only(struct kunit *test)
{
	struct fake *fake = test->priv;

	fake_two_windows(test, 2);
	KUNIT_EXPECT_FALSE(test, fake->seen_early);
	KUNIT_EXPECT_PTR_EQ(test, fake_slot(test, 0, 0)->tbl.it_mm, fake->mm);
	KUNIT_EXPECT_PTR_EQ(test, fake_slot(test, 0, 1)->tbl.it_mm, fake->mm);
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

static void C1_I6_calls_go_on_while_a_window_is_emptied(struct kunit *test)
{
	struct vfio_iommu_spapr_tce_info info;
	struct fake_table *w0, *w1;
	struct fake_caller r;
	u64 bytes, start;

	fake_two_windows(test, 2);
	w0 = fake_slot(test, 0, 0);
	w1 = fake_slot(test, 0, 1);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, 2 * SZ_4K), 0);
	KUNIT_ASSERT_EQ(test, fake_map(test, SECOND_START, 7 * SZ_2K), 0);
	fake_caller_begin(test, &r, 1, fake_caller_remove);

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

	fake_caller_end(test, &r);
	KUNIT_EXPECT_EQ(test, r.ret, 0);
	fake_expect_slots(test, 0, 1, NULL);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), 0);
	KUNIT_EXPECT_EQ(test, start, SECOND_START);
	KUNIT_EXPECT_EQ(test, fake_unregister(test), 0);
}

static void C1_create_does_not_take_a_slot_that_is_being_left(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct fake_caller r;
	struct fake_table *w0;
	u64 start;

	fake_attach_all(test, 1);
	KUNIT_ASSERT_EQ(test, fake_register(test), 0);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, SZ_4K), 0);
	w0 = fake_slot(test, 0, 0);
	KUNIT_ASSERT_NOT_NULL(test, w0);
	fake_caller_begin(test, &r, 0, fake_caller_remove);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), 0);
	KUNIT_EXPECT_EQ(test, start, SECOND_START);
	fake_expect_slots(test, 1, 0, w0);
	KUNIT_EXPECT_EQ(test, fake->tables, 2);
	/* No other window comes in its place, not the default window either. */
	KUNIT_EXPECT_EQ(test, fake_map(test, 0, SZ_4K), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), -ENOSPC);
	KUNIT_EXPECT_EQ(test, fake_map(test, SECOND_START, SZ_2K), 0);
	fake_caller_end(test, &r);
	KUNIT_EXPECT_EQ(test, r.ret, 0);
	fake_expect_slots(test, 0, 0, NULL);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + SECOND_CHARGE);
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_4K, &start), 0);
	KUNIT_EXPECT_EQ(test, start, 0);
}

static void C16_groups_join_and_leave_while_a_window_is_emptied(struct kunit *test)
{
	struct fake_table *w0, *w1;
	struct fake_caller r;

	fake_two_windows(test, 2);
	w0 = fake_slot(test, 0, 0);
	w1 = fake_slot(test, 0, 1);
	KUNIT_ASSERT_EQ(test, fake_map(test, SECOND_START, 7 * SZ_2K), 0);
	fake_caller_begin(test, &r, 1, fake_caller_remove);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 2), 0);
	fake_expect_slots(test, 3, 0, w0);
	fake_detach(test, 1);
	KUNIT_EXPECT_PTR_EQ(test, fake_slot(test, 1, 0), NULL);
	KUNIT_EXPECT_PTR_EQ(test, fake_slot(test, 1, 1), NULL);
	KUNIT_EXPECT_EQ(test, w1->mapped, 7);
	fake_caller_end(test, &r);
	KUNIT_EXPECT_EQ(test, r.ret, 0);
	fake_expect_slots(test, 0, 1, NULL);
	KUNIT_EXPECT_PTR_EQ(test, fake_slot(test, 2, 0), w0);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE);
}

/* A window that firmware does not give up is everybody's again. */
static void C16_refused_remove_is_for_groups_that_joined_too(struct kunit *test)
{
	struct fake_caller r;
	struct fake_table *w1;

	fake_two_windows(test, 1);
	w1 = fake_slot(test, 0, 1);
	fake_caller_begin(test, &r, 1, fake_caller_remove);
	KUNIT_EXPECT_EQ(test, fake_attach(test, 1), 0);
	fake_fail(test, FAKE_UNSET, 2, -EIO);
	fake_caller_end(test, &r);
	KUNIT_EXPECT_EQ(test, r.ret, -EIO);
	fake_expect_slots(test, 2, 1, w1);
	KUNIT_EXPECT_EQ(test, fake_map(test, SECOND_START, SZ_2K), 0);
}

static void C14_last_group_leaves_while_a_window_is_emptied(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct fake_caller r;
	u64 start;

	fake_two_windows(test, 1);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, 3 * SZ_4K), 0);
	KUNIT_ASSERT_EQ(test, fake_map(test, SECOND_START, 7 * SZ_2K), 0);
	fake_caller_begin(test, &r, 1, fake_caller_remove);
	fake_detach(test, 0);
	fake_expect_slots(test, 0, 0, NULL);
	fake_expect_slots(test, 0, 1, NULL);
	/* A call that has not noticed yet finds no group, and no window. */
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_remove(test, 0), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_map(test, 0, SZ_4K), -ENXIO);
	KUNIT_EXPECT_EQ(test, fake_unmap(test, 0, SZ_4K), -ENXIO);
	fake_caller_end(test, &r);
	KUNIT_EXPECT_EQ(test, r.ret, 0);
	KUNIT_EXPECT_EQ(test, fake_unregister(test), 0);
	/* The end of the case sees that the tables go, and their charge. */
	KUNIT_EXPECT_EQ(test, fake->tables, 2);
	KUNIT_EXPECT_EQ(test, fake_charged(test), DEFAULT_CHARGE + SECOND_CHARGE);
}

static void nothing(struct iommu_tce_watch *watch)
{
}

/*
 * Who meets the limit waits for tables that are about to be uncharged.  This one stays, so nobody
 * must wait for it.
 */
static void K18_window_that_firmware_keeps_is_not_uncharging(struct kunit *test)
{
	struct iommu_tce_watch watch = { .closed = nothing };
	struct iommu_table *tbl;
	u64 start;

	fake_two_windows(test, 1);
	tbl = &fake_slot(test, 0, 1)->tbl;
	KUNIT_ASSERT_EQ(test, iommu_tce_watch(tbl, &watch), 0);
	KUNIT_ASSERT_EQ(test, fake_remove(test, 0), 0);
	fake_fail(test, FAKE_UNSET, 1, -EIO);
	KUNIT_EXPECT_EQ(test, fake_remove(test, SECOND_START), -EIO);
	KUNIT_EXPECT_FALSE(test, tbl->it_uncharging);
	/* That would wait for ever. */
	if (!tbl->it_uncharging)
		KUNIT_EXPECT_EQ(test, create_within(test, 0, &start), -ENOMEM);
	iommu_tce_watch_put(tbl);
	KUNIT_EXPECT_EQ(test, fake_remove(test, SECOND_START), 0);
}

/* It is charged until the container ends, which may be after the call of who waits for it. */
static void K18_window_that_the_last_group_takes_along_is_not_uncharging(struct kunit *test)
{
	struct iommu_tce_watch watch = { .closed = nothing };
	struct iommu_table *tbl;
	struct fake_caller r;

	fake_two_windows(test, 1);
	tbl = &fake_slot(test, 0, 1)->tbl;
	KUNIT_ASSERT_EQ(test, iommu_tce_watch(tbl, &watch), 0);
	KUNIT_ASSERT_EQ(test, fake_map(test, SECOND_START, 7 * SZ_2K), 0);
	fake_caller_begin(test, &r, 1, fake_caller_remove);
	fake_detach(test, 0);
	fake_caller_end(test, &r);
	KUNIT_EXPECT_EQ(test, r.ret, 0);
	KUNIT_EXPECT_FALSE(test, tbl->it_uncharging);
	iommu_tce_watch_put(tbl);
	KUNIT_EXPECT_EQ(test, fake_unregister(test), 0);
}

struct leaving {
	struct work_struct work;
	struct kunit *test;
	struct completion done;
};

static void leave(struct work_struct *work)
{
	struct leaving *l = container_of(work, struct leaving, work);

	fake_detach(l->test, 0);
	complete(&l->done);
}

/* A page fault of the process may hold it for as long as a file system in user space likes. */
static void C14_last_group_leaves_without_the_mmap_lock(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct leaving l = { .test = test };

	fake_two_windows(test, 1);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, 3 * SZ_4K), 0);
	INIT_WORK_ONSTACK(&l.work, leave);
	init_completion(&l.done);
	mmap_write_lock(fake->mm);
	schedule_work(&l.work);
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&l.done, 20 * HZ), 0);
	mmap_write_unlock(fake->mm);
	flush_work(&l.work);
	destroy_work_on_stack(&l.work);
	KUNIT_EXPECT_EQ(test, fake_unregister(test), 0);
}

/* A MAP that takes long holds the container's lock for reading. */
static void C21_register_does_not_wait_for_a_map(struct kunit *test)
{
	struct vfio_iommu_spapr_register_memory reg = { .argsz = sizeof(reg), .size = PAGE_SIZE };
	struct fake *fake = test->priv;
	struct fake_caller m;

	fake_two_windows(test, 1);
	reg.vaddr = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
				  MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, reg.vaddr, 0);
	fake_caller_begin(test, &m, 0, fake_caller_map);
	KUNIT_EXPECT_EQ(test, fake_call_at(fake, fake->args, VFIO_IOMMU_SPAPR_REGISTER_MEMORY,
					   &reg, sizeof(reg)), 0);
	KUNIT_EXPECT_EQ(test, fake_map(test, SECOND_START, SZ_2K), 0);
	KUNIT_EXPECT_EQ(test, fake_call_at(fake, fake->args, VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY,
					   &reg, sizeof(reg)), 0);
	fake_caller_end(test, &m);
	KUNIT_EXPECT_EQ(test, m.ret, 0);
}

static struct kunit_case window_cases[] = {
	KUNIT_CASE(C2_failed_create_charges_nothing),
	KUNIT_CASE(C2_create_beyond_the_limit_charges_nothing),
	KUNIT_CASE(shapes_that_the_platform_cannot_have_are_refused),
	KUNIT_CASE(C18_table_smaller_than_a_page),
	KUNIT_CASE(C17_table_is_charged_as_long_as_anybody_has_it),
	KUNIT_CASE(C17_kept_tables_are_not_charged_for_ever),
	KUNIT_CASE(C15_guests_may_map_into_finished_windows_only),
	KUNIT_CASE(C6_default_window_is_made_when_it_is_needed),
	KUNIT_CASE(C6_unmap_in_its_range_makes_the_default_window),
	KUNIT_CASE(C6_default_window_is_for_all_groups),
	KUNIT_CASE(C6_removed_default_window_never_comes),
	KUNIT_CASE(C6_default_window_does_not_come_back),
	KUNIT_CASE(C6_failed_create_leaves_the_default_window_due),
	KUNIT_CASE(unmap_all_adds_up_pages_of_all_sizes),
	KUNIT_CASE(C1_I6_calls_go_on_while_a_window_is_emptied),
	KUNIT_CASE(C1_create_does_not_take_a_slot_that_is_being_left),
	KUNIT_CASE(C16_groups_join_and_leave_while_a_window_is_emptied),
	KUNIT_CASE(C16_refused_remove_is_for_groups_that_joined_too),
	KUNIT_CASE(C14_last_group_leaves_while_a_window_is_emptied),
	KUNIT_CASE(K18_window_that_firmware_keeps_is_not_uncharging),
	KUNIT_CASE(K18_window_that_the_last_group_takes_along_is_not_uncharging),
	KUNIT_CASE(C14_last_group_leaves_without_the_mmap_lock),
	KUNIT_CASE(C21_register_does_not_wait_for_a_map),
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
