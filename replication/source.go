package replication

import (
	"context"
	"errors"
	"fmt"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/wire"
)

// errLater says that an exchange can't go on now and will be tried again.
var errLater = errors.New("the exchange will be continued")

// errNotMember says that a Region is not in the key set by the incarnation of an exchange.
var errNotMember = errors.New("not a member of this incarnation")

// Replicate implements regions.Replicator.
func (n *Node) Replicate(ctx context.Context, order regions.ReplicaOrder) error {
	// The exchange is the Region's own once it is committed: the caller's leaving must not stop it half-way.
	slow, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.slow)
	defer cancel()
	quick, cancelQuick := context.WithTimeout(slow, n.quick)
	defer cancelQuick()
	err := n.region.Store().View(ctx, func(rd regions.Reader) error {
		_, err := n.lostExchange(ctx, rd, order)
		return err
	})
	if err != nil {
		return err
	}
	suite, err := n.dryRun(quick, order)
	if err != nil {
		return err
	}
	e, err := n.newExchange(ctx, order, false)
	if err != nil {
		return err
	}
	err = n.region.Update(ctx, func(tx regions.Tx) (err error) {
		if e.Resumes, err = n.lostExchange(ctx, tx, order); err != nil {
			return err
		}
		return regions.Put(ctx, tx, n.region.Ring(), e)
	})
	if err != nil {
		return err
	}
	if suite.RSA() {
		return n.settle(slow, e)
	}
	return n.settle(quick, e)
}

// lostExchange returns the incarnation of a destination that is a Creating member without an exchange: this Region's store was
// restored to before there was one, and the destination has not ended it. It is to be resumed. It returns zeros if the
// destination is no member, and AlreadyExistsException if an exchange is open.
func (n *Node) lostExchange(ctx context.Context, rd regions.Reader, order regions.ReplicaOrder) (incarnation [16]byte, err error) {
	others, err := regions.List[SourceExchange](ctx, rd, n.region.Ring(), regions.Query{
		Kind: regions.KindSourceEx, Account: order.Account, ID: order.KeyID,
	})
	if err != nil {
		return incarnation, err
	}
	for _, o := range others {
		if o.Order.Region == order.Region && o.open() {
			return incarnation, regions.AlreadyReplicated(order.KeyID, order.Region)
		}
	}
	k, err := regions.Get[regions.Key](ctx, rd, n.region.Ring(), regions.Key{Account: order.Account, KeyID: order.KeyID}.RecordKey())
	if err != nil {
		return incarnation, err
	}
	if k.MultiRegion == nil || k.MultiRegion.State == nil {
		return incarnation, regions.ErrNotPrimary
	}
	m, _ := k.MultiRegion.State.Member(order.Region)
	if m.Status == keyset.Active {
		return incarnation, regions.AlreadyReplicated(order.KeyID, order.Region)
	}
	return m.Incarnation, nil
}

// settle drives a new exchange as far as it goes and says what ReplicateKey answers.
func (n *Node) settle(ctx context.Context, e SourceExchange) error {
	e, driveErr := n.drive(ctx, e)
	switch e.Step {
	case StepFinished:
		return nil
	case StepFailed:
		return apiError(e)
	case StepOffered:
		if e.resumed() {
			return nil
		}
		// Nothing depends on it yet: better a clear answer now than a replica that appears at some time.
		n.log.Warn().Err(driveErr).Str("key", e.Order.KeyID).Str("peer", e.Order.Region).Msg("region can't be reached")
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.quick) // its own time may have run out
		defer cancel()
		why := unreachable(e)
		failed, err := n.fail(ctx, e, why.Code, why.Message)
		if err != nil {
			return err
		}
		return apiError(failed)
	default:
		n.log.Warn().Err(driveErr).Str("key", e.Order.KeyID).Str("peer", e.Order.Region).
			Msg("replication goes on in the background")
		return nil
	}
}

// apiError says to the caller of ReplicateKey why the exchange failed.
func apiError(e SourceExchange) error {
	switch e.Code {
	case wire.CodeNoCommonSuite:
		return regions.Errorf(regions.CodeUnsupportedOperation,
			"The tokens of the two Regions have no key exchange in common: %s", e.Message)
	case wire.CodeExchangeLost:
		return regions.Errorf(regions.CodeDependencyTimeout, "The Region %s was restarted. Nothing was changed; try again.", e.Order.Region)
	case wire.CodeBusy:
		return regions.Errorf(regions.CodeLimitExceeded, "The Region %s has too many replications open. Try again.", e.Order.Region)
	case regions.CodeAccessDenied, regions.CodeAlreadyExists, regions.CodeLimitExceeded, regions.CodeUnsupportedOperation,
		regions.CodeMalformedPolicy, regions.CodeTag, regions.CodeInvalidState, regions.CodeDisabled,
		regions.CodeDependencyTimeout, regions.CodeValidation:
		return regions.Errorf(e.Code, "%s", e.Message)
	}
	// A code that no Region of this version gives. What a peer says is not passed on as an error of this service.
	return regions.Errorf(regions.CodeDependencyTimeout, "The Region %s did not take the replica. Nothing was changed.", e.Order.Region)
}

// newExchange makes the record and the Offer of a new exchange for an order, or of a dry run, whose record is not kept.
func (n *Node) newExchange(ctx context.Context, order regions.ReplicaOrder, dryRun bool) (SourceExchange, error) {
	e := SourceExchange{
		Order: order, Step: StepOffered, Due: n.region.Now().Add(giveUpTime).UnixMilli(), Purpose: wire.PurposeReplicate,
	}
	if !dryRun {
		// The offer names the certificate.
		if err := n.region.RaiseTerm(ctx, order.Account, order.KeyID); err != nil {
			return e, err
		}
	}
	raw, err := n.region.Ring().Token().Random(ctx, 16+wire.NonceSize)
	if err != nil {
		return e, err
	}
	copy(e.ID[:], raw)
	var k regions.Key
	err = n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
		k, err = regions.Get[regions.Key](ctx, rd, n.region.Ring(), regions.Key{Account: order.Account, KeyID: order.KeyID}.RecordKey())
		return err
	})
	if err != nil {
		return e, err
	}
	if k.MultiRegion == nil || k.MultiRegion.State == nil || k.MultiRegion.State.Primary != n.region.Name() {
		return e, regions.ErrNotPrimary
	}
	own := Suites(n.region.Ring().Token().Capabilities())
	if len(own) == 0 {
		return e, regions.Errorf(regions.CodeUnsupportedOperation, "The token of Region %s can't exchange keys with others.", n.region.Name())
	}
	o := &wire.Offer{
		Route:   wire.Route{ExchangeID: e.ID, From: n.region.Name(), To: order.Region, RosterVersion: n.region.Roster().Version},
		Account: order.Account, Principal: order.Principal, KeyID: order.KeyID, Spec: k.Spec, Usage: k.Usage,
		Origin: k.Origin, Policy: order.Policy, Description: order.Description,
		Certificate: k.MultiRegion.State.Certificate, Suites: own,
		Nonce: [wire.NonceSize]byte(raw[16:]), Purpose: wire.PurposeReplicate, DryRun: dryRun,
	}
	for _, t := range order.Tags {
		o.Tags = append(o.Tags, wire.Tag{Key: t.TagKey, Value: t.TagValue})
	}
	for _, m := range k.MultiRegion.State.Needed() {
		o.Materials = append(o.Materials, wire.Material{ID: m.ID, Status: m.Status})
	}
	e.M1, err = wire.Sign(ctx, n.region.Ring().RSK(), o)
	return e, err
}

// drive takes an exchange from step to step until it has ended or can't go on. It returns the exchange as it stands,
// with the reason if it has not ended. An exchange that was lost is followed into the one that took its place.
func (n *Node) drive(ctx context.Context, e SourceExchange) (SourceExchange, error) {
	locked := e.ID
	unlock := n.lock(locked)
	defer func() { unlock() }()
	e, err := n.reload(ctx, e)
	for err == nil && e.open() {
		if e.ID != locked { // lost, and another one is in its place
			unlock()
			locked = e.ID
			unlock = n.lock(locked)
			e, err = n.reload(ctx, e)
			continue
		}
		// What the operator allows now counts, not what he allowed when the exchange began.
		if err = n.CanReach(ctx, e.Order.Region, e.Order.Account); err != nil {
			err = fmt.Errorf("%w: %w", errLater, err)
			break
		}
		switch e.Step {
		case StepOffered:
			e, err = n.sendOffer(ctx, e)
		case StepAccepted:
			e, err = n.makeTransfer(ctx, e)
		case StepTransferred:
			e, err = n.sendTransfer(ctx, e)
		case StepReserved, StepFinished, StepFailed, StepLost, StepRefused:
			err = fmt.Errorf("exchange at step %s", e.Step)
		}
	}
	if err != nil && e.supply() && e.open() && pointless(err) {
		return n.fail(ctx, e, wire.CodeUnknownKey, err.Error())
	}
	if err != nil && e.open() && e.lasting() {
		err = errors.Join(err, n.postpone(ctx, e))
	}
	return e, err
}

// pointless reports whether a supply can't go on because of what became of the key here since.
func pointless(err error) bool {
	return errors.Is(err, regions.ErrUnknownKey) || errors.Is(err, regions.ErrNotMember) ||
		errors.Is(err, regions.ErrNothingMissing) || errors.Is(err, regions.ErrNoRecord)
}

// reload returns the exchange as it is stored now, or e as it was with the error.
func (n *Node) reload(ctx context.Context, e SourceExchange) (SourceExchange, error) {
	now := e
	err := n.region.Store().View(ctx, func(rd regions.Reader) (err error) {
		now, err = regions.Get[SourceExchange](ctx, rd, n.region.Ring(), e.RecordKey())
		return err
	})
	if err != nil {
		return e, err
	}
	return now, nil
}

// postpone sets when the exchange is tried again.
func (n *Node) postpone(ctx context.Context, e SourceExchange) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.quick)
	defer cancel()
	wait := lastBackoff
	if e.Attempts < 8 {
		wait = min(wait, firstBackoff<<e.Attempts)
	}
	e.Attempts++
	e.Due = n.region.Now().Add(wait).UnixMilli()
	_, err := n.save(ctx, e, e.Step, nil)
	return err
}

// save commits the exchange if it is still at the step it was read at, together with what also writes.
func (n *Node) save(ctx context.Context, e SourceExchange, was Step, also func(regions.Tx) error) (SourceExchange, error) {
	err := n.region.Update(ctx, func(tx regions.Tx) error {
		now, err := regions.Get[SourceExchange](ctx, tx, n.region.Ring(), e.RecordKey())
		if err != nil {
			return err
		}
		if now.Step != was {
			return fmt.Errorf("exchange moved from step %s to %s meanwhile", was, now.Step)
		}
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		return regions.Put(ctx, tx, n.region.Ring(), e)
	})
	return e, err
}

// fail ends an exchange without a replica. If the destination was a member already it leaves the key set, which may
// only happen on its signed word that it holds nothing.
func (n *Node) fail(ctx context.Context, e SourceExchange, code, message string) (SourceExchange, error) {
	was := e.Step
	failed := e
	failed.Step, failed.Due, failed.Code, failed.Message = StepFailed, 0, code, message
	failed, err := n.save(ctx, failed, was, func(tx regions.Tx) error {
		if !e.member() {
			return nil
		}
		if once := e.Order.Once; once != nil { // what was made is taken back, so a repetition makes it again
			if err := tx.Delete(ctx, once.RecordKey()); err != nil {
				return err
			}
		}
		err := n.changeMember(ctx, tx, e, func(s *keyset.State, i int) {
			s.Members = append(s.Members[:i], s.Members[i+1:]...)
		})
		if errors.Is(err, errNotMember) {
			return nil // it has left by itself
		}
		return err
	})
	if err != nil {
		return e, err
	}
	n.log.Info().Str("key", e.Order.KeyID).Str("peer", e.Order.Region).Str("code", code).Msg("replication failed")
	return failed, nil
}

// changeMember edits the destination's entry in the shared state, which must be there with this intent's incarnation.
func (n *Node) changeMember(ctx context.Context, tx regions.Tx, e SourceExchange, edit func(s *keyset.State, i int)) error {
	_, err := n.region.ChangeShared(ctx, tx, e.Order.Account, e.Order.KeyID, func(_ *regions.Key, s *keyset.State) error {
		for i, m := range s.Members {
			if m.Region == e.Order.Region && (m.Incarnation == e.ID || e.resumed() && m.Incarnation == e.Resumes) {
				edit(s, i)
				return nil
			}
		}
		return fmt.Errorf("%w: %s", errNotMember, e.Order.Region)
	})
	return err
}

// call sends a message and opens the answer, which must be of the exchange and from the Region that was asked.
func (n *Node) call(ctx context.Context, e SourceExchange, message []byte) (wire.Message, []byte, error) {
	answer, err := n.peers.Call(ctx, e.Order.Region, message)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errLater, err)
	}
	m, err := wire.Open(answer, n.region.Name(), n.region.Roster())
	if err != nil {
		return nil, nil, fmt.Errorf("%w: answer of %s: %w", errLater, e.Order.Region, n.refuseUnsigned(ctx, e.Order.Region, err))
	}
	return m, answer, nil
}
