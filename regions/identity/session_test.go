package identity_test

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"antipode/regions/identity"
	"antipode/regions/keyring"
)

func sessionKeys(t testing.TB, region string, r *keyring.Ring) *identity.SessionKeys {
	t.Helper()
	filter, err := r.MAC(t.Context(), []byte(identity.FilterDomain))
	if err != nil {
		t.Fatal(err)
	}
	k, err := identity.NewSessionKeys(region, r, filter)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func roleSession(t *testing.T) identity.Role {
	t.Helper()
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"sts:AssumeRole"}]}`
	r, err := identity.NewRole(rand.Reader, account, "deployer", []byte(trust), 1)
	if err != nil {
		t.Fatal(err)
	}
	r.Tags = []identity.Tag{{Key: "Team", Value: "blue"}, {Key: "cost", Value: "1"}}
	return r.WithPolicy("p", []byte(identity.AdministratorPolicy))
}

// A token opens with the keys of the Region that made it and no others, and no character of it can be changed.
func TestSessionToken(t *testing.T) {
	t.Parallel()
	here, there := ring(t), ring(t)
	keys := sessionKeys(t, "us-east-2", here)
	role := roleSession(t)
	s, token, err := keys.Issue(t.Context(), rand.Reader, identity.Session{
		Account: account, Role: role.Name, HolderID: role.ID, Name: "ci", Issued: 1000, Expires: 2000,
	})
	if err != nil {
		t.Fatal(err)
	}
	back, err := keys.Open(t.Context(), token)
	if err != nil || back.AccessKeyID != s.AccessKeyID || !back.Secret.Equal(s.Secret) || back.Name != "ci" || back.HolderID != role.ID {
		t.Errorf("%+v, %v", back, err)
	}
	if back.Expired(time.UnixMilli(1999)) || !back.Expired(time.UnixMilli(2000)) {
		t.Error("it ends at another time")
	}
	if region, err := identity.TokenRegion(token); err != nil || region != "us-east-2" {
		t.Errorf("it is of %s, %v", region, err)
	}
	raw, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), string(s.Secret.Reveal())) || strings.Contains(string(raw), s.AccessKeyID) {
		t.Error("the token holds the secret in clear")
	}
	for i := range raw {
		changed := append([]byte{}, raw...)
		changed[i] ^= 1
		if _, err := keys.Open(t.Context(), base64.StdEncoding.EncodeToString(changed)); !errors.Is(err, identity.ErrToken) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	for name, text := range map[string]string{
		"cut": token[:len(token)-4], "empty": "", "longer": token + "AAAA", "newline": token[:8] + "\n" + token[8:],
		"too long": strings.Repeat("A", identity.MaxSessionToken+4),
	} {
		if _, err := keys.Open(t.Context(), text); !errors.Is(err, identity.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, other := range map[string]*identity.SessionKeys{
		"another Region's keys":                     sessionKeys(t, "us-west-1", there),
		"another Region's keys under the same name": sessionKeys(t, "us-east-2", there),
		"the same keys under another name":          sessionKeys(t, "us-west-1", here),
	} {
		if _, err := other.Open(t.Context(), token); !errors.Is(err, identity.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Who has the key of the outer MAC, as whoever reads the process's memory does, still makes no token.
	filter, err := here.MAC(t.Context(), []byte(identity.FilterDomain))
	if err != nil {
		t.Fatal(err)
	}
	thief, err := identity.NewSessionKeys("us-east-2", there, filter)
	if err != nil {
		t.Fatal(err)
	}
	_, stolen, err := thief.Issue(t.Context(), rand.Reader, identity.Session{Account: account, Role: role.Name, HolderID: role.ID})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open(t.Context(), stolen); !errors.Is(err, keyring.ErrRefused) {
		t.Errorf("made with the outer key: %v", err)
	}
	if _, _, err := keys.Issue(t.Context(), rand.Reader, identity.Session{Role: "r", Policies: []string{strings.Repeat("x", identity.MaxSessionToken)}}); !errors.Is(err, identity.ErrPacked) {
		t.Errorf("too large: %v", err)
	}
}

// The directory finds a session's role as it is now, and keeps nothing beyond ForgetRole.
func TestDirectorySessions(t *testing.T) {
	t.Parallel()
	sealer, store := ring(t), newRows()
	store.sessions = sessionKeys(t, "us-east-2", sealer)
	d := directory(t, store, sealer, 4)
	role := roleSession(t)
	put := func(r identity.Role) { store.mu.Lock(); store.roles[r.ARN()] = r; store.mu.Unlock() }
	put(role)
	issue := func(s identity.Session) (identity.Session, string) {
		t.Helper()
		s.Account, s.Role, s.HolderID, s.Name = account, role.Name, role.ID, "ci"
		made, token, err := store.sessions.Issue(t.Context(), rand.Reader, s)
		if err != nil {
			t.Fatal(err)
		}
		return made, token
	}
	s, token := issue(identity.Session{Issued: 1000, Expires: 2000, Tags: []identity.Tag{{Key: "team", Value: "red"}}})
	p, err := d.Resolve(t.Context(), s.AccessKeyID, token)
	if err != nil || !may(p) || p.RoleARN != role.ARN() || len(p.Tags) != 2 || p.Tags[0].Value != "red" || p.UserID != role.ID+":ci" {
		t.Fatalf("%+v, %v", p, err)
	}
	store.loads.Store(0)
	if again, err := d.Resolve(t.Context(), s.AccessKeyID, token); err != nil || again != p || store.loads.Load() != 0 {
		t.Errorf("not kept: %v", err)
	}
	// Its access key with another session's token, or none, is nobody's, kept or not.
	s2, token2 := issue(identity.Session{Issued: 1001, Expires: 2000, Policies: []string{identity.AdministratorPolicy}})
	for _, c := range [][2]string{{s.AccessKeyID, token2}, {s2.AccessKeyID, token}, {s.AccessKeyID, ""}, {s.AccessKeyID, "x"}} {
		if _, err := d.Resolve(t.Context(), c[0], c[1]); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("%s with another token: %v", c[0], err)
		}
	}
	if p2, err := d.Resolve(t.Context(), s2.AccessKeyID, token2); err != nil || len(p2.SessionPolicies) != 1 {
		t.Errorf("with a session policy: %+v, %v", p2, err)
	}
	for name, edit := range map[string]func(*identity.Role){
		"disabled": func(r *identity.Role) { r.Disabled = true },
		"deleted":  func(r *identity.Role) { r.Deleted = true },
		"another":  func(r *identity.Role) { r.ID = "AROAAAAAAAAAAAAAAAAAA" },
		"revoked":  func(r *identity.Role) { r.RevokedUntil = 1000 },
	} {
		changed := role
		edit(&changed)
		put(changed)
		d.ForgetRole(account, role.Name)
		if _, err := d.Resolve(t.Context(), s.AccessKeyID, token); !errors.Is(err, identity.ErrUnknownKey) {
			t.Errorf("%s: %v", name, err)
		}
		put(role)
		d.ForgetRole(account, role.Name)
		if _, err := d.Resolve(t.Context(), s.AccessKeyID, token); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
	if ids := d.ForgetUser(account, role.Name); len(ids) != 0 {
		t.Errorf("a user of the role's name has %v", ids)
	}
}

// FuzzSessionToken: whatever is sent as a token is refused or, unaltered, opened.
func FuzzSessionToken(f *testing.F) {
	f.Add("AQl1cy1lYXN0LTI=")
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		if region, err := identity.TokenRegion(token); err != nil && !errors.Is(err, identity.ErrToken) || err == nil && region == "" {
			t.Errorf("%q, %v", region, err)
		}
	})
}
