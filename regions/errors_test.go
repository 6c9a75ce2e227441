package regions_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/policy"
	"antipode/regions/regionstest"
)

func ptr(n int) *int { return &n }

// Every error that an operation can give, with AWS's code and text letter for letter.
func TestErrors(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key, other := f.CreateKey(t, true), f.CreateKey(t, false)
	blob, otherBlob := f.Encrypt(t, key.KeyID, []byte("x")), f.Encrypt(t, other.KeyID, []byte("x"))
	regionstest.Must[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: "alias/a", TargetKeyID: key.KeyID})
	late := map[string]bool{"CreateAlias": true, "UpdateAlias": true} // may be refused after the intent
	answers := map[uint64][2]string{}                                 // operation and code by record
	const unknown = "mrk-00000000000000000000000000000000"
	const base = "arn:aws:kms:us-east-2:111122223333:"
	enum := func(value, field, set string) string {
		return "1 validation error detected: Value '" + value + "' at '" + field + "' failed to satisfy constraint: Member must satisfy enum value set: [" + set + "]"
	}
	null := func(field string) string {
		return "1 validation error detected: Value null at '" + field + "' failed to satisfy constraint: Member must not be null"
	}
	constraint := func(value, field, text string) string {
		return "1 validation error detected: Value '" + value + "' at '" + field + "' failed to satisfy constraint: Member must " + text
	}
	const hidden, dry = "java.nio.HeapByteBuffer", "The request would have succeeded, but the DryRun option is set."
	specs := "RSA_2048, RSA_3072, RSA_4096, ECC_NIST_P256, ECC_NIST_P384, ECC_NIST_P521, ECC_SECG_P256K1, SYMMETRIC_DEFAULT, HMAC_224, HMAC_256, HMAC_384, HMAC_512, SM2, ML_DSA_44, ML_DSA_65, ML_DSA_87, ECC_NIST_EDWARDS25519, ML_KEM_512, ML_KEM_768, ML_KEM_1024"
	algs := "SYMMETRIC_DEFAULT, RSAES_OAEP_SHA_1, RSAES_OAEP_SHA_256, SM2PKE"
	long := strings.Repeat("k", 2049)
	plain := []byte("x")
	tags := func(n int) (out []regions.Tag) {
		for i := range n {
			out = append(out, regions.Tag{TagKey: fmt.Sprint(i)})
		}
		return out
	}
	type (
		create   = regions.CreateKeyInput
		encrypt  = regions.EncryptInput
		decrypt  = regions.DecryptInput
		reenc    = regions.ReEncryptInput
		datakey  = regions.GenerateDataKeyInput
		alias    = regions.AliasInput
		schedule = regions.ScheduleKeyDeletionInput
	)
	for i, c := range []struct {
		op   string
		in   any
		code string
		text string
	}{
		{"DescribeKey", &regions.DescribeKeyInput{}, "ValidationException", null("keyId")},
		{"DescribeKey", &regions.DescribeKeyInput{KeyID: long}, "ValidationException", constraint(long, "keyId", "have length less than or equal to 2048")},
		{"DescribeKey", &regions.DescribeKeyInput{KeyID: unknown}, "NotFoundException", "Key '" + base + "key/" + unknown + "' does not exist"},
		{"DescribeKey", &regions.DescribeKeyInput{KeyID: base + "key/" + unknown}, "NotFoundException", "Key '" + base + "key/" + unknown + "' does not exist"},
		{"DescribeKey", &regions.DescribeKeyInput{KeyID: "x"}, "NotFoundException", "Invalid keyId 'x'"},
		{"DescribeKey", &regions.DescribeKeyInput{KeyID: strings.ToUpper(key.KeyID)}, "NotFoundException", "Invalid keyId '" + strings.ToUpper(key.KeyID) + "'"},
		{"DescribeKey", &regions.DescribeKeyInput{KeyID: strings.Replace(key.Arn, "us-east-2", "eu-west-1", 1)}, "NotFoundException", "Invalid arn eu-west-1"},
		{"DescribeKey", &regions.DescribeKeyInput{KeyID: "alias/none"}, "NotFoundException", "Alias " + base + "alias/none is not found."},
		{"DescribeKey", &regions.DescribeKeyInput{KeyID: base + "alias/none"}, "NotFoundException", "Alias " + base + "alias/none is not found."},
		{"GetKeyPolicy", &regions.GetKeyPolicyInput{KeyID: key.KeyID, PolicyName: "other"}, "NotFoundException", "No such policy exists"},
		{"GetKeyPolicy", &regions.GetKeyPolicyInput{KeyID: "alias/a"}, "NotFoundException", "Invalid keyId 'alias/a'"},
		{"DisableKey", &regions.KeyInput{KeyID: "alias/a"}, "NotFoundException", "Invalid keyId 'alias/a'"},
		{"ListKeys", &regions.ListKeysInput{Limit: ptr(0)}, "ValidationException", constraint("0", "limit", "have value greater than or equal to 1")},
		{"ListKeys", &regions.ListKeysInput{Limit: ptr(1001)}, "ValidationException", constraint("1001", "limit", "have value less than or equal to 1000")},
		{"ListAliases", &regions.ListAliasesInput{Limit: ptr(101)}, "ValidationException", constraint("101", "limit", "have value less than or equal to 100")},
		{"ListKeys", &regions.ListKeysInput{Marker: "!"}, "InvalidMarkerException", "Could not deserialize marker"},
		{"ListAliases", &regions.ListAliasesInput{Marker: "!"}, "InvalidMarkerException", "Could not deserialize marker"},
		{"ListAliases", &regions.ListAliasesInput{KeyID: unknown}, "NotFoundException", "Key '" + base + "key/" + unknown + "' does not exist"},

		{"CreateKey", &create{KeySpec: "AES"}, "ValidationException", enum("AES", "keySpec", specs)},
		{"CreateKey", &create{CustomerMasterKeySpec: "AES"}, "ValidationException", enum("AES", "customerMasterKeySpec", specs)},
		{"CreateKey", &create{KeyUsage: "X"}, "ValidationException", enum("X", "keyUsage", "SIGN_VERIFY, ENCRYPT_DECRYPT, GENERATE_VERIFY_MAC, KEY_AGREEMENT, ENCAPSULATE_DECAPSULATE")},
		{"CreateKey", &create{Origin: "X"}, "ValidationException", enum("X", "origin", "AWS_KMS, EXTERNAL, AWS_CLOUDHSM, EXTERNAL_KEY_STORE")},
		{"CreateKey", &create{KeySpec: "RSA_2048"}, "ValidationException", "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."},
		{"CreateKey", &create{KeySpec: "RSA_2048", KeyUsage: "KEY_AGREEMENT"}, "ValidationException", "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048"},
		{"CreateKey", &create{KeySpec: "ECC_SECG_P256K1", KeyUsage: "KEY_AGREEMENT"}, "ValidationException", "KeyUsage KEY_AGREEMENT is not compatible with KeySpec ECC_SECG_P256K1"},
		{"CreateKey", &create{KeySpec: "ML_DSA_65", KeyUsage: "SIGN_VERIFY"}, "UnsupportedOperationException", "KeySpec ML_DSA_65 with KeyUsage SIGN_VERIFY is not supported in Region us-east-2: its token lacks CKM_ML_DSA_KEY_PAIR_GEN."},
		{"CreateKey", &create{KeySpec: "ML_KEM_768", KeyUsage: "ENCAPSULATE_DECAPSULATE"}, "UnsupportedOperationException", "KeySpec ML_KEM_768 with KeyUsage ENCAPSULATE_DECAPSULATE is not supported in Region us-east-2: its token lacks CKM_ML_KEM_KEY_PAIR_GEN."},
		{"CreateKey", &create{KeySpec: "SM2", KeyUsage: "SIGN_VERIFY"}, "UnsupportedOperationException", "KeySpec SM2 with KeyUsage SIGN_VERIFY is not supported in Region us-east-2: its token lacks a mechanism for SM2."},
		{"CreateKey", &create{KeySpec: "ECC_NIST_EDWARDS25519", KeyUsage: "SIGN_VERIFY", MultiRegion: true}, "UnsupportedOperationException", "KeySpec ECC_NIST_EDWARDS25519 cannot be multi-Region in Region us-east-2: its token cannot wrap Ed25519 keys, so their material can never leave it."},
		{"CreateKey", &create{KeyUsage: "SIGN_VERIFY"}, "ValidationException", "KeyUsage SIGN_VERIFY is not compatible with KeySpec SYMMETRIC_DEFAULT"},
		{"CreateKey", &create{CustomKeyStoreID: "cks-1"}, "UnsupportedOperationException", "Custom key stores are not supported: this Region's keys are on its own HSM."},
		{"CreateKey", &create{Policy: "{"}, "MalformedPolicyDocumentException", "*"},
		{"CreateKey", &create{Policy: strings.Replace(policy.Default(regionstest.Account), "kms:*", "kms:Encrypt", 1)}, "MalformedPolicyDocumentException", lockedOut},
		{"CreateKey", &create{Policy: policy.Default("999988887777")}, "MalformedPolicyDocumentException", lockedOut},
		{"CreateKey", &create{Policy: strings.Repeat(" ", policy.MaxSize) + policy.Default(regionstest.Account)}, "LimitExceededException", "*"},
		{"CreateKey", &create{Description: strings.Repeat("é", 8193)}, "ValidationException", constraint(strings.Repeat("é", 8193), "description", "have length less than or equal to 8192")},
		{"CreateKey", &create{Tags: tags(51)}, "TagException", "Too many tags"},
		{"CreateKey", &create{Tags: append(tags(1), tags(1)...)}, "TagException", "Duplicate tag keys"},
		{"CreateKey", &create{Tags: []regions.Tag{{TagKey: "aws:x"}}}, "TagException", "aws: prefixed tag key names are not allowed for external use."},
		{"CreateKey", &create{Tags: []regions.Tag{{}}}, "ValidationException", constraint("", "tags.tagKey", "have length greater than or equal to 1")},
		{"CreateKey", &create{Tags: []regions.Tag{{TagKey: strings.Repeat("k", 129)}}}, "ValidationException", constraint(strings.Repeat("k", 129), "tags.tagKey", "have length less than or equal to 128")},
		{"CreateKey", &create{Tags: []regions.Tag{{TagKey: "k", TagValue: strings.Repeat("v", 257)}}}, "ValidationException", constraint(strings.Repeat("v", 257), "tags.tagValue", "have length less than or equal to 256")},

		{"Encrypt", &encrypt{Plaintext: plain}, "ValidationException", null("keyId")},
		{"Encrypt", &encrypt{KeyID: key.KeyID}, "ValidationException", null("plaintext")},
		{"Encrypt", &encrypt{KeyID: key.KeyID, Plaintext: []byte{}}, "ValidationException", constraint(hidden, "plaintext", "have length greater than or equal to 1")},
		{"Encrypt", &encrypt{KeyID: key.KeyID, Plaintext: make([]byte, 4097)}, "ValidationException", constraint(hidden, "plaintext", "have length less than or equal to 4096")},
		{"Encrypt", &encrypt{KeyID: key.KeyID, Plaintext: plain, EncryptionAlgorithm: "X"}, "ValidationException", enum("X", "encryptionAlgorithm", algs)},
		{"Encrypt", &encrypt{KeyID: key.KeyID, Plaintext: plain, EncryptionAlgorithm: "RSAES_OAEP_SHA_256"}, "InvalidKeyUsageException", "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT."},
		{"Encrypt", &encrypt{KeyID: key.KeyID, Plaintext: plain, DryRun: true}, "DryRunOperationException", dry},
		{"Decrypt", &decrypt{}, "ValidationException", null("ciphertextBlob")},
		{"Decrypt", &decrypt{CiphertextBlob: []byte{}}, "ValidationException", constraint(hidden, "ciphertextBlob", "have length greater than or equal to 1")},
		{"Decrypt", &decrypt{CiphertextBlob: make([]byte, 6145)}, "ValidationException", constraint(hidden, "ciphertextBlob", "have length less than or equal to 6144")},
		{"Decrypt", &decrypt{CiphertextBlob: []byte("garbage")}, "InvalidCiphertextException", ""},
		{"Decrypt", &decrypt{CiphertextBlob: make([]byte, 6144)}, "InvalidCiphertextException", ""},
		{"Decrypt", &decrypt{CiphertextBlob: []byte("garbage"), KeyID: key.KeyID}, "InvalidCiphertextException", ""},
		{"Decrypt", &decrypt{CiphertextBlob: blob[:len(blob)-1]}, "InvalidCiphertextException", ""},
		{"Decrypt", &decrypt{CiphertextBlob: append(bytes.Clone(blob), 0)}, "InvalidCiphertextException", ""},
		{"Decrypt", &decrypt{CiphertextBlob: flipByte(blob, 30)}, "InvalidCiphertextException", ""},
		{"Decrypt", &decrypt{CiphertextBlob: flipByte(blob, len(blob)-1)}, "InvalidCiphertextException", ""},
		{"Decrypt", &decrypt{CiphertextBlob: blob, EncryptionContext: map[string]string{"a": "b"}}, "InvalidCiphertextException", ""},
		{"Decrypt", &decrypt{CiphertextBlob: flipByte(blob, 5)}, "AccessDeniedException", "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access."},
		{"Decrypt", &decrypt{CiphertextBlob: blob, KeyID: other.KeyID}, "IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation."},
		{"Decrypt", &decrypt{CiphertextBlob: otherBlob, KeyID: "alias/a"}, "IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation."},
		{"Decrypt", &decrypt{CiphertextBlob: blob, Recipient: &struct{}{}}, "UnsupportedOperationException", "Recipient is not supported by this version of Antipode."},
		{"Decrypt", &decrypt{CiphertextBlob: blob, DryRun: true}, "DryRunOperationException", dry},
		{"Decrypt", &decrypt{CiphertextBlob: blob, EncryptionAlgorithm: "SM2PKE"}, "InvalidKeyUsageException", "Algorithm SM2PKE is incompatible with key spec SYMMETRIC_DEFAULT."},
		{"ReEncrypt", &reenc{CiphertextBlob: blob}, "ValidationException", null("destinationKeyId")},
		{"ReEncrypt", &reenc{DestinationKeyID: key.KeyID}, "ValidationException", null("ciphertextBlob")},
		{"ReEncrypt", &reenc{CiphertextBlob: blob, DestinationKeyID: unknown}, "NotFoundException", "Key '" + base + "key/" + unknown + "' does not exist"},
		{"ReEncrypt", &reenc{CiphertextBlob: blob, DestinationKeyID: strings.Replace(key.Arn, "us-east-2", "eu-west-1", 1)}, "NotFoundException", "Invalid arn eu-west-1"},
		{"ReEncrypt", &reenc{CiphertextBlob: blob, SourceKeyID: other.KeyID, DestinationKeyID: key.KeyID}, "IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation."},
		{"ReEncrypt", &reenc{CiphertextBlob: blob, DestinationKeyID: other.KeyID, DryRun: true}, "DryRunOperationException", dry},
		{"ReEncrypt", &reenc{CiphertextBlob: blob, DestinationKeyID: other.KeyID, SourceEncryptionContext: map[string]string{"a": ""}}, "InvalidCiphertextException", ""},
		{"GenerateDataKey", &datakey{KeyID: key.KeyID}, "ValidationException", "Please specify either number of bytes or key spec."},
		{"GenerateDataKey", &datakey{KeyID: key.KeyID, KeySpec: "AES_256", NumberOfBytes: ptr(1)}, "ValidationException", "Please specify either number of bytes or key spec."},
		{"GenerateDataKey", &datakey{KeyID: key.KeyID, KeySpec: "AES_512"}, "ValidationException", enum("AES_512", "keySpec", "AES_256, AES_128")},
		{"GenerateDataKey", &datakey{KeyID: key.KeyID, NumberOfBytes: ptr(0)}, "ValidationException", constraint("0", "numberOfBytes", "have value greater than or equal to 1")},
		{"GenerateDataKey", &datakey{KeyID: key.KeyID, NumberOfBytes: ptr(1025)}, "ValidationException", constraint("1025", "numberOfBytes", "have value less than or equal to 1024")},
		{"GenerateDataKey", &datakey{KeyID: key.KeyID, KeySpec: "AES_256", DryRun: true}, "DryRunOperationException", dry},
		{"GenerateDataKeyWithoutPlaintext", &datakey{KeyID: key.KeyID, KeySpec: "AES_256", DryRun: true}, "DryRunOperationException", dry},
		{"GenerateRandom", &regions.GenerateRandomInput{}, "ValidationException", null("numberOfBytes")},
		{"GenerateRandom", &regions.GenerateRandomInput{NumberOfBytes: ptr(1025)}, "ValidationException", constraint("1025", "numberOfBytes", "have value less than or equal to 1024")},
		{"GenerateRandom", &regions.GenerateRandomInput{NumberOfBytes: ptr(1), CustomKeyStoreID: "x"}, "UnsupportedOperationException", "CustomKeyStoreId and Recipient are not supported by this version of Antipode."},

		{"CreateAlias", &alias{TargetKeyID: key.KeyID}, "ValidationException", null("aliasName")},
		{"CreateAlias", &alias{AliasName: "alias/b"}, "ValidationException", null("targetKeyId")},
		{"CreateAlias", &alias{AliasName: "b", TargetKeyID: key.KeyID}, "ValidationException", `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`},
		{"CreateAlias", &alias{AliasName: "alias/aws/b", TargetKeyID: key.KeyID}, "NotAuthorizedException", ""},
		{"CreateAlias", &alias{AliasName: "alias/a b", TargetKeyID: key.KeyID}, "ValidationException", constraint("alias/a b", "aliasName", "satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$")},
		{"CreateAlias", &alias{AliasName: "alias/a:b", TargetKeyID: key.KeyID}, "ValidationException", "alias/a:b contains invalid characters for an alias"},
		{"CreateAlias", &alias{AliasName: "alias/a", TargetKeyID: other.KeyID}, "AlreadyExistsException", "An alias with the name " + base + "alias/a already exists"},
		{"CreateAlias", &alias{AliasName: "alias/b", TargetKeyID: "alias/a"}, "NotFoundException", "Invalid keyId 'alias/a'"},
		{"CreateAlias", &alias{AliasName: "alias/b", TargetKeyID: unknown}, "NotFoundException", "Key '" + base + "key/" + unknown + "' does not exist"},
		{"UpdateAlias", &alias{AliasName: "alias/none", TargetKeyID: key.KeyID}, "NotFoundException", "Alias " + base + "alias/none is not found."},
		{"DeleteAlias", &regions.DeleteAliasInput{AliasName: "alias/none"}, "NotFoundException", "Alias " + base + "alias/none is not found."},
		{"DeleteAlias", &regions.DeleteAliasInput{}, "ValidationException", null("aliasName")},
		{"ScheduleKeyDeletion", &schedule{KeyID: key.KeyID, PendingWindowInDays: ptr(6)}, "ValidationException", constraint("6", "pendingWindowInDays", "have value greater than or equal to 7")},
		{"ScheduleKeyDeletion", &schedule{KeyID: key.KeyID, PendingWindowInDays: ptr(31)}, "ValidationException", constraint("31", "pendingWindowInDays", "have value less than or equal to 30")},
		{"ReplicateKey", &regions.ReplicateKeyInput{KeyID: other.KeyID, ReplicaRegion: "eu-west-1"}, "UnsupportedOperationException", other.Arn + " is not a multi-region primary key."},
		{"ReplicateKey", &regions.ReplicateKeyInput{KeyID: key.KeyID}, "ValidationException", null("replicaRegion")},
		{"ReplicateKey", &regions.ReplicateKeyInput{KeyID: key.KeyID, ReplicaRegion: "us-east-2"}, "AlreadyExistsException", "*"},
		{"ReplicateKey", &regions.ReplicateKeyInput{KeyID: key.KeyID, ReplicaRegion: "eu-west-1"}, "UnsupportedOperationException", "Region us-east-2 does not replicate keys."},
		{"UpdatePrimaryRegion", &regions.UpdatePrimaryRegionInput{KeyID: other.KeyID, PrimaryRegion: "eu-west-1"}, "UnsupportedOperationException", other.Arn + " is not a multi-region primary key."},
		{"UpdatePrimaryRegion", &regions.UpdatePrimaryRegionInput{KeyID: key.KeyID}, "ValidationException", null("primaryRegion")},
		{"UpdatePrimaryRegion", &regions.UpdatePrimaryRegionInput{KeyID: key.KeyID, PrimaryRegion: "us-east-2"}, "UnsupportedOperationException", key.Arn + " is the primary key already."},
		{"UpdatePrimaryRegion", &regions.UpdatePrimaryRegionInput{KeyID: key.KeyID, PrimaryRegion: "eu-west-1"}, "NotFoundException", "Key '" + strings.Replace(key.Arn, "us-east-2", "eu-west-1", 1) + "' does not exist"},
	} {
		before := f.Audit.Head().Seq
		_, err := regionstest.Do(t.Context(), f.Region, f.Admin, c.op, c.in)
		what := fmt.Sprintf("case %d, %s", i, c.op)
		if c.text == "*" {
			if got := regions.AsError(err); got.Code != c.code {
				t.Errorf("%s: %v, want %s", what, err, c.code)
			}
		} else {
			wantError(t, what, err, c.code, c.text)
		}
		// A refused call has one record, and it says so.
		after := f.Audit.Head().Seq
		answers[after] = [2]string{c.op, c.code}
		if n := after - before; n != 1 && (n != 2 || !late[c.op]) {
			t.Errorf("%s: %d records", what, n)
		}
	}
	for _, rec := range f.Records(t) {
		if want, refused := answers[rec.Seq]; refused && (rec.Event.EventName != want[0] || rec.Event.ErrorCode != want[1]) {
			t.Errorf("record %d is of %s, %s, want %v", rec.Seq, rec.Event.EventName, rec.Event.ErrorCode, want)
		}
	}
}

func flipByte(b []byte, at int) []byte {
	out := bytes.Clone(b)
	out[at] ^= 1
	return out
}

const (
	noCiphertextKey = "The ciphertext refers to a customer master key that does not exist, does not exist in this region, " +
		"or you are not allowed to access."
	lockedOut = "The new key policy will not allow you to update the key policy in the future."
)

// Who is no administrator, or of another account, is refused every operation, by name.
func TestDenied(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, true)
	blob := f.Encrypt(t, key.KeyID, []byte("x"))
	regionstest.Must[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: "alias/a", TargetKeyID: key.KeyID})
	bob := regionstest.Caller(regionstest.Account, "bob", bobKey)
	stranger := regionstest.Caller("999988887777", "eve", aliceKey, policy.Administrator)
	text := func(c regions.Caller, action, resource string) string {
		return "User: " + c.ARN + " is not authorized to perform: kms:" + action + " on resource: " + resource +
			" because no identity-based policy allows the kms:" + action + " action"
	}
	for _, c := range []struct {
		op, action string
		in         any
		account    bool // not on a key
	}{
		{"CreateKey", "CreateKey", &regions.CreateKeyInput{}, true},
		{"ListKeys", "ListKeys", &regions.ListKeysInput{}, true},
		{"ListAliases", "ListAliases", &regions.ListAliasesInput{}, true},
		{"GenerateRandom", "GenerateRandom", &regions.GenerateRandomInput{NumberOfBytes: ptr(8)}, true},
		{"DescribeKey", "DescribeKey", &regions.DescribeKeyInput{KeyID: key.Arn}, false},
		{"GetKeyPolicy", "GetKeyPolicy", &regions.GetKeyPolicyInput{KeyID: key.Arn}, false},
		{"Encrypt", "Encrypt", &regions.EncryptInput{KeyID: key.Arn, Plaintext: []byte("x")}, false},
		{"Decrypt", "Decrypt", &regions.DecryptInput{KeyID: key.Arn, CiphertextBlob: blob}, false},
		{"GenerateDataKey", "GenerateDataKey", &regions.GenerateDataKeyInput{KeyID: key.Arn, KeySpec: "AES_256"}, false},
		{"DisableKey", "DisableKey", &regions.KeyInput{KeyID: key.Arn}, false},
		{"EnableKey", "EnableKey", &regions.KeyInput{KeyID: key.Arn}, false},
		{"ScheduleKeyDeletion", "ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: key.Arn}, false},
		{"CancelKeyDeletion", "CancelKeyDeletion", &regions.KeyInput{KeyID: key.Arn}, false},
		{"CreateAlias", "CreateAlias", &regions.AliasInput{AliasName: "alias/b", TargetKeyID: key.Arn}, false},
		{"UpdateAlias", "UpdateAlias", &regions.AliasInput{AliasName: "alias/a", TargetKeyID: key.Arn}, false},
		{"ReplicateKey", "ReplicateKey", &regions.ReplicateKeyInput{KeyID: key.Arn, ReplicaRegion: "eu-west-1"}, false},
		{"UpdatePrimaryRegion", "UpdatePrimaryRegion", &regions.UpdatePrimaryRegionInput{KeyID: key.Arn, PrimaryRegion: "eu-west-1"}, false},
	} {
		resource := key.Arn
		if c.account {
			resource = "*"
		}
		_, err := regionstest.Do(t.Context(), f.Region, bob, c.op, c.in)
		wantError(t, c.op+" by bob", err, "AccessDeniedException", text(bob, c.action, resource))
		if !c.account {
			_, err = regionstest.Do(t.Context(), f.Region, stranger, c.op, c.in)
			wantError(t, c.op+" by eve", err, "AccessDeniedException", "User: "+stranger.ARN+" is not authorized to perform: kms:"+c.action+
				" on resource: "+resource+" because the resource does not exist in this Region, no resource-based policies allow "+
				"access, or a resource-based policy explicitly denies access")
		}
	}
	_, err := regionstest.Do(t.Context(), f.Region, bob, "ReEncrypt", &regions.ReEncryptInput{CiphertextBlob: blob, DestinationKeyID: key.Arn})
	wantError(t, "ReEncrypt", err, "AccessDeniedException", noCiphertextKey)
	_, err = regionstest.Do(t.Context(), f.Region, bob, "ReEncrypt", &regions.ReEncryptInput{
		CiphertextBlob: blob, SourceKeyID: key.Arn, DestinationKeyID: key.Arn,
	})
	wantError(t, "ReEncrypt", err, "AccessDeniedException", text(bob, "ReEncryptFrom", key.Arn))
	_, err = regionstest.Do(t.Context(), f.Region, bob, "DeleteAlias", &regions.DeleteAliasInput{AliasName: "alias/a"})
	wantError(t, "DeleteAlias", err, "AccessDeniedException", text(bob, "DeleteAlias", key.Arn))
	// To another account a key that exists and one that doesn't look alike.
	_, err = regionstest.Do(t.Context(), f.Region, stranger, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
	wantError(t, "Decrypt", err, "AccessDeniedException", noCiphertextKey)
	_, err = regionstest.Do(t.Context(), f.Region, stranger, "DescribeKey", &regions.DescribeKeyInput{KeyID: key.KeyID})
	wantError(t, "DescribeKey", err, "NotFoundException",
		"Key 'arn:aws:kms:us-east-2:999988887777:key/"+key.KeyID+"' does not exist")
}
