#!/bin/bash
# Each exit code of the table in ostrakon(1), from a live network, dead ones and lying ones; with
# -o json the error object says the same. Run from the top of the build tree.
set -uo pipefail

test=exit-codes
. "${srcdir:-..}/tests/live-net.sh"
answers=$(cd "${srcdir:-..}/tests/tools/answers" && pwd)
checks=0
sanitized=$(nm "$OSTRAKOND" 2>/dev/null | grep -c __asan_init)
# error CODE NAME ARGUMENTS...: exit code, and the name that the JSON error has
error() {
	local want=$1 name=$2 code=0
	shift 2
	ostrakon "$@" -o json >"$work/out" 2>"$work/err" </dev/null || code=$?
	[ "$code" -eq "$want" ] || fail "exit code $code instead of $want: $*: $(tail -n 3 "$work/err")"
	jq -es --arg name "$name" --argjson code "$want" \
		'.[-1] | .error == $name and .exit == $code and .message != ""' "$work/out" >/dev/null ||
		fail "no $name: $*: $(cat "$work/out")"
	[ -s "$work/err" ] || fail "nothing on standard error: $*"
	checks=$((checks + 1))
	[ "$sanitized" -eq 0 ] || return 0 # each program takes a while to start there
	code=0
	ostrakon "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
	[ "$code" -eq "$want" ] || fail "as a table: exit code $code instead of $want: $*"
	[ -s "$work/err" ] || fail "as a table: nothing on standard error: $*"
}
done_ok() {
	local code=0
	ostrakon "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
	[ "$code" -eq 0 ] || fail "exit code $code: $*: $(tail -n 3 "$work/err")"
	checks=$((checks + 1))
}

said() { # WORDS: in the last error
	grep -q -e "$1" "$work/err" || fail "not \"$1\", but: $(cat "$work/err")"
}

# ---- 2: usage ----------------------------------------------------------------------------------
error 2 usage statsu
grep -q 'did you mean "status"' "$work/err" || fail "no hint: $(cat "$work/err")"
error 2 usage status --nodee x
error 2 usage put onlykey
error 2 usage put --from "$work/none" --no-send
error 2 usage put --from "$work/none" --save "$work/none.tx"
error 2 usage put a b c
error 2 usage status --timeout soon
error 2 usage blocks --limit 0
said "out of range: 1 to 1000"
error 2 usage blocks --limit many
said "a whole number from 1 to 1000"
error 2 usage put k v --nonce 0
said "out of range: 1 to 18446744073709551615"
error 2 usage status --timeout 2000h
said "from 1ms to 1000h"
error 2 usage get k --linearizable=yes
error 2 usage status --seconds 3
error 2 usage net
error 2 usage completion tcsh
OSTRAKON_TIMEOUT=never error 2 usage status
OSTRAKON_HOME=$work/none OSTRAKON_TIMEOUT=1h done_ok version
for variable in HOEM=HOME OUTPUTT=OUTPUT TOKENFILE=TOKEN_FILE API_LISTNE=API_LISTEN; do
	env "OSTRAKON_${variable%=*}=x" ostrakon version >/dev/null 2>"$work/err" || fail "version"
	said "OSTRAKON_${variable%=*}; did you mean OSTRAKON_${variable#*=}?"
done
OSTRAKON_SEEDS=1 OSTRAKON_LOG=info OSTRAKON_API_LISTEN=127.0.0.1:1 OSTRAKON_HOME=x OSTRAKON_K=1 done_ok version
[ ! -s "$work/err" ] || fail "of no variable of ours: $(cat "$work/err")"
ostrakon >/dev/null 2>&1
[ $? -eq 2 ] || fail "no verb is no usage error"

# ---- 78 and 7 without a network ------------------------------------------------------------------
error 78 config config show --home "$work"
error 6 not_found net up "$work/none"
mkdir "$work/full" && touch "$work/full/x"
error 7 exists net init "$work/full"
done_ok key new "$work/k.key" --unencrypted
error 7 exists key new "$work/k.key" --unencrypted
done_ok key show "$work/k.key"
error 6 not_found key show "$work/absent.key"
error 3 unreachable status --node http://127.0.0.1:1
# A --home that is none is bad configuration, whoever is given it.
id=$(printf 'ab%.0s' {1..32})
for verb in status "get k" "put k v" balance "transfer client $id 1" "bench run" "net status" "net down" \
	"db inspect" "backup create $work/no" "verify $work/none" "tx decode $work/full/x" "recovery show $work/none" \
	"evidence --verify $work/none" "config show" "member list" "watch blocks" monitor doctor; do
	# shellcheck disable=SC2086
	OSTRAKON_HOME=$work/none error 78 config $verb
done

error 78 config key list --home "$work/none"
error 78 config key new name --home "$work/none" --unencrypted
error 6 not_found backup list "$work/k.key"
said "Not a directory"

# 78: what another user may not read is there all the same
stranger() { # COMMAND...: somebody whom the homes do not belong to, or who has no rights in them
	local as=()
	[ "$(id -u)" -ne 0 ] || as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	"${as[@]}" "$@" >"$work/out" 2>"$work/err" </dev/null
}
denied() { # WORDS ARGUMENT...
	local code=0
	stranger ostrakon "${@:2}" || code=$?
	[ $code -eq 78 ] && grep -q "$1" "$work/err" || fail "exit code $code: ${*:2}: $(cat "$work/err")"
	checks=$((checks + 1))
}
secret=$work/secret
ostrakon net init "$secret" >/dev/null 2>&1 || fail "net init"
chmod 711 "$work"
if stranger ostrakon version && stranger test -r "$secret/genesis.json"; then
	chmod 0 "$secret"/node?
	denied "not allowed to read the data of $secret/node1" db inspect --home "$secret"
	denied "not allowed to read the data of $secret/node2" db inspect --home "$secret" --node node2
	denied "ostrakond.conf: .*only the user whom" config show --home "$secret"
	chmod 755 "$secret/node1"
	chmod 0 "$secret/node1/data"
	denied "not allowed to read the data of $secret/node1" db inspect --home "$secret/node1"
	chmod 700 "$secret"/node? "$secret/node1/data"
else
	echo "not tested: what another user may not read"
fi

# A file that an argument names, and that is not there, is not found.
for verb in "verify $work/none" "tx submit $work/none" "tx decode $work/none" "tx status --from $work/none" \
	"get --from $work/none" "put --from $work/none" "backup verify $work/none" "backup list $work/none" \
	"evidence --verify $work/none" "recovery show $work/none" "doctor --answers $work/none" \
	"monitor --once --answers $work/none" "put k v --key $work/none.key" "net status $work/none"; do
	# shellcheck disable=SC2086
	OSTRAKON_HOME=$secret error 6 not_found $verb
done

# Without a directory one is made, and started.
(cd "$work" && exec ostrakon net up --nodes 1 --timeout 10m) >"$work/out" 2>"$work/err" &&
	grep -q running "$work/out" && [ -e "$work/ostrakon-network/genesis.json" ] ||
	fail "net up makes no network: $(cat "$work/err")"
ostrakon net down "$work/ostrakon-network" >/dev/null || fail "net down"
rm -r "$work/ostrakon-network"

# What has another content than it ought to: what was expected is said.
echo 'not this' >"$work/odd"
export OSTRAKON_HOME=$secret
while IFS=: read -r want name verb words; do
	# shellcheck disable=SC2086
	error "$want" "$name" $verb "$work/odd"
	said "$words"
done <<-'EOF'
	1:version:tx decode:signed transaction: its bytes
	1:version:tx submit:signed transaction: its bytes
	5:syntax:verify:is no proof document
	5:syntax:evidence --verify:holds no evidence
	5:truncated:recovery show:recovery draft
	2:usage:doctor --answers:holds no answers of nodes
	6:not_found:backup verify:a backup is a directory
	2:usage:tx status --from:line 1 is no transaction id: 64 hex digits
EOF
unset OSTRAKON_HOME

# ---- a live network --------------------------------------------------------------------------------
net_init
export OSTRAKON_HOME=$net
error 3 unreachable get k
error 3 unreachable monitor --once
health() { # CODE
	local code=0
	ostrakon health >"$work/out" 2>"$work/err" </dev/null || code=$?
	[ "$code" -eq "$1" ] && grep -q "nodes are ready, 3 needed" "$work/err" ||
		fail "exit code $code: health: $(cat "$work/out" "$work/err")"
	checks=$((checks + 1))
}
health 3
error 7 exists net up "$net" --nodes 7 # it has another size, and keeps it
error 7 exists net up --nodes 7
done_ok net status
grep -q running "$work/out" && fail "a node was started all the same"
done_ok net up --nodes 4 --timeout 10m
up
done_ok put k v --timeout 10m
done_ok get k
[ "$(cat "$work/out")" = v ] || fail "another value"
for dots in . ..; do # keys like others, though paths have another use for them
	done_ok put $dots "value of $dots"
	done_ok get $dots
	[ "$(cat "$work/out")" = "value of $dots" ] || fail "another value of $dots"
done
done_ok monitor --once
done_ok status
for verb in "get k" "put k v" doctor "db inspect"; do # no host of that name is asked for
	# shellcheck disable=SC2086
	error 6 not_found $verb --node node9
	said 'has no node "node9": its nodes are node1, node2, node3, node4'
done
done_ok status --node node2
done_ok validators
grep -qx 'q  *3' "$work/out" && grep -q '^INDEX' "$work/out" || fail "validators: $(cat "$work/out")"
done_ok evidence --verify
done_ok modes --verify
done_ok doctor
ostrakon get k --prove >"$work/proof.json" 2>/dev/null || fail "get --prove"
done_ok verify "$work/proof.json"

# 1: refused, or in vain
error 1 failed_cas cas k other new
nonce=$(ostrakon put k v --no-send -o json 2>/dev/null | jq .nonce)
done_ok put k v --nonce "$nonce"
error 1 tx_nonce_used put k w --nonce "$nonce"
said "without --nonce"
error 1 tx_horizon put k w --expiry 99999999
said "without --expiry"
grep -q /v1/ "$work/err" && fail "a path of the API: $(cat "$work/err")"
error 1 failed_funds transfer client "$(printf '11%.0s' {1..32})" 9000000000
error 6 not_found get absent
long=$(head -c 2000 /dev/zero | tr '\0' k)
for verb in "get" "put" "del" "cas"; do
	rest=()
	[ $verb != put ] || rest=(v)
	[ $verb != cas ] || rest=(old new)
	error 2 usage $verb "" "${rest[@]}"
	said "the key is empty"
	error 1 limit $verb "$long" "${rest[@]}"
	said "the key has 2000 bytes, and this chain takes at most 1024"
done
value=$(head -c 70000 /dev/zero | tr '\0' v)
error 1 limit put k "$value"
said "the value has 70000 bytes, and this chain takes at most 65536"
printf 'a 1\n\n%s 2\n' "$long" >"$work/lines"
for verb in put get; do
	error 1 limit $verb --from "$work/lines"
	said "line 3: the key has 2000 bytes"
done
printf '# keys\nk v\nk other\n' >"$work/lines"
error 1 different get --from "$work/lines"
said "the first in line 3"
printf 'k\n\nabsent\n' >"$work/lines"
error 6 not_found get --from "$work/lines"
said "in line 3"
printf '%s\n' "$id" >"$work/lines"
error 6 not_found tx status --from "$work/lines"
said "the first in line 1"
printf '\nbeef\n' >"$work/lines"
error 2 usage tx status --from "$work/lines"
said "line 2 is no transaction id: 64 hex digits"
for above in "block 99999999" "blocks --height 99999999" "get k --height 99999999" "get absent --height 99999999" \
	"balance --height 99999999"; do # above the final height
	# shellcheck disable=SC2086
	error 6 not_found $above
done
error 6 not_found tx status "$(printf 'ab%.0s' {1..32})"
ostrakon watch blocks --from 99999999 >"$work/out" 2>"$work/err" </dev/null & # waits for it, and says so
helper_pid=$!
for ((try = 0; try < 1200; try++)); do
	grep -q 'height 99999999 is not final yet, [0-9]* is: waiting' "$work/err" && break
	sleep 0.05
done
[ $try -lt 1200 ] || fail "watch is silent: $(cat "$work/err")"
kill "$helper_pid"
wait "$helper_pid"
helper_pid=
done_ok watch blocks --from 1 --count 1
[ ! -s "$work/err" ] || fail "watch from a height that is there: $(cat "$work/err")"
ostrakon put k w --save "$work/tx.bin" --no-send >/dev/null 2>&1 || fail "put --no-send"
done_ok tx decode "$work/tx.bin" -o json
jq -e 'all(.nonce, .expiry, .size; type == "number")' "$work/out" >/dev/null || fail "numbers as text: $(cat "$work/out")"
cp "$work/tx.bin" "$work/forged.bin"
printf '\x5a\xa5' | dd of="$work/forged.bin" bs=1 seek=$(($(stat -c %s "$work/tx.bin") - 2)) conv=notrunc 2>/dev/null
error 1 bad_signature tx submit "$work/forged.bin"
done_ok tx submit "$work/tx.bin"
done_ok tx submit "$work/tx.bin" -o json # again: the same receipt
jq -e '.at_ms > 0 and .latency_ms > 0' "$work/out" >/dev/null || fail "no times: $(cat "$work/out")"
for verb in status wait; do # what was submitted before has no latency here
	done_ok tx $verb "$(jq -r .tx "$work/out")" -o json
	jq -e '.status == "committed" and (has("at_ms") or has("latency_ms") | not)' "$work/out" >/dev/null ||
		fail "times of somebody else: $(cat "$work/out")"
done

# 5: what proves nothing
jq '.value = "00"' "$work/proof.json" >"$work/forged.json"
ostrakon verify "$work/forged.json" >/dev/null 2>&1
[ $? -eq 5 ] || fail "a forged proof verified"
echo '{' >"$work/forged.json"
ostrakon verify "$work/forged.json" >/dev/null 2>&1
[ $? -eq 5 ] || fail "half a document verified"
ostrakon net init "$work/other" >/dev/null 2>&1 || fail "net init"
OSTRAKON_GENESIS=$work/other/genesis.json ostrakon verify "$work/proof.json" >/dev/null 2>&1
[ $? -eq 5 ] || fail "a proof of another chain verified"
ostrakon get k --node node1 --genesis "$work/other/genesis.json" >/dev/null 2>&1
[ $? -eq 5 ] || fail "a node of another chain was believed"
echo '{"evidence": [{"bytes": "00"}]}' >"$work/evidence.json"
ostrakon evidence --verify "$work/evidence.json" >/dev/null 2>&1
[ $? -eq 5 ] || fail "what is no evidence verified"

# 7 and 78 of the node's own program
"$OSTRAKOND" run --home "$net/node1" >/dev/null 2>&1
[ $? -eq 7 ] || fail "a second node on one home"
cp "$net/node2/ostrakond.conf" "$work/conf"
ostrakon net down "$net" node2 >/dev/null || fail "net down"
echo 'listne = 127.0.0.1:1' >>"$net/node2/ostrakond.conf"
"$OSTRAKOND" run --home "$net/node2" >/dev/null 2>"$work/err"
[ $? -eq 78 ] || fail "a typing error in the configuration was accepted"
grep -q 'ostrakond.conf:[0-9]*: unknown key "listne"' "$work/err" || fail "$(cat "$work/err")"
error 78 config net up "$net"
error 78 config config show
cp "$work/conf" "$net/node2/ostrakond.conf"
taken=$(sed -n '/^\[peers\]/,/^\[/s/^listen = //p' "$net/node1/ostrakond.conf")
"$OSTRAKOND" run --home "$net/node2" --peers-listen "$taken" >/dev/null 2>"$work/err"
[ $? -eq 7 ] || fail "a port for peers that another node has"
grep -q 'Address in use; end the other program or change \[peers\] listen' "$work/err" || fail "$(cat "$work/err")"
OSTRAKON_API_LISTNE=127.0.0.1:1 "$OSTRAKOND" check-config --home "$net/node2" >/dev/null 2>"$work/err" || fail "check-config"
said "OSTRAKON_API_LISTNE sets nothing, did you mean OSTRAKON_API_LISTEN?"
"$OSTRAKOND" run --what >/dev/null 2>&1
[ $? -eq 2 ] || fail "an unknown option of ostrakond"

# ---- 4 and 130: no quorum --------------------------------------------------------------------------
ostrakon net pause "$net" node3 >/dev/null || fail "net pause" # node2 is down
# The others do not know what one node has accepted: all are asked.
if ostrakon put k w --node node4 --wait accepted -o json >"$work/out" 2>/dev/null; then # a node gives up after 10 s
	done_ok tx status "$(jq -rs '.[-1].tx' "$work/out")"
	grep -q '^status  pending$' "$work/out" || fail "not pending: $(cat "$work/out")"
fi
health 1 # they answer, and are not ready
printf '\nk\n' >"$work/lines"
error 3 unreachable get --from "$work/lines" --node http://127.0.0.1:1
said "^line 2, k:"
error 4 timeout put k z --timeout 1ms # the time is over before anybody could be asked
error 4 timeout put k z --timeout 1ms --nonce 1000 --expiry 100
tx_named() { # standard error announced the id that the JSON has
	local id
	id=$(sed -n 's/^tx \([0-9a-f]\{64\}\)$/\1/p' "$work/err")
	[ -n "$id" ] && jq -es --arg id "$id" '.[-1].tx == $id' "$work/out" >/dev/null ||
		fail "tx not named: $(cat "$work/out" "$work/err")"
}
code=0
ostrakon put k z --timeout 1500ms -o json >"$work/out" 2>"$work/err" || code=$?
[ $code -eq 4 ] || fail "exit code $code without a quorum: $(cat "$work/err")"
tx_named
ostrakon doctor >/dev/null 2>&1
[ $? -eq 1 ] || fail "doctor is content without a quorum"
ostrakon get k --linearizable -o json >"$work/out" 2>/dev/null
[ $? -eq 3 ] || fail "a linearizable read without a quorum"
jq -e '.error == "no_quorum"' "$work/out" >/dev/null || fail "$(cat "$work/out")"
done_ok get k # what is final is still read
while :; do
	ostrakon put k y --timeout 10m -o json >"$work/out" 2>"$work/err" &
	put_pid=$! polls=0 again=
	# until a node has it: it is announced before it is sent
	until id=$(sed -n 's/^tx \([0-9a-f]\{64\}\)$/\1/p' "$work/err") && [ -n "$id" ] &&
		ostrakon tx status "$id" >/dev/null 2>&1; do
		if ! kill -0 $put_pid 2>/dev/null; then
			wait $put_pid || fail "put ends: $(cat "$work/out" "$work/err")"
			again=yes
			break
		fi
		if [ $((++polls % 200)) -eq 0 ]; then # without a quorum for 10 s they take nothing
			ostrakon net resume "$net" >/dev/null && ostrakon net pause "$net" node3 >/dev/null ||
				fail "net resume, net pause"
		fi
		sleep 0.02
	done
	[ -n "$again" ] || break # else it was committed while there was a quorum
done
kill -INT $put_pid
wait $put_pid
code=$?
[ $code -eq 130 ] || fail "exit code $code after SIGINT"
tx_named
ostrakon net resume "$net" >/dev/null || fail "net resume"
up
done_ok tx wait "$(jq -rs '.[-1].tx' "$work/out")" --timeout 10m # it was sent, and takes effect

# ---- a node that says anything: an exit code of the table, never a signal ------------------------------
jq -c '.nodes[0].status * .nodes[0].consensus * .blocks * .modes' "$answers/busy.json" >"$work/true.json"
id=$(printf 'ab%.0s' {1..32})
account=$(ostrakon key show "$work/k.key" -o json | jq -r .public_key)
unset OSTRAKON_HOME
cd "$work" || exit 1
# one_said WHAT ARGUMENTS...
one_said() {
	local what=$1 code=0 patience=1s
	shift
	[ "$what" != 'the truth' ] || patience=10m # what is false may make them wait in vain
	timeout -k 5 900 ostrakon "$@" --timeout $patience --node "http://127.0.0.1:$(cat port)" \
		>out 2>err || code=$?
	case $code in
	[0-7] | 78) ;;
	*) fail "exit code $code: $* of a node that says $what: $(head -c 300 err)" ;;
	esac
	[ "$what" != 'the truth' ] || [ "$want" -eq "$code" ] || fail "exit code $code: $*: $(cat err)"
	[ $code -eq 0 ] || [[ $1 =~ doctor|health ]] || grep -q "^ostrakon: ..*" err || fail "no message: $*: $(cat err)"
	LC_ALL=C grep -q $'[\001-\010\013-\037\177]' out err &&
		fail "control characters: $* of a node that says $what"
	checks=$((checks + 1))
}
# say WHAT: every verb that asks, trusting nothing and trusting the genesis file; the numbers are
# the exit codes for answers that are true, but not proven
forms='table json'
say() {
	local verb form
	# with sanitizers, where each program takes a while to start, the one and the other in turn
	[ "$sanitized" -eq 0 ] || if [ "$forms" = json ]; then forms=table; else forms=json; fi
	for form in $forms; do
		while read -r want verb; do
			# shellcheck disable=SC2086
			one_said "$1" $verb -o $form
		done <<-EOF
			0 status
			0 blocks
			0 block 1
			0 validators
			0 peers
			0 evidence
			0 modes
			0 get k
			0 balance $account
			0 health
			0 doctor
			0 monitor --once
			5 get k --genesis net/genesis.json
			5 balance $account --genesis net/genesis.json
			5 modes --verify --genesis net/genesis.json
			1 tx status $id --genesis net/genesis.json
			5 put k v --nonce 1 --expiry 9 --key k.key --genesis net/genesis.json
			5 put k v --key k.key --genesis net/genesis.json
		EOF
	done
}
"$top/tests/tools/liar" "$work/port" "$work/body" &
helper_pid=$!
while [ ! -s "$work/port" ]; do
	kill -0 "$helper_pid" 2>/dev/null || fail "the liar ends"
	sleep 0.01
done
for body in '' '{' '{}' '[]' '7' 'null' '"x"' '[[[[[[' '{"node":"\u001b[2J\u009b5n\u0000"}'; do
	printf '%s' "$body" >"$work/body"
	say "${body:-nothing}"
done
cp "$work/true.json" "$work/body" && say "the truth"
for value in '"18446744073709551615"' '"99999999999999999999999"' '-1' '1e400' '9223372036854775807' null '[]' '{}' \
	'"\u001b[2J"' true; do
	jq -c "walk(if type == \"string\" or type == \"number\" then 4242424242 else . end)" "$work/true.json" |
		sed "s/4242424242/$(printf '%s' "$value" | sed 's/[\\&/]/\\&/g')/g" >"$work/body"
	say "$value everywhere"
done
head -c 300000 /dev/zero | tr '\0' '[' >"$work/body" && say "300,000 brackets"
export OSTRAKON_HOME=$net

# ---- one liar of four stops nobody -----------------------------------------------------------------
kill "$helper_pid"
done_ok put lied about --timeout 10m
ostrakon net down "$net" node1 >/dev/null || fail "net down"
ostrakon put lied still -o json >"$work/out" 2>/dev/null || fail "put with three nodes"
id=$(jq -rs '.[-1].tx' "$work/out")
echo "$id" >"$work/ids"
echo lied >"$work/lines"
ostrakon get lied -o json >"$work/old.json" 2>/dev/null || fail "get with three nodes"
ostrakon put lied again >/dev/null 2>&1 || fail "put with three nodes"
# past_liar WANT OUT ARGUMENTS...: the liar is told of, and the others are asked
past_liar() {
	local want=$1 out=$2 code=0
	shift 2
	ostrakon "$@" --timeout 10m >"$work/out" 2>"$work/err" || code=$?
	[ "$code" -eq "$want" ] || fail "exit code $code with a liar: $*: $(cat "$work/err")"
	grep -q "^ostrakon: http://127.0.0.1:$(cat "$work/port"): .*; another node is asked$" "$work/err" ||
		fail "the liar is not named: $*: $(cat "$work/err")"
	grep -q "$out" "$work/out" "$work/err" || fail "no \"$out\": $*: $(cat "$work/out" "$work/err")"
	checks=$((checks + 1))
}
for lie in '404 {}' '200 {}' '200 old' '200 {"status":"committed","proof":{}}' \
	'200 {"results":[{"status":"committed","height":"5","result":"ok","proof":{}}]}'; do
	printf '%s' "${lie#* }" >"$work/body"
	[ "$lie" != '200 old' ] || cp "$work/old.json" "$work/body"
	rm -f "$work/port"
	"$top/tests/tools/liar" "$work/port" "$work/body" "${lie%% *}" &
	helper_pid=$!
	while [ ! -s "$work/port" ]; do
		kill -0 "$helper_pid" 2>/dev/null || fail "the liar ends"
		sleep 0.01
	done
	echo "http://127.0.0.1:$(cat "$work/port")" >"$net/node1/api"
	past_liar 0 '^status  *committed$' put more x
	if [ "$lie" != '200 old' ]; then # that one is true, if old
		past_liar 0 '^again$' get lied
		past_liar 6 'no key "absent"' get absent
		past_liar 0 'verified  *1$' get --from "$work/lines"
		ostrakon get lied --node "http://127.0.0.1:$(cat "$work/port")" --genesis "$net/genesis.json" \
			>"$work/out" 2>"$work/err"
		[ $? -eq 5 ] || fail "not exit code 5, of the liar alone: $(cat "$work/out" "$work/err")"
	fi
	if [ "${lie%% *}" = 200 ]; then # what it does not know it may not know
		past_liar 0 '^status  *committed$' tx wait "$id"
	fi
	done_ok tx status "$id"
	done_ok tx status --from "$work/ids"
	kill "$helper_pid"
done

ostrakon net down "$net" >/dev/null || fail "net down"
error 3 unreachable get k
error 3 unreachable put k v
echo "exit codes: $checks invocations"
