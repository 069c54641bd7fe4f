#!/bin/bash
# Raft and Multi-Paxos as networks of real processes: commits, the loss of a leader, a restart of
# all; and that nobody says that anything was verified.
set -uo pipefail

test=baselines
. "${srcdir:-..}/tests/live-net.sh"
fail() {
	echo "FAILED ($protocol): $*" >&2
	ostrakon net status "$net" >&2
	exit 1
}
has() { # WHAT: in the last answer
	grep -qF "$1" "$work/out" || fail "no '$1' in: $(cat "$work/out")"
}
run() {
	ostrakon "$@" >"$work/out" 2>"$work/err" || fail "$*: $(cat "$work/err")"
}

for protocol in raft multipaxos; do
	net=$work/$protocol
	run net init "$net" --protocol $protocol -o json
	has '"faults_tolerated":1'
	run net up "$net" --timeout 60s

	run put fruit apple --home "$net" --timeout 60s -o json
	has '"status":"committed"'
	has '"grade":"crash"'
	has '"signers":[]'
	has '"verified":false'
	run get fruit --home "$net" -o json --proof-file "$work/proof.json"
	has '"verified":false'
	grep -qF apple "$work/out" || fail "the value is not what was put"
	ostrakon verify "$work/proof.json" --genesis "$net/genesis.json" >"$work/out" 2>"$work/err"
	[ $? -eq 5 ] || fail "verify does not refuse: $(cat "$work/out" "$work/err")"

	run net kill "$net" leader
	run put fruit pear --home "$net" --timeout 60s -o json
	has '"status":"committed"'
	run net up "$net" --timeout 60s # the old leader again
	run put fruit plum --home "$net" --timeout 60s -o json
	run net kill "$net" all
	run net up "$net" --timeout 60s
	run put bread rye --home "$net" --timeout 60s -o json
	run get fruit --linearizable --home "$net" --timeout 60s
	[ "$(cat "$work/out")" = plum ] || fail "what was committed is lost: $(cat "$work/out")"

	run bench run --home "$net" --clients 8 --count 300 -o json
	has '"committed":300'
	has '"verified":false'

	# all level: one final height and state root
	for _ in $(seq 300); do
		ostrakon net status "$net" -o json >"$work/out" 2>/dev/null
		roots=$(grep -o '"state_root":"[0-9a-f]*"' "$work/out" | sort -u | wc -l)
		nodes=$(grep -o '"state_root":"[0-9a-f]*"' "$work/out" | wc -l)
		[ "$roots" -ne 1 ] || [ "$nodes" -ne 4 ] || break
		sleep 0.1
	done
	[ "$roots" -eq 1 ] && [ "$nodes" -eq 4 ] || fail "the replicas do not come level"
	run net down "$net"
done
echo "both run, survive a leader and a restart of all, and claim no proof"
