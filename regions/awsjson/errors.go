package awsjson

import (
	"net/http"

	"antipode/regions"
	"antipode/regions/edge"
)

// errorBody is the body of an error answer.
type errorBody struct {
	Type    string `json:"__type"`
	Message string `json:"message"`
}

// status is 400 for every error that the client can do something about, as with AWS KMS.
func status(code string) int {
	switch code {
	case regions.CodeInternal, regions.CodeKeyUnavailable:
		return http.StatusInternalServerError
	case regions.CodeDependencyTimeout:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

func refusal(_ string, err error) edge.Answer {
	f := edge.FailureOf(err)
	body, err := edge.Encode(errorBody{Type: f.Code, Message: f.Message})
	if err != nil { // the text is not UTF-8
		body = []byte(`{"__type":"` + f.Code + `","message":""}`)
	}
	return edge.Answer{
		Status: status(f.Code), ContentType: contentType, Body: body, Header: http.Header{"X-Amzn-Errortype": {f.Code}},
	}
}
