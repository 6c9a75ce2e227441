package simtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"antipode/regions/cose"
	"antipode/replication/wire"
)

// ErrLost is what a Region sees of a message, or of its answer, that does not arrive.
var ErrLost = errors.New("lost on the way")

// Message is one message as it travelled, a request or the answer to one.
type Message struct {
	From, To string
	Type     string // the COSE type, "" if it is not such a message, or one of those of a dry run
	Answer   bool
	Data     []byte
}

// Deliver brings a message to the Region it was sent to and returns the answer.
type Deliver func(message []byte) ([]byte, error)

// Carrier decides what becomes of a request: it may deliver it as it is or altered, once, more often or never, and return
// what answer it likes. It runs in the caller's goroutine, and may be called by several at once.
type Carrier func(m Message, deliver Deliver) ([]byte, error)

// Network carries messages between the Regions of a [World].
type Network struct {
	world *World

	mu      sync.Mutex
	carrier Carrier
	log     []Message
}

// Carry makes c decide about every request from now on; nil delivers all.
func (n *Network) Carry(c Carrier) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.carrier = c
}

// Log returns all messages that were sent since the last call of Forget, in order: those that were lost too, and those
// that [Network.Send] sent.
func (n *Network) Log() []Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.log)
}

// Last returns the bytes of the last message of a type, nil if there was none.
func (n *Network) Last(typ string) []byte {
	log := n.Log()
	for i := len(log) - 1; i >= 0; i-- {
		if log[i].Type == typ {
			return log[i].Data
		}
	}
	return nil
}

// Forget empties the log.
func (n *Network) Forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log = nil
}

// Send delivers a message by hand, as if from had sent it.
func (n *Network) Send(ctx context.Context, from, to string, message []byte) ([]byte, error) {
	n.record(Message{From: from, To: to, Data: message})
	answer, err := n.world.Region(to).Node.Handle(ctx, from, message)
	if err != nil {
		return nil, err
	}
	n.record(Message{From: to, To: from, Answer: true, Data: answer})
	return answer, nil
}

func (n *Network) record(m Message) {
	m.Type, m.Data = typeOf(m.Data), slices.Clone(m.Data)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.log = append(n.log, m)
}

// The types of a dry run's messages, which are otherwise those of an Offer and an Accept.
const (
	TypeDryOffer  = wire.TypeOffer + " dry run"
	TypeDryAccept = wire.TypeAccept + " dry run"
)

func typeOf(data []byte) string {
	typ, _, err := cose.Peek(data)
	if err != nil {
		return ""
	}
	m, err := wire.Parse(data)
	if err != nil {
		return typ
	}
	switch m := m.(type) {
	case *wire.Offer:
		if m.DryRun {
			return TypeDryOffer
		}
	case *wire.Accept:
		if len(m.RAKB) == 0 {
			return TypeDryAccept
		}
	}
	return typ
}

// peers is one Region's way to the others.
type peers struct {
	net  *Network
	from string
}

// Call implements [antipode/replication.Peers].
func (p peers) Call(ctx context.Context, region string, message []byte) ([]byte, error) {
	if _, there := p.net.world.by[region]; !there {
		return nil, fmt.Errorf("%w: no way to %s", ErrLost, region)
	}
	p.net.mu.Lock()
	carrier := p.net.carrier
	p.net.mu.Unlock()
	deliver := func(data []byte) ([]byte, error) { return p.net.Send(ctx, p.from, region, data) }
	if carrier == nil {
		return deliver(message)
	}
	return carrier(Message{From: p.from, To: region, Type: typeOf(message), Data: message}, deliver)
}

// LoseRequests never delivers requests of this type.
func LoseRequests(typ string) Carrier {
	return func(m Message, deliver Deliver) ([]byte, error) {
		if m.Type == typ {
			return nil, ErrLost
		}
		return deliver(m.Data)
	}
}

// LoseAnswers delivers everything, but no answer to a request of this type.
func LoseAnswers(typ string) Carrier {
	return func(m Message, deliver Deliver) ([]byte, error) {
		answer, err := deliver(m.Data)
		if m.Type == typ {
			return nil, errors.Join(ErrLost, err)
		}
		return answer, err
	}
}

// Twice delivers requests of this type two times, one after the other, and returns the second answer.
func Twice(typ string) Carrier {
	return func(m Message, deliver Deliver) ([]byte, error) {
		if m.Type == typ {
			if _, err := deliver(m.Data); err != nil {
				return nil, err
			}
		}
		return deliver(m.Data)
	}
}
