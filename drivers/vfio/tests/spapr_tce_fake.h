/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A platform without hardware, for tests of the container of sPAPR TCE IOMMUs: groups that
 * can differ, operations that fail when told to, tables that watch over what becomes of them.
 */
#ifndef VFIO_SPAPR_TCE_FAKE_H
#define VFIO_SPAPR_TCE_FAKE_H

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/sizes.h>
#include <linux/vfio.h>
#include <asm/iommu.h>

#define FAKE_GROUPS	3
#define FAKE_SLOTS	IOMMU_TABLE_GROUP_MAX_TABLES
#define FAKE_ENTRIES	256

/* Small ones, so that memory of any kind can be mapped whatever pages the kernel has. */
#define FAKE_PGSIZES	((u64)(SZ_2K | SZ_4K))
#define SHIFT_2K	11
#define SHIFT_4K	12

#define DEFAULT_SIZE	SZ_256K
/* What a case asks CREATE for, and where the second window starts. */
#define SECOND_SIZE	SZ_256K
#define SECOND_START	BIT_ULL(59)

/* What a table of so many bytes of bus addresses is charged, in pages; 16 entries are one. */
#define FAKE_CHARGE(size, shift)	((size) >> (shift) >> 4)
#define DEFAULT_CHARGE	FAKE_CHARGE(DEFAULT_SIZE, SHIFT_4K)
#define SECOND_CHARGE	FAKE_CHARGE(SECOND_SIZE, SHIFT_2K)

#define AREA_PAGES	16UL

enum fake_op { FAKE_CREATE, FAKE_SET, FAKE_UNSET, FAKE_OPS };

/**
 * struct fake_table - a table of one level
 * @tbl: as the kernel knows it; first, as it is freed by this address
 * @fake: whose it is
 * @holders: groups that have it programmed
 * @mapped: valid TCEs
 * @stale_first: first entry that was replaced since the last kill
 * @stale_end: the entry behind the last one
 * @stale_region: memory that such an entry pointed to
 * @stale_mapped: the count of that memory when the entry was replaced
 * @tces: by entry
 * @owners: by entry
 */
struct fake_table {
	struct iommu_table tbl;
	struct fake *fake;
	unsigned int holders;
	unsigned long mapped;
	unsigned long stale_first;
	unsigned long stale_end;
	struct mm_iommu_region *stale_region;
	long stale_mapped;
	u64 tces[FAKE_ENTRIES];
	u64 owners[FAKE_ENTRIES];
};

/**
 * struct fake_group - a group without devices
 * @table_group: as the container knows it
 * @group: as VFIO knows it
 * @fake: whose it is
 * @attached: it is in the container
 * @slots: what is programmed
 * @lost: what is in the slot is linked yet, but no window of the hardware any more
 */
struct fake_group {
	struct iommu_table_group table_group;
	struct iommu_group *group;
	struct fake *fake;
	bool attached;
	struct fake_table *slots[FAKE_SLOTS];
	bool lost[FAKE_SLOTS];
};

/**
 * struct fake - a platform, a container, and a process that uses it
 * @test: the case
 * @mm: of the process
 * @locked_vm: of @mm at first
 * @args: a page for arguments; nothing is mapped behind it
 * @area: memory to map
 * @type: of the container
 * @container: the container
 * @groups: groups
 * @tables: how many tables there are
 * @calls: how often each operation of a group was called
 * @fail: the call of an operation that fails, counted from 1, and what it returns; 0: none
 * @lose: a window that does not go when told to is lost all the same
 * @args_go: take @args away when a window is programmed that starts here; 0: do not
 * @refuse: entries of all tables, absolute, that firmware does not let anybody change; or NULL
 * @deaf: no kill reaches the hardware
 * @seen_early: a window was programmed that guests could have mapped into already
 * @block: the table whose next exchange waits
 * @blocked: it does
 * @go_on: it need not any longer
 * @met: it was told so before it lost patience
 */
struct fake {
	struct kunit *test;
	struct mm_struct *mm;
	unsigned long locked_vm;
	unsigned long args;
	unsigned long area;
	unsigned long type;
	void *container;
	struct fake_group groups[FAKE_GROUPS];
	unsigned int tables;
	unsigned int calls[FAKE_OPS];
	struct {
		unsigned int nth;
		long ret;
	} fail[FAKE_OPS];
	bool lose;
	u64 args_go;
	const unsigned long *refuse;
	bool deaf;
	bool seen_early;
	struct fake_table *block;
	struct completion blocked;
	struct completion go_on;
	bool met;
};

extern struct iommu_table_group_ops fake_ops;
extern struct iommu_table_group_ops fake_other_ops;
extern struct iommu_table_group_ops fake_own_ops;

int fake_init(struct kunit *test);
int fake_init_v1(struct kunit *test);
void fake_exit(struct kunit *test);

/* Let the @nth call from now on return @ret and do nothing. */
void fake_fail(struct kunit *test, enum fake_op op, unsigned int nth, long ret);

int fake_attach(struct kunit *test, unsigned int group);
void fake_detach(struct kunit *test, unsigned int group);
void fake_attach_all(struct kunit *test, unsigned int groups);

/* The container ends; all groups are detached.  Otherwise it does so with the case. */
void fake_release(struct kunit *test);

/* Another one begins. */
void fake_open(struct kunit *test);

struct fake_table *fake_slot(struct kunit *test, unsigned int group, unsigned int num);

/* Pages charged since the start. */
unsigned long fake_charged(struct kunit *test);

/* Groups below @groups have @tbl in slot @num, the others nothing. */
void fake_expect_slots(struct kunit *test, unsigned int groups, unsigned int num,
		       const struct fake_table *tbl);

/* No slot has anything, and there is no table. */
void fake_expect_no_window(struct kunit *test);

/* Calls of the process; the argument is copied to @at, and back. */
long fake_call_at(struct fake *fake, unsigned long at, unsigned int cmd, void *arg, size_t size);
long fake_get_info(struct kunit *test, struct vfio_iommu_spapr_tce_info *info);
long fake_create(struct kunit *test, u32 page_shift, u64 *start);
long fake_create_size(struct kunit *test, u32 page_shift, u64 size, u64 *start);
long fake_remove(struct kunit *test, u64 start);
long fake_map(struct kunit *test, u64 iova, u64 size);
long fake_unmap(struct kunit *test, u64 iova, u64 size);
long fake_unmap_all(struct kunit *test, u64 *bytes);
long fake_register(struct kunit *test);
long fake_unregister(struct kunit *test);

/**
 * struct fake_caller - a thread of the process with a call of its own
 * @fake: the platform
 * @call: what it does
 * @start: which window the call is about
 * @ret: what came of it
 * @done: it has returned
 */
struct fake_caller {
	struct fake *fake;
	long (*call)(struct fake_caller *caller);
	u64 start;
	long ret;
	struct completion done;
};

long fake_caller_remove(struct fake_caller *caller);
long fake_caller_map(struct fake_caller *caller);

/* Have a thread do a call about the window of @slot, and wait until it is stopped there. */
void fake_caller_begin(struct kunit *test, struct fake_caller *caller, unsigned int slot,
		       long (*call)(struct fake_caller *caller));

/* Let it go on, and wait for it; nothing between the two may have waited for it. */
void fake_caller_end(struct kunit *test, struct fake_caller *caller);

/* Groups below @groups attached, the area registered, both windows made. */
void fake_two_windows(struct kunit *test, unsigned int groups);

#endif /* VFIO_SPAPR_TCE_FAKE_H */
