package replication

import (
	"context"
	"errors"
	"fmt"

	"antipode/hsmbackend"
	"antipode/regions/cose"
	"antipode/replication/wire"
)

// suites returns the suites that a token can do, strongest first.
func suites(c hsmbackend.Capabilities) []wire.Suite {
	var out []wire.Suite
	if !c.HasMechanism(hsmbackend.MechECDH) || !c.HasMechanism(hsmbackend.MechAESKWP) {
		return nil
	}
	if c.HasECDHKDF(hsmbackend.KDFX963SHA384) {
		out = append(out, wire.SuiteX963)
	}
	if c.HasECDHKDF(hsmbackend.KDFNull) && c.HasMechanism(hsmbackend.MechDeriveECB) {
		out = append(out, wire.SuiteNullECB)
	}
	return out
}

// agreementKey makes the ephemeral key pair of one exchange (RAKA or RAKB), which can do ECDH and nothing else, and
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

// wrappingKey derives the replication wrapping key RWK of one exchange on the token, from the own ephemeral key, the
// peer's public point (97 bytes, checked by package wire) and the SHA-384 of the transcript. usage is UsageWrap at the
// source and UsageUnwrap at the destination. The own ephemeral key is destroyed: it makes one RWK and dies.
func wrappingKey(ctx context.Context, token hsmbackend.Token, suite wire.Suite, own hsmbackend.KeyRef, peer []byte,
	transcript [48]byte, usage hsmbackend.Usage, scope hsmbackend.Scope,
) (rwk hsmbackend.KeyRef, err error) {
	defer func() { err = errors.Join(err, token.Destroy(context.WithoutCancel(ctx), own)) }()
	attr := hsmbackend.Attributes{
		Label: "antipode/rwk", Scope: scope, Usage: usage, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP},
	}
	switch suite {
	case wire.SuiteX963:
		return token.DeriveECDH(ctx, own, peer, hsmbackend.KDFX963SHA384, transcript[:], attr)
	case wire.SuiteNullECB:
		// The token has no KDF of its own, so the shared secret's last 32 bytes become an AES key that can do nothing but
		// encrypt the transcript's hash into the RWK.
		secret, err := token.DeriveECDH(ctx, own, peer, hsmbackend.KDFNull, nil, hsmbackend.Attributes{
			Label: "antipode/z", Scope: scope, Usage: hsmbackend.UsageDerive,
			Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechDeriveECB},
		})
		if err != nil {
			return hsmbackend.KeyRef{}, err
		}
		rwk, err := token.DeriveECB(ctx, secret, [32]byte(transcript[:32]), attr)
		return rwk, errors.Join(err, token.Destroy(context.WithoutCancel(ctx), secret))
	case wire.SuiteRSA: // has no message form yet
	}
	return hsmbackend.KeyRef{}, fmt.Errorf("%w: suite %s", hsmbackend.ErrUnsupported, suite)
}
