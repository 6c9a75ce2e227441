package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

func parameters(id *string) *kms.GetParametersForImportInput {
	return &kms.GetParametersForImportInput{
		KeyId: id, WrappingAlgorithm: types.AlgorithmSpecRsaesOaepSha256, WrappingKeySpec: types.WrappingKeySpecRsa2048,
	}
}

// importMaterial gives a key of origin EXTERNAL the material of its kind.
func (s *scene) importMaterial() {
	s.t.Helper()
	s.must("ImportKeyMaterial", s.importInput())
}

// importInput is a request that imports the scene's material, which is made the first time.
func (s *scene) importInput() *kms.ImportKeyMaterialInput {
	s.t.Helper()
	if s.material == nil {
		s.material = make([]byte, 32)
		if _, err := rand.Read(s.material); err != nil {
			s.t.Fatal(err)
		}
		if s.key.KeySpec == types.KeySpecEccNistP256 {
			private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				s.t.Fatal(err)
			}
			if s.material, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	p := must[kms.GetParametersForImportOutput](s.t, s.k, s.region, "GetParametersForImport", parameters(s.key.KeyId))
	public, err := x509.ParsePKIXPublicKey(p.PublicKey)
	if err != nil {
		s.t.Fatal(err)
	}
	to, is := public.(*rsa.PublicKey)
	if !is {
		s.t.Fatalf("the wrapping key is a %T", public)
	}
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, to, s.material, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &kms.ImportKeyMaterialInput{
		KeyId: s.key.KeyId, ImportToken: p.ImportToken, EncryptedKeyMaterial: wrapped, KeyMaterialDescription: aws.String("d"),
		ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire,
	}
}
