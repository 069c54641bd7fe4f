#!/bin/bash
# get --linearizable on a live network: a node that is cut off and behind answers plain reads with
# what it has, and must not answer these; without a quorum nobody does. Run from the top of the
# build tree.
set -uo pipefail

test=linear
. "${srcdir:-..}/tests/live-net.sh"
read_of() { # NODE: what that node alone says
	ostrakon get k --node "$1" --home "$net" 2>/dev/null
}

net_init
export OSTRAKON_HOME=$net
up
ostrakon put k old --timeout 10m >/dev/null 2>&1 || fail "put"
for _ in $(seq 6000); do
	[ "$(read_of node1)" = old ] && break
	sleep 0.02
done
[ "$(read_of node1)" = old ] || fail "node1 does not get the block"

# node1, whom every command asks first, comes back where nobody finds it, and finds nobody.
ostrakon net down "$net" node1 >/dev/null || fail "net down"
sed -i 's/^\(listen\|node[1-4]\) = 127.0.0.1:\([0-9]*\)$/\1 = 127.0.0.1:1/; /^\[api\]/,$s/^listen = .*/listen = 127.0.0.1:0/' \
	"$net/node1/ostrakond.conf"
peers=$(sed -n '/^\[peers\]/,/^\[api\]/p' "$net/node2/ostrakond.conf" | sed -n 's/^node1 = 127.0.0.1:\([0-9]*\)$/\1/p')
sed -i "/^\[peers\]/,/^\[api\]/s/^listen = .*/listen = 127.0.0.1:$((peers + 50))/" "$net/node1/ostrakond.conf"
ostrakon put k new --timeout 10m >/dev/null 2>&1 || fail "put with three"
"$OSTRAKOND" run --home "$net/node1" >/dev/null 2>&1 &
helper_pid=$!
for _ in $(seq 6000); do
	[ "$(read_of node1)" = old ] && break
	sleep 0.02
done
[ "$(read_of node1)" = old ] || fail "node1 is not behind: $(ostrakon get k --node node1 2>&1)"
value=$(ostrakon get k 2>/dev/null)
[ "$value" = old ] || fail "a plain read is meant to be node1's here, not \"$value\""
for i in $(seq 20); do
	value=$(ostrakon get k --linearizable 2>"$work/err") || fail "--linearizable: $(cat "$work/err")"
	[ "$value" = new ] || fail "a stale value, \"$value\", in read $i"
done
# Each write is seen by the read after it.
for i in $(seq 10); do
	ostrakon put k "v$i" --timeout 10m >/dev/null 2>&1 || fail "put $i"
	value=$(ostrakon get k --linearizable -o json 2>/dev/null | jq -r .value)
	[ "$value" = "v$i" ] || fail "\"$value\" after v$i was acknowledged"
done
ostrakon get absent --linearizable >/dev/null 2>&1
[ $? -eq 6 ] || fail "absent is no exit code 6"
# One node alone cannot know.
ostrakon get k --linearizable --node node1 >/dev/null 2>&1
[ $? -eq 2 ] || fail "--linearizable of one node"
# Two that answer are not enough, though one of them is up to date.
ostrakon net pause "$net" node3 >/dev/null && ostrakon net pause "$net" node4 >/dev/null || fail "net pause"
value=$(ostrakon get k --linearizable --timeout 5s -o json 2>/dev/null)
code=$?
[ $code -eq 3 ] || fail "exit code $code without a quorum: $value"
[ "$(jq -r .error <<<"$value")" = no_quorum ] || fail "$value"
[ "$(ostrakon get k --node node2 2>/dev/null)" = v10 ] || fail "a plain read without a quorum"
ostrakon net resume "$net" >/dev/null || fail "net resume"
kill "$helper_pid" && wait "$helper_pid"
helper_pid=
echo "linearizable: 30 reads past a stale node"
