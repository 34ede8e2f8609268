// SPDX-License-Identifier: GPL-2.0
/*
 * Each allocation of each call on /dev/iommu fails once.  The call then has to fail with an
 * errno that says so, to leave pins and earlier mappings alone, and to work when it is tried
 * again.  Every n gets a child of its own.
 */
#include "iommufd_fixture.h"
#include "lib/fault.h"

#define FAR_AWAY	(64UL << 40)	/* from what is mapped: other levels */

struct state {
	const struct spapr_device *dev;
	struct iommufd_setup s;
	uint32_t other;
	char *mem;
};

static int open_both(struct state *st)
{
	st->s.iommufd = iommufd_open();
	st->s.device = iommufd_open_device(st->dev);
	return st->s.iommufd < 0 || st->s.device < 0 ? -ENODEV : 0;
}

static int bind_device(struct state *st)
{
	return iommufd_bind(st->s.device, st->s.iommufd, &st->s.id);
}

static int add_ioas(struct state *st)
{
	return iommufd_ioas(st->s.iommufd, &st->s.ioas);
}

static int bound(struct state *st)
{
	return open_both(st) ?: bind_device(st) ?: add_ioas(st);
}

static int attach(struct state *st)
{
	return iommufd_attach(st->s.device, st->s.ioas);
}

static int detach(struct state *st)
{
	return iommufd_detach(st->s.device);
}

static int map_low(struct state *st)
{
	return iommufd_map(st->s.iommufd, st->s.ioas, IOVA, st->mem, HALF, MAP_RW);
}

static int bound_with_mapping(struct state *st)
{
	return bound(st) ?: map_low(st);
}

static int complete(struct state *st)
{
	return bound(st) ?: attach(st) ?: map_low(st);
}

static int map_far(struct state *st)
{
	return iommufd_map(st->s.iommufd, st->s.ioas, FAR_AWAY, st->mem + HALF, HALF, MAP_RW);
}

static int unmap_far(struct state *st)
{
	return iommufd_unmap(st->s.iommufd, st->s.ioas, FAR_AWAY, HALF);
}

static int complete_with_far(struct state *st)
{
	return complete(st) ?: map_far(st);
}

static int add_hwpt(struct state *st)
{
	return iommufd_hwpt(st->s.iommufd, st->s.id, st->s.ioas, 0, &st->other);
}

static int remove_other(struct state *st)
{
	return iommufd_destroy(st->s.iommufd, st->other);
}

static int complete_with_other(struct state *st)
{
	return complete(st) ?: iommufd_ioas(st->s.iommufd, &st->other) ?:
	       iommufd_map(st->s.iommufd, st->other, IOVA, st->mem, HALF, MAP_RW);
}

static int attach_other(struct state *st)
{
	return iommufd_attach(st->s.device, st->other);
}

static int nothing(struct state *st)
{
	return 0;
}

/* The controller reaches what was mapped before the call. */
static int still_reached(struct state *st)
{
	struct nvme nvme;
	int ret;

	ret = nvme_start(&nvme, st->s.device, st->mem, IOVA);
	if (!ret && !nvme_round_trip(&nvme, st->mem, IOVA, AT_SOURCE, AT_TARGET))
		ret = -EIO;
	if (!ret)
		nvme_stop(&nvme);
	return ret;
}

FIXTURE(fault)
{
	struct iommufd_state st;
};

FIXTURE_VARIANT(fault)
{
	int (*prepare)(struct state *st);
	int (*call)(struct state *st);
	int (*check)(struct state *st);		/* after a failure, and after success */
	int (*undo)(struct state *st);
	int least;				/* so many allocations must have failed with it */
};

FIXTURE_VARIANT_ADD(fault, BIND) { open_both, bind_device, nothing, nothing, 1 };
FIXTURE_VARIANT_ADD(fault, IOAS_ALLOC) { open_both, add_ioas, nothing, nothing, 1 };
FIXTURE_VARIANT_ADD(fault, ATTACH) { bound, attach, nothing, detach, 3 };
FIXTURE_VARIANT_ADD(fault, ATTACH_mapped) { bound_with_mapping, attach, nothing, detach, 4 };
FIXTURE_VARIANT_ADD(fault, MAP) { complete, map_far, still_reached, unmap_far, 3 };
FIXTURE_VARIANT_ADD(fault, HWPT_ALLOC) { complete, add_hwpt, still_reached, remove_other, 3 };
FIXTURE_VARIANT_ADD(fault, replace) {
	complete_with_other, attach_other, still_reached, attach, 3
};

/* These cannot fail. */
FIXTURE_VARIANT_ADD(fault, UNMAP) { complete_with_far, unmap_far, still_reached, nothing };
FIXTURE_VARIANT_ADD(fault, DETACH) { complete, detach, nothing, nothing };

FIXTURE_SETUP(fault)
{
	const char *why = fault_begin() ?: iommufd_begin(&self->st, 1);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN(fault)
{
	EXPECT_TRUE(iommufd_end(&self->st));
}

/* One child's life: the state, the call, its failure or success, the end. */
static enum outcome fail_one(const struct _fixture_variant_fault *v,
			     const struct iommufd_state *begin, int n)
{
	struct state st = { .dev = &begin->dev[0], .mem = begin->mem };
	bool injected;
	long pins;
	int armed, ret;

	ret = v->prepare(&st);
	if (ret)
		return fault_broken("preparation", n, ret, 0);
	pins = spapr_pins_held();
	armed = fault_arm(n);
	ret = v->call(&st);
	injected = fault_disarm(armed);
	if (ret && (!injected || ret != -ENOMEM))
		return fault_broken("result", n, ret, injected ? -ENOMEM : 0);
	if (ret && pins_settled(pins) != pins)
		return fault_broken("pins after the failure", n, spapr_pins_held(), pins);
	if (v->check(&st))
		return fault_broken("check", n, v->check(&st), 0);
	if (ret && v->call(&st))
		return fault_broken("second try", n, 1, 0);
	if (v->undo(&st))
		return fault_broken("undoing the call", n, 1, 0);
	iommufd_teardown(&st.s);
	if (pins_settled(begin->pins) != begin->pins)
		return fault_broken("pins at the end", n, spapr_pins_held(), begin->pins);
	if (ret)
		return FAILED;
	return injected ? SURVIVED : NOT_REACHED;
}

TEST_F(fault, every_allocation_fails_once)
{
	FAULT_EACH_ONCE(fail_one(variant, &self->st, n));
}

TEST_HARNESS_MAIN
