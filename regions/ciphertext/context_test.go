package ciphertext

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// TestCanonical has golden vectors; they must never change for version 1.
func TestCanonical(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		context map[string]string
		want    string
	}{
		{nil, "00000000"},
		{map[string]string{}, "00000000"},
		{map[string]string{"": ""}, "00000001" + "00000000" + "00000000"},
		{map[string]string{"k": "v"}, "00000001" + "000000016b" + "0000000176"},
		{map[string]string{"b": "1", "a": "2", "B": "3", "aa": "4"}, "00000004" + "0000000142" + "0000000133" + "0000000161" + "0000000132" + "000000026161" + "0000000134" + "0000000162" + "0000000131"},
		// By UTF-8 bytes U+FF5E (ef bd 9e) comes before U+1F600 (f0 ...); by UTF-16 units it would come after.
		{map[string]string{"\U0001F600": "x", "\uff5e": "y"}, "00000002" + "00000003efbd9e" + "0000000179" + "00000004f09f9880" + "0000000178"},
		// One letter, composed and decomposed, is two names.
		{map[string]string{"\u00e9": "1", "e\u0301": "2"}, "00000002" + "0000000365cc81" + "0000000132" + "00000002c3a9" + "0000000131"},
		{map[string]string{"\x00": "\ufffd"}, "00000001" + "0000000100" + "00000003efbfbd"},
	} {
		got, err := Canonical(c.context)
		if err != nil || hex.EncodeToString(got) != c.want {
			t.Errorf("Canonical(%q) = %x, %v; want %s", c.context, got, err, c.want)
		}
	}
}

func TestCanonicalRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]map[string]string{
		"name":               {"a\xff": "v"},
		"value":              {"a": "\xc3"},
		"surrogate":          {"a": "\xed\xa0\x80"},
		"overlong":           {"a": "\xc0\x80"},
		"beyond Unicode":     {"a": "\xf4\x90\x80\x80"},
		"too long a value":   {"a": strings.Repeat("x", MaxContext)},
		"too long in all":    {"a": strings.Repeat("x", MaxContext/2), "b": strings.Repeat("x", MaxContext/2)},
		"too long in UTF-8":  {"a": strings.Repeat("é", MaxContext/2)},
		"too long by a name": {strings.Repeat("x", MaxContext): "1"},
	} {
		if got, err := Canonical(c); !errors.Is(err, ErrContext) || got != nil {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	if _, err := Canonical(map[string]string{"a": strings.Repeat("x", MaxContext-1)}); err != nil {
		t.Errorf("the longest context: %v", err)
	}
}

// readCanonical is an independent strict decoder; that it inverts Canonical shows that different contexts have different
// encodings.
func readCanonical(raw []byte) (map[string]string, bool) {
	u32 := func() (int, bool) {
		if len(raw) < 4 {
			return 0, false
		}
		n := binary.BigEndian.Uint32(raw)
		raw = raw[4:]
		return int(n), n <= 1<<20
	}
	str := func() (string, bool) {
		n, ok := u32()
		if !ok || n > len(raw) || !utf8.Valid(raw[:n]) {
			return "", false
		}
		s := string(raw[:n])
		raw = raw[n:]
		return s, true
	}
	count, ok := u32()
	context, last := map[string]string{}, ""
	for i := 0; ok && i < count; i++ {
		name, ok1 := str()
		value, ok2 := str()
		if !ok1 || !ok2 || (i > 0 && name <= last) {
			return nil, false
		}
		context[name], last = value, name
	}
	return context, ok && len(raw) == 0
}

func TestCanonicalIsInjective(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.MapOfN(rapid.StringN(0, 12, 40), rapid.StringN(0, 12, 40), 0, 8).Draw(t, "context")
		raw, err := Canonical(c)
		if err != nil {
			t.Fatal(err)
		}
		back, ok := readCanonical(raw)
		if !ok || !maps.Equal(back, c) {
			t.Fatalf("%q encodes to %x, which is %q", c, raw, back)
		}
	})
}

// FuzzCanonical reads raw as a canonical context; what reads must encode to the same bytes.
func FuzzCanonical(f *testing.F) {
	for _, c := range []map[string]string{nil, {"": ""}, {"k": "v"}, {"a": "1", "b": "2"}, {"\u00e9": "\U0001F600"}} {
		raw, err := Canonical(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, ok := readCanonical(raw)
		if !ok {
			return
		}
		got, err := Canonical(c)
		if err != nil {
			if len(raw) > MaxContext && errors.Is(err, ErrContext) {
				return
			}
			t.Fatal(err)
		}
		if !bytes.Equal(got, raw) {
			t.Fatalf("%x encodes to %x", raw, got)
		}
	})
}
