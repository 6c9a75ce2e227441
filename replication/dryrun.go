package replication

import (
	"context"
	"errors"

	"antipode/regions"
	"antipode/replication/wire"
)

// dryRun asks the destination whether it would take the key, before anything is committed here or made there: neither
// Region's store nor token has anything of it afterwards. It returns the suite that both would use, or an
// [*regions.Error] that says why there would be no replica. What it found may have changed when the exchange is made,
// which therefore checks all of it again.
func (n *Node) dryRun(ctx context.Context, order regions.ReplicaOrder) (wire.Suite, error) {
	e, err := n.newExchange(ctx, order, true)
	if err != nil {
		return "", err
	}
	offer, err := parse[*wire.Offer](e.M1)
	if err != nil {
		return "", err
	}
	m, _, err := n.call(ctx, e, e.M1)
	if err != nil {
		return "", n.noAnswer(e, err)
	}
	switch m := m.(type) {
	case *wire.Refusal:
		if err := m.Answers(e.M1, offer.Route); err != nil {
			return "", n.noAnswer(e, n.refuseUnsigned(ctx, order.Region, err))
		}
		e.Code, e.Message = m.Code, m.Message
		return "", apiError(e)
	case *wire.Accept:
		err := n.checkAccept(e, offer, m)
		if errors.Is(err, wire.ErrNoSuite) {
			e.Code, e.Message = wire.CodeNoCommonSuite, err.Error()
			return "", apiError(e)
		}
		if err != nil {
			return "", n.noAnswer(e, n.refuseUnsigned(ctx, order.Region, err))
		}
		return m.Suite, nil
	default:
		return "", n.noAnswer(e, errors.New("the answer to an offer is a "+m.Type()))
	}
}

// noAnswer is what the caller of ReplicateKey is told if the destination gave no answer that counts.
func (n *Node) noAnswer(e SourceExchange, why error) error {
	n.log.Warn().Err(why).Str("key", e.Order.KeyID).Str("peer", e.Order.Region).Msg("region can't be reached")
	return unreachable(e)
}

func unreachable(e SourceExchange) *regions.Error {
	return regions.Errorf(regions.CodeDependencyTimeout, "The Region %s can't be reached. Nothing was changed; try again.", e.Order.Region)
}
