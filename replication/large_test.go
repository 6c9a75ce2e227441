package replication_test

import (
	"fmt"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/policy"
	"antipode/replication/simtest"
)

// The largest policy, description and tags that the API takes pass through the whole exchange: what is kept of it on the
// way is larger than what a token computes a MAC of at once.
func TestLargestReplica(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	document := policy.Default(simtest.Account)
	document += strings.Repeat(" ", policy.MaxSize-len(document))
	in := &regions.ReplicateKeyInput{
		KeyID: key, ReplicaRegion: ireland, Policy: document, Description: strings.Repeat("d", 8192),
	}
	for i := range 50 {
		name := fmt.Sprintf("%03d", i)
		in.Tags = append(in.Tags, regions.Tag{
			TagKey: name + strings.Repeat("k", 128-len(name)), TagValue: strings.Repeat("\U0001f511", 256),
		})
	}
	if _, err := a.Do(ctx, "ReplicateKey", in); err != nil {
		t.Fatal(err)
	}
	w.Both(ctx, key, ohio, ireland)
	if k := b.Holds(ctx, key).Key; len(k.Tags) != 50 || k.State != regions.StateEnabled {
		t.Errorf("the replica has %d tags and is %s", len(k.Tags), k.State)
	}
	a.Restart(t)
	b.Restart(t)
	w.Both(ctx, key, ohio, ireland)
	if n := a.OpenExchanges(ctx) + b.OpenExchanges(ctx); n != 0 {
		t.Errorf("%d exchanges are open", n)
	}
}
