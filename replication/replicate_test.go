package replication_test

import (
	"slices"
	"testing"

	"antipode/regions"
	"antipode/replication/simtest"
)

const ohio, ireland = "us-east-2", "eu-west-1"

func twoRegions(t *testing.T) (w *simtest.World, a, b *simtest.Region) {
	t.Helper()
	w = simtest.New(t, ohio, ireland)
	return w, w.Region(ohio), w.Region(ireland)
}

// TestReplicate is the way that everything else strays from.
func TestReplicate(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	checkClean(t, a, b)
	w.Both(ctx, key, ohio, ireland)

	metadata := map[string]regions.KeyMetadata{}
	for _, r := range []*simtest.Region{a, b} {
		m, err := r.Describe(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		metadata[r.Name] = m
		if m.KeyID != key || m.KeyState != regions.StateEnabled || !m.Enabled || !m.MultiRegion {
			t.Errorf("%s: %+v", r.Name, m)
		}
		c := m.MultiRegionConfiguration
		if c.PrimaryKey.Region != ohio || len(c.ReplicaKeys) != 1 || c.ReplicaKeys[0].Region != ireland {
			t.Errorf("%s lists %+v", r.Name, c)
		}
		if want := map[string]string{ohio: "PRIMARY", ireland: "REPLICA"}[r.Name]; c.MultiRegionKeyType != want {
			t.Errorf("%s is a %s", r.Name, c.MultiRegionKeyType)
		}
	}
	if x, y := metadata[ohio].CurrentKeyMaterialID, metadata[ireland].CurrentKeyMaterialID; x != y || len(x) != 64 {
		t.Errorf("material ids %q and %q", x, y)
	}
	checkReplicated(t, a, b, key)

	for _, r := range []*simtest.Region{a, b} {
		if got := r.Events(ctx, "ReplicationReceipt"); len(got) != 1 {
			t.Errorf("%s has %d receipts in its audit log", r.Name, len(got))
		}
	}
	if got := b.Events(ctx, "CreateKey"); len(got) != 1 || got[0].ErrorCode != "" || got[0].UserIdentity.ARN != w.Administrator() {
		t.Errorf("%s has %d events CreateKey: %+v", b.Name, len(got), got)
	}
	// It is still there for the next process, and a second replica in the same Region is refused.
	a.Restart(t)
	b.Restart(t)
	w.Both(ctx, key, ohio, ireland)
	wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeAlreadyExists)
	// A replica is no primary.
	wantCode(t, b.Replicate(ctx, key, ohio), regions.CodeUnsupportedOperation)
	if _, err := audit(t, a); err != nil {
		t.Error(err)
	}
}

// TestThreeRegions replicates one key twice, the second time with a member in the set already.
func TestThreeRegions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const tokyo = "ap-northeast-1"
	w := simtest.New(t, ohio, ireland, tokyo)
	key := w.Region(ohio).CreateKey(ctx)
	for _, to := range []string{ireland, tokyo} {
		if err := w.Region(ohio).Replicate(ctx, key, to); err != nil {
			t.Fatal(err)
		}
	}
	w.Both(ctx, key, ohio, ireland)
	w.Both(ctx, key, ohio, tokyo)
	w.Both(ctx, key, ireland, tokyo)
	m := w.Region(ohio).Holds(ctx, key).Key.MultiRegion.State.Members
	if names := []string{m[0].Region, m[1].Region, m[2].Region}; !slices.Equal(names, []string{tokyo, ireland, ohio}) {
		t.Errorf("members %v", names)
	}
}
