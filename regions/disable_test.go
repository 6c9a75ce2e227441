package regions_test

import (
	"sync/atomic"
	"testing"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/regionstest"
)

// A call that was admitted, and has not touched the key yet when DisableKey is answered, fails and leaves no copy.
func TestDisableOvertakesCall(t *testing.T) {
	t.Parallel()
	var hold atomic.Bool
	entered, goOn := make(chan struct{}), make(chan struct{})
	f := regionstest.Open(t, "us-east-2", regionstest.WithToken(func(tok hsmbackend.Token) hsmbackend.Token {
		return hsmtest.Faulty(tok, func(op string) (bool, error) {
			if op == "Random" && hold.CompareAndSwap(true, false) { // the data key, after the call was admitted
				entered <- struct{}{}
				<-goOn
			}
			return false, nil
		})
	}))
	baseline := hsmtest.SessionObjects(t, f.Token)
	key := f.CreateKey(t, true)
	hold.Store(true)
	result := make(chan error, 1)
	go func() {
		_, err := regionstest.Do(t.Context(), f.Region, f.Admin, "GenerateDataKey",
			&regions.GenerateDataKeyInput{KeyID: key.KeyID, KeySpec: "AES_256"})
		result <- err
	}()
	<-entered
	regionstest.Must[struct{}](t, f, "DisableKey", &regions.KeyInput{KeyID: key.KeyID})
	close(goOn)
	wantError(t, "GenerateDataKey", <-result, "DisabledException", key.Arn+" is disabled.")
	if n := hsmtest.SessionObjects(t, f.Token); n != baseline {
		t.Errorf("%d session objects, want %d", n, baseline)
	}
}
