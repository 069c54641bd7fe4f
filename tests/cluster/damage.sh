#!/bin/bash
# Damaged data of a live network: bits are flipped in the database of a stopped node; `db check`
# finds each, or everything reads back identical; `db repair` brings the root back from the others,
# and the node votes again; a running node finds damage by itself. Run from the top of the build
# tree. FLIPS=1000 REPAIRS=50 for more.
set -uo pipefail

top=$PWD
PATH=$top/tools:$PATH
export OSTRAKOND=$top/src/node/ostrakond
flips=${FLIPS:-100} repairs=${REPAIRS:-4} seed=${SEED:-1}
work=$(mktemp -d "${TMPDIR:-/tmp}/ostrakon-damage.XXXXXX")
net=$work/net
data=$net/node2/data
export OSTRAKON_TIMEOUT=10m # nothing is judged by the clock
cleanup() {
	ostrakon net down "$net" >/dev/null 2>&1
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
fail() {
	echo "FAILED: $*" >&2
	tail -n 5 "$work/err" >&2
	exit 1
}
run() {
	local want=$1 code=0
	shift
	ostrakon "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
	[ "$code" -eq "$want" ] || fail "exit code $code instead of $want: $*"
}
field() { jq -r ".$1" "$work/out"; }
# flip FILE OFFSET: one bit of that byte
flip() {
	local old
	old=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
	# shellcheck disable=SC2059
	printf "\\x$(printf %02x $((old ^ (1 << RANDOM % 8))))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
RANDOM=$seed

run 0 net init "$net" --nodes 4
run 0 net up "$net"
run 0 bench run --home "$net" --count 1500 --clients 4 --batch 16
run 0 db check --home "$net" -o json
[ "$(field online)" = true ] || fail "not of a running node"
run 7 db repair --home "$net/node2"
run 0 net restart "$net" # so that tables are on the disk, and not the log alone
run 0 put last words --home "$net"
run 0 net down "$net" node2
run 0 db inspect --home "$net/node2" -o json
root=$(field state_root) height=$(field height)
run 0 backup create "$work/sound" --home "$net/node2"

# ---- flipped bits ------------------------------------------------------------------------------
# Each is found, or every record reads back identical.
"$top/tests/replica/flips" "$net/node2" "$flips" "$seed" >"$work/flips" 2>"$work/err" ||
	fail "$(cat "$work/flips")"
cat "$work/flips"

# Some of them again, with the programs that people use: the root is back after a repair, or, where
# what this key has signed is not known for certain any more, that is refused in words and nothing is
# changed.
cp -r "$data" "$work/data"
whole=0 refused=0 tried=0
mapfile -t files < <(cd "$data" && find . -type f -size +0 -printf '%P\n' | grep -v -e '^LO' -e '^OPTIONS' | sort)
total=$(cd "$data" && stat -c %s "${files[@]}" | awk '{n += $1} END {print n}')
while [ $((whole + refused)) -lt "$repairs" ]; do
	at=$((RANDOM * 32768 + RANDOM))
	if [ $((tried % 2)) -eq 0 ]; then # each byte of all as likely, and each file, in turn
		at=$((at % total))
		for file in "${files[@]}"; do
			size=$(stat -c %s "$data/$file")
			[ "$at" -ge "$size" ] || break
			at=$((at - size))
		done
	else
		file=${files[RANDOM % ${#files[@]}]}
		at=$((at % $(stat -c %s "$data/$file")))
	fi
	flip "$data/$file" "$at"
	code=0
	ostrakon db check --home "$net/node2" >"$work/out" 2>"$work/err" || code=$?
	[ $code -eq 0 ] || [ $code -eq 5 ] || fail "$file, byte $at: exit code $code of db check"
	tried=$((tried + 1))
	if [ $code -eq 5 ]; then
		code=0
		ostrakon db repair --home "$net/node2" >"$work/out" 2>"$work/err" || code=$?
		if [ $code -eq 0 ]; then
			run 0 db check --home "$net/node2" -o json
			[ "$(field height)" -gt "$height" ] || [ "$(field state_root)" = "$root" ] ||
				fail "$file, byte $at: repaired to another root"
			whole=$((whole + 1))
		else
			grep -q -e 'must never vote' -e 'what it has signed is not known' "$work/err" ||
				fail "$file, byte $at: exit code $code of db repair"
			[ ! -e "$net/node2/data.damaged.1" ] || fail "$file, byte $at: refused, and something changed"
			refused=$((refused + 1))
			echo "refused: $file: $(head -n 1 "$work/err")" >>"$work/refused"
		fi
	fi
	rm -rf "$net"/node2/data.damaged.* "$data"
	cp -r "$work/data" "$data"
done
run 0 db check --home "$net/node2"

# ---- repaired ----------------------------------------------------------------------------------
# Blocks are the largest family; what is damaged of them comes from the others.
big=$(find "$data" -name '*.sst' -printf '%s %p\n' | sort -n | tail -1 | cut -d' ' -f2)
mid=$(find "$data" -name '*.sst' -printf '%s %p\n' | sort -n | tail -2 | head -1 | cut -d' ' -f2)
for f in "$big" "$mid"; do
	size=$(stat -c %s "$f")
	flip "$f" $((size / 3))
	flip "$f" $((size / 2))
done
run 5 db check --home "$net/node2" -o json
damaged=$(field damaged)
[ "$damaged" -gt 0 ] && jq -e '.findings[0].advice != ""' "$work/out" >/dev/null || fail "no findings"
for delay in 0.02 0.1 0.2; do # killed on the way: the old data is there still
	ostrakon db repair --home "$net/node2" >/dev/null 2>&1 &
	sleep "$delay"
	kill -9 $! 2>/dev/null
	wait $! 2>/dev/null
	[ -e "$data/CURRENT" ] || fail "no data after a kill"
done
if [ ! -e "$net/node2/data.damaged.1" ]; then # else it was quicker than the kill
	run 0 db repair --home "$net/node2" -o json
	fetched=$(field fetched_blocks)
fi
run 0 db check --home "$net/node2" -o json
run 0 db inspect --home "$net/node2" -o json
[ "$(field height)" -ge "$height" ] && [ "$(field vote_slots)" -gt 0 ] || fail "not whole: $(cat "$work/out")"
[ "$(field height)" -ne "$height" ] || [ "$(field state_root)" = "$root" ] || fail "another root"
run 0 net up "$net"
run 0 net down "$net" node4 # now node2 is needed for a quorum
run 0 put after repair --home "$net"
run 0 net up "$net"

# ---- without the others ------------------------------------------------------------------------
run 0 net down "$net"
cp -r "$net/node3" "$work/node3"
for f in "$net"/node3/data/*.sst; do
	size=$(stat -c %s "$f")
	[ "$size" -lt 100000 ] || flip "$f" $((size / 2))
done
code=0
ostrakon db repair --home "$net/node3" >"$work/out" 2>"$work/err" || code=$?
[ $code -ne 0 ] || run 0 db check --home "$net/node3" # nothing but state was hit
rm -rf "$net/node3" && mv "$work/node3" "$net/node3"

# ---- a running node finds it, and mends it ------------------------------------------------------
# metric NAME: of node1
metric() { curl -s "$url/metrics" | sed -n "s/^ostrakon_$1 //p"; }
sed -i '/^\[limits\]/d; /^scrub_/d' "$net/node1/ostrakond.conf"
printf '\n[limits]\nscrub_interval = 1\nscrub_rate = 4000000\n' >>"$net/node1/ostrakond.conf"
run 0 net up "$net"
run 0 bench run --home "$net" --count 2000 --clients 4 --batch 1 # blocks that no start needs
run 0 net down "$net"
run 0 db inspect --home "$net/node1" -o json
root=$(field state_root) height=$(field height)
"$top/tests/replica/plant" "$net/node1" 400 2 "$seed" >"$work/planted" 2>"$work/err" || fail "nothing is planted"
run 5 db check --home "$net/node1" -o json
run 0 net up "$net"
url=$(cat "$net/node1/api")
for ((try = 0; try < 6000; try++)); do
	[ "$(metric scrub_mended_total)" -eq 0 ] || [ "$(metric scrub_damaged_records)" -ne 0 ] || break
	sleep 0.1
done
mended=$(metric scrub_mended_total) sent=$(metric scrub_fetched_total)
[ "$try" -lt 6000 ] || fail "a running node does not mend itself: $(grep scrub "$net/node1/ostrakond.log" | tail)"
[ "$sent" -gt 0 ] && [ "$mended" -ge "$sent" ] || fail "$mended mended, $sent of them with what others sent"
[ "$(metric scrub_left_total)" -eq 0 ] || fail "not mended: $(grep 'not mended' "$net/node1/ostrakond.log" | head -n 3)"
grep -q 'scrub: mended blocks .* sent by node[234]' "$net/node1/ostrakond.log" || fail "no line of whom it was from"
curl -s -m 5 "$url/v1/events?types=consensus&from=0" >"$work/events"
grep -q '"scrub".*"mended' "$work/events" || fail "no event of the mending: $(head -c 400 "$work/events")"
run 0 net down "$net" node1
run 0 db check --home "$net/node1" -o json
run 0 db inspect --home "$net/node1" -o json
[ "$(field height)" -gt "$height" ] || [ "$(field state_root)" = "$root" ] || fail "mended to another root"

# ---- a file of which a page cannot be read -----------------------------------------------------
# It is written anew and goes, or what to do is said.
run 0 net up "$net"
url=$(cat "$net/node1/api")
for ((try = 0; try < 6000; try++)); do
	[ "$(metric scrub_runs_total)" -lt 2 ] || break
	sleep 0.1
done
[ "$(metric scrub_runs_total)" -ge 2 ] || fail "no scrub ended"
[ "$(metric scrub_damaged_records)" -eq 0 ] || fail "sound data is called damaged: $(grep scrub "$net/node1/ostrakond.log")"
[ "$(metric scrub_failed)" -eq 0 ] || fail "scrub failed: $(grep scrub "$net/node1/ostrakond.log")"
pages=0 said=0
for nth in 1 2; do
	: >"$net/node1/ostrakond.log"
	before=$(metric scrub_mended_total)
	big=$(find "$net/node1/data" -name '*.sst' -printf '%s %p\n' | sort -n | tail -$nth | head -1 | cut -d' ' -f2)
	flip "$big" $(($(stat -c %s "$big") / 2))
	for ((try = 0; try < 6000; try++)); do
		if grep -q 'Stop this node\|stop this node' "$net/node1/ostrakond.log"; then
			said=$((said + 1))
			break
		elif [ "$(metric scrub_mended_total)" -gt "$before" ] && [ "$(metric scrub_damaged_records)" -eq 0 ]; then
			pages=$((pages + 1))
			break
		fi
		sleep 0.1
	done
	[ "$try" -lt 6000 ] || fail "a running node neither mends a file nor says what to do"
	grep -q 'scrub: .*\(damaged\|could be read\)' "$net/node1/ostrakond.log" || fail "no line in the log"
done
curl -s -m 5 "$url/v1/events?types=consensus&from=0" >"$work/events"
grep -q '"scrub"' "$work/events" || fail "no event: $(head -c 400 "$work/events")"
run 0 net down "$net" node1
if [ "$said" -eq 0 ]; then
	run 0 db check --home "$net/node1" -o json
else # as it was said
	run 0 db repair --home "$net/node1"
	run 0 db check --home "$net/node1" -o json
fi
sed 's/: .*: /: /; s/[0-9]\{6\}/N/g' "$work/refused" 2>/dev/null | cut -c 1-120 | sort | uniq -c
echo "of $tried bits that were flipped again, $whole repaired to the same root, $refused repairs refused; with" \
	"more damage: $damaged records, ${fetched:-?} blocks fetched; planted: $(cat "$work/planted")- $mended findings" \
	"mended by the running node, $sent of them with what others sent; of two bad files $pages written anew"
