package rest_test

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"antipode/regions"
	"antipode/regions/regionstest"
	"antipode/regions/rest"
)

// contract is the OpenAPI document as a client reads it. Answers may have no members that it does not name.
type contract struct {
	doc    *openapi3.T
	router routers.Router
}

func newContract(t testing.TB, url string) *contract {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v", resp.StatusCode, err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Fatalf("the document: %v", err)
	}
	no := false
	for _, s := range doc.Components.Schemas {
		if s.Value.Properties != nil {
			s.Value.AdditionalProperties = openapi3.AdditionalProperties{Has: &no}
		}
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &contract{doc, router}
}

// check compares a request and its answer with the document. A request that was accepted must be one that it describes;
// every answer must be. It returns the operation's id.
func (c *contract) check(t testing.TB, r request, a answer) string {
	t.Helper()
	req := a.req.Clone(t.Context())
	req.Body = io.NopCloser(strings.NewReader(r.body))
	route, vars, err := c.router.FindRoute(req)
	if err != nil {
		if a.status < 300 {
			t.Errorf("%s %s is answered and not in the document: %v", r.method, r.path, err)
		}
		return ""
	}
	in := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: vars, Route: route,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil && a.status < 300 && !r.loose {
		t.Errorf("%s %s %.100s is accepted and not as the document has it: %v", r.method, r.path, r.body, err)
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: a.status, Header: a.header, Options: in.Options,
		Body: io.NopCloser(bytes.NewReader(a.body)),
	}
	if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
		t.Errorf("the answer of %s is not as the document has it: %d %.200s: %v", route.Operation.OperationID, a.status, a.body, err)
	}
	return route.Operation.OperationID
}

// Each operation that is built is in the document, and nothing else is.
func TestDocumentIsComplete(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	ways, err := rest.Ways()
	if err != nil {
		t.Fatal(err)
	}
	var built, described []string
	for _, w := range ways {
		if w.Built {
			built = append(built, w.Method+" /v1/regions/{region}"+w.Path+" "+w.Name)
		}
	}
	for name, path := range rest.Batches() {
		built = append(built, "POST /v1/regions/{region}"+path+" "+name)
	}
	for path, item := range f.contract.doc.Paths.Map() {
		for method, op := range item.Operations() {
			described = append(described, method+" "+path+" "+op.OperationID)
		}
	}
	slices.Sort(built)
	slices.Sort(described)
	if !slices.Equal(built, described) {
		t.Errorf("built\n%s\ndescribed\n%s", strings.Join(built, "\n"), strings.Join(described, "\n"))
	}
}

// Every path answers, and each operation has a success that is as the document says. [front.send] does the comparing, here
// and in every other test.
func TestEveryPathAnswers(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	// Each call has a key of its own, since some of them end it.
	examples := examples()
	for path, item := range f.contract.doc.Paths.Map() {
		for method, op := range item.Operations() {
			e, shown := examples[op.OperationID]
			if !shown {
				t.Errorf("%s has no example here", op.OperationID)
				continue
			}
			t.Run(op.OperationID, func(t *testing.T) {
				t.Parallel()
				key := f.CreateKey(t, e.multiRegion)
				sealed, made := base64.StdEncoding.EncodeToString(f.Encrypt(t, key.KeyID, []byte("x"))), ""
				if e.spec != "" || e.origin != "" {
					key = regionstest.Must[regions.CreateKeyOutput](t, f.Fixture, "CreateKey", &regions.CreateKeyInput{
						KeySpec: e.spec, KeyUsage: e.usage, Origin: e.origin,
					}).KeyMetadata
				}
				if e.before != nil {
					made = e.before(t, f, key)
				}
				fill := strings.NewReplacer(
					"{KeyId}", key.KeyID, "{ARN}", key.Arn, "{region}", home, "{GrantId}", made,
					"{alias}", "a-"+key.KeyID, "{AliasName}", "a-"+key.KeyID, "{CustomKeyStoreId}", "cks-1",
					"{sealed}", sealed, "{made}", made,
				)
				r := call(method, fill.Replace(path+e.query), fill.Replace(e.body))
				a := f.send(t, r)
				if (a.status < 300) == e.refused {
					t.Errorf("%s: %d %s", op.OperationID, a.status, a.body)
				}
			})
		}
	}
}

// example is a call of an operation that is answered with a success, or, where there is none, refused.
type example struct {
	query, body string
	refused     bool
	spec, usage string // of the key, if it is not a symmetric one
	origin      string // of the key, if it is not the token
	multiRegion bool   // the key is
	// before makes what the call is about, if that is more than a key, and returns its name.
	before func(testing.TB, *front, regions.KeyMetadata) string
}

const newGrant = `{"GranteePrincipal":"arn:aws:iam::` + regionstest.Account + `:user/administrator","Operations":["Decrypt"],` +
	`"Constraints":{"EncryptionContextSubset":{"a":"b"}}}`

func examples() map[string]example {
	alias := func(t testing.TB, f *front, key regions.KeyMetadata) string {
		t.Helper()
		regionstest.Must[struct{}](t, f.Fixture, "CreateAlias", &regions.AliasInput{AliasName: "alias/a-" + key.KeyID, TargetKeyID: key.KeyID})
		return ""
	}
	grant := func(t testing.TB, f *front, key regions.KeyMetadata) string {
		t.Helper()
		return text(t, f.must(t, call(http.MethodPost, "/keys/"+key.KeyID+"/grants", newGrant), http.StatusCreated), "GrantId")
	}
	const sealed, spec = `{"CiphertextBlob":"{sealed}"}`, `{"KeySpec":"AES_256"}`
	out := map[string]example{
		"CreateKey": {body: `{"Description":"d","Tags":[{"TagKey":"a","TagValue":"b"}]}`}, "ListKeys": {query: "?Limit=1"},
		"DescribeKey": {}, "DescribeKeyReplicas": {multiRegion: true}, "UpdateKeyDescription": {body: `{"Description":"d"}`},
		"ScheduleKeyDeletion": {query: "?PendingWindowInDays=7"},
		"CancelKeyDeletion": {before: func(t testing.TB, f *front, key regions.KeyMetadata) string {
			t.Helper()
			f.must(t, call(http.MethodDelete, "/keys/"+key.KeyID, ""), http.StatusAccepted)
			return ""
		}},
		"GetKeyPolicy": {}, "ListKeyPolicies": {}, "PutKeyPolicy": {body: `{"Policy":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",` +
			`\"Principal\":{\"AWS\":\"arn:aws:iam::` + regionstest.Account + `:root\"},\"Action\":\"kms:*\",\"Resource\":\"*\"}]}"}`},
		"ListResourceTags": {}, "TagResource": {body: `{"Tags":[{"TagKey":"a","TagValue":"b"}]}`}, "UntagResource": {query: "?TagKeys=a&TagKeys=b"},
		"ListAliases": {query: "?KeyId={KeyId}", before: alias}, "CreateAlias": {body: `{"AliasName":"alias/{alias}","TargetKeyId":"{KeyId}"}`},
		"UpdateAlias": {body: `{"TargetKeyId":"{KeyId}"}`, before: alias}, "DeleteAlias": {before: alias},
		"EnableKey": {}, "DisableKey": {}, "Encrypt": {body: `{"Plaintext":"eA==","EncryptionContext":{"a":"b"}}`},
		"Decrypt": {body: sealed}, "DecryptAny": {body: sealed}, "ReEncrypt": {body: `{"CiphertextBlob":"{sealed}","DestinationKeyId":"{KeyId}"}`},
		"GenerateDataKey": {body: spec}, "GenerateDataKeyWithoutPlaintext": {body: spec}, "GenerateRandom": {body: `{"NumberOfBytes":8}`},
		"ReplicateKey":        {body: `{"ReplicaRegion":"us-west-1"}`, refused: true}, // this front has one Region; ci/clients replicates
		"UpdatePrimaryRegion": {body: `{"PrimaryRegion":"us-west-1"}`, refused: true},
		"CreateGrant":         {body: newGrant}, "RevokeGrant": {before: grant}, "RetireGrant": {before: grant, body: `{"KeyId":"{ARN}","GrantId":"{GrantId}"}`},
		"ListGrants": {}, "ListRetirableGrants": {query: "?RetiringPrincipal=arn:aws:iam::" + regionstest.Account + ":user/administrator"},
		"DescribeCustomKeyStores": {}, "GetKeyLastUsage": {}, "GetKeyRotationStatus": {}, "ListKeyRotations": {}, "DisableKeyRotation": {}, "RotateKeyOnDemand": {},
		"EnableKeyRotation": {body: `{"RotationPeriodInDays":90}`},
		"BatchEncrypt":      {body: `{"Items":[{"KeyId":"{KeyId}","Plaintext":"eA=="},{"KeyId":"alias/none","Plaintext":"eA=="}]}`},
		"BatchSign":         {body: `{"Items":[{"KeyId":"{KeyId}","Message":"eA==","SigningAlgorithm":"ECDSA_SHA_256"}]}`},
		"BatchGenerateMac":  {body: `{"Items":[{"KeyId":"{KeyId}","Message":"eA==","MacAlgorithm":"HMAC_SHA_256"}]}`},
		"BatchDecrypt":      {body: `{"Items":[{"CiphertextBlob":"{sealed}"},{"CiphertextBlob":""}]}`},
	}
	pairExamples(out)
	importExamples(out)
	for _, name := range []string{"CreateCustomKeyStore", "UpdateCustomKeyStore", "DeleteCustomKeyStore", "ConnectCustomKeyStore", "DisconnectCustomKeyStore"} {
		out[name] = example{refused: true, body: ""} // there are no custom key stores
	}
	return out
}
