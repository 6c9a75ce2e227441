package replication_test

import (
	"slices"
	"testing"

	"antipode/regions"
	auditlog "antipode/regions/audit"
	"antipode/regions/keyset"
	"antipode/replication/simtest"
)

// own is what a Region's store has of a key that is the Region's own, record by record.
func own(t *testing.T, r *simtest.Region, key string) map[regions.RecordKey]string {
	t.Helper()
	out := map[regions.RecordKey]string{}
	err := r.Region.Store().View(t.Context(), func(rd regions.Reader) error {
		for _, q := range []regions.Query{
			{Kind: regions.KindPolicy, Account: simtest.Account, ID: key},
			{Kind: regions.KindGrant, Account: simtest.Account, ID: key},
			{Kind: regions.KindAlias, Account: simtest.Account, Ref: key},
		} {
			recs, err := rd.List(t.Context(), q)
			if err != nil {
				return err
			}
			for _, rec := range recs {
				out[rec.RecordKey] = string(rec.Body)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What each Region has for itself stays: policy, tags, aliases, grants, description and whether it is enabled, whatever is
// changed at the primary, of its own or of what is shared.
func TestIndependentStays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := replicated(t, a)
	w.Settle(ctx)
	do := func(r *simtest.Region, operation string, in any) {
		t.Helper()
		if _, err := r.Do(ctx, operation, in); err != nil {
			t.Fatalf("%s: %v", operation, err)
		}
	}
	policy := func(sid string) string {
		return `{"Version":"2012-10-17","Statement":[{"Sid":"` + sid + `","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` +
			simtest.Account + `:root"},"Action":"kms:*","Resource":"*"}]}`
	}
	furnish := func(r *simtest.Region, name string) {
		t.Helper()
		do(r, "PutKeyPolicy", &regions.PutKeyPolicyInput{KeyID: key, Policy: policy(name)})
		do(r, "TagResource", &regions.TagResourceInput{KeyID: key, Tags: []regions.Tag{{TagKey: name, TagValue: name}}})
		do(r, "CreateAlias", &regions.AliasInput{AliasName: "alias/" + name, TargetKeyID: key})
		do(r, "CreateGrant", &regions.CreateGrantInput{KeyID: key, GranteePrincipal: w.Administrator(), Operations: []string{"Decrypt"}, Name: name})
		do(r, "UpdateKeyDescription", &regions.UpdateKeyDescriptionInput{KeyID: key, Description: &name})
	}
	furnish(b, "replica")
	do(b, "DisableKey", &regions.KeyInput{KeyID: key})
	before, records := *b.Holds(ctx, key).Key, own(t, b, key)
	if len(records) != 3 {
		t.Fatalf("%d records of the replica's own", len(records))
	}
	furnish(a, "primary")
	reschedule(t, a, key, 111)
	addMaterial(t, a, key, keyset.NonCurrent)
	w.Settle(ctx)
	agree(t, key, a, b)
	after := *b.Holds(ctx, key).Key
	if after.State != regions.StateDisabled || after.Description != "replica" || !slices.Equal(after.Tags, before.Tags) || len(after.Tags) != 1 {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	now := own(t, b, key)
	for at, body := range records {
		if now[at] != body {
			t.Errorf("%+v has changed", at)
		}
	}
	if len(now) != len(records) {
		t.Errorf("%d records, there were %d", len(now), len(records))
	}
	// And each change that was taken over left AWS's event: of the service, for the account, about the primary.
	events := b.Events(ctx, "SynchronizeMultiRegionKey")
	if len(events) < 3 {
		t.Fatalf("%d events", len(events))
	}
	for _, e := range events {
		if e.EventType != auditlog.TypeAPICall || e.UserIdentity.InvokedBy != "AWS Internal" || e.UserIdentity.AccountID != simtest.Account ||
			e.AWSRegion != ireland || len(e.Resources) != 1 || e.Resources[0].ARN != "arn:aws:kms:"+ohio+":"+simtest.Account+":key/"+key ||
			e.ErrorCode != "" || e.ReadOnly || e.ResponseElements.IsZero() {
			t.Errorf("%+v", e)
		}
	}
}
