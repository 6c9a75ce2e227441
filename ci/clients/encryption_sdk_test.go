package clients

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
)

// envelope is what the AWS Encryption SDK is asked to do, and what it answers.
type envelope struct {
	Verb      string            `json:"verb"`
	Message   []byte            `json:"message"`
	Context   map[string]string `json:"context"`
	Strict    []string          `json:"strict,omitempty"`    // ARNs, for the keyring that knows multi-Region keys
	Plain     []string          `json:"plain,omitempty"`     // ARNs, for the one that does not
	Discovery []string          `json:"discovery,omitempty"` // Regions
	Account   string            `json:"account,omitempty"`
}

// The AWS Encryption SDK's keyrings for multi-Region keys: what one Region's keyring encrypts the other's decrypts, by its
// own ARN and by discovery, and where the SDK says that it can't, it can't.
func TestEncryptionSDK(t *testing.T) {
	t.Parallel()
	sdk := newDriver(t, nodeWith(t, "@aws-crypto/client-node"), "encryption_sdk_driver.mjs")
	j := journey{t, newGoSDK(t)}
	made := j.makes(use{spec: "SYMMETRIC_DEFAULT", usage: "ENCRYPT_DECRYPT"})
	key, account, here := made.text("KeyId"), made.text("AWSAccountId"), made.text("Arn")
	there := inRegion(here, replicaRegion)
	single := j.must(primaryRegion, "CreateKey", members{}).sub("KeyMetadata").text("Arn")
	plaintext := make([]byte, 100_000)
	_, _ = rand.Read(plaintext)
	do := func(e envelope) (envelope, string) {
		t.Helper()
		var answer struct {
			envelope
			Error string `json:"error"`
		}
		if err := sdk.ask(e, &answer); err != nil {
			t.Fatal(err)
		}
		return answer.envelope, answer.Error
	}
	seal := func(e envelope) []byte {
		t.Helper()
		e.Verb, e.Message, e.Context = "encrypt", plaintext, map[string]string{"purpose": "archive", "Größe": "🔑"}
		out, failed := do(e)
		if failed != "" {
			t.Fatalf("encrypt with %v%v: %s", e.Strict, e.Plain, failed)
		}
		if len(out.Message) <= len(plaintext) || bytes.Contains(out.Message, plaintext[:64]) {
			t.Fatalf("%d bytes of message", len(out.Message))
		}
		return out.Message
	}
	opens := func(what string, message []byte, e envelope) {
		t.Helper()
		e.Verb, e.Message = "decrypt", message
		out, failed := do(e)
		if failed != "" || !bytes.Equal(out.Message, plaintext) || out.Context["purpose"] != "archive" || out.Context["Größe"] != "🔑" {
			t.Errorf("%s: %s, %d bytes, %v", what, failed, len(out.Message), out.Context)
		}
	}
	refused := func(what string, message []byte, e envelope, want string) {
		t.Helper()
		e.Verb, e.Message = "decrypt", message
		if out, failed := do(e); !strings.Contains(failed, want) || failed == "" {
			t.Errorf("%s: %q, %d bytes", what, failed, len(out.Message))
		}
	}

	for from, to := range map[string]string{here: there, there: here} {
		message := seal(envelope{Strict: []string{from}})
		if !bytes.Contains(message, []byte(from)) {
			t.Errorf("a message of %s does not name it", from)
		}
		opens("its own Region", message, envelope{Strict: []string{from}})
		opens("the other Region", message, envelope{Strict: []string{to}})
		opens("discovery in the other Region", message, envelope{Discovery: []string{regionOf(to)}, Account: account})
		opens("discovery in both", message, envelope{Discovery: []string{regionOf(to), regionOf(from)}, Account: account})
		refused("a keyring that knows no multi-Region keys", message, envelope{Plain: []string{to}}, "unencryptedDataKey has not been set")
		refused("discovery in another account", message, envelope{Discovery: []string{regionOf(to)}, Account: "999988887777"}, "No EDKs supplied")
	}

	// A message for two keys: either opens it, each in its Region. A single-Region key opens in its own only.
	both := seal(envelope{Strict: []string{single, there}})
	opens("its first key", both, envelope{Plain: []string{single}})
	opens("its second key, in the other Region", both, envelope{Strict: []string{here}})
	alone := seal(envelope{Strict: []string{single}})
	opens("a single-Region key", alone, envelope{Discovery: []string{primaryRegion}, Account: account})
	refused("a single-Region key in another Region", alone, envelope{Discovery: []string{replicaRegion}, Account: account}, "No EDKs supplied")

	// What the SDK passes on is the Region's own error.
	message := seal(envelope{Strict: []string{here}})
	j.must(replicaRegion, "DisableKey", members{"KeyId": key})
	refused("a disabled replica", message, envelope{Strict: []string{there}}, there+" is disabled.")
	opens("the primary of a disabled replica", message, envelope{Strict: []string{here}})
}

// regionOf returns the Region of an ARN.
func regionOf(arn string) string { return strings.Split(arn, ":")[3] }
