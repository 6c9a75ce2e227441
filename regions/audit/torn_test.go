package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestTorn cuts a log at every byte of its last two records. Open keeps what is whole, keeps the rest as evidence, and
// goes on.
func TestTorn(t *testing.T) {
	t.Parallel()
	src := fastDir(t)
	cfg := config(src)
	l := openLog(t, cfg)
	must(t, l.Data(t.Context(), Event{EventName: "A"}))
	_, err := l.Intent(t.Context(), Event{EventName: "B"})
	must(t, err)
	must(t, l.Close())
	whole := readAll(t, src, 1)
	ends := []int{}
	for i, c := range whole {
		if c == '\n' {
			ends = append(ends, i+1)
		}
	}
	for size := range whole {
		records, good := 0, 0
		for _, end := range ends {
			if end <= size {
				records, good = records+1, end
			}
		}
		for _, zeros := range []int{0, 700} { // a file that grew before its data were written
			if zeros > 0 && size%5 != 0 {
				continue
			}
			dir := filepath.Join(fastDir(t), "x")
			must(t, os.Mkdir(dir, 0o700))
			content := append(bytes.Clone(whole[:size]), make([]byte, zeros)...)
			must(t, os.WriteFile(logFile{dir: dir, first: 1}.path(), content, 0o600))
			_, err := Verify(t.Context(), dir)
			if torn := len(content) > good; torn != errors.Is(err, ErrTorn) || !torn && err != nil {
				t.Fatalf("%d bytes and %d zeros: verify answers %v", size, zeros, err)
			}
			l := openLog(t, config(dir))
			want := Head{Seq: uint64(records)}
			if records == 0 {
				want.Seq = 1 // a new log
			}
			if l.Head().Seq != want.Seq || len(l.OpenIntents()) != max(0, records-2) {
				t.Fatalf("%d bytes: head %v, %d open intents", size, l.Head(), len(l.OpenIntents()))
			}
			evidence, err := os.ReadFile(logFile{dir: dir, first: 1}.path() + ".torn-1")
			if len(content) > good {
				if err != nil || !bytes.Equal(evidence, content[good:]) {
					t.Fatalf("%d bytes: evidence %q, %v", size, evidence, err)
				}
			} else if err == nil {
				t.Fatalf("%d bytes: evidence %q of nothing", size, evidence)
			}
			must(t, l.Data(t.Context(), Event{EventName: "C"}))
			must(t, l.Close())
			verified(t, dir)
		}
	}
}

// TestTornRotation: a crash while a new file is begun.
func TestTornRotation(t *testing.T) {
	t.Parallel()
	src := fastDir(t)
	cfg := config(src)
	l := openLog(t, cfg)
	_, err := l.Intent(t.Context(), Event{EventName: "B"})
	must(t, err)
	must(t, l.Close())
	whole := readAll(t, src, 1)
	for _, start := range []string{"", "{", `{"seq":3,"kind":"file","node":"node-1"`, "\x00\x00\x00"} {
		dir := fastDir(t)
		must(t, os.WriteFile(logFile{dir: dir, first: 1}.path(), whole, 0o600))
		must(t, os.WriteFile(logFile{dir: dir, first: 3}.path(), []byte(start), 0o600))
		cfg := config(dir)
		cfg.MaxFileBytes = 1
		l := openLog(t, cfg)
		if l.Head().Seq != 2 || len(l.OpenIntents()) != 1 {
			t.Errorf("%q: head %v, %d open intents", start, l.Head(), len(l.OpenIntents()))
		}
		must(t, l.Data(t.Context(), Event{EventName: "C"}))
		must(t, l.Close())
		if got := kinds(verified(t, dir)); got != "file intent file data" {
			t.Errorf("%q: %s", start, got)
		}
	}
}

// TestEvidenceIsKept: a second torn record does not replace the first one.
func TestEvidenceIsKept(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	must(t, openLog(t, config(dir)).Close())
	path := logFile{dir: dir, first: 1}.path()
	for _, torn := range []string{"one", "two"} {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteString(torn)
		must(t, errors.Join(err, f.Close()))
		must(t, openLog(t, config(dir)).Close())
	}
	for name, want := range map[string]string{".torn-1": "one", ".torn-2": "two"} {
		if b, err := os.ReadFile(path + name); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func readAll(t *testing.T, dir string, first uint64) []byte {
	t.Helper()
	b, err := os.ReadFile(logFile{dir: dir, first: first}.path())
	must(t, err)
	return b
}
