package hsmtest

import (
	"context"
	"crypto"
	"errors"

	"antipode/hsmbackend"
)

// Faulty returns a token that fails on demand. Before each call it asks fault with the method's name: if that returns an
// error, the call answers the error; with apply it is done on the token first ("it took effect but was reported as
// failed"), without it never reaches the token ("it was lost"). What a failed call made stays on the token, as with a
// session that dies in the middle. fault must be safe for concurrent use. Info, Capabilities and Close never fail.
func Faulty(tok hsmbackend.Token, fault func(op string) (apply bool, err error)) hsmbackend.Token {
	return &faulty{Token: tok, fault: fault}
}

type faulty struct {
	hsmbackend.Token
	fault func(op string) (bool, error)
}

// inject does call unless the fault says otherwise.
func inject[T any](f *faulty, op string, call func() (T, error)) (T, error) {
	var none T
	apply, err := f.fault(op)
	if err == nil {
		return call()
	}
	if apply {
		// The token's own answer is what gets lost, whether good or bad.
		_, _ = call()
	}
	return none, err
}

func (f *faulty) Random(ctx context.Context, n int) ([]byte, error) {
	return inject(f, "Random", func() ([]byte, error) { return f.Token.Random(ctx, n) })
}

func (f *faulty) GenerateKey(ctx context.Context, kt hsmbackend.KeyType, attr hsmbackend.Attributes) (hsmbackend.KeyRef, error) {
	return inject(f, "GenerateKey", func() (hsmbackend.KeyRef, error) { return f.Token.GenerateKey(ctx, kt, attr) })
}

func (f *faulty) GenerateKeyPair(
	ctx context.Context, kt hsmbackend.KeyType, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, []byte, error) {
	var pub []byte
	ref, err := inject(f, "GenerateKeyPair", func() (ref hsmbackend.KeyRef, err error) {
		ref, pub, err = f.Token.GenerateKeyPair(ctx, kt, attr)
		return ref, err
	})
	if err != nil {
		return hsmbackend.KeyRef{}, nil, err
	}
	return ref, pub, nil
}

func (f *faulty) FindToken(ctx context.Context, class hsmbackend.Class, id hsmbackend.ID) (hsmbackend.KeyRef, error) {
	return inject(f, "FindToken", func() (hsmbackend.KeyRef, error) { return f.Token.FindToken(ctx, class, id) })
}

func (f *faulty) ListToken(ctx context.Context, class hsmbackend.Class, label string) ([]hsmbackend.KeyRef, error) {
	return inject(f, "ListToken", func() ([]hsmbackend.KeyRef, error) { return f.Token.ListToken(ctx, class, label) })
}

func (f *faulty) PublicKey(ctx context.Context, key hsmbackend.KeyRef) ([]byte, error) {
	return inject(f, "PublicKey", func() ([]byte, error) { return f.Token.PublicKey(ctx, key) })
}

func (f *faulty) Destroy(ctx context.Context, key hsmbackend.KeyRef) error {
	_, err := inject(f, "Destroy", func() (struct{}, error) { return struct{}{}, f.Token.Destroy(ctx, key) })
	return err
}

func (f *faulty) OpenScope(ctx context.Context) (hsmbackend.Scope, error) {
	return inject(f, "OpenScope", func() (hsmbackend.Scope, error) { return f.Token.OpenScope(ctx) })
}

func (f *faulty) CloseScope(scope hsmbackend.Scope) error {
	_, err := inject(f, "CloseScope", func() (struct{}, error) { return struct{}{}, f.Token.CloseScope(scope) })
	return err
}

func (f *faulty) Wrap(ctx context.Context, kek, material hsmbackend.KeyRef) ([]byte, error) {
	return inject(f, "Wrap", func() ([]byte, error) { return f.Token.Wrap(ctx, kek, material) })
}

func (f *faulty) Unwrap(
	ctx context.Context, kek hsmbackend.KeyRef, blob []byte, kt hsmbackend.KeyType, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	return inject(f, "Unwrap", func() (hsmbackend.KeyRef, error) { return f.Token.Unwrap(ctx, kek, blob, kt, attr) })
}

func (f *faulty) WrapOAEP(
	ctx context.Context, public []byte, hash hsmbackend.Mechanism, material hsmbackend.KeyRef,
) ([]byte, error) {
	return inject(f, "WrapOAEP", func() ([]byte, error) { return f.Token.WrapOAEP(ctx, public, hash, material) })
}

func (f *faulty) UnwrapOAEP(
	ctx context.Context, private hsmbackend.KeyRef, hash hsmbackend.Mechanism, blob []byte, kt hsmbackend.KeyType, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	return inject(f, "UnwrapOAEP", func() (hsmbackend.KeyRef, error) {
		return f.Token.UnwrapOAEP(ctx, private, hash, blob, kt, attr)
	})
}

func (f *faulty) RecoverPublic(ctx context.Context, key hsmbackend.KeyRef) ([]byte, error) {
	return inject(f, "RecoverPublic", func() ([]byte, error) { return f.Token.RecoverPublic(ctx, key) })
}

func (f *faulty) ImportKey(
	ctx context.Context, kt hsmbackend.KeyType, value []byte, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	return inject(f, "ImportKey", func() (hsmbackend.KeyRef, error) { return f.Token.ImportKey(ctx, kt, value, attr) })
}

func (f *faulty) DeriveECDH(
	ctx context.Context, private hsmbackend.KeyRef, peer []byte, kdf hsmbackend.KDF, info []byte, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	return inject(f, "DeriveECDH", func() (hsmbackend.KeyRef, error) {
		return f.Token.DeriveECDH(ctx, private, peer, kdf, info, attr)
	})
}

func (f *faulty) DeriveECB(
	ctx context.Context, key hsmbackend.KeyRef, data [32]byte, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	return inject(f, "DeriveECB", func() (hsmbackend.KeyRef, error) { return f.Token.DeriveECB(ctx, key, data, attr) })
}

func (f *faulty) DeriveXAES(
	ctx context.Context, key hsmbackend.KeyRef, prefix [12]byte, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	return inject(f, "DeriveXAES", func() (hsmbackend.KeyRef, error) { return f.Token.DeriveXAES(ctx, key, prefix, attr) })
}

func (f *faulty) Tag(ctx context.Context, key hsmbackend.KeyRef) ([]byte, error) {
	return inject(f, "Tag", func() ([]byte, error) { return f.Token.Tag(ctx, key) })
}

func (f *faulty) SealGCM(
	ctx context.Context, key hsmbackend.KeyRef, iv [12]byte, plaintext, aad []byte,
) ([]byte, [12]byte, error) {
	used := iv
	sealed, err := inject(f, "SealGCM", func() (sealed []byte, err error) {
		sealed, used, err = f.Token.SealGCM(ctx, key, iv, plaintext, aad)
		return sealed, err
	})
	if err != nil {
		return nil, iv, err
	}
	return sealed, used, nil
}

func (f *faulty) OpenGCM(ctx context.Context, key hsmbackend.KeyRef, iv [12]byte, sealed, aad []byte) ([]byte, error) {
	return inject(f, "OpenGCM", func() ([]byte, error) { return f.Token.OpenGCM(ctx, key, iv, sealed, aad) })
}

func (f *faulty) SignECDSA(ctx context.Context, key hsmbackend.KeyRef, digest []byte) ([]byte, error) {
	return inject(f, "SignECDSA", func() ([]byte, error) { return f.Token.SignECDSA(ctx, key, digest) })
}

func (f *faulty) SignRSA(
	ctx context.Context, key hsmbackend.KeyRef, scheme hsmbackend.Mechanism, hash crypto.Hash, digest []byte,
) ([]byte, error) {
	return inject(f, "SignRSA", func() ([]byte, error) { return f.Token.SignRSA(ctx, key, scheme, hash, digest) })
}

func (f *faulty) SignEd25519(ctx context.Context, key hsmbackend.KeyRef, message []byte, prehashed bool) ([]byte, error) {
	return inject(f, "SignEd25519", func() ([]byte, error) { return f.Token.SignEd25519(ctx, key, message, prehashed) })
}

func (f *faulty) DecryptOAEP(
	ctx context.Context, key hsmbackend.KeyRef, hash hsmbackend.Mechanism, blob []byte,
) ([]byte, error) {
	return inject(f, "DecryptOAEP", func() ([]byte, error) { return f.Token.DecryptOAEP(ctx, key, hash, blob) })
}

func (f *faulty) AgreeECDH(ctx context.Context, key hsmbackend.KeyRef, peer []byte) ([]byte, error) {
	return inject(f, "AgreeECDH", func() ([]byte, error) { return f.Token.AgreeECDH(ctx, key, peer) })
}

func (f *faulty) MAC(ctx context.Context, key hsmbackend.KeyRef, data []byte) ([]byte, error) {
	return inject(f, "MAC", func() ([]byte, error) { return f.Token.MAC(ctx, key, data) })
}

// CountObjects counts on the token itself.
func (f *faulty) CountObjects(ctx context.Context) (session, token int, err error) {
	c, ok := f.Token.(Counter)
	if !ok {
		return 0, 0, errors.ErrUnsupported
	}
	return c.CountObjects(ctx)
}
