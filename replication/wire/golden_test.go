package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"antipode/regions/canon"
	"antipode/regions/cose"
	"antipode/replication/wire"
)

// Golden messages are written once, with -write-golden, into files that do not exist; they are never written again,
// because what a released version sent must stay readable. ECDSA signatures are random, so they can only be verified.
var writeGolden = flag.Bool("write-golden", false, "write golden messages that do not exist yet")

const goldenDir = "testdata/golden"

// A golden file is lines of "name: value", where a name that is not known here fails, an empty line, and the message in
// hex. The names:
//
//	expect      ok, malformed, untrusted or misrouted: what Open answers
//	self        the Region that opens it
//	sha384      Hash of the message
//	transcript  for m3: Transcript of the exchange, suite P384-NULL-ECBKDF-KWP
type golden struct {
	expect, self, sha384, transcript string
	message                          []byte
}

// goldenMessage returns the bytes of a golden message, if its file exists.
func goldenMessage(t testing.TB, name string) ([]byte, bool) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(goldenDir, name)); errors.Is(err, os.ErrNotExist) {
		return nil, false
	}
	return readGolden(t, name).message, true
}

func readGolden(t testing.TB, name string) golden {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(goldenDir, name))
	if err != nil {
		t.Fatal(err)
	}
	head, body, ok := strings.Cut(string(text), "\n\n")
	if !ok {
		t.Fatalf("%s: no message", name)
	}
	var g golden
	for line := range strings.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "expect":
			g.expect = value
		case "self":
			g.self = value
		case "sha384":
			g.sha384 = value
		case "transcript":
			g.transcript = value
		default:
			t.Fatalf("%s: unknown line %q", name, line)
		}
	}
	if g.message, err = hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(body), "\n", "")); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return g
}

func TestGolden(t *testing.T) {
	t.Parallel()
	if *writeGolden {
		writeMissing(t)
	}
	expect := map[string]error{
		"ok": nil, "malformed": wire.ErrMalformed, "untrusted": wire.ErrUntrusted, "misrouted": wire.ErrMisrouted,
	}
	files, err := os.ReadDir(goldenDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 5 {
		t.Fatalf("%d golden messages", len(files))
	}
	keys := newRoster(t)
	for _, f := range files {
		g := readGolden(t, f.Name())
		want, known := expect[g.expect]
		if !known {
			t.Fatalf("%s: expect: %q", f.Name(), g.expect)
		}
		if got := fmt.Sprintf("%x", wire.Hash(g.message)); got != g.sha384 {
			t.Errorf("%s: sha384 %s", f.Name(), got)
		}
		if _, err := wire.Open(g.message, g.self, keys); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", f.Name(), err, want)
		}
	}

	// The contents: what this version encodes for the fixed exchange is byte for byte what the golden messages hold.
	x := newExchange(t)
	m1, m2, m3 := readGolden(t, "m1.txt"), readGolden(t, "m2.txt"), readGolden(t, "m3.txt")
	x.accept.Offer, x.transfer.Offer = wire.Hash(m1.message), wire.Hash(m1.message)
	x.transfer.Accept = wire.Hash(m2.message)
	x.receipt.Transfer, x.refusal.Refuses = wire.Hash(m3.message), wire.Hash(m3.message)
	contents := newQuestions(t).all()
	maps.Copy(contents, map[string]wire.Message{
		"m1.txt": x.offer, "m2.txt": x.accept, "m3.txt": x.transfer, "m4.txt": x.receipt, "refusal.txt": x.refusal,
	})
	for name, m := range contents {
		want, err := cose.Unverified(readGolden(t, name).message, m.Type())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := canon.Marshal(m); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: this version encodes\n%x\nthe golden one is\n%x (%v)", name, got, want, err)
		}
	}
	got, err := wire.Transcript(wire.SuiteNullECB, m1.message, m2.message, x.transfer)
	if err != nil || fmt.Sprintf("%x", got) != m3.transcript {
		t.Errorf("transcript %x, %v", got, err)
	}
	goldenRSA(t)
}

// goldenRSA does the same for the messages that differ in an RSA suite.
func goldenRSA(t *testing.T) {
	t.Helper()
	x := newRSAExchange(t)
	m1, m2 := readGolden(t, "rsa-m1.txt"), readGolden(t, "rsa-m2.txt")
	x.accept.Offer, x.transfer.Offer = wire.Hash(m1.message), wire.Hash(m1.message)
	x.transfer.Accept = wire.Hash(m2.message)
	for name, m := range map[string]wire.Message{"rsa-m1.txt": x.offer, "rsa-m2.txt": x.accept, "rsa-m3.txt": x.transfer} {
		want, err := cose.Unverified(readGolden(t, name).message, m.Type())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := canon.Marshal(m); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: this version encodes\n%x\nthe golden one is\n%x (%v)", name, got, want, err)
		}
	}
}

func writeMissing(t *testing.T) {
	t.Helper()
	x := newExchange(t)
	transcript, err := wire.Transcript(wire.SuiteNullECB, x.m1, x.m2, x.transfer)
	if err != nil {
		t.Fatal(err)
	}
	altered := bytes.Clone(x.m1)
	altered[len(altered)/2] ^= 1
	write := func(name, expect, self string, message []byte, more string) {
		text := fmt.Sprintf("expect: %s\nself: %s\nsha384: %x\n%s\n", expect, self, wire.Hash(message), more)
		for digits := hex.EncodeToString(message); digits != ""; {
			n := min(96, len(digits))
			text, digits = text+digits[:n]+"\n", digits[n:]
		}
		f, err := os.OpenFile(filepath.Join(goldenDir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, os.ErrExist) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(goldenDir, 0o750); err != nil {
		t.Fatal(err)
	}
	write("m1.txt", "ok", west, x.m1, "")
	write("m2.txt", "ok", east, x.m2, "")
	write("m3.txt", "ok", west, x.m3, fmt.Sprintf("transcript: %x\n", transcript))
	write("m4.txt", "ok", east, x.m4, "")
	r := newRSAExchange(t)
	write("rsa-m1.txt", "ok", west, r.m1, "")
	write("rsa-m2.txt", "ok", east, r.m2, "")
	write("rsa-m3.txt", "ok", west, r.m3, "")
	write("refusal.txt", "ok", east, x.no, "")
	write("m1-altered.txt", "untrusted", west, altered, "")
	write("m1-tagged.txt", "malformed", west, append([]byte{0xd2}, x.m1...), "")
	write("m1-elsewhere.txt", "misrouted", euro, x.m1, "")
	q := newQuestions(t)
	write("sync.txt", "ok", west, q.syncData, "")
	write("want.txt", "ok", west, q.wantData, "")
	write("know.txt", "ok", west, q.knowData, "")
	write("supply-m1.txt", "ok", west, x.sign(t, x.east, q.supply), "")
	write("sync-ack.txt", "ok", east, x.sign(t, x.west, q.syncAck), "")
	write("want-ack.txt", "ok", east, x.sign(t, x.west, q.wantAck), "")
	write("known.txt", "ok", east, x.sign(t, x.west, q.known), "")
	write("gone.txt", "ok", east, q.goneData, "")
	write("compare.txt", "ok", west, q.compareData, "")
	write("compare-bucket.txt", "ok", west, q.compareBucketData, "")
	write("compared.txt", "ok", east, x.sign(t, x.west, q.compared), "")
	write("compared-bucket.txt", "ok", east, x.sign(t, x.west, q.comparedBucket), "")
	write("identity-request.txt", "ok", west, x.sign(t, x.east, q.ids), "")
	write("identity-export.txt", "ok", east, x.sign(t, x.west, q.page), "")
	write("gone-ack.txt", "ok", west, x.sign(t, x.east, q.goneAck), "")
	write("hand-over.txt", "ok", west, q.handOverData, "")
	write("hand-over-ack.txt", "ok", east, x.sign(t, x.west, q.handOverAck), "")
	write("not-primary.txt", "ok", west, x.sign(t, x.east, q.notPrimary), "")
	write("m1-third-signer.txt", "misrouted", west, x.sign(t, newRegion(t, euro), x.offer), "")
}

// FuzzParse: a message that parses re-encodes to the same payload, and its bytes carry that payload unchanged.
func FuzzParse(f *testing.F) {
	x := newExchange(f)
	r := newRSAExchange(f)
	for _, m := range [][]byte{x.m1, x.m2, x.m3, x.m4, x.no, r.m2, r.m3} {
		f.Add(m)
	}
	for name := range newQuestions(f).all() {
		m, _ := goldenMessage(f, name)
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := wire.Parse(data)
		if err != nil {
			if opened, err := wire.Open(data, west, x.roster); err == nil {
				t.Fatalf("opened what can't be parsed: %+v", opened)
			}
			return
		}
		want, err := cose.Unverified(data, m.Type())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := canon.Marshal(m); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%x re-encodes to %x (%v)", want, got, err)
		}
	})
}

// FuzzPayload goes at the decoders of the contents directly, without an envelope around them.
func FuzzPayload(f *testing.F) {
	x := newExchange(f)
	q := newQuestions(f)
	types := []wire.Message{
		x.offer, x.accept, x.transfer, x.receipt, x.refusal, q.supply, q.sync, q.syncAck, q.want, q.wantAck, q.know, q.known,
		q.gone, q.goneAck, q.ids, q.page, q.handOver, q.handOverAck, q.notPrimary, q.compare, q.compared, q.compareBucket, q.comparedBucket,
	}
	for i, m := range types {
		payload, err := canon.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), payload)
	}
	f.Fuzz(func(t *testing.T, which uint8, payload []byte) {
		typ := types[int(which)%len(types)].Type()
		if len(payload) == 0 || len(payload) > wire.MaxSize/2 {
			return
		}
		head, err := canon.Marshal(struct {
			Alg  int64  `cbor:"1,keyasint"`
			Kid  []byte `cbor:"4,keyasint"`
			Type string `cbor:"16,keyasint"`
		}{-35, x.east.KeyID(), typ})
		if err != nil {
			t.Fatal(err)
		}
		data, err := canon.Marshal([]any{head, struct{}{}, payload, make([]byte, cose.SignatureSize)})
		if err != nil {
			t.Fatal(err)
		}
		m, err := wire.Parse(data)
		if err != nil {
			return
		}
		if got, err := canon.Marshal(m); err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("%s %x re-encodes to %x (%v)", typ, payload, got, err)
		}
		if _, err := wire.Open(data, m.Header().To, x.roster); err == nil {
			t.Fatal("opened without a signature")
		}
	})
}
