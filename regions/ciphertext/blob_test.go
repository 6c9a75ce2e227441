package ciphertext

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	testMRK      = "mrk-000102030405060708090a0b0c0d0e0f"
	testUUID     = "00010203-0405-0607-0809-0a0b0c0d0e0f"
	testMaterial = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
)

// TestHeader holds the byte table of the package documentation to its word.
func TestHeader(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ keyID, want string }{
		{testMRK, "010101" + "000102030405060708090a0b0c0d0e0f" + testMaterial},
		{testUUID, "010102" + "000102030405060708090a0b0c0d0e0f" + testMaterial},
	} {
		h, ok := newHeader(c.keyID, testMaterial)
		if !ok || hex.EncodeToString(h[:]) != c.want {
			t.Errorf("header of %s: %x, %v; want %s", c.keyID, h, ok, c.want)
		}
		b := Blob{header: h}
		if b.KeyID() != c.keyID || b.MaterialID() != testMaterial {
			t.Errorf("read back as %s, %s", b.KeyID(), b.MaterialID())
		}
	}
}

func TestHeaderRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range [][2]string{
		{"", testMaterial},
		{"mrk-", testMaterial},
		{testMRK[:35], testMaterial},
		{testMRK + "0", testMaterial},
		{strings.ToUpper(testMRK), testMaterial},
		{"mrk-" + strings.ToUpper(testMRK[4:]), testMaterial},
		{testUUID[:35], testMaterial},
		{testUUID + "0", testMaterial},
		{strings.ReplaceAll(testUUID, "-", "0"), testMaterial},
		{strings.ToUpper(testUUID), testMaterial},
		{testMRK[4:], testMaterial},
		{"arn:aws:kms:us-east-2:111122223333:key/" + testMRK, testMaterial},
		{testMRK, ""},
		{testMRK, testMaterial[:63]},
		{testMRK, testMaterial + "00"},
		{testMRK, strings.ToUpper(testMaterial)},
		{testMRK, testMaterial[:63] + "g"},
	} {
		if h, ok := newHeader(c[0], c[1]); ok {
			t.Errorf("newHeader(%q, %q) = %x", c[0], c[1], h)
		}
	}
}

// TestAAD is a golden vector; it must never change for version 1.
func TestAAD(t *testing.T) {
	t.Parallel()
	h, _ := newHeader(testMRK, testMaterial)
	aad, err := h.aad(map[string]string{"b": "2", "a": ""})
	want := "616e7469706f64652f6161642f31" + "0033" + "010101000102030405060708090a0b0c0d0e0f" + testMaterial +
		"00000002" + "0000000161" + "00000000" + "0000000162" + "0000000132"
	if err != nil || hex.EncodeToString(aad) != want {
		t.Errorf("AAD is %x, %v; want %s", aad, err, want)
	}
}

func smallBlob() []byte {
	h, _ := newHeader(testMRK, testMaterial)
	return Blob{header: h, nonce: [24]byte([]byte("ABCDEFGHIJKLMNOPQRSTUVWX")), sealed: []byte("x0123456789abcdef")}.Append(nil)
}

func TestParse(t *testing.T) {
	t.Parallel()
	raw := smallBlob()
	want := "010101000102030405060708090a0b0c0d0e0f" + testMaterial + hex.EncodeToString([]byte("ABCDEFGHIJKLMNOPQRSTUVWXx0123456789abcdef"))
	if hex.EncodeToString(raw) != want {
		t.Errorf("blob is %x", raw)
	}
	edit := func(offset int, value byte) []byte {
		b := bytes.Clone(raw)
		b[offset] = value
		return b
	}
	longest := append(bytes.Clone(raw), make([]byte, MaxBlob-len(raw))...)
	if len(longest) != 4187 {
		t.Errorf("the longest blob is %d bytes", len(longest))
	}
	for name, c := range map[string]struct {
		raw []byte
		ok  bool
	}{
		"as made": {raw, true}, "UUID": {edit(2, 2), true}, "no plaintext": {raw[:91], true}, "longest": {longest, true},
		"nil": {nil, false}, "empty": {[]byte{}, false}, "one byte short": {raw[:90], false}, "header alone": {raw[:51], false},
		"too long": {append(longest, 0), false}, "version 0": {edit(0, 0), false}, "version 2": {edit(0, 2), false},
		"algorithm 0": {edit(1, 0), false}, "algorithm 2": {edit(1, 2), false}, "algorithm 255": {edit(1, 255), false},
		"kind 0": {edit(2, 0), false}, "kind 3": {edit(2, 3), false},
		"a ciphertext of AWS": {append([]byte{1, 2, 2, 0, 0x78}, make([]byte, 169)...), false},
	} {
		b, err := Parse(c.raw)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && err != ErrInvalid { //nolint:errorlint // the very same error, with nothing around it
			t.Errorf("%s: error %v is not ErrInvalid itself", name, err)
		}
		if err == nil && !bytes.Equal(b.Append(nil), c.raw) {
			t.Errorf("%s: encodes to %x", name, b.Append(nil))
		}
	}
}

func TestParseKeepsWhatAppendMakes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		keyID := rapid.SampledFrom([]string{testMRK, testUUID}).Draw(t, "key id")
		h, _ := newHeader(keyID, hex.EncodeToString(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "material")))
		b := Blob{header: h, sealed: rapid.SliceOfN(rapid.Byte(), tagLength, tagLength+MaxPlaintext).Draw(t, "sealed")}
		copy(b.nonce[:], rapid.SliceOfN(rapid.Byte(), 24, 24).Draw(t, "nonce"))
		got, err := Parse(b.Append([]byte("before"))[6:])
		if err != nil || got.header != b.header || got.nonce != b.nonce || !bytes.Equal(got.sealed, b.sealed) {
			t.Fatalf("got %+v, %v", got, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(smallBlob())
	f.Add(smallBlob()[:91])
	f.Add([]byte{1, 1, 2})
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := Parse(raw)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || err.Error() != ErrInvalid.Error() {
				t.Fatalf("error %v", err)
			}
			return
		}
		if got := b.Append(nil); !bytes.Equal(got, raw) {
			t.Fatalf("%x encodes to %x", raw, got)
		}
		if h, ok := newHeader(b.KeyID(), b.MaterialID()); !ok || h != b.header {
			t.Fatalf("ids %s, %s make another header", b.KeyID(), b.MaterialID())
		}
	})
}
