// Command bench measures Antipode as its users meet it: signed requests over HTTP to `antipode dev`, with the CPU that
// the server spends on each call, beside the same token operations without the service, in the same run.
//
// It prints a table and writes build/bench.json. CPU is user and system time of the server process (from /proc), so the
// client's own work does not count; medians are of wall time.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

// result is one line of the report.
type result struct {
	Name        string  `json:"name"`
	Concurrency int     `json:"concurrency"`
	Calls       int     `json:"calls"`
	PerSecond   float64 `json:"per_second"`
	MedianUS    float64 `json:"median_us"`
	P99US       float64 `json:"p99_us"`
	CPUUS       float64 `json:"server_cpu_us_per_call"`
	// Ratio is the server CPU of the call over that of the raw token operation at the same concurrency; 0 if none.
	Ratio float64 `json:"cpu_ratio_to_token,omitempty"`
}

func main() {
	binary := flag.String("binary", "bin/antipode", "the server")
	each := flag.Duration("time", 2*time.Second, "time of each measurement")
	out := flag.String("out", "build/bench.json", "where the report goes")
	disk := flag.String("disk", "build", "a folder on disk, for the measurements beside those in memory")
	flag.Parse()
	if err := run(context.Background(), *binary, *each, *out, *disk); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string, each time.Duration, out, disk string) error {
	var results []result
	token, err := benchToken(ctx, each)
	if err != nil {
		return fmt.Errorf("raw token: %w", err)
	}
	results = append(results, token...)
	for _, place := range []struct{ name, dir string }{{"/dev/shm", "/dev/shm"}, {"disk", disk}} {
		dir, err := os.MkdirTemp(place.dir, "antipode-bench-")
		if err != nil {
			return err
		}
		part, err := benchServer(ctx, binary, dir, place.name, each, token)
		if removeErr := os.RemoveAll(dir); err == nil {
			err = removeErr
		}
		if err != nil {
			return fmt.Errorf("server on %s: %w", place.name, err)
		}
		results = append(results, part...)
	}
	if err := report(os.Stdout, results); err != nil {
		return err
	}
	return write(out, results)
}

func report(to io.Writer, results []result) error {
	var text strings.Builder
	text.WriteString("operation\tcallers\tcalls\tper second\tmedian us\tp99 us\tserver CPU us\tover token\t\n")
	for _, r := range results {
		ratio := ""
		if r.Ratio > 0 {
			ratio = fmt.Sprintf("%.1fx", r.Ratio)
		}
		fmt.Fprintf(&text, "%s\t%d\t%d\t%.0f\t%.0f\t%.0f\t%.1f\t%s\t\n", r.Name, r.Concurrency, r.Calls, r.PerSecond,
			r.MedianUS, r.P99US, r.CPUUS, ratio)
	}
	w := tabwriter.NewWriter(to, 0, 4, 2, ' ', tabwriter.AlignRight)
	if _, err := io.WriteString(w, text.String()); err != nil {
		return err
	}
	return w.Flush()
}

func write(path string, results []result) error {
	data, err := json.MarshalIndent(map[string]any{"time": time.Now().UTC(), "results": results}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o600)
}
