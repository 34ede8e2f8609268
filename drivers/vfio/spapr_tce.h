/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The container of sPAPR TCE IOMMUs: its state, and what its parts offer each other.
 *
 * Locks, outermost first: windows_lock, reg_lock, lock, then those of the code
 * that is called (asm/mmu_context_iommu.h, asm/iommu_tce.h).
 *
 * Groups join and leave under locks of VFIO and of the driver core, for
 * instance while a device is unbound.  Of the locks here they take @lock only.
 * So @lock is never held during a wait for user space (a page fault, a copy, an
 * mm's mmap_lock), for a device, for slow firmware, or for another lock under
 * which there may be such a wait.  Pinning and unpinning, charging, emptying a
 * window that goes away, EEH and the copying of results happen without it.
 * spapr_tce_may_wait() stands where calls begin with that.
 *
 * A group may leave at any moment when @lock is not held.  The last one takes
 * the windows along.  VFIO keeps the container until both the call and the
 * detach are done; the later one releases it, without a lock.  Detaching waits
 * for a MAP, or a v2 UNMAP, that is changing TCEs.
 */
#ifndef VFIO_SPAPR_TCE_H
#define VFIO_SPAPR_TCE_H

#include <linux/atomic.h>
#include <linux/lockdep.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/vfio.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include <asm/iommu.h>
#include <asm/mmu_context_iommu.h>
#include "vfio.h"

struct iommu_tce_request;
struct vfio_iommu_driver_ops;

#define TCE_WINDOWS IOMMU_TABLE_GROUP_MAX_TABLES

/**
 * struct spapr_tce_group - a group attached to a container
 * @next: in &spapr_tce_container.groups; in &spapr_tce_container.detached if it
 *	left as the last
 * @iommu_group: the group, as VFIO knows it
 * @table_group: the same group, as the platform knows it
 * @tables: the tables that it took along if it left as the last one, with
 *	references; they are put without a lock, because that ends the charges
 *	for them
 * @stuck: which of these tables firmware has kept
 */
struct spapr_tce_group {
	struct list_head next;
	struct iommu_group *iommu_group;
	struct iommu_table_group *table_group;
	struct iommu_table *tables[TCE_WINDOWS];
	bool stuck[TCE_WINDOWS];
};

/**
 * struct spapr_tce_window - a slot for a window
 * @tbl: the table that calls find here; NULL while none may use it
 * @programmed: the table that every group has programmed, with a reference;
 *	differs from @tbl only while the window is being made or removed
 * @stuck: firmware has not taken the table, or the one before it, out of some
 *	group
 */
struct spapr_tce_window {
	struct iommu_table *tbl;
	struct iommu_table *programmed;
	bool stuck;
};

/**
 * struct spapr_tce_container - the IOMMU side of a VFIO container
 * @v2: which of the two types this is; constant
 * @windows_lock: held by whoever makes windows, enables or disables, from the decision to the
 *	end; may wait for user space
 * @lock: read to map, unmap and look, written to change what it guards
 * @enabled: MAP is allowed: v1 was enabled, or v2 has registered something; @lock
 * @default_pending: no window was made or removed since the first group joined,
 *	and the default window is due before any other; @lock.  Only the last
 *	group's leaving clears it without @windows_lock
 * @mm: whose memory is used, with a reference; set once; @lock
 * @charged: pages that v1's ENABLE charged; @windows_lock
 * @pinning: pages that MAPs of v1 under way have pinned or will pin, one for
 *	each TCE
 * @pin_wait: where to wait for @pinning to fall
 * @windows: slot 0 starts at the bus address 0; @lock
 * @groups: attached groups; @lock
 * @detached: groups that were the last one when they left; @lock
 * @reg_lock: taken to decide about a change of @regions, not to pin or unpin
 * @regions: registered regions by first page number; a slot is reserved while its
 *	region is being pinned; @reg_lock to decide
 */
struct spapr_tce_container {
	bool v2;
	struct mutex windows_lock; /* for default_pending, charged */
	struct rw_semaphore lock;
	bool enabled;
	bool default_pending;
	struct mm_struct *mm;
	unsigned long charged;
	atomic_long_t pinning;
	wait_queue_head_t pin_wait;
	struct spapr_tce_window windows[TCE_WINDOWS];
	struct list_head groups;
	struct list_head detached;
	struct mutex reg_lock; /* for regions */
	struct xarray regions;
};

/*
 * Call this before code that may wait for user space, a device or the driver
 * core.  Lockdep then complains if the caller holds the container's lock, or
 * another lock that is ever taken while a device is unbound or a group is
 * attached or detached.
 */
static inline void spapr_tce_may_wait(struct spapr_tce_container *container)
{
	lockdep_assert_not_held(&container->lock);
	mm_iommu_wait_map(&vfio_unbind_map);
}

/* Platform code returns firmware codes and -1 now and then; users get an errno. */
static inline int spapr_tce_platform_errno(long ret)
{
	return ret <= 0 && ret >= -MAX_ERRNO && ret != -EPERM ? ret : -EIO;
}

static inline struct spapr_tce_group *
spapr_tce_first_group(struct spapr_tce_container *container)
{
	lockdep_assert_held(&container->lock);
	return list_first_entry_or_null(&container->groups,
					struct spapr_tce_group, next);
}

/* The window that has a bus address, or NULL. */
static inline struct spapr_tce_window *
spapr_tce_window_at(struct spapr_tce_container *container, u64 iova)
{
	unsigned int i;

	lockdep_assert_held(&container->lock);
	for (i = 0; i < TCE_WINDOWS; i++) {
		struct iommu_table *tbl = container->windows[i].tbl;

		if (tbl && (iova >> tbl->it_page_shift) - tbl->it_offset <
				   tbl->it_size)
			return &container->windows[i];
	}
	return NULL;
}

u64 spapr_tce_container_pgsizes(struct spapr_tce_container *container);
void spapr_tce_get_info(struct spapr_tce_container *container,
			struct vfio_iommu_spapr_tce_info *info);
int spapr_tce_window_create(struct spapr_tce_container *container,
			    struct vfio_iommu_spapr_tce_create *create,
			    void __user *uarg);
int spapr_tce_window_make_default(struct spapr_tce_container *container);
int spapr_tce_window_remove(struct spapr_tce_container *container, u64 start);
int spapr_tce_windows_set(struct spapr_tce_container *container,
			  struct iommu_table_group *table_group);
void spapr_tce_windows_unset(struct spapr_tce_container *container,
			     struct iommu_table_group *table_group);
void spapr_tce_windows_take(struct spapr_tce_container *container,
			    struct spapr_tce_group *group);
void spapr_tce_windows_end(struct spapr_tce_container *container,
			   struct spapr_tce_group *group);
void spapr_tce_windows_put(struct spapr_tce_group *group);

bool spapr_tce_default_is_due(struct spapr_tce_container *container, u64 iova);
int spapr_tce_map(struct spapr_tce_container *container,
		  const struct vfio_iommu_type1_dma_map *map);
int spapr_tce_unmap(struct spapr_tce_container *container,
		    struct vfio_iommu_type1_dma_unmap *unmap);

int spapr_tce_v1_map(struct spapr_tce_container *container,
		     struct iommu_table *tbl,
		     const struct iommu_tce_request *req);
int spapr_tce_v1_unmap(struct spapr_tce_container *container,
		       struct iommu_table *tbl,
		       const struct iommu_tce_request *req,
		       unsigned long *cleared);
int spapr_tce_v1_clear(struct iommu_table *tbl, unsigned long entry,
		       unsigned long npages, unsigned long *cleared);
int spapr_tce_v1_enable(struct spapr_tce_container *container);
int spapr_tce_v1_disable(struct spapr_tce_container *container);

int spapr_tce_register(struct spapr_tce_container *container, u64 ua, u64 size);
int spapr_tce_unregister(struct spapr_tce_container *container, u64 ua,
			 u64 size);
void spapr_tce_unregister_all(struct spapr_tce_container *container);

int spapr_tce_eeh_op(struct spapr_tce_container *container,
		     const struct vfio_eeh_pe_op *op);

long spapr_tce_ioctl(void *iommu_data, unsigned int cmd, unsigned long arg);

#if IS_ENABLED(CONFIG_KUNIT)
extern const struct vfio_iommu_driver_ops spapr_tce_iommu_driver;
#endif

#endif /* VFIO_SPAPR_TCE_H */
