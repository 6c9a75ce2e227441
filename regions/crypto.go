package regions

import (
	"context"
	"errors"

	"antipode/hsmbackend"
	"antipode/regions/ciphertext"
	"antipode/regions/encctx"
	"antipode/regions/keyspec"
	"antipode/regions/secret"
)

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

// admitCrypto admits an encryption or decryption and checks that key and algorithm fit it; check is asked before a dry
// run is answered.
func (r *Region) admitCrypto(ctx context.Context, c *Call, v *view, algorithm string, check func(keyspec.Algorithm) error) (
	keyspec.Algorithm, error,
) {
	return r.admitUse(ctx, c, v, keyspec.EncryptDecrypt, algorithm, check)
}

// admitUse is admitCrypto for operations on keys of any usage.
func (r *Region) admitUse(ctx context.Context, c *Call, v *view, usage, algorithm string, check func(keyspec.Algorithm) error) (
	a keyspec.Algorithm, err error,
) {
	if err := r.allow(ctx, c, c.op.Action, v); err != nil {
		return a, err
	}
	if a, err = r.usable(c, v, usage, algorithm); err != nil {
		return a, err
	}
	if check != nil {
		if err := check(a); err != nil {
			return a, err
		}
	}
	return a, r.proceed(ctx, c)
}

// usable checks the key's state, its usage and that the algorithm, "" for that of symmetric keys, is one of its own and of
// the token's.
func (r *Region) usable(c *Call, v *view, usage, algorithm string) (a keyspec.Algorithm, err error) {
	if err := checkState(c.op.Name, r.stateOf(v), v.arn); err != nil {
		return a, err
	}
	if v.key.Usage != usage {
		return a, Errorf(CodeInvalidKeyUsage, "%s key usage is %s which is not valid for %s.", v.arn, v.key.Usage, c.op.Name)
	}
	if algorithm == "" {
		algorithm = AlgorithmSymmetric
	}
	a, fits := v.spec.Algorithm(usage, algorithm)
	if !fits {
		return a, Errorf(CodeInvalidKeyUsage, "Algorithm %s is incompatible with key spec %s.", algorithm, v.key.Spec)
	}
	if !a.On(r.caps) {
		return a, Errorf(CodeUnsupportedOperation, "Algorithm %s is not supported in Region %s: its token lacks %s.", algorithm,
			r.cfg.Name, a.Mechanism)
	}
	return a, nil
}

// checkContext: the algorithms of key pairs authenticate no encryption context.
func checkContext(a keyspec.Algorithm, ec encctx.Context) error {
	if a.Name != AlgorithmSymmetric && len(ec) > 0 {
		return Errorf(CodeValidation, "An encryption context cannot be used with algorithm %s.", a.Name)
	}
	return nil
}

// checkPlaintext checks what is to be encrypted.
func checkPlaintext(v *view, a keyspec.Algorithm, ec encctx.Context, length int) error {
	if err := checkContext(a, ec); err != nil {
		return err
	}
	if most := v.spec.MaxPlaintext(a); length > most {
		return Errorf(CodeValidation, "Algorithm %s and key spec %s cannot encrypt data larger than %d bytes.", a.Name, v.key.Spec, most)
	}
	return nil
}

// sealed is a ciphertext as it came: parsed, if it is one of a symmetric key.
type sealed struct {
	raw  []byte
	blob ciphertext.Blob
	pair bool
}

// materialID is what AWS shows of a ciphertext: of symmetric keys only.
func (s sealed) materialID() string {
	if s.pair {
		return ""
	}
	return s.blob.MaterialID()
}

// shownMaterial is the id of a key's current material where AWS shows one: of symmetric keys.
func shownMaterial(k *Key) string {
	if k.Spec == SpecSymmetricDefault {
		return k.Current
	}
	return ""
}

// findByBlob finds the key that a ciphertext names. If the request names a key too, it must be the same one; a ciphertext
// of a key pair names none.
func (r *Region) findByBlob(ctx context.Context, c *Call, action string, raw []byte, keyID string) (*view, sealed, error) {
	parsed, parseErr := ciphertext.Parse(raw)
	blob := sealed{raw: raw, blob: parsed}
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
		if blob.pair = v.spec.Pair(); blob.pair {
			return v, blob, nil
		}
		if parseErr != nil {
			c.resource(v.arn, v.key.Account)
			return nil, blob, &Error{Code: CodeInvalidCiphertext}
		}
		if v.key.KeyID != parsed.KeyID() {
			c.resource(v.arn, v.key.Account)
			return nil, blob, Errorf(CodeIncorrectKey,
				"The key ID in the request does not identify a CMK that can perform this operation.")
		}
		return v, blob, nil
	}
	if parseErr != nil {
		return nil, blob, &Error{Code: CodeInvalidCiphertext}
	}
	v, err := r.views.key(ctx, parsed.KeyID())
	if err != nil {
		return nil, blob, err
	}
	if v == nil {
		return nil, blob, noCiphertextKey()
	}
	return v, blob, nil
}

// findSource is findByBlob, or, if the ciphertext is to be ignored, finds the key by its name alone. The call must then end
// as a dry run.
func (r *Region) findSource(ctx context.Context, c *Call, action string, raw []byte, keyID string, ignore bool) (*view, sealed, error) {
	if !ignore {
		return r.findByBlob(ctx, c, action, raw, keyID)
	}
	v, err := r.find(ctx, c, keyID, true)
	return v, sealed{}, err
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

// encryptBy encrypts on the token or, to a key pair, with its public key.
func (r *Region) encryptBy(ctx context.Context, c *Call, v *view, a keyspec.Algorithm, ec encctx.Context, plaintext []byte) ([]byte, error) {
	if a.Name == AlgorithmSymmetric {
		return r.seal(ctx, c, v, ec, plaintext)
	}
	return v.public.Encrypt(a, plaintext)
}

func (r *Region) decryptBy(ctx context.Context, c *Call, v *view, a keyspec.Algorithm, blob sealed, ec encctx.Context) (secret.Bytes, error) {
	if a.Name == AlgorithmSymmetric {
		return r.open(ctx, c, v, blob.blob, ec)
	}
	var plaintext secret.Bytes
	err := r.withMaterial(ctx, c, v, v.key.Current, func(key ciphertext.KeyHandle) error {
		opened, err := r.cfg.Token.DecryptOAEP(ctx, key.Ref, a.Mechanism, blob.raw)
		plaintext = secret.Of(opened)
		return err
	})
	if errors.Is(err, hsmbackend.ErrIntegrity) {
		return secret.Bytes{}, &Error{Code: CodeInvalidCiphertext}
	}
	return plaintext, err
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
