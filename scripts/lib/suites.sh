# shellcheck shell=bash disable=SC2154 # B, LOGS, suite are the caller's
# SPDX-License-Identifier: GPL-2.0
# The suites of scripts/test, a function each: what it prints ends with
# "N passed, N failed, N skipped".  Sourced, never run.

host() {
	local status=0
	make -C tests/host > "$LOGS/host.tap" 2>&1 || status=$?
	grep -q '^# suite-end ' "$LOGS/host.tap" || echo "# suite-end host $status" >> "$LOGS/host.tap"
	cat "$LOGS/host.tap"
	tap_sum < "$LOGS/host.tap"
	return "$status"
}

models() {
	local status=0
	tests/models/run > "$LOGS/models.tap" 2>&1 || status=$?
	echo "# suite-end models $status" >> "$LOGS/models.tap"
	cat "$LOGS/models.tap"
	tap_sum < "$LOGS/models.tap"
	return "$status"
}

drift() {
	local status=0
	tests/drift/drift.py > "$LOGS/drift.tap" || status=$?
	cat "$LOGS/drift.tap"
	tap_sum < "$LOGS/drift.tap"
	return "$status"
}

build() { make --no-print-directory guest && echo "1 passed, 0 failed, 0 skipped"; }
lint() { scripts/lint "$B/linux" "$B/lint"; }
kunit() { scripts/kunit "$B/linux" "$B"; }

# What a kernel that looks for leaks has lost since `leaks_before`, as a test of its own.  It
# reports what it has found twice, and what is five seconds old.
leaks=/sys/kernel/debug/kmemleak
leaks_before="! [ -e $leaks ] || { echo scan > $leaks; echo clear > $leaks; };"
leaks_after="if [ -e $leaks ] || [ \"\$LEAKS\" ]; then
	echo '# suite kmemleak'; echo 1..1
	sleep 6; s=0; { echo scan > $leaks && echo scan > $leaks && cat $leaks; } > /tmp/leaks 2>&1 || s=1
	sed 's/^/# /' /tmp/leaks; [ ! -s /tmp/leaks ] || s=1
	if [ \$s = 0 ]; then echo 'ok 1 nothing was lost'; else echo 'not ok 1 nothing was lost'; fi
	echo \"# suite-end kmemleak \$s\"; fi;"
# guest NAME KERNEL "[OPTION...] MACHINE" TEST...: kselftests, each with its options as
# one word, in one boot; `first` is what the guest does before, `initrd` another archive.
first=: initrd=
guest() {
	local status=0 run=("$first; $leaks_before") t name=$1 kernel=$2 machine
	read -ra machine <<< "$3"
	shift 3
	for t; do
		run+=("echo '# suite $t'; /tests/$t; s=\$?; echo; echo \"# suite-end ${t%% *} \$s\";")
	done
	run+=("$leaks_after")
	scripts/boot -n "kselftest-$name" "${machine[@]}" "$kernel" "${initrd:-$B/initrd.img}" \
		"${run[*]}" > "$LOGS/$name.tap" || status=$?
	cat "$LOGS/$name.tap"
	tap_sum < "$LOGS/$name.tap"
	return "$status"
}
# tests [OPTION...] PATTERN: those whose names match, for grep.
tests() { mapfile -t tests < <(grep -E "$@" "$B/selftests/tests.list"); }
ours() { make --no-print-directory guest; }
# All but those that need what only the debug kernel has; there would be nothing but skips.
every_test() {
	tests -vx 'spapr_tce_(kvm_|iommufd_)?fault'
	guest "$1" "${3:-$B/kernel/vmlinux.boot}" "$2" "${tests[@]}"
}
# A third controller, at a lesser PHB; time for a machine that has other work.
three='-d 3 -l -t 1500'
# Radix pages of 2M and 1G, one hugepage of 1G, and 2G of memory besides.
huge="$three -r -m 5G -a hugepagesz=1G -a hugepages=1"
# QEMU before 8.2 dies of a store to a device while another of its threads changes where
# devices are (fixed by its commit 0d58c660689f).  These programs move devices beside
# requests, and a request stores to the PHB only on this machine: one thread for them.
powernv8() {
	local status=0 moving='spapr_tce_(random|hotplug|handback|kvm_groups)'
	ours || return
	tests -vE "^($moving|spapr_tce_(kvm_|iommufd_)?fault)( |$)"
	guest powernv8 "$B/kernel/vmlinux.boot" "$three powernv8" "${tests[@]}" || status=$?
	tests -E "^$moving( |$)"
	guest powernv8-moving "$B/kernel/vmlinux.boot" "$three -1 powernv8" "${tests[@]}" || status=$?
	cat "$LOGS"/powernv8{,-moving}.tap | tap_sum
	return "$status"
}
# The fourth PHB has two controllers in one group. In the second boot most memory is CMA, which
# serves first there, so that whatever is pinned must move; that takes longer.
powernv9() {
	local status=0
	ours || return
	every_test powernv9 "$huge -d 5 -f powernv9" || status=$?
	guest powernv9-cma "$B/kernel/vmlinux.boot" '-m 4G -a kvm_cma_resv_ratio=60 powernv9' \
		'spapr_tce_regions -f cma' || status=$?
	cat "$LOGS"/powernv9{,-cma}.tap | tap_sum
	return "$status"
}
brief() {
	make --no-print-directory programs || return
	scripts/lib/build-kernel "$B/linux" "$B/kunit" configs/base.config configs/kunit.config || return
	every_test brief "$huge -a kunit.enable=0 powernv9" "$B/kunit/vmlinux.boot"
}
# The host's drivers go through our tables here, too.  What is the same on all machines, and takes
# minutes, has been seen on the others.
powernv10() {
	ours || return
	tests -vE '^spapr_tce_(fault|iommufd_fault|kvm_(fault|race|stopped)|sweep|eeh|errno|delay_much)( |$)'
	guest powernv10 "$B/kernel/vmlinux.boot" "$huge -a iommu=nobypass powernv10" "${tests[@]}"
}
pseries() { ours && guest pseries "$B/kernel/vmlinux.boot" pseries 'spapr_tce_dma -v default_4K -v second_64K_1_level' 'spapr_tce_life -f v1' spapr_tce_groups; }

# with KERNEL SECONDS PATTERN...: tests on a kernel with configs/KERNEL.config; `skip`
# edits their list.
skip=
with() {
	! impossible "$1" || return
	make --no-print-directory programs || return
	scripts/lib/build-kernel "$B/linux" "$B/$1" configs/base.config "configs/$1.config" || return
	tests "${@:3}"
	mapfile -t tests < <(printf '%s\n' "${tests[@]}" | sed "$skip")
	! grep -q '^CONFIG_DEBUG_KMEMLEAK=y' "configs/$1.config" || local first="$first; export LEAKS=1"
	guest "$suite" "$B/$1/vmlinux.boot" "$huge -m 4G -t $2 powernv9" "${tests[@]}"
}
debug() { with debug 2700 .; }
# KASAN keeps what was freed for a while, so free memory and slabs say nothing; and is slow.
in_kasan='s/^spapr_tce_errno$/& -T bad_input_costs_nothing/
	s/^spapr_tce_regions$/& -T R1_C12_a_thousand_deaths/
	s/^spapr_tce_race_first$/& -T C6_the_mm_is_taken_once/'
kasan() {
	local skip=$in_kasan
	with kasan 7200 -vx 'spapr_tce_(kvm_|iommufd_)?fault'
}
# The minutes are shared out among the tests (variants times names) that the programs list.
races() {
	local racing='race|random|delay' minutes=${MINUTES:-30} first
	first="n=\$(for t in \$(ls /tests | grep -E '$racing'); do /tests/\$t -l 2>&1; done | awk '
		/^# FIXTURE|^---/ { n += t * (v ? v : 1); t = v = 0; next }
		{ v += substr(\$0, 22, 25) ~ /[^ ]/; t += length > 47 }
		END { print n + t * (v ? v : 1) }')
		export SPAPR_TCE_SECONDS=\$(($minutes * 60 / n + 1)); echo \"# \$n tests, \$SPAPR_TCE_SECONDS s each\""
	with "$1" $((minutes * 180 + 3600)) "$racing"
}
races-debug() { races debug; }
races-kasan() {
	local skip=$in_kasan
	races kasan
}
races-kcsan() { races kcsan; }

# Other kernels, booted.  The sums of the parts become one.
shapes() {
	local part status=0 sums=''
	scripts/setup shapes && make --no-print-directory programs || return
	for part in flat modules big-endian big-endian-kunit; do
		echo "## $part"
		"$part" > "$LOGS/shapes-$part.log" || status=1
		cat "$LOGS/shapes-$part.log"
		sums+=$(tail -n 1 "$LOGS/shapes-$part.log")$'\n'
	done
	awk '{ p += $1; f += $3; s += $5 } END { print p " passed, " f " failed, " s " skipped" }' <<< "$sums"
	return "$status"
}
flat() { suite=flat with flat 1800 -E '^spapr_tce_(dma|regions|life|windows|pages|errno|groups)( |$)'; }
modules() {
	local initrd=$B/modules/initrd.img source=$B/linux/tools/testing/selftests/vfio/spapr_tce
	scripts/lib/build-kernel "$B/linux" "$B/modules" configs/base.config configs/modules.config || return
	mkdir -p "$B/modules/hold"
	"${CROSS_COMPILE}gcc" -static -O2 -Wall -D_GNU_SOURCE -isystem "$B/selftests/usr/include" -I "$source" \
		-o "$B/modules/hold/hold" tests/shapes/hold.c "$source"/lib/{spapr_tce,nvme}.c &&
		scripts/lib/initramfs "$initrd" "$B/selftests" tests/shapes "$B/modules/hold" &&
		cat "$B/modules/modules.cpio.gz" >> "$initrd" || return
	guest modules "$B/modules/vmlinux.boot" '-t 2700 powernv9' modules
}
# One kernel for both parts.
big-endian-kunit() {
	scripts/kunit "$B/linux" "$B/big-endian" configs/{base,kunit,big-endian}.config
}
# No busybox there: tests/shapes/init.c starts what its list names.
big-endian() {
	local out=$B/big-endian cross=powerpc64-linux-gnu- status=0 t
	scripts/lib/build-kernel "$B/linux" "$out/kunit" configs/{base,kunit,big-endian}.config &&
		CROSS_COMPILE=$cross scripts/lib/selftests "$B/linux" "$out/selftests" || return
	rm -rf "$out/root" && mkdir -p "$out"/root/{dev,tests} &&
		"${cross}gcc" -static -O2 -Wall -Wextra -o "$out/root/init" tests/shapes/init.c || return
	for t in dma life windows regions errno; do
		t=spapr_tce_$t
		cp "$out/selftests/$t" "$out/root/tests" && echo "$t" || return
	done > "$out/list"
	(cd "$out/root" && find . | sort | cpio --quiet -o -H newc -R 0:0) | gzip -n -1 > "$out/initrd.img"
	scripts/boot -n big-endian -d 3 -l -m 4G -t 1800 -a kunit.enable=0 powernv9 "$out/kunit/vmlinux.boot" \
		"$out/initrd.img" "$(cat "$out/list")" > "$LOGS/big-endian.tap" || status=$?
	cat "$LOGS/big-endian.tap"
	tap_sum < "$LOGS/big-endian.tap"
	return "$status"
}
