package regions_test

import (
	"errors"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/awstime"
	"antipode/regions/canon"
	"antipode/regions/regionstest"
)

// Who can write the store but has not the token alters what is on record of imported material. It is refused before the
// token is given any of it: the calls on the key, or the import, answer KMSInternalException.
func TestImportStoreAttacker(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		pair  bool // only an import by A's token needs it
		alter func(*vandal)
	}{
		{"B's import record moved to A", false, func(v *vandal) {
			a, b := v.one(regions.KindImported, v.a), v.one(regions.KindImported, v.b)
			b.RecordKey = a.RecordKey
			v.put(b)
		}},
		{"the import records of A and B swapped", false, func(v *vandal) {
			v.swap(v.one(regions.KindImported, v.a), v.one(regions.KindImported, v.b))
		}},
		{"B's import record in A, under its own id", false, func(v *vandal) {
			b := v.one(regions.KindImported, v.b)
			b.ID = v.a
			v.put(b)
		}},
		{"A's expiry removed", false, func(v *vandal) {
			rec := v.one(regions.KindImported, v.a)
			rec.Due = 0
			edit(v, rec, func(i *regions.ImportedMaterial) { i.Expires = 0 })
		}},
		{"A's import record removed", false, func(v *vandal) {
			if err := v.tx.Delete(v.t.Context(), v.one(regions.KindImported, v.a).RecordKey); err != nil {
				v.t.Fatal(err)
			}
		}},
		{"the wrapping pairs of A and B swapped", true, func(v *vandal) {
			v.swap(v.one(regions.KindImportPair, v.a), v.one(regions.KindImportPair, v.b))
		}},
		{"B's wrapping pair in A's", true, func(v *vandal) {
			var other regions.ImportPair
			if err := canon.Unmarshal(v.one(regions.KindImportPair, v.b).Body, &other); err != nil {
				v.t.Fatal(err)
			}
			edit(v, v.one(regions.KindImportPair, v.a), func(p *regions.ImportPair) { p.Pair = other.Pair })
		}},
		{"another wrapping algorithm of A's pair", true, func(v *vandal) {
			edit(v, v.one(regions.KindImportPair, v.a), func(p *regions.ImportPair) { p.Algorithm = "RSAES_OAEP_SHA_256" })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ops := &opsCounter{}
			f := regionstest.Open(t, "us-east-2", regionstest.WithToken(ops.wrap))
			v := &vandal{t: t, a: newImportKey(t, f).KeyID, b: newImportKey(t, f).KeyID}
			in := map[string]*regions.ImportKeyMaterialInput{}
			for _, id := range []string{v.a, v.b} {
				in[id] = importInput(t, f, id, "RSAES_OAEP_SHA_1", newMaterial(t))
				in[id].ExpirationModel, in[id].ValidTo = "", awstime.FromTime(f.Clock.Now().Add(time.Hour))
				regionstest.Must[imported](t, f, "ImportKeyMaterial", in[id])
			}
			blob := f.Encrypt(t, v.a, []byte("attack at dawn"))
			f.Close(t)
			tamper(t, f.StorePath, func(tx regions.Tx) { v.tx = tx; c.alter(v) })
			if err := f.TryOpen(t); err != nil {
				t.Fatal(err)
			}
			before := ops.count("Unwrap", "UnwrapOAEP", "DecryptOAEP", "ImportKey", "SealGCM", "OpenGCM", "DeriveXAES")
			refused := func(op string, in any) {
				t.Helper()
				out, err := regionstest.Do(t.Context(), f.Region, f.Admin, op, in)
				var api *regions.Error
				if !errors.As(err, &api) || api.Code != regions.CodeInternal || api.Message != "" {
					t.Errorf("%s answers %+v, %v", op, out, err)
				}
			}
			refused("ImportKeyMaterial", in[v.a])
			if !c.pair {
				refused("Encrypt", &regions.EncryptInput{KeyID: v.a, Plaintext: []byte("x")})
				refused("Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
				refused("DescribeKey", &regions.DescribeKeyInput{KeyID: v.a})
				refused("DeleteImportedKeyMaterial", &regions.DeleteImportedKeyMaterialInput{KeyID: v.a})
			}
			if n := ops.count("Unwrap", "UnwrapOAEP", "DecryptOAEP", "ImportKey", "SealGCM", "OpenGCM", "DeriveXAES"); n != before {
				t.Errorf("%d calls to the token with keys", n-before)
			}
			if !c.pair { // the other key is not touched
				return
			}
			if p, err := decryptOne(t, f, blob); p != "attack at dawn" {
				t.Errorf("decrypted %q, %v", p, err)
			}
		})
	}
}
