#!/bin/sh
# Scenarios with real processes, some of them forged. usage: lab-live.sh [all]
# Without an argument a share that fits into `make check`; with all, each that can run live, loaded
# and idle.
lab=./tools/ostrakon-lab
OSTRAKON_SCENARIOS=${srcdir:-.}/tests/scenarios
export OSTRAKON_SCENARIOS
# Not with sanitizers: a forged node strikes at given heights and times, which slow processes miss.
if [ "$1" != all ] && [ "$(nm ./src/node/ostrakond 2>/dev/null | grep -c __asan_init)" -gt 0 ]; then
	echo "skipped: built with a sanitizer"
	exit 77
fi
bad=0 all=0
run() { # SCENARIO [OPTION]
	all=$((all + 1))
	if out=$("$lab" live "$@" 2>&1); then
		echo "ok: $*"
		echo "$out" | grep -E 'from (proof|conviction)|escalated|convicted,|back to fast'
	else
		bad=$((bad + 1))
		echo "FAILED: $*"
		echo "$out"
	fi
}
if [ "$1" = all ]; then
	for name in $("$lab" list -o jsonl | sed -n 's/.*"name":"\([^"]*\)".*"live":true.*/\1/p'); do
		run "$name"
		case $(sed -n 's/^clients *//p' "$OSTRAKON_SCENARIOS/$name.scenario") in
		0*) ;;
		*) run "$name" --idle ;;
		esac
	done
else
	run leader-equivocation
	run leader-equivocation --idle
	run leader-bad-signatures
	run leader-bad-signatures-one
	run follower-bad-signatures --idle
	run lone-shouter
	run crash-leader
fi
echo "$all live runs, $bad failed"
[ "$all" -ge 7 ] && [ "$bad" -eq 0 ]
