package replication_test

import (
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/simtest"
)

func status(t *testing.T, r *simtest.Region, key string) regions.DescribeKeyReplicasOutput {
	t.Helper()
	out, err := r.Do(t.Context(), "DescribeKeyReplicas", &regions.DescribeKeyReplicasInput{KeyID: key})
	if err != nil {
		t.Fatal(err)
	}
	return *out.(*regions.DescribeKeyReplicasOutput)
}

// The primary's Region tells of each member how far it has come; one that was cut off is behind for as long as it is, with
// the reason; a replica's Region knows of itself.
func TestStatus(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland, tokyo)
	w.Settle(ctx)
	heard := a.Region.Now()
	w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if m.To == tokyo {
			return nil, simtest.ErrLost
		}
		return deliver(m.Data)
	})
	reschedule(t, a, key, 100)
	if err := a.Node.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	w.Advance(90 * time.Second)
	got := status(t, a, key)
	if len(got.Replicas) != 3 || got.PrimaryRegion != ohio || got.Sequence == 0 || got.Epoch != "1.1" {
		t.Fatalf("%+v", got)
	}
	if p := got.Replicas[0]; p.Region != ohio || p.Role != "PRIMARY" || p.State != regions.ReplicaSynchronized || p.Sequence != got.Sequence {
		t.Errorf("primary: %+v", p)
	}
	far, near := got.Replicas[1], got.Replicas[2]
	if near.Region != ireland || near.State != regions.ReplicaSynchronized || near.Sequence != got.Sequence || near.LagSeconds != 0 ||
		near.LastReceiptSHA256 == "" || near.LastError != "" || near.LastReceipt.Millis() != heard.UnixMilli() {
		t.Errorf("%+v", near)
	}
	if far.Region != tokyo || far.State != regions.ReplicaBehind || far.Sequence != got.Sequence-1 || far.LagSeconds != 90 ||
		far.LastError != tokyo+" does not answer" || far.Attempts != 1 || far.NextAttempt.Millis() == 0 || far.LastReceiptSHA256 == "" {
		t.Errorf("%+v", far)
	}
	second := addMaterial(t, a, key, keyset.NonCurrent)
	if far := status(t, a, key).Replicas[1]; len(far.MissingMaterials) != 1 || far.MissingMaterials[0] != second {
		t.Errorf("%+v", far)
	}
	if own := status(t, b, key); own.PrimaryRegion != ohio || len(own.Replicas) != 3 || own.Replicas[0].State != regions.ReplicaUnknown ||
		own.Replicas[2].Region != ireland || own.Replicas[2].Sequence == 0 || own.Replicas[2].State != regions.ReplicaUnknown {
		t.Errorf("a replica's Region says %+v", own)
	}
	w.Net.Carry(nil)
	w.Settle(ctx)
	for _, r := range status(t, a, key).Replicas {
		if r.State != regions.ReplicaSynchronized || r.LagSeconds != 0 || len(r.MissingMaterials) != 0 || r.LastError != "" {
			t.Errorf("in the end: %+v", r)
		}
	}
	agree(t, key, a, b, c)
}
