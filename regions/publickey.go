package regions

import (
	"context"

	"antipode/regions/keyspec"
)

// GetPublicKeyInput is the request of GetPublicKey.
type GetPublicKeyInput struct {
	KeyID       string   `json:"KeyId"`
	GrantTokens []string `json:"GrantTokens"`
}

// GetPublicKeyOutput is the answer of GetPublicKey.
type GetPublicKeyOutput struct {
	KeyID                  string   `json:"KeyId"`     // ARN
	PublicKey              []byte   `json:"PublicKey"` // DER SubjectPublicKeyInfo
	CustomerMasterKeySpec  string   `json:"CustomerMasterKeySpec"`
	KeySpec                string   `json:"KeySpec"`
	KeyUsage               string   `json:"KeyUsage"`
	EncryptionAlgorithms   []string `json:"EncryptionAlgorithms,omitempty"`
	SigningAlgorithms      []string `json:"SigningAlgorithms,omitempty"`
	KeyAgreementAlgorithms []string `json:"KeyAgreementAlgorithms,omitempty"`
}

func (in *GetPublicKeyInput) grantTokens() []string { return in.GrantTokens }

func (in *GetPublicKeyInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	return validateGrantTokens(in.GrantTokens)
}

// getPublicKey asks no token: the public key is in the key's authenticated records.
func getPublicKey(ctx context.Context, r *Region, c *Call, in *GetPublicKeyInput) (*GetPublicKeyOutput, error) {
	c.param("keyId", in.KeyID)
	v, err := r.find(ctx, c, in.KeyID, true)
	if err != nil {
		return nil, err
	}
	if err := r.admit(ctx, c, v); err != nil {
		return nil, err
	}
	if !v.spec.Pair() {
		return nil, Errorf(CodeUnsupportedOperation, "%s key spec is %s which is not valid for GetPublicKey.", v.arn, v.key.Spec)
	}
	out := &GetPublicKeyOutput{
		KeyID: v.arn, PublicKey: v.public.DER(), CustomerMasterKeySpec: v.key.Spec, KeySpec: v.key.Spec, KeyUsage: v.key.Usage,
	}
	switch names := v.spec.NamesOn(r.caps, v.key.Usage); v.key.Usage {
	case keyspec.EncryptDecrypt:
		out.EncryptionAlgorithms = names
	case keyspec.SignVerify:
		out.SigningAlgorithms = names
	case keyspec.KeyAgreement:
		out.KeyAgreementAlgorithms = names
	}
	return out, nil
}
