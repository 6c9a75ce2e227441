package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"
)

// MaxSkew is how far a client's clock may be from ours, either way.
const MaxSkew = 5 * time.Minute

// Key is what an access key id stands for. Its fields are secret but for Generation.
type Key struct {
	Secret []byte // the secret access key; only read, and not kept
	// Generation differs for each Secret that the access key id has had; derived keys of others are not used.
	Generation uint64
	// SessionToken is the token of temporary credentials, "" for a user's access key.
	SessionToken string
}

// Config is what a [Verifier] needs.
type Config struct {
	// Service is the service in the credential scope, "kms".
	Service string
	// Now is the real clock: a request is refused more than [MaxSkew] away from it.
	Now func() time.Time
	// DerivedKeys is how many derived signing keys are kept, the least recently used leaving first; 0 means 1024.
	DerivedKeys int
}

// Verifier verifies signatures. It is safe for concurrent use.
type Verifier struct {
	service string
	now     func() time.Time
	derived *derivedKeys
	scratch sync.Pool // of *[]byte
}

// NewVerifier returns a verifier with an empty cache. It fails if the configuration can't be meant.
func NewVerifier(c Config) (*Verifier, error) {
	if c.Service == "" || c.Now == nil {
		return nil, errors.New("make verifier: it needs a service and a clock")
	}
	if c.DerivedKeys == 0 {
		c.DerivedKeys = 1024
	}
	derived, err := newDerivedKeys(c.DerivedKeys)
	if err != nil {
		return nil, fmt.Errorf("make verifier: %w", err)
	}
	return &Verifier{service: c.Service, now: c.Now, derived: derived}, nil
}

// Forget removes every derived signing key of the access key. Whoever changes or deactivates an access key calls it
// after the change is durable and before the change is answered.
func (v *Verifier) Forget(accessKeyID string) { v.derived.forget(accessKeyID) }

// Verify returns nil if and only if the request was signed with key, for this service, at most [MaxSkew] from now, and
// with this body. It does not judge the Region: that is the one in q, which the caller has routed by. Every error is an
// [*Error].
func (v *Verifier) Verify(q *Request, body []byte, key Key) error {
	if q.Service != v.service {
		return &Error{CodeInvalid, "Credential should be scoped to correct service: '" + v.service + "'.", ErrService}
	}
	if err := checkTime(q.signedAt, v.now().UTC()); err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(q.token), []byte(key.SessionToken)) != 1 {
		return Refusal(ErrUnknownKey)
	}
	sum := sha256.Sum256(body)
	var payload [2 * sha256.Size]byte
	hex.Encode(payload[:], sum[:])
	// A client that declares a hash must mean this body; UNSIGNED-PAYLOAD and the streaming forms fail here.
	if q.contentSHA256 != "" && q.contentSHA256 != string(payload[:]) {
		return Refusal(ErrMismatch)
	}
	buf, ok := v.scratch.Get().(*[]byte)
	if !ok {
		b := make([]byte, 0, 2048)
		buf = &b
	}
	defer v.scratch.Put(buf)
	canonical, err := q.appendCanonical((*buf)[:0], payload[:])
	*buf = canonical[:0]
	if err != nil {
		return err
	}
	sum = sha256.Sum256(canonical)
	toSign := q.appendStringToSign(canonical[:0], sum)
	*buf = toSign[:0]
	signingKey := v.derived.get(q.Credential, key)
	mac := hmac.New(sha256.New, signingKey[:])
	mac.Write(toSign)
	if !hmac.Equal(mac.Sum(sum[:0]), q.signature[:]) {
		return Refusal(ErrMismatch)
	}
	return nil
}

func (q *Request) appendStringToSign(dst []byte, canonical [sha256.Size]byte) []byte {
	dst = append(dst, algorithm+"\n"...)
	dst = q.signedAt.AppendFormat(dst, timeLayout)
	dst = append(dst, '\n')
	dst = append(dst, q.Date...)
	dst = append(dst, '/')
	dst = append(dst, q.Region...)
	dst = append(dst, '/')
	dst = append(dst, q.Service...)
	dst = append(dst, "/"+terminator+"\n"...)
	return hex.AppendEncode(dst, canonical[:])
}

// checkTime compares times of whole seconds, so that the two times in AWS's text always differ.
func checkTime(signed, now time.Time) error {
	now = now.Truncate(time.Second)
	stamp := func(t time.Time) string { return t.Format(timeLayout) }
	switch d := now.Sub(signed); {
	case d > MaxSkew:
		return &Error{
			CodeInvalid, "Signature expired: " + stamp(signed) + " is now earlier than " +
				stamp(now.Add(-MaxSkew)) + " (" + stamp(now) + " - 5 min.)", ErrExpired,
		}
	case d < -MaxSkew:
		return &Error{
			CodeInvalid, "Signature not yet current: " + stamp(signed) + " is still later than " +
				stamp(now.Add(MaxSkew)) + " (" + stamp(now) + " + 5 min.)", ErrNotYetCurrent,
		}
	}
	return nil
}
