package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"antipode/regions"
	"antipode/regions/identity"
)

// identityRequest is a command of `antipode identity` to a running node.
type identityRequest struct {
	Command    string            `json:"command"` // "user create"
	Account    string            `json:"account"`
	Name       string            `json:"name,omitzero"` // of the account, user or role
	Path       string            `json:"path,omitzero"`
	Tags       map[string]string `json:"tags,omitzero"`
	User       string            `json:"user,omitzero"` // whose access key or policy it is
	Role       string            `json:"role,omitzero"` // whose policy it is
	Policy     string            `json:"policy,omitzero"`
	Document   string            `json:"document,omitzero"` // of the policy, or the trust policy
	Key        string            `json:"key,omitzero"`      // access key id
	MaxSession int64             `json:"maxSession,omitzero"`
}

// identityAnswer is what the operator is told. The secret of a new access key is in it once, and nowhere else in clear.
type identityAnswer struct {
	ARN        string            `json:"arn"`
	ID         string            `json:"id,omitzero"`
	Name       string            `json:"name,omitzero"`
	Created    string            `json:"created"`
	Disabled   bool              `json:"disabled"`
	Version    int64             `json:"version"`
	Tags       map[string]string `json:"tags,omitzero"`
	Policies   map[string]string `json:"policies,omitzero"`
	Trust      string            `json:"trustPolicy,omitzero"`
	MaxSession int64             `json:"maxSession,omitzero"`
	AccessKeys []keyAnswer       `json:"accessKeys,omitzero"`
}

type keyAnswer struct {
	ID      string `json:"id"`
	Active  bool   `json:"active"`
	Created string `json:"created"`
	Secret  string `json:"secret,omitzero"` // of a key that was made just now
}

// identityAdmin makes the changes of identities that the operator asks for, in every Region of the process.
type identityAdmin struct {
	n     *node   // whose socket it is
	nodes []*node // all of the process, n too
}

func (a identityAdmin) serve(ctx context.Context, body []byte) (any, error) {
	var req identityRequest
	if err := json.Unmarshal(body, &req, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	kind, verb, _ := strings.Cut(req.Command, " ")
	if verb == "list" {
		return a.list(ctx, kind, req)
	}
	if err := identity.ValidateAccount(req.Account); err != nil {
		return nil, err
	}
	switch kind {
	case "account":
		return a.account(ctx, verb, req)
	case "user":
		return a.user(ctx, verb, req)
	case "role":
		return a.role(ctx, verb, req)
	case "access-key":
		return a.accessKey(ctx, verb, req)
	case "policy":
		return a.policy(ctx, verb, req)
	}
	return nil, fmt.Errorf("%q is no command", req.Command)
}

// change reads an identity, lets edit make the next state of it, and stores that in every Region. edit is given a bundle
// without any of its parts if there is none, or it was deleted; it returns the part it made, without a version.
func (a identityAdmin) change(ctx context.Context, event string, name regions.IdentityName,
	edit func(held identity.Bundle, now int64) (identity.Bundle, error),
) (identity.Bundle, error) {
	held, err := a.n.region.Identity(ctx, name)
	if err != nil && !errors.Is(err, regions.ErrNoRecord) {
		return held, err
	}
	base := int64(0)
	if err == nil {
		base = held.Version()
	}
	now := a.n.region.Now().UnixMilli()
	if err != nil || isDeleted(held) {
		held = identity.Bundle{}
	}
	next, err := edit(held, now)
	if err != nil {
		return next, err
	}
	next = withVersion(next, identity.NextVersion(base, now))
	change := regions.IdentityChange{Event: event, By: "operator", Base: base}
	if _, err := a.n.region.ApplyIdentity(ctx, next, change); err != nil {
		return next, err
	}
	change.Base = regions.AnyVersion
	for _, other := range a.nodes {
		if other == a.n {
			continue
		}
		if _, err := other.region.ApplyIdentity(ctx, next, change); err != nil {
			return next, fmt.Errorf("done in %s, but not in %s, which will have it when the process starts again: %w", a.n.name, other.name, err)
		}
	}
	return next, nil
}

func isDeleted(b identity.Bundle) bool {
	return b.Account != nil && b.Account.Deleted || b.User != nil && b.User.Deleted || b.Role != nil && b.Role.Deleted
}

// withVersion returns the bundle with a version, in copies of its parts.
func withVersion(b identity.Bundle, version int64) identity.Bundle {
	switch {
	case b.Account != nil:
		part := *b.Account
		part.Version, b.Account = version, &part
	case b.User != nil:
		part := *b.User
		part.Version, b.User = version, &part
	case b.Role != nil:
		part := *b.Role
		part.Version, b.Role = version, &part
	}
	return b
}

func describeIdentity(b identity.Bundle) identityAnswer {
	stamp := func(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
	out := identityAnswer{ARN: b.ARN(), Version: b.Version()}
	var policies []identity.Policy
	var tags []identity.Tag
	switch {
	case b.Account != nil:
		out.Name, out.Created = b.Account.Name, stamp(b.Account.Created)
	case b.User != nil:
		u := b.User
		out.ID, out.Name, out.Created, out.Disabled, policies, tags = u.ID, u.Name, stamp(u.Created), u.Disabled, u.Policies, u.Tags
	case b.Role != nil:
		r := b.Role
		out.ID, out.Name, out.Created, out.Disabled, policies, tags = r.ID, r.Name, stamp(r.Created), r.Disabled, r.Policies, r.Tags
		out.Trust, out.MaxSession = string(r.Trust), r.MaxSession
	}
	if len(policies) > 0 {
		out.Policies = map[string]string{}
	}
	for _, p := range policies {
		out.Policies[p.Name] = string(p.Document)
	}
	if len(tags) > 0 {
		out.Tags = map[string]string{}
	}
	for _, t := range tags {
		out.Tags[t.Key] = t.Value
	}
	for _, k := range b.Keys {
		out.AccessKeys = append(out.AccessKeys, keyAnswer{ID: k.ID, Active: k.Active, Created: stamp(k.Created)})
	}
	return out
}

// tagsOf are the tags of a command, in order of key.
func tagsOf(m map[string]string) (out []identity.Tag) {
	for k, v := range m {
		out = append(out, identity.Tag{Key: k, Value: v})
	}
	slices.SortFunc(out, func(a, b identity.Tag) int { return strings.Compare(a.Key, b.Key) })
	return out
}

func (a identityAdmin) list(ctx context.Context, kind string, req identityRequest) (any, error) {
	names, err := a.n.region.Identities(ctx, req.Account)
	if err != nil {
		return nil, err
	}
	out := []identityAnswer{}
	for _, name := range names {
		ofUser := kind == "access-key" && name.Kind == regions.KindUser && (req.User == "" || req.User == name.Name)
		if string(name.Kind) != kind && !ofUser {
			continue
		}
		b, err := a.n.region.Identity(ctx, name)
		if err != nil {
			return nil, err
		}
		if !isDeleted(b) {
			out = append(out, describeIdentity(b))
		}
	}
	return out, nil
}

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
