#!/bin/sh
# 1,000 seeds for each of n = 4, 5, 7 with crashes, partitions and loss, a hundred decisions each, and
# 200 in which a replica loses its disk; OSTRAKON_SEEDS scales it.
set -e
./tests/sim/sim-run --nodes 4,5,7 --runs $((${OSTRAKON_SEEDS:-1000} / 5)) --decisions 100 --jobs n --wiped 1
exec ./tests/sim/sim-run --nodes 4,5,7 --runs 1000 --decisions 100 --jobs n --coverage 100
