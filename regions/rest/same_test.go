package rest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	stdjson "encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"antipode/regions"
	"antipode/regions/awsjson"
	"antipode/regions/regionstest"
	"antipode/regions/rest"
)

// Two Regions with the same history, one asked by REST and one by AWS JSON, answer alike: the same code and text, or the same
// members, whatever operation is asked for and whatever its members are.
func TestSameAsAWSJSON(t *testing.T) {
	t.Parallel()
	ways, err := rest.Ways()
	if err != nil {
		t.Fatal(err)
	}
	ways = slices.DeleteFunc(ways, func(w rest.Way) bool { // AWS JSON has not what is ours alone
		_, own := regions.OwnOperation(w.Operation)
		return own
	})
	both := newTwins(t)
	seen := map[string]int{} // outcomes
	rapid.Check(t, func(t *rapid.T) {
		both.newKeys()
		for range 6 {
			w := rapid.SampledFrom(ways).Draw(t, "way")
			op, _ := regions.OperationByName(w.Operation)
			in := map[string]any{}
			if w.Built {
				in = drawInput(t, w, reflect.TypeOf(op.NewInput()).Elem())
			}
			byREST, byJSON := both.ask(t, w, in)
			if byREST != byJSON {
				t.Fatalf("%s %v\nREST     %s\nAWS JSON %s", w.Name, in, byREST, byJSON)
			}
			code, _, _ := strings.Cut(byREST, ":")
			seen[code]++
		}
	})
	t.Logf("outcomes: %v", seen)
	if seen["answer"] == 0 || seen["NotFoundException"] == 0 || seen["ValidationException"] == 0 {
		t.Errorf("the inputs that are drawn show too little: %v", seen)
	}
}

type twins struct {
	byREST, byJSON *front
	keys           [2]regions.KeyMetadata
}

func newTwins(t *testing.T) *twins {
	t.Helper()
	b := &twins{byREST: newFront(t), byJSON: newFront(t)}
	h, err := awsjson.NewHandler([]*regions.Region{b.byJSON.Region}, time.Now, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	b.byJSON.url = s.URL
	b.newKeys()
	for i, f := range []*front{b.byREST, b.byJSON} {
		regionstest.Must[struct{}](t, f.Fixture, "CreateAlias", &regions.AliasInput{AliasName: "alias/there", TargetKeyID: b.keys[i].KeyID})
	}
	return b
}

// newKeys gives each twin a key that nothing has been done with.
func (b *twins) newKeys() {
	for i, f := range []*front{b.byREST, b.byJSON} {
		b.keys[i] = f.CreateKey(f.tb, true)
	}
}

// drawInput draws members. Those of the path are always there; an empty list can't be said in a query.
func drawInput(t *rapid.T, w rest.Way, input reflect.Type) map[string]any {
	texts := []string{
		"KEY", "ARN", "alias/there", "alias/none", "11111111-2222-4333-8444-555555555555", "mrk-00000000000000000000000000000000",
		"arn:aws:kms:us-west-1:111122223333:alias/there", "arn:aws:kms:us-east-2:444455556666:key/x", "x", "default", "AES_256",
		"SYMMETRIC_DEFAULT", "RSA_2048", "SIGN_VERIFY", "us-west-1", strings.Repeat("k", 2049), "a b/ü%2F?#&=+\x01", "DryRun",
	}
	in := map[string]any{}
	for i := range input.NumField() {
		name, _, _ := strings.Cut(input.Field(i).Tag.Get("json"), ",")
		typ := input.Field(i).Type
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		inPath := slices.Contains(w.Variables, name)
		if !inPath && rapid.IntRange(0, 3).Draw(t, name+" is absent") == 0 {
			continue
		}
		switch {
		case name == "AliasName":
			in[name] = "alias/" + rapid.SampledFrom([]string{"there", "none", "a/b", "b@d", "aws/x"}).Draw(t, name)
		case typ.Kind() == reflect.String:
			in[name] = rapid.SampledFrom(texts).Draw(t, name)
			if strings.HasSuffix(name, "KeyId") && rapid.Bool().Draw(t, name+" is there") {
				in[name] = "KEY"
			}
		case typ.Kind() == reflect.Bool:
			in[name] = rapid.Bool().Draw(t, name)
		case typ.Kind() == reflect.Int:
			in[name] = rapid.SampledFrom([]int{-1, 0, 1, 7, 30, 1024, 5000}).Draw(t, name)
		case typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Uint8:
			in[name] = rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, name)
		case typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.String:
			least := 0
			if w.InQuery {
				least = 1
			}
			in[name] = rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "Decrypt", ""}), least, 3).Draw(t, name)
		case typ.Kind() == reflect.Map:
			in[name] = rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", ""}), rapid.SampledFrom([]string{"1", ""}), 0, 2).Draw(t, name)
		}
	}
	return in
}

// ask makes the call on each twin and returns both outcomes, without what is bound to differ.
func (b *twins) ask(t *rapid.T, w rest.Way, in map[string]any) (byREST, byJSON string) {
	encode := func(v map[string]any, key regions.KeyMetadata) string {
		text, err := stdjson.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return strings.NewReplacer(`"KEY"`, `"`+key.KeyID+`"`, `"ARN"`, `"`+key.Arn+`"`).Replace(string(text))
	}
	rest, values, query := map[string]any{}, map[string]string{}, url.Values{}
	for _, name := range w.Variables {
		values[name] = "x" // of an operation that is not built
	}
	for name, v := range in {
		text := strings.NewReplacer("KEY", b.keys[0].KeyID, "ARN", b.keys[0].Arn).Replace(fmt.Sprint(v))
		list, isList := v.([]string)
		switch {
		case values[name] != "":
			values[name] = url.PathEscape(strings.TrimPrefix(text, "alias/"))
			if name != "AliasName" {
				values[name] = url.PathEscape(text)
			}
		case w.InQuery && isList:
			query[name] = list
		case w.InQuery:
			query.Set(name, text)
		default:
			rest[name] = v
		}
	}
	r := call(w.Method, w.In(values), "")
	if !w.InQuery {
		r = call(w.Method, w.In(values), encode(rest, b.keys[0]))
	} else if len(query) > 0 {
		r.path += "?" + query.Encode()
	}
	a := b.byREST.send(b.byREST.tb, r)
	if a.status < 300 {
		byREST = outcome(t, a.body)
	} else {
		p := a.problem(b.byREST.tb)
		byREST = p.Code + ":" + anonymous(p.Detail)
	}
	return byREST, b.askJSON(t, w.Operation, encode(in, b.keys[1]))
}

func (b *twins) askJSON(t *rapid.T, operation, body string) string {
	req, err := http.NewRequestWithContext(b.byJSON.tb.Context(), http.MethodPost, b.byJSON.url+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "TrentService."+operation)
	sum := sha256.Sum256([]byte(body))
	creds := aws.Credentials{AccessKeyID: regionstest.AccessKeyID, SecretAccessKey: regionstest.Secret}
	if err := v4.NewSigner().SignHTTP(req.Context(), creds, req, hex.EncodeToString(sum[:]), "kms", home, time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK {
		return outcome(t, raw)
	}
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if err := stdjson.Unmarshal(raw, &e); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return e.Type + ":" + anonymous(e.Message)
}

var names = regexp.MustCompile(`(mrk-)?[0-9a-f]{64}|mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

func anonymous(text string) string { return names.ReplaceAllString(text, "NAME") }

// outcome is an answer without what is random in it.
func outcome(t *rapid.T, body []byte) string {
	if len(body) == 0 {
		return "answer: nothing"
	}
	var members map[string]any
	dec := stdjson.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if err := dec.Decode(&members); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	for _, random := range []string{"CiphertextBlob", "Plaintext", "NextMarker", "GrantToken"} {
		if s, is := members[random].(string); is {
			members[random] = len(s)
		}
	}
	text, err := stdjson.Marshal(members) // in order of names
	if err != nil {
		t.Fatal(err)
	}
	return "answer: " + anonymous(string(text))
}
