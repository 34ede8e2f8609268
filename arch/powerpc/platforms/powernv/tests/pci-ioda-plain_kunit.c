// SPDX-License-Identifier: GPL-2.0
/*
 * Plain tables: what put and zap do to entries and nodes, beside a model of both.
 */
#include <linux/prandom.h>
#include "pci-ioda-tce_ledger.h"
#include "../pci-ioda-tce-plain.h"

#define BITS		9	/* of a level */
#define SLOTS		BIT(BITS)
#define PAGE_4K		4096UL
#define HPA		0x10000000UL

/* The case's only table; it ends with the case. */
static struct iommu_table *shaped_table(struct kunit *test, const struct shape *shape)
{
	test->priv = ledger_table(test, shape, IOMMU_TABLE_PLAIN);
	return test->priv;
}

/* Three levels of 512 slots, pages of 4K. */
static struct iommu_table *plain_table(struct kunit *test)
{
	return shaped_table(test, &(const struct shape){ 12, 39, 3 });
}

static struct pnv_tce_growth growth;

/* Return: how many were written; *@ret is what put said. */
static unsigned long put(struct iommu_table *tbl, unsigned long index, unsigned long n, int *ret)
{
	struct pnv_tce_write write = {
		.index = index, .left = n, .gfp = GFP_KERNEL,
		.tce = (HPA + index * PAGE_4K) | TCE_RW, .growth = &growth,
	};

	*ret = pnv_tce_write(tbl, &write);
	return n - write.left;
}

static void expect_put(struct kunit *test, struct iommu_table *tbl, unsigned long index,
		       unsigned long n)
{
	int ret;

	KUNIT_EXPECT_EQ(test, put(tbl, index, n, &ret), n);
	KUNIT_EXPECT_EQ(test, ret, 0);
}

static u64 tce_of(const struct iommu_table *tbl, unsigned long index)
{
	const void *leaf = leaf_of(tbl, index);

	return leaf ? level_word(leaf, index % SLOTS) : 0;
}

/* How many nodes were taken out; they are freed. */
static unsigned int free_all(struct iommu_table *tbl, struct llist_head *loose)
{
	struct llist_node *list = llist_del_all(loose), *node;
	unsigned int n = 0;

	llist_for_each(node, list)
		n++;
	pnv_tce_free_plain(tbl, list);
	return n;
}

static void entries_are_as_the_hardware_reads_them(struct kunit *test)
{
	struct iommu_table *tbl = plain_table(test);
	const unsigned long at = SLOTS * SLOTS - 3;	/* three leaves, two nodes above */
	LLIST_HEAD(loose);
	unsigned long i;

	expect_put(test, tbl, at, SLOTS + 7);
	for (i = at; i < at + SLOTS + 7; i++)
		KUNIT_ASSERT_EQ(test, tce_of(tbl, i), (HPA + i * PAGE_4K) | TCE_RW);
	KUNIT_EXPECT_EQ(test, tce_of(tbl, at - 1), 0);
	KUNIT_EXPECT_EQ(test, tce_of(tbl, at + SLOTS + 7), 0);
	KUNIT_EXPECT_EQ(test, census_of(tbl, false).leaves, 3);
	KUNIT_EXPECT_EQ(test, census_of(tbl, false).levels, 6);
	KUNIT_EXPECT_EQ(test, census_of(tbl, false).wrong, 0);

	KUNIT_EXPECT_EQ(test, pnv_tce_zap(tbl, at, SLOTS + 7, &loose), SLOTS + 7);
	KUNIT_EXPECT_EQ(test, census_of(tbl, false).tces, 0);
	KUNIT_EXPECT_EQ(test, free_all(tbl, &loose), 1);
}

static void a_live_entry_ends_put(struct kunit *test)
{
	struct iommu_table *tbl = plain_table(test);
	u64 live;
	int ret;

	expect_put(test, tbl, SLOTS + 5, 1);
	live = tce_of(tbl, SLOTS + 5);
	KUNIT_EXPECT_EQ(test, put(tbl, SLOTS - 4, 20, &ret), 9);
	KUNIT_EXPECT_EQ(test, ret, -EADDRINUSE);
	KUNIT_EXPECT_EQ(test, tce_of(tbl, SLOTS + 5), live);
	KUNIT_EXPECT_EQ(test, tce_of(tbl, SLOTS + 6), 0);
}

static void an_empty_entry_ends_zap(struct kunit *test)
{
	struct iommu_table *tbl = plain_table(test);
	LLIST_HEAD(loose);

	expect_put(test, tbl, 0, 10);
	KUNIT_EXPECT_EQ(test, pnv_tce_zap(tbl, 2, SLOTS, &loose), 8);
	KUNIT_EXPECT_EQ(test, pnv_tce_zap(tbl, 2, 1, &loose), 0);
	KUNIT_EXPECT_EQ(test, pnv_tce_zap(tbl, 4 * SLOTS, 1, &loose), 0);
	KUNIT_EXPECT_EQ(test, free_all(tbl, &loose), 0);
	KUNIT_EXPECT_EQ(test, census_of(tbl, false).tces, 2);
}

/* Two leaves and the node above the second one: each of them in turn cannot be had. */
static void T4_missing_memory_leaves_what_was_written(struct kunit *test)
{
	const unsigned long at = SLOTS * SLOTS - 5;
	const unsigned long written[] = { 0, 0, 5, 5 };
	struct iommu_table *tbl;
	unsigned int i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(written); i++) {
		tbl = plain_table(test);
		ledger.allocs = 0;
		ledger.fail = i + 1;
		KUNIT_EXPECT_EQ(test, put(tbl, at, 50, &ret), written[i]);
		KUNIT_EXPECT_EQ(test, ret, -ENOMEM);
		KUNIT_EXPECT_EQ(test, census_of(tbl, false).tces, written[i]);
		ledger_expect_nothing_else(test, tbl);
		ledger.fail = 0;
		expect_put(test, tbl, at + written[i], 50 - written[i]);
		ledger_table_end(test, tbl);
	}
	test->priv = NULL;
}

static void I14_only_what_covers_a_node_takes_it_out(struct kunit *test)
{
	struct iommu_table *tbl = plain_table(test);
	const unsigned long span = SLOTS * SLOTS;
	LLIST_HEAD(loose);

	/* In two pieces: the leaf becomes empty and stays. */
	expect_put(test, tbl, 0, SLOTS);
	KUNIT_EXPECT_EQ(test, pnv_tce_zap(tbl, 0, SLOTS - 1, &loose), SLOTS - 1);
	KUNIT_EXPECT_EQ(test, pnv_tce_zap(tbl, SLOTS - 1, 1, &loose), 1);
	KUNIT_EXPECT_EQ(test, free_all(tbl, &loose), 0);
	KUNIT_EXPECT_NOT_NULL(test, leaf_of(tbl, 0));
	/* At once, with neighbours: it goes, theirs stay. */
	expect_put(test, tbl, 0, SLOTS);
	expect_put(test, tbl, SLOTS, 3);
	KUNIT_EXPECT_EQ(test, pnv_tce_zap(tbl, 0, SLOTS + 1, &loose), SLOTS + 1);
	KUNIT_EXPECT_NULL(test, leaf_of(tbl, 0));
	KUNIT_EXPECT_NOT_NULL(test, leaf_of(tbl, SLOTS));
	KUNIT_EXPECT_EQ(test, free_all(tbl, &loose), 1);
	KUNIT_EXPECT_EQ(test, pnv_tce_zap(tbl, SLOTS + 1, 2, &loose), 2);
	/* All below an inner node, and the beginning of the next one. */
	expect_put(test, tbl, span, span + 1);
	KUNIT_EXPECT_EQ(test, pnv_tce_zap(tbl, span, span + 1, &loose), span + 1);
	KUNIT_EXPECT_EQ(test, free_all(tbl, &loose), SLOTS + 1);
	KUNIT_EXPECT_EQ(test, census_of(tbl, false).leaves, 2);
	ledger_expect_nothing_else(test, tbl);
}

/* Until the kill the PHB may follow an old pointer, and read the link. */
static void I14_loose_nodes_translate_nothing(struct kunit *test)
{
	struct iommu_table *tbl = plain_table(test);
	const __be64 *leaf[2];
	LLIST_HEAD(loose);
	unsigned long i, slot;

	expect_put(test, tbl, 0, 2 * SLOTS);
	leaf[0] = leaf_of(tbl, 0);
	leaf[1] = leaf_of(tbl, SLOTS);
	KUNIT_EXPECT_EQ(test, pnv_tce_zap(tbl, 0, 2 * SLOTS, &loose), 2 * SLOTS);
	for (i = 0; i < 2; i++)
		for (slot = 0; slot < SLOTS; slot++) {
			u64 word = (u64 __force)leaf[i][slot];

			KUNIT_ASSERT_EQ(test, word & TCE_RW, 0);
			KUNIT_ASSERT_EQ(test, swab64(word) & TCE_RW, 0);
		}
	KUNIT_EXPECT_EQ(test, free_all(tbl, &loose), 2);
}

/* The table of a window of few entries: its leaf has more room. */
static void T11_single_level(struct kunit *test)
{
	struct iommu_table *tbl = shaped_table(test, &(const struct shape){ 12, 24, 1 });
	LLIST_HEAD(loose);

	expect_put(test, tbl, 0, tbl->it_size);
	KUNIT_EXPECT_EQ(test, pnv_tce_zap(tbl, 0, tbl->it_size, &loose), tbl->it_size);
	KUNIT_EXPECT_EQ(test, free_all(tbl, &loose), 0);
	KUNIT_EXPECT_NULL(test, tbl->it_userspace);
}

/* One kill of all for all nodes that were found before it began, whoever made them. */
static void T3_nodes_are_due_until_they_are_shown(struct kunit *test)
{
	struct iommu_table *tbl = plain_table(test);
	struct pnv_tce_growth *g = &growth;
	long first, second;

	pnv_tce_growth_due(g, &first);
	pnv_tce_growth_shown(g, first);
	KUNIT_EXPECT_FALSE(test, pnv_tce_growth_due(g, &first));

	expect_put(test, tbl, 0, 1);
	KUNIT_EXPECT_TRUE(test, pnv_tce_growth_due(g, &first));
	/* Others that come before the kill is over need one, too; and after one that failed. */
	expect_put(test, tbl, 1, 1);
	KUNIT_EXPECT_TRUE(test, pnv_tce_growth_due(g, &second));
	KUNIT_EXPECT_EQ(test, first, second);

	/* What comes during a kill is not shown by it. */
	expect_put(test, tbl, SLOTS, 1);
	pnv_tce_growth_shown(g, first);
	KUNIT_EXPECT_TRUE(test, pnv_tce_growth_due(g, &second));
	pnv_tce_growth_shown(g, second);
	KUNIT_EXPECT_FALSE(test, pnv_tce_growth_due(g, &second));

	/* While somebody puts a node in, others may have found it. */
	atomic_long_inc(&g->making);
	KUNIT_EXPECT_TRUE(test, pnv_tce_growth_due(g, &second));
	pnv_tce_growth_shown(g, second);
	KUNIT_EXPECT_TRUE(test, pnv_tce_growth_due(g, &second));
	atomic_long_inc(&g->made);
	atomic_long_dec(&g->making);
	KUNIT_EXPECT_TRUE(test, pnv_tce_growth_due(g, &second));
}

#define LEAVES	6
#define MODEL	(LEAVES * SLOTS)
#define ROUNDS	4000

struct model {
	bool live[MODEL];
	bool leaf[LEAVES];
};

static unsigned long model_put(struct model *m, unsigned long at, unsigned long n)
{
	unsigned long i;

	for (i = at; i < at + n; i++) {
		m->leaf[i / SLOTS] = true;
		if (m->live[i])
			break;
		m->live[i] = true;
	}
	return i - at;
}

static unsigned long model_zap(struct model *m, unsigned long at, unsigned long n)
{
	unsigned long i, l;

	for (i = at; i < at + n && m->live[i]; i++)
		m->live[i] = false;
	for (l = 0; l < LEAVES; l++)
		if (l * SLOTS >= at && (l + 1) * SLOTS <= i)
			m->leaf[l] = false;
	return i - at;
}

static bool model_differs(const struct model *m, const struct iommu_table *tbl,
			  unsigned long first)
{
	unsigned long i, l;

	for (l = 0; l < LEAVES; l++)
		if (!leaf_of(tbl, first + l * SLOTS) == m->leaf[l])
			return true;
	for (i = 0; i < MODEL; i++)
		if (tce_of(tbl, first + i) !=
		    (m->live[i] ? (HPA + (first + i) * PAGE_4K) | TCE_RW : 0))
			return true;
	return false;
}

/* Around the border of two inner nodes. */
static void random_calls_do_what_the_model_does(struct kunit *test)
{
	const unsigned long first = (SLOTS - LEAVES / 2) * SLOTS;
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	struct iommu_table *tbl = plain_table(test);
	unsigned long at, n, done, round;
	struct rnd_state rnd;
	LLIST_HEAD(loose);
	int ret;

	KUNIT_ASSERT_NOT_NULL(test, m);
	prandom_seed_state(&rnd, 16);
	for (round = 0; round < ROUNDS; round++) {
		at = prandom_u32_state(&rnd) % MODEL;
		n = prandom_u32_state(&rnd) % (round % 3 ? 40 : MODEL - at);
		n = min(n + 1, MODEL - at);
		if (round % 7 == 0) {
			at -= at % SLOTS;
			n = min_t(unsigned long, 2 * SLOTS, MODEL - at);
		}
		if (prandom_u32_state(&rnd) & 1) {
			done = put(tbl, first + at, n, &ret);
			KUNIT_ASSERT_EQ(test, done, model_put(m, at, n));
			KUNIT_ASSERT_EQ(test, ret, done == n ? 0 : -EADDRINUSE);
		} else {
			done = pnv_tce_zap(tbl, first + at, n, &loose);
			KUNIT_ASSERT_EQ(test, done, model_zap(m, at, n));
			free_all(tbl, &loose);
		}
		if (round % 16 == 0)
			KUNIT_ASSERT_FALSE_MSG(test, model_differs(m, tbl, first),
					       "round %lu", round);
		cond_resched();
	}
	KUNIT_EXPECT_FALSE(test, model_differs(m, tbl, first));
}

/**
 * struct neighbour - a thread that fills and clears its own entries
 * @tbl: the table
 * @first: its first entry
 * @n: how many
 * @wrong: calls that did not do all of it
 * @rounds: how often it came round
 */
struct neighbour {
	struct iommu_table *tbl;
	unsigned long first;
	unsigned long n;
	unsigned long wrong;
	unsigned long rounds;
};

static void neighbour_round(struct neighbour *me, struct llist_head *loose)
{
	int ret;

	me->wrong += put(me->tbl, me->first, me->n, &ret) != me->n;
	me->wrong += tce_of(me->tbl, me->first + me->n - 1) !=
		     ((HPA + (me->first + me->n - 1) * PAGE_4K) | TCE_RW);
	me->wrong += pnv_tce_zap(me->tbl, me->first, me->n, loose) != me->n;
	free_all(me->tbl, loose);
	me->rounds++;
}

static int neighbour_run(void *arg)
{
	LLIST_HEAD(loose);

	while (!kthread_should_stop()) {
		neighbour_round(arg, &loose);
		cond_resched();
	}
	return 0;
}

/* Ranges that share a leaf and an inner node; each also has a leaf of its own. */
static void I2_neighbours_do_not_meet(struct kunit *test)
{
	struct iommu_table *tbl = plain_table(test);
	struct neighbour here = { tbl, 0, SLOTS + 100 }, there = { tbl, SLOTS + 100, 2 * SLOTS };
	struct task_struct *task;
	LLIST_HEAD(loose);
	int i;

	task = run_elsewhere(test, neighbour_run, &there);
	for (i = 0; i < 3000; i++) {
		neighbour_round(&here, &loose);
		cond_resched();
	}
	kthread_stop(task);
	KUNIT_EXPECT_GT(test, there.rounds, 0);
	KUNIT_EXPECT_EQ(test, here.wrong + there.wrong, 0);
	KUNIT_EXPECT_EQ(test, census_of(tbl, false).tces, 0);
}

static void plain_exit(struct kunit *test)
{
	if (test->priv)
		iommu_tce_table_put(test->priv);
	ledger_exit(test);
}

static struct kunit_case plain_cases[] = {
	KUNIT_CASE(entries_are_as_the_hardware_reads_them),
	KUNIT_CASE(a_live_entry_ends_put),
	KUNIT_CASE(an_empty_entry_ends_zap),
	KUNIT_CASE(T4_missing_memory_leaves_what_was_written),
	KUNIT_CASE(I14_only_what_covers_a_node_takes_it_out),
	KUNIT_CASE(I14_loose_nodes_translate_nothing),
	KUNIT_CASE(T11_single_level),
	KUNIT_CASE(T3_nodes_are_due_until_they_are_shown),
	KUNIT_CASE(random_calls_do_what_the_model_does),
	KUNIT_CASE(I2_neighbours_do_not_meet),
	{ }
};

static struct kunit_suite plain_suite = {
	.name = "pnv_tce_plain",
	.init = ledger_init,
	.exit = plain_exit,
	.test_cases = plain_cases,
};

kunit_test_suite(plain_suite);

MODULE_DESCRIPTION("KUnit tests of the plain TCE tables of IODA2 PHBs");
MODULE_LICENSE("GPL");
