#!/usr/bin/env bash
# Builds a pinned tool from source into build/tools and prints the path of its binary. The version is part of the name,
# so raising it rebuilds, and nothing else does; once the module cache has it, that needs no network.
#
#   ci/tools.sh golangci-lint|sops          builds it if it is missing, and prints its path
#   ci/tools.sh golangci-lint|sops --path   only prints its path
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=ci/go.sh
. ci/go.sh

case ${1:-} in
golangci-lint) module=github.com/golangci/golangci-lint/v2/cmd/golangci-lint version=v2.15.0 ;;
sops) module=github.com/getsops/sops/v3/cmd/sops version=v3.13.3 ;;
*)
	echo "usage: ci/tools.sh golangci-lint|sops [--path]" >&2
	exit 2
	;;
esac

# The linter must be built by the Go that builds the module, or it can't read its export data.
binary=$PWD/build/tools/$1-$version-$(go env GOVERSION)
if [ ! -x "$binary" ] && [ "${2:-}" != --path ]; then
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	echo "tools: building $1 $version" >&2
	# The module cache is asked first, as a proxy: without that, even a version it holds is looked up on the network.
	GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" GOBIN=$scratch go install "$module@$version"
	mkdir -p build/tools
	mv "$scratch/$1" "$binary"
fi
echo "$binary"
