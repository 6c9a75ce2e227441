package p11

// #include <stdlib.h>
// #include <string.h>
// #include "native.h"
import "C"

import (
	"context"
	"unsafe"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// deriveSP800108 derives by the token's one mechanism for it.
func (t *Token) deriveSP800108(
	ctx context.Context, op string, p *plan, key hsmbackend.KeyRef, prefix [12]byte,
) (hsmbackend.KeyRef, error) {
	return t.derive(ctx, op, p, func(k *call) (*object, *pkcs11.Mechanism, func(), error) {
		o, err := k.use(key)
		param, free := counterKDF('X', prefix)
		return o, pkcs11.NewMechanism(ckmSP800108Counter, param), free, err
	})
}

// counterKDF is CK_SP800_108_KDF_PARAMS for the KDF of XAES-256-GCM: AES-CMAC over a 16-bit counter from 1 and then
// label | 0x00 | context, for as many blocks as the key is long. param points to memory of C's until free.
func counterKDF(label byte, context [12]byte) (param []byte, free func()) {
	k := (*C.counter_kdf)(C.calloc(1, C.sizeof_counter_kdf))
	k.input[0] = C.uchar(label)
	for i, b := range context {
		k.input[2+i] = C.uchar(b)
	}
	C.native_counter_kdf(k)
	param = C.GoBytes(unsafe.Pointer(&k.params), C.sizeof_kdf_params)
	return param, func() {
		C.memset(unsafe.Pointer(k), 0, C.sizeof_counter_kdf)
		C.free(unsafe.Pointer(k))
	}
}
