// Package relay is the untrusted forwarder between Regions whose networks can't reach each other, and a Region's link to it.
//
//	Region A --- TLS, both pinned --- relay --- TLS, both pinned --- Region B
//	        '------------- TLS, both pinned, end to end -------------'
//
// Both Regions dial out to the relay and keep that connection; streams of it (yamux) carry the connections of package peer,
// which are TLS between the two Regions, with the keys of their rosters. So the relay forwards bytes that it can't read or
// alter without breaking the connection. It learns which Region talks to which, when and how much, and it can delay, drop
// and refuse; nothing rests on what it says.
//
// Invariants:
//   - A place at the relay belongs to a TLS key on its list: who holds another gets none, and takes nobody's.
//   - What a Region says to its relay has another ALPN name than what it says to a Region: neither passes for the other.
//   - Connections, streams, bytes in flight and silence are bounded, for the relay and for the Region.
package relay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/rs/zerolog"
)

// protocol is the ALPN name of connections between a Region and a relay.
const protocol = "antipode-relay/1"

// Limits bound what a relay, or a Region's link, does; zero fields take the defaults.
type Limits struct {
	Connections int           // open at a time, those that have not said who they are included; 256
	Streams     int           // of one Region at a time; 64
	Handshake   time.Duration // of TLS, and of a stream's beginning; 10 s
	Idle        time.Duration // a stream on which nothing moves is ended; 5 min
}

func (l Limits) withDefaults() Limits {
	if l.Connections <= 0 {
		l.Connections = 256
	}
	if l.Streams <= 0 {
		l.Streams = 64
	}
	if l.Handshake <= 0 {
		l.Handshake = 10 * time.Second
	}
	if l.Idle <= 0 {
		l.Idle = 5 * time.Minute
	}
	return l
}

// session is the settings of a connection's streams: each has at most 256 KiB in flight in each direction.
func (l Limits) session(log zerolog.Logger) *yamux.Config {
	c := yamux.DefaultConfig()
	c.AcceptBacklog = l.Streams
	c.ConnectionWriteTimeout = l.Handshake
	c.StreamOpenTimeout = l.Handshake
	c.StreamCloseTimeout = l.Handshake
	c.LogOutput = detail{log}
	return c
}

type detail struct{ log zerolog.Logger }

func (d detail) Write(p []byte) (int, error) {
	d.log.Debug().Bytes("detail", p).Msg("relay connection")
	return len(p), nil
}

// The first byte of the answer to a stream's name.
const (
	connected   = 0
	notHere     = 1 // no such Region is connected
	tooMany     = 2 // it has too many streams
	longestName = 32
)

// ErrNotConnected says that the other Region can't be reached through the relay now.
var ErrNotConnected = errors.New("not reached through the relay")

// writeName begins a stream: a length of one byte and the name of the other Region.
func writeName(w io.Writer, region string) error {
	if len(region) == 0 || len(region) > longestName {
		return fmt.Errorf("name of a Region of %d bytes", len(region))
	}
	_, err := w.Write(append([]byte{byte(len(region))}, region...)) //nolint:gosec // at most longestName
	return err
}

// readName reads no further than the name.
func readName(r io.Reader) (string, error) {
	var size [1]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return "", err
	}
	if size[0] == 0 || size[0] > longestName {
		return "", fmt.Errorf("name of a Region of %d bytes", size[0])
	}
	name := make([]byte, size[0])
	_, err := io.ReadFull(r, name)
	return string(name), err
}

// copyUntilIdle copies until an end, a fault, or idle time without a byte.
func copyUntilIdle(dst, src net.Conn, idle time.Duration, now func() time.Time) error {
	buf := make([]byte, 32<<10)
	for {
		if err := src.SetReadDeadline(now().Add(idle)); err != nil {
			return err
		}
		n, err := src.Read(buf)
		if n > 0 {
			if err := dst.SetWriteDeadline(now().Add(idle)); err != nil {
				return err
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}
