package replication

import (
	"context"
	"errors"
	"fmt"

	"antipode/regions"
	"antipode/regions/audit"
	"antipode/replication/wire"
)

// handleOffer answers m1 with m2, or a refusal. Until everything about the offer is checked the token is asked nothing.
func (n *Node) handleOffer(ctx context.Context, data []byte, o *wire.Offer) ([]byte, error) {
	e, known, err := n.load(ctx, o.From, o.ExchangeID)
	if err != nil {
		return nil, err
	}
	if known {
		return n.repeatOffer(ctx, data, o, e)
	}
	if buried, err := n.buried(ctx, o.ExchangeID); buried != nil || err != nil {
		if err != nil {
			return nil, err
		}
		return n.refuse(ctx, data, o.Route, regions.Errorf(wire.CodeExchangeEnded, "%v", buried), false)
	}
	suite, refusal, err := n.checkOffer(ctx, o)
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return n.refuseOffer(ctx, data, o, refusal)
	}
	entry, err := n.region.Roster().Entry(o.From)
	if err != nil {
		return nil, err
	}
	if n.rakbs.overdue() { // they count
		if err := n.dropOverdue(ctx); err != nil {
			return nil, err
		}
	}
	if !o.DryRun {
		return n.reserve(ctx, data, o, suite, entry.Limits.MaxOpenExchanges)
	}
	if n.rakbs.full(o.From, entry.Limits.MaxOpenExchanges) {
		return n.refuseOffer(ctx, data, o, busy())
	}
	return n.accept(ctx, data, o, suite, nil)
}

func busy() *regions.Error { return regions.Errorf(wire.CodeBusy, "too many exchanges are open") }

// repeatOffer answers an exchange id that was seen before: with the stored m2 if it is the same offer.
func (n *Node) repeatOffer(ctx context.Context, data []byte, o *wire.Offer, e DestinationExchange) ([]byte, error) {
	if wire.Hash(e.M1) != wire.Hash(data) {
		return n.refuse(ctx, data, o.Route, regions.Errorf("ExchangeReused", "another offer had this exchange id"), false)
	}
	if e.Step == StepReserved && !n.rakbs.has(e.rakb()) {
		if err := n.lose(ctx, e); err != nil {
			return nil, err
		}
		e.Step = StepLost
	}
	if e.Step == StepLost || e.Step == StepRefused {
		return n.refuse(ctx, data, o.Route, regions.Errorf(wire.CodeExchangeLost, "the exchange has ended"), false)
	}
	return n.asStored(ctx, e.M2)
}

// checkOffer decides whether this Region would take the key. Nothing is changed. A refusal is an *regions.Error whose
// code goes into the message.
func (n *Node) checkOffer(ctx context.Context, o *wire.Offer) (wire.Suite, *regions.Error, error) {
	ro := n.region.Roster()
	entry, err := ro.Entry(o.From)
	if err != nil {
		return "", nil, err
	}
	if !ro.AllowsAccount(o.From, o.Account) {
		return "", regions.Errorf(regions.CodeAccessDenied, "Region %s takes no keys of account %s from %s.",
			n.region.Name(), o.Account, o.From), nil
	}
	suite, err := wire.Choose(Suites(n.region.Ring().Token().Capabilities()), o.Suites, wire.Suite(entry.Limits.MinSuite))
	if err != nil {
		return "", regions.Errorf(wire.CodeNoCommonSuite, "%v", err), nil
	}
	if o.Purpose == wire.PurposeSupply {
		refusal, err := n.checkSupply(ctx, o)
		return suite, refusal, err
	}
	if err := n.region.CheckReplica(ctx, replicaOf(o)); err != nil {
		var refusal *regions.Error
		if errors.As(err, &refusal) {
			return "", refusal, nil
		}
		return "", nil, err
	}
	return suite, nil, nil
}

func replicaOf(o *wire.Offer) regions.Replica {
	r := regions.Replica{
		Account: o.Account, KeyID: o.KeyID, Spec: o.Spec, Usage: o.Usage, Origin: o.Origin, Principal: o.Principal,
		Policy: o.Policy, Description: o.Description, Source: o.From, Incarnation: o.ExchangeID,
	}
	for _, t := range o.Tags {
		r.Tags = append(r.Tags, regions.Tag{TagKey: t.Key, TagValue: t.Value})
	}
	return r
}

// reserve makes RAKB. For a replication it reserves the key id with a key in state Creating, which serves nothing.
func (n *Node) reserve(ctx context.Context, data []byte, o *wire.Offer, suite wire.Suite, limit uint64) (_ []byte, err error) {
	id := rakbID{from: o.From, id: o.ExchangeID}
	public, err := n.rakbs.make(ctx, id, suite, limit)
	if errors.Is(err, errBusy) {
		return n.refuseOffer(ctx, data, o, busy())
	}
	if err != nil {
		return nil, fmt.Errorf("make RAKB: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.rakbs.drop(id))
		}
	}()
	m2, err := n.accept(ctx, data, o, suite, public)
	if err != nil {
		return nil, err
	}
	e := DestinationExchange{
		ID: o.ExchangeID, From: o.From, Account: o.Account, KeyID: o.KeyID, Step: StepReserved, M1: data, M2: m2,
	}
	var superseded []DestinationExchange
	err = n.region.Update(ctx, func(tx regions.Tx) (err error) {
		if superseded, err = n.supersede(ctx, tx, o); err != nil {
			return err
		}
		if o.Purpose == wire.PurposeReplicate {
			if err := n.region.Reserve(ctx, tx, replicaOf(o)); err != nil {
				return err
			}
		}
		return regions.Put(ctx, tx, n.region.Ring(), e)
	})
	var refusal *regions.Error
	if errors.As(err, &refusal) {
		if err := n.rakbs.drop(id); err != nil {
			return nil, err
		}
		return n.refuseOffer(ctx, data, o, refusal)
	}
	if err != nil {
		return nil, err
	}
	for _, old := range superseded {
		if err := n.rakbs.drop(old.rakb()); err != nil {
			n.log.Error().Err(err).Msg("close superseded exchange")
		}
	}
	return m2, nil
}

// supersede ends the open exchanges that the same peer has begun for the same key before.
func (n *Node) supersede(ctx context.Context, tx regions.Tx, o *wire.Offer) ([]DestinationExchange, error) {
	open, err := regions.List[DestinationExchange](ctx, tx, n.region.Ring(), regions.Query{
		Kind: regions.KindDestEx, Account: o.From, Ref: openRef,
	})
	if err != nil {
		return nil, err
	}
	var ended []DestinationExchange
	for _, e := range open {
		if e.KeyID == o.KeyID && e.Account == o.Account {
			if err := n.unreserve(ctx, tx, e, StepLost); err != nil {
				return nil, err
			}
			ended = append(ended, e)
		}
	}
	return ended, nil
}

// unreserve ends an exchange and takes back what it reserved.
func (n *Node) unreserve(ctx context.Context, tx regions.Tx, e DestinationExchange, step Step) error {
	if err := n.region.Unreserve(ctx, tx, e.Account, e.KeyID, e.ID); err != nil {
		return err
	}
	e.Step = step
	return regions.Put(ctx, tx, n.region.Ring(), e)
}

// lose ends an exchange whose RAKB is gone.
func (n *Node) lose(ctx context.Context, e DestinationExchange) error {
	err := n.region.Update(ctx, func(tx regions.Tx) error {
		now, err := regions.Get[DestinationExchange](ctx, tx, n.region.Ring(), e.RecordKey())
		if err != nil {
			return err
		}
		if now.Step != StepReserved {
			return nil
		}
		return n.unreserve(ctx, tx, now, StepLost)
	})
	return errors.Join(err, n.rakbs.drop(e.rakb()))
}

// accept signs m2. A dry run's has no RAKB.
func (n *Node) accept(ctx context.Context, m1 []byte, o *wire.Offer, suite wire.Suite, rakb []byte) ([]byte, error) {
	token := n.region.Ring().Token()
	nonce, err := token.Random(ctx, wire.NonceSize)
	if err != nil {
		return nil, err
	}
	incarnation := o.ExchangeID
	if o.Purpose == wire.PurposeSupply {
		s, err := ownState(o.State) // checkSupply has verified it
		if err != nil {
			return nil, err
		}
		me, _ := s.Member(n.region.Name())
		incarnation = me.Incarnation
	}
	return wire.Sign(ctx, n.region.Ring().RSK(), &wire.Accept{
		Route: o.Answer(n.region.Roster().Version), Offer: wire.Hash(m1), Suites: Suites(token.Capabilities()), Suite: suite,
		RAKB: rakb, Token: token.Info().Serial, Node: n.name, Incarnation: incarnation,
		Nonce: [wire.NonceSize]byte(nonce),
	})
}

// refuseOffer refuses a key, which the audit log tells of: somebody asked for it to be here.
func (n *Node) refuseOffer(ctx context.Context, data []byte, o *wire.Offer, why *regions.Error) ([]byte, error) {
	if err := n.region.Audit().Service(ctx, n.refusalEvent(o.From, o.Account, o.KeyID, o.Principal, why)); err != nil {
		return nil, err
	}
	return n.refuse(ctx, data, o.Route, why, false)
}

func (n *Node) refusalEvent(peer, account, keyID, principal string, why *regions.Error) audit.Event {
	return audit.Event{
		EventName: "RefuseReplication", EventTime: n.region.Now(), AWSRegion: n.region.Name(),
		UserIdentity: audit.UserIdentity{ARN: principal, AccountID: account, InvokedBy: "AWS Internal"},
		EventType:    audit.TypeServiceEvent, RecipientAccountID: account,
		Resources:           []audit.Resource{{ARN: n.region.KeyARN(account, keyID), AccountID: account}},
		ServiceEventDetails: details("peer", peer, "code", why.Code, "reason", cut(why.Message)),
	}
}

// refuse signs a refusal. final is the promise that this exchange will never be accepted, and needs to be durable
// before it is given.
func (n *Node) refuse(ctx context.Context, data []byte, route wire.Route, why *regions.Error, final bool) ([]byte, error) {
	n.log.Info().Str("peer", route.From).Str("code", why.Code).Str("why", why.Message).Msg("replication refused")
	return wire.Sign(ctx, n.region.Ring().RSK(), &wire.Refusal{
		Route: route.Answer(n.region.Roster().Version), Refuses: wire.Hash(data), Code: why.Code, Message: cut(why.Message),
		Final: final,
	})
}

// cut shortens a text for people to what a refusal and an event take.
func cut(s string) string {
	n := 1024
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

func (n *Node) load(ctx context.Context, from string, id [16]byte) (e DestinationExchange, known bool, err error) {
	err = n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
		e, err = regions.Get[DestinationExchange](ctx, rd, n.region.Ring(), destinationKey(from, id))
		return err
	})
	if errors.Is(err, regions.ErrNoRecord) {
		return e, false, nil
	}
	return e, err == nil, err
}

// buried returns [regions.ErrBuried] if the replica that the exchange made, or would have made, was deleted here.
func (n *Node) buried(ctx context.Context, id [16]byte) (buried, err error) {
	err = n.region.Store().View(ctx, func(rd regions.Reader) error { return n.region.CheckIncarnation(ctx, rd, id) })
	if errors.Is(err, regions.ErrBuried) {
		return err, nil
	}
	return nil, err
}

// dropOverdue ends the exchanges whose RAKB has lived too long, and those that have none because of a fault.
func (n *Node) dropOverdue(ctx context.Context) error {
	return n.loseReserved(ctx, func(e DestinationExchange) bool { return !n.rakbs.has(e.rakb()) })
}

func (n *Node) loseReserved(ctx context.Context, match func(DestinationExchange) bool) error {
	var open []DestinationExchange
	err := n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
		open, err = regions.List[DestinationExchange](ctx, rd, n.region.Ring(), regions.Query{Kind: regions.KindDestEx, Ref: openRef})
		return err
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range open {
		if match(e) {
			errs = append(errs, n.lose(ctx, e))
		}
	}
	return errors.Join(errs...)
}

// Recover settles what the end of the process cut off. As a destination every open exchange has lost its RAKB; as a
// source an exchange that was only offered is given up, and the others go on when [Node.Run] runs.
func (n *Node) Recover(ctx context.Context) error {
	if err := n.loseReserved(ctx, func(DestinationExchange) bool { return true }); err != nil {
		return err
	}
	var due []SourceExchange
	err := n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
		due, err = regions.List[SourceExchange](ctx, rd, n.region.Ring(), regions.Query{Kind: regions.KindSourceEx, DueBy: 1<<62 - 1})
		return err
	})
	if err != nil {
		return err
	}
	for _, e := range due {
		if e.Step == StepOffered && !e.lasting() {
			if _, err := n.fail(ctx, e, regions.CodeDependencyTimeout, "The service stopped before the Region had answered."); err != nil {
				// Tick tries it again; one exchange that can't be ended keeps nobody's keys from being used.
				n.log.Error().Err(err).Str("key", e.Order.KeyID).Msg("an unanswered offer can't be given up")
			}
		}
	}
	return nil
}
