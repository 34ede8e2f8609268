// SPDX-License-Identifier: GPL-2.0
/*
 * Requests on the same TCE table from two processors: entries, counts and levels stay
 * right, and neither waits for what the other holds.
 *
 * Tables are in no window here, so no hardware walks them.
 */
#include <linux/completion.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include "../../platforms/powernv/tests/pci-ioda-tce_kunit.h"

static int nothing_to_kill(struct iommu_table *tbl, unsigned long index, unsigned long npages)
{
	return 0;
}

static struct iommu_table_ops race_ops = {
	.tce_kill = nothing_to_kill,
	TCE_TABLE_OPS,
};

static struct iommu_table *table(struct kunit *test, u32 page_shift, u64 size, u32 levels)
{
	return ops_table(test, &race_ops, page_shift, size, levels);
}

#define ROUNDS	20000U

/* A thread that maps the same entries again and again. */
struct mapper {
	struct iommu_table *tbl;
	struct mm_struct *mm;
	unsigned long ua;
	int ret;
};

static int mapper_thread(void *arg)
{
	struct mapper *m = arg;

	while (!kthread_should_stop()) {
		m->ret = m->ret ?: map_for(m->mm, m->tbl, 0, 8, m->ua);
		cond_resched();
	}
	return 0;
}

static void T2_two_processors_on_the_same_entries(struct kunit *test)
{
	struct iommu_table *tbl = table(test, PAGE_SHIFT, 1ULL << 40, 2);
	unsigned long ua = area(test), i;
	struct mm_iommu_region *a = region(test, ua, 8), *b = region(test, ua + 8 * PAGE_SIZE, 8);
	struct mapper m = { .tbl = tbl, .mm = current->mm, .ua = ua };
	struct task_struct *task = run_elsewhere(test, mapper_thread, &m);
	int ret = 0;

	for (i = 0; i < ROUNDS; i++) {
		ret = ret ?: map(tbl, 0, 8, ua + 8 * PAGE_SIZE);
		if (i % 3 == 0)
			ret = ret ?: unmap(tbl, 0, 8);
		cond_resched();
	}
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, ret, 0);
	KUNIT_EXPECT_EQ(test, m.ret, 0);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, 8), 0);
	KUNIT_EXPECT_EQ(test, census(tbl).wrong, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&a->mapped), 1);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&b->mapped), 1);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, a), 0);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, b), 0);
}

/*
 * A thread that fills and wipes runs of its own entries: half of each leaf.  It knows
 * what is there, so every count that the table reports can be compared.
 */
#define HALF	256UL

struct runner {
	struct iommu_table *tbl;
	unsigned int leaves;
	unsigned long first;	/* in each leaf */
	struct rnd_state rnd;
	unsigned long wrong;
	unsigned long rounds;
	bool valid[2 * HALF];
};

static void runner_change(struct runner *r, unsigned long from, unsigned long n, bool set)
{
	struct iommu_table *tbl = r->tbl;
	u64 hpa = 0x100000000ULL + (r->first << 32);
	struct iommu_tce_change c = { .hpas = &hpa, .hpa_shift = 30 };
	unsigned long i, end, old = 0, was = 0;

	c.entry = tbl->it_offset + from / HALF * tbl->it_level_size + r->first + from % HALF;
	end = c.entry + n;
	if (set)
		r->wrong += tbl->it_ops->prealloc(tbl, c.entry, n, 0) != 0;
	while (c.entry < end && !r->wrong) {
		c.left = end - c.entry;
		c.perm = set ? TCE_RW : 0;
		c.hpa_offset = (from + n - c.left) << tbl->it_page_shift;
		c.owner = hpa + c.hpa_offset;
		r->wrong += tbl->it_ops->exchange(tbl, &c) != 0;
		for (i = 0; i < c.nr_runs; i++)
			old += c.runs[i].n;
	}
	if (set)
		tbl->it_ops->release(tbl);
	for (i = from; i < from + n; i++) {
		was += r->valid[i];
		r->valid[i] = set;
	}
	r->wrong += old != was;
}

static void runner_round(struct runner *r)
{
	unsigned long from = prandom_u32_state(&r->rnd) % (r->leaves * HALF);
	unsigned long n = 1 + prandom_u32_state(&r->rnd) % min(24UL, HALF - from % HALF);

	runner_change(r, from, n, prandom_u32_state(&r->rnd) & 1);
	r->rounds++;
	cond_resched();
}

static int runner_thread(void *arg)
{
	struct runner *r = arg;

	while (!kthread_should_stop())
		runner_round(r);
	return 0;
}

static unsigned long runner_check(const struct runner *r)
{
	unsigned long i, index, wrong = r->wrong;
	u64 hpa = 0x100000000ULL + (r->first << 32);

	for (i = 0; i < r->leaves * HALF; i++) {
		index = i / HALF * r->tbl->it_level_size + r->first + i % HALF;
		wrong += pnv_tce_get(r->tbl, r->tbl->it_offset + index) !=
			 (r->valid[i] ? (hpa + (i << r->tbl->it_page_shift)) | TCE_RW : 0);
		wrong += owner_of(r->tbl, index) !=
			 (r->valid[i] ? hpa + (i << r->tbl->it_page_shift) : 0);
	}
	return wrong;
}

static void race_for_leaves(struct kunit *test, u32 levels, unsigned int leaves)
{
	struct runner *here = kunit_kzalloc(test, sizeof(*here), GFP_KERNEL);
	struct runner *there = kunit_kzalloc(test, sizeof(*there), GFP_KERNEL);
	struct iommu_table *tbl = table(test, 16, BIT_ULL(16 + 9 * levels), levels);
	struct change_stats stats;
	struct task_struct *task;

	KUNIT_ASSERT_NOT_NULL(test, here);
	KUNIT_ASSERT_NOT_NULL(test, there);
	KUNIT_ASSERT_EQ(test, tbl->it_level_size, 2 * HALF);
	prandom_seed_state(&here->rnd, 1);
	prandom_seed_state(&there->rnd, 2);
	here->tbl = tbl;
	there->tbl = tbl;
	here->leaves = leaves;
	there->leaves = leaves;
	there->first = HALF;
	task = run_elsewhere(test, runner_thread, there);
	while (here->rounds < ROUNDS)
		runner_round(here);
	kthread_stop(task);
	kunit_info(test, "%u levels, %u leaves: %lu and %lu rounds", levels, leaves, here->rounds,
		   there->rounds);
	KUNIT_EXPECT_EQ(test, runner_check(here), 0);
	KUNIT_EXPECT_EQ(test, runner_check(there), 0);
	KUNIT_EXPECT_EQ(test, census(tbl).wrong, 0);
	change(test, tbl, 0, tbl->it_size, 0, 0);
	KUNIT_EXPECT_EQ(test, census(tbl).tces, 0);
	KUNIT_EXPECT_EQ(test, census(tbl).wrong, 0);
	if (levels > 1)
		return;
	/* One call finds nothing to do: the hidden count is 0, too. */
	stats = change_all(test, tbl, 0, tbl->it_size, 0, 0);
	KUNIT_EXPECT_EQ(test, stats.calls, 1);
}

static void T2_two_processors_on_halves_of_leaves(struct kunit *test)
{
	race_for_leaves(test, 1, 1);
	race_for_leaves(test, 2, 1);
	race_for_leaves(test, 2, 2);
	race_for_leaves(test, 3, 2);
}

/* A thread that maps and unmaps entries in one leaf, then in another. */
struct emptier {
	struct iommu_table *tbl;
	struct mm_struct *mm;
	unsigned long ua;
	unsigned long at[2];
	bool all;		/* now and then unmap the whole window, so that levels go */
	unsigned long rounds;
	int ret;
};

static void emptier_round(struct emptier *e)
{
	unsigned long at = e->at[e->rounds % 2], n = 1 + e->rounds % 20;

	e->ret = e->ret ?: map_for(e->mm, e->tbl, at, n, e->ua);
	e->ret = e->ret ?: unmap_for(e->mm, e->tbl, at, n);
	if (e->all && e->rounds % 16 == 0)
		e->ret = e->ret ?: unmap_for(e->mm, e->tbl, 0, e->tbl->it_size);
	e->rounds++;
	cond_resched();
}

static int emptier_thread(void *arg)
{
	struct emptier *e = arg;

	while (!kthread_should_stop())
		emptier_round(e);
	return 0;
}

static void race_for_empty_leaves(struct kunit *test, struct iommu_table *tbl, unsigned long ua,
				  unsigned long leaf)
{
	struct emptier here = {
		.tbl = tbl, .mm = current->mm, .ua = ua, .at = { 3, leaf + 3 },
	}, there = {
		.tbl = tbl, .mm = current->mm, .ua = ua, .at = { leaf + 3, 2 * leaf + 3 },
		.all = true,
	};
	struct task_struct *task = run_elsewhere(test, emptier_thread, &there);

	while (here.rounds < ROUNDS)
		emptier_round(&here);
	kthread_stop(task);
	kunit_info(test, "%lu and %lu rounds", here.rounds, there.rounds);
	KUNIT_EXPECT_EQ(test, here.ret, 0);
	KUNIT_EXPECT_EQ(test, there.ret, 0);
	KUNIT_EXPECT_EQ(test, census(tbl).wrong, 0);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
	KUNIT_EXPECT_EQ(test, census(tbl).tces, 0);
	KUNIT_EXPECT_EQ(test, census(tbl).wrong, 0);
	KUNIT_EXPECT_EQ(test, census(tbl).levels, 1);
}

static void I2_two_processors_while_levels_come_and_go(struct kunit *test)
{
	static const u32 levels[] = { 2, 3, 4 };
	unsigned long ua = area(test), top;
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct iommu_table *tbl;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(levels); i++) {
		tbl = table(test, 12, BIT_ULL(12 + 9 * levels[i]), levels[i]);
		top = BIT(9 * (levels[i] - 1));
		/* Leaves of one level, and of as many levels as there can be. */
		race_for_empty_leaves(test, tbl, ua, tbl->it_level_size);
		race_for_empty_leaves(test, tbl, ua, top);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&r->mapped), 1);
	}
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* A request that is held up between two of its leaves, and one that starts meanwhile. */
struct meeting {
	struct task_struct *first;
	struct completion half_way;
	struct completion other_done;
	bool met;
	struct iommu_table *tbl;
	struct mm_struct *mm;
	unsigned long ua;
	unsigned long at;
	int ret;
};

static struct meeting meeting;

static int exchange_and_wait(struct iommu_table *tbl, struct iommu_tce_change *change)
{
	int ret = pnv_tce_exchange(tbl, change);

	if (current == meeting.first && change->perm && !completion_done(&meeting.half_way)) {
		complete_all(&meeting.half_way);
		meeting.met = wait_for_completion_timeout(&meeting.other_done, 20 * HZ);
	}
	return ret;
}

static int other_request(void *arg)
{
	wait_for_completion(&meeting.half_way);
	meeting.ret = map_for(meeting.mm, meeting.tbl, meeting.at, AREA_PAGES, meeting.ua);
	meeting.ret = meeting.ret ?: unmap_for(meeting.mm, meeting.tbl, meeting.at, 1);
	complete_all(&meeting.other_done);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

/* Disjoint halves of a window: neither request holds what the other needs. */
static void requests_do_not_hold_each_other_up(struct kunit *test)
{
	static struct iommu_table_ops ops;
	unsigned long ua = area(test);
	struct mm_iommu_region *r = region(test, ua, AREA_PAGES);
	struct task_struct *task;
	struct iommu_table *tbl;

	ops = race_ops;
	ops.exchange = exchange_and_wait;
	ops.exchange_one = NULL;
	tbl = ops_table(test, &ops, PAGE_SHIFT, 1ULL << 40, 2);
	memset(&meeting, 0, sizeof(meeting));
	meeting.first = current;
	meeting.tbl = tbl;
	meeting.mm = current->mm;
	meeting.ua = ua;
	meeting.at = tbl->it_size / 2;
	init_completion(&meeting.half_way);
	init_completion(&meeting.other_done);
	task = run_elsewhere(test, other_request, NULL);
	KUNIT_EXPECT_EQ(test, map(tbl, tbl->it_level_size - 4, AREA_PAGES, ua), 0);
	complete_all(&meeting.half_way);
	kthread_stop(task);
	KUNIT_EXPECT_TRUE(test, meeting.met);
	KUNIT_EXPECT_EQ(test, meeting.ret, 0);
	KUNIT_EXPECT_EQ(test, census(tbl).tces, 2 * AREA_PAGES - 1);
	KUNIT_EXPECT_EQ(test, census(tbl).wrong, 0);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, tbl->it_size), 0);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, r), 0);
}

/* What the first half of a request mapped goes away, and so does its region. */
static int take_away(void *region)
{
	wait_for_completion(&meeting.half_way);
	meeting.ret = unmap_for(meeting.mm, meeting.tbl, 0, 8);
	meeting.ret = meeting.ret ?: mm_iommu_unregister(meeting.mm, region);
	/* Its memory is another's from now on; slub_debug=P shows who still reads it. */
	kvfree_rcu_barrier();
	rcu_barrier();
	complete_all(&meeting.other_done);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

static void R11_a_region_goes_when_a_request_is_past_it(struct kunit *test)
{
	static struct iommu_table_ops ops;
	unsigned long ua = area(test), end = ua + 16 * PAGE_SIZE, i;
	struct mm_iommu_region *a = region(test, ua, 8);
	struct mm_iommu_region *b = region(test, ua + 8 * PAGE_SIZE, 8);
	struct task_struct *task;
	struct iommu_table *tbl;

	ops = race_ops;
	ops.exchange = exchange_and_wait;
	ops.exchange_one = NULL;
	tbl = ops_table(test, &ops, PAGE_SHIFT, 1ULL << 40, 2);
	memset(&meeting, 0, sizeof(meeting));
	meeting.first = current;
	meeting.tbl = tbl;
	meeting.mm = current->mm;
	init_completion(&meeting.half_way);
	init_completion(&meeting.other_done);
	task = run_elsewhere(test, take_away, a);
	KUNIT_EXPECT_EQ(test, map(tbl, 0, 16, ua), 0);
	complete_all(&meeting.half_way);
	kthread_stop(task);
	KUNIT_EXPECT_TRUE(test, meeting.met);
	KUNIT_EXPECT_EQ(test, meeting.ret, 0);
	KUNIT_EXPECT_EQ(test, census(tbl).tces, 8);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&b->mapped), 9);
	for (i = 8, ua += 8 * PAGE_SIZE; ua < end; i++, ua += PAGE_SIZE)
		KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, tbl->it_offset + i),
				mm_iommu_blocks_hpa(&b->blocks, ua) | TCE_RW);
	KUNIT_EXPECT_EQ(test, unmap(tbl, 0, 16), 0);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, b), 0);
}

static struct kunit_case race_test_cases[] = {
	KUNIT_CASE(R11_a_region_goes_when_a_request_is_past_it),
	KUNIT_CASE(requests_do_not_hold_each_other_up),
	KUNIT_CASE_SLOW(T2_two_processors_on_the_same_entries),
	KUNIT_CASE_SLOW(T2_two_processors_on_halves_of_leaves),
	KUNIT_CASE_SLOW(I2_two_processors_while_levels_come_and_go),
	{}
};

static struct kunit_suite race_test_suite = {
	.name = "iommu_tce_race",
	.init = memory_init,
	.exit = memory_exit,
	.test_cases = race_test_cases,
};

kunit_test_suite(race_test_suite);

MODULE_DESCRIPTION("KUnit tests of requests on TCE tables that race");
MODULE_LICENSE("GPL");
