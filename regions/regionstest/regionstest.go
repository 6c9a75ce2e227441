// Package regionstest gives tests a real Region: on a fresh SoftHSM2 token, with an SQLite store and an audit log in a
// folder in memory.
//
// Invariants:
//   - Nothing is simulated but what a test asks for: faults, the clock, and who is on the other side of a replication.
//   - A [Fixture] outlives its Region: [Fixture.Reopen] and [Fixture.Close] end everything that the Region's process
//     would end, and the files stay until the test is over.
package regionstest

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"antipode/hsmbackend"
	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/identity"
	"antipode/regions/policy"
	"antipode/regions/secret"
	"antipode/regions/store"
	"antipode/softhsm"
	"antipode/softhsm/softhsmtest"
)

// Who a fixture's callers are unless a test says otherwise.
const (
	Partition   = "aws"
	Account     = "111122223333"
	UserName    = "administrator"
	AccessKeyID = "AKIAAAAAAAAAAAAAAAAA"
	Secret      = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" // AWS's own example
)

// Fixture is a Region and what it stands on. Region, Token, Store and Audit are those of the present opening, and nil
// while the fixture is closed.
type Fixture struct {
	Region *regions.Region
	Token  hsmbackend.Token // as the Region has it, with the test's faults
	Store  *store.DB        // without the test's faults
	Audit  *audit.Log
	Clock  *Clock
	// Admin is an administrator of [Account], whom the store knows too.
	Admin regions.Caller
	// StorePath is the SQLite file, AuditDir the folder of the audit log, Soft the token's files.
	StorePath string
	AuditDir  string
	Soft      softhsm.Token

	name string
	opt  options
}

// Open makes a Region of this name with an administrator, and opens it. It is closed when the test ends.
func Open(t testing.TB, name string, opts ...Option) *Fixture {
	t.Helper()
	f := &Fixture{name: name, Soft: softhsmtest.New(t), Clock: NewClock()}
	for _, o := range opts {
		o(&f.opt)
	}
	dir := softhsmtest.Dir(t)
	f.StorePath, f.AuditDir = filepath.Join(dir, "store.db"), filepath.Join(dir, "audit")
	db, err := store.Create(t.Context(), f.StorePath)
	if err != nil {
		t.Fatal(err)
	}
	token := softhsmtest.Connect(t, f.Soft)
	if err := regions.Init(t.Context(), name, db, token); err != nil {
		t.Fatalf("init region %s: %v", name, err)
	}
	if err := errors.Join(token.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if err := f.TryOpen(t); err != nil {
		t.Fatal(err)
	}
	f.AddUser(t, UserName, AccessKeyID, []byte(identity.AdministratorPolicy))
	f.Admin = Caller(Account, UserName, AccessKeyID, identity.AdministratorPolicy)
	return f
}

// TryOpen opens the closed fixture and returns what refuses, after which it is closed still.
func (f *Fixture) TryOpen(t testing.TB) (err error) {
	t.Helper()
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	f.Token = softhsmtest.Connect(t, f.Soft)
	t.Cleanup(func() { // before the cleanup that Connect has registered
		if err := f.close(); err != nil {
			t.Errorf("close region %s: %v", f.name, err)
		}
	})
	if f.opt.token != nil {
		f.Token = f.opt.token(f.Token)
	}
	if f.Store, err = store.Open(t.Context(), f.StorePath); err != nil {
		return err
	}
	var st regions.Store = f.Store
	if f.opt.store != nil {
		st = f.opt.store(st)
	}
	log := audit.Config{Dir: f.AuditDir, Node: f.name, Clock: f.Clock.Now, Random: rand.Reader}
	if f.opt.audit != nil {
		f.opt.audit(&log)
	}
	// A program that another test starts has this process's descriptors, and with them the closed log's lock, between its
	// fork and its exec.
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if f.Audit, err = audit.Open(t.Context(), log); !errors.Is(err, audit.ErrLocked) || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		return err
	}
	cfg := regions.Config{
		Partition: Partition, Name: f.name, Store: st, Token: f.Token, Audit: f.Audit, Storage: f.opt.storage,
		WorkingCopies: f.opt.workingCopies, MaxKeys: f.opt.maxKeys, MaxAliases: f.opt.quotas[0], MaxGrants: f.opt.quotas[1], Clock: f.Clock.Now, Steady: time.Now, Random: rand.Reader, Log: zerolog.Nop(),
	}
	if f.opt.log != nil {
		cfg.Log = zerolog.New(f.opt.log)
	}
	if f.Region, err = regions.Open(t.Context(), cfg); err != nil {
		return err
	}
	if f.opt.replicator != nil {
		f.Region.SetReplicator(f.opt.replicator)
	}
	return nil
}

// Close closes Region, audit log, store and token, as the end of the process would. It may be repeated.
func (f *Fixture) Close(t testing.TB) {
	t.Helper()
	if err := f.close(); err != nil {
		t.Fatalf("close region %s: %v", f.name, err)
	}
}

// Reopen closes the fixture and opens it again on the same files and token.
func (f *Fixture) Reopen(t testing.TB) {
	t.Helper()
	f.Close(t)
	if err := f.TryOpen(t); err != nil {
		t.Fatalf("reopen region %s: %v", f.name, err)
	}
}

func (f *Fixture) close() error {
	var errs []error
	if f.Region != nil {
		errs = append(errs, f.Region.Close(context.Background()))
	}
	if f.Audit != nil {
		// A log that a test has made fail reports that once more; it is no news.
		if err := f.Audit.Close(); err != nil && !errors.Is(err, audit.ErrFailed) {
			errs = append(errs, err)
		}
	}
	if f.Store != nil {
		errs = append(errs, f.Store.Close())
	}
	if f.Token != nil {
		errs = append(errs, f.Token.Close())
	}
	f.Region, f.Audit, f.Store, f.Token = nil, nil, nil, nil
	return errors.Join(errs...)
}

// AddUser stores a user of [Account] with this IAM policy document, "" for none, and one access key, whose secret is
// [Secret]. A user who is there keeps his unique id.
func (f *Fixture) AddUser(t testing.TB, name, accessKeyID string, policy []byte) identity.User {
	t.Helper()
	now := f.Clock.Now().UnixMilli()
	u, err := identity.NewUser(rand.Reader, Account, name, now)
	if err != nil {
		t.Fatal(err)
	}
	held, err := f.Region.Identity(t.Context(), regions.IdentityName{Kind: regions.KindUser, Account: Account, Name: name})
	if err == nil {
		u = *held.User
		u.Version = identity.NextVersion(u.Version, now)
	} else if !errors.Is(err, regions.ErrNoRecord) {
		t.Fatal(err)
	}
	u = u.WithPolicy("policy", policy)
	b := identity.Bundle{User: &u, Keys: []identity.BundleKey{
		{ID: accessKeyID, Active: true, Created: now, Secret: secret.Of([]byte(Secret))},
	}}
	f.Apply(t, b)
	return u
}

// Apply stores an account, user or role.
func (f *Fixture) Apply(t testing.TB, b identity.Bundle) {
	t.Helper()
	applied, err := f.Region.ApplyIdentity(t.Context(), b, regions.IdentityChange{Event: "Test", By: "test", Base: regions.AnyVersion})
	if err != nil || !applied {
		t.Fatalf("store %s: %v, %v", b.ARN(), applied, err)
	}
}

// Caller is a user as a front would have authenticated him, with these identity policies.
func Caller(account, name, accessKeyID string, policies ...string) regions.Caller {
	c := regions.Caller{
		ARN: "arn:aws:iam::" + account + ":user/" + name, Account: account, UserName: name, AccessKeyID: accessKeyID,
		Kind: regions.PrincipalUser, SourceIP: "192.0.2.1", UserAgent: "regionstest",
		RequestID: "00000000-0000-4000-8000-000000000000",
	}
	for _, document := range policies {
		d, err := policy.ParseIdentityPolicy(document)
		if err != nil {
			d = nil // which allows nothing
		}
		c.Policies = append(c.Policies, d)
	}
	return c
}
