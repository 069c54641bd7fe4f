#!/bin/sh
# Each planted bug (src/base/mutant.h) must be caught. Strategies, in this order, each up to so many
# runs and stopped at its first catch:
#	random    f malicious replicas of random behaviour, under faults
#	faults    crashes, partitions, loss alone
#	equivocate, votes, views: malicious replicas that do little else, all the time
# Needs a build with --enable-mutants. usage: mutants.sh [RUNS [FIRST [LAST]]]
runs=${1:-3400}
first=${2:-1}
last=${3:-39}
sim=./tests/sim/sim-run
all=0 killed=0 by_random=0
"$sim" --nodes 4 --mutant 0 >/dev/null 2>&1 || {
	echo "this build has no mutants: configure with --enable-mutants" >&2
	exit 77
}
try() { # NAME, options: prints and succeeds if the mutant dies
	name=$1
	shift
	for nodes in 4 5 7 6 8 10; do
		out=$("$sim" --nodes $nodes --runs "$runs" --decisions 50 --stop --jobs n \
			--mutant "$id" --seed 700000 "$@" 2>&1) && continue
		verdict=$(echo "$out" | grep -m1 -E '^(SAFETY|LIVENESS)' | cut -c1-110)
		done_runs=$(echo "$out" | sed -n 's/^n=[0-9]*: \([0-9]*\) runs.*/\1/p')
		printf '%-3s %-26s %-10s n=%-2s %6s runs  %s\n' "$id" "$label" "$name" "$nodes" \
			"${done_runs:-?}" "${verdict:-died}"
		return 0
	done
	return 1
}
src=${srcdir:-.}/src/base/mutant.h
id=$first
while [ "$id" -le "$last" ]; do
	label=$(sed -n "s/^.MUTANT_\([A-Z0-9_]*\) = $id,.*/\1/p" "$src" | tr 'A-Z_' 'a-z-')
	all=$((all + 1))
	if try random --corrupt f; then
		killed=$((killed + 1)) by_random=$((by_random + 1))
	elif try faults ||
		try equivocate --corrupt f --steady --attacks equivocate,double-vote ||
		try votes --corrupt f --steady --attacks double-vote,term-votes,hidden-vote ||
		try views --corrupt f --steady --attacks two-views,hidden-vote,equivocate; then
		killed=$((killed + 1))
	else
		printf '%-3s %-26s SURVIVES\n' "$id" "$label"
	fi
	id=$((id + 1))
done
echo "$all mutants, $killed killed, $by_random of them by the random adversary alone"
[ "$killed" -eq "$all" ]
