package regions

import (
	"context"
	"errors"
	"fmt"
)

// DefaultMaxKeys is how many keys an account may have in a Region unless the operator says otherwise: AWS's quota.
const DefaultMaxKeys = 100_000

// KeyCount is how many keys an account has in this Region, in whatever state: primaries, replicas, reservations of
// replicas, and keys that wait for their deletion. [Region.Update] keeps it in step with the records of keys, in the same
// transaction, so that to make a key costs the same whether there are ten or a hundred thousand.
type KeyCount struct {
	Account string `cbor:"1,keyasint"`
	Keys    uint64 `cbor:"2,keyasint"`
}

// RecordKey implements [Body].
func (c KeyCount) RecordKey() RecordKey { return RecordKey{Kind: KindKeyCount, Account: c.Account} }

// RecordIndex implements [Body].
func (c KeyCount) RecordIndex() (string, int64) { return "", 0 }

// countKeys returns how many keys the account has. Where the count is not on record yet, before the account's first key,
// the keys themselves are counted.
func countKeys(ctx context.Context, rd Reader, auth Authenticator, account string) (uint64, error) {
	c, err := Get[KeyCount](ctx, rd, auth, KeyCount{Account: account}.RecordKey())
	if !errors.Is(err, ErrNoRecord) {
		return c.Keys, err
	}
	keys, err := rd.List(ctx, Query{Kind: KindKey, Account: account})
	return uint64(len(keys)), err
}

// recount keeps the count of keys in step with the record of a key that is about to be there, or not to be.
func recount(ctx context.Context, tx Tx, auth Authenticator, key RecordKey, there bool) error {
	if key.Kind != KindKey {
		return nil
	}
	_, err := tx.Get(ctx, key)
	if err != nil && !errors.Is(err, ErrNoRecord) {
		return err
	}
	if is := err == nil; is == there {
		return nil
	}
	n, err := countKeys(ctx, tx, auth, key.Account)
	if err != nil {
		return err
	}
	switch {
	case there:
		n++
	case n == 0:
		return fmt.Errorf("%w: the count of keys of %s is too low", ErrForgedRecord, key.Account)
	default:
		n--
	}
	return Put(ctx, tx, auth, KeyCount{Account: key.Account, Keys: n})
}

// checkQuota returns LimitExceededException if the account would have more keys than its quota with so many more.
func (r *Region) checkQuota(ctx context.Context, rd Reader, account string, more uint64) error {
	n, err := countKeys(ctx, rd, r.ring, account)
	if err != nil {
		return err
	}
	if n+more > uint64(r.cfg.MaxKeys) { //nolint:gosec // Open has checked that it is positive
		return Errorf(CodeLimitExceeded, "The account %s has reached its quota of %d KMS keys in %s.", account, r.cfg.MaxKeys, r.cfg.Name)
	}
	return nil
}
