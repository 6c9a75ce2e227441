package keyring_test

import (
	"context"
	"testing"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions/regionstest"
)

// A caller that leaves while a secret is sealed or opened for it leaves nothing on the token.
func TestSealingCancelled(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	ring := f.Region.Ring()
	sealed, err := ring.Seal(t.Context(), []byte("aad"), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	before := hsmtest.SessionObjects(t, f.Token)
	failed := 0
	for i := range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range i * 50 { // a little later each time
				_ = ctx.Err()
			}
			cancel()
		}()
		_, serr := ring.Seal(ctx, []byte("aad"), []byte("x"))
		_, oerr := ring.Open(ctx, []byte("aad"), sealed)
		if serr != nil || oerr != nil {
			failed++
		}
		<-done
	}
	if failed == 0 {
		t.Error("no call was cancelled in time: the test shows nothing")
	}
	if after := hsmtest.SessionObjects(t, f.Token); after != before {
		t.Errorf("%d session objects, %d before; %d calls were cancelled", after, before, failed)
	}
}
