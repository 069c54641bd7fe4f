#!/bin/sh
# Each planted bug (src/base/mutant.h) must be caught. Strategies, in this order, each until its
# first catch or for so many runs, spread over n = 4 to 10 in turns of 200:
#	random      f malicious replicas of random behaviour, under faults
#	scenarios   the library of scenarios, 20 seeds each, at n = 4 and 7
#	suites      what a correct engine, ledger and chain pass: by hand, for what needs one trace
#	wiped       a correct replica loses its disk, under faults
#	rewound     a correct replica comes back with old copies of its disk, under faults
#	members     after the loss of a disk, and validators get new keys
#	epochs      they do, and malicious replicas replay what was said in one epoch in the next
#	faults      crashes, partitions, loss alone
#	long        a replica loses its disk, and four times as many decisions
#	equivocate, votes, views: malicious replicas that do little else, all the time
# Needs a build with --enable-mutants. usage: mutants.sh [RUNS [FIRST [LAST]]], or one mutant by
# the suites alone: mutants.sh --suites ID
# OSTRAKON_JOBS: how many mutants at a time.
src=${srcdir:-.}/src/base/mutant.h
sim=./tests/sim/sim-run

label_of() {
	sed -n "s/^.MUTANT_\([A-Z0-9_]*\) = $1,.*/\1/p" "$src" | tr 'A-Z_' 'a-z-'
}

try() { # NAME, options: prints and succeeds if the mutant dies
	name=$1
	shift
	ran=0
	while [ "$ran" -lt "$runs" ]; do
		for nodes in 4 5 7 6 8 10; do
			out=$("$sim" --nodes $nodes --runs 200 --decisions 50 --stop --jobs 1 \
				--mutant "$id" --seed $((700000 + ran)) "$@" 2>&1)
			code=$?
			if [ "$code" -eq 0 ]; then
				ran=$((ran + 200))
				continue
			fi
			verdict=$(echo "$out" | grep -m1 -E '^(SAFETY|LIVENESS)' | cut -c1-110)
			here=$(echo "$out" | sed -n 's/^n=[0-9]*: \([0-9]*\) runs.*/\1/p')
			printf '%-3s %-24s %-10s n=%-2s %6s runs  %s\n' "$id" "$(label_of "$id")" \
				"$name" "$nodes" "$((ran + ${here:-1}))" \
				"${verdict:-died: $(echo "$out" | tail -1 | cut -c1-90)}"
			return 0
		done
	done
	return 1
}

died() { # NAME, what found it
	printf '%-3s %-24s %-10s %s\n' "$id" "$(label_of "$id")" "$1" "$2"
}

scenarios() {
	waste=$(mktemp -d)
	trap 'rm -rf "$waste"' EXIT
	for nodes in 4 7; do
		for file in "${srcdir:-.}"/tests/scenarios/*.scenario; do
			scenario=$(basename "$file" .scenario)
			OSTRAKON_MUTANT=$id ./tools/ostrakon-lab sim "$file" --nodes $nodes --runs 20 \
				--save-dir "$waste" >/dev/null 2>&1
			code=$?
			[ $code -eq 0 ] || [ $code -eq 2 ] && continue
			# It may not be one for so many nodes at all.
			./tools/ostrakon-lab sim "$file" --nodes $nodes --runs 20 \
				--save-dir "$waste" >/dev/null 2>&1 || continue
			died scenarios "n=$nodes $scenario"
			return 0
		done
	done
	return 1
}

# A test that runs out of time shows how busy the machine is, and one that fails without the mutant
# as well shows nothing: neither is a catch.
suites() {
	late=
	for suite in tests/chain/check-chain tests/chain/check-select tests/chain/check-epoch tests/chain/check-evidence tests/replica/check-hostile \
		tests/replica/check-replica tests/sim/check-holes tests/sim/check-sim; do
		out=$(OSTRAKON_MUTANT=$id timeout 1800 "./$suite" 2>&1)
		code=$?
		[ $code -eq 0 ] && continue
		failed=$(echo "$out" | grep -E ':[FE]:' | grep -v 'Test timeout expired' | head -1)
		if [ -z "$failed" ] && { [ $code -eq 124 ] || echo "$out" | grep -q 'Test timeout expired'; }; then
			late="$late $suite"
			continue
		fi
		OSTRAKON_MUTANT=0 timeout 1800 "./$suite" >/dev/null 2>&1 || continue
		died suites "$suite: $(echo "${failed:-:F:exit:$code}" | grep -oE ':[FE]:[^:]*:[a-z0-9_]+' | cut -d: -f4)"
		return 0
	done
	return 1
}

survives() {
	printf '%-3s %-24s SURVIVES%s\n' "$id" "$(label_of "$id")" "${late:+ (ran out of time:$late)}"
}

if [ "$1" = --suites ]; then
	id=$2
	suites || survives
	exit 0
fi

epochs() { # of which runs without new keys for validators have one
	case $id in
	71) try epochs --corrupt f --members 4 ;;
	7[2-7]) try members --wiped 1 --members 3 ;;
	*) return 1 ;;
	esac
}

if [ "$1" = --one ]; then
	runs=$2
	id=$3
	epochs || try random --corrupt f ||
		scenarios || suites ||
		try wiped --wiped 1 ||
		try rewound --rewound 1 ||
		try faults ||
		try long --wiped 1 --decisions 200 ||
		try equivocate --corrupt f --steady --attacks equivocate,double-vote ||
		try votes --corrupt f --steady --attacks double-vote,term-votes,hidden-vote ||
		try views --corrupt f --steady --attacks two-views,hidden-vote,equivocate ||
		survives
	exit 0
fi

runs=${1:-20000}
first=${2:-1}
last=${3:-$(sed -n 's/^.MUTANT_[A-Z0-9_]* = \([0-9][0-9]*\),.*/\1/p' "$src" | grep -v ... | tail -1)} # 101 on: the baselines
"$sim" --nodes 4 --mutant 0 >/dev/null 2>&1 || {
	echo "this build has no mutants: configure with --enable-mutants" >&2
	exit 77
}
table=$(mktemp)
trap 'rm -f "$table"' EXIT
sed -n 's/^.MUTANT_[A-Z0-9_]* = \([0-9][0-9]*\),.*/\1/p' "$src" |
	awk -v first="$first" -v last="$last" '$1 >= first && $1 <= last' | xargs -n 1 -P "${OSTRAKON_JOBS:-$(nproc)}" "$0" --one "$runs" | tee "$table" >&2
sort -n "$table"
all=$(wc -l <"$table")
alive=$(grep -c SURVIVES "$table")
random=$(grep -c -e ' random ' -e ' members ' -e ' epochs ' "$table")
echo "$all mutants, $((all - alive)) killed, $random of them by random runs alone"
[ "$alive" -eq 0 ] && [ $((3 * random)) -ge $((2 * all)) ]
