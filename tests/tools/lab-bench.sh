#!/bin/sh
# `ostrakon-lab sim bench` with tiny counts: it runs, and its JSON has its fields. No time is judged.
lab=./tools/ostrakon-lab
work=$(mktemp -d "${TMPDIR:-/tmp}/ostrakon-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
bad=0
fail() {
	echo "$*"
	bad=1
}
out=$("$lab" sim bench --protocol hybrid,pbft --nodes 4,7 --seconds 0.01 -o jsonl) ||
	fail "exit code $?"
[ "$(echo "$out" | grep -c '^{.*}$')" -eq 4 ] || fail "not four rows: $out"
for field in protocol nodes decisions transactions decisions_per_s messages_per_s \
	messages_per_decision events_per_s bare_events_per_s bare_decisions_per_s share_of_bare \
	real_time_1ms real_time_idle spread calibration sha256_blocks_per_s \
	sha256_blocks_in_a_decision repeat; do
	[ "$(echo "$out" | grep -c "\"$field\": *")" -eq 4 ] || fail "no $field"
done
echo "$out" | grep -q '"bare_events_per_s": *null' && fail "the bare loop was not measured"
# one transaction in each block, beside the first of a term
echo "$out" | sed 's/.*"decisions": *\([0-9]*\),.*"transactions": *\([0-9]*\),.*/\1 \2/' |
	while read -r decisions transactions; do
		[ "$transactions" -gt 0 ] && [ "$decisions" -ge "$transactions" ] &&
			[ $((decisions - transactions)) -le 50 ] ||
			echo "$decisions decisions, $transactions transactions"
	done | grep . && bad=1
"$lab" sim bench --protocol raft,multipaxos --nodes 3 --seconds 0.01 --checked 2>&1 |
	grep -q '^multipaxos' || fail "no table"
"$lab" sim bench -o json --protocol hybrid --nodes 1 --seconds 0.01 | head -1 | grep -q '^\[' ||
	fail "no array"
"$lab" sim bench --unshared --protocol hybrid --nodes 4 --seconds 0.01 -o json |
	grep -q '"unshared": *true' || fail "shared with --unshared"
# Interrupted while decisions are counted: a row of what was measured, and no noughts.
"$lab" sim bench --nodes 4 --protocol hybrid --seconds 600 >"$work/out" 2>"$work/err" &
pid=$!
sleep 1
kill -INT $pid
wait $pid
got=$?
[ "$got" -eq 130 ] || fail "interrupted: exit code $got"
if grep -q '^hybrid' "$work/out"; then
	grep -Eq '^hybrid +4( +[0-9]+){2}( +-){4}( +[0-9]+){2}$' "$work/out" || fail "interrupted: $(cat "$work/out")"
fi
grep -q '^interrupted: ' "$work/err" || fail "interrupted: says $(cat "$work/err")"
for wrong in "--nodes 0" "--nodes 65" "--nodes 4x" "--protocol what" "--seconds 0" \
	"--seconds x" "--output csv" "--what" "--seed 1x" "more"; do
	# shellcheck disable=SC2086 # words
	"$lab" sim bench $wrong >/dev/null 2>&1
	[ $? -eq 2 ] || fail "$wrong is accepted"
done
"$lab" sim bench --help | grep -q real || fail "no help"
[ "$bad" -eq 0 ]
