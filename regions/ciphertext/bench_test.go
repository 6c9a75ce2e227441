package ciphertext

import (
	"fmt"
	"testing"
	"time"

	"antipode/hsmbackend"
	"antipode/softhsm/softhsmtest"
)

// BenchmarkCiphertext measures Seal and Open beside the token's own AES-GCM with the same plaintext and AAD, and beside
// what every message would cost without a nonce period.
func BenchmarkCiphertext(b *testing.B) {
	token := softhsmtest.Open(b)
	key := newKey(b, token, 1)
	context := map[string]string{"department": "10103", "purpose": "benchmark"}
	h, _ := newHeader(key.KeyID, key.MaterialID)
	aad, err := h.aad(context)
	if err != nil {
		b.Fatal(err)
	}
	derive := func(usage hsmbackend.Usage) hsmbackend.KeyRef {
		ref, err := token.DeriveXAES(b.Context(), key.Ref, [12]byte{}, hsmbackend.Attributes{
			Usage: usage, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESGCM},
		})
		if err != nil {
			b.Fatal(err)
		}
		return ref
	}
	enc, dec := derive(hsmbackend.UsageEncrypt), derive(hsmbackend.UsageDecrypt)
	for _, size := range []int{32, MaxPlaintext} {
		plaintext := make([]byte, size)
		sealed, _, err := token.SealGCM(b.Context(), enc, [12]byte{}, plaintext, aad)
		if err != nil {
			b.Fatal(err)
		}
		s := newSealer(b, token, time.Now, Limits{})
		each := newSealer(b, token, time.Now, Limits{Messages: 1, EncryptKeys: -1, DecryptKeys: -1})
		raw := mustSeal(b, s, key, context, plaintext)
		run := func(name string, fn func() error) {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					if err := fn(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("TokenSeal", func() error {
			_, _, err := token.SealGCM(b.Context(), enc, [12]byte{}, plaintext, aad)
			return err
		})
		run("Seal", func() error {
			_, err := s.Seal(b.Context(), key, context, plaintext)
			return err
		})
		run("SealWithoutPeriod", func() error {
			_, err := each.Seal(b.Context(), key, context, plaintext)
			return err
		})
		run("TokenOpen", func() error {
			_, err := token.OpenGCM(b.Context(), dec, [12]byte{}, sealed, aad)
			return err
		})
		run("Open", func() error {
			_, err := open(b, s, key, raw, context)
			return err
		})
		run("OpenWithoutCache", func() error {
			_, err := open(b, each, key, raw, context)
			return err
		})
	}
}

func BenchmarkCanonical(b *testing.B) {
	context := map[string]string{"department": "10103", "purpose": "benchmark"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Canonical(context); err != nil {
			b.Fatal(err)
		}
	}
}
