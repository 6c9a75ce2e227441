package wire_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"antipode/regions/canon"
	"antipode/regions/cose"
	"antipode/regions/keyset"
	"antipode/regions/roster"
	"antipode/replication/wire"
)

func TestExchange(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	for _, c := range []struct {
		data []byte
		self string
		want wire.Message
	}{
		{x.m1, west, x.offer}, {x.m2, east, x.accept}, {x.m3, west, x.transfer}, {x.m4, east, x.receipt}, {x.no, east, x.refusal},
	} {
		got, err := wire.Open(c.data, c.self, x.roster)
		if err != nil {
			t.Fatalf("%s: %v", c.want.Type(), err)
		}
		a, err := canon.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		b, err := canon.Marshal(c.want)
		if err != nil || !bytes.Equal(a, b) {
			t.Fatalf("%s: %+v, %v", c.want.Type(), got, err)
		}
		if got.Header() != c.want.Header() || got.Type() != c.want.Type() {
			t.Fatalf("%s: %+v", c.want.Type(), got.Header())
		}
	}
	if err := x.accept.Answers(x.m1, x.offer, ""); err != nil {
		t.Error(err)
	}
	if err := x.transfer.Follows(x.m1, x.m2, x.offer, x.accept); err != nil {
		t.Error(err)
	}
	if err := x.receipt.Answers(x.m3, x.transfer, x.accept); err != nil {
		t.Error(err)
	}
	if err := x.refusal.Answers(x.m3, x.transfer.Route); err != nil {
		t.Error(err)
	}
}

// What Open refuses, for each kind of message.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	retire := func(name string, state roster.KeyState, removed bool) roster.Roster {
		e, err := x.roster.Entry(name)
		if err != nil {
			t.Fatal(err)
		}
		e.Version, e.Removed = 2, removed
		e.RSKs[0].State, e.RSKs[0].Since = state, 2
		if state == roster.Active {
			e.RSKs[0].Since = 1
		}
		r, err := x.roster.With(e)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	empty, err := roster.New("aws")
	if err != nil {
		t.Fatal(err)
	}
	third := newRegion(t, euro)
	altered := bytes.Clone(x.m1)
	altered[len(altered)/2] ^= 1
	own := *x.offer
	own.From, own.To = west, east
	raw := func(by *region, typ string, payload []byte) []byte {
		data, err := cose.Sign(t.Context(), by, typ, payload)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	payload, err := canon.Marshal(x.offer)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		self string
		keys wire.Keys
		want error
	}{
		"nothing":                   {nil, west, x.roster, wire.ErrMalformed},
		"altered":                   {altered, west, x.roster, wire.ErrUntrusted},
		"unknown signer":            {x.m1, west, empty, wire.ErrUntrusted},
		"retired key":               {x.m1, west, retire(east, roster.Retired, false), wire.ErrUntrusted},
		"removed key":               {x.m1, west, retire(east, roster.Removed, false), wire.ErrUntrusted},
		"removed Region":            {x.m1, west, retire(east, roster.Active, true), wire.ErrUntrusted},
		"signed by a third Region":  {x.sign(t, third, x.offer), west, x.roster, wire.ErrMisrouted},
		"signed by the addressee":   {x.sign(t, x.west, x.offer), west, x.roster, wire.ErrMisrouted},
		"to another Region":         {x.m1, euro, x.roster, wire.ErrMisrouted},
		"back to its sender":        {x.m1, east, x.roster, wire.ErrMisrouted},
		"own message":               {x.sign(t, x.west, &own), west, x.roster, wire.ErrMisrouted},
		"unknown type":              {raw(x.east, "antipode/m5", payload), west, x.roster, wire.ErrMalformed},
		"shared state":              {raw(x.east, keyset.TypeState, payload), west, x.roster, wire.ErrMalformed},
		"m1 as m2":                  {raw(x.east, wire.TypeAccept, payload), west, x.roster, wire.ErrMalformed},
		"bytes after the payload":   {raw(x.east, wire.TypeOffer, append(bytes.Clone(payload), 0)), west, x.roster, wire.ErrMalformed},
		"payload in another order":  {raw(x.east, wire.TypeOffer, disorder(payload)), west, x.roster, wire.ErrMalformed},
		"larger than the limit":     {make([]byte, wire.MaxSize+1), west, x.roster, wire.ErrMalformed},
		"bytes after the signature": {append(bytes.Clone(x.m1), 0), west, x.roster, wire.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if m, err := wire.Open(c.data, c.self, c.keys); !errors.Is(err, c.want) || m != nil {
				t.Errorf("%v, %v; want %v", m, err, c.want)
			}
		})
	}
	// An old message may be read again with the keys of its time.
	if _, err := wire.Open(x.m4, east, roster.History{Roster: retire(west, roster.Retired, true)}); err != nil {
		t.Errorf("history: %v", err)
	}
}

// disorder puts the first member of the map (key 1, 16 bytes) after the second (key 2, text).
func disorder(payload []byte) []byte {
	first := payload[1 : 1+1+1+16]
	rest := payload[1+len(first):]
	second := rest[:1+1+len(east)]
	out := append([]byte{payload[0]}, second...)
	out = append(out, first...)
	return append(out, rest[len(second):]...)
}

// Each content that can't be signed can't be opened either: both ways go through the same rules.
func TestContents(t *testing.T) {
	t.Parallel()
	base := newExchange(t)
	long := strings.Repeat("x", 1<<16)
	offers := map[string]func(o *wire.Offer){
		"no exchange id":      func(o *wire.Offer) { o.ExchangeID = [16]byte{} },
		"to itself":           func(o *wire.Offer) { o.To = o.From },
		"no sender":           func(o *wire.Offer) { o.From = "" },
		"no addressee":        func(o *wire.Offer) { o.To = "" },
		"account":             func(o *wire.Offer) { o.Account = "11112222333" },
		"account of letters":  func(o *wire.Offer) { o.Account = "1111x2223333" },
		"principal":           func(o *wire.Offer) { o.Principal = "admin" },
		"long principal":      func(o *wire.Offer) { o.Principal = "arn:" + long },
		"single-Region key":   func(o *wire.Offer) { o.KeyID = "0123456789abcdef" },
		"key id in capitals":  func(o *wire.Offer) { o.KeyID = "mrk-" + strings.Repeat("A", 32) },
		"no spec":             func(o *wire.Offer) { o.Spec = "" },
		"spec with a space":   func(o *wire.Offer) { o.Spec = "RSA 2048" },
		"no usage":            func(o *wire.Offer) { o.Usage = "" },
		"no origin":           func(o *wire.Offer) { o.Origin = "" },
		"long policy":         func(o *wire.Offer) { o.Policy = long },
		"long description":    func(o *wire.Offer) { o.Description = long },
		"tag without a key":   func(o *wire.Offer) { o.Tags[0].Key = "" },
		"tag twice":           func(o *wire.Offer) { o.Tags[1].Key = o.Tags[0].Key },
		"long tag":            func(o *wire.Offer) { o.Tags[0].Value = long },
		"many tags":           func(o *wire.Offer) { o.Tags = make([]wire.Tag, 51) },
		"no material":         func(o *wire.Offer) { o.Materials = nil },
		"imported material":   func(o *wire.Offer) { o.Origin = "EXTERNAL" },
		"material twice":      func(o *wire.Offer) { o.Materials[0].ID = o.Materials[1].ID },
		"short material id":   func(o *wire.Offer) { o.Materials[0].ID = "aa" },
		"material status":     func(o *wire.Offer) { o.Materials[0].Status = "" },
		"two current":         func(o *wire.Offer) { o.Materials[0].Status = keyset.Current },
		"many materials":      func(o *wire.Offer) { o.Materials = make([]wire.Material, wire.MaxMaterials+1) },
		"no suite":            func(o *wire.Offer) { o.Suites = nil },
		"suite twice":         func(o *wire.Offer) { o.Suites = []wire.Suite{wire.SuiteX963, wire.SuiteX963} },
		"many suites":         func(o *wire.Offer) { o.Suites = make([]wire.Suite, 9) },
		"no nonce":            func(o *wire.Offer) { o.Nonce = [32]byte{} },
		"text that is no UTF": func(o *wire.Offer) { o.Description = "a\xff" },
	}
	for name, change := range offers {
		x := base.copy()
		change(x.offer)
		checkContent(t, "offer: "+name, x, x.east, x.offer, wire.ErrMalformed)
	}
	offCurve := point(t, "RAKB")
	offCurve[96] ^= 1
	compressed := append([]byte{2}, offCurve[1:49]...)
	for name, c := range map[string]struct {
		change func(a *wire.Accept)
		want   error
	}{
		"point off the curve":  {func(a *wire.Accept) { a.RAKB = offCurve }, wire.ErrMalformed},
		"compressed point":     {func(a *wire.Accept) { a.RAKB = compressed }, wire.ErrMalformed},
		"point at infinity":    {func(a *wire.Accept) { a.RAKB = []byte{0} }, wire.ErrMalformed},
		"zeros for a point":    {func(a *wire.Accept) { a.RAKB = make([]byte, 97) }, wire.ErrMalformed},
		"unknown suite":        {func(a *wire.Accept) { a.Suite = "P384-NEW" }, wire.ErrMalformed},
		"a point for RSA":      {func(a *wire.Accept) { a.Suite = wire.SuiteRSASHA1 }, wire.ErrMalformed},
		"no suites":            {func(a *wire.Accept) { a.Suites = nil }, wire.ErrMalformed},
		"no token":             {func(a *wire.Accept) { a.Token = "" }, wire.ErrMalformed},
		"long token":           {func(a *wire.Accept) { a.Token = long }, wire.ErrMalformed},
		"no node":              {func(a *wire.Accept) { a.Node = "" }, wire.ErrMalformed},
		"no incarnation":       {func(a *wire.Accept) { a.Incarnation = [16]byte{} }, wire.ErrMalformed},
		"no nonce":             {func(a *wire.Accept) { a.Nonce = [32]byte{} }, wire.ErrMalformed},
		"sender and addressee": {func(a *wire.Accept) { a.To = a.From }, wire.ErrMalformed},
	} {
		x := base.copy()
		c.change(x.accept)
		checkContent(t, "accept: "+name, x, x.west, x.accept, c.want)
	}
	for name, change := range map[string]func(m *wire.Transfer){
		"no point":          func(m *wire.Transfer) { m.RAKA = nil },
		"off the curve":     func(m *wire.Transfer) { m.RAKA = offCurve },
		"point and RWK":     func(m *wire.Transfer) { m.RWK = make([]byte, wire.RSAWrappedSize) },
		"short RWK":         func(m *wire.Transfer) { m.RAKA, m.RWK = nil, make([]byte, wire.RSAWrappedSize-1) },
		"long RWK":          func(m *wire.Transfer) { m.RAKA, m.RWK = nil, make([]byte, wire.RSAWrappedSize+1) },
		"no token":          func(m *wire.Transfer) { m.Token = "" },
		"material twice":    func(m *wire.Transfer) { m.Materials[0].ID = m.Materials[1].ID },
		"material id":       func(m *wire.Transfer) { m.Materials[0].ID = "a" },
		"no blob":           func(m *wire.Transfer) { m.Materials[0].Blob = nil },
		"long blob":         func(m *wire.Transfer) { m.Materials[0].Blob = []byte(long) },
		"no state":          func(m *wire.Transfer) { m.State = nil },
		"long state":        func(m *wire.Transfer) { m.State = make([]byte, 256<<10+1) },
		"no chain":          func(m *wire.Transfer) { m.Chain = nil },
		"empty certificate": func(m *wire.Transfer) { m.Chain[0] = nil },
		"long certificate":  func(m *wire.Transfer) { m.Chain[0] = []byte(long) },
		"long chain":        func(m *wire.Transfer) { m.Chain = make([][]byte, keyset.MaxChain+1) },
		"route":             func(m *wire.Transfer) { m.From = "" },
	} {
		x := base.copy()
		change(x.transfer)
		checkContent(t, "transfer: "+name, x, x.east, x.transfer, wire.ErrMalformed)
	}
	for name, change := range map[string]func(r *wire.Receipt){
		"material twice": func(r *wire.Receipt) { r.Materials[0] = r.Materials[1] },
		"material id":    func(r *wire.Receipt) { r.Materials[0] = "" },
		"no generation":  func(r *wire.Receipt) { r.Epoch.Generation = 0 },
		"no term":        func(r *wire.Receipt) { r.Epoch.Term = 0 },
		"no sequence":    func(r *wire.Receipt) { r.Sequence = 0 },
		"no incarnation": func(r *wire.Receipt) { r.Incarnation = [16]byte{} },
		"route":          func(r *wire.Receipt) { r.ExchangeID = [16]byte{} },
	} {
		x := base.copy()
		change(x.receipt)
		checkContent(t, "receipt: "+name, x, x.west, x.receipt, wire.ErrMalformed)
	}
	for name, change := range map[string]func(r *wire.Refusal){
		"no code":           func(r *wire.Refusal) { r.Code = "" },
		"code with a space": func(r *wire.Refusal) { r.Code = "Access Denied" },
		"long code":         func(r *wire.Refusal) { r.Code = long },
		"long message":      func(r *wire.Refusal) { r.Message = long },
		"lost and final":    func(r *wire.Refusal) { r.Final = true },
		"busy and final":    func(r *wire.Refusal) { r.Code, r.Final = wire.CodeBusy, true },
		"route":             func(r *wire.Refusal) { r.To = "" },
	} {
		x := base.copy()
		change(x.refusal)
		checkContent(t, "refusal: "+name, x, x.west, x.refusal, wire.ErrMalformed)
	}
}

// checkContent: Sign refuses m, and so does Open when someone with the right key signed it all the same.
func checkContent(t *testing.T, name string, x *exchange, by *region, m wire.Message, want error) {
	t.Helper()
	if _, err := wire.Sign(t.Context(), by, m); !errors.Is(err, want) {
		t.Errorf("%s: signed: %v", name, err)
	}
	payload, err := canon.Marshal(m)
	if err != nil {
		return // has no encoding, so it can't arrive
	}
	data, err := cose.Sign(t.Context(), by, m.Type(), payload)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if _, err := wire.Parse(data); !errors.Is(err, want) {
		t.Errorf("%s: parsed: %v", name, err)
	}
	self := m.Header().To
	if _, err := wire.Open(data, self, x.roster); !errors.Is(err, want) {
		t.Errorf("%s: opened: %v", name, err)
	}
}

// The largest key there can be still fits into a message.
func TestLargestTransfer(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	x.offer.Materials, x.transfer.Materials = nil, nil
	for i := range wire.MaxMaterials {
		id := strings.Repeat("0", 60) + string("0123456789abcdef"[i>>8&15]) + string("0123456789abcdef"[i>>4&15]) +
			string("0123456789abcdef"[i&15]) + "f"
		x.offer.Materials = append(x.offer.Materials, wire.Material{ID: id, Status: keyset.NonCurrent})
		x.transfer.Materials = append(x.transfer.Materials, wire.Wrapped{ID: id, Blob: make([]byte, 40)})
	}
	x.offer.Policy = strings.Repeat(" ", wire.MaxPolicy)
	x.offer.Description = strings.Repeat("ü", wire.MaxDescription)
	x.transfer.State = make([]byte, 128<<10)
	x.transfer.Chain = make([][]byte, keyset.MaxChain)
	for i := range x.transfer.Chain {
		x.transfer.Chain[i] = make([]byte, 512)
	}
	t.Logf("offer %d bytes, transfer %d bytes", len(x.sign(t, x.east, x.offer)), len(x.sign(t, x.east, x.transfer)))
}
