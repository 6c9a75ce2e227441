package p11

// #include <stdlib.h>
// #include <string.h>
import "C"

import (
	"encoding/binary"
	"unsafe"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// cBytes copies b into memory that the module may be pointed to. free overwrites it.
func cBytes(b []byte) (p unsafe.Pointer, free func()) {
	p = C.CBytes(b)
	n := C.size_t(len(b))
	return p, func() {
		C.memset(p, 0, n)
		C.free(p)
	}
}

// stringData is CK_KEY_DERIVATION_STRING_DATA {pData, ulLen}, which miekg/pkcs11 can't make.
func stringData(data []byte) (param []byte, free func()) {
	p, free := cBytes(data)
	param = binary.NativeEndian.AppendUint64(nil, uint64(uintptr(p)))
	return append(param, ulong(uint(len(data)))...), free
}

// withUnwrapTemplate adds CKA_UNWRAP_TEMPLATE {CKA_SENSITIVE: true} if attr asks for it and the token has it. The
// attribute's value is an array of CK_ATTRIBUTE {type, pValue, ulValueLen}; miekg/pkcs11 panics on nested templates.
func (t *Token) withUnwrapTemplate(attr hsmbackend.Attributes, more []*pkcs11.Attribute) ([]*pkcs11.Attribute, func()) {
	if !attr.UnwrapSensitive || !t.cfg.Profile.UnwrapTemplate {
		return more, func() {}
	}
	p, free := cBytes([]byte{1})
	value := ulong(pkcs11.CKA_SENSITIVE)
	value = binary.NativeEndian.AppendUint64(value, uint64(uintptr(p)))
	value = append(value, ulong(1)...)
	return append(more, &pkcs11.Attribute{Type: ckaUnwrapTemplate, Value: value}), free
}
