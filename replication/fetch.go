package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"antipode/regions"
	"antipode/replication/wire"
)

// justBefore is the place after which a key comes first, whatever other keys there are.
func justBefore(account, keyID string) wire.Cursor {
	last := len(keyID) - 1
	if last < 0 {
		return wire.Cursor{}
	}
	return wire.Cursor{Account: account, KeyID: keyID[:last] + string(keyID[last]-1) + "~"}
}

// fetch asks another Region what it knows of one key, and takes over its state if that is certified and higher than the one
// here. Material that is missing here then, and is there, is asked for. It returns a [*regions.Error] if the state is
// refused.
func (n *Node) fetch(ctx context.Context, from, account, keyID string) error {
	page, err := n.know(ctx, from, justBefore(account, keyID), 1)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(page.Keys, func(k wire.KnownKey) bool { return k.Account == account && k.KeyID == keyID })
	if at < 0 {
		return fmt.Errorf("%w: %s in %s", regions.ErrUnknownKey, keyID, from)
	}
	there := page.Keys[at]
	if !n.region.Roster().AllowsAccount(from, account) {
		return regions.Errorf(regions.CodeAccessDenied, "Region %s takes nothing of account %s from %s.", n.region.Name(), account, from)
	}
	st, err := n.region.Learn(ctx, regions.Shared{Account: account, KeyID: keyID, From: from, Signed: there.State, Chain: there.Chain})
	if errors.Is(err, regions.ErrBuried) {
		return nil // it does not know of the deletion yet
	}
	refusal, err := n.refusalOf(ctx, from, account, keyID, err)
	if err != nil {
		return err
	}
	if refusal != nil {
		if refusal.Code != wire.CodeConflict { // that has its alarm
			err = n.region.Audit().Service(ctx, n.refusalEvent(from, account, keyID, "", refusal))
		}
		return errors.Join(refusal, err)
	}
	if st.Key.Origin != regions.OriginAWSKMS {
		return nil // imported material comes by being imported
	}
	for _, id := range st.Missing() {
		if slices.Contains(there.Materials, id) {
			return n.want(ctx, from, account, keyID)
		}
	}
	return nil
}
