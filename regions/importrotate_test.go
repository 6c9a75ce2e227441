package regions_test

import (
	"strings"
	"testing"
	"time"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/awstime"
	"antipode/regions/regionstest"
)

// outside is who holds several materials for one key, each wrapped for the same import token.
type outside struct {
	f       *regionstest.Fixture
	key     regions.KeyMetadata
	params  *parameters
	wrapped map[string][]byte // by the material's name
}

func newOutside(t testing.TB, f *regionstest.Fixture, materials ...string) *outside {
	t.Helper()
	o := &outside{f: f, key: newImportKey(t, f), wrapped: map[string][]byte{}}
	o.params = getParameters(t, f, o.key.KeyID, "RSAES_OAEP_SHA_1")
	for _, name := range materials {
		o.wrapped[name] = hsmtest.WrapByOpenSSL(t, o.params.PublicKey, "RSAES_OAEP_SHA_1", newMaterial(t))
	}
	return o
}

// input imports a material; kind is the ImportType.
func (o *outside) input(name, kind string) *regions.ImportKeyMaterialInput {
	return &regions.ImportKeyMaterialInput{
		KeyID: o.key.KeyID, ImportToken: o.params.ImportToken, EncryptedKeyMaterial: o.wrapped[name], ImportType: kind,
		ExpirationModel: "KEY_MATERIAL_DOES_NOT_EXPIRE", KeyMaterialDescription: &name,
	}
}

// bring imports a material and returns its id.
func (o *outside) bring(t testing.TB, name, kind string) string {
	t.Helper()
	return regionstest.Must[imported](t, o.f, "ImportKeyMaterial", o.input(name, kind)).KeyMaterialID
}

func (o *outside) try(t testing.TB, in *regions.ImportKeyMaterialInput) error {
	t.Helper()
	_, err := regionstest.Call[imported](t, o.f, "ImportKeyMaterial", in)
	return err
}

func (o *outside) drop(t testing.TB, id string) {
	t.Helper()
	out := regionstest.Must[unimported](t, o.f, "DeleteImportedKeyMaterial", &regions.DeleteImportedKeyMaterialInput{KeyID: o.key.KeyID, KeyMaterialID: id})
	if id != "" && out.KeyMaterialID != id {
		t.Errorf("deleted %s, want %s", out.KeyMaterialID, id)
	}
}

func (o *outside) rotate(t testing.TB) error {
	t.Helper()
	_, err := regionstest.Call[regions.RotateKeyOnDemandOutput](t, o.f, "RotateKeyOnDemand", &regions.KeyInput{KeyID: o.key.KeyID})
	return err
}

// wantList compares all materials: state, import state and description of each.
func (o *outside) wantList(t *testing.T, want ...string) []regions.RotationsListEntry {
	t.Helper()
	var got []string
	list := history(t, o.f, o.key.KeyID)
	for _, e := range list {
		got = append(got, e.KeyMaterialState+" "+e.ImportState+" "+e.KeyMaterialDescription)
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("the materials are %q, want %q", got, want)
	}
	return list
}

const (
	newKind      = "NEW_KEY_MATERIAL"
	existingKind = "EXISTING_KEY_MATERIAL"
)

// New material waits beside the current one and does nothing, encrypts from the rotation on, and then is one of those that
// the key can't be without: each can be deleted, and only the same comes back.
func TestRotateImported(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	base := hsmtest.SessionObjects(t, f.Token)
	o := newOutside(t, f, "a", "b", "c")
	key := o.key
	wantError(t, "nothing to rotate", o.rotate(t), "KMSInvalidStateException", key.Arn+" is pending import.")
	a := o.bring(t, "a", newKind)
	none := "No available key material pending rotation for the key: " + key.Arn + "."
	wantError(t, "none is pending", o.rotate(t), "KMSInvalidStateException", none)
	wantError(t, "not new", o.try(t, o.input("a", newKind)), "IncorrectKeyMaterialException", "The key material is already associated with the KMS key.")
	wantError(t, "not said to be new", o.try(t, o.input("b", "")), "IncorrectKeyMaterialException", incorrectMaterial)
	old := f.Encrypt(t, key.KeyID, []byte("old"))

	b := o.bring(t, "b", newKind)
	f.Reopen(t)
	if again := o.bring(t, "b", newKind); again != b || b == a {
		t.Errorf("the ids are %s, %s, %s", a, b, again)
	}
	third := o.try(t, o.input("c", newKind))
	if third == nil || !strings.HasPrefix(third.Error(), "KMSInvalidStateException: New key material (id: ") ||
		!strings.HasSuffix(third.Error(), ") cannot be imported into KMS key "+key.Arn+", because another key material (id: "+b+") is pending rotation.") {
		t.Errorf("a third: %v", third)
	}
	o.wantList(t, "CURRENT IMPORTED a", "PENDING_ROTATION IMPORTED b")
	if d := describe(t, f, key.KeyID); d.CurrentKeyMaterialID != a || d.KeyState != regions.StateEnabled {
		t.Errorf("with one pending: %+v", d)
	}
	opens(t, f, f.Encrypt(t, key.KeyID, []byte("still")), "still", a)
	if n := len(regionstest.Must[regions.ListKeyRotationsOutput](t, f, "ListKeyRotations", &regions.ListKeyRotationsInput{KeyID: key.KeyID}).Rotations); n != 0 {
		t.Errorf("%d rotations before the first", n)
	}

	f.Clock.Advance(time.Hour)
	rotateOnDemand(t, f, key.KeyID)
	wantError(t, "rotated already", o.rotate(t), "KMSInvalidStateException", none)
	list := o.wantList(t, "NON_CURRENT IMPORTED a", "CURRENT IMPORTED b")
	if e := list[1]; e.KeyMaterialID != b || e.RotationType != "ON_DEMAND" || e.RotationDate.Time().UnixMilli() != f.Clock.Now().UnixMilli() ||
		e.ExpirationModel != "KEY_MATERIAL_DOES_NOT_EXPIRE" || !list[0].RotationDate.IsZero() {
		t.Errorf("listed %+v", list)
	}
	fresh := f.Encrypt(t, key.KeyID, []byte("new"))
	f.Reopen(t)
	for range 2 {
		opens(t, f, old, "old", a)
		opens(t, f, fresh, "new", b)
		// The first of the two is named, the second is the current one.
		for id, name := range map[string]string{a: "a", "": "b"} {
			o.drop(t, id)
			if d := describe(t, f, key.KeyID); d.KeyState != regions.StatePendingImport || d.CurrentKeyMaterialID != b {
				t.Errorf("without %s: %+v", name, d)
			}
			_, err := decryptOne(t, f, old)
			wantError(t, "Decrypt", err, "KMSInvalidStateException", key.Arn+" is pending import.")
			wantError(t, "rotate", o.rotate(t), "KMSInvalidStateException", key.Arn+" is pending import.")
			other := o.input(map[string]string{"a": "b", "b": "a"}[name], existingKind)
			other.KeyMaterialID = map[string]string{"a": a, "b": b}[name]
			wantError(t, "another of its own", o.try(t, other), "IncorrectKeyMaterialException", "The key material is not the one with the id "+other.KeyMaterialID+".")
			wantError(t, "a stranger", o.try(t, o.input("c", existingKind)), "IncorrectKeyMaterialException", incorrectMaterial)
			in := o.input(name, existingKind)
			in.KeyMaterialID = other.KeyMaterialID
			regionstest.Must[imported](t, f, "ImportKeyMaterial", in)
		}
	}
	o.drop(t, a)
	o.drop(t, b)
	o.bring(t, "b", existingKind)
	o.wantList(t, "NON_CURRENT PENDING_IMPORT a", "CURRENT IMPORTED b")
	if d := describe(t, f, key.KeyID); d.KeyState != regions.StatePendingImport {
		t.Errorf("with one of two: %s", d.KeyState)
	}
	o.bring(t, "a", existingKind)
	o.bring(t, "c", newKind)
	rotateOnDemand(t, f, key.KeyID)
	opens(t, f, old, "old", a)
	opens(t, f, fresh, "new", b)
	o.wantList(t, "NON_CURRENT IMPORTED a", "NON_CURRENT IMPORTED b", "CURRENT IMPORTED c")
	events := rotationEvents(t, f)
	if len(events) != 2 {
		t.Fatalf("%d events", len(events))
	}
	for field, want := range map[string]string{
		"keyId": key.KeyID, "rotationType": "ON_DEMAND", "keyOrigin": "EXTERNAL", "previousKeyMaterialId": a, "currentKeyMaterialId": b,
	} {
		if got, _ := events[0].ServiceEventDetails.Text(field); got != want || events[0].ErrorCode != "" {
			t.Errorf("event: %s is %q, want %q", field, got, want)
		}
	}
	schedule(t, f, key.KeyID)
	f.Clock.Advance(8 * oneDay)
	deleteDue(t, f)
	if n := hsmtest.SessionObjects(t, f.Token); n != base || countMaterials(t, f, key.KeyID) != 0 {
		t.Errorf("the deleted key left %d objects", n-base)
	}
}

// Pending material that is deleted, or whose time is over, leaves nothing: the key is as before, and takes other material.
func TestImportedPendingGoes(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	base := hsmtest.SessionObjects(t, f.Token)
	o := newOutside(t, f, "a", "b", "c", "d")
	key := o.key
	a := o.bring(t, "a", "")
	b := o.bring(t, "b", newKind)
	o.drop(t, b)
	_, err := regionstest.Call[unimported](t, f, "DeleteImportedKeyMaterial", &regions.DeleteImportedKeyMaterialInput{KeyID: key.KeyID, KeyMaterialID: b})
	wantError(t, "deleted twice", err, "NotFoundException", "Key material "+b+" does not exist in key "+key.Arn)
	none := "No available key material pending rotation for the key: " + key.Arn + "."
	wantError(t, "deleted", o.rotate(t), "KMSInvalidStateException", none)
	wantError(t, "it is not bound", o.try(t, o.input("b", existingKind)), "IncorrectKeyMaterialException", incorrectMaterial)

	in := o.input("c", newKind)
	in.ExpirationModel, in.ValidTo = "", awstime.FromTime(f.Clock.Now().Add(time.Hour))
	c := regionstest.Must[imported](t, f, "ImportKeyMaterial", in).KeyMaterialID
	if e := o.wantList(t, "CURRENT IMPORTED a", "PENDING_ROTATION IMPORTED c")[1]; e.ValidTo != in.ValidTo || e.ExpirationModel != "KEY_MATERIAL_EXPIRES" || e.KeyMaterialID != c {
		t.Errorf("%+v", e)
	}
	if d := describe(t, f, key.KeyID); d.ExpirationModel != "KEY_MATERIAL_DOES_NOT_EXPIRE" {
		t.Errorf("what the key is bound to stays: %+v", d)
	}
	f.Clock.Advance(time.Hour)
	o.wantList(t, "CURRENT IMPORTED a", "PENDING_ROTATION PENDING_IMPORT c")
	wantError(t, "its time is over", o.rotate(t), "KMSInvalidStateException", none)
	opens(t, f, f.Encrypt(t, key.KeyID, []byte("x")), "x", a)
	expireDue(t, f)
	f.Reopen(t)
	o.wantList(t, "CURRENT IMPORTED a")
	if d := describe(t, f, key.KeyID); d.KeyState != regions.StateEnabled || countMaterials(t, f, key.KeyID) != 1 {
		t.Errorf("after it: %+v, %d materials", d, countMaterials(t, f, key.KeyID))
	}

	// Rotated with a date: it is the key's then, and takes it along when it goes.
	in = o.input("d", newKind)
	in.ExpirationModel, in.ValidTo = "", awstime.FromTime(f.Clock.Now().Add(time.Hour))
	regionstest.Must[imported](t, f, "ImportKeyMaterial", in)
	rotateOnDemand(t, f, key.KeyID)
	if d := describe(t, f, key.KeyID); d.ExpirationModel != "KEY_MATERIAL_EXPIRES" || d.ValidTo != in.ValidTo {
		t.Errorf("%+v", d)
	}
	f.Clock.Advance(time.Hour)
	wantError(t, "Encrypt", tryEncrypt(t, f, key.KeyID), "KMSInvalidStateException", key.Arn+" is pending import.")
	expireDue(t, f)
	o.wantList(t, "NON_CURRENT IMPORTED a", "CURRENT PENDING_IMPORT d")
	o.bring(t, "d", existingKind)
	opens(t, f, f.Encrypt(t, key.KeyID, []byte("y")), "y", history(t, f, key.KeyID)[1].KeyMaterialID)
	o.drop(t, a)
	o.drop(t, "")
	if n := hsmtest.SessionObjects(t, f.Token); n != base {
		t.Errorf("%d objects are left", n-base)
	}
}

// RotateKeyOnDemand in every state of a key that has material waiting, what keys are not rotated so, and AWS's limit.
func TestRotateImportedRefused(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	names := make([]string, 27)
	for i := range names {
		names[i] = string(rune('A' + i))
	}
	o := newOutside(t, f, names...)
	o.bring(t, names[0], "")
	o.bring(t, names[1], newKind)
	for i, note := range []string{"", "1", "3", "3r", "5", "11", "14", "15"} {
		if note == "" {
			continue // below
		}
		f.PutKey(t, o.key.KeyID, func(k *regions.Key) { k.State = tableStates[i] })
		wantError(t, string(tableStates[i]), o.rotate(t), notes[note].code, o.key.Arn+notes[note].text)
	}
	f.PutKey(t, o.key.KeyID, func(k *regions.Key) { k.State = regions.StateEnabled })
	for _, name := range names[2:] {
		rotateOnDemand(t, f, o.key.KeyID)
		o.bring(t, name, newKind)
	}
	wantError(t, "the 26th", o.rotate(t), "LimitExceededException", "The on-demand rotations limit has been reached for the given "+
		"keyId. No more on-demand rotations can be performed for this key: "+o.key.Arn)
	_, err := regionstest.Call[struct{}](t, f, "EnableKeyRotation", &regions.EnableKeyRotationInput{KeyID: o.key.KeyID})
	wantError(t, "by schedule", err, "UnsupportedOperationException", o.key.Arn+" origin is EXTERNAL which is not valid for this operation.")

	mac := regionstest.Must[regions.CreateKeyOutput](t, f, "CreateKey", &regions.CreateKeyInput{
		Origin: "EXTERNAL", KeySpec: "HMAC_256", KeyUsage: "GENERATE_VERIFY_MAC",
	}).KeyMetadata
	regionstest.Must[imported](t, f, "ImportKeyMaterial", importInput(t, f, mac.KeyID, "RSAES_OAEP_SHA_1", newMaterial(t)))
	_, err = regionstest.Call[regions.RotateKeyOnDemandOutput](t, f, "RotateKeyOnDemand", &regions.KeyInput{KeyID: mac.KeyID})
	wantError(t, "a MAC key", err, "UnsupportedOperationException", mac.Arn+" key spec is HMAC_256 which is not valid for RotateKeyOnDemand.")
}
