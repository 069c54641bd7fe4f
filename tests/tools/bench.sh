#!/bin/bash
# bench run against four nodes: closed, open, shared connections, a killed leader; what it says
# adds up. bench-compare without etcd: the fields that are promised. Run from the top of the
# build tree.
set -uo pipefail

test=bench
. "${srcdir:-..}/tests/live-net.sh"
compare=$top/tools/bench-compare
bad=0
complain() {
	echo "FAILED: $*" >&2
	bad=1
}
# field NAME: of the JSON on standard input, a number or a word
field() {
	grep -o "\"$1\":[^,}]*" "$work/json" | head -1 | cut -d: -f2- | tr -d '"'
}
# bench NAME WANTED-EXIT ARGUMENT...
bench() {
	local name=$1 want=$2 code
	shift 2
	ostrakon --home "$net" bench run -o json "$@" >"$work/json" 2>"$work/err"
	code=$?
	[ "$code" = "$want" ] || complain "$name: exit code $code, not $want: $(cat "$work/err")"
	[ "$(field acknowledged_missing)" = 0 ] || complain "$name: acknowledged is missing"
	[ "$(field unverified)" = 0 ] || complain "$name: unverified"
}
same() {
	[ "$(field "$2")" = "$3" ] || complain "$1: $2 is $(field "$2"), not $3"
}

net_init --nodes 4
up

bench "closed" 0 --clients 8 --count 200
same "closed" committed 200
same "closed" acknowledged_found 200
same "closed" requests 200
same "closed" loop closed

bench "shared connections" 0 --clients 32 --connections 4 --count 640 --save "$work/save"
same "shared connections" committed 640
same "shared connections" acknowledged_found 640
[ "$(field requests)" -lt 640 ] || complain "shared connections: each has a request of its own"
[ "$(grep -c ' committed ' "$work/save")" = 640 ] || complain "--save does not have them all"

bench "several in a request" 0 --clients 2 --batch 10 --count 100
same "several in a request" committed 100
same "several in a request" requests 10

bench "the same keys again" 0 --keys 10 --count 60
same "the same keys again" committed 60
same "the same keys again" keys 10
for key in 0 9; do
	ostrakon --home "$net" get "bench/$key" >/dev/null || complain "no key $key of 10"
done
ostrakon --home "$net" get bench/10 >/dev/null 2>&1
[ $? -eq 6 ] || complain "an eleventh key of 10"

bench "open" 0 --rate 200 --seconds 2 --warmup 500ms
same "open" loop open
same "open" sent 400
same "open" committed 400
same "open" acknowledged_found 500

# All at the leader: no client sends anything to another node. That they were shared out before
# is what the first line is there for.
submitted() {
	for i in 1 2 3 4; do
		curl -s "$(cat "$net/node$i/api")/metrics" |
			sed -n 's/^ostrakon_transactions_total{outcome="submitted"} //p'
	done
}
asked() { paste -d' ' <(echo "$1") <(echo "$2") | awk '$1 != $2 {n++} END {print n + 0}'; }
before=$(submitted)
bench "shared out" 0 --clients 8 --count 200
same "shared out" at_leader false
then=$(submitted)
[ "$(asked "$before" "$then")" = 4 ] || complain "shared out: $before, then $then"
bench "at the leader" 0 --leader --clients 8 --count 200
same "at the leader" at_leader true
same "at the leader" committed 200
same "at the leader" acknowledged_found 200
now=$(submitted)
[ "$(asked "$then" "$now")" = 1 ] || complain "at the leader: $then, then $now"

# More connections than requests of 32 transactions fit into the window of nonces: smaller ones.
bench "open, many connections" 0 --rate 200 --seconds 1 --clients 40 --connections 40
same "open, many connections" sent 200
same "open, many connections" acknowledged_found 200

# Through a leader's death: nothing is lost, nothing is refused.
(
	sleep 1
	ostrakon net kill "$net" leader >/dev/null 2>&1
) &
bench "a leader dies" 0 --leader --connections 8 --rate 100 --seconds 4 --timeout 10m
wait
same "a leader dies" sent 400
same "a leader dies" committed 400
ostrakon net up "$net" >/dev/null 2>&1

# The whole network dies: it ends by itself, and says what it could not look for again.
: >"$work/dying"
ostrakon --home "$net" bench run -o json --rate 50 --seconds 10 --timeout 1s --save "$work/dying" \
	>"$work/json" 2>"$work/err" &
run=$!
until [ "$(wc -l <"$work/dying")" -ge 10 ] || ! kill -0 $run 2>/dev/null; do sleep 0.1; done
ostrakon net kill "$net" all >/dev/null || complain "net kill"
wait $run
code=$?
[ $code = 1 ] || [ $code = 4 ] || complain "the network dies: exit code $code"
[ "$(field acknowledged_unchecked)" -gt 0 ] && [ "$(field acknowledged_found)" = 0 ] ||
	complain "the network dies: $(cat "$work/json")"
grep -q "could not be looked for again: no node gave their blocks" "$work/err" ||
	complain "the network dies: $(cat "$work/err")"
ostrakon net down "$net" >/dev/null 2>&1
ostrakon --home "$net" bench run --count 10 --timeout 2s >/dev/null 2>&1
code=$?
[ $code = 3 ] || complain "nobody there: exit code $code, not 3"

"$compare" --help | grep -q -- --etcd || complain "bench-compare --help"
"$compare" --clients 0 2>/dev/null
[ $? = 2 ] || complain "bench-compare --clients 0 is no usage error"
"$compare" --etcd "$work/none" --rounds 1 --dir "$work" 2>/dev/null
[ $? = 1 ] || complain "bench-compare does not say that etcd does not run"
# Each closed loop has 20,000 transactions a second signed ahead, of which sanitizers learn nothing.
clients=2,8 rounds=2
[ "$(nm "$OSTRAKOND" 2>/dev/null | grep -c __asan_init)" -eq 0 ] || clients=8 rounds=1
"$compare" --etcd none --ostrakon "$top/tools/ostrakon" --dir "$work" --rounds $rounds --seconds 1 --clients $clients -o json \
	>"$work/json" 2>"$work/err" || complain "bench-compare: $(cat "$work/err")"
for name in tx_per_s p50 p99 verify_per_s_core fdatasync_ms fdatasync_at_once_ms round_trip_ms lone_parts_ms p50_to_parts p50_to_parts_one_disk cores share_of_verification_bound \
	ratio_to_etcd ratio_to_etcd_checking spread other_cpu_share noisy levels rounds loader_cpu_share rss_mib half_load p99_to_p50; do
	grep -q "\"$name\":" "$work/json" || complain "bench-compare: no $name"
done
same "bench-compare" ratio_to_etcd null
same "bench-compare" ratio_to_etcd_checking null
jq -e '.half_load.tx_per_s > .tx_per_s / 4 and .half_load.tx_per_s < .tx_per_s and
	.half_load.p99_to_p50 >= 1 and .half_load.latency_ms.p99 >= .half_load.latency_ms.p50' "$work/json" >"$work/out" ||
	complain "bench-compare: half load: $(jq -c .half_load "$work/json")"
same "bench-compare" acknowledged_found_share 1.0
[ -z "$(ls "$work" | grep bench-compare)" ] || complain "bench-compare leaves files behind"
exit $bad
