// SPDX-License-Identifier: GPL-2.0
/*
 * Random changes of TCE tables against a model that is too simple to be wrong: arrays
 * that say for each entry what its TCE and its owner are.
 *
 * The model knows some pieces of the window, which lie across the borders of leaves and
 * of higher levels.  Nothing may ever be anywhere else.
 */
#include <linux/prandom.h>
#include "pci-ioda-tce_kunit.h"

#define PIECE		256UL
#define PIECES		6
#define ENTRIES		(PIECES * PIECE)
#define STEPS		1200
#define STEPS_CHECKED	100	/* all of the table is compared each so many steps */
#define SEED		2018

/* A piece at each end of the window, the others across the entries that are powers of two. */
struct model_shape {
	struct shape table;
	u8 at[PIECES - 2];	/* log2 of those entries */
	u8 hpa_shift;
	bool bare;
};

static const struct model_shape model_shapes[] = {
	{ { 16, 32, 1 }, { 9, 13, 14, 15 }, 16 },
	{ { 12, 30, 1 }, { 9, 12, 13, 17 }, 16 },
	{ { 16, 40, 2 }, { 12, 13, 18, 22 }, 16 },
	{ { 12, 36, 2 }, { 9, 12, 13, 20 }, 16 },
	{ { 16, 46, 3 }, { 9, 10, 20, 25 }, 24 },
	{ { 21, 50, 3 }, { 9, 10, 20, 25 }, 30 },
	{ { 12, 48, 4 }, { 9, 18, 27, 35 }, 12 },
	{ { 12, 48, 4 }, { 9, 18, 27, 35 }, 21 },
	{ { 16, 32, 1 }, { 9, 13, 14, 15 }, 20, true },
	{ { 12, 40, 2 }, { 10, 14, 15, 16 }, 16, true },
};

enum model_op { MODEL_FILL, MODEL_WHOLE, MODEL_WIPE, MODEL_WIPE_FAR, MODEL_OPS };

struct model {
	const struct model_shape *shape;
	struct iommu_table *tbl;
	struct rnd_state rnd;
	unsigned long step;
	unsigned long wrong;
	unsigned long done[MODEL_OPS];
	unsigned long refused, merged, partial;
	u64 hpas[PIECE + 1];
	u64 tce[ENTRIES];
	u64 owner[ENTRIES];
};

static struct iommu_table_ops model_ops = {
	TCE_TABLE_OPS,
};

#define MODEL_EQ(m, is, want)	model_eq(m, #is, is, want)

static void model_eq(struct model *m, const char *what, u64 is, u64 want)
{
	if (is != want && !m->wrong++)
		pr_info("page shift %u, %u levels, seed %d, step %lu: %s is %#llx, not %#llx\n",
			m->shape->table.page_shift, m->shape->table.levels, SEED, m->step, what,
			is, want);
}

static u32 model_random(struct model *m, u32 below)
{
	return prandom_u32_state(&m->rnd) % below;
}

/* Where in the table the @i-th entry of the model is. */
static unsigned long model_index(const struct model *m, unsigned long i)
{
	unsigned long piece = i / PIECE, first = 0;

	if (piece == PIECES - 1)
		first = m->tbl->it_size - PIECE;
	else if (piece)
		first = BIT(m->shape->at[piece - 1]) - PIECE / 2;
	return first + i % PIECE;
}

/* What a change from entry @from on is to write to entry @i. */
struct model_new {
	unsigned long from;
	u64 owner;
	unsigned long offset;
	unsigned long perm;
};

static u64 model_tce(const struct model *m, const struct model_new *new, unsigned long i)
{
	u64 at = new->offset + ((u64)(i - new->from) << m->tbl->it_page_shift);
	u64 block = BIT_ULL(m->shape->hpa_shift);

	if (!new->perm)
		return 0;
	return m->hpas[at / block] + at % block +
	       (new->perm & TCE_PCI_WRITE ? TCE_RW : TCE_PCI_READ);
}

static u64 model_owner(const struct model *m, const struct model_new *new, unsigned long i)
{
	if (!new->perm || m->shape->bare)
		return 0;
	return new->owner + ((u64)(i - new->from) << m->tbl->it_page_shift);
}

/*
 * The table has changed the entries up to @end of the table and said whose they were:
 * compare, and change the model.  Return: the first entry of the model that is left.
 */
static unsigned long model_follow(struct model *m, const struct model_new *new,
				  const struct iommu_tce_change *c, unsigned long i,
				  unsigned long end)
{
	unsigned int page_shift = m->tbl->it_page_shift, run;
	unsigned long nth = 0, total = 0, old = 0;
	u64 owner;

	for (run = 0; run < c->nr_runs; run++) {
		total += c->runs[run].n;
		MODEL_EQ(m, c->runs[run].n > 0, true);
		/* What could be one run is one. */
		if (run)
			MODEL_EQ(m, c->runs[run].owner == c->runs[run - 1].owner +
				 ((u64)c->runs[run - 1].n << page_shift), false);
	}
	m->merged += total > c->nr_runs;
	for (run = 0; i < ENTRIES && model_index(m, i) < end; i++) {
		if (m->tce[i]) {
			owner = m->shape->bare ? m->tce[i] : m->owner[i];
			while (run < c->nr_runs && nth == c->runs[run].n) {
				nth = 0;
				run++;
			}
			if (run < c->nr_runs)
				MODEL_EQ(m, c->runs[run].owner + ((u64)nth << page_shift), owner);
			nth++;
			old++;
		}
		m->tce[i] = model_tce(m, new, i);
		m->owner[i] = model_owner(m, new, i);
	}
	MODEL_EQ(m, total, old);
	return i;
}

/* Change the entries @new->from to @last of the model. */
static void model_change(struct model *m, const struct model_new *new, unsigned long last)
{
	unsigned long end = model_index(m, last) + 1, i = new->from, index, before;
	struct iommu_table *tbl = m->tbl;
	struct iommu_tce_change c = {
		.entry = tbl->it_offset + model_index(m, i), .hpa_shift = m->shape->hpa_shift,
	};
	u64 at;

	for (index = model_index(m, i); index < end; index = c.entry - tbl->it_offset) {
		before = c.entry;
		at = new->offset + ((index - model_index(m, new->from)) << tbl->it_page_shift);
		c.left = end - index;
		c.perm = new->perm;
		if (new->perm) {
			c.hpas = m->hpas + (at >> c.hpa_shift);
			c.hpa_offset = at & (BIT_ULL(c.hpa_shift) - 1);
			c.owner = new->owner + at - new->offset;
		}
		MODEL_EQ(m, tbl->it_ops->exchange(tbl, &c), 0);
		MODEL_EQ(m, c.entry > before, true);
		MODEL_EQ(m, c.left, end - (c.entry - tbl->it_offset));
		if (m->wrong)
			break;
		i = model_follow(m, new, &c, i, c.entry - tbl->it_offset);
		m->partial += c.left > 0;
	}
}

/* A change of few entries, which must be possible at once and without new levels. */
static void model_whole(struct model *m, const struct model_new *new, unsigned long n)
{
	struct iommu_table *tbl = m->tbl;
	unsigned long index = model_index(m, new->from), unit = tbl->it_level_size;
	struct iommu_tce_change c = {
		.entry = tbl->it_offset + index, .left = n, .perm = new->perm, .hpas = m->hpas,
		.hpa_shift = m->shape->hpa_shift, .hpa_offset = new->offset,
		.owner = new->owner, .whole = true,
	};
	bool possible;

	if (!tbl->it_indirect_levels)
		unit = min(unit, 8192UL);
	possible = leaf_of(tbl, index) && index / unit == (index + n - 1) / unit;
	MODEL_EQ(m, tbl->it_ops->exchange(tbl, &c), possible ? 0 : -EAGAIN);
	MODEL_EQ(m, c.left, possible ? 0 : n);
	if (possible)
		model_follow(m, new, &c, new->from, index + n);
	else
		m->refused++;
}

static void model_step(struct model *m)
{
	unsigned long from = model_random(m, ENTRIES), i, n, room = PIECE - from % PIECE;
	unsigned int page_shift = m->tbl->it_page_shift;
	enum model_op op = model_random(m, MODEL_OPS);
	struct model_new new = { .from = from };

	n = 1 + model_random(m, model_random(m, 2) ? 3 : room);
	if (op == MODEL_WHOLE)
		n = min(n, 1UL + model_random(m, IOMMU_TCE_RUNS));
	n = min(n, room);
	m->done[op]++;
	if (op == MODEL_WIPE || op == MODEL_WIPE_FAR) {
		/* Far: over other pieces and the empty space between them. */
		if (op == MODEL_WIPE_FAR && model_random(m, 4) == 0)
			n = 1 + model_random(m, ENTRIES - from);
		model_change(m, &new, from + n - 1);
		return;
	}

	for (i = 0; i <= PIECE; i++)
		m->hpas[i] = (u64)(1 + model_random(m, 4095)) << m->shape->hpa_shift;
	new.perm = 1 + model_random(m, TCE_RW);
	new.offset = model_random(m, BIT(m->shape->hpa_shift - page_shift)) << page_shift;
	/* Mostly owners that continue those of other changes. */
	new.owner = (u64)(1 + model_random(m, 3)) << 40;
	new.owner += (u64)(model_random(m, 4) ? from : model_random(m, 64)) << page_shift;
	if (op == MODEL_WHOLE) {
		model_whole(m, &new, n);
		return;
	}
	MODEL_EQ(m, m->tbl->it_ops->prealloc(m->tbl, m->tbl->it_offset + model_index(m, from), n,
					     0), 0);
	model_change(m, &new, from + n - 1);
	m->tbl->it_ops->release(m->tbl);
}

static void model_compare(struct model *m, unsigned long i)
{
	unsigned long index = model_index(m, i);

	MODEL_EQ(m, pnv_tce_get(m->tbl, m->tbl->it_offset + index), m->tce[i]);
	MODEL_EQ(m, owner_of(m->tbl, index), m->owner[i]);
}

static void model_compare_all(struct model *m)
{
	struct census c = census(m->tbl);
	unsigned long i, tces = 0, owned = 0;

	for (i = 0; i < ENTRIES; i++) {
		model_compare(m, i);
		tces += !!m->tce[i];
		owned += !!m->owner[i];
	}
	MODEL_EQ(m, c.tces, tces);
	MODEL_EQ(m, c.wrong, 0);
	if (m->tbl->it_indirect_levels)
		MODEL_EQ(m, c.owned, owned);
}

/*
 * The counts of a table of one level are not to be seen.  When all of it has been
 * cleared they are 0, if they always were right, and one call finds nothing to do.
 */
static void model_empty(struct kunit *test, struct model *m)
{
	struct model_new none = { };
	struct change_stats stats;

	model_change(m, &none, ENTRIES - 1);
	model_compare_all(m);
	MODEL_EQ(m, census(m->tbl).tces, 0);
	if (m->tbl->it_indirect_levels || m->wrong)
		return;
	stats = change_all(test, m->tbl, 0, m->tbl->it_size, 0, 0);
	MODEL_EQ(m, stats.calls, 1);
}

static struct iommu_table *model_table(struct kunit *test, const struct model_shape *shape)
{
	const struct iommu_table_shape table = {
		.kind = shape->bare ? IOMMU_TABLE_BARE : IOMMU_TABLE_OWNED,
		.page_shift = shape->table.page_shift,
		.levels = shape->table.levels,
		.size = BIT_ULL(shape->table.window_shift),
	};

	return shape_table(test, &model_ops, &table);
}

static void T6_random_changes_agree_with_a_flat_model(struct kunit *test)
{
	struct model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	const struct model_shape *shape;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, m);
	for (shape = model_shapes; shape < model_shapes + ARRAY_SIZE(model_shapes); shape++) {
		memset(m, 0, sizeof(*m));
		m->shape = shape;
		m->tbl = model_table(test, shape);
		prandom_seed_state(&m->rnd, SEED);
		for (m->step = 0; m->step < STEPS && !m->wrong; m->step++) {
			model_step(m);
			for (i = 0; i < 8; i++)
				model_compare(m, model_random(m, ENTRIES));
			if (m->step % STEPS_CHECKED == 0 && !m->wrong)
				model_compare_all(m);
			if (m->step % (4 * STEPS_CHECKED) == 0 && !m->wrong)
				model_empty(test, m);
			cond_resched();
		}
		if (!m->wrong)
			model_compare_all(m);
		if (!m->wrong)
			model_empty(test, m);
		KUNIT_EXPECT_EQ(test, m->wrong, 0);
		for (i = 0; i < MODEL_OPS; i++)
			KUNIT_EXPECT_GT(test, m->done[i], STEPS / MODEL_OPS / 2);
		KUNIT_EXPECT_GT(test, m->merged, STEPS / 20);
		KUNIT_EXPECT_GT(test, m->partial, STEPS / 20);
		KUNIT_EXPECT_GT(test, m->refused, 0);
	}
}

static struct kunit_case model_test_cases[] = {
	KUNIT_CASE_SLOW(T6_random_changes_agree_with_a_flat_model),
	{}
};

static struct kunit_suite model_test_suite = {
	.name = "pnv_tce_model",
	.test_cases = model_test_cases,
};

kunit_test_suite(model_test_suite);

MODULE_DESCRIPTION("KUnit test of powernv TCE tables with random changes");
MODULE_LICENSE("GPL");
