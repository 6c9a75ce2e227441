package replication_test

import (
	"testing"

	"antipode/regions/keyset"
	"antipode/replication"
	"antipode/replication/simtest"
	"antipode/replication/wire"
)

// send sends a message of Ohio's to Ireland again.
func send(t *testing.T, w *simtest.World, message []byte) []byte {
	t.Helper()
	answer, err := w.Net.Send(t.Context(), ohio, ireland, message)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func wantRefusal(t *testing.T, answer []byte, code string) *wire.Refusal {
	t.Helper()
	m, err := wire.Parse(answer)
	if err != nil {
		t.Fatal(err)
	}
	r, ok := m.(*wire.Refusal)
	if !ok || r.Code != code {
		t.Fatalf("answered %s %+v, want the refusal %s", m.Type(), m, code)
	}
	return r
}

// held returns the source's open exchange for a key.
func held(t *testing.T, a *simtest.Region, key string) replication.SourceExchange {
	t.Helper()
	for _, e := range a.Holds(t.Context(), key).Source {
		if e.Due != 0 {
			return e
		}
	}
	t.Fatalf("%s has no open exchange for %s", a.Name, key)
	return replication.SourceExchange{}
}

// member returns Ireland as Ohio's shared state lists it.
func member(t *testing.T, a *simtest.Region, key string) keyset.Member {
	t.Helper()
	m, ok := a.Holds(t.Context(), key).Key.MultiRegion.State.Member(ireland)
	if !ok {
		t.Errorf("%s is not a member", ireland)
	}
	return m
}
