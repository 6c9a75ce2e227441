package clients

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

// Every client tags keys, moves their primary, and turns rotation on and off: what related keys share, and what each has for
// itself.
func TestTagsAndRotation(t *testing.T) {
	t.Parallel()
	for name, open := range everyClient() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := journey{t, open(t)}
			j.moves(j.tags())
			j.rotation()
		})
	}
}

// tags tags a key and its replica, each for itself. It returns the key's id.
func (j journey) tags() string {
	j.Helper()
	key := j.must(primaryRegion, "CreateKey", members{
		"MultiRegion": true, "Tags": []map[string]string{{"TagKey": "team", "TagValue": "payments"}},
	}).sub("KeyMetadata").text("KeyId")
	j.must(primaryRegion, "ReplicateKey", members{"KeyId": key, "ReplicaRegion": replicaRegion})
	j.untilEnabled(key)
	tagged := func(region string, want map[string]string) {
		j.Helper()
		got := map[string]string{}
		list, _ := j.must(region, "ListResourceTags", members{"KeyId": key})["Tags"].([]any)
		for _, tag := range list {
			m, _ := tag.(map[string]any)
			got[members(m).text("TagKey")] = members(m).text("TagValue")
		}
		if !reflect.DeepEqual(got, want) {
			j.Errorf("tags in %s: %v, not %v", region, got, want)
		}
	}
	tagged(primaryRegion, map[string]string{"team": "payments"})
	tagged(replicaRegion, map[string]string{})
	j.must(replicaRegion, "TagResource", members{"KeyId": key, "Tags": []map[string]string{
		{"TagKey": "team", "TagValue": "audit"}, {"TagKey": "Größe", "TagValue": "a+b=c/d@e"},
	}})
	tagged(replicaRegion, map[string]string{"team": "audit", "Größe": "a+b=c/d@e"})
	j.must(replicaRegion, "UntagResource", members{"KeyId": key, "TagKeys": []string{"team"}})
	tagged(replicaRegion, map[string]string{"Größe": "a+b=c/d@e"})
	tagged(primaryRegion, map[string]string{"team": "payments"})
	j.refused("TagException", primaryRegion, "TagResource", members{"KeyId": key, "Tags": []map[string]string{{"TagKey": "aws:own", "TagValue": ""}}})
	return key
}

// moves makes the replica the primary; the keys' own properties stay where they are.
func (j journey) moves(key string) {
	j.Helper()
	j.refused("UnsupportedOperationException", replicaRegion, "UpdatePrimaryRegion", members{"KeyId": key, "PrimaryRegion": primaryRegion})
	j.must(primaryRegion, "UpdatePrimaryRegion", members{"KeyId": key, "PrimaryRegion": replicaRegion})
	for region, role := range map[string]string{primaryRegion: "REPLICA", replicaRegion: "PRIMARY"} {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
			about := j.must(region, "DescribeKey", members{"KeyId": key}).sub("KeyMetadata")
			related := about.sub("MultiRegionConfiguration")
			if related.text("MultiRegionKeyType") == role && related.sub("PrimaryKey").text("Region") == replicaRegion && about.text("KeyState") == "Enabled" {
				break
			}
			if time.Now().After(deadline) {
				j.Fatalf("a minute after the primary moved, in %s: %v", region, about)
			}
		}
	}
	j.refused("UnsupportedOperationException", primaryRegion, "ReplicateKey", members{"KeyId": key, "ReplicaRegion": replicaRegion})
	sealed := j.must(replicaRegion, "Encrypt", members{"KeyId": key, "Plaintext": []byte("moved")}).blob("CiphertextBlob")
	if opened := j.must(primaryRegion, "Decrypt", members{"CiphertextBlob": sealed}).blob("Plaintext"); string(opened) != "moved" {
		j.Errorf("after the primary moved: %q", opened)
	}
}

// rotation turns automatic rotation on, which a replica shares and can't change, and rotates on demand.
func (j journey) rotation() {
	j.Helper()
	key := j.must(primaryRegion, "CreateKey", members{"MultiRegion": true}).sub("KeyMetadata").text("KeyId")
	rotates := func(region string, want bool) {
		j.Helper()
		if got := j.must(region, "GetKeyRotationStatus", members{"KeyId": key})["KeyRotationEnabled"]; got != want {
			j.Errorf("rotation in %s: %v, not %v", region, got, want)
		}
	}
	rotates(primaryRegion, false)
	sealed := j.must(primaryRegion, "Encrypt", members{"KeyId": key, "Plaintext": []byte("before")}).blob("CiphertextBlob")
	if _, known := j.mayKnow(primaryRegion, "RotateKeyOnDemand", members{"KeyId": key}); known {
		j.untilRotated(key)
	}
	j.must(primaryRegion, "EnableKeyRotation", members{"KeyId": key})
	rotates(primaryRegion, true)
	j.must(primaryRegion, "ReplicateKey", members{"KeyId": key, "ReplicaRegion": replicaRegion})
	j.untilEnabled(key)
	rotates(replicaRegion, true)
	for _, operation := range []string{"EnableKeyRotation", "DisableKeyRotation"} {
		j.refused("UnsupportedOperationException", replicaRegion, operation, members{"KeyId": key})
	}
	opened := j.must(replicaRegion, "Decrypt", members{"CiphertextBlob": sealed}).blob("Plaintext")
	if !bytes.Equal(opened, []byte("before")) {
		j.Errorf("what the first material encrypted is opened as %q", opened)
	}
	j.must(primaryRegion, "DisableKeyRotation", members{"KeyId": key})
	rotates(primaryRegion, false)
}

// untilRotated waits until ListKeyRotations has the rotation that was asked for.
func (j journey) untilRotated(key string) {
	j.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		list, _ := j.must(primaryRegion, "ListKeyRotations", members{"KeyId": key})["Rotations"].([]any)
		if len(list) == 1 {
			if m, _ := list[0].(map[string]any); members(m).text("RotationType") != "ON_DEMAND" {
				j.Errorf("%v", list)
			}
			return
		}
		if time.Now().After(deadline) {
			j.Fatalf("after a minute: %v", list)
		}
	}
}
