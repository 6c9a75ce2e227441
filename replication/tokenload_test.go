package replication_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/hsmbackend/p11"
	"antipode/regions"
	"antipode/regions/keyring"
	"antipode/regions/regionstest"
	"antipode/regions/store/storetest"
	"antipode/replication"
	"antipode/softhsm"
	"antipode/softhsm/softhsmtest"
)

// ownObjects is how many token objects a Region has on each token for itself: its KEK and two key pairs.
const ownObjects = 5

// fault decides which calls fail, of two tokens and a store; nil fails none.
type fault struct {
	mu   sync.Mutex
	hook func(op string) (bool, error)
}

func (f *fault) set(hook func(op string) (bool, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

func (f *fault) on(op string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hook == nil {
		return false, nil
	}
	return f.hook(op)
}

func (f *fault) options() []regionstest.Option {
	return []regionstest.Option{
		regionstest.WithToken(func(t hsmbackend.Token) hsmbackend.Token { return hsmtest.Faulty(t, f.on) }),
		regionstest.WithStore(func(s regions.Store) regions.Store {
			return storetest.Faulty(s, func(op string) (bool, error) {
				if op == "view" {
					return false, nil
				}
				return f.on(op)
			})
		}),
	}
}

// second is a further token of a fixture's Region, in a folder of its own.
type second struct {
	soft  softhsm.Token
	token *p11.Token
}

func newSecond(t testing.TB) *second {
	t.Helper()
	s := &second{soft: softhsmtest.New(t)}
	s.token = softhsmtest.Connect(t, s.soft)
	return s
}

func add(t testing.TB, f *regionstest.Fixture, token hsmbackend.Token) keyring.Hierarchy {
	t.Helper()
	h, err := f.Region.AddToken(t.Context(), token, replication.TokenLoader{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// goOnWith ends the Region's process, deletes the files of the token it ran on, and opens it on another.
func goOnWith(t testing.TB, f *regionstest.Fixture, s *second) {
	t.Helper()
	f.Close(t)
	if err := errors.Join(s.token.Close(), os.RemoveAll(f.Soft.Dir)); err != nil {
		t.Fatal(err)
	}
	f.Soft = s.soft
	if err := f.TryOpen(t); err != nil {
		t.Fatal(err)
	}
}

func opens(t testing.TB, f *regionstest.Fixture, keyID string, blob []byte, want string) {
	t.Helper()
	out, err := regionstest.Call[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
	if err != nil || string(out.Plaintext) != want {
		t.Errorf("key %s decrypts to %+v, %v", keyID, out, err)
	}
}

// clean fails the test unless a token holds the Region's own objects and this many session objects.
func clean(t testing.TB, token hsmbackend.Token, session int) {
	t.Helper()
	if s, n := hsmtest.Objects(t, token); s != session || n != ownObjects {
		t.Errorf("token %s holds %d session objects, want %d, and %d token objects, want %d",
			token.Info().Serial, s, session, n, ownObjects)
	}
}

// A Region is given a second token and goes on with it when the first is dead: everything decrypts, its sealed secrets
// open, its records are authentic, and it makes keys. Neither token holds anything but the Region's keys afterwards.
func TestGoOnWithSecondToken(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, ohio)
	key := f.CreateKey(t, true).KeyID
	blob := f.Encrypt(t, key, []byte("before"))
	first := f.Token
	session := hsmtest.SessionObjects(t, first)
	s := newSecond(t)
	h := add(t, f, s.token)
	clean(t, s.token, 0)
	clean(t, first, session)
	if len(h.Tokens) != 2 || h.Tokens[1].Serial != s.soft.Serial || h.Tokens[1].Label != s.soft.Label {
		t.Fatalf("tokens on record: %+v", h.Tokens)
	}
	for _, same := range [][2][]byte{
		{h.Tokens[0].RSKPublic, h.Tokens[1].RSKPublic},
		{h.Tokens[0].RecordKey, h.Tokens[1].RecordKey},
		{h.Tokens[0].SealingKey, h.Tokens[1].SealingKey},
		{h.Tokens[0].DomainKeys[0].Wrapped, h.Tokens[1].DomainKeys[0].Wrapped},
	} {
		if string(same[0]) == string(same[1]) {
			t.Error("two tokens have the same RSK, or the same KEK")
		}
	}
	again := add(t, f, s.token) // changes nothing
	if again.Tokens[1].KEK != h.Tokens[1].KEK || string(again.Tokens[1].RecordKey) != string(h.Tokens[1].RecordKey) {
		t.Error("adding the token again has changed its keys")
	}
	clean(t, s.token, 0)
	late := f.CreateKey(t, false).KeyID
	lateBlob := f.Encrypt(t, late, []byte("late"))

	goOnWith(t, f, s)
	opens(t, f, key, blob, "before")
	opens(t, f, late, lateBlob, "late")
	if p, err := f.Region.Directory().Resolve(t.Context(), regionstest.AccessKeyID, ""); err != nil || string(p.Secret.Reveal()) != regionstest.Secret {
		t.Errorf("the sealed secret: %v", err)
	}
	made := f.CreateKey(t, false).KeyID
	opens(t, f, made, f.Encrypt(t, made, []byte("after")), "after")
	err := f.Store.View(t.Context(), func(rd regions.Reader) error {
		m, err := regions.List[regions.MaterialRecord](t.Context(), rd, f.Region.Ring(), regions.Query{Kind: regions.KindMaterial})
		if len(m) != 3 {
			t.Errorf("%d records of key material", len(m))
		}
		return err
	})
	if err != nil {
		t.Errorf("records of before: %v", err)
	}
	clean(t, f.Token, hsmtest.SessionObjects(t, f.Token))
	if err := f.Region.RemoveToken(t.Context(), f.Soft.Serial); !errors.Is(err, regions.ErrTokenInUse) {
		t.Errorf("the token in use is removed: %v", err)
	}
	dead := h.Tokens[0].Serial
	if err := f.Region.RemoveToken(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	if err := f.Region.RemoveToken(t.Context(), dead); !errors.Is(err, keyring.ErrUnknownToken) {
		t.Errorf("removed twice: %v", err)
	}
	f.Reopen(t)
	opens(t, f, key, blob, "before")
}

// What a token is not given the keys for.
func TestAddTokenRefused(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, ohio)
	if _, err := f.Region.AddToken(t.Context(), f.Token, replication.TokenLoader{}); !errors.Is(err, regions.ErrTokenInUse) {
		t.Errorf("its own token: %v", err)
	}
	s := newSecond(t)
	add(t, f, s.token)
	if err := f.Region.RemoveToken(t.Context(), s.soft.Serial); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Region.AddToken(t.Context(), s.token, replication.TokenLoader{}); !errors.Is(err, regions.ErrForeignKeys) {
		t.Errorf("a token that was removed and not initialised anew: %v", err)
	}
	clean(t, s.token, 0)
	goneDir := f.Soft
	f.Close(t)
	f.Soft = s.soft
	if err := s.token.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.TryOpen(t); !errors.Is(err, keyring.ErrUnknownToken) {
		t.Errorf("the Region opens on a token that was removed: %v", err)
	}
	f.Soft = goneDir
}

// The keys of another Region in the place of the ones that were moved are found out, whichever of them it is.
func TestLoadTokenProves(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	f, s := regionstest.Open(t, ohio), newSecond(t)
	h := add(t, f, s.token)
	mine := h.Tokens[1]
	plan, err := keyring.Plan(ctx, s.token)
	if err != nil {
		t.Fatal(err)
	}
	plan.KEK, plan.RSK, plan.AuditKey = mine.KEK, mine.RSK, mine.AuditKey
	made, err := keyring.Create(ctx, s.token, plan, ohio) // other keys under the same KEK
	if err != nil {
		t.Fatal(err)
	}
	other := made.Tokens[0]
	for name, alter := range map[string]func(*keyring.TokenKeys){
		"record key":  func(k *keyring.TokenKeys) { k.RecordKey = other.RecordKey },
		"sealing key": func(k *keyring.TokenKeys) { k.SealingKey = other.SealingKey },
		"domain key":  func(k *keyring.TokenKeys) { k.DomainKeys = other.DomainKeys },
	} {
		keys := mine
		alter(&keys)
		if _, err := (replication.TokenLoader{}).LoadToken(ctx, ohio, f.Region.Ring(), s.token, keys, 1); !errors.Is(err, replication.ErrNotSame) {
			t.Errorf("another %s: %v", name, err)
		}
		clean(t, s.token, 0)
	}
	if _, err := (replication.TokenLoader{}).LoadToken(ctx, ohio, f.Region.Ring(), s.token, mine, 1); err != nil {
		t.Errorf("the keys themselves: %v", err)
	}
}

// Adding a token is cut off at each call to either token and at each commit, in both forms. The repetition succeeds, with
// nothing made twice and nothing left, and the Region opens on the second token.
func TestAddTokenCutOff(t *testing.T) {
	t.Parallel()
	for name, apply := range map[string]bool{"lost": false, "applied": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cut := &fault{}
			f := regionstest.Open(t, ohio, cut.options()...)
			key := f.CreateKey(t, false).KeyID
			blob := f.Encrypt(t, key, []byte("x"))
			broken := errors.New("cut off")
			session := hsmtest.SessionObjects(t, f.Token)
			for at := 0; ; at++ {
				s := newSecond(t)
				n, op := 0, ""
				cut.set(func(name string) (bool, error) {
					defer func() { n++ }()
					if n == at {
						op = name
						return apply, broken
					}
					return false, nil
				})
				_, err := f.Region.AddToken(t.Context(), hsmtest.Faulty(s.token, cut.on), replication.TokenLoader{})
				cut.set(nil)
				if n <= at {
					if err != nil || at < 40 {
						t.Errorf("after %d calls: %v", at, err)
					}
					goOnWith(t, f, s)
					opens(t, f, key, blob, "x")
					return
				}
				if !errors.Is(err, broken) {
					t.Errorf("call %d (%s): %v", at, op, err)
				}
				add(t, f, s.token)
				if _, n := hsmtest.Objects(t, s.token); n != ownObjects {
					t.Errorf("cut off at call %d (%s): %d token objects", at, op, n)
				}
				// What a cut call made outside of a scope, or was to destroy, dies with its session.
				if now := hsmtest.SessionObjects(t, f.Token); now > session+1 {
					t.Errorf("cut off at call %d (%s): %d session objects more", at, op, now-session)
				} else {
					session = now
				}
				if err := errors.Join(f.Region.RemoveToken(t.Context(), s.soft.Serial), s.token.Close()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Of all keys that are made on the two tokens on the way, only the transient copies can be wrapped, and those do nothing
// else; all are session objects of a session of their own, and of each RAK comes one RWK.
func TestAddTokenOnTheTokens(t *testing.T) {
	t.Parallel()
	var a, b recorder
	f := regionstest.Open(t, ohio, regionstest.WithToken(a.over))
	s := newSecond(t)
	a.start()
	b.start()
	if _, err := f.Region.AddToken(t.Context(), b.over(s.token), replication.TokenLoader{}); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*recorder{"first": &a, "second": &b} {
		labels, extractable := map[string]int{}, 0
		for _, m := range r.made {
			labels[m.Label]++
			if m.Token { // the second token's own
				if m.Extractable {
					t.Errorf("%s: token object %s is extractable", name, m.Label)
				}
				continue
			}
			if m.Extractable {
				extractable++
				if m.Scope == 0 || (m.Usage != 0 && m.Usage != hsmbackend.UsageEncrypt|hsmbackend.UsageDerive) {
					t.Errorf("%s: transient copy %+v", name, m)
				}
			}
			if m.Label != "" && (m.Scope == 0 || m.Extractable) {
				t.Errorf("%s: %+v", name, m)
			}
			if want := map[string]hsmbackend.Usage{"first": hsmbackend.UsageWrap, "second": hsmbackend.UsageUnwrap}[name]; m.Label == "antipode/rwk" && m.Usage != want {
				t.Errorf("%s: RWK may %b", name, m.Usage)
			}
		}
		want := 3 // domain, record and sealing key
		if name == "first" {
			want++ // the probe's material
		}
		if labels["antipode/rak"] != 1 || labels["antipode/rwk"] != 1 || extractable != want {
			t.Errorf("%s: made %v, %d of them extractable, want %d", name, labels, extractable, want)
		}
	}
}

// recorder remembers with which attributes keys are made.
type recorder struct {
	hsmbackend.Token
	on   bool
	made []hsmbackend.Attributes
}

func (r *recorder) start() { r.on = true }

func (r *recorder) over(t hsmbackend.Token) hsmbackend.Token {
	r.Token = t
	return r
}

func (r *recorder) CountObjects(ctx context.Context) (session, token int, err error) {
	return r.Token.(hsmtest.Counter).CountObjects(ctx)
}

func (r *recorder) note(attr hsmbackend.Attributes) {
	if r.on {
		r.made = append(r.made, attr)
	}
}

func (r *recorder) GenerateKey(ctx context.Context, kt hsmbackend.KeyType, attr hsmbackend.Attributes) (hsmbackend.KeyRef, error) {
	r.note(attr)
	return r.Token.GenerateKey(ctx, kt, attr)
}

func (r *recorder) GenerateKeyPair(ctx context.Context, kt hsmbackend.KeyType, attr hsmbackend.Attributes) (hsmbackend.KeyRef, []byte, error) {
	r.note(attr)
	return r.Token.GenerateKeyPair(ctx, kt, attr)
}

func (r *recorder) Unwrap(ctx context.Context, kek hsmbackend.KeyRef, blob []byte, kt hsmbackend.KeyType, attr hsmbackend.Attributes) (hsmbackend.KeyRef, error) {
	r.note(attr)
	return r.Token.Unwrap(ctx, kek, blob, kt, attr)
}

func (r *recorder) DeriveECDH(ctx context.Context, own hsmbackend.KeyRef, peer []byte, kdf hsmbackend.KDF, info []byte, attr hsmbackend.Attributes) (hsmbackend.KeyRef, error) {
	r.note(attr)
	return r.Token.DeriveECDH(ctx, own, peer, kdf, info, attr)
}

func (r *recorder) DeriveECB(ctx context.Context, key hsmbackend.KeyRef, data [32]byte, attr hsmbackend.Attributes) (hsmbackend.KeyRef, error) {
	r.note(attr)
	return r.Token.DeriveECB(ctx, key, data, attr)
}
