package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"antipode/hsmbackend"
	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/keyring"
	"antipode/regions/store"
	"antipode/replication"
	"antipode/replication/peer"
)

// partition is the first part of ARNs. All Regions of one `antipode dev` are of one partition.
const partition = "aws"

// nodeConfig says which Region's folder to open and how.
type nodeConfig struct {
	dir      string // of the store, the peer identity and, unless auditDir says otherwise, the audit log
	name     string
	auditDir string // "" means the folder's own
	storage  keyring.Storage
	maxKeys  int // of an account; 0 means the default
	// maxAliases and maxGrants are those of a key; 0 means the default.
	maxAliases, maxGrants int
	// rotationTick is how often keys are looked for that are to be rotated; 0 means the default.
	rotationTick time.Duration
	compareEvery time.Duration // between comparisons with each other Region; 0 means the default
	token        func(ctx context.Context) (hsmbackend.Token, error)
	further      []tokenConfig // tokens that a new version of the domain key is loaded into
	fips         bool          // see config.FIPS
	clock        func() time.Time
	log          zerolog.Logger
}

// node is one Region, open.
type node struct {
	name   string
	region *regions.Region
	backup func(ctx context.Context, path string) error
	peer   *peer.Identity
	log    zerolog.Logger
	// exchange is the Region's part in replication, once the mesh has started it.
	exchange *replication.Node

	callers *callers // who calls without a signature; nil if none may

	further      []tokenConfig
	fips         bool // further tokens must be approved too
	compareEvery time.Duration

	// closers end what was opened, in reverse order.
	closers []func() error
}

// openNode opens the Region in cfg.dir. What it opened before an error is closed again.
func openNode(ctx context.Context, cfg nodeConfig) (n *node, err error) {
	n = &node{name: cfg.name, log: cfg.log, further: cfg.further, fips: cfg.fips, compareEvery: cfg.compareEvery}
	opened := n // n is nil when an error is returned
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("region %s: %w", cfg.name, err), opened.close())
		}
	}()
	lock, err := lockFolder(cfg.dir)
	if err != nil {
		return nil, err
	}
	n.onClose(lock.Close)
	if err := finishRestore(filepath.Join(cfg.dir, storeFile)); err != nil {
		return nil, fmt.Errorf("finish a restore that was cut off: %w", err)
	}
	token, err := cfg.token(ctx)
	if err != nil {
		return nil, err
	}
	n.onClose(token.Close)
	raw, err := os.ReadFile(filepath.Join(cfg.dir, peerFile))
	if err != nil {
		return nil, err
	}
	if n.peer, err = peer.ParsePEM(raw); err != nil {
		return nil, err
	}
	if cfg.auditDir == "" {
		cfg.auditDir = filepath.Join(cfg.dir, auditFolder)
	}
	return n, n.openRegion(ctx, cfg, token)
}

func (n *node) openRegion(ctx context.Context, cfg nodeConfig, token hsmbackend.Token) error {
	db, err := store.Open(ctx, filepath.Join(cfg.dir, storeFile))
	if err != nil {
		return err
	}
	n.onClose(db.Close)
	n.backup = db.Backup
	if err := os.MkdirAll(filepath.Dir(cfg.auditDir), 0o700); err != nil {
		return err
	}
	log, err := audit.Open(ctx, audit.Config{Dir: cfg.auditDir, Node: cfg.name, Clock: cfg.clock, Random: rand.Reader, Step: auditStep()})
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	n.onClose(log.Close)
	durable, token := withSteps(db, token)
	n.region, err = regions.Open(ctx, regions.Config{
		Partition: partition, Name: cfg.name, Store: durable, Token: token, Audit: log, Storage: cfg.storage,
		MaxKeys: cfg.maxKeys, MaxAliases: cfg.maxAliases, MaxGrants: cfg.maxGrants, RotationTick: cfg.rotationTick,
		Clock: cfg.clock, Steady: steady(), Random: rand.Reader, Log: cfg.log,
	})
	if err != nil {
		return err
	}
	n.onClose(func() error { return n.region.Close(context.WithoutCancel(ctx)) })
	return nil
}

func (n *node) onClose(fn func() error) { n.closers = append(n.closers, fn) }

// close ends the Region: no call may be running any more.
func (n *node) close() error {
	var errs []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		errs = append(errs, n.closers[i]())
	}
	n.closers = nil
	return errors.Join(errs...)
}
