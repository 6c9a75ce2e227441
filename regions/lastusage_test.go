package regions_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/awstime"
	"antipode/regions/regionstest"
	"antipode/regions/store/storetest"
)

func lastUsage(t *testing.T, f *regionstest.Fixture, keyID string) regions.GetKeyLastUsageOutput {
	t.Helper()
	return *regionstest.Must[regions.GetKeyLastUsageOutput](t, f, "GetKeyLastUsage", &regions.KeyInput{KeyID: keyID})
}

// lastUse is what the audit log says of the last successful cryptographic operation with a key.
func lastUse(t *testing.T, f *regionstest.Fixture, keyARN string) (want regions.KeyLastUsageData) {
	t.Helper()
	for _, rec := range f.Records(t) {
		op, _ := regions.OperationByName(rec.Event.EventName)
		for _, res := range rec.Event.Resources {
			if e := rec.Event; rec.Kind == audit.KindData && op.Class == regions.ClassData && e.ErrorCode == "" && res.ARN == keyARN {
				want = regions.KeyLastUsageData{
					CloudTrailEventID: e.EventID, KmsRequestID: e.RequestID, Operation: e.EventName, Timestamp: awstime.FromTime(e.EventTime),
				}
			}
		}
	}
	return want
}

// Each operation that succeeds with a key is its last use, in memory, after a commit and after a restart; what fails,
// asks, or is dry is none.
func TestLastUsage(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key, second := f.CreateKey(t, false), f.CreateKey(t, false)
	unused := regions.GetKeyLastUsageOutput{KeyID: key.KeyID, KeyCreationDate: key.CreationDate, TrackingStartDate: key.CreationDate}
	if got := lastUsage(t, f, key.KeyID); got != unused {
		t.Errorf("unused: %+v, want %+v", got, unused)
	}
	f.Clock.Advance(90*time.Second + 300*time.Millisecond)
	blob := f.Encrypt(t, key.KeyID, []byte("x"))
	check := func(when, operation string) {
		t.Helper()
		for _, k := range []regions.KeyMetadata{key, second} {
			got, want := lastUsage(t, f, k.Arn).KeyLastUsage, lastUse(t, f, k.Arn)
			if got != want || got.Operation != operation && k.KeyID == key.KeyID {
				t.Errorf("%s: %s was used last by %+v, want %s, %+v", when, k.KeyID, got, operation, want)
			}
		}
	}
	check("encrypted", "Encrypt")
	f.Clock.Advance(time.Minute)
	for _, c := range []struct {
		op   string
		in   any
		code string
	}{
		{"Decrypt", &regions.DecryptInput{CiphertextBlob: blob, EncryptionContext: map[string]string{"a": "b"}}, regions.CodeInvalidCiphertext},
		{"Decrypt", &regions.DecryptInput{CiphertextBlob: blob, KeyID: second.KeyID}, regions.CodeIncorrectKey},
		{"Decrypt", &regions.DecryptInput{CiphertextBlob: blob, DryRun: true}, regions.CodeDryRun},
		{"DescribeKey", &regions.DescribeKeyInput{KeyID: key.KeyID}, ""},
		{"GenerateRandom", &regions.GenerateRandomInput{NumberOfBytes: ptr(8)}, ""},
		{"DisableKey", &regions.KeyInput{KeyID: key.KeyID}, ""},
		{"Encrypt", &regions.EncryptInput{KeyID: key.KeyID, Plaintext: []byte("x")}, regions.CodeDisabled},
		{"EnableKey", &regions.KeyInput{KeyID: key.KeyID}, ""},
	} {
		_, err := regionstest.Do(t.Context(), f.Region, f.Admin, c.op, c.in)
		if apiErr := (*regions.Error)(nil); c.code == "" && err != nil || c.code != "" && (!errors.As(err, &apiErr) || apiErr.Code != c.code) {
			t.Fatalf("%s: %v, want %q", c.op, err, c.code)
		}
	}
	check("what is no use", "Encrypt")
	regionstest.Must[regions.ReEncryptOutput](t, f, "ReEncrypt", &regions.ReEncryptInput{CiphertextBlob: blob, DestinationKeyID: second.KeyID})
	check("encrypted again", "ReEncrypt")
	if err := f.Region.KeepUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("committed", "ReEncrypt")
	regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
	f.Clock.Advance(time.Minute)
	f.Reopen(t)
	if n := usageRecords(t, f); n != 2 {
		t.Errorf("%d keys' uses are in the store, want 2", n)
	}
	check("started again", "Decrypt")
	if got := lastUsage(t, f, key.KeyID); got.TrackingStartDate != key.CreationDate || got.KeyCreationDate != key.CreationDate {
		t.Errorf("after a restart uses are known from %v on, want %v", got.TrackingStartDate, key.CreationDate)
	}
	regionstest.Must[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: "alias/a", TargetKeyID: key.KeyID})
	if _, err := regionstest.Do(t.Context(), f.Region, f.Admin, "GetKeyLastUsage", &regions.KeyInput{KeyID: "alias/a"}); err == nil || !strings.Contains(err.Error(), regions.CodeNotFound) {
		t.Errorf("an alias: %v", err)
	}
}

func usageRecords(t *testing.T, f *regionstest.Fixture) int {
	t.Helper()
	var recs []regions.Record
	err := f.Store.View(t.Context(), func(rd regions.Reader) (err error) {
		recs, err = rd.List(t.Context(), regions.Query{Kind: regions.KindLastUsage})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(recs)
}

// What is not committed when the process ends is taken from the audit log, from the mark on; a store without a mark knows
// nothing from before its opening, and says so.
func TestLastUsageAfterCrash(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	f := regionstest.Open(t, "us-east-2", regionstest.WithStore(func(s regions.Store) regions.Store {
		return storetest.Faulty(s, func(op string) (bool, error) {
			if op == "update" && broken.Load() {
				return false, errors.New("broken")
			}
			return false, nil
		})
	}))
	crash := func() { // without the commit at the end
		broken.Store(true)
		f.Close(t)
		broken.Store(false)
		if err := f.TryOpen(t); err != nil {
			t.Fatal(err)
		}
	}
	key := f.CreateKey(t, false)
	for round := range 4 {
		f.Clock.Advance(time.Second)
		blob := f.Encrypt(t, key.KeyID, []byte("x"))
		if round%2 == 1 {
			if err := f.Region.KeepUsage(t.Context()); err != nil {
				t.Fatal(err)
			}
			regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
		}
		stored := usageRecords(t, f)
		crash()
		if n := usageRecords(t, f); n != stored {
			t.Errorf("the crash left %d uses in the store, before it were %d", n, stored)
		}
		got := lastUsage(t, f, key.KeyID)
		if want := lastUse(t, f, key.Arn); got.KeyLastUsage != want || got.TrackingStartDate != key.CreationDate {
			t.Errorf("round %d: %+v, want %+v", round, got, want)
		}
	}

	err := f.Store.Update(t.Context(), func(tx regions.Tx) error {
		return errors.Join(tx.Delete(t.Context(), regions.UsageMark{Region: "us-east-2"}.RecordKey()),
			tx.Delete(t.Context(), regions.LastUsage{Account: regionstest.Account, KeyID: key.KeyID}.RecordKey()))
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Clock.Advance(time.Hour)
	crash()
	began := awstime.FromTime(f.Clock.Now())
	for range 2 { // the second time from the store
		if got := lastUsage(t, f, key.KeyID); got.KeyLastUsage != (regions.KeyLastUsageData{}) || got.TrackingStartDate != began {
			t.Errorf("without a mark: %+v, want nothing since %v", got, began)
		}
		if err := f.Region.KeepUsage(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.Clock.Advance(time.Hour)
		crash()
	}
}

// Commits that go on during the calls lose no use: the last record of the audit log is the answer, of each key.
func TestLastUsageConcurrent(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	keys := []regions.KeyMetadata{f.CreateKey(t, false), f.CreateKey(t, false)}
	var calls, commits sync.WaitGroup
	stop := make(chan struct{})
	commits.Go(func() {
		for {
			if err := f.Region.KeepUsage(t.Context()); err != nil {
				t.Error(err)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for i := range 4 {
		calls.Go(func() {
			for range 40 {
				in := &regions.EncryptInput{KeyID: keys[i%2].KeyID, Plaintext: []byte("x")}
				if _, err := regionstest.Do(t.Context(), f.Region, f.Admin, "Encrypt", in); err != nil {
					t.Error(err)
				}
			}
		})
	}
	calls.Wait()
	close(stop)
	commits.Wait()
	for range 2 {
		for _, k := range keys {
			if got, want := lastUsage(t, f, k.KeyID).KeyLastUsage, lastUse(t, f, k.Arn); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		f.Reopen(t)
	}
}

// A deleted key leaves nothing behind, whether its use was committed or not.
func TestLastUsageOfDeletedKeys(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key, late := f.CreateKey(t, false), f.CreateKey(t, false)
	f.Encrypt(t, key.KeyID, []byte("x"))
	if err := f.Region.KeepUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := usageRecords(t, f); n != 1 {
		t.Fatalf("%d uses in the store", n)
	}
	f.Encrypt(t, key.KeyID, []byte("x"))
	f.Encrypt(t, late.KeyID, []byte("x"))
	schedule(t, f, key.KeyID)
	schedule(t, f, late.KeyID)
	f.Clock.Advance(8 * oneDay)
	if err := f.Region.DeleteDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Region.KeepUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := usageRecords(t, f); n != 0 {
		t.Errorf("%d uses of deleted keys are in the store", n)
	}
}
