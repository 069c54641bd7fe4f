#!/bin/sh
# Each bug planted in the baselines (src/base/mutant.h, from 101 on) must be caught: by the
# simulator's faults, or by the papers' tests. Needs a build with --enable-mutants.
# usage: baseline-mutants.sh [RUNS]
runs=${1:-600}
sim=./tests/sim/sim-run
src=${srcdir:-.}/src/base/mutant.h
all=0 killed=0
"$sim" --nodes 4 --mutant 0 >/dev/null 2>&1 || {
	echo "this build has no mutants: configure with --enable-mutants" >&2
	exit 77
}
by_sim() {
	for nodes in 3 4 5 7; do
		out=$("$sim" --protocol "$protocol" --nodes $nodes --runs "$runs" --decisions 100 \
			--stop --jobs 2 --mutant "$id" --seed 700000 2>&1) && continue
		verdict=$(echo "$out" | grep -m1 -E '^(SAFETY|LIVENESS)' | cut -c1-110)
		printf '%-4s %-24s sim, n=%s: %s\n' "$id" "$label" $nodes "${verdict:-died}"
		return 0
	done
	return 1
}
by_paper() {
	out=$(OSTRAKON_MUTANT=$id "./tests/consensus/check-$protocol" 2>&1) && return 1
	printf '%-4s %-24s paper: %s\n' "$id" "$label" \
		"$(echo "$out" | grep -m1 ':[FE]:' | cut -d: -f5)"
}
for id in 101 102 103 104 105 106 107 108 109 110 111; do
	label=$(sed -n "s/^.MUTANT_\([A-Z0-9_]*\) = $id,.*/\1/p" "$src" | tr 'A-Z_' 'a-z-')
	protocol=multipaxos
	[ "$id" -le 106 ] && protocol=raft
	all=$((all + 1))
	dead=0
	by_paper && dead=1
	by_sim && dead=1
	[ $dead -eq 1 ] && killed=$((killed + 1)) || printf '%-4s %-24s SURVIVES\n' "$id" "$label"
done
echo "$all mutants, $killed killed"
[ "$killed" -eq "$all" ]
