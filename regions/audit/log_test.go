package audit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killChildEnv); dir != "" {
		killChild(dir) // does not return
	}
	if dir := os.Getenv(fullChildEnv); dir != "" {
		fullChild(dir) // does not return
	}
	os.Exit(m.Run())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fastDir is a directory in memory, where a sync costs nothing.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "antipode-audit-*") //nolint:usetesting // t.TempDir is on the disk
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

func config(dir string) Config {
	return Config{Dir: dir, Node: "node-1", Clock: time.Now, Random: rand.Reader}
}

func openLog(t testing.TB, cfg Config) *Log {
	t.Helper()
	l, err := Open(context.WithoutCancel(t.Context()), cfg)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// sample is a data-plane event of the usual size.
func sample(name string) Event {
	e := Event{
		UserIdentity: UserIdentity{
			Type: "IAMUser", PrincipalID: "AIDAEXAMPLEEXAMPLE", ARN: "arn:aws:iam::111122223333:user/Alice",
			AccountID: "111122223333", AccessKeyID: "AKIAEXAMPLEEXAMPLE", UserName: "Alice",
		},
		EventTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), EventName: name, AWSRegion: "us-east-2",
		SourceIPAddress: "192.0.2.7", UserAgent: "aws-sdk-go-v2/1.47.7 ua/2.1 os/linux lang/go#1.26 api/kms#1.62.4",
		RequestID: "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0", ReadOnly: true, RecipientAccountID: "111122223333",
		Resources: []Resource{{
			AccountID: "111122223333", ARN: "arn:aws:kms:us-east-2:111122223333:key/mrk-00112233445566778899aabbccddeeff",
		}},
	}
	e.RequestParameters.Str("keyId", "arn:aws:kms:us-east-2:111122223333:key/mrk-00112233445566778899aabbccddeeff")
	e.RequestParameters.Str("encryptionAlgorithm", "SYMMETRIC_DEFAULT")
	e.RequestParameters.Map("encryptionContext", map[string]string{"tenant": "42"})
	return e
}

// verified checks the whole log and answers its records.
func verified(t testing.TB, dir string) []Record {
	t.Helper()
	var recs []Record
	head, err := Scan(t.Context(), dir, Head{}, func(r *Record) error {
		kept := *r
		kept.Event = append([]byte(nil), r.Event...)
		recs = append(recs, kept)
		return nil
	})
	must(t, err)
	if n := len(recs); n > 0 && (recs[n-1].Seq != head.Seq || recs[n-1].Hash != head.Hash) {
		t.Fatalf("head %v is not that of the last record", head)
	}
	return recs
}

func kinds(recs []Record) string {
	var s []string
	for _, r := range recs {
		s = append(s, string(r.Kind))
	}
	return strings.Join(s, " ")
}

func TestRecords(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(fastDir(t), "audit")
	cfg := config(dir)
	at := time.Date(2026, 11, 22, 4, 5, 6, 123456789, time.FixedZone("", 3600))
	cfg.Clock = func() time.Time { return at }
	l := openLog(t, cfg)
	ctx := t.Context()
	ticket, err := l.Intent(ctx, Event{EventName: "CreateKey", RequestID: "r1"})
	must(t, err)
	must(t, l.Data(ctx, sample("Encrypt")))
	must(t, l.Outcome(ctx, ticket, Event{EventName: "CreateKey", RequestID: "r1", ErrorCode: "LimitExceededException"}))
	must(t, l.Service(ctx, Event{EventName: "RotateKey", EventType: TypeServiceEvent}))
	head := l.Head()
	must(t, l.Close())
	must(t, l.Close())

	recs := verified(t, dir)
	if got := kinds(recs); got != "file intent data outcome service" {
		t.Fatalf("records: %s", got)
	}
	if head != (Head{Seq: 5, Hash: recs[4].Hash}) || l.Durable() != head {
		t.Errorf("head %v, durable %v", head, l.Durable())
	}
	if recs[3].Intent != 2 || recs[3].Node != "node-1" || !recs[3].Time.Equal(at.Truncate(time.Microsecond)) {
		t.Errorf("outcome: %+v", recs[3])
	}
	intent, err := DecodeEvent(recs[1].Event)
	must(t, err)
	outcome, err := DecodeEvent(recs[3].Event)
	must(t, err)
	if intent.EventID == "" || intent.EventID != outcome.EventID || !intent.EventTime.Equal(outcome.EventTime) {
		t.Errorf("intent %s %v and outcome %s %v are not one event", intent.EventID, intent.EventTime, outcome.EventID, outcome.EventTime)
	}
	if outcome.ErrorCode != "LimitExceededException" {
		t.Errorf("outcome: %+v", outcome)
	}
	info, err := os.Stat(dir)
	must(t, err)
	file, err := os.Stat(filepath.Join(dir, "audit-00000000000000000001.log"))
	must(t, err)
	if info.Mode().Perm() != 0o700 || file.Mode().Perm() != 0o600 {
		t.Errorf("modes %v and %v", info.Mode(), file.Mode())
	}
	for name, call := range map[string]func() error{
		"intent":  func() error { _, err := l.Intent(ctx, Event{EventName: "X"}); return err },
		"outcome": func() error { return l.Outcome(ctx, ticket, Event{EventName: "X"}) },
		"data":    func() error { return l.Data(ctx, Event{EventName: "X"}) },
		"service": func() error { return l.Service(ctx, Event{EventName: "X"}) },
	} {
		if err := call(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s after close: %v", name, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	dir, ctx := fastDir(t), t.Context()
	l := openLog(t, config(dir))
	ticket, err := l.Intent(ctx, Event{EventName: "A"})
	must(t, err)
	must(t, l.Outcome(ctx, ticket, Event{EventName: "A"}))
	if err := l.Outcome(ctx, ticket, Event{EventName: "A"}); !errors.Is(err, ErrNotOpen) {
		t.Errorf("a second outcome: %v", err)
	}
	if err := l.Outcome(ctx, Ticket{}, Event{EventName: "A"}); !errors.Is(err, ErrNotOpen) {
		t.Errorf("an outcome without intent: %v", err)
	}
	if err := l.Data(ctx, Event{}); !errors.Is(err, ErrEvent) {
		t.Errorf("an event without name: %v", err)
	}
	if err := l.Data(ctx, Event{EventName: "A", RequestID: strings.Repeat("x", MaxEventBytes)}); !errors.Is(err, ErrEvent) {
		t.Errorf("a huge event: %v", err)
	}
	if err := l.Data(ctx, Event{EventName: "A", EventTime: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)}); !errors.Is(err, ErrEvent) {
		t.Errorf("an event of the year 12345: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := l.Intent(ended, Event{EventName: "A"}); !errors.Is(err, context.Canceled) {
		t.Errorf("an intent whose context has ended: %v", err)
	}
	must(t, l.Data(ended, Event{EventName: "Last"})) // it has happened
	if _, err := Open(ctx, config(dir)); !errors.Is(err, ErrLocked) {
		t.Errorf("a second writer: %v", err)
	}
	must(t, l.Close())
	other := config(dir)
	other.Node = "node-2"
	if _, err := Open(ctx, other); !errors.Is(err, ErrNode) {
		t.Errorf("another node's log: %v", err)
	}
	for _, spoil := range []func(*Config){
		func(c *Config) { c.Dir = "" },
		func(c *Config) { c.Node = "a b" },
		func(c *Config) { c.Node = "" },
		func(c *Config) { c.Clock = nil },
		func(c *Config) { c.Random = nil },
		func(c *Config) { c.MaxFileBytes = -1 },
		func(c *Config) { c.Dir = filepath.Join(dir, "no", "parent") },
	} {
		cfg := config(dir)
		spoil(&cfg)
		if l, err := Open(ctx, cfg); err == nil {
			t.Errorf("open takes %+v", l.cfg)
		}
	}
	if got := kinds(verified(t, dir)); got != "file intent outcome data" {
		t.Errorf("records: %s", got)
	}
}

// TestOpenIntents: what has no outcome is found again, in whatever file it is, until it is closed.
func TestOpenIntents(t *testing.T) {
	t.Parallel()
	for _, maxBytes := range []int64{0, 1} { // one file, and a file for each record
		t.Run(fmt.Sprint(maxBytes), func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			cfg := config(fastDir(t))
			cfg.MaxFileBytes = maxBytes
			l := openLog(t, cfg)
			var tickets []Ticket
			for i := range 6 {
				e := sample(fmt.Sprint("Op", i))
				e.UserAgent = strings.Repeat("\xff\n\"", 600) // a caller's, and longer than is kept
				ticket, err := l.Intent(ctx, e)
				must(t, err)
				must(t, l.Data(ctx, sample("Encrypt")))
				tickets = append(tickets, ticket)
			}
			must(t, l.Outcome(ctx, tickets[1], Event{EventName: "Op1"}))
			must(t, l.Outcome(ctx, tickets[5], Event{EventName: "Op5"}))
			if found := l.OpenIntents(); len(found) != 0 {
				t.Errorf("open intents of this process: %v", found)
			}
			must(t, l.Close())

			for left := 4; left > 0; left-- {
				l := openLog(t, cfg)
				found := l.OpenIntents()
				if len(found) != left {
					t.Fatalf("%d open intents, want %d", len(found), left)
				}
				for i, want := range []int{0, 2, 3, 4}[4-left:] {
					o := found[i]
					if o.Ticket != tickets[want] || o.Event.EventName != fmt.Sprint("Op", want) || o.Event.EventID != tickets[want].eventID {
						t.Errorf("open intent %d is %+v", i, o)
					}
				}
				must(t, l.Outcome(ctx, found[0].Ticket, Event{EventName: found[0].Event.EventName}))
				if n := len(l.OpenIntents()); n != left-1 {
					t.Errorf("%d open intents after an outcome, want %d", n, left-1)
				}
				must(t, l.Close())
			}
			verified(t, cfg.Dir)
			if found := openLog(t, cfg).OpenIntents(); len(found) != 0 {
				t.Errorf("open intents at the end: %v", found)
			}
		})
	}
}

func TestTooManyOpen(t *testing.T) {
	t.Parallel()
	cfg := config(fastDir(t))
	cfg.MaxFileBytes = 4 << 20
	l := openLog(t, cfg)
	for range MaxOpen {
		_, err := l.Intent(t.Context(), Event{EventName: "A"})
		must(t, err)
	}
	if _, err := l.Intent(t.Context(), Event{EventName: "A"}); !errors.Is(err, ErrTooManyOpen) {
		t.Errorf("intent %d: %v", MaxOpen+1, err)
	}
	must(t, l.Close())
	if found := openLog(t, cfg).OpenIntents(); len(found) != MaxOpen {
		t.Errorf("%d open intents", len(found))
	}
}

// TestDurable: the durable head follows within the time promised, and at once if strict.
func TestDurable(t *testing.T) {
	t.Parallel()
	cfg := config(fastDir(t))
	cfg.FlushEvery = 20 * time.Millisecond
	l := openLog(t, cfg)
	for range 3 {
		must(t, l.Data(t.Context(), sample("Encrypt")))
		written := l.Head()
		for deadline := time.Now().Add(5 * time.Second); l.Durable() != written; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("durable is %v, head %v", l.Durable(), l.Head())
			}
		}
	}
	_, err := l.Intent(t.Context(), sample("CreateKey"))
	must(t, err)
	if l.Durable() != l.Head() {
		t.Error("an intent is not durable")
	}

	cfg = config(fastDir(t))
	cfg.Strict, cfg.FlushEvery = true, time.Hour
	l = openLog(t, cfg)
	must(t, l.Data(t.Context(), sample("Encrypt")))
	if l.Durable() != l.Head() {
		t.Error("a data record of a strict log is not durable")
	}
}

func TestHolds(t *testing.T) {
	t.Parallel()
	cfg := config(fastDir(t))
	cfg.MaxFileBytes = 3000
	l := openLog(t, cfg)
	heads := []Head{{}, l.Head()}
	for range 20 {
		must(t, l.Data(t.Context(), sample("Encrypt")))
		heads = append(heads, l.Head())
	}
	for _, h := range heads {
		if ok, err := Holds(t.Context(), cfg.Dir, h); err != nil || !ok {
			t.Errorf("holds %v: %v, %v", h, ok, err)
		}
		h.Hash[31] ^= 1
		if ok, err := Holds(t.Context(), cfg.Dir, h); err != nil || ok {
			t.Errorf("holds another %v: %v, %v", h, ok, err)
		}
	}
	if ok, err := Holds(t.Context(), cfg.Dir, Head{Seq: l.Head().Seq + 1}); err != nil || ok {
		t.Errorf("holds what is not written yet: %v, %v", ok, err)
	}
	files, err := listFiles(cfg.Dir)
	must(t, err)
	if len(files) < 4 {
		t.Fatalf("%d files", len(files))
	}
	must(t, os.Remove(files[0].path()))
	if _, err := Holds(t.Context(), cfg.Dir, heads[1]); !errors.Is(err, ErrNoRecords) {
		t.Errorf("holds a record of a file that is gone: %v", err)
	}
	// Archived files do not stop the log, and the rest verifies from where they end.
	must(t, l.Close())
	must(t, openLog(t, cfg).Data(t.Context(), sample("Encrypt")))
	from, err := files[1].lastRecord()
	must(t, err)
	if _, err := Scan(t.Context(), cfg.Dir, Head{Seq: from.Seq, Hash: from.Hash}, nil); err != nil {
		t.Errorf("scan of the rest: %v", err)
	}
	if _, err := Verify(t.Context(), cfg.Dir); !errors.Is(err, ErrCorrupt) {
		t.Errorf("verify without the first file: %v", err)
	}
}
