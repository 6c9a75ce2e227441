package regions_test

import (
	"errors"
	"testing"

	"antipode/regions"
	"antipode/regions/regionstest"
)

// Who may describe a key may ask how its Regions stand, and nobody else; a single-Region key has none.
func TestDescribeKeyReplicas(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	single, primary := f.CreateKey(t, false), f.CreateKey(t, true)
	_, err := regionstest.Call[regions.DescribeKeyReplicasOutput](t, f, "DescribeKeyReplicas", &regions.DescribeKeyReplicasInput{KeyID: single.KeyID})
	wantError(t, "of a single-Region key", err, regions.CodeUnsupportedOperation, single.Arn+" is not a multi-Region key.")
	_, err = regionstest.Call[regions.DescribeKeyReplicasOutput](t, f, "DescribeKeyReplicas", &regions.DescribeKeyReplicasInput{KeyID: "mrk-00000000000000000000000000000000"})
	if !errors.Is(err, &regions.Error{Code: regions.CodeNotFound}) {
		t.Errorf("of no key: %v", err)
	}
	out := regionstest.Must[regions.DescribeKeyReplicasOutput](t, f, "DescribeKeyReplicas", &regions.DescribeKeyReplicasInput{KeyID: primary.KeyID})
	if len(out.Replicas) != 1 || out.PrimaryRegion != "us-east-2" || out.Epoch != "1.1" || out.Sequence != 1 {
		t.Errorf("%+v", out)
	}
	if r := out.Replicas[0]; r.Role != "PRIMARY" || r.State != regions.ReplicaSynchronized || r.Arn != primary.Arn || r.LagSeconds != 0 || len(r.MissingMaterials) != 0 {
		t.Errorf("%+v", r)
	}
	for policy, allowed := range map[string]bool{"kms:DescribeKey": true, "kms:DescribeKeyReplicas": false, "kms:ListKeys": false} {
		who := regionstest.Caller(regionstest.Account, "bob", "AKIABBBBBBBBBBBBBBBB",
			`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"`+policy+`","Resource":"*"}}`)
		_, err := regionstest.Do(t.Context(), f.Region, who, "DescribeKeyReplicas", &regions.DescribeKeyReplicasInput{KeyID: primary.KeyID})
		if allowed != (err == nil) || !allowed && !errors.Is(err, &regions.Error{Code: regions.CodeAccessDenied}) {
			t.Errorf("with %s: %v", policy, err)
		}
	}
}
