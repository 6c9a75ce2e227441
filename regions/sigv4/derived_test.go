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
func (d *derivedKeys) cached(c Credential, generation uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keys.Contains(derivedKey{c, generation})
}

// A derived key belongs to one secret, one day and one Region, and is found again.
func TestDerivedKeysAreApart(t *testing.T) {
	t.Parallel()
	d := derivedKeysOf(t, 16)
	a := d.get(scope("A", "us-east-2"), Key{Secret: []byte("one"), Generation: 1})
	if b := d.get(scope("A", "us-east-2"), Key{Secret: []byte("ignored on a hit"), Generation: 1}); a != b {
		t.Error("the second look-up derived again")
	}
	for name, b := range map[string][32]byte{
		"another generation": d.get(scope("A", "us-east-2"), Key{Secret: []byte("two"), Generation: 2}),
		"another region":     d.get(scope("A", "us-west-1"), Key{Secret: []byte("one"), Generation: 1}),
		"another day": d.get(Credential{AccessKeyID: "A", Date: "20261123", Region: "us-east-2", Service: "kms"},
			Key{Secret: []byte("one"), Generation: 1}),
	} {
		if a == b {
			t.Errorf("%s has the same key", name)
		}
	}
}

func TestForgetIsExact(t *testing.T) {
	t.Parallel()
	d := derivedKeysOf(t, 16)
	for _, id := range []string{"A", "B"} {
		for _, region := range []string{"us-east-2", "us-west-1"} {
			for generation := range uint64(2) {
				d.get(scope(id, region), Key{Secret: []byte("s"), Generation: generation})
			}
		}
	}
	d.forget("A")
	for _, region := range []string{"us-east-2", "us-west-1"} {
		for generation := range uint64(2) {
			if d.cached(scope("A", region), generation) {
				t.Errorf("A in %s, generation %d, is still there", region, generation)
			}
			if !d.cached(scope("B", region), generation) {
				t.Errorf("B in %s, generation %d, is gone", region, generation)
			}
		}
	}
}

// A key that was being derived while its access key was forgotten does not come back.
func TestForgetWhileDeriving(t *testing.T) {
	t.Parallel()
	d := derivedKeysOf(t, 16)
	name := derivedKey{scope("A", "us-east-2"), 1}
	_, _, epoch := d.lookup(name)
	d.forget("A")
	d.insert(name, derive(name.Credential, []byte("s")), epoch)
	if d.cached(name.Credential, 1) {
		t.Error("a forgotten key came back")
	}
	_, _, epoch = d.lookup(name)
	d.insert(name, derive(name.Credential, []byte("s")), epoch)
	if !d.cached(name.Credential, 1) {
		t.Error("and can never come back")
	}
}

func TestDerivedKeysAreBounded(t *testing.T) {
	t.Parallel()
	d := derivedKeysOf(t, 8)
	for i := range 100 {
		d.get(scope(fmt.Sprint(i), "us-east-2"), Key{Secret: []byte("s")})
	}
	if n := d.keys.Len(); n != 8 {
		t.Errorf("%d keys kept, want 8", n)
	}
	if !d.cached(scope("99", "us-east-2"), 0) || d.cached(scope("91", "us-east-2"), 0) {
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
