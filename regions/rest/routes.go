package rest

import (
	"net/http"
	"net/url"
	"strings"

	"antipode/regions"
)

// route is one way to an operation. The members of its input that are in braces in the path come from there, the others
// from the body, or for GET and DELETE from the query.
type route struct {
	operation string
	// id names the route in the OpenAPI document; "" stands for the operation's name.
	id     string
	method string
	path   string // below /v1/regions/{region}
	// status of a success; 0 stands for 200, or 204 where the operation answers nothing.
	status int
	// rawIn and rawOut are the members that may be a body of their own, application/octet-stream.
	rawIn, rawOut string
	// location gives the path of what was made, below the Region's; nil if nothing is made.
	location func(in, out any) string
}

func (r route) name() string {
	if r.id != "" {
		return r.id
	}
	return r.operation
}

// inQuery reports whether the members that are not in the path are in the query.
func (r route) inQuery() bool { return r.method == http.MethodGet || r.method == http.MethodDelete }

// routes is the one table of them. Every operation of the AWS KMS model is in it, those that are not built too.
func routes() []route {
	all := []route{
		{operation: "CreateKey", method: http.MethodPost, path: "/keys", status: http.StatusCreated, location: newKey},
		{operation: "ListKeys", method: http.MethodGet, path: "/keys"},
		{operation: "DescribeKey", method: http.MethodGet, path: "/keys/{KeyId}"},
		{operation: "UpdateKeyDescription", method: http.MethodPatch, path: "/keys/{KeyId}"},
		{operation: "ScheduleKeyDeletion", method: http.MethodDelete, path: "/keys/{KeyId}", status: http.StatusAccepted},
		{operation: "GetKeyPolicy", method: http.MethodGet, path: "/keys/{KeyId}/policy"},
		{operation: "PutKeyPolicy", method: http.MethodPut, path: "/keys/{KeyId}/policy"},
		{operation: "ListKeyPolicies", method: http.MethodGet, path: "/keys/{KeyId}/policies"},
		{operation: "ListResourceTags", method: http.MethodGet, path: "/keys/{KeyId}/tags"},
		{operation: "TagResource", method: http.MethodPost, path: "/keys/{KeyId}/tags"},
		{operation: "UntagResource", method: http.MethodDelete, path: "/keys/{KeyId}/tags"},
		{operation: "GetPublicKey", method: http.MethodGet, path: "/keys/{KeyId}/publicKey", rawOut: "PublicKey"},
		{operation: "GetKeyLastUsage", method: http.MethodGet, path: "/keys/{KeyId}/lastUsage"},
		{operation: "ReplicateKey", method: http.MethodPost, path: "/keys/{KeyId}/replicas", status: http.StatusCreated},
		{operation: "DescribeKeyReplicas", method: http.MethodGet, path: "/keys/{KeyId}/replicas"},
		{operation: "UpdatePrimaryRegion", method: http.MethodPut, path: "/keys/{KeyId}/primaryRegion", status: http.StatusAccepted},
		{operation: "GetKeyRotationStatus", method: http.MethodGet, path: "/keys/{KeyId}/rotation"},
		{operation: "EnableKeyRotation", method: http.MethodPut, path: "/keys/{KeyId}/rotation"},
		{operation: "DisableKeyRotation", method: http.MethodDelete, path: "/keys/{KeyId}/rotation"},
		{operation: "ListKeyRotations", method: http.MethodGet, path: "/keys/{KeyId}/rotations"},
		{operation: "ImportKeyMaterial", method: http.MethodPut, path: "/keys/{KeyId}/material"},
		{operation: "DeleteImportedKeyMaterial", method: http.MethodDelete, path: "/keys/{KeyId}/material"},

		{operation: "ListAliases", method: http.MethodGet, path: "/aliases"},
		{operation: "CreateAlias", method: http.MethodPost, path: "/aliases", status: http.StatusCreated, location: newAlias},
		{operation: "UpdateAlias", method: http.MethodPatch, path: "/aliases/{AliasName}"},
		{operation: "DeleteAlias", method: http.MethodDelete, path: "/aliases/{AliasName}"},

		{operation: "ListGrants", method: http.MethodGet, path: "/keys/{KeyId}/grants"},
		{operation: "CreateGrant", method: http.MethodPost, path: "/keys/{KeyId}/grants", status: http.StatusCreated},
		{operation: "RevokeGrant", method: http.MethodDelete, path: "/keys/{KeyId}/grants/{GrantId}"},
		{operation: "ListRetirableGrants", method: http.MethodGet, path: "/grants"},
		{operation: "RetireGrant", method: http.MethodPost, path: "/grants:retire"},

		{operation: "DescribeCustomKeyStores", method: http.MethodGet, path: "/customKeyStores"},
		{operation: "CreateCustomKeyStore", method: http.MethodPost, path: "/customKeyStores", status: http.StatusCreated},
		{operation: "UpdateCustomKeyStore", method: http.MethodPatch, path: "/customKeyStores/{CustomKeyStoreId}"},
		{operation: "DeleteCustomKeyStore", method: http.MethodDelete, path: "/customKeyStores/{CustomKeyStoreId}"},
		{operation: "ConnectCustomKeyStore", method: http.MethodPost, path: "/customKeyStores/{CustomKeyStoreId}:connect"},
		{operation: "DisconnectCustomKeyStore", method: http.MethodPost, path: "/customKeyStores/{CustomKeyStoreId}:disconnect"},

		{operation: "Decrypt", id: "DecryptAny", method: http.MethodPost, path: "/keys:decrypt", rawIn: "CiphertextBlob", rawOut: "Plaintext"},
		{operation: "ReEncrypt", method: http.MethodPost, path: "/keys:reEncrypt", rawIn: "CiphertextBlob", rawOut: "CiphertextBlob"},
		{operation: "GenerateRandom", method: http.MethodPost, path: "/random", rawOut: "Plaintext"},
	}
	return append(all, verbs()...)
}

// verbs are the operations on one key that are no resources: POST /keys/{KeyId}:verb.
func verbs() []route {
	all := []route{
		{operation: "Encrypt", rawIn: "Plaintext", rawOut: "CiphertextBlob"},
		{operation: "Decrypt", rawIn: "CiphertextBlob", rawOut: "Plaintext"},
		{operation: "GenerateDataKey"},
		{operation: "GenerateDataKeyWithoutPlaintext", rawOut: "CiphertextBlob"},
		{operation: "GenerateDataKeyPair"},
		{operation: "GenerateDataKeyPairWithoutPlaintext"},
		{operation: "Sign", rawIn: "Message", rawOut: "Signature"},
		{operation: "Verify"},
		{operation: "GenerateMac", rawIn: "Message", rawOut: "Mac"},
		{operation: "VerifyMac"},
		{operation: "DeriveSharedSecret", rawOut: "SharedSecret"},
		{operation: "Encapsulate"},
		{operation: "Decapsulate"},
		{operation: "GetParametersForImport"},
		{operation: "CancelKeyDeletion"},
		{operation: "EnableKey"},
		{operation: "DisableKey"},
		{operation: "RotateKeyOnDemand"},
	}
	short := map[string]string{
		"GetParametersForImport": "parametersForImport", "CancelKeyDeletion": "cancelDeletion", "EnableKey": "enable",
		"DisableKey": "disable", "RotateKeyOnDemand": "rotate",
	}
	for i, r := range all {
		verb, is := short[r.operation]
		if !is {
			verb = strings.ToLower(r.operation[:1]) + r.operation[1:]
		}
		all[i].method, all[i].path = http.MethodPost, "/keys/{KeyId}:"+verb
	}
	return all
}

func newKey(_, out any) string {
	made, is := out.(*regions.CreateKeyOutput)
	if !is {
		return ""
	}
	return "/keys/" + made.KeyMetadata.KeyID
}

func newAlias(in, _ any) string {
	made, is := in.(*regions.AliasInput)
	if !is {
		return ""
	}
	return "/aliases/" + url.PathEscape(strings.TrimPrefix(made.AliasName, aliasPrefix))
}

// aliasPrefix begins every AliasName; in a path, below /aliases/, it is left out.
const aliasPrefix = "alias/"
