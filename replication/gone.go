package replication

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/keyset"
	"antipode/replication/wire"
)

// unsaid returns the tombstones of replicas whose primary is still to be told, by primary; only those that are due.
func (n *Node) unsaid(ctx context.Context) (map[string][]regions.Tombstone, error) {
	var graves []regions.Tombstone
	err := n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
		graves, err = regions.List[regions.Tombstone](ctx, rd, n.region.Ring(), regions.Query{
			Kind: regions.KindTombstone, DueBy: 1<<62 - 1, Limit: maxDue,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(graves, func(a, b regions.Tombstone) int { return cmp.Compare(a.Due, b.Due) })
	now := n.region.Now()
	byPeer := map[string][]regions.Tombstone{}
	for _, t := range graves {
		// One that is due later than any attempt is put off was put off before the clock was set back.
		if t.Primary != "" && (t.Due <= now.UnixMilli() || t.Due > now.Add(lastBackoff).UnixMilli()) {
			byPeer[t.Primary] = append(byPeer[t.Primary], t)
		}
	}
	return byPeer, nil
}

// tellAll tells one primary of the replicas that were deleted, oldest first, until it can't be told.
func (n *Node) tellAll(ctx context.Context, list []regions.Tombstone) error {
	for _, t := range list {
		one, cancel := context.WithTimeout(ctx, n.quick)
		err := n.tell(one, t)
		cancel()
		if err == nil {
			continue
		}
		n.log.Warn().Err(err).Str("key", t.KeyID).Str("peer", t.Primary).Uint32("attempts", t.Attempts+1).
			Msg("the primary does not know yet that its replica was deleted")
		wait := lastBackoff
		if t.Attempts < 8 {
			wait = min(wait, firstBackoff<<t.Attempts)
		}
		err2 := n.changeGrave(ctx, t, func(t *regions.Tombstone) {
			t.Attempts++
			t.Due = n.region.Now().Add(wait).UnixMilli()
		})
		if errors.Is(err, errLater) {
			return err2
		}
		return fmt.Errorf("tell %s that %s was deleted: %w", t.Primary, t.KeyID, errors.Join(err, err2))
	}
	return nil
}

// tell sends the message that a replica was deleted, the same bytes each time, and takes the acknowledgement.
func (n *Node) tell(ctx context.Context, t regions.Tombstone) error {
	route := wire.Route{ExchangeID: t.Incarnation, From: n.region.Name(), To: t.Primary, RosterVersion: n.region.Roster().Version}
	if len(t.Gone) == 0 {
		message, err := wire.Sign(ctx, n.region.Ring().RSK(), &wire.Gone{
			Route: route, Account: t.Account, KeyID: t.KeyID, Incarnation: t.Incarnation, Epoch: t.Epoch, Sequence: t.Sequence,
		})
		if err != nil {
			return err
		}
		if err := n.changeGrave(ctx, t, func(t *regions.Tombstone) { t.Gone = message }); err != nil {
			return err
		}
		t.Gone = message
	}
	answer, err := n.peers.Call(ctx, t.Primary, t.Gone)
	if err != nil {
		return fmt.Errorf("%w: %w", errLater, err)
	}
	m, err := wire.Open(answer, n.region.Name(), n.region.Roster())
	if err == nil {
		switch m := m.(type) {
		case *wire.GoneAck:
			if err = m.Answers(t.Gone, route); err == nil {
				return n.told(ctx, t, answer)
			}
		case *wire.Refusal:
			if err = m.Answers(t.Gone, route); err == nil {
				return n.redirect(ctx, t, m)
			}
		default:
			err = fmt.Errorf("%w: %s is no answer", wire.ErrMismatch, m.Type())
		}
	}
	return fmt.Errorf("%w: answer of %s: %w", errLater, t.Primary, n.refuseUnsigned(ctx, t.Primary, err))
}

// redirect finds out from a refusal which Region is the primary now, and lets that one be told next. Without a certified
// state newer than the one that was held at last it is tried again where it was.
func (n *Node) redirect(ctx context.Context, t regions.Tombstone, m *wire.Refusal) error {
	later := fmt.Errorf("%w: %s answers %s: %s", errLater, t.Primary, m.Code, m.Message)
	if len(m.State) == 0 {
		return later
	}
	ro := n.region.Roster()
	head, err := keyset.VerifyChain(m.Chain, nil, ro)
	if err != nil {
		return fmt.Errorf("%w: %w", later, err)
	}
	s, err := keyset.OpenState(m.State, head, ro)
	if err != nil {
		return fmt.Errorf("%w: %w", later, err)
	}
	if s.Account != t.Account || s.KeyID != t.KeyID || s.Epoch.Compare(t.Epoch) <= 0 || s.Primary == t.Primary || s.Primary == n.region.Name() {
		return fmt.Errorf("%w: the state of %s at %v tells of no other primary", later, s.KeyID, s.Epoch)
	}
	n.log.Info().Str("key", t.KeyID).Str("peer", t.Primary).Str("primary", s.Primary).Msg("the key has another primary, which is told of the deletion")
	return n.changeGrave(ctx, t, func(t *regions.Tombstone) {
		t.Primary, t.Gone, t.Attempts, t.Due = s.Primary, nil, 0, max(n.region.Now().UnixMilli(), 1)
	})
}

// told ends the telling. The acknowledgement is on record before; a repeat after a crash is recorded again.
func (n *Node) told(ctx context.Context, t regions.Tombstone, ack []byte) error {
	hash := wire.Hash(ack)
	e := n.replicaEvent("ReplicaDeletionReceipt", t.Account, t.KeyID)
	e.AWSRegion, e.EventTime = n.region.Name(), n.region.Now()
	e.ServiceEventDetails = details("peer", t.Primary, "incarnation", hex.EncodeToString(t.Incarnation[:]),
		"receiptSha384", hex.EncodeToString(hash[:]))
	if err := n.region.Audit().Service(ctx, e); err != nil {
		return err
	}
	return n.changeGrave(ctx, t, func(t *regions.Tombstone) { t.Gone, t.Due = nil, 0 })
}

// changeGrave changes what is still to be done for a tombstone.
func (n *Node) changeGrave(ctx context.Context, t regions.Tombstone, change func(*regions.Tombstone)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.quick)
	defer cancel()
	return n.region.Update(ctx, func(tx regions.Tx) error {
		now, err := regions.Get[regions.Tombstone](ctx, tx, n.region.Ring(), t.RecordKey())
		if err != nil {
			return err
		}
		change(&now)
		return regions.Put(ctx, tx, n.region.Ring(), now)
	})
}

func (n *Node) replicaEvent(name, account, keyID string) audit.Event {
	return audit.Event{
		EventName: name, EventType: audit.TypeServiceEvent,
		UserIdentity:       audit.UserIdentity{AccountID: account, InvokedBy: "AWS Internal"},
		RecipientAccountID: account,
		Resources:          []audit.Resource{{ARN: n.region.KeyARN(account, keyID), AccountID: account}},
	}
}

// errNoEffect says that there is nothing to be done for a message.
var errNoEffect = errors.New("the key set has no such replica")

// handleGone takes a replica that was deleted out of its key set, and acknowledges it. What names a key or an incarnation
// that is not in a key set of this Region is acknowledged too: there is nothing left to tell.
func (n *Node) handleGone(ctx context.Context, data []byte, g *wire.Gone) ([]byte, error) {
	err := n.region.Store().View(ctx, func(rd regions.Reader) error {
		return n.checkGone(ctx, rd, g)
	})
	e := n.replicaEvent("ReplicaDeleted", g.Account, g.KeyID)
	e.ServiceEventDetails = details("peer", g.From, "incarnation", hex.EncodeToString(g.Incarnation[:]))
	if err == nil {
		err = n.region.Audited(ctx, e, func(*audit.Event) error { return n.removeGone(ctx, g) })
	} else if errors.Is(err, errNoEffect) {
		e.AWSRegion, e.EventTime, e.ErrorCode, e.ErrorMessage = n.region.Name(), n.region.Now(), "NoEffect", err.Error()
		if err := n.region.Audit().Service(ctx, e); err != nil {
			return nil, err
		}
	}
	var refusal *regions.Error
	switch {
	case err == nil, errors.Is(err, errNoEffect):
		return wire.Sign(ctx, n.region.Ring().RSK(), &wire.GoneAck{Route: g.Answer(n.region.Roster().Version), Gone: wire.Hash(data)})
	case errors.As(err, &refusal):
		if err := n.region.Audit().Service(ctx, n.refusalEvent(g.From, g.Account, g.KeyID, "", refusal)); err != nil {
			return nil, err
		}
		r := &wire.Refusal{
			Route: g.Answer(n.region.Roster().Version), Refuses: wire.Hash(data), Code: refusal.Code, Message: cut(refusal.Message),
		}
		if refusal.Code == wire.CodeNotPrimary {
			n.showState(ctx, g.Account, g.KeyID, r)
		}
		return wire.Sign(ctx, n.region.Ring().RSK(), r)
	}
	return nil, err
}

// checkGone returns nil if the message's sender is a member of the key's set by the incarnation that is gone, errNoEffect
// if it is not, and an [*regions.Error] if this Region can't say.
func (n *Node) checkGone(ctx context.Context, rd regions.Reader, g *wire.Gone) error {
	k, err := regions.Get[regions.Key](ctx, rd, n.region.Ring(), regions.Key{Account: g.Account, KeyID: g.KeyID}.RecordKey())
	if errors.Is(err, regions.ErrNoRecord) {
		return errNoEffect
	}
	if err != nil {
		return err
	}
	if k.MultiRegion == nil || k.MultiRegion.State == nil || k.MultiRegion.State.Primary != n.region.Name() {
		return regions.Errorf(wire.CodeNotPrimary, "%s is not the primary of %s", n.region.Name(), g.KeyID)
	}
	if to := k.MultiRegion.HandingTo; to != "" {
		return regions.Errorf(regions.CodeInvalidState, "%s is being handed over to %s", g.KeyID, to) // who is the primary is told later
	}
	s := k.MultiRegion.State
	if m, member := s.Member(g.From); !member || m.Incarnation != g.Incarnation {
		return errNoEffect
	}
	if cmp.Or(g.Epoch.Compare(s.Epoch), cmp.Compare(g.Sequence, s.Sequence)) > 0 {
		// It held a state that this Region never made, or has lost: nothing may be built on what is here.
		return regions.Errorf(regions.CodeInvalidState, "%s held state %v/%d of %s, and %s is at %v/%d",
			g.From, g.Epoch, g.Sequence, g.KeyID, n.region.Name(), s.Epoch, s.Sequence)
	}
	return nil
}

// removeGone takes the sender out of the key set, with the record of the exchange that made its replica; should that still
// wait for its receipt, it is ended. If it was the last replica of a key that waited for this, the key's own waiting period begins.
func (n *Node) removeGone(ctx context.Context, g *wire.Gone) error {
	return n.region.Update(ctx, func(tx regions.Tx) error {
		if err := n.checkGone(ctx, tx, g); err != nil {
			return err
		}
		_, err := n.region.ChangeShared(ctx, tx, g.Account, g.KeyID, func(_ *regions.Key, s *keyset.State) error {
			s.Members = slices.DeleteFunc(s.Members, func(m keyset.Member) bool { return m.Region == g.From })
			return nil
		})
		if err != nil {
			return err
		}
		e := SourceExchange{ID: g.Incarnation, Order: regions.ReplicaOrder{Account: g.Account, KeyID: g.KeyID}}
		e, err = regions.Get[SourceExchange](ctx, tx, n.region.Ring(), e.RecordKey())
		if errors.Is(err, regions.ErrNoRecord) {
			return nil
		}
		if err != nil {
			return err
		}
		if !e.open() {
			return tx.Delete(ctx, e.RecordKey())
		}
		e.Step, e.Due, e.Code, e.Message = StepFailed, 0, wire.CodeReplicaDeleted, "The replica was deleted."
		return regions.Put(ctx, tx, n.region.Ring(), e)
	})
}
