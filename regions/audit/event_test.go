package audit

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestEventForm pins the form of an event; the file is a golden one.
func TestEventForm(t *testing.T) {
	t.Parallel()
	full := sample("Decrypt")
	full.EventID = "11111111-2222-4333-8444-555555555555"
	full.ErrorCode, full.ErrorMessage = "AccessDenied", "User: \"x\" is not\nauthorized \u00e4 \x01\xff"
	full.UserIdentity.InvokedBy = "kms.amazonaws.com"
	full.ResponseElements.Null("keyId")
	full.ResponseElements.Bool("b", true)
	full.ResponseElements.Int("n", -7)
	full.ResponseElements.Strs("list", []string{"a", "b"})
	full.ResponseElements.Strs("none", nil)
	full.ServiceEventDetails.Object("zero", Fields{})
	full.ServiceEventDetails.Map("empty", nil)
	full.Resources = append(full.Resources, Resource{ARN: "arn:2", Type: "AWS::Other"})
	full.ReadOnly = false
	session := Event{EventName: "Decrypt", UserIdentity: UserIdentity{Type: "AssumedRole", InvokedBy: "x"}}
	session.UserIdentity.SessionContext.Map("attributes", map[string]string{"mfaAuthenticated": "false"})
	session.AdditionalEventData.Str("authentication", "BearerToken")
	var got []byte
	for _, e := range []Event{full, {EventName: "RotateKey", EventType: TypeServiceEvent, EventCategory: "Data"}, session} {
		b := appendEvent(nil, &e)
		if !json.Valid(b) {
			t.Errorf("not JSON: %s", b)
		}
		back, err := DecodeEvent(b)
		must(t, err)
		if string(appendEvent(nil, &back)) != string(b) {
			t.Errorf("does not come back: %s", b)
		}
		got = append(append(got, b...), '\n')
	}
	want, err := os.ReadFile(filepath.Join("testdata", "events.golden"))
	must(t, err)
	if string(got) != string(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestRecordForm pins a log of two records down to its hashes: the format of released versions never changes.
func TestRecordForm(t *testing.T) {
	t.Parallel()
	cfg := config(fastDir(t))
	at := time.Date(2026, 11, 22, 4, 5, 6, 0, time.UTC)
	cfg.Clock = func() time.Time { at = at.Add(time.Millisecond); return at }
	cfg.Random = zeros{}
	l := openLog(t, cfg)
	ticket, err := l.Intent(t.Context(), sample("CreateKey"))
	must(t, err)
	must(t, l.Outcome(t.Context(), ticket, Event{EventName: "CreateKey"}))
	must(t, l.Close())
	want, err := os.ReadFile(filepath.Join("testdata", "log.golden"))
	must(t, err)
	if got := readAll(t, cfg.Dir, 1); string(got) != string(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestFieldsOf(t *testing.T) {
	t.Parallel()
	f, err := FieldsOf(map[string]any{"b": []int{1, 2}, "a": map[string]string{"x": "\n"}, "c": nil})
	must(t, err)
	if got := string(f.appendTo(nil)); got != `{"a":{"x":"\n"},"b":[1,2],"c":null}` {
		t.Errorf("got %s", got)
	}
	f.Str("d", "e")
	if got := string(f.appendTo(nil)); got != `{"a":{"x":"\n"},"b":[1,2],"c":null,"d":"e"}` {
		t.Errorf("got %s", got)
	}
	if f, err := FieldsOf(nil); err != nil || !f.IsZero() {
		t.Errorf("of nil: %v, %v", f, err)
	}
	if f, err := FieldsOf(map[string]any{}); err != nil || string(f.appendTo(nil)) != "{}" {
		t.Errorf("of an empty map: %v, %v", f, err)
	}
	for _, bad := range []any{math.NaN(), make(chan int), func() {}} {
		if f, err := FieldsOf(map[string]any{"x": bad}); !errors.Is(err, ErrEvent) {
			t.Errorf("of %T: %v, %v", bad, f, err)
		}
	}
}

// TestDuplicateName: a caller who gives a name twice gets a log that still opens.
func TestDuplicateName(t *testing.T) {
	t.Parallel()
	cfg := config(fastDir(t))
	l := openLog(t, cfg)
	e := sample("CreateKey")
	e.RequestParameters.Str("keyId", "again")
	_, err := l.Intent(t.Context(), e)
	must(t, err)
	must(t, l.Close())
	if found := openLog(t, cfg).OpenIntents(); len(found) != 1 {
		t.Errorf("open intents: %v", found)
	}
}
