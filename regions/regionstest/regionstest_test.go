package regionstest_test

import (
	"testing"

	"antipode/regions"
	"antipode/regions/regionstest"
)

// A key and a ciphertext outlive the fixture's Region.
func TestReopen(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, true)
	blob := f.Encrypt(t, key.KeyID, []byte("attack at dawn"))
	f.Reopen(t)
	out := regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
	if string(out.Plaintext) != "attack at dawn" || out.KeyID != key.Arn {
		t.Errorf("decrypted %q under %s", out.Plaintext, out.KeyID)
	}
	p, err := f.Region.Directory().Resolve(t.Context(), regionstest.AccessKeyID, "")
	if err != nil || p.ARN != f.Admin.ARN || len(p.Policies) != 1 || p.Policies[0] == nil {
		t.Errorf("the administrator is %+v, %v", p, err)
	}
}
