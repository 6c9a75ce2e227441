package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"antipode/hsmbackend"
	"antipode/hsmbackend/p11"
	"antipode/regions/roster"
	"antipode/replication/peer"
)

func serveCommand() *cobra.Command {
	var path, logLevel string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run one node of one Region",
		Long: `Runs the Region that 'antipode init' has made with the same configuration file. Other Regions are enrolled with
'antipode region trust' while it runs. SIGTERM ends it: calls in flight are answered first.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				return errors.New("--config is required: the configuration file of the Region")
			}
			cfg, err := readConfig(path)
			if err != nil {
				return err
			}
			if err := cfg.validateServe(); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			log, err := newLog(logLevel)
			if err != nil {
				return err
			}
			scheme := "http"
			if cfg.TLS.Certificate != "" {
				scheme = "https"
			}
			return runServe(cmd.Context(), cfg, log, readyLine(cmd, scheme))
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "configuration file (required)")
	cmd.Flags().StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

// runServe serves one Region until ctx ends.
func runServe(ctx context.Context, cfg config, log zerolog.Logger, ready func(net.Addr) error) (err error) {
	log = log.With().Str("region", cfg.Region).Logger()
	n, err := openNode(ctx, cfg.node(log))
	if err != nil {
		return unlessStopped(ctx, err, log)
	}
	defer func() { err = errors.Join(err, n.close()) }()
	if err := enrolSelf(ctx, n, cfg.PeerEndpoint); err != nil {
		return unlessStopped(ctx, err, log)
	}
	if err := warnOneToken(ctx, n); err != nil {
		return unlessStopped(ctx, err, log)
	}
	api := cfg.api()
	if api.others, err = openCallers(cfg.Callers, api.certificate != "", []*node{n}); err != nil {
		return err
	}
	var listeners []net.Listener
	if cfg.PeerListen != "" {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.PeerListen)
		if err != nil {
			return fmt.Errorf("peer_listen: %w", err)
		}
		listeners = append(listeners, l)
	}
	m := newMesh(ctx)
	defer func() { err = errors.Join(err, m.close()) }()
	link, err := m.startLink(n, cfg.Relay)
	if err != nil {
		return err
	}
	if link != nil {
		listeners = append(listeners, link.Listener())
	}
	err = m.start(n, listeners, func(region string) (peer.Address, error) {
		e, err := n.region.Roster().Entry(region)
		if err != nil {
			return peer.Address{}, err
		}
		if link != nil && slices.Contains(cfg.Relay.Regions, region) {
			return peer.Address{Endpoint: relayedEndpoint, Pin: e.TLSKey, Via: link}, nil
		}
		return peer.Address{Endpoint: e.Endpoint, Pin: e.TLSKey}, nil
	})
	if err != nil {
		return err
	}
	if err := m.startAdmin(n, []*node{n}, cfg.Data); err != nil {
		return err
	}
	return serveAPI(ctx, api, []*node{n}, log, ready)
}

// node is how the Region is opened.
func (c config) node(log zerolog.Logger) nodeConfig {
	return nodeConfig{
		dir: c.Data, name: c.Region, auditDir: c.AuditDir, storage: c.storage(), maxKeys: c.MaxKeys, maxAliases: c.MaxAliasesPerKey, maxGrants: c.MaxGrantsPerKey, compareEvery: c.CompareEvery,
		clock: calendar(), log: log,
		further: c.FurtherTokens, fips: c.FIPS,
		token: func(ctx context.Context) (hsmbackend.Token, error) {
			return p11.Open(ctx, c.p11(log))
		},
	}
}

// enrolSelf keeps the Region's entry of itself as its configuration says: it is what the others are given to trust.
func enrolSelf(ctx context.Context, n *node, endpoint string) error {
	e, err := n.region.Roster().Entry(n.name)
	if errors.Is(err, roster.ErrUnknownRegion) {
		keys, err := n.region.SigningKeys(ctx)
		if err != nil {
			return err
		}
		return n.region.Enrol(ctx, selfEntry(n, endpoint, keys...))
	}
	if err != nil {
		return err
	}
	_, err = n.region.Roster().VerifyKey(n.name, n.region.Ring().RSK().KeyID())
	if errors.Is(err, roster.ErrInactiveKey) {
		// It serves its clients; what it has to say to other Regions is refused until they are given another key.
		n.log.Error().Err(err).Msg("other Regions refuse this Region's signing key: antipode region rotate-rsk, then region trust there")
		err = nil
	}
	if err != nil || e.TLSKey != n.peer.Pin() {
		return fmt.Errorf("the Region is enrolled with another identity than %s and its token have: put the file back that "+
			"belongs to this store", peerFile)
	}
	if e.Endpoint == endpoint {
		return nil
	}
	e.Endpoint = endpoint
	e.Version++
	e.Own = e.Version
	return n.region.Enrol(ctx, e)
}

// selfEntry is a Region's first entry of itself, with the signing keys of all of its tokens; without any, with that of the
// token in use.
func selfEntry(n *node, endpoint string, keys ...[]byte) roster.Entry {
	if len(keys) == 0 {
		keys = [][]byte{n.region.Ring().RSK().SPKI()}
	}
	e := roster.Entry{Region: n.name, Version: 1, Own: 1, Endpoint: endpoint, TLSKey: n.peer.Pin(), Limits: defaultLimits()}
	for _, spki := range keys {
		e.RSKs = append(e.RSKs, roster.RSK{SPKI: spki, State: roster.Active, Since: 1})
	}
	return e
}

// warnOneToken tells the operator of a Region whose keys are on one token only.
func warnOneToken(ctx context.Context, n *node) error {
	h, err := n.region.Hierarchy(ctx)
	if err != nil {
		return err
	}
	if len(h.Tokens) < 2 {
		n.log.Warn().Msg("only one token holds the domain key: if it dies, every key without a replica is lost; antipode token add")
	}
	return nil
}
