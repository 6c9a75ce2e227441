#!/usr/bin/env bash
# Keeps what a released version's store looks like, as SQL, for the test that every later version opens it:
#
#   make build && ci/store-fixture.sh 0.1      writes regions/store/testdata/0.1.sql
#
# The store is a real one: a Region of `antipode dev`, whose token is destroyed afterwards, so that nothing in it can be
# opened. Needs sqlite3. The file of a version that was released is never written again.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=ci/go.sh
. ci/go.sh
version=${1:?a version, like 0.1}
out=regions/store/testdata/$version.sql
! grep -q "^## \[\?$version\]\? - " CHANGELOG.md || [ ! -e "$out" ] || { echo "$version was released: $out stays as it is" >&2 && exit 1; }

base=$(mktemp -d)
pid=
finish() {
	[ -z "$pid" ] || { kill -TERM "$pid" && wait "$pid"; } || true
	rm -rf "$base"
}
trap finish EXIT
mkdir -p build regions/store/testdata
go build -buildvcs=false -o build/kmscli ./scripts/kmscli
bin/antipode dev --data "$base/data" --listen 127.0.0.1:0 >"$base/ready" 2>"$base/log" &
pid=$!
for _ in $(seq 100); do
	grep -q ^ready "$base/ready" && break
	sleep 0.1
done
read -r _ endpoint <"$base/ready"
scripts/tutorial.sh --endpoint "$endpoint" --credentials "$base/data/credentials" --client "$PWD/build/kmscli" >/dev/null
kill -TERM "$pid"
wait "$pid"
pid=
{
	echo "-- The store of a Region of version $version, made by ci/store-fixture.sh. Its token is gone."
	echo "PRAGMA application_id = $(sqlite3 "$base/data/us-east-2/store.db" 'PRAGMA application_id');"
	sqlite3 "$base/data/us-east-2/store.db" .dump
} >"$out"
echo "$out: $(grep -c 'INSERT INTO records' "$out") records"
