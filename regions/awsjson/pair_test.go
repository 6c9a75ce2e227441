package awsjson_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"antipode/regions/regionstest"
	"antipode/regions/roster"
	"antipode/replication"
)

const away = "us-west-1"

// pair is one front before two Regions that replicate to each other.
type pair struct {
	*front
	other *regionstest.Fixture
}

// direct carries a message from one Region to the node of another, in this process.
type direct struct {
	from  string
	nodes map[string]*replication.Node
}

func (d direct) Call(ctx context.Context, region string, message []byte) ([]byte, error) {
	n, known := d.nodes[region]
	if !known {
		return nil, fmt.Errorf("no region %s", region)
	}
	return n.Handle(ctx, d.from, message)
}

func newPair(t testing.TB) *pair {
	t.Helper()
	both := map[string]*regionstest.Fixture{home: regionstest.Open(t, home), away: regionstest.Open(t, away)}
	nodes := map[string]*replication.Node{}
	for name, f := range both {
		for other, o := range both {
			rsk := o.Region.Ring().RSK()
			e := roster.Entry{
				Region: other, Version: 1, TLSKey: [32]byte{byte(len(rsk.SPKI())), other[3]},
				Limits: roster.Limits{Accounts: []string{"*"}, MaxOpenExchanges: 4},
				RSKs:   []roster.RSK{{SPKI: rsk.SPKI(), State: roster.Active, Since: 1}},
			}
			if err := f.Region.Enrol(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		n := replication.New(replication.Config{
			Region: f.Region, Peers: direct{name, nodes}, Name: name, Steady: time.Now, Log: zerolog.Nop(),
		})
		nodes[name] = n
		f.Region.SetReplicator(n)
		t.Cleanup(func() {
			if err := n.Close(); err != nil {
				t.Errorf("close node: %v", err)
			}
		})
	}
	url := serveRegions(t, zerolog.Nop(), both[home].Region, both[away].Region)
	return &pair{&front{both[home], url}, both[away]}
}
