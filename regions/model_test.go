package regions_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"antipode/hsmbackend/hsmtest"
	"antipode/regions"
	"antipode/regions/regionstest"
)

// modelKey is what the model knows of a key, modelBlob of a ciphertext.
type modelKey struct {
	id, arn string
	// material is the one that encrypts.
	material string
	state    regions.KeyState
	due      time.Time // of a key that is pending deletion
	gone     bool
	managed
}

type modelBlob struct {
	key       int
	plaintext string
	context   string
	material  string
	blob      []byte
}

// A Region behaves as plain maps do, whatever is called in whatever order, across restarts.
func TestModel(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2", regionstest.WithWorkingCopies(2))
	rapid.Check(t, func(rt *rapid.T) {
		var keys []modelKey
		aliases := map[string]int{}
		var blobs []modelBlob
		do := func(op string, in any) (any, error) { return regionstest.Do(t.Context(), f.Region, f.Admin, op, in) }
		fail := func(format string, args ...any) { rt.Helper(); rt.Fatalf(format, args...) }
		// check compares an error with the code that the model expects, "" for none, and reports whether it was none.
		check := func(op string, err error, code string) bool {
			rt.Helper()
			if got := codeOf(err); got != code {
				fail("%s: %v, want %q", op, err, code)
			}
			return err == nil
		}
		crypto := func(k int) string {
			if keys[k].gone {
				return regions.CodeNotFound
			}
			switch keys[k].state {
			case regions.StateEnabled:
				return ""
			case regions.StateDisabled:
				return regions.CodeDisabled
			default:
				return regions.CodeInvalidState
			}
		}
		// code is what an operation on a key answers that would answer otherwise on a key that is there.
		code := func(k int, otherwise string) string {
			if keys[k].gone {
				return regions.CodeNotFound
			}
			return otherwise
		}
		pending := func(k int) bool { return keys[k].state == regions.StatePendingDeletion }
		create := func() {
			out, err := do("CreateKey", &regions.CreateKeyInput{MultiRegion: rapid.Bool().Draw(rt, "multi-Region")})
			if err != nil {
				fail("CreateKey: %v", err)
			}
			m := out.(*regions.CreateKeyOutput).KeyMetadata
			keys = append(keys, modelKey{id: m.KeyID, arn: m.Arn, material: m.CurrentKeyMaterialID, state: regions.StateEnabled, managed: newManaged()})
		}
		create()
		manages := manager{rt, do, check, f.Admin.ARN}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			k := rapid.IntRange(0, len(keys)-1).Draw(rt, "key")
			name := fmt.Sprintf("alias/%s/%d", keys[0].id, rapid.IntRange(0, 2).Draw(rt, "alias"))
			at, named := aliases[name]
			steps := []string{"create", "encrypt", "encrypt", "decrypt", "decrypt", "disable", "enable", "enable", "schedule", "cancel", "alias", "point", "unalias", "describe", "reencrypt", "reopen", "wait", "rotate", "rotate"}
			steps = append(steps, slices.Concat(managing, managing)...)
			switch step := rapid.SampledFrom(steps).Draw(rt, "step"); step {
			case "create":
				create()
			case "encrypt":
				in := &regions.EncryptInput{KeyID: keys[k].id, Plaintext: []byte(rapid.StringN(1, 40, -1).Draw(rt, "plaintext"))}
				context := rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "context")
				if context != "" {
					in.EncryptionContext = map[string]string{"c": context}
				}
				code := crypto(k)
				target := k
				if named && rapid.Bool().Draw(rt, "by alias") {
					in.KeyID, code, target = name, crypto(at), at
				}
				out, err := do("Encrypt", in)
				if check("Encrypt", err, code) {
					blobs = append(blobs, modelBlob{target, string(in.Plaintext), context, keys[target].material, out.(*regions.EncryptOutput).CiphertextBlob})
				}
			case "decrypt", "reencrypt":
				if len(blobs) == 0 {
					continue
				}
				b := blobs[rapid.IntRange(0, len(blobs)-1).Draw(rt, "blob")]
				var ec map[string]string
				if b.context != "" {
					ec = map[string]string{"c": b.context}
				}
				if step == "reencrypt" {
					code := crypto(b.key)
					if code == "" {
						code = crypto(k)
					}
					out, err := do("ReEncrypt", &regions.ReEncryptInput{CiphertextBlob: b.blob, SourceEncryptionContext: ec, DestinationKeyID: keys[k].id})
					if check("ReEncrypt", err, code) {
						blobs = append(blobs, modelBlob{k, b.plaintext, "", keys[k].material, out.(*regions.ReEncryptOutput).CiphertextBlob})
					}
					continue
				}
				out, err := do("Decrypt", &regions.DecryptInput{CiphertextBlob: b.blob, EncryptionContext: ec})
				if check("Decrypt", err, crypto(b.key)) {
					if got := out.(*regions.DecryptOutput); string(got.Plaintext) != b.plaintext || got.KeyID != keys[b.key].arn || got.KeyMaterialID != b.material {
						fail("decrypted %q under %s, want %q under %s", got.Plaintext, got.KeyID, b.plaintext, keys[b.key].arn)
					}
				}
			case "rotate":
				_, err := do("RotateKeyOnDemand", &regions.KeyInput{KeyID: keys[k].id})
				if check("RotateKeyOnDemand", err, crypto(k)) {
					out, err := do("DescribeKey", &regions.DescribeKeyInput{KeyID: keys[k].id})
					if !check("DescribeKey", err, "") {
						continue
					}
					keys[k].material = out.(*regions.DescribeKeyOutput).KeyMetadata.CurrentKeyMaterialID
					if slices.ContainsFunc(blobs, func(b modelBlob) bool { return b.material == keys[k].material }) {
						fail("rotated to a material that was used before")
					}
				}
			case "disable", "enable":
				op, to := "DisableKey", regions.StateDisabled
				if step == "enable" {
					op, to = "EnableKey", regions.StateEnabled
				}
				want := ""
				if pending(k) {
					want = regions.CodeInvalidState
				}
				_, err := do(op, &regions.KeyInput{KeyID: keys[k].id})
				if check(op, err, code(k, want)) {
					keys[k].state = to
				}
			case "schedule":
				want := ""
				if pending(k) {
					want = regions.CodeInvalidState
				}
				days := rapid.IntRange(7, 30).Draw(rt, "days")
				_, err := do("ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: keys[k].id, PendingWindowInDays: &days})
				if check("ScheduleKeyDeletion", err, code(k, want)) {
					keys[k].state, keys[k].due = regions.StatePendingDeletion, f.Clock.Now().Add(time.Duration(days)*oneDay)
				}
			case "wait":
				f.Clock.Advance(time.Duration(rapid.IntRange(-3, 12).Draw(rt, "days")) * oneDay)
				if err := f.Region.DeleteDue(t.Context()); err != nil {
					fail("DeleteDue: %v", err)
				}
				for i, key := range keys {
					if key.state == regions.StatePendingDeletion && !key.due.After(f.Clock.Now()) {
						keys[i].gone = true
						maps.DeleteFunc(aliases, func(_ string, to int) bool { return to == i })
					}
				}
			case "cancel":
				want := regions.CodeInvalidState
				if pending(k) {
					want = ""
				}
				_, err := do("CancelKeyDeletion", &regions.KeyInput{KeyID: keys[k].id})
				if check("CancelKeyDeletion", err, code(k, want)) {
					keys[k].state = regions.StateDisabled
				}
			case "alias", "point":
				op, want := "CreateAlias", ""
				if step == "point" {
					op = "UpdateAlias"
				}
				// The state of the target is looked at first.
				switch {
				case pending(k):
					want = regions.CodeInvalidState
				case step == "alias" && named:
					want = regions.CodeAlreadyExists
				case step == "point" && !named:
					want = regions.CodeNotFound
				}
				_, err := do(op, &regions.AliasInput{AliasName: name, TargetKeyID: keys[k].id})
				if check(op, err, code(k, want)) {
					aliases[name] = k
				}
			case "unalias":
				code := ""
				if !named {
					code = regions.CodeNotFound
				}
				_, err := do("DeleteAlias", &regions.DeleteAliasInput{AliasName: name})
				if check("DeleteAlias", err, code) {
					delete(aliases, name)
				}
			case "describe":
				out, err := do("DescribeKey", &regions.DescribeKeyInput{KeyID: name})
				if !named {
					check("DescribeKey", err, regions.CodeNotFound)
				} else if check("DescribeKey", err, "") {
					if m := out.(*regions.DescribeKeyOutput).KeyMetadata; m.KeyID != keys[at].id || m.KeyState != keys[at].state {
						fail("%s is %s in state %s, want %+v", name, m.KeyID, m.KeyState, keys[at])
					}
				}
			case "reopen":
				if rapid.IntRange(0, 3).Draw(rt, "really") == 0 {
					f.Reopen(t)
				}
			default:
				manages.step(step, &keys[k])
			}
			manages.observe(&keys[k])
		}
		for _, k := range keys { // so that nothing of this run counts in the next
			if k.state == regions.StateEnabled {
				if _, err := do("DisableKey", &regions.KeyInput{KeyID: k.id}); err != nil {
					fail("DisableKey: %v", err)
				}
			}
		}
		const regionKeys = 3
		if n, copies := hsmtest.SessionObjects(t, f.Token), f.Region.Ring().WorkingCopies(); copies != 0 || n != regionKeys {
			fail("%d session objects and %d working copies are left of disabled keys", n, copies)
		}
	})
}

// codeOf is the code of an API error, "" for nil.
func codeOf(err error) string {
	var api *regions.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &api):
		return api.Code
	}
	return "none of the API's: " + err.Error()
}
