package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"antipode/hsmbackend"
	"antipode/regions"
	"antipode/regions/keyring"
	"antipode/replication/wire"
)

// makeTransfer takes an exchange from accepted to transferred: the material is wrapped on the token.
func (n *Node) makeTransfer(ctx context.Context, e SourceExchange) (SourceExchange, error) {
	m3, err := n.wrap(ctx, e)
	if err != nil {
		return e, fmt.Errorf("make transfer: %w", err)
	}
	next := e
	next.Step, next.M3 = StepTransferred, m3
	saved, err := n.save(ctx, next, StepAccepted, nil)
	if err != nil {
		return e, err // m3 was never sent, and another one will be made
	}
	return saved, nil
}

// wrap makes m3. RAKA, RWK and the transient copies of the material live in a session of their own and are gone with it.
func (n *Node) wrap(ctx context.Context, e SourceExchange) (m3 []byte, err error) {
	offer, err := parse[*wire.Offer](e.M1)
	if err != nil {
		return nil, err
	}
	accept, err := parse[*wire.Accept](e.M2)
	if err != nil {
		return nil, err
	}
	var k regions.Key
	var materials []regions.MaterialRecord
	err = n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
		if k, err = regions.Get[regions.Key](ctx, rd, n.region.Ring(), regions.Key{Account: e.Order.Account, KeyID: e.Order.KeyID}.RecordKey()); err != nil {
			return err
		}
		materials, err = regions.List[regions.MaterialRecord](ctx, rd, n.region.Ring(), regions.Query{
			Kind: regions.KindMaterial, Account: e.Order.Account, ID: e.Order.KeyID,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	token := n.region.Ring().Token()
	scope, err := token.OpenScope(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, token.CloseScope(scope)) }()
	t := &wire.Transfer{
		Route: offer.Route, Offer: wire.Hash(e.M1), Accept: wire.Hash(e.M2), Token: token.Info().Serial,
		State: k.MultiRegion.Signed, Chain: k.MultiRegion.Certificates,
	}
	if e.supply() {
		t.State, t.Chain = offer.State, offer.Chain
	}
	for _, m := range offer.Materials {
		t.Materials = append(t.Materials, wire.Wrapped{ID: m.ID})
	}
	rwk, err := n.makeRWK(ctx, e, accept, t, scope)
	if err != nil {
		return nil, err
	}
	for i := range t.Materials {
		at := slices.IndexFunc(materials, func(m regions.MaterialRecord) bool { return m.ID == t.Materials[i].ID })
		if at < 0 {
			return nil, fmt.Errorf("material %s is not in the store", t.Materials[i].ID)
		}
		t.Materials[i].Public = materials[at].Public
		if t.Materials[i].Blob, err = n.wrapOne(ctx, materials[at].Material, rwk, scope); err != nil {
			return nil, err
		}
	}
	return wire.Sign(ctx, n.region.Ring().RSK(), t)
}

// makeRWK makes RWK at the source and puts what the destination needs for it into t, which is complete but for that and
// the blobs.
func (n *Node) makeRWK(ctx context.Context, e SourceExchange, accept *wire.Accept, t *wire.Transfer, scope hsmbackend.Scope) (
	rwk hsmbackend.KeyRef, err error,
) {
	token := n.region.Ring().Token()
	if accept.Suite.RSA() {
		rwk, t.RWK, err = sentKey(ctx, token, accept.Suite, accept.RAKB, scope)
		return rwk, err
	}
	raka, point, err := agreementKey(ctx, token, scope)
	if err != nil {
		return rwk, err
	}
	t.RAKA = point
	transcript, err := wire.Transcript(accept.Suite, e.M1, e.M2, t)
	if err != nil {
		return rwk, err
	}
	return wrappingKey(ctx, token, accept.Suite, raka, accept.RAKB, transcript, hsmbackend.UsageWrap, scope)
}

func (n *Node) wrapOne(ctx context.Context, m keyring.Material, rwk hsmbackend.KeyRef, scope hsmbackend.Scope) (blob []byte, err error) {
	token := n.region.Ring().Token()
	ref, err := n.region.Ring().Transient(ctx, m, scope)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, token.Destroy(context.WithoutCancel(ctx), ref)) }()
	return token.Wrap(ctx, rwk, ref)
}
