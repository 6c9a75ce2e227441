package suites

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"antipode/hsmbackend"
	"antipode/replication"
	"antipode/replication/wire"
	"antipode/softhsm/softhsmtest"
)

var write = flag.Bool("write", false, "write docs/suites.md")

// profile is a file of profiles: what a vendor's documents say, which nobody has tried on a device.
type profile struct {
	Name       string                 `json:"name"`
	Mechanisms []hsmbackend.Mechanism `json:"mechanisms"`
	KeyTypes   []hsmbackend.KeyType   `json:"keyTypes"`
	ECDHKDFs   []hsmbackend.KDF       `json:"ecdhKDFs"`
	MaxCalls   int                    `json:"maxCalls"`
	Note       string                 `json:"note"`

	suites []wire.Suite
}

func profiles(t *testing.T) []profile {
	t.Helper()
	all := []profile{{
		Name: "SoftHSM 2", Note: "read from the token", suites: replication.Suites(softhsmtest.Open(t).Capabilities()),
	}}
	files, err := filepath.Glob("profiles/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d profiles, %v", len(files), err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(filepath.Clean(f))
		if err != nil {
			t.Fatal(err)
		}
		var p profile
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&p); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		p.Note = "from documents, not verified on a device; " + p.Note
		p.suites = replication.Suites(hsmbackend.Capabilities{
			Mechanisms: p.Mechanisms, KeyTypes: p.KeyTypes, ECDHKDFs: p.ECDHKDFs, MaxCalls: p.MaxCalls,
		})
		all = append(all, p)
	}
	return all
}

// TestMatrix fails if docs/suites.md is not what the code would do; -write writes it.
func TestMatrix(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	b.WriteString("# Key exchanges between vendors' tokens\n\nWritten by `go test ./ci/suites -write`; the test fails when it is not " +
		"what the code chooses. Only SoftHSM 2 was\ntried; every other row is from documents.\n\n| source | destination | suite |\n|---|---|---|\n")
	all := profiles(t)
	for _, from := range all {
		for _, to := range all {
			suite, err := wire.Choose(from.suites, to.suites, "")
			chosen := "`" + string(suite) + "`"
			if err != nil {
				chosen = "none, refused at the dry run"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", from.Name, to.Name, chosen)
		}
	}
	b.WriteString("\n| token | suites | where this is from |\n|---|---|---|\n")
	for _, p := range all {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", p.Name, list(p.suites), p.Note)
	}
	path := filepath.Join("..", "..", "docs", "suites.md")
	if *write {
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(filepath.Clean(path))
	if err != nil || !bytes.Equal(have, b.Bytes()) {
		t.Errorf("docs/suites.md is not what the code makes (%v): go test ./ci/suites -write", err)
	}
}

func list(suites []wire.Suite) string {
	if len(suites) == 0 {
		return "none"
	}
	var s string
	for _, x := range suites {
		s += "`" + string(x) + "` "
	}
	return s[:len(s)-1]
}
