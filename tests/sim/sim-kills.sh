#!/bin/sh
# Kill points: replicas die at a random write or sync of their stores, under load and over faults of
# every kind, some while they start; then with malicious replicas as well. Nothing acknowledged is
# lost, no replica votes twice, each start works (src/sim/kill.c). OSTRAKON_KILLS scales it.
runs=${OSTRAKON_KILLS:-20}
run() {
	want=$1 # of the points; runs of which the network makes next to nothing end with fewer
	shift
	out=$(./tests/sim/sim-run --runs "$runs" --kill-points 25 --jobs 2 "$@") || {
		echo "$out"
		exit 1
	}
	line=$(echo "$out" | grep ' kill points, ')
	echo "sim-run $*: $line"
	[ "${line%% *}" -ge $((runs * want)) ] || {
		echo "too few: $((runs * want)) are wanted"
		exit 1
	}
}
run 90 --nodes 4,5,7,10 --seed 800000
run 67 --nodes 4,5,7 --seed 810000 --clients 24 --gentle
run 45 --nodes 4,7 --seed 820000 --corrupt f --decisions 50
for protocol in raft multipaxos pbft; do
	run 45 --nodes 4,7 --seed 830000 --protocol $protocol
done
