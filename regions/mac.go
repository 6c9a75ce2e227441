package regions

import (
	"context"
	"crypto/hmac"

	"antipode/regions/ciphertext"
	"antipode/regions/keyspec"
)

// GenerateMacInput is the request of GenerateMac.
type GenerateMacInput struct {
	Message      []byte   `json:"Message"` // 1 to 4096 bytes
	KeyID        string   `json:"KeyId"`
	MacAlgorithm string   `json:"MacAlgorithm"`
	GrantTokens  []string `json:"GrantTokens"`
	DryRun       bool     `json:"DryRun"`
}

// GenerateMacOutput is the answer of GenerateMac.
type GenerateMacOutput struct {
	Mac          []byte `json:"Mac"`
	MacAlgorithm string `json:"MacAlgorithm"`
	KeyID        string `json:"KeyId"` // ARN
}

// VerifyMacInput is the request of VerifyMac.
type VerifyMacInput struct {
	Message      []byte   `json:"Message"` // 1 to 4096 bytes
	KeyID        string   `json:"KeyId"`
	MacAlgorithm string   `json:"MacAlgorithm"`
	Mac          []byte   `json:"Mac"` // 1 to 6144 bytes
	GrantTokens  []string `json:"GrantTokens"`
	DryRun       bool     `json:"DryRun"`
}

// VerifyMacOutput is the answer of VerifyMac, which is an error for a MAC that is another.
type VerifyMacOutput struct {
	KeyID        string `json:"KeyId"` // ARN
	MacValid     bool   `json:"MacValid"`
	MacAlgorithm string `json:"MacAlgorithm"`
}

func (in *GenerateMacInput) grantTokens() []string { return in.GrantTokens }
func (in *VerifyMacInput) grantTokens() []string   { return in.GrantTokens }

func (in *GenerateMacInput) validate() error {
	return validateMAC(in.KeyID, in.Message, in.MacAlgorithm, in.GrantTokens)
}

func (in *VerifyMacInput) validate() error {
	if err := validateMAC(in.KeyID, in.Message, in.MacAlgorithm, in.GrantTokens); err != nil {
		return err
	}
	if in.Mac == nil {
		return missing("mac")
	}
	return checkLength(hidden, "mac", len(in.Mac), 1, maxSignature)
}

func validateMAC(keyID string, message []byte, algorithm string, tokens []string) error {
	if err := validateKeyID(keyID, "keyId"); err != nil {
		return err
	}
	if err := validateMessage(message); err != nil {
		return err
	}
	if err := validateEnum(algorithm, "macAlgorithm", keyspec.MACAlgorithms()); err != nil {
		return err
	}
	return validateGrantTokens(tokens)
}

// mac admits the call and computes the MAC on the token.
func (r *Region) mac(ctx context.Context, c *Call, keyID, algorithm string, message []byte) (v *view, a keyspec.Algorithm, mac []byte, err error) {
	c.param("keyId", keyID)
	c.param("macAlgorithm", algorithm)
	if v, err = r.find(ctx, c, keyID, true); err != nil {
		return v, a, nil, err
	}
	c.request.Context.MacAlgorithm = algorithm
	if a, err = r.admitUse(ctx, c, v, keyspec.GenerateVerifyMAC, algorithm, nil); err != nil {
		return v, a, nil, err
	}
	err = r.withMaterial(ctx, c, v, v.key.Current, func(key ciphertext.KeyHandle) error {
		mac, err = r.cfg.Token.MAC(ctx, key.Ref, message)
		return err
	})
	return v, a, mac, err
}

func generateMac(ctx context.Context, r *Region, c *Call, in *GenerateMacInput) (*GenerateMacOutput, error) {
	c.dryRun = in.DryRun
	v, a, mac, err := r.mac(ctx, c, in.KeyID, in.MacAlgorithm, in.Message)
	if err != nil {
		return nil, err
	}
	return &GenerateMacOutput{Mac: mac, MacAlgorithm: a.Name, KeyID: v.arn}, nil
}

func verifyMac(ctx context.Context, r *Region, c *Call, in *VerifyMacInput) (*VerifyMacOutput, error) {
	c.dryRun = in.DryRun
	v, a, mac, err := r.mac(ctx, c, in.KeyID, in.MacAlgorithm, in.Message)
	if err != nil {
		return nil, err
	}
	defer clear(mac)
	if !hmac.Equal(mac, in.Mac) {
		return nil, &Error{Code: CodeInvalidMac}
	}
	return &VerifyMacOutput{KeyID: v.arn, MacValid: true, MacAlgorithm: a.Name}, nil
}
