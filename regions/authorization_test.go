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

// target is what an operation is tried on: made anew for each try.
type target struct {
	key    regions.KeyMetadata
	second regions.KeyMetadata
	alias  string // of key
	fresh  string // an alias that is not there
	blob   []byte // under key
	grant  string // on key
	own    string // ARN of who tries
}

// need is one thing that an operation asks policies for.
type need struct{ action, resource string }

// attempt says of one operation what it asks for, typed from AWS's table of permissions, and how it is called.
type attempt struct {
	needs func(target) []need
	in    func(target) any
	// fails is the error that an allowed call has all the same, "" for none.
	fails string
	// grant: a grant can give it. foreign: it may be open to other accounts.
	grant, foreign bool
}

func onKey(name string) func(target) []need {
	return func(t target) []need { return []need{{"kms:" + name, t.key.Arn}} }
}

func onAll(name string) func(target) []need {
	return func(target) []need { return []need{{"kms:" + name, "*"}} }
}

func aliasARN(name string) string {
	return "arn:aws:kms:us-east-2:" + regionstest.Account + ":" + name
}

const noStore = regions.CodeCustomKeyStoreNotFound

// attempts has one row for each operation that is built.
var attempts = map[string]attempt{
	"CancelKeyDeletion": {needs: onKey("CancelKeyDeletion"), in: func(t target) any { return &regions.KeyInput{KeyID: t.key.Arn} }, fails: regions.CodeInvalidState},
	"CreateAlias": {needs: func(t target) []need {
		return []need{{"kms:CreateAlias", t.key.Arn}, {"kms:CreateAlias", aliasARN(t.fresh)}}
	}, in: func(t target) any { return &regions.AliasInput{AliasName: t.fresh, TargetKeyID: t.key.Arn} }},
	"CreateCustomKeyStore": {needs: onAll("CreateCustomKeyStore"), in: func(target) any { return &regions.CreateCustomKeyStoreInput{CustomKeyStoreName: "n"} }, fails: regions.CodeUnsupportedOperation},
	"CreateGrant": {needs: onKey("CreateGrant"), in: func(t target) any {
		return &regions.CreateGrantInput{KeyID: t.key.Arn, GranteePrincipal: t.own, Operations: []string{"CreateGrant"}}
	}, grant: true, foreign: true},
	"CreateKey": {needs: func(target) []need { return []need{{"kms:CreateKey", "*"}, {"kms:TagResource", "*"}} }, in: func(target) any {
		return &regions.CreateKeyInput{Tags: []regions.Tag{{TagKey: "a"}}}
	}},
	"Decrypt": {needs: onKey("Decrypt"), in: func(t target) any { return &regions.DecryptInput{CiphertextBlob: t.blob, KeyID: t.key.Arn} }, grant: true, foreign: true},
	"DeleteAlias": {needs: func(t target) []need {
		return []need{{"kms:DeleteAlias", t.key.Arn}, {"kms:DeleteAlias", aliasARN(t.alias)}}
	}, in: func(t target) any { return &regions.DeleteAliasInput{AliasName: t.alias} }},
	"DescribeCustomKeyStores": {needs: onAll("DescribeCustomKeyStores"), in: func(target) any { return &regions.DescribeCustomKeyStoresInput{} }},
	"DescribeKey":             {needs: onKey("DescribeKey"), in: func(t target) any { return &regions.DescribeKeyInput{KeyID: t.key.Arn} }, grant: true, foreign: true},
	"DisableKey":              {needs: onKey("DisableKey"), in: func(t target) any { return &regions.KeyInput{KeyID: t.key.Arn} }},
	"EnableKey":               {needs: onKey("EnableKey"), in: func(t target) any { return &regions.KeyInput{KeyID: t.key.Arn} }},
	"Encrypt":                 {needs: onKey("Encrypt"), in: func(t target) any { return &regions.EncryptInput{KeyID: t.key.Arn, Plaintext: []byte("x")} }, grant: true, foreign: true},
	"GenerateDataKey":         {needs: onKey("GenerateDataKey"), in: func(t target) any { return &regions.GenerateDataKeyInput{KeyID: t.key.Arn, KeySpec: "AES_256"} }, grant: true, foreign: true},
	"GenerateDataKeyWithoutPlaintext": {needs: onKey("GenerateDataKeyWithoutPlaintext"), in: func(t target) any {
		return &regions.GenerateDataKeyInput{KeyID: t.key.Arn, KeySpec: "AES_256"}
	}, grant: true, foreign: true},
	"GenerateRandom":      {needs: onAll("GenerateRandom"), in: func(target) any { return &regions.GenerateRandomInput{NumberOfBytes: ptr(1)} }},
	"GetKeyPolicy":        {needs: onKey("GetKeyPolicy"), in: func(t target) any { return &regions.GetKeyPolicyInput{KeyID: t.key.Arn} }},
	"ListAliases":         {needs: onAll("ListAliases"), in: func(target) any { return &regions.ListAliasesInput{} }},
	"ListGrants":          {needs: onKey("ListGrants"), in: func(t target) any { return &regions.ListGrantsInput{KeyID: t.key.Arn} }, foreign: true},
	"ListKeyPolicies":     {needs: onKey("ListKeyPolicies"), in: func(t target) any { return &regions.ListKeyPoliciesInput{KeyID: t.key.Arn} }},
	"ListKeys":            {needs: onAll("ListKeys"), in: func(target) any { return &regions.ListKeysInput{} }},
	"ListResourceTags":    {needs: onKey("ListResourceTags"), in: func(t target) any { return &regions.ListResourceTagsInput{KeyID: t.key.Arn} }},
	"ListRetirableGrants": {needs: func(t target) []need { return []need{{"kms:ListRetirableGrants", t.own}} }, in: func(t target) any { return &regions.ListRetirableGrantsInput{RetiringPrincipal: t.own} }},
	"PutKeyPolicy": {needs: onKey("PutKeyPolicy"), in: func(t target) any {
		return &regions.PutKeyPolicyInput{KeyID: t.key.Arn, Policy: policy.Default(regionstest.Account), BypassPolicyLockoutSafetyCheck: true}
	}},
	"ReEncrypt": {needs: func(t target) []need {
		return []need{{"kms:ReEncryptFrom", t.key.Arn}, {"kms:ReEncryptTo", t.second.Arn}}
	}, in: func(t target) any {
		return &regions.ReEncryptInput{CiphertextBlob: t.blob, SourceKeyID: t.key.Arn, DestinationKeyID: t.second.Arn}
	}, grant: true, foreign: true},
	"ReplicateKey": {needs: func(t target) []need {
		return []need{{"kms:ReplicateKey", t.key.Arn}, {"kms:CreateKey", "*"}, {"kms:TagResource", "*"}}
	}, in: func(t target) any {
		return &regions.ReplicateKeyInput{KeyID: t.key.Arn, ReplicaRegion: "eu-west-1", Tags: []regions.Tag{{TagKey: "a"}}}
	}},
	"RetireGrant":          {needs: onKey("RetireGrant"), in: func(t target) any { return &regions.RetireGrantInput{KeyID: t.key.Arn, GrantID: t.grant} }, foreign: true},
	"RevokeGrant":          {needs: onKey("RevokeGrant"), in: func(t target) any { return &regions.RevokeGrantInput{KeyID: t.key.Arn, GrantID: t.grant} }, foreign: true},
	"DisableKeyRotation":   {needs: onKey("DisableKeyRotation"), in: func(t target) any { return &regions.KeyInput{KeyID: t.key.Arn} }},
	"EnableKeyRotation":    {needs: onKey("EnableKeyRotation"), in: func(t target) any { return &regions.EnableKeyRotationInput{KeyID: t.key.Arn} }},
	"GetKeyRotationStatus": {needs: onKey("GetKeyRotationStatus"), in: func(t target) any { return &regions.KeyInput{KeyID: t.key.Arn} }, foreign: true},
	"ListKeyRotations":     {needs: onKey("ListKeyRotations"), in: func(t target) any { return &regions.ListKeyRotationsInput{KeyID: t.key.Arn} }},
	"RotateKeyOnDemand":    {needs: onKey("RotateKeyOnDemand"), in: func(t target) any { return &regions.KeyInput{KeyID: t.key.Arn} }},
	"ScheduleKeyDeletion":  {needs: onKey("ScheduleKeyDeletion"), in: func(t target) any { return &regions.ScheduleKeyDeletionInput{KeyID: t.key.Arn} }},
	"TagResource": {needs: onKey("TagResource"), in: func(t target) any {
		return &regions.TagResourceInput{KeyID: t.key.Arn, Tags: []regions.Tag{{TagKey: "a"}}}
	}},
	"UntagResource": {needs: onKey("UntagResource"), in: func(t target) any { return &regions.UntagResourceInput{KeyID: t.key.Arn, TagKeys: []string{"a"}} }},
	"UpdateAlias": {needs: func(t target) []need {
		return []need{{"kms:UpdateAlias", t.second.Arn}, {"kms:UpdateAlias", t.key.Arn}, {"kms:UpdateAlias", aliasARN(t.alias)}}
	}, in: func(t target) any { return &regions.AliasInput{AliasName: t.alias, TargetKeyID: t.second.Arn} }},
	"UpdateKeyDescription": {needs: onKey("UpdateKeyDescription"), in: func(t target) any {
		d := "d"
		return &regions.UpdateKeyDescriptionInput{KeyID: t.key.Arn, Description: &d}
	}},

	// On a key of another usage: policies are asked first.
	"DeriveSharedSecret": {needs: onKey("DeriveSharedSecret"), in: func(t target) any {
		return &regions.DeriveSharedSecretInput{KeyID: t.key.Arn, KeyAgreementAlgorithm: "ECDH", PublicKey: []byte{1}}
	}, grant: true, foreign: true, fails: regions.CodeInvalidKeyUsage},
	"GenerateDataKeyPair": {needs: onKey("GenerateDataKeyPair"), in: func(t target) any {
		return &regions.GenerateDataKeyPairWithPlaintextInput{KeyID: t.key.Arn, KeyPairSpec: "ECC_NIST_P256"}
	}, grant: true, foreign: true},
	"GenerateDataKeyPairWithoutPlaintext": {needs: onKey("GenerateDataKeyPairWithoutPlaintext"), in: func(t target) any {
		return &regions.GenerateDataKeyPairInput{KeyID: t.key.Arn, KeyPairSpec: "ECC_NIST_P256"}
	}, grant: true, foreign: true},
	"GenerateMac": {needs: onKey("GenerateMac"), in: func(t target) any {
		return &regions.GenerateMacInput{KeyID: t.key.Arn, Message: []byte("m"), MacAlgorithm: "HMAC_SHA_256"}
	}, grant: true, foreign: true, fails: regions.CodeInvalidKeyUsage},
	"GetPublicKey": {needs: onKey("GetPublicKey"), in: func(t target) any {
		return &regions.GetPublicKeyInput{KeyID: t.key.Arn}
	}, grant: true, foreign: true, fails: regions.CodeUnsupportedOperation},
	"Sign": {needs: onKey("Sign"), in: func(t target) any {
		return &regions.SignInput{KeyID: t.key.Arn, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256"}
	}, grant: true, foreign: true, fails: regions.CodeInvalidKeyUsage},
	"Verify": {needs: onKey("Verify"), in: func(t target) any {
		return &regions.VerifyInput{KeyID: t.key.Arn, Message: []byte("m"), Signature: []byte("s"), SigningAlgorithm: "ECDSA_SHA_256"}
	}, grant: true, foreign: true, fails: regions.CodeInvalidKeyUsage},
	"VerifyMac": {needs: onKey("VerifyMac"), in: func(t target) any {
		return &regions.VerifyMacInput{KeyID: t.key.Arn, Message: []byte("m"), Mac: []byte("m"), MacAlgorithm: "HMAC_SHA_256"}
	}, grant: true, foreign: true, fails: regions.CodeInvalidKeyUsage},

	"ConnectCustomKeyStore":    keyStoreAttempt("ConnectCustomKeyStore"),
	"DeleteCustomKeyStore":     keyStoreAttempt("DeleteCustomKeyStore"),
	"DisconnectCustomKeyStore": keyStoreAttempt("DisconnectCustomKeyStore"),
	"UpdateCustomKeyStore":     keyStoreAttempt("UpdateCustomKeyStore"),
}

func keyStoreAttempt(name string) attempt {
	return attempt{needs: onAll(name), in: func(target) any { return &regions.KeyStoreInput{CustomKeyStoreID: "cks-1"} }, fails: noStore}
}

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
	rows, records, orders := rowsOf(t, k.StorePath), len(k.Records(t)), len(k.orders.orders)
	out, err := regionstest.Do(t.Context(), k.Region, caller, op, in)
	if code := codeOf(err); code != regions.CodeAccessDenied || out != nil {
		t.Errorf("%s %s: %q, %+v", op, what, code, out)
		return
	}
	if !slices.Equal(rows, rowsOf(t, k.StorePath)) {
		t.Errorf("%s %s: the store has changed", op, what)
	}
	if len(k.orders.orders) != orders {
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
		for _, key := range []regions.KeyMetadata{to.key, to.second} {
			var all []string
			for _, op := range policy.GrantOperations() {
				if op != "RetireGrant" && policy.GrantFits(op, regions.UsageEncryptDecrypt, true) {
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
