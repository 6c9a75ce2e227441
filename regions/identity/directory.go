package identity

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// ErrUnknownKey says that no active access key has this id, or that its session token is not its own, or that whose it is
// is gone, disabled or has had its sessions revoked.
var ErrUnknownKey = errors.New("unknown access key")

// Source reads identities from the store.
type Source interface {
	// AccessKey returns an access key and its user, both of one state of the store and authenticated. It returns
	// [ErrUnknownKey] if there is no such key.
	AccessKey(ctx context.Context, id string) (AccessKey, User, error)
	// User and Role return what has this name, authenticated, or [ErrUnknownKey].
	User(ctx context.Context, account, name string) (User, error)
	Role(ctx context.Context, account, name string) (Role, error)
	// OpenSession returns what a session token says that a Region issued whose tokens are accepted here. It returns
	// [ErrToken] for any other.
	OpenSession(ctx context.Context, token string) (Session, error)
}

// Directory resolves access key ids, and keeps what it has found, opened secrets too, in bounded memory. It keeps
// nothing of ids that are unknown. It is safe for concurrent use.
type Directory struct {
	source Source
	sealer Sealer

	mu    sync.Mutex
	epoch uint64 // counts calls of Forget, ForgetUser and ForgetRole
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

// Resolve returns the principal of an access key id, which need not be well-formed, and a session token, "" if the
// request has none. It returns [ErrUnknownKey] if they are not of each other, or nobody's; any other error is a failure
// of the store or the token, or a damaged row. It does not look at when a session expires.
func (d *Directory) Resolve(ctx context.Context, id, token string) (*Principal, error) {
	temporary := TemporaryAccessKeyID(id)
	if !temporary && !ValidAccessKeyID(id) || temporary != (token != "") {
		return nil, ErrUnknownKey // and no look-up for what can't be there
	}
	d.mu.Lock()
	p, ok := d.known.Get(id)
	epoch := d.epoch
	d.mu.Unlock()
	if ok && p.hasToken(token) {
		return p, nil
	}
	var err error
	if temporary {
		p, err = d.loadSession(ctx, id, token)
	} else {
		p, err = d.load(ctx, id)
	}
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
	if !k.Active || u.Disabled || u.Deleted {
		return nil, ErrUnknownKey
	}
	if err := u.Validate(); err != nil {
		return nil, fmt.Errorf("look up access key %s: %w", id, err)
	}
	secret, err := k.Open(ctx, d.sealer)
	if err != nil {
		return nil, err
	}
	p, err := userPrincipal(u)
	if err != nil {
		return nil, err
	}
	p.AccessKeyID, p.Secret, p.Generation = id, secret, k.Generation
	return p, nil
}

// loadSession opens a session token and finds whose session it is. The role or user must be the one that it was issued
// for: one that was deleted and made again under its name is another.
func (d *Directory) loadSession(ctx context.Context, id, token string) (*Principal, error) {
	s, err := d.source.OpenSession(ctx, token)
	if errors.Is(err, ErrToken) {
		return nil, ErrUnknownKey
	}
	if err != nil {
		return nil, err
	}
	if s.AccessKeyID != id {
		return nil, ErrUnknownKey
	}
	if s.Role == "" {
		u, err := d.source.User(ctx, s.Account, s.User)
		if err != nil {
			return nil, fmt.Errorf("look up the user of a session: %w", err)
		}
		if u.Disabled || u.Deleted || u.ID != s.HolderID {
			return nil, ErrUnknownKey
		}
		p, err := userPrincipal(u)
		if err != nil {
			return nil, err
		}
		return p.withSession(s, token, u.Tags)
	}
	r, err := d.source.Role(ctx, s.Account, s.Role)
	if err != nil {
		return nil, fmt.Errorf("look up the role of a session: %w", err)
	}
	if r.Disabled || r.Deleted || r.ID != s.HolderID || s.Issued <= r.RevokedUntil {
		return nil, ErrUnknownKey
	}
	p, err := rolePrincipal(r, s.Name)
	if err != nil {
		return nil, err
	}
	return p.withSession(s, token, r.Tags)
}

// Forget drops what is known of an access key. Whoever changes, deactivates or deletes one calls it after the change is
// durable and before the change is answered.
func (d *Directory) Forget(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch++
	d.known.Remove(id)
}

// ForgetUser drops what is known of a user's access keys and sessions, and returns the access key ids that it knew.
// Whoever changes or deletes a user, or the user's policies, calls it after the change is durable and before the change
// is answered.
func (d *Directory) ForgetUser(account, name string) []string { return d.forget(account, name, false) }

// ForgetRole drops what is known of a role's sessions, as [Directory.ForgetUser] does.
func (d *Directory) ForgetRole(account, name string) []string { return d.forget(account, name, true) }

func (d *Directory) forget(account, name string, role bool) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.epoch++
	var ids []string
	for _, id := range d.known.Keys() {
		if p, ok := d.known.Peek(id); ok && p.Account == account && p.Name == name && p.Role == role {
			d.known.Remove(id)
			ids = append(ids, id)
		}
	}
	return ids
}
