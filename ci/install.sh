#!/usr/bin/env bash
# Installs what is missing on Debian or Ubuntu, from the system's own package sources and nowhere else.
#
#   ci/install.sh demo    what 'make demo' and 'make build' need
#   ci/install.sh test    what 'make test' needs: the above, and the AWS clients that the tests run
#   ci/install.sh model   what 'make model' needs: SPIN and a C compiler
#   ci/install.sh lint    what 'make lint' needs: Go and the pinned linter
#
# With everything there it only looks, and returns in well under a second.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-test}

have() { command -v "$1" >/dev/null 2>&1; }
say() { printf 'install: %s\n' "$*" >&2; }
die() {
	say "$*"
	exit 1
}

softhsm_library() {
	if [ -n "${SOFTHSM2_MODULE:-}" ]; then
		[ -e "$SOFTHSM2_MODULE" ]
		return
	fi
	compgen -G '/usr/lib/softhsm/libsofthsm2.so' >/dev/null || compgen -G '/usr/lib/*/softhsm/libsofthsm2.so' >/dev/null ||
		compgen -G '/usr/lib*/pkcs11/libsofthsm2.so' >/dev/null || compgen -G '/usr/local/lib/softhsm/libsofthsm2.so' >/dev/null
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif have sudo; then
		sudo --preserve-env=DEBIAN_FRONTEND "$@"
	else
		die "not root and no sudo; run as root: $*"
	fi
}

# apt fetches the package lists once, and only if something is missing at all.
updated=
apt() {
	have apt-get || die "this system has no apt-get; install by hand: $*"
	if [ -z "$updated" ]; then
		say "updating the package lists"
		as_root apt-get -qq -o=Acquire::Retries=3 update >&2
		updated=yes
	fi
	say "installing $*"
	DEBIAN_FRONTEND=noninteractive as_root apt-get -qq -y -o=Acquire::Retries=3 -o=Dpkg::Use-Pty=0 \
		--no-install-recommends install "$@" >/dev/null
}

# apt_known NAME: the package sources have NAME. apt-cache answers from lists that may be missing on a fresh system.
apt_known() {
	if [ -z "$updated" ]; then
		as_root apt-get -qq -o=Acquire::Retries=3 update >&2
		updated=yes
	fi
	# Not through a pipe: grep -q may end it before apt-cache has, and then pipefail makes a no of a yes.
	[[ $(apt-cache policy "$1") =~ Candidate:\ [0-9] ]]
}

# newest_go prints the newest golang-1.N-go package that can follow go.mod (1.21 or later), or nothing.
newest_go() {
	apt-cache pkgnames golang-1. | sed -n 's/^golang-1\.\([0-9]*\)-go$/\1/p' | sort -n | awk '$1 >= 21 { n = $1 } END { if (n) print "golang-1." n "-go" }'
}

# add_backports adds the release's backports from the mirror that the system already uses, under the same keyring.
add_backports() {
	local codename mirror keyring
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	[ -n "$codename" ] || return 1
	read -r mirror keyring < <(apt-get indextargets --format "\$(REPO_URI) \$(SIGNED_BY)" 'Created-By: Packages' "Codename: $codename" "Component: main") || true
	[ -n "${mirror:-}" ] || return 1
	[[ $keyring == /* ]] || keyring='' # apt prints an unset field by its name
	say "adding $codename-backports for a newer Go"
	printf 'deb %s%s %s-backports main\n' "${keyring:+[signed-by=$keyring] }" "$mirror" "$codename" |
		as_root tee /etc/apt/sources.list.d/antipode-backports.list >/dev/null
	as_root apt-get -qq -o=Acquire::Retries=3 update >&2
}

install_go() {
	(. ci/go.sh) 2>/dev/null && return
	apt_known golang-go || true # for the lists
	local pkg
	pkg=$(newest_go)
	if [ -z "$pkg" ] && (. /etc/os-release && [ "${ID:-}" = debian ]); then
		add_backports || true
		pkg=$(newest_go)
	fi
	[ -n "$pkg" ] || die "no Go 1.21 or later among this system's packages; install Go by hand and put it on PATH"
	apt "$pkg" ca-certificates
	# shellcheck source=ci/go.sh
	(. ci/go.sh) || die "$pkg was installed, but no usable Go was found"
}

node_major() { node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0; }

need=()
softhsm_library || need+=(softhsm2)
have gcc || need+=(gcc)
[ -e /usr/include/stdio.h ] || need+=(libc6-dev)
[ -e /etc/ssl/certs/ca-certificates.crt ] || need+=(ca-certificates)
have git || need+=(git)
have make || need+=(make)

if [ "$what" = test ]; then
	have jq || need+=(jq)
	have curl || need+=(curl)
	have openssl || need+=(openssl)
	[ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import boto3' 2>/dev/null || need+=(python3-boto3)
	# A Node.js that is there without npm is Debian's own; other builds carry npm with them.
	have node || need+=(nodejs)
	have npm || need+=(npm)
fi
case $what in
demo | test)
	[ ${#need[@]} = 0 ] || apt "${need[@]}"
	if [ ! -x "${AWS_CLI:-/usr/bin/aws}" ]; then
		if apt_known awscli; then
			apt awscli
		elif [ "$what" = demo ]; then
			say "this release has no awscli package: the demo uses the AWS SDK for Go instead"
		else
			die "this release has no awscli package; install the AWS CLI by other means and set AWS_CLI to its path"
		fi
	fi
	;;
lint)
	have git || apt git
	;;
model)
	have spin || apt spin
	have gcc || apt gcc
	[ -e /usr/include/stdio.h ] || apt libc6-dev
	exit
	;;
*) die "usage: ci/install.sh demo|test|lint|model" ;;
esac
install_go

if [ "$what" = test ]; then
	[ "$(node_major)" -ge 18 ] || die "Node.js $(node --version) is too old for the AWS SDK for JavaScript; install 18 or later"
	lock=ci/clients/package-lock.json
	if [ ! ci/clients/node_modules/.package-lock.json -nt "$lock" ]; then
		say "installing the AWS SDK and the AWS Encryption SDK for JavaScript (npm ci)"
		(cd ci/clients && npm ci --no-audit --no-fund --loglevel=error >/dev/null)
		touch ci/clients/node_modules/.package-lock.json
	fi
fi
if [ "$what" = test ]; then
	ci/tools.sh sops >/dev/null
fi
if [ "$what" = lint ]; then
	ci/tools.sh golangci-lint >/dev/null
fi
