#!/bin/bash
# What nodes log: lines that machines can read, levels for each module, and, when work waits in vain,
# the line that says why. Run from the top of the build tree.
set -uo pipefail

test=logs
. "${srcdir:-..}/tests/live-net.sh"
log() {
	echo "$net/$1/ostrakond.log"
}
# wait_for NODE JQ-CONDITION: a line of its log, in JSON, fits
wait_for() {
	for _ in $(seq 6000); do
		jq "select($2)" "$(log "$1")" >"$work/line" 2>/dev/null
		[ ! -s "$work/line" ] || return
		sleep 0.1
	done
	fail "$1 logs no line with $2: $(tail -n 5 "$(log "$1")")"
}

net_init
export OSTRAKON_HOME=$net
sed -i 's/^\[node\]$/[node]\nlog_format = json/' "$net"/node[123]/ostrakond.conf
sed -i '/^log = /d; s/^\[node\]$/[node]\nlog = error,consensus=debug\nlog_format = logfmt/' "$net/node4/ostrakond.conf"
grep -q '^log_format = json$' "$net/node1/ostrakond.conf" || fail "no [node] to add to"
up
ostrakon put k v --timeout 10m >/dev/null 2>&1 || fail "put"

# Two followers stand still. The leader waits for their votes; the follower that is left knows only
# that what it forwarded does not come back.
leader=$(ostrakon net status -o json | jq -r '[.nodes[] | select(.role == "leader")] | max_by(.term) | .name')
read -r follower silent1 silent2 <<<"$(printf 'node%s\n' 1 2 3 4 | grep -vx "$leader" | tac | xargs)"
[ "$follower" != node4 ] || read -r silent1 follower silent2 <<<"$follower $silent1 $silent2" # its log differs
ostrakon net pause "$net" "$silent1" >/dev/null && ostrakon net pause "$net" "$silent2" >/dev/null ||
	fail "net pause"
ostrakon put k w --node "$follower" --timeout 500ms >/dev/null 2>&1
[ $? -eq 4 ] || fail "a put without a quorum"
line='.module == "consensus" and .level == "warn" and (.pending // 0) >= 1 and .stalled_ms > 0'
reason="test(\"[0-9]+ transactions wait and nothing was final for [0-9]+ ms: \")"
if [ "$leader" != node4 ]; then
	wait_for "$leader" "$line and (.waiting | test(\"quorum|votes\")) and (.message | $reason)
		and (.who | test(\"$silent1\")) and (.who | test(\"$silent2\"))"
	echo "$leader: $(jq -rs '.[-1] | "pending=\(.pending) stalled_ms=\(.stalled_ms) waiting=\(.waiting) who=\(.who): \(.message)"' "$work/line")"
fi
wait_for "$follower" "$line and .waiting != \"\" and .who != \"\" and (.message | $reason)"
# It is said again, not once, and not at each turn.
for _ in $(seq 6000); do
	count=$(jq -c "select($line)" "$(log "$follower")" | wc -l)
	[ "$count" -lt 2 ] || break
	sleep 0.1
done
[ "$count" -ge 2 ] || fail "it is not repeated"
jq -rs "[.[] | select($line) | .time[0:19] + \"Z\" | fromdate] | [.[1:], .[:-1]] | transpose | map(.[0] - .[1]) | min >= 1" \
	"$(log "$follower")" | grep -qx true || fail "more often than every three seconds"
ostrakon net resume "$net" >/dev/null || fail "net resume"
for _ in $(seq 6000); do
	ostrakon put k x --timeout 30s >/dev/null 2>&1 && break
done
[ "$(ostrakon get k --linearizable)" = x ] || fail "no progress after all"
wait_for "$follower" '.level == "info" and (.message | test("no transaction waits in vain any more"))'

# Every line of theirs is an object with a time, a known level, a known module and a message.
for node in node1 node2 node3; do
	jq -e -s 'length > 1 and all(.[]; (.time | test("^[0-9-]{10}T[0-9:]{8}\\.[0-9]{3}Z$"))
		and (.level | IN("error", "warn", "info"))
		and (.module | IN("node", "consensus", "ledger", "net", "api")) and (.message | length > 0))' \
		"$(log $node)" >/dev/null || fail "$node: not all lines are whole"
done
# error,consensus=debug: of others only errors, of consensus each block; logfmt.
awk '!/^time=[^ ]+ level=(error|warn|info|debug) module=[a-z]+ msg="/ {print; bad = 1}
	/ level=info module=consensus / {info++}
	/ level=debug module=consensus .* height=[0-9]+ term=[0-9]+ mode=fast txs=1 grade=one_round / {debug++}
	!/ module=consensus / && !/ level=error / {print; bad = 1}
	END {exit bad || !info || !debug}' "$(log node4)" >"$work/odd" || fail "node4: $(head -n 3 "$work/odd")"
ostrakon net down "$net" >/dev/null || fail "net down"
echo "logs: $(cat "$net"/*/ostrakond.log | wc -l) lines"
