#!/bin/bash
# Runs as files: saved, replayed, refused when damaged; and the smallest scenario that still fails,
# interrupted too. Run from the top of the build tree.
set -uo pipefail

lab=$PWD/tools/ostrakon-lab
simrun=$PWD/tests/sim/sim-run
OSTRAKON_SCENARIOS=$(cd "${srcdir:-..}/tests/scenarios" && pwd)
export OSTRAKON_SCENARIOS
work=$(mktemp -d "${TMPDIR:-/tmp}/ostrakon-replay.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
bad=0
complain() {
	echo "FAILED: $*" >&2
	bad=1
}
# code WANT ARGUMENTS: exit code; output in out and err
code() {
	local want=$1 got=0
	shift
	"$lab" "$@" >out 2>err || got=$?
	[ "$got" -eq "$want" ] || complain "exit code $got, not $want: $* ($(tail -n 3 out; tail -n 3 err))"
}
says() { # FILE WORDS
	grep -q -- "$2" "$1" || complain "no \"$2\" in: $(cat "$1")"
}
# seal: standard input as a run file whose hash fits
seal() {
	local body
	body=$(grep -v '^end '; printf x)
	body=${body%x}
	printf %s "$body"
	printf 'end %s\n' "$(printf %s "$body" | sha256sum | cut -d ' ' -f 1)"
}

# ---- words that nobody knows -----------------------------------------------------------------
# They are repeated, with what may have been meant, and by the program's own name.
mistaken() { # CODE WORDS ARGUMENTS
	local words=$2
	code "$1" "${@:3}"
	says err "^ostrakon-lab: .*$words"
}
mistaken 2 'no verb "lst"; did you mean "list"' lst
mistaken 2 'no verb "nonsense"; .*--help' nonsense --foo
mistaken 78 'no scenario "crash-leadr"; did you mean "crash-leader"' sim crash-leadr
mistaken 78 'no scenario "crash-leadr"; did you mean "crash-leader"' compare --faults crash-leadr
mistaken 78 'no scenario "nonsense" .*list' describe nonsense
: >here
mistaken 78 'no scenario "here"; .*path is ./here' sim here
mistaken 2 'no attack "equivocat"; did you mean "equivocate"' forged-node --home x --attack equivocat
mistaken 2 'unknown option --nods; did you mean --nodes?' sim storm --nods 4
mistaken 2 'unknown option --foo$' live storm --foo
mistaken 2 'unknown option --cliens; did you mean --clients?' sweep storm --cliens 4
mistaken 2 'unknown option --secnds; did you mean --seconds?' sim bench --secnds 4
mistaken 2 'unknown option --jobz; did you mean --jobs?' twins --jobz 2
mistaken 2 'unknown option -x$' shrink -x
mistaken 2 'unknown option --outt; did you mean --out?' report --outt x
mistaken 2 'nodes needs a word' sim storm --nodes
mistaken 2 'trace takes no word' sim storm --trace=yes
mistaken 2 'se is the beginning of several options: --seed, --seconds$' sim storm --se 4
mistaken 2 'protocol is .*, not "paxos"' sim storm --protocol paxos
mistaken 2 'nodes is .*, not "x"' compare --nodes 4,x
mistaken 2 'nodes is .*, not "4x"' sim storm --nodes 4x
mistaken 2 'runs is .*, not "many"' sim storm --runs many
mistaken 2 'seed is .*, not "-1"' sim storm --seed -1
mistaken 2 'seconds is .*, not ""' live storm --seconds ''
mistaken 2 'one name is wanted, not "extra"' sim storm extra
mistaken 2 'no name is wanted, not "storm"' list storm
rm here
for verb in sim live shrink twins forged-node report; do
	code 0 $verb --help
	says out '^usage: ostrakon-lab'
done

# ---- saved runs ------------------------------------------------------------------------------
code 0 sim storm --seed 5 --save storm.run
says err 'replay storm.run'
code 0 replay storm.run
says out 'the same run'
[ "$(grep -c 'verdict ok' out)" -eq 2 ] || complain "then and now are not both well: $(cat out)"
code 0 replay storm.run -o json
[ "$(jq -r '.same, .then.trace_hash == .now.trace_hash, .seed' out | xargs)" = 'true true 5' ] ||
	complain "replay -o json: $(cat out)"
code 0 replay storm.run --trace
[ "$(grep -c ' -> .*bytes)$' out)" -gt 1000 ] || complain "replay --trace shows no messages"
code 2 sim storm --seed 6 --save storm.run # never overwritten
says err 'not overwritten'
code 0 replay storm.run
[ "$(find . -name '*.run' | wc -l)" -eq 1 ] || complain "runs that did not fail are saved"
# with another size and protocol than the scenario's
code 0 sim crash-leader --nodes 5 --protocol raft --seed 9 --save raft.run
code 0 replay raft.run
says out 'raft, n=5, seed 9: the same run'
# a run file is a scenario too
code 0 sim raft.run -o json
[ "$(jq -r '.protocol, .nodes, .seed' out | xargs)" = 'raft 5 9' ] || complain "sim raft.run: $(cat out)"

# A failed run is saved by itself; the same one once; several: the first that fails.
cat >never.scenario <<END
summary  A fork that does not happen
describe x
nodes    7
corrupt  f
attacks  equivocate drip
who      leader
targets  half
decisions 60
at 1s    crash node1 for 1s
at 2s    loss 10% for 1s
at 3s    pause node2 for 500ms
expect   conflict
expect   innocent
END
mkdir kept
code 1 sim never.scenario --seed 3 --runs 3 --save-dir kept
code 1 sim never.scenario --seed 3 --save-dir kept
[ "$(ls kept)" = never-hybrid-n7-s3.run ] || complain "saved: $(ls kept)"
code 0 replay kept/never-hybrid-n7-s3.run # the same failure: that is what was asked
says out 'expected conflict: NO'
[ "$(grep -c 'verdict failed' out)" -eq 2 ] || complain "then and now are not both failures: $(cat out)"
! grep -q 'verdict ok' out || complain "a failure that is ok: $(cat out)"
code 1 sim never.scenario --seed 3
[ -f never-hybrid-n7-s3.run ] || complain "not saved here"
code 1 sim never.scenario --save-dir /nonexistent/x
says err 'not written'
# What is printed repeats the run: its protocol, size and seed, and its file by the path that was given.
code 1 sim never.scenario --seed 3 --protocol pbft --nodes 5 --runs 2 --save-dir kept
again=$(sed -n 's/.*again: ostrakon-lab //p' out)
[ "$again" = 'sim never.scenario --protocol pbft --nodes 5 --seed 3' ] || complain "again: $again"
grep -v -e 'runs failed' -e 'and 1 more' out >whole
# shellcheck disable=SC2086 # words
code 1 $again --save-dir kept
grep '^  expected' out | cmp -s - <(grep '^  expected' whole) || complain "\"$again\" is another run: $(cat out)"
code 1 sim ./never.scenario --seed 3 --protocol pbft -o json --save-dir kept
jq 'del(.wall_s)' out >first
again=$(jq -r .repeat out)
# shellcheck disable=SC2086 # words
code 1 ${again#ostrakon-lab } -o json --save-dir kept
jq 'del(.wall_s)' out | cmp -s - first || complain "\"$again\" is another run"
# Paths are quoted as a shell wants them.
mkdir "it's a folder" && cp never.scenario "it's a folder/"
code 1 sim "it's a folder/never.scenario" --save-dir "it's a folder"
again=$(sed -n 's/.*failed; again: ostrakon-lab //p' out)
eval "code 1 $again --save-dir kept" || complain "\"$again\" is no command line"
again=$(sed -n 's/.*; again: ostrakon-lab replay //p' err | head -n 1)
eval "code 0 replay $again" || complain "\"$again\" is no command line"
code 1 sim "it's a folder/never.scenario" -o json --save-dir "it's a folder"
again=$(jq -r .repeat out)
eval "code 1 ${again#ostrakon-lab } -o json --save-dir kept" || complain "\"$again\" is no command line"
code 0 sim crash-leader --protocol raft -o json # of the library: by name
[ "$(jq -r .repeat out)" = 'ostrakon-lab sim crash-leader --protocol raft --nodes 4 --seed 1' ] ||
	complain "repeat: $(jq -r .repeat out)"

# ---- not the same run ------------------------------------------------------------------------
sed 's/^trace ...../trace 00000/' storm.run | seal >other.run
code 1 replay other.run
says out 'the messages differ; the verdict is the same'
says out 'or a run is not decided by its seed'
sed 's/^verdict ok/verdict safety\nsays at 1 s: x/' storm.run | seal >other2.run
code 1 replay other2.run
says out 'the verdict differs, of the same messages'
sed 's/^version .*/version 0.0.1/; s/^trace ...../trace 00000/' storm.run | seal >old.run
code 1 replay old.run
says err 'the run is of version 0.0.1'
says out 'the run is of version 0.0.1'
sed 's/^version .*/version 0.0.1/' storm.run | seal >old2.run
code 0 replay old2.run # an older version, and nothing has changed
sed 's/^verdict ok/mutant 2\nverdict ok/' storm.run | seal >mutant.run
"$lab" replay mutant.run 2>err >out || true # with --enable-mutants it runs
grep -q -e 'planted bug 2' -e 'same run' err out || complain "mutant: $(cat err)"

# ---- refused ---------------------------------------------------------------------------------
sed 's/^seed 5/seed 6/' storm.run >bad.run
code 78 replay bad.run
says err 'bad.run:[0-9]*: the hash is not'
head -c 400 storm.run >bad.run
code 78 replay bad.run
says err 'bad.run:[0-9]*: '
sed 's/^nodes 4/nodes 9999999999999/' storm.run | seal >bad.run
code 78 replay bad.run
says err 'bad.run:6: a number from'
sed 's/^decisions 200$/decisions 2000000000/' storm.run | seal >bad.run
code 78 replay bad.run
says err 'bad.run:[0-9]*: a number from'
head -c 100000 /dev/zero >bad.run
code 78 replay bad.run
: >bad.run
code 78 replay bad.run
code 78 replay "$OSTRAKON_SCENARIOS/storm.scenario"
says err 'no run file'
code 78 replay nothing.run
code 2 replay
sed 's/^world sim/world live/; /^trace/d; s/^faults .*/only      sim/' storm.run | seal >live.run
code 78 shrink live.run
says err 'only what the simulator repeats'
code 2 replay live.run # it says itself that it is for the simulator only
says err 'time and chance are not in the file'
cp live.run live # by whatever name it was saved
code 2 replay live
says err 'time and chance are not in the file'
! grep -q 'there is no scenario' err || complain "a file is taken for a scenario: $(cat err)"

# ---- shrink ----------------------------------------------------------------------------------
code 0 shrink kept/never-hybrid-n7-s3.run -o small.scenario --seconds 600
code 1 sim ./small.scenario --save-dir kept # by its own seed
says out 'expected conflict  *NO'
says out 'expected strikes  *yes'
code 0 describe small.scenario -o json
jq -e '.nodes == 4 and .actions == 0 and (.attacks | length) == 1' out >/dev/null || complain "not small: $(cat small.scenario)"
grep -q '^strikes   only' small.scenario || complain "strikes are not singled out: $(cat small.scenario)"
code 2 shrink never.scenario -o small.scenario # never overwritten
says err 'not overwritten'
cp small.scenario once.scenario
code 0 shrink small.scenario -o smaller.scenario --seconds 600
diff <(grep -v -e describe -e summary once.scenario) <(grep -v -e describe -e summary smaller.scenario) ||
	complain "a smallest scenario gets smaller"
code 1 shrink storm --seed 5 -o x.scenario
says err 'does not fail with seed 5'
code 2 shrink
code 2 shrink storm --seed x
code 78 shrink nothing
[ ! -f x.scenario ] || complain "x.scenario is there"

# Lost messages by name instead of by chance.
cat >lossy.scenario <<END
summary  More than it can take
describe x
network  loss 5%
decisions 60
expect   availability 95%
END
code 0 shrink lossy.scenario -o lossless.scenario --seconds 600
code 1 sim ./lossless.scenario --save-dir kept
! grep -q 'network .*loss' lossless.scenario || complain "still by chance: $(cat lossless.scenario)"

# Interrupted after the first step, in a search that would take hours: the best so far.
: >steps
"$lab" shrink never.scenario --seed 3 --tries 10000 --seconds 100000 -o half.scenario >steps 2>err &
pid=$!
while ! grep -q '^decisions' steps && kill -0 $pid 2>/dev/null; do sleep 0.1; done
kill -INT $pid
wait $pid
got=$?
[ $got -eq 130 ] || complain "interrupted: exit code $got: $(cat steps err)"
says steps interrupted
code 1 sim ./half.scenario --save-dir kept

# ---- failing seeds of sim-run ----------------------------------------------------------------
if [ -x "$simrun" ]; then
	"$simrun" --nodes 4 --seed 31 --runs 2 --decisions 40 --corrupt f --save-dir kept --save-all >/dev/null 2>&1
	for seed in 31 32; do
		code 0 replay kept/sim-run-hybrid-n4-s$seed.run
	done
fi
# ---- a real failure, where there are planted bugs ---------------------------------------------
export OSTRAKON_MUTANT=2 # a majority instead of q and qf: n = 5 needs 4
if ! "$lab" sim random-adversary --nodes 5 --runs 20 --save planted.run >/dev/null 2>&1; then
	says planted.run '^mutant 2$'
	OSTRAKON_MUTANT=0
	code 0 replay planted.run # the file says which
	code 0 shrink planted.run -o planted.scenario --seconds 600
	says planted.scenario 'With planted bug 2'
	says planted.scenario '^nodes     5$' # at 4 it is the same number
	says planted.scenario '^corrupt   0$'
	! grep -qE '^(faults|at|lose|attacks)' planted.scenario || complain "not small: $(cat planted.scenario)"
	code 0 sim ./planted.scenario # without the bug all is well
	OSTRAKON_MUTANT=2
	code 1 sim ./planted.scenario --save-dir kept
	OSTRAKON_MUTANT=8 # votes are not written: a crash is enough
	"$lab" sim storm --runs 20 --save forgetful.run >/dev/null 2>&1
	code 0 shrink forgetful.run -o forgetful.scenario --seconds 600
	! grep -q '^faults' forgetful.scenario || complain "a storm still: $(cat forgetful.scenario)"
	[ "$(grep -c '^at ' forgetful.scenario)" -eq 1 ] || complain "not small: $(cat forgetful.scenario)"
	code 1 sim ./forgetful.scenario --save-dir kept
fi
unset OSTRAKON_MUTANT

[ $bad -ne 0 ] || echo "saved, replayed, refused, shrunk"
exit $bad
