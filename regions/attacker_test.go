package regions_test

import (
	"errors"
	"testing"

	"antipode/hsmbackend"
	"antipode/regions"
	"antipode/regions/canon"
	"antipode/regions/identity"
	"antipode/regions/keyring"
	"antipode/regions/policy"
	"antipode/regions/regionstest"
)

const (
	bobKey   = "AKIABBBBBBBBBBBBBBBB"
	aliceKey = "AKIACCCCCCCCCCCCCCCC"
)

// Who can write the store but has not the token alters one thing. It is refused before it is used: the Region does not
// open, or the calls that need the record answer KMSInternalException and nothing was unwrapped, encrypted or decrypted.
func TestStoreAttacker(t *testing.T) {
	t.Parallel()
	const (
		atOpen  = "open"  // the Region refuses to open
		onKey   = "key"   // calls on key A are refused
		onAlias = "alias" // calls by alias/a are refused
		onBob   = "bob"   // bob's access key is refused
		onAdmin = "admin" // the administrator's access key is refused
	)
	hierarchy := regions.RecordKey{Kind: regions.KindHierarchy, ID: "us-east-2"}
	head := regions.AuditHead{Region: "us-east-2"}.RecordKey()
	rosterKey := regions.RosterRecord{}.RecordKey()
	cases := []struct {
		name  string
		where string
		alter func(*vandal)
	}{
		{"the key token of B in A's material row", onKey, func(v *vandal) {
			b := v.one(regions.KindMaterial, v.b)
			edit(v, v.one(regions.KindMaterial, v.a), func(m *regions.MaterialRecord) {
				var other regions.MaterialRecord
				if err := canon.Unmarshal(b.Body, &other); err != nil {
					v.t.Fatal(err)
				}
				m.EKT = other.EKT
			})
		}},
		{"the materials of A and B swapped", onKey, func(v *vandal) {
			v.swap(v.one(regions.KindMaterial, v.a), v.one(regions.KindMaterial, v.b))
		}},
		{"B's material row moved to A", onKey, func(v *vandal) {
			b, a := v.one(regions.KindMaterial, v.b), v.one(regions.KindMaterial, v.a)
			sub := b.Sub
			b.RecordKey = a.RecordKey
			b.Sub = sub
			v.put(b)
		}},
		{"a material row of another account's", onKey, func(v *vandal) {
			edit(v, v.one(regions.KindMaterial, v.a), func(m *regions.MaterialRecord) { m.Account = "999988887777" })
		}},
		{"the material's storage", onKey, func(v *vandal) {
			edit(v, v.one(regions.KindMaterial, v.a), func(m *regions.MaterialRecord) { m.Storage = keyring.StorageToken })
		}},
		{"the key token with a bit flipped", onKey, func(v *vandal) {
			edit(v, v.one(regions.KindMaterial, v.a), func(m *regions.MaterialRecord) { m.EKT[7] ^= 1 })
		}},
		{"the policies of A and B swapped", onKey, func(v *vandal) {
			v.swap(v.one(regions.KindPolicy, v.a), v.one(regions.KindPolicy, v.b))
		}},
		{"A's policy altered", onKey, func(v *vandal) {
			edit(v, v.one(regions.KindPolicy, v.a), func(p *regions.PolicyRecord) { p.Document += " " })
		}},
		{"A's policy removed", onKey, func(v *vandal) {
			if err := v.tx.Delete(v.t.Context(), v.one(regions.KindPolicy, v.a).RecordKey); err != nil {
				v.t.Fatal(err)
			}
		}},
		{"a grant on B moved to A", onKey, func(v *vandal) {
			b := v.one(regions.KindGrant, v.b)
			b.ID = v.a
			v.put(b)
		}},
		{"the grants on A and B swapped", onKey, func(v *vandal) {
			v.swap(v.one(regions.KindGrant, v.a), v.one(regions.KindGrant, v.b))
		}},
		{"the grant on A under another id", onKey, func(v *vandal) {
			a := v.one(regions.KindGrant, v.a)
			a.Sub = v.one(regions.KindGrant, v.b).Sub
			v.put(a)
		}},
		{"the grant on A given to another", onKey, func(v *vandal) {
			edit(v, v.one(regions.KindGrant, v.a), func(g *regions.GrantRecord) { g.Grantee = policy.Root("999988887777") })
		}},
		{"the grant on A without its constraint", onKey, func(v *vandal) {
			edit(v, v.one(regions.KindGrant, v.a), func(g *regions.GrantRecord) { g.Equals = nil })
		}},
		{"who may retire the grant on A, in the index", onKey, func(v *vandal) {
			a := v.one(regions.KindGrant, v.a)
			a.Ref = policy.Root("999988887777")
			v.put(a)
		}},
		{"A's state altered", onKey, func(v *vandal) {
			edit(v, v.one(regions.KindKey, v.a), func(k *regions.Key) { k.State = regions.StateDisabled })
		}},
		{"A's current material altered", onKey, func(v *vandal) {
			edit(v, v.one(regions.KindKey, v.a), func(k *regions.Key) { k.Current = "00" + k.Current[2:] })
		}},
		{"A given to another account", onKey, func(v *vandal) {
			a := v.one(regions.KindKey, v.a)
			a.Account = "999988887777"
			v.put(a)
		}},
		{"the key rows of A and B swapped", onKey, func(v *vandal) {
			a, b := v.one(regions.KindKey, v.a), v.one(regions.KindKey, v.b)
			a.Ref, b.Ref = b.Ref, a.Ref
			v.swap(a, b)
		}},
		{"A's due date in the index", onKey, func(v *vandal) {
			a := v.one(regions.KindKey, v.a)
			a.Due = 1
			v.put(a)
		}},
		{"B found under A's id", onKey, func(v *vandal) {
			a, b := v.one(regions.KindKey, v.a), v.one(regions.KindKey, v.b)
			if err := v.tx.Delete(v.t.Context(), a.RecordKey); err != nil {
				v.t.Fatal(err)
			}
			b.Ref = v.a
			v.put(b)
		}},
		{"A's MAC truncated", onKey, func(v *vandal) {
			a := v.one(regions.KindKey, v.a)
			a.MAC = a.MAC[:31]
			v.put(a)
		}},
		{"A's MAC empty", onKey, func(v *vandal) {
			a := v.one(regions.KindKey, v.a)
			a.MAC = nil
			v.put(a)
		}},
		{"A's body with B's MAC", onKey, func(v *vandal) {
			a := v.one(regions.KindKey, v.a)
			a.MAC = v.one(regions.KindKey, v.b).MAC
			v.put(a)
		}},
		{"A's body with a trailing byte", onKey, func(v *vandal) {
			a := v.one(regions.KindKey, v.a)
			a.Body = append(a.Body, 0)
			v.put(a)
		}},
		{"A's policy is another Region's", onKey, func(v *vandal) {
			for key, rec := range v.foreign {
				if key.Kind == regions.KindPolicy {
					rec.RecordKey = v.one(regions.KindPolicy, v.a).RecordKey
					v.put(rec)
					return
				}
			}
			v.t.Fatal("the other Region has no policy")
		}},
		{"alias/a re-pointed to B", onAlias, func(v *vandal) {
			edit(v, v.one(regions.KindAlias, "alias/a"), func(a *regions.Alias) { a.KeyID = v.b })
		}},
		{"alias/a and alias/b swapped", onAlias, func(v *vandal) {
			v.swap(v.one(regions.KindAlias, "alias/a"), v.one(regions.KindAlias, "alias/b"))
		}},
		{"alias/a's target in the index", onAlias, func(v *vandal) {
			a := v.one(regions.KindAlias, "alias/a")
			a.Ref = v.b
			v.put(a)
		}},
		{"bob made an administrator", onBob, func(v *vandal) {
			edit(v, v.one(regions.KindUser, "bob"), func(u *regions.UserRecord) {
				u.User = u.User.WithPolicy("policy", []byte(identity.AdministratorPolicy))
			})
		}},
		{"bob's row with the administrator's body", onBob, func(v *vandal) {
			rec := v.one(regions.KindUser, regionstest.UserName)
			rec.RecordKey = v.one(regions.KindUser, "bob").RecordKey
			v.put(rec)
		}},
		{"bob's access key moved to the administrator", onBob, func(v *vandal) {
			edit(v, v.one(regions.KindAccessKey, bobKey), func(k *regions.AccessKeyRecord) {
				k.Key.UserARN = "arn:aws:iam::" + regionstest.Account + ":user/" + regionstest.UserName
			})
		}},
		{"bob's sealed secret in the administrator's row", onAdmin, func(v *vandal) {
			var bob regions.AccessKeyRecord
			if err := canon.Unmarshal(v.one(regions.KindAccessKey, bobKey).Body, &bob); err != nil {
				v.t.Fatal(err)
			}
			edit(v, v.one(regions.KindAccessKey, v.adminKeyID), func(k *regions.AccessKeyRecord) { k.Key.SealedSecret = bob.Key.SealedSecret })
		}},
		{"the access keys of bob and the administrator swapped", onAdmin, func(v *vandal) {
			one, two := v.one(regions.KindAccessKey, bobKey), v.one(regions.KindAccessKey, v.adminKeyID)
			one.Ref, two.Ref = two.Ref, one.Ref
			v.swap(one, two)
		}},
		{"a roster entry altered", atOpen, func(v *vandal) {
			edit(v, v.get(rosterKey), func(r *regions.RosterRecord) { r.Roster.Regions[0].TLSKey[0] ^= 1 })
		}},
		{"the keys of two roster entries swapped", atOpen, func(v *vandal) {
			edit(v, v.get(rosterKey), func(r *regions.RosterRecord) {
				e := r.Roster.Regions
				e[0].RSKs, e[1].RSKs = e[1].RSKs, e[0].RSKs
			})
		}},
		{"the roster of another Region", atOpen, func(v *vandal) { v.put(v.foreign[rosterKey]) }},
		{"the hierarchy of another Region", atOpen, func(v *vandal) {
			rec := v.foreign[regions.RecordKey{Kind: regions.KindHierarchy, ID: "eu-west-1"}]
			rec.RecordKey = hierarchy
			v.put(rec)
		}},
		{"domain key and sealing key swapped", atOpen, func(v *vandal) {
			edit(v, v.get(hierarchy), func(h *regions.HierarchyRecord) {
				k := &h.Hierarchy.Tokens[0]
				k.SealingKey, k.DomainKeys[0].Wrapped = k.DomainKeys[0].Wrapped, k.SealingKey
			})
		}},
		{"domain key and record key swapped", atOpen, func(v *vandal) {
			edit(v, v.get(hierarchy), func(h *regions.HierarchyRecord) {
				k := &h.Hierarchy.Tokens[0]
				k.RecordKey, k.DomainKeys[0].Wrapped = k.DomainKeys[0].Wrapped, k.RecordKey
			})
		}},
		{"RSK and audit key swapped", atOpen, func(v *vandal) {
			edit(v, v.get(hierarchy), func(h *regions.HierarchyRecord) {
				k := &h.Hierarchy.Tokens[0]
				k.RSK, k.AuditKey = k.AuditKey, k.RSK
			})
		}},
		{"a token of the attacker's in the hierarchy", atOpen, func(v *vandal) {
			edit(v, v.get(hierarchy), func(h *regions.HierarchyRecord) {
				k := h.Hierarchy.Tokens[0]
				k.Serial = "0123456789abcdef"
				h.Hierarchy.Tokens = append(h.Hierarchy.Tokens, k)
			})
		}},
		{"the number of the last domain key lowered", atOpen, func(v *vandal) {
			edit(v, v.get(hierarchy), func(h *regions.HierarchyRecord) { h.Hierarchy.Last-- })
		}},
		{"the audit log's head lowered", atOpen, func(v *vandal) {
			edit(v, v.get(head), func(h *regions.AuditHead) { h.Sequence-- })
		}},
		{"the audit log's head removed", atOpen, func(v *vandal) {
			if err := v.tx.Delete(v.t.Context(), head); err != nil {
				v.t.Fatal(err)
			}
		}},
		{"a token object to destroy, without a MAC", atOpen, func(v *vandal) {
			tk := regions.TokenKey{Account: regionstest.Account, KeyID: v.a}
			raw, err := canon.Marshal(tk)
			if err != nil {
				v.t.Fatal(err)
			}
			v.put(regions.Record{RecordKey: tk.RecordKey(), Body: raw})
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ops := &opsCounter{}
			f := regionstest.Open(t, "us-east-2", regionstest.WithToken(ops.wrap))
			other := regionstest.Open(t, "eu-west-1")
			other.CreateKey(t, false)
			v := &vandal{
				t: t, a: f.CreateKey(t, true).KeyID, b: f.CreateKey(t, true).KeyID, adminKeyID: regionstest.AccessKeyID,
				foreign: map[regions.RecordKey]regions.Record{},
			}
			f.AddUser(t, "bob", bobKey, nil)
			f.AddUser(t, "alice", aliceKey, nil)
			for name, id := range map[string]string{"alias/a": v.a, "alias/b": v.b} {
				regionstest.Must[struct{}](t, f, "CreateAlias", &regions.AliasInput{AliasName: name, TargetKeyID: id})
			}
			for _, id := range []string{v.a, v.b} {
				regionstest.Must[regions.CreateGrantOutput](t, f, "CreateGrant", &regions.CreateGrantInput{
					KeyID: id, GranteePrincipal: f.Admin.ARN, Operations: []string{"Encrypt"},
					Constraints: &regions.GrantConstraints{EncryptionContextEquals: map[string]string{"a": "b"}},
				})
			}
			for i, o := range []*regionstest.Fixture{f, other} {
				enrol(t, f, o, byte(i))
			}
			enrol(t, other, other, 7)
			blob := f.Encrypt(t, v.a, []byte("attack at dawn"))
			snapshot(t, other.Store, v.foreign)
			f.Close(t)
			tamper(t, f.StorePath, func(tx regions.Tx) { v.tx = tx; c.alter(v) })

			err := f.TryOpen(t)
			if c.where == atOpen {
				if err == nil {
					t.Fatal("the Region opens")
				}
				if !errors.Is(err, regions.ErrForgedRecord) && !errors.Is(err, keyring.ErrRefused) && !errors.Is(err, hsmbackend.ErrObjectNotFound) &&
					!errors.Is(err, keyring.ErrUnknownToken) {
					t.Errorf("refused by %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			before := ops.count("Unwrap", "SealGCM", "OpenGCM", "DeriveXAES")
			keyID := v.a
			switch c.where {
			case onBob, onAdmin:
				id := map[string]string{onBob: bobKey, onAdmin: regionstest.AccessKeyID}[c.where]
				p, err := f.Region.Directory().Resolve(t.Context(), id, "")
				if err == nil || errors.Is(err, identity.ErrUnknownKey) {
					t.Errorf("access key resolved to %+v, %v", p, err)
				}
				if _, err := f.Region.Directory().Resolve(t.Context(), aliceKey, ""); err != nil {
					t.Errorf("an access key that nobody touched: %v", err)
				}
				return
			case onAlias:
				keyID = "alias/a"
			}
			refused := func(op string, in any) {
				t.Helper()
				out, err := regionstest.Do(t.Context(), f.Region, f.Admin, op, in)
				var api *regions.Error
				if !errors.As(err, &api) || api.Code != regions.CodeInternal || api.Message != "" {
					t.Errorf("%s answers %+v, %v", op, out, err)
				}
			}
			refused("Encrypt", &regions.EncryptInput{KeyID: keyID, Plaintext: []byte("x")})
			refused("Decrypt", &regions.DecryptInput{KeyID: keyID, CiphertextBlob: blob})
			refused("GenerateDataKey", &regions.GenerateDataKeyInput{KeyID: keyID, KeySpec: "AES_256"})
			refused("DescribeKey", &regions.DescribeKeyInput{KeyID: keyID})
			refused("ReEncrypt", &regions.ReEncryptInput{CiphertextBlob: blob, DestinationKeyID: keyID})
			if c.where == onKey {
				refused("Decrypt", &regions.DecryptInput{CiphertextBlob: blob})
				refused("DisableKey", &regions.KeyInput{KeyID: keyID})
				refused("ScheduleKeyDeletion", &regions.ScheduleKeyDeletionInput{KeyID: keyID})
				refused("GetKeyPolicy", &regions.GetKeyPolicyInput{KeyID: keyID})
			}
			if n := ops.count("Unwrap", "SealGCM", "OpenGCM", "DeriveXAES"); n != before {
				t.Errorf("%d calls to the token with keys", n-before)
			}
		})
	}
}
