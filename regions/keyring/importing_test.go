package keyring_test

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	"errors"
	"testing"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions/keyring"
	"antipode/softhsm/softhsmtest"
)

// wrapped is material as OpenSSL wraps it to a public key.
func wrapped(t testing.TB, public []byte, algorithm string, material []byte) []byte {
	t.Helper()
	return hsmtest.WrapByOpenSSL(t, public, algorithm, material)
}

func random(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

var wrapAlgorithms = []string{
	keyring.WrapOAEPSHA1, keyring.WrapOAEPSHA256, keyring.WrapRSAAESSHA1, keyring.WrapRSAAESSHA256,
}

// Material that OpenSSL has wrapped, by each algorithm to each kind of pair, is the same material in the Region; what is
// altered, of another length or of another pair is refused; and nothing but the Region's keys stays on the token.
func TestImport(t *testing.T) {
	t.Parallel()
	tok := softhsmtest.Connect(t, softhsmtest.New(t))
	r := openRing(t, tok, newHierarchy(t, tok), 4)
	ctx := t.Context()
	base := hsmtest.SessionObjects(t, tok)
	key := keyring.Material{
		Account: "111122223333", KeyID: "1234abcd-12ab-34cd-56ef-1234567890ab", Spec: "SYMMETRIC_DEFAULT",
		Usage: "ENCRYPT_DECRYPT", Origin: "EXTERNAL", Created: 1,
	}
	admit := func(string) error { return nil }
	material := random(t, 32)
	id := softwareID(t, key.KeyID, material)
	for _, spec := range []string{"RSA_2048", "RSA_3072", "RSA_4096"} {
		p, err := r.MakeWrappingPair(ctx, spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, algorithm := range wrapAlgorithms {
			if err := r.CanImport("SYMMETRIC_DEFAULT", spec, algorithm); err != nil {
				t.Error(err)
			}
			blob := wrapped(t, p.Public, algorithm, material)
			m, err := r.Import(ctx, p, algorithm, blob, key, admit)
			if err != nil {
				t.Fatalf("%s to %s: %v", algorithm, spec, err)
			}
			if m.ID != id || m.Storage != keyring.StorageWrapped || len(m.EKT) != 40 {
				t.Errorf("%s to %s: material %s, %d bytes; want %s", algorithm, spec, m.ID, len(m.EKT), id)
			}
			if bytes.Contains(m.EKT, material[:8]) {
				t.Error("the key token shows the material")
			}
			for _, at := range []int{0, len(blob) / 2, len(blob) - 1} {
				bad := bytes.Clone(blob)
				bad[at] ^= 1
				if _, err := r.Import(ctx, p, algorithm, bad, key, admit); !errors.Is(err, keyring.ErrNotOpened) {
					t.Errorf("%s to %s, byte %d altered: %v", algorithm, spec, at, err)
				}
			}
			stop := errors.New("stop")
			if _, err := r.Import(ctx, p, algorithm, blob, key, func(string) error { return stop }); !errors.Is(err, stop) {
				t.Errorf("not admitted: %v", err)
			}
		}
	}
	if n := hsmtest.SessionObjects(t, tok); n != base {
		t.Errorf("%d session objects, there were %d", n, base)
	}
}

// Material of any other length is refused, also by a token that does not tell how long what it unwraps is.
func TestImportLengths(t *testing.T) {
	t.Parallel()
	tok := softhsmtest.Connect(t, softhsmtest.New(t))
	r := openRing(t, tok, newHierarchy(t, tok), 4)
	p, err := r.MakeWrappingPair(t.Context(), "RSA_2048")
	if err != nil {
		t.Fatal(err)
	}
	base := hsmtest.SessionObjects(t, tok)
	key := keyring.Material{Account: "111122223333", KeyID: "k", Spec: "SYMMETRIC_DEFAULT"}
	for _, algorithm := range wrapAlgorithms {
		for _, n := range []int{1, 8, 16, 24, 25, 28, 31, 33, 40, 48, 64} {
			_, err := r.Import(t.Context(), p, algorithm, wrapped(t, p.Public, algorithm, random(t, n)), key, func(string) error { return nil })
			if !errors.Is(err, keyring.ErrMaterialLength) {
				t.Errorf("%s, %d bytes: %v", algorithm, n, err)
			}
		}
	}
	if n := hsmtest.SessionObjects(t, tok); n != base {
		t.Errorf("%d session objects, there were %d", n, base)
	}
}

// softwareID is the material id of an AES-256 key, made without a token.
func softwareID(t testing.TB, keyID string, material []byte) string {
	t.Helper()
	block, err := aes.NewCipher(material)
	if err != nil {
		t.Fatal(err)
	}
	encrypt := func(in []byte) []byte {
		out := make([]byte, 16)
		block.Encrypt(out, in)
		return out
	}
	// K1 of AES-CMAC (NIST SP 800-38B): L doubled in GF(2^128).
	l := encrypt(make([]byte, 16))
	k1, carry := make([]byte, 16), byte(0)
	for i := 15; i >= 0; i-- {
		k1[i], carry = l[i]<<1|carry, l[i]>>7
	}
	k1[15] ^= 0x87 * carry
	var tag []byte
	for n := byte(1); n <= 2; n++ {
		m := make([]byte, 16)
		copy(m, []byte{0, n, 'I', 0})
		for i := range m {
			m[i] ^= k1[i]
		}
		tag = append(tag, encrypt(m)...)
	}
	return keyring.MaterialID(keyID, "SYMMETRIC_DEFAULT", tag)
}
