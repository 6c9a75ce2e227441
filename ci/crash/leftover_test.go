package crash

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"antipode/hsmbackend/p11"
	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/canon"
	"antipode/regions/keyring"
	"antipode/regions/store"
	"antipode/softhsm"
)

// ownObjects is how many token objects a Region has for itself: the key-encryption key and two key pairs.
const ownObjects = 5

// settleWithin is some of the pauses that an exchange makes between attempts, of which the longest is 30 s.
const settleWithin = 3 * time.Minute

// settle gives two Regions time to finish what was open, and stops them: what a crash cut off finishes by itself once both
// Regions run. That takes a second, or on a loaded machine, where attempts failed and the pauses grew, a minute. To see
// whether it is done the Regions are stopped, which itself cuts exchanges off: so they have longer each time.
func settle(t *testing.T, p *pair, servers []*server) {
	t.Helper()
	end := time.Now().Add(settleWithin)
	for pause := time.Second; ; pause = min(2*pause, 32*time.Second) {
		for _, s := range servers {
			s.stop(t)
		}
		if openExchanges(t, p) == 0 || time.Now().After(end) {
			return
		}
		servers = []*server{p.start(t, home, ""), p.start(t, away, "")}
		time.Sleep(pause)
	}
}

func openExchanges(t *testing.T, p *pair) (n int) {
	t.Helper()
	for _, name := range []string{home, away} {
		view(t, filepath.Join(p.dir, name, "data", "store.db"), func(rd regions.Reader) error {
			for _, kind := range []regions.RecordKind{regions.KindSourceEx, regions.KindHandOver, regions.KindStanding} {
				due, err := rd.List(t.Context(), regions.Query{Kind: kind, DueBy: 1<<62 - 1})
				if err != nil {
					return err
				}
				n += len(due)
			}
			return nil
		})
	}
	return n
}

// view reads the store of a Region that does not run.
func view(t *testing.T, path string, fn func(regions.Reader) error) {
	t.Helper()
	db, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.View(t.Context(), fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// checkFolders looks into the folders of two Regions that were stopped: the audit logs verify, nothing is open in the
// stores, and the tokens hold an object for each key with storage TOKEN and nothing that nobody knows.
func checkFolders(t *testing.T, p *pair, point string) {
	t.Helper()
	for _, name := range []string{home, away} {
		checkFolder(t, p, name, point)
	}
}

func checkFolder(t *testing.T, p *pair, name, point string) {
	t.Helper()
	data := filepath.Join(p.dir, name, "data")
	if _, err := audit.Verify(t.Context(), filepath.Join(data, "audit")); err != nil {
		t.Errorf("%s: audit log of %s: %v", point, name, err)
	}
	made, err := softhsm.Open(filepath.Join(p.dir, name, "token"))
	if err != nil {
		t.Fatal(err)
	}
	token, err := p11.Open(t.Context(), made.Config(zerolog.Nop()))
	if err != nil {
		t.Fatal(err)
	}
	_, objects, err := token.CountObjects(t.Context())
	if closeErr := token.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
	want := ownObjects + 2*p.furtherRSKs(t, name) + tokenKeys(t, filepath.Join(data, "store.db"), point)
	if objects != want {
		t.Errorf("%s: the token of %s holds %d objects, %d are accounted for", point, name, objects, want)
	}
}

// tokenKeys counts the keys with storage TOKEN in a store, and complains of what should not be left in it.
func tokenKeys(t *testing.T, path, point string) (n int) {
	t.Helper()
	view(t, path, func(rd regions.Reader) (err error) {
		if n, err = countTokenKeys(t.Context(), rd); err != nil {
			return err
		}
		left, err := rd.List(t.Context(), regions.Query{Kind: regions.KindTokenKey})
		if len(left) > 0 {
			t.Errorf("%s: %d token keys were begun and not settled", point, len(left))
		}
		if err != nil {
			return err
		}
		due, err := rd.List(t.Context(), regions.Query{Kind: regions.KindSourceEx, DueBy: 1<<62 - 1})
		if len(due) > 0 {
			t.Errorf("%s: %d exchanges are still open at the source", point, len(due))
		}
		if err != nil {
			return err
		}
		moving, err := rd.List(t.Context(), regions.Query{Kind: regions.KindHandOver})
		if len(moving) > 0 {
			t.Errorf("%s: %d primaries are still being handed over", point, len(moving))
		}
		if err != nil {
			return err
		}
		unsent, err := rd.List(t.Context(), regions.Query{Kind: regions.KindStanding, DueBy: 1<<62 - 1})
		if len(unsent) > 0 {
			t.Errorf("%s: %d states are still to be sent", point, len(unsent))
		}
		return err
	})
	return n
}

func countTokenKeys(ctx context.Context, rd regions.Reader) (n int, err error) {
	recs, err := rd.List(ctx, regions.Query{Kind: regions.KindMaterial})
	if err != nil {
		return 0, err
	}
	for _, rec := range recs {
		var m regions.MaterialRecord
		if err := canon.Unmarshal(rec.Body, &m); err != nil {
			return 0, err
		}
		if m.Storage == keyring.StorageToken {
			n++
		}
	}
	return n, nil
}

// hasKey reports whether the store at path has a key.
func hasKey(t *testing.T, path, id string) (found bool) {
	t.Helper()
	view(t, path, func(rd regions.Reader) error {
		recs, err := rd.List(t.Context(), regions.Query{Kind: regions.KindKey})
		for _, rec := range recs {
			found = found || rec.ID == id
		}
		return err
	})
	return found
}
