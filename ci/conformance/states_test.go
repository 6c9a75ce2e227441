package conformance

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"antipode/regions"
	"antipode/regions/regionstest"
)

// states in the order of the table's columns.
var states = []types.KeyState{
	types.KeyStateEnabled, types.KeyStateDisabled, types.KeyStatePendingDeletion, types.KeyStatePendingReplicaDeletion,
	types.KeyStatePendingImport, types.KeyStateUnavailable, types.KeyStateCreating, types.KeyStateUpdating,
}

// enter brings a key into a state, in the way that a key gets there. The call that follows is made in the scene's Region.
// PendingImport is tried by [pendingImport]. Unavailable and Updating are not here: no operation leads to them in this version.
var enter = map[types.KeyState]func(s *scene){
	types.KeyStateEnabled:  func(*scene) {},
	types.KeyStateDisabled: func(s *scene) { s.must("DisableKey", calls["DisableKey"].in(s)) },
	types.KeyStatePendingDeletion: func(s *scene) {
		s.must("ScheduleKeyDeletion", calls["ScheduleKeyDeletion"].in(s))
	},
	types.KeyStatePendingReplicaDeletion: func(s *scene) {
		s.must("ReplicateKey", calls["ReplicateKey"].in(s))
		s.must("ScheduleKeyDeletion", calls["ScheduleKeyDeletion"].in(s))
	},
	types.KeyStateCreating: reserve,
}

// reserve makes what a destination makes when it has accepted a replica: a key without material, which is Creating until
// the material comes. The scene moves to that Region.
func reserve(s *scene) {
	s.t.Helper()
	f := s.k.at[away]
	err := f.Region.Update(s.t.Context(), func(tx regions.Tx) error {
		return f.Region.Reserve(s.t.Context(), tx, regions.Replica{
			Account: regionstest.Account, KeyID: *s.key.KeyId, Spec: string(s.key.KeySpec), Usage: string(s.key.KeyUsage),
			Origin: string(s.key.Origin), Source: home, Incarnation: [16]byte{1},
		})
	})
	if err != nil {
		s.t.Fatal(err)
	}
	moved := *s.key
	moved.Arn = aws.String(f.Region.KeyARN(regionstest.Account, *s.key.KeyId))
	s.key, s.region = &moved, away
}

// notes are AWS's texts, after the key's ARN.
var notes = map[string]struct{ code, text string }{
	"1":  {"DisabledException", " is disabled."},
	"3":  {"KMSInvalidStateException", " is pending deletion."},
	"3r": {"KMSInvalidStateException", " is pending replica deletion."},
	"4":  {"KMSInvalidStateException", " is not pending deletion (or pending replica deletion)."},
	"14": {"KMSInvalidStateException", " is creating."},
	"5":  {"KMSInvalidStateException", " is pending import."},
	"6":  {"UnsupportedOperationException", " origin is EXTERNAL which is not valid for this operation."},
}

func stateTable(t *testing.T) map[string][]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "keystates.txt"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for line := range strings.Lines(string(raw)) {
		if fields := strings.Fields(line); len(fields) == 1+len(states) && fields[0] != "#" {
			out[fields[0]] = fields[1:]
		}
	}
	return out
}

// onNoKey are the operations that no state can refuse.
func onNoKey(op string) bool {
	return strings.HasSuffix(op, "CustomKeyStore") || slices.Contains([]string{
		"CreateKey", "DescribeCustomKeyStores", "GenerateRandom", "ListKeys", "ListRetirableGrants",
	}, op)
}

// Every operation on a key, in every state that a key can really have: the code and the text of AWS's table, and a call
// that was refused has not changed the state.
func TestKeyStates(t *testing.T) {
	t.Parallel()
	table := stateTable(t)
	k := newKit(t)
	for _, op := range operations(t) {
		if _, has := table[op]; has == onNoKey(op) {
			t.Errorf("%s is in the table: %v", op, has)
		}
	}
	for i, state := range states {
		if enter[state] == nil {
			continue
		}
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			for op, row := range table {
				// Keys of imported material are single-Region keys: they have no replicas, and are none.
				replicas := state == types.KeyStatePendingReplicaDeletion || state == types.KeyStateCreating
				if o, _ := regions.OperationByName(op); o.Built() && (!replicas || !calls[op].imported) {
					inState(t, k, op, state, row[i])
				}
			}
		})
	}
	t.Run("PendingImport", func(t *testing.T) {
		t.Parallel()
		pendingImport(t, k, table)
	})
}

func inState(t *testing.T, k *kit, op string, state types.KeyState, want string) {
	t.Helper()
	s := newScene(t, k, calls[op].kind)
	if op == "UpdatePrimaryRegion" && state == types.KeyStateEnabled {
		s.must("ReplicateKey", calls["ReplicateKey"].in(s))
	}
	in := calls[op].in(s)
	enter[state](s)
	if s.region != home {
		moveTo(s, op, in)
	}
	s.check(op, in, state, want)
}

// check makes a call on the scene's key in this state.
func (s *scene) check(op string, in any, state types.KeyState, want string) {
	t, k := s.t, s.k
	t.Helper()
	_, err := k.call(t, s.region, op, in)
	what := fmt.Sprintf("%s of a key that is %s", op, state)
	if want == "ok" {
		if c := code(err); c != except[op] && (s.region == home || c != exceptCreating[op]) {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	if want == "3" && state == types.KeyStatePendingReplicaDeletion {
		want = "3r"
	}
	var api smithy.APIError
	if note := notes[want]; !errors.As(err, &api) || api.ErrorCode() != note.code || api.ErrorMessage() != *s.key.Arn+note.text {
		t.Errorf("%s: %v, want %s: %s", what, err, note.code, *s.key.Arn+note.text)
	}
	now := must[kms.DescribeKeyOutput](t, k, s.region, "DescribeKey", &kms.DescribeKeyInput{KeyId: s.key.KeyId}).KeyMetadata.KeyState
	if now != state {
		t.Errorf("%s was refused, and the key is %s", what, now)
	}
}

// pendingImport makes every call on a key of each kind whose material was imported, used, and deleted.
func pendingImport(t *testing.T, k *kit, table map[string][]string) {
	t.Helper()
	column := slices.Index(states, types.KeyStatePendingImport)
	for _, of := range []kind{symmetric} { // material of other kinds is not imported in this version
		of.imported = true
		s := newScene(t, k, of)
		inputs := map[string]any{}
		for op := range table {
			o, _ := regions.OperationByName(op)
			same := calls[op].kind
			if same.imported = true; same == of && o.Built() {
				inputs[op] = calls[op].in(s)
			}
		}
		s.must("DeleteImportedKeyMaterial", calls["DeleteImportedKeyMaterial"].in(s))
		last := []string{"ScheduleKeyDeletion", "ImportKeyMaterial"} // after them it is in another state
		for op, in := range inputs {
			if !slices.Contains(last, op) {
				s.check(op, in, types.KeyStatePendingImport, table[op][column])
			}
		}
		for i, op := range last {
			if in, has := inputs[op]; has {
				s.check(op, in, types.KeyStatePendingImport, table[op][column])
			}
			if _, has := inputs[op]; has && i == 0 {
				s.must("CancelKeyDeletion", calls["CancelKeyDeletion"].in(s))
			}
		}
	}
}

// except is what an operation answers that the state allows and something else refuses.
var except = map[string]string{"Encapsulate": "UnsupportedOperationException", "Decapsulate": "UnsupportedOperationException"}

// exceptCreating: a key that never had material has no grants.
var exceptCreating = map[string]string{"RetireGrant": "NotFoundException", "RevokeGrant": "NotFoundException"}

// moveTo makes an input that was made for the home Region one for the scene's.
func moveTo(s *scene, op string, in any) {
	s.t.Helper()
	switch op {
	case "DeleteAlias", "UpdateAlias":
		s.alias(op, true)
	case "ReEncrypt":
		other := &scene{t: s.t, k: s.k, region: s.region}
		set(in, "DestinationKeyId", other.newKey(symmetric).KeyId)
	case "RetireGrant":
		set(in, "KeyId", s.key.Arn)
	}
}

// statesSection is the table of states as TestKeyStates has seen it.
func statesSection(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("\n## Key states\n\nAWS's table, held by `TestKeyStates` on keys that were brought into the state as keys get there, and in the columns " +
		"marked *\nby `regions`: `TestStateTable` on records with that state. Numbers are the notes of AWS's page on key states.\n" +
		"GetParametersForImport, ImportKeyMaterial, DeleteImportedKeyMaterial: of keys of origin EXTERNAL (`regions`: `TestImportStates`).\n" +
		"PendingImport was shown on symmetric keys; the rows of other keys are `TestStateTable`'s.\n\n| operation |")
	for _, state := range states {
		mark := ""
		if enter[state] == nil && state != types.KeyStatePendingImport {
			mark = " *"
		}
		b.WriteString(" " + string(state) + mark + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(states)) + "\n")
	table := stateTable(t)
	for _, op := range slices.Sorted(maps.Keys(table)) {
		if o, _ := regions.OperationByName(op); o.Built() {
			fmt.Fprintf(&b, "| %s | %s |\n", op, strings.Join(table[op], " | "))
		}
	}
	return b.String()
}
