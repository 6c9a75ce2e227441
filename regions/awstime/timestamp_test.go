package awstime_test

import (
	stdjson "encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"antipode/regions/awstime"
)

type answer struct {
	CreationDate awstime.Timestamp `json:"CreationDate"`
	DeletionDate awstime.Timestamp `json:"DeletionDate,omitzero"`
}

func TestEncode(t *testing.T) {
	t.Parallel()
	for millis, want := range map[int64]string{
		1599523200000: "1599523200.0", 1599523200123: "1599523200.123", 1599523200100: "1599523200.1",
		1599523200120: "1599523200.12", 1599523200003: "1599523200.003", 1: "0.001", 0: "0.0", -1: "-0.001", -1500: "-1.5",
		253402300799999: "253402300799.999", math.MinInt64: "-9223372036854775.808",
	} {
		want = `{"CreationDate":` + want + `}`
		for how, marshal := range map[string]func(any) ([]byte, error){
			"v2":            func(v any) ([]byte, error) { return json.Marshal(v) },
			"encoding/json": stdjson.Marshal,
		} {
			got, err := marshal(answer{CreationDate: awstime.FromMillis(millis)})
			if err != nil || string(got) != want {
				t.Errorf("%s: %d: %s, %v; want %s", how, millis, got, err, want)
			}
		}
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"1599523200.0": 1599523200000, "1599523200": 1599523200000, "1.599523200123E9": 1599523200123,
		"1599523200.1234999": 1599523200123, "-0.001": -1, "null": 0, "253402300799.999": 253402300799999,
	} {
		var a, b awstime.Timestamp
		if err := json.Unmarshal([]byte(text), &a); err != nil || a.Millis() != want {
			t.Errorf("%s: %d, %v; want %d", text, a.Millis(), err, want)
		}
		if err := stdjson.Unmarshal([]byte(text), &b); err != nil || b != a && text != "null" {
			t.Errorf("encoding/json: %s: %d, %v; want %d", text, b.Millis(), err, want)
		}
	}
	for _, text := range []string{`"2020-09-08"`, `"1599523200"`, "true", "[]", "{}", "1599523200.", "NaN", ""} {
		var a awstime.Timestamp
		if err := json.Unmarshal([]byte(text), &a); err == nil {
			t.Errorf("%s: accepted as %v", text, a)
		}
	}
	for _, text := range []string{"1e400", "-1e400", "253402300800", "-62135596801", "1e18"} {
		var a awstime.Timestamp
		if err := json.Unmarshal([]byte(text), &a); !errors.Is(err, awstime.ErrRange) {
			t.Errorf("%s: %v, %v; want ErrRange", text, a, err)
		}
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	at := time.Date(2020, 9, 8, 0, 0, 0, 123999999, time.FixedZone("x", 7200))
	ts := awstime.FromTime(at)
	if ts.Millis() != at.UnixMilli() || !ts.Time().Equal(at.Truncate(time.Millisecond)) || ts.Time().Location() != time.UTC {
		t.Errorf("%v became %v", at, ts.Time())
	}
	if ts.IsZero() || !(awstime.Timestamp{}).IsZero() || ts.String() != "1599516000.123" {
		t.Errorf("%v, %q", ts.IsZero(), ts)
	}
}

// FuzzTimestamp: what decodes encodes to a form that decodes to the same and encodes to the same bytes.
func FuzzTimestamp(f *testing.F) {
	for _, s := range []string{"0", "1599523200.123", "1.5e9", "-1", "1e999", "null", "253402300799.9995", "0.0005"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var a, b awstime.Timestamp
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			return
		}
		if err := json.Unmarshal([]byte(a.String()), &b); err != nil || a != b || a.String() != b.String() {
			t.Errorf("%s: %v, then %v, %v", text, a, b, err)
		}
		if year := a.Time().Year(); year < 1 || year > 9999 {
			t.Errorf("%s: year %d", text, year)
		}
	})
}
