package p11

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// Info implements [hsmbackend.Describer].
func (t *Token) Info() hsmbackend.Info { return t.info }

// Capabilities implements [hsmbackend.Describer].
func (t *Token) Capabilities() hsmbackend.Capabilities {
	c := t.caps
	c.Mechanisms, c.KeyTypes = slices.Clone(c.Mechanisms), slices.Clone(c.KeyTypes)
	c.ECDHKDFs, c.Remarks = slices.Clone(c.ECDHKDFs), slices.Clone(c.Remarks)
	return c
}

// examine reads once what the token is and can do.
func (t *Token) examine() error {
	ti := t.conn.info
	t.info = hsmbackend.Info{
		Label: trim(ti.Label), Serial: trim(ti.SerialNumber), Manufacturer: trim(ti.ManufacturerID), Model: trim(ti.Model),
		Firmware: fmt.Sprintf("%d.%d", ti.FirmwareVersion.Major, ti.FirmwareVersion.Minor),
	}
	list, err := t.mod.raw.GetMechanismList(t.conn.slot)
	if err != nil {
		_, err := judge(&t.cfg.Profile, ck("C_GetMechanismList", err), func() fate { return fateModule })
		return err
	}
	t.mechs = map[uint]struct{}{}
	for _, m := range list {
		t.mechs[m.Mechanism] = struct{}{}
	}
	p := &t.cfg.Profile
	for _, m := range []hsmbackend.Mechanism{
		hsmbackend.MechAESKWP, hsmbackend.MechAESECB, hsmbackend.MechDeriveECB, hsmbackend.MechAESGCM,
		hsmbackend.MechECDH, hsmbackend.MechECDSA, hsmbackend.MechHMACSHA256,
	} {
		ckm, _ := p.mechanism(m)
		if t.has("", ckm) == nil {
			t.caps.Mechanisms = append(t.caps.Mechanisms, m)
		}
	}
	if t.has("", pkcs11.CKM_RSA_PKCS_OAEP) == nil {
		t.caps.Mechanisms = append(t.caps.Mechanisms, p.OAEPHashes...)
	}
	gen := map[hsmbackend.KeyType]uint{
		hsmbackend.AES256: pkcs11.CKM_AES_KEY_GEN, hsmbackend.HMACSHA256: pkcs11.CKM_GENERIC_SECRET_KEY_GEN,
		hsmbackend.ECP384: pkcs11.CKM_EC_KEY_PAIR_GEN, hsmbackend.RSA4096: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
	}
	for _, kt := range slices.Sorted(maps.Keys(gen)) {
		if t.has("", gen[kt]) == nil {
			t.caps.KeyTypes = append(t.caps.KeyTypes, kt)
		}
	}
	t.caps.MaxCalls = p.MaxCalls
	if t.caps.HasMechanism(hsmbackend.MechECDH) {
		t.caps.ECDHKDFs = slices.Clone(p.ECDHKDFs)
	}
	t.caps.Remarks = []string{
		"XAES-256-GCM keys are derived by AES-ECB and CKM_AES_ECB_ENCRYPT_DATA, a composition that FIPS 140-3 does not approve.",
	}
	if t.caps.HasECDHKDF(hsmbackend.KDFNull) {
		t.caps.Remarks = append(t.caps.Remarks, "ECDH with CKD_NULL is not approved by FIPS 140-3.")
	}
	if !p.AllowedMechanisms {
		t.caps.Remarks = append(t.caps.Remarks, "The token does not limit keys to mechanisms (CKA_ALLOWED_MECHANISMS).")
	}
	if !p.UnwrapTemplate {
		t.caps.Remarks = append(t.caps.Remarks, "The token does not force what a key unwraps to be sensitive (CKA_UNWRAP_TEMPLATE).")
	}
	return nil
}

// has returns ErrUnsupported if the token lacks a mechanism.
func (t *Token) has(op string, ckm uint) error {
	if _, ok := t.mechs[ckm]; ok {
		return nil
	}
	return &hsmbackend.Error{Op: op, Kind: hsmbackend.ErrUnsupported, Info: fmt.Sprintf("mechanism 0x%x", ckm)}
}

// Random implements [hsmbackend.Random].
func (t *Token) Random(ctx context.Context, n int) ([]byte, error) {
	if n < 1 || n > 65536 {
		return nil, invalid("random", "1 to 65536 bytes")
	}
	var out []byte
	err := t.run(ctx, "random", nil, true, func(k *call) (err error) {
		out, err = k.c.mod.raw.GenerateRandom(k.s, n)
		return ck("C_GenerateRandom", err)
	})
	if err != nil {
		return nil, err
	}
	if len(out) != n {
		return nil, &hsmbackend.Error{Op: "C_GenerateRandom", Kind: hsmbackend.ErrInternal, Info: "length of the answer"}
	}
	return out, nil
}

// CountObjects counts all objects that can be seen, of every class and session. It is for tests and for the operator's
// check of a token; it takes time proportional to their number.
func (t *Token) CountObjects(ctx context.Context) (session, token int, err error) {
	err = t.run(ctx, "count objects", nil, true, func(k *call) error {
		for _, on := range []bool{false, true} {
			hs, err := k.find([]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_TOKEN, on)})
			if err != nil {
				return err
			}
			if on {
				token = len(hs)
			} else {
				session = len(hs)
			}
		}
		return nil
	})
	return session, token, err
}
