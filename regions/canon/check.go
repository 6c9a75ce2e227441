package canon

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Major types and simple values of RFC 8949, section 3.
const (
	majorUint   = 0
	majorNint   = 1
	majorBytes  = 2
	majorText   = 3
	majorArray  = 4
	majorMap    = 5
	simpleFalse = 0xf4
	simpleTrue  = 0xf5
)

// Check reports whether data is one value of this package's data model in its one encoding, whatever its type. It
// returns [ErrNotCanonical] or [ErrTooLarge].
func Check(data []byte) error {
	if len(data) > MaxSize {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), MaxSize)
	}
	s := scanner{data: data}
	if err := s.value(0); err != nil {
		return err
	}
	if s.pos != len(data) {
		return s.fault("bytes after the value")
	}
	return nil
}

// scanner walks an encoding. It never allocates, and its depth is bounded by MaxDepth.
type scanner struct {
	data []byte
	pos  int
}

func (s *scanner) fault(what string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrNotCanonical, what, s.pos)
}

// head reads the initial byte and argument, in its shortest form.
func (s *scanner) head() (major byte, arg uint64, err error) {
	rest := s.data[s.pos:]
	if len(rest) == 0 {
		return 0, 0, s.fault("end of data")
	}
	major, info := rest[0]>>5, rest[0]&0x1f
	if info < 24 {
		s.pos++
		return major, uint64(info), nil
	}
	if info > 27 {
		return 0, 0, s.fault("indefinite or reserved length")
	}
	size := 1 << (info - 24)
	if len(rest) < 1+size {
		return 0, 0, s.fault("end of data")
	}
	var buf [8]byte
	copy(buf[8-size:], rest[1:1+size])
	arg = binary.BigEndian.Uint64(buf[:])
	least := uint64(24) // below it the head without argument bytes holds the value
	if size > 1 {
		least = 1 << (4 * size) // below it half the argument bytes hold it
	}
	if arg < least {
		return 0, 0, s.fault("head is not shortest")
	}
	s.pos += 1 + size
	return major, arg, nil
}

func (s *scanner) value(depth int) error {
	if s.pos < len(s.data) && (s.data[s.pos] == simpleFalse || s.data[s.pos] == simpleTrue) {
		s.pos++
		return nil
	}
	start := s.pos
	major, arg, err := s.head()
	if err != nil {
		return err
	}
	switch major {
	case majorUint, majorNint:
		return nil
	case majorBytes, majorText:
		if arg > uint64(len(s.data)-s.pos) { //nolint:gosec // pos never passes the end
			return s.fault("end of data")
		}
		body := s.data[s.pos : s.pos+int(arg)] //nolint:gosec // bounded by the line above
		if major == majorText && !utf8.Valid(body) {
			return s.fault("text is not UTF-8")
		}
		s.pos += len(body)
		return nil
	case majorArray, majorMap:
		if depth >= MaxDepth {
			return fmt.Errorf("%w: deeper than %d", ErrTooLarge, MaxDepth)
		}
		if arg > MaxElements {
			return fmt.Errorf("%w: more than %d elements", ErrTooLarge, MaxElements)
		}
		if major == majorMap {
			return s.pairs(arg, depth+1)
		}
		for range arg {
			if err := s.value(depth + 1); err != nil {
				return err
			}
		}
		return nil
	}
	s.pos = start
	return s.fault("tag, float or simple value")
}

// pairs reads the n pairs of a map. Strictly rising keys are also unique ones.
func (s *scanner) pairs(n uint64, depth int) error {
	var last []byte
	for i := range n {
		start := s.pos
		if err := s.value(depth); err != nil {
			return err
		}
		key := s.data[start:s.pos]
		if i > 0 && bytes.Compare(last, key) >= 0 {
			s.pos = start
			return s.fault("map key repeated or out of order")
		}
		last = key
		if err := s.value(depth); err != nil {
			return err
		}
	}
	return nil
}
