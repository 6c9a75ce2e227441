// A PKCS#11 module that is SoftHSM2 with some behaviours of another device. See shim.c.
#ifndef SHIM_H
#define SHIM_H

#include "cryptoki.h"

// behaviour is one way in which a device differs from SoftHSM2.
typedef struct {
	const char *name;
	// install puts the behaviour's functions into the list and keeps those that were there, to call them for what the
	// behaviour does not change. NULL if it has none. Behaviours are installed in the order of behaviours[]: the later one
	// is asked first.
	void (*install)(functions *list);
	// What C_GetMechanismList and C_GetMechanismInfo say beyond, or without; ends with a zero type.
	struct {
		ulong_t type;
		mechanism_info info;
	} adds[5]; // ends with a zero type
	ulong_t removes[4];
} behaviour;

extern const behaviour *const behaviours[]; // ends with NULL

// softhsm is SoftHSM2's own list. It is set while functions of behaviours run.
extern functions *softhsm;

// active reports whether the behaviour was asked for.
int active(const behaviour *);

// install_mechanisms makes the two functions that describe mechanisms tell of all active behaviours, and every function
// that takes a removed one refuse it.
void install_mechanisms(functions *list);

// may_derive is 0 if the key has CKA_DERIVE, and CKA_ALLOWED_MECHANISMS with this one; otherwise a CKR.
rv_t may_derive(ulong_t session, ulong_t key, ulong_t type);

// make_key makes a key object of SoftHSM2 from a template of C_DeriveKey and the value that the device has computed.
rv_t make_key(ulong_t session, const attribute *, ulong_t count, byte_t *value, ulong_t length, ulong_t *key);

extern const behaviour sp800_108, sp800_108_wrong, gcm_iv, gcm_iv_stuck, gcm_short, no_gcm, no_ecb_derive, no_oaep, x963, no_create,
	post_quantum;

#endif
