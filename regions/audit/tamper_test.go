package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// writeLog makes a log of several files with every kind of record, and answers it as lines for each file.
func writeLog(t *testing.T, dir string) (names []string, lines [][][]byte) {
	t.Helper()
	cfg := config(dir)
	cfg.MaxFileBytes = 5000
	l := openLog(t, cfg)
	var open []Ticket
	for i := range 12 {
		ticket, err := l.Intent(t.Context(), sample(fmt.Sprint("CreateKey", i)))
		must(t, err)
		must(t, l.Data(t.Context(), sample(fmt.Sprint("Encrypt", i))))
		open = append(open, ticket)
		if i%3 == 2 {
			must(t, l.Outcome(t.Context(), open[0], sample("CreateKey")))
			must(t, l.Service(t.Context(), sample("RotateKey")))
			open = open[1:]
		}
	}
	must(t, l.Close())
	files, err := listFiles(dir)
	must(t, err)
	if len(files) < 3 {
		t.Fatalf("%d files", len(files))
	}
	for _, f := range files {
		b, err := os.ReadFile(f.path())
		must(t, err)
		names = append(names, f.name())
		ls := bytes.SplitAfter(b, []byte("\n"))
		lines = append(lines, ls[:len(ls)-1])
	}
	return names, lines
}

// TestTampering changes one record of a log at a time, in each way and at each place, and expects Verify to name the
// first line that is wrong, and Open to refuse if it is in the file that Open reads.
func TestTampering(t *testing.T) {
	t.Parallel()
	names, lines := writeLog(t, fastDir(t))
	_, foreign := writeLog(t, fastDir(t))
	flip := func(line []byte, at int) []byte {
		b := bytes.Clone(line)
		b[at] ^= 1
		if b[at] == '\n' || b[at] == 0 { // stays one line
			b[at] = '!'
		}
		return b
	}
	rehashed := func(line []byte) []byte { // by someone who knows the format
		r, err := ParseRecord(line)
		must(t, err)
		r.Event = bytes.Replace(r.Event, []byte("192.0.2.7"), []byte("192.0.2.8"), 1)
		r.Time = r.Time.Add(1000)
		r.Hash = hashOf(r.appendHashed(nil))
		return r.AppendLine(nil)
	}
	// Record 1 follows nothing, so another log's in its place is only noticed by the record after it.
	spliced := func(line []byte, i int) int {
		if bytes.HasPrefix(line, []byte(`{"seq":1,`)) {
			return i + 1
		}
		return i
	}
	type change struct {
		name string
		// apply answers the changed file, and the index of the first line that is wrong.
		apply func(file [][]byte, other [][]byte, i int) ([][]byte, int)
	}
	changes := []change{
		{"remove", func(f, _ [][]byte, i int) ([][]byte, int) { return slices.Delete(f, i, i+1), i }},
		{"duplicate", func(f, _ [][]byte, i int) ([][]byte, int) { return slices.Insert(f, i, f[i]), i + 1 }},
		{"swap with the next", func(f, _ [][]byte, i int) ([][]byte, int) {
			if i+1 == len(f) {
				return nil, 0
			}
			f[i], f[i+1] = f[i+1], f[i]
			return f, i
		}},
		{"splice from another log", func(f, o [][]byte, i int) ([][]byte, int) { f[i] = o[i]; return f, spliced(o[i], i) }},
		{"insert from another log", func(f, o [][]byte, i int) ([][]byte, int) { return slices.Insert(f, i, o[i]), spliced(o[i], i) }},
		{"alter with its hash", func(f, _ [][]byte, i int) ([][]byte, int) { f[i] = rehashed(f[i]); return f, i + 1 }},
		{"cut in the middle", func(f, _ [][]byte, i int) ([][]byte, int) {
			f[i] = append(bytes.Clone(f[i][:len(f[i])/2]), '\n')
			return f, i
		}},
		{"lose a newline", func(f, _ [][]byte, i int) ([][]byte, int) {
			if i+1 == len(f) {
				return nil, 0 // that is torn, not tampered
			}
			f[i] = f[i][:len(f[i])-1]
			return f, i
		}},
		{"empty line", func(f, _ [][]byte, i int) ([][]byte, int) { return slices.Insert(f, i, []byte("\n")), i }},
		{"zero bytes", func(f, _ [][]byte, i int) ([][]byte, int) {
			if i+1 == len(f) {
				return nil, 0 // as a loss of power may leave it
			}
			f[i] = append(make([]byte, len(f[i])-1), '\n')
			return f, i
		}},
	}
	for _, at := range []int{0, 7, 30, 60, 80, 120, 160, 180, 200, 250, -2, -3, -20, -74, -77, -80} {
		changes = append(changes, change{fmt.Sprint("flip a bit at ", at), func(f, _ [][]byte, i int) ([][]byte, int) {
			f[i] = flip(f[i], (at+len(f[i]))%len(f[i]))
			return f, i
		}})
	}
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			found := 0
			for n := range names {
				for i := range lines[n] {
					changed, first := c.apply(slices.Clone(lines[n]), foreign[n], i)
					if changed == nil {
						continue
					}
					isLast := n == len(names)-1
					if isLast && first >= len(changed) {
						continue // nothing after the change in the file or the log: not to be seen without the head
					}
					checkTampered(t, names, lines, n, changed, first, isLast)
					found++
				}
			}
			if found < 10 {
				t.Errorf("only %d places were tried", found)
			}
		})
	}
}

func checkTampered(t *testing.T, names []string, lines [][][]byte, n int, changed [][]byte, first int, isLast bool) {
	t.Helper()
	dir := fastDir(t)
	for i, name := range names {
		content := lines[i]
		if i == n {
			content = changed
		}
		must(t, os.WriteFile(filepath.Join(dir, name), bytes.Join(content, nil), 0o600))
	}
	_, err := Verify(t.Context(), dir)
	var bad *BadRecordError
	if !errors.As(err, &bad) || !errors.Is(err, ErrCorrupt) {
		t.Errorf("file %d, change at line %d: verify answers %v", n, first+1, err)
		return
	}
	file, line := names[n], first+1
	if first >= len(changed) {
		file, line = names[n+1], 1 // the next file does not follow
	}
	if bad.File != file || bad.Line != line {
		t.Errorf("verify names %s line %d, want %s line %d: %v", bad.File, bad.Line, file, line, err)
	}
	if !isLast {
		return
	}
	if l, err := Open(t.Context(), config(dir)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("change at line %d: open answers %v", first+1, err)
		if l != nil {
			must(t, l.Close())
		}
	}
}

// TestMissingFile removes, exchanges and renames whole files.
func TestMissingFile(t *testing.T) {
	t.Parallel()
	names, lines := writeLog(t, fastDir(t))
	_, foreign := writeLog(t, fastDir(t))
	for n := range names {
		for name, content := range map[string][][]byte{"missing": nil, "another log's": foreign[n], "empty": {}} {
			if n == len(names)-1 && name != "another log's" {
				continue // the tail cut back
			}
			dir := fastDir(t)
			for i := range names {
				b := lines[i]
				if i == n {
					if b = content; b == nil {
						continue
					}
				}
				must(t, os.WriteFile(filepath.Join(dir, names[i]), bytes.Join(b, nil), 0o600))
			}
			if _, err := Verify(t.Context(), dir); !errors.Is(err, ErrCorrupt) {
				t.Errorf("file %d is %s: %v", n, name, err)
			}
		}
	}
}

// TestCutTail documents what the files alone can't show, and that a kept head shows it.
func TestCutTail(t *testing.T) {
	t.Parallel()
	dir := fastDir(t)
	names, lines := writeLog(t, dir)
	whole, err := Verify(t.Context(), dir)
	must(t, err)
	last := len(names) - 1
	content := bytes.Join(lines[last][:len(lines[last])-1], nil)
	must(t, os.WriteFile(filepath.Join(dir, names[last]), content, 0o600))
	cut, err := Verify(t.Context(), dir)
	if err != nil || cut.Seq != whole.Seq-1 {
		t.Fatalf("the log without its last record: %v, %v", cut, err)
	}
	if ok, err := Holds(t.Context(), dir, whole); err != nil || ok {
		t.Errorf("the kept head is still there: %v, %v", ok, err)
	}
}
