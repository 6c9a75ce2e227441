package identity

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxTags is how many tags a user, role or session may have.
const MaxTags = 50

// Tag is a tag of a user, a role or a session. CBOR.
type Tag struct {
	Key   string `cbor:"1,keyasint"` // 1 to 128 characters; keys differ by more than case
	Value string `cbor:"2,keyasint"` // at most 256 characters
}

// ValidateTags returns nil if the tags are fit for a user, role or session, and an error that wraps [ErrInvalid] if not:
// letters, digits, blanks and _.:/=+-@ in keys and values, at most [MaxTags], no key twice without regard to case, and
// none that begins with "aws:".
func ValidateTags(tags []Tag) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("%w: at most %d tags", ErrInvalid, MaxTags)
	}
	for i, t := range tags {
		if n := utf8.RuneCountInString(t.Key); n < 1 || n > 128 || utf8.RuneCountInString(t.Value) > 256 {
			return fmt.Errorf("%w: a tag's key has 1 to 128 characters, its value at most 256", ErrInvalid)
		}
		if !tagText(t.Key) || !tagText(t.Value) {
			return fmt.Errorf("%w: a tag has letters, digits, blanks and _.:/=+-@ only", ErrInvalid)
		}
		if len(t.Key) >= 4 && strings.EqualFold(t.Key[:4], "aws:") {
			return fmt.Errorf("%w: the prefix aws: is not for tags' keys", ErrInvalid)
		}
		if slices.ContainsFunc(tags[:i], func(o Tag) bool { return strings.EqualFold(o.Key, t.Key) }) {
			return fmt.Errorf("%w: a tag is there twice", ErrInvalid)
		}
	}
	return nil
}

func tagText(s string) bool {
	for _, c := range s {
		if c == utf8.RuneError || !unicode.IsLetter(c) && !unicode.IsNumber(c) && !unicode.Is(unicode.Z, c) && !strings.ContainsRune("_.:/=+-@", c) {
			return false
		}
	}
	return true
}

// withTags returns base with what is in over in place of what has the same key, without regard to case.
func withTags(base, over []Tag) []Tag {
	if len(over) == 0 {
		return base
	}
	out := slices.Clone(over)
	for _, b := range base {
		if !slices.ContainsFunc(over, func(o Tag) bool { return strings.EqualFold(o.Key, b.Key) }) {
			out = append(out, b)
		}
	}
	return out
}
