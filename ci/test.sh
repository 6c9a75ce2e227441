#!/usr/bin/env bash
# Runs the tests; arguments replace the default './...'. Tokens and stores go to /dev/shm, where fsync is free: the same
# tests take many times longer on a disk. A small /dev/shm (a container's 64 MB) is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=ci/go.sh
. ci/go.sh

shm_free_kb=$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')
if [ "${shm_free_kb:-0}" -ge 524288 ]; then
	scratch=$(mktemp -d /dev/shm/antipode-test.XXXXXX)
	trap 'rm -rf "$scratch"' EXIT
	chmod 711 "$scratch" # the tests run Regions as users of their own, whose folders in it are closed
	# The compiler's own scratch, which is large and holds the programs to run, stays where it was.
	export GOTMPDIR=${GOTMPDIR:-${TMPDIR:-/tmp}} TMPDIR=$scratch
fi
[ $# -gt 0 ] || set -- ./...
go test -race -shuffle=on -timeout "${TEST_TIMEOUT:-30m}" "$@"
