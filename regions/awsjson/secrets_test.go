package awsjson_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/regionstest"
)

// lockedBuffer is a log that many write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// After every operation, in each way it can end, neither the log at its most talkative nor the audit log holds a
// plaintext, a secret access key, a signature or a PIN.
func TestNoSecretsInLogs(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	var broken atomic.Bool
	f := newFrontLogging(t, zerolog.New(&log).Level(zerolog.TraceLevel), regionstest.WithLog(&log),
		regionstest.WithToken(func(tok hsmbackend.Token) hsmbackend.Token {
			return hsmtest.Faulty(tok, func(string) (bool, error) {
				if broken.Load() {
					return false, errors.New("the token is out of order")
				}
				return false, nil
			})
		}))
	pin, err := os.ReadFile(filepath.Join(f.Soft.Dir, "pin"))
	if err != nil {
		t.Fatal(err)
	}
	plaintext := []byte("attack at dawn, by the north gate")
	secrets := map[string][]byte{"plaintext": plaintext, "secret access key": []byte(regionstest.Secret), "PIN": pin}
	key := f.CreateKey(t, true).KeyID
	sealed := base64.StdEncoding.EncodeToString(f.Encrypt(t, key, plaintext))
	b64 := base64.StdEncoding.EncodeToString(plaintext)
	bodies := []string{
		`{"KeyId":"` + key + `","Plaintext":"` + b64 + `","CiphertextBlob":"` + sealed + `","DestinationKeyId":"` + key + `",` +
			`"NumberOfBytes":32,"AliasName":"alias/a","TargetKeyId":"` + key + `"}`,
		`{"KeyId":"` + key + `","Plaintext":"` + b64 + `","CiphertextBlob":"` + sealed + `","SourceKeyId":"` + key +
			`","DestinationKeyId":"alias/none","EncryptionContext":{"a":"b"},"NumberOfBytes":1}`,
		`{"KeyId":"x","Plaintext":"` + b64 + `","CiphertextBlob":"` + b64 + `","DestinationKeyId":"x"}`,
		`{"Plaintext":"` + b64 + `"`,
		`{"Plaintext":"` + string(plaintext) + `"}`,
		`{"Plaintext":"` + base64.StdEncoding.EncodeToString(bytes.Repeat(plaintext, 200)) + `","KeyId":"` + key + `"}`,
		`{"Plaintext":["` + b64 + `"],"KeyId":"` + key + `"}`,
		`{"` + b64 + `":1,"` + b64 + `":2}`,
	}
	run := func(operation, body string) {
		resp, err := http.DefaultClient.Do(f.build(t, ordinary(operation, body)))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var got bytes.Buffer
		if _, err := got.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(got.Bytes(), []byte("out of order")) {
			t.Errorf("%s shows the client what is wrong inside: %s", operation, got.Bytes())
		}
		if resp.StatusCode != http.StatusOK && (bytes.Contains(got.Bytes(), plaintext) || strings.Contains(got.String(), b64)) {
			t.Errorf("%s repeats the plaintext in a refusal: %s", operation, got.Bytes())
		}
	}
	for _, out := range []bool{false, true} {
		broken.Store(out)
		for _, op := range regions.Operations() {
			for _, body := range bodies {
				run(op.Name, body)
			}
		}
		wrong := ordinary("Encrypt", bodies[0])
		wrong.secret = "no" + regionstest.Secret
		if a := f.send(t, wrong); a.Type != "InvalidSignatureException" {
			t.Errorf("wrong secret: %s", a.refusal())
		}
	}
	broken.Store(false)
	if lines := log.String(); !strings.Contains(lines, "out of order") {
		t.Errorf("the log says nothing of the token's failure, so it proves nothing:\n%s", lines)
	}
	logs := map[string]string{"log": log.String()}
	files, err := filepath.Glob(filepath.Join(f.AuditDir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no audit log: %v", err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		logs[filepath.Base(path)] = string(raw)
	}
	for place, text := range logs {
		for name, secret := range secrets {
			for form, s := range map[string]string{
				"as it is": string(secret), "in base64": base64.RawStdEncoding.EncodeToString(secret)[:20],
				"in hex": hex.EncodeToString(secret),
			} {
				if strings.Contains(text, s) {
					t.Errorf("%s holds the %s %s", place, name, form)
				}
			}
		}
		if strings.Contains(text, "Signature=") {
			t.Errorf("%s holds an Authorization header", place)
		}
	}
}
