// SPDX-License-Identifier: GPL-2.0-only
/*
 * Containers of type v1: no registered memory.  ENABLE charges the size of the default
 * window to locked_vm, MAP pins a page for each TCE, and each TCE that goes unpins its page
 * after the kill.  Tables have one level and no user view: the TCE says which page it has.
 *
 * The container's lock is held over every call, but by the one that ends the container.
 */

#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <asm/iommu_tce.h>
#include <asm/tce.h>
#include "spapr_tce.h"

static void v1_unpin(unsigned long tce)
{
	struct page *page = pfn_to_page(PHYS_PFN(tce));

	unpin_user_pages_dirty_lock(&page, 1, tce & TCE_PCI_WRITE);
}

/*
 * Kill what the last exchange changed, then let go of the pages it replaced.
 * Return: how many.
 */
static unsigned long v1_retire(struct iommu_table *tbl, const struct iommu_tce_change *change,
			       unsigned long first)
{
	unsigned long i, n, sum = 0;

	mb(); /* the PHB must see the new TCEs when it reads them again */
	iommu_tce_kill(tbl, first, change->entry - first);
	iommu_flush_tce(tbl);
	for (i = 0; i < change->nr_runs; i++) {
		for (n = 0; n < change->runs[i].n; n++)
			v1_unpin(change->runs[i].owner + (n << tbl->it_page_shift));
		sum += n;
	}
	return sum;
}

/**
 * tce_v1_clear() - clear entries and unpin their pages
 * @tbl: the table, kept by the caller
 * @entry: first entry, absolute
 * @npages: how many; inside the table
 *
 * Context: Process, may sleep.
 * Return: how many entries were mapped.
 */
unsigned long tce_v1_clear(struct iommu_table *tbl, unsigned long entry, unsigned long npages)
{
	struct iommu_tce_change change = {
		.entry = entry, .left = npages, .no_view = true,
	};
	unsigned long first, sum = 0;

	while (change.left) {
		first = change.entry;
		if (tbl->it_ops->exchange(tbl, &change))
			break;
		if (change.nr_runs)
			sum += v1_retire(tbl, &change, first);
		cond_resched();
	}
	return sum;
}

/* Pin a page for each TCE; all of them or none. */
static int v1_pin(struct iommu_table *tbl, const struct iommu_tce_request *req, u64 *hpas)
{
	unsigned int gup = FOLL_LONGTERM | (req->perm & TCE_PCI_WRITE ? FOLL_WRITE : 0);
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
 * tce_v1_map() - pin memory and point entries to it
 * @container: keeps the table by its lock, held for reading
 * @tbl: the table
 * @req: the entries and the memory; valid TCEs are replaced
 *
 * Context: Process, the one whose memory it is; may sleep.
 * Return: 0; -ENOMEM, -EFAULT for memory that cannot be pinned, -EINTR after a fatal signal
 * while pinning: nothing has changed.  -EIO when firmware refused an entry: those before
 * it have been cleared.
 */
int tce_v1_map(struct tce_container *container, struct iommu_table *tbl,
	       const struct iommu_tce_request *req)
{
	struct iommu_tce_change change = {
		.entry = req->entry, .no_view = true, .hpa_shift = tbl->it_page_shift,
	};
	unsigned long end = req->entry + req->npages, first;
	u64 *hpas;
	int ret;

	lockdep_assert_held(&container->lock);
	hpas = kvmalloc_array(req->npages, sizeof(*hpas), GFP_KERNEL_ACCOUNT);
	if (!hpas)
		return -ENOMEM;
	ret = v1_pin(tbl, req, hpas);
	if (ret)
		goto free;

	while (!ret && change.entry < end) {
		first = change.entry;
		change.left = end - first;
		change.hpas = hpas + (first - req->entry);
		change.perm = req->perm;
		ret = tbl->it_ops->exchange(tbl, &change);
		v1_retire(tbl, &change, first);
		cond_resched();
	}
	if (ret == -EIO)
		tce_v1_clear(tbl, req->entry, change.entry - req->entry);
	for (; change.entry < end; change.entry++)
		unpin_user_page(pfn_to_page(PHYS_PFN(hpas[change.entry - req->entry])));
free:
	kvfree(hpas);
	return ret;
}

/* Charge the default window once, and let MAP begin. */
int tce_v1_enable(struct tce_container *container)
{
	const struct tce_group *group = tce_first_group(container);
	unsigned long pages;
	int ret;

	lockdep_assert_held_write(&container->lock);
	if (container->enabled)
		return -EBUSY;
	pages = group->table_group->tce32_size >> PAGE_SHIFT;
	if (!pages)
		return -EPERM;
	ret = account_locked_vm(container->mm, pages, true);
	if (ret)
		return ret;
	container->charged = pages;
	container->enabled = true;
	return 0;
}

/* Mapped pages are let go before their charge. */
int tce_v1_disable(struct tce_container *container)
{
	struct iommu_table *tbl;
	unsigned int i;

	lockdep_assert_held_write(&container->lock);
	if (!container->enabled)
		return 0;
	for (i = 0; i < TCE_WINDOWS; i++) {
		tbl = container->windows[i].tbl;
		if (tbl)
			tce_v1_clear(tbl, tbl->it_offset, tbl->it_size);
	}
	container->enabled = false;
	account_locked_vm(container->mm, container->charged, false);
	container->charged = 0;
	return 0;
}
