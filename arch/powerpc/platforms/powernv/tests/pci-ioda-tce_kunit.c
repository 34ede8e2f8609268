// SPDX-License-Identifier: GPL-2.0
/*
 * TCE tables: which there can be, what they cost, what an entry looks like, and what
 * one change does.
 *
 * Tables are in no window here, so no hardware walks them. The names of cases
 * carry the defect or invariant they stand for.
 */
#include <linux/gfp.h>
#include "../pci-ioda-tce.h"
#include "pci-ioda-tce_kunit.h"

static struct iommu_table_ops test_ops = {
	TCE_TABLE_OPS,
};

static struct iommu_table *table(struct kunit *test, u32 page_shift, u64 size, u32 levels)
{
	return ops_table(test, &test_ops, page_shift, size, levels);
}

/* ---- geometry ---- */

/* A table laid out by trying and counting. */
struct reference {
	bool valid;
	unsigned int bits;
	u64 entries;
	u64 bytes;
};

/* How far tables of @levels levels of 1 << @bits slots reach, 1 << 60 for all too far. */
static u64 reach_of(unsigned int bits, u32 levels)
{
	unsigned int i;
	u64 reach = 1;

	for (i = 0; i < bits * levels && reach < BIT_ULL(60); i++)
		reach *= 2;
	return reach;
}

/* Bytes of all levels, and as many again, when each has room for @slots words. */
static u64 bytes_of(u64 entries, u32 levels, u64 slots)
{
	u64 bytes = 0;

	for (; levels; levels--) {
		entries = (entries + slots - 1) / slots;
		bytes += 2 * 8 * slots * entries;
	}
	return bytes;
}

static struct reference reference(u32 page_shift, u64 size, u32 levels)
{
	struct reference ref = { };
	u64 page = 1;
	unsigned int i;

	if (!levels || levels > 5 || page_shift < 12 || page_shift > 34)
		return ref;
	for (i = 0; i < page_shift; i++)
		page *= 2;
	/* A power of two is what halves down to one page. */
	for (ref.entries = 1; size > page; size /= 2, ref.entries *= 2)
		if (size % 2)
			return ref;
	if (size != page)
		return ref;
	for (ref.bits = 9; reach_of(ref.bits, levels) < ref.entries; ref.bits++)
		;
	ref.valid = reach_of(ref.bits, levels) <= BIT_ULL(54) / page;
	/* The charge: levels of less than a kernel page must not make it larger. */
	ref.bytes = min(bytes_of(ref.entries, levels, 1ULL << ref.bits),
			bytes_of(ref.entries, levels, 1ULL << max(ref.bits, PAGE_SHIFT - 3U)));
	return ref;
}

/* A real table of this shape, if its root is small. */
static unsigned long wrong_table(u32 page_shift, u64 size, u32 levels, const struct reference *ref)
{
	struct iommu_table tbl = { };
	unsigned long wrong;
	int ret;

	if (ref->bits > 13)
		return 0;
	ret = try_table(&tbl, page_shift, size, levels);
	if (!ref->valid)
		return ret != -EINVAL || tbl.it_tree;
	wrong = ret || tbl.it_page_shift != page_shift || tbl.it_size != ref->entries ||
		tbl.it_level_size != BIT_ULL(ref->bits) || tbl.it_indirect_levels != levels - 1 ||
		tbl.it_offset != BUS_OFFSET >> page_shift ||
		tbl.it_allocated_size != PAGE_ALIGN(ref->bytes) ||
		tbl.it_base & (tbl.it_level_size * 8 - 1) || !tbl.it_userspace != (levels > 1);
	pnv_pci_ioda2_table_free_pages(&tbl);
	return wrong;
}

static void T8_tables_agree_with_a_slow_reference(struct kunit *test)
{
	static const int off_by[] = { 0, 1, -1 };
	unsigned long n = 0, valid = 0, wrong = 0, bad;
	u32 page_shift, levels, shift, i;
	struct reference ref;
	u64 size;

	for (page_shift = 0; page_shift <= 66; page_shift++)
		for (levels = 0; levels <= 6; levels++)
			for (shift = 0; shift < 64 * ARRAY_SIZE(off_by); shift++) {
				i = shift / 64;
				size = BIT_ULL(shift % 64) + off_by[i];
				ref = reference(page_shift, size, levels);
				bad = pnv_pci_ioda2_get_table_size(page_shift, size, levels) !=
				      (ref.valid ? PAGE_ALIGN(ref.bytes) : 0);
				if (page_shift >= 11 && page_shift <= 35)
					bad += wrong_table(page_shift, size, levels, &ref);
				if (bad && !wrong)
					kunit_info(test, "page shift %u, %llx bytes, %u levels",
						   page_shift, size, levels);
				wrong += bad;
				valid += ref.valid;
				n++;
				cond_resched();
			}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_GT(test, valid, 2000);
	KUNIT_EXPECT_GT(test, n, 20 * valid);
}

/*
 * What the kernel charged before levels could be smaller than a page: levels with slots
 * for an equal part of the index, one page at least, twice.  0 where it had no such table.
 */
static u64 charged_before(u32 page_shift, u64 entries, u32 levels)
{
	unsigned int bits;

	for (bits = PAGE_SHIFT - 3; reach_of(bits, levels) < entries; bits++)
		;
	return bits * levels + page_shift < 55 ? bytes_of(entries, levels, 1ULL << bits) : 0;
}

static void I11_charge_is_at_most_what_it_was(struct kunit *test)
{
	u32 page_shift, levels, shift, n = 0, more = 0;
	u64 charge, before;

	for (page_shift = 12; page_shift <= 34; page_shift++)
		for (levels = 1; levels <= 5; levels++)
			for (shift = page_shift; shift < 60; shift++) {
				charge = pnv_pci_ioda2_get_table_size(page_shift, BIT_ULL(shift),
								      levels);
				before = charged_before(page_shift, BIT_ULL(shift - page_shift),
							levels);
				n += charge && before;
				if (!before || charge <= before)
					continue;
				if (!more++)
					kunit_info(test, "2^%u in 2^%u, %u levels: %llu, not %llu",
						   shift, page_shift, levels, charge, before);
			}
	KUNIT_EXPECT_EQ(test, more, 0);
	KUNIT_EXPECT_GT(test, n, 1000);
}

static void T8_impossible_tables_are_refused(struct kunit *test)
{
	struct iommu_table tbl = { };

	KUNIT_EXPECT_EQ(test, try_table(&tbl, 16, 0, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, try_table(&tbl, 16, 1 << 20, 0), -EINVAL);
	KUNIT_EXPECT_EQ(test, try_table(&tbl, 16, 1 << 20, 5), -EINVAL);
	KUNIT_EXPECT_EQ(test, try_table(&tbl, 12, 1ULL << 55, 2), -EINVAL);
	KUNIT_EXPECT_EQ(test, try_table(&tbl, 12, 1ULL << 48, 1), -ENOMEM);
	KUNIT_EXPECT_NULL(test, tbl.it_tree);
	KUNIT_EXPECT_EQ(test, pnv_pci_ioda2_get_table_size(64, 1ULL << 40, 1), 0);
	KUNIT_EXPECT_EQ(test, pnv_pci_ioda2_get_table_size(16, 1ULL << 40, 0), 0);
}

/* The largest window of each page size and number of levels, and the next one. */
static void T15_windows_end_where_hardware_stops_decoding(struct kunit *test)
{
	static const struct {
		u32 page_shift, levels, window_shift;
	} largest[] = {
		{ 12, 1, 54 }, { 12, 2, 54 }, { 12, 3, 54 }, { 12, 4, 52 },
		{ 16, 1, 54 }, { 16, 2, 54 }, { 16, 3, 52 }, { 16, 4, 52 },
		{ 21, 1, 54 }, { 21, 2, 53 }, { 21, 3, 54 },
		{ 24, 1, 54 }, { 24, 2, 54 }, { 24, 3, 54 },
		{ 30, 1, 54 }, { 30, 2, 54 },
	};
	static const u32 none[][2] = { { 12, 5 }, { 16, 5 }, { 21, 4 }, { 24, 4 }, { 30, 3 } };
	unsigned int i, shift;

	for (i = 0; i < ARRAY_SIZE(largest); i++)
		for (shift = largest[i].page_shift; shift < 64; shift++)
			KUNIT_EXPECT_EQ_MSG(test, shift <= largest[i].window_shift,
					    pnv_pci_ioda2_get_table_size(largest[i].page_shift,
									 BIT_ULL(shift),
									 largest[i].levels) != 0,
					    "2^%u in 2^%u, %u levels", shift,
					    largest[i].page_shift, largest[i].levels);
	for (i = 0; i < ARRAY_SIZE(none); i++)
		KUNIT_EXPECT_EQ(test, pnv_pci_ioda2_get_table_size(none[i][0], SZ_1G, none[i][1]),
				0);
}

/*
 * A guest with 16G at 0 and 16G of the 128G window at 0x244000000000, in 64K pages: a
 * TCE for every page up to there, against those for the memory it has.
 */
#define GPU_WINDOW	0x244000000000ULL

static void sparse_guest_costs_what_it_maps(struct kunit *test)
{
	u64 flat = (GPU_WINDOW + 0x2000000000ULL) / SZ_64K * 8;
	u64 mapped = (0x400000000ULL + 0x400000000ULL) / SZ_64K * 8;
	struct pnv_tce_geometry geo;

	KUNIT_EXPECT_EQ(test, flat / SZ_1M, 4656);
	KUNIT_EXPECT_EQ(test, mapped / SZ_1M, 4);
	/* The flat table has to be a power of two, the other one the levels on the way. */
	KUNIT_ASSERT_TRUE(test, pnv_tce_geometry(16, 1ULL << 46, 1, &geo));
	KUNIT_EXPECT_EQ(test, pnv_tce_level_bytes(&geo), 2 * 4096ULL * SZ_1M);
	KUNIT_ASSERT_TRUE(test, pnv_tce_geometry(16, 1ULL << 46, 3, &geo));
	KUNIT_EXPECT_EQ(test, pnv_tce_level_bytes(&geo), SZ_8K);
	KUNIT_EXPECT_EQ(test, mapped / pnv_tce_level_bytes(&geo), 512);
}

static void sparse_guest_has_few_levels(struct kunit *test)
{
	struct iommu_table *tbl = table(test, 16, 1ULL << 46, 3);
	struct census c;

	fill(test, tbl, 0, SZ_64M / SZ_64K, 0x100000000);
	fill(test, tbl, GPU_WINDOW / SZ_64K, SZ_64M / SZ_64K, 0x200000000);
	c = census(tbl);
	KUNIT_EXPECT_EQ(test, c.tces, 2048);
	KUNIT_EXPECT_EQ(test, c.wrong, 0);
	KUNIT_EXPECT_EQ(test, c.leaves, 2);
	KUNIT_EXPECT_EQ(test, c.levels, 5);
	/* with the shadow */
	KUNIT_EXPECT_LE(test, 2 * 8 * tbl->it_level_size * c.levels, SZ_128K);
}

static void only_the_first_level_exists_at_first(struct kunit *test)
{
	struct iommu_table *tbl = table(test, 16, 1ULL << 40, 3);

	KUNIT_EXPECT_EQ(test, tbl->it_size, 1UL << 24);
	KUNIT_EXPECT_EQ(test, tbl->it_indirect_levels, 2);
	KUNIT_EXPECT_EQ(test, census(tbl).levels, 1);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, tbl->it_offset + 12345), 0);
	KUNIT_EXPECT_EQ(test, change(test, tbl, 0, tbl->it_size, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, census(tbl).levels, 1);
}

/* ---- entries ---- */

/* What the hardware reads: big-endian, the address, a write permission implies reading. */
static void entries_have_the_format_of_the_hardware(struct kunit *test)
{
	struct iommu_table *tbl = table(test, 16, 1 << 30, 1);
	__be64 *tces = (__be64 *)tbl->it_base;

	change(test, tbl, 5, 2, 0x120000, TCE_PCI_WRITE);
	KUNIT_EXPECT_EQ(test, be64_to_cpu(tces[5]), 0x120000 | TCE_RW);
	KUNIT_EXPECT_EQ(test, be64_to_cpu(tces[6]), 0x130000 | TCE_RW);
	KUNIT_EXPECT_EQ(test, be64_to_cpu(tces[7]), 0);
	change(test, tbl, 6, 1, 0x470000, TCE_PCI_READ);
	KUNIT_EXPECT_EQ(test, be64_to_cpu(tces[6]), 0x470000 | TCE_PCI_READ);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, tbl->it_offset + 6), 0x470000 | TCE_PCI_READ);
	KUNIT_EXPECT_EQ(test, change(test, tbl, 0, tbl->it_size, 0, 0), 2);
	KUNIT_EXPECT_EQ(test, be64_to_cpu(tces[5]), 0);
}

/* The DMA API's operations on a table without owners. */
static void entries_of_the_DMA_API(struct kunit *test)
{
	const struct iommu_table_shape shape = { IOMMU_TABLE_KERNEL, 12, 2, 1ULL << 32 };
	struct iommu_table *tbl = pnv_pci_table_alloc(NUMA_NO_NODE);
	unsigned long page = get_zeroed_page(GFP_KERNEL), i;

	KUNIT_ASSERT_NOT_NULL(test, tbl);
	tbl->it_ops = &test_ops;
	KUNIT_ASSERT_EQ(test, set_up_table(tbl, 0, &shape), 0);
	KUNIT_EXPECT_EQ(test, pnv_tce_build(tbl, 1020, 16, page, DMA_FROM_DEVICE, 0), 0);
	for (i = 0; i < 16; i++)
		KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, 1020 + i),
				(__pa(page) + i * SZ_4K) | TCE_RW);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, 1019), 0);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, 1036), 0);
	pnv_tce_free(tbl, 1000, 25);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, 1024), 0);
	KUNIT_EXPECT_NE(test, pnv_tce_get(tbl, 1025), 0);
	pnv_tce_free(tbl, 0, tbl->it_size);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, 1035), 0);
	free_page(page);
	iommu_tce_table_put(tbl);
}

/* A window of less than a leaf: the rest of the leaf is not part of it. */
static void T11_window_ends_before_its_leaf(struct kunit *test)
{
	struct iommu_table *tbl = table(test, 24, 1ULL << 29, 2);
	unsigned long last = (tbl->it_offset + 31) << 24;

	KUNIT_ASSERT_EQ(test, tbl->it_size, 32);
	KUNIT_EXPECT_EQ(test, tbl->it_level_size, 512);
	KUNIT_EXPECT_EQ(test, iommu_tce_check_ioba(24, tbl->it_offset, tbl->it_size, last, 1), 0);
	KUNIT_EXPECT_EQ(test, iommu_tce_check_ioba(24, tbl->it_offset, tbl->it_size, last, 2),
			-EINVAL);
	fill(test, tbl, 0, 32, 0x40000000);
	KUNIT_EXPECT_EQ(test, census(tbl).tces, 32);
	KUNIT_EXPECT_EQ(test, change(test, tbl, 0, tbl->it_size, 0, 0), 32);
	KUNIT_EXPECT_EQ(test, census(tbl).tces, 0);
}

/* Every range around a window of eight entries. */
static void T1_all_pages_of_a_range_count(struct kunit *test)
{
	unsigned long first = 16, size = 8, from, n;
	int want;

	for (from = first - 2; from < first + size + 2; from++)
		for (n = 1; n < size + 4; n++) {
			want = from >= first && from + n <= first + size ? 0 : -EINVAL;
			KUNIT_EXPECT_EQ_MSG(test, iommu_tce_check_ioba(16, first, size, from << 16,
								       n),
					    want, "%lu pages from %lu on", n, from);
		}
	KUNIT_EXPECT_EQ(test, iommu_tce_check_ioba(16, first, size, first << 16, -1UL), -EINVAL);
	KUNIT_EXPECT_EQ(test, iommu_tce_check_ioba(16, first, size, (first << 16) + 1, 1),
			-EINVAL);
}

/* ---- changes ---- */

/* Clearing from an unaligned start over missing levels reaches every entry. */
static void T6_clearing_skips_nothing(struct kunit *test)
{
	struct iommu_table *tbl = table(test, 16, 1ULL << 40, 3);
	static const unsigned long at[] = { 0, 1, 255, 256, 65535, 65536, 1 << 20, (1 << 24) - 1 };
	unsigned int i, n = 0;

	for (i = 0; i < ARRAY_SIZE(at); i++)
		fill(test, tbl, at[i], 1, (u64)i << 20);
	KUNIT_EXPECT_EQ(test, change(test, tbl, 3, 250, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, change(test, tbl, 3, 253, 0, 0), 1);
	for (i = 0; i < ARRAY_SIZE(at); i++)
		n += !!pnv_tce_get(tbl, tbl->it_offset + at[i]);
	KUNIT_EXPECT_EQ(test, n, ARRAY_SIZE(at) - 1);
	KUNIT_EXPECT_EQ(test, change(test, tbl, 1, tbl->it_size - 1, 0, 0), n - 1);
	KUNIT_EXPECT_NE(test, pnv_tce_get(tbl, tbl->it_offset), 0);
}

/*
 * Windows with little in them.  On the way to a populated leaf and back there is a call
 * or two at each height, and one for each 8192 slots of a level that are looked at.
 */
static void I10_clearing_a_sparse_window_takes_few_calls(struct kunit *test)
{
	static const struct shape shapes[] = {
		{ 16, 36, 1 }, { 16, 42, 2 }, { 16, 48, 2 }, { 16, 46, 3 }, { 12, 48, 4 },
	};
	const struct shape *shape;
	struct change_stats stats;
	unsigned long places, calls, i;
	struct iommu_table *tbl;

	for (shape = shapes; shape < shapes + ARRAY_SIZE(shapes); shape++) {
		tbl = table(test, shape->page_shift, BIT_ULL(shape->window_shift), shape->levels);
		calls = shape->levels == 1 ? 1 : DIV_ROUND_UP(tbl->it_level_size, 8192);
		stats = change_all(test, tbl, 0, tbl->it_size, 0, 0);
		KUNIT_EXPECT_EQ(test, stats.calls, calls);
		for (places = 0, i = 3; i < tbl->it_size; i = i * 5 / 2 + 7, places++)
			fill(test, tbl, i, 1, 0x100000);
		stats = change_all(test, tbl, 1, tbl->it_size - 1, 0, 0);
		KUNIT_EXPECT_EQ(test, stats.old, places);
		KUNIT_EXPECT_LE(test, stats.calls, (2 * shape->levels + calls) * (places + 1));
		KUNIT_EXPECT_EQ(test, census(tbl).tces, 0);
	}
}

/* @whole from entry @index on: all of it, or nothing. */
static void try_whole(struct kunit *test, struct iommu_table *tbl, unsigned long index,
		      unsigned long n, unsigned long perm, int want)
{
	u64 hpa = 0x340000, before = pnv_tce_get(tbl, tbl->it_offset + index);
	struct iommu_tce_change c = {
		.entry = tbl->it_offset + index, .left = n, .perm = perm, .hpas = &hpa,
		.hpa_shift = 40, .owner = 0x70000, .whole = true,
	};
	struct census old = census(tbl);
	unsigned long i;

	KUNIT_EXPECT_EQ(test, pnv_tce_exchange(tbl, &c), want);
	KUNIT_EXPECT_EQ(test, c.left, want ? n : 0);
	KUNIT_EXPECT_EQ(test, c.entry, tbl->it_offset + index + (want ? 0 : n));
	KUNIT_EXPECT_EQ(test, census(tbl).levels, old.levels);
	if (want) {
		KUNIT_EXPECT_EQ(test, c.nr_runs, 0);
		KUNIT_EXPECT_EQ(test, census(tbl).tces, old.tces);
		KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, tbl->it_offset + index), before);
		return;
	}
	for (i = 0; i < n; i++) {
		KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, tbl->it_offset + index + i),
				perm ? hpa + (i << 16) + TCE_RW : 0);
		KUNIT_EXPECT_EQ(test, owner_of(tbl, index + i), perm ? 0x70000 + (i << 16) : 0);
	}
	KUNIT_EXPECT_EQ(test, census(tbl).wrong, 0);
}

static void whole_changes_are_made_at_once_or_not_at_all(struct kunit *test)
{
	struct iommu_table *flat = table(test, 16, 1ULL << 32, 1);
	struct iommu_table *tbl = table(test, 16, 1ULL << 40, 2);
	unsigned long leaf = tbl->it_level_size;

	KUNIT_ASSERT_EQ(test, leaf, 4096);
	try_whole(test, tbl, 5, 1, TCE_RW, -EAGAIN);
	try_whole(test, tbl, leaf - 8, IOMMU_TCE_RUNS, TCE_RW, -EAGAIN);
	fill(test, tbl, leaf - 1, 2, 0x1000000);
	try_whole(test, tbl, leaf - 1, 2, TCE_RW, -EAGAIN);
	try_whole(test, tbl, leaf - 1, 2, 0, -EAGAIN);
	try_whole(test, tbl, leaf - 8, 9, TCE_RW, -EAGAIN);
	try_whole(test, tbl, 2 * leaf - 1, 2, TCE_RW, -EAGAIN);
	try_whole(test, tbl, 2 * leaf, 1, TCE_RW, -EAGAIN);

	try_whole(test, tbl, leaf - 1, 1, TCE_RW, 0);
	try_whole(test, tbl, leaf - IOMMU_TCE_RUNS, IOMMU_TCE_RUNS, TCE_RW, 0);
	try_whole(test, tbl, leaf, IOMMU_TCE_RUNS, TCE_RW, 0);
	try_whole(test, tbl, leaf, IOMMU_TCE_RUNS, 0, 0);

	/* A single level is cut into pieces that are no leaves. */
	try_whole(test, flat, 8192 - 8, 8, TCE_RW, 0);
	try_whole(test, flat, 8192, 8, TCE_RW, 0);
	try_whole(test, flat, 8192 - 1, 2, TCE_RW, -EAGAIN);
	try_whole(test, flat, 8192 - 1, 1, 0, 0);
}

/* New TCEs in order, old owners that make a run each: as much as there is room for. */
static void changes_stop_where_old_owners_have_no_room(struct kunit *test)
{
	struct iommu_table *tbl = table(test, 16, 1 << 30, 2);
	u64 hpa = 0x340000;
	struct iommu_tce_change c = {
		.entry = tbl->it_offset, .left = IOMMU_TCE_RUNS + 5, .hpas = &hpa, .hpa_shift = 40,
	};
	unsigned long i;

	for (i = 0; i < IOMMU_TCE_RUNS + 5; i++)
		fill(test, tbl, i, 1, 0x100000000ULL * (i + 1));
	c.perm = TCE_RW;
	KUNIT_EXPECT_EQ(test, pnv_tce_exchange(tbl, &c), 0);
	KUNIT_EXPECT_EQ(test, c.left, 5);
	KUNIT_EXPECT_EQ(test, c.nr_runs, IOMMU_TCE_RUNS);
	for (i = 0; i < IOMMU_TCE_RUNS; i++) {
		KUNIT_EXPECT_EQ(test, c.runs[i].owner, 0x100000000ULL * (i + 1));
		KUNIT_EXPECT_EQ(test, c.runs[i].n, 1);
	}
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, c.entry - 1),
			(hpa + ((IOMMU_TCE_RUNS - 1) << 16)) | TCE_RW);
	KUNIT_EXPECT_EQ(test, pnv_tce_get(tbl, c.entry),
			(0x100000000ULL * (IOMMU_TCE_RUNS + 1)) | TCE_RW);
	KUNIT_EXPECT_EQ(test, census(tbl).tces, IOMMU_TCE_RUNS + 5);
	KUNIT_EXPECT_EQ(test, census(tbl).wrong, 0);
}

static void K5_closed_table_takes_nothing_new(struct kunit *test)
{
	struct iommu_table *tbl = table(test, 16, 1 << 30, 2);
	u64 hpas[1] = { 0 };
	struct iommu_tce_change c = {
		.entry = tbl->it_offset, .left = 1, .perm = TCE_RW, .hpas = hpas, .hpa_shift = 40,
	};

	fill(test, tbl, 0, 4, 0x10000);
	pnv_tce_close(tbl);
	KUNIT_EXPECT_EQ(test, tbl->it_ops->exchange(tbl, &c), -ENODEV);
	KUNIT_EXPECT_EQ(test, c.left, 1);
	KUNIT_EXPECT_EQ(test, change(test, tbl, 0, tbl->it_size, 0, 0), 4);
}

static struct kunit_case tce_test_cases[] = {
	KUNIT_CASE_SLOW(T8_tables_agree_with_a_slow_reference),
	KUNIT_CASE(I11_charge_is_at_most_what_it_was),
	KUNIT_CASE(T8_impossible_tables_are_refused),
	KUNIT_CASE(T15_windows_end_where_hardware_stops_decoding),
	KUNIT_CASE(sparse_guest_costs_what_it_maps),
	KUNIT_CASE(sparse_guest_has_few_levels),
	KUNIT_CASE(only_the_first_level_exists_at_first),
	KUNIT_CASE(entries_have_the_format_of_the_hardware),
	KUNIT_CASE(entries_of_the_DMA_API),
	KUNIT_CASE(T11_window_ends_before_its_leaf),
	KUNIT_CASE(T1_all_pages_of_a_range_count),
	KUNIT_CASE(T6_clearing_skips_nothing),
	KUNIT_CASE(I10_clearing_a_sparse_window_takes_few_calls),
	KUNIT_CASE(whole_changes_are_made_at_once_or_not_at_all),
	KUNIT_CASE(changes_stop_where_old_owners_have_no_room),
	KUNIT_CASE(K5_closed_table_takes_nothing_new),
	{}
};

static struct kunit_suite tce_test_suite = {
	.name = "pnv_tce",
	.test_cases = tce_test_cases,
};

kunit_test_suite(tce_test_suite);

MODULE_DESCRIPTION("KUnit tests of powernv TCE tables");
MODULE_LICENSE("GPL");
