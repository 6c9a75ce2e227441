package p11_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/hsmbackend/hsmtest/shimtest"
	"antipode/softhsm/softhsmtest"
)

// loop repeats f and reports the processor time of the process besides the wall time, which says little on a machine
// that others use.
func loop(b *testing.B, f func() error) {
	b.Helper()
	start := processorTime(b)
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(processorTime(b)-start)/float64(b.N), "cpu-ns/op")
}

func processorTime(b *testing.B) int64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// The calls of the data plane, one caller.
func BenchmarkToken(b *testing.B) {
	tok := softhsmtest.Open(b)
	ctx := b.Context()
	base := hsmbackend.Attributes{
		Label: "k", Usage: hsmbackend.UsageEncrypt | hsmbackend.UsageDerive,
		Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESECB, hsmbackend.MechDeriveECB},
	}
	work, err := tok.GenerateKey(ctx, hsmbackend.AES256, base)
	if err != nil {
		b.Fatal(err)
	}
	key, err := tok.GenerateKey(ctx, hsmbackend.AES256, gcmKey())
	if err != nil {
		b.Fatal(err)
	}
	mac, err := tok.GenerateKey(ctx, hsmbackend.HMACSHA256, hsmbackend.Attributes{
		Label: "m", Usage: hsmbackend.UsageSign, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechHMACSHA256},
	})
	if err != nil {
		b.Fatal(err)
	}
	signer, _, err := tok.GenerateKeyPair(ctx, hsmbackend.ECP384, signPair())
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []struct {
		name string
		n    int
	}{{"32B", 32}, {"4KiB", 4096}} {
		msg := make([]byte, size.n)
		b.Run("SealGCM/"+size.name, func(b *testing.B) {
			loop(b, func() error {
				_, _, err := tok.SealGCM(ctx, key, [12]byte{}, msg, msg[:32])
				return err
			})
		})
		b.Run("OpenGCM/"+size.name, func(b *testing.B) {
			sealed, iv, err := tok.SealGCM(ctx, key, [12]byte{}, msg, msg[:32])
			if err != nil {
				b.Fatal(err)
			}
			loop(b, func() error {
				_, err := tok.OpenGCM(ctx, key, iv, sealed, msg[:32])
				return err
			})
		})
		b.Run("MAC/"+size.name, func(b *testing.B) {
			loop(b, func() error {
				_, err := tok.MAC(ctx, mac, msg)
				return err
			})
		})
	}
	b.Run("DeriveXAES and Destroy", func(b *testing.B) {
		loop(b, func() error {
			ref, err := tok.DeriveXAES(ctx, work, [12]byte{1}, gcmKey())
			if err != nil {
				return err
			}
			return tok.Destroy(ctx, ref)
		})
	})
	b.Run("SignECDSA", func(b *testing.B) {
		loop(b, func() error {
			_, err := tok.SignECDSA(ctx, signer, make([]byte, 48))
			return err
		})
	})
	b.Run("Random/32B", func(b *testing.B) {
		loop(b, func() error {
			_, err := tok.Random(ctx, 32)
			return err
		})
	})
}

// One message with a message key of its own, and one with a kept message key, in each way.
func BenchmarkWays(b *testing.B) {
	module := shimtest.Build(b)
	for _, w := range shimtest.Ways()[:4] {
		tok := module.Open(b, w.Behaviours...)
		ctx := b.Context()
		base, err := tok.GenerateKey(ctx, hsmbackend.AES256, hsmtest.WorkingCopy(tok))
		if err != nil {
			b.Fatal(err)
		}
		seal := func(key hsmbackend.KeyRef, msg []byte) error {
			_, _, err := tok.SealGCM(ctx, key, [12]byte{1}, msg, []byte("additional data of 32 bytes here"))
			return err
		}
		kept, err := tok.DeriveXAES(ctx, base, [12]byte{1}, gcmKey())
		if err != nil {
			b.Fatal(err)
		}
		for _, n := range []int{32, 4096} {
			msg := make([]byte, n)
			b.Run(fmt.Sprintf("%s/own key/%d", w.Name, n), func(b *testing.B) {
				loop(b, func() error {
					key, err := tok.DeriveXAES(ctx, base, [12]byte{1}, gcmKey())
					if err != nil {
						return err
					}
					return errors.Join(seal(key, msg), tok.Destroy(ctx, key))
				})
			})
			b.Run(fmt.Sprintf("%s/kept key/%d", w.Name, n), func(b *testing.B) {
				loop(b, func() error { return seal(kept, msg) })
			})
		}
	}
}
