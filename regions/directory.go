package regions

import (
	"context"
	"errors"
	"fmt"

	"antipode/regions/identity"
)

// cachedPrincipals bounds the opened secrets of callers in memory.
const cachedPrincipals = 4096

// openDirectory makes what resolves access keys and session tokens.
func (r *Region) openDirectory(ctx context.Context) error {
	filter, err := r.ring.MAC(ctx, []byte(identity.FilterDomain))
	if err != nil {
		return fmt.Errorf("make session keys: %w", err)
	}
	if r.sessions, err = identity.NewSessionKeys(r.cfg.Name, r.ring, filter); err != nil {
		return err
	}
	r.issuers = map[string]*identity.SessionKeys{r.cfg.Name: r.sessions}
	r.directory, err = identity.NewDirectory(identitySource{r}, r.ring, cachedPrincipals)
	return err
}

// AcceptSessions lets temporary credentials that the other Region has issued be used in this one. Both are of one process
// and one operator: it is the other Region's token that opens the session token, and this Region's own identities that
// say what it may do, and whether it still may. It must be called before the Region serves.
func (r *Region) AcceptSessions(from *Region) { r.issuers[from.cfg.Name] = from.sessions }

// identitySource reads identities from the Region's store.
type identitySource struct{ r *Region }

// AccessKey implements identity.Source.
func (s identitySource) AccessKey(ctx context.Context, id string) (identity.AccessKey, identity.User, error) {
	var k AccessKeyRecord
	var u UserRecord
	err := s.r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		if k, err = Get[AccessKeyRecord](ctx, rd, s.r.ring, RecordKey{Kind: KindAccessKey, ID: id}); err != nil {
			return err
		}
		u, err = s.r.userByARN(ctx, rd, k.Key.UserARN)
		return err
	})
	if errors.Is(err, ErrNoRecord) {
		return identity.AccessKey{}, identity.User{}, identity.ErrUnknownKey
	}
	return k.Key, u.User, err
}

// User implements identity.Source.
func (s identitySource) User(ctx context.Context, account, name string) (identity.User, error) {
	rec, err := lookUp[UserRecord](ctx, s.r, RecordKey{Kind: KindUser, Account: account, ID: name})
	return rec.User, err
}

// Role implements identity.Source.
func (s identitySource) Role(ctx context.Context, account, name string) (identity.Role, error) {
	rec, err := lookUp[RoleRecord](ctx, s.r, RecordKey{Kind: KindRole, Account: account, ID: name})
	return rec.Role, err
}

func lookUp[T Body](ctx context.Context, r *Region, key RecordKey) (rec T, err error) {
	err = r.cfg.Store.View(ctx, func(rd Reader) (err error) {
		rec, err = Get[T](ctx, rd, r.ring, key)
		return err
	})
	if errors.Is(err, ErrNoRecord) {
		err = identity.ErrUnknownKey
	}
	return rec, err
}

// OpenSession implements identity.Source.
func (s identitySource) OpenSession(ctx context.Context, token string) (identity.Session, error) {
	name, err := identity.TokenRegion(token)
	if err != nil {
		return identity.Session{}, err
	}
	issuer, accepted := s.r.issuers[name]
	if !accepted {
		return identity.Session{}, identity.ErrToken
	}
	return issuer.Open(ctx, token)
}

// userByARN returns a user who is not deleted, or [ErrNoRecord].
func (r *Region) userByARN(ctx context.Context, rd Reader, userARN string) (UserRecord, error) {
	account, _, name, err := identity.ParseUserARN(userARN)
	if err != nil {
		return UserRecord{}, err
	}
	u, err := Get[UserRecord](ctx, rd, r.ring, RecordKey{Kind: KindUser, Account: account, ID: name})
	if err != nil {
		return u, err
	}
	if u.User.ARN() != userARN || u.User.Deleted {
		return u, ErrNoRecord // the name is taken by a user with another path
	}
	return u, nil
}

// forgetIdentities drops from the directory what a commit touched.
func (r *Region) forgetIdentities(touched map[RecordKey]struct{}) {
	if r.directory == nil {
		return // while the Region opens
	}
	for k := range touched {
		switch k.Kind {
		case KindAccessKey:
			r.directory.Forget(k.ID)
		case KindUser:
			r.directory.ForgetUser(k.Account, k.ID)
		case KindRole:
			r.directory.ForgetRole(k.Account, k.ID)
		default: // not an identity
		}
	}
}
