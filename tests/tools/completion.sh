#!/bin/bash
# Completion scripts, asked as a shell would ask them. zsh and fish only where they are installed.
# Run from the top of the build tree.
set -uo pipefail

top=$PWD
work=$(mktemp -d "${TMPDIR:-/tmp}/ostrakon-completion.XXXXXX")
trap 'rm -rf "$work"' EXIT
PATH=$top/tools:$PATH
bad=0
cd "$work" || exit 1
touch proof.json

# shellcheck disable=SC1090
source <(ostrakon completion bash) || exit 1
# expect WORDS WANT: what completes the last word (which may be empty: end WORDS with a blank).
# Words are split as bash does it, at = too.
expect() {
	local text=${1//=/ = } got
	# shellcheck disable=SC2206
	COMP_WORDS=($text)
	[[ $1 == *' ' ]] && COMP_WORDS+=("")
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	COMPREPLY=()
	_ostrakon
	got=${COMPREPLY[*]:-}
	[ "$got" = "$2" ] || {
		echo "FAILED: \"$1\" gives \"$got\", not \"$2\"" >&2
		bad=1
	}
}
expect 'ostrakon ver' 'verify version'
expect 'ostrakon mon' 'monitor'
expect 'ostrakon bench ' 'run'
expect 'ostrakon net re' 'restart resume'
expect 'ostrakon help tx s' 'submit status'
expect 'ostrakon --home mynet get --pro' '--prove --proof-file'
expect 'ostrakon --home=mynet -t 5s get --lin' '--linearizable'
expect 'ostrakon get key --lin' '--linearizable'
expect 'ostrakon -o j' 'json jsonl'
expect 'ostrakon status --output=j' 'json jsonl'
expect 'ostrakon status --color ' 'auto always never'
expect 'ostrakon put -w acc' 'accepted'
expect 'ostrakon verify pro' 'proof.json'
expect 'ostrakon verify --genesis p' 'proof.json'
expect 'ostrakon get --tok' '--token-file'
expect 'ostrakon status --token-file p' 'proof.json'
expect 'ostrakon watch con' 'consensus'
expect 'ostrakon completion ' 'bash zsh fish'
expect 'ostrakon get --nonce' '' # an option of others
expect 'ostrakon net init --nodes ' ''
# Every verb and every option of it.
while read -r first second; do
	[ -n "$second" ] || expect "ostrakon $first" "$(compgen -W "$(ostrakon --help |
		sed -n '/^Options of/q; s/^  \([a-z]*\) .*/\1/p' | uniq)" -- "$first" | xargs)"
	want=$(ostrakon help "$first" $second |
		sed -n 's/^  \(-., \|    \)\(--[a-z-]*\).*/\2/p' | sort | xargs)
	COMP_WORDS=(ostrakon "$first" ${second:+"$second"} --)
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	_ostrakon
	got=$(printf '%s\n' "${COMPREPLY[@]}" | sort | xargs)
	[ "$got" = "$want" ] || {
		echo "FAILED: options of $first $second: $got, not $want" >&2
		bad=1
	}
done < <(ostrakon --help | sed -n '/^Options of/q; s/^  \([a-z].*\)/\1/p' |
	sed 's/^\(key\|net\|tx\|config\|bench\|backup\|db\|member\|recovery\) \([a-z]*\).*/\1 \2/; t; s/ .*//')

if command -v zsh >/dev/null; then
	zsh -f -c 'autoload -U compinit && compinit -D -u && source <(ostrakon completion zsh) &&
		[[ -n ${_comps[ostrakon]} ]]' 2>"$work/err" || {
		echo "FAILED: zsh: $(cat "$work/err")" >&2
		bad=1
	}
fi
if command -v fish >/dev/null; then
	# fish_expect WORDS WANT
	fish_expect() {
		local got
		got=$(fish --no-config -c "ostrakon completion fish | source; complete -C '$1'" |
			cut -f 1 | sort | xargs)
		[ "$got" = "$2" ] || {
			echo "FAILED: fish: \"$1\" gives \"$got\", not \"$2\"" >&2
			bad=1
		}
	}
	export HOME=$work
	fish_expect 'ostrakon mon' 'monitor'
	fish_expect 'ostrakon net re' 'restart resume'
	fish_expect 'ostrakon --home x get k --lin' '--linearizable'
	fish_expect 'ostrakon status -o j' 'json jsonl'
	fish_expect 'ostrakon watch con' 'consensus'
	fish_expect 'ostrakon get --nonc' ''
fi
# The lab's.
srcdir=${srcdir:-..}
[[ $srcdir = /* ]] || srcdir=$top/$srcdir
export OSTRAKON_SCENARIOS=$srcdir/tests/scenarios
# shellcheck disable=SC1091
source "$srcdir/tools/completion/ostrakon-lab" || exit 1
shopt -s extglob
touch one.run two.scenario
_ostrakon() { _ostrakon_lab; }
expect 'ostrakon-lab si' 'sim'
expect 'ostrakon-lab shr' 'shrink'
expect 'ostrakon-lab tw' 'twins'
expect 'ostrakon-lab sim partition-h' 'partition-half'
expect 'ostrakon-lab sim tw' 'two-new-views two.scenario'
expect 'ostrakon-lab replay ' 'one.run'
expect 'ostrakon-lab sim storm --protocol p' 'pbft'
expect 'ostrakon-lab sim storm -o j' 'json jsonl'
expect 'ostrakon-lab shrink one.run -o two' 'two.scenario'
expect 'ostrakon-lab sim storm --sa' '--save --save-dir'
expect 'ostrakon-lab shrink storm --t' '--tries'
expect 'ostrakon-lab sim storm --tri' ''
expect 'ostrakon-lab twins --he' '--heal-every --heal'
[ $bad -ne 0 ] || echo "completion: bash$(command -v zsh >/dev/null && echo , zsh)$(command -v fish >/dev/null && echo , fish)"
exit $bad
