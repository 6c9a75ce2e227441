package peer

import (
	"bytes"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
)

// Address is where a Region is reached and how it is known.
type Address struct {
	Endpoint string   // "https://host:port"
	Pin      [32]byte // of its certificate
	// Via connects to the Region where Endpoint can't be reached from here; nil: Endpoint is dialled. It must be comparable.
	Via Via
}

// Via connects to a Region by another way than by its endpoint. What comes back carries TLS as a TCP connection would.
type Via interface {
	DialRegion(ctx context.Context, region string) (net.Conn, error)
}

// Resolver returns the present address of a Region. Its errors are returned wrapped, together with [ErrRefused].
type Resolver func(region string) (Address, error)

// Client sends messages to the Regions of a roster. It is safe for concurrent use. Close it when done.
type Client struct {
	identity *Identity
	resolve  Resolver
	limits   Limits

	mu     sync.Mutex
	peers  map[string]*route
	slots  map[string]chan struct{} // by Region: they outlive a change of address
	closed bool
}

// route is the connections to one Region at one address.
type route struct {
	address   Address
	transport *http.Transport
}

// NewClient returns a client that shows identity to all it calls.
func NewClient(identity *Identity, resolve Resolver, limits Limits) *Client {
	return &Client{
		identity: identity, resolve: resolve, limits: limits.withDefaults(),
		peers: map[string]*route{}, slots: map[string]chan struct{}{},
	}
}

// Close ends the idle connections; calls in flight go on, new ones fail. It is idempotent.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, r := range c.peers {
		r.transport.CloseIdleConnections()
	}
	c.peers = map[string]*route{}
}

// Call sends msg (1 to [MaxMessage] bytes) to a Region and returns its answer. It waits for a free slot among the calls
// to that Region, and for the answer, until ctx ends or the limits are reached. It returns [ErrUnreachable],
// [ErrRefused], [ErrWrongPeer], or ctx's error, wrapped together with [ErrUnreachable]. When it gives up, it hangs up, and
// the context of the peer's handler ends.
func (c *Client) Call(ctx context.Context, region string, msg []byte) ([]byte, error) {
	answer, err := c.call(ctx, region, msg)
	// When ctx ends we hang up, the server notices, and its last word may still overtake the news of that in here.
	if gone := ctx.Err(); gone != nil && errors.Is(err, ErrUnreachable) && !errors.Is(err, gone) {
		err = fmt.Errorf("%w: %w", err, gone)
	}
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", region, err)
	}
	return answer, nil
}

func (c *Client) call(ctx context.Context, region string, msg []byte) ([]byte, error) {
	if len(msg) == 0 || len(msg) > MaxMessage {
		return nil, fmt.Errorf("%w: message of %d bytes", ErrRefused, len(msg))
	}
	address, err := c.resolve(region)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	r, slots, err := c.route(region, address)
	if err != nil {
		return nil, err
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, ctx.Err())
	}
	l := c.limits
	ctx, cancel := context.WithTimeout(ctx, l.Connect+l.Handshake+l.Transfer+l.Handle+l.Transfer)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address.Endpoint+path, bytes.NewReader(msg))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "antipode")
	// Messages are told apart by their contents, so the transport may repeat one when a kept connection turns out dead.
	// A key with no value says so to net/http and is not sent.
	req.Header["Idempotency-Key"] = nil
	resp, err := r.transport.RoundTrip(req) // not http.Client: it would follow redirects
	if err != nil {
		return nil, classify(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return read(resp)
}

// read returns the answer in resp, or the error that its status means. The body of an error is not looked at.
func read(resp *http.Response) ([]byte, error) {
	switch {
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout ||
		resp.StatusCode >= 500:
		return nil, fmt.Errorf("%w: status %d", ErrUnreachable, resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: status %d", ErrRefused, resp.StatusCode)
	case resp.Header.Get("Content-Type") != contentType:
		return nil, fmt.Errorf("%w: answer of another content type", ErrRefused)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, MaxMessage+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	case len(answer) > MaxMessage:
		return nil, fmt.Errorf("%w: answer larger than %d bytes", ErrRefused, MaxMessage)
	case len(answer) == 0:
		return nil, fmt.Errorf("%w: empty answer", ErrRefused)
	}
	return answer, nil
}

func classify(err error) error {
	if errors.Is(err, ErrWrongPeer) {
		return err
	}
	// A TLS alert from the other side: it does not know our key.
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "remote error" {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// route returns the connections to a Region at its present address, dropping those to another one.
func (c *Client) route(region string, address Address) (*route, chan struct{}, error) {
	u, err := url.Parse(address.Endpoint)
	if err != nil || u.Scheme != "https" || u.Port() == "" || u.Path != "" {
		return nil, nil, fmt.Errorf("%w: endpoint is not https://host:port", ErrRefused)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, fmt.Errorf("%w: the client is closed", ErrUnreachable)
	}
	slots := c.slots[region]
	if slots == nil {
		slots = make(chan struct{}, c.limits.PerPeer)
		c.slots[region] = slots
	}
	r := c.peers[region]
	if r == nil || r.address != address {
		if r != nil {
			r.transport.CloseIdleConnections()
		}
		r = &route{address: address, transport: c.transport(region, address)}
		c.peers[region] = r
	}
	return r, slots, nil
}

func (c *Client) transport(region string, address Address) *http.Transport {
	config := c.identity.config(func(pin [32]byte) error {
		if subtle.ConstantTimeCompare(pin[:], address.Pin[:]) != 1 {
			return ErrWrongPeer
		}
		return nil
	})
	dialer := &net.Dialer{Timeout: c.limits.Connect}
	dial := dialer.DialContext
	if address.Via != nil {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, c.limits.Connect)
			defer cancel()
			return address.Via.DialRegion(ctx, region)
		}
	}
	return &http.Transport{
		Proxy:                  nil, // never from the environment
		DialContext:            dial,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    c.limits.Handshake,
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1 only
		ResponseHeaderTimeout:  c.limits.Handle + c.limits.Transfer,
		IdleConnTimeout:        c.limits.Idle / 2, // before the server does
		MaxConnsPerHost:        c.limits.PerPeer,
		MaxIdleConnsPerHost:    c.limits.PerPeer,
		MaxResponseHeaderBytes: 8 << 10,
		DisableCompression:     true,
	}
}
