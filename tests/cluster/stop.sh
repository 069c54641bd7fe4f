#!/bin/bash
# Graceful stop of live nodes under load, leader and follower in turn: each ends with exit code 0, what
# was acknowledged is there, the others go on; a second signal ends a node at once, with code 130. How
# long a stop takes, and how long it is until the next transaction is final, is printed and judged by
# hand: the aim is two seconds. Run from the top of the build tree. STOPS=20 for more.
set -uo pipefail

test=stop seed=${SEED:-1} rate=${STORM_RATE:-100} nodes=4 load_chunk=5
# shellcheck source=tests/cluster/common.sh
. "$(dirname "$0")/common.sh"
stops=${STOPS:-6}

ostrakon net init "$net" --nodes "$nodes" >/dev/null 2>&1 || fail "net init"
ostrakon net up "$net" --timeout 10m >/dev/null || fail "net up"
load_begin
progress 100

ms() { echo $(($(date +%s%N) / 1000000)); }
# Not this shell's child: until it is gone.
ended() { # PID
	while [ -d "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; do sleep 0.005; done
}
times=() gaps=()
for ((i = 0; i < stops; i++)); do
	role=$([ $((i % 2)) -eq 0 ] && echo leader || echo follower)
	victim=$(victim_of $role)
	pid=$(cat "$net/$victim/ostrakond.pid")
	lines=$(wc -l <"$net/$victim/ostrakond.log")
	# Clients that will not be hurried: half a request, and a reader of events.
	address=$(url "$victim")
	exec 3<>"/dev/tcp/127.0.0.1/${address##*:}"
	printf 'POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\nabc' >&3
	curl -sN "$address/v1/events" >"$work/events.$i" 2>/dev/null &
	reader=$!
	until [ -s "$work/events.$i" ] || ! kill -0 "$reader" 2>/dev/null; do sleep 0.01; done
	began_ms=$(ms)
	kill -TERM "$pid"
	ended "$pid"
	took=$(($(ms) - began_ms))
	exec 3>&-
	wait "$reader"
	tail -n +$((lines + 1)) "$net/$victim/ostrakond.log" | grep -q ' stopped$' ||
		fail "$victim did not end as asked: $(tail -n 3 "$net/$victim/ostrakond.log")"
	progress 50 "$victim ($role) was stopped"
	gap=$(($(ms) - began_ms))
	say "$victim ($role) stopped in $took ms; 50 more were acknowledged $gap ms after the signal"
	times+=("$took")
	[ "$role" != leader ] || gaps+=("$gap")
	ostrakon net up "$net" "$victim" --timeout 10m >/dev/null || fail "net up $victim"
	level "$victim"
done
load_end
judge

# ---- the second signal ---------------------------------------------------------------------------
ostrakon net down "$net" --timeout 10m >/dev/null || fail "net down"
"$OSTRAKOND" run --home "$net/node4" >/dev/null 2>&1 &
pid=$!
until [ -s "$net/node4/api" ]; do kill -0 $pid || fail "node4 ends"; sleep 0.02; done
kill -STOP $pid # both signals are there before it looks
kill -TERM $pid
kill -INT $pid
kill -CONT $pid
wait $pid
code=$?
[ $code -eq 130 ] || fail "exit code $code after two signals"
"$OSTRAKOND" run --home "$net/node4" >/dev/null 2>&1 &
pid=$!
until [ -s "$net/node4/api" ] && curl -s "$(cat "$net/node4/api")/livez" >/dev/null; do
	kill -0 $pid || fail "node4 does not start after that"
	sleep 0.02
done
kill -TERM $pid
wait $pid
code=$?
[ $code -eq 0 ] || fail "exit code $code after one signal"
printf '%s\n' "${times[@]}" | jq -s -c --argjson gaps "[$(IFS=,; echo "${gaps[*]}")]" \
	'{stops: length, stop_ms: {median: (sort | .[length / 2 | floor]), max: max},
	  ms_to_50_more_after_a_leader: ($gaps | sort | {median: .[length / 2 | floor], max: max})}'
say "nothing acknowledged is lost, no fork, all state roots equal"
