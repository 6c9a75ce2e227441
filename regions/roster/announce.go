package roster

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"

	"antipode/regions/canon"
	"antipode/regions/cose"
)

// TypeProof is the COSE type of a proof that somebody holds the private half of a signing key.
const TypeProof = "antipode/rsk-proof"

// possession is what a key signs of itself.
type possession struct {
	Region string `cbor:"1,keyasint"`
	SPKI   []byte `cbor:"2,keyasint"`
}

// ProvePossession returns the proof that a new RSK belongs to a Region: signed by the key itself. It says nothing to who
// does not trust the Region by another key.
func ProvePossession(ctx context.Context, key cose.Signer, region string, spki []byte) ([]byte, error) {
	payload, err := canon.Marshal(possession{Region: region, SPKI: spki})
	if err != nil {
		return nil, fmt.Errorf("prove possession of a signing key: %w", err)
	}
	proof, err := cose.Sign(ctx, key, TypeProof, payload)
	if err != nil {
		return nil, fmt.Errorf("prove possession of a signing key: %w", err)
	}
	return proof, nil
}

// proven returns [ErrInvalid] unless the key's proof is by the key and of this Region.
func (k RSK) proven(region string) error {
	msg, err := cose.Verify(k.Proof, TypeProof, func(id []byte) (*ecdsa.PublicKey, error) {
		if !bytes.Equal(id, k.KeyID()) {
			return nil, ErrUnknownKey
		}
		return cose.ParseKey(k.SPKI)
	})
	if err != nil {
		return fmt.Errorf("%w: region %s: a new signing key is not proven: %w", ErrInvalid, region, err)
	}
	want, err := canon.Marshal(possession{Region: region, SPKI: k.SPKI})
	if err != nil || !bytes.Equal(msg.Payload, want) {
		return errors.Join(fmt.Errorf("%w: region %s: a signing key is proven for something else", ErrInvalid, region), err)
	}
	return nil
}

// DecodeEntry returns the entry that [Entry.Encode] made data of. It returns [ErrInvalid] for everything else.
func DecodeEntry(data []byte) (e Entry, err error) {
	if err := canon.Unmarshal(data, &e); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return e, e.Validate()
}

// Encode returns the one encoding of a valid entry.
func (e Entry) Encode() ([]byte, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	data, err := canon.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return data, nil
}

// WithAnnounced returns the roster with what a Region says of itself: its endpoint, its TLS key and its signing keys. by is
// the id of the key that signed the announcement. Limits, removals and what else the holder of the roster decides stay as
// they are, and so do keys that it knows to be further than the announcement says. A new key needs its proof.
//
// An announcement that was taken before, or says the same, changes nothing. It returns [ErrStepBack] for an older one, or
// one that leaves out a key in use, [ErrConflict] for another of the same version, [ErrUnknownRegion], [ErrRemoved],
// [ErrUnknownKey] or [ErrInactiveKey] if by may say nothing, or [ErrInvalid].
func (r Roster) WithAnnounced(got Entry, by []byte) (Roster, error) {
	if err := got.Validate(); err != nil {
		return Roster{}, err
	}
	if _, err := r.VerifyKey(got.Region, by); err != nil {
		return Roster{}, err
	}
	held, err := r.Entry(got.Region)
	if err != nil {
		return Roster{}, err
	}
	if got.Own == 0 || got.Own < held.Own {
		return Roster{}, fmt.Errorf("%w: region %s announces %d after %d", ErrStepBack, got.Region, got.Own, held.Own)
	}
	next := held
	next.Version, next.Own, next.Endpoint, next.TLSKey = held.Version+1, got.Own, got.Endpoint, got.TLSKey
	changed := next.Endpoint != held.Endpoint || next.TLSKey != held.TLSKey
	for i := range next.RSKs {
		k := &next.RSKs[i]
		said, err := got.key(k.KeyID())
		if err != nil {
			if k.State == Active {
				return Roster{}, fmt.Errorf("%w: region %s leaves out a signing key", ErrStepBack, got.Region)
			}
			continue
		}
		if said.State.rank() > k.State.rank() {
			k.State, k.Since, changed = said.State, next.Version, true
		}
	}
	for _, k := range got.RSKs {
		if _, err := held.key(k.KeyID()); err == nil {
			continue
		}
		if err := k.proven(got.Region); err != nil {
			return Roster{}, err
		}
		k.Since, changed = next.Version, true
		next.RSKs = append(next.RSKs, k)
	}
	if !changed && got.Own == held.Own {
		return r, nil
	}
	if changed && got.Own == held.Own {
		return Roster{}, fmt.Errorf("%w: region %s announces another %d", ErrConflict, got.Region, got.Own)
	}
	if err := next.validateNew(); err != nil {
		return Roster{}, err
	}
	return r.With(next)
}
