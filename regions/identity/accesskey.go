package identity

import (
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"antipode/regions/secret"
)

// ErrSecret says that what was sealed is not the secret of an access key.
var ErrSecret = errors.New("sealed secret refused")

const (
	idPrefix      = "AKIA"
	sessionPrefix = "ASIA"
	idLength      = 20
	secretLength  = 40
	idAlphabet    = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	rowDomain     = "antipode/identity/access-key/1"
)

// Sealer encrypts small secrets under a key of the Region's token.
type Sealer interface {
	// Seal encrypts plaintext, bound to aad.
	Seal(ctx context.Context, aad, plaintext []byte) ([]byte, error)
	// Open is the inverse of Seal. It fails for another aad.
	Open(ctx context.Context, aad, sealed []byte) ([]byte, error)
}

// AccessKey is a user's access key as it is stored. CBOR.
type AccessKey struct {
	ID           string `cbor:"1,keyasint"` // AKIA and 16 of A-Z2-7
	UserARN      string `cbor:"2,keyasint"` // whose it is
	SealedSecret []byte `cbor:"3,keyasint"` // bound to the account, the user's name and ID
	Active       bool   `cbor:"4,keyasint"`
	Created      int64  `cbor:"5,keyasint"` // Unix time in milliseconds
	// Generation is 1 for a new access key; whoever changes its secret raises it.
	Generation uint64 `cbor:"6,keyasint"`
}

// NewAccessKey makes an access key: active, with a random id and secret. random is a CSPRNG; 40 bytes of it are read.
func NewAccessKey(random io.Reader, created int64) (BundleKey, error) {
	id, value, err := newCredentials(random, idPrefix)
	return BundleKey{ID: id, Active: true, Created: created, Secret: value}, err
}

func newCredentials(random io.Reader, prefix string) (id string, _ Secret, err error) {
	var raw [10 + 30]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return "", Secret{}, fmt.Errorf("make access key: %w", err)
	}
	// 80 random bits in the id make it unique, 240 in the secret make it unguessable.
	id = prefix + base32.NewEncoding(idAlphabet).EncodeToString(raw[:10])
	value := base64.StdEncoding.AppendEncode(nil, raw[10:])
	clear(raw[:])
	return id, secret.Of(value), nil
}

// SealAccessKey makes the record of a user's access key: the same credentials work in every Region, and each Region seals
// them for itself. It returns an error that wraps [ErrInvalid] for an id or a secret of another form.
func SealAccessKey(ctx context.Context, sealer Sealer, u User, k BundleKey) (AccessKey, error) {
	if err := u.Validate(); err != nil {
		return AccessKey{}, err
	}
	if !ValidAccessKeyID(k.ID) || !validSecret(k.Secret.Reveal()) {
		return AccessKey{}, fmt.Errorf("%w: not an access key", ErrInvalid)
	}
	sealed, err := sealer.Seal(ctx, row(u.Account, u.Name, k.ID), k.Secret.Reveal())
	if err != nil {
		return AccessKey{}, fmt.Errorf("seal access key: %w", err)
	}
	return AccessKey{ID: k.ID, UserARN: u.ARN(), SealedSecret: sealed, Active: k.Active, Created: k.Created, Generation: 1}, nil
}

// Open returns the secret. It returns the sealer's error, wrapped, if the secret was sealed for another row, an error that
// wraps [ErrInvalid] if UserARN is no user's, and [ErrSecret] if what was sealed is no secret of an access key.
func (k AccessKey) Open(ctx context.Context, sealer Sealer) (Secret, error) {
	account, _, name, err := ParseUserARN(k.UserARN)
	if err != nil {
		return Secret{}, fmt.Errorf("open access key %s: %w", k.ID, err)
	}
	value, err := sealer.Open(ctx, row(account, name, k.ID), k.SealedSecret)
	if err != nil {
		return Secret{}, fmt.Errorf("open access key %s: %w", k.ID, err)
	}
	if !validSecret(value) {
		return Secret{}, fmt.Errorf("open access key %s: %w", k.ID, ErrSecret)
	}
	return secret.Of(value), nil
}

// row names the row that a sealed secret belongs to: each part after its length, so that no two rows have one name. A
// user's path is not in it, for a user may be moved to another.
func row(account, userName, id string) []byte {
	var b []byte
	for _, part := range [...]string{rowDomain, account, userName, id} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(part))) //nolint:gosec // what is sealed was validated; else it opens nothing
		b = append(b, part...)
	}
	return b
}

// ValidAccessKeyID reports whether the id is AKIA and 16 of A-Z2-7: a user's access key.
func ValidAccessKeyID(id string) bool { return validKeyID(id, idPrefix) }

// TemporaryAccessKeyID reports whether the id is ASIA and 16 of A-Z2-7: a session's access key.
func TemporaryAccessKeyID(id string) bool { return validKeyID(id, sessionPrefix) }

func validKeyID(id, prefix string) bool {
	return len(id) == idLength && strings.HasPrefix(id, prefix) && strings.Trim(id[len(prefix):], idAlphabet) == ""
}

func validSecret(s []byte) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '+' && c != '/' {
			return false
		}
	}
	return len(s) == secretLength
}
