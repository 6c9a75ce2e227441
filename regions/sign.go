package regions

import (
	"context"

	"antipode/hsmbackend"
	"antipode/regions/ciphertext"
	"antipode/regions/keyring"
	"antipode/regions/keyspec"
)

const (
	maxMessage   = 4096
	maxSignature = 6144
)

// How a message to sign or verify is given, with AWS's names.
const (
	messageRaw        = "RAW"
	messageDigest     = "DIGEST"
	messageExternalMu = "EXTERNAL_MU"
)

// SignInput is the request of Sign.
type SignInput struct {
	KeyID            string   `json:"KeyId"`
	Message          []byte   `json:"Message"`     // 1 to 4096 bytes
	MessageType      string   `json:"MessageType"` // RAW unless given
	GrantTokens      []string `json:"GrantTokens"`
	SigningAlgorithm string   `json:"SigningAlgorithm"`
	DryRun           bool     `json:"DryRun"`
}

// SignOutput is the answer of Sign.
type SignOutput struct {
	KeyID            string `json:"KeyId"` // ARN
	Signature        []byte `json:"Signature"`
	SigningAlgorithm string `json:"SigningAlgorithm"`
}

// VerifyInput is the request of Verify.
type VerifyInput struct {
	KeyID            string   `json:"KeyId"`
	Message          []byte   `json:"Message"`     // 1 to 4096 bytes
	MessageType      string   `json:"MessageType"` // RAW unless given
	Signature        []byte   `json:"Signature"`   // 1 to 6144 bytes
	GrantTokens      []string `json:"GrantTokens"`
	SigningAlgorithm string   `json:"SigningAlgorithm"`
	DryRun           bool     `json:"DryRun"`
}

// VerifyOutput is the answer of Verify, which is an error for a signature that does not verify.
type VerifyOutput struct {
	KeyID            string `json:"KeyId"` // ARN
	SignatureValid   bool   `json:"SignatureValid"`
	SigningAlgorithm string `json:"SigningAlgorithm"`
}

func (in *SignInput) grantTokens() []string   { return in.GrantTokens }
func (in *VerifyInput) grantTokens() []string { return in.GrantTokens }

func (in *SignInput) validate() error {
	return validateSigning(in.KeyID, in.Message, in.MessageType, in.SigningAlgorithm, in.GrantTokens)
}

func (in *VerifyInput) validate() error {
	if err := validateSigning(in.KeyID, in.Message, in.MessageType, in.SigningAlgorithm, in.GrantTokens); err != nil {
		return err
	}
	if in.Signature == nil {
		return missing("signature")
	}
	return checkLength(hidden, "signature", len(in.Signature), 1, maxSignature)
}

func validateSigning(keyID string, message []byte, messageType, algorithm string, tokens []string) error {
	if err := validateKeyID(keyID, "keyId"); err != nil {
		return err
	}
	if err := validateMessage(message); err != nil {
		return err
	}
	switch messageType {
	case "", messageRaw, messageDigest, messageExternalMu:
	default:
		return invalidEnum(messageType, "messageType", messageRaw, messageDigest, messageExternalMu)
	}
	if err := validateEnum(algorithm, "signingAlgorithm", keyspec.SigningAlgorithms()); err != nil {
		return err
	}
	return validateGrantTokens(tokens)
}

func validateMessage(message []byte) error {
	if message == nil {
		return missing("message")
	}
	return checkLength(hidden, "message", len(message), 1, maxMessage)
}

// toSign returns what the algorithm signs of a message: a digest or, by ED25519_SHA_512, the message.
func toSign(a keyspec.Algorithm, message []byte, messageType string) ([]byte, error) {
	pure := a.Mechanism == hsmbackend.MechEdDSA
	switch {
	case messageType == messageExternalMu,
		pure && messageType == messageDigest,
		a.Mechanism == hsmbackend.MechEdDSAPH && messageType != messageDigest:
		return nil, Errorf(CodeValidation, "MessageType %s is not compatible with SigningAlgorithm %s.", messageType, a.Name)
	case pure:
		return message, nil
	case messageType == messageDigest:
		if len(message) != a.Hash.Size() {
			return nil, Errorf(CodeValidation, "Digest is invalid length for algorithm %s.", a.Name)
		}
		return message, nil
	}
	h := a.Hash.New()
	h.Write(message)
	return h.Sum(nil), nil
}

// admitSigning finds the key, admits the call, and returns what is signed.
func (r *Region) admitSigning(ctx context.Context, c *Call, keyID, algorithm, messageType string, message []byte) (
	v *view, a keyspec.Algorithm, signed []byte, err error,
) {
	if messageType == "" {
		messageType = messageRaw
	}
	c.param("keyId", keyID)
	c.param("signingAlgorithm", algorithm)
	c.param("messageType", messageType)
	if v, err = r.find(ctx, c, keyID, true); err != nil {
		return v, a, nil, err
	}
	c.request.Context.SigningAlgorithm, c.request.Context.MessageType = algorithm, messageType
	a, err = r.admitUse(ctx, c, v, keyspec.SignVerify, algorithm, func(a keyspec.Algorithm) error {
		signed, err = toSign(a, message, messageType)
		return err
	})
	return v, a, signed, err
}

func sign(ctx context.Context, r *Region, c *Call, in *SignInput) (*SignOutput, error) {
	c.dryRun = in.DryRun
	v, a, signed, err := r.admitSigning(ctx, c, in.KeyID, in.SigningAlgorithm, in.MessageType, in.Message)
	if err != nil {
		return nil, err
	}
	var signature []byte
	err = r.withMaterial(ctx, c, v, v.key.Current, func(key ciphertext.KeyHandle) error {
		signature, err = keyring.Sign(ctx, r.cfg.Token, key.Ref, a, signed)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &SignOutput{KeyID: v.arn, Signature: signature, SigningAlgorithm: a.Name}, nil
}

// verify asks no token: the public key is in the key's authenticated records.
func verify(ctx context.Context, r *Region, c *Call, in *VerifyInput) (*VerifyOutput, error) {
	c.dryRun = in.DryRun
	v, a, signed, err := r.admitSigning(ctx, c, in.KeyID, in.SigningAlgorithm, in.MessageType, in.Message)
	if err != nil {
		return nil, err
	}
	if err := v.public.Verify(a, signed, in.Signature); err != nil {
		return nil, &Error{Code: CodeInvalidSignature}
	}
	return &VerifyOutput{KeyID: v.arn, SignatureValid: true, SigningAlgorithm: a.Name}, nil
}
