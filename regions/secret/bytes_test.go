package secret_test

import (
	"bytes"
	"database/sql/driver"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/rs/zerolog"

	"antipode/regions/secret"
)

const plaintext = "correct horse battery staple"

// outer holds secrets in each way that a struct can; only some of them let an encoder call their methods.
type outer struct {
	Exported secret.Bytes
	hidden   secret.Bytes
	Pointer  *secret.Bytes
	List     []secret.Bytes
	Map      map[string]secret.Bytes
	Any      any
	inner    struct{ deep []secret.Bytes }
}

// embedding promotes the methods. (It has a name because encoding/xml panics on a nameless Marshaler.)
type embedding struct{ secret.Bytes }

func newOuter() outer {
	s := func() secret.Bytes { return secret.Of([]byte(plaintext)) }
	p := s()
	o := outer{Exported: s(), hidden: s(), Pointer: &p, List: []secret.Bytes{s()}, Map: map[string]secret.Bytes{"k": s()}, Any: s()}
	o.inner.deep = []secret.Bytes{s()}
	return o
}

// requireNoLeak fails if out holds the plaintext in a spelling that some encoder uses.
func requireNoLeak(t *testing.T, what, out string) {
	t.Helper()
	decimal := strings.Trim(fmt.Sprintf("%d", []byte(plaintext)), "[]") // 99 111 114 ...
	for _, spelling := range []string{
		plaintext, plaintext[:7], hex.EncodeToString([]byte(plaintext))[:12], decimal[:16], strings.ReplaceAll(decimal, " ", ",")[:16],
		strings.ReplaceAll(fmt.Sprintf("%#x", []byte(plaintext[:4])), "0x", ""), fmt.Sprintf("% x", plaintext)[:11],
		base64.StdEncoding.EncodeToString([]byte(plaintext))[:12], "0x63, 0x6f", "0x63 0x6f", "143 157", "1100011",
	} {
		if strings.Contains(strings.ToLower(out), strings.ToLower(spelling)) {
			t.Errorf("%s leaks: %s", what, out)
			return
		}
	}
}

// TestLeakDetector shows that requireNoLeak would see what a plain slice prints.
func TestLeakDetector(t *testing.T) {
	t.Parallel()
	plain := struct{ hidden []byte }{[]byte(plaintext)}
	for _, out := range []string{
		fmt.Sprintf("%v", plain), fmt.Sprintf("%+v", plain), fmt.Sprintf("%#v", plain), fmt.Sprintf("%x", plain),
		fmt.Sprintf("% x", plain), fmt.Sprintf("%X", plain), fmt.Sprintf("%s", plain), fmt.Sprintf("%q", plain), fmt.Sprintf("%o", plain),
		base64.StdEncoding.EncodeToString(plain.hidden),
	} {
		probe := &testing.T{}
		requireNoLeak(probe, "", out)
		if !probe.Failed() {
			t.Errorf("not seen: %s", out)
		}
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	const want = "secret(28 bytes)"
	s := secret.Of([]byte(plaintext))
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "% x", "%#x", "%s", "%q", "%d", "%o", "%b", "%c", "%U", "%20s", "%.5s", "%t"} {
		if got := fmt.Sprintf(verb, s); got != want {
			t.Errorf("%s prints %q", verb, got)
		}
		if got := fmt.Sprintf(verb, &s); got != want {
			t.Errorf("%s of a pointer prints %q", verb, got)
		}
		requireNoLeak(t, verb, fmt.Sprintf(verb, newOuter()))
		requireNoLeak(t, verb+" of a pointer", fmt.Sprintf(verb, &outer{hidden: s}))
	}
	requireNoLeak(t, "%p", fmt.Sprintf("%p %T", &s, s))
	for _, got := range []string{s.String(), s.GoString(), fmt.Sprint(s), fmt.Sprintln(s)[:len(want)], fmt.Errorf("x: %v", s).Error()[3:]} {
		if got != want {
			t.Errorf("prints %q", got)
		}
	}
	if got := fmt.Sprint(secret.Bytes{}); got != "secret(0 bytes)" {
		t.Errorf("the zero value prints %q", got)
	}
}

func TestEncodersFail(t *testing.T) {
	t.Parallel()
	s := secret.Of([]byte(plaintext))
	encoders := map[string]func(v any) ([]byte, error){
		"json": json.Marshal,
		"json/v2": func(v any) ([]byte, error) {
			return jsonv2.Marshal(v)
		},
		"xml":  xml.Marshal,
		"cbor": cbor.Marshal,
		"gob": func(v any) ([]byte, error) {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(v)
			return b.Bytes(), err
		},
	}
	values := map[string]any{
		"value": s, "pointer": &s, "field": struct{ S secret.Bytes }{s}, "pointer field": struct{ S *secret.Bytes }{&s},
		"slice": []secret.Bytes{s}, "embedded": embedding{s},
	}
	for name, encode := range encoders {
		for what, v := range values {
			out, err := encode(v)
			if err == nil {
				t.Errorf("%s of a %s succeeds: %q", name, what, out)
				continue
			}
			requireNoLeak(t, name, string(out)+err.Error())
		}
	}
	if _, err := json.Marshal(map[string]secret.Bytes{"k": s}); !errors.Is(err, secret.ErrMarshal) {
		t.Errorf("json of a map: %v", err)
	}
	for name, call := range map[string]func() ([]byte, error){
		"text": s.MarshalText, "binary": s.MarshalBinary, "cbor": s.MarshalCBOR, "gob": s.GobEncode, "json": s.MarshalJSON,
	} {
		if out, err := call(); out != nil || !errors.Is(err, secret.ErrMarshal) {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
	if v, err := driver.DefaultParameterConverter.ConvertValue(s); v != nil || !errors.Is(err, secret.ErrMarshal) {
		t.Errorf("sql: %v, %v", v, err)
	}
}

func TestLoggers(t *testing.T) {
	t.Parallel()
	s := secret.Of([]byte(plaintext))
	var out bytes.Buffer
	z := zerolog.New(&out)
	z.Info().Any("s", s).Any("p", &s).Any("o", newOuter()).Interface("list", []secret.Bytes{s}).Stringer("str", s).
		Fields(map[string]any{"f": s}).Err(fmt.Errorf("bad %v", s)).Type("t", s).Msgf("%v %+v", s, newOuter())
	zc := z.With().Any("ctx", s).Stringer("str", s).Logger()
	zc.Info().Msg("")
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		l := slog.New(h).With("with", s)
		l.InfoContext(t.Context(), "m", "s", s, "p", &s, "o", newOuter(), "list", []secret.Bytes{s}, slog.Group("g", "s", s))
	}
	log.New(&out, "", 0).Printf("%v %+v", s, newOuter())
	requireNoLeak(t, "a logger", out.String())
	if n := strings.Count(out.String(), "secret(28 bytes)"); n < 10 {
		t.Errorf("only %d of the secrets were logged as a length: %s", n, out.String())
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	of := func(s string) secret.Bytes { return secret.Of([]byte(s)) }
	for _, c := range []struct {
		a, b secret.Bytes
		want bool
	}{
		{of("a"), of("a"), true},
		{of("a"), of("b"), false},
		{of("a"), of("ab"), false},
		{of(""), secret.Bytes{}, true},
		{secret.Bytes{}, secret.Bytes{}, true},
		{secret.Bytes{}, of("a"), false},
	} {
		if c.a.Equal(c.b) != c.want || c.b.Equal(c.a) != c.want {
			t.Errorf("Equal(%q, %q) is not %v", c.a.Reveal(), c.b.Reveal(), c.want)
		}
	}
}

func TestZero(t *testing.T) {
	t.Parallel()
	backing := []byte(plaintext + " and more")
	s := secret.Of(backing[:len(plaintext)])
	copied := s
	if string(s.Reveal()) != plaintext || s.Len() != len(plaintext) {
		t.Fatal("Reveal returns other bytes")
	}
	s.Zero()
	if !bytes.Equal(backing, make([]byte, len(backing))) || copied.Len() != len(plaintext) {
		t.Errorf("after Zero: %q", backing)
	}
	secret.Bytes{}.Zero()
	if (secret.Bytes{}).Reveal() != nil {
		t.Error("the zero value reveals something")
	}
}
