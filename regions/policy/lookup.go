package policy

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// maxAliases is how many aliases a key may have. kms:ResourceAliases of a key with more decides nothing.
const maxAliases = 50

// valueKind says what type the request's value has. Operators of another type see its text.
type valueKind uint8

const (
	textValue valueKind = iota
	numberValue
	timeValue // seconds since 1970
	boolValue
	addressValue
)

// value is one value of a condition key in a request.
type value struct {
	kind valueKind
	s    string
	n    int64
	ip   netip.Addr
}

// availability says whether a request has a condition key.
type availability uint8

const (
	absent availability = iota
	present
	// ambiguous: there is an answer, but not one. It decides nothing in favour of the caller.
	ambiguous
)

// values are the values of a condition key in a request: one, or of a multi-valued key those of all three lists.
type values struct {
	state availability
	multi bool
	one   value
	list  []string
	keys  map[string]string // the names count
	tags  []Tag             // the names count
}

func text(s string) values {
	if s == "" {
		return values{}
	}
	return values{state: present, one: value{s: s}}
}

func number(n int) values {
	if n == 0 {
		return values{}
	}
	return values{state: present, one: value{kind: numberValue, n: int64(n)}}
}

func moment(t time.Time) values {
	if t.IsZero() {
		return values{}
	}
	return values{state: present, one: value{kind: timeValue, n: t.Unix()}}
}

func boolean(b Bool) values {
	if b == Absent {
		return values{}
	}
	return values{state: present, one: value{kind: boolValue, n: int64(b - False)}}
}

func list(items []string) values {
	if len(items) == 0 {
		return values{multi: true}
	}
	return values{state: present, multi: true, list: items}
}

// tagNamed finds a tag without regard to case, as condition keys have none. The one that is spelled as the document spells
// it is meant if there are several; several that differ are ambiguous.
func tagNamed(tags []Tag, name string) values {
	var found values
	for i := range tags {
		if tags[i].Key == name {
			return values{state: present, one: value{s: tags[i].Value}}
		}
		if strings.EqualFold(tags[i].Key, name) {
			found = another(found, tags[i].Value)
		}
	}
	return found
}

// pairNamed is tagNamed for an encryption context.
func pairNamed(pairs map[string]string, name string) values {
	if v, ok := pairs[name]; ok {
		return values{state: present, one: value{s: v}}
	}
	var found values
	for k, v := range pairs {
		if len(k) == len(name) && strings.EqualFold(k, name) {
			found = another(found, v)
		}
	}
	return found
}

func another(found values, s string) values {
	if found.state != absent {
		return values{state: ambiguous}
	}
	return values{state: present, one: value{s: s}}
}

// lookup returns what the request says about a condition key.
func (ev *evaluator) lookup(k keyRef) values {
	p, c := &ev.request.Principal, &ev.request.Context
	switch k.id {
	case kmsBypassPolicyLockoutSafetyCheck:
		return boolean(c.BypassLockoutCheck)
	case kmsCallerAccount, awsPrincipalAccount:
		return text(p.Account)
	case kmsCustomerMasterKeySpec, kmsKeySpec:
		return text(c.KeySpec)
	case kmsCustomerMasterKeyUsage, kmsKeyUsage:
		return text(c.KeyUsage)
	case kmsDataKeyPairSpec:
		return text(c.DataKeyPairSpec)
	case kmsEncryptionAlgorithm:
		return text(c.EncryptionAlgorithm)
	case kmsEncryptionContext:
		return pairNamed(c.EncryptionContext, k.name)
	case kmsEncryptionContextKeys:
		return values{state: availabilityOf(len(c.EncryptionContext)), multi: true, keys: c.EncryptionContext}
	case kmsExpirationModel:
		return text(c.ExpirationModel)
	case kmsGrantConstraintType, kmsGrantOperations, kmsGranteePrincipal, kmsRetiringPrincipal:
		return ev.newGrant(k.id)
	case kmsGrantIsForAWSResource:
		return boolean(c.GrantIsForAWSResource)
	case kmsKeyAgreementAlgorithm:
		return text(c.KeyAgreementAlg)
	case kmsKeyOrigin:
		return text(c.KeyOrigin)
	case kmsMacAlgorithm:
		return text(c.MacAlgorithm)
	case kmsMessageType:
		return text(c.MessageType)
	case kmsMultiRegion:
		return boolean(c.MultiRegion)
	case kmsMultiRegionKeyType:
		return text(c.MultiRegionKeyType)
	case kmsPrimaryRegion:
		return text(c.PrimaryRegion)
	case kmsReEncryptOnSameKey:
		return boolean(c.ReEncryptOnSameKey)
	case kmsReplicaRegion:
		return text(c.ReplicaRegion)
	case kmsRequestAlias:
		return text(c.RequestAlias)
	case kmsResourceAliases:
		if len(c.ResourceAliases) > maxAliases {
			return values{state: ambiguous, multi: true}
		}
		return list(c.ResourceAliases)
	case kmsRotationPeriodInDays:
		return number(c.RotationPeriodInDays)
	case kmsPendingWindowInDays:
		return number(c.PendingWindowInDays)
	case kmsSigningAlgorithm:
		return text(c.SigningAlgorithm)
	case kmsValidTo:
		return moment(c.ValidTo)
	case kmsViaService:
		return text(c.ViaService)
	case kmsWrappingAlgorithm:
		return text(c.WrappingAlgorithm)
	case kmsWrappingKeySpec:
		return text(c.WrappingKeySpec)
	default:
		return ev.lookupGlobal(k, p, c)
	}
}

// lookupGlobal is lookup for the keys that all services have.
func (ev *evaluator) lookupGlobal(k keyRef, p *Principal, c *Context) values {
	switch k.id {
	case awsCurrentTime:
		return moment(c.Time)
	case awsEpochTime:
		v := moment(c.Time)
		v.one.kind = numberValue
		return v
	case awsMultiFactorAuthPresent:
		return boolean(p.MultiFactor)
	case awsPrincipalArn:
		switch {
		case p.Account == "":
			return values{}
		case p.RoleARN != "":
			return text(p.RoleARN)
		default:
			return text(p.ARN)
		}
	case awsPrincipalIsAWSService:
		return boolean(BoolOf(p.Type == Service))
	case awsPrincipalServiceName:
		if p.Type == Service {
			return text(p.ARN)
		}
		return values{}
	case awsPrincipalTag:
		return tagNamed(p.Tags, k.name)
	case awsPrincipalType:
		return text(string(p.Type))
	case awsRequestedRegion:
		return text(c.RequestedRegion)
	case awsRequestTag:
		return tagNamed(c.RequestTags, k.name)
	case awsResourceAccount:
		return text(ev.request.ResourceAccount)
	case awsResourceTag:
		return tagNamed(c.ResourceTags, k.name)
	case awsSecureTransport:
		return boolean(c.SecureTransport)
	case awsSourceAccount:
		return text(c.SourceAccount)
	case awsSourceArn:
		return text(c.SourceARN)
	case awsSourceIdentity:
		return text(p.SourceIdentity)
	case awsSourceIP:
		if !c.SourceIP.IsValid() {
			return values{}
		}
		return values{state: present, one: value{kind: addressValue, ip: c.SourceIP.Unmap()}}
	case awsTagKeys:
		return values{
			state: availabilityOf(len(c.RequestTags) + len(c.TagKeys)), multi: true, list: c.TagKeys, tags: c.RequestTags,
		}
	case awsTokenIssueTime:
		return moment(p.TokenIssued)
	case awsUserAgent:
		return text(c.UserAgent)
	case awsUserID:
		return text(p.UserID)
	case awsUserName:
		return text(p.UserName)
	case awsViaAWSService:
		return boolean(c.ViaAWSService)
	default:
		items := c.Other[k.name]
		if len(items) == 1 {
			return values{state: present, one: value{s: items[0]}}
		}
		return list(items)
	}
}

func availabilityOf(n int) availability {
	if n == 0 {
		return absent
	}
	return present
}

// newGrant answers what CreateGrant asks for.
func (ev *evaluator) newGrant(id keyID) values {
	g := ev.request.Context.NewGrant
	if g == nil {
		return values{}
	}
	switch id {
	case kmsGrantOperations:
		return list(g.Operations)
	case kmsGranteePrincipal:
		return text(g.Grantee)
	case kmsRetiringPrincipal:
		return text(g.Retiring)
	default:
		equals, subset := len(g.Constraints.EncryptionContextEquals) > 0, len(g.Constraints.EncryptionContextSubset) > 0
		switch {
		case equals && subset:
			return list([]string{"EncryptionContextEquals", "EncryptionContextSubset"})
		case equals:
			return text("EncryptionContextEquals")
		case subset:
			return text("EncryptionContextSubset")
		default:
			return values{}
		}
	}
}

// text returns a value as a string operator sees it. What has to be written out is written once for each decision.
func (ev *evaluator) text(k keyRef, v value) string {
	switch v.kind {
	case boolValue:
		if v.n == 1 {
			return "true"
		}
		return "false"
	case numberValue, timeValue, addressValue:
		s := &ev.texts[textSlot(k.id)]
		if *s == "" {
			*s = writeOut(v)
		}
		return *s
	default:
		return v.s
	}
}

// textSlot numbers the keys whose values have to be written out.
func textSlot(id keyID) int {
	switch id {
	case awsCurrentTime:
		return 0
	case awsEpochTime:
		return 1
	case awsSourceIP:
		return 2
	case awsTokenIssueTime:
		return 3
	case kmsValidTo:
		return 4
	case kmsRotationPeriodInDays:
		return 5
	default:
		return 6 // kmsPendingWindowInDays
	}
}

func writeOut(v value) string {
	switch v.kind {
	case timeValue:
		return time.Unix(v.n, 0).UTC().Format("2006-01-02T15:04:05Z")
	case addressValue:
		return v.ip.String()
	default:
		return strconv.FormatInt(v.n, 10)
	}
}
