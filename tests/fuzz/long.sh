#!/bin/sh
# libFuzzer, one target after another on one core; then a table. Corpora grow in fuzz-corpus and are
# used again; what crashes is kept in fuzz-crashes: it goes to tests/fuzz/crashes/TARGET, and is
# mended then. Run in a directory configured with CC=clang --enable-fuzzers (`make fuzz-long` does).
# usage: long.sh [SECONDS [TARGET...]]        10 minutes each
#        long.sh --summary
bin=${FUZZ_BIN:-./tests/fuzz}
src=${srcdir:-.}/tests/fuzz
summary() {
	printf '%-12s %9s %12s %9s %8s %7s  %s\n' target seconds runs runs/s edges corpus verdict
	for log in fuzz-logs/*.log; do
		[ -f "$log" ] || continue
		awk -v target="$(basename "$log" .log)" '
			match($0, /cov: [0-9]+/) { cov = substr($0, RSTART + 5, RLENGTH - 5) }
			match($0, /corp: [0-9]+/) { corp = substr($0, RSTART + 6, RLENGTH - 6) }
			/^Done [0-9]+ runs in/ { runs = $2; s = $5; ended = 1 }
			/^SUMMARY:/ { bad = $0 }
			END {
				printf "%-12s %9d %12d %9.0f %8d %7d  %s\n", target, s, runs,
					s ? runs / s : 0, cov, corp,
					bad ? bad : ended ? "clean" : "under way"
			}' "$log"
	done
	! grep -q '^SUMMARY:' fuzz-logs/*.log
}
if [ "$1" = --summary ]; then
	summary
	exit
fi
seconds=${1:-600}
[ $# -eq 0 ] || shift
[ -x "$bin/fuzz" ] || {
	echo "no $bin/fuzz: configure with CC=clang --enable-fuzzers" >&2
	exit 77
}
mkdir -p fuzz-logs fuzz-crashes
for target in ${*:-$("$bin/check-fuzz" --list)}; do
	corpus=fuzz-corpus/$target
	mkdir -p "$corpus"
	"$bin/check-fuzz" --seeds "$target" "$corpus" >/dev/null || exit
	for kept in "$src/corpus/$target" "$src/crashes/$target"; do
		[ ! -d "$kept" ] || cp "$kept"/* "$corpus"
	done
	FUZZ_TARGET=$target "$bin/fuzz" "$corpus" -max_total_time="$seconds" -timeout=20 \
		-max_len="$("$bin/check-fuzz" --size "$target")" -rss_limit_mb=3000 \
		-artifact_prefix="fuzz-crashes/$target-" -print_final_stats=1 \
		>"fuzz-logs/$target.log" 2>&1
done
summary
