#!/usr/bin/env bash
# Has SPIN search docs/model exhaustively, and shows that it finds each broken rule. Arguments are -D sizes for spin.
set -euo pipefail
cd "$(dirname "$0")/.."
model=$PWD/docs/model/keyset.pml
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

# search DEFINES...: the verifier's report, in the file report; fails if the search was not made to its end or to an error.
search() {
	spin "$@" -a "$model" >/dev/null
	gcc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=12000 -o pan pan.c
	./pan -m4000000 >report
	! grep -qE 'max search depth too small|out of memory|reached -DMEMLIM' report
}

errors() { sed -n 's/.*errors: \([0-9]*\)$/\1/p' report; }

search "${@:--DSEQUENCES=3}"
[ "$(errors)" = 0 ] || { cat report; echo "model: a rule is broken" >&2; exit 1; }
sed -n 's/^ *\([0-9.e+]*\) states, stored$/model: \1 states, no error/p' report

faults=$(sed -n 's/^ \*   -D\([A-Z_]*\) .*/\1/p' "$model")
[ -n "$faults" ] || { echo "model: no faults in $model" >&2; exit 1; }
for fault in $faults; do
	search -DSEQUENCES=3 -D"$fault"
	[ "$(errors)" != 0 ] || { echo "model: $fault was not found" >&2; exit 1; }
	echo "model: $fault: $(sed -n 's/^pan:1: \(assertion violated\).*(at depth \([0-9]*\))$/found at depth \2/p' report)"
done
