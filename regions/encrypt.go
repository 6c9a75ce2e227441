package regions

import (
	"context"
	"errors"

	"antipode/hsmbackend"
	"antipode/regions/ciphertext"
	"antipode/regions/encctx"
	"antipode/regions/keyring"
	"antipode/regions/secret"
)

// AlgorithmSymmetric is the encryption algorithm of symmetric keys.
const AlgorithmSymmetric = "SYMMETRIC_DEFAULT"

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

func validateAlgorithm(alg, field string) error {
	switch alg {
	case "", AlgorithmSymmetric, "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE":
		return nil
	}
	return invalidEnum(alg, field, AlgorithmSymmetric, "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE")
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
	if err := r.admitCrypto(ctx, c, v, in.EncryptionAlgorithm); err != nil {
		return nil, err
	}
	blob, err := r.seal(ctx, c, v, in.EncryptionContext, in.Plaintext)
	if err != nil {
		return nil, err
	}
	return &EncryptOutput{CiphertextBlob: blob, KeyID: v.arn, EncryptionAlgorithm: AlgorithmSymmetric}, nil
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
}

// DecryptOutput is the answer of Decrypt.
type DecryptOutput struct {
	KeyID               string `json:"KeyId"` // ARN
	Plaintext           []byte `json:"Plaintext"`
	EncryptionAlgorithm string `json:"EncryptionAlgorithm"`
	KeyMaterialID       string `json:"KeyMaterialId"`
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
	if err := validateBlob(in.CiphertextBlob); err != nil {
		return err
	}
	if err := validateGrantTokens(in.GrantTokens); err != nil {
		return err
	}
	return validateAlgorithm(in.EncryptionAlgorithm, "encryptionAlgorithm")
}

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
	v, blob, err := r.findByBlob(ctx, c, c.op.Action, in.CiphertextBlob, in.KeyID)
	if err != nil {
		return nil, err
	}
	if err := r.admitCrypto(ctx, c, v, in.EncryptionAlgorithm); err != nil {
		return nil, unnamed(err, in.KeyID)
	}
	plaintext, err := r.open(ctx, c, v, blob, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return &DecryptOutput{
		KeyID: v.arn, Plaintext: plaintext.Reveal(), EncryptionAlgorithm: AlgorithmSymmetric, KeyMaterialID: blob.MaterialID(),
	}, nil
}

// askCrypto tells policies what a cryptographic operation uses. The algorithm "" is that of symmetric keys.
func (c *Call) askCrypto(ec encctx.Context, algorithm string) {
	if algorithm == "" {
		algorithm = AlgorithmSymmetric
	}
	c.request.Context.EncryptionContext, c.request.Context.EncryptionAlgorithm = ec, algorithm
}

// takeAlias returns the alias by which the key that was found last was named, and forgets it.
func (c *Call) takeAlias() string {
	alias := c.request.Context.RequestAlias
	c.request.Context.RequestAlias = ""
	return alias
}

// admitCrypto admits a cryptographic operation and checks that key and algorithm fit it.
func (r *Region) admitCrypto(ctx context.Context, c *Call, v *view, algorithm string) error {
	if err := r.allow(ctx, c, c.op.Action, v); err != nil {
		return err
	}
	if err := r.usable(c, v, algorithm); err != nil {
		return err
	}
	return r.proceed(ctx, c)
}

// usable checks the key's state, its usage and that the algorithm is its own.
func (r *Region) usable(c *Call, v *view, algorithm string) error {
	if err := checkState(c.op.Name, v.key.State, v.arn); err != nil {
		return err
	}
	if v.key.Usage != UsageEncryptDecrypt {
		return Errorf(CodeInvalidKeyUsage, "%s key usage is %s which is not valid for %s.", v.arn, v.key.Usage, c.op.Name)
	}
	if algorithm != "" && algorithm != AlgorithmSymmetric {
		return Errorf(CodeInvalidKeyUsage, "Algorithm %s is incompatible with key spec %s.", algorithm, v.key.Spec)
	}
	return nil
}

// findByBlob finds the key that a ciphertext names. If the request names a key too, it must be the same one.
func (r *Region) findByBlob(ctx context.Context, c *Call, action string, raw []byte, keyID string) (*view, ciphertext.Blob, error) {
	blob, parseErr := ciphertext.Parse(raw)
	if keyID != "" {
		v, err := r.find(ctx, c, keyID, true)
		if err != nil {
			return nil, blob, err
		}
		if v.key.Account != c.caller.Account {
			// Whether there is such a key is told only to whom it is open.
			if err := r.allow(ctx, c, action, v); err != nil {
				return nil, blob, err
			}
		}
		if parseErr != nil {
			c.resource(v.arn, v.key.Account)
			return nil, blob, &Error{Code: CodeInvalidCiphertext}
		}
		if v.key.KeyID != blob.KeyID() {
			c.resource(v.arn, v.key.Account)
			return nil, blob, Errorf(CodeIncorrectKey,
				"The key ID in the request does not identify a CMK that can perform this operation.")
		}
		return v, blob, nil
	}
	if parseErr != nil {
		return nil, blob, &Error{Code: CodeInvalidCiphertext}
	}
	v, err := r.views.key(ctx, blob.KeyID())
	if err != nil {
		return nil, blob, err
	}
	if v == nil {
		return nil, blob, noCiphertextKey()
	}
	return v, blob, nil
}

// unnamed is the error for a caller who may not use the key of a ciphertext. If he has not named it, he learns nothing of
// it.
func unnamed(err error, keyID string) error {
	if keyID == "" && errors.Is(err, &Error{Code: CodeAccessDenied}) {
		return noCiphertextKey()
	}
	return err
}

// noCiphertextKey is what a caller is told who names no key and may not use the one that his ciphertext names, whether
// there is such a key or not.
func noCiphertextKey() *Error {
	return Errorf(CodeAccessDenied, "The ciphertext refers to a customer master key that does not exist, does not exist in "+
		"this region, or you are not allowed to access.")
}

func (r *Region) seal(ctx context.Context, c *Call, v *view, ec encctx.Context, plaintext []byte) (blob []byte, err error) {
	err = r.withMaterial(ctx, c, v, v.key.Current, func(key ciphertext.KeyHandle) error {
		blob, err = r.sealer.Seal(ctx, key, ec, plaintext)
		return err
	})
	return blob, contextError(err)
}

func (r *Region) open(ctx context.Context, c *Call, v *view, blob ciphertext.Blob, ec encctx.Context) (plaintext secret.Bytes, err error) {
	err = r.withMaterial(ctx, c, v, blob.MaterialID(), func(key ciphertext.KeyHandle) error {
		opened, err := r.sealer.Open(ctx, key, blob, ec)
		plaintext = secret.Of(opened)
		return err
	})
	if errors.Is(err, ciphertext.ErrInvalid) {
		return secret.Bytes{}, &Error{Code: CodeInvalidCiphertext}
	}
	return plaintext, contextError(err)
}

// contextError gives the AWS error for an encryption context that can't be used.
func contextError(err error) error {
	if errors.Is(err, ciphertext.ErrContext) {
		return Errorf(CodeValidation, "The encryption context is not valid: %v", err)
	}
	return err
}

// attempts bounds how often an operation starts again because a copy was lost or the key changed under it.
const attempts = 3

// withMaterial calls fn with a working copy of one of the key's materials. If the token has lost the copy it is made
// again. A change of the key that was committed before the copy was taken is seen: so once DisableKey or
// ScheduleKeyDeletion has answered, no copy of the key is made or used any more.
func (r *Region) withMaterial(ctx context.Context, c *Call, v *view, materialID string, fn func(ciphertext.KeyHandle) error) error {
	for attempt := 0; ; attempt++ {
		m, found := v.materials[materialID]
		if !found {
			return ciphertext.ErrInvalid
		}
		retry, err := r.tryMaterial(ctx, v, m, fn)
		if !retry || attempt == attempts-1 {
			return err
		}
		if v, err = r.views.key(ctx, v.key.KeyID); err != nil {
			return err
		}
		if v == nil {
			return Errorf(CodeNotFound, "Key '%s' does not exist", r.KeyARN(c.caller.Account, m.KeyID))
		}
		if err := r.usable(c, v, ""); err != nil {
			return err
		}
	}
}

func (r *Region) tryMaterial(ctx context.Context, v *view, m keyring.Material, fn func(ciphertext.KeyHandle) error) (retry bool, err error) {
	w, err := r.ring.Acquire(ctx, m)
	if err != nil {
		return errors.Is(err, hsmbackend.ErrObjectNotFound) || errors.Is(err, hsmbackend.ErrSessionLost), err
	}
	defer w.Release(ctx)
	if !r.views.current(v) {
		w.Lost() // it may be a copy that should not be there any more
		return true, Errorf(CodeInternal, "")
	}
	err = fn(ciphertext.KeyHandle{KeyID: m.KeyID, MaterialID: m.ID, Ref: w.Ref})
	if errors.Is(err, hsmbackend.ErrObjectNotFound) {
		w.Lost()
		return true, err
	}
	return false, err
}

// evict destroys every working copy and derived key of a key on the token before it returns.
func (r *Region) evict(ctx context.Context, materials []MaterialRecord) error {
	ids := make([]string, 0, len(materials))
	for _, m := range materials {
		ids = append(ids, m.ID)
	}
	return r.evictAll(ctx, ids)
}

func (r *Region) evictAll(ctx context.Context, ids []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	var errs []error
	for _, id := range ids {
		errs = append(errs, r.ring.Evict(ctx, id), r.sealer.Evict(ctx, id))
	}
	return errors.Join(errs...)
}
