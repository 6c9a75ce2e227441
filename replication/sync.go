package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/regions/roster"
	"antipode/replication/wire"
)

// Push sends the shared state of a key that this Region holds to a member, and returns what it then holds: the same
// state, or a higher one that this Region lacks. It returns [regions.ErrUnknownKey] if the key is not here.
func (n *Node) Push(ctx context.Context, to, account, keyID string) (*wire.SyncAck, error) {
	ack, _, err := n.push(ctx, to, account, keyID)
	return ack, err
}

func (n *Node) push(ctx context.Context, to, account, keyID string) (*wire.SyncAck, []byte, error) {
	if err := n.CanReach(ctx, to, account); err != nil {
		return nil, nil, err
	}
	k, _, err := n.holding(ctx, account, keyID)
	if err != nil {
		return nil, nil, err
	}
	s := &wire.Sync{Account: account, KeyID: keyID, State: k.MultiRegion.Signed, Chain: k.MultiRegion.Certificates}
	if s.Receipt, err = n.lastReceipt(ctx, to, account, keyID); err != nil {
		return nil, nil, err
	}
	if s.Route, err = n.newRoute(ctx, to); err != nil {
		return nil, nil, err
	}
	m, asked, answer, err := n.ask(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	ack, fits := m.(*wire.SyncAck)
	if !fits {
		return nil, nil, n.refuseUnsigned(ctx, to, fmt.Errorf("%w: %s answers a state", wire.ErrMismatch, m.Type()))
	}
	if err := ack.Answers(asked, s); err != nil {
		return nil, nil, n.refuseUnsigned(ctx, to, err)
	}
	return ack, answer, nil
}

// lastReceipt returns the newest receipt of a Region's for a key, nil if there is none.
func (n *Node) lastReceipt(ctx context.Context, of, account, keyID string) ([]byte, error) {
	var all []SourceExchange
	err := n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
		all, err = regions.List[SourceExchange](ctx, rd, n.region.Ring(), regions.Query{
			Kind: regions.KindSourceEx, Account: account, ID: keyID,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return newestReceipt(all, of), nil
}

// newestReceipt returns a Region's newest receipt of the exchanges of one key, nil if there is none.
func newestReceipt(all []SourceExchange, of string) (data []byte) {
	var newest *wire.Receipt
	for _, e := range all {
		if e.Order.Region != of || e.Step != StepFinished {
			continue
		}
		r, err := parse[*wire.Receipt](e.M4)
		if err != nil {
			continue // the answer that took a receipt's place
		}
		if newest == nil || r.Epoch.Compare(newest.Epoch) > 0 || r.Epoch == newest.Epoch && r.Sequence > newest.Sequence {
			newest, data = r, e.M4
		}
	}
	return data
}

// newRoute is the route of a question of this Region's.
func (n *Node) newRoute(ctx context.Context, to string) (wire.Route, error) {
	id, err := n.region.Ring().Token().Random(ctx, 16)
	if err != nil {
		return wire.Route{}, err
	}
	return wire.Route{ExchangeID: [16]byte(id), From: n.region.Name(), To: to, RosterVersion: n.region.Roster().Version}, nil
}

// RefusedError is a peer's signed refusal of a question.
type RefusedError struct {
	Region, Code, Message string
}

// Error implements error.
func (e *RefusedError) Error() string { return e.Region + " refuses: " + e.Code + ": " + e.Message }

// ask sends a question and opens the answer, which must be from the Region that was asked. It returns the question as it
// was sent and the answer as it came, or a *RefusedError.
func (n *Node) ask(ctx context.Context, question wire.Message) (m wire.Message, asked, answer []byte, err error) {
	route := question.Header()
	if asked, err = wire.Sign(ctx, n.region.Ring().RSK(), question); err != nil {
		return nil, nil, nil, err
	}
	if answer, err = n.peers.Call(ctx, route.To, asked); err != nil {
		return nil, nil, nil, err
	}
	if m, err = wire.Open(answer, n.region.Name(), n.region.Roster()); err != nil {
		return nil, nil, nil, n.refuseUnsigned(ctx, route.To, err)
	}
	if r, refused := m.(*wire.Refusal); refused {
		if err := r.Answers(asked, route); err != nil {
			return nil, nil, nil, n.refuseUnsigned(ctx, route.To, err)
		}
		return nil, nil, nil, &RefusedError{Region: route.To, Code: r.Code, Message: r.Message}
	}
	return m, asked, answer, nil
}

// handleSync takes a shared state over, if it is higher than the one held, and says what is held then. A higher state
// that this Region signed itself, or a receipt of its own that it does not know, proves that its store was rolled back.
func (n *Node) handleSync(ctx context.Context, data []byte, s *wire.Sync) ([]byte, error) {
	if !n.region.Roster().AllowsAccount(s.From, s.Account) {
		return n.refuseShared(ctx, data, s.Route, s.Account, s.KeyID, regions.Errorf(regions.CodeAccessDenied,
			"Region %s takes nothing of account %s from %s.", n.region.Name(), s.Account, s.From))
	}
	if err := n.checkOwnReceipt(ctx, s); err != nil {
		return nil, err
	}
	st, err := n.region.Learn(ctx, regions.Shared{
		Account: s.Account, KeyID: s.KeyID, From: s.From, Signed: s.State, Chain: s.Chain,
	})
	refusal, err := n.refusalOf(ctx, s.From, s.Account, s.KeyID, err)
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return n.refuseShared(ctx, data, s.Route, s.Account, s.KeyID, refusal)
	}
	return wire.Sign(ctx, n.region.Ring().RSK(), &wire.SyncAck{
		Route: s.Answer(n.region.Roster().Version), Sync: wire.Hash(data), Epoch: st.Sent.Epoch, Sequence: st.Sent.Sequence,
		Incarnation: st.Key.MultiRegion.Incarnation, Materials: st.Held,
	})
}

// refuseShared refuses what a peer says or asks of a key set, and tells the audit log.
func (n *Node) refuseShared(ctx context.Context, data []byte, route wire.Route, account, keyID string, why *regions.Error) ([]byte, error) {
	if err := n.region.Audit().Service(ctx, n.refusalEvent(route.From, account, keyID, "", why)); err != nil {
		return nil, err
	}
	return n.refuse(ctx, data, route, why, false)
}

// checkOwnReceipt begins a recovery if a peer has a receipt of this Region's that the store lacks.
func (n *Node) checkOwnReceipt(ctx context.Context, s *wire.Sync) error {
	if len(s.Receipt) == 0 {
		return nil
	}
	r, err := n.openOwnReceipt(s.Receipt)
	if err != nil {
		return n.refuseUnsigned(ctx, s.From, fmt.Errorf("receipt that %s shows: %w", s.From, err))
	}
	known, err := n.knowsReceipt(ctx, s.From, s.Receipt, r)
	if err == nil && !known {
		known, err = n.recovered(ctx, s.Account, s.KeyID, r)
	}
	if err != nil || known {
		return err
	}
	err = n.region.EnterRecovery(ctx, fmt.Sprintf("%s has a receipt of this Region's for %s that the store does not know", s.From, s.KeyID))
	return errors.Join(regions.ErrRecovering, err)
}

// openOwnReceipt returns a receipt if this Region signed it.
func (n *Node) openOwnReceipt(data []byte) (*wire.Receipt, error) {
	r, err := parse[*wire.Receipt](data)
	if err != nil {
		return nil, err
	}
	if r.From != n.region.Name() {
		return nil, fmt.Errorf("%w: receipt of %s", wire.ErrMismatch, r.From)
	}
	// As the Region that it was given to once opened it; keys that this Region had before count too.
	if _, err := wire.Open(data, r.To, roster.History{Roster: n.region.Roster()}); err != nil {
		return nil, err
	}
	return r, nil
}

// recovered reports whether a receipt that this Region's store does not know is one that a recovery has made good: the
// Region was restored once, and holds by now all that it had signed to hold.
func (n *Node) recovered(ctx context.Context, account, keyID string, r *wire.Receipt) (bool, error) {
	if n.region.Recovery().Since == 0 {
		return false, nil
	}
	k, held, err := n.holding(ctx, account, keyID)
	if errors.Is(err, regions.ErrUnknownKey) {
		return false, nil
	}
	if err != nil || k.MultiRegion.Incarnation != r.Incarnation {
		return false, err
	}
	s := k.MultiRegion.State
	if cmp.Or(s.Epoch.Compare(r.Epoch), cmp.Compare(s.Sequence, r.Sequence)) < 0 {
		return false, nil
	}
	needed := s.Needed()
	return !slices.ContainsFunc(r.Materials, func(id string) bool {
		return !slices.Contains(held, id) && slices.ContainsFunc(needed, func(m keyset.Material) bool { return m.ID == id })
	}), nil
}

// knowsReceipt reports whether this Region's record of the exchange has ended with that receipt.
func (n *Node) knowsReceipt(ctx context.Context, from string, data []byte, r *wire.Receipt) (bool, error) {
	if r.To != from {
		return false, n.refuseUnsigned(ctx, from, fmt.Errorf("%w: receipt for %s", wire.ErrMismatch, r.To))
	}
	buried, err := n.buried(ctx, r.Incarnation) // and the record of the exchange with the replica
	if buried != nil || err != nil {
		return buried != nil, err
	}
	e, known, err := n.load(ctx, r.To, r.ExchangeID)
	return known && string(e.Answer) == string(data), err
}
