package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/rs/zerolog"

	"antipode/replication/peer"
)

// Server is a relay.
type Server struct {
	identity *peer.Identity
	allowed  map[[32]byte]string // TLS key -> Region
	limits   Limits
	log      zerolog.Logger
	now      func() time.Time
	// forward moves the bytes of one connection between two Regions until it ends. A test puts a hostile one here.
	forward func(from, to string, a, b net.Conn)

	mu     sync.Mutex
	places map[string]*place
}

// place is a Region that is connected.
type place struct {
	session *yamux.Session
	streams chan struct{} // one slot for each open stream, of whichever side began it
}

// NewServer returns a relay that shows identity and has a place for each of these Regions, whose TLS keys (SHA-256 of the
// SubjectPublicKeyInfo) are given.
func NewServer(identity *peer.Identity, allowed map[string][32]byte, limits Limits, log zerolog.Logger) *Server {
	s := &Server{
		identity: identity, allowed: map[[32]byte]string{}, limits: limits.withDefaults(), log: log,
		now:    time.Now, //nolint:forbidigo // the kernel's deadlines know no other clock
		places: map[string]*place{},
	}
	for region, pin := range allowed {
		s.allowed[pin] = region
	}
	s.forward = func(_, _ string, a, b net.Conn) { s.pipe(a, b) }
	return s
}

// Serve takes connections on l, plain TCP, until ctx ends; then it ends them all, waits, and returns nil. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	end := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer end()
	slots := make(chan struct{}, s.limits.Connections)
	for {
		select {
		case slots <- struct{}{}: // further connections wait in the kernel's queue
		case <-ctx.Done():
			return nil
		}
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if conn != nil {
				_ = conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve relay: %w", err)
		}
		conns.Go(func() {
			defer func() { <-slots }()
			defer func() { _ = conn.Close() }()
			if err := s.serve(ctx, conn); err != nil {
				s.log.Info().Err(err).Str("address", conn.RemoteAddr().String()).Msg("relay connection ended")
			}
		})
	}
}

// serve gives a connection its place, and opens what it asks for, until it ends.
func (s *Server) serve(ctx context.Context, conn net.Conn) error {
	config := s.identity.TLS(protocol, func(pin [32]byte) error {
		if _, known := s.allowed[pin]; !known {
			return peer.ErrWrongPeer
		}
		return nil
	})
	secured := tls.Server(conn, config)
	handshake, cancel := context.WithTimeout(ctx, s.limits.Handshake)
	err := secured.HandshakeContext(handshake)
	cancel()
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	region := s.allowed[peer.Pin(secured.ConnectionState().PeerCertificates[0])]
	session, err := yamux.Server(secured, s.limits.session(s.log))
	if err != nil {
		return err
	}
	var streams sync.WaitGroup
	defer streams.Wait()
	p := &place{session: session, streams: make(chan struct{}, s.limits.Streams)}
	s.take(region, p)
	defer s.leave(region, p)
	defer context.AfterFunc(ctx, func() { _ = session.Close() })()
	s.log.Info().Str("region", region).Msg("region connected to the relay")
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			return err
		}
		streams.Go(func() {
			defer func() { _ = stream.Close() }()
			if err := s.connect(region, p, stream); err != nil {
				s.log.Debug().Err(err).Str("region", region).Msg("relay stream")
			}
		})
	}
}

// take gives a Region its place. An older connection of the same key is ended: the Region was started again, or its network
// has broken off without a word.
func (s *Server) take(region string, p *place) {
	s.mu.Lock()
	old := s.places[region]
	s.places[region] = p
	s.mu.Unlock()
	if old != nil {
		_ = old.session.Close()
	}
}

func (s *Server) leave(region string, p *place) {
	_ = p.session.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.places[region] == p {
		delete(s.places, region)
	}
}

func (s *Server) find(region string) *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.places[region]
}

// connect brings a stream to the Region that it names.
func (s *Server) connect(from string, p *place, stream net.Conn) error {
	if err := stream.SetDeadline(s.now().Add(s.limits.Handshake)); err != nil {
		return err
	}
	to, err := readName(stream)
	if err != nil {
		return err
	}
	target := s.find(to)
	if target == nil || to == from {
		_, err := stream.Write([]byte{notHere})
		return err
	}
	for _, side := range []*place{p, target} {
		select {
		case side.streams <- struct{}{}:
			defer func() { <-side.streams }()
		default:
			_, err := stream.Write([]byte{tooMany})
			return err
		}
	}
	other, err := target.session.OpenStream()
	if err != nil {
		_, writeErr := stream.Write([]byte{notHere})
		return errors.Join(err, writeErr)
	}
	defer func() { _ = other.Close() }()
	if err := other.SetDeadline(s.now().Add(s.limits.Handshake)); err != nil {
		return err
	}
	if err := writeName(other, from); err != nil {
		return err
	}
	if _, err := stream.Write([]byte{connected}); err != nil {
		return err
	}
	s.forward(from, to, stream, other)
	return nil
}

// pipe forwards both ways until one side ends, or nothing moves for too long.
func (s *Server) pipe(a, b net.Conn) {
	var back sync.WaitGroup
	back.Go(func() {
		_ = copyUntilIdle(a, b, s.limits.Idle, s.now)
		_ = errors.Join(a.Close(), b.Close())
	})
	_ = copyUntilIdle(b, a, s.limits.Idle, s.now)
	_ = errors.Join(a.Close(), b.Close())
	back.Wait()
}
