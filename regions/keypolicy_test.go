package regions_test

import (
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/policy"
	"antipode/regions/regionstest"
)

// statement is a key policy of the default one's statement and another.
func withStatement(s string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + regionstest.Account +
		`:root"},"Action":"kms:*","Resource":"*"},` + s + `]}`
}

// A policy decides from the moment that PutKeyPolicy answers, and outlives a restart.
func TestPutKeyPolicy(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, false)
	f.AddUser(t, "bob", bobKey, nil)
	bob := regionstest.Caller(regionstest.Account, "bob", bobKey)
	encrypt := func(context string) error {
		in := &regions.EncryptInput{KeyID: key.KeyID, Plaintext: []byte("x")}
		if context != "" {
			in.EncryptionContext = map[string]string{"dept": context}
		}
		_, err := regionstest.Do(t.Context(), f.Region, bob, "Encrypt", in)
		return err
	}
	put := func(document string) {
		t.Helper()
		regionstest.Must[struct{}](t, f, "PutKeyPolicy", &regions.PutKeyPolicyInput{KeyID: key.KeyID, PolicyName: "default", Policy: document})
		got := regionstest.Must[regions.GetKeyPolicyOutput](t, f, "GetKeyPolicy", &regions.GetKeyPolicyInput{KeyID: key.KeyID})
		if got.Policy != document {
			t.Errorf("GetKeyPolicy says %s", got.Policy)
		}
	}
	if codeOf(encrypt("")) != "AccessDeniedException" {
		t.Error("bob may encrypt at once")
	}
	put(withStatement(`{"Effect":"Allow","Principal":{"AWS":"` + bob.ARN + `"},"Action":"kms:Encrypt","Resource":"*",` +
		`"Condition":{"StringEquals":{"kms:EncryptionContext:dept":"a","kms:KeySpec":"SYMMETRIC_DEFAULT"},"Bool":{"kms:MultiRegion":"false"}}}`))
	for range 2 {
		if err := encrypt("a"); err != nil {
			t.Errorf("what the policy allows: %v", err)
		}
		for _, context := range []string{"", "b"} {
			if codeOf(encrypt(context)) != "AccessDeniedException" {
				t.Errorf("bob may encrypt with the context %q", context)
			}
		}
		f.Reopen(t)
	}
	put(withStatement(`{"Effect":"Deny","Principal":"*","Action":"kms:Encrypt","Resource":"*"}`))
	for _, caller := range []regions.Caller{bob, f.Admin} {
		_, err := regionstest.Do(t.Context(), f.Region, caller, "Encrypt", &regions.EncryptInput{KeyID: key.KeyID, Plaintext: []byte("x")})
		wantError(t, "denied to all", err, "AccessDeniedException", "User: "+caller.ARN+
			" is not authorized to perform: kms:Encrypt on resource: "+key.Arn+" with an explicit deny in a resource-based policy")
	}
	put(policy.Default(regionstest.Account))
	if codeOf(encrypt("a")) != "AccessDeniedException" {
		t.Error("bob may still encrypt")
	}
}

// A policy that would lock its author out, or that is not one, is refused, and the old one stays.
func TestPutKeyPolicyRefused(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, true)
	bob := "arn:aws:iam::" + regionstest.Account + ":user/bob"
	locked := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::999988887777:root"},"Action":"kms:*","Resource":"*"}]}`
	for name, c := range map[string]struct {
		in   regions.PutKeyPolicyInput
		code string
	}{
		"no JSON":        {regions.PutKeyPolicyInput{Policy: "{"}, "MalformedPolicyDocumentException"},
		"unknown member": {regions.PutKeyPolicyInput{Policy: withStatement(`{"Effect":"Allow","Who":"*"}`)}, "MalformedPolicyDocumentException"},
		"no principal":   {regions.PutKeyPolicyInput{Policy: withStatement(`{"Effect":"Allow","Action":"kms:*","Resource":"*"}`)}, "MalformedPolicyDocumentException"},
		"lockout":        {regions.PutKeyPolicyInput{Policy: locked}, "MalformedPolicyDocumentException"},
		"nobody's":       {regions.PutKeyPolicyInput{Policy: withStatement(`{"Effect":"Allow","Principal":{"AWS":"` + bob + `"},"Action":"kms:*","Resource":"*"}`)}, "MalformedPolicyDocumentException"},
		"too long":       {regions.PutKeyPolicyInput{Policy: strings.Repeat(" ", policy.MaxSize) + locked}, "LimitExceededException"},
		"no policy":      {regions.PutKeyPolicyInput{}, "ValidationException"},
		"another name":   {regions.PutKeyPolicyInput{PolicyName: "mine", Policy: locked}, "NotFoundException"},
	} {
		c.in.KeyID = key.KeyID
		_, err := regionstest.Call[struct{}](t, f, "PutKeyPolicy", &c.in)
		if codeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	got := regionstest.Must[regions.GetKeyPolicyOutput](t, f, "GetKeyPolicy", &regions.GetKeyPolicyInput{KeyID: key.KeyID})
	if got.Policy != policy.Default(regionstest.Account) {
		t.Errorf("the policy is %s", got.Policy)
	}
	regionstest.Must[struct{}](t, f, "PutKeyPolicy", &regions.PutKeyPolicyInput{KeyID: key.KeyID, Policy: locked, BypassPolicyLockoutSafetyCheck: true})
	_, err := regionstest.Call[regions.DescribeKeyOutput](t, f, "DescribeKey", &regions.DescribeKeyInput{KeyID: key.KeyID})
	wantError(t, "after the lockout", err, "AccessDeniedException", "User: "+f.Admin.ARN+
		" is not authorized to perform: kms:DescribeKey on resource: "+key.Arn+" because no resource-based policy allows the kms:DescribeKey action")
	// A policy that makes a key for somebody else alone is refused when the key is made, too.
	_, err = regionstest.Call[regions.CreateKeyOutput](t, f, "CreateKey", &regions.CreateKeyInput{Policy: locked})
	wantError(t, "CreateKey", err, "MalformedPolicyDocumentException", lockedOut)
}

// Both sides have to allow a use from another account; a key that is not open to it looks like none.
func TestOtherAccount(t *testing.T) {
	t.Parallel()
	const other = "999988887777"
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, true)
	missing := strings.Replace(key.Arn, key.KeyID, "mrk-"+strings.Repeat("0", 32), 1)
	may := regionstest.Caller(other, "eve", aliceKey, policy.Administrator)
	mayNot := regionstest.Caller(other, "mallory", aliceKey)
	regionstest.Must[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: "alias/shared", TargetKeyID: key.KeyID})
	encrypt := func(c regions.Caller, id string) error {
		_, err := regionstest.Do(t.Context(), f.Region, c, "Encrypt", &regions.EncryptInput{KeyID: id, Plaintext: []byte("x")})
		return err
	}
	hidden := func(c regions.Caller, op, id string) string {
		return "User: " + c.ARN + " is not authorized to perform: kms:" + op + " on resource: " + id + " because the resource does " +
			"not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"
	}
	for _, id := range []string{key.Arn, missing} {
		wantError(t, "before", encrypt(may, id), "AccessDeniedException", hidden(may, "Encrypt", id))
	}
	regionstest.Must[struct{}](t, f, "PutKeyPolicy", &regions.PutKeyPolicyInput{KeyID: key.KeyID, Policy: withStatement(
		`{"Effect":"Allow","Principal":{"AWS":"` + other + `"},"Action":["kms:Encrypt","kms:Decrypt","kms:DisableKey"],"Resource":"*"}`)})
	for _, id := range []string{key.Arn, "arn:aws:kms:us-east-2:" + regionstest.Account + ":alias/shared"} {
		if err := encrypt(may, id); err != nil {
			t.Errorf("both allow it: %v", err)
		}
	}
	wantError(t, "own side does not", encrypt(mayNot, key.Arn), "AccessDeniedException", hidden(mayNot, "Encrypt", key.Arn))
	wantError(t, "no such key", encrypt(may, missing), "AccessDeniedException", hidden(may, "Encrypt", missing))
	_, err := regionstest.Do(t.Context(), f.Region, may, "DisableKey", &regions.KeyInput{KeyID: key.Arn})
	wantError(t, "never across accounts", err, "AccessDeniedException", hidden(may, "DisableKey", key.Arn))
	// By its id alone it is looked for in the caller's own account.
	if err := encrypt(may, key.KeyID); codeOf(err) != "NotFoundException" {
		t.Errorf("by its id: %v", err)
	}
	blob := f.Encrypt(t, key.KeyID, []byte("shared"))
	for _, id := range []string{"", key.Arn} {
		out, err := regionstest.Do(t.Context(), f.Region, may, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob, KeyID: id})
		if err != nil || string(out.(*regions.DecryptOutput).Plaintext) != "shared" {
			t.Errorf("Decrypt with key %q: %v", id, err)
		}
	}
	_, err = regionstest.Do(t.Context(), f.Region, mayNot, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
	wantError(t, "Decrypt", err, "AccessDeniedException", noCiphertextKey)
	// What a ciphertext tells about a key is told only to whom the key is open.
	other2 := f.CreateKey(t, false)
	for _, in := range []*regions.DecryptInput{
		{CiphertextBlob: blob, KeyID: other2.Arn}, {CiphertextBlob: []byte("garbage"), KeyID: other2.Arn},
	} {
		_, err = regionstest.Do(t.Context(), f.Region, may, "Decrypt", in)
		wantError(t, "Decrypt with a closed key", err, "AccessDeniedException", hidden(may, "Decrypt", other2.Arn))
	}
}
