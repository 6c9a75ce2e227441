package identity

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// MaxAccessKeys is how many access keys a user may have: the one in use and the one that takes its place.
const MaxAccessKeys = 2

// Bundle is an account, a user with all of its access keys, or a role: what is moved from one Region to another at once.
// Exactly one of the three pointers is set.
type Bundle struct {
	Account *Account
	User    *User
	Role    *Role
	Keys    []BundleKey // of the user, in order of id
}

// BundleKey is an access key on its way between Regions, each of which seals its secret for itself.
type BundleKey struct {
	ID      string
	Active  bool
	Created int64 // Unix time in milliseconds
	Secret  Secret
}

// Version is that of what is in the bundle.
func (b Bundle) Version() int64 {
	switch {
	case b.Account != nil:
		return b.Account.Version
	case b.User != nil:
		return b.User.Version
	case b.Role != nil:
		return b.Role.Version
	}
	return 0
}

// Owner is the account to which what is in the bundle belongs.
func (b Bundle) Owner() string {
	switch {
	case b.Account != nil:
		return b.Account.ID
	case b.User != nil:
		return b.User.Account
	case b.Role != nil:
		return b.Role.Account
	}
	return ""
}

// ARN names what is in the bundle, for people and the audit log; of an account it is its root's.
func (b Bundle) ARN() string {
	switch {
	case b.Account != nil:
		return "arn:aws:iam::" + b.Account.ID + ":root"
	case b.User != nil:
		return b.User.ARN()
	case b.Role != nil:
		return b.Role.ARN()
	}
	return ""
}

// Validate returns nil or an error that wraps [ErrInvalid].
func (b Bundle) Validate() error {
	parts := 0
	var err error
	if b.Account != nil {
		parts, err = parts+1, b.Account.Validate()
	}
	if b.User != nil {
		parts, err = parts+1, b.User.Validate()
	}
	if b.Role != nil {
		parts, err = parts+1, b.Role.Validate()
	}
	if err != nil {
		return err
	}
	if parts != 1 || b.User == nil && len(b.Keys) > 0 {
		return fmt.Errorf("%w: a bundle is one account, user or role, and only a user has access keys", ErrInvalid)
	}
	if b.Version() <= 0 {
		return fmt.Errorf("%w: without a version", ErrInvalid)
	}
	if len(b.Keys) > MaxAccessKeys || len(b.Keys) > 0 && b.User.Deleted {
		return fmt.Errorf("%w: a user has at most %d access keys, a deleted one none", ErrInvalid, MaxAccessKeys)
	}
	for i, k := range b.Keys {
		if !ValidAccessKeyID(k.ID) || !validSecret(k.Secret.Reveal()) || i > 0 && b.Keys[i-1].ID >= k.ID {
			return fmt.Errorf("%w: not an access key, or not in order", ErrInvalid)
		}
	}
	return nil
}

// Same reports whether both bundles say the same, secrets included.
func (b Bundle) Same(o Bundle) (bool, error) {
	one, err := cbor.Marshal([]any{b.Account, b.User, b.Role})
	if err != nil {
		return false, fmt.Errorf("compare identities: %w", err)
	}
	other, err := cbor.Marshal([]any{o.Account, o.User, o.Role})
	if err != nil {
		return false, fmt.Errorf("compare identities: %w", err)
	}
	return bytes.Equal(one, other) && slices.EqualFunc(b.Keys, o.Keys, func(a, c BundleKey) bool {
		return a.ID == c.ID && a.Active == c.Active && a.Created == c.Created && a.Secret.Equal(c.Secret)
	}), nil
}

// WithKey returns the bundle with this access key, in place of one of the same id.
func (b Bundle) WithKey(k BundleKey) Bundle {
	b = b.WithoutKey(k.ID)
	b.Keys = append(b.Keys, k)
	slices.SortFunc(b.Keys, func(a, c BundleKey) int { return strings.Compare(a.ID, c.ID) })
	return b
}

// WithoutKey returns the bundle without the access key of this id.
func (b Bundle) WithoutKey(id string) Bundle {
	b.Keys = slices.DeleteFunc(slices.Clone(b.Keys), func(k BundleKey) bool { return k.ID == id })
	return b
}
