package policy_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"antipode/regions/policy"
)

func mustIdentity(t *testing.T, text string) *policy.Document {
	t.Helper()
	d, err := policy.ParseIdentityPolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestExplain(t *testing.T) {
	t.Parallel()
	r := request(t, grants(1, alice))
	r.Identity = []*policy.Document{
		mustIdentity(t, policy.Administrator),
		mustIdentity(t, `{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"},{"Sid":"no","Effect":"Deny","Action":"kms:Enc*","Resource":"*"}]}`),
	}
	want := policy.Explanation{
		Decision: policy.Decision{Reason: policy.DeniedByIdentityPolicy},
		Findings: []policy.Finding{
			{Document: policy.KeyPolicy, Statement: 1, Sid: "Enable IAM User Permissions", Delegates: true},
			{Document: policy.IdentityPolicy, Statement: 1},
			{Document: policy.IdentityPolicy, Index: 1, Statement: 2, Sid: "no", Deny: true},
		},
	}
	if got := policy.Explain(r); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	r.Identity = nil
	r.Context.EncryptionContext = map[string]string{"id": "0"}
	if got := policy.Explain(r); got.GrantID != "0" || got.Reason != policy.ByGrant || len(got.Findings) != 1 {
		t.Errorf("%+v", got)
	}
}

// The ends of AWS's AccessDeniedException.
func TestBecause(t *testing.T) {
	t.Parallel()
	for reason, want := range map[policy.Reason]string{
		policy.NoIdentityPolicy:       "because no identity-based policy allows the kms:Encrypt action",
		policy.NoKeyPolicy:            "because no resource-based policy allows the kms:Encrypt action",
		policy.OtherAccount:           "because no resource-based policy allows the kms:Encrypt action",
		policy.NoSessionPolicy:        "because no session policy allows the kms:Encrypt action",
		policy.DeniedByKeyPolicy:      "with an explicit deny in a resource-based policy",
		policy.DeniedByIdentityPolicy: "with an explicit deny in an identity-based policy",
		policy.DeniedBySessionPolicy:  "with an explicit deny in a session policy",
	} {
		if got := (policy.Decision{Reason: reason}).Because("kms:Encrypt"); got != want {
			t.Errorf("%v: %s", reason, got)
		}
	}
	seen := map[string]bool{}
	for r := policy.Reason(0); r <= policy.NoRequest; r++ {
		if s := r.String(); s == "" || seen[s] {
			t.Errorf("reason %d is called %q", r, s)
		}
		seen[r.String()] = true
	}
	if (policy.Decision{}).Allowed || policy.Reason(0).String() != "undecided" {
		t.Error("the zero decision decides")
	}
}

// A document in the place of another kind, or missing, refuses everything: a deny might be missing with it.
func TestDocumentsInTheirPlaces(t *testing.T) {
	t.Parallel()
	admin := mustIdentity(t, policy.Administrator)
	for name, edit := range map[string]func(*policy.Request){
		"no key policy":                func(r *policy.Request) { r.KeyPolicy = nil },
		"empty key policy":             func(r *policy.Request) { r.KeyPolicy = &policy.Document{} },
		"identity policy for a key":    func(r *policy.Request) { r.KeyPolicy = admin },
		"key policy for a user":        func(r *policy.Request) { r.Identity = []*policy.Document{r.KeyPolicy} },
		"key policy for a session":     func(r *policy.Request) { r.Session = []*policy.Document{r.KeyPolicy} },
		"missing identity policy":      func(r *policy.Request) { r.Identity = []*policy.Document{admin, nil} },
		"missing session policy":       func(r *policy.Request) { r.Session = []*policy.Document{nil} },
		"caller of no kind":            func(r *policy.Request) { r.Principal.Type = "" },
		"service that has an account":  func(r *policy.Request) { r.Principal.Type = policy.Service },
		"caller who has no proper ARN": func(r *policy.Request) { r.Principal.ARN = "alice" },
	} {
		r := request(t, nil)
		r.Identity = []*policy.Document{admin}
		if d := policy.Decide(r); d.Reason != policy.ByDelegation {
			t.Fatal(d.Reason)
		}
		edit(r)
		if d := policy.Decide(r); d.Allowed || d.Reason != policy.NoRequest {
			t.Errorf("%s: %v", name, d)
		}
	}
	if policy.KeepsControl(nil, request(t, nil)) {
		t.Error("no policy keeps control")
	}
}

func TestAsks(t *testing.T) {
	t.Parallel()
	d := mustIdentity(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:kms:*:*:alias/${aws:PrincipalTag/x}",
		"Condition":{"StringEquals":{"kms:resourcealiases":"a","kms:KeySpec":"${aws:ResourceTag/env}"}}}}`)
	for name, want := range map[string]bool{
		"kms:ResourceAliases": true, "aws:ResourceTag/other": true, "aws:PrincipalTag/y": true, "kms:KeySpec": true,
		"aws:RequestTag/x": false, "aws:TagKeys": false, "": false,
	} {
		if d.Asks(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
	if (*policy.Document)(nil).Asks("kms:KeySpec") {
		t.Error("no document asks")
	}
}

type known []string

func (k known) PrincipalExists(_ context.Context, p string) (bool, error) {
	if p == "222233334444" {
		return false, errLookup
	}
	return slices.Contains(k, p), nil
}

var errLookup = errors.New("the store is away")

func TestCheckPrincipals(t *testing.T) {
	t.Parallel()
	d := mustKey(t, `{"Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:user/a","111122223333"],"Service":"s3.amazonaws.com"}},
		{"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/b","111122223333"]}},{"Effect":"Deny","Principal":"*"},{"Effect":"Deny","Principal":{"AWS":"*"}}]}`)
	all := []string{"111122223333", "arn:aws:iam::111122223333:user/a", "arn:aws:iam::111122223333:user/b"}
	if got := d.Principals(); !slices.Equal(got, all) {
		t.Fatalf("%v", got)
	}
	if err := policy.CheckPrincipals(t.Context(), d, known(all)); err != nil {
		t.Error(err)
	}
	for i := range all {
		if err := policy.CheckPrincipals(t.Context(), d, known(slices.Delete(slices.Clone(all), i, i+1))); !errors.Is(err, policy.ErrMalformed) {
			t.Errorf("without %s: %v", all[i], err)
		}
	}
	away := mustKey(t, strings.ReplaceAll(policy.Default("222233334444"), policy.Root("222233334444"), "222233334444"))
	if err := policy.CheckPrincipals(t.Context(), away, known(all)); !errors.Is(err, errLookup) || errors.Is(err, policy.ErrMalformed) {
		t.Error(err)
	}
}

// Limits count what AWS counts: white space between tokens does not, in an identity policy.
func TestSizes(t *testing.T) {
	t.Parallel()
	document := func(sid, space int) string {
		return `{"Statement":{"Sid":"` + strings.Repeat("a", sid) + `","Effect":"Allow","Action":"*","Resource":"*"}` + strings.Repeat(" ", space) + `}`
	}
	empty := len(document(0, 0))
	for _, c := range []struct {
		name  string
		parse func(string) (*policy.Document, error)
		limit int
		space bool // counts
	}{
		{"identity", policy.ParseIdentityPolicy, 6144, false},
		{"session", policy.ParseSessionPolicy, 2048, true},
		{"managed session", policy.ParseSessionIdentityPolicy, 6144, false},
	} {
		if _, err := c.parse(document(c.limit-empty, 0)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := c.parse(document(c.limit-empty+1, 0)); !errors.Is(err, policy.ErrTooLarge) {
			t.Errorf("%s, one more: %v", c.name, err)
		}
		if _, err := c.parse(document(c.limit-empty, 1)); errors.Is(err, policy.ErrTooLarge) != c.space {
			t.Errorf("%s, a space more: %v", c.name, err)
		}
		if _, err := c.parse(document(0, 1<<20)); !errors.Is(err, policy.ErrTooLarge) {
			t.Errorf("%s, a megabyte of spaces: %v", c.name, err)
		}
	}
}
