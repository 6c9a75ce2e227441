package rest

import (
	"net/http"

	"antipode/regions"
	"antipode/regions/edge"
	"antipode/regions/sigv4"
)

// problemType begins the type of every problem; AWS's error code follows. The URN is a name, and nothing is there to fetch.
const problemType = "urn:antipode:error:"

const problemMedia = "application/problem+json"

// Codes of errors that only this front has.
const (
	codeMethodNotAllowed = "MethodNotAllowedException"
	codeMediaType        = "UnsupportedMediaTypeException"
)

// problem is the body of an error answer, RFC 9457.
type problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail,omitzero"`
	Instance string `json:"instance"` // urn:uuid: and the request's id
	Code     string `json:"code"`     // AWS's
}

// statusOf gives the HTTP status of an error code. What is not named here is the client's fault and nothing more is to be
// said of it.
func statusOf(code string) int {
	switch code {
	case sigv4.CodeMissing, sigv4.CodeIncomplete, sigv4.CodeInvalid, sigv4.CodeUnknownKey, sigv4.CodeTokenExpired:
		return http.StatusUnauthorized
	case regions.CodeAccessDenied, regions.CodeNotAuthorized:
		return http.StatusForbidden
	case regions.CodeNotFound, regions.CodeCustomKeyStoreNotFound, regions.CodeUnknownOperation:
		return http.StatusNotFound
	case codeMethodNotAllowed:
		return http.StatusMethodNotAllowed
	case regions.CodeAlreadyExists, regions.CodeDisabled, regions.CodeInvalidState, "ConflictException",
		"CustomKeyStoreHasCMKsException", "CustomKeyStoreInvalidStateException", "CustomKeyStoreNameInUseException",
		"CloudHsmClusterInUseException", "XksKeyAlreadyInUseException":
		return http.StatusConflict
	case regions.CodeIdempotencyKeyInUse:
		return http.StatusConflict
	case regions.CodeIdempotentMismatch:
		return http.StatusUnprocessableEntity
	case edge.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case codeMediaType:
		return http.StatusUnsupportedMediaType
	case regions.CodeLimitExceeded, "ThrottlingException":
		return http.StatusTooManyRequests
	case regions.CodeInternal:
		return http.StatusInternalServerError
	case regions.CodeKeyUnavailable, regions.CodeDependencyTimeout:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

func problemOf(requestID string, err error) problem {
	f := edge.FailureOf(err)
	status := statusOf(f.Code)
	return problem{
		Type: problemType + f.Code, Title: http.StatusText(status), Status: status, Detail: f.Message,
		Instance: "urn:uuid:" + requestID, Code: f.Code,
	}
}

func (h *Handler) refusal(requestID string, err error) edge.Answer {
	p := problemOf(requestID, err)
	body, err := edge.Encode(p)
	if err != nil { // the text is not UTF-8
		p.Detail = ""
		body, _ = edge.Encode(p)
	}
	a := edge.Answer{Status: p.Status, ContentType: problemMedia, Body: body, Header: http.Header{"Cache-Control": {"no-store"}}}
	if p.Status == http.StatusUnauthorized {
		a.Header["Www-Authenticate"] = h.schemes
	}
	return a
}
