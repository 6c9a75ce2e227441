package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"antipode/regions"
	"antipode/regions/identity"
)

func (a identityAdmin) account(ctx context.Context, verb string, req identityRequest) (any, error) {
	name := regions.IdentityName{Kind: regions.KindAccount, Account: req.Account}
	var b identity.Bundle
	var err error
	switch verb {
	case "create":
		b, err = a.change(ctx, "CreateAccount", name, func(held identity.Bundle, now int64) (identity.Bundle, error) {
			if held.Account != nil {
				return held, fmt.Errorf("account %s is there already", req.Account)
			}
			return identity.Bundle{Account: &identity.Account{ID: req.Account, Name: req.Name, Created: now}}, nil
		})
	case "delete":
		if err := a.checkEmpty(ctx, req.Account); err != nil {
			return nil, err
		}
		b, err = a.change(ctx, "DeleteAccount", name, func(held identity.Bundle, _ int64) (identity.Bundle, error) {
			if held.Account == nil {
				return held, fmt.Errorf("there is no account %s", req.Account)
			}
			return identity.Bundle{Account: &identity.Account{ID: req.Account, Created: held.Account.Created, Deleted: true}}, nil
		})
	default:
		return nil, fmt.Errorf("%q is no command", req.Command)
	}
	return describeIdentity(b), err
}

// checkEmpty refuses an account that has users, roles or keys.
func (a identityAdmin) checkEmpty(ctx context.Context, account string) error {
	names, err := a.n.region.Identities(ctx, account)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name.Kind == regions.KindAccount {
			continue
		}
		b, err := a.n.region.Identity(ctx, name)
		if err != nil {
			return err
		}
		if !isDeleted(b) {
			return fmt.Errorf("account %s has %s", account, b.ARN())
		}
	}
	for _, n := range a.nodes {
		err := n.region.Store().View(ctx, func(rd regions.Reader) error {
			keys, err := rd.List(ctx, regions.Query{Kind: regions.KindKey, Account: account, Limit: 1})
			if err == nil && len(keys) > 0 {
				err = fmt.Errorf("account %s has keys in %s", account, n.name)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (a identityAdmin) checkAccount(ctx context.Context, account string) error {
	b, err := a.n.region.Identity(ctx, regions.IdentityName{Kind: regions.KindAccount, Account: account})
	if errors.Is(err, regions.ErrNoRecord) || err == nil && isDeleted(b) {
		return fmt.Errorf("there is no account %s: make it first", account)
	}
	return err
}

func (a identityAdmin) user(ctx context.Context, verb string, req identityRequest) (any, error) {
	event := map[string]string{
		"create": "CreateUser", "disable": "DisableUser", "enable": "EnableUser", "delete": "DeleteUser", "tag": "TagUser",
	}[verb]
	if event == "" {
		return nil, fmt.Errorf("%q is no command", req.Command)
	}
	if err := a.checkAccount(ctx, req.Account); err != nil {
		return nil, err
	}
	name := regions.IdentityName{Kind: regions.KindUser, Account: req.Account, Name: req.Name}
	b, err := a.change(ctx, event, name, func(held identity.Bundle, now int64) (identity.Bundle, error) {
		if (held.User == nil) != (verb == "create") {
			return held, existence("user", req.Name, held.User != nil)
		}
		if verb == "create" {
			u, err := identity.NewUser(rand.Reader, req.Account, req.Name, now)
			if req.Path != "" {
				u.Path = req.Path
			}
			u.Tags = tagsOf(req.Tags)
			return identity.Bundle{User: &u}, err
		}
		u := *held.User
		switch verb {
		case "disable", "enable":
			u.Disabled = verb == "disable"
		case "tag":
			u.Tags = tagsOf(req.Tags)
		case "delete":
			u.Policies, u.Tags, u.Deleted, held.Keys = nil, nil, true, nil
		}
		held.User = &u
		return held, nil
	})
	return describeIdentity(b), err
}

func existence(what, name string, exists bool) error {
	if exists {
		return fmt.Errorf("%s %s is there already", what, name)
	}
	return fmt.Errorf("there is no %s %s", what, name)
}

func (a identityAdmin) role(ctx context.Context, verb string, req identityRequest) (any, error) {
	event := map[string]string{
		"create": "CreateRole", "disable": "DisableRole", "enable": "EnableRole", "delete": "DeleteRole", "tag": "TagRole",
		"trust": "UpdateAssumeRolePolicy", "revoke-sessions": "RevokeRoleSessions",
	}[verb]
	if event == "" {
		return nil, fmt.Errorf("%q is no command", req.Command)
	}
	if err := a.checkAccount(ctx, req.Account); err != nil {
		return nil, err
	}
	name := regions.IdentityName{Kind: regions.KindRole, Account: req.Account, Name: req.Name}
	b, err := a.change(ctx, event, name, func(held identity.Bundle, now int64) (identity.Bundle, error) {
		if (held.Role == nil) != (verb == "create") {
			return held, existence("role", req.Name, held.Role != nil)
		}
		if verb == "create" {
			r, err := identity.NewRole(rand.Reader, req.Account, req.Name, []byte(req.Document), now)
			if req.Path != "" {
				r.Path = req.Path
			}
			if req.MaxSession != 0 {
				r.MaxSession = req.MaxSession
			}
			r.Tags = tagsOf(req.Tags)
			return identity.Bundle{Role: &r}, err
		}
		r := *held.Role
		switch verb {
		case "disable", "enable":
			r.Disabled = verb == "disable"
		case "tag":
			r.Tags = tagsOf(req.Tags)
		case "trust":
			r.Trust = []byte(req.Document)
		case "revoke-sessions":
			r.RevokedUntil = now
		case "delete":
			r.Policies, r.Tags, r.Trust, r.Deleted = nil, nil, nil, true
		}
		return identity.Bundle{Role: &r}, nil
	})
	return describeIdentity(b), err
}

func (a identityAdmin) accessKey(ctx context.Context, verb string, req identityRequest) (any, error) {
	event := map[string]string{
		"create": "CreateAccessKey", "disable": "UpdateAccessKey", "enable": "UpdateAccessKey", "delete": "DeleteAccessKey",
	}[verb]
	if event == "" {
		return nil, fmt.Errorf("%q is no command", req.Command)
	}
	var made identity.BundleKey
	name := regions.IdentityName{Kind: regions.KindUser, Account: req.Account, Name: req.User}
	b, err := a.change(ctx, event, name, func(held identity.Bundle, now int64) (identity.Bundle, error) {
		if held.User == nil {
			return held, existence("user", req.User, false)
		}
		if verb == "create" {
			if len(held.Keys) >= identity.MaxAccessKeys {
				return held, fmt.Errorf("user %s has %d access keys already: delete one first", req.User, identity.MaxAccessKeys)
			}
			var err error
			made, err = identity.NewAccessKey(rand.Reader, now)
			return held.WithKey(made), err
		}
		at := slices.IndexFunc(held.Keys, func(k identity.BundleKey) bool { return k.ID == req.Key })
		if at < 0 {
			return held, fmt.Errorf("user %s has no access key %s", req.User, req.Key)
		}
		k := held.Keys[at]
		if verb == "delete" {
			return held.WithoutKey(k.ID), nil
		}
		k.Active = verb == "enable"
		return held.WithKey(k), nil
	})
	out := describeIdentity(b)
	for i := range out.AccessKeys {
		if err == nil && out.AccessKeys[i].ID == made.ID {
			out.AccessKeys[i].Secret = string(made.Secret.Reveal())
		}
	}
	return out, err
}

func (a identityAdmin) policy(ctx context.Context, verb string, req identityRequest) (any, error) {
	if verb != "put" && verb != "delete" || (req.User == "") == (req.Role == "") || req.Policy == "" {
		return nil, errors.New("a policy is put or deleted by its name, at a user or a role")
	}
	document := bytes.TrimSpace([]byte(req.Document))
	if (len(document) == 0) != (verb == "delete") {
		return nil, errors.New("the policy document is missing")
	}
	name, event := regions.IdentityName{Kind: regions.KindUser, Account: req.Account, Name: req.User}, "UserPolicy"
	if req.Role != "" {
		name.Kind, name.Name, event = regions.KindRole, req.Role, "RolePolicy"
	}
	event = map[string]string{"put": "Put", "delete": "Delete"}[verb] + event
	b, err := a.change(ctx, event, name, func(held identity.Bundle, _ int64) (identity.Bundle, error) {
		switch {
		case held.User != nil:
			u := held.User.WithPolicy(req.Policy, document)
			held.User = &u
		case held.Role != nil:
			r := held.Role.WithPolicy(req.Policy, document)
			held.Role = &r
		default:
			return held, existence(string(name.Kind), name.Name, false)
		}
		return held, nil
	})
	return describeIdentity(b), err
}
