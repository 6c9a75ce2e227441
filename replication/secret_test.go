package replication_test

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/keyring"
	"antipode/regions/keyset"
	"antipode/replication/simtest"
)

// knownKey makes a multi-Region key in a whose material are these 32 bytes, and returns its id.
func knownKey(t *testing.T, a *simtest.Region, material []byte) string {
	t.Helper()
	ctx := t.Context()
	key := a.CreateKey(ctx)
	old := a.Holds(ctx, key)
	ring := a.Region.Ring()
	// The material comes onto the token by the kit's software, and into the store as that of a replica would.
	mechs := []hsmbackend.Mechanism{hsmbackend.MechAESECB, hsmbackend.MechDeriveECB}
	ref := hsmtest.Import(t, a.Token, hsmbackend.AES256, material, hsmbackend.Attributes{
		Extractable: true, Usage: hsmbackend.UsageEncrypt | hsmbackend.UsageDerive, Mechanisms: mechs,
	})
	kek, err := a.Token.GenerateKey(ctx, hsmbackend.AES256, hsmbackend.Attributes{
		Usage: hsmbackend.UsageWrap | hsmbackend.UsageUnwrap, Mechanisms: []hsmbackend.Mechanism{hsmbackend.MechAESKWP},
	})
	if err != nil {
		t.Fatal(err)
	}
	blob, err := a.Token.Wrap(ctx, kek, ref)
	if err != nil {
		t.Fatal(err)
	}
	m := old.Materials[0].Material
	m.ID = keyring.MaterialID(key, m.Spec, tagOf(t, material))
	if m, err = ring.Adopt(ctx, m, kek, blob, 0); err != nil {
		t.Fatal(err)
	}
	for _, r := range []hsmbackend.KeyRef{ref, kek} {
		if err := a.Token.Destroy(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	err = a.Region.Update(ctx, func(tx regions.Tx) error {
		_, err := a.Region.ChangeShared(ctx, tx, simtest.Account, key, func(k *regions.Key, s *keyset.State) error {
			k.Current, s.Materials[0].ID = m.ID, m.ID
			return nil
		})
		if err != nil {
			return err
		}
		if err := tx.Delete(ctx, old.Materials[0].RecordKey()); err != nil {
			return err
		}
		return regions.Put(ctx, tx, ring, regions.MaterialRecord{Material: m})
	})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// cmacKeys returns L and K1 of AES-CMAC.
func cmacKeys(t *testing.T, key []byte) (l, k1 []byte) {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	l, k1 = make([]byte, 16), make([]byte, 16)
	block.Encrypt(l, l)
	for i := range 15 {
		k1[i] = l[i]<<1 | l[i+1]>>7
	}
	k1[15] = l[15] << 1
	if l[0]&0x80 != 0 {
		k1[15] ^= 0x87
	}
	return l, k1
}

// kdf is the key derivation of XAES-256-GCM: AES-ECB over two counter blocks, each with K1.
func kdf(t *testing.T, key []byte, label byte, context []byte) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	_, k1 := cmacKeys(t, key)
	var out []byte
	for i := byte(1); i <= 2; i++ {
		in := append([]byte{0, i, label, 0}, context...)
		for j := range in {
			in[j] ^= k1[j]
		}
		block.Encrypt(in, in)
		out = append(out, in...)
	}
	return out
}

// tagOf is T, from which the material id is hashed.
func tagOf(t *testing.T, key []byte) []byte { return kdf(t, key, 'I', make([]byte, 12)) }

// forms are the ways in which a secret could appear: as it is, in hex, and in base64 wherever it begins.
func forms(secret []byte) map[string][]byte {
	out := map[string][]byte{
		"raw": secret, "hex": []byte(hex.EncodeToString(secret)), "HEX": []byte(strings.ToUpper(hex.EncodeToString(secret))),
	}
	for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
		for skip := range 3 {
			// The groups of three bytes that lie wholly inside, if it begins skip bytes before a group does.
			inner := secret[skip:]
			inner = inner[:len(inner)/3*3]
			out[name+" at "+string(rune('0'+skip))] = []byte(enc.EncodeToString(inner))
		}
	}
	return out
}

// evidence is all that left the tokens, by where it was found.
type evidence map[string][]byte

func collect(t *testing.T, w *simtest.World, rs ...*simtest.Region) evidence {
	t.Helper()
	e := evidence{}
	for _, m := range w.Net.Log() {
		e["network"] = append(e["network"], m.Data...)
	}
	for _, r := range rs {
		e["log of "+r.Name] = r.Logs()
		dir := os.DirFS(r.Dir)
		err := fs.WalkDir(dir, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(dir, path)
			e[filepath.Join(r.Dir, path)] = data
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// find returns where a secret is, in whatever form.
func (e evidence) find(secret []byte) (found []string) {
	for place, data := range e {
		for form, want := range forms(secret) {
			if bytes.Contains(data, want) {
				found = append(found, form+" in "+place)
			}
		}
	}
	return found
}

// A key whose material is known is replicated and used. No byte that was sent or written anywhere, stores and their logs,
// audit logs and service logs, has the material, what its use derives from it on the token, or T, in any encoding.
func TestNoKeyMaterialAnywhere(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w, a, b := twoRegions(t)
	material := make([]byte, 32)
	if _, err := rand.Read(material); err != nil {
		t.Fatal(err)
	}
	key := knownKey(t, a, material)
	if err := a.Replicate(ctx, key, ireland); err != nil {
		t.Fatal(err)
	}
	w.Both(ctx, key, ohio, ireland)
	blob, err := a.Encrypt(ctx, key, "some plaintext that nobody may see")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.Decrypt(ctx, blob); err != nil || got != "some plaintext that nobody may see" {
		t.Errorf("decrypts to %q, %v", got, err)
	}
	h := b.Holds(ctx, key)
	if want := keyring.MaterialID(key, h.Key.Spec, tagOf(t, material)); h.Key.Current != want {
		t.Fatalf("the key's material is %s, the known one %s", h.Key.Current, want)
	}
	wCarryFailures(t, w, a)

	e := collect(t, w, a, b)
	l, k1 := cmacKeys(t, material)
	secrets := map[string][]byte{
		"material": material, "L": l, "K1": k1, "T": tagOf(t, material), "plaintext": []byte("some plaintext that nobody may see"),
	}
	// Every 12 bytes of the blob could be the nonce's; one of the keys is that of the message.
	derived := 0
	for i := 0; i+12 <= len(blob); i++ {
		secrets["derived key"] = kdf(t, material, 'X', blob[i:i+12])
		derived++
		for name, secret := range secrets {
			if found := e.find(secret); len(found) != 0 {
				t.Errorf("%s is there: %v", name, found)
			}
			if derived > 1 && name != "derived key" {
				delete(secrets, name) // once is enough
			}
		}
	}

	// The search finds what is there.
	for name, there := range map[string][]byte{
		"source's key token": a.Holds(ctx, key).Materials[0].EKT, "replica's key token": h.Materials[0].EKT, "key id": []byte(key),
	} {
		if len(e.find(there)) == 0 {
			t.Errorf("the search does not find %s", name)
		}
	}
	for form, text := range forms(material) {
		if found := (evidence{"x": append([]byte("before"), text...)}).find(material); len(found) == 0 {
			t.Errorf("the search does not find %s", form)
		}
	}
	for skip := range 3 {
		text := base64.StdEncoding.EncodeToString(append(make([]byte, skip), material...))
		if found := (evidence{"x": []byte(text)}).find(material); len(found) == 0 {
			t.Errorf("the search does not find base64 after %d bytes", skip)
		}
	}
	for _, r := range []*simtest.Region{a, b} {
		for _, place := range []string{"network", "log of " + r.Name, filepath.Join(r.Dir, "store.db"), filepath.Join(r.Dir, "store.db-wal")} {
			if len(e[place]) == 0 {
				t.Errorf("%s was not searched", place)
			}
		}
	}
}

// wCarryFailures makes messages that are refused, so that what is logged of them is searched too.
func wCarryFailures(t *testing.T, w *simtest.World, a *simtest.Region) {
	t.Helper()
	_, e := begun(t, w, a)
	if _, err := w.Net.Send(t.Context(), ohio, ireland, e.M3[:len(e.M3)/2]); err == nil {
		t.Error("half a message was answered")
	}
	w.Settle(t.Context())
}
