package main

import (
	"context"
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
