package p11

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// Info implements [hsmbackend.Describer].
func (t *Token) Info() hsmbackend.Info { return t.info }

// Capabilities implements [hsmbackend.Describer].
func (t *Token) Capabilities() hsmbackend.Capabilities {
	c := t.caps
	c.Mechanisms, c.KeyTypes = slices.Clone(c.Mechanisms), slices.Clone(c.KeyTypes)
	c.NotWrapped = slices.Clone(c.NotWrapped)
	c.ECDHKDFs, c.Remarks = slices.Clone(c.ECDHKDFs), slices.Clone(c.Remarks)
	return c
}

// examine reads once what the token is and can do, and tries what its list of mechanisms can't tell.
func (t *Token) examine(ctx context.Context) error {
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
		hsmbackend.MechAESKWP, hsmbackend.MechAESECB, hsmbackend.MechDeriveECB, hsmbackend.MechDeriveXAES,
		hsmbackend.MechAESGCM, hsmbackend.MechECDH, hsmbackend.MechECDSA, hsmbackend.MechHMACSHA224,
		hsmbackend.MechHMACSHA256, hsmbackend.MechHMACSHA384, hsmbackend.MechHMACSHA512, hsmbackend.MechRSAPKCS1,
		hsmbackend.MechRSAPSS, hsmbackend.MechRSARaw,
	} {
		ckm, _ := p.mechanism(m)
		if t.has("", ckm) == nil {
			t.caps.Mechanisms = append(t.caps.Mechanisms, m)
		}
	}
	if t.has("", pkcs11.CKM_RSA_PKCS_OAEP) == nil {
		t.caps.Mechanisms = append(t.caps.Mechanisms, p.OAEPHashes...)
	}
	for _, pair := range []struct {
		m          hsmbackend.Mechanism
		generation uint
	}{{hsmbackend.MechMLKEM, ckmMLKEMPair}, {hsmbackend.MechMLDSA, ckmMLDSAPair}} {
		ckm, _ := p.mechanism(pair.m)
		if t.has("", ckm) == nil && t.has("", pair.generation) == nil {
			t.caps.Mechanisms = append(t.caps.Mechanisms, pair.m)
		}
	}
	for _, kt := range keyTypes() {
		if t.has("", mustKind(kt).gen) == nil && !slices.Contains(p.NoKeyTypes, kt) {
			t.caps.KeyTypes = append(t.caps.KeyTypes, kt)
			if slices.Contains(p.NotWrapped, kt) {
				t.caps.NotWrapped = append(t.caps.NotWrapped, kt)
			}
		}
	}
	t.caps.MaxCalls = p.MaxCalls
	if t.caps.HasMechanism(hsmbackend.MechECDH) {
		t.caps.ECDHKDFs = slices.Clone(p.ECDHKDFs)
	}
	t.caps.GCMIVFromToken = p.GCMIVFromToken && t.caps.HasMechanism(hsmbackend.MechAESGCM)
	if t.cfg.ApprovedOnly {
		t.caps.ECDHKDFs = slices.DeleteFunc(t.caps.ECDHKDFs, func(k hsmbackend.KDF) bool { return k == hsmbackend.KDFNull })
		t.caps.Mechanisms = slices.DeleteFunc(t.caps.Mechanisms, func(m hsmbackend.Mechanism) bool { return m == hsmbackend.MechOAEPSHA1 })
	}
	if err := t.chooseXAES(ctx); err != nil {
		return err
	}
	if err := t.chooseEdDSA(ctx); err != nil {
		return err
	}
	if err := t.tryImport(ctx); err != nil {
		return err
	}
	t.remark()
	return t.requireApproved()
}

// remark writes what an operator should know.
func (t *Token) remark() {
	p := &t.cfg.Profile
	t.caps.Remarks = t.caps.NotApproved()
	t.caps.Approved = len(t.caps.Remarks) == 0
	if !t.caps.GCMIVFromToken && !t.caps.GCMOnHost() {
		t.caps.Remarks = append(t.caps.Remarks, "The IV of AES-GCM is the host's; a token in FIPS mode makes its own.")
	}
	for mech, name := range map[hsmbackend.Mechanism]string{hsmbackend.MechOAEPSHA256: "SHA_256", hsmbackend.MechOAEPSHA1: "SHA_1"} {
		if t.caps.OAEPOnHost(mech) {
			t.caps.Remarks = append(t.caps.Remarks, fmt.Sprintf("RSAES_OAEP_%s is opened by raw RSA on the token; its padding is "+
				"removed in host memory, through which key material passes that is imported by RSAES_OAEP_%s, and the AES key over "+
				"what is imported by RSA_AES_KEY_WRAP_%s.", name, name, name))
		}
	}
	if t.caps.HasKeyType(hsmbackend.Ed25519) && !t.caps.HasMechanism(hsmbackend.MechEdDSAPH) {
		t.caps.Remarks = append(t.caps.Remarks, "Ed25519ph is not used: the token lacks it, or signs something else.")
	}
	for _, kt := range t.caps.NotWrapped {
		t.caps.Remarks = append(t.caps.Remarks, fmt.Sprintf("The token can't wrap %s keys: they stay on it, and have no replicas.", kt))
	}
	if !p.AllowedMechanisms {
		t.caps.Remarks = append(t.caps.Remarks, "The token does not limit keys to mechanisms (CKA_ALLOWED_MECHANISMS).")
	}
	if !p.UnwrapTemplate {
		t.caps.Remarks = append(t.caps.Remarks, "The token does not force what a key unwraps to be sensitive (CKA_UNWRAP_TEMPLATE).")
	}
}

// requireApproved refuses the token if Config.ApprovedOnly asks for more than it has.
func (t *Token) requireApproved() error {
	why := t.caps.NotApproved()
	if len(t.cfg.Profile.ECDHKDFs) != 0 && len(t.caps.ECDHKDFs) == 0 && !t.caps.HasMechanism(hsmbackend.MechOAEPSHA256) {
		why = append(why, "Its ECDH has no key derivation but CKD_NULL, and it has no RSA-OAEP with SHA-256.")
	}
	if !t.cfg.ApprovedOnly || len(why) == 0 {
		return nil
	}
	return &hsmbackend.Error{
		Op: "open token", Kind: hsmbackend.ErrUnsupported, Info: "not approved by FIPS 140-3: " + strings.Join(why, " "),
	}
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
