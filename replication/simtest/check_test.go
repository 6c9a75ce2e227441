package simtest_test

import (
	"fmt"
	"slices"
	"time"

	"antipode/regions"
	"antipode/regions/keyset"
)

// stamp is the number of a shared state: generation, term and sequence.
type stamp [3]uint64

func stampOf(s *keyset.State) stamp {
	return stamp{s.Epoch.Generation, s.Epoch.Term, s.Sequence}
}

func (a stamp) less(b stamp) bool { return slices.Compare(a[:], b[:]) < 0 }

// copyOf is what a Region's store holds of a key.
type copyOf struct {
	version int // of the process when it was read
	key     *regions.Key
	held    []string // ids of materials
}

func (c copyOf) String() string {
	switch {
	case c.key == nil:
		return "not there"
	case c.key.MultiRegion == nil || c.key.MultiRegion.State == nil:
		return string(c.key.State)
	}
	return fmt.Sprintf("%s, %x at %v", c.key.State, c.key.MultiRegion.Incarnation, stampOf(c.state()))
}

// name is A for the first key that was made.
func (k *known) name() string { return string(rune('A' + k.made)) }

func (c copyOf) serves() bool {
	return c.key != nil && c.key.State != regions.StateCreating && c.key.MultiRegion != nil && c.key.MultiRegion.State != nil
}

func (c copyOf) state() *keyset.State { return c.key.MultiRegion.State }

func (c copyOf) holds(material string) bool { return slices.Contains(c.held, material) }

// snapshot reads a Region's copy of a key, if something was written since it was read last.
func (s *sim) snapshot(name string, k *known) copyOf {
	p := s.procs[name]
	if have, there := k.copies[name]; there && have.version == p.version() {
		return have
	}
	c := copyOf{version: p.version()}
	h := p.r.Holds(s.ctx, k.id)
	c.key = h.Key
	for _, m := range h.Materials {
		c.held = append(c.held, m.ID)
	}
	k.copies[name] = c
	return c
}

// settled reports whether a Region's word counts: its process runs, and its store is not an old one.
func (s *sim) settled(name string) bool {
	return !s.procs[name].dead() && !s.procs[name].r.Region.Recovering()
}

// holders are the Regions that have the key and whose processes run.
func (s *sim) holders(k *known) (list []string) {
	for _, name := range s.names {
		if !s.procs[name].dead() && s.snapshot(name, k).serves() {
			list = append(list, name)
		}
	}
	return list
}

// highest returns the highest shared state of the key in any Region whose word counts.
func (s *sim) highest(k *known) (state *keyset.State) {
	for _, name := range s.holders(k) {
		if c := s.snapshot(name, k); s.settled(name) && (state == nil || stampOf(state).less(stampOf(c.state()))) {
			state = c.state()
		}
	}
	return state
}

// members are the Regions that the highest state lists as Active, by the incarnation that they have, and whose word counts.
func (s *sim) members(k *known) (list []string) {
	state := s.highest(k)
	if state == nil {
		return nil
	}
	for _, name := range s.holders(k) {
		m, listed := state.Member(name)
		if listed && m.Status == keyset.Active && s.settled(name) && m.Incarnation == s.snapshot(name, k).key.MultiRegion.Incarnation {
			list = append(list, name)
		}
	}
	return list
}

// acts reports whether a Region acts as the primary of the key.
func (s *sim) acts(name string, k *known) bool {
	c := s.snapshot(name, k)
	return c.serves() && s.settled(name) && c.state().Primary == name && c.key.MultiRegion.HandingTo == ""
}

// primaryOf returns the Region that acts as the primary.
func (s *sim) primaryOf(k *known) (string, bool) {
	for _, name := range s.names {
		if !s.procs[name].dead() && s.acts(name, k) {
			return name, true
		}
	}
	return "", false
}

// use notes who was a member when something was encrypted with a material.
func (s *sim) use(k *known, material string) {
	if k.used[material] == nil {
		k.used[material] = map[string][16]byte{}
	}
	for _, name := range s.members(k) {
		k.used[material][name] = s.snapshot(name, k).key.MultiRegion.Incarnation
	}
}

// mourn notes materials of which the restored store had the only copy.
func (s *sim) mourn(k *known) {
	for material := range k.used {
		held := false
		for _, name := range s.names {
			held = held || s.snapshot(name, k).holds(material)
		}
		if !held {
			k.lost[material] = true
		}
	}
}

// check looks at every key in every Region. What it finds is in s.broken.
func (s *sim) check() {
	for _, k := range s.keys {
		acting := map[[2]uint64]string{}
		for _, name := range s.holders(k) {
			s.checkCopy(name, k)
			if !s.acts(name, k) {
				continue
			}
			at := stampOf(s.snapshot(name, k).state())
			if other, there := acting[[2]uint64{at[0], at[1]}]; there {
				s.breaks("%s and %s both act as primary in epoch %v", name, other, at[:2])
			}
			acting[[2]uint64{at[0], at[1]}] = name
		}
		s.checkHeld(k)
	}
}

// checkCopy checks one Region's copy by itself, and against what any Region has ever held under the same number.
func (s *sim) checkCopy(name string, k *known) {
	c := s.snapshot(name, k)
	mr, at := c.key.MultiRegion, stampOf(c.state())
	if at == k.highest[name] && k.contents[at] == string(mr.Signed) {
		return // as it was
	}
	if at.less(k.highest[name]) {
		s.breaks("%s was at %v and is at %v", name, k.highest[name], at)
	}
	k.highest[name] = at
	if content, there := k.contents[at]; there && content != string(mr.Signed) {
		s.breaks("%v names two contents, one of them in %s", at, name)
	}
	k.contents[at] = string(mr.Signed)
	head, err := keyset.VerifyChain(mr.Certificates, nil, s.procs[name].r.Region.Roster())
	if err != nil || head.Epoch != c.state().Epoch || head.Primary != c.state().Primary {
		s.breaks("%s is at %v, and its certificates lead to %v, %v", name, at, head, err)
	}
}

// checkHeld checks that whatever encrypts or has encrypted is held where it has to be.
func (s *sim) checkHeld(k *known) {
	members := s.members(k)
	state := s.highest(k)
	if state == nil {
		return
	}
	for _, name := range s.holders(k) {
		c := s.snapshot(name, k)
		if !s.settled(name) {
			continue
		}
		m, listed := state.Member(name)
		if (!listed || m.Incarnation != c.key.MultiRegion.Incarnation) && c.key.State == regions.StateEnabled {
			s.breaks("%s serves a replica that is no member at %v", name, stampOf(state))
		}
		if !slices.Contains(members, name) {
			continue
		}
		for _, other := range members {
			if !s.snapshot(other, k).holds(c.key.Current) {
				s.breaks("%s encrypts with %s, and %s does not hold it", name, short(c.key.Current), other)
			}
		}
	}
	for _, m := range state.Needed() {
		for _, name := range members {
			if m.Status != keyset.Pending && !k.lost[m.ID] && !s.snapshot(name, k).holds(m.ID) {
				s.breaks("%s is a member at %v and does not hold %s", name, stampOf(state), short(m.ID))
			}
		}
	}
	for material, when := range k.used {
		for _, name := range members {
			if c := s.snapshot(name, k); when[name] == c.key.MultiRegion.Incarnation && !k.lost[material] && !c.holds(material) {
				s.breaks("%s was a member when %s encrypted, and does not hold it", name, short(material))
			}
		}
	}
}

// heal ends every fault, and checks that the Regions come together and nothing is lost.
func (s *sim) heal() {
	s.note("heal")
	for _, a := range s.names {
		for _, b := range s.names {
			s.net.set(a, b, whole)
		}
	}
	for _, name := range s.names {
		p := s.procs[name]
		p.start(s.t, p.r.Restart)
	}
	s.w.Advance(10 * time.Minute) // the longest that a state waits for a member that has refused it
	s.w.Settle(s.ctx)
	s.resume()
	s.check()
	for _, k := range s.keys {
		state := s.highest(k)
		if state == nil {
			continue // deleted, or lost with its only Region's store
		}
		for _, m := range state.Members {
			c := s.snapshot(m.Region, k)
			if m.Status == keyset.Creating && s.restored {
				continue // its primary is not Enabled
			}
			if !c.serves() || m.Status != keyset.Active || c.key.MultiRegion.Incarnation != m.Incarnation {
				s.breaks("after all: the member %+v of key %s at %v does not serve: %s", m, k.name(), stampOf(state), c)
				continue
			}
			if stampOf(c.state()) != stampOf(state) {
				s.breaks("after all: %s is at %v, %s at %v", m.Region, stampOf(c.state()), state.Primary, stampOf(state))
			}
			s.open(m.Region, k)
		}
	}
}

// resume asks again for replicas that are Creating. A primary that was restored to before ReplicateKey has a member that
// nobody goes on creating, if the destination has lost its part too; whoever wants the replica asks for it again.
func (s *sim) resume() {
	for _, k := range s.keys {
		name, acting := s.primaryOf(k)
		if !acting || !s.restored || s.snapshot(name, k).key.State != regions.StateEnabled {
			continue
		}
		for _, m := range s.highest(k).Members {
			if m.Status != keyset.Creating {
				continue
			}
			if err := s.procs[name].r.Replicate(s.ctx, k.id, m.Region); err != nil {
				s.breaks("after all: the replica in %s is not resumed: %v", m.Region, err)
			}
		}
	}
	s.w.Settle(s.ctx)
}

// open decrypts everything in a Region.
func (s *sim) open(name string, k *known) {
	r := s.procs[name].r
	for _, operation := range []string{"CancelKeyDeletion", "EnableKey"} {
		_, _ = r.Do(s.ctx, operation, &regions.KeyInput{KeyID: k.id}) // whichever is needed
	}
	if s.snapshot(name, k).key.State != regions.StateEnabled {
		s.breaks("after all: %s is %s in %s", k.id, s.snapshot(name, k).key.State, name)
		return
	}
	for _, b := range k.blobs {
		if k.lost[b.material] {
			continue
		}
		if text, err := r.Decrypt(s.ctx, b.ciphertext); err != nil || text != b.plaintext {
			s.breaks("after all: encrypted in %s with %s, in %s it decrypts to %q, %v", b.region, short(b.material), name, text, err)
		}
	}
}

func short(id string) string { return id[:min(8, len(id))] }
