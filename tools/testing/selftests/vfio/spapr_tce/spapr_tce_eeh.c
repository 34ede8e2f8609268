// SPDX-License-Identifier: GPL-2.0
/*
 * EEH operations go to every group of a container, answer with an errno or, GET_STATE
 * alone, with a state, and leave devices that work.
 */
#include "fixture.h"

#define AT_SOURCE	MB
#define AT_TARGET	(2 * MB)

FIXTURE(eeh)
{
	struct spapr_state st;
	int c, groups, group[2];
	char *mem;
};

FIXTURE_VARIANT(eeh)
{
	int type;
	int groups;
};

FIXTURE_VARIANT_ADD(eeh, v1) { VFIO_SPAPR_TCE_IOMMU, 1 };
FIXTURE_VARIANT_ADD(eeh, v2_one_group) { VFIO_SPAPR_TCE_v2_IOMMU, 1 };
FIXTURE_VARIANT_ADD(eeh, v2_two_groups) { VFIO_SPAPR_TCE_v2_IOMMU, 2 };

FIXTURE_SETUP(eeh)
{
	const char *why = state_begin(&self->st, variant->groups, variant->type);

	if (why)
		SKIP(return, "%s", why);
	self->group[1] = -1;
	self->c = self->st.s.container;
	self->mem = self->st.mem;
	self->group[0] = self->st.s.group;
	if (variant->groups == 2) {
		self->group[1] = spapr_open_group(&self->st.dev[1]);
		ASSERT_LE(0, self->group[1]);
		ASSERT_EQ(0, spapr_set_container(self->group[1], self->c));
	}
	if (spapr_ioctl(self->c, VFIO_CHECK_EXTENSION, (void *)VFIO_EEH) != 1)
		SKIP(return, "no EEH on this machine");
	ASSERT_EQ(0, variant->type == VFIO_SPAPR_TCE_IOMMU ?
		  spapr_ioctl(self->c, VFIO_IOMMU_ENABLE, NULL) :
		  spapr_register(self->c, self->mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_map(self->c, 0, self->mem, MEM_SIZE, MAP_RW));
}

FIXTURE_TEARDOWN(eeh)
{
	if (self->group[1] >= 0)
		close(self->group[1]);
	EXPECT_TRUE(state_end(&self->st));
}

static bool is_state(int ret)
{
	return ret == VFIO_EEH_PE_STATE_NORMAL || ret == VFIO_EEH_PE_STATE_RESET ||
	       ret == VFIO_EEH_PE_STATE_STOPPED || ret == VFIO_EEH_PE_STATE_STOPPED_DMA ||
	       ret == VFIO_EEH_PE_STATE_UNAVAIL;
}

/* Each controller of the container still does DMA. */
static bool all_work(const struct _test_data_eeh *self, int groups)
{
	struct nvme nvme;
	bool ok = true;
	int i, device;

	for (i = 0; i < groups && ok; i++) {
		device = spapr_open_device(self->group[i], &self->st.dev[i]);
		ok = device >= 0 && !nvme_start(&nvme, device, self->mem, 0) &&
		     nvme_round_trip(&nvme, self->mem, 0, AT_SOURCE, AT_TARGET);
		if (device < 0)
			continue;
		nvme_stop(&nvme);
		close(device);
	}
	return ok;
}

TEST_F(eeh, C5_GET_STATE_is_a_state)
{
	EXPECT_TRUE(is_state(spapr_eeh_op(self->c, VFIO_EEH_PE_GET_STATE)));
	EXPECT_EQ(VFIO_EEH_PE_STATE_NORMAL, spapr_eeh_op(self->c, VFIO_EEH_PE_GET_STATE));
}

TEST_F(eeh, C5_options_return_0)
{
	static const unsigned int ops[] = {
		VFIO_EEH_PE_ENABLE, VFIO_EEH_PE_DISABLE, VFIO_EEH_PE_ENABLE,
		VFIO_EEH_PE_UNFREEZE_IO, VFIO_EEH_PE_UNFREEZE_DMA, VFIO_EEH_PE_CONFIGURE,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		EXPECT_EQ(0, spapr_eeh_op(self->c, ops[i]));
		EXPECT_TRUE(is_state(spapr_eeh_op(self->c, VFIO_EEH_PE_GET_STATE)));
	}
	EXPECT_TRUE(all_work(self, variant->groups));
}

TEST_F(eeh, devices_work_after_each_reset)
{
	static const unsigned int resets[] = {
		VFIO_EEH_PE_RESET_HOT, VFIO_EEH_PE_RESET_FUNDAMENTAL,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(resets); i++) {
		EXPECT_EQ(0, spapr_eeh_op(self->c, resets[i]));
		EXPECT_TRUE(is_state(spapr_eeh_op(self->c, VFIO_EEH_PE_GET_STATE)));
		EXPECT_EQ(0, spapr_eeh_op(self->c, VFIO_EEH_PE_RESET_DEACTIVATE));
		EXPECT_EQ(0, spapr_eeh_op(self->c, VFIO_EEH_PE_CONFIGURE));
		EXPECT_EQ(VFIO_EEH_PE_STATE_NORMAL, spapr_eeh_op(self->c, VFIO_EEH_PE_GET_STATE));
		/* What was mapped is mapped. */
		EXPECT_TRUE(all_work(self, variant->groups));
	}
}

/* Errors that are none are refused here, and not with a line in the log for each. */
TEST_F(eeh, C5_C10_INJECT_ERR_with_bad_arguments)
{
	struct vfio_eeh_pe_op arg = { .op = VFIO_EEH_PE_INJECT_ERR };
	unsigned int bit;
	int mark = spapr_log_mark();

	for (arg.argsz = offsetof(struct vfio_eeh_pe_op, err);
	     arg.argsz < offsetof(struct vfio_eeh_pe_op, err) + sizeof(arg.err); arg.argsz++)
		EXPECT_EQ(-EINVAL, spapr_ioctl(self->c, VFIO_EEH_PE_OP, &arg));
	arg.argsz = sizeof(arg);
	for (bit = 1; bit < 32; bit++) {
		arg.err.type = 1U << bit;
		arg.err.func = 0;
		EXPECT_EQ(-EINVAL, spapr_ioctl(self->c, VFIO_EEH_PE_OP, &arg));
		arg.err.type = 0;
		arg.err.func = (1U << bit) + 19;
		EXPECT_EQ(-EINVAL, spapr_ioctl(self->c, VFIO_EEH_PE_OP, &arg));
		EXPECT_EQ(-EINVAL, spapr_eeh_op(self->c, (1U << bit) + VFIO_EEH_PE_CONFIGURE));
	}
	if (mark >= 0)
		EXPECT_EQ(0, spapr_log_lines(mark));
	EXPECT_TRUE(all_work(self, variant->groups));
}

/* Firmware may be unable to do it, or do it; the answer is an errno or 0. */
TEST_F(eeh, C5_INJECT_ERR_returns_no_firmware_code)
{
	struct vfio_eeh_pe_op arg = { .argsz = sizeof(arg), .op = VFIO_EEH_PE_INJECT_ERR };
	int ret = spapr_ioctl(self->c, VFIO_EEH_PE_OP, &arg);

	EXPECT_TRUE(ret == 0 || ret == -ENXIO || ret == -EIO);
	EXPECT_TRUE(is_state(spapr_eeh_op(self->c, VFIO_EEH_PE_GET_STATE)));
	EXPECT_EQ(0, spapr_eeh_op(self->c, VFIO_EEH_PE_RESET_HOT));
	EXPECT_EQ(0, spapr_eeh_op(self->c, VFIO_EEH_PE_RESET_DEACTIVATE));
	EXPECT_TRUE(all_work(self, variant->groups));
}

TEST_F(eeh, R10_another_mm)
{
	EXPECT_EQ(-EPERM, in_child(spapr_eeh_op(self->c, VFIO_EEH_PE_GET_STATE)));
	EXPECT_EQ(-EPERM, in_child(spapr_eeh_op(self->c, VFIO_EEH_PE_RESET_HOT)));
	EXPECT_TRUE(all_work(self, variant->groups));
}

TEST_HARNESS_MAIN
