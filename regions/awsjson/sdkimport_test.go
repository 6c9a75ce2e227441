package awsjson_test

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"antipode/hsmbackend/hsmtest"
)

// sdkImports gives a key its material, which OpenSSL wraps, takes it away and gives it again, by the official client.
func sdkImports(t *testing.T, r *recorder, seen map[string]bool, c *kms.Client, now time.Time) {
	t.Helper()
	made := sdkCall(t, r, seen, "CreateKey", c.CreateKey, &kms.CreateKeyInput{Origin: types.OriginTypeExternal}).KeyMetadata
	id := made.KeyId
	if made.KeyState != types.KeyStatePendingImport || made.Origin != types.OriginTypeExternal || made.CurrentKeyMaterialId != nil {
		t.Errorf("%+v", made)
	}
	p := sdkCall(t, r, seen, "GetParametersForImport", c.GetParametersForImport, &kms.GetParametersForImportInput{
		KeyId: id, WrappingAlgorithm: types.AlgorithmSpecRsaesOaepSha256, WrappingKeySpec: types.WrappingKeySpecRsa2048,
	})
	if *p.KeyId != *made.Arn || p.ParametersValidTo == nil || !p.ParametersValidTo.Equal(now.Add(24*time.Hour)) {
		t.Errorf("%+v", p)
	}
	material := make([]byte, 32)
	if _, err := rand.Read(material); err != nil {
		t.Fatal(err)
	}
	in := &kms.ImportKeyMaterialInput{
		KeyId: id, ImportToken: p.ImportToken, ValidTo: aws.Time(p.ParametersValidTo.Add(time.Hour)),
		EncryptedKeyMaterial:   hsmtest.WrapByOpenSSL(t, p.PublicKey, "RSAES_OAEP_SHA_256", material),
		KeyMaterialDescription: aws.String("ours"),
	}
	imported := sdkCall(t, r, seen, "ImportKeyMaterial", c.ImportKeyMaterial, in)
	described := sdkCall(t, r, seen, "DescribeKey", c.DescribeKey, &kms.DescribeKeyInput{KeyId: id}).KeyMetadata
	if *imported.KeyId != *made.Arn || *described.CurrentKeyMaterialId != *imported.KeyMaterialId ||
		described.KeyState != types.KeyStateEnabled || !described.ValidTo.Equal(*in.ValidTo) ||
		described.ExpirationModel != types.ExpirationModelTypeKeyMaterialExpires {
		t.Errorf("%+v, %+v", imported, described)
	}
	gone := sdkCall(t, r, seen, "DeleteImportedKeyMaterial", c.DeleteImportedKeyMaterial, &kms.DeleteImportedKeyMaterialInput{KeyId: id})
	if *gone.KeyId != *made.Arn || *gone.KeyMaterialId != *imported.KeyMaterialId {
		t.Errorf("%+v", gone)
	}
	in.ValidTo, in.ExpirationModel = nil, types.ExpirationModelTypeKeyMaterialDoesNotExpire
	again := sdkCall(t, r, seen, "ImportKeyMaterial", c.ImportKeyMaterial, in)
	if *again.KeyMaterialId != *imported.KeyMaterialId {
		t.Errorf("%+v", again)
	}
	sdkCall(t, r, seen, "DescribeKey", c.DescribeKey, &kms.DescribeKeyInput{KeyId: id})
}
