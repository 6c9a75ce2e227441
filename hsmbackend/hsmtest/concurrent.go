package hsmtest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"antipode/hsmbackend"
)

// concurrency lets many callers share keys while others make and destroy keys and scopes.
func concurrency(t *testing.T, tok hsmbackend.Token) {
	ctx := t.Context()
	kek := key(t, tok, hsmbackend.AES256, kekAttributes())
	defer destroy(t, tok, kek)
	shared, _, done := sealing(t, tok, useCrypt)
	defer done()
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 15 {
				if err := oneRound(ctx, tok, kek, shared, fmt.Appendf(nil, "%d/%d", w, i)); err != nil {
					t.Errorf("caller %d, round %d: %v", w, i, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func oneRound(ctx context.Context, tok hsmbackend.Token, kek, shared hsmbackend.KeyRef, msg []byte) (err error) {
	sealed, iv, err := tok.SealGCM(ctx, shared, [12]byte{}, msg, msg)
	if err != nil {
		return err
	}
	if got, err := tok.OpenGCM(ctx, shared, iv, sealed, msg); err != nil || !bytes.Equal(got, msg) {
		return fmt.Errorf("opened %q: %w", got, err)
	}
	scope, err := tok.OpenScope(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if e := tok.CloseScope(scope); err == nil {
			err = e
		}
	}()
	a := extractable(gcmAttributes())
	a.Scope = scope
	k, err := tok.GenerateKey(ctx, hsmbackend.AES256, a)
	if err != nil {
		return err
	}
	blob, err := tok.Wrap(ctx, kek, k)
	if err != nil {
		return err
	}
	if err := tok.Destroy(ctx, k); err != nil {
		return err
	}
	_, err = tok.Unwrap(ctx, kek, blob, hsmbackend.AES256, a)
	return err
}

// busy shows that a caller whose deadline is over is answered and nothing is left behind.
func busy(t *testing.T, tok hsmbackend.Token) {
	past, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err := tok.Random(past, 16)
	wants(t, err, hsmbackend.ErrBusy, "random")
	_, err = tok.GenerateKey(past, hsmbackend.AES256, kekAttributes())
	wants(t, err, hsmbackend.ErrBusy, "generate")
	_, err = tok.OpenScope(past)
	wants(t, err, hsmbackend.ErrBusy, "open scope")

	// As many callers as it takes to fill every place, with calls of a few milliseconds, and one in a hurry.
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 * tok.Capabilities().MaxCalls {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ref, _, err := tok.GenerateKeyPair(t.Context(), hsmbackend.ECP384,
					attributes("slow", hsmbackend.UsageDerive, hsmbackend.MechECDH))
				if err != nil {
					t.Errorf("slow caller: %v", err)
					return
				}
				if err := tok.Destroy(t.Context(), ref); err != nil {
					t.Errorf("slow caller: %v", err)
					return
				}
			}
		})
	}
	refused := 0
	for deadline := time.Now().Add(10 * time.Second); refused < 3 && time.Now().Before(deadline); {
		hurry, cancel := context.WithTimeout(t.Context(), 20*time.Microsecond)
		if ref, err := tok.GenerateKey(hurry, hsmbackend.AES256, kekAttributes()); err != nil {
			wants(t, err, hsmbackend.ErrBusy, "in a hurry")
			refused++
		} else {
			destroy(t, tok, ref)
		}
		cancel()
	}
	close(stop)
	wg.Wait()
	if refused < 3 {
		t.Error("nobody was ever refused")
	}
}
