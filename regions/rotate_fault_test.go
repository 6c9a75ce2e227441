package regions_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/keyring"
	"antipode/regions/keyset"
	"antipode/regions/regionstest"
	"antipode/regions/store/storetest"
)

// A commit or a call of the token that fails, before or after it had its effect: the key has its old material or its new
// one, all that was encrypted opens, and the token holds the objects of the materials and no others.
func TestRotateFaults(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		name    string
		storage keyring.Storage
		op      string
		apply   bool
		at      int32 // of the calls of op in the rotation
	}{
		{"note of the object", keyring.StorageToken, "update", false, 1},
		{"note of the object that got through", keyring.StorageToken, "update", true, 1},
		{"commit", keyring.StorageToken, "update", false, 2},
		{"commit that got through", keyring.StorageToken, "update", true, 2},
		{"making the object", keyring.StorageToken, "GenerateKey", false, 1},
		{"making the object that got through", keyring.StorageToken, "GenerateKey", true, 1},
		{"commit, wrapped", keyring.StorageWrapped, "update", false, 1},
		{"commit that got through, wrapped", keyring.StorageWrapped, "update", true, 1},
		{"making the material", keyring.StorageWrapped, "GenerateKey", true, 1},
		{"wrapping it", keyring.StorageWrapped, "Wrap", true, 1},
	} {
		for _, restart := range []bool{false, true} {
			var left atomic.Int32
			hook := func(op string) (bool, error) {
				if op == c.op && left.Add(-1) == 0 {
					return c.apply, broken
				}
				return false, nil
			}
			f := regionstest.Open(t, "us-east-2", regionstest.WithStorage(c.storage),
				regionstest.WithStore(func(s regions.Store) regions.Store { return storetest.Faulty(s, hook) }),
				regionstest.WithToken(func(tok hsmbackend.Token) hsmbackend.Token { return hsmtest.Faulty(tok, hook) }))
			_, objects := hsmtest.Objects(t, f.Token)
			key := f.CreateKey(t, false)
			old := f.Encrypt(t, key.KeyID, []byte("x"))
			left.Store(c.at)
			_, err := regionstest.Call[regions.RotateKeyOnDemandOutput](t, f, "RotateKeyOnDemand", &regions.KeyInput{KeyID: key.KeyID})
			if hit := left.Load() <= 0; !hit {
				t.Errorf("%s: the fault was not met", c.name)
			}
			if restart {
				f.Reopen(t)
			}
			h := history(t, f, key.KeyID)
			if want := len(h) == 2; want != (err == nil) {
				t.Errorf("%s: answered %v, and there are %d materials", c.name, err, len(h))
			}
			opens(t, f, old, "x", h[0].KeyMaterialID)
			rotateOnDemand(t, f, key.KeyID) // it can be repeated
			h = history(t, f, key.KeyID)
			opens(t, f, f.Encrypt(t, key.KeyID, []byte("y")), "y", h[len(h)-1].KeyMaterialID)
			want := 0
			if c.storage == keyring.StorageToken {
				want = len(h)
			}
			if _, n := hsmtest.Objects(t, f.Token); n-objects != want {
				t.Errorf("%s, restart %t: %d objects for %d materials", c.name, restart, n-objects, len(h))
			}
			if n := tokenKeys(t, f); n != 0 {
				t.Errorf("%s: %d notes are left", c.name, n)
			}
			f.Close(t)
		}
	}
}

// A process that ends after the commit and before anything else: the next start ends the audit log's open intent as the
// success that it was, with the material that encrypts now; one that ends before it, as a failure.
func TestRotateCutOff(t *testing.T) {
	t.Parallel()
	for _, committed := range []bool{true, false} {
		reached, never := make(chan struct{}), make(chan struct{})
		var armed atomic.Bool
		f := regionstest.Open(t, "us-east-2", regionstest.WithStore(func(s regions.Store) regions.Store {
			if committed {
				return stuckAfter{s, &armed, reached, never}
			}
			return storetest.Faulty(s, func(op string) (bool, error) {
				if op == "update" && armed.CompareAndSwap(true, false) {
					close(reached)
					<-never
					return false, errors.New("the process has ended")
				}
				return false, nil
			})
		}))
		key := f.CreateKey(t, false)
		regionstest.Must[struct{}](t, f, "EnableKeyRotation", &regions.EnableKeyRotationInput{KeyID: key.KeyID})
		f.Clock.Advance(366 * oneDay)
		armed.Store(true)
		region := f.Region
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = region.RotateDue(t.Context()) // its log and store are closed under it, as its process's would be
		}()
		<-reached
		f.Close(t)
		close(never)
		<-done
		if err := f.TryOpen(t); err != nil {
			t.Fatal(err)
		}
		e := rotationEvents(t, f)
		if len(e) != 1 || (e[0].ErrorCode == "") != committed {
			t.Fatalf("committed %t, recorded %+v", committed, e)
		}
		current, named := e[0].ServiceEventDetails.Text("currentKeyMaterialId")
		if named != committed || committed && current != f.Key(t, key.KeyID).Current {
			t.Errorf("committed %t, recorded material %q", committed, current)
		}
		rotateDue(t, f)
		wantHistory(t, f, key.KeyID, keyset.Automatic)
		f.Close(t)
	}
}

// Of rotations at once one goes on and the others are told so; while they go on, whatever is encrypted opens.
func TestRotateConcurrently(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, false)
	var wg sync.WaitGroup
	var rotated atomic.Int32
	for range 4 {
		wg.Go(func() {
			for range 5 {
				_, err := regionstest.Do(t.Context(), f.Region, f.Admin, "RotateKeyOnDemand", &regions.KeyInput{KeyID: key.KeyID})
				switch {
				case err == nil:
					rotated.Add(1)
				case !errors.Is(err, &regions.Error{Code: regions.CodeConflict}):
					t.Errorf("RotateKeyOnDemand: %v", err)
				}
			}
		})
		wg.Go(func() {
			for range 20 {
				out, err := regionstest.Do(t.Context(), f.Region, f.Admin, "Encrypt", &regions.EncryptInput{KeyID: key.KeyID, Plaintext: []byte("x")})
				if err != nil {
					t.Errorf("Encrypt: %v", err)
					continue
				}
				sealed, is := out.(*regions.EncryptOutput)
				if !is {
					t.Errorf("answered %T", out)
					continue
				}
				if _, err := regionstest.Do(t.Context(), f.Region, f.Admin, "Decrypt", &regions.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}); err != nil {
					t.Errorf("Decrypt: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := int(rotated.Load()); n == 0 || len(history(t, f, key.KeyID)) != n+1 {
		t.Errorf("%d rotations, %d materials", n, len(history(t, f, key.KeyID)))
	}
}

// While one rotation is going on another one is a conflict.
func TestRotateConflict(t *testing.T) {
	t.Parallel()
	reached, never := make(chan struct{}), make(chan struct{})
	var armed atomic.Bool
	f := regionstest.Open(t, "us-east-2", regionstest.WithStore(func(s regions.Store) regions.Store {
		return stuckAfter{s, &armed, reached, never}
	}))
	key := f.CreateKey(t, false)
	armed.Store(true)
	first := make(chan error, 1)
	go func() {
		_, err := regionstest.Do(t.Context(), f.Region, f.Admin, "RotateKeyOnDemand", &regions.KeyInput{KeyID: key.KeyID})
		first <- err
	}()
	<-reached
	_, err := regionstest.Call[regions.RotateKeyOnDemandOutput](t, f, "RotateKeyOnDemand", &regions.KeyInput{KeyID: key.KeyID})
	wantError(t, "the second", err, "ConflictException", "A rotation of the key "+key.Arn+" is in progress.")
	close(never)
	if err := <-first; err != nil {
		t.Errorf("the first: %v", err)
	}
	wantHistory(t, f, key.KeyID, keyset.OnDemand)
}
