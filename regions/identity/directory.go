package identity

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// ErrUnknownKey says that no active access key has this id.
var ErrUnknownKey = errors.New("unknown access key")

// Source reads identities from the store.
type Source interface {
	// AccessKey returns an access key and its user, both of one state of the store and authenticated. It returns
	// [ErrUnknownKey] if there is no such key.
	AccessKey(ctx context.Context, id string) (AccessKey, User, error)
}

// Principal is who makes a call. It is shared between calls and must not be changed.
type Principal struct {
	User          User
	ARN           string
	Administrator bool
	AccessKeyID   string
	Secret        Secret
	Generation    uint64 // of the access key
}

// Directory resolves access key ids, and keeps what it has found, opened secrets too, in bounded memory. It keeps
// nothing of ids that are unknown. It is safe for concurrent use.
type Directory struct {
	source Source
	sealer Sealer

	mu    sync.Mutex
	epoch uint64 // counts calls of Forget and ForgetUser
	known *simplelru.LRU[string, *Principal]
}

// NewDirectory returns an empty directory that keeps at most size principals, the least recently used leaving first.
func NewDirectory(source Source, sealer Sealer, size int) (*Directory, error) {
	known, err := simplelru.NewLRU[string, *Principal](size, nil)
	if err != nil {
		return nil, fmt.Errorf("make directory of %d principals: %w", size, err)
	}
	return &Directory{source: source, sealer: sealer, known: known}, nil
}

// Resolve returns the principal of an access key id, which need not be well-formed. It returns [ErrUnknownKey] if there
// is no such key or it is not active; any other error is a failure of the store or the token, or a damaged row.
func (d *Directory) Resolve(ctx context.Context, id string) (*Principal, error) {
	if !ValidAccessKeyID(id) {
		return nil, ErrUnknownKey // and no look-up for what can't be there
	}
	d.mu.Lock()
	p, ok := d.known.Get(id)
	epoch := d.epoch
	d.mu.Unlock()
	if ok {
		return p, nil
	}
	p, err := d.load(ctx, id)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// If anything was forgotten since we looked, what we have read may be what was to be forgotten.
	if d.epoch == epoch {
		d.known.Add(id, p)
	}
	return p, nil
}

func (d *Directory) load(ctx context.Context, id string) (*Principal, error) {
	k, u, err := d.source.AccessKey(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("look up access key: %w", err)
	}
	if k.ID != id || k.UserARN != u.ARN() {
		return nil, fmt.Errorf("look up access key %s: the store answered with another one's: %w", id, ErrInvalid)
	}
	if !k.Active {
		return nil, ErrUnknownKey
	}
	if err := u.Validate(); err != nil {
		return nil, fmt.Errorf("look up access key %s: %w", id, err)
	}
	secret, err := k.Open(ctx, d.sealer)
	if err != nil {
		return nil, err
	}
	return &Principal{
		User: u, ARN: u.ARN(), Administrator: u.Administrator(), AccessKeyID: id, Secret: secret, Generation: k.Generation,
	}, nil
}

// Forget drops what is known of an access key. Whoever changes, deactivates or deletes one calls it after the change is
// durable and before the change is answered.
func (d *Directory) Forget(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch++
	d.known.Remove(id)
}

// ForgetUser drops what is known of a user's access keys and returns the ids that it knew. Whoever changes or deletes a
// user, or the user's policy, calls it after the change is durable and before the change is answered.
func (d *Directory) ForgetUser(account, name string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch++
	var ids []string
	for _, id := range d.known.Keys() {
		if p, ok := d.known.Peek(id); ok && p.User.Account == account && p.User.Name == name {
			d.known.Remove(id)
			ids = append(ids, id)
		}
	}
	return ids
}
