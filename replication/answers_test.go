package replication_test

import (
	"slices"
	"testing"

	"antipode/regions"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// An answer that is not the destination's, or not to this message, is as good as none.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	const tokyo = "ap-northeast-1"
	w := simtest.New(t, ohio, ireland, tokyo)
	a, b, c := w.Region(ohio), w.Region(ireland), w.Region(tokyo)
	first, e := begun(t, w, a)
	w.Settle(ctx)
	checkReplicated(t, a, b, first)
	oldReceipt := a.Holds(ctx, first).Source[0].M4
	flip := func(b []byte) []byte { b = slices.Clone(b); b[len(b)/2] ^= 4; return b }
	for name, answer := range map[string]func(request, answer []byte) []byte{
		"nothing":        func(_, _ []byte) []byte { return nil },
		"the request":    func(request, _ []byte) []byte { return request },
		"a flipped bit":  func(_, answer []byte) []byte { return flip(answer) },
		"an old m2":      func(_, _ []byte) []byte { return e.M2 },
		"an old receipt": func(_, _ []byte) []byte { return oldReceipt },
		"of another Region": func(_, answer []byte) []byte {
			m, err := wire.Parse(answer)
			if err != nil {
				t.Error(err)
			}
			out, err := wire.Sign(ctx, c.Region.Ring().RSK(), m)
			if err != nil {
				t.Error(err)
			}
			return out
		},
		"another's incarnation": func(_, answer []byte) []byte {
			m, err := wire.Parse(answer)
			if err != nil {
				t.Error(err)
			}
			switch m := m.(type) {
			case *wire.Accept:
				m.Incarnation[0] ^= 1
			case *wire.Receipt:
				m.Incarnation[0] ^= 1
			}
			out, err := wire.Sign(ctx, b.Region.Ring().RSK(), m)
			if err != nil {
				t.Error(err)
			}
			return out
		},
		"a refusal of something else": func(_, answer []byte) []byte {
			m, err := wire.Parse(answer)
			if err != nil {
				t.Error(err)
			}
			out, err := wire.Sign(ctx, b.Region.Ring().RSK(), &wire.Refusal{
				Route: m.Header(), Refuses: wire.Hash(e.M1), Code: wire.CodeNotCertified, Final: true,
			})
			if err != nil {
				t.Error(err)
			}
			return out
		},
	} {
		for _, typ := range []string{wire.TypeOffer, wire.TypeTransfer} {
			t.Run(name+" to "+typ, func(t *testing.T) {
				key := a.CreateKey(ctx)
				w.Net.Carry(once(typ, func(m simtest.Message, deliver simtest.Deliver) ([]byte, error) {
					got, err := deliver(m.Data)
					return answer(m.Data, got), err
				}))
				defer w.Net.Carry(nil)
				events := len(a.Events(ctx, "RefuseReplicationMessage"))
				err := a.Replicate(ctx, key, ireland)
				if typ == wire.TypeOffer {
					wantCode(t, err, regions.CodeDependencyTimeout)
					if m, ok := a.Holds(ctx, key).Key.MultiRegion.State.Member(ireland); ok {
						t.Errorf("member %+v", m)
					}
				} else {
					if err != nil {
						t.Error(err)
					}
					if m := member(t, a, key); m.Status != "Creating" {
						t.Errorf("the member is %s without a receipt", m.Status)
					}
				}
				if now := len(a.Events(ctx, "RefuseReplicationMessage")); now == events && !wellFormed(name, typ) {
					t.Error("no audit event")
				}
				w.Settle(ctx)
				if typ == wire.TypeTransfer {
					checkReplicated(t, a, b, key)
				}
			})
		}
	}
}

// wellFormed tells of answers that are the destination's own, only of the wrong kind.
func wellFormed(name, typ string) bool {
	return name == "an old receipt" && typ == wire.TypeOffer || name == "an old m2" && typ == wire.TypeTransfer
}
