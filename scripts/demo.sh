#!/usr/bin/env bash
# 'make demo': two Regions on SoftHSM2 tokens in a temporary folder, and the tutorial's journey through them.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=ci/go.sh
. ci/go.sh

from=us-east-2 to=us-west-1
data=$(mktemp -d)
server=
finish() {
	local status=$?
	trap - EXIT
	if [ -n "$server" ] && kill -TERM "$server" 2>/dev/null; then
		wait "$server" || {
			echo "demo: the server did not end cleanly" >&2
			[ $status -ne 0 ] || status=1
		}
	fi
	if [ $status -ne 0 ]; then
		echo "demo: failed; the end of the server's log:" >&2
		tail -n 20 "$data/server.log" >&2 || true
	fi
	rm -rf "$data"
	exit $status
}
trap finish EXIT

# The fallback client has the aws CLI's flags and makes the call with the AWS SDK for Go.
mkdir -p build
go build -buildvcs=false -o build/kmscli ./scripts/kmscli
export FALLBACK_CLI=$PWD/build/kmscli
client=${AWS_CLI:-/usr/bin/aws}
if [ -x "$client" ]; then
	echo "demo: client is $("$client" --version 2>&1)"
else
	client=$FALLBACK_CLI
	echo "demo: no aws CLI on this machine; client is the AWS SDK for Go (scripts/kmscli)"
fi

# Port 0 is a free port; the ready line tells which.
echo "\$ bin/antipode dev --regions $from,$to --listen 127.0.0.1:0 --data $data/regions"
mkfifo "$data/ready"
bin/antipode dev --regions "$from,$to" --listen 127.0.0.1:0 --data "$data/regions" >"$data/ready" 2>"$data/server.log" &
server=$!
read -r word endpoint <"$data/ready" || true
if [ "${word:-}" != ready ]; then
	echo "demo: the server did not start" >&2
	exit 1
fi
echo "$word $endpoint"

scripts/tutorial.sh --endpoint "$endpoint" --credentials "$data/regions/credentials" --from "$from" --to "$to" --client "$client"
