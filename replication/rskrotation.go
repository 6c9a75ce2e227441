package replication

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/cose"
	"antipode/regions/keyset"
	"antipode/regions/roster"
	"antipode/replication/wire"
)

// rotateRSK makes the next step of a rotation, if there is one: the new key signs when every peer has acknowledged it, and
// the old one is retired when the peers have all that it signed. own is this Region's entry of itself.
func (n *Node) rotateRSK(ctx context.Context, own roster.Entry) error {
	rot, err := n.region.RotationOfRSK(ctx)
	if errors.Is(err, regions.ErrNotRotating) || err == nil && len(rot.New) == 0 {
		return nil // none, or `rotate-rsk` goes on with it
	}
	if err != nil {
		return err
	}
	var waits []string
	for _, peer := range n.others() {
		if slices.Contains(rot.Without, peer) {
			continue
		}
		if ok, fault := n.announced.acknowledgedBy(peer, own.Own); !ok {
			waits = append(waits, fmt.Sprintf("%s has not acknowledged the new key: %s", peer, fault))
		}
	}
	if len(waits) == 0 && !rot.Signing {
		if err := n.rskEvent(ctx, "UseSigningKey", rot, func() error { return n.region.UseNewRSK(ctx) }); err != nil {
			return err
		}
		rot.Signing = true
	}
	if len(waits) == 0 {
		if now := n.steady(); now.Before(n.rsk.notBefore) {
			return nil
		}
		waits, err = n.signedByOld(ctx, rot)
		n.rsk.notBefore = n.steady().Add(min(lastBackoff, firstBackoff<<min(n.rsk.tries, 8)))
		n.rsk.tries++
		if err != nil {
			return err
		}
	}
	n.announced.mu.Lock()
	n.rskWaits = waits
	n.announced.mu.Unlock()
	if len(waits) > 0 {
		return nil
	}
	n.rsk = newRSKProgress()
	return n.rskEvent(ctx, "RetireSigningKey", rot, func() error { return n.region.RetireOldRSK(ctx) })
}

// rskProgress is what one process knows of a rotation; a restart begins it again. Only RosterTick uses it.
type rskProgress struct {
	// settled are the keys of which every member has acknowledged a state that the old key did not sign, and its chain.
	settled   map[regions.RecordKey]bool
	tries     int
	notBefore time.Time // when what the old key signed is looked at again: it reads every key
}

func newRSKProgress() rskProgress { return rskProgress{settled: map[regions.RecordKey]bool{}} }

func (n *Node) rskEvent(ctx context.Context, name string, rot regions.RSKRotation, do func() error) error {
	e := audit.Event{
		EventName: name, EventType: audit.TypeServiceEvent, UserIdentity: audit.UserIdentity{InvokedBy: "AWS Internal"},
		ServiceEventDetails: details("old", fmt.Sprintf("%x", cose.KeyID(rot.Old)), "new", fmt.Sprintf("%x", cose.KeyID(rot.New))),
	}
	err := n.region.Audited(ctx, e, func(*audit.Event) error { return do() })
	if err == nil {
		n.log.Info().Str("old", fmt.Sprintf("%x", cose.KeyID(rot.Old))).Str("new", fmt.Sprintf("%x", cose.KeyID(rot.New))).
			Str("step", name).Msg("replication signing key")
	}
	return err
}

// maxNamed is how many of the things that a rotation waits for are named.
const maxNamed = 16

// signedByOld sees to it that nothing the old key signed is needed by anybody: exchanges that it began end, and every
// multi-Region key's shared state is signed anew, and acknowledged by every member together with its chain. It returns what
// is left.
func (n *Node) signedByOld(ctx context.Context, rot regions.RSKRotation) (waits []string, err error) {
	old := cose.KeyID(rot.Old)
	if n.region.Recovering() {
		return []string{"the recovery of this Region"}, nil
	}
	var keys []regions.Key
	err = n.region.Store().View(ctx, func(rd regions.Reader) error {
		if waits, err = n.openByOld(ctx, rd, old); err != nil {
			return err
		}
		keys, err = regions.List[regions.Key](ctx, rd, n.region.Ring(), regions.Query{Kind: regions.KindKey})
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if len(waits) >= maxNamed {
			return append(waits, "..."), nil
		}
		if k.MultiRegion == nil || k.MultiRegion.State == nil || !involves(k.MultiRegion, old) {
			continue
		}
		if n.rsk.settled[k.RecordKey()] {
			continue
		}
		more, err := n.settleKey(ctx, k, old)
		if err != nil {
			more = append(more, fmt.Sprintf("key %s: %v", k.KeyID, err))
		}
		waits = append(waits, more...)
	}
	return waits, nil
}

// involves reports whether the old key signed a key's state, or a certificate of its chain.
func involves(mr *regions.MultiRegion, old []byte) bool {
	return signedBy(mr.Signed, old) || slices.ContainsFunc(mr.Certificates, func(c []byte) bool { return signedBy(c, old) })
}

func signedBy(data, keyID []byte) bool {
	_, by, err := cose.Peek(data)
	return err == nil && bytes.Equal(by, keyID)
}

// settleKey signs a key's state anew if it is the old key's, and shows state and chain to every member.
func (n *Node) settleKey(ctx context.Context, k regions.Key, old []byte) (waits []string, err error) {
	if k.MultiRegion.State.Primary == n.region.Name() && signedBy(k.MultiRegion.Signed, old) {
		err := n.resign(ctx, k.Account, k.KeyID)
		if err != nil {
			return nil, err
		}
		if k, _, err = n.holding(ctx, k.Account, k.KeyID); err != nil {
			return nil, err
		}
	}
	state := *k.MultiRegion.State
	for _, m := range state.Members {
		if m.Region == n.region.Name() {
			continue
		}
		if _, err := n.region.Roster().Entry(m.Region); errors.Is(err, roster.ErrRemoved) {
			continue
		}
		one, cancel := context.WithTimeout(ctx, n.quick)
		ack, _, err := n.push(one, m.Region, k.Account, k.KeyID)
		cancel()
		switch {
		case err != nil:
			waits = append(waits, fmt.Sprintf("%s has not acknowledged key %s: %v", m.Region, k.KeyID, err))
		case ack.Epoch.Compare(state.Epoch) < 0 || ack.Epoch == state.Epoch && ack.Sequence < state.Sequence:
			waits = append(waits, fmt.Sprintf("%s holds an older state of key %s", m.Region, k.KeyID))
		}
	}
	if len(waits) == 0 {
		n.rsk.settled[k.RecordKey()] = true
	}
	return waits, nil
}

// resign gives the shared state of a key whose primary this Region is the next number, and nothing else.
func (n *Node) resign(ctx context.Context, account, keyID string) error {
	return n.region.Update(ctx, func(tx regions.Tx) error {
		_, err := n.region.ChangeShared(ctx, tx, account, keyID, func(*regions.Key, *keyset.State) error { return nil })
		return err
	})
}

// openByOld lists exchanges, hand-overs and deletions that are not at their end, and have a message of the old key's.
func (n *Node) openByOld(ctx context.Context, rd regions.Reader, old []byte) (waits []string, err error) {
	sent, err := regions.List[SourceExchange](ctx, rd, n.region.Ring(), regions.Query{Kind: regions.KindSourceEx, DueBy: 1<<62 - 1})
	if err != nil {
		return nil, err
	}
	for _, e := range sent {
		if e.open() && (signedBy(e.M1, old) || signedBy(e.M3, old)) {
			waits = append(waits, fmt.Sprintf("an exchange of key %s with %s", e.Order.KeyID, e.Order.Region))
		}
	}
	taken, err := regions.List[DestinationExchange](ctx, rd, n.region.Ring(), regions.Query{Kind: regions.KindDestEx, Ref: openRef})
	if err != nil {
		return nil, err
	}
	for _, e := range taken {
		if signedBy(e.M2, old) {
			waits = append(waits, fmt.Sprintf("an exchange of key %s from %s", e.KeyID, e.From))
		}
	}
	handed, err := regions.List[regions.HandOver](ctx, rd, n.region.Ring(), regions.Query{Kind: regions.KindHandOver})
	if err != nil {
		return nil, err
	}
	for _, h := range handed {
		if signedBy(h.Message, old) {
			waits = append(waits, fmt.Sprintf("the hand-over of key %s to %s", h.KeyID, h.Successor))
		}
	}
	graves, err := regions.List[regions.Tombstone](ctx, rd, n.region.Ring(), regions.Query{Kind: regions.KindTombstone, DueBy: 1<<62 - 1})
	if err != nil {
		return nil, err
	}
	for _, t := range graves {
		if signedBy(t.Gone, old) {
			waits = append(waits, fmt.Sprintf("%s does not know yet that the replica of key %s was deleted", t.Primary, t.KeyID))
		}
	}
	return waits, nil
}

// asStored returns a stored answer as it was sent; one that a key of this Region's signed which is out of use since is
// signed anew, or its addressee could not believe it. What it says is the same.
func (n *Node) asStored(ctx context.Context, answer []byte) ([]byte, error) {
	_, by, err := cose.Peek(answer)
	if err != nil {
		return answer, nil //nolint:nilerr // not a message: it is for the addressee to say so
	}
	if _, err := n.region.Roster().VerifyKey(n.region.Name(), by); !errors.Is(err, roster.ErrInactiveKey) {
		return answer, nil
	}
	m, err := wire.Parse(answer)
	if err != nil {
		return nil, err
	}
	return wire.Sign(ctx, n.region.Ring().RSK(), m)
}
