#!/bin/bash
# [I15] A validator whose data is lost comes up as an observer: level under load, serving reads with
# proofs, taking what clients send, and never voting; the network then tolerates one fault less. What
# `ostrakon net init` made votes from the first start on. Where an old copy of the data was put back it is
# an observer too, until the newest is [I20]. Run from the top of the build tree.
set -uo pipefail

test=observer
. "${srcdir:-..}/tests/live-net.sh"
# run WANT ARGUMENTS...: exit code; the output is in $work/out
run() {
	local want=$1 code=0
	shift
	ostrakon "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
	[ "$code" -eq "$want" ] || fail "exit code $code instead of $want: $*"
}
# Refused, or submitted and not committed: which depends on who is asked when.
no_commit() {
	local code=0
	ostrakon put "$@" --home "$net" --timeout 5s >"$work/out" 2>"$work/err" </dev/null || code=$?
	[ "$code" -eq 3 ] || [ "$code" -eq 4 ] || fail "exit code $code: put $*"
}
field() { jq -r ".$1" "$work/out"; }
height_of() {
	run 0 status --home "$net/$1" -o json
	field final_height
}
# level NODE: it has what node1 has now, sooner or later
level() {
	local goal try
	goal=$(height_of node1)
	for ((try = 0; try < 6000; try++)); do
		[ "$(height_of "$1")" -lt "$goal" ] || return 0
		sleep 0.1
	done
	fail "$1 is not level: $(cat "$work/out")"
}
is_observer() {
	run 0 status --home "$net/node2" -o json
	[ "$(field role)" = observer ] && [ "$(field observer)" != null ] ||
		fail "node2 does not say that it is an observer: $(cat "$work/out")"
}
signatures() { curl -s "$(cat "$net/node2/api")/metrics" | sed -n 's/^ostrakon_signatures_total{operation="made"} //p'; }

# ---- a new network: everybody votes ------------------------------------------------------------
run 0 net init "$net" --nodes 4
run 0 net up "$net"
for k in 1 2 3 4; do
	run 0 status --home "$net/node$k" -o json
	[ "$(field observer)" = null ] || fail "node$k is an observer from the start"
done
run 0 net down "$net" node4
run 0 put first one --home "$net"
run 0 net up "$net"
run 0 net down "$net" node3 # then node4 is needed
run 0 put second two --home "$net"
run 0 net up "$net"

# ---- an old copy of its data is put back ---------------------------------------------------------
run 0 net down "$net" node3
cp -r "$net/node3/data" "$work/copy"
run 0 net up "$net"
level node3
run 0 net down "$net" node4 # then node3 is needed: its votes for what follows are in the certificates
for ((k = 0; k < 5; k++)); do
	run 0 put "after$k" it --home "$net"
done
run 0 net up "$net"
level node3
run 0 net down "$net" node3
mv "$net/node3/data" "$work/newest"
mv "$work/copy" "$net/node3/data"
run 0 net up "$net"
for ((try = 0; try < 600; try++)); do # it is told once its links are up
	! grep -q 'OBSERVER, NOT VOTING' "$net/node3/ostrakond.log" || break
	sleep 0.1
done
grep -q 'OBSERVER, NOT VOTING: its data directory is an old copy' "$net/node3/ostrakond.log" ||
	fail "node3 is not shown its votes: $(tail -5 "$net/node3/ostrakond.log")"
run 0 status --home "$net/node3" -o json
[ "$(field role)" = observer ] || fail "node3 does not say that it is an observer: $(cat "$work/out")"
run 0 net restart "$net" node3
run 0 status --home "$net/node3" -o json
[[ "$(field observer)" = *"old copy"* ]] || fail "node3 has forgotten why it observes: $(cat "$work/out")"
run 0 put without it --home "$net"
run 0 net down "$net" node3
rm -rf "$net/node3/data"
mv "$work/newest" "$net/node3/data"
run 0 net up "$net"
run 0 status --home "$net/node3" -o json
[ "$(field observer)" = null ] || fail "node3 observes with its newest data: $(cat "$work/out")"
run 0 net down "$net" node4 # then it is needed
run 0 put with it --home "$net"
run 0 net up "$net"

# ---- its data is lost --------------------------------------------------------------------------
# However long it takes: there is load meanwhile.
until [ -e "$work/enough" ]; do
	ostrakon bench run --home "$net" --seconds 5 --rate 100 >/dev/null 2>&1
done &
helper_pid=$!
for ((try = 0; try < 6000; try++)); do # signed ahead first: that takes its time
	[ "$(height_of node1)" -le 20 ] || break
	sleep 0.2
done
run 0 net down "$net" node2
rm -rf "$net/node2/data"
run 0 net up "$net"
is_observer
grep -q 'OBSERVER, NOT VOTING: the vote state' "$net/node2/ostrakond.log" || fail "no word in its log"
level node2
before=$(height_of node2)
for ((try = 0; try < 6000; try++)); do
	[ "$(height_of node2)" -le "$before" ] || break
	sleep 0.1
done
[ "$(height_of node2)" -gt "$before" ] || fail "it does not follow the load: height $before"
level node2
touch "$work/enough"
wait "$helper_pid" 2>/dev/null
helper_pid=

# ---- it serves and forwards --------------------------------------------------------------------
[ "$(ostrakon get first --home "$net/node2")" = one ] || fail "no read from the observer"
run 0 put third three --home "$net" --node node2
run 0 get third --home "$net/node2" -o json
[ "$(field value)" = three ] || fail "what was put through it is not there"
run 0 net status "$net" -o json
[ "$(jq -r '.nodes[] | select(.name == "node2").state' "$work/out")" = observer ] || fail "net status: $(cat "$work/out")"
ostrakon doctor --home "$net" -o json >"$work/out" 2>"$work/err"
jq -e '.findings[] | select(.cause == "node_observer" and .nodes == ["node2"])' "$work/out" >/dev/null ||
	fail "the doctor does not say so: $(cat "$work/out")"

# ---- it does not vote --------------------------------------------------------------------------
run 0 net down "$net" node4 # two voters of the three that it takes
no_commit no vote
run 0 net up "$net"
run 0 net restart "$net" node2 # with vote slots on its disk, which are those of an observer
is_observer
run 0 net down "$net" node4
no_commit no vote
run 0 net up "$net"
run 0 put fourth four --home "$net"
level node2
run 0 status --home "$net/node1" -o json
[ "$(signatures)" = 0 ] || fail "it has signed $(signatures) times"
root=$(field state_root) height=$(field final_height)
echo "an observer, level at height $height, root $root"
