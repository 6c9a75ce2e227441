package relay

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"antipode/replication/peer"
)

// A place belongs to its TLS key: nobody else gets one, a Region that is started again takes its own, and a relay that is
// not the configured one gets no Region.
func TestPlaces(t *testing.T) {
	t.Parallel()
	r := newRig(t, Limits{}, nil, ohio, ireland)
	ctx := t.Context()
	stranger := NewLink(newIdentity(t, ohio), r.address, r.relayPin, Limits{}, zerolog.Nop()) // a key of its own, Ohio's name
	if err := stranger.connect(ctx); err == nil {
		t.Error("a stranger has a place")
	}
	mine := r.relay.find(ohio)
	imposter := NewLink(r.ids[ohio], r.address, newIdentity(t, "other").Pin(), Limits{}, zerolog.Nop())
	if err := imposter.connect(ctx); !errors.Is(err, peer.ErrWrongPeer) {
		t.Errorf("another relay than the configured one: %v", err)
	}
	if r.relay.find(ohio) != mine {
		t.Error("somebody took Ohio's place")
	}
	if _, err := r.links[ohio].DialRegion(ctx, tokyo); !errors.Is(err, ErrNotConnected) {
		t.Errorf("a Region that is not there: %v", err)
	}
	if _, err := r.links[ohio].DialRegion(ctx, ohio); !errors.Is(err, ErrNotConnected) {
		t.Errorf("itself: %v", err)
	}
	if _, err := r.links[ohio].DialRegion(ctx, strings.Repeat("a", 33)); err == nil {
		t.Error("a name that is too long")
	}
	// A Region's TLS key speaks to Regions with another protocol than to relays.
	link := NewLink(r.ids[ohio], r.address, r.relayPin, Limits{}, zerolog.Nop())
	restarted, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- link.connect(restarted) }()
	r.await(t, func() bool { return r.relay.find(ohio) != mine && r.relay.find(ohio) != nil })
	stop()
	if err := <-ended; err == nil {
		t.Error("the second link ended without a reason")
	}
	r.await(t, func() bool { // the first link has come back
		conn, err := r.links[ohio].DialRegion(ctx, ireland)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// Streams are bounded for each Region, and one on which nothing moves is ended.
func TestRelayLimits(t *testing.T) {
	t.Parallel()
	r := newRig(t, Limits{Streams: 2, Idle: 300 * time.Millisecond}, nil, ohio, ireland)
	ctx := t.Context()
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range 2 {
		c, err := r.links[ohio].DialRegion(ctx, ireland)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	if c, err := r.links[ohio].DialRegion(ctx, ireland); err == nil {
		_ = c.Close()
		t.Error("a third stream")
	}
	for _, c := range conns {
		if err := c.SetReadDeadline(time.Now().Add(waiting)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("an idle stream: %v", err)
		}
	}
	r.await(t, func() bool {
		c, err := r.links[ohio].DialRegion(ctx, ireland)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// FuzzName: what is read as a name is what was written, and no byte after it is taken.
func FuzzName(f *testing.F) {
	f.Add([]byte("\x09us-east-2rest"))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bytes.NewReader(data)
		name, err := readName(in)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := writeName(&out, name); err != nil || !bytes.Equal(out.Bytes(), data[:len(data)-in.Len()]) {
			t.Fatalf("%q: %v", name, err)
		}
	})
}
