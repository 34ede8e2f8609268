// SPDX-License-Identifier: GPL-2.0
/*
 * Hypercalls of a guest in real mode, which only POWER8 has: which of them are done there, none on
 * other processors, and that they give the same as in virtual mode. What they do is tested by the
 * other programs, whose calls go the same way.
 */
#include <endian.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <sys/auxv.h>

#include "kvm_fixture.h"

#define PARAMETER	"/sys/module/kvm_spapr_tce/parameters/realmode"
#define MOST		32	/* entries that real mode takes */

static bool write_parameter(const char *value)
{
	int fd = open(PARAMETER, O_WRONLY);
	bool good = fd >= 0 && write(fd, value, 1) == 1;

	if (fd >= 0)
		close(fd);
	return good;
}

FIXTURE(rm)
{
	struct guest g;
	bool real;		/* hypercalls arrive in real mode on this processor */
	long done;
	long too_hard;
};

FIXTURE_VARIANT(rm)
{
	const char *realmode;
	bool linked;
};

FIXTURE_VARIANT_ADD(rm, on) { "Y", true };
FIXTURE_VARIANT_ADD(rm, on_emulated) { "Y", false };
FIXTURE_VARIANT_ADD(rm, off) { "N", true };

FIXTURE_SETUP(rm)
{
	struct guest *g = &self->g;
	const char *why = guest_begin(g, 1), *platform = (const char *)getauxval(AT_PLATFORM);

	self->real = platform && !strncmp(platform, "power8", 6);
	if (!why && access(PARAMETER, W_OK))
		why = "this kernel does no hypercalls in real mode";
	if (why)
		SKIP(return, "%s", why);
	ASSERT_TRUE(write_parameter(variant->realmode));
	ASSERT_EQ(0, guest_table(g, SHIFT_64K, variant->linked ? SHIFT_64K : 0));
	if (variant->linked)
		ASSERT_EQ(0, guest_add_and_set(g));
	/* The page of the view is made in virtual mode. */
	ASSERT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 0), tce_of(g, 0)));
	self->done = vm_statistic("tce_rm_done");
	self->too_hard = vm_statistic("tce_rm_too_hard");
	ASSERT_GE(self->done, 0);
	ASSERT_GE(self->too_hard, 0);
}

FIXTURE_TEARDOWN(rm)
{
	write_parameter("Y");
	EXPECT_TRUE(guest_end(&self->g));
}

/* Since the last time, real mode has done, and left to virtual mode, so many calls. */
#define expect_calls(_done, _too_hard) do {						\
	const bool on = variant->realmode[0] == 'Y';					\
											\
	if (self->real) {								\
		self->done += on ? (_done) : 0;						\
		self->too_hard += on ? (_too_hard) : (_done) + (_too_hard);		\
	}										\
	EXPECT_EQ(self->done, vm_statistic("tce_rm_done"));				\
	EXPECT_EQ(self->too_hard, vm_statistic("tce_rm_too_hard"));			\
} while (0)

TEST_F(rm, short_calls)
{
	struct guest *g = &self->g;
	unsigned int i;

	for (i = 0; i < 10; i++)
		EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, i), tce_of(g, i)));
	expect_calls(10, 0);
	for (i = 0; i < 10; i++)
		EXPECT_EQ(tce_of(g, i), view(g, i));
	expect_calls(10, 0);
	EXPECT_EQ(variant->linked, hardware_has_any(g));

	vm_list_fill(g->cpu, MOST, tce_of(g, 40), 1UL << g->shift);
	EXPECT_EQ(H_SUCCESS, vm_put_list(g->cpu, LIOBN, ioba(g, 5), MOST));
	expect_calls(1, 0);
	for (i = 0; i < MOST; i++)
		EXPECT_EQ(tce_of(g, 40 + i), view(g, 5 + i));
	expect_calls(MOST, 0);

	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, MOST));
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, MOST), 0xabc0, 5));
	expect_calls(2, 0);
	EXPECT_EQ(0, view(g, MOST - 1));
	EXPECT_EQ(0xabc0, view(g, MOST + 4));
	EXPECT_FALSE(hardware_has_any(g));
}

TEST_F(rm, I9_what_is_left_to_virtual_mode)
{
	struct guest *g = &self->g;
	const uint64_t view_page = PAGE_64K / 8, last = entries(g) - 1;
	uint64_t tce;

	/* Longer than it takes; a view page that must be made; the next one. */
	vm_list_fill(g->cpu, MOST + 1, tce_of(g, 0), 1UL << g->shift);
	EXPECT_EQ(H_SUCCESS, vm_put_list(g->cpu, LIOBN, ioba(g, 0), MOST + 1));
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, MOST + 1));
	expect_calls(0, 2);
	if (last > view_page) {
		EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, last), tce_of(g, 1)));
		EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, last), 0));
		expect_calls(1, 1);
		EXPECT_EQ(H_SUCCESS, vm_put_list(g->cpu, LIOBN, ioba(g, view_page - 1), 2));
		EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, view_page - 1), 0, 2));
		expect_calls(0, 2);
	}

	/* What is wrong is told by virtual mode. */
	EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, UNKNOWN_LIOBN, ioba(g, 0), 0));
	EXPECT_EQ(H_PARAMETER, vm_put(g->cpu, LIOBN, ioba(g, last + 1), 0));
	EXPECT_EQ(H_PARAMETER, vm_get(g->cpu, LIOBN, ioba(g, last + 1), &tce));
	EXPECT_EQ(H_PARAMETER, vm_stuff(g->cpu, LIOBN, ioba(g, 0), TCE_READ, 1));
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, 0));
	EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 0),
				     (GUEST_MEM + MEM_SIZE) | TCE_RW));
	EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 0), (GUEST_MEM + 512) | TCE_RW));
	EXPECT_EQ(H_PARAMETER, vm_hcall(g->cpu, H_PUT_TCE_INDIRECT, LIOBN, ioba(g, 0),
					g->cpu->list_gpa + 8, 1));
	expect_calls(0, 8);
	EXPECT_FALSE(hardware_has_any(g));
}

/* A list in memory that is not there is left, and then it is. */
TEST_F(rm, list_that_is_not_in_memory)
{
	struct guest *g = &self->g;
	char *fresh = spapr_memory(MB, MB);

	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, 2 * GUEST_MEM, fresh, MB));
	ASSERT_EQ(0, madvise(fresh, MB, MADV_DONTNEED));
	EXPECT_EQ(H_SUCCESS, vm_hcall(g->cpu, H_PUT_TCE_INDIRECT, LIOBN, ioba(g, 0),
				      2 * GUEST_MEM, 4));
	expect_calls(0, 1);
	/* Until somebody writes there, it is a page that all have. */
	fresh[0] = 0;
	EXPECT_EQ(H_SUCCESS, vm_hcall(g->cpu, H_PUT_TCE_INDIRECT, LIOBN, ioba(g, 0),
				      2 * GUEST_MEM, 4));
	expect_calls(1, 0);
	EXPECT_EQ(0, view(g, 0));
	EXPECT_FALSE(hardware_has_any(g));
}

/* A page of the process may be larger than one of the kernel. */
TEST_F(rm, lists_in_a_hugepage)
{
	static const struct {
		const char *pool;
		unsigned int shift;
	} sizes[] = { { "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", 21 },
		      { "/sys/kernel/mm/hugepages/hugepages-16384kB/nr_hugepages", 24 } };
	struct guest *g = &self->g;
	const int size = access(sizes[0].pool, W_OK) ? 1 : 0;
	const uint64_t bytes = 1ULL << sizes[size].shift, gpa = 2 * GUEST_MEM;
	const uint64_t lists[] = { 0, PAGE_64K + 4 * KB, bytes / 2, bytes - 4 * KB };
	long before = spapr_read_number(sizes[size].pool);
	unsigned int i, k;
	uint64_t *page;

	if (before < 0 || spapr_write_number(sizes[size].pool, before + 1) ||
	    spapr_read_number(sizes[size].pool) != before + 1)
		SKIP(return, "no hugepage can be made");
	page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
		    MAP_HUGETLB | sizes[size].shift << MAP_HUGE_SHIFT, -1, 0);
	ASSERT_NE(MAP_FAILED, page);
	for (i = 0; i < ARRAY_SIZE(lists); i++)
		for (k = 0; k < 4; k++)
			page[lists[i] / 8 + k] = htobe64(tce_of(g, 4 * i + k));
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, page, bytes));
	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		EXPECT_EQ(H_SUCCESS, vm_hcall(g->cpu, H_PUT_TCE_INDIRECT, LIOBN, ioba(g, 0),
					      gpa + lists[i], 4));
		expect_calls(1, 0);
		for (k = 0; k < 4; k++)
			EXPECT_EQ(tce_of(g, 4 * i + k), view(g, k));
		expect_calls(4, 0);
	}
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, 4));
	EXPECT_FALSE(hardware_has_any(g));
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, page, 0));
	munmap(page, bytes);
	EXPECT_EQ(0, spapr_write_number(sizes[size].pool, before));
}

/* Entries are not as large as in the table: that is for virtual mode, reading them is not. */
TEST_F(rm, I9_window_with_smaller_pages)
{
	struct guest *g = &self->g;
	uint64_t tce;
	int table;

	if (!variant->linked)
		SKIP(return, "needs a link");
	ASSERT_EQ(0, spapr_create(g->c, SHIFT_4K, WIN_SIZE, 1, &g->base));
	table = guest_liobn(g, OTHER_LIOBN);
	ASSERT_LE(0, table);
	ASSERT_EQ(0, vm_set(&g->vm, g->st.s.group, table));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, OTHER_LIOBN, ioba(g, 0), tce_of(g, 3)));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, OTHER_LIOBN, ioba(g, 0), tce_of(g, 4)));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, OTHER_LIOBN, ioba(g, 0), 0));
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->cpu, OTHER_LIOBN, ioba(g, 0), 0, 8));
	expect_calls(0, 4);
	EXPECT_EQ(H_SUCCESS, vm_get(g->cpu, OTHER_LIOBN, ioba(g, 0), &tce));
	expect_calls(1, 0);
	close(table);
}

/* The window of the table is gone: nobody maps, and what the guest has put can be read. */
TEST_F(rm, I9_dead_link)
{
	struct guest *g = &self->g;

	if (!variant->linked)
		SKIP(return, "needs a link");
	ASSERT_EQ(0, spapr_remove(g->c, g->base));
	EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 0), tce_of(g, 1)));
	EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 0), 0));
	EXPECT_EQ(H_TOO_HARD, vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, 1));
	expect_calls(0, 3);
	EXPECT_EQ(tce_of(g, 0), view(g, 0));
	expect_calls(1, 0);
}

/* Real mode looks for a window among a few, so that the guest does not wait. */
TEST_F(rm, I9_windows_of_one_hash)
{
	const uint64_t golden = 0x61c8864680b583ebULL;
	struct guest *g = &self->g;
	uint64_t number = LIOBN, tce;
	int table[16], i;

	/* The first one is the last that is looked at. */
	for (i = 0; i < 16; i++) {
		do
			number++;
		while (number * golden >> 60 != LIOBN * golden >> 60);
		table[i] = vm_liobn(&g->vm, number, SHIFT_64K, 0, 8);
		ASSERT_LE(0, table[i]);
		EXPECT_EQ(tce_of(g, 0), view(g, 0));
		expect_calls(i < 15, i == 15);
	}
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 1), tce_of(g, 1)));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, LIOBN, ioba(g, 1), 0));
	expect_calls(0, 2);
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, number, 0, tce_of(g, 1)));
	EXPECT_EQ(H_SUCCESS, vm_get(g->cpu, number, 0, &tce));
	expect_calls(1, 1);
	for (i = 0; i < 16; i++)
		close(table[i]);
}

TEST_HARNESS_MAIN
