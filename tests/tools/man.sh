#!/bin/bash
# The manual pages say what the programs say of themselves: every verb with its arguments and
# options, every option, exit code and key of the configuration, and nothing else. Prints what is
# missing. Run from the top of the build tree.
set -uo pipefail

man=${srcdir:-..}/docs/man
cli=tools/ostrakon
node=src/node/ostrakond
lab=tools/ostrakon-lab
work=$(mktemp -d "${TMPDIR:-/tmp}/ostrakon-man.XXXXXX")
trap 'rm -rf "$work"' EXIT
bad=0
complain() {
	echo "FAILED: $*" >&2
	bad=1
}
# same WHAT: $work/program and $work/page have the same lines
same() {
	sort -u "$work/program" >"$work/a"
	sort -u "$work/page" >"$work/b"
	cmp -s "$work/a" "$work/b" && [ -s "$work/a" ] && return
	complain "$1: < only in the program, > only in the page"
	diff "$work/a" "$work/b" | grep '^[<>]' >&2
}
# What an mdoc item line shows: "Fl c , Fl -clients Ar N" as "-c , --clients N".
plain() {
	sed -e 's/Fl -/--/g; s/Fl \([a-zA-Z]\)/-\1/g; s/ \(Ar\|Cm\|Ic\|No\|Ns\) / /g; s/^\(Ar\|Cm\|Ic\) //' -e 's/[][|]/ & /g' -e 's/  */ /g; s/^ //; s/ $//'
}
# stanza PAGE ITEM: the lines of the item that begins with these words
stanza() {
	awk -v want=".It Cm $2" '/^\.(It|Sh|Ss|El)/ {on = $0 == want || index($0, want " ") == 1} on' "$1"
}

# ---- ostrakon(1) -----------------------------------------------------------------------------
page=$man/ostrakon.1
"$cli" --help | awk '/^Options of/ {exit} /^  [a-z]/' >"$work/lines"
: >"$work/program"
while read -r first second _; do
	[[ $second =~ ^[a-z]+$ ]] && "$cli" help "$first" "$second" >/dev/null 2>&1 && first+=" $second"
	echo "$first" >>"$work/program"
done <"$work/lines"
cp "$work/program" "$work/verbs"
: >"$work/options"
while read -r verb; do
	# shellcheck disable=SC2086
	"$cli" help $verb >"$work/help" || complain "no help on $verb"
	sed -n '1s/^Usage: ostrakon //; 1s/ \[OPTIONS\]$//; 1p' "$work/help" | plain >"$work/program"
	stanza "$page" "$verb" | sed -n '1s/^\.It Cm //p' | plain >"$work/page"
	same "the usage of $verb"
	sed -n '/^Options:/,$s/^  \(-., \|    \)--\([a-z-]*\).*/\2/p' "$work/help" |
		grep -vx -e help -e version -e output -e color >"$work/program"
	stanza "$page" "$verb" | sed -n 's/^\.Fl //p' | tr ' ' '\n' | sed -n 's/^-//p' >"$work/page"
	[ ! -s "$work/program" ] && [ ! -s "$work/page" ] || same "the options of $verb"
	sed -n '/^Options:/,$s/^  \(-., \|    \)\(--[a-z-]*\( [A-Za-z|]*\)\?\).*/\1\2/p' "$work/help" |
		sed 's/,/ ,/; s/^ *//' | plain >>"$work/options"
done <"$work/verbs"
# Nothing of a verb that is not there.
sed -n '/^\.Sh VERBS/,/^\.Sh OPTIONS/s/^\.It Cm //p' "$page" | wc -l >"$work/page"
wc -l <"$work/verbs" >"$work/program"
same "the number of verbs"
mv "$work/options" "$work/program"
sed -n '/^\.Sh OPTIONS/,/^\.Sh ENVIRONMENT/s/^\.It //p' "$page" | plain >"$work/page"
same "the options of ostrakon"
"$cli" --help | sed -n '/^Exit codes:/,$p' | tr ',.' '\n\n' | sed -n 's/.*\b\([0-9][0-9]*\) .*/\1/p' >"$work/program"
sed -n '/^\.Sh EXIT STATUS/,/^\.Sh EXAMPLES/s/^\.It \([0-9]*\)$/\1/p' "$page" >"$work/page"
same "the exit codes of ostrakon"

# ---- ostrakond(8) and ostrakon-lab(1) --------------------------------------------------------
# words PROGRAM PAGE PATTERN OWN: commands and options of a program with a usage text; OWN: those
# that every program has and none mentions
words() {
	{ "$1" --help | sed -n "$3"; "$1" --help | grep -o -e '--[a-z][a-z-]*'; printf '%s\n' $4; } |
		sort -u >"$work/program"
	{ sed -n 's/^\.Cm \([a-z].*\)/\1/p; s/^\.It Cm \([a-z-]*\).*/\1/p' "$2" | sed 's/ Ar .*//' |
		sed '/^\(sim\|live\|leader\|all\) *[.,:;]/d; s/ [.,:;]*$//' | tr -d '|' | tr ' ' '\n' |
		grep -x '[a-z-]*' | grep .
	sed 's/Fl -\([a-z][a-z-]*\)/\n--\1\n/g' "$2" | grep -x -e '--[a-z-]*'; } | sort -u >"$work/page"
	same "$2"
}
words "$node" "$man/ostrakond.8" 's/^  ostrakond \([a-z-]*\).*/\1/p' '--help --output'
words "$lab" "$man/ostrakon-lab.1" '/^options/q; s/^  \([a-z][a-z-]*\)\( .*\|$\)/\1/p' '--help --output'
for program in "$node" "$lab"; do
	page=$man/$(basename "$program").[18]
	"$program" --help | tr '\n' ' ' | sed 's/.*[Ee]xit codes: *//' | tr ';.' '\n\n' |
		sed -n 's/^ *\([0-9][0-9]*\) .*/\1/p' >"$work/program"
	# shellcheck disable=SC2086
	sed -n '/^\.Sh EXIT STATUS/,$s/^\.It \([0-9]*\)$/\1/p' $page >"$work/page"
	same "the exit codes of $(basename "$program")"
done

# ---- ostrakond.conf(5) -----------------------------------------------------------------------
"$cli" net init "$work/net" >/dev/null 2>&1 || complain "net init"
"$node" check-config --home "$work/net/node1" --show -o json | jq -r '.[].key' |
	grep -v '^peers\.node' >"$work/program"
awk '/^\.Ss \[/ {section = substr($2, 2, length($2) - 2)}
	/^\.It Ic / {for (i = 2; i < NF; i++) if ($i == "Ic") print section "." $(i + 1)}' \
	"$man/ostrakond.conf.5" >"$work/page"
same "the keys of ostrakond.conf"

# ---- as manual pages -------------------------------------------------------------------------
for page in "$man"/*.[158]; do
	if command -v mandoc >/dev/null; then
		mandoc -T lint -W warning "$page" >"$work/lint" || complain "mandoc: $(cat "$work/lint")"
	elif command -v groff >/dev/null; then
		groff -ww -z -mandoc -Tutf8 "$page" 2>"$work/lint"
		[ ! -s "$work/lint" ] || complain "groff: $(cat "$work/lint")"
	fi
done
[ $bad -ne 0 ] || echo "$(wc -l <"$work/verbs") verbs, all in ostrakon(1)"
exit $bad
