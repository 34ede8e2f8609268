# SPDX-License-Identifier: GPL-2.0
"""Boot a kernel as often as it takes to judge each of some tests, for scripts/test-base.

A guest runs tests one by one, and says in the kernel's log when one begins and how it
ended.  After a complaint, crash or hang the rest goes on in a new boot; where another
test failed earlier in the same boot, so does the one that ended it: it may have met
what that left behind.
"""

import collections
import os
import re
import subprocess
import sys
import threading
import time

B = os.environ["B"]
LIMIT = 300 + 2 * int(os.environ["SPAPR_TCE_SECONDS"])      # seconds for one test
COSTLY = ("hangs", "crashes", "complains")      # each takes a boot
KERNELS = {"base": "base-kernel", "ours": "kernel"}
GUEST = r"""
export SPAPR_TCE_SECONDS=%(SPAPR_TCE_SECONDS)s
say() { echo "defects: $*" > /dev/kmsg; }
judge() {
	[ ! -e /tmp/over ] || return
	rm -f /tmp/status
	say $1 begins $3
	(/tests/$2 -r $3 > /tmp/out 2>&1; echo $? > /tmp/status) &
	left=$((%(LIMIT)s * 4))
	while [ ! -s /tmp/status ] && [ $((left -= 1)) -gt 0 ]; do sleep 0.25; done
	cat /tmp/out
	if [ ! -s /tmp/status ]; then say $1 hangs; poweroff -f; fi
	sleep 0.5
	if dmesg -c | grep -E '%(complaints)s' | grep -qvE '%(no_complaints)s'; then
		say $1 complains; touch /tmp/over
	elif ! grep -q '^1[.][.]1' /tmp/out; then say $1 unknown
	elif [ "$(cat /tmp/status)" != 0 ]; then say $1 fails
	elif grep -q '^ok .*# SKIP' /tmp/out; then say $1 skips
	else say $1 passes; fi
}
dmesg -c > /dev/null
"""
def ids(name):
    """The items a test belongs to, by its name."""
    return re.findall(r"(?<![A-Za-z0-9])([CRTK]\d+)(?=_)", name)


Test = collections.namedtuple("Test", "program name")


def start(name, kernel, command, *options):
    """A boot of `kernel` that runs `command`, and its console."""
    log = f"{B}/logs/{name}.log"
    if os.path.exists(log):
        os.remove(log)
    return log, subprocess.Popen(
        ["scripts/boot", "-n", name, "-t", "100000", *options, "powernv9",
         f"{B}/{kernel}/vmlinux.boot", f"{B}/initrd.img", command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def list_tests():
    """What the programs' -l says: columns of fixtures, variants and tests side by side."""
    with open(B + "/selftests/tests.list", encoding="ascii") as f:
        # There would be nothing but skips without the debug kernel.
        programs = [name for name in f.read().split() if not name.endswith("fault")]
    _, guest = start("defects-list", "kernel", "for p in %s; do echo program $p; /tests/$p -l 2>&1; done; true"
                     % " ".join(programs), "-d", "0")
    blocks = []
    for line in guest.communicate()[0].splitlines():
        if line.startswith("program "):
            program, lists = line.split()[1], False
        elif line.startswith("# FIXTURE"):
            blocks.append((program, [], [], []))
            lists = True        # not every program is one of the harness
        elif lists and line.startswith("----"):
            blocks.append((program, [], [], []))
        elif lists:
            # A long name moves what stands right of it.
            for cell in re.finditer(r"\S+", line):
                blocks[-1][{0: 1, 21: 2}.get(cell.start(), 3)].append(cell.group())
    tests = [Test(program, ".".join(filter(None, (fixture[0], variant, test))))
             for program, fixture, variants, names in blocks
             for variant in variants or [""] for test in names]
    return tests or sys.exit(f"test-base: no tests listed; see {B}/logs/defects-list.log")


class Kernel(threading.Thread):
    """One kernel's verdicts; `gate` bounds the emulators at work."""

    def __init__(self, name, tests, gate):
        super().__init__(daemon=True)
        self.kernel, self.tests, self.gate, self.verdicts = name, list(tests), gate, {}

    def boot(self, number, todo):
        """[(test, verdict)] as far as one boot comes."""
        command = GUEST % {**os.environ, "LIMIT": LIMIT} + "".join(
            f"judge {i} {test.program} {test.name}\n" for i, test in enumerate(todo))
        log, guest = start(f"defects-{self.kernel}-{number}", KERNELS[self.kernel], command,
                           "-r", "-d", "3", "-l", "-m", "3G", "-a", "hugepagesz=1G hugepages=1 slab_debug=FP")
        size, since, silent = 0, time.time(), False
        while guest.poll() is None:
            time.sleep(1)
            now = os.path.getsize(log) if os.path.exists(log) else 0
            if now != size:
                size, since = now, time.time()
            silent = time.time() - since > LIMIT + 120
            if silent:
                guest.terminate()
                guest.wait()
        with open(log, encoding="utf-8", errors="replace") as f:
            marks = re.findall(r"\] defects: (\d+) (\w+)", f.read())
        found = [(todo[int(i)], what) for i, what in marks if what != "begins"]
        begun = [todo[int(i)] for i, what in marks if what == "begins"]
        if begun[len(found):]:
            found.append((begun[-1], "hangs" if silent else "crashes"))
        elif found and guest.returncode == 3:
            found[-1] = found[-1][0], "complains"
        return found

    def spare(self, todo):
        """One test is enough to show an item, and each that breaks the kernel takes a boot."""
        shown = {i for test, verdict in self.verdicts.items() if verdict in (*COSTLY, "fails")
                 for i in ids(test.name)}
        for test in [t for t in todo if shown.issuperset(ids(t.name))]:
            todo.remove(test)
            self.tests.remove(test)

    def run(self):
        number, todo = 0, list(self.tests)
        while todo and number < 100:
            with self.gate:
                number += 1
                found = self.boot(number, todo)
            good = [what for _, what in found[:-1]]
            if found and found[-1][1] in COSTLY and "fails" in good:
                found.pop()
            self.verdicts.update(found)
            todo = todo[len(found):]
            if self.kernel == "base":
                self.spare(todo)
            last = f", {found[-1][0].name} {found[-1][1]}" if found else ""
            print(f"test-base: {self.kernel}, boot {number}: {len(self.verdicts)} of {len(self.tests)}{last}",
                  file=sys.stderr, flush=True)
