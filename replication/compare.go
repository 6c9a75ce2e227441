package replication

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/wire"
)

// handleCompare says whether the asker holds the same shared states as this Region of the keys that both have, and if not,
// where they differ. It changes nothing, and names no key whose account the asker may not hold.
func (n *Node) handleCompare(ctx context.Context, data []byte, q *wire.Compare) ([]byte, error) {
	out := &wire.Compared{Route: q.Answer(n.region.Roster().Version), Compare: wire.Hash(data)}
	all, buckets, err := n.region.Common(ctx, q.From)
	if err != nil {
		return nil, err
	}
	out.Digest = all
	switch {
	case q.Bucket != 0:
		keys, err := n.region.CommonKeys(ctx, q.From, int(q.Bucket)-1) //nolint:gosec // at most 256
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			at := wire.Cursor{Account: k.Account, KeyID: k.KeyID}
			if at.Compare(q.After) <= 0 || !n.region.Roster().AllowsAccount(q.From, k.Account) {
				continue
			}
			if len(out.Keys) == wire.MaxCompared {
				out.Next = out.Keys[len(out.Keys)-1].Place()
				break
			}
			out.Keys = append(out.Keys, wire.ComparedKey{
				Account: k.Account, KeyID: k.KeyID, Epoch: k.Epoch, Sequence: k.Sequence, Digest: k.Digest,
			})
		}
	case all != q.Digest:
		out.Digests = buckets
	}
	return wire.Sign(ctx, n.region.Ring().RSK(), out)
}

// compare compares the shared states of the keys that this Region has in common with another one, and brings whichever is
// behind up to date: what is higher there is fetched, what is higher here is sent. If nothing differs it is one message.
func (n *Node) compare(ctx context.Context, peer string) error {
	own, buckets, err := n.region.Common(ctx, peer)
	if err != nil {
		return err
	}
	there, err := n.askCompare(ctx, peer, &wire.Compare{Digest: own})
	if err != nil {
		return err
	}
	if there.Digest == own || n.paces.lookedAt(peer, own, there.Digest) {
		return nil
	}
	n.log.Info().Str("peer", peer).Msg("shared states differ; comparing")
	settled := true
	for b := range wire.Buckets {
		at, size := b*wire.DigestSize, wire.DigestSize
		if string(buckets[at:at+size]) == string(there.Digests[at:at+size]) {
			continue
		}
		faults, err := n.compareBucket(ctx, peer, b)
		if err != nil {
			return err
		}
		settled = settled && faults == nil
	}
	if settled {
		// What still differs has its reason, and is not looked at again until either digest is another one.
		n.paces.looked(peer, own, there.Digest)
	}
	return nil
}

// compareBucket brings the keys of one bucket up to date on both sides. What keeps a single key from it is logged, and
// returned apart from what keeps all others too.
func (n *Node) compareBucket(ctx context.Context, peer string, bucket int) (faults, err error) {
	theirs := map[wire.Cursor]wire.ComparedKey{}
	for after := (wire.Cursor{}); ; {
		page, err := n.askCompare(ctx, peer, &wire.Compare{Bucket: uint64(bucket) + 1, After: after}) //nolint:gosec // at most 255
		if err != nil {
			return nil, err
		}
		for _, k := range page.Keys {
			theirs[k.Place()] = k
		}
		if after = page.Next; after == (wire.Cursor{}) {
			break
		}
	}
	ours, err := n.region.CommonKeys(ctx, peer, bucket)
	if err != nil {
		return nil, err
	}
	for _, k := range ours {
		at := wire.Cursor{Account: k.Account, KeyID: k.KeyID}
		there, both := theirs[at]
		delete(theirs, at)
		if both && there.Digest == k.Digest || !n.region.Roster().AllowsAccount(peer, k.Account) {
			continue
		}
		faults = errors.Join(faults, n.bringUp(ctx, peer, at, numbersOf(k.Epoch, k.Sequence, there)))
	}
	for at := range theirs { // the Region that is asked counts this one as a member, and not the other way round
		if _, _, err := n.holding(ctx, at.Account, at.KeyID); errors.Is(err, regions.ErrUnknownKey) {
			continue // only what was asked for becomes a key here
		}
		faults = errors.Join(faults, n.bringUp(ctx, peer, at, -1))
	}
	return faults, nil
}

// numbersOf is positive if the state here is higher than the one there.
func numbersOf(epoch keyset.Epoch, sequence uint64, there wire.ComparedKey) int {
	return cmp.Or(epoch.Compare(there.Epoch), cmp.Compare(sequence, there.Sequence))
}

// bringUp sends a key's state to a Region if it is the higher one, and fetches it from there otherwise: two states of one
// number that differ are found to contradict each other then. A refusal is final; what else went wrong is returned.
func (n *Node) bringUp(ctx context.Context, peer string, at wire.Cursor, order int) error {
	one, cancel := context.WithTimeout(ctx, n.quick)
	defer cancel()
	var err error
	if order > 0 {
		err = n.resend(one, peer, at)
	} else {
		err = n.fetch(one, peer, at.Account, at.KeyID)
	}
	if err == nil {
		return nil
	}
	n.log.Warn().Err(err).Str("peer", peer).Str("key", at.KeyID).Msg("shared states still differ")
	var refusal *regions.Error
	var refused *RefusedError
	if errors.As(err, &refusal) || errors.As(err, &refused) || errors.Is(err, regions.ErrUnknownKey) {
		return nil
	}
	return err
}

// resend sends a state to a member that was found to be behind. At the primary what comes of it is kept.
func (n *Node) resend(ctx context.Context, peer string, at wire.Cursor) error {
	var list []regions.MemberStanding
	err := n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
		list, err = n.region.Standings(ctx, rd, at.Account, at.KeyID)
		return err
	})
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.Region == peer {
			return n.sendOne(ctx, s)
		}
	}
	_, _, err = n.push(ctx, peer, at.Account, at.KeyID)
	return err
}

func (n *Node) askCompare(ctx context.Context, peer string, q *wire.Compare) (*wire.Compared, error) {
	ctx, cancel := context.WithTimeout(ctx, n.quick)
	defer cancel()
	nonce, err := n.region.Ring().Token().Random(ctx, wire.NonceSize)
	if err != nil {
		return nil, err
	}
	q.Nonce = [wire.NonceSize]byte(nonce)
	if q.Route, err = n.newRoute(ctx, peer); err != nil {
		return nil, err
	}
	m, asked, _, err := n.ask(ctx, q)
	if err != nil {
		return nil, err
	}
	c, fits := m.(*wire.Compared)
	if !fits {
		return nil, n.refuseUnsigned(ctx, peer, fmt.Errorf("%w: %s answers a comparison", wire.ErrMismatch, m.Type()))
	}
	if err := c.Answers(asked, q); err != nil {
		return nil, n.refuseUnsigned(ctx, peer, err)
	}
	return c, nil
}
