# shellcheck shell=bash disable=SC2034 # LOGS, kmake, work are for the callers
# SPDX-License-Identifier: GPL-2.0
# What the lab's scripts share: paths, messages, progress, reading a guest's
# console.  Sourced, never run.
#
# BASE           the kernel to work on, a file in bases/ (default 6.12)
# BUILD          where everything is built (default build/ in the repository)
# CACHE          where downloads are kept (default ~/.cache/spapr-tce)
# CROSS_COMPILE  prefix of the compiler (default powerpc64le-linux-gnu-)
# JOBS           parallel jobs of a build (default: the machine's processors)

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-$ROOT/build}
BUILD=$(realpath -m "$BUILD")
CACHE=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/spapr-tce}
CROSS_COMPILE=${CROSS_COMPILE:-powerpc64le-linux-gnu-}
JOBS=${JOBS:-$(nproc)}
export BUILD CACHE CROSS_COMPILE JOBS

# `make VERSION=...` must not reach the kernel's Makefile, which has a VERSION of its own.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$@"; exit 1; }

# use_base NAME: what is built for it goes to B; its file in bases/ says the rest.
use_base() {
	[ -f "$ROOT/bases/$1" ] || die "there is no base $1; BASE can be: $(cd "$ROOT/bases" && echo *)"
	BASE=$1 B=$BUILD/$1 LOGS=$BUILD/$1/logs
	export BASE B
}
use_base "${BASE:-6.12}"

# state: base and sources that the assembled tree is made of.
state() { cat "$B/BASE_VERSION" && git -C "$B/linux" rev-parse "HEAD^{tree}"; }

# base_says FIELD: the values of a field of the base's file.
base_says() { sed -n "s/^$1  *//p" "$ROOT/bases/$BASE"; }

# impossible SUITE: says why it cannot pass on this base, if it cannot.
impossible() {
	local suite why
	while read -r suite why; do
		[ "$suite" != "$1" ] || { say "no $1 on $BASE: $why"; return 0; }
	done <<< "$(base_says without)"
	return 1
}

# Commits of ours need no name where git has none.
git_identity() {
	git var GIT_COMMITTER_IDENT > /dev/null 2>&1 ||
		export GIT_AUTHOR_NAME=nobody GIT_AUTHOR_EMAIL=nobody@localhost \
		       GIT_COMMITTER_NAME=nobody GIT_COMMITTER_EMAIL=nobody@localhost
}

# our_sources: the C files of the overlay that a kernel has without its tests.
our_sources() {
	git -C "$ROOT" ls-files -co --exclude-standard -- arch drivers | grep '\.c$' | grep -v /tests/
}

# The calling script's header comment, without shebang and licence.
usage() { awk 'NR > 2 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0" >&2; exit 2; }

free_space() { df -h --output=avail "$1" | tail -1 | tr -d ' '; }

# A directory `work` of this run's own, gone at its end; one whose run was killed goes now.
workdir() {
	local dir
	for dir in "$B"/tmp/*.*; do
		[ ! -d "$dir" ] || kill -0 "${dir##*.}" 2> /dev/null || rm -rf "$dir"
	done
	work=$B/tmp/${0##*/}.$$
	trap 'rm -rf "$work"' EXIT
	mkdir -p "$work" || die "cannot write to $B: is the disk full?"
}

# Make every build of ours the same wherever the checkout stands, so that
# ccache serves all of them.  Adds to the array `kmake`; needs $1 = TREE, $2 = OUT.
kernel_make() {
	export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$B} CCACHE_NOHASHDIR=1
	export KBUILD_BUILD_TIMESTAMP='2026-01-01 00:00:00 UTC' KBUILD_BUILD_VERSION=1
	export KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab LOCALVERSION=
	kmake=(env -u VERSION make -C "$1" "O=$2" ARCH=powerpc "CROSS_COMPILE=$CROSS_COMPILE"
	       "CC=ccache ${CROSS_COMPILE}gcc" "-j$JOBS")
}

# monitor LABEL LOG TOTAL: how a command is doing, until this script ends.  A
# terminal gets one changing line; anything else a line per PROGRESS_EVERY seconds.
monitor() {
	local line every=${PROGRESS_EVERY:-60} never
	exec {never}<> <(:)
	SECONDS=0
	[ ! -t 2 ] || every=1
	while kill -0 "$$" 2> /dev/null; do
		read -rt 1 -u "$never" || true
		if [ "$SECONDS" = 0 ] || [ $((SECONDS % every)) != 0 ]; then continue; fi
		if [ "$3" -gt 0 ]; then
			line="$(grep -cE '^  (CC|AS|LD|AR|HOSTCC)' "$2" || true) of about $3 objects"
		else
			line=$(tail -n 1 "$2" | tr -dc '[:print:]' | cut -c -50)
		fi
		line="$1: $SECONDS s  $line"
		if [ -t 2 ]; then printf '\r\e[K%s' "${line::79}" >&2; else echo "$line" >&2; fi
	done
}

# run_logged LABEL LOG TOTAL COMMAND...: run with all output in LOG, showing
# progress; TOTAL is the expected number of objects of a kernel build, or 0.
# Returns COMMAND's status.
run_logged() {
	local status=0 watch
	mkdir -p "$(dirname "$2")"
	: > "$2"
	monitor "$1" "$2" "$3" > /dev/null &
	watch=$!
	"${@:4}" > "$2" 2>&1 < /dev/null || status=$?
	kill "$watch" 2> /dev/null || true
	wait "$watch" 2> /dev/null || true
	[ ! -t 2 ] || printf '\r\e[K' >&2
	return "$status"
}

# As run_logged; on failure also shows the end of the log and where it is.
progress() {
	local status=0
	run_logged "$@" || status=$?
	if [ "$status" -ne 0 ]; then
		tail -n 20 "$2" | sed 's/^/    /' >&2
		say "$1: failed ($status); the whole log is $2"
	fi
	return "$status"
}

# The words by which a kernel complains about itself.  An EEH report of a frozen device
# brings a call trace too, and is no fault of the kernel; nor is pseries' empty nvram.
complaints='WARNING:|BUG:|Oops|Call Trace|possible recursive locking'
complaints+='|INFO: task .* blocked|INFO: trying to register|rcu: INFO|suspicious RCU usage'
complaints+='|UBSAN:|KASAN:|KCSAN:|kernel BUG|Kernel panic|[Uu]nable to handle kernel|LOCKUP'
complaints+='|deprecated workqueue|list_(add|del) corruption|refcount_t:|soft lockup|scheduling while atomic'
no_complaints='EEH:|nvram corruption detected'

# splats LOG: the lines with such words; true if there are any.  Only kernel lines count
# (they carry a time stamp); those of the firmware and what a program prints do not.
splats() {
	tr -d '\r' < "$1" | grep -aE "\[ *[0-9]+\.[0-9]{6}\].*($complaints)" | grep -avE "$no_complaints"
}

# tap_sum: read TAP of one or more programs, print "N passed, N failed, N skipped".
# A program's output ends with "# suite-end NAME STATUS".  Silence is failure: a
# program that fails without saying so, stops before its plan is through, tests
# nothing or skips everything adds one to the failed.
tap_sum() {
	tr -d '\r' | awk '
	function close_suite(name, status) {
		if (status != 0 && status != 4 && !f || p + f + s != plan || p + f == 0) {
			failed++
			printf "%s: exit status %s, plan %d, %d passed, %d failed, %d skipped\n",
				name, status, plan, p, f, s > "/dev/stderr"
		}
		passed += p; failed += f; skipped += s; p = f = s = plan = 0; suites++
	}
	/^1\.\.[0-9]+/ { plan = substr($1, 4) + 0 }
	/^not ok /     { f++; next }
	/^ok .*# SKIP/ { s++; next }
	/^ok /         { p++ }
	/^# suite-end / { close_suite($3, $4) }
	END {
		if (p + f + s || !suites) close_suite("(no end)", 1)
		printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
	}'
}
