# SPDX-License-Identifier: GPL-2.0
"""The debugger's port of QEMU."""

import socket
import sys
import time


class Debugger:
    """As much of GDB's remote protocol as it takes."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        for _ in range(300):
            try:
                self.socket.connect(path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.1)
        else:
            sys.exit(f"debugger: nothing listens at {path}")
        self.file = self.socket.makefile("rwb")

    def send(self, text):
        packet = text.encode()
        self.file.write(b"$%s#%02x" % (packet, sum(packet) & 0xff))
        self.file.flush()

    def ask(self, text):
        self.send(text)
        answer = b""
        while (c := self.file.read(1)) != b"#":
            if not c:
                raise OSError("it closed the connection")
            answer = b"" if c == b"$" else answer + c
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
                sys.exit("debugger: QEMU refuses to write memory")

    def run_to(self, addr):
        self.ask(f"Z0,{addr:x},4")
        self.ask("c")
        self.ask(f"z0,{addr:x},4")

    def register(self, number):
        self.ask("qXfer:features:read:target.xml:0,ff")     # without it QEMU tells none
        return int(self.ask(f"p{number:x}"), 16)
