package regions_test

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/awstime"
	"antipode/regions/regionstest"
	"antipode/regions/store/storetest"
)

// A commit or a call of the token that fails in the middle of an import, a deletion or an expiry, before or after it had
// its effect: the call can be repeated and ends well, and no copy of what is gone stays on the token.
func TestImportFaults(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		name, during, op string
		apply            bool
	}{
		{"commit of the pair", "parameters", "update", false},
		{"commit of the pair that got through", "parameters", "update", true},
		{"making the pair", "parameters", "GenerateKeyPair", true},
		{"wrapping the pair", "parameters", "Wrap", true},
		{"commit of the material", "import", "update", false},
		{"commit of the material that got through", "import", "update", true},
		{"unwrapping the material", "import", "UnwrapOAEP", true},
		{"wrapping the material", "import", "Wrap", true},
		{"identifying the material", "import", "Tag", true},
		{"commit of the deletion", "delete", "update", false},
		{"commit of the deletion that got through", "delete", "update", true},
		{"destroying the copy", "delete", "Destroy", false},
		{"commit of the expiry", "expire", "update", false},
		{"commit of the expiry that got through", "expire", "update", true},
		{"destroying the expired copy", "expire", "Destroy", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var armed atomic.Bool
			hook := func(op string) (bool, error) {
				if op == c.op && armed.CompareAndSwap(true, false) {
					return c.apply, broken
				}
				return false, nil
			}
			f := regionstest.Open(t, "us-east-2",
				regionstest.WithStore(func(s regions.Store) regions.Store { return storetest.Faulty(s, hook) }),
				regionstest.WithToken(func(tok hsmbackend.Token) hsmbackend.Token { return hsmtest.Faulty(tok, hook) }))
			base := hsmtest.SessionObjects(t, f.Token)
			key := newImportKey(t, f)
			// at arms the fault for a call and makes the call again if it failed.
			at := func(during string, call func() error) {
				armed.Store(c.during == during)
				err := call()
				if armed.Swap(false) && c.during == during {
					t.Error("the fault was not met")
				}
				if c.during == during && err == nil {
					t.Error("the fault was not told")
				}
				if err != nil {
					if err := call(); err != nil {
						t.Fatalf("%s again: %v", during, err)
					}
				}
			}
			var p *parameters
			at("parameters", func() (err error) {
				p, err = regionstest.Call[parameters](t, f, "GetParametersForImport", &regions.GetParametersForImportInput{
					KeyID: key.KeyID, WrappingKeySpec: "RSA_2048", WrappingAlgorithm: "RSAES_OAEP_SHA_1",
				})
				return err
			})
			in := &regions.ImportKeyMaterialInput{
				KeyID: key.KeyID, ImportToken: p.ImportToken, ValidTo: awstime.FromTime(f.Clock.Now().Add(time.Hour)),
				EncryptedKeyMaterial: hsmtest.WrapByOpenSSL(t, p.PublicKey, "RSAES_OAEP_SHA_1", newMaterial(t)),
			}
			load := func() error { _, err := regionstest.Call[imported](t, f, "ImportKeyMaterial", in); return err }
			at("import", load)
			if n := hsmtest.SessionObjects(t, f.Token); n != base {
				t.Errorf("%d objects are left by the import", n-base)
			}
			blob := f.Encrypt(t, key.KeyID, []byte("x"))
			at("delete", func() error {
				_, err := regionstest.Call[unimported](t, f, "DeleteImportedKeyMaterial", &regions.DeleteImportedKeyMaterialInput{KeyID: key.KeyID})
				return err
			})
			if n := hsmtest.SessionObjects(t, f.Token); n != base {
				t.Errorf("%d objects are left by the deletion", n-base)
			}
			if err := load(); err != nil {
				t.Fatal(err)
			}
			if got, err := decryptOne(t, f, blob); got != "x" {
				t.Fatalf("decrypted %q, %v", got, err)
			}
			f.Clock.Advance(time.Hour)
			at("expire", func() error { return f.Region.ExpireDue(t.Context()) })
			if n := hsmtest.SessionObjects(t, f.Token); n != base {
				t.Errorf("%d objects are left by the expiry", n-base)
			}
			if n := countMaterials(t, f, key.KeyID); n != 0 {
				t.Errorf("%d materials are left in the store", n)
			}
			done := 0
			for _, r := range f.Records(t) {
				if r.Event.EventName == "DeleteExpiredKeyMaterial" && r.Kind != "intent" && r.Event.ErrorCode == "" {
					done++
				}
			}
			if done == 0 && c.name != "commit of the expiry that got through" {
				t.Error("no record says that the material was removed")
			}
		})
	}
}

// A process that ends between the commit of an expiry and its outcome: the next start closes the intent as the success
// that it was.
func TestExpiryCutOff(t *testing.T) {
	t.Parallel()
	reached, never := make(chan struct{}), make(chan struct{})
	var armed atomic.Bool
	f := regionstest.Open(t, "us-east-2",
		regionstest.WithStore(func(s regions.Store) regions.Store { return stuckAfter{s, &armed, reached, never} }))
	key := newImportKey(t, f)
	in := importInput(t, f, key.KeyID, "RSAES_OAEP_SHA_1", newMaterial(t))
	in.ExpirationModel, in.ValidTo = "", awstime.FromTime(f.Clock.Now().Add(time.Hour))
	regionstest.Must[imported](t, f, "ImportKeyMaterial", in)
	f.Clock.Advance(time.Hour)
	armed.Store(true)
	region := f.Region
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = region.ExpireDue(t.Context()) // its log and store are closed under it, as its process's would be
	}()
	<-reached
	f.Close(t)
	close(never)
	<-done
	if err := f.TryOpen(t); err != nil {
		t.Fatal(err)
	}
	if d := describe(t, f, key.KeyID); d.KeyState != regions.StatePendingImport {
		t.Errorf("the key is %s", d.KeyState)
	}
	found := false
	for _, r := range f.Records(t) {
		if r.Event.EventName == "DeleteExpiredKeyMaterial" && r.Kind == "outcome" {
			found = true
			if r.Event.ErrorCode != "" {
				t.Errorf("recorded %+v", r.Event)
			}
		}
	}
	if !found {
		t.Error("the intent is open still")
	}
}

// lines collects a log.
type lines struct {
	mu  sync.Mutex
	all []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, p...)
	return len(p), nil
}

// Neither store, audit log, service log nor an answer has the imported material, whole or in part, in any form.
func TestImportedMaterialNowhere(t *testing.T) {
	t.Parallel()
	var log lines
	f := regionstest.Open(t, "us-east-2", regionstest.WithLog(&log))
	var needles []string
	var said strings.Builder
	for _, algorithm := range []string{"RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"} {
		key := newImportKey(t, f)
		for range 2 { // taken, and refused
			material := newMaterial(t)
			for _, part := range [][]byte{material[:12], material[20:]} {
				needles = append(needles, string(part), hex.EncodeToString(part), base64.StdEncoding.EncodeToString(part))
			}
			out, err := regionstest.Call[imported](t, f, "ImportKeyMaterial", importInput(t, f, key.KeyID, algorithm, material))
			if err != nil {
				said.WriteString(err.Error())
			} else {
				said.WriteString(out.KeyMaterialID)
			}
		}
		f.Encrypt(t, key.KeyID, []byte("x"))
	}
	f.Close(t)
	haystacks := map[string][]byte{"the log": log.all, "an answer": []byte(said.String())}
	found, err := filepath.Glob(f.StorePath + "*")
	if err != nil {
		t.Fatal(err)
	}
	audits, err := filepath.Glob(filepath.Join(f.AuditDir, "*"))
	if err != nil || len(found) == 0 || len(audits) == 0 {
		t.Fatalf("%v, %v, %v", found, audits, err)
	}
	for _, path := range append(found, audits...) {
		if haystacks[path], err = os.ReadFile(filepath.Clean(path)); err != nil {
			t.Fatal(err)
		}
	}
	// The search finds what is there.
	if !strings.Contains(string(haystacks[audits[0]]), "ImportKeyMaterial") {
		t.Error("the search is broken")
	}
	for name, hay := range haystacks {
		for i, needle := range needles {
			if strings.Contains(string(hay), needle) {
				t.Errorf("%s has material, form %d", name, i)
			}
		}
	}
}
