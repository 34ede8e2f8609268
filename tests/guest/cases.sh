# shellcheck shell=dash disable=SC1091,SC2015,SC2016,SC2034,SC2086,SC2119,SC2120,SC2154 # variables of lib.sh and run
# SPDX-License-Identifier: GPL-2.0
# What guests do with devices that they are given: a function each.  Sourced by tests/guest/run.
disks=$(grep -l '^0x0108' /sys/bus/pci/devices/*/class | cut -d / -f 6)
nth() { echo "$disks" | sed -n "$1p"; }
first=$(nth 1) second=$(nth 2)
vfio="vfio-pci,host=$first"

# use DISK...: the guest reads what was on each, and writes to it.
use() {
	tell 60 devices || return
	for disk; do
		tell 120 "read_disk $disk 0 8" && tell 120 "write_disk $disk $at 4" || return
	done
}
holds() { echo "# QEMU has $(locked) kB locked, $(($(pinned) - pinned_before)) pages are pinned"; }
seen() {
	holds
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
}

# QEMU dies while its guest uses the disk.
killed() {
	start guest -device "$vfio" && tell 30 'busy disk0' || { ending; return 1; }
	sleep 2
	holds
	[ "$(pinned)" -gt "$pinned_before" ] || fail "nothing was pinned"
	kill_qemu
}

# The host's own driver finds all that the guests have left.
host() {
	bind nvme $disks || return
	. "$here/functions"
	sleep 1
	read_disk disk0 0 8 | sed 's/^/# /'
	write_disk disk0 "$at" 4 > $dir/host || fail "the host's driver does not read what it wrote"
	sed 's/^/# /' $dir/host
	bind vfio-pci $disks
}

# Firmware that is a program of its own, and looks at the devices.
slof() {
	vof=off patience=600
	a_guest
}

# Each TCE of the guest goes to user space, which makes a MAP or UNMAP of it.
tcg() {
	accel=tcg mem=256M patience=1500
	a_guest -trace vfio_listener_region_add_iommu || return
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
	first=$(nth 3)
	[ "$(group "$first")" = "$(group "$(nth 4)")" ] || { fail "these devices are in two groups"; return; }
	start guest -device "vfio-pci,host=$first" -device "vfio-pci,host=$(nth 4)" && use disk2 disk3 || { ending; return 1; }
	seen
	stop
}

# The guest gets 256 MB more, uses the disk, and loses them.
memory_comes_and_goes() {
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
		tell 120 "read_disk disk0 0 8" && tell 120 "write_disk disk0 $at 1" || { ending; return 1; }
		data | tail -n 1
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
		tell 60 "plugged disk0" && use disk0 || break
	done
	holds
	[ -s $dir/why ] && { ending; return 1; }
	seen
	stop
}
