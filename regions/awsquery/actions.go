package awsquery

import (
	"context"
	"encoding/xml"
	"time"

	"antipode/regions"
	"antipode/regions/signed"
)

type metadata struct {
	RequestID string `xml:"RequestId"`
}

type credentials struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

func credentialsOf(c regions.Credentials) credentials {
	return credentials{
		c.AccessKeyID, string(c.Secret.Reveal()), c.SessionToken, c.Expiration.UTC().Format(time.RFC3339),
	}
}

type callerIdentityAnswer struct {
	XMLName   xml.Name `xml:"GetCallerIdentityResponse"`
	Namespace string   `xml:"xmlns,attr"`
	Result    struct {
		Arn     string
		UserID  string `xml:"UserId"`
		Account string
	} `xml:"GetCallerIdentityResult"`
	Metadata metadata `xml:"ResponseMetadata"`
}

type sessionTokenAnswer struct {
	XMLName   xml.Name `xml:"GetSessionTokenResponse"`
	Namespace string   `xml:"xmlns,attr"`
	Result    struct {
		Credentials credentials
	} `xml:"GetSessionTokenResult"`
	Metadata metadata `xml:"ResponseMetadata"`
}

type assumeRoleAnswer struct {
	XMLName   xml.Name `xml:"AssumeRoleResponse"`
	Namespace string   `xml:"xmlns,attr"`
	Result    struct {
		AssumedRoleUser struct {
			AssumedRoleID string `xml:"AssumedRoleId"`
			Arn           string
		}
		Credentials      credentials
		PackedPolicySize int
		SourceIdentity   string `xml:",omitempty"`
	} `xml:"AssumeRoleResult"`
	Metadata metadata `xml:"ResponseMetadata"`
}

// call does what a form asks for and returns the answer to encode.
func call(ctx context.Context, r signed.Request, f form, requestID string) (any, error) {
	action, v := f.take("Action"), f.take("Version")
	if v != version {
		return nil, regions.Errorf("InvalidAction", "Could not find operation %.64s for version %.32s", action, v)
	}
	switch action {
	case "GetCallerIdentity":
		if err := f.rest(); err != nil {
			return nil, err
		}
		out := callerIdentityAnswer{Namespace: namespace, Metadata: metadata{requestID}}
		var err error
		out.Result.Arn, out.Result.UserID, out.Result.Account, err = r.Region.CallerIdentity(ctx, r.Caller)
		return out, err
	case "GetSessionToken":
		seconds, err := f.takeSeconds()
		if err != nil {
			return nil, err
		}
		if err := f.rest(); err != nil {
			return nil, err
		}
		made, err := r.Region.SessionToken(ctx, r.Caller, seconds)
		if err != nil {
			return nil, err
		}
		out := sessionTokenAnswer{Namespace: namespace, Metadata: metadata{requestID}}
		out.Result.Credentials = credentialsOf(made)
		return out, nil
	case "AssumeRole":
		return assumeRole(ctx, r, f, requestID)
	}
	return nil, regions.Errorf("InvalidAction", "Could not find operation %.64s for version %s", action, version)
}

func assumeRole(ctx context.Context, r signed.Request, f form, requestID string) (any, error) {
	seconds, err := f.takeSeconds()
	if err != nil {
		return nil, err
	}
	in := regions.AssumeRoleInput{
		RoleARN: f.take("RoleArn"), RoleSessionName: f.take("RoleSessionName"), DurationSeconds: seconds,
		Policy: f.take("Policy"), Tags: f.takeTags(), TransitiveTagKeys: f.takeTransitive(),
		ExternalID: f.take("ExternalId"), SourceIdentity: f.take("SourceIdentity"),
	}
	if err := f.rest(); err != nil { // PolicyArns, SerialNumber and TokenCode among others
		return nil, err
	}
	made, err := r.Region.AssumeRole(ctx, r.Caller, in)
	if err != nil {
		return nil, err
	}
	out := assumeRoleAnswer{Namespace: namespace, Metadata: metadata{requestID}}
	out.Result.AssumedRoleUser.AssumedRoleID, out.Result.AssumedRoleUser.Arn = made.AssumedRoleID, made.ARN
	out.Result.Credentials, out.Result.PackedPolicySize = credentialsOf(made.Credentials), made.Packed
	out.Result.SourceIdentity = made.SourceIdentity
	return out, nil
}
