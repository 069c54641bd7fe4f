#!/bin/bash
# doctor on live networks of four nodes: it must name the cause in each case, and be content before
# and after. Nothing here depends on how long anything takes: each case waits for the verdict.
set -uo pipefail

test=doctor
. "${srcdir:-..}/tests/live-net.sh"
tools=$top/tests/tools
record=${DOCTOR_RECORD:-} # a directory: keep the answers there

fail() {
	echo "FAILED: $*" >&2
	ostrakon doctor --home "$net" >&2
	exit 1
}
network() { # NAME
	net=$work/$1
	net_init
}
healthy() {
	for _ in $(seq 6000); do
		ostrakon doctor --home "$net" -o json >"$work/verdict.json" && {
			jq -e '.healthy and .progress and .findings == []' "$work/verdict.json" \
				>/dev/null || fail "exit code 0, but it says otherwise"
			return
		}
		sleep 0.1
	done
	fail "not healthy: $(jq -c '[.findings[] | [.cause, .nodes]]' "$work/verdict.json")"
}
# expect CAUSE NODES-JSON JQ-CONDITION: waits until the finding is there
expect() {
	local code
	for _ in $(seq 3000); do
		ostrakon doctor --home "$net" -o json --save "$work/answers.json" \
			>"$work/verdict.json"
		code=$?
		[ "$code" -eq 0 ] || [ "$code" -eq 1 ] || fail "exit code $code"
		if jq -e --arg cause "$1" --argjson nodes "$2" \
			"(.findings[] | select(.cause == \$cause and .nodes == \$nodes)
				| .what_to_do != \"\" and .text != \"\") and ($3)" \
			"$work/verdict.json" >/dev/null; then
			[ "$code" -eq 1 ] || fail "findings, and exit code $code"
			echo "ok  $1 $2: $(jq -r --arg cause "$1" \
				'first(.findings[] | select(.cause == $cause)).text' \
				"$work/verdict.json")"
			[ -z "$record" ] || cp "$work/answers.json" "$record/$4.json"
			return
		fi
		sleep 0.2
	done
	fail "no finding $1 $2: $(jq -c '[.progress, [.findings[] | [.cause, .nodes]]]' "$work/verdict.json")"
}
leader() { # waits until there is one: an election may just be on
	local name=null
	while [ "$name" = null ]; do
		name=$(ostrakon net status "$net" -o json | jq -r \
			'[.nodes[] | select(.role == "leader")] | max_by(.term) | .name')
	done
	echo "$name"
}

# ---- two of four nodes dead ------------------------------------------------------------------
network dead
up
healthy
[ -z "$record" ] || ostrakon doctor --home "$net" -o json --save "$record/healthy.json" >/dev/null
ostrakon net kill "$net" node3 >/dev/null
expect node_down '["node3"]' '.progress' one-dead
ostrakon net kill "$net" node4 >/dev/null
ostrakon put k v --home "$net" --timeout 1s >/dev/null 2>&1
expect quorum_lost '["node3","node4"]' \
	'.progress == false and ([.findings[].cause] | index("node_down") != null)
		and ([.waiting[].who] | flatten | any(. == "node3" or . == "node4"))' two-dead
up
healthy

# ---- a stopped leader ------------------------------------------------------------------------
stopped=$(leader)
ostrakon net pause "$net" "$stopped" >/dev/null || fail "net pause"
expect node_stopped "[\"$stopped\"]" 'true' stopped-leader
ostrakon net resume "$net" >/dev/null
healthy
ostrakon net down "$net" >/dev/null || fail "net down"

# ---- another genesis on one node -------------------------------------------------------------
network genesis
ostrakon net init "$work/other" >/dev/null 2>&1
jq --slurpfile own "$net/genesis.json" '$own[0] + {time_ms: .time_ms, name: "another"}' \
	"$work/other/genesis.json" >"$net/node2/genesis.json"
cp -r "$net/node2/data" "$work/data" # its first vote state, of no chain yet
up
expect wrong_genesis '["node2"]' '.progress' wrong-genesis
cp "$net/genesis.json" "$net/node2/genesis.json"
ostrakon net down "$net" node2 >/dev/null
rm -rf "$net/node2/data"
up
expect node_observer '["node2"]' '.progress' observer
ostrakon net down "$net" node2 >/dev/null
rm -rf "$net/node2/data"
mv "$work/data" "$net/node2/data"
up
healthy
ostrakon net down "$net" >/dev/null || fail "net down"

# ---- bytes lost in one direction -------------------------------------------------------------
network oneway
conf=$net/node1/ostrakond.conf
target=$(sed -n 's/^node3 = 127.0.0.1:\([0-9]*\)$/\1/p' "$conf")
relay_port=$((target + 40))
"$tools/one-way" "$relay_port" "$target" "$work/cut" &
helper_pid=$!
sed -i "s/^node3 = .*/node3 = 127.0.0.1:$relay_port/" "$conf"
up
healthy
touch "$work/cut"
expect one_way_partition '["node1","node3"]' '.progress' one-way
rm "$work/cut"
healthy
ostrakon net down "$net" >/dev/null || fail "net down"

# ---- a full disk -----------------------------------------------------------------------------
network disk
printf '\n[debug]\ndisk_free_file = %s\n' "$work/free" >>"$net/node4/ostrakond.conf"
echo $((1 << 40)) >"$work/free"
up
healthy
echo 4096 >"$work/free"
expect disk_full '["node4"]' '.progress' full-disk
ostrakon put k v --home "$net" >/dev/null 2>&1 || fail "put with one disk full"
echo $((1 << 40)) >"$work/free"
healthy
ostrakon net down "$net" >/dev/null || fail "net down"

# What follows is preloaded into the node, which the sanitizers' runtime does not suffer.
if [ "$(nm "$OSTRAKOND" 2>/dev/null | grep -c __asan_init)" -gt 0 ]; then
	echo "without a failing disk and a wrong clock: built with a sanitizer"
	exit 0
fi

# faulty NODE FAULT=...: starts it with the fault; only the node, not the program that starts it
faulty() {
	printf '#!/bin/sh\nexec env "%s" "LD_PRELOAD=%s" "%s" "$@"\n' "$2" "$tools/faults.so" \
		"$OSTRAKOND" >"$work/faulty"
	chmod +x "$work/faulty"
	OSTRAKOND=$work/faulty ostrakon net up "$net" "$1" --timeout 10m >/dev/null 2>&1
}

# ---- a disk that fails each write ------------------------------------------------------------
network failing
faulty node4 FAULT_DISK="$work/full"
up
healthy
touch "$work/full"
ostrakon put k v --home "$net" >/dev/null 2>&1 || fail "put with one disk failing"
expect disk_full '["node4"]' '.progress' no-room
rm "$work/full"
healthy # by itself
echo EIO >"$work/full"
ostrakon put k w --home "$net" >/dev/null 2>&1 || fail "put with one disk failing"
expect disk_error '["node4"]' '.progress' eio
rm "$work/full"
ostrakon net restart "$net" node4 >/dev/null || fail "restart"
healthy
ostrakon net down "$net" >/dev/null || fail "net down"

# ---- a clock an hour off ---------------------------------------------------------------------
network clock
faulty node1 FAULT_CLOCK_MS=3600000
up
expect clock_off '["node1"]' 'true' clock-off
ostrakon net restart "$net" node1 >/dev/null || fail "restart"
healthy
ostrakon net down "$net" >/dev/null || fail "net down"
echo "all cases named"
