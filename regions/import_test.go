package regions_test

import (
	"bytes"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"time"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/awstime"
	"antipode/regions/regionstest"
)

type (
	parameters = regions.GetParametersForImportOutput
	imported   = regions.ImportKeyMaterialOutput
	unimported = regions.DeleteImportedKeyMaterialOutput
)

// newImportKey makes a key whose material is to be imported.
func newImportKey(t testing.TB, f *regionstest.Fixture) regions.KeyMetadata {
	t.Helper()
	return regionstest.Must[regions.CreateKeyOutput](t, f, "CreateKey", &regions.CreateKeyInput{Origin: "EXTERNAL"}).KeyMetadata
}

func newMaterial(t testing.TB) []byte {
	t.Helper()
	m := make([]byte, 32)
	if _, err := rand.Read(m); err != nil {
		t.Fatal(err)
	}
	return m
}

func getParameters(t testing.TB, f *regionstest.Fixture, keyID, algorithm string) *parameters {
	t.Helper()
	return regionstest.Must[parameters](t, f, "GetParametersForImport", &regions.GetParametersForImportInput{
		KeyID: keyID, WrappingKeySpec: "RSA_2048", WrappingAlgorithm: algorithm,
	})
}

// importInput is a request with material that OpenSSL has wrapped, and that does not expire.
func importInput(t testing.TB, f *regionstest.Fixture, keyID, algorithm string, material []byte) *regions.ImportKeyMaterialInput {
	t.Helper()
	p := getParameters(t, f, keyID, algorithm)
	return &regions.ImportKeyMaterialInput{
		KeyID: keyID, ImportToken: p.ImportToken, ExpirationModel: "KEY_MATERIAL_DOES_NOT_EXPIRE",
		EncryptedKeyMaterial: hsmtest.WrapByOpenSSL(t, p.PublicKey, algorithm, material),
	}
}

func describe(t testing.TB, f *regionstest.Fixture, keyID string) regions.KeyMetadata {
	t.Helper()
	return regionstest.Must[regions.DescribeKeyOutput](t, f, "DescribeKey", &regions.DescribeKeyInput{KeyID: keyID}).KeyMetadata
}

func tryEncrypt(t testing.TB, f *regionstest.Fixture, keyID string) error {
	t.Helper()
	_, err := regionstest.Call[regions.EncryptOutput](t, f, "Encrypt", &regions.EncryptInput{KeyID: keyID, Plaintext: []byte("x")})
	return err
}

func decryptOne(t testing.TB, f *regionstest.Fixture, blob []byte) (string, error) {
	t.Helper()
	out, err := regionstest.Call[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
	if err != nil {
		return "", err
	}
	return string(out.Plaintext), nil
}

const incorrectMaterial = "The key material is not the same key material that was previously imported into this KMS key."

// The life of imported material, by each wrapping algorithm: nothing, in use, deleted and off the token, back again, and
// never another one.
func TestImportKeyMaterial(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1", "RSA_AES_KEY_WRAP_SHA_256"} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			f := regionstest.Open(t, "us-east-2")
			base := hsmtest.SessionObjects(t, f.Token)
			key := newImportKey(t, f)
			if key.KeyState != regions.StatePendingImport || key.Enabled || key.Origin != "EXTERNAL" ||
				key.CurrentKeyMaterialID != "" || key.ExpirationModel != "" {
				t.Errorf("a new key: %+v", key)
			}
			wantError(t, "Encrypt", tryEncrypt(t, f, key.KeyID), "KMSInvalidStateException", key.Arn+" is pending import.")
			material := newMaterial(t)
			in := importInput(t, f, key.KeyID, algorithm, material)
			if n := hsmtest.SessionObjects(t, f.Token); n != base {
				t.Errorf("GetParametersForImport left %d objects", n-base)
			}
			got := regionstest.Must[imported](t, f, "ImportKeyMaterial", in)
			if n := hsmtest.SessionObjects(t, f.Token); n != base {
				t.Errorf("ImportKeyMaterial left %d objects", n-base)
			}
			d := describe(t, f, key.KeyID)
			if got.KeyID != key.Arn || got.KeyMaterialID == "" || d.CurrentKeyMaterialID != got.KeyMaterialID ||
				d.KeyState != regions.StateEnabled || !d.Enabled || d.ExpirationModel != "KEY_MATERIAL_DOES_NOT_EXPIRE" || !d.ValidTo.IsZero() {
				t.Errorf("imported %+v: %+v", got, d)
			}
			blob := f.Encrypt(t, key.KeyID, []byte("attack at dawn"))
			other := importInput(t, f, key.KeyID, algorithm, newMaterial(t))
			_, err := regionstest.Call[imported](t, f, "ImportKeyMaterial", other)
			wantError(t, "other material", err, "IncorrectKeyMaterialException", incorrectMaterial)

			gone := regionstest.Must[unimported](t, f, "DeleteImportedKeyMaterial", &regions.DeleteImportedKeyMaterialInput{KeyID: key.KeyID})
			if gone.KeyID != key.Arn || gone.KeyMaterialID != got.KeyMaterialID {
				t.Errorf("deleted %+v", gone)
			}
			if n := hsmtest.SessionObjects(t, f.Token); n != base {
				t.Errorf("DeleteImportedKeyMaterial left %d objects", n-base)
			}
			d = describe(t, f, key.KeyID)
			if d.KeyState != regions.StatePendingImport || d.CurrentKeyMaterialID != got.KeyMaterialID || d.ExpirationModel != "" {
				t.Errorf("deleted: %+v", d)
			}
			wantError(t, "Encrypt", tryEncrypt(t, f, key.KeyID), "KMSInvalidStateException", key.Arn+" is pending import.")
			_, err = decryptOne(t, f, blob)
			wantError(t, "Decrypt", err, "KMSInvalidStateException", key.Arn+" is pending import.")
			_, err = regionstest.Call[imported](t, f, "ImportKeyMaterial", other)
			wantError(t, "other material after the deletion", err, "IncorrectKeyMaterialException", incorrectMaterial)

			f.Reopen(t)
			again := regionstest.Must[imported](t, f, "ImportKeyMaterial", in) // the same token, in its 24 hours
			if again.KeyMaterialID != got.KeyMaterialID {
				t.Errorf("imported again: %+v", again)
			}
			if p, err := decryptOne(t, f, blob); p != "attack at dawn" {
				t.Errorf("decrypted %q, %v", p, err)
			}
		})
	}
}

// Expired material is not used from that moment on, and is removed by the Region's loop, with an event of its own, its
// copies gone before the event's outcome; a later import moves the date.
func TestImportExpires(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	base := hsmtest.SessionObjects(t, f.Token)
	key := newImportKey(t, f)
	in := importInput(t, f, key.KeyID, "RSAES_OAEP_SHA_1", newMaterial(t))
	in.ExpirationModel, in.ValidTo = "", awstime.FromTime(f.Clock.Now().Add(time.Hour))
	got := regionstest.Must[imported](t, f, "ImportKeyMaterial", in)
	if d := describe(t, f, key.KeyID); d.ExpirationModel != "KEY_MATERIAL_EXPIRES" || d.ValidTo != in.ValidTo {
		t.Errorf("%+v", d)
	}
	blob := f.Encrypt(t, key.KeyID, []byte("x"))
	// Moved, by another import of the same.
	in.ValidTo = awstime.FromTime(f.Clock.Now().Add(2 * time.Hour))
	regionstest.Must[imported](t, f, "ImportKeyMaterial", in)
	f.Clock.Advance(2*time.Hour - time.Second)
	expireDue(t, f)
	if p, err := decryptOne(t, f, blob); p != "x" {
		t.Fatalf("before its time: %v", err)
	}
	f.Clock.Advance(time.Second)
	wantError(t, "Encrypt", tryEncrypt(t, f, key.KeyID), "KMSInvalidStateException", key.Arn+" is pending import.")
	if d := describe(t, f, key.KeyID); d.KeyState != regions.StatePendingImport || d.Enabled {
		t.Errorf("before the loop: %+v", d)
	}
	if n := hsmtest.SessionObjects(t, f.Token); n == base {
		t.Error("the test shows nothing: there is no copy on the token")
	}
	f.Clock.Advance(-time.Hour) // the clock is set back: it is good again
	expireDue(t, f)
	if p, err := decryptOne(t, f, blob); p != "x" {
		t.Fatalf("with the clock set back: %v", err)
	}
	f.Clock.Advance(time.Hour)
	expireDue(t, f)
	expireDue(t, f)
	if n := hsmtest.SessionObjects(t, f.Token); n != base {
		t.Errorf("%d copies are left", n-base)
	}
	f.Reopen(t)
	d := describe(t, f, key.KeyID)
	if d.KeyState != regions.StatePendingImport || d.CurrentKeyMaterialID != got.KeyMaterialID || d.ExpirationModel != "" || !d.ValidTo.IsZero() {
		t.Errorf("expired: %+v", d)
	}
	if n := countMaterials(t, f, key.KeyID); n != 0 {
		t.Errorf("%d materials in the store", n)
	}
	var outcomes int
	for _, r := range f.Records(t) {
		if r.Event.EventName == "DeleteExpiredKeyMaterial" && r.Kind == "outcome" {
			outcomes++
			if id, _ := r.Event.ServiceEventDetails.Text("keyMaterialId"); r.Event.ErrorCode != "" || id != got.KeyMaterialID ||
				r.Event.EventType != "AwsServiceEvent" || r.Event.Resources[0].ARN != key.Arn {
				t.Errorf("recorded %+v", r.Event)
			}
		}
	}
	if outcomes != 1 {
		t.Errorf("%d events", outcomes)
	}
	in.ValidTo, in.ExpirationModel = awstime.Timestamp{}, "KEY_MATERIAL_DOES_NOT_EXPIRE"
	regionstest.Must[imported](t, f, "ImportKeyMaterial", in)
	if p, err := decryptOne(t, f, blob); p != "x" {
		t.Fatalf("imported again: %v", err)
	}
}

func expireDue(t testing.TB, f *regionstest.Fixture) {
	t.Helper()
	if err := f.Region.ExpireDue(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func countMaterials(t testing.TB, f *regionstest.Fixture, keyID string) (n int) {
	t.Helper()
	err := f.Store.View(t.Context(), func(rd regions.Reader) error {
		recs, err := rd.List(t.Context(), regions.Query{Kind: regions.KindMaterial, ID: keyID})
		n = len(recs)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A token is good for one key, unaltered, for 24 hours, and for the latest eight.
func TestImportToken(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	a, b := newImportKey(t, f), newImportKey(t, f)
	const invalid = "The import token is invalid or is associated with a different KMS key."
	const expired = "The import token is expired. Use GetParametersForImport to get a new import token and public key, and use " +
		"them to encrypt the key material."
	in := importInput(t, f, a.KeyID, "RSAES_OAEP_SHA_1", newMaterial(t))
	f.Clock.Advance(time.Millisecond) // so that it is the oldest
	call := func(change func(in *regions.ImportKeyMaterialInput)) error {
		c := *in
		c.ImportToken = bytes.Clone(in.ImportToken)
		change(&c)
		_, err := regionstest.Call[imported](t, f, "ImportKeyMaterial", &c)
		return err
	}
	wantError(t, "another key", call(func(in *regions.ImportKeyMaterialInput) { in.KeyID = b.KeyID }), "InvalidImportTokenException", invalid)
	for i := range in.ImportToken {
		wantError(t, "altered", call(func(in *regions.ImportKeyMaterialInput) { in.ImportToken[i] ^= 1 }), "InvalidImportTokenException", invalid)
	}
	for _, n := range []int{1, len(in.ImportToken) - 1} {
		wantError(t, "cut", call(func(in *regions.ImportKeyMaterialInput) { in.ImportToken = in.ImportToken[:n] }), "InvalidImportTokenException", invalid)
	}
	wantError(t, "longer", call(func(in *regions.ImportKeyMaterialInput) { in.ImportToken = append(in.ImportToken, 0) }), "InvalidImportTokenException", invalid)
	other := importInput(t, f, a.KeyID, "RSAES_OAEP_SHA_1", newMaterial(t))
	wantError(t, "another pair's", call(func(in *regions.ImportKeyMaterialInput) { in.ImportToken = other.ImportToken }), "InvalidCiphertextException", "")
	f.Clock.Advance(time.Millisecond)
	if p := getParameters(t, f, a.KeyID, "RSAES_OAEP_SHA_256"); p.ParametersValidTo.Time().Sub(f.Clock.Now()) != 24*time.Hour {
		t.Errorf("valid until %v", p.ParametersValidTo)
	}
	for range 6 { // with the three above, one more than there may be
		getParameters(t, f, a.KeyID, "RSAES_OAEP_SHA_1")
	}
	if n := countPairs(t, f); n != 8 {
		t.Errorf("%d pairs", n)
	}
	wantError(t, "displaced", call(func(*regions.ImportKeyMaterialInput) {}), "ExpiredImportTokenException", expired)
	*in = *other // the second is there still
	f.Clock.Advance(24*time.Hour - 2*time.Millisecond)
	expireDue(t, f)
	in.ExpirationModel, in.ValidTo = "KEY_MATERIAL_EXPIRES", awstime.FromTime(f.Clock.Now())
	wantError(t, "a date that is now", call(func(*regions.ImportKeyMaterialInput) {}), "ValidationException", "The validTo date must be in the future.")
	in.ValidTo = awstime.FromTime(f.Clock.Now().Add(365*24*time.Hour + time.Millisecond))
	wantError(t, "a far date", call(func(*regions.ImportKeyMaterialInput) {}), "ValidationException", "The validTo date must be no more than 365 days in the future.")
	in.ValidTo = awstime.FromTime(f.Clock.Now().Add(365 * 24 * time.Hour))
	if err := call(func(*regions.ImportKeyMaterialInput) {}); err != nil {
		t.Errorf("in its last millisecond: %v", err)
	}
	f.Clock.Advance(time.Millisecond)
	wantError(t, "after 24 hours", call(func(*regions.ImportKeyMaterialInput) {}), "ExpiredImportTokenException", expired)
	f.Clock.Advance(time.Millisecond)
	expireDue(t, f)
	if n := countPairs(t, f); n != 0 {
		t.Errorf("%d pairs are left", n)
	}
	wantError(t, "pruned", call(func(*regions.ImportKeyMaterialInput) {}), "ExpiredImportTokenException", expired)
}

func countPairs(t testing.TB, f *regionstest.Fixture) (n int) {
	t.Helper()
	err := f.Store.View(t.Context(), func(rd regions.Reader) error {
		recs, err := rd.List(t.Context(), regions.Query{Kind: regions.KindImportPair})
		n = len(recs)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Two imports at once into a new key: it gets one material, and the other is told so.
func TestImportTwice(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := newImportKey(t, f)
	errs := make([]error, 4)
	var inputs []*regions.ImportKeyMaterialInput
	for range errs {
		inputs = append(inputs, importInput(t, f, key.KeyID, "RSAES_OAEP_SHA_1", newMaterial(t)))
	}
	var all sync.WaitGroup
	for i, in := range inputs {
		all.Go(func() { _, errs[i] = regionstest.Do(t.Context(), f.Region, f.Admin, "ImportKeyMaterial", in) })
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		if !strings.HasPrefix(err.Error(), "IncorrectKeyMaterialException") {
			t.Errorf("the other was told %v", err)
		}
	}
	if n := countMaterials(t, f, key.KeyID); won != 1 || n != 1 {
		t.Errorf("%d imports answered, %d materials", won, n)
	}
}
