#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Check that code for real mode calls nothing else, cannot trap, and needs little stack.

usage: closure.py OBJDUMP OBJECT...

With the MMU off an exception is fatal, and only linear addresses work.  From the functions that
the hypercall table calls (ENTRIES) everything that can be called is followed through the object
code, which must be complete: in the OBJECTs.  Indirect calls are those of the tables' operations
(OPERATIONS).  All of it is in .noinstr.text, where nothing can be probed, but for what KVM has
always used in real mode (PROBED).
"""
import re
import subprocess
import sys

ENTRIES = ("kvmppc_rm_h_put_tce", "kvmppc_rm_h_put_tce_indirect", "kvmppc_rm_h_stuff_tce",
           "kvmppc_rm_h_get_tce")
OPERATIONS = ("pnv_tce_begin_rm", "pnv_tce_commit_rm", "pnv_tce_cancel_rm")
PROBED = ("__find_linux_pte",)
STACK = 1536


class Function:
    def __init__(self, section):
        self.section = section
        self.calls = set()
        self.indirect = False
        self.frame = 0
        self.wrong = []


def functions(objdump, path):
    text = subprocess.run([objdump, "-dr", path], check=True, capture_output=True, text=True).stdout
    found, section, here = {}, "", None
    for line in text.splitlines():
        if match := re.match(r"Disassembly of section (.*):", line):
            section = match[1]
        elif match := re.match(r"[0-9a-f]+ <(.*)>:", line):
            here = found[match[1]] = Function(section)
        elif match := re.search(r"R_PPC64_REL(?:24|14)\w*\s+([\w.$]+)", line):
            here.calls.add(match[1].lstrip("."))
        elif match := re.match(r"\s+[0-9a-f]+:\t(?:[0-9a-f]{2} )+\s*\t(\S+)\s*(.*)", line):
            name, operands = match[1].rstrip("+-"), match[2]
            if name in ("bctrl", "blrl"):
                here.indirect = True
            elif name == "bctr" or name == "trap" or re.match(r"t[wd]", name) or name == "sc":
                here.wrong.append(f"{name} {operands}")
            elif match := re.match(r"r1,-(\d+)\(r1\)", operands):
                if name == "stdu":
                    here.frame += int(match[1])
            elif re.match(r"r1,", operands) and not re.match(r"(st|cmp)(?!\w+ux?$)|addi$|mr$|ld$", name):
                here.wrong.append(f"{name} {operands}")
            if match := re.match(r"b", name) and re.search(r"<([\w.$]+)(?:\+0x[0-9a-f]+)?>$", operands):
                if found.get(match[1]) is not here:
                    here.calls.add(match[1].lstrip("."))
    return found


def depth(known, name, above):
    """The stack that a function and what it calls need; complains about what must not be."""
    if name in above:
        sys.exit(f"closure: {name} calls itself")
    if name not in known:
        sys.exit(f"closure: {' calls '.join((*above, name))}, which is not for real mode")
    here = known[name]
    if here.wrong:
        sys.exit(f"closure: {name} has {here.wrong[0]}")
    if here.section != ".noinstr.text" and name not in PROBED:
        sys.exit(f"closure: {name} is in {here.section}, where it can be probed")
    calls = here.calls | set(OPERATIONS if here.indirect else ())
    if name in PROBED:  # instrumented with the kernel's own files; runs only where arithmetic is wrong
        calls = {call for call in calls if not call.startswith("__ubsan_")}
    return here.frame + max((depth(known, call, (*above, name)) for call in calls), default=0)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    known = {}
    for path in sys.argv[2:]:
        found = functions(sys.argv[1], path)
        if twice := known.keys() & found.keys():
            sys.exit(f"closure: two functions named {min(twice)}")
        known.update(found)
    need = max(depth(known, entry, ()) for entry in ENTRIES)
    if need > STACK:
        sys.exit(f"closure: {need} bytes of stack, more than {STACK}")
    print(f"closure: {need} bytes of stack, at most {STACK}")


main()
