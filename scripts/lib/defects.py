# SPDX-License-Identifier: GPL-2.0
"""The table of scripts/test-base: tests/defects against what tests on both kernels say.

A test belongs to the items whose ids its name has: R1_C12_... to R1 and C12.
"""

import json
import os
import re
import sys
import textwrap
import threading

from defects_boot import B, COSTLY, Kernel, ids, list_tests

WORST = (*COSTLY, "fails", "unknown", "skips", "passes")


def read_list(path):
    """{id: [what must not happen, why no selftest shows it on the base]}"""
    items = {}
    with open(path, encoding="ascii") as f:
        for line in f:
            word, _, text = line.strip().partition(" ")
            if not word or word.startswith("#"):
                continue
            if not line[0].isspace():
                item = items[word] = [text.strip(), ""]
            elif word == "base:":
                item[1] = text.strip()
            else:
                item[1 if item[1] else 0] += " " + line.strip()
    return items


def other_tests():
    """{name: verdict} of KUnit and of the programs for the build host, on ours."""
    def cases(group):
        for case in group.get("test_cases", []):
            yield "KUnit " + case["name"], "passes" if case["status"] == "PASS" else "fails"
        for sub in group.get("sub_groups", []):
            yield from cases(sub)
    with open(B + "/kunit/results.json", encoding="utf-8") as f:
        results = dict(cases(json.load(f)))
    with open(B + "/logs/host.tap", encoding="utf-8") as f:
        for no, name in re.findall(r"^(not )?ok \d+ (?:- )?(.*)$", f.read(), re.M):
            results["host " + name.replace(" ", "_")] = "fails" if no else "passes"
    return results


def worst(verdicts):
    return min(verdicts, key=WORST.index, default="no test")


def short(verdicts):
    """The names of tests without program, fixture and variant, each once with its worst."""
    names = {}
    for test, verdict in verdicts.items():
        names.setdefault(test.name.split(".")[-1], []).append(verdict)
    return [f"{name}: {worst(found)}" for name, found in names.items()]


def row(item, text, why, base, ours, other):
    """Lines of the table, and whether the item is as it should be."""
    fine = all(v in ("passes", "skips") for v in ours.values()) and all(v == "passes" for v in other.values())
    fine = fine and "passes" in [*ours.values(), *other.values()]
    bad = {test: v for test, v in base.items() if v in (*COSTLY, "fails")}
    shown = worst(bad.values()) if bad else "not shown"
    notes = short(bad) if bad else [why or "NOT SHOWN, AND THE LIST DOES NOT SAY WHY"]
    if not fine:
        wrong = {**{t.name: v for t, v in ours.items()}, **other}
        notes += [f"ours: {n} {v}" for n, v in wrong.items() if v != "passes"] or ["ours: no test"]
    left = textwrap.wrap(text, 58)
    right = [line for note in notes for line in textwrap.wrap(note, 76, subsequent_indent="  ",
                                                              break_on_hyphens=False)]
    verdict = f"{len(ours) + len(other)} pass" if fine else "NOT FINE"
    lines = []
    for n in range(max(len(left), len(right))):
        cells = (item, left[n:n + 1], shown, verdict, right[n:n + 1])
        lines.append("| %-3s | %-58s | %-9s | %-8s | %-76s |" % tuple(
            "".join(cell) if n == 0 or isinstance(cell, list) else "" for cell in cells))
    return lines, fine and bool(bad or why)


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    items = read_list("tests/defects")
    tests = [test for test in list_tests() if ids(test.name) and wanted in test.name]
    other = {name: v for name, v in other_tests().items() if ids(name) and wanted in name}
    strangers = {i for name in [*(t.name for t in tests), *other] for i in ids(name)} - set(items)
    if strangers:
        sys.exit(f"test-base: tests/defects does not know {', '.join(sorted(strangers))}")
    gate = threading.Semaphore(min(2, int(os.environ["JOBS"])))
    # A call that the base does not have shows nothing about it.
    old = [test for test in tests if "unmap_all" not in test.name]
    base, ours = kernels = [Kernel("base", old, gate), Kernel("ours", tests, gate)]
    print(f"test-base: {len(old)} tests on the base, {len(tests)} and {len(other)} of KUnit and the host on ours",
          file=sys.stderr)
    for kernel in kernels:
        kernel.start()
    for kernel in kernels:
        kernel.join()

    print("| id  | %-58s | %-9s | %-8s | %-76s |" % (
        "what must not happen", "base", "ours", "tests that show it on the base, or why none does"))
    print(f"|-----|{'-' * 60}|{'-' * 11}|{'-' * 10}|{'-' * 78}|")
    right = shown = count = 0
    for item, (text, why) in items.items():
        def mine(kernel, item=item):
            return {t: kernel.verdicts.get(t, "unknown") for t in kernel.tests if item in ids(t.name)}
        others = {name: v for name, v in other.items() if item in ids(name)}
        if wanted and not mine(base) and not others:
            continue
        lines, good = row(item, text, why, mine(base), mine(ours), others)
        print("\n".join(lines))
        count += 1
        right += good
        shown += "not shown" not in lines[0]
    print(f"{count} defects: {shown} shown on the base, {right} as they should be")
    sys.exit(right != count)


main()
