package replication

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"antipode/regions"
	"antipode/regions/audit"
	"antipode/replication/wire"
)

// Peers carries one message to a Region and brings its answer; *peer.Client does it over HTTPS.
type Peers interface {
	Call(ctx context.Context, region string, message []byte) ([]byte, error)
}

// Config is what a Node needs; all fields, unless they say otherwise.
type Config struct {
	Region *regions.Region
	Peers  Peers
	// Name names this node of the Region: where a RAKB lives.
	Name string
	// Steady is the monotonic clock that bounds the life of a RAKB.
	Steady func() time.Time
	Log    zerolog.Logger
	// Answer is how long ReplicateKey, and one attempt in the background, waits for the other Region; 0 means 10 s.
	Answer time.Duration
	// SlowAnswer is how long ReplicateKey waits in an RSA suite; 0 means 25 s.
	SlowAnswer time.Duration
	// Compare is how often the shared states are compared with those of each other Region; 0 means a minute.
	Compare time.Duration
}

// enrolled calls only Regions that are in the roster now: nothing is sent to one that was removed.
type enrolled struct {
	peers  Peers
	region *regions.Region
}

// Call implements [Peers].
func (e enrolled) Call(ctx context.Context, region string, message []byte) ([]byte, error) {
	if _, err := e.region.Roster().Entry(region); err != nil {
		return nil, err
	}
	return e.peers.Call(ctx, region, message)
}

// Limits in time.
const (
	// rakbLife is how long a destination keeps a RAKB for its Transfer.
	rakbLife = time.Minute
	// answerTime is how long ReplicateKey waits for the exchange before it leaves it to the background, unless configured.
	answerTime = 10 * time.Second
	// slowAnswerTime is the same in an RSA suite unless configured, in which the destination's token makes a key for 0.3 to 4 s, and for as
	// much longer as its machine is busy with other things. It is below the time that a call of the API may take.
	slowAnswerTime = 25 * time.Second
	// giveUpTime is when an exchange that nothing depends on is given up by the background work, should who began it
	// have failed to: longer than slowAnswerTime.
	giveUpTime = 2 * slowAnswerTime
	// backoff between attempts of an exchange that can't go on: doubled each time from firstBackoff to lastBackoff.
	firstBackoff = 200 * time.Millisecond
	// compareEvery is how often shared states are compared with each other Region, unless configured, or when one that was
	// silent has spoken.
	compareEvery = time.Minute
	lastBackoff  = 30 * time.Second
)

// Node is one node's part in replication, source and destination. It implements regions.Replicator.
type Node struct {
	region *regions.Region
	peers  Peers
	name   string
	steady func() time.Time
	log    zerolog.Logger
	quick  time.Duration // Config.Answer
	slow   time.Duration // Config.SlowAnswer
	rakbs  *rakbs
	// requests are those for other Regions' identities that this process has open.
	requests *identityRequests
	wake     chan struct{} // a Region that was silent has spoken
	paces    *paces
	learnt   *recovery

	announced announced
	rskWaits  []string // what the rotation waits for; under announced.mu
	rsk       rskProgress

	mu   sync.Mutex
	busy map[[16]byte]*exchangeLock
}

// New returns a Node. Exchanges that a crash cut off are settled by [Node.Recover], before it serves.
func New(cfg Config) *Node {
	if cfg.Answer == 0 {
		cfg.Answer = answerTime
	}
	if cfg.SlowAnswer == 0 {
		cfg.SlowAnswer = slowAnswerTime
	}
	if cfg.Compare == 0 {
		cfg.Compare = compareEvery
	}
	return &Node{
		quick: cfg.Answer, slow: cfg.SlowAnswer, region: cfg.Region, peers: enrolled{cfg.Peers, cfg.Region}, name: cfg.Name, steady: cfg.Steady, log: cfg.Log,
		rakbs: newRakbs(cfg.Region.Ring().Token(), cfg.Steady), wake: make(chan struct{}, 1),
		busy: map[[16]byte]*exchangeLock{}, rsk: newRSKProgress(), learnt: newRecovery(), paces: newPaces(cfg.Region.Name(), cfg.Compare),
		requests: &identityRequests{token: cfg.Region.Ring().Token(), steady: cfg.Steady},
	}
}

// Handle answers one message of a peer, which the transport knows as from. An error means that there is no answer: the
// message is not one that a peer could have meant, or this Region can't answer now.
func (n *Node) Handle(ctx context.Context, from string, data []byte) ([]byte, error) {
	m, err := wire.Open(data, n.region.Name(), n.region.Roster())
	if err != nil {
		return nil, n.refuseUnsigned(ctx, from, err)
	}
	if m.Header().From != from {
		return nil, n.refuseUnsigned(ctx, from, fmt.Errorf("%w: sent by %s", wire.ErrMisrouted, from))
	}
	if n.paces.answered(from) {
		select {
		case n.wake <- struct{}{}: // it is back: what waits for it is sent now
		default:
		}
	}
	unlock := n.lock(m.Header().ExchangeID)
	defer unlock()
	switch m := m.(type) {
	case *wire.Offer:
		if n.region.Recovering() && m.Purpose != wire.PurposeSupply {
			return nil, regions.ErrRecovering // no answer at all: the peer tries again
		}
		return n.handleOffer(ctx, data, m)
	case *wire.Transfer:
		return n.handleTransfer(ctx, data, m)
	case *wire.Gone:
		if n.region.Recovering() {
			return nil, regions.ErrRecovering
		}
		return n.handleGone(ctx, data, m)
	case *wire.Sync:
		if n.region.Recovering() {
			return nil, regions.ErrRecovering
		}
		return n.handleSync(ctx, data, m)
	case *wire.HandOver:
		if n.region.Recovering() {
			return nil, regions.ErrRecovering
		}
		return n.handleHandOver(ctx, data, m)
	case *wire.Compare:
		if n.region.Recovering() {
			return nil, regions.ErrRecovering
		}
		return n.handleCompare(ctx, data, m)
	case *wire.Want:
		return n.handleWant(ctx, data, m)
	case *wire.Know:
		return n.handleKnow(ctx, data, m)
	case *wire.Roster:
		return n.handleRoster(ctx, data, m)
	default:
		return nil, n.refuseUnsigned(ctx, from, fmt.Errorf("%w: %s is not a request", wire.ErrMalformed, m.Type()))
	}
}

// refuseUnsigned records a message that can't be answered because nothing says who sent it.
func (n *Node) refuseUnsigned(ctx context.Context, from string, why error) error {
	n.log.Warn().Err(why).Str("peer", from).Msg("replication message refused")
	err := n.region.Audit().Service(ctx, audit.Event{
		EventName: "RefuseReplicationMessage", EventTime: n.region.Now(), AWSRegion: n.region.Name(),
		UserIdentity: audit.UserIdentity{InvokedBy: "AWS Internal"}, EventType: audit.TypeServiceEvent,
		ErrorCode: "Refused", ErrorMessage: why.Error(), ServiceEventDetails: details("peer", from),
	})
	return errors.Join(why, err)
}

// details makes event details of names and values in turn.
func details(pairs ...string) audit.Fields {
	var f audit.Fields
	for i := 0; i+1 < len(pairs); i += 2 {
		f.Str(pairs[i], pairs[i+1])
	}
	return f
}

// exchangeLock lets one step of an exchange run at a time.
type exchangeLock struct {
	sync.Mutex
	users int
}

func (n *Node) lock(id [16]byte) (unlock func()) {
	n.mu.Lock()
	l, ok := n.busy[id]
	if !ok {
		l = &exchangeLock{}
		n.busy[id] = l
	}
	l.users++
	n.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		n.mu.Lock()
		defer n.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(n.busy, id)
		}
	}
}

// CanReach implements regions.Replicator.
func (n *Node) CanReach(_ context.Context, region, account string) error {
	ro := n.region.Roster()
	if _, err := ro.Entry(region); err != nil {
		return err
	}
	if !ro.AllowsAccount(region, account) {
		return regions.Errorf(regions.CodeAccessDenied, "Keys of account %s may not be replicated to %s.", account, region)
	}
	return nil
}

// Close destroys the RAKBs of open exchanges and the keys of open requests. Nothing may call the Node any more.
func (n *Node) Close() error { return errors.Join(n.rakbs.close(), n.requests.close()) }
