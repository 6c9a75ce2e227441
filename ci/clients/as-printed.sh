#!/bin/bash
# A walk-through in the form tutorials print it: plain 'aws kms' commands without an endpoint, a credentials file or a
# binary format on any line, and a fixed pause for the replication. What the commands need besides, the reader's machine
# has: a credentials file, a configuration file with cli_binary_format, and 'aws' standing for the CLI with its endpoint.
# Environment: AWS_CLI, ANTIPODE_ENDPOINT, AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE.
set -e
cd "$(mktemp -d)"

aws() { "$AWS_CLI" --endpoint-url "$ANTIPODE_ENDPOINT" "$@"; }

HERE=us-east-2
THERE=us-west-1
TEXT='Good morning from the other side of the country'

echo "Creating a key in $HERE"
HERE_ARN=$(aws kms create-key --region "$HERE" --multi-region --description 'As printed' \
	--query 'KeyMetadata.Arn' --output text)
echo "$HERE_ARN"

echo "Replicating it to $THERE"
THERE_ARN=$(aws kms replicate-key --region "$HERE" --key-id "$HERE_ARN" --replica-region "$THERE" \
	--query 'ReplicaKeyMetadata.Arn' --output text)
echo "$THERE_ARN"
sleep 10

echo "Encrypting in $HERE"
BLOB=$(aws kms encrypt --region "$HERE" --key-id "$HERE_ARN" --plaintext "$TEXT" \
	--query CiphertextBlob --output text)
echo "$BLOB"
echo "$BLOB" >blob.b64

echo "Decrypting in $THERE, the file given as a process substitution"
BACK=$(aws kms decrypt --region "$THERE" --ciphertext-blob fileb://<(base64 --decode blob.b64) \
	--query Plaintext --output text | base64 --decode)
[ "$BACK" == "$TEXT" ]

echo 'A password file, by alias, with redirections'
aws kms create-alias --region "$HERE" --alias-name alias/as-printed --target-key-id "$HERE_ARN"
printf 'hunter-%s' "$RANDOM" >password.txt
aws kms encrypt --key-id alias/as-printed --plaintext fileb://password.txt --output text --query CiphertextBlob --region "$HERE" >password.base64
cat password.base64 | base64 --decode >password.bin
aws kms decrypt --ciphertext-blob fileb://password.bin --output text --query Plaintext --region "$HERE" >again.base64
cat again.base64 | base64 --decode >again.txt
cmp password.txt again.txt

echo 'Other commands of the same page'
aws kms generate-data-key --key-id alias/as-printed --key-spec AES_256 --region "$HERE" --query KeyId --output text
aws kms re-encrypt --ciphertext-blob fileb://password.bin --destination-key-id "$THERE_ARN" --region "$THERE" \
	--destination-encryption-context '{"Purpose":"Migration"}' --query CiphertextBlob --output text
aws kms generate-random --number-of-bytes 32 --region "$THERE" --query Plaintext --output text
aws kms get-key-policy --key-id "$HERE_ARN" --policy-name default --region "$HERE" --query Policy --output text
aws kms list-keys --region "$THERE" --output json | jq -e --arg arn "$THERE_ARN" '.Keys[] | select(.KeyArn == $arn)'
aws kms list-aliases --region "$HERE"
aws kms disable-key --key-id "$HERE_ARN" --region "$HERE"
aws kms enable-key --key-id "$HERE_ARN" --region "$HERE"

echo 'Cleaning up'
aws kms delete-alias --alias-name alias/as-printed --region "$HERE"
aws kms schedule-key-deletion --region "$HERE" --key-id "$HERE_ARN" --pending-window-in-days 30 >/dev/null
aws kms schedule-key-deletion --region "$THERE" --key-id "$THERE_ARN" --pending-window-in-days 30 >/dev/null
aws kms cancel-key-deletion --region "$THERE" --key-id "$THERE_ARN" >/dev/null
aws kms schedule-key-deletion --region "$THERE" --key-id "$THERE_ARN" >/dev/null
rm -r "$PWD"
