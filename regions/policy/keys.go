package policy

import (
	"errors"
	"fmt"
	"strings"
)

// keyID says which condition key is meant. Keys that are not in the table are [otherKey] and looked up by name.
type keyID uint8

const (
	otherKey keyID = iota
	kmsBypassPolicyLockoutSafetyCheck
	kmsCallerAccount
	kmsCustomerMasterKeySpec
	kmsCustomerMasterKeyUsage
	kmsDataKeyPairSpec
	kmsEncryptionAlgorithm
	kmsEncryptionContext // with a name
	kmsEncryptionContextKeys
	kmsExpirationModel
	kmsGrantConstraintType
	kmsGrantIsForAWSResource
	kmsGrantOperations
	kmsGranteePrincipal
	kmsKeyAgreementAlgorithm
	kmsKeyOrigin
	kmsKeySpec
	kmsKeyUsage
	kmsMacAlgorithm
	kmsMessageType
	kmsMultiRegion
	kmsMultiRegionKeyType
	kmsPrimaryRegion
	kmsReEncryptOnSameKey
	kmsReplicaRegion
	kmsRequestAlias
	kmsResourceAliases
	kmsRetiringPrincipal
	kmsRotationPeriodInDays
	kmsPendingWindowInDays
	kmsSigningAlgorithm
	kmsValidTo
	kmsViaService
	kmsWrappingAlgorithm
	kmsWrappingKeySpec
	awsCurrentTime
	awsEpochTime
	awsMultiFactorAuthPresent
	awsPrincipalAccount
	awsPrincipalArn
	awsPrincipalIsAWSService
	awsPrincipalServiceName
	awsPrincipalTag // with a name
	awsPrincipalType
	awsRequestedRegion
	awsRequestTag // with a name
	awsResourceAccount
	awsResourceTag // with a name
	awsSecureTransport
	awsSourceAccount
	awsSourceArn
	awsSourceIdentity
	awsSourceIP
	awsTagKeys
	awsTokenIssueTime
	awsUserAgent
	awsUserID
	awsUserName
	awsViaAWSService
	keyCount
)

// keyName returns the name of a condition key in lower case; of one with a name of its own, what comes before that.
func keyName(id keyID) string {
	return [keyCount]string{
		kmsBypassPolicyLockoutSafetyCheck: "kms:bypasspolicylockoutsafetycheck",
		kmsCallerAccount:                  "kms:calleraccount",
		kmsCustomerMasterKeySpec:          "kms:customermasterkeyspec",
		kmsCustomerMasterKeyUsage:         "kms:customermasterkeyusage",
		kmsDataKeyPairSpec:                "kms:datakeypairspec",
		kmsEncryptionAlgorithm:            "kms:encryptionalgorithm",
		kmsEncryptionContext:              "kms:encryptioncontext:",
		kmsEncryptionContextKeys:          "kms:encryptioncontextkeys",
		kmsExpirationModel:                "kms:expirationmodel",
		kmsGrantConstraintType:            "kms:grantconstrainttype",
		kmsGrantIsForAWSResource:          "kms:grantisforawsresource",
		kmsGrantOperations:                "kms:grantoperations",
		kmsGranteePrincipal:               "kms:granteeprincipal",
		kmsKeyAgreementAlgorithm:          "kms:keyagreementalgorithm",
		kmsKeyOrigin:                      "kms:keyorigin",
		kmsKeySpec:                        "kms:keyspec",
		kmsKeyUsage:                       "kms:keyusage",
		kmsMacAlgorithm:                   "kms:macalgorithm",
		kmsMessageType:                    "kms:messagetype",
		kmsMultiRegion:                    "kms:multiregion",
		kmsMultiRegionKeyType:             "kms:multiregionkeytype",
		kmsPrimaryRegion:                  "kms:primaryregion",
		kmsReEncryptOnSameKey:             "kms:reencryptonsamekey",
		kmsReplicaRegion:                  "kms:replicaregion",
		kmsRequestAlias:                   "kms:requestalias",
		kmsResourceAliases:                "kms:resourcealiases",
		kmsRetiringPrincipal:              "kms:retiringprincipal",
		kmsRotationPeriodInDays:           "kms:rotationperiodindays",
		kmsPendingWindowInDays:            "kms:schedulekeydeletionpendingwindowindays",
		kmsSigningAlgorithm:               "kms:signingalgorithm",
		kmsValidTo:                        "kms:validto",
		kmsViaService:                     "kms:viaservice",
		kmsWrappingAlgorithm:              "kms:wrappingalgorithm",
		kmsWrappingKeySpec:                "kms:wrappingkeyspec",
		awsCurrentTime:                    "aws:currenttime",
		awsEpochTime:                      "aws:epochtime",
		awsMultiFactorAuthPresent:         "aws:multifactorauthpresent",
		awsPrincipalAccount:               "aws:principalaccount",
		awsPrincipalArn:                   "aws:principalarn",
		awsPrincipalIsAWSService:          "aws:principalisawsservice",
		awsPrincipalServiceName:           "aws:principalservicename",
		awsPrincipalTag:                   "aws:principaltag/",
		awsPrincipalType:                  "aws:principaltype",
		awsRequestedRegion:                "aws:requestedregion",
		awsRequestTag:                     "aws:requesttag/",
		awsResourceAccount:                "aws:resourceaccount",
		awsResourceTag:                    "aws:resourcetag/",
		awsSecureTransport:                "aws:securetransport",
		awsSourceAccount:                  "aws:sourceaccount",
		awsSourceArn:                      "aws:sourcearn",
		awsSourceIdentity:                 "aws:sourceidentity",
		awsSourceIP:                       "aws:sourceip",
		awsTagKeys:                        "aws:tagkeys",
		awsTokenIssueTime:                 "aws:tokenissuetime",
		awsUserAgent:                      "aws:useragent",
		awsUserID:                         "aws:userid",
		awsUserName:                       "aws:username",
		awsViaAWSService:                  "aws:viaawsservice",
	}[id]
}

// keyRef is a condition key as a document names it: what follows the name of one with a name of its own, as it was
// written; the whole name in lower case of one that is not in the table.
type keyRef struct {
	id   keyID
	name string
}

var errConditionKey = errors.New("invalid condition key")

func newKeyRef(text string) (keyRef, error) {
	low := lower(text)
	service, name, ok := strings.Cut(low, ":")
	if !ok || service == "" || name == "" || strings.ContainsAny(low, " ${}") && !strings.HasPrefix(low, "kms:encryptioncontext:") &&
		!strings.Contains(low, "tag/") {
		return keyRef{}, fmt.Errorf("%w %q", errConditionKey, text)
	}
	for id := otherKey + 1; id < keyCount; id++ {
		known := keyName(id)
		if last := known[len(known)-1]; last != ':' && last != '/' {
			if low == known {
				return keyRef{id: id}, nil
			}
			continue
		}
		if len(low) > len(known) && low[:len(known)] == known {
			return keyRef{id: id, name: text[len(known):]}, nil // folding ASCII keeps offsets
		}
		if low == known {
			return keyRef{}, fmt.Errorf("%w %q", errConditionKey, text)
		}
	}
	return keyRef{name: low}, nil
}

// keySet is a set of condition keys.
type keySet uint64

func (s *keySet) add(id keyID)     { *s |= 1 << id }
func (s keySet) has(id keyID) bool { return s&(1<<id) != 0 }

// A keySet has a bit for each key.
const _ = uint(64 - keyCount)
