#!/bin/sh
# 1,000 seeds for each of n = 4, 5, 7 with crashes, partitions and loss, a hundred decisions each,
# 200 in which a replica loses its disk, 200 in which three validators get new keys as well, 200 in which one comes back with
# old copies of its disk, and 200 of n = 4, 7 with new keys among f malicious replicas; OSTRAKON_SEEDS lowers that.
set -e
fifth=$((${OSTRAKON_SEEDS:-1000} / 5))
./tests/sim/sim-run --nodes 4,5,7 --runs $fifth --decisions 100 --jobs n --wiped 1
./tests/sim/sim-run --nodes 4,5,7 --runs $fifth --decisions 100 --jobs n --wiped 1 --members 3
./tests/sim/sim-run --nodes 4,5,7 --runs $fifth --decisions 60 --jobs n --rewound 1
./tests/sim/sim-run --nodes 4,7 --runs $fifth --decisions 60 --jobs n --members 3 --corrupt f
exec ./tests/sim/sim-run --nodes 4,5,7 --runs 1000 --decisions 100 --jobs n --coverage 100
