package keyring

import (
	"context"
	"errors"
	"fmt"

	"antipode/hsmbackend"
	"antipode/regions/keyspec"
)

// How imported material is wrapped, with AWS's names.
const (
	// The material is encrypted to the wrapping pair by RSAES-OAEP with an empty label and MGF1 of the same hash.
	WrapOAEPSHA1   = "RSAES_OAEP_SHA_1"
	WrapOAEPSHA256 = "RSAES_OAEP_SHA_256"
	// An AES-256 key is encrypted so, and the material follows, under that key by AES-KWP (RFC 5649): CKM_RSA_AES_KEY_WRAP.
	WrapRSAAESSHA1   = "RSA_AES_KEY_WRAP_SHA_1"
	WrapRSAAESSHA256 = "RSA_AES_KEY_WRAP_SHA_256"
)

var (
	// ErrNotOpened says that wrapped material does not open with its pair. It says no more, whatever is wrong.
	ErrNotOpened = errors.New("imported material does not open")
	// ErrWrapping says that material of this kind is not wrapped in this way.
	ErrWrapping = errors.New("wrapping algorithm is not for this material")
	// ErrMaterialLength says that what was wrapped is not as long as its key spec wants it.
	ErrMaterialLength = errors.New("imported material has the wrong length")
)

func importHash(algorithm string) (hash hsmbackend.Mechanism, hybrid bool, err error) {
	switch algorithm {
	case WrapOAEPSHA1:
		return hsmbackend.MechOAEPSHA1, false, nil
	case WrapOAEPSHA256:
		return hsmbackend.MechOAEPSHA256, false, nil
	case WrapRSAAESSHA1:
		return hsmbackend.MechOAEPSHA1, true, nil
	case WrapRSAAESSHA256:
		return hsmbackend.MechOAEPSHA256, true, nil
	}
	return "", false, fmt.Errorf("%w: wrapping algorithm %s", hsmbackend.ErrUnsupported, algorithm)
}

// CanImport returns [hsmbackend.ErrUnsupported] if the token can't open material of a key spec that is wrapped so, and
// [ErrWrapping] if AWS does not have such material wrapped so.
func (r *Ring) CanImport(material, spec, algorithm string) error {
	hash, hybrid, err := importHash(algorithm)
	if err != nil {
		return err
	}
	kt, _, err := pairType(spec)
	if err != nil {
		return err
	}
	what, known := keyspec.Lookup(material)
	if !known || !what.Built() {
		return fmt.Errorf("%w: key spec %s", hsmbackend.ErrUnsupported, material)
	}
	_, isRSA := what.RSA()
	if !hybrid && (isRSA || what.KeyType == hsmbackend.ECP521 && kt == hsmbackend.RSA2048) {
		return fmt.Errorf("%w: %s by %s to %s", ErrWrapping, material, algorithm, spec) // it may be longer than the modulus
	}
	takes := r.caps.HasMechanism(hash) || r.caps.OAEPOnHost(hash) && r.caps.ImportsKeys
	if !r.caps.HasKeyType(kt) || !r.caps.Wraps(kt) || !what.Wrapped(r.caps) || !takes {
		return fmt.Errorf("%w: %s by %s to %s", hsmbackend.ErrUnsupported, material, algorithm, spec)
	}
	return nil
}

// Import takes over material that was wrapped to p outside, for the key that m describes (Account, KeyID, Spec, Usage,
// Origin, Created): the bytes of a secret key, the PKCS #8 of a private key. admit is asked with the material's id before anything is kept, and its error is the
// answer. It returns m completed, [ErrNotOpened] or [ErrMaterialLength]. Nothing of it stays on the token.
//
// With [WrapOAEPSHA1] and [WrapRSAAESSHA1], where the token has that OAEP, all of it happens on the token. Where the token
// has not the OAEP of the hash, but raw RSA, what OAEP had wrapped is in host memory for the time of the call, and
// overwritten: the material itself, or the AES key over it.
func (r *Ring) Import(
	ctx context.Context, p WrappingPair, algorithm string, blob []byte, m Material, admit func(id string) error,
) (_ Material, err error) {
	scope, err := r.token.OpenScope(ctx)
	if err != nil {
		return m, fmt.Errorf("import key material: %w", err)
	}
	defer func() { err = errors.Join(err, r.token.CloseScope(scope)) }()
	ref, err := r.openImport(ctx, p, algorithm, blob, m, scope)
	if err != nil {
		return m, err
	}
	spec, _, err := kind(m)
	if err != nil {
		return m, err
	}
	if spec.Pair() {
		if m.Public, err = r.token.RecoverPublic(ctx, ref); err != nil {
			return m, fmt.Errorf("public key of imported material: %w", err)
		}
	}
	// A token that does not tell how long a key is that it has unwrapped: an AES key of 16 or 24 bytes identifies itself,
	// and is wrapped shorter; every other one can't be used. HMAC keys have a least length there, and 7 bytes more than it at
	// most show in what is wrapped.
	m.ID, err = r.identify(ctx, ref, m)
	if errors.Is(err, hsmbackend.ErrNotPermitted) || errors.Is(err, hsmbackend.ErrInvalidInput) {
		return m, ErrMaterialLength // its attributes permit it, so what the token minds is the key
	}
	if err != nil {
		return m, fmt.Errorf("identify imported material: %w", err)
	}
	m, err = r.wrapUnder(ctx, ref, m, r.currentVersion())
	if errors.Is(err, hsmbackend.ErrInvalidInput) {
		return m, ErrMaterialLength // see hsmbackend.OAEPWrapper
	}
	if err != nil {
		return m, err
	}
	if err := admit(m.ID); err != nil {
		return m, err
	}
	return m, r.opens(ctx, m, scope)
}

// openImport makes the transient key of what was wrapped.
func (r *Ring) openImport(
	ctx context.Context, p WrappingPair, algorithm string, blob []byte, m Material, scope hsmbackend.Scope,
) (ref hsmbackend.KeyRef, err error) {
	hash, hybrid, err := importHash(algorithm)
	if err != nil {
		return ref, err
	}
	spec, kt, err := kind(m)
	if err != nil {
		return ref, err
	}
	_, modulus, err := pairType(p.Spec)
	if err != nil {
		return ref, err
	}
	attr := r.transient(m)
	attr.Scope = scope
	if spec.Class() == hsmbackend.ClassPrivate && m.Usage == keyspec.KeyAgreement { // for RecoverPublic
		attr.Usage |= hsmbackend.UsageSign
		attr.Mechanisms = append(attr.Mechanisms, hsmbackend.MechECDSA)
	}
	if !hybrid {
		return r.openOAEP(ctx, p, hash, blob, kt, attr)
	}
	if len(blob) <= modulus {
		return ref, ErrNotOpened
	}
	over, err := r.openOAEP(ctx, p, hash, blob[:modulus], hsmbackend.AES256, hsmbackend.Attributes{
		Label: "antipode/import", Scope: scope, Usage: hsmbackend.UsageUnwrap,
		Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP},
	})
	if errors.Is(err, ErrMaterialLength) {
		return ref, ErrNotOpened // it is the key over the material
	}
	if err != nil {
		return ref, err
	}
	if _, wrapped, err := keyspec.WrappedSize(m.Spec); err != nil || !spec.Pair() && len(blob)-modulus != wrapped {
		return ref, errors.Join(err, ErrMaterialLength)
	}
	ref, err = r.token.Unwrap(ctx, over, blob[modulus:], kt, attr)
	return ref, notOpened(err)
}

// openOAEP makes a key of what OAEP had wrapped.
func (r *Ring) openOAEP(
	ctx context.Context, p WrappingPair, hash hsmbackend.Mechanism, blob []byte, kt hsmbackend.KeyType, attr hsmbackend.Attributes,
) (ref hsmbackend.KeyRef, err error) {
	if r.caps.HasMechanism(hash) {
		private, err := r.openPair(ctx, p, hsmbackend.Attributes{
			Label: "antipode/import", Scope: attr.Scope, Usage: hsmbackend.UsageUnwrap, Mechanisms: []hsmbackend.Mechanism{hash},
		})
		if err != nil {
			return ref, err
		}
		ref, err = r.token.UnwrapOAEP(ctx, private, hash, blob, kt, attr)
		return ref, notOpened(err)
	}
	private, err := r.openPair(ctx, p, hsmbackend.Attributes{
		Label: "antipode/import", Scope: attr.Scope, Usage: hsmbackend.UsageDecrypt,
		Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechRSARaw},
	})
	if err != nil {
		return ref, err
	}
	value, err := r.token.DecryptOAEP(ctx, private, hash, blob)
	defer clear(value)
	if err != nil {
		return ref, notOpened(err)
	}
	ref, err = r.token.ImportKey(ctx, kt, value, attr)
	switch {
	case errors.Is(err, hsmbackend.ErrInvalidInput):
		return ref, ErrMaterialLength
	case errors.Is(err, hsmbackend.ErrIntegrity):
		return ref, ErrNotOpened
	case err != nil:
		return ref, fmt.Errorf("import key material: %w", err)
	}
	return ref, nil
}

func notOpened(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, hsmbackend.ErrIntegrity), errors.Is(err, hsmbackend.ErrInvalidInput):
		return ErrNotOpened
	}
	return fmt.Errorf("unwrap imported material: %w", err)
}
