#!/bin/bash
# Disaster: three of four validators are lost for good. k of m recovery keys sign where the chain goes
# on, and with which keys; it restarts there, with its identity; old receipts hold, what was cut off is
# shown as that. Twice, and of a chain in pbft mode too. Run from the top of the build tree.
set -uo pipefail

test=recovery
. "${srcdir:-..}/tests/live-net.sh"
export OSTRAKON_TIMEOUT=10m
run() {
	local want=$1 code=0
	shift
	ostrakon "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
	[ "$code" -eq "$want" ] || fail "exit code $code instead of $want: $*: $(tail -n 3 "$work/err") $(head -c 300 "$work/out")"
}
says() { grep -q -e "$1" "$work/err" "$work/out" || fail "no \"$1\": $(cat "$work/err" "$work/out")"; }
field() { jq -r ".$1" "$work/out"; }
# put KEY VALUE PROOF: and keeps the proof that it was committed
put() {
	run 0 put "$1" "$2" --home "$net" -o json
	run 0 tx status "$(field tx)" --prove --home "$net" -o json
	cp "$work/out" "$3"
}
level() { # NODE: has what node1 has
	local goal try
	run 0 status --home "$net/node1" -o json
	goal=$(field final_height)
	for ((try = 0; try < 6000; try++)); do
		run 0 status --home "$net/$1" -o json
		[ "$(field final_height)" -lt "$goal" ] || return 0
		sleep 0.1
	done
	fail "$1 is not level"
}

# recover NUMBER BACKUP: the network in $net, of which only BACKUP is left; its new one is in $net then
recover() {
	local number=$1 backup=$2 keys=() i new=$work/net$1 doc=$work/recovery$1
	for i in 1 2 3 4; do
		run 0 key new "$work/new$number-$i.key" --unencrypted
		keys+=("$work/new$number-$i.key")
	done
	run 2 recovery draft "$backup" "$doc" "${keys[@]:0:3}" --genesis "$net/genesis.json"
	run 1 recovery draft "$backup" "$doc" "${keys[@]:0:3}" "${keys[0]}" --genesis "$net/genesis.json"
	[ -e "$old_key" ] && run 1 recovery draft "$backup" "$doc" "${keys[@]:0:3}" "$old_key" --genesis "$net/genesis.json" &&
		says 'was one before'
	run 0 recovery draft "$backup" "$doc" "${keys[@]}" --genesis "$net/genesis.json" -o json
	[ "$(field height)" = "$kept_height" ] && [ "$(field complete)" = false ] || fail "drafted: $(cat "$work/out")"
	run 7 recovery draft "$backup" "$doc" "${keys[@]}" --genesis "$net/genesis.json"
	run 1 recovery show "$doc" --genesis "$net/genesis.json"
	run 1 recovery sign "$doc" --key "$work/net/client.key" --genesis "$net/genesis.json"
	run 0 recovery sign "$doc" --key "$work/net/recovery/recovery3.key" --genesis "$net/genesis.json"
	run 1 recovery show "$doc" --genesis "$net/genesis.json"
	says '1 of the 3 recovery keys have signed it: 2 must'
	run 1 recovery genesis "$doc" --genesis "$net/genesis.json"
	run 1 recovery start "$backup" "$doc" "$work/no" --key "${keys[0]}" --genesis "$net/genesis.json"
	run 0 recovery sign "$doc" --key "$work/net/recovery/recovery3.key" --genesis "$net/genesis.json" # twice is once
	run 1 recovery show "$doc" --genesis "$net/genesis.json"
	run 0 recovery sign "$doc" --key "$work/net/recovery/recovery1.key" --genesis "$net/genesis.json" -o json
	[ "$(field complete)" = true ] && [ "$(jq '.signed_by | length' "$work/out")" = 2 ] || fail "signed: $(cat "$work/out")"
	run 0 recovery show "$doc" --genesis "$net/genesis.json"

	mkdir "$new"
	run 0 recovery genesis "$doc" --genesis "$net/genesis.json"
	cp "$work/out" "$new/genesis.json"
	cp "$work/net/client.key" "$new/client.key"
	run 1 recovery start "$backup" "$doc" "$work/no" --key "$work/net/client.key" --genesis "$net/genesis.json"
	run 5 recovery start "$work/older" "$doc" "$work/no" --key "${keys[0]}" --genesis "$net/genesis.json"
	[ ! -e "$work/no" ] && [ ! -e "$work/no.partial" ] || fail "half a home"
	for i in 1 2 3 4; do
		if [ "$number-$i" = 1-4 ]; then
			# With a new key and nothing else: it comes level from genesis on, through both sets of
			# validators, and votes.
			mapfile -t addresses < <(sed -n 's/^\(node[1-3]\) = /--peer=\1=/p; s/^node4 = /--peers-listen=/p' "$work/conf/node4.conf")
			"$OSTRAKOND" init --home "$new/node4" --genesis "$new/genesis.json" --key "${keys[3]}" \
				"${addresses[@]}" >"$work/out" 2>"$work/err" || fail "init"
			cp "$work/conf/node4.conf" "$new/node4/ostrakond.conf"
			continue
		fi
		run 0 recovery start "$backup" "$doc" "$new/node$i" --key "${keys[i - 1]}" --genesis "$net/genesis.json"
		[ "$(stat -c %a "$new/node$i/validator.key")" = 600 ] || fail "others can read the key"
		cp "$work/conf/node$i.conf" "$new/node$i/ostrakond.conf"
	done
	run 7 recovery start "$backup" "$doc" "$new/node1" --key "${keys[0]}" --genesis "$net/genesis.json"
	run 7 recovery start "$backup" "$doc" "$work/no" --key "${keys[0]}" --genesis "$net/genesis.json"
	says 'has, or has had, a home'
	cp "$net/genesis.json" "$work/genesis.before"
	net=$new
	run 0 net up "$net"
}

# disaster ARGUMENTS...
disaster() {
	net=$work/net older=$work/older
	rm -rf "$work"/*
	mkdir "$work/conf"
	run 0 net init "$net" --nodes 4 "$@"
	for i in 1 2 3 4; do cp "$net/node$i/ostrakond.conf" "$work/conf/node$i.conf"; done
	cp "$net/node2/validator.key" "$work/old.key"
	old_key=$work/old.key
	run 0 net up "$net"
	run 0 put first one --home "$net"
	run 0 backup create "$work/older" --home "$net/node1"
	run 0 bench run --home "$net" --count 300 --clients 4 --batch 8
	put early kept "$work/early.json"
	level node2
	run 0 net down "$net" node1 # the one that will be left
	run 0 backup create "$work/backup" --home "$net/node1" -o json
	kept_height=$(field height) chain=$(field chain_id)
	put late lost "$work/late.json"
	run 0 verify "$work/late.json" --genesis "$net/genesis.json"
	run 0 net down "$net"
	mv "$net/node2" "$work/went-on"
	rm -rf "$net"/node[34]

	recover 1 "$work/backup"
	run 0 get early --home "$net" -o json
	[ "$(field value)" = kept ] || fail "what was kept is not there"
	run 6 get late --home "$net"
	put after recovery "$work/after.json"
	run 0 evidence --verify --home "$net"
	run 0 modes --verify --home "$net"
	# receipts: kept, cut off, new; with the genesis file of before and of now
	run 0 verify "$work/early.json" --genesis "$net/genesis.json"
	run 0 verify "$work/after.json" --genesis "$net/genesis.json"
	run 5 verify "$work/after.json" --genesis "$work/genesis.before"
	says 'it is of other validators than the genesis file'
	run 0 verify "$work/late.json" --genesis "$work/genesis.before"
	run 5 verify "$work/late.json" --genesis "$net/genesis.json" -o json
	[ "$(field error)" = cut_off ] || fail "not shown as cut off: $(cat "$work/out")"
	says "was wrongly cut off by that recovery, which keeps the chain up to block $kept_height"
	# a fault is tolerated again, whoever it is; everybody comes back
	for i in 1 2 3 4; do
		run 0 net kill "$net" node$i
		run 0 put "without$i" it --home "$net"
		run 0 net up "$net"
		level node$i
	done
	run 0 net restart "$net"
	run 0 put restarted yes --home "$net"
	for i in 2 3 4; do level node$i; done
	# the data of a recovered node
	run 0 db check --home "$net/node2"
	run 0 net down "$net" node2
	run 0 db repair --home "$net/node2"
	run 0 net up "$net"
	run 0 net down "$net" node3 # node2 is needed
	run 0 put repaired yes --home "$net"
	run 0 net up "$net"
	run 0 backup create "$work/backup2" --home "$net/node2" -o json
	[ "$(field chain_id)" = "$chain" ] || fail "another chain"
	run 0 backup verify "$work/backup2"
	run 0 backup verify "$work/backup2" --genesis "$net/genesis.json"
}

disaster --checkpoint-interval 8
# an old key is no validator's any more
cp -r "$work/net/node1" "$work/stray"
cp "$net/genesis.json" "$work/stray/genesis.json"
"$OSTRAKOND" check-config --home "$work/stray" >"$work/err" 2>&1
[ $? -eq 78 ] && says 'not that of a validator' || fail "an old key starts"
# altered documents
size=$(stat -c %s "$work/recovery1")
for at in 0 9 12 45 80 120 200 $((size - 1)); do
	cp "$work/recovery1" "$work/altered"
	byte=$(od -An -tu1 -j "$at" -N 1 "$work/altered")
	printf "\\x$(printf '%02x' $((byte ^ 0x5a)))" |
		dd of="$work/altered" bs=1 seek="$at" conv=notrunc 2>/dev/null
	cmp -s "$work/recovery1" "$work/altered" && fail "nothing is altered at $at"
	run 5 recovery show "$work/altered" --genesis "$work/genesis.before"
done
run 0 net down "$net"
# a new key in an old home: votes of another key, and, if it went on, blocks that were cut off
cp "$net/node1/validator.key" "$work/stray/validator.key"
"$OSTRAKOND" run --home "$work/stray" >"$work/err" 2>&1
[ $? -eq 78 ] && says 'is of the keys before recovery 1' || fail "a new key starts on old votes"
cp "$net/genesis.json" "$work/went-on/genesis.json"
cp "$net/node2/validator.key" "$work/went-on/validator.key"
"$OSTRAKOND" run --home "$work/went-on" >"$work/err" 2>&1
[ $? -eq 78 ] && says 'has blocks that recovery 1 cut off' || fail "a home starts whose blocks were cut off"
# and once more, from a node's data
run 0 backup create "$work/backup3" --home "$net/node3" -o json
kept_height=$(field height)
old_key=$net/node3/validator.key
recover 2 "$work/backup3"
put again recovered "$work/again.json"
run 0 verify "$work/again.json" --genesis "$net/genesis.json"
run 0 verify "$work/after.json" --genesis "$net/genesis.json"
run 0 verify "$work/early.json" --genesis "$net/genesis.json"
run 5 verify "$work/late.json" --genesis "$net/genesis.json" -o json
[ "$(field error)" = cut_off ] || fail "not shown as cut off: $(cat "$work/out")"
run 5 verify "$work/again.json" --genesis "$work/genesis.before"
run 0 db check --home "$net/node1"
run 0 net down "$net"
disaster --protocol pbft
echo "recovered three times: chain $chain goes on, receipts of before and after hold, one was wrongly cut off"
