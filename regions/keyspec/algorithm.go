package keyspec

import (
	"crypto"
	"slices"

	"antipode/hsmbackend"
)

// Algorithm is one of AWS's algorithms.
type Algorithm struct {
	// Name is AWS's, "RSASSA_PSS_SHA_256".
	Name string
	// Hash is of what is signed, of the MAC, or of OAEP; 0 where there is none.
	Hash crypto.Hash
	// Mechanism is the token's.
	Mechanism hsmbackend.Mechanism
}

// Algorithms returns those that a key of the spec has with this usage, in AWS's order; none for a usage that the spec has
// not, and for specs that no token has.
func (s Spec) Algorithms(usage string) []Algorithm {
	if !s.Has(usage) {
		return nil
	}
	switch {
	case s.family == symmetric:
		return []Algorithm{{Symmetric, 0, hsmbackend.MechAESECB}}
	case s.family == macs:
		return macAlgorithms(s.hash)
	case s.family == rsaKeys && usage == EncryptDecrypt:
		return []Algorithm{
			{"RSAES_OAEP_SHA_1", crypto.SHA1, hsmbackend.MechOAEPSHA1},
			{"RSAES_OAEP_SHA_256", crypto.SHA256, hsmbackend.MechOAEPSHA256},
		}
	case s.family == rsaKeys:
		return []Algorithm{
			{"RSASSA_PKCS1_V1_5_SHA_256", crypto.SHA256, hsmbackend.MechRSAPKCS1},
			{"RSASSA_PKCS1_V1_5_SHA_384", crypto.SHA384, hsmbackend.MechRSAPKCS1},
			{"RSASSA_PKCS1_V1_5_SHA_512", crypto.SHA512, hsmbackend.MechRSAPKCS1},
			{"RSASSA_PSS_SHA_256", crypto.SHA256, hsmbackend.MechRSAPSS},
			{"RSASSA_PSS_SHA_384", crypto.SHA384, hsmbackend.MechRSAPSS},
			{"RSASSA_PSS_SHA_512", crypto.SHA512, hsmbackend.MechRSAPSS},
		}
	case s.family == edwards:
		return []Algorithm{
			{"ED25519_SHA_512", crypto.SHA512, hsmbackend.MechEdDSA},
			{"ED25519_PH_SHA_512", crypto.SHA512, hsmbackend.MechEdDSAPH},
		}
	case s.family == curves && usage == KeyAgreement:
		return []Algorithm{{"ECDH", 0, hsmbackend.MechECDH}}
	case s.family == curves:
		return ecdsaAlgorithms(s.hash)
	}
	return nil
}

func macAlgorithms(hash crypto.Hash) []Algorithm {
	switch hash {
	case crypto.SHA224:
		return []Algorithm{{"HMAC_SHA_224", hash, hsmbackend.MechHMACSHA224}}
	case crypto.SHA256:
		return []Algorithm{{"HMAC_SHA_256", hash, hsmbackend.MechHMACSHA256}}
	case crypto.SHA384:
		return []Algorithm{{"HMAC_SHA_384", hash, hsmbackend.MechHMACSHA384}}
	default:
		return []Algorithm{{"HMAC_SHA_512", hash, hsmbackend.MechHMACSHA512}}
	}
}

func ecdsaAlgorithms(hash crypto.Hash) []Algorithm {
	switch hash {
	case crypto.SHA256:
		return []Algorithm{{"ECDSA_SHA_256", hash, hsmbackend.MechECDSA}}
	case crypto.SHA384:
		return []Algorithm{{"ECDSA_SHA_384", hash, hsmbackend.MechECDSA}}
	default:
		return []Algorithm{{"ECDSA_SHA_512", hash, hsmbackend.MechECDSA}}
	}
}

// AlgorithmsOn returns those of [Spec.Algorithms] that the token can do.
func (s Spec) AlgorithmsOn(c hsmbackend.Capabilities, usage string) []Algorithm {
	return slices.DeleteFunc(s.Algorithms(usage), func(a Algorithm) bool { return !a.On(c) })
}

// On reports whether the token can do the algorithm.
func (a Algorithm) On(c hsmbackend.Capabilities) bool {
	switch a.Mechanism {
	case hsmbackend.MechOAEPSHA1, hsmbackend.MechOAEPSHA256:
		return c.DecryptsOAEP(a.Mechanism)
	case hsmbackend.MechAESECB: // the only token that lacks it can't be opened
		return true
	default:
		return c.HasMechanism(a.Mechanism)
	}
}

// Algorithm returns the algorithm with this name, if a key of the spec has it with this usage.
func (s Spec) Algorithm(usage, name string) (Algorithm, bool) {
	for _, a := range s.Algorithms(usage) {
		if a.Name == name {
			return a, true
		}
	}
	return Algorithm{}, false
}

// NamesOn returns the names of [Spec.AlgorithmsOn].
func (s Spec) NamesOn(c hsmbackend.Capabilities, usage string) []string {
	var names []string
	for _, a := range s.AlgorithmsOn(c, usage) {
		names = append(names, a.Name)
	}
	return names
}

// EncryptionAlgorithms is the enumeration of AWS's model, with those of specs that no token has.
func EncryptionAlgorithms() []string {
	return []string{Symmetric, "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"}
}

// SigningAlgorithms is the enumeration of AWS's model.
func SigningAlgorithms() []string {
	return []string{
		"RSASSA_PSS_SHA_256", "RSASSA_PSS_SHA_384", "RSASSA_PSS_SHA_512", "RSASSA_PKCS1_V1_5_SHA_256",
		"RSASSA_PKCS1_V1_5_SHA_384", "RSASSA_PKCS1_V1_5_SHA_512", "ECDSA_SHA_256", "ECDSA_SHA_384", "ECDSA_SHA_512", "SM2DSA",
		"ML_DSA_SHAKE_256", "ED25519_SHA_512", "ED25519_PH_SHA_512",
	}
}

// MACAlgorithms is the enumeration of AWS's model.
func MACAlgorithms() []string {
	return []string{"HMAC_SHA_224", "HMAC_SHA_256", "HMAC_SHA_384", "HMAC_SHA_512"}
}

// Encapsulation is the one algorithm of keys with usage [EncapsulateDecapsulate], with AWS's name, and what it is called
// in PKCS#11.
const (
	Encapsulation          = "ML_KEM"
	EncapsulationMechanism = "CKM_ML_KEM"
)
