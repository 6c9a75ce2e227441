package awsquery_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	"github.com/rs/zerolog"

	"antipode/regions"
	"antipode/regions/awsjson"
	"antipode/regions/awsquery"
	"antipode/regions/identity"
	"antipode/regions/regionstest"
)

const (
	account = regionstest.Account
	home    = "us-east-2"
	away    = "us-west-1"
	roleARN = "arn:aws:iam::" + account + ":role/deployer"
)

// serve puts both fronts of these Regions on a real HTTP server.
func serve(t *testing.T, served ...*regions.Region) (url string, log *bytes.Buffer) {
	t.Helper()
	log = &bytes.Buffer{}
	kmsFront, err := awsjson.NewHandler(served, time.Now, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	stsFront, err := awsquery.NewHandler(served, time.Now, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if awsquery.IsQuery(req) {
			stsFront.ServeHTTP(w, req)
			return
		}
		kmsFront.ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	return s.URL, log
}

func config(region, id, secret, token string) aws.Config {
	return aws.Config{
		Region: region, Credentials: credentials.NewStaticCredentialsProvider(id, secret, token), RetryMaxAttempts: 1,
	}
}

func stsClient(url, region, id, secret, token string) *sts.Client {
	return sts.NewFromConfig(config(region, id, secret, token), func(o *sts.Options) { o.BaseEndpoint = &url })
}

// listKeys asks KMS with the session's credentials.
func listKeys(t *testing.T, url, region string, c *types.Credentials) error {
	t.Helper()
	client := kms.NewFromConfig(config(region, *c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken), func(o *kms.Options) { o.BaseEndpoint = &url })
	_, err := client.ListKeys(t.Context(), &kms.ListKeysInput{})
	return err
}

func wantCode(t *testing.T, what string, err error, code, text string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), text) {
		t.Errorf("%s: %v, want %s %q", what, err, code, text)
	}
}

const trustAccount = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account +
	`:root"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}]}`

func newRole(t *testing.T, f *regionstest.Fixture, trust string) identity.Role {
	t.Helper()
	r, err := identity.NewRole(rand.Reader, account, "deployer", []byte(trust), f.Clock.Now().UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	r = r.WithPolicy("p", []byte(identity.AdministratorPolicy))
	f.Apply(t, identity.Bundle{Role: &r})
	return r
}

// put stores a changed role as its next version.
func put(t *testing.T, f *regionstest.Fixture, r *identity.Role, edit func(*identity.Role)) {
	t.Helper()
	edit(r)
	r.Version++
	next := *r
	f.Apply(t, identity.Bundle{Role: &next})
}

func TestSession(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, home)
	other := regionstest.Open(t, away)
	role := newRole(t, f, trustAccount)
	url, log := serve(t, f.Region, other.Region)
	admin := stsClient(url, home, regionstest.AccessKeyID, regionstest.Secret, "")

	me, err := admin.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || *me.Arn != f.Admin.ARN || *me.Account != account || !strings.HasPrefix(*me.UserId, "AIDA") {
		t.Fatalf("%+v, %v", me, err)
	}
	made, err := admin.AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String(roleARN), RoleSessionName: aws.String("ci"), SourceIdentity: aws.String("alice"),
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("red")}}, TransitiveTagKeys: []string{"team"},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := made.Credentials
	const sessionARN = "arn:aws:sts::" + account + ":assumed-role/deployer/ci"
	if *made.AssumedRoleUser.Arn != sessionARN || *made.AssumedRoleUser.AssumedRoleId != role.ID+":ci" ||
		!strings.HasPrefix(*c.AccessKeyId, "ASIA") || !c.Expiration.Equal(f.Clock.Now().Add(time.Hour)) || *made.SourceIdentity != "alice" {
		t.Errorf("%+v", made)
	}
	session := stsClient(url, home, *c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
	me, err = session.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || *me.Arn != sessionARN || *me.UserId != role.ID+":ci" {
		t.Errorf("%+v, %v", me, err)
	}
	if err := listKeys(t, url, home, c); err != nil {
		t.Errorf("KMS: %v", err)
	}
	p, err := f.Region.Directory().Resolve(t.Context(), *c.AccessKeyId, *c.SessionToken)
	if err != nil || p.RoleARN != roleARN || len(p.Tags) != 1 || p.Tags[0].Value != "red" || p.Session.SourceIdentity != "alice" {
		t.Errorf("%+v, %v", p, err)
	}

	// In the other Region: not before its process accepts them, nor while it has no such role.
	const invalid = "The security token included in the request is invalid."
	wantCode(t, "not accepted", listKeys(t, url, away, c), "UnrecognizedClientException", invalid)
	other.Region.AcceptSessions(f.Region)
	wantCode(t, "no role there", listKeys(t, url, away, c), "UnrecognizedClientException", invalid)
	other.Apply(t, identity.Bundle{Role: &role})
	if err := listKeys(t, url, away, c); err != nil {
		t.Errorf("the other Region: %v", err)
	}

	// What becomes of the role counts at once, also for a session that was in use.
	put(t, f, &role, func(r *identity.Role) { r.Disabled = true })
	wantCode(t, "disabled", listKeys(t, url, home, c), "UnrecognizedClientException", invalid)
	_, err = session.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	wantCode(t, "disabled, STS", err, "InvalidClientTokenId", invalid)
	_, err = admin.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(roleARN), RoleSessionName: aws.String("ci")})
	wantCode(t, "assume disabled", err, "AccessDenied", "is not authorized to perform: sts:AssumeRole on resource: "+roleARN)
	put(t, f, &role, func(r *identity.Role) { r.Disabled = false })
	if err := listKeys(t, url, home, c); err != nil {
		t.Errorf("enabled again: %v", err)
	}
	put(t, f, &role, func(r *identity.Role) { r.Policies = nil })
	if err := listKeys(t, url, home, c); err == nil {
		t.Error("a role without policies lists keys")
	}
	put(t, f, &role, func(r *identity.Role) { *r = r.WithPolicy("p", []byte(identity.AdministratorPolicy)) })

	// The token outlives the process; it is altered nowhere.
	f.Reopen(t)
	url, _ = serve(t, f.Region)
	if err := listKeys(t, url, home, c); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	forged := *c
	raw := []byte(*c.SessionToken)
	raw[len(raw)/2] ^= 1
	forged.SessionToken = aws.String(string(raw))
	wantCode(t, "altered token", listKeys(t, url, home, &forged), "UnrecognizedClientException", invalid)
	forged.SessionToken = aws.String("AQo=")
	wantCode(t, "made-up token", listKeys(t, url, home, &forged), "UnrecognizedClientException", invalid)
	wrong := *c
	wrong.SecretAccessKey = aws.String(regionstest.Secret)
	wantCode(t, "another secret", listKeys(t, url, home, &wrong), "InvalidSignatureException", "does not match")

	f.Clock.Advance(time.Hour - time.Millisecond)
	if err := listKeys(t, url, home, c); err != nil {
		t.Errorf("in its last moment: %v", err)
	}
	f.Clock.Advance(time.Millisecond)
	const expired = "The security token included in the request is expired"
	wantCode(t, "expired", listKeys(t, url, home, c), "ExpiredTokenException", expired)
	session = stsClient(url, home, *c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
	_, err = session.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	wantCode(t, "expired, STS", err, "ExpiredToken", expired)
	checkSecrets(t, f, log, *c.SecretAccessKey, *c.SessionToken)
}

// checkSecrets looks for what only the client may have, in the store, the audit log and the service's log.
func checkSecrets(t *testing.T, f *regionstest.Fixture, log *bytes.Buffer, secrets ...string) {
	t.Helper()
	var texts [][]byte
	for _, pattern := range []string{f.StorePath + "*", filepath.Join(f.AuditDir, "*")} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v, %v", pattern, paths, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, text)
		}
	}
	texts = append(texts, log.Bytes())
	for _, secret := range append(secrets, regionstest.Secret) {
		for _, text := range texts {
			if bytes.Contains(text, []byte(secret)) {
				t.Error("a secret is in the store or a log")
			}
		}
	}
}

// A role that was deleted and made again under its name is another, and sessions can be revoked.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, home)
	role := newRole(t, f, trustAccount)
	url, _ := serve(t, f.Region)
	admin := stsClient(url, home, regionstest.AccessKeyID, regionstest.Secret, "")
	assume := func() *types.Credentials {
		t.Helper()
		made, err := admin.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(roleARN), RoleSessionName: aws.String("ci")})
		if err != nil {
			t.Fatal(err)
		}
		if err := listKeys(t, url, home, made.Credentials); err != nil {
			t.Fatal(err)
		}
		return made.Credentials
	}
	old := assume()
	put(t, f, &role, func(r *identity.Role) { r.RevokedUntil = f.Clock.Now().UnixMilli() })
	wantCode(t, "revoked", listKeys(t, url, home, old), "UnrecognizedClientException", "")
	f.Clock.Advance(time.Millisecond)
	old = assume()
	put(t, f, &role, func(r *identity.Role) { r.Deleted, r.Policies, r.Trust = true, nil, nil })
	wantCode(t, "deleted", listKeys(t, url, home, old), "UnrecognizedClientException", "")
	version := role.Version
	again, err := identity.NewRole(rand.Reader, account, "deployer", []byte(trustAccount), f.Clock.Now().UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	again.Version = version + 1
	again = again.WithPolicy("p", []byte(identity.AdministratorPolicy))
	f.Apply(t, identity.Bundle{Role: &again})
	wantCode(t, "made again", listKeys(t, url, home, old), "UnrecognizedClientException", "")
	assume()

	made, err := admin.GetSessionToken(t.Context(), &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(900)})
	if err != nil || listKeys(t, url, home, made.Credentials) != nil {
		t.Fatalf("GetSessionToken: %v", err)
	}
	c := made.Credentials
	_, err = stsClient(url, home, *c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	wantCode(t, "session of a session", err, "AccessDenied", "session credentials")
	u, err := f.Region.Identity(t.Context(), regions.IdentityName{Kind: regions.KindUser, Account: account, Name: regionstest.UserName})
	if err != nil {
		t.Fatal(err)
	}
	u.User.Version++
	u.User.Disabled = true
	f.Apply(t, u)
	wantCode(t, "user disabled", listKeys(t, url, home, c), "UnrecognizedClientException", "")
}

// Who may assume a role, and with what.
func TestAssumeRole(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, home)
	const (
		alice, bob = "AKIABBBBBBBBBBBBBBBB", "AKIACCCCCCCCCCCCCCCC"
		mayAssume  = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"` + roleARN + `"}]}`
	)
	f.AddUser(t, "alice", alice, []byte(mayAssume))
	f.AddUser(t, "bob", bob, nil)
	role := newRole(t, f, trustAccount)
	url, _ := serve(t, f.Region)
	bobOnly := strings.Replace(trustAccount, ":root", ":user/bob", 1)
	external := strings.Replace(bobOnly, `]}]}`, `],"Condition":{"StringEquals":{"sts:ExternalId":"x-1"}}}]}`, 1)
	deny := strings.Replace(trustAccount, `}]}`, `},{"Effect":"Deny","Principal":"*","Action":"sts:*","Condition":{"StringLike":{"sts:RoleSessionName":"bad*"}}}]}`, 1)
	noTags := strings.Replace(bobOnly, `"sts:TagSession",`, ``, 1)
	tag := []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}
	const denied = "is not authorized to perform: sts:"
	for _, c := range []struct {
		name, trust, who string
		edit             func(*sts.AssumeRoleInput)
		code, text       string
	}{
		{"delegated, allowed", trustAccount, alice, nil, "", ""},
		{"delegated, not allowed", trustAccount, bob, nil, "AccessDenied", "user/bob " + denied + "AssumeRole"},
		{"named", bobOnly, bob, nil, "", ""},
		{"another is named", bobOnly, alice, nil, "AccessDenied", denied},
		{"external id missing", external, bob, nil, "AccessDenied", denied},
		{"external id wrong", external, bob, func(in *sts.AssumeRoleInput) { in.ExternalId = aws.String("x-2") }, "AccessDenied", denied},
		{"external id", external, bob, func(in *sts.AssumeRoleInput) { in.ExternalId = aws.String("x-1") }, "", ""},
		{"denied by name", deny, alice, func(in *sts.AssumeRoleInput) { in.RoleSessionName = aws.String("bad1") }, "AccessDenied", denied},
		{"not denied by name", deny, alice, nil, "", ""},
		{"tags not allowed", noTags, bob, func(in *sts.AssumeRoleInput) { in.Tags = tag }, "AccessDenied", denied + "TagSession"},
		{"tags", bobOnly, bob, func(in *sts.AssumeRoleInput) { in.Tags = tag }, "", ""},
		{"source identity not allowed", strings.Replace(bobOnly, `,"sts:SetSourceIdentity"`, "", 1), bob, func(in *sts.AssumeRoleInput) {
			in.SourceIdentity = aws.String("me")
		}, "AccessDenied", denied + "SetSourceIdentity"},
		{"too long for the role", bobOnly, bob, func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(3601) }, "ValidationError", "MaxSessionDuration"},
		{"too short", bobOnly, bob, func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(899) }, "ValidationError", "greater than or equal to 900"},
		{"too long", bobOnly, bob, func(in *sts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(43201) }, "ValidationError", "less than or equal to 43200"},
		{"odd name", bobOnly, bob, func(in *sts.AssumeRoleInput) { in.RoleSessionName = aws.String("a b") }, "ValidationError", "regular expression"},
		{"no such role", bobOnly, bob, func(in *sts.AssumeRoleInput) { in.RoleArn = aws.String(roleARN + "x") }, "AccessDenied", denied},
		{"another path", bobOnly, bob, func(in *sts.AssumeRoleInput) {
			in.RoleArn = aws.String(strings.Replace(roleARN, "role/", "role/x/", 1))
		}, "AccessDenied", denied},
		{"no role's name", bobOnly, bob, func(in *sts.AssumeRoleInput) { in.RoleArn = aws.String("arn:aws:iam::1:user/long-enough") }, "ValidationError", "is invalid"},
		{"bad session policy", bobOnly, bob, func(in *sts.AssumeRoleInput) { in.Policy = aws.String("{}") }, "MalformedPolicyDocument", ""},
		{"transitive tag that is none", bobOnly, bob, func(in *sts.AssumeRoleInput) { in.TransitiveTagKeys = []string{"q"} }, "InvalidParameterValue", ""},
		{"a managed policy", bobOnly, bob, func(in *sts.AssumeRoleInput) {
			in.PolicyArns = []types.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}}
		}, "ValidationError", "not supported"},
	} {
		put(t, f, &role, func(r *identity.Role) { r.Trust = []byte(c.trust) })
		in := &sts.AssumeRoleInput{RoleArn: aws.String(roleARN), RoleSessionName: aws.String("ci")}
		if c.edit != nil {
			c.edit(in)
		}
		out, err := stsClient(url, home, c.who, regionstest.Secret, "").AssumeRole(t.Context(), in)
		if c.code != "" {
			wantCode(t, c.name, err, c.code, c.text)
		} else if err != nil || *out.Credentials.SessionToken == "" {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// A session policy narrows: the role's administrator is none in this session.
	out, err := stsClient(url, home, bob, regionstest.Secret, "").AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String(roleARN), RoleSessionName: aws.String("ci"),
		Policy: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:Encrypt","Resource":"*"}]}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, "narrowed", listKeys(t, url, home, out.Credentials), "AccessDeniedException", "kms:ListKeys")

	var events int
	for _, r := range f.Records(t) {
		if r.Event.EventName == "AssumeRole" && r.Event.EventSource == "sts.amazonaws.com" {
			events++
		}
	}
	if events != 22 {
		t.Errorf("%d AssumeRole events, want 22", events) // one is refused as a form, before it is a call
	}
}

// STS has its own names for what is wrong with a signature.
func TestRefusals(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, home)
	url, _ := serve(t, f.Region)
	ask := func(region, id, secret, token string) error {
		_, err := stsClient(url, region, id, secret, token).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		return err
	}
	id, secret := regionstest.AccessKeyID, regionstest.Secret
	wantCode(t, "wrong secret", ask(home, id, "w"+secret[1:]+"x", ""), "SignatureDoesNotMatch", "does not match")
	wantCode(t, "unknown key", ask(home, "AKIAQQQQQQQQQQQQQQQQ", secret, ""), "InvalidClientTokenId", "is invalid")
	wantCode(t, "token beside a user's key", ask(home, id, secret, "x"), "InvalidClientTokenId", "is invalid")
	wantCode(t, "session without token", ask(home, "ASIAQQQQQQQQQQQQQQQQ", secret, ""), "InvalidClientTokenId", "is invalid")
	wantCode(t, "another Region", ask("eu-west-1", id, secret, ""), "SignatureDoesNotMatch", "valid region")
	body := strings.NewReader("Action=GetCallerIdentity&Version=2011-06-15")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("unsigned: %s", resp.Status)
	}
}
