#!/bin/bash
# compare and sweep as a user meets them: the counts, the controls, the formats, what is wrong on the
# command line, and an interrupt. Run from the top of the build tree.
set -uo pipefail

lab=./tools/ostrakon-lab
OSTRAKON_SCENARIOS=${srcdir:-..}/tests/scenarios
export OSTRAKON_SCENARIOS
work=$(mktemp -d "${TMPDIR:-/tmp}/ostrakon-compare.XXXXXX")
trap 'rm -rf "$work"' EXIT
bad=0
complain() {
	echo "FAILED: $*" >&2
	bad=1
}
# holds FILE WHAT FILTER: jq says true
holds() {
	jq -e "$3" "$work/$1" >/dev/null 2>"$work/err" || complain "$2: $3 $(cat "$work/err")"
}
# code WANT ARGUMENTS...
code() {
	local want=$1
	shift
	"$lab" "$@" >"$work/out" 2>"$work/err"
	local got=$?
	[ "$got" -eq "$want" ] || complain "ostrakon-lab $*: exit $got, not $want: $(cat "$work/err")"
}

# ---- the counts ------------------------------------------------------------------------------
"$lab" compare --nodes 4,7 --protocols multipaxos,raft,pbft,hybrid --jobs 2 -o json >"$work/a" ||
	complain "compare fails"
holds a 'a row for each' 'length == 8'
holds a 'the formulas' 'all(.[]; .messages_per_decision ==
	(if .protocol == "pbft" then 2 * .nodes * (.nodes - 1) else 2 * (.nodes - 1) end))'
holds a 'theory beside them' 'all(.[]; .messages_per_decision == .theory_messages_per_decision)'
holds a 'types add up' 'all(.[]; ([.by_type[]] | add) / .decisions == .messages_per_decision)'
holds a 'enough of them' 'all(.[]; .decisions >= 1000)'
holds a 'lone blocks' 'all(.[] | select(.protocol != "pbft");
	.lone.messages_per_decision == 3 * (.nodes - 1))'
holds a 'what was varied' 'all(.[]; .vary.protocol == .protocol and .vary.nodes == .nodes and
	.vary.fault == "none" and .vary.seeds == 1)'
holds a 'passed' 'all(.[]; .passed and .safety.conflicts == 0 and .fork == null)'
# the line that repeats a row gives the same row
repeat=$(jq -r '.[2].repeat' "$work/a")
# shellcheck disable=SC2086
"$lab" ${repeat#ostrakon-lab } -o json >"$work/b"
[ "$(jq -c '.[2] | del(.wall_s, .lone)' "$work/a")" = "$(jq -c '.[0] | del(.wall_s, .lone)' "$work/b")" ] ||
	complain "\"$repeat\" does not repeat its row"

# ---- the controls ----------------------------------------------------------------------------
"$lab" compare --nodes 4 --faults leader-equivocation -o json >"$work/c" || complain "the controls fail"
holds c 'baselines fork' 'all(.[] | select(.protocol == "raft" or .protocol == "multipaxos");
	.safety.conflicts > 0 and .fork.height > 0 and (.fork.hashes | length == 2) and
	.fork.hashes[0] != .fork.hashes[1] and (.fork.hashes[0] | test("^[0-9a-f]{64}$")) and
	.space_time.why == "fork" and (.space_time.events | length) <= 300)'
holds c 'pbft and hybrid do not' '[.[] | select(.protocol == "pbft" or .protocol == "hybrid") |
	.safety.conflicts == 0 and .fork == null and (.convicted | length) == 1 and
	.convicted == .malicious] == [true, true]'
holds c 'escalation is seen' '.[] | select(.protocol == "hybrid") |
	.transitions["fast->pbft:E1"] > 0 and .transitions["pbft->fast"] > 0'

# ---- several seeds, and formats --------------------------------------------------------------
"$lab" compare --nodes 4 --protocols raft,hybrid --faults crash-leader --seeds 3 --jobs 2 -o json \
	>"$work/d" || complain "crash-leader fails"
holds d 'medians and spread' 'all(.[]; .runs == 3 and .vary.seeds == 3 and
	.spread["failover.detection_ms"].min <= .failover.detection_ms and
	.failover.detection_ms <= .spread["failover.detection_ms"].max and
	.spread["failover.total_ms"].runs == 3 and .availability <= .spread.availability.max)'
"$lab" compare --nodes 4 --protocols raft,hybrid --faults crash-leader --seeds 3 -o json >"$work/e"
[ "$(jq -c 'map(del(.wall_s))' "$work/d")" = "$(jq -c 'map(del(.wall_s))' "$work/e")" ] ||
	complain "two processes find something else than one"
code 0 sweep crash-leader --protocols raft,hybrid --loss 0%,2% --delay 1ms..5ms,10ms --seeds 2 -o csv
[ "$(wc -l <"$work/out")" -eq 9 ] || complain "sweep -o csv: not eight rows and a title"
awk -F, 'NR == 1 {n = NF} NF != n {exit 1}' "$work/out" || complain "columns differ in number"
code 0 sweep crash-leader --loss 2% --delay 10ms --seeds 1 -o jsonl
cp "$work/out" "$work/f"
holds f 'the network' '.vary.loss_percent == 2 and .vary.delay_ms == [10, 10] and
	.consensus_time_ms.p50 >= 20'
code 0 sweep steady-state --nodes 4,5 --protocols raft,pbft --clients 2,40 --seeds 1 -o json
cp "$work/out" "$work/j"
holds j 'each combination once' '[.[].vary | [.protocol, .nodes, .clients]] ==
	[["raft", 4, 2], ["raft", 4, 40], ["raft", 5, 2], ["raft", 5, 40],
	["pbft", 4, 2], ["pbft", 4, 40], ["pbft", 5, 2], ["pbft", 5, 40]]'
holds j 'more clients, more throughput' '.[0].throughput_per_s * 2 < .[1].throughput_per_s'
code 0 compare --nodes 4 --protocols raft
grep -q '^raft  *4  *6.00  *6  *9.0  *9 .* yes$' "$work/out" || complain "the table: $(cat "$work/out")"

# ---- live ------------------------------------------------------------------------------------
"$lab" compare --live --nodes 4 --protocols multipaxos -o json >"$work/k" 2>"$work/err" ||
	complain "a live network: $(cat "$work/err")"
holds k 'a live row' 'length == 1 and (.[0] | .live and .passed and .protocol == "multipaxos" and
	.vary == {protocol: "multipaxos", nodes: 4, fault: "none", seeds: 1} and
	(([.by_type[]] | add) / .decisions - .messages_per_decision | fabs) < 1e-9 and
	.messages_per_decision >= 5 and .throughput_per_s > 0 and (.repeat | endswith("--live")))'

# ---- what fails, and what is wrong -----------------------------------------------------------
printf 'summary x\ncorrupt 0\ndecisions 20\nexpect conflict\n' >"$work/wrong.scenario"
code 1 sweep "$work/wrong.scenario" --seeds 2 -o json
cp "$work/out" "$work/h"
holds h 'the row says so' '.[0].passed == false and .[0].failed_runs == 2'
code 2 compare --nodes 4,x
code 2 compare --nodes 0
code 2 compare --protocols raft,paxos
code 2 compare --seeds 0
code 2 compare --jobs 65
code 2 compare -o xml
code 2 compare steady-state
code 2 compare --loss 1%
code 2 sweep
code 2 sweep steady-state --faults none
code 2 sweep steady-state --loss 2
code 2 sweep steady-state --delay 5
code 2 sweep steady-state --clients 0
code 2 sweep steady-state --delay 5ms..1ms
code 78 compare --faults no-such-scenario
code 78 sweep no-such-scenario
code 0 compare --help

# ---- an interrupt ----------------------------------------------------------------------------
# interrupted FILE FILTER ARGUMENTS...: while it runs, and once some is done, as the filter says: on a busy
# machine that takes longer.
interrupted() {
	local file=$1 some=$2 after code
	shift 2
	for after in 1 2 4 8 16 32 64; do
		"$lab" "$@" --progress -o json >"$work/$file" 2>"$work/said" &
		pid=$!
		sleep $after
		kill -INT $pid
		wait $pid
		code=$?
		[ $code -eq 130 ] || complain "an interrupt is not 130, but $code: $*"
		if jq -e "$some" "$work/$file" >/dev/null 2>&1; then return; fi
	done
	complain "nothing is done in a minute: $*"
}
interrupted g '.[0].runs > 0' compare --nodes 4 --protocols raft --seeds 10000
holds g 'what was done is kept' 'length == 1 and .[0].runs > 0 and .[0].runs < 10000 and
	.[0].messages_per_decision == 6'
grep -q interrupted "$work/said" || complain "an interrupt is not mentioned"
interrupted i '.runs > 0' sim steady-state --runs 10000
holds i 'what was done of sim is kept' '.runs > 0 and .runs < 10000 and .passed'
grep -q ' of 10000 runs, ' "$work/said" || complain "no progress is shown"
[ $bad -ne 0 ] || echo "compare: counts, controls, seeds, formats, interrupt"
exit $bad
