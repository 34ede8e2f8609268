#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Give an emulated POWER9 or POWER10 the radix page sizes that QEMU forgets to announce.

usage: radix-pages.py SOCKET

The processors that QEMU emulates translate 2M and 1G pages, but the device tree of its
powernv machines lacks ibm,processor-radix-AP-encodings, without which Linux takes 4K
and 64K to be all there is.  QEMU waits at its start (-S) with a debugger's port at
SOCKET; this adds the property to each cpu node of the tree in memory and lets it run.
"""

import socket
import struct
import sys
import time

TREE = 0x01000000       # where QEMU leaves the tree for the firmware
ROOM = 0x10000          # the largest it may become
NAME = b"ibm,processor-radix-AP-encodings\0"
# Actual page size of the tlbie instruction in the upper three bits, log2 of the size below.
SIZES = struct.pack(">4I", 0 << 29 | 12, 5 << 29 | 16, 1 << 29 | 21, 2 << 29 | 30)
BEGIN_NODE, END_NODE, PROP, NOP, END = 1, 2, 3, 4, 9


class Debugger:
    """As much of GDB's remote protocol as it takes to read and write memory."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        for _ in range(300):
            try:
                self.socket.connect(path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.1)
        else:
            sys.exit(f"radix-pages: nothing listens at {path}")
        self.file = self.socket.makefile("rwb")

    def ask(self, text):
        packet = text.encode()
        self.file.write(b"$%s#%02x" % (packet, sum(packet) & 0xff))
        self.file.flush()
        while self.file.read(1) != b"$":
            pass
        answer = b""
        while (c := self.file.read(1)) != b"#":
            answer += c
        self.file.read(2)
        self.file.write(b"+")
        self.file.flush()
        return answer.decode()

    def read(self, addr, size):
        data = b""
        while len(data) < size:
            n = min(size - len(data), 1024)
            data += bytes.fromhex(self.ask(f"m{addr + len(data):x},{n:x}"))
        return data

    def write(self, addr, data):
        for at in range(0, len(data), 1024):
            piece = data[at:at + 1024]
            if self.ask(f"M{addr + at:x},{len(piece):x}:{piece.hex()}") != "OK":
                sys.exit("radix-pages: QEMU refuses to write memory")


def pad(size):
    return (size + 3) & ~3


def add_property(tree):
    """The flattened tree with the property in each node /cpus/*; and how many there are."""
    header = list(struct.unpack(">10I", tree[:40]))
    _, _, at, strings_at, reserve_at, _, _, _, strings_size, struct_size = header
    new, depth, path, found, start = b"", 0, [], 0, at
    while at < start + struct_size:
        token, = struct.unpack(">I", tree[at:at + 4])
        size = 4
        if token == BEGIN_NODE:
            name = tree[at + 4:tree.index(b"\0", at + 4)]
            size = 4 + pad(len(name) + 1)
            path.append(name)
        elif token == PROP:
            length, = struct.unpack(">I", tree[at + 4:at + 8])
            size = 12 + pad(length)
        elif token == END_NODE:
            path.pop()
        elif token not in (NOP, END):
            sys.exit("radix-pages: this is no device tree")
        new += tree[at:at + size]
        at += size
        if token == BEGIN_NODE and len(path) == 3 and path[1] == b"cpus" and b"PowerPC" in path[2]:
            new += struct.pack(">3I", PROP, len(SIZES), strings_size) + SIZES
            found += 1
        if token == END:
            break
    strings = tree[strings_at:strings_at + strings_size] + NAME
    reserve = tree[reserve_at:tree.index(b"\0" * 16, reserve_at) + 16]
    reserve += b"\0" * (-len(reserve) % 8)
    header[4] = 40
    header[2] = header[4] + len(reserve)
    header[3] = header[2] + len(new)
    header[8], header[9] = len(strings), len(new)
    header[1] = pad(header[3] + len(strings))
    body = struct.pack(">10I", *header) + reserve + new + strings
    return body + b"\0" * (header[1] - len(body)), found


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    debugger = Debugger(sys.argv[1])
    magic, size = struct.unpack(">2I", debugger.read(TREE, 8))
    if magic != 0xd00dfeed or size > ROOM:
        sys.exit("radix-pages: no device tree where QEMU used to leave it")
    tree, found = add_property(debugger.read(TREE, size))
    if not found:
        sys.exit("radix-pages: no cpu node in the device tree")
    debugger.write(TREE, tree)
    debugger.ask("D")


try:
    main()
except OSError as error:
    sys.exit(f"radix-pages: QEMU went away: {error}")
