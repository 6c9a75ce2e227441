package p11

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"
)

// unpadOAEP takes what crypto/rsa encrypts, of every length, and nothing with a byte of it changed.
func TestUnpadOAEP(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
		most := key.Size() - 2*hash.Size() - 2
		for _, n := range []int{0, 1, 2, most - 1, most} {
			plaintext := bytes.Repeat([]byte{1}, n) // like the byte that ends the padding
			sealed, err := rsa.EncryptOAEP(hash.New(), rand.Reader, &key.PublicKey, plaintext, nil)
			if err != nil {
				t.Fatal(err)
			}
			em := new(big.Int).Exp(new(big.Int).SetBytes(sealed), key.D, key.N).FillBytes(make([]byte, key.Size()))
			if got, good := unpadOAEP(hash, bytes.Clone(em)); !good || !bytes.Equal(got, plaintext) {
				t.Errorf("%v, %d bytes: %x, %v", hash, n, got, good)
			}
			for i := range em {
				bad := bytes.Clone(em)
				bad[i] ^= 0x80
				got, good := unpadOAEP(hash, bad)
				if want, same := goUnpads(hash, key, bad); good != same || !bytes.Equal(got, want) {
					t.Errorf("%v, %d bytes, byte %d changed: %v, crypto/rsa says %v", hash, n, i, good, same)
				}
			}
		}
		labelled, err := rsa.EncryptOAEP(hash.New(), rand.Reader, &key.PublicKey, []byte("x"), []byte("label"))
		if err != nil {
			t.Fatal(err)
		}
		em := new(big.Int).Exp(new(big.Int).SetBytes(labelled), key.D, key.N).FillBytes(make([]byte, key.Size()))
		if _, good := unpadOAEP(hash, em); good {
			t.Error("with a label")
		}
		if _, good := unpadOAEP(hash, make([]byte, 2*hash.Size()+1)); good {
			t.Error("too short")
		}
	}
}

// goUnpads has crypto/rsa open the ciphertext of an encoded message.
func goUnpads(hash crypto.Hash, key *rsa.PrivateKey, em []byte) ([]byte, bool) {
	m := new(big.Int).SetBytes(em)
	if m.Cmp(key.N) >= 0 {
		return nil, false
	}
	sealed := m.Exp(m, big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, key.Size()))
	got, err := rsa.DecryptOAEP(hash.New(), nil, key, sealed, nil)
	return got, err == nil
}

func FuzzUnpadOAEP(f *testing.F) {
	f.Add(make([]byte, 256))
	f.Fuzz(func(t *testing.T, em []byte) {
		for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
			if got, good := unpadOAEP(hash, bytes.Clone(em)); good && len(got) > len(em)-2*hash.Size()-2 {
				t.Errorf("%d bytes of %d", len(got), len(em))
			}
		}
	})
}
