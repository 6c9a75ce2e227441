package canon_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"antipode/regions/canon"
)

type inner struct {
	Name string   `cbor:"1,keyasint"`
	Tags []string `cbor:"2,keyasint,omitempty"`
}

type sample struct {
	N     uint64            `cbor:"1,keyasint"`
	I     int64             `cbor:"2,keyasint"`
	B     []byte            `cbor:"3,keyasint"`
	ID    [4]byte           `cbor:"4,keyasint"`
	List  []inner           `cbor:"5,keyasint"`
	Opt   *inner            `cbor:"6,keyasint,omitempty"`
	Flag  bool              `cbor:"7,keyasint,omitempty"`
	Table map[string]uint64 `cbor:"24,keyasint,omitempty"`
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKnownEncoding(t *testing.T) {
	t.Parallel()
	v := sample{
		N: 500, I: -1, B: nil, ID: [4]byte{1, 2, 3, 4}, List: []inner{{Name: "ü"}}, Flag: true,
		Table: map[string]uint64{"b": 1, "aa": 2},
	}
	got, err := canon.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	// Map keys 01 02 03 04 05 07 18 18; in the table "b" (61 62) sorts before "aa" (62 61 61).
	want := unhex(t, "a7 01 1901f4 02 20 03 40 04 4401020304 05 81 a1 01 62c3bc 07 f5 1818 a2 6162 01 626161 02")
	if !bytes.Equal(got, want) {
		t.Fatalf("got  %x\nwant %x", got, want)
	}
}

// Each case is well-formed CBOR, or nearly, that a lenient decoder takes for {1: 5, ...}.
func TestRefused(t *testing.T) {
	t.Parallel()
	type one struct {
		N uint64 `cbor:"1,keyasint"`
		B []byte `cbor:"2,keyasint,omitempty"`
		S string `cbor:"3,keyasint,omitempty"`
	}
	var ok one
	if err := canon.Unmarshal(unhex(t, "a2 01 05 02 41ff"), &ok); err != nil || ok.N != 5 {
		t.Fatalf("the good form: %+v, %v", ok, err)
	}
	cases := map[string]string{
		"empty":                      "",
		"cut short":                  "a1 01",
		"trailing byte":              "a1 01 05 00",
		"long head of a value":       "a1 01 1805",
		"two-byte head of 255":       "a1 01 1900ff",
		"four-byte head of 65535":    "a1 01 1a0000ffff",
		"eight-byte head of 2^32-1":  "a1 01 1b00000000ffffffff",
		"long head of a key":         "a1 1801 05",
		"long head of the map":       "b801 01 05",
		"long length of a string":    "a2 01 05 02 5801ff",
		"indefinite map":             "bf 01 05 ff",
		"indefinite string":          "a2 01 05 02 5f 41ff ff",
		"keys out of order":          "a2 02 41ff 01 05",
		"repeated key":               "a2 01 05 01 05",
		"unknown key":                "a2 01 05 04 05",
		"unknown text key":           "a2 01 05 6131 05",
		"missing member":             "a1 02 41ff",
		"optional member empty":      "a2 01 05 02 40",
		"null member":                "a2 01 05 02 f6",
		"undefined":                  "a2 01 05 02 f7",
		"null":                       "f6",
		"tag":                        "a1 01 c1 05",
		"bignum":                     "a1 01 c2 41 05",
		"float16 5.0":                "a1 01 f9 4500",
		"float64 5.0":                "a1 01 fb 4014000000000000",
		"simple value 16":            "a1 01 f0",
		"two-byte simple value":      "a1 01 f820",
		"text for bytes":             "a2 01 05 02 61 61",
		"bytes for text":             "a2 01 05 03 41 61",
		"text that is not UTF-8":     "a2 01 05 03 62 c328",
		"surrogate half in text":     "a2 01 05 03 63 eda080",
		"negative for unsigned":      "a1 01 20",
		"array for a map":            "81 05",
		"length beyond the data":     "a2 01 05 02 5b ffffffffffffffff",
		"array length beyond limits": "9b ffffffffffffffff",
		"reserved additional info":   "1c",
		"break alone":                "ff",
	}
	for name, in := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := one{N: 77}
			err := canon.Unmarshal(unhex(t, in), &got)
			if !errors.Is(err, canon.ErrNotCanonical) && !errors.Is(err, canon.ErrTooLarge) {
				t.Fatalf("error %v", err)
			}
			if got.N != 77 {
				t.Fatal("the target was changed")
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	deep := func(n int) []byte { return append(bytes.Repeat([]byte{0x81}, n), 0x00) }
	if err := canon.Check(deep(canon.MaxDepth)); err != nil {
		t.Errorf("at the limit of depth: %v", err)
	}
	if err := canon.Check(deep(canon.MaxDepth + 1)); !errors.Is(err, canon.ErrTooLarge) {
		t.Errorf("too deep: %v", err)
	}
	if _, err := canon.Marshal(make([]uint8, 0)); err != nil {
		t.Errorf("empty: %v", err)
	}
	if _, err := canon.Marshal(make([]byte, canon.MaxSize-5)); err != nil {
		t.Errorf("at the limit of size: %v", err)
	}
	if _, err := canon.Marshal(make([]byte, canon.MaxSize-4)); !errors.Is(err, canon.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := canon.Marshal(make([]bool, canon.MaxElements)); err != nil {
		t.Errorf("at the limit of elements: %v", err)
	}
	if _, err := canon.Marshal(make([]bool, canon.MaxElements+1)); !errors.Is(err, canon.ErrTooLarge) {
		t.Errorf("too many elements: %v", err)
	}
}

func TestMarshalRefuses(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]any{
		"float":       struct{ F float64 }{1},
		"NaN":         math.NaN(),
		"nil":         nil,
		"nil pointer": struct{ P *int }{},
		"bad UTF-8":   "a\xff",
		"channel":     make(chan int),
	} {
		if got, err := canon.Marshal(v); !errors.Is(err, canon.ErrNotCanonical) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
}

func TestUnmarshalReplacesTheWholeValue(t *testing.T) {
	t.Parallel()
	data, err := canon.Marshal(inner{Name: "n"})
	if err != nil {
		t.Fatal(err)
	}
	v := inner{Name: "old", Tags: []string{"stale"}}
	if err := canon.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if v.Name != "n" || v.Tags != nil {
		t.Fatalf("%+v keeps what was there before", v)
	}
	if err := canon.Unmarshal(data, v); err == nil {
		t.Fatal("no pointer: no error")
	}
	if err := canon.Unmarshal(data, (*inner)(nil)); err == nil {
		t.Fatal("nil pointer: no error")
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := sample{
			N:    rapid.Uint64().Draw(t, "n"),
			I:    rapid.Int64().Draw(t, "i"),
			B:    rapid.SliceOf(rapid.Byte()).Draw(t, "b"),
			Flag: rapid.Bool().Draw(t, "flag"),
			List: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) inner {
				return inner{Name: rapid.String().Draw(t, "name"), Tags: rapid.SliceOf(rapid.String()).Draw(t, "tags")}
			}), 0, 4).Draw(t, "list"),
			Table: rapid.MapOf(rapid.String(), rapid.Uint64()).Draw(t, "table"),
		}
		data, err := canon.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var back sample
		if err := canon.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		again, err := canon.Marshal(back)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x then %x (%v)", data, again, err)
		}
	})
}

// FuzzUnmarshal holds the invariant of the package: what parses re-encodes to the same bytes.
func FuzzUnmarshal(f *testing.F) {
	for _, s := range []string{
		"a7 01 1901f4 02 20 03 40 04 4401020304 05 81 a1 01 62c3bc 07 f5 1818 a2 6162 01 626161 02",
		"a5 01 00 02 00 03 40 04 4400000000 05 80",
		"a5 01 00 02 00 03 40 04 4300000000 05 80",
		"bf 01 05 ff", "a1 01 f9 4500", "",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v sample
		if canon.Unmarshal(data, &v) == nil {
			again, err := canon.Marshal(v)
			if err != nil || !bytes.Equal(again, data) {
				t.Fatalf("%x re-encodes to %x (%v)", data, again, err)
			}
		}
		// Without a type: whatever passes Check and the library decodes must come back the same.
		var a []any
		if canon.Unmarshal(data, &a) == nil {
			again, err := canon.Marshal(a)
			if err != nil || !bytes.Equal(again, data) {
				t.Fatalf("%x re-encodes to %x (%v)", data, again, err)
			}
		}
	})
}
