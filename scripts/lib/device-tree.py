#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Change the device tree of an emulated powernv machine before Linux reads it.

usage: device-tree.py SOCKET [radix] [lesser]

QEMU waits at its start (-S) with a debugger's port at SOCKET.

radix   adds ibm,processor-radix-AP-encodings to each cpu node: the processors that QEMU
        emulates translate 2M and 1G pages, but its tree does not say so, and Linux takes
        4K and 64K to be all there is
lesser  takes IOMMU pages of 64K away from the third PHB.  The firmware makes that node,
        so this waits until it enters Linux
"""

import struct
import sys

sys.dont_write_bytecode = True
from debugger import Debugger  # noqa: E402

TREE = 0x01000000       # where QEMU leaves the tree for the firmware
ROOM = 0x10000          # the largest it may become
LINUX = 0x20010000      # where the firmware enters Linux, the tree's address in GPR 3
NAME = b"ibm,processor-radix-AP-encodings\0"
# Actual page size of the tlbie instruction in the upper three bits, log2 of the size below.
SIZES = struct.pack(">4I", 0 << 29 | 12, 5 << 29 | 16, 1 << 29 | 21, 2 << 29 | 30)
BEGIN_NODE, END_NODE, PROP, NOP, END = 1, 2, 3, 4, 9


def pad(size):
    return (size + 3) & ~3


def read_tree(debugger, addr):
    magic, size = struct.unpack(">2I", debugger.read(addr, 8))
    if magic != 0xd00dfeed or size > ROOM:
        sys.exit(f"device-tree: no tree at {addr:#x}, where it used to be")
    return debugger.read(addr, size)


def tokens(tree):
    """(token, where it begins and ends, path of node names, name of the property)"""
    at, strings = struct.unpack(">2I", tree[8:16])
    token, path = None, []
    while token != END:
        begin, name = at, None
        token, = struct.unpack(">I", tree[at:at + 4])
        at += 4
        if token == BEGIN_NODE:
            path.append(tree[at:tree.index(b"\0", at)])
            at += pad(len(path[-1]) + 1)
        elif token == PROP:
            length, name = struct.unpack(">2I", tree[at:at + 8])
            name = tree[strings + name:tree.index(b"\0", strings + name)]
            at += 8 + pad(length)
        elif token not in (END_NODE, NOP, END):
            sys.exit("device-tree: this is no device tree")
        yield token, begin, at, path, name
        if token == END_NODE:
            path.pop()


def with_radix(tree):
    """The flattened tree with the property in each node /cpus/*."""
    header = list(struct.unpack(">10I", tree[:40]))
    struct_at, strings_at, strings_size = header[2], header[3], header[8]
    new, found = b"", 0
    for token, begin, end, path, _ in tokens(tree):
        new += tree[begin:end]
        if token == BEGIN_NODE and len(path) == 3 and path[1] == b"cpus" and b"PowerPC" in path[2]:
            new += struct.pack(">3I", PROP, len(SIZES), strings_size) + SIZES
            found += 1
    if not found or struct_at > strings_at:
        sys.exit("device-tree: not laid out as QEMU used to")
    new += tree[strings_at:strings_at + strings_size] + NAME
    header[1] = pad(struct_at + len(new))
    header[8] += len(NAME)
    header[9] = len(new) - header[8]
    header[3] = struct_at + header[9]
    return (struct.pack(">10I", *header) + tree[40:struct_at] + new).ljust(header[1], b"\0")


def lesser_sizes(tree):
    """Where the third PHB's page shifts are, and others without 16: the 12 twice instead."""
    nodes = {}
    for token, begin, end, path, name in tokens(tree):
        if token == PROP and name in (b"ibm,supported-tce-sizes", b"ibm,opal-phbid"):
            nodes.setdefault(b"/".join(path), {})[name] = (begin + 12, tree[begin + 12:end])
    for node in nodes.values():
        if node.get(b"ibm,opal-phbid", (0, b""))[1][-4:] == struct.pack(">I", 2):
            at, sizes = node[b"ibm,supported-tce-sizes"]
            return at, sizes.replace(struct.pack(">I", 16), struct.pack(">I", 12))
    sys.exit("device-tree: no third PHB")


def change(debugger, what):
    if "radix" in what:
        debugger.write(TREE, with_radix(read_tree(debugger, TREE)))
    if "lesser" in what:
        debugger.run_to(LINUX)
        tree = debugger.register(3)
        at, sizes = lesser_sizes(read_tree(debugger, tree))
        debugger.write(tree + at, sizes)
    debugger.ask("D")


def main():
    if len(sys.argv) < 2 or set(sys.argv[2:]) - {"radix", "lesser"}:
        sys.exit(__doc__)
    try:
        debugger = Debugger(sys.argv[1])
        try:
            change(debugger, sys.argv[2:])
        except SystemExit:
            debugger.send("k")          # rather than let QEMU wait for ever
            raise
    except OSError as error:
        sys.exit(f"device-tree: QEMU went away: {error}")


main()
