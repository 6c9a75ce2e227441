package regions

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"antipode/regions/keypair"
	"antipode/regions/keyring"
	"antipode/regions/keyset"
	"antipode/regions/keyspec"
	"antipode/regions/policy"
)

// view is a key as operations see it: authentic records of one moment, decoded. It is never changed.
type view struct {
	key       Key
	arn       string
	policy    *policy.Document
	document  string
	grants    *policy.GrantSet // of granted
	granted   []GrantRecord    // in order of id
	tags      []policy.Tag
	shared    *keyset.State               // nil for a single-Region key, and while a replica is Creating
	materials map[string]keyring.Material // but for pending imported material
	// imported is what was imported into a key of origin EXTERNAL, by material id; firstExpiry is when the first of it goes
	// (Unix milliseconds), 0 if none does.
	imported    map[string]ImportedMaterial
	firstExpiry int64
	incomplete  bool // a key of origin EXTERNAL lacks some of its material
	spec        keyspec.Spec
	public      keypair.Public // of a key pair that has its material

	asksAliases bool // the policy asks for the names of the key's aliases

	stripe     uint64
	generation uint64
}

const stripes = 256

// views caches what is read from the store on the data path: keys by id, and alias names. Every commit that touches a
// key or an alias removes it here before the commit's caller goes on, and a load that raced a commit is repeated, so
// that a cached view is never older than the last commit that was answered.
type views struct {
	r    *Region
	seed maphash.Seed

	mu          sync.Mutex
	generations [stripes]uint64
	keys        *lru.Cache[string, *view]     // by key id
	aliases     *lru.Cache[aliasName, string] // key id
	// grants are those that were read and checked last of a key, in order of id, also when they don't count any more:
	// see Region.openGrant.
	grants *lru.Cache[string, []seenGrant]
}

type aliasName struct{ account, name string }

const cachedKeys, cachedAliases, cachedGrants = 10000, 10000, 1000

func newViews(r *Region) *views {
	keys, kerr := lru.New[string, *view](cachedKeys)
	aliases, aerr := lru.New[aliasName, string](cachedAliases)
	grants, gerr := lru.New[string, []seenGrant](cachedGrants)
	if kerr != nil || aerr != nil || gerr != nil { // only for a size that is not positive
		return nil
	}
	return &views{r: r, seed: maphash.MakeSeed(), keys: keys, aliases: aliases, grants: grants}
}

// seenGrants returns what keepGrants was given last for the key.
func (s *views) seenGrants(keyID string) []seenGrant {
	seen, _ := s.grants.Get(keyID)
	return seen
}

func (s *views) keepGrants(keyID string, seen []seenGrant) { s.grants.Add(keyID, seen) }

func (s *views) stripe(name string) uint64 { return maphash.String(s.seed, name) % stripes }

func (s *views) generation(stripe uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generations[stripe]
}

// current reports whether no commit has touched the key since v was read. A commit to another key of the stripe leaves v
// in the cache.
func (s *views) current(v *view) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.generations[v.stripe] == v.generation {
		return true
	}
	cached, ok := s.keys.Peek(v.key.KeyID)
	return ok && cached == v
}

// forget removes what a commit touched.
func (s *views) forget(keys map[RecordKey]struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range keys {
		switch k.Kind {
		case KindKey, KindMaterial, KindPolicy, KindGrant, KindImported:
			s.generations[s.stripe(k.ID)]++
			s.keys.Remove(k.ID)
		case KindAlias:
			s.generations[s.stripe(k.ID)]++
			s.aliases.Remove(aliasName{k.Account, k.ID})
		default: // not in these caches
		}
	}
}

// key returns the view of the key with this id, in whatever account, or nil if there is none.
func (s *views) key(ctx context.Context, id string) (*view, error) {
	if v, ok := s.keys.Get(id); ok {
		return v, nil
	}
	stripe := s.stripe(id)
	for {
		generation := s.generation(stripe)
		v, err := s.r.readView(ctx, id)
		if err != nil || v == nil {
			return nil, err
		}
		v.stripe, v.generation = stripe, generation
		s.mu.Lock()
		if s.generations[stripe] == generation {
			s.keys.Add(id, v)
			s.mu.Unlock()
			return v, nil
		}
		s.mu.Unlock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// alias returns the id of the key that the alias points to, or "" if there is no such alias.
func (s *views) alias(ctx context.Context, account, name string) (string, error) {
	cached := aliasName{account, name}
	if id, ok := s.aliases.Get(cached); ok {
		return id, nil
	}
	stripe := s.stripe(name)
	for {
		generation := s.generation(stripe)
		var a Alias
		err := s.r.cfg.Store.View(ctx, func(rd Reader) (err error) {
			a, err = Get[Alias](ctx, rd, s.r.ring, RecordKey{Kind: KindAlias, Account: account, ID: name})
			return err
		})
		if errors.Is(err, ErrNoRecord) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		s.mu.Lock()
		if s.generations[stripe] == generation {
			s.aliases.Add(cached, a.KeyID)
			s.mu.Unlock()
			return a.KeyID, nil
		}
		s.mu.Unlock()
	}
}

func (r *Region) readView(ctx context.Context, id string) (v *view, err error) {
	err = r.cfg.Store.View(ctx, func(rd Reader) error {
		v, err = r.loadView(ctx, rd, id)
		return err
	})
	return v, err
}

// loadView reads and checks all records of a key. It returns nil if there is no such key.
func (r *Region) loadView(ctx context.Context, rd Reader, id string) (*view, error) {
	found, err := List[Key](ctx, rd, r.ring, Query{Kind: KindKey, Ref: id, Limit: 2})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	if len(found) > 1 {
		return nil, fmt.Errorf("%w: several keys have the id %s", ErrForgedRecord, id)
	}
	v := &view{key: found[0], arn: r.KeyARN(found[0].Account, id), materials: map[string]keyring.Material{}}
	pol, err := Get[PolicyRecord](ctx, rd, r.ring, PolicyRecord{Account: v.key.Account, KeyID: id}.RecordKey())
	if err != nil {
		return nil, fmt.Errorf("policy of %s: %w", id, err)
	}
	v.document = pol.Document
	if v.policy, err = policy.ParseKeyPolicy(pol.Document); err != nil {
		return nil, fmt.Errorf("policy of %s: %w", id, err)
	}
	v.asksAliases = asksAliases([]*policy.Document{v.policy})
	v.tags = policyTags(v.key.Tags)
	if err := r.loadGrants(ctx, rd, v); err != nil {
		return nil, fmt.Errorf("grants on %s: %w", id, err)
	}
	materials, err := List[MaterialRecord](ctx, rd, r.ring, Query{Kind: KindMaterial, Account: v.key.Account, ID: id})
	if err != nil {
		return nil, err
	}
	for _, m := range materials {
		if m.Spec != v.key.Spec || m.Usage != v.key.Usage || m.Origin != v.key.Origin {
			return nil, fmt.Errorf("%w: material %s is not of key %s's kind", ErrForgedRecord, m.ID, id)
		}
		v.materials[m.ID] = m.Material
	}
	v.spec, _ = keyspec.Lookup(v.key.Spec)
	if m, has := v.materials[v.key.Current]; has && v.spec.Pair() {
		if v.public, err = keypair.Parse(v.spec, m.Public); err != nil {
			return nil, fmt.Errorf("%w: public key of %s: %w", ErrForgedRecord, id, err)
		}
	}
	if v.imported, err = r.importedOf(ctx, rd, v.key); err != nil {
		return nil, err
	}
	if mr := v.key.MultiRegion; mr != nil && mr.State != nil {
		s := mr.State
		if s.KeyID != id || s.Account != v.key.Account || s.Spec != v.key.Spec || s.Usage != v.key.Usage || s.Origin != v.key.Origin {
			return nil, fmt.Errorf("%w: shared state of another key in %s", ErrForgedRecord, id)
		}
		v.shared = s
	}
	if err := checkImported(v); err != nil {
		return nil, err
	}
	if i, pending := pendingIn(v.imported); pending {
		delete(v.materials, i.ID) // no call can use it
	}
	v.firstExpiry = v.expires()
	v.incomplete = v.key.Origin == OriginExternal && !v.key.isComplete(func(id string) bool { _, there := v.materials[id]; return there })
	return v, nil
}

// Update commits a change of the Region's store together with the audit log's head, and drops from the caches what the
// change touched, before it returns. It counts each account's keys.
func (r *Region) Update(ctx context.Context, fn func(Tx) error) error {
	touched := map[RecordKey]struct{}{}
	err := r.cfg.Store.Update(ctx, func(tx Tx) error {
		if err := fn(recordingTx{tx, r.ring, touched}); err != nil {
			return err
		}
		head := r.cfg.Audit.Durable() // what a loss of power can't take back
		return Put(ctx, tx, r.ring, AuditHead{Region: r.cfg.Name, Sequence: head.Seq, Hash: head.Hash})
	})
	// A commit that reported an error may have happened all the same.
	r.views.forget(touched)
	r.forgetIdentities(touched)
	r.commons.forget(touched)
	r.wakeOutgoing(touched)
	r.stirRotations(touched)
	return err
}

type recordingTx struct {
	Tx
	auth    Authenticator
	touched map[RecordKey]struct{}
}

func (t recordingTx) Put(ctx context.Context, rec Record) error {
	t.touched[rec.RecordKey] = struct{}{}
	if err := recount(ctx, t.Tx, t.auth, rec.RecordKey, true); err != nil {
		return err
	}
	return t.Tx.Put(ctx, rec)
}

func (t recordingTx) Delete(ctx context.Context, key RecordKey) error {
	t.touched[key] = struct{}{}
	if err := recount(ctx, t.Tx, t.auth, key, false); err != nil {
		return err
	}
	return t.Tx.Delete(ctx, key)
}
