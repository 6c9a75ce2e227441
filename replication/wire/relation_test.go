package wire_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"antipode/regions/canon"
	"antipode/regions/keyset"
	"antipode/replication/wire"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	x, n, r, future := wire.SuiteX963, wire.SuiteNullECB, wire.SuiteRSASHA256, wire.Suite("P521-NEW")
	r1, old := wire.SuiteRSASHA1, wire.Suite("RSA4096-OAEP-AESKWP")
	for _, c := range []struct {
		own, peer []wire.Suite
		least     wire.Suite
		want      wire.Suite
	}{
		{[]wire.Suite{x, n, r}, []wire.Suite{x, n, r}, "", x},
		{[]wire.Suite{r, n, x}, []wire.Suite{n, r, x}, "", x}, // the order of the lists does not matter
		{[]wire.Suite{x, n}, []wire.Suite{n}, "", n},
		{[]wire.Suite{n}, []wire.Suite{x, n}, "", n},
		{[]wire.Suite{x, r}, []wire.Suite{n, r}, "", r},
		{[]wire.Suite{n}, []wire.Suite{x}, "", ""},
		{nil, []wire.Suite{x}, "", ""},
		{[]wire.Suite{x, n}, []wire.Suite{x, n}, x, x},
		{[]wire.Suite{n}, []wire.Suite{x, n}, x, ""},
		{[]wire.Suite{n, r}, []wire.Suite{n, r}, n, n},
		{[]wire.Suite{r}, []wire.Suite{r}, n, ""},
		{[]wire.Suite{r}, []wire.Suite{r}, r, r},
		{[]wire.Suite{r1, r}, []wire.Suite{r, r1}, "", r},
		{[]wire.Suite{r1, r}, []wire.Suite{r1}, "", r1},
		{[]wire.Suite{r1}, []wire.Suite{r}, "", ""}, // two hashes are no common suite
		{[]wire.Suite{r1}, []wire.Suite{r1}, r, ""},
		{[]wire.Suite{n, r1}, []wire.Suite{n, r1}, r1, n},
		{[]wire.Suite{old}, []wire.Suite{old}, "", ""}, // a suite that does not name its hash is none
		{[]wire.Suite{future, n}, []wire.Suite{future, n}, "", n},
		{[]wire.Suite{future}, []wire.Suite{future}, "", ""},
		{[]wire.Suite{x}, []wire.Suite{x}, future, ""},
	} {
		got, err := wire.Choose(c.own, c.peer, c.least)
		if got != c.want || (c.want == "") != errors.Is(err, wire.ErrNoSuite) {
			t.Errorf("%v and %v at least %q: %q, %v; want %q", c.own, c.peer, c.least, got, err, c.want)
		}
		if back, _ := wire.Choose(c.peer, c.own, c.least); back != got {
			t.Errorf("%v and %v: the two sides choose %q and %q", c.own, c.peer, got, back)
		}
	}
}

func TestAcceptMustFit(t *testing.T) {
	t.Parallel()
	base := newExchange(t)
	for name, c := range map[string]struct {
		change func(x *exchange)
		least  wire.Suite
		want   error
	}{
		"another offer":    {func(x *exchange) { x.m1 = x.m3 }, "", wire.ErrMismatch},
		"another exchange": {func(x *exchange) { x.accept.ExchangeID[0]++ }, "", wire.ErrMismatch},
		"a third Region":   {func(x *exchange) { x.accept.From = euro }, "", wire.ErrMismatch},
		"weaker suite": {
			func(x *exchange) { x.accept.Suites = []wire.Suite{wire.SuiteX963, wire.SuiteNullECB} }, "",
			wire.ErrMismatch,
		},
		"suite not offered":      {func(x *exchange) { x.offer.Suites = []wire.Suite{wire.SuiteX963} }, "", wire.ErrNoSuite},
		"suite of neither":       {func(x *exchange) { x.accept.Suite = wire.SuiteX963 }, "", wire.ErrMismatch},
		"below the minimum":      {func(*exchange) {}, wire.SuiteX963, wire.ErrNoSuite},
		"no point":               {func(x *exchange) { x.accept.RAKB = nil }, "", wire.ErrMismatch},
		"a point in the dry run": {func(x *exchange) { x.offer.DryRun = true }, "", wire.ErrMismatch},
		"dry run":                {func(x *exchange) { x.offer.DryRun, x.accept.RAKB = true, nil }, "", nil},
		"at the minimum":         {func(*exchange) {}, wire.SuiteNullECB, nil},
		"nonce echoed":           {func(x *exchange) { x.accept.Nonce = x.offer.Nonce }, "", wire.ErrMismatch},
	} {
		x := base.copy()
		c.change(x)
		if err := x.accept.Answers(x.m1, x.offer, c.least); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestTransferMustFit(t *testing.T) {
	t.Parallel()
	base := newExchange(t)
	for name, c := range map[string]struct {
		change func(x *exchange)
		want   error
	}{
		"another offer":         {func(x *exchange) { x.transfer.Offer[0]++ }, wire.ErrMismatch},
		"another acceptance":    {func(x *exchange) { x.transfer.Accept[0]++ }, wire.ErrMismatch},
		"acceptance of another": {func(x *exchange) { x.accept.Offer[0]++ }, wire.ErrMismatch},
		"another exchange":      {func(x *exchange) { x.transfer.ExchangeID[0]++ }, wire.ErrMismatch},
		"another source":        {func(x *exchange) { x.transfer.From = euro }, wire.ErrMismatch},
		"another destination":   {func(x *exchange) { x.transfer.To = euro }, wire.ErrMismatch},
		"accepted by another":   {func(x *exchange) { x.accept.From = euro }, wire.ErrMismatch},
		"dry run":               {func(x *exchange) { x.offer.DryRun = true }, wire.ErrMismatch},
		"no point":              {func(x *exchange) { x.accept.RAKB = nil }, wire.ErrMismatch},
		"a material less":       {func(x *exchange) { x.transfer.Materials = x.transfer.Materials[1:] }, wire.ErrMismatch},
		"a material more": {func(x *exchange) {
			x.transfer.Materials = append(x.transfer.Materials, wire.Wrapped{ID: strings.Repeat("d", 64), Blob: make([]byte, 40)})
		}, wire.ErrMismatch},
		"materials swapped":   {func(x *exchange) { slices.Reverse(x.transfer.Materials) }, wire.ErrMismatch},
		"blob of an AES-128":  {func(x *exchange) { x.transfer.Materials[1].Blob = make([]byte, 24) }, wire.ErrMismatch},
		"blob a block longer": {func(x *exchange) { x.transfer.Materials[1].Blob = make([]byte, 48) }, wire.ErrMismatch},
		"another chain":       {func(x *exchange) { x.transfer.Chain[1] = []byte("another") }, wire.ErrMismatch},
		"a shorter chain":     {func(x *exchange) { x.transfer.Chain = x.transfer.Chain[:1] }, wire.ErrMismatch},
		"another spec":        {func(x *exchange) { x.offer.Spec = "RSA_2048" }, wire.ErrMismatch},
		"a public key":        {func(x *exchange) { x.transfer.Materials[1].Public = []byte{1} }, wire.ErrMismatch},
		"unknown spec":        {func(x *exchange) { x.offer.Spec = "ML_DSA_44" }, wire.ErrUnsupported},
	} {
		x := base.copy()
		c.change(x)
		if err := x.transfer.Follows(x.m1, x.m2, x.offer, x.accept); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestAnswersMustFit(t *testing.T) {
	t.Parallel()
	base := newExchange(t)
	for name, change := range map[string]func(x *exchange){
		"another transfer":    func(x *exchange) { x.m3 = x.m1 },
		"another exchange":    func(x *exchange) { x.receipt.ExchangeID[0]++ },
		"another Region":      func(x *exchange) { x.receipt.From = euro },
		"another incarnation": func(x *exchange) { x.receipt.Incarnation[0]++ },
		"a material missing":  func(x *exchange) { x.receipt.Materials = x.receipt.Materials[1:] },
	} {
		x := base.copy()
		change(x)
		if err := x.receipt.Answers(x.m3, x.transfer, x.accept); !errors.Is(err, wire.ErrMismatch) {
			t.Errorf("receipt: %s: %v", name, err)
		}
	}
	x := newExchange(t)
	x.receipt.Materials = append(x.receipt.Materials, strings.Repeat("d", 64))
	if err := x.receipt.Answers(x.m3, x.transfer, x.accept); err != nil {
		t.Errorf("receipt: more than was sent is held: %v", err)
	}
	if err := x.refusal.Answers(x.m1, x.offer.Route); !errors.Is(err, wire.ErrMismatch) {
		t.Errorf("refusal of another message: %v", err)
	}
	x.refusal.From = euro
	if err := x.refusal.Answers(x.m3, x.transfer.Route); !errors.Is(err, wire.ErrMismatch) {
		t.Errorf("refusal by another Region: %v", err)
	}
}

// The transcript is what the doc of Transcript says, computed here by hand.
func TestTranscriptByHand(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bare := *x.transfer
	bare.Materials = slices.Clone(bare.Materials)
	for i := range bare.Materials {
		bare.Materials[i].Blob = nil
	}
	body, err := canon.Marshal(&bare)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, part := range [][]byte{[]byte("antipode/transcript/1"), []byte("P384-NULL-ECBKDF-KWP"), x.m1, x.m2, body} {
		all = append(binary.BigEndian.AppendUint32(all, uint32(len(part))), part...)
	}
	want := sha512.Sum384(all)
	before, err := wire.Transcript(wire.SuiteNullECB, x.m1, x.m2, &bare)
	if err != nil {
		t.Fatal(err)
	}
	after, err := wire.Transcript(wire.SuiteNullECB, x.m1, x.m2, x.transfer)
	if err != nil {
		t.Fatal(err)
	}
	if before != want || after != want {
		t.Fatalf("before wrapping %x, after %x, by hand %x", before, after, want)
	}
	if len(x.transfer.Materials[0].Blob) != 40 {
		t.Fatal("the blobs of the message are gone")
	}
}

// Everything that the two sides must agree on changes the transcript, so they derive different keys without it.
func TestTranscriptBinds(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	base, err := wire.Transcript(wire.SuiteNullECB, x.m1, x.m2, x.transfer)
	if err != nil {
		t.Fatal(err)
	}
	// Messages signed again carry other signatures, and other hashes.
	m1 := x.sign(t, x.east, x.offer)
	m2 := x.sign(t, x.west, x.accept)
	if bytes.Equal(m1, x.m1) || bytes.Equal(m2, x.m2) {
		t.Fatal("signatures repeat")
	}
	for name, c := range map[string]struct {
		suite  wire.Suite
		m1, m2 []byte
		change func(m *wire.Transfer)
	}{
		"suite":         {wire.SuiteX963, x.m1, x.m2, func(*wire.Transfer) {}},
		"m1":            {wire.SuiteNullECB, m1, x.m2, func(m *wire.Transfer) { m.Offer = wire.Hash(m1) }},
		"m2":            {wire.SuiteNullECB, x.m1, m2, func(m *wire.Transfer) { m.Accept = wire.Hash(m2) }},
		"RAKA":          {wire.SuiteNullECB, x.m1, x.m2, func(m *wire.Transfer) { m.RAKA = point(t, "other") }},
		"token":         {wire.SuiteNullECB, x.m1, x.m2, func(m *wire.Transfer) { m.Token = "other" }},
		"material id":   {wire.SuiteNullECB, x.m1, x.m2, func(m *wire.Transfer) { m.Materials[0].ID = strings.Repeat("e", 64) }},
		"order":         {wire.SuiteNullECB, x.m1, x.m2, func(m *wire.Transfer) { slices.Reverse(m.Materials) }},
		"state":         {wire.SuiteNullECB, x.m1, x.m2, func(m *wire.Transfer) { m.State = []byte("other") }},
		"chain":         {wire.SuiteNullECB, x.m1, x.m2, func(m *wire.Transfer) { m.Chain = m.Chain[1:] }},
		"roster":        {wire.SuiteNullECB, x.m1, x.m2, func(m *wire.Transfer) { m.RosterVersion++ }},
		"exchange":      {wire.SuiteNullECB, x.m1, x.m2, func(m *wire.Transfer) { m.ExchangeID[0]++ }},
		"other address": {wire.SuiteNullECB, x.m1, x.m2, func(m *wire.Transfer) { m.To = euro }},
	} {
		m := *x.transfer
		m.Materials = slices.Clone(m.Materials)
		c.change(&m)
		if got, err := wire.Transcript(c.suite, c.m1, c.m2, &m); err != nil || got == base {
			t.Errorf("%s is not bound (%v)", name, err)
		}
	}
	if _, err := wire.Transcript(wire.SuiteNullECB, m1, x.m2, x.transfer); !errors.Is(err, wire.ErrMismatch) {
		t.Errorf("m1 of another exchange: %v", err)
	}
	if _, err := wire.Transcript(wire.SuiteNullECB, x.m1, m2, x.transfer); !errors.Is(err, wire.ErrMismatch) {
		t.Errorf("m2 of another exchange: %v", err)
	}
	bad := *x.transfer
	bad.RAKA = make([]byte, 97)
	if _, err := wire.Transcript(wire.SuiteNullECB, x.m1, x.m2, &bad); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a point off the curve: %v", err)
	}
}

func TestCheckBlob(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec         string
		blob, public int
		want         error
	}{
		{"SYMMETRIC_DEFAULT", 40, 0, nil},
		{"SYMMETRIC_DEFAULT", 32, 0, wire.ErrMismatch},
		{"SYMMETRIC_DEFAULT", 48, 0, wire.ErrMismatch},
		{"SYMMETRIC_DEFAULT", 40, 1, wire.ErrMismatch},
		{"HMAC_224", 40, 0, nil},
		{"HMAC_384", 56, 0, nil},
		{"HMAC_512", 72, 0, nil},
		{"HMAC_512", 40, 0, wire.ErrMismatch},
		{"ECC_NIST_P256", 144, 91, nil},
		{"ECC_NIST_P256", 144, 0, wire.ErrMismatch},
		{"ECC_NIST_P256", 145, 91, wire.ErrMismatch},
		{"ECC_NIST_P256", 40, 91, wire.ErrMismatch},
		{"ECC_NIST_P256", 200, 91, wire.ErrMismatch},
		{"RSA_2048", 1232, 294, nil},
		{"RSA_2048", 1784, 294, wire.ErrMismatch},
		{"ML_DSA_44", 40, 0, wire.ErrUnsupported},
		{"", 40, 0, wire.ErrUnsupported},
	} {
		err := wire.CheckBlob(c.spec, wire.Wrapped{Blob: make([]byte, c.blob), Public: make([]byte, c.public)})
		if !errors.Is(err, c.want) {
			t.Errorf("%s of %d bytes, public key of %d: %v", c.spec, c.blob, c.public, err)
		}
	}
	if keyset.HashSize != wire.HashSize {
		t.Error("two hash sizes")
	}
}
