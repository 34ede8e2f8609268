// SPDX-License-Identifier: GPL-2.0
/*
 * How regions end: orphans that live until their last TCE, and what is let go and uncharged,
 * when, and in whose way.
 */
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/cred.h>
#include <linux/kthread.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>
#include "mmu_context_iommu_kunit.h"

/* A container that goes away while another container's TCEs point into its memory. */
static void C12_abandoned_region_lives_until_its_last_TCE(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region = do_register(test, 0, 8), *other;

	KUNIT_ASSERT_PTR_EQ(test, hold(test, 0, 8), region);
	do_abandon(rt->mm, region);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + 8);
	KUNIT_EXPECT_NULL(test, hold(test, 0, 1));
	KUNIT_EXPECT_FALSE(test, mm_iommu_mappable(rt->mm, page_ua(test, 0), PAGE_SHIFT));
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_region_of(rt->mm, page_ua(test, 7)), region);
	KUNIT_EXPECT_EQ(test, try_register(test, 7, 2, &other), -EINVAL);

	mm_iommu_drop(region, 8);
	wait_for_locked_vm(rt, rt->locked_vm);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm);
	KUNIT_EXPECT_NULL(test, mm_iommu_region_of(rt->mm, page_ua(test, 7)));
}

static void abandoned_region_can_be_registered_again(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region = do_register(test, 0, 8);

	KUNIT_ASSERT_PTR_EQ(test, hold(test, 0, 2), region);
	do_abandon(rt->mm, region);
	KUNIT_EXPECT_PTR_EQ(test, do_register(test, 0, 8), region);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&region->mapped), 3);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + 8);
	mm_iommu_drop(region, 2);
	do_unregister(test, region);
}

static void R17_orphan_under_other_memory_is_not_registered(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct mm_iommu_region *region = do_register(test, 0, 8), *other = NULL;

	KUNIT_ASSERT_PTR_EQ(test, hold(test, 0, 8), region);
	do_abandon(rt->mm, region);
	replace_pages(test, 3, 1);
	KUNIT_EXPECT_EQ(test, try_register(test, 0, 8, &other), -EBUSY);
	KUNIT_ASSERT_EQ(test, vm_munmap(page_ua(test, 3), PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, try_register(test, 0, 8, &other), -EFAULT);
	replace_pages(test, 3, 1);
	KUNIT_EXPECT_PTR_EQ(test, mm_iommu_region_of(rt->mm, page_ua(test, 3)), region);
	KUNIT_EXPECT_EQ(test, region->used, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&region->mapped), 8);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + 8);
	KUNIT_EXPECT_EQ(test, pins_held(rt), 8);
	KUNIT_EXPECT_NULL(test, hold(test, 0, 1));

	/* Once its TCEs are gone, so is what was in the way. */
	mm_iommu_drop(region, 8);
	KUNIT_EXPECT_EQ(test, try_register(test, 0, 8, &other), 0);
	if (other && other->used)
		do_unregister(test, other);
}

static void abandoning_an_idle_region_lets_it_go_at_once(struct kunit *test)
{
	struct region_test *rt = test->priv;

	do_abandon(rt->mm, do_register(test, 0, 8));
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm);
	KUNIT_EXPECT_EQ(test, pins_held(rt), 0);
}

/* What an mm forgot is let go with it; region_test_exit() counts the pins. */
static void forgotten_regions_go_with_the_mm(struct kunit *test)
{
	long forgotten = atomic_long_read(&mm_iommu_leaked);
	struct region_test *rt = test->priv;

	do_register(test, 0, 8);
	do_register(test, 20, 1);
	mm_iommu_cleanup(rt->mm);
	wait_for_locked_vm(rt, rt->locked_vm + 9);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&mm_iommu_leaked), forgotten + 2);
	KUNIT_EXPECT_EQ(test, pins_held(rt), 0);
	KUNIT_EXPECT_NULL(test, hold(test, 0, 1));
	rt->locked_vm += 9;	/* the charge dies with the mm, which is still here */
}

/* ---- charges that leave are in nobody's way ---- */

/* As if a process had the capabilities and the limit of an ordinary one. */
static const struct cred *become_ordinary(struct kunit *test, unsigned long lockable)
{
	struct cred *cred = prepare_creds();

	KUNIT_ASSERT_NOT_NULL(test, cred);
	cap_lower(cred->cap_effective, CAP_IPC_LOCK);
	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur = lockable * PAGE_SIZE;
	return override_creds(cred);
}

#define CHARGE_ROUNDS	1000U

/* The limit has room for one region, and what was there has just lost its last TCE. */
static void R15_charge_of_memory_that_leaves_is_in_nobodys_way(struct kunit *test)
{
	unsigned long limit = current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur, i;
	struct region_test *rt = test->priv;
	const struct cred *root = become_ordinary(test, rt->locked_vm + 8);
	struct mm_iommu_region *region;
	unsigned int nomem = 0, other = 0;
	const struct cred *own = current_cred();
	int ret;

	for (i = 0; i < CHARGE_ROUNDS; i++) {
		ret = try_register(test, i % 2 * 8, 8, &region);
		nomem += ret == -ENOMEM;
		other += ret && ret != -ENOMEM;
		if (ret) {
			wait_for_locked_vm(rt, rt->locked_vm);
			continue;
		}
		other += hold(test, i % 2 * 8, 1) != region;
		do_abandon(rt->mm, region);
		mm_iommu_drop(region, 1);
	}
	wait_for_locked_vm(rt, rt->locked_vm);
	/* What is really too much is refused as ever. */
	KUNIT_EXPECT_EQ(test, try_register(test, 0, 9, &region), -ENOMEM);
	revert_creds(root);
	put_cred(own);
	current->signal->rlim[RLIMIT_MEMLOCK].rlim_cur = limit;
	KUNIT_EXPECT_EQ(test, nomem, 0);
	KUNIT_EXPECT_EQ(test, other, 0);
}

/* A thread that abandons the region that it is given. */
struct abandoner {
	struct mm_struct *mm;
	struct mm_iommu_region *region;
};

static int abandoner_thread(void *arg)
{
	struct mm_iommu_region *region;
	struct abandoner *a = arg;

	while (!kthread_should_stop()) {
		/* Pairs with the release in abandon_round(). */
		region = smp_load_acquire(&a->region);
		if (region) {
			do_abandon(a->mm, region);
			/* Pairs with the acquire there. */
			smp_store_release(&a->region, NULL);
		}
		cond_resched();
	}
	return 0;
}

/* Return: how often UNREGISTER said -EBUSY; negative: what went wrong else. */
static long abandon_round(struct kunit *test, struct abandoner *a)
{
	struct mm_iommu_region *region, *again;
	long busy = 0;

	if (try_register(test, 0, 1, &region) || hold(test, 0, 1) != region)
		return -EINVAL;
	/* Pairs with the acquire in abandoner_thread(). */
	smp_store_release(&a->region, region);
	while (READ_ONCE(region->used))
		cpu_relax();
	if (try_register(test, 0, 1, &again) || again != region)
		return -EINVAL;
	mm_iommu_drop(region, 1);
	while (mm_iommu_unregister(a->mm, region)) {
		busy++;
		cond_resched();
	}
	/* Pairs with the release there. */
	while (smp_load_acquire(&a->region))
		cond_resched();
	return busy;
}

static void R15_nobody_is_busy_with_an_abandoned_region(struct kunit *test)
{
	unsigned int here = cpumask_first(cpu_online_mask), there, i;
	struct abandoner a = { .mm = current->mm };
	struct task_struct *task;
	long ret = 0, busy = 0;

	there = cpumask_next(here, cpu_online_mask);
	if (there >= nr_cpu_ids)
		kunit_skip(test, "needs two processors");
	KUNIT_ASSERT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of(here)), 0);
	task = kthread_create_on_cpu(abandoner_thread, &a, there, "abandoner/%u");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wake_up_process(task);
	for (i = 0; i < 4000 && ret >= 0; i++) {
		ret = abandon_round(test, &a);
		busy += ret;
		cond_resched();
	}
	kthread_stop(task);
	KUNIT_EXPECT_GE(test, ret, 0);
	KUNIT_EXPECT_EQ(test, busy, 0);
}

/* ---- the work of letting go ---- */

/* More orphans than a workqueue runs work items at a time. */
#define CROWD	600UL

struct crowd {
	unsigned long ua;
	struct mm_iommu_region *regions[CROWD];
	struct work_struct work;
	struct completion done;
};

static void crowd_work(struct work_struct *work)
{
	complete(&container_of(work, struct crowd, work)->done);
}

static void R16_letting_go_holds_up_nobody_elses_work(struct kunit *test)
{
	struct crowd *c = kunit_kzalloc(test, sizeof(*c), GFP_KERNEL);
	struct region_test *rt = test->priv;
	unsigned long i, n = 1, ua, bad = 0;

	KUNIT_ASSERT_NOT_NULL(test, c);
	c->ua = kunit_vm_mmap(test, NULL, 0, CROWD * PAGE_SIZE, PROT_READ | PROT_WRITE,
			      MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, c->ua, 0);
	init_completion(&c->done);
	INIT_WORK(&c->work, crowd_work);
	for (i = 0; i < CROWD; i++) {
		ua = c->ua + i * PAGE_SIZE;
		KUNIT_ASSERT_EQ(test, mm_iommu_register(rt->mm, ua, PAGE_SIZE, &c->regions[i]), 0);
		bad += mm_iommu_hold(rt->mm, ua, PAGE_SHIFT, &n) != c->regions[i];
		do_abandon(rt->mm, c->regions[i]);
	}
	KUNIT_ASSERT_EQ(test, bad, 0);

	/* Uncharging needs the mmap_lock, which is taken. */
	mmap_write_lock(rt->mm);
	for (i = 0; i < CROWD; i++)
		mm_iommu_drop(c->regions[i], 1);
	msleep(1000);
	queue_work(system_dfl_wq, &c->work);
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&c->done, 10 * HZ), 0);
	mmap_write_unlock(rt->mm);
	flush_work(&c->work);
	wait_for_locked_vm(rt, rt->locked_vm);
}

/* A process that cannot be uncharged keeps no work item, whatever it has, and no page. */
static void R16_all_pages_go_before_any_charge(struct kunit *test)
{
	struct mm_iommu_region *regions[AREA_PAGES];
	struct region_test *rt = test->priv;
	unsigned int i, tries;

	for (i = 0; i < AREA_PAGES; i++) {
		regions[i] = do_register(test, i, 1);
		KUNIT_ASSERT_PTR_EQ(test, hold(test, i, 1), regions[i]);
		do_abandon(rt->mm, regions[i]);
	}
	mmap_write_lock(rt->mm);
	for (i = 0; i < AREA_PAGES; i++) {
		mm_iommu_drop(regions[i], 1);
		/* The first ones are waiting to be uncharged when the others come. */
		if (i < 2)
			msleep(200);
	}
	for (tries = 0; tries < 500 && pins_held(rt); tries++)
		msleep(20);
	KUNIT_EXPECT_EQ(test, pins_held(rt), 0);
	mmap_write_unlock(rt->mm);
}

/* A work item that takes a charge back, as those do that all processes share. */
struct uncharger {
	struct mm_struct *mm;
	struct work_struct work;
	struct completion done;
};

static void uncharger_work(struct work_struct *work)
{
	struct uncharger *u = container_of(work, struct uncharger, work);

	mm_iommu_uncharge_begin(u->mm);
	mm_iommu_uncharge(u->mm, 1);
	mm_iommu_uncharge_begin(u->mm);
	mm_iommu_uncharge(u->mm, 2);
	complete(&u->done);
}

static void R16_uncharging_does_not_wait_for_another_process(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct uncharger u = { .mm = rt->mm };

	init_completion(&u.done);
	INIT_WORK_ONSTACK(&u.work, uncharger_work);
	KUNIT_ASSERT_EQ(test, mm_iommu_charge(rt->mm, 3), 0);
	mmap_write_lock(rt->mm);
	queue_work(system_dfl_wq, &u.work);
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&u.done, 10 * HZ), 0);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + 3);
	mmap_write_unlock(rt->mm);
	flush_work(&u.work);
	destroy_work_on_stack(&u.work);
	wait_for_locked_vm(rt, rt->locked_vm);
	/* The process itself does wait, and then the charge has ended. */
	KUNIT_EXPECT_EQ(test, mm_iommu_charge(rt->mm, 1), 0);
	mm_iommu_uncharge_begin(rt->mm);
	mm_iommu_uncharge(rt->mm, 1);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm);
}

static struct kunit_case life_test_cases[] = {
	KUNIT_CASE(C12_abandoned_region_lives_until_its_last_TCE),
	KUNIT_CASE(abandoned_region_can_be_registered_again),
	KUNIT_CASE(R17_orphan_under_other_memory_is_not_registered),
	KUNIT_CASE(abandoning_an_idle_region_lets_it_go_at_once),
	KUNIT_CASE(forgotten_regions_go_with_the_mm),
	KUNIT_CASE(R15_charge_of_memory_that_leaves_is_in_nobodys_way),
	KUNIT_CASE(R15_nobody_is_busy_with_an_abandoned_region),
	KUNIT_CASE(R16_letting_go_holds_up_nobody_elses_work),
	KUNIT_CASE(R16_all_pages_go_before_any_charge),
	KUNIT_CASE(R16_uncharging_does_not_wait_for_another_process),
	{}
};

static struct kunit_suite life_test_suite = {
	.name = "mm_iommu_life",
	.init = region_test_init,
	.exit = region_test_exit,
	.test_cases = life_test_cases,
};

kunit_test_suite(life_test_suite);

MODULE_DESCRIPTION("KUnit tests of how pre-registered memory is let go");
MODULE_LICENSE("GPL");
