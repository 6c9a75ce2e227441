package identity

import (
	"context"
	"time"
)

// RoleSession returns the principal of a session of a role that somebody else than STS vouches for, begun at issued, with
// what the role may do now and without credentials. It returns [ErrUnknownKey] if the role is not there, is disabled, or
// had its sessions revoked since. Nothing of it is cached.
func (d *Directory) RoleSession(ctx context.Context, roleARN, session string, issued time.Time) (*Principal, error) {
	account, _, name, err := ParseRoleARN(roleARN)
	if err != nil {
		return nil, err
	}
	r, err := d.source.Role(ctx, account, name)
	if err != nil {
		return nil, err
	}
	if r.ARN() != roleARN || r.Disabled || r.Deleted || issued.UnixMilli() <= r.RevokedUntil {
		return nil, ErrUnknownKey
	}
	return rolePrincipal(r, session)
}
