// CKM_ECDH1_DERIVE with CKD_SHA384_KDF (ANSI X9.63), one block, and without CKD_NULL. The shared secret is an object of
// SoftHSM2 for the time of the call; the hash is SoftHSM2's.
#include <string.h>

#include "shim.h"

static derive_fn next;

static rv_t shared_secret(ulong_t session, const ecdh_params *p, ulong_t base, byte_t z[48])
{
	ulong_t class = CKO_SECRET_KEY, type = CKK_GENERIC_SECRET, length = 48, h = 0;
	byte_t yes = 1, no = 0;
	attribute template[] = {
		{CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}, {CKA_TOKEN, &no, 1},
		{CKA_SENSITIVE, &no, 1}, {CKA_EXTRACTABLE, &yes, 1}, {CKA_VALUE_LEN, &length, sizeof length},
	};
	ecdh_params null = {CKD_NULL, 0, NULL, p->public_length, p->public};
	mechanism m = {CKM_ECDH1_DERIVE, &null, sizeof null};
	rv_t rv = ((derive_fn)softhsm->f[F_DeriveKey])(session, &m, base, template, 6, &h);
	if (rv != CKR_OK)
		return rv;
	attribute value = {CKA_VALUE, z, 48};
	rv = ((attributes_fn)softhsm->f[F_GetAttributeValue])(session, h, &value, 1);
	((destroy_fn)softhsm->f[F_DestroyObject])(session, h);
	return rv == CKR_OK && value.length != 48 ? CKR_GENERAL_ERROR : rv;
}

static rv_t derive(ulong_t session, mechanism *m, ulong_t base, attribute *a, ulong_t count, ulong_t *key)
{
	byte_t input[48 + 4 + 1024], hash[48];
	ulong_t n = sizeof hash;
	if (m == NULL || m->type != CKM_ECDH1_DERIVE)
		return next(session, m, base, a, count, key);
	const ecdh_params *p = m->param;
	if (p == NULL || m->length != sizeof *p || p->kdf != CKD_SHA384_KDF || p->shared_length > 1024)
		return CKR_MECHANISM_PARAM_INVALID;
	rv_t rv = shared_secret(session, p, base, input);
	if (rv != CKR_OK)
		return rv;
	memcpy(input + 48, "\0\0\0\1", 4);
	if (p->shared_length != 0)
		memcpy(input + 52, p->shared, p->shared_length);
	mechanism sha = {CKM_SHA384, NULL, 0};
	rv = ((digest_init_fn)softhsm->f[F_DigestInit])(session, &sha);
	if (rv == CKR_OK)
		rv = ((op_fn)softhsm->f[F_Digest])(session, input, 52 + p->shared_length, hash, &n);
	if (rv == CKR_OK)
		rv = make_key(session, a, count, hash, 32, key);
	explicit_bzero(input, sizeof input);
	explicit_bzero(hash, sizeof hash);
	return rv;
}

static void install(functions *list)
{
	next = (derive_fn)list->f[F_DeriveKey];
	list->f[F_DeriveKey] = (void *)derive;
}

// x963: ECDH by X9.63 and SHA-384 only, as CloudHSM and devices in FIPS mode.
const behaviour x963 = {.name = "x963", .install = install};
