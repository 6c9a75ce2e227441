package awsjson_test

import (
	"encoding/base64"
	"strconv"
	"strings"
	"testing"
)

func blob(n int) string { return `"` + base64.StdEncoding.EncodeToString(make([]byte, n)) + `"` }

func letters(n int) string { return strings.Repeat("a", n) }

// What breaks a constraint of the model gets AWS's text for it, which names member, value and constraint; the values of
// blobs, which may be secret, are not repeated.
func TestConstraints(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	const (
		detected = "1 validation error detected: Value "
		failed   = " failed to satisfy constraint: Member must "
		heap     = "'java.nio.HeapByteBuffer'"
		no       = "11111111-2222-4333-8444-555555555555"
		key      = `"KeyId":"` + no + `"`
	)
	null := func(field string) string { return detected + "null at '" + field + "'" + failed + "not be null" }
	longest := func(value, field string, n int) string {
		return detected + value + " at '" + field + "'" + failed + "have length less than or equal to " + strconv.Itoa(n)
	}
	shortest := func(value, field string) string {
		return detected + value + " at '" + field + "'" + failed + "have length greater than or equal to 1"
	}
	atMost := func(value, field, n string) string {
		return detected + "'" + value + "' at '" + field + "'" + failed + "have value less than or equal to " + n
	}
	atLeast := func(value, field, n string) string {
		return detected + "'" + value + "' at '" + field + "'" + failed + "have value greater than or equal to " + n
	}
	enum := func(value, field, set string) string {
		return detected + "'" + value + "' at '" + field + "'" + failed + "satisfy enum value set: [" + set + "]"
	}
	const algorithms = "SYMMETRIC_DEFAULT, RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, SM2PKE"
	cases := []struct{ operation, body, want string }{
		{"CancelKeyDeletion", `{}`, null("keyId")},
		{"DescribeKey", `{}`, null("keyId")},
		{"DescribeKey", `{"KeyId":null}`, null("keyId")},
		{"DisableKey", `{}`, null("keyId")},
		{"EnableKey", `{}`, null("keyId")},
		{"GetKeyPolicy", `{}`, null("keyId")},
		{"ScheduleKeyDeletion", `{}`, null("keyId")},
		{"GenerateDataKey", `{"KeySpec":"AES_256"}`, null("keyId")},
		{"GenerateDataKeyWithoutPlaintext", `{"KeySpec":"AES_256"}`, null("keyId")},
		{"Encrypt", `{"Plaintext":"aGk="}`, null("keyId")},
		{"Encrypt", `{` + key + `}`, null("plaintext")},
		{"Decrypt", `{}`, null("ciphertextBlob")},
		{"ReEncrypt", `{"DestinationKeyId":"x"}`, null("ciphertextBlob")},
		{"ReEncrypt", `{"CiphertextBlob":"aGk="}`, null("destinationKeyId")},
		{"ReplicateKey", `{"ReplicaRegion":"us-west-1"}`, null("keyId")},
		{"ReplicateKey", `{` + key + `}`, null("replicaRegion")},
		{"UpdatePrimaryRegion", `{"PrimaryRegion":"us-west-1"}`, null("keyId")},
		{"UpdatePrimaryRegion", `{` + key + `}`, null("primaryRegion")},
		{"CreateAlias", `{"TargetKeyId":"x"}`, null("aliasName")},
		{"CreateAlias", `{"AliasName":"alias/a"}`, null("targetKeyId")},
		{"UpdateAlias", `{"AliasName":"alias/a"}`, null("targetKeyId")},
		{"DeleteAlias", `{}`, null("aliasName")},
		{"GenerateRandom", `{}`, null("numberOfBytes")},

		{"DescribeKey", `{"KeyId":"` + letters(2049) + `"}`, longest("'"+letters(2049)+"'", "keyId", 2048)},
		{"Decrypt", `{"CiphertextBlob":"aGk=","KeyId":"` + letters(2049) + `"}`, longest("'"+letters(2049)+"'", "keyId", 2048)},
		{"Encrypt", `{` + key + `,"Plaintext":` + blob(4097) + `}`, longest(heap, "plaintext", 4096)},
		{"Encrypt", `{` + key + `,"Plaintext":""}`, shortest(heap, "plaintext")},
		{"Decrypt", `{"CiphertextBlob":` + blob(6145) + `}`, longest(heap, "ciphertextBlob", 6144)},
		{"Decrypt", `{"CiphertextBlob":""}`, shortest(heap, "ciphertextBlob")},
		{"ReEncrypt", `{"DestinationKeyId":"x","CiphertextBlob":` + blob(6145) + `}`, longest(heap, "ciphertextBlob", 6144)},
		{"ReEncrypt", `{"CiphertextBlob":"aGk=","SourceKeyId":"` + letters(2049) + `"}`, longest("'"+letters(2049)+"'", "sourceKeyId", 2048)},
		{"CreateKey", `{"Description":"` + letters(8193) + `"}`, longest("'"+letters(8193)+"'", "description", 8192)},
		{"ReplicateKey", `{` + key + `,"ReplicaRegion":"` + letters(33) + `"}`, longest("'"+letters(33)+"'", "replicaRegion", 32)},
		{"UpdatePrimaryRegion", `{` + key + `,"PrimaryRegion":"` + letters(33) + `"}`, longest("'"+letters(33)+"'", "primaryRegion", 32)},
		{"GetKeyPolicy", `{` + key + `,"PolicyName":"` + letters(129) + `"}`, longest("'"+letters(129)+"'", "policyName", 128)},
		{"CreateAlias", `{"TargetKeyId":"x","AliasName":"alias/` + letters(251) + `"}`, longest("'alias/"+letters(251)+"'", "aliasName", 256)},
		{"CreateKey", `{"Tags":[{"TagKey":"` + letters(129) + `","TagValue":""}]}`, longest("'"+letters(129)+"'", "tags.tagKey", 128)},
		{"CreateKey", `{"Tags":[{"TagKey":"","TagValue":""}]}`, shortest("''", "tags.tagKey")},
		{"ListKeys", `{"Marker":"` + letters(1025) + `"}`, longest("'"+letters(1025)+"'", "marker", 1024)},
		{"ListAliases", `{"Marker":"` + letters(1025) + `"}`, longest("'"+letters(1025)+"'", "marker", 1024)},
		{"DescribeKey", `{` + key + `,` + elevenTokens + `}`, longest("'[...]'", "grantTokens", 10)},
		{"Encrypt", `{` + key + `,"Plaintext":"aGk=",` + elevenTokens + `}`, longest("'[...]'", "grantTokens", 10)},
		{"Decrypt", `{"CiphertextBlob":"aGk=",` + elevenTokens + `}`, longest("'[...]'", "grantTokens", 10)},
		{"ReEncrypt", `{"CiphertextBlob":"aGk=","DestinationKeyId":"x",` + elevenTokens + `}`, longest("'[...]'", "grantTokens", 10)},
		{"GenerateDataKey", `{` + key + `,"KeySpec":"AES_256",` + elevenTokens + `}`, longest("'[...]'", "grantTokens", 10)},
		{"DescribeKey", `{` + key + `,"GrantTokens":["` + letters(8193) + `"]}`, longest("'[...]'", "grantTokens", 8192)},
		{"DescribeKey", `{` + key + `,"GrantTokens":[""]}`, shortest("'[...]'", "grantTokens")},
		{"CreateKey", `{"Tags":[{"TagKey":"k","TagValue":"` + letters(257) + `"}]}`, longest("'"+letters(257)+"'", "tags.tagValue", 256)},

		{"GenerateRandom", `{"NumberOfBytes":0}`, atLeast("0", "numberOfBytes", "1")},
		{"GenerateRandom", `{"NumberOfBytes":-9223372036854775808}`, atLeast("-9223372036854775808", "numberOfBytes", "1")},
		{"GenerateRandom", `{"NumberOfBytes":1025}`, atMost("1025", "numberOfBytes", "1024")},
		{"GenerateDataKey", `{` + key + `,"NumberOfBytes":1025}`, atMost("1025", "numberOfBytes", "1024")},
		{"GenerateDataKey", `{` + key + `,"NumberOfBytes":0}`, atLeast("0", "numberOfBytes", "1")},
		{"ListKeys", `{"Limit":0}`, atLeast("0", "limit", "1")},
		{"ListKeys", `{"Limit":1001}`, atMost("1001", "limit", "1000")},
		{"ListAliases", `{"Limit":101}`, atMost("101", "limit", "100")},
		{"ScheduleKeyDeletion", `{` + key + `,"PendingWindowInDays":6}`, atLeast("6", "pendingWindowInDays", "7")},
		{"ScheduleKeyDeletion", `{` + key + `,"PendingWindowInDays":31}`, atMost("31", "pendingWindowInDays", "30")},

		{"Encrypt", `{` + key + `,"Plaintext":"aGk=","EncryptionAlgorithm":"ROT13"}`, enum("ROT13", "encryptionAlgorithm", algorithms)},
		{"Decrypt", `{"CiphertextBlob":"aGk=","EncryptionAlgorithm":"ROT13"}`, enum("ROT13", "encryptionAlgorithm", algorithms)},
		{
			"ReEncrypt", `{"CiphertextBlob":"aGk=","DestinationKeyId":"x","SourceEncryptionAlgorithm":"ROT13"}`,
			enum("ROT13", "sourceEncryptionAlgorithm", algorithms),
		},
		{
			"ReEncrypt", `{"CiphertextBlob":"aGk=","DestinationKeyId":"x","DestinationEncryptionAlgorithm":"ROT13"}`,
			enum("ROT13", "destinationEncryptionAlgorithm", algorithms),
		},
		{"GenerateDataKey", `{` + key + `,"KeySpec":"AES_512"}`, enum("AES_512", "keySpec", "AES_256, AES_128")},
		{"CreateKey", `{"Origin":"MARS"}`, enum("MARS", "origin", "AWS_KMS, EXTERNAL, AWS_CLOUDHSM, EXTERNAL_KEY_STORE")},

		{"GenerateDataKey", `{` + key + `}`, "Please specify either number of bytes or key spec."},
		{"GenerateDataKey", `{` + key + `,"NumberOfBytes":32,"KeySpec":"AES_256"}`, "Please specify either number of bytes or key spec."},
		{"CreateKey", `{"KeySpec":"RSA_2048"}`, "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."},
		{"CreateKey", `{"KeyUsage":"SIGN_VERIFY"}`, "KeyUsage SIGN_VERIFY is not compatible with KeySpec SYMMETRIC_DEFAULT"},
	}
	for _, c := range cases {
		f.refused(t, ordinary(c.operation, c.body), "ValidationException", c.want)
	}
	for _, field := range []string{"KeySpec", "CustomerMasterKeySpec", "KeyUsage"} {
		a := f.send(t, ordinary("CreateKey", `{"`+field+`":"x"}`))
		camel := strings.ToLower(field[:1]) + field[1:]
		if a.Type != "ValidationException" || !strings.HasPrefix(a.Message, detected+"'x' at '"+camel+"'"+failed+"satisfy enum value set: [") {
			t.Errorf("%s: %s", field, a.refusal())
		}
	}
}

// The limits themselves are inside.
func TestLimitsAreAccepted(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	key := f.must(t, "CreateKey", `{"Description":"`+strings.Repeat("é", 8192)+`","Tags":[{"TagKey":"`+letters(128)+`","TagValue":"`+letters(256)+`"}]}`)
	metadata, isMap := key["KeyMetadata"].(map[string]any)
	if !isMap || metadata["Description"] != strings.Repeat("é", 8192) {
		t.Fatalf("%.200v", key)
	}
	id, isString := metadata["KeyId"].(string)
	if !isString {
		t.Fatal(metadata)
	}
	for _, n := range []int{1, 4096} {
		out := f.must(t, "Encrypt", `{"KeyId":"`+id+`","Plaintext":`+blob(n)+`}`)
		sealed, _ := out["CiphertextBlob"].(string)
		back := f.must(t, "Decrypt", `{"CiphertextBlob":"`+sealed+`"}`)
		if plaintext, _ := back["Plaintext"].(string); `"`+plaintext+`"` != blob(n) {
			t.Errorf("%d bytes: %v", n, back)
		}
	}
	f.must(t, "CreateAlias", `{"AliasName":"alias/`+letters(250)+`","TargetKeyId":"`+id+`"}`)
	f.must(t, "ListAliases", `{"KeyId":"`+id+`","Limit":100}`)
	f.must(t, "ListKeys", `{"Limit":1000}`)
	f.must(t, "GenerateRandom", `{"NumberOfBytes":1024}`)
	f.must(t, "GenerateDataKey", `{"KeyId":"`+id+`","NumberOfBytes":1024}`)
	f.must(t, "ScheduleKeyDeletion", `{"KeyId":"`+id+`","PendingWindowInDays":7}`)
	f.must(t, "CancelKeyDeletion", `{"KeyId":"`+id+`"}`)
	f.must(t, "ScheduleKeyDeletion", `{"KeyId":"`+id+`","PendingWindowInDays":30}`)
	f.refused(t, ordinary("Decrypt", `{"CiphertextBlob":`+blob(6144)+`}`), "InvalidCiphertextException", "")
}

// Values of any size and any characters that a caller can put into what is repeated in errors and audited come back as
// an ordinary refusal: the audit log takes them all.
func TestOversizedValues(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	key := f.CreateKey(t, false).KeyID
	for name, unit := range map[string]string{
		"letters": "a", "quotes": `\"`, "escapes": `\u0001`, "unicode": "\u2028", "emoji": "😀", "NUL": `\u0000`, "angle": "<",
	} {
		long := strings.Repeat(unit, 200_000/len(unit))
		var pairs strings.Builder
		for i := range 6000 {
			pairs.WriteString(`"` + unit + strconv.Itoa(i) + `":"` + unit + `",`)
		}
		context := `{` + strings.TrimSuffix(pairs.String(), ",") + `}`
		for _, r := range []struct{ operation, body string }{
			{"DescribeKey", `{"KeyId":"` + long + `"}`},
			{"CreateAlias", `{"TargetKeyId":"` + key + `","AliasName":"alias/` + long + `"}`},
			{"CreateKey", `{"Description":"` + long + `"}`},
			{"CreateKey", `{"Policy":"` + long + `"}`},
			{"CreateKey", `{"KeySpec":"` + long + `"}`},
			{"ListKeys", `{"Marker":"` + long + `"}`},
			{"ListAliases", `{"KeyId":"` + long + `"}`},
			{"ReplicateKey", `{"KeyId":"` + key + `","ReplicaRegion":"` + long + `"}`},
			{"Encrypt", `{"KeyId":"` + key + `","Plaintext":"aGk=","EncryptionContext":{"a":"` + long + `"}}`},
			{"Encrypt", `{"KeyId":"` + key + `","Plaintext":"aGk=","EncryptionContext":{"` + long + `":"a"}}`},
			{"Encrypt", `{"KeyId":"` + key + `","Plaintext":"aGk=","EncryptionContext":` + context + `}`},
			{"Decrypt", `{"CiphertextBlob":"aGk=","EncryptionContext":` + context + `}`},
		} {
			a := f.send(t, ordinary(r.operation, r.body)) // which fails the test for a status that is not 200 or 400
			if a.Type == "" && r.operation != "ListKeys" {
				t.Errorf("%s in %s %.60s: %d %.100s", name, r.operation, r.body, a.status, a.body)
			}
		}
	}
}

// elevenTokens is one grant token more than AWS takes.
const elevenTokens = `"GrantTokens":["a","b","c","d","e","f","g","h","i","j","k"]`
