package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"antipode/regions/roster"
	"antipode/replication"
	"antipode/replication/peer"
)

// mesh is the replication side of several Regions in one process: each has its own listener on loopback and its own
// client, and they talk by real HTTPS.
type mesh struct {
	stop    context.CancelFunc
	wait    sync.WaitGroup
	clients []*peer.Client

	mu   sync.Mutex
	errs []error
}

// defaultLimits are what `antipode dev` allows its Regions to exchange: everything.
var defaultLimits = roster.Limits{Accounts: []string{"*"}, MaxOpenExchanges: 64}

// connect enrols the Regions with each other, as their operator would, and starts replication between them.
func connect(ctx context.Context, nodes []*node, log zerolog.Logger) (_ *mesh, err error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	m := &mesh{stop: stop}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close())
		}
	}()
	for _, n := range nodes {
		for _, other := range nodes {
			if err := enrol(ctx, n, other); err != nil {
				return nil, err
			}
		}
	}
	endpoints := map[string]string{}
	var listeners []net.Listener
	for _, n := range nodes {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, l)
		endpoints[n.name] = "https://" + l.Addr().String()
	}
	for i, n := range nodes {
		if err := m.start(ctx, n, listeners[i], endpoints, log); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// enrol writes one Region into another's roster. An entry that is there is kept, with the keys that it has.
func enrol(ctx context.Context, into, other *node) error {
	e, err := into.region.Roster().Entry(other.name)
	if errors.Is(err, roster.ErrUnknownRegion) {
		e, err = roster.Entry{
			Region: other.name, Version: 1, TLSKey: other.peer.Pin(), Limits: defaultLimits,
			RSKs: []roster.RSK{{SPKI: other.region.Ring().RSK().SPKI(), State: roster.Active, Since: 1}},
		}, nil
		if err := into.region.Enrol(ctx, e); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if _, err := into.region.Roster().VerifyKey(other.name, other.region.Ring().RSK().KeyID()); err != nil || e.TLSKey != other.peer.Pin() {
		return fmt.Errorf("region %s knows %s by other keys than it has: was the folder of %s made anew? "+
			"A Region's identity can't be replaced behind the others' backs; remove both folders, or restore the old one",
			into.name, other.name, other.name)
	}
	return nil
}

// start runs one Region's replication: its server, its client and its background work.
func (m *mesh) start(ctx context.Context, n *node, l net.Listener, endpoints map[string]string, log zerolog.Logger) error {
	client := peer.NewClient(n.peer, func(region string) (peer.Address, error) {
		e, err := n.region.Roster().Entry(region)
		if err != nil {
			return peer.Address{}, err
		}
		endpoint, here := endpoints[region]
		if !here {
			return peer.Address{}, fmt.Errorf("region %s is not running", region)
		}
		return peer.Address{Endpoint: endpoint, Pin: e.TLSKey}, nil
	}, peer.Limits{})
	m.clients = append(m.clients, client)
	node := replication.New(replication.Config{
		Region: n.region, Peers: client, Name: n.name, Steady: time.Now, Log: n.log,
	})
	if err := node.Recover(ctx); err != nil {
		return fmt.Errorf("region %s: recover replication: %w", n.name, err)
	}
	n.region.SetReplicator(node)
	server := peer.NewServer(n.peer, func(pin [32]byte) (string, error) { return n.region.Roster().RegionByTLSKey(pin) },
		node.Handle, peer.Limits{}, log)
	m.run(func() error { return server.Serve(ctx, l) })
	m.run(func() error {
		node.Run(ctx)
		return node.Close()
	})
	m.run(func() error {
		n.region.Run(ctx)
		return nil
	})
	return nil
}

func (m *mesh) run(fn func() error) {
	m.wait.Go(func() {
		if err := fn(); err != nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.errs = append(m.errs, err)
		}
	})
}

// close ends replication and waits for it.
func (m *mesh) close() error {
	m.stop()
	m.wait.Wait()
	for _, c := range m.clients {
		c.Close()
	}
	return errors.Join(m.errs...)
}
