package simtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"antipode/hsmbackend/p11"
	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/identity"
	"antipode/regions/secret"
	"antipode/regions/store"
	"antipode/regions/store/storetest"
	"antipode/replication"
	"antipode/softhsm"
	"antipode/softhsm/softhsmtest"
)

// Region is one Region of a [World]. Token, Region and Node are replaced by each restart.
type Region struct {
	Name string
	// Dir holds the store in store.db, with its log beside it, and the audit log in audit.
	Dir string
	// Tokens watches what the Region asks of its token, and makes it fail; its state survives restarts.
	Tokens *Watch
	// StoreFault decides which calls of the Region's store fail; see [storetest.Faulty]. Nil fails none.
	StoreFault func(op string) (apply bool, err error)

	// MaxKeys is the quota of keys of an account, from the next restart on; 0 means the default.
	MaxKeys int

	Token  *p11.Token // the token itself, unwatched
	Region *regions.Region
	Node   *replication.Node

	world *World
	soft  softhsm.Token
	db    *store.DB
	log   *audit.Log
	logs  logBuffer

	backups int
}

// Logs returns all that the Region has logged, in JSON lines.
func (r *Region) Logs() []byte { return r.logs.bytes() }

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.buf.Bytes())
}

func newRegion(t testing.TB, w *World, name string) *Region {
	t.Helper()
	dir := softhsmtest.Dir(t)
	soft, err := softhsm.Create(t.Context(), filepath.Join(dir, "token"), "antipode-"+name)
	if err != nil {
		t.Fatal(err)
	}
	r := &Region{Name: name, Dir: dir, Tokens: &Watch{}, world: w, soft: soft}
	db, err := store.Create(t.Context(), r.storePath())
	if err != nil {
		t.Fatal(err)
	}
	token, err := p11.Open(t.Context(), soft.Config(zerolog.Nop()))
	if err != nil {
		t.Fatal(err)
	}
	if err := regions.Init(t.Context(), name, db, token); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(token.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	r.open(t)
	t.Cleanup(func() { r.stop(t) })
	return r
}

func (r *Region) storePath() string { return filepath.Join(r.Dir, "store.db") }

// open opens what the last process left behind.
func (r *Region) open(t testing.TB) {
	t.Helper()
	var err error
	if r.Token, err = p11.Open(t.Context(), r.soft.Config(zerolog.Nop())); err != nil {
		t.Fatal(err)
	}
	if r.db, err = store.Open(t.Context(), r.storePath()); err != nil {
		t.Fatal(err)
	}
	r.assemble(t, r.world)
}

// assemble makes the Region of its open token and store.
func (r *Region) assemble(t testing.TB, w *World) {
	t.Helper()
	var err error
	r.log, err = audit.Open(t.Context(), audit.Config{
		Dir: filepath.Join(r.Dir, "audit"), Node: r.Name, Clock: w.clock.Now, Random: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	log := zerolog.New(&r.logs)
	faulty := storetest.Faulty(r.db, func(op string) (bool, error) {
		if r.StoreFault == nil {
			return false, nil
		}
		return r.StoreFault(op)
	})
	r.Region, err = regions.Open(t.Context(), regions.Config{
		Partition: "aws", Name: r.Name, Store: faulty, Token: r.Tokens.over(r.Token), Audit: r.log,
		Clock: w.clock.Now, Steady: w.clock.Now, Random: rand.Reader, Log: log,
		MaxKeys: r.MaxKeys,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Node = replication.New(replication.Config{
		Region: r.Region, Peers: peers{r.world.Net, r.Name}, Name: r.Name, Steady: w.clock.Now, Log: log,
		// A machine that is busy with other tests takes its time, and what is shown here does not depend on it.
		Answer: 5 * time.Minute, SlowAnswer: 5 * time.Minute,
	})
	if err := r.Node.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Region.SetReplicator(r.Node)
}

// Restart ends the Region as a kill would, without a farewell to its token's objects or its peers, and starts it again
// from its disk. Faults are off afterwards. No call may be running.
func (r *Region) Restart(t testing.TB) {
	t.Helper()
	r.StoreFault = nil
	r.Tokens.Fail(nil)
	r.stop(t)
	r.open(t)
}

func (r *Region) stop(t testing.TB) {
	t.Helper()
	for _, c := range []interface{ Close() error }{r.Token, r.log, r.db} {
		if err := c.Close(); err != nil {
			t.Errorf("stop %s: %v", r.Name, err)
		}
	}
}

// AddUser makes a user known in this Region, with an access key that nobody uses, or puts him in the place of the one who
// is known.
func (r *Region) AddUser(t testing.TB, u identity.User) {
	t.Helper()
	held, err := r.Region.Identity(t.Context(), regions.IdentityName{Kind: regions.KindUser, Account: u.Account, Name: u.Name})
	if err == nil {
		u.Version = held.Version() + 1
	} else if !errors.Is(err, regions.ErrNoRecord) {
		t.Fatal(err)
	}
	b := identity.Bundle{User: &u, Keys: []identity.BundleKey{{
		ID: "AKIAAAAAAAAAAAAAAAAA", Active: true, Secret: secret.Of([]byte("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")),
	}}}
	change := regions.IdentityChange{Event: "Test", By: "test", Base: regions.AnyVersion}
	if applied, err := r.Region.ApplyIdentity(t.Context(), b, change); err != nil || !applied {
		t.Fatalf("add user %s: %v, %v", u.Name, applied, err)
	}
}

// Do makes one call of the administrator's.
func (r *Region) Do(ctx context.Context, operation string, input any) (any, error) {
	r.world.t.Helper()
	op, ok := regions.OperationByName(operation)
	if !ok {
		op, ok = regions.OwnOperation(operation)
	}
	if !ok {
		r.world.t.Fatalf("there is no operation %s", operation)
	}
	return r.Region.Do(ctx, op, r.world.Caller(), input)
}
