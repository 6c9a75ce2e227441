package identity

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// AdministratorPolicy is the policy document that makes its user an administrator.
const AdministratorPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// AdministratorPolicyName is the name that [AdministratorPolicy] has where Antipode itself gives it to a user.
const AdministratorPolicyName = "AdministratorAccess"

// MaxPolicy is how long a policy document may be, in bytes without the white space between JSON tokens: the quota that
// IAM has for a managed policy. A trust policy may be as long.
const MaxPolicy = 6144

// MaxPolicies is how many policies a user or role may have.
const MaxPolicies = 20

// Policy is a policy of a user or role, kept with it by its name. CBOR.
type Policy struct {
	Name     string `cbor:"1,keyasint"` // 1 to 128 letters, digits and +=,.@_-
	Document []byte `cbor:"2,keyasint"` // an IAM policy document, JSON
}

// Administrator reports whether the policy document says what [AdministratorPolicy] says: the same members with the same
// values, in any order and with any white space. A document that merely amounts to as much is left to the evaluation of
// policies.
func (p Policy) Administrator() bool {
	var document struct {
		Version   *string `json:"Version"`
		Statement []struct {
			Effect   string `json:"Effect"`
			Action   string `json:"Action"`
			Resource string `json:"Resource"`
		} `json:"Statement"`
	}
	if err := json.Unmarshal(p.Document, &document, json.RejectUnknownMembers(true)); err != nil {
		return false
	}
	if document.Version == nil || *document.Version != "2012-10-17" || len(document.Statement) != 1 {
		return false
	}
	s := document.Statement[0]
	return s.Effect == "Allow" && s.Action == "*" && s.Resource == "*"
}

// administrator reports whether the policies are the administrator's and no other is beside it, which might deny
// something.
func administrator(policies []Policy) bool {
	for _, p := range policies {
		if !p.Administrator() {
			return false
		}
	}
	return len(policies) > 0
}

func documents(policies []Policy) []string {
	var out []string
	for _, p := range policies {
		out = append(out, string(p.Document))
	}
	return out
}

func validatePolicies(policies []Policy) error {
	if len(policies) > MaxPolicies {
		return fmt.Errorf("%w: at most %d policies", ErrInvalid, MaxPolicies)
	}
	for i, p := range policies {
		if err := validateName(p.Name, "policy", 128); err != nil {
			return err
		}
		if i > 0 && policies[i-1].Name >= p.Name {
			return fmt.Errorf("%w: policies are not in order of name, or one is there twice", ErrInvalid)
		}
		if err := ValidatePolicy(p.Document); err != nil {
			return fmt.Errorf("policy %s: %w", p.Name, err)
		}
	}
	return nil
}

// ValidatePolicy returns nil for a JSON object without duplicate names and not longer than [MaxPolicy], and an error that
// wraps [ErrInvalid] for all else. What the document says is not looked at.
func ValidatePolicy(policy []byte) error {
	document := jsontext.Value(policy).Clone()
	if document.Kind() != jsontext.KindBeginObject || !document.IsValid() {
		return fmt.Errorf("%w: a policy document is one JSON object without duplicate names", ErrInvalid)
	}
	if err := document.Compact(); err != nil {
		return fmt.Errorf("%w: a policy document is one JSON object", ErrInvalid)
	}
	if len(document) > MaxPolicy {
		return fmt.Errorf("%w: a policy document has at most %d bytes", ErrInvalid, MaxPolicy)
	}
	return nil
}
