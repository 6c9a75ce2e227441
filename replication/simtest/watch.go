package simtest

import (
	"context"
	"sync"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
)

// Made is a key that was made on a token.
type Made struct {
	Op   string // "GenerateKeyPair", "DeriveECDH", ...
	Ref  hsmbackend.KeyRef
	Attr hsmbackend.Attributes // as asked for
}

// Watch records what a Region asks of its token, makes calls fail, and narrows what the token offers.
type Watch struct {
	mu     sync.Mutex
	calls  []string
	made   []Made
	fault  func(op string) (apply bool, err error)
	then   func(Made)
	narrow func(*hsmbackend.Capabilities)
}

// Narrow takes something out of the capabilities that the Region reads, as if its token had less than it has. Nil ends
// that. What is left is done by the token itself.
func (w *Watch) Narrow(change func(*hsmbackend.Capabilities)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.narrow = change
}

// OnlyRSA takes ECDH away, so that the RSA suites are what is left.
func OnlyRSA(c *hsmbackend.Capabilities) { c.ECDHKDFs = nil }

// Fail asks fault about every call from now on; see [hsmtest.Faulty]. Nil makes none fail.
func (w *Watch) Fail(fault func(op string) (apply bool, err error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = fault
}

// OnMade calls then with every key as soon as it is made, before whoever asked for it has it. Nil ends that.
func (w *Watch) OnMade(then func(Made)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.then = then
}

// Calls returns the names of the calls since the last Forget, and Made the keys made.
func (w *Watch) Calls() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.calls...)
}

// Made returns the keys that were made since the last Forget.
func (w *Watch) Made() []Made {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Made(nil), w.made...)
}

// Forget empties the record.
func (w *Watch) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls, w.made = nil, nil
}

func (w *Watch) over(tok hsmbackend.Token) hsmbackend.Token {
	return hsmtest.Faulty(&recording{tok, w}, w.call)
}

func (w *Watch) call(op string) (bool, error) {
	w.mu.Lock()
	w.calls = append(w.calls, op)
	fault := w.fault
	w.mu.Unlock()
	if fault == nil {
		return false, nil
	}
	return fault(op)
}

func (w *Watch) note(op string, ref hsmbackend.KeyRef, attr hsmbackend.Attributes, err error) {
	if err != nil {
		return
	}
	w.mu.Lock()
	m := Made{Op: op, Ref: ref, Attr: attr}
	w.made = append(w.made, m)
	then := w.then
	w.mu.Unlock()
	if then != nil {
		then(m)
	}
}

// recording tells a Watch of the keys that are made.
type recording struct {
	hsmbackend.Token
	w *Watch
}

// Capabilities are the token's, narrowed.
func (r *recording) Capabilities() hsmbackend.Capabilities {
	c := r.Token.Capabilities()
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.w.narrow != nil {
		r.w.narrow(&c)
	}
	return c
}

func (r *recording) GenerateKey(ctx context.Context, kt hsmbackend.KeyType, attr hsmbackend.Attributes) (hsmbackend.KeyRef, error) {
	ref, err := r.Token.GenerateKey(ctx, kt, attr)
	r.w.note("GenerateKey", ref, attr, err)
	return ref, err
}

func (r *recording) GenerateKeyPair(
	ctx context.Context, kt hsmbackend.KeyType, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, []byte, error) {
	ref, public, err := r.Token.GenerateKeyPair(ctx, kt, attr)
	r.w.note("GenerateKeyPair", ref, attr, err)
	return ref, public, err
}

func (r *recording) Unwrap(
	ctx context.Context, kek hsmbackend.KeyRef, blob []byte, kt hsmbackend.KeyType, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	ref, err := r.Token.Unwrap(ctx, kek, blob, kt, attr)
	r.w.note("Unwrap", ref, attr, err)
	return ref, err
}

func (r *recording) UnwrapOAEP(
	ctx context.Context, private hsmbackend.KeyRef, hash hsmbackend.Mechanism, blob []byte, kt hsmbackend.KeyType, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	ref, err := r.Token.UnwrapOAEP(ctx, private, hash, blob, kt, attr)
	r.w.note("UnwrapOAEP", ref, attr, err)
	return ref, err
}

func (r *recording) DeriveECDH(
	ctx context.Context, private hsmbackend.KeyRef, peer []byte, kdf hsmbackend.KDF, info []byte, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	ref, err := r.Token.DeriveECDH(ctx, private, peer, kdf, info, attr)
	r.w.note("DeriveECDH", ref, attr, err)
	return ref, err
}

func (r *recording) DeriveECB(
	ctx context.Context, key hsmbackend.KeyRef, data [32]byte, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	ref, err := r.Token.DeriveECB(ctx, key, data, attr)
	r.w.note("DeriveECB", ref, attr, err)
	return ref, err
}

func (r *recording) DeriveXAES(
	ctx context.Context, key hsmbackend.KeyRef, prefix [12]byte, attr hsmbackend.Attributes,
) (hsmbackend.KeyRef, error) {
	ref, err := r.Token.DeriveXAES(ctx, key, prefix, attr)
	r.w.note("DeriveXAES", ref, attr, err)
	return ref, err
}
