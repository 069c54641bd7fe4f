#!/bin/bash
# Backups of a live network: taken under load, verified, restored, equal roots; altered ones are
# found; kill -9 at any time leaves no half of one; a restored validator observes. Run from the
# top of the build tree.
set -uo pipefail

top=$PWD
PATH=$top/tools:$PATH
export OSTRAKOND=$top/src/node/ostrakond
work=$(mktemp -d "${TMPDIR:-/tmp}/ostrakon-backup.XXXXXX")
net=$work/net
load= victim=
export OSTRAKON_TIMEOUT=10m # nothing is judged by the clock
cleanup() {
	touch "$work/enough"
	[ -z "$load" ] || wait "$load" 2>/dev/null
	[ -z "$victim" ] || kill -9 "$victim" 2>/dev/null
	ostrakon net down "$net" >/dev/null 2>&1
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
fail() {
	echo "FAILED: $*" >&2
	tail -n 5 "$work/err" >&2
	exit 1
}
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

run 0 net init "$net" --nodes 4
run 0 net up "$net"
run 6 backup verify "$net"
run 6 backup create "$work/none" --home "$net" --node nobody

# ---- under load --------------------------------------------------------------------------------
# However long the backups take, they are made under load.
until [ -e "$work/enough" ]; do
	ostrakon bench run --home "$net" --seconds 5 --rate 200 >/dev/null 2>&1
done &
load=$!
for ((try = 0; try < 3000; try++)); do # signed ahead first: that takes its time
	run 0 status --home "$net" -o json
	[ "$(field final_height)" -le 20 ] || break
	sleep 0.2
done
for i in 1 2 3; do
	run 0 backup create "$work/b$i" --home "$net" -o json
	[ "$(field online)" = true ] || fail "not online"
	height=$(field height)
	run 0 backup verify "$work/b$i" --genesis "$net/genesis.json" -o json
	[ "$(field height)" = "$height" ] && [ "$(field proven)" = true ] || fail "verified something else"
done
[ "$height" -gt 3 ] || fail "no load: height $height"
run 7 backup create "$work/b1" --home "$net"
run 0 backup list "$work" -o json
[ "$(jq '[.[] | select(.state == "complete")] | length' "$work/out")" = 3 ] || fail "not three in the list"
# The files beside them are no backups, nor broken ones ($work/out and $work/err are such).
[ "$(jq length "$work/out")" = 3 ] && [ ! -s "$work/err" ] || fail "files in the list: $(cat "$work/out")"
made=$(date -u -d "@$(jq '.[0].made_ms / 1000 | floor' "$work/out")" +%Y-%m-%dT%H:%M:%SZ)
run 0 backup list "$work"
grep -q " $made " "$work/out" || fail "no time of making: $(cat "$work/out")"

# More at once than a node makes snapshots for in a row: the others wait for their turn.
crowd=()
for i in {1..12}; do
	ostrakon db inspect --home "$net" --node node2 >"$work/crowd$i" 2>&1 &
	crowd+=($!)
done
for i in {1..12}; do
	wait "${crowd[i - 1]}" || fail "one of a crowd, exit code $?: $(cat "$work/crowd$i")"
done

# ---- killed while it is made -------------------------------------------------------------------
for delay in 0.002 0.005 0.01 0.015 0.02 0.03 0.05 0.08; do
	ostrakon backup create "$work/killed" --home "$net" >/dev/null 2>&1 &
	victim=$!
	sleep "$delay"
	kill -9 "$victim" 2>/dev/null
	wait "$victim" 2>/dev/null
	victim=
	if [ -e "$work/killed" ]; then # it was quicker: then it is whole
		run 0 backup verify "$work/killed"
		rm -rf "$work/killed"
	fi
done
run 0 backup create "$work/killed" --home "$net"
[ ! -e "$work/killed.partial" ] || fail "leftovers"
run 0 backup verify "$work/killed"
touch "$work/enough"
wait "$load" 2>/dev/null
load=

# ---- of a stopped node: all have the same chain ------------------------------------------------
run 0 put last words --home "$net"
run 0 net down "$net"
run 0 backup create "$work/stopped" --home "$net/node2" -o json
[ "$(field online)" = false ] || fail "online, though stopped"
root=$(field state_root) height=$(field height)

# ---- altered -----------------------------------------------------------------------------------
cp -r "$work/stopped" "$work/altered"
size=$(stat -c %s "$work/altered/part-000000")
for at in 0 20 100 $((size / 3)) $((size / 2)) $((size - 1)); do
	cp "$work/stopped/part-000000" "$work/altered/part-000000"
	old=$(od -An -tu1 -j "$at" -N 1 "$work/altered/part-000000" | tr -d ' ')
	# shellcheck disable=SC2059
	printf "\\x$(printf %02x $((old ^ 4)))" |
		dd of="$work/altered/part-000000" bs=1 seek="$at" conv=notrunc 2>/dev/null
	run 5 backup verify "$work/altered"
done
run 5 backup restore "$work/altered" "$work/no"
[ ! -e "$work/no" ] && [ ! -e "$work/no.partial" ] || fail "something of an altered one was restored"
run 0 net init "$work/other" --nodes 4
run 5 backup verify "$work/stopped" --genesis "$work/other/genesis.json"
grep -q 'is of chain' "$work/err" || fail "no word of the chain"
! grep -q 'damaged' "$work/err" || fail "a sound backup is called damaged"

# ---- restored ----------------------------------------------------------------------------------
for delay in 0.005 0.02 0.05 0.1 0.15; do
	ostrakon backup restore "$work/stopped" "$work/home" >/dev/null 2>&1 &
	victim=$!
	sleep "$delay"
	kill -9 "$victim" 2>/dev/null
	wait "$victim" 2>/dev/null
	victim=
	[ ! -e "$work/home" ] || rm -rf "$work/home"
done
run 0 backup restore "$work/stopped" "$work/home" --genesis "$net/genesis.json" -o json
[ "$(field state_root)" = "$root" ] || fail "another root"
run 7 backup restore "$work/stopped" "$work/home"
[ ! -e "$work/home/validator.key" ] || fail "a key was restored"
run 0 backup create "$work/again" --home "$work/home" -o json
[ "$(field state_root)" = "$root" ] && [ "$(field height)" = "$height" ] || fail "another chain"

# ---- it follows, and does not vote --------------------------------------------------------------------------
"$OSTRAKOND" run --home "$work/home" >"$work/err" 2>&1
[ $? -eq 78 ] && grep -q 'never votes' "$work/err" || fail "no words about the missing key"
mv "$net/node1" "$work/node1"
cp -r "$work/home" "$net/node1"
cp "$work/node1/validator.key" "$work/node1/ostrakond.conf" "$net/node1"
run 0 net up "$net"
run 0 put after restore --home "$net"
[ "$(ostrakon get after --home "$net/node2")" = restore ] || fail "the other three do not commit"
run 0 get last --home "$net/node1" -o json
[ "$(field value)" = words ] || fail "the restored node does not answer reads"
run 0 status --home "$net/node2" -o json
goal=$(field final_height)
for ((try = 0; try < 6000; try++)); do
	run 0 status --home "$net/node1" -o json
	[ "$(field final_height)" -lt "$goal" ] || break
	sleep 0.1
done
[ "$(field role)" = observer ] && [ "$goal" -gt "$height" ] && [ "$(field final_height)" -ge "$goal" ] ||
	fail "it does not follow: $(cat "$work/out")"
[ "$(ostrakon get after --home "$net/node1")" = restore ] || fail "the restored node is not level"
run 0 put by observer --home "$net" --node node1
grep -q 'OBSERVER, NOT VOTING: this home was restored' "$net/node1/ostrakond.log" || fail "it does not say so"
run 0 net down "$net" node3 # two are left that may vote
no_commit no vote
echo "backups under load, stopped, killed, altered, restored: height $height, root $root"
