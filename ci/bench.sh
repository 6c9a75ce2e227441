#!/usr/bin/env bash
# Benchmarks: the API and the raw token side by side, into build/bench.json.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
go run ./ci/bench -time "${BENCHTIME:-2s}"
# Two processes; a server that a test can end at a given step, but does not.
go test ./ci/crash -run "^$" -bench . -benchtime "${BENCHTIME:-2s}"
