# What tests with a live network share: the programs, a directory, and a clean end. Sourced from the
# top of a build tree, with: test (its name).
# shellcheck shell=bash disable=SC2119,SC2120,SC2154
top=$PWD
PATH=$top/tools:$PATH
export OSTRAKOND=$top/src/node/ostrakond
work=$(mktemp -d "${TMPDIR:-/tmp}/ostrakon-$test.XXXXXX")
net=$work/net
helper_pid= # a process to end with the test

# Every network in $work goes down, also where nodes are paused.
cleanup() {
	local dir
	[ -z "$helper_pid" ] || kill "$helper_pid" 2>/dev/null
	for dir in "$work"/*/; do
		[ -e "$dir/genesis.json" ] || continue
		ostrakon net resume "$dir" >/dev/null 2>&1
		ostrakon net down "$dir" >/dev/null 2>&1
	done
	if [ -n "${KEEP:-}" ]; then echo "kept: $work" >&2; else rm -rf "$work"; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM
fail() {
	echo "FAILED: $*" >&2
	ostrakon net status "$net" >&2
	exit 1
}
net_init() { # ARGUMENT...
	ostrakon net init "$net" "$@" >/dev/null 2>&1 || fail "net init"
}
up() {
	ostrakon net up "$net" --timeout 10m >/dev/null || fail "net up"
}
