#!/bin/bash
# Disks that fail under a node of a live network with load (tests/cluster/disk-faults.c): no room, a
# read-only file system, a write that fails, a sync that fails. The others go on; this one answers
# reads and votes no more, goes on by itself when its disk can be written to again, and ends, saying
# what to do, when a sync has failed. Nothing acknowledged is lost. Runs in the directory of the
# build. KEEP=1 keeps the network's directory. ROUNDS=20 BITS=23 STORM_RATE=1500 for more.
set -uo pipefail
test=disk-errors seed=${SEED:-1} rate=${STORM_RATE:-100} nodes=4 load_chunk=5
rounds=${ROUNDS:-1} bits=${BITS:-17} # of no room: how often, after up to 2^(BITS+1) bytes
# shellcheck source=tests/cluster/common.sh
. "$(dirname "$0")/common.sh"

ostrakon net init "$net" --nodes "$nodes" >/dev/null 2>&1 || fail "net init"
faults_begin
ostrakon net up "$net" --timeout 10m >/dev/null || fail "net up"
sign_one
load_begin
progress 100

cases=0
start_again() { # KIND: of the victim that RocksDB ended
	disarm "$victim"
	progress 50 "$1, $victim has ended"
	ostrakon net up "$net" "$victim" --timeout 120s >/dev/null || fail "net up $victim"
	level "$victim"
	cases=$((cases + 1))
	say "$1: $victim was ended by an assertion of RocksDB, and started again; $(acked) acknowledged"
}
# ---- no room, read-only: by itself ------------------------------------------------------------
for kind in $(printf 'full %.0s' $(seq "$rounds")) readonly; do
	for role in follower leader; do
		victim=$(victim_of $role)
		pid=$(cat "$net/$victim/ostrakond.pid")
		lines=$(log_of "$victim" | wc -l)
		arm "$victim" "$kind" $([ "$kind" = full ] && echo $((1 + $(pick $((2 << $(pick "$bits")))))))
		await "$victim" '.disk.error != null and .halted != null' "$pid"
		if [ $ended -eq 1 ]; then
			start_again "$kind"
			continue
		fi
		reads_only "$victim" disk_full
		progress 50 "$kind, $victim"
		[ "$(cat "$net/$victim/ostrakond.pid")" = "$pid" ] || fail "$victim has another process"
		disarm "$victim"
		await "$victim" '.disk.error == null and .halted == null'
		level "$victim"
		progress 50 "after $kind, $victim"
		[ -d "/proc/$pid" ] && [ "$(cat "$net/$victim/ostrakond.pid")" = "$pid" ] ||
			fail "$victim did not go on by itself"
		log_of "$victim" | tail -n "+$lines" | grep -q 'goes on by itself' ||
			fail "$victim does not say that it will go on by itself"
		cases=$((cases + 1))
		say "$kind: $victim ($role) went on by itself; $(acked) acknowledged"
	done
done

# ---- a write that fails for another reason: reads only ------------------------------------------
for _ in $(seq "$rounds"); do
	victim=$(victim_of leader)
	pid=$(cat "$net/$victim/ostrakond.pid")
	arm "$victim" write 3
	await "$victim" '.disk.error != null and .halted != null' "$pid"
	if [ $ended -eq 1 ]; then
		start_again write
		continue
	fi
	reads_only "$victim" halted
	progress 50 "a failed write, $victim"
	disarm "$victim"
	ostrakon net restart "$net" "$victim" --timeout 10m >/dev/null || fail "net restart $victim"
	level "$victim"
	cases=$((cases + 1))
	say "write: $victim answered reads until it was started anew; $(acked) acknowledged"
done

# ---- a sync that fails: the process ends --------------------------------------------------------
for try in 1 2 3; do
	victim=$(victim_of $([ $try = 2 ] && echo follower || echo leader))
	ostrakon net down "$net" "$victim" >/dev/null || fail "net down $victim"
	"$OSTRAKOND" run --home "$net/$victim" >>"$net/$victim/ostrakond.log" 2>&1 &
	pid=$!
	for _ in $(seq 3000); do # the victim is to be the one that takes part
		[ ! -e "$net/$victim/api" ] || ! curl -sf -m 10 "$(url "$victim")/readyz" >/dev/null || break
		sleep 0.04
	done
	lines=$(log_of "$victim" | wc -l)
	arm "$victim" sync $((1 + $(pick 20)))
	wait $pid
	code=$?
	[ $code -eq 74 ] || fail "exit code $code after a failed sync, and not 74"
	disarm "$victim"
	grep -q 'sync failed' "$faults/$victim.log" || fail "no sync failed"
	log_of "$victim" | tail -n "+$lines" | grep -q 'halted: a sync of the data directory failed.*start this node again' ||
		fail "$victim does not say what to do: $(log_of "$victim" | tail -n 5)"
	progress 50 "a failed sync, $victim"
	ostrakon net up "$net" "$victim" --timeout 10m >/dev/null || fail "net up $victim"
	level "$victim"
	cases=$((cases + 1))
	say "sync: $victim ended with code 74, and started again; $(acked) acknowledged"
done

progress 50 "all of it"
load_end
judge
figures | jq --argjson cases $cases --argjson ended "${rocksdb_ended:-0}" \
	'{cases: $cases, crashes: $ended} + .' || exit 1
say "nothing acknowledged is lost, no fork, all state roots equal"
