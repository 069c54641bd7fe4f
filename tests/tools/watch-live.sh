#!/bin/bash
# watch against a network whose nodes die under it: each event once, in order, from any node.
set -uo pipefail

test=watch
. "${srcdir:-..}/tests/live-net.sh"
# expect-code CODE COMMAND...
expect_code() {
	local want=$1 code=0
	shift
	"$@" >"$work/out" 2>"$work/err" || code=$?
	[ "$code" -eq "$want" ] || fail "exit code $code instead of $want: $*: $(cat "$work/err")"
}

net_init
up
count=400
: >"$work/seen.jsonl"
seq -f 'key/%g' $count | awk '{print $1 "\tvalue-" NR}' >"$work/lines.tsv"

ostrakon watch txs --home "$net" --from 0 --count $count --timeout 10m -o jsonl >"$work/seen.jsonl" \
	2>"$work/watch.err" &
helper_pid=$!
# The watcher begins with node1; it and its successors are killed while events come.
ostrakon put --from "$work/lines.tsv" --clients 1 --batch 1 --home "$net" --timeout 10m -o jsonl \
	>"$work/acks.jsonl" 2>/dev/null &
put_pid=$!
for victim in node1 node2 node3; do
	before=$(wc -l <"$work/seen.jsonl")
	for _ in $(seq 3000); do
		now=$(wc -l <"$work/seen.jsonl")
		[ "$now" -lt $((before + 20)) ] || break
		[ "$now" -lt $count ] || break
		sleep 0.02
	done
	ostrakon net kill "$net" "$victim" >/dev/null || fail "net kill $victim"
	ostrakon net up "$net" --timeout 10m >/dev/null || fail "net up after $victim"
done
wait "$put_pid" || fail "the writer"
wait "$helper_pid"
code=$?
helper_pid=
[ "$code" -eq 0 ] || fail "watch ended with $code: $(cat "$work/watch.err")"
jq -r 'select(.event == "txs") | .data.tx' "$work/seen.jsonl" >"$work/seen.txt"
jq -r .tx "$work/acks.jsonl" >"$work/acked.txt"
[ "$(wc -l <"$work/seen.txt")" -eq $count ] || fail "$(wc -l <"$work/seen.txt") of $count seen"
[ "$(sort "$work/seen.txt" | uniq -d | wc -l)" -eq 0 ] || fail "some were seen twice"
cmp -s <(sort "$work/seen.txt") <(sort "$work/acked.txt") || fail "others were seen than put"
jq -r .cursor "$work/seen.jsonl" | awk -F. '{if ($1 < h || ($1 == h && $2 <= i)) exit 1; h = $1; i = $2}' ||
	fail "out of order"

# A cursor in the middle goes on right after it.
middle=$(sed -n '200p' "$work/seen.jsonl" | jq -r .cursor)
expect_code 0 ostrakon watch txs --home "$net" --from "$middle" --count 200 -o json
cmp -s <(jq -r .data.tx "$work/out") <(tail -n 200 "$work/seen.txt") || fail "resumed elsewhere"
# Blocks have no holes; as a table too.
expect_code 0 ostrakon watch blocks --home "$net" --from 1 --count 5
[ "$(wc -l <"$work/out")" -eq 5 ] || fail "five lines wanted"
expect_code 0 ostrakon watch blocks,txs --home "$net" --from 1 --count 20 -o jsonl
jq -s -e '[.[] | select(.event == "blocks") | .data.height] as $h | $h == [range($h[0]; $h[-1] + 1)]' \
	"$work/out" >/dev/null || fail "blocks with holes"
# What a node no longer has is shown as a gap, not passed over.
expect_code 0 ostrakon watch consensus --home "$net" --from 0 --count 1 -o jsonl
jq -e '.event == "gap" and .data.to != null' "$work/out" >/dev/null || fail "no gap: $(cat "$work/out")"

expect_code 2 ostrakon watch block --home "$net"
grep -q 'did you mean "blocks"' "$work/err" || fail "no hint"
expect_code 2 ostrakon watch txs --from half --home "$net"
expect_code 2 ostrakon watch txs --from 1.2.3 --home "$net"
expect_code 2 ostrakon watch
ostrakon watch blocks --home "$net" >/dev/null 2>&1 &
helper_pid=$!
# Of a shell's background job SIGINT is ignored until the program has a handler: bit 1.
until [ $((0x$(awk '/^SigCgt/ {print $2}' "/proc/$helper_pid/status") & 2)) -ne 0 ]; do sleep 0.01; done
kill -INT "$helper_pid"
wait "$helper_pid"
code=$?
helper_pid=
[ "$code" -eq 130 ] || fail "exit code $code after SIGINT"

# The node asked first hangs with its connections open: however short the timeout, the others are
# asked, too. (Several tries: how long those take is not what is tested.)
ostrakon net pause "$net" node1 >/dev/null || fail "net pause"
in_time() {
	for _ in $(seq 20); do
		"$@" >"$work/out" 2>"$work/err" && return
	done
	fail "nobody but the node that hangs was asked: $*: $(cat "$work/err")"
}
in_time ostrakon get key/1 --home "$net" --timeout 3s
in_time ostrakon put key/1 again --home "$net" --timeout 3s
in_time ostrakon watch blocks --home "$net" --from 1 --count 2 --timeout 3s
# And when there is no other, that is what is said.
url=$(ostrakon net status "$net" -o json | jq -r '.nodes[0].url // .nodes[0].api')
expect_code 3 ostrakon watch blocks --node "$url" --timeout 300ms
grep -q '1 of 1 nodes' "$work/err" || fail "who was asked? $(cat "$work/err")"
ostrakon net resume "$net" node1 >/dev/null || fail "net resume"
ostrakon net down "$net" >/dev/null || fail "net down"
expect_code 3 ostrakon watch blocks --home "$net" --timeout 300ms
echo "watch: $count events, each once and in order, through three deaths"
