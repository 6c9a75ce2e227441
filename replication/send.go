package replication

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"antipode/regions"
	"antipode/regions/roster"
	"antipode/replication/wire"
)

// errSilent says that a Region did not answer, so that what else is for it waits.
var errSilent = errors.New("the Region does not answer")

// sendPage is how many standings are read at a time.
const sendPage = 64

// runSending sends each Region what is due for it until ctx ends: at once when something was committed, and again after
// pauses. Each Region has its own worker, so that one that is silent holds up no other; there are never more workers than
// Regions.
func (n *Node) runSending(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	tick := time.NewTicker(firstBackoff)
	defer tick.Stop()
	for {
		for _, peer := range n.others() {
			if !n.paces.begin(peer, n.steady()) {
				continue
			}
			workers.Go(func() {
				for more := true; more; {
					left, err := n.sendTo(ctx, peer)
					if err != nil && ctx.Err() == nil {
						n.log.Error().Err(err).Str("peer", peer).Msg("send shared states")
					}
					more = n.paces.end(peer, n.steady(), left || err != nil) && ctx.Err() == nil
				}
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-n.region.Outgoing():
			n.paces.stir()
		case <-n.wake:
		}
	}
}

// sendAll sends every Region what is due for it, once, and waits for that.
func (n *Node) sendAll(ctx context.Context) error {
	n.paces.stir()
	var mu sync.Mutex
	var errs []error
	var wait sync.WaitGroup
	for _, peer := range n.others() {
		if !n.paces.begin(peer, n.steady()) {
			continue
		}
		wait.Go(func() {
			for more := true; more; { // what another one stirs meanwhile is this one's too
				left, err := n.sendTo(ctx, peer)
				more = n.paces.end(peer, n.steady(), left || err != nil)
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// sendTo sends one Region the states that are due for it, in order of key, until it does not answer, and compares what both
// have when it is time. It reports whether anything is left to be sent later.
func (n *Node) sendTo(ctx context.Context, peer string) (left bool, err error) {
	if n.region.Recovering() {
		return true, nil // it acts as primary for nothing
	}
	q := regions.Query{Kind: regions.KindStanding, Ref: peer, DueBy: n.region.Now().UnixMilli(), Limit: sendPage}
	for {
		var due []regions.MemberStanding
		err := n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
			due, err = regions.List[regions.MemberStanding](ctx, rd, n.region.Ring(), q)
			return err
		})
		if err != nil {
			return true, err
		}
		for _, s := range due {
			q.After = s.RecordKey()
			if err := n.sendOne(ctx, s); errors.Is(err, errSilent) {
				return true, nil
			} else if err != nil {
				return true, fmt.Errorf("send %s to %s: %w", s.KeyID, peer, err)
			}
		}
		if len(due) < q.Limit {
			break
		}
	}
	if n.paces.comparing(peer, n.steady()) {
		if err := n.compare(ctx, peer); err != nil {
			var refused *RefusedError
			if ctx.Err() == nil && !errors.As(err, &refused) {
				n.log.Warn().Err(err).Str("peer", peer).Msg("shared states can't be compared")
				n.paces.silent(peer, n.steady(), err)
			}
			return true, nil
		}
		n.paces.answered(peer)
		n.paces.compared(peer, n.steady())
	}
	err = n.region.Store().View(ctx, func(rd regions.Reader) error {
		rest, err := rd.List(ctx, regions.Query{Kind: regions.KindStanding, Ref: peer, Limit: 1})
		left = len(rest) > 0
		return err
	})
	return left, err
}

// sendOne sends one key's state to a member and keeps what comes of it.
func (n *Node) sendOne(ctx context.Context, s regions.MemberStanding) error {
	one, cancel := context.WithTimeout(ctx, n.quick)
	defer cancel()
	ack, answer, err := n.push(one, s.Region, s.Account, s.KeyID)
	if err == nil {
		n.paces.answered(s.Region)
		return n.acknowledged(one, s, ack, answer)
	}
	if errors.Is(err, regions.ErrUnknownKey) {
		return nil // deleted in this instant, and the standing with it
	}
	if ctx.Err() != nil {
		return errSilent
	}
	// What is kept is for whoever may describe the key: no more of it than that.
	why, silent := s.Region+" does not answer", false
	var refused *RefusedError
	var forbidden *regions.Error
	switch {
	case errors.As(err, &refused):
		n.paces.answered(s.Region)
		why = refused.Error()
	case errors.As(err, &forbidden):
		why = forbidden.Message
	case errors.Is(err, roster.ErrUnknownRegion):
		why = s.Region + " is not in the roster"
	default:
		silent = true
	}
	n.log.Warn().Err(err).Str("peer", s.Region).Str("key", s.KeyID).Uint32("attempts", s.Attempts+1).
		Msg("a member has not acknowledged the shared state")
	if noted := n.noteFault(ctx, s, why); noted != nil {
		return noted
	}
	if silent {
		n.paces.silent(s.Region, n.steady(), err)
		return errSilent
	}
	return nil
}

// acknowledged keeps what a member has signed, and begins what follows: material that it lacks is supplied, and a higher
// state than the one here is asked for.
func (n *Node) acknowledged(ctx context.Context, s regions.MemberStanding, ack *wire.SyncAck, answer []byte) error {
	k, now, err := n.noteAck(ctx, s, ack, answer)
	switch {
	case errors.Is(err, regions.ErrNotPrimary):
		return nil
	case errors.Is(err, regions.ErrNotMember):
		return n.noteFault(ctx, s, err.Error())
	case err != nil:
		return err
	}
	state := *k.MultiRegion.State
	if missing := now.Missing(state); len(missing) > 0 && now.Compare(state) <= 0 {
		if _, err := n.Supply(ctx, s.Account, s.KeyID, s.Region, missing); err != nil {
			n.log.Warn().Err(err).Str("peer", s.Region).Str("key", s.KeyID).Msg("a member lacks material that can't be supplied from here")
		}
	}
	if now.Compare(state) > 0 {
		if err := n.fetch(ctx, s.Region, s.Account, s.KeyID); err != nil {
			n.log.Warn().Err(err).Str("peer", s.Region).Str("key", s.KeyID).Msg("a member's higher state is not taken over")
		}
	}
	return nil
}

func (n *Node) noteAck(ctx context.Context, s regions.MemberStanding, ack *wire.SyncAck, answer []byte) (
	k regions.Key, now regions.MemberStanding, err error,
) {
	err = n.region.Update(ctx, func(tx regions.Tx) error {
		k, now, err = n.region.NoteStatement(ctx, tx, regions.Statement{
			Account: s.Account, KeyID: s.KeyID, Region: s.Region, Incarnation: ack.Incarnation, Epoch: ack.Epoch,
			Sequence: ack.Sequence, Materials: ack.Materials, Signed: answer,
		})
		return err
	})
	return k, now, err
}

// noteFault keeps why a state was not acknowledged. That the standing is gone meanwhile is no error.
func (n *Node) noteFault(ctx context.Context, s regions.MemberStanding, why string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.quick)
	defer cancel()
	err := n.region.Update(ctx, func(tx regions.Tx) error {
		return n.region.NoteFault(ctx, tx, s.Account, s.KeyID, s.Region, why)
	})
	if errors.Is(err, regions.ErrNotPrimary) || errors.Is(err, regions.ErrNotMember) {
		return nil
	}
	return err
}

// noteReceipt keeps the statement in which an exchange has ended, if this Region is the key's primary.
func (n *Node) noteReceipt(ctx context.Context, tx regions.Tx, w regions.Statement) error {
	_, _, err := n.region.NoteStatement(ctx, tx, w)
	if errors.Is(err, regions.ErrNotPrimary) || errors.Is(err, regions.ErrNotMember) {
		return nil
	}
	return err
}
