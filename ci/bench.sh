#!/usr/bin/env bash
# Runs every Go benchmark for BENCHTIME each; arguments are packages.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=ci/go.sh
. ci/go.sh
[ $# -gt 0 ] || set -- ./...
mkdir -p build
go test -run='^$' -bench=. -benchtime="${BENCHTIME:-1s}" -benchmem "$@" | tee build/bench.txt
