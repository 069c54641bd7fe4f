#!/bin/sh
# 1,000 seeds for each of n = 4, 5, 7 with crashes, partitions and loss; OSTRAKON_SEEDS scales it.
exec ./tests/sim/sim-run --nodes 4,5,7 --runs 1000 --decisions 200 --jobs n --coverage 100
