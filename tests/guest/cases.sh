# shellcheck shell=dash disable=SC1091,SC2015,SC2016,SC2034,SC2086,SC2119,SC2120,SC2154 # variables of lib.sh and run
# SPDX-License-Identifier: GPL-2.0
# What guests do with devices that they are given: a function each.  Sourced by tests/guest/run.
disks=$(grep -l '^0x0108' /sys/bus/pci/devices/*/class | cut -d / -f 6)
nth() { echo "$disks" | sed -n "$1p"; }
first=$(nth 1) second=$(nth 2)
vfio="vfio-pci,host=$first"

# use DISK...: the guest reads what was on each, and writes to a place where nobody has.
use() {
	for disk; do
		tell 120 "read_disk $disk 0 8" && tell 120 "write_disk $disk $at 4" || return
	done
	at=$((at + 4))
}
holds() { echo "# QEMU has $(locked) kB locked, $(($(pinned) - pinned_before)) pages are pinned"; }
# Hypercalls that KVM has carried out in real mode, and those it has passed on, if it counts them.
real_mode() {
	real_mode=
	for counter in /sys/kernel/debug/kvm/tce_rm_done /sys/kernel/debug/kvm/tce_rm_too_hard; do
		[ ! -e $counter ] || real_mode="$real_mode ${counter##*/} $(cat $counter)"
	done
	[ -z "$real_mode" ] || echo "# KVM:$real_mode"
}
seen() {
	holds
	real_mode
	tell 60 devices
	view
	data
	windows
}
# a_guest OPTION...: boots, uses its disk, powers off.
a_guest() {
	start guest -device "$vfio" "$@" && use disk0 || { ending; return 1; }
	seen
	stop
}
made() { grep -q "vfio_spapr_create_window.*$1" "$out.trace"; }
window=0x800000000000000

# The guest makes a window of 64 bits, beside that of 32.
plain() {
	a_guest || return
	made $window || fail "no window at 1<<59"
}

# There is only the window of 32 bits.
no_ddw() {
	append=disable_ddw
	a_guest || return
	! made $window || fail "a window at 1<<59 all the same"
	grep -q '^cpu.*POWER8' /proc/cpuinfo || return 0
	case $real_mode in *'tce_rm_done 0 '*) fail "KVM has done nothing in real mode" ;; esac
}

# QEMU dies while its guest uses the disk.
killed() {
	start guest -device "$vfio" && tell 30 'busy disk0' || { ending; return 1; }
	sleep 2
	holds
	[ "$(pinned)" -gt "$pinned_before" ] || fail "nothing was pinned"
	kill_qemu
}

# Three guests, each from the start of QEMU to the end of its first read, for the plugin that counts.
# The first one of a host costs it memory for good, 80 MB with one processor; no other one does.
counted() {
	patience=900
	for round in 1 2 3; do
		/guest/mark 1
		start guest -device "$vfio" && tell 300 'read_disk disk0 0 8' || { ending; return 1; }
		/guest/mark 2
		data
		stop || return
		[ $round != 1 ] || memory_before=$(memory)
	done
}

# The host's own driver finds all that the guests have left.
host() {
	bind nvme $disks || return
	. "$here/functions"
	sleep 1
	read_disk disk0 0 8 | sed 's/^/# /'
	write_disk disk0 "$at" 4 > $dir/host || fail "the host's driver does not read what it wrote"
	sed 's/^/# /' $dir/host
	at=$((at + 4))
	bind vfio-pci $disks
}

# Firmware that is a program of its own, and looks at the devices.
slof() {
	vof=off patience=600
	a_guest
}

# Each TCE of the guest goes to user space, which makes a MAP or UNMAP of it.  Two emulators, one in the
# other: booting takes minutes, and powering off more than one, so QEMU is told to end.
tcg() {
	accel=tcg mem=256M patience=480
	start guest -device "$vfio" && use disk0 || { ending; return 1; }
	seen
	qmp quit && wait_for 60 gone || { ending; fail "QEMU does not end"; return; }
	wait "$pid"
	status=$?
	closed
	[ "$status" = 0 ] || fail "QEMU's status is $status"
}

# two OPTION...: a guest with two disks.
two() {
	start guest "$@" && use disk0 "$other" || { ending; return 1; }
	seen
	stop
}
two_groups() {
	other=disk1
	two -device "$vfio" -device "vfio-pci,host=$second"
}
# A bridge each for the guest, so a container each, and the same memory in both.
two_containers() {
	other=disk1
	two -device "$vfio" -device spapr-pci-host-bridge,index=1,id=more -device "vfio-pci,host=$second,bus=more.0"
}
one_group() {
	third=$(nth 3)
	[ "$(group "$third")" = "$(group "$(nth 4)")" ] || { fail "these devices are in two groups"; return; }
	start guest -device "vfio-pci,host=$third" -device "vfio-pci,host=$(nth 4)" && use disk2 disk3 || { ending; return 1; }
	seen
	stop
}

# The guest gets 256 MB more, uses the disk, and loses them.  Its kernel knows nothing of NUMA and so
# makes a window of 64 bits for the memory it has booted with, and yet gives the disk addresses beyond.
memory_comes_and_goes() {
	append='disable_ddw memhp_default_state=online_movable'
	start guest -m 512M,slots=2,maxmem=1G -device "$vfio" && tell 60 "memory=\$(sed -n '/MemTotal/s/[^0-9]//gp' /proc/meminfo)" ||
		{ ending; return 1; }
	holds
	for round in 1 2 3; do
		little=$(locked)
		qmp object-add '"qom-type": "memory-backend-ram", "id": "memory", "size": 268435456' &&
			qmp device_add '"driver": "pc-dimm", "id": "dimm", "memdev": "memory"' ||
			{ fail "no memory comes: $answer"; ending; return 1; }
		more='[ $(sed -n "/MemTotal/s/[^0-9]//gp" /proc/meminfo) -gt $((memory + 200000)) ]'
		tell 60 "n=0; until $more; do sleep 0.2; n=\$((n + 1)); [ \$n -lt 100 ] || break; done; $more" || break
		[ $(($(locked) - little)) = 262144 ] || fail "VmLck grew by $(($(locked) - little)) kB"
		holds
		use disk0 || break
		unplugged=$(grep -c DEVICE_DELETED "$out.qmp")
		qmp device_del '"id": "dimm"' || { fail "no memory goes: $answer"; break; }
		wait_for 60 event DEVICE_DELETED $((unplugged + 1)) || { fail "the guest keeps the memory"; break; }
		qmp object-del '"id": "memory"' || { fail "the memory stays: $answer"; break; }
		[ "$(locked)" = "$little" ] || fail "VmLck is $(locked) kB, not $little"
		holds
	done
	use disk0 || { ending; return 1; }
	seen
	stop
}

# again HOW: the guest has booted once more, by itself or because of us.
again() {
	wait_for 180 grep -aq GUEST-READY "$out.con" || { fail "the guest does not come back"; return; }
	sent=0
}
# Twenty boots of one QEMU: half by the guest, half by the monitor, those while the disk is busy.
resets() {
	start guest -device "$vfio" || return
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		use disk0 || { ending; return 1; }
		data
		: > "$out.con"
		echo 'reboot -f' >&5
		again && tell 60 'busy disk0' || { ending; return 1; }
		: > "$out.con"
		qmp system_reset || fail "$answer"
		again || { ending; return 1; }
	done
	holds
	use disk0 || { ending; return 1; }
	seen
	stop
}

# with_kexec: guests get a program that starts the next kernel, and that kernel.
with_kexec() {
	[ -e /guest/kexec.cpio ] || { fail "SKIP no kexec here"; return; }
	initrd=$dir/kexec.img
	(cat /guest/initrd.img /guest/kexec.cpio; cd /guest && echo vmlinux | cpio -o -H newc) > $initrd 2> /dev/null
}
# Twenty kernels, each started by the one before, with the windows that this one left.
kexecs() {
	with_kexec || return
	start guest -device "$vfio" || return
	for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ $((round % 5)) != 1 ] || use disk0 && tell 60 "read_disk disk0 0 8" && tell 120 next_kernel || { ending; return 1; }
		data
		: > "$out.con"
		echo 'kexec -e' >&5
		again || { ending; return 1; }
	done
	use disk0 || { ending; return 1; }
	tell 10 'cat /proc/uptime'
	seen
	stop
}

# A kernel that is not told of the window of 64 bits, as a dump kernel may be, finds no room for its
# own, and removes the default window.  QEMU has its new one where the first of 64 bits still is, so
# creates nothing here, and DMA goes on there.  A reset gives the default window back.
default_window_removed() {
	with_kexec || return
	start guest -device "$vfio" && use disk0 && tell 60 forget_window && tell 120 next_kernel || { ending; return 1; }
	data
	removed=$(grep -c 'vfio_spapr_remove_window offset=0x0$' "$out.trace")
	: > "$out.con"
	echo 'kexec -e' >&5
	again && use disk0 || { ending; return 1; }
	[ "$(grep -c 'vfio_spapr_remove_window offset=0x0$' "$out.trace")" -gt "$removed" ] || fail "the guest keeps it"
	holds
	tell 60 devices
	view
	data
	: > "$out.con"
	qmp system_reset || fail "$answer"
	again && use disk0 || { ending; return 1; }
	seen
	stop
}

# A QEMU that would move its guest says why it cannot, and goes on.
migration() {
	start guest -device "$vfio" && use disk0 || { ending; return 1; }
	! qmp migrate '"uri": "exec:cat > /dev/null"' || fail "it migrates"
	echo "# QEMU: $answer"
	use disk0 || { ending; return 1; }
	seen
	stop
}

# The device is taken out of a running guest and given back: its container is made anew, each time
# with all the memory.
device_comes_and_goes() {
	start guest -device "$vfio,id=disk" && use disk0 || { ending; return 1; }
	all=$(locked)
	for round in 1 2 3; do
		holds
		# The guest lets go of it as it boots.
		: > "$out.con"
		qmp device_del '"id": "disk"' && qmp system_reset || { fail "the device stays: $answer"; break; }
		again || break
		wait_for 30 event DEVICE_DELETED $round || { fail "the device stays"; break; }
		[ "$(pinned)" = "$pinned_before" ] || fail "pages stay pinned without a device"
		holds
		tell 30 '! ls /sys/class/nvme/nvme*' || break
		qmp device_add '"driver": "vfio-pci", "id": "disk", "host": "'$first'"' || { fail "no device: $answer"; break; }
		tell 30 '! ls /sys/class/nvme/nvme*' || break
		: > "$out.con"
		qmp system_reset
		again && use disk0 || break
	done
	holds
	[ -s $dir/why ] && { ending; return 1; }
	seen
	stop
}

# The limit of memory that an unprivileged user may lock.  For each window, TCEs, owners and the
# guest's view have 8 bytes for each IOMMU page, in whole pages of the kernel, and the list of the
# view's pages needs one more.  The window of 32 bits has 1 GB of 4K, the other all memory in 64K.
page=$(awk '/^KernelPageSize:/ { print $2; exit }' /proc/self/smaps)
low_window=$((3 * 2048 + page)) high_window=$((3 * 64 + page))

# as_user COMMAND...: with the rights that an administrator gives, at most $may_lock kB locked.
as_user() {
	ulimit -l "$may_lock"
	program=$1
	shift
	exec start-stop-daemon -S -q -c 1000:1000 -x "$program" -- "$@"
}
user() {
	as=as_user
	chgrp 1000 "/dev/vfio/$(group "$first")" /dev/kvm && chmod 660 "/dev/vfio/$(group "$first")" /dev/kvm
}
# exactly: a guest with both windows; its QEMU has locked what it may and no more.
exactly() {
	may_lock=$((524288 + low_window + high_window))
	start guest -device "$vfio" && use disk0 || { ending; return 1; }
	made $window || fail "no window at 1<<59"
	grep -E '^(Uid|CapEff)' "/proc/$pid/status" | sed 's/^/# QEMU: /'
	[ "$(locked)" = "$may_lock" ] || fail "VmLck is $(locked) kB, not $may_lock"
	seen
	stop
}
limit_suffices() { user && exactly; }
# refused KILOBYTES TEXT: QEMU ends, with this in its output.
refused() {
	may_lock=$1
	! start guest -device "$vfio" > /dev/null || { ending; fail "it starts with $may_lock kB"; return; }
	rm -f $dir/why
	echo "# with $may_lock kB: $(grep -am 1 "$2" "$out.trace")"
	grep -qa "$2" "$out.trace" || { fail "with $may_lock kB, QEMU does not say: $2"; return; }
	after
}
# One page less is too little: for the memory, for the first window, for the second.  QEMU ends; the
# guest has then been running, in the last case.
limit_lacks_a_page() {
	user
	no_window='Failed to create a window.*Cannot allocate memory'
	refused $((524288 - page)) 'prereg_register.*ret=-12' &&
		refused $((524288 + low_window - page)) "$no_window" &&
		refused $((524288 + low_window + high_window - page)) "$no_window"
}

# in_namespace COMMAND...: root there, nobody outside, so without the capability to lock memory.
in_namespace() { as_user /bin/unshare -U -r "$@"; }
user_namespace() {
	[ -e /proc/self/ns/user ] || { fail "SKIP this kernel has no user namespaces"; return; }
	user
	as=in_namespace
	exactly
}

# in_cgroup COMMAND...: in a memory cgroup of its own.
in_cgroup() {
	# shellcheck disable=SC2016 # for that shell
	exec sh -c 'echo $$ > /tmp/cgroup/qemu/cgroup.procs; exec "$@"' sh "$@"
}
# cgroup LIMIT
cgroup() {
	mkdir -p /tmp/cgroup
	[ -e /tmp/cgroup/cgroup.procs ] || mount -t cgroup2 cgroup2 /tmp/cgroup
	echo +memory > /tmp/cgroup/cgroup.subtree_control
	mkdir /tmp/cgroup/qemu && echo "$1" > /tmp/cgroup/qemu/memory.max
	as=in_cgroup
}
cgroup_ends() {
	echo "# memory.peak $(cat /tmp/cgroup/qemu/memory.peak), memory.current $(cat /tmp/cgroup/qemu/memory.current)," \
		"$(grep -w oom_kill /tmp/cgroup/qemu/memory.events)"
	echo 1G > /tmp/cgroup/qemu/memory.reclaim 2> /dev/null
	left=$(cat /tmp/cgroup/qemu/memory.current)
	[ "$left" -lt 16777216 ] || fail "$left bytes are still charged to the cgroup"
	rmdir /tmp/cgroup/qemu || fail "the cgroup stays"
}
# All memory of the guest is charged there, as it is pinned.
memory_cgroup() {
	cgroup 700M
	start guest -device "$vfio" && use disk0 || { ending; cgroup_ends; return 1; }
	[ "$(cat /tmp/cgroup/qemu/memory.current)" -gt 536870912 ] || fail "not all of the guest's memory is charged"
	seen
	stop
	cgroup_ends
}
# The memory does not fit: the kernel kills QEMU while it registers, and prints whom it kills.
memory_cgroup_full() {
	cgroup 300M
	level=$(cut -f 1 /proc/sys/kernel/printk)
	echo 1 > /proc/sys/kernel/printk
	! start guest -device "$vfio" > /dev/null || { ending; fail "it starts"; }
	rm -f $dir/why
	grep -q 'oom_kill [1-9]' /tmp/cgroup/qemu/memory.events || fail "nobody was killed"
	! dmesg | grep -E 'WARNING:|BUG:|Oops' || fail "the kernel complained"
	echo "$level" > /proc/sys/kernel/printk
	cgroup_ends
}

# send_packets OPTION...: a driver in user space; packets go out from memory that DPDK has registered and mapped.  How many
# is said by the driver; the emulator writes each that the controller sends into a file.
send_packets() {
	[ -e /usr/bin/dpdk-testpmd ] || { fail "SKIP no testpmd here"; return; }
	nic=$(grep -l '^0x0200' /sys/bus/pci/devices/*/class | cut -d / -f 6)
	bind vfio-pci $nic || return
	mkdir -p /var/run
	mkfifo $dir/key
	exec 5<> $dir/key
	# Far from where its program is loaded, or its addresses end up at the top, where the list of
	# another page size may be the last, and this is what it takes for its window.
	/usr/bin/dpdk-testpmd "$@" --base-virtaddr=0x4000000000 -m 32 --iova-mode=va --no-telemetry -l 0,1 -a "$nic" -- --forward-mode=txonly \
		--auto-start --total-num-mbufs=2048 < $dir/key > $dir/testpmd 2>&1 5>&- &
	pid=$!
	wait_for 20 grep -q "Press enter" $dir/testpmd || { kill -KILL $pid; tail -n 20 $dir/testpmd; fail "testpmd does not start"; return; }
	sleep 5
	holds
	grep -E '^Vm(Lck|Pin)' /proc/$pid/status | sed 's/^/# testpmd: /'
	echo >&5
	wait_for 60 gone || { kill -KILL $pid; fail "testpmd does not end"; }
	wait $pid || fail "testpmd's status is $?"
	exec 5>&-
	sed 's/^/# testpmd: /' $dir/testpmd
	sent=$(sed -n 's/.*TX-packets: *\([0-9]*\).*/\1/p' $dir/testpmd | head -n 1)
	[ "${sent:-0}" -gt 0 ] || fail "no packet was sent"
	echo "# packets sent $sent"
}
# Without hugepages DPDK registers piece by piece, 4K each, which a kernel with larger pages refuses.
testpmd() {
	[ "$page" = 4 ] || { fail "SKIP the pages of this kernel are of $page kB"; return; }
	send_packets --no-huge --no-shconf
}
# With hugepages, of whatever size this machine has.
testpmd_huge() {
	for size in 2048 16384 0; do
		huge=/sys/kernel/mm/hugepages/hugepages-${size}kB/nr_hugepages
		[ ! -e $huge ] || break
	done
	[ -e $huge ] || { fail "SKIP no hugepages of 2M or 16M here"; return; }
	echo 32 > $huge
	echo "# $(cat $huge) hugepages of $size kB"
	send_packets --in-memory
	echo 0 > $huge
}
