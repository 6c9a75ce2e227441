package regions_test

import (
	"slices"
	"testing"

	"antipode/hsmbackend"
	"antipode/hsmbackend/hsmtest/shimtest"
	"antipode/regions"
	"antipode/regions/regionstest"
)

// What is refused for want of a mechanism is refused last, and the mechanism is named.
func TestEncapsulationIsGated(t *testing.T) {
	t.Parallel()
	f := regionstest.Open(t, "us-east-2")
	key := f.CreateKey(t, false)
	const lacks = " is not supported in Region us-east-2: its token lacks CKM_ML_KEM."
	type (
		en = regions.EncapsulateInput
		de = regions.DecapsulateInput
	)
	for _, c := range []struct {
		op         string
		in         any
		code, text string
	}{
		{"Encapsulate", &en{KeyID: key.KeyID}, "ValidationException", "1 validation error detected: Value null at 'encapsulationAlgorithm' failed to satisfy constraint: Member must not be null"},
		{"Encapsulate", &en{KeyID: key.KeyID, EncapsulationAlgorithm: "X"}, "ValidationException", "1 validation error detected: Value 'X' at 'encapsulationAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [ML_KEM]"},
		{"Encapsulate", &en{KeyID: "x", EncapsulationAlgorithm: "ML_KEM"}, "NotFoundException", "Invalid keyId 'x'"},
		{"Encapsulate", &en{KeyID: key.KeyID, EncapsulationAlgorithm: "ML_KEM", DryRun: true}, "UnsupportedOperationException", "Encapsulate" + lacks},
		{"Decapsulate", &de{KeyID: key.KeyID, EncapsulationAlgorithm: "ML_KEM"}, "ValidationException", "1 validation error detected: Value null at 'sharedSecretCiphertextBlob' failed to satisfy constraint: Member must not be null"},
		{"Decapsulate", &de{KeyID: key.KeyID, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: make([]byte, 6145)}, "ValidationException", "1 validation error detected: Value 'java.nio.HeapByteBuffer' at 'sharedSecretCiphertextBlob' failed to satisfy constraint: Member must have length less than or equal to 6144"},
		{"Decapsulate", &de{KeyID: key.KeyID, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: []byte{1}, Recipient: &struct{}{}}, "UnsupportedOperationException", "Recipient is not supported by this version of Antipode."},
		{"Decapsulate", &de{KeyID: key.KeyID, EncapsulationAlgorithm: "ML_KEM", SharedSecretCiphertextBlob: []byte{1}}, "UnsupportedOperationException", "Decapsulate" + lacks},
		{"GenerateDataKeyPair", &regions.GenerateDataKeyPairWithPlaintextInput{KeyID: key.KeyID, KeyPairSpec: "ML_KEM_768"}, "UnsupportedOperationException", "KeyPairSpec ML_KEM_768 is not supported by this version of Antipode."},
	} {
		_, err := regionstest.Do(t.Context(), f.Region, f.Admin, c.op, c.in)
		wantError(t, c.op, err, c.code, c.text)
	}
}

// A token that lists ML-KEM and ML-DSA is not said to lack them.
func TestPostQuantumToken(t *testing.T) {
	t.Parallel()
	module := shimtest.Build(t)
	f := regionstest.Open(t, "us-east-2", regionstest.WithToken(func(plain hsmbackend.Token) hsmbackend.Token {
		caps := module.Open(t, shimtest.PostQuantum).Capabilities()
		if !caps.HasMechanism(hsmbackend.MechMLKEM) || !caps.HasMechanism(hsmbackend.MechMLDSA) {
			t.Errorf("the token's mechanisms are %v", caps.Mechanisms)
		}
		if had := plain.Capabilities(); slices.Contains(had.Mechanisms, hsmbackend.MechMLKEM) || slices.Contains(had.Mechanisms, hsmbackend.MechMLDSA) {
			t.Errorf("SoftHSM2's mechanisms are %v", had.Mechanisms)
		}
		return listing{plain, caps}
	}))
	for spec, usage := range map[string]string{"ML_DSA_44": "SIGN_VERIFY", "ML_KEM_1024": "ENCAPSULATE_DECAPSULATE"} {
		_, err := regionstest.Call[regions.CreateKeyOutput](t, f, "CreateKey", &regions.CreateKeyInput{KeySpec: spec, KeyUsage: usage})
		wantError(t, spec, err, "UnsupportedOperationException", "KeySpec "+spec+" is not supported by this version of Antipode.")
	}
	key := f.CreateKey(t, false)
	_, err := regionstest.Call[regions.EncapsulateOutput](t, f, "Encapsulate", &regions.EncapsulateInput{KeyID: key.KeyID, EncapsulationAlgorithm: "ML_KEM"})
	wantError(t, "Encapsulate", err, "InvalidKeyUsageException", key.Arn+" key usage is ENCRYPT_DECRYPT which is not valid for Encapsulate.")
}

// listing is a token with other capabilities than its own.
type listing struct {
	hsmbackend.Token
	caps hsmbackend.Capabilities
}

func (l listing) Capabilities() hsmbackend.Capabilities { return l.caps }
