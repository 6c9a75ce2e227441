package audit

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unicode/utf8"
)

func golden(f *testing.F, name string) [][]byte {
	f.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	must(f, err)
	return bytes.SplitAfter(b, []byte("\n"))
}

// FuzzParseRecord: what parses is written again as the same bytes. The fuzzer can't find hashes, so the input is also
// tried with the right one.
func FuzzParseRecord(f *testing.F) {
	for _, line := range golden(f, "log.golden") {
		f.Add(line)
	}
	f.Add([]byte("{}\n"))
	f.Add(bytes.Repeat([]byte{0}, trailerSize+1))
	f.Fuzz(func(t *testing.T, line []byte) {
		check := func(line []byte) {
			r, err := ParseRecord(line)
			if err != nil {
				return
			}
			if again := r.AppendLine(nil); !bytes.Equal(again, line) {
				t.Errorf("parsed\n%q\nwrites\n%q", line, again)
			}
			if !json.Valid(line) {
				t.Errorf("not JSON: %q", line)
			}
		}
		check(line)
		if n := len(line) - trailerSize; n > 0 {
			check(appendTrailer(bytes.Clone(line[:n]), hashOf(line[:n])))
		}
	})
}

// FuzzDecodeEvent: what is decoded is written again as the same bytes.
func FuzzDecodeEvent(f *testing.F) {
	for _, line := range golden(f, "events.golden") {
		f.Add(bytes.TrimSuffix(line, []byte("\n")))
	}
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEvent(b)
		if err != nil {
			return
		}
		if again := appendEvent(nil, &e); !bytes.Equal(again, b) {
			t.Errorf("decoded\n%q\nwrites\n%q", b, again)
		}
	})
}

// FuzzEvent: whatever strings a caller sends, the record is one line of JSON that is read back as the same event.
func FuzzEvent(f *testing.F) {
	f.Add("agent", "message", "key", "value", int64(0))
	f.Add("\xff\x00\n\"\\", "\u2028\u00e4", "", "\ud7ff", int64(1<<40))
	f.Add(string(bytes.Repeat([]byte{0xff}, 2000)), string(bytes.Repeat([]byte("\u00e4"), 600)), "a", "b", int64(-1))
	f.Fuzz(func(t *testing.T, agent, message, name, value string, at int64) {
		e := Event{
			EventName: name, UserAgent: agent, ErrorMessage: message, SourceIPAddress: value,
			UserIdentity: UserIdentity{ARN: agent}, Resources: []Resource{{ARN: value}}, EventTime: time.Unix(at, 0),
		}
		if !writable(e.EventTime) {
			return
		}
		e.RequestParameters.Str(name, value)
		e.RequestParameters.Map("m", map[string]string{name: value, value: name})
		b := appendEvent(nil, &e)
		if !json.Valid(b) || !utf8.Valid(b) || bytes.ContainsAny(b, "\n\x00") {
			t.Fatalf("not one line of JSON: %q", b)
		}
		back, err := DecodeEvent(b)
		if err != nil {
			t.Fatalf("%v: %q", err, b)
		}
		if utf8.ValidString(value) && back.SourceIPAddress != value {
			t.Errorf("%q comes back as %q", value, back.SourceIPAddress)
		}
	})
}
