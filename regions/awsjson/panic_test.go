package awsjson

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// A panic inside a call is answered as an internal error, whose cause is in the log and not in the answer.
func TestPanicIsAnswered(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h, err := NewHandler(nil, time.Now, zerolog.New(&log))
	if err != nil {
		t.Fatal(err)
	}
	h.auth = nil // so that nobody can be authenticated
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("{}"))
	req.Header.Set("X-Amz-Date", "20261122T000000Z")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261122/us-east-2/kms/aws4_request, "+
		"SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("0", 64))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	if rec.Code != http.StatusInternalServerError || !strings.Contains(rec.Body.String(), `"KMSInternalException"`) ||
		strings.Contains(rec.Body.String(), "nil pointer") {
		t.Errorf("answered %d %s", rec.Code, rec.Body)
	}
	if !strings.Contains(log.String(), "nil pointer") {
		t.Errorf("the log does not tell the cause: %s", log.String())
	}
}
