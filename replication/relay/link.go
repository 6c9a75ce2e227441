package relay

import (
	"context"
	"crypto/subtle"
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

// Link is a Region's connection to a relay: by it the Region reaches others and is reached. It is safe for concurrent use.
type Link struct {
	identity *peer.Identity
	address  string
	pin      [32]byte
	limits   Limits
	log      zerolog.Logger
	now      func() time.Time

	incoming chan net.Conn
	done     chan struct{} // closed when the listener is
	once     sync.Once

	mu      sync.Mutex
	session *yamux.Session // nil while there is no connection
}

// NewLink returns a link to the relay at address (host:port) that has this TLS key (SHA-256 of its SubjectPublicKeyInfo).
// Nothing is connected before [Link.Run].
func NewLink(identity *peer.Identity, address string, pin [32]byte, limits Limits, log zerolog.Logger) *Link {
	return &Link{
		identity: identity, address: address, pin: pin, limits: limits.withDefaults(), log: log,
		now:      time.Now, //nolint:forbidigo // the kernel's deadlines know no other clock
		incoming: make(chan net.Conn), done: make(chan struct{}),
	}
}

// Pauses between attempts to connect.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 30 * time.Second
)

// Run keeps the connection until ctx ends: when it breaks it is made again, after a pause that doubles from 0.2 s to 30 s.
func (l *Link) Run(ctx context.Context) {
	pause := firstPause
	for {
		began := l.now()
		err := l.connect(ctx)
		if ctx.Err() != nil {
			return
		}
		if l.now().Sub(began) > lastPause {
			pause = firstPause
		}
		l.log.Warn().Err(err).Str("relay", l.address).Dur("pause", pause).Msg("no connection to the relay")
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// connect connects once, and takes what the relay brings until the connection ends.
func (l *Link) connect(ctx context.Context) error {
	config := l.identity.TLS(protocol, func(pin [32]byte) error {
		if subtle.ConstantTimeCompare(pin[:], l.pin[:]) != 1 {
			return peer.ErrWrongPeer
		}
		return nil
	})
	dial, cancel := context.WithTimeout(ctx, l.limits.Handshake)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(dial, "tcp", l.address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(dial); err != nil {
		return err
	}
	session, err := yamux.Client(secured, l.limits.session(l.log))
	if err != nil {
		return err
	}
	var streams sync.WaitGroup
	defer streams.Wait()
	defer func() { _ = session.Close() }()
	defer context.AfterFunc(ctx, func() { _ = session.Close() })()
	l.use(session)
	defer l.use(nil)
	l.log.Info().Str("relay", l.address).Msg("connected to the relay")
	slots := make(chan struct{}, l.limits.Streams)
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			return err
		}
		select {
		case slots <- struct{}{}:
		default: // more than anybody needs who means well
			_ = stream.Close()
			continue
		}
		streams.Go(func() {
			defer func() { <-slots }()
			l.deliver(ctx, stream)
		})
	}
}

// deliver gives a stream to whoever accepts on the listener. The name that the relay gives says nothing: TLS does.
func (l *Link) deliver(ctx context.Context, stream net.Conn) {
	err := stream.SetDeadline(l.now().Add(l.limits.Handshake))
	if err == nil {
		_, err = readName(stream)
	}
	if err = errors.Join(err, stream.SetDeadline(time.Time{})); err != nil {
		_ = stream.Close()
		return
	}
	timeout := time.NewTimer(l.limits.Handshake)
	defer timeout.Stop()
	select {
	case l.incoming <- stream:
		return
	case <-ctx.Done():
	case <-l.done:
	case <-timeout.C:
	}
	_ = stream.Close()
}

func (l *Link) use(s *yamux.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session = s
}

// DialRegion connects to a Region through the relay; what comes back is as a TCP connection to it would be. It returns
// [ErrNotConnected] if the relay, or by its word the Region, is not there.
func (l *Link) DialRegion(ctx context.Context, region string) (_ net.Conn, err error) {
	l.mu.Lock()
	session := l.session
	l.mu.Unlock()
	if session == nil {
		return nil, fmt.Errorf("%w: no connection to the relay", ErrNotConnected)
	}
	stream, err := session.OpenStream()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	defer func() {
		if err != nil {
			_ = stream.Close()
		}
	}()
	// A context that ends ends the waiting, and nothing after it.
	waiting := context.AfterFunc(ctx, func() { _ = stream.Close() })
	if err := stream.SetDeadline(l.now().Add(l.limits.Handshake)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotConnected, err)
	}
	var answer [1]byte
	err = writeName(stream, region)
	if err == nil {
		_, err = stream.Read(answer[:])
	}
	switch {
	case !waiting():
		return nil, fmt.Errorf("%w: %w", ErrNotConnected, ctx.Err())
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNotConnected, err)
	case answer[0] == tooMany:
		return nil, fmt.Errorf("%w: too many connections", ErrNotConnected)
	case answer[0] != connected:
		return nil, fmt.Errorf("%w: the relay does not know %s now", ErrNotConnected, region)
	}
	return stream, stream.SetDeadline(time.Time{})
}

// Listener returns the listener of what other Regions connect to this one through the relay.
func (l *Link) Listener() net.Listener { return linkListener{l} }

type linkListener struct{ *Link }

// Accept waits for a connection.
func (l linkListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. Connections go on.
func (l linkListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr is the relay's address as it was given.
func (l linkListener) Addr() net.Addr { return address(l.address) }

type address string

// Network implements net.Addr.
func (address) Network() string { return "relay" }

// String implements net.Addr.
func (a address) String() string { return string(a) }
