#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Compare what lockdep has seen with the table of locks in the documentation.

usage: scripts/lib/locks.py DOCUMENT LOCKDEP OUT

A row of the table has a lock of ours, what it guards, and two cells whose literals are names of
locks: those that are held where it is taken, and those that are taken or waited for while it is
held.  LOCKDEP is the guest's /proc/lockdep with /proc/lockdep_stats behind it.  All edges at a
lock of ours go to OUT.  One that the table does not have is an error; one that was not seen is
only mentioned, as the tests cannot reach everything.
"""

import re
import sys

# Inner locks of the base that nothing of ours is ever taken under, three quarters of the graph:
# what allocates and frees, scheduler, timers, wait queues and the insides of sleeping locks, RCU,
# console, checkers, names and links of devices.
NOISE = re.compile(
    r"^&(c|n|zone|object|p|rq|cfs_rq|base|x|k|xa|pool|pcp|memcg|lruvec)->|list_lock|split_queue|ptl"
    r"|timer|wait_lock|wait$|wq$|rcu|krc|console|printk|kmemleak|pool_lock|^lock$"
    r"|mmu_notifier|percpu|entropy|crng|stock|kernfs|sysfs|gdp_mutex|deferred_probe|device_links"
    r"|subsys mutex|uevent|req_lock|chrdevs|ida.xa_lock|idr_lock|depot_lock|vmap_area|port_lock")


def table(path):
    """The locks of the table, and its edges."""
    locks, edges = [], set()
    with open(path, encoding="utf-8") as f:
        text = f.read()
    rows = re.search(r"^\.\. list-table:: Locks\n(.*?)(?=^\S)", text, re.M | re.S)
    if not rows:
        sys.exit(f"locks.py: {path} has no list-table:: Locks")
    for row in re.split(r"^ +\* - ", rows[1], flags=re.M)[2:]:
        cells = [re.findall(r"``(.*?)``", cell) for cell in re.split(r"^ +- ", row, flags=re.M)]
        if len(cells) != 4 or len(cells[0]) != 1:
            sys.exit(f"locks.py: {path}: a row is not lock, what, under, over: {row}")
        lock = cells[0][0]
        locks.append(lock)
        edges |= {(over, lock) for over in cells[2]} | {(lock, under) for under in cells[3]}
    return locks, edges


def seen(path):
    """The edges that lockdep has seen.  Classes of one name are one lock."""
    edges, lock = set(), None
    with open(path, encoding="ascii") as f:
        text = f.read()
    if not re.search(r"^ *debug_locks: +1$", text, re.M):
        sys.exit("locks.py: lockdep had turned itself off: it complained, or ran out of room")
    for line in text.splitlines():
        new = re.match(r"[0-9a-f]+ FD: *\d+ BD: *\d+ \S+: (.*)", line)
        under = re.match(r" -> \[[0-9a-f]+\] (.*)", line)
        if new or under:
            name = re.sub(r"(#\d+)?(/\d+)?$", "", (new or under)[1])
        if new:
            lock = name
        elif under:
            edges.add((lock, name))
    return edges


def main(document, lockdep, out):
    locks, expected = table(document)
    edges = {(a, b) for a, b in seen(lockdep)
             if b in locks or a in locks and not NOISE.search(b)}
    with open(out, "w", encoding="ascii") as f:
        f.writelines(f"{a} -> {b}\n" for a, b in sorted(edges))
    new, missing = sorted(edges - expected), sorted(expected - edges)
    for a, b in missing:
        print(f"not seen: {a} -> {b}")
    for a, b in new:
        print(f"NEW: {a} -> {b}")
    unseen = [lock for lock in locks if not any(lock in edge for edge in edges)]
    for lock in unseen:
        print(f"NEVER TAKEN: {lock}")
    print(f"{len(edges)} edges at {len(locks)} locks, {len(missing)} of the table not seen, "
          f"{len(new)} new")
    return 1 if new or unseen or not edges else 0


if len(sys.argv) != 4:
    sys.exit(__doc__)
sys.exit(main(*sys.argv[1:]))
