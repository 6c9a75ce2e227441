package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Handler handles one message from the Region that TLS saw, and returns the answer (1 to [MaxMessage] bytes). An error
// that is [ErrRefused] tells the peer not to come again with this message, any other to try again. Neither's text is
// sent.
type Handler func(ctx context.Context, from string, msg []byte) ([]byte, error)

// Server takes messages from the Regions of a roster.
type Server struct {
	identity *Identity
	regionOf func(pin [32]byte) (string, error)
	handle   Handler
	limits   Limits
	log      zerolog.Logger
	now      func() time.Time

	mu    sync.Mutex
	slots map[string]chan struct{} // by Region
}

// NewServer returns a server that shows identity. regionOf returns the Region with this pin, or an error if there is
// none now; it is asked for each connection and again for each message. Deadlines of connections are on the real clock,
// whatever the domain's clock says.
func NewServer(identity *Identity, regionOf func(pin [32]byte) (string, error), handle Handler, limits Limits, log zerolog.Logger) *Server {
	return &Server{
		identity: identity, regionOf: regionOf, handle: handle, limits: limits.withDefaults(), log: log,
		now:   time.Now, //nolint:forbidigo // the kernel's deadlines know no other clock
		slots: map[string]chan struct{}{},
	}
}

// Serve answers on listener, plain TCP, until ctx ends. Then it takes no more messages, gives those in flight
// [Limits].Grace to end, cancels what is left, and returns nil. It closes listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	// Calls in flight outlive ctx by the grace.
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	config := s.identity.config(func(pin [32]byte) error {
		_, err := s.regionOf(pin)
		return err
	})
	l := s.limits
	server := &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: l.Handshake, // net/http bounds the TLS handshake by it too
		WriteTimeout:      l.Handshake + l.Transfer + l.Handle + l.Transfer,
		IdleTimeout:       l.Idle,
		MaxHeaderBytes:    8 << 10,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/1.1 only
		ErrorLog:          log.New(errorLog{s.log}, "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(tls.NewListener(newBounded(listener, l.Connections), config)) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve peers: %w", err)
	case <-ctx.Done():
	}
	grace, stop := context.WithTimeout(base, l.Grace)
	defer stop()
	err := server.Shutdown(grace)
	if err != nil {
		cancel()
		err = server.Close()
	}
	if ended := <-served; err == nil && !errors.Is(ended, http.ErrServerClosed) {
		err = ended
	}
	if err != nil {
		return fmt.Errorf("stop serving peers: %w", err)
	}
	return nil
}

// errorLog passes on what net/http has to say, mostly about strangers' handshakes.
type errorLog struct{ log zerolog.Logger }

func (e errorLog) Write(p []byte) (int, error) {
	e.log.Debug().Bytes("detail", p).Msg("peer connection")
	return len(p), nil
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	from, err := s.sender(r)
	if err != nil {
		s.refuse(w, http.StatusForbidden, "", err)
		return
	}
	switch {
	case r.URL.Path != path:
		s.refuse(w, http.StatusNotFound, from, ErrRefused)
		return
	case r.Method != http.MethodPost:
		s.refuse(w, http.StatusMethodNotAllowed, from, ErrRefused)
		return
	case r.Header.Get("Content-Type") != contentType:
		s.refuse(w, http.StatusUnsupportedMediaType, from, ErrRefused)
		return
	}
	slots := s.slotsOf(from)
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	default:
		s.refuse(w, http.StatusTooManyRequests, from, errors.New("too many calls at a time"))
		return
	}
	msg, status, err := s.read(w, r)
	if err != nil {
		s.refuse(w, status, from, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.Handle)
	defer cancel()
	answer, err := s.handle(ctx, from, msg)
	switch {
	case errors.Is(err, ErrRefused):
		s.refuse(w, http.StatusUnprocessableEntity, from, err)
	case err != nil:
		s.refuse(w, http.StatusServiceUnavailable, from, err)
	case len(answer) == 0 || len(answer) > MaxMessage:
		s.refuse(w, http.StatusInternalServerError, from, fmt.Errorf("answer of %d bytes", len(answer)))
	default:
		w.Header().Set("Content-Type", contentType)
		if _, err := w.Write(answer); err != nil {
			s.log.Debug().Err(err).Str("region", from).Msg("peer answer not sent")
		}
	}
}

// read returns the message, or the status that its fault deserves.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (msg []byte, status int, err error) {
	// A deadline for the body alone: http.Server.ReadTimeout would go on to run while the handler works, and cancel it.
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(s.now().Add(s.limits.Transfer)); err != nil {
		return nil, http.StatusInternalServerError, err
	}
	msg, err = io.ReadAll(http.MaxBytesReader(w, r.Body, MaxMessage))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, http.StatusRequestEntityTooLarge, err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, http.StatusRequestTimeout, err
	}
	if err != nil {
		return nil, http.StatusBadRequest, err
	}
	if len(msg) == 0 {
		return nil, http.StatusBadRequest, errors.New("empty message")
	}
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return nil, http.StatusInternalServerError, err
	}
	return msg, 0, nil
}

// sender returns the Region whose key this connection proved, if it is in the roster still.
func (s *Server) sender(r *http.Request) (string, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) != 1 {
		return "", ErrWrongPeer
	}
	return s.regionOf(Pin(r.TLS.PeerCertificates[0]))
}

func (s *Server) slotsOf(region string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	slots := s.slots[region]
	if slots == nil {
		slots = make(chan struct{}, s.limits.PerPeer)
		s.slots[region] = slots
	}
	return slots
}

func (s *Server) refuse(w http.ResponseWriter, status int, from string, err error) {
	s.log.Info().Err(err).Str("region", from).Int("status", status).Msg("peer message refused")
	w.WriteHeader(status)
}
