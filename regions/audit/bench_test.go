package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkData writes events of the usual size; MB/s is that of the lines.
func BenchmarkData(b *testing.B) {
	for _, place := range []string{"shm", "disk"} {
		for _, strict := range []bool{false, true} {
			for _, goroutines := range []int{1, 64} {
				b.Run(fmt.Sprintf("%s/strict=%v/goroutines=%d", place, strict, goroutines), func(b *testing.B) {
					dir := b.TempDir()
					if place == "shm" {
						dir = fastDir(b)
					}
					cfg := config(dir)
					cfg.Strict = strict
					cfg.Clock = time.Now
					l := openLog(b, cfg)
					e := sample("Encrypt")
					before := l.size
					if err := l.Data(b.Context(), e); err != nil {
						b.Fatal(err)
					}
					b.SetBytes(l.size - before)
					b.ReportAllocs()
					b.SetParallelism(max(1, goroutines/2))
					b.ResetTimer()
					if goroutines == 1 {
						for range b.N {
							if err := l.Data(b.Context(), e); err != nil {
								b.Fatal(err)
							}
						}
						return
					}
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							if err := l.Data(b.Context(), e); err != nil {
								b.Error(err)
								return
							}
						}
					})
				})
			}
		}
	}
}

// BenchmarkWrite is what the kernel alone takes for a line of the usual size.
func BenchmarkWrite(b *testing.B) {
	f, err := os.OpenFile(filepath.Join(fastDir(b), "x"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	must(b, err)
	line := make([]byte, 1265)
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, err := f.Write(line); err != nil {
			b.Fatal(err)
		}
	}
	must(b, f.Close())
}

func BenchmarkIntent(b *testing.B) {
	for _, place := range []string{"shm", "disk"} {
		b.Run(place, func(b *testing.B) {
			dir := b.TempDir()
			if place == "shm" {
				dir = fastDir(b)
			}
			l := openLog(b, config(dir))
			e := sample("CreateKey")
			for b.Loop() {
				ticket, err := l.Intent(b.Context(), e)
				must(b, err)
				must(b, l.Outcome(b.Context(), ticket, e))
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	cfg := config(fastDir(b))
	l := openLog(b, cfg)
	for range 10_000 {
		must(b, l.Data(b.Context(), sample("Encrypt")))
	}
	b.SetBytes(l.size)
	for b.Loop() {
		_, err := Verify(b.Context(), cfg.Dir)
		must(b, err)
	}
}
