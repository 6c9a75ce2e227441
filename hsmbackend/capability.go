package hsmbackend

import "slices"

// Info says which token this is. A token is chosen by label and serial number, never by slot.
type Info struct {
	Label        string
	Serial       string
	Manufacturer string
	Model        string
	Firmware     string // firmware version, "2.6"
}

// Capabilities says what the token can do. It is read from the token and its profile when it is opened.
type Capabilities struct {
	// Mechanisms that the token has, of those this package names.
	Mechanisms []Mechanism
	// KeyTypes that it can generate.
	KeyTypes []KeyType
	// NotWrapped are those of KeyTypes that it can make, but not wrap or unwrap.
	NotWrapped []KeyType
	// ECDHKDFs that its CKM_ECDH1_DERIVE takes.
	ECDHKDFs []KDF
	// ImportsKeys says that [Importer] works: a token in FIPS mode takes no secret key in the clear.
	ImportsKeys bool
	// XAES is how the message keys of XAES-256-GCM are made. The backend has checked it by a known answer.
	XAES XAESWay
	// GCMIVFromToken says that the token makes the GCM IV itself.
	GCMIVFromToken bool
	// Approved is false when a key derivation that Antipode uses on this token is not one that FIPS 140-3 approves;
	// [Capabilities.NotApproved] says which. Remarks repeats it.
	Approved bool
	// Remarks are sentences for an operator.
	Remarks []string
	// MaxCalls is how many calls may be in flight at the token at once.
	MaxCalls int
}

// XAESWay is how DeriveXAES makes message keys, and where AES-GCM runs under them. Every way makes the same keys, so what
// one token has encrypted any other decrypts.
type XAESWay string

// The ways, best first.
const (
	// XAESBySP800108: on the token, by its one mechanism for it, CKM_SP800_108_COUNTER_KDF with AES-CMAC.
	XAESBySP800108 XAESWay = "SP800-108"
	// XAESByECB: on the token, composed of AES-ECB and CKM_AES_ECB_ENCRYPT_DATA. The value L, from which AES-CMAC's
	// subkeys follow, is in host memory for the time of a derivation.
	XAESByECB XAESWay = "AES-ECB"
	// XAESOnHost: by AES-ECB on the token, whose answer is the message key. DeriveXAES's reference then names no object
	// of the token: SealGCM and OpenGCM have the key made again by the token, each time, and run AES-GCM in host memory.
	// Whoever uses such a token derives one key for each message and keeps none.
	XAESOnHost XAESWay = "host"
)

// String says the way in words for an operator.
func (w XAESWay) String() string {
	switch w {
	case XAESBySP800108:
		return "message keys by SP 800-108 with AES-CMAC on the token, AES-GCM on the token"
	case XAESByECB:
		return "message keys by AES-ECB steps on the token, AES-GCM on the token; not approved"
	case XAESOnHost:
		return "message keys and AES-GCM in host memory, one key for each message; not approved"
	}
	return "none"
}

// GCMOnHost reports whether AES-GCM runs in host memory, under message keys that are there for the time of a call.
func (c Capabilities) GCMOnHost() bool { return c.XAES == XAESOnHost }

// NotApproved lists, in sentences for an operator, the key derivations in use that FIPS 140-3 does not approve.
func (c Capabilities) NotApproved() []string {
	var why []string
	switch c.XAES {
	case XAESBySP800108:
	case XAESByECB:
		why = append(why, "The keys of XAES-256-GCM are composed of AES-ECB and CKM_AES_ECB_ENCRYPT_DATA; "+
			"approved is CKM_SP800_108_COUNTER_KDF with AES-CMAC, which the token lacks or gets wrong.")
	case XAESOnHost:
		why = append(why, "The keys of XAES-256-GCM, one for each message, are exposed to host memory, where AES-GCM runs.")
	default:
		why = append(why, "The token can't make the keys of XAES-256-GCM.")
	}
	if c.HasECDHKDF(KDFNull) {
		why = append(why, "Keys may be exchanged by ECDH with CKD_NULL; approved is CKD_SHA384_KDF.")
	}
	return why
}

// HasMechanism reports whether the token has the mechanism.
func (c Capabilities) HasMechanism(m Mechanism) bool { return slices.Contains(c.Mechanisms, m) }

// HasECDHKDF reports whether the token's ECDH takes the KDF.
func (c Capabilities) HasECDHKDF(k KDF) bool { return slices.Contains(c.ECDHKDFs, k) }

// HasKeyType reports whether the token can generate keys of this type.
func (c Capabilities) HasKeyType(kt KeyType) bool { return slices.Contains(c.KeyTypes, kt) }

// Wraps reports whether the token can wrap and unwrap keys of this type.
func (c Capabilities) Wraps(kt KeyType) bool {
	return c.HasMechanism(MechAESKWP) && !slices.Contains(c.NotWrapped, kt)
}

// OAEPOnHost reports whether [RSADecrypter] removes the padding of RSAES-OAEP with this hash in host memory.
func (c Capabilities) OAEPOnHost(hash Mechanism) bool {
	return !c.HasMechanism(hash) && c.HasMechanism(MechRSARaw)
}

// DecryptsOAEP reports whether [RSADecrypter] opens RSAES-OAEP with this hash.
func (c Capabilities) DecryptsOAEP(hash Mechanism) bool {
	return c.HasMechanism(hash) || c.OAEPOnHost(hash)
}
