package regions_test

import (
	"fmt"
	"testing"

	"antipode/regions"
	"antipode/regions/regionstest"
)

// withGrants is a key with so many grants, each on another value of the encryption context, which a store would have after
// as many calls of CreateGrant.
func withGrants(tb testing.TB, f *regionstest.Fixture, n int) (keyID string) {
	tb.Helper()
	k := f.CreateKey(tb, false)
	err := f.Region.Update(tb.Context(), func(tx regions.Tx) error {
		for i := range n {
			err := regions.Put(tb.Context(), tx, f.Region.Ring(), regions.GrantRecord{
				Account: regionstest.Account, KeyID: k.KeyID, ID: fmt.Sprintf("%064x", i), Grantee: f.Admin.ARN, Operations: []string{"Decrypt", "Encrypt"},
				Subset: map[string]string{"tenant": fmt.Sprint(i)}, Issuer: regionstest.Account, Created: 1,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return k.KeyID
}

// BenchmarkGrants measures calls on a key with many grants: Encrypt, CreateGrant, and Encrypt just after a change of the
// grants, which reads them all again.
func BenchmarkGrants(b *testing.B) {
	for _, n := range []int{0, 1000, 10000} {
		f := regionstest.Open(b, "us-east-2")
		id := withGrants(b, f, n)
		encrypt := &regions.EncryptInput{KeyID: id, Plaintext: []byte("x"), EncryptionContext: map[string]string{"tenant": "7"}}
		grant := &regions.CreateGrantInput{KeyID: id, GranteePrincipal: f.Admin.ARN, Operations: []string{"Encrypt"}, Name: "again"}
		b.Run(fmt.Sprintf("%d/Encrypt", n), func(b *testing.B) {
			for b.Loop() {
				regionstest.Must[regions.EncryptOutput](b, f, "Encrypt", encrypt)
			}
		})
		b.Run(fmt.Sprintf("%d/CreateGrant,Encrypt", n), func(b *testing.B) {
			for b.Loop() {
				regionstest.Must[regions.CreateGrantOutput](b, f, "CreateGrant", grant)
				regionstest.Must[regions.EncryptOutput](b, f, "Encrypt", encrypt)
			}
		})
	}
}
