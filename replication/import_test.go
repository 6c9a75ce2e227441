package replication_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/awstime"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// bring imports material, wrapped by OpenSSL; a zero validTo is for ever.
func bring(t *testing.T, r *simtest.Region, key, importType string, material []byte, validTo awstime.Timestamp) error {
	t.Helper()
	const wrapping = "RSAES_OAEP_SHA_1"
	out, err := r.Do(t.Context(), "GetParametersForImport", &regions.GetParametersForImportInput{
		KeyID: key, WrappingAlgorithm: wrapping, WrappingKeySpec: "RSA_2048",
	})
	p, is := out.(*regions.GetParametersForImportOutput)
	if err != nil || !is {
		t.Fatalf("GetParametersForImport: %v", err)
	}
	in := &regions.ImportKeyMaterialInput{
		KeyID: key, ImportToken: p.ImportToken, ImportType: importType, ValidTo: validTo,
		EncryptedKeyMaterial: hsmtest.WrapByOpenSSL(t, p.PublicKey, wrapping, material),
	}
	if validTo.IsZero() {
		in.ExpirationModel = "KEY_MATERIAL_DOES_NOT_EXPIRE"
	}
	_, err = r.Do(t.Context(), "ImportKeyMaterial", in)
	return err
}

func stateOf(ctx context.Context, t *testing.T, r *simtest.Region, key string) regions.KeyState {
	t.Helper()
	m, err := r.Describe(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	return m.KeyState
}

// A multi-Region key with imported material: it is replicated without any, is given the same in each Region by its owner
// and no other, and has it there independently of the other Regions.
func TestImportedMultiRegion(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	out, err := a.Do(ctx, "CreateKey", &regions.CreateKeyInput{MultiRegion: true, Origin: "EXTERNAL"})
	made, is := out.(*regions.CreateKeyOutput)
	if err != nil || !is {
		t.Fatal(err)
	}
	key := made.KeyMetadata.KeyID
	if s := made.KeyMetadata.KeyState; s != regions.StatePendingImport {
		t.Errorf("a new key is %s", s)
	}
	wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeInvalidState) // there is nothing that says which material it has
	ours, other := []byte("0123456789abcdef0123456789abcdef"), []byte("another key, of 32 bytes as well")
	if err := bring(t, a, key, "", ours, awstime.Timestamp{}); err != nil {
		t.Fatal(err)
	}
	blob, err := a.Encrypt(ctx, key, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	m3, err := wire.Parse(w.Net.Last(wire.TypeTransfer))
	if transfer, is := m3.(*wire.Transfer); err != nil || !is || len(transfer.Materials) != 0 {
		t.Errorf("m3 has %+v, %v", m3, err)
	}
	checkClean(t, b)
	if s := stateOf(ctx, t, b, key); s != regions.StatePendingImport {
		t.Errorf("the replica is %s", s)
	}
	if len(b.Holds(ctx, key).Materials) != 0 {
		t.Error("the replica has material")
	}
	_, err = b.Decrypt(ctx, blob)
	wantCode(t, err, regions.CodeInvalidState)
	wantCode(t, bring(t, b, key, "", other, awstime.Timestamp{}), regions.CodeIncorrectKeyMaterial)
	if err := bring(t, b, key, "EXISTING_KEY_MATERIAL", ours, awstime.FromTime(b.Region.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	w.Both(ctx, key, ohio, ireland)
	if x, y := a.Holds(ctx, key).Key.Current, b.Holds(ctx, key).Key.Current; x != y {
		t.Errorf("material ids %q and %q", x, y)
	}

	// It is not rotated, in neither Region.
	for _, r := range []*simtest.Region{a, b} {
		wantCode(t, bring(t, r, key, "NEW_KEY_MATERIAL", other, awstime.Timestamp{}), regions.CodeUnsupportedOperation)
		_, err := r.Do(ctx, "RotateKeyOnDemand", &regions.KeyInput{KeyID: key})
		wantCode(t, err, regions.CodeUnsupportedOperation)
		list, err := r.Do(ctx, "ListKeyRotations", &regions.ListKeyRotationsInput{KeyID: key, IncludeKeyMaterial: "ALL_KEY_MATERIAL"})
		if out, is := list.(*regions.ListKeyRotationsOutput); err != nil || !is || len(out.Rotations) != 1 || out.Rotations[0].ImportState != "IMPORTED" {
			t.Errorf("listed %+v, %v", list, err)
		}
	}

	// Its expiry and its deletion are each Region's own.
	w.Advance(time.Hour)
	if err := errors.Join(a.Region.ExpireDue(ctx), b.Region.ExpireDue(ctx)); err != nil {
		t.Fatal(err)
	}
	if x, y := stateOf(ctx, t, a, key), stateOf(ctx, t, b, key); x != regions.StateEnabled || y != regions.StatePendingImport {
		t.Errorf("after the replica's expired: %s, %s", x, y)
	}
	if err := bring(t, b, key, "", ours, awstime.Timestamp{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Do(ctx, "DeleteImportedKeyMaterial", &regions.DeleteImportedKeyMaterialInput{KeyID: key}); err != nil {
		t.Fatal(err)
	}
	a.Restart(t)
	b.Restart(t)
	w.Settle(ctx)
	if got, err := b.Decrypt(ctx, blob); err != nil || got != "x" {
		t.Errorf("the replica decrypts %q, %v", got, err)
	}
	_, err = a.Decrypt(ctx, blob)
	wantCode(t, err, regions.CodeInvalidState)
	wantCode(t, bring(t, a, key, "", other, awstime.Timestamp{}), regions.CodeIncorrectKeyMaterial)
	if err := bring(t, a, key, "", ours, awstime.Timestamp{}); err != nil {
		t.Fatal(err)
	}
	w.Both(ctx, key, ohio, ireland)

	// The other one can be the primary.
	if err := a.UpdatePrimary(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	w.Settle(ctx)
	w.Both(ctx, key, ohio, ireland)
}
