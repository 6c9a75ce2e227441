package replication_test

import (
	"testing"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

func rotate(t *testing.T, r *simtest.Region, key string) error {
	t.Helper()
	_, err := r.Do(t.Context(), "RotateKeyOnDemand", &regions.KeyInput{KeyID: key})
	return err
}

func rotations(t *testing.T, r *simtest.Region, key string) []regions.RotationsListEntry {
	t.Helper()
	out, err := r.Do(t.Context(), "ListKeyRotations", &regions.ListKeyRotationsInput{KeyID: key, IncludeKeyMaterial: "ALL_KEY_MATERIAL"})
	list, is := out.(*regions.ListKeyRotationsOutput)
	if err != nil || !is {
		t.Fatalf("ListKeyRotations: %v", err)
	}
	return list.Rotations
}

// A primary without replicas is rotated; a replica that is made later has all of its materials and the same history. With
// a replica, neither of the two is rotated: the new material would encrypt before both hold it.
func TestRotatePrimary(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	var blobs [][]byte
	encrypt := func() {
		t.Helper()
		blob, err := a.Encrypt(ctx, key, "x")
		if err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, blob)
	}
	encrypt()
	if _, err := a.Do(ctx, "EnableKeyRotation", &regions.EnableKeyRotationInput{KeyID: key}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		sequence := a.Holds(ctx, key).Key.MultiRegion.State.Sequence
		if err := rotate(t, a, key); err != nil {
			t.Fatal(err)
		}
		if s := a.Holds(ctx, key).Key.MultiRegion.State; s.Sequence != sequence+1 || s.Current() != a.Holds(ctx, key).Key.Current {
			t.Errorf("shared state %+v", s)
		}
		encrypt()
	}
	replicate(t, a, key, ireland)
	checkReplicated(t, a, b, key)
	for i, blob := range blobs {
		if got, err := b.Decrypt(ctx, blob); err != nil || got != "x" {
			t.Errorf("the replica opens blob %d as %q, %v", i, got, err)
		}
	}
	here, there := rotations(t, a, key), rotations(t, b, key)
	if len(here) != 4 || len(there) != 4 {
		t.Fatalf("%d and %d materials", len(here), len(there))
	}
	for i := range here {
		if here[i] != there[i] {
			t.Errorf("material %d: %+v and %+v", i, here[i], there[i])
		}
	}
	out, err := b.Do(ctx, "GetKeyRotationStatus", &regions.KeyInput{KeyID: key})
	if status, is := out.(*regions.GetKeyRotationStatusOutput); err != nil || !is || !status.KeyRotationEnabled || status.RotationPeriodInDays != 365 {
		t.Errorf("the replica's status: %+v, %v", out, err)
	}

	// It is the primary that rotates.
	for _, op := range []string{"RotateKeyOnDemand", "DisableKeyRotation"} {
		_, err = b.Do(ctx, op, &regions.KeyInput{KeyID: key})
		wantUnsupported(t, err, b.Region.KeyARN(simtest.Account, key)+" is not a multi-Region primary key.")
	}
	_, err = b.Do(ctx, "EnableKeyRotation", &regions.EnableKeyRotationInput{KeyID: key})
	wantUnsupported(t, err, b.Region.KeyARN(simtest.Account, key)+" is not a multi-Region primary key.")
	if n := len(rotations(t, a, key)); n != 4 {
		t.Errorf("%d materials", n)
	}
	for i, e := range here {
		if i > 0 && e.RotationType != keyset.OnDemand {
			t.Errorf("material %d: %s", i, e.RotationType)
		}
	}
}

func wantUnsupported(t *testing.T, err error, text string) {
	t.Helper()
	wantCode(t, err, regions.CodeUnsupportedOperation)
	if api := regions.AsError(err); err != nil && api.Message != text {
		t.Errorf("got %q, want %q", api.Message, text)
	}
}

// A key that is rotated between the offer of a replica and its acceptance is offered again, with the new material. Once the
// replica is a member, and until it has its material, the key is not rotated.
func TestRotateWhileReplicating(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{wire.TypeOffer, wire.TypeTransfer} {
		w, a, b := twoRegions(t)
		ctx := t.Context()
		key := a.CreateKey(ctx)
		met := false
		w.Net.Carry(once(typ, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
			met = true
			err := rotate(t, a, key)
			if typ == wire.TypeTransfer { // it is a member
				wantCode(t, err, regions.CodeConflict)
			} else if err != nil {
				t.Error(err)
			}
			return deliver(m.Data)
		}))
		if err := a.Replicate(ctx, key, ireland); err != nil || !met {
			t.Fatalf("%s: %v, met %t", typ, err, met)
		}
		checkReplicated(t, a, b, key)
		want := 1
		if typ == wire.TypeOffer {
			want = 2
		}
		if h := b.Holds(ctx, key); len(h.Materials) != want || h.Key.Current != currentOf(t, a, key) {
			t.Errorf("%s: the replica has %d materials", typ, len(h.Materials))
		}
	}
}
