// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls of a container of sPAPR TCE IOMMUs: their table, and the dispatcher.
 *
 * The table says for each call what argument it has and what it depends on.  The dispatcher
 * copies the argument in, checks argsz and flags, takes the lock, checks the state and makes the
 * default window if that is due.  Then the handler runs.  Results are copied out when the lock is
 * no longer held.
 *
 * Handlers may rely on the lock that the table names, and while they hold it on
 * at least one group where the table says so; without the lock a group may leave.
 * Where the table asks for an mm it is the caller's.  Other calls may come before
 * the container has one.
 *
 * They return 0 or -errno, never what firmware said; GET_STATE of VFIO_EEH_PE_OP and
 * CHECK_EXTENSION alone return more than 0.
 */

#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>

#include <asm/eeh.h>
#include "spapr_tce.h"

union spapr_tce_arg {
	struct {
		__u32 argsz;
		__u32 flags;
	};
	struct vfio_iommu_spapr_tce_info info;
	struct vfio_iommu_type1_dma_map map;
	struct vfio_iommu_type1_dma_unmap unmap;
	struct vfio_iommu_spapr_register_memory reg;
	struct vfio_iommu_spapr_tce_create create;
	struct vfio_iommu_spapr_tce_remove remove;
	struct vfio_eeh_pe_op eeh;
};

static long ioctl_get_info(struct spapr_tce_container *container,
			   union spapr_tce_arg *arg, void __user *uarg)
{
	spapr_tce_get_info(container, &arg->info);
	return 0;
}

static long ioctl_map(struct spapr_tce_container *container,
		      union spapr_tce_arg *arg, void __user *uarg)
{
	return spapr_tce_map(container, &arg->map);
}

/* A fatal signal, or firmware that fails, may leave the rest of the range mapped. */
static long ioctl_unmap(struct spapr_tce_container *container,
			union spapr_tce_arg *arg, void __user *uarg)
{
	return spapr_tce_unmap(container, &arg->unmap);
}

static long ioctl_register(struct spapr_tce_container *container,
			   union spapr_tce_arg *arg, void __user *uarg)
{
	return spapr_tce_register(container, arg->reg.vaddr, arg->reg.size);
}

static long ioctl_unregister(struct spapr_tce_container *container,
			     union spapr_tce_arg *arg, void __user *uarg)
{
	return spapr_tce_unregister(container, arg->reg.vaddr, arg->reg.size);
}

static long ioctl_create(struct spapr_tce_container *container,
			 union spapr_tce_arg *arg, void __user *uarg)
{
	return spapr_tce_window_create(container, &arg->create, uarg);
}

/* When firmware refuses, the window stays, empty. */
static long ioctl_remove(struct spapr_tce_container *container,
			 union spapr_tce_arg *arg, void __user *uarg)
{
	return spapr_tce_window_remove(container, arg->remove.start_addr);
}

static long ioctl_enable(struct spapr_tce_container *container,
			 union spapr_tce_arg *arg, void __user *uarg)
{
	return spapr_tce_v1_enable(container);
}

static long ioctl_disable(struct spapr_tce_container *container,
			  union spapr_tce_arg *arg, void __user *uarg)
{
	return spapr_tce_v1_disable(container);
}

/* Groups before the one that fails have carried the operation out. */
static long ioctl_eeh(struct spapr_tce_container *container,
		      union spapr_tce_arg *arg, void __user *uarg)
{
	return spapr_tce_eeh_op(container, &arg->eeh);
}

/* The default window is made by the first MAP or UNMAP of an address in it. */
static bool map_wants_default(struct spapr_tce_container *container,
			      const union spapr_tce_arg *arg)
{
	return spapr_tce_default_is_due(container, arg->map.iova);
}

static bool unmap_wants_default(struct spapr_tce_container *container,
				const union spapr_tce_arg *arg)
{
	return !(arg->unmap.flags & VFIO_DMA_UNMAP_FLAG_ALL) &&
	       spapr_tce_default_is_due(container, arg->unmap.iova);
}

/* Which type of container has a call; the other one answers -ENOTTY. */
enum call_type { TYPE_ANY, TYPE_V1, TYPE_V2 };

/* How the handler is called: with the container's lock, or without, to take it itself. */
enum call_hold { HOLD_NONE, HOLD_READ };

/* Who copies the argument back to the caller, and when. */
enum call_out {
	OUT_NONE,
	OUT_ALL, /* the dispatcher, after the handler succeeded */
	OUT_FLAGGED, /* the dispatcher, if the argument has flags */
	OUT_HANDLER, /* the handler, before others can see what it made */
};

/* What a call needs, in the order in which it is checked. */
#define NEED_MM BIT(0) /* -EPERM while the container belongs to nobody */
#define NEED_ENABLED BIT(1) /* -EPERM before ENABLE or the first REGISTER */
#define NEED_GROUP BIT(2) /* -ENXIO */
#define CLAIM_MM BIT(3) /* an unclaimed container gets the caller's mm */

/**
 * struct spapr_tce_call - a call
 * @handler: does the work; gets the argument, and where it came from
 * @wants_default: whether the default window must be made first; NULL: never.  Called with the
 *	container's lock held for reading, while that window is due
 * @type: which containers have the call
 * @hold: what the handler holds of the lock
 * @needs: what the dispatcher checks and provides
 * @out: who copies the argument back
 * @flags: valid bits of the field flags
 * @minsz: what argsz must cover at least; 0: no argument
 * @size: of the whole argument
 *
 * @wants_default is asked before the mm is claimed, so no row has both that and CLAIM_MM.
 *
 * There is no column for undoing a call whose result cannot be copied out: only CREATE would
 * need it, and does that itself before the window is open.
 */
struct spapr_tce_call {
	long (*handler)(struct spapr_tce_container *container,
			union spapr_tce_arg *arg, void __user *uarg);
	bool (*wants_default)(struct spapr_tce_container *container,
			      const union spapr_tce_arg *arg);
	enum call_type type;
	enum call_hold hold;
	u32 needs;
	enum call_out out;
	u32 flags;
	unsigned int minsz;
	unsigned int size;
};

/* The calls have consecutive numbers. */
#define CALL_INDEX(cmd) (_IOC_NR(cmd) - _IOC_NR(VFIO_IOMMU_SPAPR_TCE_GET_INFO))

#define TCE_ARG(_type, _last) \
	.minsz = offsetofend(_type, _last), .size = sizeof(_type)

static const struct spapr_tce_call spapr_tce_calls[] = {
	[CALL_INDEX(VFIO_IOMMU_SPAPR_TCE_GET_INFO)] = {
		.handler = ioctl_get_info,
		.hold = HOLD_READ,
		.needs = NEED_GROUP,
		.out = OUT_ALL,
		.flags = U32_MAX,
		TCE_ARG(struct vfio_iommu_spapr_tce_info, dma32_window_size),
	},
	[CALL_INDEX(VFIO_IOMMU_MAP_DMA)] = {
		.handler = ioctl_map,
		.wants_default = map_wants_default,
		.hold = HOLD_READ,
		.needs = NEED_ENABLED,
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		TCE_ARG(struct vfio_iommu_type1_dma_map, size),
	},
	[CALL_INDEX(VFIO_IOMMU_UNMAP_DMA)] = {
		.handler = ioctl_unmap,
		.wants_default = unmap_wants_default,
		.hold = HOLD_READ,
		.needs = NEED_ENABLED,
		.out = OUT_FLAGGED,
		.flags = VFIO_DMA_UNMAP_FLAG_ALL,
		TCE_ARG(struct vfio_iommu_type1_dma_unmap, size),
	},
	[CALL_INDEX(VFIO_IOMMU_SPAPR_REGISTER_MEMORY)] = {
		.handler = ioctl_register,
		.type = TYPE_V2,
		.needs = CLAIM_MM,
		TCE_ARG(struct vfio_iommu_spapr_register_memory, size),
	},
	[CALL_INDEX(VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY)] = {
		.handler = ioctl_unregister,
		.type = TYPE_V2,
		.needs = NEED_MM,
		TCE_ARG(struct vfio_iommu_spapr_register_memory, size),
	},
	[CALL_INDEX(VFIO_IOMMU_SPAPR_TCE_CREATE)] = {
		.handler = ioctl_create,
		.type = TYPE_V2,
		.needs = NEED_GROUP | CLAIM_MM,
		.out = OUT_HANDLER,
		TCE_ARG(struct vfio_iommu_spapr_tce_create, start_addr),
	},
	[CALL_INDEX(VFIO_IOMMU_SPAPR_TCE_REMOVE)] = {
		.handler = ioctl_remove,
		.type = TYPE_V2,
		.needs = NEED_GROUP | CLAIM_MM,
		TCE_ARG(struct vfio_iommu_spapr_tce_remove, start_addr),
	},
	[CALL_INDEX(VFIO_EEH_PE_OP)] = {
		.handler = ioctl_eeh,
		TCE_ARG(struct vfio_eeh_pe_op, op),
	},
	[CALL_INDEX(VFIO_IOMMU_ENABLE)] = {
		.handler = ioctl_enable,
		.type = TYPE_V1,
		.needs = NEED_GROUP | CLAIM_MM,
	},
	[CALL_INDEX(VFIO_IOMMU_DISABLE)] = {
		.handler = ioctl_disable,
		.type = TYPE_V1,
	},
};

#define TCE_ROW(cmd) (&spapr_tce_calls[CALL_INDEX(cmd)])

static const struct spapr_tce_call *
call_find(const struct spapr_tce_container *container, unsigned int cmd)
{
	unsigned int index = CALL_INDEX(cmd);
	const struct spapr_tce_call *call;

	if (cmd != _IO(VFIO_TYPE, _IOC_NR(cmd)) ||
	    index >= ARRAY_SIZE(spapr_tce_calls))
		return NULL;
	index = array_index_nospec(index, ARRAY_SIZE(spapr_tce_calls));
	call = &spapr_tce_calls[index];
	return call->type == (container->v2 ? TYPE_V1 : TYPE_V2) ? NULL : call;
}

/*
 * Instructions that these annotations save in a MAP of one TCE:
 * call_run() inline 85, call_copy_in() 50, call_enter() 47, call_check_state() 21;
 * call_claim_mm() not inline 4; an argument that is not initialized 6.
 */

/* At least minsz bytes, more if argsz says that the caller has them; zeroes behind. */
static __always_inline int call_copy_in(const struct spapr_tce_call *call,
					union spapr_tce_arg *arg,
					void __user *uarg)
{
	unsigned int size = call->minsz;

	if (!size)
		return 0;
	/* A few words: copy_from_user() would cost three times as much. */
	if (!user_read_access_begin(uarg, size))
		return -EFAULT;
	unsafe_copy_from_user(arg, uarg, size, fault);
	user_read_access_end();
	if (arg->argsz < size || arg->flags & ~call->flags)
		return -EINVAL;
	if (call->size == size)
		return 0;

	memset((char *)arg + size, 0, call->size - size);
	size = min(arg->argsz, call->size) - size;
	if (size &&
	    copy_from_user((char *)arg + call->minsz, uarg + call->minsz, size))
		return -EFAULT;
	return 0;
fault:
	user_read_access_end();
	return -EFAULT;
}

static bool call_has_output(const struct spapr_tce_call *call,
			    const union spapr_tce_arg *arg)
{
	return call->out == OUT_FLAGGED ? arg->flags : call->out != OUT_NONE;
}

/* State that a call depends on. */
static __always_inline int
call_check_state(struct spapr_tce_container *container,
		 const struct spapr_tce_call *call)
{
	lockdep_assert_held(&container->lock);
	if (container->mm != current->mm &&
	    (container->mm || call->needs & NEED_MM))
		return -EPERM;
	if (call->needs & NEED_ENABLED && !container->enabled)
		return -EPERM;
	if (call->needs & NEED_GROUP && !spapr_tce_first_group(container))
		return -ENXIO;
	return 0;
}

/*
 * Tell lockdep that whoever takes the mmap_lock may wait for user space: a page fault holds it
 * for as long as user space likes.
 */
static void mmap_lock_may_wait(struct mm_struct *mm)
{
	rwsem_acquire_read(&mm->mmap_lock.dep_map, 0, 0, _THIS_IP_);
	mm_iommu_wait_map(&vfio_unbind_map);
	rwsem_release(&mm->mmap_lock.dep_map, _THIS_IP_);
}

/* The container belongs to the first mm that claims it. */
static noinline int call_claim_mm(struct spapr_tce_container *container,
				  const struct spapr_tce_call *call)
{
	int ret;

	mmap_lock_may_wait(current->mm);
	if (down_write_killable(&container->lock))
		return -EINTR;
	ret = call_check_state(container, call);
	if (!ret && !container->mm) {
		mmgrab(current->mm);
		container->mm = current->mm;
	}
	up_write(&container->lock);
	return ret;
}

static bool call_wants_default(struct spapr_tce_container *container,
			       const struct spapr_tce_call *call,
			       const union spapr_tce_arg *arg)
{
	return call->wants_default && container->default_pending &&
	       call->wants_default(container, arg);
}

/*
 * Check the state, make the default window, claim the mm: what the call's row says.
 * Return: 0, with the lock held as the row says; an errno, without it.
 */
static __always_inline int call_enter(struct spapr_tce_container *container,
				      const struct spapr_tce_call *call,
				      const union spapr_tce_arg *arg)
{
	bool claim;
	int ret;

	for (;;) {
		if (down_read_killable(&container->lock))
			return -EINTR;
		ret = call_check_state(container, call);
		if (ret || !call_wants_default(container, call, arg))
			break;
		up_read(&container->lock);
		ret = spapr_tce_window_make_default(container);
		if (ret)
			return ret;
	}
	claim = !ret && call->needs & CLAIM_MM && !container->mm;
	if (ret || call->hold == HOLD_NONE)
		up_read(&container->lock);
	return claim ? call_claim_mm(container, call) : ret;
}

static __always_inline long call_run(struct spapr_tce_container *container,
				     const struct spapr_tce_call *call,
				     void __user *uarg)
{
	union spapr_tce_arg arg;
	unsigned int out = 0;
	long ret;

	ret = call_copy_in(call, &arg, uarg);
	if (ret)
		return ret;
	if (call_has_output(call, &arg))
		out = arg.argsz >= call->size ? call->size : call->minsz;
	if (out && fault_in_safe_writeable(uarg, out))
		return -EFAULT;
	ret = call_enter(container, call, &arg);
	if (ret)
		return ret;

	ret = call->handler(container, &arg, uarg);
	if (call->hold == HOLD_READ)
		up_read(&container->lock);
	spapr_tce_may_wait(container);
	if (!ret && out && call->out != OUT_HANDLER &&
	    copy_to_user(uarg, &arg, out))
		return -EFAULT;
	return ret;
}

static bool has_extension(unsigned long extension)
{
	switch (extension) {
	case VFIO_SPAPR_TCE_IOMMU:
	case VFIO_SPAPR_TCE_v2_IOMMU:
	case VFIO_UNMAP_ALL:
		return true;
	case VFIO_EEH:
		return eeh_enabled();
	}
	return false;
}

/**
 * spapr_tce_ioctl() - what VFIO calls for a container's ioctls
 * @iommu_data: the container; NULL for VFIO_CHECK_EXTENSION before there is one
 * @cmd: number of the call
 * @arg: address of its argument, or the argument
 *
 * Context: Process, may sleep; VFIO keeps the container until this returns.
 * Return: as include/uapi/linux/vfio.h says; -ENOTTY for what this type does not have.
 */
long spapr_tce_ioctl(void *iommu_data, unsigned int cmd, unsigned long arg)
{
	struct spapr_tce_container *container = iommu_data;
	void __user *uarg = (void __user *)arg;
	const struct spapr_tce_call *call;

	/* The calls that come by the million: a constant row makes short code. */
	if (cmd == VFIO_IOMMU_MAP_DMA)
		return call_run(container, TCE_ROW(VFIO_IOMMU_MAP_DMA), uarg);
	if (cmd == VFIO_IOMMU_UNMAP_DMA)
		return call_run(container, TCE_ROW(VFIO_IOMMU_UNMAP_DMA), uarg);
	if (cmd == VFIO_CHECK_EXTENSION)
		return has_extension(arg);

	call = call_find(container, cmd);
	return call ? call_run(container, call, uarg) : -ENOTTY;
}
