package regions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"antipode/regions/identity"
)

// futureLimit is how far the version of an identity from another Region may be ahead of this Region's clock. A version
// that is far ahead could not be changed here any more before that time has come.
const futureLimit = 24 * time.Hour

// Import is what another Region says of its identities, and what the operator has decided about those that are not the
// same ones as here.
type Import struct {
	From       string // the Region that they come from
	Identities []identity.Bundle
	// Keep and Replace are ARNs: of identities that stay as they are here, and of those for which the other Region's take
	// the place of others of the same name.
	Keep, Replace []string
}

// Imported is what became of an [Import], by ARN.
type Imported struct {
	Applied []string // newer than what was held
	Same    []string // held already
	Newer   []string // held in a newer state, which stays
	Kept    []string // left alone as the operator said
}

// ImportIdentities takes over what is newer than what is held here. Everything is looked at before anything is changed, and
// nothing is changed if anything is refused: an identity of an account that the roster does not let this peer speak for
// ([CodeAccessDenied]); one that is not valid (identity.ErrInvalid); and, all of them named, with [ErrIdentityConflict],
// those that are another user or role than the one of that name here, and accounts that were deleted there and are in use
// here. After that it goes one identity at a time: a failure in between leaves some of them taken over, each wholly, and
// the import can be repeated.
func (r *Region) ImportIdentities(ctx context.Context, in Import) (Imported, error) {
	plan, err := r.planImport(ctx, in)
	if err != nil {
		return Imported{}, err
	}
	for _, p := range plan.apply {
		change := IdentityChange{Event: "ImportIdentity", By: in.From, Base: p.base}
		if _, err := r.ApplyIdentity(ctx, p.bundle, change); err != nil {
			return plan.Imported, fmt.Errorf("import %s: %w", p.bundle.ARN(), err)
		}
		plan.Applied = append(plan.Applied, p.bundle.ARN())
	}
	return plan.Imported, nil
}

// importPlan is what an import will do.
type importPlan struct {
	Imported
	apply []plannedIdentity
}

type plannedIdentity struct {
	bundle identity.Bundle
	base   int64 // version that is held
}

func (r *Region) planImport(ctx context.Context, in Import) (importPlan, error) {
	list, err := r.checkImport(in)
	if err != nil {
		return importPlan{}, err
	}
	names, err := r.Identities(ctx, "")
	if err != nil {
		return importPlan{}, err
	}
	plan := importPlan{}
	var conflicts []string
	for _, b := range list {
		if slices.Contains(in.Keep, b.ARN()) {
			plan.Kept = append(plan.Kept, b.ARN())
			continue
		}
		held, err := r.Identity(ctx, NameOf(b))
		found := err == nil
		if err != nil && !errors.Is(err, ErrNoRecord) {
			return importPlan{}, err
		}
		why, err := r.importConflict(ctx, in, held, b, names, list)
		if err != nil {
			return importPlan{}, err
		}
		if why != "" {
			conflicts = append(conflicts, why)
			continue
		}
		same := false
		if found {
			if same, err = held.Same(b); err != nil {
				return importPlan{}, err
			}
		}
		switch {
		case same:
			plan.Same = append(plan.Same, b.ARN())
		case found && held.Version() > b.Version():
			plan.Newer = append(plan.Newer, b.ARN())
		default:
			plan.apply = append(plan.apply, plannedIdentity{b, held.Version()})
		}
	}
	if len(conflicts) > 0 {
		return importPlan{}, fmt.Errorf("%w; nothing was changed: %s", ErrIdentityConflict, strings.Join(conflicts, "; "))
	}
	return plan, nil
}

// checkImport checks what needs no look at what is held, and puts accounts before what is in them.
func (r *Region) checkImport(in Import) ([]identity.Bundle, error) {
	limit := r.Now().Add(futureLimit).UnixMilli()
	ro := r.Roster()
	seen := map[IdentityName]bool{}
	for _, b := range in.Identities {
		if err := b.Validate(); err != nil {
			return nil, err
		}
		switch {
		case !ro.AllowsAccount(in.From, b.Owner()):
			return nil, Errorf(CodeAccessDenied, "Identities of account %s are not taken from %s: %s.", b.Owner(), in.From, b.ARN())
		case seen[NameOf(b)]:
			return nil, fmt.Errorf("%w: %s is there twice", identity.ErrInvalid, b.ARN())
		case b.Version() > limit:
			return nil, fmt.Errorf("%w: %s was changed in the future: the clocks of the two Regions are more than %s apart",
				identity.ErrInvalid, b.ARN(), futureLimit)
		}
		seen[NameOf(b)] = true
	}
	list := slices.Clone(in.Identities)
	slices.SortStableFunc(list, func(a, b identity.Bundle) int {
		return cmp.Or(strings.Compare(a.Owner(), b.Owner()), cmp.Compare(importOrder(a), importOrder(b)), strings.Compare(a.ARN(), b.ARN()))
	})
	for _, arn := range slices.Concat(in.Keep, in.Replace) {
		if !slices.ContainsFunc(list, func(b identity.Bundle) bool { return b.ARN() == arn }) {
			return nil, fmt.Errorf("%w: %s is to be kept or replaced, and is not in the import", identity.ErrInvalid, arn)
		}
	}
	return list, nil
}

func importOrder(b identity.Bundle) int {
	switch {
	case b.Account != nil:
		return 0
	case b.User != nil:
		return 1
	default:
		return 2
	}
}

// importConflict says why an identity can't be taken over without the operator's decision, "" if it can.
func (r *Region) importConflict(ctx context.Context, in Import, held, b identity.Bundle, names []IdentityName, list []identity.Bundle) (string, error) {
	if held.Version() == b.Version() {
		same, err := held.Same(b)
		if err == nil && !same {
			return b.ARN() + " has two states of one version: change it in either Region", nil
		}
		return "", err
	}
	if b.Account != nil {
		return r.accountConflict(ctx, held, b, names, list)
	}
	if liveID(b) == "" && held.Version() > b.Version() {
		return "", nil // one that was deleted before the one here was made
	}
	if here, there := liveID(held), uniqueID(b); here != "" && here != there {
		if !slices.Contains(in.Replace, b.ARN()) {
			return fmt.Sprintf("%s is another one here (%s) than in %s (%s): keep the one here, or replace it", b.ARN(), here, in.From, there), nil
		}
		if held.Version() > b.Version() {
			return fmt.Sprintf("%s can't be replaced, because the one here was changed later: change it in %s and export again", b.ARN(), in.From), nil
		}
	}
	name := NameOf(b)
	for _, n := range names {
		if n.Kind == name.Kind && n.Account == name.Account && n.Name != name.Name && strings.EqualFold(n.Name, name.Name) {
			return fmt.Sprintf("%s differs from %s here by case alone", b.ARN(), n.Name), nil
		}
	}
	for _, k := range b.Keys {
		owner, err := r.AccessKeyOwner(ctx, k.ID)
		if err != nil {
			return "", err
		}
		if owner != "" && (held.User == nil || owner != held.ARN()) {
			return fmt.Sprintf("access key %s of %s is %s's here", k.ID, b.ARN(), owner), nil
		}
	}
	return "", nil
}

// accountConflict refuses to delete an account that would still have keys, users or roles here.
func (r *Region) accountConflict(ctx context.Context, held, b identity.Bundle, names []IdentityName, list []identity.Bundle) (string, error) {
	if !b.Account.Deleted || held.Account == nil || held.Account.Deleted || held.Version() > b.Version() {
		return "", nil
	}
	used := false
	err := r.cfg.Store.View(ctx, func(rd Reader) error {
		keys, err := rd.List(ctx, Query{Kind: KindKey, Account: b.Owner(), Limit: 1})
		used = len(keys) > 0
		return err
	})
	if err != nil {
		return "", err
	}
	if used {
		return fmt.Sprintf("account %s was deleted there and has keys here", b.Owner()), nil
	}
	for _, n := range names {
		if n.Account != b.Owner() || n.Kind == KindAccount {
			continue
		}
		mine, err := r.Identity(ctx, n)
		if err != nil {
			return "", err
		}
		goes := slices.ContainsFunc(list, func(o identity.Bundle) bool { return NameOf(o) == n && liveID(o) == "" })
		if liveID(mine) != "" && !goes {
			return fmt.Sprintf("account %s was deleted there and has %s here", b.Owner(), mine.ARN()), nil
		}
	}
	return "", nil
}

// uniqueID is the unique id of the user or role in a bundle, "" if there is none.
func uniqueID(b identity.Bundle) string {
	switch {
	case b.User != nil:
		return b.User.ID
	case b.Role != nil:
		return b.Role.ID
	}
	return ""
}

// liveID is the same, "" for one that was deleted too.
func liveID(b identity.Bundle) string {
	if b.User != nil && b.User.Deleted || b.Role != nil && b.Role.Deleted {
		return ""
	}
	return uniqueID(b)
}
