package sigv4_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"antipode/regions/sigv4"
)

// clientCases are requests recorded from real clients on 2026-11-22, sent to 127.0.0.1:48123 with the published example
// credentials; blanked are only the User-Agent headers, which no client signs.
var clientCases = []struct{ name, head, body string }{
	{
		"botocore 1.43.11",
		`POST / HTTP/1.1
Host: 127.0.0.1:48123
Accept-Encoding: identity
X-Amz-Target: TrentService.Encrypt
Content-Type: application/x-amz-json-1.1
X-Amz-Date: 20261122T035947Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/us-east-2/kms/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=836a12d00118471c1dce365c8779a3d99ac7027ab790a633ce4997fb6f29fd43
amz-sdk-invocation-id: da3a7ec1-fd68-4937-b0e9-0a570dc94cca
amz-sdk-request: attempt=1
Content-Length: 72
`,
		`{"KeyId": "mrk-1", "Plaintext": "aGk=", "EncryptionContext": {"a": "b"}}`,
	},
	{
		"@aws-sdk/client-kms 3.1162.0",
		`POST / HTTP/1.1
content-type: application/x-amz-json-1.1
x-amz-target: TrentService.Encrypt
content-length: 66
x-amz-user-agent: aws-sdk-js/3.1161.0
host: 127.0.0.1:48123
amz-sdk-invocation-id: 436af1bd-29eb-42e4-bf96-df8322da8f85
amz-sdk-request: attempt=1; max=3
x-amz-date: 20261122T035948Z
x-amz-content-sha256: c2a721d754b089d7001e609ed1905c402b44de7407dfeb157e1e4197aed7249f
authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/us-east-2/kms/aws4_request, SignedHeaders=amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;x-amz-content-sha256;x-amz-date;x-amz-target;x-amz-user-agent, Signature=99282d2c7d5ee41b5e551898c4198081b72a79ffbfdaa6e62352336636a14cf6
Connection: keep-alive
`,
		`{"KeyId":"mrk-1","Plaintext":"aGk=","EncryptionContext":{"a":"b"}}`,
	},
	{
		"@aws-sdk/client-kms 3.1162.0, temporary credentials",
		`POST / HTTP/1.1
content-type: application/x-amz-json-1.1
x-amz-target: TrentService.Encrypt
content-length: 36
x-amz-user-agent: aws-sdk-js/3.1161.0
host: 127.0.0.1:48123
amz-sdk-invocation-id: e3b58dab-f69f-4ef5-9e64-a7e278ce1d76
amz-sdk-request: attempt=1; max=3
x-amz-date: 20261122T035948Z
x-amz-security-token: tok/en==
x-amz-content-sha256: a507bc6be59d11120b7dc3505ae03210cbe4da21088afb1b7d83407f3df535f8
authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/us-east-2/kms/aws4_request, SignedHeaders=amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-amz-target;x-amz-user-agent, Signature=8f4c56c42e322ac77e8c9f0977ea726d55d172bab8e54a5aa98c89b4859ed137
Connection: keep-alive
`,
		`{"KeyId":"mrk-1","Plaintext":"aGk="}`,
	},
	{
		"aws-cli 1.45.11",
		`POST / HTTP/1.1
Host: 127.0.0.1:48123
Accept-Encoding: identity
X-Amz-Target: TrentService.ListKeys
Content-Type: application/x-amz-json-1.1
X-Amz-Date: 20261122T035950Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/us-east-2/kms/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=5109148fd6a614efcea97d05d0560f24f75bc73bac3694cd2add1be0c3818dcb
amz-sdk-invocation-id: f735b773-c724-4067-9465-8fe3dfc84993
amz-sdk-request: attempt=1
Content-Length: 2
`,
		`{}`,
	},
}

func TestRecordedClients(t *testing.T) {
	t.Parallel()
	for _, c := range clientCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			raw := strings.ReplaceAll(c.head+"\n", "\n", "\r\n") + c.body
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			q, err := sigv4.Parse(r)
			if err != nil {
				t.Fatalf("Parse: %v", err)
			}
			if q.Region != "us-east-2" || q.Service != "kms" {
				t.Errorf("credential = %+v", q.Credential)
			}
			v := verifier(t, sigv4.Config{Service: "kms", Now: func() time.Time { return q.SignedAt().Add(time.Second) }})
			key := sigv4.Key{Secret: []byte(suiteSecret)}
			if strings.Contains(c.name, "temporary") {
				key.SessionToken = "tok/en=="
			}
			if err := v.Verify(q, body, key); err != nil {
				t.Fatalf("Verify: %v", err)
			}
			// The operation is signed by all of them.
			r.Header.Set("X-Amz-Target", "TrentService.Decrypt")
			if q, err = sigv4.Parse(r); err != nil {
				t.Fatalf("Parse with another target: %v", err)
			}
			if err := v.Verify(q, body, key); !errors.Is(err, sigv4.ErrMismatch) {
				t.Errorf("Verify with another target: %v", err)
			}
		})
	}
}
