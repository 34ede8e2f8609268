# SPDX-License-Identifier: GPL-2.0
# The verbs of the lab.  Plain `make` prints them.

BASE ?= 6.12
B := $(or $(BUILD),build)/$(BASE)
K := $(B)/kernel/vmlinux.boot
MACHINE ?= powernv9
export BASE KERNEL VERSION MINUTES

help:
	@echo 'make run        build everything, boot, watch an NVMe controller do DMA (MACHINE=powernv9)'
	@echo 'make shell      the same guest with a shell in it'
	@echo 'make guest      the same machine as a host: QEMU in it, a guest with an NVMe controller'
	@echo 'make guest-shell  a shell in that host'
	@echo 'make test       every test; SUITE="lint kunit" runs only these'
	@echo 'make test-base  the tests of known defects, on the unmodified kernel and on ours'
	@echo 'make test-debug tests under KASAN; MINUTES=30: only races, so long on each debug kernel'
	@echo 'make test-shapes  other kernels, booted: flat memory, modules, big-endian'
	@echo 'make test-guest all that users do with guests and user-space drivers of the distribution'
	@echo 'make guest-base  most of that on the unmodified kernel and on ours: a table, bench/GUESTS.md'
	@echo 'make coverage   which lines and branches of our files the tests reach'
	@echo 'make locks      which lock is taken under which, against the table in the documentation'
	@echo 'make bench      count instructions: the unmodified kernel, ours, the floor; update bench/RESULTS.md'
	@echo 'make bench-check  ours against bench/RESULTS.md'
	@echo 'make lint       the static checks'
	@echo 'make kunit      the KUnit suites'
	@echo 'make series     dist/*.patch, ready to mail'
	@echo 'make bisect     build after every patch of the series, and run its KUnit tests;'
	@echo '                FROM=30: from the 30th on'
	@echo 'make refresh    take changes made in build/BASE/linux back into patches/ and the overlay'
	@echo 'make adopt      record the version of the base on which make test has just passed'
	@echo 'make clean      remove what was built;  make distclean: and what was downloaded'
	@echo 'BASE=6.12 (default) or 7.3: the kernel to work on; VERSION=newest: not the one that was'
	@echo '                tested last, but what the mirror has today; KERNEL=/path: a tree of yours'

run: setup kernel
	@scripts/boot -n demo $(MACHINE) $(K) $(B)/initrd.img /tests/spapr_tce_demo

shell: setup kernel
	@scripts/boot -i $(MACHINE) $(K) $(B)/initrd.img

guest: setup kernel
	@scripts/guest -n guest $(MACHINE) plain no_ddw killed host

guest-shell: setup kernel
	@scripts/guest -i $(MACHINE)

test: setup
	@scripts/test $(SUITE)

test-base: setup kernel
	@scripts/test-base $(TEST)

test-debug: setup
	@scripts/test $(if $(MINUTES),races-debug races-kasan races-kcsan,kasan)

test-shapes: setup
	@scripts/test shapes

test-guest: setup
	@scripts/test clients

guest-base: setup kernel
	@scripts/guest-base $(CASE)

coverage: setup kernel
	@scripts/coverage $(B)/linux $(B)/coverage $(B)/initrd.img

locks: setup kernel
	@scripts/locks $(B)/linux $(B)/initrd.img

bench: setup tree
	@scripts/bench make

bench-check: setup tree
	@scripts/bench check

lint: setup tree
	@scripts/lint $(B)/linux $(B)/lint

kunit: setup tree
	@scripts/kunit $(B)/linux $(B)

series: setup
	@scripts/series

bisect: setup
	@scripts/bisect $(FROM)

refresh: setup
	@scripts/refresh

adopt:
	@scripts/adopt

# What the verbs above stand on; each step does nothing when nothing changed.
setup:
	@scripts/setup

tree: setup
	@scripts/assemble > /dev/null

kernel: tree programs
	@scripts/lib/build-kernel $(B)/linux $(B)/kernel configs/base.config

programs: tree
	@scripts/lib/selftests $(B)/linux $(B)/selftests
	@scripts/lib/initramfs $(B)/initrd.img $(B)/selftests

clean:
	rm -rf build dist

distclean: clean
	@bash -c '. scripts/lib/common.sh; cd "$$CACHE" 2> /dev/null || exit 0; \
		exec 8>> .lock 9>> .apt-lock; flock 8; flock 9; rm -rf debs drift linux-source-* newest-* gone-* apt.* fetch.*'

.PHONY: help run shell guest guest-shell test test-base test-debug test-shapes test-guest guest-base coverage locks bench bench-check lint kunit series bisect refresh adopt setup tree kernel programs clean distclean
.NOTPARALLEL:
