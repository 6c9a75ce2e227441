package rest_test

import (
	"encoding/base64"
	stdjson "encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

type batchAnswer struct {
	Results []struct {
		Status  int
		Answer  map[string]any
		Problem problem
	}
}

func (f *front) batch(t testing.TB, r request) (out batchAnswer) {
	t.Helper()
	a := f.send(t, r)
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if err := stdjson.Unmarshal(a.body, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Each item of a batch has its own outcome, is authorised by itself, and leaves its own audit record.
func TestBatch(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	mine, other := f.CreateKey(t, false), f.CreateKey(t, false)
	allowed := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"` + mine.Arn + `"}]}`
	f.AddUser(t, "clerk", "AKIACCCCCCCCCCCCCCCC", []byte(allowed))
	before := len(f.Records(t))
	r := call(http.MethodPost, "/batch:encrypt", `{"Items":[`+
		`{"KeyId":"`+mine.KeyID+`","Plaintext":"YQ==","EncryptionContext":{"n":"0"}},`+
		`{"KeyId":"`+other.KeyID+`","Plaintext":"Yg=="},`+
		`{"KeyId":"`+mine.KeyID+`"},`+
		`{"KeyId":"`+mine.KeyID+`","Plain":"Yw=="},`+
		`{"KeyId":"`+mine.KeyID+`","Plaintext":"ZA==","EncryptionContext":{"n":"4"}}]}`)
	r.accessKey, r.loose = "AKIACCCCCCCCCCCCCCCC", true
	got := f.batch(t, r)
	want := []struct {
		status int
		code   string
	}{{200, ""}, {403, "AccessDeniedException"}, {400, "ValidationException"}, {400, "SerializationException"}, {200, ""}}
	if len(got.Results) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, w := range want {
		if g := got.Results[i]; g.Status != w.status || g.Problem.Code != w.code || (g.Answer == nil) != (w.code != "") {
			t.Errorf("item %d: %+v", i, g)
		}
	}
	var events []string
	for _, rec := range f.Records(t)[before:] {
		events = append(events, rec.Event.EventName+" "+rec.Event.ErrorCode+" "+rec.Event.UserIdentity.UserName)
	}
	// The item that is not understood is no call.
	if want := []string{"Encrypt  clerk", "Encrypt AccessDeniedException clerk", "Encrypt ValidationException clerk", "Encrypt  clerk"}; !slices.Equal(events, want) {
		t.Errorf("the audit log has %q", events)
	}
	items := fmt.Sprintf(`{"Items":[{"CiphertextBlob":%q,"EncryptionContext":{"n":"0"}},{"CiphertextBlob":%q,"EncryptionContext":{"n":"0"}}]}`,
		got.Results[0].Answer["CiphertextBlob"], got.Results[4].Answer["CiphertextBlob"])
	opened := f.batch(t, call(http.MethodPost, "/batch:decrypt", items))
	if opened.Results[0].Answer["Plaintext"] != "YQ==" || opened.Results[1].Problem.Code != "InvalidCiphertextException" {
		t.Errorf("%+v", opened)
	}
}

// A batch holds 1 to 100 items, of the largest size each, and is refused as a whole if it is no batch.
func TestBatchLimits(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	key := f.CreateKey(t, false)
	item := `{"KeyId":"` + key.KeyID + `","Plaintext":"` + base64.StdEncoding.EncodeToString(make([]byte, 4096)) + `"}`
	batch := func(n int) request {
		return call(http.MethodPost, "/batch:encrypt", `{"Items":[`+strings.TrimSuffix(strings.Repeat(item+",", n), ",")+`]}`)
	}
	full := f.batch(t, batch(100))
	if len(full.Results) != 100 || full.Results[99].Status != http.StatusOK {
		t.Fatalf("%d results", len(full.Results))
	}
	var sealed []string
	for _, r := range full.Results {
		sealed = append(sealed, fmt.Sprintf(`{"CiphertextBlob":%q}`, r.Answer["CiphertextBlob"]))
	}
	opened := f.batch(t, call(http.MethodPost, "/batch:decrypt", `{"Items":[`+strings.Join(sealed, ",")+`]}`))
	if len(opened.Results) != 100 || opened.Results[99].Status != http.StatusOK {
		t.Errorf("%d are opened", len(opened.Results))
	}
	f.refused(t, batch(101), http.StatusBadRequest, "ValidationException", "A batch holds 1 to 100 items, not 101.")
	f.refused(t, batch(0), http.StatusBadRequest, "ValidationException", "A batch holds 1 to 100 items, not 0.")
	f.refused(t, batch(200), http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", "The request is larger than 1048576 bytes.")
	const url = "/batch:encrypt"
	f.refused(t, call(http.MethodPost, url, `{"Items":[{"KeyId":"a","KeyId":"b"}]}`), http.StatusBadRequest, "SerializationException",
		"Duplicate member name in a structure or map")
	f.refused(t, call(http.MethodPost, url, `{"Items":[],"Item":[]}`), http.StatusBadRequest, "SerializationException",
		"The request has a member that the operation does not know")
	unsigned := batch(1)
	unsigned.after = func(r *http.Request) { r.Header.Del("Authorization") }
	f.refused(t, unsigned, http.StatusUnauthorized, "MissingAuthenticationTokenException", "Missing Authentication Token")
}
