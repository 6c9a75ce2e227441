// The hot calls of PKCS#11 2.40 (OASIS), initialisation and operation in one crossing from Go, for modules whose
// CK_ULONG is C's unsigned long and whose structures are not packed (all but Windows).
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

typedef unsigned long ulong_t;

// CK_FUNCTION_LIST: a version, then the functions in the order of the standard.
typedef struct {
	unsigned char version[2];
	void *f[68];
} functions;

enum {
	F_GetAttributeValue = 24,
	F_EncryptInit = 29,
	F_Encrypt = 30,
	F_DecryptInit = 33,
	F_Decrypt = 34,
	F_SignInit = 42,
	F_Sign = 43,
};

typedef struct {
	ulong_t type;
	void *param;
	ulong_t length;
} mechanism;

// CK_GCM_PARAMS as 2.40 errata 01 and 3.x have it, with ulIvBits.
typedef struct {
	const void *iv;
	ulong_t iv_length, iv_bits;
	const void *aad;
	ulong_t aad_length, tag_bits;
} gcm_params;

typedef struct {
	ulong_t type;
	void *value;
	ulong_t length;
} attribute;

typedef ulong_t (*init_fn)(ulong_t session, mechanism *, ulong_t key);
typedef ulong_t (*op_fn)(ulong_t session, const void *in, ulong_t in_length, void *out, ulong_t *out_length);
typedef ulong_t (*read_fn)(ulong_t session, ulong_t object, attribute *, ulong_t count);

// native_open returns the module's function list. The module is loaded already, so this is only one more reference.
static inline functions *native_open(const char *path, void **handle)
{
	functions *list = NULL;
	ulong_t (*get)(functions **);
	*handle = dlopen(path, RTLD_LAZY);
	if (*handle == NULL)
		return NULL;
	*(void **)&get = dlsym(*handle, "C_GetFunctionList");
	if (get == NULL || get(&list) != 0) {
		dlclose(*handle);
		return NULL;
	}
	return list;
}

static inline void native_close(void *handle) { dlclose(handle); }

// native_op does one operation of one part. *failed is the index of the function that answered, 0 for the
// initialisation.
static inline ulong_t native_op(functions *list, int f, ulong_t session, ulong_t key, ulong_t type, void *param,
				ulong_t param_length, const void *in, ulong_t in_length, void *out, ulong_t *out_length,
				int *failed)
{
	mechanism m = {type, param, param_length};
	ulong_t rv = ((init_fn)list->f[f])(session, &m, key);
	*failed = 0;
	if (rv == 0) {
		*failed = 1;
		rv = ((op_fn)list->f[f + 1])(session, in, in_length, out, out_length);
	}
	return rv;
}

// native_gcm encrypts or decrypts with a 12-byte IV and a 16-byte tag.
static inline ulong_t native_gcm(functions *list, int f, ulong_t session, ulong_t key, ulong_t type, const void *iv,
				 const void *aad, ulong_t aad_length, const void *in, ulong_t in_length, void *out,
				 ulong_t *out_length, int *failed)
{
	gcm_params p = {iv, 12, 96, aad, aad_length, 128};
	return native_op(list, f, session, key, type, &p, sizeof p, in, in_length, out, out_length, failed);
}

// native_read reads count attributes (at most 32) into cells of `cell` bytes, and their lengths.
static inline ulong_t native_read(functions *list, ulong_t session, ulong_t object, const ulong_t *types, ulong_t count,
				  void *cells, ulong_t cell, ulong_t *lengths)
{
	attribute a[32];
	if (count > 32)
		return 7; // CKR_ARGUMENTS_BAD
	for (ulong_t i = 0; i < count; i++)
		a[i] = (attribute){types[i], (char *)cells + i * cell, cell};
	ulong_t rv = ((read_fn)list->f[F_GetAttributeValue])(session, object, a, count);
	for (ulong_t i = 0; i < count; i++)
		lengths[i] = a[i].length;
	return rv;
}
