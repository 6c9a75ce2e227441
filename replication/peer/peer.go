// Package peer carries one signed message from a Region to another, and the answer back, over mutual TLS 1.3.
//
// Invariants:
//   - Each side proves a key whose SHA-256 the other has in its roster; there is no certificate authority, and names and
//     dates in certificates mean nothing. A Region that leaves the roster is refused from its next message on.
//   - Bytes are carried, not understood: whoever handles a message verifies its own signature, and that its sender is the
//     Region that TLS saw. Nothing secret depends on this package.
//   - Sizes, times of every phase, connections and calls per peer are bounded on both sides.
//   - No proxies, redirects, compression or cookies; one path, one method, one content type.
package peer

import (
	"errors"
	"time"
)

const (
	path        = "/antipode/v1/message"
	contentType = "application/cose"
)

// MaxMessage is the largest message or answer in bytes.
const MaxMessage = 512 << 10

var (
	// ErrUnreachable says that the message may or may not have arrived and there is no answer. Send the same bytes again
	// later.
	ErrUnreachable = errors.New("peer is unreachable")
	// ErrRefused says that the peer will not take the message. A handler returns it to refuse without a signed answer.
	ErrRefused = errors.New("peer refused the message")
	// ErrWrongPeer says that what answers at the endpoint is not the Region: another key than the roster's.
	ErrWrongPeer = errors.New("endpoint is not that of the region")
)

// Limits bound both sides. The zero value of a field is its default.
type Limits struct {
	Connect   time.Duration // TCP connection; 5 s
	Handshake time.Duration // TLS handshake, and the time for a request's header; 5 s
	Transfer  time.Duration // sending or receiving one message; 15 s
	Handle    time.Duration // from a message's last byte to the first of the answer: work on the token; 60 s
	Idle      time.Duration // life of an unused connection; 60 s
	Grace     time.Duration // for calls in flight when a server ends; 10 s
	// PerPeer is the number of calls at a time to or from one Region; 8.
	PerPeer int
	// Connections is the number that a server holds open over all peers, strangers in their handshake included; 256.
	Connections int
}

func (l Limits) withDefaults() Limits {
	or := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	or(&l.Connect, 5*time.Second)
	or(&l.Handshake, 5*time.Second)
	or(&l.Transfer, 15*time.Second)
	or(&l.Handle, time.Minute)
	or(&l.Idle, time.Minute)
	or(&l.Grace, 10*time.Second)
	if l.PerPeer <= 0 {
		l.PerPeer = 8
	}
	if l.Connections <= 0 {
		l.Connections = 256
	}
	return l
}
