// Package canon is the one encoding of everything that is signed or authenticated: CBOR in the core deterministic form
// of RFC 8949, section 4.2.1, over a small part of the data model.
//
// Invariants:
//   - One value has one encoding: what [Unmarshal] accepts, [Marshal] encodes to the same bytes. So a hash, a MAC or a
//     signature over the bytes is one over the value.
//   - The data model is integers of 64 bits, byte strings, UTF-8 text strings, arrays, maps, false and true. Null,
//     undefined, floats, tags and other simple values are refused in both directions. Optional members are left out,
//     never null.
//   - Lengths are definite, heads are shortest, map keys are in bytewise order and unique, nothing follows the value.
//   - A struct member that is neither optional nor there, or there and not known, is refused.
//
// Structs are maps with small integer keys: tag their members `cbor:"1,keyasint"`, optional ones
// `cbor:"1,keyasint,omitempty"`. A number once used is never given another meaning.
package canon

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// Limits of one encoded value.
const (
	// MaxSize is the largest number of bytes.
	MaxSize = 1 << 20
	// MaxDepth is the largest number of arrays and maps inside one another.
	MaxDepth = 16
	// MaxElements is the largest number of elements of one array, or of pairs of one map.
	MaxElements = 8192
)

var (
	// ErrNotCanonical says that the bytes are not the one encoding of a value of the wanted type, or that a value has
	// no such encoding.
	ErrNotCanonical = errors.New("not canonical CBOR")
	// ErrTooLarge says that a limit of this package is exceeded.
	ErrTooLarge = errors.New("CBOR value too large")
)

// coding holds the library's modes; they are immutable and safe for concurrent use.
type coding struct {
	enc cbor.EncMode
	dec cbor.DecMode
	err error
}

var modes = sync.OnceValue(func() coding {
	enc, err := cbor.EncOptions{
		Sort:            cbor.SortBytewiseLexical,
		ShortestFloat:   cbor.ShortestFloat16,
		NaNConvert:      cbor.NaNConvertReject,
		InfConvert:      cbor.InfConvertReject,
		BigIntConvert:   cbor.BigIntConvertReject,
		IndefLength:     cbor.IndefLengthForbidden,
		NilContainers:   cbor.NilContainerAsEmpty,
		TagsMd:          cbor.TagsForbidden,
		BinaryMarshaler: cbor.BinaryMarshalerNone,
	}.EncMode()
	if err != nil {
		return coding{err: fmt.Errorf("set up CBOR encoder: %w", err)}
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   MaxDepth,
		MaxArrayElements:  MaxElements,
		MaxMapPairs:       MaxElements,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		IntDec:            cbor.IntDecConvertNone,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		UTF8:              cbor.UTF8RejectInvalid,
		NaN:               cbor.NaNDecodeForbidden,
		Inf:               cbor.InfDecodeForbidden,
		BignumTag:         cbor.BignumTagForbidden,
		BinaryUnmarshaler: cbor.BinaryUnmarshalerNone,
	}.DecMode()
	if err != nil {
		return coding{err: fmt.Errorf("set up CBOR decoder: %w", err)}
	}
	return coding{enc: enc, dec: dec}
})

// Marshal returns the one encoding of v. Nil slices and maps are empty ones. It returns [ErrNotCanonical] for what is
// outside the data model (a float, a nil pointer, a string that is not UTF-8) and [ErrTooLarge] beyond the limits.
func Marshal(v any) ([]byte, error) {
	m := modes()
	if m.err != nil {
		return nil, m.err
	}
	data, err := m.enc.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w: %w", v, ErrNotCanonical, err)
	}
	// The library does not check strings, nor what a type's own MarshalCBOR returns.
	if err := Check(data); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return data, nil
}

// Unmarshal decodes data into what v points to, replacing all of it. It returns [ErrNotCanonical] unless data is
// exactly what [Marshal] makes of the result, or [ErrTooLarge]; v is then unchanged. Byte strings are copied.
func Unmarshal(data []byte, v any) error {
	m := modes()
	if m.err != nil {
		return m.err
	}
	if err := Check(data); err != nil {
		return fmt.Errorf("decode %T: %w", v, err)
	}
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("decode %T: needs a pointer that is not nil", v)
	}
	// A fresh value: members absent from data must not keep what v had.
	fresh := reflect.New(target.Type().Elem())
	if err := m.dec.Unmarshal(data, fresh.Interface()); err != nil {
		return fmt.Errorf("decode %T: %w: %w", v, ErrNotCanonical, err)
	}
	// Check has seen to the form of the bytes; this sees to the type: missing members, optional ones that are present
	// and empty, arrays of the wrong length.
	again, err := m.enc.Marshal(fresh.Interface())
	if err != nil {
		return fmt.Errorf("decode %T: %w: %w", v, ErrNotCanonical, err)
	}
	if !bytes.Equal(again, data) {
		return fmt.Errorf("decode %T: %w: members missing, empty or of another length", v, ErrNotCanonical)
	}
	target.Elem().Set(fresh.Elem())
	return nil
}
