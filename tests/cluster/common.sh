# What the tests with live networks and trouble share: a network, an open loop of transactions, and
# the judgement afterwards. Sourced from the top of a build tree, with: test (its name), seed, rate,
# nodes, load_chunk (seconds of one run of the load).
# shellcheck shell=bash disable=SC2154
top=$PWD
PATH=$top/tools:$PATH
export OSTRAKOND=$top/src/node/ostrakond
RANDOM=$seed
work=$(mktemp -d "${TMPDIR:-/tmp}/ostrakon-$test.XXXXXX")
net=$work/net
load_pid=
touch "$work/acks"
began=$(date +%s)

cleanup() {
	touch "$work/enough"
	[ -z "$load_pid" ] || wait "$load_pid" 2>/dev/null
	ostrakon net resume "$net" >/dev/null 2>&1
	ostrakon net down "$net" >/dev/null 2>&1
	if [ "$(type -t cleanup_more)" = function ]; then cleanup_more; fi
	if [ -n "${KEEP:-}" ]; then echo "kept: $work" >&2; else rm -rf "$work"; fi
}
trap cleanup EXIT
trap 'exit 130' INT TERM
fail() {
	echo "FAILED (seed $seed): $*" >&2
	ostrakon doctor --home "$net" >&2
	exit 1
}
say() { printf '%4d s  %s\n' $(($(date +%s) - began)) "$*"; }
pick() { echo $((RANDOM * 32768 + RANDOM)) "$1" | awk '{print $1 % $2}'; }
chance() { [ "$(pick 100)" -lt "$1" ]; }
nap() { sleep "$(pick "$2" | awk -v low="$1" '{printf "%.3f", (low + $1) / 1000}')"; } # LOW SPAN ms
acked() { grep -c " committed " "$work/acks" || true; }

# ---- load ------------------------------------------------------------------------------------

# Runs one after another, each signed with fresh nonces and expiry. Refusals and unknown outcomes are
# counted, not failures: nodes are dying. A false proof is one.
load() {
	local code
	until [ -e "$work/enough" ]; do
		ostrakon bench run --home "$net" --rate "$rate" --seconds "$load_chunk" --timeout 60s \
			--save "$work/acks" -o json >>"$work/bench" 2>>"$work/bench.err"
		code=$?
		[ $code -ne 5 ] || touch "$work/lie"
		case $code in 0 | 1 | 3 | 4) ;; *)
			echo "bench run: exit code $code" >>"$work/bench.err"
			touch "$work/lie"
			;;
		esac
	done
}
load_begin() {
	load_began=$(date +%s.%N)
	load &
	load_pid=$!
}
load_end() {
	touch "$work/enough"
	wait "$load_pid"
	load_pid=
	load_seconds=$(date +%s.%N | awk -v began="$load_began" '{printf "%.1f", $1 - began}')
	[ ! -e "$work/lie" ] || fail "the load: $(tail -3 "$work/bench.err")"
}

# Waits until more is acknowledged: under way again, whatever has been done.
progress() { # TRANSACTIONS
	local want=$(($(acked) + $1))
	for _ in $(seq 12000); do
		[ "$(acked)" -lt "$want" ] || return 0
		[ ! -e "$work/lie" ] || fail "the load: $(tail -3 "$work/bench.err")"
		sleep 0.05
	done
	fail "no progress after: $*"
}
leader() {
	ostrakon net status "$net" -o json 2>/dev/null | jq -r \
		'[.nodes[] | select(.role == "leader")] | max_by(.term) | .name // empty'
}
some_node() { # in two of three cases the leader
	local who=
	if chance 66; then who=$(leader); fi
	echo "${who:-node$(($(pick "$nodes") + 1))}"
}

# ---- afterwards ------------------------------------------------------------------------------

# All at one height with one root, in one picture, $work/level.json: the next one may differ, for a
# network in pbft mode goes on with empty blocks until it returns to fast mode.
level_all() {
	ostrakon net status "$net" -o json >"$work/level.json" &&
		jq -e --argjson n "$nodes" \
			'([.nodes[] | select(.state == "running")] | length) == $n and
			 ([.nodes[] | [.final_height, .state_root]] | unique | length) == 1' \
			"$work/level.json" >/dev/null
}

# Every acknowledged transaction is proven by every node at its height, none twice, none that was
# refused for good; blocks and state roots are the same everywhere; nobody is accused.
judge() {
	local tries=6000
	until level_all; do
		[ $((tries -= 1)) -gt 0 ] ||
			fail "the nodes do not come to one state: $(cat "$work/level.json")"
		sleep 0.1
	done
	urls=$(jq -r '.nodes[].api' "$work/level.json")
	height=$(jq .nodes[0].final_height "$work/level.json")
	root=$(jq -r .nodes[0].state_root "$work/level.json")

	# acks: "ID committed HEIGHT", "ID refused REASON", "ID unknown ..."
	awk '$2 == "committed" {print $1, $3}' "$work/acks" | sort >"$work/want"
	awk '{print $1}' "$work/want" >"$work/ids"
	awk '$2 == "refused" || $2 == "unsent" {print $1}' "$work/acks" | sort >"$work/refused"
	total=$(wc -l <"$work/ids")
	# The judge can say no: one that nobody has ever sent.
	{ head -1 "$work/ids" && printf '%064d\n' 7; } >"$work/made-up"
	ostrakon tx status --from "$work/made-up" --home "$net" --timeout 10m >/dev/null 2>&1 &&
		fail "a transaction that never was is proven"
	local node=0 url both none proving=()
	# Of each node at once, for one alone mostly waits: each acknowledged one, with its proof.
	for url in $urls; do
		node=$((node + 1))
		ostrakon tx status --from "$work/ids" --node "$url" --genesis "$net/genesis.json" \
			--timeout 10m -o jsonl >"$work/status.$node" 2>"$work/status.err.$node" &
		proving+=($!)
	done
	node=0
	for url in $urls; do
		node=$((node + 1))
		wait "${proving[node - 1]}" ||
			fail "acknowledged transactions are not proven by node$node: $(cat "$work/status.err.$node")"
		jq -r '.tx + " " + (.height | tostring)' "$work/status.$node" | sort >"$work/got"
		cmp -s "$work/want" "$work/got" ||
			fail "node$node has acknowledged transactions elsewhere: $(diff "$work/want" "$work/got" | head -4)"
		# each block, and what is in them
		ostrakon watch blocks --node "$url" --from 1 --count "$height" --timeout 10m -o jsonl |
			jq -r '.data | [.height, .hash, .state_root, .tx_count] | @tsv' >"$work/blocks.$node"
		[ "$(wc -l <"$work/blocks.$node")" -eq "$height" ] || fail "node$node does not show all blocks"
		cmp -s "$work/blocks.1" "$work/blocks.$node" ||
			fail "FORK between node1 and node$node: $(diff "$work/blocks.1" "$work/blocks.$node" | head -4)"
		say "node$node: $total acknowledged ones proven, $height blocks the same"
	done
	# The events of blocks come first, so the count of transactions is known, and none may come twice.
	count=$(awk '{n += $4} END {print n + 0}' "$work/blocks.1")
	ostrakon watch txs --node "$(echo "$urls" | head -1)" --from 0 --count "$count" --timeout 10m -o jsonl |
		jq -r .data.tx | sort >"$work/all"
	[ "$(wc -l <"$work/all")" -eq "$count" ] || fail "$(wc -l <"$work/all") of $count transactions shown"
	[ -z "$(uniq -d "$work/all")" ] || fail "a transaction took effect twice: $(uniq -d "$work/all" | head -1)"
	both=$(comm -12 "$work/all" "$work/refused")
	[ -z "$both" ] || fail "$(echo "$both" | wc -l) transactions were refused for good, but took effect: $(
		echo "$both" | head -3 | while read -r id; do grep "^$id" "$work/acks"; done)"
	# a double vote that anybody saw is evidence, and gets its maker jailed
	for url in $urls; do
		none=$(curl -sf "$url/v1/evidence" | jq '.evidence | length') &&
			[ "$none" = 0 ] || fail "evidence: $(curl -s "$url/v1/evidence")"
		none=$(curl -sf "$url/v1/modes" | jq '.jailed | length') &&
			[ "$none" = 0 ] || fail "a node is jailed: $(curl -s "$url/v1/modes")"
	done
	reasons=$(awk '$2 == "refused" || $2 == "unsent" {n[$3]++} END {for (r in n) print r, n[r]}' "$work/acks" |
		jq -R -s -c 'split("\n") | map(select(. != "") | split(" ") | {(.[0]): (.[1] | tonumber)}) | add // {}')
}

# The load's share of the figures. Throughput is over all of its time, pauses for signing included.
figures() {
	jq -s -c --argjson blocks "$height" --argjson acked "$total" --argjson seed "$seed" \
		--argjson nodes "$nodes" --arg root "$root" --argjson seconds "$load_seconds" \
		--argjson reasons "$reasons" \
		'{nodes: $nodes, seed: $seed, load_s: $seconds, offered_per_s: .[0].rate,
		  tx_per_s: ($acked / $seconds), sent: ([.[].sent] | add), acknowledged: $acked,
		  refused: ([.[].refused] | add), refused_for: $reasons, unknown: ([.[].unknown] | add),
		  unverified: ([.[].unverified] | add),
		  latency_p50_ms: ([.[].latency_ms.p50] | sort | .[length / 2 | floor]),
		  latency_max_ms: ([.[].latency_ms.max] | max), blocks: $blocks,
		  lost: 0, forks: 0, double_votes: 0, state_roots_equal: true, state_root: $root}' \
		"$work/bench" || fail "the figures"
}

# ---- disks that fail -------------------------------------------------------------------------

# Nodes started from now on have tests/cluster/disk-faults.c before their C library. $faults/NODE.arm
# says what is to happen to the disk of NODE, $faults/NODE.log what has.
faults_begin() {
	faults=$work/faults
	mkdir -p "$faults/keep"
	cat >"$work/ostrakond-faults" <<END
#!/bin/bash
home=\${@: -1}
node=\${home##*/}
export DISK_FAULTS_DATA=\$(realpath "\$home")/data DISK_FAULTS_KEEP=$faults/keep
export DISK_FAULTS_ARM=$faults/\$node.arm DISK_FAULTS_LOG=$faults/\$node.log
export ASAN_OPTIONS=\${ASAN_OPTIONS:-}:verify_asan_link_order=0
LD_PRELOAD=$top/tests/cluster/disk-faults.so exec $OSTRAKOND "\$@"
END
	chmod +x "$work/ostrakond-faults"
	export OSTRAKOND=$work/ostrakond-faults
}
arm() { # NODE WORDS...
	local node=$1
	shift
	echo "$*" >"$faults/$node.new"
	mv "$faults/$node.new" "$faults/$node.arm"
}
disarm() { rm -f "$faults/$1.arm"; }
struck() { # NODE: how often so far
	wc -l 2>/dev/null <"$faults/$1.log" || echo 0
}
# PID: is no more, or a zombie that nobody reaps. Its first thread may be one while others still
# die, and until they have `net up` takes it for running.
gone_now() {
	case $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '{print $1, $18}') in
	'' | X* | 'Z 0' | 'Z 1') return 0 ;;
	esac
	return 1
}
gone() { # PID: waits for that
	for _ in $(seq 6000); do
		! gone_now "$1" || return 0
		sleep 0.02
	done
	return 1
}

url() { cat "$net/$1/api" 2>/dev/null; }
consensus() { curl -s -m 10 "$(url "$1")/v1/consensus"; } # NODE
log_of() { cat "$net/$1/ostrakond.log"; }
# Until that holds of what the node says of itself.
await() { # NODE JQ-CONDITION [PID]: sets ended to 1 if that process was ended by RocksDB
	ended=0
	for _ in $(seq 15000); do
		if consensus "$1" | jq -e "$2" >/dev/null 2>&1; then return 0; fi
		if [ -n "${3:-}" ] && ended_by_rocksdb "$1" "$3"; then
			ended=1 rocksdb_ended=$((${rocksdb_ended:-0} + 1))
			return 0
		fi
		sleep 0.04
	done
	fail "$1 does not come to: $2; it says: $(consensus "$1")"
}
# Debian's RocksDB is built with assertions, and one of them ends the process if its log is synced
# at the very moment at which a write to it has failed (ledger/store_rocksdb.c). Nothing is lost by
# it; the node must be started again. True if that is how it ended.
ended_by_rocksdb() { # NODE PID
	gone_now "$2" && log_of "$1" | tail -n 3 | grep -q 'sync_without_flush_called_'
}
level() { # NODE: has what is final elsewhere
	local other=node1 height has
	[ "$1" != node1 ] || other=node2
	height=$(curl -s -m 10 "$(url $other)/v1/status" | jq -r .final_height)
	for _ in $(seq 15000); do
		has=$(curl -s -m 10 "$(url "$1")/v1/status" | jq -r .final_height)
		[ "${has:-0}" -lt "$height" ] || return 0
		sleep 0.04
	done
	fail "$1 does not come up to height $height"
}
sign_one() { # that no node is to take
	ostrakon put k v --home "$net" --no-send --save "$work/tx" >/dev/null 2>&1 || fail "put --no-send"
	one='{"tx": "'$(od -An -v -tx1 "$work/tx" | tr -d ' \n')'"}'
}
# A read and a refused write: what a node is good for meanwhile.
reads_only() { # NODE CODE
	local got
	curl -sf -m 10 "$(url "$1")/v1/blocks/1" | jq -e .height >/dev/null || fail "$1 answers no reads"
	got=$(curl -s -m 10 -H 'Content-Type: application/json' --data "$one" "$(url "$1")/v1/transactions" |
		jq -r .code)
	[ "$got" = "$2" ] || fail "$1 refuses writes with $got, and not with $2"
}
victim_of() { # LEADER?: the leader, or one that follows
	local who
	for _ in $(seq 6000); do
		who=$(leader)
		[ -z "$who" ] || break
		sleep 0.05
	done
	[ "$1" = leader ] || who=$([ "$who" = node2 ] && echo node3 || echo node2)
	echo "$who"
}
