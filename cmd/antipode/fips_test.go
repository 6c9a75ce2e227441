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
