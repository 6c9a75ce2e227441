package identity

import (
	"context"
	"strings"
)

// Named returns the principal that an ARN names, a user or a role's session, with what the user or role may do now and
// without credentials or what a session was narrowed to. It returns [ErrUnknownKey] for anybody else, and for one who is
// disabled or deleted. Nothing of it is cached.
func (d *Directory) Named(ctx context.Context, arn string) (*Principal, error) {
	if account, _, name, err := ParseUserARN(arn); err == nil {
		u, err := d.source.User(ctx, account, name)
		if err != nil {
			return nil, err
		}
		if u.ARN() != arn || u.Disabled || u.Deleted {
			return nil, ErrUnknownKey
		}
		return userPrincipal(u)
	}
	account, name, session, ok := parseSessionARN(arn)
	if !ok {
		return nil, ErrUnknownKey
	}
	r, err := d.source.Role(ctx, account, name)
	if err != nil {
		return nil, err
	}
	if r.Disabled || r.Deleted || r.SessionARN(session) != arn {
		return nil, ErrUnknownKey
	}
	return rolePrincipal(r, session)
}

// parseSessionARN splits arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION.
func parseSessionARN(arn string) (account, role, session string, ok bool) {
	rest, ok := strings.CutPrefix(arn, "arn:aws:sts::")
	if !ok {
		return "", "", "", false
	}
	account, rest, _ = strings.Cut(rest, ":")
	rest, ok = strings.CutPrefix(rest, "assumed-role/")
	role, session, slash := strings.Cut(rest, "/")
	return account, role, session, ok && slash && session != "" && !strings.Contains(session, "/") && ValidateUserName(role) == nil
}
