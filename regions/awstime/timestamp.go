// Package awstime is the timestamp of the AWS JSON protocol: a JSON number of seconds since 1970.
//
// Invariant: a [Timestamp] holds whole milliseconds, and what it encodes to decodes to the same.
package awstime

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrRange says that a number is no time between the years 0001 and 9999.
var ErrRange = errors.New("timestamp out of range")

const (
	minMillis = -62135596800_000 // 0001-01-01T00:00:00Z
	maxMillis = 253402300799_999 // 9999-12-31T23:59:59.999Z
)

// Timestamp is a moment in whole milliseconds. The zero value is 1970-01-01T00:00:00Z and stands for "none": `omitzero`
// leaves it out.
type Timestamp struct {
	millis int64
}

// FromMillis returns the moment that many milliseconds after 1970-01-01T00:00:00Z.
func FromMillis(millis int64) Timestamp { return Timestamp{millis} }

// FromTime returns the moment, cut to milliseconds.
func FromTime(t time.Time) Timestamp { return Timestamp{t.UnixMilli()} }

// Millis returns the milliseconds since 1970-01-01T00:00:00Z.
func (t Timestamp) Millis() int64 { return t.millis }

// Time returns the moment in UTC.
func (t Timestamp) Time() time.Time { return time.UnixMilli(t.millis).UTC() }

// IsZero reports whether there is none.
func (t Timestamp) IsZero() bool { return t.millis == 0 }

// String returns the JSON form.
func (t Timestamp) String() string { return string(t.append(nil)) }

// append appends the seconds with one to three decimals, as AWS does: 1599523200.0, 1599523200.123.
func (t Timestamp) append(dst []byte) []byte {
	millis := uint64(t.millis) //nolint:gosec // -t.millis would overflow for the least number
	if t.millis < 0 {
		dst, millis = append(dst, '-'), -millis
	}
	dst = strconv.AppendUint(dst, millis/1000, 10)
	fraction := millis % 1000
	dst = append(dst, '.', byte('0'+fraction/100), byte('0'+fraction/10%10), byte('0'+fraction%10))
	for dst[len(dst)-1] == '0' && dst[len(dst)-2] != '.' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// MarshalJSONTo encodes the number.
func (t Timestamp) MarshalJSONTo(enc *jsontext.Encoder) error {
	var buf [32]byte
	return enc.WriteValue(t.append(buf[:0]))
}

// MarshalJSON is MarshalJSONTo for encoding/json.
func (t Timestamp) MarshalJSON() ([]byte, error) { return t.append(nil), nil }

// UnmarshalJSONFrom decodes a number, rounded to milliseconds, or null for none. The error is a *[json.SemanticError] or
// a *[jsontext.SyntacticError]; for a number that is no time it wraps [ErrRange].
func (t *Timestamp) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*t = Timestamp{}
	value, err := dec.ReadValue()
	if err != nil {
		return err
	}
	kind := value.Kind()
	switch kind {
	case jsontext.KindNull:
		return nil
	case jsontext.KindNumber:
	default:
		return &json.SemanticError{JSONKind: kind, GoType: reflect.TypeFor[Timestamp]()}
	}
	// A float64 is good for a microsecond in all of the range.
	seconds, err := strconv.ParseFloat(string(value), 64)
	millis := math.Round(seconds * 1000)
	if err != nil || millis < minMillis || millis > maxMillis {
		return &json.SemanticError{JSONKind: kind, GoType: reflect.TypeFor[Timestamp](), Err: ErrRange}
	}
	t.millis = int64(millis)
	return nil
}

// UnmarshalJSON is UnmarshalJSONFrom for encoding/json.
func (t *Timestamp) UnmarshalJSON(text []byte) error {
	return t.UnmarshalJSONFrom(jsontext.NewDecoder(bytes.NewBuffer(text)))
}
