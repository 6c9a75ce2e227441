package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"antipode/hsmbackend"
	"antipode/regions/cose"
	"antipode/replication/wire"
)

// Suites returns the suites that a token with these capabilities can do as source and as destination, strongest first.
func Suites(c hsmbackend.Capabilities) []wire.Suite {
	var out []wire.Suite
	if !c.HasMechanism(hsmbackend.MechAESKWP) {
		return nil
	}
	if c.HasMechanism(hsmbackend.MechECDH) && slices.Contains(c.KeyTypes, hsmbackend.ECP384) {
		if c.HasECDHKDF(hsmbackend.KDFX963SHA384) {
			out = append(out, wire.SuiteX963)
		}
		if c.HasECDHKDF(hsmbackend.KDFNull) && c.HasMechanism(hsmbackend.MechDeriveECB) {
			out = append(out, wire.SuiteNullECB)
		}
	}
	// To make an RSA key takes seconds, in which a token that does one thing at a time would serve nobody.
	if slices.Contains(c.KeyTypes, hsmbackend.RSA4096) && slices.Contains(c.KeyTypes, hsmbackend.AES256) && c.MaxCalls > 1 {
		for _, s := range []wire.Suite{wire.SuiteRSASHA256, wire.SuiteRSASHA1} {
			if c.HasMechanism(oaepHash(s)) {
				out = append(out, s)
			}
		}
	}
	return out
}

// oaepHash returns the OAEP mechanism of an RSA suite.
func oaepHash(s wire.Suite) hsmbackend.Mechanism {
	if s == wire.SuiteRSASHA256 {
		return hsmbackend.MechOAEPSHA256
	}
	return hsmbackend.MechOAEPSHA1
}

// exchangeKey makes the destination's ephemeral key pair of one exchange, RAKB, and returns its public half in the form
// of the suite. It can do its part in the suite and nothing else.
func exchangeKey(ctx context.Context, token hsmbackend.Generator, suite wire.Suite, scope hsmbackend.Scope) (hsmbackend.KeyRef, []byte, error) {
	if !suite.RSA() {
		return agreementKey(ctx, token, scope)
	}
	ref, spki, err := token.GenerateKeyPair(ctx, hsmbackend.RSA4096, hsmbackend.Attributes{
		Label: "antipode/rak", Scope: scope, Usage: hsmbackend.UsageUnwrap, Mechanisms: []hsmbackend.Mechanism{oaepHash(suite)},
	})
	if err != nil {
		return ref, nil, err
	}
	if err := wire.CheckRSAKey(spki); err != nil {
		return ref, nil, fmt.Errorf("%w: public key of a new pair: %w", hsmbackend.ErrTokenLies, err)
	}
	return ref, spki, nil
}

func rwkAttributes(usage hsmbackend.Usage, scope hsmbackend.Scope) hsmbackend.Attributes {
	return hsmbackend.Attributes{
		Label: "antipode/rwk", Scope: scope, Usage: usage, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP},
	}
}

// sentKey makes the wrapping key RWK of an RSA suite at the source, which can wrap and nothing else, and wraps it to the
// destination's RSA key. It must be extractable for that, and so it is until its scope is closed: no other key of an
// exchange but the materials' transient copies is.
func sentKey(ctx context.Context, token hsmbackend.Token, suite wire.Suite, peer []byte, scope hsmbackend.Scope) (
	rwk hsmbackend.KeyRef, wrapped []byte, err error,
) {
	attr := rwkAttributes(hsmbackend.UsageWrap, scope)
	attr.Extractable = true
	if rwk, err = token.GenerateKey(ctx, hsmbackend.AES256, attr); err != nil {
		return rwk, nil, err
	}
	wrapped, err = token.WrapOAEP(ctx, peer, oaepHash(suite), rwk)
	return rwk, wrapped, err
}

// receivedKey makes RWK of m3 at the destination: agreed upon, or unwrapped. RAKB is destroyed.
func receivedKey(ctx context.Context, token hsmbackend.Token, suite wire.Suite, own hsmbackend.KeyRef, t *wire.Transfer,
	transcript [48]byte, scope hsmbackend.Scope,
) (rwk hsmbackend.KeyRef, err error) {
	if !suite.RSA() {
		return wrappingKey(ctx, token, suite, own, t.RAKA, transcript, hsmbackend.UsageUnwrap, scope)
	}
	defer func() { err = errors.Join(err, token.Destroy(context.WithoutCancel(ctx), own)) }()
	return token.UnwrapOAEP(ctx, own, oaepHash(suite), t.RWK, hsmbackend.AES256, rwkAttributes(hsmbackend.UsageUnwrap, scope))
}

// agreementKey makes the ephemeral key pair of one exchange in an ECDH suite (RAKA or RAKB), which can do ECDH and nothing else, and
// returns its public half as an uncompressed point, 97 bytes.
func agreementKey(ctx context.Context, token hsmbackend.Generator, scope hsmbackend.Scope) (hsmbackend.KeyRef, []byte, error) {
	ref, spki, err := token.GenerateKeyPair(ctx, hsmbackend.ECP384, hsmbackend.Attributes{
		Label: "antipode/rak", Scope: scope, Usage: hsmbackend.UsageDerive,
		Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechECDH},
	})
	if err != nil {
		return ref, nil, err
	}
	public, err := cose.ParseKey(spki)
	if err != nil {
		return ref, nil, fmt.Errorf("%w: public key of a new pair: %w", hsmbackend.ErrTokenLies, err)
	}
	point, err := public.ECDH()
	if err != nil {
		return ref, nil, fmt.Errorf("%w: public key of a new pair: %w", hsmbackend.ErrTokenLies, err)
	}
	return ref, point.Bytes(), nil
}

// wrappingKey derives the replication wrapping key RWK of one exchange in an ECDH suite on the token, from the own ephemeral key, the
// peer's public point (97 bytes, checked by package wire) and the SHA-384 of the transcript. usage is UsageWrap at the
// source and UsageUnwrap at the destination. The own ephemeral key is destroyed: it makes one RWK and dies.
func wrappingKey(ctx context.Context, token hsmbackend.Token, suite wire.Suite, own hsmbackend.KeyRef, peer []byte,
	transcript [48]byte, usage hsmbackend.Usage, scope hsmbackend.Scope,
) (rwk hsmbackend.KeyRef, err error) {
	defer func() { err = errors.Join(err, token.Destroy(context.WithoutCancel(ctx), own)) }()
	return agree(ctx, token, suite, own, peer, transcript, rwkAttributes(usage, scope))
}

// agree makes a key of the own ephemeral key and the peer's, bound to the transcript, that may do what attr says.
func agree(ctx context.Context, token hsmbackend.Token, suite wire.Suite, own hsmbackend.KeyRef, peer []byte,
	transcript [48]byte, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	switch suite {
	case wire.SuiteX963:
		return token.DeriveECDH(ctx, own, peer, hsmbackend.KDFX963SHA384, transcript[:], attr)
	case wire.SuiteNullECB:
		// The token has no KDF of its own, so the shared secret's last 32 bytes become an AES key that can do nothing but
		// encrypt the transcript's hash into the key agreed upon.
		secret, err := token.DeriveECDH(ctx, own, peer, hsmbackend.KDFNull, nil, hsmbackend.Attributes{
			Label: "antipode/z", Scope: attr.Scope, Usage: hsmbackend.UsageDerive,
			Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechDeriveECB},
		})
		if err != nil {
			return hsmbackend.KeyRef{}, err
		}
		key, err := token.DeriveECB(ctx, secret, [32]byte(transcript[:32]), attr)
		return key, errors.Join(err, token.Destroy(context.WithoutCancel(ctx), secret))
	case wire.SuiteRSASHA256, wire.SuiteRSASHA1: // nothing is agreed upon: see sentKey and receivedKey
	}
	return hsmbackend.KeyRef{}, fmt.Errorf("%w: suite %s", hsmbackend.ErrUnsupported, suite)
}
