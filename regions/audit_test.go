package regions_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/regionstest"
)

// A call that changes something has an intent before and an outcome after, one that doesn't has one record.
func TestAuditRecords(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2", regionstest.WithReplicator(&replicator{}))
	key := f.CreateKey(t, true)
	blob := f.Encrypt(t, key.KeyID, []byte("x"))
	for _, c := range []struct {
		op      string
		in      any
		manages bool
	}{
		{"CreateKey", &regions.CreateKeyInput{Description: "audited"}, true},
		{"CreateAlias", &regions.AliasInput{AliasName: "alias/a", TargetKeyID: key.KeyID}, true},
		{"UpdateAlias", &regions.AliasInput{AliasName: "alias/a", TargetKeyID: key.KeyID}, true},
		{"DeleteAlias", &regions.DeleteAliasInput{AliasName: "alias/a"}, true},
		{"DisableKey", &regions.KeyInput{KeyID: key.KeyID}, true},
		{"EnableKey", &regions.KeyInput{KeyID: key.KeyID}, true},
		{"ReplicateKey", &regions.ReplicateKeyInput{KeyID: key.KeyID, ReplicaRegion: "eu-west-1"}, true},
		{"ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: key.KeyID}, true},
		{"CancelKeyDeletion", &regions.KeyInput{KeyID: key.KeyID}, true},
		{"EnableKey", &regions.KeyInput{KeyID: key.KeyID}, true},
		{"Encrypt", &regions.EncryptInput{KeyID: key.KeyID, Plaintext: []byte("x"), EncryptionContext: map[string]string{"purpose": "test"}}, false},
		{"Decrypt", &regions.DecryptInput{CiphertextBlob: blob}, false},
		{"ReEncrypt", &regions.ReEncryptInput{CiphertextBlob: blob, DestinationKeyID: key.KeyID}, false},
		{"GenerateDataKey", &regions.GenerateDataKeyInput{KeyID: key.KeyID, KeySpec: "AES_256"}, false},
		{"GenerateDataKeyWithoutPlaintext", &regions.GenerateDataKeyInput{KeyID: key.KeyID, KeySpec: "AES_256"}, false},
		{"GenerateRandom", &regions.GenerateRandomInput{NumberOfBytes: ptr(8)}, false},
		{"DescribeKey", &regions.DescribeKeyInput{KeyID: key.KeyID}, false},
		{"GetKeyPolicy", &regions.GetKeyPolicyInput{KeyID: key.KeyID}, false},
		{"ListKeys", &regions.ListKeysInput{}, false},
		{"ListAliases", &regions.ListAliasesInput{}, false},
	} {
		before := f.Audit.Head().Seq
		if _, err := regionstest.Do(t.Context(), f.Region, f.Admin, c.op, c.in); err != nil {
			t.Errorf("%s: %v", c.op, err)
		}
		recs := f.Records(t)[before:]
		kinds := []audit.Kind{audit.KindData}
		if c.manages {
			kinds = []audit.Kind{audit.KindIntent, audit.KindOutcome}
		}
		if len(recs) != len(kinds) {
			t.Errorf("%s: %d records", c.op, len(recs))
			continue
		}
		for i, rec := range recs {
			e := rec.Event
			if rec.Kind != kinds[i] || e.EventName != c.op || e.ErrorCode != "" || e.ReadOnly == c.manages ||
				e.AWSRegion != "us-east-2" || e.UserIdentity.ARN != f.Admin.ARN || e.RequestID != f.Admin.RequestID ||
				e.SourceIPAddress != f.Admin.SourceIP {
				t.Errorf("%s: %s %+v", c.op, rec.Kind, e)
			}
		}
		if last := recs[len(recs)-1]; c.manages && (last.Intent != recs[0].Seq || last.Event.EventID != recs[0].Event.EventID) {
			t.Errorf("%s: the outcome closes %d", c.op, last.Intent)
		}
	}
}

// At every commit the intent of the call that makes it is the last record of the log, on disk.
func TestIntentBeforeEffect(t *testing.T) {
	t.Parallel()
	var f *regionstest.Fixture
	early := 0
	f = regionstest.Open(t, "us-east-2", regionstest.WithStore(func(s regions.Store) regions.Store {
		return hookedStore{s, func() {
			if f == nil || f.Region == nil || f.Audit.Durable().Seq == 0 {
				return
			}
			recs := f.Records(t)
			if recs[len(recs)-1].Kind != audit.KindIntent {
				early++
			}
		}}
	}))
	early = 0 // the fixture's own user is no call
	key := f.CreateKey(t, true)
	regionstest.Must[struct{}](t, f, "DisableKey", &regions.KeyInput{KeyID: key.KeyID})
	regionstest.Must[regions.ScheduleKeyDeletionOutput](t, f, "ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: key.KeyID})
	if early != 0 {
		t.Errorf("%d commits without an intent before them", early)
	}
}

// With a log that can't be written every call fails, and nothing is changed, in the store or on the token.
func TestAuditFails(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2", regionstest.WithReplicator(&replicator{}))
	key, disabled := f.CreateKey(t, true), f.CreateKey(t, true)
	regionstest.Must[struct{}](t, f, "DisableKey", &regions.KeyInput{KeyID: disabled.KeyID})
	regionstest.Must[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: "alias/a", TargetKeyID: key.KeyID})
	blob := f.Encrypt(t, key.KeyID, []byte("x"))
	if err := f.Region.Ready(t.Context()); err != nil {
		t.Errorf("not ready: %v", err)
	}
	before, after := map[regions.RecordKey]regions.Record{}, map[regions.RecordKey]regions.Record{}
	snapshot(t, f.Store, before)
	_, tokenBefore := hsmtest.Objects(t, f.Token)
	if err := f.Audit.Close(); err != nil {
		t.Fatal(err)
	}
	for op, in := range map[string]any{
		"CreateKey":           &regions.CreateKeyInput{},
		"CreateAlias":         &regions.AliasInput{AliasName: "alias/b", TargetKeyID: key.KeyID},
		"UpdateAlias":         &regions.AliasInput{AliasName: "alias/a", TargetKeyID: disabled.KeyID},
		"DeleteAlias":         &regions.DeleteAliasInput{AliasName: "alias/a"},
		"DisableKey":          &regions.KeyInput{KeyID: key.KeyID},
		"EnableKey":           &regions.KeyInput{KeyID: disabled.KeyID},
		"ReplicateKey":        &regions.ReplicateKeyInput{KeyID: key.KeyID, ReplicaRegion: "eu-west-1"},
		"ScheduleKeyDeletion": &regions.ScheduleKeyDeletionInput{KeyID: key.KeyID},
		"CancelKeyDeletion":   &regions.KeyInput{KeyID: disabled.KeyID},
		"Encrypt":             &regions.EncryptInput{KeyID: key.KeyID, Plaintext: []byte("x")},
		"Decrypt":             &regions.DecryptInput{CiphertextBlob: blob},
		"ReEncrypt":           &regions.ReEncryptInput{CiphertextBlob: blob, DestinationKeyID: key.KeyID},
		"GenerateDataKey":     &regions.GenerateDataKeyInput{KeyID: key.KeyID, KeySpec: "AES_256"},
		"GenerateRandom":      &regions.GenerateRandomInput{NumberOfBytes: ptr(8)},
		"DescribeKey":         &regions.DescribeKeyInput{KeyID: key.KeyID},
		"ListKeys":            &regions.ListKeysInput{},
		"Sign":                nil,
	} {
		out, err := regionstest.Do(t.Context(), f.Region, f.Admin, op, in)
		wantError(t, op, err, "KMSInternalException", "")
		if out != nil {
			t.Errorf("%s answers %+v", op, out)
		}
	}
	snapshot(t, f.Store, after)
	if len(before) != len(after) {
		t.Errorf("%d records, there were %d", len(after), len(before))
	}
	for k, rec := range before {
		if !bytes.Equal(after[k].Body, rec.Body) {
			t.Errorf("record %+v was changed", k)
		}
	}
	if _, n := hsmtest.Objects(t, f.Token); n != tokenBefore {
		t.Errorf("%d token objects, there were %d", n, tokenBefore)
	}
}

// Neither plaintexts nor the secret of an access key are in the audit log, the log, or the store.
func TestSecretsStayOut(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := regionstest.Open(t, "us-east-2", regionstest.WithLog(&log))
	key := f.CreateKey(t, true)
	secrets := map[string][]byte{"the plaintext": []byte("a plaintext of thirty-two bytes!"), "the access key": []byte(regionstest.Secret)}
	blob := f.Encrypt(t, key.KeyID, secrets["the plaintext"])
	regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
	dk := regionstest.Must[regions.GenerateDataKeyOutput](t, f, "GenerateDataKey", &regions.GenerateDataKeyInput{KeyID: key.KeyID, KeySpec: "AES_256"})
	secrets["the data key"] = bytes.Clone(dk.Plaintext)
	random := regionstest.Must[regions.GenerateRandomOutput](t, f, "GenerateRandom", &regions.GenerateRandomInput{NumberOfBytes: ptr(32)})
	secrets["the random bytes"] = bytes.Clone(random.Plaintext)
	_, err := regionstest.Call[regions.EncryptOutput](t, f, "Encrypt", &regions.EncryptInput{
		KeyID: key.KeyID, Plaintext: bytes.Repeat(secrets["the plaintext"], 200),
	})
	wantError(t, "too long", err, "ValidationException", "1 validation error detected: Value 'java.nio.HeapByteBuffer' at 'plaintext' "+
		"failed to satisfy constraint: Member must have length less than or equal to 4096")
	f.Close(t)
	places := map[string][]byte{"the log": log.Bytes()}
	for _, pattern := range []string{f.StorePath + "*", filepath.Join(f.AuditDir, "*")} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, name := range names {
			if places[name], err = os.ReadFile(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for place, content := range places {
		for what, secret := range secrets {
			for form, needle := range map[string][]byte{
				"raw": secret, "in hex": []byte(hex.EncodeToString(secret)), "in base64": []byte(base64.RawStdEncoding.EncodeToString(secret)),
				"in URL base64": []byte(base64.RawURLEncoding.EncodeToString(secret)),
			} {
				if bytes.Contains(content, needle) {
					t.Errorf("%s is in %s, %s", what, place, form)
				}
			}
		}
	}
	if !bytes.Contains(places[f.StorePath], []byte(key.KeyID)) {
		t.Error("the search does not even find the key's id in the store")
	}
}

// hookedStore calls before each commit, after what is to be committed was written.
type hookedStore struct {
	regions.Store
	before func()
}

// Update implements [regions.Store].
func (h hookedStore) Update(ctx context.Context, fn func(regions.Tx) error) error {
	return h.Store.Update(ctx, func(tx regions.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		h.before()
		return nil
	})
}

// noteCatcher keeps a copy of the last note of a token object.
type noteCatcher struct {
	regions.Store
	note *regions.Record
}

// Update implements [regions.Store].
func (n noteCatcher) Update(ctx context.Context, fn func(regions.Tx) error) error {
	return n.Store.Update(ctx, func(tx regions.Tx) error { return fn(catchingTx{tx, n.note}) })
}

type catchingTx struct {
	regions.Tx
	note *regions.Record
}

// Put implements [regions.Tx].
func (c catchingTx) Put(ctx context.Context, rec regions.Record) error {
	if rec.Kind == regions.KindTokenKey {
		*c.note = rec
	}
	return c.Tx.Put(ctx, rec)
}
