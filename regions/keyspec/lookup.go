package keyspec

import (
	"fmt"
	"slices"
	"sync"

	"antipode/hsmbackend"
)

var byName = sync.OnceValue(func() map[string]Spec {
	m := map[string]Spec{}
	for _, s := range All() {
		m[s.Name] = s
	}
	return m
})

// Names returns the names of all specs, in the order of AWS's enumeration.
func Names() []string {
	var names []string
	for _, s := range All() {
		names = append(names, s.Name)
	}
	return names
}

// Lookup returns the spec with this name.
func Lookup(name string) (Spec, bool) {
	s, known := byName()[name]
	return s, known
}

// KeyType returns the token's key type for a key spec, or [hsmbackend.ErrUnsupported].
func KeyType(name string) (hsmbackend.KeyType, error) {
	if s, known := Lookup(name); known && s.KeyType != "" {
		return s.KeyType, nil
	}
	return "", fmt.Errorf("%w: key spec %s", hsmbackend.ErrUnsupported, name)
}

// Pair reports whether keys of the spec are key pairs.
func (s Spec) Pair() bool { return s.family == rsaKeys || s.family == curves || s.family == edwards }

// RSA reports whether keys of the spec are RSA keys; the modulus has so many bits.
func (s Spec) RSA() (bits int, is bool) { return s.bits, s.family == rsaKeys }

// Class returns the class of the token's objects.
func (s Spec) Class() hsmbackend.Class {
	if s.Pair() {
		return hsmbackend.ClassPrivate
	}
	return hsmbackend.ClassSecret
}

// Has reports whether AWS allows keys of the spec for the usage.
func (s Spec) Has(usage string) bool { return slices.Contains(s.Usages, usage) }

// Built reports whether this program makes and uses keys of the spec, on a token that can.
func (s Spec) Built() bool { return s.KeyType != "" }

// Missing returns what the token lacks for keys of the spec with this usage, in the words of PKCS#11, or "". It is "" too
// for a spec that is not built, if the token could.
func (s Spec) Missing(c hsmbackend.Capabilities, usage string) string {
	switch {
	case !s.Built() && s.other != "" && c.HasMechanism(s.other):
		return ""
	case !s.Built():
		return s.needs
	case !c.HasKeyType(s.KeyType):
		return fmt.Sprintf("the generation of %s keys", s.KeyType)
	case usage == KeyAgreement && !c.HasECDHKDF(hsmbackend.KDFNull):
		return "CKM_ECDH1_DERIVE with CKD_NULL"
	case len(s.AlgorithmsOn(c, usage)) == 0:
		all := s.Algorithms(usage)
		if len(all) == 0 {
			return "an algorithm for " + usage
		}
		return string(all[0].Mechanism)
	}
	return ""
}

// Wrapped reports whether the token wraps keys of the spec, so that they can be kept in the store and have replicas.
func (s Spec) Wrapped(c hsmbackend.Capabilities) bool { return c.Wraps(s.KeyType) }

// WorkingCopy returns what a copy of a key of the spec with this usage may do on the token: Label, Usage and Mechanisms.
func (s Spec) WorkingCopy(c hsmbackend.Capabilities, usage string) hsmbackend.Attributes {
	var a hsmbackend.Attributes
	add := func(all ...hsmbackend.Mechanism) {
		for _, m := range all {
			if c.HasMechanism(m) && !slices.Contains(a.Mechanisms, m) {
				a.Mechanisms = append(a.Mechanisms, m)
			}
		}
	}
	switch {
	case s.family == symmetric:
		// The key derivation of XAES and the key tag, on tokens with SP 800-108 and on those without.
		a.Usage = hsmbackend.UsageEncrypt | hsmbackend.UsageDerive
		add(hsmbackend.MechAESECB, hsmbackend.MechDeriveECB, hsmbackend.MechDeriveXAES)
		return a
	case s.family == rsaKeys && usage == EncryptDecrypt:
		a.Usage = hsmbackend.UsageDecrypt
		for _, g := range s.AlgorithmsOn(c, usage) {
			if c.OAEPOnHost(g.Mechanism) {
				add(hsmbackend.MechRSARaw)
			}
		}
	case usage == KeyAgreement:
		a.Usage = hsmbackend.UsageDerive
	default:
		a.Usage = hsmbackend.UsageSign
	}
	for _, g := range s.AlgorithmsOn(c, usage) {
		add(g.Mechanism)
	}
	return a
}
