package wire

import (
	"fmt"

	"antipode/regions/keyset"
)

// What a comparison is made of: the keys that two Regions have in common fall into buckets by their ids, each of which has a
// digest of their shared states.
const (
	// Buckets is the number of buckets.
	Buckets = 256
	// DigestSize is the length of a digest.
	DigestSize = 32
	// MaxCompared is the largest number of keys in one answer to [Compare].
	MaxCompared = 512
)

// Compare asks a Region whether it holds the same shared states of the keys that it has in common with the asker. Its cost
// does not depend on how many those are: one digest says that all are the same; if they are not, the answer has the digests
// of the buckets, and the keys of one bucket can be asked for.
type Compare struct {
	Route
	// Digest is the asker's over all buckets.
	Digest [DigestSize]byte `cbor:"5,keyasint"`
	// Bucket, 1 to [Buckets], asks for the keys of one bucket; 0 for the digests.
	Bucket uint64 `cbor:"6,keyasint"`
	// After is the key after which the page of a bucket begins; zero for the first page.
	After Cursor          `cbor:"7,keyasint"`
	Nonce [NonceSize]byte `cbor:"8,keyasint"` // so that no old answer fits
}

// Type returns [TypeCompare].
func (*Compare) Type() string { return TypeCompare }

func (c *Compare) validate() error {
	if err := c.Route.validate(); err != nil {
		return err
	}
	if c.Bucket > Buckets || c.Nonce == [NonceSize]byte{} || c.Bucket == 0 && c.After != (Cursor{}) {
		return fmt.Errorf("%w: bucket, place or nonce", ErrMalformed)
	}
	return c.After.validate()
}

// Compared is the answer to [Compare].
type Compared struct {
	Route
	Compare [HashSize]byte   `cbor:"5,keyasint"` // Hash of the question
	Digest  [DigestSize]byte `cbor:"6,keyasint"` // of the Region that answers, over all buckets
	// Digests are those of all buckets, [Buckets] * [DigestSize] bytes, if they were asked for and Digest is another one than
	// the asker's; empty otherwise.
	Digests []byte        `cbor:"7,keyasint"`
	Keys    []ComparedKey `cbor:"8,keyasint"` // of the bucket asked for, in order of account and key id
	// Next is where the next page of the bucket begins; zero says that there is none.
	Next Cursor `cbor:"9,keyasint"`
}

// ComparedKey says which shared state of a key a Region holds.
type ComparedKey struct {
	Account  string           `cbor:"1,keyasint"`
	KeyID    string           `cbor:"2,keyasint"`
	Epoch    keyset.Epoch     `cbor:"3,keyasint"`
	Sequence uint64           `cbor:"4,keyasint"`
	Digest   [DigestSize]byte `cbor:"5,keyasint"` // of what the state says, not of its signature
}

// Place is where the key stands in the order of pages.
func (k ComparedKey) Place() Cursor { return Cursor{Account: k.Account, KeyID: k.KeyID} }

// Type returns [TypeCompared].
func (*Compared) Type() string { return TypeCompared }

func (c *Compared) validate() error {
	if err := c.Route.validate(); err != nil {
		return err
	}
	if len(c.Digests) != 0 && len(c.Digests) != Buckets*DigestSize || len(c.Keys) > MaxCompared {
		return fmt.Errorf("%w: %d bytes of digests, %d keys", ErrMalformed, len(c.Digests), len(c.Keys))
	}
	var last Cursor
	for _, k := range c.Keys {
		if !validAccount(k.Account) || !validKeyID(k.KeyID) || k.Epoch.Generation == 0 || k.Epoch.Term == 0 || k.Sequence == 0 {
			return fmt.Errorf("%w: account, key id, epoch or sequence", ErrMalformed)
		}
		if last.Compare(k.Place()) >= 0 {
			return fmt.Errorf("%w: keys repeated or out of order", ErrMalformed)
		}
		last = k.Place()
	}
	if c.Next != (Cursor{}) && c.Next.Compare(last) < 0 {
		return fmt.Errorf("%w: the next page begins inside this one", ErrMalformed)
	}
	return c.Next.validate()
}

// Answers returns [ErrMismatch] unless c answers this question, data as it was sent, and goes on from there.
func (c *Compared) Answers(data []byte, q *Compare) error {
	if err := answers(c.Route, q.Route); err != nil {
		return err
	}
	switch {
	case c.Compare != Hash(data):
		return fmt.Errorf("%w: answers another question", ErrMismatch)
	case q.Bucket == 0 && (len(c.Keys) > 0 || c.Next != (Cursor{})), q.Bucket != 0 && len(c.Digests) > 0:
		return fmt.Errorf("%w: not what was asked for", ErrMismatch)
	case q.Bucket == 0 && (len(c.Digests) == 0) != (c.Digest == q.Digest):
		return fmt.Errorf("%w: digests that were not asked for, or missing ones", ErrMismatch)
	case len(c.Keys) > 0 && c.Keys[0].Place().Compare(q.After) <= 0, c.Next != (Cursor{}) && c.Next.Compare(q.After) <= 0:
		return fmt.Errorf("%w: the page does not go on", ErrMismatch)
	}
	return nil
}
