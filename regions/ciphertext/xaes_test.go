package ciphertext

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"io"
	"testing"
	"time"

	"pgregory.net/rapid"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/softhsm/softhsmtest"
)

// softwareSeal is XAES-256-GCM by its specification, independent of any token: the model for the tests below.
func softwareSeal(key, nonce, plaintext, aad []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	k1 := make([]byte, 16)
	block.Encrypt(k1, k1)
	var msb byte
	for i := 15; i >= 0; i-- {
		msb, k1[i] = k1[i]>>7, k1[i]<<1|msb
	}
	k1[15] ^= msb * 0x87
	var kx []byte
	for i := byte(1); i <= 2; i++ {
		m := append([]byte{0, i, 'X', 0}, nonce[:12]...)
		for j := range m {
			m[j] ^= k1[j]
		}
		block.Encrypt(m, m)
		kx = append(kx, m...)
	}
	block, err = aes.NewCipher(kx)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return gcm.Seal(nil, nonce[12:], plaintext, aad)
}

// c2sp are the vectors that https://c2sp.org/XAES-256-GCM publishes. Both have the same nonce and plaintext.
func c2sp() []struct {
	key       []byte
	aad, want string
} {
	return []struct {
		key       []byte
		aad, want string
	}{
		{bytes.Repeat([]byte{1}, 32), "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{bytes.Repeat([]byte{3}, 32), "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	}
}

const c2spNonce, c2spPlaintext = "ABCDEFGHIJKLMNOPQRSTUVWX", "XAES-256-GCM"

func TestVectorsInSoftware(t *testing.T) {
	t.Parallel()
	for _, v := range c2sp() {
		got := softwareSeal(v.key, []byte(c2spNonce), []byte(c2spPlaintext), []byte(v.aad)) //nolint:gosec // the vector's nonce
		if got := hex.EncodeToString(got); got != v.want {
			t.Errorf("got %s, want %s", got, v.want)
		}
	}
}

// imported puts known material on the token as a working copy.
func imported(t testing.TB, token hsmbackend.Token, key []byte) KeyHandle {
	t.Helper()
	return handle(hsmtest.Import(t, token, hsmbackend.AES256, key, hsmtest.WorkingCopy(token)), 0x3f)
}

// fixedSealer takes its nonces from the string: 12 bytes for a new derived key, 12 for each message.
func fixedSealer(t testing.TB, token Token, nonces string) *Sealer {
	t.Helper()
	s, err := New(token, bytes.NewReader([]byte(nonces)), time.Now, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestVectorsOnToken passes the vectors through the Sealer's choice of nonces and keys on a real token. A token takes no
// empty AAD, so of the vector that has one only the ciphertext, which no AAD changes, can be compared.
func TestVectorsOnToken(t *testing.T) {
	t.Parallel()
	token := softhsmtest.Open(t)
	for _, v := range c2sp() {
		s := fixedSealer(t, token, c2spNonce)
		key := imported(t, token, v.key)
		aad, length := []byte(v.aad), len(v.want)/2
		if len(aad) == 0 {
			aad, length = []byte("some"), len(c2spPlaintext)
		}
		h, _ := newHeader(key.KeyID, key.MaterialID)
		err := s.withDerived(t.Context(), derivedID{material: h.material(), usage: encrypting}, key.Ref, func(d *derived) error {
			var iv [12]byte
			if _, err := io.ReadFull(s.random, iv[:]); err != nil {
				return err
			}
			got, _, err := token.SealGCM(t.Context(), d.ref, iv, []byte(c2spPlaintext), aad)
			if err == nil && hex.EncodeToString(got[:length]) != v.want[:2*length] {
				t.Errorf("got %x, want %s", got, v.want)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// goldenBlobs are blobs of version 1. They must open for ever: never edit one, only add.
func goldenBlobs() []struct {
	key       []byte
	keyID     string
	context   map[string]string
	plaintext string
	blob      string
} {
	return []struct {
		key       []byte
		keyID     string
		context   map[string]string
		plaintext string
		blob      string
	}{
		{
			bytes.Repeat([]byte{1}, 32), testMRK, nil, "XAES-256-GCM",
			"010101" + "000102030405060708090a0b0c0d0e0f" + "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f" + "4142434445464748494a4b4c4d4e4f505152535455565758" + "ce546ef63c9cc60765923609bd36eb817cf560499608b47d01130148",
		},
		{
			bytes.Repeat([]byte{3}, 32), testUUID,
			map[string]string{"purpose": "golden", "äöü": "\U0001F600", "": ""},
			"",
			"010102" + "000102030405060708090a0b0c0d0e0f" + "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f" + "4142434445464748494a4b4c4d4e4f505152535455565758" + "9658169ca60ac200fc325237ea270c6d",
		},
	}
}

func TestGoldenBlobs(t *testing.T) {
	t.Parallel()
	token := softhsmtest.Open(t)
	for _, g := range goldenBlobs() {
		key := KeyHandle{
			KeyID: g.keyID, MaterialID: testMaterial,
			Ref: hsmtest.Import(t, token, hsmbackend.AES256, g.key, hsmtest.WorkingCopy(token)),
		}
		s := fixedSealer(t, token, c2spNonce)
		raw := mustSeal(t, s, key, g.context, []byte(g.plaintext))
		if hex.EncodeToString(raw) != g.blob {
			t.Errorf("sealed %x, want %s", raw, g.blob)
		}
		want, err := hex.DecodeString(g.blob)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := open(t, s, key, want, g.context); err != nil || string(got) != g.plaintext {
			t.Errorf("opened %q, %v", got, err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestAgreesWithSoftware compares blobs with the model, for random keys, contexts and plaintexts.
func TestAgreesWithSoftware(t *testing.T) {
	t.Parallel()
	token := softhsmtest.Open(t)
	material := make([]byte, 32)
	if _, err := rand.Read(material); err != nil {
		t.Fatal(err)
	}
	key := imported(t, token, material)
	s := newSealer(t, token, time.Now, Limits{Messages: 3})
	rapid.Check(t, func(rt *rapid.T) {
		context := rapid.MapOfN(rapid.StringN(0, 6, 24), rapid.StringN(0, 6, 24), 0, 4).Draw(rt, "context")
		plaintext := rapid.SliceOfN(rapid.Byte(), 0, MaxPlaintext).Draw(rt, "plaintext")
		b, err := Parse(mustSeal(t, s, key, context, plaintext))
		if err != nil {
			rt.Fatal(err)
		}
		canonical, err := Canonical(context)
		if err != nil {
			rt.Fatal(err)
		}
		aad := append([]byte("antipode/aad/1\x00\x33"), b.header[:]...)
		if want := softwareSeal(material, b.nonce[:], plaintext, append(aad, canonical...)); !bytes.Equal(b.sealed, want) {
			rt.Fatalf("sealed %x, want %x", b.sealed, want)
		}
	})
}
