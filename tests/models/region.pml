/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The life of a region: registered, held, aimed at, dropped, unregistered, abandoned, an
 * orphan, registered again, freed.
 *
 * user       iommu_tce_map() and iommu_tce_unmap() on one entry: request_hold() with
 *            mm_iommu_hold(), request_aim(), the exchange, batch_add_run() with
 *            mm_iommu_region_of(), the kill, mm_iommu_drop(); request_unhold() after a failure
 * real       iommu_tce_change_one_rm(), which clears the entry, or lets it point to what has been seen
 *            registered, if it pointed to nothing or there before; with interrupts off
 * container  one mm_iommu_register() with region_claim() and region_settle(), then
 *            mm_iommu_unregister() until it succeeds or never; at its end mm_iommu_abandon_start(),
 *            _grace() and _finish(), and before it, by the first one, iommu_tce_close() on the table of one entry
 * release    region_release_work(), one for each region
 * grace      kfree_rcu() of a region: waits for the read sections that were open
 *
 * There is one range of user memory.  Regions are never reused, so whoever touches one that
 * was freed is seen, later than the last touch if not at once.  What nobody else can tell
 * apart is one step; the regions lock is there where it is held for several.  Left out:
 * overlapping ranges, the store of addresses, the charge, mm_iommu_cleanup(), memory ordering.
 *
 * Must hold: nobody touches a freed region; at any time mapped is what it is said to be;
 * memory is let go once, when mapped is 0 and the hardware knows no TCE that points to it;
 * in the end everything was let go.
 *
 * OLD_R11    a mapper reads the bounds of a region when its TCEs have its counts
 * BAD_HOLD   a hold raises mapped from 0, too
 * BAD_ORDER  counts are dropped before the kill
 * BAD_GRACE  a region is freed without a grace period
 * BAD_RM     real mode drops counts of orphans, too
 * BAD_RM_GRACE  a region becomes an orphan without a grace period
 * BAD_ORPHAN an orphan is registered again without a count for that
 */
#define USERS		2
#define CONTAINERS	2
#define REGIONS		2
#define NONE		REGIONS

typedef region {
	byte used;
	byte mapped;
	bool pending;
	bool pinned;
	bool queued;		/* the work item */
	bool freeing;		/* passed to kfree_rcu() */
	bool freed;
	byte readers;		/* whom the grace period waits for, a bit each */
	byte points;		/* TCEs that the hardware may know; for checks only */
	byte held;		/* all other counts but that of used; for checks only */
};

region r[REGIONS];
byte tree = NONE;		/* the region in the tree */
byte made;			/* regions so far */
byte sections;			/* open read sections, a bit each */
byte tce = NONE;			/* the only one, in the table of the first container */
bool closed;
bool regions_lock;
byte waits[CONTAINERS];		/* sections that the end of a registration waits for */
byte orphans;			/* their references to the mm */
byte gone;			/* containers that are */

#define TOUCH(g)	assert(!r[g].freed)
#define COUNTED(g)	assert(r[g].mapped == (r[g].used > 0) + r[g].points + r[g].held)
/* What mm_iommu_region_of() relies on: counts of @g that the caller can rely on keep it there. */
#define OWNED(g)	assert(tree == g && !r[g].freed)

/* In a step: close the read section. */
inline end_section()
{
	sections = sections & ~(1 << _pid);
	r[0].readers = r[0].readers & ~(1 << _pid);
	r[1].readers = r[1].readers & ~(1 << _pid);
	waits[0] = waits[0] & ~(1 << _pid);
	waits[1] = waits[1] & ~(1 << _pid)
}

/* In a step: count for the caller in the region that was found, or set @g to NONE. */
inline raise(g)
{
	if
	:: g == NONE
#ifdef BAD_HOLD
	:: g != NONE ->
#else
	:: g != NONE && !r[g].mapped ->
		TOUCH(g);
		g = NONE
	:: g != NONE && r[g].mapped ->
#endif
		TOUCH(g);
		r[g].mapped++;
		r[g].held++;
		COUNTED(g)
	fi
}

/* Set @g to the region, with a count for the caller, or to NONE. */
inline hold(g)
{
	d_step {
		sections = sections | (1 << _pid);
		g = tree
	};
	if
	:: g != NONE && r[g].used
	:: else -> g = NONE
	fi;
	d_step { raise(g); end_section() }
}

/* In a step: give back one of the caller's counts. */
inline drop(g)
{
	TOUCH(g);
	r[g].held--;
	r[g].mapped--;
	COUNTED(g);
	if
	:: r[g].mapped
	:: else ->
		assert(!r[g].queued);
		r[g].queued = true
	fi
}

/* In a step, as under the leaf lock: @new, whose count the TCE takes over, replaces @old. */
inline exchange(new, old, refused)
{
	if
	:: new != NONE && closed -> refused = true
	:: else ->
		old = tce;
		tce = new;
		if
		:: new != NONE ->
			TOUCH(new);
			r[new].held--;
			r[new].points++;
			COUNTED(new);
#ifndef OLD_R11
			new = NONE
#endif
		:: else
		fi
	fi
}

/* Look @g up whose TCE was replaced; kill; drop. */
inline let_go(g)
{
#ifdef BAD_ORDER
	d_step { OWNED(g); r[g].held++; drop(g) };
	d_step { r[g].points--; g = NONE }
#else
	d_step { OWNED(g); r[g].points--; r[g].held++ };
	d_step { drop(g); g = NONE }
#endif
}

/* region_destroy() */
inline destroy(g)
{
	d_step {
		TOUCH(g);
		assert(r[g].pinned && !r[g].mapped && !r[g].points && !r[g].held);
		r[g].pinned = false;
		assert(!r[g].freeing);
		r[g].freeing = true;
#ifndef BAD_GRACE
		r[g].readers = sections
#endif
	}
}

/* A new region, still pending. */
inline claim(g)
{
	g = made;
	made++;
	r[g].pending = true;
	r[g].mapped = 1;
	r[g].held = 1;
	tree = g
}

/* Pinning it has succeeded, or not. */
inline settle(g, mine)
{
	if
	:: atomic {
		!regions_lock;
		r[g].pinned = true;
		r[g].pending = false;
		r[g].held--;
		r[g].used = 1;
		COUNTED(g);
		mine = g
	   }
	:: atomic {
		!regions_lock;
		r[g].pending = false;
		tree = NONE;
		r[g].freeing = true;
		r[g].readers = sections
	   }
	fi
}

/* One registration more, of a region with counts. */
inline use(g, mine)
{
	mine = g;
	r[g].used++;
	if
	:: r[g].used > 1
	:: else ->
		assert(orphans);
		orphans--;
#ifndef BAD_ORPHAN
		r[g].mapped++
#endif
	fi;
	COUNTED(g)
}

mtype = { DONE, LAST, BUSY };	/* what region_unuse() returns */

/* One registration less.  The regions lock remains taken, for the caller to let go. */
inline unuse(g, ret)
{
	atomic {
		!regions_lock -> regions_lock = true;
		TOUCH(g);
		if
		:: r[g].used > 1 -> r[g].used--; ret = DONE
		:: r[g].used == 1 && r[g].mapped > 1 -> ret = BUSY
		:: r[g].used == 1 && r[g].mapped == 1 -> r[g].mapped = 0; ret = LAST
		fi
	};
	if
	:: ret == LAST ->
		r[g].used = 0;
		tree = NONE
	:: else
	fi
}

active [USERS] proctype user()
{
	byte g = NONE, old = NONE;
	bool refused;

	do
	:: gone == CONTAINERS -> break
	:: gone < CONTAINERS ->
		if
		:: skip					/* UNMAP */
		:: hold(g);				/* MAP */
			if
			:: g == NONE -> goto next
			:: g != NONE -> goto refuse	/* -EINTR, -ENOMEM */
			:: g != NONE
			fi
		fi;
		d_step { exchange(g, old, refused) };
		if
		:: refused ->				/* -ENODEV */
refuse:			atomic { OWNED(g); drop(g); g = NONE; refused = false }
		:: else ->
#ifdef OLD_R11
			if
			:: g != NONE -> TOUCH(g); g = NONE
			:: else
			fi;
#endif
			if
			:: old != NONE -> let_go(old)
			:: else
			fi
		fi;
next:		skip
	od
}

/* A count that cannot be the last. */
inline give_back(g)
{
	d_step {
		TOUCH(g);
		r[g].held--;
		r[g].mapped--;
		COUNTED(g);
		assert(r[g].mapped)
	}
}

active proctype real()
{
	byte g = NONE;

	do
	:: gone == CONTAINERS -> break
	:: gone < CONTAINERS && tce != NONE && !closed ->
		d_step {
			sections = sections | (1 << _pid);
			if
#ifdef BAD_RM
			:: tce != NONE && !closed -> g = tce; tce = NONE
#else
			:: tce != NONE && !closed && r[tce].used -> g = tce; tce = NONE
#endif
			:: else
			fi
		};
		if
		:: g != NONE ->
			d_step { OWNED(g); r[g].points--; r[g].held++ };
			give_back(g)
		:: else
		fi;
		d_step { end_section(); g = NONE }
	:: gone < CONTAINERS && tree != NONE && !closed ->
		d_step {
			sections = sections | (1 << _pid);
			g = tree;
			if
			:: g != NONE && r[g].used
			:: else -> g = NONE
			fi
		};
		d_step {
			raise(g);
			if
			:: g == NONE -> end_section()
			:: else
			fi
		};
		if
		:: g != NONE ->
			d_step {
				if
				:: tce == NONE && !closed ->
					tce = g;
					r[g].held--;
					r[g].points++;
					g = NONE;
					end_section()
				:: else		/* refused; or it is the count of the old one now */
				fi
			};
			if
			:: g != NONE ->
				give_back(g);
				d_step { end_section(); g = NONE }
			:: else
			fi
		:: else
		fi
	od
}

active [CONTAINERS] proctype container()
{
	byte mine = NONE, g = NONE;
	mtype ret = DONE;

	do
	:: atomic { !regions_lock && tree == NONE && made < REGIONS -> claim(g) };
		settle(g, mine);
		break
	:: atomic { !regions_lock && tree != NONE && !r[tree].pending ->
			g = tree;
			TOUCH(g);
			if
			:: r[g].mapped -> use(g, mine)
			:: else -> tree = NONE
			fi
		};
		if
		:: mine != NONE -> break
		:: else
		fi
	:: made == REGIONS && tree == NONE -> break
	od;
	g = NONE;
	do
	:: break
	:: mine != NONE ->
		unuse(mine, ret);
		regions_lock = false;
		if
		:: ret == BUSY
		:: ret == LAST -> destroy(mine); mine = NONE
		:: ret == DONE -> mine = NONE
		fi;
		ret = DONE
	od;

	if
	:: _pid == USERS + 1 ->
		atomic {
			closed = true;
			g = tce;
			tce = NONE
		}
	:: else
	fi;
	if
	:: g != NONE -> let_go(g)
	:: else
	fi;
	if
	:: mine != NONE ->				/* abandon */
		unuse(mine, ret);
		if
		:: ret == BUSY ->
			d_step {
				orphans++;
				r[mine].used = 0;
				r[mine].held++;
				r[mine].pending = true;
				COUNTED(mine);
#ifndef BAD_RM_GRACE
				waits[_pid - USERS - 1] = sections;
#endif
				regions_lock = false
			};
			!waits[_pid - USERS - 1];
			atomic {
				!regions_lock;
				r[mine].pending = false;
				drop(mine)
			}
		:: ret == LAST -> regions_lock = false; destroy(mine)
		:: ret == DONE -> regions_lock = false
		fi
	:: else
	fi;
	gone++
}

active [REGIONS] proctype release()
{
	byte g = _pid - USERS - 1 - CONTAINERS;

end:	r[g].queued;
	atomic {
		!regions_lock;
		TOUCH(g);
		if
		:: tree == g -> tree = NONE
		:: else
		fi
	};
	destroy(g);
	assert(orphans);
	orphans--
}

active [REGIONS] proctype grace()
{
	byte g = _pid - USERS - 1 - CONTAINERS - REGIONS;

end:	r[g].freeing && !r[g].readers;
	r[g].freed = true
}

active proctype finally()
{
	byte g;

	timeout;
	assert(tree == NONE && !orphans && gone == CONTAINERS);
	for (g : 0 .. made - 1) {
		assert(r[g].freed && !r[g].pinned)
	}
}
