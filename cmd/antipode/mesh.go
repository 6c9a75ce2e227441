package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"

	"antipode/regions/roster"
	"antipode/replication"
	"antipode/replication/peer"
)

// mesh is the replication side of several Regions in one process: each has its own listener on loopback and its own
// client, and they talk by real HTTPS.
type mesh struct {
	ctx     context.Context // ends what run started; set once, by newMesh
	stop    context.CancelFunc
	wait    sync.WaitGroup
	clients []*peer.Client

	mu   sync.Mutex
	errs []error
}

// defaultLimits are what `antipode dev` allows its Regions to exchange: everything.
func defaultLimits() roster.Limits {
	return roster.Limits{Accounts: []string{"*"}, MaxOpenExchanges: 64}
}

// newMesh returns a mesh without Regions. What it runs goes on when ctx ends, until close.
func newMesh(ctx context.Context) *mesh {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	return &mesh{ctx: ctx, stop: stop}
}

// connect enrols the Regions with each other, as their operator would, and starts replication between them.
func connect(ctx context.Context, nodes []*node, data string) (_ *mesh, err error) {
	m := newMesh(ctx)
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
		err := m.start(n, listeners[i:i+1], func(region string) (peer.Address, error) {
			e, err := n.region.Roster().Entry(region)
			if err != nil {
				return peer.Address{}, err
			}
			endpoint, here := endpoints[region]
			if !here {
				return peer.Address{}, fmt.Errorf("region %s is not running", region)
			}
			return peer.Address{Endpoint: endpoint, Pin: e.TLSKey}, nil
		})
		if err != nil {
			return nil, err
		}
		if err := m.startAdmin(n, nodes, filepath.Join(data, n.name)); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// enrol writes one Region into another's roster. An entry that is there is kept, with the keys that it has.
func enrol(ctx context.Context, into, other *node) error {
	e, err := into.region.Roster().Entry(other.name)
	if errors.Is(err, roster.ErrUnknownRegion) {
		e, err = selfEntry(other, ""), nil
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

// start runs one Region's replication: its server on the listeners, its client, and its background work.
func (m *mesh) start(n *node, listeners []net.Listener, resolve peer.Resolver) error {
	client := peer.NewClient(n.peer, resolve, peer.Limits{})
	m.clients = append(m.clients, client)
	node := replication.New(replication.Config{
		Region: n.region, Peers: client, Name: n.name, Steady: steady(), Log: n.log, Compare: n.compareEvery,
	})
	if err := node.Recover(m.ctx); err != nil {
		return fmt.Errorf("region %s: recover replication: %w", n.name, err)
	}
	n.region.SetReplicator(node)
	n.exchange = node
	server := peer.NewServer(n.peer, func(pin [32]byte) (string, error) { return n.region.Roster().RegionByTLSKey(pin) },
		node.Handle, peer.Limits{}, n.log)
	for _, l := range listeners {
		m.run(func() error { return server.Serve(m.ctx, l) })
	}
	m.run(func() error {
		var announcing sync.WaitGroup
		announcing.Go(func() { node.RunRoster(m.ctx) })
		node.Run(m.ctx)
		announcing.Wait()
		return node.Close()
	})
	m.run(func() error {
		n.region.Run(m.ctx)
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
