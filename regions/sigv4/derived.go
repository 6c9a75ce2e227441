package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// derivedKey names a derived signing key. The secret itself is told apart by its digest, so that a key derived from a
// secret that was replaced is never used again, even if the caller forgot to raise the generation.
type derivedKey struct {
	Credential
	generation uint64
	secret     [sha256.Size]byte // SHA-256 of 240 random bits
}

func nameOf(c Credential, key Key) derivedKey {
	return derivedKey{c, key.Generation, sha256.Sum256(key.Secret)}
}

// derivedKeys keeps the least recently used derived signing keys.
type derivedKeys struct {
	mu    sync.Mutex
	epoch uint64 // counts calls of forget
	keys  *simplelru.LRU[derivedKey, [sha256.Size]byte]
}

func newDerivedKeys(size int) (*derivedKeys, error) {
	keys, err := simplelru.NewLRU[derivedKey, [sha256.Size]byte](size, nil)
	if err != nil {
		return nil, fmt.Errorf("make a cache of %d keys: %w", size, err)
	}
	return &derivedKeys{keys: keys}, nil
}

func (d *derivedKeys) get(c Credential, key Key) [sha256.Size]byte {
	name := nameOf(c, key)
	derived, ok, epoch := d.lookup(name)
	if !ok {
		derived = derive(c, key.Secret)
		d.insert(name, derived, epoch)
	}
	return derived
}

// lookup also says in which epoch it looked.
func (d *derivedKeys) lookup(name derivedKey) (derived [sha256.Size]byte, ok bool, epoch uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	derived, ok = d.keys.Get(name)
	return derived, ok, d.epoch
}

// insert does nothing if anything was forgotten since epoch: it may be this key that was to be forgotten.
func (d *derivedKeys) insert(name derivedKey, derived [sha256.Size]byte, epoch uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.epoch == epoch {
		d.keys.Add(name, derived)
	}
}

func (d *derivedKeys) forget(accessKeyID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch++
	for _, name := range d.keys.Keys() {
		if name.AccessKeyID == accessKeyID {
			d.keys.Remove(name)
		}
	}
}

// derive computes the signing key: HMAC chained over date, Region, service and terminator.
func derive(c Credential, secret []byte) [sha256.Size]byte {
	k := make([]byte, 0, 4+len(secret))
	k = append(append(k, "AWS4"...), secret...)
	var out [sha256.Size]byte
	for i, part := range [...]string{c.Date, c.Region, c.Service, terminator} {
		mac := hmac.New(sha256.New, k)
		mac.Write([]byte(part))
		mac.Sum(out[:0])
		if i == 0 {
			clear(k)
		}
		k = out[:]
	}
	return out
}
