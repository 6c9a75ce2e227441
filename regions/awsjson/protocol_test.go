package awsjson_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"antipode/regions/regionstest"
	"antipode/regions/signed"
)

// What is not an operation of this service is told so by AWS's code, without a text, and only to a caller who signed.
func TestUnknownOperation(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	header := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Del(name)
			for _, v := range values {
				r.Header.Add(name, v)
			}
		}
	}
	cases := map[string]func(*http.Request){
		"unknown operation":    header("X-Amz-Target", "TrentService.ListKeyReplicas"),
		"lower case":           header("X-Amz-Target", "TrentService.listKeys"),
		"no operation":         header("X-Amz-Target", "TrentService."),
		"no target":            header("X-Amz-Target"),
		"empty target":         header("X-Amz-Target", ""),
		"no prefix":            header("X-Amz-Target", "ListKeys"),
		"another service":      header("X-Amz-Target", "DynamoDB_20120810.ListTables"),
		"trailing text":        header("X-Amz-Target", "TrentService.ListKeys.x"),
		"not ASCII":            header("X-Amz-Target", "TrentService.ListKeys\u00e9"),
		"overlong":             header("X-Amz-Target", "TrentService."+strings.Repeat("A", 8000)),
		"two targets":          header("X-Amz-Target", "x", "TrentService.ListKeys"),
		"text/plain":           header("Content-Type", "text/plain"),
		"JSON 1.0":             header("Content-Type", "application/x-amz-json-1.0"),
		"ordinary JSON":        header("Content-Type", "application/json"),
		"no content type":      header("Content-Type"),
		"content type garbage": header("Content-Type", ";;;"),
		"GET":                  func(r *http.Request) { r.Method = http.MethodGet },
		"PUT":                  func(r *http.Request) { r.Method = http.MethodPut },
		"DELETE":               func(r *http.Request) { r.Method = http.MethodDelete },
		"OPTIONS":              func(r *http.Request) { r.Method = http.MethodOptions },
		"a method of its own":  func(r *http.Request) { r.Method = "FROB" },
		"path":                 func(r *http.Request) { r.URL.Path = "/v9/keys" },
		"encoded path":         func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/a/b", "/a%2Fb" },
		"query":                func(r *http.Request) { r.URL.RawQuery = "a=b" },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := ordinary("ListKeys", "{}")
			r.before = change
			f.refused(t, r, "UnknownOperationException", "")
		})
	}
	t.Run("HEAD", func(t *testing.T) {
		t.Parallel()
		r := ordinary("ListKeys", "")
		r.before = func(r *http.Request) { r.Method = http.MethodHead }
		if a := f.send(t, r); a.status != http.StatusBadRequest || a.Type != "UnknownOperationException" {
			t.Errorf("%d %s", a.status, a.Type)
		}
	})
	for _, accepted := range []string{"application/x-amz-json-1.1; charset=utf-8", "application/x-amz-json-1.1 ;x"} {
		r := ordinary("ListKeys", "{}")
		r.before = header("Content-Type", accepted)
		if a := f.send(t, r); a.status != http.StatusOK {
			t.Errorf("content type %s: %s", accepted, a.refusal())
		}
	}
}

// A body that is no request of the operation is a SerializationException, in whichever way it is malformed.
func TestMalformedBody(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	const invalid, twice = "The request body is not valid JSON", "Duplicate member name in a structure or map"
	cases := map[string]struct{ body, want string }{
		"empty":                    {"", invalid},
		"blank":                    {" \n", invalid},
		"truncated":                {`{"KeyId":"a`, invalid},
		"truncated in an escape":   {`{"KeyId":"\u00`, invalid},
		"trailing comma":           {`{"KeyId":"a",}`, invalid},
		"two values":               {`{}{}`, invalid},
		"single quotes":            {`{'KeyId':'a'}`, invalid},
		"a comment":                {`{/* */}`, invalid},
		"NaN":                      {`{"KeyId":NaN}`, invalid},
		"byte order mark":          {"\ufeff{}", invalid},
		"form":                     {"KeyId=a&x=y", invalid},
		"NUL":                      {"{\"KeyId\":\"a\x00\"}", invalid},
		"array":                    {`[]`, "Start of list found where not expected"},
		"null":                     {`null`, "Expected a structure"},
		"string":                   {`"a"`, "Expected null"},
		"duplicate member":         {`{"KeyId":"a","KeyId":"b"}`, twice},
		"duplicate by escape":      {`{"KeyId":"a","\u004beyId":"b"}`, twice},
		"duplicate unknown":        {`{"KeyId":"a","x":1,"x":2}`, twice},
		"duplicate in the context": {`{"EncryptionContext":{"a":"1","a":"2"}}`, twice},
		"null in the context":      {`{"EncryptionContext":{"a":null}}`, "NULL_VALUE can not be converted to a String"},
		"UTF-8 in the context":     {"{\"EncryptionContext\":{\"a\":\"\xff\"}}", invalid},
		"UTF-8 in a context name":  {"{\"EncryptionContext\":{\"\xc3\x28\":\"a\"}}", invalid},
		"surrogate in the context": {`{"EncryptionContext":{"a":"\ud800"}}`, invalid},
		"UTF-8 in the key":         {"{\"KeyId\":\"\xe2\x82\"}", invalid},
		"deep arrays":              {`{"x":` + strings.Repeat("[", 120_000), invalid},
		"deep, closed":             {`{"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`, invalid},
		"deep objects":             {strings.Repeat(`{"a":`, 50_000), invalid},
		"not base64":               {`{"Plaintext":"a_b-"}`, "STRING_VALUE can not be converted to a Blob: it is not valid Base64"},
		"base64 without padding":   {`{"Plaintext":"aGk"}`, "STRING_VALUE can not be converted to a Blob: it is not valid Base64"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.refused(t, ordinary("Encrypt", c.body), "SerializationException", c.want)
		})
	}
	// Nesting that parsers handle is a member that nobody knows, and ignored.
	f.must(t, "ListKeys", `{"x":`+strings.Repeat("[", 500)+strings.Repeat("]", 500)+`}`)
}

// Bodies at the limit are read and those beyond it refused; the client gets an answer, whatever it still has to send.
func TestLargeBody(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	pad := func(n int) string { return `{"x":"` + strings.Repeat("a", n-8) + `"}` }
	if a := f.send(t, ordinary("ListKeys", pad(signed.MaxBody))); a.status != http.StatusOK {
		t.Errorf("%d bytes: %s", signed.MaxBody, a.refusal())
	}
	want := fmt.Sprintf("The request is larger than %d bytes.", signed.MaxBody)
	for _, n := range []int{signed.MaxBody + 1, 8 << 20} {
		f.refused(t, ordinary("ListKeys", pad(n)), "RequestEntityTooLargeException", want)
		chunked := ordinary("ListKeys", pad(n))
		chunked.before = func(r *http.Request) { r.ContentLength = -1 }
		f.refused(t, chunked, "RequestEntityTooLargeException", want)
	}
	unsigned := ordinary("ListKeys", pad(8<<20))
	unsigned.after = func(r *http.Request) { r.Header.Del("Authorization") }
	f.refused(t, unsigned, "MissingAuthenticationTokenException", "Missing Authentication Token")
}

// A header that is too large for the server is answered before anything of ours sees it; one that just fits works.
func TestLargeHeader(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	agent := func(n int) request {
		r := ordinary("ListKeys", "{}")
		r.before = func(r *http.Request) { r.Header.Set("User-Agent", strings.Repeat("a", n)) }
		return r
	}
	if a := f.send(t, agent(24<<10)); a.status != http.StatusOK {
		t.Errorf("24 KiB: %s", a.refusal())
	}
	resp, err := http.DefaultClient.Do(f.build(t, agent(64<<10)))
	if err != nil {
		t.Fatalf("64 KiB: %v", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("64 KiB: %s", resp.Status)
	}
	// What net/http lets through into a header need not be UTF-8; the audit log takes it all the same.
	r := ordinary("ListKeys", "{}")
	r.before = func(r *http.Request) { r.Header.Set("User-Agent", "\xff\xfe \"x\" \t\u2028") }
	if a := f.send(t, r); a.status != http.StatusOK {
		t.Errorf("agent that is not UTF-8: %s", a.refusal())
	}
}

// A client that stops in the middle of its body is answered when the server has waited long enough.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	for name, stop := range map[string]func(*net.TCPConn) error{
		"stalls":     func(*net.TCPConn) error { return nil },
		"half-close": (*net.TCPConn).CloseWrite,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := f.build(t, ordinary("ListKeys", `{"Limit":10}`))
			u, err := url.Parse(f.url)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", u.Host)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
			var head strings.Builder
			if err := req.Header.Write(&head); err != nil {
				t.Fatal(err)
			}
			_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 12\r\n%s\r\n{\"Lim", u.Host, head.String())
			if err != nil {
				t.Fatal(err)
			}
			tcp, isTCP := conn.(*net.TCPConn)
			if !isTCP {
				t.Fatalf("%T", conn)
			}
			if err := stop(tcp); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(readTimeout + 10*time.Second)); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), req)
			if err != nil {
				t.Fatalf("no answer: %v", err)
			}
			if a := readAnswer(t, resp); a.refusal() != "SerializationException: The request could not be read." {
				t.Errorf("got %s", a.refusal())
			}
		})
	}
}

// One connection serves call after call, refused ones and those whose body was not read included.
func TestConnectionIsKept(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	transport := &http.Transport{MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport}
	var first string
	for i, r := range []request{
		ordinary("ListKeys", "{}"), ordinary("Encrypt", "{"), ordinary("Nope", strings.Repeat("x", 1000)),
		{operation: "ListKeys", body: strings.Repeat("x", 1000), region: "eu-north-1", service: "kms", accessKey: regionstest.AccessKeyID, secret: "x", at: time.Now()},
		ordinary("ListKeys", "{}"),
	} {
		conn := ""
		req := f.build(t, r)
		req = req.WithContext(traceConn(req.Context(), &conn))
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = conn
		} else if conn != first {
			t.Errorf("call %d came by a new connection", i)
		}
	}
}
