package p11

import (
	"context"
	"slices"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// What the tests in p11_test do behind the Token's back, on the same module.

func (t *Token) Raw() (*pkcs11.Ctx, uint) { return t.mod.raw, t.conn.slot }

func (t *Token) Idle() []pkcs11.SessionHandle {
	t.conn.mu.Lock()
	defer t.conn.mu.Unlock()
	return slices.Clone(t.conn.idle)
}

func (t *Token) HolderSession() pkcs11.SessionHandle { return t.holder.h }

func (t *Token) ScopeSession(s hsmbackend.Scope) pkcs11.SessionHandle { return t.scopes[s].h }

func (t *Token) Handle(ref hsmbackend.KeyRef) pkcs11.ObjectHandle { return t.object(ref).h }

// Occupy takes all places, as calls that hang in the module would.
func (t *Token) Occupy() (release func()) {
	t.enterAlone(nil)
	return t.leaveAlone
}

func (t *Token) Doomed() int {
	t.conn.mu.Lock()
	defer t.conn.mu.Unlock()
	return len(t.conn.doomed)
}

// Verify checks an object made by other means as if it had been made for these attributes.
func (t *Token) Verify(ctx context.Context, h pkcs11.ObjectHandle, kt hsmbackend.KeyType, attr hsmbackend.Attributes) error {
	p, err := t.plan("verify", kt, attr)
	if err != nil {
		return err
	}
	return t.run(ctx, "verify", nil, false, func(k *call) error { return k.verify(p, h) })
}

// LoadFromDisk is the way for systems without executable memory files.
func LoadFromDisk(path string) (dir string, free func() error, err error) {
	m, err := loadFromDisk(path)
	if err != nil {
		return "", nil, err
	}
	return m.dir, m.close, nil
}
