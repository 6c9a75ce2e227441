package regions_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/audit"
	"antipode/regions/awstime"
	"antipode/regions/keyring"
	"antipode/regions/keyset"
	"antipode/regions/regionstest"
)

// rotateDue does what the Region's background work does at each tick.
func rotateDue(t *testing.T, f *regionstest.Fixture) {
	t.Helper()
	if err := f.Region.RotateDue(t.Context()); err != nil {
		t.Errorf("rotate keys that are due: %v", err)
	}
}

// history lists all materials of a key.
func history(t *testing.T, f *regionstest.Fixture, keyID string) []regions.RotationsListEntry {
	t.Helper()
	return regionstest.Must[regions.ListKeyRotationsOutput](t, f, "ListKeyRotations", &regions.ListKeyRotationsInput{
		KeyID: keyID, IncludeKeyMaterial: "ALL_KEY_MATERIAL",
	}).Rotations
}

// wantHistory fails the test unless the key has had these rotations, the last material is current and no other, and the
// key's record, DescribeKey and a new ciphertext name that one.
func wantHistory(t *testing.T, f *regionstest.Fixture, keyID string, causes ...keyset.RotationCause) []regions.RotationsListEntry {
	t.Helper()
	h := history(t, f, keyID)
	if len(h) != len(causes)+1 {
		t.Fatalf("%d materials after %d rotations: %+v", len(h), len(causes), h)
	}
	seen, want := map[string]bool{}, append([]keyset.RotationCause{""}, causes...)
	for i, e := range h {
		cause := want[i]
		state := "NON_CURRENT"
		if i == len(h)-1 {
			state = "CURRENT"
		}
		if e.RotationType != cause || e.RotationDate.IsZero() != (i == 0) || e.KeyMaterialState != state || e.KeyID != keyID || seen[e.KeyMaterialID] {
			t.Errorf("material %d of %d: %+v", i, len(h), e)
		}
		seen[e.KeyMaterialID] = true
	}
	last := h[len(h)-1].KeyMaterialID
	d := regionstest.Must[regions.DescribeKeyOutput](t, f, "DescribeKey", &regions.DescribeKeyInput{KeyID: keyID})
	if d.KeyMetadata.CurrentKeyMaterialID != last {
		t.Errorf("DescribeKey names %s, ListKeyRotations %s", d.KeyMetadata.CurrentKeyMaterialID, last)
	}
	return h
}

// opens fails the test unless the blob opens to the plaintext, under this material.
func opens(t *testing.T, f *regionstest.Fixture, blob []byte, plaintext, materialID string) {
	t.Helper()
	out := regionstest.Must[regions.DecryptOutput](t, f, "Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
	if string(out.Plaintext) != plaintext || out.KeyMaterialID != materialID {
		t.Errorf("%q under %s, want %q under %s", out.Plaintext, out.KeyMaterialID, plaintext, materialID)
	}
}

func rotateOnDemand(t *testing.T, f *regionstest.Fixture, keyID string) {
	t.Helper()
	out := regionstest.Must[regions.RotateKeyOnDemandOutput](t, f, "RotateKeyOnDemand", &regions.KeyInput{KeyID: keyID})
	if out.KeyID != keyID {
		t.Errorf("rotated %s", out.KeyID)
	}
}

func status(t *testing.T, f *regionstest.Fixture, keyID string) regions.GetKeyRotationStatusOutput {
	t.Helper()
	return *regionstest.Must[regions.GetKeyRotationStatusOutput](t, f, "GetKeyRotationStatus", &regions.KeyInput{KeyID: keyID})
}

// rotationEvents are the service events of rotations that are done, which the intents are not.
func rotationEvents(t *testing.T, f *regionstest.Fixture) (out []audit.Event) {
	t.Helper()
	for _, r := range f.Records(t) {
		if r.Kind == audit.KindOutcome && r.Event.EventName == "RotateKey" {
			out = append(out, r.Event)
		}
	}
	return out
}

// What each material encrypted opens for ever, wherever the material is kept, also after a restart; the new one encrypts.
func TestRotateOnDemand(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]struct {
		storage     keyring.Storage
		multiRegion bool
	}{
		"wrapped":      {keyring.StorageWrapped, false},
		"on the token": {keyring.StorageToken, false},
		"multi-Region": {keyring.StorageWrapped, true},
	} {
		f := regionstest.Open(t, "us-east-2", regionstest.WithStorage(open.storage))
		_, before := hsmtest.Objects(t, f.Token)
		key := f.CreateKey(t, open.multiRegion)
		blobs := [][]byte{f.Encrypt(t, key.KeyID, []byte("0"))}
		var causes []keyset.RotationCause
		for i := range 4 {
			if i == 2 {
				f.Reopen(t)
			}
			f.Clock.Advance(time.Hour)
			rotateOnDemand(t, f, key.KeyID)
			causes = append(causes, keyset.OnDemand)
			blobs = append(blobs, f.Encrypt(t, key.KeyID, []byte{byte('1' + i)}))
			h := wantHistory(t, f, key.KeyID, causes...)
			for i, b := range blobs {
				opens(t, f, b, string(byte('0'+i)), h[i].KeyMaterialID)
			}
		}
		f.Reopen(t)
		h := wantHistory(t, f, key.KeyID, causes...)
		for i, b := range blobs {
			opens(t, f, b, string(byte('0'+i)), h[i].KeyMaterialID)
		}
		want := 0
		if open.storage == keyring.StorageToken {
			want = len(h)
		}
		if _, n := hsmtest.Objects(t, f.Token); n-before != want {
			t.Errorf("%s: %d token objects for %d materials", name, n-before, len(h))
		}
		events := rotationEvents(t, f)
		if len(events) != 4 {
			t.Fatalf("%s: %d events of rotations", name, len(events))
		}
		for i, e := range events {
			for field, want := range map[string]string{
				"keyId": key.KeyID, "rotationType": "ON_DEMAND", "keyOrigin": "AWS_KMS",
				"previousKeyMaterialId": h[i].KeyMaterialID, "currentKeyMaterialId": h[i+1].KeyMaterialID,
			} {
				if got, _ := e.ServiceEventDetails.Text(field); got != want {
					t.Errorf("%s: event %d: %s is %q, want %q", name, i, field, got, want)
				}
			}
			if e.EventType != audit.TypeServiceEvent || e.ErrorCode != "" || len(e.Resources) != 1 || e.Resources[0].ARN != key.Arn {
				t.Errorf("%s: event %+v", name, e)
			}
		}
		// At the key's end all of its materials go.
		schedule(t, f, key.KeyID)
		f.Clock.Advance(8 * oneDay)
		deleteDue(t, f)
		wantGone(t, f, key)
		if _, n := hsmtest.Objects(t, f.Token); n != before {
			t.Errorf("%s: %d objects are left of a deleted key", name, n-before)
		}
		f.Close(t)
	}
}

// 25 rotations on demand, and not one more; automatic ones don't count.
func TestRotateLimit(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, false)
	var causes []keyset.RotationCause
	for range 25 {
		rotateOnDemand(t, f, key.KeyID)
		causes = append(causes, keyset.OnDemand)
	}
	_, err := regionstest.Call[regions.RotateKeyOnDemandOutput](t, f, "RotateKeyOnDemand", &regions.KeyInput{KeyID: key.KeyID})
	wantError(t, "the 26th", err, "LimitExceededException", "The on-demand rotations limit has been reached for the given "+
		"keyId. No more on-demand rotations can be performed for this key: "+key.Arn)
	regionstest.Must[struct{}](t, f, "EnableKeyRotation", &regions.EnableKeyRotationInput{KeyID: key.KeyID})
	f.Clock.Advance(365 * oneDay)
	rotateDue(t, f)
	wantHistory(t, f, key.KeyID, append(causes, keyset.Automatic)...)
}

// The schedule: from when it is switched on, every period; on-demand rotations don't move it; a disabled key waits, and
// is rotated at once when it is enabled; one that waits for its deletion shows none, and has it again.
func TestRotateBySchedule(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, false)
	if s := status(t, f, key.KeyID); s.KeyRotationEnabled || !s.NextRotationDate.IsZero() || s.RotationPeriodInDays != 0 || s.KeyID != key.KeyID {
		t.Errorf("a new key: %+v", s)
	}
	days := 90
	wantNext := func(what string, at time.Time) {
		t.Helper()
		if s := status(t, f, key.KeyID); !s.KeyRotationEnabled || s.RotationPeriodInDays != days || s.NextRotationDate != awstime.FromMillis(at.UnixMilli()) {
			t.Errorf("%s: %+v, want %v", what, s, at)
		}
	}
	enable := func() {
		t.Helper()
		regionstest.Must[struct{}](t, f, "EnableKeyRotation", &regions.EnableKeyRotationInput{KeyID: key.KeyID, RotationPeriodInDays: &days})
	}
	enable()
	next := f.Clock.Now().Add(90 * oneDay)
	wantNext("enabled", next)
	f.Clock.Advance(10 * oneDay)
	enable() // again, which changes nothing
	rotateOnDemand(t, f, key.KeyID)
	wantNext("rotated on demand", next)
	f.Clock.Advance(80*oneDay - time.Millisecond)
	rotateDue(t, f)
	wantHistory(t, f, key.KeyID, keyset.OnDemand)
	f.Clock.Advance(time.Millisecond)
	f.Reopen(t)
	rotateDue(t, f)
	rotateDue(t, f)
	wantHistory(t, f, key.KeyID, keyset.OnDemand, keyset.Automatic)
	next = next.Add(90 * oneDay)
	wantNext("rotated", next)

	// Near the date nobody else may ask for one.
	f.Clock.Advance(90*oneDay - 20*time.Minute)
	_, err := regionstest.Call[regions.RotateKeyOnDemandOutput](t, f, "RotateKeyOnDemand", &regions.KeyInput{KeyID: key.KeyID})
	wantError(t, "20 minutes before", err, "ConflictException", "An automatic rotation of the key "+key.Arn+
		" is in progress or scheduled to begin within the next 20 minutes.")

	// Disabled over its date, by long.
	regionstest.Must[struct{}](t, f, "DisableKey", &regions.KeyInput{KeyID: key.KeyID})
	f.Clock.Advance(200 * oneDay)
	rotateDue(t, f)
	wantHistory(t, f, key.KeyID, keyset.OnDemand, keyset.Automatic)
	wantNext("disabled", next)
	regionstest.Must[struct{}](t, f, "EnableKey", &regions.KeyInput{KeyID: key.KeyID})
	rotateDue(t, f)
	wantHistory(t, f, key.KeyID, keyset.OnDemand, keyset.Automatic, keyset.Automatic)
	next = f.Clock.Now().Add(90 * oneDay)
	wantNext("enabled again", next)

	// Pending deletion over its date.
	thirty := 30
	f.Clock.Advance(80 * oneDay)
	regionstest.Must[regions.ScheduleKeyDeletionOutput](t, f, "ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: key.KeyID, PendingWindowInDays: &thirty})
	if s := status(t, f, key.KeyID); s.KeyRotationEnabled || !s.NextRotationDate.IsZero() {
		t.Errorf("pending deletion: %+v", s)
	}
	f.Clock.Advance(20 * oneDay)
	rotateDue(t, f)
	regionstest.Must[regions.CancelKeyDeletionOutput](t, f, "CancelKeyDeletion", &regions.KeyInput{KeyID: key.KeyID})
	rotateDue(t, f)
	wantHistory(t, f, key.KeyID, keyset.OnDemand, keyset.Automatic, keyset.Automatic)
	wantNext("deletion cancelled", next)
	regionstest.Must[struct{}](t, f, "EnableKey", &regions.KeyInput{KeyID: key.KeyID})
	rotateDue(t, f)
	wantHistory(t, f, key.KeyID, keyset.OnDemand, keyset.Automatic, keyset.Automatic, keyset.Automatic)

	// Another period begins now; off is off.
	f.Clock.Advance(oneDay)
	days = 2560
	enable()
	wantNext("another period", f.Clock.Now().Add(2560*oneDay))
	regionstest.Must[struct{}](t, f, "DisableKeyRotation", &regions.KeyInput{KeyID: key.KeyID})
	if s := status(t, f, key.KeyID); s.KeyRotationEnabled {
		t.Errorf("switched off: %+v", s)
	}
	f.Clock.Advance(4000 * oneDay)
	rotateDue(t, f)
	wantHistory(t, f, key.KeyID, keyset.OnDemand, keyset.Automatic, keyset.Automatic, keyset.Automatic)
	for _, bad := range []int{89, 2561} {
		_, err := regionstest.Call[struct{}](t, f, "EnableKeyRotation", &regions.EnableKeyRotationInput{KeyID: key.KeyID, RotationPeriodInDays: &bad})
		if !errors.Is(err, &regions.Error{Code: regions.CodeValidation}) {
			t.Errorf("%d days: %v", bad, err)
		}
	}
}

// The pages of a history are the history; a marker of another list is refused.
func TestListKeyRotations(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key, other := f.CreateKey(t, false), f.CreateKey(t, false)
	for range 5 {
		rotateOnDemand(t, f, key.KeyID)
	}
	all := history(t, f, key.KeyID)
	for _, include := range []string{"", "ROTATIONS_ONLY", "ALL_KEY_MATERIAL"} {
		want := all
		if include != "ALL_KEY_MATERIAL" {
			want = all[1:]
		}
		for limit := 1; limit <= 7; limit++ {
			var got []regions.RotationsListEntry
			in := &regions.ListKeyRotationsInput{KeyID: key.KeyID, IncludeKeyMaterial: include, Limit: &limit}
			for {
				page := regionstest.Must[regions.ListKeyRotationsOutput](t, f, "ListKeyRotations", in)
				got = append(got, page.Rotations...)
				if in.Marker = page.NextMarker; page.Truncated != (page.NextMarker != "") || len(page.Rotations) > limit {
					t.Fatalf("%+v", page)
				}
				if !page.Truncated {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q in pages of %d: %+v", include, limit, got)
			}
		}
	}
	one := 1
	marker := regionstest.Must[regions.ListKeyRotationsOutput](t, f, "ListKeyRotations", &regions.ListKeyRotationsInput{KeyID: key.KeyID, Limit: &one}).NextMarker
	for _, bad := range []string{marker, "!", "QQ"} {
		_, err := regionstest.Call[regions.ListKeyRotationsOutput](t, f, "ListKeyRotations", &regions.ListKeyRotationsInput{KeyID: other.KeyID, Marker: bad})
		wantError(t, "marker "+bad, err, "InvalidMarkerException", "Could not deserialize marker")
	}
}

// Keys that have no rotation by their spec: it is off, wherever it is asked, and can't be turned on.
func TestNoRotationBySpec(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	for spec, usage := range map[string]string{"HMAC_256": "GENERATE_VERIFY_MAC", "ECC_NIST_P256": "SIGN_VERIFY"} {
		key := createSpec(t, f, spec, usage, true)
		for _, do := range []string{"", "DisableKey", "ScheduleKeyDeletion"} {
			switch do {
			case "DisableKey":
				regionstest.Must[struct{}](t, f, do, &regions.KeyInput{KeyID: key.KeyID})
			case "ScheduleKeyDeletion":
				regionstest.Must[regions.ScheduleKeyDeletionOutput](t, f, do, &regions.ScheduleKeyDeletionInput{KeyID: key.KeyID})
			default:
				for op, in := range map[string]any{
					"EnableKeyRotation": &regions.EnableKeyRotationInput{KeyID: key.KeyID}, "DisableKeyRotation": &regions.KeyInput{KeyID: key.KeyID},
					"RotateKeyOnDemand": &regions.KeyInput{KeyID: key.KeyID},
				} {
					_, err := regionstest.Do(t.Context(), f.Region, f.Admin, op, in)
					wantError(t, op, err, "UnsupportedOperationException", key.Arn+" key spec is "+spec+" which is not valid for "+op+".")
				}
			}
			if got := status(t, f, key.KeyID); got != (regions.GetKeyRotationStatusOutput{KeyID: key.KeyID}) {
				t.Errorf("%s after %q: %+v", spec, do, got)
			}
		}
	}
}
