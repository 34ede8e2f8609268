# SPDX-License-Identifier: GPL-2.0
"""bench/report.py on measurements made up here: what it must accept and refuse."""

import os
import subprocess
import sys
import tempfile

REPORT = os.path.join(os.path.dirname(__file__), "../../bench/report.py")

# A fixed part of 1000 and `per` for each TCE; loops as an exact counter sees them.
OUT = """point 1 check/loop of two instructions | pass | 1000
point 2 floor/map | TCE | 100
point 3 floor/map | TCE | 200
point 4 map/64K/2 levels | TCE | 1
point 5 map/64K/2 levels | TCE | 101
point 6 map/64K/2 levels | TCE | 101
memory memory/x | KiB | 512
points 6
"""
MANY = """point 7 lookup/MAP of one TCE, 1 regions | call | 1
point 8 lookup/MAP of one TCE, 16384 regions | call | 1
points 8
"""
IOAS = """point 7 ioas map/64K | TCE | 1
point 8 ioas map/64K | TCE | 100
point 9 ioas map/64K, another thread | TCE | 1
point 10 ioas map/64K, another thread | TCE | 100
points 10
"""


def counts(per, noise=500, loop=2002, kills=1, end="end 6\n"):
    def record(number, total):
        return (f"record {number} {total} 0 0 0\n(user space) {total - 5} 0\n"
                f"opal_pci_tce_kill 5 {kills}\n")
    return (record(1, loop) + record(2, 810) + record(3, 1610) + record(4, 1000 + per) +
            record(5, 1000 + 101 * per + noise) + record(6, 1000 + 101 * per) + end)


def many(slow):
    """Counts of OUT and MANY, where a lookup among many regions is `slow` times one among one."""
    tail = f"record 7 100 0 0 0\n(user space) 100 0\nrecord 8 {100 * slow} 0 0 0\n(user space) 100 0\n"
    return counts(200, end=tail + "end 8\n")

def ioas(own, common):
    """Counts of OUT and IOAS: `own` instructions per TCE in the domain, `common` stores of two threads."""
    return counts(200, end=f"record 7 {100 + own} 0 0 0\npnv_tce_map {own} 1\n"
                           f"record 8 {100 * (100 + own)} 0 0 0\npnv_tce_map {100 * own} 1\n"
                           f"record 9 100 0 0 0\nrecord 10 1000 0 0 {common}\nend 10\n")


def run(mode, base, ours, results=None, out=OUT):
    """Exit status, what was printed, and RESULTS afterwards."""
    with tempfile.TemporaryDirectory() as where:
        for kind, text in (("base", base), ("ours", ours)):
            for suffix, content in (("out", out), ("counts", text)):
                with open(f"{where}/m-{kind}.{suffix}", "w", encoding="ascii") as f:
                    f.write(content)
        path = f"{where}/RESULTS.md"
        if results is not None:
            with open(path, "w", encoding="ascii") as f:
                f.write(results)
        done = subprocess.run([sys.executable, REPORT, mode, where, path] +
                              (["fact: x"] if mode == "make" else []),
                              capture_output=True, text=True, check=False)
        after = open(path, encoding="ascii").read() if os.path.exists(path) else None
        return done.returncode, done.stdout + done.stderr, after


def cases():
    status, said, summary = run("make", counts(500), counts(200))
    yield "a first run writes the summary", status == 0 and summary is not None
    row = [line for line in (summary or "").splitlines() if line.startswith("| map/64K/2 levels |")]
    yield "the least of equal points counts, and the line through them", row == [
        "| map/64K/2 levels | instructions/TCE | 500 | 200 | 8 | 2.5 | 25.0 |"]
    yield "the fixed part has a row", "| map/64K/2 levels, fixed part | instructions/request | 1000 | 1000 |" in summary
    yield "figures within 1 % leave the summary alone", run(
        "make", counts(501), counts(200), summary)[2] == summary
    yield "a figure that moved makes a new one", run(
        "make", counts(500), counts(190), summary)[2] != summary
    yield "check: the same figures pass", run("check", "", counts(200), summary)[0] == 0
    yield "check: 4 % worse passes", run("check", "", counts(208), summary)[0] == 0
    status, said, _ = run("check", "", counts(214), summary)
    yield "check: 7 % worse fails and says where", status != 0 and "map/64K/2 levels: 200, now 214" in said
    yield "check: better passes", run("check", "", counts(50), summary)[0] == 0
    yield "check: one more kill fails", run("check", "", counts(200, kills=2), summary)[0] != 0
    yield "check: a workload that is gone fails", "not measured any more" in run(
        "check", "", counts(200), summary.replace("| map/64K/2 levels |", "| map/lost | | 1 | 1 | | | |\n| map/64K/2 levels |"))[1]
    yield "check: no summary fails", run("check", "", counts(200))[0] != 0
    out = OUT.replace("points 6\n", MANY)
    yield "R9 lookups among many regions cost at most twice as much", (
        run("make", many(2), many(2), out=out)[0] == 0)
    yield "R9 and a run in which they cost more is refused", (
        "16384 regions: 300, more than 2 times" in run("make", many(2), many(3), out=out)[1])
    out = OUT.replace("points 6\n", IOAS)
    summary = run("make", ioas(20, 0), ioas(10, 0), out=out)[2] or ""
    yield "the domain's own part has a row", "| own part/ioas map/64K | instructions/TCE | 20 | 10 |" in summary
    yield "check: a larger own part fails", "own part/ioas map/64K: 10, now 12" in run(
        "check", "", ioas(12, 0), summary, out)[1]
    yield "check: a store that two threads share fails", "another thread: 0, now 1" in run(
        "check", "", ioas(10, 1), summary, out)[1]
    hcall = "point 7 linked/H_PUT_TCE | call | 1\npoints 7\n"
    row = "record 7 100 0 0 0\nkvmppc_h_put_tce 20 1\nput_one.isra.0 5 1\nkvmhv_run_single_vcpu 70 1\nend 7\n"
    yield "a hypercall's own part has functions of any name", (
        "| own part/linked/H_PUT_TCE | instructions/call | 25 | 25 |" in (run(
            "make", counts(500, end=row), counts(200, end=row), out=OUT.replace("points 6\n", hcall))[2] or ""))
    yield "a counter that miscounts a loop is refused", run("make", counts(500), counts(200, loop=2100))[0] != 0
    yield "counts without an end are refused", run("make", counts(500), counts(200, end=""))[0] != 0
    yield "a point without its count is refused", run(
        "make", counts(500), counts(200).replace("record 6", "record 7"))[0] != 0


def main():
    results = list(cases())
    print(f"TAP version 13\n1..{len(results)}")
    for number, (name, passed) in enumerate(results, 1):
        print(f"{'ok' if passed else 'not ok'} {number} {name}")
    return not all(passed for _, passed in results)


if __name__ == "__main__":
    sys.exit(main())
