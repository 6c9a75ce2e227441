package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"antipode/regions/identity"
)

const (
	defaultProfile    = "default"
	administratorName = "administrator"
)

// ensureAdministrator sees to it that the default profile of the credentials file is an administrator of the account in
// every Region. The file is written first and the Regions follow it, so that a crash in between is mended by the next
// start; credentials that work already are left alone.
func ensureAdministrator(ctx context.Context, path, account string, nodes []*node) error {
	user, err := identity.NewUser(account, administratorName, []byte(identity.AdministratorPolicy), nodes[0].region.Now().UnixMilli())
	if err != nil {
		return err
	}
	profile, err := ensureProfile(ctx, path, user, nodes)
	if err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	for _, n := range nodes {
		known, err := n.region.Directory().Resolve(ctx, profile.AccessKeyID)
		if err == nil && known.ARN == user.ARN() && known.Administrator &&
			known.Secret.Equal(profile.Secret) {
			continue
		}
		err = n.asOperator(ctx, "PutAdministrator", user.ARN()+" "+profile.AccessKeyID, func(ctx context.Context) error {
			return n.region.PutIdentity(ctx, user, profile.AccessKeyID, profile.Secret.Reveal())
		})
		if err != nil {
			return fmt.Errorf("region %s: administrator: %w", n.name, err)
		}
	}
	return nil
}

// ensureProfile returns the default profile of the file, which is made if it is missing or of another account.
func ensureProfile(ctx context.Context, path string, user identity.User, nodes []*node) (identity.Profile, error) {
	profiles, err := identity.ReadCredentials(path)
	if err != nil {
		return identity.Profile{}, err
	}
	at := slices.IndexFunc(profiles, func(p identity.Profile) bool { return p.Name == defaultProfile })
	if at >= 0 {
		known, err := nodes[0].region.Directory().Resolve(ctx, profiles[at].AccessKeyID)
		if errors.Is(err, identity.ErrUnknownKey) { // written before a crash, and not in the stores yet
			return profiles[at], nil
		}
		if err != nil {
			return identity.Profile{}, err
		}
		if known.ARN == user.ARN() {
			return profiles[at], nil
		}
		profiles = slices.Delete(profiles, at, at+1)
	}
	key, secret, err := identity.NewAccessKey(ctx, rand.Reader, nodes[0].region.Ring(), user, user.Created)
	if err != nil {
		return identity.Profile{}, err
	}
	made := identity.Profile{Name: defaultProfile, AccessKeyID: key.ID, Secret: secret}
	return made, identity.WriteCredentials(path, slices.Insert(profiles, 0, made))
}
