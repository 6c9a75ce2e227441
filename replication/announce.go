package replication

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/canon"
	"antipode/regions/cose"
	"antipode/regions/roster"
	"antipode/replication/wire"
)

// announced is what of the roster each peer has acknowledged to this process. Nothing of it is durable: after a restart
// everybody is told again, which changes nothing where it is known.
type announced struct {
	mu    sync.Mutex
	peers map[string]*announcement
}

// announcement is one peer's.
type announcement struct {
	own       uint64 // version of this Region's entry that the peer holds
	version   uint64 // of the roster as it was when the peer took all of it
	attempts  int
	notBefore time.Time
	fault     string
}

func (a *announced) peer(name string) *announcement {
	if a.peers == nil {
		a.peers = map[string]*announcement{}
	}
	if a.peers[name] == nil {
		a.peers[name] = &announcement{}
	}
	return a.peers[name]
}

// due lists the peers that do not have all of this roster, and that it is time to tell.
func (a *announced) due(ro roster.Roster, names []string, now time.Time) (out []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range names {
		if p := a.peer(name); p.version < ro.Version && !now.Before(p.notBefore) {
			out = append(out, name)
		}
	}
	return out
}

// RunRoster tells the peers what they are to know of this Region and its partition, and brings a rotation of the
// replication signing key to its end, until ctx ends.
func (n *Node) RunRoster(ctx context.Context) {
	tick := time.NewTicker(firstBackoff)
	defer tick.Stop()
	for {
		if err := n.RosterTick(ctx); err != nil && ctx.Err() == nil {
			n.log.Error().Err(err).Msg("announce the roster")
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// RosterTick is one step of [Node.RunRoster]. Peers are told side by side; one that is silent holds up no other.
func (n *Node) RosterTick(ctx context.Context) error {
	ro := n.region.Roster()
	own, err := ro.Entry(n.region.Name())
	if errors.Is(err, roster.ErrUnknownRegion) || err == nil && own.Own == 0 {
		return nil // it has not said who it is yet
	}
	if err != nil {
		return err
	}
	var wait sync.WaitGroup
	for _, peer := range n.announced.due(ro, n.others(), n.steady()) {
		wait.Go(func() {
			one, cancel := context.WithTimeout(ctx, n.quick)
			defer cancel()
			ack, err := n.announce(one, peer, ro, own)
			n.noteAnnouncement(peer, ro, ack, err)
		})
	}
	wait.Wait()
	return n.rotateRSK(ctx, own)
}

// announce tells one peer.
func (n *Node) announce(ctx context.Context, peer string, ro roster.Roster, own roster.Entry) (*wire.RosterAck, error) {
	var m wire.Roster
	var err error
	if m.Route, err = n.newRoute(ctx, peer); err != nil {
		return nil, err
	}
	entry, errEntry := own.Encode()
	operators, errOperators := canon.Marshal(ro.Operators)
	removals, errRemovals := canon.Marshal(ro.Removals)
	if err := errors.Join(errEntry, errOperators, errRemovals); err != nil {
		return nil, err
	}
	m.Entry, m.Operators, m.Removals = entry, operators, removals
	answer, asked, _, err := n.ask(ctx, &m)
	if err != nil {
		return nil, err
	}
	ack, fits := answer.(*wire.RosterAck)
	if !fits {
		return nil, n.refuseUnsigned(ctx, peer, fmt.Errorf("%w: %s answers a roster", wire.ErrMismatch, answer.Type()))
	}
	if err := ack.Answers(asked, &m); err != nil {
		return nil, n.refuseUnsigned(ctx, peer, err)
	}
	return ack, nil
}

// noteAnnouncement keeps what a peer holds, or when it is told again: it is told until it has taken all, at most every 30 s.
func (n *Node) noteAnnouncement(peer string, ro roster.Roster, ack *wire.RosterAck, err error) {
	n.announced.mu.Lock()
	defer n.announced.mu.Unlock()
	p := n.announced.peer(peer)
	if ack != nil {
		p.own = ack.Own
	}
	if err == nil && ack.Fault == "" {
		p.version, p.attempts, p.fault = ro.Version, 0, ""
		return
	}
	p.fault = ""
	if err != nil {
		p.fault = err.Error()
	} else {
		p.fault = "it answers: " + ack.Fault
	}
	p.notBefore = n.steady().Add(min(lastBackoff, firstBackoff<<min(p.attempts, 8)))
	if p.attempts++; p.attempts == 1 {
		n.log.Warn().Str("peer", peer).Str("fault", p.fault).Msg("a peer has not acknowledged this Region's entry")
	}
}

// acknowledgedBy reports whether a peer holds this Region's entry of this version, and else what keeps it from that.
func (a *announced) acknowledgedBy(peer string, own uint64) (ok bool, fault string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.peer(peer)
	return p.own >= own, p.fault
}

// handleRoster takes over what a peer says of itself, and what the operators have decided. Each part counts by itself: one
// that is refused keeps no other from being taken, and is named in the answer.
func (n *Node) handleRoster(ctx context.Context, data []byte, m *wire.Roster) ([]byte, error) {
	_, by, err := cose.Peek(data)
	if err != nil {
		return nil, err
	}
	ack := &wire.RosterAck{Route: m.Answer(n.region.Roster().Version), Roster: wire.Hash(data)}
	var faults error
	if err := n.takeOperators(ctx, m); err != nil {
		faults = errors.Join(faults, err)
	}
	left, err := n.takeRemovals(ctx, m)
	if err != nil {
		faults = errors.Join(faults, err)
	}
	ack.Removals = uint64(left) //nolint:gosec // a count
	if err := n.takeEntry(ctx, m, by); err != nil {
		faults = errors.Join(faults, err)
	}
	ro := n.region.Roster()
	e, err := ro.Entry(m.From)
	if err != nil {
		return nil, n.refuseUnsigned(ctx, m.From, err) // it was removed just now
	}
	ack.Own = e.Own
	if set, known := ro.PresentOperators(); known {
		ack.Operators = set.Version
	}
	if faults != nil {
		ack.Fault = cut(faults.Error())
		if err := n.region.Audit().Service(ctx, n.rosterEvent("RefuseRoster", m.From, faults)); err != nil {
			return nil, err
		}
	}
	return wire.Sign(ctx, n.region.Ring().RSK(), ack)
}

// takeEntry takes a peer's entry of itself. What is known already is no event.
func (n *Node) takeEntry(ctx context.Context, m *wire.Roster, by []byte) error {
	e, err := roster.DecodeEntry(m.Entry)
	if err != nil {
		return err
	}
	if e.Region != m.From {
		return fmt.Errorf("%w: %s announces %s", wire.ErrMisrouted, m.From, e.Region)
	}
	now := n.region.Roster()
	next, err := now.WithAnnounced(e, by)
	if err != nil || next.Version == now.Version {
		return err
	}
	fingerprint, err := e.Fingerprint()
	if err != nil {
		return err
	}
	event := n.rosterEvent("UpdateRegion", m.From, nil)
	event.ServiceEventDetails = details("region", e.Region, "endpoint", e.Endpoint, "fingerprint", fingerprint)
	return n.region.Audited(ctx, event, func(*audit.Event) error {
		_, err := n.region.TakeAnnouncement(ctx, e, by)
		return err
	})
}

// takeOperators takes operator sets that follow those that are known here. The first ones are for this Region's operator.
func (n *Node) takeOperators(ctx context.Context, m *wire.Roster) error {
	var sets []roster.OperatorSet
	if err := canon.Unmarshal(m.Operators, &sets); err != nil {
		return fmt.Errorf("%w: operators: %w", wire.ErrMalformed, err)
	}
	held := n.region.Roster()
	if len(held.Operators) == 0 || len(sets) <= len(held.Operators) {
		return nil
	}
	if _, err := held.WithOperators(sets); err != nil {
		return err
	}
	event := n.rosterEvent("EnrolOperators", m.From, nil)
	return n.region.Audited(ctx, event, func(*audit.Event) error { return n.region.EnrolOperators(ctx, sets) })
}

// takeRemovals removes what a quorum has removed, and returns how many of the peer's removals are not known here.
func (n *Node) takeRemovals(ctx context.Context, m *wire.Roster) (left int, err error) {
	var list []roster.Removal
	if err := canon.Unmarshal(m.Removals, &list); err != nil {
		return 0, fmt.Errorf("%w: removals: %w", wire.ErrMalformed, err)
	}
	var faults error
	for _, r := range list {
		held := n.region.Roster()
		next, err := held.WithRemoval(r)
		if err == nil && next.Version == held.Version {
			continue
		}
		if errors.Is(err, roster.ErrUnknownRegion) {
			continue // it never was known here; there is nothing to refuse
		}
		if err == nil {
			event := n.rosterEvent("RemoveRegion", m.From, nil)
			event.ServiceEventDetails = details("peer", m.From, "subject", r.Proposal().Scope)
			err = n.region.Audited(ctx, event, func(*audit.Event) error { return n.region.Remove(ctx, r) })
		}
		if err != nil {
			faults = errors.Join(faults, err)
			left++
		}
	}
	return left, faults
}

func (n *Node) rosterEvent(name, peer string, why error) audit.Event {
	e := audit.Event{
		EventName: name, EventType: audit.TypeServiceEvent, EventTime: n.region.Now(), AWSRegion: n.region.Name(),
		UserIdentity: audit.UserIdentity{InvokedBy: "AWS Internal"}, ServiceEventDetails: details("peer", peer),
	}
	if why != nil {
		e.ErrorCode, e.ErrorMessage = "Refused", why.Error()
	}
	return e
}

// RosterWaits returns what a rotation of the replication signing key waits for, nothing if none is under way.
func (n *Node) RosterWaits(ctx context.Context) ([]string, error) {
	if _, err := n.region.RotationOfRSK(ctx); err != nil {
		if errors.Is(err, regions.ErrNotRotating) {
			return nil, nil
		}
		return nil, err
	}
	n.announced.mu.Lock()
	defer n.announced.mu.Unlock()
	return append([]string{}, n.rskWaits...), nil
}
