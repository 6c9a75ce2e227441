package roster

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/subtle"
	"fmt"
	"slices"

	"antipode/regions/cose"
)

// Entry returns the entry of a Region that is not removed, or [ErrUnknownRegion] or [ErrRemoved].
func (r Roster) Entry(region string) (Entry, error) {
	i, found := r.find(region)
	if !found {
		return Entry{}, fmt.Errorf("%w: %.40q", ErrUnknownRegion, region)
	}
	if r.Regions[i].Removed {
		return Entry{}, fmt.Errorf("%w: %s", ErrRemoved, region)
	}
	return r.Regions[i].clone(), nil
}

// VerifyKey returns the active key with this id of this Region, for what is new. It returns [ErrUnknownRegion],
// [ErrRemoved], [ErrUnknownKey] or [ErrInactiveKey].
func (r Roster) VerifyKey(region string, keyID []byte) (*ecdsa.PublicKey, error) {
	e, err := r.Entry(region)
	if err != nil {
		return nil, err
	}
	k, err := e.key(keyID)
	if err != nil {
		return nil, err
	}
	if k.State != Active {
		return nil, fmt.Errorf("%w: %s key of %s", ErrInactiveKey, k.State, region)
	}
	return cose.ParseKey(k.SPKI)
}

// HistoricKey returns the key with this id of this Region whatever its state, and whatever became of the Region. It is
// only for what was accepted, or rests on something accepted, when the key was active: old receipts, the older
// certificates of an epoch chain. It returns [ErrUnknownRegion] or [ErrUnknownKey].
func (r Roster) HistoricKey(region string, keyID []byte) (*ecdsa.PublicKey, error) {
	i, found := r.find(region)
	if !found {
		return nil, fmt.Errorf("%w: %.40q", ErrUnknownRegion, region)
	}
	k, err := r.Regions[i].key(keyID)
	if err != nil {
		return nil, err
	}
	return cose.ParseKey(k.SPKI)
}

// SigningKey returns the Region to which the key id belongs, with the key, if that key may introduce something new.
// It returns [ErrUnknownKey], [ErrRemoved] or [ErrInactiveKey].
func (r Roster) SigningKey(keyID []byte) (region string, key *ecdsa.PublicKey, err error) {
	for _, e := range r.Regions {
		if _, err := e.key(keyID); err != nil {
			continue
		}
		key, err := r.VerifyKey(e.Region, keyID)
		return e.Region, key, err
	}
	return "", nil, ErrUnknownKey
}

// History is a roster seen by who checks again what it accepted before.
type History struct{ Roster Roster }

// SigningKey returns the Region to which the key id belongs, with the key, whatever the state of either. It returns
// [ErrUnknownKey].
func (h History) SigningKey(keyID []byte) (region string, key *ecdsa.PublicKey, err error) {
	for _, e := range h.Roster.Regions {
		if k, err := e.key(keyID); err == nil {
			key, err := cose.ParseKey(k.SPKI)
			return e.Region, key, err
		}
	}
	return "", nil, ErrUnknownKey
}

func (e Entry) key(keyID []byte) (RSK, error) {
	for _, k := range e.RSKs {
		if bytes.Equal(k.KeyID(), keyID) {
			return k, nil
		}
	}
	return RSK{}, fmt.Errorf("%w: region %s", ErrUnknownKey, e.Region)
}

// RegionByTLSKey returns the Region, not removed, that has this TLS key (SHA-256 of a certificate's
// SubjectPublicKeyInfo), or [ErrUnknownKey].
func (r Roster) RegionByTLSKey(pin [32]byte) (string, error) {
	for _, e := range r.Regions {
		if !e.Removed && subtle.ConstantTimeCompare(e.TLSKey[:], pin[:]) == 1 {
			return e.Region, nil
		}
	}
	return "", fmt.Errorf("%w: TLS key", ErrUnknownKey)
}

// AllowsAccount reports whether key material of this account may be sent to, or taken from, this Region.
func (r Roster) AllowsAccount(region, account string) bool {
	e, err := r.Entry(region)
	if err != nil || len(account) != 12 || !isDigits(account) {
		return false
	}
	if len(e.Limits.Accounts) == 1 && e.Limits.Accounts[0] == "*" {
		return true
	}
	return slices.Contains(e.Limits.Accounts, account)
}
