package identity_test

import (
	"crypto/rand"
	"errors"
	"regexp"
	"strings"
	"testing"

	"antipode/regions/identity"
)

const account = "111122223333"

func TestAdministratorIsDerived(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]bool{
		identity.AdministratorPolicy: true,
		` { "Statement" : [ { "Resource":"*", "Action":"*", "Effect":"Allow" } ], "Version":"2012-10-17" } `: true,
		``:     false,
		`{}`:   false,
		`null`: false,
		`{"Version":"2012-10-17","Statement":[]}`:                                                                                             false,
		`{"Version":"2012-10-17","Statement":null}`:                                                                                           false,
		`{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`:                                                                      false,
		`{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`:                                               false,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`:                                                false,
		`{"Version":"2012-10-17","Statement":[{"Effect":"allow","Action":"*","Resource":"*"}]}`:                                               false,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}`:                                           false,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["*"],"Resource":"*"}]}`:                                             false,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"arn:aws:kms:*"}]}`:                                   false,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*"}]}`:                                                              false,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{}}]}`:                                false,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":null}]}`:                              false,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","NotAction":"*","Resource":"*"}]}`:                                            false,
		`{"Version":"2012-10-17","Statement":[{"effect":"Allow","action":"*","resource":"*"}]}`:                                               false,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"*"}]}`: false,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Effect":"Allow","Action":"*","Resource":"*"}]}`:                               false,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny"}],"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`:               false,
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`:                                                 false,
		identity.AdministratorPolicy + `{}`:                                                                                                   false,
	} {
		u := identity.User{Policies: []identity.Policy{{Name: "p", Document: []byte(policy)}}}
		if got := u.Administrator(); got != want {
			t.Errorf("%s: %v", policy, got)
		}
	}
}

// A second policy may deny something, so its user is none who may do everything unasked.
func TestAdministratorIsNothingElse(t *testing.T) {
	t.Parallel()
	u := identity.User{}.WithPolicy("a", []byte(identity.AdministratorPolicy))
	if !u.Administrator() || !u.WithPolicy("b", []byte(identity.AdministratorPolicy)).Administrator() {
		t.Error("no administrator")
	}
	deny := []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`)
	if u.WithPolicy("b", deny).Administrator() || u.WithPolicy("0", deny).Administrator() {
		t.Error("an administrator with a policy that denies")
	}
	if u.WithPolicy("a", nil).Administrator() || !u.Administrator() {
		t.Error("without policies, or changed through a copy")
	}
}

func TestNewUser(t *testing.T) {
	t.Parallel()
	u, err := identity.NewUser(rand.Reader, account, "alice", 7)
	if !regexp.MustCompile(`^AIDA[A-Z0-9]{17}$`).MatchString(u.ID) {
		t.Errorf("id %s", u.ID)
	}
	if err != nil || u.ARN() != "arn:aws:iam::111122223333:user/alice" || u.Created != 7 {
		t.Errorf("%+v, %v", u, err)
	}
	long := strings.Repeat("a", 64)
	bad := map[string]struct{ account, name, policy string }{
		"11 digits":         {"11112222333", "a", ""},
		"13 digits":         {"1111222233334", "a", ""},
		"letters":           {"11112222333a", "a", ""},
		"no account":        {"", "a", ""},
		"no name":           {account, "", ""},
		"long name":         {account, long + "a", ""},
		"slash in name":     {account, "a/b", ""},
		"colon in name":     {account, "a:b", ""},
		"star in name":      {account, "*", ""},
		"newline in name":   {account, "a\nb", ""},
		"bracket in name":   {account, "a]", ""},
		"name not ASCII":    {account, "é", ""},
		"policy not strict": {account, "a", strings.Replace(identity.AdministratorPolicy, "Effect", "effect", 1)},
		"policy no object":  {account, "a", "[]"},
		"policy cut":        {account, "a", `{"a":1`},
		"policy twice":      {account, "a", `{}{}`},
		"policy duplicates": {account, "a", `{"a":1,"a":2}`},
		"policy not UTF-8":  {account, "a", "{\"a\":\"\xff\"}"},
		"policy too long":   {account, "a", strings.Replace(identity.AdministratorPolicy, `"Effect"`, `"Sid":"`+strings.Repeat("x", 6144)+`","Effect"`, 1)},
	}
	for name, c := range bad {
		u, err := identity.NewUser(rand.Reader, c.account, c.name, 0)
		if err == nil {
			err = u.WithPolicy("p", []byte(c.policy)).Validate()
		}
		if !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"a", long, "A.b-c_d@e=f,g+h", "0"} {
		policy := strings.Replace(identity.AdministratorPolicy, ":", ":"+strings.Repeat(" ", 6144), 1) // white space does not count
		u, err := identity.NewUser(rand.Reader, account, name, 0)
		if err == nil {
			err = u.WithPolicy("p", []byte(policy)).Validate()
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, path := range []string{"", "a/", "/a", "/a b/", "/\x7f/", "/" + strings.Repeat("a", 511) + "/"} {
		if err := (identity.User{Account: account, Path: path, Name: "a", ID: u.ID}).Validate(); !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("path %q: %v", path, err)
		}
	}
}

func TestParseUserARN(t *testing.T) {
	t.Parallel()
	for arn, want := range map[string][3]string{
		"arn:aws:iam::111122223333:user/alice":     {account, "/", "alice"},
		"arn:aws:iam::111122223333:user/a/b/alice": {account, "/a/b/", "alice"},
	} {
		a, p, n, err := identity.ParseUserARN(arn)
		if err != nil || [3]string{a, p, n} != want {
			t.Errorf("%s: %q %q %q, %v", arn, a, p, n, err)
		}
	}
	for _, arn := range []string{
		"", "arn:aws:iam::111122223333:user/", "arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:role/a",
		"arn:aws:iam:us-east-2:111122223333:user/a", "arn:aws:kms::111122223333:user/a", "arn:aws:iam::1:user/a",
		"arn:aws:iam::111122223333:user/a/", "arn:aws:iam::111122223333:user/*", "arn:aws:iam::111122223333:user",
	} {
		if _, _, _, err := identity.ParseUserARN(arn); !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("%s: %v", arn, err)
		}
	}
}

// FuzzParseUserARN: what parses is written back to the same text.
func FuzzParseUserARN(f *testing.F) {
	for _, s := range []string{
		"arn:aws:iam::111122223333:user/alice", "arn:aws:iam::111122223333:user/a//b/c", "arn:aws:iam::111122223333:user//",
		"arn:aws:iam::111122223333:user/:a", "arn:aws:iam::",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arn string) {
		a, p, n, err := identity.ParseUserARN(arn)
		if err != nil {
			if !errors.Is(err, identity.ErrInvalid) {
				t.Errorf("%v", err)
			}
			return
		}
		u := identity.User{Account: a, Path: p, Name: n, ID: "AIDAAAAAAAAAAAAAAAAAA"}
		if err := u.Validate(); err != nil || u.ARN() != arn {
			t.Errorf("%q became %q, %v", arn, u.ARN(), err)
		}
	})
}
