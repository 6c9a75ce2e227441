// Keys that the device computes by steps that SoftHSM2 has no mechanism for.
#include <string.h>

#include "shim.h"

rv_t may_derive(ulong_t session, ulong_t key, ulong_t type)
{
	byte_t yes = 0;
	ulong_t allowed[64];
	attribute a[] = {{CKA_DERIVE, &yes, sizeof yes}, {CKA_ALLOWED_MECHANISMS, allowed, sizeof allowed}};
	rv_t rv = ((attributes_fn)softhsm->f[F_GetAttributeValue])(session, key, a, 2);
	if (rv != CKR_OK)
		return rv;
	if (!yes)
		return CKR_KEY_FUNCTION_NOT_PERMITTED;
	for (ulong_t i = 0; i < a[1].length / sizeof *allowed; i++)
		if (allowed[i] == type)
			return CKR_OK;
	return a[1].length == 0 ? CKR_OK : CKR_MECHANISM_INVALID; // an empty list is no limit
}

rv_t make_key(ulong_t session, const attribute *template, ulong_t count, byte_t *value, ulong_t length, ulong_t *key)
{
	attribute all[64] = {{CKA_VALUE, value, length}}; // first: SoftHSM2 sets nothing after CKA_MODIFIABLE=false
	ulong_t n = 1;
	if (count > 60)
		return CKR_ARGUMENTS_BAD;
	for (ulong_t i = 0; i < count; i++) {
		ulong_t wanted;
		if (template[i].type != CKA_VALUE_LEN) {
			all[n++] = template[i];
			continue;
		}
		if (template[i].length != sizeof wanted)
			return CKR_TEMPLATE_INCONSISTENT;
		memcpy(&wanted, template[i].value, sizeof wanted);
		if (wanted != length)
			return CKR_TEMPLATE_INCONSISTENT;
	}
	return ((create_fn)softhsm->f[F_CreateObject])(session, all, n, key);
}

static create_fn next_create;

static rv_t refuse_secrets(ulong_t session, attribute *a, ulong_t count, ulong_t *object)
{
	for (ulong_t i = 0; i < count; i++) {
		ulong_t class;
		if (a[i].type != CKA_CLASS || a[i].length != sizeof class)
			continue;
		memcpy(&class, a[i].value, sizeof class);
		if (class == CKO_SECRET_KEY)
			return CKR_ACTION_PROHIBITED;
	}
	return next_create(session, a, count, object);
}

static void install(functions *list)
{
	next_create = (create_fn)list->f[F_CreateObject];
	list->f[F_CreateObject] = (void *)refuse_secrets;
}

// no-create: secret keys can't be brought in readable, as on devices in FIPS mode.
const behaviour no_create = {.name = "no-create", .install = install};
