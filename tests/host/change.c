// SPDX-License-Identifier: GPL-2.0
/* Runs of old owners, and where the next TCE points: asm/iommu_tce.h. */
#include <string.h>
struct hlist_node { void *links[2]; };
#include "asm/iommu_tce.h"
#include "tap.h"

static void record(void)
{
	struct iommu_tce_change change;
	unsigned int i;
	int ok = 1;

	memset(&change, 0, sizeof(change));
	for (i = 0; i < 1000; i++)
		ok &= iommu_tce_record_old(&change, 0x10000000 + i * 65536ULL, 16);
	tap(ok && change.nr_runs == 1 && change.runs[0].n == 1000,
	    "consecutive_owners_make_one_run", "%u runs", change.nr_runs);

	for (i = 1; i < IOMMU_TCE_RUNS; i++)
		ok &= iommu_tce_record_old(&change, i * 0x100000000000ULL, 16);
	tap(ok && change.nr_runs == IOMMU_TCE_RUNS, "other_owners_make_new_runs", "%u", change.nr_runs);
	tap(!iommu_tce_record_old(&change, 0x4242000, 16) && change.nr_runs == IOMMU_TCE_RUNS,
	    "a_full_array_refuses", "%u", change.nr_runs);
	tap(iommu_tce_record_old(&change, change.runs[IOMMU_TCE_RUNS - 1].owner + 65536, 16),
	    "a_full_array_extends_its_last_run", "refused");

	iommu_tce_unrecord_old(&change);
	tap(change.nr_runs == IOMMU_TCE_RUNS && change.runs[IOMMU_TCE_RUNS - 1].n == 1,
	    "forgetting_shortens_the_run", "%lu", change.runs[IOMMU_TCE_RUNS - 1].n);
	iommu_tce_unrecord_old(&change);
	tap(change.nr_runs == IOMMU_TCE_RUNS - 1, "forgetting_removes_an_empty_run", "%u", change.nr_runs);
}

/* The end of a run that there is, and of none. */
static void end_run(void)
{
	struct iommu_tce_change change;

	memset(&change, 0, sizeof(change));
	iommu_tce_end_run(&change, 0x12340000, 16);
	tap(!change.nr_runs && !change.runs[0].n, "T18_no_run_to_end", "%lu", change.runs[0].n);
	change.nr_runs = 1;
	change.runs[0].owner = 0x12000000;
	iommu_tce_end_run(&change, 0x12340000, 16);
	tap(change.runs[0].n == 0x34, "a_run_ends_at_the_next_owner", "%lu", change.runs[0].n);
}

/* Every (IOMMU page, block) pair against plain addition. */
static void blocks(void)
{
	static const u64 hpas[] = { 0x40000000, 0x10000000, 0x70000000, 0x20000000 };
	struct iommu_tce_change change = { .perm = 3, .hpas = hpas };
	unsigned int page_shift, block_shift, bad = 0, n = 0;
	unsigned long offset, at, i;
	u64 want;

	for (block_shift = 12; block_shift <= 24; block_shift += 4)
		for (page_shift = 12; page_shift <= block_shift; page_shift += 4)
			for (offset = 0; offset < 1UL << block_shift; offset += 1UL << page_shift) {
				change.hpa_shift = block_shift;
				change.hpa_offset = offset;
				for (i = 0; offset + (i << page_shift) < 4UL << block_shift; i += 1 + i) {
					at = offset + (i << page_shift);
					want = hpas[at / (1UL << block_shift)] + at % (1UL << block_shift);
					bad += iommu_tce_new(&change, i, page_shift) != (want | 3);
					n++;
				}
			}
	tap(!bad && n > 1000, "TCEs_point_into_the_right_block", "%u of %u wrong", bad, n);
}

/* A list has an owner and a TCE for each entry. */
static void list(void)
{
	static const __u64 tces[] = { 0x40000003, 0x10000001 };
	static const __u64 items[] = { 0x7fff00010003, 0x7ffe00000001 };
	struct iommu_tce_change change = { .hpas = tces, .perm = 1, .hpa_shift = 16 };

	change.owner = 0x120000;
	tap(iommu_tce_owner(&change, 2, 16) == 0x140000, "owners_of_a_run_are_consecutive", "%llx",
	    iommu_tce_owner(&change, 2, 16));
	change.owners = items;
	tap(iommu_tce_owner(&change, 1, 16) == 0x7ffe00000000, "owners_of_a_list_are_its_own", "%llx",
	    iommu_tce_owner(&change, 1, 16));
	tap(iommu_tce_new(&change, 1, 16) == tces[1], "TCEs_of_a_list_are_its_own", "%llx",
	    iommu_tce_new(&change, 1, 16));
}

int main(void)
{
	record();
	end_run();
	blocks();
	list();
	return tap_end();
}
