package keyring

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"

	"antipode/hsmbackend"
	"antipode/regions/keypair"
	"antipode/regions/keyspec"
)

// identify returns the material id of a key on the token that is to be m's: by its tag or, of a key pair, by m.Public,
// to which the private key must be proven to belong. It returns ErrRefused if it does not.
func (r *Ring) identify(ctx context.Context, ref hsmbackend.KeyRef, m Material) (string, error) {
	spec, known := keyspec.Lookup(m.Spec)
	if !known {
		return "", fmt.Errorf("%w: key spec %s", hsmbackend.ErrUnsupported, m.Spec)
	}
	if !spec.Pair() {
		tag, err := r.token.Tag(ctx, ref)
		if err != nil {
			return "", err
		}
		defer clear(tag)
		if len(tag) < 28 { // SHA-224's
			return "", fmt.Errorf("%w: tag of %d bytes", hsmbackend.ErrTokenLies, len(tag))
		}
		return MaterialID(m.KeyID, m.Spec, tag), nil
	}
	public, err := keypair.Parse(spec, m.Public)
	if err != nil {
		return "", fmt.Errorf("%w: public key of %s: %w", ErrRefused, m.KeyID, err)
	}
	if err := r.prove(ctx, ref, spec, m.Usage, public); err != nil {
		return "", err
	}
	return MaterialID(m.KeyID, m.Spec, public.DER()), nil
}

// prove has the private key sign, agree or decrypt what was not known before, and checks it with the public key.
func (r *Ring) prove(ctx context.Context, ref hsmbackend.KeyRef, spec keyspec.Spec, usage string, public keypair.Public) error {
	algorithms := spec.AlgorithmsOn(r.caps, usage)
	if len(algorithms) == 0 {
		return fmt.Errorf("%w: %s keys for %s: %s", hsmbackend.ErrUnsupported, spec.Name, usage, spec.Missing(r.caps, usage))
	}
	challenge, err := r.token.Random(ctx, 64)
	if err != nil {
		return err
	}
	fits := false
	switch a := algorithms[0]; usage {
	case keyspec.SignVerify:
		fits, err = r.proveSigner(ctx, ref, a, public, challenge)
	case keyspec.EncryptDecrypt:
		fits, err = r.proveDecrypter(ctx, ref, a, public, challenge[:32])
	case keyspec.KeyAgreement:
		fits, err = r.proveAgreer(ctx, ref, public)
	}
	if err == nil && !fits {
		err = fmt.Errorf("%w: the private key is not that of the public key", ErrRefused)
	}
	return err
}

func (r *Ring) proveSigner(ctx context.Context, ref hsmbackend.KeyRef, a keyspec.Algorithm, public keypair.Public, challenge []byte) (bool, error) {
	digest := challenge[:a.Hash.Size()]
	sig, err := Sign(ctx, r.token, ref, a, digest)
	return err == nil && public.Verify(a, digest, sig) == nil, err
}

func (r *Ring) proveDecrypter(ctx context.Context, ref hsmbackend.KeyRef, a keyspec.Algorithm, public keypair.Public, challenge []byte) (bool, error) {
	sealed, err := public.Encrypt(a, challenge)
	if err != nil {
		return false, err
	}
	opened, err := r.token.DecryptOAEP(ctx, ref, a.Mechanism, sealed)
	if errors.Is(err, hsmbackend.ErrIntegrity) {
		return false, nil
	}
	return subtle.ConstantTimeCompare(opened, challenge) == 1, err
}

func (r *Ring) proveAgreer(ctx context.Context, ref hsmbackend.KeyRef, public keypair.Public) (bool, error) {
	theirs, err := public.ECDH()
	if err != nil {
		return false, err
	}
	own, err := theirs.Curve().GenerateKey(rand.Reader)
	if err != nil {
		return false, err
	}
	return r.agrees(ctx, ref, own, theirs)
}

func (r *Ring) agrees(ctx context.Context, ref hsmbackend.KeyRef, own *ecdh.PrivateKey, theirs *ecdh.PublicKey) (bool, error) {
	want, err := own.ECDH(theirs)
	if err != nil {
		return false, err
	}
	defer clear(want)
	got, err := r.token.AgreeECDH(ctx, ref, own.PublicKey().Bytes())
	defer clear(got)
	return subtle.ConstantTimeCompare(got, want) == 1, err
}

// Sign signs with a private key on the token by one of AWS's algorithms: a digest of a.Hash, or, by ED25519_SHA_512, a
// message. Signatures by ECDSA are DER ECDSA-Sig-Value.
func Sign(ctx context.Context, token hsmbackend.Signer, ref hsmbackend.KeyRef, a keyspec.Algorithm, signed []byte) ([]byte, error) {
	switch a.Mechanism {
	case hsmbackend.MechECDSA:
		raw, err := token.SignECDSA(ctx, ref, signed)
		if err != nil {
			return nil, err
		}
		return keypair.EncodeECDSA(raw)
	case hsmbackend.MechRSAPSS, hsmbackend.MechRSAPKCS1:
		return token.SignRSA(ctx, ref, a.Mechanism, a.Hash, signed)
	case hsmbackend.MechEdDSA, hsmbackend.MechEdDSAPH:
		return token.SignEd25519(ctx, ref, signed, a.Mechanism == hsmbackend.MechEdDSAPH)
	default:
		return nil, fmt.Errorf("%w: signatures by %s", hsmbackend.ErrUnsupported, a.Name)
	}
}
