package regions

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"antipode/regions/audit"
	"antipode/regions/identity"
)

// AccountRecord is the record of an account.
type AccountRecord struct {
	Account identity.Account `cbor:"1,keyasint"`
}

// RecordKey implements [Body].
func (a AccountRecord) RecordKey() RecordKey {
	return RecordKey{Kind: KindAccount, Account: a.Account.ID}
}

// RecordIndex implements [Body].
func (a AccountRecord) RecordIndex() (string, int64) { return "", 0 }

// UserRecord is the record of a user.
type UserRecord struct {
	User identity.User `cbor:"1,keyasint"`
}

// RecordKey implements [Body].
func (u UserRecord) RecordKey() RecordKey {
	return RecordKey{Kind: KindUser, Account: u.User.Account, ID: u.User.Name}
}

// RecordIndex implements [Body].
func (u UserRecord) RecordIndex() (string, int64) { return "", 0 }

// RoleRecord is the record of a role.
type RoleRecord struct {
	Role identity.Role `cbor:"1,keyasint"`
}

// RecordKey implements [Body].
func (r RoleRecord) RecordKey() RecordKey {
	return RecordKey{Kind: KindRole, Account: r.Role.Account, ID: r.Role.Name}
}

// RecordIndex implements [Body].
func (r RoleRecord) RecordIndex() (string, int64) { return "", 0 }

// AccessKeyRecord is the record of an access key, with its secret sealed by the token.
type AccessKeyRecord struct {
	Key identity.AccessKey `cbor:"1,keyasint"`
}

// RecordKey implements [Body].
func (a AccessKeyRecord) RecordKey() RecordKey { return RecordKey{Kind: KindAccessKey, ID: a.Key.ID} }

// RecordIndex implements [Body]: the access keys of a user are found by his ARN.
func (a AccessKeyRecord) RecordIndex() (string, int64) { return a.Key.UserARN, 0 }

// IdentityName names an account, a user or a role.
type IdentityName struct {
	Kind    RecordKind // [KindAccount], [KindUser] or [KindRole]
	Account string
	Name    string // of the user or role
}

// NameOf is the name of what is in a bundle.
func NameOf(b identity.Bundle) IdentityName {
	switch {
	case b.User != nil:
		return IdentityName{KindUser, b.User.Account, b.User.Name}
	case b.Role != nil:
		return IdentityName{KindRole, b.Role.Account, b.Role.Name}
	}
	return IdentityName{KindAccount, b.Owner(), ""}
}

// What [Region.ApplyIdentity] refuses.
var (
	// ErrIdentityChanged: what is held is not of the version that the change was made of.
	ErrIdentityChanged = errors.New("the identity was changed meanwhile")
	// ErrIdentityConflict: both are of one version and differ, or a name or access key id is taken by another.
	ErrIdentityConflict = errors.New("conflicting identities")
)

// Identity returns an account, user or role with its access keys and their secrets, also one that was deleted. It returns
// [ErrNoRecord] for one that never was.
func (r *Region) Identity(ctx context.Context, name IdentityName) (identity.Bundle, error) {
	var b identity.Bundle
	var sealed []AccessKeyRecord
	err := r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		b, sealed, err = r.readIdentity(ctx, rd, name)
		return err
	})
	if err != nil {
		return identity.Bundle{}, err
	}
	return b, r.openKeys(ctx, &b, sealed)
}

// AccessKeyOwner returns the ARN of the user whose access key it is, active or not, or "" if there is no such key.
func (r *Region) AccessKeyOwner(ctx context.Context, id string) (string, error) {
	rec, err := lookUp[AccessKeyRecord](ctx, r, RecordKey{Kind: KindAccessKey, ID: id})
	if errors.Is(err, identity.ErrUnknownKey) {
		return "", nil
	}
	return rec.Key.UserARN, err
}

// Identities returns the names of all accounts, users and roles, deleted ones too. account "" stands for all.
func (r *Region) Identities(ctx context.Context, account string) (names []IdentityName, err error) {
	err = r.cfg.Store.View(ctx, func(rd Reader) error {
		accounts, err := List[AccountRecord](ctx, rd, r.ring, Query{Kind: KindAccount, Account: account})
		if err != nil {
			return err
		}
		users, err := List[UserRecord](ctx, rd, r.ring, Query{Kind: KindUser, Account: account})
		if err != nil {
			return err
		}
		roles, err := List[RoleRecord](ctx, rd, r.ring, Query{Kind: KindRole, Account: account})
		if err != nil {
			return err
		}
		names = nil
		for _, a := range accounts {
			names = append(names, IdentityName{KindAccount, a.Account.ID, ""})
		}
		for _, u := range users {
			names = append(names, IdentityName{KindUser, u.User.Account, u.User.Name})
		}
		for _, o := range roles {
			names = append(names, IdentityName{KindRole, o.Role.Account, o.Role.Name})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list identities: %w", err)
	}
	return names, nil
}

func (r *Region) readIdentity(ctx context.Context, rd Reader, name IdentityName) (b identity.Bundle, keys []AccessKeyRecord, err error) {
	key := RecordKey{Kind: name.Kind, Account: name.Account, ID: name.Name}
	switch name.Kind {
	case KindAccount:
		rec, err := Get[AccountRecord](ctx, rd, r.ring, key)
		return identity.Bundle{Account: &rec.Account}, nil, err
	case KindRole:
		rec, err := Get[RoleRecord](ctx, rd, r.ring, key)
		return identity.Bundle{Role: &rec.Role}, nil, err
	case KindUser:
		rec, err := Get[UserRecord](ctx, rd, r.ring, key)
		if err != nil {
			return identity.Bundle{}, nil, err
		}
		keys, err = List[AccessKeyRecord](ctx, rd, r.ring, Query{Kind: KindAccessKey, Ref: rec.User.ARN()})
		return identity.Bundle{User: &rec.User}, keys, err
	default:
		return identity.Bundle{}, nil, fmt.Errorf("%w: %s is no identity", identity.ErrInvalid, name.Kind)
	}
}

// openKeys puts a user's access keys into the bundle. Records come in order of id.
func (r *Region) openKeys(ctx context.Context, b *identity.Bundle, sealed []AccessKeyRecord) error {
	for _, k := range sealed {
		secret, err := k.Key.Open(ctx, r.ring)
		if err != nil {
			return err
		}
		b.Keys = append(b.Keys, identity.BundleKey{
			ID: k.Key.ID, Active: k.Key.Active, Created: k.Key.Created, Secret: secret,
		})
	}
	return nil
}

// IdentityChange says who changes an identity and how.
type IdentityChange struct {
	Event string // of the audit log, "CreateUser"
	By    string // "operator", or the Region that it came from
	// Base is the version that the change was made of, 0 for none. [AnyVersion] is for what comes from another Region.
	Base int64
}

// ApplyIdentity stores what is in the bundle, if it is newer than what is held, and reports whether it did: with a user
// all access keys that the bundle has and no others. It is how every change of identities is made, and how they come from
// another Region; to repeat it changes nothing. A change is in the audit log before and after it is made. One that was
// made of a version that is not held any more is refused with [ErrIdentityChanged]; other errors are
// [ErrIdentityConflict], and what wraps identity.ErrInvalid.
func (r *Region) ApplyIdentity(ctx context.Context, b identity.Bundle, change IdentityChange) (applied bool, err error) {
	if err := b.Validate(); err != nil {
		return false, err
	}
	held, err := r.Identity(ctx, NameOf(b))
	if err != nil && !errors.Is(err, ErrNoRecord) {
		return false, fmt.Errorf("apply identity: %w", err)
	}
	was := int64(0)
	if err == nil {
		was = held.Version()
	}
	if change.Base != AnyVersion && change.Base != was {
		return false, fmt.Errorf("%w: %s", ErrIdentityChanged, b.ARN())
	}
	if was > b.Version() {
		return false, nil
	}
	if was == b.Version() {
		same, err := held.Same(b)
		if err == nil && !same {
			err = fmt.Errorf("%w: two states of %s have version %d", ErrIdentityConflict, b.ARN(), was)
		}
		return false, err
	}
	sealed := make([]AccessKeyRecord, 0, len(b.Keys))
	for _, k := range b.Keys {
		rec, err := identity.SealAccessKey(ctx, r.ring, *b.User, k)
		if err != nil {
			return false, fmt.Errorf("apply identity: %w", err)
		}
		sealed = append(sealed, AccessKeyRecord{Key: rec})
	}
	err = r.Audited(ctx, change.event(b), func(*audit.Event) error {
		return r.Update(ctx, func(tx Tx) error { return r.putIdentity(ctx, tx, b, sealed, was) })
	})
	if err != nil {
		return false, fmt.Errorf("apply identity: %w", err)
	}
	return true, nil
}

// event is that of the audit log. It names the access keys, and has nothing of their secrets.
func (c IdentityChange) event(b identity.Bundle) audit.Event {
	var f audit.Fields
	f.Str("arn", b.ARN())
	f.Int("version", b.Version())
	if len(b.Keys) > 0 {
		var active, inactive []string
		for _, k := range b.Keys {
			if k.Active {
				active = append(active, k.ID)
			} else {
				inactive = append(inactive, k.ID)
			}
		}
		f.Strs("activeAccessKeys", active)
		f.Strs("inactiveAccessKeys", inactive)
	}
	return audit.Event{
		EventName: c.Event, EventType: audit.TypeServiceEvent, EventSource: "iam.amazonaws.com",
		UserIdentity: audit.UserIdentity{InvokedBy: c.By}, RecipientAccountID: b.Owner(), ServiceEventDetails: f,
	}
}

// AnyVersion is the Base of a change that takes the place of any older version.
const AnyVersion = -1

func (r *Region) putIdentity(ctx context.Context, tx Tx, b identity.Bundle, sealed []AccessKeyRecord, was int64) error {
	held, keys, err := r.readIdentity(ctx, tx, NameOf(b))
	if err != nil && !errors.Is(err, ErrNoRecord) {
		return err
	}
	if err == nil && held.Version() != was || err != nil && was != 0 {
		return fmt.Errorf("%w: %s", ErrIdentityChanged, b.ARN())
	}
	if err := r.checkNames(ctx, tx, b); err != nil {
		return err
	}
	for _, k := range keys { // of the user's ARN as it was, which his path is in
		if err := tx.Delete(ctx, k.RecordKey()); err != nil {
			return err
		}
	}
	for _, k := range sealed {
		switch taken, err := Get[AccessKeyRecord](ctx, tx, r.ring, k.RecordKey()); {
		case errors.Is(err, ErrNoRecord):
		case err != nil:
			return err
		default:
			return fmt.Errorf("%w: access key %s is %s's", ErrIdentityConflict, k.Key.ID, taken.Key.UserARN)
		}
		for _, old := range keys {
			if old.Key.ID == k.Key.ID {
				k.Key.Generation = old.Key.Generation + 1
			}
		}
		if err := Put(ctx, tx, r.ring, k); err != nil {
			return err
		}
	}
	switch {
	case b.User != nil:
		return Put(ctx, tx, r.ring, UserRecord{*b.User})
	case b.Role != nil:
		return Put(ctx, tx, r.ring, RoleRecord{*b.Role})
	default:
		return Put(ctx, tx, r.ring, AccountRecord{*b.Account})
	}
}

// checkNames refuses a name that differs from another's by case alone.
func (r *Region) checkNames(ctx context.Context, rd Reader, b identity.Bundle) error {
	name := NameOf(b)
	if name.Kind == KindAccount {
		return nil
	}
	recs, err := rd.List(ctx, Query{Kind: name.Kind, Account: name.Account})
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if rec.ID != name.Name && strings.EqualFold(rec.ID, name.Name) {
			return fmt.Errorf("%w: %s differs from %s by case alone", ErrIdentityConflict, name.Name, rec.ID)
		}
	}
	return nil
}
