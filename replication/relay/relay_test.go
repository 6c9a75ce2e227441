package relay

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"antipode/replication/peer"
	"antipode/replication/simtest"
)

const (
	ohio, ireland, tokyo = "us-east-2", "eu-west-1", "ap-northeast-1"
	waiting              = 30 * time.Second
)

// rig is Regions on real tokens whose messages go through a relay, by the connections that they would have in production.
type rig struct {
	*simtest.World
	relay    *Server
	relayPin [32]byte
	address  string
	ids      map[string]*peer.Identity
	links    map[string]*Link
	clients  map[string]*peer.Client
	handled  atomic.Int64
}

func newIdentity(t *testing.T, name string) *peer.Identity {
	t.Helper()
	id, err := peer.NewIdentity(name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newRig(t *testing.T, limits Limits, change func(*Server), names ...string) *rig {
	t.Helper()
	r := &rig{
		World: simtest.New(t, names...), ids: map[string]*peer.Identity{}, links: map[string]*Link{}, clients: map[string]*peer.Client{},
	}
	allowed := map[string][32]byte{}
	for _, name := range names {
		r.ids[name] = newIdentity(t, name)
		allowed[name] = r.ids[name].Pin()
	}
	id := newIdentity(t, "relay")
	r.relayPin = id.Pin()
	r.relay = NewServer(id, allowed, limits, zerolog.Nop())
	if change != nil {
		change(r.relay)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = l.Addr().String()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	running.Go(func() {
		if err := r.relay.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	})
	for _, name := range names {
		link := NewLink(r.ids[name], r.address, r.relayPin, limits, zerolog.Nop())
		r.links[name] = link
		running.Go(func() { link.Run(ctx) })
		server := peer.NewServer(r.ids[name], r.regionOf, func(ctx context.Context, from string, msg []byte) ([]byte, error) {
			r.handled.Add(1)
			return r.Region(name).Node.Handle(ctx, from, msg)
		}, peer.Limits{Handshake: 2 * time.Second, Grace: time.Second}, zerolog.Nop())
		running.Go(func() {
			if err := server.Serve(ctx, link.Listener()); err != nil {
				t.Error(err)
			}
		})
		r.clients[name] = peer.NewClient(r.ids[name], func(region string) (peer.Address, error) {
			return peer.Address{Endpoint: "https://relayed.invalid:1", Pin: r.ids[region].Pin(), Via: link}, nil
		}, peer.Limits{Connect: 3 * time.Second, Handshake: 3 * time.Second})
		t.Cleanup(r.clients[name].Close)
	}
	for _, name := range names {
		r.await(t, func() bool { return r.relay.find(name) != nil })
	}
	r.Net.Carry(func(m simtest.Message, _ simtest.Deliver) ([]byte, error) {
		return r.clients[m.From].Call(t.Context(), m.To, m.Data)
	})
	return r
}

func (r *rig) regionOf(pin [32]byte) (string, error) {
	for name, id := range r.ids {
		if id.Pin() == pin {
			return name, nil
		}
	}
	return "", peer.ErrWrongPeer
}

func (r *rig) await(t *testing.T, until func() bool) {
	t.Helper()
	for end := time.Now().Add(waiting); !until(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come to that")
		}
	}
}

// tape is all that a hostile relay sees of the connections between Regions.
type tape struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (c *tape) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.data.Write(p)
}

func (c *tape) bytes() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.data.Bytes())
}

// forwardBy forwards with what a relay does to each chunk of bytes; nil is dropped.
func forwardBy(s *Server, alter func([]byte) []byte) func(from, to string, a, b net.Conn) {
	return func(_, _ string, a, b net.Conn) {
		move := func(dst, src net.Conn) {
			defer func() { _, _ = a.Close(), b.Close() }()
			buf := make([]byte, 32<<10)
			for {
				if err := src.SetReadDeadline(s.now().Add(s.limits.Idle)); err != nil {
					return
				}
				n, err := src.Read(buf)
				if out := alter(bytes.Clone(buf[:n])); len(out) > 0 {
					if _, err := dst.Write(out); err != nil {
						return
					}
				}
				if err != nil {
					return
				}
			}
		}
		var back sync.WaitGroup
		back.Go(func() { move(a, b) })
		move(b, a)
		back.Wait()
	}
}

// Keys are replicated through a relay that reads everything, and it has learnt none of what they are called.
func TestRelayLearnsNothing(t *testing.T) {
	t.Parallel()
	var seen tape
	r := newRig(t, Limits{}, func(s *Server) {
		s.forward = forwardBy(s, func(p []byte) []byte { _, _ = seen.Write(p); return p })
	}, ohio, ireland)
	ctx := t.Context()
	a := r.Region(ohio)
	key := a.CreateKey(ctx)
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	r.Both(ctx, key, ohio, ireland)
	got := seen.bytes()
	if len(got) < 4000 {
		t.Fatalf("the relay saw %d bytes of a replication", len(got))
	}
	id, err := hex.DecodeString(strings.TrimPrefix(key, "mrk-"))
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string][]byte{
		"key id": []byte(key), "key id in bytes": id, "account": []byte(simtest.Account), "a message's type": []byte("antipode/m"),
		"a Region": []byte(ireland), "the content type": []byte("application/cose"), "policy": []byte("Statement"),
	}
	held := a.Holds(ctx, key)
	for _, m := range held.Materials {
		secrets["material id"] = []byte(m.ID)
		secrets["key token"] = m.EKT
	}
	for _, e := range held.Source {
		secrets["m3"], secrets["m1"] = e.M3[len(e.M3)-200:], e.M1[len(e.M1)-200:]
	}
	if len(secrets) < 11 {
		t.Fatalf("only %d texts to look for", len(secrets))
	}
	for what, secret := range secrets {
		if len(secret) == 0 || bytes.Contains(got, secret) {
			t.Errorf("the relay saw the %s", what)
		}
	}
}

// What a hostile relay does changes nothing but that calls fail; when it is honest again, what was begun goes on.
func TestHostileRelay(t *testing.T) {
	t.Parallel()
	for name, hostile := range map[string]func(t *testing.T, s *Server) func(from, to string, a, b net.Conn){
		"alters": func(_ *testing.T, s *Server) func(from, to string, a, b net.Conn) {
			return forwardBy(s, func(p []byte) []byte {
				if len(p) > 0 {
					p[len(p)/2] ^= 1
				}
				return p
			})
		},
		"drops": func(_ *testing.T, s *Server) func(from, to string, a, b net.Conn) {
			return forwardBy(s, func([]byte) []byte { return nil })
		},
		"cuts off": func(_ *testing.T, s *Server) func(from, to string, a, b net.Conn) {
			var n atomic.Int64
			return forwardBy(s, func(p []byte) []byte { // in the handshake of one, and later in that of the next
				return p[:len(p)-min(len(p), int(n.Add(1))%7)]
			})
		},
		"repeats": func(_ *testing.T, s *Server) func(from, to string, a, b net.Conn) {
			return forwardBy(s, func(p []byte) []byte { return append(p, p...) })
		},
		"makes up": func(_ *testing.T, s *Server) func(from, to string, a, b net.Conn) {
			return forwardBy(s, func(p []byte) []byte {
				if _, err := rand.Read(p); err != nil {
					panic(err)
				}
				return p
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var bad atomic.Bool
			r := newRig(t, Limits{Idle: time.Second}, func(s *Server) {
				honest, other := s.forward, hostile(t, s)
				s.forward = func(from, to string, a, b net.Conn) {
					if bad.Load() {
						other(from, to, a, b)
					} else {
						honest(from, to, a, b)
					}
				}
			}, ohio, ireland)
			ctx := t.Context()
			a := r.Region(ohio)
			key := a.CreateKey(ctx)
			bad.Store(true)
			if err := a.Replicate(ctx, key, ireland); err == nil {
				t.Error("replicated through a hostile relay")
			}
			if n := r.handled.Load(); n != 0 {
				t.Errorf("%d messages arrived", n)
			}
			if h := r.Region(ireland).Holds(ctx, key); h.Key != nil || len(h.Dest) > 0 {
				t.Error("something of it was taken")
			}
			bad.Store(false)
			if err := a.Replicate(ctx, key, ireland); err != nil {
				t.Fatalf("honest again: %v", err)
			}
			r.Both(ctx, key, ohio, ireland)
		})
	}
}

// A relay that brings a connection to another Region than it was for, or plays an old one again, is found out in the
// handshake: no message arrives.
func TestRelaySwapsAndReplays(t *testing.T) {
	t.Parallel()
	var seen tape
	r := newRig(t, Limits{}, func(s *Server) {
		s.forward = forwardBy(s, func(p []byte) []byte { _, _ = seen.Write(p); return p })
	}, ohio, ireland, tokyo)
	ctx := t.Context()
	key := r.Region(ohio).CreateKey(ctx)
	if err := r.Region(ohio).Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	before := r.handled.Load()
	client := peer.NewClient(r.ids[ohio], func(string) (peer.Address, error) {
		return peer.Address{Endpoint: "https://relayed.invalid:1", Pin: r.ids[ireland].Pin(), Via: astray{r.links[ohio]}}, nil
	}, peer.Limits{})
	defer client.Close()
	if _, err := client.Call(ctx, ireland, []byte("for Ireland")); !errors.Is(err, peer.ErrWrongPeer) {
		t.Errorf("brought to another Region: %v", err)
	}
	conn, err := r.links[ohio].DialRegion(ctx, ireland)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(waiting)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(seen.bytes()); err == nil {
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a replayed connection is not ended")
		}
	}
	if n := r.handled.Load(); n != before {
		t.Errorf("%d messages arrived", n-before)
	}
}

// astray dials Tokyo whoever is asked for.
type astray struct{ link *Link }

func (a astray) DialRegion(ctx context.Context, _ string) (net.Conn, error) {
	return a.link.DialRegion(ctx, tokyo)
}
