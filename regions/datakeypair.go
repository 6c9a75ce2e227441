package regions

import (
	"context"

	"antipode/regions/encctx"
	"antipode/regions/keypair"
	"antipode/regions/keyspec"
)

// GenerateDataKeyPairInput is the request of GenerateDataKeyPair and GenerateDataKeyPairWithoutPlaintext.
type GenerateDataKeyPairInput struct {
	EncryptionContext encctx.Context `json:"EncryptionContext"`
	KeyID             string         `json:"KeyId"`
	KeyPairSpec       string         `json:"KeyPairSpec"`
	GrantTokens       []string       `json:"GrantTokens"`
	DryRun            bool           `json:"DryRun"`
}

// GenerateDataKeyPairWithPlaintextInput is the request of GenerateDataKeyPair.
type GenerateDataKeyPairWithPlaintextInput struct {
	EncryptionContext encctx.Context `json:"EncryptionContext"`
	KeyID             string         `json:"KeyId"`
	KeyPairSpec       string         `json:"KeyPairSpec"`
	GrantTokens       []string       `json:"GrantTokens"`
	Recipient         *struct{}      `json:"Recipient"`
	DryRun            bool           `json:"DryRun"`
}

// GenerateDataKeyPairOutput is the answer of GenerateDataKeyPair.
type GenerateDataKeyPairOutput struct {
	PrivateKeyCiphertextBlob []byte `json:"PrivateKeyCiphertextBlob"`
	PrivateKeyPlaintext      []byte `json:"PrivateKeyPlaintext"` // DER PKCS #8
	PublicKey                []byte `json:"PublicKey"`           // DER SubjectPublicKeyInfo
	KeyID                    string `json:"KeyId"`               // ARN
	KeyPairSpec              string `json:"KeyPairSpec"`
	KeyMaterialID            string `json:"KeyMaterialId"`
}

// GenerateDataKeyPairWithoutPlaintextOutput is the answer of GenerateDataKeyPairWithoutPlaintext.
type GenerateDataKeyPairWithoutPlaintextOutput struct {
	PrivateKeyCiphertextBlob []byte `json:"PrivateKeyCiphertextBlob"`
	PublicKey                []byte `json:"PublicKey"` // DER SubjectPublicKeyInfo
	KeyID                    string `json:"KeyId"`     // ARN
	KeyPairSpec              string `json:"KeyPairSpec"`
	KeyMaterialID            string `json:"KeyMaterialId"`
}

func (in *GenerateDataKeyPairInput) grantTokens() []string              { return in.GrantTokens }
func (in *GenerateDataKeyPairWithPlaintextInput) grantTokens() []string { return in.GrantTokens }

// pairSpecs are AWS's enumeration of data key pairs.
func pairSpecs() []string {
	return []string{
		"RSA_2048", "RSA_3072", "RSA_4096", "ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "SM2",
		"ECC_NIST_EDWARDS25519", "ML_KEM_512", "ML_KEM_768", "ML_KEM_1024",
	}
}

func (in *GenerateDataKeyPairInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	if err := validateEnum(in.KeyPairSpec, "keyPairSpec", pairSpecs()); err != nil {
		return err
	}
	return validateGrantTokens(in.GrantTokens)
}

func (in *GenerateDataKeyPairWithPlaintextInput) validate() error {
	if in.Recipient != nil {
		return Errorf(CodeUnsupportedOperation, "Recipient is not supported by this version of Antipode.")
	}
	return in.rest().validate()
}

func (in *GenerateDataKeyPairWithPlaintextInput) rest() *GenerateDataKeyPairInput {
	return &GenerateDataKeyPairInput{
		EncryptionContext: in.EncryptionContext, KeyID: in.KeyID, KeyPairSpec: in.KeyPairSpec, GrantTokens: in.GrantTokens,
		DryRun: in.DryRun,
	}
}

func generateDataKeyPair(ctx context.Context, r *Region, c *Call, in *GenerateDataKeyPairWithPlaintextInput) (*GenerateDataKeyPairOutput, error) {
	return r.dataKeyPair(ctx, c, in.rest())
}

// dataKeyPair makes the pair in host memory: its private key is the caller's, who gets it in plaintext.
func (r *Region) dataKeyPair(ctx context.Context, c *Call, in *GenerateDataKeyPairInput) (*GenerateDataKeyPairOutput, error) {
	c.param("keyId", in.KeyID)
	c.param("keyPairSpec", in.KeyPairSpec)
	c.contextParam("encryptionContext", in.EncryptionContext)
	c.dryRun = in.DryRun
	v, err := r.find(ctx, c, in.KeyID, true)
	if err != nil {
		return nil, err
	}
	c.askCrypto(in.EncryptionContext, "")
	c.request.Context.DataKeyPairSpec = in.KeyPairSpec
	spec, _ := keyspec.Lookup(in.KeyPairSpec) // it is one of the enumeration
	if _, err := r.admitCrypto(ctx, c, v, "", func(keyspec.Algorithm) error {
		if !spec.Pair() {
			return Errorf(CodeUnsupportedOperation, "KeyPairSpec %s is not supported by this version of Antipode.", in.KeyPairSpec)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	private, public, err := keypair.Generate(spec)
	if err != nil {
		return nil, err
	}
	blob, err := r.seal(ctx, c, v, in.EncryptionContext, private)
	if err != nil {
		clear(private)
		return nil, err
	}
	return &GenerateDataKeyPairOutput{
		PrivateKeyCiphertextBlob: blob, PrivateKeyPlaintext: private, PublicKey: public, KeyID: v.arn,
		KeyPairSpec: in.KeyPairSpec, KeyMaterialID: v.key.Current,
	}, nil
}

func generateDataKeyPairWithoutPlaintext(ctx context.Context, r *Region, c *Call, in *GenerateDataKeyPairInput) (
	*GenerateDataKeyPairWithoutPlaintextOutput, error,
) {
	out, err := r.dataKeyPair(ctx, c, in)
	if err != nil {
		return nil, err
	}
	clear(out.PrivateKeyPlaintext)
	return &GenerateDataKeyPairWithoutPlaintextOutput{
		PrivateKeyCiphertextBlob: out.PrivateKeyCiphertextBlob, PublicKey: out.PublicKey, KeyID: out.KeyID,
		KeyPairSpec: out.KeyPairSpec, KeyMaterialID: out.KeyMaterialID,
	}, nil
}
