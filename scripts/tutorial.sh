#!/usr/bin/env bash
# A walk through a multi-Region key with the aws CLI (version 1 or 2): made in one Region, replicated to another, used
# from both, cleaned up. Prints each command and its answer; exits 0 only if every step held.
#
#   scripts/tutorial.sh [--endpoint URL [--to-endpoint URL]] [--credentials FILE] [--from REGION] [--to REGION]
#                       [--client PROGRAM]
#
# --to-endpoint is for a second Region that is served elsewhere than the first.
#
# Or by environment: ANTIPODE_ENDPOINT, AWS_SHARED_CREDENTIALS_FILE, FROM_REGION, TO_REGION, AWS_CLI.
# FALLBACK_CLI names a client with the same flags that takes over an operation the first does not know.
set -euo pipefail

endpoint=${ANTIPODE_ENDPOINT:-http://127.0.0.1:4566}
credentials=${AWS_SHARED_CREDENTIALS_FILE:-}
from=${FROM_REGION:-us-east-2}
to=${TO_REGION:-us-west-1}
client=${AWS_CLI:-/usr/bin/aws}
while [ $# -gt 0 ]; do
	[ $# -gt 1 ] || { echo "tutorial: $1 needs a value" >&2 && exit 2; }
	case $1 in
	--endpoint) endpoint=$2 ;;
	--to-endpoint) to_endpoint=$2 ;;
	--credentials) credentials=$2 ;;
	--from) from=$2 ;;
	--to) to=$2 ;;
	--client) client=$2 ;;
	*) echo "tutorial: unknown flag $1" >&2 && exit 2 ;;
	esac
	shift 2
done
[ -n "$credentials" ] || { echo "tutorial: --credentials FILE, or AWS_SHARED_CREDENTIALS_FILE" >&2 && exit 2; }

[[ $client == */* ]] && client=$(realpath "$client")
credentials=$(realpath "$credentials")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
# Only what is said here counts: no profile, configuration, pager or metadata service of the machine.
: >"$scratch/config"
export AWS_SHARED_CREDENTIALS_FILE=$credentials AWS_CONFIG_FILE=$scratch/config AWS_EC2_METADATA_DISABLED=true AWS_PAGER=''
unset AWS_PROFILE AWS_DEFAULT_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_ENDPOINT_URL

# Version 2 of the CLI takes --plaintext as base64 unless told otherwise; version 1 always takes it raw.
case $("$client" --version 2>/dev/null || true) in
aws-cli/2.*) printf '[default]\ncli_binary_format = raw-in-base64-out\n' >"$scratch/config" ;;
esac

step() { printf '\n== %s\n' "$*"; }
fail() {
	printf 'FAILED: %s\n' "$*" >&2
	exit 1
}

# kms REGION OPERATION FLAGS...: one call, printed with its answer, which is left in $answer. Returns the client's exit.
answer=''
kms() {
	local region=$1 status=0
	shift
	printf '$ %s --region %s kms %s\n' "${client##*/}" "$region" "$(quoted "$@")"
	call "$client" "$region" "$@" || status=$?
	if [ $status -ne 0 ] && [ -n "${FALLBACK_CLI:-}" ] && grep -qi 'invalid choice' <<<"$answer"; then
		echo "  ($client does not know $1; asked by $FALLBACK_CLI)"
		status=0
		call "$FALLBACK_CLI" "$region" "$@" || status=$?
	fi
	printf '%s\n' "$answer"
	return $status
}

call() {
	local program=$1 region=$2 at=$endpoint status=0
	shift 2
	[ "$region" != "$to" ] || at=${to_endpoint:-$endpoint}
	answer=$("$program" --endpoint-url "$at" --region "$region" kms "$@" 2>"$scratch/stderr") || status=$?
	[ $status -eq 0 ] || answer+=$(<"$scratch/stderr")
	return $status
}

# quoted prints its arguments so that a reader can paste them into a shell.
quoted() {
	local word out=''
	for word in "$@"; do
		case $word in
		'' | *[!A-Za-z0-9_./:=,@+-]*) out+=" '$word'" ;;
		*) out+=" $word" ;;
		esac
	done
	printf '%s' "${out# }"
}

# state REGION: the key's state there, or nothing while the Region does not know the key.
state() {
	call "$client" "$1" describe-key --key-id "$key" --query KeyMetadata.KeyState --output text && printf '%s' "$answer"
}

# member NAME: a string member of the last answer, which is JSON as the clients indent it.
member() { sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p" <<<"$answer"; }

expect() { # expect WANT WHAT: the last answer is WANT
	[ "$answer" = "$1" ] || fail "$2: '$answer', not '$1'"
}

context=Purpose=tutorial,Tenant=42
message='The same key, on another token'

step "A multi-Region key in $from"
kms "$from" create-key --multi-region --description 'Tutorial key' --query KeyMetadata.KeyId --output text
key=$answer
[[ $key =~ ^mrk-[0-9a-f]{32}$ ]] || fail "'$key' is not the id of a multi-Region key"
trap 'rm -rf "$scratch"; echo "the key $key may be left behind" >&2' EXIT

step "Its replica in $to, on that Region's own token"
kms "$from" replicate-key --key-id "$key" --replica-region "$to" --query ReplicaKeyMetadata.Arn --output text
replica_arn=$answer
echo "waiting until it is Enabled"
for ((waited = 0; ; waited++)); do
	[ "$(state "$to")" != Enabled ] || break
	[ $waited -lt 120 ] || fail "the replica is not Enabled after a minute, but '$(state "$to")'"
	sleep 0.5
done

step "The two keys differ in their Region and their role only"
kms "$from" describe-key --key-id "$key"
kms "$to" describe-key --key-id "$key"
kms "$from" describe-key --key-id "$key" --query KeyMetadata.Arn --output text
primary_arn=$answer
[ "${primary_arn/:$from:/:$to:}" = "$replica_arn" ] || fail "$primary_arn and $replica_arn differ in more than the Region"
for region in "$from" "$to"; do
	kms "$region" describe-key --key-id "$key" --query KeyMetadata.MultiRegionConfiguration.MultiRegionKeyType --output text
	if [ "$region" = "$from" ]; then expect PRIMARY "role in $region"; else expect REPLICA "role in $region"; fi
	kms "$region" describe-key --key-id "$key" --query KeyMetadata.MultiRegionConfiguration.PrimaryKey.Arn --output text
	expect "$primary_arn" "primary as $region knows it"
done

step "Encrypted in $from, decrypted in $to; the ciphertext itself tells the key"
kms "$from" encrypt --key-id "$key" --plaintext "$message" --encryption-context "$context" --query CiphertextBlob --output text
base64 -d <<<"$answer" >message.bin
kms "$to" decrypt --ciphertext-blob fileb://message.bin --encryption-context "$context" --query Plaintext --output text
answer=$(base64 -d <<<"$answer")
echo "which is: $answer"
expect "$message" "decrypted in $to"

step "With another encryption context it does not open"
if kms "$to" decrypt --ciphertext-blob fileb://message.bin --encryption-context Purpose=other; then
	fail "a wrong encryption context was accepted"
fi
[[ $answer == *InvalidCiphertextException* ]] || fail "refused, but not with InvalidCiphertextException"

step "An alias in each Region; they are not replicated"
alias=alias/tutorial-${key#mrk-}
kms "$from" create-alias --alias-name "$alias" --target-key-id "$key"
kms "$to" create-alias --alias-name "$alias" --target-key-id "$key"
kms "$to" list-aliases --key-id "$key"
[[ $answer == *"$alias"* ]] || fail "$alias is not listed in $to"

step "A file, encrypted by alias in $to, kept as base64, decrypted in $from"
head -c 100 /dev/urandom >file
kms "$to" encrypt --key-id "$alias" --plaintext fileb://file --query CiphertextBlob --output text
printf '%s\n' "$answer" >file.base64
base64 -d file.base64 >file.encrypted
kms "$from" decrypt --ciphertext-blob fileb://file.encrypted --query Plaintext --output text
base64 -d <<<"$answer" | cmp - file || fail "the file came back altered"
echo "the file came back as it was"

step "Re-encrypted in $to under a new context; the plaintext stays in the service"
kms "$to" re-encrypt --ciphertext-blob fileb://message.bin --source-encryption-context "$context" \
	--destination-key-id "$replica_arn" --destination-encryption-context Purpose=migration --query CiphertextBlob --output text
base64 -d <<<"$answer" >migrated.bin
kms "$from" decrypt --key-id "$primary_arn" --ciphertext-blob fileb://migrated.bin \
	--encryption-context Purpose=migration --query Plaintext --output text
answer=$(base64 -d <<<"$answer")
expect "$message" "decrypted after re-encryption"

step "A data key made in $from, opened in $to"
call "$client" "$from" generate-data-key --key-id "$key" --key-spec AES_256 --output json || fail "generate-data-key: $answer"
data_key=$(member Plaintext)
encrypted_key=$(member CiphertextBlob)
echo "\$ ${client##*/} --region $from kms generate-data-key --key-id $key --key-spec AES_256"
echo "(its plaintext is not printed) $encrypted_key"
base64 -d <<<"$encrypted_key" >data.key
call "$client" "$to" decrypt --ciphertext-blob fileb://data.key --query Plaintext --output text ||
	fail "decrypt the data key: $answer"
expect "$data_key" "data key opened in $to"
[ "$(base64 -d <<<"$answer" | wc -c)" = 32 ] || fail "the data key is not of 32 bytes"
echo "\$ ${client##*/} --region $to kms decrypt --ciphertext-blob fileb://data.key"
echo "(the same 32 bytes)"

step "Rotated in $from; the new material encrypts when both Regions hold it, and what was encrypted before still opens"
if kms "$from" rotate-key-on-demand --key-id "$key"; then
	for region in "$from" "$to"; do
		for ((waited = 0; ; waited++)); do
			kms "$region" list-key-rotations --key-id "$key" >rotations || fail "$answer"
			[[ $answer != *CURRENT* ]] || break
			[ $waited -lt 120 ] || fail "the rotation is not complete in $region after a minute: $answer"
			sleep 0.5
		done
		cat rotations
	done
elif grep -qi 'invalid choice' <<<"$answer"; then
	echo "  (${client##*/} is too old to know rotate-key-on-demand: the key is not rotated)"
else
	fail "$answer"
fi
kms "$to" encrypt --key-id "$key" --plaintext "$message" --query CiphertextBlob --output text
base64 -d <<<"$answer" >rotated.bin
kms "$from" decrypt --ciphertext-blob fileb://rotated.bin --query Plaintext --output text
answer=$(base64 -d <<<"$answer")
expect "$message" "decrypted in $from after the rotation"
kms "$to" decrypt --ciphertext-blob fileb://message.bin --encryption-context "$context" --query Plaintext --output text
answer=$(base64 -d <<<"$answer")
expect "$message" "from before the rotation, decrypted in $to"

step "The primary goes to $to; the key id, the material and all that is a Region's own stay as they are"
kms "$from" update-primary-region --key-id "$key" --primary-region "$to"
for region in "$from" "$to"; do
	kms "$region" describe-key --key-id "$key" --query KeyMetadata.MultiRegionConfiguration.MultiRegionKeyType --output text
	if [ "$region" = "$to" ]; then expect PRIMARY "role in $region"; else expect REPLICA "role in $region"; fi
	kms "$region" describe-key --key-id "$key" --query KeyMetadata.KeyState --output text
	expect Enabled "the key in $region"
	kms "$region" decrypt --ciphertext-blob fileb://message.bin --encryption-context "$context" --query Plaintext --output text
	answer=$(base64 -d <<<"$answer")
	expect "$message" "decrypted in $region after the change"
done
if kms "$from" update-primary-region --key-id "$key" --primary-region "$to"; then
	fail "a replica changed the primary"
fi
[[ $answer == *UnsupportedOperationException* ]] || fail "refused, but not with UnsupportedOperationException"

step "Cleaning up: aliases at once, keys after the waiting period, each Region for itself"
kms "$from" delete-alias --alias-name "$alias"
kms "$to" delete-alias --alias-name "$alias"
kms "$from" schedule-key-deletion --key-id "$key" --pending-window-in-days 7
kms "$to" schedule-key-deletion --key-id "$key" --pending-window-in-days 7
kms "$from" describe-key --key-id "$key" --query KeyMetadata.KeyState --output text
expect PendingDeletion "replica"
kms "$to" describe-key --key-id "$key" --query KeyMetadata.KeyState --output text
expect PendingReplicaDeletion "primary, which outlives its replica"
trap 'rm -rf "$scratch"' EXIT

printf '\nEvery step held.\n'
