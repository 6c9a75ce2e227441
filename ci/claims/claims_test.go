package claims

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	// cited is a test's name in a document.
	cited = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9]*)`")
	// place is the package that the tests after it are in: "replication/wire:", or `replication/wire`: with back quotes.
	place = regexp.MustCompile("([a-z0-9]+(?:/[a-z0-9]+)*)`?:? `(?:Test|Fuzz|Benchmark)")
)

// tests are the names of the tests in each package of the repository.
func tests(t *testing.T) map[string]map[string]bool {
	t.Helper()
	top := filepath.Join("..", "..")
	out := map[string]map[string]bool{}
	err := filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "build" || d.Name() == "node_modules" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		if out[pkg] == nil {
			out[pkg] = map[string]bool{}
		}
		for _, decl := range file.Decls {
			if f, isFunc := decl.(*ast.FuncDecl); isFunc && f.Recv == nil {
				out[pkg][f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 20 {
		t.Fatalf("tests in only %d packages: the search is broken", len(out))
	}
	return out
}

func document(t *testing.T, parts ...string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestThreatModel: each row of the table of statements names tests that exist in the package named before them, or says in
// parentheses why there is none.
func TestThreatModel(t *testing.T) {
	t.Parallel()
	known := tests(t)
	_, table, found := strings.Cut(document(t, "docs", "threat-model.md"), "\n## Statements, and the tests that show them\n")
	if !found {
		t.Fatal("the threat model has no table of statements")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	rows := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || strings.HasPrefix(cells[0], "---") || strings.TrimSpace(cells[2]) == "shown by" {
			continue
		}
		rows++
		shown := strings.TrimSpace(cells[2])
		reason := strings.HasPrefix(shown, "(") || strings.HasPrefix(strings.TrimSpace(cells[1]), "(")
		if !cited.MatchString(shown) && !reason {
			t.Errorf("no test, and no reason, for what an attacker can who controls %s", strings.TrimSpace(cells[0]))
		}
		checkPlaces(t, known, shown)
	}
	if rows < 10 {
		t.Errorf("only %d statements were found: the table has another form", rows)
	}
	for _, who := range []string{"the network", "a peer Region", "the store", "the PIN", "a client"} {
		if !strings.Contains(table, "\n| "+who) {
			t.Errorf("no statement about an attacker who controls %s", who)
		}
	}
	checkNames(t, known, "docs/threat-model.md", document(t, "docs", "threat-model.md"))
}

// TestInvariants: each invariant has a number of its own, and names tests that exist in the package named before them.
func TestInvariants(t *testing.T) {
	t.Parallel()
	known := tests(t)
	text := document(t, "ARCHITECTURE.md")
	invariants := regexp.MustCompile(`(?s)\*\*INV-\d+\..*?\n\n`).FindAllString(text+"\n\n", -1)
	if len(invariants) < 30 {
		t.Fatalf("only %d invariants were found: they have another form", len(invariants))
	}
	seen := map[string]bool{}
	for _, inv := range invariants {
		number, _, _ := strings.Cut(inv, ".")
		if seen[number] {
			t.Errorf("there are two of %s", number)
		}
		seen[number] = true
		inv = strings.Join(strings.Fields(inv), " ")
		if !cited.MatchString(inv) {
			t.Errorf("no test for %.60s", inv)
		}
		checkPlaces(t, known, inv)
	}
	checkNames(t, known, "ARCHITECTURE.md", text)
}

// checkPlaces checks the tests after each package's name.
func checkPlaces(t *testing.T, known map[string]map[string]bool, text string) {
	t.Helper()
	at := place.FindAllStringSubmatchIndex(text, -1)
	for i, m := range at {
		pkg, end := text[m[2]:m[3]], len(text)
		if i+1 < len(at) {
			end = at[i+1][2]
		}
		if known[pkg] == nil {
			t.Errorf("no package %s with tests", pkg)
			continue
		}
		for _, name := range cited.FindAllStringSubmatch(text[m[3]:end], -1) {
			if !known[pkg][name[1]] {
				t.Errorf("%s has no %s", pkg, name[1])
			}
		}
	}
}

// checkNames checks that each test that a document names anywhere exists somewhere.
func checkNames(t *testing.T, known map[string]map[string]bool, doc, text string) {
	t.Helper()
	for _, name := range cited.FindAllStringSubmatch(text, -1) {
		found := false
		for _, names := range known {
			found = found || names[name[1]]
		}
		if !found {
			t.Errorf("%s names %s, which is nowhere", doc, name[1])
		}
	}
}
