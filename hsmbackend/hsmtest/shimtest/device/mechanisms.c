// Which mechanisms the device says that it has, and refuses.
#include <stdlib.h>
#include <string.h>

#include "shim.h"

static mechanism_list_fn next_list;
static mechanism_info_fn next_info;
static init_fn next_encrypt, next_decrypt;
static derive_fn next_derive;
static wrap_fn next_wrap;
static unwrap_fn next_unwrap;

static int removed(ulong_t type)
{
	for (const behaviour *const *b = behaviours; *b != NULL; b++)
		for (const ulong_t *r = (*b)->removes; active(*b) && *r != 0; r++)
			if (*r == type)
				return 1;
	return 0;
}

static const mechanism_info *added(ulong_t type)
{
	for (const behaviour *const *b = behaviours; *b != NULL; b++)
		for (int i = 0; active(*b) && (*b)->adds[i].type != 0; i++)
			if ((*b)->adds[i].type == type)
				return &(*b)->adds[i].info;
	return NULL;
}

static rv_t mechanism_list(ulong_t slot, ulong_t *out, ulong_t *count)
{
	ulong_t all[512], n = 512 - 64, kept = 0, room;
	if (count == NULL)
		return CKR_ARGUMENTS_BAD;
	rv_t rv = next_list(slot, all, &n);
	if (rv != CKR_OK)
		return rv;
	for (ulong_t i = 0; i < n; i++)
		if (!removed(all[i]) && added(all[i]) == NULL)
			all[kept++] = all[i];
	for (const behaviour *const *b = behaviours; *b != NULL; b++)
		for (int i = 0; active(*b) && (*b)->adds[i].type != 0; i++)
			all[kept++] = (*b)->adds[i].type;
	room = *count;
	*count = kept;
	if (out == NULL)
		return CKR_OK;
	if (room < kept)
		return CKR_BUFFER_TOO_SMALL;
	memcpy(out, all, kept * sizeof *out);
	return CKR_OK;
}

static rv_t mechanism_details(ulong_t slot, ulong_t type, mechanism_info *out)
{
	const mechanism_info *info = added(type);
	if (removed(type))
		return CKR_MECHANISM_INVALID;
	if (info == NULL || out == NULL)
		return next_info(slot, type, out);
	*out = *info;
	return CKR_OK;
}

static rv_t encrypt_init(ulong_t session, mechanism *m, ulong_t key)
{
	return m != NULL && removed(m->type) ? CKR_MECHANISM_INVALID : next_encrypt(session, m, key);
}

static rv_t decrypt_init(ulong_t session, mechanism *m, ulong_t key)
{
	return m != NULL && removed(m->type) ? CKR_MECHANISM_INVALID : next_decrypt(session, m, key);
}

static rv_t derive(ulong_t session, mechanism *m, ulong_t base, attribute *a, ulong_t count, ulong_t *key)
{
	return m != NULL && removed(m->type) ? CKR_MECHANISM_INVALID : next_derive(session, m, base, a, count, key);
}

static rv_t wrap(ulong_t session, mechanism *m, ulong_t kek, ulong_t key, byte_t *out, ulong_t *length)
{
	return m != NULL && removed(m->type) ? CKR_MECHANISM_INVALID : next_wrap(session, m, kek, key, out, length);
}

static rv_t unwrap(ulong_t session, mechanism *m, ulong_t kek, byte_t *in, ulong_t length, attribute *a, ulong_t count,
		   ulong_t *key)
{
	return m != NULL && removed(m->type) ? CKR_MECHANISM_INVALID
					     : next_unwrap(session, m, kek, in, length, a, count, key);
}

void install_mechanisms(functions *list)
{
	next_list = (mechanism_list_fn)list->f[F_GetMechanismList];
	next_info = (mechanism_info_fn)list->f[F_GetMechanismInfo];
	next_encrypt = (init_fn)list->f[F_EncryptInit];
	next_decrypt = (init_fn)list->f[F_DecryptInit];
	next_derive = (derive_fn)list->f[F_DeriveKey];
	next_wrap = (wrap_fn)list->f[F_WrapKey];
	next_unwrap = (unwrap_fn)list->f[F_UnwrapKey];
	list->f[F_WrapKey] = (void *)wrap;
	list->f[F_UnwrapKey] = (void *)unwrap;
	list->f[F_GetMechanismList] = (void *)mechanism_list;
	list->f[F_GetMechanismInfo] = (void *)mechanism_details;
	list->f[F_EncryptInit] = (void *)encrypt_init;
	list->f[F_DecryptInit] = (void *)decrypt_init;
	list->f[F_DeriveKey] = (void *)derive;
}

// no-gcm: AES in ECB and CBC mode only, as YubiHSM2.
const behaviour no_gcm = {.name = "no-gcm", .removes = {CKM_AES_GCM}};

// no-ecb-derive: AES-ECB encrypts, but derives no keys, as on most devices.
const behaviour no_ecb_derive = {.name = "no-ecb-derive", .removes = {CKM_AES_ECB_ENCRYPT_DATA}};

// no-oaep: RSA wraps no keys.
const behaviour no_oaep = {.name = "no-oaep", .removes = {CKM_RSA_PKCS_OAEP}};

// post-quantum: the list names ML-KEM and ML-DSA. Nothing can be done with them here: it is for what is said of a device
// that has them.
const behaviour post_quantum = {
	.name = "post-quantum",
	.adds = {{CKM_ML_KEM_KEY_PAIR_GEN, {512, 1024, 0}}, {CKM_ML_KEM, {512, 1024, 0}}, {CKM_ML_DSA_KEY_PAIR_GEN, {0, 0, 0}}, {CKM_ML_DSA, {0, 0, 0}}},
};
