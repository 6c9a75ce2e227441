package regions_test

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"testing"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/regionstest"
)

// importKind is a kind of key whose material comes from outside, and proves by use that it is what was brought.
type importKind struct {
	spec, usage, kind, parameter string
	prove                        func(t *testing.T, f *regionstest.Fixture, keyID string, public, material []byte)
}

var importKinds = []importKind{
	{"RSA_2048", "SIGN_VERIFY", "RSA", "2048", func(t *testing.T, f *regionstest.Fixture, keyID string, public, _ []byte) {
		t.Helper()
		out := regionstest.Must[regions.SignOutput](t, f, "Sign", &regions.SignInput{
			KeyID: keyID, Message: []byte("m"), SigningAlgorithm: "RSASSA_PKCS1_V1_5_SHA_256",
		})
		digest := sha256.Sum256([]byte("m"))
		if err := rsa.VerifyPKCS1v15(parsePublic[*rsa.PublicKey](t, public), 5, digest[:], out.Signature); err != nil {
			t.Error(err)
		}
	}},
	{"ECC_NIST_P256", "KEY_AGREEMENT", "EC", "P-256", func(t *testing.T, f *regionstest.Fixture, keyID string, public, _ []byte) {
		t.Helper()
		own, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(own.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := parsePublic[*ecdsa.PublicKey](t, public).ECDH()
		if err != nil {
			t.Fatal(err)
		}
		want, err := own.ECDH(theirs)
		out := regionstest.Must[regions.DeriveSharedSecretOutput](t, f, "DeriveSharedSecret", &regions.DeriveSharedSecretInput{
			KeyID: keyID, KeyAgreementAlgorithm: "ECDH", PublicKey: der,
		})
		if err != nil || string(out.SharedSecret) != string(want) {
			t.Errorf("another shared secret, %v", err)
		}
	}},
	{"HMAC_256", "GENERATE_VERIFY_MAC", "", "", func(t *testing.T, f *regionstest.Fixture, keyID string, _, material []byte) {
		t.Helper()
		out := regionstest.Must[regions.GenerateMacOutput](t, f, "GenerateMac", &regions.GenerateMacInput{
			KeyID: keyID, Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256",
		})
		h := hmac.New(sha256.New, material)
		h.Write([]byte("m"))
		if !hmac.Equal(out.Mac, h.Sum(nil)) {
			t.Error("another MAC than the software's")
		}
	}},
}

func parsePublic[T any](t *testing.T, der []byte) T {
	t.Helper()
	parsed, err := x509.ParsePKIXPublicKey(der)
	key, is := parsed.(T)
	if err != nil || !is {
		t.Fatalf("a %T, %v", parsed, err)
	}
	return key
}

func (k importKind) material(t testing.TB) (material, public []byte) {
	t.Helper()
	if k.kind == "" {
		return newMaterial(t), nil
	}
	return hsmtest.PrivateByOpenSSL(t, k.kind, k.parameter)
}

// Key pairs and MAC keys whose material OpenSSL made: used, deleted, brought again, and never another one.
func TestImportKinds(t *testing.T) {
	t.Parallel()
	const algorithm = "RSA_AES_KEY_WRAP_SHA_256"
	for _, k := range importKinds {
		t.Run(k.spec, func(t *testing.T) {
			t.Parallel()
			f := regionstest.Open(t, "us-east-2")
			base := hsmtest.SessionObjects(t, f.Token)
			key := regionstest.Must[regions.CreateKeyOutput](t, f, "CreateKey", &regions.CreateKeyInput{
				Origin: "EXTERNAL", KeySpec: k.spec, KeyUsage: k.usage,
			}).KeyMetadata
			_, err := regionstest.Call[regions.GetParametersForImportOutput](t, f, "GetParametersForImport",
				&regions.GetParametersForImportInput{KeyID: key.KeyID, WrappingKeySpec: "RSA_2048", WrappingAlgorithm: "RSAES_OAEP_SHA_256"})
			if k.kind == "RSA" {
				wantError(t, "OAEP", err, "UnsupportedOperationException", "The wrapping algorithm RSAES_OAEP_SHA_256 with a wrapping key of "+
					"spec RSA_2048 is not supported for key material of key spec RSA_2048.")
			} else if err != nil {
				t.Error(err)
			}
			material, public := k.material(t)
			in := importInput(t, f, key.KeyID, algorithm, material)
			in.ImportType = "NEW_KEY_MATERIAL"
			_, err = regionstest.Call[imported](t, f, "ImportKeyMaterial", in)
			wantError(t, "import type", err, "ValidationException", "ImportType, KeyMaterialDescription and KeyMaterialId can only be "+
				"specified for symmetric encryption keys.")
			in.ImportType = ""
			if out := regionstest.Must[imported](t, f, "ImportKeyMaterial", in); out.KeyID != key.Arn || out.KeyMaterialID != "" {
				t.Errorf("%+v", out)
			}
			if n := hsmtest.SessionObjects(t, f.Token); n != base {
				t.Errorf("ImportKeyMaterial left %d objects", n-base)
			}
			if d := describe(t, f, key.KeyID); d.KeyState != regions.StateEnabled || d.ExpirationModel != "KEY_MATERIAL_DOES_NOT_EXPIRE" {
				t.Errorf("%+v", d)
			}
			if public != nil {
				out := regionstest.Must[regions.GetPublicKeyOutput](t, f, "GetPublicKey", &regions.GetPublicKeyInput{KeyID: key.KeyID})
				if string(out.PublicKey) != string(public) {
					t.Errorf("public key %x, OpenSSL's is %x", out.PublicKey, public)
				}
			}
			k.prove(t, f, key.KeyID, public, material)
			regionstest.Must[unimported](t, f, "DeleteImportedKeyMaterial", &regions.DeleteImportedKeyMaterialInput{KeyID: key.KeyID})
			if n := hsmtest.SessionObjects(t, f.Token); n != base {
				t.Errorf("DeleteImportedKeyMaterial left %d objects", n-base)
			}
			other, _ := k.material(t)
			_, err = regionstest.Call[imported](t, f, "ImportKeyMaterial", importInput(t, f, key.KeyID, algorithm, other))
			wantError(t, "other material", err, "IncorrectKeyMaterialException", incorrectMaterial)
			if d := describe(t, f, key.KeyID); d.KeyState != regions.StatePendingImport {
				t.Errorf("without its material: %+v", d)
			}
			f.Reopen(t)
			regionstest.Must[imported](t, f, "ImportKeyMaterial", in)
			k.prove(t, f, key.KeyID, public, material)
		})
	}
}

// Where the token can't wrap keys of a spec, none can be imported, and CreateKey says so.
func TestImportOfWhatIsNotWrapped(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	_, err := regionstest.Call[regions.CreateKeyOutput](t, f, "CreateKey", &regions.CreateKeyInput{
		Origin: "EXTERNAL", KeySpec: "ECC_NIST_EDWARDS25519", KeyUsage: "SIGN_VERIFY",
	})
	wantError(t, "Ed25519", err, "UnsupportedOperationException", "Key material of key spec ECC_NIST_EDWARDS25519 can't be imported "+
		"in Region us-east-2: its token cannot wrap Ed25519 keys.")
}
