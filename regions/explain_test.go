package regions_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/policy"
	"antipode/regions/regionstest"
)

// The explanation agrees with the call, and names what decided.
func TestExplain(t *testing.T) {
	t.Parallel()
	g := newGrantKit(t)
	context := map[string]string{"dept": "a"}
	ask := func(who regions.Caller, in regions.Question) regions.Explanation {
		t.Helper()
		in.Principal = who.ARN
		if in.Action == "" {
			in.Action, in.KeyID, in.EncryptionContext = "kms:Encrypt", g.key.KeyID, context
		}
		e, err := g.Region.Explain(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if in.Action == "kms:Encrypt" && e.Allowed != (g.encrypt(t, who, context) == nil) {
			t.Errorf("%s: the explanation and the call differ: %+v", who.ARN, e)
		}
		return e
	}
	say := func(e regions.Explanation) (out []string) {
		for _, s := range e.Statements {
			out = append(out, fmt.Sprintf("%s/%d/%s/%v/%v", s.Document, s.Statement, s.Sid, s.Deny, s.Delegates))
		}
		return out
	}
	want := func(what string, e regions.Explanation, allowed bool, statements ...string) {
		t.Helper()
		if e.Allowed != allowed || !reflect.DeepEqual(say(e), statements) {
			t.Errorf("%s: allowed %v, %q, want %v, %q", what, e.Allowed, say(e), allowed, statements)
		}
	}
	const delegation = "key policy/1/Enable IAM User Permissions/false/true"
	want("an administrator", ask(g.Admin, regions.Question{}), true, delegation, "identity policy policy/1//false/false")
	want("bob", ask(g.bob, regions.Question{}), false, delegation)
	made := g.grant(t, regions.CreateGrantInput{
		Operations: []string{"Encrypt"}, Constraints: &regions.GrantConstraints{EncryptionContextEquals: context},
	})
	e := ask(g.bob, regions.Question{})
	want("bob by a grant", e, true, delegation)
	if e.GrantID != made.GrantID || e.Resource != g.key.Arn {
		t.Errorf("%+v", e)
	}
	e = ask(g.bob, regions.Question{Action: "kms:Decrypt", KeyID: g.key.Arn, GrantTokens: []string{made.GrantToken}})
	if e.Allowed || len(e.Tokens) != 1 || !strings.Contains(e.Tokens[0], made.GrantID) {
		t.Errorf("%+v", e)
	}
	regionstest.Must[struct{}](t, g.Fixture, "PutKeyPolicy", &regions.PutKeyPolicyInput{
		KeyID: g.key.KeyID, Policy: withStatement(`{"Sid":"no","Effect":"Deny","Principal":"*","Action":"kms:Encrypt","Resource":"*"}`),
	})
	want("bob denied", ask(g.bob, regions.Question{}), false, "key policy/1//false/true", "key policy/2/no/true/false")
	want("an administrator on no key", ask(g.Admin, regions.Question{Action: "kms:CreateKey"}), true, "identity policy policy/1//false/false")
	for name, q := range map[string]regions.Question{
		"nobody":      {Principal: policy.Root(regionstest.Account), Action: "kms:Encrypt"},
		"no action":   {Principal: g.bob.ARN, Action: "Encrypt"},
		"no key":      {Principal: g.bob.ARN, Action: "kms:Encrypt", KeyID: "mrk-" + strings.Repeat("0", 32)},
		"no token":    {Principal: g.bob.ARN, Action: "kms:Encrypt", KeyID: g.key.KeyID, GrantTokens: []string{"x"}},
		"no such key": {Principal: g.bob.ARN, Action: "kms:Encrypt", KeyID: strings.Replace(g.key.Arn, regionstest.Account, "999988887777", 1)},
	} {
		if e, err := g.Region.Explain(t.Context(), q); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// The Region that a replica goes to, or that becomes the primary, decides by its own identities and its own key.
func TestAskedByAnotherRegion(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, true)
	replica := func(tags ...regions.Tag) error {
		return f.Region.CheckReplica(t.Context(), regions.Replica{
			Account: regionstest.Account, KeyID: "mrk-" + strings.Repeat("0", 32), Spec: "SYMMETRIC_DEFAULT", Usage: "ENCRYPT_DECRYPT",
			Origin: "AWS_KMS", Principal: bob().ARN, Source: "eu-west-1", Tags: tags,
		})
	}
	primary := func() error {
		return f.Region.CheckNewPrimary(t.Context(), bob().ARN, regionstest.Account, key.KeyID)
	}
	const denied = "AccessDeniedException"
	give := func(statement string) {
		f.AddUser(t, "bob", bobKey, []byte(`{"Version":"2012-10-17","Statement":[`+statement+`]}`))
	}
	expect := func(what string, err error, code string) {
		t.Helper()
		if got := codeOf(err); got != code {
			t.Errorf("%s: %v, want %q", what, err, code)
		}
	}
	expect("nobody", replica(), denied)
	expect("nobody", primary(), denied)
	give(`{"Effect":"Allow","Action":"kms:CreateKey","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"us-east-2",
		"kms:MultiRegionKeyType":"REPLICA","kms:KeySpec":"SYMMETRIC_DEFAULT"},"Bool":{"kms:MultiRegion":"true"}}}`)
	expect("CreateKey", replica(), "")
	expect("CreateKey with a tag", replica(regions.Tag{TagKey: "a"}), denied)
	expect("no UpdatePrimaryRegion", primary(), denied)
	give(`{"Effect":"Allow","Action":["kms:CreateKey","kms:TagResource"],"Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"us-east-2"}}}`)
	expect("both", replica(regions.Tag{TagKey: "a"}), "")
	give(`{"Effect":"Allow","Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}}`)
	expect("another Region", replica(), denied)
	expect("another Region", primary(), denied)
	give(`{"Effect":"Allow","Action":"kms:UpdatePrimaryRegion","Resource":"` + key.Arn + `","Condition":{"StringEquals":{"kms:PrimaryRegion":"us-east-2"}}}`)
	expect("UpdatePrimaryRegion", primary(), "")
	regionstest.Must[struct{}](t, f, "PutKeyPolicy", &regions.PutKeyPolicyInput{
		KeyID: key.KeyID, Policy: withStatement(`{"Effect":"Deny","Principal":"*","Action":"kms:UpdatePrimaryRegion","Resource":"*"}`),
	})
	expect("denied by the key here", primary(), denied)
}
