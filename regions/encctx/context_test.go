package encctx_test

import (
	stdjson "encoding/json"
	"errors"
	"maps"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"antipode/regions/encctx"
)

// decoders are all the ways in which a Context may be reached; each must be as strict as the others.
var decoders = map[string]func(text []byte, into any) error{
	"v2": func(text []byte, into any) error { return json.Unmarshal(text, into) },
	"v2 lax": func(text []byte, into any) error {
		return json.Unmarshal(text, into, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	},
	"encoding/json": stdjson.Unmarshal,
}

type request struct {
	EncryptionContext encctx.Context
}

func TestContext(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, text string
		want       map[string]string
		err        bool
	}{
		{name: "pairs", text: `{"b":"2","a":"1"}`, want: map[string]string{"a": "1", "b": "2"}},
		{name: "empty", text: `{}`},
		{name: "null", text: `null`},
		{name: "empty strings", text: `{"":""}`, want: map[string]string{"": ""}},
		{name: "escapes", text: `{"\u0061\ud83d\ude00":"\n\u0000"}`, want: map[string]string{"a😀": "\n\x00"}},
		{name: "not normalised", text: "{\"\u00e9\":\"1\",\"e\u0301\":\"2\"}", want: map[string]string{"\u00e9": "1", "e\u0301": "2"}},
		{name: "replacement character", text: "{\"\ufffd\":\"\ufffd\"}", want: map[string]string{"\ufffd": "\ufffd"}},
		{name: "name twice", text: `{"a":"1","a":"1"}`, err: true},
		{name: "name twice, once escaped", text: `{"a":"1","\u0061":"2"}`, err: true},
		{name: "null value", text: `{"a":null}`, err: true},
		{name: "invalid UTF-8 in a value", text: "{\"a\":\"\xff\"}", err: true},
		{name: "invalid UTF-8 in a name", text: "{\"\xc3\":\"1\"}", err: true},
		{name: "UTF-8 of a surrogate", text: "{\"a\":\"\xed\xa0\x80\"}", err: true},
		{name: "unpaired high surrogate", text: `{"a":"\ud83d"}`, err: true},
		{name: "unpaired low surrogate in a name", text: `{"\ude00":"1"}`, err: true},
		{name: "number", text: `{"a":1}`, err: true},
		{name: "boolean", text: `{"a":true}`, err: true},
		{name: "list", text: `{"a":["1"]}`, err: true},
		{name: "object", text: `{"a":{}}`, err: true},
		{name: "no object", text: `"a"`, err: true},
		{name: "a list", text: `[]`, err: true},
		{name: "cut", text: `{"a":"1"`, err: true},
	}
	for _, c := range cases {
		for how, decode := range decoders {
			t.Run(c.name+"/"+how, func(t *testing.T) {
				t.Parallel()
				r := request{encctx.Context{"left": "over"}}
				err := decode([]byte(`{"EncryptionContext":`+c.text+`,"More":1}`), &r)
				if c.err {
					if err == nil {
						t.Fatalf("accepted as %q", r.EncryptionContext)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if !maps.Equal(r.EncryptionContext, c.want) {
					t.Errorf("got %q, want %q", r.EncryptionContext, c.want)
				}
			})
		}
	}
}

func TestNullIsNamed(t *testing.T) {
	t.Parallel()
	var r request
	if err := json.Unmarshal([]byte(`{"EncryptionContext":{"a":null}}`), &r); !errors.Is(err, encctx.ErrNull) {
		t.Errorf("got %v, want ErrNull", err)
	}
}

// FuzzContext: what decodes is UTF-8, encodes in one canonical form, and that form decodes to the same and encodes to
// the same bytes; and all decoders agree on it.
func FuzzContext(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `{"a":"1","b":"2"}`, `{"a":"1","a":"2"}`, `{"a":null}`, `{"\ud83d\ude00":"\ud83d"}`, "{\"\xff\":\"\"}",
		`{"a":{"a":1}}`, ` { "a" : "b" } `, `{"a":"1"}}`, `[`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var c encctx.Context
		err := json.Unmarshal(text, &c)
		for how, decode := range decoders {
			var other encctx.Context
			if otherErr := decode(text, &other); (err == nil) != (otherErr == nil) || err == nil && !maps.Equal(c, other) {
				t.Fatalf("v2: %q, %v; %s: %q, %v", c, err, how, other, otherErr)
			}
		}
		if err != nil {
			return
		}
		for name, value := range c {
			if !utf8.ValidString(name) || !utf8.ValidString(value) {
				t.Fatalf("%q: %q is not UTF-8", name, value)
			}
		}
		canonical, err := json.Marshal(c, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		var again encctx.Context
		if err := json.Unmarshal(canonical, &again); err != nil {
			t.Fatalf("canonical form %s: %v", canonical, err)
		}
		twice, err := json.Marshal(again, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		if string(twice) != string(canonical) || !maps.Equal(c, again) {
			t.Errorf("%s became %s", canonical, twice)
		}
	})
}
