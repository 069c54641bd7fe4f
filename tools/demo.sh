#!/bin/bash
# The demonstration: four nodes order signed transactions, lose their leader, lose nothing, and
# answer with proofs that are checked offline. Every figure printed is measured in this run.
#
#   demo.sh [--bindir DIR] [--keep]
#
# --bindir: where ostrakon and ostrakond are (default: PATH). --keep: leave the network's files.
# Exit code 0 only if everything that is claimed was seen.
set -uo pipefail

bindir='' keep=no
while [ $# -gt 0 ]; do
	case $1 in
	--bindir)
		bindir=${2:?--bindir needs a directory}
		shift
		;;
	--keep) keep=yes ;;
	-h | --help)
		sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
		exit 0
		;;
	*)
		echo "demo.sh: unknown argument $1" >&2
		exit 2
		;;
	esac
	shift
done
if [ -n "$bindir" ]; then
	PATH=$(cd "$bindir" && pwd):$PATH
fi
for tool in ostrakon ostrakond jq dpkg-query; do
	command -v "$tool" >/dev/null || {
		echo "demo.sh: $tool is missing" >&2
		exit 1
	}
done
# Nothing from the caller's environment changes what happens here.
unset OSTRAKOND
while IFS= read -r name; do
	unset "$name"
done < <(compgen -e | grep '^OSTRAKON_' || true)

work=$(mktemp -d "${TMPDIR:-/tmp}/ostrakon-demo.XXXXXX")
net=$work/network
writer_pid=
begin=$SECONDS

cleanup() {
	[ -z "$writer_pid" ] || kill "$writer_pid" 2>/dev/null
	[ ! -d "$net" ] || ostrakon net down "$net" >/dev/null 2>&1
	if [ "$keep" = yes ]; then
		echo "The network's files are in $work."
	else
		rm -rf "$work"
	fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM

step() {
	printf '\n%s\n' "$*"
}
say() {
	printf '  %s\n' "$*"
}
# What the summary shows; a failure also ends the run.
summary=()
note() {
	summary+=("$(printf '%-44s %s' "$1" "$2")")
}
fail() {
	printf '\nFAILED: %s\n' "$*" >&2
	[ ! -d "$net" ] || ostrakon net status "$net" >&2
	exit 1
}
now_ms() {
	echo $(($(date +%s%N) / 1000000))
}
cli() {
	ostrakon "$@" --home "$net"
}

# ---- 1 a network ----------------------------------------------------------------------------
step "1. Four nodes, each a process with its own disk and sockets"
ostrakon net init "$net" --nodes 4 -o json >"$work/init.json" 2>/dev/null || fail "net init"
start=$(now_ms)
ostrakon net up "$net" --timeout 60s >"$work/up.txt" || fail "net up"
up_ms=$(($(now_ms) - start))
sed 's/^/  /' "$work/up.txt"
say "The network could commit $up_ms ms after it was started."
note "network of 4 nodes ready after" "$up_ms ms"

# ---- 2 the packages of this machine ---------------------------------------------------------
step "2. Every Debian package installed here, as a signed transaction each"
dpkg-query -W -f '${Package}:${Architecture} ${Version}\n' |
	awk '{print "pkg/" $1 "\t" $2}' >"$work/packages.tsv"
count=$(wc -l <"$work/packages.tsv")
[ "$count" -gt 0 ] || fail "dpkg-query lists no package"
start=$(now_ms)
cli put --from "$work/packages.tsv" -o jsonl --timeout 60s >"$work/acks-packages.jsonl" ||
	fail "putting the packages"
put_ms=$(($(now_ms) - start))
acked=$(jq -r 'select(.status == "committed" and .result == "ok") | .tx' \
	"$work/acks-packages.jsonl" | sort -u | wc -l)
[ "$acked" -eq "$count" ] || fail "$acked of $count transactions were acknowledged"
blocks=$(jq -r .height "$work/acks-packages.jsonl" | sort -u | wc -l)
one_round=$(jq -r 'select(.grade == "one_round") | .tx' "$work/acks-packages.jsonl" | wc -l)
say "$acked of $count put, in $blocks blocks and $put_ms ms; each acknowledged only after its"
say "certificate was verified. $one_round became final in one round."
note "packages put, certificates verified" "$acked of $count in $put_ms ms"
note "final in one round" "$one_round of $acked"

start=$(now_ms)
cli get --from "$work/packages.tsv" -o json >"$work/read.json" || fail "reading the packages back"
read_ms=$(($(now_ms) - start))
verified=$(jq -r .verified "$work/read.json")
[ "$verified" -eq "$count" ] || fail "$verified of $count values were read with proof"
say "$verified of $count read again, each value proven under a certified state root, in $read_ms ms."
note "packages read again, proofs verified" "$verified of $count in $read_ms ms"

# ---- 3 a proof, and forgeries of it ---------------------------------------------------------
step "3. One proof, checked offline against the genesis file alone; and ten forgeries of it"
key=$(head -n 1 "$work/packages.tsv" | cut -f 1)
cli get "$key" --prove >"$work/proof.json" || fail "get --prove"
cp "$net/genesis.json" "$work/genesis.json"
ostrakon net init "$work/other" -o json >/dev/null 2>&1 || fail "another chain's genesis"
ostrakon verify "$work/proof.json" --genesis "$work/genesis.json" -o json >"$work/verified.json" ||
	fail "the true proof was refused"
say "true: $(jq -r '"\(.key) = \(.value) at height \(.height), signed by \(.signers | join(", "))"' \
	"$work/verified.json")"

# forge NAME JQ-PROGRAM [GENESIS]: the result must differ and must be refused with exit code 5.
forged=0
forge() {
	local file=$work/forged-$1.json code=0
	jq "$flip $2" "$work/proof.json" >"$file" || fail "making the forgery \"$1\""
	if [ $# -eq 2 ] && cmp -s <(jq -S . "$work/proof.json") <(jq -S . "$file"); then
		fail "the forgery \"$1\" is no forgery"
	fi
	ostrakon verify "$file" --genesis "${3:-$work/genesis.json}" \
		>"$work/forged.out" 2>"$work/forged.err" || code=$?
	[ "$code" -eq 5 ] || fail "forgery \"$1\": exit code $code instead of 5"
	forged=$((forged + 1))
	say "$(printf '%-22s exit code 5, %s' "$1" \
		"$(sed -n '1s/^ostrakon: //p' "$work/forged.err" | cut -c 1-90)")"
}
# flip(n): the hex digit n of a string becomes another.
flip='def flip(n): .[:n] + (if .[n:n+1] == "0" then "1" else "0" end) + .[n+1:];'
# A state proof's bytes end with hashes; its middle lies in one of the siblings.
forge value '.value += "-forged"'
forge key '.key += "-forged"'
forge height '.height += 1'
forge sibling '.proof |= flip(length / 2 | floor)'
forge root '.state_root as $old | ($old | flip(0)) as $new | .state_root = $new
	| .headers[0] |= (split($old) | join($new))'
forge signature '.certificate.signatures[0] |= flip(10)'
forge one-signer-short 'del(.certificate.signers[-1], .certificate.signatures[-1])'
forge signer-twice '.certificate |= (.signers[1] = .signers[0] | .signatures[1] = .signatures[0])'
forge another-chain '.' "$work/other/genesis.json"
forge absence '.value = null | .value_hash = null'
[ "$forged" -eq 10 ] || fail "$forged forgeries were refused instead of 10"
note "forged proofs refused with exit code 5" "$forged of 10"

# ---- 4 the leader dies ----------------------------------------------------------------------
step "4. The leader is killed with -9 while a client keeps writing"
seq -f 'writer/%g' 1500 | awk '{print $1 "\twritten-" NR}' >"$work/writer.tsv"
cli put --from "$work/writer.tsv" --clients 1 --batch 1 --timeout 60s -o jsonl \
	>"$work/acks-writer.jsonl" 2>"$work/writer.err" &
writer_pid=$!
for _ in $(seq 600); do
	[ "$(wc -l <"$work/acks-writer.jsonl")" -lt 200 ] || break
	sleep 0.05
done
[ "$(wc -l <"$work/acks-writer.jsonl")" -ge 200 ] || fail "the writer does not get on"
term_before=$(jq -s '.[-1].term' <(tail -n 1 "$work/acks-writer.jsonl"))
killed_at=$(now_ms)
victim=$(ostrakon net kill "$net" leader -o json | jq -r '.nodes[0].name') || fail "net kill leader"
say "Killed $victim, leader of term $term_before."
wait "$writer_pid"
code=$?
writer_pid=
[ "$code" -eq 0 ] || {
	sed 's/^/  /' "$work/writer.err" >&2
	fail "the writer ended with exit code $code"
}
written=$(jq -r 'select(.status == "committed" and .result == "ok") | .tx' \
	"$work/acks-writer.jsonl" | sort -u | wc -l)
[ "$written" -eq 1500 ] || fail "$written of the writer's 1500 transactions were acknowledged"
gap=$(jq -r .at_ms "$work/acks-writer.jsonl" |
	awk 'NR > 1 && $1 - last > gap {gap = $1 - last; at = last} {last = $1}
		END {printf "%.0f %.0f\n", gap, at}')
gap_ms=${gap% *}
term_after=$(jq -s '.[-1].term' <(tail -n 1 "$work/acks-writer.jsonl"))
[ "$term_after" -gt "$term_before" ] || fail "there was no new leader: term $term_after"
leader=$(ostrakon net status "$net" -o json |
	jq -r '[.nodes[] | select(.role == "leader")] | max_by(.term) | .name')
[ -n "$leader" ] && [ "$leader" != null ] && [ "$leader" != "$victim" ] || fail "no new leader"
say "$leader leads term $term_after. At the client the longest time without an acknowledgement was"
say "$gap_ms ms ($((${gap#* } - killed_at)) ms after the kill was begun). All $written writes were acknowledged."
note "leader killed: longest gap at the client" "$gap_ms ms"

# ---- 5 the killed node comes back -----------------------------------------------------------
step "5. The killed node is started again"
start=$(now_ms)
ostrakon net up "$net" --timeout 60s >/dev/null || fail "restarting $victim"
level=no
for _ in $(seq 600); do
	ostrakon net status "$net" -o json >"$work/status.json" || fail "net status"
	if jq -e '[.nodes[] | [.final_height, .state_root]] | unique | length == 1 and
		.[0][0] != null' "$work/status.json" >/dev/null; then
		level=yes
		break
	fi
	sleep 0.1
done
[ "$level" = yes ] || fail "$victim is not level with the others after 60 s"
level_ms=$(($(now_ms) - start))
say "$victim is level after $level_ms ms: all four at height" \
	"$(jq -r '.nodes[0].final_height' "$work/status.json") with state root" \
	"$(jq -r '.nodes[0].state_root[:16]' "$work/status.json")..."
note "killed node level again after" "$level_ms ms"

# ---- 6 nothing acknowledged is lost ---------------------------------------------------------
step "6. Every acknowledged transaction, asked from the node that had died"
jq -r .tx "$work/acks-packages.jsonl" "$work/acks-writer.jsonl" | sort -u >"$work/acked.txt"
total=$(wc -l <"$work/acked.txt")
cli tx status --from "$work/acked.txt" --node "$victim" -o json >"$work/found.json" ||
	fail "acknowledged transactions are missing"
found=$(jq -r .committed "$work/found.json")
[ "$found" -eq "$total" ] && [ "$total" -eq $((acked + written)) ] ||
	fail "$found of $total acknowledged transactions were found"
cli get --from "$work/packages.tsv" --node "$victim" -o json >"$work/read-again.json" ||
	fail "reading the packages from $victim"
again=$(jq -r .verified "$work/read-again.json")
[ "$again" -eq "$count" ] || fail "$again of $count values were read from $victim"
say "$found of $total are there, each with proof; and all $again packages have their values."
note "acknowledged transactions still there" "$found of $total"

# ---- 7 the end ------------------------------------------------------------------------------
step "7. The network is stopped"
ostrakon net down "$net" -o json >"$work/down.json" || fail "net down"
[ "$(jq '[.nodes[] | select(.state == "down")] | length' "$work/down.json")" -eq 4 ] ||
	fail "some nodes do not stop"
say "All four nodes have ended."

step "Summary ($((SECONDS - begin)) s)"
for line in "${summary[@]}"; do
	say "$line"
done
echo
echo "Everything that was claimed was seen."
