#!/usr/bin/env bash
# Benchmarks: the API and the raw token side by side, into build/bench.json.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
go run ./ci/bench -time "${BENCHTIME:-2s}"
