package identity

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrInvalid is wrapped by every error about a name, an ARN or a policy document that is not well-formed.
var ErrInvalid = errors.New("invalid identity")

// AdministratorPolicy is the policy document that makes its user an administrator.
const AdministratorPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// MaxPolicy is how long a policy document may be, in bytes without the white space between JSON tokens: the quota that
// IAM has for a managed policy.
const MaxPolicy = 6144

// User is an IAM user. CBOR. Name is unique in the account without regard to case, as in IAM; whoever stores users sees
// to it.
type User struct {
	Account string `cbor:"1,keyasint"` // 12 digits
	Path    string `cbor:"2,keyasint"` // "/" or "/division/team/", at most 512 characters
	Name    string `cbor:"3,keyasint"` // 1 to 64 letters, digits and +=,.@_-
	Policy  []byte `cbor:"4,keyasint"` // an IAM policy document, JSON; empty grants nothing
	Created int64  `cbor:"5,keyasint"` // Unix time in milliseconds
}

// NewUser returns a user with path "/", or an error that wraps [ErrInvalid].
func NewUser(account, name string, policy []byte, created int64) (User, error) {
	u := User{Account: account, Path: "/", Name: name, Policy: policy, Created: created}
	return u, u.Validate()
}

// Validate returns nil or an error that wraps [ErrInvalid].
func (u User) Validate() error {
	if err := ValidateAccount(u.Account); err != nil {
		return err
	}
	if err := validatePath(u.Path); err != nil {
		return err
	}
	if err := ValidateUserName(u.Name); err != nil {
		return err
	}
	if len(u.Policy) == 0 {
		return nil
	}
	return ValidatePolicy(u.Policy)
}

// ARN returns arn:aws:iam::ACCOUNT:user/PATH/NAME.
func (u User) ARN() string { return "arn:aws:iam::" + u.Account + ":user" + u.Path + u.Name }

// Administrator reports whether the user's policy document says what [AdministratorPolicy] says: the same members with
// the same values, in any order and with any white space. A document that merely amounts to as much is left to the
// evaluation of policies.
func (u User) Administrator() bool {
	var document struct {
		Version   *string `json:"Version"`
		Statement []struct {
			Effect   string `json:"Effect"`
			Action   string `json:"Action"`
			Resource string `json:"Resource"`
		} `json:"Statement"`
	}
	if err := json.Unmarshal(u.Policy, &document, json.RejectUnknownMembers(true)); err != nil {
		return false
	}
	if document.Version == nil || *document.Version != "2012-10-17" || len(document.Statement) != 1 {
		return false
	}
	s := document.Statement[0]
	return s.Effect == "Allow" && s.Action == "*" && s.Resource == "*"
}

// ValidateAccount returns nil for 12 digits and an error that wraps [ErrInvalid] for all else.
func ValidateAccount(account string) error {
	if len(account) != 12 || strings.Trim(account, "0123456789") != "" {
		return fmt.Errorf("%w: an account id is 12 digits", ErrInvalid)
	}
	return nil
}

// ValidateUserName returns nil for 1 to 64 ASCII letters, digits and +=,.@_- and an error that wraps [ErrInvalid] for
// all else.
func ValidateUserName(name string) error {
	if name == "" || len(name) > 64 {
		return fmt.Errorf("%w: a user name has 1 to 64 characters", ErrInvalid)
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("+=,.@_-", c) < 0 {
			return fmt.Errorf("%w: a user name has only letters, digits and +=,.@_-", ErrInvalid)
		}
	}
	return nil
}

func validatePath(path string) error {
	if len(path) == 0 || len(path) > 512 || path[0] != '/' || path[len(path)-1] != '/' {
		return fmt.Errorf("%w: a path begins and ends with a slash and has at most 512 characters", ErrInvalid)
	}
	for i := range len(path) {
		if path[i] < '!' || path[i] > '~' {
			return fmt.Errorf("%w: a path has only printable ASCII characters without blanks", ErrInvalid)
		}
	}
	return nil
}

// ParseUserARN splits arn:aws:iam::ACCOUNT:user/PATH/NAME; whatever it accepts, [User.ARN] of its parts is the same
// text. Errors wrap [ErrInvalid].
func ParseUserARN(arn string) (account, path, name string, err error) {
	rest, ok := strings.CutPrefix(arn, "arn:aws:iam::")
	account, resource, colon := strings.Cut(rest, ":")
	pathAndName, isUser := strings.CutPrefix(resource, "user/")
	if !ok || !colon || !isUser {
		return "", "", "", fmt.Errorf("%w: a user's ARN is arn:aws:iam::ACCOUNT:user/NAME", ErrInvalid)
	}
	cut := strings.LastIndexByte(pathAndName, '/') + 1
	path, name = "/"+pathAndName[:cut], pathAndName[cut:]
	if err := ValidateAccount(account); err != nil {
		return "", "", "", err
	}
	if err := validatePath(path); err != nil {
		return "", "", "", err
	}
	if err := ValidateUserName(name); err != nil {
		return "", "", "", err
	}
	return account, path, name, nil
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
