package audit

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// DecodeEvent reads an event as a record holds it. It accepts exactly what this package writes: an event that would be
// written differently is refused with [ErrEvent].
func DecodeEvent(b []byte) (Event, error) {
	var w wireEvent
	// A name that Fields hold twice is its caller's fault; a member of the event that is there twice is found below.
	err := json.Unmarshal(b, &w, json.RejectUnknownMembers(true), jsontext.AllowDuplicateNames(true))
	if err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	e, err := w.event()
	if err != nil {
		return Event{}, err
	}
	if string(appendEvent(nil, &e)) != string(b) {
		return Event{}, fmt.Errorf("%w: not in the form that is written", ErrEvent)
	}
	return e, nil
}

type wireEvent struct {
	EventVersion        string         `json:"eventVersion"`
	UserIdentity        wireIdentity   `json:"userIdentity"`
	EventTime           string         `json:"eventTime"`
	EventSource         string         `json:"eventSource"`
	EventName           string         `json:"eventName"`
	AWSRegion           string         `json:"awsRegion"`
	SourceIPAddress     string         `json:"sourceIPAddress"`
	UserAgent           string         `json:"userAgent"`
	ErrorCode           string         `json:"errorCode"`
	ErrorMessage        string         `json:"errorMessage"`
	RequestParameters   jsontext.Value `json:"requestParameters"`
	ResponseElements    jsontext.Value `json:"responseElements"`
	AdditionalEventData jsontext.Value `json:"additionalEventData"`
	RequestID           string         `json:"requestID"`
	EventID             string         `json:"eventID"`
	ReadOnly            bool           `json:"readOnly"`
	Resources           []wireResource `json:"resources"`
	EventType           string         `json:"eventType"`
	ManagementEvent     bool           `json:"managementEvent"`
	RecipientAccountID  string         `json:"recipientAccountId"`
	ServiceEventDetails jsontext.Value `json:"serviceEventDetails"`
	EventCategory       string         `json:"eventCategory"`
}

type wireIdentity struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	AccessKeyID string `json:"accessKeyId"`
	UserName    string `json:"userName"`
	// SessionContext is an object.
	SessionContext jsontext.Value `json:"sessionContext"`
	InvokedBy      string         `json:"invokedBy"`
}

type wireResource struct {
	AccountID string `json:"accountId"`
	Type      string `json:"type"`
	ARN       string `json:"ARN"`
}

func (w *wireEvent) event() (Event, error) {
	at, err := time.Parse(eventTimeLayout, w.EventTime)
	if err != nil {
		return Event{}, fmt.Errorf("%w: event time: %w", ErrEvent, err)
	}
	e := Event{
		EventVersion: w.EventVersion, EventTime: at,
		EventSource: w.EventSource, EventName: w.EventName, AWSRegion: w.AWSRegion,
		SourceIPAddress: w.SourceIPAddress, UserAgent: w.UserAgent, ErrorCode: w.ErrorCode, ErrorMessage: w.ErrorMessage,
		RequestID: w.RequestID, EventID: w.EventID, ReadOnly: w.ReadOnly, EventType: w.EventType,
		RecipientAccountID: w.RecipientAccountID, EventCategory: w.EventCategory,
	}
	u := w.UserIdentity
	e.UserIdentity = UserIdentity{
		Type: u.Type, PrincipalID: u.PrincipalID, ARN: u.ARN, AccountID: u.AccountID, AccessKeyID: u.AccessKeyID,
		UserName: u.UserName, InvokedBy: u.InvokedBy,
	}
	for _, r := range w.Resources {
		e.Resources = append(e.Resources, Resource(r))
	}
	for _, f := range []struct {
		to   *Fields
		from jsontext.Value
	}{
		{&e.RequestParameters, w.RequestParameters},
		{&e.ResponseElements, w.ResponseElements},
		{&e.ServiceEventDetails, w.ServiceEventDetails},
		{&e.AdditionalEventData, w.AdditionalEventData},
		{&e.UserIdentity.SessionContext, u.SessionContext},
	} {
		if len(f.from) == 0 {
			continue
		}
		if *f.to, err = parseFields(f.from); err != nil {
			return Event{}, err
		}
	}
	return e, nil
}
