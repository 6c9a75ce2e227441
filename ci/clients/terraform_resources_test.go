package clients

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

const terraformPolicy = `{"Version":"2012-10-17","Id":"terraform","Statement":[
	{"Sid":"Own","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}`

// aws_kms_key: one with everything, and one of each kind of spec with nothing but its spec, as their configurations are.
func TestTerraformKey(t *testing.T) {
	t.Parallel()
	tf := newTerraform(t, primaryRegion)
	tags := map[string]string{"team": "payments", "cost": "1"}
	id := tf.createKey(&kms.CreateKeyInput{
		KeySpec: types.KeySpecSymmetricDefault, KeyUsage: types.KeyUsageTypeEncryptDecrypt, MultiRegion: aws.Bool(true),
		Description: aws.String("made by Terraform"), Policy: aws.String(terraformPolicy), Tags: tagList(tags),
	}, 180, true)
	k, found := tf.read(id)
	if !found || !k.rotation || *k.days != 180 || !k.meta.Enabled || *k.meta.Description != "made by Terraform" ||
		!reflect.DeepEqual(k.tags, tags) || !sameJSON(t, k.policy, terraformPolicy) {
		t.Fatalf("%+v", k)
	}
	if !*k.meta.MultiRegion || k.meta.MultiRegionConfiguration.MultiRegionKeyType != types.MultiRegionKeyTypePrimary {
		t.Errorf("no multi-Region primary key: %+v", k.meta.MultiRegionConfiguration)
	}

	// Changes, in the provider's order; what is turned off is turned off last, what is turned on first.
	tf.retag(id, tags, map[string]string{"team": "audit", "env": "prod"})
	tf.rotate(id, true, 90)
	tf.rotate(id, false, 0)
	tf.describe(id, "")
	tf.putPolicy(id, strings.Replace(terraformPolicy, `"Id":"terraform"`, `"Id":"changed"`, 1))
	tf.enable(id, false)
	tf.enable(id, true)
	tf.rotate(id, true, 0)
	tf.enable(id, false)
	if k, found = tf.read(id); !found || k.meta.Enabled || !k.rotation || *k.meta.Description != "" || k.tags["env"] != "prod" {
		t.Errorf("%+v", k)
	}
	tf.destroy(id, 7)
	if _, found := tf.read(id); found {
		t.Error("the key is there when it was destroyed")
	}
	tf.destroy(id, 7)
	tf.destroy("00000000-0000-0000-0000-000000000000", 7)

	for spec, usage := range map[types.KeySpec]types.KeyUsageType{
		types.KeySpecEccNistP384: types.KeyUsageTypeSignVerify, types.KeySpecHmac256: types.KeyUsageTypeGenerateVerifyMac,
		types.KeySpecRsa2048: types.KeyUsageTypeEncryptDecrypt, types.KeySpecEccNistP256: types.KeyUsageTypeKeyAgreement,
	} {
		id := tf.createKey(&kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage}, 0, false)
		k, found := tf.read(id)
		if !found || k.meta.KeySpec != spec || k.meta.KeyUsage != usage || k.rotation || k.meta.Enabled || *k.meta.Description != "" || len(k.tags) != 0 {
			t.Errorf("%s: %+v", spec, k)
		}
		tf.destroy(id, 30)
	}
}

// createKey makes a key, with rotation unless days is 0.
func (tf terraform) createKey(in *kms.CreateKeyInput, days int32, enabled bool) string {
	tf.Helper()
	out, err := tf.kms.CreateKey(tf.Context(), in)
	tf.did("CreateKey", err)
	id := *out.KeyMetadata.KeyId
	if days > 0 {
		tf.rotate(id, true, days)
	}
	if !enabled {
		tf.enable(id, false)
	}
	if in.Policy != nil {
		tf.settlesPolicy(id, *in.Policy)
	}
	if len(in.Tags) > 0 {
		tags := map[string]string{}
		for _, tag := range in.Tags {
			tags[*tag.TagKey] = *tag.TagValue
		}
		tf.settlesTags(id, tags)
	}
	return id
}

// aws_kms_replica_key, of a primary made as aws_kms_key; both are destroyed, the replica first.
func TestTerraformReplicaKey(t *testing.T) {
	t.Parallel()
	primary, replica := newTerraform(t, primaryRegion), newTerraform(t, replicaRegion)
	id := primary.createKey(&kms.CreateKeyInput{
		KeySpec: types.KeySpecSymmetricDefault, KeyUsage: types.KeyUsageTypeEncryptDecrypt, MultiRegion: aws.Bool(true),
	}, 365, true)
	made, _ := primary.read(id)
	tags := map[string]string{"Name": "replica"}

	// ReplicateKey goes to the primary's Region; everything after it to the replica's.
	out, err := primary.kms.ReplicateKey(t.Context(), &kms.ReplicateKeyInput{
		KeyId: &id, ReplicaRegion: aws.String(replicaRegion), Tags: tagList(tags), Description: aws.String("a replica"),
		Policy: aws.String(terraformPolicy),
	})
	replica.did("ReplicateKey", err)
	if *out.ReplicaKeyMetadata.KeyId != id {
		t.Fatalf("%+v", out.ReplicaKeyMetadata)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		meta, found := replica.find(id)
		if found && meta.KeyState == types.KeyStateEnabled {
			break
		}
		if found && meta.KeyState != types.KeyStateCreating || time.Now().After(deadline) {
			t.Fatalf("the replica: %+v", meta)
		}
	}
	replica.enable(id, false)
	replica.settlesPolicy(id, terraformPolicy)
	replica.settlesTags(id, tags)
	k, found := replica.read(id)
	if !found || k.meta.KeyManager != types.KeyManagerTypeCustomer || k.meta.Origin != types.OriginTypeAwsKms ||
		k.meta.MultiRegionConfiguration.MultiRegionKeyType != types.MultiRegionKeyTypeReplica ||
		*k.meta.MultiRegionConfiguration.PrimaryKey.Arn != *made.meta.Arn {
		t.Fatalf("what the provider refuses to manage: %+v %+v", k.meta, k.meta.MultiRegionConfiguration)
	}
	if *k.meta.Description != "a replica" || !k.rotation || k.meta.KeySpec != made.meta.KeySpec || k.meta.KeyUsage != made.meta.KeyUsage {
		t.Errorf("%+v", k)
	}

	replica.enable(id, true)
	replica.describe(id, "changed")
	replica.putPolicy(id, strings.Replace(terraformPolicy, `"Id":"terraform"`, `"Id":"changed"`, 1))
	replica.retag(id, tags, map[string]string{})

	replica.destroy(id, 7)
	replica.destroy(id, 7)
	primary.destroy(id, 7)
	if _, found := primary.find(id); found {
		t.Error("the primary is there when it was destroyed")
	}
	if k, found := replica.read(id); found {
		t.Errorf("the replica is there when it was destroyed: %+v", k)
	}
}

// aws_kms_alias, which finds its alias among all of the Region.
func TestTerraformAlias(t *testing.T) {
	t.Parallel()
	tf := newTerraform(t, primaryRegion)
	in := &kms.CreateKeyInput{KeySpec: types.KeySpecSymmetricDefault, KeyUsage: types.KeyUsageTypeEncryptDecrypt}
	one, two := tf.createKey(in, 0, true), tf.createKey(in, 0, true)
	name := "alias/terraform/" + one[:8]
	_, err := tf.kms.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &one})
	tf.did("CreateAlias", err)
	found := tf.alias(name)
	if found == nil || *found.TargetKeyId != one {
		t.Fatalf("%+v", found)
	}
	// The provider makes the key's ARN of the alias's.
	if a, err := arn.Parse(*found.AliasArn); err != nil || a.Resource != name || a.Region != primaryRegion {
		t.Errorf("%s: %v", *found.AliasArn, err)
	}
	_, err = tf.kms.UpdateAlias(t.Context(), &kms.UpdateAliasInput{AliasName: &name, TargetKeyId: &two})
	tf.did("UpdateAlias", err)
	if found = tf.alias(name); found == nil || *found.TargetKeyId != two {
		t.Errorf("%+v", found)
	}
	_, err = tf.kms.DeleteAlias(t.Context(), &kms.DeleteAliasInput{AliasName: &name})
	tf.did("DeleteAlias", err)
	if found := tf.alias(name); found != nil {
		t.Errorf("%+v", found)
	}
	if _, err = tf.kms.DeleteAlias(t.Context(), &kms.DeleteAliasInput{AliasName: &name}); !isA[*types.NotFoundException](err) {
		t.Errorf("an alias that is gone: %v", err)
	}
	tf.destroy(one, 7)
	tf.destroy(two, 7)
}

func (tf terraform) alias(name string) *types.AliasListEntry {
	tf.Helper()
	pages := kms.NewListAliasesPaginator(tf.kms, &kms.ListAliasesInput{Limit: aws.Int32(3)}) // few, to have several pages
	for pages.HasMorePages() {
		page, err := pages.NextPage(tf.Context())
		tf.did("ListAliases", err)
		for _, a := range page.Aliases {
			if *a.AliasName == name {
				return &a
			}
		}
	}
	return nil
}

// aws_kms_grant, destroyed by revoking and, with retire_on_delete, by retiring.
func TestTerraformGrant(t *testing.T) {
	t.Parallel()
	tf := newTerraform(t, primaryRegion)
	id := tf.createKey(&kms.CreateKeyInput{KeySpec: types.KeySpecSymmetricDefault, KeyUsage: types.KeyUsageTypeEncryptDecrypt}, 0, true)
	for _, retires := range []bool{false, true} {
		in := &kms.CreateGrantInput{
			KeyId: &id, Name: aws.String("terraform"), GranteePrincipal: aws.String("arn:aws:iam::111122223333:user/bob"),
			RetiringPrincipal: aws.String("arn:aws:iam::111122223333:user/administrator"),
			Operations:        []types.GrantOperation{types.GrantOperationEncrypt, types.GrantOperationDecrypt},
			Constraints:       &types.GrantConstraints{EncryptionContextEquals: map[string]string{"dept": "a"}},
		}
		out, err := tf.kms.CreateGrant(t.Context(), in)
		tf.did("CreateGrant", err)
		grant := tf.grant(id, *out.GrantId)
		if grant == nil || *grant.Name != *in.Name || !reflect.DeepEqual(grant.Constraints, in.Constraints) || len(grant.Operations) != 2 {
			t.Fatalf("%+v", grant)
		}
		// The provider takes a principal that is no ARN for one that was deleted, and waits.
		if *grant.GranteePrincipal != *in.GranteePrincipal || *grant.RetiringPrincipal != *in.RetiringPrincipal {
			t.Errorf("%s %s", *grant.GranteePrincipal, *grant.RetiringPrincipal)
		}
		end := func() error {
			if retires {
				_, err := tf.kms.RetireGrant(t.Context(), &kms.RetireGrantInput{KeyId: &id, GrantId: out.GrantId})
				return err
			}
			_, err := tf.kms.RevokeGrant(t.Context(), &kms.RevokeGrantInput{KeyId: &id, GrantId: out.GrantId})
			return err
		}
		tf.did("end the grant", end())
		if grant := tf.grant(id, *out.GrantId); grant != nil {
			t.Errorf("%+v", grant)
		}
		if err := end(); !isA[*types.NotFoundException](err) {
			t.Errorf("a grant that is gone: %v", err)
		}
	}
	tf.destroy(id, 7)
}

func (tf terraform) grant(id, grant string) *types.GrantListEntry {
	tf.Helper()
	pages := kms.NewListGrantsPaginator(tf.kms, &kms.ListGrantsInput{KeyId: &id, Limit: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(tf.Context())
		tf.did("ListGrants", err)
		for _, g := range page.Grants {
			if *g.GrantId == grant {
				return &g
			}
		}
	}
	return nil
}
