package rest_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"antipode/regions"
	"antipode/regions/regionstest"
	"antipode/regions/rest"
)

func text(t testing.TB, m map[string]any, path ...string) string {
	t.Helper()
	for _, name := range path[:len(path)-1] {
		next, is := m[name].(map[string]any)
		if !is {
			t.Fatalf("no %s in %v", name, m)
		}
		m = next
	}
	s, is := m[path[len(path)-1]].(string)
	if !is {
		t.Fatalf("no text %s in %v", path[len(path)-1], m)
	}
	return s
}

// A key's life by REST: made, described, named, tagged, used in both forms, disabled, deleted; each with its status.
func TestJourney(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	a := f.send(t, call(http.MethodPost, "/keys", `{"Description":"first","Tags":[{"TagKey":"a","TagValue":"1"}]}`))
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	location := a.header.Get("Location")
	described := f.must(t, call(http.MethodGet, location, ""), http.StatusOK)
	id, arn := text(t, described, "KeyMetadata", "KeyId"), text(t, described, "KeyMetadata", "Arn")
	if location != "/v1/regions/us-east-2/keys/"+id {
		t.Errorf("location %s", location)
	}
	key := "/keys/" + id
	for _, name := range []string{url.PathEscape(arn), url.QueryEscape(arn)} { // with and without its colons
		again := f.must(t, call(http.MethodGet, "/keys/"+name, ""), http.StatusOK)
		if text(t, again, "KeyMetadata", "KeyId") != id {
			t.Errorf("%s is %v", name, again)
		}
	}
	f.must(t, call(http.MethodPatch, key, `{"Description":"second"}`), http.StatusNoContent)
	made := f.send(t, call(http.MethodPost, "/aliases", `{"AliasName":"alias/team/one","TargetKeyId":"`+id+`"}`))
	if made.status != http.StatusCreated || made.header.Get("Location") != "/v1/regions/us-east-2/aliases/team%2Fone" {
		t.Errorf("alias: %d %s at %s", made.status, made.body, made.header.Get("Location"))
	}
	if d := text(t, f.must(t, call(http.MethodGet, "/keys/alias%2Fteam%2Fone", ""), http.StatusOK), "KeyMetadata", "Description"); d != "second" {
		t.Errorf("description %q", d)
	}
	f.must(t, call(http.MethodPatch, "/aliases/team%2Fone", `{"TargetKeyId":"`+id+`"}`), http.StatusNoContent)
	if n := f.must(t, call(http.MethodGet, "/aliases?KeyId="+id+"&Limit=1", ""), http.StatusOK)["Aliases"].([]any); len(n) != 1 {
		t.Errorf("aliases %v", n)
	}
	f.must(t, call(http.MethodDelete, "/aliases/team%2Fone", ""), http.StatusNoContent)

	f.must(t, call(http.MethodPost, key+"/tags", `{"Tags":[{"TagKey":"b","TagValue":"2"},{"TagKey":"c","TagValue":"3"}]}`), http.StatusNoContent)
	f.must(t, call(http.MethodDelete, key+"/tags?TagKeys=a&TagKeys=c", ""), http.StatusNoContent)
	tags := f.must(t, call(http.MethodGet, key+"/tags", ""), http.StatusOK)["Tags"].([]any)
	if len(tags) != 1 || text(t, tags[0].(map[string]any), "TagKey") != "b" {
		t.Errorf("tags %v", tags)
	}
	policy := text(t, f.must(t, call(http.MethodGet, key+"/policy", ""), http.StatusOK), "Policy")
	if policy == "" {
		t.Error("no policy")
	}

	sealed := text(t, f.must(t, call(http.MethodPost, key+":encrypt",
		`{"Plaintext":"aGVsbG8=","EncryptionContext":{"case":"7"}}`), http.StatusOK), "CiphertextBlob")
	for _, path := range []string{key + ":decrypt", "/keys:decrypt"} {
		opened := f.must(t, call(http.MethodPost, path, `{"CiphertextBlob":"`+sealed+`","EncryptionContext":{"case":"7"}}`), http.StatusOK)
		if text(t, opened, "Plaintext") != "aGVsbG8=" || text(t, opened, "KeyId") != arn {
			t.Errorf("%s: %v", path, opened)
		}
	}
	f.refused(t, call(http.MethodPost, "/keys:decrypt", `{"CiphertextBlob":"`+sealed+`"}`), http.StatusBadRequest, "InvalidCiphertextException", "")
	again := f.must(t, call(http.MethodPost, "/keys:reEncrypt", `{"DestinationKeyId":"`+id+`","CiphertextBlob":"`+sealed+`","SourceEncryptionContext":{"case":"7"}}`), http.StatusOK)
	if opened := f.must(t, call(http.MethodPost, "/keys:decrypt", `{"CiphertextBlob":"`+text(t, again, "CiphertextBlob")+`"}`), http.StatusOK); text(t, opened, "Plaintext") != "aGVsbG8=" {
		t.Errorf("re-encrypted: %v", opened)
	}
	if random, err := base64.StdEncoding.DecodeString(text(t, f.must(t, call(http.MethodPost, "/random", `{"NumberOfBytes":24}`), http.StatusOK), "Plaintext")); err != nil || len(random) != 24 {
		t.Errorf("random: %d bytes, %v", len(random), err)
	}

	f.must(t, call(http.MethodPost, key+":disable", ""), http.StatusNoContent)
	f.refused(t, call(http.MethodPost, key+":encrypt", `{"Plaintext":"aGVsbG8="}`), http.StatusConflict, "DisabledException", arn+" is disabled.")
	f.must(t, call(http.MethodPost, key+":enable", "{}"), http.StatusNoContent)
	f.must(t, call(http.MethodDelete, key+"?PendingWindowInDays=7", ""), http.StatusAccepted)
	f.refused(t, call(http.MethodPost, key+":enable", ""), http.StatusConflict, "KMSInvalidStateException", arn+" is pending deletion.")
	f.must(t, call(http.MethodPost, key+":cancelDeletion", ""), http.StatusOK)
	if n := f.must(t, call(http.MethodGet, "/keys", ""), http.StatusOK)["Keys"].([]any); len(n) != 1 {
		t.Errorf("keys %v", n)
	}
}

// Bytes go in and out as they are, with the other members in the query and in headers.
func TestRawBodies(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	key := f.CreateKey(t, false)
	plaintext := "\x00\xff attack at dawn\r\n"
	raw := func(path, body string) request {
		r := call(http.MethodPost, path, body)
		r.media, r.accept = "application/octet-stream", "application/octet-stream"
		return r
	}
	const context = "?EncryptionContext%5Bcase%5D=7&EncryptionContext%5Ba%5Db%5D=%26"
	sealed := f.send(t, raw("/keys/"+key.KeyID+":encrypt"+context, plaintext))
	if sealed.status != http.StatusOK || sealed.header.Get("Content-Type") != "application/octet-stream" ||
		sealed.header.Get("Kms-KeyId") != key.Arn || sealed.header.Get("Kms-EncryptionAlgorithm") != "SYMMETRIC_DEFAULT" {
		t.Fatalf("%d %s %v", sealed.status, sealed.body, sealed.header)
	}
	opened := f.send(t, raw("/keys:decrypt"+context, string(sealed.body)))
	if opened.status != http.StatusOK || string(opened.body) != plaintext || opened.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %q", opened.status, opened.body)
	}
	// The context is the one that JSON has, names with brackets and all.
	body := `{"CiphertextBlob":"` + base64.StdEncoding.EncodeToString(sealed.body) + `","EncryptionContext":{"case":"7","a]b":"&"}}`
	if got := text(t, f.must(t, call(http.MethodPost, "/keys/"+key.KeyID+":decrypt", body), http.StatusOK), "Plaintext"); got != base64.StdEncoding.EncodeToString([]byte(plaintext)) {
		t.Errorf("by JSON: %s", got)
	}
	f.refused(t, raw("/keys:decrypt?EncryptionContext%5Bcase%5D=8", string(sealed.body)), http.StatusBadRequest, "InvalidCiphertextException", "")
	// One of the two forms raw, the other JSON.
	half := raw("/keys/"+key.KeyID+":encrypt", plaintext)
	half.accept = ""
	if text(t, f.must(t, half, http.StatusOK), "CiphertextBlob") == "" {
		t.Error("nothing is sealed")
	}
}

// Without a valid signature nothing is told but what is wrong with it, and who is allowed nothing is told so.
func TestRefusals(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	key := f.CreateKey(t, false)
	path := "/keys/" + key.KeyID
	get := func(change func(*request)) request {
		r := call(http.MethodGet, path, "")
		change(&r)
		return r
	}
	unsigned := get(func(r *request) { r.after = func(q *http.Request) { q.Header.Del("Authorization") } })
	f.refused(t, unsigned, http.StatusUnauthorized, "MissingAuthenticationTokenException", "Missing Authentication Token")
	if a := f.send(t, unsigned); a.header.Get("Www-Authenticate") != "AWS4-HMAC-SHA256" {
		t.Errorf("%v", a.header)
	}
	const mismatch = "The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	f.refused(t, get(func(r *request) { r.secret = "no" }), http.StatusUnauthorized, "InvalidSignatureException", mismatch)
	f.refused(t, get(func(r *request) {
		r.after = func(q *http.Request) { q.URL.Path = "/v1/regions/us-east-2/keys/other" }
	}), http.StatusUnauthorized, "InvalidSignatureException", mismatch)
	f.refused(t, get(func(r *request) {
		r.after = func(q *http.Request) { q.URL.RawQuery = "GrantTokens=a" }
	}), http.StatusUnauthorized, "InvalidSignatureException", mismatch)
	f.refused(t, get(func(r *request) { r.region = "us-west-1" }), http.StatusUnauthorized, "InvalidSignatureException",
		"Credential should be scoped to a valid region.")
	f.refused(t, get(func(r *request) { r.path = "/v1/regions/mars-1/keys" }), http.StatusNotFound, "NotFoundException",
		"This Region is not served here.")

	f.AddUser(t, "clerk", "AKIACCCCCCCCCCCCCCCC", nil)
	f.refused(t, get(func(r *request) { r.accessKey = "AKIACCCCCCCCCCCCCCCC" }), http.StatusForbidden, "AccessDeniedException",
		"User: arn:aws:iam::"+regionstest.Account+":user/clerk is not authorized to perform: kms:DescribeKey on resource: "+key.Arn+
			" because no identity-based policy allows the kms:DescribeKey action")
	f.refused(t, call(http.MethodGet, "/keys/11111111-2222-4333-8444-555555555555", ""), http.StatusNotFound, "NotFoundException",
		"Key 'arn:aws:kms:us-east-2:111122223333:key/11111111-2222-4333-8444-555555555555' does not exist")
	f.must(t, call(http.MethodPost, "/aliases", `{"AliasName":"alias/a","TargetKeyId":"`+key.KeyID+`"}`), http.StatusCreated)
	if a := f.send(t, call(http.MethodPost, "/aliases", `{"AliasName":"alias/a","TargetKeyId":"`+key.KeyID+`"}`)); a.status != http.StatusConflict {
		t.Errorf("the same alias: %d %s", a.status, a.body)
	}
}

// A Region of two: the signature is for one of them, the path for the other.
func TestRegionOfThePath(t *testing.T) {
	t.Parallel()
	f, other := newFront(t), regionstest.Open(t, "us-west-1")
	f.url = serve(t, rest.Config{Served: []*regions.Region{f.Region, other.Region}, Now: time.Now, Log: zerolog.Nop()})
	r := call(http.MethodGet, "/v1/regions/us-west-1/keys", "")
	f.refused(t, r, http.StatusUnauthorized, "InvalidSignatureException", "Credential should be scoped to a valid region.")
	r.region = "us-west-1"
	key := other.CreateKey(t, false)
	keys := f.must(t, r, http.StatusOK)["Keys"].([]any)
	if len(keys) != 1 || text(t, keys[0].(map[string]any), "KeyId") != key.KeyID {
		t.Errorf("keys of us-west-1: %v", keys)
	}
}

// A quota that is used up is 429.
func TestQuota(t *testing.T) {
	t.Parallel()
	f := newFront(t, regionstest.WithMaxKeys(1))
	f.must(t, call(http.MethodPost, "/keys", ""), http.StatusCreated)
	if a := f.send(t, call(http.MethodPost, "/keys", "")); a.status != http.StatusTooManyRequests || a.problem(t).Code != "LimitExceededException" {
		t.Errorf("%d %s", a.status, a.body)
	}
}
