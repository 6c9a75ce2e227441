package edge

import (
	"errors"
	"io"
	"net"
	"net/http"

	"antipode/regions"
)

// MaxBody is the largest body of a request in bytes; the largest real one is a key policy of 32 KiB in JSON.
const MaxBody = 256 << 10

// CodeTooLarge is the code of the error for a body beyond its limit.
const CodeTooLarge = "RequestEntityTooLargeException"

// ReadBody reads the body of a request, of at most limit bytes. Errors are [*regions.Error]: [CodeTooLarge], or
// SerializationException for a body that does not come whole.
func ReadBody(w http.ResponseWriter, req *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, limit))
	if err == nil {
		return body, nil
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, regions.Errorf(CodeTooLarge, "The request is larger than %d bytes.", limit)
	}
	return nil, regions.Errorf(regions.CodeSerialization, "The request could not be read.")
}

// Seen puts into the caller what the front sees of a request: where it comes from, how, and its id.
func Seen(c *regions.Caller, req *http.Request, requestID string) {
	c.SourceIP, c.UserAgent, c.RequestID = "", req.UserAgent(), requestID
	if host, _, err := net.SplitHostPort(req.RemoteAddr); err == nil {
		c.SourceIP = host
	}
	c.SecureTransport = req.TLS != nil
}
