package policy_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"antipode/regions/policy"
)

const (
	account = "111122223333"
	compact = `{"Version":"2012-10-17","Id":"key-default-1","Statement":[{"Sid":"Enable IAM User Permissions",` +
		`"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}`
)

func TestDefault(t *testing.T) {
	t.Parallel()
	text := policy.Default(account)
	var b strings.Builder
	inString := false
	for _, r := range text { // layout is all that the two may differ in
		if r == '"' {
			inString = !inString
		}
		if inString || (r != ' ' && r != '\n') {
			b.WriteRune(r)
		}
	}
	if b.String() != compact {
		t.Errorf("the default policy is %s", text)
	}
	if !json.Valid([]byte(text)) || !strings.HasPrefix(text, "{\n  \"Version\" : \"2012-10-17\",\n") {
		t.Errorf("the default policy has another layout: %s", text)
	}
	if !policy.IsDefault(text, account) || policy.IsDefault(text, "999988887777") {
		t.Error("the default policy is not recognised for its account alone")
	}
}

// stmt returns the default policy with one edit to its statement.
func stmt(old, replacement string) string {
	if !strings.Contains(compact, old) {
		panic("test edits what is not there: " + old)
	}
	return strings.Replace(compact, old, replacement, 1)
}

func TestParse(t *testing.T) {
	t.Parallel()
	const principal = `"Principal":{"AWS":"arn:aws:iam::111122223333:root"}`
	for _, c := range []struct {
		name, document string
		want           error
	}{
		{"as the API makes it", compact, nil},
		{"as GetKeyPolicy shows it", policy.Default(account), nil},
		{"other Sid and Id", stmt(`"Enable IAM User Permissions"`, `"x"`), nil},
		{"no Sid", stmt(`"Sid":"Enable IAM User Permissions",`, ``), nil},
		{"no Version", stmt(`"Version":"2012-10-17",`, ``), nil},
		{"old Version", stmt(`2012-10-17`, `2008-10-17`), nil},
		{"statement not in a list", stmt(`[`, ``)[:len(compact)-3] + `}`, nil},
		{"lists of one", stmt(`"kms:*"`, `["kms:*"]`), nil},
		{"principal in a list", stmt(`"arn:aws:iam::111122223333:root"`, `["arn:aws:iam::111122223333:root"]`), nil},
		{"principal as account id", stmt(`"arn:aws:iam::111122223333:root"`, `"111122223333"`), nil},
		{"action in capitals", stmt(`kms:*`, `KMS:*`), nil},
		{"all actions", stmt(`kms:*`, `*`), nil},
		{"an action that kms:* holds", stmt(`"kms:*"`, `["kms:Encrypt","kms:*"]`), nil},
		{"empty condition", stmt(`"Resource":"*"`, `"Resource":"*","Condition":{}`), nil},
		{"the statement twice", stmt(`[{`, `[`+compact[strings.Index(compact, "[")+1:len(compact)-2]+`,{`), nil},

		{"deny", stmt(`Allow`, `Deny`), policy.ErrUnsupportedPolicy},
		{"another account", stmt(`111122223333`, `111122223334`), policy.ErrUnsupportedPolicy},
		{"another account beside", stmt(`"arn:aws:iam::111122223333:root"`, `["arn:aws:iam::111122223333:root","222233334444"]`), policy.ErrUnsupportedPolicy},
		{"a user", stmt(`:root"`, `:user/alice"`), policy.ErrUnsupportedPolicy},
		{"everybody", stmt(principal, `"Principal":"*"`), policy.ErrUnsupportedPolicy},
		{"everybody as AWS", stmt(`"arn:aws:iam::111122223333:root"`, `"*"`), policy.ErrUnsupportedPolicy},
		{"a service", stmt(`"AWS":"arn:aws:iam::111122223333:root"`, `"Service":"s3.amazonaws.com"`), policy.ErrUnsupportedPolicy},
		{"a service beside", stmt(`{"AWS"`, `{"Service":"s3.amazonaws.com","AWS"`), policy.ErrUnsupportedPolicy},
		{"no principal at all", stmt(`{"AWS":"arn:aws:iam::111122223333:root"}`, `{}`), policy.ErrUnsupportedPolicy},
		{"empty principals", stmt(`"arn:aws:iam::111122223333:root"`, `[]`), policy.ErrUnsupportedPolicy},
		{"NotPrincipal", stmt(`"Principal"`, `"NotPrincipal"`), policy.ErrUnsupportedPolicy},
		{"NotAction", stmt(`"Action"`, `"NotAction"`), policy.ErrUnsupportedPolicy},
		{"NotResource", stmt(`"Resource"`, `"NotResource"`), policy.ErrUnsupportedPolicy},
		{"some actions", stmt(`kms:*`, `kms:Encrypt`), policy.ErrUnsupportedPolicy},
		{"some actions by pattern", stmt(`kms:*`, `kms:Get*`), policy.ErrUnsupportedPolicy},
		{"no action", stmt(`"Action":"kms:*",`, ``), policy.ErrUnsupportedPolicy},
		{"empty actions", stmt(`"kms:*"`, `[]`), policy.ErrUnsupportedPolicy},
		{"one resource", stmt(`"Resource":"*"`, `"Resource":"arn:aws:kms:us-east-2:111122223333:key/x"`), policy.ErrUnsupportedPolicy},
		{"no resource", stmt(`,"Resource":"*"`, ``), policy.ErrUnsupportedPolicy},
		{"a condition", stmt(`"Resource":"*"`, `"Resource":"*","Condition":{"Bool":{"kms:MultiRegion":"true"}}`), policy.ErrUnsupportedPolicy},
		{"a further statement", stmt(`}]}`, `},{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}]}`), policy.ErrUnsupportedPolicy},

		{"empty", ``, policy.ErrMalformed},
		{"null", `null`, policy.ErrMalformed},
		{"a list", `[]`, policy.ErrMalformed},
		{"empty object", `{}`, policy.ErrMalformed},
		{"no statements", `{"Version":"2012-10-17","Statement":[]}`, policy.ErrMalformed},
		{"cut off", compact[:len(compact)-1], policy.ErrMalformed},
		{"something after", compact + `{}`, policy.ErrMalformed},
		{"member twice", stmt(`"Effect":"Allow"`, `"Effect":"Allow","Effect":"Allow"`), policy.ErrMalformed},
		{"member twice by escape", stmt(`"Effect":"Allow"`, `"Effect":"Allow","\u0045ffect":"Deny"`), policy.ErrMalformed},
		{"principal type twice", stmt(`{"AWS":`, `{"AWS":"x","AWS":`), policy.ErrMalformed},
		{"unknown member", stmt(`"Effect"`, `"Extra":1,"Effect"`), policy.ErrMalformed},
		{"unknown member at top", stmt(`"Id"`, `"Extra":{},"Id"`), policy.ErrMalformed},
		{"member in lower case", stmt(`"Effect"`, `"effect"`), policy.ErrMalformed},
		{"unknown version", stmt(`2012-10-17`, `2013-10-17`), policy.ErrMalformed},
		{"unknown effect", stmt(`Allow`, `allow`), policy.ErrMalformed},
		{"null member", stmt(`"kms:*"`, `null`), policy.ErrMalformed},
		{"null condition", stmt(`"Resource":"*"`, `"Resource":"*","Condition":null`), policy.ErrMalformed},
		{"null in a list", stmt(`"kms:*"`, `["kms:*",null]`), policy.ErrMalformed},
		{"number", stmt(`"kms:*"`, `1`), policy.ErrMalformed},
		{"no principal member", stmt(principal+`,`, ``), policy.ErrMalformed},
		{"principal of a string", stmt(principal, `"Principal":"arn:aws:iam::111122223333:root"`), policy.ErrMalformed},
		{"Principal and NotPrincipal", stmt(principal, principal+`,"Not`+principal[1:]), policy.ErrMalformed},
		{"Action and NotAction", stmt(`"Action"`, `"NotAction":"kms:x","Action"`), policy.ErrMalformed},
		{"control character", stmt(`"x"`[:1]+`Enable`, "\"\x01Enable"), policy.ErrMalformed},
		{"beyond Latin-1", stmt(`Enable`, "Enable\u0100"), policy.ErrMalformed},
		{"invalid UTF-8", stmt(`Enable`, "Enable\xff"), policy.ErrMalformed},
		{"unpaired surrogate", stmt(`Enable`, `Enable\ud800`), policy.ErrMalformed},
		{"deep nesting", strings.Repeat(`[`, 20000), policy.ErrMalformed},

		{"largest", compact + strings.Repeat(" ", policy.MaxSize-len(compact)), nil},
		{"too large", compact + strings.Repeat(" ", policy.MaxSize-len(compact)+1), policy.ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := policy.Parse(c.document, account)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v: %s", err, c.want, c.document)
			}
			if policy.IsDefault(c.document, account) != (c.want == nil) {
				t.Fatalf("IsDefault disagrees")
			}
		})
	}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	p, err := policy.Parse(compact, account)
	if err != nil {
		t.Fatal(err)
	}
	base := policy.Request{
		PrincipalARN: "arn:aws:iam::111122223333:user/alice", PrincipalAccount: account, Administrator: true,
		Action: "kms:Encrypt", KeyAccount: account,
	}
	const sid = "Enable IAM User Permissions"
	for _, c := range []struct {
		name string
		p    policy.Policy
		edit func(*policy.Request)
		want policy.Decision
	}{
		{"administrator", p, func(*policy.Request) {}, policy.Decision{Allowed: true, Reason: policy.Delegated, Statement: sid}},
		{"user", p, func(r *policy.Request) { r.Administrator = false }, policy.Decision{Reason: policy.NoIdentityPolicy, Statement: sid}},
		{"administrator elsewhere", p, func(r *policy.Request) { r.PrincipalAccount = "222233334444" }, policy.Decision{Reason: policy.OtherAccount}},
		{"policy of another account", p, func(r *policy.Request) { r.KeyAccount, r.PrincipalAccount = "222233334444", "222233334444" }, policy.Decision{Reason: policy.NoKeyPolicy}},
		{"no policy", policy.Policy{}, func(*policy.Request) {}, policy.Decision{Reason: policy.NoKeyPolicy}},
		{"no principal", p, func(r *policy.Request) { r.PrincipalARN = "" }, policy.Decision{Reason: policy.NoRequest}},
		{"no accounts", p, func(r *policy.Request) { r.PrincipalAccount, r.KeyAccount = "", "" }, policy.Decision{Reason: policy.NoRequest}},
		{"no action", p, func(r *policy.Request) { r.Action = "kms:" }, policy.Decision{Reason: policy.NoRequest}},
		{"action of another service", p, func(r *policy.Request) { r.Action = "s3:GetObject" }, policy.Decision{Reason: policy.NoRequest}},
	} {
		r := base
		c.edit(&r)
		if got := policy.Decide(c.p, r); got != c.want {
			t.Errorf("%s: %+v (%v), want %+v", c.name, got, got.Reason, c.want)
		}
	}
	if (policy.Decision{}).Allowed || policy.Reason(0).String() != "undecided" {
		t.Error("the zero decision decides")
	}
	d := policy.Decision{Reason: policy.NoIdentityPolicy}
	if got := d.Because("kms:Encrypt"); got != "no identity-based policy allows the kms:Encrypt action" {
		t.Error(got)
	}
	d.Reason = policy.OtherAccount
	if got := d.Because("kms:Encrypt"); got != "no resource-based policy allows the kms:Encrypt action" {
		t.Error(got)
	}
}

// FuzzParse checks that a document that is taken for the default policy is one by an independent, laxer reading too.
func FuzzParse(f *testing.F) {
	f.Add(compact)
	f.Add(policy.Default(account))
	f.Add(`{"Statement":{"Effect":"Allow","Principal":{"AWS":["111122223333"]},"Action":["kms:*"],"Resource":["*"]}}`)
	f.Fuzz(func(t *testing.T, document string) {
		_, err := policy.Parse(document, account)
		if err != nil {
			if !errors.Is(err, policy.ErrMalformed) && !errors.Is(err, policy.ErrTooLarge) && !errors.Is(err, policy.ErrUnsupportedPolicy) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		var d struct{ Statement any }
		if err := json.Unmarshal([]byte(document), &d); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", document, err)
		}
		list, ok := d.Statement.([]any)
		if !ok {
			list = []any{d.Statement}
		}
		for _, s := range list {
			m, ok := s.(map[string]any)
			if !ok || m["Effect"] != "Allow" {
				t.Fatalf("accepted %q", document)
			}
			principals, err := json.Marshal(m["Principal"])
			if err != nil || strings.Contains(string(principals), "*") || !strings.Contains(string(principals), account) {
				t.Fatalf("accepted %q", document)
			}
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	p, err := policy.Parse(compact, account)
	if err != nil {
		b.Fatal(err)
	}
	r := policy.Request{PrincipalARN: "x", PrincipalAccount: account, Administrator: true, Action: "kms:Encrypt", KeyAccount: account}
	b.ReportAllocs()
	for b.Loop() {
		if !policy.Decide(p, r).Allowed {
			b.Fatal("denied")
		}
	}
}
