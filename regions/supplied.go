package regions

import (
	"context"
	"fmt"
	"slices"

	"antipode/regions/keyring"
	"antipode/regions/keyset"
	"antipode/regions/policy"
)

// Supply is material of a key set of which this Region is a member, as another member offers it.
type Supply struct {
	Shared
	Spec, Usage, Origin string
	Materials           []keyset.Material // offered; Created is not looked at
	// Asked says that this Region, which recovers, has asked for the key. Without that no key is made of a supply: what
	// keys there are here is decided by this Region's users, or by what it held once.
	Asked bool
}

// CheckSupply decides whether this Region takes a supply. It changes nothing. It returns the errors of
// [Region.Compare], [ErrNotMember], [ErrNothingMissing], [ErrUnknownKey], [ErrRolledBack], or an [*Error] for a kind of
// key that this Region can't hold.
func (r *Region) CheckSupply(ctx context.Context, rd Reader, s Supply) (Standing, error) {
	st, err := r.Compare(ctx, rd, s.Shared)
	if err != nil {
		return st, err
	}
	if r.rolledBack(st) {
		return st, fmt.Errorf("%w: %s supplies %v/%d of %s", ErrRolledBack, s.From, st.Sent.Epoch, st.Sent.Sequence, s.KeyID)
	}
	if st.Sent.Spec != s.Spec || st.Sent.Usage != s.Usage || st.Sent.Origin != s.Origin {
		return st, fmt.Errorf("%w: the shared state is not of the key that was offered", keyset.ErrUncertified)
	}
	if err := r.checkMembers(st, s); err != nil {
		return st, err
	}
	if err := checkOffered(st, s.Materials); err != nil {
		return st, err
	}
	return st, r.holds(s.Spec, s.Usage, s.Origin)
}

// checkMembers: both Regions are members, this one with the incarnation of its record.
func (r *Region) checkMembers(st Standing, s Supply) error {
	me, listed := st.Sent.Member(r.cfg.Name)
	if !listed {
		return fmt.Errorf("%w: %s", ErrNotMember, r.cfg.Name)
	}
	if _, listed := st.Sent.Member(s.From); !listed {
		return fmt.Errorf("%w: %s", ErrNotMember, s.From)
	}
	if st.Key == nil {
		if !s.Asked || !r.Recovering() {
			return fmt.Errorf("%w: %s", ErrUnknownKey, s.KeyID)
		}
		return nil
	}
	if st.Key.MultiRegion == nil || st.Key.MultiRegion.State == nil {
		return fmt.Errorf("%w: %s is being created", ErrUnknownKey, s.KeyID)
	}
	if st.Key.MultiRegion.Incarnation != me.Incarnation {
		return fmt.Errorf("%w: %s is one of another incarnation", ErrNotMember, r.cfg.Name)
	}
	return nil
}

// checkOffered: what is offered is of the state sent, and some of it is missing here.
func checkOffered(st Standing, offered []keyset.Material) error {
	missing := false
	for _, m := range offered {
		i := slices.IndexFunc(st.Sent.Materials, func(o keyset.Material) bool { return o.ID == m.ID && o.Status == m.Status })
		if i < 0 {
			return fmt.Errorf("%w: material %s is not of the shared state", keyset.ErrUncertified, m.ID)
		}
		missing = missing || !slices.Contains(st.Held, m.ID)
	}
	if !missing {
		return ErrNothingMissing
	}
	return nil
}

// InstallSupplied puts supplied materials, re-wrapped for this Region, beside those of the key, inside a transaction, and
// takes over the state if it is higher; all is checked again. What encrypts becomes the state's current material once
// that is here: pending material is kept and not used.
//
// A key that is not here is made again, Disabled and with the default policy: its policy, tags, aliases and grants were
// this Region's own, and are lost. It returns how the key stands then.
func (r *Region) InstallSupplied(ctx context.Context, tx Tx, s Supply, materials []keyring.Material) (Standing, error) {
	st, err := r.CheckSupply(ctx, tx, s)
	if err != nil {
		return st, fmt.Errorf("install supply: %w", err)
	}
	for _, m := range materials {
		if slices.Contains(st.Held, m.ID) {
			continue // the key token that is here stays
		}
		if err := r.PutMaterials(ctx, tx, m); err != nil {
			return st, err
		}
		st.Held = append(st.Held, m.ID)
	}
	if st.Key == nil {
		me, _ := st.Sent.Member(r.cfg.Name)
		k := Key{
			Account: s.Account, KeyID: s.KeyID, Spec: s.Spec, Usage: s.Usage, Origin: s.Origin, State: StateDisabled,
			Created: r.Now().UnixMilli(), Storage: keyring.StorageWrapped,
			MultiRegion: &MultiRegion{Incarnation: me.Incarnation},
		}
		st.Key = &k
		r.adopt(&st, s.Shared)
		if err := r.putNew(ctx, tx, *st.Key, policy.Default(s.Account)); err != nil {
			return st, err
		}
		return st, r.KeepStandings(ctx, tx, *st.Key)
	}
	if st.Newer {
		r.adopt(&st, s.Shared)
	}
	if k := *st.Key; slices.Contains(st.Held, st.Sent.Current()) {
		k.Current = st.Sent.Current()
		st.Key = &k
	}
	if err := Put(ctx, tx, r.ring, *st.Key); err != nil || !st.Newer {
		return st, err
	}
	return st, r.KeepStandings(ctx, tx, *st.Key)
}

// EvictUnused drops from the token the working copies of materials that are not to be used: those of a key that can't
// decrypt, and pending ones.
func (r *Region) EvictUnused(ctx context.Context, st Standing) error {
	var ids []string
	for _, m := range st.Sent.Materials {
		if m.Status == keyset.Pending || checkState("Decrypt", st.Key.State, "") != nil {
			ids = append(ids, m.ID)
		}
	}
	return r.evictAll(ctx, ids)
}
