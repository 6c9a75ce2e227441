package keyset_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"antipode/regions/canon"
	"antipode/regions/cose"
	"antipode/regions/keyset"
	"antipode/regions/roster"
)

func material(c string, status keyset.MaterialStatus) keyset.Material {
	return keyset.Material{ID: strings.Repeat(c, 64), Status: status, Created: 5}
}

func rotated(c string, status keyset.MaterialStatus, at int64) keyset.Material {
	m := material(c, status)
	m.Cause, m.Rotated = keyset.OnDemand, at
	return m
}

func state(head keyset.Head) keyset.State {
	return keyset.State{
		Account: account, KeyID: keyID, Spec: "SYMMETRIC_DEFAULT", Usage: "ENCRYPT_DECRYPT", Origin: "AWS_KMS", Created: 4,
		Epoch: head.Epoch, Certificate: head.Certificate, Primary: head.Primary, Sequence: 3,
		Members: []keyset.Member{
			{Region: east, Incarnation: [16]byte{1}, Status: keyset.Active},
			{Region: west, Incarnation: [16]byte{2}, Status: keyset.Creating},
		},
		Materials: []keyset.Material{material("a", keyset.NonCurrent), material("b", keyset.Current)},
		Rotation:  keyset.Rotation{Enabled: true, PeriodDays: 365, Next: 1},
	}
}

func head() keyset.Head {
	return keyset.Head{Account: account, KeyID: keyID, Epoch: epoch(1, 1), Primary: east, Certificate: [48]byte{9}}
}

func clone(s keyset.State) keyset.State {
	s.Members, s.Materials = slices.Clone(s.Members), slices.Clone(s.Materials)
	return s
}

func TestStateRules(t *testing.T) {
	t.Parallel()
	if err := state(head()).Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(s *keyset.State){
		"account":                  func(s *keyset.State) { s.Account = "1" },
		"single-Region key id":     func(s *keyset.State) { s.KeyID = "1234abcd-12ab-34cd-56ef-1234567890ab" },
		"key id in capitals":       func(s *keyset.State) { s.KeyID = strings.ToUpper(keyID) },
		"no spec":                  func(s *keyset.State) { s.Spec = "" },
		"usage with a space":       func(s *keyset.State) { s.Usage = "ENCRYPT DECRYPT" },
		"no generation":            func(s *keyset.State) { s.Epoch = epoch(0, 1) },
		"no term":                  func(s *keyset.State) { s.Epoch = epoch(1, 0) },
		"sequence 0":               func(s *keyset.State) { s.Sequence = 0 },
		"no members":               func(s *keyset.State) { s.Members = nil },
		"members out of order":     func(s *keyset.State) { slices.Reverse(s.Members) },
		"member twice":             func(s *keyset.State) { s.Members[1].Region = east },
		"member without a name":    func(s *keyset.State) { s.Members[1].Region = "" },
		"member, no incarnation":   func(s *keyset.State) { s.Members[1].Incarnation = [16]byte{} },
		"member of unknown status": func(s *keyset.State) { s.Members[1].Status = "active" },
		"primary no member":        func(s *keyset.State) { s.Primary = euro },
		"primary still creating":   func(s *keyset.State) { s.Primary = west },
		"no material":              func(s *keyset.State) { s.Materials = nil },
		"two current":              func(s *keyset.State) { s.Materials[0].Status = keyset.Current },
		"none current":             func(s *keyset.State) { s.Materials[1].Status = keyset.NonCurrent },
		"material twice":           func(s *keyset.State) { s.Materials[0].ID = s.Materials[1].ID },
		"material id too short":    func(s *keyset.State) { s.Materials[0].ID = "aa" },
		"material id in capitals":  func(s *keyset.State) { s.Materials[0].ID = strings.Repeat("A", 64) },
		"unknown material status":  func(s *keyset.State) { s.Materials[0].Status = "" },
		"two pending": func(s *keyset.State) {
			s.Materials = append(s.Materials, material("c", keyset.Pending), material("d", keyset.Pending))
		},
		"imported, none current": func(s *keyset.State) { s.Origin = "EXTERNAL"; s.Materials[1].Status = keyset.NonCurrent },
		"rotation of 0 days":     func(s *keyset.State) { s.Rotation.PeriodDays = 0 },
		"rotation of 89 days":    func(s *keyset.State) { s.Rotation.PeriodDays = 89 },
		"rotation of 2561 days":  func(s *keyset.State) { s.Rotation.PeriodDays = 2561 },
		"rotation never":         func(s *keyset.State) { s.Rotation.Next = 0 },
		"rotation off, and next": func(s *keyset.State) { s.Rotation.Enabled = false },
		"cause of a rotation":    func(s *keyset.State) { s.Materials[0].Cause = "WHIM" },
		"rotated, and pending":   func(s *keyset.State) { s.Materials[0] = rotated("c", keyset.Pending, 9) },
		"rotated, and abandoned": func(s *keyset.State) { s.Materials[0] = rotated("c", keyset.Abandoned, 9) },
		"rotated without cause":  func(s *keyset.State) { s.Materials[1].Rotated = 9 },
		"rotated before 1970":    func(s *keyset.State) { s.Materials[1] = rotated("c", keyset.Current, -1) },
		"too many members":       func(s *keyset.State) { s.Members = make([]keyset.Member, keyset.MaxMembers+1) },
		"too many materials":     func(s *keyset.State) { s.Materials = make([]keyset.Material, keyset.MaxMaterials+1) },
	} {
		s := clone(state(head()))
		change(&s)
		if err := s.Validate(); !errors.Is(err, keyset.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(s *keyset.State){
		"one pending": func(s *keyset.State) { s.Materials = append(s.Materials, material("c", keyset.Pending)) },
		"one rotated": func(s *keyset.State) { s.Materials[1] = rotated("b", keyset.Current, 9) },
		"two abandoned": func(s *keyset.State) {
			s.Materials = append(s.Materials, material("c", keyset.Abandoned), material("d", keyset.Abandoned))
		},
		"never rotated":            func(s *keyset.State) { s.Rotation = keyset.Rotation{} },
		"to be imported":           func(s *keyset.State) { s.Origin, s.Materials = "EXTERNAL", nil },
		"rotation off, period set": func(s *keyset.State) { s.Rotation.Enabled, s.Rotation.Next = false, 0 },
	} {
		s := clone(state(head()))
		change(&s)
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	have := state(head())
	have.Epoch = epoch(2, 2)
	for name, c := range map[string]struct {
		change  func(s *keyset.State)
		changed bool
		want    error
	}{
		"the same":                   {func(*keyset.State) {}, false, nil},
		"next sequence":              {func(s *keyset.State) { s.Sequence++ }, true, nil},
		"a gap":                      {func(s *keyset.State) { s.Sequence += 10 }, true, nil},
		"next term, sequence 1":      {func(s *keyset.State) { s.Epoch, s.Sequence = epoch(2, 3), 1 }, true, nil},
		"next generation":            {func(s *keyset.State) { s.Epoch, s.Sequence = epoch(3, 1), 1 }, true, nil},
		"a member leaves":            {func(s *keyset.State) { s.Sequence++; s.Members = s.Members[:1] }, true, nil},
		"a material comes":           {func(s *keyset.State) { s.Sequence++; s.Materials = append(s.Materials, material("c", keyset.Pending)) }, true, nil},
		"materials in another order": {func(s *keyset.State) { s.Sequence++; slices.Reverse(s.Materials) }, true, nil},
		"sequence back":              {func(s *keyset.State) { s.Sequence-- }, false, keyset.ErrStale},
		"term back, sequence up":     {func(s *keyset.State) { s.Epoch, s.Sequence = epoch(2, 1), 99 }, false, keyset.ErrStale},
		"generation back, others up": {func(s *keyset.State) { s.Epoch, s.Sequence = epoch(1, 9), 99 }, false, keyset.ErrStale},
		"same number, other member":  {func(s *keyset.State) { s.Members[1].Status = keyset.Active }, false, keyset.ErrConflict},
		"same number, other chain":   {func(s *keyset.State) { s.Certificate = [48]byte{8} }, false, keyset.ErrConflict},
		"same number, other period":  {func(s *keyset.State) { s.Rotation.PeriodDays = 366 }, false, keyset.ErrConflict},
		"a material goes":            {func(s *keyset.State) { s.Sequence++; s.Materials = s.Materials[1:] }, false, keyset.ErrShrinks},
		"a material replaced":        {func(s *keyset.State) { s.Sequence++; s.Materials[0] = material("c", keyset.NonCurrent) }, false, keyset.ErrShrinks},
		"a material redated":         {func(s *keyset.State) { s.Epoch = epoch(9, 1); s.Materials[0].Created++ }, false, keyset.ErrShrinks},
		"another spec":               {func(s *keyset.State) { s.Sequence++; s.Spec = "HMAC_256" }, false, keyset.ErrShrinks},
		"another usage":              {func(s *keyset.State) { s.Sequence++; s.Usage = "SIGN_VERIFY" }, false, keyset.ErrShrinks},
		"another origin":             {func(s *keyset.State) { s.Sequence++; s.Origin = "EXTERNAL" }, false, keyset.ErrShrinks},
		"another creation":           {func(s *keyset.State) { s.Sequence++; s.Created++ }, false, keyset.ErrShrinks},
		"another key":                {func(s *keyset.State) { s.Sequence++; s.KeyID = "mrk-" + strings.Repeat("0", 32) }, false, keyset.ErrInvalid},
		"invalid":                    {func(s *keyset.State) { s.Sequence++; s.Members = nil }, false, keyset.ErrInvalid},
	} {
		got := clone(have)
		c.change(&got)
		changed, err := keyset.Accept(&have, got)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || (err == nil && changed != c.changed) {
			t.Errorf("%s: %v, %v; want %v, %v", name, changed, err, c.changed, c.want)
		}
		if err == nil && keyset.Newer(got, have) != changed {
			t.Errorf("%s: Newer says otherwise", name)
		}
	}
	if changed, err := keyset.Accept(nil, have); err != nil || !changed {
		t.Errorf("the first: %v, %v", changed, err)
	}
	if changed, err := keyset.Accept(nil, keyset.State{}); err == nil || changed {
		t.Errorf("an invalid first: %v, %v", changed, err)
	}
}

// Material that is pending becomes current or is abandoned, in whatever states one Region hears of; what has been current
// is never abandoned, and what was abandoned is not taken up again.
func TestAcceptMaterialStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to keyset.MaterialStatus
		want     error
	}{
		{keyset.Pending, keyset.NonCurrent, nil},
		{keyset.Pending, keyset.Abandoned, nil},
		{keyset.Abandoned, keyset.Abandoned, nil},
		{keyset.NonCurrent, keyset.Pending, nil}, // a primary that was restored knows no better, and completes it again
		{keyset.NonCurrent, keyset.Abandoned, keyset.ErrShrinks},
		{keyset.Abandoned, keyset.Pending, keyset.ErrShrinks},
		{keyset.Abandoned, keyset.NonCurrent, keyset.ErrShrinks},
	} {
		have := state(head())
		have.Materials[0].Status = c.from
		got := clone(have)
		got.Sequence++
		got.Materials[0].Status = c.to
		if _, err := keyset.Accept(&have, got); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s to %s: %v, want %v", c.from, c.to, err, c.want)
		}
	}
	have, got := state(head()), state(head())
	got.Sequence++
	got.Materials[0].Status, got.Materials[1].Status = keyset.Current, keyset.Abandoned
	if _, err := keyset.Accept(&have, got); !errors.Is(err, keyset.ErrShrinks) {
		t.Errorf("the current material was abandoned: %v", err)
	}
}

// Each member is to hold all materials but those that were abandoned.
func TestNeeded(t *testing.T) {
	t.Parallel()
	s := state(head())
	s.Materials = append(s.Materials, material("c", keyset.Abandoned), material("d", keyset.Pending))
	if n := s.Needed(); len(n) != 3 || n[0] != s.Materials[0] || n[1] != s.Materials[1] || n[2] != s.Materials[3] {
		t.Errorf("needed are %+v", n)
	}
	if m, pending := s.Pending(); !pending || m.ID != s.Materials[3].ID {
		t.Errorf("pending is %+v, %t", m, pending)
	}
	if m, pending := state(head()).Pending(); pending {
		t.Errorf("pending is %+v", m)
	}
}

// Whatever is accepted in whatever order, the number never falls and no material is ever lost.
func TestAcceptOnlyGrows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var have *keyset.State
		ids := map[string]bool{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			got := clone(state(head()))
			got.Epoch = epoch(rapid.Uint64Range(1, 3).Draw(t, "generation"), rapid.Uint64Range(1, 3).Draw(t, "term"))
			got.Sequence = rapid.Uint64Range(1, 4).Draw(t, "sequence")
			got.Materials = []keyset.Material{material("b", keyset.Current)}
			for _, c := range []string{"c", "d", "e"} {
				if rapid.Bool().Draw(t, c) {
					got.Materials = append(got.Materials, material(c, keyset.NonCurrent))
				}
			}
			changed, err := keyset.Accept(have, got)
			if changed && err == nil {
				if have != nil && !keyset.Newer(got, *have) {
					t.Fatalf("%v/%d took the place of %v/%d", got.Epoch, got.Sequence, have.Epoch, have.Sequence)
				}
				have = &got
				for _, m := range got.Materials {
					ids[m.ID] = true
				}
			}
			if have != nil && len(have.Materials) != len(ids) {
				t.Fatalf("%d materials of %d ever accepted", len(have.Materials), len(ids))
			}
		}
	})
}

func TestSignedState(t *testing.T) {
	t.Parallel()
	p := newPartition(t)
	h, err := keyset.VerifyChain(p.genesis(t, east), nil, p)
	if err != nil {
		t.Fatal(err)
	}
	s := state(h)
	data, err := keyset.SignState(t.Context(), p.regions[east], s)
	if err != nil {
		t.Fatal(err)
	}
	got, err := keyset.OpenState(data, h, p)
	if err != nil {
		t.Fatal(err)
	}
	if changed, err := keyset.Accept(&s, got); changed || err != nil {
		t.Fatalf("%v, %v", changed, err)
	}
	if m, ok := got.Member(west); !ok || m.Status != keyset.Creating || got.Current() != strings.Repeat("b", 64) {
		t.Fatalf("%+v", got)
	}
	by := func(who string, s keyset.State) []byte {
		data, err := keyset.SignState(t.Context(), p.regions[who], s)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	alter := func(f func(*keyset.State)) keyset.State { s := clone(s); f(&s); return s }
	invalid, err := canon.Marshal(alter(func(s *keyset.State) { s.Members = nil }))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"by another member":  {by(west, s), keyset.ErrUncertified},
		"of another epoch":   {by(east, alter(func(s *keyset.State) { s.Epoch = epoch(1, 2) })), keyset.ErrUncertified},
		"of another chain":   {by(east, alter(func(s *keyset.State) { s.Certificate[0] ^= 1 })), keyset.ErrUncertified},
		"of another account": {by(east, alter(func(s *keyset.State) { s.Account = "999999999999" })), keyset.ErrUncertified},
		"of another key":     {by(east, alter(func(s *keyset.State) { s.KeyID = "mrk-" + strings.Repeat("0", 32) })), keyset.ErrUncertified},
		"with another primary": {by(east, alter(func(s *keyset.State) {
			s.Primary, s.Members[1].Status = west, keyset.Active
		})), keyset.ErrUncertified},
		"signed but invalid":   {signed(t, p.regions[east], keyset.TypeState, invalid), keyset.ErrInvalid},
		"signed as a message":  {signed(t, p.regions[east], "antipode/m1", invalid), keyset.ErrUncertified},
		"signed but not canon": {signed(t, p.regions[east], keyset.TypeState, []byte{0xbf, 0xff}), keyset.ErrInvalid},
		"altered":              {append(bytes.Clone(data[:len(data)-1]), data[len(data)-1]^1), keyset.ErrUncertified},
	} {
		if _, err := keyset.OpenState(c.data, h, p); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if _, err := keyset.OpenState(data, h, p.setKey(t, east, roster.Retired)); !errors.Is(err, keyset.ErrUncertified) {
		t.Errorf("signed by a retired key: %v", err)
	}
	if _, err := keyset.SignState(t.Context(), p.regions[east], keyset.State{}); !errors.Is(err, keyset.ErrInvalid) {
		t.Errorf("signed an invalid state: %v", err)
	}
}

// FuzzPayloads: what parses as a state or certificate re-encodes to the same bytes.
func FuzzPayloads(f *testing.F) {
	p := newPartition(f)
	chain := p.genesis(f, east)
	c, err := cose.Unverified(chain[0], keyset.TypeCertificate)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c)
	s, err := canon.Marshal(state(head()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s)
	f.Fuzz(func(t *testing.T, data []byte) {
		var s keyset.State
		if canon.Unmarshal(data, &s) == nil && s.Validate() == nil {
			again, err := canon.Marshal(s)
			if err != nil || !bytes.Equal(again, data) {
				t.Fatalf("state %x re-encodes to %x (%v)", data, again, err)
			}
		}
		var c keyset.Certificate
		if canon.Unmarshal(data, &c) == nil && c.Validate() == nil {
			again, err := canon.Marshal(c)
			if err != nil || !bytes.Equal(again, data) {
				t.Fatalf("certificate %x re-encodes to %x (%v)", data, again, err)
			}
		}
	})
}

// FuzzVerifyChain: garbage in a chain is refused and never panics.
func FuzzVerifyChain(f *testing.F) {
	p := newPartition(f)
	g := p.genesis(f, east)
	f.Add(g[0], p.sign(f, east, next(g, epoch(1, 1), epoch(1, 2), east, west)))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		h, err := keyset.VerifyChain([][]byte{a, b}, g, p)
		if err == nil && (h.KeyID != keyID || !bytes.Equal(a, g[0])) {
			t.Fatalf("accepted %x %x", a, b)
		}
	})
}
