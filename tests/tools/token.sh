#!/bin/bash
# Nodes that want an access token: the program finds it in the network directory, or takes it from
# --token-file; without it, with another one or with a bad file it says so, and what to do. Run from
# the top of the build tree.
set -uo pipefail

# shellcheck disable=SC2034
test=token
. "${srcdir:-..}/tests/live-net.sh"
checks=0
# expect CODE NAME ARGUMENTS...: the exit code; with another than 0 the name of the JSON error
expect() {
	local want=$1 name=$2 code=0
	shift 2
	ostrakon "$@" -o json >"$work/out" 2>"$work/err" </dev/null || code=$?
	[ "$code" -eq "$want" ] ||
		fail "exit code $code instead of $want: $*: $(tail -n 3 "$work/err") $(head -c 300 "$work/out")"
	[ "$want" -eq 0 ] || jq -es --arg name "$name" --argjson code "$want" \
		'.[-1] | .error == $name and .exit == $code and (.hint | length > 0)' "$work/out" >/dev/null ||
		fail "no $name with a hint: $*: $(cat "$work/out")"
	[ "$want" -ne 1 ] || grep -q -e '--token-file' "$work/err" || fail "no hint: $*: $(cat "$work/err")"
	checks=$((checks + 1))
}
token_file() { # FILE TOKEN
	(umask 077 && printf '%s\n' "$2" >"$1")
}

net_init
genesis=$net/genesis.json
# One token for node1, from its home on; another for the others, by an absolute path.
token_file "$net/node1/api.token" "first-$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n')"
token_file "$work/others.token" "others-$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n')"
echo 'token_file = api.token' >>"$net/node1/ostrakond.conf"
for i in 2 3 4; do
	echo "token_file = $work/others.token" >>"$net/node$i/ostrakond.conf"
done
up
one=$(cat "$net/node1/api")
two=$(cat "$net/node2/api")

# ---- by itself: each node gets its own ---------------------------------------------------------
expect 0 '' net status "$net"
jq -e '[.nodes[] | select(.state == "running" and .role != "down")] | length == 4' "$work/out" >/dev/null ||
	fail "net status: $(cat "$work/out")"
export OSTRAKON_HOME=$net
for node in node1 node2 node3 node4; do
	expect 0 '' status --node $node
	jq -e --arg node $node '.node == $node' "$work/out" >/dev/null || fail "$node: $(cat "$work/out")"
done
expect 0 '' status --node "$two/" # by its URL too
expect 0 '' put k v --timeout 60s
expect 0 '' get k
expect 0 '' get k --linearizable
expect 0 '' health
jq -e 'length == 4 and all(.ready)' "$work/out" >/dev/null || fail "health: $(cat "$work/out")"
expect 0 '' doctor
expect 0 '' monitor --once
jq -e '.reached == 4' "$work/out" >/dev/null || fail "monitor: $(cat "$work/out")"
expect 0 '' watch txs --from 0 --count 1 --timeout 60s
# Over connections of the bench's own; what is refused there is sent again another way.
expect 0 '' bench run --clients 8 --connections 4 --count 200 --timeout 60s
jq -e '.committed == 200 and .resent < 200' "$work/out" >/dev/null || fail "bench: $(cat "$work/out")"
expect 0 '' backup create "$work/backup" --node node1
expect 0 '' db check --node node2
expect 0 '' status --home "$net/node1"
unset OSTRAKON_HOME

# ---- by hand -----------------------------------------------------------------------------------
cp -p "$net/node1/api.token" "$work/one.token"
cd "$work" || exit 1 # no network directory here
expect 0 '' status --node "$one" --token-file one.token
OSTRAKON_TOKEN_FILE=one.token expect 0 '' get k --node "$one" --genesis "$genesis"
OSTRAKON_TOKEN_FILE=none expect 0 '' status --node "$one" --token-file one.token # the flag wins
OSTRAKON_TOKEN_FILE=none expect 0 '' verify --genesis "$genesis" \
	<(ostrakon get k --prove --node "$one" --token-file one.token --genesis "$genesis" 2>/dev/null)
expect 0 '' watch txs --from 0 --count 1 --node "$one" --token-file one.token
grep -q "$(cat one.token)" out err && fail "the token is printed"
expect 0 '' watch blocks --from 0 --count 1 --node "$one" --token-file one.token

# ---- from the environment that the nodes are started with ----------------------------------------
cp -p one.token none-of-theirs.token && printf '%s\n' of-the-environment-alone >none-of-theirs.token
export OSTRAKON_API_TOKEN_FILE=$work/none-of-theirs.token
cd "$top" || exit 1
expect 1 unauthorized status --home "$net" --node node1 # it goes before the configuration here too
ostrakon net restart "$net" --timeout 60s >/dev/null || fail "net restart with a token in the environment"
one=$(cat "$net/node1/api") two=$(cat "$net/node2/api")
expect 0 '' status --home "$net" --node node1
expect 0 '' get k --home "$net"
expect 0 '' backup create "$work/backup3" --home "$net" --node node2
cd "$work" || exit 1
expect 0 '' status --node "$two"
expect 1 unauthorized status --node "$two" --token-file one.token # the flag wins
OSTRAKON_TOKEN_FILE=one.token expect 1 unauthorized status --node "$two"
OSTRAKON_API_TOKEN_FILE=$work/absent expect 78 config status --node "$two"
cp -p none-of-theirs.token "$net/node1/relative.token"
OSTRAKON_API_TOKEN_FILE=relative.token expect 0 '' status --home "$net/node1" # from the home on
OSTRAKON_API_TOKEN_FILE=relative.token expect 1 unauthorized status --node "$one" # whose home?
unset OSTRAKON_API_TOKEN_FILE
expect 1 unauthorized status --home "$net" --node node1
cd "$top" || exit 1
ostrakon net restart "$net" --timeout 60s >/dev/null || fail "net restart with the tokens of the files"
cd "$work" || exit 1
one=$(cat "$net/node1/api") two=$(cat "$net/node2/api")

# ---- 1: none, or another -----------------------------------------------------------------------
cp "$net/client.key" client.key
# refused ARGUMENTS...: by node1, without a token and with node2's
refused() {
	expect 1 unauthorized "$@" --node "$one"
	grep -q 'wants an access token' err || fail "$*: $(cat err)"
	expect 1 unauthorized "$@" --node "$one" --token-file others.token
	grep -q 'refuses the access token' err || fail "$*: $(cat err)"
}
refused status
refused health
refused blocks
refused get k --genesis "$genesis"
refused put k w --genesis "$genesis" --key client.key
refused put k w --genesis "$genesis" --key client.key --nonce 1 --expiry 99
refused tx status "$(printf 'ab%.0s' {1..32})" --genesis "$genesis"
refused watch blocks --timeout 20s
refused doctor
refused monitor --once
refused bench run --count 5 --genesis "$genesis" --key client.key
expect 1 unauthorized get k --linearizable --home "$net" --token-file one.token # too few take it
# A token of one node goes to no other one.
expect 1 unauthorized status --node "$two" --home "$net/node1" --token-file one.token

# ---- 78: a bad file ------------------------------------------------------------------------------
expect 78 config status --node "$one" --token-file absent
expect 78 config status --node "$one" --token-file .
token_file bad.token fifteen-letters
expect 78 config status --node "$one" --token-file bad.token
token_file bad.token 'sixteen letters, and blanks'
expect 78 config status --node "$one" --token-file bad.token
token_file bad.token "$(printf 'x%.0s' {1..513})"
expect 78 config status --node "$one" --token-file bad.token
: >bad.token
expect 78 config status --node "$one" --token-file bad.token
chmod 644 one.token
expect 78 permission status --node "$one" --token-file one.token
OSTRAKON_TOKEN_FILE=one.token expect 78 permission status --node "$one"
grep -q 'OSTRAKON_TOKEN_FILE one.token .*chmod 600' err || fail "$(cat err)"

# ---- a home whose token is gone, or not what the node read ---------------------------------------
token_file "$net/node1/api.token" another-token-than-before
expect 1 unauthorized status --home "$net" --node node1
expect 1 unauthorized backup create "$work/backup2" --home "$net/node1"
[ ! -e "$work/backup2" ] || fail "half a backup"
expect 0 '' doctor --home "$net" # it is not asked, but linked to the others, and so not amiss
jq -e '[.nodes[] | select(.name == "node1") | .reach, .cause] == ["not asked", null]' out >/dev/null ||
	fail "doctor: $(cat out)"
expect 0 '' monitor --once --home "$net"
ostrakon net up "$net" --timeout 60s >/dev/null || fail "net up: a quorum is ready without node1"
ostrakon net status "$net" -o json | jq -e '[.nodes[] | select(.state == "running" and .role == null).name] == ["node1"]' \
	>/dev/null || fail "net status of a node that lets nobody in"
cp -p others.token kept.token
token_file others.token another-token-than-before
code=0
ostrakon net up "$net" --timeout 60s -o json >out 2>err || code=$?
[ $code -eq 1 ] && grep -q 'net restart' err || fail "net up: $code: $(cat err)"
cp -p kept.token others.token
cd "$top" || exit 1
ostrakon net restart "$net" node1 --timeout 60s >/dev/null || fail "net restart"
expect 0 '' status --home "$net" --node node1

# ---- db repair fetches with the tokens of its sources --------------------------------------------
ostrakon net down "$net" node1 >/dev/null || fail "net down"
damaged= # the file with its blocks: what is damaged in others is built anew without asking
while read -r file; do
	cp "$file" "$work/kept.sst"
	at=$(($(stat -c %s "$file") / 3))
	head -c 16 /dev/urandom | dd of="$file" bs=1 seek=$at conv=notrunc 2>/dev/null
	ostrakon db check --home "$net/node1" -o json >"$work/out" 2>/dev/null
	jq -e 'any(.findings[]?; .family == "blocks")' "$work/out" >/dev/null 2>&1 && damaged=$file && break
	cp "$work/kept.sst" "$file"
done < <(find "$net/node1/data" -name '*.sst' -printf '%s %p\n' | sort -rn | cut -d' ' -f2)
[ -n "$damaged" ] || fail "found no file of blocks to damage"
token_file "$work/others.token" another-token-than-before
expect 1 unauthorized db repair --home "$net/node1" --timeout 60s
cp -p "$work/kept.token" "$work/others.token"
expect 0 '' db repair --home "$net/node1" --timeout 60s
jq -e '.fetched_blocks > 0' "$work/out" >/dev/null || fail "nothing was fetched: $(cat "$work/out")"
up
expect 0 '' put k repaired --home "$net" --timeout 60s
echo "access tokens: $checks invocations"
