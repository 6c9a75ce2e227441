// How the device takes CKM_AES_GCM.
#include <string.h>

#include "shim.h"

static init_fn next_iv, next_stuck, next_short_encrypt, next_short_decrypt;

// own_iv fills the caller's buffer, which must be zero, by the device's random number generator.
static rv_t own_iv(ulong_t session, mechanism *m, ulong_t key)
{
	static const byte_t zero[12];
	if (m == NULL || m->type != CKM_AES_GCM)
		return next_iv(session, m, key);
	gcm_params *p = m->param;
	if (p == NULL || m->length != sizeof *p || p->iv == NULL || p->iv_length != 12 || memcmp(p->iv, zero, 12) != 0)
		return CKR_MECHANISM_PARAM_INVALID;
	rv_t rv = ((random_fn)softhsm->f[F_GenerateRandom])(session, p->iv, 12);
	return rv == CKR_OK ? next_iv(session, m, key) : rv;
}

static void install_iv(functions *list)
{
	next_iv = (init_fn)list->f[F_EncryptInit];
	list->f[F_EncryptInit] = (void *)own_iv;
}

// gcm-iv: the device makes the IV of an encryption and refuses one of the caller, as CloudHSM and devices in FIPS mode.
const behaviour gcm_iv = {.name = "gcm-iv", .install = install_iv};

// stuck_iv gives out one and the same IV.
static rv_t stuck_iv(ulong_t session, mechanism *m, ulong_t key)
{
	gcm_params *p = m != NULL && m->type == CKM_AES_GCM ? m->param : NULL;
	if (p != NULL && m->length == sizeof *p && p->iv != NULL && p->iv_length == 12)
		memset(p->iv, 0x5a, 12);
	return next_stuck(session, m, key);
}

static void install_stuck(functions *list)
{
	next_stuck = (init_fn)list->f[F_EncryptInit];
	list->f[F_EncryptInit] = (void *)stuck_iv;
}

// gcm-iv-stuck: a device that makes the IV, always the same one.
const behaviour gcm_iv_stuck = {.name = "gcm-iv-stuck", .install = install_stuck};

// lengthen gives SoftHSM2, which knows the long structure only, the parameters of the short one.
static rv_t lengthen(init_fn next, ulong_t session, mechanism *m, ulong_t key)
{
	if (m == NULL || m->type != CKM_AES_GCM)
		return next(session, m, key);
	gcm_params_short *s = m->param;
	if (s == NULL || m->length != sizeof *s)
		return CKR_MECHANISM_PARAM_INVALID;
	gcm_params p = {s->iv, s->iv_length, 8 * s->iv_length, s->aad, s->aad_length, s->tag_bits};
	mechanism lengthened = {CKM_AES_GCM, &p, sizeof p};
	return next(session, &lengthened, key);
}

static rv_t short_encrypt(ulong_t session, mechanism *m, ulong_t key)
{
	return lengthen(next_short_encrypt, session, m, key);
}

static rv_t short_decrypt(ulong_t session, mechanism *m, ulong_t key)
{
	return lengthen(next_short_decrypt, session, m, key);
}

static void install_short(functions *list)
{
	next_short_encrypt = (init_fn)list->f[F_EncryptInit];
	next_short_decrypt = (init_fn)list->f[F_DecryptInit];
	list->f[F_EncryptInit] = (void *)short_encrypt;
	list->f[F_DecryptInit] = (void *)short_decrypt;
}

// gcm-short: CK_GCM_PARAMS has no ulIvBits. Installed after gcm-iv, so that the two go together.
const behaviour gcm_short = {.name = "gcm-short", .install = install_short};
