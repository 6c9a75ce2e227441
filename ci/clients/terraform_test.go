package clients

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// terraform makes the calls that Terraform's provider for AWS makes, in its order, with its conditions for going on and its
// reading of errors; that is what has to hold here, not the provider's code. Its pauses are left out, and what it calls
// again because AWS is consistent only after a while has to succeed at once.
//
// Read in github.com/hashicorp/terraform-provider-aws, folder internal/service/kms:
//   - key.go at 00a35305dc1b297a6fcdecdfbba33f1e63c3da39: aws_kms_key, and what waits for state, policy, rotation and deletion
//   - replica_key.go at 06b540fba1eb07c6ecdb72cb8947e818b301c21c, wait.go at 6c6ae512efa86dccdb1a5401d5c71a672b839792:
//     aws_kms_replica_key, and what waits for replicas and tags
//   - alias.go at 01c08000ddb14181b5bd19201d8fca311dc570e4, find.go at 3a50f447ebbc57b86a7de946ef44c6131c27b3ed: aws_kms_alias
//   - grant.go at 01f431114674c27cf790fafb67ac274bf8f765e1: aws_kms_grant
//   - tags_gen.go at 5f3049ece5df0da16d4e56d4887f9d156fdccacd: changes of tags
type terraform struct {
	*testing.T
	region string
	kms    *kms.Client
}

func newTerraform(t *testing.T, region string) terraform {
	t.Helper()
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion(region), config.WithSharedConfigFiles([]string{}),
		config.WithSharedCredentialsFiles([]string{dev.credentials}))
	if err != nil {
		t.Fatal(err)
	}
	return terraform{t, region, kms.NewFromConfig(cfg, func(o *kms.Options) { o.BaseEndpoint = &dev.endpoint })}
}

// did fails the test if a call did not succeed.
func (tf terraform) did(what string, err error) {
	tf.Helper()
	if err != nil {
		tf.Fatalf("%s in %s: %v", what, tf.region, err)
	}
}

// settles looks several times in a row, as the provider does to be sure that a change has reached all of AWS.
func (tf terraform) settles(what string, times int, check func() bool) {
	tf.Helper()
	for range times {
		if !check() {
			tf.Fatalf("%s is not so in %s", what, tf.region)
		}
	}
}

// How often the provider wants to see a change in a row.
const (
	seenState  = 15
	seenOthers = 5
)

// key is what the provider reads of a key.
type key struct {
	meta     *types.KeyMetadata
	policy   string
	rotation bool
	days     *int32
	tags     map[string]string
}

// find reads a key's metadata. A key that waits for its deletion is gone, as is one that isn't found.
func (tf terraform) find(id string) (*types.KeyMetadata, bool) {
	tf.Helper()
	out, err := tf.kms.DescribeKey(tf.Context(), &kms.DescribeKeyInput{KeyId: &id})
	if isA[*types.NotFoundException](err) {
		return nil, false
	}
	tf.did("DescribeKey", err)
	state := out.KeyMetadata.KeyState
	return out.KeyMetadata, state != types.KeyStatePendingDeletion && state != types.KeyStatePendingReplicaDeletion
}

// read is what plan and refresh do.
func (tf terraform) read(id string) (key, bool) {
	tf.Helper()
	meta, found := tf.find(id)
	if !found {
		return key{}, false
	}
	k := key{meta: meta, policy: tf.policy(id), tags: tf.tags(id)}
	if meta.Origin == types.OriginTypeAwsKms { // of whatever spec
		status, err := tf.kms.GetKeyRotationStatus(tf.Context(), &kms.GetKeyRotationStatusInput{KeyId: &id})
		tf.did("GetKeyRotationStatus", err)
		k.rotation, k.days = status.KeyRotationEnabled, status.RotationPeriodInDays
	}
	return k, true
}

func (tf terraform) policy(id string) string {
	tf.Helper()
	out, err := tf.kms.GetKeyPolicy(tf.Context(), &kms.GetKeyPolicyInput{KeyId: &id, PolicyName: aws.String("default")})
	tf.did("GetKeyPolicy", err)
	return *out.Policy
}

func (tf terraform) tags(id string) map[string]string {
	tf.Helper()
	tags := map[string]string{}
	pages := kms.NewListResourceTagsPaginator(tf.kms, &kms.ListResourceTagsInput{KeyId: &id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(tf.Context())
		tf.did("ListResourceTags", err)
		for _, tag := range page.Tags {
			tags[*tag.TagKey] = *tag.TagValue
		}
	}
	return tags
}

// enable turns a key on or off.
func (tf terraform) enable(id string, enabled bool) {
	tf.Helper()
	if enabled {
		_, err := tf.kms.EnableKey(tf.Context(), &kms.EnableKeyInput{KeyId: &id})
		tf.did("EnableKey", err)
	} else {
		_, err := tf.kms.DisableKey(tf.Context(), &kms.DisableKeyInput{KeyId: &id})
		tf.did("DisableKey", err)
	}
	tf.settles("the key's state", seenState, func() bool {
		meta, found := tf.find(id)
		return found && meta.Enabled == enabled
	})
}

// rotate turns automatic rotation on, with a period unless days is 0, or off.
func (tf terraform) rotate(id string, enabled bool, days int32) {
	tf.Helper()
	if enabled {
		in := &kms.EnableKeyRotationInput{KeyId: &id}
		if days > 0 {
			in.RotationPeriodInDays = &days
		}
		_, err := tf.kms.EnableKeyRotation(tf.Context(), in)
		tf.did("EnableKeyRotation", err)
	} else {
		_, err := tf.kms.DisableKeyRotation(tf.Context(), &kms.DisableKeyRotationInput{KeyId: &id})
		tf.did("DisableKeyRotation", err)
	}
	tf.settles("the key's rotation", seenOthers, func() bool {
		k, found := tf.read(id)
		return found && k.rotation == enabled && (days == 0 || k.days == nil || *k.days == days)
	})
}

func (tf terraform) describe(id, description string) {
	tf.Helper()
	_, err := tf.kms.UpdateKeyDescription(tf.Context(), &kms.UpdateKeyDescriptionInput{KeyId: &id, Description: &description})
	tf.did("UpdateKeyDescription", err)
	tf.settles("the key's description", seenOthers, func() bool {
		meta, found := tf.find(id)
		return found && *meta.Description == description
	})
}

func (tf terraform) putPolicy(id, policy string) {
	tf.Helper()
	_, err := tf.kms.PutKeyPolicy(tf.Context(), &kms.PutKeyPolicyInput{KeyId: &id, PolicyName: aws.String("default"), Policy: &policy})
	tf.did("PutKeyPolicy", err)
	tf.settlesPolicy(id, policy)
}

func (tf terraform) settlesPolicy(id, policy string) {
	tf.Helper()
	tf.settles("the key's policy", seenOthers, func() bool { return sameJSON(tf.T, tf.policy(id), policy) })
}

// retag takes away first, then adds what is new or changed.
func (tf terraform) retag(id string, from, to map[string]string) {
	tf.Helper()
	var removed []string
	for name := range from {
		if _, kept := to[name]; !kept {
			removed = append(removed, name)
		}
	}
	changed := map[string]string{}
	for name, value := range to {
		if old, had := from[name]; !had || old != value {
			changed[name] = value
		}
	}
	if len(removed) > 0 {
		_, err := tf.kms.UntagResource(tf.Context(), &kms.UntagResourceInput{KeyId: &id, TagKeys: removed})
		tf.did("UntagResource", err)
	}
	if len(changed) > 0 {
		_, err := tf.kms.TagResource(tf.Context(), &kms.TagResourceInput{KeyId: &id, Tags: tagList(changed)})
		tf.did("TagResource", err)
	}
	tf.settlesTags(id, to)
}

func (tf terraform) settlesTags(id string, tags map[string]string) {
	tf.Helper()
	tf.settles("the key's tags", seenOthers, func() bool { return reflect.DeepEqual(tf.tags(id), tags) })
}

// destroy schedules the deletion. That the key is not there, or is being deleted already, is well.
func (tf terraform) destroy(id string, days int32) {
	tf.Helper()
	_, err := tf.kms.ScheduleKeyDeletion(tf.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: &days})
	var state *types.KMSInvalidStateException
	if isA[*types.NotFoundException](err) || errors.As(err, &state) && strings.Contains(state.ErrorMessage(), "is pending deletion") {
		return
	}
	tf.did("ScheduleKeyDeletion", err)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		meta, found := tf.find(id)
		if !found {
			return
		}
		// The provider takes any other state for a failure.
		if meta.KeyState != types.KeyStateEnabled && meta.KeyState != types.KeyStateDisabled || time.Now().After(deadline) {
			tf.Fatalf("%s is %s when it should be gone", id, meta.KeyState)
		}
	}
}

func tagList(tags map[string]string) []types.Tag {
	var list []types.Tag
	for name, value := range tags {
		list = append(list, types.Tag{TagKey: aws.String(name), TagValue: aws.String(value)})
	}
	return list
}

// sameJSON reports whether two documents are the same. The provider's comparison of policies allows more.
func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal([]byte(a), &x), json.Unmarshal([]byte(b), &y)); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func isA[T error](err error) bool {
	var target T
	return errors.As(err, &target)
}
