package audit

import (
	"errors"
	"time"
)

// Defaults of an [Event].
const (
	EventVersion = "1.11"
	EventSource  = "kms.amazonaws.com"

	// TypeAPICall is the EventType of what a caller asked for, TypeServiceEvent of what the service did by itself.
	TypeAPICall      = "AwsApiCall"
	TypeServiceEvent = "AwsServiceEvent"

	// CategoryManagement is the EventCategory of every KMS call, those with data included.
	CategoryManagement = "Management"

	// ResourceKey is the Type of a key.
	ResourceKey = "AWS::KMS::Key"
)

// Longer strings are cut, at a rune, to CloudTrail's own limits; a caller chooses them.
const (
	maxUserAgent    = 1024
	maxErrorMessage = 1024
)

// ErrEvent says that the event can't be recorded as it is; nothing was written.
var ErrEvent = errors.New("event can't be recorded")

// Event is one CloudTrail event (https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html).
// Empty strings and zero Fields are left out of the record, except where a default is named; requestParameters and
// responseElements are null instead. CloudTrail's managementEvent is written from EventCategory.
type Event struct {
	EventVersion        string // default [EventVersion]
	UserIdentity        UserIdentity
	EventTime           time.Time // of the request, to the second; default: now, or for an outcome the intent's
	EventSource         string    // default [EventSource]
	EventName           string    // the operation; must be given
	AWSRegion           string
	SourceIPAddress     string
	UserAgent           string // cut to 1 KiB
	ErrorCode           string // "" for success
	ErrorMessage        string // cut to 1 KiB
	RequestParameters   Fields // never with plaintext, key material or tokens that grant power
	ResponseElements    Fields
	AdditionalEventData Fields // what is known of the call besides
	RequestID           string
	EventID             string // a UUID; default: random, or for an outcome the intent's
	ReadOnly            bool
	Resources           []Resource
	EventType           string // default [TypeAPICall]
	RecipientAccountID  string
	ServiceEventDetails Fields
	EventCategory       string // default [CategoryManagement]
}

// UserIdentity says who acted.
type UserIdentity struct {
	Type        string
	PrincipalID string
	ARN         string
	AccountID   string
	AccessKeyID string
	UserName    string
	// SessionContext is of temporary credentials: sessionIssuer, webIdFederationData, attributes, sourceIdentity.
	SessionContext Fields
	InvokedBy      string
}

// Resource is a thing that an event is about.
type Resource struct {
	AccountID string
	Type      string // default [ResourceKey]
	ARN       string
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// appendEvent appends the event as JSON, in CloudTrail's order of members.
func appendEvent(b []byte, e *Event) []byte {
	b = append(b, `{"eventVersion":`...)
	b = appendString(b, or(e.EventVersion, EventVersion))
	b = appendIdentity(append(b, `,"userIdentity":`...), &e.UserIdentity)
	b = append(b, `,"eventTime":"`...)
	b = e.EventTime.UTC().AppendFormat(b, eventTimeLayout)
	b = append(b, `","eventSource":`...)
	b = appendString(b, or(e.EventSource, EventSource))
	b = append(b, `,"eventName":`...)
	b = appendString(b, e.EventName)
	b = append(b, `,"awsRegion":`...)
	b = appendString(b, e.AWSRegion)
	b = appendMember(b, `,"sourceIPAddress":`, e.SourceIPAddress)
	b = appendMember(b, `,"userAgent":`, cut(e.UserAgent, maxUserAgent))
	b = appendMember(b, `,"errorCode":`, e.ErrorCode)
	b = appendMember(b, `,"errorMessage":`, cut(e.ErrorMessage, maxErrorMessage))
	b = e.RequestParameters.appendTo(append(b, `,"requestParameters":`...))
	b = e.ResponseElements.appendTo(append(b, `,"responseElements":`...))
	if !e.AdditionalEventData.IsZero() {
		b = e.AdditionalEventData.appendTo(append(b, `,"additionalEventData":`...))
	}
	b = appendMember(b, `,"requestID":`, e.RequestID)
	b = appendMember(b, `,"eventID":`, e.EventID)
	b = append(b, `,"readOnly":`...)
	b = appendBool(b, e.ReadOnly)
	if len(e.Resources) > 0 {
		b = append(b, `,"resources":[`...)
		for i := range e.Resources {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendResource(b, &e.Resources[i])
		}
		b = append(b, ']')
	}
	b = append(b, `,"eventType":`...)
	b = appendString(b, or(e.EventType, TypeAPICall))
	category := or(e.EventCategory, CategoryManagement)
	b = append(b, `,"managementEvent":`...)
	b = appendBool(b, category == CategoryManagement)
	b = appendMember(b, `,"recipientAccountId":`, e.RecipientAccountID)
	if !e.ServiceEventDetails.IsZero() {
		b = e.ServiceEventDetails.appendTo(append(b, `,"serviceEventDetails":`...))
	}
	b = append(b, `,"eventCategory":`...)
	return append(appendString(b, category), '}')
}

func appendIdentity(b []byte, u *UserIdentity) []byte {
	start := len(b)
	b = appendMember(b, `,"type":`, u.Type)
	b = appendMember(b, `,"principalId":`, u.PrincipalID)
	b = appendMember(b, `,"arn":`, u.ARN)
	b = appendMember(b, `,"accountId":`, u.AccountID)
	b = appendMember(b, `,"accessKeyId":`, u.AccessKeyID)
	b = appendMember(b, `,"userName":`, u.UserName)
	if !u.SessionContext.IsZero() {
		b = u.SessionContext.appendTo(append(b, `,"sessionContext":`...))
	}
	b = appendMember(b, `,"invokedBy":`, u.InvokedBy)
	if len(b) == start {
		return append(b, `{}`...)
	}
	b[start] = '{' // in place of the first comma
	return append(b, '}')
}

func appendResource(b []byte, r *Resource) []byte {
	start := len(b)
	b = appendMember(b, `,"accountId":`, r.AccountID)
	b = append(b, `,"type":`...)
	b = appendString(b, or(r.Type, ResourceKey))
	b = appendMember(b, `,"ARN":`, r.ARN)
	b[start] = '{'
	return append(b, '}')
}
