// SPDX-License-Identifier: GPL-2.0
/*
 * Arguments of a container's calls: where they may lie, and what becomes of a call whose
 * result has no place to go.
 */
#include <linux/mm.h>
#include <linux/mman.h>
#include "../vfio.h"
#include "../spapr_tce.h"
#include "spapr_tce_fake.h"

static void create_without_a_place_for_its_result_makes_nothing(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct vfio_iommu_spapr_tce_create create = {
		.argsz = sizeof(create), .page_shift = SHIFT_2K, .levels = 1,
		.window_size = SECOND_SIZE,
	};
	unsigned long readable;

	fake_attach_all(test, 1);
	readable = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ,
				 MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, readable, 0);
	KUNIT_ASSERT_EQ(test, access_remote_vm(current->mm, readable, &create, sizeof(create),
					       FOLL_WRITE | FOLL_FORCE), sizeof(create));
	KUNIT_EXPECT_EQ(test,
			spapr_tce_iommu_driver.ioctl(fake->container, VFIO_IOMMU_SPAPR_TCE_CREATE,
						     readable),
			-EFAULT);
	fake_expect_no_window(test);
	KUNIT_EXPECT_EQ(test, fake->calls[FAKE_CREATE], 0);
	KUNIT_EXPECT_EQ(test, fake_charged(test), 0);
}

static void create_whose_result_is_lost_leaves_no_window(struct kunit *test)
{
	struct fake *fake = test->priv;
	u64 start;

	fake_attach_all(test, 2);
	KUNIT_ASSERT_EQ(test, fake_register(test), 0);
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, SZ_4K), 0);
	fake->args_go = SECOND_START;
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), -EFAULT);
	fake_expect_slots(test, 0, 1, NULL);
	KUNIT_ASSERT_NOT_NULL(test, fake_slot(test, 0, 0));
	KUNIT_EXPECT_EQ(test, fake_slot(test, 0, 0)->mapped, 1);
	KUNIT_EXPECT_EQ(test, fake->tables, 1);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE);
}

static void C6_create_whose_result_is_lost_leaves_the_default_window_due(struct kunit *test)
{
	struct fake *fake = test->priv;
	u64 start;

	fake_attach_all(test, 2);
	fake->args_go = SECOND_START;
	KUNIT_EXPECT_EQ(test, fake_create(test, SHIFT_2K, &start), -EFAULT);
	fake_expect_no_window(test);
	KUNIT_EXPECT_EQ(test, fake_charged(test), 0);
}

union any_arg {
	u32 argsz;
	struct vfio_iommu_spapr_tce_info info;
	struct vfio_iommu_type1_dma_map map;
	struct vfio_iommu_type1_dma_unmap unmap;
	struct vfio_iommu_spapr_register_memory reg;
	struct vfio_iommu_spapr_tce_create create;
	struct vfio_iommu_spapr_tce_remove remove;
	struct vfio_eeh_pe_op eeh;
};

/* In this order each can be repeated; what it returns says that the argument was read. */
static const struct sample {
	unsigned int cmd;
	unsigned int minsz;
	unsigned int size;
	long ret;
	union any_arg arg;
} samples[] = {
	{ VFIO_IOMMU_SPAPR_TCE_GET_INFO,
	  offsetofend(struct vfio_iommu_spapr_tce_info, dma32_window_size),
	  sizeof(struct vfio_iommu_spapr_tce_info), 0 },
	{ VFIO_IOMMU_SPAPR_REGISTER_MEMORY,
	  offsetofend(struct vfio_iommu_spapr_register_memory, size),
	  sizeof(struct vfio_iommu_spapr_register_memory), -EBUSY },
	{ VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY,
	  offsetofend(struct vfio_iommu_spapr_register_memory, size),
	  sizeof(struct vfio_iommu_spapr_register_memory), -EBUSY },
	{ VFIO_IOMMU_MAP_DMA, offsetofend(struct vfio_iommu_type1_dma_map, size),
	  sizeof(struct vfio_iommu_type1_dma_map), 0,
	  { .map = { .flags = VFIO_DMA_MAP_FLAG_READ, .iova = SZ_4K, .size = SZ_4K } } },
	{ VFIO_IOMMU_UNMAP_DMA, offsetofend(struct vfio_iommu_type1_dma_unmap, size),
	  sizeof(struct vfio_iommu_type1_dma_unmap), 0,
	  { .unmap = { .iova = SZ_4K, .size = SZ_4K } } },
	{ VFIO_IOMMU_SPAPR_TCE_CREATE,
	  offsetofend(struct vfio_iommu_spapr_tce_create, start_addr),
	  sizeof(struct vfio_iommu_spapr_tce_create), 0,
	  { .create = { .page_shift = SHIFT_2K, .window_size = SECOND_SIZE, .levels = 1 } } },
	{ VFIO_IOMMU_SPAPR_TCE_REMOVE,
	  offsetofend(struct vfio_iommu_spapr_tce_remove, start_addr),
	  sizeof(struct vfio_iommu_spapr_tce_remove), 0,
	  { .remove = { .start_addr = SECOND_START } } },
	{ VFIO_EEH_PE_OP, offsetofend(struct vfio_eeh_pe_op, op), sizeof(struct vfio_eeh_pe_op),
	  -ENODEV, { .eeh = { .op = VFIO_EEH_PE_ENABLE } } },
};

/* A call whose argument has @mapped bytes before memory ends, and says that it has @argsz. */
static long call_at_end(struct kunit *test, const struct sample *s, unsigned int mapped, u32 argsz)
{
	struct fake *fake = test->priv;
	union any_arg arg = s->arg;

	arg.argsz = argsz;
	if (s->cmd == VFIO_IOMMU_MAP_DMA)
		arg.map.vaddr = fake->area;
	if (s->cmd == VFIO_IOMMU_SPAPR_REGISTER_MEMORY ||
	    s->cmd == VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY) {
		arg.reg.vaddr = fake->area;
		arg.reg.size = AREA_PAGES * PAGE_SIZE;
	}
	return fake_call_at(fake, fake->args + PAGE_SIZE - mapped, s->cmd, &arg, mapped);
}

static void arguments_may_end_where_memory_ends(struct kunit *test)
{
	const struct sample *s;
	unsigned int i;

	fake_attach_all(test, 1);
	KUNIT_ASSERT_EQ(test, fake_register(test), 0);
	/* So that UNREGISTER is refused. */
	KUNIT_ASSERT_EQ(test, fake_map(test, 0, SZ_4K), 0);
	for (i = 0, s = samples; i < ARRAY_SIZE(samples); i++, s++)
		KUNIT_EXPECT_EQ_MSG(test, call_at_end(test, s, s->minsz, s->minsz), s->ret,
				    "least argument of call %u", i);
	for (i = 0, s = samples; i < ARRAY_SIZE(samples); i++, s++)
		KUNIT_EXPECT_EQ_MSG(test, call_at_end(test, s, s->size, s->size), s->ret,
				    "whole argument of call %u", i);
	for (i = 0, s = samples; i < ARRAY_SIZE(samples); i++, s++)
		KUNIT_EXPECT_EQ_MSG(test, call_at_end(test, s, s->size, U32_MAX), s->ret,
				    "argument from the future, of call %u", i);
}

static void arguments_that_memory_does_not_have_are_refused(struct kunit *test)
{
	const struct sample *s;
	struct fake *fake = test->priv;
	unsigned int i;

	fake_two_windows(test, 1);
	KUNIT_ASSERT_EQ(test, fake_map(test, SZ_4K, SZ_4K), 0);
	for (i = 0, s = samples; i < ARRAY_SIZE(samples); i++, s++) {
		KUNIT_EXPECT_EQ_MSG(test, call_at_end(test, s, s->minsz - 4, s->minsz), -EFAULT,
				    "call %u", i);
		KUNIT_EXPECT_EQ_MSG(test, call_at_end(test, s, s->minsz, s->minsz - 1), -EINVAL,
				    "call %u", i);
		if (s->size > s->minsz)
			KUNIT_EXPECT_EQ_MSG(test, call_at_end(test, s, s->minsz, s->size),
					    -EFAULT, "call %u", i);
	}
	KUNIT_EXPECT_EQ(test, fake_slot(test, 0, 0)->mapped, 1);
	KUNIT_EXPECT_EQ(test, fake->tables, 2);
	KUNIT_EXPECT_EQ(test, fake_charged(test), AREA_PAGES + DEFAULT_CHARGE + SECOND_CHARGE);
}

static struct kunit_case args_cases[] = {
	KUNIT_CASE(create_without_a_place_for_its_result_makes_nothing),
	KUNIT_CASE(create_whose_result_is_lost_leaves_no_window),
	KUNIT_CASE(C6_create_whose_result_is_lost_leaves_the_default_window_due),
	KUNIT_CASE(arguments_may_end_where_memory_ends),
	KUNIT_CASE(arguments_that_memory_does_not_have_are_refused),
	{ }
};

static struct kunit_suite args_suite = {
	.name = "spapr_tce_args",
	.init = fake_init,
	.exit = fake_exit,
	.test_cases = args_cases,
};

kunit_test_suite(args_suite);

MODULE_DESCRIPTION("KUnit tests of the arguments of sPAPR TCE containers");
MODULE_LICENSE("GPL");
