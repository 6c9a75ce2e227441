package keypair

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"antipode/hsmbackend"
	"antipode/regions/keyspec"
)

// Generate makes a key pair for a caller, in host memory with crypto/rand: private is DER PKCS #8 PrivateKeyInfo, which
// the caller overwrites after use, public DER SubjectPublicKeyInfo. It returns [hsmbackend.ErrUnsupported] for a spec
// that is none of a pair. (What crypto/rsa and crypto/ecdsa keep of the private key besides is garbage afterwards.)
func Generate(spec keyspec.Spec) (private, public []byte, err error) {
	if curve := curveOf(spec); curve != nil {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		return encode(k, &k.PublicKey)
	}
	if bits, is := spec.RSA(); is {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			return nil, nil, err
		}
		return encode(k, &k.PublicKey)
	}
	switch spec.Name {
	case "ECC_NIST_EDWARDS25519":
		pub, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		defer clear(k)
		return encode(k, pub)
	case "ECC_SECG_P256K1":
		k, err := secp256k1.GeneratePrivateKeyFromRand(rand.Reader)
		if err != nil {
			return nil, nil, err
		}
		defer k.Zero()
		return encodeSecp256k1(k)
	}
	return nil, nil, fmt.Errorf("%w: key pairs of spec %s", hsmbackend.ErrUnsupported, spec.Name)
}

func encode(private, public any) ([]byte, []byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	der, err := marshal(public)
	return key, der, err
}

// encodeSecp256k1 writes PKCS #8 with an ECPrivateKey (RFC 5915) that has its public key, as crypto/x509 does for the
// curves that it knows.
func encodeSecp256k1(k *secp256k1.PrivateKey) ([]byte, []byte, error) {
	scalar := k.Serialize()
	defer clear(scalar)
	point := k.PubKey().SerializeUncompressed()
	inner, err := asn1.Marshal(struct {
		Version int
		Private []byte
		Public  asn1.BitString `asn1:"explicit,tag:1"`
	}{1, scalar, asn1.BitString{Bytes: point, BitLength: 8 * len(point)}})
	if err != nil {
		return nil, nil, err
	}
	defer clear(inner)
	private, err := asn1.Marshal(struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Private   []byte
	}{0, pkix.AlgorithmIdentifier{Algorithm: oidECPublicKey(), Parameters: asn1.RawValue{FullBytes: oidSecp256k1()}}, inner})
	if err != nil {
		return nil, nil, err
	}
	public, err := marshal(k.PubKey())
	return private, public, err
}
