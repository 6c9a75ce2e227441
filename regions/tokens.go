package regions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"antipode/hsmbackend"
	"antipode/regions/keyring"
	"antipode/regions/roster"
)

// TokenPlan is the record that names the objects of a further token before any is made, so that an addition that was cut
// off is repeated with the same names.
type TokenPlan struct {
	Keys keyring.TokenKeys `cbor:"1,keyasint"`
}

// RecordKey implements [Body].
func (p TokenPlan) RecordKey() RecordKey { return RecordKey{Kind: KindTokenPlan, ID: p.Keys.Serial} }

// RecordIndex implements [Body].
func (p TokenPlan) RecordIndex() (string, int64) { return "", 0 }

// TokenLoader moves the Region's keys from one of its tokens into another and proves that they are the same there;
// package replication provides it.
type TokenLoader interface {
	// LoadToken loads what keys lacks of from's keys into the token to, which is keys', and returns keys with it. It
	// leaves nothing else on either token, also with an error. now is Unix milliseconds.
	LoadToken(ctx context.Context, region string, from *keyring.Ring, to hsmbackend.Token, keys keyring.TokenKeys, now int64) (keyring.TokenKeys, error)
}

// AddToken loads the Region's keys into a further token: all of them into one that has none, and those versions of the
// domain key that it lacks into one that is on record. It may be repeated, after a crash at any point, and then makes
// nothing twice. It returns [ErrTokenInUse] or [ErrForeignKeys] before it has touched anything.
func (r *Region) AddToken(ctx context.Context, token hsmbackend.Token, loader TokenLoader) (keyring.Hierarchy, error) {
	h, err := r.addToken(ctx, token, loader)
	if err != nil {
		return h, fmt.Errorf("add token: %w", err)
	}
	return h, nil
}

func (r *Region) addToken(ctx context.Context, token hsmbackend.Token, loader TokenLoader) (h keyring.Hierarchy, err error) {
	done, err := r.changeKeys(ctx)
	if err != nil {
		return h, err
	}
	defer done()
	serial := token.Info().Serial
	if serial == r.cfg.Token.Info().Serial {
		return h, fmt.Errorf("%w: serial number %q", ErrTokenInUse, serial)
	}
	if h, err = r.Hierarchy(ctx); err != nil {
		return h, err
	}
	keys, known := h.Token(serial)
	if !known {
		if keys, err = r.planToken(ctx, token); err != nil {
			return h, err
		}
		if keys, err = keyring.Prepare(ctx, token, keys, r.cfg.Name); err != nil {
			return h, err
		}
	}
	now := r.Now().UnixMilli()
	if keys, err = loader.LoadToken(ctx, r.cfg.Name, r.ring, token, keys, now); err != nil {
		return h, err
	}
	// The other Regions are told of its signing key, which says itself that it is this Region's.
	signer, err := keyring.NewRSK(ctx, token, keys.RSK, r.cfg.Name)
	if err != nil {
		return h, err
	}
	proof, err := roster.ProvePossession(ctx, signer, r.cfg.Name, keys.RSKPublic)
	if err != nil {
		return h, err
	}
	return r.acknowledge(ctx, keys, proof)
}

// planToken returns the names for a token's objects: those in the store, if an addition was cut off.
func (r *Region) planToken(ctx context.Context, token hsmbackend.Token) (keyring.TokenKeys, error) {
	var plan TokenPlan
	plan.Keys.Serial = token.Info().Serial
	err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		plan, err = Get[TokenPlan](ctx, rd, r.ring, plan.RecordKey())
		return err
	})
	if !errors.Is(err, ErrNoRecord) {
		return plan.Keys, err
	}
	for _, o := range []struct {
		class hsmbackend.Class
		name  string
	}{{hsmbackend.ClassSecret, "kek"}, {hsmbackend.ClassPrivate, "rsk"}, {hsmbackend.ClassPrivate, "audit"}} {
		found, err := token.ListToken(ctx, o.class, "antipode/"+r.cfg.Name+"/"+o.name)
		if err != nil {
			return plan.Keys, err
		}
		if len(found) > 0 {
			return plan.Keys, ErrForeignKeys
		}
	}
	if plan.Keys, err = keyring.Plan(ctx, token); err != nil {
		return plan.Keys, err
	}
	return plan.Keys, r.Update(ctx, func(tx Tx) error { return Put(ctx, tx, r.ring, plan) })
}

// acknowledge commits that a token holds the keys that were loaded into it and proven there: the hierarchy, the end of
// the plan, and the token's RSK in the Region's entry of itself.
func (r *Region) acknowledge(ctx context.Context, keys keyring.TokenKeys, proof []byte) (keyring.Hierarchy, error) {
	var next *roster.Roster
	h, err := r.updateHierarchy(ctx, func(tx Tx, h *keyring.Hierarchy) (err error) {
		at := slices.IndexFunc(h.Tokens, func(k keyring.TokenKeys) bool { return k.Serial == keys.Serial })
		if at >= 0 {
			h.Tokens[at] = keys
		} else {
			h.Tokens = append(h.Tokens, keys)
		}
		if err := tx.Delete(ctx, TokenPlan{Keys: keys}.RecordKey()); err != nil {
			return err
		}
		next, err = r.changeOwnEntry(ctx, tx, func(e *roster.Entry) bool {
			if slices.ContainsFunc(e.RSKs, func(k roster.RSK) bool { return bytes.Equal(k.SPKI, keys.RSKPublic) }) {
				return false
			}
			e.RSKs = append(e.RSKs, roster.RSK{SPKI: keys.RSKPublic, State: roster.Active, Since: e.Version, Proof: proof})
			return true
		})
		return err
	})
	if next != nil && err == nil {
		r.setRoster(*next)
	}
	return h, err
}

// RemoveToken forgets a token that the Region does not run on, or an addition that was cut off. Its RSK is retired in
// the Region's entry of itself. What is on the token stays there: it must be initialised anew. It returns
// [ErrTokenInUse] or [keyring.ErrUnknownToken].
func (r *Region) RemoveToken(ctx context.Context, serial string) error {
	if err := r.removeToken(ctx, serial); err != nil {
		return fmt.Errorf("remove token: %w", err)
	}
	return nil
}

func (r *Region) removeToken(ctx context.Context, serial string) error {
	done, err := r.changeKeys(ctx)
	if err != nil {
		return err
	}
	defer done()
	if serial == r.cfg.Token.Info().Serial {
		return fmt.Errorf("%w: serial number %q", ErrTokenInUse, serial)
	}
	var next *roster.Roster
	_, err = r.updateHierarchy(ctx, func(tx Tx, h *keyring.Hierarchy) error {
		plan := TokenPlan{Keys: keyring.TokenKeys{Serial: serial}}.RecordKey()
		_, planErr := tx.Get(ctx, plan)
		if planErr != nil && !errors.Is(planErr, ErrNoRecord) {
			return planErr
		}
		keys, known := h.Token(serial)
		if !known && planErr != nil {
			return fmt.Errorf("%w: serial number %q", keyring.ErrUnknownToken, serial)
		}
		h.Tokens = slices.DeleteFunc(h.Tokens, func(k keyring.TokenKeys) bool { return k.Serial == serial })
		if err := tx.Delete(ctx, plan); err != nil {
			return err
		}
		retired := [][]byte{keys.RSKPublic}
		rotation, err := r.endRSKRotation(ctx, tx, serial)
		if err != nil {
			return err
		}
		retired = append(retired, rotation...)
		next, err = r.changeOwnEntry(ctx, tx, func(e *roster.Entry) (changed bool) {
			for _, spki := range retired {
				changed = known && retire(e, spki) || changed
			}
			return changed
		})
		return err
	})
	if next != nil && err == nil {
		r.setRoster(*next)
	}
	return err
}

// TokenPlans returns the serial numbers of the tokens whose addition was begun and not finished.
func (r *Region) TokenPlans(ctx context.Context) (out []string, err error) {
	err = r.cfg.Store.View(ctx, func(rd Reader) error {
		plans, err := List[TokenPlan](ctx, rd, r.ring, Query{Kind: KindTokenPlan})
		for _, p := range plans {
			out = append(out, p.Keys.Serial)
		}
		return err
	})
	return out, err
}
