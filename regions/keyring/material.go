package keyring

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"antipode/hsmbackend"
	"antipode/regions/keyspec"
)

// Storage is where key material is kept.
type Storage string

// The storages.
const (
	// StorageWrapped keeps the material as an EKT in the store.
	StorageWrapped Storage = "WRAPPED"
	// StorageToken keeps it as a token object that never leaves the token, wrapped or not.
	StorageToken Storage = "TOKEN"
)

// WrapAESKWP is the only wrap algorithm of EKTs: AES-KWP, RFC 5649.
const WrapAESKWP = "AES-KWP"

// SpecSymmetric is the key spec of AES-256 material.
const SpecSymmetric = keyspec.Symmetric

// Material is one version of a KMS key's material as the store keeps it, in a record authenticated by the record key.
type Material struct {
	Account   string        `cbor:"1,keyasint"`
	KeyID     string        `cbor:"2,keyasint"`
	ID        string        `cbor:"3,keyasint"` // material id, 64 hex digits
	Spec      string        `cbor:"4,keyasint"`
	Usage     string        `cbor:"5,keyasint"`
	Origin    string        `cbor:"6,keyasint"`
	Storage   Storage       `cbor:"7,keyasint"`
	DKVersion uint32        `cbor:"8,keyasint"`  // of the domain key that EKT is wrapped under; 0 with StorageToken
	WrapAlg   string        `cbor:"9,keyasint"`  // [WrapAESKWP]; "" with StorageToken
	EKT       []byte        `cbor:"10,keyasint"` // exported key token; empty with StorageToken
	Object    hsmbackend.ID `cbor:"11,keyasint"` // CKA_ID with StorageToken
	Created   int64         `cbor:"12,keyasint"` // Unix milliseconds
	// Public is a key pair's DER SubjectPublicKeyInfo; empty for other keys.
	Public []byte `cbor:"13,keyasint,omitempty"`
}

// MaterialID computes a material id from T, the tag that the token made (see [hsmbackend.Tagger]) or, of a key pair, its
// DER SubjectPublicKeyInfo: SHA-256 over "antipode/kmid/1", u16 length and key id, u16 length and spec, T. 64 hex digits,
// the same in every Region.
func MaterialID(keyID, spec string, tag []byte) string {
	h := sha256.New()
	h.Write([]byte("antipode/kmid/1"))
	for _, s := range []string{keyID, spec} {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) //nolint:gosec // key ids and specs are under 64 bytes
		h.Write([]byte(s))
	}
	h.Write(tag)
	return hex.EncodeToString(h.Sum(nil))
}

// kind returns the spec and key type of m, or [hsmbackend.ErrUnsupported].
func kind(m Material) (keyspec.Spec, hsmbackend.KeyType, error) {
	kt, err := keyspec.KeyType(m.Spec)
	spec, _ := keyspec.Lookup(m.Spec)
	return spec, kt, err
}

// Generate makes new key material on the token for the key that m describes (Account, KeyID, Spec, Usage, Origin,
// Created), wraps it under the domain key, proves that the EKT opens to the same material, and returns m completed.
// The working copy made for the proof is kept for use.
func (r *Ring) Generate(ctx context.Context, m Material) (Material, error) {
	spec, kt, err := kind(m)
	if err != nil {
		return m, err
	}
	var ref hsmbackend.KeyRef
	if spec.Pair() {
		ref, m.Public, err = r.token.GenerateKeyPair(ctx, kt, r.transient(m))
	} else {
		ref, err = r.token.GenerateKey(ctx, kt, r.transient(m))
	}
	if err != nil {
		return m, fmt.Errorf("generate key material: %w", err)
	}
	return r.export(ctx, ref, m, "")
}

// GenerateOnToken makes key material that never leaves the token, as the token object m.Object, which the caller has
// chosen and stored before. It may be repeated.
func (r *Ring) GenerateOnToken(ctx context.Context, m Material) (Material, error) {
	spec, kt, err := kind(m)
	if err != nil {
		return m, err
	}
	ref, err := r.token.FindToken(ctx, spec.Class(), m.Object)
	switch {
	case errors.Is(err, hsmbackend.ErrObjectNotFound):
		attr := r.workingAttributes(m)
		attr.Token, attr.ID, attr.Label = true, m.Object, "antipode/kms/"+m.KeyID
		if spec.Pair() {
			ref, m.Public, err = r.token.GenerateKeyPair(ctx, kt, attr)
		} else {
			ref, err = r.token.GenerateKey(ctx, kt, attr)
		}
	case err == nil && spec.Pair():
		m.Public, err = r.token.PublicKey(ctx, ref)
	}
	if err != nil {
		return m, fmt.Errorf("generate key material on the token: %w", err)
	}
	m.Storage = StorageToken
	if m.ID, err = r.identify(ctx, ref, m); err != nil {
		return m, fmt.Errorf("identify key material: %w", err)
	}
	return m, nil
}

// DestroyOnToken destroys material made by GenerateOnToken, or what a crash has left of it, of whatever class; an object
// that is gone already is no error.
func (r *Ring) DestroyOnToken(ctx context.Context, object hsmbackend.ID) error {
	return errors.Join(
		r.token.Destroy(ctx, hsmbackend.KeyRef{ID: object, Class: hsmbackend.ClassSecret}),
		r.token.Destroy(ctx, hsmbackend.KeyRef{ID: object, Class: hsmbackend.ClassPrivate}),
	)
}

// Transient unwraps m's EKT to an extractable session object of scope, for wrapping under an exchange's wrapping key.
// The caller destroys it, at the latest by closing the scope. It returns ErrNotExtractable for StorageToken.
func (r *Ring) Transient(ctx context.Context, m Material, scope hsmbackend.Scope) (hsmbackend.KeyRef, error) {
	if m.Storage != StorageWrapped {
		return hsmbackend.KeyRef{}, fmt.Errorf("%w: material %s is kept on the token", hsmbackend.ErrNotExtractable, m.ID)
	}
	attr := r.transient(m)
	attr.Scope = scope
	ref, err := r.unwrapEKT(ctx, m, attr)
	if err != nil {
		return ref, err
	}
	return ref, r.verify(ctx, ref, m)
}

// Adopt takes over material that arrived wrapped under an exchange's wrapping key: it is unwrapped on the token as a
// transient object of scope, its material id is recomputed and must be m.ID, and it is wrapped under the domain key.
// It returns m completed, or ErrRefused, or [hsmbackend.ErrIntegrity] if blob does not unwrap.
func (r *Ring) Adopt(ctx context.Context, m Material, wrapping hsmbackend.KeyRef, blob []byte, scope hsmbackend.Scope) (Material, error) {
	_, kt, err := kind(m)
	if err != nil {
		return m, err
	}
	attr := r.transient(m)
	attr.Scope = scope
	ref, err := r.token.Unwrap(ctx, wrapping, blob, kt, attr)
	if err != nil {
		return m, fmt.Errorf("unwrap transferred material: %w", err)
	}
	return r.export(ctx, ref, m, m.ID)
}

// export identifies the transient key ref, wraps it under the current domain key, proves the result, and destroys ref.
// want, if not empty, is the material id that must come out.
func (r *Ring) export(ctx context.Context, ref hsmbackend.KeyRef, m Material, want string) (_ Material, err error) {
	defer func() {
		if derr := r.token.Destroy(context.WithoutCancel(ctx), ref); derr != nil {
			err = errors.Join(err, fmt.Errorf("destroy transient key: %w", derr))
		}
	}()
	if m.ID, err = r.identify(ctx, ref, m); err != nil {
		return m, fmt.Errorf("identify key material: %w", err)
	}
	if want != "" && m.ID != want {
		return m, fmt.Errorf("%w: material is %s, announced as %s", ErrRefused, m.ID, want)
	}
	if m, err = r.wrapUnder(ctx, ref, m, r.currentVersion()); err != nil {
		return m, err
	}
	w, err := r.Acquire(ctx, m)
	if err != nil {
		return m, fmt.Errorf("prove key token: %w", err)
	}
	w.Release(ctx)
	return m, nil
}

// wrapUnder makes the EKT of the extractable key ref under a version of the domain key.
func (r *Ring) wrapUnder(ctx context.Context, ref hsmbackend.KeyRef, m Material, version uint32) (Material, error) {
	key, held := r.version(version)
	if !held {
		return m, fmt.Errorf("%w: domain key %d is not here", ErrRefused, version)
	}
	m.Storage, m.WrapAlg, m.DKVersion = StorageWrapped, WrapAESKWP, version
	err := key.use(ctx, func(dk hsmbackend.KeyRef) (err error) {
		m.EKT, err = r.token.Wrap(ctx, dk, ref)
		return err
	})
	if err != nil {
		return m, fmt.Errorf("wrap key material: %w", err)
	}
	return m, nil
}

func (r *Ring) unwrapEKT(ctx context.Context, m Material, attr hsmbackend.Attributes) (ref hsmbackend.KeyRef, err error) {
	_, kt, err := kind(m)
	if err != nil {
		return ref, err
	}
	dk, ok := r.version(m.DKVersion)
	if !ok || m.WrapAlg != WrapAESKWP {
		return ref, fmt.Errorf("%w: wrapped by %q under domain key %d, which is not here", ErrRefused, m.WrapAlg, m.DKVersion)
	}
	err = dk.use(ctx, func(dk hsmbackend.KeyRef) error {
		ref, err = r.token.Unwrap(ctx, dk, m.EKT, kt, attr)
		return err
	})
	if errors.Is(err, hsmbackend.ErrIntegrity) || errors.Is(err, hsmbackend.ErrInvalidInput) {
		return ref, fmt.Errorf("%w: key token %s does not open under domain key %d", ErrRefused, m.ID, m.DKVersion)
	}
	if err != nil {
		return ref, fmt.Errorf("unwrap key token: %w", err)
	}
	return ref, nil
}

// verify destroys ref and returns ErrRefused unless its material id is m's.
func (r *Ring) verify(ctx context.Context, ref hsmbackend.KeyRef, m Material) error {
	id, err := r.identify(ctx, ref, m)
	if err == nil && id != m.ID {
		err = fmt.Errorf("%w: key token holds material %s, recorded as %s", ErrRefused, id, m.ID)
	}
	if err != nil {
		return errors.Join(err, r.token.Destroy(context.WithoutCancel(ctx), ref))
	}
	return nil
}

// workingAttributes are those of a copy of m that is used: as narrow as its spec and usage allow.
func (r *Ring) workingAttributes(m Material) hsmbackend.Attributes {
	spec, _ := keyspec.Lookup(m.Spec)
	return spec.WorkingCopy(r.caps, m.Usage)
}

func (r *Ring) transient(m Material) hsmbackend.Attributes {
	attr := r.workingAttributes(m)
	attr.Extractable = true
	return attr
}
