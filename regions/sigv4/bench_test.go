package sigv4_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"antipode/regions/sigv4"
)

// BenchmarkVerify compares our verifier with what a server would do that had only the official signer: sign again.
// Both work on the Encrypt call of an SDK with a body of 200 bytes, signing keys cached.
func BenchmarkVerify(b *testing.B) {
	body := []byte(`{"KeyId":"mrk-1234abcd12ab34cd56ef1234567890ab","Plaintext":"` + strings.Repeat("A", 137) + `"}`)
	r := signedKMS(b, body, "")
	b.Run("antipode", func(b *testing.B) {
		v := verifier(b, sigv4.Config{Service: "kms", Now: kmsNow})
		key := sigv4.Key{Secret: []byte(suiteSecret)}
		b.ReportAllocs()
		for b.Loop() {
			if err := check(v, r, body, key); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("official-signer", func(b *testing.B) {
		s := v4.NewSigner()
		credentials := aws.Credentials{AccessKeyID: suiteID, SecretAccessKey: suiteSecret}
		b.ReportAllocs()
		for b.Loop() {
			if err := s.SignHTTP(b.Context(), credentials, r, hexSum(body), "kms", "us-east-2", kmsNow()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
