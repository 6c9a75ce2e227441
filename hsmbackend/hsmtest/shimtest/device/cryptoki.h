// What the shim needs of PKCS#11 2.40 and 3.0 (OASIS), on systems whose structures are not packed (all but Windows).
#ifndef CRYPTOKI_H
#define CRYPTOKI_H

#include <stddef.h>

typedef unsigned long ulong_t;
typedef unsigned char byte_t;
typedef ulong_t rv_t;

// CK_FUNCTION_LIST: a version, then the functions in the order of the standard.
enum {
	F_Initialize = 0,
	F_GetFunctionList = 3,
	F_GetMechanismList = 7,
	F_GetMechanismInfo = 8,
	F_GetSessionInfo = 15,
	F_CreateObject = 20,
	F_DestroyObject = 22,
	F_GetAttributeValue = 24,
	F_EncryptInit = 29,
	F_Encrypt = 30,
	F_DecryptInit = 33,
	F_DigestInit = 37,
	F_Digest = 38,
	F_WrapKey = 60,
	F_UnwrapKey = 61,
	F_DeriveKey = 62,
	F_GenerateRandom = 64,
	F_count = 68,
};

typedef struct {
	byte_t version[2];
	void *f[F_count];
} functions;

typedef struct {
	ulong_t type;
	void *param;
	ulong_t length;
} mechanism;

typedef struct {
	ulong_t type;
	void *value;
	ulong_t length;
} attribute;

typedef struct {
	ulong_t min, max, flags;
} mechanism_info;

// CK_GCM_PARAMS as 2.40 errata 01 and 3.x have it.
typedef struct {
	byte_t *iv;
	ulong_t iv_length, iv_bits;
	byte_t *aad;
	ulong_t aad_length, tag_bits;
} gcm_params;

// CK_GCM_PARAMS as the header of 2.40 first had it, which some vendors keep.
typedef struct {
	byte_t *iv;
	ulong_t iv_length;
	byte_t *aad;
	ulong_t aad_length, tag_bits;
} gcm_params_short;

typedef struct {
	ulong_t kdf, shared_length;
	byte_t *shared;
	ulong_t public_length;
	byte_t *public;
} ecdh_params;

// CK_SP800_108_KDF_PARAMS and what it points to, PKCS#11 3.0, 2.42.
typedef struct {
	ulong_t type;
	void *value;
	ulong_t length;
} prf_data_param;

typedef struct {
	byte_t little_endian;
	ulong_t width_in_bits;
} counter_format;

typedef struct {
	ulong_t prf, number;
	prf_data_param *data;
	ulong_t additional;
	void *additional_keys;
} kdf_params;

typedef rv_t (*initialize_fn)(void *);
typedef rv_t (*get_function_list_fn)(functions **);
typedef rv_t (*mechanism_list_fn)(ulong_t slot, ulong_t *list, ulong_t *count);
typedef rv_t (*mechanism_info_fn)(ulong_t slot, ulong_t type, mechanism_info *);
typedef rv_t (*create_fn)(ulong_t session, attribute *, ulong_t count, ulong_t *object);
typedef rv_t (*destroy_fn)(ulong_t session, ulong_t object);
typedef rv_t (*attributes_fn)(ulong_t session, ulong_t object, attribute *, ulong_t count);
typedef rv_t (*init_fn)(ulong_t session, mechanism *, ulong_t key);
typedef rv_t (*digest_init_fn)(ulong_t session, mechanism *);
typedef rv_t (*op_fn)(ulong_t session, const byte_t *in, ulong_t in_length, byte_t *out, ulong_t *out_length);
typedef rv_t (*derive_fn)(ulong_t session, mechanism *, ulong_t base, attribute *, ulong_t count, ulong_t *key);
typedef rv_t (*wrap_fn)(ulong_t session, mechanism *, ulong_t kek, ulong_t key, byte_t *out, ulong_t *out_length);
typedef rv_t (*unwrap_fn)(ulong_t session, mechanism *, ulong_t kek, byte_t *in, ulong_t in_length, attribute *,
			  ulong_t count, ulong_t *key);
typedef rv_t (*random_fn)(ulong_t session, byte_t *, ulong_t);

enum {
	CKR_OK = 0x0,
	CKR_GENERAL_ERROR = 0x5,
	CKR_ARGUMENTS_BAD = 0x7,
	CKR_KEY_FUNCTION_NOT_PERMITTED = 0x68,
	CKR_MECHANISM_INVALID = 0x70,
	CKR_MECHANISM_PARAM_INVALID = 0x71,
	CKR_TEMPLATE_INCONSISTENT = 0xd1,
	CKR_BUFFER_TOO_SMALL = 0x150,
	CKR_CRYPTOKI_NOT_INITIALIZED = 0x190,
	CKR_ACTION_PROHIBITED = 0x1b,

	CKO_SECRET_KEY = 4,
	CKK_GENERIC_SECRET = 0x10,

	CKA_CLASS = 0x0,
	CKA_TOKEN = 0x1,
	CKA_VALUE = 0x11,
	CKA_KEY_TYPE = 0x100,
	CKA_SENSITIVE = 0x103,
	CKA_DERIVE = 0x10c,
	CKA_VALUE_LEN = 0x161,
	CKA_EXTRACTABLE = 0x162,
	CKA_ALLOWED_MECHANISMS = 0x40000600,

	CKM_RSA_PKCS_OAEP = 0x9,
	CKM_ML_KEM_KEY_PAIR_GEN = 0xf,
	CKM_ML_KEM = 0x17,
	CKM_ML_DSA_KEY_PAIR_GEN = 0x1c,
	CKM_ML_DSA = 0x1d,
	CKM_SHA384 = 0x260,
	CKM_SP800_108_COUNTER_KDF = 0x3ac,
	CKM_ECDH1_DERIVE = 0x1050,
	CKM_AES_ECB = 0x1081,
	CKM_AES_GCM = 0x1087,
	CKM_AES_CMAC = 0x108a,
	CKM_AES_ECB_ENCRYPT_DATA = 0x1104,

	CKD_NULL = 1,
	CKD_SHA384_KDF = 7,

	CKF_DERIVE = 0x80000,

	SP800_108_ITERATION_VARIABLE = 1,
	SP800_108_BYTE_ARRAY = 4,
};

#endif
