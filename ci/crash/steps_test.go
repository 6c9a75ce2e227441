package crash

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// elsewhere are the durable steps at which no process is ended here, with the reason. Those of replication are met by
// that package's fault and schedule tests, which fail commits and read the Regions again from disk inside one process;
// the others have no crash point of any kind.
var elsewhere = map[string]string{
	"replication.(*Node).refuseForGood": "replication: needs a peer that lies",
	"replication.(*Node).fail":          "replication: needs a Region that refuses",
	"replication.(*Node).postpone":      "replication: needs a Region that can't be reached",
	"replication.(*Node).startAgain":    "replication: needs a RAKB that died between two messages",
	"replication.(*Node).lose":          "replication: needs a RAKB that died between two messages",
	"replication.(*Node).changeGrave":   "replication: needs a waiting period that is over",
	"replication.(*Node).removeGone":    "replication: needs a waiting period that is over",
	"regions.(*Region).deleteKey":       "needs a waiting period that is over; regions: TestDeleteCutOff, TestDeleteFaults",
	"regions.(*Region).destroyObjects":  "needs a waiting period that is over; regions: TestDeleteFaults",
	"regions.(*Region).Enrol":           "one commit of one record, at enrolment",
	"replication.(*Node).confirm":       "replication: needs a source whose store lost a receipt",
	"regions.(*Region).Excuse":          "one commit of one record, on the operator's word",
	"regions.(*Region).enterRecovery":   "one commit of one record, found again until it is made",
	"regions.(*Region).Run":             "keeps the audit log's head, and nothing else",
	"regions.(*Region).removeToken":     "one commit; a repeat says that there is no such token",
	"regions.MarkRestored":              "in a copy that is put in the store's place afterwards, or not",
}

// checkCovered compares the steps seen with the code: every function of regions and replication that commits.
func checkCovered(t *testing.T, seen map[string]bool) {
	t.Helper()
	found := commits(t)
	if len(found) < 10 {
		t.Fatalf("only %d functions that commit were found: the search is broken", len(found))
	}
	for _, f := range found {
		if _, excused := elsewhere[f]; !seen[f] && !excused {
			t.Errorf("durable step without a crash point: %s", f)
		}
	}
	for f := range elsewhere {
		if !slices.Contains(found, f) {
			t.Errorf("%s does not commit (any more)", f)
		}
	}
}

// commits reads the code for calls of Region.Update and of the wrappers Node.save and Region.updateHierarchy, and returns the functions that
// make them, as the runtime names them.
func commits(t *testing.T) (out []string) {
	t.Helper()
	for _, pkg := range []string{"regions", "replication"} {
		files, err := filepath.Glob(filepath.Join("..", "..", pkg, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
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
				f, isFunc := d.(*ast.FuncDecl)
				if isFunc && !isCommit(f.Name.Name) && callsCommit(f) {
					out = append(out, runtimeName(pkg, f))
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// isCommit reports whether a function of this name is the commit itself, or passes it on for others.
func isCommit(name string) bool {
	return name == "Update" || name == "save" || name == "updateHierarchy"
}

func callsCommit(f *ast.FuncDecl) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, isCall := n.(*ast.CallExpr)
		if !isCall {
			return true
		}
		if s, isSelector := call.Fun.(*ast.SelectorExpr); isSelector && isCommit(s.Sel.Name) {
			found = true
		}
		return true
	})
	return found
}

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
