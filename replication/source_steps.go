package replication

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/canon"
	"antipode/regions/cose"
	"antipode/regions/keyset"
	"antipode/replication/wire"
)

// sendOffer takes an exchange from offered to accepted: the destination's membership is committed with its m2.
func (n *Node) sendOffer(ctx context.Context, e SourceExchange) (SourceExchange, error) {
	m, answer, err := n.call(ctx, e, e.M1)
	if err != nil {
		return e, err
	}
	offer, err := parse[*wire.Offer](e.M1)
	if err != nil {
		return e, err
	}
	switch m := m.(type) {
	case *wire.Refusal:
		if err := m.Answers(e.M1, offer.Route); err != nil {
			return e, fmt.Errorf("%w: %w", errLater, n.refuseUnsigned(ctx, e.Order.Region, err))
		}
		switch {
		case m.Code == wire.CodeBusy && e.lasting():
			return e, fmt.Errorf("%w: %s is busy", errLater, e.Order.Region)
		case m.Code == wire.CodeExchangeLost && e.lasting():
			// Its m2 did not arrive in time. What the intent has promised stands.
			return n.startAgain(ctx, e)
		case m.Code == regions.CodeAlreadyExists && e.resumed():
			// It holds the key, of an exchange whose end is not known here.
			return n.confirm(ctx, e, e.Resumes)
		}
		return n.fail(ctx, e, m.Code, m.Message)
	case *wire.Accept:
		err := n.checkAccept(e, offer, m)
		if errors.Is(err, wire.ErrNoSuite) {
			return n.fail(ctx, e, wire.CodeNoCommonSuite, err.Error())
		}
		if err != nil {
			return e, fmt.Errorf("%w: %w", errLater, n.refuseUnsigned(ctx, e.Order.Region, err))
		}
		if e.supply() {
			return n.commitAccepted(ctx, e, answer)
		}
		return n.commitMember(ctx, e, answer)
	default:
		return e, fmt.Errorf("%w: %s answers an offer", errLater, m.Type())
	}
}

// checkAccept returns [wire.ErrNoSuite] if the roster allows none of the suites that both have, and [wire.ErrMismatch] if
// m does not accept this offer in the strongest of them.
func (n *Node) checkAccept(e SourceExchange, offer *wire.Offer, m *wire.Accept) error {
	entry, err := n.region.Roster().Entry(e.Order.Region)
	if err != nil {
		return err
	}
	if err := m.Answers(e.M1, offer, wire.Suite(entry.Limits.MinSuite)); err != nil {
		return err
	}
	return checkIncarnation(e, offer, m)
}

// commitMember makes the destination a member of the key set, before any material leaves.
func (n *Node) commitMember(ctx context.Context, e SourceExchange, m2 []byte) (SourceExchange, error) {
	next := e
	next.Step, next.M2, next.Due = StepAccepted, m2, n.region.Now().UnixMilli()
	saved, err := n.save(ctx, next, StepOffered, func(tx regions.Tx) error {
		_, err := n.region.ChangeShared(ctx, tx, e.Order.Account, e.Order.KeyID, func(k *regions.Key, s *keyset.State) error {
			// Once material may have left, the exchange goes on whatever the key's state has become.
			if err := n.region.CheckState("ReplicateKey", *k); err != nil && !e.resumed() {
				return err
			}
			if err := addMember(s, e); err != nil {
				return err
			}
			if !offered(e, *s) {
				return errRotated
			}
			return nil
		})
		if err != nil {
			return err
		}
		return n.region.PutOnce(ctx, tx, e.Order.Once)
	})
	var refused *regions.Error
	switch {
	case errors.Is(err, errRotated):
		return n.startAgain(ctx, e)
	case errors.Is(err, errHeld):
		return n.confirm(ctx, e, e.ID)
	case errors.Is(err, errNotMember):
		return n.fail(ctx, e, regions.CodeAlreadyExists, err.Error())
	case errors.As(err, &refused) && !e.resumed():
		return n.fail(ctx, e, refused.Code, refused.Message)
	case err != nil:
		return e, err
	}
	return saved, nil
}

// errHeld says that an exchange has ended well, which a restored store does not know: its destination is a member by it.
var errHeld = errors.New("the destination is a member by this exchange")

// errRotated says that the key set has other materials than were offered.
var errRotated = errors.New("the key was rotated since it was offered")

// offered reports whether the offer of an exchange names the materials of the state, as they stand there. Once the
// destination is a member they don't change until it has its own.
func offered(e SourceExchange, s keyset.State) bool {
	o, err := parse[*wire.Offer](e.M1)
	return err == nil && slices.EqualFunc(o.Materials, s.Needed(), func(a wire.Material, b keyset.Material) bool {
		return a.ID == b.ID && a.Status == b.Status
	})
}

// checkIncarnation: a new replica is of its exchange, one that is supplied of the state that was offered.
func checkIncarnation(e SourceExchange, o *wire.Offer, a *wire.Accept) error {
	want := e.ID
	if e.supply() {
		s, err := ownState(o.State)
		if err != nil {
			return err
		}
		m, _ := s.Member(e.Order.Region)
		want = m.Incarnation
	}
	if a.Incarnation != want {
		return fmt.Errorf("%w: incarnation of another exchange", wire.ErrMismatch)
	}
	return nil
}

// addMember adds the destination as a member that is being created, or gives the one that an earlier exchange of the
// same intent has made this exchange's incarnation. For an exchange of a store that was restored it returns errHeld, or
// errNotMember if the destination has become a member by another exchange since.
func addMember(s *keyset.State, e SourceExchange) error {
	m := keyset.Member{Region: e.Order.Region, Incarnation: e.ID, Status: keyset.Creating}
	for i, have := range s.Members {
		switch {
		case have.Region != m.Region:
		case have.Status == keyset.Creating && e.resumed() && have.Incarnation == e.Resumes:
			s.Members[i] = m
			return nil
		case have.Incarnation == e.ID && have.Status == keyset.Active:
			return errHeld
		case have.Incarnation == e.ID:
			return nil
		case e.resumed() && have.Incarnation != e.Resumes:
			return fmt.Errorf("%w: the key is in %s by another exchange", errNotMember, m.Region)
		default:
			return regions.Errorf(regions.CodeAlreadyExists, "The key %s already exists in %s.", s.KeyID, m.Region)
		}
	}
	s.Members = append(s.Members, m)
	slices.SortFunc(s.Members, func(a, b keyset.Member) int { return strings.Compare(a.Region, b.Region) })
	return nil
}

// sendTransfer takes an exchange from transferred to its end.
func (n *Node) sendTransfer(ctx context.Context, e SourceExchange) (SourceExchange, error) {
	m, answer, err := n.call(ctx, e, e.M3)
	if err != nil {
		return e, err
	}
	t, err := parse[*wire.Transfer](e.M3)
	if err != nil {
		return e, err
	}
	switch m := m.(type) {
	case *wire.Refusal:
		if err := m.Answers(e.M3, t.Route); err != nil {
			return e, fmt.Errorf("%w: %w", errLater, n.refuseUnsigned(ctx, e.Order.Region, err))
		}
		switch {
		case m.Code == wire.CodeExchangeEnded:
			// With an m3 that this Region's store has lost.
			return n.confirm(ctx, e, e.ID)
		case m.Final:
			return n.fail(ctx, e, m.Code, m.Message)
		case m.Code == wire.CodeExchangeLost:
			return n.startAgain(ctx, e)
		}
		return e, fmt.Errorf("%w: %s answers %s: %s", errLater, e.Order.Region, m.Code, m.Message)
	case *wire.Receipt:
		return n.finish(ctx, e, m, answer, t)
	default:
		return e, fmt.Errorf("%w: %s answers a transfer", errLater, m.Type())
	}
}

// startAgain puts a new exchange in the place of one that the destination has lost, under the same intent. The
// destination stays a member all the time, of the incarnation that was accepted last.
func (n *Node) startAgain(ctx context.Context, e SourceExchange) (SourceExchange, error) {
	next, err := n.another(ctx, e)
	if err != nil {
		return e, err
	}
	next.Resumes, next.Attempts, next.Due = e.ID, e.Attempts+1, n.region.Now().UnixMilli()
	if e.Step == StepOffered {
		next.Resumes = e.Resumes // e was never accepted
	}
	lost := e
	lost.Step, lost.Due = StepLost, 0
	_, err = n.save(ctx, lost, e.Step, func(tx regions.Tx) error {
		return regions.Put(ctx, tx, n.region.Ring(), next)
	})
	if err != nil {
		return e, err
	}
	n.log.Info().Str("key", e.Order.KeyID).Str("peer", e.Order.Region).Msg("exchange lost; starting again")
	if next.Attempts > 2 {
		return next, fmt.Errorf("%w: %s has lost %d exchanges", errLater, e.Order.Region, next.Attempts)
	}
	return next, nil
}

// finish commits the receipt: the destination is an active member.
func (n *Node) finish(ctx context.Context, e SourceExchange, r *wire.Receipt, m4 []byte, t *wire.Transfer) (SourceExchange, error) {
	accept, err := parse[*wire.Accept](e.M2)
	if err != nil {
		return e, err
	}
	err = r.Answers(e.M3, t, accept)
	if err == nil {
		err = holdsState(r, t)
	}
	if err != nil {
		return e, fmt.Errorf("%w: %w", errLater, n.refuseUnsigned(ctx, e.Order.Region, err))
	}
	// The receipt is on record before anything rests on it; a repeat after a crash is recorded again.
	if err := n.logReceipt(ctx, e.Order.Account, e.Order.KeyID, e.Order.Region, e.ID, m4); err != nil {
		return e, err
	}
	done := e
	done.Step, done.M4, done.Due = StepFinished, m4, 0
	saved, err := n.save(ctx, done, StepTransferred, func(tx regions.Tx) error {
		if !e.supply() { // who is supplied was a member before
			err := n.changeMember(ctx, tx, e, func(s *keyset.State, i int) { s.Members[i].Status = keyset.Active })
			if err != nil {
				return err
			}
		}
		return n.noteReceipt(ctx, tx, regions.Statement{
			Account: e.Order.Account, KeyID: e.Order.KeyID, Region: e.Order.Region, Incarnation: r.Incarnation,
			Epoch: r.Epoch, Sequence: r.Sequence, Materials: r.Materials, Signed: m4,
		})
	})
	if err != nil {
		return e, err
	}
	return saved, nil
}

// holdsState returns [wire.ErrMismatch] unless the receipt is for the shared state that was sent.
func holdsState(r *wire.Receipt, t *wire.Transfer) error {
	sent, err := ownState(t.State)
	if err != nil {
		return err
	}
	if r.Epoch != sent.Epoch || r.Sequence != sent.Sequence {
		return fmt.Errorf("%w: receipt of another shared state", wire.ErrMismatch)
	}
	return nil
}

// ownState reads a signed state from a message that this Region made.
func ownState(signed []byte) (s keyset.State, err error) {
	payload, err := cose.Unverified(signed, keyset.TypeState)
	if err != nil {
		return s, err
	}
	return s, canon.Unmarshal(payload, &s)
}

// logReceipt records a receipt in the audit log; both Regions do.
func (n *Node) logReceipt(ctx context.Context, account, keyID, peer string, id [16]byte, m4 []byte) error {
	hash := wire.Hash(m4)
	return n.region.Audit().Service(ctx, audit.Event{
		EventName: "ReplicationReceipt", EventTime: n.region.Now(), AWSRegion: n.region.Name(),
		UserIdentity: audit.UserIdentity{AccountID: account, InvokedBy: "AWS Internal"}, EventType: audit.TypeServiceEvent,
		RecipientAccountID: account,
		Resources:          []audit.Resource{{ARN: n.region.KeyARN(account, keyID), AccountID: account}},
		ServiceEventDetails: details("peer", peer, "exchange", hex.EncodeToString(id[:]),
			"receiptSha384", hex.EncodeToString(hash[:])),
	})
}

// parse reads a message that this Region kept in an authenticated record.
func parse[M wire.Message](data []byte) (M, error) {
	var zero M
	m, err := wire.Parse(data)
	if err != nil {
		return zero, err
	}
	typed, fits := m.(M)
	if !fits {
		return zero, fmt.Errorf("kept message is a %s", m.Type())
	}
	return typed, nil
}
