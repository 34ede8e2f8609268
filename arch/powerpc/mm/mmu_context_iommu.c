// SPDX-License-Identifier: GPL-2.0
/*
 * Regions: memory that a process pre-registers for DMA.
 *
 * A region is a piece [ua, last] of one mm whose pages are pinned once, for as
 * long as the region exists, so that writing a TCE neither pins nor walks page
 * tables.  This file has the pages pinned (by mm_iommu_pages.c) and charges
 * them to locked_vm.  Users are counted (see also mm_iommu_hold.c):
 *
 * used	  how often the region is registered, once per container.
 * mapped  1 while it is registered, plus 1 for each TCE that points into it.
 *	  It is raised before a TCE is written, and lowered only after the kill
 *	  that makes the hardware forget the TCE.  Once it is 0 it stays 0.
 *
 * The last unregistration fails with -EBUSY while TCEs remain and changes
 * nothing.  Only a container that goes away for good may leave TCEs of another
 * container behind (mm_iommu_abandon_start()): the region is then an orphan.  It
 * takes no new TCE, and a work item lets its pages go when the last TCE is
 * gone.  A new registration of the same range adopts the orphan, but only if
 * its pages are still what is mapped there: devices must not get memory that
 * the process has replaced.
 *
 * All regions of an mm hang off mm->context.iommu_regions: a latched tree
 * ordered by user address, in which walkers find a node whatever a writer is
 * doing, in O(log n) steps and without a lock.  Regions never overlap.  The
 * physical addresses of a region are stored by blocks (asm/mm_iommu_blocks.h).
 * The structures that a walker touches (region, tree node, blocks) are slab
 * memory, so they are in the linear mapping.  Regions have a slab cache of
 * their own, which aligns them to cache lines.
 *
 * Locks: the regions lock (a mutex per mm) guards the tree and the
 * registrations, for moments only.  Walkers need only an RCU read section.  To
 * use a region after the section they must have raised mapped in it, from a
 * value other than 0.
 *
 * Pinning may take minutes, so it happens outside the lock: a pending region
 * keeps the range in the tree meanwhile, where other registrations meet it and
 * nobody can map to it.  Another registration of the same range waits for the
 * outcome, and pins the memory itself if the first one failed.  Pages are let
 * go outside the lock too, in process context, and uncharged after that.  Until
 * then its charge is ending: who would exceed the limit waits for that first
 * (mm_iommu_charge.c).  The pages of orphans are unpinned by work items, on a
 * workqueue that nobody else uses; each mm has its own item.
 *
 * Lockdep sees none of these waits.  pending_map and mm_iommu_uncharging_map tell it of them.
 *
 * Cannot fail: unpinning, abandoning, the clean-up with the mm.
 */

#include <linux/cache.h>
#include <linux/init.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <asm/mmu_context_iommu.h>
#include "mm_iommu_pages.h"
#include "mm_iommu_regions.h"

/* What lookups read and what counting changes share no cache line. */
static_assert(offsetofend(struct mm_iommu_region, written) <= SMP_CACHE_BYTES);
static_assert(offsetof(struct mm_iommu_region, mapped) % SMP_CACHE_BYTES == 0);
static_assert(sizeof(struct mm_iommu_region) % SMP_CACHE_BYTES == 0);

static struct kmem_cache *region_cache __ro_after_init;
static struct workqueue_struct *region_wq __ro_after_init;

atomic_long_t mm_iommu_leaked = ATOMIC_LONG_INIT(0);

#ifdef CONFIG_LOCKDEP
/* Held while a region is pending. */
static struct lockdep_map pending_map =
	STATIC_LOCKDEP_MAP_INIT("mm_iommu_pending", &pending_map);
#endif

static void region_link(struct mm_iommu_regions *regions,
			struct mm_iommu_region *region)
{
	lockdep_assert_held(&regions->lock);
	latch_tree_insert(&region->node, &regions->tree, &mm_iommu_tree_ops);
	region->linked = true;
}

static void region_unlink(struct mm_iommu_regions *regions,
			  struct mm_iommu_region *region)
{
	lockdep_assert_held(&regions->lock);
	if (!region->linked)
		return;
	latch_tree_erase(&region->node, &regions->tree, &mm_iommu_tree_ops);
	region->linked = false;
}

static unsigned long region_pages(const struct mm_iommu_region *region)
{
	return mm_iommu_region_size(region) >> PAGE_SHIFT;
}

/* Context: process; only walkers of the tree can still find the region. */
static void region_let_go(struct mm_iommu_region *region)
{
	mm_iommu_pages_unpin(&region->blocks, region->written);
	mm_iommu_blocks_free(&region->blocks);
}

static void region_destroy(struct mm_iommu_region *region)
{
	lock_map_acquire_read(&mm_iommu_uncharging_map);
	region_let_go(region);
	mm_iommu_uncharge(region->mm, region_pages(region));
	kfree_rcu(region, rcu);
	lock_map_release(&mm_iommu_uncharging_map);
}

/* Letting go may take long. */
static void region_later(struct work_struct *work)
{
	queue_work(region_wq ?: system_dfl_wq, work);
}

/*
 * Let orphans go whose last TCE is gone.  Each of them has a reference to the
 * mm, and so keeps @regions.
 */
static void regions_release_work(struct work_struct *work)
{
	struct mm_iommu_regions *regions =
		container_of(work, struct mm_iommu_regions, release);
	struct llist_node *gone = llist_del_all(&regions->gone);
	struct mm_iommu_region *region, *next;
	struct mm_struct *mm;

	llist_for_each_entry_safe(region, next, gone, gone) {
		mm = region->mm;
		scoped_guard(mutex, &regions->lock)
			region_unlink(regions, region);
		region_destroy(region);
		mmdrop(mm);
		cond_resched();
	}
}

/* A region that is not in the tree yet; pending, for the caller to fill. */
static struct mm_iommu_region *region_new(struct mm_struct *mm,
					  unsigned long ua, unsigned long last)
{
	struct mm_iommu_region *region;

	region = region_cache ?
			 kmem_cache_zalloc(region_cache, GFP_KERNEL_ACCOUNT) :
			 NULL;
	if (!region)
		return NULL;
	region->mm = mm;
	region->ua = ua;
	region->last = last;
	region->pending = true;
	atomic_long_set(&region->mapped, 1);
	return region;
}

/* A region is complete: from now on TCEs may be added. */
static void region_publish(struct mm_iommu_regions *regions,
			   struct mm_iommu_region *region)
{
	lockdep_assert_held(&regions->lock);
	/* Pairs with region_usable(): @used is written after all the rest. */
	smp_store_release(&region->used, 1);
}

/* A region is no longer pending: whoever waited looks again. */
static void region_settle(struct mm_iommu_regions *regions,
			  struct mm_iommu_region *region)
{
	lockdep_assert_held(&regions->lock);
	region->pending = false;
	WRITE_ONCE(regions->settled, regions->settled + 1);
	wake_up_all(&regions->wait);
}

/*
 * Charge and pin a pending region and publish it, or take it out of the tree
 * again.
 * Return: 0 or a negative errno.
 */
static int region_fill(struct mm_iommu_regions *regions,
		       struct mm_iommu_region *region)
{
	int ret = mm_iommu_charge(region->mm, region_pages(region));

	if (!ret) {
		ret = mm_iommu_pages_pin(&region->blocks, region->ua,
					 region->last);
		if (ret)
			account_locked_vm(region->mm, region_pages(region),
					  false);
	}
	scoped_guard(mutex, &regions->lock) {
		region_settle(regions, region);
		if (ret)
			region_unlink(regions, region);
		else
			region_publish(regions, region);
	}
	if (ret)
		kfree_rcu(region, rcu);
	return ret;
}

/**
 * mm_iommu_region_gone() - an orphan lost its last count
 * @region: the region, which nobody may touch any more but this file
 *
 * A work item unpins it later.  The region has a reference to the mm until it is uncharged.
 *
 * Context: Any, virtual mode.  Cannot fail.
 */
void mm_iommu_region_gone(struct mm_iommu_region *region)
{
	struct mm_iommu_regions *regions = regions_of(region->mm);

	mm_iommu_uncharge_begin(region->mm);
	/* The work item takes the whole list, so it is queued for the first only. */
	if (llist_add(&region->gone, &regions->gone))
		region_later(&regions->release);
}

/* The mm is dead: nobody maps, registers or looks up its regions any more. */
static void regions_cleanup_work(struct work_struct *work)
{
	struct mm_iommu_regions *regions =
		container_of(work, struct mm_iommu_regions, cleanup);
	struct mm_iommu_region *region;
	struct latch_tree_node *node;
	struct rb_node *rb;

	mutex_lock(&regions->lock);
	while ((rb = rb_first(&regions->tree.tree[0]))) {
		node = container_of(rb, struct latch_tree_node, node[0]);
		region = to_region(node);
		region_unlink(regions, region);
		mm_iommu_pages_unpin(&region->blocks, region->written);
		mm_iommu_blocks_free(&region->blocks);
		kfree_rcu(region, rcu);
		atomic_long_inc(&mm_iommu_leaked);
		pr_warn_ratelimited("mm_iommu: a dead mm still had a region\n");
		cond_resched();
	}
	mutex_unlock(&regions->lock);
	mutex_destroy(&regions->lock);
	kfree(regions);
}

/* The regions of an mm; made, if they are asked for the first time.  NULL without memory. */
struct mm_iommu_regions *mm_iommu_regions_get(struct mm_struct *mm)
{
	struct mm_iommu_regions *regions = regions_of(mm), *old;

	if (regions)
		return regions;

	regions = kzalloc_obj(*regions, GFP_KERNEL_ACCOUNT);
	if (!regions)
		return NULL;
	regions->mm = mm;
	mutex_init(&regions->lock);
	mm_iommu_charge_init(regions);
	seqcount_latch_init(&regions->tree.seq);
	init_llist_head(&regions->gone);
	INIT_WORK(&regions->release, regions_release_work);
	INIT_WORK(&regions->cleanup, regions_cleanup_work);

	old = cmpxchg(&mm->context.iommu_regions, NULL, regions);
	if (!old)
		return regions;
	mutex_destroy(&regions->lock);
	kfree(regions);
	return old;
}

/*
 * Let a registration take over the orphan that has its range, if the pages of
 * the orphan are still what is mapped there.  The caller has made it pending
 * and raised its count.
 * Return: 0, or a negative errno: it is an orphan as before.
 */
static int region_adopt(struct mm_iommu_regions *regions,
			struct mm_iommu_region *region)
{
	struct mm_struct *mm = region->mm;
	int ret = mm_iommu_pages_compare(&region->blocks);

	scoped_guard(mutex, &regions->lock) {
		region_settle(regions, region);
		if (ret)
			mm_iommu_drop(region, 1);
		else
			region_publish(regions, region);
	}
	if (!ret)
		mmdrop(mm);
	return ret;
}

/*
 * Find a region in the range of @new.  A region whose count is 0 only awaits
 * its release work; unlink it.  Return: the region, or NULL; -EINTR after a
 * fatal signal.
 */
static struct mm_iommu_region *
region_find_counted(struct mm_iommu_regions *regions,
		    const struct mm_iommu_region *new)
{
	struct mm_iommu_region *region;

	lockdep_assert_held(&regions->lock);
	while ((region = region_find(regions, new->ua, new->last))) {
		if (atomic_long_read(&region->mapped))
			return region;
		region_unlink(regions, region);
		if (fatal_signal_pending(current))
			return ERR_PTR(-EINTR);
		cond_resched();
	}
	return NULL;
}

/* How a registration goes on. */
enum claim {
	CLAIM_SHARED, /* the region is registered once more */
	CLAIM_NEW, /* a new region is pending, for the caller to fill */
	CLAIM_ORPHAN, /* an orphan is pending, for the caller to adopt */
};

/*
 * Find the region for the range of @new, or put @new into the tree.
 *
 * Return: an enum claim, and *@pregion is that region; -EAGAIN when another
 * thread has a pending region there: the caller waits until settled differs
 * from *@seen; another negative errno.
 */
static int region_claim(struct mm_iommu_regions *regions,
			struct mm_iommu_region *new,
			struct mm_iommu_region **pregion, unsigned long *seen)
{
	struct mm_iommu_region *region;

	guard(mutex)(&regions->lock);
	*seen = regions->settled;
	while ((region = region_find_counted(regions, new))) {
		if (IS_ERR(region))
			return PTR_ERR(region);
		if (region->ua != new->ua || region->last != new->last)
			return -EINVAL;
		if (region->pending)
			return -EAGAIN;
		*pregion = region;
		if (region->used) {
			WRITE_ONCE(region->used, region->used + 1);
			return CLAIM_SHARED;
		}
		/* If its last TCE is gone by now it cannot be adopted. */
		if (atomic_long_add_unless(&region->mapped, 1, 0)) {
			region->pending = true;
			return CLAIM_ORPHAN;
		}
	}
	region_link(regions, new);
	*pregion = new;
	return CLAIM_NEW;
}

/* region_claim(), but wait while another thread has a pending region there. */
static int region_claim_wait(struct mm_iommu_regions *regions,
			     struct mm_iommu_region *new,
			     struct mm_iommu_region **pregion)
{
	unsigned long seen;
	int ret;

	mm_iommu_wait_map(&pending_map);
	while ((ret = region_claim(regions, new, pregion, &seen)) == -EAGAIN)
		if (wait_event_killable(regions->wait,
					READ_ONCE(regions->settled) != seen))
			return -EINTR;
	return ret;
}

/**
 * mm_iommu_register() - pin memory for DMA, or register it once more
 * @mm: must be the mm of the caller
 * @ua: first user address, a multiple of PAGE_SIZE
 * @size: in bytes, a multiple of PAGE_SIZE
 * @pregion: set to the region on success
 *
 * Pages are pinned for long-term DMA and charged to the locked_vm of @mm.  A
 * region of exactly the same bounds that exists already is used once more, at
 * no further charge.  If another thread is pinning it, wait for that.  The
 * memory is that of the first registration, whatever the process has mapped
 * there since.  An orphan of these bounds becomes regular again if its pages
 * are still mapped there.  The caller must keep @mm (mmgrab()) until it has
 * called mm_iommu_unregister() or mm_iommu_abandon_start().
 *
 * Context: Process; may sleep for as long as pinning takes, takes the regions
 * lock and mmap_lock.  A fatal signal ends it.
 * Return: 0; -EINVAL for bad bounds or when another region overlaps, also one that
 * is being pinned; -EFAULT when some page cannot be pinned; -EBUSY when an orphan has
 * these bounds and other pages than are mapped there now; -ENOMEM for memory or
 * RLIMIT_MEMLOCK, the latter only when what is just being let go has been waited for;
 * -EINTR; -EPERM for another process.  On failure nothing has changed.
 */
int mm_iommu_register(struct mm_struct *mm, unsigned long ua,
		      unsigned long size, struct mm_iommu_region **pregion)
{
	struct mm_iommu_region *new, *region = NULL;
	struct mm_iommu_regions *regions;
	unsigned long last;
	int ret;

	if (mm != current->mm)
		return -EPERM;
	if (!size || !PAGE_ALIGNED(ua | size) ||
	    check_add_overflow(ua, size - 1, &last))
		return -EINVAL;
	if (!access_ok((void __user *)ua, size))
		return -EFAULT;

	regions = mm_iommu_regions_get(mm);
	new = regions ? region_new(mm, ua, last) : NULL;
	if (!new)
		return -ENOMEM;

	ret = region_claim_wait(regions, new, &region);
	lock_map_acquire_read(&pending_map);
	if (ret == CLAIM_NEW) {
		ret = region_fill(regions, new);
	} else {
		kmem_cache_free(region_cache, new);
		if (ret == CLAIM_ORPHAN)
			ret = region_adopt(regions, region);
	}
	lock_map_release(&pending_map);
	if (!ret)
		*pregion = region;
	return ret;
}
EXPORT_SYMBOL_GPL(mm_iommu_register);

/*
 * Undo one registration.  0: the caller is done; -EBUSY: it was the last one,
 * and TCEs remain; 1: the region is out of the tree and now the caller's to destroy.
 */
static int region_unuse(struct mm_iommu_regions *regions,
			struct mm_iommu_region *region)
{
	lockdep_assert_held(&regions->lock);
	if (region->used > 1) {
		WRITE_ONCE(region->used, region->used - 1);
		return 0;
	}
	if (atomic_long_cmpxchg(&region->mapped, 1, 0) != 1)
		return -EBUSY;
	mm_iommu_uncharge_begin(region->mm);
	WRITE_ONCE(region->used, 0);
	region_unlink(regions, region);
	return 1;
}

/**
 * mm_iommu_unregister_start() - undo one registration, but unpin nothing yet
 * @mm: whose memory it is
 * @region: as mm_iommu_register() returned it
 *
 * For a caller that decides under a lock of its own.
 *
 * Context: Process; may sleep, takes the regions lock for a moment.
 * Return: 0, after which the caller must not touch @region; 1 when that was the last
 * registration, and the caller is to pass @region to mm_iommu_unregister_finish();
 * -EBUSY when it is the last and TCEs point into the region: nothing has changed, and
 * the caller may try again.
 */
int mm_iommu_unregister_start(struct mm_struct *mm,
			      struct mm_iommu_region *region)
{
	struct mm_iommu_regions *regions = regions_of(mm);

	guard(mutex)(&regions->lock);
	return region_unuse(regions, region);
}
EXPORT_SYMBOL_GPL(mm_iommu_unregister_start);

/**
 * mm_iommu_unregister_finish() - unpin memory after its last registration
 * @region: for which mm_iommu_unregister_start() returned 1
 *
 * Unpins the memory, then ends the charge.  Others can register the range
 * already.
 *
 * Context: Process; may sleep for as long as unpinning takes.  Cannot fail.
 */
void mm_iommu_unregister_finish(struct mm_iommu_region *region)
{
	region_destroy(region);
}
EXPORT_SYMBOL_GPL(mm_iommu_unregister_finish);

/**
 * mm_iommu_unregister() - undo one registration
 * @mm: whose memory it is
 * @region: as mm_iommu_register() returned it
 *
 * The last registration unpins and uncharges the memory before this returns.
 *
 * Context: Process; may sleep, takes the regions lock.
 * Return: 0, after which the caller must not touch @region; -EBUSY when this is
 * the last registration and TCEs point into the region.  On failure nothing has
 * changed, and the caller may try again.
 */
int mm_iommu_unregister(struct mm_struct *mm, struct mm_iommu_region *region)
{
	int ret = mm_iommu_unregister_start(mm, region);

	if (ret <= 0)
		return ret;
	mm_iommu_unregister_finish(region);
	return 0;
}
EXPORT_SYMBOL_GPL(mm_iommu_unregister);

/**
 * mm_iommu_abandon_start() - undo one registration for good
 * @mm: whose memory it is
 * @region: as mm_iommu_register() returned it
 *
 * For a container that goes away and cannot try again.  It has unmapped all it
 * mapped itself; if TCEs of others still point into the region, its memory stays
 * pinned and charged until the last of them is gone.
 *
 * Context: Process; may sleep, takes the regions lock.  Cannot fail.
 * Return: false when the caller is done and must not touch @region.  true when the region
 * becomes an orphan: mm_iommu_abandon_grace() and mm_iommu_abandon_finish() must follow, and
 * registrations of the range wait for that.
 */
bool mm_iommu_abandon_start(struct mm_struct *mm,
			    struct mm_iommu_region *region)
{
	struct mm_iommu_regions *regions = regions_of(mm);
	int ret;

	scoped_guard(mutex, &regions->lock) {
		ret = region_unuse(regions, region);
		if (ret == -EBUSY) {
			/* The reference that regions_release_work() or region_adopt() drops. */
			mmgrab(mm);
			WRITE_ONCE(region->used, 0);
			region->pending = true;
		}
	}
	if (ret > 0)
		region_destroy(region);
	return ret == -EBUSY;
}
EXPORT_SYMBOL_GPL(mm_iommu_abandon_start);

/**
 * mm_iommu_abandon_grace() - wait until real mode knows which regions are orphans
 *
 * Real mode cannot drop the last count of a region.  If it has seen the region
 * registered, the count of the registration must stay until it is done.  One
 * call is enough for any number of regions.
 *
 * Context: Process, sleeps for an RCU grace period.
 */
void mm_iommu_abandon_grace(void)
{
	lock_map_acquire_read(&pending_map);
	synchronize_rcu();
	lock_map_release(&pending_map);
}
EXPORT_SYMBOL_GPL(mm_iommu_abandon_grace);

/**
 * mm_iommu_abandon_finish() - give back the count of a registration
 * @mm: whose memory it is
 * @region: for which mm_iommu_abandon_start() returned true
 *
 * Context: Process; may sleep, takes the regions lock.  Cannot fail.  The caller must not touch
 * @region afterwards.
 */
void mm_iommu_abandon_finish(struct mm_struct *mm,
			     struct mm_iommu_region *region)
{
	struct mm_iommu_regions *regions = regions_of(mm);

	guard(mutex)(&regions->lock);
	region_settle(regions, region);
	/* The next registration must not find this count. */
	mm_iommu_drop(region, 1);
}
EXPORT_SYMBOL_GPL(mm_iommu_abandon_finish);

/**
 * mm_iommu_cleanup() - unpin what is still registered when an mm dies
 * @mm: the mm, which nobody uses any more
 *
 * Users of regions keep the mm until they are done, so nothing should be left.
 * Regions that are left are counted in mm_iommu_leaked.  Their charge to
 * locked_vm ends with the mm.
 *
 * Context: Any; the pages are unpinned later, where that may sleep.  Cannot fail.
 */
void mm_iommu_cleanup(struct mm_struct *mm)
{
	struct mm_iommu_regions *regions = regions_of(mm);

	if (!regions)
		return;
	mm->context.iommu_regions = NULL;
	region_later(&regions->cleanup);
}

/*
 * Runs before user space.  Without the cache nobody can register memory;
 * without the workqueue a common one of the kernel is used.
 */
static int __init mm_iommu_setup(void)
{
	region_cache =
		KMEM_CACHE(mm_iommu_region, SLAB_HWCACHE_ALIGN | SLAB_ACCOUNT);
	region_wq = alloc_workqueue("mm_iommu", WQ_UNBOUND, 0);
	return region_cache && region_wq ? 0 : -ENOMEM;
}

core_initcall(mm_iommu_setup);
