#!/bin/sh
# Every scenario of the library holds what it expects, in the simulator. OSTRAKON_SCENARIO_RUNS
# says with how many seeds each.
lab=./tools/ostrakon-lab
OSTRAKON_SCENARIOS=${srcdir:-.}/tests/scenarios
export OSTRAKON_SCENARIOS
runs=${OSTRAKON_SCENARIO_RUNS:-4}
bad=0 all=0
for file in "$OSTRAKON_SCENARIOS"/*.scenario; do
	all=$((all + 1))
	out=$("$lab" sim "$file" --runs "$runs" 2>&1) && continue
	bad=$((bad + 1))
	echo "$out"
done
# commands that once found something
while read -r finding; do
	# shellcheck disable=SC2086 # words
	"$lab" sim $finding >/dev/null 2>&1 && continue
	echo "fails again: ostrakon-lab sim $finding"
	bad=$((bad + 1))
done <<END
eclipse --seed 2
elections-in-a-row --nodes 7 --seed 69
elections-in-a-row --nodes 5 --seed 31
elections-in-a-row --nodes 7 --seed 92
END
columns=$("$lab" list | awk '{match($0, /^[^ ]+ +/); print RLENGTH}' | sort -u | wc -l)
[ "$columns" -eq 1 ] || { echo "list: summaries begin in $columns columns" && bad=$((bad + 1)); }
echo "$all scenarios, $runs seeds each, $bad failed"
[ "$all" -ge 30 ] && [ "$bad" -eq 0 ]
