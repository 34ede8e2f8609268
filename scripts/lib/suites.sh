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

build() { make --no-print-directory kernel && echo "1 passed, 0 failed, 0 skipped"; }
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
# one word, in one boot; `first` is what the guest does before, `initrd` another archive, `more`
# are more options of scripts/boot.
first=: initrd='' more=()
guest() {
	local status=0 run=("$first; $leaks_before") t name=$1 kernel=$2 machine
	read -ra machine <<< "$3"
	shift 3
	for t; do
		run+=("echo '# suite $t'; b=\$(date +%s); /tests/$t; s=\$?; echo; echo \"# suite-end ${t%% *} \$s\";
			echo \"# it took \$((\$(date +%s) - b)) s\";")
	done
	run+=("$leaks_after")
	scripts/boot -n "kselftest-$name" ${more[@]+"${more[@]}"} "${machine[@]}" "$kernel" "${initrd:-$B/initrd.img}" \
		"${run[*]}" > "$LOGS/$name.tap" || status=$?
	cat "$LOGS/$name.tap"
	tap_sum < "$LOGS/$name.tap"
	return "$status"
}
# tests [OPTION...] PATTERN: those whose names match, for grep.  spapr_tce_dlpar would skip all
# of its tests on any machine but pseries, which names its programs itself.
tests() { mapfile -t tests < <(grep -vx spapr_tce_dlpar "$B/selftests/tests.list" | grep -E "$@"); }
ours() { make --no-print-directory kernel; }
# A third controller, at a lesser PHB; time for a machine that has other work.
three='-d 3 -l -t 1500'
# Radix pages of 2M and 1G, one hugepage of 1G, and 2G of memory besides.
huge="$three -r -m 5G -a hugepagesz=1G -a hugepages=1"
# Only this machine has the PHB that the KUnit suite of real mode needs.
real_mode() {
	local status=0 results=/sys/kernel/debug/kunit/pnv_tce_rm/results
	scripts/lib/build-kernel "$B/linux" "$B/kunit" configs/base.config configs/kunit.config || return
	scripts/boot -n real-mode -a 'kunit.enable=1 kunit.autorun=1 kunit.filter_glob=pnv_tce_rm' -q '-device edu,bus=pcie.2' \
		powernv8 "$B/kunit/vmlinux.boot" "$B/initrd.img" \
		"echo '# suite pnv_tce_rm'; sed -n 's/^    //p' $results; ! grep -q '^ *not ok' $results; echo \"# suite-end pnv_tce_rm \$?\"" \
		> "$LOGS/powernv8-real-mode.tap" || status=$?
	cat "$LOGS/powernv8-real-mode.tap"
	tap_sum < "$LOGS/powernv8-real-mode.tap"
	return "$status"
}
# Addresses that real mode uses, looked at by a plugin, which wants one processor.
real_addresses() {
	local status=0 addresses=$B/bench/addresses tap=$LOGS/powernv8-addresses.tap verdict=ok
	scripts/lib/plugin "$B/bench" "$B/kernel" || return
	rm -f "$addresses"
	guest powernv8-addresses "$B/kernel/vmlinux.boot" \
		"-s 1 -m 2G -p $B/bench/count.so,out=$addresses,syms=$B/bench/kernel.syms,real=0x80000000 powernv8" \
		spapr_tce_kvm_rm spapr_tce_kvm_random || status=$?
	grep -qx 'real [1-9][0-9]* 0' "$addresses" || verdict='not ok' status=1
	printf '%s\n' '# suite real-mode' 1..1 "$verdict 1 I9_addresses_are_linear" "$(sed 's/^/# /' "$addresses")" \
		"# suite-end real-mode $status" | tee -a "$tap"
	return "$status"
}
# What is the same on all machines, and takes minutes, is seen on powernv9; with locks looked at,
# in the suite kasan.
everywhere='spapr_tce_(sweep|errno|delay|delay_much)'
# QEMU before 8.2 dies of a store to a device while another of its threads changes where
# devices are (fixed by its commit 0d58c660689f).  These programs move devices beside
# requests, and a request stores to the PHB only on this machine: one thread for them.  And the
# host's drivers go through our tables beside them.
powernv8() {
	local status=0 moving='spapr_tce_(random|hotplug|handback|kvm_groups)'
	ours || return
	real_mode || status=$?
	real_addresses || status=$?
	tests -vE "^($moving|spapr_tce_([a-z]+_)?fault|spapr_tce_kvm_(rm|random)|$everywhere)( |$)"
	guest powernv8 "$B/kernel/vmlinux.boot" "$three powernv8" "${tests[@]}" || status=$?
	tests -E "^$moving( |$)"
	guest powernv8-moving "$B/kernel/vmlinux.boot" "$three -1 -a iommu=nobypass powernv8" "${tests[@]}" || status=$?
	cat "$LOGS"/powernv8{-real-mode,-addresses,,-moving}.tap | tap_sum
	return "$status"
}
# The fourth PHB has two controllers in one group. In the second boot most memory is CMA, which
# serves first there, so that whatever is pinned must move; that takes longer.
powernv9() {
	local status=0
	ours || return
	# There would be nothing but skips without the debug kernel.
	tests -vx 'spapr_tce_([a-z]+_)?fault'
	guest powernv9 "$B/kernel/vmlinux.boot" "$huge -d 5 -f powernv9" "${tests[@]}" || status=$?
	guest powernv9-cma "$B/kernel/vmlinux.boot" '-m 4G -a kvm_cma_resv_ratio=60 powernv9' \
		'spapr_tce_regions -f cma' || status=$?
	cat "$LOGS"/powernv9{,-cma}.tap | tap_sum
	return "$status"
}
# Another base, or another PHB of the same kind, differs in what our code calls, and that does not
# depend on who comes first.  The host's drivers go through our tables there, too.
long='spapr_tce_((kvm_)?(race.*|random|life)|sweep|errno|delay.*|orders|kvm_stopped)'
short() {
	tests -vE "^(spapr_tce_([a-z]+_)?fault|spapr_tce_eeh|$long)( |$)"
	guest "$suite" "$1" "$huge -a iommu=nobypass -a kunit.enable=0 powernv10" "${tests[@]}"
}
brief() {
	local status=0 k=$B/kunit/vmlinux.boot
	make --no-print-directory programs || return
	scripts/lib/build-kernel "$B/linux" "$B/kunit" configs/base.config configs/kunit.config || return
	short "$k" || status=$?
	guest brief-eeh "$k" "$huge -a kunit.enable=0 powernv9" spapr_tce_eeh || status=$?
	cat "$LOGS"/brief{,-eeh}.tap | tap_sum
	return "$status"
}
powernv10() {
	ours || return
	short "$B/kernel/vmlinux.boot"
}
# The kernel's own tests, on a device that goes by /dev/iommu.  They take it for granted that a BAR
# is as large as a page, which this many vectors achieve.  There is no TYPE1 driver on powerpc, which
# their variants vfio_type1* assert.  Two tests want igb, which QEMU has from 8 on: a BAR of it is
# smaller than a page of 64K, and where a page has 4K, a map of 1G takes longer than the 30 s they have.
upstream() {
	local initrd=$B/upstream/initrd.img no=() v test dev=0002:01:00.0 first more
	ours && scripts/lib/upstream-tests "$B/upstream" && scripts/lib/initramfs "$initrd" "$B/upstream/programs" || return
	for v in vfio_type1{,v2}_iommu{,_anonymous{,_hugetlb_2mb,_hugetlb_1gb}}; do no+=(-V "$v"); done
	tests=(vfio_iommufd_setup_test vfio_pci_device_test)
	for test in vfio_dma_mapping_test vfio_dma_mapping_mmio_test vfio_pci_device_init_perf_test; do
		tests+=("$test ${no[*]}")
	done
	first="cd /sys/bus/pci; echo vfio-pci > devices/$dev/driver_override; echo $dev > drivers/nvme/unbind; echo $dev > drivers_probe"
	more=(-q '-device nvme,serial=many,msix_qsize=2048,bus=pcie.2')
	guest upstream "$B/kernel/vmlinux.boot" '-r -m 4G -a hugepagesz=1G -a hugepages=1 -a hugepagesz=2M -a hugepages=8 powernv9' \
		"${tests[@]/%/ $dev}"
	echo "left out: vfio_pci_driver_test, vfio_pci_sriov_uapi_test: no device here that they can use"
}
# Its tables have one level, there is one window beside the default one, and pages of 4K make that the
# default one.  It has no paging domains.  Its hypervisor lets it have guests of its own.  A group is all
# of a PHB; the last program takes a PHB away with each test.  Older firmware has no dynamic windows.
pseries() {
	local status=0 k=$B/kernel/vmlinux.boot i more=(-d 1)
	for i in 1 2; do more+=(-q "-device spapr-pci-host-bridge,index=$i -device nvme,serial=more$i,bus=pci.$i"); done
	ours || return
	guest pseries "$k" pseries 'spapr_tce_dma -v default_4K -v second_64K_1_level' 'spapr_tce_life -f v1' spapr_tce_groups \
		'spapr_tce_kvm -V second_window -V K10_second_window_1M_to_64K' \
		'spapr_tce_kvm_links -T set_of_a_table_that_does_not_fit' \
		'spapr_tce_kvm_life -T K19_new_window_and_link_after_remove -T K5_memory_of_windows_that_were_removed -T K13_set_again' \
		'spapr_tce_kvm_groups -f one' spapr_tce_kvm_lists spapr_tce_kvm_stopped || status=$?
	guest pseries-dlpar "$k" pseries spapr_tce_dlpar || status=$?
	more+=(-q '-global spapr-pci-host-bridge.ddw=off')
	guest pseries-no-ddw "$k" pseries 'spapr_tce_dma -v default_4K' 'spapr_tce_life -f v1' 'spapr_tce_kvm -v linked_4K' || status=$?
	cat "$LOGS"/pseries{,-dlpar,-no-ddw}.tap | tap_sum
	return "$status"
}

# Guests of the distribution's QEMU, in each kind of host: `in_host NAME OPTION... MACHINE CASE...`.
hosts=()
in_host() {
	hosts+=("$LOGS/guest-$1.tap")
	scripts/guest -n "guest-$1" "${@:2}" > "$LOGS/guest-$1.tap" || status=1
	cat "$LOGS/guest-$1.tap"
}
guests() {
	local status=0
	ours || return
	in_host powernv8 powernv8 plain no_ddw killed
	in_host powernv9 powernv9 plain no_ddw killed
	in_host powernv10 powernv10 plain no_ddw killed
	cat "${hosts[@]}" | tap_sum
	return "$status"
}
# Whatever users do.  In the host with the hash MMU, guests have it too.
clients() {
	local status=0 k=(-k "$B/guest/vmlinux.boot") same='plain no_ddw killed migration'
	make --no-print-directory programs || return
	scripts/lib/build-kernel "$B/linux" "$B/guest" configs/{base,guest}.config || return
	# shellcheck disable=SC2086 # one word each
	{
		in_host all-powernv8 "${k[@]}" powernv8 $same two_groups resets host
		in_host all-powernv10 "${k[@]}" powernv10 $same two_groups host
		in_host all-hash "${k[@]}" -o '-a disable_radix' powernv9 $same two_groups memory_comes_and_goes host
		in_host all-powernv9 "${k[@]}" -o '-r -t 5400' powernv9 $same two_groups two_containers one_group \
			memory_comes_and_goes device_comes_and_goes resets kexecs default_window_removed slof tcg \
			limit_suffices limit_lacks_a_page user_namespace memory_cgroup memory_cgroup_full testpmd_huge host
	}
	# The kernel of the suite debug, for its pages of 4K.
	scripts/lib/build-kernel "$B/linux" "$B/debug" configs/{base,debug}.config &&
		in_host all-4K -k "$B/debug/vmlinux.boot" powernv9 testpmd || status=1
	cat "${hosts[@]}" | tap_sum
	return "$status"
}

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
# iommufd_alone KERNEL SECONDS: what goes by /dev/iommu, in a boot of its own.  iommufd pins memory
# under locks that taking a device away needs, too, and so waits for the mmap_lock.  Containers
# tell lockdep that the mmap_lock may be held for as long as such a device stays (the map
# vfio_unbind); of both in one boot it says that they do not go together, which is iommufd's.
iommufd_alone() {
	local status=0
	tests '^spapr_tce_iommufd'
	[ "$1" = debug ] || tests -x 'spapr_tce_iommufd'
	guest "$1-iommufd" "$B/$1/vmlinux.boot" "$huge -m 4G -t $2 powernv9" "${tests[@]}" || status=$?
	cat "$LOGS/$1.tap" "$LOGS/$1-iommufd.tap" | tap_sum
	return "$status"
}
debug() {
	local status=0
	with debug 2700 -vE "^(spapr_tce_iommufd.*|$everywhere)( |$)" || status=$?
	iommufd_alone debug 1200 || status=$?
	return "$status"
}
# KASAN keeps what was freed for a while, so free memory and slabs say nothing; and is slow.
in_kasan='s/^spapr_tce_errno$/& -T bad_input_costs_nothing/
	s/^spapr_tce_regions$/& -T R1_C12_a_thousand_deaths/
	s/^spapr_tce_race_first$/& -T C6_the_mm_is_taken_once/'
kasan() {
	local skip=$in_kasan status=0
	with kasan 7200 -vE '^spapr_tce_(((kvm|kill|window)_)?fault|iommufd)' || status=$?
	iommufd_alone kasan 1800 || status=$?
	return "$status"
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
