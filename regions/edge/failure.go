package edge

import (
	"errors"

	"antipode/regions"
	"antipode/regions/sigv4"
)

// Failure is what a client may learn of an error: AWS's code and text.
type Failure struct {
	Code    string
	Message string
}

// FailureOf is the one mapping from errors to what a client sees. Anything unknown is KMSInternalException without detail.
func FailureOf(err error) Failure {
	var (
		signature *sigv4.Error
		malformed *SerializationError
	)
	switch {
	case errors.As(err, &signature):
		return Failure{Code: signature.Code, Message: signature.Message}
	case errors.As(err, &malformed):
		return Failure{Code: malformed.Code, Message: malformed.Message}
	}
	e := regions.AsError(err)
	if e.Code == regions.CodeInternal {
		return Failure{Code: e.Code, Message: "The request failed because of an internal error. Try again."}
	}
	return Failure{Code: e.Code, Message: e.Message}
}
