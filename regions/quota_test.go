package regions_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"antipode/regions"
	"antipode/regions/regionstest"
)

func count(t *testing.T, f *regionstest.Fixture) (counted uint64, there int) {
	t.Helper()
	err := f.Store.View(t.Context(), func(rd regions.Reader) error {
		c, err := regions.Get[regions.KeyCount](t.Context(), rd, f.Region.Ring(), regions.KeyCount{Account: f.Admin.Account}.RecordKey())
		if err != nil {
			return err
		}
		keys, err := rd.List(t.Context(), regions.Query{Kind: regions.KindKey, Account: f.Admin.Account})
		counted, there = c.Keys, len(keys)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return counted, there
}

func limited(err error) bool { return errors.Is(err, &regions.Error{Code: regions.CodeLimitExceeded}) }

// However many calls race for the last places, there are never more keys than the quota, and the count is that of the
// records, before and after the process ends.
func TestQuotaIsExact(t *testing.T) {
	t.Parallel()
	const quota, calls = 5, 16
	f := regionstest.Open(t, "us-east-2", regionstest.WithMaxKeys(quota))
	f.CreateKey(t, true)
	var made, refused atomic.Int32
	var wait sync.WaitGroup
	for range calls {
		wait.Go(func() {
			_, err := regionstest.Do(t.Context(), f.Region, f.Admin, "CreateKey", &regions.CreateKeyInput{})
			switch {
			case err == nil:
				made.Add(1)
			case limited(err):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if made.Load() != quota-1 || refused.Load() != calls-quota+1 {
		t.Errorf("%d keys made, %d calls refused", made.Load(), refused.Load())
	}
	for _, after := range []string{"the calls", "a restart"} {
		if counted, there := count(t, f); counted != quota || there != quota {
			t.Errorf("after %s: %d counted, %d there", after, counted, there)
		}
		if _, err := regionstest.Call[regions.CreateKeyOutput](t, f, "CreateKey", &regions.CreateKeyInput{}); !limited(err) {
			t.Errorf("after %s: %v", after, err)
		}
		f.Reopen(t)
	}
}

// A count that was taken away is made again from the keys; one that was altered is refused.
func TestQuotaRecord(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2", regionstest.WithMaxKeys(4))
	first := f.CreateKey(t, false)
	f.CreateKey(t, false)
	key := regions.KeyCount{Account: f.Admin.Account}.RecordKey()
	update := func(change func(tx regions.Tx) error) {
		t.Helper()
		if err := f.Store.Update(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx regions.Tx) error { return tx.Delete(t.Context(), key) })
	f.CreateKey(t, false)
	if counted, there := count(t, f); counted != 3 || there != 3 {
		t.Errorf("%d counted, %d there", counted, there)
	}
	// A change to a key, and what is done twice, counts nothing.
	f.PutKey(t, first.KeyID, func(k *regions.Key) { k.Description = "changed" })
	gone := f.Key(t, first.KeyID)
	for range 2 {
		err := f.Region.Update(t.Context(), func(tx regions.Tx) error { return tx.Delete(t.Context(), gone.RecordKey()) })
		if err != nil {
			t.Fatal(err)
		}
		if counted, there := count(t, f); counted != 2 || there != 2 {
			t.Errorf("%d counted, %d there", counted, there)
		}
	}
	update(func(tx regions.Tx) error {
		rec, err := tx.Get(t.Context(), key)
		if err != nil {
			return err
		}
		rec.Body[len(rec.Body)-1] = 0
		return tx.Put(t.Context(), rec)
	})
	if _, err := regionstest.Call[regions.CreateKeyOutput](t, f, "CreateKey", &regions.CreateKeyInput{}); err == nil || limited(err) {
		t.Errorf("with a forged count: %v", err)
	}
}

// Aliases and grants of a key have quotas, which count each key by itself; a grant that is repeated by its name needs no
// place.
func TestQuotasOfAKey(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2", regionstest.WithQuotas(2, 3))
	one, two := f.CreateKey(t, false), f.CreateKey(t, true)
	alias := func(name, key string) error {
		_, err := regionstest.Call[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: "alias/" + name, TargetKeyID: key})
		return err
	}
	grant := func(name, key string) error {
		_, err := regionstest.Call[regions.CreateGrantOutput](t, f, "CreateGrant", &regions.CreateGrantInput{
			KeyID: key, GranteePrincipal: f.Admin.ARN, Operations: []string{"Encrypt"}, Name: name,
		})
		return err
	}
	for _, key := range []regions.KeyMetadata{one, two} {
		for i, name := range []string{"a", "b", "c"} {
			err := alias(key.KeyID[:4]+name, key.KeyID)
			if over := i >= 2; over != limited(err) || over != (err != nil) {
				t.Errorf("alias %d: %v", i, err)
			}
			if i == 2 && err.Error() != "LimitExceededException: Too many aliases for key "+key.Arn+": the limit is 2." {
				t.Errorf("%v", err)
			}
		}
		for i, name := range []string{"a", "b", "c", "d", "a"} {
			if err, over := grant(name, key.KeyID), i == 3; over != limited(err) || over != (err != nil) {
				t.Errorf("grant %d: %v", i, err)
			}
		}
	}
	// An alias does not move to a full key either.
	if err := alias("free", f.CreateKey(t, false).KeyID); err != nil {
		t.Fatal(err)
	}
	_, err := regionstest.Call[struct{}](t, f, "UpdateAlias", &regions.AliasInput{AliasName: "alias/free", TargetKeyID: one.KeyID})
	if !limited(err) {
		t.Errorf("moved to a full key: %v", err)
	}
	regionstest.Must[struct{}](t, f, "DeleteAlias", &regions.DeleteAliasInput{AliasName: "alias/" + one.KeyID[:4] + "a"})
	regionstest.Must[struct{}](t, f, "UpdateAlias", &regions.AliasInput{AliasName: "alias/free", TargetKeyID: one.KeyID})
}
