#!/usr/bin/env bash
# The main job, on this machine's own data: four nodes order signed transactions, survive the death
# of their leader, and answer reads with proofs that are verified offline. Every figure printed is
# measured here. Exits non-zero if any step failed.
#
#	demo.sh [--bindir DIR]		DIR holds ostrakon and ostrakond (or a build tree)
set -euo pipefail

bindir=
while [ $# -gt 0 ]; do
	case $1 in
	--bindir) bindir=$2; shift 2 ;;
	*) echo "usage: demo.sh [--bindir DIR]" >&2; exit 2 ;;
	esac
done
find_program() { # name, place in a build tree
	local p
	for p in "$bindir/$1" "$bindir/$2/$1" "$(command -v "$1" || true)"; do
		[ -z "$p" ] || [ ! -x "$p" ] || { readlink -f "$p"; return; }
	done
	echo "demo: $1 not found; build it first (make), or give --bindir" >&2
	exit 2
}
ostrakon=$(find_program ostrakon tools)
OSTRAKOND=$(find_program ostrakond src/node)
export OSTRAKOND
for tool in jq dpkg-query; do
	command -v $tool >/dev/null || { echo "demo: $tool is missing: apt-get install $tool" >&2; exit 2; }
done

work=$(mktemp -d)
net=$work/net
export OSTRAKON_HOME=$net
failed=0 step=0
writer=
cleanup() {
	[ -z "$writer" ] || kill "$writer" 2>/dev/null || true
	"$ostrakon" net down "$net" >/dev/null 2>&1 || true
	rm -rf "$work"
}
trap cleanup EXIT
title() { step=$((step + 1)); printf '\n%d. %s\n' $step "$*"; }
told() { printf '   %s\n' "$*"; }
good() { printf '   ok      %s\n' "$*"; }
bad() { printf '   FAILED  %s\n' "$*"; failed=$((failed + 1)); }
now_ms() { echo $(($(date +%s%N) / 1000000)); }
field() { sed -n "s/^$1  *//p" "$2" | head -n 1; }

title "Four nodes: keys, genesis, processes, sockets, disks"
start=$(now_ms)
"$ostrakon" net init "$net" --nodes 4 >"$work/init" 2>/dev/null
"$ostrakon" net up "$net" >"$work/up" 2>/dev/null
good "chain $(field chain_id "$work/init" | cut -c1-16)... can commit after $(($(now_ms) - start)) ms"
"$ostrakon" net status "$net" | sed 's/^/   /'

title "Every package installed on this machine, as a signed transaction of its own"
dpkg-query -W -f '${db:Status-Abbrev}\t${Package}:${Architecture}\t${Version}\n' |
	awk -F'\t' '$1 ~ /^.i/ {print "pkg/" $2 "\t" $3}' >"$work/packages"
count=$(wc -l <"$work/packages")
if "$ostrakon" put --from "$work/packages" >"$work/put" 2>"$work/put.err" &&
	[ "$(field committed "$work/put")" = "$count" ]; then
	good "$count of $count acknowledged, each after its certificate was checked against the genesis"
	told "$(field seconds "$work/put") s, $(field per_s "$work/put") a second, heights $(field first_height "$work/put") to $(field last_height "$work/put")"
else
	bad "putting $count packages"; sed 's/^/   /' "$work/put" "$work/put.err" | tail -n 12
fi
if "$ostrakon" get --from "$work/packages" >"$work/get" 2>"$work/get.err"; then
	good "$count read again, each with its proof and the value that was put"
else
	bad "reading them again"; tail -n 5 "$work/get" "$work/get.err"
fi

title "One proof, offline: only the genesis file is trusted"
IFS=$'\t' read -r key value < <(sed -n "$((count / 2))p" "$work/packages")
proof=$work/proof.json
"$ostrakon" get "$key" --prove >"$proof" 2>/dev/null
verify() { env -u OSTRAKON_HOME "$ostrakon" verify "$1" --genesis "$2" >"$work/verify" 2>"$work/verify.err"; }
if verify "$proof" "$net/genesis.json"; then
	good "$key = $value, height $(field height "$work/verify"), $(field grade "$work/verify"), signed by $(field signers "$work/verify")"
else
	bad "the proof of $key"; cat "$work/verify.err"
fi
forge() { # name, jq program, [genesis]
	jq "$2" "$proof" >"$work/forged.json"
	local code=0
	if [ -z "${3:-}" ] && cmp -s <(jq . "$proof") "$work/forged.json"; then
		bad "forgery ($1) changed nothing"
		return
	fi
	verify "$work/forged.json" "${3:-$net/genesis.json}" || code=$?
	if [ $code = 5 ]; then
		good "refused: $1: $(head -n 1 "$work/verify.err" | sed 's/^ostrakon: //' | cut -c1-90)"
	else
		bad "forgery ($1): exit code $code instead of 5"
	fi
}
flip='def flip(i): .[0:i] + (if .[i:i+1] == "0" then "1" else "0" end) + .[i+1:];'
forge "another value" '.value += "x"'
forge "another key" '.key += "x"'
forge "another height" '.height += 1'
forge "another sibling" "$flip"' .proof |= flip(length / 2 | floor)'
forge "another state root" "$flip"' .state_root |= flip(5)'
forge "another signature" "$flip"' .certificate.signatures[0] |= flip(9)'
forge "one signer short" '.certificate.signers |= .[:-1] | .certificate.signatures |= .[:-1]'
forge "a signer twice" '.certificate.signers[1] = .certificate.signers[0] | .certificate.signatures[1] = .certificate.signatures[0]'
forge "absence of a present key" '.value = null | .value_hash = null'
"$ostrakon" net init "$work/other" --nodes 4 >/dev/null 2>&1
forge "another chain" . "$work/other/genesis.json"

title "The leader is killed (SIGKILL) while a client keeps writing"
leader=$("$ostrakon" net status "$net" -o json | jq -r '.nodes[] | select(.role == "leader") | .name')
: >"$work/acked"
(
	i=0
	while [ ! -e "$work/stop" ]; do
		i=$((i + 1))
		if "$ostrakon" put "live/$i" "$i" --timeout 20s >/dev/null 2>&1; then
			printf '%s\t%s\t%s\n' "live/$i" "$i" "$(now_ms)" >>"$work/acked"
		fi
	done
) &
writer=$!
sleep 1
"$ostrakon" net kill "$net" leader >/dev/null 2>&1
killed=$(now_ms)
told "$leader killed"
for _ in $(seq 100); do
	after=$(awk -F'\t' -v t="$killed" '$3 > t' "$work/acked" | wc -l)
	[ "$after" -lt 20 ] || break
	sleep 0.1
done
touch "$work/stop"
wait "$writer" || true
writer=
next=$("$ostrakon" net status "$net" -o json | jq -r '[.nodes[] | select(.role == "leader") | .name][0] // ""')
gap=$(awk -F'\t' 'NR > 1 && $3 - last > gap {gap = $3 - last} {last = $3} END {print gap + 0}' "$work/acked")
live=$(wc -l <"$work/acked")
if [ -n "$next" ] && [ "$next" != "$leader" ] && [ "$after" -ge 20 ]; then
	good "$next leads now; the longest gap between two acknowledged writes was $gap ms ($live writes)"
else
	bad "no new leader commits (leader before: $leader, now: ${next:-none}, writes after the kill: $after)"
fi

title "The killed node comes back"
start=$(now_ms)
"$ostrakon" net up "$net" >/dev/null 2>&1 || true
level=no
for _ in $(seq 150); do
	states=$("$ostrakon" net status "$net" -o json |
		jq -r '.nodes[] | "\(.state) \(.final_height) \(.state_root)"' | sort -u)
	[ "$(wc -l <<<"$states")" != 1 ] || [[ $states != running* ]] || { level=yes; break; }
	sleep 0.1
done
if [ $level = yes ]; then
	read -r _ height root <<<"$states"
	good "level after $(($(now_ms) - start)) ms: all four at height $height with state root ${root:0:16}..."
else
	bad "not level"; "$ostrakon" net status "$net" | sed 's/^/   /'
fi

title "Nothing acknowledged is lost"
cut -f1,2 "$work/acked" | cat "$work/packages" - >"$work/all"
total=$(wc -l <"$work/all")
if "$ostrakon" get --from "$work/all" >"$work/get" 2>"$work/get.err"; then
	good "$total of $total acknowledged writes read with proof, each with the value that was put"
else
	bad "reading $total acknowledged writes"; tail -n 5 "$work/get" "$work/get.err"
fi

"$ostrakon" net down "$net" >/dev/null 2>&1 || bad "stopping the network"
printf '\n'
if [ $failed = 0 ]; then
	echo "The demonstration passed: $count packages, $live live writes, 10 forgeries refused, gap $gap ms."
else
	echo "The demonstration FAILED in $failed places."
	exit 1
fi
