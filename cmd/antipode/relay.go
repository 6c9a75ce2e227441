package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"antipode/regions/roster"
	"antipode/replication/peer"
	"antipode/replication/relay"
)

// relayedEndpoint stands for the address of a Region that is reached through a relay; nobody looks it up.
const relayedEndpoint = "https://relayed.invalid:443"

// relayLinkConfig is a Region's part of `relay`.
type relayLinkConfig struct {
	// Address is where the relay is reached, host:port; "" for none.
	Address string `yaml:"address"`
	// TLSKey is the relay's TLS key as it printed it at its start, 64 hex digits.
	TLSKey string `yaml:"tls_key"`
	// Regions are those that are reached through it. Who reaches this one decides that for himself.
	Regions []string `yaml:"regions"`
}

func (c relayLinkConfig) validate() error {
	if c.Address == "" {
		if c.TLSKey != "" || len(c.Regions) > 0 {
			return errors.New("relay.address: missing")
		}
		return nil
	}
	var errs []error
	if _, _, err := net.SplitHostPort(c.Address); err != nil {
		errs = append(errs, fmt.Errorf("relay.address: %w", err))
	}
	if _, err := parsePin(c.TLSKey); err != nil {
		errs = append(errs, fmt.Errorf("relay.tls_key: %w", err))
	}
	for _, r := range c.Regions {
		if !roster.ValidRegion(r) {
			errs = append(errs, fmt.Errorf("relay.regions: %q is not a Region's name", r))
		}
	}
	return errors.Join(errs...)
}

// parsePin reads SHA-256 of a TLS key's SubjectPublicKeyInfo.
func parsePin(text string) (pin [32]byte, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(pin) {
		return pin, fmt.Errorf("%.80q is not a TLS key of 64 hex digits", text)
	}
	return [32]byte(raw), nil
}

// startLink connects a Region with its relay; nil if it has none.
func (m *mesh) startLink(n *node, c relayLinkConfig) (*relay.Link, error) {
	if c.Address == "" {
		return nil, nil //nolint:nilnil // it has none
	}
	pin, err := parsePin(c.TLSKey)
	if err != nil {
		return nil, err
	}
	link := relay.NewLink(n.peer, c.Address, pin, relay.Limits{}, n.log)
	m.run(func() error {
		link.Run(m.ctx)
		return nil
	})
	return link, nil
}

// relayConfig is the configuration file of `antipode relay`. Unknown fields are refused.
type relayConfig struct {
	// Listen is the address that Regions dial, like 0.0.0.0:4590.
	Listen string `yaml:"listen"`
	// Identity is the file of the relay's TLS key and certificate, an absolute path; made at the first start.
	Identity string `yaml:"identity"`
	// Regions are those that have a place, with their TLS keys as `antipode region show` prints them.
	Regions map[string]string `yaml:"regions"`
	// Connections, 256 if 0, and Streams, 64 if 0 and for each Region, bound what is open at a time.
	Connections int `yaml:"connections"`
	Streams     int `yaml:"streams"`
}

func readRelayConfig(path string) (c relayConfig, places map[string][32]byte, err error) {
	raw, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return c, nil, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil {
		return c, nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return c, nil, fmt.Errorf("%s: more than one document", path)
	}
	places = map[string][32]byte{}
	owners := map[[32]byte]string{}
	var errs []error
	for region, text := range c.Regions {
		pin, err := parsePin(text)
		if err != nil || !roster.ValidRegion(region) {
			errs = append(errs, errors.Join(fmt.Errorf("regions: %q", region), err))
		}
		if other, taken := owners[pin]; taken && err == nil {
			errs = append(errs, fmt.Errorf("regions: %s and %s have the same TLS key", region, other))
		}
		owners[pin], places[region] = region, pin
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("listen: %w", err))
	}
	if !filepath.IsAbs(c.Identity) {
		errs = append(errs, fmt.Errorf("identity: %q is not an absolute path", c.Identity))
	}
	if err := errors.Join(errs...); err != nil {
		return c, nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, places, nil
}

func relayCommand() *cobra.Command {
	var path, logLevel string
	cmd := &cobra.Command{
		Use: "relay", Args: cobra.NoArgs,
		Short: "Forward between Regions whose networks can't reach each other",
		Long: `Runs a relay, to which Regions dial out. Between the Regions goes TLS, end to end, with the keys of their rosters: the relay
sees who talks to whom, when and how much, and nothing of what. It needs no token and no store, and is trusted with nothing but
to forward; it can delay and drop. Only Regions whose TLS keys are in its configuration have a place.

It prints its own TLS key, which goes into the 'relay' of each Region's configuration, and then 'ready ADDRESS'.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				return errors.New("--config is required: the configuration file of the relay")
			}
			c, places, err := readRelayConfig(path)
			if err != nil {
				return err
			}
			log, err := newLog(logLevel)
			if err != nil {
				return err
			}
			return runRelay(cmd.Context(), c, places, log, func(pin [32]byte, a net.Addr) error {
				return printLines(cmd, fmt.Sprintf("tls_key %x", pin), "ready "+a.String())
			})
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "configuration file (required)")
	cmd.Flags().StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func runRelay(
	ctx context.Context, c relayConfig, places map[string][32]byte, log zerolog.Logger, ready func([32]byte, net.Addr) error,
) error {
	if err := ensurePeer(c.Identity, "relay"); err != nil {
		return err
	}
	raw, err := readSecretFile(c.Identity)
	if err != nil {
		return err
	}
	id, err := peer.ParsePEM(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Identity, err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := ready(id.Pin(), l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	limits := relay.Limits{Connections: c.Connections, Streams: c.Streams}
	return relay.NewServer(id, places, limits, log).Serve(ctx, l)
}
