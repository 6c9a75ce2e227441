package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
	"github.com/rs/zerolog"

	"antipode/regions"
	"antipode/regions/awsjson"
	"antipode/regions/regionstest"
	"antipode/regions/roster"
	"antipode/replication"
)

const home, away = "us-east-2", "us-west-1"

// kit is two Regions on SoftHSM2 tokens that replicate to each other, behind one HTTP server, and a client of each.
type kit struct {
	at   map[string]*regionstest.Fixture
	sdk  map[string]*kms.Client
	wire *tap
	url  string
}

// links carries messages between the Regions' nodes in this process.
type links struct {
	from  string
	nodes map[string]*replication.Node
}

func (l links) Call(ctx context.Context, region string, message []byte) ([]byte, error) {
	n, known := l.nodes[region]
	if !known {
		return nil, fmt.Errorf("no Region %s", region)
	}
	return n.Handle(ctx, l.from, message)
}

func newKit(t *testing.T, opts ...regionstest.Option) *kit {
	t.Helper()
	k := &kit{at: map[string]*regionstest.Fixture{}, sdk: map[string]*kms.Client{}, wire: &tap{seen: map[string]map[string]string{}}}
	for _, name := range []string{home, away} {
		k.at[name] = regionstest.Open(t, name, opts...)
	}
	nodes := map[string]*replication.Node{}
	var served []*regions.Region
	for name, f := range k.at {
		for other, o := range k.at {
			rsk := o.Region.Ring().RSK()
			e := roster.Entry{
				Region: other, Version: 1, TLSKey: [32]byte{1, other[3]}, Limits: roster.Limits{Accounts: []string{"*"}, MaxOpenExchanges: 16},
				RSKs: []roster.RSK{{SPKI: rsk.SPKI(), State: roster.Active, Since: 1}},
			}
			if err := f.Region.Enrol(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		n := replication.New(replication.Config{
			Region: f.Region, Peers: links{name, nodes}, Name: name, Steady: time.Now, Log: zerolog.Nop(),
		})
		nodes[name] = n
		f.Region.SetReplicator(n)
		t.Cleanup(func() {
			if err := n.Close(); err != nil {
				t.Errorf("close node: %v", err)
			}
		})
		served = append(served, f.Region)
	}
	h, err := awsjson.NewHandler(served, time.Now, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	k.url = s.URL
	k.wire.t = t
	for name := range k.at {
		k.sdk[name] = kms.New(kms.Options{
			Region: name, BaseEndpoint: aws.String(s.URL), HTTPClient: k.wire, RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(regionstest.AccessKeyID, regionstest.Secret, ""),
		})
	}
	return k
}

// tap is the client's transport. It keeps which members answers had, by operation.
type tap struct {
	t    *testing.T
	mu   sync.Mutex
	seen map[string]map[string]string
}

func (w *tap) Do(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultClient.Do(req) //nolint:gosec // the test's own server
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		w.mu.Lock()
		defer w.mu.Unlock()
		op := req.Header.Get("X-Amz-Target")[len("TrentService."):]
		if w.seen[op] == nil {
			w.seen[op] = map[string]string{}
		}
		for path, typ := range paths(w.t, body, filledByCallers) {
			w.seen[op][path] = typ
		}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// filledByCallers are the members whose names callers choose.
var filledByCallers = map[string]bool{
	"Grants[].Constraints.EncryptionContextEquals": true, "Grants[].Constraints.EncryptionContextSubset": true,
}

// call makes a call by the official client and returns its answer.
func (k *kit) call(t *testing.T, region, op string, in any) (any, error) {
	t.Helper()
	m := reflect.ValueOf(k.sdk[region]).MethodByName(op)
	out := m.Call([]reflect.Value{reflect.ValueOf(t.Context()), reflect.ValueOf(in)})
	if err, is := out[1].Interface().(error); is {
		return nil, err
	}
	return out[0].Interface(), nil
}

// must is call for what can't be refused.
func must[Out any](t *testing.T, k *kit, region, op string, in any) *Out {
	t.Helper()
	out, err := k.call(t, region, op, in)
	if err != nil {
		t.Fatalf("%s in %s: %v", op, region, err)
	}
	typed, is := out.(*Out)
	if !is {
		t.Fatalf("%s answered a %T", op, out)
	}
	return typed
}

// code is that of an API error; "" for none.
func code(err error) string {
	var api smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &api):
		return api.ErrorCode()
	}
	return err.Error()
}
