package regions

import (
	"context"
	"slices"
	"strings"

	"antipode/regions/encctx"
	"antipode/regions/keyspec"
)

// AlgorithmSymmetric is the encryption algorithm of symmetric keys.
const AlgorithmSymmetric = keyspec.Symmetric

const (
	maxPlaintext  = 4096
	maxCiphertext = 6144
)

// EncryptInput is the request of Encrypt.
type EncryptInput struct {
	KeyID               string         `json:"KeyId"`
	Plaintext           []byte         `json:"Plaintext"` // 1 to 4096 bytes
	EncryptionContext   encctx.Context `json:"EncryptionContext"`
	GrantTokens         []string       `json:"GrantTokens"`
	EncryptionAlgorithm string         `json:"EncryptionAlgorithm"`
	DryRun              bool           `json:"DryRun"`
}

// EncryptOutput is the answer of Encrypt.
type EncryptOutput struct {
	CiphertextBlob      []byte `json:"CiphertextBlob"`
	KeyID               string `json:"KeyId"` // ARN
	EncryptionAlgorithm string `json:"EncryptionAlgorithm"`
}

func (in *EncryptInput) validate() error {
	if err := validateKeyID(in.KeyID, "keyId"); err != nil {
		return err
	}
	if in.Plaintext == nil {
		return missing("plaintext")
	}
	if err := checkLength(hidden, "plaintext", len(in.Plaintext), 1, maxPlaintext); err != nil {
		return err
	}
	if err := validateGrantTokens(in.GrantTokens); err != nil {
		return err
	}
	return validateAlgorithm(in.EncryptionAlgorithm, "encryptionAlgorithm")
}

// hidden stands in errors for values that may be secret.
const hidden = "java.nio.HeapByteBuffer"

// validateAlgorithm checks an algorithm that may be left out.
func validateAlgorithm(alg, field string) error {
	if alg == "" {
		return nil
	}
	return validateEnum(alg, field, keyspec.EncryptionAlgorithms())
}

// validateEnum checks a member of one of AWS's enumerations that must be there.
func validateEnum(value, field string, allowed []string) error {
	switch {
	case value == "":
		return missing(field)
	case !slices.Contains(allowed, value):
		return invalidEnum(value, field, allowed...)
	}
	return nil
}

func encrypt(ctx context.Context, r *Region, c *Call, in *EncryptInput) (*EncryptOutput, error) {
	c.param("keyId", in.KeyID)
	c.contextParam("encryptionContext", in.EncryptionContext)
	c.dryRun = in.DryRun
	v, err := r.find(ctx, c, in.KeyID, true)
	if err != nil {
		return nil, err
	}
	c.askCrypto(in.EncryptionContext, in.EncryptionAlgorithm)
	a, err := r.admitCrypto(ctx, c, v, in.EncryptionAlgorithm, func(a keyspec.Algorithm) error {
		return checkPlaintext(v, a, in.EncryptionContext, len(in.Plaintext))
	})
	if err != nil {
		return nil, err
	}
	blob, err := r.encryptBy(ctx, c, v, a, in.EncryptionContext, in.Plaintext)
	if err != nil {
		return nil, err
	}
	return &EncryptOutput{CiphertextBlob: blob, KeyID: v.arn, EncryptionAlgorithm: a.Name}, nil
}

// DecryptInput is the request of Decrypt.
type DecryptInput struct {
	CiphertextBlob      []byte         `json:"CiphertextBlob"` // 1 to 6144 bytes
	EncryptionContext   encctx.Context `json:"EncryptionContext"`
	GrantTokens         []string       `json:"GrantTokens"`
	KeyID               string         `json:"KeyId"`
	EncryptionAlgorithm string         `json:"EncryptionAlgorithm"`
	Recipient           *struct{}      `json:"Recipient"`
	DryRun              bool           `json:"DryRun"`
	DryRunModifiers     []string       `json:"DryRunModifiers"` // IGNORE_CIPHERTEXT; count in dry runs only
}

// DecryptOutput is the answer of Decrypt.
type DecryptOutput struct {
	KeyID               string `json:"KeyId"` // ARN
	Plaintext           []byte `json:"Plaintext"`
	EncryptionAlgorithm string `json:"EncryptionAlgorithm"`
	KeyMaterialID       string `json:"KeyMaterialId,omitzero"` // of symmetric keys only
}

func (in *DecryptInput) validate() error {
	if in.KeyID != "" {
		if err := validateKeyID(in.KeyID, "keyId"); err != nil {
			return err
		}
	}
	if in.Recipient != nil {
		return Errorf(CodeUnsupportedOperation, "Recipient is not supported by this version of Antipode.")
	}
	if err := validateModifiers(in.DryRunModifiers); err != nil {
		return err
	}
	if ignoresBlob(in.DryRun, in.DryRunModifiers) {
		if in.KeyID == "" {
			return missing("keyId")
		}
	} else if err := validateBlob(in.CiphertextBlob); err != nil {
		return err
	}
	if err := validateGrantTokens(in.GrantTokens); err != nil {
		return err
	}
	return validateAlgorithm(in.EncryptionAlgorithm, "encryptionAlgorithm")
}

// ignoreCiphertext is AWS's one modifier of a dry run.
const ignoreCiphertext = "IGNORE_CIPHERTEXT"

func validateModifiers(modifiers []string) error {
	for _, m := range modifiers {
		if m != ignoreCiphertext {
			return invalid("["+strings.Join(modifiers, ", ")+"]", "dryRunModifiers",
				"Member must satisfy constraint: [Member must satisfy enum value set: ["+ignoreCiphertext+"]]")
		}
	}
	return nil
}

// ignoresBlob reports whether a call only asks about permissions: it needs no ciphertext then, and one that it has is not
// looked at.
func ignoresBlob(dryRun bool, modifiers []string) bool { return dryRun && len(modifiers) > 0 }

func validateBlob(blob []byte) error {
	if blob == nil {
		return missing("ciphertextBlob")
	}
	return checkLength(hidden, "ciphertextBlob", len(blob), 1, maxCiphertext)
}

func decrypt(ctx context.Context, r *Region, c *Call, in *DecryptInput) (*DecryptOutput, error) {
	if in.KeyID != "" {
		c.param("keyId", in.KeyID)
	}
	c.contextParam("encryptionContext", in.EncryptionContext)
	c.dryRun = in.DryRun
	c.askCrypto(in.EncryptionContext, in.EncryptionAlgorithm)
	v, blob, err := r.findSource(ctx, c, c.op.Action, in.CiphertextBlob, in.KeyID, ignoresBlob(in.DryRun, in.DryRunModifiers))
	if err != nil {
		return nil, err
	}
	a, err := r.admitCrypto(ctx, c, v, in.EncryptionAlgorithm, func(a keyspec.Algorithm) error {
		return checkContext(a, in.EncryptionContext)
	})
	if err != nil {
		return nil, unnamed(err, in.KeyID)
	}
	plaintext, err := r.decryptBy(ctx, c, v, a, blob, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return &DecryptOutput{
		KeyID: v.arn, Plaintext: plaintext.Reveal(), EncryptionAlgorithm: a.Name, KeyMaterialID: blob.materialID(),
	}, nil
}
