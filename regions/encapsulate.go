package regions

import (
	"context"

	"antipode/hsmbackend"
	"antipode/regions/keyspec"
)

// EncapsulateInput is the request of Encapsulate.
type EncapsulateInput struct {
	KeyID                  string   `json:"KeyId"`
	EncapsulationAlgorithm string   `json:"EncapsulationAlgorithm"` // ML_KEM
	GrantTokens            []string `json:"GrantTokens"`
	DryRun                 bool     `json:"DryRun"`
}

// EncapsulateOutput is the answer of Encapsulate.
type EncapsulateOutput struct {
	KeyID                      string `json:"KeyId"` // ARN
	SharedSecret               []byte `json:"SharedSecret"`
	SharedSecretCiphertextBlob []byte `json:"SharedSecretCiphertextBlob"`
	EncapsulationAlgorithm     string `json:"EncapsulationAlgorithm"`
}

// DecapsulateInput is the request of Decapsulate.
type DecapsulateInput struct {
	KeyID                      string    `json:"KeyId"`
	SharedSecretCiphertextBlob []byte    `json:"SharedSecretCiphertextBlob"` // 1 to 6144 bytes
	EncapsulationAlgorithm     string    `json:"EncapsulationAlgorithm"`     // ML_KEM
	GrantTokens                []string  `json:"GrantTokens"`
	DryRun                     bool      `json:"DryRun"`
	Recipient                  *struct{} `json:"Recipient"`
}

// DecapsulateOutput is the answer of Decapsulate.
type DecapsulateOutput struct {
	KeyID                  string `json:"KeyId"` // ARN
	SharedSecret           []byte `json:"SharedSecret"`
	EncapsulationAlgorithm string `json:"EncapsulationAlgorithm"`
}

func (in *EncapsulateInput) grantTokens() []string { return in.GrantTokens }
func (in *DecapsulateInput) grantTokens() []string { return in.GrantTokens }

func (in *EncapsulateInput) validate() error {
	return validateEncapsulation(in.KeyID, in.EncapsulationAlgorithm, in.GrantTokens)
}

func (in *DecapsulateInput) validate() error {
	if err := validateEncapsulation(in.KeyID, in.EncapsulationAlgorithm, in.GrantTokens); err != nil {
		return err
	}
	if in.Recipient != nil {
		return Errorf(CodeUnsupportedOperation, "Recipient is not supported by this version of Antipode.")
	}
	if in.SharedSecretCiphertextBlob == nil {
		return missing("sharedSecretCiphertextBlob")
	}
	return checkLength(hidden, "sharedSecretCiphertextBlob", len(in.SharedSecretCiphertextBlob), 1, maxCiphertext)
}

func validateEncapsulation(keyID, algorithm string, tokens []string) error {
	if err := validateKeyID(keyID, "keyId"); err != nil {
		return err
	}
	if err := validateEnum(algorithm, "encapsulationAlgorithm", []string{keyspec.Encapsulation}); err != nil {
		return err
	}
	return validateGrantTokens(tokens)
}

func encapsulate(ctx context.Context, r *Region, c *Call, in *EncapsulateInput) (*EncapsulateOutput, error) {
	c.dryRun = in.DryRun
	return nil, r.refuseEncapsulation(ctx, c, in.KeyID, in.EncapsulationAlgorithm)
}

func decapsulate(ctx context.Context, r *Region, c *Call, in *DecapsulateInput) (*DecapsulateOutput, error) {
	c.dryRun = in.DryRun
	return nil, r.refuseEncapsulation(ctx, c, in.KeyID, in.EncapsulationAlgorithm)
}

// refuseEncapsulation asks what AWS asks of such a call, and then says why it can't be done: the token lacks the
// mechanism or, if it has it, the key is of another usage, as CreateKey makes none of this one.
func (r *Region) refuseEncapsulation(ctx context.Context, c *Call, keyID, algorithm string) error {
	c.param("keyId", keyID)
	c.param("encapsulationAlgorithm", algorithm)
	v, err := r.find(ctx, c, keyID, true)
	if err != nil {
		return err
	}
	if err := r.allow(ctx, c, c.op.Action, v); err != nil {
		return err
	}
	if err := checkState(c.op.Name, r.stateOf(v), v.arn); err != nil {
		return err
	}
	if !r.caps.HasMechanism(hsmbackend.MechMLKEM) {
		return Errorf(CodeUnsupportedOperation, "%s is not supported in Region %s: its token lacks %s.", c.op.Name, r.cfg.Name,
			keyspec.EncapsulationMechanism)
	}
	if _, err := r.usable(c, v, keyspec.EncapsulateDecapsulate, algorithm); err != nil {
		return err
	}
	return Errorf(CodeUnsupportedOperation, "%s is not supported by this version of Antipode.", c.op.Name)
}
