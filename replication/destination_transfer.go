package replication

import (
	"context"
	"errors"
	"fmt"

	"antipode/hsmbackend"
	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/keyring"
	"antipode/regions/keyset"
	"antipode/replication/wire"
)

// handleTransfer answers m3 with a receipt, or a refusal.
func (n *Node) handleTransfer(ctx context.Context, data []byte, t *wire.Transfer) ([]byte, error) {
	e, known, err := n.load(ctx, t.From, t.ExchangeID)
	if err != nil {
		return nil, err
	}
	lost := regions.Errorf(wire.CodeExchangeLost, "this node has no key for the exchange")
	if !known {
		buried, err := n.buried(ctx, t.ExchangeID)
		if err != nil {
			return nil, err
		}
		if buried != nil { // for ever
			return n.refuse(ctx, data, t.Route, regions.Errorf(wire.CodeReplicaDeleted, "%v", buried), true)
		}
		return n.refuse(ctx, data, t.Route, lost, false)
	}
	if n.region.Recovering() && !supplied(e) {
		return nil, regions.ErrRecovering // no answer at all: the peer tries again
	}
	switch e.Step {
	case StepFinished, StepRefused:
		if hash := wire.Hash(data); string(hash[:]) == string(e.Transfer) {
			return n.asStored(ctx, e.Answer)
		}
		return n.refuse(ctx, data, t.Route, regions.Errorf(wire.CodeExchangeEnded, "the exchange ended with another transfer"), false)
	case StepReserved:
	case StepOffered, StepAccepted, StepTransferred, StepFailed, StepLost:
		return n.refuse(ctx, data, t.Route, lost, false)
	}
	r, alive := n.rakbs.take(e.rakb())
	if !alive {
		if err := n.lose(ctx, e); err != nil {
			return nil, err
		}
		return n.refuse(ctx, data, t.Route, lost, false)
	}
	answer, err := n.receive(ctx, data, t, e, r)
	if err = errors.Join(err, n.rakbs.release(r)); answer != nil {
		// What the answer says is committed; a session that does not close is the token's trouble, not the peer's.
		if err != nil {
			n.log.Error().Err(err).Msg("close exchange")
		}
		return answer, nil
	}
	// RAKB has had its one use, so this exchange can't be tried again.
	return nil, errors.Join(err, n.lose(ctx, e))
}

// receive checks m3, takes the material over, and commits key, materials and receipt at once.
func (n *Node) receive(ctx context.Context, data []byte, t *wire.Transfer, e DestinationExchange, r *rakb) ([]byte, error) {
	offer, err := parse[*wire.Offer](e.M1)
	if err != nil {
		return nil, err
	}
	state, refusal := n.checkTransfer(t, e, offer)
	if refusal == nil {
		// What was allowed when the exchange began may not be any more.
		if _, refusal, err = n.checkOffer(ctx, offer); err != nil {
			return nil, err
		}
	}
	if refusal == nil && offer.Purpose != wire.PurposeSupply { // of a supply, graves are looked at with the offer's state
		if err := n.region.CheckNewer(ctx, state); errors.Is(err, regions.ErrBuried) {
			refusal = regions.Errorf(wire.CodeNotCertified, "%v", err)
		} else if err != nil {
			return nil, err
		}
	}
	if refusal != nil {
		return n.refuseForGood(ctx, data, t, e, refusal)
	}
	var answer []byte
	err = n.region.Audited(ctx, n.receiveEvent(ctx, t, offer), func(*audit.Event) error {
		materials, err := n.unwrap(ctx, t, e, offer, r)
		switch {
		case err != nil:
		case offer.Purpose == wire.PurposeSupply:
			answer, err = n.commitSupply(ctx, data, t, e, offer, materials)
		default:
			answer, err = n.commitReplica(ctx, data, t, e, offer, state, materials)
		}
		if err != nil {
			// The working copies by which the key tokens were proved are of no use, or are made again.
			err = errors.Join(err, n.evict(context.WithoutCancel(ctx), materials))
		}
		return err
	})
	switch {
	case err == nil:
		return answer, n.logReceipt(ctx, offer.Account, offer.KeyID, t.From, e.ID, answer)
	case errors.Is(err, hsmbackend.ErrIntegrity), errors.Is(err, keyring.ErrRefused):
		return n.refuseForGood(ctx, data, t, e, regions.Errorf(wire.CodeMaterialMismatch, "the material does not unwrap to what was offered"))
	}
	return nil, err
}

// receiveEvent is the event of material that comes from another Region.
func (n *Node) receiveEvent(ctx context.Context, t *wire.Transfer, o *wire.Offer) audit.Event {
	event := audit.Event{
		EventName: "CreateKey", UserIdentity: audit.UserIdentity{
			ARN: o.Principal, AccountID: o.Account, InvokedBy: "kms.amazonaws.com",
		},
		RecipientAccountID:  o.Account,
		Resources:           []audit.Resource{{ARN: n.region.KeyARN(o.Account, o.KeyID), AccountID: o.Account}},
		ServiceEventDetails: details("primaryRegion", t.From),
	}
	if o.Purpose == wire.PurposeSupply {
		n.describeSupply(ctx, &event, t, o)
	}
	return event
}

// checkTransfer checks all of m3 but the material: that it carries out the offer, and that the sender is the certified
// primary whose shared state lists this replica.
func (n *Node) checkTransfer(t *wire.Transfer, e DestinationExchange, o *wire.Offer) (keyset.State, *regions.Error) {
	var state keyset.State
	refusal := func(err error) (keyset.State, *regions.Error) {
		return state, regions.Errorf(wire.CodeNotCertified, "%v", err)
	}
	accept, err := parse[*wire.Accept](e.M2)
	if err != nil {
		return refusal(err)
	}
	if err := t.Follows(e.M1, e.M2, o, accept); err != nil {
		return refusal(err)
	}
	if o.Purpose == wire.PurposeSupply {
		return state, nil // state and chain are those of the offer, which is checked again
	}
	ro := n.region.Roster()
	head, err := keyset.VerifyChain(t.Chain, nil, ro)
	if err != nil {
		return refusal(err)
	}
	if head.Primary != t.From || head.KeyID != o.KeyID || head.Account != o.Account {
		return refusal(fmt.Errorf("%s is not the primary of %s", t.From, o.KeyID))
	}
	if state, err = keyset.OpenState(t.State, head, ro); err != nil {
		return refusal(err)
	}
	needed := state.Needed()
	if state.Spec != o.Spec || state.Usage != o.Usage || state.Origin != o.Origin || len(needed) != len(o.Materials) {
		return refusal(errors.New("the shared state is not of the key that was offered"))
	}
	for i, m := range needed {
		if m.ID != o.Materials[i].ID || m.Status != o.Materials[i].Status {
			return refusal(errors.New("the shared state has other materials than were offered"))
		}
	}
	me, member := state.Member(n.region.Name())
	if !member || me.Incarnation != e.ID || me.Status != keyset.Creating {
		return refusal(errors.New("this replica is not a member of the key set"))
	}
	return state, nil
}

func (n *Node) evict(ctx context.Context, materials []keyring.Material) error {
	var errs []error
	for _, m := range materials {
		errs = append(errs, n.region.Ring().Evict(ctx, m.ID))
	}
	return errors.Join(errs...)
}

// unwrap derives RWK and takes over each material. It leaves no ephemeral key behind, but working copies of what it
// returns, also with an error.
func (n *Node) unwrap(ctx context.Context, t *wire.Transfer, e DestinationExchange, o *wire.Offer, r *rakb) ([]keyring.Material, error) {
	accept, err := parse[*wire.Accept](e.M2)
	if err != nil {
		return nil, err
	}
	transcript, err := wire.Transcript(accept.Suite, e.M1, e.M2, t)
	if err != nil {
		return nil, err
	}
	rwk, err := receivedKey(ctx, n.rakbs.token, accept.Suite, r.ref, t, transcript, r.scope)
	if err != nil {
		return nil, fmt.Errorf("make RWK: %w", err)
	}
	now := n.region.Now().UnixMilli()
	var out []keyring.Material
	for _, w := range t.Materials {
		m, err := n.region.Ring().Adopt(ctx, keyring.Material{
			Account: o.Account, KeyID: o.KeyID, ID: w.ID, Spec: o.Spec, Usage: o.Usage, Origin: o.Origin, Created: now,
			Public: w.Public,
		}, rwk, w.Blob, r.scope)
		if err != nil {
			return out, err
		}
		out = append(out, m)
	}
	return out, nil
}

func (n *Node) commitReplica(ctx context.Context, data []byte, t *wire.Transfer, e DestinationExchange, o *wire.Offer,
	state keyset.State, materials []keyring.Material,
) ([]byte, error) {
	receipt := &wire.Receipt{
		Route: t.Answer(n.region.Roster().Version), Transfer: wire.Hash(data), Epoch: state.Epoch, Sequence: state.Sequence,
		Incarnation: e.ID,
	}
	for _, m := range materials {
		receipt.Materials = append(receipt.Materials, m.ID)
	}
	answer, err := wire.Sign(ctx, n.region.Ring().RSK(), receipt)
	if err != nil {
		return nil, err
	}
	return answer, n.region.Update(ctx, func(tx regions.Tx) error {
		if err := n.finishReceived(ctx, tx, e, data, answer); err != nil {
			return err
		}
		return n.region.InstallReplica(ctx, tx, replicaOf(o), regions.MultiRegion{
			State: &state, Signed: t.State, Certificates: t.Chain, Incarnation: e.ID,
		}, materials)
	})
}

// finishReceived ends the destination's side of an exchange with its receipt, inside a transaction.
func (n *Node) finishReceived(ctx context.Context, tx regions.Tx, e DestinationExchange, m3, answer []byte) error {
	now, err := regions.Get[DestinationExchange](ctx, tx, n.region.Ring(), e.RecordKey())
	if err != nil {
		return err
	}
	if now.Step != StepReserved {
		return fmt.Errorf("exchange is %s meanwhile", now.Step)
	}
	hash := wire.Hash(m3)
	now.Step, now.Transfer, now.Answer = StepFinished, hash[:], answer
	return regions.Put(ctx, tx, n.region.Ring(), now)
}

// refuseForGood ends the exchange: the refusal is stored with the end, and given again to whoever repeats m3.
func (n *Node) refuseForGood(ctx context.Context, data []byte, t *wire.Transfer, e DestinationExchange, why *regions.Error) ([]byte, error) {
	answer, err := n.refuse(ctx, data, t.Route, why, true)
	if err != nil {
		return nil, err
	}
	hash := wire.Hash(data)
	e.Transfer, e.Answer = hash[:], answer
	err = n.region.Audited(ctx, n.refusalEvent(t.From, e.Account, e.KeyID, "", why), func(*audit.Event) error {
		return n.region.Update(ctx, func(tx regions.Tx) error { return n.unreserve(ctx, tx, e, StepRefused) })
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}
