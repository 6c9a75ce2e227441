package replication

import (
	"context"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"antipode/hsmbackend"
	"antipode/regions/canon"
	"antipode/regions/keyring"
	"antipode/replication/wire"
)

// ErrNotSame is answered when a further token was given the Region's keys and does not hold the same ones.
var ErrNotSame = errors.New("the token does not hold the Region's keys")

// TokenLoader loads a Region's keys into a further token of its own. The two tokens agree on a wrapping key as those of
// two Regions do; both are this process's, so nothing is sent and nothing is signed. It implements
// [regions.TokenLoader].
type TokenLoader struct{}

// tokenTranscript is what the wrapping key of a token that is added is bound to. CBOR.
type tokenTranscript struct {
	Purpose string         `cbor:"1,keyasint"` // "token add"
	Suite   wire.Suite     `cbor:"2,keyasint"`
	Region  string         `cbor:"3,keyasint"`
	From    string         `cbor:"4,keyasint"` // serial number of the token that has the keys
	To      string         `cbor:"5,keyasint"` // serial number of the one that gets them
	RAKA    []byte         `cbor:"6,keyasint"` // point of the first, 97 bytes
	RAKB    []byte         `cbor:"7,keyasint"` // point of the second, 97 bytes
	Parts   []keyring.Part `cbor:"8,keyasint"` // what is wrapped, in order
}

// hash is SHA-384 over "antipode/transcript/token/1" and the CBOR, each after its u32 length.
func (t tokenTranscript) hash() (sum [48]byte, err error) {
	body, err := canon.Marshal(t)
	if err != nil {
		return sum, fmt.Errorf("encode transcript: %w", err)
	}
	h := sha512.New384()
	for _, part := range [][]byte{[]byte("antipode/transcript/token/1"), body} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) //nolint:gosec // far less than 4 GiB
		h.Write(part)
	}
	return [48]byte(h.Sum(nil)), nil
}

// LoadToken implements [regions.TokenLoader].
func (l TokenLoader) LoadToken(ctx context.Context, region string, from *keyring.Ring, to hsmbackend.Token,
	keys keyring.TokenKeys, now int64,
) (keyring.TokenKeys, error) {
	parts := from.Missing(keys)
	if len(parts) > 0 {
		var err error
		if keys, err = l.move(ctx, region, from, to, keys, parts, now); err != nil {
			return keys, fmt.Errorf("load region keys into token %s: %w", keys.Serial, err)
		}
	}
	if err := l.prove(ctx, from, to, keys); err != nil {
		return keys, fmt.Errorf("prove region keys on token %s: %w", keys.Serial, err)
	}
	return keys, nil
}

// agreements returns the suites in which two tokens agree on a wrapping key, strongest first. Those that send it are not
// used here: a wrapping key that was extractable would open the domain key.
func agreements(token hsmbackend.Describer) []wire.Suite {
	return slices.DeleteFunc(Suites(token.Capabilities()), wire.Suite.RSA)
}

// end is one of the two tokens in an exchange: its session, its ephemeral key and the point of it.
type end struct {
	token hsmbackend.Token
	scope hsmbackend.Scope
	rak   hsmbackend.KeyRef
	point []byte
}

func openEnd(ctx context.Context, token hsmbackend.Token) (e end, err error) {
	e.token = token
	if e.scope, err = token.OpenScope(ctx); err != nil {
		return e, err
	}
	if e.rak, e.point, err = agreementKey(ctx, token, e.scope); err == nil {
		err = wire.CheckPoint(e.point)
	}
	if err != nil {
		return e, errors.Join(err, token.CloseScope(e.scope))
	}
	return e, nil
}

// move wraps parts on the one token and unwraps them on the other. All that it makes is in one session on each.
func (TokenLoader) move(ctx context.Context, region string, from *keyring.Ring, to hsmbackend.Token,
	keys keyring.TokenKeys, parts []keyring.Part, now int64,
) (_ keyring.TokenKeys, err error) {
	suite, err := wire.Choose(agreements(from.Token()), agreements(to), "")
	if err != nil {
		return keys, err
	}
	a, err := openEnd(ctx, from.Token())
	if err != nil {
		return keys, err
	}
	defer func() { err = errors.Join(err, a.token.CloseScope(a.scope)) }()
	b, err := openEnd(ctx, to)
	if err != nil {
		return keys, err
	}
	defer func() { err = errors.Join(err, b.token.CloseScope(b.scope)) }()
	transcript, err := tokenTranscript{
		Purpose: "token add", Suite: suite, Region: region, From: a.token.Info().Serial, To: b.token.Info().Serial,
		RAKA: a.point, RAKB: b.point, Parts: parts,
	}.hash()
	if err != nil {
		return keys, err
	}
	wrap, err := wrappingKey(ctx, a.token, suite, a.rak, b.point, transcript, hsmbackend.UsageWrap, a.scope)
	if err != nil {
		return keys, fmt.Errorf("derive RWK: %w", err)
	}
	blobs, err := from.Hand(ctx, parts, wrap, a.scope)
	if err != nil {
		return keys, err
	}
	unwrap, err := wrappingKey(ctx, b.token, suite, b.rak, a.point, transcript, hsmbackend.UsageUnwrap, b.scope)
	if err != nil {
		return keys, fmt.Errorf("derive RWK: %w", err)
	}
	return keyring.Receive(ctx, to, keys, parts, blobs, unwrap, b.scope, now)
}

// prove opens the Region's keys on the further token as a start of the Region on it would, and compares them with those
// of the ring: the record key by the MAC of a random challenge, the sealing key by its tag, and each version of the
// domain key by opening there what it wrapped here, to the same material id.
func (TokenLoader) prove(ctx context.Context, from *keyring.Ring, to hsmbackend.Token, keys keyring.TokenKeys) (err error) {
	if len(keys.DomainKeys) == 0 {
		return fmt.Errorf("%w: no domain key", ErrNotSame)
	}
	there, err := keyring.Open(ctx, to, keyring.Hierarchy{
		Current: keys.DomainKeys[0].Version, Tokens: []keyring.TokenKeys{keys},
	}, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, there.Close(context.WithoutCancel(ctx))) }()
	challenge := make([]byte, 32)
	if _, err := rand.Read(challenge); err != nil {
		return err
	}
	if err := same(ctx, from, there, "record key", func(ctx context.Context, r *keyring.Ring) ([]byte, error) { return r.MAC(ctx, challenge) }); err != nil {
		return err
	}
	if err := same(ctx, from, there, "sealing key", func(ctx context.Context, r *keyring.Ring) ([]byte, error) { return r.ProbeTag(ctx) }); err != nil {
		return err
	}
	for _, dk := range keys.DomainKeys {
		m, err := from.Probe(ctx, dk.Version)
		if err != nil {
			return err
		}
		if err := there.OpenProbe(ctx, m); err != nil {
			return fmt.Errorf("%w: domain key %d: %w", ErrNotSame, dk.Version, err)
		}
	}
	return nil
}

// same compares what two rings answer, in constant time, and overwrites it.
func same(ctx context.Context, a, b *keyring.Ring, what string, ask func(context.Context, *keyring.Ring) ([]byte, error)) error {
	x, err := ask(ctx, a)
	if err != nil {
		return err
	}
	defer clear(x)
	y, err := ask(ctx, b)
	if err != nil {
		return err
	}
	defer clear(y)
	if len(x) == 0 || subtle.ConstantTimeCompare(x, y) != 1 {
		return fmt.Errorf("%w: %s", ErrNotSame, what)
	}
	return nil
}
