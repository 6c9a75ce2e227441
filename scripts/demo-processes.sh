#!/usr/bin/env bash
# 'make demo-processes': the tutorial's journey between two `antipode serve` processes, each with its own token folder
# and store and, where root runs this, its own user.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=ci/go.sh
. ci/go.sh

from=us-east-2 to=us-west-1
base=$(mktemp -d)
chmod 755 "$base"
pids=()
finish() {
	local status=$?
	trap - EXIT
	for pid in "${pids[@]}"; do
		kill -TERM "$pid" 2>/dev/null || true
		wait "$pid" || status=1
	done
	if [ $status -ne 0 ]; then
		echo "demo: failed; the end of the servers' logs:" >&2
		tail -n 10 "$base"/*/server.log >&2 || true
	fi
	rm -rf "$base"
	exit $status
}
trap finish EXIT

# The users' programs must be where all users can read them.
install -m 0755 bin/antipode "$base/antipode"
mkdir -p build
go build -buildvcs=false -o build/kmscli ./scripts/kmscli
export FALLBACK_CLI=$PWD/build/kmscli
client=${AWS_CLI:-/usr/bin/aws}
[ -x "$client" ] || client=$FALLBACK_CLI

# as UID COMMAND...: as another user, where that can be. In the background it is the command itself that gets the signals.
as() { (exec_as "$@"); }
exec_as() {
	local uid=$1
	shift
	[ "$(id -u)" != 0 ] || set -- setpriv --reuid="$uid" --regid="$uid" --clear-groups -- "$@"
	exec "$@"
}
free_port() { # of this machine, at this moment
	local port
	while :; do
		port=$((20000 + RANDOM % 20000))
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
	done
	echo "$port"
}
random_pin() { head -c 24 /dev/urandom | base64 -w0; }

declare -A uid=([$from]=61001 [$to]=61002) api=() peer=()
module=${SOFTHSM2_MODULE:-$(find /usr/lib /usr/lib64 /usr/local/lib -name libsofthsm2.so -print -quit 2>/dev/null || true)}
for region in "$from" "$to"; do
	api[$region]=$(free_port) peer[$region]=$(free_port)
	dir=$base/$region
	install -d -m 0700 "$dir" "$dir/tokens"
	(umask 077 && random_pin >"$dir/pin")
	printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$dir/tokens" >"$dir/softhsm2.conf"
	SOFTHSM2_CONF=$dir/softhsm2.conf softhsm2-util --init-token --free --label "antipode-$region" \
		--pin "$(cat "$dir/pin")" --so-pin "$(random_pin)" >/dev/null
	cat >"$dir/antipode.yaml" <<-END
		region: $region
		data: $dir/data
		listen: 127.0.0.1:${api[$region]}
		peer_listen: 127.0.0.1:${peer[$region]}
		peer_endpoint: https://127.0.0.1:${peer[$region]}
		token:
		  module: $module
		  label: antipode-$region
		  pin_file: $dir/pin
		  profile: softhsm
		  env: [SOFTHSM2_CONF=$dir/softhsm2.conf]
	END
	# The second Region gets the first one's administrator.
	[ "$region" = "$from" ] || cp "$base/$from/credentials" "$dir/credentials"
	[ "$(id -u)" != 0 ] || chown -R "${uid[$region]}:${uid[$region]}" "$dir"
	echo "\$ antipode init --config $region/antipode.yaml --credentials $region/credentials   (user ${uid[$region]})"
	as "${uid[$region]}" "$base/antipode" init --config "$dir/antipode.yaml" --credentials "$dir/credentials" 2>"$dir/init.log" ||
		{ cat "$dir/init.log" >&2 && exit 1; }
done
for region in "$from" "$to"; do
	dir=$base/$region
	echo "\$ antipode serve --config $region/antipode.yaml   (user ${uid[$region]})"
	exec_as "${uid[$region]}" "$base/antipode" serve --config "$dir/antipode.yaml" >"$dir/ready" 2>"$dir/server.log" &
	pids+=($!)
done
for region in "$from" "$to"; do
	for _ in $(seq 100); do
		grep -q ^ready "$base/$region/ready" && break
		sleep 0.1
	done
	cat "$base/$region/ready"
	grep -q ^ready "$base/$region/ready"
done
if [ "$(id -u)" = 0 ] && as 61002 cat "$base/$from/pin" 2>/dev/null; then
	echo "demo: the second user can read the first one's PIN" >&2
	exit 1
fi
for pair in "$from $to" "$to $from"; do
	read -r into other <<<"$pair"
	shown=$(as "${uid[$other]}" "$base/antipode" region show --socket "$base/$other/data/admin.sock")
	fingerprint=$(sed -n 's/^fingerprint //p' <<<"$shown")
	echo "\$ antipode region trust --socket $into/data/admin.sock --entry ... --fingerprint $fingerprint --accounts 111122223333"
	as "${uid[$into]}" "$base/antipode" region trust --socket "$base/$into/data/admin.sock" \
		--entry "$(sed -n 's/^entry //p' <<<"$shown")" --fingerprint "$fingerprint" --accounts 111122223333
done
scripts/tutorial.sh --endpoint "http://127.0.0.1:${api[$from]}" --to-endpoint "http://127.0.0.1:${api[$to]}" \
	--credentials "$base/$from/credentials" --from "$from" --to "$to" --client "$client"
