package replication

import (
	"context"
	"errors"
	"fmt"

	"antipode/regions"
	"antipode/replication/wire"
)

// maxMoves is how often a hand-over is prepared again because the key has changed meanwhile.
const maxMoves = 5

// HandOver implements regions.Replicator. The successor is asked by a dry run; then this Region stops acting as the
// primary, in one commit with the message that makes the successor the primary, and sends that until it is answered.
func (n *Node) HandOver(ctx context.Context, order regions.PrimaryOrder) error {
	// The hand-over is the Region's own once it is committed: the caller's leaving must not stop it half-way.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.quick)
	defer cancel()
	h, err := n.openHandOver(ctx, order)
	if err != nil {
		return err
	}
	if h == nil {
		if h, err = n.beginHandOver(ctx, order); err != nil {
			return err
		}
	}
	err = n.driveHandOver(ctx, *h)
	var refused *regions.Error
	if errors.As(err, &refused) {
		return refused
	}
	if err != nil {
		n.log.Warn().Err(err).Str("key", h.KeyID).Str("peer", h.Successor).Msg("the change of the primary goes on in the background")
	}
	return nil
}

// openHandOver returns the hand-over to that Region that is under way, nil if there is none.
func (n *Node) openHandOver(ctx context.Context, order regions.PrimaryOrder) (*regions.HandOver, error) {
	var h regions.HandOver
	err := n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
		h, err = regions.Get[regions.HandOver](ctx, rd, n.region.Ring(), regions.HandOver{Account: order.Account, KeyID: order.KeyID}.RecordKey())
		return err
	})
	if errors.Is(err, regions.ErrNoRecord) || err == nil && h.Successor != order.Region {
		return nil, nil //nolint:nilnil // no hand-over
	}
	if err != nil {
		return nil, err
	}
	return &h, nil
}

// beginHandOver asks the successor and commits the hand-over. If the key changes meanwhile it begins again.
func (n *Node) beginHandOver(ctx context.Context, order regions.PrimaryOrder) (*regions.HandOver, error) {
	// No number of the term that ends may be given out twice.
	if err := n.region.RaiseTerm(ctx, order.Account, order.KeyID); err != nil {
		return nil, err
	}
	for range maxMoves {
		k, err := n.readHandOver(ctx, order)
		if err != nil {
			return nil, err
		}
		if err := n.dryHandOver(ctx, order, k); err != nil {
			return nil, err
		}
		h, err := n.makeHandOver(ctx, order, k)
		if err != nil {
			return nil, err
		}
		err = n.commitHandOver(ctx, k, h)
		if err == nil {
			return &h, nil
		}
		if !errors.Is(err, regions.ErrMoved) {
			return nil, err
		}
	}
	return nil, regions.Errorf(regions.CodeInvalidState, "%s changes too fast. Try again.", n.region.KeyARN(order.Account, order.KeyID))
}

func (n *Node) readHandOver(ctx context.Context, order regions.PrimaryOrder) (k regions.Key, err error) {
	err = n.region.Store().View(ctx, func(rd regions.Reader) error {
		k, err = n.region.CheckHandOver(ctx, rd, order.Account, order.KeyID, order.Region)
		return err
	})
	return k, err
}

// message makes the message to the successor. With a certificate it is the hand-over, without one a dry run.
func (n *Node) handOverMessage(ctx context.Context, order regions.PrimaryOrder, k regions.Key, certificate []byte) (*wire.HandOver, []byte, error) {
	h := &wire.HandOver{
		Account: order.Account, KeyID: order.KeyID, Principal: order.Principal, RequestID: order.RequestID,
		State: k.MultiRegion.Signed, DryRun: certificate == nil,
	}
	h.Chain = append(h.Chain, k.MultiRegion.Certificates...)
	if certificate != nil {
		h.Chain = append(h.Chain, certificate)
	}
	var err error
	if h.Route, err = n.newRoute(ctx, order.Region); err != nil {
		return nil, nil, err
	}
	data, err := wire.Sign(ctx, n.region.Ring().RSK(), h)
	return h, data, err
}

// dryHandOver asks the successor whether it would take the key. It returns an [*regions.Error] that says why not.
func (n *Node) dryHandOver(ctx context.Context, order regions.PrimaryOrder, k regions.Key) error {
	h, data, err := n.handOverMessage(ctx, order, k, nil)
	if err != nil {
		return err
	}
	m, err := n.sendHandOver(ctx, h, data)
	if err != nil {
		n.log.Warn().Err(err).Str("key", order.KeyID).Str("peer", order.Region).Msg("region can't be reached")
		return regions.Errorf(regions.CodeDependencyTimeout, "The Region %s can't be reached. Nothing was changed; try again.", order.Region)
	}
	if r, refused := m.(*wire.Refusal); refused {
		n.learnRefusal(ctx, order.Account, order.KeyID, r)
		return handOverError(order.Region, r)
	}
	return nil
}

// sendHandOver sends the message and returns an answer that fits it: a refusal or an acknowledgement.
func (n *Node) sendHandOver(ctx context.Context, h *wire.HandOver, data []byte) (wire.Message, error) {
	answer, err := n.peers.Call(ctx, h.To, data)
	if err != nil {
		return nil, err
	}
	m, err := wire.Open(answer, n.region.Name(), n.region.Roster())
	if err == nil {
		switch m := m.(type) {
		case *wire.HandOverAck:
			err = m.Answers(data, h)
		case *wire.Refusal:
			err = m.Answers(data, h.Route)
		default:
			err = fmt.Errorf("%w: %s answers a hand-over", wire.ErrMismatch, m.Type())
		}
	}
	if err != nil {
		return nil, n.refuseUnsigned(ctx, h.To, err)
	}
	return m, nil
}

// learnRefusal takes over the newer state that a refusal shows. Should this Region have signed that itself, and not know
// it, its store was rolled back, and it begins to recover.
func (n *Node) learnRefusal(ctx context.Context, account, keyID string, r *wire.Refusal) {
	if len(r.State) == 0 {
		return
	}
	_, err := n.region.Learn(ctx, regions.Shared{Account: account, KeyID: keyID, From: r.From, Signed: r.State, Chain: r.Chain})
	if _, err = n.refusalOf(ctx, r.From, account, keyID, err); err != nil {
		n.log.Warn().Err(err).Str("key", keyID).Str("peer", r.From).Msg("the state that a refusal shows is not taken over")
	}
}

// handOverError says to the caller of UpdatePrimaryRegion why the successor refuses.
func handOverError(successor string, r *wire.Refusal) *regions.Error {
	switch r.Code {
	case regions.CodeAccessDenied, regions.CodeDisabled, regions.CodeInvalidState, regions.CodeNotFound,
		regions.CodeUnsupportedOperation, regions.CodeLimitExceeded:
		return regions.Errorf(r.Code, "%s", r.Message)
	case wire.CodeUnknownKey:
		return regions.Errorf(regions.CodeNotFound, "The key does not exist in %s.", successor)
	}
	// What else a peer says is not passed on as an error of this service.
	return regions.Errorf(regions.CodeInvalidState, "The key in the Region %s can't become the primary now (%s). Nothing was changed; try again.",
		successor, r.Code)
}

// makeHandOver makes the certificate and the message. They have no effect until they are committed.
func (n *Node) makeHandOver(ctx context.Context, order regions.PrimaryOrder, k regions.Key) (regions.HandOver, error) {
	var h regions.HandOver
	certificate, err := n.region.CertifySuccessor(ctx, k, order.Region)
	if err != nil {
		return h, err
	}
	m, data, err := n.handOverMessage(ctx, order, k, certificate)
	if err != nil {
		return h, err
	}
	return regions.HandOver{
		ID: m.ExchangeID, Account: order.Account, KeyID: order.KeyID, Successor: order.Region, Message: data,
		Due: n.region.Now().UnixMilli(),
	}, nil
}

// commitHandOver is the commit in which this Region stops to act as the primary. A replication of the key that is under
// way is finished before: whoever has made a member must see its receipt.
func (n *Node) commitHandOver(ctx context.Context, k regions.Key, h regions.HandOver) error {
	return n.region.Update(ctx, func(tx regions.Tx) error {
		exchanges, err := regions.List[SourceExchange](ctx, tx, n.region.Ring(), regions.Query{
			Kind: regions.KindSourceEx, Account: h.Account, ID: h.KeyID,
		})
		if err != nil {
			return err
		}
		for _, e := range exchanges {
			if e.open() && e.member() {
				return regions.Errorf(regions.CodeInvalidState, "The key %s is being replicated to %s.", h.KeyID, e.Order.Region)
			}
		}
		return n.region.StopActing(ctx, tx, k, h)
	})
}

// driveHandOver sends a hand-over that is committed and ends it if its answer does. It returns nil if the successor is the
// primary, an [*regions.Error] if this Region is again, and otherwise why it goes on.
func (n *Node) driveHandOver(ctx context.Context, h regions.HandOver) error {
	unlock := n.lock(h.ID)
	defer unlock()
	now, err := n.openHandOver(ctx, regions.PrimaryOrder{Account: h.Account, KeyID: h.KeyID, Region: h.Successor})
	if err != nil || now == nil || now.ID != h.ID {
		return err // it has ended
	}
	h = *now
	err = n.tryHandOver(ctx, h)
	var refused *regions.Error
	if err != nil && !errors.As(err, &refused) {
		err = errors.Join(err, n.postponeHandOver(ctx, h))
	}
	return err
}

func (n *Node) tryHandOver(ctx context.Context, h regions.HandOver) error {
	if n.region.Recovering() {
		return fmt.Errorf("%w: %w", errLater, regions.ErrRecovering)
	}
	if err := n.endHandOver(ctx, h); !errors.Is(err, regions.ErrMoved) {
		return err // it was learnt otherwise that the successor has it
	}
	if err := n.CanReach(ctx, h.Successor, h.Account); err != nil {
		return fmt.Errorf("%w: %s", errLater, err.Error())
	}
	asked, err := parse[*wire.HandOver](h.Message)
	if err != nil {
		return err
	}
	m, err := n.sendHandOver(ctx, asked, h.Message)
	if err != nil {
		return fmt.Errorf("%w: %w", errLater, err)
	}
	switch m := m.(type) {
	case *wire.HandOverAck:
		_, err := n.region.Learn(ctx, regions.Shared{
			Account: h.Account, KeyID: h.KeyID, From: h.Successor, Signed: m.State, Chain: m.Chain,
		})
		refusal, err := n.refusalOf(ctx, h.Successor, h.Account, h.KeyID, err)
		if err != nil {
			return fmt.Errorf("%w: %w", errLater, err)
		}
		if refusal != nil {
			return fmt.Errorf("%w: the state of %s: %s", errLater, h.Successor, refusal.Error())
		}
		return n.endHandOver(ctx, h)
	case *wire.Refusal:
		n.learnRefusal(ctx, h.Account, h.KeyID, m)
		if !m.Final {
			return fmt.Errorf("%w: %s answers %s: %s", errLater, h.Successor, m.Code, m.Message)
		}
		if err := n.takeBack(ctx, h); err != nil {
			return err
		}
		n.log.Warn().Str("key", h.KeyID).Str("peer", h.Successor).Str("code", m.Code).Str("why", m.Message).
			Msg("the successor refuses; this Region is the primary again")
		return handOverError(h.Successor, m)
	}
	return errLater
}

// endHandOver removes the record of a hand-over that has succeeded. It returns [regions.ErrMoved] if that is not known.
func (n *Node) endHandOver(ctx context.Context, h regions.HandOver) error {
	ended := false
	err := n.region.Store().View(ctx, func(rd regions.Reader) error {
		k, err := regions.Get[regions.Key](ctx, rd, n.region.Ring(), regions.Key{Account: h.Account, KeyID: h.KeyID}.RecordKey())
		ended = errors.Is(err, regions.ErrNoRecord) || err == nil && k.MultiRegion != nil && k.MultiRegion.HandingTo == ""
		if ended {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if !ended {
		return regions.ErrMoved
	}
	err = n.region.Update(ctx, func(tx regions.Tx) error { return n.region.EndHandOver(ctx, tx, h) })
	if err == nil {
		n.log.Info().Str("key", h.KeyID).Str("peer", h.Successor).Msg("the key has another primary")
	}
	return err
}

func (n *Node) takeBack(ctx context.Context, h regions.HandOver) error {
	return n.region.Update(ctx, func(tx regions.Tx) error { return n.region.TakeBack(ctx, tx, h) })
}

// postponeHandOver sets when the hand-over is tried again.
func (n *Node) postponeHandOver(ctx context.Context, h regions.HandOver) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.quick)
	defer cancel()
	wait := lastBackoff
	if h.Attempts < 8 {
		wait = min(wait, firstBackoff<<h.Attempts)
	}
	return n.region.Update(ctx, func(tx regions.Tx) error {
		now, err := regions.Get[regions.HandOver](ctx, tx, n.region.Ring(), h.RecordKey())
		if errors.Is(err, regions.ErrNoRecord) || err == nil && now.ID != h.ID {
			return nil
		}
		if err != nil {
			return err
		}
		now.Attempts++
		now.Due = n.region.Now().Add(wait).UnixMilli()
		return regions.Put(ctx, tx, n.region.Ring(), now)
	})
}

// handOvers returns the hand-overs that are due, by successor.
func (n *Node) handOvers(ctx context.Context) (map[string][]regions.HandOver, error) {
	var open []regions.HandOver
	err := n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
		open, err = regions.List[regions.HandOver](ctx, rd, n.region.Ring(), regions.Query{
			Kind: regions.KindHandOver, DueBy: 1<<62 - 1, Limit: maxDue,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	now := n.region.Now()
	bySuccessor := map[string][]regions.HandOver{}
	for _, h := range open {
		// One that is due later than any attempt is put off was put off before the clock was set back.
		if h.Due <= now.UnixMilli() || h.Due > now.Add(lastBackoff).UnixMilli() {
			bySuccessor[h.Successor] = append(bySuccessor[h.Successor], h)
		}
	}
	return bySuccessor, nil
}

// handOverAll goes on with the hand-overs to one Region until it does not answer.
func (n *Node) handOverAll(ctx context.Context, list []regions.HandOver) error {
	for _, h := range list {
		one, cancel := context.WithTimeout(ctx, n.quick)
		err := n.driveHandOver(one, h)
		cancel()
		var refused *regions.Error
		switch {
		case errors.Is(err, errLater):
			n.log.Warn().Err(err).Str("key", h.KeyID).Str("peer", h.Successor).Uint32("attempts", h.Attempts+1).
				Msg("the successor has not taken the primary yet; the key is Updating")
			return nil
		case errors.As(err, &refused):
		case err != nil:
			return fmt.Errorf("hand %s over to %s: %w", h.KeyID, h.Successor, err)
		}
	}
	return nil
}
