package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/regionstest"
)

// result is what was seen of one operation.
type result struct {
	success bool
	shown   map[string]bool
}

// report collects results; subtests run at the same time.
type report struct {
	mu  sync.Mutex
	ops map[string]*result
}

func (r *report) note(op, err string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ops[op] == nil {
		r.ops[op] = &result{shown: map[string]bool{}}
	}
	if err == "" {
		r.ops[op].success = true
		return
	}
	r.ops[op].shown[err] = true
}

// provoke brings an error of an operation about and reports whether anything here knows how.
func provoke(t *testing.T, k *kit, op, want string) (got error, known bool) {
	t.Helper()
	s := newScene(t, k, calls[op].kind)
	if in, has := anOperation[op+" "+want]; has {
		_, got = k.call(t, home, op, in(s))
		return got, true
	}
	change, has := anyOperation[want]
	if !has {
		return nil, false
	}
	in := calls[op].in(s)
	if !change(s, op, in) {
		return nil, false
	}
	_, got = k.call(t, home, op, in)
	return got, true
}

// Every operation of the model: a success, and each error that the model lists for it, through the official client. What
// can't be shown has a reason, and no reason is given for what can.
func TestConformance(t *testing.T) {
	t.Parallel()
	model := modelled(t)
	k := newKit(t)
	r := &report{ops: map[string]*result{}}
	t.Run("calls", func(t *testing.T) {
		for _, op := range operations(t) {
			t.Run(op, func(t *testing.T) {
				t.Parallel()
				conform(t, k, r, op, model[op])
			})
		}
	})
	tour(t, k)
	quotas(t, r)
	internalErrors(t, r)
	unavailable(t, r)
	for op, errs := range model {
		for _, e := range errs {
			if excused := reason(op, e) != ""; excused == r.ops[op].shown[e] {
				t.Errorf("%s: %s is shown: %v, and excused: %v", op, e, r.ops[op].shown[e], excused)
			}
		}
		if excused := noSuccess(op) != ""; excused == r.ops[op].success {
			t.Errorf("%s: succeeds: %v, and excused: %v", op, r.ops[op].success, excused)
		}
	}
	compareMembers(t, k)
	document(t, section(t, model, k)+statesSection(t))
}

// conform makes one operation succeed, and fail in every way that something here knows of.
func conform(t *testing.T, k *kit, r *report, op string, errs []string) {
	t.Helper()
	call, has := calls[op]
	if !has {
		t.Fatalf("nothing here says how %s is called", op)
	}
	s := newScene(t, k, call.kind)
	if before := prepared[op]; before != nil {
		before(s)
	}
	_, err := k.call(t, home, op, call.in(s))
	if why := noSuccess(op); why == "" && err != nil {
		t.Errorf("%s: %v", op, err)
	} else {
		r.note(op, code(err))
	}
	for _, want := range errs {
		got, known := provoke(t, k, op, want)
		if !known {
			continue
		}
		if c := code(got); c == want {
			r.note(op, c)
		} else if reason(op, want) == "" {
			t.Errorf("%s answered %v in place of %s", op, got, want)
		}
	}
}

// prepared is what has to be done to a key before the operation succeeds on it.
var prepared = map[string]func(*scene){
	"CancelKeyDeletion": func(s *scene) { s.must("ScheduleKeyDeletion", calls["ScheduleKeyDeletion"].in(s)) },
	"UpdatePrimaryRegion": func(s *scene) {
		if noSuccess("UpdatePrimaryRegion") == "" {
			s.must("ReplicateKey", calls["ReplicateKey"].in(s))
		}
	},
}

func (s *scene) must(op string, in any) any {
	s.t.Helper()
	out, err := s.k.call(s.t, s.region, op, in)
	if err != nil {
		s.t.Fatalf("%s: %v", op, err)
	}
	return out
}

// quotas shows what an account with too many keys is told.
func quotas(t *testing.T, r *report) {
	t.Helper()
	k := newKit(t, regionstest.WithMaxKeys(1))
	s := newScene(t, k, symmetric)
	for op, region := range map[string]string{"CreateKey": home, "ReplicateKey": home} {
		if op == "ReplicateKey" {
			(&scene{t: t, k: k, region: away}).newKey(symmetric) // the other Region is full too
		}
		_, err := k.call(t, region, op, calls[op].in(s))
		if code(err) != "LimitExceededException" {
			t.Errorf("%s with too many keys: %v", op, err)
		}
		r.note(op, code(err))
	}
}

// internalErrors: with an audit log that can't be written nothing is answered but KMSInternalException.
func internalErrors(t *testing.T, r *report) {
	t.Helper()
	k := newKit(t)
	inputs := map[string]any{}
	for op, c := range calls {
		inputs[op] = c.in(newScene(t, k, c.kind))
	}
	if err := k.at[home].Audit.Close(); err != nil {
		t.Fatal(err)
	}
	for op, in := range inputs {
		_, err := k.call(t, home, op, in)
		if code(err) != "KMSInternalException" {
			t.Errorf("%s without an audit log: %v", op, err)
		}
		r.note(op, code(err))
	}
}

// unavailable: what a token is needed for, while it does not answer.
func unavailable(t *testing.T, r *report) {
	t.Helper()
	var mu sync.Mutex
	gone := false
	k := newKit(t, regionstest.WithToken(func(tok hsmbackend.Token) hsmbackend.Token {
		return hsmtest.Faulty(tok, func(string) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			if gone {
				return false, &hsmbackend.Error{Op: "test", RV: 0x32, Kind: hsmbackend.ErrUnavailable, Info: "CKR_DEVICE_REMOVED"}
			}
			return false, nil
		})
	}))
	inputs := map[string]any{}
	for op, c := range calls {
		inputs[op] = c.in(newScene(t, k, c.kind))
	}
	set := func(to bool) {
		mu.Lock()
		defer mu.Unlock()
		gone = to
	}
	set(true)
	defer set(false)
	for op, in := range inputs {
		if _, err := k.call(t, home, op, in); code(err) == "KeyUnavailableException" || code(err) == "DependencyTimeoutException" {
			r.note(op, code(err))
		}
	}
}

// noSuccess says why an operation does not succeed, "" if it does.
func noSuccess(op string) string {
	if row, _ := regions.OperationByName(op); !row.Built() {
		return notBuilt
	}
	return neverSucceeds[op]
}

// reason says why an error of the model can't be shown of the operation, "" if it can.
func reason(op, err string) string {
	if why, has := unreachable[op+" "+err]; has {
		return why
	}
	if noSuccess(op) == noMLKEM && slices.Contains([]string{"DryRunOperationException", "InvalidCiphertextException", "InvalidKeyUsageException"}, err) {
		return noMLKEM
	}
	if noSuccess(op) == notBuilt && err != "KMSInternalException" && err != "UnsupportedOperationException" {
		return notBuilt
	}
	for prefix, why := range map[string]string{"CloudHsm": noStores, "Xks": noStores, "CustomKeyStore": noStores, "IncorrectTrustAnchor": noStores} {
		if strings.HasPrefix(err, prefix) && (err != "CustomKeyStoreNotFoundException" || !storeOperation[op]) {
			return why
		}
	}
	return unreachable["* "+err]
}

// section is the table.
func section(t *testing.T, model map[string][]string, k *kit) string {
	t.Helper()
	var b strings.Builder
	letters, order := map[string]string{}, []string{}
	letter := func(why string) string {
		if letters[why] == "" {
			order = append(order, why)
			letters[why] = fmt.Sprint(len(order))
		}
		return letters[why]
	}
	fmt.Fprintf(&b, "| operation | success | errors shown | errors not reachable, and why |\n|---|---|---|---|\n")
	pairs, shown, failing := 0, 0, 0
	for _, op := range slices.Sorted(maps.Keys(model)) {
		var yes, no []string
		for _, e := range model[op] {
			pairs++
			short := strings.TrimSuffix(e, "Exception")
			if why := reason(op, e); why != "" {
				no = append(no, short+" ["+letter(why)+"]")
			} else {
				yes, shown = append(yes, short), shown+1
			}
		}
		success := "yes"
		if why := noSuccess(op); why != "" {
			success, failing = "no ["+letter(why)+"]", failing+1
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", op, success, strings.Join(yes, ", "), strings.Join(no, ", "))
	}
	fmt.Fprintf(&b, "\n%d operations, %d of which succeed; %d errors in all, %d of them shown. Reasons:\n\n", len(model), len(model)-failing, pairs, shown)
	for i, why := range order {
		fmt.Fprintf(&b, "%d. %s\n", i+1, why)
	}
	b.WriteString(absentMembers(t, k))
	return b.String()
}
