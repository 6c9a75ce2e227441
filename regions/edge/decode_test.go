package edge_test

import (
	stdjson "encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"antipode/regions/awstime"
	"antipode/regions/edge"
	"antipode/regions/encctx"
	"antipode/regions/secret"
)

// everything has a member of each type that requests have.
type everything struct {
	String  string
	Named   name
	Pointer *string
	Bool    bool
	Integer *int32
	Int     int
	Long    int64
	Blob    []byte
	Time    awstime.Timestamp
	List    []string
	Map     map[string]string
	Context encctx.Context
	Struct  *struct{ Inner []struct{ Leaf string } }
}

type name string

func TestDecodeTexts(t *testing.T) {
	t.Parallel()
	const (
		list    = "Start of list found where not expected"
		object  = "Start of structure or map found where not expected."
		invalid = "The request body is not valid JSON"
		twice   = "Duplicate member name in a structure or map"
		base64  = "STRING_VALUE can not be converted to a Blob: it is not valid Base64"
	)
	cases := map[string]string{
		`{"String":1}`:                      "NUMBER_VALUE can not be converted to a String",
		`{"String":1.5e9}`:                  "NUMBER_VALUE can not be converted to a String",
		`{"String":true}`:                   "TRUE_VALUE can not be converted to a String",
		`{"String":false}`:                  "FALSE_VALUE can not be converted to a String",
		`{"String":[]}`:                     list,
		`{"String":["a"]}`:                  list,
		`{"String":{}}`:                     object,
		`{"Named":1}`:                       "NUMBER_VALUE can not be converted to a String",
		`{"Pointer":1}`:                     "NUMBER_VALUE can not be converted to a String",
		`{"Pointer":{}}`:                    object,
		`{"Bool":"true"}`:                   "STRING_VALUE can not be converted to a Boolean",
		`{"Bool":1}`:                        "NUMBER_VALUE can not be converted to a Boolean",
		`{"Bool":[]}`:                       list,
		`{"Integer":"7"}`:                   "STRING_VALUE can not be converted to an Integer",
		`{"Integer":true}`:                  "TRUE_VALUE can not be converted to an Integer",
		`{"Integer":7.5}`:                   "NUMBER_VALUE can not be converted to an Integer",
		`{"Integer":1e3}`:                   "NUMBER_VALUE can not be converted to an Integer",
		`{"Integer":2147483648}`:            "NUMBER_VALUE can not be converted to an Integer",
		`{"Integer":{}}`:                    object,
		`{"Int":9223372036854775808}`:       "NUMBER_VALUE can not be converted to an Integer",
		`{"Int":"1"}`:                       "STRING_VALUE can not be converted to an Integer",
		`{"Long":"7"}`:                      "STRING_VALUE can not be converted to a Long",
		`{"Blob":7}`:                        "NUMBER_VALUE can not be converted to a Blob",
		`{"Blob":true}`:                     "TRUE_VALUE can not be converted to a Blob",
		`{"Blob":[1,2]}`:                    list,
		`{"Blob":{}}`:                       object,
		`{"Blob":"aGk"}`:                    base64,
		`{"Blob":"aGk=\n"}`:                 base64,
		`{"Blob":"a_-="}`:                   base64,
		`{"Time":"2020-01-01"}`:             "STRING_VALUE can not be converted to a Timestamp",
		`{"Time":{}}`:                       object,
		`{"Time":1e99}`:                     "NUMBER_VALUE can not be converted to a Timestamp",
		`{"List":"a"}`:                      "Expected list or null",
		`{"List":1}`:                        "Expected list or null",
		`{"List":{}}`:                       object,
		`{"List":[1]}`:                      "NUMBER_VALUE can not be converted to a String",
		`{"List":["a",["b"]]}`:              list,
		`{"Map":"a"}`:                       "Expected map or null",
		`{"Map":[]}`:                        list,
		`{"Map":{"a":1}}`:                   "NUMBER_VALUE can not be converted to a String",
		`{"Map":{"a":"1","a":"2"}}`:         twice,
		`{"Context":true}`:                  "Expected map or null",
		`{"Context":"a"}`:                   "Expected map or null",
		`{"Context":[]}`:                    list,
		`{"Context":{"a":1}}`:               "NUMBER_VALUE can not be converted to a String",
		`{"Context":{"a":true}}`:            "TRUE_VALUE can not be converted to a String",
		`{"Context":{"a":{}}}`:              object,
		`{"Context":{"a":["b"]}}`:           list,
		`{"Context":{"a":null}}`:            "NULL_VALUE can not be converted to a String",
		`{"Context":{"a":"1","a":"1"}}`:     twice,
		`{"Struct":1}`:                      "Expected null",
		`{"Struct":[]}`:                     list,
		`{"Struct":{"Inner":[{"Leaf":1}]}}`: "NUMBER_VALUE can not be converted to a String",
		`{"String":"a","String":"b"}`:       twice,
		`{"String":"a","\u0053tring":"b"}`:  twice,
		`{"Unknown":{"a":1,"a":2}}`:         twice,
		`{"Unknown":["\ud800"]}`:            invalid,
		`{"String":"\udc00\ud800"}`:         invalid,
		"{\"String\":\"\xff\"}":             invalid,
		"{\"Unknown\":\"\xff\"}":            invalid,
		"{\"Context\":{\"a\":\"\xff\"}}":    invalid,
		``:                                  invalid,
		` `:                                 invalid,
		`{`:                                 invalid,
		`{"String":"a"`:                     invalid,
		`{"String":"a"}{}`:                  invalid,
		`{"String":"a"} x`:                  invalid,
		`{"String":"a",}`:                   invalid,
		`{String:"a"}`:                      invalid,
		`{"String":'a'}`:                    invalid,
		"\ufeff{}":                          invalid,
		"{\"String\":\"a\nb\"}":             invalid,
		`{"Integer":07}`:                    invalid,
		`{"Integer":NaN}`:                   invalid,
		`nul`:                               invalid,
		`null`:                              "Expected a structure",
		` null`:                             "Expected a structure",
		`[]`:                                list,
		`[{}]`:                              list,
		`"a"`:                               "Expected null",
		`7`:                                 "Expected null",
	}
	for text, want := range cases {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			var into everything
			err := edge.Decode([]byte(text), &into)
			var e *edge.SerializationError
			if !errors.As(err, &e) {
				t.Fatalf("got %v, %+v", err, into)
			}
			if e.Code != "SerializationException" || e.Message != want {
				t.Errorf("got %v, want %s", e, want)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	seven := int32(7)
	cases := map[string]everything{
		`{}`:                       {},
		" \t\r\n{ } \n":            {},
		`{"Unknown":{"a":[1,{}]}}`: {},
		`{"string":"case"}`:        {},
		`{"String":null,"Named":null,"Pointer":null,"Bool":null,"Integer":null,"Int":null,"Long":null,"Blob":null,
			"Time":null,"List":null,"Map":null,"Context":null,"Struct":null}`: {},
		`{"String":"\u00e9😀","Bool":true,"Integer":7,"Int":-1,"Long":9223372036854775807,"Blob":"AP+A","Time":1.5}`: {
			String: "é😀", Bool: true, Integer: &seven, Int: -1, Long: 9223372036854775807, Blob: []byte{0, 255, 128},
			Time: awstime.FromMillis(1500),
		},
		`{"Blob":""}`:                         {Blob: []byte{}},
		`{"List":[],"Map":{},"Context":{}}`:   {List: []string{}, Map: map[string]string{}},
		`{"List":["a","b"]}`:                  {List: []string{"a", "b"}},
		`{"Context":{"b":"2","a":"1"}}`:       {Context: encctx.Context{"a": "1", "b": "2"}},
		`{"Struct":{"Inner":[{"Leaf":"x"}]}}`: {Struct: &struct{ Inner []struct{ Leaf string } }{[]struct{ Leaf string }{{"x"}}}},
	}
	for text, want := range cases {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			var got everything
			if err := edge.Decode([]byte(text), &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// No text may repeat what was in the body: it may be plaintext.
func TestDecodeTextsHoldNoValues(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`{"Blob":"hunter2!"}`, `{"String":"hunter2!`, `{"Int":"hunter2!"}`, `{"hunter2!":1,"hunter2!":2}`,
		`{"Context":{"hunter2!":null}}`, `{"Context":{"hunter2!":1}}`, `{"Time":"hunter2!"}`, `hunter2!`,
	} {
		var into everything
		if err := edge.Decode([]byte(text), &into); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	type answer struct {
		Blob    []byte            `json:"Blob"`
		None    []string          `json:"None"`
		Left    string            `json:"Left,omitzero"`
		Tags    map[string]string `json:"Tags"`
		Created awstime.Timestamp `json:"Created"`
		Deleted awstime.Timestamp `json:"Deleted,omitzero"`
		HTML    string            `json:"HTML"`
	}
	got, err := edge.Encode(answer{
		Blob: []byte{0, 255, 128}, Tags: map[string]string{"b": "2", "a": "1"}, Created: awstime.FromMillis(1599523200123), HTML: "<é&>",
	})
	const want = `{"Blob":"AP+A","None":[],"Tags":{"a":"1","b":"2"},"Created":1599523200.123,"HTML":"<é&>"}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
	if got, err := edge.Encode(struct{ S secret.Bytes }{secret.Of([]byte("hunter2"))}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("secret: %s, %v", got, err)
	}
	if got, err := edge.Encode("\xff"); err == nil {
		t.Errorf("invalid UTF-8: %s", got)
	}
}

// FuzzDecode: what decodes encodes to a form that decodes to the same and encodes to the same bytes; what does not is
// refused with a text of ours; and nothing is accepted that is not JSON to encoding/json.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"String":"a","Named":"b","Pointer":"c","Bool":true,"Integer":7,"Int":-1,"Long":1,"Blob":"aGk=","Time":1.5,"List":["a"],
			"Map":{"a":"b"},"Context":{"a":"b"},"Struct":{"Inner":[{"Leaf":"x"}]}}`,
		`{"Context":{"a":null}}`, `{"String":"\ud800"}`, `{"a":1,"a":2}`, `[]`, `null`, `{`, "\xff", `{"Time":1e999}`,
		`{"Integer":1.0}`, `{"Blob":"a"}`, `{"Unknown":[[[[{}]]]]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var a, b everything
		err := edge.Decode(text, &a)
		if err != nil {
			var e *edge.SerializationError
			if !errors.As(err, &e) || e.Code != edge.CodeSerialization || e.Message == "" || len(e.Message) > 100 {
				t.Fatalf("%v", err)
			}
			return
		}
		if !stdjson.Valid(text) {
			t.Fatalf("%q is not JSON to encoding/json", text)
		}
		canonical, err := edge.Encode(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := edge.Decode(canonical, &b); err != nil {
			t.Fatalf("canonical form %s: %v", canonical, err)
		}
		again, err := edge.Encode(b)
		if err != nil || string(again) != string(canonical) {
			t.Errorf("%s became %s, %v", canonical, again, err)
		}
	})
}
