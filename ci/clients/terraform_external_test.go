package clients

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// aws_kms_external_key, read in external_key.go at 050ac11163cab8cdae5936a7f40b0e528ff780df: a key whose material comes with
// it, whose expiry is changed by importing the same again, and one that never gets any.
func TestTerraformExternalKey(t *testing.T) {
	t.Parallel()
	tf := newTerraform(t, primaryRegion)
	tags := map[string]string{"team": "payments"}
	in := &kms.CreateKeyInput{KeyUsage: types.KeyUsageTypeEncryptDecrypt, Origin: types.OriginTypeExternal, Tags: tagList(tags)}
	material := make([]byte, 32)
	if _, err := rand.Read(material); err != nil {
		t.Fatal(err)
	}

	empty := tf.createKey(in, 0, true)
	if k, found := tf.read(empty); !found || k.meta.Enabled || k.meta.KeyState != types.KeyStatePendingImport || k.meta.Origin != types.OriginTypeExternal {
		t.Fatalf("%+v", k)
	}
	tf.describe(empty, "still without material")
	tf.destroy(empty, 7)

	id := tf.createKey(in, 0, true)
	tf.importMaterial(id, material, "")
	tf.enable(id, false)
	tf.enable(id, true)
	k, found := tf.read(id)
	if !found || !k.meta.Enabled || k.meta.ExpirationModel != types.ExpirationModelTypeKeyMaterialDoesNotExpire ||
		k.meta.KeyManager != types.KeyManagerTypeCustomer || k.tags["team"] != "payments" {
		t.Errorf("%+v", k)
	}
	sealed, err := tf.kms.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
	tf.did("Encrypt", err)
	for _, until := range []string{time.Now().Add(48 * time.Hour).UTC().Format(time.RFC3339), ""} {
		tf.importMaterial(id, material, until)
		if k, found := tf.read(id); !found || !k.meta.Enabled {
			t.Errorf("until %q: %+v", until, k)
		}
		opened, err := tf.kms.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})
		tf.did("Decrypt", err)
		if string(opened.Plaintext) != "x" {
			t.Errorf("%q", opened.Plaintext)
		}
	}
	tf.putPolicy(id, terraformPolicy)
	tf.retag(id, tags, map[string]string{"team": "audit"})
	tf.destroy(id, 7)
	if _, found := tf.find(id); found {
		t.Error("the key is there when it was destroyed")
	}
}

// importMaterial imports material until a date of RFC 3339, or for ever, and waits for the key and the date.
func (tf terraform) importMaterial(id string, material []byte, until string) {
	tf.Helper()
	p, err := tf.kms.GetParametersForImport(tf.Context(), &kms.GetParametersForImportInput{
		KeyId: &id, WrappingAlgorithm: types.AlgorithmSpecRsaesOaepSha256, WrappingKeySpec: types.WrappingKeySpecRsa2048,
	})
	tf.did("GetParametersForImport", err)
	parsed, err := x509.ParsePKIXPublicKey(p.PublicKey)
	tf.did("parse the wrapping key", err)
	public, ok := parsed.(*rsa.PublicKey)
	if !ok {
		tf.Fatalf("the wrapping key is a %T", parsed)
	}
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, material, []byte{})
	tf.did("wrap the material", err)
	in := &kms.ImportKeyMaterialInput{
		KeyId: &id, EncryptedKeyMaterial: wrapped, ImportToken: p.ImportToken,
		ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire,
	}
	if until != "" {
		date, err := time.Parse(time.RFC3339, until)
		tf.did("parse the date", err)
		in.ExpirationModel, in.ValidTo = types.ExpirationModelTypeKeyMaterialExpires, &date
	}
	_, err = tf.kms.ImportKeyMaterial(tf.Context(), in)
	tf.did("ImportKeyMaterial", err)
	tf.settles("the material", 1, func() bool {
		meta, found := tf.find(id)
		return found && (meta.KeyState == types.KeyStateEnabled || meta.KeyState == types.KeyStateDisabled)
	})
	tf.settles("the date that the material ends", seenOthers, func() bool {
		meta, found := tf.find(id)
		if !found || meta.ValidTo == nil {
			return found && until == ""
		}
		return meta.ValidTo.Format(time.RFC3339) == until
	})
}
