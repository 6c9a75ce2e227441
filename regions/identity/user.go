package identity

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// User is an IAM user. CBOR. Name is unique in the account without regard to case, as in IAM; whoever stores users sees
// to it.
type User struct {
	Account  string   `cbor:"1,keyasint"`  // 12 digits
	Path     string   `cbor:"2,keyasint"`  // "/" or "/division/team/", at most 512 characters
	Name     string   `cbor:"3,keyasint"`  // 1 to 64 letters, digits and +=,.@_-
	Policies []Policy `cbor:"4,keyasint"`  // in order of name; none grants nothing
	Created  int64    `cbor:"5,keyasint"`  // Unix time in milliseconds
	ID       string   `cbor:"6,keyasint"`  // AIDA and 17 letters and digits; another user of the same name has another
	Tags     []Tag    `cbor:"7,keyasint"`  //
	Disabled bool     `cbor:"8,keyasint"`  // none of the user's credentials is accepted
	Version  int64    `cbor:"9,keyasint"`  // see [NextVersion]
	Deleted  bool     `cbor:"10,keyasint"` // what is left of a deleted user, so that no older export brings it back
}

// NewUser returns a user with path "/" and no policies, or an error that wraps [ErrInvalid]. random is a CSPRNG.
func NewUser(random io.Reader, account, name string, created int64) (User, error) {
	id, err := newUniqueID(random, userIDPrefix)
	if err != nil {
		return User{}, err
	}
	u := User{Account: account, Path: "/", Name: name, Created: created, ID: id, Version: created}
	return u, u.Validate()
}

// Validate returns nil or an error that wraps [ErrInvalid].
func (u User) Validate() error {
	if err := validateHolder(u.Account, u.Path, u.Name, u.Policies, u.Tags); err != nil {
		return err
	}
	if !validUniqueID(u.ID, userIDPrefix) {
		return fmt.Errorf("%w: a user's id is AIDA and 17 letters and digits", ErrInvalid)
	}
	if u.Deleted && (len(u.Policies) > 0 || len(u.Tags) > 0) {
		return fmt.Errorf("%w: a deleted user has nothing", ErrInvalid)
	}
	return nil
}

func validateHolder(account, path, name string, policies []Policy, tags []Tag) error {
	if err := ValidateAccount(account); err != nil {
		return err
	}
	if err := validatePath(path); err != nil {
		return err
	}
	if err := ValidateUserName(name); err != nil {
		return err
	}
	if err := validatePolicies(policies); err != nil {
		return err
	}
	return ValidateTags(tags)
}

// ARN returns arn:aws:iam::ACCOUNT:user/PATH/NAME.
func (u User) ARN() string { return "arn:aws:iam::" + u.Account + ":user" + u.Path + u.Name }

// Administrator reports whether the user's only policies are [AdministratorPolicy].
func (u User) Administrator() bool { return administrator(u.Policies) }

// WithPolicy returns the user with this policy, in place of one of the same name. An empty document takes it away.
func (u User) WithPolicy(name string, document []byte) User {
	u.Policies = withPolicy(u.Policies, name, document)
	return u
}

func withPolicy(policies []Policy, name string, document []byte) []Policy {
	out := slices.DeleteFunc(slices.Clone(policies), func(p Policy) bool { return p.Name == name })
	if len(document) > 0 {
		out = append(out, Policy{name, document})
	}
	slices.SortFunc(out, func(a, b Policy) int { return strings.Compare(a.Name, b.Name) })
	if len(out) == 0 {
		return nil
	}
	return out
}

// NextVersion is the version of a user, role or account that is changed: the time in Unix milliseconds, or one more than
// the version before if that is not larger. So of two Regions' states of one identity the later one is known, and a
// change in one Region always counts more than what it was made of.
func NextVersion(before, now int64) int64 { return max(before+1, now) }
