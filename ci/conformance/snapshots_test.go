package conformance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"antipode/regions/regionstest"
)

var write = flag.Bool("write", false, "write docs/conformance.md")

// protocolErrors are those of a request that was not understood.
var protocolErrors = []string{
	"SerializationException", "UnknownOperationException", "InvalidSignatureException", "IncompleteSignatureException",
	"MissingAuthenticationTokenException", "UnrecognizedClientException", "RequestEntityTooLargeException", "KMSInternalException", "",
}

// Each request that the official client's own tests expect it to send, with every member of the operation, is understood:
// it is answered by the operation, never by the protocol.
func TestRequestSnapshots(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	for _, op := range operations(t) {
		body := snapshot(t, "request_snapshot", op, "request")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, k.url+"/", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		req.Header.Set("X-Amz-Target", "TrentService."+op)
		sum := sha256.Sum256(body)
		creds := aws.Credentials{AccessKeyID: regionstest.AccessKeyID, SecretAccessKey: regionstest.Secret}
		if err := v4.NewSigner().SignHTTP(t.Context(), creds, req, hex.EncodeToString(sum[:]), "kms", home, time.Now()); err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		var refusal struct {
			Type string `json:"__type"`
		}
		if resp.StatusCode == http.StatusOK {
			continue
		}
		if err := json.Unmarshal(answer, &refusal); err != nil || slices.Contains(protocolErrors, refusal.Type) {
			t.Errorf("%s: %d %s", op, resp.StatusCode, answer)
		}
	}
}

// compareMembers: what was answered has no member that AWS's recorded answer has not, and each has its JSON type.
func compareMembers(t *testing.T, k *kit) {
	t.Helper()
	for op, got := range k.wire.seen {
		want := paths(t, snapshot(t, "response_snapshot", op, "response"), filledByCallers)
		for path, typ := range got {
			if want[path] != typ {
				t.Errorf("%s answers %s as a JSON %s; AWS's answer has it as %q", op, path, typ, want[path])
			}
		}
	}
}

// absentMembers lists what AWS's recorded answers have and none of ours had.
func absentMembers(t *testing.T, k *kit) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("\n## Members of answers\n\nEvery member of every answer above is one of AWS's recorded answer to that operation, with the " +
		"same JSON type. These members of\nAWS's were in none of them, as there are no custom key stores (CloudHsm, CustomKeyStore, Xks), no attested recipients and no\nservice principals here, and no key in those states:\n\n| operation | members |\n|---|---|\n")
	for _, op := range slices.Sorted(maps.Keys(k.wire.seen)) {
		var absent []string
		for path := range paths(t, snapshot(t, "response_snapshot", op, "response"), filledByCallers) {
			if _, has := k.wire.seen[op][path]; !has && !strings.HasSuffix(path, "]") {
				absent = append(absent, "`"+path+"`")
			}
		}
		slices.Sort(absent)
		if len(absent) > 0 {
			fmt.Fprintf(&b, "| %s | %s |\n", op, strings.Join(absent, ", "))
		}
	}
	return b.String()
}

// document fails if docs/conformance.md is not what was seen; -write writes it.
func document(t *testing.T, table string) {
	t.Helper()
	text := "# Conformance\n\nWritten by `go test ./ci/conformance -write`, which drives every operation of the official AWS KMS model by the " +
		"official Go\nclient against two real Regions on SoftHSM2; the test fails when this is not what it sees. AWS's names of errors are " +
		"shortened\nby \"Exception\". Every operation also answers AccessDeniedException, ValidationException and the errors of the protocol, which " +
		"the\nmodel does not list.\n\n" + table
	path := filepath.Join("..", "..", "docs", "conformance.md")
	if *write {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Log("\n" + table)
	have, err := os.ReadFile(filepath.Clean(path))
	if err != nil || string(have) != text {
		t.Errorf("docs/conformance.md is not what the test saw (%v): go test ./ci/conformance -write", err)
	}
}
