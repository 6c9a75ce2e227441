package regions_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/regions/policy"
	"antipode/regions/regionstest"
)

// replicator stands for the other Regions: it takes every order and makes nothing.
type replicator struct {
	orders []regions.ReplicaOrder
	moves  []regions.PrimaryOrder
}

func (r *replicator) Replicate(_ context.Context, o regions.ReplicaOrder) error {
	r.orders = append(r.orders, o)
	return nil
}

func (r *replicator) HandOver(_ context.Context, o regions.PrimaryOrder) error {
	r.moves = append(r.moves, o)
	return nil
}
func (*replicator) CanReach(context.Context, string, string) error { return nil }

// The states in the order of the table's columns.
var tableStates = []regions.KeyState{
	regions.StateEnabled, regions.StateDisabled, regions.StatePendingDeletion, regions.StatePendingReplicaDeletion,
	regions.StatePendingImport, regions.StateUnavailable, regions.StateCreating, regions.StateUpdating,
}

// AWS's page "Key states of AWS KMS keys", typed from the page and not from the program: a column for each state above,
// "ok" or the note's number. Where the page says "2 or 3" it is 3, and a note on what a symmetric key can't be is left out.
const stateTable = `
CancelKeyDeletion                       4  4  ok ok 4  4  4  4
CreateAlias                             ok ok 3  3  ok ok ok ok
Encrypt                                 ok 1  3  3  5  11 14 ok
Decrypt                                 ok 1  3  3  5  11 14 ok
ReEncrypt                               ok 1  3  3  5  11 14 ok
GenerateDataKey                         ok 1  3  3  5  11 14 ok
GenerateDataKeyWithoutPlaintext         ok 1  3  3  5  11 14 ok
GenerateDataKeyPair                     ok 1  3  3  5  11 14 ok
GenerateDataKeyPairWithoutPlaintext     ok 1  3  3  5  11 14 ok
Sign                                    ok 1  3  3  5  11 14 ok
Verify                                  ok 1  3  3  5  11 14 ok
GenerateMac                             ok 1  3  3  5  11 14 ok
VerifyMac                               ok 1  3  3  5  11 14 ok
GetPublicKey                            ok 1  3  3  5  11 14 ok
DeriveSharedSecret                      ok 1  3  3  5  11 14 ok
Encapsulate                             ok 1  3  3  5  11 14 ok
Decapsulate                             ok 1  3  3  5  11 14 ok
DeleteAlias                             ok ok ok ok ok ok ok ok
DescribeKey                             ok ok ok ok ok ok ok ok
GetKeyLastUsage                         ok ok ok ok ok ok ok ok
GetKeyPolicy                            ok ok ok ok ok ok ok ok
ListAliases                             ok ok ok ok ok ok ok ok
DisableKey                              ok ok 3  3  5  ok 14 15
EnableKey                               ok ok 3  3  5  ok 14 15
ReplicateKey                            ok 1  3  3  5  11 14 15
ScheduleKeyDeletion                     ok ok 3  3  ok ok ok 15
UpdateAlias                             ok ok 3  3  ok ok ok ok
ListKeyPolicies                         ok ok ok ok ok ok ok ok
PutKeyPolicy                            ok ok ok ok ok ok ok ok
ListResourceTags                        ok ok ok ok ok ok ok ok
TagResource                             ok ok 3  3  ok ok ok ok
UntagResource                           ok ok 3  3  ok ok ok ok
UpdateKeyDescription                    ok ok 3  3  ok ok ok ok
CreateGrant                             ok 1  3  3  5  ok 14 ok
ListGrants                              ok ok ok ok ok ok ok ok
RetireGrant                             ok ok ok ok ok ok ok ok
RevokeGrant                             ok ok ok ok ok ok ok ok
DisableKeyRotation                      ok 1  3  3  6  ok 14 ok
EnableKeyRotation                       ok 1  3  3  6  ok 14 ok
GetKeyRotationStatus                    ok ok ok ok 6  ok ok ok
ListKeyRotations                        ok ok ok ok ok ok ok ok
RotateKeyOnDemand                       ok 1  3  3  5  11 14 15
UpdatePrimaryRegion                     ok 1  3  3  5  11 14 ok
`

// notes are AWS's texts, after the key's ARN.
var notes = map[string]struct{ code, text string }{
	"1":  {"DisabledException", " is disabled."},
	"3":  {"KMSInvalidStateException", " is pending deletion."},
	"3r": {"KMSInvalidStateException", " is pending replica deletion."},
	"4":  {"KMSInvalidStateException", " is not pending deletion (or pending replica deletion)."},
	"5":  {"KMSInvalidStateException", " is pending import."},
	"6":  {"UnsupportedOperationException", " origin is EXTERNAL which is not valid for this operation."},
	"11": {"KMSInvalidStateException", " is unavailable."},
	"14": {"KMSInvalidStateException", " is creating."},
	"15": {"KMSInvalidStateException", " is updating."},
}

// Every operation that is built and takes a key, in every state.
func TestStateTable(t *testing.T) {
	t.Parallel()
	table := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSpace(stateTable), "\n") {
		fields := strings.Fields(line)
		table[fields[0]] = fields[1:]
	}
	noKey := map[string]bool{
		"CreateKey": true, "GenerateRandom": true, "ListKeys": true, "ListRetirableGrants": true, "ConnectCustomKeyStore": true,
		"CreateCustomKeyStore": true, "DeleteCustomKeyStore": true, "DescribeCustomKeyStores": true,
		"DisconnectCustomKeyStore": true, "UpdateCustomKeyStore": true,
	}
	imports := map[string]bool{ // on keys of origin EXTERNAL only; in TestImportStates
		"GetParametersForImport": true, "ImportKeyMaterial": true, "DeleteImportedKeyMaterial": true,
	}
	for _, op := range regions.Operations() {
		if _, in := table[op.Name]; op.Built() && !noKey[op.Name] && !imports[op.Name] && !in {
			t.Errorf("%s is built, and not in this test's table", op.Name)
		}
	}
	f := regionstest.Open(t, "us-east-2", regionstest.WithReplicator(&replicator{}))
	key := f.CreateKey(t, true)
	idle := f.CreateKey(t, true) // a second key, Enabled always
	pristine := f.Key(t, key.KeyID)
	blob := f.Encrypt(t, key.KeyID, []byte("x"))
	inputs := map[string]func() any{
		"CancelKeyDeletion":   func() any { return &regions.KeyInput{KeyID: key.KeyID} },
		"CreateAlias":         func() any { return &regions.AliasInput{AliasName: "alias/new", TargetKeyID: key.KeyID} },
		"Encrypt":             func() any { return &regions.EncryptInput{KeyID: key.KeyID, Plaintext: []byte("x")} },
		"Decrypt":             func() any { return &regions.DecryptInput{CiphertextBlob: blob} },
		"ReEncrypt":           func() any { return &regions.ReEncryptInput{CiphertextBlob: blob, DestinationKeyID: idle.KeyID} },
		"GenerateDataKey":     func() any { return &regions.GenerateDataKeyInput{KeyID: key.KeyID, KeySpec: "AES_128"} },
		"DeleteAlias":         func() any { return &regions.DeleteAliasInput{AliasName: "alias/old"} },
		"DescribeKey":         func() any { return &regions.DescribeKeyInput{KeyID: key.KeyID} },
		"GetKeyPolicy":        func() any { return &regions.GetKeyPolicyInput{KeyID: key.KeyID} },
		"ListAliases":         func() any { return &regions.ListAliasesInput{KeyID: key.KeyID} },
		"DisableKey":          func() any { return &regions.KeyInput{KeyID: key.KeyID} },
		"EnableKey":           func() any { return &regions.KeyInput{KeyID: key.KeyID} },
		"ReplicateKey":        func() any { return &regions.ReplicateKeyInput{KeyID: key.KeyID, ReplicaRegion: "eu-west-1"} },
		"ScheduleKeyDeletion": func() any { return &regions.ScheduleKeyDeletionInput{KeyID: key.KeyID} },
		"UpdateAlias":         func() any { return &regions.AliasInput{AliasName: "alias/idle", TargetKeyID: key.KeyID} },
		"ListKeyPolicies":     func() any { return &regions.ListKeyPoliciesInput{KeyID: key.KeyID} },
		"PutKeyPolicy": func() any {
			return &regions.PutKeyPolicyInput{KeyID: key.KeyID, Policy: policy.Default(regionstest.Account)}
		},
		"ListResourceTags": func() any { return &regions.ListResourceTagsInput{KeyID: key.KeyID} },
		"TagResource":      func() any { return &regions.TagResourceInput{KeyID: key.KeyID, Tags: []regions.Tag{{TagKey: "a"}}} },
		"UntagResource":    func() any { return &regions.UntagResourceInput{KeyID: key.KeyID, TagKeys: []string{"a"}} },
		"UpdateKeyDescription": func() any {
			text := "d"
			return &regions.UpdateKeyDescriptionInput{KeyID: key.KeyID, Description: &text}
		},
	}
	others := keyPairInputs(t, f, key.KeyID, inputs)
	const grantID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	inputs["CreateGrant"] = func() any {
		return &regions.CreateGrantInput{KeyID: key.KeyID, GranteePrincipal: f.Admin.ARN, Operations: []string{"Encrypt"}}
	}
	inputs["ListGrants"] = func() any { return &regions.ListGrantsInput{KeyID: key.KeyID} }
	inputs["RetireGrant"] = func() any { return &regions.RetireGrantInput{KeyID: key.Arn, GrantID: grantID} }
	inputs["RevokeGrant"] = func() any { return &regions.RevokeGrantInput{KeyID: key.KeyID, GrantID: grantID} }
	inputs["EnableKeyRotation"] = func() any { return &regions.EnableKeyRotationInput{KeyID: key.KeyID} }
	inputs["ListKeyRotations"] = func() any { return &regions.ListKeyRotationsInput{KeyID: key.KeyID} }
	for _, op := range []string{"DisableKeyRotation", "GetKeyLastUsage", "GetKeyRotationStatus", "RotateKeyOnDemand"} {
		inputs[op] = func() any { return &regions.KeyInput{KeyID: key.KeyID} }
	}
	others["UpdatePrimaryRegion"] = f.CreateKey(t, true)
	f.PutKey(t, others["UpdatePrimaryRegion"].KeyID, withReplica("eu-west-1"))
	inputs["UpdatePrimaryRegion"] = func() any {
		return &regions.UpdatePrimaryRegionInput{KeyID: others["UpdatePrimaryRegion"].KeyID, PrimaryRegion: "eu-west-1"}
	}
	inputs["GenerateDataKeyWithoutPlaintext"] = inputs["GenerateDataKey"]
	for op, row := range table {
		if len(row) != len(tableStates) {
			t.Fatalf("%s has %d columns", op, len(row))
		}
		for i, state := range tableStates {
			on, was := key, pristine
			if other, has := others[op]; has {
				on, was = other, f.Key(t, other.KeyID)
			}
			f.PutKey(t, on.KeyID, func(k *regions.Key) { *k = was; k.State = state })
			resetAliases(t, f, map[string]string{"alias/old": key.KeyID, "alias/idle": idle.KeyID, "alias/new": ""})
			if op == "RetireGrant" || op == "RevokeGrant" {
				putGrant(t, f, regions.GrantRecord{KeyID: key.KeyID, ID: grantID, Grantee: f.Admin.ARN, Operations: []string{"Encrypt"}})
			}
			_, err := regionstest.Do(t.Context(), f.Region, f.Admin, op, inputs[op]())
			what := op + " in state " + string(state)
			after := f.Key(t, on.KeyID).State
			if row[i] == "ok" {
				if op == "Encapsulate" || op == "Decapsulate" { // the state would allow it, the token can't
					wantError(t, what, err, "UnsupportedOperationException", op+" is not supported in Region us-east-2: its token lacks CKM_ML_KEM.")
				} else if err != nil {
					t.Errorf("%s: %v", what, err)
				}
				if want, changes := becomes[op]; !changes && after != state || changes && after != want {
					t.Errorf("%s: the key is %s afterwards", what, after)
				}
				continue
			}
			note := row[i]
			if note == "3" && state == regions.StatePendingReplicaDeletion {
				note = "3r"
			}
			wantError(t, what, err, notes[note].code, on.Arn+notes[note].text)
			if after != state {
				t.Errorf("%s was refused, and the key is %s", what, after)
			}
		}
	}
	// ReEncrypt asks both keys.
	f.PutKey(t, key.KeyID, func(k *regions.Key) { *k = pristine })
	f.PutKey(t, idle.KeyID, func(k *regions.Key) { k.State = regions.StateDisabled })
	_, err := regionstest.Do(t.Context(), f.Region, f.Admin, "ReEncrypt", inputs["ReEncrypt"]())
	wantError(t, "ReEncrypt to a disabled key", err, "DisabledException", idle.Arn+" is disabled.")
	// The source of UpdateAlias may be in any state.
	resetAliases(t, f, map[string]string{"alias/idle": idle.KeyID})
	f.PutKey(t, idle.KeyID, func(k *regions.Key) { k.State = regions.StatePendingDeletion })
	regionstest.Must[struct{}](t, f, "UpdateAlias", &regions.AliasInput{AliasName: "alias/idle", TargetKeyID: key.KeyID})
}

// withReplica adds a member to a key's shared state.
func withReplica(region string) func(*regions.Key) {
	return func(k *regions.Key) {
		s := k.MultiRegion.State
		s.Members = append(s.Members, keyset.Member{Region: region, Incarnation: [16]byte{1}, Status: keyset.Active})
		slices.SortFunc(s.Members, func(a, b keyset.Member) int { return strings.Compare(a.Region, b.Region) })
	}
}

// keyPairInputs adds the inputs of operations on keys of other specs, and returns those keys by operation.
func keyPairInputs(t *testing.T, f *regionstest.Fixture, symmetric string, inputs map[string]func() any) map[string]regions.KeyMetadata {
	t.Helper()
	signer := createSpec(t, f, "ECC_NIST_P256", "SIGN_VERIFY", true)
	macs := createSpec(t, f, "HMAC_256", "GENERATE_VERIFY_MAC", true)
	agrees := createSpec(t, f, "ECC_NIST_P256", "KEY_AGREEMENT", true)
	peer, message := publicKey(t, f, agrees.KeyID), []byte("m")
	signature := regionstest.Must[regions.SignOutput](t, f, "Sign", &regions.SignInput{
		KeyID: signer.KeyID, Message: message, SigningAlgorithm: "ECDSA_SHA_256",
	}).Signature
	mac := regionstest.Must[regions.GenerateMacOutput](t, f, "GenerateMac", &regions.GenerateMacInput{
		KeyID: macs.KeyID, Message: message, MacAlgorithm: "HMAC_SHA_256",
	}).Mac
	for name, in := range map[string]any{
		"GenerateDataKeyPair":                 &regions.GenerateDataKeyPairWithPlaintextInput{KeyID: symmetric, KeyPairSpec: "ECC_NIST_P256"},
		"GenerateDataKeyPairWithoutPlaintext": &regions.GenerateDataKeyPairInput{KeyID: symmetric, KeyPairSpec: "ECC_NIST_P256"},
		"Sign":                                &regions.SignInput{KeyID: signer.KeyID, Message: message, SigningAlgorithm: "ECDSA_SHA_256"},
		"Verify":                              &regions.VerifyInput{KeyID: signer.KeyID, Message: message, Signature: signature, SigningAlgorithm: "ECDSA_SHA_256"},
		"GetPublicKey":                        &regions.GetPublicKeyInput{KeyID: signer.KeyID},
		"GenerateMac":                         &regions.GenerateMacInput{KeyID: macs.KeyID, Message: message, MacAlgorithm: "HMAC_SHA_256"},
		"VerifyMac":                           &regions.VerifyMacInput{KeyID: macs.KeyID, Message: message, Mac: mac, MacAlgorithm: "HMAC_SHA_256"},
		"Encapsulate":                         &regions.EncapsulateInput{KeyID: symmetric, EncapsulationAlgorithm: "ML_KEM"},
		"Decapsulate":                         &regions.DecapsulateInput{KeyID: symmetric, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: message},
		"DeriveSharedSecret":                  &regions.DeriveSharedSecretInput{KeyID: agrees.KeyID, KeyAgreementAlgorithm: "ECDH", PublicKey: peer},
	} {
		inputs[name] = func() any { return in }
	}
	return map[string]regions.KeyMetadata{
		"Sign": signer, "Verify": signer, "GetPublicKey": signer, "GenerateMac": macs, "VerifyMac": macs, "DeriveSharedSecret": agrees,
	}
}

// becomes says which state an operation leads to.
var becomes = map[string]regions.KeyState{
	"CancelKeyDeletion": regions.StateDisabled, "DisableKey": regions.StateDisabled, "EnableKey": regions.StateEnabled,
	"ScheduleKeyDeletion": regions.StatePendingDeletion,
}

// resetAliases makes the aliases point to these keys; "" removes one.
func resetAliases(t *testing.T, f *regionstest.Fixture, to map[string]string) {
	t.Helper()
	err := f.Region.Update(t.Context(), func(tx regions.Tx) error {
		for name, target := range to {
			a := regions.Alias{Account: regionstest.Account, Name: name, KeyID: target}
			if target == "" {
				if err := tx.Delete(t.Context(), a.RecordKey()); err != nil {
					return err
				}
			} else if err := regions.Put(t.Context(), tx, f.Region.Ring(), a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// putGrant writes a grant's record.
func putGrant(t *testing.T, f *regionstest.Fixture, g regions.GrantRecord) {
	t.Helper()
	g.Account, g.Issuer = regionstest.Account, regionstest.Account
	err := f.Region.Update(t.Context(), func(tx regions.Tx) error { return regions.Put(t.Context(), tx, f.Region.Ring(), g) })
	if err != nil {
		t.Fatal(err)
	}
}
