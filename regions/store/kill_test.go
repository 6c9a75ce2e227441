package store_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/store"
)

// killChildEnv makes the test binary commit numbered records to the database that it names, until it is killed.
const killChildEnv = "ANTIPODE_STORE_KILL_CHILD"

func numbered(n int) regions.Record {
	return regions.Record{
		RecordKey: regions.RecordKey{Kind: "test", ID: fmt.Sprintf("%08d", n)},
		Ref:       strconv.Itoa(n % 7), Due: int64(n), Body: bytes.Repeat([]byte{byte(n)}, 1+n*37%3000), MAC: []byte("mac"),
	}
}

// killChild prints the number of each record once it is acknowledged.
func killChild(path string) {
	ctx := context.Background()
	db, err := store.Open(ctx, path)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for n := 1; ; n++ {
		err := db.Update(ctx, func(tx regions.Tx) error {
			last, err := tx.Get(ctx, regions.RecordKey{Kind: "last"})
			if err == nil {
				if n, err = strconv.Atoi(string(last.Body)); err != nil {
					return err
				}
				n++
			}
			err = tx.Put(ctx, regions.Record{RecordKey: regions.RecordKey{Kind: "last"}, Body: []byte(strconv.Itoa(n))})
			if err != nil {
				return err
			}
			return tx.Put(ctx, numbered(n))
		})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

// TestKill kills a process that commits, at random moments, and expects every acknowledged record, and no half of an
// unacknowledged one.
func TestKill(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(fastDir(t), "store.db")
	must(t, create(t, path).Close())
	acknowledged, moved := 0, 0
	const rounds = 25
	for round := range rounds {
		n := killRound(t, path, rng)
		if n > acknowledged {
			moved++
		}
		acknowledged = max(acknowledged, n)
		acknowledged = checkNumbered(t, path, round, acknowledged)
	}
	t.Logf("%d records committed in %d rounds, %d of them with a commit", acknowledged, rounds, moved)
	if moved < rounds/2 {
		t.Errorf("only %d of %d rounds committed anything: the test shows too little", moved, rounds)
	}
}

// killRound answers the last number that the child acknowledged, or 0.
func killRound(t *testing.T, path string, rng *rand.Rand) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this test's own binary
	cmd.Env = append(os.Environ(), killChildEnv+"="+path)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewReader(out)
	last := 0
	next := func() bool {
		line, err := lines.ReadString('\n')
		if err == io.EOF { //nolint:errorlint // bufio answers the very value
			return false // what has no newline was not acknowledged
		}
		must(t, err)
		last, err = strconv.Atoi(line[:len(line)-1])
		must(t, err)
		return true
	}
	// Some children die after a number of commits, others after a time, which may be before the database is open.
	if rng.IntN(4) > 0 {
		for range 1 + rng.IntN(60) {
			if !next() {
				break
			}
		}
		time.Sleep(time.Duration(rng.IntN(500)) * time.Microsecond)
	} else {
		time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
	}
	must(t, cmd.Process.Kill())
	for next() {
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the child was not killed but ended: %v", err)
	}
	return last
}

// checkNumbered expects records 1 to n whole, where n is acknowledged or, if the child died between its commit and its
// line, one more. It answers n.
func checkNumbered(t *testing.T, path string, round, acknowledged int) int {
	t.Helper()
	db, err := store.Open(t.Context(), path)
	must(t, err)
	defer func() { must(t, db.Close()) }()
	n := 0
	must(t, db.View(t.Context(), func(r regions.Reader) error {
		recs, err := r.List(t.Context(), regions.Query{Kind: "test"})
		if err != nil {
			return err
		}
		n = len(recs)
		for i, got := range recs {
			want := numbered(i + 1)
			if got.RecordKey != want.RecordKey || got.Ref != want.Ref || got.Due != want.Due || !bytes.Equal(got.Body, want.Body) {
				return fmt.Errorf("record %d is %+v", i+1, got)
			}
		}
		if n == 0 {
			return nil
		}
		last, err := r.Get(t.Context(), regions.RecordKey{Kind: "last"})
		if err == nil && string(last.Body) != strconv.Itoa(n) {
			err = fmt.Errorf("half a commit: last is %s", last.Body)
		}
		return err
	}))
	if n < acknowledged || n > acknowledged+1 {
		t.Fatalf("round %d: %d records, %d acknowledged", round, n, acknowledged)
	}
	return n
}
