#!/usr/bin/env bash
# Builds bin/antipode and each folder of plugins/ that holds a command into bin/plugins/.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=ci/go.sh
. ci/go.sh

# The commit is stamped into the binary where git can tell it; a source archive or another user's checkout can't.
stamp=false
git rev-parse --verify -q HEAD >/dev/null 2>&1 && stamp=auto

mkdir -p bin
go build -buildvcs=$stamp -trimpath -o bin/ ./cmd/antipode
for main in plugins/*/main.go; do
	[ -e "$main" ] || continue
	mkdir -p bin/plugins
	go build -buildvcs=$stamp -trimpath -o bin/plugins/ "./$(dirname "$main")"
done
