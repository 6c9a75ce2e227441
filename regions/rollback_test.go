package regions_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"antipode/regions"
	"antipode/regions/regionstest"
	"antipode/regions/store"
	"antipode/softhsm/softhsmtest"
)

// A store that is older than what was answered, put in the place of the present one beside the present audit log: the
// Region decrypts with what it has and is recovering, so it changes nothing that it shares; also after another restart,
// until its operator ends that. A store that was only closed is not taken for one.
func TestRollbackIsNoticed(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, true)
	blob := f.Encrypt(t, key.KeyID, []byte("x"))
	f.Reopen(t)
	if f.Region.Recovering() {
		t.Fatal("a store that was closed and opened is taken for an old one")
	}
	f.Close(t)
	old, err := os.ReadFile(filepath.Clean(f.StorePath))
	if err != nil {
		t.Fatal(err)
	}
	f.Reopen(t)
	const text = "Region us-east-2 recovers from an older state of its store and changes no multi-Region key until it " +
		"has ended."
	regionstest.Must[struct{}](t, f, "DisableKey", &regions.KeyInput{KeyID: key.KeyID})
	f.Close(t)
	if err := os.WriteFile(f.StorePath, old, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f.Reopen(t)
		if !f.Region.Recovering() {
			t.Fatal("the old store was not noticed")
		}
		regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
		_, err := regionstest.Call[regions.ReplicateKeyOutput](t, f, "ReplicateKey",
			&regions.ReplicateKeyInput{KeyID: key.KeyID, ReplicaRegion: "eu-west-1"})
		wantError(t, "ReplicateKey", err, "KMSInvalidStateException", text)
		_, err = regionstest.Call[regions.ScheduleKeyDeletionOutput](t, f, "ScheduleKeyDeletion",
			&regions.ScheduleKeyDeletionInput{KeyID: key.KeyID})
		wantError(t, "ScheduleKeyDeletion", err, "KMSInvalidStateException", text)
	}
	if err := f.Region.EndRecovery(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	f.Reopen(t)
	if f.Region.Recovering() {
		t.Error("the recovery was ended")
	}
}

// A store that was restored where its audit log is not: it begins a new one, recovering.
func TestRestoredWithoutItsAuditLog(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, true)
	blob := f.Encrypt(t, key.KeyID, []byte("x"))
	f.Close(t)
	if err := os.RemoveAll(f.AuditDir); err != nil {
		t.Fatal(err)
	}
	if err := f.TryOpen(t); err == nil {
		t.Fatal("opened without its audit log, and was not restored")
	}
	f.Close(t)
	if err := os.RemoveAll(f.AuditDir); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), f.StorePath)
	if err != nil {
		t.Fatal(err)
	}
	token := softhsmtest.Connect(t, f.Soft)
	err = regions.MarkRestored(t.Context(), "us-east-2", db, token, 1, true)
	if err := errors.Join(err, db.Close(), token.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f.Reopen(t)
		if !f.Region.Recovering() {
			t.Error("it is not recovering")
		}
		regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
	}
}
