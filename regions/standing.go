package regions

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"antipode/regions/keyset"
)

// MemberStanding is what this Region, which has the primary of a multi-Region key, knows of one of the other members of
// its key set, and what it still has to send there: status and outbox in one record. There is one for each other member
// that the shared state lists, written in the transactions that change the state, so that no change is lost between the
// commit and the sending. Only the primary's Region has any.
type MemberStanding struct {
	Account string `cbor:"1,keyasint"`
	KeyID   string `cbor:"2,keyasint"`
	Region  string `cbor:"3,keyasint"` // the member
	// Incarnation is the member's in the shared state. What another incarnation signed does not count.
	Incarnation [16]byte `cbor:"4,keyasint"`
	// Epoch, Sequence and Materials are what the member has signed last that it holds; zero if it has signed nothing yet.
	Epoch     keyset.Epoch `cbor:"5,keyasint"`
	Sequence  uint64       `cbor:"6,keyasint"`
	Materials []string     `cbor:"7,keyasint"` // ids
	// Signed is the message in which it did, a receipt (m4) or an acknowledgement of a state; Heard is when it came.
	Signed []byte `cbor:"8,keyasint"`
	Heard  int64  `cbor:"9,keyasint"` // Unix milliseconds
	// Behind is when the oldest change was made that the member has not acknowledged, Unix milliseconds; 0 if there is none.
	Behind int64 `cbor:"10,keyasint"`
	// Due is when the state is sent next, Unix milliseconds; 0 if nothing is to be sent.
	Due      int64  `cbor:"11,keyasint"`
	Attempts uint32 `cbor:"12,keyasint"` // in vain, since the last success
	Error    string `cbor:"13,keyasint"` // of the last attempt, for people; "" after a success
}

// RecordKey implements [Body].
func (s MemberStanding) RecordKey() RecordKey {
	return RecordKey{Kind: KindStanding, Account: s.Account, ID: s.KeyID, Sub: s.Region}
}

// RecordIndex implements [Body]: what is to be sent to a Region is found by its name.
func (s MemberStanding) RecordIndex() (string, int64) {
	if s.Due == 0 {
		return "", 0
	}
	return s.Region, s.Due
}

// Holds reports whether the member has signed that it holds a material.
func (s MemberStanding) Holds(material string) bool { return slices.Contains(s.Materials, material) }

// Missing returns the ids of the materials of a shared state that the member has not signed to hold, and that an exchange
// could bring it: imported material goes no other way than by being imported.
func (s MemberStanding) Missing(state keyset.State) (ids []string) {
	if state.Origin != OriginAWSKMS {
		return nil
	}
	for _, m := range state.Needed() {
		if !s.Holds(m.ID) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// Compare orders what the member has signed and a shared state by their numbers: negative if the member is behind.
func (s MemberStanding) Compare(state keyset.State) int {
	return cmp.Or(s.Epoch.Compare(state.Epoch), cmp.Compare(s.Sequence, state.Sequence))
}

// The pauses before a state is sent again to a member that has answered with a refusal, or still lacks a material.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 10 * time.Minute
)

// putOff sets when the state is sent next after an attempt that did not end it.
func (s *MemberStanding) putOff(now int64, why string) {
	pause := lastPause
	if s.Attempts < 12 {
		pause = min(pause, firstPause<<s.Attempts)
	}
	s.Attempts++
	s.Due = now + pause.Milliseconds()
	s.Error = cutText(why, 512)
}

func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most]
}

// KeepStandings brings the standings of a key's members up to date with the key as it was just committed, inside the same
// transaction: if this Region has the primary, every other member that is Active is to be sent the state, and who is no
// member any more, or one of another incarnation, is forgotten; if it has not, there are none. A member that is still
// Creating gets the state by the exchange that creates it.
func (r *Region) KeepStandings(ctx context.Context, tx Tx, k Key) error {
	if k.MultiRegion == nil || k.MultiRegion.State == nil {
		return nil
	}
	list, err := List[MemberStanding](ctx, tx, r.ring, Query{Kind: KindStanding, Account: k.Account, ID: k.KeyID})
	if err != nil {
		return err
	}
	s := *k.MultiRegion.State
	have := map[string]MemberStanding{}
	for _, st := range list {
		m, listed := s.Member(st.Region)
		if s.Primary == r.cfg.Name && st.Region != r.cfg.Name && listed && m.Incarnation == st.Incarnation {
			have[st.Region] = st
			continue
		}
		if err := tx.Delete(ctx, st.RecordKey()); err != nil {
			return err
		}
	}
	if s.Primary != r.cfg.Name {
		return nil
	}
	now := max(r.Now().UnixMilli(), 1)
	for _, m := range s.Members {
		if m.Region == r.cfg.Name {
			continue
		}
		st, there := have[m.Region]
		if !there {
			st = MemberStanding{Account: k.Account, KeyID: k.KeyID, Region: m.Region, Incarnation: m.Incarnation}
		}
		if st.Behind == 0 {
			st.Behind = now
		}
		if m.Status == keyset.Active {
			st.Due, st.Attempts = now, 0
		}
		if err := Put(ctx, tx, r.ring, st); err != nil {
			return err
		}
	}
	return nil
}

// Statement is what a member of a key set has signed that it holds.
type Statement struct {
	Account, KeyID string
	Region         string // the member, who signed
	Incarnation    [16]byte
	Epoch          keyset.Epoch
	Sequence       uint64
	Materials      []string // ids of all materials of the key that it holds
	Signed         []byte   // the message, verified
}

// NoteStatement keeps, inside a transaction, what a member has signed, in the standing of that member, and ends the sending
// if that is all that the shared state asks for. An older statement than the one on record changes nothing. It returns the
// key and the standing as committed, or [ErrNotPrimary], or [ErrNotMember] if the state does not list the signer by that
// incarnation.
func (r *Region) NoteStatement(ctx context.Context, tx Tx, w Statement) (k Key, st MemberStanding, err error) {
	k, st, err = r.standingOf(ctx, tx, w.Account, w.KeyID, w.Region)
	if err != nil {
		return k, st, err
	}
	if w.Incarnation != st.Incarnation {
		return k, st, fmt.Errorf("%w: %s signs as another incarnation", ErrNotMember, w.Region)
	}
	now := max(r.Now().UnixMilli(), 1)
	// In one incarnation materials only grow, so of two statements of one number the longer one is the later.
	order := cmp.Or(w.Epoch.Compare(st.Epoch), cmp.Compare(w.Sequence, st.Sequence), cmp.Compare(len(w.Materials), len(st.Materials)))
	if len(st.Signed) == 0 || order >= 0 {
		st.Epoch, st.Sequence, st.Materials, st.Signed, st.Heard = w.Epoch, w.Sequence, w.Materials, w.Signed, now
	}
	state := *k.MultiRegion.State
	switch missing := st.Missing(state); {
	case st.Compare(state) < 0: // it was changed meanwhile
		if m, _ := state.Member(w.Region); m.Status == keyset.Active {
			st.Due, st.Attempts = now, 0
		}
	case st.Compare(state) > 0:
		st.putOff(now, fmt.Sprintf("%s holds the state %v/%d, and %s is at %v/%d", w.Region, st.Epoch, st.Sequence, r.cfg.Name,
			state.Epoch, state.Sequence))
	case len(missing) > 0:
		st.putOff(now, fmt.Sprintf("%s lacks %d materials", w.Region, len(missing)))
	default:
		st.Behind, st.Due, st.Attempts, st.Error = 0, 0, 0, ""
	}
	return k, st, Put(ctx, tx, r.ring, st)
}

// NoteFault keeps, inside a transaction, why a state could not be sent to a member, and when that is tried again.
func (r *Region) NoteFault(ctx context.Context, tx Tx, account, keyID, region, why string) error {
	_, st, err := r.standingOf(ctx, tx, account, keyID, region)
	if err != nil {
		return err
	}
	now := max(r.Now().UnixMilli(), 1)
	if st.Behind == 0 {
		st.Behind = now // it had signed, and has not any more what it signed for
	}
	st.putOff(now, why)
	return Put(ctx, tx, r.ring, st)
}

// standingOf reads a key whose primary this Region is, and the standing of a member, an empty one if none is kept yet.
func (r *Region) standingOf(ctx context.Context, rd Reader, account, keyID, region string) (k Key, st MemberStanding, err error) {
	k, err = Get[Key](ctx, rd, r.ring, Key{Account: account, KeyID: keyID}.RecordKey())
	if isNoRecord(err) {
		return k, st, ErrNotPrimary
	}
	if err != nil {
		return k, st, err
	}
	if k.MultiRegion == nil || k.MultiRegion.State == nil || k.MultiRegion.State.Primary != r.cfg.Name || region == r.cfg.Name {
		return k, st, ErrNotPrimary
	}
	m, listed := k.MultiRegion.State.Member(region)
	if !listed {
		return k, st, fmt.Errorf("%w: %s", ErrNotMember, region)
	}
	st = MemberStanding{Account: account, KeyID: keyID, Region: region, Incarnation: m.Incarnation}
	kept, err := Get[MemberStanding](ctx, rd, r.ring, st.RecordKey())
	switch {
	case isNoRecord(err):
		return k, st, nil
	case err != nil:
		return k, st, err
	case kept.Incarnation != m.Incarnation:
		return k, st, nil
	}
	return k, kept, nil
}

// Unacknowledged returns the members that a key's shared state lists and that have not, in their present incarnation,
// signed that they hold a material: the rotation barrier, inside the transaction that it decides. This Region's own member
// counts as one that has if the material is in its store.
func (r *Region) Unacknowledged(ctx context.Context, rd Reader, k Key, material string) (lacking []keyset.Member, err error) {
	if k.MultiRegion == nil || k.MultiRegion.State == nil || k.MultiRegion.State.Primary != r.cfg.Name {
		return nil, ErrNotPrimary
	}
	for _, m := range k.MultiRegion.State.Members {
		if m.Region == r.cfg.Name {
			own := RecordKey{Kind: KindMaterial, Account: k.Account, ID: k.KeyID, Sub: material}
			if _, err := Get[MaterialRecord](ctx, rd, r.ring, own); isNoRecord(err) {
				lacking = append(lacking, m)
			} else if err != nil {
				return nil, err
			}
			continue
		}
		st, err := Get[MemberStanding](ctx, rd, r.ring, MemberStanding{Account: k.Account, KeyID: k.KeyID, Region: m.Region}.RecordKey())
		switch {
		case isNoRecord(err):
			lacking = append(lacking, m)
		case err != nil:
			return nil, err
		case st.Incarnation != m.Incarnation || !st.Holds(material):
			lacking = append(lacking, m)
		}
	}
	return lacking, nil
}

// Standings returns the standings of a key's other members, in order of Region; none if this Region has not the primary.
func (r *Region) Standings(ctx context.Context, rd Reader, account, keyID string) ([]MemberStanding, error) {
	return List[MemberStanding](ctx, rd, r.ring, Query{Kind: KindStanding, Account: account, ID: keyID})
}

// Outgoing is signalled after each commit that has something to be sent to other Regions, or has noted what one of them
// has signed. Whoever does the sending waits for it; a signal that nobody waits for is kept, one of them.
func (r *Region) Outgoing() <-chan struct{} { return r.outgoing }

func (r *Region) wakeOutgoing(touched map[RecordKey]struct{}) {
	for k := range touched {
		if k.Kind != KindStanding {
			continue
		}
		select {
		case r.outgoing <- struct{}{}:
		default: // there is one
		}
		return
	}
}
