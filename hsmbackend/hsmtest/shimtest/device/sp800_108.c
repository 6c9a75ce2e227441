// CKM_SP800_108_COUNTER_KDF with AES-CMAC, a 16-bit big-endian counter before one byte array of up to 14 bytes and no
// length field: each message of the PRF is then one block, and AES-CMAC of it is AES(K, M xor K1), or with less than a
// block AES(K, padded M xor K2). The blocks are encrypted by SoftHSM2, so the base key must allow CKM_AES_ECB too.
#include <string.h>

#include "shim.h"

static derive_fn next, next_wrong;

static rv_t ecb(ulong_t session, ulong_t key, const byte_t *in, byte_t *out, ulong_t length)
{
	mechanism m = {CKM_AES_ECB, NULL, 0};
	ulong_t n = length;
	rv_t rv = ((init_fn)softhsm->f[F_EncryptInit])(session, &m, key);
	if (rv == CKR_OK)
		rv = ((op_fn)softhsm->f[F_Encrypt])(session, in, length, out, &n);
	return rv == CKR_OK && n != length ? CKR_GENERAL_ERROR : rv;
}

// times_x multiplies by x in GF(2^128).
static void times_x(byte_t k[16])
{
	byte_t carry = k[0] >> 7;
	for (int i = 0; i < 15; i++)
		k[i] = (byte_t)(k[i] << 1 | k[i + 1] >> 7);
	k[15] = (byte_t)(k[15] << 1 ^ carry * 0x87);
}

// fixed_input returns the byte array that follows the counter, or NULL for parameters that this device does not take.
static const prf_data_param *fixed_input(const mechanism *m)
{
	const kdf_params *p = m->param;
	if (p == NULL || m->length != sizeof *p || p->prf != CKM_AES_CMAC || p->number != 2 || p->data == NULL ||
	    p->additional != 0 || p->additional_keys != NULL)
		return NULL;
	const counter_format *c = p->data[0].value;
	if (p->data[0].type != SP800_108_ITERATION_VARIABLE || c == NULL || p->data[0].length != sizeof *c ||
	    c->little_endian != 0 || c->width_in_bits != 16)
		return NULL;
	const prf_data_param *in = &p->data[1];
	return in->type == SP800_108_BYTE_ARRAY && in->value != NULL && in->length <= 14 ? in : NULL;
}

static rv_t derive(ulong_t session, mechanism *m, ulong_t base, attribute *a, ulong_t count, ulong_t *key)
{
	byte_t subkey[16] = {0}, messages[32] = {0}, value[32];
	if (m == NULL || m->type != CKM_SP800_108_COUNTER_KDF)
		return next(session, m, base, a, count, key);
	const prf_data_param *in = fixed_input(m);
	if (in == NULL)
		return CKR_MECHANISM_PARAM_INVALID;
	rv_t rv = may_derive(session, base, CKM_SP800_108_COUNTER_KDF);
	if (rv == CKR_OK)
		rv = ecb(session, base, subkey, subkey, sizeof subkey);
	if (rv != CKR_OK)
		return rv;
	times_x(subkey);
	if (in->length < 14)
		times_x(subkey);
	for (int i = 0; i < 2; i++) {
		byte_t *block = messages + 16 * i;
		block[1] = (byte_t)(i + 1);
		memcpy(block + 2, in->value, in->length);
		if (in->length < 14)
			block[2 + in->length] = 0x80;
		for (int j = 0; j < 16; j++)
			block[j] ^= subkey[j];
	}
	rv = ecb(session, base, messages, value, sizeof value);
	if (rv == CKR_OK)
		rv = make_key(session, a, count, value, sizeof value, key);
	explicit_bzero(subkey, sizeof subkey);
	explicit_bzero(value, sizeof value);
	return rv;
}

static void install(functions *list)
{
	next = (derive_fn)list->f[F_DeriveKey];
	list->f[F_DeriveKey] = (void *)derive;
}

// sp800-108: the mechanism of PKCS#11 3.0.
const behaviour sp800_108 = {
	.name = "sp800-108",
	.install = install,
	.adds = {{CKM_SP800_108_COUNTER_KDF, {16, 32, CKF_DERIVE}}},
};

// wrong_derive changes the fixed input before it is used.
static rv_t wrong_derive(ulong_t session, mechanism *m, ulong_t base, attribute *a, ulong_t count, ulong_t *key)
{
	const prf_data_param *in = m != NULL && m->type == CKM_SP800_108_COUNTER_KDF ? fixed_input(m) : NULL;
	if (in == NULL || in->length == 0)
		return next_wrong(session, m, base, a, count, key);
	byte_t *last = (byte_t *)in->value + in->length - 1;
	*last ^= 1;
	rv_t rv = next_wrong(session, m, base, a, count, key);
	*last ^= 1;
	return rv;
}

static void install_wrong(functions *list)
{
	next_wrong = (derive_fn)list->f[F_DeriveKey];
	list->f[F_DeriveKey] = (void *)wrong_derive;
}

// sp800-108-wrong: with sp800-108, a device whose derivation is not the standard's.
const behaviour sp800_108_wrong = {.name = "sp800-108-wrong", .install = install_wrong};
