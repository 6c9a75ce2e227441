package replication

import (
	"context"
	"errors"

	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/keyset"
	"antipode/replication/wire"
)

// handleHandOver makes this Region the primary of a key, or refuses it. What it answers for good it keeps, and gives again
// to whoever repeats the message.
func (n *Node) handleHandOver(ctx context.Context, data []byte, h *wire.HandOver) ([]byte, error) {
	if !h.DryRun {
		if answer, err := n.answered(ctx, data, h); answer != nil || err != nil {
			return answer, err
		}
	}
	s := regions.Succession{
		Shared: regions.Shared{Account: h.Account, KeyID: h.KeyID, From: h.From, Signed: h.State, Chain: h.Chain},
		DryRun: h.DryRun,
	}
	why, final, err := n.checkHandOver(ctx, h, s)
	switch {
	case errors.Is(err, regions.ErrSucceeded):
		return n.acknowledge(ctx, data, h)
	case err != nil:
		return nil, err
	case why != nil:
		return n.refuseHandOver(ctx, data, h, why, final && !h.DryRun)
	case h.DryRun:
		return wire.Sign(ctx, n.region.Ring().RSK(), &wire.HandOverAck{
			Route: h.Answer(n.region.Roster().Version), HandOver: wire.Hash(data),
		})
	}
	return n.succeed(ctx, data, h, s)
}

// answered returns the answer that the message was given before. Another message with a certificate that was refused is
// refused too. It returns nil if there was no answer.
func (n *Node) answered(ctx context.Context, data []byte, h *wire.HandOver) ([]byte, error) {
	a := answerTo(data, h, nil)
	err := n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
		a, err = regions.Get[regions.SuccessionAnswer](ctx, rd, n.region.Ring(), a.RecordKey())
		return err
	})
	if errors.Is(err, regions.ErrNoRecord) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if hash := wire.Hash(data); string(hash[:]) == string(a.Asked) {
		return a.Answer, nil
	}
	m, err := wire.Parse(a.Answer)
	if err != nil {
		return nil, err
	}
	if before, refused := m.(*wire.Refusal); refused {
		return n.refuse(ctx, data, h.Route, regions.Errorf(before.Code, "%s", before.Message), true)
	}
	return n.acknowledge(ctx, data, h)
}

// checkHandOver decides about a hand-over. A refusal is final if this Region's key or the principal is what stands
// against it, and not something that may come right by itself.
func (n *Node) checkHandOver(ctx context.Context, h *wire.HandOver, s regions.Succession) (why *regions.Error, final bool, err error) {
	if !n.region.Roster().AllowsAccount(h.From, h.Account) {
		return regions.Errorf(regions.CodeAccessDenied, "Region %s takes nothing of account %s from %s.",
			n.region.Name(), h.Account, h.From), true, nil
	}
	err = n.region.Store().View(ctx, func(rd regions.Reader) error {
		_, err := n.region.CheckSuccession(ctx, rd, s)
		return err
	})
	if err == nil {
		err = n.region.CheckNewPrimary(ctx, h.Principal, h.Account, h.KeyID)
	}
	return n.handOverRefusal(ctx, h, err)
}

// handOverRefusal says how an error refuses a hand-over.
func (n *Node) handOverRefusal(ctx context.Context, h *wire.HandOver, err error) (why *regions.Error, final bool, _ error) {
	var api *regions.Error
	switch {
	case errors.Is(err, regions.ErrSucceeded):
		return nil, false, err
	case errors.As(err, &api):
		return api, true, nil
	case errors.Is(err, regions.ErrLacksMaterial):
		return regions.Errorf(wire.CodeStaleState, "%v", err), false, nil
	case errors.Is(err, regions.ErrBuried):
		// The replica was deleted here. A grave that is older than the certificate proves that it was never taken.
		return regions.Errorf(wire.CodeReplicaDeleted, "%v", err), n.region.NeverTook(ctx, h.Account, h.KeyID, h.Chain) == nil, nil
	case errors.Is(err, keyset.ErrFork):
		why, err = n.refusalOf(ctx, h.From, h.Account, h.KeyID, err)
		return why, true, err
	}
	why, err = n.refusalOf(ctx, h.From, h.Account, h.KeyID, err)
	return why, false, err
}

// acknowledge answers a hand-over that was accepted with what is held now: one whose answer is not kept, because the store
// was restored since, or another message with the same certificate.
func (n *Node) acknowledge(ctx context.Context, data []byte, h *wire.HandOver) ([]byte, error) {
	k, _, err := n.holding(ctx, h.Account, h.KeyID)
	if err != nil {
		return nil, err
	}
	return wire.Sign(ctx, n.region.Ring().RSK(), &wire.HandOverAck{
		Route: h.Answer(n.region.Roster().Version), HandOver: wire.Hash(data), State: k.MultiRegion.Signed,
		Chain: k.MultiRegion.Certificates,
	})
}

// succeed makes this Region the primary: chain, first state of the new epoch, answer and what is to be sent to the other
// members are committed at once.
func (n *Node) succeed(ctx context.Context, data []byte, h *wire.HandOver, s regions.Succession) (answer []byte, err error) {
	err = n.region.Audited(ctx, n.handOverEvent(h), func(*audit.Event) error {
		return n.region.Update(ctx, func(tx regions.Tx) error {
			k, err := n.region.Succeed(ctx, tx, s)
			if err != nil {
				return err
			}
			answer, err = wire.Sign(ctx, n.region.Ring().RSK(), &wire.HandOverAck{
				Route: h.Answer(n.region.Roster().Version), HandOver: wire.Hash(data), State: k.MultiRegion.Signed,
				Chain: k.MultiRegion.Certificates,
			})
			if err != nil {
				return err
			}
			return n.region.KeepAnswer(ctx, tx, answerTo(data, h, answer))
		})
	})
	if err != nil {
		return nil, err // it is sent again, and refused then if need be
	}
	n.log.Info().Str("key", h.KeyID).Str("peer", h.From).Msg("this Region is the primary now")
	return answer, nil
}

func answerTo(data []byte, h *wire.HandOver, answer []byte) regions.SuccessionAnswer {
	hash := wire.Hash(data)
	certificate := keyset.Hash(h.Chain[len(h.Chain)-1])
	return regions.SuccessionAnswer{
		Certificate: certificate[:], From: h.From, Account: h.Account, KeyID: h.KeyID, Asked: hash[:], Answer: answer,
	}
}

// handOverEvent is the event of UpdatePrimaryRegion in the Region that becomes the primary, of the same request as the
// one in the old primary's.
func (n *Node) handOverEvent(h *wire.HandOver) audit.Event {
	e := audit.Event{
		EventName: "UpdatePrimaryRegion", UserIdentity: audit.UserIdentity{
			ARN: h.Principal, AccountID: h.Account, InvokedBy: "kms.amazonaws.com",
		},
		RequestID: h.RequestID, RecipientAccountID: h.Account,
		Resources: []audit.Resource{{ARN: n.region.KeyARN(h.Account, h.KeyID), AccountID: h.Account}},
	}
	e.RequestParameters.Str("keyId", h.KeyID)
	e.RequestParameters.Str("primaryRegion", n.region.Name())
	return e
}

// refuseHandOver refuses and tells the audit log. A final refusal is the promise that the certificate is never taken: it
// is kept before it is given.
func (n *Node) refuseHandOver(ctx context.Context, data []byte, h *wire.HandOver, why *regions.Error, final bool) ([]byte, error) {
	refusal := &wire.Refusal{
		Route: h.Answer(n.region.Roster().Version), Refuses: wire.Hash(data), Code: why.Code, Message: cut(why.Message), Final: final,
	}
	if why.Code == wire.CodeStaleState || why.Code == wire.CodeNotPrimary {
		n.showState(ctx, h.Account, h.KeyID, refusal)
	}
	n.log.Info().Str("peer", h.From).Str("key", h.KeyID).Str("code", why.Code).Str("why", why.Message).Bool("final", final).
		Msg("hand-over refused")
	answer, err := wire.Sign(ctx, n.region.Ring().RSK(), refusal)
	if err != nil {
		return nil, err
	}
	e := n.handOverEvent(h)
	if !final {
		e.ErrorCode, e.ErrorMessage = why.Code, cut(why.Message)
		e.AWSRegion, e.EventTime = n.region.Name(), n.region.Now()
		return answer, n.region.Audit().Service(ctx, e)
	}
	err = n.region.Audited(ctx, e, func(e *audit.Event) error {
		e.ErrorCode, e.ErrorMessage = why.Code, cut(why.Message)
		return n.region.Update(ctx, func(tx regions.Tx) error {
			return n.region.KeepAnswer(ctx, tx, answerTo(data, h, answer))
		})
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// showState adds the newest state held of a key to a refusal, so that whoever is behind learns it. Without it the refusal
// is as good.
func (n *Node) showState(ctx context.Context, account, keyID string, r *wire.Refusal) {
	if k, _, err := n.holding(ctx, account, keyID); err == nil && n.region.Roster().AllowsAccount(r.To, account) {
		r.State, r.Chain = k.MultiRegion.Signed, k.MultiRegion.Certificates
	}
}
