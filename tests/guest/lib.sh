# shellcheck shell=dash
# SPDX-License-Identifier: GPL-2.0
# Guests inside the emulated host: start QEMU, tell the guest what to do, talk to QEMU's monitor,
# compare the host's counters.  Sourced by tests/guest/run.
dir=/tmp/guest
qemu=/usr/bin/qemu-system-ppc64

# fail TEXT: why the case failed; its first reason is in the verdict.
fail() {
	echo "# $*"
	[ -s "$dir/why" ] || echo "$*" > "$dir/why"
	return 1
}

# pages FIELD: a counter of /proc/vmstat, exact.
pages() {
	echo 1 > /proc/sys/vm/stat_refresh
	awk -v field="$1" '$1 == field { print $2 }' /proc/vmstat
}
pinned() { echo $(($(pages nr_foll_pin_acquired) - $(pages nr_foll_pin_released))); }
# memory: kilobytes that are free, or would be if caches were dropped.
memory() {
	sync
	echo 3 > /proc/sys/vm/drop_caches
	awk '/^(MemFree|Cached|Buffers):/ { n += $2 } END { print n }' /proc/meminfo
}
tables() { awk '/^SecPageTables:/ { print $2 }' /proc/meminfo; }
locked() { awk '/^VmLck:/ { print $2 }' "/proc/$pid/status"; }

# counters: those of the host, in one line.
counters() {
	echo "$(pages nr_foll_pin_acquired) pages pinned and $(pages nr_foll_pin_released) released since boot," \
		"tables $(tables) kB, free $(memory) kB"
}
before() {
	pinned_before=$(pinned) tables_before=$(tables) memory_before=$(memory)
	echo "# before: $(counters)"
}
# after: nothing may be left; what was freed by RCU or a work item may take a moment.  Pages of a
# user and tables are counted exactly.  Of all memory, lists of free pages that each processor
# has for itself come and go: 24 MB have been seen with pages of 64K.  A guest has 512.
after() {
	n=0
	while [ "$(pinned)" != "$pinned_before" ] || [ "$(tables)" != "$tables_before" ] ||
	      [ "$(memory)" -lt $((memory_before - 49152)) ]; do
		n=$((n + 1))
		[ "$n" -lt 20 ] || break
		sleep 0.5
	done
	echo "# after:  $(counters)"
	[ "$n" -lt 20 ] && return
	fail "left behind: $(($(pinned) - pinned_before)) pinned pages," \
		"$(($(tables) - tables_before)) kB of tables, $((memory_before - $(memory))) kB in all"
}

gone() { ! grep -q '^State:[[:space:]]*[^ZX]' "/proc/$pid/status" 2> /dev/null; }
# wait_for SECONDS COMMAND...: until it succeeds, or QEMU is gone.
wait_for() {
	limit=$1 waited=0
	shift
	until "$@"; do
		if gone; then
			"$@"
			return
		fi
		waited=$((waited + 1))
		[ $waited -lt $((limit * 5)) ] || return 1
		sleep 0.2
	done
}

# machine ACCEL: the pseries machine as the processors of emulated hosts allow it.
machine() {
	caps=cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off
	if grep -q cap-ail-mode-3 "$dir/machine"; then caps=$caps,cap-ail-mode-3=off; fi
	more=$(cat /guest/machine)
	echo "pseries,accel=$1,x-vof=${vof:-on},$caps${more:+,$more}"
}

# start NAME OPTION...: QEMU with these options; the guest is up when it returns.  $accel is kvm or
# tcg, $mem its memory, $as a command that starts it, $append goes to the guest's kernel.
start() {
	name=$1 sent=0
	shift
	out=$dir/$name
	rm -f "$out".*
	: > "$out.con"
	mkfifo -m 666 "$out.in" "$out.qmp.in" "$out.qmp.out"
	# Open for both, so that nobody waits for the other end.
	exec 5<> "$out.in" 6<> "$out.qmp.out"
	${as:-} $qemu -M "$(machine "${accel:-kvm}")" -m "${mem:-512M}" -nographic -vga none -nodefaults -serial stdio \
		-kernel /guest/vmlinux -initrd "${initrd:-/guest/initrd.img}" -append "console=hvc0 quiet ${append:-}" \
		-trace 'vfio_spapr*' -trace 'vfio_prereg*' -trace 'vfio_listener_region_add*' -trace 'vfio_listener_region_del*' \
		-chardev "pipe,id=qmp,path=$out.qmp" -mon chardev=qmp,mode=control "$@" \
		< "$out.in" > "$out.con" 2> "$out.trace" 5>&- 6>&- &
	pid=$!
	cat < "$out.qmp.out" > "$out.qmp" 5>&- 6>&- &
	reader=$!
	if ! wait_for "${patience:-180}" grep -aq GUEST-READY "$out.con"; then
		ending
		fail "the guest did not come up"
		return
	fi
	qmp qmp_capabilities
}

# said: the guest has carried out all lines.
said() { [ "$(grep -aoE 'GUEST-DONE [0-9]+ [0-9]+' "$out.con" | tail -n 1 | cut -d ' ' -f 2)" = "$sent" ]; }
# tell SECONDS LINE: the guest carries it out; its status.
tell() {
	sent=$((sent + 1))
	echo "$2" >&5
	wait_for "$1" said || { fail "the guest does not answer to: $2"; return; }
	status=$(grep -aoE "GUEST-DONE $sent [0-9]+" "$out.con" | cut -d ' ' -f 3)
	[ "$status" = 0 ] || fail "status $status in the guest: $2"
}

answered() { [ "$(grep -cE '"(return|error)"' "$out.qmp")" -ge "$asked" ]; }
# qmp COMMAND [ARGUMENTS]: QEMU's answer must be no error; it is in $answer either way.
qmp() {
	asked=$(($(grep -cE '"(return|error)"' "$out.qmp") + 1))
	echo "{ \"execute\": \"$1\"${2:+, \"arguments\": { $2 \}} }" > "$out.qmp.in"
	wait_for 60 answered || { fail "QEMU does not answer to $1"; return; }
	answer=$(grep -E '"(return|error)"' "$out.qmp" | sed -n "${asked}p")
	case $answer in *'"error"'*) return 1 ;; esac
}
event() { [ "$(grep -c "\"event\": \"$1\"" "$out.qmp")" -ge "${2:-1}" ]; }

# ending: what there is to see of a QEMU that has to go, and its end.
ending() {
	gone || kill -KILL "$pid"
	wait "$pid"
	status=$?
	{ tail -n 15 "$out.con"; tail -n 8 "$out.trace"; } | tr -d '\r' | sed 's/^/# /'
	closed
}
closed() {
	kill "$reader" 2> /dev/null
	wait "$reader" 2> /dev/null
	exec 5>&- 6>&-
}

# stop: the guest powers off, and QEMU ends without an error.
stop() {
	echo 'poweroff -f' >&5
	wait_for 60 gone || true
	if ! gone; then
		ending
		fail "the guest does not power off"
		return
	fi
	wait "$pid"
	status=$?
	closed
	[ "$status" = 0 ] || { ending; fail "QEMU's status is $status"; }
}
kill_qemu() {
	kill -KILL "$pid"
	wait "$pid" 2> /dev/null
	closed
}

# windows: QEMU's own words on the calls to the container; of many, the first and the last.
windows() {
	grep -aE 'vfio_spapr_|vfio_prereg_(un)?register' "$out.trace" > "$out.calls"
	calls=$(wc -l < "$out.calls")
	if [ "$calls" -le 12 ]; then
		cat "$out.calls"
	else
		head -n 6 "$out.calls"
		echo "... $((calls - 12)) calls ..."
		tail -n 6 "$out.calls"
	fi | sed 's/^/# QEMU: /'
}
# data: what the guest said on its disks, for who compares it with the images.
data() { tr -d '\r' < "$out.con" | grep -aoE 'data (read|written) .*' | sed 's/^/# /'; }
view() { tr -d '\r' < "$out.con" | grep -a '^guest: ' | sed 's/^/# /'; }

# bind DRIVER ADDRESS...: devices of the host.
bind() {
	driver=$1
	shift
	for address; do
		dev=/sys/bus/pci/devices/$address
		[ -e "$dev" ] || { fail "there is no $address"; return; }
		echo "$driver" > "$dev/driver_override"
		[ ! -e "$dev/driver" ] || echo "$address" > "$dev/driver/unbind"
		echo "$address" > /sys/bus/pci/drivers_probe
		[ "$(basename "$(readlink "$dev/driver")")" = "$driver" ] || { fail "$address is not bound to $driver"; return; }
	done
}
group() { basename "$(readlink "/sys/bus/pci/devices/$1/iommu_group")"; }
