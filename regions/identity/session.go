package identity

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"antipode/regions/secret"
)

// MaxSessionToken is the longest session token in characters. What would make a longer one is refused by
// [SessionKeys.Issue].
const MaxSessionToken = 8192

var (
	// ErrToken says that a session token was not made by this Region for this access key, or was altered.
	ErrToken = errors.New("session token refused")
	// ErrPacked says that session policies and tags are too long together.
	ErrPacked = errors.New("session policies and tags are too large")
)

const (
	sessionVersion = 1
	sessionDomain  = "antipode/identity/session/1"
	// FilterDomain is what a Region's record key authenticates to make the key of the outer MAC of its session tokens.
	FilterDomain = "antipode/identity/session-filter/1"
	filterSize   = 16
	maxRegion    = 64
)

// Session is what a session token says: temporary credentials of a role, or of a user. CBOR inside the token.
type Session struct {
	AccessKeyID    string   `cbor:"1,keyasint"` // ASIA and 16 of A-Z2-7
	Secret         Secret   `cbor:"-"`          // the secret access key
	Account        string   `cbor:"3,keyasint"` // of the role or user
	Role           string   `cbor:"4,keyasint"` // the role's name, "" for a session of a user
	User           string   `cbor:"5,keyasint"` // the user's name, "" for a session of a role
	HolderID       string   `cbor:"6,keyasint"` // the role's or user's unique id when the session was issued
	Name           string   `cbor:"7,keyasint"` // RoleSessionName
	Policies       []string `cbor:"8,keyasint"` // session policies, JSON
	Tags           []Tag    `cbor:"9,keyasint"`
	Transitive     []string `cbor:"10,keyasint"` // keys of tags that go on to roles assumed with this session
	SourceIdentity string   `cbor:"11,keyasint"`
	Issued         int64    `cbor:"12,keyasint"` // Unix time in milliseconds
	Expires        int64    `cbor:"13,keyasint"` // Unix time in milliseconds
}

// sessionText is what is sealed.
type sessionText struct {
	Session
	SecretText []byte `cbor:"2,keyasint"`
}

// SessionKeys makes and opens the session tokens of one Region. A token is sealed by the Region's HSM; a MAC around it
// lets what was made up be refused without asking the HSM. It is immutable and safe for concurrent use.
type SessionKeys struct {
	region string
	sealer Sealer
	filter [sha256.Size]byte
}

// NewSessionKeys returns the session keys of a Region. filter is the Region's MAC of [FilterDomain], 32 bytes: who has it
// can't make a token, only make the HSM look at forged ones.
func NewSessionKeys(region string, sealer Sealer, filter []byte) (*SessionKeys, error) {
	if region == "" || len(region) > maxRegion || len(filter) != sha256.Size {
		return nil, fmt.Errorf("make session keys: %w: region or filter key", ErrInvalid)
	}
	return &SessionKeys{region: region, sealer: sealer, filter: [sha256.Size]byte(filter)}, nil
}

// Issue makes the credentials of a session: its access key id and secret are chosen here, with a CSPRNG. It returns
// [ErrPacked] if the token would be longer than [MaxSessionToken].
func (k *SessionKeys) Issue(ctx context.Context, random io.Reader, s Session) (Session, string, error) {
	id, value, err := newCredentials(random, sessionPrefix)
	if err != nil {
		return Session{}, "", err
	}
	s.AccessKeyID, s.Secret = id, value
	text, err := cbor.Marshal(sessionText{s, value.Reveal()})
	if err != nil {
		return Session{}, "", fmt.Errorf("issue session: %w", err)
	}
	defer clear(text)
	sealed, err := k.sealer.Seal(ctx, k.aad(), text)
	if err != nil {
		return Session{}, "", fmt.Errorf("issue session: %w", err)
	}
	raw := append([]byte{sessionVersion, byte(len(k.region))}, k.region...) //nolint:gosec // at most maxRegion
	raw = append(raw, sealed...)
	raw = append(raw, k.mac(raw)...)
	token := base64.StdEncoding.EncodeToString(raw)
	if len(token) > MaxSessionToken {
		return Session{}, "", fmt.Errorf("issue session: %w: a token of %d characters, at most %d", ErrPacked, len(token), MaxSessionToken)
	}
	return s, token, nil
}

// Open returns what a token says that [SessionKeys.Issue] of the same Region has made, expired or not. It returns
// [ErrToken] for any other, or the sealer's failure.
func (k *SessionKeys) Open(ctx context.Context, token string) (Session, error) {
	raw, err := parseToken(token)
	if err != nil {
		return Session{}, err
	}
	cut := len(raw) - filterSize
	head := 2 + int(raw[1])
	if string(raw[2:head]) != k.region || !hmac.Equal(k.mac(raw[:cut]), raw[cut:]) {
		return Session{}, ErrToken
	}
	text, err := k.sealer.Open(ctx, k.aad(), raw[head:cut])
	if err != nil {
		return Session{}, fmt.Errorf("open session token: %w", err)
	}
	defer clear(text)
	var s sessionText
	if err := cbor.Unmarshal(text, &s); err != nil {
		return Session{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	if !TemporaryAccessKeyID(s.AccessKeyID) || !validSecret(s.SecretText) || (s.Role == "") == (s.User == "") {
		return Session{}, ErrToken
	}
	s.Secret = secret.Of(s.SecretText)
	return s.Session, nil
}

// TokenRegion returns the name of the Region that a token claims to be of, or [ErrToken].
func TokenRegion(token string) (string, error) {
	raw, err := parseToken(token)
	if err != nil {
		return "", err
	}
	return string(raw[2 : 2+int(raw[1])]), nil
}

// parseToken decodes a token and checks that its parts are there.
func parseToken(token string) ([]byte, error) {
	// The decoder would skip line ends, and a token would have many forms.
	if len(token) > MaxSessionToken || strings.ContainsAny(token, "\r\n") {
		return nil, ErrToken
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) < 2 || raw[0] != sessionVersion || raw[1] == 0 || raw[1] > maxRegion ||
		len(raw) < 2+int(raw[1])+filterSize {
		return nil, ErrToken
	}
	return raw, nil
}

func (k *SessionKeys) mac(data []byte) []byte {
	h := hmac.New(sha256.New, k.filter[:])
	h.Write(data)
	return h.Sum(nil)[:filterSize]
}

func (k *SessionKeys) aad() []byte { return append([]byte(sessionDomain+"|"), k.region...) }

// Expired reports whether the session has ended.
func (s Session) Expired(now time.Time) bool { return now.UnixMilli() >= s.Expires }
