// SPDX-License-Identifier: GPL-2.0
/*
 * Changes of TCEs in real mode: called with the MMU off, beside the same in virtual mode.
 *
 * What real mode refuses it must not have changed.  Whatever it has done must be what virtual
 * mode does in a table of its own.
 *
 * Most of it needs a PHB3, whose registers are written: kills, of a PE that no device has.  The
 * rest writes to memory in place of registers, which is for emulated machines.
 */
#include <linux/prandom.h>
#include <linux/preempt.h>
#include <asm/hw_irq.h>
#include <asm/iommu_tce_rm.h>
#include <asm/sections.h>
#include "pci-ioda-tce_kunit.h"
#include "../pci-ioda-tce-tree.h"
#include "pci-ioda-window_kunit.h"

/* A call with the MMU off: of iommu_tce_change_one_rm(), or for more of iommu_tce_change_rm(). */
struct rm_call {
	struct iommu_table *tbl;
	unsigned long entry;
	unsigned int n;
	const u64 *items;
	struct mm_struct *mm;
	int ret;
	unsigned long msr;
};

static void do_call(struct rm_call *call)
{
	call->msr = mfmsr();
	if (call->n == 1)
		call->ret = iommu_tce_change_one_rm(call->tbl, call->mm, call->entry,
						    call->items ? *call->items : 0);
	else
		call->ret = iommu_tce_change_rm(call->tbl, call->mm, call->entry, call->n,
						call->items);
}

/*
 * Call a function (r3: its first instruction) with an argument (r4), with MSR_IR, MSR_DR and MSR_RI
 * cleared: they are the bits 0x32.  Real mode does not look at the topmost bits of an address,
 * so nothing moves.
 */
void pnv_tce_rm_call(unsigned long fn, struct rm_call *call);
asm("	.pushsection .text\n"
"	.globl	pnv_tce_rm_call\n"
"pnv_tce_rm_call:\n"
"	mflr	0\n"
"	std	0, 16(1)\n"
"	stdu	1, -64(1)\n"
"	std	31, 56(1)\n"
"	mfmsr	31\n"
"	mr	12, 3\n"
"	mr	3, 4\n"
"	li	5, 0x32\n"
"	andc	6, 31, 5\n"
"	bcl	20, 31, 1f\n"
"1:	mflr	7\n"
"	addi	7, 7, 2f - 1b\n"
"	mtsrr0	7\n"
"	mtsrr1	6\n"
"	rfid\n"
"2:	mtctr	12\n"
"	bctrl\n"
"	bcl	20, 31, 3f\n"
"3:	mflr	7\n"
"	addi	7, 7, 4f - 3b\n"
"	mtsrr0	7\n"
"	mtsrr1	31\n"
"	rfid\n"
"4:	ld	31, 56(1)\n"
"	addi	1, 1, 64\n"
"	ld	0, 16(1)\n"
"	mtlr	0\n"
"	blr\n"
"	.popsection\n");

static int change_rm(struct kunit *test, struct iommu_table *tbl, unsigned long index,
		     unsigned int n, const u64 *items)
{
	struct rm_call call = {
		.tbl = tbl, .entry = tbl->it_offset + index, .n = n, .items = items,
		.mm = current->mm, .ret = 1,
	};
	unsigned long flags;

	local_irq_save(flags);
	hard_irq_disable();
	pnv_tce_rm_call((unsigned long)dereference_kernel_function_descriptor(do_call), &call);
	local_irq_restore(flags);
	KUNIT_EXPECT_EQ(test, call.msr & (MSR_IR | MSR_DR), 0);
	return call.ret;
}

static int no_kill(struct iommu_table *tbl, unsigned long index, unsigned long npages)
{
	return 0;
}

static struct iommu_table_ops rm_ops = {
	.tce_kill = no_kill,
	TCE_TABLE_OPS,
	.begin_rm = pnv_tce_begin_rm,
	.commit_rm = pnv_tce_commit_rm,
	.cancel_rm = pnv_tce_cancel_rm,
};

/* Two tables of the same shape: one for real mode, one for virtual mode. */
struct twins {
	struct pnv_ioda_pe pe;
	struct iommu_table *rm;
	struct iommu_table *virt;
	unsigned long ua;
	struct mm_iommu_region *region;
	u64 items[IOMMU_TCE_RM_MAX];
};

static void unlink_end(void *arg)
{
	struct twins *twins = arg;

	pnv_pci_unlink_table_and_group(twins->rm, &twins->pe.table_group);
}

static struct twins *twins_begin(struct kunit *test, unsigned int levels)
{
	struct pnv_ioda_pe *pe = container_of(group_of(free_device(test)), struct pnv_ioda_pe,
					      table_group);
	struct twins *twins = kunit_kzalloc(test, sizeof(*twins), GFP_KERNEL);

	if (pe->phb->model != PNV_PHB_MODEL_PHB3)
		kunit_skip(test, "needs a PHB3");
	KUNIT_ASSERT_NOT_NULL(test, twins);
	twins->pe.phb = pe->phb;
	twins->pe.pe_number = 0xfe;
	twins->rm = ops_table(test, &rm_ops, PAGE_SHIFT, 1ULL << 32, levels);
	twins->virt = ops_table(test, &rm_ops, PAGE_SHIFT, 1ULL << 32, levels);
	KUNIT_ASSERT_EQ(test, pnv_pci_link_table_and_group(NUMA_NO_NODE, 0, twins->rm,
							   &twins->pe.table_group), 0);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, unlink_end, twins), 0);
	twins->ua = area(test);
	twins->region = region(test, twins->ua, AREA_PAGES);
	return twins;
}

static void twins_end(struct kunit *test, struct twins *twins)
{
	unmap(twins->rm, 0, twins->rm->it_size);
	unmap(twins->virt, 0, twins->virt->it_size);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&twins->region->mapped), 1);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, twins->region), 0);
}

static int map_virtual(const struct twins *twins, struct iommu_table *tbl, unsigned long index,
		       unsigned int n)
{
	const struct iommu_tce_target target = { tbl, tbl->it_offset + index, 0 };
	const struct iommu_tce_list list = { current->mm, n, twins->items };

	return iommu_tce_change_list(&target, 1, &list);
}

static u64 item(const struct twins *twins, unsigned int page, unsigned int perms)
{
	return perms ? (twins->ua + page * PAGE_SIZE) | perms : 0;
}

static void expect_alike(struct kunit *test, const struct twins *twins, unsigned long index,
			 unsigned int n)
{
	unsigned long i;

	for (i = index; i < index + n; i++) {
		KUNIT_EXPECT_EQ(test, pnv_tce_get(twins->rm, twins->rm->it_offset + i),
				pnv_tce_get(twins->virt, twins->virt->it_offset + i));
		KUNIT_EXPECT_EQ(test, owner_of(twins->rm, i), owner_of(twins->virt, i));
	}
}

/* What the counts of the only region should be, by both tables. */
static void expect_counts(struct kunit *test, const struct twins *twins)
{
	struct census c = census(twins->rm);

	KUNIT_EXPECT_EQ(test, c.wrong, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&twins->region->mapped),
			1 + c.tces + census(twins->virt).tces);
}

static void random_changes(struct kunit *test, unsigned int levels)
{
	struct twins *twins = twins_begin(test, levels);
	const unsigned long span = 2 * twins->rm->it_level_size;
	unsigned int round, i, n, done = 0, refused = 0;
	struct rnd_state rnd;
	unsigned long index;
	bool clear;

	prandom_seed_state(&rnd, 8 + levels);
	for (round = 0; round < 3000; round++) {
		n = round % 2 ? 1 : 1 + prandom_u32_state(&rnd) % IOMMU_TCE_RM_MAX;
		index = prandom_u32_state(&rnd) % (min(span, twins->rm->it_size) - n);
		clear = !(prandom_u32_state(&rnd) % 4);
		for (i = 0; i < n; i++)
			twins->items[i] = clear ? 0 : item(twins,
							   prandom_u32_state(&rnd) % AREA_PAGES,
							   prandom_u32_state(&rnd) % (TCE_RW + 1));
		switch (change_rm(test, twins->rm, index, n, clear ? NULL : twins->items)) {
		case 0:
			done++;
			break;
		case -EAGAIN:
			refused++;
			KUNIT_EXPECT_EQ(test, map_virtual(twins, twins->rm, index, n), 0);
			break;
		default:
			KUNIT_FAIL(test, "a kill failed");
		}
		KUNIT_EXPECT_EQ(test, map_virtual(twins, twins->virt, index, n), 0);
		expect_alike(test, twins, index, n);
	}
	expect_counts(test, twins);
	/* Missing leaves, and those that end in the middle of a change, are for virtual mode. */
	KUNIT_EXPECT_GT(test, done, 2500);
	if (levels > 1)
		KUNIT_EXPECT_GT(test, refused, 0);
	twins_end(test, twins);
}

static void I9_changes_are_those_of_virtual_mode(struct kunit *test)
{
	random_changes(test, 1);
}

static void I9_changes_are_those_of_virtual_mode_in_levels(struct kunit *test)
{
	random_changes(test, 2);
}

/* Map entries 0 and 1, in a table of which nothing else may be touched. */
static struct twins *mapped_begin(struct kunit *test, unsigned int levels)
{
	struct twins *twins = twins_begin(test, levels);

	twins->items[0] = item(twins, 0, TCE_RW);
	twins->items[1] = item(twins, 1, TCE_PCI_READ);
	KUNIT_EXPECT_EQ(test, map_virtual(twins, twins->rm, 0, 2), 0);
	KUNIT_EXPECT_EQ(test, map_virtual(twins, twins->virt, 0, 2), 0);
	return twins;
}

/* Real mode must refuse this, and leave all as it was. */
static void expect_refusal(struct kunit *test, const struct twins *twins, unsigned long index,
			   unsigned int n, const u64 *items)
{
	long mapped = atomic_long_read(&twins->region->mapped);

	KUNIT_EXPECT_EQ(test, change_rm(test, twins->rm, index, n, items), -EAGAIN);
	expect_alike(test, twins, 0, 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&twins->region->mapped), mapped);
	KUNIT_EXPECT_EQ(test, census(twins->rm).tces, 2);
}

/* Both ways to change entry 0 and 1 work, so what is refused is so for the reason that it has. */
static void expect_changes(struct kunit *test, const struct twins *twins)
{
	KUNIT_EXPECT_EQ(test, change_rm(test, twins->rm, 0, 2, twins->items), 0);
	expect_alike(test, twins, 0, 2);
	expect_counts(test, twins);
}

static void refuse_both(struct kunit *test, struct twins *twins)
{
	unsigned int n;

	for (n = 1; n <= 2; n++) {
		expect_refusal(test, twins, 0, n, twins->items);
		expect_refusal(test, twins, 0, n, NULL);
	}
}

static void a_lock_that_is_held_is_refused(struct kunit *test)
{
	struct twins *twins = mapped_begin(test, 1);
	spinlock_t *sync = &twins->pe.phb->tce_sync_lock, *leaf = tce_lock(twins->rm->it_tree, 0);

	spin_lock(sync);
	refuse_both(test, twins);
	spin_unlock(sync);
	spin_lock(leaf);
	refuse_both(test, twins);
	spin_unlock(leaf);
	expect_changes(test, twins);
	twins_end(test, twins);
}

static void a_closed_or_broken_table_is_refused(struct kunit *test)
{
	struct twins *twins = mapped_begin(test, 1);

	pnv_tce_close(twins->rm);
	refuse_both(test, twins);
	pnv_tce_open(twins->rm);
	twins->rm->it_broken = true;
	refuse_both(test, twins);
	twins->rm->it_broken = false;
	expect_changes(test, twins);
	twins_end(test, twins);
}

static void a_leaf_that_is_missing_or_ends_is_refused(struct kunit *test)
{
	struct twins *twins = mapped_begin(test, 2);
	unsigned long leaf = twins->rm->it_level_size;

	expect_refusal(test, twins, leaf, 1, twins->items);
	expect_refusal(test, twins, leaf, 1, NULL);
	expect_refusal(test, twins, leaf - 1, 2, twins->items);
	expect_refusal(test, twins, leaf - 1, 2, NULL);
	expect_changes(test, twins);
	twins_end(test, twins);
}

static void memory_that_cannot_be_mapped_is_refused(struct kunit *test)
{
	struct twins *twins = mapped_begin(test, 1);
	u64 good[2] = { twins->items[0], twins->items[1] }, bad[2] = { good[0], good[1] };

	/* The first of two is held when the second one fails. */
	bad[1] = (twins->ua + AREA_PAGES * PAGE_SIZE) | TCE_RW;
	expect_refusal(test, twins, 0, 2, bad);
	bad[1] = (twins->ua + 512) | TCE_RW;
	expect_refusal(test, twins, 0, 2, bad);
	expect_changes(test, twins);
	twins_end(test, twins);
}

/* The last count of an orphan queues work. */
static void I8_old_memory_of_an_orphan_is_refused(struct kunit *test)
{
	struct twins *twins = mapped_begin(test, 1);
	struct mm_iommu_region *again;

	KUNIT_EXPECT_TRUE(test, mm_iommu_abandon_start(current->mm, twins->region));
	refuse_both(test, twins);
	mm_iommu_abandon_grace();
	mm_iommu_abandon_finish(current->mm, twins->region);
	refuse_both(test, twins);
	again = region(test, twins->ua, AREA_PAGES);
	KUNIT_EXPECT_PTR_EQ(test, again, twins->region);
	expect_changes(test, twins);
	twins_end(test, twins);
}

/* What the new TCE points to is all right, and its count is given back. */
static void I8_orphan_that_registered_memory_would_replace_is_refused(struct kunit *test)
{
	struct twins *twins = mapped_begin(test, 1);
	struct mm_iommu_region *other = region(test, area(test), 2);
	const u64 items[] = { other->ua | TCE_RW, (other->ua + PAGE_SIZE) | TCE_RW };
	unsigned int n;

	KUNIT_EXPECT_TRUE(test, mm_iommu_abandon_start(current->mm, twins->region));
	mm_iommu_abandon_grace();
	mm_iommu_abandon_finish(current->mm, twins->region);
	for (n = 1; n <= 2; n++) {
		expect_refusal(test, twins, 0, n, items);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&other->mapped), 1);
	}
	KUNIT_EXPECT_PTR_EQ(test, region(test, twins->ua, AREA_PAGES), twins->region);
	KUNIT_EXPECT_EQ(test, change_rm(test, twins->rm, 0, 1, items), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&other->mapped), 2);
	KUNIT_EXPECT_EQ(test, change_rm(test, twins->rm, 0, 1, NULL), 0);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, other), 0);
	twins_end(test, twins);
}

static void more_regions_than_there_is_room_for_are_refused(struct kunit *test)
{
	struct twins *twins = twins_begin(test, 1);
	struct mm_iommu_region *regions[8];
	u64 items[8];
	unsigned int i;
	unsigned long ua = area(test);

	for (i = 0; i < 8; i++) {
		regions[i] = region(test, ua + 2 * i * PAGE_SIZE, 1);
		items[i] = regions[i]->ua | TCE_RW;
	}
	/* New ones; old ones, which virtual mode has mapped. */
	KUNIT_EXPECT_EQ(test, change_rm(test, twins->rm, 0, 8, items), -EAGAIN);
	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test, map(twins->rm, i, 1, regions[i]->ua), 0);
	KUNIT_EXPECT_EQ(test, change_rm(test, twins->rm, 0, 8, NULL), -EAGAIN);
	KUNIT_EXPECT_EQ(test, census(twins->rm).tces, 8);
	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test, atomic_long_read(&regions[i]->mapped), 2);
	KUNIT_EXPECT_EQ(test, change_rm(test, twins->rm, 0, 4, NULL), 0);
	KUNIT_EXPECT_EQ(test, change_rm(test, twins->rm, 4, 4, NULL), 0);
	for (i = 0; i < 8; i++)
		KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, regions[i]), 0);
	twins_end(test, twins);
}

/* An entry by itself has a way of its own, on which the old region is mostly the new one. */
static void one_entry_goes_from_region_to_region(struct kunit *test)
{
	struct twins *twins = twins_begin(test, 1);
	const unsigned long ua = area(test);
	struct mm_iommu_region *a = region(test, ua, 2), *b = region(test, ua + 2 * PAGE_SIZE, 1);
	const struct {
		u64 item;
		long a, b;
	} steps[] = {
		{ ua | TCE_RW, 1, 0 }, { (ua + PAGE_SIZE) | TCE_PCI_WRITE, 1, 0 },
		{ b->ua | TCE_PCI_READ, 0, 1 }, { b->ua | TCE_RW, 0, 1 },
		{ (ua + PAGE_SIZE) | TCE_RW, 1, 0 }, { 0, 0, 0 }, { 0, 0, 0 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		twins->items[0] = steps[i].item;
		KUNIT_EXPECT_EQ(test, change_rm(test, twins->rm, 3, 1, &steps[i].item), 0);
		KUNIT_EXPECT_EQ(test, map_virtual(twins, twins->virt, 3, 1), 0);
		expect_alike(test, twins, 3, 1);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&a->mapped), 1 + 2 * steps[i].a);
		KUNIT_EXPECT_EQ(test, atomic_long_read(&b->mapped), 1 + 2 * steps[i].b);
	}
	/* The first entry of an empty table, in memory that cannot be mapped: nothing is held. */
	twins->items[0] = (ua + 3 * PAGE_SIZE) | TCE_RW;
	KUNIT_EXPECT_EQ(test, change_rm(test, twins->rm, 3, 1, twins->items), -EAGAIN);
	twins->items[0] = (ua + 512) | TCE_RW;
	KUNIT_EXPECT_EQ(test, change_rm(test, twins->rm, 3, 1, twins->items), -EAGAIN);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, a), 0);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, b), 0);
	twins_end(test, twins);
}

/* Memory in pieces that are smaller than an IOMMU page cannot be mapped. */
static void larger_iommu_pages_are_refused(struct kunit *test)
{
	struct twins *twins = twins_begin(test, 1);
	const unsigned int shift = PAGE_SHIFT + 1;
	struct iommu_table *large = ops_table(test, &rm_ops, shift, 1ULL << 32, 1);
	u64 items[] = { ALIGN(twins->ua, 1UL << shift) | TCE_RW, 0 };
	struct pnv_ioda_pe pe = { .phb = twins->pe.phb, .pe_number = 0xfd };

	KUNIT_ASSERT_EQ(test, pnv_pci_link_table_and_group(NUMA_NO_NODE, 0, large,
							   &pe.table_group), 0);
	KUNIT_EXPECT_EQ(test, change_rm(test, large, 0, 1, items), -EAGAIN);
	KUNIT_EXPECT_EQ(test, change_rm(test, large, 0, 2, items), -EAGAIN);
	KUNIT_EXPECT_EQ(test, census(large).tces, 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&twins->region->mapped), 1);
	KUNIT_EXPECT_EQ(test, change_rm(test, large, 0, 1, NULL), 0);
	pnv_pci_unlink_table_and_group(large, &pe.table_group);
	twins_end(test, twins);
}

/* Registered memory of three regions, two pages each, and what a list of eight has of it. */
static const u8 mixed[][8] = {
	{ 0, 0, 1, 1, 2, 3, 0, 1 }, { 2, 1, 1, 3, 0, 2, 2, 1 }, { 3, 3, 0, 1, 0, 1, 0, 0 },
};

static void runs_in_several_regions_are_counted(struct kunit *test)
{
	struct twins *twins = twins_begin(test, 1);
	const unsigned long ua = area(test);
	struct mm_iommu_region *regions[3];
	unsigned int round, i, n[4];

	for (i = 0; i < 3; i++)
		regions[i] = region(test, ua + 3 * i * PAGE_SIZE, 2);
	for (round = 0; round < ARRAY_SIZE(mixed); round++) {
		memset(n, 0, sizeof(n));
		for (i = 0; i < 8; i++) {
			n[mixed[round][i]]++;
			twins->items[i] = mixed[round][i] == 3 ? 0 :
				(regions[mixed[round][i]]->ua + i % 2 * PAGE_SIZE) | TCE_RW;
		}
		KUNIT_EXPECT_EQ(test, change_rm(test, twins->rm, 0, 8, twins->items), 0);
		KUNIT_EXPECT_EQ(test, map_virtual(twins, twins->virt, 0, 8), 0);
		expect_alike(test, twins, 0, 8);
		/* All that is held before the last one is given back. */
		twins->items[8] = (ua + 2 * PAGE_SIZE) | TCE_RW;
		KUNIT_EXPECT_EQ(test, change_rm(test, twins->rm, 0, 9, twins->items), -EAGAIN);
		for (i = 0; i < 3; i++)
			KUNIT_EXPECT_EQ(test, atomic_long_read(&regions[i]->mapped), 1 + 2 * n[i]);
	}
	KUNIT_EXPECT_EQ(test, change_rm(test, twins->rm, 0, 8, NULL), 0);
	KUNIT_EXPECT_EQ(test, unmap(twins->virt, 0, 8), 0);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, regions[i]), 0);
	twins_end(test, twins);
}

/* ---- with a PHB that is a page of memory, on any machine ---- */

/*
 * Its registers keep what is stored to them: the last kill, and that a sync has begun, which
 * never ends.
 */
struct fake {
	struct pnv_phb phb;
	struct pnv_ioda_pe pe;
	__be64 *regs;
};

static struct fake *fake_phb(struct kunit *test)
{
	struct fake *fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, fake);
	fake->regs = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fake->regs);
	fake->phb.model = PNV_PHB_MODEL_PHB3;
	fake->phb.regs = (void __iomem *)fake->regs;
	fake->phb.regs_phys = __pa(fake->regs);
	spin_lock_init(&fake->phb.tce_sync_lock);
	fake->pe.phb = &fake->phb;
	fake->pe.pe_number = 0x7e;
	return fake;
}

static u64 reg(const struct fake *fake, unsigned long offset)
{
	return be64_to_cpu(READ_ONCE(fake->regs[offset / 8]));
}

static void link_fake(struct kunit *test, struct iommu_table *tbl, struct fake *fake)
{
	KUNIT_EXPECT_EQ(test, pnv_pci_link_table_and_group(NUMA_NO_NODE, 0, tbl,
							   &fake->pe.table_group), 0);
}

/* A table with four entries that are mapped, for groups at such PHBs. */
struct alone {
	struct iommu_table *tbl;
	struct mm_iommu_region *region;
};

static struct alone alone_begin(struct kunit *test)
{
	struct alone a = { ops_table(test, &rm_ops, PAGE_SHIFT, 1ULL << 32, 1) };
	unsigned long ua = area(test);

	a.region = region(test, ua, 4);
	KUNIT_EXPECT_EQ(test, map(a.tbl, 0, 4, ua), 0);
	return a;
}

static void alone_end(struct kunit *test, struct alone *a, long lost)
{
	unmap(a->tbl, 0, 4);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&a->region->mapped), 1 + lost);
	if (lost)
		mm_iommu_drop(a->region, lost);
	KUNIT_EXPECT_EQ(test, mm_iommu_unregister(current->mm, a->region), 0);
}

static void expect_four(struct kunit *test, const struct alone *a)
{
	KUNIT_EXPECT_EQ(test, change_rm(test, a->tbl, 0, 1, NULL), -EAGAIN);
	KUNIT_EXPECT_EQ(test, change_rm(test, a->tbl, 0, 2, NULL), -EAGAIN);
	KUNIT_EXPECT_EQ(test, census(a->tbl).tces, 4);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&a->region->mapped), 5);
}

/* Kills by stores are for PHB3 only. */
static void a_phb_without_kills_by_stores_is_refused(struct kunit *test)
{
	struct fake *fake = fake_phb(test);
	struct alone a = alone_begin(test);

	/* No group; a PHB of another kind; one whose registers are not mapped. */
	expect_four(test, &a);
	link_fake(test, a.tbl, fake);
	fake->phb.model = PNV_PHB_MODEL_UNKNOWN;
	expect_four(test, &a);
	fake->phb.model = PNV_PHB_MODEL_PHB3;
	fake->phb.regs = NULL;
	expect_four(test, &a);
	KUNIT_EXPECT_EQ(test, reg(fake, PHB3_TCE_KILL), 0);
	pnv_pci_unlink_table_and_group(a.tbl, &fake->pe.table_group);
	alone_end(test, &a, 0);
}

/* The lock of one PHB is held for a kill, so all groups must be at it, from the first moment on. */
static void I1_table_of_groups_at_two_phbs_is_refused(struct kunit *test)
{
	struct fake *one = fake_phb(test), *two = fake_phb(test);
	struct alone a = alone_begin(test);

	link_fake(test, a.tbl, one);
	link_fake(test, a.tbl, two);
	expect_four(test, &a);
	pnv_pci_unlink_table_and_group(a.tbl, &one->pe.table_group);
	link_fake(test, a.tbl, one);
	expect_four(test, &a);
	KUNIT_EXPECT_EQ(test, reg(one, PHB3_TCE_KILL) | reg(two, PHB3_TCE_KILL), 0);
	pnv_pci_unlink_table_and_group(a.tbl, &one->pe.table_group);

	/* One more that is about to come ends it. */
	pnv_tce_join_rm(a.tbl, &two->pe);
	KUNIT_EXPECT_FALSE(test, a.tbl->it_no_rm);
	pnv_tce_join_rm(a.tbl, &one->pe);
	KUNIT_EXPECT_TRUE(test, a.tbl->it_no_rm);
	expect_four(test, &a);
	pnv_pci_unlink_table_and_group(a.tbl, &two->pe.table_group);
	alone_end(test, &a, 0);
}

/* What the PHB is told; and when it does not answer, all old counts stay. */
static void T13_kill_that_fails_breaks_the_table(struct kunit *test)
{
	struct fake *fake = fake_phb(test);
	struct alone a = alone_begin(test);
	const u64 at = a.tbl->it_offset << PAGE_SHIFT;

	link_fake(test, a.tbl, fake);
	KUNIT_EXPECT_EQ(test, change_rm(test, a.tbl, 0, 2, NULL), -EIO);
	KUNIT_EXPECT_EQ(test, reg(fake, PHB3_TCE_KILL),
			PHB3_TCE_KILL_INVAL_ONE | 0x7e | (at + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, reg(fake, PHB3_DMA_READ_SYNC), PHB3_DMA_READ_SYNC_START);
	KUNIT_EXPECT_EQ(test, census(a.tbl).tces, 2);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&a.region->mapped), 5);
	KUNIT_EXPECT_TRUE(test, iommu_tce_is_broken(a.tbl));
	KUNIT_EXPECT_EQ(test, change_rm(test, a.tbl, 2, 2, NULL), -EAGAIN);

	/* Nodes that are loose are forgotten with the whole PE. */
	a.tbl->it_broken = false;
	fake->phb.tce_sync_late = false;
	atomic_inc(&a.tbl->it_loose);
	KUNIT_EXPECT_EQ(test, change_rm(test, a.tbl, 2, 1, NULL), -EIO);
	atomic_dec(&a.tbl->it_loose);
	KUNIT_EXPECT_EQ(test, reg(fake, PHB3_TCE_KILL), PHB3_TCE_KILL_INVAL_PE | 0x7e);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&a.region->mapped), 5);
	/* What was empty, and is, needs no kill. */
	a.tbl->it_broken = false;
	fake->phb.tce_sync_late = false;
	KUNIT_EXPECT_EQ(test, change_rm(test, a.tbl, 0, 3, NULL), 0);
	pnv_pci_unlink_table_and_group(a.tbl, &fake->pe.table_group);
	alone_end(test, &a, 3);
}

/* The new TCEs are there, and count like the old ones, which the hardware may use yet. */
static void T13_kill_that_fails_keeps_old_and_new(struct kunit *test)
{
	struct fake *fake = fake_phb(test);
	struct alone a = alone_begin(test);
	const u64 items[] = { (a.region->ua + 2 * PAGE_SIZE) | TCE_RW, a.region->ua | TCE_RW };

	link_fake(test, a.tbl, fake);
	KUNIT_EXPECT_EQ(test, change_rm(test, a.tbl, 0, 2, items), -EIO);
	KUNIT_EXPECT_EQ(test, owner_of(a.tbl, 0), a.region->ua + 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, owner_of(a.tbl, 1), a.region->ua);
	KUNIT_EXPECT_EQ(test, census(a.tbl).tces, 4);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&a.region->mapped), 7);
	/* The same for one entry, whose old TCE is of the same region. */
	a.tbl->it_broken = false;
	fake->phb.tce_sync_late = false;
	KUNIT_EXPECT_EQ(test, change_rm(test, a.tbl, 2, 1, items + 1), -EIO);
	KUNIT_EXPECT_EQ(test, owner_of(a.tbl, 2), a.region->ua);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&a.region->mapped), 8);
	pnv_pci_unlink_table_and_group(a.tbl, &fake->pe.table_group);
	alone_end(test, &a, 3);
}

/* Another PE at the PHB of @fake. */
static struct fake *second_pe(struct kunit *test, struct fake *fake)
{
	struct fake *other = fake_phb(test);

	other->pe.phb = &fake->phb;
	other->pe.pe_number = 0x7f;
	return other;
}

/* The last of them is what the register shows. */
static void T13_each_PE_of_the_table_is_killed(struct kunit *test)
{
	struct fake *fake = fake_phb(test), *other = second_pe(test, fake);
	struct alone a = alone_begin(test);
	struct iommu_table_group_link *last;

	link_fake(test, a.tbl, fake);
	link_fake(test, a.tbl, other);
	last = list_last_entry(&a.tbl->it_group_list, struct iommu_table_group_link, next);
	KUNIT_EXPECT_FALSE(test, list_is_first(&last->next, &a.tbl->it_group_list));
	KUNIT_EXPECT_EQ(test, change_rm(test, a.tbl, 0, 1, NULL), -EIO);
	KUNIT_EXPECT_EQ(test, reg(fake, PHB3_TCE_KILL),
			PHB3_TCE_KILL_INVAL_ONE | a.tbl->it_offset << PAGE_SHIFT |
			(last->table_group == &other->pe.table_group ? 0x7f : 0x7e));
	pnv_pci_unlink_table_and_group(a.tbl, &fake->pe.table_group);
	pnv_pci_unlink_table_and_group(a.tbl, &other->pe.table_group);
	alone_end(test, &a, 1);
}

/* A sync that did not end in time ends later. Who comes next must not take that for his own. */
static void T13_sync_begins_when_the_late_one_has_ended(struct kunit *test)
{
	struct fake *fake = fake_phb(test), *other = second_pe(test, fake);
	struct alone a = alone_begin(test), b = alone_begin(test);
	__be64 *sync = &fake->regs[PHB3_DMA_READ_SYNC / 8];

	link_fake(test, a.tbl, fake);
	link_fake(test, b.tbl, other);
	KUNIT_EXPECT_EQ(test, change_rm(test, a.tbl, 0, 1, NULL), -EIO);
	KUNIT_EXPECT_EQ(test, reg(fake, PHB3_DMA_READ_SYNC), PHB3_DMA_READ_SYNC_START);
	/* Real mode waits for nobody. */
	WRITE_ONCE(*sync, 0);
	KUNIT_EXPECT_EQ(test, change_rm(test, b.tbl, 0, 1, NULL), -EAGAIN);
	b.tbl->it_broken = true;	/* nothing to log */
	KUNIT_EXPECT_EQ(test, pnv_pci_ioda2_tce_kill(b.tbl, b.tbl->it_offset, 1), -EIO);
	KUNIT_EXPECT_EQ(test, reg(fake, PHB3_DMA_READ_SYNC), 0);
	/* It ends, and the next one begins, which does not end either. */
	WRITE_ONCE(*sync, cpu_to_be64(PHB3_DMA_READ_SYNC_COMPLETE));
	KUNIT_EXPECT_EQ(test, pnv_pci_ioda2_tce_kill(b.tbl, b.tbl->it_offset, 1), -EIO);
	KUNIT_EXPECT_EQ(test, reg(fake, PHB3_DMA_READ_SYNC), PHB3_DMA_READ_SYNC_START);
	pnv_pci_unlink_table_and_group(a.tbl, &fake->pe.table_group);
	pnv_pci_unlink_table_and_group(b.tbl, &other->pe.table_group);
	alone_end(test, &a, 1);
	alone_end(test, &b, 0);
}

static struct kunit_case rm_cases[] = {
	KUNIT_CASE(I9_changes_are_those_of_virtual_mode),
	KUNIT_CASE(I9_changes_are_those_of_virtual_mode_in_levels),
	KUNIT_CASE(a_lock_that_is_held_is_refused),
	KUNIT_CASE(a_closed_or_broken_table_is_refused),
	KUNIT_CASE(a_leaf_that_is_missing_or_ends_is_refused),
	KUNIT_CASE(memory_that_cannot_be_mapped_is_refused),
	KUNIT_CASE(I8_old_memory_of_an_orphan_is_refused),
	KUNIT_CASE(I8_orphan_that_registered_memory_would_replace_is_refused),
	KUNIT_CASE(more_regions_than_there_is_room_for_are_refused),
	KUNIT_CASE(runs_in_several_regions_are_counted),
	KUNIT_CASE(one_entry_goes_from_region_to_region),
	KUNIT_CASE(larger_iommu_pages_are_refused),
	KUNIT_CASE(a_phb_without_kills_by_stores_is_refused),
	KUNIT_CASE(I1_table_of_groups_at_two_phbs_is_refused),
	KUNIT_CASE(T13_kill_that_fails_breaks_the_table),
	KUNIT_CASE(T13_kill_that_fails_keeps_old_and_new),
	KUNIT_CASE(T13_each_PE_of_the_table_is_killed),
	KUNIT_CASE(T13_sync_begins_when_the_late_one_has_ended),
	{}
};

static struct kunit_suite rm_suite = {
	.name = "pnv_tce_rm",
	.init = memory_init,
	.exit = memory_exit,
	.test_cases = rm_cases,
};

kunit_test_suite(rm_suite);

MODULE_DESCRIPTION("Tests of changes of TCEs in real mode");
MODULE_LICENSE("GPL");
