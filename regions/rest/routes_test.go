package rest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"antipode/regions"
)

// Every operation of the table has a route that fits it, no two routes are the same, and what is only read is read by GET.
func TestEveryOperationHasARoute(t *testing.T) {
	t.Parallel()
	ends, err := endpoints()
	if err != nil {
		t.Fatal(err)
	}
	places, names, routed := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, e := range ends {
		place := e.route.method + " " + e.route.path
		if places[place] || names[e.route.name()] {
			t.Errorf("%s %s is there twice", place, e.route.name())
		}
		places[place], names[e.route.name()], routed[e.route.operation] = true, true, true
		if !e.bound.op.Built() {
			continue
		}
		if e.route.method == http.MethodGet && e.bound.op.Class != regions.ClassRead {
			t.Errorf("%s is made by GET and is more than a read", e.route.name())
		}
		if e.empty() && e.route.status == http.StatusOK {
			t.Errorf("%s answers 200 without a body", e.route.name())
		}
		if e.route.status == http.StatusNoContent && !e.empty() {
			t.Errorf("%s answers 204 with a body", e.route.name())
		}
		if !e.route.inQuery() {
			continue
		}
		for _, m := range e.bound.other { // a GET or DELETE has no other place for it
			if e.bound.parameter(m.name) == nil {
				t.Errorf("%s can't be given %s", e.route.name(), m.name)
			}
		}
	}
	for _, op := range regions.Operations() {
		if !routed[op.Name] {
			t.Errorf("%s has no route", op.Name)
		}
	}
}

// Each error code of ours, and of the official model, has been given a status: 400 is for those that are listed here.
func TestEveryCodeHasAStatus(t *testing.T) {
	t.Parallel()
	plain := map[string]bool{}
	for _, code := range []string{
		regions.CodeDryRun, regions.CodeIncorrectKey, regions.CodeInvalidAliasName, regions.CodeInvalidArn,
		regions.CodeInvalidCiphertext, regions.CodeInvalidKeyUsage, regions.CodeInvalidMarker, regions.CodeMalformedPolicy,
		regions.CodeSerialization, regions.CodeTag, regions.CodeUnsupportedOperation, regions.CodeValidation,
		"CloudHsmClusterInvalidConfigurationException", "CloudHsmClusterNotActiveException", "CloudHsmClusterNotFoundException",
		"CloudHsmClusterNotRelatedException", "ExpiredImportTokenException", "IncorrectKeyMaterialException",
		"IncorrectTrustAnchorException", "InvalidGrantIdException", "InvalidGrantTokenException", "InvalidImportTokenException",
		"KMSInvalidMacException", "KMSInvalidSignatureException", "XksKeyInvalidConfigurationException", "XksKeyNotFoundException",
		"XksProxyIncorrectAuthenticationCredentialException", "XksProxyInvalidConfigurationException",
		"XksProxyInvalidResponseException", "XksProxyUriEndpointInUseException", "XksProxyUriInUseException",
		"XksProxyUriUnreachableException", "XksProxyVpcEndpointServiceInUseException",
		"XksProxyVpcEndpointServiceInvalidConfigurationException", "XksProxyVpcEndpointServiceNotFoundException",
	} {
		plain[code] = true
	}
	codes := slices.Concat(ourCodes(t), modelCodes())
	if len(codes) < 50 {
		t.Fatalf("only %d codes were found", len(codes))
	}
	for _, code := range codes {
		status := statusOf(code)
		if (status == http.StatusBadRequest) != plain[code] {
			t.Errorf("%s is answered with %d", code, status)
		}
		if http.StatusText(status) == "" {
			t.Errorf("%s: %d is no status", code, status)
		}
	}
}

// ourCodes are the values of the constants Code... in package regions.
func ourCodes(t *testing.T) []string {
	t.Helper()
	parsed, err := parser.ParseDir(token.NewFileSet(), "..", nil, 0) //nolint:staticcheck // constants only, no build tags
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(parsed["regions"], func(n ast.Node) bool {
		v, is := n.(*ast.ValueSpec)
		if !is || !strings.HasPrefix(v.Names[0].Name, "Code") || strings.HasPrefix(v.Names[0].Name, "CodeSTS") || len(v.Values) == 0 {
			return true
		}
		if text, is := v.Values[0].(*ast.BasicLit); is {
			code, err := strconv.Unquote(text.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, code)
		}
		return true
	})
	return out
}

// modelCodes are the errors of the official model: the SDK has one type for each.
func modelCodes() []string {
	var out []string
	for _, e := range []any{
		types.AlreadyExistsException{},
		types.CloudHsmClusterInUseException{},
		types.CloudHsmClusterInvalidConfigurationException{},
		types.CloudHsmClusterNotActiveException{},
		types.CloudHsmClusterNotFoundException{},
		types.CloudHsmClusterNotRelatedException{},
		types.ConflictException{},
		types.CustomKeyStoreHasCMKsException{},
		types.CustomKeyStoreInvalidStateException{},
		types.CustomKeyStoreNameInUseException{},
		types.CustomKeyStoreNotFoundException{},
		types.DependencyTimeoutException{},
		types.DisabledException{},
		types.DryRunOperationException{},
		types.ExpiredImportTokenException{},
		types.IncorrectKeyException{},
		types.IncorrectKeyMaterialException{},
		types.IncorrectTrustAnchorException{},
		types.InvalidAliasNameException{},
		types.InvalidArnException{},
		types.InvalidCiphertextException{},
		types.InvalidGrantIdException{},
		types.InvalidGrantTokenException{},
		types.InvalidImportTokenException{},
		types.InvalidKeyUsageException{},
		types.InvalidMarkerException{},
		types.KMSInternalException{},
		types.KMSInvalidMacException{},
		types.KMSInvalidSignatureException{},
		types.KMSInvalidStateException{},
		types.KeyUnavailableException{},
		types.LimitExceededException{},
		types.MalformedPolicyDocumentException{},
		types.NotFoundException{},
		types.TagException{},
		types.UnsupportedOperationException{},
		types.XksKeyAlreadyInUseException{},
		types.XksKeyInvalidConfigurationException{},
		types.XksKeyNotFoundException{},
		types.XksProxyIncorrectAuthenticationCredentialException{},
		types.XksProxyInvalidConfigurationException{},
		types.XksProxyInvalidResponseException{},
		types.XksProxyUriEndpointInUseException{},
		types.XksProxyUriInUseException{},
		types.XksProxyUriUnreachableException{},
		types.XksProxyVpcEndpointServiceInUseException{},
		types.XksProxyVpcEndpointServiceInvalidConfigurationException{},
		types.XksProxyVpcEndpointServiceNotFoundException{},
	} {
		out = append(out, reflect.TypeOf(e).Name())
	}
	return out
}
