// SPDX-License-Identifier: GPL-2.0
/*
 * DMA windows of guests: how they, their views and their links come and go.
 *
 * User space makes a LIOBN with KVM_CREATE_SPAPR_TCE(_64), which returns a file
 * descriptor.  Closing it ends the LIOBN.  All memory of the view is charged to
 * locked_vm at once, as if the guest had filled it, and allocated when it does.
 *
 * KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE links a LIOBN to the table that a group has
 * at the same bus address, if that table points to memory of this VM (v2
 * containers only).  Groups of one container share tables, so a link has a list
 * of the groups for which it was made, and goes with the last of them.
 *
 * The container may remove its window meanwhile.  It tells us when its table is closed and empty
 * (&struct iommu_tce_watch).  The link is dead then, and all hypercalls but H_GET_TCE go to user
 * space, which has removed the window and knows what to do.
 *
 * Whoever unlinks something here does not wait for hypercalls.  What they may use
 * is freed when they are over (&struct kvm_tce_deferred).
 */

#include <linux/anon_inodes.h>
#include <linux/cleanup.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

#include <asm/kvm_ppc.h>
#include <asm/mmu_context_iommu.h>
#include "book3s_64_tce.h"

static struct workqueue_struct *deferred_wq;

static void deferred_rcu(struct rcu_head *rcu)
{
	struct kvm_tce_deferred *todo =
		container_of(rcu, struct kvm_tce_deferred, rcu);
	struct kvm_tce *tce = &todo->kvm->arch.tce;

	if (llist_add(&todo->node, &tce->deferred))
		queue_work(deferred_wq, &tce->work);
}

/*
 * Do what @fn does when all hypercalls of the VM that run now are over.  The VM is freed after that
 * (kvm_tce_destroy_vm()).  Context: Any.
 */
static void defer(struct kvm_tce_deferred *todo, struct kvm *kvm,
		  void (*fn)(struct kvm_tce_deferred *todo))
{
	todo->kvm = kvm;
	todo->fn = fn;
	call_srcu(&kvm->srcu, &todo->rcu, deferred_rcu);
}

/* All VMs share the workqueue, so this waits for nothing that a process can keep: no mmap_lock. */
static void deferred_work(struct work_struct *work)
{
	struct kvm *kvm = container_of(work, struct kvm, arch.tce.work);
	struct kvm_tce_deferred *todo, *next;
	struct llist_node *all = llist_del_all(&kvm->arch.tce.deferred);

	llist_for_each_entry_safe(todo, next, all, node) {
		todo->fn(todo);
		cond_resched();
	}
}

void kvm_tce_init_vm(struct kvm *kvm)
{
	mutex_init(&kvm->arch.tce.lock);
	INIT_WORK(&kvm->arch.tce.work, deferred_work);
}

/* Finish what is over.  Neither LIOBNs nor vCPUs are left to hold that up. */
void kvm_tce_destroy_vm(struct kvm *kvm)
{
	srcu_barrier(&kvm->srcu);
	flush_work(&kvm->arch.tce.work);
}

int kvm_tce_init(void)
{
	deferred_wq = alloc_workqueue("kvm_tce", WQ_UNBOUND, 0);
	return deferred_wq ? 0 : -ENOMEM;
}

/* No VM is left. */
void kvm_tce_exit(void)
{
	destroy_workqueue(deferred_wq);
}

/* ---- views ---- */

static unsigned long view_pages(u64 size)
{
	return DIV_ROUND_UP_ULL(size, KVM_TCE_PER_PAGE);
}

static unsigned long view_directories(u64 size)
{
	return DIV_ROUND_UP(view_pages(size), KVM_TCE_PER_PAGE);
}

/* User space that knows what a LIOBN is charged counts on this much beside the pages. */
#define VIEW_HEAD_BYTES 120

/* Pages of locked_vm for a LIOBN: its view when full, and what finds it. */
static unsigned long view_charge(u64 size)
{
	unsigned long pages = view_pages(size);
	unsigned long bytes = VIEW_HEAD_BYTES + pages * sizeof(u64 *);

	return pages + DIV_ROUND_UP(bytes, PAGE_SIZE);
}

/* Make the zeroed page that @slot is to point to, unless it is there. */
static void *view_page_make(void **slot)
{
	void *page = *slot;

	if (page)
		return page;
	page = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	/* Pairs with kvm_tce_view(). */
	smp_store_release(slot, page);
	return page;
}

/**
 * kvm_tce_view_make() - make the page of a view exist that has the word of an entry
 * @liobn: the LIOBN
 * @index: the entry, relative to the LIOBN
 *
 * Context: Process, may sleep.
 * Return: 0 or -ENOMEM.
 */
int kvm_tce_view_make(struct kvm_tce_liobn *liobn, unsigned long index)
{
	const unsigned long page = index / KVM_TCE_PER_PAGE;
	u64 **directory;

	if (kvm_tce_view(liobn, index))
		return 0;
	guard(mutex)(&liobn->view_lock);
	directory =
		view_page_make((void **)&liobn->view[page / KVM_TCE_PER_PAGE]);
	if (!directory ||
	    !view_page_make((void **)&directory[page % KVM_TCE_PER_PAGE]))
		return -ENOMEM;
	return 0;
}

static void view_free(struct kvm_tce_liobn *liobn)
{
	unsigned long i, j;
	u64 **directory;

	for (i = 0; i < view_directories(liobn->size); i++) {
		directory = liobn->view[i];
		for (j = 0; directory && j < KVM_TCE_PER_PAGE; j++) {
			free_page((unsigned long)directory[j]);
			cond_resched();
		}
		free_page((unsigned long)directory);
	}
}

static vm_fault_t view_fault(struct vm_fault *vmf)
{
	struct kvm_tce_liobn *liobn = vmf->vma->vm_file->private_data;
	unsigned long index = vmf->pgoff * KVM_TCE_PER_PAGE;

	if (vmf->pgoff >= view_pages(liobn->size))
		return VM_FAULT_SIGBUS;
	if (kvm_tce_view_make(liobn, index))
		return VM_FAULT_OOM;
	vmf->page = virt_to_page(kvm_tce_view(liobn, index));
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct view_vm_ops = {
	.fault = view_fault,
};

static int view_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &view_vm_ops;
	return 0;
}

/* ---- links ---- */

/* A page fault of a guest may hold up their end, and they are not charged: no more than so many. */
#define LINKS_ENDING_MAX 256

static void link_put(struct kvm_tce_link *link)
{
	if (refcount_dec_and_test(&link->ref))
		kfree(link);
}

static void link_put_table(struct kvm_tce_deferred *todo)
{
	struct kvm_tce_link *link =
		container_of(todo, struct kvm_tce_link, put);

	iommu_tce_watch_put(link->old);
	link_put(link);
}

static void link_gone(struct kvm_tce_deferred *todo)
{
	struct kvm_tce *tce = &todo->kvm->arch.tce;

	link_put(container_of(todo, struct kvm_tce_link, gone));
	if (atomic_dec_return(&tce->links_ending) < LINKS_ENDING_MAX)
		wake_up_var(&tce->links_ending);
}

/* Put the reference to the table, which the watch is off.  Context: Any. */
static void link_put_later(struct kvm_tce_link *link, struct iommu_table *tbl)
{
	link->old = tbl;
	refcount_inc(&link->ref);
	defer(&link->put, link->kvm, link_put_table);
}

/* The table is closed: the link is dead.  Its LIOBN keeps the VM. */
static void link_closed(struct iommu_tce_watch *watch)
{
	struct kvm_tce_link *link =
		container_of(watch, struct kvm_tce_link, watch);
	struct iommu_table *tbl = link->tbl;

	WRITE_ONCE(link->tbl, NULL);
	link_put_later(link, tbl);
}

static struct kvm_tce_link *link_alloc(struct kvm *kvm)
{
	struct kvm_tce_link *link = kzalloc_obj(*link, GFP_KERNEL_ACCOUNT);

	if (!link)
		return NULL;
	link->kvm = kvm;
	link->watch.closed = link_closed;
	refcount_set(&link->ref, 1);
	INIT_LIST_HEAD(&link->users);
	return link;
}

/* Take a link off its LIOBN and its table. */
static void link_unlink(struct kvm_tce_link *link)
{
	lockdep_assert_held(&link->kvm->arch.tce.lock);
	list_del_rcu(&link->next);
	/* Who has found it goes on with the table. */
	if (iommu_tce_unwatch(&link->watch))
		link_put_later(link, link->tbl);
	atomic_inc(&link->kvm->arch.tce.links_ending);
	defer(&link->gone, link->kvm, link_gone);
}

static struct kvm_tce_link_group *link_user(struct kvm_tce_link *link,
					    const struct iommu_group *group)
{
	struct kvm_tce_link_group *user;

	list_for_each_entry(user, &link->users, next)
		if (user->group == group)
			return user;
	return NULL;
}

static void user_free(struct kvm_tce_link_group *user)
{
	list_del(&user->next);
	kfree(user);
}

/* Remove @group (NULL: all) from the users of a link; unlink it if none is left. */
static void link_drop_user(struct kvm_tce_link *link,
			   const struct iommu_group *group)
{
	struct kvm_tce_link_group *user, *next;

	list_for_each_entry_safe(user, next, &link->users, next)
		if (!group || user->group == group)
			user_free(user);
	if (list_empty(&link->users))
		link_unlink(link);
}

/*
 * The table of a group for a LIOBN: at the same bus address, at least as
 * large, with pages that are no larger, and pointing to memory of this VM.
 * Return: with a reference for iommu_tce_watch_put(), or NULL.
 */
static struct iommu_table *table_for(const struct kvm_tce_liobn *liobn,
				     struct iommu_table_group *table_group)
{
	struct iommu_table *tbl;
	unsigned int num, shift;

	for (num = 0; num < IOMMU_TABLE_GROUP_MAX_TABLES; num++) {
		tbl = iommu_group_table_get(table_group, num);
		if (!tbl)
			continue;
		shift = liobn->page_shift - tbl->it_page_shift;
		/* Pairs with window_open() of the container. */
		if (smp_load_acquire(&tbl->it_mm) == liobn->kvm->mm &&
		    tbl->it_page_shift <= liobn->page_shift &&
		    tbl->it_offset == liobn->offset << shift &&
		    tbl->it_size >> shift >= liobn->size)
			return tbl;
		iommu_tce_watch_put(tbl);
	}
	return NULL;
}

/* Let a new link tie the LIOBN to a table.  Return: 0; -ENODEV if it is closed. */
static int link_add(struct kvm_tce_liobn *liobn, struct kvm_tce_link *link,
		    struct iommu_table *tbl)
{
	int ret;

	link->tbl = tbl;
	link->sub_shift = liobn->page_shift - tbl->it_page_shift;
	/* From here on it may die at any moment. */
	ret = iommu_tce_watch(tbl, &link->watch);
	if (!ret)
		list_add_tail_rcu(&link->next, &liobn->links);
	return ret;
}

static struct kvm_tce_link *link_find(const struct kvm_tce_liobn *liobn,
				      const struct iommu_table *tbl)
{
	struct kvm_tce_link *link;

	list_for_each_entry(link, &liobn->links, next)
		if (READ_ONCE(link->tbl) == tbl)
			return link;
	return NULL;
}

static void links_prune(struct kvm_tce_liobn *liobn)
{
	struct kvm_tce_link *link, *next;

	list_for_each_entry_safe(link, next, &liobn->links, next)
		if (!READ_ONCE(link->tbl))
			link_drop_user(link, NULL);
}

/**
 * struct kvm_tce_set - what KVM_DEV_VFIO_GROUP_SET_SPAPR_TCE needs
 * @link: a new link; NULL once it is used
 * @user: a new user of a link; NULL once it is used
 */
struct kvm_tce_set {
	struct kvm_tce_link *link;
	struct kvm_tce_link_group *user;
};

static int set_link(struct kvm_tce_set *set, struct kvm_tce_liobn *liobn,
		    struct iommu_table *tbl)
{
	struct kvm_tce_link *link;
	int ret;

	guard(mutex)(&liobn->kvm->arch.tce.lock);
	links_prune(liobn);
	link = link_find(liobn, tbl);
	if (!link) {
		link = set->link;
		ret = link_add(liobn, link, tbl);
		if (ret)
			return ret;
		set->link = NULL;
	}
	if (!link_user(link, set->user->group)) {
		list_add(&set->user->next, &link->users);
		set->user = NULL;
	}
	return 0;
}

/* Only SET waits, before it makes a link; whoever unlinks one never does. */
static int wait_for_links(struct kvm *kvm)
{
	atomic_t *ending = &kvm->arch.tce.links_ending;

	return wait_var_event_killable(ending, atomic_read(ending) <
						       LINKS_ENDING_MAX) ?
		       -EINTR :
		       0;
}

static int attach(struct kvm_tce_liobn *liobn, const struct iommu_group *group,
		  struct iommu_table *tbl)
{
	struct kvm_tce_set set = {
		.link = link_alloc(liobn->kvm),
		.user = kzalloc_obj(*set.user, GFP_KERNEL_ACCOUNT),
	};
	int ret = -ENOMEM;

	if (set.link && set.user) {
		set.user->group = group;
		ret = set_link(&set, liobn, tbl);
	}
	kfree(set.link);
	kfree(set.user);
	return ret;
}

static const struct file_operations liobn_fops;

/**
 * kvm_spapr_tce_attach_iommu_group() - link a LIOBN to the table of a group
 * @kvm: the VM
 * @tablefd: the LIOBN, from kvm_vm_ioctl_create_spapr_tce()
 * @grp: the group; kept by the caller until kvm_spapr_tce_release_iommu_group()
 *
 * Context: Process, may sleep.
 * Return: 0, also if they are linked already; -EBADF, -EINVAL when @tablefd is no LIOBN of
 * this VM, or @grp has no table for it that points to memory of this VM; -ENODEV when @grp is
 * not one of TCE tables, or the container's window is just going; -ENOMEM; -EINTR after a fatal
 * signal, in a wait for the end of many earlier links.
 */
long kvm_spapr_tce_attach_iommu_group(struct kvm *kvm, int tablefd,
				      struct iommu_group *grp)
{
	struct iommu_table_group *table_group = iommu_group_get_iommudata(grp);
	struct kvm_tce_liobn *liobn;
	struct iommu_table *tbl;
	int ret = wait_for_links(kvm);

	/* Whoever closes the LIOBN meanwhile need not wait. */
	if (ret)
		return ret;
	CLASS(fd, f)(tablefd);
	if (fd_empty(f))
		return -EBADF;
	liobn = fd_file(f)->private_data;
	if (fd_file(f)->f_op != &liobn_fops || liobn->kvm != kvm)
		return -EINVAL;
	if (!table_group)
		return -ENODEV;
	tbl = table_for(liobn, table_group);
	if (!tbl)
		return -EINVAL;
	ret = attach(liobn, grp, tbl);
	iommu_tce_watch_put(tbl);
	return ret;
}
EXPORT_SYMBOL_GPL(kvm_spapr_tce_attach_iommu_group);

static void liobn_drop_user(struct kvm_tce_liobn *liobn,
			    const struct iommu_group *group)
{
	struct kvm_tce_link *link, *next;

	list_for_each_entry_safe(link, next, &liobn->links, next)
		if (link_user(link, group))
			link_drop_user(link, group);
}

/**
 * kvm_spapr_tce_release_iommu_group() - undo kvm_spapr_tce_attach_iommu_group()
 * @kvm: the VM
 * @grp: the group; its links to all LIOBNs go, but for those that others have too
 *
 * Hypercalls that are running may use them a little longer.
 *
 * Context: Process, may sleep.  Cannot fail.
 */
void kvm_spapr_tce_release_iommu_group(struct kvm *kvm, struct iommu_group *grp)
{
	struct kvm_tce_liobn *liobn;
	unsigned int i;

	guard(mutex)(&kvm->arch.tce.lock);
	for (i = 0; i < ARRAY_SIZE(kvm->arch.tce.liobns); i++)
		hlist_for_each_entry(liobn, &kvm->arch.tce.liobns[i], node)
			liobn_drop_user(liobn, grp);
}
EXPORT_SYMBOL_GPL(kvm_spapr_tce_release_iommu_group);

/* ---- LIOBNs ---- */

static void liobn_free(struct kvm_tce_deferred *todo)
{
	struct kvm_tce_liobn *liobn =
		container_of(todo, struct kvm_tce_liobn, gone);
	struct kvm *kvm = liobn->kvm;

	view_free(liobn);
	mm_iommu_uncharge(kvm->mm, liobn->charged);
	kfree(liobn);
}

static int liobn_release(struct inode *inode, struct file *file)
{
	struct kvm_tce_liobn *liobn = file->private_data;
	struct kvm_tce_link *link, *next;
	struct kvm *kvm = liobn->kvm;

	scoped_guard(mutex, &kvm->arch.tce.lock) {
		hlist_del_rcu(&liobn->node);
		list_for_each_entry_safe(link, next, &liobn->links, next)
			link_drop_user(link, NULL);
	}
	mm_iommu_uncharge_begin(kvm->mm);
	defer(&liobn->gone, kvm, liobn_free);
	kvm_put_kvm(kvm);
	return 0;
}

static const struct file_operations liobn_fops = {
	.owner = THIS_MODULE,
	.mmap = view_mmap,
	.release = liobn_release,
};

/* Return: the LIOBN, charged, or an errno. */
static struct kvm_tce_liobn *
liobn_alloc(struct kvm *kvm, const struct kvm_create_spapr_tce_64 *args)
{
	struct kvm_tce_liobn *liobn;
	unsigned long charge = view_charge(args->size);
	int ret;

	ret = mm_iommu_charge(kvm->mm, charge);
	if (ret)
		return ERR_PTR(ret);
	liobn = kzalloc(struct_size(liobn, view, view_directories(args->size)),
			GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!liobn) {
		account_locked_vm(kvm->mm, charge, false);
		return ERR_PTR(-ENOMEM);
	}
	liobn->kvm = kvm;
	liobn->liobn = args->liobn;
	liobn->page_shift = args->page_shift;
	liobn->offset = args->offset;
	liobn->size = args->size;
	liobn->charged = charge;
	INIT_LIST_HEAD(&liobn->links);
	mutex_init(&liobn->view_lock);
	return liobn;
}

/* Give a LIOBN a file descriptor, and let hypercalls find it. */
static int liobn_publish(struct kvm *kvm, struct kvm_tce_liobn *liobn)
{
	int fd;

	guard(mutex)(&kvm->arch.tce.lock);
	if (kvm_tce_find(kvm, liobn->liobn))
		return -EBUSY;
	kvm_get_kvm(kvm);
	fd = anon_inode_getfd("kvm-spapr-tce", &liobn_fops, liobn,
			      O_RDWR | O_CLOEXEC);
	if (fd < 0)
		kvm_put_kvm_no_destroy(kvm);
	else
		hlist_add_head_rcu(&liobn->node,
				   kvm_tce_bucket(kvm, liobn->liobn));
	return fd;
}

/**
 * kvm_vm_ioctl_create_spapr_tce() - KVM_CREATE_SPAPR_TCE_64: make a LIOBN
 * @kvm: the VM
 * @args: number, page size, place and size
 *
 * Context: Process, may sleep.
 * Return: a file descriptor; -EINVAL for a page size, place or size that cannot be, -EBUSY when
 * the number is in use, -ENOMEM when there is no memory, or no more of it may be locked; -EINTR
 * after a fatal signal in a wait for charges that are about to end; -EMFILE; -ENFILE.
 */
int kvm_vm_ioctl_create_spapr_tce(struct kvm *kvm,
				  struct kvm_create_spapr_tce_64 *args)
{
	struct kvm_tce_liobn *liobn;
	u64 end;
	int fd;

	if (!args->size || args->page_shift < 12 || args->page_shift > 34 ||
	    check_add_overflow(args->offset, args->size, &end) ||
	    end > U64_MAX >> args->page_shift)
		return -EINVAL;
	liobn = liobn_alloc(kvm, args);
	if (IS_ERR(liobn))
		return PTR_ERR(liobn);
	fd = liobn_publish(kvm, liobn);
	if (fd < 0) {
		account_locked_vm(kvm->mm, liobn->charged, false);
		kfree(liobn);
	}
	return fd;
}
