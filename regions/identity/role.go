package identity

import (
	"fmt"
	"io"
)

// The bounds of a session's duration, in seconds.
const (
	MinSession     = 900
	DefaultSession = 3600
	MaxSession     = 12 * 3600
)

// Role is an IAM role: nobody's in itself, assumed by whom its trust policy allows. CBOR.
type Role struct {
	Account    string   `cbor:"1,keyasint"` // 12 digits
	Path       string   `cbor:"2,keyasint"` // as a user's
	Name       string   `cbor:"3,keyasint"` // as a user's; users and roles don't share their names
	Policies   []Policy `cbor:"4,keyasint"` // in order of name
	Created    int64    `cbor:"5,keyasint"` // Unix time in milliseconds
	ID         string   `cbor:"6,keyasint"` // AROA and 17 letters and digits
	Tags       []Tag    `cbor:"7,keyasint"`
	Disabled   bool     `cbor:"8,keyasint"`  // it can't be assumed, and its sessions are refused
	Version    int64    `cbor:"9,keyasint"`  // see [NextVersion]
	Deleted    bool     `cbor:"10,keyasint"` // what is left of a deleted role
	Trust      []byte   `cbor:"11,keyasint"` // the trust policy document, JSON: who may assume the role
	MaxSession int64    `cbor:"12,keyasint"` // the longest session in seconds, 3600 to 43200
	// RevokedUntil is a time in Unix milliseconds; sessions that were issued until then are refused. 0 refuses none.
	RevokedUntil int64 `cbor:"13,keyasint"`
}

// NewRole returns a role with path "/", sessions of up to an hour and no policies but the trust policy, or an error that
// wraps [ErrInvalid]. random is a CSPRNG.
func NewRole(random io.Reader, account, name string, trust []byte, created int64) (Role, error) {
	id, err := newUniqueID(random, roleIDPrefix)
	if err != nil {
		return Role{}, err
	}
	r := Role{
		Account: account, Path: "/", Name: name, Created: created, ID: id, Version: created, Trust: trust,
		MaxSession: DefaultSession,
	}
	return r, r.Validate()
}

// Validate returns nil or an error that wraps [ErrInvalid].
func (r Role) Validate() error {
	if err := validateHolder(r.Account, r.Path, r.Name, r.Policies, r.Tags); err != nil {
		return err
	}
	if !validUniqueID(r.ID, roleIDPrefix) {
		return fmt.Errorf("%w: a role's id is AROA and 17 letters and digits", ErrInvalid)
	}
	if r.Deleted {
		if len(r.Policies) > 0 || len(r.Tags) > 0 || len(r.Trust) > 0 {
			return fmt.Errorf("%w: a deleted role has nothing", ErrInvalid)
		}
		return nil
	}
	if r.MaxSession < DefaultSession || r.MaxSession > MaxSession {
		return fmt.Errorf("%w: a role's longest session is %d to %d seconds", ErrInvalid, DefaultSession, MaxSession)
	}
	return ValidateTrust(r.Trust)
}

// ARN returns arn:aws:iam::ACCOUNT:role/PATH/NAME.
func (r Role) ARN() string { return "arn:aws:iam::" + r.Account + ":role" + r.Path + r.Name }

// SessionARN returns arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION, which has no path.
func (r Role) SessionARN(session string) string {
	return "arn:aws:sts::" + r.Account + ":assumed-role/" + r.Name + "/" + session
}

// Administrator reports whether the role's only policies are [AdministratorPolicy].
func (r Role) Administrator() bool { return administrator(r.Policies) }

// WithPolicy returns the role with this policy, in place of one of the same name. An empty document takes it away.
func (r Role) WithPolicy(name string, document []byte) Role {
	r.Policies = withPolicy(r.Policies, name, document)
	return r
}
