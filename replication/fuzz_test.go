package replication_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"antipode/regions/cose"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// world lets a World outlive the inputs of a fuzz target, inside which F's own methods may not be called.
type world struct{ *testing.F }

func (world) Context() context.Context       { return context.Background() }
func (world) Helper()                        {}
func (world) Log(...any)                     {}
func (world) Logf(string, ...any)            {}
func (world) Error(args ...any)              { panic(fmt.Sprint(args...)) }
func (world) Errorf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
func (world) Fatal(args ...any)              { panic(fmt.Sprint(args...)) }
func (world) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// FuzzHandle gives a Region whatever a peer may send, with the real state machine and token behind: bytes as they come,
// and any payload under the peer's own valid signature. No message may make a key that its material did not come for,
// change one that is there, or leave anything on the token when all exchanges are over.
func FuzzHandle(f *testing.F) {
	w := simtest.New(world{f}, ohio, ireland)
	a, b := w.Region(ohio), w.Region(ireland)
	ctx := context.Background() // the World outlives each input
	key := a.CreateKey(ctx)
	if err := a.Replicate(ctx, key, ireland); err != nil {
		f.Fatal(err)
	}
	// A second key is Ireland's own, with a replica in Ohio that was deleted and made again: its first one's word is late.
	own := b.CreateKey(ctx)
	if err := b.Replicate(ctx, own, ohio); err != nil {
		f.Fatal(err)
	}
	if err := a.ScheduleDeletion(ctx, own); err != nil {
		f.Fatal(err)
	}
	w.Advance(7 * 24 * time.Hour)
	w.Settle(ctx)
	if err := b.Replicate(ctx, own, ohio); err != nil {
		f.Fatal(err)
	}
	ownBefore := b.Holds(ctx, own)
	if _, err := a.Node.Push(ctx, ireland, simtest.Account, key); err != nil {
		f.Fatal(err)
	}
	for _, m := range []wire.Message{
		&wire.Want{Route: wire.Route{ExchangeID: [16]byte{1}, From: ohio, To: ireland}, Account: simtest.Account, KeyID: key},
		&wire.Compare{Route: wire.Route{ExchangeID: [16]byte{3}, From: ohio, To: ireland}, Bucket: 1, Nonce: [wire.NonceSize]byte{1}},
		&wire.Know{
			Route: wire.Route{ExchangeID: [16]byte{2}, From: ohio, To: ireland}, Limit: 1, States: true,
			Nonce: [wire.NonceSize]byte{1},
		},
	} {
		data, err := wire.Sign(ctx, a.Region.Ring().RSK(), m)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := w.Net.Send(ctx, ohio, ireland, data); err != nil {
			f.Fatal(err)
		}
	}
	types := []string{
		wire.TypeOffer, wire.TypeTransfer, wire.TypeAccept, wire.TypeReceipt, wire.TypeRefusal, wire.TypeGone, wire.TypeGoneAck,
		wire.TypeSync, wire.TypeSyncAck, wire.TypeWant, wire.TypeWantAck, wire.TypeKnow, wire.TypeKnown,
		wire.TypeRoster, wire.TypeRosterAck,
		wire.TypeHandOver, wire.TypeHandOverAck,
		wire.TypeCompare, wire.TypeCompared,
	}
	for i, typ := range types {
		m := w.Net.Last(typ)
		if m == nil {
			m = w.Net.Last(wire.TypeOffer)
		}
		payload, err := cose.Unverified(m, typ)
		if err != nil {
			payload = m
		}
		f.Add(uint8(0), m)             // as it was: a repeat
		f.Add(uint8(i+1), payload)     // signed anew
		f.Add(uint8(i+1), payload[1:]) // no CBOR
	}
	before := b.Holds(ctx, key)
	f.Fuzz(func(t *testing.T, how uint8, data []byte) {
		message := data
		if n := int(how) % (len(types) + 1); n > 0 {
			signed, err := cose.Sign(ctx, a.Region.Ring().RSK(), types[n-1], data)
			if err != nil {
				return // empty or too large to be sent
			}
			message = signed
		}
		answer, err := w.Net.Send(ctx, ohio, ireland, message)
		if err == nil {
			if _, err := wire.Open(answer, ohio, a.Region.Roster()); err != nil {
				t.Errorf("an answer that can't be opened: %v", err)
			}
		}
		after := b.Holds(ctx, key)
		if string(after.Key.MultiRegion.Signed) != string(before.Key.MultiRegion.Signed) || after.Key.State != before.Key.State ||
			len(after.Materials) != len(before.Materials) {
			t.Errorf("the replica has changed: %+v", after.Key)
		}
		// The present replica's own word would count; no input can know its incarnation but from the store.
		if after := b.Holds(ctx, own); string(after.Key.MultiRegion.Signed) != string(ownBefore.Key.MultiRegion.Signed) {
			t.Errorf("the primary has changed: %+v", after.Key)
		}
		w.Advance(2 * time.Minute) // what was reserved is given up
		if err := b.Node.Tick(ctx); err != nil {
			t.Errorf("tick: %v", err)
		}
		if n := b.OpenExchanges(ctx); n != 0 {
			t.Errorf("%d exchanges are open", n)
		}
		if n := b.Extra(); n != 0 {
			t.Errorf("%d objects are left on the token", n)
		}
	})
}
