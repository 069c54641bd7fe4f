#!/bin/bash
# New keys for validators, on real processes: the data of one is lost, it observes; governance gives its
# place a new key, it votes; with another one stopped blocks go on. Then a healthy key is rotated, and
# everything of all epochs is verified from the genesis file alone. Backups of it are verified and
# restored, and data is repaired, across both ends. Run from the top of the build tree.
set -uo pipefail

test=member
. "${srcdir:-..}/tests/live-net.sh"
run() { # WANT ARGUMENTS...: exit code; the output is in $work/out
	local want=$1 code=0
	shift
	ostrakon "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
	[ "$code" -eq "$want" ] || fail "exit code $code instead of $want: $*: $(cat "$work/err")"
}
no_commit() { # with too few voters
	local code=0
	ostrakon put "$@" --home "$net" --timeout 5s >"$work/out" 2>"$work/err" </dev/null || code=$?
	[ "$code" -eq 3 ] || [ "$code" -eq 4 ] || fail "exit code $code: put $*"
}
field() { jq -r ".$1" "$work/out"; }
await() { # NODE FIELD VALUE
	local try
	for ((try = 0; try < 900; try++)); do
		run 0 status --home "$net/$1" -o json
		[ "$(field "$2")" != "$3" ] || return 0
		sleep 0.1
	done
	fail "$1: $2 is not $3: $(cat "$work/out")"
}
# new_home NODE KEY: in the place of the old one, with its addresses
new_home() {
	local old="$work/old-$1" args=() line
	mv "$net/$1" "$old"
	while read -r line; do args+=(--peer "${line// = /=}"); done < <(
		sed -n '/^\[peers\]/,/^\[api\]/s/^\(node[0-9]* = .*\)/\1/p' "$old/ostrakond.conf")
	"$OSTRAKOND" init --home "$net/$1" --genesis "$net/genesis.json" --key "$2" --name "$1" \
		--peers-listen "$(sed -n '/^\[peers\]/,/^\[/s/^listen = //p' "$old/ostrakond.conf")" \
		--api-listen "$(sed -n '/^\[api\]/,$s/^listen = //p' "$old/ostrakond.conf")" \
		"${args[@]}" || fail "ostrakond init for $1"
}
governance=$net/governance-1.key,$net/governance-3.key

# ---- its data is lost: it observes -------------------------------------------------------------
run 0 net init "$net" --nodes 4 --checkpoint-interval 16
run 0 net up "$net"
run 0 put first one --home "$net"
run 0 net down "$net" node2
rm -rf "$net/node2/data"
run 0 net up "$net"
await node2 role observer
run 0 net down "$net" node4
no_commit no vote
run 0 net up "$net"

# ---- governance gives its place a new key ------------------------------------------------------
ostrakon key new "$work/new2.key" --unencrypted >/dev/null || fail "key new"
run 1 member replace node2 --home "$net" --new-key "$work/new2.key" --governance-key "$net/governance-1.key"
run 0 member replace node2 --home "$net" --new-key "$work/new2.key" --governance-key "$net/governance-1.key" \
	--save "$work/change" -o json
[ "$(field signatures)" = 1 ] || fail "one signature: $(cat "$work/out")"
run 6 member replace node2 --home "$net" --from "$work/change" --governance-key governance-4
grep -q "$net/governance-4.key" "$work/err" || fail "a name is no file here: $(cat "$work/err")"
run 0 member replace node2 --home "$net" --from "$work/change" --governance-key governance-3 \
	--dry-run -o json
[ "$(field signatures)" = 2 ] || fail "two signatures: $(cat "$work/out")"
run 0 member list --home "$net" -o json
jq -e '.epoch == 0 and .start_height == 0 and .verified' "$work/out" >/dev/null || fail "members: $(cat "$work/out")"
run 0 member replace node2 --home "$net" --new-key "$work/new2.key" --governance-key "$governance" \
	--timeout 60s -o json
[ "$(field epoch)" = 1 ] && [ "$(field verified)" = true ] || fail "replace: $(cat "$work/out")"
run 0 put second two --home "$net"

# ---- it votes with it, in its old home, and nobody else is needed ------------------------------
rekey() { # CODE NODE KEY
	local code=0
	"$OSTRAKOND" rekey --home "$net/$2" --key "$3" >"$work/out" 2>"$work/err" || code=$?
	[ "$code" -eq "$1" ] || fail "exit code $code instead of $1: rekey $2: $(cat "$work/err")"
}
rekey 7 node2 "$work/new2.key"
run 0 net down "$net" node2
rekey 78 node2 "$net/node1/validator.key"
rekey 78 node2 "$work/nothing.key"
rekey 0 node2 "$work/new2.key"
rekey 1 node2 "$work/new2.key"
"$OSTRAKOND" init --home "$work/again" --genesis "$net/genesis.json" --key "$work/new2.key" --name node2 \
	>"$work/out" 2>"$work/err" && fail "a second home of a key"
grep -q 'has, or has had, a home' "$work/err" || fail "a second home: $(cat "$work/err")"
[ -e "$net/node2/validator.key.old" ] || fail "the old key is gone"
run 0 net up "$net"
await node2 epoch 1
await node2 observer null
run 0 net down "$net" node4
run 0 put third three --home "$net" --timeout 60s
run 0 net up "$net"
echo "epoch 1: node2 votes with its new key, and blocks go on without node4"

# Who hangs keeps what proves epoch 1 from us: that makes nobody else a liar.
run 0 net pause "$net" node1
code=0
ostrakon get third --home "$net" --timeout 7s >"$work/out" 2>"$work/err" || code=$?
[ $code -ne 5 ] || fail "a timeout is called a false proof: $(cat "$work/err")"
run 0 net resume "$net" node1
run 0 put fourth four --home "$net" --timeout 60s

# ---- a healthy key is rotated, the leader's if need be -----------------------------------------
ostrakon key new "$work/new1.key" --unencrypted >/dev/null || fail "key new"
run 0 member replace node1 --home "$net" --new-key "$work/new1.key" --governance-key governance-1,governance-3 \
	--timeout 60s -o json
[ "$(field epoch)" = 2 ] || fail "rotation: $(cat "$work/out")"
await node1 epoch 2
await node1 role observer # with its old key
run 0 net down "$net" node1
"$OSTRAKOND" check-config --home "$net/node1" >"$work/out" && ! grep -q 'its key' "$work/out" ||
	fail "check-config of an old key: $(cat "$work/out")"
new_home node1 "$work/new1.key"
"$OSTRAKOND" check-config --home "$net/node1" | grep -q 'not the one that node1 has in genesis.json' ||
	fail "check-config does not say that a key is new"
run 0 net up "$net"
await node1 epoch 2
await node1 observer null
run 0 net down "$net" node3
run 0 put fourth four --home "$net" --timeout 60s
run 0 net up "$net"

# ---- everything is verified from the genesis file alone ----------------------------------------
run 0 net init "$work/other" --nodes 4
run 5 member list --home "$net" --genesis "$work/other/genesis.json"
run 0 member list --home "$net" -o json
[ "$(field epoch)" = 2 ] && [ "$(field verified)" = true ] || fail "members: $(cat "$work/out")"
for k in "first one" "second two" "third three" "fourth four"; do
	run 0 get "${k% *}" --home "$net" --prove --proof-file "$work/proof"
	run 0 verify "$work/proof" --genesis "$net/genesis.json" -o json
	[ "$(field value)" = "${k#* }" ] || fail "verify: $(cat "$work/out")"
done
jq -e '.handovers | length == 2' "$work/proof" >/dev/null || fail "a proof of epoch 2 has two handovers"
jq 'del(.handovers[0])' "$work/proof" >"$work/torn"
run 5 verify "$work/torn" --genesis "$net/genesis.json"
jq .proof "$work/proof" >"$work/bare"
run 5 verify "$work/bare" --genesis "$net/genesis.json"
run 0 modes --home "$net" --verify -o json
[ "$(jq '[.entries[] | select(.kind == "member" and .verified)] | length' "$work/out")" = 2 ] ||
	fail "modes: $(cat "$work/out")"
# all restarted: everybody finds the epoch, and its vote state, on its disk
run 0 net down "$net"
run 0 net up "$net"
for k in 1 2 3 4; do
	await node$k epoch 2
	await node$k observer null
done
run 0 put fifth five --home "$net" --timeout 60s
run 0 net down "$net"
run 0 db check --home "$net/node1" -o json
[ "$(field epochs)" = 2 ] || fail "db check: $(cat "$work/out")"
echo "epoch 2: all verified from the genesis file"

# ---- backups of all epochs ---------------------------------------------------------------------
run 0 net up "$net"
run 0 backup create "$work/online" --home "$net" --node node3
run 0 backup verify "$work/online" --genesis "$net/genesis.json" -o json
[ "$(field epoch)" = 2 ] && [ "$(field proven)" = true ] || fail "online: $(cat "$work/out")"
run 0 net down "$net"
run 0 backup create "$work/stopped" --home "$net/node4" -o json
root=$(field state_root) height=$(field height)
run 0 backup verify "$work/stopped" --genesis "$net/genesis.json" -o json
[ "$(field epoch)" = 2 ] && [ "$(field state_root)" = "$root" ] || fail "stopped: $(cat "$work/out")"
cp -r "$work/stopped" "$work/altered"
size=$(stat -c %s "$work/altered/part-000000")
for at in $((size / 4)) $((size / 2)) $((size - 50)); do
	cp "$work/stopped/part-000000" "$work/altered/part-000000"
	old=$(od -An -tu1 -j "$at" -N 1 "$work/altered/part-000000" | tr -d ' ')
	# shellcheck disable=SC2059
	printf "\\x$(printf %02x $((old ^ 4)))" |
		dd of="$work/altered/part-000000" bs=1 seek="$at" conv=notrunc 2>/dev/null
	run 5 backup verify "$work/altered"
done
run 0 backup restore "$work/stopped" "$work/home" --genesis "$net/genesis.json" -o json
[ "$(field epoch)" = 2 ] && [ "$(field state_root)" = "$root" ] || fail "restored: $(cat "$work/out")"
run 0 db check --home "$work/home" -o json
[ "$(field epochs)" = 2 ] && [ "$(field height)" = "$height" ] || fail "restored: $(cat "$work/out")"
for k in a b c d; do
	ostrakon key new "$work/anew-$k.key" --unencrypted >/dev/null || fail "key new"
done
run 1 recovery draft "$work/stopped" "$work/draft" "$work"/anew-{a,b,c,d}.key --genesis "$net/genesis.json"
grep -q 'governance has replaced' "$work/err" || fail "draft: $(cat "$work/err")"

# ---- a restored home has the newest set, and observes, with the key of its place in it -----------
mv "$net/node1" "$work/node1"
cp -r "$work/home" "$net/node1"
cp "$work/node1/validator.key" "$work/node1/ostrakond.conf" "$net/node1"
run 0 net up "$net"
await node1 epoch 2
await node1 role observer
run 0 put sixth six --home "$net" --timeout 60s
run 0 status --home "$net/node2" -o json
goal=$(field final_height)
for ((try = 0; try < 900; try++)); do
	run 0 status --home "$net/node1" -o json
	[ "$(field final_height)" -lt "$goal" ] || break
	sleep 0.1
done
[ "$(ostrakon get sixth --home "$net/node1")" = six ] || fail "the restored node is not level"
run 0 net down "$net" node3
no_commit no vote
run 0 net down "$net"
rm -rf "$net/node1"
mv "$work/node1" "$net/node1"
echo "backups across two ends: height $height, root $root"

# ---- repaired, with the record of an epoch from the others ----------------------------------------
run 0 db repair --home "$net/node1" -o json
[ "$(field epoch)" = 2 ] && [ "$(field fetched_handovers)" = 0 ] || fail "repair: $(cat "$work/out")"
"$top/tests/replica/forget" "$net/node1/data" 1 || fail "forget"
run 5 db check --home "$net/node1"
run 6 db repair --home "$net/node1"
grep -q 'epoch 1' "$work/err" || fail "nobody has it: $(cat "$work/err")"
for k in 2 3 4; do run 0 net up "$net" "node$k"; done
run 0 db repair --home "$net/node1" -o json
[ "$(field epoch)" = 2 ] && [ "$(field fetched_handovers)" = 1 ] || fail "repair: $(cat "$work/out")"
run 0 db check --home "$net/node1" -o json
[ "$(field epochs)" = 2 ] || fail "repaired: $(cat "$work/out")"
run 0 net up "$net"
await node1 epoch 2
await node1 observer null
run 0 net down "$net" node3
run 0 put seventh seven --home "$net" --timeout 60s
echo "repaired across two ends: node1 votes on"

# ---- a new home over several ends: by blocks while they are few, else by a state of the last epoch ---
run 0 bench run --home "$net" --count 1000 --clients 1 --batch 1
ostrakon key new "$work/new3.key" --unencrypted >/dev/null || fail "key new"
run 0 member replace node3 --home "$net" --new-key "$work/new3.key" --governance-key "$governance" \
	--timeout 60s -o json
[ "$(field epoch)" = 3 ] || fail "replace: $(cat "$work/out")" # few blocks in it: its end is what is far
new_home node3 "$work/new3.key"
printf '\n[limits]\nsync_gap = 64\n' >>"$net/node3/ostrakond.conf"
run 0 net up "$net"
await node3 epoch 3
await node3 observer null
way=$(field 'state_sync.completed // 0') # 0: blocks were quicker; tests/sim/check-sync tries the rest
run 0 member list --home "$net/node3" -o json
[ "$(field epoch)" = 3 ] && [ "$(field verified)" = true ] || fail "members: $(cat "$work/out")"
run 0 net down "$net" node1
run 0 put eighth eight --home "$net" --timeout 60s
run 0 net down "$net"
run 0 db check --home "$net/node3" -o json
[ "$(field epochs)" = 3 ] || fail "db check: $(cat "$work/out")"
echo "epoch 3: node3 came there with $way states, votes, and its data is sound"
