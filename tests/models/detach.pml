/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Detach against calls: who waits for whom, and who frees.
 *
 * group   joins the container (vfio_container_attach_group()), SET_IOMMU
 *         (vfio_ioctl_set_iommu(), spapr_tce_iommu_attach_group()), is unbound and leaves
 *         (vfio_group_detach_container(), spapr_tce_iommu_detach_group(), spapr_tce_windows_end()) under
 *         the device_lock; in the end its device is removed.  Who joins last may find the other
 *         gone, and makes new data.
 * work    vfio_iommu_use_put_work(): puts the data for the last group that has left.  Its
 *         release waits for the mmap_lock, whose holder may wait for user space
 * call    vfio_container_driver_ioctl() with one of: MAP; spapr_tce_eeh_op(); a CREATE that waits
 *         for user space, with windows_lock held; spapr_tce_window_remove()
 * userspace  lets the calls that wait for it go on, or not
 *
 * The driver's data is made at SET_IOMMU, with a window, and never reused; nor are tables.
 * Nobody waits with the container's lock, so what happens under it is one step.  Calls may
 * wait for ever, for user space or for each other: the places where that is right are called
 * end*.  Spin reports everybody else who is stuck.
 * Left out: failures, the mm, KVM, windows that CREATE makes, signals, and to whom a device
 * belongs when a reset that began before its group left comes to it; that a call which is
 * last waits as the work does, with nothing held.
 *
 * Must hold: a group that leaves never waits for a call; data and tables are freed once, by
 * who is last, and not used after that; no group has a table programmed when it has left, or
 * the table is freed; nobody resets a device that is gone.
 *
 * OLD_C14    the last detach waits for the calls under way
 * OLD_C16    EEH holds a lock over the reset that attach and detach need
 * OLD_RELEASE the last detach releases the data itself
 * BAD_RCU    who looks the data up does so outside of a read section
 * BAD_GET    who looks the data up takes a reference also when there is none any more
 * BAD_DATA   the last detach frees the data, whoever uses it
 * BAD_EEH    EEH takes no references to devices
 * BAD_REMOVE REMOVE does not look whether its window has left meanwhile
 * BAD_HIDDEN the last detach takes only windows along that calls can find
 */
#define GROUPS	2
#define CALLERS	2
#define DATA	2
#define NONE	DATA

typedef rwsem {
	bool writer;
	byte waiting;		/* writers: no reader overtakes them */
	byte readers;
};

/* What VFIO has. */
rwsem group_lock;
byte joined;			/* groups in the container, a bit each */
byte use = NONE;		/* the driver's data */
byte made;			/* data so far */
chan put_wq = [DATA] of { byte };
bool putting;

byte ended;			/* threads */
bool served;			/* user space has provided its page, or never will */

bool device_lock[GROUPS];
byte device_refs[GROUPS] = 1;

/* The driver's data, and its window. */
typedef data {
	byte refs;
	bool released;
	byte sections;		/* RCU: who has read the pointer */
	bool freed;
	byte groups;		/* a bit each */
	bool windows_lock;
	bool open;		/* calls find the window */
	bool programmed;	/* the groups have it, as far as the container knows */
	byte table_refs;
	byte hardware;		/* the groups that really have it, a bit each */
	bool closed;
	bool mapped;		/* there are TCEs in the table */
};
data d[DATA];

#ifdef OLD_C16
rwsem groups_lock;
#endif

#define BIT(g)		(1 << (g))
#define ALIVE(x)	assert(d[x].refs && !d[x].released)

inline down_read(sem)
{
	atomic { !sem.writer && !sem.waiting -> sem.readers++ }
}

inline up_read(sem)
{
	sem.readers--
}

inline down_write(sem)
{
	sem.waiting++;
	atomic { !sem.writer && !sem.readers -> sem.writer = true; sem.waiting-- }
}

inline up_write(sem)
{
	sem.writer = false
}

/* In a step. */
inline table_put(x)
{
	assert(d[x].table_refs);
	d[x].table_refs--;
	assert(d[x].table_refs || !d[x].hardware && !d[x].mapped)
}

inline use_put(x)
{
	d_step {
		assert(d[x].refs && !d[x].released);
#ifdef BAD_DATA
		d[x].refs = (_pid > GROUPS + CALLERS -> 1 : d[x].refs);	/* for the detach */
#endif
		d[x].refs--;
		if
		:: d[x].refs
		:: else ->
			assert(!d[x].groups && !d[x].programmed && !d[x].windows_lock);
			d[x].released = true;
#ifdef BAD_RCU
			d[x].freed = true
#else
			d[x].freed = !d[x].sections	/* or later; nobody can tell the difference */
#endif
		fi;
		x = NONE
	}
}

inline wipe(x)
{
	d_step {
		ALIVE(x);
		assert(d[x].table_refs);
		d[x].closed = true;
		d[x].mapped = false
	}
}

/* spapr_tce_iommu_attach_group(), group_lock held for writing. */
inline attach(x, g)
{
#ifdef OLD_C16
	down_write(groups_lock);
#endif
	d_step {
		ALIVE(x);
		d[x].groups = d[x].groups | BIT(g);
		if
		:: d[x].programmed -> d[x].hardware = d[x].hardware | BIT(g)
		:: else
		fi
	};
#ifdef OLD_C16
	up_write(groups_lock)
#endif
}

/* spapr_tce_iommu_detach_group(), group_lock held for writing. */
inline detach(g)
{
#ifdef OLD_C16
	down_write(groups_lock);
#endif
	d_step {
		ALIVE(use);
		d[use].groups = d[use].groups & ~BIT(g);
		if
		:: d[use].groups && d[use].programmed ->
			d[use].hardware = d[use].hardware & ~BIT(g)
#ifdef BAD_HIDDEN
		:: !d[use].groups && d[use].open ->
#else
		:: !d[use].groups && d[use].programmed ->
#endif
			d[use].programmed = false;
			d[use].open = false;
			taken = true
		:: else
		fi
	};
	if
	:: taken ->
		wipe(use);
		d[use].hardware = d[use].hardware & ~BIT(g);
		d_step { table_put(use); taken = false }
	:: else
	fi;
	assert(!(d[use].hardware & BIT(g)));
#ifdef OLD_C16
	up_write(groups_lock)
#endif
}

active [GROUPS] proctype group()
{
	byte x = NONE;
	bool taken;

	down_write(group_lock);
	joined = joined | BIT(_pid);
	if
	:: use != NONE -> attach(use, _pid)
	:: else
	fi;
	up_write(group_lock);

	down_write(group_lock);			/* SET_IOMMU */
	if
	:: use == NONE ->
		d_step {
			x = made;
			made++;
			d[x].refs = 1;
			d[x].open = true;
			d[x].programmed = true;
			d[x].table_refs = 1
		};
		if
		:: joined & BIT(0) -> attach(x, 0)
		:: else
		fi;
		if
		:: joined & BIT(1) -> attach(x, 1)
		:: else
		fi;
		d_step { use = x; x = NONE }
	:: else
	fi;
	up_write(group_lock);

	atomic { !device_lock[_pid] -> device_lock[_pid] = true };	/* unbind */
	down_write(group_lock);
#ifdef OLD_C14
	if
	:: joined == BIT(_pid) -> d[use].refs == 1
	:: else
	fi;
#endif
	detach(_pid);
	d_step {
		joined = joined & ~BIT(_pid);
		if
		:: joined
		:: else -> x = use; use = NONE
		fi;
		group_lock.writer = false
	};
	if
	:: x != NONE ->
#ifdef OLD_RELEASE
		served;
		use_put(x)
#else
		put_wq!x
#endif
	:: else
	fi;
	d_step { device_lock[_pid] = false; device_refs[_pid]--; ended++ }
}

/* A reset, for which @g was found under the container's lock. */
inline reset(g)
{
	if
	:: targets & BIT(g) ->
		atomic { !device_lock[g] -> device_lock[g] = true };
		d_step {
			assert(device_refs[g]);
			device_lock[g] = false;
#ifndef BAD_EEH
			device_refs[g]--;
#endif
			targets = targets & ~BIT(g)
		}
	:: else
	fi
}

inline eeh()
{
#ifdef OLD_C16
	down_read(groups_lock);
#endif
	d_step {
		ALIVE(x);
		targets = d[x].groups;
#ifndef BAD_EEH
		device_refs[0] = device_refs[0] + (targets & 1);
		device_refs[1] = device_refs[1] + (targets >> 1)
#endif
	};
	reset(0);
	reset(1);
#ifdef OLD_C16
	up_read(groups_lock)
#endif
}

inline lock_windows()
{
	atomic { !d[x].windows_lock -> d[x].windows_lock = true }
}

inline remove()
{
	d_step {
		ALIVE(x);
		d[x].windows_lock = false;
		if
		:: d[x].groups && d[x].open ->
			d[x].open = false;
			d[x].table_refs++;
			mine = true
		:: else
		fi
	};
	if
	:: mine ->
		wipe(x);
		d_step {
			ALIVE(x);
			if
#ifndef BAD_REMOVE
			:: !d[x].programmed
#endif
			:: else ->
				d[x].hardware = 0;
				d[x].programmed = false;
				table_put(x)
			fi
		};
		d_step { table_put(x); mine = false }
	:: else
	fi
}

active [CALLERS] proctype call()
{
	byte x = NONE, targets;
	bool mine;

	do
	:: made -> break
	:: made ->
		d_step {				/* vfio_iommu_use_get() */
			x = use;
			if
			:: x != NONE -> d[x].sections++
			:: else
			fi
		};
		d_step {
			if
			:: x != NONE ->
				assert(!d[x].freed);
				d[x].sections--;
				if
#ifdef BAD_GET
				:: d[x].refs++
#else
				:: d[x].refs -> d[x].refs++
				:: else -> x = NONE
#endif
				fi
			:: else
			fi
		};
		if
		:: x == NONE
		:: x != NONE ->				/* MAP */
			d_step {
				ALIVE(x);
				if
				:: d[x].groups && d[x].open ->
					assert(d[x].table_refs && !d[x].closed);
					assert(d[x].hardware == d[x].groups);
					d[x].mapped = true
				:: else
				fi
			};
			use_put(x)
		:: x != NONE ->
			eeh();
			use_put(x)
		:: x != NONE ->				/* CREATE */
end_create:		lock_windows();
end_user:		served;
			d_step { ALIVE(x); d[x].windows_lock = false };
			use_put(x)
		:: x != NONE ->
end_remove:		lock_windows();
			remove();
			use_put(x)
		fi
	od;
	ended++
}

active proctype userspace()
{
	if
	:: served = true
#ifndef OLD_C14			/* which is to be found where nobody is that nasty, too */
	:: skip
#endif
	fi
}

active proctype work()
{
	byte x;

end:	do
	:: atomic { put_wq?x -> putting = true };
end_mmap:	served;
		use_put(x);
		putting = false
	od
}

active proctype finally()
{
end:	ended == GROUPS + CALLERS && empty(put_wq) && !putting;
	assert(d[0].released && (made < 2 || d[1].released))
}
