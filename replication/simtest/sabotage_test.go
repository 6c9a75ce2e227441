package simtest_test

import (
	"fmt"
	"testing"

	"antipode/regions"
	"antipode/regions/keyset"
)

// A check that can't fail shows nothing. Each of these breaks one rule by writing into a Region's store what code without
// that rule would have written, and the simulation must find it.
func TestSimulationFinds(t *testing.T) {
	t.Parallel()
	for name, sabotage := range map[string]func(*sim){
		"material that is current before every member has it": noBarrier,
		"a state of an earlier epoch is taken":                olderEpoch,
		"a member that is not listed":                         unlistedMember,
		"a change that is made twice under one number":        twice,
		"two primaries":                secondPrimary,
		"material that is thrown away": throwAway,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := uint64(1); seed <= 5; seed++ { // a world in which it never happens shows nothing
				s := simulate(t, 3, seed, runSteps, sabotage)
				if len(s.broken) > 0 {
					t.Logf("step %d: %s", len(s.steps), s.broken[0])
					return
				}
			}
			t.Error("the simulation found nothing")
		})
	}
}

// write changes a Region's store by hand. Where its process has ended nothing is done.
func (s *sim) write(name string, fn func(tx regions.Tx) error) {
	p := s.procs[name]
	if p.dead() {
		return
	}
	if err := p.r.Region.Update(s.ctx, fn); err != nil && !p.dead() {
		s.t.Fatal(err)
	}
}

// pair returns a key, the Region that acts as its primary and another member.
func (s *sim) pair() (k *known, primary, other string, there bool) {
	for _, k := range s.keys {
		if primary, there = s.primaryOf(k); !there {
			continue
		}
		for _, name := range s.members(k) {
			if name != primary {
				return k, primary, name, true
			}
		}
	}
	return nil, "", "", false
}

// sign puts a changed state in the place of the primary's, under the same number.
func (s *sim) sign(name string, k *known, change func(*regions.Key, *keyset.State)) {
	s.write(name, func(tx regions.Tx) error {
		r := s.procs[name].r.Region
		key := *s.snapshot(name, k).key
		state, mr := *key.MultiRegion.State, *key.MultiRegion
		state.Materials = append([]keyset.Material(nil), state.Materials...)
		state.Members = append([]keyset.Member(nil), state.Members...)
		change(&key, &state)
		signed, err := keyset.SignState(s.ctx, r.Ring().RSK(), state)
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		mr.State, mr.Signed, key.MultiRegion = &state, signed, &mr
		return regions.Put(s.ctx, tx, r.Ring(), key)
	})
}

func noBarrier(s *sim) {
	k, primary, _, there := s.pair()
	if !there {
		return
	}
	c := s.snapshot(primary, k)
	for i, m := range c.state().Materials {
		if m.Status != keyset.Pending || !c.holds(m.ID) {
			continue
		}
		s.sign(primary, k, func(key *regions.Key, state *keyset.State) {
			for j := range state.Materials {
				if state.Materials[j].Status == keyset.Current {
					state.Materials[j].Status = keyset.NonCurrent
				}
			}
			state.Materials[i].Status = keyset.Current
			state.Sequence++
			key.Current = m.ID
		})
		return
	}
}

func olderEpoch(s *sim) {
	for _, k := range s.keys {
		for _, name := range s.members(k) {
			c := s.snapshot(name, k)
			old, there := k.past[name]
			if !there || old.State.Epoch == c.state().Epoch {
				mr := *c.key.MultiRegion
				if k.past == nil {
					k.past = map[string]regions.MultiRegion{}
				}
				k.past[name] = mr
				continue
			}
			key := *c.key
			old.Incarnation = key.MultiRegion.Incarnation
			key.MultiRegion = &old
			s.write(name, func(tx regions.Tx) error { return regions.Put(s.ctx, tx, s.procs[name].r.Region.Ring(), key) })
			return
		}
	}
}

func unlistedMember(s *sim) {
	k, primary, other, there := s.pair()
	if !there {
		return
	}
	s.sign(primary, k, func(_ *regions.Key, state *keyset.State) {
		for i, m := range state.Members {
			if m.Region == other {
				state.Members = append(state.Members[:i], state.Members[i+1:]...)
				break
			}
		}
		state.Sequence++
	})
}

func twice(s *sim) {
	k, primary, _, there := s.pair()
	if !there || s.rng.IntN(20) > 0 {
		return
	}
	s.sign(primary, k, func(_ *regions.Key, state *keyset.State) {
		state.Rotation = keyset.Rotation{Enabled: true, PeriodDays: 100 + state.Rotation.PeriodDays, Next: 1}
	})
}

func secondPrimary(s *sim) {
	k, primary, other, there := s.pair()
	if !there {
		return
	}
	c := s.snapshot(other, k)
	if stampOf(c.state()) != stampOf(s.snapshot(primary, k).state()) {
		return
	}
	key := *c.key
	mr, state := *key.MultiRegion, *c.state()
	state.Primary = other
	mr.State, key.MultiRegion = &state, &mr
	s.write(other, func(tx regions.Tx) error { return regions.Put(s.ctx, tx, s.procs[other].r.Region.Ring(), key) })
}

func throwAway(s *sim) {
	k, _, other, there := s.pair()
	if !there || len(s.snapshot(other, k).held) < 2 {
		return
	}
	for material := range k.used {
		if c := s.snapshot(other, k); c.holds(material) && material != c.key.Current {
			s.write(other, func(tx regions.Tx) error {
				return tx.Delete(s.ctx, regions.RecordKey{Kind: regions.KindMaterial, Account: c.key.Account, ID: k.id, Sub: material})
			})
			return
		}
	}
}
