package awsjson_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// sdkKeyPairs calls the operations on key pairs and MAC keys by the official client, and checks in software what it got.
func sdkKeyPairs(t *testing.T, r *recorder, seen map[string]bool, c *kms.Client) {
	t.Helper()
	create := func(spec types.KeySpec, usage types.KeyUsageType) *string {
		return sdkCall(t, r, seen, "CreateKey", c.CreateKey, &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage}).KeyMetadata.KeyId
	}
	id := create(types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify)
	described := sdkCall(t, r, seen, "DescribeKey", c.DescribeKey, &kms.DescribeKeyInput{KeyId: id}).KeyMetadata
	if len(described.SigningAlgorithms) != 1 || described.SigningAlgorithms[0] != types.SigningAlgorithmSpecEcdsaSha256 {
		t.Errorf("%+v", described)
	}
	message := []byte("a message")
	digest := sha256.Sum256(message)
	signed := sdkCall(t, r, seen, "Sign", c.Sign, &kms.SignInput{
		KeyId: id, Message: digest[:], MessageType: types.MessageTypeDigest, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
	})
	public := sdkCall(t, r, seen, "GetPublicKey", c.GetPublicKey, &kms.GetPublicKeyInput{KeyId: id})
	parsed, err := x509.ParsePKIXPublicKey(public.PublicKey)
	if key, is := parsed.(*ecdsa.PublicKey); err != nil || !is || !ecdsa.VerifyASN1(key, digest[:], signed.Signature) {
		t.Errorf("crypto/ecdsa does not verify: %v", err)
	}
	if out := sdkCall(t, r, seen, "Verify", c.Verify, &kms.VerifyInput{
		KeyId: id, Message: message, Signature: signed.Signature, SigningAlgorithm: types.SigningAlgorithmSpecEcdsaSha256,
	}); !out.SignatureValid {
		t.Error("the signature is not valid")
	}
	id = create(types.KeySpecHmac384, types.KeyUsageTypeGenerateVerifyMac)
	mac := sdkCall(t, r, seen, "GenerateMac", c.GenerateMac, &kms.GenerateMacInput{KeyId: id, Message: message, MacAlgorithm: types.MacAlgorithmSpecHmacSha384})
	if out := sdkCall(t, r, seen, "VerifyMac", c.VerifyMac, &kms.VerifyMacInput{
		KeyId: id, Message: message, Mac: mac.Mac, MacAlgorithm: types.MacAlgorithmSpecHmacSha384,
	}); !out.MacValid || len(mac.Mac) != 48 {
		t.Error("the MAC is not valid")
	}
	sdkAgree(t, r, seen, c, create(types.KeySpecEccNistP521, types.KeyUsageTypeKeyAgreement))
	id = create(types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt)
	pair := sdkCall(t, r, seen, "GenerateDataKeyPair", c.GenerateDataKeyPair, &kms.GenerateDataKeyPairInput{
		KeyId: id, KeyPairSpec: types.DataKeyPairSpecEccNistP256,
	})
	private, err := x509.ParsePKCS8PrivateKey(pair.PrivateKeyPlaintext)
	if err != nil {
		t.Fatal(err)
	}
	if der, err := x509.MarshalPKIXPublicKey(private.(*ecdsa.PrivateKey).Public()); err != nil || !bytes.Equal(der, pair.PublicKey) {
		t.Errorf("the private key has another public key: %v", err)
	}
	without := sdkCall(t, r, seen, "GenerateDataKeyPairWithoutPlaintext", c.GenerateDataKeyPairWithoutPlaintext,
		&kms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: id, KeyPairSpec: types.DataKeyPairSpecEccNistP384})
	opened := sdkCall(t, r, seen, "Decrypt", c.Decrypt, &kms.DecryptInput{CiphertextBlob: without.PrivateKeyCiphertextBlob})
	if _, err := x509.ParsePKCS8PrivateKey(opened.Plaintext); err != nil {
		t.Error(err)
	}
}

func sdkAgree(t *testing.T, r *recorder, seen map[string]bool, c *kms.Client, id *string) {
	t.Helper()
	own, err := ecdh.P521().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(own.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	public := sdkCall(t, r, seen, "GetPublicKey", c.GetPublicKey, &kms.GetPublicKeyInput{KeyId: id})
	parsed, err := x509.ParsePKIXPublicKey(public.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := parsed.(*ecdsa.PublicKey).ECDH()
	if err != nil {
		t.Fatal(err)
	}
	want, err := own.ECDH(theirs)
	if err != nil {
		t.Fatal(err)
	}
	out := sdkCall(t, r, seen, "DeriveSharedSecret", c.DeriveSharedSecret, &kms.DeriveSharedSecretInput{
		KeyId: id, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, PublicKey: der,
	})
	if !bytes.Equal(out.SharedSecret, want) {
		t.Error("another shared secret")
	}
}
