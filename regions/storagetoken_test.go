package regions_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/keyring"
	"antipode/regions/regionstest"
	"antipode/regions/store/storetest"
)

// With storage TOKEN the material of a single-Region key is a token object and in no store; that of a multi-Region key
// is wrapped as ever.
func TestStorageToken(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2", regionstest.WithStorage(keyring.StorageToken), regionstest.WithReplicator(&replicator{}))
	_, before := hsmtest.Objects(t, f.Token)
	single, multi := f.CreateKey(t, false), f.CreateKey(t, true)
	if _, n := hsmtest.Objects(t, f.Token); n != before+1 {
		t.Errorf("%d token objects were made", n-before)
	}
	if f.Key(t, single.KeyID).Storage != keyring.StorageToken || f.Key(t, multi.KeyID).Storage != keyring.StorageWrapped {
		t.Error("the records have another storage")
	}
	blob := f.Encrypt(t, single.KeyID, []byte("x"))
	regionstest.Must[struct{}](t, f, "DisableKey", &regions.KeyInput{KeyID: single.KeyID})
	regionstest.Must[struct{}](t, f, "EnableKey", &regions.KeyInput{KeyID: single.KeyID})
	f.Reopen(t)
	out := regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
	if string(out.Plaintext) != "x" {
		t.Errorf("decrypted %q", out.Plaintext)
	}
	_, err := regionstest.Call[regions.ReplicateKeyOutput](t, f, "ReplicateKey", &regions.ReplicateKeyInput{KeyID: single.KeyID, ReplicaRegion: "eu-west-1"})
	wantError(t, "ReplicateKey", err, "UnsupportedOperationException", single.Arn+" is not a multi-region primary key.")
	if n := tokenKeys(t, f); n != 0 {
		t.Errorf("%d notes of objects to be made", n)
	}
}

func tokenKeys(t *testing.T, f *regionstest.Fixture) int {
	t.Helper()
	var recs []regions.Record
	err := f.Store.View(t.Context(), func(rd regions.Reader) (err error) {
		recs, err = rd.List(t.Context(), regions.Query{Kind: regions.KindTokenKey})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(recs)
}

// A commit that fails after the object was made, whether it got through or not: there are exactly the objects of the keys
// that are there, at once and after the next start. (What a crash between the two leaves, package ci/crash looks at.)
func TestStorageTokenFailedCommit(t *testing.T) {
	t.Parallel()
	broken := errors.New("crash")
	for _, apply := range []bool{false, true} {
		var updates atomic.Int32
		f := regionstest.Open(t, "us-east-2", regionstest.WithStorage(keyring.StorageToken),
			regionstest.WithStore(func(s regions.Store) regions.Store {
				return storetest.Faulty(s, func(op string) (bool, error) {
					if op == "update" && updates.Add(-1) == 0 {
						return apply, broken
					}
					return false, nil
				})
			}))
		_, before := hsmtest.Objects(t, f.Token)
		updates.Store(2) // the note of the object is written, then the key
		_, err := regionstest.Call[regions.CreateKeyOutput](t, f, "CreateKey", &regions.CreateKeyInput{})
		wantError(t, "CreateKey", err, "KMSInternalException", "")
		want := 0
		if apply {
			want = 1
		}
		if _, n := hsmtest.Objects(t, f.Token); n != before+want {
			t.Errorf("apply %t: %d objects after the failure", apply, n-before)
		}
		f.Reopen(t)
		keys := regionstest.Must[regions.ListKeysOutput](t, f, "ListKeys", nil).Keys
		if _, n := hsmtest.Objects(t, f.Token); len(keys) != want || n != before+want {
			t.Errorf("apply %t: %d keys and %d objects", apply, len(keys), n-before)
		}
		if n := tokenKeys(t, f); n != 0 {
			t.Errorf("%d notes are left", n)
		}
		for _, k := range keys {
			f.Encrypt(t, k.KeyID, []byte("x"))
		}
	}
}

// The note of an object that was to be made, put back after the key was committed, destroys nothing.
func TestStorageTokenReplay(t *testing.T) {
	t.Parallel()
	var note regions.Record
	f := regionstest.Open(t, "us-east-2", regionstest.WithStorage(keyring.StorageToken),
		regionstest.WithStore(func(s regions.Store) regions.Store { return noteCatcher{s, &note} }))
	key := f.CreateKey(t, false)
	blob := f.Encrypt(t, key.KeyID, []byte("x"))
	if note.ID != key.KeyID {
		t.Fatalf("caught the note of %s", note.ID)
	}
	f.Close(t)
	put := func(tx regions.Tx) {
		if err := tx.Put(t.Context(), note); err != nil {
			t.Fatal(err)
		}
	}
	tamper(t, f.StorePath, put)
	if err := f.TryOpen(t); !errors.Is(err, regions.ErrForgedRecord) || !strings.Contains(err.Error(), key.KeyID) {
		t.Errorf("opened with the note of a key that is there: %v", err)
	}
	tamper(t, f.StorePath, func(tx regions.Tx) {
		if err := tx.Delete(t.Context(), note.RecordKey); err != nil {
			t.Fatal(err)
		}
	})
	if err := f.TryOpen(t); err != nil {
		t.Fatal(err)
	}
	regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
}
