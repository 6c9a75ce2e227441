package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"antipode/regions"
	"antipode/regions/identity"
)

const (
	defaultProfile    = "default"
	administratorName = "administrator"
)

// profileUser is a user whom `antipode dev` or `init` sees to: his credentials are a profile of the credentials file.
type profileUser struct {
	profile, account, name string
	policyName             string
	policy                 []byte
}

func administratorOf(account string) profileUser {
	return profileUser{
		profile: defaultProfile, account: account, name: administratorName,
		policyName: identity.AdministratorPolicyName, policy: []byte(identity.AdministratorPolicy),
	}
}

// devPolicyName is the name of the policy that --identity gives a user.
const devPolicyName = "dev-identity"

// parseIdentity reads NAME=ACCOUNT:POLICYFILE, and the file.
func parseIdentity(flag string) (profileUser, error) {
	name, rest, one := strings.Cut(flag, "=")
	account, path, two := strings.Cut(rest, ":")
	if !one || !two || path == "" {
		return profileUser{}, fmt.Errorf("--identity: %q is not NAME=ACCOUNT:POLICYFILE", flag)
	}
	if name == defaultProfile {
		return profileUser{}, errors.New("--identity: the profile default is the administrator's")
	}
	document, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return profileUser{}, fmt.Errorf("--identity %s: %w", name, err)
	}
	for _, err := range []error{identity.ValidateUserName(name), identity.ValidateAccount(account), identity.ValidatePolicy(document)} {
		if err != nil {
			return profileUser{}, fmt.Errorf("--identity %s: %w", name, err)
		}
	}
	return profileUser{profile: name, account: account, name: name, policyName: devPolicyName, policy: document}, nil
}

// ensureProfiles sees to it that each user is there in every Region with his policy and the access key that his profile of
// the credentials file has, which is made if it is missing. The file is written first and the Regions follow it, so that
// a crash in between is mended by the next start; what is as it should be is left alone.
func ensureProfiles(ctx context.Context, path string, users []profileUser, nodes []*node) error {
	if err := levelIdentities(ctx, nodes); err != nil {
		return err
	}
	for _, u := range users {
		if err := ensureProfile(ctx, path, u, nodes); err != nil {
			return fmt.Errorf("profile %s: %w", u.profile, err)
		}
	}
	return nil
}

// levelIdentities brings the newest state of each identity into all Regions of this process: one may be new, or a crash
// has ended a change after the first of them.
func levelIdentities(ctx context.Context, nodes []*node) error {
	if len(nodes) < 2 {
		return nil
	}
	newest := map[regions.IdentityName]identity.Bundle{}
	behind := map[regions.IdentityName]bool{} // some Region has it not, or older
	for i, n := range nodes {
		names, err := n.region.Identities(ctx, "")
		if err != nil {
			return fmt.Errorf("region %s: %w", n.name, err)
		}
		for _, name := range names {
			b, err := n.region.Identity(ctx, name)
			if err != nil {
				return fmt.Errorf("region %s: %w", n.name, err)
			}
			known, ok := newest[name]
			if ok != (i > 0) || ok && known.Version() != b.Version() {
				behind[name] = true
			}
			if !ok || known.Version() < b.Version() {
				newest[name] = b
			}
		}
		for name := range newest {
			if !slices.Contains(names, name) {
				behind[name] = true
			}
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(behind), compareNames) {
		if err := applyEverywhere(ctx, nodes, newest[name], "SynchronizeIdentity"); err != nil {
			return err
		}
	}
	return nil
}

func compareNames(a, b regions.IdentityName) int {
	// An account comes before what is in it.
	return strings.Compare(a.Account+"/"+string(a.Kind)+"/"+a.Name, b.Account+"/"+string(b.Kind)+"/"+b.Name)
}

// applyEverywhere puts a bundle into each Region that has an older one.
func applyEverywhere(ctx context.Context, nodes []*node, b identity.Bundle, event string) error {
	for _, n := range nodes {
		change := regions.IdentityChange{Event: event, By: "operator", Base: regions.AnyVersion}
		if _, err := n.region.ApplyIdentity(ctx, b, change); err != nil {
			return fmt.Errorf("region %s: %w", n.name, err)
		}
	}
	return nil
}

func ensureProfile(ctx context.Context, path string, u profileUser, nodes []*node) error {
	now := nodes[0].region.Now().UnixMilli()
	if err := ensureAccount(ctx, u.account, nodes); err != nil {
		return err
	}
	held, err := nodes[0].region.Identity(ctx, regions.IdentityName{Kind: regions.KindUser, Account: u.account, Name: u.name})
	if err != nil && !errors.Is(err, regions.ErrNoRecord) {
		return err
	}
	next, err := wantedUser(held, u, now)
	if err != nil {
		return err
	}
	key, made, err := ensureKey(ctx, path, u, nodes[0], now)
	if err != nil {
		return err
	}
	switch known := slices.ContainsFunc(next.Keys, func(k identity.BundleKey) bool { return k.ID == key.ID }); {
	case known:
	case made || len(next.Keys) == 0:
		next.Keys = []identity.BundleKey{key} // what was in the file before, if anything, is lost
	default:
		nodes[0].log.Warn().Str("profile", u.profile).Str("access_key", key.ID).
			Msg("the profile's access key was deleted: remove the profile to be given another")
	}
	if held.User != nil {
		same, err := held.Same(next)
		if err != nil || same {
			return err
		}
	}
	next.User.Version = identity.NextVersion(held.Version(), now)
	return applyEverywhere(ctx, nodes, next, "PutUser")
}

// wantedUser is the user as he should be, with the access keys that he has.
func wantedUser(held identity.Bundle, u profileUser, now int64) (identity.Bundle, error) {
	next := held
	if held.User == nil || held.User.Deleted {
		user, err := identity.NewUser(rand.Reader, u.account, u.name, now)
		if err != nil {
			return next, err
		}
		next.User = &user
	}
	user := next.User.WithPolicy(u.policyName, u.policy)
	next.User = &user
	return next, nil
}

func ensureAccount(ctx context.Context, account string, nodes []*node) error {
	held, err := nodes[0].region.Identity(ctx, regions.IdentityName{Kind: regions.KindAccount, Account: account})
	if err == nil && !held.Account.Deleted {
		return nil
	}
	if err != nil && !errors.Is(err, regions.ErrNoRecord) {
		return err
	}
	now, was := nodes[0].region.Now().UnixMilli(), int64(0)
	if err == nil {
		was = held.Version()
	}
	a := identity.Account{ID: account, Created: now, Version: identity.NextVersion(was, now)}
	return applyEverywhere(ctx, nodes, identity.Bundle{Account: &a}, "CreateAccount")
}

// ensureKey returns the access key of the user's profile, and whether it was made just now: it was missing, or is known to
// be another's.
func ensureKey(ctx context.Context, path string, u profileUser, n *node, now int64) (key identity.BundleKey, made bool, err error) {
	profiles, err := identity.ReadCredentials(path)
	if err != nil {
		return key, false, err
	}
	at := slices.IndexFunc(profiles, func(p identity.Profile) bool { return p.Name == u.profile })
	if at >= 0 {
		p := profiles[at]
		owner, err := n.region.AccessKeyOwner(ctx, p.AccessKeyID)
		if err != nil {
			return key, false, err
		}
		if owner == "" || owner == "arn:aws:iam::"+u.account+":user/"+u.name {
			return identity.BundleKey{ID: p.AccessKeyID, Active: true, Created: now, Secret: p.Secret}, false, nil
		}
		profiles = slices.Delete(profiles, at, at+1)
	}
	if key, err = identity.NewAccessKey(rand.Reader, now); err != nil {
		return key, false, err
	}
	p := identity.Profile{Name: u.profile, AccessKeyID: key.ID, Secret: key.Secret}
	if u.profile == defaultProfile {
		profiles = slices.Insert(profiles, 0, p)
	} else {
		profiles = append(profiles, p)
	}
	return key, true, durably("write the credentials", func() error { return identity.WriteCredentials(path, profiles) })
}
