package regions_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"antipode/regions"
	"antipode/regions/policy"
	"antipode/regions/regionstest"
)

// For whoever asks, a dry run says what the call then does, and does nothing.
func TestDryRunSaysTheSame(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	k := newAuthKit(t)
	operations, answers := 0, map[string]int{}
	for _, op := range regions.Operations() {
		a, has := attempts[op.Name]
		if !has {
			continue
		}
		if _, dry := reflect.TypeOf(op.NewInput()).Elem().FieldByName("DryRun"); !dry {
			continue
		}
		operations++
		for range 8 {
			to := k.target(t, bob().ARN)
			caller, what := k.randomRights(t, rnd, a, to)
			in := a.in(to)
			dry := reflect.ValueOf(in).Elem().FieldByName("DryRun")
			dry.SetBool(true)
			rows := rowsOf(t, k.StorePath)
			_, said := regionstest.Do(t.Context(), k.Region, caller, op.Name, in)
			if fmt.Sprint(rows) != fmt.Sprint(rowsOf(t, k.StorePath)) {
				t.Errorf("%s: the dry run has changed the store", op.Name)
			}
			dry.SetBool(false)
			_, done := regionstest.Do(t.Context(), k.Region, caller, op.Name, in)
			answers[codeOf(done)]++
			if done == nil {
				wantError(t, op.Name+" "+what, said, "DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
			} else if said == nil || said.Error() != done.Error() {
				t.Errorf("%s %s: the dry run says %v, the call %v", op.Name, what, said, done)
			}
		}
	}
	if operations < 8 || len(answers) < 2 {
		t.Errorf("%d operations, answers %v", operations, answers)
	}
}

// randomRights gives bob rights that may suffice or not, and may disable the key.
func (k *authKit) randomRights(t *testing.T, rnd *rand.Rand, a attempt, to target) (caller regions.Caller, what string) {
	t.Helper()
	caller = bob()
	if rnd.IntN(2) == 0 {
		what += " identity"
		caller = bob(allowing(a.needs(to)))
	}
	switch rnd.IntN(4) {
	case 0:
		what += " key-allow"
		k.setPolicy(t, withStatement(fmt.Sprintf(everything, bob().ARN)), to.key, to.second)
	case 1:
		what += " key-deny"
		k.setPolicy(t, withStatement(fmt.Sprintf(nothing, bob().ARN)), to.second)
	}
	if rnd.IntN(3) == 0 {
		what += " session"
		caller.Session, caller.SessionPolicies = true, bob(allowing(a.needs(to)[:1])).Policies
	}
	if rnd.IntN(3) == 0 {
		what += " grant"
		regionstest.Must[regions.CreateGrantOutput](t, k.Fixture, "CreateGrant", &regions.CreateGrantInput{
			KeyID: to.key.KeyID, GranteePrincipal: bob().ARN, RetiringPrincipal: bob().ARN, Operations: policy.GrantOperations()[:6],
		})
	}
	if rnd.IntN(4) == 0 {
		what += " disabled"
		regionstest.Must[struct{}](t, k.Fixture, "DisableKey", &regions.KeyInput{KeyID: to.key.KeyID})
	}
	return caller, what
}

// A dry run of Decrypt or ReEncrypt with IGNORE_CIPHERTEXT asks about the named key and looks at no ciphertext; only a dry run
// does.
func TestDryRunWithoutCiphertext(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key, other := f.CreateKey(t, false), f.CreateKey(t, false)
	blob := f.Encrypt(t, other.KeyID, []byte("x"))
	ignore := []string{"IGNORE_CIPHERTEXT"}
	decrypt := func(keyID string, blob []byte, dry bool, modifiers []string) error {
		_, err := regionstest.Call[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{
			KeyID: keyID, CiphertextBlob: blob, DryRun: dry, DryRunModifiers: modifiers,
		})
		return err
	}
	move := func(keyID string, blob []byte, dry bool, modifiers []string) error {
		_, err := regionstest.Call[regions.ReEncryptOutput](t, f, "ReEncrypt", &regions.ReEncryptInput{
			SourceKeyID: keyID, DestinationKeyID: other.KeyID, CiphertextBlob: blob, DryRun: dry, DryRunModifiers: modifiers,
		})
		return err
	}
	for name, op := range map[string]struct {
		do    func(keyID string, blob []byte, dry bool, modifiers []string) error
		field string
	}{"Decrypt": {decrypt, "keyId"}, "ReEncrypt": {move, "sourceKeyId"}} {
		const dry = "The request would have succeeded, but the DryRun option is set."
		null := func(field string) string {
			return "1 validation error detected: Value null at '" + field + "' failed to satisfy constraint: Member must not be null"
		}
		wantError(t, name+" of nothing", op.do(key.KeyID, nil, true, ignore), "DryRunOperationException", dry)
		wantError(t, name+" of another key's", op.do(key.KeyID, blob, true, ignore), "DryRunOperationException", dry)
		wantError(t, name+" of garbage", op.do(key.KeyID, []byte("no ciphertext"), true, ignore), "DryRunOperationException", dry)
		wantError(t, name+" without a key", op.do("", blob, true, ignore), "ValidationException", null(op.field))
		wantError(t, name+" that ignores nothing", op.do(key.KeyID, blob, true, nil), "IncorrectKeyException",
			"The key ID in the request does not identify a CMK that can perform this operation.")
		wantError(t, name+" in earnest", op.do(key.KeyID, nil, false, ignore), "ValidationException", null("ciphertextBlob"))
		wantError(t, name+" in earnest of garbage", op.do(key.KeyID, []byte("no ciphertext"), false, ignore), "InvalidCiphertextException", "")
		wantError(t, name+" with another modifier", op.do(key.KeyID, nil, true, []string{"FASTER"}), "ValidationException",
			"1 validation error detected: Value '[FASTER]' at 'dryRunModifiers' failed to satisfy constraint: "+
				"Member must satisfy constraint: [Member must satisfy enum value set: [IGNORE_CIPHERTEXT]]")
		regionstest.Must[struct{}](t, f, "DisableKey", &regions.KeyInput{KeyID: key.KeyID})
		wantError(t, name+" of a disabled key", op.do(key.KeyID, nil, true, ignore), "DisabledException", key.Arn+" is disabled.")
		regionstest.Must[struct{}](t, f, "EnableKey", &regions.KeyInput{KeyID: key.KeyID})
		stranger := regionstest.Caller(regionstest.Account, "eve", aliceKey)
		in := any(&regions.DecryptInput{KeyID: key.KeyID, DryRun: true, DryRunModifiers: ignore})
		if name == "ReEncrypt" {
			in = &regions.ReEncryptInput{SourceKeyID: key.KeyID, DestinationKeyID: other.KeyID, DryRun: true, DryRunModifiers: ignore}
		}
		if _, err := regionstest.Do(t.Context(), f.Region, stranger, name, in); codeOf(err) != "AccessDeniedException" {
			t.Errorf("%s by a stranger: %v", name, err)
		}
	}
}
