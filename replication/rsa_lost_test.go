package replication_test

import (
	"bytes"
	"slices"
	"testing"

	"antipode/regions"
	"antipode/replication"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// endBetween ends the destination's process once, between its m2 and its m3, and keeps both as they were.
func endBetween(t *testing.T, w *simtest.World, b *simtest.Region) (m2, m3 *[]byte) {
	t.Helper()
	m2, m3 = new([]byte), new([]byte)
	w.Net.Carry(once(wire.TypeTransfer, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
		*m2, *m3 = w.Net.Last(wire.TypeAccept), slices.Clone(m.Data)
		b.Restart(t)
		return deliver(m.Data)
	}))
	return m2, m3
}

// checkAnother checks that another exchange took the place of the one that was lost, by an RSA suite and another key, and
// that what was wrapped under the first key is good for nothing.
func checkAnother(t *testing.T, w *simtest.World, a *simtest.Region, key string, m2, m3 []byte, purpose wire.Purpose) {
	t.Helper()
	first, second := parsed[*wire.Accept](t, m2), parsed[*wire.Accept](t, w.Net.Last(wire.TypeAccept))
	if first.Suite != wire.SuiteRSASHA1 || second.Suite != wire.SuiteRSASHA1 {
		t.Errorf("suites %s and %s", first.Suite, second.Suite)
	}
	if bytes.Equal(first.RAKB, second.RAKB) {
		t.Error("both exchanges have one RAKB")
	}
	steps := map[[16]byte]replication.Step{}
	for _, e := range a.Holds(t.Context(), key).Source {
		if e.Purpose == purpose {
			steps[e.ID] = e.Step
		}
	}
	if len(steps) != 2 || steps[first.ExchangeID] != replication.StepLost || steps[second.ExchangeID] != replication.StepFinished {
		t.Errorf("the exchanges are %v", steps)
	}
	wantRefusal(t, send(t, w, m3), wire.CodeExchangeLost)
}

// The RSA key of an exchange dies with the destination's process. The source begins again, under the same intent.
func rsaLost(t *testing.T) {
	ctx := t.Context()
	w, a, b := rsaRegions(t)
	key := a.CreateKey(ctx)
	m2, m3 := endBetween(t, w, b)
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	w.Settle(ctx)
	checkReplicated(t, a, b, key)
	checkAnother(t, w, a, key, *m2, *m3, wire.PurposeReplicate)
	checkClean(t, a, b)
	w.Both(ctx, key, ohio, ireland)
}

// Material that a member lacks is supplied by an RSA suite too, also if the first exchange is lost.
func rsaSupply(t *testing.T) {
	ctx := t.Context()
	w, a, b := twoRegions(t)
	key := a.CreateKey(ctx)
	replicate(t, a, key, ireland) // by ECDH, which costs nothing
	loseMaterial(t, b, key)
	a.Tokens.Narrow(simtest.OnlyRSA)
	b.Tokens.Narrow(simtest.OnlyRSA)
	m2, m3 := endBetween(t, w, b)
	a.Tokens.Forget()
	if _, err := a.Node.Supply(ctx, simtest.Account, key, ireland, []string{a.Holds(ctx, key).Materials[0].ID}); err != nil {
		t.Fatal(err)
	}
	w.Settle(ctx)
	if h := b.Holds(ctx, key); len(h.Materials) != 1 || h.Key.State != regions.StateEnabled {
		t.Fatalf("%s holds %d materials of the key, which is %s", ireland, len(h.Materials), h.Key.State)
	}
	checkAnother(t, w, a, key, *m2, *m3, wire.PurposeSupply)
	if slices.Contains(a.Tokens.Calls(), "DeriveECDH") {
		t.Error("the source agreed on a key")
	}
	checkClean(t, a, b)
	w.Both(ctx, key, ohio, ireland)
}
