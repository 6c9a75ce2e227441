package regions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"antipode/hsmbackend"
	"antipode/regions/arn"
	"antipode/regions/audit"
	"antipode/regions/ciphertext"
	"antipode/regions/identity"
	"antipode/regions/keyring"
	"antipode/regions/roster"
)

// Config is what a Region is opened with. All fields are needed unless they say otherwise.
type Config struct {
	// Partition is the first part of ARNs after "arn:"; Regions replicate only inside one partition.
	Partition string
	// Name is the Region's name, "us-east-2".
	Name string
	// Store, Token and Audit are owned by the caller, who closes them after the Region.
	Store Store
	Token hsmbackend.Token
	Audit *audit.Log
	// Storage is where single-Region keys' material goes; multi-Region keys' is always wrapped.
	Storage keyring.Storage
	// MaxKeys is how many keys each account may have in the Region; 0 means [DefaultMaxKeys].
	MaxKeys int
	// MaxAliases and MaxGrants are how many aliases and grants a key may have in the Region, a replica by itself; 0 means
	// AWS's 50 and 50000.
	MaxAliases, MaxGrants int
	// RotationTick is how often keys are looked for whose material is to be rotated; 0 means a minute.
	RotationTick time.Duration
	// WorkingCopies bounds the key material loaded on the token; 0 means 1024.
	WorkingCopies int
	// Clock tells the time of creation dates and schedules. Steady tells the time of nonce periods and caches.
	Clock, Steady func() time.Time
	// Random is an unbuffered CSPRNG.
	Random io.Reader
	// Log receives what clients are not told.
	Log zerolog.Logger
}

// Region is one Region: a KMS with its own token, store, audit log and policies. It is safe for concurrent use.
type Region struct {
	cfg       Config
	caps      hsmbackend.Capabilities
	ring      *keyring.Ring
	sealer    *ciphertext.Sealer
	directory *identity.Directory
	sessions  *identity.SessionKeys
	issuers   map[string]*identity.SessionKeys // by Region; see AcceptSessions
	views     *views
	roster    atomic.Pointer[roster.Roster]
	recovery  atomic.Pointer[Recovery]
	waits     atomic.Pointer[waits]
	// keys is held while the Region's tokens, the versions of its domain key or the list of its backups change.
	keys       chan struct{}
	replicator Replicator

	// deletion lets one round of deletions run at a time; undone are the materials of deleted keys of which a copy may be
	// on the token still, by the key's record.
	deletion sync.Mutex
	undone   map[RecordKey][]MaterialRecord

	onces     onces
	rotating  rotations
	rotateNow chan struct{} // see wakeRotation
	stirred   stirred       // see stirRotations
	outgoing  chan struct{} // see Outgoing
	commons   *commons

	// pairs is held while a wrapping pair is made on the token, which takes long.
	pairs chan struct{}
	// expiry lets one round of expiries run at a time; lingering is the expired material of which a copy may be on the token
	// still.
	expiry    sync.Mutex
	lingering map[ImportedMaterial]struct{}

	usage usageTable
}

// Replicator moves keys between Regions; package replication provides it.
type Replicator interface {
	// Replicate brings key into another Region. It returns when the replica is Enabled there, or, if the other Region
	// does not answer in time, when the change is durable here and will be finished in the background. It returns an
	// [*Error] if either Region refuses, and then nothing was made in either.
	Replicate(ctx context.Context, order ReplicaOrder) error
	// CanReach reports whether keys of the account may be replicated to the Region: it is in the roster.
	CanReach(ctx context.Context, region, account string) error
	// HandOver makes another Region the primary of a key whose primary this one is. It returns nil when that is so, or, if
	// the other Region does not answer in time, when this one has stopped to act as the primary and the rest will be
	// done in the background. It returns an [*Error] if either Region refuses; then this one is the primary.
	HandOver(ctx context.Context, order PrimaryOrder) error
}

// ReplicaOrder is a ReplicateKey request that this Region has admitted.
type ReplicaOrder struct {
	Account     string `cbor:"1,keyasint"`
	KeyID       string `cbor:"2,keyasint"`
	Region      string `cbor:"3,keyasint"` // destination
	Principal   string `cbor:"4,keyasint"` // ARN of the caller
	Policy      string `cbor:"5,keyasint"` // of the replica, JSON
	Description string `cbor:"6,keyasint"` // of the replica
	Tags        []Tag  `cbor:"7,keyasint"` // of the replica
	RequestID   string `cbor:"8,keyasint"`
	// Once is to be recorded with the membership of the replica; nil for a call without an idempotency key.
	Once *OnceRecord `cbor:"9,keyasint,omitempty"`
}

// HierarchyRecord is the record that holds the Region's own wrapped keys.
type HierarchyRecord struct {
	Region    string            `cbor:"1,keyasint"`
	Hierarchy keyring.Hierarchy `cbor:"2,keyasint"`
}

// RecordKey implements [Body].
func (h HierarchyRecord) RecordKey() RecordKey { return RecordKey{Kind: KindHierarchy, ID: h.Region} }

// RecordIndex implements [Body].
func (h HierarchyRecord) RecordIndex() (string, int64) { return "", 0 }

// Init makes the Region's keys on the token and records them in the store. It may be repeated after a crash, until
// [Open] finds the Region; on a Region that is complete it changes nothing.
func Init(ctx context.Context, name string, store Store, token hsmbackend.Token) (err error) {
	var plan keyring.TokenKeys
	done := false
	err = store.View(ctx, func(rd Reader) (err error) {
		if _, err = rd.Get(ctx, RecordKey{Kind: KindHierarchy, ID: name}); err == nil {
			done = true
			return nil
		}
		if !errors.Is(err, ErrNoRecord) {
			return err
		}
		plan, err = readPlan(ctx, rd, name)
		return err
	})
	if err != nil || done {
		return err
	}
	if plan.KEK == (hsmbackend.ID{}) {
		if plan, err = keyring.Plan(ctx, token); err != nil {
			return err
		}
		if err = writePlan(ctx, store, name, plan); err != nil {
			return err
		}
	}
	h, err := keyring.Create(ctx, token, plan, name)
	if err != nil {
		return err
	}
	ring, err := keyring.Open(ctx, token, h, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ring.Close(context.WithoutCancel(ctx))) }()
	return store.Update(ctx, func(tx Tx) error {
		if err := Put(ctx, tx, ring, HierarchyRecord{Region: name, Hierarchy: h}); err != nil {
			return err
		}
		if err := Put(ctx, tx, ring, UsageMark{Region: name}); err != nil { // the last use of keys is known from the first on
			return err
		}
		return tx.Delete(ctx, RecordKey{Kind: KindPlan, ID: name})
	})
}

// Open opens a Region that [Init] has made.
func Open(ctx context.Context, cfg Config) (_ *Region, err error) {
	if cfg.WorkingCopies == 0 {
		cfg.WorkingCopies = 1024
	}
	if cfg.RotationTick == 0 {
		cfg.RotationTick = time.Minute
	}
	if cfg.MaxKeys == 0 {
		cfg.MaxKeys = DefaultMaxKeys
	}
	if cfg.MaxAliases == 0 {
		cfg.MaxAliases = DefaultMaxAliases
	}
	if cfg.MaxGrants == 0 {
		cfg.MaxGrants = DefaultMaxGrants
	}
	if min(cfg.MaxKeys, cfg.MaxAliases, cfg.MaxGrants) < 0 {
		return nil, fmt.Errorf("region %s: a quota must not be negative", cfg.Name)
	}
	if cfg.Storage == "" {
		cfg.Storage = keyring.StorageWrapped
	}
	h, err := readHierarchy(ctx, cfg.Store, cfg.Name)
	if err != nil {
		return nil, fmt.Errorf("region %s: %w", cfg.Name, err)
	}
	ring, err := keyring.Open(ctx, cfg.Token, h, cfg.WorkingCopies)
	if err != nil {
		return nil, fmt.Errorf("region %s: %w", cfg.Name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ring.Close(context.WithoutCancel(ctx)))
		}
	}()
	r := &Region{
		cfg: cfg, caps: cfg.Token.Capabilities(), ring: ring, undone: map[RecordKey][]MaterialRecord{}, keys: make(chan struct{}, 1),
		rotateNow: make(chan struct{}, 1), stirred: stirred{now: make(chan struct{}, 1)}, outgoing: make(chan struct{}, 1),
		commons: newCommons(),

		pairs: make(chan struct{}, 1), lingering: map[ImportedMaterial]struct{}{},
	}
	r.views = newViews(r)
	if r.sealer, err = ciphertext.New(cfg.Token, cfg.Random, cfg.Steady, ciphertext.Limits{}); err != nil {
		return nil, fmt.Errorf("region %s: %w", cfg.Name, err)
	}
	// The hierarchy could only be read without a check; the record key it led to must confirm it.
	err = cfg.Store.View(ctx, func(rd Reader) error {
		_, err := Get[HierarchyRecord](ctx, rd, ring, RecordKey{Kind: KindHierarchy, ID: cfg.Name})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("region %s: %w", cfg.Name, err)
	}
	if err := r.loadRoster(ctx); err != nil {
		return nil, fmt.Errorf("region %s: %w", cfg.Name, err)
	}
	if err := r.openDirectory(ctx); err != nil {
		return nil, fmt.Errorf("region %s: %w", cfg.Name, err)
	}
	if err := r.loadRecovery(ctx); err != nil {
		return nil, fmt.Errorf("region %s: %w", cfg.Name, err)
	}
	if err := r.recover(ctx); err != nil {
		return nil, fmt.Errorf("region %s: recover: %w", cfg.Name, err)
	}
	return r, nil
}

// SetReplicator connects the Region to the others. It must be called before the Region serves.
func (r *Region) SetReplicator(rep Replicator) { r.replicator = rep }

// Name returns the Region's name.
func (r *Region) Name() string { return r.cfg.Name }

// Partition returns the partition.
func (r *Region) Partition() string { return r.cfg.Partition }

// Ring returns the Region's keys.
func (r *Region) Ring() *keyring.Ring { return r.ring }

// Store returns the Region's store, for reading. Changes go through [Region.Update].
func (r *Region) Store() Store { return r.cfg.Store }

// Directory resolves access keys.
func (r *Region) Directory() *identity.Directory { return r.directory }

// Audit returns the Region's audit log.
func (r *Region) Audit() *audit.Log { return r.cfg.Audit }

// Now returns the Region's time, which development set-ups may shift.
func (r *Region) Now() time.Time { return r.cfg.Clock() }

// Logger returns the Region's log.
func (r *Region) Logger() zerolog.Logger { return r.cfg.Log }

// Ready returns nil if the Region can serve: its token answers and its audit log can be written.
func (r *Region) Ready(ctx context.Context) error {
	if err := r.cfg.Audit.Err(); err != nil {
		return errors.Join(ErrAuditLog, err)
	}
	if _, err := r.cfg.Token.Random(ctx, 1); err != nil {
		return errors.Join(ErrToken, err)
	}
	return nil
}

// What keeps a Region from being ready, in words that anybody may read.
var (
	ErrAuditLog = errors.New("its audit log can't be written")
	ErrToken    = errors.New("its token does not answer")
)

func (r *Region) place(account string) arn.Place { return r.placeIn(r.cfg.Name, account) }

func (r *Region) placeIn(region, account string) arn.Place {
	return arn.Place{Partition: r.cfg.Partition, Region: region, Account: account}
}

// KeyARN returns the ARN of a key in this Region.
func (r *Region) KeyARN(account, keyID string) string { return r.place(account).Key(keyID) }

// Close destroys the session objects that the Region holds on the token. It does not close what [Config] says that the
// caller owns. No call may be running any more.
func (r *Region) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	r.keepLastUsage(ctx)
	return errors.Join(r.sealer.Close(ctx), r.ring.Close(ctx))
}

// sweepEvery is how often idle derived keys are looked for.
const sweepEvery = 5 * time.Second

// keepHeadEvery is after how many sweeps the store keeps the audit log's head and when keys were used last: every minute.
const keepHeadEvery = 12

// deleteEvery is after how many sweeps keys are looked for whose waiting period is over: every minute.
const deleteEvery = 12

// Run does the Region's background work until ctx ends: derived keys whose time is over leave the token, the store
// keeps the audit log's head and when keys were used last, keys are rotated when their date has come, and deleted when their waiting period is over.
func (r *Region) Run(ctx context.Context) {
	var rotation sync.WaitGroup
	rotation.Go(func() { r.runRotation(ctx) })
	defer rotation.Wait()
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	kept := r.cfg.Audit.Durable()
	for n := 1; ; n++ {
		if n%deleteEvery == 1 {
			if err := r.DeleteDue(ctx); err != nil && ctx.Err() == nil {
				r.cfg.Log.Error().Err(err).Str("region", r.cfg.Name).Msg("delete keys whose waiting period is over")
			}
		}
		if err := r.ExpireDue(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Log.Error().Err(err).Str("region", r.cfg.Name).Msg("remove expired key material")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if head := r.cfg.Audit.Durable(); n%keepHeadEvery == 0 && head != kept {
			// The store keeps the audit log's head with each commit, this one too if no key was used.
			if err := r.KeepUsage(ctx); err != nil && ctx.Err() == nil {
				r.cfg.Log.Error().Err(err).Msg("keep when keys were used last, and the audit log's head")
			}
			kept = head
		}
		if err := r.sealer.Sweep(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Log.Error().Err(err).Msg("destroy idle derived keys")
		}
	}
}
