#!/bin/bash
# Full disks: each node of a live network with load has a small file system of its own. They are
# filled: so that less than the reserve is left, to the last byte in an instant, by the load itself,
# and two at once, more than the network can do without. Who has no room answers reads and votes no
# more, and goes on by itself when there is room, in the same process; nothing acknowledged is lost.
# Runs in the directory of the build. Exit code 77, skipped: nothing can be mounted here. KEEP=1 keeps
# the network's directory.
set -uo pipefail
if [ "${1:-}" != --inside ]; then
	for way in -rm -m; do
		if unshare $way sh -c 'mount -t tmpfs -o size=1m none /mnt' 2>/dev/null; then
			exec unshare $way "$0" --inside
		fi
	done
	echo "skipped: no file system can be mounted here, neither as this user nor in a user namespace"
	exit 77
fi
test=disk-full seed=${SEED:-1} rate=${STORM_RATE:-100} nodes=4 load_chunk=5
# shellcheck source=tests/cluster/common.sh
. "$(dirname "$0")/common.sh"

# RocksDB keeps up to three logs of some 13 MiB, and there must be room for a long load on a busy machine.
size=192 reserve=8 # MiB
ostrakon net init "$net" --nodes "$nodes" >/dev/null 2>&1 || fail "net init"
for i in $(seq "$nodes"); do
	mkdir -p "$work/disk$i"
	mount -t tmpfs -o "size=${size}m" none "$work/disk$i" && # with the first vote state
		cp -a "$net/node$i/data" "$work/disk$i/data" &&
		mount --bind "$work/disk$i/data" "$net/node$i/data" || fail "mount"
	printf '\n[limits]\ndisk_reserve = %d\n' $reserve >>"$net/node$i/ostrakond.conf"
done
cleanup_more() { # else nobody can remove what they are mounted on
	for i in $(seq "$nodes"); do umount "$net/node$i/data" "$work/disk$i"; done
}
ostrakon net up "$net" --timeout 10m >/dev/null || fail "net up"
sign_one
load_begin
progress 100

disk_of() { echo "$work/disk${1#node}"; }
free() { df -P -B 1 "$(disk_of "$1")" | awk 'NR == 2 {print $4}'; } # NODE: bytes
# Leaves so many bytes, or none.
fill() { # NODE BYTES
	local left
	left=$(($(free "$1") - $2))
	head -c "$left" /dev/zero >"$(disk_of "$1")/filler" 2>/dev/null
}
empty() { rm -f "$(disk_of "$1")/filler"; }
stopped='.disk.full or .disk.error != null'
goes_on='(.disk.full | not) and .disk.error == null and .halted == null'
declare -A processes
for i in $(seq "$nodes"); do processes[node$i]=$(cat "$net/node$i/ostrakond.pid"); done
same_process() {
	[ "$(cat "$net/$1/ostrakond.pid")" = "${processes[$1]}" ] && [ -d "/proc/${processes[$1]}" ] ||
		fail "$1 is not the process that it was: $(log_of "$1" | tail -n 5)"
}

# Writes rarely fail here, for RocksDB has reserved room for its log, and the node looks often enough:
# tests/cluster/disk-errors.sh makes them.
errors=0
for role in follower leader; do
	for left in $((reserve << 19)) 0; do
		victim=$(victim_of $role)
		fill "$victim" $left
		await "$victim" "$stopped"
		reads_only "$victim" disk_full
		how="below the reserve"
		if consensus "$victim" | jq -e '.disk.error != null' >/dev/null; then
			how="a write failed"
			errors=$((errors + 1))
		fi
		progress 50 "$victim is full"
		empty "$victim"
		await "$victim" "$goes_on"
		level "$victim"
		progress 50 "$victim has room"
		same_process "$victim"
		say "$victim ($role) full, $left bytes left: $how; went on by itself; $(acked) acknowledged"
	done
done

# By what it stores itself. Its file system grows.
victim=$(victim_of follower)
fill "$victim" $(((reserve << 20) + (1 << 19)))
await "$victim" "$stopped"
progress 50 "$victim has filled up"
mount -o "remount,size=$((4 * size))m" "$(disk_of "$victim")" || fail "remount"
await "$victim" "$goes_on"
level "$victim"
same_process "$victim"
empty "$victim"
say "$victim filled up by itself and went on when its disk had grown; $(acked) acknowledged"

# More than the network can do without.
both="node1 node2"
for victim in $both; do fill "$victim" 0; done
for victim in $both; do await "$victim" "$stopped"; done
for victim in $both; do reads_only "$victim" disk_full; done
for victim in $both; do empty "$victim"; done
for victim in $both; do await "$victim" "$goes_on"; done
progress 50 "two were full"
for victim in $both; do
	level "$victim"
	same_process "$victim"
done
say "two at once: the network stood still and went on by itself; $(acked) acknowledged"

load_end
judge
for i in $(seq "$nodes"); do same_process "node$i"; done
figures | jq --argjson errors $errors '{times_full: 7, failed_writes: $errors, crashes: 0} + .' || exit 1
say "nothing acknowledged is lost, no fork, all state roots equal"
