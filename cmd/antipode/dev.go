package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"antipode/hsmbackend"
	"antipode/hsmbackend/p11"
	"antipode/regions"
	"antipode/regions/arn"
	"antipode/regions/keyring"
	"antipode/regions/roster"
	"antipode/softhsm"
)

// devOptions are the flags of `antipode dev`.
type devOptions struct {
	regions      []string
	listen       string
	data         string
	account      string
	identities   []string
	users        []profileUser // those of identities
	callers      string
	auditDir     string
	clockOffset  time.Duration
	rotationTick time.Duration
	backend      string
	storage      string
	maxKeys      int
	logLevel     string
}

func devCommand() *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run several Regions in one process, each on its own SoftHSM2 token",
		Long: `Runs several Regions in one process for development and tests, each with its own SoftHSM2 token and its own
store under --data. What is absent is made; what is there is used again. All Regions answer on one address: the Region
of a request is the one it was signed for. --data/credentials is an AWS shared-credentials file whose default profile
is an administrator.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return err
			}
			log, err := newLog(o.logLevel)
			if err != nil {
				return err
			}
			return runDev(cmd.Context(), o, log, readyLine(cmd, "http"))
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.regions, "regions", []string{"us-east-2", "us-west-1"}, "the Regions, comma-separated")
	f.StringVar(&o.listen, "listen", "127.0.0.1:4566", "address of the API; only loopback addresses are taken")
	f.StringVar(&o.data, "data", "", "folder of all state, one folder a Region (required)")
	f.StringVar(&o.account, "account", "111122223333", "account of the administrator")
	f.StringArrayVar(&o.identities, "identity", nil, "NAME=ACCOUNT:POLICYFILE adds the user NAME of ACCOUNT, with that IAM policy, and a profile NAME to the credentials file; may be repeated")
	f.StringVar(&o.callers, "callers", "", "file of those who may call the REST API with a bearer token or a token of an OpenID Connect issuer")
	f.StringVar(&o.auditDir, "audit-log-dir", "", "folder of the audit logs, one folder a Region (default --data/REGION/audit)")
	f.DurationVar(&o.clockOffset, "clock-offset", 0, "shifts schedules and deletion windows; signatures are always checked by the real clock")
	f.DurationVar(&o.rotationTick, "rotation-tick", time.Minute, "how often keys are looked for whose material is to be rotated")
	f.StringVar(&o.backend, "backend", "inprocess", "how the token's library runs: inprocess")
	f.StringVar(&o.storage, "storage", "wrapped", "where material of single-Region keys is kept: wrapped (in the store, under the domain key) or token (never leaves the token; such keys are in no backup of the store)")
	f.IntVar(&o.maxKeys, "max-keys", regions.DefaultMaxKeys, "how many keys each account may have in each Region")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func (o *devOptions) validate() error {
	var errs []error
	if o.data == "" {
		errs = append(errs, errors.New("--data is required: the folder for tokens, stores and audit logs"))
	}
	if len(o.regions) == 0 {
		errs = append(errs, errors.New("--regions names no Region"))
	}
	for i, name := range o.regions {
		if !roster.ValidRegion(name) {
			errs = append(errs, fmt.Errorf("--regions: %q is not a Region's name, like us-east-2", name))
		}
		if slices.Contains(o.regions[:i], name) {
			errs = append(errs, fmt.Errorf("--regions: %s is named twice", name))
		}
	}
	if !arn.IsAccount(o.account) {
		errs = append(errs, fmt.Errorf("--account: %q is not an account, 12 digits", o.account))
	}
	o.users = nil
	for _, flag := range o.identities {
		u, err := parseIdentity(flag)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if u.name == administratorName && u.account == o.account {
			errs = append(errs, errors.New("--identity: the administrator is there already"))
		}
		if slices.ContainsFunc(o.users, func(other profileUser) bool { return other.name == u.name }) {
			errs = append(errs, fmt.Errorf("--identity: %s is named twice", u.name))
		}
		o.users = append(o.users, u)
	}
	if o.callers != "" {
		if _, err := readCallers(o.callers, false); err != nil {
			errs = append(errs, fmt.Errorf("--callers: %w", err))
		}
	}
	if o.backend != "inprocess" {
		errs = append(errs, fmt.Errorf("--backend: %q is not built yet; only inprocess is", o.backend))
	}
	if o.storage != "wrapped" && o.storage != "token" {
		errs = append(errs, fmt.Errorf("--storage: %q is neither wrapped nor token", o.storage))
	}
	if o.maxKeys < 0 {
		errs = append(errs, errors.New("--max-keys must not be negative"))
	}
	if o.rotationTick <= 0 {
		errs = append(errs, errors.New("--rotation-tick must be positive"))
	}
	host, port, err := net.SplitHostPort(o.listen)
	if err != nil {
		errs = append(errs, fmt.Errorf("--listen: %w", err))
	} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		errs = append(errs, fmt.Errorf("--listen: %q is not a port, 0 to 65535", port))
	} else if !isLoopback(host) {
		errs = append(errs, fmt.Errorf("--listen: %s is not a loopback address; dev speaks plain HTTP", host))
	}
	return errors.Join(errs...)
}

// runDev makes what is absent, opens the Regions, serves until ctx ends, and closes everything. ready is called once,
// when all Regions serve.
func runDev(ctx context.Context, o devOptions, log zerolog.Logger, ready func(net.Addr) error) (err error) {
	if err := os.MkdirAll(o.data, 0o700); err != nil {
		return err
	}
	lock, err := lockFolder(o.data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	nodes, err := openNodes(ctx, o, log)
	defer func() {
		for _, n := range nodes {
			err = errors.Join(err, n.close())
		}
	}()
	if err != nil {
		return unlessStopped(ctx, err, log)
	}
	for _, n := range nodes {
		for _, other := range nodes {
			n.region.AcceptSessions(other.region)
		}
	}
	users := append([]profileUser{administratorOf(o.account)}, o.users...)
	if err := ensureProfiles(ctx, filepath.Join(o.data, "credentials"), users, nodes); err != nil {
		return unlessStopped(ctx, err, log)
	}
	others, err := openCallers(o.callers, false, nodes)
	if err != nil {
		return err
	}
	mesh, err := connect(ctx, nodes, o.data)
	if err != nil {
		return unlessStopped(ctx, err, log)
	}
	defer func() { err = errors.Join(err, mesh.close()) }()
	return serveAPI(ctx, apiConfig{listen: o.listen, others: others}, nodes, log, ready)
}

// unlessStopped is err, or nil when the operator has ended the start before it was complete: that is what he asked for,
// and the next start goes on from there.
func unlessStopped(ctx context.Context, err error, log zerolog.Logger) error {
	if ctx.Err() == nil {
		return err
	}
	log.Info().Err(err).Msg("ended before the regions served")
	return nil
}

func openNodes(ctx context.Context, o devOptions, log zerolog.Logger) (nodes []*node, err error) {
	if err := removeUnfinished(o.data); err != nil {
		return nil, err
	}
	for _, name := range o.regions {
		dir := filepath.Join(o.data, name)
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			if err := makeRegion(ctx, o.data, name, log); err != nil {
				return nodes, fmt.Errorf("make region %s: %w", name, err)
			}
		}
		cfg := nodeConfig{
			dir: dir, name: name, storage: keyring.Storage(strings.ToUpper(o.storage)), maxKeys: o.maxKeys, rotationTick: o.rotationTick,
			token: func(ctx context.Context) (hsmbackend.Token, error) {
				made, err := softhsm.Open(filepath.Join(dir, tokenFolder))
				if err != nil {
					return nil, err
				}
				return p11.Open(ctx, made.Config(log))
			},
			clock: func() time.Time { return time.Now().Add(o.clockOffset) },
			log:   log.With().Str("region", name).Logger(),
		}
		if o.auditDir != "" {
			cfg.auditDir = filepath.Join(o.auditDir, name)
		}
		n, err := openNode(ctx, cfg)
		if err != nil {
			return nodes, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}
