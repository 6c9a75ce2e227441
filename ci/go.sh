# shellcheck shell=bash
# Sourced: puts a Go that can build this module first on PATH, or returns 1.
#
# Go 1.21 and later fetch the exact toolchain that go.mod asks for through the ordinary module proxy; Debian's packages
# switch that off by default (GOTOOLCHAIN=local), so it is switched on here, and only when the Go found is too old.

go_wanted() { awk '$1 == "go" { print $2; exit }' "$(dirname "${BASH_SOURCE[0]}")/../go.mod"; }

# at_least A B: version A is B or newer.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# go_version DIR: the version of DIR/go itself, never of a toolchain it would switch to.
go_version() { (cd / && GOTOOLCHAIN=local "$1/go" env GOVERSION 2>/dev/null) | sed 's/^go//; s/[^0-9.].*//'; }

find_go() {
	local dir version best='' best_version=1.21
	for dir in "$(dirname "$(command -v go || echo /nonexistent/go)")" /usr/local/go/bin /usr/lib/go-*/bin; do
		[ -x "$dir/go" ] || continue
		version=$(go_version "$dir")
		[ -n "$version" ] || continue
		if at_least "$version" "$(go_wanted)"; then
			PATH="$dir:$PATH"
			return 0
		fi
		if at_least "$version" "$best_version"; then
			best=$dir
			best_version=$version
		fi
	done
	[ -n "$best" ] || return 1
	PATH="$best:$PATH"
	export GOTOOLCHAIN=auto
}

find_go || {
	echo "no Go 1.21 or later found: run 'make install-tools', or install Go $(go_wanted)" >&2
	return 1
}
export PATH
