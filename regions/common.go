package regions

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"sync"

	"antipode/regions/canon"
	"antipode/regions/keyset"
)

// commonBuckets is into how many buckets the keys that two Regions have in common fall.
const commonBuckets = 256

// CommonKey is the shared state of a key that another Region has too.
type CommonKey struct {
	Account  string
	KeyID    string
	Epoch    keyset.Epoch
	Sequence uint64
	Digest   [sha256.Size]byte // of what the state says, not of its signature
}

// commons is a digest, in memory, of the shared states of the keys that this Region has in common with each other Region. It
// is read from the store once; afterwards only the keys that commits have touched are read again, when somebody asks. So to
// find that nothing differs costs the same whatever the number of keys.
type commons struct {
	mu     sync.Mutex // held while the store is read
	loaded bool
	keys   map[RecordKey]commonEntry
	sums   map[string]*commonSums // by Region

	touchedMu sync.Mutex
	touched   map[RecordKey]struct{} // committed since they were read
}

type commonEntry struct {
	key    CommonKey
	others []string // the Regions that have it too
}

// commonSums are sums of digests, modulo 2^256: what is added can be taken away again, in whatever order. They are compared
// between Regions that trust each other with the keys, and guard against nothing but accidents.
type commonSums [commonBuckets][4]uint64

func newCommons() *commons {
	return &commons{keys: map[RecordKey]commonEntry{}, sums: map[string]*commonSums{}, touched: map[RecordKey]struct{}{}}
}

// forget notes what a commit has touched.
func (c *commons) forget(touched map[RecordKey]struct{}) {
	c.touchedMu.Lock()
	defer c.touchedMu.Unlock()
	for k := range touched {
		if k.Kind == KindKey {
			c.touched[k] = struct{}{}
		}
	}
}

// commonPage is how many keys are read at a time when the digest is made.
const commonPage = 256

// refresh brings the digest up to date with what was committed before it was called. The caller holds c.mu.
func (c *commons) refresh(ctx context.Context, r *Region) error {
	c.touchedMu.Lock()
	touched := c.touched
	c.touched = map[RecordKey]struct{}{}
	c.touchedMu.Unlock()
	err := c.reload(ctx, r, touched)
	if err != nil {
		c.forget(touched)
	}
	return err
}

func (c *commons) reload(ctx context.Context, r *Region, touched map[RecordKey]struct{}) error {
	if !c.loaded {
		for q := (Query{Kind: KindKey, Limit: commonPage}); ; {
			var page []Key
			err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
				page, err = List[Key](ctx, rd, r.ring, q)
				return err
			})
			if err != nil {
				return err
			}
			for _, k := range page {
				q.After = k.RecordKey()
				if err := c.set(r, q.After, &k); err != nil {
					return err
				}
			}
			if len(page) < commonPage {
				break
			}
		}
		c.loaded = true
	}
	if len(touched) == 0 {
		return nil
	}
	return r.cfg.Store.View(ctx, func(rd Reader) error {
		for at := range touched {
			k, err := Get[Key](ctx, rd, r.ring, at)
			switch {
			case isNoRecord(err):
				err = c.set(r, at, nil)
			case err == nil:
				err = c.set(r, at, &k)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// set puts a key as it is now, nil for none, in the place of what the digest has of it.
func (c *commons) set(r *Region, at RecordKey, k *Key) error {
	if old, there := c.keys[at]; there {
		for _, region := range old.others {
			c.sumsOf(region).add(old.key, true)
		}
		delete(c.keys, at)
	}
	if k == nil || k.MultiRegion == nil || k.MultiRegion.State == nil {
		return nil
	}
	s := *k.MultiRegion.State
	if me, listed := s.Member(r.cfg.Name); !listed || me.Incarnation != k.MultiRegion.Incarnation {
		return nil // it has left
	}
	text, err := canon.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode shared state: %w", err)
	}
	e := commonEntry{key: CommonKey{
		Account: k.Account, KeyID: k.KeyID, Epoch: s.Epoch, Sequence: s.Sequence, Digest: sha256.Sum256(text),
	}}
	for _, m := range s.Members {
		if m.Region != r.cfg.Name && m.Status == keyset.Active {
			e.others = append(e.others, m.Region)
			c.sumsOf(m.Region).add(e.key, false)
		}
	}
	c.keys[at] = e
	return nil
}

func (c *commons) sumsOf(region string) *commonSums {
	s, there := c.sums[region]
	if !there {
		s = &commonSums{}
		c.sums[region] = s
	}
	return s
}

// commonBucket is a key's bucket.
func commonBucket(keyID string) int { return int(sha256.Sum256([]byte(keyID))[0]) }

// add adds a key's digest to its bucket, or takes it away.
func (s *commonSums) add(k CommonKey, away bool) {
	sum := &s[commonBucket(k.KeyID)]
	var carry uint64
	for i := range sum {
		word := binary.LittleEndian.Uint64(k.Digest[8*i:])
		if away {
			sum[i], carry = bits.Sub64(sum[i], word, carry)
		} else {
			sum[i], carry = bits.Add64(sum[i], word, carry)
		}
	}
}

// Common returns the digests of the keys that this Region has in common with another one: 256 of 32 bytes each, one for
// each bucket, and one of all of them. A key is in common if its shared state lists both Regions, the other one as Active.
func (r *Region) Common(ctx context.Context, region string) (all [sha256.Size]byte, buckets []byte, err error) {
	r.commons.mu.Lock()
	defer r.commons.mu.Unlock()
	if err := r.commons.refresh(ctx, r); err != nil {
		return all, nil, fmt.Errorf("digest of shared states: %w", err)
	}
	for _, sum := range r.commons.sumsOf(region) {
		for _, word := range sum {
			buckets = binary.LittleEndian.AppendUint64(buckets, word)
		}
	}
	return sha256.Sum256(buckets), buckets, nil
}

// CommonKeys returns the keys of one bucket, 0 to 255, that this Region has in common with another one, in order of account
// and key id.
func (r *Region) CommonKeys(ctx context.Context, region string, bucket int) ([]CommonKey, error) {
	r.commons.mu.Lock()
	defer r.commons.mu.Unlock()
	if err := r.commons.refresh(ctx, r); err != nil {
		return nil, fmt.Errorf("digest of shared states: %w", err)
	}
	var out []CommonKey
	for e := range maps.Values(r.commons.keys) {
		if commonBucket(e.key.KeyID) == bucket && slices.Contains(e.others, region) {
			out = append(out, e.key)
		}
	}
	slices.SortFunc(out, func(a, b CommonKey) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.KeyID, b.KeyID))
	})
	return out, nil
}
