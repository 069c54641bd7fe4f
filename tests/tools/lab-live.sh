#!/bin/sh
# Scenarios with real processes, some of them forged, all links through the lab's relay.
# usage: lab-live.sh [all]
# Without an argument a share that fits into `make check`, a smaller one with sanitizers; with
# all, each that can run live, loaded and idle. Two at a time. Other tests share processors and disk:
# a sync that takes longer than an election timeout is a fault that no scenario ordered. What fails is
# therefore run once more, by itself, and has failed if it fails again. Times are judged with all only.
lab=./tools/ostrakon-lab
OSTRAKON_SCENARIOS=${srcdir:-.}/tests/scenarios
export OSTRAKON_SCENARIOS
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
sanitized=$(nm ./src/node/ostrakond 2>/dev/null | grep -c -E '__(asan|tsan)_init')
all=0
longest=30
untimed=--untimed
[ "${1:-}" = all ] && untimed=
[ "$sanitized" -gt 0 ] && longest=60
one() { # NUMBER SCENARIO [OPTION...]
	number=$1
	shift
	# shellcheck disable=SC2086 # an option or nothing
	if "$lab" live $untimed --seconds "$longest" "$@" >"$work/$number.out" 2>&1; then
		echo "ok: $*" >"$work/$number.verdict"
	else
		echo "FAILED: $*" >"$work/$number.verdict"
	fi
}
tell() { # NUMBER
	cat "$work/$1.verdict"
	if grep -q FAILED "$work/$1.verdict"; then
		cat "$work/$1.out"
	else
		grep -E 'from (proof|conviction)|escalated|convicted,|back to fast|live, n=' \
			"$work/$1.out"
	fi
}
first=0
run() { # SCENARIO [OPTION...]
	all=$((all + 1))
	one "$all" "$@" &
	if [ "$first" -eq 0 ]; then
		first=$all
		return
	fi
	settle
}
settle() {
	wait
	[ "$first" -eq 0 ] && return
	for number in $(seq "$first" "$all"); do tell "$number"; done
	first=0
}
if [ "$1" = all ]; then
	for name in $("$lab" list -o jsonl | sed -n 's/.*"name":"\([^"]*\)".*"live":true.*/\1/p'); do
		run "$name"
		case $(sed -n 's/^clients *//p' "$OSTRAKON_SCENARIOS/$name.scenario") in
		0*) ;;
		*) run "$name" --idle ;;
		esac
	done
elif [ "$sanitized" -gt 0 ]; then
	run leader-equivocation --idle
	run leader-bad-signatures
	run partition-minority
	run leader-deaf
	run broken-connections
	run leader-mute --protocol raft
else
	run leader-equivocation
	run leader-bad-signatures
	run follower-bad-signatures --idle
	run lone-shouter
	run slow-disk
	run partition-minority
	run leader-deaf
	run slow-link
	run broken-connections
	run leader-isolated --protocol multipaxos
	run leader-mute --protocol raft
	run partition-half --nodes 7
	run crash-leader --protocol pbft
fi
settle
sed -n 's/^FAILED: //p' "$work"/*.verdict >"$work/again"
bad=0
while read -r again; do
	# shellcheck disable=SC2086 # words
	one again $again </dev/null
	echo "once more, alone:"
	tell again
	grep -q FAILED "$work/again.verdict" && bad=$((bad + 1))
done <"$work/again"
echo "$all live runs, $bad failed"
[ "$all" -ge 6 ] && [ "$bad" -eq 0 ]
