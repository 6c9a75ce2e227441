package simtest_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"antipode/regions"
	"antipode/regions/keyset"
)

// Scenarios with names. Each line is a step, and after each everything is checked that the random simulation checks. a, b and
// c are the Regions; a makes the key, encrypts something with it, and is the first primary. "fails CODE" after a step says
// that the call is answered with that error.
var scenarios = map[string]string{
	"several replicas, and one that comes again": `
		replicate b by a; replicate c by a; settle; members a b c
		delete b; wait 8d; settle; members a c; replicate b by a; settle; members a b c; open`,
	"a replica is asked for while its Region is away": `
		cut a b; replicate b by a fails DependencyTimeoutException; members a; join a b; replicate b by a; settle; members a b; open`,
	"a change travels to a Region that was away": `
		replicate b by a; replicate c by a; settle; cut a c; cut b c; delete b; wait 8d; tick a; tick b; tick a; members a c
		join a c; join b c; settle; members a c; open`,
	"a rotation waits for a Region that is away": `
		replicate b by a; replicate c by a; settle; cut a c; rotate by a; tick a; tick b; pending; encrypt a; encrypt b; encrypt c
		wait 1h; tick a; pending; join a c; settle; rotated; encrypt c; open`,
	"a rotation goes on when the Region that it waits for has left": `
		replicate b by a; replicate c by a; settle; delete c; cut a c; rotate by a; tick a; tick b; pending
		wait 8d; tick c; join a c; settle; members a b; rotated; open`,
	"a replica joins while material is pending": `
		replicate b by a; settle; cut a b; rotate by a; pending; replicate c by a; tick a; pending; join a b; settle; rotated; members a b c; open`,
	"a second rotation while one is pending": `
		replicate b by a; settle; cut a b; rotate by a; rotate by a fails ConflictException; join a b; settle; rotated; open`,
	"the primary ends between the two steps of a rotation": `
		replicate b by a; settle; cut a b; rotate by a; kill a; join a b; settle; rotated; open`,
	"a replica comes again, and gets new material": `
		replicate b by a; settle; delete b; wait 8d; settle; replicate b by a; settle; rotate by a; settle; rotated; encrypt b; open`,
	"a rotation is asked of a replica": `
		replicate b by a; settle; rotate by b fails UnsupportedOperationException; open`,
	"the primary moves around, and each one rotates": `
		replicate b by a; replicate c by a; settle; primary b by a; settle; acts b; rotate by b; settle; rotated
		primary c by b; settle; acts c; rotate by c; settle; primary a by c; settle; acts a; rotate by a; settle; open`,
	"the primary moves while another replica is away": `
		replicate b by a; replicate c by a; settle; cut a c; cut b c; primary b by a; tick a; tick b; acts b; encrypt c
		join a c; join b c; settle; acts b; rotate by b; settle; rotated; open`,
	"the primary is not moved to a Region that is away": `
		replicate b by a; settle; cut a b; primary b by a fails DependencyTimeoutException; acts a; join a b; primary b by a; settle; acts b; open`,
	"the old primary is deleted": `
		replicate b by a; settle; primary b by a; settle; delete a; wait 8d; settle; members b; rotate by b; settle; open`,
	"the primary goes last": `
		replicate b by a; settle; delete a; wait 40d; settle; members a b; delete b; wait 8d; settle; members a; wait 8d; settle; gone`,
	"the primary is restored to before a rotation": `
		replicate b by a; settle; backup a; rotate by a; settle; rotated; encrypt a; encrypt b; restore a; encrypt a; settle; rotated; open`,
	"the primary is restored to before it moved": `
		replicate b by a; settle; backup a; primary b by a; settle; rotate by b; settle; restore a; settle; acts b; rotated; open`,
	"a replica is restored to before it was made": `
		backup b; replicate b by a; settle; rotate by a; settle; encrypt b; restore b; settle; members a b; open`,
	"a replica is restored to before a rotation, and its primary rotates on": `
		replicate b by a; settle; backup b; rotate by a; settle; restore b; rotate by a; settle; open`,
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	for name, script := range scenarios {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSim(t, 3, 1)
			s.note("create")
			s.createIn(s.w.Region(s.names[0]))
			p := &play{sim: s}
			for _, one := range s.keys {
				p.k = one
			}
			s.note("encrypt a")
			p.do("encrypt a")
			for _, step := range strings.FieldsFunc(script, func(r rune) bool { return r == ';' || r == '\n' }) {
				if step = strings.TrimSpace(step); step == "" {
					continue
				}
				s.note("%s", step)
				p.do(step)
				if s.check(); len(s.broken) > 0 || t.Failed() {
					t.Fatal(s.story())
				}
			}
		})
	}
}

// play is a scenario that is being played.
type play struct {
	*sim
	k *known
}

// region is the full name of a, b or c.
func (p *play) region(letter string) string {
	i := strings.Index("abc", letter)
	if i < 0 || len(letter) != 1 {
		p.t.Fatalf("there is no Region %q", letter)
	}
	return p.names[i]
}

func (p *play) do(step string) {
	p.t.Helper()
	step, code, fails := strings.Cut(step, " fails ")
	verb, rest, _ := strings.Cut(step, " ")
	of, by, _ := strings.Cut(rest, " by ")
	call := func(letter, operation string, input any) {
		_, err := p.procs[p.region(letter)].r.Do(p.ctx, operation, input)
		switch {
		case fails && !errors.Is(err, &regions.Error{Code: code}):
			p.breaks("%s: %v, and not %s", step, err, code)
		case !fails && err != nil:
			p.breaks("%s: %v", step, err)
		}
	}
	switch verb {
	case "replicate":
		call(by, "ReplicateKey", &regions.ReplicateKeyInput{KeyID: p.k.id, ReplicaRegion: p.region(of)})
	case "rotate":
		call(strings.TrimPrefix(rest, "by "), "RotateKeyOnDemand", &regions.KeyInput{KeyID: p.k.id})
	case "primary":
		call(by, "UpdatePrimaryRegion", &regions.UpdatePrimaryRegionInput{KeyID: p.k.id, PrimaryRegion: p.region(of)})
	case "delete":
		days := 7
		call(of, "ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: p.k.id, PendingWindowInDays: &days})
	default:
		p.other(verb, strings.Fields(rest))
	}
}

// other does a step that is no call of the API.
func (p *play) other(verb string, args []string) {
	p.t.Helper()
	switch verb {
	case "cut":
		p.net.set(p.region(args[0]), p.region(args[1]), broken)
	case "join":
		p.net.set(p.region(args[0]), p.region(args[1]), whole)
	case "settle":
		p.w.Advance(10 * time.Minute)
		p.w.Settle(p.ctx)
	case "wait":
		p.w.Advance(p.duration(args[0]))
	case "tick":
		r := p.procs[p.region(args[0])].r
		for _, err := range []error{r.Region.DeleteDue(p.ctx), r.Region.RotateDue(p.ctx), r.Node.Tick(p.ctx)} {
			if err != nil {
				p.breaks("tick: %v", err)
			}
		}
	case "kill":
		proc := p.procs[p.region(args[0])]
		proc.start(p.t, proc.r.Restart)
	case "backup":
		name := p.region(args[0])
		p.backups[name] = p.procs[name].r.Backup(p.t)
	case "restore":
		name := p.region(args[0])
		proc := p.procs[name]
		proc.start(p.t, func(t testing.TB) { proc.r.Restore(t, p.backups[name]) })
		delete(p.k.highest, name)
	case "encrypt":
		p.encryptIn(p.region(args[0]), p.k)
	case "open":
		for _, name := range p.members(p.k) {
			p.open(name, p.k)
		}
	default:
		p.expect(verb, args)
	}
}

// expect checks how things stand.
func (p *play) expect(verb string, args []string) {
	p.t.Helper()
	state := p.highest(p.k)
	switch verb {
	case "members":
		var want, have []string
		for _, letter := range args {
			want = append(want, p.region(letter)+" Active")
		}
		for _, m := range state.Members {
			have = append(have, m.Region+" "+string(m.Status))
		}
		slices.Sort(want)
		if fmt.Sprint(want) != fmt.Sprint(have) {
			p.breaks("members are %v, not %v", have, want)
		}
	case "acts":
		if name, _ := p.primaryOf(p.k); name != p.region(args[0]) {
			p.breaks("%q acts as primary", name)
		}
	case "pending", "rotated":
		pending := false
		for _, m := range state.Materials {
			pending = pending || m.Status == keyset.Pending
		}
		if pending != (verb == "pending") || len(state.Materials) < 2 {
			p.breaks("materials are %+v", state.Materials)
		}
	case "gone":
		if state != nil {
			p.breaks("the key is there, at %v", stampOf(state))
		}
	default:
		p.t.Fatalf("there is no step %q", verb)
	}
}

func (p *play) duration(text string) time.Duration {
	p.t.Helper()
	if days, is := strings.CutSuffix(text, "d"); is {
		n, err := strconv.Atoi(days)
		if err != nil {
			p.t.Fatal(err)
		}
		return time.Duration(n) * 24 * time.Hour
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}
