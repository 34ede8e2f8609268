#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The series goes onto bases that have moved; what does not fit is reported well.

usage: tests/drift/drift.py [newest] [mirrors] [BASE...]      (default: all)

Each base is cut down to the files that the series touches, altered as upstream and
Debian alter it, and given to scripts/assemble.  Then come the newest versions that
the mirror has today, and, with an apt of our own (fake-apt), mirrors that forget
versions or name files that are gone.  Nothing is built.  Prints TAP.

CACHE keeps the cut-down bases.
"""

import collections
import concurrent.futures
import glob
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/lib"))
sys.dont_write_bytecode = True
from apply import LIST, split  # noqa: E402 # pylint: disable=wrong-import-position

CACHE = pathlib.Path(os.environ.get("CACHE") or pathlib.Path.home() / ".cache/spapr-tce")
PATCHES = [pathlib.Path(p).read_text(encoding="utf-8") for p in sorted(glob.glob(f"{ROOT}/patches/0*.patch"))]
# Files with hunks that a later patch removes do not stay to be looked at.
REMOVED = re.findall(r"^Removes: (\S+)", "\n".join(PATCHES), re.M)
HUNKS = [(name, hunk) for text in PATCHES for name, (_, hunks) in split(text).items() if name not in REMOVED
         for hunk in hunks]
# Whole files that go or are ours, and what decides whether a patch is needed.
NAMED = re.findall(r"^(?:Overlay|Removes|Unless): (\S+)", "\n".join(PATCHES), re.M)
# scripts/lib/fetch-base looks at these.
ALWAYS = ["Makefile", "MAINTAINERS", "include/linux/slab.h"]
UNLESS = re.findall(r"^Unless: (\S+) has (.*)$", "\n".join(PATCHES), re.M)
ARCH = subprocess.run(["dpkg", "--print-architecture"], text=True, check=True, stdout=subprocess.PIPE).stdout.strip()

count = 0
failed = 0
lock = threading.Lock()


def check(name, *problems):
    """A line of TAP; `problems` that are true say what is wrong."""
    global count, failed
    wrong = [str(p) for p in problems if p]
    with lock:
        count += 1
        failed += bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} {count} - {name}")
        for line in "\n".join(wrong).splitlines()[:40]:
            print("#   " + line)
        sys.stdout.flush()


def run(*command, **env):
    """(exit status, all output) of a script of the lab."""
    done = subprocess.run(command, cwd=ROOT, text=True, check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**{k: v for k, v in os.environ.items() if k not in ("B", "KERNEL", "VERSION")}, **env})
    return done.returncode, done.stdout


def says(base, field):
    """The values of a field of a file in bases/."""
    text = (ROOT / "bases" / base).read_text(encoding="ascii")
    return re.search(rf"^{field}\s+(.*)$", text, re.M)[1].split()


def sources(base, version):
    """The package that has the sources of this version."""
    package = says(base, "package")[0]
    return package if package[-1].isdigit() else package + "-" + ".".join(version.split(".")[:2])


def small(base, version, suites):
    """A directory with those files of a version that the series touches; made whole or not at all."""
    package = sources(base, version)
    wanted = sorted({name for name, _ in HUNKS} | set(NAMED) | set(ALWAYS))
    tree = CACHE / "drift" / f"{package}_{version}_{hashlib.sha1(' '.join(wanted).encode()).hexdigest()[:8]}"
    if tree.is_dir():
        return tree
    tree.parent.mkdir(parents=True, exist_ok=True)
    part = pathlib.Path(tempfile.mkdtemp(prefix="part.", dir=tree.parent))
    try:
        whole = CACHE / f"{package}_{version}"
        if (whole / ".complete").exists():
            for name in filter(lambda name: (whole / name).exists(), wanted):
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(whole / name, part / name)
        else:
            unpack(f"{package}={version}", part, wanted, suites)
            if [version] != says(base, "tested"):
                for deb in (CACHE / "debs").glob(f"{package}_{version}_*.deb"):
                    deb.unlink(missing_ok=True)
        lost = [name for name in ALWAYS if not (part / name).is_file()]
        if lost:
            raise RuntimeError(f"{package} {version} was unpacked without {lost}: is the disk full?")
        try:
            part.rename(tree)
        except OSError:
            if not tree.is_dir():      # another run was first
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return tree


def unpack(package, tree, wanted, suites):
    """Those files of a package of the mirror, as far as it has them."""
    status, out = run("scripts/lib/fetch-deb", package, ARCH, *suites)
    if status:
        raise RuntimeError(out)
    deb, name = out.strip().splitlines()[-1], package.split("=")[0]
    patterns = " ".join(f"'*/{file}'" for file in wanted)
    # The last tar complains of files that it does not find: not every base has each of ours.
    done = subprocess.run(["bash", "-o", "pipefail", "-c", f"""dpkg-deb --fsys-tarfile '{deb}' |
        tar -xO ./usr/src/{name}.tar.xz | xz -dc |
        {{ tar -x --strip-components=1 -C '{tree}' --no-wildcards-match-slash --wildcards {patterns} ||
           [ $? = 2 ]; cat > /dev/null; }}"""], text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(done.stderr)


Result = collections.namedtuple("Result", "status output changes tree")


def assemble(base, tree, work, afresh=True):
    """scripts/assemble on a tree; `changes` are the lines added and removed, by file."""
    if afresh:
        shutil.rmtree(work, ignore_errors=True)
    status, output = run("scripts/assemble", BASE=base, KERNEL=str(tree), BUILD=str(work))
    changes, linux = collections.defaultdict(list), work / base / "linux"
    if status == 0:
        diff = subprocess.run(["git", "-C", linux, "diff", "--no-renames", "-U0", "base", "HEAD"], text=True,
                              check=True, stdout=subprocess.PIPE).stdout
        for name, (_, hunks) in split(diff).items():
            changes[name] = [line for hunk in hunks for line in hunk.splitlines()[1:]]
    return Result(status, output, changes, linux)


def differences(was, now):
    """Files in which the series changes other lines than it did."""
    return [f"{name}: {set(was[name]) ^ set(now[name])}" for name in {*was, *now}
            if name not in (n for n, _ in UNLESS) and sorted(was[name]) != sorted(now[name])]


def edit(tree, name, change):
    """Let `change` alter the lines of a file, in place."""
    path = tree / name
    if path.exists():
        lines = path.read_text(encoding="utf-8").split("\n")
        path.write_text("\n".join(change(lines) or lines), encoding="utf-8")


def entries(tree, name):
    """{entry of a Kconfig file: its lines}"""
    found, mine = {}, None
    for line in (tree / name).read_text(encoding="utf-8").split("\n"):
        if re.match(r"\S", line):
            mine = found.setdefault(line, []) if re.match(r"(menu)?config ", line) else None
        elif mine is not None and line.strip():
            mine.append(line)
    return found


def others(name, found):
    """Entries of a Kconfig file without the lines that the series changes in others' entries."""
    ours = {line[1:] for file, hunk in HUNKS if file == name and replaces(hunk)
            for line in hunk.splitlines()[1:] if line[:1] in "+-"}
    return {e: [line for line in lines if line not in ours] for e, lines in found.items()}


def replaces(hunk):
    """Whether it puts lines in the place of others: then it is within an entry of a list."""
    return {"+", "-"} <= {line[:1] for line in hunk.splitlines()[1:]}


def neighbours(tree):
    """(file, line before, line after, whether lines come) of each place where the series changes a list.

    Lines of the base only, such as name one place: others' entries.
    """
    for name, hunk in HUNKS:
        if not LIST.search(name) or name.endswith(".rst") and "index" not in name:
            continue                    # text is no list
        if "Kconfig" in name and replaces(hunk):
            continue
        lines = (tree / name).read_text(encoding="utf-8").split("\n")
        body = hunk.splitlines()[1:]
        at = [i for i, line in enumerate(body) if line[:1] in "+-" and line]
        gone = {line[1:] for line in body if line.startswith("-")}
        if any(line[1:] not in lines for line in body if line[:1] in " -"):
            continue                    # among lines that a patch before has brought
        around = []
        for part in (reversed(body[:at[0]]), body[at[-1] + 1:]):
            entries = [line[1:] for line in part if lines.count(line[1:]) == 1 and re.search(r"\w", line)]
            around.append(next((e for e in entries if e not in gone), None))
        yield name, *around, any(line.startswith("+") for line in body)


def entry(name, n):
    """A line that somebody else may add to such a list."""
    if name.endswith(".rst"):
        return [f"    drifting-{n}"]
    if "Kconfig" in name:
        return [f"config DRIFTING_{n}", "\tbool", ""]
    return [f"obj-$(CONFIG_DRIFTING_{n}) += drifting-{n}.o"]


def altered(base, tree, work):
    """A copy of the tree to alter, afresh."""
    copy = work / f"altered-{base}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(tree, copy)
    return copy


def lists_move(base, tree, work, was):
    """Neighbours come on both sides of what the series adds; go on either."""
    places = list(neighbours(tree))
    copy = altered(base, tree, work)
    for n, (name, before, after, _) in enumerate(places):
        def come(lines, n=n, name=name, before=before, after=after):
            if before in lines:
                at = lines.index(before) + 1
                lines[at:at] = entry(name, f"{n}_A")
            if after in lines:
                at = lines.index(after)
                lines[at:at] = entry(name, f"{n}_B")
        edit(copy, name, come)
    now = assemble(base, copy, work / base)
    far = []
    for name, before, after, adds in places if now.status == 0 else []:
        final = (now.tree / name).read_text(encoding="utf-8").split("\n")
        ours = [line[1:] for line in was[name] if line.startswith("+")]
        near = {final[i] for line in ours if line in final for i in range(max(0, final.index(line) - 9), min(
            len(final), final.index(line) + 10))}
        if adds and ours and near.isdisjoint({before, after}):
            far.append(f"{name}: our lines are far from `{before}' and `{after}'")
    for name in {name for name, *_ in places if "Kconfig" in name and now.status == 0}:
        theirs, ours = others(name, entries(copy, name)), others(name, entries(now.tree, name))
        far += [f"{name}: `{e}' has become another" for e, lines in theirs.items() if ours.get(e) != lines]
    check(f"{base}: neighbours came to {len(places)} places in Makefiles, Kconfig and indexes",
          now.status and now.output, now.status or differences(was, now.changes), *far)

    for side, which in ("before", 1), ("behind", 2):
        copy = altered(base, tree, work)
        for place in places:
            # Without it there is no module, which in_a_bad_place() tries.
            if "SPAPR_TCE) +=" in (place[which] or ""):
                continue
            edit(copy, place[0], lambda lines, gone=place[which]: [line for line in lines if line != gone])
        now = assemble(base, copy, work / base)
        stolen = [f"{name}: `{e}' has become another" for name in {name for name, *_ in places if "Kconfig" in name}
                  for e, lines in others(name, entries(copy, name)).items()
                  if now.status == 0 and others(name, entries(now.tree, name)).get(e) != lines]
        check(f"{base}: neighbours {side} these places went", now.status and now.output,
              now.status or differences(was, now.changes), *stolen)


def in_a_bad_place(base, tree, work):
    """The nearest line that is left is no place for ours: refused, or between entries."""
    def refused(what, name, change):
        copy = altered(base, tree, work)
        edit(copy, name, lambda lines: change("\n".join(lines)).split("\n"))
        now = assemble(base, copy, work / base)
        check(f"{base}: {what}: refused", now.status == 0 and "it was put somewhere", name not in now.output and now.output)

    refused("a condition around the neighbour", "arch/powerpc/mm/Makefile", lambda text: re.sub(
        r"(?m)^(obj-\$\(CONFIG_NUMA\).*)\n(.*)$", r"ifdef CONFIG_PPC64\n\1\n\2\nendif", text))
    refused("no module of that name", "drivers/vfio/Makefile", lambda text: text.replace("vfio_iommu_spapr_tce.o", "spapr/"))
    refused("text reworded", "Documentation/driver-api/vfio.rst", lambda text: text.replace("   and removes it.", "   and takes it away."))

    copy, name = altered(base, tree, work), "drivers/vfio/Kconfig"
    edit(copy, name, lambda lines: [line if line != "\tdefault VFIO" else "\tdefault VFIO if !IOMMUFD" for line in lines])
    name2 = "arch/powerpc/Kconfig.debug"
    edit(copy, name2, lambda lines: [line.replace("used to create and use guest state", "to make and use guest state")
                                     for line in lines])
    now = assemble(base, copy, work / base)
    check(f"{base}: an entry that ours stand behind has changed: behind all of it", now.status and now.output,
          *[f"{n}: `{e}' has become another" for n in (name, name2) if now.status == 0
            for e, lines in others(n, entries(copy, n)).items()
            if others(n, entries(now.tree, n)).get(e) != lines])


def fix_comes_and_goes(base, tree, work):
    """The base has what a patch does, and has it not."""
    name, text = UNLESS[0]
    patch = next(p for p in PATCHES if f"\nUnless: {name} has {text}\n" in p)
    subject = re.search(r"^Subject: (.*)$", patch, re.M)[1]
    hunk = split(patch)[name][1][0].splitlines()[1:]
    without = [line[1:] for line in hunk if not line.startswith("+")]
    for has in True, False:
        copy = altered(base, tree, work)

        def put(lines, has=has):
            joined = "\n".join(lines)
            old = "\n".join(without)
            mine = re.search(r"\tif \([^\n]*" + re.escape(text) + r"[^\n]*\n", joined)
            if mine and not has:
                check_line = next(line[1:] for line in hunk if line.startswith("-"))
                return joined.replace(mine[0], check_line + "\n").split("\n")
            if not mine and has:
                return joined.replace(old, old.replace(
                    next(line[1:] for line in hunk if line.startswith("-")), f"\tif ({text})")).split("\n")
            return lines
        edit(copy, name, put)
        now = assemble(base, copy, work / base)
        log = "" if now.status else subprocess.run(["git", "-C", now.tree, "log", "--format=%s", "base..HEAD"], text=True,
                                                   check=True, stdout=subprocess.PIPE).stdout
        if has:
            check(f"{base}: the base has the fix, in its own words: the patch is left out, and why is said",
                  now.status and now.output, subject in log and "it was applied",
                  not re.search(r"left out.*0002-.*" + re.escape(text), now.output) and now.output)
        else:
            check(f"{base}: the base has not the fix: the patch is applied",
                  now.status and now.output, subject not in log and f"not in:\n{log}",
                  re.search(r"left out.*0002-", now.output) and now.output)
            refreshed(base, copy, work)
            edit(copy, name, lambda lines: ["/* " + text + " */"] + lines)
            now = assemble(base, copy, work / base)
            check(f"{base}: a comment that has the fix's words is no fix", now.status == 0 and "it was taken for it",
                  "still applies" not in now.output and now.output)


def replaced(base, tree, work):
    """Upstream fixes what we replace; a base has the text of `Unless:' and not the change."""
    copy, name = altered(base, tree, work), "drivers/vfio/vfio_iommu_spapr_tce.c"
    edit(copy, name, lambda lines: lines + ["/* a fix */"])
    now = assemble(base, copy, work / base)
    told = re.search(r"NOTE: upstream has changed what we replace(.*\n)+?    \w+ " + name, now.output)
    check(f"{base}: a change in a file that we replace is told, and only that", now.status and now.output,
          not told and now.output, "iommu_api.c" in now.output and now.output)


def conflicts(base, tree, work):
    """What really conflicts is named: hunk, version, last good one, and ways on."""
    code, hunk = next((n, h) for n, h in HUNKS if not LIST.search(n) and "\n-" in h and n not in NAMED)
    gone = next(line[1:] for line in hunk.splitlines() if line.startswith("-"))
    # A line of the base: a patch may also take away what one before it has brought.
    lists, list_hunk, list_gone = next(
        (n, h, line[1:]) for n, h in HUNKS if LIST.search(n) for line in h.splitlines()
        if line.startswith("-") and line[1:] in (tree / n).read_text("utf-8").splitlines())
    number = re.search(r"^VERSION = (\d+)\nPATCHLEVEL = (\d+)\nSUBLEVEL = (\d+)", (tree / "Makefile").read_text("utf-8"), re.M)

    def report(what, name, change, hunk_head):
        copy = altered(base, tree, work)
        change(copy)
        now = assemble(base, copy, work / base)
        lacks = [text for text in (name, hunk_head, "Linux " + ".".join(number.groups()), says(base, "tested")[0],
                                   "KERNEL=", "snapshot.debian.org", "VERSION=", "patches/0")
                 if text and text not in now.output]
        check(f"{base}: {what}, and the message says where and what helps",
              now.status == 0 and "it was not noticed", lacks and f"the message lacks {lacks}:\n{now.output}")

    def other(name, line):
        return lambda copy: edit(copy, name, lambda lines: [old.replace(line, line + " /* moved */") for old in lines])
    report("code changed under a hunk", code, other(code, gone), hunk.splitlines()[0].split("@@")[1].strip())
    near = next(line[1:] for line in hunk.splitlines()[1:] if line.startswith(" ") and len(line) > 12)
    report("code changed beside a hunk's lines", code, other(code, near), hunk.splitlines()[0].split("@@")[1].strip())
    report("a line that a list's hunk takes away is another", lists, other(lists, list_gone),
           list_hunk.splitlines()[0].split("@@")[1].strip())
    report("a file with hunks is gone", code, lambda copy: os.remove(copy / code), None)


def moves_on(base, tree, work):
    """Another version in the same build directory, where somebody has worked."""
    def git(*args):
        return subprocess.run(["git", "-C", linux, "-c", "user.name=x", "-c", "user.email=x@localhost", *args], text=True,
                              check=True, stdout=subprocess.PIPE).stdout.strip()

    linux = assemble(base, tree, work / base).tree
    git("commit", "-q", "--allow-empty", "-m", "my work")
    mine = git("rev-parse", "HEAD")
    copy = altered(base, tree, work)
    edit(copy, "MAINTAINERS", lambda lines: lines + ["drift"])
    now = assemble(base, copy, work / base, afresh=False)
    check(f"{base}: a moved base does not take the commits of a user away", now.status == 0 and "it went on",
          "make refresh" not in now.output and now.output, git("rev-parse", "HEAD") != mine and "HEAD is another")
    git("reset", "-q", "--hard", mine + "^")
    for what, do, undo in (("a branch", ("branch", "wip"), ("branch", "-D", "wip")),
                           ("a file", ("worktree", "add", "-q", "--detach", "mine"), ("worktree", "remove", "mine"))):
        git(*do)
        now = assemble(base, copy, work / base, afresh=False)
        check(f"{base}: nor {what}", now.status == 0 and "it went on", "Move them away" not in now.output and now.output)
        git(*undo)
    start = time.time()
    now = assemble(base, copy, work / base, afresh=False)
    old = [str(path) for path in linux.rglob("*") if path.is_file() and ".git" not in path.parts
           and path.stat().st_mtime < start - 1]
    check(f"{base}: all files of another version are newer than what was built of the last", now.status and now.output, *old[:5])


def refreshed(base, tree, work):
    """make refresh gives the patches back as they were, those left out too."""
    lab = work / ("lab-" + base)
    shutil.copytree(ROOT, lab, ignore=shutil.ignore_patterns("build", "dist", ".git", ".patches.*"))
    subprocess.run(["git", "init", "-q", lab], check=True)
    env = {"BASE": base, "KERNEL": str(tree), "BUILD": str(work / "refresh")}
    said = ""
    for script in "assemble", "refresh":
        status, out = run(str(lab / "scripts" / script), **env)
        said += out
        if status:
            break

    def texts(where):
        # Where the lines are, and what git calls the blobs, differs between bases.
        return {path.name: [re.sub(r"^(index |@@ ).*", r"\1", line) for line in path.read_text("utf-8").splitlines()
                            if not line.startswith(" ")] for path in sorted((where / "patches").glob("*.patch"))}
    was, now = texts(ROOT), texts(lab)
    out_too = "left out too" if "left out" in said else "all applied"
    patch = min((lab / "patches").glob("0*.patch"))
    (lab / "broken").mkdir()
    copy = altered(base, tree, lab / "broken")
    os.remove(copy / "drivers/vfio/container.c")
    run(str(lab / "scripts/assemble"), **{**env, "KERNEL": str(copy)})
    failed_too, _ = run(str(lab / "scripts/refresh"), **{**env, "KERNEL": str(copy)})
    check(f"{base}: refresh behind a failed assembly takes nothing away", failed_too == 0 and "it went on",
          not patch.exists() and f"{patch.name} is gone", len(list((lab / "patches").glob("0*"))) != len(PATCHES) and "others too")
    check(f"{base}: refresh gives the same patches, {out_too}", status and out,
          list(was) != list(now) and f"{set(was) ^ set(now)}",
          [f"{name}: {[x for x in zip(was[name], now[name]) if x[0] != x[1]][:3]}" for name in was
           if name in now and was[name] != now[name]])
    shutil.rmtree(lab)


def drifted(base, work):
    """All that is tried on one base."""
    version, = says(base, "tested")
    try:
        tree = small(base, version, says(base, "suites"))
    except RuntimeError as error:
        check(f"{base}: {version} can be had", error)
        return
    plain = assemble(base, tree, work / base)
    check(f"{base}: the series goes onto {version}", plain.status and plain.output)
    if plain.status:
        return
    copy = altered(base, tree, work)
    for name in {name for name, _ in HUNKS}:
        edit(copy, name, lambda lines: ["# drift"] * 37 + lines)
    moved = assemble(base, copy, work / base)
    check(f"{base}: all lines moved", moved.status and moved.output,
          moved.status or differences(plain.changes, moved.changes))
    lists_move(base, tree, work, plain.changes)
    fix_comes_and_goes(base, tree, work)
    # What does not depend on the base is shared out, for speed.
    if base == min(os.listdir(ROOT / "bases")):
        in_a_bad_place(base, tree, work)
        replaced(base, tree, work)
        moves_on(base, tree, work)
    else:
        refreshed(base, tree, work)
        conflicts(base, tree, work)


def newest(work):
    """What the mirror has today: the release, its security updates, the backports."""
    for base in sorted(os.listdir(ROOT / "bases")):
        for suite in says(base, "suites"):
            status, out = run("scripts/lib/fetch-deb", "-n", says(base, "package")[0], ARCH, suite, BASE=base)
            version = out.strip().splitlines()[-1] if out.strip() else ""
            if status:
                check(f"{base}: the newest of {suite}", out)
                continue
            try:
                now = assemble(base, small(base, version, [suite]), work / "newest")
            except RuntimeError as error:
                check(f"{base}: {version}, the newest of {suite}, can be had", error)
                continue
            check(f"{base}: the series goes onto {version}, the newest of {suite}", now.status and now.output)


class Mirror:
    """fetch-base and fetch-deb against mirrors of our own making (tests/drift/fake-apt)."""

    def __init__(self, work, tree):
        self.dir, self.tree = work / "mirror", tree
        shutil.rmtree(self.dir, ignore_errors=True)
        for tool in "apt-get", "apt-cache":
            (self.dir / "bin").mkdir(parents=True, exist_ok=True)
            (self.dir / "bin" / tool).symlink_to(ROOT / "tests/drift/fake-apt")

    def has(self, again=False, **suites):
        """suites: name = versions; the file of one with - in front is gone till the index is fresh, or for good (--)."""
        shutil.rmtree(self.dir / "index", ignore_errors=True)
        if not again:
            shutil.rmtree(self.dir / "cache", ignore_errors=True)
        for suite, versions in suites.items():
            index = self.dir / "index" / suite.replace("_", "-")
            index.mkdir(parents=True)
            (index / "versions").write_text("".join(v.lstrip("-") + "\n" for v in versions), encoding="ascii")
            for v in versions:
                if v.startswith("-"):
                    mark = "gone" if v.startswith("--") else "stale"
                    (index / (mark + "-" + v.lstrip("-"))).touch()

    def fetch(self, tested="6.12.5-1", **env):
        """(status, output, tree) of fetch-base, with 6.12 last tested on `tested`."""
        lab = self.dir / "lab"
        if not lab.exists():
            shutil.copytree(ROOT / "scripts", lab / "scripts")
            shutil.copytree(ROOT / "bases", lab / "bases")
        text = (ROOT / "bases/6.12").read_text(encoding="ascii")
        (lab / "bases/6.12").write_text(re.sub(r"^tested.*$", "tested " + tested, text, flags=re.M), encoding="ascii")
        status, out = run(str(lab / "scripts/lib/fetch-base"), BASE="6.12", BUILD=str(self.dir / "build"), FAKE_APT=str(self.dir),
                          FAKE_TREE=str(self.tree), CACHE=str(self.dir / "cache"),
                          PATH=f"{self.dir}/bin:{os.environ['PATH']}", **env)
        tree = out.strip().splitlines()[-1] if status == 0 else ""
        return status, out, tree


def mirrors(work, tree):
    """Which version is taken, and what is said."""
    mirror = Mirror(work, tree)

    def expect(what, version, *words, quiet=(), **options):
        status, out, path = mirror.fetch(**options)
        check("mirror: " + what, status and out, not path.endswith("_" + version) and f"took {path}:\n{out}",
              [word for word in words if word not in out] and f"does not say {words}:\n{out}",
              [word for word in quiet if word in out] and f"says {quiet}:\n{out}")

    mirror.has(trixie=["6.12.4-1", "6.12.5-1"], trixie_security=["6.12.6-1"])
    expect("the last good version is taken though there is a newer one", "6.12.5-1", quiet=["***"])
    expect("VERSION=newest takes the newest of all suites, another tree in the cache",
           "6.12.6-1", "6.12.6-1 is the newest", VERSION="newest")
    expect("a version by its name", "6.12.4-1", VERSION="6.12.4-1")
    expect("and the last good one again, from the cache", "6.12.5-1", quiet=["fetching"])
    mirror.has(trixie=["6.12.4-1", "6.12.9-1"], trixie_security=["6.12.10-1"])
    expect("the last good version is gone: the newest, said loudly", "6.12.10-1", "***", "6.12.5-1", "snapshot.debian.org")
    expect("said again the next time, when nothing is fetched", "6.12.10-1", "***", quiet=["fetching"])
    status, out, _ = mirror.fetch(VERSION="6.12.5-1")
    check("mirror: a version that was asked for and is gone stops it", status == 0 and "it went on",
          [w for w in ("6.12.5-1", "KERNEL=", "snapshot.debian.org", "6.12.9-1") if w not in out] and out)
    mirror.has(trixie=["-6.12.5-1"], trixie_security=["6.12.6-1"])
    expect("an index that names a file which is gone: once more with a fresh one", "6.12.5-1", quiet=["***"])
    mirror.has(trixie=["6.12.5-1"], trixie_security=["--6.12.5-1"])
    expect("and if that does not help, another suite", "6.12.5-1", quiet=["***"])
    mirror.has(trixie=["6.12.4-1"])
    expect("a suite that does not answer: what another has, and it is said", "6.12.4-1", "***", "trixie-security")
    mirror.has(again=True, trixie=["6.12.4-1"], trixie_security=["6.12.5-1"])
    expect("it answers again: the last good version again", "6.12.5-1", quiet=["***"])
    mirror.has(trixie=["6.12.9-1"], trixie_security=["6.12.8-1"])
    _, _, was = mirror.fetch(VERSION="newest")
    shutil.rmtree(was, ignore_errors=True)
    mirror.has(again=True, trixie=["6.12.10-1"], trixie_security=["6.12.8-1"])
    expect("the newest of just now is gone: the newest of now", "6.12.10-1", "***")
    mirror.has(again=True, trixie=["6.12.5-1"], trixie_security=["6.12.11-1"])
    mirror.fetch(VERSION="6.12.5-1")
    expect("a version that had gone was fetched after all", "6.12.5-1", quiet=["***"])
    mirror.has(trixie=["--6.12.5-1"], trixie_security=["6.12.6-1"])
    expect("and if no suite has the file, the newest", "6.12.6-1", "***")
    mirror.has(trixie=["--6.12.5-1"], trixie_security=["--6.12.5-1"])
    status, out, _ = mirror.fetch()
    check("mirror: nothing to be had: a clear word", status == 0 and "it went on",
          [w for w in ("index names it", "trixie-security", "KERNEL=", "snapshot.debian.org") if w not in out] and out)
    mirror.has(trixie=["6.12.5-1"])
    expect("no security archive: the release does", "6.12.5-1", quiet=["***"])


def adopts(work):
    """make adopt records what passed, and nothing else."""
    lab = work / "adopt"
    shutil.copytree(ROOT, lab, ignore=shutil.ignore_patterns("build", "dist", ".git", ".patches.*"))
    built = lab / "build/6.12"
    subprocess.run(["git", "init", "-q", built / "linux"], check=True)
    subprocess.run(["git", "-C", built / "linux", "-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "-q",
                    "--allow-empty", "-m", "x"], check=True)
    tree = subprocess.run(["git", "-C", built / "linux", "rev-parse", "HEAD^{tree}"], text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    (built / "replaced").write_text("0123456789ab a/file\n", encoding="ascii")

    def adopt(version, passed):
        (built / "BASE_VERSION").write_text(version + "\n", encoding="ascii")
        if passed:
            (built / "passed").write_text(passed + "\n" + tree, encoding="ascii")
        status, out = run(str(lab / "scripts/adopt"), BASE="6.12", BUILD=str(lab / "build"))
        return status, out, (lab / "bases/6.12").read_text(encoding="ascii")

    was = (lab / "bases/6.12").read_text(encoding="ascii")
    for what, version, passed in (("no test has passed", "linux-source-6.12 6.12.200-1", None),
                                  ("other sources than passed", "linux-source-6.12 6.12.201-1", "linux-source-6.12 6.12.200-1"),
                                  ("a tree of one's own", "Linux 6.12.200, state 0123", "Linux 6.12.200, state 0123")):
        status, out, now = adopt(version, passed)
        check(f"adopt: {what}: refused", status == 0 and out, now != was and "it was recorded")
    status, out, now = adopt("linux-source-6.12 6.12.200-1", "linux-source-6.12 6.12.200-1")
    check("adopt: what passed is recorded, with what it replaces", status and out,
          not re.search(r"^tested +6\.12\.200-1$", now, re.M) and now, "replaces 0123456789ab a/file\n" not in now and now,
          len(re.findall("^replaces", now, re.M)) != 1 and now)


def main():
    work = pathlib.Path(tempfile.mkdtemp(prefix="drift."))
    try:
        bases = sorted(os.listdir(ROOT / "bases"))
        parts = sys.argv[1:] or ["newest", "mirrors", *bases]
        # Downloads one by one; then all that only computes side by side.
        if "newest" in parts:
            newest(work)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(drifted, base, work) for base in bases if base in parts]
            if "mirrors" in parts:
                jobs.append(pool.submit(adopts, work))
                jobs.append(pool.submit(lambda: mirrors(work, small("6.12", *says("6.12", "tested"), says("6.12", "suites")))))
            for job in jobs:
                try:
                    job.result()
                except Exception as error:  # pylint: disable=broad-exception-caught
                    check("the suite itself", repr(error))
        print(f"1..{count}")
        print(f"# suite-end drift {int(failed > 0)}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return failed > 0


sys.exit(main())
