// SPDX-License-Identifier: GPL-2.0
/*
 * The geometry of TCE tables against a calculation that goes the slow way: it
 * tries level sizes one after the other and counts levels by dividing.
 */
#include <string.h>
#include "pci-ioda-tce.h"
#include "tap.h"

typedef unsigned __int128 u128;

struct reference {
	int valid;
	unsigned int bits;
	u128 level_bytes;
	u128 table_bytes;
};

static struct reference reference(unsigned int page_shift, __u64 size, unsigned int levels)
{
	struct reference ref = { 0 };
	u128 entries, reach, tables;
	unsigned int i;

	if (levels == 0 || levels > 5 || page_shift < 12 || page_shift > 34)
		return ref;
	for (i = 0; i < 64 && size != (__u64)1 << i; i++)
		;
	if (i == 64 || i < page_shift)
		return ref;
	entries = (u128)1 << (i - page_shift);

	/* The smallest level, 4 KiB at least, with which the table reaches the end. */
	for (ref.bits = 9;; ref.bits++) {
		reach = 1;
		for (i = 0; i < levels; i++)
			reach <<= ref.bits;
		if (reach >= entries)
			break;
	}
	if (reach << page_shift >= (u128)1 << 55)
		return ref;

	ref.valid = 1;
	ref.level_bytes = (u128)8 << ref.bits;
	tables = entries;
	for (i = 0; i < levels; i++) {
		tables = (tables + ((u128)1 << ref.bits) - 1) >> ref.bits;
		ref.table_bytes += tables * ref.level_bytes * 2;
	}
	return ref;
}

static const __s64 off_by[] = { 0, 1, -1, 4096, 12345 };

static void sweep(void)
{
	unsigned int page_shift, levels, size_shift, i, n = 0, accepted = 0;
	struct pnv_tce_geometry geo;
	struct reference ref;
	const char *bad = NULL;
	__u64 size = 0;
	int valid;

	for (page_shift = 0; page_shift <= 70 && !bad; page_shift++)
		for (levels = 0; levels <= 7 && !bad; levels++)
			for (size_shift = 0; size_shift < 64 && !bad; size_shift++)
				for (i = 0; i < sizeof(off_by) / sizeof(off_by[0]) && !bad; i++) {
					size = ((__u64)1 << size_shift) + off_by[i];
					memset(&geo, 0xa5, sizeof(geo));
					valid = pnv_tce_geometry(page_shift, size, levels, &geo);
					ref = reference(page_shift, size, levels);
					n++;
					accepted += valid;
					if (valid != ref.valid)
						bad = "accepted";
					else if (valid && geo.level_bits != ref.bits)
						bad = "level_bits";
					else if (valid && pnv_tce_level_bytes(&geo) != ref.level_bytes)
						bad = "level_bytes";
					else if (valid && pnv_tce_table_bytes(&geo) != ref.table_bytes)
						bad = "table_bytes";
				}
	tap(!bad, "T8_geometry_agrees_with_the_reference", "%s: shift %u levels %u size %#llx",
	    bad, page_shift - 1, levels - 1, (unsigned long long)size);
	tap(n > 100000 && accepted > 500, "geometry_sweep_is_not_empty", "%u, %u", n, accepted);
}

static void refused(void)
{
	struct pnv_tce_geometry geo;

	tap(!pnv_tce_geometry(16, 0, 1, &geo), "T8_window_of_size_0_is_refused", "accepted");
	tap(!pnv_tce_geometry(64, 1ULL << 40, 1, &geo), "T8_page_shift_of_64_is_refused", "accepted");
	tap(!pnv_tce_geometry(80, 1ULL << 40, 1, &geo), "T8_page_shift_of_80_is_refused", "accepted");
	tap(!pnv_tce_geometry(16, 3ULL << 30, 1, &geo), "T8_odd_window_size_is_refused", "accepted");
	tap(!pnv_tce_geometry(24, 1ULL << 23, 1, &geo), "T8_window_below_a_page_is_refused", "accepted");
	tap(!pnv_tce_geometry(16, 1ULL << 40, 6, &geo), "six_levels_are_refused", "accepted");
	tap(!pnv_tce_geometry(12, 1ULL << 55, 1, &geo) && !pnv_tce_geometry(16, 1ULL << 54, 3, &geo),
	    "T15_windows_of_55_bits_are_refused", "accepted");
	tap(!pnv_tce_geometry(12, 1ULL << 31, 5, &geo), "T15_five_levels_of_4K_are_refused", "accepted");
	tap(pnv_tce_geometry(12, 1ULL << 52, 4, &geo) && geo.level_bits == 10,
	    "T15_four_levels_reach_4_PiB", "%u", geo.level_bits);
	tap(pnv_tce_geometry(24, 1ULL << 29, 1, &geo) && geo.entries == 32,
	    "T8_a_few_entries_are_not_enlarged", "%llu", (unsigned long long)geo.entries);
	tap(pnv_tce_geometry(34, 1ULL << 44, 1, &geo) && geo.entries == 1024,
	    "T8_16G_pages_work", "%llu", (unsigned long long)geo.entries);
}

/*
 * What the kernel charged before: the same levels, but none smaller than a kernel page.
 * 0 where it had no such table.
 */
static u128 charged_before(unsigned int kernel_page_shift, unsigned int page_shift,
			   unsigned int size_shift, unsigned int levels)
{
	unsigned int bits = (size_shift - page_shift + levels - 1) / levels, i;
	u128 n = (u128)1 << (size_shift - page_shift), bytes = 0;

	if (bits < kernel_page_shift - 3)
		bits = kernel_page_shift - 3;
	if (bits * levels + page_shift >= 55)
		return 0;
	for (i = 0; i < levels; i++) {
		n = (n + ((u128)1 << bits) - 1) >> bits;
		bytes += n * 2 * 8 << bits;
	}
	return bytes;
}

static void charges(unsigned int kernel_page_shift)
{
	unsigned int page_shift, size_shift, levels, n = 0, more = 0;
	struct pnv_tce_geometry geo;
	u128 charge, before;

	for (page_shift = 12; page_shift <= 34; page_shift++)
		for (size_shift = page_shift; size_shift < 60; size_shift++)
			for (levels = 1; levels <= 5; levels++) {
				before = charged_before(kernel_page_shift, page_shift, size_shift, levels);
				if (!before || !pnv_tce_geometry(page_shift, 1ULL << size_shift, levels, &geo))
					continue;
				charge = pnv_tce_charge(&geo, kernel_page_shift);
				n++;
				more += charge > before;
			}
	tap(!more && n > 1000, kernel_page_shift == 12 ? "I11_charge_is_at_most_what_it_was_4K" :
	    "I11_charge_is_at_most_what_it_was_64K", "more for %u of %u tables", more, n);
}

/* Every index has one way down; leaving a subtree leads to the next one. */
static void walk(void)
{
	static const struct { unsigned int page_shift, size_shift, levels; } shapes[] = {
		{ 12, 31, 1 }, { 12, 31, 2 }, { 16, 46, 3 }, { 16, 46, 2 }, { 12, 48, 4 }, { 21, 50, 2 },
	};
	struct pnv_tce_geometry geo;
	unsigned int i, level;
	__u64 index, rebuilt, next;
	int ok = 1;

	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		if (!pnv_tce_geometry(shapes[i].page_shift, 1ULL << shapes[i].size_shift,
				      shapes[i].levels, &geo)) {
			ok = 0;
			continue;
		}
		for (index = 0; index < geo.entries; index += 1 + index / 7) {
			rebuilt = 0;
			for (level = geo.levels; level--;)
				rebuilt = rebuilt << geo.level_bits | pnv_tce_slot(&geo, index, level);
			ok &= rebuilt == index;
			for (level = 1; level < geo.levels; level++) {
				next = pnv_tce_next(&geo, index, level);
				ok &= next > index && next - index <= 1ULL << level * geo.level_bits;
				ok &= !(next & ((1ULL << level * geo.level_bits) - 1));
			}
		}
	}
	tap(ok, "T6_slots_and_next_agree", "an index is not where its slots say");
}

/*
 * A guest with 16 GiB at 0 and 16 GiB in the 128 GiB window at 0x244000000000,
 * 64K pages: a flat table for all of it, and the leaves that the memory needs.
 */
static void sparse_guest(void)
{
	__u64 top = 0x244000000000ULL + 0x2000000000ULL, flat = (top >> 16) * 8;
	__u64 leaves = ((0x400000000ULL + 0x400000000ULL) >> 16) * 8;
	struct pnv_tce_geometry geo;

	tap(flat >> 20 == 4656, "sparse_guest_flat_table", "%llu MB",
	    (unsigned long long)flat >> 20);
	tap(leaves >> 20 == 4, "sparse_guest_populated_leaves", "%llu MB",
	    (unsigned long long)leaves >> 20);
	tap(pnv_tce_geometry(16, 1ULL << 46, 3, &geo) && pnv_tce_level_bytes(&geo) == 8192,
	    "sparse_guest_three_levels_of_8K", "%llu",
	    (unsigned long long)pnv_tce_level_bytes(&geo));
}

int main(void)
{
	sweep();
	charges(12);
	charges(16);
	refused();
	walk();
	sparse_guest();
	return tap_end();
}
