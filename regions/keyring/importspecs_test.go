package keyring_test

import (
	"errors"
	"testing"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions/keyring"
	"antipode/regions/keyspec"
	"antipode/softhsm/softhsmtest"
)

// importSpecs are the key specs beside the symmetric one, with a usage, and how OpenSSL makes their material.
var importSpecs = []struct{ spec, usage, kind, parameter string }{
	{"RSA_2048", keyspec.SignVerify, "RSA", "2048"},
	{"RSA_3072", keyspec.EncryptDecrypt, "RSA", "3072"},
	{"RSA_4096", keyspec.SignVerify, "RSA", "4096"},
	{"ECC_NIST_P256", keyspec.SignVerify, "EC", "P-256"},
	{"ECC_NIST_P256", keyspec.KeyAgreement, "EC", "P-256"},
	{"ECC_NIST_P384", keyspec.KeyAgreement, "EC", "P-384"},
	{"ECC_NIST_P521", keyspec.SignVerify, "EC", "P-521"},
	{"ECC_NIST_P521", keyspec.KeyAgreement, "EC", "P-521"},
	{"ECC_SECG_P256K1", keyspec.SignVerify, "EC", "secp256k1"},
	{"HMAC_224", keyspec.GenerateVerifyMAC, "", "28"},
	{"HMAC_256", keyspec.GenerateVerifyMAC, "", "32"},
	{"HMAC_384", keyspec.GenerateVerifyMAC, "", "48"},
	{"HMAC_512", keyspec.GenerateVerifyMAC, "", "64"},
}

// Private keys that OpenSSL makes, and HMAC keys, come in by each wrapping algorithm that AWS has for them, and are the keys
// that they were; what AWS does not have is refused, and so is a key of another spec. Nothing stays on the token.
func TestImportEverySpec(t *testing.T) {
	t.Parallel()
	tok := softhsmtest.Connect(t, softhsmtest.New(t))
	r := openRing(t, tok, newHierarchy(t, tok), 4)
	p, err := r.MakeWrappingPair(t.Context(), "RSA_3072")
	if err != nil {
		t.Fatal(err)
	}
	base := hsmtest.SessionObjects(t, tok)
	admit := func(string) error { return nil }
	for _, c := range importSpecs {
		key := keyring.Material{Account: "111122223333", KeyID: "k", Spec: c.spec, Usage: c.usage, Origin: "EXTERNAL", Created: 1}
		sizes := map[string]int{"HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64}
		material, public := random(t, max(sizes[c.spec], 1)), []byte(nil)
		if c.kind != "" {
			material, public = hsmtest.PrivateByOpenSSL(t, c.kind, c.parameter)
		}
		id := ""
		for _, algorithm := range wrapAlgorithms {
			if err := r.CanImport(c.spec, "RSA_3072", algorithm); err != nil {
				if c.kind != "RSA" || !errors.Is(err, keyring.ErrWrapping) {
					t.Errorf("%s by %s: %v", c.spec, algorithm, err)
				}
				continue
			}
			m, err := r.Import(t.Context(), p, algorithm, wrapped(t, p.Public, algorithm, material), key, admit)
			if err != nil {
				t.Errorf("%s for %s by %s: %v", c.spec, c.usage, algorithm, err)
				continue
			}
			if public != nil {
				id = keyring.MaterialID(key.KeyID, key.Spec, public)
			}
			if id == "" {
				id = m.ID // of a MAC key: the same by each algorithm
			}
			least, most, err := keyspec.WrappedSize(c.spec)
			if m.ID != id || string(m.Public) != string(public) || err != nil || len(m.EKT) < least || len(m.EKT) > most {
				t.Errorf("%s by %s: id %s, want %s; %d bytes", c.spec, algorithm, m.ID, id, len(m.EKT))
			}
			bad := wrapped(t, p.Public, algorithm, material)
			bad[len(bad)-1] ^= 1
			if _, err := r.Import(t.Context(), p, algorithm, bad, key, admit); !errors.Is(err, keyring.ErrNotOpened) {
				t.Errorf("%s by %s, altered: %v", c.spec, algorithm, err)
			}
			// Half of it, or what is none at all.
			cut := wrapped(t, p.Public, algorithm, material[:len(material)/2])
			if _, err := r.Import(t.Context(), p, algorithm, cut, key, admit); !errors.Is(err, keyring.ErrNotOpened) && !errors.Is(err, keyring.ErrMaterialLength) {
				t.Errorf("%s by %s, cut: %v", c.spec, algorithm, err)
			}
		}
	}
	if err := r.CanImport("ECC_NIST_P521", "RSA_2048", keyring.WrapOAEPSHA1); !errors.Is(err, keyring.ErrWrapping) {
		t.Errorf("P-521 by OAEP to RSA_2048: %v", err)
	}
	if n := hsmtest.SessionObjects(t, tok); n != base {
		t.Errorf("%d session objects, there were %d", n, base)
	}
}
