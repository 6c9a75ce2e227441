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
	// ECDHKDFs that its CKM_ECDH1_DERIVE takes.
	ECDHKDFs []KDF
	// GCMIVFromToken says that the token makes the GCM IV itself.
	GCMIVFromToken bool
	// Approved is false when a key derivation that Antipode uses on this token is not one that FIPS 140-3 approves (the
	// XAES KDF composed of AES-ECB steps, ECDH with CKD_NULL); Remarks then says which.
	Approved bool
	// Remarks are sentences for an operator.
	Remarks []string
	// MaxCalls is how many calls may be in flight at the token at once.
	MaxCalls int
}

// HasMechanism reports whether the token has the mechanism.
func (c Capabilities) HasMechanism(m Mechanism) bool { return slices.Contains(c.Mechanisms, m) }

// HasECDHKDF reports whether the token's ECDH takes the KDF.
func (c Capabilities) HasECDHKDF(k KDF) bool { return slices.Contains(c.ECDHKDFs, k) }
