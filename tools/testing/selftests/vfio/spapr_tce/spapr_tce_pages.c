// SPDX-License-Identifier: GPL-2.0
/*
 * IOMMU pages of each size that the machine offers, over memory in physical pieces of
 * each size that the kernel can give: where the pieces are as large as the IOMMU page,
 * a device reaches all of the page; where they are smaller, MAP is refused.
 *
 * A piece is contiguous and lies at a multiple of its size, and what follows it in the
 * process' memory does not follow it in physical memory. The same page or hugepage
 * mapped over and over makes such memory for certain, and as much as it takes to fill
 * an IOMMU page of any size.
 *
 * Where there is no hugepage as large as an IOMMU page, smaller ones that happen to lie
 * side by side may do.
 */
#include <fcntl.h>

#include "fixture.h"

/*
 * Hugepages end and other memory begins here. On a hash MMU the two cannot share a
 * terabyte.
 */
#define BORDER		((char *)(16UL << 40))
#define WINDOW_SIZE	(4 * GB)	/* of all windows but the default one */
#define LEAST		(2 * MB)	/* of memory to map */
#define BREAK		MB		/* where base pages do not lie side by side */
#define MOST_PIECES	16384		/* of a page; more take long and show nothing new */
#define SHIFT_MAX	34		/* the largest hugepage is 16G */
#define MAX_BACKINGS	(SHIFT_MAX + 1)
#define MOST_HUGEPAGES	512		/* to look for neighbours among */

/* ---- pools of hugepages ---- */

#define POOLS		"/sys/kernel/mm/hugepages"

/* How many pages a pool had before the test, if the test has changed that. */
static struct {
	bool changed;
	long pages;
} pools[SHIFT_MAX + 1];

static const char *pool_file(unsigned int shift, const char *name)
{
	static char path[96];

	snprintf(path, sizeof(path), POOLS "/hugepages-%lukB/%s", (1UL << shift) / KB, name);
	return path;
}

static bool pool_exists(unsigned int shift)
{
	return !access(pool_file(shift, "nr_hugepages"), W_OK);
}

/* How many pages the pool has free, after it was asked to have @want of them. */
static long pool_ask(unsigned int shift, long want)
{
	long got = spapr_read_number(pool_file(shift, "free_hugepages"));
	long pages = spapr_read_number(pool_file(shift, "nr_hugepages"));

	if (got >= want)
		return got;
	if (!pools[shift].changed)
		pools[shift].pages = pages;
	pools[shift].changed = true;
	spapr_write_number(pool_file(shift, "nr_hugepages"), pages + want - got);
	return spapr_read_number(pool_file(shift, "free_hugepages"));
}

/* As they were; true when that was possible. */
static bool pools_restore(void)
{
	unsigned int shift;
	bool ok = true;

	for (shift = 0; shift <= SHIFT_MAX; shift++) {
		if (!pools[shift].changed)
			continue;
		spapr_write_number(pool_file(shift, "nr_hugepages"), pools[shift].pages);
		ok &= spapr_read_number(pool_file(shift, "nr_hugepages")) == pools[shift].pages;
	}
	return ok;
}

/* ---- memory in pieces ---- */

enum source {
	BASE_PAGES,
	PARTS_OF_HUGEPAGE,		/* a transparent one, in 64K parts out of order */
	TRANSPARENT_HUGEPAGE,
	HUGEPAGES,			/* from a pool */
};

static const char *const source_names[] = {
	"base pages", "parts of a hugepage", "a transparent hugepage", "hugepages",
};

struct backing {
	enum source source;
	unsigned int shift;		/* of a piece */
};

struct memory {
	char *va;
	uint64_t size;
};

static unsigned int log2_of(uint64_t size)
{
	return __builtin_ctzll(size);
}

static unsigned int find_backings(struct backing *list)
{
	const unsigned int base = log2_of(spapr_page_size());
	const size_t thp = spapr_thp_size();
	unsigned int shift, n = 0;

	list[n++] = (struct backing){ BASE_PAGES, base };
	if (thp && base < SHIFT_64K)
		list[n++] = (struct backing){ PARTS_OF_HUGEPAGE, SHIFT_64K };
	if (thp)
		list[n++] = (struct backing){ TRANSPARENT_HUGEPAGE, log2_of(thp) };
	for (shift = base + 1; shift <= SHIFT_MAX; shift++)
		if (pool_exists(shift))
			list[n++] = (struct backing){ HUGEPAGES, shift };
	return n;
}

static bool map_file(char *va, uint64_t size, int fd, uint64_t offset)
{
	return mmap(va, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		    offset) == va;
}

/* The file of @step bytes over and over. */
static bool map_again_and_again(const struct memory *m, int fd, uint64_t step)
{
	uint64_t at;

	if (fd < 0 || ftruncate(fd, step))
		return false;
	for (at = 0; at < m->size; at += step)
		if (!map_file(m->va + at, step, fd, 0))
			return false;
	/*
	 * Pinning moves a hugepage that lies where none may stay for long, but only one that
	 * is in use.
	 */
	*m->va = 0;
	return true;
}

static bool map_base_pages(const struct memory *m)
{
	const long page = spapr_page_size();
	int fd = memfd_create("base pages", 0);
	bool ok = map_again_and_again(m, fd, LEAST);

	/* They may lie side by side, but no page lies behind itself. */
	ok = ok && map_file(m->va + BREAK + page, page, fd, BREAK);
	close(fd);
	return ok;
}

static bool map_hugepages(const struct memory *m, unsigned int shift)
{
	int fd = memfd_create("hugepages", MFD_HUGETLB | shift << MAP_HUGE_SHIFT);
	bool ok = map_again_and_again(m, fd, 1UL << shift);

	close(fd);
	return ok;
}

/* Where in physical memory; 0 when the kernel does not tell. */
static uint64_t physical(const char *va)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	const long page = spapr_page_size();
	uint64_t entry = 0;

	if (fd < 0)
		return 0;
	if (pread(fd, &entry, 8, (uintptr_t)va / page * 8) != 8 || !(entry >> 63))
		entry = 0;
	close(fd);
	return (entry & ((1UL << 55) - 1)) * page;
}

/* The kernel gives a hugepage if it can. */
static bool map_thp(char *va, uint64_t size)
{
	const long page = spapr_page_size();
	uint64_t at;

	if (mmap(va, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		 -1, 0) != va || madvise(va, size, MADV_HUGEPAGE))
		return false;
	memset(va, 0, size);
	for (at = page; at < size && physical(va + at) == physical(va) + at; at += page)
		;
	return at >= size && !(physical(va) & (size - 1));
}

/* A hugepage behind the memory gives it its parts, neighbours the other way round. */
static bool map_parts(const struct memory *m)
{
	char *whole = m->va + m->size;
	bool ok = map_thp(whole, m->size);
	uint64_t at;

	for (at = 0; ok && at < m->size; at += PAGE_64K)
		ok = mremap(whole + (at ^ PAGE_64K), PAGE_64K, PAGE_64K,
			    MREMAP_MAYMOVE | MREMAP_FIXED, m->va + at) == m->va + at;
	munmap(whole, m->size);
	return ok;
}

static void memory_put(const struct memory *m)
{
	munmap(m->va, m->size);
}

/* Memory for at least one IOMMU page of @size bytes; false when there is none of this kind. */
static bool memory_get(struct memory *m, const struct backing *b, uint64_t size)
{
	const uint64_t piece = 1UL << b->shift;
	bool ok = false;

	if (size / piece > MOST_PIECES || piece / size > MOST_PIECES)
		return false;
	m->va = BORDER;
	m->size = size > LEAST ? size : LEAST;
	switch (b->source) {
	case BASE_PAGES:
		ok = map_base_pages(m);
		break;
	case PARTS_OF_HUGEPAGE:
	case TRANSPARENT_HUGEPAGE:
		if (m->size > spapr_thp_size())
			return false;
		m->size = spapr_thp_size();
		ok = b->source == PARTS_OF_HUGEPAGE ? map_parts(m) : map_thp(m->va, m->size);
		break;
	case HUGEPAGES:
		m->size = m->size > piece ? m->size : piece;
		m->va = BORDER - m->size;
		ok = pool_ask(b->shift, 1) > 0 && map_hugepages(m, b->shift);
		break;
	}
	if (!ok)
		memory_put(m);
	return ok;
}

/* ---- a container, and a controller whose queues are in the default window ---- */

struct pages_state {
	struct spapr_state st;
	int c;
	int device;
	struct nvme nvme;
	uint64_t pgsizes;
	struct backing backings[MAX_BACKINGS];
	unsigned int nr;
};

static const char *pages_begin(struct pages_state *ps)
{
	const char *why = state_begin(&ps->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);
	struct vfio_iommu_spapr_tce_info info;

	if (why)
		return why;
	ps->c = ps->st.s.container;
	ps->device = spapr_open_device(ps->st.s.group, &ps->st.dev[0]);
	if (ps->device < 0 || spapr_get_info(ps->c, &info) ||
	    spapr_register(ps->c, ps->st.mem, MEM_SIZE) ||
	    spapr_map(ps->c, 0, ps->st.mem, MEM_SIZE, MAP_RW) ||
	    nvme_start(&ps->nvme, ps->device, ps->st.mem, 0)) {
		printf("# no controller with its queues in the default window\n");
		exit(KSFT_FAIL);
	}
	ps->pgsizes = info.ddw.pgsizes;
	ps->nr = find_backings(ps->backings);
	return NULL;
}

static bool pages_end(struct pages_state *ps)
{
	nvme_stop(&ps->nvme);
	close(ps->device);
	return state_end(&ps->st) && pools_restore();
}

FIXTURE(pages)
{
	struct pages_state ps;
	int c;
};

FIXTURE_SETUP(pages)
{
	const char *why = pages_begin(&self->ps);

	if (why)
		SKIP(return, "%s", why);
	self->c = self->ps.c;
}

FIXTURE_TEARDOWN(pages)
{
	EXPECT_TRUE(pages_end(&self->ps));
}

TEST_F(pages, CREATE_takes_the_sizes_of_GET_INFO_and_no_other)
{
	unsigned int shift, levels, wide;
	uint64_t start, taken;
	int ret;

	EXPECT_NE(0, self->ps.pgsizes & PAGE_64K);
	for (levels = 1; levels <= 2; levels++) {
		taken = 0;
		for (shift = 0; shift < 100; shift++) {
			/* A window that there could be if there were such pages. */
			wide = shift < 40 ? shift + 9 : 49;
			ret = spapr_create(self->c, shift, 1UL << wide, levels, &start);
			if (ret) {
				EXPECT_EQ(-EINVAL, ret);
				continue;
			}
			ASSERT_GT(64, shift);
			taken |= 1UL << shift;
			EXPECT_EQ(0, spapr_remove(self->c, start));
		}
		EXPECT_EQ(self->ps.pgsizes, taken);
	}
}

/* Nothing may be mapped by what is refused, and the memory must be good for smaller pages. */
static void refused(struct __test_metadata *_metadata, struct pages_state *ps,
		    const struct memory *m, unsigned int shift)
{
	const uint64_t page = 1UL << shift, at = BREAK & ~(page - 1);
	uint64_t start;
	int one, all;

	ASSERT_EQ(0, spapr_register(ps->c, m->va, m->size));
	ASSERT_EQ(0, spapr_create(ps->c, shift, WINDOW_SIZE, 2, &start));
	one = spapr_map(ps->c, start + at, m->va + at, page, MAP_RW);
	EXPECT_EQ(-EINVAL, one);
	all = spapr_map(ps->c, start, m->va, m->size, MAP_RW);
	EXPECT_EQ(-EINVAL, all);
	/* What has been mapped all the same may lead to the memory of others: spare it. */
	if (one && all) {
		memset(m->va + at, 0x5a, NVME_ROUND_TRIP);
		nvme_read(&ps->nvme, 0, start + at, NVME_ROUND_TRIP);
		EXPECT_TRUE(all_bytes(m->va + at, NVME_ROUND_TRIP, 0x5a));
	}
	EXPECT_EQ(0, spapr_map(ps->c, MEM_SIZE, m->va, LEAST, MAP_RW));
	EXPECT_EQ(0, spapr_unmap(ps->c, MEM_SIZE, LEAST));
	EXPECT_EQ(0, spapr_unregister(ps->c, m->va, m->size));
	EXPECT_EQ(0, spapr_remove(ps->c, start));
}

TEST_F(pages, T10_memory_in_smaller_pieces_is_refused)
{
	struct pages_state *ps = &self->ps;
	unsigned int i, shift, tried = 0;
	struct memory m;

	for (shift = 0; shift <= SHIFT_MAX; shift++) {
		if (!(ps->pgsizes & 1UL << shift))
			continue;
		for (i = 0; i < ps->nr; i++) {
			if (ps->backings[i].shift >= shift ||
			    !memory_get(&m, &ps->backings[i], 1UL << shift))
				continue;
			TH_LOG("IOMMU pages of %lu kB over %s, pieces of %lu kB",
			       (1UL << shift) / KB, source_names[ps->backings[i].source],
			       (1UL << ps->backings[i].shift) / KB);
			refused(_metadata, ps, &m, shift);
			memory_put(&m);
			tried++;
		}
	}
	EXPECT_LT(0, tried);
}

/* Of the smallest hugepage that is an IOMMU page, too; 0 if there is none. */
static unsigned int huge_shift(const struct pages_state *ps)
{
	unsigned int i;

	for (i = 0; i < ps->nr; i++)
		if (ps->backings[i].source == HUGEPAGES &&
		    ps->pgsizes & 1UL << ps->backings[i].shift)
			return ps->backings[i].shift;
	return 0;
}

TEST_F(pages, R3_T10_hugepages_followed_by_small_pages)
{
	const unsigned int shift = huge_shift(&self->ps);
	const struct backing hugepages = { HUGEPAGES, shift }, base = self->ps.backings[0];
	const uint64_t size = 1UL << shift;
	struct memory huge, small;
	uint64_t start;

	if (!shift)
		SKIP(return, "no hugepage of the size of an IOMMU page");
	if (!memory_get(&huge, &hugepages, size))
		SKIP(return, "no memory for a hugepage of %lu kB", size / KB);
	ASSERT_TRUE(memory_get(&small, &base, size));
	ASSERT_EQ(huge.va + size, small.va);

	ASSERT_EQ(0, spapr_register(self->c, huge.va, 2 * size));
	ASSERT_EQ(0, spapr_create(self->c, shift, WINDOW_SIZE, 1, &start));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, start, huge.va, 2 * size, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, start, small.va, size, MAP_RW));
	/* Small IOMMU pages reach all of it: those of the default window. */
	EXPECT_EQ(0, spapr_map(self->c, MEM_SIZE, huge.va, 2 * size, MAP_RW));
	EXPECT_EQ(0, spapr_unmap(self->c, MEM_SIZE, 2 * size));
	/* Nothing was mapped by what was refused. */
	EXPECT_EQ(0, spapr_unregister(self->c, huge.va, 2 * size));
	/* Apart from each other, each is what it is. */
	ASSERT_EQ(0, spapr_register(self->c, huge.va, size));
	ASSERT_EQ(0, spapr_register(self->c, small.va, size));
	EXPECT_EQ(0, spapr_map(self->c, start, huge.va, size, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, start, small.va, size, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(self->c, start, huge.va, 2 * size, MAP_RW));
	EXPECT_EQ(0, spapr_unregister(self->c, small.va, size));
	EXPECT_EQ(-EBUSY, spapr_unregister(self->c, huge.va, size));
	EXPECT_EQ(0, spapr_remove(self->c, start));
	EXPECT_EQ(0, spapr_unregister(self->c, huge.va, size));
	memory_put(&small);
	memory_put(&huge);
}

/* ---- one size of IOMMU pages, with DMA ---- */

FIXTURE(size)
{
	struct pages_state ps;
	unsigned int shift;
	uint64_t start;
};

/* A size by its place in what GET_INFO lists: machines differ. */
FIXTURE_VARIANT(size)
{
	unsigned int place;
};

FIXTURE_VARIANT_ADD(size, first) { 0 };
FIXTURE_VARIANT_ADD(size, second) { 1 };
FIXTURE_VARIANT_ADD(size, third) { 2 };
FIXTURE_VARIANT_ADD(size, fourth) { 3 };

FIXTURE_SETUP(size)
{
	const char *why = pages_begin(&self->ps);
	unsigned int place;
	uint64_t sizes;

	if (why)
		SKIP(return, "%s", why);
	sizes = self->ps.pgsizes;
	for (place = 0; place < variant->place; place++)
		sizes &= sizes - 1;
	if (!sizes)
		SKIP(return, "the machine has fewer sizes of IOMMU pages");
	self->shift = log2_of(sizes);
	ASSERT_EQ(0, spapr_create(self->ps.c, self->shift, WINDOW_SIZE, 2, &self->start));
}

FIXTURE_TEARDOWN(size)
{
	EXPECT_TRUE(pages_end(&self->ps));
}

/* The controller takes from the start and gives to the end of the memory. */
static void reach(struct __test_metadata *_metadata, struct _test_data_size *self,
		  const struct memory *m, const char *what)
{
	const uint64_t page = 1UL << self->shift;
	const int c = self->ps.c;
	long vmlck = spapr_vmlck_kb();

	TH_LOG("IOMMU pages of %lu kB over %s: DMA to %lu kB", page / KB, what, m->size / KB);
	ASSERT_EQ(0, spapr_register(c, m->va, m->size));
	EXPECT_EQ(vmlck + (long)(m->size / KB), spapr_vmlck_kb());
	ASSERT_EQ(0, spapr_map(c, self->start, m->va, m->size, MAP_RW));
	EXPECT_TRUE(nvme_round_trip(&self->ps.nvme, m->va, self->start, 0,
				    m->size - NVME_ROUND_TRIP));
	EXPECT_TRUE(nvme_round_trip(&self->ps.nvme, m->va, self->start,
				    m->size - NVME_ROUND_TRIP, 0));
	EXPECT_EQ(-EBUSY, spapr_unregister(c, m->va, m->size));
	/* Half of an IOMMU page is no page. */
	EXPECT_EQ(-EINVAL, spapr_map(c, self->start, m->va + page / 2, page, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_map(c, self->start, m->va, page / 2, MAP_RW));
	EXPECT_EQ(-EINVAL, spapr_unmap(c, self->start, page / 2));
	EXPECT_EQ(0, spapr_unmap(c, self->start, m->size));
	EXPECT_EQ(0, spapr_unregister(c, m->va, m->size));
	EXPECT_EQ(vmlck, spapr_vmlck_kb());
}

/* Put those hugepages of the file at @all that make up one IOMMU page at @m, if they do. */
static bool put_together(const struct memory *m, int fd, const char *all, unsigned int shift,
			 long nr)
{
	const long need = m->size >> shift;
	uint64_t pa[MOST_HUGEPAGES], first;
	long i, k, found;

	for (i = 0; i < nr; i++)
		pa[i] = physical(all + (i << shift));
	for (k = 0; k < nr; k++) {
		first = pa[k];
		if (!first || first & (m->size - 1))
			continue;
		for (i = 0, found = 0; i < nr; i++)
			if (pa[i] - first < m->size)
				found += map_file(m->va + (pa[i] - first), 1UL << shift, fd,
						  (uint64_t)i << shift);
		if (found == need)
			return true;
		munmap(m->va, m->size);
	}
	return false;
}

/*
 * As many hugepages as there are, and an IOMMU page of those that lie side by side. They
 * are looked at while they are registered: pinning moves some, once.
 */
static bool memory_side_by_side(int c, struct memory *m, unsigned int shift, uint64_t page)
{
	long nr = spapr_meminfo_kb("MemFree") / 4 * 3 / (long)((1UL << shift) / KB);
	bool ok = false;
	char *all;
	int fd;

	nr = pool_ask(shift, nr);
	nr = nr < MOST_HUGEPAGES ? nr : MOST_HUGEPAGES;
	m->va = BORDER - page;
	m->size = page;
	all = m->va - (nr << shift);
	fd = memfd_create("hugepages", MFD_HUGETLB | shift << MAP_HUGE_SHIFT);
	if (nr > 0 && fd >= 0 && !ftruncate(fd, nr << shift) && map_file(all, nr << shift, fd, 0)) {
		for (long i = 0; i < nr; i++)
			all[i << shift] = 0;
		if (!spapr_register(c, all, nr << shift)) {
			ok = put_together(m, fd, all, shift, nr);
			spapr_unregister(c, all, nr << shift);
		}
		munmap(all, nr << shift);
	}
	if (fd >= 0)
		close(fd);
	printf("# %ld hugepages of %lu kB: %s lie side by side\n", nr, (1UL << shift) / KB,
	       ok ? "enough" : "too few");
	return ok;
}

TEST_F(size, DMA_reaches_all_of_an_IOMMU_page)
{
	struct pages_state *ps = &self->ps;
	unsigned int i, reached = 0, huge = 0;
	const struct backing *b;
	struct memory m;

	for (i = 0; i < ps->nr; i++) {
		b = &ps->backings[i];
		if (b->shift < self->shift) {
			huge = b->source == HUGEPAGES ? b->shift : huge;
			continue;
		}
		if (!memory_get(&m, b, 1UL << self->shift))
			continue;
		reach(_metadata, self, &m, source_names[b->source]);
		memory_put(&m);
		reached++;
	}
	if (!reached && huge && memory_side_by_side(ps->c, &m, huge, 1UL << self->shift)) {
		reach(_metadata, self, &m, "hugepages side by side");
		memory_put(&m);
		reached++;
	}
	if (reached)
		return;
	if (pool_exists(self->shift))
		SKIP(return, "no free hugepage of %lu kB", (1UL << self->shift) / KB);
	TH_LOG("no memory in pieces of %lu kB, nor hugepages of that size: not tried",
	       (1UL << self->shift) / KB);
}

TEST_HARNESS_MAIN
