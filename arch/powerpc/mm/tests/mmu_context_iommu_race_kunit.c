// SPDX-License-Identifier: GPL-2.0
/*
 * Registration with others beside it: look-ups on another processor, threads that wait for
 * one that pins, and a thread that is killed while it waits itself.
 */
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/sched/signal.h>
#include "mmu_context_iommu_kunit.h"

/* ---- lookups on one CPU while another registers and unregisters ---- */

/* Counts of the walker; the other side reads @loops while it runs. */
struct walker {
	struct mm_struct *mm;
	unsigned long stable, churning;
	unsigned long loops, lost, hits, misses;
};

static void walker_loop(struct walker *w)
{
	struct mm_iommu_region *region;
	unsigned long n = 1;

	/* A region that stays is found whatever happens around it. */
	region = mm_iommu_hold(w->mm, w->stable, PAGE_SHIFT, &n);
	if (region && mm_iommu_mappable(w->mm, w->stable, PAGE_SHIFT))
		mm_iommu_drop(region, 1);
	else
		w->lost++;
	/* One that comes and goes, if held, is there until it is dropped. */
	n = 2;
	region = mm_iommu_hold(w->mm, w->churning, PAGE_SHIFT, &n);
	if (!region) {
		w->misses++;
		return;
	}
	w->hits++;
	if (n != 2 || mm_iommu_region_of(w->mm, w->churning + PAGE_SIZE) != region)
		w->lost++;
	mm_iommu_drop(region, n);
}

static int walker_thread(void *arg)
{
	struct walker *w = arg;

	while (!kthread_should_stop()) {
		walker_loop(w);
		WRITE_ONCE(w->loops, w->loops + 1);
		cond_resched();
	}
	return 0;
}

/* Wait until the walker got through a whole loop that began after this did. */
static bool walker_passes(const struct walker *w)
{
	unsigned long loops = READ_ONCE(w->loops), end = jiffies + 60 * HZ;

	while (READ_ONCE(w->loops) - loops < 2 && time_before(jiffies, end))
		cond_resched();
	return READ_ONCE(w->loops) - loops >= 2;
}

#define RACE_ROUNDS	4096U
#define RACE_MEETINGS	(RACE_ROUNDS / 8)	/* rounds that wait, for each of two states */

static void R2_lookups_race_with_registration(struct kunit *test)
{
	unsigned int here = cpumask_first(cpu_online_mask), there, i, met = 0, busy = 0;
	struct walker w = { .mm = current->mm };
	struct mm_iommu_region *stable, *region;
	struct task_struct *task;

	there = cpumask_next(here, cpu_online_mask);
	if (there >= nr_cpu_ids)
		kunit_skip(test, "needs two processors");
	stable = do_register(test, 30, 1);
	w.stable = page_ua(test, 30);
	w.churning = page_ua(test, 31);
	KUNIT_ASSERT_EQ(test, set_cpus_allowed_ptr(current, cpumask_of(here)), 0);
	task = kthread_create_on_cpu(walker_thread, &w, there, "region-walker/%u");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	wake_up_process(task);

	/* Some rounds wait for the walker to meet the region, or its absence; most just race. */
	for (i = 0; i < RACE_ROUNDS && !try_register(test, 31, 2, &region); i++) {
		if (i % 8 == 0)
			met += walker_passes(&w);
		while (mm_iommu_unregister(current->mm, region)) {
			busy++;
			cond_resched();
		}
		if (i % 8 == 4)
			met += walker_passes(&w);
	}
	kthread_stop(task);
	kunit_info(test, "%u rounds, %u busy; %lu lookups, %lu hits, %lu misses", i, busy, w.loops,
		   w.hits, w.misses);
	KUNIT_EXPECT_EQ(test, i, RACE_ROUNDS);
	KUNIT_EXPECT_EQ(test, met, 2 * RACE_MEETINGS);
	KUNIT_EXPECT_GE(test, w.hits, RACE_MEETINGS);
	KUNIT_EXPECT_GE(test, w.misses, RACE_MEETINGS);
	KUNIT_EXPECT_EQ(test, w.lost, 0);
	do_unregister(test, stable);
}

/* ---- what others see while memory is being pinned ---- */

#define PENDING_PAGE	30UL
#define PENDING_PAGES	8UL

/* A thread that registers the pending pages; the mmap_lock holds it up. */
struct registrar {
	struct mm_struct *mm;
	unsigned long ua;
	struct mm_iommu_region *region;
	int ret;
	struct task_struct *task;
	struct completion done;
};

static int registrar_thread(void *arg)
{
	struct registrar *r = arg;

	kthread_use_mm(r->mm);
	r->ret = mm_iommu_register(r->mm, r->ua, PENDING_PAGES * PAGE_SIZE, &r->region);
	kthread_unuse_mm(r->mm);
	complete(&r->done);
	return 0;
}

static void registrar_start(struct kunit *test, struct registrar *r)
{
	r->mm = current->mm;
	r->ua = page_ua(test, PENDING_PAGE);
	init_completion(&r->done);
	r->task = kthread_run(registrar_thread, r, "registrar");
	if (IS_ERR(r->task)) {
		r->ret = PTR_ERR(r->task);
		complete(&r->done);
	}
}

/* The questions that must not wait for the thread that pins. */
struct prober {
	struct mm_struct *mm;
	unsigned long ua;
	struct mm_iommu_region *other;	/* registered twice */
	struct mm_iommu_region *held;
	bool mappable;
	int overlap, unregister;
	struct completion done;
};

static int prober_thread(void *arg)
{
	struct mm_iommu_region *region;
	struct prober *p = arg;
	unsigned long n = 1;

	kthread_use_mm(p->mm);
	p->held = mm_iommu_hold(p->mm, p->ua, PAGE_SHIFT, &n);
	p->mappable = mm_iommu_mappable(p->mm, p->ua, PAGE_SHIFT);
	p->overlap = mm_iommu_register(p->mm, p->ua + PAGE_SIZE, PAGE_SIZE, &region);
	p->unregister = mm_iommu_unregister(p->mm, p->other);
	kthread_unuse_mm(p->mm);
	complete(&p->done);
	return 0;
}

static void probe(struct kunit *test, struct mm_iommu_region *other)
{
	struct prober p = {
		.mm = current->mm, .ua = page_ua(test, PENDING_PAGE), .other = other,
	};
	struct task_struct *task;

	init_completion(&p.done);
	task = kthread_run(prober_thread, &p, "prober");
	KUNIT_EXPECT_FALSE(test, IS_ERR(task));
	if (IS_ERR(task))
		return;
	if (!wait_for_completion_timeout(&p.done, 20 * HZ)) {
		KUNIT_FAIL(test, "a thread that pins holds up the others");
		mmap_write_unlock(current->mm);
		wait_for_completion(&p.done);
		mmap_write_lock(current->mm);
	}
	KUNIT_EXPECT_NULL(test, p.held);
	KUNIT_EXPECT_FALSE(test, p.mappable);
	KUNIT_EXPECT_EQ(test, p.overlap, -EINVAL);
	KUNIT_EXPECT_EQ(test, p.unregister, 0);
}

/* Two threads at the same pages: one is stopped while it pins, one waits for it. */
static void register_two_at_once(struct kunit *test, struct registrar *a, struct registrar *b,
				 struct mm_iommu_region *other)
{
	unsigned int tries;

	mmap_write_lock(current->mm);
	registrar_start(test, a);
	for (tries = 0; tries < 500 && !mm_iommu_region_of(current->mm, a->ua); tries++)
		msleep(20);
	KUNIT_EXPECT_NOT_NULL(test, mm_iommu_region_of(current->mm, a->ua));
	if (other)
		probe(test, other);
	registrar_start(test, b);
	for (tries = 0; tries < 500 && !IS_ERR(b->task) && !completion_done(&b->done) &&
	     READ_ONCE(b->task->__state) != TASK_KILLABLE; tries++)
		msleep(20);
	mmap_write_unlock(current->mm);
	wait_for_completion(&a->done);
	wait_for_completion(&b->done);
}

static void pending_region_delays_nobody_but_its_like(struct kunit *test)
{
	struct mm_iommu_region *other = do_register(test, 0, 8);
	struct region_test *rt = test->priv;
	struct registrar a = { }, b = { };

	KUNIT_ASSERT_PTR_EQ(test, do_register(test, 0, 8), other);
	register_two_at_once(test, &a, &b, other);
	KUNIT_ASSERT_EQ(test, a.ret, 0);
	KUNIT_ASSERT_EQ(test, b.ret, 0);
	KUNIT_EXPECT_PTR_EQ(test, a.region, b.region);
	KUNIT_EXPECT_EQ(test, a.region->used, 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&a.region->mapped), 1);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + 8 + PENDING_PAGES);
	KUNIT_EXPECT_PTR_EQ(test, hold(test, PENDING_PAGE, 1), a.region);
	mm_iommu_drop(a.region, 1);
	do_unregister(test, a.region);
	do_unregister(test, b.region);
	do_unregister(test, other);
}

static void who_waited_for_a_failure_tries_alone(struct kunit *test)
{
	struct region_test *rt = test->priv;
	struct registrar a = { }, b = { };

	KUNIT_ASSERT_EQ(test, vm_munmap(page_ua(test, PENDING_PAGE + 3), PAGE_SIZE), 0);
	register_two_at_once(test, &a, &b, NULL);
	KUNIT_EXPECT_EQ(test, a.ret, -EFAULT);
	KUNIT_EXPECT_EQ(test, b.ret, -EFAULT);
	KUNIT_EXPECT_NULL(test, mm_iommu_region_of(rt->mm, a.ua));
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm);
	do_unregister(test, do_register(test, PENDING_PAGE, 3));
}

/* ---- a thread that is killed while it waits for the mmap_lock ---- */

static bool mmap_lock_taken;

/* Pages are about to be pinned: the mmap_lock is taken, and SIGKILL comes. */
static int kill_while_pinning(struct kprobe *probe, struct pt_regs *regs)
{
	if (!current->mm || !down_write_trylock(&current->mm->mmap_lock))
		return 0;
	mmap_lock_taken = true;
	sigaddset(&current->pending.signal, SIGKILL);
	set_thread_flag(TIF_SIGPENDING);
	return 0;
}

/* The charge is about to be taken back, for which the lock is needed. */
static int give_lock_back(struct kprobe *probe, struct pt_regs *regs)
{
	if (mmap_lock_taken)
		up_write(&current->mm->mmap_lock);
	mmap_lock_taken = false;
	return 0;
}

static void killed_while_waiting_for_mmap_lock_is_EINTR(struct kunit *test)
{
	struct kprobe pin = {
		.symbol_name = "pin_user_pages_fast", .pre_handler = kill_while_pinning,
	};
	struct kprobe account = {
		.symbol_name = "account_locked_vm", .pre_handler = give_lock_back,
	};
	struct mm_iommu_region *region;

	if (!IS_ENABLED(CONFIG_KPROBES))
		kunit_skip(test, "needs kprobes");
	/* Pages that nobody touched are not found without the lock. */
	replace_pages(test, 40, 2);
	KUNIT_ASSERT_EQ(test, register_kprobe(&account), 0);
	KUNIT_EXPECT_EQ(test, register_kprobe(&pin), 0);
	KUNIT_EXPECT_EQ(test, try_register(test, 40, 2, &region), -EINTR);
	unregister_kprobe(&pin);
	unregister_kprobe(&account);
	flush_signals(current);
	KUNIT_EXPECT_FALSE(test, mmap_lock_taken);
	do_unregister(test, do_register(test, 40, 2));
}

static struct kunit_case race_test_cases[] = {
	KUNIT_CASE(killed_while_waiting_for_mmap_lock_is_EINTR),
	KUNIT_CASE(pending_region_delays_nobody_but_its_like),
	KUNIT_CASE(who_waited_for_a_failure_tries_alone),
	KUNIT_CASE_SLOW(R2_lookups_race_with_registration),
	{}
};

static struct kunit_suite race_test_suite = {
	.name = "mm_iommu_race",
	.init = region_test_init,
	.exit = region_test_exit,
	.test_cases = race_test_cases,
};

kunit_test_suite(race_test_suite);

MODULE_DESCRIPTION("KUnit tests of pre-registered memory with others beside it");
MODULE_LICENSE("GPL");
