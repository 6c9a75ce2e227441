package regions_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/regionstest"
	"antipode/regions/store/storetest"
)

// A commit or a call of the token that fails in an import of material that is to wait, in its rotation or its deletion,
// before or after it had its effect: the key has its old current material or the new one, both whole, and the call can be
// repeated.
func TestRotateImportedFaults(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, c := range []struct {
		during, op string
		apply      bool
	}{
		{"import", "update", false},
		{"import", "update", true},
		{"import", "UnwrapOAEP", true},
		{"import", "Wrap", true},
		{"rotate", "update", false},
		{"rotate", "update", true},
		{"delete", "update", false},
		{"delete", "update", true},
	} {
		t.Run(fmt.Sprint(c.during, c.op, c.apply), func(t *testing.T) {
			t.Parallel()
			var armed atomic.Bool
			hook := func(op string) (bool, error) {
				if op == c.op && armed.CompareAndSwap(true, false) {
					return c.apply, broken
				}
				return false, nil
			}
			f := regionstest.Open(t, "us-east-2",
				regionstest.WithStore(func(s regions.Store) regions.Store { return storetest.Faulty(s, hook) }),
				regionstest.WithToken(func(tok hsmbackend.Token) hsmbackend.Token { return hsmtest.Faulty(tok, hook) }))
			base := hsmtest.SessionObjects(t, f.Token)
			o := newOutside(t, f, "a", "b")
			a := o.bring(t, "a", "")
			blob := f.Encrypt(t, o.key.KeyID, []byte("x"))
			// at arms the fault for a call and returns what it answered.
			at := func(during string, call func() error) error {
				armed.Store(c.during == during)
				err := call()
				if armed.Swap(false) && c.during == during {
					t.Error("the fault was not met")
				}
				return err
			}
			if err := at("import", func() error { return o.try(t, o.input("b", newKind)) }); err != nil != (c.during == "import") {
				t.Errorf("import: %v", err)
			}
			b := o.bring(t, "b", newKind) // again, whatever it answered
			err := at("rotate", func() error { return o.rotate(t) })
			f.Reopen(t)
			current := describe(t, f, o.key.KeyID).CurrentKeyMaterialID
			switch {
			case err == nil && current != b, err != nil && current != a, (err == nil) != (c.during != "rotate" || c.apply):
				t.Errorf("rotated: %v, and %s is current of %s and %s", err, current, a, b)
			case err != nil:
				rotateOnDemand(t, f, o.key.KeyID)
			}
			o.wantList(t, "NON_CURRENT IMPORTED a", "CURRENT IMPORTED b")
			opens(t, f, blob, "x", a)
			opens(t, f, f.Encrypt(t, o.key.KeyID, []byte("y")), "y", b)
			if events := rotationEvents(t, f); events[len(events)-1].ErrorCode != "" {
				t.Errorf("the last event is %+v", events[len(events)-1])
			}
			o.wrapped["c"] = hsmtest.WrapByOpenSSL(t, o.params.PublicKey, "RSAES_OAEP_SHA_1", newMaterial(t))
			third := o.bring(t, "c", newKind)
			err = at("delete", func() error {
				_, err := regionstest.Call[unimported](t, f, "DeleteImportedKeyMaterial", &regions.DeleteImportedKeyMaterialInput{KeyID: o.key.KeyID, KeyMaterialID: third})
				return err
			})
			if err != nil != (c.during == "delete") {
				t.Errorf("delete: %v", err)
			}
			if c.during == "delete" && !c.apply {
				o.drop(t, third)
			}
			o.wantList(t, "NON_CURRENT IMPORTED a", "CURRENT IMPORTED b")
			if n := countMaterials(t, f, o.key.KeyID); n != 2 {
				t.Errorf("%d materials", n)
			}
			o.drop(t, a)
			o.drop(t, b)
			if n := hsmtest.SessionObjects(t, f.Token); n != base {
				t.Errorf("%d objects are left", n-base)
			}
		})
	}
}

// A process that ends after the commit of a rotation of imported material and before its outcome: the next start closes the
// intent as the success that it was.
func TestRotateImportedCutOff(t *testing.T) {
	t.Parallel()
	reached, never := make(chan struct{}), make(chan struct{})
	var armed atomic.Bool
	f := regionstest.Open(t, "us-east-2",
		regionstest.WithStore(func(s regions.Store) regions.Store { return stuckAfter{s, &armed, reached, never} }))
	o := newOutside(t, f, "a", "b")
	o.bring(t, "a", "")
	b := o.bring(t, "b", newKind)
	armed.Store(true)
	region := f.Region
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = regionstest.Do(t.Context(), region, f.Admin, "RotateKeyOnDemand", &regions.KeyInput{KeyID: o.key.KeyID}) // cut off
	}()
	<-reached
	f.Close(t)
	close(never)
	<-done
	if err := f.TryOpen(t); err != nil {
		t.Fatal(err)
	}
	o.wantList(t, "NON_CURRENT IMPORTED a", "CURRENT IMPORTED b")
	events := rotationEvents(t, f)
	if len(events) != 1 || events[0].ErrorCode != "" {
		t.Fatalf("recorded %+v", events)
	}
	if id, _ := events[0].ServiceEventDetails.Text("currentKeyMaterialId"); id != b {
		t.Errorf("recorded %s, want %s", id, b)
	}
}

// What was true of pending material and is not, put back into the store with its own MAC, or half of it taken away: the key
// answers nothing.
func TestPendingStoreAttacker(t *testing.T) {
	t.Parallel()
	of := func(v *vandal, kind regions.RecordKind, sub string) (out regions.Record) {
		recs, err := v.tx.List(v.t.Context(), regions.Query{Kind: kind, ID: v.a})
		if err != nil {
			v.t.Fatal(err)
		}
		for _, rec := range recs {
			if sub == "" || rec.Sub == sub {
				return rec
			}
		}
		v.t.Fatalf("no record %s %s", kind, sub)
		return out
	}
	for name, alter := range map[string]func(v *vandal, pending string, before map[regions.RecordKind]regions.Record){
		"the import record of before the rotation": func(v *vandal, _ string, before map[regions.RecordKind]regions.Record) {
			v.put(before[regions.KindImported])
		},
		"the key of before the rotation": func(v *vandal, _ string, before map[regions.RecordKind]regions.Record) {
			v.put(before[regions.KindKey])
		},
		"the pending material taken away": func(v *vandal, pending string, _ map[regions.RecordKind]regions.Record) {
			if err := v.tx.Delete(v.t.Context(), of(v, regions.KindMaterial, pending).RecordKey); err != nil {
				v.t.Fatal(err)
			}
		},
		"said to be pending no more": func(v *vandal, pending string, _ map[regions.RecordKind]regions.Record) {
			edit(v, of(v, regions.KindImported, pending), func(i *regions.ImportedMaterial) { i.Pending = false })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := regionstest.Open(t, "us-east-2")
			o := newOutside(t, f, "a", "b", "c")
			v := &vandal{t: t, a: o.key.KeyID}
			o.bring(t, "a", "")
			b := o.bring(t, "b", newKind)
			before := map[regions.RecordKind]regions.Record{}
			f.Close(t)
			tamper(t, f.StorePath, func(tx regions.Tx) {
				v.tx = tx
				before[regions.KindImported], before[regions.KindKey] = of(v, regions.KindImported, b), of(v, regions.KindKey, "")
			})
			if err := f.TryOpen(t); err != nil {
				t.Fatal(err)
			}
			rotateOnDemand(t, f, o.key.KeyID)
			c := ""
			if !strings.HasSuffix(name, "of before the rotation") { // there nothing else is wrong
				c = o.bring(t, "c", newKind)
			}
			blob := f.Encrypt(t, o.key.KeyID, []byte("x"))
			f.Close(t)
			tamper(t, f.StorePath, func(tx regions.Tx) { v.tx = tx; alter(v, c, before) })
			if err := f.TryOpen(t); err != nil {
				t.Fatal(err)
			}
			for op, in := range map[string]any{
				"Encrypt": &regions.EncryptInput{KeyID: o.key.KeyID, Plaintext: []byte("x")}, "Decrypt": &regions.DecryptInput{CiphertextBlob: blob},
				"RotateKeyOnDemand": &regions.KeyInput{KeyID: o.key.KeyID}, "DescribeKey": &regions.DescribeKeyInput{KeyID: o.key.KeyID},
			} {
				_, err := regionstest.Do(t.Context(), f.Region, f.Admin, op, in)
				wantError(t, op, err, "KMSInternalException", "")
			}
		})
	}
}

// Imports, deletions and rotations in any order, against a model: which materials the key is bound to, which are there, which
// one waits, and which one encrypts.
func TestRotateImportedModel(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	f := regionstest.Open(t, "us-east-2")
	names := []string{"a", "b", "c", "d", "e"}
	o := newOutside(t, f, names...)
	var bound []string // by name, the last one encrypts
	pending := ""
	there, ids, blobs := map[string]bool{}, map[string]string{}, map[string][]byte{}
	complete := func() bool {
		return len(bound) > 0 && !slices.ContainsFunc(bound, func(n string) bool { return !there[n] })
	}
	for step := range 120 {
		name := names[rng.IntN(len(names))]
		what, want, err := "", "", error(nil)
		switch rng.IntN(8) {
		case 0, 1, 2:
			what = "new " + name
			switch {
			case slices.Contains(bound, name):
				want = "IncorrectKeyMaterialException"
			case pending != "" && pending != name:
				want = "KMSInvalidStateException"
			}
			if err = o.try(t, o.input(name, newKind)); err == nil {
				if there[name] = true; len(bound) == 0 {
					bound = []string{name}
				} else {
					pending = name
				}
			}
		case 3, 4:
			what = "existing " + name
			if !slices.Contains(bound, name) && pending != name {
				want = "IncorrectKeyMaterialException"
			}
			if err = o.try(t, o.input(name, existingKind)); err == nil {
				there[name] = true
			}
		case 5:
			if ids[name] == "" {
				continue
			}
			what = "delete " + name
			if !slices.Contains(bound, name) && pending != name {
				want = "NotFoundException"
			}
			_, err = regionstest.Call[unimported](t, f, "DeleteImportedKeyMaterial", &regions.DeleteImportedKeyMaterialInput{KeyID: o.key.KeyID, KeyMaterialID: ids[name]})
			if err == nil {
				if there[name] = false; pending == name {
					pending = ""
				}
			}
		case 6:
			what = "rotate"
			if !complete() || pending == "" {
				want = "KMSInvalidStateException"
			}
			if err = o.rotate(t); err == nil {
				bound, pending = append(bound, pending), ""
			}
		case 7:
			what = "reopen"
			f.Reopen(t)
		}
		var api *regions.Error
		if errors.As(err, &api); (err == nil) != (want == "") || err != nil && (api == nil || api.Code != want) {
			t.Fatalf("seed %d, step %d, %s: %v, want %q", seed, step, what, err, want)
		}
		var list []string
		for _, e := range history(t, f, o.key.KeyID) {
			ids[e.KeyMaterialDescription] = e.KeyMaterialID
			list = append(list, e.KeyMaterialState+" "+e.ImportState+" "+e.KeyMaterialDescription)
		}
		var model []string
		for i, n := range bound {
			state, is := "NON_CURRENT", "PENDING_IMPORT"
			if i == len(bound)-1 {
				state = "CURRENT"
			}
			if there[n] {
				is = "IMPORTED"
			}
			model = append(model, state+" "+is+" "+n)
		}
		if pending != "" {
			model = append(model, "PENDING_ROTATION IMPORTED "+pending)
		}
		state := regions.StatePendingImport
		if complete() {
			state = regions.StateEnabled
			current := bound[len(bound)-1]
			if blobs[current] == nil {
				blobs[current] = f.Encrypt(t, o.key.KeyID, []byte(current))
			}
			for n, blob := range maps.All(blobs) {
				opens(t, f, blob, n, ids[n])
			}
		}
		if d := describe(t, f, o.key.KeyID); d.KeyState != state || !slices.Equal(list, model) {
			t.Fatalf("seed %d, step %d, %s: %s %q, want %s %q", seed, step, what, d.KeyState, list, state, model)
		}
	}
	t.Logf("bound to %q", bound)
}
