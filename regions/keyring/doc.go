// Package keyring holds the keys of one Region on one token: the Region's own keys and the working copies of KMS key
// material.
//
// Invariants:
//   - The token key-encryption key (KEK), the replication signing key (RSK) and the audit key are made on the token and
//     never leave it. The domain key, the record key and the sealing key are made as transient extractable session
//     objects, wrapped under the KEK, destroyed, and loaded as session objects that are not extractable.
//   - KMS key material is kept as an exported key token (EKT): wrapped on the token under the domain key by AES-KWP.
//   - An extractable copy of anything lives only inside one call of this package, or inside one exchange's scope.
//   - A working copy is used only after its material id was recomputed on the token and found equal, so an EKT that was
//     swapped, or made of another key's bytes, opens nothing.
package keyring

import (
	"antipode/hsmbackend"
)

// keyMechanisms are those a working or transient copy of AES key material is limited to: the XAES key derivation and
// the key tag, on tokens with SP 800-108 and on those without. It can never encrypt data itself in another mode,
// decrypt, wrap or sign.
func keyMechanisms(c hsmbackend.Capabilities) []hsmbackend.Mechanism {
	all := []hsmbackend.Mechanism{hsmbackend.MechAESECB, hsmbackend.MechDeriveECB, hsmbackend.MechDeriveXAES}
	var have []hsmbackend.Mechanism
	for _, m := range all {
		if c.HasMechanism(m) {
			have = append(have, m)
		}
	}
	return have
}
