package regions_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"antipode/regions"
	"antipode/regions/regionstest"
)

// The table has exactly the operations of the official client, in order.
func TestOperationTable(t *testing.T) {
	t.Parallel()
	var official []string
	client := reflect.TypeFor[*kms.Client]()
	for i := range client.NumMethod() {
		m := client.Method(i)
		// An operation takes (receiver, context, *NAMEInput, ...options).
		if m.Type.NumIn() == 4 && m.Type.In(2).Kind() == reflect.Pointer && m.Type.In(2).Elem().Name() == m.Name+"Input" {
			official = append(official, m.Name)
		}
	}
	var ours []string
	for _, op := range regions.Operations() {
		ours = append(ours, op.Name)
		if found, ok := regions.OperationByName(op.Name); !ok || found.Name != op.Name || op.NewInput() == nil {
			t.Errorf("%s is not found by name", op.Name)
		}
	}
	if len(official) < 50 || !slices.Equal(official, ours) {
		t.Errorf("the SDK has %d operations\n%v\nthe table has %d\n%v", len(official), official, len(ours), ours)
	}
	for _, name := range []string{"", "encrypt", "Encrypt ", "Zzz", "AAA"} {
		if _, ok := regions.OperationByName(name); ok {
			t.Errorf("%q is an operation", name)
		}
	}
}

// What is not built says so, and leaves a record.
func TestNotBuilt(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	for _, op := range regions.Operations() {
		if op.Built() {
			continue
		}
		before := len(f.Records(t))
		_, err := regionstest.Call[struct{}](t, f, op.Name, nil)
		wantError(t, op.Name, err, "UnsupportedOperationException", op.Name+" is not supported by this version of Antipode.")
		recs := f.Records(t)
		if len(recs) != before+1 || recs[before].Event.EventName != op.Name || recs[before].Event.ErrorCode != "UnsupportedOperationException" {
			t.Errorf("%s: %d records", op.Name, len(recs)-before)
		}
	}
}
