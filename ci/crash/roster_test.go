package crash

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/canon"
	"antipode/regions/keyring"
	"antipode/regions/roster"
)

// crashRoster ends a Region, and then the other one, at each step of a rotation of a signing key, and of the removal of one.
func crashRoster(t *testing.T, l *ledger) {
	t.Helper()
	original := newCountedPair(t, l)
	for _, step := range []string{
		"regions.(*Region).planRSK", "regions.(*Region).introduceRSK", "regions.(*Region).UseNewRSK", "replication.(*Node).resign",
		"regions.(*Region).RetireOldRSK",
	} {
		bothSides(t, original, step, rotatingRSK)
	}
	bothSides(t, original, "regions.(*Region).TakeAnnouncement", toldOfRSK)
	bothSides(t, original, "regions.(*Region).Remove", removingKey)
}

// rsk is what `antipode region rotate-rsk --status` says in HOME of the key that signs, and whether another is to.
func (p *pair) rsk(t *testing.T) (signs string, rotating bool) {
	t.Helper()
	out := p.run(t, home, "region", "rotate-rsk", "--status", "--socket", p.socket(home))
	_, rest, _ := strings.Cut(out, "signs ")
	signs, _, _ = strings.Cut(rest, "\n")
	return signs, strings.Contains(out, "rotating ")
}

// rotated waits until the rotation of HOME's key has ended, and compares what both Regions know of it.
func (p *pair) rotated(t *testing.T, crash, before string) {
	t.Helper()
	for end := time.Now().Add(settleWithin); ; time.Sleep(100 * time.Millisecond) {
		signs, rotating := p.rsk(t)
		if !rotating && signs != before {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s: the rotation does not end: %s", crash,
				p.run(t, home, "region", "rotate-rsk", "--status", "--socket", p.socket(home)))
		}
	}
	fingerprint := func(in string) string {
		for line := range strings.Lines(p.run(t, in, "region", "list", "--socket", p.socket(in))) {
			if strings.HasPrefix(line, home) {
				_, print, _ := strings.Cut(line, "fingerprint ")
				return strings.TrimSpace(print)
			}
		}
		return ""
	}
	// The retirement is announced after it is done.
	for end := time.Now().Add(settleWithin); fingerprint(home) != fingerprint(away); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: %s knows %s by %s, and it is %s", crash, away, home, fingerprint(away), fingerprint(home))
		}
	}
}

// rotatingRSK: a Region ends while it replaces its signing key. It goes on with it; a second command makes no second key.
func rotatingRSK(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, ""), p.start(t, home, crash)
	j := newKey(t, p)
	before, _ := p.rsk(t)
	rotate := []string{"region", "rotate-rsk", "--socket", p.socket(home)}
	_ = p.command(t, home, "", rotate...).Run() // it ends with the Region, or before it
	p.died(t, h)
	h = p.start(t, home, "")
	if signs, rotating := p.rsk(t); rotating || signs == before {
		p.run(t, home, rotate...)
	}
	p.rotated(t, crash, before)
	j.verify(t, p, crash)
	return []*server{h, a}
}

// toldOfRSK: a Region ends while it takes over another's new signing key. It is told again.
func toldOfRSK(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, crash), p.start(t, home, "")
	j := newKey(t, p)
	before, _ := p.rsk(t)
	p.run(t, home, "region", "rotate-rsk", "--socket", p.socket(home))
	p.died(t, a)
	a = p.start(t, away, "")
	p.rotated(t, crash, before)
	j.verify(t, p, crash)
	return []*server{h, a}
}

// removingKey: a Region ends while it removes another's retired signing key; the command is repeated.
func removingKey(t *testing.T, p *pair, crash string) []*server {
	t.Helper()
	a, h := p.start(t, away, crash), p.start(t, home, "")
	j := newKey(t, p)
	before, _ := p.rsk(t)
	p.run(t, home, "region", "rotate-rsk", "--socket", p.socket(home))
	p.rotated(t, crash, before)
	remove := []string{"region", "remove", home, "--key", before, "--socket", p.socket(away)}
	p.fails(t, away, remove...)
	p.died(t, a)
	a = p.start(t, away, "")
	p.run(t, away, remove...)
	p.run(t, away, remove...)
	j.verify(t, p, crash)
	a.stop(t)
	states := map[roster.KeyState]int{}
	for _, e := range p.roster(t, away).Regions {
		for _, k := range e.RSKs {
			states[k.State]++
		}
	}
	if states[roster.Removed] != 1 || states[roster.Active] != 2 {
		t.Errorf("%s: the keys in the roster are %v", crash, states)
	}
	return []*server{h, p.start(t, away, "")}
}

// roster reads the roster of a Region that does not run.
func (p *pair) roster(t *testing.T, name string) (out roster.Roster) {
	t.Helper()
	view(t, filepath.Join(p.dir, name, "data", "store.db"), func(rd regions.Reader) error {
		rec, err := rd.Get(t.Context(), regions.RecordKey{Kind: regions.KindRoster})
		if errors.Is(err, regions.ErrNoRecord) {
			return nil
		}
		if err != nil {
			return err
		}
		var body regions.RosterRecord
		err = canon.Unmarshal(rec.Body, &body)
		out = body.Roster
		return err
	})
	return out
}

// furtherRSKs is how many signing keys a Region has made on its first token since it was made itself. Old ones stay there.
func (p *pair) furtherRSKs(t *testing.T, name string) (n int) {
	t.Helper()
	var elsewhere []keyring.TokenKeys
	view(t, filepath.Join(p.dir, name, "data", "store.db"), func(rd regions.Reader) error {
		rec, err := rd.Get(t.Context(), regions.RecordKey{Kind: regions.KindHierarchy, ID: name})
		if err != nil {
			return err
		}
		var body regions.HierarchyRecord
		err = canon.Unmarshal(rec.Body, &body)
		elsewhere = body.Hierarchy.Tokens[min(1, len(body.Hierarchy.Tokens)):]
		return err
	})
	for _, e := range p.roster(t, name).Regions {
		for _, k := range e.RSKs {
			on := func(token keyring.TokenKeys) bool { return bytes.Equal(token.RSKPublic, k.SPKI) }
			if e.Region == name && len(k.Proof) > 0 && !slices.ContainsFunc(elsewhere, on) {
				n++
			}
		}
	}
	return n
}
