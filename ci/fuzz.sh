#!/usr/bin/env bash
# Fuzzes every Fuzz function of the module in turn, each for FUZZTIME (default 10s). Arguments are packages.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=ci/go.sh
. ci/go.sh
[ $# -gt 0 ] || set -- ./...

out=$(mktemp)
trap 'rm -f "$out"' EXIT

# fuzz NAME PACKAGE: fuzzes once. A run whose deadline reached Go's coordinator before its workers did fails with no input
# that failed (golang/go#75804, in Go 1.26; a loaded machine shows it): that is 2.
fuzz() {
	# -run=NONE: the seeds run in 'make test' already.
	go test -run='^$' -fuzz="^$1\$" -fuzztime="$FUZZTIME" -fuzzminimizetime=10x "$2" 2>&1 | tee "$out"
	[ "${PIPESTATUS[0]}" = 0 ] && return 0
	grep -q '^ *context deadline exceeded$' "$out" && ! grep -q 'Failing input written' "$out" && return 2
	return 1
}

targets=0 failed=0
while read -r dir pkg; do
	names=$(cd "$dir" && sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' ./*_test.go)
	for name in $names; do
		targets=$((targets + 1))
		echo "fuzz: $pkg $name ${FUZZTIME:=10s}"
		rc=0
		fuzz "$name" "$pkg" || rc=$?
		if [ "$rc" = 2 ]; then
			echo "fuzz: $pkg $name found nothing and ended late: once more"
			rc=0
			fuzz "$name" "$pkg" || rc=$?
		fi
		[ "$rc" = 0 ] || failed=$((failed + 1))
	done
done < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}} {{.ImportPath}}{{end}}' "$@" | sed '/^$/d')
if [ "$targets" = 0 ]; then
	echo "fuzz: no Fuzz function found" >&2
	exit 1
fi
echo "fuzz: $targets targets, $failed failed"
[ "$failed" = 0 ]
