package replication

import (
	"context"
	"errors"
	"strconv"

	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/keyring"
	"antipode/regions/keyset"
	"antipode/replication/wire"
)

// supplied reports whether an exchange of this Region's as a destination is a supply.
func supplied(e DestinationExchange) bool {
	offer, err := parse[*wire.Offer](e.M1)
	return err == nil && offer.Purpose == wire.PurposeSupply
}

func (n *Node) supplyOf(o *wire.Offer) regions.Supply {
	s := regions.Supply{
		Shared: regions.Shared{Account: o.Account, KeyID: o.KeyID, From: o.From, Signed: o.State, Chain: o.Chain},
		Spec:   o.Spec, Usage: o.Usage, Origin: o.Origin, Asked: n.learnt.wants(o.Account, o.KeyID),
	}
	for _, m := range o.Materials {
		s.Materials = append(s.Materials, keyset.Material{ID: m.ID, Status: m.Status})
	}
	return s
}

// checkSupply decides whether this Region takes a supply: chain, state and members prove that it may be sent, and
// something of it is missing here. What contradicts the state that is held is an alarm.
func (n *Node) checkSupply(ctx context.Context, o *wire.Offer) (*regions.Error, error) {
	err := n.region.Store().View(ctx, func(rd regions.Reader) error {
		_, err := n.region.CheckSupply(ctx, rd, n.supplyOf(o))
		return err
	})
	return n.refusalOf(ctx, o.From, o.Account, o.KeyID, err)
}

// refusalOf says how a shared state that a peer sent is refused, nil if it is not. An error that is no verdict is
// returned as it is. What proves that this Region's store was rolled back begins a recovery; then there is no answer, and
// the peer tries again.
func (n *Node) refusalOf(ctx context.Context, peer, account, keyID string, err error) (*regions.Error, error) {
	var refusal *regions.Error
	switch {
	case err == nil:
		return nil, nil //nolint:nilnil // no refusal
	case errors.As(err, &refusal):
		return refusal, nil
	case errors.Is(err, regions.ErrRolledBack):
		if err := n.region.EnterRecovery(ctx, err.Error()); err != nil {
			return nil, err
		}
		return nil, regions.ErrRecovering
	case errors.Is(err, keyset.ErrConflict), errors.Is(err, keyset.ErrFork), errors.Is(err, keyset.ErrShrinks):
		return regions.Errorf(wire.CodeConflict, "%v", err), n.alarm(ctx, peer, account, keyID, err)
	case errors.Is(err, keyset.ErrStale):
		return regions.Errorf(wire.CodeStaleState, "%v", err), nil
	case errors.Is(err, regions.ErrNotMember):
		return regions.Errorf(wire.CodeNotMember, "%v", err), nil
	case errors.Is(err, regions.ErrUnknownKey), errors.Is(err, regions.ErrBuried):
		return regions.Errorf(wire.CodeUnknownKey, "%v", err), nil
	case errors.Is(err, regions.ErrNothingMissing):
		return regions.Errorf(wire.CodeNothingMissing, "%v", err), nil
	case errors.Is(err, keyset.ErrInvalid), errors.Is(err, keyset.ErrUncertified):
		return regions.Errorf(wire.CodeNotCertified, "%v", err), nil
	}
	return nil, err
}

// alarm tells of two signed statements that contradict each other: a key that signed both is in wrong hands, or a Region
// has acted on an old store.
func (n *Node) alarm(ctx context.Context, peer, account, keyID string, why error) error {
	n.log.Error().Err(why).Str("peer", peer).Str("key", keyID).Msg("alarm: contradicting statements about a multi-Region key")
	return n.region.Audit().Service(ctx, audit.Event{
		EventName: "KeySetAlarm", EventTime: n.region.Now(), AWSRegion: n.region.Name(),
		UserIdentity: audit.UserIdentity{AccountID: account, InvokedBy: "AWS Internal"}, EventType: audit.TypeServiceEvent,
		RecipientAccountID: account, ErrorCode: wire.CodeConflict, ErrorMessage: cut(why.Error()),
		Resources:           []audit.Resource{{ARN: n.region.KeyARN(account, keyID), AccountID: account}},
		ServiceEventDetails: details("peer", peer),
	})
}

// describeSupply says in an event what a supply is about to do.
func (n *Node) describeSupply(ctx context.Context, e *audit.Event, t *wire.Transfer, o *wire.Offer) {
	if s, err := ownState(o.State); err == nil { // it was verified with the offer
		*e = n.region.SynchronizeEvent(s)
	}
	e.ServiceEventDetails = details("from", t.From, "materials", strconv.Itoa(len(t.Materials)))
	if _, _, err := n.holding(ctx, o.Account, o.KeyID); errors.Is(err, regions.ErrUnknownKey) {
		e.EventName, e.EventType = "RecreateKey", audit.TypeServiceEvent
		e.Resources, e.ResponseElements = []audit.Resource{{ARN: n.region.KeyARN(o.Account, o.KeyID), AccountID: o.Account}}, audit.Fields{}
		e.ServiceEventDetails.Str("reason", "the key was not in the backup from which this Region was restored: it is Disabled, "+
			"with the default policy, and its description, tags, aliases and grants are lost")
	}
}

// commitSupply commits material, state and receipt at once. The receipt names all that is held afterwards.
func (n *Node) commitSupply(ctx context.Context, data []byte, t *wire.Transfer, e DestinationExchange, o *wire.Offer,
	materials []keyring.Material,
) (answer []byte, err error) {
	var st regions.Standing
	err = n.region.Update(ctx, func(tx regions.Tx) (err error) {
		if st, err = n.region.InstallSupplied(ctx, tx, n.supplyOf(o), materials); err != nil {
			return err
		}
		answer, err = wire.Sign(ctx, n.region.Ring().RSK(), &wire.Receipt{
			Route: t.Answer(n.region.Roster().Version), Transfer: wire.Hash(data), Epoch: st.Sent.Epoch,
			Sequence: st.Sent.Sequence, Incarnation: st.Key.MultiRegion.Incarnation, Materials: st.Held,
		})
		if err != nil {
			return err
		}
		return n.finishReceived(ctx, tx, e, data, answer)
	})
	if err != nil {
		return nil, err
	}
	n.learnt.arrived(o.Account, o.KeyID)
	return answer, n.region.EvictUnused(ctx, st)
}
