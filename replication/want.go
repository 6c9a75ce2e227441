package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"antipode/regions"
	"antipode/replication/wire"
)

// handleWant begins a supply of what the asker lacks, if it is a member of the key set by the state held here and may
// hold the account's keys. At most one exchange is open for a key and a Region, and no more for a Region than its roster
// entry allows to be open.
func (n *Node) handleWant(ctx context.Context, data []byte, w *wire.Want) ([]byte, error) {
	refuse := func(code, format string, args ...any) ([]byte, error) {
		return n.refuseShared(ctx, data, w.Route, w.Account, w.KeyID, regions.Errorf(code, format, args...))
	}
	entry, err := n.region.Roster().Entry(w.From)
	if err != nil {
		return nil, err
	}
	if !n.region.Roster().AllowsAccount(w.From, w.Account) {
		return refuse(regions.CodeAccessDenied, "Keys of account %s may not be sent to %s.", w.Account, w.From)
	}
	k, held, err := n.holding(ctx, w.Account, w.KeyID)
	if errors.Is(err, regions.ErrUnknownKey) {
		return refuse(wire.CodeUnknownKey, "%s is not here", w.KeyID)
	}
	if err != nil {
		return nil, err
	}
	if _, listed := k.MultiRegion.State.Member(w.From); !listed {
		return refuse(wire.CodeNotMember, "%s is no member of the key set", w.From)
	}
	var missing []string
	for _, id := range held {
		if !slices.Contains(w.Materials, id) {
			missing = append(missing, id)
		}
	}
	open, mine, err := n.openTo(ctx, w.From, w.Account, w.KeyID)
	if err != nil {
		return nil, err
	}
	if mine == ([16]byte{}) {
		if uint64(open) >= entry.Limits.MaxOpenExchanges { //nolint:gosec // a count
			return refuse(wire.CodeBusy, "%d exchanges are open", open)
		}
		mine, err = n.Supply(ctx, w.Account, w.KeyID, w.From, missing)
		if refusal, err := n.refusalOf(ctx, w.From, w.Account, w.KeyID, err); err != nil || refusal != nil {
			if err != nil {
				return nil, err
			}
			return refuse(refusal.Code, "%s", refusal.Message)
		}
	}
	return wire.Sign(ctx, n.region.Ring().RSK(), &wire.WantAck{
		Route: w.Answer(n.region.Roster().Version), Want: wire.Hash(data), Supply: mine,
	})
}

// openTo counts the exchanges that are open to a Region, and returns the id of the one for a key, zeros if there is none.
func (n *Node) openTo(ctx context.Context, to, account, keyID string) (count int, mine [16]byte, err error) {
	var open []SourceExchange
	err = n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
		open, err = regions.List[SourceExchange](ctx, rd, n.region.Ring(), regions.Query{Kind: regions.KindSourceEx, DueBy: 1<<62 - 1})
		return err
	})
	for _, e := range open {
		if e.Order.Region != to {
			continue
		}
		count++
		if e.Order.Account == account && e.Order.KeyID == keyID {
			mine = e.ID
		}
	}
	return count, mine, err
}

// want asks a Region for the materials of a key that are not here. It returns a *RefusedError if it refuses.
func (n *Node) want(ctx context.Context, from, account, keyID string) error {
	_, held, err := n.holding(ctx, account, keyID)
	if err != nil && !errors.Is(err, regions.ErrUnknownKey) {
		return err
	}
	w := &wire.Want{Account: account, KeyID: keyID, Materials: held}
	if w.Route, err = n.newRoute(ctx, from); err != nil {
		return err
	}
	m, asked, _, err := n.ask(ctx, w)
	if err != nil {
		return err
	}
	ack, fits := m.(*wire.WantAck)
	if !fits {
		return n.refuseUnsigned(ctx, from, fmt.Errorf("%w: %s answers a want", wire.ErrMismatch, m.Type()))
	}
	if err := ack.Answers(asked, w); err != nil {
		return n.refuseUnsigned(ctx, from, err)
	}
	return nil
}
