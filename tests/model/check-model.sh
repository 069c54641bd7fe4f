#!/usr/bin/env bash
# The Promela models of docs/model: builds and runs them with spin, and compares with what must come out
# (docs/model/README.md). About five minutes on two cores.
#
#   check-model.sh [--long]    --long: also what takes an hour
#
# MODEL_JOBS: how many at once (2). MODEL_ONLY: a regular expression; only runs whose line matches.
set -euo pipefail

models=$(cd "${srcdir:-$(dirname "$0")/../..}/docs/model" && pwd)
at_once=${MODEL_JOBS:-2}
long=no
[ "${1:-}" != --long ] || long=yes
for tool in spin gcc; do
	command -v $tool >/dev/null || {
		echo "check-model: $tool is not installed (Debian: apt-get install $tool)" >&2
		exit 2
	}
done
tmp=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$tmp"' EXIT

: >"$tmp/failures"
: >"$tmp/names"

row() {
	printf '%-14s %-5s %-34s %9s %6s %8s %6s %7s  %s\n' "$@"
}

failed() { # INDEX NAME VERDICT
	echo "$2: $3" >>"$tmp/failures"
	[ ! -f out ] || cp out "$tmp/failed.$1"
}

# one INDEX NAME MODEL EXPECT SPIN-FLAGS CC-FLAGS PAN-FLAGS [SECONDS]; EXPECT is ok, error, or partial
# (no error in as much as the seconds allow).
one() {
	local name=$2 model=$3 expect=$4 dir="$tmp/$1" verdict=as-expected
	mkdir -p "$dir"
	cp "$models"/*.pml "$dir"
	cd "$dir"
	# shellcheck disable=SC2086
	if ! spin $5 -a "$model.pml" >build.log 2>&1 || ! gcc -w $6 -DMEMLIM=3500 -o pan pan.c >>build.log 2>&1; then
		cat build.log
		failed "$1" "$name" "does not build"
		return
	fi
	# on SIGINT, pan reports what it has seen until then
	# shellcheck disable=SC2086
	timeout -s INT "${8:-86400}" ./pan $7 >out 2>&1 || true
	local errors states depth seconds reached=- why="" n
	errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' out)
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' out)
	depth=$(sed -n 's/.*depth reached \([0-9]*\).*/\1/p' out)
	seconds=$(sed -n 's/^pan: elapsed time \([0-9.e+-]*\) seconds/\1/p' out)
	n=$(sed -n 's/.*-DN=\([0-9]*\).*/\1/p' <<<"$5")
	if grep -q '^event' out; then
		reached="$(awk '/^event/ && $3 > 0' out | wc -l)/$(grep -c '^event' out)"
		[ "$expect" = error ] || sed -n 's/^event *//p' out >>"$tmp/names"
	fi
	if [ "$expect" = error ]; then
		why=$(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' out)
		case "${errors:-0} $why" in
		*"(t<"*) verdict=BOUND-TOO-SMALL ;;
		1" assertion violated"* | 1" acceptance cycle"*) ;;
		*) verdict=NOT-FOUND ;;
		esac
	elif [ "${errors:-1}" != 0 ]; then
		verdict=ERROR
	elif grep -q 'max search depth too small' out; then
		verdict=TOO-DEEP
	elif [ "$expect" = ok ] && grep -qE 'Search not completed|out of memory|time limit' out; then
		verdict=INCOMPLETE
	fi
	if [ "$model" = counting ]; then
		n=1-19
		reached=$(grep -c '^n=.*visited: [1-9]' out || true)
		[ "$expect" = error ] || [ "$reached" = 19 ] || verdict=NOT-ALL-N
	fi
	[ "$verdict" = as-expected ] || failed "$1" "$name" "$verdict"
	row "$model" "$n" "$name" "${states:--}" "${depth:--}" "${seconds:--}" "${errors:--}" \
		"$reached" "$verdict${why:+: ${why/assertion violated/}}"
	if [ "$model $expect" = "counting ok" ]; then
		sed -n 's/^ *\(n=[0-9]* f=.*\)/    \1/p' out
		sed -n 's/^argument/    argument/p' out
	fi
	cd "$tmp"
	rm -rf "$dir"
}

full="-O2 -DSAFETY"
middle="-O1 -DSAFETY"
short="-O0 -DSAFETY"
fair="-O1 -DNFAIR=3"
runs=()
add() { # NAME MODEL EXPECT SPIN-FLAGS CC-FLAGS PAN-FLAGS [SECONDS]
	if [[ "$2 $4 $1" =~ ${MODEL_ONLY:-} ]]; then
		runs+=("$2|$3|$4|$5|$6|${7:-}|$1")
	fi
}

# ---- the rules as built, the longest first ---------------------------------------------------
add "blocks 1+1+1" fast_and_view ok "-DN=4 -DT=4 -DD1=1 -DD2=1 -DD3=1" "$full" "-m100000 -w24"
add "blocks 2+1, bitstate, cut off" fast_and_view partial "-DN=7" "$full -DBITSTATE" "-m100000 -w30 -k3" 45
add "blocks 1+1" fast_and_view ok "-DN=8 -DD1=1" "$full" "-m100000 -w22"
add "blocks 1+1" fast_and_view ok "-DN=7 -DD1=1" "$middle" "-m100000 -w22"
add "blocks 1+1" fast_and_view ok "-DN=6 -DD1=1" "$middle" "-m100000 -w22"
add "blocks 2+1" fast_and_view ok "-DN=5" "$middle" "-m100000 -w22"
add "blocks 2+1 with checkpoints" fast_and_view ok "-DN=4 -DCHECKPOINTS=1" "$middle" "-m100000 -w22"
add "blocks 2+1" fast_and_view ok "-DN=4" "$middle" "-m100000 -w22"
add "live" terms ok "-DN=4" "$fair" "-a -f -m100000 -w22 -N live"
add "live" terms ok "-DN=5 -DEARLY=1" "$fair" "-a -f -m100000 -w22 -N live"
add "nobody lost" terms ok "-DN=4" "$fair" "-a -f -m100000 -w22 -N nobody_lost"
add "quorums" counting ok "" "$short -DPRINTF" ""
if [ $long = yes ]; then
	add "blocks 2+2" fast_and_view ok "-DN=4 -DD2=2" "$full" "-m100000 -w24"
	add "blocks 2+1" fast_and_view ok "-DN=6" "$full" "-m100000 -w25"
	add "blocks 2+1, bitstate, half an hour" fast_and_view partial "-DN=7" "$full -DBITSTATE" \
		"-m100000 -w34 -k3" 1800
	add "live, 2 early terms" terms ok "-DN=5 -DEARLY=2" "$fair" "-a -f -m500000 -w26 -N live"
	add "live, 3 early terms" terms ok "-DN=4 -DEARLY=3" "$fair" "-a -f -m500000 -w26 -N live"
fi

# ---- broken rules: each must be found --------------------------------------------------------
mutant() { # MODEL N K NAME [MORE-SPIN-FLAGS [CLAIM]]
	local cc=$short pan="-m100000 -w20"
	[ "$1" != terms ] || cc=$fair pan="-a -f -m100000 -w20 -N ${6:-live}"
	add "mutant $3: $4" "$1" error "-DN=$2 -DMUTANT=$3 ${5:-}" "$cc" "$pan"
}
mutant counting 19 1 "n/2+1 for q"
mutant counting 19 2 "q for qf"
mutant counting 19 3 "qv-1"
mutant counting 19 4 "support s-1"
mutant counting 19 5 "equivocator kept in S"
mutant counting 19 6 "qv+1"
mutant counting 19 7 "qf+1"
mutant fast_and_view 4 1 "Raft's election rule"
mutant fast_and_view 4 2 "vote need not extend the tip"
mutant fast_and_view 7 3 "late COMMIT" -DD1=1
mutant fast_and_view 7 4 "COMMIT off chain" -DD1=1
mutant fast_and_view 4 5 "a term with two modes"
mutant fast_and_view 7 7 "q for qf" -DD1=1
mutant fast_and_view 4 8 "support s-1"
mutant fast_and_view 4 9 "equivocator kept in S"
mutant fast_and_view 7 10 "TC's base despite a QC" -DD1=1
mutant fast_and_view 4 11 "one-round commits not seen"
mutant fast_and_view 4 12 "NEW-VIEW of qv-1"
mutant fast_and_view 5 13 "n/2+1 for q and qf"
mutant fast_and_view 4 14 "rule 3 by an ancestor's QC"
mutant fast_and_view 4 15 "VIEW-CHANGE hides the tip"
mutant terms 4 1 "stale grants never count"
mutant terms 4 2 "no claim shown"
mutant terms 4 3 "strays not rescued" "" nobody_lost
mutant terms 4 4 "a stray's old grants do not count" "" nobody_lost

# ---- run -------------------------------------------------------------------------------------
started=$SECONDS
row model n run states depth seconds errors reached verdict
for i in "${!runs[@]}"; do
	while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do
		wait -n || true
	done
	IFS='|' read -r model expect flags cc pan seconds name <<<"${runs[i]}"
	one "$i" "$name" "$model" "$expect" "$flags" "$cc" "$pan" "$seconds" &
done
wait

# each event must be reachable in some run of the rules as built
if [ -z "${MODEL_ONLY:-}" ]; then
	echo
	echo "Events of fast_and_view, over all runs of the rules as built (times taken or seen):"
	awk '{ name[$1] = substr($0, index($0, $3)); sum[$1] += $2 }
		END { for (e = 1; e in name; e++) printf "%15.0f  %s\n", sum[e], name[e] }' "$tmp/names" | cut -c1-90
	awk '{ name[$1] = substr($0, index($0, $3)); sum[$1] += $2 }
		END { for (e in name) if (!sum[e]) print "never reached: " name[e] }' "$tmp/names" >>"$tmp/failures"
	[ -s "$tmp/names" ] || echo "no events were counted" >>"$tmp/failures"
fi

echo
echo "${#runs[@]} runs in $((SECONDS - started)) s."
if [ -s "$tmp/failures" ]; then
	echo "Not as expected:"
	cat "$tmp/failures"
	for i in "$tmp"/failed.*; do
		[ ! -f "$i" ] || tail -n 60 "$i"
	done
	exit 1
fi
echo "All as expected."
