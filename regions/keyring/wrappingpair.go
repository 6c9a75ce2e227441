package keyring

import (
	"context"
	"errors"
	"fmt"

	"antipode/hsmbackend"
)

// WrappingPair is an RSA key pair, made on the token, to which somebody outside encrypts key material that is to be
// imported, as the store keeps it. The private half is a session object of the token for the time of one import, not
// extractable, and can do only what that import needs.
type WrappingPair struct {
	Spec      string `cbor:"1,keyasint"` // RSA_2048, RSA_3072 or RSA_4096
	Public    []byte `cbor:"2,keyasint"` // DER SubjectPublicKeyInfo, e = 65537
	DKVersion uint32 `cbor:"3,keyasint"` // of the domain key that EKT is wrapped under
	EKT       []byte `cbor:"4,keyasint"` // the private half, PKCS #8, by AES-KWP
}

// pairType returns the key type of a wrapping key spec and the length of its modulus in bytes.
func pairType(spec string) (hsmbackend.KeyType, int, error) {
	switch spec {
	case "RSA_2048":
		return hsmbackend.RSA2048, 256, nil
	case "RSA_3072":
		return hsmbackend.RSA3072, 384, nil
	case "RSA_4096":
		return hsmbackend.RSA4096, 512, nil
	}
	return "", 0, fmt.Errorf("%w: wrapping key spec %s", hsmbackend.ErrUnsupported, spec)
}

// MakeWrappingPair makes a pair, wraps its private half under the domain key, proves that it opens, and leaves nothing of
// it on the token. Making a pair takes a token from a tenth of a second to many seconds.
func (r *Ring) MakeWrappingPair(ctx context.Context, spec string) (_ WrappingPair, err error) {
	p := WrappingPair{Spec: spec}
	kt, _, err := pairType(spec)
	if err != nil {
		return p, err
	}
	scope, err := r.token.OpenScope(ctx)
	if err != nil {
		return p, fmt.Errorf("make wrapping pair: %w", err)
	}
	defer func() { err = errors.Join(err, r.token.CloseScope(scope)) }()
	ref, public, err := r.token.GenerateKeyPair(ctx, kt, transientPair(scope))
	if err != nil {
		return p, fmt.Errorf("make wrapping pair: %w", err)
	}
	p.Public = public
	return r.wrapPair(ctx, ref, p, r.currentVersion(), scope)
}

// RewrapPair returns p with its private half under another version of the domain key, proven to open. Nothing of it
// stays on the token.
func (r *Ring) RewrapPair(ctx context.Context, p WrappingPair, version uint32) (_ WrappingPair, err error) {
	if p.DKVersion == version {
		return p, nil
	}
	scope, err := r.token.OpenScope(ctx)
	if err != nil {
		return p, fmt.Errorf("rewrap wrapping pair: %w", err)
	}
	defer func() { err = errors.Join(err, r.token.CloseScope(scope)) }()
	ref, err := r.openPair(ctx, p, transientPair(scope))
	if err != nil {
		return p, err
	}
	return r.wrapPair(ctx, ref, p, version, scope)
}

// transientPair is a pair that can do nothing but be wrapped.
func transientPair(scope hsmbackend.Scope) hsmbackend.Attributes {
	return hsmbackend.Attributes{
		Label: "antipode/import", Scope: scope, Extractable: true, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechRSARaw},
	}
}

func (r *Ring) wrapPair(
	ctx context.Context, ref hsmbackend.KeyRef, p WrappingPair, version uint32, scope hsmbackend.Scope,
) (WrappingPair, error) {
	dk, held := r.version(version)
	if !held {
		return p, fmt.Errorf("%w: domain key %d is not here", ErrRefused, version)
	}
	err := dk.use(ctx, func(dk hsmbackend.KeyRef) (err error) {
		p.EKT, err = r.token.Wrap(ctx, dk, ref)
		return err
	})
	if err != nil {
		return p, fmt.Errorf("wrap wrapping pair: %w", err)
	}
	p.DKVersion = version
	// AES-KWP proves what it opens, so this is the key that was wrapped.
	_, err = r.openPair(ctx, p, transientPair(scope))
	return p, err
}

// openPair unwraps the private half. It returns ErrRefused if it does not open.
func (r *Ring) openPair(ctx context.Context, p WrappingPair, attr hsmbackend.Attributes) (ref hsmbackend.KeyRef, err error) {
	kt, _, err := pairType(p.Spec)
	if err != nil {
		return ref, err
	}
	dk, held := r.version(p.DKVersion)
	if !held {
		return ref, fmt.Errorf("%w: wrapping pair is under domain key %d, which is not here", ErrRefused, p.DKVersion)
	}
	err = dk.use(ctx, func(dk hsmbackend.KeyRef) (err error) {
		ref, err = r.token.Unwrap(ctx, dk, p.EKT, kt, attr)
		return err
	})
	if errors.Is(err, hsmbackend.ErrIntegrity) || errors.Is(err, hsmbackend.ErrInvalidInput) {
		return ref, fmt.Errorf("%w: wrapping pair does not open under domain key %d", ErrRefused, p.DKVersion)
	}
	if err != nil {
		return ref, fmt.Errorf("unwrap wrapping pair: %w", err)
	}
	return ref, nil
}
