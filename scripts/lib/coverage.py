#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The table of scripts/coverage: which part of the lines and branches of our files was reached.

usage: scripts/lib/coverage.py TREE OUT SOURCE...

OUT has the build and, in counts/MACHINE, what each machine counted.  Lines of our headers
count where one of the sources has them; a line or branch counts as reached when it was in
any of the sources, on any machine.
"""

import gzip
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile


def counted(out, source, counts):
    """What gcov says about an object: [{file, lines: [...]}]"""
    note = (out / source).with_suffix(".gcno")
    data = counts / note.with_suffix(".gcda").name
    if not data.exists():
        return []
    with tempfile.TemporaryDirectory() as work:
        shutil.copy(note, work)
        shutil.copy(data, work)
        subprocess.run([os.environ["CROSS_COMPILE"] + "gcov", "-b", "-i", data.name], cwd=work,
                       check=True, stdout=subprocess.DEVNULL)
        found = list(pathlib.Path(work).glob("*.gcov.json.gz"))
        with gzip.open(found[0]) as f:
            return json.load(f)["files"]


def main():
    tree, out = (pathlib.Path(p).resolve() for p in sys.argv[1:3])
    ours = set(subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "arch", "drivers"],
                              check=True, capture_output=True, text=True).stdout.split())
    reached = {}    # {file: {line: [count, {branch: count}]}}
    for counts in sorted((out / "counts").iterdir()):
        for source in sys.argv[3:]:
            for file in counted(out, source, counts):
                path = pathlib.Path(os.path.normpath(out / file["file"]))
                name = str(path.relative_to(tree)) if path.is_relative_to(tree) else ""
                if name not in ours:
                    continue
                lines = reached.setdefault(name, {})
                for line in file["lines"]:
                    at = lines.setdefault(line["line_number"], [0, {}])
                    at[0] += line["count"]
                    for n, branch in enumerate(line["branches"]):
                        at[1][n] = at[1].get(n, 0) + branch["count"]
    if not reached:
        sys.exit("coverage: nothing was counted")

    print(f"{'file':58} {'lines':>16} {'branches':>16}")
    sums = [0, 0, 0, 0]
    with open(out / "missed", "w", encoding="ascii") as missed:
        for name, lines in sorted(reached.items()):
            branches = [count for line in lines.values() for count in line[1].values()]
            row = [sum(line[0] > 0 for line in lines.values()), len(lines),
                   sum(count > 0 for count in branches), len(branches)]
            sums = [a + b for a, b in zip(sums, row)]
            show(name, row)
            text = (tree / name).read_text(encoding="utf-8").split("\n")
            for no, (count, way) in sorted(lines.items()):
                if not count or 0 in way.values():
                    what = "never" if not count else f"{list(way.values()).count(0)} of {len(way)} branches never"
                    missed.write(f"{name}:{no}: {what}: {text[no - 1].strip()}\n")
    show("all", sums)
    print(f"what was missed: {out / 'missed'}")


def show(name, row):
    def part(hit, of):
        return f"{hit}/{of} {100 * hit / of if of else 100:5.1f} %"
    print(f"{name:58} {part(*row[:2]):>16} {part(*row[2:]):>16}")


main()
