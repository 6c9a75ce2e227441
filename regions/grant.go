package regions

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"antipode/regions/arn"
	"antipode/regions/policy"
)

// GrantRecord is a grant on a key in this Region. A replica of the key has grants of its own.
type GrantRecord struct {
	Account    string            `cbor:"1,keyasint"` // of the key
	KeyID      string            `cbor:"2,keyasint"`
	ID         string            `cbor:"3,keyasint"`  // 64 hex digits
	Name       string            `cbor:"4,keyasint"`  // "" if it was given none
	Grantee    string            `cbor:"5,keyasint"`  // ARN; of an account that of its root
	Retiring   string            `cbor:"6,keyasint"`  // the same, "" for nobody
	Operations []string          `cbor:"7,keyasint"`  // in order of name, each once
	Equals     map[string]string `cbor:"8,keyasint"`  // EncryptionContextEquals
	Subset     map[string]string `cbor:"9,keyasint"`  // EncryptionContextSubset
	SourceARN  string            `cbor:"10,keyasint"` // "" if it is not constrained
	Issuer     string            `cbor:"11,keyasint"` // account whose principal made it
	Created    int64             `cbor:"12,keyasint"` // Unix milliseconds
}

// RecordKey implements [Body].
func (g GrantRecord) RecordKey() RecordKey {
	return RecordKey{Kind: KindGrant, Account: g.Account, ID: g.KeyID, Sub: g.ID}
}

// RecordIndex implements [Body]: the grants that a principal may retire are found by his ARN.
func (g GrantRecord) RecordIndex() (string, int64) { return g.Retiring, 0 }

// policy is the grant as decisions see it.
func (g *GrantRecord) policy() policy.Grant {
	return policy.Grant{
		ID: g.ID, Grantee: g.Grantee, Retiring: g.Retiring, Operations: g.Operations, IssuingAccount: g.Issuer,
		Constraints: policy.Constraints{
			EncryptionContextEquals: g.Equals, EncryptionContextSubset: g.Subset, SourceARN: g.SourceARN,
		},
	}
}

// seenGrant is a grant whose record was authenticated by the token: digest is over the record, mac is its MAC.
type seenGrant struct {
	digest, mac [sha256.Size]byte
	grant       GrantRecord
}

// loadGrants reads and checks all grants on the key. Of those that were read before, to the same bytes, the token is not
// asked again: with many grants each change of one would else take the token's time for all.
func (r *Region) loadGrants(ctx context.Context, rd Reader, v *view) error {
	recs, err := rd.List(ctx, Query{Kind: KindGrant, Account: v.key.Account, ID: v.key.KeyID})
	if err != nil || len(recs) == 0 {
		return err
	}
	before := r.views.seenGrants(v.key.KeyID)
	seen := make([]seenGrant, len(recs))
	granted, given := make([]GrantRecord, len(recs)), make([]policy.Grant, len(recs))
	for i, rec := range recs {
		if seen[i], err = r.openGrant(ctx, rec, before); err != nil {
			return err
		}
		granted[i] = seen[i].grant
		given[i] = granted[i].policy()
	}
	r.views.keepGrants(v.key.KeyID, seen)
	v.granted, v.grants = granted, policy.NewGrantSet(given)
	return nil
}

// openGrant is [open] for a grant of which an earlier reading may have been checked. before is in order of id.
func (r *Region) openGrant(ctx context.Context, rec Record, before []seenGrant) (s seenGrant, err error) {
	if len(rec.MAC) != sha256.Size {
		return s, fmt.Errorf("%w: grant %s on %s has no MAC", ErrForgedRecord, rec.Sub, rec.ID)
	}
	input := macInput(rec.RecordKey, rec.Body)
	s.digest, s.mac = [sha256.Size]byte(input[len(input)-sha256.Size:]), [sha256.Size]byte(rec.MAC)
	i, found := slices.BinarySearchFunc(before, rec.Sub, func(g seenGrant, id string) int { return strings.Compare(g.grant.ID, id) })
	if found && before[i].digest == s.digest && before[i].mac == s.mac {
		// The digest is over identity and body; the index columns are compared by themselves, as always.
		if ref, due := before[i].grant.RecordIndex(); ref == rec.Ref && due == rec.Due {
			return before[i], nil
		}
	}
	s.grant, err = open[GrantRecord](ctx, r.ring, rec)
	return s, err
}

// grant returns the grant on the key with this id, nil if there is none.
func (v *view) grant(id string) *GrantRecord {
	i, found := slices.BinarySearchFunc(v.granted, id, func(g GrantRecord, id string) int { return strings.Compare(g.ID, id) })
	if !found {
		return nil
	}
	return &v.granted[i]
}

const grantIDDigits = 64

// checkGrantID refuses what can't be a grant's id.
func checkGrantID(id string) error {
	if err := checkLength(id, "grantId", len(id), 1, 128); err != nil {
		return err
	}
	if len(id) != grantIDDigits || strings.Trim(id, "0123456789abcdef") != "" {
		return Errorf(CodeInvalidGrantID, "The specified GrantId is not valid.")
	}
	return nil
}

func noGrant(id string) *Error { return Errorf(CodeNotFound, "Grant ID %s not found", id) }

// deleteGrant ends a grant.
func (r *Region) deleteGrant(ctx context.Context, g RecordKey) error {
	return r.Update(ctx, func(tx Tx) error {
		if _, err := Get[GrantRecord](ctx, tx, r.ring, g); errors.Is(err, ErrNoRecord) {
			return noGrant(g.Sub) // another call was quicker
		} else if err != nil {
			return fmt.Errorf("read grant: %w", err)
		}
		return tx.Delete(ctx, g)
	})
}

// grantPrincipal returns the principal that a grant may name in the one form that grants are kept in, or
// InvalidArnException. It does not look for him.
func (r *Region) grantPrincipal(name string) (string, error) {
	if arn.IsAccount(name) {
		name = policy.Root(name)
	}
	own := strings.HasPrefix(name, "arn:"+r.cfg.Partition+":")
	if account := accountOf(name); own && (policy.IsPrincipalARN(name) || (arn.IsAccount(account) && name == policy.Root(account))) {
		return name, nil
	}
	return "", invalidPrincipal(name)
}

func invalidPrincipal(name string) *Error {
	return Errorf(CodeInvalidArn, "ARN does not refer to a valid principal: %s", name)
}

// validatePrincipal checks what AWS checks of a PrincipalId before anything else.
func validatePrincipal(name, field string) error {
	if err := checkLength(name, field, len(name), 1, 256); err != nil {
		return err
	}
	for i := range len(name) {
		if c := name[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("_+=,.@:/-", rune(c)) {
			return invalid(name, field, `Member must satisfy regular expression pattern: ^[\w+=,.@:/-]+$`)
		}
	}
	return nil
}

// errNoServices refuses what only an AWS service could be given.
func errNoServices() *Error {
	return Errorf(CodeUnsupportedOperation, "Service principals are not supported: no AWS service uses the keys of this Region.")
}
