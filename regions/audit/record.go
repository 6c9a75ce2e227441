package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Kind is the kind of a record.
type Kind string

// The kinds; "checkpoint" is reserved.
const (
	KindFile    Kind = "file"    // the first record of each file
	KindIntent  Kind = "intent"  // a management call is about to act
	KindOutcome Kind = "outcome" // what became of it
	KindData    Kind = "data"    // a data-plane call has acted
	KindService Kind = "service" // the service acted by itself
)

// MaxLineBytes is the largest length of a line, its newline included.
const MaxLineBytes = 1 << 20

const (
	hashDomain  = "antipode/audit/1\n"
	hashMember  = `,"hash":"`
	trailerSize = len(hashMember) + 2*sha256.Size + len("\"}\n")
	formatName  = "antipode-audit/1"
	maxNode     = 64
)

// Record is one line of the log.
type Record struct {
	Seq    uint64
	Kind   Kind
	Node   string
	Time   time.Time // UTC, to the microsecond
	Prev   [32]byte
	Intent uint64    // of an outcome: the seq of its intent
	Event  []byte    // the event as JSON (see [DecodeEvent]); empty in a record of kind "file"
	File   FileStart // of a record of kind "file"
	Hash   [32]byte
}

// FileStart is what the first record of a file says.
type FileStart struct {
	Log  [16]byte
	Open []uint64 // the intents without outcome, ascending
}

// appendHashed appends the part of the line that is hashed.
func (r *Record) appendHashed(b []byte) []byte {
	b = strconv.AppendUint(append(b, `{"seq":`...), r.Seq, 10)
	b = append(append(b, `,"kind":"`...), r.Kind...)
	b = append(append(b, `","node":"`...), r.Node...)
	b = r.Time.AppendFormat(append(b, `","time":"`...), recordTimeLayout)
	b = hex.AppendEncode(append(b, `","prev":"`...), r.Prev[:])
	b = append(b, '"')
	if r.Kind == KindOutcome {
		b = strconv.AppendUint(append(b, `,"intent":`...), r.Intent, 10)
	}
	if r.Kind != KindFile {
		return append(append(b, `,"event":`...), r.Event...)
	}
	b = append(b, `,"file":{"format":"`+formatName+`","log":"`...)
	b = append(hex.AppendEncode(b, r.File.Log[:]), `","open":[`...)
	for i, seq := range r.File.Open {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, seq, 10)
	}
	return append(b, `]}`...)
}

func appendTrailer(b []byte, hash [32]byte) []byte {
	b = hex.AppendEncode(append(b, hashMember...), hash[:])
	return append(b, "\"}\n"...)
}

// hashOf is the hash of a record whose hashed part is b.
func hashOf(b []byte) [32]byte {
	h := sha256.New()
	h.Write([]byte(hashDomain))
	h.Write(b)
	return [32]byte(h.Sum(nil))
}

// AppendLine appends the record as its line, with the hash that it carries.
func (r *Record) AppendLine(b []byte) []byte { return appendTrailer(r.appendHashed(b), r.Hash) }

var errNewline = errors.New("line does not end in a newline")

// ParseRecord reads one line, its newline included, and checks the record's own hash. It accepts exactly what
// AppendLine makes of the answer, which keeps parts of line.
func ParseRecord(line []byte) (Record, error) {
	if len(line) > MaxLineBytes {
		return Record{}, errors.New("line too long")
	}
	if len(line) == 0 || line[len(line)-1] != '\n' {
		return Record{}, errNewline
	}
	if len(line) < trailerSize {
		return Record{}, errors.New("line too short")
	}
	hashed, trailer := line[:len(line)-trailerSize], line[len(line)-trailerSize:]
	p := parser{rest: trailer}
	p.literal(hashMember)
	r := Record{Hash: p.hash()}
	p.literal("\"}\n")
	if p.err == nil && hashOf(hashed) != r.Hash {
		return Record{}, errors.New("hash does not match the record")
	}
	p.rest = hashed
	p.record(&r)
	if p.err == nil && len(p.rest) > 0 {
		p.fail("end of record")
	}
	if p.err != nil {
		return Record{}, p.err
	}
	return r, nil
}

// parser takes a line apart from the left. After an error it takes nothing more.
type parser struct {
	rest []byte
	err  error
}

func (p *parser) fail(want string) {
	if p.err == nil {
		p.err = fmt.Errorf("%s is not where it should be", want)
	}
	p.rest = nil
}

func (p *parser) record(r *Record) {
	p.literal(`{"seq":`)
	r.Seq = p.number()
	p.literal(`,"kind":"`)
	r.Kind = Kind(p.until('"'))
	p.literal(`"`)
	p.literal(`,"node":"`)
	r.Node = string(p.until('"'))
	p.literal(`","time":"`)
	r.Time = p.time()
	p.literal(`","prev":"`)
	r.Prev = p.hash()
	p.literal(`"`)
	if p.err == nil && !validNode(r.Node) {
		p.fail("node")
	}
	switch r.Kind {
	case KindFile:
		p.file(r)
		return
	case KindOutcome:
		p.literal(`,"intent":`)
		r.Intent = p.number()
	case KindIntent, KindData, KindService:
	default:
		p.fail("kind")
	}
	p.literal(`,"event":`)
	// A name that an event gives twice is its caller's fault, and no reason to refuse the log.
	event := jsontext.Value(p.rest)
	if p.err == nil && (len(event) < 2 || event[0] != '{' || event[len(event)-1] != '}' ||
		!event.IsValid(jsontext.AllowDuplicateNames(true))) {
		p.fail("event")
	}
	r.Event, p.rest = p.rest, nil
}

func (p *parser) file(r *Record) {
	p.literal(`,"file":{"format":"` + formatName + `","log":"`)
	p.hex(r.File.Log[:])
	p.literal(`","open":[`)
	for len(p.rest) > 0 && p.rest[0] != ']' {
		if len(r.File.Open) > 0 {
			p.literal(",")
		}
		seq := p.number()
		if n := len(r.File.Open); n > 0 && r.File.Open[n-1] >= seq {
			p.fail("open intent")
		}
		r.File.Open = append(r.File.Open, seq)
	}
	p.literal(`]}`)
}

func (p *parser) literal(want string) {
	if len(p.rest) < len(want) || string(p.rest[:len(want)]) != want {
		p.fail(want)
		return
	}
	p.rest = p.rest[len(want):]
}

func (p *parser) until(end byte) []byte {
	i := bytes.IndexByte(p.rest, end)
	if i < 0 {
		p.fail("a string")
		return nil
	}
	s := p.rest[:i]
	p.rest = p.rest[i:]
	return s
}

// number takes a decimal number from 1 on.
func (p *parser) number() uint64 {
	n := 0
	for n < len(p.rest) && '0' <= p.rest[n] && p.rest[n] <= '9' {
		n++
	}
	v, err := strconv.ParseUint(string(p.rest[:n]), 10, 64)
	if err != nil || p.rest[0] == '0' || v == math.MaxUint64 { // so that one more is a number
		p.fail("a number")
		return 0
	}
	p.rest = p.rest[n:]
	return v
}

func (p *parser) time() time.Time {
	s := string(p.until('"'))
	t, err := time.Parse(recordTimeLayout, s)
	if err != nil || t.Format(recordTimeLayout) != s { // time.Parse takes a comma for the point
		p.fail("time")
	}
	return t
}

func (p *parser) hash() (h [32]byte) {
	p.hex(h[:])
	return h
}

// hex takes lower-case hex digits.
func (p *parser) hex(to []byte) {
	n := 2 * len(to)
	if len(p.rest) < n {
		p.fail("a hash")
		return
	}
	if _, err := hex.Decode(to, p.rest[:n]); err != nil || bytes.ContainsAny(p.rest[:n], "ABCDEF") {
		p.fail("a hash")
		return
	}
	p.rest = p.rest[n:]
}

func validNode(s string) bool {
	if s == "" || len(s) > maxNode {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}
