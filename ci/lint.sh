#!/usr/bin/env bash
# Lints the tree; arguments are packages or flags for golangci-lint.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=ci/go.sh
. ci/go.sh
linter=$(ci/tools.sh golangci-lint)

bad=0
for script in .ci/run ci/*.sh ci/clients/*.sh scripts/*.sh; do
	bash -n "$script" || bad=1
done
if [ $# = 0 ]; then
	unformatted=$("$linter" fmt --diff) || bad=1
	if [ -n "$unformatted" ]; then
		printf '%s\n' "$unformatted"
		echo "lint: 'build/tools/golangci-lint-* fmt' puts this right" >&2
		bad=1
	fi
fi
"$linter" run "$@" || bad=1
exit $bad
