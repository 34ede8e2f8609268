#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Apply the hunks of one file of patches/ to the index of a git tree.

usage: scripts/lib/apply.py TREE PATCH

TREE's index is that of $GIT_INDEX_FILE.  Code is strict: git apply, every line of
context.  Lists (Makefile, Kbuild, Kconfig, toctree), to which others add lines and from
which they take some, need less: a hunk goes where all of its context is or, where
neighbours came or went, to the nearest line of its context that is there just once, if
that is a place for such lines.

Exit status 1: some hunk has no place; they are printed.  2: something else went wrong.
"""

import pathlib
import re
import subprocess
import sys

LIST = re.compile(r"(^|/)(Makefile|Kbuild|Kconfig[^/]*|[^/]*\.rst)$")


class NoPlace(Exception):
    """A hunk that cannot be applied."""


def git(*args, data=None, may_fail=False):
    """git in TREE; data is its standard input.  What may fail is that a hunk has no place."""
    done = subprocess.run(["git", "-C", sys.argv[1], *args], input=data, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode and (not may_fail or re.search(r"^fatal:|[Uu]nable to|No space", done.stderr, re.M)):
        print(done.stderr, file=sys.stderr)
        sys.exit(2)
    return done


def split(text):
    """{file: [head of its diff, [hunk, ...]]} of a patch."""
    files = {}
    for diff in re.split(r"^(?=diff --git )", text, flags=re.M)[1:]:
        head, *hunks = re.split(r"^(?=@@ )", diff, flags=re.M)
        files[re.search(r"^diff --git a/\S+ b/(\S+)$", head, re.M)[1]] = head, hunks
    return files


def find(lines, wanted):
    """Where the lines `wanted` stand."""
    return [i for i in range(len(lines) - len(wanted) + 1) if lines[i:i + len(wanted)] == wanted]


def telling(lines, line):
    """A line that names a place: it has a word and is there once."""
    return re.search(r"\w{2}", line) and lines.count(line) == 1


def by_neighbour(lines, before, after):
    """The place behind the nearest line before, or in front of the nearest one after, that is still there."""
    for n in range(len(before) - 1, -1, -1):
        if telling(lines, before[n]):
            start = lines.index(before[n]) + 1
            for line in before[n + 1:]:
                start += lines[start:start + 1] == [line]
            return start
    for n, line in enumerate(after):
        if telling(lines, line):
            start = lines.index(line)
            for line in reversed(after[:n]):
                start -= lines[start - 1:start] == [line]
            return start
    raise NoPlace


def in_makefile(lines, before, after, new):
    """Not inside a condition or a line that goes on; what makes up a module only where the module is made."""
    start = by_neighbour(lines, before, after)
    words = [line.split()[:1] for line in lines[:start]]
    depth = sum(w in (["ifdef"], ["ifndef"], ["ifeq"], ["ifneq"]) for w in words) - words.count(["endif"])
    modules = re.findall(r"^(\w+)-(?:y|objs)\s*[:+]?=", "\n".join(new), re.M)
    if depth or lines[start - 1].endswith("\\") or any(f"{name}.o" not in " ".join(lines).split() for name in modules):
        raise NoPlace
    return start


def in_kconfig(lines, before, after, new):
    """Between entries: behind the one that a line before belongs to, or in front of the one after."""
    entry = re.compile(r"(config|menuconfig|choice|endchoice|menu|endmenu|if|endif|source|comment)\b")
    for line in reversed(before):
        if telling(lines, line):
            start = lines.index(line) + 1
            while start < len(lines) and not entry.match(lines[start]):
                start += 1
            break
    else:
        start = next((lines.index(line) for line in after if entry.match(line) and telling(lines, line)), None)
        if start is None:
            raise NoPlace
    # The blank line between entries comes with ours, in front of it or behind.
    while not new[0] and start and not lines[start - 1]:
        start -= 1
    return start


def in_toctree(lines, before, after, new):
    """Only names of documents are a list; text is not."""
    if not all(re.fullmatch(r"\s+[\w./-]+", line) for line in new):
        raise NoPlace
    return by_neighbour(lines, before, after)


def place(name, lines, hunk):
    """`lines` with the hunk applied, and whether neighbours had to be left aside."""
    body = [line for line in hunk.splitlines()[1:] if not line.startswith("\\")]
    changed = [i for i, line in enumerate(body) if line[:1] in "+-" and line]
    first, last = changed[0], changed[-1]
    before, after = [[line[1:] for line in part] for part in (body[:first], body[last + 1:])]
    old = [line[1:] for line in body[first:last + 1] if not line.startswith("+")]
    new = [line[1:] for line in body[first:last + 1] if not line.startswith("-")]

    def put(start):
        return lines[:start] + new + lines[start + len(old):]

    found = find(lines, before + old + after)
    if len(found) == 1:
        return put(found[0] + len(before)), False
    if old:
        found = find(lines, old)
        if len(found) == 1 and any(telling(lines, line) for line in old) and not name.endswith(".rst"):
            return put(found[0]), True
        raise NoPlace
    if find(lines, new):        # upstream has them
        raise NoPlace
    kind = in_toctree if name.endswith(".rst") else in_kconfig if "Kconfig" in name else in_makefile
    return put(kind(lines, before, after, new)), True


def apply_list(name, hunks):
    """A file of lists; returns the hunks that have no place."""
    if not git("ls-files", "--", name).stdout:
        return hunks
    blob = git("show", ":" + name)
    lines, bad, moved = blob.stdout.split("\n"), [], 0
    for hunk in hunks:
        try:
            lines, aside = place(name, lines, hunk)
            moved += aside
        except NoPlace:
            bad.append(hunk)
    if moved:
        print(f"{name}: {moved} of {len(hunks)} hunks placed by one neighbour")
    if not bad:
        new = git("hash-object", "-w", "--stdin", data="\n".join(lines)).stdout.strip()
        git("update-index", "--cacheinfo", f"100644,{new},{name}")
    return bad


def apply_code(name, head, hunks):
    """A file of code, or a new one; returns the hunks that git does not take."""
    if not git("apply", "--cached", "--whitespace=nowarn", data=head + "".join(hunks), may_fail=True).returncode:
        return []
    # Each alone: one that others stand before may apply at an offset.
    return [hunk for hunk in hunks if git("apply", "--cached", "--check", "--recount", "--whitespace=nowarn",
                                          data=head + hunk, may_fail=True).returncode] or hunks


def main():
    files = split(pathlib.Path(sys.argv[2]).read_text(encoding="utf-8"))
    bad = {}
    for name, (head, hunks) in files.items():
        bad[name] = apply_list(name, hunks) if LIST.search(name) else apply_code(name, head, hunks)
    for name, hunks in bad.items():
        for hunk in hunks:
            text = hunk.splitlines()
            print(f"{name}, hunk {text[0]}")
            print("\n".join("    " + line for line in text[1:13]))
            if len(text) > 13:
                print(f"    ... ({len(text) - 13} lines more)")
    return any(bad.values())


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        sys.exit(main())
    except Exception as error:  # pylint: disable=broad-exception-caught
        print(f"{sys.argv[2]}: {error!r}", file=sys.stderr)
        sys.exit(2)
