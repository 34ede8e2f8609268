// SPDX-License-Identifier: GPL-2.0
/*
 * Paging domains where firmware refuses: PEs that are stopped because the PHB may use what nobody
 * vouches for any more, and what it takes until they go on.
 */
#include "pci-ioda-domain_kunit.h"

/* It is not known which table the PHB walks: neither goes, and nothing passes. */
static void T13_failed_kill_of_an_attach_stops_the_PE(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_table *host = s.group->tables[0], *tbl;
	struct iommu_domain *domain = new_domain(test, &s);

	KUNIT_ASSERT_EQ(test, attach(&s, domain), 0);
	tbl = s.group->tables[0];
	detach(&s, domain);

	no_calls(&s);
	s.kill->refuse = true;
	KUNIT_EXPECT_EQ(test, attach(&s, domain), -ENODEV);
	s.kill->refuse = false;
	KUNIT_EXPECT_GT(test, s.freeze->calls, 0);
	KUNIT_EXPECT_EQ(test, told_table(s.map), __pa(host->it_base));
	expect_host(test, s.dev);

	/* The PHB may walk it yet, so it stays stopped; meanwhile nobody asks for a kill. */
	KUNIT_EXPECT_TRUE(test, list_is_singular(&tbl->it_group_list));
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 2);
	no_calls(&s);
	domain->ops->flush_iotlb_all(domain);
	KUNIT_EXPECT_EQ(test, s.kill->calls, 0);
	KUNIT_EXPECT_EQ(test, thaw(&s), -EIO);
	KUNIT_EXPECT_EQ(test, s.thaw->calls, 0);

	KUNIT_EXPECT_EQ(test, attach(&s, domain), 0);
	expect_domain(test, &s, tbl);
	KUNIT_EXPECT_EQ(test, thaw(&s), 0);
	detach(&s, domain);
	expect_unused(test, tbl);
	expect_host(test, s.dev);
}

/* Window 0 is not what we believe it to be. */
static void T23_replacement_that_cannot_be_taken_back(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *first = attached_domain(test, &s), *other = new_domain(test, &s);
	struct iommu_table *tbl = s.group->tables[0];

	s.kill->refuse = true;
	no_calls(&s);
	KUNIT_EXPECT_EQ(test, change_over(&s, other), -ENODEV);
	KUNIT_EXPECT_EQ(test, s.map->calls, 2);
	s.kill->refuse = false;
	KUNIT_EXPECT_EQ(test, thaw(&s), -EIO);

	/* What seems to be there already is told to firmware again. */
	no_calls(&s);
	s.map->refuse = true;
	/* The core believes that this cannot fail; nor has the PE anything else. */
	KUNIT_EXPECT_EQ(test, change_over(&s, first), 0);
	KUNIT_EXPECT_GT(test, s.map->calls, 0);
	KUNIT_EXPECT_EQ(test, thaw(&s), -EIO);
	s.map->refuse = false;
	KUNIT_EXPECT_EQ(test, change_over(&s, first), 0);
	expect_domain(test, &s, tbl);
	KUNIT_EXPECT_EQ(test, thaw(&s), 0);
	KUNIT_EXPECT_GT(test, s.thaw->last, s.kill->last);
	detach(&s, first);
}

/* Firmware fails once, and the device is given back. */
static void T13_host_is_not_stopped_for_ever(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = attached_domain(test, &s);
	struct iommu_table *tbl = s.group->tables[0];

	detach(&s, domain);
	KUNIT_ASSERT_EQ(test, s.group->ops->take_ownership(s.group, &s.dev->dev), 0);
	s.kill->refuse = true;
	KUNIT_EXPECT_EQ(test, change_over(&s, domain), -ENODEV);
	s.kill->refuse = false;
	KUNIT_EXPECT_EQ(test, thaw(&s), -EIO);
	s.group->ops->release_ownership(s.group, &s.dev->dev);
	expect_host(test, s.dev);
	expect_unused(test, tbl);
	KUNIT_EXPECT_EQ(test, thaw(&s), 0);
}

/* Firmware keeps the table of a domain that is left: it stays, and the PE is stopped. */
static void T23_kept_table_outlives_its_domain(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = iommu_paging_domain_alloc(&s.dev->dev);
	struct iommu_table *tbl;

	KUNIT_ASSERT_FALSE(test, IS_ERR(domain));
	take_for_case(test, s.dev);
	KUNIT_ASSERT_EQ(test, attach(&s, domain), 0);
	tbl = s.group->tables[0];
	s.map->refuse = true;
	detach(&s, domain);
	KUNIT_EXPECT_EQ(test, s.group->owner, IOMMU_TCE_USER);
	KUNIT_EXPECT_EQ(test, s.freeze->calls, 1);
	iommu_domain_free(domain);
	KUNIT_EXPECT_PTR_EQ(test, s.group->tables[0], tbl);
	KUNIT_EXPECT_EQ(test, kref_read(&tbl->it_kref), 1);
	KUNIT_EXPECT_FALSE(test, list_empty(&tbl->it_group_list));
	/* It reaches no other owner. */
	give_back(s.dev->dev.iommu_group);
	KUNIT_EXPECT_EQ(test, s.group->owner, IOMMU_TCE_STUCK);
	KUNIT_EXPECT_NULL(test, get_iommu_table_base(&s.dev->dev));
	KUNIT_EXPECT_EQ(test, take(test, s.dev), -EIO);
	s.map->refuse = false;
	KUNIT_EXPECT_EQ(test, take(test, s.dev), 0);
	KUNIT_EXPECT_NULL(test, s.group->tables[0]);
	give_back(s.dev->dev.iommu_group);
	expect_host(test, s.dev);
}

/* The same, and the user gives the PE another domain. */
static void T23_kept_table_is_replaced(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *first = new_domain(test, &s), *other = new_domain(test, &s);
	struct iommu_table *tbl;

	take_for_case(test, s.dev);
	KUNIT_ASSERT_EQ(test, attach(&s, first), 0);
	tbl = s.group->tables[0];
	s.map->refuse = true;
	detach(&s, first);
	s.map->refuse = false;
	KUNIT_EXPECT_EQ(test, attach(&s, other), 0);
	expect_domain(test, &s, s.group->tables[0]);
	expect_unused(test, tbl);
	detach(&s, other);
	give_back(s.dev->dev.iommu_group);
	expect_host(test, s.dev);
}

static void T13_failed_kill_stops_the_PE(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = attached_domain(test, &s);
	struct iommu_table *tbl = s.group->tables[0];
	const size_t leaf = tbl->it_level_size * PAGE_SIZE;

	KUNIT_ASSERT_EQ(test, iommu_map(domain, 0, HPA, leaf, RW, GFP_KERNEL), 0);
	no_calls(&s);
	s.kill->refuse = true;
	KUNIT_EXPECT_EQ(test, iommu_unmap(domain, 0, leaf), leaf);
	s.kill->refuse = false;
	KUNIT_EXPECT_EQ(test, s.freeze->calls, 1);
	/* Another PE may have the domain, and goes on. */
	KUNIT_EXPECT_EQ(test, iommu_map(domain, 0, HPA, PAGE_SIZE, RW, GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(domain, 0), HPA);
}

/* A PE that is stopped: memory was let go, and the PHB refuses to forget it. */
static void stop(struct kunit *test, struct scene *s)
{
	struct iommu_domain *domain = attached_domain(test, s);

	KUNIT_ASSERT_EQ(test, iommu_map(domain, IOVA, HPA, PAGE_SIZE, RW, GFP_KERNEL), 0);
	s->kill->refuse = true;
	KUNIT_EXPECT_EQ(test, iommu_unmap(domain, IOVA, PAGE_SIZE), PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, s->freeze->calls, 1);
	no_calls(s);
}

static void T13_stopped_PE_goes_on_after_a_kill_only(struct kunit *test)
{
	struct scene s = scene(test);

	stop(test, &s);
	KUNIT_EXPECT_EQ(test, thaw(&s), -EIO);
	KUNIT_EXPECT_GT(test, s.kill->calls, 0);
	KUNIT_EXPECT_EQ(test, s.thaw->calls, 0);
	s.kill->refuse = false;
	/* A config access that fails cannot wait for one. */
	local_irq_disable();
	KUNIT_EXPECT_EQ(test, thaw(&s), -EIO);
	local_irq_enable();
	KUNIT_EXPECT_EQ(test, thaw(&s), 0);
	KUNIT_EXPECT_EQ(test, s.thaw->calls, 1);
	KUNIT_EXPECT_GT(test, s.thaw->last, s.kill->last);
	no_calls(&s);
	KUNIT_EXPECT_EQ(test, thaw(&s), 0);
	KUNIT_EXPECT_EQ(test, s.kill->calls, 0);
}

struct nested_thaw {
	struct scene *s;
	int ret;
};

static void thaw_meanwhile(void *arg)
{
	struct nested_thaw *nested = arg;

	nested->ret = thaw(nested->s);
}

static void T13_nobody_goes_on_before_the_kill_is_done(struct kunit *test)
{
	struct scene s = scene(test);
	struct nested_thaw nested = { .s = &s };

	stop(test, &s);
	s.kill->arg = &nested;
	s.kill->meanwhile = thaw_meanwhile;
	KUNIT_EXPECT_EQ(test, thaw(&s), -EIO);
	KUNIT_EXPECT_EQ(test, nested.ret, -EIO);
	KUNIT_EXPECT_EQ(test, s.thaw->calls, 0);
	s.kill->refuse = false;
	KUNIT_EXPECT_EQ(test, thaw(&s), 0);
}

/* A kill that fails after the one that let the PE go on. */
static void fail_meanwhile(void *arg)
{
	struct scene *s = arg;

	WRITE_ONCE(pe_of(s)->tce_failed, pe_of(s)->tce_failed + 1);
}

static void T13_kill_that_fails_meanwhile_is_not_mended(struct kunit *test)
{
	struct scene s = scene(test);

	stop(test, &s);
	s.kill->refuse = false;
	s.kill->arg = &s;
	s.kill->meanwhile = fail_meanwhile;
	KUNIT_EXPECT_EQ(test, thaw(&s), -EIO);
	KUNIT_EXPECT_EQ(test, s.thaw->calls, 0);
	KUNIT_EXPECT_EQ(test, thaw(&s), 0);
}

/* iommufd unmaps in thousands of batches, each of which would wait for firmware. */
static void T13_stopped_PE_is_not_asked_to_forget_again(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = attached_domain(test, &s);

	KUNIT_ASSERT_EQ(test, iommu_map(domain, IOVA, HPA, 2 * PAGE_SIZE, RW, GFP_KERNEL), 0);
	s.kill->refuse = true;
	KUNIT_EXPECT_EQ(test, iommu_unmap(domain, IOVA, PAGE_SIZE), PAGE_SIZE);
	no_calls(&s);
	KUNIT_EXPECT_EQ(test, iommu_unmap(domain, IOVA + PAGE_SIZE, PAGE_SIZE), PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, s.kill->calls, 0);

	/* Where firmware did not stop it, only a kill helps. */
	s.freeze->answer = OPAL_HARDWARE;
	s.kill->refuse = false;
	KUNIT_EXPECT_EQ(test, thaw(&s), 0);
	KUNIT_ASSERT_EQ(test, iommu_map(domain, IOVA, HPA, 2 * PAGE_SIZE, RW, GFP_KERNEL), 0);
	s.kill->refuse = true;
	KUNIT_EXPECT_EQ(test, iommu_unmap(domain, IOVA, PAGE_SIZE), PAGE_SIZE);
	s.kill->refuse = false;
	no_calls(&s);
	KUNIT_EXPECT_EQ(test, iommu_unmap(domain, IOVA + PAGE_SIZE, PAGE_SIZE), PAGE_SIZE);
	KUNIT_EXPECT_GT(test, s.kill->calls, 0);
	KUNIT_EXPECT_EQ(test, thaw(&s), 0);
}

static void T13_number_of_a_stale_PE_is_not_used_again(struct kunit *test)
{
	struct scene s = scene(test);
	struct pnv_phb *phb = pe_of(&s)->phb;
	struct pnv_ioda_pe *pe = pnv_ioda_alloc_pe(phb, 1), *other;
	unsigned int number;

	KUNIT_ASSERT_NOT_NULL(test, pe);
	number = pe->pe_number;
	pnv_ioda_free_pe(pe);
	pe = pnv_ioda_alloc_pe(phb, 1);
	KUNIT_ASSERT_EQ(test, pe->pe_number, number);
	pe->tce_failed++;
	pnv_ioda_free_pe(pe);
	other = pnv_ioda_alloc_pe(phb, 1);
	KUNIT_ASSERT_NOT_NULL(test, other);
	KUNIT_EXPECT_NE(test, other->pe_number, number);
	pnv_ioda_free_pe(other);
	clear_bit(number, phb->ioda.pe_alloc);
}

static void T23_detach_needs_no_bypass(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = attached_domain(test, &s);

	s.bypass->refuse = true;
	KUNIT_EXPECT_EQ(test, s.group->ops->take_ownership(s.group, &s.dev->dev), 0);
	s.bypass->refuse = false;
	KUNIT_EXPECT_EQ(test, s.freeze->calls, 0);
	KUNIT_EXPECT_EQ(test, told_table(s.map), 0);
	KUNIT_EXPECT_NULL(test, s.group->tables[0]);
	detach(&s, domain);
}

static void T13_failed_kill_of_a_map_undoes_it(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = attached_domain(test, &s);

	/* The entry was empty, so nothing is lost but this mapping. */
	make_leaf(test, domain);
	s.kill->times = 2;
	KUNIT_ASSERT_EQ(test, iommu_map(domain, IOVA, HPA, PAGE_SIZE, RW, GFP_KERNEL), -EIO);
	KUNIT_EXPECT_EQ(test, s.freeze->calls, 0);
	KUNIT_EXPECT_EQ(test, iommu_iova_to_phys(domain, IOVA), 0);
	s.kill->times = 0;
	KUNIT_EXPECT_EQ(test, iommu_map(domain, IOVA, HPA, PAGE_SIZE, RW, GFP_KERNEL), 0);
}

/* New nodes are not forgotten because they could not be shown. */
static void T3_failed_kill_of_new_nodes(struct kunit *test)
{
	struct scene s = scene(test);
	struct iommu_domain *domain = attached_domain(test, &s);

	s.kill->refuse = true;
	KUNIT_ASSERT_EQ(test, iommu_map(domain, IOVA, HPA, PAGE_SIZE, RW, GFP_KERNEL), -EIO);
	s.kill->refuse = false;
	KUNIT_EXPECT_EQ(test, thaw(&s), 0);
	KUNIT_ASSERT_EQ(test, iommu_map(domain, IOVA, HPA, PAGE_SIZE, RW, GFP_KERNEL), 0);
	KUNIT_EXPECT_TRUE(test, kills_all(s.kill));
	KUNIT_ASSERT_EQ(test, iommu_map(domain, IOVA + PAGE_SIZE, HPA, PAGE_SIZE, RW,
					GFP_KERNEL), 0);
	KUNIT_EXPECT_FALSE(test, kills_all(s.kill));
}

static struct kunit_case stop_cases[] = {
	KUNIT_CASE(T13_failed_kill_of_an_attach_stops_the_PE),
	KUNIT_CASE(T23_replacement_that_cannot_be_taken_back),
	KUNIT_CASE(T13_host_is_not_stopped_for_ever),
	KUNIT_CASE(T23_detach_needs_no_bypass),
	KUNIT_CASE(T23_kept_table_outlives_its_domain),
	KUNIT_CASE(T23_kept_table_is_replaced),
	KUNIT_CASE(T13_failed_kill_stops_the_PE),
	KUNIT_CASE(T13_stopped_PE_goes_on_after_a_kill_only),
	KUNIT_CASE(T13_nobody_goes_on_before_the_kill_is_done),
	KUNIT_CASE(T13_kill_that_fails_meanwhile_is_not_mended),
	KUNIT_CASE(T13_stopped_PE_is_not_asked_to_forget_again),
	KUNIT_CASE(T13_number_of_a_stale_PE_is_not_used_again),
	KUNIT_CASE(T3_failed_kill_of_new_nodes),
	KUNIT_CASE(T13_failed_kill_of_a_map_undoes_it),
	{ }
};

static struct kunit_suite stop_suite = {
	.name = "pnv_domain_stop",
	.exit = domain_exit,
	.test_cases = stop_cases,
};

kunit_test_suite(stop_suite);

MODULE_DESCRIPTION("KUnit tests of paging domains where firmware refuses");
MODULE_LICENSE("GPL");
