package cose_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"antipode/regions/cose"
)

// softSigner signs in software, so that the cases below can make what a token never would; TestToken signs on one.
type softSigner struct {
	key   *ecdsa.PrivateKey
	id    []byte
	highS bool
	rs    []byte // if set, the answer
	err   error
}

func newSigner(t testing.TB) *softSigner {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return &softSigner{key: key, id: cose.KeyID(spki)}
}

func (s *softSigner) KeyID() []byte { return s.id }

func (s *softSigner) SignDigest(_ context.Context, digest []byte) ([]byte, error) {
	if s.err != nil || s.rs != nil {
		return s.rs, s.err
	}
	r, v, err := ecdsa.Sign(rand.Reader, s.key, digest)
	if err != nil {
		return nil, err
	}
	n := elliptic.P384().Params().N
	half := new(big.Int).Rsh(n, 1)
	if (v.Cmp(half) > 0) != s.highS {
		v.Sub(n, v)
	}
	rs := make([]byte, cose.SignatureSize)
	r.FillBytes(rs[:48])
	v.FillBytes(rs[48:])
	return rs, nil
}

func (s *softSigner) lookup(id []byte) (*ecdsa.PublicKey, error) {
	if !bytes.Equal(id, s.id) {
		return nil, errUnknown
	}
	return &s.key.PublicKey, nil
}

var errUnknown = errors.New("unknown key")

const typ = "antipode/test"

func TestSignVerify(t *testing.T) {
	t.Parallel()
	for _, highS := range []bool{false, true} { // what the token answers; what leaves is always low
		s := newSigner(t)
		s.highS = highS
		data, err := cose.Sign(t.Context(), s, typ, []byte("payload"))
		if err != nil {
			t.Fatal(err)
		}
		msg, err := cose.Verify(data, typ, s.lookup)
		if err != nil {
			t.Fatal(err)
		}
		if msg.Type != typ || !bytes.Equal(msg.KeyID, s.id) || string(msg.Payload) != "payload" {
			t.Fatalf("%+v", msg)
		}
		peeked, id, err := cose.Peek(data)
		if err != nil || peeked != typ || !bytes.Equal(id, s.id) {
			t.Fatalf("peek: %q %x %v", peeked, id, err)
		}
	}
}

// Another implementation of RFC 9052 must read our messages, and we its, as long as it makes our one form.
func TestSigStructureByHand(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	data, err := cose.Sign(t.Context(), s, typ, []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	// 84 | 58 34 protected | a0 | 47 payload | 58 60 signature
	protected := append([]byte{0xa3, 0x01, 0x38, 0x22, 0x04, 0x58, 0x20}, s.id...)
	protected = append(protected, 0x10, 0x60|byte(len(typ)))
	protected = append(protected, typ...)
	want := append([]byte{0x84, 0x58, byte(len(protected))}, protected...)
	want = append(want, 0xa0, 0x47)
	want = append(want, "payload"...)
	want = append(want, 0x58, 0x60)
	if !bytes.Equal(data[:len(data)-96], want) {
		t.Fatalf("got  %x\nwant %x", data[:len(data)-96], want)
	}
	// Sig_structure = ["Signature1", protected, h'', payload]
	tbs := append([]byte{0x84, 0x6a}, "Signature1"...)
	tbs = append(tbs, 0x58, byte(len(protected)))
	tbs = append(tbs, protected...)
	tbs = append(tbs, 0x40, 0x47)
	tbs = append(tbs, "payload"...)
	digest := sha512.Sum384(tbs)
	rs := data[len(data)-96:]
	if !ecdsa.Verify(&s.key.PublicKey, digest[:], new(big.Int).SetBytes(rs[:48]), new(big.Int).SetBytes(rs[48:])) {
		t.Fatal("the signature is not over the Sig_structure of RFC 9052")
	}
}

func TestWrongSignature(t *testing.T) {
	t.Parallel()
	s, other := newSigner(t), newSigner(t)
	data, err := cose.Sign(t.Context(), s, typ, []byte("payload"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cose.Verify(data, "antipode/other", s.lookup); !errors.Is(err, cose.ErrType) {
		t.Errorf("another type: %v", err)
	}
	if _, err := cose.Verify(data, typ, other.lookup); !errors.Is(err, errUnknown) {
		t.Errorf("unknown key: %v", err)
	}
	if _, err := cose.Verify(data, typ, func([]byte) (*ecdsa.PublicKey, error) { return &other.key.PublicKey, nil }); !errors.Is(err, cose.ErrSignature) {
		t.Errorf("another's key: %v", err)
	}
	if _, err := cose.Verify(data, typ, func([]byte) (*ecdsa.PublicKey, error) { return nil, nil }); !errors.Is(err, cose.ErrKey) {
		t.Errorf("no key and no error: %v", err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cose.Verify(data, typ, func([]byte) (*ecdsa.PublicKey, error) { return &p256.PublicKey, nil }); !errors.Is(err, cose.ErrKey) {
		t.Errorf("P-256 key: %v", err)
	}
	for i := range data { // every byte of it counts
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		if _, err := cose.Verify(bad, typ, s.lookup); err == nil {
			t.Fatalf("byte %d altered: accepted", i)
		}
	}
}

// forge makes a COSE_Sign1 with a right signature over whatever headers it is given.
func forge(t *testing.T, s *softSigner, protected map[any]any, unprotected any, payload any, external []byte) []byte {
	t.Helper()
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := enc.Marshal(protected)
	if err != nil {
		t.Fatal(err)
	}
	return forgeRaw(t, s, raw, unprotected, payload, external)
}

func forgeRaw(t *testing.T, s *softSigner, protected []byte, unprotected any, payload any, external []byte) []byte {
	t.Helper()
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		t.Fatal(err)
	}
	body := payload
	if body == nil {
		body = []byte("detached")
	}
	tbs, err := enc.Marshal([]any{"Signature1", protected, external, body})
	if err != nil {
		t.Fatal(err)
	}
	digest := sha512.Sum384(tbs)
	rs, err := s.SignDigest(t.Context(), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	data, err := enc.Marshal([]any{protected, unprotected, payload, rs})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Each of these carries a right signature, and is refused for its form.
func TestForms(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	high := *s
	high.highS = true
	none, empty, payload := map[any]any{}, []byte{}, []byte("payload")
	good := func() map[any]any { return map[any]any{1: -35, 4: s.id, 16: typ} }
	with := func(k, v any) map[any]any { m := good(); m[k] = v; return m }
	without := func(k any) map[any]any { m := good(); delete(m, k); return m }

	fine := forge(t, s, good(), none, payload, empty)
	if _, err := cose.Verify(fine, typ, s.lookup); err != nil {
		t.Fatalf("the good form: %v", err)
	}
	cases := map[string]struct {
		data []byte
		want error
	}{
		"tagged":                 {append([]byte{0xd2}, fine...), cose.ErrMalformed},
		"trailing byte":          {append(bytes.Clone(fine), 0), cose.ErrMalformed},
		"indefinite array":       {append(append([]byte{0x9f}, fine[1:]...), 0xff), cose.ErrMalformed},
		"long array head":        {append([]byte{0x98, 0x04}, fine[1:]...), cose.ErrMalformed},
		"long string head":       {append([]byte{0x84, 0x59, 0x00}, fine[2:]...), cose.ErrMalformed},
		"extra header":           {forge(t, s, with(3, "text/plain"), none, payload, empty), cose.ErrMalformed},
		"critical header":        {forge(t, s, with(2, []any{16}), none, payload, empty), cose.ErrMalformed},
		"text header":            {forge(t, s, with("x", 1), none, payload, empty), cose.ErrMalformed},
		"no alg":                 {forge(t, s, without(1), none, payload, empty), cose.ErrMalformed},
		"no kid":                 {forge(t, s, without(4), none, payload, empty), cose.ErrMalformed},
		"no typ":                 {forge(t, s, without(16), none, payload, empty), cose.ErrMalformed},
		"ES256":                  {forge(t, s, with(1, -7), none, payload, empty), cose.ErrMalformed},
		"alg as text":            {forge(t, s, with(1, "ES384"), none, payload, empty), cose.ErrMalformed},
		"typ as number":          {forge(t, s, with(16, 42), none, payload, empty), cose.ErrMalformed},
		"typ empty":              {forge(t, s, with(16, ""), none, payload, empty), cose.ErrMalformed},
		"typ with a space":       {forge(t, s, with(16, "a b"), none, payload, empty), cose.ErrMalformed},
		"short kid":              {forge(t, s, with(4, s.id[:31]), none, payload, empty), cose.ErrMalformed},
		"empty protected":        {forgeRaw(t, s, empty, none, payload, empty), cose.ErrMalformed},
		"header out of order":    {forgeRaw(t, s, disorder(s.id), none, payload, empty), cose.ErrMalformed},
		"unprotected header":     {forge(t, s, good(), map[any]any{5: []byte("iv")}, payload, empty), cose.ErrMalformed},
		"unprotected alg":        {forge(t, s, without(1), map[any]any{1: -35}, payload, empty), cose.ErrMalformed},
		"countersignature":       {forge(t, s, good(), map[any]any{12: []byte("x")}, payload, empty), cose.ErrMalformed},
		"unprotected is null":    {forge(t, s, good(), nil, payload, empty), cose.ErrMalformed},
		"detached payload":       {forge(t, s, good(), none, nil, empty), cose.ErrMalformed},
		"empty payload":          {forge(t, s, good(), none, empty, empty), cose.ErrMalformed},
		"external data":          {forge(t, s, good(), none, payload, []byte("aad")), cose.ErrSignature},
		"signature with high s":  {forge(t, &high, good(), none, payload, empty), cose.ErrMalformed},
		"short signature":        {append(bytes.Clone(fine[:len(fine)-98]), append([]byte{0x58, 0x5f}, fine[len(fine)-95:]...)...), cose.ErrMalformed},
		"long signature":         {append(bytes.Clone(fine[:len(fine)-98]), append([]byte{0x58, 0x61, 0}, fine[len(fine)-96:]...)...), cose.ErrMalformed},
		"signature of zeros":     {append(bytes.Clone(fine[:len(fine)-96]), make([]byte, 96)...), cose.ErrSignature},
		"five elements":          {append(append([]byte{0x85}, fine[1:]...), 0x40), cose.ErrMalformed},
		"COSE_Sign":              {[]byte{0x84, 0x40, 0xa0, 0x40, 0x80}, cose.ErrMalformed},
		"nothing":                {nil, cose.ErrMalformed},
		"larger than the limit":  {make([]byte, cose.MaxSize+1), cose.ErrMalformed},
		"typ longer than 64":     {forge(t, s, with(16, string(bytes.Repeat([]byte("t"), 65))), none, payload, empty), cose.ErrMalformed},
		"payload as text string": {forge(t, s, good(), none, "payload", empty), cose.ErrMalformed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := cose.Verify(c.data, typ, s.lookup); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// disorder is the protected header with kid before alg.
func disorder(id []byte) []byte {
	out := append([]byte{0xa3, 0x04, 0x58, 0x20}, id...)
	out = append(out, 0x01, 0x38, 0x22, 0x10, 0x60|byte(len(typ)))
	return append(out, typ...)
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	fault := errors.New("token gone")
	good := newSigner(t)
	big := make([]byte, cose.MaxSize)
	for name, c := range map[string]struct {
		signer  softSigner
		typ     string
		payload []byte
		want    error
	}{
		"token error":         {softSigner{id: good.id, err: fault}, typ, []byte("p"), fault},
		"short signature":     {softSigner{id: good.id, rs: make([]byte, 95)}, typ, []byte("p"), cose.ErrMalformed},
		"DER-sized signature": {softSigner{id: good.id, rs: make([]byte, 102)}, typ, []byte("p"), cose.ErrMalformed},
		"s is zero":           {softSigner{id: good.id, rs: make([]byte, 96)}, typ, []byte("p"), cose.ErrMalformed},
		"s beyond the order":  {softSigner{id: good.id, rs: bytes.Repeat([]byte{0xff}, 96)}, typ, []byte("p"), cose.ErrMalformed},
		"bad key id":          {softSigner{id: good.id[:8], key: good.key}, typ, []byte("p"), cose.ErrMalformed},
		"no type":             {*good, "", []byte("p"), cose.ErrMalformed},
		"empty payload":       {*good, typ, []byte{}, cose.ErrMalformed},
		"payload too large":   {*good, typ, big, cose.ErrMalformed},
	} {
		if _, err := cose.Sign(t.Context(), &c.signer, c.typ, c.payload); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if _, err := cose.Sign(t.Context(), good, typ, nil); !errors.Is(err, cose.ErrMalformed) {
		t.Errorf("nil payload: %v", err)
	}
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	spki, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := cose.ParseKey(spki)
	if err != nil || !key.Equal(&s.key.PublicKey) {
		t.Fatalf("%v", err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := x509.MarshalPKIXPublicKey(&p256.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	off := bytes.Clone(spki)
	off[len(off)-1] ^= 1
	for name, bad := range map[string][]byte{
		"nothing": nil, "P-256": small, "trailing byte": append(bytes.Clone(spki), 0), "off the curve": off,
		"cut short": spki[:len(spki)-1], "large": make([]byte, 1<<20),
	} {
		if _, err := cose.ParseKey(bad); !errors.Is(err, cose.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParse: whatever is taken for a message has our one form, so taking it apart and putting it together gives the
// same bytes.
func FuzzParse(f *testing.F) {
	s := newSigner(f)
	data, err := cose.Sign(f.Context(), s, typ, []byte("payload"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(append([]byte{0xd2}, data...))
	f.Add([]byte{0x84, 0x40, 0xa0, 0x40, 0x40})
	enc, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		typ, id, err := cose.Peek(data)
		if err != nil {
			if _, err := cose.Verify(data, typ, s.lookup); err == nil {
				t.Fatal("verified what can't be parsed")
			}
			return
		}
		var parts []any
		if err := cbor.Unmarshal(data, &parts); err != nil || len(parts) != 4 {
			t.Fatalf("%v", err)
		}
		head, err := enc.Marshal(map[int]any{1: -35, 4: id, 16: typ})
		if err != nil {
			t.Fatal(err)
		}
		again, err := enc.Marshal([]any{head, map[int]any{}, parts[2], parts[3]})
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%x re-encodes to %x (%v)", data, again, err)
		}
	})
}
