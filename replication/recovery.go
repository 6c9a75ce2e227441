package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/keyset"
	"antipode/replication/wire"
)

// maxWants is how many keys are asked for in one step of a recovery.
const maxWants = 64

// recoverMore is one step of a recovery: it asks every other Region of the roster what it knows, and for what is missing
// here, and ends the recovery when all have answered in full and nothing that they named is missing. Nothing of it needs
// to be durable: after a restart it begins again.
func (n *Node) recoverMore(ctx context.Context) error {
	rec := n.region.Recovery()
	n.learnt.begin(rec, n.others())
	var wait sync.WaitGroup
	for _, name := range n.learnt.toAsk(n.region.Now()) {
		wait.Go(func() { n.learnt.asked(name, n.region.Now(), n.askAll(ctx, name)) })
	}
	wait.Wait()
	n.learnt.giveUp()
	err := n.wantMore(ctx)
	n.region.SetWaits(n.learnt.waits())
	if err != nil || !n.learnt.complete() {
		return err
	}
	var details audit.Fields
	details.Strs("asked", n.learnt.names())
	details.Strs("without", rec.Without)
	err = n.region.Audited(ctx, audit.Event{
		EventName: "EndRecovery", EventType: audit.TypeServiceEvent,
		UserIdentity: audit.UserIdentity{InvokedBy: "AWS Internal"}, ServiceEventDetails: details,
	}, func(*audit.Event) error { return n.region.EndRecovery(ctx, n.learnt.members()) })
	if err != nil {
		return err
	}
	n.log.Info().Strs("asked", n.learnt.names()).Strs("without", rec.Without).Msg("recovery has ended")
	n.region.SetWaits("", nil)
	return nil
}

// others are the Regions of the roster but this one and those that were removed.
func (n *Node) others() (names []string) {
	for _, e := range n.region.Roster().Regions {
		if e.Region != n.region.Name() && !e.Removed {
			names = append(names, e.Region)
		}
	}
	return names
}

// askAll asks a Region for all that it knows, and learns it. An error of one key does not keep the others from being
// learnt, but the answer is not a full one then.
func (n *Node) askAll(ctx context.Context, peer string) error {
	var faults error
	for after := (wire.Cursor{}); ; {
		one, cancel := context.WithTimeout(ctx, n.quick)
		page, err := n.know(one, peer, after, wire.MaxKnown)
		cancel()
		if err != nil {
			return errors.Join(faults, err)
		}
		for _, k := range page.Keys {
			if err := n.learn(ctx, peer, k); err != nil {
				faults = errors.Join(faults, fmt.Errorf("%s: %w", k.KeyID, err))
			}
		}
		if after = page.Next; after == (wire.Cursor{}) {
			return faults
		}
	}
}

// know asks for one page, with states.
func (n *Node) know(ctx context.Context, peer string, after wire.Cursor, limit uint64) (*wire.Known, error) {
	nonce, err := n.region.Ring().Token().Random(ctx, wire.NonceSize)
	if err != nil {
		return nil, err
	}
	q := &wire.Know{After: after, Limit: limit, States: true, Nonce: [wire.NonceSize]byte(nonce)}
	if q.Route, err = n.newRoute(ctx, peer); err != nil {
		return nil, err
	}
	m, asked, _, err := n.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	known, fits := m.(*wire.Known)
	if !fits {
		return nil, n.refuseUnsigned(ctx, peer, fmt.Errorf("%w: %s answers what is known", wire.ErrMismatch, m.Type()))
	}
	if err := known.Answers(asked, q); err != nil {
		return nil, n.refuseUnsigned(ctx, peer, err)
	}
	return known, nil
}

// learn takes over what a peer knows of one key: its state, if that is certified and higher, and what is missing here.
func (n *Node) learn(ctx context.Context, peer string, k wire.KnownKey) error {
	if !n.region.Roster().AllowsAccount(peer, k.Account) {
		return nil // nothing of the account was ever exchanged with it
	}
	sent := regions.Shared{Account: k.Account, KeyID: k.KeyID, From: peer, Signed: k.State, Chain: k.Chain}
	st, err := n.region.Learn(ctx, sent)
	if errors.Is(err, regions.ErrBuried) {
		return nil // the peer does not know of the deletion yet
	}
	here := err == nil
	if err != nil && !errors.Is(err, regions.ErrUnknownKey) {
		refusal, err := n.refusalOf(ctx, peer, k.Account, k.KeyID, err)
		if err != nil {
			return err
		}
		if refusal.Code != wire.CodeConflict { // that has its alarm
			err = n.region.Audit().Service(ctx, n.refusalEvent(peer, k.Account, k.KeyID, "", refusal))
		}
		return errors.Join(refusal, err)
	}
	if _, listed := st.Sent.Member(n.region.Name()); !listed {
		return nil
	}
	if here && st.Sent.Primary == n.region.Name() {
		n.learnt.member(regions.Holder{
			Account: k.Account, KeyID: k.KeyID, Region: peer, Incarnation: k.Own, Materials: k.Materials,
		})
	}
	missing := st.Missing()
	if len(k.Receipt) > 0 {
		if missing, err = n.addReceipt(k, st, missing); err != nil {
			return n.refuseUnsigned(ctx, peer, err)
		}
	}
	switch {
	case !here && k.Underway && st.Sent.Primary == peer:
		n.learnt.leave(k.Place())
	case !here || len(missing) > 0:
		n.learnt.need(k.Place(), sent, st, missing, k.Materials)
	}
	return nil
}

// addReceipt adds to what is missing the materials that this Region once signed to hold.
func (n *Node) addReceipt(k wire.KnownKey, st regions.Standing, missing []string) ([]string, error) {
	r, err := n.openOwnReceipt(k.Receipt)
	if err != nil {
		return nil, fmt.Errorf("receipt for %s: %w", k.KeyID, err)
	}
	if r.Incarnation != k.Asker {
		return missing, nil // of a replica that was deleted since
	}
	for _, id := range r.Materials {
		lost := slices.ContainsFunc(st.Sent.Materials, func(m keyset.Material) bool { return m.ID == id && m.Status == keyset.Abandoned })
		if !slices.Contains(st.Held, id) && !slices.Contains(missing, id) && !lost {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

// wantMore looks after what is missing: what has come is crossed off, and for the rest a Region that has it is asked.
func (n *Node) wantMore(ctx context.Context) error {
	busy := map[string]bool{}
	for _, d := range n.learnt.due(n.region.Now(), maxWants) {
		k, held, err := n.holding(ctx, d.place.Account, d.place.KeyID)
		if err != nil && !errors.Is(err, regions.ErrUnknownKey) {
			return err
		}
		if err == nil && n.learnt.satisfied(d.place, held) {
			// The state that was named may be higher than the one that came with the material.
			if _, err := n.region.Learn(ctx, d.best); err != nil {
				return err
			}
			n.learnt.leave(d.place)
			continue
		}
		if busy[d.holder] {
			continue
		}
		if err == nil && d.behind(*k.MultiRegion.State) {
			if _, err := n.Push(ctx, d.holder, d.place.Account, d.place.KeyID); err != nil {
				n.log.Warn().Err(err).Str("peer", d.holder).Str("key", d.place.KeyID).Msg("the holder's state is behind")
			}
		}
		err = n.want(ctx, d.holder, d.place.Account, d.place.KeyID)
		n.learnt.wanted(d.place, n.region.Now(), err)
		var refused *RefusedError
		if err != nil && (!errors.As(err, &refused) || refused.Code == wire.CodeBusy) {
			busy[d.holder] = true
		}
		if err != nil {
			n.log.Warn().Err(err).Str("peer", d.holder).Str("key", d.place.KeyID).Msg("material is not supplied")
		}
	}
	return nil
}

// wait is how long to wait before a Region is asked again: it doubles from a quarter of a second to eight.
func wait(tries int) time.Duration { return time.Second / 4 << min(tries, 5) }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
