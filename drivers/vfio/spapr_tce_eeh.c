// SPDX-License-Identifier: GPL-2.0-only
/*
 * EEH (enhanced error handling) of a container: each operation goes to the PE of each group,
 * one after the other, up to the first error.
 *
 * A reset takes long, and waits for the device_lock and for locks of the PCI
 * core, under which others detach a group.  So it runs without any lock of the
 * container.  A reference to a device of each group is taken first, which also
 * keeps the bus, and a read section of the EEH core keeps the PEs.  A group may
 * leave meanwhile; what was begun on its PE is finished.
 *
 * Arguments are checked here, because the platform prints a line for each that
 * it refuses.
 */

#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/list.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include <asm/eeh.h>
#include "spapr_tce.h"

/* Operations that call one function of the EEH core with a fixed argument. */
static const struct {
	u32 op;
	int (*set_option)(struct eeh_pe *pe, int option);
	int (*reset)(struct eeh_pe *pe, int option, bool include_passed);
	int option;
} eeh_calls[] = {
	{ .op = VFIO_EEH_PE_ENABLE,
	  .set_option = eeh_pe_set_option,
	  .option = EEH_OPT_ENABLE },
	{ .op = VFIO_EEH_PE_DISABLE,
	  .set_option = eeh_pe_set_option,
	  .option = EEH_OPT_DISABLE },
	{ .op = VFIO_EEH_PE_UNFREEZE_DMA,
	  .set_option = eeh_pe_set_option,
	  .option = EEH_OPT_THAW_DMA },
	{ .op = VFIO_EEH_PE_UNFREEZE_IO,
	  .set_option = eeh_pe_set_option,
	  .option = EEH_OPT_THAW_MMIO },
	{ .op = VFIO_EEH_PE_RESET_HOT,
	  .reset = eeh_pe_reset,
	  .option = EEH_RESET_HOT },
	{ .op = VFIO_EEH_PE_RESET_FUNDAMENTAL,
	  .reset = eeh_pe_reset,
	  .option = EEH_RESET_FUNDAMENTAL },
	{ .op = VFIO_EEH_PE_RESET_DEACTIVATE,
	  .reset = eeh_pe_reset,
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
	return eeh_pe_inject_err(pe, op->err.type, op->err.func, op->err.addr,
				 op->err.mask);
}

static int eeh_do(struct eeh_pe *pe, const struct vfio_eeh_pe_op *op)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(eeh_calls); i++) {
		if (eeh_calls[i].op != op->op)
			continue;
		return eeh_calls[i].reset ?
			       eeh_calls[i].reset(pe, eeh_calls[i].option,
						  true) :
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

/* Errors of a slot, which a reset may return, tell the caller nothing: -EIO. */
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
 * struct eeh_targets - devices to whose PEs an operation goes
 * @nr: how many groups there are
 * @devs: a device of each, with a reference; NULL for a group that has none
 */
struct eeh_targets {
	unsigned int nr;
	struct pci_dev **devs;
};

/* Called for the devices of a group, which stay, until it returns 1. */
static int eeh_take_device(struct device *dev, void *data)
{
	struct pci_dev **pdev = data;

	if (!dev_is_pci(dev))
		return 0;
	*pdev = pci_dev_get(to_pci_dev(dev));
	return 1;
}

static int targets_get(struct spapr_tce_container *container,
		       struct eeh_targets *targets)
{
	struct spapr_tce_group *group;

	guard(rwsem_read)(&container->lock);
	if (!spapr_tce_first_group(container))
		return -ENXIO;
	targets->nr = 0;
	targets->devs = kcalloc(list_count_nodes(&container->groups),
				sizeof(*targets->devs), GFP_KERNEL_ACCOUNT);
	if (!targets->devs)
		return -ENOMEM;
	list_for_each_entry(group, &container->groups, next)
		iommu_group_for_each_dev(group->iommu_group,
					 &targets->devs[targets->nr++],
					 eeh_take_device);
	return 0;
}

static void targets_put(struct eeh_targets *targets)
{
	unsigned int i;

	for (i = 0; i < targets->nr; i++)
		pci_dev_put(targets->devs[i]);
	kfree(targets->devs);
}

/* Do the operation on the PE of a device; one that was removed has none. */
static int eeh_one(struct pci_dev *pdev, const struct vfio_eeh_pe_op *op)
{
	struct eeh_pe *pe = pdev ? eeh_dev_to_pe(pci_dev_to_eeh_dev(pdev)) :
				   NULL;

	if (!pe)
		return -ENODEV;
	return op->op == VFIO_EEH_PE_GET_STATE ? eeh_pe_get_state(pe) :
						 eeh_do(pe, op);
}

/**
 * spapr_tce_eeh_op() - do one EEH operation on every group
 * @container: the container
 * @op: the operation
 *
 * Context: Process, may sleep for seconds; takes the container's lock for a moment.
 * Return: 0, or for VFIO_EEH_PE_GET_STATE the state of the first PE that is not in its normal
 * state; -EINVAL for an unknown operation or bad arguments; -ENODEV for a group without a PE;
 * -ENXIO without a group; -ENOENT, -ENXIO where the platform cannot do it; -ENOMEM; -EIO.
 * Groups before the failing one have carried the operation out.
 */
int spapr_tce_eeh_op(struct spapr_tce_container *container,
		     const struct vfio_eeh_pe_op *op)
{
	struct eeh_targets targets;
	unsigned int i;
	int ret, idx;

	ret = targets_get(container, &targets);
	if (ret)
		return ret;
	idx = eeh_pe_read_lock();
	spapr_tce_may_wait(container);
	for (i = 0; i < targets.nr && !ret; i++)
		ret = eeh_one(targets.devs[i], op);
	eeh_pe_read_unlock(idx);
	targets_put(&targets);
	return ret > 0 && op->op == VFIO_EEH_PE_GET_STATE ? ret :
							    eeh_errno(ret);
}
