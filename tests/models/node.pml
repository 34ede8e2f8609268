/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Nodes of a table, given back and made anew: walkers, kill, free.
 *
 * user      iommu_tce_map() and iommu_tce_unmap() of the one entry that there is.  MAP: the
 *           exchange, pnv_tce_prealloc() if nodes are missing, batch_flush().  UNMAP: the
 *           exchange; if it covers the nodes pnv_tce_take_out(); batch_flush() with
 *           pnv_tce_free_loose() or, when the kill failed, pnv_tce_strand_loose()
 * hardware  a PHB: follows and caches pointers and TCEs at any time, does DMA with them,
 *           carries kills out, some time after they were asked for, or refuses
 *
 * The table has a root of one slot, a middle node, a leaf of one entry, and one leaf lock.  A
 * kill of pages makes a PHB forget TCEs, not pointers, as PHB3 does; pointers to nothing are
 * not cached, TCEs of nothing are.  A node may be used again as soon as it was freed.  After
 * a kill that failed one user goes on, the other ends.  As the hardware never ends, it is not
 * seen if a user is stuck.  Left out: runs of entries, several leaves, regions beyond their
 * counts, memory ordering.
 *
 * Must hold: neither walkers nor hardware touch a freed node; hardware never uses a TCE whose
 * count was dropped; when MAP has succeeded, and nobody changed the entry since, DMA sees
 * the mapping whatever the hardware had cached; after a kill that failed nothing is let go.
 *
 * OLD_T13    nobody waits until the kill is complete
 * OLD_T13_FIRMWARE  its failure is ignored
 * OLD_T14    MAP kills its page although somebody's nodes are loose
 * BAD_GRACE  nodes are freed without waiting for walkers
 * BAD_KEEP   nodes whose kill failed are not loose any more
 * BAD_PAGE   a taker kills only pages
 */
#define USERS	2
#define NODES	4
#define NONE	NODES
#define ME	(_pid + 1)	/* a user's page */

bool alive[NODES];
byte slot[NODES] = NONE;	/* of a middle node */
byte tce[NODES];		/* of a leaf: a page, or 0 */
byte root = NONE;
byte counts[USERS + 1];		/* of TCEs that point to a page; each user maps its own */

bool leaf_lock;
byte readers;			/* pnv_tce_tree.levels */
bool writer;
byte loose;			/* iommu_table.it_loose */
bool broken;			/* iommu_table.it_broken */

byte hw_middle = NONE, hw_leaf = NONE, hw_tce = NONE;

mtype = { IDLE, PAGES, WHOLE, COMPLETE, FAILED };
mtype kill[USERS] = IDLE;

byte mapped;			/* what DMA must see; 0: nothing is sure */
byte entry;			/* what the last exchange wrote */

inline lock()
{
	atomic { !leaf_lock -> leaf_lock = true }
}

/* With the leaf lock or levels held: find the middle node and the leaf. */
inline walk()
{
	middle = root;
	if
	:: middle == NONE -> leaf = NONE
	:: else ->
		assert(alive[middle]);
		leaf = slot[middle]
	fi
}

/* Walk, and set the entry to @page if there is one. */
inline exchange(page)
{
	lock();
	walk();
	d_step {
		if
		:: leaf == NONE || page && broken
		:: else ->
			assert(alive[leaf]);
			old = tce[leaf];
			tce[leaf] = page;
			entry = page;
			mapped = 0;
			changed = true
		fi;
		leaf = NONE;
		middle = NONE;
		leaf_lock = false
	}
}

inline make(n)
{
	d_step {
		n = 0;
		do
		:: n < NODES && alive[n] -> n++
		:: else -> break
		od;
		if
		:: n < NODES ->
			alive[n] = true;
			slot[n] = NONE;
			tce[n] = 0
		:: else
		fi
	}
}

/* Publish a node unless somebody was first. */
inline publish(where, n)
{
	d_step {
		if
		:: n == NONE
		:: n != NONE && where == NONE -> where = n
		:: n != NONE && where != NONE -> alive[n] = false
		fi;
		n = NONE
	}
}

/* pnv_tce_prealloc(), the exchange, pnv_tce_release() */
inline prealloc()
{
	atomic { !writer -> readers++ };
	if
	:: root == NONE ->
		make(leaf);
		publish(root, leaf)
	:: else
	fi;
	middle = root;
	if
	:: middle != NONE && slot[middle] == NONE ->
		make(leaf);
		publish(slot[middle], leaf)
	:: else
	fi;
	exchange(ME);
	readers--
}

/* The first part of batch_flush(). */
inline flush()
{
	if
#ifdef OLD_T14
	:: took ->
#else
	:: loose ->
#endif
#ifdef BAD_PAGE
		kill[_pid] = PAGES
#else
		kill[_pid] = WHOLE
#endif
	:: else -> kill[_pid] = PAGES
	fi;
#ifndef OLD_T13
	kill[_pid] == COMPLETE || kill[_pid] == FAILED;
#endif
	d_step {
		failed = kill[_pid] == FAILED;
#ifndef OLD_T13
		kill[_pid] = IDLE;
#endif
#ifdef OLD_T13_FIRMWARE
		failed = false;
#endif
		broken = broken || failed;
		if
		:: !failed && old ->
			assert(counts[old]);
			counts[old]--
		:: else
		fi;
		old = 0
	}
}

/* pnv_tce_take_out() */
inline take_out()
{
	if
	:: atomic { !readers && !writer -> writer = true };
		lock();
		walk();
		d_step {
			if
			:: leaf != NONE && !tce[leaf] ->
				loose++;
				took = true;
				slot[middle] = NONE
			:: else -> leaf = NONE
			fi;
			leaf_lock = false
		};
		if
		:: d_step {
				middle = root;
				if
				:: middle != NONE && slot[middle] == NONE ->
					loose = loose + !took;
					took = true;
					root = NONE
				:: else -> middle = NONE
				fi;
				writer = false
			}
		:: d_step { middle = NONE; writer = false }	/* covers the leaf only */
		fi
	:: readers || writer -> leaf = NONE; middle = NONE
	fi
}

/* pnv_tce_free_loose(), pnv_tce_strand_loose() */
inline let_go()
{
	if
	:: failed ->
#ifdef BAD_KEEP
		loose--
#endif
	:: else ->
		loose--;
#ifndef BAD_GRACE
		!leaf_lock;
#endif
		d_step {
			if
			:: leaf != NONE -> alive[leaf] = false
			:: else
			fi;
			if
			:: middle != NONE -> alive[middle] = false
			:: else
			fi
		}
	fi;
	took = false
}

active [USERS] proctype user()
{
	byte leaf = NONE, middle = NONE, old;
	bool changed, took, failed;

	do
	:: !broken ->					/* MAP */
		counts[ME]++;
		exchange(ME);
		if
		:: changed
		:: else -> prealloc()
		fi;
		if
		:: changed ->
			flush();
			d_step {
				if
				:: !failed && entry == ME -> mapped = ME
				:: else
				fi
			}
		:: else -> counts[ME]--			/* -ENOMEM, -EIO */
		fi;
		d_step { changed = false; failed = false }
	:: broken && _pid -> break
	:: !broken || !_pid ->				/* UNMAP */
		exchange(0);
		if
		:: skip
		:: take_out()
		fi;
		if
		:: old || took -> flush()
		:: else
		fi;
		if
		:: took -> let_go()
		:: else
		fi;
		d_step { leaf = NONE; middle = NONE; changed = false; failed = false }
	od
}

/* What DMA finds now, with and without caches. */
inline translate()
{
	d_step {
		m = (hw_middle != NONE -> hw_middle : root);
		l = hw_leaf;
		if
		:: l == NONE && m != NONE -> assert(alive[m]); l = slot[m]
		:: else
		fi;
		t = hw_tce;
		if
		:: t == NONE && l != NONE -> assert(alive[l]); t = tce[l]
		:: else
		fi;
		assert(!mapped || t == mapped);
		assert(t == NONE || !t || counts[t]);
		m = 0; l = 0; t = 0
	}
}

active proctype hardware()
{
	byte m, l, t, i;

	do
	:: hw_middle == NONE && root != NONE -> hw_middle = root
	:: d_step { hw_leaf == NONE && hw_middle != NONE ->
			assert(alive[hw_middle]);
			hw_leaf = slot[hw_middle] }
	:: d_step { hw_tce == NONE && hw_leaf != NONE ->
			assert(alive[hw_leaf]);
			hw_tce = tce[hw_leaf] }
	:: translate()
	:: d_step { kill[0] == WHOLE || kill[1] == WHOLE ->
			i = (kill[0] == WHOLE -> 0 : 1);
			kill[i] = COMPLETE;
			hw_middle = NONE; hw_leaf = NONE; hw_tce = NONE; i = 0 }
	:: d_step { kill[0] == PAGES || kill[1] == PAGES ->
			i = (kill[0] == PAGES -> 0 : 1);
			kill[i] = COMPLETE;
			hw_tce = NONE; i = 0 }
	:: atomic { kill[0] == PAGES || kill[0] == WHOLE -> kill[0] = FAILED }
	:: atomic { kill[1] == PAGES || kill[1] == WHOLE -> kill[1] = FAILED }
	od
}
