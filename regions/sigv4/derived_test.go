package sigv4

import (
	"fmt"
	"sync"
	"testing"
)

func scope(id, region string) Credential {
	return Credential{AccessKeyID: id, Date: "20261122", Region: region, Service: "kms"}
}

func derivedKeysOf(t *testing.T, size int) *derivedKeys {
	t.Helper()
	d, err := newDerivedKeys(size)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// cached reports whether the key is in the cache, without making it.
func (d *derivedKeys) cached(c Credential, key Key) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys.Contains(nameOf(c, key))
}

func keyOf(secret string, generation uint64) Key {
	return Key{Secret: []byte(secret), Generation: generation}
}

// A derived key belongs to one secret, one generation, one day and one Region, and is found again.
func TestDerivedKeysAreApart(t *testing.T) {
	t.Parallel()
	d := derivedKeysOf(t, 16)
	here, tomorrow := scope("A", "us-east-2"), scope("A", "us-east-2")
	tomorrow.Date = "20261123"
	a := d.get(here, keyOf("one", 1))
	if b := d.get(here, keyOf("one", 1)); a != b || d.keys.Len() != 1 {
		t.Errorf("the second look-up derived again: %d kept", d.keys.Len())
	}
	// What is in the cache is what is used.
	var planted [32]byte
	planted[0] = 1
	d.insert(nameOf(here, keyOf("one", 1)), planted, 0)
	if d.get(here, keyOf("one", 1)) != planted {
		t.Error("the cache is not used")
	}
	for name, b := range map[string][32]byte{
		"another secret, the generation not raised": d.get(here, keyOf("two", 1)),
		"another generation":                        d.get(here, keyOf("one", 2)),
		"another region":                            d.get(scope("A", "us-west-1"), keyOf("one", 1)),
		"another day":                               d.get(tomorrow, keyOf("one", 1)),
	} {
		if b == planted {
			t.Errorf("%s is given the same key", name)
		}
	}
}

func TestForgetIsExact(t *testing.T) {
	t.Parallel()
	d := derivedKeysOf(t, 16)
	for _, id := range []string{"A", "B"} {
		for _, region := range []string{"us-east-2", "us-west-1"} {
			for generation := range uint64(2) {
				d.get(scope(id, region), keyOf("s", generation))
			}
		}
	}
	d.forget("A")
	for _, region := range []string{"us-east-2", "us-west-1"} {
		for generation := range uint64(2) {
			if d.cached(scope("A", region), keyOf("s", generation)) {
				t.Errorf("A in %s, generation %d, is still there", region, generation)
			}
			if !d.cached(scope("B", region), keyOf("s", generation)) {
				t.Errorf("B in %s, generation %d, is gone", region, generation)
			}
		}
	}
}

// A key that was being derived while its access key was forgotten does not come back.
func TestForgetWhileDeriving(t *testing.T) {
	t.Parallel()
	d := derivedKeysOf(t, 16)
	name := nameOf(scope("A", "us-east-2"), keyOf("s", 1))
	_, _, epoch := d.lookup(name)
	d.forget("A")
	d.insert(name, derive(name.Credential, []byte("s")), epoch)
	if d.cached(name.Credential, keyOf("s", 1)) {
		t.Error("a forgotten key came back")
	}
	_, _, epoch = d.lookup(name)
	d.insert(name, derive(name.Credential, []byte("s")), epoch)
	if !d.cached(name.Credential, keyOf("s", 1)) {
		t.Error("and can never come back")
	}
}

func TestDerivedKeysAreBounded(t *testing.T) {
	t.Parallel()
	d := derivedKeysOf(t, 8)
	for i := range 100 {
		d.get(scope(fmt.Sprint(i), "us-east-2"), keyOf("s", 0))
	}
	if n := d.keys.Len(); n != 8 {
		t.Errorf("%d keys kept, want 8", n)
	}
	if !d.cached(scope("99", "us-east-2"), keyOf("s", 0)) || d.cached(scope("91", "us-east-2"), keyOf("s", 0)) {
		t.Error("not the least recently used left")
	}
}

// Under -race: look-ups and forgetting at once, and every key is right.
func TestDerivedKeysConcurrently(t *testing.T) {
	t.Parallel()
	d := derivedKeysOf(t, 4)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				id := fmt.Sprint((i + n) % 6)
				if got, want := d.get(scope(id, "us-east-2"), Key{Secret: []byte(id)}), derive(scope(id, "us-east-2"), []byte(id)); got != want {
					t.Errorf("key of %s is wrong", id)
				}
				if n%10 == 0 {
					d.forget(id)
				}
			}
		})
	}
	wg.Wait()
}
