package regions_test

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/mattn/go-sqlite3" // the stores' own driver, to look at their rows

	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/keyring"
	"antipode/regions/regionstest"
	"antipode/regions/store/storetest"
)

const oneDay = 24 * time.Hour

// schedule schedules the deletion of a key in 7 days.
func schedule(t *testing.T, f *regionstest.Fixture, keyID string) {
	t.Helper()
	days := 7
	regionstest.Must[regions.ScheduleKeyDeletionOutput](t, f, "ScheduleKeyDeletion",
		&regions.ScheduleKeyDeletionInput{KeyID: keyID, PendingWindowInDays: &days})
}

func deleteDue(t *testing.T, f *regionstest.Fixture) {
	t.Helper()
	if err := f.Region.DeleteDue(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// wantGone checks that the key is not in the Region, nor anything of it in the store but one tombstone.
func wantGone(t *testing.T, f *regionstest.Fixture, key regions.KeyMetadata, secrets ...[]byte) {
	t.Helper()
	_, err := regionstest.Call[regions.DescribeKeyOutput](t, f, "DescribeKey", &regions.DescribeKeyInput{KeyID: key.KeyID})
	wantError(t, "DescribeKey", err, "NotFoundException", "Key '"+key.Arn+"' does not exist")
	rows := rowsWith(t, f.StorePath, []byte(key.KeyID))
	if len(rows) != 1 || rows[0] != string(regions.KindTombstone) {
		t.Errorf("rows that name the key: %v", rows)
	}
	for _, s := range secrets {
		if rows := rowsWith(t, f.StorePath, s); len(rows) != 0 {
			t.Errorf("rows that hold %x: %v", s, rows)
		}
	}
}

// rowsWith returns the kinds of the rows in which text occurs, in whatever column.
func rowsWith(t *testing.T, path string, text []byte) (kinds []string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	rows, err := db.QueryContext(t.Context(), "SELECT kind, account || x'00' || id || x'00' || sub || x'00' || ref || x'00' || body FROM records")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var kind, all []byte
		if err := rows.Scan(&kind, &all); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(all, text) {
			kinds = append(kinds, string(kind))
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	return kinds
}

// deletions returns the outcomes and service records of DeleteKey.
func deletions(t *testing.T, f *regionstest.Fixture) (out []regionstest.Record) {
	t.Helper()
	for _, r := range f.Records(t) {
		if r.Event.EventName == "DeleteKey" && (r.Kind == audit.KindOutcome || r.Kind == audit.KindService) {
			out = append(out, r)
		}
	}
	return out
}

// At the end of its waiting period a key is deleted, and not before: nothing of it stays in the store or on the token but
// a tombstone, for every kind of key, and its ciphertexts don't open.
func TestDelete(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		multiRegion bool
		storage     keyring.Storage
	}{
		"single-Region":               {false, keyring.StorageWrapped},
		"single-Region, on the token": {false, keyring.StorageToken},
		"primary without replicas":    {true, keyring.StorageWrapped},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := regionstest.Open(t, "us-east-2", regionstest.WithStorage(c.storage))
			_, objects := hsmtest.Objects(t, f.Token)
			other := f.CreateKey(t, c.multiRegion)
			otherBlob := f.Encrypt(t, other.KeyID, []byte("x"))
			key := regionstest.Must[regions.CreateKeyOutput](t, f, "CreateKey", &regions.CreateKeyInput{
				MultiRegion: c.multiRegion, Description: "to be deleted", Tags: []regions.Tag{{TagKey: "secretive", TagValue: "v"}},
			}).KeyMetadata
			regionstest.Must[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: "alias/doomed", TargetKeyID: key.KeyID})
			blob := f.Encrypt(t, key.KeyID, []byte("x"))
			ekt := material(t, f, key).EKT
			schedule(t, f, key.KeyID)
			f.Clock.Advance(7*oneDay - time.Millisecond)
			deleteDue(t, f)
			if k := f.Key(t, key.KeyID); k.State != regions.StatePendingDeletion {
				t.Fatalf("before its time the key is %s", k.State)
			}
			f.Clock.Advance(time.Millisecond)
			deleteDue(t, f)
			secrets := [][]byte{[]byte("alias/doomed"), []byte("to be deleted"), []byte("secretive")}
			if len(ekt) > 0 {
				secrets = append(secrets, ekt)
			}
			wantGone(t, f, key, secrets...)
			_, err := regionstest.Call[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
			if codeOf(err) == "" {
				t.Error("a ciphertext of a deleted key opens")
			}
			// The other key is untouched, and its object on the token.
			regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: otherBlob})
			if c.storage == keyring.StorageToken {
				objects++
			}
			if _, n := hsmtest.Objects(t, f.Token); n != objects {
				t.Errorf("%d objects on the token, want %d", n, objects)
			}
			if n := f.Region.Ring().WorkingCopies(); n != 1 {
				t.Errorf("%d working copies, want that of the other key", n)
			}
			deleted := deletions(t, f)
			if len(deleted) != 1 {
				t.Fatalf("%d records of the deletion", len(deleted))
			}
			e := deleted[0].Event
			if e.ErrorCode != "" || e.EventType != audit.TypeServiceEvent || e.UserIdentity.InvokedBy != "AWS Internal" ||
				len(e.Resources) != 1 || e.Resources[0].ARN != key.Arn {
				t.Errorf("recorded %+v", e)
			}
			f.Reopen(t)
			wantGone(t, f, key)
			if f.Region.Recovering() {
				t.Error("the store is taken for an old one")
			}
			f.Close(t) // after which the write-ahead log is in the file
			raw, err := os.ReadFile(filepath.Clean(f.StorePath))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range secrets {
				if bytes.Contains(raw, s) {
					t.Errorf("the file holds %q", s)
				}
			}
		})
	}
}

func material(t *testing.T, f *regionstest.Fixture, key regions.KeyMetadata) (m regions.MaterialRecord) {
	t.Helper()
	err := f.Store.View(t.Context(), func(rd regions.Reader) error {
		found, err := regions.List[regions.MaterialRecord](t.Context(), rd, f.Region.Ring(),
			regions.Query{Kind: regions.KindMaterial, Account: regionstest.Account, ID: key.KeyID})
		if len(found) > 0 {
			m = found[0]
		}
		return err
	})
	if err != nil || m.KeyID == "" {
		t.Fatalf("material of %s: %v", key.KeyID, err)
	}
	return m
}

// The clock goes forth and back, the Region stops and starts, the deletion is cancelled in time: a key is deleted when
// its date has come by the clock as it is then.
func TestDeleteByTheClock(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key, kept := f.CreateKey(t, false), f.CreateKey(t, false)
	blob := f.Encrypt(t, kept.KeyID, []byte("x"))
	schedule(t, f, key.KeyID)
	schedule(t, f, kept.KeyID)
	f.Clock.Advance(-30 * oneDay) // somebody has set it right
	f.Reopen(t)
	deleteDue(t, f)
	f.Clock.Advance(36 * oneDay)
	deleteDue(t, f)
	regionstest.Must[regions.CancelKeyDeletionOutput](t, f, "CancelKeyDeletion", &regions.KeyInput{KeyID: kept.KeyID})
	if k := f.Key(t, key.KeyID); k.State != regions.StatePendingDeletion {
		t.Errorf("a day before its time the key is %s", k.State)
	}
	f.Clock.Advance(oneDay)
	f.Reopen(t)
	deleteDue(t, f)
	wantGone(t, f, key)
	f.Clock.Advance(-365 * oneDay)
	deleteDue(t, f)
	wantGone(t, f, key)
	f.Clock.Advance(2 * 365 * oneDay)
	deleteDue(t, f)
	regionstest.Must[struct{}](t, f, "EnableKey", &regions.KeyInput{KeyID: kept.KeyID})
	regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
}

// CancelKeyDeletion between the look at the key and the commit wins: the key is whole.
func TestCancelWhileDeleting(t *testing.T) {
	t.Parallel()
	var then func()
	f := regionstest.Open(t, "us-east-2", regionstest.WithStore(func(s regions.Store) regions.Store {
		return storetest.Faulty(s, func(op string) (bool, error) {
			if do := then; op == "update" && do != nil {
				then = nil
				do()
			}
			return false, nil
		})
	}))
	key := f.CreateKey(t, false)
	blob := f.Encrypt(t, key.KeyID, []byte("x"))
	schedule(t, f, key.KeyID)
	f.Clock.Advance(8 * oneDay)
	then = func() {
		regionstest.Must[regions.CancelKeyDeletionOutput](t, f, "CancelKeyDeletion", &regions.KeyInput{KeyID: key.KeyID})
	}
	deleteDue(t, f)
	if k := f.Key(t, key.KeyID); k.State != regions.StateDisabled || then != nil {
		t.Errorf("the key is %s", k.State)
	}
	deleteDue(t, f)
	regionstest.Must[struct{}](t, f, "EnableKey", &regions.KeyInput{KeyID: key.KeyID})
	regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
	if e := deletions(t, f); len(e) != 1 || e[0].Event.ErrorCode == "" {
		t.Errorf("recorded %+v", e)
	}
}

// A Region that recovers from a backup deletes nothing: a cancellation may be what its store lacks.
func TestRecoveringDeletesNothing(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, false)
	schedule(t, f, key.KeyID)
	err := f.Region.Update(t.Context(), func(tx regions.Tx) error {
		return regions.Put(t.Context(), tx, f.Region.Ring(), regions.Recovery{Region: "us-east-2", Since: 1})
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Reopen(t)
	f.Clock.Advance(8 * oneDay)
	deleteDue(t, f)
	if k := f.Key(t, key.KeyID); k.State != regions.StatePendingDeletion {
		t.Errorf("the key is %s", k.State)
	}
	if err := f.Region.EndRecovery(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	deleteDue(t, f)
	wantGone(t, f, key)
}
