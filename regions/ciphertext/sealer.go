package ciphertext

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"antipode/hsmbackend"
)

// Token is what a Sealer needs of a token. Its keys are session objects of the token's long-lived scope.
type Token interface {
	Capabilities() hsmbackend.Capabilities
	DeriveXAES(ctx context.Context, key hsmbackend.KeyRef, prefix [12]byte, attr hsmbackend.Attributes) (hsmbackend.KeyRef, error)
	SealGCM(ctx context.Context, key hsmbackend.KeyRef, iv [12]byte, plaintext, aad []byte) ([]byte, [12]byte, error)
	OpenGCM(ctx context.Context, key hsmbackend.KeyRef, iv [12]byte, sealed, aad []byte) ([]byte, error)
	Destroy(ctx context.Context, key hsmbackend.KeyRef) error
}

// KeyHandle is key material that is on the token, ready for use.
type KeyHandle struct {
	KeyID      string            // "mrk-" and 32 lower-case hex digits, or a lower-case UUID
	MaterialID string            // 64 lower-case hex digits
	Ref        hsmbackend.KeyRef // an AES-256 key that may derive
}

// The bounds of a nonce period: how much one derived key may encrypt. The chance of a repeated nonce that the package
// documentation states depends on MaxMessages.
const (
	MaxMessages = 1 << 10
	MaxAge      = 60 * time.Second
)

// Limits says what a Sealer keeps on the token. A zero field stands for its default.
type Limits struct {
	// Messages is how many messages one derived key encrypts, 1 to MaxMessages, the default.
	Messages int
	// Age is for how long a derived key begins to encrypt further messages, at most MaxAge, the default.
	Age time.Duration
	// EncryptKeys is how many materials may have a derived key for encryption on the token, by default 256. Negative
	// means none beyond the call that made it.
	EncryptKeys int
	// DecryptKeys is how many derived keys for decryption may be on the token, by default 1024. Negative means none
	// beyond the call that made it.
	DecryptKeys int
}

// oneEach is what a token allows whose AES-GCM runs in host memory: a key for each message, and none kept.
func oneEach() Limits { return Limits{Messages: 1, Age: MaxAge, EncryptKeys: -1, DecryptKeys: -1} }

func (l Limits) withDefaults() (Limits, error) {
	if l.Messages == 0 {
		l.Messages = MaxMessages
	}
	if l.Age == 0 {
		l.Age = MaxAge
	}
	if l.EncryptKeys == 0 {
		l.EncryptKeys = 256
	}
	if l.DecryptKeys == 0 {
		l.DecryptKeys = 1024
	}
	if l.Messages < 1 || l.Messages > MaxMessages || l.Age < 0 || l.Age > MaxAge {
		return Limits{}, fmt.Errorf("a nonce period is 1 to %d messages in at most %v", MaxMessages, MaxAge)
	}
	return l, nil
}

// Sealer makes and opens ciphertexts on one token. It is safe for concurrent use.
type Sealer struct {
	token  Token
	ownIV  bool // the token makes the last 12 bytes of each nonce
	random io.Reader
	keys   *keyCache
}

// New returns a Sealer on the token. random is a CSPRNG without a buffer that a clone of the machine would share; clock
// tells the time by which derived keys age and should be monotonic. On a token whose AES-GCM runs in host memory
// ([hsmbackend.XAESOnHost]) each message has a derived key of its own and none is kept, whatever limits says.
func New(token Token, random io.Reader, clock func() time.Time, limits Limits) (*Sealer, error) {
	limits, err := limits.withDefaults()
	if err != nil {
		return nil, err
	}
	can := token.Capabilities()
	if can.GCMOnHost() {
		limits = oneEach()
	}
	return &Sealer{token: token, ownIV: can.GCMIVFromToken, random: random, keys: newKeyCache(token, clock, limits)}, nil
}

// Seal encrypts plaintext, 0 to [MaxPlaintext] bytes, and returns the blob. It returns [ErrPlaintext], [ErrContext],
// [ErrClosed], or what the token answered: [hsmbackend.ErrObjectNotFound] means that key.Ref is not on the token any
// more and has to be put there again.
func (s *Sealer) Seal(ctx context.Context, key KeyHandle, context map[string]string, plaintext []byte) ([]byte, error) {
	if len(plaintext) > MaxPlaintext {
		return nil, ErrPlaintext
	}
	h, ok := newHeader(key.KeyID, key.MaterialID)
	if !ok {
		return nil, fmt.Errorf("encrypt: malformed key or material id in handle of %q", key.KeyID)
	}
	aad, err := h.aad(context)
	if err != nil {
		return nil, err
	}
	var blob []byte
	err = s.withDerived(ctx, derivedID{material: h.material(), usage: encrypting}, key.Ref, func(d *derived) error {
		var asked [ivLength]byte
		if !s.ownIV {
			if _, err := io.ReadFull(s.random, asked[:]); err != nil {
				return fmt.Errorf("random nonce: %w", err)
			}
		}
		sealed, iv, err := s.token.SealGCM(ctx, d.ref, asked, plaintext, aad)
		if err != nil {
			return err
		}
		if (iv == asked) == s.ownIV { // zero, where the token makes it
			return &hsmbackend.Error{Op: "SealGCM", Kind: hsmbackend.ErrTokenLies, Info: "not the IV that was to be used"}
		}
		if len(sealed) != len(plaintext)+tagLength {
			return &hsmbackend.Error{Op: "SealGCM", Kind: hsmbackend.ErrInternal, Info: "ciphertext of a wrong length"}
		}
		b := Blob{header: h, sealed: sealed}
		copy(b.nonce[copy(b.nonce[:], d.prefix[:]):], iv[:])
		blob = b.Append(make([]byte, 0, headerLength+nonceLength+len(sealed)))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return blob, nil
}

// Open decrypts a blob with the key that its header names. The plaintext is the caller's to protect and to clear. It
// returns [ErrInvalid] itself, unwrapped, for whatever is wrong with the ciphertext, the context or the choice of key;
// [ErrContext] for a context that no ciphertext can have; [ErrClosed]; or what the token answered, as [Sealer.Seal] does.
func (s *Sealer) Open(ctx context.Context, key KeyHandle, blob Blob, context map[string]string) ([]byte, error) {
	if h, ok := newHeader(key.KeyID, key.MaterialID); !ok || h != blob.header {
		return nil, ErrInvalid
	}
	aad, err := blob.header.aad(context)
	if err != nil {
		return nil, err
	}
	id := derivedID{material: blob.header.material(), usage: decrypting, prefix: [prefixLength]byte(blob.nonce[:prefixLength])}
	var plaintext []byte
	err = s.withDerived(ctx, id, key.Ref, func(d *derived) error {
		var err error
		plaintext, err = s.token.OpenGCM(ctx, d.ref, [ivLength]byte(blob.nonce[prefixLength:]), blob.sealed, aad)
		if err == nil && len(plaintext) != len(blob.sealed)-tagLength {
			return &hsmbackend.Error{Op: "OpenGCM", Kind: hsmbackend.ErrInternal, Info: "plaintext of a wrong length"}
		}
		return err
	})
	switch {
	case errors.Is(err, hsmbackend.ErrIntegrity):
		return nil, ErrInvalid
	case err != nil:
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	return plaintext, nil
}

// Evict destroys on the token all keys that were derived from the material, and returns when none is left: it waits for
// calls that use one. While it runs, calls on the material keep nothing. The caller destroys the working copy of the
// material first, so that calls which come later can derive nothing from the handle they still have; then, after Evict,
// nothing of the material can be used. It returns an error if ctx ends, or if the token did not destroy a key; a further
// Evict tries again.
func (s *Sealer) Evict(ctx context.Context, material string) error {
	var id materialID
	if !unhex(id[:], material) {
		return errors.New("evict derived keys: malformed material id")
	}
	if err := s.keys.evict(ctx, id); err != nil {
		return fmt.Errorf("evict derived keys: %w", err)
	}
	return nil
}

// Sweep destroys derived keys that may encrypt nothing more, and those that the token failed to destroy earlier. It is
// to be called every few seconds, so that a derived key that nobody asks for does not outlive its period by more.
func (s *Sealer) Sweep(ctx context.Context) error {
	if err := s.keys.sweep(ctx); err != nil {
		return fmt.Errorf("sweep derived keys: %w", err)
	}
	return nil
}

// Close destroys all derived keys and returns when none is left; calls that come later answer [ErrClosed]. It may be
// repeated if it fails.
func (s *Sealer) Close(ctx context.Context) error {
	if err := s.keys.close(ctx); err != nil {
		return fmt.Errorf("close sealer: %w", err)
	}
	return nil
}

// withDerived runs fn with a derived key, and keeps the key if fn succeeds. If the key turns out to be gone from the
// token, as after the loss of its session, another one is derived, once.
func (s *Sealer) withDerived(ctx context.Context, id derivedID, working hsmbackend.KeyRef, fn func(*derived) error) error {
	for again := false; ; again = true {
		d, err := s.keys.acquire(ctx, id, working, s.random)
		if err != nil {
			if errors.Is(err, hsmbackend.ErrSessionLost) && !again {
				continue
			}
			return err
		}
		err = fn(d)
		gone := errors.Is(err, hsmbackend.ErrObjectNotFound) || errors.Is(err, hsmbackend.ErrSessionLost)
		switch {
		case err == nil:
			s.keys.keep(ctx, d)
		case gone:
			s.keys.drop(d)
		}
		s.keys.release(ctx, d)
		if !gone || again {
			return err
		}
	}
}
