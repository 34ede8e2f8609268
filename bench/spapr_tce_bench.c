// SPDX-License-Identifier: GPL-2.0
/*
 * What the sPAPR TCE container costs, workload by workload.
 *
 * Runs in a guest whose emulator counts instructions between two marker
 * instructions (count.c).  Every counted piece of work is announced afterwards:
 *
 *	point RECORD NAME | UNIT | N	record number RECORD did N units of work NAME
 *	memory NAME | UNIT | VALUE	something that is not instructions
 *	refused NAME | ERRNO		the kernel does not do this
 *
 * Work is repeated, and the report takes the least of equal points and the least change of
 * memory; a name with different N is a line with a fixed part.  Nothing here depends on the
 * kernel that runs, except that calls may be refused.
 *
 * usage: spapr_tce_bench GROUP...	(one of those at the end of this file)
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include "bench.h"

struct spapr_device dev;
struct spapr_setup box;
unsigned long records;

void point(const char *name, const char *unit, double n)
{
	printf("point %lu %s | %s | %g\n", records, name, unit, n);
}

void must(int ret, const char *what)
{
	if (ret < 0) {
		fprintf(stderr, "%s: %s\n", what, strerror(-ret));
		exit(1);
	}
}

char *text(const char *format, ...)
{
	va_list args;
	char *s;

	/* Never freed: a run makes some thousand. */
	va_start(args, format);
	if (vasprintf(&s, format, args) < 0)
		must(-ENOMEM, format);
	va_end(args);
	return s;
}

void box_open(void)
{
	must(spapr_setup(&box, &dev, VFIO_SPAPR_TCE_v2_IOMMU), "opening a container");
}

void box_close(void)
{
	spapr_teardown(&box);
}

int window(unsigned int shift, uint64_t size, unsigned int levels)
{
	uint64_t start;
	int ret;

	ret = spapr_remove(box.container, 0);
	must(ret == -EINVAL ? 0 : ret, "removing the default window");	/* gone already */
	ret = spapr_create(box.container, shift, size, levels, &start);
	if (!ret && start) {
		fprintf(stderr, "the first window is at %#llx\n", (unsigned long long)start);
		exit(1);
	}
	return ret;
}

static const char *shift_name(unsigned int shift)
{
	static const char * const unit[] = { "", "K", "M", "G" };

	return text("%d%s", 1 << shift % 10, unit[shift / 10]);
}

static const char * const backing_name[] = {
	"base pages", "THP", "hugetlb 2M", "hugetlb 16M", "hugetlb 1G",
};
static const int backing_shift[] = { 16, 24, 21, 24, 30 };

char *memory_get(enum backing backing, size_t size)
{
	size_t align = 1UL << backing_shift[backing];
	char *raw, *va;

	if (backing > THP) {
		size = (size + align - 1) & ~(align - 1);
		va = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE |
			  backing_shift[backing] << MAP_HUGE_SHIFT, -1, 0);
		return va == MAP_FAILED ? NULL : va;
	}
	raw = mmap(NULL, size + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (raw == MAP_FAILED)
		return NULL;
	va = (char *)(((uintptr_t)raw + align - 1) & ~(align - 1));
	if (madvise(va, size, backing == THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		return NULL;
	memset(va, 1, size);
	if (backing == THP && spapr_meminfo_kb("AnonHugePages") < (long)(size / KB) * 9 / 10) {
		munmap(va, size);
		return NULL;
	}
	return va;
}

char *small_memory(size_t size)
{
	char *va = memory_get(SMALL, size);

	if (!va)
		must(-ENOMEM, "memory");
	return va;
}

void memory_put(enum backing backing, char *va, size_t size)
{
	size_t align = 1UL << backing_shift[backing];

	munmap(va, (size + align - 1) & ~(align - 1));
}

/* Frees that were put off until nobody looks any more. */
void settle(void)
{
	usleep(100000);
}

/*
 * The counter itself, and the least that the work needs.
 */
static void group_floor(void)
{
	enum { N = 4096 };
	static uint64_t hpas[N], table[N], owners[N];
	unsigned long i, n;
	int rep;

	for (i = 0; i < N; i++)
		hpas[i] = (i + 1) << 16;
	for (rep = 0; rep < REPEAT; rep++) {
		/* 3 + 2n instructions with the second marker. */
		for (n = 1000; n <= 1000000; n *= 1000) {
			begin();
			asm volatile("mtctr %0; 1: nop; bdnz 1b" : : "r" (n) : "ctr");
			end();
			point("check/loop of two instructions", "pass", n);
		}
		for (n = N / 2; n <= N; n *= 2) {
			unsigned long ua = 0x7fff00000003;
			uint64_t *h = hpas, *t = table, *o = owners;

			/* map: take an address, look at the entry, write entry and owner */
			begin();
			for (i = 0; i < n; i++, ua += 1 << 16) {
				if (t[i])
					break;
				t[i] = __builtin_bswap64(h[i] | 3);
				o[i] = ua;
			}
			end();
			point("floor/map", "TCE", n);
			/* map over live entries: look at both, write both */
			begin();
			for (i = 0; i < n; i++, ua += 1 << 16) {
				if (!t[i] || !o[i])
					break;
				t[i] = __builtin_bswap64(h[i] | 3);
				o[i] = ua;
			}
			end();
			point("floor/overwrite", "TCE", n);
			/* unmap: look at both, clear both */
			begin();
			for (i = 0; i < n; i++) {
				if (!t[i] || !o[i])
					break;
				t[i] = 0;
				o[i] = 0;
			}
			end();
			point("floor/unmap", "TCE", n);
		}
	}
}

/*
 * REGISTER and UNREGISTER by what is behind the memory.
 */
static void register_backing(enum backing backing, size_t size)
{
	char *va = memory_get(backing, size);
	int rep;

	if (!va) {
		printf("refused register/%s | %d\n", backing_name[backing], ENOMEM);
		return;
	}
	for (rep = 0; rep < REPEAT; rep++) {
		COUNTED(spapr_register(box.container, va, size));
		point(text("register/%s", backing_name[backing]), "64K page", size / PAGE);
		COUNTED(spapr_unregister(box.container, va, size));
		point(text("unregister/%s", backing_name[backing]), "64K page", size / PAGE);
		settle();
	}
	memory_put(backing, va, size);
}

static void group_register(void)
{
	unsigned int i;

	box_open();
	for (i = SMALL; i <= HUGE_1G; i++) {
		register_backing(i, 1UL << (backing_shift[i] > 24 ? backing_shift[i] : 24));
		if (i != HUGE_1G)
			register_backing(i, 256 * MB);
	}
	box_close();
}

/*
 * MAP and UNMAP by IOMMU page, levels and size of the request.
 */
static void map_window(unsigned int shift, unsigned int levels, uint64_t size,
		       char *va, size_t va_size, const char *on)
{
	unsigned long max = va_size >> shift, n, sizes[3], i;
	char *kind = text("%s%s/%u level%s", shift_name(shift), on, levels, levels > 1 ? "s" : "");
	int rep, ret;

	box_open();
	must(spapr_register(box.container, va, va_size), "REGISTER");
	ret = window(shift, size, levels);
	/* The last page stays mapped, so that its leaf is always there. */
	if (!ret)
		ret = spapr_map(box.container, max << shift, va, 1UL << shift, MAP_RW);
	if (ret) {
		printf("refused map/%s | %d\n", kind, -ret);
		box_close();
		return;
	}
	if (max > 4096)
		max = 4096;
	sizes[0] = 1;
	sizes[1] = max / 8;
	sizes[2] = max;
	for (i = 0; i < 3; i++) {
		n = sizes[i] << shift;
		if (!n || (i && sizes[i] == sizes[i - 1]))
			continue;
		must(spapr_map(box.container, 0, va, n, MAP_RW), "MAP");
		must(spapr_unmap(box.container, 0, n), "UNMAP");
		for (rep = 0; rep < REPEAT; rep++) {
			COUNTED(spapr_map(box.container, 0, va, n, MAP_RW));
			point(text("map/%s", kind), "TCE", sizes[i]);
			COUNTED(spapr_map(box.container, 0, va, n, MAP_RW));
			point(text("overwrite/%s", kind), "TCE", sizes[i]);
			COUNTED(spapr_unmap(box.container, 0, n));
			point(text("unmap/%s", kind), "TCE", sizes[i]);
			COUNTED(spapr_unmap(box.container, 0, n));
			point(text("unmap of nothing/%s", kind), "TCE", sizes[i]);
		}
	}
	box_close();
	settle();
}

static void group_map(void)
{
	size_t size = 256 * MB;
	char *va = small_memory(size);

	map_window(SHIFT_64K, 1, 1ULL << 36, va, size, "");
	map_window(SHIFT_64K, 2, 1ULL << 40, va, size, "");
	map_window(SHIFT_64K, 3, 1ULL << 46, va, size, "");
	map_window(SHIFT_4K, 1, 1ULL << 32, va, 16 * MB, "");
	map_window(SHIFT_4K, 2, 1ULL << 38, va, 16 * MB, "");
	map_window(SHIFT_4K, 3, 1ULL << 42, va, 16 * MB, "");
	map_window(SHIFT_4K, 4, 1ULL << 42, va, 16 * MB, "");
	memory_put(SMALL, va, size);
}

/*
 * Requests of a few entries: what the kill of so many pages costs, below and above
 * the number from which ours kills the whole PE.
 */
static void group_kill(void)
{
	static const unsigned long pages[] = { 1, 2, 4, 8, 16, 32, 64, 65, 128, 256 };
	char *va = small_memory(16 * MB);
	unsigned int i, rep;

	box_open();
	must(spapr_register(box.container, va, 16 * MB), "REGISTER");
	must(window(SHIFT_64K, 1ULL << 36, 1), "CREATE");
	for (i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		for (rep = 0; rep < REPEAT; rep++) {
			must(spapr_map(box.container, 0, va, pages[i] * PAGE, MAP_RW), "MAP");
			COUNTED(spapr_unmap(box.container, 0, pages[i] * PAGE));
			point(text("killing/%lu pages", pages[i]), "call", 1);
		}
	}
	box_close();
	settle();
	memory_put(SMALL, va, 16 * MB);
}

/* IOMMU pages that need large pieces of memory, and small ones on such memory. */
static void map_large(enum backing backing, unsigned int shift, size_t size)
{
	char *on = text(" on %s", backing_name[backing]);
	char *va = memory_get(backing, size);

	if (!va) {
		printf("refused map/%s%s | %d\n", shift_name(shift), on, ENOMEM);
		return;
	}
	map_window(shift, 2, 1ULL << 46, va, size, on);
	memory_put(backing, va, size);
}

static void group_large(void)
{
	map_large(HUGE_2M, SHIFT_64K, 256 * MB);
	map_large(HUGE_2M, 21, 256 * MB);
	map_large(HUGE_16M, SHIFT_64K, 256 * MB);
	map_large(HUGE_16M, 21, 256 * MB);
	map_large(HUGE_16M, 24, 256 * MB);
	map_large(HUGE_1G, 21, GB);
	map_large(HUGE_1G, 30, GB);
}

/* As a virtual machine monitor does for a guest without KVM. */
static void group_single(void)
{
	enum { N = 512 };
	char *va = small_memory(N * PAGE);
	int rep, i, ret;

	box_open();
	must(spapr_register(box.container, va, N * PAGE), "REGISTER");
	must(window(SHIFT_64K, 1ULL << 40, 2), "CREATE");
	must(spapr_map(box.container, N * PAGE, va, PAGE, MAP_RW), "MAP");
	for (rep = 0; rep < REPEAT; rep++) {
		begin();
		for (i = 0, ret = 0; i < N && !ret; i++)
			ret = spapr_map(box.container, i * PAGE, va + i * PAGE, PAGE, MAP_RW);
		end();
		must(ret, "MAP");
		point("one by one/map", "TCE", N);
		begin();
		for (i = 0, ret = 0; i < N && !ret; i++)
			ret = spapr_unmap(box.container, i * PAGE, PAGE);
		end();
		must(ret, "UNMAP");
		point("one by one/unmap", "TCE", N);
	}
	box_close();
	memory_put(SMALL, va, N * PAGE);
}

/*
 * Many regions: each 64K page of an area is one.
 */
static int register_each(char *va, unsigned long n)
{
	int ret = 0;

	while (n-- && !ret)
		ret = spapr_register(box.container, va + n * PAGE, PAGE);
	return ret;
}

static int unregister_each(char *va, unsigned long n)
{
	int ret = 0;

	while (n-- && !ret)
		ret = spapr_unregister(box.container, va + n * PAGE, PAGE);
	return ret;
}

static void regions(char *va, unsigned long n)
{
	enum { SAMPLES = 64 };
	unsigned long i, step = n / SAMPLES ? n / SAMPLES : 1;
	char *other = small_memory(PAGE);
	int rep, ret;

	box_open();
	must(window(SHIFT_64K, 1ULL << 40, 2), "CREATE");
	must(spapr_register(box.container, other, PAGE), "REGISTER");
	must(spapr_map(box.container, n * PAGE, other, PAGE, MAP_RW), "MAP");

	/* The most only twice: the base takes a minute for each. */
	for (rep = 0; rep < (n > 4096 ? 2 : REPEAT); rep++) {
		COUNTED(register_each(va, n));
		point(text("churn/register %lu regions", n), "region", n);

		must(spapr_unregister(box.container, va, PAGE), "UNREGISTER");
		settle();
		COUNTED(spapr_register(box.container, va, PAGE));
		point(text("lookup/REGISTER beside %lu regions", n), "call", 1);

		begin();
		for (i = 0, ret = 0; i < SAMPLES && !ret; i++)
			ret = spapr_map(box.container, i * PAGE, va + i * step % n * PAGE,
					PAGE, MAP_RW);
		end();
		must(ret, "MAP");
		point(text("lookup/MAP of one TCE, %lu regions", n), "call", SAMPLES);
		must(spapr_unmap(box.container, 0, SAMPLES * PAGE), "UNMAP");

		COUNTED(spapr_map(box.container, 0, va, n * PAGE, MAP_RW));
		point(text("churn/map over %lu regions", n), "TCE", n);
		COUNTED(spapr_map(box.container, 0, va, n * PAGE, MAP_RW));
		point(text("churn/overwrite over %lu regions", n), "TCE", n);
		COUNTED(spapr_unmap(box.container, 0, n * PAGE));
		point(text("churn/unmap over %lu regions", n), "TCE", n);
		COUNTED(unregister_each(va, n));
		settle();
		point(text("churn/unregister %lu regions", n), "region", n);
	}
	box_close();
	memory_put(SMALL, other, PAGE);
}

static void group_regions(void)
{
	enum { MOST = 16384 };
	static const unsigned long count[] = { 1, 16, 256, 4096, MOST };
	char *va = small_memory(MOST * PAGE);
	unsigned int i;

	for (i = 0; i < sizeof(count) / sizeof(count[0]); i++)
		regions(va, count[i]);
	memory_put(SMALL, va, MOST * PAGE);
}

/*
 * Windows: make, clear, remove; by size.
 */
static void window_life(unsigned int shift, unsigned int levels, unsigned int size_shift,
			char *va)
{
	char *kind = text("%s/%u level%s/2^%u", shift_name(shift), levels,
			  levels > 1 ? "s" : "", size_shift);
	uint64_t size = 1ULL << size_shift;
	int rep, ret;

	for (rep = 0; rep < 2; rep++) {
		box_open();
		must(spapr_register(box.container, va, PAGE), "REGISTER");
		must(spapr_remove(box.container, 0), "REMOVE");
		begin();
		ret = spapr_create(box.container, shift, size, levels, NULL);
		end();
		if (ret) {
			printf("refused window/CREATE/%s | %d\n", kind, -ret);
			box_close();
			return;
		}
		point(text("window/CREATE/%s", kind), "call", 1);
		COUNTED(spapr_unmap(box.container, 0, size));
		point(text("window/UNMAP of all, empty/%s", kind), "call", 1);
		COUNTED(spapr_remove(box.container, 0));
		point(text("window/REMOVE, empty/%s", kind), "call", 1);
		box_close();
	}
	settle();
}

static int close_both(void)
{
	spapr_teardown(&box);
	return 0;
}

static void group_window(void)
{
	size_t size = 16 * MB;		/* 4096 TCEs of the default window, which has 4K pages */
	char *va = small_memory(256 * MB);
	struct vfio_iommu_spapr_tce_info info;
	int rep;

	window_life(SHIFT_64K, 1, 30, va);
	window_life(SHIFT_64K, 1, 36, va);
	window_life(SHIFT_64K, 2, 36, va);
	window_life(SHIFT_64K, 2, 40, va);
	window_life(SHIFT_64K, 3, 46, va);
	window_life(SHIFT_4K, 2, 36, va);
	for (rep = 0; rep < 2; rep++) {
		box_open();
		must(spapr_register(box.container, va, 256 * MB), "REGISTER");
		must(spapr_get_info(box.container, &info), "GET_INFO");
		COUNTED(spapr_map(box.container, info.dma32_window_start, va, 4 * KB, MAP_RW));
		point("window/first MAP, makes the default window", "call", 1);
		must(spapr_map(box.container, info.dma32_window_start, va, size, MAP_RW), "MAP");
		COUNTED(spapr_unmap(box.container, info.dma32_window_start, info.dma32_window_size));
		point("window/UNMAP of all, 4096 TCEs/default", "call", 1);
		COUNTED(spapr_remove(box.container, info.dma32_window_start));
		point("window/REMOVE, empty/default", "call", 1);

		must(window(SHIFT_64K, 1ULL << 40, 2), "CREATE");
		must(spapr_map(box.container, 0, va, 256 * MB, MAP_RW), "MAP");
		COUNTED(spapr_unmap(box.container, 0, 1ULL << 40));
		point("window/UNMAP of all, 4096 TCEs/64K/2 levels/2^40", "call", 1);
		must(spapr_map(box.container, 0, va, 256 * MB, MAP_RW), "MAP");
		COUNTED(spapr_remove(box.container, 0));
		point("window/REMOVE, 4096 TCEs/64K/2 levels/2^40", "call", 1);
		box_close();
		settle();

		box_open();
		must(spapr_register(box.container, va, size), "REGISTER");
		must(spapr_map(box.container, info.dma32_window_start, va, size, MAP_RW), "MAP");
		COUNTED(close_both());
		settle();
		point("window/closing everything, 4096 TCEs/default", "call", 1);

		box_open();
		must(spapr_register(box.container, va, 256 * MB), "REGISTER");
		must(window(SHIFT_64K, 1ULL << 40, 2), "CREATE");
		must(spapr_map(box.container, 0, va, 256 * MB, MAP_RW), "MAP");
		COUNTED(close_both());
		settle();
		point("window/closing everything, 4096 TCEs/64K/2 levels/2^40", "call", 1);
	}
	memory_put(SMALL, va, 256 * MB);
}

/*
 * A guest starts: its memory is registered and mapped as a whole.
 */
static int guest_start(char *va, size_t size)
{
	uint64_t start;
	int ret = spapr_register(box.container, va, size);

	if (!ret)
		ret = spapr_remove(box.container, 0);
	if (!ret)
		ret = spapr_create(box.container, SHIFT_64K, 1ULL << 40, 2, &start);
	return ret ? ret : spapr_map(box.container, start, va, size, MAP_RW);
}

static void group_guest(void)
{
	char *va = small_memory(GB);
	size_t size;
	int rep;

	for (size = 64 * MB; size <= GB; size *= 4) {
		for (rep = 0; rep < REPEAT; rep++) {
			box_open();
			COUNTED(guest_start(va, size));
			point("guest start/base pages", "GiB", (double)size / GB);
			COUNTED(close_both());
			settle();
			point("guest end/base pages", "GiB", (double)size / GB);
		}
	}
	printf("extrapolate guest start/base pages | 100\n");
	printf("extrapolate guest end/base pages | 100\n");
	memory_put(SMALL, va, GB);
}

/*
 * Memory.
 */

/*
 * What tells how much memory is in use.  The files stay open: opening or first
 * reading one allocates from the caches that are about to be looked at.
 */
static struct {
	int shrink[512];
	size_t caches;
	int zoneinfo, slabinfo;
	char text[512 * KB];
} gauge;

static int gauge_open(const char *path, int how)
{
	int fd = open(path, how);

	must(fd < 0 ? -errno : 0, path);
	return fd;
}

/* Read a file from its start; calls @line for each line. */
static double gauge_sum(int fd, double (*value)(const char *line))
{
	size_t have = 0;
	double sum = 0;
	char *line;
	ssize_t n;

	must(lseek(fd, 0, SEEK_SET), "lseek");
	while ((n = read(fd, gauge.text + have, sizeof(gauge.text) - 1 - have)) > 0)
		have += n;
	must(n, "reading /proc");
	gauge.text[have] = 0;
	for (line = strtok(gauge.text, "\n"); line; line = strtok(NULL, "\n"))
		sum += value(line);
	return sum;
}

/* Pages that are free, or kept at hand by a processor. */
static double free_pages(const char *line)
{
	long n;

	return sscanf(line, " nr_free_pages %ld", &n) == 1 || sscanf(line, " count: %ld", &n) == 1 ?
		n : 0;
}

/*
 * Bytes in objects that kmalloc() gave out, less all pages of slab caches.  What is
 * larger than its largest cache are pages outside of all caches.
 */
static double objects_less_slabs(const char *line)
{
	double objects, size, pages, slabs, bytes;
	char name[64];

	if (sscanf(line, "%63s %lf %*f %lf %*f %lf : tunables %*f %*f %*f : slabdata %*f %lf", name,
		   &objects, &size, &pages, &slabs) != 5)
		return 0;
	bytes = -slabs * pages * sysconf(_SC_PAGESIZE);
	return strncmp(name, "kmalloc-", 8) ? bytes : bytes + objects * size;
}

static void gauge_init(void)
{
	glob_t caches;

	if (gauge.caches)
		return;
	if (glob("/sys/kernel/slab/*/shrink", 0, NULL, &caches))
		must(-ENOENT, "/sys/kernel/slab");
	while (gauge.caches < caches.gl_pathc) {
		gauge.shrink[gauge.caches] = gauge_open(caches.gl_pathv[gauge.caches], O_WRONLY);
		if (++gauge.caches == sizeof(gauge.shrink) / sizeof(gauge.shrink[0]))
			must(-E2BIG, "slab caches");
	}
	globfree(&caches);
	gauge.zoneinfo = gauge_open("/proc/zoneinfo", O_RDONLY);
	gauge.slabinfo = gauge_open("/proc/slabinfo", O_RDONLY);
	gauge_sum(gauge.zoneinfo, free_pages);
	gauge_sum(gauge.slabinfo, objects_less_slabs);
}

/* Memory in use, in KiB: pages outside of slab caches, and objects of kmalloc(). */
static double memory_used_now(void)
{
	double bytes;
	size_t i;

	must(spapr_write_file("/proc/sys/vm/stat_refresh", "1"), "stat_refresh");
	settle();
	/* Twice: what the first pass gives back may have been the last of another cache. */
	for (i = 0; i < 2 * gauge.caches; i++)
		if (pwrite(gauge.shrink[i % gauge.caches], "1", 1, 0) != 1)
			must(-EIO, "shrinking the slab caches");
	bytes = gauge_sum(gauge.slabinfo, objects_less_slabs);
	bytes -= gauge_sum(gauge.zoneinfo, free_pages) * sysconf(_SC_PAGESIZE);
	return bytes / KB;
}

/* As above, once it has come to rest. */
static double memory_used(void)
{
	double last, now;
	int tries = 10;

	gauge_init();
	now = memory_used_now();
	do {
		last = now;
		now = memory_used_now();
	} while (now != last && --tries);
	return now;
}

static double used_since(double before)
{
	return memory_used() - before;
}

static void memory(const char *name, const char *unit, double value)
{
	printf("memory memory/%s | %s | %.8g\n", name, unit, value);
}

static void table_memory(unsigned int shift, unsigned int levels, unsigned int size_shift,
			 char *va)
{
	char *kind = text("%s/%u levels/2^%u", shift_name(shift), levels, size_shift);
	long vmlck = spapr_vmlck_kb();
	double before = memory_used();

	if (window(shift, 1ULL << size_shift, levels)) {
		printf("refused memory/table, empty/%s | %d\n", kind, EINVAL);
		return;
	}
	memory(text("table, empty/%s", kind), "KiB", used_since(before));
	memory(text("table, locked_vm/%s", kind), "KiB", spapr_vmlck_kb() - vmlck);
	must(spapr_map(box.container, 0, va, 64 * MB, MAP_RW), "MAP");
	memory(text("table, 64M at 0/%s", kind), "KiB", used_since(before));
	if (size_shift >= 46) {
		must(spapr_map(box.container, 0x244000000000, va, 64 * MB, MAP_RW), "MAP");
		memory(text("table, and 64M at 0x244000000000/%s", kind), "KiB",
		       used_since(before));
		must(spapr_unmap(box.container, 0, 64 * MB), "UNMAP");
		must(spapr_unmap(box.container, 0x244000000000, 64 * MB), "UNMAP");
		memory(text("table, both unmapped/%s", kind), "KiB", used_since(before));
	} else {
		must(spapr_map(box.container, 0, va, GB, MAP_RW), "MAP");
		memory(text("table, 1 GiB/%s", kind), "KiB", used_since(before));
	}
	must(spapr_remove(box.container, 0), "REMOVE");
	memory(text("table, after REMOVE/%s", kind), "KiB", used_since(before));
}

static void region_memory(enum backing backing)
{
	char *va = memory_get(backing, GB);
	long vmlck = spapr_vmlck_kb();
	double before;

	if (!va)
		return;
	/* Once for what the first call leaves behind for ever. */
	must(spapr_register(box.container, va, GB), "REGISTER");
	must(spapr_unregister(box.container, va, GB), "UNREGISTER");
	before = memory_used();
	must(spapr_register(box.container, va, GB), "REGISTER");
	memory(text("1 GiB registered/%s", backing_name[backing]), "KiB", used_since(before));
	memory(text("1 GiB registered, locked_vm/%s", backing_name[backing]), "KiB",
	       spapr_vmlck_kb() - vmlck);
	must(spapr_unregister(box.container, va, GB), "UNREGISTER");
	memory(text("1 GiB unregistered/%s", backing_name[backing]), "KiB", used_since(before));
	memory_put(backing, va, GB);
}

static void group_memory(void)
{
	enum backing backing;
	char *va;
	int rep;

	box_open();
	for (backing = SMALL; backing <= HUGE_1G; backing++)
		for (rep = 0; rep < REPEAT; rep++)
			region_memory(backing);
	box_close();
	va = small_memory(GB);
	box_open();
	must(spapr_register(box.container, va, GB), "REGISTER");
	for (rep = 0; rep < REPEAT; rep++) {
		table_memory(SHIFT_64K, 2, 40, va);
		table_memory(SHIFT_64K, 2, 46, va);
		table_memory(SHIFT_64K, 3, 46, va);
	}
	box_close();
	memory_put(SMALL, va, GB);
}

static const struct {
	const char *name;
	void (*run)(void);
} groups[] = {
	{ "floor", group_floor },
	{ "register", group_register },
	{ "map", group_map },
	{ "kill", group_kill },
	{ "large", group_large },
	{ "single", group_single },
	{ "regions", group_regions },
	{ "window", group_window },
	{ "guest", group_guest },
	{ "hypercalls", group_hypercalls },
	{ "iommufd", group_iommufd },
	{ "memory", group_memory },
};

int main(int argc, char **argv)
{
	struct sched_param first = { .sched_priority = 1 };
	unsigned int i;
	int arg;

	setvbuf(stdout, NULL, _IOLBF, 0);
	must(spapr_find_devices(&dev, 1) - 1, "no NVMe controller");
	/* Nobody else gets the processor while something is counted. */
	if (sched_setscheduler(0, SCHED_FIFO, &first) || mlockall(MCL_CURRENT))
		must(-errno, "real-time priority");
	for (arg = 1; arg < argc; arg++) {
		for (i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
			if (strcmp(groups[i].name, argv[arg]))
				continue;
			fprintf(stderr, "%s...\n", argv[arg]);
			groups[i].run();
			break;
		}
		if (i == sizeof(groups) / sizeof(groups[0]))
			must(-EINVAL, argv[arg]);
	}
	printf("points %lu\n", records);
	return 0;
}
