package regionstest

import (
	"io"
	"sync"
	"time"

	"antipode/hsmbackend"
	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/keyring"
)

// Option changes what [Open] opens.
type Option func(*options)

type options struct {
	storage       keyring.Storage
	workingCopies int
	maxKeys       int
	quotas        [2]int // of aliases and grants on a key
	token         func(hsmbackend.Token) hsmbackend.Token
	store         func(regions.Store) regions.Store
	audit         func(*audit.Config)
	log           io.Writer
	replicator    regions.Replicator
}

// WithStorage says where the material of single-Region keys goes.
func WithStorage(s keyring.Storage) Option { return func(o *options) { o.storage = s } }

// WithWorkingCopies bounds the working copies on the token.
func WithWorkingCopies(n int) Option { return func(o *options) { o.workingCopies = n } }

// WithQuotas is how many aliases and grants a key may have.
func WithQuotas(aliases, grants int) Option {
	return func(o *options) { o.quotas = [2]int{aliases, grants} }
}

// WithMaxKeys is the quota of keys of each account.
func WithMaxKeys(n int) Option { return func(o *options) { o.maxKeys = n } }

// WithToken lets the Region have the token that wrap returns, as hsmtest.Faulty makes one. Init has the plain one.
func WithToken(wrap func(hsmbackend.Token) hsmbackend.Token) Option {
	return func(o *options) { o.token = wrap }
}

// WithStore lets the Region have the store that wrap returns, as storetest.Faulty makes one. Init has the plain one.
func WithStore(wrap func(regions.Store) regions.Store) Option {
	return func(o *options) { o.store = wrap }
}

// WithAudit lets change edit the configuration of the audit log.
func WithAudit(change func(*audit.Config)) Option { return func(o *options) { o.audit = change } }

// WithLog collects what the Region logs, in JSON. w must be safe for concurrent use if the test makes calls at once.
func WithLog(w io.Writer) Option { return func(o *options) { o.log = w } }

// WithReplicator connects the Region to what the test has in place of the other Regions.
func WithReplicator(r regions.Replicator) Option { return func(o *options) { o.replicator = r } }

// Clock is a clock that a test moves. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at noon of 2 January 2026, UTC.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)} }

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
