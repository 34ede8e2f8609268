#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Join what spapr_tce_bench announced with what count.so counted, and compare.

usage: report.py make DIR RESULTS FACT...    table, DIR/results.csv, plot; RESULTS when figures moved
       report.py check DIR RESULTS           fail where ours got more than 5 % worse than RESULTS
       report.py plot RESULTS                only the plot of RESULTS, from its figures

DIR holds MACHINE-{base,ours}.{out,counts}; check needs ours only.  A FACT is a line
for the head of RESULTS, such as "base: linux-source-6.12 6.12.107-1".  RESULTS is the
committed summary; it is written when a figure differs from it by more than 1 %, and
with it results.svg in its directory, the plot of its figures.
"""

import collections
import csv
import errno
import functools
import glob
import os
import re
import subprocess
import sys

WORSE = 1.05            # what make bench-check lets pass
MOVED = 1.01            # what is a new figure
PAGE_KIB = 64           # memory is counted in whole pages
FLOORS = ("map", "overwrite", "unmap")
COLUMNS = ("workload", "unit", "base", "ours", "floor", "base/ours", "ours/floor")
PROFILED = (("map/64K/2 levels", "MAP of 4096 TCEs of 64K into a window of two levels"),
            ("register/base pages", "REGISTER of 256 MB in base pages"))
KILLS = re.compile(r"(map|overwrite|unmap|unmap of nothing)/64K/2 levels|window/(UNMAP|REMOVE|closing)|ioas ")
FIRMWARE = re.compile(r"window/(CREATE|REMOVE, empty)/64K/2 levels/2\^40")
# What of /dev/iommu is powernv's.
DOMAIN = re.compile("^(domain_|pnv_tce_|pnv_pci_ioda2_tce_)")
# What of a hypercall is KVM's and the rooms' below it, not the way out of the guest and back: what
# both kernels call so, and all functions of these files, whatever their names.
TCES = re.compile("tce|mm_iommu|srcu")
FILES = ("kvm/book3s_64_tce*", "kernel/iommu-tce*", "mm/mm_iommu*", "platforms/powernv/pci-ioda-tce*")
# R9: what many regions cost, against few, at most.
BOUNDS = (("lookup/MAP of one TCE, 16384 regions", "lookup/MAP of one TCE, 1 regions", 2),
          ("lookup/REGISTER beside 16384 regions", "lookup/REGISTER beside 1 regions", 2),
          ("churn/unregister 16384 regions", "churn/unregister 1 regions", 2))
PLOTTED = ("register/", "unregister/", "map/64K/", "overwrite/64K/2", "unmap/64K/2", "one by one/",
           "lookup/MAP", "window/REMOVE", "window/closing", "guest start")


class Failure(Exception):
    """The figures cannot be trusted, or got worse."""


class Point:
    """One piece of work: its units, its instructions, and who executed them."""

    def __init__(self, units, total, stores, common, functions):
        self.units, self.total, self.stores, self.common, self.functions = units, total, stores, common, functions

    def own(self, whose, names=()):
        return sum(n for name, (n, _) in self.functions.items()
                   if whose.search(name) or name.split(".")[0] in names)

    def calls(self, name):
        return self.functions.get(name, (0, 0))[1]

    def kills(self):
        return self.calls("opal_pci_tce_kill") + self.stores


@functools.cache
def our_functions():
    """The names of the functions that FILES define."""
    arch = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../arch/powerpc")
    names = set()
    for pattern in FILES:
        for path in glob.glob(os.path.join(arch, pattern)):
            with open(path, encoding="utf-8") as f:
                names.update(re.findall(r"^(?:[a-z][\w \*]*[ \*])?(\w+)\(", f.read(), re.M))
    return names


def read_counts(path):
    """Records by number: (total, stores, stores in common, {function: (instructions, calls)})."""
    records, functions, ended = {}, None, False
    for line in open(path, encoding="ascii"):
        word = line.split()
        if word[0] == "record" and len(word) == 6:
            functions = collections.defaultdict(lambda: (0, 0))
            records[int(word[1])] = (int(word[2]), int(word[4]), int(word[5]), functions)
        elif word[0] == "end":
            ended = int(word[1]) == len(records)
        else:
            name = line.rsplit(None, 2)[0]
            had = functions[name]
            functions[name] = (had[0] + int(word[-2]), had[1] + int(word[-1]))
    if not ended:
        raise Failure(f"{path} has no end: was the emulator killed?")
    return records


def least_change(figures):
    """Slabs that happen to be full or empty add to what is measured, or take away from it."""
    return min(figures, key=lambda kib: (kib < 0, abs(kib)))


class Run:
    """What one kernel did on one machine."""

    def __init__(self, stem):
        records = read_counts(stem + ".counts")
        self.points = collections.defaultdict(dict)     # name: {units: the least Point}
        self.rows = {}                                  # name: (unit, figure or why not)
        self.extrapolate = {}
        self.units = {}
        memory = collections.defaultdict(list)
        announced = None
        for line in open(stem + ".out", encoding="ascii"):
            kind, _, rest = line.strip().partition(" ")
            field = [f.strip() for f in rest.split(" | ")]
            if kind == "point":
                number, name = field[0].split(" ", 1)
                self.add_point(name, field[1], Point(float(field[2]), *records[int(number)]))
            elif kind == "memory":
                memory[field[0]].append(float(field[2]))
                self.rows[field[0]] = (field[1], least_change(memory[field[0]]))
            elif kind == "refused":
                self.rows[field[0]] = ("", errno.errorcode[int(field[1])])
            elif kind == "extrapolate":
                self.extrapolate[field[0]] = float(field[1])
            elif kind == "points":
                announced = int(field[0])
        if announced != len(records):
            raise Failure(f"{stem}: {announced} points announced, {len(records)} counted")
        self.check_counter(stem)
        for name, points in self.points.items():
            self.add_rows(name, self.units[name], points)

    def add_point(self, name, unit, point):
        old = self.points[name].get(point.units)
        self.units[name] = unit
        # A refused variant leaves its place in the order of rows to the name.
        if not old or point.total < old.total:
            self.points[name][point.units] = point

    def check_counter(self, stem):
        for units, point in self.points.pop("check/loop of two instructions", {}).items():
            if not 0 <= point.total - 2 * units <= 16:
                raise Failure(f"{stem}: {units:g} passes of a loop of two instructions "
                              f"were counted as {point.total}")

    def add_rows(self, name, unit, points):
        least, most = min(points), max(points)
        if least == most:
            per = f"instructions/{unit}"
            self.rows[name] = (per, points[most].total / most)
        else:
            slope = (points[most].total - points[least].total) / (most - least)
            fixed = points[least].total - slope * least
            self.rows[name] = (f"instructions/{unit}", slope)
            # Far from the smallest request it would be the noise of the line.
            if least == 1 or name in self.extrapolate:
                self.rows[name + ", fixed part"] = ("instructions/request", fixed)
            if name in self.extrapolate:
                far = self.extrapolate[name]
                self.rows[f"{name}, {far:g} {unit} extrapolated"] = (
                    "instructions", fixed + slope * far)
        if KILLS.match(name):
            self.rows["kills/" + name] = (
                "kills/request" if most == 1 else f"kills/{most:g} {unit}s", points[most].kills())
        if name.startswith("ioas ") and least != most:
            own = points[most].own(DOMAIN) - points[least].own(DOMAIN)
            self.rows[f"own part/{name}"] = (f"instructions/{unit}", own / (most - least))
        if "linked" in name and "/H_" in name:
            self.rows[f"own part/{name}"] = ("instructions/call", points[most].own(TCES, our_functions()))
        if "another thread" in name:
            self.rows["shared stores/" + name] = ("stores", points[most].common)
        if FIRMWARE.match(name):
            self.rows["firmware calls/" + name] = (
                "calls/request", points[most].calls("__opal_call"))

    def figure(self, name):
        return self.rows.get(name, ("", None))[1]


def floor_of(run, name, unit):
    """The floor that a row stands beside, if there is one."""
    if unit != "instructions/TCE":
        return None
    for word in FLOORS:
        if re.match(rf"(one by one/|churn/)?{word}\b(?! of nothing)", name):
            return run.figure("floor/" + word)
    return None


def text(figure):
    if figure is None:
        return ""
    if isinstance(figure, str):
        return figure
    return f"{figure:.0f}" if abs(figure) >= 100 or figure == int(figure) else f"{figure:.1f}"


def ratio(a, b):
    if not isinstance(a, (int, float)) or not isinstance(b, (int, float)) or b <= 0:
        return ""
    return f"{a / b:.1f}" if a / b < 100 else f"{a / b:.0f}"


def check_bounds(machine, run):
    for many, few, times in BOUNDS:
        a, b = run.figure(many), run.figure(few)
        if a is not None and b is not None and a > times * b:
            raise Failure(f"{machine}: {many}: {text(a)}, more than {times} times {text(b)}")


def order(name):
    """Groups stay together: instructions, then parts of them, kills, firmware calls and memory."""
    for i, word in enumerate(("own part/", "shared stores/", "kills/", "firmware calls/", "memory/")):
        if name.startswith(word):
            return i + 1
    return 0


def machine_rows(base, ours):
    """COLUMNS for each workload of a machine."""
    names = list(dict.fromkeys(list(ours.rows) + list(base.rows if base else [])))
    for name in sorted(names, key=order):
        if name.startswith("floor/"):
            continue
        unit = ours.rows.get(name, ("",))[0] or (base.rows.get(name, ("",))[0] if base else "")
        b, o = base.figure(name) if base else None, ours.figure(name)
        if order(name) == 1 and not b and not o:
            continue
        low = floor_of(ours, name, unit)
        yield (name, unit, text(b), text(o), text(low), ratio(b, o), ratio(o, low))


def read_all(where, need_base):
    table = {}
    for path in sorted(glob.glob(os.path.join(where, "*-ours.out"))):
        machine = os.path.basename(path)[:-len("-ours.out")]
        base = Run(os.path.join(where, machine + "-base")) if need_base else None
        ours = Run(path[:-len(".out")])
        check_bounds(machine, ours)
        table[machine] = (base, ours, list(machine_rows(base, ours)))
    if not table:
        raise Failure(f"no measurements in {where}")
    return table


def profile(run, name):
    """Who executes the most instructions of a workload, and how many."""
    points = run.points.get(name)
    if not points:
        return [], 0
    point = points[max(points)]
    most = sorted(point.functions.items(), key=lambda item: -item[1][0])
    return most, point.total


def write_profiles(where, table):
    with open(os.path.join(where, "profile.txt"), "w", encoding="ascii") as f:
        for machine, (base, ours, _) in table.items():
            for kernel, run in (("base", base), ("ours", ours)):
                for name in run.points:
                    most, total = profile(run, name)
                    print(f"\n{machine}, {kernel}: {name}, {max(run.points[name]):g} units, "
                          f"{total} instructions", file=f)
                    for function, (n, calls) in most[:25]:
                        print(f"  {n:12d} {100 * n / total:5.1f} %  {calls:8d} calls  {function}", file=f)


def summary_profile(table):
    """The profiles of RESULTS, of the first machine that has them."""
    lines = []
    for name, title in PROFILED:
        for machine, (_, ours, _) in table.items():
            most, total = profile(ours, name)
            if not most:
                continue
            lines += ["", f"{title}, {machine}: {total} instructions", "",
                      "| function | instructions | share | calls |", "|---|---|---|---|"]
            lines += [f"| {f} | {n} | {100 * n / total:.1f} % | {calls} |"
                      for f, (n, calls) in most[:12]]
            break
    return lines


def read_summary(path):
    """{(machine, workload): cells} of a committed RESULTS."""
    found, machine = {}, None
    if not os.path.exists(path):
        return found
    for line in open(path, encoding="utf-8"):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("## "):
            machine = line[3:].strip()
        elif line.startswith("|") and len(cells) == len(COLUMNS) and cells[0] not in (COLUMNS[0], "---"):
            found[machine, cells[0]] = cells
    return found


def number(cell):
    try:
        return float(cell)
    except ValueError:
        return None


def moved(old, new):
    """Whether any figure of two summaries differs by more than the noise."""
    if old.keys() != new.keys():
        return True
    for key in new:
        for column in (2, 3):
            a, b = number(old[key][column]), number(new[key][column])
            if a is None or b is None:
                if old[key][column] != new[key][column]:
                    return True
            elif abs(a - b) > slack(key[1], max(abs(a), abs(b)) * (MOVED - 1)):
                return True
    return False


def slack(workload, relative):
    """How far a figure may be off: relative, and a page where memory is counted."""
    if workload.startswith("memory/"):
        return max(relative, PAGE_KIB)
    return max(relative, 0.1)


def make(where, results, facts):
    table = read_all(where, True)
    with open(os.path.join(where, "results.csv"), "w", newline="", encoding="ascii") as f:
        out = csv.writer(f)
        out.writerow(("machine",) + COLUMNS)
        for machine, (_, _, rows) in table.items():
            out.writerows((machine,) + row for row in rows)
    write_profiles(where, table)
    plot(os.path.join(where, "results.svg"), {machine: rows for machine, (_, _, rows) in table.items()})

    for machine, (_, _, rows) in table.items():
        print(f"\n{machine:58} {'base':>12} {'ours':>12} {'floor':>6} {'base/ours':>9}")
        for name, unit, base, ours, low, better, _ in rows:
            print(f"{name[:57]:58} {base:>12} {ours:>12} {low:>6} {better:>9}  {unit}")

    new = {(machine, row[0]): row for machine, (_, _, rows) in table.items() for row in rows}
    if not moved(read_summary(results), new):
        print(f"\nno figure moved by more than 1 %: {results} stays")
        return
    with open(results, "w", encoding="utf-8") as f:
        print("# What the work costs: unmodified kernel, ours, and the floor", file=f)
        print("\nWritten by `make bench`; `bench/README.md` says how to read it.\n", file=f)
        for fact in facts:
            print(f"* {fact}", file=f)
        for machine, (_, _, rows) in table.items():
            print(f"\n## {machine}\n\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", file=f)
            for row in rows:
                print(f"| {' | '.join(row)} |", file=f)
        print("\n## Where ours spends them", *summary_profile(table), sep="\n", file=f)
    plot_summary(results)
    print(f"\nfigures moved: {results} is new, commit it and its results.svg")


def check(where, results):
    old, worse = read_summary(results), []
    if not old:
        raise Failure(f"{results} has no figures")
    compared = 0
    for machine, (_, _, rows) in read_all(where, False).items():
        for row in rows:
            cells = old.get((machine, row[0]))
            was, now = number(cells[3]) if cells else None, number(row[3])
            if was is not None and now is None:
                worse.append(f"{machine}: {row[0]}: {cells[3]}, now {row[3] or 'gone'}")
            if was is None or now is None:
                continue
            compared += 1
            if now - was > slack(row[0], was * (WORSE - 1)):
                worse.append(f"{machine}: {row[0]}: {cells[3]}, now {row[3]} {row[1]}")
        missing = [key[1] for key in old if key[0] == machine and number(old[key][3]) is not None
                   and key[1] not in {row[0] for row in rows}
                   and not (order(key[1]) == 1 and old[key][3] == "0")]
        worse += [f"{machine}: {name}: not measured any more" for name in missing]
    if worse:
        raise Failure("worse than the committed figures:\n  " + "\n  ".join(worse))
    if not compared:
        raise Failure("nothing to compare")
    print(f"{compared} figures, none more than 5 % worse than {results}")


def plot_summary(results):
    """The plot of committed figures, beside them."""
    machines = collections.defaultdict(list)
    for (machine, _), cells in read_summary(results).items():
        machines[machine].append(cells)
    if not machines:
        raise Failure(f"{results} has no figures")
    plot(os.path.join(os.path.dirname(results), "results.svg"), machines)


def plot(picture, machines):
    """Base and ours and floor, of the workloads that most callers meet."""
    machine = "powernv9" if "powernv9" in machines else next(iter(machines))
    lines = [f'"{name} ({unit.split("/")[-1]})"\t{number(base) or "NaN"}\t{ours}\t{low or "NaN"}'
             for name, unit, base, ours, low, _, _ in machines[machine]
             if name.startswith(PLOTTED) and not name.endswith("fixed part") and number(ours)]
    data = "\n".join(lines)
    script = f"""
$data << END
{data}
END
set terminal svg noenhanced size 1100,1100 font "sans,12" background "white"
set output "{picture}"
set title "Guest instructions per unit of work, {machine} (less is better)"
set logscale x
set yrange [*:*] reverse
set offsets 0,0,0.7,0.7
set grid x
set key bottom right
set lmargin 58
set format x "%.0s%c"
set datafile separator "\\t"
plot $data using 2:0:ytic(1) with points pt 7 ps 1.3 lc rgb "#c0392b" title "base", \\
     "" using 3:0 with points pt 5 ps 1.1 lc rgb "#1f618d" title "ours", \\
     "" using 4:0 with points pt 9 ps 1.3 lc rgb "#7f8c8d" title "floor", \\
     "" using 3:0:($2-$3):(0) with vectors nohead lc rgb "#cccccc" notitle
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def main():
    if len(sys.argv) >= 4 and sys.argv[1] == "make":
        make(sys.argv[2], sys.argv[3], sys.argv[4:])
    elif len(sys.argv) == 4 and sys.argv[1] == "check":
        check(sys.argv[2], sys.argv[3])
    elif len(sys.argv) == 3 and sys.argv[1] == "plot":
        plot_summary(sys.argv[2])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"report: {failure}")
