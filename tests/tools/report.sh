#!/bin/sh
# The report as users meet it: of real runs of the simulator, and its refusals.
lab=./tools/ostrakon-lab
OSTRAKON_SCENARIOS=${srcdir:-.}/tests/scenarios
export OSTRAKON_SCENARIOS
work=$(mktemp -d "${TMPDIR:-/tmp}/ostrakon-report.XXXXXX")
trap 'rm -rf "$work"' EXIT
bad=0
complain() {
	echo "FAILED: $*"
	bad=$((bad + 1))
}
# refused CODE WORD COMMAND...: ends with this code, and says this
refused() {
	code=$1 word=$2
	shift 2
	"$@" >"$work/out" 2>"$work/err"
	got=$?
	[ "$got" -eq "$code" ] || complain "$*: exit code $got, not $code"
	grep -q -- "$word" "$work/err" || complain "$*: says $(cat "$work/err")"
}

for i in 1 2; do
	"$lab" sim equivocation-forks-raft --seed $i -o jsonl
done >"$work/forks.jsonl"
"$lab" sim leader-equivocation -o json >"$work/equivocation.json"
"$lab" compare --nodes 4,7 --faults none,baseline,crash-leader -o json >"$work/compare.json"
"$lab" sweep baseline --protocols raft --seeds 2 --loss 0%,2% -o json >"$work/sweep.json"
"$lab" report "$work/forks.jsonl" "$work/sweep.json" "$work/equivocation.json" "$work/compare.json" \
	--out "$work/report" >"$work/out" || complain "report"
for f in report.html results.csv results.json; do
	[ -s "$work/report/$f" ] || complain "$f is missing"
	grep -qx "$work/report/$f" "$work/out" || complain "$f is not named"
	[ ! -e "$work/report/$f.new" ] || complain "$f.new was left behind"
done
page=$work/report/report.html
tests/tools/check-balanced "$page" || complain "the page"
if command -v xmllint >/dev/null; then
	xmllint --noout "$page" || complain "the page is no XML"
fi
grep -Eq 'https?:|src=|url\(|@import' "$page" && complain "the page loads something"
for id in plot-time plot-messages plot-bytes plot-throughput plot-availability plot-failover plot-networks \
	plot-recovery plot-states fork-1 space-time-1; do
	grep -q "<figure id=\"$id\">" "$page" || complain "no figure $id"
done
rows=$(($(wc -l <"$work/report/results.csv") - 1))
[ "$rows" -eq 29 ] || complain "$rows rows in the CSV, not 29"
awk -F, '{gsub(/"[^"]*"/, "x")} NR == 1 {n = NF} NF != n {exit 1}' "$work/report/results.csv" || complain "CSV columns"
# points: 2 sizes of 4 protocols without faults
points=$(sed -n '/<figure id="plot-messages">/,/<\/figure>/p' "$page" | grep -c 'mark point')
[ "$points" -eq 8 ] || complain "$points points in plot-messages, not 8"
# the report of its own JSON has the same CSV, but for the source
"$lab" report "$work/report/results.json" --out "$work/again" >/dev/null || complain "again"
cut -d, -f2- "$work/report/results.csv" >"$work/a"
cut -d, -f2- "$work/again/results.csv" >"$work/b"
cmp -s "$work/a" "$work/b" || complain "the report of its own results differs"
# a page that is built twice is the same
for i in 1 2; do
	SOURCE_DATE_EPOCH=0 "$lab" report "$work/compare.json" --out "$work/twice$i" >/dev/null
done
cmp -s "$work/twice1/report.html" "$work/twice2/report.html" || complain "built twice it differs"
"$lab" report - --out "$work/stdin" <"$work/compare.json" >/dev/null || complain "standard input"

refused 2 'needs the files' "$lab" report
refused 2 'ostrakon-lab --help' "$lab" report --no-such-option
refused 78 'none.json' "$lab" report "$work/none.json" --out "$work/x"
head -c 1000 "$work/equivocation.json" >"$work/truncated.json"
refused 78 'truncated.json' "$lab" report "$work/truncated.json" --out "$work/x"
printf '{"nodes":65}' >"$work/odd.json"
refused 78 'odd.json: run 1: nodes' "$lab" report "$work/compare.json" "$work/odd.json" --out "$work/x"
printf '{"name":"package","version":"1.0"}' >"$work/other.json"
refused 78 'other.json: run 1: result: scenario and protocol are missing: what sim, live' \
	"$lab" report "$work/compare.json" "$work/other.json" --out "$work/x"
head -c 34000000 /dev/zero | tr '\0' ' ' >"$work/huge.json"
refused 78 'huge.json' "$lab" report "$work/huge.json" --out "$work/x"
refused 78 'report' "$lab" report "$work/report" --out "$work/x"
[ ! -e "$work/x" ] || complain "something was written of files that were refused"
: >"$work/file"
refused 1 'file' "$lab" report "$work/compare.json" --out "$work/file"
[ $bad -eq 0 ] && echo "the report of $rows runs is as it should be"
[ $bad -eq 0 ]
