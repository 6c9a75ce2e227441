package p11

// #cgo linux LDFLAGS: -ldl
// #include <stdlib.h>
// #include "native.h"
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/miekg/pkcs11"

	"antipode/hsmbackend"
)

// native calls the hot functions of the module directly: miekg/pkcs11 crosses into C about ten times for one encryption
// (memory for every parameter, the length asked for first) and sixty times for a template.
type native struct {
	list   *C.functions
	handle unsafe.Pointer
}

func openNative(path string) (*native, error) {
	p := C.CString(path)
	defer C.free(unsafe.Pointer(p))
	n := &native{}
	if n.list = C.native_open(p, &n.handle); n.list == nil {
		return nil, errors.New("no C_GetFunctionList")
	}
	return n, nil
}

func (n *native) close() { C.native_close(n.handle) }

// op names the functions of an operation of one part: initialisation, and the operation after it in the list.
type op struct {
	index      C.int
	init, call string
	blob       bool
}

func opEncrypt() op { return op{C.F_EncryptInit, "C_EncryptInit", "C_Encrypt", false} }
func opDecrypt() op { return op{C.F_DecryptInit, "C_DecryptInit", "C_Decrypt", true} }
func opSign() op    { return op{C.F_SignInit, "C_SignInit", "C_Sign", false} }

// answer turns a CK_RV into an error that names the function.
func (o op) answer(rv C.ulong_t, failed C.int) error {
	switch {
	case rv == 0:
		return nil
	case failed == 0:
		return ck(o.init, pkcs11.Error(rv))
	case o.blob:
		return ckBlob(o.call, pkcs11.Error(rv))
	}
	return ck(o.call, pkcs11.Error(rv))
}

// one does an operation without mechanism parameters, whose answer is want bytes long.
func (k *call) one(o op, key *object, mechanism uint, in []byte, want int) ([]byte, error) {
	return k.exactly(o, key, mechanism, nil, in, want)
}

// exactly does an operation whose answer is want bytes long. params is the mechanism's parameter, without pointers in it.
func (k *call) exactly(o op, key *object, mechanism uint, params, in []byte, want int) ([]byte, error) {
	out, err := k.upTo(o, key, mechanism, params, in, want)
	if err != nil {
		return nil, err
	}
	if len(out) != want {
		clear(out)
		return nil, &hsmbackend.Error{Op: o.call, Kind: hsmbackend.ErrInternal, Info: fmt.Sprintf("answer of %d bytes", len(out))}
	}
	return out, nil
}

// upTo does an operation whose answer is at most as many bytes long as most.
func (k *call) upTo(o op, key *object, mechanism uint, params, in []byte, most int) ([]byte, error) {
	out := make([]byte, most)
	n, failed := C.ulong_t(most), C.int(0)
	rv := C.native_op(k.c.mod.native.list, o.index, C.ulong_t(k.s), C.ulong_t(key.h), C.ulong_t(mechanism),
		unsafe.Pointer(unsafe.SliceData(params)), C.ulong_t(len(params)),
		unsafe.Pointer(unsafe.SliceData(in)), C.ulong_t(len(in)), unsafe.Pointer(unsafe.SliceData(out)), &n, &failed)
	if err := o.answer(rv, failed); err != nil {
		clear(out)
		return nil, err
	}
	if n > C.ulong_t(most) {
		clear(out)
		return nil, &hsmbackend.Error{Op: o.call, Kind: hsmbackend.ErrInternal, Info: fmt.Sprintf("answer of %d bytes", n)}
	}
	return out[:n], nil
}

// gcm seals or opens; the answer is want bytes long, the buffer for it room bytes more. The module may write to iv.
func (k *call) gcm(o op, key *object, iv *[12]byte, aad, in []byte, want, room int) ([]byte, error) {
	out := make([]byte, want+room)
	n, failed, ivLength, short := C.ulong_t(len(out)), C.int(0), C.ulong_t(0), C.int(0)
	if k.t.cfg.Profile.GCMShortParams {
		short = 1
	}
	// An empty input is a pointer to something, with length 0: some modules take NULL for a question.
	from := unsafe.Pointer(unsafe.SliceData(in))
	if len(in) == 0 {
		from = unsafe.Pointer(unsafe.SliceData(aad))
	}
	rv := C.native_gcm(k.c.mod.native.list, o.index, C.ulong_t(k.s), C.ulong_t(key.h), pkcs11.CKM_AES_GCM,
		short, unsafe.Pointer(iv), &ivLength, unsafe.Pointer(unsafe.SliceData(aad)), C.ulong_t(len(aad)), from, C.ulong_t(len(in)),
		unsafe.Pointer(unsafe.SliceData(out)), &n, &failed)
	if err := o.answer(rv, failed); err != nil {
		return nil, err
	}
	switch {
	case int(n) != want:
		clear(out)
		return nil, &hsmbackend.Error{Op: o.call, Kind: hsmbackend.ErrInternal, Info: fmt.Sprintf("answer of %d bytes", n)}
	case ivLength != C.ulong_t(len(iv)):
		clear(out)
		return nil, &hsmbackend.Error{Op: o.call, Kind: hsmbackend.ErrTokenLies, Info: fmt.Sprintf("IV of %d bytes", ivLength)}
	}
	return out[:want], nil
}

// cellSize is enough for every attribute that is read back: 8 mechanisms, an id, a number.
const cellSize = 64

// read reads attributes of at most cellSize bytes each. It returns CKR_ATTRIBUTE_SENSITIVE like any other refusal.
func (k *call) read(h pkcs11.ObjectHandle, types []uint) ([][]byte, error) {
	cells := make([]byte, cellSize*len(types))
	lengths, ctypes := make([]C.ulong_t, len(types)), make([]C.ulong_t, len(types))
	for i, t := range types {
		ctypes[i] = C.ulong_t(t)
	}
	rv := C.native_read(k.c.mod.native.list, C.ulong_t(k.s), C.ulong_t(h), unsafe.SliceData(ctypes), C.ulong_t(len(types)),
		unsafe.Pointer(unsafe.SliceData(cells)), cellSize, unsafe.SliceData(lengths))
	if rv != 0 {
		clear(cells)
		return nil, pkcs11.Error(rv)
	}
	values := make([][]byte, len(types))
	for i := range values {
		if lengths[i] > cellSize {
			return nil, pkcs11.Error(pkcs11.CKR_BUFFER_TOO_SMALL)
		}
		values[i] = cells[i*cellSize:][:lengths[i]]
	}
	return values, nil
}
