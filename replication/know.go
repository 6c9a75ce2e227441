package replication

import (
	"context"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/wire"
)

const (
	// scanned is the most records of keys that one question makes this Region read; single-Region keys are among them.
	scanned = 256
	// pageBytes is how large a page may grow before it ends with the key that it has. One key more fits into a message.
	pageBytes = 192 << 10
)

// handleKnow answers one page of what this Region knows of multi-Region keys: those whose account the asker may hold.
// It changes nothing, and is answered by a Region that recovers too, with what it has: of two that were restored, each
// may need the other.
func (n *Node) handleKnow(ctx context.Context, data []byte, q *wire.Know) ([]byte, error) {
	known := &wire.Known{Route: q.Answer(n.region.Roster().Version), Know: wire.Hash(data)}
	ro := n.region.Roster()
	var size int
	scan := min(scanned, 4*int(q.Limit)) //nolint:gosec // at most 64
	err := n.region.Store().View(ctx, func(rd regions.Reader) error {
		keys, err := regions.List[regions.Key](ctx, rd, n.region.Ring(), regions.Query{
			Kind: regions.KindKey, Limit: scan,
			After: regions.RecordKey{Kind: regions.KindKey, Account: q.After.Account, ID: q.After.KeyID},
		})
		if err != nil {
			return err
		}
		for _, k := range keys {
			if uint64(len(known.Keys)) == q.Limit || size > pageBytes {
				return nil
			}
			known.Next = wire.Cursor{Account: k.Account, KeyID: k.KeyID}
			if k.MultiRegion == nil || k.MultiRegion.State == nil || !ro.AllowsAccount(q.From, k.Account) {
				continue
			}
			key, bytes, err := n.knownKey(ctx, rd, k, q)
			if err != nil {
				return err
			}
			known.Keys, size = append(known.Keys, key), size+bytes
		}
		if len(keys) < scan {
			known.Next = wire.Cursor{} // that was the last
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return wire.Sign(ctx, n.region.Ring().RSK(), known)
}

// knownKey is what this Region knows of one key, with about how many bytes that is.
func (n *Node) knownKey(ctx context.Context, rd regions.Reader, k regions.Key, q *wire.Know) (wire.KnownKey, int, error) {
	s := k.MultiRegion.State
	asker, _ := s.Member(q.From)
	key := wire.KnownKey{
		Account: k.Account, KeyID: k.KeyID, Epoch: s.Epoch, Sequence: s.Sequence, Hash: keyset.Hash(k.MultiRegion.Signed),
		Asker: asker.Incarnation, Own: k.MultiRegion.Incarnation,
	}
	_, held, err := n.holdingIn(ctx, rd, k.Account, k.KeyID)
	if err != nil {
		return key, 0, err
	}
	key.Materials = held
	size := 512 + 80*len(held)
	if q.States {
		key.State, key.Chain = k.MultiRegion.Signed, k.MultiRegion.Certificates
		size += len(key.State)
		for _, c := range key.Chain {
			size += len(c)
		}
	}
	exchanges, err := regions.List[SourceExchange](ctx, rd, n.region.Ring(), regions.Query{
		Kind: regions.KindSourceEx, Account: k.Account, ID: k.KeyID,
	})
	if err != nil {
		return key, 0, err
	}
	for _, e := range exchanges {
		key.Underway = key.Underway || e.Order.Region == q.From && e.open() && e.member()
	}
	key.Receipt = newestReceipt(exchanges, q.From)
	return key, size + len(key.Receipt), nil
}
