// SPDX-License-Identifier: GPL-2.0
/*
 * Each allocation of each call fails once. The call then has to fail with an errno
 * that says so, to leave counters and earlier mappings alone, and to work when it
 * is tried again.
 *
 * Every n gets a child of its own, so that allocations that are made once for an
 * mm or a container fail, too.
 */
#include <sys/wait.h>

#include "fixture.h"
#include "lib/fault.h"

#define BIG_WINDOW	(1024 * GB)
#define FAR_AWAY	(BIG_WINDOW / 2)	/* from the first entry: other levels */

/* What a child works on: region @low is there before the call, @high may come with it. */
struct state {
	const struct spapr_device *dev;		/* two of them, if there are two */
	struct spapr_setup s;
	int other_group;
	char *low, *high;
	char *scattered;			/* of base pages that are all over the place */
	uint64_t base;
};

static int open_both(struct state *st)
{
	st->s.container = spapr_open_container();
	st->s.group = spapr_open_group(st->dev);
	return st->s.container < 0 || st->s.group < 0 ? -ENODEV : 0;
}

static int set_container(struct state *st)
{
	return spapr_set_container(st->s.group, st->s.container);
}

static int unset_container(struct state *st)
{
	return spapr_unset_container(st->s.group);
}

static int open_and_set_container(struct state *st)
{
	return open_both(st) ?: set_container(st);
}

static int set_iommu(struct state *st)
{
	return spapr_set_iommu(st->s.container, VFIO_SPAPR_TCE_v2_IOMMU);
}

static int complete(struct state *st)
{
	return open_and_set_container(st) ?: set_iommu(st);
}

static int complete_without_default(struct state *st)
{
	return complete(st) ?: spapr_remove(st->s.container, 0);
}

static int add_region(struct state *st)
{
	return spapr_register(st->s.container, st->high, HALF);
}

static int remove_region(struct state *st)
{
	return spapr_unregister(st->s.container, st->high, HALF);
}

static int complete_with_region(struct state *st)
{
	return complete(st) ?: add_region(st);
}

/* More pages than one chunk of their addresses has, and no two of them side by side. */
#define SCATTERED_PAGES	1100

static size_t scattered_size(void)
{
	return SCATTERED_PAGES * spapr_page_size();
}

static int complete_with_scattered(struct state *st)
{
	const size_t page = spapr_page_size(), size = scattered_size();
	size_t i, odd;

	st->scattered = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	if (st->scattered == MAP_FAILED || madvise(st->scattered, size, MADV_NOHUGEPAGE))
		return -errno;
	for (odd = 0; odd < 2; odd++)
		for (i = odd; i < SCATTERED_PAGES; i += 2)
			st->scattered[i * page] = 1;
	return complete(st);
}

static int add_scattered(struct state *st)
{
	return spapr_register(st->s.container, st->scattered, scattered_size());
}

static int remove_scattered(struct state *st)
{
	return spapr_unregister(st->s.container, st->scattered, scattered_size());
}

static int create(struct state *st)
{
	return spapr_create(st->s.container, SHIFT_64K, BIG_WINDOW, 3, &st->base);
}

static int destroy(struct state *st)
{
	return spapr_remove(st->s.container, st->base);
}

/* Both regions, a window, and a mapping at its start that no failure may touch. */
static int complete_with_window(struct state *st)
{
	return complete_without_default(st) ?:
	       spapr_register(st->s.container, st->low, HALF) ?: add_region(st) ?: create(st) ?:
	       spapr_map(st->s.container, st->base, st->low, HALF, MAP_RW);
}

static int map_far(struct state *st)
{
	return spapr_map(st->s.container, st->base + FAR_AWAY, st->high, HALF, MAP_RW);
}

static int unmap_far(struct state *st)
{
	return spapr_unmap(st->s.container, st->base + FAR_AWAY, HALF);
}

static int complete_with_mapping(struct state *st)
{
	return complete_with_window(st) ?: map_far(st);
}

/* The default window, which the first map makes. */
static int map_default(struct state *st)
{
	return spapr_map(st->s.container, 0, st->high, HALF, MAP_RW);
}

static int unmap_default(struct state *st)
{
	return spapr_unmap(st->s.container, 0, HALF);
}

static int get_info(struct state *st)
{
	struct vfio_iommu_spapr_tce_info info;

	return spapr_get_info(st->s.container, &info);
}

static int unmap_everything(struct state *st)
{
	uint64_t bytes;

	return spapr_unmap_all(st->s.container, &bytes);
}

/* All is well if it has a state. */
static int get_eeh_state(struct state *st)
{
	int ret = spapr_eeh_op(st->s.container, VFIO_EEH_PE_GET_STATE);

	return ret < 0 ? ret : 0;
}

/* A second group, for a container with windows and mappings. */
static int complete_and_other_group(struct state *st)
{
	st->other_group = spapr_open_group(&st->dev[1]);
	return st->other_group < 0 ? st->other_group : complete_with_mapping(st);
}

static int join(struct state *st)
{
	return spapr_set_container(st->other_group, st->s.container);
}

static int part(struct state *st)
{
	return spapr_unset_container(st->other_group);
}

static int set_iommu_v1(struct state *st)
{
	return spapr_set_iommu(st->s.container, VFIO_SPAPR_TCE_IOMMU);
}

static int complete_v1(struct state *st)
{
	return open_and_set_container(st) ?: set_iommu_v1(st);
}

static int enable(struct state *st)
{
	return spapr_ioctl(st->s.container, VFIO_IOMMU_ENABLE, NULL);
}

static int disable(struct state *st)
{
	return spapr_ioctl(st->s.container, VFIO_IOMMU_DISABLE, NULL);
}

/* The default window, which v1 cannot take away again, and a mapping in it. */
static int complete_v1_with_window(struct state *st)
{
	return complete_v1(st) ?: enable(st) ?:
	       spapr_map(st->s.container, HALF, st->low, HALF, MAP_RW);
}

static int complete_v1_with_mapping(struct state *st)
{
	return complete_v1_with_window(st) ?: map_default(st);
}

/* Nothing of a failed map counts: its region can go and come, the other one cannot. */
static int no_trace_of_map(struct state *st)
{
	int ret = spapr_unregister(st->s.container, st->low, HALF);

	if (ret != -EBUSY)
		return ret ?: -EEXIST;
	return remove_region(st) ?: add_region(st);
}

static int no_trace_of_default_map(struct state *st)
{
	return remove_region(st) ?: add_region(st);
}

static int still_mapped(struct state *st)
{
	return remove_region(st) == -EBUSY ? 0 : -ENOENT;
}

static int nothing(struct state *st)
{
	return 0;
}

FIXTURE(fault)
{
	struct spapr_device dev[2];
};

FIXTURE_VARIANT(fault)
{
	int (*prepare)(struct state *st);
	int (*call)(struct state *st);
	int (*check)(struct state *st);		/* after the call has failed */
	int (*undo)(struct state *st);		/* after it has succeeded */
	int least;				/* allocations that it makes at least */
	bool default_window;			/* the call may make and charge it */
	bool two_groups;
};

FIXTURE_VARIANT_ADD(fault, SET_CONTAINER) {
	open_both, set_container, nothing, unset_container,
};

FIXTURE_VARIANT_ADD(fault, SET_IOMMU) {
	open_and_set_container, set_iommu, nothing, nothing, 1,
};

FIXTURE_VARIANT_ADD(fault, REGISTER) {
	complete, add_region, nothing, remove_region, 3,
};

/* The region, an array for a batch of pages, a directory and its chunks. */
FIXTURE_VARIANT_ADD(fault, REGISTER_scattered) {
	complete_with_scattered, add_scattered, nothing, remove_scattered, 6,
};

FIXTURE_VARIANT_ADD(fault, UNREGISTER) {
	complete_with_region, remove_region, nothing, nothing,
};

FIXTURE_VARIANT_ADD(fault, CREATE) {
	complete_without_default, create, nothing, destroy, 2,
};

FIXTURE_VARIANT_ADD(fault, CREATE_with_default) {
	complete, create, nothing, destroy, 4, true,
};

FIXTURE_VARIANT_ADD(fault, REMOVE) {
	complete_with_mapping, destroy, still_mapped, nothing,
};

FIXTURE_VARIANT_ADD(fault, MAP_new_levels) {
	complete_with_window, map_far, no_trace_of_map, unmap_far, 2,
};

FIXTURE_VARIANT_ADD(fault, MAP_default_window) {
	complete_with_region, map_default, no_trace_of_default_map, unmap_default, 2, true,
};

FIXTURE_VARIANT_ADD(fault, UNMAP) {
	complete_with_mapping, unmap_far, still_mapped, nothing,
};

FIXTURE_VARIANT_ADD(fault, UNMAP_all) {
	complete_with_mapping, unmap_everything, still_mapped, nothing,
};

FIXTURE_VARIANT_ADD(fault, GET_INFO) {
	complete, get_info, nothing, nothing,
};

FIXTURE_VARIANT_ADD(fault, EEH_GET_STATE) {
	complete, get_eeh_state, nothing, nothing,
};

FIXTURE_VARIANT_ADD(fault, SET_CONTAINER_second_group) {
	complete_and_other_group, join, still_mapped, part, 1, .two_groups = true,
};

FIXTURE_VARIANT_ADD(fault, v1_SET_IOMMU) {
	open_and_set_container, set_iommu_v1, nothing, nothing, 1,
};

FIXTURE_VARIANT_ADD(fault, v1_ENABLE) {
	complete_v1, enable, nothing, disable,
};

FIXTURE_VARIANT_ADD(fault, v1_DISABLE) {
	complete_v1_with_mapping, disable, nothing, nothing,
};

/* Where kmalloc() fails, vmalloc() helps. */
FIXTURE_VARIANT_ADD(fault, v1_MAP) {
	complete_v1_with_window, map_default, nothing, unmap_default, 0,
};

FIXTURE_VARIANT_ADD(fault, v1_UNMAP) {
	complete_v1_with_mapping, unmap_default, nothing, nothing,
};

FIXTURE_SETUP(fault)
{
	int groups = variant->two_groups ? 2 : 1;
	const char *why = fault_begin();

	if (!why && !type_supported(VFIO_SPAPR_TCE_v2_IOMMU))
		why = "no /dev/vfio/vfio, or no container of this type";
	if (!why && spapr_find_devices(self->dev, groups) < groups)
		why = "too few NVMe controllers that vfio-pci can take";
	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(fault)
{
}

/* Nothing but a default window is left of the failed call, and it works now. */
static enum outcome after_failure(const struct _fixture_variant_fault *v, struct state *st, int n,
				  const long before[2])
{
	int ret;

	if (v->default_window && spapr_vmlck_kb() != before[0]) {
		ret = spapr_remove(st->s.container, 0);
		if (ret)
			return fault_broken("removal of the default window", n, ret, 0);
	}
	if (spapr_vmlck_kb() != before[0])
		return fault_broken("VmLck after the failure", n, spapr_vmlck_kb(), before[0]);
	if (spapr_pins_held() != before[1])
		return fault_broken("pins after the failure", n, spapr_pins_held(), before[1]);
	ret = v->check(st);
	if (ret)
		return fault_broken("check after the failure", n, ret, 0);
	ret = v->call(st);
	return ret ? fault_broken("second try", n, ret, 0) : FAILED;
}

/* One child's life: the state, the call, its failure or success, the end. */
static enum outcome fail_one(const struct _fixture_variant_fault *v,
			     const struct spapr_device *dev, int n)
{
	struct state st = { .dev = dev, .other_group = -1 };
	long start[2], before[2];
	enum outcome outcome;
	bool injected;
	int armed, ret;

	st.low = spapr_memory(MEM_SIZE, MEM_ALIGN);
	st.high = st.low + HALF;
	start[0] = spapr_vmlck_kb();
	start[1] = spapr_pins_held();
	ret = v->prepare(&st);
	if (ret)
		return fault_broken("preparation", n, ret, 0);
	before[0] = spapr_vmlck_kb();
	before[1] = spapr_pins_held();

	armed = fault_arm(n);
	ret = v->call(&st);
	injected = fault_disarm(armed);
	if (ret && (!injected || ret != -ENOMEM))
		return fault_broken("result", n, ret, injected ? -ENOMEM : 0);
	if (ret)
		outcome = after_failure(v, &st, n, before);
	else
		outcome = injected ? SURVIVED : NOT_REACHED;
	if (outcome == BROKEN)
		return outcome;

	ret = v->undo(&st);
	if (ret)
		return fault_broken("undoing the call", n, ret, 0);
	if (st.other_group >= 0)
		close(st.other_group);
	spapr_teardown(&st.s);
	if (spapr_vmlck_kb() != start[0])
		return fault_broken("VmLck at the end", n, spapr_vmlck_kb(), start[0]);
	if (spapr_pins_held() != start[1])
		return fault_broken("pins at the end", n, spapr_pins_held(), start[1]);
	return outcome;
}

TEST_F(fault, every_allocation_fails_once)
{
	FAULT_EACH_ONCE(fail_one(variant, self->dev, n));
}

TEST_HARNESS_MAIN
