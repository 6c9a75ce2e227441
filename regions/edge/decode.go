package edge

import (
	"errors"
	"reflect"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"antipode/regions/awstime"
	"antipode/regions/encctx"
)

// CodeSerialization is the code of every [SerializationError].
const CodeSerialization = "SerializationException"

// SerializationError says that a request body is not what the operation takes. It may be sent to the client as it is:
// HTTP status 400. No value from the body is in it, since the body may hold plaintext.
type SerializationError struct {
	Code    string // CodeSerialization
	Message string
}

// Error returns the code and the text.
func (e *SerializationError) Error() string { return e.Code + ": " + e.Message }

// Decode decodes a request body, one JSON object, into a pointer to a struct that is zero. Every error is a
// *[SerializationError].
//
// Refused are: trailing data, a name twice in any object, invalid UTF-8 and unpaired surrogates anywhere, a JSON type
// that the member does not have, numbers with a fraction or out of range in an integer, and blobs that are not padded
// base64. Names are compared by case. A member that the struct does not have is ignored, and null counts as absent, as
// with AWS.
func Decode(body []byte, into any) error {
	return decode(body, into)
}

// DecodeExactly is [Decode] that refuses members that the struct does not have.
func DecodeExactly(body []byte, into any) error {
	return decode(body, into, json.RejectUnknownMembers(true))
}

func decode(body []byte, into any, options ...json.Options) error {
	// The zero options of package json are the strict ones.
	if err := json.Unmarshal(body, into, options...); err != nil {
		return refuse(serializationText(err))
	}
	if jsontext.Value(body).Kind() == jsontext.KindNull {
		return refuse("Expected a structure") // package json has left the struct as it was
	}
	return nil
}

func refuse(message string) *SerializationError {
	return &SerializationError{CodeSerialization, message}
}

// serializationText gives AWS's text for a decoding error.
func serializationText(err error) string {
	if errors.Is(err, encctx.ErrNull) {
		return "NULL_VALUE can not be converted to a String"
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return "Duplicate member name in a structure or map"
	}
	if errors.Is(err, json.ErrUnknownName) {
		return "The request has a member that the operation does not know"
	}
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) || semantic.GoType == nil {
		return "The request body is not valid JSON"
	}
	target := semantic.GoType
	for target.Kind() == reflect.Pointer {
		target = target.Elem()
	}
	what, collection := targetName(target)
	switch kind := semantic.JSONKind; kind {
	case jsontext.KindBeginArray:
		return "Start of list found where not expected"
	case jsontext.KindBeginObject:
		return "Start of structure or map found where not expected."
	case jsontext.KindString, jsontext.KindNumber, jsontext.KindTrue, jsontext.KindFalse:
		switch {
		case collection:
			return what
		case kind == jsontext.KindString && what == "a Blob":
			return "STRING_VALUE can not be converted to a Blob: it is not valid Base64"
		default:
			return scalarName(kind) + " can not be converted to " + what
		}
	default:
		return "The request body is not valid JSON"
	}
}

// targetName says what a member is to AWS: with its article for a scalar, as a sentence for a collection.
func targetName(t reflect.Type) (name string, collection bool) {
	if t == reflect.TypeFor[awstime.Timestamp]() {
		return "a Timestamp", false
	}

	switch t.Kind() {
	case reflect.String:
		return "a String", false
	case reflect.Bool:
		return "a Boolean", false
	case reflect.Int, reflect.Int32, reflect.Uint, reflect.Uint32:
		return "an Integer", false
	case reflect.Int64, reflect.Uint64:
		return "a Long", false
	case reflect.Float32, reflect.Float64:
		return "a Double", false
	case reflect.Map:
		return "Expected map or null", true
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return "a Blob", false
		}
		return "Expected list or null", true
	default:
		return "Expected null", true // AWS says this of a structure
	}
}

func scalarName(k jsontext.Kind) string {
	switch k {
	case jsontext.KindString:
		return "STRING_VALUE"
	case jsontext.KindNumber:
		return "NUMBER_VALUE"
	case jsontext.KindTrue:
		return "TRUE_VALUE"
	default:
		return "FALSE_VALUE"
	}
}
