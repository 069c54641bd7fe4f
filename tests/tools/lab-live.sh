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
complain() {
	echo "FAILED: $*"
	bad=$((bad + 1))
}
# interrupt SIGNAL HOW-LONG: whenever that comes, nothing of the run is left
interrupt() {
	mkdir -p "$work/tmp"
	TMPDIR=$work/tmp "$lab" live leader-equivocation -o json >"$work/out" 2>"$work/err" &
	pid=$!
	until [ -n "$(ls "$work/tmp")" ] || ! kill -0 "$pid"; do sleep 0.01; done
	sleep "$2"
	nodes=$(ps -o pid= --ppid "$pid")
	kill -"$1" "$pid"
	wait "$pid"
	got=$?
	[ "$got" -eq 130 ] || complain "SIG$1 after $2 s: exit code $got: $(cat "$work/err")"
	[ -z "$(ls "$work/tmp")" ] || complain "SIG$1 after $2 s: left behind: $(find "$work/tmp" | head -n 3)"
	grep -q interrupted "$work/err" || complain "SIG$1 after $2 s: says $(cat "$work/err")"
	[ ! -s "$work/out" ] || complain "SIG$1 after $2 s: a result of a run that was interrupted"
	for node in $nodes; do
		! kill -0 "$node" 2>/dev/null || complain "SIG$1 after $2 s: process $node still runs"
	done
}
# What is kept comes up without the lab, by the command that was printed, and proves what happened.
TMPDIR=$work "$lab" live leader-equivocation --idle --untimed --keep >"$work/out" 2>&1
net=$(sed -n 's/^kept: .*: ostrakon net up //p' "$work/out")
if [ -d "$net" ]; then
	./tools/ostrakon net up "$net" >"$work/up" 2>&1 || complain "net up $net: $(cat "$work/up")"
	./tools/ostrakon modes --verify --home "$net" >"$work/modes" 2>&1 || complain "modes --verify: $(cat "$work/modes")"
	grep -q '^[0-9]* *conviction .* node4 ' "$work/modes" || complain "no conviction in: $(cat "$work/modes")"
	# The same from a node that leaves one out, or does not prove that it has not.
	curl -sf "$(cat "$net/node1/api")/v1/modes?prove=1" >"$work/list.json" || complain "no list of modes"
	for lie in 'del(.entries[0])' 'del(.entries[1])' 'del(.entries[-1])' '.entries = []' 'del(.proof)'; do
		jq -c "$lie" "$work/list.json" >"$work/body"
		rm -f "$work/port"
		./tests/tools/liar "$work/port" "$work/body" &
		liar=$!
		while [ ! -s "$work/port" ] && kill -0 $liar; do sleep 0.01; done
		./tools/ostrakon modes --verify --node "http://127.0.0.1:$(cat "$work/port")" \
			--genesis "$net/genesis.json" >"$work/modes" 2>&1
		[ $? -eq 5 ] || complain "$lie: verified: $(cat "$work/modes")"
		kill $liar
	done
	./tools/ostrakon net down "$net" >"$work/down" 2>&1 || complain "net down: $(cat "$work/down")"
else
	complain "nothing is kept: $(cat "$work/out")"
fi
interrupt INT 0
interrupt TERM 0.3
interrupt INT 1.5
while read -r again; do
	# shellcheck disable=SC2086 # words
	one again $again </dev/null
	echo "once more, alone:"
	tell again
	grep -q FAILED "$work/again.verdict" && bad=$((bad + 1))
done <"$work/again"
echo "$all live runs, $bad failed"
[ "$all" -ge 6 ] && [ "$bad" -eq 0 ]
