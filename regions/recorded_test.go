package regions_test

import (
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/regionstest"
)

// The texts of errors that are recorded from AWS, letter for letter; and the texts of ours where what AWS says is not known,
// marked so.
func TestRecordedTexts(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2", regionstest.WithReplicator(&replicator{}))
	const base, unknown = "arn:aws:kms:us-east-2:111122223333:", "mrk-00000000000000000000000000000000"
	key, single := f.CreateKey(t, true), f.CreateKey(t, false)
	off := f.CreateKey(t, false)
	regionstest.Must[struct{}](t, f, "DisableKey", &regions.KeyInput{KeyID: off.KeyID})
	doomed := f.CreateKey(t, false)
	regionstest.Must[regions.ScheduleKeyDeletionOutput](t, f, "ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: doomed.KeyID})
	external := regionstest.Must[regions.CreateKeyOutput](t, f, "CreateKey", &regions.CreateKeyInput{Origin: "EXTERNAL"}).KeyMetadata
	signer := createSpec(t, f, "ECC_NIST_P256", "SIGN_VERIFY", true)
	edwards := createSpec(t, f, "ECC_NIST_EDWARDS25519", "SIGN_VERIFY", false)
	rsa, rsaSigner := createSpec(t, f, "RSA_2048", "ENCRYPT_DECRYPT", false), createSpec(t, f, "RSA_2048", "SIGN_VERIFY", false)
	mac := createSpec(t, f, "HMAC_224", "GENERATE_VERIFY_MAC", false)
	often := f.CreateKey(t, false)
	for range 25 {
		regionstest.Must[regions.RotateKeyOnDemandOutput](t, f, "RotateKeyOnDemand", &regions.KeyInput{KeyID: often.KeyID})
	}
	plain, blob := []byte("x"), f.Encrypt(t, key.KeyID, []byte("x"))
	sign := func(id, algorithm, messageType string, length int) *regions.SignInput {
		return &regions.SignInput{KeyID: id, Message: make([]byte, length), MessageType: messageType, SigningAlgorithm: algorithm}
	}
	for _, c := range []struct {
		op   string
		in   any
		code string
		text string
	}{
		{"GenerateDataKey", &regions.GenerateDataKeyInput{KeyID: key.KeyID, KeySpec: "AES_512"}, "ValidationException", "1 validation error detected: Value 'AES_512' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [AES_256, AES_128]"},
		{"Sign", sign(signer.KeyID, "ECDSA_SHA_256", "", 4097), "ValidationException", "1 validation error detected: Value 'java.nio.HeapByteBuffer' at 'message' failed to satisfy constraint: Member must have length less than or equal to 4096"},
		{"DescribeKey", &regions.DescribeKeyInput{KeyID: unknown}, "NotFoundException", "Key '" + base + "key/" + unknown + "' does not exist"},
		{"DescribeKey", &regions.DescribeKeyInput{KeyID: "x"}, "NotFoundException", "Invalid keyId 'x'"},
		{"Encrypt", &regions.EncryptInput{KeyID: strings.Replace(key.Arn, "us-east-2", "us-west-1", 1), Plaintext: plain}, "NotFoundException", "Invalid arn us-west-1"},
		{"ReplicateKey", &regions.ReplicateKeyInput{KeyID: single.KeyID, ReplicaRegion: "us-west-1"}, "UnsupportedOperationException", single.Arn + " is not a multi-region primary key."},
		{"RotateKeyOnDemand", &regions.KeyInput{KeyID: often.KeyID}, "LimitExceededException", "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this key: " + often.Arn},
		{"RotateKeyOnDemand", &regions.KeyInput{KeyID: off.KeyID}, "DisabledException", off.Arn + " is disabled."},
		{"RotateKeyOnDemand", &regions.KeyInput{KeyID: external.KeyID}, "KMSInvalidStateException", external.Arn + " is pending import."},
		{"Encrypt", &regions.EncryptInput{KeyID: doomed.KeyID, Plaintext: plain}, "KMSInvalidStateException", doomed.Arn + " is pending deletion."},
		{"CancelKeyDeletion", &regions.KeyInput{KeyID: key.KeyID}, "KMSInvalidStateException", key.Arn + " is not pending deletion (or pending replica deletion)."},
		{"EnableKeyRotation", &regions.EnableKeyRotationInput{KeyID: external.KeyID}, "UnsupportedOperationException", external.Arn + " origin is EXTERNAL which is not valid for this operation."},
		{"DeleteImportedKeyMaterial", &regions.DeleteImportedKeyMaterialInput{KeyID: key.KeyID}, "UnsupportedOperationException", key.Arn + " origin is AWS_KMS which is not valid for this operation."},
		{"Encrypt", &regions.EncryptInput{KeyID: signer.KeyID, Plaintext: plain}, "InvalidKeyUsageException", signer.Arn + " key usage is SIGN_VERIFY which is not valid for Encrypt."},
		{"GenerateMac", &regions.GenerateMacInput{KeyID: mac.KeyID, Message: plain, MacAlgorithm: "HMAC_SHA_256"}, "InvalidKeyUsageException", "Algorithm HMAC_SHA_256 is incompatible with key spec HMAC_224."},
		{"Decrypt", &regions.DecryptInput{CiphertextBlob: blob, KeyID: single.KeyID}, "IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation."},
		{"Encrypt", &regions.EncryptInput{KeyID: rsa.KeyID, Plaintext: make([]byte, 191), EncryptionAlgorithm: "RSAES_OAEP_SHA_256"}, "ValidationException", "Algorithm RSAES_OAEP_SHA_256 and key spec RSA_2048 cannot encrypt data larger than 190 bytes."},
		{"Encrypt", &regions.EncryptInput{KeyID: key.KeyID, Plaintext: plain, DryRun: true}, "DryRunOperationException", "The request would have succeeded, but the DryRun option is set."},
		{"Decrypt", &regions.DecryptInput{CiphertextBlob: plain}, "InvalidCiphertextException", ""},
		{"Verify", &regions.VerifyInput{KeyID: signer.KeyID, Message: plain, Signature: plain, SigningAlgorithm: "ECDSA_SHA_256"}, "KMSInvalidSignatureException", ""},
		{"VerifyMac", &regions.VerifyMacInput{KeyID: mac.KeyID, Message: plain, Mac: plain, MacAlgorithm: "HMAC_SHA_224"}, "KMSInvalidMacException", ""},
		{"CreateAlias", &regions.AliasInput{AliasName: "b", TargetKeyID: key.KeyID}, "ValidationException", `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`},
		{"CreateKey", &regions.CreateKeyInput{KeySpec: "RSA_2048", KeyUsage: "KEY_AGREEMENT"}, "ValidationException", "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048"},
		{"CreateKey", &regions.CreateKeyInput{KeySpec: "RSA_2048"}, "ValidationException", "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."},
		{"Decrypt", &regions.DecryptInput{CiphertextBlob: flipByte(blob, 5)}, "AccessDeniedException", noCiphertextKey},

		// A digest is as long as its hash's, in Sign and in Verify.
		{"Sign", sign(signer.KeyID, "ECDSA_SHA_256", "DIGEST", 31), "ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256."},
		{"Sign", sign(rsaSigner.KeyID, "RSASSA_PSS_SHA_512", "DIGEST", 32), "ValidationException", "Digest is invalid length for algorithm RSASSA_PSS_SHA_512."},
		{"Sign", sign(rsaSigner.KeyID, "RSASSA_PKCS1_V1_5_SHA_384", "DIGEST", 49), "ValidationException", "Digest is invalid length for algorithm RSASSA_PKCS1_V1_5_SHA_384."},
		{"Verify", &regions.VerifyInput{KeyID: signer.KeyID, Message: make([]byte, 33), MessageType: "DIGEST", Signature: plain, SigningAlgorithm: "ECDSA_SHA_256"}, "ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256."},
		// ML-DSA and its 64-byte mu; the second text is ours.
		{"Sign", sign(signer.KeyID, "ML_DSA_SHAKE_256", "EXTERNAL_MU", 64), "InvalidKeyUsageException", "Algorithm ML_DSA_SHAKE_256 is incompatible with key spec ECC_NIST_P256."},
		{"Sign", sign(signer.KeyID, "ECDSA_SHA_256", "EXTERNAL_MU", 64), "ValidationException", "MessageType EXTERNAL_MU is not compatible with SigningAlgorithm ECDSA_SHA_256."},
		{"Sign", sign(signer.KeyID, "ECDSA_SHA_256", "MU", 64), "ValidationException", "1 validation error detected: Value 'MU' at 'messageType' failed to satisfy constraint: Member must satisfy enum value set: [RAW, DIGEST, EXTERNAL_MU]"},
		// Ed25519, whose prehashed form SoftHSM2 gets wrong; these texts are ours.
		{"Sign", sign(edwards.KeyID, "ED25519_SHA_512", "DIGEST", 64), "ValidationException", "MessageType DIGEST is not compatible with SigningAlgorithm ED25519_SHA_512."},
		{"Sign", sign(edwards.KeyID, "ED25519_PH_SHA_512", "DIGEST", 64), "UnsupportedOperationException", "Algorithm ED25519_PH_SHA_512 is not supported in Region us-east-2: its token lacks Ed25519ph."},
		{"Verify", &regions.VerifyInput{KeyID: edwards.KeyID, Message: make([]byte, 64), MessageType: "DIGEST", Signature: plain, SigningAlgorithm: "ED25519_PH_SHA_512"}, "UnsupportedOperationException", "Algorithm ED25519_PH_SHA_512 is not supported in Region us-east-2: its token lacks Ed25519ph."},
	} {
		_, err := regionstest.Do(t.Context(), f.Region, f.Admin, c.op, c.in)
		wantError(t, c.op, err, c.code, c.text)
	}
}
