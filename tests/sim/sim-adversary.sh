#!/bin/sh
# f malicious replicas of random behaviour among n = 4 to 10, colluding, over faults of every kind:
# safety, innocence, progress after healing, and coverage of every way through the protocol.
# OSTRAKON_ADVERSARY scales it: 20,000 runs by `make check-adversary`, a share in `make check`.
# Each way is taken several times in a thousand runs: fewer than a hundred a size promise no coverage.
runs=${OSTRAKON_ADVERSARY:-170}
least=0
[ "$runs" -ge 100 ] && least=1
[ "$runs" -ge 3400 ] && least=100
./tests/sim/sim-run --nodes 4,5,6,7,8,10 --seed 500000 --runs "$runs" --decisions 50 \
	--corrupt f --jobs n --coverage "$least" || exit
# Once found: a crash between a final block and the tip that it moved; strays that had left out the
# terms of jailed primaries, one of an idle network, one who told a leader without a quorum; a proof
# and its conviction in one step; voters of one term that escalated, each waiting for the others' claims;
# a pbft term on top of more unfinal blocks than its window; a chosen value, of Multi-Paxos, built anew while its host gathered;
# an epoch's end that a pbft filler makes final by a vote not yet on the disk; more blocks than a certificate follows;
# a leader that had resigned woke up for its heartbeats all the time.
while read -r finding; do
	# shellcheck disable=SC2086 # words
	./tests/sim/sim-run --decisions 50 $finding >/dev/null 2>&1 && continue
	echo "fails again: sim-run --decisions 50 $finding"
	exit 1
done <<END
--nodes 4 --seed 700067 --corrupt f
--nodes 7 --seed 540135 --corrupt f
--nodes 8 --seed 540272 --corrupt f
--nodes 8 --seed 910146 --decisions 60
--nodes 4 --seed 550559 --corrupt f
--nodes 5 --seed 550159 --corrupt f
--nodes 5 --seed 700293 --corrupt f
--nodes 5 --seed 196 --decisions 100 --wiped 1
--nodes 4 --seed 736 --decisions 100 --wiped 1
--nodes 7 --seed 30296 --decisions 200 --wiped 1
--nodes 5 --seed 142 --decisions 100 --protocol multipaxos
--nodes 4 --seed 800001 --corrupt 1 --members 4
--nodes 4 --seed 820014 --corrupt 1 --kill-points 25
--nodes 7 --seed 1300034 --decisions 60 --wiped 1 --members 4 --kill-points 2
END
# Leaders who leave out some transactions all the time: moods that come and go rarely last as long as
# it takes to suspect them of it ([I12]).
out=$(./tests/sim/sim-run --nodes 4,7 --seed 600000 --runs "$((runs / 4))" --decisions 50 --corrupt f \
	--steady --attacks censor --jobs n) || {
	echo "$out"
	exit 1
}
hits=$(echo "$out" | sed -n 's/^ *suspicions_censorship *\([0-9]*\).*/\1/p')
echo "$((runs / 4 * 2)) runs with censoring leaders: $hits suspicions of censorship"
[ "${hits:-0}" -ge "$least" ]
