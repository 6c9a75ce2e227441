package regions_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/policy"
	"antipode/regions/regionstest"
)

// authKit is a Region where operations are tried.
type authKit struct {
	*regionstest.Fixture
	orders *replicator
	n      int
}

func newAuthKit(t *testing.T) *authKit {
	t.Helper()
	orders := &replicator{}
	k := &authKit{Fixture: regionstest.Open(t, "us-east-2", regionstest.WithReplicator(orders)), orders: orders}
	k.AddUser(t, "bob", bobKey, nil)
	return k
}

func (k *authKit) target(t *testing.T, own string) target {
	t.Helper()
	k.n++
	out := target{
		key: k.CreateKey(t, true), second: k.CreateKey(t, false), alias: fmt.Sprintf("alias/old-%d", k.n),
		fresh: fmt.Sprintf("alias/new-%d", k.n), own: own,
	}
	out.blob = k.Encrypt(t, out.key.KeyID, []byte("x"))
	regionstest.Must[struct{}](t, k.Fixture, "CreateAlias", &regions.AliasInput{AliasName: out.alias, TargetKeyID: out.key.KeyID})
	out.grant = regionstest.Must[regions.CreateGrantOutput](t, k.Fixture, "CreateGrant", &regions.CreateGrantInput{
		KeyID: out.key.KeyID, GranteePrincipal: k.Admin.ARN, Operations: []string{"Encrypt"},
	}).GrantID
	return out
}

func (k *authKit) setPolicy(t *testing.T, document string, keys ...regions.KeyMetadata) {
	t.Helper()
	for _, key := range keys {
		regionstest.Must[struct{}](t, k.Fixture, "PutKeyPolicy", &regions.PutKeyPolicyInput{
			KeyID: key.KeyID, Policy: document, BypassPolicyLockoutSafetyCheck: true,
		})
	}
}

func bob(policies ...string) regions.Caller {
	return regionstest.Caller(regionstest.Account, "bob", bobKey, policies...)
}

// allowing is an identity policy that gives these and nothing else.
func allowing(needs []need) string {
	type statement struct{ Effect, Action, Resource string }
	var all []statement
	for _, n := range needs {
		all = append(all, statement{"Allow", n.action, n.resource})
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// rowsOf is the whole store but for the audit log's head, which each commit moves.
func rowsOf(t *testing.T, path string) (out []string) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	rows, err := db.QueryContext(t.Context(), "SELECT hex(kind)||hex(account)||hex(id)||hex(sub)||hex(ref)||due||hex(body)||hex(mac) "+
		"FROM records WHERE CAST(kind AS TEXT) <> 'audit-head' ORDER BY kind, account, id, sub")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
	}()
	for rows.Next() {
		var row string
		if err := rows.Scan(&row); err != nil {
			t.Fatal(err)
		}
		out = append(out, row)
	}
	if err := rows.Err(); err != nil || len(out) < 10 {
		t.Fatalf("%d rows, %v", len(out), err)
	}
	return out
}

// try makes a call that must be denied: the caller is told so, nothing happens, and one event says who was denied what.
func (k *authKit) denied(t *testing.T, what, op string, caller regions.Caller, in any) {
	t.Helper()
	rows, records, orders := rowsOf(t, k.StorePath), len(k.Records(t)), len(k.orders.orders)+len(k.orders.moves)
	out, err := regionstest.Do(t.Context(), k.Region, caller, op, in)
	if code := codeOf(err); code != regions.CodeAccessDenied || out != nil {
		t.Errorf("%s %s: %q, %+v", op, what, code, out)
		return
	}
	if !slices.Equal(rows, rowsOf(t, k.StorePath)) {
		t.Errorf("%s %s: the store has changed", op, what)
	}
	if len(k.orders.orders)+len(k.orders.moves) != orders {
		t.Errorf("%s %s: another Region was asked", op, what)
	}
	after := k.Records(t)[records:]
	if len(after) != 1 || after[0].Kind != audit.KindData || after[0].Event.EventName != op || after[0].Event.ErrorCode != regions.CodeAccessDenied ||
		after[0].Event.UserIdentity.ARN != caller.ARN {
		t.Errorf("%s %s: %d events, %+v", op, what, len(after), after)
	}
}

func (k *authKit) allowed(t *testing.T, what, op string, caller regions.Caller, a attempt, in any) {
	t.Helper()
	_, err := regionstest.Do(t.Context(), k.Region, caller, op, in)
	if code := codeOf(err); code != a.fails {
		t.Errorf("%s %s: %v", op, what, err)
	}
}

const (
	everything = `{"Effect":"Allow","Principal":{"AWS":"%s"},"Action":"kms:*","Resource":"*"}`
	nothing    = `{"Effect":"Deny","Principal":{"AWS":"%s"},"Action":"kms:*","Resource":"*"}`
)

// Every operation of the table that is built: denied without permission, for each thing that it asks for; allowed by
// just what it asks for.
func TestEveryOperationAsks(t *testing.T) {
	t.Parallel()
	k := newAuthKit(t)
	for _, op := range regions.Operations() {
		a, has := attempts[op.Name]
		if !op.Built() {
			if has {
				t.Errorf("%s is tried, and not built", op.Name)
			}
			continue
		}
		if !has {
			t.Errorf("%s is built, and nothing here says what it asks for", op.Name)
			continue
		}
		to := k.target(t, bob().ARN)
		needs := a.needs(to)
		k.denied(t, "without a policy", op.Name, bob(), a.in(to))
		for i := range needs {
			rest := slices.Delete(slices.Clone(needs), i, i+1)
			k.denied(t, "without "+needs[i].action+" on "+needs[i].resource, op.Name, bob(allowing(append(rest, need{"kms:Nothing", "*"}))), a.in(to))
			no := strings.Replace(allowing(needs[i:i+1]), "Allow", "Deny", 1)
			k.denied(t, "with a deny of "+needs[i].action, op.Name, bob(policy.Administrator, no), a.in(to))
		}
		session := bob(policy.Administrator)
		session.Session, session.SessionPolicies = true, bob(allowing([]need{{"kms:Nothing", "*"}})).Policies
		k.denied(t, "in a session that may do nothing", op.Name, session, a.in(to))
		k.allowed(t, "with what it asks for", op.Name, bob(allowing(needs)), a, a.in(to))
	}
}

// Every operation on a key: a key policy alone denies and allows it.
func TestEveryKeyPolicy(t *testing.T) {
	t.Parallel()
	k := newAuthKit(t)
	for name, a := range attempts {
		to := k.target(t, bob().ARN)
		var onKeys, others []need
		for _, n := range a.needs(to) {
			if n.resource == to.key.Arn || n.resource == to.second.Arn {
				onKeys = append(onKeys, n)
			} else {
				others = append(others, n)
			}
		}
		if len(onKeys) == 0 {
			continue
		}
		k.setPolicy(t, withStatement(fmt.Sprintf(nothing, bob().ARN)), to.key, to.second)
		k.denied(t, "denied by the key", name, bob(policy.Administrator), a.in(to))
		k.setPolicy(t, withStatement(fmt.Sprintf(everything, bob().ARN)), to.key, to.second)
		if len(others) == 0 {
			k.allowed(t, "by the key", name, bob(), a, a.in(to))
		} else {
			k.denied(t, "by the key, without the rest", name, bob(), a.in(to))
			k.allowed(t, "by the key and the rest", name, bob(allowing(others)), a, a.in(to))
		}
	}
}

// What a grant can give it gives, and nothing else.
func TestEveryGrant(t *testing.T) {
	t.Parallel()
	k := newAuthKit(t)
	for name, a := range attempts {
		to := k.target(t, bob().ARN)
		symmetric := true
		if of, other := grantable[name]; other {
			symmetric, a.fails = false, of.fails
			to.key = regionstest.Must[regions.CreateKeyOutput](t, k.Fixture, "CreateKey", &regions.CreateKeyInput{
				KeySpec: of.spec, KeyUsage: of.usage,
			}).KeyMetadata
		}
		for _, key := range []regions.KeyMetadata{to.key, to.second} {
			var all []string
			for _, op := range policy.GrantOperations() {
				if op != "RetireGrant" && policy.GrantFits(op, key.KeyUsage, symmetric || key.KeyID == to.second.KeyID) {
					all = append(all, op)
				}
			}
			regionstest.Must[regions.CreateGrantOutput](t, k.Fixture, "CreateGrant", &regions.CreateGrantInput{
				KeyID: key.KeyID, GranteePrincipal: bob().ARN, Operations: all,
			})
		}
		if a.grant {
			k.allowed(t, "by a grant", name, bob(), a, a.in(to))
		} else {
			k.denied(t, "by a grant", name, bob(), a.in(to))
		}
	}
}

// Users of another account may do what AWS opens to other accounts, if both sides allow it, and nothing else on a key.
func TestEveryOtherAccount(t *testing.T) {
	t.Parallel()
	const other = "999988887777"
	k := newAuthKit(t)
	eve, poor := regionstest.Caller(other, "eve", aliceKey, policy.Administrator), regionstest.Caller(other, "poor", aliceKey)
	for name, a := range attempts {
		to := k.target(t, eve.ARN)
		if !slices.ContainsFunc(a.needs(to), func(n need) bool { return n.resource == to.key.Arn }) {
			continue
		}
		if name == "DeleteAlias" || name == "UpdateAlias" {
			continue // an alias of one's own account only can be named
		}
		k.denied(t, "from another account", name, eve, a.in(to))
		k.setPolicy(t, withStatement(fmt.Sprintf(everything, other)), to.key, to.second)
		k.denied(t, "without the own side", name, poor, a.in(to))
		if a.foreign {
			k.allowed(t, "by both", name, eve, a, a.in(to))
		} else {
			k.denied(t, "by both", name, eve, a.in(to))
		}
	}
}

// Whatever takes grant tokens looks at them.
func TestEveryGrantToken(t *testing.T) {
	t.Parallel()
	k := newAuthKit(t)
	tried := 0
	for name, a := range attempts {
		to := k.target(t, k.Admin.ARN)
		in := a.in(to)
		tokens := reflect.ValueOf(in).Elem().FieldByName("GrantTokens")
		if !tokens.IsValid() {
			continue
		}
		tried++
		tokens.Set(reflect.ValueOf([]string{"forged"}))
		_, err := regionstest.Do(t.Context(), k.Region, k.Admin, name, in)
		wantError(t, name, err, "InvalidGrantTokenException", "The grant token is not valid.")
	}
	if tried < 7 {
		t.Errorf("%d operations take grant tokens", tried)
	}
}

// An operation that forgets to ask is not answered, whoever calls.
func TestUndecidedIsRefused(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	for _, op := range regions.Undecided() {
		out, err := f.Region.Do(t.Context(), op, f.Admin, op.NewInput())
		if codeOf(err) != regions.CodeInternal || out != nil {
			t.Errorf("%s: %+v, %v", op.Name, out, err)
		}
	}
}

// grantable are the operations that only a grant on a key of another spec can give, with what an allowed call of attempts
// fails with there.
var grantable = map[string]struct{ spec, usage, fails string }{
	"DeriveSharedSecret": {"ECC_NIST_P256", "KEY_AGREEMENT", "ValidationException"},
	"GenerateMac":        {"HMAC_256", "GENERATE_VERIFY_MAC", ""},
	"GetPublicKey":       {"ECC_NIST_P256", "SIGN_VERIFY", ""},
	"Sign":               {"ECC_NIST_P256", "SIGN_VERIFY", ""},
	"Verify":             {"ECC_NIST_P256", "SIGN_VERIFY", "KMSInvalidSignatureException"},
	"VerifyMac":          {"HMAC_256", "GENERATE_VERIFY_MAC", "KMSInvalidMacException"},
}
