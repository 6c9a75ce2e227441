package regions

import (
	"context"

	"antipode/regions/encctx"
)

// GenerateDataKeyInput is the request of GenerateDataKey and GenerateDataKeyWithoutPlaintext.
type GenerateDataKeyInput struct {
	KeyID             string         `json:"KeyId"`
	EncryptionContext encctx.Context `json:"EncryptionContext"`
	NumberOfBytes     *int           `json:"NumberOfBytes"` // 1 to 1024
	KeySpec           string         `json:"KeySpec"`       // AES_128 or AES_256
	GrantTokens       []string       `json:"GrantTokens"`
	Recipient         *struct{}      `json:"Recipient"`
	DryRun            bool           `json:"DryRun"`
}

// GenerateDataKeyOutput is the answer of GenerateDataKey.
type GenerateDataKeyOutput struct {
	CiphertextBlob []byte `json:"CiphertextBlob"`
	Plaintext      []byte `json:"Plaintext"`
	KeyID          string `json:"KeyId"` // ARN
	KeyMaterialID  string `json:"KeyMaterialId"`
}

// GenerateDataKeyWithoutPlaintextOutput is the answer of GenerateDataKeyWithoutPlaintext.
type GenerateDataKeyWithoutPlaintextOutput struct {
	CiphertextBlob []byte `json:"CiphertextBlob"`
	KeyID          string `json:"KeyId"` // ARN
	KeyMaterialID  string `json:"KeyMaterialId"`
}

func (in *GenerateDataKeyInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	if in.Recipient != nil {
		return Errorf(CodeUnsupportedOperation, "Recipient is not supported by this version of Antipode.")
	}
	if err := validateGrantTokens(in.GrantTokens); err != nil {
		return err
	}
	if in.NumberOfBytes != nil {
		if err := checkRange(*in.NumberOfBytes, "numberOfBytes", 1, 1024); err != nil {
			return err
		}
	}
	switch in.KeySpec {
	case "":
		if in.NumberOfBytes == nil {
			return Errorf(CodeValidation, "Please specify either number of bytes or key spec.")
		}
	case "AES_128", "AES_256":
		if in.NumberOfBytes != nil {
			return Errorf(CodeValidation, "Please specify either number of bytes or key spec.")
		}
	default:
		return invalidEnum(in.KeySpec, "keySpec", "AES_256", "AES_128")
	}
	return nil
}

func (in *GenerateDataKeyInput) size() int {
	switch {
	case in.NumberOfBytes != nil:
		return *in.NumberOfBytes
	case in.KeySpec == "AES_128":
		return 16
	}
	return 32
}

func generateDataKey(ctx context.Context, r *Region, c *Call, in *GenerateDataKeyInput) (*GenerateDataKeyOutput, error) {
	c.param("keyId", in.KeyID)
	if in.KeySpec != "" {
		c.param("keySpec", in.KeySpec)
	} else {
		c.param("numberOfBytes", *in.NumberOfBytes)
	}
	c.contextParam("encryptionContext", in.EncryptionContext)
	c.dryRun = in.DryRun
	v, err := r.find(ctx, c, in.KeyID, true)
	if err != nil {
		return nil, err
	}
	c.askCrypto(in.EncryptionContext, "")
	if _, err := r.admitCrypto(ctx, c, v, "", nil); err != nil {
		return nil, err
	}
	plaintext, err := r.cfg.Token.Random(ctx, in.size())
	if err != nil {
		return nil, err
	}
	blob, err := r.seal(ctx, c, v, in.EncryptionContext, plaintext)
	if err != nil {
		return nil, err
	}
	return &GenerateDataKeyOutput{
		CiphertextBlob: blob, Plaintext: plaintext, KeyID: v.arn, KeyMaterialID: v.key.Current,
	}, nil
}

func generateDataKeyWithoutPlaintext(ctx context.Context, r *Region, c *Call, in *GenerateDataKeyInput) (
	*GenerateDataKeyWithoutPlaintextOutput, error,
) {
	out, err := generateDataKey(ctx, r, c, in)
	if err != nil {
		return nil, err
	}
	clear(out.Plaintext)
	return &GenerateDataKeyWithoutPlaintextOutput{
		CiphertextBlob: out.CiphertextBlob, KeyID: out.KeyID, KeyMaterialID: out.KeyMaterialID,
	}, nil
}

// GenerateRandomInput is the request of GenerateRandom.
type GenerateRandomInput struct {
	NumberOfBytes    *int      `json:"NumberOfBytes"` // 1 to 1024
	CustomKeyStoreID string    `json:"CustomKeyStoreId"`
	Recipient        *struct{} `json:"Recipient"`
}

// GenerateRandomOutput is the answer of GenerateRandom.
type GenerateRandomOutput struct {
	Plaintext []byte `json:"Plaintext"`
}

func (in *GenerateRandomInput) validate() error {
	if in.CustomKeyStoreID != "" || in.Recipient != nil {
		return Errorf(CodeUnsupportedOperation,
			"CustomKeyStoreId and Recipient are not supported by this version of Antipode.")
	}
	if in.NumberOfBytes == nil {
		return missing("numberOfBytes")
	}
	return checkRange(*in.NumberOfBytes, "numberOfBytes", 1, 1024)
}

func generateRandom(ctx context.Context, r *Region, c *Call, in *GenerateRandomInput) (*GenerateRandomOutput, error) {
	c.param("numberOfBytes", *in.NumberOfBytes)
	if err := r.admitAccount(ctx, c); err != nil {
		return nil, err
	}
	random, err := r.cfg.Token.Random(ctx, *in.NumberOfBytes)
	if err != nil {
		return nil, err
	}
	return &GenerateRandomOutput{Plaintext: random}, nil
}
