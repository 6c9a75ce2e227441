package identity

import (
	"fmt"

	"github.com/go-json-experiment/json"

	"antipode/regions/policy"
)

// AdministratorPolicy is the policy document that makes its user an administrator.
const AdministratorPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// AdministratorPolicyName is the name that [AdministratorPolicy] has where Antipode itself gives it to a user.
const AdministratorPolicyName = "AdministratorAccess"

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

// ValidatePolicy returns nil for an identity policy, and an error that wraps [ErrInvalid] for all else.
func ValidatePolicy(document []byte) error {
	if _, err := policy.ParseIdentityPolicy(string(document)); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// ValidateTrust returns nil for the trust policy of a role, and an error that wraps [ErrInvalid] for all else.
func ValidateTrust(document []byte) error {
	if _, err := policy.ParseTrustPolicy(string(document)); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}
