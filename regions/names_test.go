package regions_test

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/policy"
	"antipode/regions/regionstest"
)

// A key answers to its id, its ARN, its aliases and their ARNs, alike.
func TestKeyNames(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	for _, multiRegion := range []bool{false, true} {
		key := f.CreateKey(t, multiRegion)
		alias := fmt.Sprintf("alias/team/x_%t-1", multiRegion)
		regionstest.Must[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: alias, TargetKeyID: key.Arn})
		for _, name := range []string{key.KeyID, key.Arn, alias, "arn:aws:kms:us-east-2:111122223333:" + alias} {
			blob := f.Encrypt(t, name, []byte("attack at dawn"))
			out := regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob, KeyID: name})
			if string(out.Plaintext) != "attack at dawn" || out.KeyID != key.Arn || out.KeyMaterialID != key.CurrentKeyMaterialID {
				t.Errorf("by %s: %+v", name, out)
			}
		}
	}
}

// What CreateKey answers, by default and with everything given, is what DescribeKey says, now and after a restart.
func TestCreateKey(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	document := policy.Default(regionstest.Account)
	for _, in := range []*regions.CreateKeyInput{
		{},
		{
			MultiRegion: true, Description: "d", KeySpec: "SYMMETRIC_DEFAULT", KeyUsage: "ENCRYPT_DECRYPT", Origin: "AWS_KMS",
			Tags: []regions.Tag{{TagKey: "k", TagValue: "v"}}, Policy: document,
		},
	} {
		m := regionstest.Must[regions.CreateKeyOutput](t, f, "CreateKey", in).KeyMetadata
		want := regions.KeyMetadata{
			AWSAccountID: regionstest.Account, KeyID: m.KeyID, Arn: "arn:aws:kms:us-east-2:111122223333:key/" + m.KeyID,
			CreationDate: m.CreationDate, Enabled: true, Description: in.Description, KeyUsage: "ENCRYPT_DECRYPT",
			KeyState: "Enabled", Origin: "AWS_KMS", KeyManager: "CUSTOMER", CustomerMasterKeySpec: "SYMMETRIC_DEFAULT",
			KeySpec: "SYMMETRIC_DEFAULT", EncryptionAlgorithms: []string{"SYMMETRIC_DEFAULT"}, MultiRegion: in.MultiRegion,
			CurrentKeyMaterialID: m.CurrentKeyMaterialID,
		}
		if in.MultiRegion {
			want.MultiRegionConfiguration = &regions.MultiRegionConfig{
				MultiRegionKeyType: "PRIMARY", PrimaryKey: regions.MultiRegionKey{Arn: want.Arn, Region: "us-east-2"},
				ReplicaKeys: []regions.MultiRegionKey{},
			}
		}
		if got, want := fmt.Sprintf("%+v %+v", m, m.MultiRegionConfiguration), fmt.Sprintf("%+v %+v", want, want.MultiRegionConfiguration); len(m.CurrentKeyMaterialID) != 64 ||
			stripPointer(got) != stripPointer(want) {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
		for range 2 {
			again := regionstest.Must[regions.DescribeKeyOutput](t, f, "DescribeKey", &regions.DescribeKeyInput{KeyID: m.KeyID}).KeyMetadata
			if stripPointer(fmt.Sprintf("%+v", again)) != stripPointer(fmt.Sprintf("%+v", m)) {
				t.Errorf("DescribeKey says %+v, CreateKey said %+v", again, m)
			}
			p := regionstest.Must[regions.GetKeyPolicyOutput](t, f, "GetKeyPolicy", &regions.GetKeyPolicyInput{KeyID: m.KeyID})
			if p.Policy != document || p.PolicyName != "default" {
				t.Errorf("the policy is %s %s", p.PolicyName, p.Policy)
			}
			f.Reopen(t)
		}
		if tags := f.Key(t, m.KeyID).Tags; !slices.Equal(tags, in.Tags) {
			t.Errorf("tags are %v", tags)
		}
	}
}

// Lists go on over many pages, each entry once, in order.
func TestLists(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	const n = 130
	key := f.CreateKey(t, true)
	var ids, names []string
	err := f.Region.Update(t.Context(), func(tx regions.Tx) error {
		for i := range n {
			k := f.Key(t, key.KeyID)
			k.KeyID, k.MultiRegion = fmt.Sprintf("00000000-0000-4000-8000-%012d", i), nil
			a := regions.Alias{Account: regionstest.Account, Name: fmt.Sprintf("alias/%03d", i), KeyID: k.KeyID}
			ids, names = append(ids, k.KeyID), append(names, a.Name)
			p := regions.PolicyRecord{Account: k.Account, KeyID: k.KeyID, Document: policy.Default(k.Account)}
			for _, b := range []regions.Body{k, a, p} {
				if err := regions.Put(t.Context(), tx, f.Region.Ring(), b); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ids = append(ids, key.KeyID)
	for _, limit := range []*int{nil, ptr(1), ptr(7), ptr(n), ptr(100)} {
		var gotIDs, gotNames []string
		in := &regions.ListKeysInput{Limit: limit}
		if limit != nil && *limit == 1 {
			in.Limit = ptr(13)
		}
		for more := true; more; {
			out := regionstest.Must[regions.ListKeysOutput](t, f, "ListKeys", in)
			for _, k := range out.Keys {
				gotIDs = append(gotIDs, k.KeyID)
				if k.KeyArn != "arn:aws:kms:us-east-2:111122223333:key/"+k.KeyID {
					t.Errorf("ARN %s", k.KeyArn)
				}
			}
			if more = out.Truncated; more != (out.NextMarker != "") {
				t.Fatalf("Truncated is %t, NextMarker %q", out.Truncated, out.NextMarker)
			}
			in.Marker = out.NextMarker
		}
		lin := &regions.ListAliasesInput{Limit: limit}
		if limit != nil && *limit > 100 {
			lin.Limit = ptr(100)
		}
		for more := true; more; {
			out := regionstest.Must[regions.ListAliasesOutput](t, f, "ListAliases", lin)
			for _, a := range out.Aliases {
				gotNames = append(gotNames, a.AliasName)
			}
			more, lin.Marker = out.Truncated, out.NextMarker
		}
		if !slices.Equal(gotIDs, ids) || !slices.Equal(gotNames, names) {
			t.Errorf("listed %d keys and %d aliases", len(gotIDs), len(gotNames))
		}
	}
	one := regionstest.Must[regions.ListAliasesOutput](t, f, "ListAliases", &regions.ListAliasesInput{KeyID: ids[5]})
	if len(one.Aliases) != 1 || one.Aliases[0].AliasName != "alias/005" || one.Aliases[0].TargetKeyID != ids[5] ||
		one.Aliases[0].AliasArn != "arn:aws:kms:us-east-2:111122223333:alias/005" || one.Truncated {
		t.Errorf("aliases of one key: %+v", one)
	}
	stranger := regionstest.Caller("999988887777", "eve", aliceKey, policy.Administrator)
	theirs, err := regionstest.CallAs[regions.ListKeysOutput](t, f, stranger, "ListKeys", &regions.ListKeysInput{})
	if err != nil || len(theirs.Keys) != 0 {
		t.Errorf("another account lists %v, %v", theirs, err)
	}
}

// A key has at most 50 aliases, by either way to get one; an alias moves, keeps its creation date, and goes.
func TestAliases(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key, other := f.CreateKey(t, true), f.CreateKey(t, true)
	for i := range 50 {
		regionstest.Must[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: fmt.Sprintf("alias/%d", i), TargetKeyID: key.KeyID})
	}
	limit := "Too many aliases for key " + key.Arn + ": the limit is 50."
	_, err := regionstest.Call[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: "alias/x", TargetKeyID: key.KeyID})
	wantError(t, "the 51st", err, "LimitExceededException", limit)
	regionstest.Must[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: "alias/x", TargetKeyID: other.KeyID})
	_, err = regionstest.Call[struct{}](t, f, "UpdateAlias", &regions.AliasInput{AliasName: "alias/x", TargetKeyID: key.KeyID})
	wantError(t, "moved here", err, "LimitExceededException", limit)
	regionstest.Must[struct{}](t, f, "UpdateAlias", &regions.AliasInput{AliasName: "alias/7", TargetKeyID: key.KeyID}) // its own
	f.Clock.Advance(time.Hour)
	regionstest.Must[struct{}](t, f, "UpdateAlias", &regions.AliasInput{AliasName: "alias/7", TargetKeyID: other.KeyID})
	regionstest.Must[struct{}](t, f, "UpdateAlias", &regions.AliasInput{AliasName: "alias/x", TargetKeyID: key.KeyID}) // there is room
	list := regionstest.Must[regions.ListAliasesOutput](t, f, "ListAliases", &regions.ListAliasesInput{KeyID: other.KeyID})
	if len(list.Aliases) != 1 || list.Aliases[0].AliasName != "alias/7" || list.Aliases[0].CreationDate == list.Aliases[0].LastUpdatedDate {
		t.Errorf("%+v", list)
	}
	regionstest.Must[struct{}](t, f, "DeleteAlias", &regions.DeleteAliasInput{AliasName: "alias/7"})
	_, err = regionstest.Call[regions.DescribeKeyOutput](t, f, "DescribeKey", &regions.DescribeKeyInput{KeyID: "alias/7"})
	wantError(t, "deleted alias", err, "NotFoundException", "Alias arn:aws:kms:us-east-2:111122223333:alias/7 is not found.")
	regionstest.Must[regions.ScheduleKeyDeletionOutput](t, f, "ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: key.KeyID})
	_, err = regionstest.Call[regions.EncryptOutput](t, f, "Encrypt", &regions.EncryptInput{KeyID: "alias/8", Plaintext: []byte("x")})
	wantError(t, "alias of a key to be deleted", err, "KMSInvalidStateException", key.Arn+" is pending deletion.")
}

// An alias does not move to a key of another type or usage; it can be deleted and made again.
func TestAliasStaysOfItsKind(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	keys := map[string]regions.KeyMetadata{"symmetric": f.CreateKey(t, false)}
	for name, k := range map[string][2]string{
		"MAC": {"HMAC_256", "GENERATE_VERIFY_MAC"}, "signing": {"ECC_NIST_P256", "SIGN_VERIFY"}, "agreeing": {"ECC_NIST_P256", "KEY_AGREEMENT"},
		"another curve": {"ECC_NIST_P384", "SIGN_VERIFY"}, "RSA, opening": {"RSA_2048", "ENCRYPT_DECRYPT"},
	} {
		keys[name] = createSpec(t, f, k[0], k[1], false)
	}
	for from, a := range keys {
		regionstest.Must[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: "alias/a", TargetKeyID: a.KeyID})
		for to, b := range keys {
			if from == to || from == "another curve" {
				continue
			}
			_, err := regionstest.Call[struct{}](t, f, "UpdateAlias", &regions.AliasInput{AliasName: "alias/a", TargetKeyID: b.KeyID})
			if from == "signing" && to == "another curve" {
				if err != nil {
					t.Error(err)
				}
				regionstest.Must[struct{}](t, f, "UpdateAlias", &regions.AliasInput{AliasName: "alias/a", TargetKeyID: a.KeyID})
				continue
			}
			wantError(t, from+" to "+to, err, "ValidationException",
				"Alias alias/a can't be updated: "+a.Arn+" and "+b.Arn+" are not of the same type and key usage.")
		}
		regionstest.Must[struct{}](t, f, "DeleteAlias", &regions.DeleteAliasInput{AliasName: "alias/a"})
	}
}

// A deletion is scheduled for a day, shown, and cancelled.
func TestScheduleAndCancel(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	for _, days := range []*int{nil, ptr(7), ptr(30)} {
		key := f.CreateKey(t, true)
		want := 30
		if days != nil {
			want = *days
		}
		out := regionstest.Must[regions.ScheduleKeyDeletionOutput](t, f, "ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: key.Arn, PendingWindowInDays: days})
		k := f.Key(t, key.KeyID)
		if due := f.Clock.Now().AddDate(0, 0, want).UnixMilli(); k.DeletionDate != due || out.KeyState != "PendingDeletion" ||
			out.PendingWindowInDays != want || out.KeyID != key.Arn {
			t.Errorf("%+v, due %d, want %d", out, k.DeletionDate, due)
		}
		f.Reopen(t)
		m := regionstest.Must[regions.DescribeKeyOutput](t, f, "DescribeKey", &regions.DescribeKeyInput{KeyID: key.KeyID}).KeyMetadata
		if m.DeletionDate != out.DeletionDate || m.Enabled || m.PendingDeletionWindowInDays != 0 {
			t.Errorf("DescribeKey: %+v", m)
		}
		regionstest.Must[regions.CancelKeyDeletionOutput](t, f, "CancelKeyDeletion", &regions.KeyInput{KeyID: key.KeyID})
		if k := f.Key(t, key.KeyID); k.State != regions.StateDisabled || k.DeletionDate != 0 || k.PendingDays != 0 {
			t.Errorf("cancelled: %+v", k)
		}
	}
}

// stripPointer removes addresses from what %+v printed.
func stripPointer(s string) string { return pointer.ReplaceAllString(s, "PTR") }

var pointer = regexp.MustCompile(`0x[0-9a-f]+`)
