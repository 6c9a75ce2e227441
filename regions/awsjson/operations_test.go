package awsjson_test

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"antipode/regions"
	"antipode/regions/edge"
)

// sdkOperations are the operations of the official model, as the methods of the official client name them.
func sdkOperations(t *testing.T) []string {
	t.Helper()
	var names []string
	client := reflect.TypeFor[*kms.Client]()
	for i := range client.NumMethod() {
		if m := client.Method(i); m.Type.NumIn() == 4 && m.Type.NumOut() == 2 { // receiver, context, input, options
			names = append(names, m.Name)
		}
	}
	if len(names) < 56 {
		t.Fatalf("the official client has %d operations: %v", len(names), names)
	}
	return names
}

// Every operation of the official model is in the table; those that are not built say so, whatever they are sent, and
// the table has no others.
func TestEveryOperationOfTheModel(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	model := map[string]bool{}
	for _, name := range sdkOperations(t) {
		model[name] = true
		op, known := regions.OperationByName(name)
		if !known {
			t.Errorf("%s is not in the table", name)
			continue
		}
		for _, body := range []string{`{}`, `{"KeyId":"x"}`, snapshot(t, name)} {
			a := f.send(t, ordinary(name, body))
			if op.Built() {
				if a.Type == "UnknownOperationException" {
					t.Errorf("%s %s: %s", name, body, a.refusal())
				}
				continue
			}
			if want := "UnsupportedOperationException: " + name + " is not supported by this version of Antipode."; a.refusal() != want {
				t.Errorf("%s %s: %s", name, body, a.refusal())
			}
		}
	}
	for _, op := range regions.Operations() {
		if !model[op.Name] {
			t.Errorf("%s is no operation of AWS KMS", op.Name)
		}
	}
}

// sdkFolder is where the official client's source is.
func sdkFolder(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/kms").Output()
	if err != nil {
		t.Fatalf("find the official client: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// snapshot is the body of the request that the official client's own tests expect it to send, with every member of
// the operation's input.
func snapshot(t *testing.T, operation string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(sdkFolder(t), "request_snapshot", operation+".request.snap"))
	if err != nil {
		t.Fatal(err)
	}
	_, body, found := bytes.Cut(raw, []byte("\n\n{"))
	if !found {
		t.Fatalf("%s has no body", operation)
	}
	return "{" + string(body)
}

// ignored are members of the model that an operation that is built does not read.
var ignored = map[string]string{
	"CreateCustomKeyStore.CloudHsmClusterId":                noKeyStores,
	"CreateCustomKeyStore.CustomKeyStoreType":               noKeyStores,
	"CreateCustomKeyStore.KeyStorePassword":                 noKeyStores,
	"CreateCustomKeyStore.TrustAnchorCertificate":           noKeyStores,
	"CreateCustomKeyStore.XksProxyAuthenticationCredential": noKeyStores,
	"CreateCustomKeyStore.XksProxyConnectivity":             noKeyStores,
	"CreateCustomKeyStore.XksProxyUriEndpoint":              noKeyStores,
	"CreateCustomKeyStore.XksProxyUriPath":                  noKeyStores,
	"CreateCustomKeyStore.XksProxyVpcEndpointServiceName":   noKeyStores,
	"CreateCustomKeyStore.XksProxyVpcEndpointServiceOwner":  noKeyStores,
	"UpdateCustomKeyStore.CloudHsmClusterId":                noKeyStores,
	"UpdateCustomKeyStore.KeyStorePassword":                 noKeyStores,
	"UpdateCustomKeyStore.XksProxyAuthenticationCredential": noKeyStores,
	"UpdateCustomKeyStore.XksProxyConnectivity":             noKeyStores,
	"UpdateCustomKeyStore.XksProxyUriEndpoint":              noKeyStores,
	"UpdateCustomKeyStore.XksProxyUriPath":                  noKeyStores,
	"UpdateCustomKeyStore.XksProxyVpcEndpointServiceName":   noKeyStores,
	"UpdateCustomKeyStore.XksProxyVpcEndpointServiceOwner":  noKeyStores,
	"UpdateCustomKeyStore.NewCustomKeyStoreName":            noKeyStores,
}

const noKeyStores = "there are no custom key stores, and secrets of theirs are not to be held"

// What the official client sends decodes into our inputs, and each member of it arrives.
func TestSDKRequests(t *testing.T) {
	t.Parallel()
	for _, op := range regions.Operations() {
		if !op.Built() {
			continue
		}
		body := snapshot(t, op.Name)
		in := op.NewInput()
		if err := edge.Decode([]byte(body), in); err != nil {
			t.Errorf("%s: %v", op.Name, err)
			continue
		}
		again, err := edge.Encode(in)
		if err != nil {
			t.Fatal(err)
		}
		var sent, got map[string]any
		if err := errors.Join(stdjson.Unmarshal([]byte(body), &sent), stdjson.Unmarshal(again, &got)); err != nil {
			t.Fatal(err)
		}
		if len(sent) == 0 {
			t.Errorf("%s: the snapshot is empty", op.Name)
		}
		for name, value := range sent {
			_, skip := ignored[op.Name+"."+name]
			if name == "Recipient" { // is only looked for, and refused
				value = map[string]any{}
			}
			have, arrived := got[name]
			if !skip && !reflect.DeepEqual(have, value) {
				t.Errorf("%s.%s: %v arrived as %v", op.Name, name, value, have)
			}
			if skip && arrived {
				t.Errorf("%s.%s arrives and need not be listed as ignored", op.Name, name)
			}
		}
	}
}

// An answer without members has an empty body, as AWS's has.
func TestEmptyAnswer(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	key := f.CreateKey(t, false).KeyID
	for _, operation := range []string{"DisableKey", "EnableKey"} {
		a := f.send(t, ordinary(operation, `{"KeyId":"`+key+`"}`))
		if a.status != http.StatusOK || len(a.body) != 0 || a.header.Get("Content-Length") != "0" {
			t.Errorf("%s: %d %q, length %q", operation, a.status, a.body, a.header.Get("Content-Length"))
		}
	}
}
