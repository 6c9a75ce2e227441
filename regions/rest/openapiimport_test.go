package rest_test

import (
	"encoding/base64"
	"testing"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/regionstest"
)

// importExamples adds the operations on imported key material.
func importExamples(out map[string]example) {
	const wrapping = "RSAES_OAEP_SHA_1"
	material := func(t testing.TB, f *front, key regions.KeyMetadata) string {
		t.Helper()
		p := regionstest.Must[regions.GetParametersForImportOutput](t, f.Fixture, "GetParametersForImport",
			&regions.GetParametersForImportInput{KeyID: key.KeyID, WrappingAlgorithm: wrapping, WrappingKeySpec: "RSA_2048"})
		wrapped := hsmtest.WrapByOpenSSL(t, p.PublicKey, wrapping, []byte("0123456789abcdef0123456789abcdef"))
		return `"ImportToken":"` + base64.StdEncoding.EncodeToString(p.ImportToken) +
			`","EncryptedKeyMaterial":"` + base64.StdEncoding.EncodeToString(wrapped) + `"`
	}
	out["GetParametersForImport"] = example{
		origin: "EXTERNAL", body: `{"WrappingAlgorithm":"` + wrapping + `","WrappingKeySpec":"RSA_2048"}`,
	}
	out["ImportKeyMaterial"] = example{
		origin: "EXTERNAL", before: material,
		body: `{{made},"ExpirationModel":"KEY_MATERIAL_DOES_NOT_EXPIRE","KeyMaterialDescription":"ours"}`,
	}
	out["DeleteImportedKeyMaterial"] = example{origin: "EXTERNAL"} // there is none: it has no effect
}
