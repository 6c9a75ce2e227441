package sigv4_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"antipode/regions/sigv4"
)

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestGoSDK has the official KMS client call a server over HTTP, with the real clock.
func TestGoSDK(t *testing.T) {
	t.Parallel()
	v := verifier(t, sigv4.Config{Service: "kms", Now: time.Now})
	verdicts := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = check(v, r, body, sigv4.Key{Secret: []byte(suiteSecret), SessionToken: "session"})
		}
		verdicts <- err
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if _, err := w.Write([]byte(`{"CiphertextBlob":"aGk="}`)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	client := kms.New(kms.Options{
		Region:       "us-east-2",
		BaseEndpoint: aws.String(server.URL),
		Credentials:  credentials.NewStaticCredentialsProvider(suiteID, suiteSecret, "session"),
	})
	_, err := client.Encrypt(t.Context(), &kms.EncryptInput{
		KeyId: aws.String("alias/a"), Plaintext: []byte("hi"), EncryptionContext: map[string]string{"a": "é"},
	})
	if err != nil {
		t.Errorf("client: %v", err)
	}
	if err := <-verdicts; err != nil {
		t.Errorf("server: %v", err)
	}
}
