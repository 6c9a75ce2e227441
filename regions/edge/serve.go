package edge

import (
	"fmt"
	"maps"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// CallTime bounds a call from its authentication to its answer.
const CallTime = 30 * time.Second

// RequestIDHeader is the header of every answer that has the id of the request, a UUID, which is in the audit record too.
const RequestIDHeader = "X-Amzn-Requestid"

// Answer is an answer, ready to be sent.
type Answer struct {
	Status      int
	ContentType string // "" for an answer without a body
	Header      http.Header
	Body        []byte
}

// Serve gives one request its id and answers it: by what call returns, or by what refuse makes of call's error. A panic in
// call is an internal error. Errors that are answered with status 500 are logged here, once.
func Serve(
	w http.ResponseWriter, log zerolog.Logger,
	call func(requestID string) (Answer, error), refuse func(requestID string, err error) Answer,
) {
	requestID := uuid.NewString()
	w.Header().Set(RequestIDHeader, requestID)
	fail := func(err error) {
		a := refuse(requestID, err)
		if a.Status == http.StatusInternalServerError {
			log.Error().Err(err).Str("request", requestID).Msg("call failed")
		}
		write(w, log, requestID, a)
	}
	defer func() {
		// A fault of ours in one call is that call's internal error, not a dropped connection.
		if p := recover(); p != nil {
			fail(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	a, err := call(requestID)
	if err != nil {
		fail(err)
		return
	}
	write(w, log, requestID, a)
}

func write(w http.ResponseWriter, log zerolog.Logger, requestID string, a Answer) {
	maps.Copy(w.Header(), a.Header)
	if a.ContentType != "" {
		w.Header().Set("Content-Type", a.ContentType)
	}
	if a.Status != http.StatusNoContent { // which has no length
		w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
	}
	w.WriteHeader(a.Status)
	if _, err := w.Write(a.Body); err != nil && len(a.Body) > 0 {
		log.Debug().Err(err).Str("request", requestID).Msg("client left before the answer")
	}
}
