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
#define POOLS		"/sys/kernel/mm/hugepages"
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
	const char *pool;	/* of hugepages, and what it had */
	long pool_before;
	char *huge;
	unsigned int huge_shift;
	uint64_t huge_size;
};

/* @n hugepages; NULL if they cannot be made.  The teardown gives them back. */
static char *huge_begin(struct _test_data_rm *self, unsigned int n)
{
	static const unsigned int shifts[] = { 21, 24 };
	static char pool[80];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(shifts); i++) {
		snprintf(pool, sizeof(pool), POOLS "/hugepages-%lukB/nr_hugepages",
			 (1UL << shifts[i]) / KB);
		if (!access(pool, W_OK))
			self->huge_shift = shifts[i];
		if (self->huge_shift)
			break;
	}
	if (!self->huge_shift)
		return NULL;
	self->pool = pool;
	self->pool_before = spapr_read_number(pool);
	self->huge_size = (uint64_t)n << self->huge_shift;
	if (spapr_write_number(pool, self->pool_before + n) ||
	    spapr_read_number(pool) != self->pool_before + n)
		return NULL;
	self->huge = mmap(NULL, self->huge_size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			  MAP_ANONYMOUS | MAP_HUGETLB | self->huge_shift << MAP_HUGE_SHIFT, -1, 0);
	if (self->huge == MAP_FAILED)
		return NULL;
	memset(self->huge, 0, self->huge_size);
	return self->huge;
}

static bool huge_end(struct _test_data_rm *self)
{
	if (self->huge && self->huge != MAP_FAILED)
		munmap(self->huge, self->huge_size);
	return !self->pool || (!spapr_write_number(self->pool, self->pool_before) &&
			       spapr_read_number(self->pool) == self->pool_before);
}

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
	self->done = vm_statistic(&g->vm, "tce_rm_done");
	self->too_hard = vm_statistic(&g->vm, "tce_rm_too_hard");
	ASSERT_GE(self->done, 0);
	ASSERT_GE(self->too_hard, 0);
}

FIXTURE_TEARDOWN(rm)
{
	write_parameter("Y");
	EXPECT_TRUE(guest_end(&self->g));
	EXPECT_TRUE(huge_end(self));
}

/* Since the last time, real mode has done, and left to virtual mode, so many calls. */
#define expect_calls(_done, _too_hard) do {						\
	const bool on = variant->realmode[0] == 'Y';					\
											\
	if (self->real) {								\
		self->done += on ? (_done) : 0;						\
		self->too_hard += on ? (_too_hard) : (_done) + (_too_hard);		\
	}										\
	EXPECT_EQ(self->done, vm_statistic(&self->g.vm, "tce_rm_done"));		\
	EXPECT_EQ(self->too_hard, vm_statistic(&self->g.vm, "tce_rm_too_hard"));		\
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

/* Memory for which the process has not even a table of pages. */
TEST_F(rm, list_that_was_never_touched)
{
	struct guest *g = &self->g;
	const size_t size = 64 * MB;
	char *fresh = spapr_untouched_memory(size, size);

	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, 2 * GUEST_MEM, fresh, size));
	EXPECT_EQ(H_SUCCESS, vm_hcall(g->cpu, H_PUT_TCE_INDIRECT, LIOBN, ioba(g, 0),
				      2 * GUEST_MEM + size / 2, 4));
	expect_calls(0, 1);
	EXPECT_EQ(0, view(g, 0));
	EXPECT_FALSE(hardware_has_any(g));
}

/* A page of the process may be larger than one of the kernel. */
TEST_F(rm, lists_in_a_hugepage)
{
	struct guest *g = &self->g;
	uint64_t *page = (uint64_t *)huge_begin(self, 1);
	const uint64_t bytes = self->huge_size, gpa = 2 * GUEST_MEM;
	const uint64_t lists[] = { 0, PAGE_64K + 4 * KB, bytes / 2, bytes - 4 * KB };
	unsigned int i, k;

	if (!page)
		SKIP(return, "no hugepage can be made");
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
}

/* The guest's address is aligned to an IOMMU page, and what is behind it is not. */
TEST_F(rm, K3_large_pages_that_are_not_aligned_in_user_space)
{
	struct guest *g = &self->g;
	char *pages = huge_begin(self, 2);
	const uint64_t page = self->huge_size / 2, gpa = 2 * GUEST_MEM;
	unsigned int off;
	int table;

	if (!pages || !variant->linked)
		SKIP(return, "needs two hugepages, and a link");
	if (spapr_create(g->c, self->huge_shift, page * 4, 1, &g->base))
		SKIP(return, "the IOMMU has no pages as large as hugepages");
	g->shift = self->huge_shift;
	ASSERT_EQ(0, spapr_register(g->c, pages, self->huge_size));
	table = vm_liobn(&g->vm, OTHER_LIOBN, g->shift, g->base >> g->shift, 4);
	ASSERT_LE(0, table);
	ASSERT_EQ(0, vm_set(&g->vm, g->st.s.group, table));
	/* Aligned: so the view has its page, too. */
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, pages, page));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, OTHER_LIOBN, ioba(g, 0), gpa | TCE_RW));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, OTHER_LIOBN, ioba(g, 0), gpa | TCE_RW));
	expect_calls(1, 1);
	EXPECT_EQ(-EBUSY, spapr_unregister(g->c, pages, self->huge_size));
	EXPECT_EQ(H_SUCCESS, vm_put(g->cpu, OTHER_LIOBN, ioba(g, 0), 0));
	expect_calls(1, 0);
	for (off = PAGE_64K; off < page; off *= 2) {
		ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, pages, 0));
		ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, gpa, pages + off, page));
		EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, OTHER_LIOBN, ioba(g, 0), gpa | TCE_RW));
		vm_list_fill(g->cpu, 2, gpa | TCE_RW, 0);
		EXPECT_EQ(H_TOO_HARD, vm_put_list(g->cpu, OTHER_LIOBN, ioba(g, 0), 2));
		expect_calls(0, 2);
	}
	EXPECT_EQ(0, spapr_unregister(g->c, pages, self->huge_size));
	close(table);
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
