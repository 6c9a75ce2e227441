package conformance

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// operations are those of the official model, as the methods of the official client name them.
func operations(t *testing.T) []string {
	t.Helper()
	var names []string
	client := reflect.TypeFor[*kms.Client]()
	for i := range client.NumMethod() {
		m := client.Method(i)
		if m.Type.NumIn() == 4 && m.Type.In(2).Kind() == reflect.Pointer && m.Type.In(2).Elem().Name() == m.Name+"Input" {
			names = append(names, m.Name)
		}
	}
	if len(names) < 56 {
		t.Fatalf("the official client has %d operations: %v", len(names), names)
	}
	return names
}

// modelled are the errors of each operation. The Go client has them in no list by operation (only which errors there are);
// testdata/modelled-errors.txt is what the official client for JavaScript documents of the same model: made from the
// "@throws" lines of dist-types/commands/*.d.ts of @aws-sdk/client-kms 3.1162.0.
func modelled(t *testing.T) map[string][]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "modelled-errors.txt"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for line := range strings.Lines(string(raw)) {
		op, list, _ := strings.Cut(strings.TrimSpace(line), ": ")
		out[op] = strings.Fields(list)
	}
	return out
}

// The list of errors by operation is of the Go client's model: the same operations, the same errors in all, and each error
// that the client has a recorded answer of is one of the operation that it was recorded for.
func TestModel(t *testing.T) {
	t.Parallel()
	model, seen := modelled(t), map[string]bool{}
	var listed []string
	for op, errs := range model {
		listed = append(listed, op)
		for _, e := range errs {
			seen[e] = true
		}
	}
	slices.Sort(listed)
	if names := operations(t); !slices.Equal(names, listed) {
		t.Errorf("the client has %v, the list %v", names, listed)
	}
	registered := 0
	for id := range kms.TypeRegistry.Entries {
		if name, isError := strings.CutPrefix(id, "com.amazonaws.kms#"); isError && strings.HasSuffix(name, "Exception") {
			registered++
			if !seen[name] {
				t.Errorf("%s is an error of the client's, and of no operation of the list", name)
			}
		}
	}
	if registered != len(seen) {
		t.Errorf("the client has %d errors, the list %d", registered, len(seen))
	}
	recorded, err := filepath.Glob(filepath.Join(sdk(t), "response_snapshot", "*.error.snap"))
	if err != nil || len(recorded) != registered {
		t.Errorf("%d recorded errors, %v", len(recorded), err)
	}
	for _, path := range recorded {
		raw, err := os.ReadFile(filepath.Clean(path))
		if err != nil {
			t.Fatal(err)
		}
		_, target, _ := bytes.Cut(raw, []byte("X-Amz-Target: TrentService."))
		op, _, _ := strings.Cut(string(target), "\n")
		name := strings.TrimSuffix(filepath.Base(path), ".error.snap")
		if !slices.Contains(model[op], name) {
			t.Errorf("%s is recorded of %s, whose list has %v", name, op, model[op])
		}
	}
}

// sdk is the folder of the official client's source.
func sdk(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/kms").Output()
	if err != nil {
		t.Fatalf("find the official client: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// snapshot is a request or an answer as the official client's own tests hold it.
func snapshot(t *testing.T, folder, operation, kind string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(sdk(t), folder, operation+"."+kind+".snap"))
	if err != nil {
		t.Fatal(err)
	}
	_, body, found := bytes.Cut(raw, []byte("\n\n"))
	if !found {
		t.Fatalf("%s of %s has no body", kind, operation)
	}
	if kind == "request" { // the first line is followed by an empty one
		if _, body, found = bytes.Cut(body, []byte("\n\n")); !found {
			t.Fatalf("the request of %s has no body", operation)
		}
	}
	return body
}

// paths are the members of a JSON value with their types: "Keys[].KeyId" to "string". The names in a map that callers fill
// are all "{}"; known are the paths of such maps.
func paths(t *testing.T, raw []byte, maps map[string]bool) map[string]string {
	t.Helper()
	out := map[string]string{}
	if len(raw) == 0 {
		return out
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if path != "" {
				out[path] = "object"
			}
			for name, inner := range v {
				switch {
				case maps[path]:
					walk(path+"{}", inner)
				case path == "":
					walk(name, inner)
				default:
					walk(path+"."+name, inner)
				}
			}
		case []any:
			out[path] = "array"
			for _, inner := range v {
				walk(path+"[]", inner)
			}
		case string:
			out[path] = "string"
		case float64:
			out[path] = "number"
		case bool:
			out[path] = "boolean"
		default:
			out[path] = "null"
		}
	}
	walk("", v)
	return out
}
