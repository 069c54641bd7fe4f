#!/usr/bin/env bash
# The direction of dependencies and the home of each vendor, as docs/architecture.md draws them:
# base <- crypto <- chain <- { consensus, ledger, net } <- replica <- { sim, node } <- tools.
# And that each scenario is installed, and each document in the distribution.
set -euo pipefail
cd "${srcdir:-.}"
bad=0
complain() { echo "$1"; bad=1; }

# folder: the folders that it may include besides itself
allowed() {
	case $1 in
	src/base) echo "" ;;
	crypto) echo "base" ;;
	src/chain) echo "base crypto" ;;
	src/consensus | src/consensus/* | ledger | net) echo "base crypto chain" ;;
	src/replica) echo "base crypto chain consensus ledger" ;;
	src/sim) echo "base crypto chain consensus ledger replica" ;;
	src/node) echo "base crypto chain consensus ledger net replica" ;;
	tools/cli) echo "base crypto chain ledger replica node" ;;
	*) echo "" ;;
	esac
}
for dir in src/base crypto src/chain src/consensus src/consensus/* ledger net src/replica \
	src/sim src/node tools/cli; do
	[ -d "$dir" ] || continue
	own=${dir#src/} own=${own%%/*}
	ok=" $own $(allowed "$dir") "
	while IFS=: read -r file line include; do
		[ -n "$file" ] || continue
		to=${include#*\"} to=${to%%/*}
		case "$include" in *\"*/*\"*) ;; *) continue ;; esac
		[[ $ok == *" $to "* ]] || complain "$file:$line: $dir must not include $to"
	done < <(grep -nE '^#include "' "$dir"/*.[ch] /dev/null || true)
done

vendor() { # header pattern, its only folder
	local hits
	hits=$(grep -lE "#include <$1" -r src crypto ledger net tools --include='*.[ch]' |
		grep -v "^$2/" || true)
	[ -z "$hits" ] || complain "<$1> belongs in $2/ only: $hits"
}
vendor 'sodium\.h' crypto
vendor 'openssl/' crypto
vendor 'rocksdb/c\.h' ledger
vendor 'nng/' net
vendor 'microhttpd\.h' src/node
vendor 'jansson\.h' src/base
vendor 'curl/' tools
vendor 'ini\.h' src/node
vendor_headers=$(grep -lE '#include <(sodium|openssl/|rocksdb/|nng/|microhttpd|jansson|curl/|ini\.h)' \
	-r src crypto ledger net tools --include='*.h' | grep -vE '(private|internal|http|api)\.h$' || true)
[ -z "$vendor_headers" ] || complain "vendor types in a shared header: $vendor_headers"
for file in tests/scenarios/*.scenario; do
	grep -q "$file" tools/Makefile.inc || complain "$file is not installed: tools/Makefile.inc does not name it"
done
for file in docs/*.md docs/decisions/*.md docs/experiments/*.md docs/formats/*.md docs/man/*.[0-9]; do
	grep -q "$file" docs/Makefile.inc || complain "$file is not in the distribution: docs/Makefile.inc does not name it"
done
exit $bad
