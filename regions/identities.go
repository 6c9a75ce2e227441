package regions

import (
	"context"
	"errors"
	"fmt"

	"antipode/regions/identity"
)

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

// AccessKeyRecord is the record of an access key, with its secret sealed by the token.
type AccessKeyRecord struct {
	Key identity.AccessKey `cbor:"1,keyasint"`
}

// RecordKey implements [Body].
func (a AccessKeyRecord) RecordKey() RecordKey { return RecordKey{Kind: KindAccessKey, ID: a.Key.ID} }

// RecordIndex implements [Body]: the access keys of a user are found by his ARN.
func (a AccessKeyRecord) RecordIndex() (string, int64) { return a.Key.UserARN, 0 }

// cachedPrincipals bounds the opened secrets of callers in memory.
const cachedPrincipals = 4096

func newDirectory(r *Region) (*identity.Directory, error) {
	return identity.NewDirectory(identitySource{r}, r.ring, cachedPrincipals)
}

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

func (r *Region) userByARN(ctx context.Context, rd Reader, userARN string) (UserRecord, error) {
	account, _, name, err := identity.ParseUserARN(userARN)
	if err != nil {
		return UserRecord{}, err
	}
	u, err := Get[UserRecord](ctx, rd, r.ring, RecordKey{Kind: KindUser, Account: account, ID: name})
	if err != nil {
		return u, err
	}
	if u.User.ARN() != userARN {
		return u, ErrNoRecord // the name is taken by a user with another path
	}
	return u, nil
}

// PutIdentity stores a user and one access key of his, whose secret this Region's token seals. Other access keys of
// the user are removed: it is how `antipode dev` keeps its administrator.
func (r *Region) PutIdentity(ctx context.Context, u identity.User, accessKeyID string, secret []byte) error {
	k, err := identity.SealAccessKey(ctx, r.ring, u, accessKeyID, secret, r.Now().UnixMilli())
	if err != nil {
		return fmt.Errorf("seal access key: %w", err)
	}
	return r.Update(ctx, func(tx Tx) error {
		old, err := List[AccessKeyRecord](ctx, tx, r.ring, Query{Kind: KindAccessKey, Ref: u.ARN()})
		if err != nil {
			return err
		}
		for _, o := range old {
			if o.Key.ID == accessKeyID {
				k.Generation = o.Key.Generation + 1
				continue
			}
			if err := tx.Delete(ctx, o.RecordKey()); err != nil {
				return err
			}
		}
		if err := Put(ctx, tx, r.ring, UserRecord{User: u}); err != nil {
			return err
		}
		return Put(ctx, tx, r.ring, AccessKeyRecord{Key: k})
	})
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
		default: // not an identity
		}
	}
}
