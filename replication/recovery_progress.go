package replication

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"antipode/regions"
	"antipode/regions/keyset"
	"antipode/replication/wire"
)

// recovery is how far a recovery has come, in memory: who has answered, what is missing and who has it.
type recovery struct {
	mu      sync.Mutex
	since   int64 // of the recovery that this is about
	peers   map[string]*peerAsked
	needs   map[wire.Cursor]*need
	holders map[string]regions.Holder // replicas of this Region's primaries
}

// peerAsked is one Region that is asked.
type peerAsked struct {
	done  bool
	fault error
	tries int
	next  time.Time
}

// need is a key of which something is missing here.
type need struct {
	best     regions.Shared // the highest state named
	state    keyset.State   // what best says
	missing  []string       // ids of materials
	holders  []holder
	tries    int
	next     time.Time
	attained bool // something came; look again
	fault    error
}

// holder is a Region that has named the key.
type holder struct {
	region    string
	state     keyset.State
	materials []string
}

func newRecovery() *recovery {
	return &recovery{peers: map[string]*peerAsked{}, needs: map[wire.Cursor]*need{}, holders: map[string]regions.Holder{}}
}

// begin brings the list of Regions up to date: those in the roster that are not excused. Another recovery begins afresh.
func (r *recovery) begin(rec regions.Recovery, others []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since != rec.Since {
		r.since = rec.Since
		clear(r.peers)
		clear(r.needs)
		clear(r.holders)
	}
	count := func(name string) bool { return slices.Contains(others, name) && !slices.Contains(rec.Without, name) }
	for _, name := range others {
		if _, there := r.peers[name]; !there && count(name) {
			r.peers[name] = &peerAsked{}
		}
	}
	maps.DeleteFunc(r.peers, func(name string, _ *peerAsked) bool { return !count(name) })
	// What only excused Regions have named is given up.
	maps.DeleteFunc(r.needs, func(_ wire.Cursor, d *need) bool {
		d.holders = slices.DeleteFunc(d.holders, func(h holder) bool { return !count(h.region) })
		return len(d.holders) == 0
	})
}

// toAsk returns the Regions that are to be asked now.
func (r *recovery) toAsk(now time.Time) (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, p := range r.peers {
		if !p.done && !now.Before(p.next) {
			names = append(names, name)
		}
	}
	return names
}

// asked notes how it went; nil is a full answer.
func (r *recovery) asked(name string, now time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, there := r.peers[name]; there {
		p.done, p.fault, p.next = err == nil, err, now.Add(wait(p.tries))
		p.tries++
	}
}

// member notes what a Region that holds a replica of a primary of this Region says that it holds.
func (r *recovery) member(h regions.Holder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holders[h.Account+"/"+h.KeyID+"/"+h.Region] = h
}

func (r *recovery) members() []regions.Holder {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.holders))
}

// need notes that a Region named a key of which something is missing here.
func (r *recovery) need(at wire.Cursor, sent regions.Shared, st regions.Standing, missing, has []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, there := r.needs[at]
	if !there {
		d = &need{best: sent, state: st.Sent}
		r.needs[at] = d
	}
	if keyset.Newer(st.Sent, d.state) {
		d.best, d.state = sent, st.Sent
	}
	for _, id := range missing {
		if !slices.Contains(d.missing, id) {
			d.missing = append(d.missing, id)
		}
	}
	d.holders = slices.DeleteFunc(d.holders, func(h holder) bool { return h.region == sent.From })
	d.holders = append(d.holders, holder{region: sent.From, state: st.Sent, materials: has})
}

// leave crosses a key off.
func (r *recovery) leave(at wire.Cursor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.needs, at)
}

// wants reports whether the key is missing here and was asked for.
func (r *recovery) wants(account, keyID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, there := r.needs[wire.Cursor{Account: account, KeyID: keyID}]
	return there
}

// arrived notes that something of the key has come.
func (r *recovery) arrived(account, keyID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d, there := r.needs[wire.Cursor{Account: account, KeyID: keyID}]; there {
		d.attained = true
	}
}

// lack is a key to look after now, with the Region to ask for it.
type lack struct {
	place  wire.Cursor
	best   regions.Shared
	holder string
	state  keyset.State // of the holder
}

// behind reports whether the holder's state is lower than the one held here.
func (l lack) behind(held keyset.State) bool { return keyset.Newer(held, l.state) }

// due returns keys to look after now, in order.
func (r *recovery) due(now time.Time, limit int) (list []lack) {
	r.mu.Lock()
	defer r.mu.Unlock()
	places := slices.SortedFunc(maps.Keys(r.needs), wire.Cursor.Compare)
	for _, at := range places {
		d := r.needs[at]
		if now.Before(d.next) && !d.attained {
			continue
		}
		if len(list) == limit {
			break
		}
		d.attained = false
		h := d.choose()
		list = append(list, lack{place: at, best: d.best, holder: h.region, state: h.state})
	}
	return list
}

// choose takes the holders in turn, first the one with the highest state and most of what is missing.
func (d *need) choose() holder {
	useful := func(h holder) (n int) {
		for _, id := range d.missing {
			if slices.Contains(h.materials, id) {
				n++
			}
		}
		return n
	}
	slices.SortFunc(d.holders, func(a, b holder) int {
		newer := 0
		switch {
		case keyset.Newer(a.state, b.state):
			newer = -1
		case keyset.Newer(b.state, a.state):
			newer = 1
		}
		return cmp.Or(newer, cmp.Compare(useful(b), useful(a)), strings.Compare(a.region, b.region))
	})
	return d.holders[d.tries%len(d.holders)]
}

// satisfied reports whether all that was missing of a key is among held.
func (r *recovery) satisfied(at wire.Cursor, held []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, there := r.needs[at]
	return !there || !slices.ContainsFunc(d.missing, func(id string) bool { return !slices.Contains(held, id) })
}

// wanted notes that a Region was asked for a key.
func (r *recovery) wanted(at wire.Cursor, now time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d, there := r.needs[at]; there {
		d.fault, d.next = err, now.Add(wait(d.tries))
		d.tries++
	}
}

// giveUp crosses off what nobody can bring: once every Region has answered in full, a pending material that none of them
// holds. It was never used, as a material is pending until every member holds it.
func (r *recovery) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.peers {
		if !p.done {
			return
		}
	}
	maps.DeleteFunc(r.needs, func(_ wire.Cursor, d *need) bool {
		pending, is := d.state.Pending()
		return is && len(d.missing) == 1 && d.missing[0] == pending.ID &&
			!slices.ContainsFunc(d.holders, func(h holder) bool { return slices.Contains(h.materials, pending.ID) })
	})
}

// complete reports whether every Region has answered in full and all that they named is here.
func (r *recovery) complete() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.peers {
		if !p.done {
			return false
		}
	}
	return len(r.needs) == 0
}

// names are the Regions that are asked, in order.
func (r *recovery) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.peers))
}

// waits says what the recovery waits for: short for anybody, full for the operator.
func (r *recovery) waits() (short string, full []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(r.peers)) {
		if p := r.peers[name]; !p.done {
			parts = append(parts, name)
			why := "has not answered in full"
			if p.fault != nil {
				why += ": " + p.fault.Error()
			}
			full = append(full, name+" "+why)
		}
	}
	if len(r.needs) > 0 {
		parts = append(parts, plural(len(r.needs), "key"))
	}
	for _, at := range slices.SortedFunc(maps.Keys(r.needs), wire.Cursor.Compare) {
		if len(full) >= maxWaits {
			full = append(full, "and more")
			break
		}
		d := r.needs[at]
		line := "key " + at.KeyID + " of account " + at.Account + ", which is at"
		for _, h := range d.holders {
			line += " " + h.region
		}
		if d.fault != nil {
			line += ": " + d.fault.Error()
		}
		full = append(full, line)
	}
	return strings.Join(parts, ", "), full
}

// maxWaits bounds what the operator is told at once.
const maxWaits = 32
