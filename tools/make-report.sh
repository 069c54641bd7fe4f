#!/bin/sh
# make-report.sh DIR: runs the comparison and the scenarios of docs/experiments, and writes
# report.html, results.csv and results.json there. Run from the top of the build tree, by
# `make report`. OSTRAKON_REPORT_LIVE=no leaves out the networks of real processes.
set -eu
dir=$1
lab=./tools/ostrakon-lab
jobs=${OSTRAKON_REPORT_JOBS:-4}
OSTRAKON_SCENARIOS=${srcdir:-.}/tests/scenarios
export OSTRAKON_SCENARIOS
work=$(mktemp -d "${TMPDIR:-/tmp}/ostrakon-report.XXXXXX")
trap 'rm -rf "$work"' EXIT
begin=$(date +%s)

# step NAME COMMAND...: exit code 1 is a finding, and stands in the report
step() {
	name=$1
	shift
	echo "$(($(date +%s) - begin)) s: ostrakon-lab $*" >&2
	code=0
	"$lab" "$@" -o json >"$work/$name.json" || code=$?
	[ $code -le 1 ] || exit $code
}

step steady compare --nodes 4,7,10,16 --faults none --seeds 3 --jobs "$jobs"
step faults compare --nodes 4,7 --seeds 5 --jobs "$jobs" \
	--faults baseline,crash-leader,leader-isolated,partition-minority,lossy-network
step attacks compare --nodes 4,7 --seeds 5 --jobs "$jobs" \
	--faults leader-equivocation,silent-leader,slow-drip-leader,censorship,selective-leader
step signatures compare --nodes 4,7 --protocols pbft,hybrid --seeds 5 --jobs "$jobs" \
	--faults leader-bad-signatures
step sweep sweep baseline --protocols multipaxos,raft,pbft,hybrid --nodes 4 --seeds 3 \
	--jobs "$jobs" --loss 0%,1%,5% --delay 1ms..2ms,10ms..20ms
# one seed each, whose diagrams say who lies
step fork-raft sim equivocation-forks-raft
step fork-multipaxos sim equivocation-forks-multipaxos
step equivocation sim leader-equivocation
step beyond-f sim beyond-f
if [ "${OSTRAKON_REPORT_LIVE:-yes}" != no ]; then
	step live compare --live --nodes 4,7 --faults none --seconds 15
fi
"$lab" report "$work"/*.json --out "$dir"
echo "$(($(date +%s) - begin)) s in all" >&2
