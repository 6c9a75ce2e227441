package replication_test

import (
	"errors"
	"testing"
	"time"

	"antipode/regions"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// failing makes updates of a store fail while it is on.
type failing struct{ on, apply bool }

func (f *failing) hook(op string) (bool, error) {
	if f.on && op == "update" {
		return f.apply, errors.New("disk full")
	}
	return false, nil
}

// An exchange that was offered and could not even be given up, because the store failed, is given up by the background
// work, and does not keep the key from being replicated for ever.
func TestGivenUpLater(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	var store failing
	a.StoreFault = store.hook
	w.Net.Carry(once(wire.TypeOffer, func(simtest.Message, simtest.Deliver) ([]byte, error) {
		store.on = true
		return nil, simtest.ErrLost
	}))
	wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeInternal)
	store.on = false
	wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeAlreadyExists)
	w.Advance(time.Minute)
	if err := a.Node.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	checkAbsent(t, a, b, key)
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	checkReplicated(t, a, b, key)
}

// A reservation that was committed though its commit reported an error ends without a restart.
func TestReservationWithoutRAKB(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	store := failing{apply: true}
	b.StoreFault = store.hook
	w.Net.Carry(once(wire.TypeOffer, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		store.on = true
		defer func() { store.on = false }()
		return deliver(m.Data)
	}))
	wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeDependencyTimeout)
	if b.Holds(ctx, key).Key == nil {
		t.Fatal("the fault was not the one that is meant")
	}
	checkClean(t, b)
	if err := b.Node.Tick(ctx); err != nil {
		t.Fatal(err)
	}
	checkAbsent(t, a, b, key)
}

// Ending exchanges whose RAKB is too old leaves one alone that is being received.
func TestOverdueBesideReceived(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	old, _ := begun(t, w, a)
	w.Advance(50 * time.Second)
	key, e := begun(t, w, a)
	var ticked bool
	b.Tokens.OnMade(func(m simtest.Made) {
		if m.Attr.Label == "antipode/rwk" && !ticked { // RAKB is taken
			ticked = true
			w.Advance(20 * time.Second)
			if err := b.Node.Tick(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	answer := send(t, w, e.M3)
	if m, err := wire.Parse(answer); err != nil || m.Type() != wire.TypeReceipt || !ticked {
		t.Errorf("answered %+v, %v; ticked: %v", m, err, ticked)
	}
	if b.Holds(ctx, old).Key != nil {
		t.Error("the exchange whose RAKB is too old has not ended")
	}
	w.Settle(ctx)
	checkReplicated(t, a, b, key)
	checkReplicated(t, a, b, old)
}

// A caller is not told that a replica is on its way when the source could not even read its own record of it.
func TestUnreadableExchange(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	var updated, struck bool
	a.StoreFault = func(op string) (bool, error) {
		if op == "update" {
			updated = true
		} else if updated && !struck {
			struck = true
			return false, errors.New("can't read")
		}
		return false, nil
	}
	wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeDependencyTimeout)
	if !struck {
		t.Error("the fault never struck")
	}
	w.Settle(ctx)
	checkAbsent(t, a, b, key)
}

// Who is told to try again can do so at once: the reservation that nobody knows of does not stand in the way.
func TestRepeatedAtOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	w.Net.Carry(once(wire.TypeOffer, simtest.LoseAnswers(wire.TypeOffer)))
	wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeDependencyTimeout)
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	checkReplicated(t, a, b, key)
	checkClean(t, a, b)
}

// An offer that the transport repeated, and whose first copy's RAKB is gone, is no internal error: nothing was made.
func TestFirstOfferLost(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	w.Net.Carry(once(wire.TypeOffer, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		if _, err := deliver(m.Data); err != nil {
			return nil, err
		}
		b.Restart(t)
		return deliver(m.Data)
	}))
	wantCode(t, a.Replicate(ctx, key, ireland), regions.CodeDependencyTimeout)
	checkAbsent(t, a, b, key)
}
