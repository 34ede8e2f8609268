// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to map and unmap memory for a device by /dev/iommu.
 *
 * iommufd maps each physically contiguous piece by a call of the domain, and
 * unmaps batches of pieces; so what is counted depends on what is behind the memory.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "bench.h"
#include "lib/iommufd.h"

/* In the middle of a leaf; so is the end of as many pages as are ever mapped. */
#define IOVA	(8 * GB + 64 * MB)
#define MOST	4096

/* Pages of each of two threads; the second one's are the last of those. */
#define FEW	512
#define OTHER	(IOVA + (MOST - FEW) * PAGE)

static struct iommufd_setup s;

static void map_and_unmap(const char *kind, char *va, unsigned long n)
{
	int rep;

	for (rep = 0; rep < REPEAT; rep++) {
		COUNTED(iommufd_map(s.iommufd, s.ioas, IOVA, va, n * PAGE, MAP_RW));
		point(text("ioas map/%s", kind), "64K page", n);
		COUNTED(iommufd_unmap(s.iommufd, s.ioas, IOVA, n * PAGE));
		point(text("ioas unmap/%s", kind), "64K page", n);
	}
}

static void map_kind(const char *kind, char *va)
{
	static const unsigned long pages[] = { 1, 512, MOST };
	unsigned int i;

	for (i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		map_and_unmap(kind, va, pages[i]);
}

/* The second of two threads: what its map and its unmap store to, the first one's did or did not. */
static void *other_thread(void *va)
{
	COUNTED(iommufd_map(s.iommufd, s.ioas, OTHER, va, FEW * PAGE, MAP_RW));
	point("ioas map/beside another thread", "64K page", FEW);
	return NULL;
}

static void *other_thread_unmaps(void *va)
{
	COUNTED(iommufd_unmap(s.iommufd, s.ioas, OTHER, FEW * PAGE));
	point("ioas unmap/beside another thread", "64K page", FEW);
	return NULL;
}

static void in_thread(void *(*work)(void *arg), void *arg)
{
	pthread_t thread;

	must(-pthread_create(&thread, NULL, work, arg), "thread");
	must(-pthread_join(thread, NULL), "thread");
}

static void two_threads(char *va)
{
	COUNTED(iommufd_map(s.iommufd, s.ioas, IOVA, va, FEW * PAGE, MAP_RW));
	in_thread(other_thread, va);
	COUNTED(iommufd_unmap(s.iommufd, s.ioas, IOVA, FEW * PAGE));
	in_thread(other_thread_unmaps, va);
}

void group_iommufd(void)
{
	char *va = small_memory(MOST * PAGE), *huge;
	int ret;

	ret = iommufd_supported(&dev) ? iommufd_setup(&s, &dev) : -EOPNOTSUPP;
	if (ret) {
		printf("refused ioas map/base pages | %d\n", -ret);
		return;
	}
	/* The first leaf and the last one stay. */
	must(iommufd_map(s.iommufd, s.ioas, IOVA - PAGE, va, PAGE, MAP_RW), "IOAS_MAP");
	must(iommufd_map(s.iommufd, s.ioas, IOVA + MOST * PAGE, va, PAGE, MAP_RW), "IOAS_MAP");
	map_kind("base pages", va);
	two_threads(va);
	huge = memory_get(HUGE_1G, MOST * PAGE);
	if (huge) {
		map_kind("hugetlb 1G", huge);
		memory_put(HUGE_1G, huge, MOST * PAGE);
	}
	iommufd_teardown(&s);
}
