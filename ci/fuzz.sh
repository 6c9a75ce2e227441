#!/usr/bin/env bash
# Fuzzes every Fuzz function of the module in turn, each for FUZZTIME (default 10s). Arguments are packages.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=ci/go.sh
. ci/go.sh
[ $# -gt 0 ] || set -- ./...

targets=0 failed=0
while read -r dir pkg; do
	names=$(cd "$dir" && sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' ./*_test.go)
	for name in $names; do
		targets=$((targets + 1))
		echo "fuzz: $pkg $name ${FUZZTIME:=10s}"
		# -run=NONE: the seeds run in 'make test' already.
		go test -run='^$' -fuzz="^$name\$" -fuzztime="$FUZZTIME" -fuzzminimizetime=10x "$pkg" || failed=$((failed + 1))
	done
done < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}} {{.ImportPath}}{{end}}' "$@" | sed '/^$/d')
if [ "$targets" = 0 ]; then
	echo "fuzz: no Fuzz function found" >&2
	exit 1
fi
echo "fuzz: $targets targets, $failed failed"
[ "$failed" = 0 ]
