package replication_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"antipode/regions"
	auditlog "antipode/regions/audit"
	"antipode/regions/keyset"
	"antipode/replication"
	"antipode/replication/simtest"
)

// wantCode checks that err is an API error with this code.
func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var api *regions.Error
	if !errors.As(err, &api) || api.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

// audit verifies the chain of a Region's audit log.
func audit(t *testing.T, r *simtest.Region) (auditlog.Head, error) {
	t.Helper()
	return auditlog.Verify(t.Context(), filepath.Join(r.Dir, "audit"))
}

// checkReplicated checks that the key is wholly in b: the same materials, the member of the same exchange, one receipt
// that both hold, and the state that the source sent.
func checkReplicated(t *testing.T, a, b *simtest.Region, key string) {
	t.Helper()
	ctx := t.Context()
	source, replica := a.Holds(ctx, key), b.Holds(ctx, key)
	if replica.Key == nil || replica.Key.MultiRegion.State == nil {
		t.Fatalf("%s does not hold %s", b.Name, key)
	}
	member, ok := source.Key.MultiRegion.State.Member(b.Name)
	if !ok || member.Status != keyset.Active || member.Incarnation != replica.Key.MultiRegion.Incarnation {
		t.Errorf("%s has the member %+v, %s is incarnation %x", a.Name, member, b.Name, replica.Key.MultiRegion.Incarnation)
	}
	if source.Key.Current != replica.Key.Current || len(source.Materials) != len(replica.Materials) || replica.Policies != 1 {
		t.Errorf("%s holds material %s (%d), %s holds %s (%d) and %d policies", a.Name, source.Key.Current,
			len(source.Materials), b.Name, replica.Key.Current, len(replica.Materials), replica.Policies)
	}
	for i := range source.Materials {
		x, y := source.Materials[i], replica.Materials[i]
		if x.ID != y.ID || x.Spec != y.Spec || bytes.Equal(x.EKT, y.EKT) {
			t.Errorf("material %s and %s; the key tokens are %d and %d bytes, equal: %v", x.ID, y.ID, len(x.EKT), len(y.EKT),
				bytes.Equal(x.EKT, y.EKT))
		}
	}
	checkShared(t, *source.Key.MultiRegion.State, *replica.Key.MultiRegion.State)
	var sent, kept []byte
	for _, e := range source.Source {
		if e.Step == replication.StepFinished && e.Order.Region == b.Name {
			sent = append(sent, e.M4...)
		}
	}
	for _, e := range replica.Dest {
		if e.Step == replication.StepFinished {
			kept = append(kept, e.Answer...)
		}
	}
	if len(kept) == 0 || !bytes.Equal(sent, kept) {
		t.Errorf("receipts of %d and %d bytes, not one that both keep", len(sent), len(kept))
	}
}

// checkShared checks that the replica's shared state is the primary's as of the exchange: nothing but the destination's
// status, and the number that goes with it, may be newer.
func checkShared(t *testing.T, primary, replica keyset.State) {
	t.Helper()
	if primary.Epoch != replica.Epoch || primary.Certificate != replica.Certificate || primary.Primary != replica.Primary ||
		primary.KeyID != replica.KeyID || primary.Sequence < replica.Sequence || len(primary.Members) != len(replica.Members) {
		t.Errorf("shared states differ:\n%+v\n%+v", primary, replica)
		return
	}
	for i, m := range primary.Members {
		if o := replica.Members[i]; o.Region != m.Region || o.Incarnation != m.Incarnation {
			t.Errorf("members differ: %+v, %+v", m, o)
		}
	}
	if len(primary.Materials) != len(replica.Materials) || primary.Materials[0] != replica.Materials[0] {
		t.Errorf("materials differ: %+v, %+v", primary.Materials, replica.Materials)
	}
}

// checkAbsent checks that nothing of the key is in b, nor any trace of membership at a, and that nothing is still open.
func checkAbsent(t *testing.T, a, b *simtest.Region, key string) {
	t.Helper()
	ctx := t.Context()
	source, replica := a.Holds(ctx, key), b.Holds(ctx, key)
	if replica.Key != nil || replica.Policies != 0 || len(replica.Materials) != 0 {
		t.Errorf("%s holds something of %s: %+v", b.Name, key, replica)
	}
	if m, member := source.Key.MultiRegion.State.Member(b.Name); member {
		t.Errorf("%s has the member %+v", a.Name, m)
	}
	for _, e := range source.Source {
		if e.Due != 0 || e.Step == replication.StepFinished {
			t.Errorf("%s has an exchange at step %s, due %d", a.Name, e.Step, e.Due)
		}
	}
	for _, e := range replica.Dest {
		if e.Step == replication.StepReserved || e.Step == replication.StepFinished {
			t.Errorf("%s has an exchange at step %s", b.Name, e.Step)
		}
	}
}

// checkClean checks that no exchange has anything on a token. It holds only before the first Encrypt or Decrypt.
func checkClean(t *testing.T, rs ...*simtest.Region) {
	t.Helper()
	for _, r := range rs {
		if n := r.Extra(); n != 0 {
			t.Errorf("%s has %d session objects that are neither its own keys nor working copies", r.Name, n)
		}
	}
}
