#!/bin/sh
# What four nodes with nothing to do cost: prints utime+stime over a minute as a share of a core
# for each, and how many blocks they made. By hand: tests/node/idle.sh [SECONDS], from the top of
# the build tree.
set -eu
seconds=${1:-60}
dir=$(mktemp -d)
pids=
trap 'kill $pids 2>/dev/null || true; wait; rm -r "$dir"' EXIT
start() {
	pids=
	rm -rf "$dir"/*
	tests/node/api-load homes "$dir" 4
	for i in 1 2 3 4; do
		src/node/ostrakond run --home "$dir/node$i" 2> "$dir/log$i" &
		pids="$pids $!"
	done
	sleep 5
	kill -0 $pids 2>/dev/null # all of them, or a port was taken
}
try=1
until start $try; do
	kill $pids 2>/dev/null || true
	wait
	[ $try -lt 5 ] || { tail -n 3 "$dir"/log*; exit 1; }
	try=$((try + 1))
done
height() { curl -fsS "$(cat "$dir/node1/api")/v1/status" | sed 's/.*"final_height":"\([0-9]*\)".*/\1/'; }
ticks() { for p in $pids; do cut -d' ' -f14,15 "/proc/$p/stat" | tr ' ' '+'; done; }
hz=$(getconf CLK_TCK)
before=$(height)
first=$(ticks)
sleep "$seconds"
second=$(ticks)
printf '{"seconds": %s, "blocks": %s, "core_percent": [' "$seconds" $(($(height) - before))
n=1
for t in $second; do
	f=$(echo "$first" | sed -n "${n}p")
	used=$((($t) - ($f)))
	[ $n -gt 1 ] && printf ', '
	echo "$used $hz $seconds" | awk '{printf "%.2f", 100 * $1 / $2 / $3}'
	n=$((n + 1))
done
printf ']}\n'
