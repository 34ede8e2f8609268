// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to map and unmap memory for a device by /dev/iommu.
 *
 * iommufd maps each physically contiguous piece by a call of the domain, and
 * unmaps batches of pieces; so what is counted depends on what is behind the memory.
 */
#include <errno.h>
#include <stdio.h>

#include "bench.h"
#include "lib/iommufd.h"

#define IOVA	(8 * GB)

static void map_and_unmap(const struct iommufd_setup *s, const char *kind, char *va, unsigned long n)
{
	int rep;

	for (rep = 0; rep < REPEAT; rep++) {
		COUNTED(iommufd_map(s->iommufd, s->ioas, IOVA, va, n * PAGE, MAP_RW));
		point(text("ioas map/%s", kind), "64K page", n);
		COUNTED(iommufd_unmap(s->iommufd, s->ioas, IOVA, n * PAGE));
		point(text("ioas unmap/%s", kind), "64K page", n);
	}
}

void group_iommufd(void)
{
	static const unsigned long pages[] = { 1, 512, 4096 };
	char *va = small_memory(4096 * PAGE);
	struct iommufd_setup s;
	unsigned int i;
	int ret;

	ret = iommufd_supported(&dev) ? iommufd_setup(&s, &dev) : -EOPNOTSUPP;
	if (ret) {
		printf("refused ioas map/base pages | %d\n", -ret);
		return;
	}
	/* Its leaf stays. */
	must(iommufd_map(s.iommufd, s.ioas, IOVA - PAGE, va, PAGE, MAP_RW), "IOAS_MAP");
	must(iommufd_map(s.iommufd, s.ioas, IOVA + 4096 * PAGE, va, PAGE, MAP_RW), "IOAS_MAP");
	for (i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		map_and_unmap(&s, "base pages", va, pages[i]);
	iommufd_teardown(&s);
}
