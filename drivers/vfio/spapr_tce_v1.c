// SPDX-License-Identifier: GPL-2.0-only
/*
 * Containers of type v1: no registered memory.  ENABLE charges the size of the
 * default window to locked_vm.  MAP pins a page for each TCE; when the TCE is
 * cleared or replaced the page is unpinned after the kill.  Tables are bare, so
 * a TCE that was replaced is all that tells the page to unpin.
 *
 * Pinning may wait for user space, and unpinning for whoever has the page
 * locked.  Both happen with a reference to the table instead of the container's
 * lock.  The lock is held only while TCEs are written, so that none is written
 * after DISABLE or after the last group has left.
 *
 * If a kill fails, the hardware may still reach the pages of the old TCEs.
 * They stay pinned for ever.
 */

#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <asm/iommu_tce.h>
#include <asm/tce.h>
#include "spapr_tce.h"

#ifdef CONFIG_LOCKDEP
/* Held by each MAP under way, because others wait for its end. */
static struct lockdep_map v1_pinning_map =
	STATIC_LOCKDEP_MAP_INIT("spapr_tce_v1_pinning", &v1_pinning_map);
#endif

static void v1_unpin(unsigned long tce)
{
	struct page *page = pfn_to_page(PHYS_PFN(tce));

	unpin_user_pages_dirty_lock(&page, 1, tce & TCE_PCI_WRITE);
}

/* Return: 0, or an errno when the hardware may still know the old TCEs. */
static int v1_kill(struct iommu_table *tbl, unsigned long first,
		   unsigned long end)
{
	int ret;

	mb(); /* the PHB must see the new TCEs when it reads them again */
	ret = iommu_tce_kill(tbl, first, end - first);
	iommu_flush_tce(tbl);
	return ret;
}

/* After the kill, unpin the pages of the old TCEs.  Return: how many. */
static unsigned long v1_retire(struct iommu_table *tbl,
			       const struct iommu_tce_change *change)
{
	unsigned long i, n, sum = 0;

	for (i = 0; i < change->nr_runs; i++) {
		for (n = 0; n < change->runs[i].n; n++)
			v1_unpin(change->runs[i].owner +
				 (n << tbl->it_page_shift));
		sum += n;
	}
	return sum;
}

/**
 * spapr_tce_v1_clear() - clear entries and unpin their pages
 * @tbl: the table, kept by the caller
 * @entry: first entry, absolute
 * @npages: how many; inside the table
 * @cleared: receives how many of them were mapped and are no longer
 *
 * Context: Process, may sleep; no lock that a detach needs.
 * Return: 0; an errno when firmware refused an entry, which stays as it is, or
 * when a kill failed, whose pages stay pinned.  All other entries have been
 * cleared.
 */
int spapr_tce_v1_clear(struct iommu_table *tbl, unsigned long entry,
		       unsigned long npages, unsigned long *cleared)
{
	struct iommu_tce_change change = {
		.entry = entry,
		.left = npages,
	};
	unsigned long first;
	int ret = 0, err;

	*cleared = 0;
	while (change.left) {
		first = change.entry;
		err = tbl->it_ops->exchange(tbl, &change);
		if (err) {
			change.entry++;
			change.left--;
			ret = err;
		}
		err = change.nr_runs ? v1_kill(tbl, first, change.entry) : 0;
		if (err)
			ret = err;
		else
			*cleared += v1_retire(tbl, &change);
		cond_resched();
	}
	return ret;
}

/**
 * spapr_tce_v1_unmap() - spapr_tce_v1_clear() for a call
 * @container: its lock is held for reading before and after, but not during the
 *	work
 * @tbl: a table of the container
 * @req: the entries
 * @cleared: receives how many of them were mapped
 *
 * Context: Process, may sleep.
 * Return: as spapr_tce_v1_clear().
 */
int spapr_tce_v1_unmap(struct spapr_tce_container *container,
		       struct iommu_table *tbl,
		       const struct iommu_tce_request *req,
		       unsigned long *cleared)
{
	int ret;

	lockdep_assert_held_read(&container->lock);
	iommu_tce_table_get(tbl);
	up_read(&container->lock);
	ret = spapr_tce_v1_clear(tbl, req->entry, req->npages, cleared);
	iommu_tce_table_put(tbl);
	down_read(&container->lock);
	return ret;
}

/* Pin a page for each TCE; all of them or none. */
static int v1_pin(struct iommu_table *tbl, const struct iommu_tce_request *req,
		  u64 *hpas)
{
	unsigned int gup = FOLL_LONGTERM |
			   (req->perm & TCE_PCI_WRITE ? FOLL_WRITE : 0);
	unsigned long i, ua = req->ua;
	struct page *page;
	int ret = 0;

	for (i = 0; i < req->npages; i++, ua += IOMMU_PAGE_SIZE(tbl)) {
		if (fatal_signal_pending(current)) {
			ret = -EINTR;
			break;
		}
		if (pin_user_pages_fast(ua & PAGE_MASK, 1, gup, &page) != 1) {
			ret = -EFAULT;
			break;
		}
		hpas[i] = PFN_PHYS(page_to_pfn(page)) + offset_in_page(ua);
		cond_resched();
	}
	while (ret && i--)
		unpin_user_page(pfn_to_page(PHYS_PFN(hpas[i])));
	return ret;
}

/**
 * struct v1_mapping - a MAP under way
 * @hpas: the addresses of the pinned pages, one for each entry; those that have
 *	been written are overwritten, from the first on, with the TCEs that were
 *	replaced
 * @nr_old: how many replaced TCEs there are in @hpas, without those whose kill
 *	failed
 * @end: the entry behind the last one that was written
 */
struct v1_mapping {
	u64 *hpas;
	unsigned long nr_old;
	unsigned long end;
};

static void v1_collect(struct v1_mapping *m,
		       const struct iommu_tce_change *change,
		       unsigned int page_shift)
{
	unsigned long i, n;

	for (i = 0; i < change->nr_runs; i++)
		for (n = 0; n < change->runs[i].n; n++)
			m->hpas[m->nr_old++] =
				change->runs[i].owner + (n << page_shift);
}

/* Write the TCEs, unless the window went or DISABLE came during the pinning. */
static int v1_write(struct spapr_tce_container *container,
		    struct iommu_table *tbl,
		    const struct iommu_tce_request *req, struct v1_mapping *m)
{
	const u64 iova = (u64)req->entry << tbl->it_page_shift;
	struct iommu_tce_change change = {
		.entry = req->entry,
		.hpa_shift = tbl->it_page_shift,
	};
	unsigned long end = req->entry + req->npages;
	const struct spapr_tce_window *window;
	int ret = 0, err;

	lockdep_assert_held_read(&container->lock);
	window = spapr_tce_window_at(container, iova);
	if (!window || window->tbl != tbl)
		return -ENXIO;
	if (!container->enabled)
		return -EPERM;
	while (!ret && change.entry < end) {
		change.left = end - change.entry;
		change.hpas = m->hpas + (change.entry - req->entry);
		change.perm = req->perm;
		ret = tbl->it_ops->exchange(tbl, &change);
		err = change.entry != m->end ?
			      v1_kill(tbl, m->end, change.entry) :
			      0;
		if (!err)
			v1_collect(m, &change, tbl->it_page_shift);
		ret = ret ?: err;
		m->end = change.entry;
		cond_resched();
	}
	return ret;
}

/* Pin pages, write TCEs with the container's lock held, unpin the old pages. */
static int v1_map(struct spapr_tce_container *container,
		  struct iommu_table *tbl, const struct iommu_tce_request *req)
{
	struct v1_mapping m = { .end = req->entry };
	unsigned long i, cleared;
	int ret;

	spapr_tce_may_wait(container);
	m.hpas = kvmalloc_array(req->npages, sizeof(*m.hpas),
				GFP_KERNEL_ACCOUNT);
	if (!m.hpas)
		return -ENOMEM;
	ret = v1_pin(tbl, req, m.hpas);
	if (ret)
		goto free;

	down_read(&container->lock);
	ret = v1_write(container, tbl, req, &m);
	up_read(&container->lock);

	spapr_tce_may_wait(container);
	for (i = 0; i < m.nr_old; i++)
		v1_unpin(m.hpas[i]);
	for (i = m.end - req->entry; i < req->npages; i++)
		unpin_user_page(pfn_to_page(PHYS_PFN(m.hpas[i])));
	if (ret)
		spapr_tce_v1_clear(tbl, req->entry, m.end - req->entry,
				   &cleared);
free:
	kvfree(m.hpas);
	return ret;
}

/*
 * All MAPs under way together pin at most as many pages as the window has
 * entries.  So however many threads of a process are stopped in the middle of a
 * MAP, it pins at most twice as many pages as its TCEs can.  ENABLE charges the
 * size of the window, once: where a page of the kernel is larger than one of
 * the IOMMU, each TCE may pin a whole one.
 */
static bool v1_may_pin(struct spapr_tce_container *container,
		       const struct iommu_table *tbl, unsigned long npages)
{
	long pinning = atomic_long_read(&container->pinning);

	do {
		if (pinning + npages > tbl->it_size)
			return false;
	} while (!atomic_long_try_cmpxchg(&container->pinning, &pinning,
					  pinning + npages));
	return true;
}

static int v1_pin_begin(struct spapr_tce_container *container,
			const struct iommu_table *tbl, unsigned long npages)
{
	mm_iommu_wait_map(&v1_pinning_map);
	if (wait_event_killable(container->pin_wait,
				v1_may_pin(container, tbl, npages)))
		return -EINTR;
	return 0;
}

static void v1_pin_end(struct spapr_tce_container *container,
		       unsigned long npages)
{
	atomic_long_sub(npages, &container->pinning);
	wake_up_all(&container->pin_wait);
}

/**
 * spapr_tce_v1_map() - pin memory and point entries to it
 * @container: its lock is held for reading before and after, and while TCEs are
 *	written
 * @tbl: a table of the container
 * @req: the entries and the memory; valid TCEs are replaced
 *
 * Context: The process whose memory it is; may sleep, also for other MAPs under
 * way.
 * Return: 0; -ENOMEM, -EFAULT for memory that cannot be pinned, -EINTR after a fatal signal
 * while pinning, -EPERM after DISABLE, -ENXIO when the last group has left: nothing has
 * changed.  -EIO when firmware refused an entry or a kill: the entries that had been written
 * have been cleared.
 */
int spapr_tce_v1_map(struct spapr_tce_container *container,
		     struct iommu_table *tbl,
		     const struct iommu_tce_request *req)
{
	int ret;

	lockdep_assert_held_read(&container->lock);
	iommu_tce_table_get(tbl);
	up_read(&container->lock);
	spapr_tce_may_wait(container);
	ret = v1_pin_begin(container, tbl, req->npages);
	if (!ret) {
		lock_map_acquire_read(&v1_pinning_map);
		/*
		 * Pairs with v1_disable_wait(): either DISABLE waits for this
		 * MAP, or this MAP sees that DISABLE has begun.
		 */
		ret = READ_ONCE(container->enabled) ?
			      v1_map(container, tbl, req) :
			      -EPERM;
		v1_pin_end(container, req->npages);
		lock_map_release(&v1_pinning_map);
	}
	iommu_tce_table_put(tbl);
	down_read(&container->lock);
	return ret;
}

/* How many pages ENABLE charges. */
static int v1_pages(struct spapr_tce_container *container, unsigned long *pages)
{
	const struct spapr_tce_group *group;

	guard(rwsem_read)(&container->lock);
	if (container->enabled || container->charged)
		return -EBUSY;
	group = spapr_tce_first_group(container);
	if (!group)
		return -ENXIO;
	*pages = group->table_group->tce32_size >> PAGE_SHIFT;
	return *pages ? 0 : -EPERM;
}

/**
 * spapr_tce_v1_enable() - VFIO_IOMMU_ENABLE: charge the default window, and allow MAP
 * @container: a v1 container, whose mm is the caller's
 *
 * Context: Process, may sleep; takes windows_lock and the container's lock.
 * Return: 0; -EBUSY when it is enabled, or still charged; -ENXIO without a group; -EPERM when the
 * default window is smaller than a page; -ENOMEM; -EINTR.  On failure nothing has changed.
 */
int spapr_tce_v1_enable(struct spapr_tce_container *container)
{
	unsigned long pages;
	int ret;

	if (mutex_lock_killable(&container->windows_lock))
		return -EINTR;
	ret = v1_pages(container, &pages);
	spapr_tce_may_wait(container);
	if (!ret)
		ret = mm_iommu_charge(container->mm, pages);
	if (!ret) {
		container->charged = pages;
		scoped_guard(rwsem_write, &container->lock)
			WRITE_ONCE(container->enabled, true);
	}
	mutex_unlock(&container->windows_lock);
	return ret;
}

/* Refuse MAP from now on, and take a reference to each table. */
static void v1_disable_start(struct spapr_tce_container *container,
			     struct iommu_table **tables)
{
	unsigned int i;

	guard(rwsem_write)(&container->lock);
	WRITE_ONCE(container->enabled, false);
	for (i = 0; i < TCE_WINDOWS; i++) {
		tables[i] = container->windows[i].tbl;
		if (tables[i])
			iommu_tce_table_get(tables[i]);
	}
}

/* Wait for MAPs under way: their pages are let go before the charge, too. */
static int v1_disable_wait(struct spapr_tce_container *container)
{
	/*
	 * enabled was cleared before pinning is read.  spapr_tce_v1_map()
	 * raises pinning before it reads enabled.
	 */
	smp_mb();
	mm_iommu_wait_map(&v1_pinning_map);
	if (wait_event_killable(container->pin_wait,
				!atomic_long_read(&container->pinning)))
		return -EINTR;
	return 0;
}

/**
 * spapr_tce_v1_disable() - VFIO_IOMMU_DISABLE: unpin all mapped pages, then end the charge
 * @container: a v1 container
 *
 * Context: Process, may sleep; takes windows_lock and the container's lock.
 * Return: 0, also when a kill failed, whose pages stay pinned; -EINTR after a fatal signal: MAP
 * may be refused already, and the charge stays until another process with the same mm calls
 * DISABLE again, or the container ends.
 */
int spapr_tce_v1_disable(struct spapr_tce_container *container)
{
	struct iommu_table *tables[TCE_WINDOWS];
	unsigned long cleared;
	unsigned int i;
	int ret;

	if (mutex_lock_killable(&container->windows_lock))
		return -EINTR;
	v1_disable_start(container, tables);
	spapr_tce_may_wait(container);
	for (i = 0; i < TCE_WINDOWS; i++) {
		if (!tables[i])
			continue;
		spapr_tce_v1_clear(tables[i], tables[i]->it_offset,
				   tables[i]->it_size, &cleared);
		iommu_tce_table_put(tables[i]);
	}
	ret = v1_disable_wait(container);
	if (!ret) {
		account_locked_vm(container->mm, container->charged, false);
		container->charged = 0;
	}
	mutex_unlock(&container->windows_lock);
	return ret;
}
