// SPDX-License-Identifier: GPL-2.0-only
/*
 * EEH (enhanced error handling) of a container: each operation goes to the PE of each group,
 * one after the other, up to the first error.
 *
 * This runs without the container's lock, because a reset takes long; groups_lock keeps the
 * groups.  Arguments are checked here, as what the platform refuses it also prints.
 */

#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/spinlock.h>

#include <asm/eeh.h>
#include "spapr_tce.h"

/* The operations that are one function of the EEH core and its argument. */
static const struct {
	u32 op;
	int (*set_option)(struct eeh_pe *pe, int option);
	int (*reset)(struct eeh_pe *pe, int option, bool include_passed);
	int option;
} eeh_calls[] = {
	{ .op = VFIO_EEH_PE_ENABLE, .set_option = eeh_pe_set_option, .option = EEH_OPT_ENABLE },
	{ .op = VFIO_EEH_PE_DISABLE, .set_option = eeh_pe_set_option, .option = EEH_OPT_DISABLE },
	{ .op = VFIO_EEH_PE_UNFREEZE_DMA, .set_option = eeh_pe_set_option,
	  .option = EEH_OPT_THAW_DMA },
	{ .op = VFIO_EEH_PE_UNFREEZE_IO, .set_option = eeh_pe_set_option,
	  .option = EEH_OPT_THAW_MMIO },
	{ .op = VFIO_EEH_PE_RESET_HOT, .reset = eeh_pe_reset, .option = EEH_RESET_HOT },
	{ .op = VFIO_EEH_PE_RESET_FUNDAMENTAL, .reset = eeh_pe_reset,
	  .option = EEH_RESET_FUNDAMENTAL },
	{ .op = VFIO_EEH_PE_RESET_DEACTIVATE, .reset = eeh_pe_reset,
	  .option = EEH_RESET_DEACTIVATE },
};

static int eeh_inject(struct eeh_pe *pe, const struct vfio_eeh_pe_op *op)
{
	if (op->argsz < offsetofend(struct vfio_eeh_pe_op, err.mask))
		return -EINVAL;
	if (op->err.type != EEH_ERR_TYPE_32 && op->err.type != EEH_ERR_TYPE_64)
		return -EINVAL;
	if (op->err.func > EEH_ERR_FUNC_MAX)
		return -EINVAL;
	return eeh_pe_inject_err(pe, op->err.type, op->err.func, op->err.addr, op->err.mask);
}

static int eeh_one(struct eeh_pe *pe, const struct vfio_eeh_pe_op *op)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(eeh_calls); i++) {
		if (eeh_calls[i].op != op->op)
			continue;
		return eeh_calls[i].reset ? eeh_calls[i].reset(pe, eeh_calls[i].option, true) :
					  eeh_calls[i].set_option(pe, eeh_calls[i].option);
	}
	switch (op->op) {
	case VFIO_EEH_PE_CONFIGURE:
		return eeh_pe_configure(pe);
	case VFIO_EEH_PE_INJECT_ERR:
		return eeh_inject(pe, op);
	}
	return -EINVAL;
}

/* The reset of a slot has errors of its own, which mean nothing to the caller. */
static int eeh_errno(int ret)
{
	switch (ret) {
	case 0:
	case -EINVAL:
	case -ENODEV:
	case -ENOENT:
	case -ENXIO:
		return ret;
	}
	return -EIO;
}

/**
 * tce_eeh_op() - do one EEH operation on every group
 * @container: the container
 * @op: the operation
 *
 * Context: Process, may sleep for seconds; takes groups_lock.
 * Return: 0, or for VFIO_EEH_PE_GET_STATE the state of the first PE that is not in its normal
 * state; -EINVAL for an unknown operation or bad arguments; -ENODEV for a group without a PE;
 * -ENOENT, -ENXIO where the platform cannot do it; -EINTR after a fatal signal; -EIO.  Groups
 * before the failing one have carried the operation out.
 */
int tce_eeh_op(struct tce_container *container, const struct vfio_eeh_pe_op *op)
{
	struct tce_group *group;
	struct eeh_pe *pe;
	int ret = 0;

	if (down_read_killable(&container->groups_lock))
		return -EINTR;
	list_for_each_entry(group, &container->groups, next) {
		pe = eeh_iommu_group_to_pe(group->iommu_group);
		if (!pe)
			ret = -ENODEV;
		else if (op->op == VFIO_EEH_PE_GET_STATE)
			ret = eeh_pe_get_state(pe);
		else
			ret = eeh_one(pe, op);
		if (ret)
			break;
	}
	up_read(&container->groups_lock);
	return ret > 0 && op->op == VFIO_EEH_PE_GET_STATE ? ret : eeh_errno(ret);
}
