package regions_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/regionstest"
)

// Commits to other keys and aliases, of whatever hash, do not make a key unusable.
func TestOtherCommits(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, false)
	f.Encrypt(t, key.KeyID, []byte("x"))
	err := f.Region.Update(t.Context(), func(tx regions.Tx) error {
		for i := range 4096 { // touches each stripe of the cache
			if err := tx.Delete(t.Context(), regions.RecordKey{Kind: regions.KindAlias, ID: fmt.Sprint(i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Encrypt(t, key.KeyID, []byte("x"))
}

// Once an update has been answered no read shows what was before it, whoever reads meanwhile.
func TestNoStaleView(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	keys := []regions.KeyMetadata{f.CreateKey(t, false), f.CreateKey(t, false), f.CreateKey(t, false)}
	regionstest.Must[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: "alias/x", TargetKeyID: keys[0].KeyID})
	var stop atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop.Store(true)
	for i := range 4 { // readers that fill the caches all the time
		wg.Go(func() {
			for n := i; !stop.Load(); n++ {
				name := append([]string{"alias/x"}, keys[0].KeyID, keys[1].KeyID, keys[2].KeyID)[n%4]
				if _, err := regionstest.Do(t.Context(), f.Region, f.Admin, "DescribeKey", &regions.DescribeKeyInput{KeyID: name}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 60 {
		k := keys[i%3]
		op, want := "DisableKey", regions.StateDisabled
		if i/3%2 == 1 {
			op, want = "EnableKey", regions.StateEnabled
		}
		regionstest.Must[struct{}](t, f, op, &regions.KeyInput{KeyID: k.KeyID})
		got := regionstest.Must[regions.DescribeKeyOutput](t, f, "DescribeKey", &regions.DescribeKeyInput{KeyID: k.Arn})
		if got.KeyMetadata.KeyState != want {
			t.Fatalf("after %s the key is %s", op, got.KeyMetadata.KeyState)
		}
		regionstest.Must[struct{}](t, f, "UpdateAlias", &regions.AliasInput{AliasName: "alias/x", TargetKeyID: k.KeyID})
		got = regionstest.Must[regions.DescribeKeyOutput](t, f, "DescribeKey", &regions.DescribeKeyInput{KeyID: "alias/x"})
		if got.KeyMetadata.KeyID != k.KeyID {
			t.Fatalf("after UpdateAlias the alias points to %s", got.KeyMetadata.KeyID)
		}
	}
}

// No Encrypt that begins after DisableKey has been answered succeeds, whatever was running; and then nothing of the key
// is left on the token.
func TestDisableIsFinal(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2", regionstest.WithWorkingCopies(2))
	key := f.CreateKey(t, true)
	other := f.CreateKey(t, true)
	if _, err := regionstest.Call[struct{}](t, f, "DisableKey", &regions.KeyInput{KeyID: other.KeyID}); err != nil {
		t.Fatal(err)
	}
	if _, err := regionstest.Call[struct{}](t, f, "DisableKey", &regions.KeyInput{KeyID: key.KeyID}); err != nil {
		t.Fatal(err)
	}
	baseline := hsmtest.SessionObjects(t, f.Token)
	for round := range 8 {
		regionstest.Must[struct{}](t, f, "EnableKey", &regions.KeyInput{KeyID: key.KeyID})
		var answered, stop atomic.Bool
		var encrypted atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for !stop.Load() {
					after := answered.Load()
					_, err := regionstest.Do(t.Context(), f.Region, f.Admin, "Encrypt",
						&regions.EncryptInput{KeyID: key.KeyID, Plaintext: []byte("x")})
					switch {
					case err == nil && after:
						t.Errorf("round %d: encrypted after DisableKey was answered", round)
					case err == nil:
						encrypted.Add(1)
					default:
						wantError(t, "Encrypt", err, regions.CodeDisabled, key.Arn+" is disabled.")
					}
				}
			})
		}
		for encrypted.Load() < 8 {
			// the stream is running
			if t.Context().Err() != nil {
				break
			}
		}
		if _, err := regionstest.Do(t.Context(), f.Region, f.Admin, "DisableKey", &regions.KeyInput{KeyID: key.KeyID}); err != nil {
			t.Error(err)
		}
		answered.Store(true)
		for range 20 {
			if _, err := regionstest.Do(t.Context(), f.Region, f.Admin, "Encrypt",
				&regions.EncryptInput{KeyID: key.KeyID, Plaintext: []byte("x")}); err == nil {
				t.Error("encrypted after DisableKey was answered")
			}
		}
		stop.Store(true)
		wg.Wait()
		if n := hsmtest.SessionObjects(t, f.Token); n != baseline {
			t.Errorf("round %d: %d session objects, want %d", round, n, baseline)
		}
	}
}
