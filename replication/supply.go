package replication

import (
	"context"
	"fmt"
	"slices"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/wire"
)

// Supply begins to bring materials of a key to a Region that is a member of its key set: from any member that holds
// them. The exchange is durable when it returns, and goes on in the background until the Region has signed that it holds
// them, or that it will not take them. If one is open between this Region and the other for this key, that one's id is
// returned and nothing begins. It returns [regions.ErrUnknownKey], [regions.ErrNotMember], or
// [regions.ErrNothingMissing] if none of the ids is of a material that is here.
func (n *Node) Supply(ctx context.Context, account, keyID, to string, materials []string) (id [16]byte, err error) {
	e, err := n.newSupply(ctx, regions.ReplicaOrder{Account: account, KeyID: keyID, Region: to}, materials)
	if err != nil {
		return id, err
	}
	err = n.region.Update(ctx, func(tx regions.Tx) error {
		others, err := regions.List[SourceExchange](ctx, tx, n.region.Ring(), regions.Query{
			Kind: regions.KindSourceEx, Account: account, ID: keyID,
		})
		if err != nil {
			return err
		}
		for _, o := range others {
			if o.Order.Region == to && o.open() {
				id = o.ID
				return nil
			}
		}
		id = e.ID
		return regions.Put(ctx, tx, n.region.Ring(), e)
	})
	return id, err
}

// newSupply makes the record and the Offer of a supply of those of the materials that are here.
func (n *Node) newSupply(ctx context.Context, order regions.ReplicaOrder, ids []string) (SourceExchange, error) {
	e := SourceExchange{Order: order, Step: StepOffered, Due: n.region.Now().UnixMilli(), Purpose: wire.PurposeSupply}
	raw, err := n.region.Ring().Token().Random(ctx, 16+wire.NonceSize)
	if err != nil {
		return e, err
	}
	copy(e.ID[:], raw)
	k, held, err := n.holding(ctx, order.Account, order.KeyID)
	if err != nil {
		return e, err
	}
	for _, region := range []string{n.region.Name(), order.Region} {
		if _, listed := k.MultiRegion.State.Member(region); !listed {
			return e, fmt.Errorf("%w: %s", regions.ErrNotMember, region)
		}
	}
	o := &wire.Offer{
		Route:   wire.Route{ExchangeID: e.ID, From: n.region.Name(), To: order.Region, RosterVersion: n.region.Roster().Version},
		Account: order.Account, KeyID: order.KeyID, Spec: k.Spec, Usage: k.Usage, Origin: k.Origin,
		Certificate: k.MultiRegion.State.Certificate, Suites: Suites(n.region.Ring().Token().Capabilities()),
		Nonce: [wire.NonceSize]byte(raw[16:]), Purpose: wire.PurposeSupply,
		State: k.MultiRegion.Signed, Chain: k.MultiRegion.Certificates,
	}
	for _, m := range k.MultiRegion.State.Needed() {
		if slices.Contains(ids, m.ID) && slices.Contains(held, m.ID) {
			o.Materials = append(o.Materials, wire.Material{ID: m.ID, Status: m.Status})
		}
	}
	if len(o.Materials) == 0 {
		return e, regions.ErrNothingMissing
	}
	e.M1, err = wire.Sign(ctx, n.region.Ring().RSK(), o)
	return e, err
}

// holding reads a key that has a shared state, and the ids of the materials that are here. It returns
// [regions.ErrUnknownKey] if there is none.
func (n *Node) holding(ctx context.Context, account, keyID string) (k regions.Key, held []string, err error) {
	err = n.region.Store().View(ctx, func(rd regions.Reader) error {
		k, held, err = n.holdingIn(ctx, rd, account, keyID)
		return err
	})
	return k, held, err
}

func (n *Node) holdingIn(ctx context.Context, rd regions.Reader, account, keyID string) (k regions.Key, held []string, err error) {
	found, err := regions.List[regions.Key](ctx, rd, n.region.Ring(), regions.Query{
		Kind: regions.KindKey, Account: account, ID: keyID,
	})
	if err != nil {
		return k, nil, err
	}
	if len(found) == 0 || found[0].MultiRegion == nil || found[0].MultiRegion.State == nil {
		return k, nil, fmt.Errorf("%w: %s", regions.ErrUnknownKey, keyID)
	}
	materials, err := regions.List[regions.MaterialRecord](ctx, rd, n.region.Ring(), regions.Query{
		Kind: regions.KindMaterial, Account: account, ID: keyID,
	})
	for _, m := range materials {
		held = append(held, m.ID)
	}
	return found[0], held, err
}

// another makes the exchange that takes the place of one that was lost.
func (n *Node) another(ctx context.Context, e SourceExchange) (SourceExchange, error) {
	if !e.supply() {
		return n.newExchange(ctx, e.Order, false)
	}
	offer, err := parse[*wire.Offer](e.M1)
	if err != nil {
		return e, err
	}
	var ids []string
	for _, m := range offer.Materials {
		ids = append(ids, m.ID)
	}
	return n.newSupply(ctx, e.Order, ids)
}

// commitAccepted takes a supply from offered to accepted. The destination must still be the member that it was.
func (n *Node) commitAccepted(ctx context.Context, e SourceExchange, m2 []byte) (SourceExchange, error) {
	accept, err := parse[*wire.Accept](m2)
	if err != nil {
		return e, err
	}
	k, _, err := n.holding(ctx, e.Order.Account, e.Order.KeyID)
	if err != nil {
		return e, err
	}
	if m, listed := k.MultiRegion.State.Member(e.Order.Region); !listed || m.Incarnation != accept.Incarnation {
		return n.fail(ctx, e, wire.CodeNotMember, e.Order.Region+" is no member any more")
	}
	next := e
	next.Step, next.M2, next.Due = StepAccepted, m2, n.region.Now().UnixMilli()
	if _, err := n.save(ctx, next, StepOffered, nil); err != nil {
		return e, err
	}
	return next, nil
}

// confirm asks a Region that is a member of an exchange's making whether it holds the key, when the end of the exchange
// is not known here: a restored store has lost it. If it signs that it holds all materials in that incarnation, its
// answer takes the place of the receipt.
func (n *Node) confirm(ctx context.Context, e SourceExchange, incarnation [16]byte) (SourceExchange, error) {
	ack, data, err := n.push(ctx, e.Order.Region, e.Order.Account, e.Order.KeyID)
	if err != nil {
		return e, fmt.Errorf("%w: %w", errLater, err)
	}
	k, _, err := n.holding(ctx, e.Order.Account, e.Order.KeyID)
	if err != nil {
		return e, err
	}
	if ack.Incarnation != incarnation {
		// What this exchange made is no more, and another one has made the replica of today.
		if m, listed := k.MultiRegion.State.Member(e.Order.Region); !listed || m.Incarnation != incarnation {
			return n.fail(ctx, e, regions.CodeAlreadyExists, "The key is in "+e.Order.Region+" by another exchange.")
		}
		return e, fmt.Errorf("%w: %s holds the key in another incarnation", errLater, e.Order.Region)
	}
	for _, m := range k.MultiRegion.State.Needed() {
		// What is pending came later, and is supplied to a member.
		if m.Status != keyset.Pending && !slices.Contains(ack.Materials, m.ID) {
			return e, fmt.Errorf("%w: %s holds the key without material %s", errLater, e.Order.Region, m.ID)
		}
	}
	if err := n.logReceipt(ctx, e.Order.Account, e.Order.KeyID, e.Order.Region, incarnation, data); err != nil {
		return e, err
	}
	done := e
	done.Step, done.M4, done.Due = StepFinished, data, 0
	if _, err := n.save(ctx, done, e.Step, func(tx regions.Tx) error {
		if err := n.changeMember(ctx, tx, e, func(s *keyset.State, i int) { s.Members[i].Status = keyset.Active }); err != nil {
			return err
		}
		return n.noteReceipt(ctx, tx, regions.Statement{
			Account: e.Order.Account, KeyID: e.Order.KeyID, Region: e.Order.Region, Incarnation: ack.Incarnation,
			Epoch: ack.Epoch, Sequence: ack.Sequence, Materials: ack.Materials, Signed: data,
		})
	}); err != nil {
		return e, err
	}
	return done, nil
}
