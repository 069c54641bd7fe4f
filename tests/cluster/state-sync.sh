#!/bin/bash
# State sync on a live network: a node whose data is lost rejoins under load, one of the three peers
# that it asks lying, killed on the way. Prints time and bytes. Run from the top of the build tree; by
# hand, 200,000 transactions: OSTRAKON_STATE_SYNC=200000 ../tests/cluster/state-sync.sh
set -uo pipefail

test=state-sync
. "${srcdir:-..}/tests/live-net.sh"
total=${OSTRAKON_STATE_SYNC:-3000}
clients=4 batch=2
[ "$total" -lt 50000 ] || clients=32 batch=16
run() {
	local want=$1 code=0
	shift
	ostrakon "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
	[ "$code" -eq "$want" ] || fail "exit code $code instead of $want: $*: $(cat "$work/err")"
}
field() { jq -r ".$1" "$work/out"; }
status() { run 0 status --home "$net/$1" -o json; }
height_of() {
	status "$1"
	field final_height
}
level() { # NODE
	local goal try
	goal=$(height_of node1)
	for ((try = 0; try < 1200; try++)); do
		[ "$(height_of "$1")" -lt "$goal" ] || return 0
		sleep 0.1
	done
	fail "$1 is not level: $(cat "$work/out")"
}
metric() { curl -s "$(cat "$net/$1/api")/metrics" | sed -n "s/^ostrakon_$2 //p"; }
now() { date +%s.%N; }
since() { echo "$(now) $1" | awk '{printf "%.1f", $1 - $2}'; }

# Few blocks are kept, and small gaps count as large.
run 0 net init "$net" --nodes 4
for k in 1 2 3 4; do
	printf '\n[limits]\nhistory = 2000\nblocks = 8192\nsync_gap = 64\n' >>"$net/node$k/ostrakond.conf"
done
# Node3 lies to those who catch up, and is honest otherwise.
export OSTRAKON_FORGE_ATTACKS=lie-fetch
mkdir "$work/bin"
cat >"$work/bin/ostrakond" <<END
#!/bin/sh
case "\$*" in
*/node3*) exec "$top/tools/ostrakond-forged" "\$@" ;;
esac
exec "$top/src/node/ostrakond" "\$@"
END
chmod +x "$work/bin/ostrakond"
export OSTRAKOND=$work/bin/ostrakond
run 0 net up "$net"
grep -q 'this node is forged' "$net/node3/ostrakond.log" || fail "node3 is not forged"

# ---- a history that takes a while --------------------------------------------------------------
began=$(now)
made=0
while [ "$made" -lt "$total" ]; do
	# some may be refused: what is told "busy" comes too late for its sender's nonces on a busy machine
	ostrakon bench run --home "$net" --count "$total" --seconds 300 --clients "$clients" \
		--batch "$batch" -o json >"$work/out" 2>"$work/err" </dev/null || [ $? -eq 1 ] ||
		fail "bench run: $(cat "$work/err")"
	made=$((made + $(jq -r '.committed // .transactions // 0' "$work/out")))
	[ "$made" -gt 0 ] || fail "no load: $(cat "$work/out")"
done
echo "$made transactions in $(since "$began") s, final height $(height_of node1)"

# ---- its data is lost, load goes on ------------------------------------------------------------
ostrakon bench run --home "$net" --seconds 600 --rate 100 >/dev/null 2>&1 &
helper_pid=$!
from=$(height_of node1)
for ((try = 0; try < 600; try++)); do # signed ahead first: that takes its time
	[ "$(height_of node1)" -le $((from + 5)) ] || break
	sleep 0.1
done
killed=
rejoin() { # true: by a state; false: blocks were faster, as they are if a peer is slow to answer
	local percent try
	run 0 net down "$net" node2
	rm -rf "$net/node2/data"
	from=$(height_of node1)
	began=$(now)
	run 0 net up "$net"
	for ((try = 0; try < 1500; try++)); do
		status node2
		[ "$(field 'state_sync.completed // 0')" = 0 ] || return 0
		[ "$(field final_height)" -lt "$from" ] || [ "$(field state_sync)" != null ] ||
			return 1
		percent=$(field 'state_sync.percent // 0')
		if [ -z "$killed" ] && [ "$percent" -gt 10 ]; then # and goes on where it was
			killed=$percent
			run 0 net status "$net" -o json
			kill -9 "$(field 'nodes[] | select(.name == "node2").pid')"
			run 0 net up "$net"
		fi
		sleep 0.05
	done
	return 1
}
for try in 1 2 3 4 5 6; do
	! rejoin || break
	echo "node2 was level by blocks before it had asked for a state: again"
	status node2
done
[ "$(field 'state_sync.completed // 0')" = 1 ] || fail "no state was fetched: $(cat "$work/out")"
fetched=$(since "$began")
level node2
leveled=$(since "$began")
height=$(height_of node1)
[ "$height" -gt "$from" ] || fail "no load: height $from"
status node2
[ "$(field role)" = observer ] || fail "node2 votes without its vote state"
echo "node2, wiped${killed:+, killed at $killed %}: state in $fetched s, level in $leveled s at height $height;" \
	"$(field state_sync.bytes) bytes in $(field state_sync.parts) parts and $(field state_sync.blocks) blocks" \
	"since its last start, in $(field state_sync.spent_ms) ms; false answers: $(grep -c 'sent a part of the state that is false' "$net/node2/ostrakond.log")"
grep -q 'node3 sent a part of the state that is false' "$net/node2/ostrakond.log" || fail "nobody was found lying"
! grep -E 'node[14] sent a part of the state that is false' "$net/node2/ostrakond.log" || fail "an honest peer was struck off"
for k in 1 3 4; do
	echo "node$k served $(metric "node$k" state_sync_served_bytes_total) bytes"
done

# ---- the same state, and nothing else on the disk ----------------------------------------------
kill "$helper_pid" 2>/dev/null
wait "$helper_pid" 2>/dev/null
helper_pid=
sleep 1
level node2
status node1
want=$(jq -r '[.final_height, .final_hash, .state_root] | join(" ")' "$work/out")
status node2
[ "$(jq -r '[.final_height, .final_hash, .state_root] | join(" ")' "$work/out")" = "$want" ] ||
	fail "node2 has another state: $(cat "$work/out"), not $want"
run 0 put after sync --home "$net"
[ "$(ostrakon get after --home "$net/node2")" = sync ] || fail "no read from node2"
sleep 1
run 0 net down "$net" node2
run 0 db check --home "$net/node2" -o json
run 0 net up "$net"
level node2
echo "equal states, and a sound store: $want"

# ---- it votes again with a new key, and a fault is tolerated again ------------------------------
lacks() { # NODE: without it nothing is final, for node2 does not vote
	local code=0
	run 0 net down "$net" "$1"
	ostrakon put late x --home "$net" --timeout 5s >"$work/out" 2>&1 </dev/null || code=$?
	[ "$code" -eq 3 ] || [ "$code" -eq 4 ] || fail "exit code $code without $1 and node2's vote: $(cat "$work/out")"
	run 0 net up "$net"
}
lacks node4
ostrakon key new "$work/new2.key" --unencrypted >/dev/null || fail "key new"
run 0 net down "$net" node2
"$top/src/node/ostrakond" rekey --home "$net/node2" --key "$work/new2.key" >/dev/null || fail "rekey"
run 0 net up "$net"
run 0 member replace node2 --home "$net" --new-key "$work/new2.key" --timeout 120s \
	--governance-key "$net/governance-1.key,$net/governance-2.key"
for ((try = 0; try < 1200; try++)); do
	status node2
	[ "$(field observer)" != null ] || break
	sleep 0.1
done
[ "$(field observer)" = null ] || fail "node2 does not vote: $(cat "$work/out")"
run 0 net down "$net" node4
run 0 put again yes --home "$net" --timeout 120s
run 0 net up "$net"
echo "node2 votes with its new key: blocks go on without node4"
