package awsjson

import (
	"errors"
	"net/http"

	"antipode/regions"
	"antipode/regions/sigv4"
)

// errorBody is the body of an error answer.
type errorBody struct {
	Type    string `json:"__type"`
	Message string `json:"message"`
}

// describe is the one mapping from errors to what a client sees: AWS's code and text, and an HTTP status, which is 400
// for every error that the client can do something about, as with AWS KMS. Anything unknown is an internal error
// without detail.
func describe(err error) (status int, code, message string) {
	var (
		signature *sigv4.Error
		malformed *SerializationError
	)
	switch {
	case errors.As(err, &signature):
		return http.StatusBadRequest, signature.Code, signature.Message
	case errors.As(err, &malformed):
		return http.StatusBadRequest, malformed.Code, malformed.Message
	}
	e := regions.AsError(err)
	switch e.Code {
	case regions.CodeInternal:
		return http.StatusInternalServerError, e.Code, "The request failed because of an internal error. Try again."
	case regions.CodeKeyUnavailable:
		return http.StatusInternalServerError, e.Code, e.Message
	case regions.CodeDependencyTimeout:
		return http.StatusServiceUnavailable, e.Code, e.Message
	}
	return http.StatusBadRequest, e.Code, e.Message
}

func (h *Handler) writeError(w http.ResponseWriter, requestID string, err error) {
	status, code, message := describe(err)
	if status == http.StatusInternalServerError {
		h.log.Error().Err(err).Str("request", requestID).Msg("call failed")
	}
	body, err := Encode(errorBody{Type: code, Message: message})
	if err != nil { // the text is not UTF-8
		body = []byte(`{"__type":"` + code + `","message":""}`)
	}
	w.Header().Set("X-Amzn-Errortype", code)
	h.write(w, requestID, status, body)
}
