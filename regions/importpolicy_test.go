package regions_test

import (
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/awstime"
	"antipode/regions/regionstest"
)

// The three operations in every state of a key of origin EXTERNAL, by AWS's page "Key states of AWS KMS keys", and on a
// key of another origin, which comes before the state.
func TestImportStates(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key, own := newImportKey(t, f), f.CreateKey(t, false)
	in := importInput(t, f, key.KeyID, "RSAES_OAEP_SHA_1", newMaterial(t))
	regionstest.Must[imported](t, f, "ImportKeyMaterial", in)
	pristine := f.Key(t, key.KeyID)
	table := map[string][]string{
		"GetParametersForImport":    {"ok", "ok", "3", "3r", "ok", "11", "14", "15"},
		"ImportKeyMaterial":         {"ok", "ok", "3", "3r", "ok", "11", "14", "ok"},
		"DeleteImportedKeyMaterial": {"ok", "ok", "ok", "ok", "ok", "11", "14", "15"},
	}
	for op, row := range table {
		input := func(id string) any {
			switch op {
			case "GetParametersForImport":
				return &regions.GetParametersForImportInput{KeyID: id, WrappingKeySpec: "RSA_2048", WrappingAlgorithm: "RSAES_OAEP_SHA_1"}
			case "ImportKeyMaterial":
				c := *in
				c.KeyID = id
				return &c
			}
			return &regions.DeleteImportedKeyMaterialInput{KeyID: id}
		}
		for i, state := range tableStates {
			f.PutKey(t, key.KeyID, func(k *regions.Key) { *k = pristine; k.State = regions.StatePendingImport })
			regionstest.Must[imported](t, f, "ImportKeyMaterial", in) // the deletion before took it
			f.PutKey(t, key.KeyID, func(k *regions.Key) { k.State = state })
			_, err := regionstest.Do(t.Context(), f.Region, f.Admin, op, input(key.KeyID))
			what, after := op+" in state "+string(state), f.Key(t, key.KeyID).State
			if row[i] != "ok" {
				wantError(t, what, err, notes[row[i]].code, key.Arn+notes[row[i]].text)
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			want := state
			switch {
			case op == "ImportKeyMaterial" && state == regions.StatePendingImport:
				want = regions.StateEnabled
			case op == "DeleteImportedKeyMaterial" && state != regions.StatePendingDeletion && state != regions.StatePendingReplicaDeletion:
				want = regions.StatePendingImport
			}
			if after != want {
				t.Errorf("%s: the key is %s, want %s", what, after, want)
			}
		}
		for _, state := range tableStates {
			f.PutKey(t, own.KeyID, func(k *regions.Key) { k.State = state })
			_, err := regionstest.Do(t.Context(), f.Region, f.Admin, op, input(own.KeyID))
			wantError(t, op+" of another origin", err, "UnsupportedOperationException", own.Arn+" origin is AWS_KMS which is not valid for this operation.")
		}
	}
}

// A key without its material is PendingImport where another would be Disabled or Enabled: cancelling a deletion, and
// switching, can't make it usable.
func TestImportStateFollowsMaterial(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := newImportKey(t, f)
	in := importInput(t, f, key.KeyID, "RSAES_OAEP_SHA_1", newMaterial(t))
	regionstest.Must[imported](t, f, "ImportKeyMaterial", in)
	for _, c := range []struct {
		remove bool
		want   regions.KeyState
	}{{false, regions.StateDisabled}, {true, regions.StatePendingImport}} {
		schedule(t, f, key.KeyID)
		if c.remove {
			regionstest.Must[unimported](t, f, "DeleteImportedKeyMaterial", &regions.DeleteImportedKeyMaterialInput{KeyID: key.KeyID})
		}
		regionstest.Must[regions.CancelKeyDeletionOutput](t, f, "CancelKeyDeletion", &regions.KeyInput{KeyID: key.KeyID})
		if d := describe(t, f, key.KeyID); d.KeyState != c.want {
			t.Errorf("removed %t: %s", c.remove, d.KeyState)
		}
	}
	_, err := regionstest.Call[struct{}](t, f, "EnableKey", &regions.KeyInput{KeyID: key.KeyID})
	wantError(t, "EnableKey", err, "KMSInvalidStateException", key.Arn+" is pending import.")
	regionstest.Must[imported](t, f, "ImportKeyMaterial", in)
	if d := describe(t, f, key.KeyID); d.KeyState != regions.StateEnabled {
		t.Errorf("imported again: %s", d.KeyState)
	}
	// A key that is deleted takes all records of its imports with it.
	schedule(t, f, key.KeyID)
	f.Clock.Advance(8 * oneDay)
	deleteDue(t, f)
	for _, kind := range []regions.RecordKind{regions.KindImported, regions.KindImportPair, regions.KindMaterial} {
		err := f.Store.View(t.Context(), func(rd regions.Reader) error {
			recs, err := rd.List(t.Context(), regions.Query{Kind: kind, ID: key.KeyID})
			if len(recs) != 0 {
				t.Errorf("%d records %s of a deleted key", len(recs), kind)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// What policies may ask of an import: the wrapping, whether the material expires and when; and the key's origin when it is
// made.
func TestImportPolicies(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := newImportKey(t, f)
	in := importInput(t, f, key.KeyID, "RSAES_OAEP_SHA_1", newMaterial(t))
	in.ExpirationModel, in.ValidTo = "KEY_MATERIAL_EXPIRES", awstime.FromTime(f.Clock.Now().Add(time.Hour))
	later := f.Clock.Now().Add(90 * time.Minute).UTC().Format(time.RFC3339)
	sooner := f.Clock.Now().Add(30 * time.Minute).UTC().Format(time.RFC3339)
	params := &regions.GetParametersForImportInput{KeyID: key.KeyID, WrappingKeySpec: "RSA_2048", WrappingAlgorithm: "RSAES_OAEP_SHA_256"}
	for _, c := range []struct {
		op, action, condition string
		in                    any
		allowed               bool
	}{
		{"GetParametersForImport", "kms:GetParametersForImport", `"StringEquals":{"kms:WrappingAlgorithm":"RSAES_OAEP_SHA_256","kms:WrappingKeySpec":"RSA_2048"}`, params, true},
		{"GetParametersForImport", "kms:GetParametersForImport", `"StringEquals":{"kms:WrappingAlgorithm":"RSAES_OAEP_SHA_1"}`, params, false},
		{"GetParametersForImport", "kms:GetParametersForImport", `"StringEquals":{"kms:WrappingKeySpec":"RSA_4096"}`, params, false},
		{"ImportKeyMaterial", "kms:ImportKeyMaterial", `"StringEquals":{"kms:ExpirationModel":"KEY_MATERIAL_EXPIRES"},"DateLessThan":{"kms:ValidTo":"` + later + `"}`, in, true},
		{"ImportKeyMaterial", "kms:ImportKeyMaterial", `"DateLessThan":{"kms:ValidTo":"` + sooner + `"}`, in, false},
		{"ImportKeyMaterial", "kms:ImportKeyMaterial", `"StringEquals":{"kms:ExpirationModel":"KEY_MATERIAL_DOES_NOT_EXPIRE"}`, in, false},
		{"CreateKey", "kms:CreateKey", `"StringEquals":{"kms:KeyOrigin":"EXTERNAL"}`, &regions.CreateKeyInput{Origin: "EXTERNAL"}, true},
		{"CreateKey", "kms:CreateKey", `"StringEquals":{"kms:KeyOrigin":"AWS_KMS"}`, &regions.CreateKeyInput{Origin: "EXTERNAL"}, false},
	} {
		who := regionstest.Caller(regionstest.Account, "carol", "AKIADDDDDDDDDDDDDDDD",
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"`+c.action+`","Resource":"*","Condition":{`+c.condition+`}}]}`)
		_, err := regionstest.Do(t.Context(), f.Region, who, c.op, c.in)
		if got := err == nil; got != c.allowed {
			t.Errorf("%s with %s: %v", c.op, c.condition, err)
		}
	}
}

// Requests that are refused before anything is made.
func TestImportRefused(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := newImportKey(t, f)
	blob, id := []byte("x"), "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	date := awstime.FromTime(f.Clock.Now().Add(time.Hour))
	type (
		load = regions.ImportKeyMaterialInput
		ask  = regions.GetParametersForImportInput
		drop = regions.DeleteImportedKeyMaterialInput
	)
	const constraint = "1 validation error detected: Value "
	for _, c := range []struct {
		op         string
		in         any
		code, text string
	}{
		{"GetParametersForImport", &ask{KeyID: key.KeyID, WrappingKeySpec: "RSA_2048"}, "ValidationException", constraint + "null at 'wrappingAlgorithm' failed to satisfy constraint: Member must not be null"},
		{"GetParametersForImport", &ask{KeyID: key.KeyID, WrappingKeySpec: "RSA_2048", WrappingAlgorithm: "RSAES_PKCS1_V1_5"}, "UnsupportedOperationException", "The wrapping algorithm RSAES_PKCS1_V1_5 is not supported: use RSAES_OAEP_SHA_256."},
		{"GetParametersForImport", &ask{KeyID: key.KeyID, WrappingKeySpec: "SM2", WrappingAlgorithm: "SM2PKE"}, "UnsupportedOperationException", "The wrapping algorithm SM2PKE and the wrapping key spec SM2 are not supported."},
		{"GetParametersForImport", &ask{KeyID: key.KeyID, WrappingKeySpec: "RSA_1024", WrappingAlgorithm: "RSAES_OAEP_SHA_1"}, "ValidationException", constraint + "'RSA_1024' at 'wrappingKeySpec' failed to satisfy constraint: Member must satisfy enum value set: [RSA_2048, RSA_3072, RSA_4096, SM2]"},
		{"ImportKeyMaterial", &load{KeyID: key.KeyID, ImportToken: blob}, "ValidationException", constraint + "null at 'encryptedKeyMaterial' failed to satisfy constraint: Member must not be null"},
		{"ImportKeyMaterial", &load{KeyID: key.KeyID, ImportToken: blob, EncryptedKeyMaterial: blob}, "ValidationException", "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"},
		{"ImportKeyMaterial", &load{KeyID: key.KeyID, ImportToken: blob, EncryptedKeyMaterial: blob, ValidTo: date, ExpirationModel: "KEY_MATERIAL_DOES_NOT_EXPIRE"}, "ValidationException", "A validTo date cannot be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE"},
		{"ImportKeyMaterial", &load{KeyID: key.KeyID, ImportToken: blob, EncryptedKeyMaterial: blob, ValidTo: date, ImportType: "NEW_KEY_MATERIAL", KeyMaterialID: id}, "ValidationException", "KeyMaterialId cannot be specified when ImportType is NEW_KEY_MATERIAL."},
		{"ImportKeyMaterial", &load{KeyID: key.KeyID, ImportToken: blob, EncryptedKeyMaterial: blob, ValidTo: date}, "InvalidImportTokenException", "The import token is invalid or is associated with a different KMS key."},
		{"DeleteImportedKeyMaterial", &drop{KeyID: key.KeyID, KeyMaterialID: id}, "NotFoundException", "Key material " + id + " does not exist in key " + key.Arn},
		{"DeleteImportedKeyMaterial", &drop{KeyID: key.KeyID, KeyMaterialID: "x"}, "ValidationException", constraint + "'x' at 'keyMaterialId' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-f0-9]{64}$"},
	} {
		_, err := regionstest.Do(t.Context(), f.Region, f.Admin, c.op, c.in)
		wantError(t, c.op, err, c.code, c.text)
	}
	// A key that never had material has none to delete, which is no error.
	if out := regionstest.Must[unimported](t, f, "DeleteImportedKeyMaterial", &drop{KeyID: key.KeyID}); out.KeyMaterialID != "" {
		t.Errorf("%+v", out)
	}
	// The material's id may be asked for, and the key that is asked for must be the one.
	in := importInput(t, f, key.KeyID, "RSAES_OAEP_SHA_1", newMaterial(t))
	in.KeyMaterialID = id
	_, err := regionstest.Do(t.Context(), f.Region, f.Admin, "ImportKeyMaterial", in)
	wantError(t, "another id", err, "IncorrectKeyMaterialException", "The key material is not the one with the id "+id+".")
	in.KeyMaterialID, in.ImportType = "", "EXISTING_KEY_MATERIAL"
	_, err = regionstest.Do(t.Context(), f.Region, f.Admin, "ImportKeyMaterial", in)
	wantError(t, "existing, and there is none", err, "IncorrectKeyMaterialException", incorrectMaterial)
}
