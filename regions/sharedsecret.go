package regions

import (
	"context"

	"antipode/regions/ciphertext"
	"antipode/regions/keypair"
	"antipode/regions/keyspec"
)

// DeriveSharedSecretInput is the request of DeriveSharedSecret.
type DeriveSharedSecretInput struct {
	KeyID                 string    `json:"KeyId"`
	KeyAgreementAlgorithm string    `json:"KeyAgreementAlgorithm"` // ECDH
	PublicKey             []byte    `json:"PublicKey"`             // DER SubjectPublicKeyInfo, 1 to 8192 bytes
	GrantTokens           []string  `json:"GrantTokens"`
	DryRun                bool      `json:"DryRun"`
	Recipient             *struct{} `json:"Recipient"`
}

// DeriveSharedSecretOutput is the answer of DeriveSharedSecret.
type DeriveSharedSecretOutput struct {
	KeyID                 string `json:"KeyId"` // ARN
	SharedSecret          []byte `json:"SharedSecret"`
	KeyAgreementAlgorithm string `json:"KeyAgreementAlgorithm"`
	KeyOrigin             string `json:"KeyOrigin"`
}

func (in *DeriveSharedSecretInput) grantTokens() []string { return in.GrantTokens }

func (in *DeriveSharedSecretInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	if in.Recipient != nil {
		return Errorf(CodeUnsupportedOperation, "Recipient is not supported by this version of Antipode.")
	}
	if err := validateEnum(in.KeyAgreementAlgorithm, "keyAgreementAlgorithm", []string{"ECDH"}); err != nil {
		return err
	}
	if in.PublicKey == nil {
		return missing("publicKey")
	}
	if err := checkLength(hidden, "publicKey", len(in.PublicKey), 1, keypair.MaxDER); err != nil {
		return err
	}
	return validateGrantTokens(in.GrantTokens)
}

func deriveSharedSecret(ctx context.Context, r *Region, c *Call, in *DeriveSharedSecretInput) (*DeriveSharedSecretOutput, error) {
	c.param("keyId", in.KeyID)
	c.param("keyAgreementAlgorithm", in.KeyAgreementAlgorithm)
	c.dryRun = in.DryRun
	v, err := r.find(ctx, c, in.KeyID, true)
	if err != nil {
		return nil, err
	}
	c.request.Context.KeyAgreementAlg = in.KeyAgreementAlgorithm
	var point []byte
	a, err := r.admitUse(ctx, c, v, keyspec.KeyAgreement, in.KeyAgreementAlgorithm, func(keyspec.Algorithm) error {
		peer, err := keypair.Parse(v.spec, in.PublicKey)
		if err != nil {
			return Errorf(CodeValidation, "PublicKey is not the DER-encoded SubjectPublicKeyInfo of a key with key spec %s.", v.key.Spec)
		}
		key, err := peer.ECDH()
		if err != nil {
			return err
		}
		point = key.Bytes()
		return nil
	})
	if err != nil {
		return nil, err
	}
	var shared []byte
	err = r.withMaterial(ctx, c, v, v.key.Current, func(key ciphertext.KeyHandle) error {
		shared, err = r.cfg.Token.AgreeECDH(ctx, key.Ref, point)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &DeriveSharedSecretOutput{KeyID: v.arn, SharedSecret: shared, KeyAgreementAlgorithm: a.Name, KeyOrigin: v.key.Origin}, nil
}
