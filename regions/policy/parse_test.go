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
	d, err := policy.ParseKeyPolicy(text)
	if err != nil || !d.IsDefault(account) || d.IsDefault("999988887777") {
		t.Error("the default policy is not recognised for its account alone")
	}
}

// errNotDefault: a good document that is not the default one.
var errNotDefault = errors.New("not the default policy")

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
		{"the statement twice", stmt(`[{`, `[`+compact[strings.Index(compact, "[")+1:len(compact)-2]+`,{`), policy.ErrMalformed},

		{"deny", stmt(`Allow`, `Deny`), errNotDefault},
		{"another account", stmt(`111122223333`, `111122223334`), errNotDefault},
		{"another account beside", stmt(`"arn:aws:iam::111122223333:root"`, `["arn:aws:iam::111122223333:root","222233334444"]`), errNotDefault},
		{"a user", stmt(`:root"`, `:user/alice"`), errNotDefault},
		{"everybody", stmt(principal, `"Principal":"*"`), errNotDefault},
		{"everybody as AWS", stmt(`"arn:aws:iam::111122223333:root"`, `"*"`), errNotDefault},
		{"a service", stmt(`"AWS":"arn:aws:iam::111122223333:root"`, `"Service":"s3.amazonaws.com"`), errNotDefault},
		{"a service beside", stmt(`{"AWS"`, `{"Service":"s3.amazonaws.com","AWS"`), errNotDefault},
		{"no principal at all", stmt(`{"AWS":"arn:aws:iam::111122223333:root"}`, `{}`), errNotDefault},
		{"empty principals", stmt(`"arn:aws:iam::111122223333:root"`, `[]`), errNotDefault},
		{"NotPrincipal", stmt(`"Principal"`, `"NotPrincipal"`), policy.ErrMalformed},
		{"NotAction", stmt(`"Action"`, `"NotAction"`), errNotDefault},
		{"NotResource", stmt(`"Resource"`, `"NotResource"`), errNotDefault},
		{"some actions", stmt(`kms:*`, `kms:Encrypt`), errNotDefault},
		{"some actions by pattern", stmt(`kms:*`, `kms:Get*`), errNotDefault},
		{"no action", stmt(`"Action":"kms:*",`, ``), errNotDefault},
		{"empty actions", stmt(`"kms:*"`, `[]`), errNotDefault},
		{"one resource", stmt(`"Resource":"*"`, `"Resource":"arn:aws:kms:us-east-2:111122223333:key/x"`), errNotDefault},
		{"no resource", stmt(`,"Resource":"*"`, ``), errNotDefault},
		{"a condition", stmt(`"Resource":"*"`, `"Resource":"*","Condition":{"Bool":{"kms:MultiRegion":"true"}}`), errNotDefault},
		{"a further statement", stmt(`}]}`, `},{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}]}`), errNotDefault},

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
			d, err := policy.ParseKeyPolicy(c.document)
			if errors.Is(c.want, errNotDefault) {
				if err != nil || d.IsDefault(account) {
					t.Fatalf("got %v, is default: %v: %s", err, d.IsDefault(account), c.document)
				}
				return
			}
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v: %s", err, c.want, c.document)
			}
			if d.IsDefault(account) != (c.want == nil) {
				t.Fatalf("IsDefault disagrees")
			}
		})
	}
}
