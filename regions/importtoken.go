package regions

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"antipode/regions/keyring"
)

// An import token is 0x01, the id of its [ImportPair], the pair's expiry in Unix milliseconds, and a MAC under the record
// key that binds both to the key. It holds the expiry because a pair that has expired is not there any more.
const (
	importTokenVersion = 1
	importTokenLength  = 1 + 16 + 8 + 32
	importTokenLabel   = "antipode/import-token/1" //nolint:gosec // a label, no credential
)

// importTokenInput is what the token's MAC is over: a label, then account, key id and the token before its MAC, each
// after its u16 length.
func importTokenInput(account, keyID string, head []byte) []byte {
	in := []byte(importTokenLabel)
	for _, part := range [][]byte{[]byte(account), []byte(keyID), head} {
		in = binary.BigEndian.AppendUint16(in, uint16(len(part))) //nolint:gosec // all are short
		in = append(in, part...)
	}
	return in
}

// importToken makes the token of a pair.
func (r *Region) importToken(ctx context.Context, p ImportPair) ([]byte, error) {
	head := append([]byte{importTokenVersion}, p.ID[:]...)
	head = binary.BigEndian.AppendUint64(head, uint64(p.Expires)) //nolint:gosec // its bits
	mac, err := r.ring.MAC(ctx, importTokenInput(p.Account, p.KeyID, head))
	if err != nil {
		return nil, err
	}
	return append(head, mac...), nil
}

// What AWS says of a token that is none of the key's, or whose time is over.
var (
	errImportToken = &Error{Code: CodeInvalidImportToken, Message: "The import token is invalid or is associated with a " +
		"different KMS key."}
	errImportExpired = &Error{Code: CodeExpiredImportToken, Message: "The import token is expired. Use GetParametersForImport " +
		"to get a new import token and public key, and use them to encrypt the key material."}
)

// parseImportToken takes a token apart. The MAC is not checked.
func parseImportToken(token []byte) (id [16]byte, expires int64, head, mac []byte, good bool) {
	if len(token) != importTokenLength || token[0] != importTokenVersion {
		return id, 0, nil, nil, false
	}
	head, mac = token[:25], token[25:]
	copy(id[:], head[1:])
	return id, int64(binary.BigEndian.Uint64(head[17:])), head, mac, true //nolint:gosec // its bits
}

// openImportToken returns the pair that a token names. It returns InvalidImportTokenException for what is no token of
// this key, and ExpiredImportTokenException once its time is over, or others have taken the pair's place.
func (r *Region) openImportToken(ctx context.Context, k Key, token []byte) (p ImportPair, err error) {
	id, expires, head, mac, good := parseImportToken(token)
	if !good {
		return p, errImportToken
	}
	err = r.ring.VerifyMAC(ctx, importTokenInput(k.Account, k.KeyID, head), mac)
	if errors.Is(err, keyring.ErrRefused) {
		return p, errImportToken
	}
	if err != nil {
		return p, err
	}
	if expires <= r.Now().UnixMilli() {
		return p, errImportExpired
	}
	err = r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		p, err = Get[ImportPair](ctx, rd, r.ring, ImportPair{Account: k.Account, KeyID: k.KeyID, ID: id}.RecordKey())
		return err
	})
	if isNoRecord(err) {
		return p, errImportExpired
	}
	return p, err
}

// eachPair reads all pairs inside a transaction.
func (r *Region) eachPair(ctx context.Context, rd Reader, fn func(ImportPair) error) error {
	var after RecordKey
	for {
		page, err := List[ImportPair](ctx, rd, r.ring, Query{Kind: KindImportPair, After: after, Limit: rewrapPage})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, p := range page {
			if err := fn(p); err != nil {
				return err
			}
		}
		after = page[len(page)-1].RecordKey()
	}
}

// rewrapPairs wraps the private halves that are under another version of the domain key anew, one in a transaction.
func (r *Region) rewrapPairs(ctx context.Context, version uint32) (n int, err error) {
	var old []ImportPair
	err = r.cfg.Store.View(ctx, func(rd Reader) error {
		return r.eachPair(ctx, rd, func(p ImportPair) error {
			if p.Pair.DKVersion != version {
				old = append(old, p)
			}
			return nil
		})
	})
	if err != nil {
		return 0, err
	}
	for _, p := range old {
		next, err := r.ring.RewrapPair(ctx, p.Pair, version)
		if err != nil {
			return n, err
		}
		changed, err := r.replacePair(ctx, p, next)
		if err != nil {
			return n, err
		}
		if changed {
			n++
		}
	}
	return n, nil
}

func (r *Region) replacePair(ctx context.Context, p ImportPair, next keyring.WrappingPair) (changed bool, err error) {
	err = r.Update(ctx, func(tx Tx) error {
		changed = false
		now, err := Get[ImportPair](ctx, tx, r.ring, p.RecordKey())
		if isNoRecord(err) {
			return nil // its time is over
		}
		if err != nil || !slices.Equal(now.Pair.EKT, p.Pair.EKT) {
			return err
		}
		changed, now.Pair = true, next
		return Put(ctx, tx, r.ring, now)
	})
	return changed && err == nil, err
}
