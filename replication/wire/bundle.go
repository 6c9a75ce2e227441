package wire

import (
	"fmt"

	"antipode/regions/canon"
	"antipode/regions/identity"
	"antipode/regions/secret"
)

// bundle is an identity on its way to another Region, as it is before it is sealed. Exactly one of the first three is
// there.
type bundle struct {
	Account *identity.Account `cbor:"1,keyasint,omitempty"`
	User    *identity.User    `cbor:"2,keyasint,omitempty"`
	Role    *identity.Role    `cbor:"3,keyasint,omitempty"`
	Keys    []bundleKey       `cbor:"4,keyasint"`
}

type bundleKey struct {
	ID      string `cbor:"1,keyasint"`
	Active  bool   `cbor:"2,keyasint"`
	Created int64  `cbor:"3,keyasint"`
	Secret  []byte `cbor:"4,keyasint"`
}

// EncodeIdentities encodes identities with the secrets of their access keys in clear: to be sealed at once, and cleared.
// It returns [ErrMalformed] for one that is not valid.
func EncodeIdentities(list []identity.Bundle) ([]byte, error) {
	out := make([]bundle, 0, len(list))
	for _, b := range list {
		if err := b.Validate(); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, b.ARN(), err)
		}
		w := bundle{Account: b.Account, User: b.User, Role: b.Role}
		for _, k := range b.Keys {
			w.Keys = append(w.Keys, bundleKey{ID: k.ID, Active: k.Active, Created: k.Created, Secret: k.Secret.Reveal()})
		}
		out = append(out, w)
	}
	data, err := canon.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return data, nil
}

// DecodeIdentities is the inverse of [EncodeIdentities]. It returns [ErrMalformed], with nothing of a secret in it, for
// anything else, and for an identity that is not valid. The secrets are copies; data may be cleared.
func DecodeIdentities(data []byte) ([]identity.Bundle, error) {
	var list []bundle
	if err := canon.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	out := make([]identity.Bundle, 0, len(list))
	for _, w := range list {
		b := identity.Bundle{Account: w.Account, User: w.User, Role: w.Role}
		for _, k := range w.Keys {
			b.Keys = append(b.Keys, identity.BundleKey{ID: k.ID, Active: k.Active, Created: k.Created, Secret: secret.Of(k.Secret)})
		}
		if err := b.Validate(); err != nil {
			return nil, fmt.Errorf("%w: identity %.200q: %w", ErrMalformed, b.ARN(), err)
		}
		out = append(out, b)
	}
	return out, nil
}
