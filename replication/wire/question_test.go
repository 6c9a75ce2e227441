package wire_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"antipode/regions/canon"
	"antipode/regions/keyset"
	"antipode/replication/wire"
)

// questions are fixed messages outside the replication of newExchange: a supply's offer, and each question with its
// answer.
type questions struct {
	supply  *wire.Offer
	sync    *wire.Sync
	syncAck *wire.SyncAck
	want    *wire.Want
	wantAck *wire.WantAck
	know    *wire.Know
	known   *wire.Known
	gone    *wire.Gone
	goneAck *wire.GoneAck
	// A hand-over, its answer, and a refusal that shows what the sender does not know.
	handOver    *wire.HandOver
	handOverAck *wire.HandOverAck
	notPrimary  *wire.Refusal
	// The comparison of two Regions that differ, and of one bucket, with their answers.
	compare, compareBucket   *wire.Compare
	compared, comparedBucket *wire.Compared
	// The request for identities, and a page that answers it.
	ids  *wire.IdentityRequest
	page *wire.IdentityExport

	syncData, wantData, knowData, goneData, handOverData, compareData, compareBucketData []byte
}

func newQuestions(t testing.TB) *questions {
	t.Helper()
	x := newExchange(t)
	q := &questions{}
	q.ids, q.page = newIdentities(t, x)
	offer := *x.offer
	offer.Purpose, offer.Principal, offer.Policy, offer.Description, offer.Tags = wire.PurposeSupply, "", "", "", nil
	offer.State, offer.Chain = x.transfer.State, x.transfer.Chain
	q.supply = &offer
	route := x.offer.Route
	q.sync = &wire.Sync{
		Route: route, Account: x.offer.Account, KeyID: keyID, State: x.transfer.State, Chain: x.transfer.Chain,
		Receipt: []byte("receipt"),
	}
	q.syncData = question(t, x, "sync.txt", q.sync)
	q.syncAck = &wire.SyncAck{
		Route: route.Answer(4), Sync: wire.Hash(q.syncData), Epoch: keyset.First(), Sequence: 7,
		Incarnation: fill[[16]byte](0x44), Materials: []string{strings.Repeat("a", 64)},
	}
	q.want = &wire.Want{Route: route, Account: x.offer.Account, KeyID: keyID, Materials: []string{strings.Repeat("a", 64)}}
	q.wantData = question(t, x, "want.txt", q.want)
	q.wantAck = &wire.WantAck{Route: route.Answer(4), Want: wire.Hash(q.wantData), Supply: fill[[16]byte](0x55)}
	q.know = &wire.Know{
		Route: route, After: wire.Cursor{Account: x.offer.Account, KeyID: "mrk-" + strings.Repeat("0", 32)}, Limit: 2,
		States: true, Nonce: fill[[32]byte](0x66),
	}
	q.knowData = question(t, x, "know.txt", q.know)
	known := wire.KnownKey{
		Account: x.offer.Account, KeyID: keyID, Epoch: keyset.First(), Sequence: 7, Hash: keyset.Hash(x.transfer.State),
		Asker: fill[[16]byte](0x44), Own: fill[[16]byte](0x77), Materials: []string{strings.Repeat("a", 64)},
		State: x.transfer.State, Chain: x.transfer.Chain, Receipt: []byte("receipt"),
	}
	other := known
	other.KeyID, other.Asker, other.Receipt, other.Underway = "mrk-"+strings.Repeat("f", 32), [16]byte{}, nil, true
	q.known = &wire.Known{
		Route: route.Answer(4), Know: wire.Hash(q.knowData), Keys: []wire.KnownKey{known, other}, Next: other.Place(),
	}
	back := route.Answer(4) // from the Region that has the replica
	q.gone = &wire.Gone{
		Route: back, Account: x.offer.Account, KeyID: keyID, Incarnation: route.ExchangeID, Epoch: keyset.First(), Sequence: 7,
	}
	if data, there := goldenMessage(t, "gone.txt"); there {
		q.goneData = data
	} else {
		q.goneData = x.sign(t, x.west, q.gone)
	}
	q.goneAck = &wire.GoneAck{Route: back.Answer(3), Gone: wire.Hash(q.goneData)}
	q.handOver = &wire.HandOver{
		Route: route, Account: x.offer.Account, KeyID: keyID, Principal: "arn:aws:iam::111122223333:user/admin",
		RequestID: "01234567-89ab-cdef-0123-456789abcdef", State: x.transfer.State,
		Chain: append(slices.Clone(x.transfer.Chain), []byte("certificate")),
	}
	q.handOverData = question(t, x, "hand-over.txt", q.handOver)
	q.handOverAck = &wire.HandOverAck{
		Route: route.Answer(4), HandOver: wire.Hash(q.handOverData), State: []byte("next state"),
		Chain: append(slices.Clone(q.handOver.Chain), []byte("the next one")),
	}
	q.notPrimary = &wire.Refusal{
		Route: back.Answer(3), Refuses: wire.Hash(q.goneData), Code: wire.CodeNotPrimary, Message: "not the primary",
		State: x.transfer.State, Chain: x.transfer.Chain,
	}
	q.compare = &wire.Compare{Route: route, Digest: fill[[32]byte](0x81), Nonce: fill[[32]byte](0x82)}
	q.compareData = question(t, x, "compare.txt", q.compare)
	q.compared = &wire.Compared{
		Route: route.Answer(4), Compare: wire.Hash(q.compareData), Digest: fill[[32]byte](0x83),
		Digests: bytes.Repeat([]byte{0x84}, wire.Buckets*wire.DigestSize),
	}
	q.compareBucket = &wire.Compare{
		Route: route, Digest: fill[[32]byte](0x81), Bucket: wire.Buckets, After: wire.Cursor{Account: x.offer.Account, KeyID: "mrk-" + strings.Repeat("0", 32)},
		Nonce: fill[[32]byte](0x85),
	}
	q.compareBucketData = question(t, x, "compare-bucket.txt", q.compareBucket)
	one := wire.ComparedKey{Account: x.offer.Account, KeyID: keyID, Epoch: keyset.First(), Sequence: 7, Digest: fill[[32]byte](0x86)}
	two := one
	two.KeyID = "mrk-" + strings.Repeat("f", 32)
	q.comparedBucket = &wire.Compared{
		Route: route.Answer(4), Compare: wire.Hash(q.compareBucketData), Digest: fill[[32]byte](0x83),
		Keys: []wire.ComparedKey{one, two}, Next: two.Place(),
	}
	return q
}

// question returns the golden message that others name by its hash, or a new one before there is any.
func question(t testing.TB, x *exchange, name string, m wire.Message) []byte {
	t.Helper()
	if data, there := goldenMessage(t, name); there {
		return data
	}
	return x.sign(t, x.east, m)
}

// all returns each message by the name of its golden file.
func (q *questions) all() map[string]wire.Message {
	return map[string]wire.Message{
		"supply-m1.txt": q.supply, "sync.txt": q.sync, "sync-ack.txt": q.syncAck, "want.txt": q.want,
		"want-ack.txt": q.wantAck, "know.txt": q.know, "known.txt": q.known, "gone.txt": q.gone, "gone-ack.txt": q.goneAck,
		"identity-request.txt": q.ids, "identity-export.txt": q.page, "hand-over.txt": q.handOver,
		"hand-over-ack.txt": q.handOverAck, "not-primary.txt": q.notPrimary,
		"compare.txt": q.compare, "compared.txt": q.compared,
		"compare-bucket.txt": q.compareBucket, "compared-bucket.txt": q.comparedBucket,
	}
}

func TestQuestions(t *testing.T) {
	t.Parallel()
	x, q := newExchange(t), newQuestions(t)
	for name, m := range q.all() {
		by, self := x.east, west
		if m.Header().From == west {
			by, self = x.west, east
		}
		got, err := wire.Open(x.sign(t, by, m), self, x.roster)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		a, aErr := canon.Marshal(got)
		b, bErr := canon.Marshal(m)
		if aErr != nil || bErr != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, err := range map[string]error{
		"sync": q.syncAck.Answers(q.syncData, q.sync), "want": q.wantAck.Answers(q.wantData, q.want),
		"know": q.known.Answers(q.knowData, q.know), "gone": q.goneAck.Answers(q.goneData, q.gone.Route),
		"hand-over":       q.handOverAck.Answers(q.handOverData, q.handOver),
		"refusal of gone": q.notPrimary.Answers(q.goneData, q.gone.Route),
		"compare":         q.compared.Answers(q.compareData, q.compare), "bucket": q.comparedBucket.Answers(q.compareBucketData, q.compareBucket),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each content that can't be signed can't be opened either.
func TestQuestionContents(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	long := make([]byte, 1<<20)
	for name, change := range map[string]func(q *questions) wire.Message{
		"supply: no purpose":          func(q *questions) wire.Message { q.supply.Purpose = ""; return q.supply },
		"supply: unknown purpose":     func(q *questions) wire.Message { q.supply.Purpose = "lend"; return q.supply },
		"supply: principal":           func(q *questions) wire.Message { q.supply.Principal = "arn:x"; return q.supply },
		"supply: policy":              func(q *questions) wire.Message { q.supply.Policy = "{}"; return q.supply },
		"supply: description":         func(q *questions) wire.Message { q.supply.Description = "x"; return q.supply },
		"supply: tags":                func(q *questions) wire.Message { q.supply.Tags = []wire.Tag{{Key: "a"}}; return q.supply },
		"supply: dry run":             func(q *questions) wire.Message { q.supply.DryRun = true; return q.supply },
		"supply: no state":            func(q *questions) wire.Message { q.supply.State = nil; return q.supply },
		"supply: no chain":            func(q *questions) wire.Message { q.supply.Chain = nil; return q.supply },
		"supply: another certificate": func(q *questions) wire.Message { q.supply.Certificate[0]++; return q.supply },
		"replication with a state":    func(q *questions) wire.Message { x := *newExchange(t).offer; x.State = q.supply.State; return &x },
		"replication with a chain":    func(q *questions) wire.Message { x := *newExchange(t).offer; x.Chain = q.supply.Chain; return &x },
		"sync: account":               func(q *questions) wire.Message { q.sync.Account = "1"; return q.sync },
		"sync: key id":                func(q *questions) wire.Message { q.sync.KeyID = "mrk-"; return q.sync },
		"sync: no state":              func(q *questions) wire.Message { q.sync.State = nil; return q.sync },
		"sync: large state":           func(q *questions) wire.Message { q.sync.State = long; return q.sync },
		"sync: no chain":              func(q *questions) wire.Message { q.sync.Chain = nil; return q.sync },
		"sync: empty certificate":     func(q *questions) wire.Message { q.sync.Chain = [][]byte{{}}; return q.sync },
		"sync: large receipt":         func(q *questions) wire.Message { q.sync.Receipt = long; return q.sync },
		"sync-ack: no epoch":          func(q *questions) wire.Message { q.syncAck.Epoch.Term = 0; return q.syncAck },
		"sync-ack: no sequence":       func(q *questions) wire.Message { q.syncAck.Sequence = 0; return q.syncAck },
		"sync-ack: no incarnation":    func(q *questions) wire.Message { q.syncAck.Incarnation = [16]byte{}; return q.syncAck },
		"sync-ack: material":          func(q *questions) wire.Message { q.syncAck.Materials[0] = "aa"; return q.syncAck },
		"want: account":               func(q *questions) wire.Message { q.want.Account = "1"; return q.want },
		"want: key id":                func(q *questions) wire.Message { q.want.KeyID = "1"; return q.want },
		"want: material twice": func(q *questions) wire.Message {
			q.want.Materials = append(q.want.Materials, q.want.Materials[0])
			return q.want
		},
		"want: many materials":     func(q *questions) wire.Message { q.want.Materials = make([]string, 1025); return q.want },
		"want-ack: no exchange":    func(q *questions) wire.Message { q.wantAck.Supply = [16]byte{}; return q.wantAck },
		"know: half a cursor":      func(q *questions) wire.Message { q.know.After.KeyID = ""; return q.know },
		"know: cursor's account":   func(q *questions) wire.Message { q.know.After.Account = "1"; return q.know },
		"know: nothing asked":      func(q *questions) wire.Message { q.know.Limit = 0; return q.know },
		"know: too much asked":     func(q *questions) wire.Message { q.know.Limit = wire.MaxKnown + 1; return q.know },
		"know: no nonce":           func(q *questions) wire.Message { q.know.Nonce = [32]byte{}; return q.know },
		"known: out of order":      func(q *questions) wire.Message { slices.Reverse(q.known.Keys); return q.known },
		"known: key twice":         func(q *questions) wire.Message { q.known.Keys[1] = q.known.Keys[0]; return q.known },
		"known: many keys":         func(q *questions) wire.Message { q.known.Keys = make([]wire.KnownKey, 65); return q.known },
		"known: back":              func(q *questions) wire.Message { q.known.Next.KeyID = "mrk-0"; return q.known },
		"known: key id":            func(q *questions) wire.Message { q.known.Keys[0].KeyID = "a"; return q.known },
		"known: no epoch":          func(q *questions) wire.Message { q.known.Keys[0].Epoch = keyset.Epoch{}; return q.known },
		"known: no own":            func(q *questions) wire.Message { q.known.Keys[0].Own = [16]byte{}; return q.known },
		"known: another hash":      func(q *questions) wire.Message { q.known.Keys[0].Hash[0]++; return q.known },
		"known: state and no more": func(q *questions) wire.Message { q.known.Keys[0].Chain = nil; return q.known },
		"known: material":          func(q *questions) wire.Message { q.known.Keys[0].Materials = []string{"aa"}; return q.known },
		"gone: account":            func(q *questions) wire.Message { q.gone.Account = "1"; return q.gone },
		"gone: key id":             func(q *questions) wire.Message { q.gone.KeyID = "1"; return q.gone },
		"gone: no incarnation": func(q *questions) wire.Message {
			q.gone.Incarnation, q.gone.ExchangeID = [16]byte{}, [16]byte{}
			return q.gone
		},
		"gone: another's incarnation": func(q *questions) wire.Message { q.gone.Incarnation[0]++; return q.gone },
		"gone: no epoch":              func(q *questions) wire.Message { q.gone.Epoch.Term = 0; return q.gone },
		"gone: no sequence":           func(q *questions) wire.Message { q.gone.Sequence = 0; return q.gone },
		"gone-ack: no exchange":       func(q *questions) wire.Message { q.goneAck.ExchangeID = [16]byte{}; return q.goneAck },
		"hand-over: account":          func(q *questions) wire.Message { q.handOver.Account = "1"; return q.handOver },
		"hand-over: key id":           func(q *questions) wire.Message { q.handOver.KeyID = "1"; return q.handOver },
		"hand-over: nobody":           func(q *questions) wire.Message { q.handOver.Principal = ""; return q.handOver },
		"hand-over: long principal": func(q *questions) wire.Message {
			q.handOver.Principal = "arn:" + string(long[:2048])
			return q.handOver
		},
		"hand-over: long request id":  func(q *questions) wire.Message { q.handOver.RequestID = strings.Repeat("1", 65); return q.handOver },
		"hand-over: no state":         func(q *questions) wire.Message { q.handOver.State = nil; return q.handOver },
		"hand-over: no chain":         func(q *questions) wire.Message { q.handOver.Chain = nil; return q.handOver },
		"hand-over: no certificate":   func(q *questions) wire.Message { q.handOver.Chain = q.handOver.Chain[:1]; return q.handOver },
		"hand-over-ack: state alone":  func(q *questions) wire.Message { q.handOverAck.Chain = nil; return q.handOverAck },
		"hand-over-ack: chain alone":  func(q *questions) wire.Message { q.handOverAck.State = nil; return q.handOverAck },
		"refusal: state alone":        func(q *questions) wire.Message { q.notPrimary.Chain = nil; return q.notPrimary },
		"refusal: final, not primary": func(q *questions) wire.Message { q.notPrimary.Final = true; return q.notPrimary },
		"refusal: a state out of place": func(q *questions) wire.Message {
			q.notPrimary.Code = wire.CodeBusy
			return q.notPrimary
		},
		"compare: bucket":             func(q *questions) wire.Message { q.compare.Bucket = wire.Buckets + 1; return q.compare },
		"compare: no nonce":           func(q *questions) wire.Message { q.compare.Nonce = [32]byte{}; return q.compare },
		"compare: half a cursor":      func(q *questions) wire.Message { q.compareBucket.After.KeyID = ""; return q.compareBucket },
		"compare: place in no bucket": func(q *questions) wire.Message { q.compareBucket.Bucket = 0; return q.compareBucket },
		"compared: digests cut off":   func(q *questions) wire.Message { q.compared.Digests = q.compared.Digests[1:]; return q.compared },
		"compared: out of order":      func(q *questions) wire.Message { slices.Reverse(q.comparedBucket.Keys); return q.comparedBucket },
		"compared: account":           func(q *questions) wire.Message { q.comparedBucket.Keys[0].Account = "1"; return q.comparedBucket },
		"compared: key id":            func(q *questions) wire.Message { q.comparedBucket.Keys[0].KeyID = "a"; return q.comparedBucket },
		"compared: no epoch":          func(q *questions) wire.Message { q.comparedBucket.Keys[1].Epoch.Term = 0; return q.comparedBucket },
		"compared: no sequence":       func(q *questions) wire.Message { q.comparedBucket.Keys[1].Sequence = 0; return q.comparedBucket },
		"compared: back":              func(q *questions) wire.Message { q.comparedBucket.Next.KeyID = "mrk-0"; return q.comparedBucket },
		"compared: many keys": func(q *questions) wire.Message {
			q.comparedBucket.Keys = make([]wire.ComparedKey, wire.MaxCompared+1)
			return q.comparedBucket
		},
		"known: large receipt": func(q *questions) wire.Message { q.known.Keys[0].Receipt = long; return q.known },
	} {
		m := change(newQuestions(t))
		by := x.east
		if m.Header().From == west {
			by = x.west
		}
		checkContent(t, name, x, by, m, wire.ErrMalformed)
	}
}

func TestQuestionAnswersMustFit(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(q *questions) error{
		"sync: another":         func(q *questions) error { return q.syncAck.Answers(q.wantData, q.sync) },
		"sync: another Region":  func(q *questions) error { q.syncAck.From = euro; return q.syncAck.Answers(q.syncData, q.sync) },
		"want: another":         func(q *questions) error { return q.wantAck.Answers(q.syncData, q.want) },
		"want: another's route": func(q *questions) error { q.wantAck.ExchangeID[0]++; return q.wantAck.Answers(q.wantData, q.want) },
		"know: another nonce": func(q *questions) error {
			x := newExchange(t)
			q.know.Nonce[0]++
			return q.known.Answers(x.sign(t, x.east, q.know), q.know)
		},
		"know: another Region": func(q *questions) error { q.known.From = euro; return q.known.Answers(q.knowData, q.know) },
		"know: too many keys":  func(q *questions) error { q.know.Limit = 1; return q.known.Answers(q.knowData, q.know) },
		"know: the same page": func(q *questions) error {
			q.know.After = q.known.Keys[0].Place()
			return q.known.Answers(q.knowData, q.know)
		},
		"know: goes back": func(q *questions) error {
			q.known.Keys, q.known.Next = nil, q.know.After
			return q.known.Answers(q.knowData, q.know)
		},
		"know: no states": func(q *questions) error {
			q.known.Keys[0].State, q.known.Keys[0].Chain = nil, nil
			return q.known.Answers(q.knowData, q.know)
		},
		"gone: another": func(q *questions) error { return q.goneAck.Answers(q.syncData, q.gone.Route) },
		"gone: another Region": func(q *questions) error {
			q.goneAck.From = euro
			return q.goneAck.Answers(q.goneData, q.gone.Route)
		},
		"gone: another incarnation": func(q *questions) error {
			q.goneAck.ExchangeID[0]++
			return q.goneAck.Answers(q.goneData, q.gone.Route)
		},
		"hand-over: another": func(q *questions) error { return q.handOverAck.Answers(q.wantData, q.handOver) },
		"hand-over: another Region": func(q *questions) error {
			q.handOverAck.From = euro
			return q.handOverAck.Answers(q.handOverData, q.handOver)
		},
		"hand-over: no state": func(q *questions) error {
			q.handOverAck.State, q.handOverAck.Chain = nil, nil
			return q.handOverAck.Answers(q.handOverData, q.handOver)
		},
		"hand-over: a dry run with a state": func(q *questions) error {
			q.handOver.DryRun = true
			return q.handOverAck.Answers(q.handOverData, q.handOver)
		},
		"hand-over: shorter chain": func(q *questions) error {
			q.handOverAck.Chain = q.handOverAck.Chain[:1]
			return q.handOverAck.Answers(q.handOverData, q.handOver)
		},
		"hand-over: another certificate": func(q *questions) error {
			q.handOverAck.Chain[1] = []byte("another one")
			return q.handOverAck.Answers(q.handOverData, q.handOver)
		},
		"compare: another":        func(q *questions) error { return q.compared.Answers(q.compareBucketData, q.compare) },
		"compare: another Region": func(q *questions) error { q.compared.From = euro; return q.compared.Answers(q.compareData, q.compare) },
		"compare: no digests": func(q *questions) error {
			q.compared.Digests = nil
			return q.compared.Answers(q.compareData, q.compare)
		},
		"compare: unasked digests": func(q *questions) error {
			q.compared.Digest = q.compare.Digest
			return q.compared.Answers(q.compareData, q.compare)
		},
		"compare: unasked keys": func(q *questions) error {
			q.compared.Keys = q.comparedBucket.Keys
			return q.compared.Answers(q.compareData, q.compare)
		},
		"bucket: digests": func(q *questions) error {
			q.comparedBucket.Digests = q.compared.Digests
			return q.comparedBucket.Answers(q.compareBucketData, q.compareBucket)
		},
		"bucket: the same page": func(q *questions) error {
			q.compareBucket.After = q.comparedBucket.Keys[0].Place()
			return q.comparedBucket.Answers(q.compareBucketData, q.compareBucket)
		},
		"bucket: goes back": func(q *questions) error {
			q.comparedBucket.Keys, q.comparedBucket.Next = nil, q.compareBucket.After
			return q.comparedBucket.Answers(q.compareBucketData, q.compareBucket)
		},
		"know: unasked states": func(q *questions) error { q.know.States = false; return q.known.Answers(q.knowData, q.know) },
	} {
		if err := answer(newQuestions(t)); !errors.Is(err, wire.ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A supply's transfer repeats what was offered.
	x, q := newExchange(t), newQuestions(t)
	x.offer = q.supply
	if err := x.transfer.Follows(x.m1, x.m2, x.offer, x.accept); err != nil {
		t.Error(err)
	}
	x.transfer.State = []byte("another state")
	if err := x.transfer.Follows(x.m1, x.m2, x.offer, x.accept); !errors.Is(err, wire.ErrMismatch) {
		t.Errorf("another state: %v", err)
	}
	x.transfer.State = q.supply.State
	x.transfer.Chain = slices.Clone(x.transfer.Chain)
	x.transfer.Chain[0] = []byte("another genesis")
	if err := x.transfer.Follows(x.m1, x.m2, x.offer, x.accept); !errors.Is(err, wire.ErrMismatch) {
		t.Errorf("another chain: %v", err)
	}
}
