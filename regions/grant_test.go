package regions_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/policy"
	"antipode/regions/regionstest"
)

// grantKit is a Region with a key and two users whom no policy allows anything.
type grantKit struct {
	*regionstest.Fixture
	key        regions.KeyMetadata
	bob, alice regions.Caller
}

func newGrantKit(t *testing.T) *grantKit {
	t.Helper()
	f := regionstest.Open(t, "us-east-2")
	g := &grantKit{Fixture: f, key: f.CreateKey(t, true)}
	f.AddUser(t, "bob", bobKey, nil)
	f.AddUser(t, "alice", aliceKey, nil)
	g.bob, g.alice = regionstest.Caller(regionstest.Account, "bob", bobKey), regionstest.Caller(regionstest.Account, "alice", aliceKey)
	return g
}

func (g *grantKit) grant(t *testing.T, in regions.CreateGrantInput) *regions.CreateGrantOutput {
	t.Helper()
	in.KeyID = g.key.KeyID
	if in.GranteePrincipal == "" {
		in.GranteePrincipal = g.bob.ARN
	}
	return regionstest.Must[regions.CreateGrantOutput](t, g.Fixture, "CreateGrant", &in)
}

func (g *grantKit) as(t *testing.T, c regions.Caller, op string, in any) error {
	t.Helper()
	_, err := regionstest.Do(t.Context(), g.Region, c, op, in)
	return err
}

func (g *grantKit) encrypt(t *testing.T, c regions.Caller, context map[string]string) error {
	t.Helper()
	return g.as(t, c, "Encrypt", &regions.EncryptInput{KeyID: g.key.KeyID, Plaintext: []byte("x"), EncryptionContext: context})
}

func (g *grantKit) list(t *testing.T) []regions.GrantListEntry {
	t.Helper()
	return regionstest.Must[regions.ListGrantsOutput](t, g.Fixture, "ListGrants", &regions.ListGrantsInput{KeyID: g.key.KeyID}).Grants
}

// A grant counts from the moment that CreateGrant answers to the moment that it is ended, across a restart, for what it
// names and nothing else.
func TestGrant(t *testing.T) {
	t.Parallel()
	g := newGrantKit(t)
	if code := codeOf(g.encrypt(t, g.bob, nil)); code != "AccessDeniedException" {
		t.Fatalf("before: %s", code)
	}
	limits := &regions.GrantConstraints{EncryptionContextSubset: map[string]string{"dept": "a"}}
	made := g.grant(t, regions.CreateGrantInput{
		Operations: []string{"Encrypt", "DescribeKey", "Encrypt"}, Constraints: limits, Name: "n", RetiringPrincipal: g.alice.ARN,
	})
	for range 2 {
		for _, c := range []struct {
			who     regions.Caller
			context map[string]string
			code    string
		}{
			{g.bob, map[string]string{"dept": "a"}, ""},
			{g.bob, map[string]string{"dept": "a", "more": "b"}, ""},
			{g.bob, map[string]string{"dept": "b"}, "AccessDeniedException"},
			{g.bob, nil, "AccessDeniedException"},
			{g.alice, map[string]string{"dept": "a"}, "AccessDeniedException"},
		} {
			if code := codeOf(g.encrypt(t, c.who, c.context)); code != c.code {
				t.Errorf("%s with %v: %q, want %q", c.who.UserName, c.context, code, c.code)
			}
		}
		if err := g.as(t, g.bob, "DescribeKey", &regions.DescribeKeyInput{KeyID: g.key.KeyID}); err != nil {
			t.Errorf("DescribeKey: %v", err) // whatever the constraint
		}
		if code := codeOf(g.as(t, g.bob, "DisableKey", &regions.KeyInput{KeyID: g.key.KeyID})); code != "AccessDeniedException" {
			t.Errorf("DisableKey: %s", code)
		}
		g.Reopen(t)
	}
	list := g.list(t)
	if len(list) != 1 {
		t.Fatalf("%d grants", len(list))
	}
	e := list[0]
	if e.GrantID != made.GrantID || e.Name != "n" || e.KeyID != g.key.Arn || e.GranteePrincipal != g.bob.ARN || e.RetiringPrincipal != g.alice.ARN ||
		e.IssuingAccount != policy.Root(regionstest.Account) || !slices.Equal(e.Operations, []string{"DescribeKey", "Encrypt"}) ||
		e.Constraints == nil || e.Constraints.EncryptionContextSubset["dept"] != "a" {
		t.Errorf("ListGrants: %+v", e)
	}
	regionstest.Must[struct{}](t, g.Fixture, "RevokeGrant", &regions.RevokeGrantInput{KeyID: g.key.KeyID, GrantID: made.GrantID})
	if code := codeOf(g.encrypt(t, g.bob, map[string]string{"dept": "a"})); code != "AccessDeniedException" {
		t.Errorf("after RevokeGrant: %q", code)
	}
	_, err := regionstest.Call[struct{}](t, g.Fixture, "RevokeGrant", &regions.RevokeGrantInput{KeyID: g.key.KeyID, GrantID: made.GrantID})
	wantError(t, "revoked twice", err, "NotFoundException", "Grant ID "+made.GrantID+" not found")
	logs, err := filepath.Glob(filepath.Join(g.AuditDir, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("audit logs %v, %v", logs, err)
	}
	for _, path := range logs {
		text, err := os.ReadFile(filepath.Clean(path))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), made.GrantID) || strings.Contains(string(text), made.GrantToken) {
			t.Error("the audit log lacks the grant, or has its token")
		}
	}
}

// A deny beats a grant; a grant on one key says nothing about another; a grant to an account leaves it to the account.
func TestGrantIsNoMore(t *testing.T) {
	t.Parallel()
	g := newGrantKit(t)
	g.grant(t, regions.CreateGrantInput{Operations: []string{"Encrypt"}})
	other := g.CreateKey(t, false)
	code := codeOf(g.as(t, g.bob, "Encrypt", &regions.EncryptInput{KeyID: other.KeyID, Plaintext: []byte("x")}))
	if code != "AccessDeniedException" {
		t.Errorf("another key: %q", code)
	}
	denied := regionstest.Caller(regionstest.Account, "bob", bobKey, `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:Encrypt","Resource":"*"}]}`)
	if code := codeOf(g.encrypt(t, denied, nil)); code != "AccessDeniedException" {
		t.Errorf("a deny of his own: %q", code)
	}
	const far = "999988887777"
	g.grant(t, regions.CreateGrantInput{Operations: []string{"Encrypt"}, GranteePrincipal: far})
	eve := regionstest.Caller(far, "eve", aliceKey, policy.Administrator)
	poor := regionstest.Caller(far, "poor", aliceKey)
	in := &regions.EncryptInput{KeyID: g.key.Arn, Plaintext: []byte("x")}
	if err := g.as(t, eve, "Encrypt", in); err != nil {
		t.Errorf("another account: %v", err)
	}
	if code := codeOf(g.as(t, poor, "Encrypt", in)); code != "AccessDeniedException" {
		t.Errorf("another account without a policy: %q", code)
	}
	regionstest.Must[struct{}](t, g.Fixture, "PutKeyPolicy", &regions.PutKeyPolicyInput{
		KeyID: g.key.KeyID, Policy: withStatement(`{"Effect":"Deny","Principal":"*","Action":"kms:Encrypt","Resource":"*"}`),
	})
	if code := codeOf(g.encrypt(t, g.bob, nil)); code != "AccessDeniedException" {
		t.Errorf("a deny of the key's: %q", code)
	}
}

// The same name and the same parameters are one grant; anything else is another one. Every token is new and good.
func TestGrantByName(t *testing.T) {
	t.Parallel()
	g := newGrantKit(t)
	in := regions.CreateGrantInput{Operations: []string{"Encrypt", "Decrypt"}, Name: "worker"}
	first := g.grant(t, in)
	in.Operations = []string{"Decrypt", "Encrypt"}
	again := g.grant(t, in)
	if again.GrantID != first.GrantID || again.GrantToken == first.GrantToken {
		t.Errorf("repeated: %v then %v", first, again)
	}
	ids := map[string]bool{first.GrantID: true}
	for _, change := range []func(*regions.CreateGrantInput){
		func(in *regions.CreateGrantInput) { in.Name = "other" },
		func(in *regions.CreateGrantInput) { in.Name = "" },
		func(in *regions.CreateGrantInput) { in.Name = "" },
		func(in *regions.CreateGrantInput) { in.GranteePrincipal = g.alice.ARN },
		func(in *regions.CreateGrantInput) { in.RetiringPrincipal = g.alice.ARN },
		func(in *regions.CreateGrantInput) { in.Operations = []string{"Encrypt"} },
		func(in *regions.CreateGrantInput) {
			in.Constraints = &regions.GrantConstraints{EncryptionContextEquals: map[string]string{"a": "b"}}
		},
		func(in *regions.CreateGrantInput) {
			in.Constraints = &regions.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "b"}}
		},
	} {
		other := in
		change(&other)
		made := g.grant(t, other)
		if ids[made.GrantID] {
			t.Errorf("%+v is no grant of its own", other)
		}
		ids[made.GrantID] = true
	}
	if n := len(g.list(t)); n != len(ids) {
		t.Errorf("%d grants, want %d", n, len(ids))
	}
	for _, token := range []string{first.GrantToken, again.GrantToken} {
		err := g.as(t, g.bob, "Encrypt", &regions.EncryptInput{KeyID: g.key.KeyID, Plaintext: []byte("x"), GrantTokens: []string{token}})
		if err != nil {
			t.Errorf("with a token: %v", err)
		}
	}
	// After its end the name makes a new grant.
	regionstest.Must[struct{}](t, g.Fixture, "RetireGrant", &regions.RetireGrantInput{GrantToken: again.GrantToken})
	if made := g.grant(t, in); made.GrantID == first.GrantID {
		t.Error("a grant that had ended came back")
	}
}

// A token is this Region's own and whole, and has no power beyond its grant, which may have ended.
func TestGrantTokens(t *testing.T) {
	t.Parallel()
	g := newGrantKit(t)
	made := g.grant(t, regions.CreateGrantInput{Operations: []string{"Encrypt"}})
	encrypt := func(c regions.Caller, tokens ...string) string {
		return codeOf(g.as(t, c, "Encrypt", &regions.EncryptInput{KeyID: g.key.KeyID, Plaintext: []byte("x"), GrantTokens: tokens}))
	}
	if code := encrypt(g.bob, made.GrantToken); code != "" {
		t.Errorf("bob: %s", code)
	}
	if code := encrypt(g.alice, made.GrantToken); code != "AccessDeniedException" {
		t.Errorf("alice with bob's token: %q", code)
	}
	bad := []string{"x", strings.Repeat("A", 8192), made.GrantToken + "A", made.GrantToken[:len(made.GrantToken)-2], made.GrantToken + "="}
	for i := 0; i < len(made.GrantToken)-1; i += 7 { // the last digit may have bits that mean nothing, which are zero
		c := byte('A')
		if made.GrantToken[i] == c {
			c = 'B'
		}
		bad = append(bad, made.GrantToken[:i]+string(c)+made.GrantToken[i+1:])
	}
	other := newGrantKit(t)
	bad = append(bad, other.grant(t, regions.CreateGrantInput{Operations: []string{"Encrypt"}}).GrantToken)
	for _, token := range bad {
		if code := encrypt(g.bob, made.GrantToken, token); code != "InvalidGrantTokenException" {
			t.Errorf("token %.60s: %q", token, code)
		}
		if code := codeOf(g.as(t, g.Admin, "RetireGrant", &regions.RetireGrantInput{GrantToken: token})); code != "InvalidGrantTokenException" {
			t.Errorf("RetireGrant %.60s: %q", token, code)
		}
	}
	regionstest.Must[struct{}](t, g.Fixture, "RevokeGrant", &regions.RevokeGrantInput{KeyID: g.key.KeyID, GrantID: made.GrantID})
	if code := encrypt(g.bob, made.GrantToken); code != "AccessDeniedException" {
		t.Errorf("with the token of a grant that has ended: %q", code)
	}
	_, err := regionstest.Call[struct{}](t, g.Fixture, "RetireGrant", &regions.RetireGrantInput{GrantToken: made.GrantToken})
	wantError(t, "RetireGrant", err, "NotFoundException", "Grant ID "+made.GrantID+" not found")
}

// Who may retire a grant: its retiring principal, its grantee if it says so and for this grant only, the root user of
// the account that made it, and whom policies allow.
func TestRetireGrant(t *testing.T) {
	t.Parallel()
	const denied = "AccessDeniedException"
	g := newGrantKit(t)
	root := regions.Caller{Kind: regions.PrincipalAccount, ARN: policy.Root(regionstest.Account), Account: regionstest.Account}
	for name, c := range map[string]struct {
		in   regions.CreateGrantInput
		who  regions.Caller
		code string
	}{
		"the retiring principal":         {regions.CreateGrantInput{Operations: []string{"Encrypt"}, RetiringPrincipal: g.alice.ARN}, g.alice, ""},
		"a grantee with RetireGrant":     {regions.CreateGrantInput{Operations: []string{"RetireGrant"}}, g.bob, ""},
		"a grantee without":              {regions.CreateGrantInput{Operations: []string{"Encrypt"}}, g.bob, denied},
		"somebody with RetireGrant":      {regions.CreateGrantInput{Operations: []string{"Encrypt"}, GranteePrincipal: g.alice.ARN}, g.bob, denied},
		"an administrator":               {regions.CreateGrantInput{Operations: []string{"Encrypt"}}, g.Admin, ""},
		"the root user":                  {regions.CreateGrantInput{Operations: []string{"Encrypt"}}, root, ""},
		"another account's retiring one": {regions.CreateGrantInput{Operations: []string{"Encrypt"}, RetiringPrincipal: "arn:aws:iam::999988887777:user/eve"}, regionstest.Caller("999988887777", "eve", aliceKey), ""},
		"another account's other":        {regions.CreateGrantInput{Operations: []string{"Encrypt"}, RetiringPrincipal: "arn:aws:iam::999988887777:user/eve"}, regionstest.Caller("999988887777", "mallory", aliceKey, policy.Administrator), denied},
	} {
		g.grant(t, regions.CreateGrantInput{Operations: []string{"RetireGrant", "Decrypt"}, Name: "bobs-own"})
		made := g.grant(t, c.in)
		for _, in := range []*regions.RetireGrantInput{
			{GrantToken: made.GrantToken, DryRun: true},
			{KeyID: g.key.Arn, GrantID: made.GrantID, DryRun: true},
			{KeyID: g.key.Arn, GrantID: made.GrantID},
		} {
			want := c.code
			if in.DryRun && want == "" {
				want = "DryRunOperationException"
			}
			if code := codeOf(g.as(t, c.who, "RetireGrant", in)); code != want {
				t.Errorf("%s: %q, want %q", name, code, want)
			}
		}
		there := slices.ContainsFunc(g.list(t), func(e regions.GrantListEntry) bool { return e.GrantID == made.GrantID })
		if there != (c.code != "") {
			t.Errorf("%s: the grant is there: %v", name, there)
		}
	}
	// A grant that is not there looks to who may not know like one that is not his.
	eve := regionstest.Caller("999988887777", "eve", aliceKey, policy.Administrator)
	here := g.grant(t, regions.CreateGrantInput{Operations: []string{"Encrypt"}}).GrantID
	var texts []string
	for _, id := range []string{here, strings.Repeat("0", 64)} {
		err := g.as(t, eve, "RetireGrant", &regions.RetireGrantInput{KeyID: g.key.Arn, GrantID: id})
		texts = append(texts, err.Error())
	}
	if texts[0] != texts[1] || !strings.HasPrefix(texts[0], denied) {
		t.Errorf("%q", texts)
	}
}

// A principal who may make grants by a grant alone can give no more than he has.
func TestChildGrants(t *testing.T) {
	t.Parallel()
	g := newGrantKit(t)
	equals := func(v string) *regions.GrantConstraints {
		return &regions.GrantConstraints{EncryptionContextEquals: map[string]string{"dept": v}}
	}
	g.grant(t, regions.CreateGrantInput{Operations: []string{"CreateGrant", "Encrypt"}, Constraints: equals("a")})
	for name, c := range map[string]struct {
		in   regions.CreateGrantInput
		code string
	}{
		"as strict":             {regions.CreateGrantInput{Operations: []string{"Encrypt"}, Constraints: equals("a")}, ""},
		"unconstrained":         {regions.CreateGrantInput{Operations: []string{"Encrypt"}}, "AccessDeniedException"},
		"another context":       {regions.CreateGrantInput{Operations: []string{"Encrypt"}, Constraints: equals("b")}, "AccessDeniedException"},
		"an operation too many": {regions.CreateGrantInput{Operations: []string{"Encrypt", "Decrypt"}, Constraints: equals("a")}, "AccessDeniedException"},
	} {
		c.in.KeyID, c.in.GranteePrincipal = g.key.KeyID, g.alice.ARN
		if code := codeOf(g.as(t, g.bob, "CreateGrant", &c.in)); code != c.code {
			t.Errorf("%s: %q, want %q", name, code, c.code)
		}
	}
	if err := g.encrypt(t, g.alice, map[string]string{"dept": "a"}); err != nil {
		t.Errorf("by the child: %v", err)
	}
}

// The conditions about a new grant.
func TestGrantConditions(t *testing.T) {
	t.Parallel()
	g := newGrantKit(t)
	maker := regionstest.Caller(regionstest.Account, "bob", bobKey, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:CreateGrant","Resource":"*","Condition":{
		"ForAllValues:StringEquals":{"kms:GrantOperations":["Encrypt","Decrypt"]},
		"StringEquals":{"kms:GranteePrincipal":"`+g.alice.ARN+`","kms:RetiringPrincipal":"`+g.alice.ARN+`","kms:GrantConstraintType":"EncryptionContextSubset"},
		"Bool":{"kms:GrantIsForAWSResource":"false"}}}]}`)
	good := regions.CreateGrantInput{
		KeyID: g.key.KeyID, GranteePrincipal: g.alice.ARN, RetiringPrincipal: g.alice.ARN, Operations: []string{"Encrypt"},
		Constraints: &regions.GrantConstraints{EncryptionContextSubset: map[string]string{"a": "b"}},
	}
	if err := g.as(t, maker, "CreateGrant", &good); err != nil {
		t.Errorf("as allowed: %v", err)
	}
	for name, change := range map[string]func(*regions.CreateGrantInput){
		"operations": func(in *regions.CreateGrantInput) { in.Operations = []string{"Encrypt", "DescribeKey"} },
		"grantee":    func(in *regions.CreateGrantInput) { in.GranteePrincipal = g.bob.ARN },
		"retiring":   func(in *regions.CreateGrantInput) { in.RetiringPrincipal = "" },
		"constraint": func(in *regions.CreateGrantInput) { in.Constraints = nil },
	} {
		in := good
		change(&in)
		if code := codeOf(g.as(t, maker, "CreateGrant", &in)); code != "AccessDeniedException" {
			t.Errorf("%s: %q", name, code)
		}
	}
}
