package replication_test

import (
	"slices"
	"testing"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// certify signs a certificate that hands a key over, as a Region that has an RSK could.
func certify(t *testing.T, by *simtest.Region, key, successor string, change func(*keyset.Certificate)) []byte {
	t.Helper()
	s := by.Holds(t.Context(), key).Key.MultiRegion.State
	c := keyset.Certificate{
		Account: s.Account, KeyID: s.KeyID, From: s.Epoch, To: keyset.Epoch{Generation: s.Epoch.Generation, Term: s.Epoch.Term + 1},
		PreviousPrimary: s.Primary, Primary: successor, Previous: s.Certificate[:], RosterVersion: 1, IssuedAt: 1,
	}
	change(&c)
	signed, err := keyset.SignCertificate(t.Context(), by.Region.Ring().RSK(), c)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// offered is the message by which a Region would hand a key over to another one.
func offered(t *testing.T, w *simtest.World, by *simtest.Region, key, to string) *wire.HandOver {
	t.Helper()
	mr := by.Holds(t.Context(), key).Key.MultiRegion
	return &wire.HandOver{
		Route:   wire.Route{ExchangeID: [16]byte{7}, From: by.Name, To: to, RosterVersion: 1},
		Account: simtest.Account, KeyID: key, Principal: w.Administrator(), RequestID: "hostile", State: mr.Signed,
		Chain: append(slices.Clone(mr.Certificates), certify(t, by, key, to, func(*keyset.Certificate) {})),
	}
}

func same(*keyset.Certificate) {}

// Whoever is not the certified primary makes nobody a primary, nor does a primary by what is not its own last word; the
// key stays as it was, and the audit log tells of it.
func TestHandOverForged(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key, other := related(t, a, ireland, tokyo), related(t, a, ireland)
	w.Settle(ctx)
	held := a.Holds(ctx, key).Key.MultiRegion
	before := b.Holds(ctx, key)
	for _, x := range []struct {
		name, code string
		by         *simtest.Region
		change     func(h *wire.HandOver)
	}{
		{"by a replica, in its own name", wire.CodeNotCertified, c, func(h *wire.HandOver) {
			h.Chain[1] = certify(t, c, key, ireland, func(x *keyset.Certificate) { x.PreviousPrimary = tokyo })
		}},
		{"by a replica, in the primary's name", wire.CodeNotCertified, c, func(h *wire.HandOver) { h.Chain[1] = certify(t, c, key, ireland, same) }},
		{"by a replica, with the primary's certificate", wire.CodeNotCertified, c, func(h *wire.HandOver) {
			h.Chain[1] = certify(t, a, key, ireland, same)
		}},
		{"to another Region", wire.CodeNotCertified, a, func(h *wire.HandOver) { h.Chain[1] = certify(t, a, key, tokyo, same) }},
		{"to itself", wire.CodeNotCertified, a, func(h *wire.HandOver) { h.Chain[1] = certify(t, a, key, ohio, same) }},
		{"of another key", wire.CodeNotCertified, a, func(h *wire.HandOver) { h.Chain[1] = certify(t, a, other, ireland, same) }},
		{"another key's chain and state", wire.CodeNotCertified, a, func(h *wire.HandOver) {
			o := offered(t, w, a, other, ireland)
			h.Chain, h.State = o.Chain, o.State
		}},
		{"another key's state", wire.CodeNotCertified, a, func(h *wire.HandOver) { h.State = offered(t, w, a, other, ireland).State }},
		{"two terms at once", wire.CodeNotCertified, a, func(h *wire.HandOver) {
			mine := certify(t, a, key, ohio, same)
			hash := keyset.Hash(mine)
			h.Chain = [][]byte{h.Chain[0], mine, certify(t, a, key, ireland, func(x *keyset.Certificate) {
				x.From.Term, x.To.Term, x.Previous = 2, 3, hash[:]
			})}
		}},
		{"an older state", wire.CodeStaleState, a, func(h *wire.HandOver) {
			h.State = forge(t, a, key, func(s *keyset.State) { s.Sequence = 1 })
		}},
		{"another state of this number", wire.CodeConflict, a, func(h *wire.HandOver) {
			h.State = forge(t, a, key, func(s *keyset.State) { s.Rotation.PeriodDays = 90 })
		}},
		{"a state without this Region", wire.CodeNotMember, a, func(h *wire.HandOver) {
			h.State = forge(t, a, key, func(s *keyset.State) {
				s.Sequence++
				s.Members = slices.DeleteFunc(s.Members, func(m keyset.Member) bool { return m.Region == ireland })
			})
		}},
		{"another incarnation", wire.CodeNotMember, a, func(h *wire.HandOver) {
			h.State = forge(t, a, key, func(s *keyset.State) { s.Sequence++; s.Members[1].Incarnation[0]++ })
		}},
		{"material that is not here", wire.CodeStaleState, a, func(h *wire.HandOver) {
			h.State = forge(t, a, key, func(s *keyset.State) {
				s.Sequence++
				s.Materials = append(slices.Clone(s.Materials), keyset.Material{
					ID: other[4:] + other[4:], Status: keyset.Pending, Created: 1,
				})
			})
		}},
		{"a state in which something is missing", wire.CodeConflict, a, func(h *wire.HandOver) {
			h.State = forge(t, a, key, func(s *keyset.State) {
				s.Sequence++
				s.Materials = []keyset.Material{{ID: other[4:] + other[4:], Status: keyset.Current, Created: 1}}
			})
		}},
	} {
		h := offered(t, w, a, key, ireland)
		x.change(h)
		h.From = x.by.Name
		data, err := wire.Sign(ctx, x.by.Region.Ring().RSK(), h)
		if err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		events := len(b.Events(ctx, "UpdatePrimaryRegion"))
		alarms := len(b.Events(ctx, "KeySetAlarm"))
		b.Tokens.Forget()
		answer, err := w.Net.Send(ctx, x.by.Name, ireland, data)
		if err != nil {
			t.Fatalf("%s: %v", x.name, err)
		}
		if r := wantRefusal(t, answer, x.code); r.Final {
			t.Errorf("%s: refused for good", x.name)
		}
		if made := b.Tokens.Made(); len(made) != 0 {
			t.Errorf("%s: the token made %+v", x.name, made)
		}
		if now := len(b.Events(ctx, "UpdatePrimaryRegion")); now != events+1 {
			t.Errorf("%s: %d events", x.name, now-events)
		}
		if now := len(b.Events(ctx, "KeySetAlarm")); (now > alarms) != (x.code == wire.CodeConflict) {
			t.Errorf("%s: %d alarms", x.name, now-alarms)
		}
		if after := b.Holds(ctx, key).Key; string(after.MultiRegion.Signed) != string(before.Key.MultiRegion.Signed) ||
			len(after.MultiRegion.Certificates) != 1 {
			t.Errorf("%s: the replica has changed", x.name)
		}
	}
	if string(a.Holds(ctx, key).Key.MultiRegion.Signed) != string(held.Signed) {
		t.Error("the primary has changed")
	}
	// None of it stands in the way of the true one.
	if err := a.UpdatePrimary(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	w.Settle(ctx)
	wantPrimary(t, key, ireland, term(2), a, b, c)
}

// A certificate that was refused for good is never taken, in no message: not when what stood against it is gone, nor after
// the old primary, which took its role back, was deceived into sending it again.
func TestRefusedCertificateIsVoid(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := related(t, a, ireland)
	w.Settle(ctx)
	h := offered(t, w, a, key, ireland)
	data, err := wire.Sign(ctx, a.Region.Ring().RSK(), h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Do(ctx, "DisableKey", &regions.KeyInput{KeyID: key}); err != nil {
		t.Fatal(err)
	}
	first := send(t, w, data)
	if r := wantRefusal(t, first, regions.CodeDisabled); !r.Final {
		t.Error("not refused for good")
	}
	if _, err := b.Do(ctx, "EnableKey", &regions.KeyInput{KeyID: key}); err != nil {
		t.Fatal(err)
	}
	for _, restart := range []bool{false, true} {
		if restart {
			b.Restart(t)
		}
		if again := send(t, w, data); string(again) != string(first) {
			t.Errorf("a repeat is answered %x", again)
		}
		h.ExchangeID[1]++
		other, err := wire.Sign(ctx, a.Region.Ring().RSK(), h)
		if err != nil {
			t.Fatal(err)
		}
		if r := wantRefusal(t, send(t, w, other), regions.CodeDisabled); !r.Final {
			t.Error("another message with the certificate is not refused for good")
		}
	}
	wantPrimary(t, key, ohio, term(1), a, b)
}

// A primary that names two successors makes two Regions primaries of one epoch. Whoever hears of both follows neither of
// them any further, and raises an alarm.
func TestTwoSuccessors(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	key := related(t, a, ireland, tokyo)
	w.Settle(ctx)
	w.Net.Carry(func(simtest.Message, simtest.Deliver) ([]byte, error) { return nil, simtest.ErrLost })
	for _, to := range []string{ireland, tokyo} {
		data, err := wire.Sign(ctx, a.Region.Ring().RSK(), offered(t, w, a, key, to))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := w.Net.Send(ctx, ohio, to, data)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := wire.Parse(answer); err != nil || m.Type() != wire.TypeHandOverAck {
			t.Fatalf("%s answers %+v, %v", to, m, err)
		}
	}
	w.Net.Carry(nil)
	for _, pair := range [][2]*simtest.Region{{b, c}, {c, b}} {
		from, to := pair[0], pair[1]
		before := to.Holds(ctx, key).Key.MultiRegion.Signed
		if _, err := from.Node.Push(ctx, to.Name, simtest.Account, key); err == nil {
			t.Errorf("%s has taken the state of %s", to.Name, from.Name)
		}
		if string(before) != string(to.Holds(ctx, key).Key.MultiRegion.Signed) {
			t.Errorf("%s has changed", to.Name)
		}
		if len(to.Events(ctx, "KeySetAlarm")) == 0 {
			t.Errorf("%s raised no alarm", to.Name)
		}
	}
	w.Both(ctx, key, ireland, tokyo)
}

// A successor whose answer proves nothing is not believed: the key stays Updating, and the true answer ends that.
func TestHostileSuccessor(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b, c := threeRegions(t)
	other := related(t, b, ohio)
	for name, lie := range map[string]func(key string, ack *wire.HandOverAck){
		"no state": func(_ string, ack *wire.HandOverAck) { ack.State, ack.Chain = nil, nil },
		"the old chain": func(_ string, ack *wire.HandOverAck) {
			ack.Chain = ack.Chain[:1]
		},
		"the old state": func(key string, ack *wire.HandOverAck) { ack.State = a.Holds(ctx, key).Key.MultiRegion.Signed },
		"another key's state": func(_ string, ack *wire.HandOverAck) {
			ack.State = b.Holds(ctx, other).Key.MultiRegion.Signed
		},
		"a state that lacks material": func(key string, ack *wire.HandOverAck) {
			ack.State = forge(t, b, key, func(s *keyset.State) {
				s.Materials = []keyset.Material{{ID: key[4:] + key[4:], Status: keyset.Current, Created: 1}}
			})
		},
		"a state signed by another": func(key string, ack *wire.HandOverAck) {
			s := *b.Holds(ctx, key).Key.MultiRegion.State
			signed, err := keyset.SignState(ctx, c.Region.Ring().RSK(), s)
			if err != nil {
				t.Error(err)
			}
			ack.State = signed
		},
	} {
		key := related(t, a, ireland)
		w.Settle(ctx)
		w.Net.Carry(func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
			if m.From == ireland { // what it says by itself is another matter
				return nil, simtest.ErrLost
			}
			answer, err := deliver(m.Data)
			if err != nil || !handsOver(m) {
				return answer, err
			}
			return resign(t, b, answer, func(ack *wire.HandOverAck) { lie(key, ack) }), nil
		})
		if err := a.UpdatePrimary(ctx, key, ireland); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantState(t, a, key, regions.StateUpdating)
		if p := a.Holds(ctx, key).Key.MultiRegion.State.Primary; p != ohio {
			t.Errorf("%s: believed that the primary is %s", name, p)
		}
		w.Net.Carry(nil)
		w.Settle(ctx)
		wantPrimary(t, key, ireland, term(2), a, b)
	}
}
