package crash

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// elsewhere are the durable steps at which no process is ended here, each with the reason why it can't be.
var elsewhere = map[string]string{}

// TestStepsAreFound is the quick part of TestCrashPoints: what cmd/antipode does to files is named, and what is excused
// exists.
func TestStepsAreFound(t *testing.T) {
	t.Parallel()
	found := durableSteps(t)
	for step := range elsewhere {
		if !slices.Contains(found, step) {
			t.Errorf("%s is excused, and is no durable step", step)
		}
	}
	t.Logf("%d durable steps in the code: %s", len(found), strings.Join(found, ", "))
}

// durableSteps reads the code for its durable steps, as crashed processes name them:
//   - functions of regions, replication and the packages below them that commit to the store, by Store.Update,
//     one of the wrappers of that (commitCalls), and those that make or destroy objects on a token;
//   - kinds of audit records that wait for the disk;
//   - what cmd/antipode wraps in durably, which must be all that makes, renames or removes a file there.
func durableSteps(t *testing.T) (out []string) {
	t.Helper()
	count := map[string]int{}
	add := func(kind, name string) {
		out = append(out, name)
		count[kind]++
	}
	for _, pkg := range packages(t, "regions", "replication") {
		for _, f := range functions(t, pkg) {
			if !slices.Contains(commitCalls, f.Name.Name) && callsAny(f, commitCalls...) {
				add("commits", runtimeName(filepath.Base(pkg), f))
			}
			if makesTokenObject(f) || f.Name.Name == "DestroyOnToken" {
				add("objects", runtimeName(filepath.Base(pkg), f))
			}
		}
	}
	for _, f := range functions(t, "regions/audit") {
		for _, kind := range durableKinds(f) {
			add("records", "audit "+kind)
		}
	}
	for _, f := range functions(t, "cmd/antipode") {
		for _, name := range namedSteps(t, f) {
			add("files", name)
		}
	}
	for kind, least := range map[string]int{"commits": 20, "objects": 3, "records": 3, "files": 10} {
		if count[kind] < least {
			t.Fatalf("only %d %s were found in the code: the search is broken", count[kind], kind)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// packages are the folders of shipped code at and below some. The store is what commits are made with.
func packages(t *testing.T, roots ...string) (out []string) {
	t.Helper()
	top := filepath.Join("..", "..")
	for _, root := range roots {
		err := filepath.WalkDir(filepath.Join(top, root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if strings.HasSuffix(path, "test") || path == filepath.Join(top, "regions", "store") {
				return filepath.SkipDir
			}
			rel, err := filepath.Rel(top, path)
			out = append(out, rel)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// functions parses the functions of a package that go into a build without the tag faults.
func functions(t *testing.T, pkg string) (out []*ast.FuncDecl) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pkg), "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(filepath.Base(path), "steps") {
			continue
		}
		src, err := os.ReadFile(filepath.Clean(path))
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, isFunc := d.(*ast.FuncDecl); isFunc && f.Body != nil {
				out = append(out, f)
			}
		}
	}
	return out
}

// called is the name of what a call calls: its last part, and all of it.
func called(n ast.Node) (name, full string, call *ast.CallExpr) {
	call, isCall := n.(*ast.CallExpr)
	if !isCall {
		return "", "", nil
	}
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name, f.Name, call
	case *ast.SelectorExpr:
		if x, isIdent := f.X.(*ast.Ident); isIdent {
			return f.Sel.Name, x.Name + "." + f.Sel.Name, call
		}
		return f.Sel.Name, f.Sel.Name, call
	}
	return "", "", call
}

func callsAny(f *ast.FuncDecl, names ...string) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		name, _, _ := called(n)
		found = found || slices.Contains(names, name)
		return true
	})
	return found
}

// makesTokenObject reports whether a function sets the attribute Token and makes a key.
func makesTokenObject(f *ast.FuncDecl) bool {
	token := false
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			key, isIdent := n.Key.(*ast.Ident)
			value, isValue := n.Value.(*ast.Ident)
			token = token || isIdent && key.Name == "Token" && isValue && value.Name == "true"
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				s, isSelector := left.(*ast.SelectorExpr)
				token = token || isSelector && s.Sel.Name == "Token"
			}
		}
		return true
	})
	return token && callsAny(f, "GenerateKey", "GenerateKeyPair", "Unwrap")
}

// durableKinds are the kinds of records that a function writes and waits for, in calls record(KindX, ..., true).
func durableKinds(f *ast.FuncDecl) (out []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		name, _, call := called(n)
		if name != "record" || len(call.Args) < 2 {
			return true
		}
		kind, isIdent := call.Args[0].(*ast.Ident)
		wait, isConst := call.Args[len(call.Args)-1].(*ast.Ident)
		if isIdent && isConst && wait.Name == "true" {
			out = append(out, strings.ToLower(strings.TrimPrefix(kind.Name, "Kind")))
		}
		return true
	})
	return out
}

// commitCalls are what a commit is made with: the store's own, and what passes it on for others.
var commitCalls = []string{"Update", "save", "updateHierarchy", "updateRoster"}

// fileCalls change a folder. The package's own of them are called inside of durably like the others, and are looked
// into no further.
var fileCalls = []string{
	"os.Rename", "os.Link", "os.Symlink", "os.Remove", "os.RemoveAll", "os.WriteFile", "os.Create", "os.OpenFile", "os.CreateTemp",
	"store.Create", "identity.WriteCredentials", "n.backup", "writeFile", "copyFile", "removeStore",
}

// noSteps are functions whose files nothing rests on.
var noSteps = map[string]string{
	"writeNew":   "writes a file that the operator asked for, and can ask for again",
	"lockFolder": "the lock's file holds nothing",
	"startAdmin": "a socket is of no use to the next process",
	"fillRegion": "works in a folder that is put in place afterwards, or removed",
	"makeRegion": "removes the folder that it could not fill, as the next start does",
}

// namedSteps are the constant names that a function gives to durably. It complains of file calls outside of it.
func namedSteps(t *testing.T, f *ast.FuncDecl) (out []string) {
	t.Helper()
	own := slices.Contains(fileCalls, f.Name.Name)
	var look func(n ast.Node, inside bool)
	look = func(root ast.Node, inside bool) {
		ast.Inspect(root, func(n ast.Node) bool {
			name, full, call := called(n)
			if call == nil || n == root {
				return true
			}
			if name == "durably" {
				text, isText := call.Args[0].(*ast.BasicLit)
				if !isText {
					t.Errorf("%s: the name of a durable step is no constant", f.Name.Name)
					return false
				}
				step, err := strconv.Unquote(text.Value)
				if err != nil {
					t.Error(err)
				}
				out = append(out, step)
				look(call, true)
				return false
			}
			if _, excused := noSteps[f.Name.Name]; !inside && !own && !excused && slices.Contains(fileCalls, full) {
				t.Errorf("%s calls %s, which is no durable step: wrap it in durably, or say in noSteps why not", f.Name.Name, full)
			}
			return true
		})
	}
	look(f.Body, false)
	return out
}

// runtimeName is a function's name as the runtime has it.
func runtimeName(pkg string, f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return pkg + "." + f.Name.Name
	}
	switch r := f.Recv.List[0].Type.(type) {
	case *ast.StarExpr:
		if id, isIdent := r.X.(*ast.Ident); isIdent {
			return pkg + ".(*" + id.Name + ")." + f.Name.Name
		}
	case *ast.Ident:
		return pkg + "." + r.Name + "." + f.Name.Name
	}
	return pkg + "." + f.Name.Name
}
