package awsjson_test

import (
	"bytes"
	"context"
	"encoding/base64"
	stdjson "encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"antipode/regions"
	"antipode/regions/policy"
	"antipode/regions/regionstest"
)

// recorder keeps the body of the last answer.
type recorder struct{ last []byte }

func (r *recorder) Do(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultClient.Do(req) //nolint:gosec // the test's own server
	if err != nil {
		return nil, err
	}
	r.last, err = io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(r.last))
	return resp, nil
}

func sdkClient(url, region string, transport kms.HTTPClient) *kms.Client {
	return kms.New(kms.Options{
		Region: region, BaseEndpoint: aws.String(url), HTTPClient: transport, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(regionstest.AccessKeyID, regionstest.Secret, ""),
	})
}

// sdkCall makes a call with the official client and compares its answer, member by member, with what was on the wire.
func sdkCall[In, Out any](t *testing.T, r *recorder, seen map[string]bool, name string,
	fn func(context.Context, *In, ...func(*kms.Options)) (*Out, error), in *In,
) *Out {
	t.Helper()
	out, err := fn(t.Context(), in)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	seen[name] = true
	var wire any = map[string]any{}
	if len(r.last) > 0 {
		dec := stdjson.NewDecoder(bytes.NewReader(r.last))
		dec.UseNumber()
		if err := dec.Decode(&wire); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	sameValue(t, name, wire, reflect.ValueOf(out))
	return out
}

// sameValue fails the test unless the official client made v of the JSON value wire: nothing lost, nothing unknown.
func sameValue(t *testing.T, path string, wire any, v reflect.Value) {
	t.Helper()
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			t.Errorf("%s: the client has nothing for %v", path, wire)
			return
		}
		v = v.Elem()
	}
	if at, isTime := v.Interface().(time.Time); isTime {
		n, isNumber := wire.(stdjson.Number)
		seconds, err := n.Float64()
		if !isNumber || err != nil || math.Abs(seconds-float64(at.UnixMilli())/1000) > 0.001 {
			t.Errorf("%s: %v became %v", path, wire, at)
		}
		return
	}
	switch w := wire.(type) {
	case map[string]any:
		for name, value := range w {
			if v.Kind() == reflect.Map {
				sameValue(t, path+"."+name, value, v.MapIndex(reflect.ValueOf(name)))
				continue
			}
			field := v.FieldByName(name)
			if !field.IsValid() {
				t.Errorf("%s.%s: the client knows no such member", path, name)
				continue
			}
			sameValue(t, path+"."+name, value, field)
		}
	case []any:
		if v.Len() != len(w) {
			t.Errorf("%s: %d elements became %d", path, len(w), v.Len())
			return
		}
		for i, e := range w {
			sameValue(t, path+"[]", e, v.Index(i))
		}
	case string:
		got := v.String()
		if b, isBlob := v.Interface().([]byte); isBlob {
			got = base64.StdEncoding.EncodeToString(b)
		}
		if got != w {
			t.Errorf("%s: %q became %q", path, w, got)
		}
	case bool:
		if v.Bool() != w {
			t.Errorf("%s: %v became %v", path, w, v)
		}
	case stdjson.Number:
		if n, err := w.Int64(); err != nil || v.Int() != n {
			t.Errorf("%s: %v became %v", path, w, v)
		}
	default:
		t.Errorf("%s: %v on the wire", path, wire)
	}
}

// The official client reads each member of each answer of every operation that is built.
func TestSDKAnswers(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	r, br := &recorder{}, &recorder{}
	c, b := sdkClient(p.url, home, r), sdkClient(p.url, away, br)
	seen := map[string]bool{}
	tags := []types.Tag{{TagKey: aws.String("team"), TagValue: aws.String("blue é")}}
	made := sdkCall(t, r, seen, "CreateKey", c.CreateKey, &kms.CreateKeyInput{
		MultiRegion: aws.Bool(true), Description: aws.String("über <&>"), Tags: tags,
		KeySpec: types.KeySpecSymmetricDefault, KeyUsage: types.KeyUsageTypeEncryptDecrypt, Origin: types.OriginTypeAwsKms,
	})
	id := made.KeyMetadata.KeyId
	if made.KeyMetadata.MultiRegionConfiguration == nil || !made.KeyMetadata.Enabled || aws.ToString(made.KeyMetadata.Description) != "über <&>" {
		t.Errorf("%+v", made.KeyMetadata)
	}
	replica := sdkCall(t, r, seen, "ReplicateKey", c.ReplicateKey, &kms.ReplicateKeyInput{
		KeyId: id, ReplicaRegion: aws.String(away), Description: aws.String("copy"), Tags: tags,
	})
	if len(replica.ReplicaTags) != 1 || replica.ReplicaKeyMetadata.KeyState != types.KeyStateCreating {
		t.Errorf("%+v", replica)
	}
	sdkCall(t, r, seen, "DescribeKey", c.DescribeKey, &kms.DescribeKeyInput{KeyId: id})
	there := sdkCall(t, br, seen, "DescribeKey", b.DescribeKey, &kms.DescribeKeyInput{KeyId: id})
	if there.KeyMetadata.KeyState != types.KeyStateEnabled || *there.KeyMetadata.CurrentKeyMaterialId != *made.KeyMetadata.CurrentKeyMaterialId {
		t.Errorf("%+v", there.KeyMetadata)
	}
	pairs := map[string]string{"a": "1", "é": "\u2028"}
	sealed := sdkCall(t, r, seen, "Encrypt", c.Encrypt, &kms.EncryptInput{KeyId: id, Plaintext: []byte{0, 255}, EncryptionContext: pairs})
	opened := sdkCall(t, br, seen, "Decrypt", b.Decrypt, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: pairs})
	if !bytes.Equal(opened.Plaintext, []byte{0, 255}) {
		t.Errorf("decrypted %x", opened.Plaintext)
	}
	sdkCall(t, r, seen, "ReEncrypt", c.ReEncrypt, &kms.ReEncryptInput{
		CiphertextBlob: sealed.CiphertextBlob, SourceEncryptionContext: pairs, DestinationKeyId: id,
	})
	dk := sdkCall(t, r, seen, "GenerateDataKey", c.GenerateDataKey, &kms.GenerateDataKeyInput{KeyId: id, KeySpec: types.DataKeySpecAes256})
	if len(dk.Plaintext) != 32 {
		t.Errorf("data key of %d bytes", len(dk.Plaintext))
	}
	sdkCall(t, r, seen, "GenerateDataKeyWithoutPlaintext", c.GenerateDataKeyWithoutPlaintext, &kms.GenerateDataKeyWithoutPlaintextInput{
		KeyId: id, NumberOfBytes: aws.Int32(24),
	})
	if out := sdkCall(t, r, seen, "GenerateRandom", c.GenerateRandom, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(9)}); len(out.Plaintext) != 9 {
		t.Errorf("%d random bytes", len(out.Plaintext))
	}
	sdkCall(t, r, seen, "CreateAlias", c.CreateAlias, &kms.CreateAliasInput{AliasName: aws.String("alias/a"), TargetKeyId: id})
	sdkCall(t, r, seen, "CreateAlias", c.CreateAlias, &kms.CreateAliasInput{AliasName: aws.String("alias/b"), TargetKeyId: id})
	sdkCall(t, r, seen, "UpdateAlias", c.UpdateAlias, &kms.UpdateAliasInput{AliasName: aws.String("alias/a"), TargetKeyId: id})
	page := sdkCall(t, r, seen, "ListAliases", c.ListAliases, &kms.ListAliasesInput{KeyId: id, Limit: aws.Int32(1)})
	if !page.Truncated || len(page.Aliases) != 1 || page.NextMarker == nil {
		t.Errorf("%+v", page)
	}
	sdkCall(t, r, seen, "ListAliases", c.ListAliases, &kms.ListAliasesInput{Marker: page.NextMarker})
	sdkCall(t, r, seen, "DeleteAlias", c.DeleteAlias, &kms.DeleteAliasInput{AliasName: aws.String("alias/a")})
	if out := sdkCall(t, r, seen, "ListKeys", c.ListKeys, &kms.ListKeysInput{}); len(out.Keys) != 1 || *out.Keys[0].KeyId != *id {
		t.Errorf("%+v", out)
	}
	sdkCall(t, r, seen, "PutKeyPolicy", c.PutKeyPolicy, &kms.PutKeyPolicyInput{KeyId: id, Policy: aws.String(policy.Default(regionstest.Account))})
	if out := sdkCall(t, r, seen, "ListKeyPolicies", c.ListKeyPolicies, &kms.ListKeyPoliciesInput{KeyId: id}); len(out.PolicyNames) != 1 {
		t.Errorf("%+v", out)
	}
	sdkCall(t, r, seen, "GetKeyPolicy", c.GetKeyPolicy, &kms.GetKeyPolicyInput{KeyId: id})
	sdkCall(t, r, seen, "TagResource", c.TagResource, &kms.TagResourceInput{KeyId: id, Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("")}}})
	some := sdkCall(t, r, seen, "ListResourceTags", c.ListResourceTags, &kms.ListResourceTagsInput{KeyId: id, Limit: aws.Int32(1)})
	if !some.Truncated || some.NextMarker == nil || *some.Tags[0].TagKey != "a" {
		t.Errorf("%+v", some)
	}
	rest := sdkCall(t, r, seen, "ListResourceTags", c.ListResourceTags, &kms.ListResourceTagsInput{KeyId: id, Marker: some.NextMarker})
	if rest.Truncated || len(rest.Tags) != 1 || *rest.Tags[0].TagValue != "blue é" {
		t.Errorf("%+v", rest)
	}
	sdkCall(t, r, seen, "UntagResource", c.UntagResource, &kms.UntagResourceInput{KeyId: id, TagKeys: []string{"a"}})
	sdkCall(t, r, seen, "UpdateKeyDescription", c.UpdateKeyDescription, &kms.UpdateKeyDescriptionInput{KeyId: id, Description: aws.String("new")})
	if out := sdkCall(t, r, seen, "DescribeCustomKeyStores", c.DescribeCustomKeyStores, &kms.DescribeCustomKeyStoresInput{}); len(out.CustomKeyStores) != 0 {
		t.Errorf("%+v", out)
	}
	user := aws.String("arn:aws:iam::" + regionstest.Account + ":user/" + regionstest.UserName)
	grant := &kms.CreateGrantInput{
		KeyId: id, GranteePrincipal: user, RetiringPrincipal: user, Name: aws.String("worker"),
		Operations:  []types.GrantOperation{types.GrantOperationEncrypt, types.GrantOperationRetireGrant},
		Constraints: &types.GrantConstraints{EncryptionContextSubset: pairs, EncryptionContextEquals: pairs, SourceArn: aws.String("arn:aws:s3:::b*")},
	}
	first := sdkCall(t, r, seen, "CreateGrant", c.CreateGrant, grant)
	grant.Name = nil
	second := sdkCall(t, r, seen, "CreateGrant", c.CreateGrant, grant)
	grants := sdkCall(t, r, seen, "ListGrants", c.ListGrants, &kms.ListGrantsInput{KeyId: id, Limit: aws.Int32(1)})
	if !grants.Truncated || len(grants.Grants) != 1 || grants.NextMarker == nil || !maps.Equal(grants.Grants[0].Constraints.EncryptionContextEquals, pairs) {
		t.Errorf("%+v", grants)
	}
	mine := sdkCall(t, r, seen, "ListRetirableGrants", c.ListRetirableGrants, &kms.ListRetirableGrantsInput{RetiringPrincipal: user, Limit: aws.Int32(1)})
	more := sdkCall(t, r, seen, "ListRetirableGrants", c.ListRetirableGrants, &kms.ListRetirableGrantsInput{RetiringPrincipal: user, Marker: mine.NextMarker})
	if len(more.Grants) != 1 || more.Truncated || !mine.Truncated || *more.Grants[0].GrantId == *mine.Grants[0].GrantId {
		t.Errorf("%+v then %+v", mine, more)
	}
	sdkCall(t, r, seen, "RetireGrant", c.RetireGrant, &kms.RetireGrantInput{GrantToken: first.GrantToken})
	sdkCall(t, r, seen, "RevokeGrant", c.RevokeGrant, &kms.RevokeGrantInput{KeyId: id, GrantId: second.GrantId})
	if out := sdkCall(t, r, seen, "ListGrants", c.ListGrants, &kms.ListGrantsInput{KeyId: id}); len(out.Grants) != 0 {
		t.Errorf("%+v", out)
	}
	sdkRotation(t, r, seen, c)
	sdkCall(t, r, seen, "UpdatePrimaryRegion", c.UpdatePrimaryRegion, &kms.UpdatePrimaryRegionInput{KeyId: id, PrimaryRegion: aws.String(away)})
	if m := sdkCall(t, r, seen, "DescribeKey", c.DescribeKey, &kms.DescribeKeyInput{KeyId: id}).KeyMetadata; m.KeyState != types.KeyStateEnabled ||
		m.MultiRegionConfiguration.MultiRegionKeyType != types.MultiRegionKeyTypeReplica || *m.MultiRegionConfiguration.PrimaryKey.Region != away {
		t.Errorf("%+v", m)
	}
	sdkCall(t, br, seen, "UpdatePrimaryRegion", b.UpdatePrimaryRegion, &kms.UpdatePrimaryRegionInput{KeyId: id, PrimaryRegion: aws.String(home)})
	sdkCall(t, r, seen, "DisableKey", c.DisableKey, &kms.DisableKeyInput{KeyId: id})
	sdkCall(t, r, seen, "EnableKey", c.EnableKey, &kms.EnableKeyInput{KeyId: id})
	waits := sdkCall(t, r, seen, "ScheduleKeyDeletion", c.ScheduleKeyDeletion, &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(8)})
	if waits.KeyState != types.KeyStatePendingReplicaDeletion || waits.DeletionDate != nil {
		t.Errorf("%+v", waits)
	}
	sdkCall(t, r, seen, "DescribeKey", c.DescribeKey, &kms.DescribeKeyInput{KeyId: id})
	gone := sdkCall(t, br, seen, "ScheduleKeyDeletion", b.ScheduleKeyDeletion, &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(7)})
	if due := p.Clock.Now().AddDate(0, 0, 7); gone.DeletionDate == nil || !gone.DeletionDate.Equal(due) {
		t.Errorf("%+v, want %v", gone, due)
	}
	sdkCall(t, br, seen, "DescribeKey", b.DescribeKey, &kms.DescribeKeyInput{KeyId: id})
	sdkCall(t, r, seen, "CancelKeyDeletion", c.CancelKeyDeletion, &kms.CancelKeyDeletionInput{KeyId: id})
	sdkKeyPairs(t, r, seen, c)
	sdkImports(t, r, seen, c, p.Clock.Now())
	for _, op := range regions.Operations() {
		if op.Built() && !seen[op.Name] && !neverSucceed[op.Name] {
			t.Errorf("%s was not called", op.Name)
		}
	}
}

// Refusals are the exception types of the official client, with our text in them.
func TestSDKExceptions(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	c := sdkClient(f.url, home, http.DefaultClient)
	ctx := t.Context()
	key, off, doomed := f.CreateKey(t, false), f.CreateKey(t, false), f.CreateKey(t, false)
	regionstest.Must[struct{}](t, f.Fixture, "DisableKey", &regions.KeyInput{KeyID: off.KeyID})
	regionstest.Must[regions.ScheduleKeyDeletionOutput](t, f.Fixture, "ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: doomed.KeyID})
	regionstest.Must[struct{}](t, f.Fixture, "CreateAlias", &regions.AliasInput{AliasName: "alias/taken", TargetKeyID: key.KeyID})
	sealed := f.Encrypt(t, key.KeyID, []byte("x"))
	encrypt := func(id string) func() error {
		return func() error {
			_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
			return err
		}
	}
	decrypt := func(in *kms.DecryptInput) func() error {
		return func() error { _, err := c.Decrypt(ctx, in); return err }
	}
	alias := func(name, id string) func() error {
		return func() error {
			_, err := c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &id})
			return err
		}
	}
	create := func(in *kms.CreateKeyInput) func() error {
		return func() error { _, err := c.CreateKey(ctx, in); return err }
	}
	missing := "11111111-2222-4333-8444-555555555555"
	cases := map[string]struct {
		call func() error
		as   any // pointer to a pointer of the exception
		text string
	}{
		"unknown key":        {encrypt(missing), new(*types.NotFoundException), "Key '" + f.Region.KeyARN(regionstest.Account, missing) + "' does not exist"},
		"no key id":          {encrypt("x"), new(*types.NotFoundException), "Invalid keyId 'x'"},
		"other Region":       {encrypt("arn:aws:kms:eu-west-1:111122223333:key/" + missing), new(*types.NotFoundException), "Invalid arn eu-west-1"},
		"unknown alias":      {encrypt("alias/none"), new(*types.NotFoundException), "Alias arn:aws:kms:us-east-2:111122223333:alias/none is not found."},
		"disabled":           {encrypt(off.KeyID), new(*types.DisabledException), off.Arn + " is disabled."},
		"pending deletion":   {encrypt(doomed.KeyID), new(*types.KMSInvalidStateException), doomed.Arn + " is pending deletion."},
		"garbage ciphertext": {decrypt(&kms.DecryptInput{CiphertextBlob: []byte("garbage")}), new(*types.InvalidCiphertextException), ""},
		"wrong context": {
			decrypt(&kms.DecryptInput{CiphertextBlob: sealed, EncryptionContext: map[string]string{"a": "b"}}),
			new(*types.InvalidCiphertextException), "",
		},
		"another key": {
			decrypt(&kms.DecryptInput{CiphertextBlob: sealed, KeyId: &off.KeyID}), new(*types.IncorrectKeyException),
			"The key ID in the request does not identify a CMK that can perform this operation.",
		},
		"dry run": {
			decrypt(&kms.DecryptInput{CiphertextBlob: sealed, DryRun: aws.Bool(true)}), new(*types.DryRunOperationException),
			"The request would have succeeded, but the DryRun option is set.",
		},
		"wrong algorithm": {
			decrypt(&kms.DecryptInput{CiphertextBlob: sealed, EncryptionAlgorithm: types.EncryptionAlgorithmSpecRsaesOaepSha256}),
			new(*types.InvalidKeyUsageException), "Algorithm RSAES_OAEP_SHA_256 is incompatible with key spec SYMMETRIC_DEFAULT.",
		},
		"alias taken": {
			alias("alias/taken", key.KeyID), new(*types.AlreadyExistsException),
			"An alias with the name arn:aws:kms:us-east-2:111122223333:alias/taken already exists",
		},
		"alias of an alias": {alias("alias/x", "alias/taken"), new(*types.NotFoundException), "Invalid keyId 'alias/taken'"},
		"malformed policy":  {create(&kms.CreateKeyInput{Policy: aws.String("{")}), new(*types.MalformedPolicyDocumentException), "*"},
		"AWS's own tag": {
			create(&kms.CreateKeyInput{Tags: []types.Tag{{TagKey: aws.String("aws:x"), TagValue: aws.String("")}}}),
			new(*types.TagException), "aws: prefixed tag key names are not allowed for external use.",
		},
		"custom key store": {func() error {
			_, err := c.ConnectCustomKeyStore(ctx, &kms.ConnectCustomKeyStoreInput{CustomKeyStoreId: aws.String("cks-1")})
			return err
		}, new(*types.CustomKeyStoreNotFoundException), "Custom key store cks-1 does not exist."},
		"new custom key store": {func() error {
			_, err := c.CreateCustomKeyStore(ctx, &kms.CreateCustomKeyStoreInput{CustomKeyStoreName: aws.String("n")})
			return err
		}, new(*types.UnsupportedOperationException), "*"},
		"spec not built": {
			create(&kms.CreateKeyInput{KeySpec: types.KeySpecMlDsa44, KeyUsage: types.KeyUsageTypeSignVerify}),
			new(*types.UnsupportedOperationException), "*",
		},
		"mechanism that the token lacks": {func() error {
			_, err := c.Encapsulate(ctx, &kms.EncapsulateInput{KeyId: &key.KeyID, EncapsulationAlgorithm: types.EncapsulationAlgorithmSpecMlKem})
			return err
		}, new(*types.UnsupportedOperationException), "Encapsulate is not supported in Region us-east-2: its token lacks CKM_ML_KEM."},
		"marker": {func() error {
			_, err := c.ListKeys(ctx, &kms.ListKeysInput{Marker: aws.String("!")})
			return err
		}, new(*types.InvalidMarkerException), "Could not deserialize marker"},
		"not pending": {func() error {
			_, err := c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: &key.KeyID})
			return err
		}, new(*types.KMSInvalidStateException), key.Arn + " is not pending deletion (or pending replica deletion)."},
		"not a multi-Region key": {func() error {
			_, err := c.ReplicateKey(ctx, &kms.ReplicateKeyInput{KeyId: &key.KeyID, ReplicaRegion: aws.String(away)})
			return err
		}, new(*types.UnsupportedOperationException), key.Arn + " is not a multi-region primary key."},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tc.call()
			if !errors.As(err, tc.as) {
				t.Fatalf("got %v, want a %s", err, reflect.TypeOf(tc.as).Elem())
			}
			var api smithy.APIError
			if !errors.As(err, &api) || tc.text != "*" && api.ErrorMessage() != tc.text || tc.text == "*" && api.ErrorMessage() == "" {
				t.Errorf("text %q, want %q", api.ErrorMessage(), tc.text)
			}
		})
	}
}
