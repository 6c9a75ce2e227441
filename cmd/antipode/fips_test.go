package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"antipode/hsmbackend/hsmtest/shimtest"
)

// With fips: true, init and serve refuse a token with a key derivation that is not approved, and say which; nothing is
// made on it.
func TestFIPSRefusals(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	module := shimtest.Build(t)
	fips := func(text string) string { return "fips: true\n" + text }
	through := func(behaviours ...string) func(string) string {
		return func(text string) string { return throughShim(t, s, module, text, behaviours...) }
	}
	before := len(s.objects(t))
	refused := func(change func(string) string, texts ...string) {
		t.Helper()
		s.write(t, east, func(text string) string { return fips(change(text)) })
		texts = append(texts, "not approved by FIPS 140-3")
		fails(t, []string{"init", "--config", s.config}, texts...)
		if n := len(s.objects(t)); n != before {
			t.Errorf("%d objects on the token, then %d", before, n)
		}
	}
	refused(func(text string) string { return text }, "composed of AES-ECB", "no key derivation but CKD_NULL")
	refused(through(shimtest.SP800108), "no key derivation but CKD_NULL")
	refused(through(shimtest.NoGCM), "host memory")

	// A Region that was made without it is not served with it.
	s.write(t, east, nil)
	s.init(t)
	s.write(t, east, fips)
	fails(t, []string{"serve", "--config", s.config}, "not approved by FIPS 140-3", "composed of AES-ECB")
	log, err := os.ReadDir(filepath.Join(s.data, "audit"))
	if err == nil && len(log) != 0 {
		t.Errorf("serve began an audit log: %v", log)
	}
}

// throughShim makes the configuration load the shim in SoftHSM2's place.
func throughShim(t *testing.T, s *site, module shimtest.Module, text string, behaviours ...string) string {
	t.Helper()
	text = strings.Replace(text, "module: "+s.token.Module, "module: "+module.Path(), 1)
	i := strings.Index(text, "  env:")
	if i < 0 {
		t.Fatal("the configuration has no env")
	}
	return text[:i] + "  env: [\"" + strings.Join(module.Env(s.token, behaviours...), "\", \"") + "\"]\n"
}

// One Region on one token, served in each way that the same hardware could come to know: what it encrypted in one, it
// decrypts in the others, with keys of either storage, and its sealed credentials open.
func TestServeInEveryWay(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	module := shimtest.Build(t)
	credentials := filepath.Join(s.dir, "credentials")
	s.init(t, "--credentials", credentials)
	var blobs [][]byte
	for _, w := range []struct{ log, storage, behaviours string }{
		{`"xaes":"AES-ECB"`, "wrapped", ""},
		{`"xaes":"AES-ECB"`, "token", ""},
		{`"xaes":"SP800-108"`, "wrapped", shimtest.SP800108},
		{`"xaes":"host"`, "wrapped", shimtest.NoGCM},
		{`"xaes":"AES-ECB"`, "wrapped", ""},
	} {
		s.write(t, east, func(text string) string {
			return "storage: " + w.storage + "\n" + throughShim(t, s, module, text, w.behaviours)
		})
		p := launch(t, "serve", "--config", s.config)
		if err := p.waitReady(); err != nil {
			t.Fatal(err)
		}
		client := clientOf(t, p.origin, credentials, east)
		_, sealed := makeKey(t, client, w.storage == "wrapped")
		blobs = append(blobs, sealed)
		for _, b := range blobs {
			opens(t, client, b)
		}
		p.stop(t)
		if !strings.Contains(p.stderr(t), w.log) {
			t.Errorf("the log does not say %s", w.log)
		}
	}
}
