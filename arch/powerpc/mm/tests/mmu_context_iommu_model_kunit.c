// SPDX-License-Identifier: GPL-2.0
/* Random operations on regions against a model that knows no trees. */
#include <linux/prandom.h>
#include "mmu_context_iommu_kunit.h"

#define MODEL_REGIONS	16
#define MODEL_STEPS	20000
#define MODEL_SEED	20150609

enum model_op {
	MODEL_REGISTER, MODEL_UNREGISTER, MODEL_HOLD, MODEL_DROP, MODEL_OWNER, MODEL_MAPPABLE,
	MODEL_ABANDON, MODEL_OPS,
};

/* @region is NULL in a free slot; @used is 0 in an orphan. */
struct model_region {
	struct mm_iommu_region *region;
	unsigned long page, pages, used, tces;
};

/* @dying: an orphan lost its last TCE, and its work item may still be on its way. */
struct model {
	struct model_region regions[MODEL_REGIONS];
	unsigned int step, done[MODEL_OPS];
	bool dying;
};

#define MODEL_EQ(model, a, b)						\
	KUNIT_ASSERT_EQ_MSG(test, a, b, "seed %u, step %u", MODEL_SEED, (model)->step)

static struct model_region *model_find(struct model *model, unsigned long page,
				       unsigned long pages)
{
	struct model_region *m;

	for (m = model->regions; m < model->regions + MODEL_REGIONS; m++)
		if (m->region && m->page < page + pages && page < m->page + m->pages)
			return m;
	return NULL;
}

static struct model_region *model_free(struct model *model)
{
	struct model_region *m;

	for (m = model->regions; m < model->regions + MODEL_REGIONS; m++)
		if (!m->region)
			return m;
	return NULL;
}

static void model_register(struct kunit *test, struct model *model, unsigned long page,
			   unsigned long pages)
{
	struct model_region *m = model_find(model, page, pages), *slot = model_free(model);
	struct mm_iommu_region *region = NULL;
	int ret;

	if (!m && !slot)
		return;
	ret = try_register(test, page, pages, &region);
	if (!m) {
		MODEL_EQ(model, ret, 0);
		*slot = (struct model_region){ region, page, pages, 1, 0 };
	} else if (m->page == page && m->pages == pages) {
		MODEL_EQ(model, ret, 0);
		MODEL_EQ(model, (ulong)region, (ulong)m->region);
		m->used++;
	} else {
		MODEL_EQ(model, ret, -EINVAL);
	}
}

static void model_unregister(struct kunit *test, struct model *model, struct model_region *m)
{
	int want = m->used == 1 && m->tces ? -EBUSY : 0;

	MODEL_EQ(model, mm_iommu_unregister(current->mm, m->region), want);
	if (!want && !--m->used)
		m->region = NULL;
}

static void model_abandon(struct model_region *m)
{
	do_abandon(current->mm, m->region);
	if (!--m->used && !m->tces)
		m->region = NULL;
}

static void model_hold(struct kunit *test, struct model *model, unsigned long page,
		       unsigned long n)
{
	struct model_region *m = model_find(model, page, 1);
	bool found = m && m->used;
	unsigned long want = found ? min(n, m->page + m->pages - page) : n;
	struct mm_iommu_region *region;

	region = mm_iommu_hold(current->mm, page_ua(test, page), PAGE_SHIFT, &n);
	MODEL_EQ(model, (ulong)region, found ? (ulong)m->region : 0);
	MODEL_EQ(model, n, want);
	if (found)
		m->tces += want;
}

static void model_drop(struct model *model, struct model_region *m, unsigned long n)
{
	m->tces -= n;
	mm_iommu_drop(m->region, n);
	if (!m->used && !m->tces) {
		m->region = NULL;
		model->dying = true;
	}
}

static void model_owner(struct kunit *test, struct model *model, unsigned long page)
{
	struct model_region *m = model_find(model, page, 1);
	unsigned long ua = page_ua(test, page), want = m ? (ulong)m->region : 0;
	unsigned int tries;

	/* A dying region may be seen until its work item has run, but not for ever. */
	for (tries = 0; !m && model->dying && tries < 5000 &&
	     mm_iommu_region_of(current->mm, ua); tries++)
		usleep_range(1000, 2000);
	MODEL_EQ(model, (ulong)mm_iommu_region_of(current->mm, ua), want);
	MODEL_EQ(model, (ulong)mm_iommu_region_of(current->mm, ua + PAGE_SIZE - 1), want);
}

static void model_mappable(struct kunit *test, struct model *model, unsigned long page)
{
	struct model_region *m = model_find(model, page, 1);
	unsigned long ua = page_ua(test, page);

	MODEL_EQ(model, mm_iommu_mappable(current->mm, ua, PAGE_SHIFT), m && m->used);
	if (m)
		MODEL_EQ(model, mm_iommu_mappable(current->mm, ua, m->region->blocks.shift + 1),
			 false);
}

static void model_step(struct kunit *test, struct model *model, struct rnd_state *rnd)
{
	unsigned long page = prandom_u32_state(rnd) % AREA_PAGES;
	unsigned long n = 1 + prandom_u32_state(rnd) % min(8UL, AREA_PAGES - page);
	enum model_op op = prandom_u32_state(rnd) % MODEL_OPS;
	struct model_region *m = model_find(model, page, 1);

	model->done[op]++;
	/* Half of the registrations repeat the bounds of a region that is there. */
	if (op == MODEL_REGISTER && m && n & 1)
		model_register(test, model, m->page, m->pages);
	else if (op == MODEL_REGISTER)
		model_register(test, model, page, n);
	else if (op == MODEL_UNREGISTER && m && m->used)
		model_unregister(test, model, m);
	else if (op == MODEL_HOLD)
		model_hold(test, model, page, n);
	else if (op == MODEL_DROP && m && m->tces)
		model_drop(model, m, n & 1 ? m->tces : 1 + n % m->tces);
	else if (op == MODEL_OWNER)
		model_owner(test, model, page);
	else if (op == MODEL_MAPPABLE)
		model_mappable(test, model, page);
	else if (op == MODEL_ABANDON && m && m->used)
		model_abandon(m);
	else
		model->done[op]--;

	if (m && m->region) {
		MODEL_EQ(model, m->region->used, m->used);
		MODEL_EQ(model, atomic_long_read(&m->region->mapped), m->tces + !!m->used);
	}
}

static void random_operations_agree_with_a_model(struct kunit *test)
{
	struct model *model = kunit_kzalloc(test, sizeof(*model), GFP_KERNEL);
	struct region_test *rt = test->priv;
	unsigned long charged = 0, total = 0;
	struct model_region *m;
	struct rnd_state rnd;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, model);
	prandom_seed_state(&rnd, MODEL_SEED);
	for (model->step = 0; model->step < MODEL_STEPS; model->step++) {
		model_step(test, model, &rnd);
		cond_resched();
	}
	for (i = 0; i < MODEL_OPS; i++) {
		KUNIT_EXPECT_GT(test, model->done[i], 200);
		total += model->done[i];
	}
	KUNIT_EXPECT_GE(test, total, 10000);

	for (m = model->regions; m < model->regions + MODEL_REGIONS; m++)
		charged += m->region ? m->pages : 0;
	for (i = 0; i < 250 && rt->mm->locked_vm != rt->locked_vm + charged; i++)
		msleep(20);
	KUNIT_EXPECT_EQ(test, rt->mm->locked_vm, rt->locked_vm + charged);

	for (m = model->regions; m < model->regions + MODEL_REGIONS; m++) {
		if (m->region && m->tces)
			model_drop(model, m, m->tces);
		while (m->region)
			model_unregister(test, model, m);
	}
}

static struct kunit_case model_test_cases[] = {
	KUNIT_CASE_SLOW(random_operations_agree_with_a_model),
	{}
};

static struct kunit_suite model_test_suite = {
	.name = "mm_iommu_model",
	.init = region_test_init,
	.exit = region_test_exit,
	.test_cases = model_test_cases,
};

kunit_test_suite(model_test_suite);

MODULE_DESCRIPTION("KUnit test of pre-registered memory against a model");
MODULE_LICENSE("GPL");
