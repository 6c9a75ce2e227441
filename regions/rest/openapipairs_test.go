package rest_test

import (
	"encoding/base64"
	"testing"

	"antipode/regions"
	"antipode/regions/regionstest"
)

// pairExamples adds the operations on key pairs and MAC keys.
func pairExamples(out map[string]example) {
	const signing, maccing = `"Message":"eA==","SigningAlgorithm":"ECDSA_SHA_256"`, `"Message":"eA==","MacAlgorithm":"HMAC_SHA_256"`
	signer := example{spec: "ECC_NIST_P256", usage: "SIGN_VERIFY", body: `{` + signing + `}`}
	macs := example{spec: "HMAC_256", usage: "GENERATE_VERIFY_MAC", body: `{` + maccing + `}`}
	out["Sign"], out["GenerateMac"] = signer, macs
	out["GetPublicKey"] = example{spec: signer.spec, usage: signer.usage}
	signer.body = `{` + signing + `,"Signature":"{made}"}`
	signer.before = func(t testing.TB, f *front, key regions.KeyMetadata) string {
		t.Helper()
		return base64.StdEncoding.EncodeToString(regionstest.Must[regions.SignOutput](t, f.Fixture, "Sign", &regions.SignInput{
			KeyID: key.KeyID, Message: []byte("x"), SigningAlgorithm: "ECDSA_SHA_256",
		}).Signature)
	}
	macs.body = `{` + maccing + `,"Mac":"{made}"}`
	macs.before = func(t testing.TB, f *front, key regions.KeyMetadata) string {
		t.Helper()
		return base64.StdEncoding.EncodeToString(regionstest.Must[regions.GenerateMacOutput](t, f.Fixture, "GenerateMac", &regions.GenerateMacInput{
			KeyID: key.KeyID, Message: []byte("x"), MacAlgorithm: "HMAC_SHA_256",
		}).Mac)
	}
	out["Verify"], out["VerifyMac"] = signer, macs
	out["DeriveSharedSecret"] = example{
		spec: "ECC_NIST_P256", usage: "KEY_AGREEMENT", body: `{"KeyAgreementAlgorithm":"ECDH","PublicKey":"{made}"}`,
		before: func(t testing.TB, f *front, key regions.KeyMetadata) string {
			t.Helper()
			return base64.StdEncoding.EncodeToString(regionstest.Must[regions.GetPublicKeyOutput](t, f.Fixture, "GetPublicKey",
				&regions.GetPublicKeyInput{KeyID: key.KeyID}).PublicKey)
		},
	}
	out["Encapsulate"] = example{refused: true, body: `{"EncapsulationAlgorithm":"ML_KEM"}`} // SoftHSM2 has no ML-KEM
	out["Decapsulate"] = example{refused: true, body: `{"EncapsulationAlgorithm":"ML_KEM","SharedSecretCiphertextBlob":"eA=="}`}
	out["GenerateDataKeyPair"] = example{body: `{"KeyPairSpec":"ECC_NIST_P256"}`}
	out["GenerateDataKeyPairWithoutPlaintext"] = out["GenerateDataKeyPair"]
}
