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
	F_CreateObject = 20,
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
	void *iv;
	ulong_t iv_length, iv_bits;
	const void *aad;
	ulong_t aad_length, tag_bits;
} gcm_params;

// CK_GCM_PARAMS as the first header of 2.40 had it, which some modules keep.
typedef struct {
	void *iv;
	ulong_t iv_length;
	const void *aad;
	ulong_t aad_length, tag_bits;
} gcm_params_short;

// CK_SP800_108_KDF_PARAMS and what it points to, PKCS#11 3.0 (current mechanisms, 2.42).
typedef struct {
	ulong_t type;
	const void *value;
	ulong_t length;
} prf_data_param;

typedef struct {
	unsigned char little_endian;
	ulong_t width_in_bits;
} counter_format;

typedef struct {
	ulong_t prf, number;
	prf_data_param *data;
	ulong_t additional;
	void *additional_keys;
} kdf_params;

// counter_kdf is a CK_SP800_108_KDF_PARAMS with all that it points to.
typedef struct {
	kdf_params params;
	prf_data_param data[2];
	counter_format counter;
	unsigned char input[14];
} counter_kdf;

typedef struct {
	ulong_t type;
	void *value;
	ulong_t length;
} attribute;

typedef ulong_t (*init_fn)(ulong_t session, mechanism *, ulong_t key);
typedef ulong_t (*op_fn)(ulong_t session, const void *in, ulong_t in_length, void *out, ulong_t *out_length);
typedef ulong_t (*create_fn)(ulong_t session, attribute *, ulong_t count, ulong_t *object);
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

// native_gcm encrypts or decrypts with a 12-byte IV, which the module may write, and a 16-byte tag. *iv_length is the
// IV's length afterwards.
static inline ulong_t native_gcm(functions *list, int f, ulong_t session, ulong_t key, ulong_t type, int short_params,
				 void *iv, ulong_t *iv_length, const void *aad, ulong_t aad_length, const void *in,
				 ulong_t in_length, void *out, ulong_t *out_length, int *failed)
{
	ulong_t rv;
	if (short_params) {
		gcm_params_short p = {iv, 12, aad, aad_length, 128};
		rv = native_op(list, f, session, key, type, &p, sizeof p, in, in_length, out, out_length, failed);
		*iv_length = p.iv_length;
	} else {
		gcm_params p = {iv, 12, 96, aad, aad_length, 128};
		rv = native_op(list, f, session, key, type, &p, sizeof p, in, in_length, out, out_length, failed);
		*iv_length = p.iv_length;
	}
	return rv;
}

// native_counter_kdf fills in parameters of CKM_SP800_108_COUNTER_KDF: CKM_AES_CMAC over a 16-bit big-endian counter and
// then input, without a length field.
static inline void native_counter_kdf(counter_kdf *k)
{
	k->counter = (counter_format){0, 16};
	k->data[0] = (prf_data_param){1, &k->counter, sizeof k->counter}; // CK_SP800_108_ITERATION_VARIABLE
	k->data[1] = (prf_data_param){4, k->input, sizeof k->input};      // CK_SP800_108_BYTE_ARRAY
	k->params = (kdf_params){0x108a, 2, k->data, 0, NULL};            // CKM_AES_CMAC
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

// native_create makes an object of count attributes (at most 32), whose values are in cells, one after the other.
static inline ulong_t native_create(functions *list, ulong_t session, const ulong_t *types, const ulong_t *lengths,
				    ulong_t count, void *cells, ulong_t *object)
{
	attribute a[32];
	if (count > 32)
		return 7; // CKR_ARGUMENTS_BAD
	for (ulong_t i = 0, at = 0; i < count; at += lengths[i++])
		a[i] = (attribute){types[i], (char *)cells + at, lengths[i]};
	return ((create_fn)list->f[F_CreateObject])(session, a, count, object);
}
