// SPDX-License-Identifier: GPL-2.0-only
/*
 * The calls of a container of sPAPR TCE IOMMUs: a table says for each what argument it has
 * and what it depends on; the dispatcher copies the argument in, checks argsz and flags,
 * takes the lock and checks the state; then comes a short handler; results are copied out
 * when the lock is no longer held.
 *
 * Handlers may rely on: the caller's mm, the lock that the table names, and as long as they
 * hold that, on at least one group where the table says so.  Without it a group may leave.
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

/* What a call needs; the dispatcher sees to it in this order. */
#define NEED_V1 BIT(0) /* -ENOTTY for the other type */
#define NEED_V2 BIT(1)
#define CLAIM_MM BIT(2) /* makes the caller's mm the container's */
#define NEED_ENABLED BIT(3) /* -EPERM before ENABLE or the first REGISTER */
#define NEED_MM BIT(4) /* -EPERM before somebody claimed it */
#define NEED_GROUP BIT(5) /* -ENXIO */
#define HOLD_NONE \
	BIT(6) /* runs without the lock, else it is held for reading */
#define COPY_OUT BIT(7) /* the argument is copied back */
#define COPY_OUT_FLAGGED BIT(8) /* the same when it has flags */
#define COPIES_OUT BIT(9) /* the handler does that itself */
#define MAY_NEED_DEFAULT BIT(10) /* the handler may want the default window */

/**
 * struct spapr_tce_call - a call
 * @handler: does the work, with the lock held that @needs says; gets the argument, and where
 *	it came from
 * @minsz: what argsz must cover at least; 0: no argument
 * @size: of the whole argument
 * @flags: valid bits of the field flags
 * @needs: what the dispatcher provides and checks
 */
struct spapr_tce_call {
	long (*handler)(struct spapr_tce_container *container,
			union spapr_tce_arg *arg, void __user *uarg);
	unsigned int minsz;
	unsigned int size;
	u32 flags;
	u32 needs;
};

/* The calls have consecutive numbers. */
#define CALL_INDEX(cmd) (_IOC_NR(cmd) - _IOC_NR(VFIO_IOMMU_SPAPR_TCE_GET_INFO))

#define TCE_CALL(_cmd, _handler, _type, _last, _flags, _needs) \
	[CALL_INDEX(_cmd)] = {                                 \
		.handler = (_handler),                         \
		.needs = (_needs),                             \
		.minsz = offsetofend(_type, _last),            \
		.size = sizeof(_type),                         \
		.flags = (_flags),                             \
	}

static const struct spapr_tce_call spapr_tce_calls[] = {
	TCE_CALL(VFIO_IOMMU_SPAPR_TCE_GET_INFO, ioctl_get_info,
		 struct vfio_iommu_spapr_tce_info, dma32_window_size, U32_MAX,
		 NEED_GROUP | COPY_OUT),
	TCE_CALL(VFIO_IOMMU_MAP_DMA, ioctl_map,
		 struct vfio_iommu_type1_dma_map, size,
		 VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		 NEED_ENABLED | MAY_NEED_DEFAULT),
	TCE_CALL(VFIO_IOMMU_UNMAP_DMA, ioctl_unmap,
		 struct vfio_iommu_type1_dma_unmap, size, VFIO_DMA_UNMAP_FLAG_ALL,
		 NEED_ENABLED | MAY_NEED_DEFAULT | COPY_OUT_FLAGGED),
	TCE_CALL(VFIO_IOMMU_SPAPR_REGISTER_MEMORY, ioctl_register,
		 struct vfio_iommu_spapr_register_memory, size, 0,
		 NEED_V2 | CLAIM_MM | HOLD_NONE),
	TCE_CALL(VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY, ioctl_unregister,
		 struct vfio_iommu_spapr_register_memory, size, 0,
		 NEED_V2 | NEED_MM | HOLD_NONE),
	TCE_CALL(VFIO_IOMMU_SPAPR_TCE_CREATE, ioctl_create,
		 struct vfio_iommu_spapr_tce_create, start_addr, 0,
		 NEED_V2 | CLAIM_MM | NEED_GROUP | HOLD_NONE | COPY_OUT | COPIES_OUT),
	TCE_CALL(VFIO_IOMMU_SPAPR_TCE_REMOVE, ioctl_remove,
		 struct vfio_iommu_spapr_tce_remove, start_addr, 0,
		 NEED_V2 | CLAIM_MM | NEED_GROUP | HOLD_NONE),
	TCE_CALL(VFIO_EEH_PE_OP, ioctl_eeh, struct vfio_eeh_pe_op, op, 0, HOLD_NONE),
	[CALL_INDEX(VFIO_IOMMU_ENABLE)] = {
		.handler = ioctl_enable,
		.needs = NEED_V1 | CLAIM_MM | NEED_GROUP | HOLD_NONE,
	},
	[CALL_INDEX(VFIO_IOMMU_DISABLE)] = {
		.handler = ioctl_disable, .needs = NEED_V1 | HOLD_NONE,
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
	return call->needs & (container->v2 ? NEED_V1 : NEED_V2) ? NULL : call;
}

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

static __always_inline bool call_has_output(const struct spapr_tce_call *call,
					    const union spapr_tce_arg *arg)
{
	return call->needs & COPY_OUT ||
	       (call->needs & COPY_OUT_FLAGGED && arg->flags);
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
 * A page fault may wait for user space with the mmap_lock held, for as long as user space likes:
 * for lockdep, which sees the lock but not that wait.
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

static __always_inline int call_enter(struct spapr_tce_container *container,
				      const struct spapr_tce_call *call)
{
	bool claim;
	int ret;

	if (down_read_killable(&container->lock))
		return -EINTR;
	ret = call_check_state(container, call);
	claim = !ret && call->needs & CLAIM_MM && !container->mm;
	if (ret || call->needs & HOLD_NONE)
		up_read(&container->lock);
	return claim ? call_claim_mm(container, call) : ret;
}

/* Make the default window, and call again; the lock is held for reading, as before. */
static noinline long call_with_default(struct spapr_tce_container *container,
				       const struct spapr_tce_call *call,
				       union spapr_tce_arg *arg,
				       void __user *uarg)
{
	long ret;

	do {
		up_read(&container->lock);
		ret = spapr_tce_window_make_default(container);
		down_read(&container->lock);
		if (!ret)
			ret = call_check_state(container, call);
		if (ret)
			return ret;
		ret = call->handler(container, arg, uarg);
	} while (ret == SPAPR_TCE_DEFAULT_IS_DUE);
	return ret;
}

static __always_inline long call_run(struct spapr_tce_container *container,
				     const struct spapr_tce_call *call,
				     void __user *uarg)
{
	union spapr_tce_arg arg __uninitialized;
	unsigned int out = 0;
	long ret;

	ret = call_copy_in(call, &arg, uarg);
	if (ret)
		return ret;
	if (call_has_output(call, &arg))
		out = arg.argsz >= call->size ? call->size : call->minsz;
	if (out && fault_in_safe_writeable(uarg, out))
		return -EFAULT;
	ret = call_enter(container, call);
	if (ret)
		return ret;

	ret = call->handler(container, &arg, uarg);
	if (call->needs & MAY_NEED_DEFAULT &&
	    unlikely(ret == SPAPR_TCE_DEFAULT_IS_DUE))
		ret = call_with_default(container, call, &arg, uarg);
	if (!(call->needs & HOLD_NONE))
		up_read(&container->lock);
	spapr_tce_may_wait(container);
	if (!ret && out && !(call->needs & COPIES_OUT) &&
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
