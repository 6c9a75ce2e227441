package simtest_test

import (
	"errors"
	"testing"
	"time"

	"antipode/regions"
	"antipode/replication/simtest"
)

// mostKeys is how many keys a world gets.
const mostKeys = 4

func (s *sim) create() {
	if len(s.keys) >= mostKeys {
		return
	}
	r, up := s.region()
	if !up {
		return
	}
	s.createIn(r)
}

func (s *sim) createIn(r *simtest.Region) {
	out, err := r.Do(s.ctx, "CreateKey", &regions.CreateKeyInput{MultiRegion: true})
	s.ended(err)
	if err != nil {
		return
	}
	id := out.(*regions.CreateKeyOutput).KeyMetadata.KeyID //nolint:forcetypeassert // a panic is a failure
	s.keys[id] = newKnown(id, len(s.keys))
}

func newKnown(id string, made int) *known {
	return &known{
		id: id, made: made, contents: map[stamp]string{}, highest: map[string]stamp{},
		used: map[string]map[string][16]byte{}, lost: map[string]bool{}, copies: map[string]copyOf{},
	}
}

// call makes a call about a key, in the Region that has its primary if primary, in any other case in any Region.
func (s *sim) call(primary bool, operation string, input func(*known) any) {
	k, there := s.key()
	if !there {
		return
	}
	r, up := s.region()
	if primary && s.rng.IntN(5) > 0 { // mostly where it can succeed
		if name, acting := s.primaryOf(k); acting {
			r = s.w.Region(name)
		}
	}
	if !up {
		return
	}
	s.steps[len(s.steps)-1] += " of key " + k.name() + " in " + r.Name
	_, err := r.Do(s.ctx, operation, input(k))
	s.ended(err)
}

func (s *sim) replicate() {
	to, _ := pick(s, s.names)
	s.steps[len(s.steps)-1] += " to " + to
	s.call(true, "ReplicateKey", func(k *known) any { return &regions.ReplicateKeyInput{KeyID: k.id, ReplicaRegion: to} })
}

func (s *sim) rotate() {
	s.call(true, "RotateKeyOnDemand", func(k *known) any { return &regions.KeyInput{KeyID: k.id} })
}

func (s *sim) updatePrimary() {
	to, _ := pick(s, s.names)
	s.steps[len(s.steps)-1] += " to " + to
	s.call(true, "UpdatePrimaryRegion", func(k *known) any { return &regions.UpdatePrimaryRegionInput{KeyID: k.id, PrimaryRegion: to} })
}

func (s *sim) disable() {
	operation, _ := pick(s, []string{"DisableKey", "EnableKey", "EnableKey", "EnableKey"})
	s.call(false, operation, func(k *known) any { return &regions.KeyInput{KeyID: k.id} })
}

func (s *sim) schedule() {
	days := 7
	s.call(false, "ScheduleKeyDeletion", func(k *known) any {
		return &regions.ScheduleKeyDeletionInput{KeyID: k.id, PendingWindowInDays: &days}
	})
}

func (s *sim) cancel() {
	s.call(false, "CancelKeyDeletion", func(k *known) any { return &regions.KeyInput{KeyID: k.id} })
}

// encrypt encrypts in a Region, which must succeed wherever the key is Enabled, whatever goes on, and must not where it is still Creating.
func (s *sim) encrypt() {
	k, there := s.key()
	if !there {
		return
	}
	name, _ := pick(s, s.holders(k))
	s.steps[len(s.steps)-1] += " with key " + k.name() + " in " + name
	s.encryptIn(name, k)
}

func (s *sim) encryptIn(name string, k *known) {
	p := s.procs[name]
	have := s.snapshot(name, k)
	text := "made in " + name
	ciphertext, err := p.r.Encrypt(s.ctx, k.id, text)
	s.ended(err)
	switch {
	case p.dead():
	case err == nil && have.key.State != regions.StateEnabled && have.key.State != regions.StateUpdating:
		s.breaks("%s encrypts with a key that is %s", name, have.key.State)
	case err == nil:
		material := s.snapshot(name, k).key.Current
		k.blobs = append(k.blobs, blob{name, ciphertext, text, material})
		s.use(k, material)
	case have.key.State == regions.StateEnabled || have.key.State == regions.StateUpdating:
		s.breaks("%s does not encrypt: %v", name, err)
	}
}

// decrypt must succeed in every Region that was a member when the ciphertext was made, and is it still.
func (s *sim) decrypt() {
	k, there := s.key()
	if !there {
		return
	}
	b, there := pick(s, k.blobs)
	if !there || k.lost[b.material] {
		return
	}
	for _, name := range s.members(k) {
		have := s.snapshot(name, k)
		if k.used[b.material][name] != have.key.MultiRegion.Incarnation ||
			have.key.State != regions.StateEnabled && have.key.State != regions.StateUpdating {
			continue
		}
		text, err := s.procs[name].r.Decrypt(s.ctx, b.ciphertext)
		if s.procs[name].dead() {
			continue
		}
		if err != nil || text != b.plaintext {
			s.breaks("encrypted in %s with %s, in %s it decrypts to %q, %v", b.region, short(b.material), name, text, err)
		}
	}
}

func (s *sim) time() {
	d := time.Duration(1+s.rng.IntN(100)) * time.Second
	if s.rng.IntN(4) == 0 {
		d = time.Duration(1+s.rng.IntN(72)) * time.Hour
	}
	s.steps[len(s.steps)-1] += " " + d.String()
	s.w.Advance(d)
}

// tick lets one Region do what is due.
func (s *sim) tick() {
	r, up := s.region()
	if !up {
		return
	}
	s.steps[len(s.steps)-1] += " in " + r.Name
	err := errors.Join(r.Region.DeleteDue(s.ctx), r.Region.RotateDue(s.ctx), r.Node.Tick(s.ctx))
	s.ended(err)
}

func (s *sim) link() {
	a, _ := pick(s, s.names)
	b, _ := pick(s, s.names)
	q, _ := pick(s, []quality{whole, whole, flaky, flaky, broken})
	s.steps[len(s.steps)-1] += " " + a + " " + b + " " + []string{"whole", "flaky", "broken"}[q]
	s.net.set(a, b, q)
}

// late delivers a message that was held back.
func (s *sim) late() {
	m, there := s.net.takeLate(s.rng.IntN(1000))
	if !there || s.procs[m.To].dead() {
		return
	}
	s.steps[len(s.steps)-1] += " " + m.Type + " from " + m.From + " to " + m.To
	_, err := s.w.Net.Send(s.ctx, m.From, m.To, m.Data)
	s.ended(err)
}

// crash ends a process at one of its next commits.
func (s *sim) crash() {
	r, up := s.region()
	if !up {
		return
	}
	n, after := 1+s.rng.IntN(8), s.rng.IntN(2) == 0
	s.steps[len(s.steps)-1] += " " + r.Name
	s.procs[r.Name].endAt(n, after)
}

// restart starts a process that has ended, or ends and starts one.
func (s *sim) restart() {
	name, _ := pick(s, s.names)
	for _, other := range s.names {
		if s.procs[other].dead() && s.rng.IntN(3) > 0 {
			name = other
		}
	}
	s.steps[len(s.steps)-1] += " " + name
	p := s.procs[name]
	p.start(s.t, p.r.Restart)
}

func (s *sim) backup() {
	r, up := s.region()
	if !up {
		return
	}
	s.steps[len(s.steps)-1] += " of " + r.Name
	s.backups[r.Name] = r.Backup(s.t)
}

// restore brings one Region back to its last backup: one at a time, as what two have lost may be lost.
func (s *sim) restore() {
	for _, name := range s.names {
		if s.procs[name].dead() || s.w.Region(name).Region.Recovering() {
			return
		}
	}
	name, _ := pick(s, s.names)
	file := s.backups[name]
	if file == "" {
		return
	}
	s.steps[len(s.steps)-1] += " of " + name
	p := s.procs[name]
	p.start(s.t, func(t testing.TB) { p.r.Restore(t, file) })
	s.restored = true
	for _, k := range s.keys {
		delete(k.highest, name)
		s.mourn(k)
	}
}
