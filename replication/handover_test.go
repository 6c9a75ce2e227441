package replication_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// related makes a key of Ohio's with replicas in the others.
func related(t *testing.T, a *simtest.Region, others ...string) (key string) {
	t.Helper()
	key = a.CreateKey(t.Context())
	for _, name := range others {
		if err := a.Replicate(t.Context(), key, name); err != nil {
			t.Fatal(err)
		}
	}
	return key
}

// wantPrimary checks that all Regions say that one of them is the key's primary, in this epoch, and that each is Enabled.
func wantPrimary(t *testing.T, key, primary string, epoch keyset.Epoch, all ...*simtest.Region) {
	t.Helper()
	for _, r := range all {
		m := wantState(t, r, key, regions.StateEnabled)
		kind := "REPLICA"
		if r.Name == primary {
			kind = "PRIMARY"
		}
		c := m.MultiRegionConfiguration
		if c == nil || c.PrimaryKey.Region != primary || c.MultiRegionKeyType != kind || len(c.ReplicaKeys) != len(all)-1 {
			t.Errorf("%s describes %+v, want the primary %s", r.Name, c, primary)
		}
		mr := r.Holds(t.Context(), key).Key.MultiRegion
		if mr.State.Epoch != epoch || len(mr.Certificates) != int(epoch.Term) || mr.HandingTo != "" {
			t.Errorf("%s is at %v with %d certificates, hands over to %q", r.Name, mr.State.Epoch, len(mr.Certificates), mr.HandingTo)
		}
	}
}

func term(n uint64) keyset.Epoch { return keyset.Epoch{Generation: 1, Term: n} }

// The primary goes round three Regions, and each of them encrypts and decrypts all the time; each new primary replicates.
func TestHandOverRing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := simtest.New(t, ohio, ireland, tokyo)
	a, b, c := w.Region(ohio), w.Region(ireland), w.Region(tokyo)
	key := related(t, a, ireland, tokyo)
	w.Settle(ctx)
	first, err := a.Encrypt(ctx, key, "from the beginning")
	if err != nil {
		t.Fatal(err)
	}
	ring := []*simtest.Region{a, b, c, a}
	for i := range 3 {
		from, to := ring[i], ring[i+1]
		if err := from.UpdatePrimary(ctx, key, to.Name); err != nil {
			t.Fatalf("from %s to %s: %v", from.Name, to.Name, err)
		}
		wantPrimaryOf(t, from, key, to.Name) // at once in both
		wantPrimaryOf(t, to, key, to.Name)
		w.Settle(ctx)
		wantPrimary(t, key, to.Name, term(uint64(i)+2), a, b, c)
		w.Both(ctx, key, ohio, ireland)
		w.Both(ctx, key, ireland, tokyo)
		for _, r := range ring[:3] {
			if got, err := r.Decrypt(ctx, first); err != nil || got != "from the beginning" {
				t.Errorf("%s decrypts to %q, %v", r.Name, got, err)
			}
		}
		err := from.UpdatePrimary(ctx, key, to.Name)
		want := "is not a multi-region primary key."
		if regions.AsError(err).Code != regions.CodeUnsupportedOperation || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("again from %s: %v", from.Name, err)
		}
		e := to.Events(ctx, "UpdatePrimaryRegion")
		last := e[len(e)-1]
		own := from.Events(ctx, "UpdatePrimaryRegion")
		if last.ErrorCode != "" || last.UserIdentity.InvokedBy != "kms.amazonaws.com" || last.RequestID != "simtest" ||
			last.UserIdentity.ARN != w.Administrator() {
			t.Errorf("%s recorded %+v", to.Name, last)
		}
		if len(own) == 0 || own[len(own)-2].ErrorCode != "" || own[len(own)-2].RequestID != last.RequestID {
			t.Errorf("%s recorded %+v", from.Name, own)
		}
	}
}

// wantPrimaryOf checks what one Region says is the key's primary.
func wantPrimaryOf(t *testing.T, r *simtest.Region, key, primary string) {
	t.Helper()
	m, err := r.Describe(t.Context(), key)
	if err != nil || m.MultiRegionConfiguration.PrimaryKey.Region != primary || m.KeyState != regions.StateEnabled {
		t.Errorf("%s describes %+v, %v; want the primary %s", r.Name, m, err, primary)
	}
}

// What the API refuses, with AWS's errors, before anything is asked of another Region.
func TestHandOverRefusedHere(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := simtest.New(t, ohio, ireland, tokyo)
	a, b := w.Region(ohio), w.Region(ireland)
	key := related(t, a, ireland)
	w.Settle(ctx)
	w.Net.Forget()
	single, err := a.Do(ctx, "CreateKey", &regions.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	made, isMade := single.(*regions.CreateKeyOutput)
	if !isMade {
		t.Fatalf("made %T", single)
	}
	for _, c := range []struct {
		what, key, to, code string
		in                  *simtest.Region
	}{
		{"a replica", key, ohio, regions.CodeUnsupportedOperation, b},
		{"a single-Region key", made.KeyMetadata.KeyID, ireland, regions.CodeUnsupportedOperation, a},
		{"to itself", key, ohio, regions.CodeUnsupportedOperation, a},
		{"where no replica is", key, tokyo, regions.CodeNotFound, a},
		{"to nowhere", key, "eu-west-9", regions.CodeNotFound, a},
		{"to no Region", key, "Europe", regions.CodeValidation, a},
		{"no key", "mrk-" + strings.Repeat("0", 32), ireland, regions.CodeNotFound, a},
	} {
		if err := c.in.UpdatePrimary(ctx, c.key, c.to); regions.AsError(err).Code != c.code {
			t.Errorf("%s: %v, want %s", c.what, err, c.code)
		}
	}
	if log := w.Net.Log(); len(log) != 0 {
		t.Errorf("%d messages were sent", len(log))
	}
	wantPrimary(t, key, ohio, term(1), a, b)
}

// What the successor refuses is answered to the caller, leaves both Regions as they were, and is in both audit logs:
// whether it was asked for by the dry run, or has changed its mind since.
func TestHandOverRefusedThere(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	for i, c := range []struct {
		what, code string
		hinder     func(key string) error
	}{
		{"the replica is disabled", regions.CodeDisabled, func(key string) error {
			_, err := b.Do(ctx, "DisableKey", &regions.KeyInput{KeyID: key})
			return err
		}},
		{"the replica is to be deleted", regions.CodeInvalidState, func(key string) error { return b.ScheduleDeletion(ctx, key) }},
		{"the key's policy there denies it", regions.CodeAccessDenied, func(key string) error {
			_, err := b.Do(ctx, "PutKeyPolicy", &regions.PutKeyPolicyInput{KeyID: key, Policy: fmt.Sprintf(
				`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::%s:root"},"Action":"kms:*","Resource":"*"},`+
					`{"Effect":"Deny","Principal":"*","Action":"kms:UpdatePrimaryRegion","Resource":"*","Condition":{"StringEquals":{"kms:PrimaryRegion":%q}}}]}`,
				simtest.Account, ireland)})
			return err
		}},
	} {
		for _, late := range []bool{false, true} {
			key := related(t, a, ireland)
			w.Settle(ctx)
			before, after := a.Holds(ctx, key).Key.MultiRegion, term(1)
			if late { // the dry run finds nothing
				w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
					if handsOver(m) {
						if err := c.hinder(key); err != nil {
							t.Error(err)
						}
					}
					return deliver(m.Data)
				})
				after = term(2) // by which the certificate that was refused is void
			} else {
				if err := c.hinder(key); err != nil {
					t.Fatal(err)
				}
			}
			err := a.UpdatePrimary(ctx, key, ireland)
			w.Net.Carry(nil)
			if regions.AsError(err).Code != c.code {
				t.Errorf("%s, late %t: %v", c.what, late, err)
			}
			wantPrimaryOf(t, a, key, ohio)
			mr := a.Holds(ctx, key).Key.MultiRegion
			if mr.State.Epoch != after || len(mr.State.Members) != len(before.State.Members) || len(a.HandOvers(ctx)) != 0 {
				t.Errorf("%s, late %t: the key set is %+v", c.what, late, mr.State)
			}
			e := b.Events(ctx, "UpdatePrimaryRegion")
			if n := 2*i + 1; !late && (len(e) != n || e[n-1].ErrorCode != c.code || e[n-1].UserIdentity.ARN != w.Administrator()) {
				t.Errorf("%s: %d events, the last %+v", c.what, len(e), e[len(e)-1])
			}
			if e := a.Events(ctx, "UpdatePrimaryRegion"); e[len(e)-1].ErrorCode != c.code {
				t.Errorf("%s: recorded %+v", c.what, e[len(e)-1])
			}
			w.Settle(ctx)
			if err := a.Replicate(ctx, key, ireland); regions.AsError(err).Code != regions.CodeAlreadyExists {
				t.Errorf("%s, late %t: the primary does not act: %v", c.what, late, err)
			}
		}
	}
}

// handsOver reports whether a message is a hand-over and no dry run.
func handsOver(m simtest.Message) bool {
	sent, err := wire.Parse(m.Data)
	if err != nil {
		return false
	}
	h, is := sent.(*wire.HandOver)
	return is && !h.DryRun
}

// While the successor does not answer the key is Updating: it encrypts, what AWS allows then is done, and nothing that is
// shared changes. When the successor answers it is the primary, whatever was lost on the way.
func TestHandOverLosses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	for _, c := range []struct {
		name  string
		taken bool // by the successor
		lose  simtest.Carrier
	}{
		{"request", false, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
			if handsOver(m) {
				return nil, simtest.ErrLost
			}
			return deliver(m.Data)
		}},
		{"answer", true, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
			answer, err := deliver(m.Data)
			if handsOver(m) {
				return nil, errors.Join(simtest.ErrLost, err)
			}
			if m.From == ireland && m.Type == wire.TypeSync || m.Type == wire.TypeCompare {
				return nil, errors.Join(simtest.ErrLost, err)
			}
			return answer, err
		}},
		{"something else is answered", false, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
			if handsOver(m) {
				return m.Data, nil
			}
			return deliver(m.Data)
		}},
	} {
		key := related(t, a, ireland)
		w.Settle(ctx)
		w.Net.Forget()
		w.Net.Carry(c.lose)
		if err := a.UpdatePrimary(ctx, key, ireland); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		wantUpdating(t, w, a, b, key)
		if got := b.Holds(ctx, key).Key.MultiRegion.State.Primary; (got == ireland) != c.taken {
			t.Errorf("%s: %s holds the primary %s", c.name, ireland, got)
		}
		a.Restart(t)
		b.Restart(t)
		w.Advance(31 * time.Second)
		_ = a.Node.Tick(ctx)
		wantUpdating(t, w, a, b, key)
		w.Net.Carry(nil)
		w.Settle(ctx)
		wantPrimary(t, key, ireland, term(2), a, b)
		var first []byte
		for _, m := range w.Net.Log() {
			if m.Answer || !handsOver(m) {
				continue
			}
			if first == nil {
				first = m.Data
			}
			if string(m.Data) != string(first) {
				t.Errorf("%s: other bytes were sent", c.name)
			}
		}
		// A repeat is given the kept answer.
		again, err := w.Net.Send(ctx, ohio, ireland, first)
		if err != nil || string(again) != string(w.Net.Last(wire.TypeHandOverAck)) {
			t.Errorf("%s: a repeat is answered %x, %v", c.name, again, err)
		}
		if n := len(b.Events(ctx, "UpdatePrimaryRegion")); n == 0 {
			t.Errorf("%s: %d events", c.name, n)
		}
		wantPrimary(t, key, ireland, term(2), a, b)
	}
}

// wantUpdating checks the old primary while its successor has not answered.
func wantUpdating(t *testing.T, w *simtest.World, a, b *simtest.Region, key string) {
	t.Helper()
	ctx := t.Context()
	wantState(t, a, key, regions.StateUpdating)
	w.Both(ctx, key, a.Name, b.Name)
	before := a.Holds(ctx, key).Key.MultiRegion.Signed
	in := &regions.KeyInput{KeyID: key}
	for op, input := range map[string]any{
		"DisableKey": in, "EnableKey": in, "RotateKeyOnDemand": in,
		"ScheduleKeyDeletion": &regions.ScheduleKeyDeletionInput{KeyID: key},
		"ReplicateKey":        &regions.ReplicateKeyInput{KeyID: key, ReplicaRegion: "eu-west-9"},
	} {
		_, err := a.Do(ctx, op, input)
		if e := regions.AsError(err); e.Code != regions.CodeInvalidState && e.Code != regions.CodeValidation {
			t.Errorf("%s while Updating: %v", op, err)
		}
	}
	text := "d"
	if _, err := a.Do(ctx, "UpdateKeyDescription", &regions.UpdateKeyDescriptionInput{KeyID: key, Description: &text}); err != nil {
		t.Errorf("UpdateKeyDescription while Updating: %v", err)
	}
	if err := a.UpdatePrimary(ctx, key, b.Name); err != nil {
		t.Errorf("UpdatePrimaryRegion again: %v", err)
	}
	if string(before) != string(a.Holds(ctx, key).Key.MultiRegion.Signed) {
		t.Error("what is shared has changed")
	}
}
